//! Binds what is done to a plan that somebody approved: the host refuses where it would now do anything else.
//!
//! A plan's changes have a digest, keyed so that nothing can be guessed from it. It covers all that would be done and what
//! each change was planned from, but not what only tells (effects, properties of units). Where a plan cannot be the same
//! twice (a new key, a salt, an account whose number is not known yet), the digest is one of its shape: which things are
//! done to what, without the content. What was found where the changes are made (owners, modes, what would be lost) has a
//! digest too, which two checks can be compared by.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::attributes::is_foreseen;
use super::carry::path_of;
use super::probe::{FileKind, Probe};
use super::{Attributes, Change, Content, Failure, Plan, diff, digest};
use crate::value::Value;

/// How a step is bound.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// Not at all.
    #[default]
    Free,
    /// A plan is being made for somebody to approve: the digest of the changes is told.
    Told {
        /// What the digest is keyed with.
        key: [u8; 32],
    },
    /// Only changes of this digest are made.
    Only {
        /// What the digest is keyed with.
        key: [u8; 32],
        /// The digest that was approved.
        digest: String,
    },
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Free => "Free",
            Self::Told { .. } => "Told",
            Self::Only { .. } => "Only",
        })
    }
}

/// The value that tells a refusal from other failures.
pub const REFUSED: &str = "not_approved";

/// How the digest of a shape begins.
const SHAPE: &str = "shape:";

impl Bound {
    /// Plans, and holds the plan to what was approved.
    ///
    /// # Errors
    /// The plan's own, and a refusal where it is another than the one approved.
    pub fn plan(&self, host: &dyn Probe, plan: impl Fn() -> Result<Plan, Failure>) -> Result<Plan, Failure> {
        match self {
            Self::Free => plan(),
            Self::Told { key } => {
                let mut made = plan()?;
                if !made.changes.is_empty() || !made.on_controller.is_empty() {
                    // Made twice, to see what cannot be the same twice.
                    settle(&mut made, plan().ok().as_ref());
                }
                made.found = Some(keyed(key, found(&made, host).as_bytes()));
                made.planned = Some(if is_sure(&made) { exact(key, &made) } else { shape(key, &made) });
                Ok(made)
            }
            Self::Only { key, digest } => {
                let made = plan()?;
                let now = if digest.starts_with(SHAPE) { shape(key, &made) } else { exact(key, &made) };
                if now == *digest { Ok(made) } else { Err(moved(&made)) }
            }
        }
    }
}

/// Returns the refusal of something that was not approved.
pub fn refusal(message: impl Into<String>) -> Failure {
    Failure::failed(message).hint("nothing was done here; `windlass plan` makes a plan of how it is now").with(REFUSED, true)
}

fn moved(plan: &Plan) -> Failure {
    let now: Vec<_> = plan.changes.iter().chain(&plan.on_controller).map(diff::summary).collect();
    let now = if now.is_empty() { "there would be nothing to do".to_owned() } else { format!("it would: {}", now.join(", ")) };
    refusal(format!("the host is no longer as it was when the plan was approved; now {now}"))
}

/// Returns the keyed SHA-256 of `bytes`, hex.
pub fn keyed(key: &[u8; 32], bytes: &[u8]) -> String {
    digest::hex(ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key), bytes).as_ref())
}

/// Makes unknown what came out otherwise the second time.
fn settle(made: &mut Plan, again: Option<&Plan>) {
    let Some(again) = again else { return };
    if made.changes.len() == again.changes.len() {
        for (change, other) in made.changes.iter_mut().zip(&again.changes) {
            if let (Change::Write { after, .. }, Change::Write { after: second, .. }) = (change, other)
                && after != second
            {
                *after = Content::Unknown("it is another each time it is made".to_owned());
            }
        }
    }
    for (name, value) in &mut made.values {
        if again.values.get(name) != Some(value) {
            *value = Value::unknown("it is another each time it is made");
        }
    }
    if normal(made) != normal(again) {
        made.varies = true;
    }
}

/// Whether the very changes can be told beforehand.
fn is_sure(plan: &Plan) -> bool {
    let known = |attributes: &Attributes| ![attributes.uid, attributes.gid].into_iter().flatten().any(is_foreseen);
    !plan.varies
        && !plan.anew
        && plan.changes.iter().chain(&plan.on_controller).all(|change| match change {
            Change::Write { after, attributes, .. } => !matches!(after, Content::Unknown(_)) && known(attributes),
            Change::Directory { attributes, .. } => known(attributes),
            Change::Attributes { before, after, .. } => known(before) && known(after),
            _ => true,
        })
}

/// Returns the changes without what only tells.
fn normal(plan: &Plan) -> (Vec<Change>, Vec<Change>) {
    let each = |changes: &[Change]| {
        let mut changes = changes.to_vec();
        for change in &mut changes {
            match change {
                Change::Attributes { before, .. } => (before.atime, before.mtime) = (None, None),
                Change::Unit { before, .. } => before.properties.clear(),
                Change::Run { effects, .. } | Change::Http { effects, .. } => effects.clear(),
                _ => {}
            }
        }
        changes
    };
    (each(&plan.changes), each(&plan.on_controller))
}

/// Files up to this size, bytes, are read where they would be removed.
const LONGEST_READ: u64 = 16 * 1024 * 1024;

/// Returns what is where the changes are made, as far as it lasts: kind, owner and mode, and what would be lost.
fn found(plan: &Plan, host: &dyn Probe) -> String {
    let mut text = String::new();
    for change in plan.changes.iter().chain(&plan.on_controller) {
        let Some(path) = path_of(change).map(|path| lasting(plan, path)) else { continue };
        let stat = host.stat(path, false).ok().flatten();
        let lost = match (change, &stat) {
            (Change::Remove { .. }, Some(stat)) if stat.kind == FileKind::File && stat.size <= LONGEST_READ => {
                host.digest(path, "sha256").ok().flatten()
            }
            _ => None,
        };
        let stat = stat.map(|stat| (stat.kind, stat.mode, stat.uid, stat.gid, stat.target));
        let _ = writeln!(text, "{path:?} {stat:?} {lost:?}");
    }
    text
}

/// Returns a path as it can be approved.
fn lasting<'a>(plan: &Plan, path: &'a Path) -> &'a Path {
    if plan.anew { path.parent().unwrap_or(path) } else { path }
}

fn exact(key: &[u8; 32], plan: &Plan) -> String {
    // What cannot be encoded cannot be sent either.
    keyed(key, &postcard::to_stdvec(&normal(plan)).unwrap_or_default())
}

fn shape(key: &[u8; 32], plan: &Plan) -> String {
    let mut text = String::new();
    let attributes = |of: &Attributes| {
        let Attributes { uid, gid, mode, atime, mtime } = of;
        format!("{} {} {mode:?} {}", uid.is_some(), gid.is_some(), atime.is_some() || mtime.is_some())
    };
    for change in plan.changes.iter().chain(&plan.on_controller) {
        let line = match change {
            Change::Write { path, before, attributes: of, backup, validate, secret, .. } => {
                let path = lasting(plan, path);
                format!("write {path:?} {before:?} {} {backup} {validate:?} {secret}", attributes(of))
            }
            Change::Directory { path, attributes: of } => format!("directory {:?} {}", lasting(plan, path), attributes(of)),
            Change::Attributes { path, before, after, follow } => {
                format!("attributes {path:?} {:?} {} {follow}", before.mode, attributes(after))
            }
            Change::Link { path, target, hard, before } => format!("link {path:?} {target:?} {hard} {before:?}"),
            Change::Remove { path, before } => format!("remove {path:?} {before:?}"),
            Change::Run { program, summary, .. } => format!("run {:?} {summary:?}", program.argv.first()),
            Change::Unit { name, action, scope, before } => {
                format!("unit {name:?} {action:?} {scope:?} {} {} {}", before.active, before.enabled, before.masked)
            }
            Change::Http { request, summary, .. } => format!("http {} {:?} {summary:?}", request.method, request.url),
        };
        let _ = writeln!(text, "{line}");
    }
    format!("{SHAPE}{}", keyed(key, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::change::{Before, Host};

    const KEY: [u8; 32] = [7; 32];

    fn write(text: &str, sha256: &str) -> Plan {
        let change = Change::Write {
            path: "/etc/motd".into(),
            before: Before::File { sha256: sha256.to_owned() },
            after: Content::Bytes(text.as_bytes().to_vec()),
            attributes: Attributes::default(),
            backup: false,
            validate: None,
            secret: false,
            in_place: false,
        };
        Plan::one("", change)
    }

    fn approved(plan: impl Fn() -> Plan) -> Bound {
        let told = Bound::Told { key: KEY }.plan(&Host::new(), || Ok(plan())).expect("plan");
        Bound::Only { key: KEY, digest: told.planned.expect("digest") }
    }

    #[test]
    fn only_the_approved_changes_pass() {
        let bound = approved(|| write("new", "aa"));
        assert!(bound.plan(&Host::new(), || Ok(write("new", "aa"))).is_ok());
        for other in [write("other", "aa"), write("new", "bb"), Plan::nothing("")] {
            let refused = bound.plan(&Host::new(), || Ok(other.clone())).expect_err("another plan");
            assert!(refused.to_string().contains("no longer as it was"), "{refused}");
        }
        assert!(approved(|| Plan::nothing("x")).plan(&Host::new(), || Ok(write("new", "aa"))).is_err());
    }

    #[test]
    fn what_is_another_each_time_is_bound_by_its_shape() {
        let count = Cell::new(0);
        let key = || {
            count.set(count.get() + 1);
            write(&format!("key {}", count.get()), "aa").value("made", i64::from(count.get()))
        };
        let told = Bound::Told { key: KEY }.plan(&Host::new(), || Ok(key())).expect("plan");
        assert!(matches!(&told.changes[..], [Change::Write { after: Content::Unknown(_), .. }]));
        assert!(told.values.get("made").is_some_and(|value| value.unknown_part().is_some()));
        let bound = Bound::Only { key: KEY, digest: told.planned.expect("digest") };
        assert!(bound.plan(&Host::new(), || Ok(key())).is_ok());
        assert!(bound.plan(&Host::new(), || Ok(write("key", "bb"))).is_err(), "the file there is another");
    }
}
