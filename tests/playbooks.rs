//! The playbook language, end to end on this machine without SSH: what a playbook says is what happens.

mod harness;

use harness::{Run, Site};

/// Runs tasks on localhost, in Ansible's form.
fn tasks(text: &str) -> (Site, Run) {
    run(&format!("- hosts: localhost\n  gather_facts: false\n  tasks:\n{}", indent(text, 4)), "")
}

fn run(playbook: &str, words: &str) -> (Site, Run) {
    let site = Site::new().file("site.yml", playbook);
    let run = site.playbook(&format!("site.yml --output ansible {words}"));
    (site, run)
}

fn indent(text: &str, by: usize) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{}{line}\n", " ".repeat(by)) }).collect()
}

/// Returns what `debug: msg` printed, in order.
fn messages(run: &Run) -> Vec<String> {
    let lines = run.stdout.lines().filter_map(|line| line.trim().strip_prefix("\"msg\": "));
    lines.map(|rest| rest.trim_end_matches(',').trim_matches('"').to_owned()).collect()
}

#[track_caller]
fn prints(text: &str, expected: &[&str]) {
    let (_site, run) = tasks(text);
    let run = run.success();
    assert_eq!(messages(&run), expected, "{}", run.all());
}

#[test]
fn variables_are_rendered_when_used() {
    prints("- debug: msg={{ a }}\n  vars:\n    a: \"{{ b }}!\"\n    b: \"{{ 40 + 2 }}\"\n", &["42!"]);
}

#[test]
fn a_loop_runs_once_an_item_and_registers_them_all() {
    prints(
        "- command: echo {{ item }}\n  loop: [a, b]\n  register: r\n- debug:\n    msg: \"{{ r.results | map(attribute='stdout') | join(',') }} {{ r is changed }}\"\n",
        &["a,b True"],
    );
}

#[test]
fn with_items_flattens_one_level_and_with_dict_gives_pairs() {
    prints(
        "- debug: msg={{ item }}\n  with_items: [[a, b], c]\n- debug: msg=\"{{ item.key }}-{{ item.value }}\"\n  with_dict: {x: 1}\n",
        &["a", "b", "c", "x-1"],
    );
}

#[test]
fn loop_control_names_the_item_and_its_index() {
    prints("- debug: msg=\"{{ i }}{{ thing }}\"\n  loop: [a, b]\n  loop_control: {loop_var: thing, index_var: i}\n", &["0a", "1b"]);
}

#[test]
fn a_condition_skips_and_sees_registered_results() {
    prints(
        "- command: \"false\"\n  register: r\n  ignore_errors: true\n- debug: msg=failed\n  when: r is failed\n- debug: msg=never\n  when: [r.rc == 1, false]\n",
        &["failed"],
    );
}

#[test]
fn until_tries_again() {
    let (site, run) = tasks(
        "- shell: echo x >> count; test $(wc -l < count) -ge 3\n  args: {chdir: \"{{ playbook_dir }}\"}\n  register: r\n  until: r.rc == 0\n  retries: 5\n  delay: 0\n- debug: msg={{ r.attempts }}\n",
    );
    let run = run.success();
    assert_eq!(messages(&run), ["3"]);
    assert_eq!(site.read("count"), "x\nx\nx\n");
}

#[test]
fn rescue_runs_when_a_task_fails_and_always_in_any_case() {
    let (_site, run) = tasks(
        "- block:\n    - fail: msg=no\n    - debug: msg=not-reached\n  rescue:\n    - debug: msg=\"rescued {{ ansible_failed_result.msg }}\"\n  always:\n    - debug: msg=always\n",
    );
    let run = run.success();
    assert_eq!(messages(&run).iter().filter(|message| *message != "no").cloned().collect::<Vec<_>>(), ["rescued no", "always"]);
    assert_eq!(run.count("localhost", "rescued"), 1);
    assert_eq!(run.count("localhost", "failed"), 0);
}

#[test]
fn a_failed_task_ends_the_play_for_its_host_with_code_2() {
    let (_site, run) = tasks("- fail: msg=no\n- debug: msg=not-reached\n");
    let run = run.code(2);
    assert!(!run.stdout.contains("not-reached"));
    assert_eq!(run.recap("localhost"), "ok=0 changed=0 unreachable=0 failed=1 skipped=0 rescued=0 ignored=0");
}

#[test]
fn handlers_run_once_in_their_own_order_at_the_end() {
    let (_site, run) = run(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - command: \"true\"\n      notify: [second, topic]\n    - command: \"true\"\n      notify: second\n    - debug: msg=task\n  handlers:\n    - name: first\n      listen: topic\n      debug: msg=first\n    - name: second\n      debug: msg=second\n    - name: third\n      debug: msg=third\n",
        "",
    );
    assert_eq!(messages(&run.success()), ["task", "first", "second"]);
}

#[test]
fn flush_handlers_runs_them_now_and_only_changed_tasks_notify() {
    let (_site, run) = run(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - command: \"true\"\n      notify: h\n    - meta: flush_handlers\n    - debug: msg=after\n    - command: \"true\"\n      changed_when: false\n      notify: h\n  handlers:\n    - name: h\n      debug: msg=handler\n",
        "",
    );
    assert_eq!(messages(&run.success()), ["handler", "after"]);
}

#[test]
fn tags_choose_tasks() {
    let playbook = "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - debug: msg=one\n      tags: one\n    - debug: msg=two\n      tags: [two]\n    - debug: msg=always\n      tags: always\n    - debug: msg=never\n      tags: never\n";
    assert_eq!(messages(&run(playbook, "--tags one").1.success()), ["one", "always"]);
    assert_eq!(messages(&run(playbook, "--skip-tags one").1.success()), ["two", "always"]);
    assert_eq!(messages(&run(playbook, "--tags never").1.success()), ["always", "never"]);
}

#[test]
fn extra_variables_win_over_all_others() {
    let playbook = "- hosts: localhost\n  gather_facts: false\n  vars: {a: play}\n  tasks:\n    - set_fact: {a: fact}\n    - debug: msg={{ a }}\n      vars: {a: task}\n";
    assert_eq!(messages(&run(playbook, "").1.success()), ["fact"]);
    assert_eq!(messages(&run(playbook, "-e a=extra").1.success()), ["extra"]);
}

#[test]
fn a_role_brings_defaults_variables_handlers_files_and_dependencies() {
    let site = Site::new()
        .file("roles/base/tasks/main.yml", "- debug: msg=base\n")
        .file("roles/web/meta/main.yml", "dependencies: [base]\n")
        .file("roles/web/defaults/main.yml", "http_port: 80\nname: default\n")
        .file("roles/web/vars/main.yml", "name: vars\n")
        .file("roles/web/files/a.txt", "from the role\n")
        .file("roles/web/templates/b.j2", "port {{ http_port }}\n")
        .file("roles/web/handlers/main.yml", "- name: reload\n  debug: msg=reloaded\n")
        .file(
            "roles/web/tasks/main.yml",
            "- copy: {src: a.txt, dest: \"{{ playbook_dir }}/out/a\"}\n  notify: reload\n- template: {src: b.j2, dest: \"{{ playbook_dir }}/out/b\"}\n- debug: msg=\"{{ name }} {{ role_name }}\"\n",
        )
        .file("out/.keep", "")
        .file("site.yml", "- hosts: localhost\n  gather_facts: false\n  roles:\n    - role: web\n      http_port: 8080\n");
    let run = site.playbook("site.yml --output ansible").success();
    assert_eq!(messages(&run), ["base", "vars web", "reloaded"]);
    assert_eq!((site.read("out/a"), site.read("out/b")), ("from the role\n".to_owned(), "port 8080\n".to_owned()));
    let again = site.playbook("site.yml --output ansible").success();
    assert_eq!(again.count("localhost", "changed"), 0, "{}", again.all());
}

#[test]
fn includes_are_decided_during_the_run_and_may_loop() {
    let site = Site::new()
        .file("more.yml", "- debug: msg=\"more {{ item }}\"\n")
        .file("site.yml", "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - set_fact: {file: more}\n    - include_tasks: \"{{ file }}.yml\"\n      loop: [1, 2]\n");
    assert_eq!(messages(&site.playbook("site.yml --output ansible").success()), ["more 1", "more 2"]);
}

#[test]
fn an_import_gives_its_condition_to_all_its_tasks() {
    let site = Site::new().file("more.yml", "- set_fact: {go: false}\n- debug: msg=not-reached\n").file(
        "site.yml",
        "- hosts: localhost\n  gather_facts: false\n  vars: {go: true}\n  tasks:\n    - import_tasks: more.yml\n      when: go\n",
    );
    let run = site.playbook("site.yml --output ansible").success();
    assert_eq!(messages(&run), Vec::<String>::new());
    assert_eq!(run.count("localhost", "skipped"), 1);
}

#[test]
fn serial_takes_hosts_in_batches() {
    let site = Site::new()
        .file("hosts.ini", "h1 ansible_connection=local\nh2 ansible_connection=local\nh3 ansible_connection=local\n")
        .file("site.yml", "- hosts: all\n  gather_facts: false\n  serial: [1, 2]\n  tasks:\n    - debug: msg=\"{{ ansible_play_batch | join('+') }}\"\n      run_once: true\n");
    assert_eq!(messages(&site.playbook("-i hosts.ini site.yml --output ansible").success()), ["h1", "h2+h3"]);
}

#[test]
fn max_fail_percentage_stops_before_the_next_batch() {
    let site = Site::new()
        .file("hosts.ini", "h[1:4] ansible_connection=local\n")
        .file("site.yml", "- hosts: all\n  gather_facts: false\n  serial: [1, 2, 1]\n  max_fail_percentage: 0\n  tasks:\n    - fail: msg=no\n      when: inventory_hostname == 'h2'\n    - debug: msg=\"done {{ inventory_hostname }}\"\n");
    let run = site.playbook("-i hosts.ini site.yml --output ansible").code(2);
    let done: Vec<_> = messages(&run).into_iter().filter(|message| message.starts_with("done")).collect();
    assert_eq!(done, ["done h1"], "{}", run.all());
    assert!(!run.stdout.contains("[h4]"), "{}", run.all());
}

#[test]
fn a_task_delegated_to_another_host_keeps_its_own_variables() {
    let site = Site::new()
        .file("hosts.ini", "h1 ansible_connection=local who=one\nh2 ansible_connection=local who=two\n")
        .file("site.yml", "- hosts: h1\n  gather_facts: false\n  tasks:\n    - command: echo {{ who }} {{ hostvars.h2.who }}\n      delegate_to: h2\n      register: r\n    - debug: msg={{ r.stdout }}\n");
    let run = site.playbook("-i hosts.ini site.yml --output ansible").success();
    assert_eq!(messages(&run), ["one two"]);
    assert!(run.stdout.contains("changed: [h1 -> h2]"), "{}", run.all());
}

#[test]
fn group_and_host_variables_come_in_their_order() {
    let site = Site::new()
        .file("inv/hosts.ini", "[web]\nh1 ansible_connection=local\n[web:vars]\na=group-ini\nb=group-ini\n")
        .file("inv/group_vars/all.yml", "a: all\nb: all\nc: all\nd: all\n")
        .file("inv/group_vars/web.yml", "b: web\nc: web\n")
        .file("inv/host_vars/h1.yml", "c: host\n")
        .file("site.yml", "- hosts: all\n  gather_facts: false\n  tasks:\n    - debug: msg=\"{{ a }} {{ b }} {{ c }} {{ d }}\"\n");
    assert_eq!(messages(&site.playbook("-i inv/hosts.ini site.yml --output ansible").success()), ["all web host all"]);
}

#[test]
fn no_log_hides_the_output_and_keeps_the_value() {
    let (_site, run) =
        tasks("- command: echo hidden-word\n  no_log: true\n  register: r\n- assert: {that: \"r.stdout == 'hidden-word'\"}\n");
    let run = run.success();
    assert!(!run.all().contains("hidden-word"), "{}", run.all());
}

#[test]
fn a_check_changes_nothing_and_predicts_the_chain() {
    let site = Site::new().file(
        "site.yml",
        "- hosts: localhost\n  gather_facts: false\n  vars: {out: \"{{ playbook_dir }}/out\"}\n  tasks:\n    - file: {path: \"{{ out }}\", state: directory}\n    - copy: {dest: \"{{ out }}/a.conf\", content: \"x=1\\n\"}\n    - lineinfile: {path: \"{{ out }}/a.conf\", regexp: '^x=', line: x=2}\n    - stat: {path: \"{{ out }}/a.conf\"}\n      register: s\n    - assert: {that: s.stat.exists}\n",
    );
    let check = site.playbook("site.yml --output ansible --check --diff").success();
    assert!(!site.exists("out"));
    assert!(check.stdout.contains("-x=1\n+x=2"), "{}", check.all());
    let run = site.playbook("site.yml --output ansible").success();
    assert_eq!(check.count("localhost", "changed"), run.count("localhost", "changed"));
    assert_eq!(site.read("out/a.conf"), "x=2\n");
    assert_eq!(
        site.playbook("site.yml --output ansible").success().count("localhost", "changed"),
        2,
        "copy and lineinfile disagree on purpose"
    );
}

#[test]
fn a_command_in_a_check_is_unknown_and_taints_what_depends_on_it() {
    let (_site, run) = run(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - name: probe\n      command: /bin/false\n      register: r\n    - name: dependent\n      debug: msg=wrong\n      when: r.rc != 0\n    - name: free\n      debug: msg=free\n",
        "--check",
    );
    let run = run.success();
    assert_eq!(messages(&run), ["free"]);
    assert_eq!(run.count("localhost", "unknown"), 2, "{}", run.all());
    assert!(run.stdout.contains("2 unknown: probe; dependent"), "{}", run.all());
}

#[test]
fn a_command_that_only_reads_runs_in_a_check() {
    for keyword in ["check_mode: false", "reads: true"] {
        let (_site, run) = run(
            &format!(
                "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - command: echo hello\n      register: r\n      changed_when: false\n      {keyword}\n    - debug: msg={{{{ r.stdout }}}}\n"
            ),
            "--check",
        );
        assert_eq!(messages(&run.success()), ["hello"]);
    }
}

#[test]
fn what_reads_a_file_that_a_check_only_foresees_does_not_fail() {
    let (_site, run) = run(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - copy: {content: x, dest: \"{{ playbook_dir }}/new\"}\n    - name: look\n      command: cat {{ playbook_dir }}/new\n      reads: true\n    - name: after\n      debug: msg=after\n",
        "--check",
    );
    let run = run.success();
    assert_eq!(messages(&run), ["after"]);
    assert!(run.stdout.contains("1 unknown: look"), "{}", run.all());
}

#[test]
fn text_from_a_host_is_never_rendered() {
    prints(
        "- command: echo '{{ '{{' }} 6 * 7 {{ '}}' }}'\n  register: r\n- debug: msg={{ r.stdout }}\n- debug: msg={{ again }}\n  vars: {again: \"{{ r.stdout }}\"}\n",
        &["{{ 6 * 7 }}", "{{ 6 * 7 }}"],
    );
}

#[test]
fn the_environment_reaches_commands() {
    prints("- shell: echo $A-$B\n  environment: {A: one, B: \"{{ 2 }}\"}\n  register: r\n- debug: msg={{ r.stdout }}\n", &["one-2"]);
}

#[test]
fn json_events_have_a_schema_and_no_secrets() {
    let site = Site::new().file(
        "site.yml",
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - debug: msg=hello\n    - debug: msg=hush-hush-1\n      no_log: true\n",
    );
    let run = site.playbook("site.yml --output json").success();
    assert!(run.stdout.contains("hello") && !run.all().contains("hush-hush-1"), "{}", run.all());
    let events: Vec<serde_json::Value> = run.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(events.iter().all(|event| event["schema"] == 1));
    assert_eq!(events.last().map(|event| event["recap"]["localhost"]["ok"].clone()), Some(2.into()));
}

#[test]
fn only_what_matters_is_shown_and_hosts_are_folded() {
    let site = Site::new()
        .file("hosts.ini", "web[01:12] ansible_connection=local\n")
        .file("site.yml", "- name: Configure\n  hosts: all\n  gather_facts: false\n  tasks:\n    - name: Quiet\n      ping:\n    - name: Loud\n      command: \"true\"\n");
    let run = site.playbook("-i hosts.ini site.yml").success();
    assert!(!run.stdout.contains("Quiet"), "{}", run.all());
    assert!(run.stdout.contains("Loud\n  changed      web[01:12]"), "{}", run.all());
    assert!(run.stdout.contains("web[01:12] : ok=2 changed=1 "), "{}", run.all());
    assert!(site.playbook("-i hosts.ini site.yml -v").success().stdout.contains("Quiet"));
}

#[test]
fn lists_show_what_would_run() {
    let site = Site::new()
        .file("hosts.ini", "h1\nh2\n")
        .file("site.yml", "- name: Play\n  hosts: all\n  tags: [p]\n  tasks:\n    - name: One\n      ping:\n      tags: [a]\n");
    let run = site.playbook("-i hosts.ini site.yml --list-tasks --list-hosts").success();
    assert!(run.stdout.contains("play #1 (all): Play\tTAGS: [p]") && run.stdout.contains("      One\tTAGS: [a, p]"), "{}", run.all());
    assert!(run.stdout.contains("hosts (2):\n      h1\n      h2"), "{}", run.all());
}

#[test]
fn a_debug_below_its_verbosity_is_skipped() {
    let playbook = "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - debug: {msg: quiet, verbosity: 1}\n      register: d\n    - debug: msg=\"{{ d is skipped }}\"\n";
    let (site, run) = run(playbook, "");
    assert_eq!(messages(&run.success()), ["true"]);
    let run = site.playbook("site.yml").success();
    assert_eq!((run.count("localhost", "ok"), run.count("localhost", "skipped")), (1, 1));
    let run = site.playbook("site.yml -v").success();
    assert_eq!(run.count("localhost", "ok"), 2);
    assert!(run.stdout.contains("quiet"), "{}", run.all());
}

#[test]
fn a_debug_that_may_not_be_told_shows_nothing() {
    let site = Site::new().file(
        "site.yml",
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - name: hidden task\n      debug: msg=topsecret\n      no_log: true\n",
    );
    let run = site.playbook("site.yml").success();
    assert!(!run.all().contains("hidden task") && !run.all().contains("topsecret"), "{}", run.all());
    let run = site.playbook("site.yml -v").success();
    assert!(run.stdout.contains("output hidden by `no_log`") && !run.all().contains("topsecret"), "{}", run.all());
}

#[test]
fn a_job_goes_on_by_itself_and_tells_what_came_of_it() {
    let (site, run) = run(
        "- hosts: localhost\n  gather_facts: false\n  vars: {ansible_async_dir: \"{{ playbook_dir }}/jobs\"}\n  tasks:\n    - {shell: echo waited, async: 20, poll: 1, register: r}\n    - debug: msg=\"{{ r.stdout }} {{ r is finished }} {{ r is changed }}\"\n    - {shell: sleep 1; echo later, async: 20, poll: 0, register: j}\n    - debug: msg=\"done {{ j is finished }}\"\n    - {async_status: {jid: \"{{ j.ansible_job_id }}\"}, register: s, until: s is finished, retries: 20, delay: 1}\n    - debug: msg=\"{{ s.stdout }} {{ s is changed }}\"\n    - {async_status: {jid: \"{{ j.ansible_job_id }}\", mode: cleanup}}\n    - {shell: exit 3, async: 20, poll: 1, register: f, ignore_errors: true}\n    - debug: msg=\"{{ f.rc }} {{ f is failed }}\"\n    - {async_status: {jid: ../site.yml}, register: n, ignore_errors: true}\n    - debug: msg=\"{{ n.msg }}\"\n",
        "",
    );
    let run = run.success();
    assert_eq!(messages(&run), ["waited True True", "done False", "later True", "3 True", "could not find job"], "{}", run.all());
    assert!(std::fs::read_dir(site.path().join("jobs")).expect("jobs").next().is_none(), "the files of jobs are removed");
}
