//! Runs that broke off and go on: what is done is not done again, and nothing is forgotten.
#![allow(clippy::panic, clippy::disallowed_methods, reason = "tests set up files and start programs of their own")]

mod harness;

use harness::Site;

/// A playbook whose third command fails until the file `go` is there.
const BROKEN: &str = r#"
- hosts: localhost
  gather_facts: false
  tasks:
    - shell: echo one >> log; echo token
      register: first
      notify: tell
    - set_fact: got="{{ first.stdout }}"
    - shell: test -e go && echo two {{ got }} >> log
    - shell: echo three >> log
  handlers:
    - name: tell
      shell: echo handler {{ first.stdout }} >> log
"#;

#[test]
fn a_run_goes_on_where_it_broke_off() {
    let site = Site::new().file("site.yml", BROKEN);
    let broken = site.playbook("site.yml").code(2);
    assert!(broken.stdout.contains("windlass resume"), "{}", broken.stdout);
    assert_eq!(site.read("log"), "one\n");

    site.write("go", "");
    let resumed = site.run(["resume"]).success();
    assert_eq!(site.read("log"), "one\ntwo token\nthree\nhandler token\n");
    assert_eq!(resumed.count("localhost", "ok"), 5, "{}", resumed.stdout);

    let again = site.run(["resume"]).success();
    assert!(again.stdout.contains("nothing to resume"), "{}", again.stdout);
    let shown = site.run(["runs"]).success();
    assert!(shown.stdout.contains("done"), "{}", shown.stdout);
}

#[test]
fn handlers_that_a_run_owes_are_told_at_the_next_run() {
    let site = Site::new().file("site.yml", BROKEN);
    let _ = site.playbook("site.yml").code(2);
    let next = site.playbook("site.yml").code(2);
    assert!(next.stdout.contains("still owes handlers to localhost: tell"), "{}", next.stdout);
}

#[test]
fn files_that_changed_are_named_before_anything_is_done() {
    let site = Site::new().file("site.yml", BROKEN);
    let _ = site.playbook("site.yml").code(2);
    site.write("site.yml", &BROKEN.replace("three", "four"));
    site.write("go", "");
    let refused = site.run(["resume"]).code(1);
    assert!(refused.stderr.contains("have changed since the run began: $SITE/site.yml"), "{}", refused.stderr);
    assert_eq!(site.read("log"), "one\n");
    let _ = site.run(["resume", "--changed-files"]).success();
    assert_eq!(site.read("log"), "one\ntwo token\nfour\nhandler token\n");
}

#[test]
fn a_block_that_was_taken_back_is_done_again_from_its_start() {
    let playbook = r#"
- hosts: localhost
  gather_facts: false
  tasks:
    - block:
        - copy: {content: "off", dest: "{{ playbook_dir }}/allocation"}
        - shell: echo once >> log
        - shell: test -e go && cat allocation >> log
      always:
        - copy: {content: "on", dest: "{{ playbook_dir }}/allocation"}
"#;
    let site = Site::new().file("site.yml", playbook);
    let _ = site.playbook("site.yml").code(2);
    assert_eq!(site.read("allocation"), "on");
    site.write("go", "");
    let _ = site.run(["resume"]).success();
    // The file was switched off again before the command that needs it so; the command that was done was not done again.
    assert_eq!(site.read("log"), "once\noff");
    assert_eq!(site.read("allocation"), "on");
}

#[test]
fn a_command_that_broke_off_in_the_middle_is_asked_about() {
    let playbook =
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - shell: echo begun >> log; sleep 20\n    - shell: echo after >> log\n";
    let site = Site::new().file("site.yml", playbook);
    let mut child = site.command(["playbook", "site.yml"]).spawn().expect("starts");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !site.exists("log") {
        assert!(std::time::Instant::now() < until, "it never began");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().expect("kill");
    let _ = child.wait();
    let asked = site.run(["resume"]).code(2);
    assert!(asked.stdout.contains("nobody knows how far it came"), "{}", asked.stdout);
    assert_eq!(site.read("log"), "begun\n");
    let _ = site.run(["resume", "--unsure", "skip"]).success();
    assert_eq!(site.read("log"), "begun\nafter\n");
}

#[test]
fn a_command_that_the_user_ended_in_the_middle_is_asked_about() {
    let playbook = r#"
- hosts: localhost
  gather_facts: false
  tasks:
    - block:
        - shell: echo begun >> log; sleep 60
          failed_when: false
        - shell: echo after >> log
      always:
        - shell: echo cleaned >> log
"#;
    let site = Site::new().file("site.yml", playbook);
    let child = site.command(["playbook", "site.yml"]).stdout(std::process::Stdio::piped()).spawn().expect("starts");
    let process = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("id"));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !site.exists("log") {
        assert!(std::time::Instant::now() < until, "it never began");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for _ in 0..2 {
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGINT).expect("signal");
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    let ended = child.wait_with_output().expect("output");
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.code() == Some(130) && told.contains("it was ended by Ctrl-C, and nobody knows how far it came"), "{told}");
    assert_eq!(site.read("log"), "begun\ncleaned\n");

    for _ in 0..2 {
        let asked = site.run(["resume"]).code(2);
        assert!(asked.stdout.contains("nobody knows how far it came"), "{}", asked.stdout);
        assert_eq!(site.read("log"), "begun\ncleaned\n");
    }
    let _ = site.run(["resume", "--unsure", "skip"]).success();
    assert_eq!(site.read("log"), "begun\ncleaned\nafter\ncleaned\n");
}

#[test]
fn of_a_loop_of_commands_only_what_is_not_done_is_asked_about() {
    let playbook = r#"
- hosts: localhost
  gather_facts: false
  tasks:
    - shell: echo {{ item }} >> log; {{ 'sleep 20' if item == 'b' else 'true' }}
      loop: [a, b, c]
      register: it
    - copy: {content: "{{ it.results | map(attribute='changed') | list }}", dest: "{{ playbook_dir }}/end"}
"#;
    let site = Site::new().file("site.yml", playbook);
    let mut child = site.command(["playbook", "site.yml"]).spawn().expect("starts");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !site.exists("log") || site.read("log") != "a\nb\n" {
        assert!(std::time::Instant::now() < until, "it never began");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().expect("kill");
    let _ = child.wait();
    let asked = site.run(["resume", "--output", "json"]).code(2);
    assert_eq!(asked.stdout.matches(r#""event":"item""#).count(), 2, "a is done, b is asked about, c waits: {}", asked.stdout);
    assert!(asked.stdout.contains("nobody knows how far it came"), "{}", asked.stdout);
    let _ = site.run(["resume", "--unsure", "skip"]).success();
    assert_eq!(site.read("log"), "a\nb\nc\n");
    assert_eq!(site.read("end"), "[true, true, true]");
}

#[test]
fn a_handler_that_ran_before_its_time_runs_again_after_what_is_done_later() {
    let playbook = r#"
- hosts: localhost
  gather_facts: false
  force_handlers: true
  tasks:
    - copy: {content: one, dest: "{{ playbook_dir }}/one"}
      notify: restart
    - shell: test -e go
    - copy: {content: two, dest: "{{ playbook_dir }}/two"}
      notify: restart
  handlers:
    - name: restart
      shell: echo $(ls one two 2>/dev/null) >> log
"#;
    let site = Site::new().file("site.yml", playbook);
    let _ = site.playbook("site.yml").code(2);
    assert_eq!(site.read("log"), "one\n");
    site.write("go", "");
    let _ = site.run(["resume"]).success();
    assert_eq!(site.read("log"), "one\none two\n");
}

#[test]
fn a_journal_holds_no_secret_and_shows_that_it_was_changed() {
    let playbook = "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - shell: echo {{ word }}\n      no_log: true\n      register: it\n    - fail: msg=no\n";
    let site = Site::new().file("site.yml", playbook);
    let _ = site.playbook("site.yml -e word=correcthorse").code(2);
    let runs = site.path().join("home/.local/state/windlass/runs");
    let run = std::fs::read_dir(&runs).expect("runs").next().expect("one").expect("entry").path();
    let journal = std::fs::read_to_string(run.join("journal")).expect("journal");
    assert!(!journal.contains("correcthorse"), "{journal}");
    std::fs::write(run.join("journal"), journal.replace("\"code\":2", "\"code\":0")).expect("write");
    // The last line's own hash stands nowhere but in what was printed; a line before it cannot be changed unseen.
    let changed = journal.replacen("\"play\"", "\"task\"", 1).replacen("localhost", "otherhost", 1);
    std::fs::write(run.join("journal"), changed).expect("write");
    let told = site.run(["resume"]).code(1);
    assert!(told.stderr.contains("it was changed") || told.stderr.contains("is damaged"), "{}", told.stderr);
}

#[test]
fn what_a_role_is_given_wrongly_is_in_the_record_and_is_right_when_the_run_is_resumed() {
    let playbook = "- hosts: localhost\n  gather_facts: false\n  roles: [{role: r, size: wrong}]\n  tasks:\n    - command: test -e go\n";
    let site = Site::new()
        .file("site.yml", playbook)
        .file("roles/r/meta/argument_specs.yml", "argument_specs: {main: {options: {size: {type: int}}}}\n")
        .file("roles/r/tasks/main.yml", "- debug: msg={{ size }}\n");
    let _ = site.playbook("site.yml").code(2);
    let shown = site.run(["report"]).success();
    assert!(shown.stdout.contains("the role `r` is used wrongly"), "{}", shown.stdout);

    site.write("site.yml", &playbook.replace("wrong", "80"));
    let _ = site.run(["resume", "--changed-files"]).code(2);
    site.write("go", "");
    let resumed = site.run(["resume", "--changed-files", "--output", "json"]).success();
    assert_eq!(earlier(&resumed.stdout), [true, true, false], "{}", resumed.stdout);
    let shown = site.run(["report"]).success();
    assert!(!shown.stdout.contains("used wrongly"), "{}", shown.stdout);
}

/// Returns of each result whether it is told to be that of an earlier part of the run.
fn earlier(stdout: &str) -> Vec<bool> {
    let events = stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    events.filter(|event| event["event"] == "result").map(|event| event["earlier"] == true).collect()
}

#[test]
fn programs_are_told_which_steps_were_done_earlier_also_of_those_that_are_hidden() {
    let playbook =
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - shell: echo one\n      no_log: true\n    - shell: test -e go\n";
    let site = Site::new().file("site.yml", playbook);
    let _ = site.playbook("site.yml").code(2);
    site.write("go", "");
    let resumed = site.run(["resume", "--output", "json"]).success();
    assert_eq!(earlier(&resumed.stdout), [true, false], "{}", resumed.stdout);
}
