//! What templates see of the controller: the vault, files around the task, the redactor.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::change::{Attributes, Before, Change, Content, Host, Mode, Plan, Program, Request, carry_out, http, programs};
use crate::load::config::Config;
use crate::report::event::{Event, Listener};
use crate::run::hands::Hands;
use crate::run::library::Library;
use crate::run::search::{Search, Seen};
use crate::run::site::Site;
use crate::source::{Diagnostic, Span};
use crate::value::Value;
use crate::value::secret::Redactor;
use crate::vars::{Fetch, World};

/// What templates see of the controller.
pub(super) struct Outside {
    pub(super) library: Arc<dyn Library>,
    pub(super) listener: Arc<dyn Listener>,
    pub(super) redactor: Redactor,
    pub(super) search: Search,
    pub(super) hands: Arc<dyn Hands>,
    pub(super) site: Arc<dyn Site>,
}

/// Runs a command line on the controller, in `folder`, and returns what it printed.
///
/// # Errors
/// Says why it did not run, or how it failed.
pub fn piped(command: &str, folder: &Path) -> Result<Vec<u8>, String> {
    let program = Program {
        argv: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
        chdir: Some(folder.to_owned()).filter(|folder| folder.is_dir()),
        ..Program::default()
    };
    let output = programs::ask(&program).map_err(|failure| failure.to_string())?;
    match output.rc {
        0 => Ok(output.stdout),
        rc => Err(format!("ended with return code {rc}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl World for Outside {
    fn unvault(&self, armoured: &str, span: Span) -> Result<Arc<str>, Diagnostic> {
        let plain = self.library.unvault(armoured, span)?;
        self.redactor.learn(&plain);
        Ok(plain)
    }

    fn fetch(&self, wanted: &Fetch) -> Result<Vec<u8>, String> {
        let ca_pem = match &wanted.ca_file {
            Some(path) => Some(std::fs::read(path).map_err(|error| format!("cannot read `{path}`: {error}"))?),
            None => None,
        };
        let request = Request {
            method: "GET".to_owned(),
            url: wanted.url.clone(),
            headers: wanted.headers.clone(),
            body: None,
            basic: wanted.basic.clone(),
            ca_pem,
            client_pem: None,
            insecure: wanted.insecure,
            timeout: wanted.timeout,
            follow_redirects: wanted.follow_redirects.clone(),
            unix_socket: None,
            use_proxy: wanted.use_proxy,
        };
        let answer = http::send(&request, &[]).map_err(|failure| failure.to_string())?;
        match answer.status {
            200..=299 => Ok(answer.body),
            status => Err(format!("received HTTP error for {}: {status} {}", wanted.url, answer.reason)),
        }
    }

    fn select(&self, pattern: &str) -> Result<Vec<String>, String> {
        let hosts = self.site.select(pattern).map_err(|wrong| wrong.message)?;
        Ok(hosts.iter().map(ToString::to_string).collect())
    }

    fn places(&self, folder: &str, name: &str) -> Vec<PathBuf> {
        let folder = if folder == "*" { self.search.kind } else { folder };
        self.search.places(folder, name)
    }

    fn is_vaulted(&self, text: &str) -> bool {
        self.library.is_vaulted(text)
    }

    fn is_vaulted_file(&self, path: &Path) -> Result<bool, String> {
        let bytes = match Seen::of(&*self.hands).foreseen(path) {
            Some(bytes) => bytes.map_err(|failure| failure.to_string())?,
            None => std::fs::read(path).map_err(|error| error.to_string())?,
        };
        Ok(bytes.starts_with(b"$ANSIBLE_VAULT;"))
    }

    fn find(&self, folder: &str, name: &str) -> Option<PathBuf> {
        let folder = if folder == "*" { self.search.kind } else { folder };
        self.search.find(folder, name, &Seen::of(&*self.hands)).ok()
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        match Seen::of(&*self.hands).foreseen(path) {
            Some(bytes) => bytes.map_err(|failure| failure.to_string()),
            None => self.library.read(path),
        }
    }

    fn secret(&self, text: &str) {
        self.redactor.learn(text);
    }

    fn warn(&self, message: &str) {
        self.listener.tell(&Event::Warning { message: message.to_owned() });
    }

    fn folder(&self) -> PathBuf {
        self.search.playbook_folder.clone()
    }

    fn setting(&self, name: &str) -> Option<Value> {
        Config::from_environment().value(name)
    }

    fn pipe(&self, command: &str) -> Result<Vec<u8>, String> {
        piped(command, &self.search.playbook_folder)
    }

    fn seal(&self, text: &str, password: &str, salt: Option<&str>, label: &str) -> Result<String, String> {
        crate::load::vault::seal_with(text, password, salt, label)
    }

    fn open(&self, armoured: &str, password: &str) -> Result<String, String> {
        crate::load::vault::open_with(armoured, password)
    }

    fn keep(&self, path: &Path, text: &str) -> Result<(), String> {
        let mut changes = Vec::new();
        let missing = path.ancestors().skip(1).take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let private = |mode| Attributes { mode: Some(mode), ..Attributes::default() };
        changes.extend(missing.map(|folder| Change::Directory { path: folder.to_owned(), attributes: private(0o700) }));
        changes.reverse();
        changes.push(Change::Write {
            path: path.to_owned(),
            before: Before::Any,
            after: Content::Bytes(text.as_bytes().to_vec()),
            attributes: private(0o600),
            backup: false,
            validate: None,
            secret: true,
            in_place: false,
        });
        let plan = Plan::all("a generated password is kept", changes);
        let (_, outcome) = carry_out(&mut Host::new(), &plan, Mode::Apply, false);
        outcome.failure.map_or(Ok(()), |failure| Err(failure.to_string()))
    }
}
