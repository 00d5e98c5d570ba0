//! OpenPGP keys as package managers use them: fingerprints, and the armour around them.

use base64::Engine as _;
use sha1::{Digest as _, Sha1};

/// A public key in a file of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The fingerprint of the key itself, hex in capitals.
    pub fingerprint: String,
    /// Those of its subkeys.
    pub subkeys: Vec<String>,
    /// All its packets, as they stand in a binary file.
    pub packets: Vec<u8>,
}

impl PublicKey {
    /// Whether `id` means this key or one of its subkeys: a fingerprint, or its last 16 or 8 digits, blanks and `0x` allowed.
    pub fn is(&self, id: &str) -> bool {
        let id: String = id.trim_start_matches("0x").chars().filter(|c| !c.is_whitespace()).collect::<String>().to_uppercase();
        id.len() >= 8 && [&self.fingerprint].into_iter().chain(&self.subkeys).any(|known| known.ends_with(&id))
    }
}

/// The line that begins a key in armour.
const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// Whether a file of keys is text in armour.
pub fn is_armoured(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains(BEGIN)
}

/// Returns the keys of a file, armoured or not. `None` where it is no file of keys.
pub fn keys(bytes: &[u8]) -> Option<Vec<PublicKey>> {
    let binary = if is_armoured(bytes) { without_armour(&String::from_utf8_lossy(bytes))? } else { bytes.to_vec() };
    let mut keys: Vec<PublicKey> = Vec::new();
    let mut rest = binary.as_slice();
    while !rest.is_empty() {
        let (tag, header, length) = header(rest)?;
        let body = rest.get(header..header + length)?;
        let packet = rest.get(..header + length)?;
        match tag {
            6 => keys.push(PublicKey { fingerprint: fingerprint(body)?, subkeys: Vec::new(), packets: packet.to_vec() }),
            _ => {
                let key = keys.last_mut()?;
                if tag == 14 {
                    key.subkeys.extend(fingerprint(body));
                }
                key.packets.extend_from_slice(packet);
            }
        }
        rest = rest.get(header + length..)?;
    }
    if keys.is_empty() { None } else { Some(keys) }
}

/// Returns a packet's tag, the length of its header and that of its body.
fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let at = |index: usize| bytes.get(index).map(|byte| usize::from(*byte));
    let first = *bytes.first()?;
    if first & 0x80 == 0 {
        return None;
    }
    if first & 0x40 != 0 {
        let (length, header) = match at(1)? {
            one @ 0..=191 => (one, 2),
            one @ 192..=223 => (((one - 192) << 8) + at(2)? + 192, 3),
            255 => ((at(2)? << 24) + (at(3)? << 16) + (at(4)? << 8) + at(5)?, 6),
            // Partial lengths are for data, not for keys.
            _ => return None,
        };
        return Some((first & 0x3f, header, length));
    }
    let (length, header) = match first & 3 {
        0 => (at(1)?, 2),
        1 => ((at(1)? << 8) + at(2)?, 3),
        2 => ((at(1)? << 24) + (at(2)? << 16) + (at(3)? << 8) + at(4)?, 5),
        _ => return None,
    };
    Some((first >> 2 & 0x0f, header, length))
}

/// Returns the fingerprint of a key's packet; only version 4 is in use.
fn fingerprint(body: &[u8]) -> Option<String> {
    if body.first() != Some(&4) {
        return None;
    }
    let length = u16::try_from(body.len()).ok()?.to_be_bytes();
    let mut hash = Sha1::new();
    hash.update([0x99]);
    hash.update(length);
    hash.update(body);
    Some(hash.finalize().iter().map(|byte| format!("{byte:02X}")).collect())
}

/// Returns the bytes of every block of a text.
fn without_armour(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for block in text.split(BEGIN).skip(1) {
        let block = block.split("-----END").next().unwrap_or_default();
        // Headers such as `Version:` end with an empty line.
        let lines = block.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains(": ") && !line.starts_with('='));
        let encoded: String = lines.collect();
        bytes.extend(base64::engine::general_purpose::STANDARD.decode(encoded).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of a version 4 key that is too short to be of use, with a name and a subkey after it.
    fn sample() -> Vec<u8> {
        let mut bytes = vec![0x99, 0, 6, 4, 1, 2, 3, 4, 22];
        bytes.extend([0xb4, 2, b'm', b'e']);
        bytes.extend([0xce, 6, 4, 9, 9, 9, 9, 22]);
        bytes
    }

    #[test]
    fn fingerprints_are_found_with_and_without_armour() {
        let keys_in_binary = keys(&sample()).expect("keys");
        let encoded = base64::engine::general_purpose::STANDARD.encode(sample());
        let armoured = format!("{BEGIN}\nVersion: 1\n\n{encoded}\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n");
        assert_eq!(keys(armoured.as_bytes()).as_ref(), Some(&keys_in_binary));
        let [key] = keys_in_binary.as_slice() else { panic!("{keys_in_binary:?}") };
        assert_eq!((key.fingerprint.len(), key.subkeys.len()), (40, 1));
        assert!(key.is(&key.fingerprint.to_lowercase()) && key.is(&format!("0x{}", &key.fingerprint[24..])) && !key.is("0xdeadbeef"));
        assert_eq!(key.packets, sample());
    }

    #[test]
    fn mangled_files_are_no_keys() {
        for length in 0..sample().len() - 1 {
            let cut = sample().get(..length).unwrap_or_default().to_vec();
            let _ = keys(&cut);
        }
        assert_eq!(keys(b"hello"), None);
        assert_eq!(keys(b""), None);
    }
}
