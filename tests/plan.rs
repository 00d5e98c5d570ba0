//! Plans: what is approved is what is done, and nothing else.
#![allow(clippy::panic, clippy::disallowed_methods, reason = "tests set up files and start programs of their own")]

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use harness::{Run, Site};

/// A playbook for hosts that are folders of this machine: files, attributes, links, a loop, a template and a handler.
const SITE: &str = r#"
- hosts: all
  connection: local
  gather_facts: false
  vars_files: [vars.yml]
  tasks:
    - name: Configuration
      copy: {content: "port={{ port }}\n", dest: "{{ root }}/conf", mode: "0640"}
      notify: Told
    - name: One more line
      lineinfile: {path: "{{ root }}/conf", line: "name={{ inventory_hostname }}"}
    - name: A template
      template: {src: t.j2, dest: "{{ root }}/templated"}
    - name: Many
      copy: {content: "{{ item }}\n", dest: "{{ root }}/many-{{ item }}"}
      loop: "{{ items }}"
    - name: A link
      file: {src: conf, dest: "{{ root }}/link", state: link}
    - name: Private
      file: {path: "{{ root }}/private", mode: "0600"}
    - name: Gone
      file: {path: "{{ root }}/old", state: absent}
    - name: As it is
      copy: {content: "same\n", dest: "{{ root }}/same"}
    - name: Not here
      copy: {content: "x", dest: "{{ root }}/never"}
      when: port | int > 9000
  handlers:
    - name: Told
      copy: {content: "told\n", dest: "{{ root }}/told"}
"#;

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

fn site() -> Site {
    let site = Site::new();
    user_files(&site);
    host_files(&site);
    site
}

fn user_files(site: &Site) {
    site.write("site.yml", SITE);
    site.write("vars.yml", "port: 8080\nitems: [x, y, z]\n");
    site.write("t.j2", "{{ inventory_hostname }} listens on {{ port }}\n");
    site.write("hosts.ini", &format!("{}\n[all:vars]\nroot={{{{ playbook_dir }}}}/hosts/{{{{ inventory_hostname }}}}\n", HOSTS.join("\n")));
}

/// Puts the hosts back to how they were when the plan was made.
fn host_files(site: &Site) {
    let _ = fs::remove_dir_all(site.path().join("hosts"));
    for host in HOSTS {
        for (name, text) in
            [("conf", "port=80\n"), ("private", "p\n"), ("old", "o\n"), ("same", "same\n"), ("many-x", "x\n"), ("many-y", "?\n")]
        {
            site.write(&format!("hosts/{host}/{name}"), text);
            let path = site.path().join(format!("hosts/{host}/{name}"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("mode");
        }
        std::os::unix::fs::symlink("old", site.path().join(format!("hosts/{host}/link"))).expect("link");
    }
}

/// Returns everything there is of the hosts: what kind of thing, mode, owner and content.
fn picture(site: &Site) -> BTreeMap<String, String> {
    fn look(path: &Path, into: &mut BTreeMap<String, String>) {
        let Ok(entries) = fs::read_dir(path) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let of = path.symlink_metadata().expect("there");
            let content = if of.is_symlink() {
                fs::read_link(&path).expect("link").display().to_string()
            } else {
                fs::read_to_string(&path).unwrap_or_default()
            };
            into.insert(path.display().to_string(), format!("{:o} {} {} {content}", of.mode(), of.uid(), of.gid()));
            if of.is_dir() {
                look(&path, into);
            }
        }
    }
    let mut all = BTreeMap::new();
    look(&site.path().join("hosts"), &mut all);
    all
}

fn plan(site: &Site, words: &str) -> Run {
    site.run(format!("plan -i hosts.ini site.yml -o the.plan {words}").split_whitespace())
}

fn apply(site: &Site, words: &str) -> Run {
    site.run(format!("apply the.plan {words}").split_whitespace())
}

#[test]
fn an_approved_plan_is_done_exactly_and_once() {
    let site = site();
    let before = picture(&site);
    let made = plan(&site, "--detailed-exitcode --ticket CHG-7").code(10);
    assert!(made.stdout.contains("plan the.plan: "), "{}", made.stdout);
    assert_eq!(picture(&site), before);
    assert_eq!(site.path().join("the.plan").metadata().expect("plan").mode() & 0o777, 0o600);

    let shown = site.run(["show", "the.plan"]).success().stdout;
    for part in ["TASK Configuration", "+port=8080", "HANDLER Told", "skipped", "CHG-7", "inventory  hosts.ini", "signed by  nobody"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let json: serde_json::Value = serde_json::from_str(&site.run(["show", "the.plan", "--json"]).success().stdout).expect("JSON");
    let page = site.run(["show", "the.plan", "--html"]).success().stdout;
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("+port=8080"), "{page}");

    let applied = apply(&site, "").success();
    assert!(applied.stdout.contains("Configuration"), "{}", applied.stdout);
    assert_eq!(site.read("hosts/c/conf"), "port=8080\nname=c\n");
    assert_eq!(site.read("hosts/d/told"), "told\n");
    assert!(!site.exists("hosts/a/old") && !site.exists("hosts/a/never"));
    let journal = site.run(["runs", "show", "--json"]).success().stdout;
    let began: serde_json::Value = serde_json::from_str(journal.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&began["plan"], &began["ticket"]), (&json["sha256"], &"CHG-7".into()));

    let after = picture(&site);
    let again = apply(&site, "").code(12);
    assert!(again.stdout.contains("DRIFT  a") && again.stdout.contains("DRIFT  d"), "{}", again.stdout);
    assert_eq!(picture(&site), after);
}

#[test]
fn a_check_says_by_its_code_whether_anything_would_change() {
    let play = |tasks: &str| format!("- hosts: localhost\n  gather_facts: false\n  tasks:\n{tasks}");
    let site = Site::new();
    for (tasks, code) in [
        ("    - copy: {content: x, dest: '{{ playbook_dir }}/there'}\n", 0),
        ("    - copy: {content: y, dest: '{{ playbook_dir }}/there'}\n", 10),
        ("    - command: make\n    - copy: {content: y, dest: '{{ playbook_dir }}/there'}\n", 11),
        ("    - command: make\n    - fail: {msg: no}\n", 2),
    ] {
        site.write("there", "x");
        site.write("site.yml", &play(tasks));
        let _ = site.playbook("site.yml --check --detailed-exitcode").code(code);
        let made = site.run(["plan", "site.yml", "-o", "the.plan", "--detailed-exitcode"]).code(code);
        assert_eq!(site.exists("the.plan"), code != 2, "{}", made.all());
        let _ = fs::remove_file(site.path().join("the.plan"));
    }
    let _ = site.playbook("site.yml --check").code(2);
}

/// Numbers that look random, the same in each run of the test.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("fits") % most
    }
}

/// Moves something, and says what.
fn move_something(site: &Site, dice: &mut Dice, round: usize) -> String {
    let host = HOSTS[dice.below(HOSTS.len())];
    let path = |name: &str| site.path().join(format!("hosts/{host}/{name}"));
    let chosen = |dice: &mut Dice, names: &[&str]| names[dice.below(names.len())].to_owned();
    match round % 16 {
        0 => {
            let name = chosen(dice, &["conf", "same", "many-x", "many-y"]);
            site.write(&format!("hosts/{host}/{name}"), "moved\n");
            format!("{host}: {name} has other content")
        }
        1 => {
            let name = chosen(dice, &["conf", "private", "old", "same", "many-x", "link"]);
            fs::remove_file(path(&name)).expect("remove");
            format!("{host}: {name} is gone")
        }
        2 => {
            let name = chosen(dice, &["templated", "told", "many-z"]);
            site.write(&format!("hosts/{host}/{name}"), "here already\n");
            format!("{host}: {name} is there")
        }
        3 => {
            fs::set_permissions(path("private"), fs::Permissions::from_mode(0o666)).expect("mode");
            format!("{host}: private has another mode")
        }
        4 => {
            fs::set_permissions(path("private"), fs::Permissions::from_mode(0o600)).expect("mode");
            format!("{host}: private has its mode already")
        }
        5 => {
            // Only root can give files away; others move the mode.
            if std::os::unix::fs::chown(path("private"), Some(12345), None).is_err() {
                fs::set_permissions(path("private"), fs::Permissions::from_mode(0o604)).expect("mode");
            }
            format!("{host}: private has another owner")
        }
        6 => {
            fs::remove_file(path("link")).expect("remove");
            std::os::unix::fs::symlink("same", path("link")).expect("link");
            format!("{host}: the link points elsewhere")
        }
        7 => {
            fs::remove_file(path("old")).expect("remove");
            fs::create_dir(path("old")).expect("folder");
            format!("{host}: old is a folder")
        }
        8 => {
            fs::remove_dir_all(site.path().join(format!("hosts/{host}"))).expect("remove");
            format!("{host} is empty")
        }
        9 => {
            site.write("site.yml", &SITE.replace("mode: \"0640\"", "mode: \"0644\""));
            "the playbook asks for another mode".to_owned()
        }
        10 => {
            site.write("site.yml", &format!("{SITE}# a comment\n"));
            "the playbook has a comment".to_owned()
        }
        11 => {
            site.write("vars.yml", "port: 8081\nitems: [x, y, z]\n");
            "a variable is another".to_owned()
        }
        12 => {
            site.write("t.j2", "{{ inventory_hostname }} listens no more\n");
            "the template is another".to_owned()
        }
        13 => {
            site.write("hosts.ini", &site.read("hosts.ini").replace("d\n", "d\ne\n"));
            "there is one host more".to_owned()
        }
        14 => {
            site.write("hosts.ini", &site.read("hosts.ini").replace("b\n", ""));
            "there is one host less".to_owned()
        }
        _ => {
            let mut bytes = fs::read(site.path().join("the.plan")).expect("plan");
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(7);
            fs::write(site.path().join("the.plan"), bytes).expect("write");
            format!("byte {at} of the plan is another")
        }
    }
}

#[test]
fn whatever_moves_is_refused_before_anything_is_changed() {
    let site = site();
    let _ = plan(&site, "").success();
    let approved = fs::read(site.path().join("the.plan")).expect("plan");
    let mut dice = Dice(20);
    for round in 0..100 {
        user_files(&site);
        host_files(&site);
        fs::write(site.path().join("the.plan"), &approved).expect("write");
        let moved = move_something(&site, &mut dice, round);
        let before = picture(&site);
        let refused = apply(&site, "");
        let wanted = if moved.contains("of the plan") { 1 } else { 12 };
        assert_eq!(refused.code, wanted, "round {round}: {moved}\n{}", refused.all());
        assert_eq!(picture(&site), before, "round {round}: {moved}\n{}", refused.all());
        let named = moved.split(':').next().unwrap_or_default();
        if wanted == 12 && HOSTS.contains(&named) {
            assert!(refused.stdout.contains(&format!("DRIFT  {named}")), "{moved}\n{}", refused.all());
        }
    }
    user_files(&site);
    host_files(&site);
    fs::write(site.path().join("the.plan"), &approved).expect("write");
    let _ = apply(&site, "").success();
    assert_eq!(site.read("hosts/a/conf"), "port=8080\nname=a\n");
}

#[test]
fn unknown_steps_have_to_be_allowed_and_what_they_move_is_refused() {
    let playbook = r#"
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - name: Make
      shell: test ! -e {{ playbook_dir }}/evil || echo evil > {{ playbook_dir }}/conf; echo made
      register: made
    - name: Depends
      copy: {content: "{{ made.stdout }}\n", dest: "{{ playbook_dir }}/depends"}
    - name: Bound
      copy: {content: "good\n", dest: "{{ playbook_dir }}/conf"}
      ignore_errors: true
      failed_when: false
"#;
    let site = Site::new().file("site.yml", playbook).file("hosts.ini", "a\n").file("conf", "old\n");
    let made = plan(&site, "--detailed-exitcode").code(11);
    assert!(made.stdout.contains("unknown: `Make` on a") && made.stdout.contains("unknown: `Depends` on a"), "{}", made.stdout);
    let refused = apply(&site, "").code(11);
    assert!(refused.stderr.contains("`Depends` on a") && refused.stderr.contains("--allow-unknown"), "{}", refused.stderr);
    let refused = apply(&site, "--allow-unknown Make").code(11);
    assert!(!refused.stderr.contains("`Make` on a"), "{}", refused.stderr);
    let _ = apply(&site, "--allow-unknown Nothing").code(1);
    assert!(!site.exists("depends"));

    site.write("evil", "");
    let moved = apply(&site, "--allow-unknown all").code(12);
    assert!(moved.stdout.contains("no longer as it was when the plan was approved"), "{}", moved.all());
    assert_eq!((site.read("conf"), site.read("depends")), ("evil\n".to_owned(), "made\n".to_owned()));

    fs::remove_file(site.path().join("evil")).expect("remove");
    fs::remove_file(site.path().join("depends")).expect("remove");
    site.write("conf", "old\n");
    let _ = apply(&site, "--allow-unknown Make --allow-unknown Depends").success();
    assert_eq!((site.read("conf"), site.read("depends")), ("good\n".to_owned(), "made\n".to_owned()));
}

#[test]
fn a_temporary_folder_can_be_approved_though_nobody_knows_its_name() {
    let playbook = r#"
- hosts: a
  connection: local
  gather_facts: false
  tasks:
    - name: Room
      tempfile: {state: directory, path: "{{ playbook_dir }}"}
      register: room
    - name: Use
      copy: {content: "x\n", dest: "{{ room.path }}/used"}
    - name: Keep
      copy: {src: "{{ room.path }}/used", dest: "{{ playbook_dir }}/kept", remote_src: true}
    - name: Gone
      file: {path: "{{ room.path }}", state: absent}
"#;
    let site = Site::new().file("hosts.ini", "a\n").file("site.yml", playbook);
    let made = plan(&site, "--detailed-exitcode").code(11);
    assert!(!made.stdout.contains("unknown: `Room`") && made.stdout.contains("unknown: `Use` on a"), "{}", made.stdout);
    let _ = apply(&site, "--allow-unknown all").success();
    assert_eq!(site.read("kept"), "x\n");
    // Another folder than the one approved is refused.
    site.write("site.yml", &playbook.replace("path: \"{{ playbook_dir }}\"}", "path: \"{{ playbook_dir }}/other\"}"));
    site.write("other/x", "");
    let _ = apply(&site, "--allow-unknown all").code(12);
}

#[test]
fn what_may_be_done_is_approved_with_what_it_would_do() {
    let playbook = r#"
- hosts: a
  connection: local
  gather_facts: false
  tasks:
    - name: Asks
      shell: cat {{ playbook_dir }}/answer
      register: asked
    - name: Perhaps
      copy: {content: "{{ text }}\n", dest: "{{ playbook_dir }}/perhaps"}
      when: asked.stdout == 'yes'
    - name: More
      include_tasks: more.yml
      when: asked.stdout == 'yes'
"#;
    let site = Site::new().file("hosts.ini", "a text=hello\n").file("site.yml", playbook).file("answer", "no");
    site.write("more.yml", "- name: Within\n  copy: {content: w, dest: \"{{ playbook_dir }}/within\"}\n");
    let made = plan(&site, "--detailed-exitcode").code(11);
    for step in ["Asks", "Perhaps", "Within"] {
        assert!(made.stdout.contains(&format!("unknown: `{step}` on a")), "{}", made.stdout);
    }
    let shown = site.run(["show", "the.plan"]).success();
    assert!(shown.stdout.contains("+hello"), "{}", shown.stdout);
    let _ = apply(&site, "--allow-unknown Asks").code(11);
    // The condition does not hold: nothing of it is done, and nothing is refused.
    let _ = apply(&site, "--allow-unknown all").success();
    assert!(!site.exists("perhaps") && !site.exists("within"));
    // It holds, but what would be written is no longer what was approved.
    site.write("answer", "yes");
    site.write("hosts.ini", "a text=bye\n");
    let moved = apply(&site, "--allow-unknown all").code(12);
    assert!(!site.exists("perhaps"), "{}", moved.all());
    site.write("hosts.ini", "a text=hello\n");
    let _ = apply(&site, "--allow-unknown all").success();
    assert_eq!((site.read("perhaps"), site.read("within")), ("hello\n".to_owned(), "w".to_owned()));
}

#[test]
fn what_only_computes_from_an_unknown_value_is_done_as_approved() {
    let playbook = r#"
- hosts: a
  connection: local
  gather_facts: false
  tasks:
    - name: Asks
      command: printf 'x\ny'
      register: asked
    - name: Tells
      debug: {msg: "got {{ item }}"}
      loop: "{{ asked.stdout_lines }}"
    - name: Sets
      set_fact: {last: "{{ asked.stdout_lines | last }}"}
    - name: Holds
      assert: {that: last == 'y'}
"#;
    let site = Site::new().file("hosts.ini", "a\n").file("site.yml", playbook);
    let _ = site.run("plan -i hosts.ini site.yml -o the.plan".split(' ')).success();
    let _ = site.run(["apply", "the.plan"]).code(11);
    let applied = site.run(["apply", "the.plan", "--allow-unknown", "Asks"]).success();
    assert!(applied.stdout.contains("got x") && applied.stdout.contains("got y"), "{}", applied.all());
    assert!(applied.stdout.contains("cannot be undone: Asks on a"), "{}", applied.all());
}

#[test]
fn a_run_of_a_plan_that_is_resumed_is_still_bound() {
    let playbook = r#"
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - name: First
      copy: {content: "one\n", dest: "{{ playbook_dir }}/one"}
    - name: Gate
      shell: test -e {{ playbook_dir }}/go
    - name: Last
      copy: {content: "two\n", dest: "{{ playbook_dir }}/two"}
"#;
    let site = Site::new().file("site.yml", playbook).file("hosts.ini", "a\n");
    let _ = plan(&site, "").success();
    let _ = apply(&site, "--allow-unknown Gate").code(2);
    fs::remove_file(site.path().join("the.plan")).expect("remove");
    site.write("go", "");
    site.write("two", "somebody else's\n");
    let refused = site.run(["resume"]).code(12);
    assert!(refused.stdout.contains("no longer as it was when the plan was approved"), "{}", refused.all());
    assert_eq!(site.read("two"), "somebody else's\n");
    fs::remove_file(site.path().join("two")).expect("remove");
    let _ = site.run(["resume"]).success();
    assert_eq!(site.read("two"), "two\n");
}

#[test]
fn a_host_that_cannot_be_reached_is_no_drift() {
    let hosts =
        "a ansible_connection=local\nb ansible_host=127.0.0.1 ansible_port=1\n[all:vars]\nansible_connection={{ lookup('env', 'WAY') }}\n";
    let playbook = "- hosts: all\n  gather_facts: false\n  tasks:\n    - copy: {content: x, dest: \"{{ playbook_dir }}/x-{{ inventory_hostname }}\"}\n";
    let site = Site::new().file("hosts.ini", hosts).file("site.yml", playbook);
    let go = |words: &[&str], way: &str| {
        let output = site.command(words).env("WAY", way).output().expect("windlass");
        site.finish(output)
    };
    let _ = go(&["plan", "-i", "hosts.ini", "site.yml", "-o", "none/the.plan"], "local").code(1);
    let _ = go(&["plan", "-i", "hosts.ini", "site.yml", "-o", "the.plan"], "local").success();
    let lost = go(&["apply", "the.plan"], "ssh").code(4);
    for part in ["the plan is not begun, as b cannot be reached; nothing was changed", "apply it again"] {
        assert!(lost.stdout.contains(part) && !lost.stdout.contains("DRIFT"), "{}", lost.all());
    }
    assert!(!site.exists("x-a"));
    let _ = go(&["apply", "the.plan"], "local").success();
    assert!(site.exists("x-a") && site.exists("x-b"));
}

#[test]
fn a_signature_is_checked_and_can_be_asked_for() {
    let site = site();
    for name in ["k1", "k2"] {
        let path = site.path().join(name);
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().expect("ssh-keygen");
        assert!(made.success());
    }
    let before = picture(&site);
    let _ = plan(&site, "").success();
    let refused = apply(&site, "--require-signature --trusted-key k1.pub").code(1);
    assert!(refused.stderr.contains("is not signed"), "{}", refused.stderr);
    let _ = plan(&site, "--sign-key k1").success();
    let refused = apply(&site, "--require-signature --trusted-key k2.pub").code(1);
    assert!(refused.stderr.contains("not trusted"), "{}", refused.stderr);
    let whole = site.read("the.plan");
    // A forger can make the checksum fit, but not the signature.
    let (body, tail) = whole.trim_end().rsplit_once('\n').expect("lines");
    let forged = format!("{}\n", body.replacen("\"ticket\":null", "\"ticket\":\"x\"", 1));
    assert_ne!(format!("{body}\n"), forged);
    let mut tail: serde_json::Value = serde_json::from_str(tail).expect("JSON");
    tail["sha256"] = windlass::change::digest::sha256(forged.as_bytes()).into();
    site.write("the.plan", &format!("{forged}{tail}\n"));
    let refused = apply(&site, "").code(1);
    assert!(refused.stderr.contains("its signature does not fit"), "{}", refused.stderr);
    assert_eq!(picture(&site), before);
    site.write("the.plan", &whole);
    let _ = apply(&site, "--require-signature --trusted-key k2.pub --trusted-key k1.pub").success();
}

#[test]
fn no_secret_is_in_a_plan_or_in_what_is_shown_of_it() {
    let playbook = r#"
- hosts: all
  connection: local
  gather_facts: false
  vars_files: [vault.yml]
  tasks:
    - name: Vaulted
      copy: {content: "word={{ vaulted }}\n", dest: "{{ playbook_dir }}/vaulted"}
    - name: Hidden
      copy: {content: "hush-hidden\n", dest: "{{ playbook_dir }}/hidden-{{ typed }}"}
      no_log: true
    - name: In a loop
      shell: cat > {{ playbook_dir }}/looped
      args: {stdin: "{{ item }}"}
      loop: ["{{ vaulted }}", "b"]
"#;
    let site = Site::new()
        .file("site.yml", playbook)
        .file("hosts.ini", "a\n")
        .file("password", "for-the-vault\n")
        .file("vault.yml", "vaulted: hush-vaulted\n")
        .file("more.yml", "typed: hush-typed\n");
    let _ = site.run(["vault", "encrypt", "--vault-password-file", "password", "vault.yml"]).success();
    let _ = site.run(["vault", "encrypt", "--vault-password-file", "password", "more.yml"]).success();
    let flags = "--vault-password-file password -e @more.yml -e said=hush-said -vvv";
    let mut texts = vec![plan(&site, flags).success().all(), site.read("the.plan")];
    for form in ["", "--json", "--html"] {
        texts.push(site.run(format!("show the.plan {form}").split_whitespace()).success().all());
    }
    site.write("vaulted", "moved\n");
    texts.push(apply(&site, "--allow-unknown all").code(12).all());
    fs::remove_file(site.path().join("vaulted")).expect("remove");
    for form in ["windlass", "ansible", "json"] {
        let applied = apply(&site, &format!("--allow-unknown all --output {form} -vvv"));
        texts.push(applied.all());
    }
    assert_eq!(site.read("vaulted"), "word=hush-vaulted\n");
    for text in &texts {
        // `said` is given openly on the command line; the plan keeps it sealed all the same.
        for secret in ["hush-vaulted", "hush-hidden", "hush-typed", "hush-said", "for-the-vault", "aHVzaC"] {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{secret} in {line:?}");
        }
    }
}
