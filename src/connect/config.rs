//! `ssh_config`: which options hold for a host.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::options::{Options, Taken};
use super::settings::{Settings, Warnings};
use super::trouble::{Kind, Trouble};

/// How deep files may include each other.
const DEEPEST: usize = 16;

/// What `ssh_config` files say, read once.
#[derive(Clone, Debug, Default)]
pub struct Config {
    blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
struct Block {
    /// The `Host` or `Match` line that it stands under.
    condition: Condition,
    /// The lines that stand around the `Include` of its file: all must hold too.
    within: Vec<Condition>,
    lines: Vec<Line>,
}

/// What a `Host` or `Match` line asks for.
#[derive(Clone, Debug)]
enum Condition {
    /// Nothing: before the first such line.
    Always,
    /// A name among these patterns.
    Host(Vec<String>),
    /// All of these.
    Match(Vec<Criterion>),
    /// Something that windlass does not know.
    Never,
}

/// One part of a `Match` line.
#[derive(Clone, Debug)]
struct Criterion {
    /// Whether it must not hold.
    negated: bool,
    kind: Asked,
    /// Patterns, or the command.
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    All,
    Host,
    OriginalHost,
    User,
    LocalUser,
    Exec,
    /// `final` and `canonical`: only when the files are gone through once more.
    Again,
}

#[derive(Clone, Debug)]
struct Line {
    name: String,
    value: String,
    place: String,
}

impl Config {
    /// Reads files, in the order in which they hold. One that does not exist says nothing.
    pub fn read(files: &[PathBuf], settings: &Settings) -> Self {
        let mut config = Self::default();
        for file in files {
            config.add_file(file, &[], settings, 0);
        }
        config
    }

    fn add_file(&mut self, file: &Path, within: &[Condition], settings: &Settings, depth: usize) {
        match std::fs::read_to_string(file) {
            Ok(text) => self.add_text(&text, file, within, settings, depth),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => settings.warnings.say(&format!("{} cannot be read, so it is left out: {error}", settings.tilded(file))),
        }
    }

    fn add_text(&mut self, text: &str, file: &Path, within: &[Condition], settings: &Settings, depth: usize) {
        let fresh = |condition: Condition| Block { condition, within: within.to_vec(), lines: Vec::new() };
        let mut block = fresh(Condition::Always);
        for (number, line) in text.lines().enumerate() {
            let Some((name, value)) = keyword(line) else { continue };
            let place = format!("{}:{}", settings.tilded(file), number + 1);
            match name.to_ascii_lowercase().as_str() {
                "host" => self.blocks.push(std::mem::replace(&mut block, fresh(Condition::Host(words(value))))),
                "match" => {
                    let condition = criteria(value).map(Condition::Match).unwrap_or_else(|why| {
                        settings.warnings.say(&format!("{place}: {why}: the lines up to the next `Host` or `Match` are left out"));
                        Condition::Never
                    });
                    self.blocks.push(std::mem::replace(&mut block, fresh(condition)));
                }
                "include" => {
                    let mut inner = within.to_vec();
                    inner.push(block.condition.clone());
                    let condition = block.condition.clone();
                    self.blocks.push(std::mem::replace(&mut block, fresh(condition)));
                    if depth >= DEEPEST {
                        settings.warnings.say(&format!("{place}: files include each other too deep; this one is left out"));
                        continue;
                    }
                    for included in words(value).iter().flat_map(|word| included(word, file, settings)) {
                        self.add_file(&included, &inner, settings, depth + 1);
                    }
                }
                _ => block.lines.push(Line { name: name.to_owned(), value: value.to_owned(), place }),
            }
        }
        self.blocks.push(block);
    }

    /// Returns the options that hold for `host`, the name as the user has it. `given` is what ranks above the files.
    ///
    /// # Errors
    /// Names the line whose option cannot be followed.
    pub fn options(&self, host: &str, given: &Options, settings: &Settings) -> Result<Options, Trouble> {
        let mut options = Options::default();
        for again in [false, true] {
            for block in &self.blocks {
                let about = About { host, given, options: &options, settings, again };
                let conditions = || std::iter::once(&block.condition).chain(&block.within);
                // The second time round is only for what waited for it.
                if !conditions().all(|condition| about.holds(condition)) || (again && !conditions().any(Condition::waits)) {
                    continue;
                }
                for line in &block.lines {
                    apply(&mut options, line, &settings.warnings)?;
                }
            }
        }
        Ok(options)
    }
}

impl Condition {
    /// Whether it asks for the second time round.
    fn waits(&self) -> bool {
        matches!(self, Self::Match(criteria) if criteria.iter().any(|criterion| criterion.kind == Asked::Again && !criterion.negated))
    }
}

/// What conditions are about.
struct About<'a> {
    host: &'a str,
    given: &'a Options,
    /// What the files said so far.
    options: &'a Options,
    settings: &'a Settings,
    again: bool,
}

impl About<'_> {
    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Always => true,
            Condition::Never => false,
            Condition::Host(patterns) => matches_any(patterns, self.host),
            // In order, so that a command runs only where what stands before it holds.
            Condition::Match(criteria) => criteria.iter().all(|criterion| self.meets(criterion) != criterion.negated),
        }
    }

    fn meets(&self, criterion: &Criterion) -> bool {
        let among = |text: &str| matches_any(&criterion.value.split(',').collect::<Vec<_>>(), text);
        match criterion.kind {
            Asked::All => true,
            Asked::Host => among(&self.host_name()),
            Asked::OriginalHost => among(self.host),
            Asked::User => among(self.user()),
            Asked::LocalUser => among(&self.settings.login),
            Asked::Exec => self.succeeds(&criterion.value),
            Asked::Again => self.again,
        }
    }

    fn host_name(&self) -> String {
        let name = self.given.host_name.as_ref().or(self.options.host_name.as_ref());
        name.map_or_else(|| self.host.to_owned(), |name| name.replace("%h", self.host))
    }

    fn user(&self) -> &str {
        self.given.user.as_ref().or(self.options.user.as_ref()).unwrap_or(&self.settings.login)
    }

    #[allow(clippy::disallowed_methods, reason = "the user's own ssh_config asks for it")]
    fn succeeds(&self, line: &str) -> bool {
        let port = self.given.port.or(self.options.port).unwrap_or(22).to_string();
        let host = self.host_name();
        let home = self.settings.home.to_string_lossy();
        let pairs =
            [("%h", host.as_str()), ("%n", self.host), ("%p", &port), ("%r", self.user()), ("%u", &self.settings.login), ("%d", &home)];
        let line = pairs.iter().fold(line.replace("%%", "\0"), |line, (token, text)| line.replace(token, text)).replace('\0', "%");
        let mut command = std::process::Command::new("/bin/sh");
        command.arg("-c").arg(line).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// Reads what stands behind `Match`.
fn criteria(text: &str) -> Result<Vec<Criterion>, String> {
    let mut found = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let (negated, word) = match word.strip_prefix('!') {
            Some(rest) => (true, rest.to_owned()),
            None => (false, word),
        };
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) => (name.to_ascii_lowercase(), Some(value.to_owned())),
            None => (word.to_ascii_lowercase(), None),
        };
        let kind = match name.as_str() {
            "all" => Asked::All,
            "final" | "canonical" => Asked::Again,
            "host" => Asked::Host,
            "originalhost" => Asked::OriginalHost,
            "user" => Asked::User,
            "localuser" => Asked::LocalUser,
            "exec" => Asked::Exec,
            _ => return Err(format!("windlass does not know `Match {name}`")),
        };
        let value = match kind {
            Asked::All | Asked::Again => String::new(),
            _ => attached.or_else(|| words.next()).ok_or_else(|| format!("`Match {name}` has nothing behind it"))?,
        };
        found.push(Criterion { negated, kind, value });
    }
    if found.is_empty() { Err("`Match` has nothing behind it".to_owned()) } else { Ok(found) }
}

fn apply(options: &mut Options, line: &Line, warnings: &Warnings) -> Result<(), Trouble> {
    let Line { name, value, place } = line;
    match options.set(name, value) {
        Ok(Taken::Used | Taken::Harmless) => {}
        Ok(Taken::Unsupported) => warnings.say(&format!("{place}: windlass does not follow `{name}`; it is left out")),
        Ok(Taken::Unknown) => warnings.say(&format!("{place}: `{name}` is not known; it is left out")),
        Err(why) => return Err(Trouble::new(Kind::Settings, format!("{place}: `{name}` cannot be followed: {why}"))),
    }
    Ok(())
}

/// Splits a line into keyword and value; `None` for empty lines and comments.
fn keyword(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let at = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (name, rest) = line.split_at(at);
    let rest = rest.trim_start();
    Some((name, rest.strip_prefix('=').unwrap_or(rest).trim()))
}

fn words(value: &str) -> Vec<String> {
    super::options::split(value).unwrap_or_else(|| value.split_whitespace().map(str::to_owned).collect())
}

fn included(word: &str, from: &Path, settings: &Settings) -> Vec<PathBuf> {
    let path = settings.untilded(word);
    let path = if path.is_absolute() {
        path
    } else if from.starts_with(&settings.home) {
        settings.home.join(".ssh").join(path)
    } else {
        from.parent().unwrap_or(Path::new("/")).join(path)
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains(['*', '?']) {
        return vec![path];
    }
    let Some(folder) = path.parent() else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| matches(&name, &entry.file_name().to_string_lossy()) && !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Whether `host` is among patterns with `*`, `?` and, for exceptions, `!`.
pub fn matches_any<S: AsRef<str>>(patterns: &[S], host: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.as_ref().strip_prefix('!') {
            Some(exception) if matches(exception, host) => return false,
            Some(_) => {}
            None => found = found || matches(pattern.as_ref(), host),
        }
    }
    found
}

/// Whether `text` is like `pattern`, with `*` and `?`, upper and lower case being the same.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        if pattern.get(at).is_some_and(|c| *c == '?' || (*c != '*' && *c == text[place])) {
            at += 1;
            place += 1;
        } else if pattern.get(at) == Some(&'*') {
            star = Some((at, place));
            at += 1;
        } else if let Some((star_at, star_place)) = star {
            // The last star takes one character more.
            at = star_at + 1;
            place = star_place + 1;
            star = Some((star_at, star_place + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up files of their own")]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn settings(home: &Path) -> (Settings, Arc<Mutex<Vec<String>>>) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear = Arc::clone(&heard);
        let mut settings = Settings::of_this_user(Warnings::to(move |text| hear.lock().expect("lock").push(text.to_owned())));
        settings.home = home.to_owned();
        settings.login = "me".to_owned();
        (settings, heard)
    }

    fn config(text: &str) -> (Config, Settings, Arc<Mutex<Vec<String>>>) {
        let (settings, heard) = settings(Path::new("/home/me"));
        let mut config = Config::default();
        config.add_text(text, Path::new("/home/me/.ssh/config"), &[], &settings, 0);
        (config, settings, heard)
    }

    #[test]
    fn the_first_value_holds_and_identities_add_up() {
        let (config, settings, _) = config(
            "Host web* !web9\n  User=ops\n\tPort 2200\n IdentityFile ~/a\nHost *\n User other\n IdentityFile \"~/b c\"\n ServerAliveInterval 30\n",
        );
        let options = config.options("web1", &Options::default(), &settings).expect("fits");
        assert_eq!((options.user.as_deref(), options.port), (Some("ops"), Some(2200)));
        assert_eq!(options.identity_files, ["~/a", "~/b c"]);
        let options = config.options("web9", &Options::default(), &settings).expect("fits");
        assert_eq!((options.user.as_deref(), options.port, options.alive_interval), (Some("other"), None, Some(30)));
    }

    fn user(text: &str, host: &str, given: &Options) -> String {
        let (config, settings, heard) = config(text);
        let user = config.options(host, given, &settings).expect("fits").user;
        assert!(heard.lock().expect("lock").is_empty());
        user.unwrap_or_default()
    }

    #[test]
    fn match_asks_for_hosts_users_and_commands() {
        let given = Options::default();
        let text = "Match host web*,db1 !user root\n User a\nMatch all\n User b\n";
        assert_eq!((user(text, "web1", &given), user(text, "other", &given)), ("a".to_owned(), "b".to_owned()));
        let root = Options { user: Some("root".to_owned()), ..Options::default() };
        assert_eq!(user(text, "web1", &root), "b");
        let text = "Host x\n HostName y\nMatch host y\n User a\nMatch originalhost x\n User b\n";
        assert_eq!(user(text, "x", &given), "a");
        let text = "Match exec \"test %n:%h:%p = x:x:22\"\n User a\nMatch !exec=false\n User b\n";
        assert_eq!((user(text, "x", &given), user(text, "z", &given)), ("a".to_owned(), "b".to_owned()));
        let text = "Match final host y\n User late\nHost x\n HostName y\n";
        assert_eq!((user(text, "x", &given), user(text, "z", &given)), ("late".to_owned(), String::new()));
    }

    #[test]
    fn a_match_that_is_not_known_is_left_out_with_a_warning_that_names_its_line() {
        let (config, settings, heard) = config("Match localnetwork 10.0.0.0/8\n User wrong\nHost *\n User right\n");
        assert_eq!(config.options("x", &Options::default(), &settings).expect("fits").user.as_deref(), Some("right"));
        assert_eq!(
            heard.lock().expect("lock")[0],
            "~/.ssh/config:1: windlass does not know `Match localnetwork`: the lines up to the next `Host` or `Match` are left out"
        );
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test prepares its own files")]
    fn files_include_others() {
        let folder = tempfile::tempdir().expect("folder");
        let ssh = folder.path().join(".ssh");
        std::fs::create_dir_all(ssh.join("more.d")).expect("folder");
        std::fs::write(ssh.join("config"), "Include more.d/*.conf\nHost *\n User last\n").expect("write");
        std::fs::write(ssh.join("more.d/a.conf"), "Host a\n User first\n").expect("write");
        let (settings, _) = settings(folder.path());
        let config = Config::read(&[ssh.join("config")], &settings);
        assert_eq!(config.options("a", &Options::default(), &settings).expect("fits").user.as_deref(), Some("first"));
        assert_eq!(config.options("b", &Options::default(), &settings).expect("fits").user.as_deref(), Some("last"));
    }

    #[test]
    fn patterns_have_stars_and_question_marks() {
        assert!(matches("*.example.net", "WEB.example.NET"));
        assert!(matches("w?b*1", "web-01"));
        assert!(!matches("w?b", "wb"));
        assert!(matches("*a*b*c", "xxaxxbxxcxc"));
        assert!(!matches("", "a"));
    }
}
