//! What programs change besides files: users, groups and packages, as they are, and how they become that again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Image, Store};
use crate::change::{Change, Effect, Failure, GroupEntry, Probe, Program, UserEntry};

/// Something as it is on a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Seen {
    /// What is at a path.
    Path {
        /// The path.
        path: PathBuf,
        /// What is there, with all that is in a directory.
        image: Image,
    },
    /// A user.
    User {
        /// The name.
        name: String,
        /// None: there is no such user.
        entry: Option<UserEntry>,
        /// The groups, but for the primary one.
        groups: Vec<String>,
        /// The fields of its line in `/etc/shadow`: password and dates.
        shadow: Vec<String>,
    },
    /// A group.
    Group {
        /// The name.
        name: String,
        /// None: there is no such group.
        entry: Option<GroupEntry>,
    },
    /// A package.
    Package {
        /// The name.
        name: String,
        /// Its version; none: it is not installed.
        version: Option<String>,
    },
}

/// Returns what the effects of a program are about, as it is now; `None` where the program changes more than they say, or the host
/// cannot be read. With a store, contents of files are kept there.
pub(super) fn look(host: &dyn Probe, effects: &[Effect], store: Option<&Store>) -> Option<Vec<Seen>> {
    if !effects.contains(&Effect::NothingElse) {
        return None;
    }
    let mut all = Vec::new();
    for effect in effects {
        all.push(match effect {
            Effect::Creates(path) | Effect::Removes(path) => path_at(host, path, store),
            Effect::User(UserEntry { name, .. }) | Effect::UserGone(name) => user(host, name).ok()?,
            Effect::Group(GroupEntry { name, .. }) | Effect::GroupGone(name) => group(host, name).ok()?,
            Effect::Package { name, .. } | Effect::PackageGone(name) => package(host, name).ok()?,
            _ => continue,
        });
    }
    Some(all)
}

fn path_at(host: &dyn Probe, path: &Path, store: Option<&Store>) -> Seen {
    Seen::Path { path: path.to_owned(), image: Image::take(host, path, true, store) }
}

fn user(host: &dyn Probe, name: &str) -> Result<Seen, Failure> {
    let entry = host.user(name)?.filter(|user| user.name == name);
    let primary = entry.as_ref().and_then(|user| user.gid).and_then(|gid| host.group(&gid.to_string()).ok().flatten());
    let mut groups = if entry.is_some() { host.groups_of(name)? } else { Vec::new() };
    groups.retain(|group| primary.as_ref().is_none_or(|primary| primary.name != *group));
    groups.sort();
    let shadow = host.read(Path::new("/etc/shadow")).ok().flatten().unwrap_or_default();
    let shadow = String::from_utf8_lossy(&shadow);
    let line = shadow.lines().find(|line| line.split(':').next() == Some(name)).unwrap_or_default();
    let shadow = if line.is_empty() { Vec::new() } else { line.split(':').map(str::to_owned).collect() };
    Ok(Seen::User { name: name.to_owned(), entry, groups, shadow })
}

fn group(host: &dyn Probe, name: &str) -> Result<Seen, Failure> {
    Ok(Seen::Group { name: name.to_owned(), entry: host.group(name)?.filter(|group| group.name == name) })
}

fn package(host: &dyn Probe, name: &str) -> Result<Seen, Failure> {
    Ok(Seen::Package { name: name.to_owned(), version: host.package(name)? })
}

impl Seen {
    /// Returns the same thing as it is now.
    pub(super) fn now(&self, host: &dyn Probe) -> Result<Self, Failure> {
        match self {
            Self::Path { path, .. } => Ok(path_at(host, path, None)),
            Self::User { name, .. } => user(host, name),
            Self::Group { name, .. } => group(host, name),
            Self::Package { name, .. } => package(host, name),
        }
    }

    /// Whether both are about the same thing.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Path { path: a, .. }, Self::Path { path: b, .. }) => a == b,
            (Self::User { name: a, .. }, Self::User { name: b, .. })
            | (Self::Group { name: a, .. }, Self::Group { name: b, .. })
            | (Self::Package { name: a, .. }, Self::Package { name: b, .. }) => a == b,
            _ => false,
        }
    }

    /// Whether it is a user or a group.
    pub(super) fn is_account(&self) -> bool {
        matches!(self, Self::User { .. } | Self::Group { .. })
    }

    /// Whether both are the same. Without `wholly`, what other users and groups can change of a user or a group is left out.
    pub(super) fn is_like(&self, other: &Self, wholly: bool) -> bool {
        match (self, other) {
            (Self::Path { image: a, .. }, Self::Path { image: b, .. }) => a.is_like(b),
            (Self::User { entry: a, groups: in_a, shadow: of_a, .. }, Self::User { entry: b, groups: in_b, shadow: of_b, .. }) => {
                let own = |user: &UserEntry| (user.uid, user.gecos.clone(), user.home.clone(), user.shell.clone());
                a.as_ref().map(own) == b.as_ref().map(own) && (!wholly || (a == b && in_a == in_b && of_a == of_b))
            }
            (Self::Group { entry: Some(a), .. }, Self::Group { entry: Some(b), .. }) => {
                a.gid == b.gid && (!wholly || sorted(&a.members) == sorted(&b.members))
            }
            (Self::Group { entry: a, .. }, Self::Group { entry: b, .. }) => a.is_none() == b.is_none(),
            (Self::Package { version: a, .. }, Self::Package { version: b, .. }) => a == b,
            _ => false,
        }
    }

    /// Returns it in words.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Path { path, image } => format!("{} at `{}`", image.told(), path.display()),
            Self::User { name, entry: None, .. } => format!("no user `{name}`"),
            Self::User { name, entry: Some(entry), groups, .. } => {
                let number = |id: Option<u32>| id.map_or_else(|| "?".to_owned(), |id| id.to_string());
                let UserEntry { uid, gid, home, shell, .. } = entry;
                format!("the user `{name}` ({}:{}, {home}, {shell}, groups: {})", number(*uid), number(*gid), groups.join(" "))
            }
            Self::Group { name, entry: None } => format!("no group `{name}`"),
            Self::Group { name, entry: Some(entry) } => {
                format!("the group `{name}` ({}, members: {})", entry.gid.unwrap_or_default(), entry.members.join(" "))
            }
            Self::Package { name, version: None } => format!("no package `{name}`"),
            Self::Package { name, version: Some(version) } => format!("the package `{name}` {version}"),
        }
    }
}

fn sorted(names: &[String]) -> Vec<&String> {
    let mut names: Vec<_> = names.iter().collect();
    names.sort();
    names
}

fn run(argv: Vec<String>, stdin: Option<String>, effects: Vec<Effect>, summary: Option<String>) -> Change {
    let summary = summary.unwrap_or_else(|| format!("run `{}`", argv.join(" ")));
    let environment = vec![("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned())];
    let program = Program { argv, environment, stdin: stdin.map(String::into_bytes), accept: vec![0], ..Program::default() };
    Change::Run { program, effects: effects.into_iter().chain([Effect::NothingElse]).collect(), summary }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Returns the changes that make a user what it was.
pub(super) fn user_back(was: &Seen, now: &Seen) -> Vec<Change> {
    let (Seen::User { name, entry: was, groups: in_was, shadow: of_was }, Seen::User { entry: now, groups: in_now, shadow: of_now, .. }) =
        (was, now)
    else {
        return Vec::new();
    };
    let Some(user) = was else {
        return vec![run(words(&["userdel", name]), None, vec![Effect::UserGone(name.clone())], None)];
    };
    let mut changes = Vec::new();
    let number = |id: Option<u32>| id.unwrap_or_default().to_string();
    let effects = || vec![Effect::User(user.clone())];
    let of_both = |uid: &str, gid: &str| {
        ["-o", "-u", uid, "-g", gid, "-c", &user.gecos, "-d", &user.home, "-s", &user.shell, "-G", &in_was.join(",")].map(str::to_owned)
    };
    let (uid, gid) = (number(user.uid), number(user.gid));
    match now {
        None => {
            // The group of its own that went with it.
            let own = vec![Effect::Group(GroupEntry { name: name.clone(), gid: user.gid, members: Vec::new() })];
            if !of_was.is_empty() && user.uid == user.gid {
                changes.push(run(words(&["groupadd", "-f", "-g", &gid, name]), None, own, None));
            }
            let argv = ["useradd".to_owned()].into_iter().chain(of_both(&uid, &gid)).chain(words(&["-M", "-N", name])).collect();
            changes.push(run(argv, None, effects(), None));
        }
        Some(now) if now != user || in_now != in_was => {
            let argv = ["usermod".to_owned()].into_iter().chain(of_both(&uid, &gid)).chain([name.clone()]).collect();
            changes.push(run(argv, None, effects(), None));
        }
        Some(_) => {}
    }
    let field = |fields: &[String], at: usize| fields.get(at).cloned().unwrap_or_default();
    let (hash, days) = (field(of_was, 1), |fields: &[String]| fields.get(2..8).map(<[String]>::to_vec).unwrap_or_default());
    if !of_was.is_empty() && (now.is_none() || hash != field(of_now, 1)) {
        let summary = Some(format!("set the password of `{name}` as it was"));
        changes.push(run(words(&["chpasswd", "-e"]), Some(format!("{name}:{hash}\n")), effects(), summary));
    }
    // A password that is set anew counts as changed today: the dates come last.
    if !of_was.is_empty() && (now.is_none() || days(of_was) != days(of_now) || !changes.is_empty()) {
        let mut argv = words(&["chage"]);
        for (flag, at) in [("-d", 2), ("-m", 3), ("-M", 4), ("-W", 5), ("-I", 6), ("-E", 7)] {
            let value = Some(field(of_was, at)).filter(|value| !value.is_empty()).unwrap_or_else(|| "-1".to_owned());
            argv.extend([flag.to_owned(), value]);
        }
        argv.push(name.clone());
        changes.push(run(argv, None, effects(), None));
    }
    changes
}

/// Returns the changes that make a group what it was.
pub(super) fn group_back(was: &Seen, now: &Seen) -> Vec<Change> {
    let (Seen::Group { name, entry: was }, Seen::Group { entry: now, .. }) = (was, now) else { return Vec::new() };
    let Some(group) = was else {
        return vec![run(words(&["groupdel", name]), None, vec![Effect::GroupGone(name.clone())], None)];
    };
    let (mut changes, gid) = (Vec::new(), group.gid.unwrap_or_default().to_string());
    let effects = || vec![Effect::Group(group.clone())];
    match now {
        None => changes.push(run(words(&["groupadd", "-o", "-g", &gid, name]), None, effects(), None)),
        Some(now) if now.gid != group.gid => {
            changes.push(run(words(&["groupmod", "-o", "-g", &gid, name]), None, effects(), None));
        }
        Some(_) => {}
    }
    let members = |entry: &Option<GroupEntry>| entry.as_ref().map(|entry| entry.members.clone()).unwrap_or_default();
    if sorted(&members(was)) != sorted(&members(now)) {
        changes.push(run(words(&["gpasswd", "-M", &group.members.join(","), name]), None, effects(), None));
    }
    changes
}

/// Returns the change that gives packages the versions they had; none where all have them.
pub(super) fn packages_back(was: &[(&str, Option<&str>)], host: &dyn Probe) -> Result<Option<Change>, Failure> {
    if was.is_empty() {
        return Ok(None);
    }
    let effects = was.iter().map(|(name, version)| match version {
        Some(version) => Effect::Package { name: (*name).to_owned(), version: Some((*version).to_owned()) },
        None => Effect::PackageGone((*name).to_owned()),
    });
    let told: Vec<_> = was
        .iter()
        .map(|(name, version)| version.map_or_else(|| format!("remove {name}"), |version| format!("install {name} {version}")))
        .collect();
    let mut argv = words(&["apt-get", "-q", "-y", "--allow-downgrades", "--no-remove"]);
    if host.find_program("apt-get")?.is_some() {
        let removes = was.iter().any(|(_, version)| version.is_none());
        argv.retain(|word| !removes || word != "--no-remove");
        argv.push("install".to_owned());
        argv.extend(was.iter().map(|(name, version)| version.map_or_else(|| format!("{name}-"), |version| format!("{name}={version}"))));
        let mut simulated: Vec<_> = argv.iter().map(String::as_str).collect();
        simulated.insert(1, "-s");
        let output = host.query(&simulated)?;
        if output.rc != 0 {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let why = text.lines().find_map(|line| line.strip_prefix("E: ")).unwrap_or("it gave no reason");
            return Err(Failure::unknown(format!("apt-get cannot go back: {why}")));
        }
    } else if was.iter().all(|(_, version)| version.is_none()) {
        argv = words(&["dnf", "-y", "remove"]);
        argv.extend(was.iter().map(|(name, _)| (*name).to_owned()));
    } else {
        return Err(Failure::unknown("earlier versions of packages are brought back with apt-get only"));
    }
    Ok(Some(run(argv, None, effects.collect(), Some(told.join(", ")))))
}
