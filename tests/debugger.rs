//! The debugger, and what stays after a run: counted values and cached facts; and defaults for groups of modules.

mod harness;

use std::io::Write;
use std::process::Stdio;

use harness::{Run, Site};

/// Runs `site.yml` on h1 and h2 with lines typed at the debugger.
fn typed(site: &Site, words: &str, lines: &str) -> Run {
    let words = format!("playbook -i h1,h2, -c local --output ansible {words} site.yml");
    let mut command = site.command(words.split_whitespace());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    child.stdin.take().expect("input").write_all(lines.as_bytes()).expect("types");
    site.finish(child.wait_with_output().expect("ends"))
}

fn site(play: &str) -> Site {
    Site::new().file("site.yml", &format!("- hosts: all\n  gather_facts: false\n{play}"))
}

const FAILING: &str = "  debugger: on_failed\n  tasks:\n  - name: Task 1\n    assert: {that: wanted == given}\n    vars: {given: 1}\n    run_once: true\n  - name: Task 2\n    debug: {msg: \"two {{ inventory_hostname }}\"}\n";

#[test]
fn a_failed_task_is_looked_at_changed_and_done_again() {
    let lines = "p task\np task.args\np task_vars['given'] + 1\np result.failed\np nonsense(\ntask.args['that'] = []\n\np task.args\nr\n";
    let run = typed(&site(FAILING), "-e wanted=2", lines).success();
    for line in ["[h1] TASK: Task 1 (debug)> ", "TASK: Task 1", "{'that': 'wanted == given'}", "{'that': []}"] {
        assert!(run.stdout.contains(line), "{line} is missing in\n{}", run.stdout);
    }
    assert!(run.stdout.contains("> 2\n") && run.stdout.contains("> True\n") && run.stdout.contains("> *** "), "{}", run.stdout);
    assert_eq!(run.stdout.matches("\"msg\": \"two h").count(), 2, "{}", run.stdout);
    assert_eq!((run.count("h1", "failed"), run.count("h1", "ok")), (0, 2), "the first try does not count: {}", run.stdout);
}

#[test]
fn variables_changed_in_the_debugger_count_after_update_task() {
    let play =
        "  tasks:\n  - name: say\n    debug: {msg: \"{{ what }}\"}\n    vars: {what: old}\n    debugger: always\n    run_once: true\n";
    let run = typed(&site(play), "", "task_vars['what'] = 'new' ~ 1\nr\nu\nr\nc\n").success();
    let told: Vec<_> = run.stdout.lines().filter_map(|line| line.trim().strip_prefix("\"msg\": ")).collect();
    assert_eq!(told, ["\"old\"", "\"old\"", "\"new1\""], "{}", run.stdout);
}

#[test]
fn the_debugger_goes_on_or_ends_the_run_and_is_asked_for_in_many_ways() {
    let run = typed(&site(FAILING), "-e wanted=2", "c\n").code(2);
    assert!(!run.stdout.contains("two h"), "{}", run.stdout);
    let run = typed(&site(FAILING), "-e wanted=2", "q\n").code(99);
    assert!(run.stdout.contains("User interrupted execution"), "{}", run.stdout);
    // Nobody types: as q.
    let _ = typed(&site(FAILING), "-e wanted=2", "").code(99);
    let never = site(&FAILING.replace("on_failed", "never"));
    let _ = typed(&never.file("ansible.cfg", "[defaults]\nenable_task_debugger = True\n"), "-e wanted=2", "q\n").code(2);
    let strategy = site(&FAILING.replace("debugger: on_failed", "strategy: debug"));
    let _ = typed(&strategy, "-e wanted=2", "q\n").code(99);
    let excused =
        site("  tasks:\n  - fail: {msg: no}\n    ignore_errors: true\n").file("ansible.cfg", "[defaults]\nenable_task_debugger = True\n");
    let _ = typed(&excused, "", "q\n").success();
    let skipped = site("  tasks:\n  - debug: {msg: x}\n    when: false\n    debugger: on_skipped\n");
    let _ = typed(&skipped, "", "c\nq\n").code(99);
    let wrong = typed(&site("  debugger: sometimes\n  tasks: []\n"), "", "").code(4);
    assert!(wrong.all().contains("`debugger` cannot be `sometimes`"), "{}", wrong.all());
}

#[test]
fn what_tasks_count_is_told_at_the_end() {
    let play = "  tasks:\n  - set_stats: {data: {all: 1, names: [x]}}\n  - set_stats: {data: {own: \"{{ inventory_hostname }}\"}, per_host: true}\n  - set_stats: {data: {all: 7}, aggregate: false}\n    when: inventory_hostname == 'h2' and reset | default(false)\n";
    let shown = site(play).file("ansible.cfg", "[defaults]\nshow_custom_stats = yes\n");
    let run = shown.playbook("-i h1,h2, -c local -f 1 --output ansible site.yml").success();
    let end = run.stdout.split("CUSTOM STATS: ").nth(1).expect("told");
    for line in ["\th1: { \"own\": \"h1\"}", "\th2: { \"own\": \"h2\"}", "\tRUN: { \"all\": 2, \"names\": [  \"x\",  \"x\" ]}"] {
        assert!(end.contains(line), "{line:?} is missing in\n{end}");
    }
    let run = shown.playbook("-i h1,h2, -c local -f 1 --output ansible -e {\"reset\":true} site.yml").success();
    assert!(run.stdout.contains("\"all\": 7,"), "{}", run.stdout);
    let quiet = site(play).playbook("-i h1,h2, -c local --output ansible site.yml").success();
    assert!(!quiet.stdout.contains("CUSTOM STATS"), "{}", quiet.stdout);
    let json = site(play).playbook("-i h1,h2, -c local --output json site.yml").success();
    assert!(json.stdout.contains("\"event\":\"custom_stats\""), "{}", json.stdout);
}

#[test]
fn facts_stay_for_later_runs_where_there_is_a_cache() {
    let cfg = "[defaults]\ngathering = smart\nfact_caching = jsonfile\nfact_caching_connection = facts\nfact_caching_prefix = p_\n";
    let gather = "- hosts: all\n  tasks:\n  - set_fact: {kept: \"{{ inventory_hostname }}\", cacheable: true}\n  - set_fact: {lost: 1}\n";
    let use_them = "- hosts: h1\n  tasks:\n  - debug: {msg: \"{{ ansible_facts.system }} {{ kept }} {{ lost | default('lost') }} {{ hostvars.h2.kept }}\"}\n";
    let clear = "- hosts: h1\n  gather_facts: false\n  tasks:\n  - meta: clear_facts\n";
    let site = Site::new().file("ansible.cfg", cfg).file("gather.yml", gather).file("use.yml", use_them).file("clear.yml", clear);
    let run = |words: &str| site.playbook(&format!("-i h1,h2, -c local --output ansible {words}"));
    assert!(!run("gather.yml --check").success().stdout.contains("nothing") && !site.exists("facts"), "a check keeps nothing");
    assert!(run("gather.yml").success().stdout.contains("TASK [Gathering Facts]"));
    assert!(site.exists("facts/p_h1") && site.exists("facts/p_h2"));
    let later = run("use.yml").success();
    assert!(later.stdout.contains("\"msg\": \"Linux h1 lost h2\""), "{}", later.stdout);
    assert!(!later.stdout.contains("Gathering Facts] ***\nok"), "what is known is not asked for again: {}", later.stdout);
    let _ = run("clear.yml").success();
    assert!(!site.exists("facts/p_h1") && site.exists("facts/p_h2"));
    assert!(run("use.yml").code(2).stdout.contains("kept"), "it is gone");
    let flushed = run("gather.yml use.yml --flush-cache").success();
    assert!(flushed.stdout.contains("Linux h1"), "{}", flushed.stdout);
    site.write("ansible.cfg", "[defaults]\nfact_caching = redis\n");
    assert!(run("use.yml").code(1).all().contains("`redis` is a Python plugin"));
}

#[test]
fn a_group_of_modules_has_defaults_and_what_is_inside_replaces_them() {
    let play = "  module_defaults:\n    group/elasticsearch: {url: \"http://127.0.0.1:1\"}\n    debug: {msg: outer, verbosity: 0}\n  tasks:\n  - elasticsearch_remote_info: {wait: false}\n    register: r\n    ignore_errors: true\n    run_once: true\n  - debug: {}\n    run_once: true\n    module_defaults: {ansible.builtin.debug: {verbosity: 0}}\n  - debug: {msg: \"{{ r.msg }}\"}\n    run_once: true\n";
    let run = site(play).playbook("-i h1,h2, -c local --output ansible site.yml").success();
    assert!(run.stdout.contains("127.0.0.1:1"), "the group's address is used: {}", run.stdout);
    assert!(run.stdout.contains("\"msg\": \"Hello world!\"") && !run.stdout.contains("\"msg\": \"outer\""), "{}", run.stdout);
    let wrong = site("  module_defaults: {group/elasticsaerch: {url: x}}\n  tasks: []\n").playbook("-i h1, site.yml").code(1);
    assert!(wrong.all().contains("there is no group of modules `elasticsaerch`"), "{}", wrong.all());
}
