//! `systemd`: units of systemd. Also what `service` has in common with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::probe::FileKind;
use crate::change::units::full_name;
use crate::change::{Change, Failure, Plan, Probe, Program, UnitAction, UnitState};
use crate::value::{Map, Value};

/// Starts, stops, restarts, enables and masks units of systemd. Also called `systemd_service`.
///
/// The unit is asked first; only what is not as asked is changed. With `daemon_reload` systemd reads its files again
/// where the unit's differ from what it has read, or where no unit is named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Systemd {
    /// The unit; without a suffix it is a service.
    #[serde(alias = "service", alias = "unit")]
    name: Option<String>,
    /// What the unit shall be. `restarted` and `reloaded` act each time.
    state: Option<State>,
    /// Whether it starts at boot.
    enabled: Option<bool>,
    /// Whether it is masked, so that nothing can start it.
    masked: Option<bool>,
    /// Whether systemd reads its files again first.
    #[serde(default, alias = "daemon-reload")]
    daemon_reload: bool,
    /// Whether systemd itself is started anew first.
    #[serde(default, alias = "daemon-reexec")]
    daemon_reexec: bool,
    /// Whose units: `system`, `user` (of the user that the task runs as) or `global`.
    #[serde(default)]
    scope: Scope,
    /// Whether existing links are overwritten when it is enabled.
    #[serde(default)]
    force: bool,
    /// Whether to go on without waiting until the action is done.
    #[serde(default)]
    no_block: bool,
}

/// What a unit shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It runs.
    Started,
    /// It does not run.
    Stopped,
    /// It is started anew.
    Restarted,
    /// It reads its settings again, or is started.
    Reloaded,
}

/// Whose units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Scope {
    /// The system's.
    #[default]
    System,
    /// The user's own.
    User,
    /// Of all users.
    Global,
}

impl Module for Systemd {
    const NAME: &'static str = "systemd";
    const RESTS: bool = false;
    const CHANGES: &'static [Names] = &[Names::Unit("name"), Names::Unit("service"), Names::Unit("unit")];
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Let systemd read its files again", task: "daemon_reload: true", given: &[], changes: true }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let scope = match self.scope {
            Scope::System => "system",
            Scope::User => "user",
            Scope::Global => "global",
        };
        let manager = |action| Change::Unit { name: String::new(), action, scope: scope.to_owned(), before: UnitState::default() };
        let mut changes = Vec::new();
        if self.daemon_reexec {
            changes.push(manager(UnitAction::DaemonReexec));
        }
        let Some(name) = &self.name else {
            if self.state.is_some() || self.enabled.is_some() || self.masked.is_some() {
                return Err(Failure::argument("name", "`name` is needed to say which unit is meant"));
            }
            if self.daemon_reload {
                changes.push(manager(UnitAction::DaemonReload));
            }
            let because = if changes.is_empty() { "no unit is named and nothing is asked" } else { "systemd is asked to act on itself" };
            return Ok(Plan { changes, ..Plan::nothing(because) });
        };
        let unit = host.unit(name, scope)?;
        if self.daemon_reload && needs_reload(host, name, scope, &unit)? {
            changes.push(manager(UnitAction::DaemonReload));
        }
        let wish =
            Wish { name, scope, state: self.state, enabled: self.enabled, masked: self.masked, force: self.force, no_block: self.no_block };
        let mut plan = wish.plan(host, &unit)?;
        changes.append(&mut plan.changes);
        if !changes.is_empty() && plan.because == AS_ASKED {
            plan.because = "unit files changed since systemd read them".to_owned();
        }
        plan.changes = changes;
        Ok(plan)
    }
}

const AS_ASKED: &str = "the unit is as asked";

/// Where systemd finds the files of the system's units, the strongest first. A user's own folder comes before them.
fn folders(host: &dyn Probe, scope: &str) -> Result<Vec<PathBuf>, Failure> {
    let own = if scope == "user" { vec![Path::new(&host.me()?.home).join(".config/systemd/user")] } else { Vec::new() };
    let kind = if scope == "system" { "system" } else { "user" };
    let shared = ["/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd"];
    Ok(own.into_iter().chain(shared.iter().map(|folder| Path::new(folder).join(kind))).collect())
}

/// Whether systemd has not read the files of a unit as they are (or would be) now.
///
/// systemd's own answer is about the files that it has read: it does not tell of the first drop-in of a unit, nor of a file that
/// now goes before the one it has read. So those are looked for here.
pub(super) fn needs_reload(host: &dyn Probe, name: &str, scope: &str, unit: &UnitState) -> Result<bool, Failure> {
    if !unit.exists || property(unit, "NeedDaemonReload") == Some("yes") {
        return Ok(true);
    }
    let folders = folders(host, scope)?;
    let full = full_name(name);
    let template = full.split_once('@').and_then(|(name, rest)| Some(format!("{name}@.{}", rest.rsplit_once('.')?.1)));
    let names = || [Some(&full), template.as_ref()].into_iter().flatten();
    let (mut files, mut drop_ins) = (Vec::new(), Vec::new());
    for (name, folder) in names().flat_map(|name| folders.iter().map(move |folder| (name, folder))) {
        let file = folder.join(name);
        files.extend(host.stat(&file, false)?.map(|stat| (file, stat.kind)));
        let folder = folder.join(format!("{name}.d"));
        let inside = host.list(&folder)?.unwrap_or_default();
        drop_ins.extend(inside.iter().filter(|file| file.ends_with(".conf")).map(|file| folder.join(file)));
    }
    for path in files.iter().map(|(path, _)| path).chain(&drop_ins) {
        if host.stat(path, true)?.is_some_and(|stat| stat.foreseen) {
            return Ok(true);
        }
    }
    // Of drop-ins with the same name only the strongest is read.
    let mut seen = BTreeSet::new();
    drop_ins.retain(|path| seen.insert(path.file_name().map(ToOwned::to_owned)));
    let read: Vec<_> = property(unit, "DropInPaths").unwrap_or_default().split_whitespace().map(unmerged).collect();
    if drop_ins.iter().any(|path| !read.contains(&unmerged(path))) {
        return Ok(true);
    }
    // A link may be another name of the unit, or lead to where the file is: then systemd tells that place.
    let read = property(unit, "FragmentPath").unwrap_or_default();
    let first = files.first().filter(|(_, kind)| *kind == FileKind::File);
    Ok(first.is_some_and(|(path, _)| !read.is_empty() && unmerged(path) != unmerged(read)))
}

/// Returns a path as it is where `/usr/lib` and `/lib` are the same.
fn unmerged(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    path.strip_prefix("/usr").map_or_else(|_| path.to_owned(), |rest| Path::new("/").join(rest))
}

/// Returns a property that the service manager told.
pub(super) fn property<'a>(unit: &'a UnitState, name: &str) -> Option<&'a str> {
    unit.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// What a task wants of a unit.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub name: &'a str,
    pub scope: &'static str,
    pub state: Option<State>,
    pub enabled: Option<bool>,
    pub masked: Option<bool>,
    pub force: bool,
    pub no_block: bool,
}

impl Wish<'_> {
    /// Plans what makes the unit as it is wished.
    pub(super) fn plan(&self, host: &dyn Probe, unit: &UnitState) -> Result<Plan, Failure> {
        if !unit.exists && !self.has_file(host)? {
            return Err(not_found(host, self.name, self.scope));
        }
        let mut actions = Vec::new();
        match self.masked {
            Some(true) if !unit.masked => actions.push(UnitAction::Mask),
            Some(false) if unit.masked => actions.push(UnitAction::Unmask),
            _ => {}
        }
        // Such units have no [Install] part: they can be neither enabled nor disabled.
        let fixed = matches!(property(unit, "UnitFileState"), Some("static" | "generated" | "transient"));
        match self.enabled {
            Some(true) if !unit.enabled && !fixed => actions.push(UnitAction::Enable),
            Some(false) if unit.enabled && !fixed => actions.push(UnitAction::Disable),
            _ => {}
        }
        let starts = !matches!(self.state, None | Some(State::Stopped));
        let stays_masked = self.masked.unwrap_or(unit.masked);
        if starts && stays_masked {
            return Err(
                Failure::failed(format!("the unit `{}` is masked, so it cannot be started", self.name)).hint("`masked: false` allows it")
            );
        }
        match self.state {
            Some(State::Started) if !unit.active => actions.push(UnitAction::Start),
            Some(State::Stopped) if unit.active => actions.push(UnitAction::Stop),
            Some(State::Restarted) => actions.push(UnitAction::Restart),
            Some(State::Reloaded) => actions.push(if unit.active { UnitAction::Reload } else { UnitAction::Start }),
            _ => {}
        }
        let because = match actions.as_slice() {
            [] => AS_ASKED.to_owned(),
            actions => actions.iter().map(|action| reason(*action, unit)).collect::<Vec<_>>().join(", "),
        };
        let changes = actions.into_iter().map(|action| self.change(action, unit)).collect();
        let state = self.state.map(|state| match state {
            State::Stopped => "stopped",
            _ => "started",
        });
        let status: Map = unit.properties.iter().map(|(name, value)| (name.into(), value.as_str().into())).collect();
        let plan = Plan::all(because, changes).value("name", self.name).value("status", status);
        let plan = plan.value("enabled", self.enabled.unwrap_or(unit.enabled));
        Ok(plan.value("state", state.unwrap_or(if unit.active { "started" } else { "stopped" })))
    }

    fn change(&self, action: UnitAction, unit: &UnitState) -> Change {
        let flag = match action {
            UnitAction::Enable if self.force => Some(("enable", "--force")),
            UnitAction::Start if self.no_block => Some(("start", "--no-block")),
            UnitAction::Stop if self.no_block => Some(("stop", "--no-block")),
            UnitAction::Restart if self.no_block => Some(("restart", "--no-block")),
            UnitAction::Reload if self.no_block => Some(("reload", "--no-block")),
            _ => None,
        };
        let Some((word, flag)) = flag else {
            return Change::Unit { name: self.name.to_owned(), action, scope: self.scope.to_owned(), before: unit.clone() };
        };
        let scope = format!("--{}", self.scope);
        let argv = ["systemctl", scope.as_str(), word, flag, "--", self.name].map(str::to_owned).to_vec();
        Change::Run {
            program: Program { argv, accept: vec![0], ..Program::default() },
            effects: Vec::new(),
            summary: format!("{word} the unit {}", self.name),
        }
    }

    /// Whether a unit that systemd does not know (yet) has a file.
    fn has_file(&self, host: &dyn Probe) -> Result<bool, Failure> {
        let full = full_name(self.name);
        for folder in folders(host, self.scope)? {
            if host.stat(&folder.join(&full), true)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn reason(action: UnitAction, unit: &UnitState) -> &'static str {
    match action {
        UnitAction::Start => "it does not run",
        UnitAction::Stop => "it runs",
        UnitAction::Restart => "a restart is asked for",
        UnitAction::Reload => "a reload is asked for",
        UnitAction::Enable if unit.masked => "it is masked and not enabled",
        UnitAction::Enable => "it is not enabled",
        UnitAction::Disable => "it is enabled",
        UnitAction::Mask => "it is not masked",
        UnitAction::Unmask => "it is masked",
        UnitAction::DaemonReload | UnitAction::DaemonReexec => "systemd shall read its files again",
    }
}

/// Returns the failure that no such unit is there, with the nearest names.
fn not_found(host: &dyn Probe, name: &str, scope: &str) -> Failure {
    let scope = format!("--{scope}");
    let argv = ["systemctl", &scope, "list-unit-files", "--no-legend", "--plain", "--no-pager", "--type=service"];
    let listing = host.query(&argv).map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let near = near(name, listing.lines().filter_map(|line| line.split_whitespace().next()));
    let failure = Failure::failed(format!("Could not find the requested service {name}: the host has no such unit"));
    if near.is_empty() {
        failure.hint("see whether the package that brings it is installed")
    } else {
        failure.hint(format!("there is {}", near.join(", ")))
    }
}

/// Returns up to three names that have something in common with `name`.
fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = name.split('.').next().unwrap_or_default().to_lowercase();
    let common = |other: &str| {
        let other = other.split('.').next().unwrap_or_default().to_lowercase();
        let prefix = wanted.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
        if other.contains(&wanted) || (other.len() > 2 && wanted.contains(&other)) { prefix + 10 } else { prefix }
    };
    let mut scored: Vec<_> = known.map(|other| (common(other), other)).filter(|(score, _)| *score >= 3).collect();
    scored.sort_by_key(|(score, other)| (std::cmp::Reverse(*score), *other));
    scored.dedup();
    scored.into_iter().take(3).map(|(_, other)| other).collect()
}

/// Returns what the manager told, for `service`.
pub(super) fn plain_state(name: &str, unit: &UnitState) -> [(&'static str, Value); 2] {
    [("name", Value::str(name)), ("state", Value::str(if unit.active { "started" } else { "stopped" }))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    fn unit(active: bool, enabled: bool) -> UnitState {
        UnitState { exists: true, active, enabled, ..UnitState::default() }
    }

    fn actions(wish: &Wish, unit: &UnitState) -> Vec<UnitAction> {
        let plan = wish.plan(&FakeHost::default(), unit).expect("plan");
        let action = |change: &Change| if let Change::Unit { action, .. } = change { *action } else { panic!("{change:?}") };
        plan.changes.iter().map(action).collect()
    }

    fn wish(state: Option<State>, enabled: Option<bool>, masked: Option<bool>) -> Wish<'static> {
        Wish { name: "es", scope: "system", state, enabled, masked, force: false, no_block: false }
    }

    #[test]
    fn only_what_is_not_as_asked_is_changed() {
        let started = wish(Some(State::Started), Some(true), None);
        assert_eq!(actions(&started, &unit(false, false)), [UnitAction::Enable, UnitAction::Start]);
        assert_eq!(actions(&started, &unit(true, true)), []);
        assert_eq!(actions(&wish(Some(State::Reloaded), None, None), &unit(false, true)), [UnitAction::Start]);
        assert_eq!(actions(&wish(Some(State::Stopped), None, Some(true)), &unit(true, true)), [UnitAction::Mask, UnitAction::Stop]);
    }

    #[test]
    fn a_static_unit_is_left_as_it_is() {
        let mut unit = unit(true, false);
        unit.properties.push(("UnitFileState".into(), "static".into()));
        assert_eq!(actions(&wish(None, Some(true), None), &unit), []);
    }

    /// Whether systemd has to read its files again, if it has read one file and one drop-in, and these are there.
    fn reloads(name: &str, files: &[(&str, &str)]) -> bool {
        let mut unit = unit(true, true);
        let read = [("FragmentPath", "/lib/systemd/system/es.service"), ("DropInPaths", "/etc/systemd/system/es.service.d/a.conf")];
        unit.properties.extend(read.map(|(name, value)| (name.to_owned(), value.to_owned())));
        needs_reload(&FakeHost::with(files), name, "system", &unit).expect("an answer")
    }

    #[test]
    fn a_new_drop_in_or_a_file_that_goes_before_the_one_read_asks_for_a_reload() {
        let (file, drop_in) = (("/usr/lib/systemd/system/es.service", "[Unit]\n"), ("/etc/systemd/system/es.service.d/a.conf", ""));
        assert!(!reloads("es", &[file, drop_in]));
        assert!(!reloads(
            "es",
            &[file, drop_in, ("/lib/systemd/system/es.service.d/a.conf", "weaker"), ("/etc/systemd/system/es.service.d/notes", "")]
        ));
        assert!(reloads("es", &[file, drop_in, ("/etc/systemd/system/es.service.d/b.conf", "")]));
        assert!(reloads("es", &[file, drop_in, ("/run/systemd/system/es.service.d/b.conf", "")]));
        assert!(reloads("es.service", &[file, drop_in, ("/etc/systemd/system/es.service", "[Unit]\n")]));
        assert!(!reloads("es", &[file, drop_in, ("/usr/local/lib/systemd/system/other.service", "[Unit]\n")]));
        assert!(reloads("es@1", &[("/lib/systemd/system/es@.service.d/limit.conf", "")]));
    }

    #[test]
    fn near_names_come_first() {
        let known = ["ssh.service", "sshd.service", "elasticsearch.service", "cron.service"];
        assert_eq!(near("elastic", known.into_iter()), ["elasticsearch.service"]);
        assert_eq!(near("elasticsaerch", known.into_iter()), ["elasticsearch.service"]);
        assert_eq!(near("sshd2", known.into_iter()), ["sshd.service", "ssh.service"]);
    }
}
