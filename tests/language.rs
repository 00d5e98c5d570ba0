//! Small things of the playbook language that scripts and people rely on, as ansible-core 2.19 was seen to do them.

mod harness;

use harness::Site;

/// Returns the report of tasks on localhost, in Ansible's form, without the stars of its banners.
fn report(files: &[(&str, &str)], words: &str) -> String {
    let site = files.iter().fold(Site::new(), |site, (path, text)| site.file(path, text));
    let run = site.playbook(&format!("{words} --output ansible"));
    let lines = run.stdout.lines().map(|line| line.trim_end_matches('*').trim_end());
    let kept: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    kept.join("\n")
}

fn play(tasks: &str) -> String {
    format!("- hosts: localhost\n  gather_facts: false\n  tasks:\n{tasks}")
}

#[track_caller]
fn says(tasks: &str, expected: &[&str]) {
    let report = report(&[("site.yml", &play(tasks))], "site.yml");
    for line in expected {
        assert!(report.contains(line), "{line:?} is missing in\n{report}");
    }
}

#[test]
fn an_include_has_a_banner_and_tells_the_items_it_was_included_for() {
    let site = play("  - include_tasks: \"{{ item }}.yml\"\n    loop: [a, b]\n    loop_control: {label: \"L{{ item }}\"}\n");
    let files = [("site.yml", site.as_str()), ("a.yml", "- debug: msg=a\n"), ("b.yml", "- debug: msg=b\n")];
    let report = report(&files, "site.yml");
    let order = [
        "TASK [include_tasks]",
        "a.yml for localhost => (item=La)",
        "b.yml for localhost => (item=Lb)",
        "\"msg\": \"a\"",
        "\"msg\": \"b\"",
    ];
    let places: Vec<_> = order.iter().map(|line| report.find(line)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{report}");
    assert!(report.contains("ok=4 "), "each include counts: {report}");
}

#[test]
fn an_include_registers_what_it_included() {
    let site = play(
        "  - include_tasks: \"{{ item }}.yml\"\n    loop: [a, b]\n    when: item == 'a'\n    register: r\n  - debug: msg=\"{{ r.results[0].include }} {{ r.results[1] is skipped }}\"\n",
    );
    let report = report(&[("site.yml", site.as_str()), ("a.yml", "- debug: msg=a\n")], "site.yml");
    assert!(report.contains("\"msg\": \"a.yml True\""), "{report}");
    assert!(report.contains("skipping: [localhost] => (item=b)"), "{report}");
}

#[test]
fn the_same_role_may_be_included_for_equal_items() {
    let site = play("  - include_role: {name: \"{{ item }}\"}\n    loop: [r, r]\n");
    let report = report(&[("site.yml", site.as_str()), ("roles/r/tasks/main.yml", "- debug: msg=hi\n")], "site.yml");
    assert_eq!(report.matches("included: r for localhost => (item=r)").count(), 2, "{report}");
    assert_eq!(report.matches("\"msg\": \"hi\"").count(), 2, "{report}");
}

#[test]
fn a_failed_command_registers_ansible_s_message_and_a_failed_loop_has_a_line_of_its_own() {
    let tasks = "  - command: test {{ item }} = 1\n    loop: [1, 2]\n    ignore_errors: true\n    register: r\n  - debug: msg=\"{{ r.results[1].msg }} {{ r.skipped }}\"\n";
    says(tasks, &["failed: [localhost] (item=2)", "...ignoring", "\"msg\": \"non-zero return code False\""]);
    let fatal = |line: &&str| line.starts_with("fatal: [localhost]: FAILED! => {") && line.contains("One or more items failed");
    assert_eq!(report(&[("site.yml", &play(tasks))], "site.yml").lines().filter(fatal).count(), 1);
}

#[test]
fn dictionaries_are_shown_with_sorted_keys_and_asserts_say_that_they_passed() {
    says(
        "  - debug: {msg: {b: {d: 1, c: 2}, a: 3}}\n",
        &["\"msg\": {\n        \"a\": 3,\n        \"b\": {\n            \"c\": 2,\n            \"d\": 1"],
    );
    says("  - assert: {that: true}\n", &["ok: [localhost] => {\n    \"changed\": false,\n    \"msg\": \"All assertions passed\"\n}"]);
}

#[test]
fn a_task_without_a_name_has_none_in_ansible_failed_task() {
    says(
        "  - block: [{fail: {msg: no}}]\n    rescue: [{debug: {msg: \"<{{ ansible_failed_task.name }}>\"}}]\n",
        &["\"msg\": \"<>\"", "rescued=1"],
    );
}

#[test]
fn meta_tasks_have_banners() {
    says("  - meta: flush_handlers\n", &["TASK [meta]"]);
}

#[test]
fn groups_of_groupby_have_names() {
    says(
        "  - debug: msg=\"{% for g in [{'k':'a','v':1},{'k':'b','v':2},{'k':'a','v':3}] | groupby('k') %}{{ g.grouper }}={{ g.list | map(attribute='v') | list }} {% endfor %}\"\n",
        &["\"msg\": \"a=[1, 3] b=[2] \""],
    );
}

#[test]
fn the_subelements_lookup_takes_them_out_of_their_item_and_the_filter_does_not() {
    let vars = "    vars: {users: [{name: a, keys: [1]}]}\n";
    says(
        &format!("  - debug: msg=\"{{{{ item.0 }}}}\"\n    with_subelements: [\"{{{{ users }}}}\", keys]\n{vars}"),
        &["\"name\": \"a\"\n    }"],
    );
    says(&format!("  - debug: msg=\"{{{{ (users | subelements('keys'))[0][0] }}}}\"\n{vars}"), &["\"keys\": [\n"]);
}

#[test]
fn a_template_ends_with_its_newlines_and_what_it_includes_without_the_last() {
    let site = play("  - debug: msg=\"{{ lookup('template', 't.j2') }}\"\n");
    let files =
        [("site.yml", site.as_str()), ("t.j2", "A\n{% include 'i.j2' %}\nB\n{% raw %}{{ r }}{% endraw %}\n"), ("i.j2", "inc {{ 2 }}\n")];
    let report = report(&files, "site.yml");
    assert!(report.contains(r#""msg": "A\ninc 2B\n{{ r }}\n""#), "{report}");
}

#[test]
fn ansible_host_is_the_host_s_name_where_nothing_is_said() {
    let files = [
        ("inv/hosts", "h1 ansible_connection=local\nh2 ansible_connection=local ansible_host=10.0.0.2\n"),
        (
            "site.yml",
            "- hosts: all\n  gather_facts: false\n  tasks:\n  - debug: msg=\"{{ ansible_host }} {{ hostvars.h1.ansible_host | d('none') }} {{ inventory_dir | basename }}\"\n",
        ),
    ];
    let report = report(&files, "-i inv/hosts site.yml");
    assert!(report.contains("\"msg\": \"h1 none inv\"") && report.contains("\"msg\": \"10.0.0.2 none inv\""), "{report}");
}

#[test]
fn playbooks_of_one_command_line_share_facts_and_one_recap() {
    let first = play("  - set_fact: {a: shared}\n");
    let second = play("  - debug: msg={{ a }}\n");
    let run = report(&[("one.yml", first.as_str()), ("two.yml", second.as_str())], "one.yml two.yml");
    assert!(run.contains("\"msg\": \"shared\"") && run.contains("ok=2 "), "{run}");
    assert_eq!(run.matches("PLAY RECAP").count(), 1, "{run}");
    let failing = play("  - fail: msg=no\n");
    assert!(!report(&[("one.yml", failing.as_str()), ("two.yml", second.as_str())], "one.yml two.yml").contains("TASK [debug]"));
}

#[test]
fn a_run_may_begin_in_the_middle() {
    let site = play("  - name: one\n    debug: msg=1\n  - name: two\n    debug: msg=2\n");
    let report = report(&[("site.yml", site.as_str())], "site.yml --start-at-task two");
    assert!(!report.contains("TASK [one]") && report.contains("TASK [two]"), "{report}");
}

#[test]
fn lists_have_the_path_as_typed_and_roles_before_names_only() {
    let files = [
        ("roles/r/tasks/main.yml", "- name: named\n  ping:\n- ping:\n  tags: [never]\n"),
        ("site.yml", "- hosts: localhost\n  roles: [r]\n"),
    ];
    let site = files.iter().fold(Site::new(), |site, (path, text)| site.file(path, text));
    let tasks = site.playbook("site.yml --list-tasks --tags all,never").success();
    assert!(tasks.stdout.contains("playbook: site.yml\n"), "{}", tasks.all());
    assert!(tasks.stdout.contains("      r : named\tTAGS: []\n      ping\tTAGS: [never]"), "{}", tasks.all());
    assert!(site.playbook("site.yml --list-tags").success().stdout.contains("TASK TAGS: [never]"));
}

#[test]
fn a_role_used_twice_has_each_handler_run_once_and_the_last_of_a_name_is_meant() {
    let files = [
        ("roles/a/tasks/main.yml", "- command: \"true\"\n  notify: [ah, topic]\n"),
        ("roles/a/handlers/main.yml", "- name: ah\n  debug: msg=role\n- name: ah2\n  listen: topic\n  debug: msg=listener\n"),
        (
            "site.yml",
            "- hosts: localhost\n  gather_facts: false\n  roles: [a, {role: a, x: 1}]\n  tasks:\n  - import_role: {name: a}\n  handlers:\n  - name: ah\n    debug: msg=play\n",
        ),
    ];
    let report = report(&files, "site.yml");
    let handlers: Vec<_> = report.lines().filter(|line| line.starts_with("RUNNING HANDLER")).collect();
    // Roles and tasks are flushed together, after the tasks.
    assert_eq!(handlers, ["RUNNING HANDLER [a : ah]", "RUNNING HANDLER [a : ah2]"], "{report}");
}
