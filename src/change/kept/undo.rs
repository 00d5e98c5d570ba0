//! The way back: what takes a change of an earlier run back, planned like any other change.
//!
//! It is refused where the host is not what the change left: somebody else changed it since. Where the host already is
//! what it was before, there is nothing to do, so that an undo that was broken off can be run again.

use std::path::{Path, PathBuf};

use super::image::{Dress, Image};
use super::{Kept, Seen, Store, Was, seen};
use crate::change::{
    Before, Change, Content, Doubt, Effect, Failure, Host, Mode, Outcome, Plan, Probe, Request, UnitAction, UnitState, run_module,
};

/// Returns why a change could not be undone later, if it could not: for a person, before it is made.
pub fn hindrance(change: &Change) -> Option<String> {
    match change {
        Change::Run { effects, .. } if !effects.contains(&Effect::NothingElse) => Some("what a program does is not known".to_owned()),
        Change::Http { undo: None, .. } => Some("no request is known that takes this one back".to_owned()),
        _ => None,
    }
}

/// Returns why a change that was made cannot be undone, if it cannot.
pub(super) fn why_not(kept: &Kept) -> Option<String> {
    match &kept.was {
        Was::Unknown => Some("what a program did is not known".to_owned()),
        Was::Sent { undo: None } => Some("no request is known that takes this one back".to_owned()),
        Was::Sent { undo: Some(request) } if request.body.as_ref().is_some_and(|body| body.windows(4).any(|part| part == b"@id@")) => {
            Some("what it made is not known: the run was broken off before the answer was noted".to_owned())
        }
        Was::Path { image, .. } => image.hindrance(),
        Was::Ran(seen) => seen.iter().find_map(|seen| match seen {
            Seen::Path { image, .. } => image.hindrance(),
            _ => None,
        }),
        Was::Sent { .. } | Was::Read(_) | Was::Unit { .. } => None,
    }
}

/// Returns when it is undone, as [`super::Past::turn`] has it.
pub(super) fn turn(kept: &Kept) -> u8 {
    match &kept.was {
        Was::Unit { action: UnitAction::DaemonReload, .. } => 1,
        Was::Unit { action: UnitAction::Reload, .. } | Was::Read(_) => 2,
        Was::Unit { action: UnitAction::Restart, state, .. } if state.active => 2,
        Was::Unit { action: UnitAction::Stop, .. } => 3,
        _ => 0,
    }
}

/// Returns what the way back sets, as [`super::Past::sets`] has it.
pub(super) fn sets(kept: &Kept) -> Option<String> {
    let Was::Sent { undo: Some(Request { method, url, body: Some(body), .. }) } = &kept.was else { return None };
    let serde_json::Value::Object(fields) = serde_json::from_slice(body).ok().filter(|_| method == "PUT")? else { return None };
    let names = fields.iter().flat_map(|(name, value)| {
        let inner = value.as_object().into_iter().flatten().map(move |(inner, _)| format!("{name}.{inner}"));
        if value.is_object() { inner.collect() } else { vec![name.clone()] }
    });
    Some(format!("{url} {}", names.collect::<Vec<_>>().join(" ")))
}

/// Takes one change back, or foresees that.
pub fn take_back(store: &Store, id: &str, host: &mut Host, mode: Mode, diff: bool) -> Outcome {
    let overlay = host.overlay().clone();
    let is_foreseen = |seen: &Seen| match seen {
        Seen::User { name, .. } => overlay.foreseen_user(name).is_some(),
        Seen::Group { name, .. } => overlay.foreseen_group(name).is_some(),
        _ => true,
    };
    let is_last = |seen: &Seen| mode == Mode::Check && !is_foreseen(seen);
    run_module(|probe| plan(store, id, probe, &is_last), |plan, _, _| Ok(plan.values.clone()), host, mode, diff, &Doubt::default())
}

/// Plans the way back of one change. `is_last` tells the users and groups of which this is the last change that the run made.
fn plan(store: &Store, id: &str, host: &dyn Probe, is_last: &dyn Fn(&Seen) -> bool) -> Result<Plan, Failure> {
    let (kept, left) = store.change(id).ok_or_else(|| Failure::failed("what was there before is not kept on the host any more"))?;
    if let Some(why) = why_not(&kept) {
        return Err(Failure::failed(format!("it cannot be undone: {why}")));
    }
    match &kept.was {
        Was::Path { path, image } => back(store, &kept, path, image, left.image.as_ref(), host),
        Was::Unit { name, scope, action, state } => unit(name, scope, *action, state, host),
        Was::Ran(was) => ran(store, &kept, was, left.seen.as_deref(), host, is_last),
        Was::Sent { undo: Some(request) } => Ok(Plan::one("the run sent a request", send(request, format!("take back: {}", kept.summary)))),
        Was::Read(request) => Ok(Plan::one("it is to be read as it was", send(request, kept.summary.clone()))),
        Was::Sent { undo: None } | Was::Unknown => Ok(Plan::nothing("it cannot be undone")),
    }
}

fn send(request: &Request, summary: String) -> Change {
    Change::Http { request: request.clone(), summary, diff: None, effects: Vec::new(), undo: None }
}

/// Plans the way back of what a program changed.
fn ran(
    store: &Store,
    kept: &Kept,
    was: &[Seen],
    left: Option<&[Seen]>,
    host: &dyn Probe,
    is_last: &dyn Fn(&Seen) -> bool,
) -> Result<Plan, Failure> {
    let (mut changes, mut packages, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    // What it changed last goes first: a user before the home directory that was made for it.
    for (at, was) in was.iter().enumerate().rev() {
        let (is_last, own) = (is_last(was), left.and_then(|left| left.get(at)));
        // Of users and groups, what is foreseen of one says little of the others: the last change is held against the host itself.
        let now = if is_last { was.now(&Host::new())? } else { was.now(host)? };
        let is_back = now.is_like(was, is_last || host.moves());
        if is_back && (is_last || host.moves() || own.is_none_or(|left| left.is_like(was, true))) {
            continue;
        }
        let last = if is_last { store.last_seen(was) } else { None };
        let left = last.as_ref().or(own);
        if left.is_some_and(|left| !left.is_like(&now, is_last)) {
            let left = left.map(Seen::told).unwrap_or_default();
            let what = format!("changed by somebody else meanwhile: the run left {left}; now there is {}", now.told());
            return Err(Failure::failed(what));
        }
        match (was, &now, left) {
            (Seen::Path { path, image }, Seen::Path { image: now, .. }, left) => {
                let as_left = matches!(left, Some(Seen::Path { image, .. }) if image.is_same(now));
                if *image == Image::Absent && matches!(now, Image::Directory { .. }) && !as_left {
                    warnings.push(format!("`{}` stays: what is in it has changed since", path.display()));
                    continue;
                }
                restore(store, kept.secret, path, image, now, &mut changes)?;
            }
            (Seen::User { .. }, ..) => changes.extend(seen::user_back(was, &now)),
            (Seen::Group { .. }, ..) => changes.extend(seen::group_back(was, &now)),
            (Seen::Package { name, version }, ..) => packages.push((name.as_str(), version.as_deref())),
            (Seen::Path { .. }, ..) => {}
        }
    }
    changes.extend(seen::packages_back(&packages, host)?);
    let because = if changes.is_empty() { "it is as it was before the run" } else { "the run changed it" };
    Ok(Plan { warnings, ..Plan::all(because, changes) })
}

fn back(store: &Store, kept: &Kept, path: &Path, was: &Image, left: Option<&Image>, host: &dyn Probe) -> Result<Plan, Failure> {
    let now = Image::take(host, path, false, None);
    if let Image::Other(why) = &now {
        return Err(Failure::failed(format!("`{}` cannot be looked at: {why}", path.display())));
    }
    // What is older still is there where an undo went further back before it was broken off.
    if now.is_like(was) || store.befores(path, kept.at).iter().any(|older| now.is_like(older)) {
        return Ok(Plan::nothing("it is as it was before the run"));
    }
    let is_left = match (left, &now) {
        (Some(left), now) => left.is_like(now),
        // The run was broken off before it noted what it left.
        (None, Image::File { sha256, .. }) => kept.planned.as_ref() == Some(sha256),
        (None, _) => false,
    };
    if !is_left {
        let left = left.map_or_else(|| "something else".to_owned(), Image::told);
        return Err(Failure::Moved { path: path.to_owned(), what: format!("the run left {left}; now there is {}", now.told()) });
    }
    if *was == Image::Absent
        && let Image::Directory { .. } = now
    {
        let inside = host.list(path)?.unwrap_or_default();
        if !inside.is_empty() {
            let mut plan = Plan::nothing("the directory holds what no change of the run put there");
            let names: Vec<_> = inside.iter().take(5).map(|name| format!("`{name}`")).collect();
            plan.warnings.push(format!("`{}` stays: it holds {}, which the run's changes did not make", path.display(), names.join(", ")));
            return Ok(plan);
        }
    }
    let mut changes = Vec::new();
    restore(store, kept.secret, path, was, &now, &mut changes)?;
    Ok(Plan::all("the run changed it", changes))
}

/// Adds the changes that put `was` where `now` is.
fn restore(store: &Store, secret: bool, path: &Path, was: &Image, now: &Image, changes: &mut Vec<Change>) -> Result<(), Failure> {
    let (path, mut before) = (path.to_owned(), now.before());
    let stays = matches!((was, now), (Image::Directory { .. }, Image::Directory { .. }));
    if *was == Image::Absent || (matches!(now, Image::Directory { .. }) && !stays) {
        changes.push(Change::Remove { path: path.clone(), before });
        before = Before::Absent;
    }
    match (was, now) {
        (Image::Absent, _) => {}
        (Image::File { sha256, dress, .. }, Image::File { sha256: same, dress: other, .. }) if sha256 == same => {
            changes.push(attributes(path, dress, other));
        }
        (Image::File { sha256, dress, .. }, _) => {
            let content = store.content(sha256);
            let content = content.ok_or_else(|| Failure::failed("its content from before the run is not kept on the host any more"))?;
            changes.push(Change::Write {
                path,
                before,
                after: Content::Bytes(content),
                attributes: dress.attributes(true),
                backup: false,
                validate: None,
                secret,
                in_place: false,
            });
        }
        (Image::Link(target), _) => changes.push(Change::Link { path, target: target.clone(), hard: false, before }),
        // The time of a directory is that of what is done in it.
        (Image::Directory { dress, .. }, Image::Directory { dress: other, .. }) => {
            changes.push(attributes(path, &Dress { mtime: other.mtime, ..dress.clone() }, other));
        }
        (Image::Directory { dress, inside }, _) => {
            if before != Before::Absent {
                changes.push(Change::Remove { path: path.clone(), before });
            }
            changes.push(Change::Directory { path: path.clone(), attributes: dress.attributes(false) });
            for (name, image) in inside {
                restore(store, secret, &path.join(name), image, &Image::Absent, changes)?;
            }
        }
        (Image::Other(why), _) => return Err(Failure::failed(format!("`{}` cannot be put back: {why}", path.display()))),
    }
    Ok(())
}

/// Returns the change that gives a path the owner and mode it had, and the time where that differs.
fn attributes(path: PathBuf, was: &Dress, now: &Dress) -> Change {
    let with_time = (was.mtime - now.mtime).abs() > 1e-6;
    Change::Attributes { path, before: now.attributes(with_time), after: was.attributes(with_time), follow: false }
}

fn unit(name: &str, scope: &str, action: UnitAction, was: &UnitState, host: &dyn Probe) -> Result<Plan, Failure> {
    let now = host.unit(name, scope)?;
    let wanted = match action {
        UnitAction::Start if !was.active && now.active => Some(UnitAction::Stop),
        UnitAction::Stop if was.active && !now.active => Some(UnitAction::Start),
        UnitAction::Restart if was.active => Some(UnitAction::Restart),
        UnitAction::Restart if now.active => Some(UnitAction::Stop),
        UnitAction::Reload if now.active => Some(UnitAction::Reload),
        UnitAction::Enable if !was.enabled && now.enabled => Some(UnitAction::Disable),
        UnitAction::Disable if was.enabled && !now.enabled => Some(UnitAction::Enable),
        UnitAction::Mask if !was.masked && now.masked => Some(UnitAction::Unmask),
        UnitAction::Unmask if was.masked && !now.masked => Some(UnitAction::Mask),
        UnitAction::DaemonReload => Some(UnitAction::DaemonReload),
        _ => None,
    };
    Ok(match wanted {
        None => Plan::nothing("the unit is as it was before the run"),
        Some(action) => {
            Plan::one("the run changed the unit", Change::Unit { name: name.to_owned(), action, scope: scope.to_owned(), before: now })
        }
    })
}
