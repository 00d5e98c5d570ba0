//! The flagship playbook in a change window, over OpenSSH: planned and approved, applied exactly, and undone.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::{OpenSsh, Stage, WINDLASS};

/// What a command came to.
struct Came {
    code: Option<i32>,
    output: String,
}

impl Came {
    #[track_caller]
    fn code(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.output);
        self.output
    }
}

/// Runs windlass in the project, with a state and a home of its own.
fn windlass(stage: &Stage, words: &[&str]) -> Came {
    let home = stage.site.folder.join("home");
    fs::create_dir_all(&home).expect("folder");
    let mut command = Command::new(WINDLASS);
    command.args(words).current_dir(stage.site.project()).stdin(Stdio::null());
    command.env_remove("SSH_AUTH_SOCK").env("NO_COLOR", "1").env("HOME", &home).env("WINDLASS_STATE", home.join("state"));
    let done = command.output().expect("runs");
    let output = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    for secret in stage.secrets() {
        assert!(!output.contains(&secret), "a secret is in the output of {words:?}");
    }
    Came { code: done.status.code(), output }
}

/// Returns every file below the settings of all nodes, and beside the inventory.
fn picture(stage: &Stage) -> BTreeMap<String, Vec<u8>> {
    let folders = stage.site.nodes.iter().map(|(node, _)| stage.conf(node)).chain([stage.site.project().join("inventory")]);
    let mut found = BTreeMap::new();
    for entry in folders.flat_map(|folder| walkdir::WalkDir::new(folder).into_iter().flatten()) {
        let content = if entry.file_type().is_file() { fs::read(entry.path()).expect("read") } else { Vec::new() };
        found.insert(entry.path().display().to_string(), content);
    }
    found
}

fn differing(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

fn settings(stage: &Stage) -> [Json; 2] {
    ["es-berlin-1", "es-frankfurt-1"].map(|node| stage.get(node, "/_cluster/settings?flat_settings=true"))
}

#[test]
fn what_was_connected_is_as_it_was_after_an_undo() {
    let stage = Stage::new();
    let Some((_servers, flags)) = OpenSsh::start(&stage) else { return };
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (before, set) = (picture(&stage), settings(&stage));
    let run = ["playbook", "-i", "inventory/demo", "playbooks/remote-cluster.yml"];
    let _ = windlass(&stage, &[&run[..], &flags].concat()).code(0);
    assert_eq!((stage.connected(), stage.keys().len(), stage.restarts()), (vec![true; 3], 1, 6));

    let foreseen = windlass(&stage, &["undo", "--check", "--diff"]).code(0);
    assert_eq!((stage.connected(), stage.restarts()), (vec![true; 3], 6), "a check undoes nothing");
    for part in ["restart elasticsearch", "certs/remote-cluster.p12", "API key", "the content is secret and not shown"] {
        assert!(foreseen.contains(part), "no `{part}` in {foreseen}");
    }
    let clients = foreseen.find("\nes-frankfurt-").expect("clients");
    assert!(clients < foreseen.find("\nes-berlin-").expect("servers"), "what was changed last goes first: {foreseen}");
    let undone = windlass(&stage, &["undo", "--yes"]).code(0);
    assert_eq!(differing(&before, &picture(&stage)), Vec::<String>::new(), "{undone}");
    assert_eq!(settings(&stage), set, "{undone}");
    assert_eq!((stage.connected(), stage.keys().len(), stage.restarts()), (vec![false; 3], 0, 12), "{undone}");
}

#[test]
fn the_job_is_planned_shown_and_applied_as_approved() {
    let stage = Stage::new();
    let Some((_servers, flags)) = OpenSsh::start(&stage) else { return };
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let before = picture(&stage);
    let plan = ["plan", "-i", "inventory/demo", "playbooks/remote-cluster.yml", "-o", "chg.plan", "--detailed-exitcode"];
    let made = windlass(&stage, &[&plan[..], &flags].concat()).code(11);
    assert!(made.contains("would change something, sha256 "), "{made}");
    assert_eq!((differing(&before, &picture(&stage)), stage.keys().len(), stage.restarts()), (Vec::new(), 0, 0));

    // What the approver reads, in each form; and no secret is in the plan itself.
    let text = windlass(&stage, &["show", "chg.plan"]).code(0);
    for part in ["The node has a certificate of the site's authority", "Restart Elasticsearch", "to be allowed with --allow-unknown"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    let shown: Json = serde_json::from_str(&windlass(&stage, &["show", "chg.plan", "--json"]).code(0)).expect("JSON");
    let steps = shown["steps"].as_array().expect("steps");
    let would = |host: &str| steps.iter().filter(|step| step["host"] == host && step["status"] == "changed").count();
    assert!(would("es-berlin-1") > 3 && would("es-frankfurt-3") > 2, "{shown}");
    let page = windlass(&stage, &["show", "chg.plan", "--html"]).code(0);
    assert!(page.contains("<html") && page.contains("Cannot be undone") && page.contains("es-frankfurt-3"), "{page}");
    let bytes = fs::read(stage.site.project().join("chg.plan")).expect("plan");
    let bytes = String::from_utf8_lossy(&bytes);
    assert!(stage.secrets().iter().all(|secret| !bytes.contains(secret.as_str())), "a secret is in the plan");

    let refused = windlass(&stage, &["apply", "chg.plan"]).code(11);
    assert!(refused.contains("not allowed: `") && refused.contains("nothing was done"), "{refused}");
    assert_eq!((differing(&before, &picture(&stage)), stage.restarts()), (Vec::new(), 0));

    // Somebody touches one node between approval and night.
    let yml = stage.conf("es-frankfurt-2").join("elasticsearch.yml");
    let settings = fs::read(&yml).expect("settings");
    fs::write(&yml, [&settings[..], b"node.attr.rack: r1\n"].concat()).expect("write");
    let drift = windlass(&stage, &["apply", "chg.plan", "--allow-unknown", "all"]).code(12);
    assert!(drift.contains("DRIFT  es-frankfurt-2") && drift.contains("node.attr.rack"), "{drift}");
    assert!(!drift.contains("DRIFT  es-frankfurt-1") && !drift.contains("DRIFT  es-berlin-2"), "{drift}");
    assert_eq!((stage.keys().len(), stage.restarts()), (0, 0));
    fs::write(&yml, &settings).expect("write");

    let applied = windlass(&stage, &["apply", "chg.plan", "--allow-unknown", "all"]).code(0);
    assert_eq!((stage.connected(), stage.keys().len(), stage.restarts()), (vec![true; 3], 1, 6), "{applied}");
    let again = windlass(&stage, &["apply", "chg.plan", "--allow-unknown", "all"]).code(12);
    assert!(again.contains("DRIFT  es-berlin-1"), "{again}");
    assert_eq!(stage.restarts(), 6);
}
