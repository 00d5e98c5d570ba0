//! The machine that this program runs on, as a module sees it.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::kept::Work;
use super::picture::{Ground, is_directory};
use super::probe::{FileKind, Filesystem, READERS, Stat};
use super::{
    Change, Failure, Foreseen, GroupEntry, Mode, Output, Overlay, Probe, Program, Request, Response, UnitState, UserEntry, accounts,
    digest, http, packages, programs, resolve, units,
};

/// Where large files come from when a change needs them.
pub trait Blobs: Send + Sync {
    /// Returns the content of the file with this SHA-256 (hex) as a stream. What comes is checked against the hash.
    fn fetch(&self, sha256: &str) -> Result<Box<dyn Read + '_>, Failure>;
}

/// The machine that this program runs on, and in a check what is foreseen of it.
#[derive(Clone, Default)]
pub struct Host {
    ground: Machine,
    overlay: Overlay,
    checking: bool,
    environment: Vec<(String, String)>,
    blobs: Option<Arc<dyn Blobs>>,
    /// The step that is worked on, where what it changes is noted.
    work: Option<Arc<Work>>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host (foreseen: {} paths)", self.overlay.paths().len())
    }
}

impl Host {
    /// Returns this machine.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns this machine with `root` as its `/`. For tests: programs still run in the real one.
    pub fn under(root: &Path) -> Self {
        Self { ground: Machine { root: Some(root.to_owned()) }, ..Self::default() }
    }

    /// Sets where large files come from.
    pub fn set_blobs(&mut self, blobs: Arc<dyn Blobs>) {
        self.blobs = Some(blobs);
    }

    /// Sets the step that is worked on: before each of its changes, what is there is noted.
    pub fn set_work(&mut self, work: Option<Work>) {
        self.work = work.map(Arc::new);
    }

    /// Returns the step that was worked on, and ends with it.
    pub fn take_work(&mut self) -> Option<Arc<Work>> {
        self.work.take()
    }

    /// Returns the step that is worked on.
    pub fn work(&self) -> Option<&Work> {
        self.work.as_deref()
    }

    /// Sets the variables that a task adds to the environment.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// Sets what reads show: in a check the foreseen host, else the real one. [`super::run_module`] does it itself.
    pub fn set_mode(&mut self, mode: Mode) {
        self.checking = mode == Mode::Check;
    }

    /// Takes in what was foreseen: here, or by another agent of this host.
    ///
    /// # Errors
    /// When the host cannot be read where the change is.
    pub fn take_in(&mut self, foreseen: &Foreseen) -> Result<(), Failure> {
        let mut overlay = std::mem::take(&mut self.overlay);
        let taken = match foreseen {
            Foreseen::Change(change) => overlay.absorb(change, &self.ground, &|name, scope| units::show(name, scope, &self.environment)),
            Foreseen::Lost(thing, why) => {
                overlay.lose(thing, why, &self.ground);
                Ok(())
            }
        };
        self.overlay = overlay;
        taken
    }

    /// Forgets what was foreseen where `change` was really made.
    pub fn forget(&mut self, change: &Change) {
        self.overlay.forget(change);
    }

    /// Forgets all that was foreseen.
    pub fn forget_all(&mut self) {
        self.overlay = Overlay::default();
    }

    /// Returns what is foreseen.
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Returns the content of a large file.
    pub(super) fn blob(&self, sha256: &str) -> Result<Box<dyn Read + '_>, Failure> {
        match &self.blobs {
            Some(blobs) => blobs.fetch(sha256),
            None => Err(Failure::failed("a large file is needed, but nothing can send it")),
        }
    }

    /// Returns the path that the operating system is to be given for `path`.
    pub(super) fn on_disk(&self, path: &Path, follow: bool) -> Result<PathBuf, Failure> {
        match self.ground.root {
            None => Ok(path.to_owned()),
            Some(_) => Ok(self.ground.path(&Overlay::default().files(&self.ground).resolve(path, follow)?)),
        }
    }

    /// Returns the variables that the task adds to the environment.
    pub(super) fn additions(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Whether the operating system's own view of files is the right one.
    fn plain_files(&self) -> bool {
        self.ground.root.is_none() && (!self.checking || self.overlay.has_no_files())
    }

    fn foreseen(&self) -> Option<&Overlay> {
        if self.checking && !self.overlay.is_empty() { Some(&self.overlay) } else { None }
    }

    fn through<T>(&self, look: impl FnOnce(super::picture::View<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let nothing = Overlay::default();
        look(self.foreseen().unwrap_or(&nothing).files(&self.ground))
    }

    fn ask(&self, program: &Program) -> Result<Output, Failure> {
        if let Some(overlay) = self.foreseen()
            && let Some(output) = overlay.query(&program.argv)?
        {
            return Ok(output);
        }
        programs::run(program, &self.environment)
    }
}

impl Probe for Host {
    fn stat(&self, path: &Path, follow: bool) -> Result<Option<Stat>, Failure> {
        if self.plain_files() { stat_of(path, follow) } else { self.through(|files| files.stat(path, follow)) }
    }

    fn kind(&self, path: &Path) -> Result<Option<FileKind>, Failure> {
        if self.plain_files() { Ok(stat_of(path, true)?.map(|stat| stat.kind)) } else { self.through(|files| files.kind(path)) }
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Failure> {
        if self.plain_files() { self.ground.read(path) } else { self.through(|files| files.read(path)) }
    }

    fn digest(&self, path: &Path, algorithm: &str) -> Result<Option<String>, Failure> {
        if self.plain_files() { self.ground.digest(path, algorithm) } else { self.through(|files| files.digest(path, algorithm)) }
    }

    fn list(&self, path: &Path) -> Result<Option<Vec<String>>, Failure> {
        if !self.plain_files() {
            return self.through(|files| files.list(path));
        }
        Ok(self.ground.list(path)?.map(|mut names| {
            names.sort();
            names
        }))
    }

    fn user(&self, name: &str) -> Result<Option<UserEntry>, Failure> {
        match self.foreseen() {
            Some(overlay) => overlay.user(name, || accounts::user(name)),
            None => accounts::user(name),
        }
    }

    fn group(&self, name: &str) -> Result<Option<GroupEntry>, Failure> {
        match self.foreseen() {
            Some(overlay) => overlay.group(name, || accounts::group(name)),
            None => accounts::group(name),
        }
    }

    fn groups_of(&self, user: &str) -> Result<Vec<String>, Failure> {
        let real = accounts::groups_of(user)?;
        match self.foreseen() {
            Some(overlay) => overlay.groups_of(user, real),
            None => Ok(real),
        }
    }

    fn unit(&self, name: &str, scope: &str) -> Result<UnitState, Failure> {
        let now = || units::show(name, scope, &self.environment);
        match self.foreseen() {
            Some(overlay) => overlay.unit(name, scope, &self.ground, now),
            None => now(),
        }
    }

    fn package(&self, name: &str) -> Result<Option<String>, Failure> {
        let foreseen = self.foreseen().map_or(Ok(None), |overlay| overlay.package(name))?;
        foreseen.map_or_else(|| packages::installed(name), Ok)
    }

    fn query(&self, argv: &[&str]) -> Result<Output, Failure> {
        let name = argv.first().map(|program| Path::new(program).file_name().unwrap_or_default().to_string_lossy()).unwrap_or_default();
        if !READERS.contains(&&*name) {
            return Err(Failure::failed(format!("`{name}` is not among the programs that only read")));
        }
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        self.ask(&Program { argv, environment: vec![("LC_ALL".to_owned(), "C".to_owned())], ..Program::default() })
    }

    fn vouched(&self, program: &Program) -> Result<Output, Failure> {
        self.ask(program)
    }

    fn http(&self, request: &Request) -> Result<Response, Failure> {
        match self.foreseen().map_or(Ok(None), |overlay| overlay.http(request))? {
            Some(response) => Ok(response),
            None => http::send(request, &self.environment),
        }
    }

    fn connect(&self, host: &str, port: u16, timeout: Duration) -> Result<Result<(), String>, Failure> {
        let tried = opened(host, port, timeout).map(|_| ());
        if tried.is_err() && self.foreseen().is_some_and(Overlay::ports_may_differ) {
            return Err(Failure::unknown(format!("whether port {port} of `{host}` answers depends on something that was not run")));
        }
        Ok(tried)
    }

    fn hear(&self, host: &str, port: u16, timeout: Duration, enough: &dyn Fn(&[u8]) -> bool) -> Result<Result<Vec<u8>, String>, Failure> {
        match opened(host, port, timeout) {
            Ok(mut stream) => Ok(Ok(heard(&mut stream, timeout, enough))),
            Err(_) => Ok(self.connect(host, port, timeout)?.map(|()| Vec::new())),
        }
    }

    fn environment(&self, name: &str) -> Option<String> {
        let added = self.environment.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        added.or_else(|| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn environment_all(&self) -> Vec<(String, String)> {
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        let mut all: Vec<_> = std::env::vars_os().map(|(key, value)| (text(key), text(value))).collect();
        all.retain(|(key, _)| !self.environment.iter().any(|(added, _)| added == key));
        all.extend(self.environment.iter().cloned());
        all
    }

    fn now(&self) -> f64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }

    fn wait(&self, duration: Duration) {
        if self.moves() {
            std::thread::sleep(duration);
        }
    }

    fn moves(&self) -> bool {
        !self.checking
    }

    fn me(&self) -> Result<UserEntry, Failure> {
        let uid = nix::unistd::geteuid().as_raw();
        Ok(accounts::user(&uid.to_string())?.unwrap_or_else(|| UserEntry {
            name: uid.to_string(),
            uid: Some(uid),
            gid: Some(nix::unistd::getegid().as_raw()),
            home: "/".to_owned(),
            ..UserEntry::default()
        }))
    }

    fn find_program(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        let folders = programs::search_path(self.environment("PATH").as_deref());
        let candidates =
            if name.contains('/') { vec![PathBuf::from(name)] } else { folders.iter().map(|folder| folder.join(name)).collect() };
        for file in candidates {
            match self.stat(&file, true) {
                Ok(Some(stat)) if stat.kind == FileKind::File && (stat.mode & 0o111 != 0 || stat.foreseen) => return Ok(Some(file)),
                Err(failure @ Failure::Unknown { .. }) => return Err(failure),
                _ => {}
            }
        }
        Ok(None)
    }

    fn free_space(&self, path: &Path) -> Option<(u64, u64)> {
        let there = path.ancestors().find(|folder| folder.exists())?;
        let stat = nix::sys::statvfs::statvfs(there).ok()?;
        Some((stat.blocks_available() * stat.fragment_size(), stat.files_available()))
    }

    fn filesystem(&self, path: &Path) -> Option<Filesystem> {
        let stat = nix::sys::statvfs::statvfs(path).ok()?;
        Some(Filesystem {
            block_size: stat.block_size(),
            fragment_size: stat.fragment_size(),
            blocks: stat.blocks(),
            blocks_available: stat.blocks_available(),
            inodes: stat.files(),
            inodes_available: stat.files_available(),
        })
    }
}

/// The files of this machine, or of a folder that stands for one.
#[derive(Clone, Default)]
struct Machine {
    root: Option<PathBuf>,
}

impl Machine {
    fn path(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    /// Opens a file for reading; `None` where there is nothing.
    fn open(&self, path: &Path) -> Result<Option<File>, Failure> {
        let file = match File::open(self.path(path)) {
            Ok(file) => file,
            Err(error) if is_nothing(&error) => return Ok(None),
            Err(error) => return Err(Failure::io("read", path, &error)),
        };
        match file.metadata() {
            Ok(stat) if stat.is_dir() => Err(is_directory(path)),
            _ => Ok(Some(file)),
        }
    }
}

impl Ground for Machine {
    fn lstat(&self, path: &Path) -> Result<Option<Stat>, Failure> {
        stat_of(&self.path(path), false)
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Failure> {
        let Some(mut file) = self.open(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| Failure::io("read", path, &error))?;
        Ok(Some(bytes))
    }

    fn digest(&self, path: &Path, algorithm: &str) -> Result<Option<String>, Failure> {
        let Some(mut file) = self.open(path)? else { return Ok(None) };
        let digest = digest::of_reader(&mut file, algorithm).map_err(|error| Failure::io("read", path, &error))?;
        digest.map(Some).ok_or_else(|| digest::unknown_algorithm(algorithm))
    }

    fn list(&self, path: &Path) -> Result<Option<Vec<String>>, Failure> {
        let entries = match fs::read_dir(self.path(path)) {
            Ok(entries) => entries,
            Err(error) if is_nothing(&error) => return Ok(None),
            Err(error) => return Err(Failure::io("list", path, &error)),
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<Vec<_>, _>>().map(Some).map_err(|error| Failure::io("list", path, &error))
    }

    fn newborn(&self) -> (u32, u32, u32) {
        (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw(), mask())
    }
}

/// Returns the permission mask of this process. Reading it otherwise would mean setting it.
pub(super) fn mask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o022)
}

fn is_nothing(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// Returns what is at `path`, as the operating system says.
pub(super) fn stat_of(path: &Path, follow: bool) -> Result<Option<Stat>, Failure> {
    let found = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
    match found {
        Ok(metadata) => {
            let target = if metadata.is_symlink() { fs::read_link(path).ok() } else { None };
            Ok(Some(Stat { target, ..described(&metadata) }))
        }
        Err(error) if is_nothing(&error) => Ok(None),
        Err(error) => Err(Failure::io("look at", path, &error)),
    }
}

#[allow(clippy::cast_precision_loss, reason = "times need no more than microseconds")]
fn described(metadata: &Metadata) -> Stat {
    let kind = metadata.file_type();
    let time = |seconds: i64, nanoseconds: i64| seconds as f64 + nanoseconds as f64 / 1e9;
    Stat {
        kind: match () {
            () if kind.is_dir() => FileKind::Directory,
            () if kind.is_symlink() => FileKind::Link,
            () if kind.is_socket() => FileKind::Socket,
            () if kind.is_fifo() => FileKind::Fifo,
            () if kind.is_char_device() => FileKind::CharDevice,
            () if kind.is_block_device() => FileKind::BlockDevice,
            () => FileKind::File,
        },
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        size: metadata.size(),
        atime: time(metadata.atime(), metadata.atime_nsec()),
        mtime: time(metadata.mtime(), metadata.mtime_nsec()),
        ctime: time(metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
        device: metadata.dev(),
        links: metadata.nlink(),
        blocks: metadata.blocks(),
        block_size: metadata.blksize(),
        rdev: metadata.rdev(),
        target: None,
        foreseen: false,
    }
}

fn opened(host: &str, port: u16, timeout: Duration) -> Result<std::net::TcpStream, String> {
    let mut last = format!("the name `{host}` has no address");
    for address in resolve::addresses(host)? {
        match std::net::TcpStream::connect_timeout(&(address, port).into(), timeout.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// The most that is taken of what a port says.
const MOST_HEARD: usize = 1024 * 1024;

fn heard(stream: &mut std::net::TcpStream, patience: Duration, enough: &dyn Fn(&[u8]) -> bool) -> Vec<u8> {
    let (began, mut said, mut piece) = (std::time::Instant::now(), Vec::new(), [0; 4096]);
    while said.len() < MOST_HEARD && !enough(&said) {
        let left = patience.saturating_sub(began.elapsed());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            break;
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => said.extend_from_slice(&piece[..count]),
        }
    }
    said
}
