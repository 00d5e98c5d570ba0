//! `~/.ssh/config` and `/etc/ssh/ssh_config`: the keywords that matter to us, for one host.

use std::path::{Path, PathBuf};

use super::Unreachable;
use super::options::{KNOWN, Setting, is_harmless};

/// The lines of a file that matter.
#[derive(Clone, Debug, Default)]
pub struct Config {
    blocks: Vec<Block>,
    /// What a user should know of the file: keywords that are not understood yet.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Block {
    /// Patterns of the `Host` line; empty for what stands before the first.
    patterns: Vec<String>,
    settings: Vec<Setting>,
    /// A `Match` block, which is not understood yet: it never holds.
    never: bool,
}

impl Config {
    /// Reads a file's text.
    pub fn parse(text: &str, path: &Path) -> Self {
        let mut config = Self { blocks: vec![Block { patterns: vec!["*".to_owned()], ..Block::default() }], warnings: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
            let keyword = line.get(..end).unwrap_or_default().to_ascii_lowercase();
            let value = line.get(end..).unwrap_or_default().trim_start_matches(|c: char| c.is_whitespace() || c == '=').trim();
            match keyword.as_str() {
                "host" => config.blocks.push(Block { patterns: value.split_whitespace().map(unquoted).collect(), ..Block::default() }),
                "match" | "include" => {
                    config.warnings.push(format!("{}:{}: `{keyword}` is not understood yet and is left out", path.display(), number + 1));
                    if keyword == "match" {
                        config.blocks.push(Block { never: true, ..Block::default() });
                    }
                }
                keyword if KNOWN.contains(&keyword) => {
                    if let Some(block) = config.blocks.last_mut() {
                        block.settings.push((keyword.to_owned(), value.to_owned()));
                    }
                }
                "proxycommand" => {
                    // It decides how a host is reached; leaving it out silently could reach another one.
                    if let Some(block) = config.blocks.last_mut() {
                        block.settings.push(("proxycommand".to_owned(), value.to_owned()));
                    }
                }
                keyword if is_harmless(keyword) => {}
                _ => {}
            }
        }
        config
    }

    /// Returns the settings that hold for a host, in their order.
    pub fn for_host(&self, host: &str) -> Vec<Setting> {
        self.blocks
            .iter()
            .filter(|block| !block.never && matches(&block.patterns, host))
            .flat_map(|block| block.settings.iter().cloned())
            .collect()
    }
}

/// Whether a list of patterns means a host: one has to, and no negated one may.
pub fn matches(patterns: &[String], host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let mut matched = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(negated) if wildcard(&negated.to_ascii_lowercase(), &host) => return false,
            Some(_) => {}
            None => matched |= wildcard(&pattern.to_ascii_lowercase(), &host),
        }
    }
    matched
}

/// Whether `text` is what `pattern` means: `*` any characters, `?` one.
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some('?') => {
                p += 1;
                t += 1;
            }
            Some(c) if Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|c| *c == '*'))
}

fn unquoted(word: &str) -> String {
    word.trim_matches('"').to_owned()
}

/// Whether and how an unknown host key is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Never.
    #[default]
    Yes,
    /// Taken and remembered; a changed key never.
    AcceptNew,
    /// Anything goes. Warned about.
    No,
}

/// What holds for one connection.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Resolved {
    pub host_name: Option<String>,
    pub user: Option<String>,
    pub port: Option<u16>,
    pub identity_files: Vec<String>,
    pub identities_only: bool,
    pub identity_agent: Option<String>,
    pub proxy_jump: Option<String>,
    pub user_known_hosts: Option<Vec<String>>,
    pub global_known_hosts: Option<Vec<String>>,
    pub strictness: Option<Strictness>,
    pub connect_timeout: Option<u64>,
    pub alive_interval: Option<u64>,
    pub alive_count_max: Option<usize>,
    pub host_key_alias: Option<String>,
}

impl Resolved {
    /// Takes settings in; of each keyword the first counts, but identity files add up.
    ///
    /// # Errors
    /// A value that makes no sense, or a `ProxyCommand`.
    pub fn of(settings: &[Setting]) -> Result<Self, Unreachable> {
        let mut resolved = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (keyword, value) in settings {
            let keyword = keyword.as_str();
            if keyword == "identityfile" {
                resolved.identity_files.push(unquoted(value));
                continue;
            }
            if seen.contains(&keyword) {
                continue;
            }
            seen.push(keyword);
            resolved.take(keyword, value)?;
        }
        Ok(resolved)
    }

    fn take(&mut self, keyword: &str, value: &str) -> Result<(), Unreachable> {
        let wrong = || Unreachable::new(format!("`{value}` is no value for the SSH option `{keyword}`"));
        let single = || unquoted(value);
        let list = || value.split_whitespace().map(unquoted).collect::<Vec<_>>();
        match keyword {
            "hostname" => self.host_name = Some(single()),
            "user" => self.user = Some(single()),
            "port" => self.port = Some(value.parse().map_err(|_| wrong())?),
            "identitiesonly" => self.identities_only = value.eq_ignore_ascii_case("yes"),
            "identityagent" => self.identity_agent = Some(single()),
            "proxyjump" => self.proxy_jump = Some(single()).filter(|jump| !jump.eq_ignore_ascii_case("none")),
            "userknownhostsfile" => self.user_known_hosts = Some(list()),
            "globalknownhostsfile" => self.global_known_hosts = Some(list()),
            "stricthostkeychecking" => {
                self.strictness = Some(match value.to_ascii_lowercase().as_str() {
                    "yes" | "ask" | "true" => Strictness::Yes,
                    "accept-new" => Strictness::AcceptNew,
                    "no" | "off" | "false" => Strictness::No,
                    _ => return Err(wrong()),
                });
            }
            "connecttimeout" => self.connect_timeout = Some(value.parse().map_err(|_| wrong())?),
            "serveraliveinterval" => self.alive_interval = Some(value.parse().map_err(|_| wrong())?),
            "serveralivecountmax" => self.alive_count_max = Some(value.parse().map_err(|_| wrong())?),
            "hostkeyalias" => self.host_key_alias = Some(single()),
            "proxycommand" if !value.eq_ignore_ascii_case("none") => {
                return Err(Unreachable::new("the SSH configuration has a `ProxyCommand` for this host, which windlass does not run")
                    .hint("use `ProxyJump` where the command only goes through another host"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Returns a path with `~` and `%d %h %r %u %%` replaced.
pub fn path(text: &str, home: Option<&Path>, host: &str, remote_user: &str, user: &str) -> PathBuf {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => out.push_str(&home.map(|home| home.display().to_string()).unwrap_or_default()),
            Some('h' | 'n') => out.push_str(host),
            Some('r') => out.push_str(remote_user),
            Some('u') => out.push_str(user),
            Some('%') => out.push('%'),
            Some(other) => {
                out.push('%');
                out.push(other);
            }
            None => out.push('%'),
        }
    }
    match (out.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_keyword_counts_and_identities_add_up() {
        let config = Config::parse(
            "Host web* !web9\n  User a\n  IdentityFile ~/a\nHost *\n  User b\n  IdentityFile=~/b\n  Port 22\n",
            Path::new("c"),
        );
        let web = Resolved::of(&config.for_host("web1")).expect("resolves");
        assert_eq!((web.user.as_deref(), web.port, web.identity_files.len()), (Some("a"), Some(22), 2));
        assert_eq!(Resolved::of(&config.for_host("web9")).expect("resolves").user.as_deref(), Some("b"));
    }

    #[test]
    fn what_is_not_understood_yet_is_told_with_its_line() {
        let config = Config::parse("Include x\nMatch host y\n  User z\n", Path::new("c"));
        assert_eq!(
            config.warnings,
            ["c:1: `include` is not understood yet and is left out", "c:2: `match` is not understood yet and is left out"]
        );
        assert_eq!(Resolved::of(&config.for_host("y")).expect("resolves").user, None);
    }

    #[test]
    fn a_proxy_command_is_refused_rather_than_left_out() {
        let config = Config::parse("ProxyCommand nc %h %p\n", Path::new("c"));
        assert!(Resolved::of(&config.for_host("y")).is_err());
    }

    #[test]
    fn wildcards() {
        assert!(wildcard("*.example.net", "a.example.net") && wildcard("h?", "h1") && !wildcard("h?", "h12") && wildcard("*", ""));
    }
}
