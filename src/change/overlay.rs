//! The overlay: an in-memory picture of what a host would be after the changes foreseen so far in a check.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::doubt::Thing;
use super::picture::{Ground, Tree, View};
use super::probe::FileKind;
use super::{Change, Effect, Failure, GroupEntry, Output, Request, Response, UnitAction, UnitState, UserEntry, accounts, units};

/// Folders whose files are units.
const UNIT_FOLDERS: &[&str] =
    &["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system"];

/// What is foreseen of a host.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    tree: Tree,
    users: BTreeMap<String, Option<UserEntry>>,
    groups: BTreeMap<String, Option<GroupEntry>>,
    packages: BTreeMap<String, Option<Option<String>>>,
    units: BTreeMap<(String, String), UnitState>,
    units_that_may_exist: BTreeSet<String>,
    queries: Vec<Query>,
    answers: Vec<Answer>,
    /// Whether anything was started, or run, that may open or close a port.
    services_move: bool,
    /// Users, groups, packages and units of which sight is lost, each with why.
    lost: Vec<(Thing, String)>,
}

/// What is known of what programs print, in the order it became known.
#[derive(Clone, Debug)]
enum Query {
    Unknown(Vec<String>),
    Prints { argv: Vec<String>, stdout: Vec<u8> },
}

/// What is known of the answers of a server, in the order it became known.
#[derive(Clone, Debug)]
enum Answer {
    Unknown(String),
    Known { url: String, body: Vec<u8> },
}

impl Overlay {
    /// Whether nothing is foreseen.
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
            && self.users.is_empty()
            && self.groups.is_empty()
            && self.packages.is_empty()
            && self.units.is_empty()
            && self.units_that_may_exist.is_empty()
            && self.queries.is_empty()
            && self.answers.is_empty()
            && self.lost.is_empty()
            && !self.services_move
    }

    /// Whether no file is foreseen.
    pub fn has_no_files(&self) -> bool {
        self.tree.is_empty()
    }

    /// Returns the files as they would be.
    pub fn files<'a>(&'a self, ground: &'a dyn Ground) -> View<'a> {
        self.tree.over(ground)
    }

    /// Returns every path of which something is foreseen.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.tree.paths()
    }

    /// Takes a change in. `unit_now` returns a unit as it really is.
    ///
    /// # Errors
    /// When the host cannot be read where the change is.
    pub fn absorb(
        &mut self,
        change: &Change,
        ground: &dyn Ground,
        unit_now: &dyn Fn(&str, &str) -> Result<UnitState, Failure>,
    ) -> Result<(), Failure> {
        match change {
            Change::Write { path, after, attributes, .. } => self.tree.write(ground, path, after, attributes),
            Change::Directory { path, attributes } => self.tree.directory(ground, path, attributes),
            Change::Attributes { path, after, follow, .. } => self.tree.attributes(ground, path, after, *follow),
            Change::Link { path, target, hard, .. } => self.tree.link(ground, path, target, *hard),
            Change::Remove { path, .. } => self.tree.remove(ground, path),
            Change::Run { effects, summary, .. } => {
                self.services_move = true;
                effects.iter().try_for_each(|effect| self.effect(effect, ground, summary))
            }
            Change::Http { effects, summary, .. } => effects.iter().try_for_each(|effect| self.effect(effect, ground, summary)),
            Change::Unit { name, action, scope, before } => {
                self.unit_action(name, *action, scope, before, ground, unit_now);
                Ok(())
            }
        }
    }

    /// Loses sight of something.
    pub fn lose(&mut self, thing: &Thing, why: &str, ground: &dyn Ground) {
        match thing {
            Thing::Path(path) => self.tree.lose(ground, path, why),
            Thing::File(path) => self.tree.lose_file(ground, path, why),
            Thing::Attributes { path, follow } => self.tree.lose_attributes(ground, path, *follow, why),
            Thing::User(_) | Thing::Group(_) | Thing::Package(_) => self.lost.push((thing.clone(), why.to_owned())),
            Thing::Unit { name, scope } => {
                let thing = Thing::Unit { name: units::full_name(name), scope: scope.clone() };
                self.lost.push((thing, why.to_owned()));
            }
            Thing::NewUnit(name) => {
                self.units_that_may_exist.insert(units::full_name(name));
            }
            Thing::Output(start) => self.queries.push(Query::Unknown(start.clone())),
            Thing::Answer(start) => self.answers.push(Answer::Unknown(start.clone())),
            Thing::Ports => self.services_move = true,
            Thing::Unnamed => {}
        }
    }

    /// Fails where sight of the thing is lost.
    fn known(&self, thing: &Thing) -> Result<(), Failure> {
        self.lost.iter().find(|(lost, _)| lost == thing).map_or(Ok(()), |(_, why)| Err(Failure::unknown(why)))
    }

    /// Forgets what was foreseen where a change was really made.
    pub fn forget(&mut self, change: &Change) {
        match change {
            Change::Write { path, .. }
            | Change::Directory { path, .. }
            | Change::Attributes { path, .. }
            | Change::Link { path, .. }
            | Change::Remove { path, .. } => self.tree.forget(path),
            Change::Unit { name, scope, .. } => {
                self.units.remove(&(scope.clone(), units::full_name(name)));
            }
            Change::Run { .. } | Change::Http { .. } => {}
        }
    }

    fn effect(&mut self, effect: &Effect, ground: &dyn Ground, why: &str) -> Result<(), Failure> {
        match effect {
            Effect::Creates(path) => {
                let why = format!("{} comes from something that was not run ({why})", path.display());
                self.tree.creates(ground, path, &why)?;
            }
            Effect::Removes(path) => self.tree.remove(ground, path)?,
            Effect::User(user) => {
                self.users.insert(user.name.clone(), Some(user.clone()));
            }
            Effect::UserGone(name) => {
                self.users.insert(name.clone(), None);
            }
            Effect::Group(group) => {
                self.groups.insert(group.name.clone(), Some(group.clone()));
            }
            Effect::GroupGone(name) => {
                self.groups.insert(name.clone(), None);
            }
            Effect::Package { name, version } => {
                self.packages.insert(name.clone(), Some(version.clone()));
            }
            Effect::PackageGone(name) => {
                self.packages.insert(name.clone(), None);
            }
            Effect::UnitMayExist(name) => {
                self.units_that_may_exist.insert(units::full_name(name));
            }
            Effect::NothingElse => {}
            Effect::QueryUnknown(start) => self.queries.push(Query::Unknown(start.clone())),
            Effect::QueryPrints { argv, stdout } => {
                self.queries.push(Query::Prints { argv: argv.clone(), stdout: stdout.clone() });
            }
            Effect::UrlUnknown(start) => self.answers.push(Answer::Unknown(start.clone())),
            Effect::UrlAnswers { url, body } => self.answers.push(Answer::Known { url: url.clone(), body: body.clone() }),
        }
        Ok(())
    }

    fn unit_action(
        &mut self,
        name: &str,
        action: UnitAction,
        scope: &str,
        before: &UnitState,
        ground: &dyn Ground,
        unit_now: &dyn Fn(&str, &str) -> Result<UnitState, Failure>,
    ) {
        self.services_move = true;
        if matches!(action, UnitAction::DaemonReload | UnitAction::DaemonReexec) {
            return;
        }
        let mut state = self.unit(name, scope, ground, || unit_now(name, scope)).unwrap_or_else(|_| before.clone());
        state.exists = true;
        match action {
            UnitAction::Start | UnitAction::Restart | UnitAction::Reload => {
                state.active = true;
                set(&mut state, &[("ActiveState", "active")]);
            }
            UnitAction::Stop => {
                state.active = false;
                set(&mut state, &[("ActiveState", "inactive"), ("SubState", "dead")]);
            }
            UnitAction::Enable | UnitAction::Unmask | UnitAction::Disable => {
                state.enabled = action == UnitAction::Enable || (action == UnitAction::Unmask && state.enabled);
                state.masked = state.masked && action != UnitAction::Unmask;
                let word = if state.enabled { "enabled" } else { "disabled" };
                set(&mut state, &[("UnitFileState", word), ("LoadState", "loaded")]);
            }
            UnitAction::Mask => {
                state.masked = true;
                set(&mut state, &[("UnitFileState", "masked"), ("LoadState", "masked")]);
            }
            UnitAction::DaemonReload | UnitAction::DaemonReexec => {}
        }
        self.units.insert((scope.to_owned(), units::full_name(name)), state);
    }

    /// Returns the unit as it would be; `now` returns it as it is.
    ///
    /// # Errors
    /// [`Failure::Unknown`] where something that was not run may bring it.
    pub fn unit(
        &self,
        name: &str,
        scope: &str,
        ground: &dyn Ground,
        now: impl FnOnce() -> Result<UnitState, Failure>,
    ) -> Result<UnitState, Failure> {
        let full = units::full_name(name);
        self.known(&Thing::Unit { name: full.clone(), scope: scope.to_owned() })?;
        if let Some(state) = self.units.get(&(scope.to_owned(), full.clone())) {
            return Ok(state.clone());
        }
        let written = self.unit_file_written(&full, ground);
        let mut state = match now() {
            Err(_) if written => UnitState::default(),
            other => other?,
        };
        if !state.exists && written {
            state.exists = true;
            set(&mut state, &[("LoadState", "loaded"), ("ActiveState", "inactive"), ("SubState", "dead"), ("UnitFileState", "disabled")]);
            return Ok(state);
        }
        if !state.exists && self.units_that_may_exist.contains(&full) {
            return Err(Failure::unknown(format!("the unit `{full}` may come with something that was not run")));
        }
        let file = PathBuf::from(units::property(&state, "FragmentPath"));
        if state.exists && file.is_absolute() && self.tree.touches(&file) && matches!(self.files(ground).stat(&file, true), Ok(None)) {
            return Ok(UnitState::default());
        }
        Ok(state)
    }

    /// Whether a foreseen file makes the unit, or the template it is an instance of.
    fn unit_file_written(&self, full: &str, ground: &dyn Ground) -> bool {
        let template = full.split_once('@').and_then(|(name, rest)| Some(format!("{name}@.{}", rest.rsplit_once('.')?.1)));
        UNIT_FOLDERS.iter().any(|folder| {
            [Some(full), template.as_deref()].into_iter().flatten().any(|name| {
                let path = Path::new(folder).join(name);
                self.tree.touches(&path) && matches!(self.files(ground).stat(&path, true), Ok(Some(stat)) if stat.kind == FileKind::File)
            })
        })
    }

    /// Returns what is foreseen of a user: `None` nothing, `Some(None)` that there is none.
    pub fn foreseen_user(&self, name: &str) -> Option<Option<UserEntry>> {
        if let Some(known) = self.users.get(name) {
            return Some(known.clone());
        }
        self.users.values().flatten().find(|user| accounts::is_user(user, name)).map(|user| Some(user.clone()))
    }

    /// Returns what is foreseen of a group: `None` nothing, `Some(None)` that there is none.
    pub fn foreseen_group(&self, name: &str) -> Option<Option<GroupEntry>> {
        if let Some(known) = self.groups.get(name) {
            return Some(known.clone());
        }
        self.groups.values().flatten().find(|group| accounts::is_group(group, name)).map(|group| Some(group.clone()))
    }

    /// Returns the user of that name or number, as it would be; `now` returns the user as it is.
    ///
    /// # Errors
    /// Those of `now`; [`Failure::Unknown`] where a task that may not run makes, changes or removes the user.
    pub fn user(&self, name: &str, now: impl FnOnce() -> Result<Option<UserEntry>, Failure>) -> Result<Option<UserEntry>, Failure> {
        self.known(&Thing::User(name.to_owned()))?;
        if let Some(known) = self.foreseen_user(name) {
            return Ok(known);
        }
        let found = now()?;
        let lost = |thing: &Thing| if let Thing::User(name) = thing { Some(name.clone()) } else { None };
        self.require_seen(name, found.as_ref().map(|user| user.name.as_str()), lost)?;
        Ok(found)
    }

    /// As [`Overlay::user`], of a group.
    ///
    /// # Errors
    /// As there.
    pub fn group(&self, name: &str, now: impl FnOnce() -> Result<Option<GroupEntry>, Failure>) -> Result<Option<GroupEntry>, Failure> {
        self.known(&Thing::Group(name.to_owned()))?;
        if let Some(known) = self.foreseen_group(name) {
            return Ok(known);
        }
        let found = now()?;
        let lost = |thing: &Thing| if let Thing::Group(name) = thing { Some(name.clone()) } else { None };
        self.require_seen(name, found.as_ref().map(|group| group.name.as_str()), lost)?;
        Ok(found)
    }

    /// Fails where a name or number found this account, or none, and sight of it is lost. `lost` returns the name of a lost one of its kind.
    fn require_seen(&self, name: &str, found: Option<&str>, lost: impl Fn(&Thing) -> Option<String>) -> Result<(), Failure> {
        let is_it = |of: String| match found {
            Some(found) => of == found,
            // A number that nobody has may be the one that it would get.
            None => name.parse::<u32>().is_ok(),
        };
        let known = self.lost.iter().find(|(thing, _)| lost(thing).is_some_and(is_it));
        known.map_or(Ok(()), |(_, why)| Err(Failure::unknown(why)))
    }

    /// Returns the groups of a user, `real` being those of the host.
    ///
    /// # Errors
    /// [`Failure::Unknown`] where sight of the user is lost.
    pub fn groups_of(&self, user: &str, real: Vec<String>) -> Result<Vec<String>, Failure> {
        self.known(&Thing::User(user.to_owned()))?;
        let mut names: BTreeSet<_> = real.into_iter().filter(|name| !self.groups.contains_key(name)).collect();
        let foreseen = self.groups.values().flatten().filter(|group| group.members.iter().any(|member| member == user));
        names.extend(foreseen.map(|group| group.name.clone()));
        Ok(names.into_iter().collect())
    }

    /// Returns what is foreseen of a package: `None` nothing, `Some(None)` that it is gone.
    ///
    /// # Errors
    /// [`Failure::Unknown`] where it would be installed, but in which version is not known.
    pub fn package(&self, name: &str) -> Result<Option<Option<String>>, Failure> {
        self.known(&Thing::Package(name.to_owned()))?;
        match self.packages.get(name) {
            None => Ok(None),
            Some(None) => Ok(Some(None)),
            Some(Some(Some(version))) => Ok(Some(Some(version.clone()))),
            Some(Some(None)) => Err(Failure::unknown(format!("the package `{name}` would be installed, in which version is not known"))),
        }
    }

    /// Returns what is foreseen of what this program prints; `None`: the host itself tells.
    ///
    /// # Errors
    /// [`Failure::Unknown`] where something that was not run changes it.
    pub fn query(&self, argv: &[String]) -> Result<Option<Output>, Failure> {
        let program = argv.first().map_or("", String::as_str);
        let last = self.queries.iter().rev().find(|query| match query {
            Query::Unknown(start) => argv.starts_with(start),
            Query::Prints { argv: known, .. } => argv == known,
        });
        match last {
            Some(Query::Prints { stdout, .. }) => return Ok(Some(Output { stdout: stdout.clone(), ..Output::default() })),
            Some(Query::Unknown(_)) => {
                return Err(Failure::unknown(format!("what `{program}` prints depends on something that was not run")));
            }
            None => {}
        }
        let lost = |is: fn(&Thing) -> bool| self.lost.iter().any(|(thing, _)| is(thing));
        let is_foreseen = match program {
            "getent" => {
                !self.users.is_empty() || !self.groups.is_empty() || lost(|thing| matches!(thing, Thing::User(_) | Thing::Group(_)))
            }
            // Without the name of a package it lists them all.
            "dpkg-query" => {
                let moves = !self.packages.is_empty() || lost(|thing| matches!(thing, Thing::Package(_)));
                moves && argv.iter().skip(1).all(|word| word.starts_with('-'))
            }
            "systemctl" => {
                let moves = !(self.units.is_empty() && self.units_that_may_exist.is_empty());
                argv.iter().any(|word| word.starts_with("list-")) && (moves || lost(|thing| matches!(thing, Thing::Unit { .. })))
            }
            _ => false,
        };
        if is_foreseen {
            return Err(Failure::unknown(format!("what `{program}` lists would be changed first")));
        }
        let touched = argv.iter().skip(1).find(|word| word.starts_with('/') && self.tree.touches(Path::new(word)));
        match touched {
            Some(path) => Err(Failure::unknown(format!("`{program}` would read `{path}`, which would be changed first"))),
            None => Ok(None),
        }
    }

    /// Returns what is foreseen of the answer to a request; `None`: the server itself answers.
    ///
    /// # Errors
    /// [`Failure::Unknown`] where a request that was not sent changes the answer.
    pub fn http(&self, request: &Request) -> Result<Option<Response>, Failure> {
        let last = self.answers.iter().rev().find(|answer| match answer {
            Answer::Unknown(start) => request.url.starts_with(start.as_str()),
            Answer::Known { url, .. } => *url == request.url && request.method.eq_ignore_ascii_case("GET"),
        });
        match last {
            None => Ok(None),
            Some(Answer::Unknown(_)) => {
                Err(Failure::unknown(format!("the answer of `{}` depends on a request that was not sent", request.url)))
            }
            Some(Answer::Known { url, body }) => Ok(Some(Response {
                status: 200,
                reason: "OK".to_owned(),
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                body: body.clone(),
                url: url.clone(),
            })),
        }
    }

    /// Whether a port's state may differ then.
    pub fn ports_may_differ(&self) -> bool {
        self.services_move
    }
}

fn set(state: &mut UnitState, properties: &[(&str, &str)]) {
    for (name, value) in properties {
        match state.properties.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = (*value).to_owned(),
            None => state.properties.push(((*name).to_owned(), (*value).to_owned())),
        }
    }
}
