//! `stat`: what is at a path.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::probe::{FileKind, Stat};
use crate::change::{Failure, Plan, Probe};
use crate::value::{Map, Value};

/// Tells what is at a path: whether it exists, what kind of file it is, its owner, mode, size, times and checksum.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "`prepare` reads some arguments, and some are accepted without effect")]
pub struct StatModule {
    /// The path.
    #[serde(alias = "dest", alias = "name")]
    path: String,
    /// Whether a link is followed.
    #[serde(default)]
    follow: bool,
    /// Whether `checksum` is told of a file that can be read.
    #[serde(default = "yes")]
    get_checksum: bool,
    /// The digest of `checksum`: md5, sha1, sha224, sha256, sha384 or sha512.
    #[serde(default = "sha1", alias = "checksum", alias = "checksum_algo")]
    checksum_algorithm: String,
    /// Whether `mimetype` and `charset` are told, by the program `file`.
    #[serde(default = "yes", alias = "mime", alias = "mime_type", alias = "mime-type")]
    get_mime: bool,
    /// Whether `attributes` are told, by the program `lsattr`.
    #[serde(default = "yes", alias = "attr", alias = "attributes")]
    get_attributes: bool,
    /// Accepted so that tasks need no change.
    #[serde(default)]
    get_selinux_context: bool,
}

fn yes() -> bool {
    true
}

fn sha1() -> String {
    "sha1".to_owned()
}

impl Module for StatModule {
    const NAME: &'static str = "stat";
    const LOOKS: bool = true;
    const EXAMPLES: &'static [Example] = &[
        Example { title: "See whether a file is there", task: "{path: /etc/motd}", given: &[("/etc/motd", "hi\n")], changes: false },
        Example {
            title: "Compare a file by SHA-256",
            task: "{path: /etc/motd, checksum_algorithm: sha256, get_mime: false, get_attributes: false}",
            given: &[("/etc/motd", "hi\n")],
            changes: false,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let path = Path::new(&self.path);
        let Some(stat) = host.stat(path, self.follow)? else {
            let stat = Value::map([("exists", Value::Bool(false))]);
            return Ok(Plan::nothing("there is nothing at the path").value("stat", stat));
        };
        let mut map = facts(&self.path, &stat);
        let me = host.me()?;
        let groups = host.groups_of(&me.name).unwrap_or_default();
        // To read or run a link is to read or run what it leads to, if it leads anywhere.
        let reached = if stat.kind == FileKind::Link { host.stat(path, true).ok().flatten() } else { Some(stat.clone()) };
        for (name, bit) in [("readable", 4), ("writeable", 2), ("executable", 1)] {
            let may = reached.as_ref().is_some_and(|reached| may(reached, me.uid, me.gid, &groups, host, bit));
            map.insert(name.into(), may.into());
        }
        let foreseen = |id: u32| crate::change::attributes::is_foreseen(id);
        if !foreseen(stat.uid) {
            map.insert("pw_name".into(), host.user(&stat.uid.to_string())?.map(|user| user.name).into());
        }
        if !foreseen(stat.gid) {
            map.insert("gr_name".into(), host.group(&stat.gid.to_string())?.map(|group| group.name).into());
        }
        if let Some(target) = &stat.target {
            let source = real_path(host, path)?;
            map.insert("lnk_target".into(), target.display().to_string().into());
            map.insert("lnk_source".into(), source.display().to_string().into());
        }
        if stat.kind == FileKind::File && self.get_checksum {
            self.checksum(host, path, &mut map)?;
        }
        if self.get_mime && !stat.foreseen {
            mime(host, &self.path, self.follow, &mut map);
        }
        if self.get_attributes && !stat.foreseen {
            attributes(host, &self.path, &mut map);
        }
        Ok(Plan::nothing("there is something at the path").value("stat", map))
    }
}

impl StatModule {
    /// A file that cannot be read has no checksum; that is no failure of a question about the file.
    fn checksum(&self, host: &dyn Probe, path: &Path, map: &mut Map) -> Result<(), Failure> {
        match host.digest(path, &self.checksum_algorithm) {
            Ok(digest) => {
                map.insert("checksum".into(), digest.into());
                Ok(())
            }
            Err(Failure::Unknown { why, .. }) => {
                map.insert("checksum".into(), Value::unknown(why));
                Ok(())
            }
            Err(Failure::Io { .. }) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

/// Returns what is known of a file without asking the host any more.
pub(super) fn facts(path: &str, stat: &Stat) -> Map {
    let is = |kind| Value::Bool(stat.kind == kind);
    let bit = |mask: u32| Value::Bool(stat.mode & mask != 0);
    // In a check, a file that does not exist yet has no times and no inode.
    let later = |value: Value| if stat.foreseen { Value::unknown("the file does not exist yet, or would be changed") } else { value };
    [
        ("exists", Value::Bool(true)),
        ("path", path.into()),
        ("mode", format!("{:04o}", stat.mode).into()),
        ("isreg", is(FileKind::File)),
        ("isdir", is(FileKind::Directory)),
        ("islnk", is(FileKind::Link)),
        ("issock", is(FileKind::Socket)),
        ("isfifo", is(FileKind::Fifo)),
        ("ischr", is(FileKind::CharDevice)),
        ("isblk", is(FileKind::BlockDevice)),
        ("uid", stat.uid.into()),
        ("gid", stat.gid.into()),
        ("size", stat.size.into()),
        ("inode", later(stat.inode.into())),
        ("dev", later(stat.device.into())),
        ("nlink", stat.links.into()),
        ("atime", later(stat.atime.into())),
        ("mtime", later(stat.mtime.into())),
        ("ctime", later(stat.ctime.into())),
        ("blocks", later(stat.blocks.into())),
        ("block_size", stat.block_size.into()),
        ("device_type", stat.rdev.into()),
        ("rusr", bit(0o400)),
        ("wusr", bit(0o200)),
        ("xusr", bit(0o100)),
        ("rgrp", bit(0o040)),
        ("wgrp", bit(0o020)),
        ("xgrp", bit(0o010)),
        ("roth", bit(0o004)),
        ("woth", bit(0o002)),
        ("xoth", bit(0o001)),
        ("isuid", bit(0o4000)),
        ("isgid", bit(0o2000)),
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value))
    .collect()
}

/// Whether the user of the task may read (4), write (2) or run (1) it, as far as the permission bits say.
fn may(stat: &Stat, uid: Option<u32>, gid: Option<u32>, groups: &[String], host: &dyn Probe, bit: u32) -> bool {
    if uid == Some(0) {
        return bit != 1 || stat.mode & 0o111 != 0 || stat.kind == FileKind::Directory;
    }
    if uid == Some(stat.uid) {
        return stat.mode >> 6 & bit != 0;
    }
    let named = || host.group(&stat.gid.to_string()).ok().flatten().is_some_and(|group| groups.contains(&group.name));
    if gid == Some(stat.gid) || named() { stat.mode >> 3 & bit != 0 } else { stat.mode & bit != 0 }
}

/// Returns where a link leads in the end.
fn real_path(host: &dyn Probe, path: &Path) -> Result<PathBuf, Failure> {
    let mut path = path.to_owned();
    for _ in 0..40 {
        let Some(target) = host.stat(&path, false)?.and_then(|stat| stat.target) else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    Ok(path)
}

fn mime(host: &dyn Probe, path: &str, follow: bool, map: &mut Map) {
    let mut argv = vec!["file", "--mime-type", "--mime-encoding", "-b"];
    if follow {
        argv.push("-L");
    }
    argv.extend(["--", path]);
    let output = host.query(&argv).ok().filter(|output| output.rc == 0);
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let (kind, charset) = text.as_deref().and_then(|text| text.split_once("; charset=")).unwrap_or(("unknown", "unknown"));
    map.insert("mimetype".into(), kind.into());
    map.insert("charset".into(), charset.into());
}

/// Adds the flags of the file system, where it has them.
fn attributes(host: &dyn Probe, path: &str, map: &mut Map) {
    const NAMES: &[(char, &str)] = &[
        ('A', "noatime"),
        ('a', "append"),
        ('c', "compressed"),
        ('C', "nocow"),
        ('d', "nodump"),
        ('D', "dirsync"),
        ('e', "extents"),
        ('E', "encrypted"),
        ('i', "immutable"),
        ('I', "indexed"),
        ('j', "journalled"),
        ('N', "inline"),
        ('s', "zero"),
        ('S', "synchronous"),
        ('t', "notail"),
        ('T', "blockroot"),
        ('u', "undelete"),
    ];
    let output = host.query(&["lsattr", "-vd", path]).ok().filter(|output| output.rc == 0);
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut words = text.split_whitespace();
    let (version, flags) = (words.next(), words.next().unwrap_or_default().replace('-', ""));
    let names = NAMES.iter().filter(|(letter, _)| flags.contains(*letter)).map(|(_, name)| Value::str(name));
    map.insert("version".into(), version.into());
    map.insert("attr_flags".into(), flags.as_str().into());
    map.insert("attributes".into(), Value::list(names));
}
