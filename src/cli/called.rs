//! The names that windlass may be called by: under the name of one of Ansible's programs it takes that program's flags.

use std::ffi::OsString;
use std::path::Path;

use crate::run::LIKE_ANSIBLE;

/// Each name, and the words that stand for it on windlass' own command line.
const NAMES: &[(&str, &[&str])] = &[
    ("ansible", &["adhoc", "--output", "ansible"]),
    ("ansible-config", &["config"]),
    ("ansible-doc", &["doc"]),
    ("ansible-inventory", &["inventory"]),
    ("ansible-playbook", &["playbook", "--output", "ansible"]),
    ("ansible-pull", &["pull"]),
    ("ansible-vault", &["vault"]),
];

/// A command line, as windlass' own.
pub(super) struct Line {
    pub(super) words: Vec<OsString>,
    /// What `--version` says in the form of Ansible's programs, where it was asked for.
    pub(super) version: Option<String>,
    /// Ansible's form is wanted.
    pub(super) like_ansible: bool,
}

/// Returns a command line as windlass' own: `ansible-playbook a.yml` is `windlass playbook --output ansible a.yml`.
pub(super) fn line(words: impl IntoIterator<Item = OsString>) -> Line {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let name = words.first().and_then(|word| Path::new(word).file_name()?.to_str()).unwrap_or_default().to_owned();
    let Some((name, own)) = NAMES.iter().find(|(known, _)| *known == name) else {
        let like_ansible =
            words.windows(2).any(|pair| pair == ["--output", "ansible"]) || words.iter().any(|word| word == "--output=ansible");
        return Line { words, version: None, like_ansible };
    };
    let version = words.get(1).is_some_and(|word| word == "--version").then(|| version(name));
    words.splice(..1, ["windlass"].iter().chain(*own).map(OsString::from));
    Line { words, version, like_ansible: true }
}

/// Scripts look for `[core 2.19.14]` in the first line.
fn version(name: &str) -> String {
    let [major, minor, revision] = LIKE_ANSIBLE;
    let config = std::env::var("ANSIBLE_CONFIG").unwrap_or_else(|_| "None".to_owned());
    let program = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    format!(
        "{name} [core {major}.{minor}.{revision}]\n  config file = {config}\n  executable location = {program}\n  windlass = {}",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> String {
        let line = super::line(line.split_whitespace().map(OsString::from));
        let words: Vec<_> = line.words.iter().map(|word| word.to_string_lossy()).collect();
        line.version.unwrap_or_else(|| words.join(" "))
    }

    #[test]
    fn the_name_says_which_program_is_meant() {
        assert_eq!(words("/usr/bin/ansible-playbook a.yml -C"), "windlass playbook --output ansible a.yml -C");
        assert_eq!(words("ansible all -m ping"), "windlass adhoc --output ansible all -m ping");
        assert_eq!(words("ansible-vault view x"), "windlass vault view x");
        assert_eq!(words("windlass --version"), "windlass --version");
        assert!(words("ansible-doc --version").starts_with("ansible-doc [core 2."));
    }
}
