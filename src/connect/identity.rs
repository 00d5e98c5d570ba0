//! Private keys from files. Each is read, and where needed decrypted, once a run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{PrivateKey, decode_secret_key};
use tokio::sync::Mutex;

use crate::value::secret::Secret;

/// Why a key file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such file.
    Missing,
    /// It is encrypted, and no passphrase is known.
    Encrypted,
    /// The passphrase does not fit.
    WrongPassphrase,
    /// It cannot be read; why.
    Other(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::Encrypted => f.write_str("is encrypted and no passphrase was given"),
            Self::WrongPassphrase => f.write_str("does not open with the passphrase that was given"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

type Loaded = Result<Arc<PrivateKey>, Refusal>;

/// The keys read so far.
#[derive(Debug, Default)]
pub struct Identities {
    read: Mutex<HashMap<(PathBuf, Option<String>), Loaded>>,
}

impl Identities {
    /// Returns the key in a file.
    ///
    /// # Errors
    /// Says why it cannot be used.
    pub async fn load(&self, path: &Path, passphrase: Option<&Secret<String>>) -> Loaded {
        let name = (path.to_owned(), passphrase.map(|secret| secret.reveal().clone()));
        // Held while decrypting: a hundred connections that want the same key wait for one to open it.
        let mut read = self.read.lock().await;
        if let Some(loaded) = read.get(&name) {
            return loaded.clone();
        }
        let (path, secret) = name.clone();
        let loaded = tokio::task::spawn_blocking(move || open(&path, secret.as_deref())).await;
        let loaded = loaded.unwrap_or_else(|_| Err(Refusal::Other("cannot be read".to_owned())));
        read.insert(name, loaded.clone());
        loaded
    }
}

fn open(path: &Path, passphrase: Option<&str>) -> Loaded {
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Refusal::Missing,
        _ => Refusal::Other(format!("cannot be read: {error}")),
    })?;
    if text.contains("Proc-Type: 4,ENCRYPTED") && !(text.contains("BEGIN RSA PRIVATE KEY") && text.contains("DEK-Info: AES-128-CBC,")) {
        return Err(Refusal::Other(format!(
            "is encrypted in an old PEM way that windlass does not open (`ssh-keygen -p -f {}` rewrites it in today's)",
            path.display()
        )));
    }
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return Err(Refusal::Other("is a public key; the private one is needed".to_owned()));
    }
    let encrypted = || match decode_secret_key(&text, None) {
        Err(russh::keys::Error::KeyIsEncrypted) => true,
        _ => text.contains("BEGIN ENCRYPTED PRIVATE KEY"),
    };
    match decode_secret_key(&text, passphrase) {
        Ok(key) => Ok(Arc::new(key)),
        Err(_) if encrypted() => Err(if passphrase.is_some() { Refusal::WrongPassphrase } else { Refusal::Encrypted }),
        // A passphrase for a key that has none does no harm.
        Err(error) => decode_secret_key(&text, None)
            .map(Arc::new)
            .map_err(|_| Refusal::Other(format!("is no private key that windlass reads: {error}"))),
    }
}
