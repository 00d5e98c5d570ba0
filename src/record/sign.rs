//! Signatures under plans: ed25519, with keys as OpenSSH has them, or as PEM.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use russh::keys::ssh_key::public::{Ed25519PublicKey, KeyData};
use russh::keys::{PublicKey, decode_secret_key};
use serde::{Deserialize, Serialize};

/// A signature, and the key that it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The public key, as `ssh-ed25519 AAAA...`.
    pub key: String,
    /// The signature itself, base64.
    pub signature: String,
}

/// What is signed: the digest, so that the signature of something else is none of a plan.
fn message(digest: &str) -> String {
    format!("windlass plan\n{digest}\n")
}

impl Signature {
    /// Checks that this is a signature of `digest` by its own key. Whether the key is one to trust is another question.
    ///
    /// # Errors
    /// Says that it is not.
    pub fn verify(&self, digest: &str) -> Result<(), String> {
        let public = bytes_of(&self.key).ok_or("the key of its signature is none of ed25519")?;
        let signature = STANDARD.decode(&self.signature).map_err(|_| "its signature is no base64".to_owned())?;
        let verified = UnparsedPublicKey::new(&ED25519, public).verify(message(digest).as_bytes(), &signature);
        verified.map_err(|_| "its signature does not fit".to_owned())
    }
}

/// A private key to sign with.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer {}", self.public)
    }
}

impl Signer {
    /// Reads a private key of a file.
    ///
    /// # Errors
    /// Names the file that cannot be read, or is no private key of ed25519.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("the key `{}` cannot be read: {error}", path.display()))?;
        Self::of_text(&text).map_err(|error| format!("the key `{}` cannot be used: {error}", path.display()))
    }

    /// Reads a private key: OpenSSH's form, or PKCS#8 in PEM.
    ///
    /// # Errors
    /// Says why it cannot be used.
    pub fn of_text(text: &str) -> Result<Self, String> {
        let pair = if text.contains("BEGIN PRIVATE KEY") {
            let block = pem::parse(text).map_err(|error| error.to_string())?;
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(block.contents()).map_err(|_| "it is no private key of ed25519".to_owned())?
        } else {
            let key = decode_secret_key(text, None).map_err(|error| format!("{error} (a key with a passphrase cannot be used here)"))?;
            let pair = key.key_data().ed25519().ok_or("it is no key of ed25519; `ssh-keygen -t ed25519` makes one")?;
            Ed25519KeyPair::from_seed_and_public_key(&pair.private.to_bytes(), &pair.public.0)
                .map_err(|_| "its two halves do not fit".to_owned())?
        };
        let bytes: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| "it is no key of ed25519".to_owned())?;
        let public = text_of(bytes).ok_or("it is no key of ed25519")?;
        Ok(Self { pair, public })
    }

    /// Signs a digest.
    pub fn sign(&self, digest: &str) -> Signature {
        let signature = self.pair.sign(message(digest).as_bytes());
        Signature { key: self.public.clone(), signature: STANDARD.encode(signature.as_ref()) }
    }
}

/// How the public half of an ed25519 key begins in DER, before its 32 bytes.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Reads the public keys of a file: lines as in `id_ed25519.pub`, or a PEM block. They come as [`Signature::key`] has them.
///
/// # Errors
/// Names the file that cannot be read or has none.
pub fn trusted(path: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("the key `{}` cannot be read: {error}", path.display()))?;
    let mut keys: Vec<String> = text.lines().filter_map(|line| bytes_of(line.trim())).filter_map(text_of).collect();
    if let Ok(blocks) = pem::parse_many(&text) {
        let halves = blocks.iter().filter(|block| block.tag() == "PUBLIC KEY").filter_map(|block| block.contents().strip_prefix(&SPKI));
        keys.extend(halves.filter_map(|half| half.try_into().ok()).filter_map(text_of));
    }
    if keys.is_empty() {
        return Err(format!("`{}` has no public key of ed25519", path.display()));
    }
    Ok(keys)
}

fn bytes_of(key: &str) -> Option<[u8; 32]> {
    PublicKey::from_openssh(key).ok()?.key_data().ed25519().map(|key| key.0)
}

fn text_of(bytes: [u8; 32]) -> Option<String> {
    PublicKey::new(KeyData::Ed25519(Ed25519PublicKey(bytes)), "").to_openssh().ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Made for this test; it opens nothing.
    pub(in crate::record) const PEM: &str =
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n";

    #[test]
    fn a_signature_is_of_its_digest_only() {
        let signer = Signer::of_text(PEM).expect("signer");
        let signature = signer.sign("abc");
        assert_eq!(signature.verify("abc"), Ok(()));
        assert!(signature.verify("abd").is_err());
        assert!(Signer::of_text("no key").is_err());
    }
}
