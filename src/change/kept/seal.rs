//! What is kept on a host is sealed with a key of the run (AES-256-GCM), which the host has in memory only.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// Seals and opens. What is sealed at one place does not open at another.
pub(super) struct Seal(LessSafeKey);

impl Seal {
    /// Returns the seal of a key; `None` where the system's cryptography does not work.
    pub(super) fn new(key: &[u8; 32]) -> Option<Self> {
        UnboundKey::new(&AES_256_GCM, key).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    /// Seals bytes for a place.
    pub(super) fn close(&self, place: &str, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        let broken = |_| std::io::Error::other("it cannot be sealed");
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(broken)?;
        let mut sealed = plain.to_vec();
        let tag = self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut sealed).map_err(broken)?;
        Ok([&nonce, sealed.as_slice(), tag.as_ref()].concat())
    }

    /// Opens what was sealed for a place; `None` where it was not, or was changed.
    pub(super) fn open(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let length = self.0.open_in_place(nonce, Aad::from(place), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_at_its_own_place_only() {
        let seal = Seal::new(&[7; 32]).expect("works");
        let sealed = seal.close("a", b"secret").expect("sealed");
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(seal.open("a", &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(seal.open("b", &sealed), None);
        assert_eq!(Seal::new(&[8; 32]).expect("works").open("a", &sealed), None);
        assert_eq!(seal.open("a", &sealed[..20]), None);
    }
}
