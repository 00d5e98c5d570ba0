//! `known_hosts`: the keys by which a user's ssh knows other hosts.

use std::path::PathBuf;

use base64::Engine as _;
use hmac::{Hmac, Mac};
use schemars::JsonSchema;
use serde::Deserialize;
use sha1::Sha1;

use super::command::expand;
use super::group::Presence;
use super::{Example, Module};
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Change, Failure, Plan, Probe};
use crate::value::Value;

/// Adds, replaces and removes keys in a `known_hosts` file.
///
/// A key replaces one of the same kind that the file has for the host. Names that were hashed are found too.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KnownHosts {
    /// The host, as the file has it.
    #[serde(alias = "host")]
    name: String,
    /// The whole line for the file: host, kind and key. `absent` without it removes every key of the host.
    key: Option<String>,
    /// The file.
    #[serde(default = "usual_file")]
    path: String,
    /// Whether the host's name is written as a hash, so that the file does not tell it.
    #[serde(default)]
    hash_host: bool,
    /// Whether the key shall be there.
    #[serde(default)]
    state: Presence,
}

fn usual_file() -> String {
    "~/.ssh/known_hosts".to_owned()
}

impl Module for KnownHosts {
    const NAME: &'static str = "known_hosts";
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Know a host",
            task: "{path: /etc/ssh/ssh_known_hosts, name: git.example.net, key: 'git.example.net ssh-ed25519 AAAAC3Nz'}",
            given: &[("/etc/ssh/ssh_known_hosts", "other.example.net ssh-rsa AAAAB3Nz\n")],
            changes: true,
        },
        Example {
            title: "Forget a host",
            task: "{path: /etc/ssh/ssh_known_hosts, name: old.example.net, state: absent}",
            given: &[("/etc/ssh/ssh_known_hosts", "old.example.net ssh-rsa AAAAB3Nz\na ssh-rsa AAAA\n")],
            changes: true,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.name.contains(',') {
            return Err(Failure::argument(
                "name",
                "Comma separated list of names is not supported. Please pass a single name to lookup in the known_hosts file.",
            ));
        }
        let key = self.key.as_deref().map(str::trim).filter(|key| !key.is_empty());
        if let Some(line) = key
            && !Line::read(line).is_some_and(|line| line.names(&self.name))
        {
            return Err(Failure::argument("key", "Host parameter does not match hashed host field in supplied key"));
        }
        if key.is_none() && self.state == Presence::Present {
            return Err(Failure::argument("key", "`key` is needed to add a host"));
        }
        let path = PathBuf::from(expand(host, &self.path)?);
        let mut changes = Vec::new();
        if let Some(folder) = path.parent()
            && host.stat(folder, true)?.is_none()
        {
            if self.state == Presence::Absent {
                return Ok(self.told(Plan::nothing("there is no such file"), &path, "", ""));
            }
            changes
                .push(Change::Directory { path: folder.to_owned(), attributes: Attributes { mode: Some(0o700), ..Attributes::default() } });
        }
        let target =
            if changes.is_empty() { Target::find(host, &path, "path")? } else { Target { path: path.clone(), stat: None, content: None } };
        let before = String::from_utf8_lossy(target.content.as_deref().unwrap_or_default()).into_owned();
        let after = match self.state {
            Presence::Absent => self.without(&before, key),
            Presence::Present => self.with(&before, key.unwrap_or_default()),
        };
        if after == before {
            return Ok(self.told(Plan::nothing("the keys are as asked"), &path, &before, &after));
        }
        let manner = Manner { for_new: Attributes { mode: Some(0o644), ..Attributes::default() }, ..Manner::default() };
        changes.extend(target.changes(Some(after.clone().into_bytes()), &manner));
        Ok(self.told(Plan::all("the keys of the host differ", changes), &path, &before, &after))
    }
}

impl KnownHosts {
    fn told(&self, plan: Plan, path: &std::path::Path, before: &str, after: &str) -> Plan {
        let path = path.display().to_string();
        let texts = [("before_header", path.as_str()), ("after_header", path.as_str()), ("before", before), ("after", after)];
        let state = if self.state == Presence::Present { "present" } else { "absent" };
        let plan = plan.value("diff", Value::map(texts.map(|(name, text)| (name, Value::str(text)))));
        plan.value("name", self.name.as_str()).value("path", path).value("state", state).value("hash_host", self.hash_host)
    }

    fn without(&self, text: &str, key: Option<&str>) -> String {
        let wanted = key.and_then(Line::read);
        let goes = |line: &&str| {
            Line::read(line).is_some_and(|line| line.names(&self.name) && wanted.as_ref().is_none_or(|wanted| wanted.is_same_key(&line)))
        };
        text.split_inclusive('\n').filter(|line| !goes(line)).collect()
    }

    fn with(&self, text: &str, key: &str) -> String {
        let Some(wanted) = Line::read(key) else { return text.to_owned() };
        let is_hash = |line: &Line<'_>| line.hosts.starts_with("|1|");
        // A host has one key of a kind; authorities and revoked keys there may be several.
        let same_kind = |line: &&str| {
            if wanted.marker.is_some() || Line::read(line).is_some_and(|line| line.marker.is_some()) {
                return false;
            }
            Line::read(line).filter(|line| line.names(&self.name) && line.kind == wanted.kind).is_some()
        };
        let as_asked = |line: &&str| {
            Line::read(line).is_some_and(|line| {
                let named = if self.hash_host { is_hash(&line) } else { line.hosts == wanted.hosts };
                line.names(&self.name) && named && line.is_same_key(&wanted)
            })
        };
        if text.split_inclusive('\n').any(|line| as_asked(&line)) {
            return text.to_owned();
        }
        let mut out: String = text.split_inclusive('\n').filter(|line| !same_kind(line)).collect();
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        if self.hash_host && !is_hash(&wanted) {
            out.push_str(&key.replacen(wanted.hosts, &hashed(&self.name, &rand::random::<[u8; 20]>()), 1));
        } else {
            out.push_str(key);
        }
        out.push('\n');
        out
    }
}

/// A line of the file: `[marker] hosts kind key [comment]`.
struct Line<'a> {
    marker: Option<&'a str>,
    hosts: &'a str,
    kind: &'a str,
    key: &'a str,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace().peekable();
        if line.trim_start().starts_with('#') {
            return None;
        }
        let marker = words.next_if(|word| word.starts_with('@'));
        Some(Self { marker, hosts: words.next()?, kind: words.next()?, key: words.next()? })
    }

    fn is_same_key(&self, other: &Line<'_>) -> bool {
        (self.marker, self.kind, self.key) == (other.marker, other.kind, other.key)
    }

    fn names(&self, name: &str) -> bool {
        let Some(rest) = self.hosts.strip_prefix("|1|") else { return self.hosts.split(',').any(|host| host == name) };
        let salt = rest.split('|').next().and_then(|salt| base64::engine::general_purpose::STANDARD.decode(salt).ok());
        salt.is_some_and(|salt| hashed(name, &salt) == self.hosts)
    }
}

/// Returns a host's name as a hash with this salt.
fn hashed(name: &str, salt: &[u8]) -> String {
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    // A key of any length goes.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else { return name.to_owned() };
    mac.update(name.as_bytes());
    format!("|1|{}|{}", encode(salt), encode(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(hash_host: bool) -> KnownHosts {
        KnownHosts { name: "a".into(), key: None, path: "/k".into(), hash_host, state: Presence::Present }
    }

    #[test]
    fn a_key_of_the_same_kind_is_replaced_and_others_stay() {
        let text = "a ssh-rsa OLD\nb ssh-rsa B\na ssh-ed25519 E\n";
        assert_eq!(module(false).with(text, "a ssh-rsa NEW"), "b ssh-rsa B\na ssh-ed25519 E\na ssh-rsa NEW\n");
        assert_eq!(module(false).with(text, "a ssh-rsa OLD"), text);
        assert_eq!(module(false).without(text, Some("a ssh-rsa OTHER")), text);
    }

    #[test]
    fn a_hashed_name_is_found_again_and_made_plain_again() {
        let hidden = module(true).with("", "a ssh-rsa KEY");
        assert!(hidden.starts_with("|1|") && hidden.ends_with(" ssh-rsa KEY\n"), "{hidden}");
        assert_eq!(module(true).with(&hidden, "a ssh-rsa KEY"), hidden);
        assert_eq!(module(false).with(&hidden, "a ssh-rsa KEY"), "a ssh-rsa KEY\n");
        assert_eq!(module(false).without(&hidden, None), "");
    }
}
