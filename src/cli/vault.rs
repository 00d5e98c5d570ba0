//! `windlass vault`: encrypts, decrypts, shows and edits vaulted files, in Ansible's format.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, Subcommand};

use crate::load::config::Config;
use crate::load::vault::private::{self, PrivateFile};
use crate::load::vault::secrets::load_new;
use crate::load::vault::{SecretSources, Vault, VaultSecret, encrypt_salted, format};
use crate::source::Diagnostic;
use crate::value::secret::Redactor;

/// Flags of `windlass vault`.
#[derive(Clone, Debug, Args)]
pub struct VaultCommand {
    #[command(subcommand)]
    action: Action,
    /// Taken for the sake of scripts; there is nothing more to show
    #[arg(short, long, action = clap::ArgAction::Count, global = true, hide = true)]
    verbose: u8,
}

/// Where the vault's passwords come from.
#[derive(Clone, Debug, Default, Args, serde::Serialize, serde::Deserialize)]
pub struct SecretArguments {
    /// Vault secret: `label@file`, `label@prompt`, a file or a program; may be given several times
    #[arg(long)]
    pub vault_id: Vec<String>,
    /// File or program with the vault's password
    #[arg(long, visible_alias = "vault-pass-file")]
    pub vault_password_file: Vec<PathBuf>,
    /// Ask for the vault's password
    #[arg(short = 'J', long, visible_alias = "ask-vault-password")]
    pub ask_vault_pass: bool,
}

impl SecretArguments {
    /// Returns the sources that the flags and the environment name.
    pub fn sources(&self, config: &Config) -> SecretSources {
        let ask = self.ask_vault_pass || (config.is_on("DEFAULT_ASK_VAULT_PASS") && self.vault_password_file.is_empty());
        SecretSources { ids: self.vault_id.clone(), files: self.vault_password_file.clone(), ask }
            .with_environment(&config.list("DEFAULT_VAULT_IDENTITY_LIST"), config.path("DEFAULT_VAULT_PASSWORD_FILE").as_deref())
    }
}

/// Gets the secrets of `sources`, and tells of those that cannot be had.
///
/// # Errors
/// None can be had.
pub fn load(sources: &SecretSources) -> Outcome<Vec<VaultSecret>> {
    let mut warnings = Vec::new();
    let secrets = sources.load(&mut ask, &mut |warning| warnings.push(warning));
    super::complain(&super::sources(), &warnings);
    secrets
}

/// Asks on the terminal; nothing that is typed shows. Where there is none, the answer is the next line of standard input.
///
/// # Errors
/// There is neither.
pub fn ask(prompt: &str) -> std::io::Result<String> {
    rpassword::prompt_password(prompt).or_else(|error| {
        let mut line = String::new();
        match std::io::stdin().read_line(&mut line) {
            Ok(length) if length > 0 => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
            _ => Err(std::io::Error::other(format!("there is no terminal ({})", plain(&error)))),
        }
    })
}

#[derive(Clone, Debug, Args)]
struct Encrypting {
    #[command(flatten)]
    secrets: SecretArguments,
    /// The label of the secret to encrypt with, where several are given
    #[arg(long)]
    encrypt_vault_id: Option<String>,
}

#[derive(Clone, Debug, Args)]
struct Files {
    /// Files; none, or `-`, for standard input
    files: Vec<PathBuf>,
    /// Write here instead of in place; `-` for standard output
    #[arg(long)]
    output: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Make a new vaulted file in an editor
    Create {
        #[command(flatten)]
        with: Encrypting,
        /// The file
        file: PathBuf,
    },
    /// Encrypt files
    Encrypt {
        #[command(flatten)]
        with: Encrypting,
        #[command(flatten)]
        files: Files,
    },
    /// Decrypt files
    Decrypt {
        #[command(flatten)]
        secrets: SecretArguments,
        #[command(flatten)]
        files: Files,
    },
    /// Show vaulted files
    View {
        #[command(flatten)]
        secrets: SecretArguments,
        /// Files; `-` for standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Change vaulted files in an editor
    Edit {
        #[command(flatten)]
        with: Encrypting,
        /// Files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Encrypt files anew with another secret
    Rekey {
        #[command(flatten)]
        with: Encrypting,
        /// The new secret: `label@file`, `label@prompt`, a file or a program
        #[arg(long, conflicts_with = "new_vault_password_file")]
        new_vault_id: Option<String>,
        /// File or program with the new password
        #[arg(long)]
        new_vault_password_file: Option<PathBuf>,
        /// Files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Encrypt single values, to paste into a YAML file
    #[command(alias = "encrypt_string")]
    EncryptString {
        #[command(flatten)]
        with: Encrypting,
        /// Values (others on this machine may see them: `--prompt` and standard input are safer)
        values: Vec<String>,
        /// Name of a value's variable; may be given once for each value
        #[arg(short, long = "name")]
        names: Vec<String>,
        /// Read a value from standard input; this is its variable's name
        #[arg(long)]
        stdin_name: Option<String>,
        /// Ask for the value
        #[arg(short, long)]
        prompt: bool,
        /// Show what is typed for `--prompt`
        #[arg(long)]
        show_input: bool,
        /// Write here instead of to standard output
        #[arg(long)]
        output: Option<PathBuf>,
    },
}

/// What is said where it is not clear which secret to encrypt with.
const SEVERAL: &str = "several vault secrets are given";
/// Ansible's exit code for options that do not fit together.
const OPTIONS: u8 = 5;

/// Does what the flags say and returns the exit code.
pub fn run(command: &VaultCommand) -> u8 {
    match Tool::new().run(&command.action) {
        Ok(()) => super::OK,
        Err(diagnostic) => {
            super::complain(&super::sources(), std::slice::from_ref(&diagnostic));
            if super::is_like_ansible() && diagnostic.message.starts_with(SEVERAL) { OPTIONS } else { super::ERROR }
        }
    }
}

/// What was done, or why not.
pub type Outcome<T = ()> = Result<T, Diagnostic>;

struct Tool {
    config: Config,
}

impl Tool {
    fn new() -> Self {
        Self { config: Config::from_environment() }
    }

    fn run(&self, action: &Action) -> Outcome {
        match action {
            Action::Create { with, file } => self.create(with, file),
            Action::Encrypt { with, files } => {
                let secret = self.encrypting_secret(with)?;
                each(files, |name, text| {
                    if format::is_vaulted(&text) {
                        return Err(
                            Diagnostic::error(format!("{name} is encrypted already")).hint("`windlass vault rekey` changes its secret")
                        );
                    }
                    Ok(self.sealed(&text, &secret)?.into_bytes())
                })
            }
            Action::Decrypt { secrets, files } => {
                let vault = self.vault(secrets)?;
                each(files, |name, text| decrypted(&vault, name, &text))
            }
            Action::View { secrets, files } => {
                let vault = self.vault(secrets)?;
                files.iter().try_for_each(|file| {
                    let (name, text) = read(file)?;
                    print(&decrypted(&vault, &name, &text)?)
                })
            }
            Action::Edit { with, files } => self.edit(with, files),
            Action::Rekey { with, new_vault_id, new_vault_password_file, files } => {
                let file = new_vault_password_file.as_ref().map(|path| path.display().to_string());
                self.rekey(with, new_vault_id.clone().or(file), files)
            }
            Action::EncryptString { with, values, names, stdin_name, prompt, show_input, output } => {
                let secret = self.encrypting_secret(with)?;
                let mut named = Vec::new();
                if *prompt {
                    named.push((names.first().cloned(), ask_value(names.first(), *show_input)?));
                }
                let mut names = names.iter().skip(usize::from(*prompt));
                let from_stdin = stdin_name.is_some() || values.iter().any(|value| value == "-") || (values.is_empty() && !prompt);
                if from_stdin {
                    let (_, text) = read(Path::new("-"))?;
                    named.push((stdin_name.clone(), text));
                }
                for value in values.iter().filter(|value| *value != "-") {
                    named.push((names.next().cloned(), value.clone().into_bytes()));
                }
                let texts: Outcome<Vec<String>> =
                    named.iter().map(|(name, text)| Ok(tagged(name.as_deref(), &self.sealed(text, &secret)?))).collect();
                write(output.as_deref().unwrap_or(Path::new("-")), texts?.join("").as_bytes())
            }
        }
    }

    fn vault(&self, secrets: &SecretArguments) -> Outcome<Vault> {
        let mut sources = secrets.sources(&self.config);
        sources.ask |= sources.is_empty();
        let vault = Vault::new(load(&sources)?, Redactor::default());
        Ok(vault.matching_labels(self.config.is_on("DEFAULT_VAULT_ID_MATCH")))
    }

    /// Returns the one secret to encrypt with.
    fn encrypting_secret(&self, with: &Encrypting) -> Outcome<VaultSecret> {
        let sources = with.secrets.sources(&self.config);
        let label = with.encrypt_vault_id.as_deref().or_else(|| self.config.text("DEFAULT_VAULT_ENCRYPT_IDENTITY"));
        if sources.is_empty() {
            return load_new(&format!("{}@prompt", label.unwrap_or(format::DEFAULT_LABEL)), &mut ask);
        }
        pick(&load(&sources)?, label)
    }

    /// Encrypts a text, with the salt of the settings where they have one.
    fn sealed(&self, text: &[u8], secret: &VaultSecret) -> Outcome<String> {
        encrypt_salted(text, secret, self.config.text("VAULT_ENCRYPT_SALT"))
    }

    fn create(&self, with: &Encrypting, file: &Path) -> Outcome {
        if file.exists() {
            return Err(Diagnostic::error(format!("`{}` exists already", file.display())).hint("`windlass vault edit` changes it"));
        }
        let secret = self.encrypting_secret(with)?;
        let text = edited(file, b"")?;
        write(file, self.sealed(&text, &secret)?.as_bytes())
    }

    fn edit(&self, with: &Encrypting, files: &[PathBuf]) -> Outcome {
        let vault = self.vault(&with.secrets)?;
        for file in files {
            let (name, armoured) = read(file)?;
            let opened = vault.decrypt(&armoured, &name)?;
            let text = edited(file, &opened.text)?;
            let secret = match &with.encrypt_vault_id {
                Some(label) => pick(vault.secrets(), Some(label))?,
                None => {
                    let mut secret =
                        vault.secrets().get(opened.secret).cloned().ok_or_else(|| Diagnostic::error("no vault secret was given"))?;
                    secret.label = opened.label.clone();
                    secret
                }
            };
            if text != opened.text || with.encrypt_vault_id.is_some() {
                write(file, self.sealed(&text, &secret)?.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Decrypts all files before it writes the first.
    fn rekey(&self, with: &Encrypting, new: Option<String>, files: &[PathBuf]) -> Outcome {
        let vault = self.vault(&with.secrets)?;
        let opened: Outcome<Vec<_>> = files
            .iter()
            .map(|file| {
                let (name, armoured) = read(file)?;
                Ok((file, decrypted(&vault, &name, &armoured)?))
            })
            .collect();
        let opened = opened?;
        let default = format!("{}@prompt", format::DEFAULT_LABEL);
        let mut secret = match (&new, &with.encrypt_vault_id) {
            (None, Some(label)) => pick(vault.secrets(), Some(label))?,
            _ => load_new(new.as_deref().unwrap_or(&default), &mut ask)?,
        };
        if let Some(label) = &with.encrypt_vault_id {
            secret.label.clone_from(label);
        }
        for (file, text) in opened {
            write(file, self.sealed(&text, &secret)?.as_bytes())?;
        }
        Ok(())
    }
}

fn pick(secrets: &[VaultSecret], label: Option<&str>) -> Outcome<VaultSecret> {
    let known: Vec<_> = secrets.iter().map(|secret| secret.label.as_str()).collect();
    match (label, secrets) {
        (Some(label), _) => secrets.iter().find(|secret| secret.label == label).cloned().ok_or_else(|| {
            Diagnostic::error(format!(
                "Did not find a match for --encrypt-vault-id={label} in the known vault-ids ['{}']",
                known.join("', '")
            ))
        }),
        (None, [one]) => Ok(one.clone()),
        (None, []) => Err(Diagnostic::error("no vault secret was given").hint("give one with `--vault-id label@file`")),
        (None, _) => Err(Diagnostic::error(format!("{SEVERAL}: `{}`", known.join("`, `")))
            .hint("name the one to encrypt with: `--encrypt-vault-id label`")),
    }
}

fn decrypted(vault: &Vault, name: &str, armoured: &[u8]) -> Outcome<Vec<u8>> {
    if !format::is_vaulted(armoured) {
        return Err(Diagnostic::error(format!("{name} is not encrypted")));
    }
    Ok(vault.decrypt(armoured, name)?.text)
}

/// Turns each file into what `make` makes of it, in place or to the output. Nothing is written when one of them fails.
fn each(files: &Files, make: impl Fn(&str, Vec<u8>) -> Outcome<Vec<u8>>) -> Outcome {
    let inputs = if files.files.is_empty() { vec![PathBuf::from("-")] } else { files.files.clone() };
    if files.output.is_some() && inputs.len() > 1 {
        return Err(Diagnostic::error("`--output` is for one file, several are given"));
    }
    let mut made = Vec::new();
    for input in &inputs {
        let (name, text) = read(input)?;
        made.push((files.output.as_ref().unwrap_or(input), make(&name, text)?));
    }
    made.iter().try_for_each(|(path, text)| write(path, text))
}

/// Returns the vaulted value as YAML: `name: !vault |` and its lines, indented.
fn tagged(name: Option<&str>, sealed: &str) -> String {
    let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let lines: String = sealed.lines().map(|line| format!("          {line}\n")).collect();
    format!("{name}!vault |\n{lines}")
}

fn ask_value(name: Option<&String>, show: bool) -> Outcome<Vec<u8>> {
    let what = name.map(|name| format!(" of `{name}`")).unwrap_or_default();
    let prompt = format!("Value{what}: ");
    let answer = if show {
        let mut err = std::io::stderr().lock();
        let mut line = String::new();
        let read = write!(err, "{prompt}").and_then(|()| err.flush()).and_then(|()| std::io::stdin().read_line(&mut line));
        read.map(|_| line.trim_end_matches(['\r', '\n']).to_owned())
    } else {
        ask(&prompt)
    };
    let answer = answer.map_err(|error| Diagnostic::error(format!("cannot ask for the value: {}", plain(&error))))?;
    if answer.is_empty() {
        return Err(Diagnostic::error("the value is empty"));
    }
    Ok(answer.into_bytes())
}

/// Returns `text` as changed in the user's editor.
#[allow(clippy::disallowed_methods, reason = "the user's own editor, on the controller")]
fn edited(file: &Path, text: &[u8]) -> Outcome<Vec<u8>> {
    let name = file.file_name().map_or_else(|| "vault".to_owned(), |name| name.to_string_lossy().into_owned());
    let copy =
        PrivateFile::new(&name, text).map_err(|error| Diagnostic::error(format!("cannot make a private file: {}", plain(&error))))?;
    let chosen = ["EDITOR", "VISUAL"].iter().find_map(|name| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty()));
    let editor = chosen.unwrap_or_else(|| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let status = Command::new(words.next().unwrap_or("vi")).args(words).arg(copy.path()).status();
    let status = status.map_err(|error| {
        Diagnostic::error(format!("cannot start the editor `{editor}`: {}", plain(&error))).hint("set EDITOR to the editor of your choice")
    })?;
    if !status.success() {
        return Err(Diagnostic::error(format!("the editor `{editor}` failed; nothing was changed")));
    }
    std::fs::read(copy.path()).map_err(|error| Diagnostic::error(format!("cannot read what the editor left: {}", plain(&error))))
}

/// Returns a name for messages and what is in the file.
fn read(path: &Path) -> Outcome<(String, Vec<u8>)> {
    if path == Path::new("-") {
        let mut text = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut text);
        read.map_err(|error| Diagnostic::error(format!("cannot read standard input: {}", plain(&error))))?;
        return Ok(("standard input".to_owned(), text));
    }
    let name = format!("`{}`", path.display());
    let text = std::fs::read(path).map_err(|error| Diagnostic::error(format!("cannot read {name}: {}", plain(&error))))?;
    Ok((name, text))
}

fn write(path: &Path, text: &[u8]) -> Outcome {
    if path == Path::new("-") {
        return print(text);
    }
    private::replace(path, text).map_err(|error| Diagnostic::error(format!("cannot write `{}`: {}", path.display(), plain(&error))))
}

fn print(text: &[u8]) -> Outcome {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text).and_then(|()| out.flush());
    written.map_err(|error| Diagnostic::error(format!("cannot write to standard output: {}", plain(&error))))
}

/// Returns the system's words without Rust's "(os error 2)".
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
