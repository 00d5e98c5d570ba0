//! Private keys: made, read and written as PEM, with or without a passphrase.

use std::fmt;

use aes::cipher::{BlockDecrypt, KeyInit, generic_array::GenericArray};
use md5::{Digest, Md5};
use pem::Pem;
use pkcs8::pkcs5::pbes2;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Why a key, a certificate or a store of them cannot be read or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The text or bytes are not what they should be.
    #[error("{0}")]
    Unreadable(String),
    /// The passphrase or password does not fit.
    #[error("the {0} does not fit")]
    WrongPassword(&'static str),
    /// One is needed.
    #[error("a {0} is needed")]
    NeedsPassword(&'static str),
    /// What was asked for cannot be made.
    #[error("{0}")]
    Unfit(String),
}

/// Returns "unreadable".
pub fn unreadable(what: impl Into<String>) -> CertificateError {
    CertificateError::Unreadable(what.into())
}

/// Returns "unfit".
pub fn unfit(what: impl Into<String>) -> CertificateError {
    CertificateError::Unfit(what.into())
}

/// Which kind of key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyKind {
    /// Elliptic curve P-256: small and fast.
    #[serde(rename = "ec-p256")]
    EcP256,
    /// RSA with 2048 bits: read by everything.
    #[default]
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA with 4096 bits.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcP256 => "ec-p256",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa4096 => "rsa-4096",
        })
    }
}

/// A private key, as PKCS#8.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate(kind: KeyKind) -> Result<Self, CertificateError> {
        let bits = match kind {
            KeyKind::EcP256 => {
                let key =
                    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| unfit(format!("no key could be made: {error}")))?;
                return Ok(Self(Zeroizing::new(key.serialize_der())));
            }
            KeyKind::Rsa2048 => 2048,
            KeyKind::Rsa4096 => 4096,
        };
        let key =
            RsaPrivateKey::new(&mut p12_keystore::rand::rng(), bits).map_err(|error| unfit(format!("no key could be made: {error}")))?;
        let der = key.to_pkcs8_der().map_err(|error| unfit(format!("no key could be made: {error}")))?;
        Ok(Self(Zeroizing::new(der.as_bytes().to_vec())))
    }

    /// Returns the key of a PKCS#8 document.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, CertificateError> {
        PrivateKeyInfoRef::try_from(der).map_err(|_| unreadable("this is no private key"))?;
        Ok(Self(with_public_part(der).unwrap_or_else(|| Zeroizing::new(der.to_vec()))))
    }

    /// Reads the first private key of a PEM text: PKCS#8, PKCS#1 or SEC 1, plain or encrypted.
    ///
    /// # Errors
    /// When there is none, or the passphrase is missing or wrong.
    pub fn from_pem(text: &[u8], passphrase: Option<&str>) -> Result<Self, CertificateError> {
        let blocks = pem::parse_many(text).map_err(|_| unreadable("this is no PEM text"))?;
        let block =
            blocks.iter().find(|block| block.tag().ends_with("PRIVATE KEY")).ok_or_else(|| unreadable("there is no private key in it"))?;
        let plain = if block.tag() == "ENCRYPTED PRIVATE KEY" {
            let passphrase = wanted(passphrase)?;
            let sealed = EncryptedPrivateKeyInfoRef::try_from(block.contents()).map_err(|_| unreadable("the encrypted key is damaged"))?;
            let plain = sealed.decrypt(passphrase).map_err(|_| CertificateError::WrongPassword("passphrase"))?;
            return Self::from_pkcs8(plain.as_bytes()).map_err(|_| CertificateError::WrongPassword("passphrase"));
        } else if let Some(info) = block.headers().get("DEK-Info") {
            decrypt_old_style(block.contents(), info, wanted(passphrase)?)?
        } else {
            Zeroizing::new(block.contents().to_vec())
        };
        match block.tag() {
            "PRIVATE KEY" => Self::from_pkcs8(&plain),
            "RSA PRIVATE KEY" => Self::from_pkcs8(&wrapped(&RSA, &plain)),
            "EC PRIVATE KEY" => Self::from_pkcs8(&wrapped(curve_of(&plain)?, &plain)),
            other => Err(unreadable(format!("a key of the form `{other}` is not supported"))),
        }
    }

    /// Returns the key as PEM, encrypted when there is a passphrase.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn to_pem(&self, passphrase: Option<&str>) -> Result<Zeroizing<String>, CertificateError> {
        let Some(passphrase) = passphrase else { return Ok(Zeroizing::new(text_of("PRIVATE KEY", &self.0))) };
        let failed = |_| unfit("the key could not be encrypted");
        // Not scrypt, which would be stronger: Java does not read it.
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        SystemRandom::new()
            .fill(&mut salt)
            .and_then(|()| SystemRandom::new().fill(&mut iv))
            .map_err(|_| unfit("the system gives no random numbers"))?;
        let scheme = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ITERATIONS, &salt, iv)
            .map_err(|_| unfit("the key could not be encrypted"))?;
        let info = PrivateKeyInfoRef::try_from(self.pkcs8()).map_err(failed)?;
        let sealed = info.encrypt_with_params(scheme, passphrase).map_err(|_| unfit("the key could not be encrypted"))?;
        Ok(Zeroizing::new(text_of("ENCRYPTED PRIVATE KEY", sealed.as_bytes())))
    }

    /// Returns the PKCS#8 document.
    pub fn pkcs8(&self) -> &[u8] {
        &self.0
    }

    /// Returns the pair that signs.
    ///
    /// # Errors
    /// When the key is of a kind that cannot sign certificates here.
    pub fn pair(&self) -> Result<KeyPair, CertificateError> {
        KeyPair::try_from(self.pkcs8())
            .map_err(|_| unfit("a key of this kind cannot be used; use RSA with 2048 to 4096 bits, or EC P-256 or P-384"))
    }
}

/// Returns an elliptic key together with its public part, which Java leaves out and signing needs.
fn with_public_part(der: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if KeyPair::try_from(der).is_ok() {
        return None;
    }
    let p256 = p256::SecretKey::from_pkcs8_der(der).ok().and_then(|key| key.to_pkcs8_der().ok());
    let whole = p256.or_else(|| p384::SecretKey::from_pkcs8_der(der).ok().and_then(|key| key.to_pkcs8_der().ok()))?;
    Some(Zeroizing::new(whole.as_bytes().to_vec()))
}

const ITERATIONS: u32 = 100_000;

/// Says what kind of key a certificate's public key info tells: `ec-p256`, `rsa-2048`, ...
pub fn kind_of(info: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> String {
    use x509_parser::public_key::PublicKey;
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => format!("rsa-{}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("ec-p{}", point.key_size()),
        _ => info.algorithm.algorithm.to_id_string(),
    }
}

fn wanted(passphrase: Option<&str>) -> Result<&str, CertificateError> {
    passphrase.filter(|text| !text.is_empty()).ok_or(CertificateError::NeedsPassword("passphrase"))
}

/// Returns PEM text of 64 letters a line.
pub fn text_of(tag: &str, der: &[u8]) -> String {
    pem::encode_config(&Pem::new(tag, der), pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF))
}

/// Returns a DER element.
pub fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let size = content.len().to_be_bytes();
    let significant = size.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<_>>();
    match (significant.as_slice(), u8::try_from(significant.len())) {
        ([], _) => out.push(0),
        ([short], _) if *short < 0x80 => out.push(*short),
        (long, Ok(count)) => {
            out.push(0x80 | count);
            out.extend(long);
        }
        (_, Err(_)) => {}
    }
    out.extend(content);
    out
}

/// rsaEncryption, with its NULL.
const RSA: [u8; 13] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// ecPublicKey on P-256.
const P256: [u8; 19] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// ecPublicKey on P-384.
const P384: [u8; 16] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// Returns a PKCS#8 document around a key that was stored without one.
fn wrapped(algorithm: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    let content = Zeroizing::new([der(0x02, &[0]), der(0x30, algorithm), der(0x04, key)].concat());
    Zeroizing::new(der(0x30, &content))
}

fn curve_of(key: &[u8]) -> Result<&'static [u8], CertificateError> {
    let has = |curve: &[u8]| key.windows(curve.len()).any(|window| window == curve);
    match () {
        () if has(&P256[9..]) => Ok(&P256),
        () if has(&P384[9..]) => Ok(&P384),
        () => Err(unreadable("the key's curve is neither P-256 nor P-384")),
    }
}

/// Decrypts a key in OpenSSL's first encrypted form ("Proc-Type: 4,ENCRYPTED"), which certutil still writes.
fn decrypt_old_style(sealed: &[u8], info: &str, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let unsupported = || unreadable(format!("a key encrypted with `{info}` is not supported; convert it with `openssl pkcs8 -topk8`"));
    let (cipher, iv) = info.split_once(',').ok_or_else(unsupported)?;
    let size = match cipher.trim() {
        "AES-128-CBC" => 16,
        "AES-256-CBC" => 32,
        _ => return Err(unsupported()),
    };
    let iv = hex_bytes(iv.trim()).and_then(|iv| <[u8; 16]>::try_from(iv).ok()).ok_or_else(unsupported)?;
    let salt = iv.get(..8).unwrap_or_default();
    let mut key = Zeroizing::new(Vec::new());
    let mut last = Vec::new();
    while key.len() < size {
        last = Md5::new().chain_update(&last).chain_update(passphrase).chain_update(salt).finalize().to_vec();
        key.extend(&last);
    }
    let wrong = || CertificateError::WrongPassword("passphrase");
    if sealed.is_empty() || !sealed.len().is_multiple_of(16) {
        return Err(unreadable("the encrypted key is damaged"));
    }
    let key = key.get(..size).ok_or_else(wrong)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
    let mut before: &[u8] = &iv;
    for block in sealed.chunks_exact(16) {
        let mut clear = GenericArray::clone_from_slice(block);
        match size {
            16 => aes::Aes128::new(GenericArray::from_slice(key)).decrypt_block(&mut clear),
            _ => aes::Aes256::new(GenericArray::from_slice(key)).decrypt_block(&mut clear),
        }
        plain.extend(clear.iter().zip(before).map(|(a, b)| a ^ b));
        before = block;
    }
    let padding = plain.last().map_or(0, |byte| usize::from(*byte));
    if !(1..=16).contains(&padding) || plain.first() != Some(&0x30) {
        return Err(wrong());
    }
    let size = plain.len() - padding;
    plain.truncate(size);
    Ok(plain)
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_pem_with_and_without_a_passphrase() {
        for kind in [KeyKind::EcP256, KeyKind::Rsa2048] {
            let key = PrivateKey::generate(kind).expect("key");
            let plain = key.to_pem(None).expect("pem");
            assert_eq!(PrivateKey::from_pem(plain.as_bytes(), None), Ok(key.clone()));
            let sealed = key.to_pem(Some("hunter2")).expect("pem");
            assert!(sealed.contains("ENCRYPTED"));
            assert_eq!(PrivateKey::from_pem(sealed.as_bytes(), Some("hunter2")), Ok(key));
            assert_eq!(PrivateKey::from_pem(sealed.as_bytes(), Some("wrong")), Err(CertificateError::WrongPassword("passphrase")));
            assert_eq!(PrivateKey::from_pem(sealed.as_bytes(), None), Err(CertificateError::NeedsPassword("passphrase")));
        }
    }

    #[test]
    fn lengths_are_written_as_der_wants_them() {
        assert_eq!(der(4, &[]), [4, 0]);
        assert_eq!(der(4, &[0; 127])[..2], [4, 127]);
        assert_eq!(der(4, &[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(der(4, &[0; 256])[..4], [4, 0x82, 1, 0]);
    }

    #[test]
    fn a_key_does_not_print() {
        assert_eq!(format!("{:?}", PrivateKey::generate(KeyKind::EcP256).expect("key")), "***");
    }
}
