//! Tests of what a host keeps, on files of their own.
#![allow(clippy::disallowed_methods, reason = "the tests lay out their own files")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Recall, Store, Work, undo};
use crate::change::{Attributes, Before, Change, Content, Host, Mode, Outcome, Plan, carry_out, digest};
use crate::value::{Map, Value};

fn store(folder: &Path) -> Arc<Store> {
    Arc::new(Store::new(&folder.join("runs"), "r1", &[3; 32]).expect("a store"))
}

fn write(path: &Path, before: Before, text: &str) -> Change {
    Change::Write {
        path: path.to_owned(),
        before,
        after: Content::Bytes(text.as_bytes().to_vec()),
        attributes: Attributes { mode: Some(0o640), ..Attributes::default() },
        backup: false,
        validate: None,
        secret: false,
        in_place: false,
    }
}

fn was(text: &str) -> Before {
    Before::File { sha256: digest::sha256(text.as_bytes()) }
}

/// Makes changes as a step of the run.
fn make(store: &Arc<Store>, step: &str, changes: Vec<Change>) {
    let mut host = Host::new();
    host.set_work(Some(Work::new(Arc::clone(store), step, true)));
    let (_, outcome) = carry_out(&mut host, &Plan::all("a test", changes), Mode::Apply, false);
    assert_eq!(outcome.failure, None);
    let outcome = Outcome { values: Map::from_iter([("a".into(), Value::from(1))]), ..outcome };
    let work = host.take_work().expect("work");
    work.ended(&outcome, true);
    assert_eq!(work.complaint(), None);
}

/// Undoes all changes, the newest first; `Err` says which cannot be.
fn undo_all(store: &Store, mode: Mode) -> Result<Vec<String>, String> {
    let (mut host, mut done) = (Host::new(), Vec::new());
    for past in store.history().iter().rev() {
        let outcome = undo::take_back(store, &past.id, &mut host, mode, false);
        if let Some(failure) = outcome.failure {
            return Err(failure.to_string());
        }
        done.extend(outcome.warnings);
        done.extend(outcome.summary);
    }
    Ok(done)
}

/// Returns the folder as text: every path with kind, mode and content.
fn picture(folder: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    let told = entries.map(|entry| {
        let (path, stat) = (entry.path(), fs::symlink_metadata(entry.path()).expect("stat"));
        let content = if stat.is_file() { fs::read_to_string(path).expect("text") } else { String::new() };
        let target = fs::read_link(path).unwrap_or_default();
        format!("{} {:o} {content} {}", path.display(), stat.permissions().mode(), target.display())
    });
    told.collect()
}

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().expect("folder") };
        fs::create_dir_all(site.path("tree/deep")).expect("folders");
        for (name, text) in [("a", "one\n"), ("b", "b\n"), ("tree/deep/c", "c\n")] {
            fs::write(site.path(name), text).expect("write");
        }
        fs::set_permissions(site.path("a"), fs::Permissions::from_mode(0o600)).expect("mode");
        symlink("a", site.path("link")).expect("link");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("host").join(name)
    }

    fn picture(&self) -> Vec<String> {
        picture(&self.folder.path().join("host"))
    }

    fn change(&self, store: &Arc<Store>) {
        let path = |name: &str| self.path(name);
        make(store, "s1", vec![write(&path("a"), was("one\n"), "two\n"), write(&path("new"), Before::Absent, "new\n")]);
        make(store, "s2", vec![write(&path("a"), was("two\n"), "three\n")]);
        let mode = |mode| Attributes { mode: Some(mode), ..Attributes::default() };
        make(
            store,
            "s3",
            vec![
                Change::Attributes { path: path("b"), before: mode(0o644), after: mode(0o600), follow: false },
                Change::Remove { path: path("tree"), before: Before::Directory },
                Change::Link { path: path("link"), target: "b".into(), hard: false, before: Before::Link("a".into()) },
                Change::Directory { path: path("made"), attributes: mode(0o750) },
                write(&path("made/x"), Before::Absent, "x\n"),
            ],
        );
    }
}

#[test]
fn the_way_back_leads_to_what_was_there_and_a_second_time_does_nothing() {
    let site = Site::new();
    let (before, store) = (site.picture(), store(site.folder.path()));
    site.change(&store);
    let after = site.picture();
    let foreseen = undo_all(&store, Mode::Check).expect("foreseen");
    assert_eq!(site.picture(), after);
    let done = undo_all(&store, Mode::Apply).expect("undone");
    assert_eq!(site.picture(), before);
    assert_eq!(foreseen, done);
    assert_eq!(undo_all(&store, Mode::Apply).expect("nothing"), Vec::<String>::new());
}

#[test]
fn what_somebody_else_changed_since_is_refused() {
    let site = Site::new();
    let store = store(site.folder.path());
    site.change(&store);
    fs::write(site.path("a"), "theirs\n").expect("write");
    let refused = undo_all(&store, Mode::Check).expect_err("changed");
    assert!(refused.contains("was changed by somebody else meanwhile: the run left a file (SHA-256 "), "{refused}");
    fs::write(site.path("a"), "three\n").expect("write");
    fs::write(site.path("made/theirs"), "").expect("write");
    let told = undo_all(&store, Mode::Check).expect("allowed");
    assert!(told.iter().any(|line| line.ends_with("stays: it holds `theirs`, which the run's changes did not make")), "{told:?}");
}

#[test]
fn a_step_is_remembered_by_whoever_has_the_key() {
    let site = Site::new();
    let first = store(site.folder.path());
    let recall = |store: &Store, step: &str| store.recall(&[step.to_owned()]).remove(0);
    assert_eq!(recall(&first, "s1"), Recall::Never);
    site.change(&first);
    drop(first);
    let second = store(site.folder.path());
    let Recall::Done(outcome) = recall(&second, "s1") else { panic!("done") };
    assert_eq!(outcome.values.get("a"), Some(&Value::from(1)));
    assert_eq!(recall(&second, "s4"), Recall::Never);

    let mut host = Host::new();
    host.set_work(Some(Work::new(Arc::clone(&second), "s4", true)));
    let _ = carry_out(&mut host, &Plan::one("a test", write(&site.path("d"), Before::Absent, "d")), Mode::Apply, false);
    assert_eq!(recall(&second, "s4"), Recall::Began);

    let other = Store::new(&site.folder.path().join("runs"), "r1", &[4; 32]).expect("a store");
    assert_eq!(recall(&other, "s1"), Recall::Never);
    let all: Vec<u8> = fs::read_dir(site.folder.path().join("runs/r1"))
        .expect("folder")
        .flat_map(|entry| fs::read(entry.expect("entry").path()).expect("file"))
        .collect();
    let has = |text: &[u8]| all.windows(text.len()).any(|window| window == text);
    assert!(!has(b"one\n") && !has(b"host/a"), "what is kept is sealed");
}

#[test]
fn what_cannot_be_noted_is_begun_only_where_it_may_be_done_twice() {
    let site = Site::new();
    // Where the folder of the runs should be, there is a file.
    fs::write(site.folder.path().join("runs"), "").expect("write");
    let store = store(site.folder.path());
    let mut host = Host::new();
    let plan = Plan::one("a test", write(&site.path("d"), Before::Absent, "d"));
    host.set_work(Some(Work::new(Arc::clone(&store), "s1", false)));
    let (_, refused) = carry_out(&mut host, &plan, Mode::Apply, false);
    let why = refused.failure.expect("refused").to_string();
    assert!(why.starts_with("this was not begun, as the host cannot note in ") && !refused.changed, "{why}");
    assert!(!site.path("d").exists());

    host.set_work(Some(Work::new(store, "s1", true)));
    let (_, done) = carry_out(&mut host, &plan, Mode::Apply, false);
    assert!(done.failure.is_none() && site.path("d").exists());
    assert!(done.warnings[0].starts_with("what is changed cannot be noted in "), "{:?}", done.warnings);
}

#[test]
fn the_items_of_a_loop_are_remembered_one_by_one() {
    let site = Site::new();
    let store = store(site.folder.path());
    make(&store, "s1/item0", vec![write(&site.path("x"), Before::Absent, "x")]);
    let begun = Work::new(Arc::clone(&store), "s1/item1", false);
    begun.begin().expect("noted");
    let recalled = store.recall(&["s1/item0", "s1/item1", "s1/item2"].map(str::to_owned));
    assert!(matches!(recalled.as_slice(), [Recall::Done(_), Recall::Began, Recall::Never]), "{recalled:?}");
}

#[test]
fn what_a_log_ends_with_does_not_hide_what_stands_before_it() {
    let site = Site::new();
    let first = store(site.folder.path());
    make(&first, "s1", vec![write(&site.path("x"), Before::Absent, "x")]);
    drop(first);
    let folder = site.folder.path().join("runs/r1");
    let log = fs::read_dir(&folder).expect("folder").map(|entry| entry.expect("entry").path());
    let log = log.into_iter().find(|path| path.display().to_string().contains("/log-")).expect("a log");
    let mut bytes = fs::read(&log).expect("read");
    bytes.extend([0; 100]);
    fs::write(&log, bytes).expect("write");
    let recalled = store(site.folder.path()).recall(&["s1".to_owned()]);
    assert!(matches!(recalled.as_slice(), [Recall::Done(_)]), "{recalled:?}");
}

#[test]
fn old_runs_make_room_for_new_ones() {
    let folder = tempfile::tempdir().expect("folder");
    for run in ["old", "own"] {
        fs::create_dir(folder.path().join(run)).expect("folder");
        fs::write(folder.path().join(run).join("log-1"), [0; 1000]).expect("write");
    }
    let room = super::store::prune(folder.path(), "own", 0);
    assert_eq!(room, super::MOST_BYTES - 2000);
    let room = super::store::prune(folder.path(), "own", super::MOST_BYTES - 1000);
    assert_eq!(room, super::MOST_BYTES - 1000);
    assert!(!folder.path().join("old").exists() && folder.path().join("own").exists());
}
