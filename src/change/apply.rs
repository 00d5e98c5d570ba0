//! Makes a change. With `temporary`, the only file that writes to a host.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use sha2::Digest as _;

use super::destination::no_plain_file;
use super::failure::{NO_QUOTA, NO_SPACE, NOT_PERMITTED};
use super::host::{Host, mask, stat_of};
use super::probe::{FileKind, Stat};
use super::temporary::{Temporary, sync_folder};
use super::{Attributes, Before, Change, Content, Done, Failure, Program, digest, http, programs, units};

/// The system's number for what the mode of a folder forbids.
const REFUSED: i32 = 13;
/// The system's number for a file that is mounted.
const BUSY: i32 = 16;
/// The system's number for a file system that cannot be written to.
const READ_ONLY: i32 = 30;

/// Makes a change.
///
/// # Errors
/// [`Failure::Moved`] when the host is no longer what the change was planned from; else what the system says.
pub fn apply(host: &Host, change: &Change) -> Result<Done, Failure> {
    match change {
        Change::Write { path, before, after, attributes, backup, validate, secret: _, in_place } => {
            let path = host.on_disk(path, false)?;
            match write(host, &path, before, after, attributes, *backup, validate.as_deref()) {
                Err(failure) if *in_place && validate.is_none() && cannot_replace(&failure) => {
                    overwrite(host, &path, before, after, attributes)
                }
                other => other,
            }
        }
        Change::Directory { path, attributes } => directory(&host.on_disk(path, true)?, attributes),
        Change::Attributes { path, after, follow, .. } => {
            set_attributes(&host.on_disk(path, *follow)?, after, *follow)?;
            Ok(Done::Plain)
        }
        Change::Link { path, target, hard, before } => {
            let source = if *hard { host.on_disk(target, false)? } else { target.clone() };
            link(&host.on_disk(path, false)?, &source, *hard, before)
        }
        Change::Remove { path, before } => remove(&host.on_disk(path, false)?, before),
        Change::Run { program, .. } => run(host, program),
        Change::Unit { name, action, scope, .. } => {
            let argv = units::command(name, *action, scope);
            let output = programs::run(&Program { argv: argv.clone(), ..Program::default() }, host.additions())?;
            if output.rc != 0 {
                return Err(failed(&argv, &output));
            }
            Ok(Done::Ran(output))
        }
        Change::Http { request, .. } => Ok(Done::Answered(http::send(request, host.additions())?)),
    }
}

fn run(host: &Host, program: &Program) -> Result<Done, Failure> {
    let output = programs::run(program, host.additions())?;
    if !program.accept.is_empty() && !program.accept.contains(&output.rc) {
        return Err(failed(&program.argv, &output));
    }
    Ok(Done::Ran(output))
}

fn failed(argv: &[String], output: &super::Output) -> Failure {
    Failure::Program {
        program: programs::shown(argv),
        rc: output.rc,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn write(
    host: &Host,
    path: &Path,
    before: &Before,
    content: &Content,
    attributes: &Attributes,
    backup: bool,
    validate: Option<&str>,
) -> Result<Done, Failure> {
    still_is(path, before)?;
    let found = stat_of(path, false)?;
    if found.as_ref().is_some_and(|stat| !matches!(stat.kind, FileKind::File | FileKind::Link | FileKind::Directory)) {
        return Err(Failure::failed(no_plain_file(path)));
    }
    let found = found.filter(|stat| stat.kind == FileKind::File);
    let mut temporary = Temporary::beside(path);
    let mut file = temporary.create(path)?;
    fill(host, &mut file, content).map_err(|failure| about(failure, path))?;
    if found.is_some() {
        keep_extended(path, temporary.path());
    }
    dress(&file, temporary.path(), attributes, found.as_ref()).map_err(|failure| about(failure, path))?;
    file.sync_all().map_err(|error| about(Failure::io("write", path, &error), path))?;
    drop(file);
    if let Some(line) = validate {
        accepted(host, line, temporary.path(), path)?;
    }
    let kept = if backup && found.is_some() { Some(keep(path)?) } else { None };
    still_is(path, before)?;
    temporary.put(path)?;
    Ok(Done::Wrote { backup: kept })
}

/// Whether it is the folder, or a mount, that keeps a file from being replaced as a whole.
fn cannot_replace(failure: &Failure) -> bool {
    matches!(failure, Failure::Io { doing, errno, .. }
        if matches!(*errno, NOT_PERMITTED | REFUSED | BUSY | READ_ONLY) && matches!(doing.as_str(), "replace" | "make a file in"))
}

/// Writes into a file as it stands, as the user said that this may be done.
fn overwrite(host: &Host, path: &Path, before: &Before, content: &Content, attributes: &Attributes) -> Result<Done, Failure> {
    still_is(path, before)?;
    let opened = OpenOptions::new().write(true).truncate(true).open(path);
    let mut file = opened.map_err(|error| Failure::io("write", path, &error))?;
    fill(host, &mut file, content).map_err(|failure| about(failure, path))?;
    file.sync_all().map_err(|error| about(Failure::io("write", path, &error), path))?;
    drop(file);
    set_attributes(path, attributes, true)?;
    Ok(Done::Wrote { backup: None })
}

/// Puts the failure of a temporary file on the file that the user named, and says what a full disk is.
fn about(failure: Failure, path: &Path) -> Failure {
    match failure {
        Failure::Io { doing, message, errno, .. } => {
            let message = match errno {
                NO_SPACE => "the disk is full".to_owned(),
                NO_QUOTA => "the disk quota is used up".to_owned(),
                _ => message,
            };
            Failure::Io { doing, path: path.to_owned(), message, errno }
        }
        other => other,
    }
}

fn fill(host: &Host, file: &mut File, content: &Content) -> Result<(), Failure> {
    let refused = |error: &std::io::Error| Failure::io("write", "", error);
    match content {
        Content::Bytes(bytes) => file.write_all(bytes).map_err(|error| refused(&error)),
        Content::Unknown(why) => Err(Failure::failed(format!("the content is not known: {why}"))),
        Content::Blob { sha256, size } => {
            let mut source = host.blob(sha256)?;
            let mut digest = sha2::Sha256::new();
            let mut buffer = vec![0; 256 * 1024];
            let mut written: u64 = 0;
            loop {
                let count = source.read(&mut buffer).map_err(|error| Failure::failed(format!("the large file did not come: {error}")))?;
                let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { break };
                digest.update(piece);
                written += piece.len() as u64;
                file.write_all(piece).map_err(|error| refused(&error))?;
            }
            if digest::hex(&digest.finalize()) != *sha256 || written != *size {
                return Err(Failure::failed(format!("the large file came damaged: {written} of {size} bytes, or another content")));
            }
            Ok(())
        }
    }
}

/// Gives a new file its owner and mode: as asked, else those of the file it replaces, else the defaults.
fn dress(file: &File, path: &Path, wanted: &Attributes, found: Option<&Stat>) -> Result<(), Failure> {
    let now = file.metadata().map_err(|error| Failure::io("look at", path, &error))?;
    let uid = wanted.uid.or(found.map(|stat| stat.uid)).filter(|uid| *uid != now.uid());
    let gid = wanted.gid.or(found.map(|stat| stat.gid)).filter(|gid| *gid != now.gid());
    if (uid.is_some() || gid.is_some())
        && let Err(error) = std::os::unix::fs::fchown(file, uid, gid)
    {
        // To keep an owner is a courtesy where only root can; to set one is an order.
        let ordered = (wanted.uid.is_some() && uid.is_some()) || (wanted.gid.is_some() && gid.is_some());
        if ordered || error.raw_os_error() != Some(NOT_PERMITTED) {
            return Err(Failure::io("change the owner of", path, &error));
        }
    }
    let mode = wanted.mode.or(found.map(|stat| stat.mode)).unwrap_or(0o666 & !mask());
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(|error| Failure::io("change the mode of", path, &error))?;
    set_times(path, wanted, false)
}

/// Copies extended attributes (SELinux context, access lists) where that is possible.
fn keep_extended(from: &Path, to: &Path) {
    let mut names = vec![0_u8; 64 * 1024];
    let Ok(length) = rustix::fs::listxattr(from, &mut names[..]) else { return };
    for name in names.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; 64 * 1024];
        if let Ok(length) = rustix::fs::getxattr(from, name, &mut value[..]) {
            let _ = rustix::fs::setxattr(to, name, value.get(..length).unwrap_or_default(), rustix::fs::XattrFlags::empty());
        }
    }
}

/// Runs the user's own check of the new file.
pub(super) fn accepted(host: &Host, line: &str, temporary: &Path, path: &Path) -> Result<(), Failure> {
    let words = programs::words(line).ok_or_else(|| Failure::argument("validate", "a quote in the command is not closed"))?;
    if !words.iter().any(|word| word.contains("%s")) {
        return Err(
            Failure::argument("validate", format!("validate must contain %s: {line}")).hint("`%s` stands for the name of the new file")
        );
    }
    let argv: Vec<_> = words.iter().map(|word| word.replace("%s", &temporary.to_string_lossy())).collect();
    let output = programs::run(&Program { argv, ..Program::default() }, host.additions())?;
    if output.rc == 0 {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(Failure::failed(format!("`{line}` does not accept the new content of `{}`, which stays as it was", path.display()))
        .with("rc", output.rc)
        .with("stdout", text(&output.stdout))
        .with("stderr", text(&output.stderr))
        .with("exit_status", output.rc))
}

/// Copies the file to a name with process and time, and returns it.
fn keep(path: &Path) -> Result<PathBuf, Failure> {
    let time = jiff::Zoned::now().strftime("%Y-%m-%d@%H:%M:%S");
    let (file, process) = (path.file_name().unwrap_or_default().to_string_lossy(), std::process::id());
    let refused = |error: std::io::Error| about(Failure::io("make a backup of", path, &error), path);
    let mut copy = path.with_file_name(format!("{file}.{process}.{time}~"));
    // One process changes a file more than once in a second.
    let mut nth = 1;
    while stat_of(&copy, false)?.is_some() {
        nth += 1;
        copy = path.with_file_name(format!("{file}.{process}-{nth}.{time}~"));
    }
    let mut source = File::open(path).map_err(refused)?;
    let found = stat_of(path, false)?;
    let mut temporary = Temporary::beside(&copy);
    let mut target = temporary.create(&copy)?;
    std::io::copy(&mut source, &mut target).and_then(|_| target.sync_all()).map_err(refused)?;
    dress(&target, temporary.path(), &times_of(found.as_ref()), found.as_ref())?;
    temporary.put(&copy)?;
    Ok(copy)
}

fn times_of(found: Option<&Stat>) -> Attributes {
    Attributes { atime: found.map(|stat| stat.atime), mtime: found.map(|stat| stat.mtime), ..Attributes::default() }
}

/// Says whether `path` still is what the change was planned from.
fn still_is(path: &Path, before: &Before) -> Result<(), Failure> {
    let moved = |what: String| Err(Failure::Moved { path: path.to_owned(), what });
    let found = stat_of(path, false)?;
    match (before, found) {
        (Before::Any, _) | (Before::Absent, None) => Ok(()),
        (Before::Absent, Some(_)) => moved("it exists now".to_owned()),
        (_, None) => moved("it is gone".to_owned()),
        (Before::Directory, Some(stat)) if stat.kind == FileKind::Directory => Ok(()),
        (Before::Link(target), Some(stat)) if stat.target.as_ref() == Some(target) => Ok(()),
        (Before::File { sha256 }, Some(stat)) if stat.kind == FileKind::File => {
            let mut file = File::open(path).map_err(|error| Failure::io("read", path, &error))?;
            let now = digest::of_reader(&mut file, "sha256").map_err(|error| Failure::io("read", path, &error))?;
            if now.as_ref() == Some(sha256) { Ok(()) } else { moved("its content is another".to_owned()) }
        }
        (_, Some(_)) => moved("it is something else now".to_owned()),
    }
}

fn directory(path: &Path, attributes: &Attributes) -> Result<Done, Failure> {
    let made = fs::DirBuilder::new().create(path);
    match made {
        Ok(()) => {
            let mode = attributes.mode.unwrap_or(0o777 & !mask());
            set_attributes(path, &Attributes { mode: Some(mode), ..attributes.clone() }, true)?;
            sync_folder(path);
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => set_attributes(path, attributes, true)?,
        Err(error) => return Err(about(Failure::io("make the directory", path, &error), path)),
    }
    Ok(Done::Plain)
}

/// Sets owner, mode and times of something that exists. A new owner takes set-user-id bits away, so the mode comes after.
fn set_attributes(path: &Path, wanted: &Attributes, follow: bool) -> Result<(), Failure> {
    let Some(found) = stat_of(path, follow)? else {
        return Err(Failure::Moved { path: path.to_owned(), what: "it is gone".to_owned() });
    };
    let uid = wanted.uid.filter(|uid| *uid != found.uid);
    let gid = wanted.gid.filter(|gid| *gid != found.gid);
    if uid.is_some() || gid.is_some() {
        let done = if follow { std::os::unix::fs::chown(path, uid, gid) } else { std::os::unix::fs::lchown(path, uid, gid) };
        done.map_err(|error| Failure::io("change the owner of", path, &error))?;
    }
    if let Some(mode) = wanted.mode
        && (follow || found.kind != FileKind::Link)
        && (mode != found.mode || uid.is_some() || gid.is_some())
    {
        let done = fs::set_permissions(path, fs::Permissions::from_mode(mode));
        done.map_err(|error| Failure::io("change the mode of", path, &error))?;
    }
    set_times(path, wanted, follow)
}

fn set_times(path: &Path, wanted: &Attributes, follow: bool) -> Result<(), Failure> {
    if wanted.atime.is_none() && wanted.mtime.is_none() {
        return Ok(());
    }
    let flags = if follow { UtimensatFlags::FollowSymlink } else { UtimensatFlags::NoFollowSymlink };
    let set = |atime: &TimeSpec, mtime: &TimeSpec| utimensat(AT_FDCWD, path, atime, mtime, flags);
    let mut done = set(&time(wanted.atime), &time(wanted.mtime));
    // Who may write a file but does not own it may still say that it was used just now.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let is_now = |time: Option<f64>| time.is_some_and(|time| (time - now).abs() < 60.0);
    if done == Err(Errno::EPERM) && is_now(wanted.atime) && is_now(wanted.mtime) {
        done = set(&TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW);
    }
    done.map_err(|errno| Failure::io("change the times of", path, &errno.into()))
}

#[allow(clippy::cast_possible_truncation, reason = "the fraction is below one, the seconds within what a clock shows")]
fn time(seconds: Option<f64>) -> TimeSpec {
    match seconds {
        None => TimeSpec::UTIME_OMIT,
        Some(seconds) => TimeSpec::new(seconds.floor() as i64, ((seconds - seconds.floor()) * 1e9) as i64),
    }
}

#[allow(clippy::disallowed_methods, reason = "part of applying a change")]
fn link(path: &Path, target: &Path, hard: bool, before: &Before) -> Result<Done, Failure> {
    still_is(path, before)?;
    let temporary = Temporary::beside(path);
    let made = if hard { fs::hard_link(target, temporary.path()) } else { std::os::unix::fs::symlink(target, temporary.path()) };
    made.map_err(|error| about(Failure::io("make the link", path, &error), path))?;
    if matches!(before, Before::Directory) {
        fs::remove_dir(path).map_err(|error| Failure::io("replace the directory", path, &error))?;
    }
    still_is(path, if matches!(before, Before::Directory) { &Before::Absent } else { before })?;
    temporary.put(path)?;
    Ok(Done::Plain)
}

#[allow(clippy::disallowed_methods, reason = "part of applying a change")]
fn remove(path: &Path, before: &Before) -> Result<Done, Failure> {
    still_is(path, before)?;
    let done = match stat_of(path, false)? {
        None => return Ok(Done::Plain),
        Some(stat) if stat.kind == FileKind::Directory => fs::remove_dir_all(path),
        Some(_) => fs::remove_file(path),
    };
    done.map_err(|error| Failure::io("remove", path, &error))?;
    sync_folder(path);
    Ok(Done::Plain)
}
