//! Whole playbooks on hosts of our own making.

use std::sync::Arc;

use crate::run::fake::{FakeSite, run, run_with};
use crate::value::{Map, Value};

/// A play without facts around `tasks`, which are indented by four.
fn play(tasks: &str) -> String {
    format!("- hosts: web\n  gather_facts: false\n  tasks:\n{tasks}")
}

#[test]
fn tasks_run_host_by_host_and_are_counted() {
    let ran = run(2, &play("    - {name: a, command: change@web1}\n    - {name: b, command: ok, when: inventory_hostname == 'web2'}\n"));
    assert_eq!(ran.text(), "play on web1,web2\nweb1 changed a\nweb2 ok a\nweb1 skipped b\nweb2 ok b");
    assert_eq!((ran.counts("web1").ok, ran.counts("web1").changed, ran.counts("web1").skipped), (1, 1, 1));
    assert_eq!(ran.recap.exit_code(), 0);
}

#[test]
fn facts_are_gathered_first_and_are_variables() {
    let ran = run(1, "- hosts: web\n  tasks:\n    - {name: a, command: \"{{ ansible_system }} {{ ansible_facts.system }}\"}\n");
    assert_eq!(ran.sent, ["web1: setup", "web1: command Linux Linux"]);
}

#[test]
fn a_failed_host_drops_out() {
    let ran = run(2, &play("    - {name: a, command: fail@web1}\n    - {name: b, command: ok}\n"));
    assert_eq!(ran.text(), "play on web1,web2\nweb1 failed a: it failed\nweb2 ok a\nweb2 ok b");
    assert_eq!(ran.recap.exit_code(), 2);
}

#[test]
fn an_unreachable_host_drops_out_unless_ignored() {
    let ran = run(
        1,
        &play("    - {name: a, command: lost, ignore_unreachable: true}\n    - {name: b, command: lost}\n    - {name: c, command: ok}\n"),
    );
    assert_eq!(ran.text(), "play on web1\nweb1 unreachable ignored a: no route to the host\nweb1 unreachable b: no route to the host");
    assert_eq!(ran.recap.exit_code(), 4);
}

#[test]
fn serial_takes_batches_and_stops_when_one_fails_whole() {
    let serial = |tasks: &str| format!("- hosts: web\n  gather_facts: false\n  serial: [1, 2]\n  tasks:\n{tasks}");
    let ran = run(4, &serial("    - {name: a, command: ok}\n"));
    let plays: Vec<_> = ran.lines.iter().filter(|line| line.starts_with("play")).cloned().collect();
    assert_eq!(plays, ["play on web1", "play on web2,web3", "play on web4"]);
    let ran = run(4, &serial("    - {name: a, command: fail@web1}\n"));
    assert_eq!(ran.text(), "play on web1\nweb1 failed a: it failed\nstopped: all hosts of the batch have failed");
}

#[test]
fn too_many_failures_stop_the_whole_run() {
    let playbook = |share: u32| {
        format!(
            "- hosts: web\n  gather_facts: false\n  max_fail_percentage: {share}\n  tasks:\n    - {{name: a, command: fail@web1}}\n    - {{name: b, command: ok}}\n- hosts: web2\n  gather_facts: false\n  tasks:\n    - {{name: c, command: ok}}\n"
        )
    };
    assert!(run(2, &playbook(50)).text().contains("web2 ok c"));
    let ran = run(2, &playbook(49));
    assert!(!ran.text().contains("web2 ok b") && !ran.text().contains("web2 ok c"), "{}", ran.text());
    assert_eq!(ran.recap.exit_code(), 2);
}

#[test]
fn any_error_may_be_fatal_for_all() {
    let ran = run(2, &play("    - {name: a, command: fail@web1, any_errors_fatal: true}\n    - {name: b, command: ok}\n"));
    assert!(!ran.text().contains(" b"), "{}", ran.text());
}

#[test]
fn handlers_run_once_in_their_order_with_listeners() {
    let ran = run(
        1,
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - {name: a, command: change, notify: [two, one]}\n    - {name: b, command: change, notify: one}\n    - {name: c, command: ok, notify: three}\n  post_tasks:\n    - {name: d, command: ok}\n  handlers:\n    - {name: one, command: ok}\n    - {name: two, command: ok}\n    - {name: three, command: ok}\n    - {name: four, command: ok, listen: one}\n",
    );
    assert_eq!(ran.text(), "play on web1\nweb1 changed a\nweb1 changed b\nweb1 ok c\nweb1 ok one\nweb1 ok two\nweb1 ok four\nweb1 ok d");
}

#[test]
fn handlers_run_when_they_are_flushed_and_not_on_failed_hosts() {
    let playbook = |force: bool| {
        format!(
            "- hosts: web\n  gather_facts: false\n  force_handlers: {force}\n  tasks:\n    - {{name: a, command: change, notify: h}}\n    - meta: flush_handlers\n    - {{name: b, command: change, notify: h}}\n    - {{name: c, command: fail}}\n  handlers:\n    - {{name: h, command: ok}}\n"
        )
    };
    assert_eq!(run(1, &playbook(false)).text().matches("ok h").count(), 1);
    assert_eq!(run(1, &playbook(true)).text().matches("ok h").count(), 2);
}

#[test]
fn an_unknown_handler_is_named() {
    let ran = run(
        1,
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - {name: a, command: change, notify: restrat}\n  handlers:\n    - {name: restart, command: ok}\n",
    );
    assert!(ran.text().contains("web1 failed a: The requested handler 'restrat' was not found"), "{}", ran.text());
}

#[test]
fn rescue_and_always_see_what_failed() {
    let ran = run(
        1,
        &play(
            "    - block:\n        - {name: a, command: fail}\n        - {name: never, command: ok}\n      rescue:\n        - {name: b, command: \"{{ ansible_failed_task.name }} {{ ansible_failed_result.msg }}\"}\n      always:\n        - {name: c, command: ok}\n    - {name: d, command: ok}\n",
        ),
    );
    assert_eq!(ran.text(), "play on web1\nweb1 failed a: it failed\nweb1 ok b\nweb1 ok c\nweb1 ok d");
    assert_eq!(ran.sent.get(1).map(String::as_str), Some("web1: command a it failed"));
    assert_eq!((ran.counts("web1").rescued, ran.counts("web1").failed), (1, 0));
}

#[test]
fn always_runs_after_a_failure_that_nobody_rescues() {
    let ran = run(
        1,
        &play(
            "    - block:\n        - {name: a, command: fail}\n      always:\n        - {name: b, command: ok}\n    - {name: c, command: ok}\n",
        ),
    );
    assert_eq!(ran.text(), "play on web1\nweb1 failed a: it failed\nweb1 ok b");
    assert_eq!(ran.recap.exit_code(), 2);
}

#[test]
fn a_loop_is_one_message_and_registers_every_item() {
    let ran = run(
        1,
        &play(
            "    - {name: a, command: \"{{ item }}\", loop: [ok, change, skip], register: r, when: item != 'skip'}\n    - {name: b, command: \"{{ r.results[0].changed }} {{ r.changed }} {{ r.results[1].item }} {{ r.results[2].skipped }} {{ r.msg }}\"}\n",
        ),
    );
    assert_eq!(ran.sent, ["web1: command ok | change", "web1: command False True change True All items completed"]);
}

#[test]
fn an_item_may_depend_on_the_one_before_it() {
    let ran =
        run(1, &play("    - {name: a, command: \"{{ item }}\", loop: [1, 2, 3], register: r, when: r is undefined or r.stdout != '2'}\n"));
    assert_eq!(ran.sent, ["web1: command 1", "web1: command 2"]);
}

#[test]
fn a_failed_item_fails_the_task_after_all_items() {
    let ran = run(1, &play("    - {name: a, command: \"{{ item }}\", loop: [fail, ok]}\n"));
    assert_eq!(ran.sent, ["web1: command fail | ok"]);
    assert!(ran.text().contains("web1 failed a: One or more items failed"));
}

#[test]
fn until_tries_again_and_gives_up() {
    let ran = run(1, &play("    - {name: a, command: ok, register: r, until: r.stdout == 'done', retries: 2, delay: 0}\n"));
    assert_eq!(ran.sent.len(), 3);
    assert!(ran.text().contains("web1 failed a: `until` did not hold after 3 attempts"), "{}", ran.text());
}

#[test]
fn run_once_gives_its_result_to_all() {
    let ran = run(2, &play("    - {name: a, command: ok, run_once: true, register: r}\n    - {name: b, command: \"{{ r.stdout }}\"}\n"));
    assert_eq!(ran.sent, ["web1: command ok", "web1: command ok", "web2: command ok"]);
    assert_eq!(ran.text(), "play on web1,web2\nweb1 ok a\nweb1 ok b\nweb2 ok b");
}

#[test]
fn what_a_check_cannot_know_taints_what_depends_on_it() {
    let tasks = "    - {name: a, command: opaque, register: r, notify: h}\n    - {name: b, command: ok, when: r.rc == 0}\n    - {name: c, command: \"{{ r.stdout }}\"}\n    - {name: d, command: ok, when: r is defined}\n";
    let playbook = format!("{}  handlers:\n    - {{name: h, command: ok}}\n", play(tasks));
    let ran = run_with(FakeSite::of(1), &playbook, &[], |settings| settings.check = true);
    assert_eq!(ran.text(), "play on web1\nweb1 unknown a\nweb1 unknown b\nweb1 unknown c\nweb1 ok d\nweb1 unknown h");
    assert_eq!(ran.recap.unknown, ["a", "b", "c", "h"]);
    assert_eq!((ran.recap.predicted, ran.counts("web1").unknown), (1, 4));
}

#[test]
fn changed_when_and_failed_when_overrule() {
    let ran = run(
        1,
        &play(
            "    - {name: a, command: change, changed_when: false}\n    - {name: b, command: fail, failed_when: false}\n    - {name: c, command: ok, register: r, failed_when: [r.stdout == 'ok', true]}\n",
        ),
    );
    assert_eq!(ran.text(), "play on web1\nweb1 ok a\nweb1 ok b: it failed\nweb1 failed c: `failed_when` holds: r.stdout == 'ok' and True");
}

#[test]
fn tags_select_through_blocks_and_always_stays() {
    let playbook = play(
        "    - {name: a, command: ok, tags: x}\n    - block:\n        - {name: b, command: ok}\n      tags: x\n    - {name: c, command: ok}\n    - {name: d, command: ok, tags: always}\n",
    );
    let ran = run_with(FakeSite::of(1), &playbook, &[], |settings| settings.tags = vec!["x".to_owned()]);
    assert_eq!(ran.text(), "play on web1\nweb1 ok a\nweb1 ok b\nweb1 ok d");
}

#[test]
fn delegation_takes_the_other_hosts_connection() {
    let mut site = FakeSite::of(2);
    site.variables.insert("web2".to_owned(), Arc::new(Map::from_iter([("ansible_become".into(), Value::Bool(true))])));
    let ran = run_with(
        site,
        &play("    - {name: a, command: \"{{ inventory_hostname }}\", delegate_to: web2, when: inventory_hostname == 'web1'}\n"),
        &[],
        |_| {},
    );
    assert_eq!(ran.sent, ["web2 as root: command web1"]);
}

#[test]
fn roles_bring_defaults_handlers_and_dependencies_once() {
    let files = [
        ("roles/base/tasks/main.yml", "- {name: base, command: \"{{ inventory_hostname }}\"}\n"),
        ("roles/app/meta/main.yml", "dependencies: [base]\n"),
        ("roles/app/defaults/main.yml", "size: 1\nname: app\n"),
        ("roles/app/tasks/main.yml", "- {name: t, command: \"change {{ size }} {{ role_name }}\", notify: restart}\n"),
        ("roles/app/handlers/main.yml", "- {name: restart, command: \"restart {{ size }}\"}\n"),
    ];
    let playbook = "- hosts: web\n  gather_facts: false\n  roles:\n    - base\n    - {role: app, size: 2}\n  post_tasks:\n    - {name: after, command: \"{{ name }}\"}\n";
    let ran = run_with(FakeSite::of(1), playbook, &files, |_| {});
    assert_eq!(ran.sent, ["web1: command web1", "web1: command change 2 app", "web1: command restart 2", "web1: command app"]);
    assert_eq!(ran.text(), "play on web1\nweb1 ok base : base\nweb1 changed app : t\nweb1 ok app : restart\nweb1 ok after");
}

#[test]
fn a_roles_arguments_are_checked_before_it_runs() {
    let files = [
        (
            "roles/app/meta/argument_specs.yml",
            "argument_specs:\n  main:\n    options:\n      size: {type: int, required: true}\n      mode: {choices: [sniff, proxy]}\n",
        ),
        ("roles/app/tasks/main.yml", "- {name: t, command: ok}\n"),
    ];
    let with = |text: &str| format!("- hosts: web\n  gather_facts: false\n  roles:\n    - {{role: app{text}}}\n");
    let run = |text: &str| run_with(FakeSite::of(1), &with(text), &files, |_| {}).text();
    assert!(run("").contains("missing required arguments: size"), "{}", run(""));
    assert!(run(", size: many").contains("argument 'size' is of type str and we were unable to convert to int"), "{}", run(", size: many"));
    assert!(run(", size: 1, mode: x").contains("value of mode must be one of: sniff, proxy, got: x"), "{}", run(", size: 1, mode: x"));
    assert!(run(", size: '1', mode: sniff").ends_with("web1 ok app : t"));
}

#[test]
fn includes_differ_from_host_to_host_and_loop() {
    let files = [("web1.yml", "- {name: one, command: \"{{ x }} {{ item }}\"}\n"), ("web2.yml", "- {name: two, command: ok}\n")];
    let tasks = "    - include_tasks: \"{{ inventory_hostname }}.yml\"\n      vars: {x: '{{ item }}{{ item }}'}\n      loop: [1, 2]\n      when: not (inventory_hostname == 'web2' and item == 2)\n";
    let ran = run_with(FakeSite::of(2), &play(tasks), &files, |_| {});
    assert_eq!(ran.sent, ["web1: command 11 1", "web1: command 22 2", "web2: command ok"]);
}

#[test]
fn included_roles_keep_to_themselves_unless_public() {
    let files = [("roles/app/defaults/main.yml", "port: 1\n"), ("roles/app/tasks/main.yml", "- {name: t, command: \"{{ port }}\"}\n")];
    let tasks = |public: bool| {
        format!("    - include_role: {{name: app, public: {public}}}\n    - {{name: a, command: \"{{{{ port | default('none') }}}}\"}}\n")
    };
    let run = |public| run_with(FakeSite::of(1), &play(&tasks(public)), &files, |_| {}).sent;
    assert_eq!(run(false), ["web1: command 1", "web1: command none"]);
    assert_eq!(run(true), ["web1: command 1", "web1: command 1"]);
}

#[test]
fn meta_ends_hosts_roles_and_plays() {
    let ran = run(
        2,
        &play(
            "    - {meta: end_host, when: inventory_hostname == 'web1'}\n    - {name: a, command: ok}\n    - meta: end_play\n    - {name: b, command: ok}\n",
        ),
    );
    assert_eq!(ran.text(), "play on web1,web2\nweb2 skipped end_host: end_host\nweb2 ok a");
    assert_eq!(ran.recap.exit_code(), 0);
}

#[test]
fn wrong_files_stop_with_a_diagnostic_and_code_1() {
    let ran = run(1, "- hosts: web\n  gather_facts: false\n  strategy: fre\n  tasks: [{command: ok}]\n");
    assert!(ran.text().contains("the strategy `fre` is not known"), "{}", ran.text());
    assert_eq!(ran.recap.exit_code(), 1);
    assert!(ran.sent.is_empty());
}

#[test]
fn an_unknown_module_fails_only_where_it_runs() {
    let ran = run(1, &play("    - {name: a, comand: ok, when: false}\n    - {name: b, comand: ok}\n"));
    assert!(
        ran.text().contains("web1 skipped a") && ran.text().contains("web1 failed b: Task failed: there is no module `comand`"),
        "{}",
        ran.text()
    );
}

#[test]
fn with_free_no_host_waits_for_another() {
    let playbook = |strategy: &str| {
        format!(
            "- hosts: web\n  gather_facts: false\n  strategy: {strategy}\n  tasks:\n    - {{name: a, command: fail@web1}}\n    - {{name: b, command: change, notify: h}}\n  handlers:\n    - {{name: h, command: ok}}\n"
        )
    };
    for strategy in ["free", "host_pinned", "ansible.builtin.free"] {
        let ran = run(3, &playbook(strategy));
        let of = |host: &str| ran.lines.iter().filter(|line| line.starts_with(host)).cloned().collect::<Vec<_>>().join("\n");
        assert_eq!(of("web1"), "web1 failed a: it failed");
        assert_eq!(of("web3"), "web3 ok a\nweb3 changed b\nweb3 ok h");
    }
    assert!(run(1, &playbook("fre")).text().contains("diagnostic error: the strategy `fre` is not known"));
}

#[test]
fn items_of_set_fact_see_those_before_them() {
    let ran = run(
        1,
        &play("    - {set_fact: {l: \"{{ l | default([]) + [item] }}\"}, loop: [a, b]}\n    - {name: x, command: \"{{ l | join }}\"}\n"),
    );
    assert_eq!(ran.sent, ["web1: command ab"]);
}

#[test]
fn the_module_of_an_action_may_be_a_template() {
    let ran = run(
        1,
        &play(
            "    - action: \"{{ m }} ok\"\n      vars: {m: command}\n    - action: {module: \"{{ m }}\", cmd: ok}\n      vars: {m: command}\n",
        ),
    );
    assert_eq!(ran.sent, ["web1: command ok", "web1: command ok"]);
}

#[test]
fn clear_host_errors_forgives_in_an_always() {
    let ran =
        run(1, &play("    - block: [{name: a, command: fail}]\n      always: [{meta: clear_host_errors}]\n    - {name: b, command: ok}\n"));
    assert_eq!(ran.text(), "play on web1\nweb1 failed a: it failed\nweb1 ok b");
}

#[test]
fn a_handler_that_fails_in_a_flush_is_rescued() {
    let ran = run(
        2,
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - block:\n        - {name: a, command: change, notify: h}\n        - meta: flush_handlers\n      rescue: [{name: r, command: ok}]\n  handlers:\n    - {name: h, command: fail@web1}\n",
    );
    assert_eq!(ran.text(), "play on web1,web2\nweb1 changed a\nweb2 changed a\nweb1 failed h: it failed\nweb2 ok h\nweb1 ok r");
    assert_eq!((ran.counts("web1").rescued, ran.counts("web1").failed), (1, 0));
}
