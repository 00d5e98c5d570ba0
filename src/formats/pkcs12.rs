//! PKCS#12 stores (`.p12`, `.pfx`): one private key with its certificate, and the authorities to trust, as Java wants them.

use p12_keystore::{Certificate as Bag, KeyStore, KeyStoreEntry, Pkcs12Archive, PrivateKey as KeyBag, PrivateKeyChain};

use super::certificates::Certificate;
use super::private_key::{CertificateError, PrivateKey, unfit, unreadable};

/// What is in a store.
#[derive(Clone, Debug)]
pub struct Store {
    /// The name of the key's entry.
    pub alias: String,
    /// The key.
    pub key: PrivateKey,
    /// The key's certificate, then those who signed it where they are in the store.
    pub chain: Vec<Certificate>,
    /// Authorities to trust, by name: Java shows each as `trustedCertEntry`.
    pub trusted: Vec<(String, Certificate)>,
}

/// Says why `password` must not protect a store, if so.
///
/// # Errors
/// When it is empty (Java would read such a store as one without entries, and not complain) or not ASCII (tools disagree
/// on how to encode it).
pub fn check_password(password: &str) -> Result<(), CertificateError> {
    if password.is_empty() {
        return Err(unfit("a PKCS#12 store needs a password: without one, Java finds nothing in it and does not complain"));
    }
    if !password.is_ascii() {
        return Err(unfit("the password of a PKCS#12 store must be plain ASCII: tools disagree on how other letters are encoded"));
    }
    Ok(())
}

impl Store {
    /// Reads a store.
    ///
    /// # Errors
    /// When it is none, the password does not fit, or there is not exactly one key in it.
    pub fn read(bytes: &[u8], password: &str) -> Result<Self, CertificateError> {
        use p12_keystore::error::Error;
        let archive = Pkcs12Archive::from_pkcs12(bytes, password).map_err(|error| match error {
            Error::MacError(_) => CertificateError::WrongPassword("password"),
            Error::UnpadError | Error::Pkcs5Error(_) | Error::InvalidPrivateKey => CertificateError::WrongPassword("password"),
            other => unreadable(format!("this is no PKCS#12 store that can be read: {other}")),
        })?;
        let [found] = archive.keys.as_slice() else {
            return Err(unreadable(format!("the store has {} private keys instead of one", archive.keys.len())));
        };
        let key = PrivateKey::from_pkcs8(found.key.as_der())?;
        let mut trusted = Vec::new();
        let mut others = Vec::new();
        for bag in &archive.certs {
            let certificate = Certificate::from_der(bag.cert.as_der())?;
            if bag.trusted {
                trusted.push((bag.friendly_name.clone().unwrap_or_else(|| certificate.subject.clone()), certificate.clone()));
            }
            others.push(certificate);
        }
        let at = others
            .iter()
            .position(|certificate| certificate.fits(&key))
            .ok_or_else(|| unreadable("the store has no certificate for its key"))?;
        let mut chain = vec![others.swap_remove(at)];
        while let Some(next) =
            chain.last().and_then(|last| others.iter().find(|other| last.is_signed_by(other) && !chain.contains(other)).cloned())
        {
            chain.push(next);
        }
        Ok(Self { alias: found.friendly_name.clone().unwrap_or_else(|| "1".to_owned()), key, chain, trusted })
    }

    /// Returns the file. The content is sealed with a fresh salt, so no two are the same.
    ///
    /// # Errors
    /// When the password must not protect a store, or two entries have one name.
    pub fn write(&self, password: &str) -> Result<Vec<u8>, CertificateError> {
        check_password(password)?;
        let failed = |error: p12_keystore::error::Error| unfit(format!("the PKCS#12 store could not be made: {error}"));
        let mut store = KeyStore::new();
        let chain = self.chain.iter().map(|certificate| Bag::from_der(&certificate.der)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let id = self.chain.first().map(|leaf| leaf.fingerprint.replace(':', "")).unwrap_or_default();
        let key = KeyBag::from_der(self.key.pkcs8()).map_err(failed)?;
        store.add_entry(&self.alias, KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(id, key, chain)));
        for (name, certificate) in &self.trusted {
            if store.entry(name).is_some() {
                return Err(unfit(format!("two entries of the PKCS#12 store would be called `{name}`")));
            }
            store.add_entry(name, KeyStoreEntry::Certificate(Bag::from_der(&certificate.der).map_err(failed)?));
        }
        store.writer(password).write().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::certificates::{Authority, Wish, new_authority};
    use crate::formats::private_key::KeyKind;

    fn store() -> Store {
        let wish = Wish { subject: "CA".into(), not_before: 1_800_000_000, not_after: 1_900_000_000, ..Wish::default() };
        let key = PrivateKey::generate(KeyKind::EcP256).expect("key");
        let authority = Authority::new(vec![new_authority(&wish, &key).expect("authority")], key).expect("fits");
        let key = PrivateKey::generate(KeyKind::EcP256).expect("key");
        let leaf = authority.issue(&Wish { subject: "node1".into(), ..wish }, &key).expect("leaf");
        Store { alias: "node1".into(), key, chain: vec![leaf], trusted: vec![("ca".into(), authority.certificate)] }
    }

    #[test]
    fn a_store_is_read_as_it_was_written() {
        let store = store();
        let bytes = store.write("changeit").expect("writes");
        let read = Store::read(&bytes, "changeit").expect("reads");
        assert_eq!((read.alias, read.key, &read.chain[0], read.trusted), (store.alias, store.key, &store.chain[0], store.trusted.clone()));
        assert_eq!(read.chain.len(), 2, "the trusted authority completes the chain");
        assert_eq!(Store::read(&bytes, "wrong").map(|_| ()), Err(CertificateError::WrongPassword("password")));
        assert!(Store::read(b"nonsense", "x").is_err());
    }

    #[test]
    fn passwords_that_java_or_openssl_would_misread_are_refused() {
        assert!(store().write("").is_err());
        assert!(store().write("pässword").is_err());
    }
}
