//! TLS from a node's own files: its p12 or PEM, and the authorities it trusts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The files of one TLS context.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// `xpack.security.<context>.ssl`, for messages.
    pub context: String,
    /// `keystore.path`, and its password.
    pub keystore: Option<(PathBuf, String)>,
    /// `certificate` and `key`.
    pub pem: Option<(PathBuf, PathBuf)>,
    /// `certificate_authorities`.
    pub authorities: Vec<PathBuf>,
    /// `truststore.path`, and its password.
    pub truststore: Option<(PathBuf, String)>,
}

impl Files {
    /// Returns the configuration of a listener.
    ///
    /// # Errors
    /// In the words of the real thing's log.
    pub fn server(&self) -> Result<Arc<ServerConfig>, String> {
        let (chain, key) = self.identity()?.ok_or_else(|| {
            format!(
                "invalid SSL configuration for {} - server ssl configuration requires a key and certificate, but these have not been configured; \
                 you must set either [{1}.keystore.path], or both [{1}.key] and [{1}.certificate]",
                self.context, self.context
            )
        })?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| self.failed(&error.to_string()))?;
        let config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| self.failed(&error.to_string()))?;
        Ok(Arc::new(config))
    }

    /// Returns the configuration of a client that verifies the server in full.
    ///
    /// # Errors
    /// In the words of the real thing's log.
    pub fn client(&self) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        for path in &self.authorities {
            for certificate in self.certificates(path, "certificate_authorities")? {
                roots
                    .add(certificate)
                    .map_err(|error| self.failed(&format!("cannot read [PEM] certificate_authorities [{}]: {error}", path.display())))?;
            }
        }
        let store = self.truststore.as_ref().or(if self.authorities.is_empty() { self.keystore.as_ref() } else { None });
        if let Some((path, password)) = store {
            for (_, entry) in self.pkcs12(path, password, "truststore")?.entries() {
                if let KeyStoreEntry::Certificate(certificate) = entry {
                    let der = CertificateDer::from(certificate.as_der().to_vec());
                    roots.add(der).map_err(|error| self.failed(&error.to_string()))?;
                }
            }
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| self.failed(&error.to_string()))?;
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    /// Returns every file it reads.
    pub fn paths(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> = self.authorities.iter().map(PathBuf::as_path).collect();
        paths.extend(self.keystore.iter().chain(&self.truststore).map(|(path, _)| path.as_path()));
        paths.extend(self.pem.iter().flat_map(|(certificate, key)| [certificate.as_path(), key.as_path()]));
        paths
    }

    fn identity(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, String> {
        if let Some((path, password)) = &self.keystore {
            let store = self.pkcs12(path, password, "keystore")?;
            let Some((_, chain)) = store.private_key_chain() else {
                return Err(self.failed(&format!("the [PKCS12] keystore [{}] does not contain a private key entry", path.display())));
            };
            let certificates = chain.certs().iter().map(|certificate| CertificateDer::from(certificate.as_der().to_vec())).collect();
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec()));
            return Ok(Some((certificates, key)));
        }
        let Some((certificate, key)) = &self.pem else { return Ok(None) };
        let chain = self.certificates(certificate, "certificate")?;
        let text = self.bytes(key, "PEM", "private key")?;
        let key = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|error| self.failed(&format!("cannot read [PEM] private key [{}]: {error}", key.display())))?;
        Ok(Some((chain, key)))
    }

    fn certificates(&self, path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
        let text = self.bytes(path, "PEM", what)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let found = found.map_err(|error| self.failed(&format!("cannot read configured [PEM] {what} [{}]: {error}", path.display())))?;
        if found.is_empty() {
            return Err(self.failed(&format!("failed to parse any certificates from [{}]", path.display())));
        }
        Ok(found)
    }

    fn pkcs12(&self, path: &Path, password: &str, what: &str) -> Result<KeyStore, String> {
        let bytes = self.bytes(path, "PKCS12", what)?;
        KeyStore::from_pkcs12(&bytes, password, Pkcs12ImportPolicy::Relaxed).map_err(|_| {
            let hint = if password.is_empty() { "(no password was provided)" } else { "(a keystore password was provided)" };
            let why = format!(
                "cannot read configured [PKCS12] {what} [{}] - this is usually caused by an incorrect password; {hint}",
                path.display()
            );
            self.failed(&why)
        })
    }

    fn bytes(&self, path: &Path, format: &str, what: &str) -> Result<Vec<u8>, String> {
        fs::read(path).map_err(|error| {
            let why = match error.kind() {
                std::io::ErrorKind::NotFound => "because the file does not exist".to_owned(),
                std::io::ErrorKind::PermissionDenied => {
                    "because access to read the file is blocked; file permissions should be checked".to_owned()
                }
                _ => format!("because of {error}"),
            };
            self.failed(&format!("cannot read configured [{format}] {what} [{}] {why}", path.display()))
        })
    }

    fn failed(&self, why: &str) -> String {
        format!("failed to load SSL configuration [{}] - {why}", self.context)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A configuration that follows its files: when one was written anew, it is read anew, as the real thing's resource watcher does.
#[derive(Debug)]
pub struct Watched<T> {
    files: Files,
    read: fn(&Files) -> Result<Arc<T>, String>,
    now: Mutex<(Vec<Option<SystemTime>>, Arc<T>)>,
}

impl<T> Watched<T> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// When they are not right.
    pub fn new(files: Files, read: fn(&Files) -> Result<Arc<T>, String>) -> Result<Self, String> {
        let first = read(&files)?;
        let times = times(&files);
        Ok(Self { files, read, now: Mutex::new((times, first)) })
    }

    /// Returns the configuration of now. Files that are not right leave it as it was.
    pub fn get(&self) -> Arc<T> {
        let mut now = self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let times = times(&self.files);
        if times != now.0
            && let Ok(fresh) = (self.read)(&self.files)
        {
            *now = (times, fresh);
        }
        now.1.clone()
    }
}

fn times(files: &Files) -> Vec<Option<SystemTime>> {
    files.paths().into_iter().map(|path| fs::metadata(path).and_then(|data| data.modified()).ok()).collect()
}
