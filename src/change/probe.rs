//! A host as a module sees it: read-only.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Failure, GroupEntry, Output, Request, Response, UnitState, UserEntry};

/// A host as a module sees it. In a check it shows the host as it would be after the changes foreseen so far; what
/// cannot be known then is the error [`Failure::Unknown`], so a module that passes errors on needs to know nothing of checks.
pub trait Probe {
    /// Returns what is at `path`, if anything is. With `follow`, of what a link points to.
    fn stat(&self, path: &Path, follow: bool) -> Result<Option<Stat>, Failure>;

    /// Returns of what kind that is which is at `path`, links followed. In a check this can be known where the rest is not.
    fn kind(&self, path: &Path) -> Result<Option<FileKind>, Failure> {
        Ok(self.stat(path, true)?.map(|stat| stat.kind))
    }

    /// Returns the content of a file, or `None` where there is nothing. Links are followed. A directory is an error.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Failure>;

    /// Returns the digest, hex, of a file, or `None` where there is nothing. `algorithm` is `md5`, `sha1`, `sha224`, `sha256`, `sha384` or `sha512`.
    fn digest(&self, path: &Path, algorithm: &str) -> Result<Option<String>, Failure>;

    /// Returns the names in a directory, sorted, or `None` where there is none.
    fn list(&self, path: &Path) -> Result<Option<Vec<String>>, Failure>;

    /// Returns the user of that name, or of that number as text.
    fn user(&self, name: &str) -> Result<Option<UserEntry>, Failure>;

    /// Returns the group of that name, or of that number as text.
    fn group(&self, name: &str) -> Result<Option<GroupEntry>, Failure>;

    /// Returns all groups that the user is a member of besides the primary one.
    fn groups_of(&self, user: &str) -> Result<Vec<String>, Failure>;

    /// Returns what the service manager knows of a unit; `scope` is `system`, `user` or `global`.
    fn unit(&self, name: &str, scope: &str) -> Result<UnitState, Failure>;

    /// Returns the installed version of a package, or `None` where it is not installed.
    fn package(&self, name: &str) -> Result<Option<String>, Failure>;

    /// Runs a program that only reads. Its name must be in [`READERS`].
    fn query(&self, argv: &[&str]) -> Result<Output, Failure>;

    /// Runs a command that the user vouches only reads (`check_mode: false`, a `validate` line). Never from a module's own idea.
    fn vouched(&self, program: &super::Program) -> Result<Output, Failure>;

    /// Sends a request that only reads: `GET` or `HEAD`, or a `POST` to one of the API's read-only paths (`_search`, `_has_privileges`, `_query`).
    fn http(&self, request: &Request) -> Result<Response, Failure>;

    /// Tries to connect to a port, and says whether that worked and, if not, why.
    fn connect(&self, host: &str, port: u16, timeout: Duration) -> Result<Result<(), String>, Failure>;

    /// Connects to a port and returns what it says unasked: until `enough` is content, it ends, or `timeout` passes.
    /// The inner error says why there is no connection.
    fn hear(&self, host: &str, port: u16, timeout: Duration, enough: &dyn Fn(&[u8]) -> bool) -> Result<Result<Vec<u8>, String>, Failure> {
        let _ = enough;
        Ok(self.connect(host, port, timeout)?.map(|()| Vec::new()))
    }

    /// Returns a variable of the environment.
    fn environment(&self, name: &str) -> Option<String>;

    /// Returns the environment, for facts.
    fn environment_all(&self) -> Vec<(String, String)>;

    /// Returns the seconds since 1970.
    fn now(&self) -> f64;

    /// Waits. Returns at once in a check, where nothing would come of waiting.
    fn wait(&self, duration: Duration);

    /// Whether waiting makes sense: `false` in a check, where the host does not move.
    fn moves(&self) -> bool;

    /// Returns the user that the task runs as.
    fn me(&self) -> Result<UserEntry, Failure>;

    /// Returns the full path of a program in `PATH` (and the system's usual places), if there is one.
    fn find_program(&self, name: &str) -> Result<Option<PathBuf>, Failure>;

    /// Returns free bytes and free inodes for users where `path` is (or would be), for `stat`-like facts. `None` where it cannot be told.
    fn free_space(&self, path: &Path) -> Option<(u64, u64)>;

    /// Returns how full the file system is that is mounted at `path`, for facts. `None` where it cannot be told.
    /// Not for remote file systems: the call would hang where the server is gone.
    fn filesystem(&self, path: &Path) -> Option<Filesystem> {
        let _ = path;
        None
    }
}

/// How full a file system is, as `statvfs` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filesystem {
    /// Bytes of a block, for reading and writing.
    pub block_size: u64,
    /// Bytes of a block as `blocks` counts them.
    pub fragment_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that users can still fill.
    pub blocks_available: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Inodes that users can still take.
    pub inodes_available: u64,
}

impl Filesystem {
    /// Returns the numbers that facts tell of it, by their names there.
    pub fn facts(&self) -> [(&'static str, u64); 9] {
        [
            ("size_total", self.blocks.saturating_mul(self.fragment_size)),
            ("size_available", self.blocks_available.saturating_mul(self.fragment_size)),
            ("block_size", self.block_size),
            ("block_total", self.blocks),
            ("block_available", self.blocks_available),
            ("block_used", self.blocks.saturating_sub(self.blocks_available)),
            ("inode_total", self.inodes),
            ("inode_available", self.inodes_available),
            ("inode_used", self.inodes.saturating_sub(self.inodes_available)),
        ]
    }
}

/// Programs that [`Probe::query`] runs: they only read.
pub const READERS: &[&str] = &[
    "getent",
    "id",
    "uname",
    "systemctl",
    "systemd-detect-virt",
    "dpkg-query",
    "dpkg",
    "apt-cache",
    "apt-mark",
    "apt-config",
    "rpm",
    "lsb_release",
    "findmnt",
    "ip",
    "getenforce",
    "file",
    "java",
    "elasticsearch",
    "elasticsearch-keystore",
    "lsattr",
    "getfacl",
    "hostname",
    "locale",
    "which",
    "apt-get",
    "service",
    "rc-service",
    "chkconfig",
    "sysctl",
    "df",
    "tar",
    "unzip",
    "sudo",
    "crontab",
    "update-alternatives",
    "iptables",
    "ip6tables",
    "git",
    "svn",
    "pip",
    "pip3",
    "psql",
    "ufw",
    "gpg",
    "blkid",
    "a2query",
];

/// What is at a path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stat {
    /// File, directory, ...
    pub kind: FileKind,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Last access, seconds since 1970.
    pub atime: f64,
    /// Last change of content, seconds since 1970.
    pub mtime: f64,
    /// Last change of anything, seconds since 1970.
    pub ctime: f64,
    /// Inode.
    pub inode: u64,
    /// Device.
    pub device: u64,
    /// Hard links.
    pub links: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Preferred block size.
    pub block_size: u64,
    /// Device number of a device file.
    pub rdev: u64,
    /// Where a symbolic link points to (as written), for a link that was not followed.
    pub target: Option<PathBuf>,
    /// In a check: the owner, size or times are not known, as it would only be created.
    pub foreseen: bool,
}

/// What kind of file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum FileKind {
    #[default]
    File,
    Directory,
    Link,
    Socket,
    Fifo,
    CharDevice,
    BlockDevice,
}
