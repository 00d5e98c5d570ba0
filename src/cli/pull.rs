//! `windlass pull`: fetch a repository of playbooks to this machine, and run them here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser as _};
use serde_json::{Map, Value, json};

use super::{Cli, Command, adhoc, playbook};
use crate::change::{Program, programs};
use crate::source::Diagnostic;

/// Flags that have a value: short, long.
const VALUES: &[(&str, &str)] = &[("-U", "--url"), ("-d", "--directory"), ("-C", "--checkout"), ("-s", "--sleep"), ("-m", "--module-name")];

/// Flags that are there or not.
const SWITCHES: &[(&str, &str)] = &[
    ("-f", "--force"),
    ("-o", "--only-if-changed"),
    ("", "--full"),
    ("", "--purge"),
    ("", "--clean"),
    ("", "--accept-host-key"),
    ("", "--track-subs"),
    ("", "--verify-commit"),
];

/// Flags of `windlass pull`. Those that ansible-pull has mean the same here; all others are those of `windlass playbook`.
///
/// -U, --url URL: the repository. -d, --directory DIR: where it goes, `~/.ansible/pull/HOST` if not said. -C, --checkout REF: the
/// branch, tag or commit. -o, --only-if-changed: run nothing where the repository is as it was. -f, --force: run also where it
/// cannot be fetched. -s, --sleep SECONDS: wait first, at random, up to so long. --full: with its whole history. --clean: without
/// changes made here. --purge: remove it afterwards. --accept-host-key, --track-subs, --verify-commit: as of the module `git`.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Flags, and the playbooks of the repository; HOST.yml or local.yml if none is named
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// What of the command line is about the repository, and the rest, for the playbook.
#[derive(Debug, Default)]
struct Split {
    own: Vec<(&'static str, String)>,
    rest: Vec<String>,
}

impl Split {
    fn of(words: &[String]) -> Result<Self, String> {
        let mut split = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if let Some((_, long)) = SWITCHES.iter().find(|(short, long)| word == short || word == long) {
                split.own.push((long, String::new()));
                continue;
            }
            let value = VALUES.iter().find_map(|(short, long)| {
                let attached = word.strip_prefix(&format!("{long}=")).or_else(|| word.strip_prefix(short).filter(|rest| !rest.is_empty()));
                match attached {
                    Some(value) if !word.starts_with("--") || word.contains('=') => Some((*long, Some(value.to_owned()))),
                    _ if word == short || word == long => Some((*long, None)),
                    _ => None,
                }
            });
            match value {
                None => split.rest.push(word.clone()),
                Some((long, Some(value))) => split.own.push((long, value)),
                Some((long, None)) => {
                    let value = words.next().ok_or_else(|| format!("`{long}` needs a value"))?;
                    split.own.push((long, value.clone()));
                }
            }
        }
        Ok(split)
    }

    fn has(&self, flag: &str) -> bool {
        self.value(flag).is_some()
    }

    fn value(&self, flag: &str) -> Option<&str> {
        self.own.iter().rev().find(|(long, _)| *long == flag).map(|(_, value)| value.as_str())
    }

    /// Returns the arguments of the module `git`.
    fn of_git(&self, url: &str, folder: &Path) -> Map<String, Value> {
        let mut arguments = Map::new();
        arguments.insert("repo".to_owned(), json!(url));
        arguments.insert("dest".to_owned(), json!(folder));
        if let Some(version) = self.value("--checkout") {
            arguments.insert("version".to_owned(), json!(version));
        }
        if !self.has("--full") {
            arguments.insert("depth".to_owned(), json!(1));
        }
        let switches = [
            ("--clean", "force"),
            ("--accept-host-key", "accept_hostkey"),
            ("--track-subs", "track_submodules"),
            ("--verify-commit", "verify_commit"),
        ];
        for (_, argument) in switches.iter().filter(|(flag, _)| self.has(flag)) {
            arguments.insert((*argument).to_owned(), json!(true));
        }
        arguments
    }
}

/// Fetches the repository and runs its playbooks.
pub fn run(arguments: &Arguments) -> u8 {
    match pull(arguments) {
        Ok(code) => code,
        Err(wrong) => {
            super::complain(&super::sources(), &[wrong]);
            super::ERROR
        }
    }
}

fn pull(arguments: &Arguments) -> Result<u8, Diagnostic> {
    let split = Split::of(&arguments.words).map_err(Diagnostic::error)?;
    let url =
        split.value("--url").ok_or_else(|| Diagnostic::error("URL for repository not specified").hint("name the repository with `-U`"))?;
    if split.value("--module-name").is_some_and(|module| module != "git" && module != "ansible.builtin.git") {
        return Err(Diagnostic::error("only repositories of git can be pulled").hint("leave out `-m`"));
    }
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = match split.value("--directory") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".ansible/pull").join(&host),
    };
    let folder = std::path::absolute(&folder).map_err(|error| Diagnostic::error(format!("cannot tell where to pull to: {error}")))?;
    let mut playbook = play_words(&split.rest)?;
    if let Some(most) = split.value("--sleep") {
        let most: f64 = most.parse().map_err(|_| Diagnostic::error(format!("`--sleep`: `{most}` is not a number of seconds")))?;
        std::thread::sleep(Duration::from_secs_f64(rand::random::<f64>() * most.clamp(0.0, 86_400.0)));
    }

    let before = commit(&folder);
    let words = ["windlass", "adhoc", "localhost", "-i", "localhost,", "-c", "local", "-m", "git", "-a"].map(str::to_owned);
    let git = Value::Object(split.of_git(url, &folder)).to_string();
    let form = if super::is_like_ansible() { &["--output", "ansible"][..] } else { &[] };
    let words = words.into_iter().chain([git]).chain(form.iter().map(|word| (*word).to_owned()));
    let fetched = match Cli::try_parse_from(words).map(|cli| cli.command) {
        Ok(Command::Adhoc(arguments)) => adhoc::run(&arguments),
        _ => super::ERROR,
    };
    if fetched != super::OK && !split.has("--force") {
        return Ok(fetched);
    }
    if split.has("--only-if-changed") && before.is_some() && before == commit(&folder) {
        super::say("Repository has not changed, quitting.");
        return Ok(super::OK);
    }
    let code = play(&mut playbook, &folder, &host)?;
    if split.has("--purge") {
        let away = std::env::set_current_dir("/").and_then(|()| remove(&folder));
        away.map_err(|error| Diagnostic::error(format!("cannot remove `{}`: {error}", folder.display())))?;
    }
    Ok(code)
}

#[allow(clippy::disallowed_methods, reason = "the copy of the repository is the controller's own, and its person wants it gone")]
fn remove(folder: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(folder)
}

/// Reads the words that are the playbook's; a playbook is named in them or comes later.
fn play_words(rest: &[String]) -> Result<Box<playbook::Arguments>, Diagnostic> {
    const NONE_YET: &str = "\u{1}";
    let form = if super::is_like_ansible() { &["--output", "ansible"][..] } else { &[] };
    let words = ["windlass", "playbook"].iter().chain(form).map(|word| (*word).to_owned()).chain(rest.iter().cloned());
    match Cli::try_parse_from(words.chain([NONE_YET.to_owned()])).map(|cli| cli.command) {
        Ok(Command::Playbook(mut arguments)) => {
            arguments.playbooks.retain(|path| path.as_os_str() != NONE_YET);
            Ok(arguments)
        }
        Ok(_) => Err(Diagnostic::error("this is no command line for a playbook")),
        Err(error) => Err(Diagnostic::error(error.to_string().trim().trim_start_matches("error: ").to_owned())),
    }
}

/// Runs the playbooks in the repository's folder, whose settings and inventory count, for this machine alone.
fn play(playbook: &mut playbook::Arguments, folder: &Path, host: &str) -> Result<u8, Diagnostic> {
    let short = host.split('.').next().unwrap_or_default();
    if playbook.playbooks.is_empty() {
        let usual = [format!("{host}.yml"), format!("{short}.yml"), "local.yml".to_owned()];
        let found = usual.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        playbook.playbooks.push(found.ok_or_else(|| {
            Diagnostic::error("Could not find a playbook to run.").hint(format!("there is none of {} in the repository", usual.join(", ")))
        })?);
    }
    for path in &mut playbook.playbooks {
        *path = folder.join(&*path);
    }
    std::env::set_current_dir(folder).map_err(|error| Diagnostic::error(format!("cannot go to `{}`: {error}", folder.display())))?;
    let flags = &mut playbook.flags;
    flags.connection.get_or_insert_with(|| "local".to_owned());
    if flags.limit.is_empty() {
        let mut names = vec!["localhost", "127.0.0.1", host];
        names.extend((short != host).then_some(short));
        flags.limit = names.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect();
    }
    Ok(playbook::run(playbook))
}

/// Returns the commit that a repository is at.
fn commit(folder: &Path) -> Option<String> {
    let argv = ["git", "-C", &folder.display().to_string(), "rev-parse", "HEAD"].map(str::to_owned).to_vec();
    let output = programs::run(&Program { argv, ..Program::default() }, &[]).ok()?;
    (output.rc == 0).then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_repository_are_told_from_those_of_the_playbook() {
        let words = "-d /srv/p --url=file:///r -e x=1 --only-if-changed --tags a site.yml -Cmain --check".split(' ').map(str::to_owned);
        let split = Split::of(&words.collect::<Vec<_>>()).expect("flags");
        assert_eq!(split.rest, ["-e", "x=1", "--tags", "a", "site.yml", "--check"]);
        assert_eq!(
            (split.value("--directory"), split.value("--url"), split.value("--checkout")),
            (Some("/srv/p"), Some("file:///r"), Some("main"))
        );
        assert!(split.has("--only-if-changed") && !split.has("--force"));
        let git = Value::Object(split.of_git("file:///r", Path::new("/srv/p"))).to_string();
        assert_eq!(git, r#"{"repo":"file:///r","dest":"/srv/p","version":"main","depth":1}"#);
        assert!(Split::of(&["-U".to_owned()]).is_err());
    }

    #[test]
    fn a_playbook_need_not_be_named() {
        assert!(play_words(&["-e".to_owned(), "x=1".to_owned()]).expect("flags").playbooks.is_empty());
        assert_eq!(play_words(&["a.yml".to_owned()]).expect("flags").playbooks, [PathBuf::from("a.yml")]);
        assert!(play_words(&["--no-such-flag".to_owned()]).is_err());
    }
}
