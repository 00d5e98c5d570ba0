//! Sealing: what may hold secrets is on disk only encrypted (AES-256-GCM, a random nonce before each text).

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// Names a file with the key of the state folder, to keep it elsewhere.
pub const KEY_FILE: &str = "WINDLASS_STATE_KEY_FILE";

/// A key to seal with, 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Returns a new key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn random() -> Result<Self, String> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no random numbers".to_owned())?;
        Ok(Self(bytes))
    }

    /// Returns the key of these bytes; `None` where there are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the key itself. Never give it to a message.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals bytes, as base64.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal(&self, plain: &[u8]) -> Result<String, String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| "the system gives no random numbers".to_owned())?;
        let mut sealed = plain.to_vec();
        let key = self.cipher()?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .map_err(|_| "the text is too long to be sealed".to_owned())?;
        let mut all = nonce.to_vec();
        all.extend(sealed);
        Ok(STANDARD_NO_PAD.encode(all))
    }

    /// Opens what [`Key::seal`] returned.
    ///
    /// # Errors
    /// When it was sealed with another key, or changed since.
    pub fn open(&self, sealed: &str) -> Result<Vec<u8>, String> {
        let all = STANDARD_NO_PAD.decode(sealed).map_err(|_| "what is sealed is damaged".to_owned())?;
        let (nonce, text) = all.split_first_chunk::<NONCE_LEN>().ok_or("what is sealed is damaged")?;
        let mut text = text.to_vec();
        let key = self.cipher()?;
        let plain = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut text);
        plain.map(|plain| plain.to_vec()).map_err(|_| "it was sealed with another key, or changed since".to_owned())
    }

    fn cipher(&self) -> Result<LessSafeKey, String> {
        UnboundKey::new(&AES_256_GCM, &self.0).map(LessSafeKey::new).map_err(|_| "the key is not one of AES-256".to_owned())
    }

    /// Reads the key of a file, which is made where there is none.
    ///
    /// # Errors
    /// Names the file that cannot be read or made.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let told = |error: std::io::Error| format!("the key file `{}`: {error}", path.display());
        match std::fs::read(path) {
            Ok(bytes) => Self::from_bytes(&bytes).ok_or_else(|| format!("the key file `{}` does not have 32 bytes", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = Self::random()?;
                // Made whole under another name: two runs that start at once must agree on one key.
                let own = path.with_extension(format!("{}", std::process::id()));
                let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&own).map_err(told)?;
                let written = file.write_all(&key.0).and_then(|()| file.sync_all()).and_then(|()| std::fs::hard_link(&own, path));
                remove(&own);
                match written {
                    Ok(()) => Ok(key),
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Self::of_file(path),
                    Err(error) => Err(told(error)),
                }
            }
            Err(error) => Err(told(error)),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a file of the controller's own state")]
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens_what_was_sealed() {
        let key = Key::random().expect("key");
        let sealed = key.seal(b"hunter2").expect("seals");
        assert!(!sealed.contains("hunter2"));
        assert_eq!(key.open(&sealed).expect("opens"), b"hunter2");
        assert!(Key::random().expect("key").open(&sealed).is_err());
        let mut changed = sealed.into_bytes();
        changed[20] = if changed[20] == b'A' { b'B' } else { b'A' };
        assert!(key.open(&String::from_utf8(changed).expect("text")).is_err());
    }

    #[test]
    fn a_key_file_is_made_once_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("key");
        let key = Key::of_file(&path).expect("made");
        assert_eq!(Key::of_file(&path).expect("read"), key);
        assert_eq!(path.metadata().expect("file").permissions().mode() & 0o777, 0o600);
    }
}
