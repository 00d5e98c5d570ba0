//! `apt_repository`: where a Debian host gets its packages, one line each.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::group::Presence;
use super::{Example, Module};
use crate::change::attributes::FileMode;
use crate::change::doubt::Names;
use crate::change::probe::FileKind;
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Before, Change, Effect, Failure, Plan, Probe, Program};

/// Adds and removes lines such as `deb https://... stable main` in the sources of apt, and fetches the lists of packages then.
///
/// The key of the repository is a matter of its own: `get_url` it to `/etc/apt/keyrings` and say `[signed-by=...]`, or use
/// `deb822_repository`, which does both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AptRepository {
    /// The line.
    repo: String,
    /// Whether it shall be there.
    #[serde(default)]
    state: Presence,
    /// The name of a new file in `/etc/apt/sources.list.d`, without `.list`.
    filename: Option<String>,
    /// Mode of a new file.
    mode: Option<FileMode>,
    /// Whether the lists of packages are fetched after a change.
    #[serde(default = "super::command::yes", alias = "update-cache")]
    update_cache: bool,
    /// Accepted for old playbooks: fetching is tried as often as apt itself does.
    #[serde(rename = "update_cache_retries")]
    _update_cache_retries: Option<u32>,
    /// Accepted for old playbooks.
    #[serde(rename = "update_cache_retry_max_delay")]
    _update_cache_retry_max_delay: Option<u32>,
    /// The release of Ubuntu that an archive of `ppa:` is for.
    codename: Option<String>,
    /// Accepted for old playbooks; certificates are apt's own matter.
    #[serde(rename = "validate_certs")]
    _validate_certs: Option<bool>,
    /// Accepted for old playbooks: no Python is needed on the host.
    #[serde(rename = "install_python_apt")]
    _install_python_apt: Option<bool>,
}

/// Where files of sources are.
const FOLDER: &str = "/etc/apt/sources.list.d";

impl Module for AptRepository {
    const NAME: &'static str = "apt_repository";
    const CHANGES: &'static [Names] =
        &[Names::Always("/etc/apt/sources.list.d"), Names::Always("/etc/apt/sources.list"), Names::Program("apt-get")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Add a repository",
            task: "{repo: 'deb [signed-by=/etc/apt/keyrings/es.asc] https://artifacts.example.net/packages stable main', filename: es, update_cache: false}",
            given: &[("/etc/apt/sources.list.d/", "")],
            changes: true,
        },
        Example {
            title: "A repository that is there",
            task: "{repo: 'deb http://deb.example.net/debian bookworm main', update_cache: false}",
            given: &[("/etc/apt/sources.list", "# ours\ndeb  http://deb.example.net/debian bookworm main\n")],
            changes: false,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.repo.starts_with("ppa:") {
            let line = "deb https://ppa.launchpadcontent.net/OWNER/NAME/ubuntu RELEASE main";
            let release = self.codename.as_deref().unwrap_or("RELEASE");
            return Err(Failure::argument("repo", format!("`{}` has to be written as a line", self.repo))
                .hint(format!("`{}`, and its key with `get_url`", line.replace("RELEASE", release))));
        }
        let Some(wanted) = Source::read(&self.repo).filter(|source| source.active) else {
            return Err(Failure::argument("repo", format!("`{}` is not a line of apt's sources", self.repo))
                .hint("such as `deb https://deb.example.net/debian bookworm main`"));
        };
        let mut changes = Vec::new();
        let mut found = false;
        for file in files(host)? {
            let target = Target::find(host, &file, "repo")?;
            let text = String::from_utf8_lossy(target.content.as_deref().unwrap_or_default()).into_owned();
            let after = self.edited(&text, &wanted, &mut found);
            if after == text {
                continue;
            }
            if after.trim().is_empty() && file.starts_with(FOLDER) {
                changes.push(Change::Remove { path: file, before: Before::Any });
            } else {
                changes.extend(target.changes(Some(after.into_bytes()), &Manner::default()));
            }
        }
        if self.state == Presence::Present && !found {
            changes.extend(self.new_line(host)?);
        }
        let because = match (changes.is_empty(), self.state) {
            (true, _) => "the sources are as asked",
            (_, Presence::Present) => "the repository is not among the sources",
            (_, Presence::Absent) => "the repository is among the sources",
        };
        if !changes.is_empty() && self.update_cache {
            changes.push(update());
        }
        let state = if self.state == Presence::Present { "present" } else { "absent" };
        Ok(Plan::all(because, changes).value("repo", self.repo.as_str()).value("state", state))
    }
}

/// Returns the change that fetches the lists of packages.
pub(super) fn update() -> Change {
    let environment = [("DEBIAN_FRONTEND", "noninteractive"), ("LC_ALL", "C.UTF-8")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let argv = ["apt-get", "-q", "-y", "update"].map(str::to_owned).to_vec();
    Change::Run {
        program: Program { argv, environment, accept: vec![0], ..Program::default() },
        effects: vec![Effect::QueryUnknown(vec!["apt-get".to_owned(), "-s".to_owned()])],
        summary: "fetch the lists of packages".to_owned(),
    }
}

/// Returns the files that have lines of sources.
fn files(host: &dyn Probe) -> Result<Vec<PathBuf>, Failure> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let names = host.list(Path::new(FOLDER))?.unwrap_or_default();
    files.extend(names.iter().filter(|name| name.ends_with(".list")).map(|name| Path::new(FOLDER).join(name)));
    let mut there = Vec::new();
    for file in files {
        if host.stat(&file, true)?.is_some_and(|stat| stat.kind == FileKind::File) {
            there.push(file);
        }
    }
    Ok(there)
}

/// A line of sources, its blanks made even.
#[derive(PartialEq, Eq)]
struct Source {
    active: bool,
    text: String,
}

impl Source {
    fn read(line: &str) -> Option<Self> {
        let line = line.trim();
        let (active, line) = match line.strip_prefix('#') {
            Some(rest) => (false, rest.trim_start_matches(['#', ' ', '\t'])),
            None => (true, line),
        };
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<_> = line.split_whitespace().collect();
        let is_source = matches!(words.first(), Some(&("deb" | "deb-src"))) && words.len() > 2 && line.contains('/');
        is_source.then(|| Self { active, text: words.join(" ") })
    }
}

impl AptRepository {
    /// Returns the text of a file with the line counting, or gone. `found`: whether it is there then.
    fn edited(&self, text: &str, wanted: &Source, found: &mut bool) -> String {
        let mut lines = Vec::new();
        for line in text.lines() {
            match Source::read(line).filter(|source| source.text == wanted.text) {
                None => lines.push(line.to_owned()),
                Some(source) if self.state == Presence::Present => {
                    lines.push(if source.active || *found { line.to_owned() } else { wanted.text.clone() });
                    *found = true;
                }
                Some(source) if source.active => *found = true,
                Some(_) => lines.push(line.to_owned()),
            }
        }
        if text.lines().eq(lines.iter().map(String::as_str)) {
            return text.to_owned();
        }
        lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    /// Plans the line at the end of its file.
    fn new_line(&self, host: &dyn Probe) -> Result<Vec<Change>, Failure> {
        let name = match &self.filename {
            Some(name) => name.trim_end_matches(".list").to_owned(),
            None => suggested(&self.repo),
        };
        let path =
            if name.starts_with('/') { PathBuf::from(format!("{name}.list")) } else { Path::new(FOLDER).join(format!("{name}.list")) };
        let target = Target::find(host, &path, "filename")?;
        let mut text = String::from_utf8_lossy(target.content.as_deref().unwrap_or_default()).into_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(self.repo.trim());
        text.push('\n');
        let mode = self.mode.as_ref().and_then(|mode| mode.bits(None, FileKind::File)).unwrap_or(0o644);
        let for_new = Attributes { mode: Some(mode), ..Attributes::default() };
        Ok(target.changes(Some(text.into_bytes()), &Manner { for_new, ..Manner::default() }))
    }
}

/// Returns the name that a line's file gets where none is given: what stands in its address, joined by `_`.
fn suggested(line: &str) -> String {
    let mut rest = line.trim();
    for kind in ["deb-src", "deb"] {
        rest = rest.strip_prefix(kind).unwrap_or(rest).trim_start();
    }
    if let Some((_, after)) = rest.strip_prefix('[').and_then(|options| options.split_once(']')) {
        rest = after.trim_start();
    }
    let address = rest.split_whitespace().next().unwrap_or_default();
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let address = address.rsplit_once('@').map_or(address, |(_, rest)| rest);
    let words: Vec<_> = address.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    fn plan(host: &FakeHost, repo: &str, state: Presence) -> Plan {
        let map = [("repo".into(), repo.into())].into_iter().collect();
        let module = AptRepository { state, ..crate::value::arguments::from_map::<AptRepository>(&map).expect("fits") };
        module.plan(host).expect("plan")
    }

    #[test]
    fn the_file_is_named_after_the_address() {
        assert_eq!(
            suggested("deb [arch=amd64 signed-by=/k] https://me:x@download.docker.com/linux/debian bookworm stable"),
            "download_docker_com_linux_debian"
        );
    }

    #[test]
    fn a_line_is_found_in_any_file_and_a_comment_does_not_count() {
        let host = FakeHost::with(&[("/etc/apt/sources.list.d/a.list", "deb http://x/y stable main\n# deb http://z/y stable main\n")]);
        assert!(plan(&host, "deb http://x/y  stable main", Presence::Present).changes.is_empty());
        assert_eq!(plan(&host, "deb http://z/y stable main", Presence::Present).changes.len(), 2);
        assert_eq!(plan(&host, "deb http://x/y stable main", Presence::Absent).changes.len(), 2);
        assert!(plan(&host, "deb http://q/y stable main", Presence::Absent).changes.is_empty());
    }
}
