//! Reads and writes vaulted files and values.
//!
//! Secrets are tried in Ansible's order: those whose label the text names, then all others. What was decrypted once is
//! remembered for the rest of the run, and made known to the redactor.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::source::{Diagnostic, Kind, Node, Severity, Sources, Span, yaml};
use crate::value::has_template_marks;
use crate::value::secret::{Redactor, Secret};

pub mod format;
pub mod private;
pub mod secrets;

pub use secrets::{SecretSources, VaultSecret};

use format::{Keys, Sealed};

/// Decrypts and encrypts with the secrets of a run.
#[derive(Default)]
pub struct Vault {
    secrets: Vec<VaultSecret>,
    /// Only a secret with the label that a text names is tried on it.
    match_labels: bool,
    redactor: Redactor,
    /// By salt and number of the secret.
    keys: Mutex<HashMap<(Vec<u8>, usize), Keys>>,
    /// By the SHA-256 of the armoured text.
    opened: Mutex<HashMap<[u8; 32], Opened>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

/// A decrypted text.
#[derive(Clone)]
pub struct Opened {
    /// The text.
    pub text: Vec<u8>,
    /// The label that the vaulted text carried.
    pub label: String,
    /// Which secret fitted, by number.
    pub secret: usize,
}

impl Vault {
    /// Returns a vault that knows `secrets`, tried in their order, and tells `redactor` what it decrypts.
    pub fn new(secrets: Vec<VaultSecret>, redactor: Redactor) -> Self {
        for secret in &secrets {
            redactor.learn(secret.password.reveal());
        }
        Self { secrets, match_labels: false, redactor, keys: Mutex::default(), opened: Mutex::default() }
    }

    /// Tries only secrets with the label that a text names, where `is_so` (`ANSIBLE_VAULT_ID_MATCH`).
    #[must_use]
    pub fn matching_labels(mut self, is_so: bool) -> Self {
        self.match_labels = is_so;
        self
    }

    /// Returns the secrets.
    pub fn secrets(&self) -> &[VaultSecret] {
        &self.secrets
    }

    /// Whether a file is vaulted.
    pub fn is_vaulted(&self, path: &Path) -> bool {
        use std::io::Read;
        let mut head = [0; 64];
        let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut head));
        read.is_ok_and(|length| format::is_vaulted(head.get(..length).unwrap_or_default()))
    }

    /// Reads a file, decrypted where it is vaulted.
    ///
    /// # Errors
    /// It cannot be read or decrypted.
    pub fn read_file(&self, path: &Path) -> Result<Vec<u8>, Diagnostic> {
        let name = path.display();
        let bytes = std::fs::read(path).map_err(|error| Diagnostic::error(format!("cannot read `{name}`: {}", plain(&error))))?;
        if !format::is_vaulted(&bytes) {
            return Ok(bytes);
        }
        let opened = self.decrypt(&bytes, &format!("`{name}`"))?;
        self.learn_file(&opened.text);
        Ok(opened.text)
    }

    /// Decrypts a `!vault` value that stands at `span`.
    ///
    /// # Errors
    /// No secret fits, or the text is damaged.
    pub fn decrypt_text(&self, armoured: &str, span: Span) -> Result<Arc<str>, Diagnostic> {
        let opened = self.decrypt(armoured.as_bytes(), "this value").map_err(|diagnostic| diagnostic.at(span))?;
        let text = String::from_utf8(opened.text).map_err(|_| Diagnostic::error("this vaulted value is not UTF-8 text").at(span))?;
        self.redactor.learn(&text);
        Ok(text.into())
    }

    /// Whether a text is one that was decrypted before.
    pub fn has_opened(&self, text: &str) -> bool {
        self.opened.lock().is_ok_and(|opened| opened.values().any(|opened| opened.text == text.as_bytes()))
    }

    /// Decrypts an armoured text; `name` names it in messages.
    ///
    /// # Errors
    /// No secret fits, or the text is damaged.
    pub fn decrypt(&self, armoured: &[u8], name: &str) -> Result<Opened, Diagnostic> {
        let digest: [u8; 32] = Sha256::digest(armoured.trim_ascii()).into();
        if let Some(known) = self.opened.lock().ok().and_then(|opened| opened.get(&digest).cloned()) {
            return Ok(known);
        }
        let sealed = Sealed::parse(armoured).map_err(|what| Diagnostic::error(format!("{name} cannot be decrypted: {what}")))?;
        let (same, others): (Vec<_>, Vec<_>) = self.secrets.iter().enumerate().partition(|(_, secret)| secret.label == sealed.label);
        let others = others.into_iter().filter(|_| !self.match_labels);
        for (at, secret) in same.into_iter().chain(others) {
            if let Some(text) = self.keys(at, secret, &sealed.salt).open(&sealed) {
                let found = Opened { text, label: sealed.label, secret: at };
                if let Ok(mut opened) = self.opened.lock() {
                    opened.insert(digest, found.clone());
                }
                return Ok(found);
            }
        }
        Err(self.no_secret_fits(&sealed, name))
    }

    fn no_secret_fits(&self, sealed: &Sealed, name: &str) -> Diagnostic {
        let label = &sealed.label;
        if self.secrets.is_empty() {
            let message = "Attempting to decrypt but no vault secrets found: no vault secret was given for";
            return Diagnostic::error(format!("{message} {name}, an undecryptable variable with the vault id `{label}`"))
                .hint("give one with `--vault-id label@file`, `--vault-password-file` or `--ask-vault-pass`");
        }
        let tried: Vec<_> = self.secrets.iter().map(|secret| format!("`{}` from {}", secret.label, secret.origin)).collect();
        Diagnostic::error(format!(
            "no vault secrets were found that could decrypt {name}, which has the vault id `{label}`; tried: {}",
            tried.join(", ")
        ))
        .hint("check the password, and that the text was not changed after it was encrypted")
    }

    fn keys(&self, at: usize, secret: &VaultSecret, salt: &[u8]) -> Keys {
        let place = (salt.to_vec(), at);
        if let Some(known) = self.keys.lock().ok().and_then(|keys| keys.get(&place).cloned()) {
            return known;
        }
        let keys = Keys::derive(secret.password.reveal(), salt);
        if let Ok(mut known) = self.keys.lock() {
            known.insert(place, keys.clone());
        }
        keys
    }

    /// Encrypts `text` with the secret labelled `label`, or the first one.
    ///
    /// # Errors
    /// There is no such secret.
    pub fn encrypt(&self, text: &[u8], label: Option<&str>) -> Result<String, Diagnostic> {
        let secret = match label {
            Some(label) => self.secrets.iter().find(|secret| secret.label == label).ok_or_else(|| {
                let known: Vec<_> = self.secrets.iter().map(|secret| secret.label.as_str()).collect();
                Diagnostic::error(format!("there is no vault secret with the label `{label}`")).did_you_mean(label, known)
            }),
            None => self.secrets.first().ok_or_else(|| Diagnostic::error("no vault secret was given")),
        };
        let secret = secret.map_err(|diagnostic| diagnostic.hint("give one with `--vault-id label@file`"))?;
        encrypt_with(text, secret)
    }

    /// Makes the values of a decrypted file known to the redactor: those of YAML one by one, else all of its lines.
    fn learn_file(&self, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else { return };
        let parsed = yaml::parse(&Sources::default(), Path::new("<vault>"), text.to_owned());
        let errors = parsed.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let collections = !parsed.documents.is_empty()
            && parsed.documents.iter().all(|node| matches!(node.kind, Kind::Map(_) | Kind::List(_) | Kind::Null));
        if errors || !collections {
            self.redactor.learn(text);
            return;
        }
        for document in &parsed.documents {
            self.learn_node(document);
        }
    }

    fn learn_node(&self, node: &Node) {
        match &node.kind {
            Kind::Str(text) if has_template_marks(text) => {}
            Kind::Str(text) | Kind::Unsafe(text) => self.redactor.learn(text),
            // Short numbers are ports and counts: masking them would spoil every output.
            Kind::Int(number) if number.unsigned_abs() >= 100_000 => self.redactor.learn(&number.to_string()),
            Kind::List(items) => items.iter().for_each(|item| self.learn_node(item)),
            Kind::Map(entries) => entries.iter().for_each(|(_, value)| self.learn_node(value)),
            _ => {}
        }
    }
}

/// Encrypts `text` with one secret and a new salt.
///
/// # Errors
/// The system has no random numbers.
pub fn encrypt_with(text: &[u8], secret: &VaultSecret) -> Result<String, Diagnostic> {
    encrypt_salted(text, secret, None)
}

/// As [`encrypt_with`], with a salt of one's own (`ANSIBLE_VAULT_ENCRYPT_SALT`): the same text then gives the same vault.
///
/// # Errors
/// The system has no random numbers.
pub fn encrypt_salted(text: &[u8], secret: &VaultSecret, salt: Option<&str>) -> Result<String, Diagnostic> {
    if let Some(salt) = salt {
        return Ok(Keys::derive(secret.password.reveal(), salt.as_bytes()).seal(text, salt.as_bytes(), &secret.label).armoured());
    }
    let mut salt = [0_u8; 32];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut salt)
        .map_err(|_| Diagnostic::error("the system gave no random numbers to encrypt with"))?;
    Ok(Keys::derive(secret.password.reveal(), &salt).seal(text, &salt, &secret.label).armoured())
}

/// Encrypts `text` with a password that is no secret of the run's vault; without a salt a new one is made.
///
/// # Errors
/// The system has no random numbers.
pub fn seal_with(text: &str, password: &str, salt: Option<&str>, label: &str) -> Result<String, String> {
    let secret = VaultSecret { label: label.to_owned(), password: Secret::new(password.to_owned()), origin: "a template".to_owned() };
    match salt {
        Some(salt) => Ok(Keys::derive(password, salt.as_bytes()).seal(text.as_bytes(), salt.as_bytes(), label).armoured()),
        None => encrypt_with(text.as_bytes(), &secret).map_err(|error| error.message),
    }
}

/// Decrypts a vaulted text with a password that is no secret of the run's vault.
///
/// # Errors
/// Says what is wrong with the text, or that the password is not its own.
pub fn open_with(armoured: &str, password: &str) -> Result<String, String> {
    let sealed = Sealed::parse(armoured.as_bytes()).map_err(|why| format!("this is no vaulted text: {why}"))?;
    let plain = Keys::derive(password, &sealed.salt).open(&sealed).ok_or("the password does not open this vaulted text")?;
    String::from_utf8(plain).map_err(|_| "the vaulted text is not UTF-8".to_owned())
}

/// Returns the system's words without Rust's "(os error 2)".
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(label: &str, password: &str) -> VaultSecret {
        VaultSecret { label: label.to_owned(), password: Secret::new(password.to_owned()), origin: "a test".to_owned() }
    }

    fn vault(secrets: Vec<VaultSecret>) -> (Vault, Redactor) {
        let redactor = Redactor::default();
        (Vault::new(secrets, redactor.clone()), redactor)
    }

    #[test]
    fn what_is_encrypted_is_decrypted_with_any_length() {
        let (vault, redactor) = vault(vec![secret("default", "first one"), secret("prod", "other one")]);
        for length in [0, 1, 15, 16, 17, 100] {
            let text = "x".repeat(length);
            let armoured = vault.encrypt(text.as_bytes(), Some("prod")).expect("encrypts");
            assert!(armoured.starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n"));
            assert!(armoured.lines().all(|line| line.len() <= 80));
            assert_eq!(&*vault.decrypt_text(&armoured, Span::default()).expect("decrypts"), text);
        }
        assert!(vault.encrypt(b"x", None).expect("encrypts").starts_with("$ANSIBLE_VAULT;1.1;AES256\n"));
        assert_eq!(redactor.mask("first one and xxxxxxxxxxxxxxx"), "*** and ***");
    }

    #[test]
    fn a_wrong_password_names_the_file_the_label_and_what_was_tried() {
        let (right, _) = vault(vec![secret("prod", "right")]);
        let (wrong, _) = vault(vec![secret("dev", "wrong!")]);
        let armoured = right.encrypt(b"text", None).expect("encrypts");
        let file = tempfile::NamedTempFile::new().expect("file");
        std::io::Write::write_all(&mut file.as_file(), armoured.as_bytes()).expect("writes");
        let diagnostic = wrong.read_file(file.path()).expect_err("does not fit");
        let message = diagnostic.message.replace(&file.path().display().to_string(), "FILE");
        assert_eq!(
            message,
            "no vault secrets were found that could decrypt `FILE`, which has the vault id `prod`; tried: `dev` from a test"
        );
        let none = Vault::default().read_file(file.path()).expect_err("no secret");
        assert!(none.message.contains("no vault secret was given"), "{}", none.message);
    }

    #[test]
    fn the_values_of_a_vaulted_file_are_secrets_and_its_names_are_not() {
        let (vault, redactor) = vault(vec![secret("default", "password")]);
        let text = "name: s3cr3t-value\nport: 9200\npin: 123456\nlist: [{deep: another-one}]\nt: '{{ name }}'\n";
        let file = tempfile::NamedTempFile::new().expect("file");
        std::io::Write::write_all(&mut file.as_file(), vault.encrypt(text.as_bytes(), None).expect("encrypts").as_bytes()).expect("writes");
        assert_eq!(vault.read_file(file.path()).expect("reads"), text.as_bytes());
        assert_eq!(redactor.mask("name s3cr3t-value 9200 123456 another-one {{ name }}"), "name *** 9200 *** *** {{ name }}");
    }

    #[test]
    fn damaged_texts_are_refused() {
        let (vault, _) = vault(vec![secret("default", "password")]);
        let armoured = vault.encrypt(b"some text", None).expect("encrypts");
        for (damaged, what) in [
            (armoured.replace("1.1", "2.0"), "format `2.0`"),
            (armoured.replace("AES256", "AES"), "cipher `AES`"),
            (armoured[..armoured.len() - 30].to_owned(), ""),
            ("$ANSIBLE_VAULT;1.1;AES256\nzz\n".to_owned(), "damaged"),
            ("$ANSIBLE_VAULT;1.1;AES256\n".to_owned(), "damaged"),
        ] {
            let diagnostic = vault.decrypt(damaged.as_bytes(), "it").err().expect("is refused");
            assert!(diagnostic.message.contains(what), "{}", diagnostic.message);
        }
    }

    /// Written by ansible-vault 2.19 with the password `pw1`.
    const BY_ANSIBLE: [&str; 2] = [
        "$ANSIBLE_VAULT;1.1;AES256\n39363938653833306230643137333638653230346634666438613766326437646236376161333330\n6664646365306236303664323731306461653134383530610a633064633537303965653237323037\n34346638313463356239363730383662633461616163643866346163643431643535643537333632\n3430386665616562640a386136616134636663313330393039363037353463356637366361313762\n39393266396136336539623034626265366137623237383034656163363663356633\n",
        "$ANSIBLE_VAULT;1.2;AES256;dev\n63393962356331666161653638393931346538643337353663613533616264353430313965666363\n6661386634356362343866386562366430643337646664660a373365633834646137636633636563\n32373065613463623331386633356665306132326136323138373939643766303035386431353832\n3433613536653565380a356137393639613836646564353336353538313561376537363365393565\n39653536646339663062356537393166303838313633663864313863343633383162\n",
    ];

    #[test]
    fn what_ansible_encrypted_is_read() {
        let (vault, _) = vault(vec![secret("other", "not it"), secret("dev", "pw1")]);
        for armoured in BY_ANSIBLE {
            assert_eq!(&*vault.decrypt_text(armoured, Span::default()).expect("decrypts"), "a secret of Ansible");
            // The same, as the value of a YAML file carries it.
            let indented: String = armoured.lines().map(|line| format!("   {line}\n")).collect();
            assert_eq!(&*vault.decrypt_text(&indented, Span::default()).expect("decrypts"), "a secret of Ansible");
        }
    }
}
