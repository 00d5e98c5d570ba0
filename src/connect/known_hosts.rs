//! Which host keys are trusted: our own policy over the known_hosts files.
//!
//! A host is known by a line of any of the files that names it: plainly, by a pattern, or hashed. Keys are compared by what
//! they are, never by their comments. A host that is known by another key, of whatever type, is a mismatch, not a new host.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use hmac::{Hmac, Mac};
use russh::keys::PublicKey;
use sha1::Sha1;

use super::ssh_config::wildcard;

/// One line of a file that names the host.
#[derive(Clone, Debug)]
struct Line {
    file: PathBuf,
    number: usize,
    marker: Option<String>,
    key: PublicKey,
}

/// What the files say of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The host has this key.
    Known,
    /// No line names the host.
    Unknown,
    /// A line names the host with another key of the same type.
    Changed {
        /// `file:line`.
        place: String,
    },
    /// The host is known, but not by a key of this type.
    OtherType {
        /// `file:line`.
        place: String,
        /// The type that is known.
        known: String,
    },
    /// The key was revoked.
    Revoked {
        /// `file:line`.
        place: String,
    },
}

/// The lines of all files that name one host.
#[derive(Clone, Debug, Default)]
pub struct Known {
    lines: Vec<Line>,
    /// Lines that name the host but cannot be read, and lines of kinds not understood yet.
    pub warnings: Vec<String>,
}

impl Known {
    /// Reads what the files have on a host. A file that is not there counts as empty.
    pub fn of(files: &[PathBuf], host: &str, port: u16) -> Self {
        let mut known = Self::default();
        let name = lookup_name(host, port);
        for file in files {
            let Ok(bytes) = std::fs::read(file) else { continue };
            known.take(&String::from_utf8_lossy(&bytes), file, &name);
        }
        known
    }

    fn take(&mut self, text: &str, file: &Path, name: &str) {
        for (at, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let Some(mut first) = words.next().filter(|word| !word.starts_with('#')) else { continue };
            let mut marker = None;
            if first.starts_with('@') {
                marker = Some(first.to_owned());
                let Some(next) = words.next() else { continue };
                first = next;
            }
            if !names(first, name) {
                continue;
            }
            let place = format!("{}:{}", file.display(), at + 1);
            if marker.as_deref() == Some("@cert-authority") {
                self.warnings.push(format!("{place}: host certificates (`@cert-authority`) are not understood yet; the line is left out"));
                continue;
            }
            let (Some(kind), Some(data)) = (words.next(), words.next()) else { continue };
            match PublicKey::from_openssh(&format!("{kind} {data}")) {
                Ok(key) => self.lines.push(Line { file: file.to_owned(), number: at + 1, marker, key }),
                Err(_) => self.warnings.push(format!("{place}: the key cannot be read; the line is left out")),
            }
        }
    }

    /// Returns the types of keys that the host is known by, to ask the server for those first.
    pub fn algorithms(&self) -> Vec<russh::keys::Algorithm> {
        let mut algorithms: Vec<_> = self.lines.iter().filter(|line| line.marker.is_none()).map(|line| line.key.algorithm()).collect();
        algorithms.dedup();
        algorithms
    }

    /// Says what the files say of a key that the host showed.
    pub fn judge(&self, key: &PublicKey) -> Verdict {
        let place = |line: &Line| format!("{}:{}", line.file.display(), line.number);
        let same = |line: &&Line| line.key.key_data() == key.key_data();
        if let Some(line) = self.lines.iter().filter(same).find(|line| line.marker.as_deref() == Some("@revoked")) {
            return Verdict::Revoked { place: place(line) };
        }
        let mut plain = self.lines.iter().filter(|line| line.marker.is_none());
        if plain.clone().any(|line| same(&line)) {
            return Verdict::Known;
        }
        let of_type = plain.clone().find(|line| line.key.algorithm() == key.algorithm());
        match (of_type, plain.next()) {
            (Some(line), _) => Verdict::Changed { place: place(line) },
            (None, Some(line)) => Verdict::OtherType { place: place(line), known: line.key.algorithm().to_string() },
            (None, None) => Verdict::Unknown,
        }
    }
}

/// Returns what a host is called in the files: its name, or `[name]:port` for another port than 22.
pub fn lookup_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Whether the first field of a line names the host.
fn names(field: &str, name: &str) -> bool {
    if let Some(hashed) = field.strip_prefix("|1|") {
        return hashed_name(hashed, name).unwrap_or(false);
    }
    let mut named = false;
    for pattern in field.split(',') {
        match pattern.strip_prefix('!') {
            Some(negated) if wildcard(&negated.to_ascii_lowercase(), name) => return false,
            Some(_) => {}
            None => named |= wildcard(&pattern.to_ascii_lowercase(), name),
        }
    }
    named
}

fn hashed_name(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let engine = &base64::engine::general_purpose::STANDARD;
    let mut mac = <Hmac<Sha1> as Mac>::new_from_slice(&engine.decode(salt).ok()?).ok()?;
    mac.update(name.as_bytes());
    Some(mac.verify_slice(&engine.decode(hash).ok()?).is_ok())
}

/// Returns the line that makes a host known.
pub fn line(host: &str, port: u16, key: &PublicKey) -> Option<String> {
    let text = PublicKey::from(key.key_data().clone()).to_openssh().ok()?;
    Some(format!("{} {}\n", lookup_name(host, port), text.trim()))
}

/// Adds a host to a file, making the file, private, where there is none.
///
/// # Errors
/// The file cannot be written.
pub fn remember(file: &Path, host: &str, port: u16, key: &PublicKey) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let Some(line) = line(host, port, key) else { return Err(std::io::Error::other("the key cannot be written as text")) };
    if let Some(folder) = file.parent().filter(|folder| !folder.exists()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let before = std::fs::read(file).unwrap_or_default();
    let mut out = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    let gap = if before.is_empty() || before.ends_with(b"\n") { "" } else { "\n" };
    out.write_all(format!("{gap}{line}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).expect("key")
    }

    fn judge(text: &str, host: &str, port: u16, shown: &str) -> Verdict {
        let mut known = Known::default();
        known.take(text, Path::new("k"), &lookup_name(host, port));
        known.judge(&key(shown))
    }

    #[test]
    fn a_host_is_known_by_name_pattern_port_and_tabs_whatever_the_comment() {
        assert_eq!(judge(&format!("other,h1 {ONE} somebody@x\n"), "H1", 22, ONE), Verdict::Known);
        assert_eq!(
            judge(&format!("*.example.net,!bad.example.net\t{}\n", ONE.replace(' ', "\t")), "a.example.net", 22, ONE),
            Verdict::Known
        );
        assert_eq!(judge(&format!("*.example.net,!bad.example.net {ONE}\n"), "bad.example.net", 22, ONE), Verdict::Unknown);
        assert_eq!(judge(&format!("[h1]:2222 {ONE}\n"), "h1", 2222, ONE), Verdict::Known);
        assert_eq!(judge(&format!("h1 {ONE}\n"), "h1", 2222, ONE), Verdict::Unknown);
    }

    #[test]
    fn a_hashed_name_is_found() {
        use base64::Engine as _;
        let engine = &base64::engine::general_purpose::STANDARD;
        let mut mac = <Hmac<Sha1> as Mac>::new_from_slice(b"salt-salt-salt-salt!").expect("key");
        mac.update(b"h1");
        let field = format!("|1|{}|{}", engine.encode(b"salt-salt-salt-salt!"), engine.encode(mac.finalize().into_bytes()));
        assert_eq!(judge(&format!("{field} {ONE}\n"), "h1", 22, ONE), Verdict::Known);
        assert_eq!(judge(&format!("{field} {ONE}\n"), "h2", 22, ONE), Verdict::Unknown);
    }

    #[test]
    fn a_changed_key_names_the_line_that_disagrees() {
        assert_eq!(judge(&format!("# x\nh1 {TWO}\n"), "h1", 22, ONE), Verdict::Changed { place: "k:2".into() });
    }

    #[test]
    fn another_type_is_no_new_host_and_a_revoked_key_is_refused() {
        let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCqGKukO1De7zhZj6+H0qtjTkVxwTCpvKe4eCZ0FPqri0cb2JZfXJ/DgYSF6vUpwmJG8wVQZKjeGcjDOL5UlsuusFncCzWBQ7RKNUSesmQRMSGkVb1/3j+skZ6UtW+5u09lHNsj6tQ51s1SPrCBkedbNf0Tp0GbMJDyR4e9T04ZZw==";
        assert!(matches!(judge(&format!("h1 {rsa}\n"), "h1", 22, ONE), Verdict::OtherType { .. }));
        assert_eq!(judge(&format!("h1 {ONE}\n@revoked * {ONE}\n"), "h1", 22, ONE), Verdict::Revoked { place: "k:2".into() });
    }
}
