//! What a check loses sight of: things of a host that may be changed by a task of which nobody knows whether it runs, or what it does.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::probe::FileKind;
use super::{Change, Effect, Failure, Mode, Plan, Probe, http};
use crate::value::{Map, Value};

/// What is said instead of what `no_log` hides.
pub const HIDDEN: &str = "hidden by `no_log`";

/// Something of a host that a check no longer knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Thing {
    /// Whatever is at the path, and below it.
    Path(PathBuf),
    /// The file at the path: what is in it, and whose it is. Where nothing is there, also whether there is one.
    File(PathBuf),
    /// Owner, group, mode and times of what is at the path.
    Attributes {
        /// The path.
        path: PathBuf,
        /// Whether a link is followed.
        follow: bool,
    },
    /// The user of this name.
    User(String),
    /// The group of this name.
    Group(String),
    /// The package of this name.
    Package(String),
    /// The state of a unit.
    Unit {
        /// Its name.
        name: String,
        /// Whose units: `system`, `user`, `global`.
        scope: String,
    },
    /// Whether a unit of this name exists, where it does not yet.
    NewUnit(String),
    /// What a program prints whose command line begins so.
    Output(Vec<String>),
    /// What a server answers to addresses that begin so.
    Answer(String),
    /// Which ports are open.
    Ports,
    /// Something that nobody can name: what a program does is known to its author only.
    Unnamed,
}

/// What a check is told of a task besides what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Doubt {
    /// Why it may not run at all.
    pub why: Option<String>,
    /// Whether later tasks may tell nothing of it (`no_log`).
    pub hidden: bool,
}

/// How a module's arguments name what it changes.
#[derive(Clone, Copy, Debug)]
pub enum Names {
    /// The argument is a path.
    Path(&'static str),
    /// The argument `dest` is a path, or the folder that the file goes into which this argument names.
    Placed(&'static str),
    /// The argument is the name of a user.
    User(&'static str),
    /// The argument is the name of a group.
    Group(&'static str),
    /// The argument is the name of a package, or of several.
    Packages(&'static str),
    /// The argument is the name of a unit of the system.
    Unit(&'static str),
    /// The argument is an address of a server that it changes.
    Server(&'static str),
    /// It changes this path, whatever its arguments are.
    Always(&'static str),
    /// It changes what this program prints.
    Program(&'static str),
}

impl Names {
    /// Returns the argument that says where the change is.
    fn argument(self) -> Option<&'static str> {
        match self {
            Self::Path(name) | Self::User(name) | Self::Group(name) | Self::Packages(name) | Self::Unit(name) | Self::Server(name) => {
                Some(name)
            }
            Self::Placed(_) => Some("dest"),
            Self::Always(_) | Self::Program(_) => None,
        }
    }

    /// Returns what these arguments name, as far as they are known.
    pub fn things(self, arguments: &Map, host: &dyn Probe) -> Vec<Thing> {
        let texts = |name: &str| match arguments.get(name) {
            Some(Value::Str(text)) => vec![text.to_string()],
            Some(Value::List(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        if self.argument().and_then(|name| arguments.get(name)?.unknown_part()).is_some() {
            return vec![Thing::Unnamed];
        }
        let each = |name: &str, thing: fn(String) -> Thing| texts(name).into_iter().map(thing).collect();
        match self {
            Self::Path(name) => texts(name).iter().filter(|path| path.starts_with('/')).map(|path| Thing::Path(path.into())).collect(),
            Self::Placed(source) => {
                texts("dest").iter().filter(|path| path.starts_with('/')).map(|dest| placed(dest, texts(source), host)).collect()
            }
            Self::User(name) => each(name, Thing::User),
            Self::Group(name) => each(name, Thing::Group),
            Self::Packages(name) => {
                let names = texts(name);
                let names = names.iter().flat_map(|names| names.split(',')).filter_map(|name| name.split('=').next());
                names.map(|name| Thing::Package(name.trim().to_owned())).collect()
            }
            Self::Unit(name) => each(name, |name| Thing::Unit { name, scope: "system".to_owned() }),
            Self::Server(name) => texts(name).iter().map(|url| Thing::Answer(http::origin(url))).collect(),
            Self::Always(path) => vec![Thing::Path(path.into())],
            Self::Program(name) => vec![Thing::Output(vec![name.to_owned()])],
        }
    }
}

/// Returns the file that goes to `dest`, or into it where that is a folder: then under the last part of its source.
fn placed(dest: &str, sources: Vec<String>, host: &dyn Probe) -> Thing {
    let is_folder = dest.ends_with('/') || matches!(host.kind(Path::new(dest)), Ok(Some(FileKind::Directory)));
    let source = sources.first().filter(|source| !source.ends_with('/'));
    match source.and_then(|source| Path::new(source).file_name()) {
        Some(name) if is_folder => Thing::Path(Path::new(dest).join(name)),
        _ => Thing::Path(dest.into()),
    }
}

impl Change {
    /// Returns it without what it tells of itself.
    pub fn muted(mut self) -> Self {
        match &mut self {
            Self::Run { summary, .. } => HIDDEN.clone_into(summary),
            Self::Http { summary, diff, .. } => {
                HIDDEN.clone_into(summary);
                *diff = None;
            }
            _ => {}
        }
        self
    }

    /// Returns what it changes.
    pub fn things(&self) -> Vec<Thing> {
        match self {
            Self::Write { path, .. } => vec![Thing::File(path.clone())],
            Self::Attributes { path, follow, .. } => vec![Thing::Attributes { path: path.clone(), follow: *follow }],
            Self::Directory { path, .. } | Self::Link { path, .. } | Self::Remove { path, .. } => vec![Thing::Path(path.clone())],
            Self::Unit { name, scope, .. } => vec![Thing::Unit { name: name.clone(), scope: scope.clone() }, Thing::Ports],
            Self::Run { effects, .. } if effects.is_empty() => vec![Thing::Unnamed, Thing::Ports],
            Self::Run { effects, .. } => effects.iter().filter_map(changed_by).chain([Thing::Ports]).collect(),
            Self::Http { effects, .. } => effects.iter().filter_map(changed_by).collect(),
        }
    }
}

fn changed_by(effect: &Effect) -> Option<Thing> {
    Some(match effect {
        Effect::Creates(path) => Thing::File(path.clone()),
        Effect::Removes(path) => Thing::Path(path.clone()),
        Effect::User(user) => Thing::User(user.name.clone()),
        Effect::UserGone(name) => Thing::User(name.clone()),
        Effect::Group(group) => Thing::Group(group.name.clone()),
        Effect::GroupGone(name) => Thing::Group(name.clone()),
        Effect::Package { name, .. } | Effect::PackageGone(name) => Thing::Package(name.clone()),
        Effect::UnitMayExist(name) => Thing::NewUnit(name.clone()),
        Effect::QueryUnknown(start) => Thing::Output(start.clone()),
        Effect::QueryPrints { argv, .. } => Thing::Output(argv.clone()),
        Effect::UrlUnknown(start) => Thing::Answer(start.clone()),
        Effect::UrlAnswers { url, .. } => Thing::Answer(url.clone()),
        Effect::NothingElse => return None,
    })
}

/// Returns the plan to carry out of a task in doubt. In a check, what cannot be planned becomes a
/// plan that only loses sight of things.
///
/// # Errors
/// Those of the planning, where it is certain that the task runs.
pub fn doubted(planned: Result<Plan, Failure>, mode: Mode, doubt: &Doubt) -> Result<Plan, Failure> {
    if mode == Mode::Apply {
        return planned;
    }
    let doubt = doubt.clone();
    match planned {
        Ok(plan) => Ok(Plan { doubt, ..plan }),
        Err(Failure::Unknown { why, lost }) => {
            let lost = if lost.is_empty() { vec![Thing::Unnamed] } else { lost };
            let doubt = Doubt { why: doubt.why.or(Some(why)), ..doubt };
            Ok(Plan { doubt, lost: Some(lost), ..Plan::default() })
        }
        // It would fail, where it runs.
        Err(_) if doubt.why.is_some() => Ok(Plan { doubt, ..Plan::default() }),
        Err(failure) => Err(failure),
    }
}
