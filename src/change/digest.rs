//! Digests of content, by the names that modules use for them.

use std::fmt::Write as _;
use std::io::Read;

use sha2::Digest;

use super::Failure;

/// The names that [`of_bytes`] knows.
pub const ALGORITHMS: &[&str] = &["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];

/// Returns the digest of `bytes`, hex, or `None` where `algorithm` is not known.
pub fn of_bytes(bytes: &[u8], algorithm: &str) -> Option<String> {
    of_reader(&mut &*bytes, algorithm).ok().flatten()
}

/// Returns the SHA-256 of `bytes`, hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

/// Returns the digest of all that `reader` gives, or `None` where `algorithm` is not known.
///
/// # Errors
/// The reader's.
pub fn of_reader(reader: &mut dyn Read, algorithm: &str) -> std::io::Result<Option<String>> {
    Ok(Some(match algorithm {
        "md5" => feed::<md5::Md5>(reader)?,
        "sha1" => feed::<sha1::Sha1>(reader)?,
        "sha224" => feed::<sha2::Sha224>(reader)?,
        "sha256" => feed::<sha2::Sha256>(reader)?,
        "sha384" => feed::<sha2::Sha384>(reader)?,
        "sha512" => feed::<sha2::Sha512>(reader)?,
        _ => return Ok(None),
    }))
}

/// Returns the failure for an algorithm that is not known.
pub fn unknown_algorithm(name: &str) -> Failure {
    Failure::argument("checksum_algorithm", format!("`{name}` is not a digest; known are {}", ALGORITHMS.join(", ")))
}

fn feed<D: Digest>(reader: &mut dyn Read) -> std::io::Result<String> {
    let mut digest = D::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hex(&digest.finalize())),
            Ok(count) => digest.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns `bytes` as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        assert_eq!(of_bytes(b"abc", "md5").as_deref(), Some("900150983cd24fb0d6963f7d28e17f72"));
        assert_eq!(of_bytes(b"abc", "sha1").as_deref(), Some("a9993e364706816aba3e25717850c26c9cd0d89d"));
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(of_bytes(b"abc", "crc"), None);
    }
}
