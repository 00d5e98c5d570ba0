//! `elasticsearch_keystore`: secret settings of an Elasticsearch node.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::digest::sha256;
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Change, Content, Done, Effect, Failure, Plan, Probe, Program};
use crate::formats::keystore::{Entry, Keystore, KeystoreError, SEED, head, is_valid_name, version_for};
use crate::value::arguments::Anything;
use crate::value::secret::Secret;
use crate::value::{Map, Unknown, Value};

/// Sets and removes entries of a node's keystore, by its file format and without starting a JVM. All entries go into one
/// atomic write; a value that is there already is not written again. Format, owner, group and mode of a keystore that
/// exists are kept. Values never show in a report or a difference, only names do.
///
/// The result tells which of the changed names a running node takes over by `elasticsearch_reload_secure_settings`
/// (`reload_names`) and which only by a restart (`restart_names`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ElasticsearchKeystore {
    /// The keystore's file.
    #[serde(default = "usual_path")]
    path: String,
    /// The password that protects the keystore, if one does. A new keystore gets it.
    password: Option<Secret<String>>,
    /// Text entries: name and value.
    #[serde(default)]
    entries: BTreeMap<String, Option<Secret<Anything>>>,
    /// File entries: name, and path of a file on the host whose content becomes the value.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Names of entries that must not be there.
    #[serde(default)]
    absent: Vec<String>,
    /// Whether entries go that neither `entries` nor `files` name. `keystore.seed` stays.
    #[serde(default)]
    purge: bool,
    /// Whether a keystore is made where there is none. With `false` nothing is done then.
    #[serde(default = "yes")]
    create: bool,
    /// The Elasticsearch version that will read a new keystore, for its format. Found out where it is not given.
    elasticsearch_version: Option<String>,
    /// Owner of the file. A new one belongs to the owner of its folder.
    owner: Option<String>,
    /// Group of the file. A new one belongs to `elasticsearch`, or to the group of its folder.
    group: Option<String>,
    /// Mode of the file. A new one has `0660`.
    mode: Option<FileMode>,
}

fn usual_path() -> String {
    "/etc/elasticsearch/elasticsearch.keystore".to_owned()
}

fn yes() -> bool {
    true
}

impl Module for ElasticsearchKeystore {
    const NAME: &'static str = "elasticsearch_keystore";
    const COPES_WITH_UNKNOWN: bool = true;
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Give a node the credential of a remote cluster",
            task: "path: /etc/elasticsearch/elasticsearch.keystore\nentries:\n  cluster.remote.dr-site.credentials: aWQ6a2V5\nelasticsearch_version: 8.14.0\n",
            given: &[("/etc/elasticsearch/", ""), ("/etc/elasticsearch/elasticsearch.yml", "cluster.name: example\n")],
            changes: true,
        },
        Example {
            title: "Store a credentials file, and remove what is no longer used",
            task: "path: /etc/elasticsearch/elasticsearch.keystore\nfiles:\n  gcs.client.default.credentials_file: /srv/gcs.json\nabsent: [old.setting]\nelasticsearch_version: 9.1.0\n",
            given: &[("/etc/elasticsearch/", ""), ("/srv/", ""), ("/srv/gcs.json", "{}\n")],
            changes: true,
        },
        Example {
            title: "Look, where there may be no keystore yet",
            task: "path: /etc/elasticsearch/elasticsearch.keystore\ncreate: false\n",
            given: &[("/etc/elasticsearch/", "")],
            changes: false,
        },
    ];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        let entries = arguments.get("entries").and_then(Value::as_map);
        for value in entries.into_iter().flat_map(Map::values).chain(arguments.get("password")) {
            if !value.is_null() && value.unknown_part().is_none() {
                controller.secret(&value.to_string());
            }
        }
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        self.check_names()?;
        let target = Target::find(host, Path::new(&self.path), "path")?;
        let asked = Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode: self.mode.as_ref() };
        let wanted = target.wanted(host, &asked)?;
        let Some(bytes) = target.content.as_deref() else {
            if !self.create {
                return Ok(Plan::nothing("there is no keystore")
                    .values(told(&Keystore { version: 0, entries: BTreeMap::new() }, None))
                    .value("exists", false));
            }
            return self.make(host, &target, wanted);
        };
        let protected = match head(bytes) {
            Err(KeystoreError::TooNew(version)) => return self.by_tool(host, &target, version),
            other => other.map_err(|error| self.failure(&error))?.has_password,
        };
        let before = Keystore::read(bytes, self.password()).map_err(|error| self.failure(&error))?;
        let mut after = before.clone();
        self.apply_to(host, &mut after)?;
        let changed = differences(&before, &after);
        let content = if after == before {
            None
        } else {
            Some(after.write(if protected { self.password() } else { "" }).map_err(|error| self.failure(&error))?)
        };
        let digest = sha256(content.as_deref().unwrap_or(bytes));
        let changes = target.changes(content, &Manner { wanted, secret: true, ..Manner::default() });
        let because = match (changed.is_empty(), changes.is_empty()) {
            (true, true) => "every entry is as asked".to_owned(),
            (true, false) => "owner, group or mode differ".to_owned(),
            (false, _) => changed.sentence(),
        };
        let mut plan = Plan::all(because, changes).values(told(&after, Some(&changed))).value("sha256", digest).value("exists", true);
        if !protected && self.password.as_ref().is_some_and(|password| !password.reveal().is_empty()) {
            plan.warnings.push(format!("`{}` has no password, so the given one is not used", self.path));
        }
        Ok(plan)
    }

    fn result(&self, plan: &Plan, _: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        let mut values = plan.values.clone();
        if values.get("sha256").is_some_and(|digest| matches!(digest, Value::Unknown(_))) {
            values.insert("sha256".into(), host.digest(Path::new(&self.path), "sha256")?.into());
        }
        Ok(values)
    }
}

impl ElasticsearchKeystore {
    fn password(&self) -> &str {
        self.password.as_ref().map_or("", |password| password.reveal())
    }

    /// Returns the reason why an entry's value cannot be known yet, if one cannot.
    fn unknown(&self) -> Option<&Unknown> {
        self.entries.values().flatten().find_map(|value| value.reveal().0.unknown_part())
    }

    /// A bad name keeps a node from starting, so none gets as far as the file.
    fn check_names(&self) -> Result<(), Failure> {
        let mut seen = BTreeSet::new();
        let named = self.entries.keys().map(|name| ("entries", name)).chain(self.files.keys().map(|name| ("files", name)));
        for (argument, name) in named.chain(self.absent.iter().map(|name| ("absent", name))) {
            let place = if argument == "absent" { argument.to_owned() } else { format!("{argument}.{name}") };
            if !is_valid_name(name) {
                return Err(Failure::argument(
                    place,
                    format!("`{name}` is no name of a keystore entry: letters, digits, `_`, `-` and `.` are allowed"),
                ));
            }
            if name == SEED {
                return Err(Failure::argument(place, format!("`{SEED}` is the node's own entry; it is neither set nor removed")));
            }
            if !seen.insert(name) {
                return Err(Failure::argument(place, format!("`{name}` is named more than once in `entries`, `files` and `absent`")));
            }
        }
        match self.entries.iter().find(|(_, value)| value.is_none()) {
            Some((name, _)) => {
                Err(Failure::argument(format!("entries.{name}"), format!("`{name}` has no value"))
                    .hint("name it under `absent` to remove it"))
            }
            None => Ok(()),
        }
    }

    fn apply_to(&self, host: &dyn Probe, keystore: &mut Keystore) -> Result<(), Failure> {
        for (name, value) in &self.entries {
            set(keystore, name, Entry::text(&text_of(name, value.as_ref())?));
        }
        for (name, path) in &self.files {
            set(keystore, name, Entry::file(self.file(host, name, path)?));
        }
        for name in &self.absent {
            keystore.entries.remove(name);
        }
        if self.purge {
            keystore.entries.retain(|name, _| name == SEED || self.entries.contains_key(name) || self.files.contains_key(name));
        }
        keystore.ensure_seed().map_err(|error| self.failure(&error))?;
        Ok(())
    }

    fn file(&self, host: &dyn Probe, name: &str, path: &str) -> Result<Vec<u8>, Failure> {
        host.read(Path::new(path))?.ok_or_else(|| Failure::Missing { path: PathBuf::from(path), argument: format!("files.{name}") })
    }

    fn make(&self, host: &dyn Probe, target: &Target, wanted: Attributes) -> Result<Plan, Failure> {
        let (version, warning) = self.version(host)?;
        let mut keystore = Keystore::new(version).map_err(|error| self.failure(&error))?;
        self.apply_to(host, &mut keystore)?;
        let changed = differences(&Keystore { version, entries: BTreeMap::new() }, &keystore);
        let for_new = self.owner_of_new(host, target)?;
        let manner = Manner { wanted, for_new, secret: true, ..Manner::default() };
        if let Some(unknown) = self.unknown() {
            return Ok(unknown_plan(target, &manner, unknown, &keystore, &changed));
        }
        let bytes = keystore.write(self.password()).map_err(|error| self.failure(&error))?;
        let digest = sha256(&bytes);
        let changes = target.changes(Some(bytes), &manner);
        let mut plan = Plan::all("there is no keystore yet", changes)
            .values(told(&keystore, Some(&changed)))
            .value("sha256", digest)
            .value("exists", true);
        plan.warnings.extend(warning);
        Ok(plan)
    }

    /// The node must be able to read what root makes. Nobody but root can give files away, so others leave it.
    fn owner_of_new(&self, host: &dyn Probe, target: &Target) -> Result<Attributes, Failure> {
        let mode = Some(0o660);
        let folder = target.path.parent().map(|folder| host.stat(folder, true)).transpose()?.flatten();
        if host.me()?.uid != Some(0) {
            return Ok(Attributes { mode, ..Attributes::default() });
        }
        let group = host.group("elasticsearch")?.and_then(|group| group.gid);
        Ok(Attributes {
            uid: folder.as_ref().map(|folder| folder.uid),
            gid: group.or(folder.map(|folder| folder.gid)),
            mode,
            ..Attributes::default()
        })
    }

    /// Returns the format of a new keystore.
    fn version(&self, host: &dyn Probe) -> Result<(u32, Option<String>), Failure> {
        let given = self.elasticsearch_version.clone();
        let Some(release) = given.map_or_else(|| installed(host, Path::new(&self.path)), |version| Ok(Some(version)))? else {
            let warning = "the installed version of Elasticsearch was not found, so the new keystore has the format of 8.0, which every later one reads".to_owned();
            return Ok((5, Some(format!("{warning}; say `elasticsearch_version` to choose"))));
        };
        let mut numbers = release.split(['.', '-', '~']).map(|part| part.parse().ok());
        let (major, minor) = (numbers.next().flatten(), numbers.next().flatten().unwrap_or(0));
        let version = major.and_then(|major| version_for(major, minor));
        version.map(|version| (version, None)).ok_or_else(|| {
            Failure::argument(
                "elasticsearch_version",
                format!("a keystore for Elasticsearch `{release}` cannot be made, only for 6.3 and later"),
            )
        })
    }

    fn failure(&self, error: &KeystoreError) -> Failure {
        let path = &self.path;
        match error {
            KeystoreError::WrongPassword => Failure::argument("password", format!("the password does not fit the keystore `{path}`"))
                .hint("a keystore that was tampered with looks the same; `elasticsearch-keystore list` on the host tells whether the node's password works"),
            KeystoreError::NeedsPassword => {
                Failure::argument("password", format!("the keystore `{path}` is protected by a password")).hint("give it as `password`")
            }
            KeystoreError::Corrupt(_) => Failure::failed(format!("`{path}`: {error}")).hint("restore it, or move it away so that a new one is made"),
            other => Failure::failed(format!("`{path}`: {other}")),
        }
    }

    /// Works on a format that is newer than this program, through the tool that came with the node.
    fn by_tool(&self, host: &dyn Probe, target: &Target, version: u32) -> Result<Plan, Failure> {
        let too_new = |why: &str| {
            Failure::failed(format!("`{}`: the keystore has the format {version}, newer than this program knows, and {why}", self.path))
        };
        if !self.password().is_empty() {
            return Err(too_new("a password-protected one cannot be compared through the node's own tool"));
        }
        let tool = tool(host, &target.path)?.ok_or_else(|| too_new("`elasticsearch-keystore` was not found"))?;
        let name_of_tool = tool.to_string_lossy().into_owned();
        let ask = |arguments: &[&str]| -> Result<Vec<u8>, Failure> {
            let output = host.query(&[&[name_of_tool.as_str()], arguments].concat())?;
            if output.rc == 0 {
                Ok(output.stdout)
            } else {
                Err(too_new(&format!("`elasticsearch-keystore {}` failed", arguments.first().unwrap_or(&""))))
            }
        };
        let listed = ask(&["list"])?;
        let names: BTreeSet<String> =
            String::from_utf8_lossy(&listed).lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
        let mut before = Keystore { version, entries: BTreeMap::new() };
        for name in &names {
            let asked = self.entries.contains_key(name) || self.files.contains_key(name);
            let value = if asked { ask(&["show", name])? } else { Vec::new() };
            let value = value.strip_suffix(b"\n").unwrap_or(&value).to_vec();
            before.entries.insert(name.clone(), Entry::file(value));
        }
        let mut after = before.clone();
        before.entries.entry(SEED.to_owned()).or_insert_with(|| Entry::text(""));
        after.entries.entry(SEED.to_owned()).or_insert_with(|| Entry::text(""));
        self.apply_to(host, &mut after)?;
        let changed = differences(&before, &after);
        let changes = self.runs(&changed, &tool, &target.path)?;
        let because = if changed.is_empty() {
            "every entry is as asked".to_owned()
        } else {
            format!("{} (through the node's own tool)", changed.sentence())
        };
        let digest = if changed.is_empty() {
            Value::from(sha256(target.content.as_deref().unwrap_or_default()))
        } else {
            Value::unknown("the node's own tool writes the file")
        };
        Ok(Plan::all(because, changes).values(told(&after, Some(&changed))).value("sha256", digest).value("exists", true))
    }

    fn runs(&self, changed: &Differences, tool: &Path, keystore: &Path) -> Result<Vec<Change>, Failure> {
        let (mut texts, mut values, mut files) = (vec!["add", "-f", "-x"], Vec::new(), vec!["add-file", "-f"]);
        for name in changed.added.iter().chain(&changed.updated) {
            if let Some(value) = self.entries.get(name) {
                let value = text_of(name, value.as_ref())?;
                if value.contains(['\n', '\r']) {
                    return Err(Failure::argument(
                        format!("entries.{name}"),
                        "a value of several lines cannot be given to the node's own tool",
                    )
                    .hint("put it into a file and name it under `files`"));
                }
                texts.push(name);
                values.extend(value.bytes().chain([b'\n']));
            } else if let Some(path) = self.files.get(name) {
                files.extend([name.as_str(), path]);
            }
        }
        let mut removed = vec!["remove"];
        removed.extend(changed.removed.iter().map(String::as_str));
        let folder = keystore.parent().map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
        let calls = [(texts, 3, Some(values)), (files, 2, None), (removed, 1, None)];
        Ok(calls
            .into_iter()
            .filter(|(arguments, least, _)| arguments.len() > *least)
            .map(|(arguments, _, stdin)| {
                let argv: Vec<_> =
                    [tool.to_string_lossy().into_owned()].into_iter().chain(arguments.iter().map(|&text| text.to_owned())).collect();
                let summary = format!("would run elasticsearch-keystore {}", arguments.join(" "));
                let environment = vec![("ES_PATH_CONF".to_owned(), folder.clone())];
                let program = Program { argv, environment, stdin, timeout: Some(120), accept: vec![0], ..Program::default() };
                Change::Run { program, effects: vec![Effect::Creates(keystore.to_owned()), Effect::NothingElse], summary }
            })
            .collect())
    }
}

/// Returns the text of an entry's value. One that is not known yet differs from every value there can be.
fn text_of(name: &str, value: Option<&Secret<Anything>>) -> Result<String, Failure> {
    match value.map(|value| &value.reveal().0) {
        Some(Value::List(_) | Value::Map(_)) => {
            Err(Failure::argument(format!("entries.{name}"), format!("the value of `{name}` is no text")))
        }
        Some(Value::Unknown(_)) => Ok("\0unknown\0".to_owned()),
        // As YAML has it, not as Python prints it.
        Some(Value::Bool(flag)) => Ok(flag.to_string()),
        Some(value) => Ok(value.to_string()),
        None => Ok(String::new()),
    }
}

/// Returns the plan for when a value is only known once an earlier task was really done.
fn unknown_plan(target: &Target, manner: &Manner, unknown: &Unknown, after: &Keystore, changed: &Differences) -> Plan {
    let write = target.write(Content::Unknown(unknown.why.clone()), manner);
    let values = told(after, Some(changed));
    let plan = Plan::one(changed.sentence(), write).values(values).value("sha256", Value::unknown(&unknown.why)).value("exists", true);
    plan.value("api_key_ids", Value::unknown(&unknown.why))
}

/// Sets an entry. One that has the value already keeps its kind, so that nothing is written for the kind alone.
fn set(keystore: &mut Keystore, name: &str, entry: Entry) {
    if keystore.entries.get(name).is_none_or(|old| old.value != entry.value) {
        keystore.entries.insert(name.to_owned(), entry);
    }
}

/// Names, by what happens to them.
#[derive(Debug, Default)]
struct Differences {
    added: Vec<String>,
    updated: Vec<String>,
    removed: Vec<String>,
    unchanged: Vec<String>,
}

impl Differences {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.updated.is_empty() && self.removed.is_empty()
    }

    fn sentence(&self) -> String {
        let parts = [("adds", &self.added), ("updates", &self.updated), ("removes", &self.removed)];
        let parts: Vec<_> =
            parts.iter().filter(|(_, names)| !names.is_empty()).map(|(verb, names)| format!("{verb} {}", names.join(", "))).collect();
        parts.join("; ")
    }
}

fn differences(before: &Keystore, after: &Keystore) -> Differences {
    let mut out = Differences::default();
    for (name, entry) in &after.entries {
        let list = match before.entries.get(name) {
            None => &mut out.added,
            Some(old) if old.value != entry.value => &mut out.updated,
            Some(_) => &mut out.unchanged,
        };
        list.push(name.clone());
    }
    out.removed = before.entries.keys().filter(|name| !after.entries.contains_key(*name)).cloned().collect();
    out
}

/// Returns what `register` gets: names, never values.
fn told(keystore: &Keystore, changed: Option<&Differences>) -> Vec<(&'static str, Value)> {
    let nothing = Differences::default();
    let changed = changed.unwrap_or(&nothing);
    let touched = changed.added.iter().chain(&changed.updated).chain(&changed.removed).filter(|name| *name != SEED).cloned();
    let (reload, restart): (Vec<_>, Vec<_>) = touched.partition(|name| is_reloadable(name));
    let ids = keystore.entries.iter().filter_map(|(name, entry)| Some((name.as_str(), Value::from(api_key_id(name, &entry.value)?))));
    vec![
        ("format", keystore.version.into()),
        ("names", keystore.entries.keys().cloned().collect::<Vec<_>>().into()),
        ("added", changed.added.clone().into()),
        ("updated", changed.updated.clone().into()),
        ("removed", changed.removed.clone().into()),
        ("unchanged", changed.unchanged.clone().into()),
        ("reload_names", reload.into()),
        ("restart_names", restart.into()),
        ("api_key_ids", Value::map(ids)),
    ]
}

/// Returns the id of the API key in the credential of a remote cluster. The id is no secret, what follows it is.
fn api_key_id(name: &str, value: &[u8]) -> Option<String> {
    name.strip_prefix("cluster.remote.")?.strip_suffix(".credentials")?;
    let plain = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    let (id, key) = plain.split_once(':')?;
    (!id.is_empty() && !key.is_empty()).then(|| id.to_owned())
}

/// Whether a running node takes the setting over when it reloads its secure settings.
fn is_reloadable(name: &str) -> bool {
    let realm = ["jwt", "active_directory", "ldap"].iter().any(|kind| name.starts_with(&format!("xpack.security.authc.realms.{kind}.")));
    let remote = name.starts_with("cluster.remote.") && name.ends_with(".credentials");
    let plugin = ["azure.client.", "discovery.ec2.", "gcs.client.", "s3.client.", "xpack.monitoring.exporters.", "xpack.notification."];
    !name.contains(".ssl.") && (remote || realm || plugin.iter().any(|prefix| name.starts_with(prefix)))
}

/// Returns the version of Elasticsearch that belongs to the keystore: from its jar beside the configuration or in the usual place, or from the package.
fn installed(host: &dyn Probe, keystore: &Path) -> Result<Option<String>, Failure> {
    for home in homes(host, keystore) {
        for name in host.list(&home.join("lib"))?.unwrap_or_default() {
            let version = name.strip_prefix("elasticsearch-").and_then(|rest| rest.strip_suffix(".jar"));
            if let Some(version) = version.filter(|version| version.starts_with(|c: char| c.is_ascii_digit())) {
                return Ok(Some(version.to_owned()));
            }
        }
    }
    host.package("elasticsearch")
}

/// Returns where Elasticsearch may be: the folder beside an unpacked configuration first.
fn homes(host: &dyn Probe, keystore: &Path) -> Vec<PathBuf> {
    let beside = keystore.parent().and_then(Path::parent).filter(|folder| *folder != Path::new("/etc")).map(Path::to_owned);
    let said = host.environment("ES_HOME").map(PathBuf::from);
    beside.into_iter().chain(said).chain([PathBuf::from("/usr/share/elasticsearch")]).collect()
}

fn tool(host: &dyn Probe, keystore: &Path) -> Result<Option<PathBuf>, Failure> {
    for home in homes(host, keystore) {
        let tool = home.join("bin/elasticsearch-keystore");
        if host.stat(&tool, true)?.is_some() {
            return Ok(Some(tool));
        }
    }
    host.find_program("elasticsearch-keystore")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_takes_credentials_over_without_a_restart_but_not_tls_passwords() {
        assert!(is_reloadable("cluster.remote.dr-site.credentials"));
        assert!(is_reloadable("xpack.security.authc.realms.ldap.one.secure_bind_password"));
        assert!(!is_reloadable("xpack.security.remote_cluster_server.ssl.keystore.secure_password"));
        assert!(!is_reloadable("xpack.security.authc.realms.ldap.one.ssl.keystore.secure_password"));
        assert!(!is_reloadable("bootstrap.password"));
    }

    #[test]
    fn the_id_of_a_key_is_told_and_its_secret_is_not() {
        let value = STANDARD.encode("id1:s3cret");
        assert_eq!(api_key_id("cluster.remote.dr.credentials", value.as_bytes()).as_deref(), Some("id1"));
        assert_eq!(api_key_id("other.setting", value.as_bytes()), None);
        assert_eq!(api_key_id("cluster.remote.dr.credentials", b"rubbish"), None);
    }

    #[test]
    fn only_values_count_as_a_difference() {
        let mut keystore = Keystore { version: 4, entries: [("a".to_owned(), Entry::file(b"1".to_vec()))].into() };
        set(&mut keystore, "a", Entry::text("1"));
        assert_eq!(keystore.entries["a"], Entry::file(b"1".to_vec()));
        set(&mut keystore, "a", Entry::text("2"));
        assert_eq!(keystore.entries["a"], Entry::text("2"));
    }
}
