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
fn a_failed_command_registers_ansible_s_message_and_a_failed_loop_is_told_by_its_items() {
    let tasks = "  - command: test {{ item }} = 1\n    loop: [1, 2]\n    ignore_errors: true\n    register: r\n  - debug: msg=\"{{ r.results[1].msg }} {{ r.skipped }}\"\n";
    says(tasks, &["failed: [localhost] (item=2)", "...ignoring", "\"msg\": \"non-zero return code False\""]);
    let fatal = |line: &&str| line.starts_with("fatal: [localhost]: FAILED! => {") && line.contains("One or more items failed");
    let count = |tasks: &str| report(&[("site.yml", &play(tasks))], "site.yml").lines().filter(fatal).count();
    assert_eq!((count(tasks), count("  - debug: msg={{ item }}\n    loop: [1]\n    failed_when: true\n")), (0, 1));
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

/// Runs `site.yml` on the hosts h1 and h2, and returns each `"msg": ...` of the report, in order.
#[test]
fn a_result_tells_what_of_its_task_will_go() {
    let tasks = "  - debug: msg=x\n    loop: [1, 2]\n    when: '{{ true }}'\n    register: r\n  - debug: msg=y\n    register: s\n  - debug: msg=\"{{ r.deprecations | map(attribute='msg') | first | truncate(12, true, '') }} {{ r.results[0].deprecations is defined }} {{ s.deprecations is defined }}\"\n";
    says(tasks, &["\"msg\": \"Conditionals False False\""]);
}

#[test]
fn more_is_told_with_v_and_skipped_debugs_say_only_why() {
    let tasks = "  - debug: msg=x\n    when: item != 1\n    loop: [1]\n  - command: 'true'\n    when: item != 1\n    loop: [1]\n";
    let report = report(&[("site.yml", &play(tasks))], "site.yml -v");
    for line in [
        "No config file found; using defaults",
        "skipping: [localhost] => (item=1)  => {\"false_condition\": \"item != 1\", \"item\": 1}\nskipping: [localhost] => {\"msg\": \"All items skipped\"}",
        "skipping: [localhost] => (item=1)  => {\"ansible_loop_var\": \"item\", \"changed\": false, \"false_condition\"",
    ] {
        assert!(report.contains(line), "{line:?} is missing in\n{report}");
    }
}

fn messages(files: &[(&str, &str)], words: &str) -> Vec<String> {
    let report = report(files, &format!("-i h1,h2, -c local -f 1 {words} site.yml"));
    let lines = report.lines().filter_map(|line| line.trim().strip_prefix("\"msg\": \""));
    lines.map(|line| line.trim_end_matches('"').to_owned()).collect()
}

/// A play on both hosts.
fn both(rest: &str) -> String {
    format!("- hosts: all\n  gather_facts: false\n{rest}")
}

#[test]
fn the_vars_of_a_roles_use_are_weaker_than_facts_and_its_parameters_are_stronger() {
    let site = both(
        "  pre_tasks:\n  - set_fact: {a: fact, b: fact}\n  roles:\n  - {role: r, b: parameter, vars: {a: use, c: use, d: use}}\n  tasks:\n  - import_role: {name: r}\n    vars: {a: use, b: use, c: import, d: import}\n",
    );
    let files = [
        ("site.yml", site.as_str()),
        ("roles/r/tasks/main.yml", "- debug: {msg: \"{{ a }} {{ b }} {{ c }} {{ d }}\"}\n  vars: {d: task}\n  run_once: true\n"),
        ("roles/r/vars/main.yml", "c: role\n"),
    ];
    assert_eq!(messages(&files, ""), ["fact parameter use task", "fact fact import task"]);
}

#[test]
fn a_role_sees_what_it_depends_on_and_the_play_only_what_is_public() {
    let site = both(
        "  tasks:\n  - include_role: {name: r}\n    when: inventory_hostname == 'h1'\n  - debug: {msg: \"{{ d | default('none') }} {{ ansible_role_names | sort | join('+') }} {{ ansible_play_role_names | join }}\"}\n    run_once: true\n  - include_role: {name: r, public: true}\n    run_once: true\n  - debug: {msg: \"{{ d }} {{ e }}\"}\n",
    );
    let files = [
        ("site.yml", site.as_str()),
        ("roles/r/meta/main.yml", "dependencies: [{role: q, vars: {e: use}}]\n"),
        ("roles/r/tasks/main.yml", "- debug: {msg: \"{{ d }} {{ e }} {{ ansible_parent_role_names | default('none') }}\"}\n"),
        ("roles/q/defaults/main.yml", "d: default\n"),
        ("roles/q/vars/main.yml", "e: vars\n"),
        ("roles/q/tasks/main.yml", "- debug: {msg: \"{{ e }} {{ ansible_parent_role_names | default('none') }}\"}\n"),
    ];
    let expected = ["use none", "default vars none", "none q+r r", "default vars none", "default vars", "default vars"];
    assert_eq!(messages(&files, ""), expected);
}

#[test]
fn run_once_at_an_include_leaves_the_other_hosts_out_and_inside_one_reaches_them() {
    let site = both(
        "  tasks:\n  - include_tasks: one.yml\n    run_once: true\n  - debug: {msg: \"{{ inventory_hostname }} {{ all }} {{ own | default('none') }}\"}\n",
    );
    let one = "- set_fact: {all: set}\n  run_once: true\n- set_fact: {own: set}\n- debug: {msg: \"{{ inventory_hostname }}\"}\n";
    let mut told = messages(&[("site.yml", &site), ("one.yml", one)], "");
    told.sort_unstable();
    assert_eq!(told, ["h1", "h1 set set", "h2 set none"]);
}

#[test]
fn a_role_that_a_task_brought_in_runs_again_for_roles_but_a_dependency_only_once() {
    let site =
        both("  pre_tasks:\n  - include_role: {name: q}\n  roles:\n  - r\n  tasks:\n  - import_role: {name: r, defaults_from: more}\n");
    let files = [
        ("site.yml", site.as_str()),
        ("roles/r/meta/main.yml", "dependencies: [{role: q, vars: {v: \"{{ inventory_hostname }}\"}}]\n"),
        ("roles/r/tasks/main.yml", "- debug: {msg: r}\n  run_once: true\n"),
        ("roles/r/defaults/more.yml", "x: 1\n"),
        ("roles/q/tasks/main.yml", "- debug: {msg: \"q {{ v | default('') }}\"}\n"),
    ];
    let mut told = messages(&files, "");
    // The hosts of one task end in any order.
    told.sort_unstable();
    assert_eq!(told, ["q ", "q ", "q h1", "q h2", "r", "r"]);
}

#[test]
fn where_dictionaries_are_merged_those_of_one_place_are_merged_first() {
    let site = both(
        "  vars: {d: {play: 1}}\n  tasks:\n  - block:\n    - debug: {msg: \"{{ d | to_json }}\"}\n      vars: {d: {task: 1}}\n      run_once: true\n    vars: {d: {block: 1}}\n",
    );
    let files = [
        ("site.yml", site.as_str()),
        ("group_vars/all.yml", "d: {all: 1}\n"),
        ("group_vars/a.yml", "d: {a: 1}\n"),
        ("group_vars/b.yml", "d: 5\n"),
        ("group_vars/c.yml", "d: {c: 1}\n"),
        ("inventory", "[a]\nh1\n[b]\nh1\n[c]\nh1\n"),
        ("ansible.cfg", "[defaults]\nhash_behaviour = merge\n"),
    ];
    let report = report(&files, "-i inventory -c local site.yml");
    // What `b` has takes away what `a` has, but not what `all` has.
    let expected = r#""msg": "{\"all\": 1, \"c\": 1, \"play\": 1, \"task\": 1}""#;
    assert!(report.contains(expected), "{expected} is missing in\n{report}");
}

#[test]
fn a_variable_of_another_host_that_uses_what_is_undefined_is_undefined() {
    let site = both(
        "  tasks:\n  - debug: {msg: \"{{ hostvars.h2.whole | default('none') }}\"}\n    run_once: true\n  - debug: {msg: \"{{ hostvars.h2.part | default('none') }}\"}\n    run_once: true\n    ignore_errors: true\n",
    );
    let files = [("site.yml", site.as_str()), ("host_vars/h2.yml", "whole: \"{{ nope }}\"\npart: {a: \"{{ nope }}\"}\n")];
    let told = messages(&files, "");
    assert_eq!(told.first().map(String::as_str), Some("none"));
    assert!(!told[1..].contains(&"none".to_owned()), "a part that is undefined is not the whole: {told:?}");
}

#[test]
fn what_is_wrong_in_an_included_file_is_not_rescued_but_a_missing_file_is() {
    let site = |file: &str| play(&format!("  - block:\n    - include_tasks: {file}\n    rescue:\n    - debug: msg=rescued\n"));
    let wrong = report(&[("site.yml", &site("a.yml")), ("a.yml", "- debug: msg=before\n- no.such.module:\n")], "site.yml");
    assert!(wrong.contains("fatal: [localhost]: FAILED!") && wrong.contains("failed=1"), "{wrong}");
    assert!(!wrong.contains("rescued\"") && !wrong.contains("\"msg\": \"before\""), "{wrong}");
    let missing = report(&[("site.yml", &site("b.yml"))], "site.yml");
    assert!(missing.contains("\"msg\": \"rescued\"") && missing.contains("rescued=1"), "{missing}");
}

#[test]
fn an_unsafe_text_is_no_condition_and_names_no_variable() {
    says(
        "  - debug: {}\n    when: !unsafe 1 == 1\n    ignore_errors: true\n    register: a\n  - debug: {var: !unsafe a}\n    ignore_errors: true\n    register: b\n  - debug: {msg: \"{{ a is failed }} {{ b is failed }} {{ text }} {{ b.msg is search('untrusted') }}\"}\n    vars: {text: !unsafe plain}\n",
        &["\"msg\": \"True True plain True\""],
    );
}

#[test]
fn the_texts_that_a_lookup_is_given_may_be_templates() {
    says(
        "  - debug: {msg: \"{{ lookup('pipe', 'echo {{ a }}') }} {{ query('list', ['{{ a }}', 'b']) }}\"}\n    vars: {a: hi}\n",
        &["\"msg\": \"hi [['hi', 'b']]\""],
    );
}

#[test]
fn the_switches_of_an_included_role_may_be_templates_or_left_out() {
    let spec = "argument_specs: {main: {options: {n: {type: int}}}}\n";
    let site =
        play("  - include_role: {name: r, tasks_from: \"{{ omit }}\", rolespec_validate: \"{{ false | bool }}\"}\n    vars: {n: many}\n");
    let files = [("site.yml", site.as_str()), ("roles/r/tasks/main.yml", "- debug: msg=hi\n"), ("roles/r/meta/argument_specs.yml", spec)];
    let report = report(&files, "site.yml");
    assert!(report.contains("\"msg\": \"hi\"") && report.contains("failed=0"), "{report}");
}
