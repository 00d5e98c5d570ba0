//! Hosts, an inventory and a listener of our own making, for tests.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use indexmap::IndexMap;

use crate::agent::protocol::Task;
use crate::change::{Failure, Mode, Outcome, Output, Plan, Then};
use crate::connect::Target;
use crate::load::loader::Loader;
use crate::report::event::{Counts, Event, Listener};
use crate::run::files::Files;
use crate::run::hands::{Control, Hands, Lost, OnItem, Seat};
use crate::run::site::Site;
use crate::run::{Asker, Recap, Settings, Surroundings};
use crate::source::{Diagnostic, Sources};
use crate::value::secret::Redactor;
use crate::value::{Map, Value};
use crate::vars::scope::{Layer, Level};

/// Hosts that do what the task's `cmd` says: `change`, `ok`, `fail`, `unknown`, `lost`; on one host only with `fail@web1`.
#[derive(Default)]
pub(super) struct FakeHands {
    /// Each message: host, user to become, module, and the `cmd` of its items.
    pub(super) sent: Mutex<Vec<String>>,
}

impl FakeHands {
    fn outcome(&self, seat: &Seat, arguments: &Map, mode: Mode) -> Result<Outcome, Lost> {
        let line = ["cmd", "_raw_params"].iter().find_map(|name| arguments.get(*name)).map(ToString::to_string).unwrap_or_default();
        let mut outcome = Outcome::default();
        outcome.values.insert("cmd".into(), Value::str(&line));
        outcome.values.insert("stdout".into(), Value::str(&line));
        for word in line.split_whitespace() {
            let (what, host) = word.split_once('@').unwrap_or((word, &seat.target.name));
            if host != seat.target.name {
                continue;
            }
            match what {
                "change" => outcome.changed = true,
                "fail" => outcome.failure = Some(Failure::failed("it failed")),
                "opaque" if mode == Mode::Check => outcome.unknown = Some("it was not run".to_owned()),
                "lost" => return Err(Lost { message: "no route to the host".to_owned(), hint: None, reached: false }),
                _ => {}
            }
        }
        Ok(outcome)
    }
}

impl Hands for FakeHands {
    fn task<'a>(&'a self, seat: &'a Seat, task: Task, on_item: OnItem<'a>) -> BoxFuture<'a, Result<(), Lost>> {
        async move {
            let lines: Vec<_> = task.items.iter().map(|item| item.get("cmd").map(ToString::to_string).unwrap_or_default()).collect();
            let user = seat.r#become.as_ref().map(|r#become| format!(" as {}", r#become.user)).unwrap_or_default();
            let line = format!("{}{user}: {} {}", seat.target.name, task.module, lines.join(" | "));
            self.sent.lock().expect("lock").push(line.trim_end().to_owned());
            for (index, item) in task.items.iter().enumerate() {
                let mut outcome = self.outcome(seat, item, task.mode)?;
                let not_known = item.values().find_map(Value::unknown_part).map(|unknown| unknown.why.clone());
                outcome.unknown = task.doubt.why.clone().or(not_known).or(outcome.unknown);
                if task.module == "setup" {
                    let facts = Map::from_iter([("ansible_system".into(), Value::str("Linux"))]);
                    outcome.then.push(Then::Facts { facts, cacheable: true });
                }
                on_item(u32::try_from(index).expect("few"), outcome);
            }
            Ok(())
        }
        .boxed()
    }

    fn control<'a>(&'a self, seat: &'a Seat, control: Control) -> BoxFuture<'a, Result<Outcome, Lost>> {
        async move { self.outcome(seat, &control.arguments, control.mode) }.boxed()
    }

    fn raw<'a>(&'a self, _: &'a Seat, _: &'a str) -> BoxFuture<'a, Result<Output, Lost>> {
        async move { Ok(Output::default()) }.boxed()
    }

    fn here(&self, _: Plan, _: Mode, _: bool) -> BoxFuture<'_, Outcome> {
        async move { Outcome::default() }.boxed()
    }

    fn offer(&self, _: &str, _: &Path) {}

    fn close<'a>(&'a self, _: &'a Target) -> BoxFuture<'a, ()> {
        async move {}.boxed()
    }

    fn cancel(&self) -> BoxFuture<'_, ()> {
        async move {}.boxed()
    }
}

/// An inventory of `web1`, `web2`, ...
#[derive(Default)]
pub(super) struct FakeSite {
    hosts: Mutex<Vec<Arc<str>>>,
    groups: Mutex<IndexMap<String, Vec<Arc<str>>>>,
    pub(super) variables: HashMap<String, Arc<Map>>,
}

impl FakeSite {
    pub(super) fn of(count: usize) -> Self {
        let hosts: Vec<Arc<str>> = (1..=count).map(|number| format!("web{number}").into()).collect();
        let groups = IndexMap::from([("all".to_owned(), hosts.clone()), ("web".to_owned(), hosts.clone())]);
        Self { hosts: Mutex::new(hosts), groups: Mutex::new(groups), variables: HashMap::new() }
    }
}

impl Site for FakeSite {
    fn hosts(&self) -> Vec<Arc<str>> {
        self.hosts.lock().expect("lock").clone()
    }

    fn select(&self, pattern: &str) -> Result<Vec<Arc<str>>, Diagnostic> {
        let groups = self.groups.lock().expect("lock");
        Ok(groups.get(pattern).cloned().unwrap_or_else(|| self.hosts().into_iter().filter(|host| **host == *pattern).collect()))
    }

    fn layers(&self, host: &str) -> Vec<Layer> {
        let own = self.variables.get(host).map(|variables| Layer { level: Level::InventoryHost, variables: variables.clone() });
        own.into_iter().collect()
    }

    fn groups(&self) -> IndexMap<String, Vec<Arc<str>>> {
        self.groups.lock().expect("lock").clone()
    }

    fn groups_of(&self, host: &str) -> Vec<String> {
        let groups = self.groups.lock().expect("lock");
        groups
            .iter()
            .filter(|(name, hosts)| *name != "all" && hosts.iter().any(|name| **name == *host))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn add_host(&self, name: &str, groups: &[String], _: &Map) -> bool {
        self.hosts.lock().expect("lock").push(name.into());
        for group in groups {
            self.add_to_group(name, group, &[]);
        }
        true
    }

    fn add_to_group(&self, host: &str, group: &str, _: &[String]) -> bool {
        let mut groups = self.groups.lock().expect("lock");
        let hosts = groups.entry(group.to_owned()).or_default();
        let is_new = !hosts.iter().any(|name| **name == *host);
        if is_new {
            hosts.push(host.into());
        }
        is_new
    }

    fn file(&self, _: &str) -> Option<std::path::PathBuf> {
        None
    }

    fn refresh(&self) -> Result<(), Diagnostic> {
        Ok(())
    }
}

/// Writes down what it hears: `web1 ok name`.
#[derive(Default)]
pub(super) struct Notebook {
    pub(super) lines: Mutex<Vec<String>>,
}

impl Listener for Notebook {
    fn tell(&self, event: &Event) {
        let line = match event {
            Event::Result { host, task, result } => {
                let ignored = if result.ignored { " ignored" } else { "" };
                let failed = (result.status == crate::report::event::Status::Failed).then_some(&result.because);
                let told = result.values.get("msg").map(ToString::to_string).or_else(|| failed.cloned());
                let because = told.map(|message| format!(": {message}")).unwrap_or_default();
                let status = format!("{:?}", result.status).to_lowercase();
                format!("{host} {status}{ignored} {task}{because}")
            }
            Event::Diagnostic { text } => format!("diagnostic {}", text.lines().next().unwrap_or_default()),
            Event::PlayStopped { why } => format!("stopped: {why}"),
            Event::PlayStarted { hosts, .. } => format!("play on {}", hosts.join(",")),
            Event::Warning { message } => format!("warning {message}"),
            _ => return,
        };
        self.lines.lock().expect("lock").push(line);
    }
}

struct Nobody;

impl Asker for Nobody {
    fn ask(&self, _: &str, _: bool) -> Option<String> {
        None
    }
}

/// How a playbook ran.
pub(super) struct Ran {
    pub(super) lines: Vec<String>,
    pub(super) sent: Vec<String>,
    pub(super) recap: Recap,
}

impl Ran {
    /// Returns what was told about results, sorted within each task, as hosts work side by side.
    pub(super) fn text(&self) -> String {
        self.lines.join("\n")
    }

    pub(super) fn counts(&self, host: &str) -> Counts {
        self.recap.hosts.iter().find(|(name, _)| **name == *host).map(|(_, counts)| *counts).unwrap_or_default()
    }
}

/// Runs a playbook on `hosts` made-up hosts. Forks is one, so that the order is always the same.
pub(super) fn run(hosts: usize, playbook: &str) -> Ran {
    run_with(FakeSite::of(hosts), playbook, &[], |_| {})
}

#[allow(clippy::disallowed_methods, reason = "a test writes its own files")]
/// As [`run`], with more files beside the playbook and other settings.
pub(super) fn run_with(site: FakeSite, playbook: &str, files: &[(&str, &str)], set: impl FnOnce(&mut Settings)) -> Ran {
    let folder = tempfile::tempdir().expect("folder");
    for (name, text) in files.iter().chain([&("site.yml", playbook)]) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(path, text).expect("file");
    }
    let sources = Sources::default();
    let early = Arc::new(|value: &Value, _: &Map| Ok(value.clone()));
    let loader = Arc::new(Loader::new(sources.clone(), Arc::default(), Vec::new(), early));
    let playbook = loader.playbook(&folder.path().join("site.yml")).expect("playbook");
    let mut settings = Settings { forks: 1, ..Settings::default() };
    set(&mut settings);
    let hands = Arc::new(FakeHands::default());
    let notebook = Arc::new(Notebook::default());
    let surroundings = Surroundings {
        site: Arc::new(site),
        hands: hands.clone(),
        library: Arc::new(Files::new(loader)),
        asker: Arc::new(Nobody),
        listener: notebook.clone(),
        sources,
        redactor: Redactor::default(),
        journal: crate::record::Journal::default(),
        known: Arc::default(),
        bond: Arc::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let recap = runtime.block_on(super::run(std::slice::from_ref(&playbook), settings, surroundings));
    let lines = notebook.lines.lock().expect("lock").clone();
    let sent = hands.sent.lock().expect("lock").clone();
    Ran { lines, sent, recap }
}
