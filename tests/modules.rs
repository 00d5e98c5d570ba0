//! Tests over the whole table of modules: each is documented, its examples reach what they ask for, a second run changes
//! nothing, and a check foresees what a run then does.

#![allow(clippy::panic, clippy::disallowed_methods, reason = "a test makes its own folders and says what is wrong")]

use std::fs;
use std::path::{Path, PathBuf};

use windlass::change::kept::undo::hindrance;
use windlass::change::probe::{FileKind, Stat};
use windlass::change::{Change, Doubt, Failure, Foreseen, Host, Mode, Outcome, Plan, Probe, Thing, carry_out, digest, run_module, tree};
use windlass::modules::{ALL, Controller, Entry, Example, ONE_WAY, Runs};
use windlass::source::{Sources, yaml};
use windlass::value::{Map, Value};

/// Modules whose examples need a server, a service manager or another program, or run programs on the machine itself: the
/// temporary folder does not hold those back. They have tests of their own.
fn needs_more_than_files(entry: &Entry) -> bool {
    let name = entry.name;
    name.starts_with("elasticsearch_") && name != "elasticsearch_keystore"
        || [
            "command",
            "shell",
            "raw",
            "script",
            "uri",
            "get_url",
            "wait_for",
            "wait_for_connection",
            "service",
            "systemd",
            "systemd_service",
            "sysvinit",
            "ufw",
            "package",
            "apt",
            "user",
            "group",
            "setup",
            "gather_facts",
            "getent",
            "reboot",
            "postgresql_user",
            "postgresql_privs",
            "postgresql_db",
            "pip",
            "locale_gen",
            "modprobe",
            "debconf",
            "iptables",
            "git",
            "dpkg_selections",
            "alternatives",
            "hostname",
            "package_facts",
            "script_module",
            "service_facts",
        ]
        .contains(&name)
}

/// Modules that make something random each time: a key, a name, a salt.
fn is_random(entry: &Entry) -> bool {
    ["certificate", "certificate_authority", "elasticsearch_keystore", "openssl_privatekey", "tempfile"].contains(&entry.name)
}

/// The controller of a test: files in a folder, templates without anything to render.
struct Files {
    folder: PathBuf,
}

impl Controller for Files {
    fn find(&self, folder: &str, name: &str) -> Result<PathBuf, Failure> {
        let places = [self.folder.join(folder).join(name), self.folder.join(name)];
        places.into_iter().find(|path| path.exists()).ok_or_else(|| Failure::failed(format!("`{name}` is not in {folder}")))
    }
    fn read(&self, path: &Path) -> Result<Vec<u8>, Failure> {
        fs::read(path).map_err(|error| Failure::io("read", path, &error))
    }
    fn stat(&self, path: &Path) -> Result<Option<Stat>, Failure> {
        Host::new().stat(path, true)
    }
    fn walk(&self, path: &Path, follow: bool) -> Result<Vec<tree::Below>, Failure> {
        tree::below(&Host::new(), path, follow)
    }
    fn blob(&self, path: &Path) -> Result<Value, Failure> {
        let bytes = self.read(path)?;
        Ok(Value::map([("sha256", Value::from(digest::sha256(&bytes))), ("size", bytes.len().into())]))
    }
    fn render_file(&self, path: &Path, _: &Map) -> Result<Value, Failure> {
        Ok(String::from_utf8_lossy(&self.read(path)?).into_owned().into())
    }
    fn render(&self, value: &Value) -> Result<Value, Failure> {
        Ok(value.clone())
    }
    fn expression(&self, text: &str) -> Result<Value, Failure> {
        Ok(match text {
            "inventory_hostname" => "web1".into(),
            "playbook_dir" => self.folder.display().to_string().into(),
            "true" => true.into(),
            other => other.into(),
        })
    }
    fn condition(&self, text: &Value) -> Result<bool, Failure> {
        Ok(text.as_str() != Some("false"))
    }
    fn variables(&self, _: &Path) -> Result<Map, Failure> {
        Ok(Map::new())
    }
    fn secret(&self, _: &str) {}
    fn verbosity(&self) -> u8 {
        0
    }
}

/// Every path below a folder, sorted; links are not followed.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        walkdir::WalkDir::new(folder).min_depth(1).into_iter().map(|entry| entry.expect("readable").into_path()).collect();
    found.sort();
    found
}

/// What is below a folder: path, kind, mode and content.
fn picture(folder: &Path) -> Vec<(PathBuf, FileKind, u32, Vec<u8>)> {
    let host = Host::new();
    walk(folder)
        .into_iter()
        .map(|path| {
            let stat = host.stat(&path, false).expect("readable").expect("there");
            let bytes = if stat.kind == FileKind::File { fs::read(&path).expect("readable") } else { Vec::new() };
            (path, stat.kind, stat.mode, bytes)
        })
        .collect()
}

fn arguments(entry: &Entry, example: &Example) -> Map {
    let parsed = yaml::parse(&Sources::default(), Path::new("example.yml"), example.task.to_owned());
    assert!(parsed.diagnostics.is_empty(), "{}: {}: {:?}", entry.name, example.title, parsed.diagnostics);
    let value = parsed.documents.first().map(windlass::load::nodes::to_value).unwrap_or_default();
    match (value, entry.free_form) {
        (Value::Map(map), _) => (*map).clone(),
        (Value::Str(text), Some(name)) => [(name.into(), Value::Str(text))].into_iter().collect(),
        (other, _) => panic!("{}: {}: {other:?} is no list of arguments", entry.name, example.title),
    }
}

/// One example on a host that is a temporary folder.
struct Trial {
    entry: &'static Entry,
    arguments: Map,
    name: String,
    folder: tempfile::TempDir,
}

impl Trial {
    fn new(entry: &'static Entry, example: &Example) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (host, controller) = (folder.path().join("host"), folder.path().join("controller"));
        for path in [&host, &controller] {
            fs::create_dir(path).expect("made");
        }
        for (path, text) in example.given {
            let (base, path) = path.strip_prefix("controller:").map_or((&host, *path), |path| (&controller, path));
            let full = base.join(path.trim_start_matches('/'));
            if path.ends_with('/') {
                fs::create_dir_all(&full).expect("made");
            } else {
                fs::create_dir_all(full.parent().expect("a parent")).expect("made");
                fs::write(&full, text).expect("written");
            }
        }
        let name = format!("{}: {}", entry.name, example.title);
        Self { entry, arguments: arguments(entry, example), name, folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("host")
    }

    /// Returns the arguments as they come to the host.
    fn prepared(&self) -> Map {
        let controller = Files { folder: self.folder.path().join("controller") };
        let mut arguments = self.arguments.clone();
        (self.entry.prepare)(&mut arguments, &controller).unwrap_or_else(|failure| panic!("{}: {failure}", self.name));
        arguments
    }

    fn run_with(&self, arguments: &Map, host: &mut Host, mode: Mode, doubt: Option<&str>) -> Outcome {
        let doubt = Doubt { why: doubt.map(str::to_owned), hidden: false };
        let plan = |host: &dyn Probe| (self.entry.plan)(arguments, host);
        run_module(plan, |plan, done, host| (self.entry.result)(arguments, plan, done, host), host, mode, true, &doubt)
    }

    fn run(&self, host: &mut Host, mode: Mode) -> Outcome {
        let outcome = self.run_with(&self.prepared(), host, mode, None);
        assert_eq!(outcome.failure, None, "{} ({mode:?})", self.name);
        if mode == Mode::Apply {
            let plan = Plan { changes: outcome.on_controller.clone(), ..Plan::default() };
            assert_eq!(carry_out(&mut Host::new(), &plan, mode, false).1.failure, None, "{}", self.name);
        }
        outcome
    }
}

/// Examples that run on a folder alone.
fn each_example(mut see: impl FnMut(&Trial, &Example)) {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for entry in ALL.iter().filter(|entry| entry.runs == Runs::OnHost && !needs_more_than_files(entry)) {
        for example in entry.examples {
            let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| see(&Trial::new(entry, example), example)));
            wrong.extend(tried.err().map(|_| format!("{}: {}", entry.name, example.title)));
            seen += 1;
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "what is wrong with each is told above");
    assert!(seen > 30, "only {seen} examples were tried");
}

#[test]
fn every_module_and_every_argument_is_documented() {
    let mut missing = Vec::new();
    for entry in ALL {
        let schema = serde_json::Value::from((entry.schema)());
        if schema.get("description").is_none() {
            missing.push(entry.name.to_owned());
        }
        for (argument, about) in schema.get("properties").and_then(serde_json::Value::as_object).into_iter().flatten() {
            if !argument.starts_with('_') && about.get("description").is_none() {
                missing.push(format!("{}.{argument}", entry.name));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_module_has_an_example() {
    let without: Vec<_> = ALL.iter().filter(|entry| entry.examples.is_empty()).map(|entry| entry.name).collect();
    assert_eq!(without, Vec::<&str>::new());
}

#[test]
fn the_table_is_in_the_order_of_the_alphabet() {
    let names: Vec<_> = ALL.iter().map(|entry| entry.name).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(names, sorted);
}

#[test]
fn every_example_is_a_task_that_fits() {
    for entry in ALL {
        for example in entry.examples {
            let arguments = arguments(entry, example);
            if arguments.values().any(|value| matches!(value, Value::Lazy(_))) {
                continue;
            }
            (entry.check)(&arguments).unwrap_or_else(|failure| panic!("{}: {}: {failure}", entry.name, example.title));
        }
    }
}

#[test]
fn an_unknown_argument_is_named() {
    for entry in ALL.iter().filter(|entry| !entry.any_argument) {
        let arguments = [("no_such_argument".into(), Value::Int(1))].into_iter().collect();
        let failure = (entry.check)(&arguments).expect_err(entry.name).to_string();
        assert!(failure.contains("no_such_argument"), "{}: {failure}", entry.name);
    }
}

#[test]
fn a_check_writes_nothing_and_foresees_what_a_run_does() {
    each_example(|trial, example| {
        let root = trial.root();
        let before = picture(&root);
        let mut foreseeing = Host::under(&root);
        let check = trial.run(&mut foreseeing, Mode::Check);
        assert_eq!(picture(&root), before, "{}: the check wrote something", trial.name);
        assert!(!trial.entry.looks || !check.changed, "{}: it only looks", trial.name);
        let run = trial.run(&mut Host::under(&root), Mode::Apply);
        assert_eq!(run.changed, example.changes, "{}: {}", trial.name, run.because);
        if check.unknown.is_some() {
            return;
        }
        assert_eq!(check.changed, run.changed, "{}", trial.name);
        if !is_random(trial.entry) {
            assert_eq!(check.summary, run.summary, "{}", trial.name);
        }
        if check.changes_foreseen().any(|change| matches!(change, Change::Run { .. })) || is_random(trial.entry) {
            return;
        }
        for path in foreseeing.overlay().paths() {
            let now = Host::under(&root);
            let (foreseen, real) = (foreseeing.stat(&path, false).expect("foreseen"), now.stat(&path, false).expect("real"));
            let told = |stat: &Option<Stat>| stat.as_ref().map(|stat| (stat.kind, stat.mode, stat.uid, stat.gid, stat.target.clone()));
            assert_eq!(told(&foreseen), told(&real), "{}: {}", trial.name, path.display());
            if real.is_some_and(|stat| stat.kind == FileKind::File) {
                assert_eq!(foreseeing.read(&path), now.read(&path), "{}: {}", trial.name, path.display());
            }
        }
    });
}

#[test]
fn a_second_run_changes_nothing() {
    each_example(|trial, _| {
        let mut host = Host::under(&trial.root());
        trial.run(&mut host, Mode::Apply);
        let leftovers: Vec<_> = walk(&trial.root()).into_iter().filter(|path| path.to_string_lossy().contains(".windlass-")).collect();
        assert_eq!(leftovers, Vec::<PathBuf>::new(), "{}", trial.name);
        if trial.entry.rests {
            let second = trial.run(&mut host, Mode::Apply);
            assert!(!second.changed, "{}: {}: {:?}", trial.name, second.because, second.summary);
        }
    });
}

#[test]
fn a_second_task_of_a_check_sees_what_the_first_foresaw() {
    each_example(|trial, _| {
        let mut host = Host::under(&trial.root());
        let first = trial.run(&mut host, Mode::Check);
        if trial.entry.rests
            && first.unknown.is_none()
            && first.on_controller.is_empty()
            && !first.changes_foreseen().any(|change| matches!(change, Change::Run { .. }))
        {
            let second = trial.run(&mut host, Mode::Check);
            assert!(!second.changed && second.unknown.is_none(), "{}: {}: {:?}", trial.name, second.because, second.summary);
        }
    });
}

/// Whether a check lost sight of something that nobody can name.
fn is_blind(outcome: &Outcome) -> bool {
    outcome.foreseen.iter().any(|foreseen| matches!(foreseen, Foreseen::Lost(Thing::Unnamed, _)))
}

#[test]
fn what_a_task_in_doubt_would_change_is_unknown_then() {
    each_example(|trial, _| {
        let before = picture(&trial.root());
        let arguments = trial.prepared();
        let mut host = Host::under(&trial.root());
        let sure = trial.run_with(&arguments, &mut Host::under(&trial.root()), Mode::Check, None);
        let perhaps = trial.run_with(&arguments, &mut host, Mode::Check, Some("nobody knows"));
        assert_eq!(perhaps.unknown.as_deref(), Some("nobody knows"), "{}", trial.name);
        assert_eq!((perhaps.changes_foreseen().count(), perhaps.summary.len()), (0, sure.summary.len()), "{}", trial.name);
        assert_eq!(picture(&trial.root()), before, "{}: the check wrote something", trial.name);
        let then = trial.run_with(&arguments, &mut host, Mode::Check, None);
        // A temporary file has another name each time.
        let is_lost = perhaps.changed && perhaps.on_controller.is_empty() && !is_blind(&perhaps) && trial.entry.name != "tempfile";
        assert_eq!(then.unknown.is_some(), is_lost || sure.unknown.is_some(), "{}: {perhaps:?}, then {then:?}", trial.name);
    });
}

#[test]
fn what_a_task_with_an_unknown_argument_may_change_is_unknown_then() {
    each_example(|trial, example| {
        for name in trial.arguments.keys().filter(|_| example.changes) {
            let mut unknown = if trial.entry.copes_with_unknown { trial.prepared() } else { trial.arguments.clone() };
            unknown.insert(name.clone(), Value::unknown("not run"));
            let mut host = Host::under(&trial.root());
            let first = trial.run_with(&unknown, &mut host, Mode::Check, None);
            if first.unknown.is_none() || is_blind(&first) {
                continue;
            }
            let then = trial.run_with(&trial.prepared(), &mut host, Mode::Check, None);
            assert!(then.unknown.is_some() || !then.on_controller.is_empty(), "{}: `{name}` unknown, then {then:?}", trial.name);
        }
    });
}

/// Modules that can be undone with some arguments only: which, a playbook's text tells.
const AS_ASKED: &[&str] = &["elasticsearch_cross_cluster_api_key", "uri"];

#[test]
fn modules_that_cannot_be_undone_are_listed() {
    for name in ONE_WAY {
        assert!(ALL.iter().any(|entry| entry.name == *name), "there is no module `{name}`");
    }
    each_example(|trial, _| {
        let check = trial.run(&mut Host::under(&trial.root()), Mode::Check);
        let listed = ONE_WAY.contains(&trial.entry.name) || AS_ASKED.contains(&trial.entry.name);
        if let Some(why) = check.changes_foreseen().find_map(hindrance) {
            assert!(listed, "{} is not in ONE_WAY, and cannot be undone: {why}", trial.name);
        }
    });
}
