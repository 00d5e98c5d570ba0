//! Jobs: what goes on by itself on a host after whoever started it is gone. Each has a file that tells how it stands.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::setsid;

use super::{Failure, Probe};

/// The word by which this program is told to carry out a job.
pub const WORD: &str = "agent-job";

/// The folder of jobs where nothing else is said.
pub const FOLDER: &str = "~/.ansible_async";

/// Returns the folder of jobs as a path of the host.
///
/// # Errors
/// When nobody knows the home of the user.
pub fn folder(wanted: &str, host: &dyn Probe) -> Result<PathBuf, Failure> {
    match wanted.strip_prefix('~').map(|rest| rest.trim_start_matches('/')) {
        None => Ok(PathBuf::from(wanted)),
        Some(rest) => match host.environment("HOME") {
            Some(home) => Ok(Path::new(&home).join(rest)),
            None => Ok(Path::new(&host.me()?.home).join(rest)),
        },
    }
}

/// Whether a text can be the name of a job: a file of that name lies in the folder itself.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

/// Writes how a job stands. The file is replaced whole, and only its owner may read it.
///
/// # Errors
/// Names the file that cannot be written.
#[allow(clippy::disallowed_methods, reason = "the file of a job is no change to the host")]
pub fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| Failure::io("make", folder, &error))?;
    let path = folder.join(name);
    let beside = folder.join(format!("{name}.new"));
    let _ = fs::remove_file(&beside);
    let written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes())).and_then(|()| fs::rename(&beside, &path));
    written.map_err(|error| Failure::io("write", path, &error))
}

/// Starts this very program to carry out a job; it is told on its standard input what to do.
///
/// # Errors
/// When it cannot be started.
#[allow(clippy::disallowed_methods, reason = "starts this very program")]
pub fn start(folder: &Path, name: &str, what: &[u8]) -> Result<(), Failure> {
    let wrong = |error: std::io::Error| Failure::failed(format!("the job cannot be started: {error}"));
    let mut child = Command::new("/proc/self/exe")
        .args([WORD.as_ref(), folder.as_os_str(), name.as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(wrong)?;
    let told = match child.stdin.take() {
        Some(mut pipe) => pipe.write_all(what),
        None => Ok(()),
    };
    // Whoever starts a job may live long: what is left of the job must not stay until then.
    std::thread::spawn(move || child.wait());
    told.map_err(wrong)
}

/// Leaves the session of whoever started this process, so that it goes on when that ends.
pub fn detach() {
    let _ = setsid();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_jobs_do_not_leave_their_folder() {
        assert!(is_name("j123.45"));
        assert!(!is_name("../x") && !is_name("a/b") && !is_name("") && !is_name(".."));
    }

    #[test]
    fn the_file_of_a_job_is_its_owners_alone() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().expect("folder");
        let jobs = folder.path().join("a/jobs");
        write(&jobs, "j1", "one").expect("written");
        write(&jobs, "j1", "two").expect("written");
        assert_eq!(fs::read_to_string(jobs.join("j1")).expect("read"), "two");
        assert_eq!(fs::metadata(jobs.join("j1")).expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&jobs).expect("there").mode() & 0o777, 0o700);
    }
}
