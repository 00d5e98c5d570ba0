//! `user`: users of a host.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::group::{Presence, check_name};
use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Attributes, Before, Change, Done, Effect, Failure, Plan, Probe, Program, UserEntry};
use crate::value::secret::Secret;
use crate::value::{Map, Value};

/// Makes, changes and removes users, with the account tools of the host.
///
/// `password` is a hash, as `password_hash` makes it. It never shows in a process list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user.
    #[serde(alias = "user")]
    name: String,
    /// Whether the user shall be there.
    #[serde(default)]
    state: Presence,
    /// The number.
    uid: Option<u32>,
    /// Whether the number may be another user's too.
    #[serde(default)]
    non_unique: bool,
    /// The primary group.
    group: Option<String>,
    /// The other groups; an empty list: none.
    groups: Option<Vec<String>>,
    /// Whether groups that are not listed stay.
    #[serde(default)]
    append: bool,
    /// The full name.
    comment: Option<String>,
    /// The home directory.
    home: Option<String>,
    /// Whether the home directory is made.
    #[serde(default = "super::command::yes", alias = "createhome")]
    create_home: bool,
    /// Whether the home directory's content moves along when `home` changes.
    #[serde(default)]
    move_home: bool,
    /// A directory whose content a new home gets.
    skeleton: Option<String>,
    /// The login shell.
    shell: Option<String>,
    /// Whether a new user gets a number of the system's range.
    #[serde(default)]
    system: bool,
    /// The hash of the password, or `*` for none.
    password: Option<Secret<String>>,
    /// Whether the password of an existing user is set too.
    #[serde(default)]
    update_password: UpdatePassword,
    /// Whether the password is locked.
    password_lock: Option<bool>,
    /// When the account ends, seconds since 1970; negative: never.
    expires: Option<f64>,
    /// Mask for the mode of a new home directory, such as `"077"`.
    umask: Option<String>,
    /// Whether removing a user removes the home directory.
    #[serde(default)]
    remove: bool,
    /// Whether a user who is logged in is removed too.
    #[serde(default)]
    force: bool,
    /// Whether the user is made on the host itself; it always is.
    #[serde(default)]
    local: bool,
    /// Whether the user gets an SSH key, where there is none.
    #[serde(default)]
    generate_ssh_key: bool,
    /// Bits of the key.
    ssh_key_bits: Option<u32>,
    /// The kind of key.
    #[serde(default = "rsa")]
    ssh_key_type: String,
    /// The key's file, in the home directory where it does not begin with `/`.
    ssh_key_file: Option<String>,
    /// What stands after the public key.
    ssh_key_comment: Option<String>,
    /// Not supported: a passphrase does not belong on a command line.
    ssh_key_passphrase: Option<Secret<String>>,
    /// Days after which the password has to be changed.
    password_expire_max: Option<i64>,
    /// Days before which the password may not be changed.
    password_expire_min: Option<i64>,
    /// Days before its end from which the user is warned.
    password_expire_warn: Option<i64>,
    /// Days after the end of the password until the account is closed.
    password_expire_account_disable: Option<i64>,
    /// The lowest number for a new user.
    uid_min: Option<u32>,
    /// The highest number for a new user.
    uid_max: Option<u32>,
    /// Accepted for old playbooks: for other systems.
    #[serde(rename = "login_class")]
    _login_class: Option<String>,
    /// Accepted for old playbooks: for other systems.
    #[serde(rename = "hidden")]
    _hidden: Option<bool>,
    /// Accepted for old playbooks: for other systems.
    #[serde(rename = "profile")]
    _profile: Option<String>,
    /// Accepted for old playbooks: for other systems.
    #[serde(rename = "authorization")]
    _authorization: Option<String>,
    /// Accepted for old playbooks: for other systems.
    #[serde(rename = "role")]
    _role: Option<String>,
    /// Accepted for old playbooks: the SELinux user stays as the host gives it.
    #[serde(rename = "seuser")]
    _seuser: Option<String>,
}

fn rsa() -> String {
    "rsa".to_owned()
}

/// When the password is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum UpdatePassword {
    /// Whenever it differs.
    #[default]
    #[serde(rename = "always")]
    Always,
    /// Only for new users.
    #[serde(rename = "on_create")]
    OnCreate,
}

impl Module for User {
    const NAME: &'static str = "user";
    const PATHS: &'static [&'static str] = &["home", "shell", "skeleton"];
    const CHANGES: &'static [Names] = &[Names::User("name"), Names::User("user"), Names::Path("home")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Make a user for a service",
            task: "{name: elasticsearch, system: true, create_home: false, shell: /usr/sbin/nologin}",
            given: &[],
            changes: true,
        },
        Example { title: "See that a user is gone", task: "{name: old, state: absent, remove: true}", given: &[], changes: false },
    ];

    fn ends(arguments: &Map) -> Vec<String> {
        let is_absent = arguments.get("state").and_then(Value::as_str) == Some("absent");
        let name = arguments.get("name").or_else(|| arguments.get("user")).filter(|_| is_absent);
        name.and_then(Value::as_str).map(str::to_owned).into_iter().collect()
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        check_name(&self.name, "user")?;
        if self.local && (self.uid_min.is_some() || self.uid_max.is_some()) {
            return Err(Failure::argument("local", "'uid_min' and 'uid_max' are mutually exclusive with 'local'"));
        }
        if self.ssh_key_passphrase.is_some() {
            let failure =
                Failure::argument("ssh_key_passphrase", "`ssh_key_passphrase` is not supported, as it would show in the process list");
            return Err(failure.hint("make the key elsewhere and `copy` it"));
        }
        let found = host.user(&self.name)?.filter(|user| user.name == self.name);
        let plan = match (self.state, &found) {
            (Presence::Absent, None) => Plan::nothing("there is no such user"),
            (Presence::Absent, Some(user)) => self.delete(user),
            (Presence::Present, None) => self.add(host)?,
            (Presence::Present, Some(user)) => self.modify(host, user)?,
        };
        let mut plan = plan.value("name", self.name.as_str()).value("append", self.append);
        if self.state == Presence::Absent {
            return Ok(plan.value("state", "absent").value("remove", self.remove).value("force", self.force));
        }
        plan = plan.value("state", "present").value("groups", self.groups.as_ref().map(|groups| groups.join(",")));
        let foreseen = plan.changes.iter().find_map(|change| match change {
            Change::Run { effects, .. } => {
                effects.iter().find_map(|effect| if let Effect::User(user) = effect { Some(user.clone()) } else { None })
            }
            _ => None,
        });
        let is_new = found.is_none();
        if let Some(user) = foreseen.or(found) {
            describe(&mut plan.values, &user);
            let mut more = self.ageing(host, &user, is_new)?;
            more.extend(if self.generate_ssh_key { self.key_changes(host, &user)? } else { Vec::new() });
            if !more.is_empty() && plan.changes.is_empty() {
                plan.because = "the key is missing, or the password ends otherwise".to_owned();
            }
            plan.changes.extend(more);
        }
        plan.warnings.extend(self.doubt());
        Ok(plan)
    }

    fn result(&self, plan: &Plan, _done: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        let mut values = plan.values.clone();
        if let (Presence::Present, Some(user)) = (self.state, host.user(&self.name)?) {
            describe(&mut values, &user);
            if self.generate_ssh_key {
                let file = self.key_file(&user);
                let public = host.read(&public_of(&file))?.unwrap_or_default();
                values.insert("ssh_key_file".into(), file.display().to_string().into());
                values.insert("ssh_public_key".into(), String::from_utf8_lossy(&public).trim().into());
            }
        }
        Ok(values)
    }
}

/// Returns the file of the public key beside a private one.
fn public_of(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}.pub", file.display()))
}

fn describe(values: &mut Map, user: &UserEntry) {
    let number = |number: Option<u32>| number.map_or_else(|| Value::unknown("the user was not made"), |number| i64::from(number).into());
    values.insert("uid".into(), number(user.uid));
    values.insert("group".into(), number(user.gid));
    values.insert("comment".into(), user.gecos.as_str().into());
    values.insert("home".into(), user.home.as_str().into());
    values.insert("shell".into(), user.shell.as_str().into());
}

/// Returns the change that runs an account tool.
fn run(argv: Vec<String>, mut effects: Vec<Effect>) -> Change {
    let summary = format!("run `{}`", argv.join(" "));
    if !effects.is_empty() {
        effects.push(Effect::NothingElse);
    }
    Change::Run { program: Program { argv, accept: vec![0], ..Program::default() }, effects, summary }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl User {
    fn key_file(&self, user: &UserEntry) -> PathBuf {
        let usual = || format!(".ssh/id_{}", self.ssh_key_type);
        Path::new(&user.home).join(self.ssh_key_file.clone().unwrap_or_else(usual))
    }

    /// Plans an SSH key where there is none.
    fn key_changes(&self, host: &dyn Probe, user: &UserEntry) -> Result<Vec<Change>, Failure> {
        let file = self.key_file(user);
        let public = public_of(&file);
        if host.stat(&file, true)?.is_some() && !self.force {
            return Ok(Vec::new());
        }
        if host.stat(&public, false)?.is_some() && !self.force {
            return Err(Failure::argument("ssh_key_file", format!("`{}` is there already, but its key is not", public.display())));
        }
        let owned = |mode| Attributes { uid: user.uid, gid: user.gid, mode: Some(mode), ..Attributes::default() };
        let mut changes = Vec::new();
        if let Some(folder) = file.parent()
            && host.stat(folder, true)?.is_none()
        {
            changes.push(Change::Directory { path: folder.to_owned(), attributes: owned(0o700) });
        }
        for path in [&file, &public] {
            if host.stat(path, false)?.is_some() {
                changes.push(Change::Remove { path: path.clone(), before: Before::Any });
            }
        }
        let shown = file.display().to_string();
        let comment =
            self.ssh_key_comment.clone().unwrap_or_else(|| format!("{}@{}", self.name, host.environment("HOSTNAME").unwrap_or_default()));
        let mut argv = words(&["ssh-keygen", "-q", "-t", &self.ssh_key_type, "-N", "", "-C", comment.trim_end_matches('@'), "-f", &shown]);
        argv.extend(self.ssh_key_bits.into_iter().flat_map(|bits| ["-b".to_owned(), bits.to_string()]));
        changes.push(run(argv, vec![Effect::Creates(file), Effect::Creates(public.clone())]));
        let both = words(&["chown", &format!("{}:", self.name), &shown, &public.display().to_string()]);
        changes.push(run(both, vec![Effect::Creates(public)]));
        Ok(changes)
    }

    /// Plans how the password ages.
    fn ageing(&self, host: &dyn Probe, user: &UserEntry, is_new: bool) -> Result<Vec<Change>, Failure> {
        let asked = [
            ("-M", self.password_expire_max, 4),
            ("-m", self.password_expire_min, 3),
            ("-W", self.password_expire_warn, 5),
            ("-I", self.password_expire_account_disable, 6),
        ];
        if asked.iter().all(|(_, days, _)| days.is_none()) {
            return Ok(Vec::new());
        }
        let shadow = if is_new { Vec::new() } else { self.shadow(host)? };
        let mut argv = words(&["chage"]);
        for (flag, days, field) in asked {
            let Some(days) = days else { continue };
            let found = shadow.get(field).and_then(|text| text.parse::<i64>().ok()).unwrap_or(-1);
            if found != days {
                argv.extend([flag.to_owned(), days.to_string()]);
            }
        }
        if argv.len() == 1 {
            return Ok(Vec::new());
        }
        argv.push(self.name.clone());
        Ok(vec![run(argv, vec![Effect::User(user.clone())])])
    }

    fn delete(&self, user: &UserEntry) -> Plan {
        let mut argv = words(&["userdel"]);
        argv.extend(self.force.then(|| "-f".to_owned()));
        argv.extend(self.remove.then(|| "-r".to_owned()));
        argv.push(self.name.clone());
        let mut effects = vec![Effect::UserGone(self.name.clone())];
        if self.remove && !user.home.is_empty() && user.home != "/" {
            effects.push(Effect::Removes(PathBuf::from(&user.home)));
        }
        Plan::one("the user is there", run(argv, effects))
    }

    fn add(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let mut argv = words(&["useradd"]);
        let mut option = |flag: &str, value: &str| argv.extend([flag.to_owned(), value.to_owned()]);
        let mut gid = None;
        if let Some(uid) = self.uid {
            option("-u", &uid.to_string());
        }
        if let Some(group) = &self.group {
            gid = self.known_group(host, group, "group")?;
            option("-g", group);
        }
        if let Some(groups) = self.groups.as_ref().filter(|groups| !groups.is_empty()) {
            for group in groups {
                self.known_group(host, group, "groups")?;
            }
            option("-G", &groups.join(","));
        }
        for (flag, value) in [("-c", &self.comment), ("-d", &self.home), ("-s", &self.shell)] {
            if let Some(value) = value {
                option(flag, value);
            }
        }
        if let Some(expires) = self.expires.filter(|seconds| *seconds >= 0.0) {
            option("-e", &date(expires));
        }
        for (name, bound) in [("UID_MIN", self.uid_min), ("UID_MAX", self.uid_max)] {
            if let Some(bound) = bound {
                option("-K", &format!("{name}={bound}"));
            }
        }
        if self.create_home {
            for (flag, value) in [("-k", self.skeleton.clone()), ("-K", self.umask.as_ref().map(|mask| format!("UMASK={mask}")))] {
                if let Some(value) = value {
                    option(flag, &value);
                }
            }
        }
        argv.extend((self.non_unique && self.uid.is_some()).then(|| "-o".to_owned()));
        argv.extend(self.system.then(|| "-r".to_owned()));
        // A group of the user's name is there already: `useradd` must not make it.
        argv.extend((self.group.is_none() && host.group(&self.name)?.is_some()).then(|| "-N".to_owned()));
        argv.push(if self.create_home { "-m" } else { "-M" }.to_owned());
        argv.push(self.name.clone());
        let user = UserEntry {
            name: self.name.clone(),
            uid: self.uid,
            gid,
            gecos: self.comment.clone().unwrap_or_default(),
            home: self.home.clone().unwrap_or_else(|| format!("/home/{}", self.name)),
            shell: self.shell.clone().unwrap_or_else(|| "/bin/sh".to_owned()),
        };
        let mut effects = Vec::new();
        if self.create_home && host.stat(Path::new(&user.home), true)?.is_none() {
            effects.push(Effect::Creates(PathBuf::from(&user.home)));
        }
        effects.push(Effect::User(user.clone()));
        let mut changes = vec![run(argv, effects)];
        changes.extend(self.password.as_ref().map(|hash| self.set_password(hash.reveal(), &user)));
        if self.password_lock == Some(true) {
            changes.push(run(words(&["usermod", "-L", &self.name]), vec![Effect::User(user)]));
        }
        Ok(Plan::all("there is no such user", changes))
    }

    /// Returns a warning where the password can be no hash: nobody could log in with it.
    fn doubt(&self) -> Option<String> {
        let hash = self.password.as_ref()?.reveal();
        if hash.chars().all(|c| matches!(c, '*' | '!')) {
            return None;
        }
        let parts: Vec<_> = hash.split('$').collect();
        let last = parts.last().copied().unwrap_or_default();
        let is_whole = match parts.get(1) {
            Some(&"1") => last.len() == 22,
            Some(&"5") => last.len() == 43,
            Some(&"6") => last.len() == 86,
            _ => true,
        };
        let is_hash = parts.len() > 2
            && is_whole
            && !hash.contains([':', '*', '!'])
            && last.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '='));
        (!is_hash).then(|| "the password appears not to have been hashed: `password` takes what `password_hash` gives".to_owned())
    }

    /// Returns the change that sets the password; the hash goes through standard input, which no process list shows.
    fn set_password(&self, hash: &str, user: &UserEntry) -> Change {
        let program = Program {
            argv: words(&["chpasswd", "-e"]),
            stdin: Some(format!("{}:{hash}\n", self.name).into_bytes()),
            accept: vec![0],
            ..Program::default()
        };
        let effects = vec![Effect::User(user.clone()), Effect::NothingElse];
        Change::Run { program, effects, summary: format!("set the password of `{}`", self.name) }
    }

    /// Returns the number of a group that must be there.
    fn known_group(&self, host: &dyn Probe, name: &str, argument: &str) -> Result<Option<u32>, Failure> {
        match host.group(name)? {
            Some(group) => Ok(group.gid),
            None => {
                Err(Failure::argument(argument, format!("the host has no group `{name}`")).hint("make it first, with the module `group`"))
            }
        }
    }

    fn modify(&self, host: &dyn Probe, user: &UserEntry) -> Result<Plan, Failure> {
        let mut after = user.clone();
        let (mut options, mut reasons) = (Vec::new(), Vec::new());
        if let Some(uid) = self.uid.filter(|uid| Some(*uid) != user.uid) {
            options.extend(["-u".to_owned(), uid.to_string()]);
            options.extend(self.non_unique.then(|| "-o".to_owned()));
            after.uid = Some(uid);
            reasons.push("number");
        }
        if let Some(group) = &self.group {
            let gid = self.known_group(host, group, "group")?;
            if gid != user.gid {
                options.extend(["-g".to_owned(), group.clone()]);
                after.gid = gid;
                reasons.push("primary group");
            }
        }
        if let Some(groups) = &self.groups {
            let own = self.group_change(host, user, groups)?;
            reasons.extend((!own.is_empty()).then_some("groups"));
            options.extend(own);
        }
        for (flag, wanted, found, reason) in [
            ("-c", &self.comment, &mut after.gecos, "full name"),
            ("-d", &self.home, &mut after.home, "home directory"),
            ("-s", &self.shell, &mut after.shell, "shell"),
        ] {
            let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != found) else { continue };
            options.extend([flag.to_owned(), wanted.clone()]);
            options.extend((flag == "-d" && self.move_home).then(|| "-m".to_owned()));
            found.clone_from(wanted);
            reasons.push(reason);
        }
        let needs_shadow = self.expires.is_some() || self.password_lock.is_some() || self.password.is_some();
        let shadow = if needs_shadow { self.shadow(host)? } else { Vec::new() };
        let field = |at: usize| shadow.get(at).map(String::as_str).unwrap_or_default();
        if let Some(expires) = self.expires {
            let days = if expires < 0.0 { String::new() } else { format!("{}", (expires / 86_400.0).floor()) };
            if days != field(7) {
                options.extend(["-e".to_owned(), if expires < 0.0 { String::new() } else { date(expires) }]);
                reasons.push("end of the account");
            }
        }
        let locked = field(1).starts_with('!');
        if let Some(lock) = self.password_lock.filter(|lock| *lock != locked) {
            options.push(if lock { "-L" } else { "-U" }.to_owned());
            reasons.push("lock");
        }
        let mut changes = Vec::new();
        if !options.is_empty() {
            let argv = words(&["usermod"]).into_iter().chain(options).chain([self.name.clone()]).collect();
            changes.push(run(argv, vec![Effect::User(after.clone())]));
        }
        if let (Some(hash), UpdatePassword::Always) = (&self.password, self.update_password) {
            let hash = hash.reveal();
            if field(1).trim_start_matches('!') != hash.trim_start_matches('!') {
                changes.push(self.set_password(hash, &after));
                reasons.push("password");
            }
        }
        if self.create_home && !after.home.is_empty() && !self.move_home && host.stat(Path::new(&after.home), true)?.is_none() {
            let mask = self.umask.as_ref().and_then(|mask| u32::from_str_radix(mask, 8).ok()).unwrap_or(0o022);
            let attributes = Attributes { uid: after.uid, gid: after.gid, mode: Some(0o777 & !mask), ..Attributes::default() };
            changes.push(Change::Directory { path: PathBuf::from(&after.home), attributes });
            reasons.push("missing home directory");
        }
        let because = if changes.is_empty() { "the user is as asked".to_owned() } else { format!("differs: {}", reasons.join(", ")) };
        Ok(Plan::all(because, changes))
    }

    /// Returns the options that give the user these groups; none where they are as asked.
    fn group_change(&self, host: &dyn Probe, user: &UserEntry, groups: &[String]) -> Result<Vec<String>, Failure> {
        let primary = user.gid.and_then(|gid| host.group(&gid.to_string()).ok().flatten()).map(|group| group.name);
        let found: Vec<_> = host.groups_of(&self.name)?.into_iter().filter(|name| Some(name) != primary.as_ref()).collect();
        let mut wanted = Vec::new();
        for group in groups {
            self.known_group(host, group, "groups")?;
            let name = host.group(group)?.map_or_else(|| group.clone(), |entry| entry.name);
            if Some(&name) != primary.as_ref() {
                wanted.push(name);
            }
        }
        let missing: Vec<_> = wanted.iter().filter(|name| !found.contains(name)).cloned().collect();
        let surplus = !self.append && found.iter().any(|name| !wanted.contains(name));
        Ok(match (missing.is_empty(), surplus, self.append) {
            (true, false, _) => Vec::new(),
            (_, _, true) => vec!["-a".to_owned(), "-G".to_owned(), missing.join(",")],
            _ => vec!["-G".to_owned(), wanted.join(",")],
        })
    }

    /// Returns the fields of the user's line in `/etc/shadow`.
    fn shadow(&self, host: &dyn Probe) -> Result<Vec<String>, Failure> {
        let text = host.read(Path::new("/etc/shadow"))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.split(':').next() == Some(&self.name)).unwrap_or_default();
        Ok(line.split(':').map(str::to_owned).collect())
    }
}

/// Returns the day of a moment as `2030-01-31`.
fn date(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation)]
    let moment = jiff::Timestamp::from_second(seconds as i64).unwrap_or_default();
    moment.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    fn plan(host: &FakeHost, entries: &[(&str, Value)]) -> Plan {
        let map: Map = entries.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        crate::value::arguments::from_map::<User>(&map).expect("fits").plan(host).expect("plan")
    }

    fn lines(plan: &Plan) -> Vec<String> {
        plan.changes
            .iter()
            .map(|change| if let Change::Run { program, .. } = change { program.argv.join(" ") } else { panic!("{change:?}") })
            .collect()
    }

    #[test]
    fn a_password_never_stands_on_a_command_line() {
        let host = FakeHost::with(&[]);
        let plan = plan(&host, &[("name", Value::str("es")), ("password", Value::str("$6$hash")), ("home", Value::str("/srv/es"))]);
        assert_eq!(lines(&plan), ["useradd -d /srv/es -m es", "chpasswd -e"]);
        let Some(Change::Run { program, .. }) = plan.changes.get(1) else { panic!("{plan:?}") };
        assert_eq!(program.stdin.as_deref(), Some(&b"es:$6$hash\n"[..]));
    }

    #[test]
    fn an_existing_user_is_changed_only_where_it_differs() {
        let host = FakeHost::with(&[("/root/", ""), ("/etc/shadow", "root:$6$old:1:0:9:7:::\n")]);
        assert!(plan(&host, &[("name", Value::str("root")), ("password", Value::str("$6$old"))]).changes.is_empty());
        assert_eq!(lines(&plan(&host, &[("name", Value::str("root")), ("password", Value::str("$6$new"))])), ["chpasswd -e"]);
        assert_eq!(lines(&plan(&host, &[("name", Value::str("root")), ("uid", Value::Int(7))])), ["usermod -u 7 root"]);
    }
}
