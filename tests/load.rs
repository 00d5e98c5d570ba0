//! Playbooks as loaded: the shipped ones are whole, and each kind of mistake is told with its place.

#![allow(clippy::disallowed_methods, reason = "tests prepare their own files")]

use std::path::Path;
use std::sync::Arc;

use windlass::load::loader::Loader;
use windlass::load::playbook::{Action, Item};
use windlass::load::{check, vault::Vault};
use windlass::source::{Sources, render};

fn loader() -> Loader {
    Loader::new(Sources::default(), Arc::new(Vault::default()), Vec::new(), Arc::new(|value, _| Ok(value.clone())))
}

/// Returns what is told of a playbook's text, rendered.
fn told(text: &str) -> String {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("site.yml");
    std::fs::write(&path, text).expect("write");
    let loader = loader();
    let wrong = match loader.playbook(&path) {
        Ok(playbook) => check::playbook(&playbook, false, &loader.collections),
        Err(errors) => errors,
    };
    let lines: Vec<_> = wrong.iter().map(|diagnostic| render::text(&loader.sources, diagnostic, false)).collect();
    lines.join("\n\n").replace(&folder.path().display().to_string(), "$SITE")
}

#[test]
fn the_shipped_playbooks_and_roles_are_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["remote-cluster", "verify", "rotate-api-key", "renew-certificates", "disconnect"] {
        let loader =
            Loader::new(Sources::default(), Arc::new(Vault::default()), vec![root.join("roles")], Arc::new(|value, _| Ok(value.clone())));
        let playbook = loader.playbook(&root.join(format!("playbooks/{name}.yml"))).unwrap_or_else(|errors| {
            panic!("{name}: {}", errors.iter().map(|error| render::text(&loader.sources, error, false)).collect::<Vec<_>>().join("\n"))
        });
        let wrong: Vec<_> =
            check::playbook(&playbook, true, &loader.collections).iter().map(|error| render::text(&loader.sources, error, false)).collect();
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn a_command_line_keeps_its_words_and_gives_up_its_arguments() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("site.yml");
    std::fs::write(&path, "- hosts: all\n  tasks:\n    - command: echo a=b 'c  d' creates=/x chdir={{ dir }}\n").expect("write");
    let playbook = loader().playbook(&path).expect("loads");
    let Some(Item::Task(task)) = playbook.plays[0].tasks.first() else { panic!("a task") };
    let Action::Module { arguments, .. } = &task.action else { panic!("a module") };
    let text: Vec<_> = arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(text[..2], ["creates=/x", "chdir={{ dir }}"]);
    assert!(text[2].ends_with("=echo a=b 'c  d'"), "{text:?}");
}

#[test]
fn an_unknown_keyword_is_named_with_what_is_near() {
    let told = told("- hosts: all\n  task:\n    - ping:\n");
    assert!(told.contains("`task` is not a keyword of a play"), "{told}");
    assert!(told.contains("site.yml:2:3") && told.contains("did you mean `tasks`"), "{told}");
}

#[test]
fn two_modules_in_a_task_are_told_with_the_wrong_one() {
    let told = told("- hosts: all\n  tasks:\n    - ping:\n      whn: x\n");
    assert!(told.contains("`ping` and `whn`") && told.contains("site.yml:4:7") && told.contains("did you mean `when`"), "{told}");
}

#[test]
fn an_unknown_module_is_told_before_anything_runs_unless_it_is_guarded() {
    let wrong = told("- hosts: all\n  tasks:\n    - pnig:\n");
    assert!(wrong.contains("there is no module `pnig`") && wrong.contains("did you mean `ping`"), "{wrong}");
    assert_eq!(told("- hosts: all\n  tasks:\n    - zypper: {name: x}\n      when: false\n"), "");
}

#[test]
fn an_unknown_argument_is_told_with_its_place() {
    let told = told("- hosts: all\n  tasks:\n    - ping:\n        dato: x\n");
    assert!(
        told.contains("`ping` has no argument `dato`") && told.contains("site.yml:4:9") && told.contains("did you mean `data`"),
        "{told}"
    );
}

#[test]
fn a_missing_role_says_where_it_was_looked_for() {
    let told = told("- hosts: all\n  roles:\n    - nosuch\n");
    assert!(told.contains("there is no role `nosuch`") && told.contains("looked in `$SITE/roles`"), "{told}");
}

#[test]
fn a_missing_import_is_told_with_the_places() {
    let told = told("- hosts: all\n  tasks:\n    - import_tasks: more.yml\n");
    assert!(told.contains("there is no file `more.yml`") && told.contains("looked for `$SITE/more.yml`"), "{told}");
}
