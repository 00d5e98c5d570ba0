//! Where the vault's passwords come from: files, programs, prompts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::source::{Diagnostic, Severity};
use crate::value::secret::Secret;

use super::format::{self, DEFAULT_LABEL};

/// A password of the vault.
#[derive(Clone, Debug)]
pub struct VaultSecret {
    /// Its label, `default` where none was given.
    pub label: String,
    /// The password.
    pub password: Secret<String>,
    /// Where it came from, for messages: "the file `x`", "the prompt".
    pub origin: String,
}

/// Asks a person for a password; the text is the prompt.
pub type Ask<'a> = &'a mut dyn FnMut(&str) -> std::io::Result<String>;

/// Where to get the vault's passwords, as given on the command line and in the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretSources {
    /// `--vault-id`: `label@source` or `source`; source is `prompt`, a file or a program.
    pub ids: Vec<String>,
    /// `--vault-password-file`.
    pub files: Vec<PathBuf>,
    /// `--ask-vault-pass`.
    pub ask: bool,
}

impl SecretSources {
    /// Adds what `ANSIBLE_VAULT_IDENTITY_LIST` (before the others) and `ANSIBLE_VAULT_PASSWORD_FILE` (behind them) name.
    #[must_use]
    pub fn with_environment(mut self, identities: &[String], file: Option<&Path>) -> Self {
        let given = std::mem::take(&mut self.ids);
        self.ids = identities.iter().cloned().chain(given).collect();
        if let Some(file) = file.filter(|file| !self.ask && !self.files.iter().any(|known| known == file)) {
            self.files.push(file.to_owned());
        }
        self
    }

    /// Whether no source is named.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.files.is_empty() && !self.ask
    }

    /// Gets the passwords, in the order in which they are tried. Where some can be had, those that cannot are passed over,
    /// each with a warning that goes to `warn`.
    ///
    /// # Errors
    /// A file or program gives no password, or nobody answers, and there is no other.
    pub fn load(&self, ask: Ask<'_>, warn: &mut dyn FnMut(Diagnostic)) -> Result<Vec<VaultSecret>, Diagnostic> {
        let mut secrets = Vec::new();
        let mut lost = Vec::new();
        let mut sources: Vec<(String, String)> = self.ids.iter().map(|id| split_id(id)).collect();
        sources.extend(self.files.iter().map(|file| (DEFAULT_LABEL.to_owned(), file.display().to_string())));
        if self.ask {
            sources.push((DEFAULT_LABEL.to_owned(), "prompt".to_owned()));
        }
        for (label, source) in sources {
            match one(&label, &source, false, ask, &secrets) {
                Ok(secret) => secrets.push(secret),
                Err(error) => {
                    let kind = if Path::new(&source).exists() { "in vault password file loading" } else { "getting vault password file" };
                    lost.push((format!("Error {kind} ({label}): {}", error.message), error));
                }
            }
        }
        if secrets.is_empty()
            && let Some((_, error)) = lost.pop()
        {
            return Err(error);
        }
        for (message, error) in lost {
            warn(Diagnostic { severity: Severity::Warning, message, ..error });
        }
        Ok(secrets)
    }
}

/// Gets one password to encrypt with: a prompt asks twice.
///
/// # Errors
/// As [`SecretSources::load`], or the two answers differ.
pub fn load_new(id: &str, ask: Ask<'_>) -> Result<VaultSecret, Diagnostic> {
    let (label, source) = split_id(id);
    one(&label, &source, true, ask, &[])
}

/// Takes `label@source` apart.
fn split_id(id: &str) -> (String, String) {
    match id.split_once('@') {
        Some((label, source)) if !label.is_empty() => (label.to_owned(), source.to_owned()),
        Some((_, source)) => (DEFAULT_LABEL.to_owned(), source.to_owned()),
        None => (DEFAULT_LABEL.to_owned(), id.to_owned()),
    }
}

fn one(label: &str, source: &str, twice: bool, ask: Ask<'_>, known: &[VaultSecret]) -> Result<VaultSecret, Diagnostic> {
    let secret = |password: String, origin: String| VaultSecret { label: label.to_owned(), password: Secret::new(password), origin };
    if matches!(source, "prompt" | "prompt_ask_vault_pass") {
        let name = if label == DEFAULT_LABEL { String::new() } else { format!(" ({label})") };
        let no_answer = |error: std::io::Error| Diagnostic::error(format!("cannot ask for the vault password{name}: {error}"));
        let new = if twice { "New vault" } else { "Vault" };
        let password = ask(&format!("{new} password{name}: ")).map_err(no_answer)?;
        if password.is_empty() {
            return Err(Diagnostic::error(format!("the vault password{name} is empty")));
        }
        if twice && ask(&format!("Confirm new vault password{name}: ")).map_err(no_answer)? != password {
            return Err(Diagnostic::error("the two vault passwords are not the same"));
        }
        return Ok(secret(password, "the prompt".to_owned()));
    }
    let path = home_expanded(source);
    let password = if is_program(&path) { from_program(&path, label)? } else { from_file(&path, known)? };
    let origin = format!("`{}`", path.display());
    if password.is_empty() {
        return Err(
            Diagnostic::error(format!("the vault password from {origin} is empty")).hint("put the password on the file's first line")
        );
    }
    Ok(secret(password, origin))
}

/// Returns the path with `~/` put in full.
fn home_expanded(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn from_file(path: &Path, known: &[VaultSecret]) -> Result<String, Diagnostic> {
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        let diagnostic = Diagnostic::error(format!("cannot read the vault password file `{name}`: {}", super::plain(&error)));
        match name.to_string().contains('@') {
            true => diagnostic,
            false => diagnostic.hint("a source is `prompt`, or the path of a file or program"),
        }
    })?;
    let bytes = if format::is_vaulted(&bytes) {
        super::Vault::new(known.to_vec(), crate::value::secret::Redactor::default()).decrypt(&bytes, &format!("`{name}`"))?.text
    } else {
        bytes
    };
    let text = String::from_utf8(bytes).map_err(|_| Diagnostic::error(format!("the vault password file `{name}` is not UTF-8 text")))?;
    Ok(text.trim().to_owned())
}

/// Runs a program that prints the password. One whose name ends in `-client` is told the label.
#[allow(clippy::disallowed_methods, reason = "the user's own program that knows the password, on the controller")]
fn from_program(path: &Path, label: &str) -> Result<String, Diagnostic> {
    let name = path.display();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut command = Command::new(absolute);
    if path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem.ends_with("-client")) {
        command.args(["--vault-id", label]);
    }
    let output = command.stdin(Stdio::inherit()).stderr(Stdio::inherit()).output().map_err(|error| {
        let diagnostic = Diagnostic::error(format!("cannot run the vault password program `{name}`: {}", super::plain(&error)));
        diagnostic.hint("a password file that is not a program must not be executable: `chmod -x` it")
    })?;
    if !output.status.success() {
        let code = output.status.code().map_or_else(|| "a signal".to_owned(), |code| format!("return code {code}"));
        return Err(Diagnostic::error(format!("the vault password program `{name}` ended with {code} for the vault id `{label}`")));
    }
    let text = String::from_utf8(output.stdout)
        .map_err(|_| Diagnostic::error(format!("the vault password program `{name}` printed something that is not UTF-8 text")))?;
    Ok(text.trim_matches(['\r', '\n']).to_owned())
}
