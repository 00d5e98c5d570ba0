//! A host in memory, for tests: the overlay's own picture of files over an empty tree, and answers that a test gives.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::picture::Ground;
use super::probe::{FileKind, Stat};
use super::{
    Attributes, Before, Change, Content, Effect, Failure, GroupEntry, Output, Overlay, Plan, Probe, Program, Request, Response, UnitState,
    UserEntry, programs,
};

/// A host in memory. It begins with `/`, `/etc`, `/tmp`, the user and group `root`, and nothing else.
#[derive(Debug, Default)]
pub struct FakeHost {
    overlay: Overlay,
    /// Whether anything was done since it was set up.
    is_changed: bool,
    units: Vec<(String, UnitState)>,
    outputs: Vec<(Vec<String>, Output)>,
    responses: Vec<(String, String, Response)>,
    environment: Vec<(String, String)>,
    /// Ports that answer.
    pub ports: Vec<(String, u16)>,
    /// Requests that were sent, in order.
    pub requests: Mutex<Vec<Request>>,
}

/// Nothing but a root directory.
struct Empty;

impl Ground for Empty {
    fn lstat(&self, path: &Path) -> Result<Option<Stat>, Failure> {
        let root = Stat { kind: FileKind::Directory, mode: 0o755, inode: 2, links: 2, ..Stat::default() };
        Ok(if path == Path::new("/") { Some(root) } else { None })
    }
    fn read(&self, _: &Path) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }
    fn digest(&self, _: &Path, _: &str) -> Result<Option<String>, Failure> {
        Ok(None)
    }
    fn list(&self, _: &Path) -> Result<Option<Vec<String>>, Failure> {
        Ok(Some(Vec::new()))
    }
    fn newborn(&self) -> (u32, u32, u32) {
        (0, 0, 0o022)
    }
}

impl FakeHost {
    /// Returns a host with these files: path and text. A path that ends in `/` is a directory, and `GET https://...` is what a
    /// server answers.
    pub fn with(given: &[(&str, &str)]) -> Self {
        let mut host = Self::default()
            .directory("/etc")
            .directory("/tmp")
            .user(UserEntry {
                name: "root".into(),
                uid: Some(0),
                gid: Some(0),
                home: "/root".into(),
                shell: "/bin/sh".into(),
                gecos: "root".into(),
            })
            .group(GroupEntry { name: "root".into(), gid: Some(0), members: Vec::new() });
        for (path, text) in given {
            host = match path.split_once(' ') {
                Some((method, url)) if url.starts_with("http") => host.answers(method, url, 200, text),
                _ if path.ends_with('/') => host.directory(path),
                _ => host.file(path, text),
            };
        }
        host
    }

    /// Takes a change in, as if it had been made.
    pub fn make(&mut self, change: &Change) -> Result<(), Failure> {
        self.is_changed = true;
        self.absorb(change)
    }

    fn absorb(&mut self, change: &Change) -> Result<(), Failure> {
        let units = self.units.clone();
        let now =
            |name: &str, _: &str| Ok(units.iter().find(|(known, _)| known == name).map(|(_, state)| state.clone()).unwrap_or_default());
        self.overlay.absorb(change, &Empty, &now)
    }

    /// Takes every change of a plan in.
    ///
    /// # Errors
    /// As the overlay says.
    pub fn after(&mut self, plan: &Plan) -> Result<(), Failure> {
        plan.changes.iter().try_for_each(|change| self.make(change))
    }

    fn having(mut self, change: &Change) -> Self {
        // The fake's own folders are always readable, so this cannot fail.
        let _ = self.absorb(change);
        self
    }

    fn effect(self, effect: Effect) -> Self {
        self.having(&Change::Run { program: Program::default(), effects: vec![effect], summary: "given".to_owned() })
    }

    /// Adds a directory, with those above it.
    pub fn directory(mut self, path: &str) -> Self {
        let path = PathBuf::from(path.trim_end_matches('/'));
        for folder in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            if matches!(self.stat(folder, true), Ok(None)) {
                self = self.having(&Change::Directory { path: folder.to_owned(), attributes: Attributes::default() });
            }
        }
        self
    }

    /// Adds a file, with the directories above it.
    pub fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        let path = PathBuf::from(path);
        let folder = path.parent().map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
        self.directory(&folder).having(&Change::Write {
            path,
            before: Before::Any,
            after: Content::Bytes(text.as_ref().to_vec()),
            attributes: Attributes::default(),
            backup: false,
            validate: None,
            secret: false,
            in_place: false,
        })
    }

    /// Adds a user.
    pub fn user(self, user: UserEntry) -> Self {
        self.effect(Effect::User(user))
    }

    /// Adds a group.
    pub fn group(self, group: GroupEntry) -> Self {
        self.effect(Effect::Group(group))
    }

    /// Adds an installed package.
    pub fn installed(self, name: &str, version: &str) -> Self {
        self.effect(Effect::Package { name: name.to_owned(), version: Some(version.to_owned()) })
    }

    /// Adds a unit; `name` as the module will ask for it.
    pub fn with_unit(mut self, name: &str, state: UnitState) -> Self {
        self.units.push((name.to_owned(), state));
        self
    }

    /// Sets what a program prints when it is asked with a command line that starts so.
    pub fn prints(mut self, argv: &[&str], rc: i32, stdout: &str) -> Self {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        self.outputs.push((argv, Output { rc, stdout: stdout.as_bytes().to_vec(), ..Output::default() }));
        self
    }

    /// Sets what a server answers to a request of this method whose address starts so.
    pub fn answers(mut self, method: &str, url: &str, status: u16, body: &str) -> Self {
        let response = Response { status, body: body.as_bytes().to_vec(), url: url.to_owned(), ..Response::default() };
        self.responses.push((method.to_owned(), url.to_owned(), response));
        self
    }

    /// Sets a variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the text of a file, empty where there is none.
    pub fn text(&self, path: &str) -> String {
        let bytes = self.read(Path::new(path)).ok().flatten().unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn printed(&self, argv: &[String]) -> Result<Output, Failure> {
        match self.overlay.query(argv) {
            Ok(Some(foreseen)) => return Ok(foreseen),
            // What a test put there is no forecast.
            Err(failure) if self.is_changed => return Err(failure),
            _ => {}
        }
        let known = self.outputs.iter().rev().find(|(start, _)| argv.starts_with(start));
        known.map(|(_, output)| output.clone()).ok_or_else(|| Failure::failed(format!("the fake host has no `{}`", programs::shown(argv))))
    }
}

impl Probe for FakeHost {
    fn stat(&self, path: &Path, follow: bool) -> Result<Option<Stat>, Failure> {
        // What a test put there is no forecast.
        Ok(self.overlay.files(&Empty).stat(path, follow)?.map(|stat| Stat { foreseen: false, ..stat }))
    }
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Failure> {
        self.overlay.files(&Empty).read(path)
    }
    fn digest(&self, path: &Path, algorithm: &str) -> Result<Option<String>, Failure> {
        self.overlay.files(&Empty).digest(path, algorithm)
    }
    fn list(&self, path: &Path) -> Result<Option<Vec<String>>, Failure> {
        self.overlay.files(&Empty).list(path)
    }
    fn user(&self, name: &str) -> Result<Option<UserEntry>, Failure> {
        self.overlay.user(name, || Ok(None))
    }
    fn group(&self, name: &str) -> Result<Option<GroupEntry>, Failure> {
        self.overlay.group(name, || Ok(None))
    }
    fn groups_of(&self, user: &str) -> Result<Vec<String>, Failure> {
        self.overlay.groups_of(user, Vec::new())
    }
    fn unit(&self, name: &str, scope: &str) -> Result<UnitState, Failure> {
        let given = || Ok(self.units.iter().find(|(known, _)| known == name).map(|(_, state)| state.clone()).unwrap_or_default());
        self.overlay.unit(name, scope, &Empty, given)
    }
    fn package(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.overlay.package(name)?.flatten())
    }
    fn query(&self, argv: &[&str]) -> Result<Output, Failure> {
        self.printed(&argv.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }
    fn vouched(&self, program: &Program) -> Result<Output, Failure> {
        self.printed(&program.argv)
    }
    fn http(&self, request: &Request) -> Result<Response, Failure> {
        if let Ok(mut requests) = self.requests.lock() {
            requests.push(request.clone());
        }
        if let Some(response) = self.overlay.http(request)? {
            return Ok(response);
        }
        let known = self.responses.iter().rev().find(|(method, url, _)| *method == request.method && request.url.starts_with(url.as_str()));
        known.map(|(_, _, response)| response.clone()).ok_or_else(|| Failure::failed(format!("the fake host cannot answer {request:?}")))
    }
    fn connect(&self, host: &str, port: u16, _: Duration) -> Result<Result<(), String>, Failure> {
        let open = self.ports.iter().any(|(name, number)| name == host && *number == port);
        Ok(if open { Ok(()) } else { Err("Connection refused".to_owned()) })
    }
    fn environment(&self, name: &str) -> Option<String> {
        self.environment.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }
    fn environment_all(&self) -> Vec<(String, String)> {
        self.environment.clone()
    }
    fn now(&self) -> f64 {
        1_800_000_000.0
    }
    fn wait(&self, _: Duration) {}
    fn moves(&self) -> bool {
        false
    }
    fn me(&self) -> Result<UserEntry, Failure> {
        Ok(self.user("root")?.unwrap_or_default())
    }
    fn find_program(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        for folder in programs::search_path(None) {
            let file = folder.join(name);
            if self.stat(&file, true)?.is_some() {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }
    fn free_space(&self, _: &Path) -> Option<(u64, u64)> {
        None
    }
}
