//! `authorized_key`: the keys by which a user may log in.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::group::Presence;
use super::{Example, Module};
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Change, Failure, Plan, Probe, Request};

/// Adds and removes keys in the `authorized_keys` file of a user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizedKey {
    /// The user.
    user: String,
    /// One or more public keys, a line each, or an address that has them.
    key: String,
    /// The file, instead of the user's own.
    path: Option<String>,
    /// Whether the folder of the file is made and protected.
    #[serde(default = "super::command::yes")]
    manage_dir: bool,
    /// Whether the keys shall be there.
    #[serde(default)]
    state: Presence,
    /// What goes before the key: `no-port-forwarding,from="10.0.0.0/8"`.
    key_options: Option<String>,
    /// Whether all other keys go.
    #[serde(default)]
    exclusive: bool,
    /// What stands after the key, instead of what it brings along.
    comment: Option<String>,
    /// Whether the server's certificate is verified where `key` is an address.
    #[serde(default = "super::command::yes")]
    validate_certs: bool,
    /// Whether a link at the path is followed; it always is.
    #[serde(default, rename = "follow")]
    _follow: bool,
}

impl Module for AuthorizedKey {
    const NAME: &'static str = "authorized_key";
    const COLLECTION: &'static str = "ansible.posix";
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Let somebody log in",
            task: "{user: root, path: /etc/ssh/keys/root, manage_dir: false, key: 'ssh-ed25519 AAAAC3Nz ops@example.net'}",
            given: &[("/etc/ssh/keys/root", "ssh-rsa AAAAB3Nz other\n")],
            changes: true,
        },
        Example {
            title: "Nobody else",
            task: "{user: root, path: /etc/ssh/keys/root, manage_dir: false, exclusive: true, key: 'ssh-ed25519 AAAAC3Nz ops'}",
            given: &[("/etc/ssh/keys/root", "ssh-rsa AAAAB3Nz other\nssh-ed25519 AAAAC3Nz ops\n")],
            changes: true,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let user = host.user(&self.user)?;
        let path = match (&self.path, &user) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(user)) => Path::new(&user.home).join(".ssh/authorized_keys"),
            (None, None) => return Err(Failure::argument("user", format!("there is no user `{}` on the host", self.user))),
        };
        let keys = self.keys(host)?;
        let mut changes = Vec::new();
        let (uid, gid) = user.as_ref().map_or((None, None), |user| (user.uid, user.gid));
        let owned = |mode| Attributes { uid, gid, mode: Some(mode), ..Attributes::default() };
        if let Some(folder) = path.parent().filter(|_| self.manage_dir) {
            match host.stat(folder, true)? {
                None if self.state == Presence::Absent => return Ok(Plan::nothing("there is no such file")),
                None => changes.push(Change::Directory { path: folder.to_owned(), attributes: owned(0o700) }),
                Some(stat) => {
                    let differing = crate::change::attributes::missing(&stat, &owned(0o700)).filter(|_| self.state == Presence::Present);
                    let change = |(before, after)| Change::Attributes { path: folder.to_owned(), before, after, follow: true };
                    changes.extend(differing.map(change));
                }
            }
        }
        let is_new = matches!(changes.first(), Some(Change::Directory { .. }));
        let target = if is_new { Target { path: path.clone(), stat: None, content: None } } else { Target::find(host, &path, "path")? };
        let text = String::from_utf8_lossy(target.content.as_deref().unwrap_or_default()).into_owned();
        let after = self.edited(&text, &keys);
        if after.lines().ne(text.lines()) {
            let manner = Manner { for_new: owned(0o600), ..Manner::default() };
            changes.extend(target.changes(Some(after.into_bytes()), &manner));
        }
        let because = if changes.is_empty() { "the keys are as asked" } else { "the keys, or their folder, differ" };
        Ok(Plan::all(because, changes).value("user", self.user.as_str()).value("keyfile", path.display().to_string()))
    }
}

/// A key with what stands around it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    options: String,
    kind: String,
    key: String,
    comment: String,
}

impl Key {
    fn line(&self) -> String {
        let parts = [&self.options, &self.kind, &self.key, &self.comment];
        parts.iter().filter(|part| !part.is_empty()).map(|part| part.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Reads a line; `None` for comments and what is no key.
    fn read(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let (first, rest) = word(line)?;
        let (options, kind, rest) = if is_kind(first) {
            (String::new(), first, rest)
        } else {
            let (kind, rest) = word(rest)?;
            (first.to_owned(), kind, rest)
        };
        if !is_kind(kind) {
            return None;
        }
        let (key, comment) = word(rest)?;
        Some(Self { options, kind: kind.to_owned(), key: key.to_owned(), comment: comment.trim().to_owned() })
    }
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start)) && !word.contains(['=', ',', '"'])
}

/// Returns the first word of a text, quotes kept together, and the rest.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let mut quoted = false;
    let end = text.char_indices().find(|(_, c)| {
        if *c == '"' {
            quoted = !quoted;
        }
        c.is_whitespace() && !quoted
    });
    let at = end.map_or(text.len(), |(at, _)| at);
    if at == 0 { None } else { Some((text.get(..at)?, text.get(at..)?)) }
}

impl AuthorizedKey {
    /// Returns the keys that the task is about.
    fn keys(&self, host: &dyn Probe) -> Result<Vec<Key>, Failure> {
        let text = if self.key.starts_with("https://") || self.key.starts_with("http://") {
            let request = Request {
                method: "GET".to_owned(),
                url: self.key.clone(),
                insecure: !self.validate_certs,
                follow_redirects: "safe".to_owned(),
                use_proxy: true,
                ..Request::default()
            };
            let response = host.http(&request)?;
            if response.status != 200 {
                return Err(Failure::argument("key", format!("`{}` answered {} {}", self.key, response.status, response.reason)));
            }
            String::from_utf8_lossy(&response.body).into_owned()
        } else {
            self.key.clone()
        };
        let mut keys = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let Some(mut key) = Key::read(line) else {
                let start: String = line.chars().take(40).collect();
                return Err(
                    Failure::argument("key", format!("`{start}` is not a public key")).hint("write kind, key and comment on one line")
                );
            };
            if let Some(options) = &self.key_options {
                key.options.clone_from(options);
            }
            if let Some(comment) = &self.comment {
                key.comment.clone_from(comment);
            }
            keys.push(key);
        }
        Ok(keys)
    }

    fn edited(&self, text: &str, wanted: &[Key]) -> String {
        let mut left: Vec<&Key> = wanted.iter().collect();
        let mut lines = Vec::new();
        for line in text.lines() {
            let Some(found) = Key::read(line) else {
                lines.push(line.to_owned());
                continue;
            };
            let same = wanted.iter().find(|key| (&key.kind, &key.key) == (&found.kind, &found.key));
            match (same, self.state) {
                (Some(_), Presence::Absent) => {}
                (None, _) if self.exclusive && self.state == Presence::Present => {}
                (Some(key), Presence::Present) if left.contains(&key) => {
                    left.retain(|other| *other != key);
                    lines.push(if *key == found { line.to_owned() } else { key.line() });
                }
                // It stands there twice.
                (Some(_), Presence::Present) => {}
                (None, _) => lines.push(line.to_owned()),
            }
        }
        if self.state == Presence::Present {
            lines.extend(left.into_iter().map(Key::line));
        }
        lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(arguments: &[(&str, &str)]) -> AuthorizedKey {
        let map = arguments.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        crate::value::arguments::from_map::<AuthorizedKey>(&map).expect("fits")
    }

    #[test]
    fn a_line_has_options_kind_key_and_comment() {
        let key = Key::read("command=\"echo a b\",no-pty ssh-rsa AAAA me and you").expect("a key");
        assert_eq!(
            (key.options.as_str(), key.kind.as_str(), key.comment.as_str()),
            ("command=\"echo a b\",no-pty", "ssh-rsa", "me and you")
        );
        assert_eq!(Key::read("# ssh-rsa AAAA"), None);
    }

    #[test]
    fn a_key_is_found_by_itself_whatever_stands_around_it() {
        let text = "# mine\nssh-rsa A old\nssh-rsa B b\n";
        let keys = [Key::read("no-pty ssh-rsa A new").expect("a key")];
        assert_eq!(module(&[("user", "x"), ("key", "")]).edited(text, &keys), "# mine\nno-pty ssh-rsa A new\nssh-rsa B b\n");
        assert_eq!(module(&[("user", "x"), ("key", ""), ("state", "absent")]).edited(text, &keys), "# mine\nssh-rsa B b\n");
        assert_eq!(module(&[("user", "x"), ("key", ""), ("exclusive", "yes")]).edited(text, &keys), "# mine\nno-pty ssh-rsa A new\n");
    }
}
