//! Every mistake gives one clear message with its place and a hint, no panic, and nothing half done.

mod harness;

use std::io::{Read as _, Write as _};

use harness::Site;

/// Runs a playbook of one play on localhost, and returns what was told of it.
#[track_caller]
fn told(playbook: &str, words: &str, code: i32) -> String {
    let site = Site::new().file("site.yml", playbook);
    let run = site.playbook(&format!("site.yml {words}")).code(code);
    let all = run.all();
    assert!(!all.contains("panicked"), "{all}");
    all
}

fn play(task: &str) -> String {
    format!(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - file: {{path: \"{{{{ playbook_dir }}}}/touched\", state: touch}}\n    - {task}\n"
    )
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn bad_yaml_names_line_and_column() {
    let text = told("- hosts: localhost\n  tasks:\n    - debug: msg=\"a\n   - ping:\n", "", 1);
    has(&text, &["error:", "site.yml:", "hint"]);
}

#[test]
fn an_unquoted_template_is_explained() {
    let text = told("- hosts: localhost\n  gather_facts: false\n  vars:\n    a: {{ b }}\n  tasks: []\n", "", 1);
    has(&text, &["site.yml:4:", "quote"]);
}

#[test]
fn what_a_failed_program_printed_is_shown() {
    let shell = r#"shell: "for n in $(seq 12); do echo line $n >&2; done; echo out; exit 3""#;
    let text = told(&play(shell), "", 2);
    has(
        &text,
        &["non-zero return code 3: line 12", "stderr (the last 10 of 12 lines; -vv shows all):", "  line 3\n", "stdout:", "  out\n"],
    );
    assert!(!text.contains("line 2\n"), "{text}");
    let hidden = told(&play(&format!("{shell}\n      no_log: true")), "", 2);
    assert!(!hidden.contains("line 11") && !hidden.contains("out\n"), "{hidden}");
}

#[test]
fn items_that_fail_for_the_same_reason_are_told_together() {
    let text = told(&play("copy: {content: x, dest: \"/no/such/{{ item }}\"}\n      loop: [1, 2, 3, 4, 5, 6, 7]"), "", 2);
    has(&text, &["failed       localhost  (1) (2) (3) (4) (5) and 2 more items\n", "the directory `/no/such` does not exist"]);
    assert_eq!(text.matches("does not exist").count(), 1, "{text}");
}

#[test]
fn reads_is_refused_of_a_module_that_writes() {
    let text = told(&play("copy: {content: a, dest: b}\n      reads: true"), "--check", 1);
    has(&text, &["`reads` is for what runs a program", "site.yml:6:14"]);
}

#[test]
fn lint_tells_what_fails_on_whatever_host() {
    let tasks = "file: {path: /x, state: dirctory}\n    - stat: {}\n    - debug: {msg: '{{ a '}\n    - command: x\n      when: a b";
    let site = Site::new().file("site.yml", &play(tasks));
    let run = site.run(["lint", "site.yml"]).code(1);
    has(&run.all(), &["site.yml:5:31", "site.yml:6:7", "missing required arguments: path", "site.yml:7:", "site.yml:9:", "4 errors"]);
}

#[test]
fn a_check_that_does_not_get_through_says_so() {
    let text = told(&play("fail: {msg: no}"), "--check", 2);
    has(&text, &["steps predicted; nothing is known of what comes after the failure on localhost"]);
}

#[test]
fn an_unknown_module_is_told_before_anything_runs() {
    let site = Site::new().file("site.yml", &play("cpy: {src: a, dest: b}"));
    let run = site.playbook("site.yml").code(1);
    has(&run.all(), &["there is no module `cpy`", "site.yml:5:7", "did you mean `copy`"]);
    assert!(!site.exists("touched"));
}

#[test]
fn an_unknown_argument_is_told_before_anything_runs() {
    let site = Site::new().file("site.yml", &play("copy: {content: a, dets: b}"));
    let run = site.playbook("site.yml").code(1);
    has(&run.all(), &["`copy` has no argument `dets`", "site.yml:5:26", "did you mean `dest`"]);
    assert!(!site.exists("touched"));
}

#[test]
fn an_undefined_variable_names_itself_its_place_and_what_is_near() {
    let text =
        told("- hosts: localhost\n  gather_facts: false\n  vars: {colour: red}\n  tasks:\n    - debug: msg=\"{{ color }}\"\n", "", 2);
    has(&text, &["'color' is undefined", "site.yml:5:", "did you mean `colour`"]);
}

#[test]
fn an_undefined_variable_that_is_like_no_other_has_a_hint_too() {
    let text = told(&play("debug: msg=\"{{ zyx }}\""), "", 2);
    has(&text, &["'zyx' is undefined", "site.yml:5:", "hint: give it a value", "default(...)"]);
}

#[test]
fn an_undefined_attribute_names_what_is_missing() {
    let text = told(
        "- hosts: localhost\n  gather_facts: false\n  vars: {db: {port: 1}}\n  tasks:\n    - debug:\n        msg: \"{{ db.prot }}\"\n",
        "",
        2,
    );
    has(&text, &["'prot'", "site.yml:6:", "did you mean `port`"]);
}

#[test]
fn a_missing_role_lists_the_places() {
    let text = told("- hosts: localhost\n  roles: [nosuch]\n", "", 1);
    has(&text, &["there is no role `nosuch`", "site.yml:2:", "looked in"]);
}

#[test]
fn a_missing_file_lists_the_places() {
    let text = told(&play("copy: {src: nosuch.txt, dest: /tmp/x}"), "", 2);
    has(&text, &["'nosuch.txt'", "site.yml:5:14", "looked for"]);
    let site = Site::new().file("site.yml", &play("template: {src: modt.j2, dest: /tmp/x}")).file("templates/motd.j2", "");
    has(&site.playbook("site.yml").code(2).all(), &["Could not find or access 'modt.j2'", "site.yml:5:18", "did you mean `motd.j2`?"]);
}

#[test]
fn a_missing_playbook_and_a_missing_inventory_are_told() {
    let site = Site::new().file("site.yml", &play("ping:"));
    has(&site.playbook("nosuch.yml").code(1).all(), &["there is no playbook `nosuch.yml`"]);
    has(&site.playbook("-i nosuch.ini site.yml").code(1).all(), &["nosuch.ini"]);
}

#[test]
fn a_wrong_vault_password_names_file_and_what_was_tried() {
    let site = Site::new()
        .file("right", "one\n")
        .file("wrong", "two\n")
        .file("vars.yml", "a: 1\n")
        .file("site.yml", "- hosts: localhost\n  gather_facts: false\n  vars_files: [vars.yml]\n  tasks:\n    - debug: var=a\n");
    let _ = site.run(["vault", "encrypt", "--vault-password-file", "right", "vars.yml"]).success();
    assert!(site.read("vars.yml").starts_with("$ANSIBLE_VAULT;1."));
    let _ = site.playbook("site.yml --vault-password-file right").success();
    let run = site.playbook("site.yml --vault-password-file wrong");
    assert!(matches!(run.code, 1 | 2), "{}", run.all());
    has(&run.all(), &["vars.yml", "wrong"]);
    let run = site.playbook("site.yml");
    assert!(matches!(run.code, 1 | 2), "{}", run.all());
    has(&run.all(), &["vars.yml", "hint"]);
}

#[test]
fn an_unreachable_host_is_told_once_with_code_4() {
    let site = Site::new()
        .file("hosts.ini", "gone ansible_host=127.0.0.1 ansible_port=1\n")
        .file("site.yml", "- hosts: all\n  gather_facts: false\n  tasks:\n    - ping:\n");
    let run = site.playbook("-i hosts.ini site.yml").code(4);
    has(&run.all(), &["connection refused", "127.0.0.1:1", "ansible_port"]);
    assert_eq!(run.count("gone", "unreachable"), 1);
}

#[test]
fn an_ssh_option_that_is_not_understood_is_named() {
    let site = Site::new()
        .file("hosts.ini", "h ansible_host=127.0.0.1 ansible_ssh_common_args='-o Ciphers=x'\n")
        .file("site.yml", "- hosts: all\n  gather_facts: false\n  tasks:\n    - ping:\n");
    has(&site.playbook("-i hosts.ini site.yml").code(4).all(), &["Ciphers", "ansible_ssh_common_args"]);
}

#[test]
fn a_full_disk_is_told_and_leaves_the_old_file() {
    let site = Site::new().file(
        "site.yml",
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - copy: {content: \"{{ 'x' * 10 }}\", dest: /dev/full/x}\n",
    );
    let run = site.playbook("site.yml").code(2);
    has(&run.all(), &["/dev/full", "site.yml:4:"]);
}

#[test]
fn an_expired_authority_signs_nothing() {
    use windlass::formats::certificates::{Wish, new_authority};
    use windlass::formats::private_key::{KeyKind, PrivateKey};
    let key = PrivateKey::generate(KeyKind::EcP256).expect("key");
    let wish = Wish { subject: "CN=Old".into(), dns: vec![], ip: vec![], not_before: 1_577_836_800, not_after: 1_609_459_200 };
    let site = Site::new()
        .file("ca/ca.crt", &new_authority(&wish, &key).expect("authority").to_pem())
        .file("ca/ca.key", &key.to_pem(None).expect("PEM"))
        .file(
            "site.yml",
            "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - certificate:\n        path: \"{{ playbook_dir }}/node.crt\"\n        key_path: \"{{ playbook_dir }}/node.key\"\n        authority: {cert: ca/ca.crt, key: ca/ca.key}\n        dns: [node.example.net]\n",
        );
    for words in ["site.yml --check", "site.yml"] {
        let run = site.playbook(words).code(2);
        has(&run.all(), &["the certificate authority `ca/ca.crt` expired", "on 2021-01-01", "site.yml:", "hint:", "renew_before"]);
        assert!(!site.exists("node.crt") && !site.exists("node.key"));
    }
}

#[test]
fn an_api_that_refuses_is_told_with_its_own_reason() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let mut seen = [0; 4096];
        let length = stream.read(&mut seen).expect("request");
        let body = r#"{"error":{"type":"security_exception","reason":"action [cluster:monitor/health] is unauthorized for user [ops]"},"status":403}"#;
        let head = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close";
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("answer");
        String::from_utf8_lossy(&seen[..length]).lines().next().unwrap_or_default().to_owned()
    });
    let site = Site::new().file(
        "site.yml",
        &format!("- hosts: localhost\n  gather_facts: false\n  tasks:\n    - elasticsearch_health: {{url: \"http://{address}\", username: ops, password: opssecret, timeout: 5}}\n"),
    );
    let run = site.playbook("site.yml -vvv").code(2);
    has(&run.all(), &["403", "unauthorized for user [ops]", "site.yml:4:7", "hint:"]);
    assert!(!run.all().contains("opssecret"), "{}", run.all());
    assert!(server.join().expect("server").starts_with("GET /"));
}

#[test]
fn a_wrong_flag_shows_what_is_near() {
    let site = Site::new();
    let run = site.run(["playbook", "--chek", "x.yml"]).code(2);
    has(&run.all(), &["--chek", "--check"]);
}
