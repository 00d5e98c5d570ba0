//! Which keys a host may have, by our own policy over `known_hosts` files.
//!
//! A key counts only where a line for this host has exactly it. A line with another key, even of another kind, means
//! that somebody vouched for this host before, so a new key is not "unknown" but wrong.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::config::matches;

/// The lines of `known_hosts` files.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    lines: Vec<Line>,
    files: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    place: Place,
    marker: Marker,
    hosts: String,
    kind: String,
    key: Vec<u8>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Authority,
    Revoked,
}

/// What the files say of a host's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A line has this key.
    Known,
    /// No line is about this host.
    Unknown,
    /// This line has another key of the same kind.
    Changed(Place),
    /// This line has a key of another kind, and no line has this one.
    OtherKind(Place, String),
    /// This line says that the key must not be used.
    Revoked(Place),
    /// Only a certificate of this authority would do.
    Authority(Place),
}

impl KnownHosts {
    /// Reads files. One that does not exist says nothing.
    ///
    /// # Errors
    /// When a file is there but cannot be read: it may hold a line that matters.
    pub fn read(files: &[PathBuf]) -> std::io::Result<Self> {
        let mut known = Self { files: files.to_vec(), ..Self::default() };
        for file in files {
            match std::fs::read(file) {
                Ok(text) => known.add(file, &String::from_utf8_lossy(&text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(std::io::Error::new(error.kind(), format!("{}: {error}", file.display()))),
            }
        }
        Ok(known)
    }

    fn add(&mut self, file: &Path, text: &str) {
        for (number, line) in text.lines().enumerate() {
            let place = Place { file: file.to_owned(), line: number + 1 };
            self.lines.extend(parse(line, place));
        }
    }

    /// Returns the files that were looked at.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Returns the kinds of key ("ssh-ed25519") that lines about this host have.
    pub fn kinds(&self, name: &str) -> Vec<&str> {
        let about = self.lines.iter().filter(|line| line.marker == Marker::None && line.is_about(name));
        about.map(|line| line.kind.as_str()).collect()
    }

    /// Returns the keys of the authorities that vouch for `name`, and where each stands.
    pub fn authorities(&self, name: &str) -> Vec<(&Place, &[u8])> {
        let about = self.lines.iter().filter(|line| line.marker == Marker::Authority && line.is_about(name));
        about.map(|line| (&line.place, line.key.as_slice())).collect()
    }

    /// Returns the line that revokes a key for `name`: the host's own, or that of an authority.
    pub fn revoked(&self, name: &str, key: &[u8]) -> Option<&Place> {
        let mut revoked = self.lines.iter().filter(|line| line.marker == Marker::Revoked && line.key == key);
        revoked.find(|line| line.is_about(name)).map(|line| &line.place)
    }

    /// Says what the files say of the key of `name` (a host name, or `[name]:port`).
    pub fn judge(&self, name: &str, kind: &str, key: &[u8]) -> Verdict {
        let about: Vec<_> = self.lines.iter().filter(|line| line.is_about(name)).collect();
        let plain = || about.iter().filter(|line| line.marker == Marker::None);
        if let Some(line) = about.iter().find(|line| line.marker == Marker::Revoked && line.key == key) {
            return Verdict::Revoked(line.place.clone());
        }
        if plain().any(|line| line.key == key) {
            return Verdict::Known;
        }
        if let Some(line) = plain().find(|line| line.kind == kind) {
            return Verdict::Changed(line.place.clone());
        }
        if let Some(line) = plain().next() {
            return Verdict::OtherKind(line.place.clone(), line.kind.clone());
        }
        match about.iter().find(|line| line.marker == Marker::Authority) {
            Some(line) => Verdict::Authority(line.place.clone()),
            None => Verdict::Unknown,
        }
    }
}

fn parse(line: &str, place: Place) -> Option<Line> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut words = line.split_whitespace().peekable();
    let marker = match *words.peek()? {
        "@cert-authority" => Marker::Authority,
        "@revoked" => Marker::Revoked,
        _ => Marker::None,
    };
    if marker != Marker::None {
        words.next();
    }
    let hosts = words.next()?.to_owned();
    let kind = words.next()?.to_owned();
    let key = BASE64.decode(words.next()?).ok()?;
    Some(Line { place, marker, hosts, kind, key })
}

impl Line {
    fn is_about(&self, name: &str) -> bool {
        if let Some(hashed) = self.hosts.strip_prefix("|1|") {
            return is_hash_of(hashed, name);
        }
        let mut found = false;
        for pattern in self.hosts.split(',') {
            match pattern.strip_prefix('!') {
                Some(exception) if matches(exception, name) => return false,
                Some(_) => {}
                None => found = found || matches(pattern, name),
            }
        }
        found
    }
}

fn is_hash_of(hashed: &str, name: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (BASE64.decode(salt), BASE64.decode(hash)) else { return false };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else { return false };
    mac.update(name.to_lowercase().as_bytes());
    mac.verify_slice(&hash).is_ok()
}

/// Returns the name under which files have a host: with its port, unless that is 22.
pub fn name_of(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Adds a host's key to a file, which is made where there is none, readable by its owner alone.
///
/// # Errors
/// As the system says.
#[allow(clippy::disallowed_methods, reason = "the user's own known_hosts, as `accept-new` asks")]
pub fn learn(file: &Path, name: &str, openssh_key: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.exists()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // A last line without its end must not swallow ours.
    let ends = std::fs::read(file).map_or(true, |text| text.is_empty() || text.ends_with(b"\n"));
    let mut key = openssh_key.split_whitespace();
    let (kind, data) = (key.next().unwrap_or_default(), key.next().unwrap_or_default());
    let line = format!("{}{name} {kind} {data}\n", if ends { "" } else { "\n" });
    // One write, so that connections that are made at the same time do not mix their lines.
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?.write_all(line.as_bytes())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up files of their own")]
mod tests {
    use super::*;

    const ONE: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str = "AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn known(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add(Path::new("/k"), text);
        known
    }

    fn judge(text: &str, name: &str) -> Verdict {
        known(text).judge(name, "ssh-ed25519", &BASE64.decode(ONE).expect("key"))
    }

    fn place(line: usize) -> Place {
        Place { file: PathBuf::from("/k"), line }
    }

    #[test]
    fn a_host_is_known_by_its_key_whatever_stands_behind_it() {
        assert_eq!(judge(&format!("web1,10.0.0.1 ssh-ed25519 {ONE} some comment"), "WEB1"), Verdict::Known);
        assert_eq!(judge(&format!("web1\tssh-ed25519\t{ONE}"), "web1"), Verdict::Known);
        assert_eq!(judge(&format!("# x\n\nweb1 ssh-ed25519 {TWO}\nweb1 ssh-ed25519 {ONE}"), "web1"), Verdict::Known);
    }

    #[test]
    fn another_key_is_a_mismatch_that_names_its_line() {
        assert_eq!(judge(&format!("\nweb1 ssh-ed25519 {TWO}"), "web1"), Verdict::Changed(place(2)));
        assert_eq!(judge("web1 ssh-rsa AAAAB3NzaC1yc2E=", "web1"), Verdict::OtherKind(place(1), "ssh-rsa".into()));
    }

    #[test]
    fn a_host_nobody_vouched_for_is_unknown() {
        assert_eq!(judge(&format!("web2 ssh-ed25519 {ONE}"), "web1"), Verdict::Unknown);
        assert_eq!(judge(&format!("[web1]:2200 ssh-ed25519 {ONE}"), "web1"), Verdict::Unknown);
        assert_eq!(judge("web1 ssh-ed25519 not-base64", "web1"), Verdict::Unknown);
    }

    #[test]
    fn ports_wildcards_and_exceptions_count() {
        assert_eq!(judge(&format!("[web1]:2200 ssh-ed25519 {ONE}"), &name_of("Web1", 2200)), Verdict::Known);
        assert_eq!(judge(&format!("*.example.net,!bad.example.net ssh-ed25519 {ONE}"), "good.example.net"), Verdict::Known);
        assert_eq!(judge(&format!("*.example.net,!bad.example.net ssh-ed25519 {ONE}"), "bad.example.net"), Verdict::Unknown);
    }

    #[test]
    fn a_revoked_key_never_counts() {
        assert_eq!(judge(&format!("web1 ssh-ed25519 {ONE}\n@revoked * ssh-ed25519 {ONE}"), "web1"), Verdict::Revoked(place(2)));
    }

    #[test]
    fn an_authority_vouches_for_certificates_only() {
        assert_eq!(judge(&format!("@cert-authority *.example.net ssh-ed25519 {ONE}"), "a.example.net"), Verdict::Authority(place(1)));
    }

    #[test]
    fn hashed_names_are_found() {
        let salt = [7_u8; 20];
        let mut mac = Hmac::<Sha1>::new_from_slice(&salt).expect("salt");
        mac.update(b"web1");
        let hash = BASE64.encode(mac.finalize().into_bytes());
        let line = format!("|1|{}|{hash} ssh-ed25519 {ONE}", BASE64.encode(salt));
        assert_eq!(judge(&line, "web1"), Verdict::Known);
        assert_eq!(judge(&line, "web2"), Verdict::Unknown);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test prepares its own file")]
    fn a_learned_host_is_known_and_no_line_is_swallowed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("ssh/known_hosts");
        learn(&file, "web1", &format!("ssh-ed25519 {ONE} comment")).expect("learns");
        assert_eq!(std::fs::metadata(&file).expect("file").permissions().mode() & 0o777, 0o600);
        std::fs::write(&file, format!("web0 ssh-ed25519 {TWO}")).expect("write");
        learn(&file, "web1", &format!("ssh-ed25519 {ONE}")).expect("learns");
        let known = KnownHosts::read(&[file]).expect("reads");
        assert_eq!(known.judge("web1", "ssh-ed25519", &BASE64.decode(ONE).expect("key")), Verdict::Known);
        assert_eq!(known.kinds("web0"), ["ssh-ed25519"]);
    }
}
