//! A check says what a run then does: random playbooks of tasks that read and write the same few files, checked and then run.
//!
//! Of each task and item, what the check foresaw (status, changes, differences, words of a failure) has to be what the run did,
//! unless the check called it unknown; and it must have changed nothing. The short form is an ordinary test; the long one is
//! `cargo test --test honest -- --ignored` with `WINDLASS_PLAYBOOKS` (1000) and `WINDLASS_SEED`.
#![allow(clippy::panic, clippy::print_stderr, clippy::disallowed_methods, reason = "tests set up files and say what they did")]

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use harness::{Run, Site};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

/// Makes a playbook.
struct Author {
    random: StdRng,
    tasks: usize,
    /// What was registered: the kind of its module, and the name.
    known: Vec<(&'static str, String)>,
    facts: Vec<String>,
    included: Vec<(String, Value)>,
}

impl Author {
    fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), tasks: 0, known: Vec::new(), facts: Vec::new(), included: Vec::new() }
    }

    fn maybe(&mut self, chance: f64) -> bool {
        self.random.random_bool(chance)
    }

    fn one<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words.choose(&mut self.random).expect("a word")
    }

    fn path(&mut self) -> String {
        format!("{{{{ base }}}}/{}", self.one(&["a", "b", "c", "d", "d/x", "d/y", "l", "e/f/g", "t.ini"]))
    }

    fn mode(&mut self) -> &'static str {
        self.one(&["0600", "0644", "0755", "u=rwX,go=rX", "g+w"])
    }

    fn text(&mut self) -> String {
        if !self.facts.is_empty() && self.maybe(0.3) {
            let at = self.random.random_range(0..self.facts.len());
            return format!("{{{{ {} }}}}\n", self.facts[at]);
        }
        if self.maybe(0.1) {
            return self.expression();
        }
        self.one(&["one\n", "one\ntwo\n", "k=1\n", "", "x", "[s]\nk = 1\n", "a\r\nb\r\n", "{{ inventory_hostname }}\n"]).to_owned()
    }

    fn register(&mut self, task: &mut Map<String, Value>, kind: &'static str) {
        let name = format!("r{}", self.tasks);
        task.insert("register".into(), name.clone().into());
        self.known.push((kind, name));
    }

    /// An expression over what was registered.
    fn expression(&mut self) -> String {
        let Some((kind, name)) = self.known.choose(&mut self.random).cloned() else { return "{{ 1 + 1 }}".to_owned() };
        match kind {
            "stat" => format!("{{{{ {name}.stat.exists | default('none') }}}}"),
            "slurp" => format!("{{{{ ({name}.content | default('')) | b64decode }}}}"),
            "find" => format!("{{{{ {name}.matched | default('none') }}}}"),
            "command" => format!("{{{{ {name}.stdout | default('none') }}}}"),
            _ => format!("{{{{ {name} is changed }}}}"),
        }
    }

    fn condition(&mut self) -> String {
        let Some((kind, name)) = self.known.choose(&mut self.random).cloned() else { return "1 == 1".to_owned() };
        let forms: &[&str] = match kind {
            "stat" => &["R.stat.exists | default(false)", "not (R.stat.exists | default(false))", "R.stat.mode | default('') == '0644'"],
            "slurp" => &["R is succeeded", "R is failed"],
            "find" => &["R.matched | default(0) > 2"],
            "command" => &["R is changed", "'z' in (R.stdout | default(''))"],
            _ => &["R is changed", "R is failed", "R is skipped"],
        };
        self.one(forms).replace('R', &name)
    }

    fn module(&mut self, task: &mut Map<String, Value>) {
        let path = self.path();
        let state = |word: &str| json!(word);
        let (name, arguments) = match self.random.random_range(0..23) {
            0..3 => {
                let mut copy = json!({"content": self.text(), "dest": path});
                if self.maybe(0.4) {
                    copy["mode"] = self.mode().into();
                }
                if self.maybe(0.2) {
                    copy["force"] = false.into();
                }
                ("copy", copy)
            }
            3 => ("copy", json!({"src": "one.txt", "dest": path + self.one(&["", "/"])})),
            4 => ("copy", json!({"src": self.one(&["tree", "tree/"]), "dest": path})),
            5..8 => {
                let word = self.one(&["touch", "directory", "absent", "link", "hard", "file"]);
                let mut file = json!({"path": path, "state": word});
                match word {
                    "link" | "hard" => {
                        file["src"] = self.path().into();
                        file["force"] = self.maybe(0.4).into();
                    }
                    "absent" => {}
                    _ if self.maybe(0.5) => file["mode"] = self.mode().into(),
                    _ => {}
                }
                ("file", file)
            }
            8..10 => {
                let mut line = match self.random.random_range(0..3) {
                    0 if self.maybe(0.3) => json!({"line": self.expression()}),
                    0 => json!({"line": self.one(&["one", "k=2", "four"])}),
                    1 => json!({"regexp": self.one(&["^k", "^o", "e$"]), "line": "new"}),
                    _ => json!({"regexp": self.one(&["^k", "o"]), "state": "absent"}),
                };
                line["path"] = path.into();
                line["create"] = self.maybe(0.5).into();
                if self.maybe(0.2) {
                    line["validate"] = self.one(&["true %s", "false %s", "grep -q e %s"]).into();
                }
                ("lineinfile", line)
            }
            10 => ("blockinfile", json!({"path": path, "block": self.one(&["b1\nb2", "x", ""]), "create": self.maybe(0.5)})),
            11 => ("replace", json!({"path": path, "regexp": self.one(&["o", "^k=(\\d)", "z+"]), "replace": "0"})),
            12 => ("template", json!({"src": "page.j2", "dest": path})),
            13 => ("ini_file", json!({"path": path, "section": "s", "option": self.one(&["k", "o"]), "value": self.one(&["1", "2"])})),
            14 => ("assemble", json!({"src": "{{ base }}/d", "dest": path})),
            15 => {
                self.register(task, "stat");
                ("stat", json!({"path": path}))
            }
            16 => {
                self.register(task, "slurp");
                ("slurp", json!({"src": path}))
            }
            17 => {
                self.register(task, "find");
                ("find", json!({"paths": "{{ base }}", "recurse": self.maybe(0.4)}))
            }
            18 => {
                // What a program does to files that other tasks work on, no check can know: it has one of its own.
                self.register(task, "command");
                match self.random.random_range(0..3) {
                    0 => ("command", json!({"cmd": format!("rm -f {path}"), "removes": path})),
                    1 => ("shell", json!("echo z >>{{ base }}/of-programs")),
                    _ => {
                        task.insert("reads".into(), true.into());
                        ("command", json!("cat {{ base }}/still"))
                    }
                }
            }
            19 => {
                let fact = format!("f{}", self.tasks);
                let value = self.expression();
                self.facts.push(fact.clone());
                ("set_fact", json!({fact: value}))
            }
            20 => ("fetch", json!({"src": path, "dest": "{{ playbook_dir }}/fetched/", "fail_on_missing": self.maybe(0.5)})),
            21 => ("assert", json!({"that": [self.condition()]})),
            _ => {
                let word = self.one(&["present", "absent"]);
                if self.maybe(0.5) {
                    ("known_hosts", json!({"path": path, "name": "h.example", "key": format!("h.example {KEY}"), "state": state(word)}))
                } else {
                    ("sysctl", json!({"name": "wl.none", "value": "1", "sysctl_file": path, "reload": false, "state": state(word)}))
                }
            }
        };
        task.insert(name.into(), arguments);
    }

    fn task(&mut self, depth: usize) -> Value {
        self.tasks += 1;
        let mut task = Map::from_iter([("name".to_owned(), json!(format!("t{}", self.tasks)))]);
        let several = |author: &mut Self, most: usize| {
            let count = author.random.random_range(1..=most);
            (0..count).map(|_| author.task(depth + 1)).collect::<Vec<_>>()
        };
        match self.random.random_range(0..12) {
            0 if depth < 2 => {
                task.insert("block".into(), several(self, 3).into());
                if self.maybe(0.6) {
                    task.insert("rescue".into(), several(self, 2).into());
                }
                if self.maybe(0.4) {
                    task.insert("always".into(), several(self, 1).into());
                }
                return task.into();
            }
            1 if depth < 2 => {
                let name = format!("more{}.yml", self.tasks);
                task.insert("include_tasks".into(), name.clone().into());
                let tasks = several(self, 2).into();
                self.included.push((name, tasks));
                if self.maybe(0.4) {
                    task.insert("when".into(), self.condition().into());
                }
                return task.into();
            }
            2 => {
                let arguments = match self.random.random_range(0..3) {
                    0 => ("copy", json!({"content": "{{ item }}\n", "dest": "{{ base }}/{{ item }}"})),
                    1 => ("file", json!({"path": "{{ base }}/{{ item }}", "state": self.one(&["touch", "directory", "absent"])})),
                    _ => ("lineinfile", json!({"path": "{{ base }}/many", "line": "{{ item }}", "create": true})),
                };
                task.insert(arguments.0.into(), arguments.1);
                task.insert("loop".into(), json!(["a", "n", "d"]));
                if self.maybe(0.3) {
                    task.insert("when".into(), "item != 'a'".into());
                }
            }
            _ => self.module(&mut task),
        }
        if self.maybe(0.25) && !task.contains_key("when") {
            task.insert("when".into(), self.condition().into());
        }
        if self.maybe(0.2) {
            task.insert("notify".into(), self.one(&["h1", "h2"]).into());
        }
        if self.maybe(0.2) && !task.contains_key("register") && !task.contains_key("loop") {
            self.register(&mut task, "any");
        }
        if self.maybe(0.5) {
            task.insert("ignore_errors".into(), true.into());
        }
        task.into()
    }

    fn playbook(&mut self) -> Value {
        let count = self.random.random_range(4..14);
        let tasks: Vec<_> = (0..count).map(|_| self.task(0)).collect();
        let handlers = ["h1", "h2"].map(|name| {
            let mut handler = self.task(2);
            let map = handler.as_object_mut().expect("a task");
            map.insert("name".into(), name.into());
            map.remove("notify");
            handler
        });
        json!([{"hosts": "localhost", "gather_facts": false, "vars": {"base": "{{ playbook_dir }}/host"}, "tasks": tasks, "handlers": handlers}])
    }
}

/// What is below a folder: kind, mode, owner, and content or target.
fn picture(folder: &Path) -> BTreeMap<String, String> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.expect("readable"));
    let told = entries.map(|entry| {
        let stat = fs::symlink_metadata(entry.path()).expect("stat");
        let content = match stat.file_type() {
            kind if kind.is_symlink() => format!("{:?}", fs::read_link(entry.path())),
            kind if kind.is_file() => format!("{:?}", fs::read(entry.path()).expect("read")),
            _ => String::new(),
        };
        (entry.path().display().to_string(), format!("{:o} {} {content}", stat.mode(), stat.uid()))
    });
    told.collect()
}

/// What came of each task and item, in order.
fn came(run: &Run) -> BTreeMap<String, Vec<Value>> {
    let events = run.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (at, mut event) in events.enumerate().filter(|(_, event)| event["event"] == "result" || event["event"] == "item") {
        event["at"] = at.into();
        all.entry(format!("{} {} {}", event["event"], event["task"], event["label"])).or_default().push(event);
    }
    all
}

/// What a check and a run have to agree on. Times of files are not the same a moment later.
fn essence(event: &Value) -> Value {
    let differences = event["diff"].as_array().cloned().unwrap_or_default();
    let timeless: Vec<_> = differences.into_iter().filter(|difference| !difference.to_string().contains("time: ")).collect();
    json!({
        "status": event["status"], "ignored": event["ignored"], "changes": event["changes"], "diff": timeless,
        "failure": if event["status"] == "failed" { event["because"].clone() } else { Value::Null },
    })
}

/// Checks and runs one playbook; returns what was wrong, how many results were compared, and how many were unknown.
fn compared(seed: u64) -> (Vec<String>, usize, usize) {
    let mut author = Author::new(seed);
    let playbook = author.playbook();
    let site = Site::new().file("site.yml", &playbook.to_string()).file("one.txt", "file one\n").file("tree/q", "q\n");
    site.write("tree/deep/w", "w\n");
    site.write("templates/page.j2", "{{ inventory_hostname }}\n{% for i in [1, 2] %}{{ i }}\n{% endfor %}");
    for (name, tasks) in &author.included {
        site.write(name, &tasks.to_string());
    }
    site.write("host/still", "still\n");
    for name in ["a", "b", "c", "d/x"] {
        if author.maybe(0.5) {
            site.write(&format!("host/{name}"), author.one(&["one\n", "one\ntwo\nk=1\n", ""]));
        }
    }
    if author.maybe(0.3) {
        std::os::unix::fs::symlink(author.one(&["a", "d", "nowhere"]), site.path().join("host/l")).expect("link");
    }

    let host = site.path().join("host");
    let before = picture(&host);
    let check = site.playbook("site.yml --check --diff --output json");
    let mut wrong = Vec::new();
    if picture(&host) != before || site.exists("fetched") {
        wrong.push("the check changed something".to_owned());
    }
    let run = site.playbook("site.yml --diff --output json");
    for (name, ended) in [("check", &check), ("run", &run)] {
        if ![0, 2].contains(&ended.code) {
            wrong.push(format!("the {name} ended with {}: {}", ended.code, ended.stderr));
        }
    }
    let (foreseen, done) = (came(&check), came(&run));
    // That a program would fail nobody can foresee, nor what would follow.
    let failed_program = |event: &Value| event["because"].as_str().is_some_and(|text| text.contains("non-zero return code"));
    if done.values().flatten().any(failed_program) {
        return (wrong, 0, 0);
    }
    let is_unknown = |event: &Value| event["status"] == "unknown";
    let unknown = foreseen.values().flatten().filter(|event| is_unknown(event)).count();
    // That what is unknown would fail, nobody can foresee, nor what a `rescue` would do then.
    let fails = |(name, events): (&String, &Vec<Value>)| {
        let ended = done.get(name)?;
        let failed = |found: &Value| found["status"] == "failed" && found["ignored"] != true;
        let mut both = events.iter().zip(ended);
        both.find(|(expected, found)| is_unknown(expected) && failed(found)).and_then(|(expected, _)| expected["at"].as_u64())
    };
    let end = foreseen.iter().filter_map(fails).min().unwrap_or(u64::MAX);
    let is_sure = |event: &Value| !is_unknown(event) && event["at"].as_u64().is_some_and(|at| at < end);
    let mut count = 0;
    for (name, results) in &done {
        let Some(expected) = foreseen.get(name) else {
            if unknown == 0 {
                wrong.push(format!("{name}: only in the run"));
            }
            continue;
        };
        for (expected, found) in expected.iter().zip(results).filter(|(expected, _)| is_sure(expected)) {
            count += 1;
            if essence(expected) != essence(found) {
                wrong.push(format!(
                    "{name}\n  check {} {}\n  run   {} {}",
                    essence(expected),
                    expected["because"],
                    essence(found),
                    found["because"]
                ));
            }
        }
    }
    if unknown == 0 && (check.code != run.code || foreseen.keys().any(|name| !done.contains_key(name))) {
        wrong.push(format!("the check ended with {}, the run with {}", check.code, run.code));
    }
    if !wrong.is_empty() {
        wrong.insert(0, format!("seed {seed}: {playbook:#}"));
    }
    (wrong, count, unknown)
}

fn compare(seeds: std::ops::Range<u64>) {
    let (mut wrong, mut count, mut unknown) = (Vec::new(), 0, 0);
    let playbooks = seeds.end - seeds.start;
    for seed in seeds {
        let (of_this, compared, not_known) = compared(seed);
        count += compared;
        unknown += not_known;
        if !of_this.is_empty() {
            wrong.push(of_this.join("\n"));
        }
    }
    eprintln!("{playbooks} playbooks: {count} results foreseen, {unknown} unknown, {} playbooks wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_a_check_foresees_is_what_a_run_does() {
    compare(0..40);
}

#[test]
#[ignore = "takes long: 1000 playbooks"]
fn a_thousand_playbooks_do_what_their_checks_foresee() {
    let number = |name: &str, otherwise| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let seed = number("WINDLASS_SEED", 1000);
    compare(seed..seed + number("WINDLASS_PLAYBOOKS", 1000));
}

/// Checks tasks (and handlers) after a command that is registered as `asked`, and returns the status and reason of each result.
fn checked(tasks: &str, handlers: &str) -> Vec<(String, String, String)> {
    let play = "- hosts: localhost\n  gather_facts: false\n  vars: {base: \"{{ playbook_dir }}/host\"}\n";
    let site = Site::new()
        .file("site.yml", &format!("{play}  tasks:\n    - command: echo 1\n      register: asked\n{tasks}  handlers:\n{handlers}    - name: none\n      debug:\n"))
        .file("more.yml", "- name: inner\n  copy: {content: m, dest: \"{{ base }}/more\"}\n- name: again\n  include_tasks: more.yml\n  when: asked.rc == 9\n");
    site.write("host/there", "there\n");
    let before = picture(&site.path().join("host"));
    let run = site.playbook("site.yml --check --output json").success();
    assert_eq!(picture(&site.path().join("host")), before);
    let events = run.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let results = events.filter(|event| event["event"] == "result" && event["task"] != "command");
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    results.map(|event| (text(&event, "task"), text(&event, "status"), text(&event, "because"))).collect()
}

fn statuses(results: &[(String, String, String)]) -> Vec<String> {
    results.iter().map(|(task, status, _)| format!("{task} {status}")).collect()
}

#[test]
fn what_is_done_on_an_unknown_condition_is_unknown_to_the_tasks_after_it() {
    let perhaps = "      when: asked.stdout == '1'\n";
    let came = checked(
        &format!(
            "    - copy: {{content: x, dest: \"{{{{ base }}}}/new\"}}\n{perhaps}\
             \x20   - stat: {{path: \"{{{{ base }}}}/new\"}}\n\
             \x20   - lineinfile: {{path: \"{{{{ base }}}}/new\", line: y}}\n\
             \x20   - file: {{path: \"{{{{ base }}}}/there\", mode: \"0600\"}}\n{perhaps}\
             \x20   - slurp: {{src: \"{{{{ base }}}}/there\"}}\n\
             \x20   - stat: {{path: \"{{{{ base }}}}/there\"}}\n\
             \x20   - copy: {{content: z, dest: \"{{{{ base }}}}/other\"}}\n\
             \x20   - find: {{paths: \"{{{{ base }}}}\"}}\n"
        ),
        "",
    );
    let wanted =
        ["copy unknown", "stat unknown", "lineinfile unknown", "file unknown", "slurp ok", "stat unknown", "copy changed", "find unknown"];
    assert_eq!(statuses(&came), wanted);
    assert_eq!(came[0].2, "whether it is done is not known: would run `echo 1`");
    assert_eq!(came[1].2, "an earlier task may change it: would run `echo 1`");
}

#[test]
fn what_an_unknown_argument_leaves_open_is_unknown_to_the_tasks_after_it() {
    let came = checked(
        "    - lineinfile: {path: \"{{ base }}/there\", line: \"{{ asked.stdout }}\"}\n\
         \x20   - slurp: {src: \"{{ base }}/there\"}\n\
         \x20   - copy: {src: more.yml, dest: \"{{ base }}/\", mode: \"{{ asked.stdout }}\"}\n\
         \x20   - slurp: {src: \"{{ base }}/more.yml\"}\n\
         \x20   - copy: {content: z, dest: \"{{ base }}/other\"}\n",
        "",
    );
    assert_eq!(statuses(&came), ["lineinfile unknown", "slurp unknown", "copy unknown", "slurp unknown", "copy changed"]);
    let came = checked(
        "    - copy: {content: \"{{ asked.stdout }}\", dest: \"{{ base }}/{{ asked.stdout }}\"}\n\
         \x20   - command: \"true\"\n\
         \x20   - slurp: {src: \"{{ base }}/perhaps\"}\n",
        "",
    );
    assert_eq!(statuses(&came), ["copy unknown", "slurp unknown"], "it may be the file that the first task writes");
}

#[test]
fn variables_that_are_set_on_an_unknown_condition_are_unknown() {
    let came = checked(
        "    - set_fact: {x: 1}\n      when: asked.rc == 0\n\
         \x20   - assert: {that: x == 1}\n\
         \x20   - include_vars: vars.yml\n      when: asked.rc == 0\n      ignore_errors: true\n",
        "",
    );
    assert_eq!(statuses(&came), ["set_fact unknown", "assert unknown", "include_vars unknown"]);
}

#[test]
fn what_no_log_hides_is_not_told_as_the_reason_of_a_later_task() {
    let site = Site::new().file(
        "site.yml",
        r#"
- hosts: localhost
  gather_facts: false
  vars: {base: "{{ playbook_dir }}/host"}
  tasks:
    - name: asks
      command: echo hush-hush creates={{ base }}/made
      no_log: true
      register: asked
    - debug: msg={{ asked.stdout }}
    - copy: {content: x, dest: "{{ base }}/new"}
      when: asked.rc == 0
    - stat: {path: "{{ base }}/new"}
    - slurp: {src: "{{ base }}/made"}
    - name: checked by a program
      copy: {content: "hush-hush\n", dest: "{{ base }}/there", validate: "sh -c 'cat %s >&2; false'"}
      no_log: true
    - slurp: {src: "{{ base }}/there"}
    - set_fact: {x: "{{ asked.stdout }}"}
    - file: {path: "{{ x }}", state: touch}
"#,
    );
    site.write("host/there", "there\n");
    for form in ["windlass", "ansible", "json"] {
        let run = site.playbook(&format!("site.yml --check --diff -vvv --output {form}")).success();
        assert!(!run.all().contains("hush-hush"), "{}", run.all());
        assert!(run.all().contains("what came of `asks` is hidden by `no_log`"), "{}", run.all());
    }
}

#[test]
fn what_comes_after_an_end_in_doubt_is_unknown() {
    for action in ["end_host", "end_play", "end_batch"] {
        let came = checked(
            &format!(
                "    - ping:\n    - meta: {action}\n      when: asked.rc == 1\n    - copy: {{content: x, dest: \"{{{{ base }}}}/new\"}}\n"
            ),
            "",
        );
        assert_eq!(statuses(&came), ["ping ok".to_owned(), format!("{action} unknown"), "copy unknown".to_owned()]);
    }
}

#[test]
fn includes_and_handlers_in_doubt_are_shown_with_what_they_would_do() {
    let came = checked(
        "    - name: outer\n      include_tasks: more.yml\n      when: asked.rc == 0\n\
         \x20   - stat: {path: \"{{ base }}/more\"}\n\
         \x20   - copy: {content: x, dest: \"{{ base }}/new\"}\n      when: asked.rc == 0\n      notify: h\n\
         \x20   - copy: {content: \"there\\n\", dest: \"{{ base }}/there\"}\n      when: asked.rc == 0\n      notify: none\n\
         \x20   - meta: flush_handlers\n\
         \x20   - stat: {path: \"{{ base }}/handled\"}\n",
        "    - name: h\n      copy: {content: h, dest: \"{{ base }}/handled\"}\n",
    );
    // What includes itself is followed once; what would change nothing notifies nobody.
    let wanted =
        ["inner unknown", "inner unknown", "again unknown", "stat unknown", "copy unknown", "copy unknown", "h unknown", "stat unknown"];
    assert_eq!(statuses(&came), wanted);
    assert_eq!(came[6].2, "whether it is done is not known: `copy` cannot be predicted, and would notify it");
}
