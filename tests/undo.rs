//! The way back of what a run does on this machine itself, without a server.
#![allow(clippy::panic, clippy::disallowed_methods, reason = "tests set up files and start programs of their own")]

mod harness;

use harness::Site;

const HOSTS: &str = "a ansible_connection=local\nb ansible_connection=local\nlocalhost ansible_connection=local\n";

#[test]
fn what_was_done_on_this_machine_is_taken_back() {
    let playbook = r#"
- hosts: a:b
  gather_facts: false
  tasks:
    - name: Both
      lineinfile: {path: "{{ playbook_dir }}/shared", line: "{{ inventory_hostname }}"}
      throttle: 1
    - name: Own
      copy: {content: "new\n", dest: "{{ playbook_dir }}/own-{{ inventory_hostname }}"}
    - name: Elsewhere
      file: {path: "{{ playbook_dir }}/gone", state: absent}
      delegate_to: localhost
      run_once: true
    - name: A program
      shell: echo x >>{{ playbook_dir }}/log
"#;
    let site = Site::new().file("hosts.ini", HOSTS).file("site.yml", playbook).file("shared", "first\n").file("gone", "back\n");
    site.write("own-a", "old\n");
    let _ = site.playbook("-i hosts.ini site.yml").success();
    assert_eq!((site.read("shared").lines().count(), site.exists("gone"), site.exists("own-b")), (3, false, true));

    let check = site.run(["undo", "--check", "--diff"]).success();
    let wanted = [
        "a, b, localhost\n",
        "take back    write $SITE/own-a  (Own)\n",
        "-new\n",
        "+old\n",
        "(A program): what a program did is not known",
    ];
    for part in wanted {
        assert!(check.stdout.contains(part), "no {part} in {}", check.stdout);
    }
    assert_eq!(site.read("own-a"), "new\n");

    let of_b = site.run(["undo", "--limit", "b", "--yes"]).success();
    assert!(!site.exists("own-b") && site.read("own-a") == "new\n", "{}", of_b.all());
    // `b` came last to the file that both changed.
    assert_eq!(site.read("shared"), "first\na\n");

    let run = first_run(&site);
    site.write("own-a", "theirs\n");
    let refused = site.run(["undo", &run, "--yes"]).code(2);
    assert!(refused.stdout.contains("own-a` was changed by somebody else meanwhile: the run left a file"), "{}", refused.all());
    assert!(!site.exists("gone"), "nothing is undone where something is refused");
    site.write("own-a", "new\n");
    std::fs::set_permissions(site.path().join("own-a"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("mode");
    let undone = site.run(["undo", &run, "--yes"]).success();
    assert_eq!(
        (site.read("shared"), site.read("own-a"), site.read("gone")),
        ("first\n".into(), "old\n".into(), "back\n".into()),
        "{}",
        undone.all()
    );
    assert_eq!(site.read("log"), "x\nx\n");
}

#[test]
fn a_batch_is_taken_back_with_what_it_did_on_other_hosts() {
    let playbook = r#"
- hosts: a:b
  gather_facts: false
  serial: 1
  tasks:
    - copy: {content: "new\n", dest: "{{ playbook_dir }}/own-{{ inventory_hostname }}"}
    - lineinfile: {path: "{{ playbook_dir }}/pool", line: "{{ inventory_hostname }}", create: true}
      delegate_to: localhost
  verify:
    - shell: test {{ inventory_hostname }} != b
  on_failure: undo
"#;
    let site = Site::new().file("hosts.ini", HOSTS).file("site.yml", playbook);
    let stopped = site.playbook("-i hosts.ini site.yml").code(2);
    assert!(site.exists("own-a") && !site.exists("own-b"), "{}", stopped.all());
    assert_eq!(site.read("pool"), "a\n", "{}", stopped.all());
}

#[test]
fn where_the_notes_are_gone_nobody_says_that_all_is_as_before() {
    let playbook = r#"
- hosts: a
  gather_facts: false
  tasks:
    - name: Kept
      copy: {content: "new\n", dest: "{{ playbook_dir }}/kept"}
    - name: Looked at
      command: cat {{ playbook_dir }}/kept
      reads: true
"#;
    let site = Site::new().file("hosts.ini", HOSTS).file("site.yml", playbook).file("kept", "old\n");
    let _ = site.playbook("-i hosts.ini site.yml").success();
    let check = site.run(["undo", "--check"]).success();
    assert!(check.stdout.contains("(Kept)") && !check.stdout.contains("Looked at"), "what reads has no way back: {}", check.stdout);

    std::fs::remove_dir_all(site.path().join("home/.cache/windlass/runs")).expect("notes");
    let gone = site.run(["undo", "--yes"]).code(2);
    for part in ["stays", "kept  (Kept): the host has no note of how it was before", "kept for 14 days", "nothing is to be undone"] {
        assert!(gone.stdout.contains(part), "no `{part}` in {}", gone.all());
    }
    assert!(!gone.stdout.contains("as it was before the run"), "{}", gone.all());
    assert_eq!(site.read("kept"), "new\n");
}

/// Returns the id of the run that came first.
fn first_run(site: &Site) -> String {
    let folder = site.path().join("home/.local/state/windlass/runs");
    let names = std::fs::read_dir(folder).expect("runs").map(|entry| entry.expect("entry").file_name().into_string().expect("text"));
    names.min().expect("a run")
}
