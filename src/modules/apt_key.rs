//! `apt_key`: the keys by which apt trusts repositories, all of them at once.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use schemars::JsonSchema;
use serde::Deserialize;

use super::group::Presence;
use super::{Controller, Example, Module};
use crate::change::doubt::Names;
use crate::change::probe::FileKind;
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Before, Change, Failure, Plan, Probe, Request};
use crate::formats::openpgp::{self, PublicKey};
use crate::value::{Map, Value};

/// Adds and removes keys that apt trusts for every repository. Needs neither `apt-key` nor GnuPG on the host.
///
/// A key that counts for one repository only is safer: see `deb822_repository`, or `signed-by` with `apt_repository`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AptKey {
    /// The key's fingerprint, or its last 16 or 8 digits.
    id: Option<String>,
    /// The key itself, in armour.
    data: Option<String>,
    /// A file of the host with the key.
    file: Option<String>,
    /// An address that has the key.
    url: Option<String>,
    /// A server that is asked for the key by its `id`.
    keyserver: Option<String>,
    /// The file of keys, instead of a new one in `/etc/apt/trusted.gpg.d`.
    keyring: Option<String>,
    /// Whether the key shall be there.
    #[serde(default)]
    state: Presence,
    /// Whether the server's certificate is verified.
    #[serde(default = "super::command::yes")]
    validate_certs: bool,
    /// The key, base64.
    #[schemars(skip)]
    _file: Option<String>,
}

/// Where apt looks for keys that count everywhere.
const FOLDER: &str = "/etc/apt/trusted.gpg.d";

impl Module for AptKey {
    const NAME: &'static str = "apt_key";
    const PATHS: &'static [&'static str] = &["keyring", "file"];
    const CHANGES: &'static [Names] = &[Names::Path("keyring")];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "See that a key is not trusted any more",
        task: "{id: '0xD27D666CD88E42B4', state: absent}",
        given: &[("/etc/apt/trusted.gpg.d/", "")],
        changes: false,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        let Some(name) = arguments.get("file").and_then(Value::as_str).map(str::to_owned) else { return Ok(()) };
        if let Ok(path) = controller.find("files", &name)
            && !name.starts_with('/')
        {
            let text = base64::engine::general_purpose::STANDARD.encode(controller.read(&path)?);
            arguments.insert("_file".into(), text.into());
        }
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let rings = self.rings(host)?;
        if self.state == Presence::Absent {
            let Some(id) = &self.id else { return Err(Failure::argument("id", "`id` is needed to remove a key")) };
            return self.remove(host, &rings, id);
        }
        if let Some(id) = &self.id
            && rings.iter().any(|(_, keys)| keys.iter().any(|key| key.is(id)))
        {
            return Ok(Plan::nothing("the key is trusted").value("id", id.as_str()));
        }
        let bytes = self.bytes(host)?;
        let Some(keys) = openpgp::keys(&bytes) else {
            return Err(Failure::failed("what was found is not a public key").hint("keys are of OpenPGP, in armour or binary"));
        };
        if let Some(id) = &self.id
            && !keys.iter().any(|key| key.is(id))
        {
            let found: Vec<_> = keys.iter().map(|key| key.fingerprint.as_str()).collect();
            return Err(Failure::argument("id", format!("the key found is not `{id}`, but {}", found.join(", "))));
        }
        let missing: Vec<&PublicKey> = keys
            .iter()
            .filter(|key| !rings.iter().any(|(_, known)| known.iter().any(|known| known.fingerprint == key.fingerprint)))
            .collect();
        let id = self.id.clone().or_else(|| keys.first().map(|key| key.fingerprint.clone())).unwrap_or_default();
        let Some(first) = missing.first() else {
            return Ok(Plan::nothing("the key is trusted").value("id", id));
        };
        let change = self.add(host, &bytes, first, &missing)?;
        Ok(Plan::all("the key is not trusted yet", change).value("id", id).value("fp", first.fingerprint.as_str()))
    }
}

impl AptKey {
    /// Returns the files of keys, and what they hold.
    fn rings(&self, host: &dyn Probe) -> Result<Vec<(PathBuf, Vec<PublicKey>)>, Failure> {
        let files = match &self.keyring {
            Some(path) => vec![PathBuf::from(path)],
            None => {
                let names = host.list(Path::new(FOLDER))?.unwrap_or_default();
                let is_ring = |name: &&String| name.ends_with(".gpg") || name.ends_with(".asc");
                let inside = names.iter().filter(is_ring).map(|name| Path::new(FOLDER).join(name));
                [PathBuf::from("/etc/apt/trusted.gpg")].into_iter().chain(inside).collect()
            }
        };
        let mut rings = Vec::new();
        for file in files {
            if host.stat(&file, true)?.is_some_and(|stat| stat.kind == FileKind::File) {
                let bytes = host.read(&file)?.unwrap_or_default();
                rings.push((file, openpgp::keys(&bytes).unwrap_or_default()));
            }
        }
        Ok(rings)
    }

    /// Returns the key from where the task says that it is.
    fn bytes(&self, host: &dyn Probe) -> Result<Vec<u8>, Failure> {
        if let Some(data) = &self.data {
            return Ok(data.clone().into_bytes());
        }
        if let Some(file) = &self._file {
            return base64::engine::general_purpose::STANDARD.decode(file).map_err(|_| Failure::failed("the key did not arrive whole"));
        }
        if let Some(file) = &self.file {
            let missing = || Failure::Missing { path: file.into(), argument: "file".to_owned() };
            return host.read(Path::new(file))?.ok_or_else(missing);
        }
        let url = match (&self.url, &self.keyserver, &self.id) {
            (Some(url), ..) => url.clone(),
            (None, Some(server), Some(id)) => {
                let server = server.trim_end_matches('/');
                let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
                let base = if server.starts_with("http") {
                    server.to_owned()
                } else {
                    format!("https://{}", bare.trim_end_matches(":80").trim_end_matches(":443"))
                };
                format!("{base}/pks/lookup?op=get&options=mr&search=0x{}", id.trim_start_matches("0x"))
            }
            _ => return Err(Failure::argument("url", "one of `url`, `data`, `file` and `keyserver` with `id` is needed to add a key")),
        };
        let insecure = !self.validate_certs;
        let request =
            Request { method: "GET".to_owned(), url, insecure, follow_redirects: "safe".to_owned(), use_proxy: true, ..Request::default() };
        let response = host.http(&request)?;
        if response.status != 200 {
            return Err(Failure::failed(format!("`{}` answered {} {}", request.url, response.status, response.reason)));
        }
        Ok(response.body)
    }

    fn add(&self, host: &dyn Probe, bytes: &[u8], first: &PublicKey, missing: &[&PublicKey]) -> Result<Vec<Change>, Failure> {
        let is_text = openpgp::is_armoured(bytes);
        let ending = if is_text { "asc" } else { "gpg" };
        let path = match &self.keyring {
            Some(path) => PathBuf::from(path),
            None => Path::new(FOLDER).join(format!("{}.{ending}", first.fingerprint.get(24..).unwrap_or(&first.fingerprint))),
        };
        let target = Target::find(host, &path, "keyring")?;
        let binary: Vec<u8> = missing.iter().flat_map(|key| key.packets.clone()).collect();
        let content = match &target.content {
            // A file of keys in text takes another block, a binary one more packets.
            Some(old) if openpgp::is_armoured(old) && is_text => [old.as_slice(), b"\n", bytes].concat(),
            Some(old) if openpgp::is_armoured(old) => {
                return Err(Failure::argument("keyring", format!("`{}` is text, but the key is not", path.display())));
            }
            Some(old) => [old.clone(), binary].concat(),
            None if path.extension().is_some_and(|ending| ending == "asc") && is_text => bytes.to_vec(),
            None => binary,
        };
        let for_new = Attributes { mode: Some(0o644), ..Attributes::default() };
        Ok(target.changes(Some(content), &Manner { for_new, ..Manner::default() }))
    }

    fn remove(&self, host: &dyn Probe, rings: &[(PathBuf, Vec<PublicKey>)], id: &str) -> Result<Plan, Failure> {
        let mut changes = Vec::new();
        for (path, keys) in rings {
            if !keys.iter().any(|key| key.is(id)) {
                continue;
            }
            let kept: Vec<u8> = keys.iter().filter(|key| !key.is(id)).flat_map(|key| key.packets.clone()).collect();
            if kept.is_empty() {
                changes.push(Change::Remove { path: path.clone(), before: Before::Any });
                continue;
            }
            if path.extension().is_some_and(|ending| ending == "asc") {
                return Err(Failure::argument(
                    "id",
                    format!("`{}` holds other keys too, as text; edit it with another tool", path.display()),
                ));
            }
            changes.extend(Target::find(host, path, "keyring")?.changes(Some(kept), &Manner::default()));
        }
        let because = if changes.is_empty() { "the key is not trusted" } else { "the key is trusted" };
        Ok(Plan::all(because, changes).value("id", id))
    }
}
