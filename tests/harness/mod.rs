//! What the end-to-end tests share: a folder of its own with inventory and playbooks, a clean environment, the built
//! program, and where it is allowed, real SSH hosts.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test starts the program, lays out its own files and says why it is skipped"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The built program.
pub const WINDLASS: &str = env!("CARGO_BIN_EXE_windlass");

/// A folder with everything a run needs.
pub struct Site {
    folder: tempfile::TempDir,
}

/// What a run printed and how it ended.
#[must_use = "look at how the run ended"]
pub struct Run {
    /// Its exit code.
    pub code: i32,
    /// Standard output, the site's folder replaced by `$SITE`.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
}

impl Run {
    /// Panics unless the run ended well.
    #[track_caller]
    pub fn success(self) -> Self {
        self.code(0)
    }

    /// Panics unless the run ended with `code`.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Returns both outputs.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Returns the counts of a host's recap line.
    #[track_caller]
    pub fn recap(&self, host: &str) -> String {
        // Hosts with the same counts share a line.
        let is_of = |line: &&str| line.split_once(" : ok=").is_some_and(|(hosts, _)| hosts.split_whitespace().any(|name| name == host));
        let line = self.stdout.lines().rev().find(is_of);
        let line = line.unwrap_or_else(|| panic!("no recap for {host} in\n{}", self.all()));
        line.split(" : ").nth(1).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Returns a count of a host's recap line.
    #[track_caller]
    pub fn count(&self, host: &str, name: &str) -> u32 {
        let recap = self.recap(host);
        let word = recap.split(' ').find_map(|word| word.strip_prefix(&format!("{name}=")));
        word.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {recap}"))
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// Returns an empty site.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("windlass-test-").tempdir().expect("temporary folder");
        for name in ["home", "tmp"] {
            fs::create_dir(folder.path().join(name)).expect("folder");
        }
        Self { folder }
    }

    /// Returns its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, making its folders.
    pub fn file(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    /// Writes a file, making its folders.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("folders");
        fs::write(path, text).expect("write");
    }

    /// Returns a file's text.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Whether there is such a file.
    pub fn exists(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    /// Returns the program, to be started with this site's environment and nothing of ours.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(WINDLASS);
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path().join("home"))
            .env("TMPDIR", self.path().join("tmp"))
            .env("USER", "tester")
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        self.finish(self.command(arguments).output().expect("windlass starts"))
    }

    /// Runs `windlass playbook` with these words, on `localhost` without SSH unless they say otherwise.
    pub fn playbook(&self, words: &str) -> Run {
        let words = words.split_whitespace();
        self.run(std::iter::once("playbook").chain(words))
    }

    /// Returns what a started program printed.
    pub fn finish(&self, output: Output) -> Run {
        let folder = self.path().display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&folder, "$SITE");
        Run { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// Real SSH hosts, each with its own network and file system. See `hosts.sh`.
pub struct Hosts {
    folder: tempfile::TempDir,
    script: PathBuf,
}

impl Hosts {
    /// Starts `count` hosts `h1`, `h2`, ...; `None` where that is not allowed (no root), which is said aloud.
    pub fn up(count: usize) -> Option<Self> {
        Self::set_up("up", count)
    }

    fn set_up(how: &str, count: usize) -> Option<Self> {
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"));
        if !is_root || !Path::new("/usr/sbin/sshd").exists() {
            eprintln!("SKIPPED: hosts with name spaces of their own need root and openssh-server (tests/run installs it)");
            assert!(std::env::var_os("CI").is_none(), "in CI there is root and sshd");
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/hosts.sh");
        let folder = tempfile::Builder::new().prefix("windlass-hosts-").tempdir().expect("temporary folder");
        let hosts = Self { folder, script };
        hosts.script(&[how, &count.to_string()]);
        Some(hosts)
    }

    /// As [`Hosts::up`], with systemd as the first process of each; `None` also where systemd is not installed or cannot boot
    /// in name spaces, which is said aloud.
    pub fn boot(count: usize) -> Option<Self> {
        if !Path::new("/lib/systemd/systemd").exists() {
            eprintln!("SKIPPED: systemd is not installed (tests/run installs it)");
            return None;
        }
        let hosts = Self::set_up("boot", count)?;
        for host in 1..=count {
            if !hosts.path().join(format!("h{host}/ready")).exists() {
                let log = fs::read_to_string(hosts.path().join(format!("h{host}/log"))).unwrap_or_default();
                eprintln!("SKIPPED: systemd does not boot here: {log}");
                return None;
            }
        }
        Some(hosts)
    }

    /// Returns the folder with `inventory.ini`, `key` and `known_hosts`.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the inventory.
    pub fn inventory(&self) -> String {
        self.path().join("inventory.ini").display().to_string()
    }

    /// Returns a host's address.
    pub fn address(&self, host: &str) -> String {
        let text = fs::read_to_string(self.path().join("inventory.ini")).expect("inventory");
        let line = text.lines().find(|line| line.starts_with(&format!("{host} "))).expect("host");
        line.split("ansible_host=").nth(1).expect("address").to_owned()
    }

    fn script(&self, words: &[&str]) -> Output {
        let (command, rest) = words.split_first().expect("a command");
        Command::new("sh").arg(&self.script).arg(command).arg(self.path()).args(rest).stdin(Stdio::null()).output().expect("hosts.sh")
    }

    /// Runs a command on a host, past SSH, and returns what it printed.
    #[track_caller]
    pub fn exec(&self, host: &str, line: &str) -> String {
        let output = self.script(&["exec", host, "sh", "-c", line]);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Like [`Hosts::exec`], but the command may fail.
    pub fn try_exec(&self, host: &str, line: &str) -> (bool, String) {
        let output = self.script(&["exec", host, "sh", "-c", line]);
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Ends sshd and its sessions on a host.
    pub fn kill(&self, host: &str) {
        let _ = self.script(&["kill", host]);
    }

    /// Starts sshd again.
    pub fn start_sshd(&self, host: &str) {
        let _ = self.script(&["sshd", host]);
    }

    /// Takes a host off the network.
    pub fn cut(&self, host: &str) {
        let _ = self.script(&["cut", host]);
    }

    /// Brings a host back to the network.
    pub fn mend(&self, host: &str) {
        let _ = self.script(&["mend", host]);
    }

    /// Puts a full file system over a folder of a host.
    pub fn fill(&self, host: &str, folder: &str, kib: u32) {
        let _ = self.script(&["fill", host, folder, &kib.to_string()]);
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = self.script(&["down"]);
    }
}
