//! `deb822_repository`: where a Debian host gets its packages, in the form that names each part.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::group::Presence;
use super::{Example, Module};
use crate::change::attributes::FileMode;
use crate::change::doubt::Names;
use crate::change::probe::FileKind;
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Before, Change, Failure, Plan, Probe, Request};
use crate::formats::openpgp;

/// Adds and removes a repository in `/etc/apt/sources.list.d/NAME.sources`, with the key that it is signed by.
///
/// The lists of packages are not fetched: `apt: update_cache=true` does that, where this changed something.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deb822Repository {
    /// The name: of the repository, and of its file.
    name: String,
    /// Whether it shall be there.
    #[serde(default)]
    state: Presence,
    /// What it has: `deb`, `deb-src`.
    #[serde(default = "binary")]
    types: Vec<String>,
    /// Its addresses.
    #[serde(default)]
    uris: Vec<String>,
    /// Its releases; one that ends in `/` is a path.
    #[serde(default)]
    suites: Vec<String>,
    /// Its parts, such as `main`.
    #[serde(default)]
    components: Vec<String>,
    /// What signs it: an address or the text of a key, the path of a file on the host, or a fingerprint.
    signed_by: Option<String>,
    /// Whether it is used.
    enabled: Option<bool>,
    /// Architectures.
    architectures: Option<Vec<String>>,
    /// Languages of descriptions.
    languages: Option<Vec<String>>,
    /// Which files are fetched.
    targets: Option<Vec<String>>,
    /// Whether differences are fetched rather than whole lists.
    pdiffs: Option<bool>,
    /// `yes`, `no` or `force`: whether lists are fetched by their hashes.
    by_hash: Option<String>,
    /// Whether it may lose its signature.
    allow_downgrade_to_insecure: Option<bool>,
    /// Whether it may have no signature.
    allow_insecure: Option<bool>,
    /// Whether weak signatures count.
    allow_weak: Option<bool>,
    /// Whether it is trusted without a signature.
    trusted: Option<bool>,
    /// Whether dates in the future are refused.
    check_date: Option<bool>,
    /// Whether lists that are too old are refused.
    check_valid_until: Option<bool>,
    /// Seconds by which dates may be in the future.
    date_max_future: Option<i64>,
    /// The path of its `InRelease` file.
    inrelease_path: Option<String>,
    /// Mode of the file.
    mode: Option<FileMode>,
    /// What is left out.
    exclude: Option<Vec<String>>,
    /// What is taken.
    include: Option<Vec<String>>,
    /// Accepted for old playbooks: no Python is needed on the host.
    #[serde(rename = "install_python_debian")]
    _install_python_debian: Option<bool>,
}

fn binary() -> Vec<String> {
    vec!["deb".to_owned()]
}

const SOURCES: &str = "/etc/apt/sources.list.d";
const KEYS: &str = "/etc/apt/keyrings";

impl Module for Deb822Repository {
    const NAME: &'static str = "deb822_repository";
    const PATHS: &'static [&'static str] = &[];
    const CHANGES: &'static [Names] = &[Names::Always("/etc/apt/sources.list.d")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Add a repository whose key is on the host",
            task: "{name: es, uris: https://artifacts.example.net/packages, suites: stable, components: main, signed_by: /etc/apt/keyrings/es.asc}",
            given: &[("/etc/apt/sources.list.d/", "")],
            changes: true,
        },
        Example {
            title: "Remove a repository with its key",
            task: "{name: old, state: absent}",
            given: &[("/etc/apt/sources.list.d/old.sources", "Types: deb\n"), ("/etc/apt/keyrings/old.asc", "key")],
            changes: true,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let name = slug(&self.name);
        let path = Path::new(SOURCES).join(format!("{name}.sources"));
        if self.state == Presence::Absent {
            let mut changes = Vec::new();
            for path in [path.clone(), key_path(&name, "asc"), key_path(&name, "gpg")] {
                if host.stat(&path, false)?.is_some() {
                    changes.push(Change::Remove { path, before: Before::Any });
                }
            }
            let because = if changes.is_empty() { "there is no such repository" } else { "the repository is there" };
            let shown = path.display().to_string();
            return Ok(Plan::all(because, changes).value("repo", crate::value::Value::Null).value("dest", shown));
        }
        for (argument, given) in [("uris", &self.uris), ("suites", &self.suites)] {
            if given.is_empty() {
                return Err(Failure::argument(argument, format!("`{argument}` is needed")));
            }
        }
        let mut changes = Vec::new();
        let signed_by = self.signed_by.as_deref().map(|text| self.signature(host, &name, text, &mut changes)).transpose()?;
        let text = self.text(signed_by.as_ref().map(|(text, _)| text.as_str()));
        let target = Target::find(host, &path, "name")?;
        let mode = self.mode.as_ref().and_then(|mode| mode.bits(target.stat.as_ref().map(|stat| stat.mode), FileKind::File));
        let wanted = Attributes { mode: Some(mode.unwrap_or(0o644)), ..Attributes::default() };
        changes.extend(target.changes(Some(text.clone().into_bytes()), &Manner { wanted, ..Manner::default() }));
        let because = if changes.is_empty() { "the repository is as asked" } else { "the repository is missing, or differs" };
        let key = signed_by.and_then(|(_, path)| path).map(|path| path.display().to_string());
        let plan = Plan::all(because, changes).value("repo", text).value("dest", path.display().to_string());
        Ok(plan.value("key_filename", key))
    }
}

impl Deb822Repository {
    /// Returns what the field `Signed-By` says, and the file of the key where it has one of its own.
    fn signature(&self, host: &dyn Probe, name: &str, text: &str, changes: &mut Vec<Change>) -> Result<(String, Option<PathBuf>), Failure> {
        if text.contains("-----BEGIN") {
            let lines =
                text.trim().lines().map(|line| if line.trim().is_empty() { " .".to_owned() } else { format!(" {}", line.trim_end()) });
            return Ok((format!("\n{}", lines.collect::<Vec<_>>().join("\n")), None));
        }
        if !text.contains("://") {
            return Ok((text.to_owned(), None));
        }
        let request = Request {
            method: "GET".to_owned(),
            url: text.to_owned(),
            follow_redirects: "safe".to_owned(),
            use_proxy: true,
            ..Request::default()
        };
        let response = host.http(&request)?;
        if response.status != 200 {
            return Err(Failure::argument("signed_by", format!("`{text}` answered {} {}", response.status, response.reason)));
        }
        let path = key_path(name, if openpgp::is_armoured(&response.body) { "asc" } else { "gpg" });
        let open = |mode| Attributes { mode: Some(mode), ..Attributes::default() };
        let target = if host.stat(Path::new(KEYS), true)?.is_none() {
            changes.push(Change::Directory { path: KEYS.into(), attributes: open(0o755) });
            Target { path: path.clone(), stat: None, content: None }
        } else {
            Target::find(host, &path, "signed_by")?
        };
        changes.extend(target.changes(Some(response.body), &Manner { wanted: open(0o644), ..Manner::default() }));
        Ok((path.display().to_string(), Some(path)))
    }

    /// Returns the text of the file.
    fn text(&self, signed_by: Option<&str>) -> String {
        let joined = |words: &[String]| Some(words.join(" ")).filter(|text| !text.is_empty());
        let list = |words: &Option<Vec<String>>| words.as_deref().and_then(joined);
        let flag = |flag: Option<bool>| flag.map(|flag| if flag { "yes" } else { "no" }.to_owned());
        let fields = [
            ("X-Repolib-Name", Some(self.name.clone())),
            ("Allow-Downgrade-To-Insecure", flag(self.allow_downgrade_to_insecure)),
            ("Allow-Insecure", flag(self.allow_insecure)),
            ("Allow-Weak", flag(self.allow_weak)),
            ("Architectures", list(&self.architectures)),
            ("By-Hash", self.by_hash.clone()),
            ("Check-Date", flag(self.check_date)),
            ("Check-Valid-Until", flag(self.check_valid_until)),
            ("Components", joined(&self.components)),
            ("Date-Max-Future", self.date_max_future.map(|seconds| seconds.to_string())),
            ("Enabled", flag(self.enabled)),
            ("Exclude", list(&self.exclude)),
            ("Include", list(&self.include)),
            ("InRelease-Path", self.inrelease_path.clone()),
            ("Languages", list(&self.languages)),
            ("PDiffs", flag(self.pdiffs)),
            ("Signed-By", signed_by.map(str::to_owned)),
            ("Suites", joined(&self.suites)),
            ("Targets", list(&self.targets)),
            ("Trusted", flag(self.trusted)),
            ("Types", joined(&self.types)),
            ("URIs", joined(&self.uris)),
        ];
        let line = |(name, value): (&str, Option<String>)| {
            value.map(|value| if value.starts_with('\n') { format!("{name}:{value}\n") } else { format!("{name}: {value}\n") })
        };
        fields.into_iter().filter_map(line).collect()
    }
}

fn key_path(name: &str, ending: &str) -> PathBuf {
    Path::new(KEYS).join(format!("{name}.{ending}"))
}

/// Returns a name as files have it: letters, digits, `-` and `.`.
fn slug(name: &str) -> String {
    let words = name.trim().to_lowercase();
    let plain: String = words.chars().map(|c| if c.is_alphanumeric() || "_.-".contains(c) { c } else { '-' }).collect();
    plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    #[test]
    fn a_key_from_an_address_gets_a_file_of_its_own() {
        let key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n";
        let host = FakeHost::with(&[("/etc/apt/sources.list.d/", "")]).answers("GET", "https://k/key", 200, key);
        let map = [("name", "My Repo"), ("uris", "https://r"), ("suites", "stable"), ("signed_by", "https://k/key")];
        let map = map.map(|(name, value)| (name.into(), value.into())).into_iter().collect();
        let plan = crate::value::arguments::from_map::<Deb822Repository>(&map).expect("fits").plan(&host).expect("plan");
        assert_eq!(plan.changes.len(), 3);
        assert_eq!(plan.values.get("key_filename").map(ToString::to_string).as_deref(), Some("/etc/apt/keyrings/my-repo.asc"));
        let text = plan.values.get("repo").map(ToString::to_string).unwrap_or_default();
        assert_eq!(
            text,
            "X-Repolib-Name: My Repo\nSigned-By: /etc/apt/keyrings/my-repo.asc\nSuites: stable\nTypes: deb\nURIs: https://r\n"
        );
    }
}
