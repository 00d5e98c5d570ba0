//! Files that are broken at random are never a panic: they are read, or refused with a message. The same ones in each run.

#![allow(clippy::disallowed_methods, clippy::panic, reason = "a test prepares its own files, and says on which input one panicked")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use windlass::agent::frame;
use windlass::agent::protocol::{FromAgent, ToAgent};
use windlass::change::Mode;
use windlass::connect::config::Config as SshConfig;
use windlass::connect::options::Options;
use windlass::connect::settings::{Settings, Warnings};
use windlass::formats::certificates::{Authority, Wish, new_authority};
use windlass::formats::keystore::Keystore;
use windlass::formats::pkcs12::Store;
use windlass::formats::private_key::{KeyKind, PrivateKey};
use windlass::load::at_load::{AtLoad, Known};
use windlass::load::config::Config;
use windlass::load::inventory::{ALL, Inventory};
use windlass::load::loader::Loader;
use windlass::load::vault::{Vault, open_with, seal_with};
use windlass::load::{check, settings};
use windlass::source::{Diagnostic, Severity, Sources, Span};
use windlass::value::{Map, Value};
use windlass::vars::Engine;

/// Numbers that look random (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(most.max(1)).expect("fits")).expect("fits")
    }

    /// Bytes that mean something to one of the formats, and some that mean nothing.
    fn byte(&mut self) -> u8 {
        const MEANING: &[u8] = b"{}[]()<>:;,=-+#%&*!|@'\"\\/~^$ \t\n\r\0.0aZ_\xff\xc3\x80";
        if self.below(4) == 0 { u8::try_from(self.below(256)).expect("a byte") } else { MEANING[self.below(MEANING.len())] }
    }

    /// Returns a sample, broken in up to five ways.
    fn mangle(&mut self, sample: &[u8]) -> Vec<u8> {
        let mut bytes = sample.to_vec();
        for _ in 0..=self.below(5) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(20)).min(bytes.len());
            match self.below(7) {
                _ if bytes.is_empty() => bytes.push(self.byte()),
                0 => bytes[at] = self.byte(),
                1 => bytes.insert(at, self.byte()),
                2 => bytes.truncate(at),
                3 => drop(bytes.drain(at..end)),
                4 => {
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                5 => bytes[at] ^= 1 << self.below(8),
                _ => {
                    let byte = self.byte();
                    bytes.splice(at..at, std::iter::repeat_n(byte, 1 + self.below(40)));
                }
            }
        }
        bytes
    }
}

/// Has `read` read samples that are broken in many ways. What it returns are the messages, where it refuses.
#[track_caller]
fn never_panics(samples: &[&[u8]], rounds: usize, read: impl Fn(&[u8]) -> Result<(), Vec<String>>) {
    let mut dice = Dice(42);
    let mut refused = 0;
    for round in 0..rounds {
        let input = dice.mangle(samples[round % samples.len()]);
        match catch_unwind(AssertUnwindSafe(|| read(&input))) {
            Ok(Ok(())) => {}
            Ok(Err(messages)) => {
                refused += 1;
                let shown = String::from_utf8_lossy(&input);
                assert!(!messages.is_empty() && messages.iter().all(|message| !message.trim().is_empty()), "no message for\n{shown}");
            }
            Err(_) => panic!("round {round} panicked on\n{}", String::from_utf8_lossy(&input)),
        }
    }
    // Else what is tried is hardly broken, or nothing of it is read at all.
    assert!(refused > rounds / 20 && refused <= rounds, "{refused} of {rounds} were refused");
}

fn messages(errors: Vec<Diagnostic>) -> Vec<String> {
    errors.into_iter().map(|error| error.message).collect()
}

fn inventory(name: &str, text: &[u8]) -> Result<(), Vec<String>> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("writes");
    let inventory = Inventory::load(&Sources::default(), &Arc::default(), &[path.display().to_string()]).map_err(messages)?;
    for host in inventory.hosts() {
        let _ = (inventory.variables(&host), inventory.groups_of(&host));
    }
    inventory.hosts_matching("all:!web:&db[0],~w.*", &[ALL.to_owned()]).map(|_| ()).map_err(|error| vec![error.message])
}

#[test]
fn inventories() {
    let ini: &[u8] = b"lone ansible_host=10.0.0.1 # c\nb[01:03].example.net:2222 n=5 s='a b' l=\"[1, 'x']\"\n[db]\nd[a:c]\n[web:children]\ndb\n[db:vars]\nx = {'a': 1}\n[all:vars]\ng=\"{{ y }}\"\n";
    never_panics(&[ini], 400, |text| inventory("hosts.ini", text));
    let yaml: &[u8] = b"all:\n  vars: {g: 1, h: [a, b]}\n  children:\n    web:\n      hosts:\n        w[1:3].example.net: {port: 80, t: !unsafe '{{ x }}'}\n      vars:\n        text: |\n          lines\n    db: {hosts: {d1: }, children: {deep: {hosts: {d2: null}}}}\n";
    never_panics(&[yaml], 400, |text| inventory("hosts.yml", text));
    let toml: &[u8] = b"[all.vars]\ng = 1\n[web.hosts]\nw1 = {}\n\"w[2:4]\" = { port = 80, l = [1, 2] }\n[db]\nchildren = [\"deep\"]\n[deep.hosts.d1]\nx = 2024-01-01\n";
    never_panics(&[toml], 400, |text| inventory("hosts.toml", text));
    let built: &[u8] = b"plugin: constructed\nstrict: true\ngroups:\n  even: \"port % 2 == 0\"\ncompose: {a: port | int}\nkeyed_groups:\n  - {prefix: p, key: port, separator: ''}\n";
    never_panics(&[built], 200, |text| inventory("built.yml", text));
}

const PLAYBOOK: &[u8] = b"- name: a play\n  hosts: web:&db\n  serial: [1, 50%]\n  vars: {a: 1, b: \"{{ a }}\"}\n  vars_files: [v.yml, [x, y]]\n  roles:\n    - {role: r, tags: [t], vars: {x: 1}}\n  tasks:\n    - name: shell\n      ansible.builtin.shell: \"echo a=b 'c d' creates=/x\"\n      when: [a == 1, b is defined]\n      loop: \"{{ [1, 2] }}\"\n      loop_control: {loop_var: i, label: \"{{ i }}\"}\n      register: out\n      until: out is success\n    - block:\n        - copy: {content: \"x\\n\", dest: /tmp/x, mode: \"0644\"}\n        - {debug: msg=\"a b\", notify: [h]}\n      rescue: [{fail: {msg: no}}]\n      always:\n        - meta: flush_handlers\n      become: true\n    - import_tasks: nothing.yml\n    - include_role: {name: r, apply: {tags: x}}\n  handlers:\n    - name: h\n      service: {name: x, state: restarted}\n";

fn playbook(text: &[u8]) -> Result<(), Vec<String>> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("site.yml");
    std::fs::write(&path, text).expect("writes");
    let loader = Loader::new(Sources::default(), Arc::new(Vault::default()), Vec::new(), Arc::new(|value, _| Ok(value.clone())));
    let playbook = loader.playbook(&path).map_err(messages)?;
    let wrong = check::playbook(&playbook, true, &loader.collections)
        .into_iter()
        .filter(|found| found.severity == Severity::Error)
        .collect::<Vec<_>>();
    if wrong.is_empty() { Ok(()) } else { Err(messages(wrong)) }
}

#[test]
fn playbooks() {
    never_panics(&[PLAYBOOK], 600, playbook);
}

#[test]
fn texts_that_nest_or_repeat_without_end() {
    let doubled: String = (1..40).map(|at| format!("a{at}: &a{at} [*a{}, *a{}]\n", at - 1, at - 1)).collect();
    let texts = [
        "[".repeat(50_000),
        "{a: ".repeat(50_000),
        "- ".repeat(50_000),
        (0..3000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
        format!("a0: &a0 [x]\n{doubled}"),
        "&a [*a]".to_owned(),
    ];
    for text in &texts {
        for read in [playbook, |text: &[u8]| inventory("hosts.yml", text)] {
            assert!(read(text.as_bytes()).is_err_and(|messages| !messages.is_empty()), "{}...", &text[..20.min(text.len())]);
        }
    }
}

#[test]
fn templates() {
    let samples: [&[u8]; 3] = [
        b"{{ a | default('x') ~ b[0].c | map('upper') | join(', ') }} {% if a is defined and not b %}x{% else %}{{ -1.5 + 2 }}{% endif %}",
        b"{% for i in b | sort(reverse=true) %}{{ loop.index }}:{{ i }}{% if not loop.last %},{% endif %}{% endfor %}{# c #}{%- set x = {'k': [1, (2,)]} -%}{{ x.k }}",
        b"{% macro m(a, b=2) %}{{ a }}{% endmacro %}{{ m('q') | regex_replace('(.)', '\\\\1') }}{{ 'a,b'.split(',')[-1] }}{{ lookup('env', 'X') }}",
    ];
    let engine = Engine::new(Arc::new(AtLoad::new(Arc::default())), Sources::default());
    let variables = Known(Map::from_iter([("a".into(), Value::from(1)), ("b".into(), Value::list([Value::str("z"), Value::str("y")]))]));
    never_panics(&samples, 900, |text| {
        let text = String::from_utf8_lossy(text);
        let rendered = engine.render(&Value::text(&text, Span::default()), &variables);
        let file = engine.render_file(Path::new("t.j2"), &text, &Map::new(), &variables);
        rendered.and(file).map(|_| ()).map_err(|error| vec![error.message])
    });
}

#[test]
fn vaults() {
    let sealed = seal_with("a secret", "pw", Some("0123456789abcdef0123456789abcdef"), "label").expect("seals");
    never_panics(&[sealed.as_bytes()], 150, |text| {
        let text = String::from_utf8_lossy(text);
        open_with(&text, "pw").map(|_| ()).map_err(|error| vec![error])
    });
}

#[test]
fn keystores() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keystores"));
    let samples = ["lucene-written-v3.keystore", "lucene-written-v4.keystore", "v3-empty.keystore"];
    let samples = samples.map(|name| std::fs::read(folder.join(name)).expect("keystore"));
    let samples: Vec<_> = samples.iter().map(Vec::as_slice).collect();
    never_panics(&samples, 150, |bytes| Keystore::read(bytes, "").map(|_| ()).map_err(|error| vec![error.to_string()]));
}

#[test]
fn pkcs12_stores() {
    let wish = |subject: &str| Wish {
        subject: subject.to_owned(),
        dns: Vec::new(),
        ip: Vec::new(),
        not_before: 1_700_000_000,
        not_after: 4_000_000_000,
    };
    let key = PrivateKey::generate(KeyKind::EcP256).expect("key");
    let authority = Authority::new(vec![new_authority(&wish("CN=ca"), &key).expect("authority")], key.clone()).expect("fits");
    let leaf = authority.issue(&wish("CN=node"), &key).expect("leaf");
    let store = Store { alias: "node".into(), key, chain: vec![leaf], trusted: vec![("ca".into(), authority.certificate)] };
    let bytes = store.write("password").expect("writes");
    never_panics(&[&bytes], 60, |bytes| Store::read(bytes, "password").map(|_| ()).map_err(|error| vec![error.to_string()]));
}

#[test]
fn messages_between_controller_and_agent() {
    let task = windlass::agent::protocol::Task {
        module: "copy".to_owned(),
        items: vec![Map::from_iter([("dest".into(), Value::str("/x")), ("n".into(), Value::list([Value::from(1), Value::Null]))])],
        mode: Mode::Check,
        diff: true,
        environment: vec![("A".to_owned(), "b".to_owned())],
        timeout: Some(5),
        foreseen: Vec::new(),
        job: None,
        steps: vec!["key".to_owned()],
        alone: false,
        doubt: Default::default(),
        bound: Vec::new(),
    };
    let sample = frame::encode(&ToAgent::Task(task)).expect("encodes");
    never_panics(&[&sample], 3000, |bytes| {
        let said = |error: std::io::Error| vec![error.to_string()];
        frame::read::<ToAgent>(&mut &*bytes).map_err(said)?;
        frame::read::<FromAgent>(&mut &*bytes).map(|_| ()).map_err(said)
    });
}

#[test]
fn settings_of_ansible_and_ssh() {
    let cfg: &[u8] = b"[defaults]\nforks = 7\nremote_user: ops ; the user\ninventory = a,\n  b\nroles_path = ~/r:/s\nhost_key_checking = no\n[privilege_escalation]\nbecome=True\n[tags]\nrun = a, b\n";
    never_panics(&[cfg], 400, |text| {
        let config = Config::read(&|_| None, &String::from_utf8_lossy(text));
        for setting in settings::ALL {
            let _ = (config.flag(setting.name), config.number(setting.name), config.list(setting.name), config.paths(setting.name));
        }
        let _ = config.inventory();
        if config.warnings.is_empty() { Ok(()) } else { Err(config.warnings) }
    });
    let ssh: &[u8] = b"Host web* !web9\n  HostName %h.example.net\n  Port 2222\n  User \"ops\"\n  ProxyJump a@b:22,c\n  IdentityFile ~/.ssh/%r_key\nMatch host db user root exec \"true\"\n  ServerAliveInterval 5\nMatch all\n  StrictHostKeyChecking accept-new\n  Include other/*.conf\n";
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("config");
    let settings = Settings::of_this_user(Warnings::to(|_| {}));
    // Most that is unknown in it is passed over, as ssh does.
    let read = |text: &[u8]| {
        // Nothing of a mangled file is run.
        let text = String::from_utf8_lossy(text).replace("exec", "user");
        std::fs::write(&path, text.as_bytes()).expect("writes");
        let config = SshConfig::read(std::slice::from_ref(&path), &settings);
        for host in ["web1", "db", "other"] {
            config.options(host, &Options::default(), &settings).map_err(|trouble| vec![trouble.to_string()])?;
        }
        Ok(())
    };
    never_panics(&[ssh], 400, read);
}
