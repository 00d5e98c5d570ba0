//! What a node reads from its folder: `elasticsearch.yml` and `elasticsearch.keystore`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value as Json};

use super::settings;
use super::tls::Files;
use crate::formats::keystore::{Keystore, version_for};

/// The settings of a node's file, flat, as texts and lists.
pub type Settings = BTreeMap<String, Json>;

/// Reads and checks `elasticsearch.yml`.
///
/// # Errors
/// In the words of the real thing's log.
pub fn settings(conf: &Path) -> Result<Settings, String> {
    let path = conf.join("elasticsearch.yml");
    let text = fs::read_to_string(&path).map_err(|error| format!("Failed to load settings from [elasticsearch.yml]: {error}"))?;
    let tree = document(&text).map_err(|why| format!("Failed to load settings from [elasticsearch.yml]: {why}"))?;
    let mut flat = Settings::new();
    let Some(map) = tree.as_object() else { return Ok(flat) };
    collect("", map, &mut flat)?;
    if let Some(name) = flat.keys().find(|name| !settings::is_known_to_a_node(name)) {
        if settings::is_known_secret(name) {
            return Err(format!(
                "Setting [{name}] is a secure setting and must be stored inside the Elasticsearch keystore, but was found inside elasticsearch.yml"
            ));
        }
        return Err(unknown("setting", name));
    }
    Ok(flat)
}

fn unknown(what: &str, name: &str) -> String {
    format!(
        "unknown {what} [{name}] please check that any required plugins are installed, or check the breaking changes documentation for removed settings"
    )
}

/// Dotted and nested names are the same setting, and may be given once only.
fn collect(prefix: &str, map: &Map<String, Json>, flat: &mut Settings) -> Result<(), String> {
    for (key, value) in map {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Json::Object(inner) => collect(&name, inner, flat)?,
            Json::Null => return Err(format!("null-valued setting found for key [{name}] found at line number [1], column number [1]")),
            value => {
                if let Some(before) = flat.insert(name.clone(), value.clone()) {
                    return Err(format!("Duplicate field '{name}': previous value [{before}], current value [{value}]"));
                }
            }
        }
    }
    Ok(())
}

/// Returns the first document of a YAML text; scalars are texts, but for nothing, which is `null`. Anchors and tags are refused.
fn document(text: &str) -> Result<Json, String> {
    let mut stack: Vec<(Json, Option<String>)> = Vec::new();
    let mut root = Json::Null;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        let place = || format!("line {}, column {}", span.start.line(), span.start.col() + 1);
        let done = match event {
            Event::MappingStart(..) => {
                stack.push((Json::Object(Map::new()), None));
                continue;
            }
            Event::SequenceStart(..) => {
                stack.push((Json::Array(Vec::new()), None));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => stack.pop().map(|(value, _)| value).unwrap_or_default(),
            Event::Scalar(value, ScalarStyle::Plain, ..) if value.is_empty() || value == "~" || value == "null" => Json::Null,
            Event::Scalar(value, ..) => Json::String(value.into_owned()),
            Event::Alias(_) => return Err(format!("aliases are not supported ({})", place())),
            _ => continue,
        };
        match stack.last_mut() {
            None => root = done,
            Some((Json::Array(items), _)) => items.push(done),
            Some((Json::Object(map), key)) => match key.take() {
                None => *key = Some(done.as_str().ok_or_else(|| format!("a key must be a text ({})", place()))?.to_owned()),
                Some(name) => {
                    if map.insert(name.clone(), done).is_some() {
                        return Err(format!("Duplicate field '{name}' ({})", place()));
                    }
                }
            },
            Some(_) => return Err("misplaced value".to_owned()),
        }
    }
    Ok(root)
}

/// The keystore as loaded.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// The entries that are texts.
    pub entries: BTreeMap<String, String>,
    /// SHA-256 of the file, hex.
    pub digest: String,
    /// When the file was changed, seconds since 1970.
    pub modified: u64,
}

/// Reads and checks `elasticsearch.keystore`. A node makes one with a seed where there is none.
///
/// # Errors
/// In the words of the real thing's log.
pub fn secrets(conf: &Path, password: &str, version: &str) -> Result<Secrets, String> {
    use sha2::Digest as _;
    let path = conf.join("elasticsearch.keystore");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => new_keystore(&path, password, version)?,
        Err(error) => return Err(format!("java.nio.file.AccessDeniedException: {}: {error}", path.display())),
    };
    let store = Keystore::read(&bytes, password).map_err(|error| format!("{error}"))?;
    let supported = if is_at_least(version, 9, 0) || is_at_least(version, 8, 18) {
        7
    } else if is_at_least(version, 8, 14) {
        6
    } else {
        5
    };
    if store.version > supported {
        return Err(format!(
            "The Elasticsearch keystore [{}] format is too new. Are you trying to downgrade? You should delete and recreate it in order to downgrade.",
            path.display()
        ));
    }
    if let Some(name) = store.entries.keys().find(|name| !settings::is_known_secret(name)) {
        return Err(unknown("secure setting", name));
    }
    let entries = store.entries.iter().map(|(name, entry)| (name.clone(), String::from_utf8_lossy(&entry.value).into_owned())).collect();
    let digest = sha2::Sha256::digest(&bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let modified =
        fs::metadata(&path).and_then(|data| data.modified()).ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(Secrets { entries, digest, modified: modified.map_or(0, |since| since.as_secs()) })
}

fn new_keystore(path: &Path, password: &str, version: &str) -> Result<Vec<u8>, String> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let (major, minor) = version_parts(version);
    let store = Keystore::new(version_for(major, minor).unwrap_or(5)).map_err(|error| error.to_string())?;
    let bytes = store.write(password).map_err(|error| error.to_string())?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o660).open(path).map_err(|error| error.to_string())?;
    file.write_all(&bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Returns major and minor of a version.
pub fn version_parts(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Whether a version is `major.minor` or later.
pub fn is_at_least(version: &str, major: u32, minor: u32) -> bool {
    version_parts(version) >= (major, minor)
}

/// Returns the text of a setting.
pub fn text<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    match settings.get(name)? {
        Json::String(text) => Some(text),
        Json::Array(items) => items.first().and_then(Json::as_str),
        _ => None,
    }
}

/// Returns a setting that is a switch.
///
/// # Errors
/// When it is neither `true` nor `false`.
pub fn switch(settings: &Settings, name: &str, default: bool) -> Result<bool, String> {
    match text(settings, name) {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(format!("Failed to parse value [{other}] as only [true] or [false] are allowed.")),
    }
}

/// Returns a setting that is a list; a text with commas is one too.
pub fn list(settings: &Settings, name: &str) -> Option<Vec<String>> {
    match settings.get(name)? {
        Json::Array(items) => Some(items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()),
        Json::String(text) => Some(text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()),
        _ => None,
    }
}

/// Returns the files of a TLS context. Paths are relative to the folder, and must be in it.
///
/// # Errors
/// When a path leads out of the folder, or a secret has no file it belongs to.
pub fn context(name: &str, conf: &Path, settings: &Settings, secrets: &Secrets) -> Result<Files, String> {
    let context = format!("xpack.security.{name}.ssl");
    let value = |key: &str| text(settings, &format!("{context}.{key}")).map(str::to_owned);
    let secret = |key: &str| secrets.entries.get(&format!("{context}.{key}")).cloned();
    let inside = |path: String| -> Result<PathBuf, String> {
        let full = conf.join(&path);
        let leads_out = full.components().any(|part| part == std::path::Component::ParentDir) || !full.starts_with(conf);
        if leads_out {
            return Err(format!(
                "failed to load SSL configuration [{context}] - cannot read configured file [{}] because access to read the file is blocked; \
                 SSL resources should be placed in the [{}] directory",
                full.display(),
                conf.display()
            ));
        }
        Ok(full)
    };
    let plain = |key: &str| value(key).unwrap_or_default();
    let store = |kind: &str| -> Result<Option<(PathBuf, String)>, String> {
        let Some(path) = value(&format!("{kind}.path")) else { return Ok(None) };
        let password = secret(&format!("{kind}.secure_password")).unwrap_or_else(|| plain(&format!("{kind}.password")));
        Ok(Some((inside(path)?, password)))
    };
    let (keystore, truststore) = (store("keystore")?, store("truststore")?);
    let pem = match (value("certificate"), value("key")) {
        (Some(certificate), Some(key)) => Some((inside(certificate)?, inside(key)?)),
        (None, None) => None,
        (Some(_), None) => return Err(format!("cannot specify certificates without a key in [{context}]; set [{context}.key]")),
        (None, Some(_)) => return Err(format!("key is set in [{context}] without [{context}.certificate]")),
    };
    let authorities = list(settings, &format!("{context}.certificate_authorities")).unwrap_or_default();
    let authorities = authorities.into_iter().map(inside).collect::<Result<Vec<_>, _>>()?;
    if keystore.is_some() && pem.is_some() {
        return Err(format!("cannot specify both [{context}.keystore.path] and [{context}.certificate]"));
    }
    Ok(Files { context, keystore, pem, authorities, truststore })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join("elasticsearch.yml"), text).expect("file");
        settings(folder.path())
    }

    #[test]
    fn dotted_and_nested_names_are_the_same_setting() {
        let nested = read("remote_cluster_server:\n  enabled: true\nnode: {name: a}\n").expect("nested");
        assert_eq!(nested, read("remote_cluster_server.enabled: true\nnode.name: a\n").expect("dotted"));
    }

    #[test]
    fn a_node_refuses_what_it_does_not_know() {
        let message = read("remote_cluster_server.enable: true\n").expect_err("unknown");
        assert!(message.starts_with("unknown setting [remote_cluster_server.enable] please check"), "{message}");
        let message = read("remote_cluster_server.enabled: true\nremote_cluster_server:\n  enabled: true\n").expect_err("twice");
        assert!(message.starts_with("Duplicate field 'remote_cluster_server.enabled'"), "{message}");
        assert!(read("a: [\n").is_err());
    }
}
