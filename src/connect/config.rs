//! `ssh_config`: which options hold for a host.

use std::path::{Path, PathBuf};

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
    /// What `Host` names; empty: every host.
    patterns: Vec<String>,
    /// What the `Host` lines around an `Include` name: all must hold too.
    within: Vec<Vec<String>>,
    lines: Vec<Line>,
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

    fn add_file(&mut self, file: &Path, within: &[Vec<String>], settings: &Settings, depth: usize) {
        match std::fs::read_to_string(file) {
            Ok(text) => self.add_text(&text, file, within, settings, depth),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => settings.warnings.say(&format!("{} cannot be read, so it is left out: {error}", settings.tilded(file))),
        }
    }

    fn add_text(&mut self, text: &str, file: &Path, within: &[Vec<String>], settings: &Settings, depth: usize) {
        let fresh = |patterns: Vec<String>| Block { patterns, within: within.to_vec(), lines: Vec::new() };
        let mut block = fresh(Vec::new());
        let mut skipping = false;
        for (number, line) in text.lines().enumerate() {
            let Some((name, value)) = keyword(line) else { continue };
            let place = format!("{}:{}", settings.tilded(file), number + 1);
            match name.to_ascii_lowercase().as_str() {
                "host" => {
                    self.blocks.push(std::mem::replace(&mut block, fresh(words(value))));
                    skipping = false;
                }
                "match" => {
                    settings
                        .warnings
                        .say(&format!("{place}: windlass does not follow `Match` yet: the lines up to the next `Host` are left out"));
                    skipping = true;
                }
                _ if skipping => {}
                "include" => {
                    let mut inner = within.to_vec();
                    if !block.patterns.is_empty() {
                        inner.push(block.patterns.clone());
                    }
                    let patterns = block.patterns.clone();
                    self.blocks.push(std::mem::replace(&mut block, fresh(patterns)));
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

    /// Returns the options that hold for `host`, the name as the user has it.
    ///
    /// # Errors
    /// Names the line whose option cannot be followed.
    pub fn options(&self, host: &str, warnings: &Warnings) -> Result<Options, Trouble> {
        let mut options = Options::default();
        for block in &self.blocks {
            let holds = |patterns: &Vec<String>| patterns.is_empty() || matches_any(patterns, host);
            if !holds(&block.patterns) || !block.within.iter().all(holds) {
                continue;
            }
            for line in &block.lines {
                apply(&mut options, line, host, warnings)?;
            }
        }
        Ok(options)
    }
}

fn apply(options: &mut Options, line: &Line, host: &str, warnings: &Warnings) -> Result<(), Trouble> {
    let Line { name, value, place } = line;
    match options.set(name, value) {
        Ok(Taken::Used | Taken::Harmless) => {}
        // A jump that is said first makes it void, as in OpenSSH.
        Ok(Taken::Unsupported) if name.eq_ignore_ascii_case("ProxyCommand") && options.proxy_jump.is_none() => {
            let message = format!("{place}: `ProxyCommand` for {host} cannot be followed: windlass starts no proxy program");
            return Err(Trouble::new(Kind::Settings, message).hint("say it with ProxyJump: ProxyJump user@gateway"));
        }
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
        let options = config.options("web1", &settings.warnings).expect("fits");
        assert_eq!((options.user.as_deref(), options.port), (Some("ops"), Some(2200)));
        assert_eq!(options.identity_files, ["~/a", "~/b c"]);
        let options = config.options("web9", &settings.warnings).expect("fits");
        assert_eq!((options.user.as_deref(), options.port, options.alive_interval), (Some("other"), None, Some(30)));
    }

    #[test]
    fn match_is_left_out_with_a_warning_that_names_its_line() {
        let (config, settings, heard) = config("Match host x exec true\n User wrong\nHost *\n User right\n");
        assert_eq!(config.options("x", &settings.warnings).expect("fits").user.as_deref(), Some("right"));
        assert_eq!(
            heard.lock().expect("lock")[0],
            "~/.ssh/config:1: windlass does not follow `Match` yet: the lines up to the next `Host` are left out"
        );
    }

    #[test]
    fn a_proxy_command_stops_only_the_hosts_it_is_for() {
        let (config, settings, _) = config("Host far\n ProxyCommand nc %h %p\nHost near\n ProxyCommand none\n");
        let trouble = config.options("far", &settings.warnings).expect_err("stops");
        assert!(trouble.message.starts_with("~/.ssh/config:2: `ProxyCommand` for far cannot be followed"), "{trouble}");
        assert!(config.options("near", &settings.warnings).is_ok());
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
        assert_eq!(config.options("a", &settings.warnings).expect("fits").user.as_deref(), Some("first"));
        assert_eq!(config.options("b", &settings.warnings).expect("fits").user.as_deref(), Some("last"));
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
