//! `fetch`: bring a file of the host to the controller.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module};
use crate::change::doubt::Names;
use crate::change::probe::FileKind;
use crate::change::{Attributes, Before, Change, Content, Failure, Plan, Probe, digest};
use crate::value::arguments::to_bool;
use crate::value::{Map, Value};

/// Brings a file of the host to the controller.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "`prepare` reads some arguments, and some are accepted without effect")]
pub struct Fetch {
    /// The file of the host.
    src: String,
    /// Where it goes on the controller: below `dest/<host>/<path>`, or with `flat` to `dest` itself.
    dest: String,
    /// Whether `dest` is the file itself, or with a `/` at its end the folder of it.
    #[serde(default)]
    flat: bool,
    /// Whether a missing file is a failure.
    #[serde(default = "yes")]
    fail_on_missing: bool,
    /// Accepted so that tasks need no change; the content is always checked on its way.
    #[serde(default = "yes", alias = "validate_md5")]
    validate_checksum: bool,
    /// What `prepare` found: the file of the controller.
    #[schemars(skip)]
    _path: Option<String>,
    /// What `prepare` found: the SHA-256 of that file, where it exists.
    #[schemars(skip)]
    _sha256: Option<String>,
    /// What `prepare` found: folders of the controller that are missing.
    #[schemars(skip)]
    #[serde(default)]
    _folders: Vec<String>,
}

fn yes() -> bool {
    true
}

impl Module for Fetch {
    const NAME: &'static str = "fetch";
    const CHANGES: &'static [Names] = &[];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Bring a file, under a name of its own",
        task: "{src: /etc/motd, dest: fetched/motd, flat: true}",
        given: &[("/etc/motd", "hi\n")],
        changes: true,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        if !arguments.contains_key("src") || !arguments.contains_key("dest") {
            return Err(Failure::argument("src", "src and dest are required"));
        }
        if matches!(arguments.get("src"), Some(Value::List(_) | Value::Map(_))) {
            return Err(Failure::argument("src", "Invalid type supplied for source: it takes a text"));
        }
        let text = |name: &str| arguments.get(name).map(ToString::to_string).unwrap_or_default();
        let (src, mut dest) = (text("src"), text("dest"));
        let flat = arguments.get("flat").and_then(to_bool).unwrap_or(false);
        let host = controller.expression("inventory_hostname")?.to_string();
        if !flat {
            dest = format!("{}/{host}/{}", dest.trim_end_matches('/'), src.trim_start_matches('/'));
        } else if dest.ends_with('/') {
            dest.push_str(&Path::new(&src).file_name().unwrap_or_default().to_string_lossy());
        }
        let dest = dest.strip_prefix("~/").map_or(dest.clone(), |rest| format!("{}/{rest}", home(controller)));
        let base = controller.expression("playbook_dir").map(|base| base.to_string()).unwrap_or_default();
        // Parts that lead up would let a host's name decide where on the controller the file goes.
        let path = Path::new(&base).join(&dest);
        if host.contains('/') || host == ".." {
            return Err(Failure::failed(format!("`{host}` cannot be part of a path on the controller")).hint("use `flat: true`"));
        }
        match controller.stat(&path)? {
            Some(stat) if stat.kind == FileKind::Directory => {
                let which = if text("dest") == dest { "dest".to_owned() } else { format!("calculated dest '{}'", path.display()) };
                return Err(Failure::argument("dest", format!("{which} is an existing directory")).hint("end it with a `/`"));
            }
            Some(_) => {
                arguments.insert("_sha256".into(), controller.blob(&path)?.get("sha256").cloned().unwrap_or_default());
            }
            None => {
                let mut missing = Vec::new();
                for folder in path.ancestors().skip(1).take_while(|folder| !folder.as_os_str().is_empty()) {
                    if controller.stat(folder)?.is_some() {
                        break;
                    }
                    missing.push(Value::from(folder.display().to_string()));
                }
                missing.reverse();
                arguments.insert("_folders".into(), missing.into());
            }
        }
        arguments.insert("_path".into(), path.display().to_string().into());
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let src = Path::new(&self.src);
        let missing = match host.stat(src, true)? {
            None => Some(format!("the remote file does not exist: `{}`", self.src)),
            Some(stat) if stat.kind == FileKind::Directory => Some(format!("`{}` is a directory, and only files are fetched", self.src)),
            Some(_) => None,
        };
        if let Some(message) = missing {
            if self.fail_on_missing {
                return Err(Failure::argument("src", message));
            }
            let message = format!("{message}; ignored");
            return Ok(Plan::nothing(message.as_str()).value("msg", message).value("file", self.src.as_str()));
        }
        let bytes = host.read(src)?.unwrap_or_default();
        let path = self._path.clone().unwrap_or_else(|| self.dest.clone());
        let sha256 = digest::sha256(&bytes);
        let values = [
            ("checksum", Value::from(digest::of_bytes(&bytes, "sha1"))),
            ("remote_checksum", digest::of_bytes(&bytes, "sha1").into()),
            ("md5sum", digest::of_bytes(&bytes, "md5").into()),
            ("remote_md5sum", Value::Null),
            ("dest", path.as_str().into()),
            ("file", self.src.as_str().into()),
        ];
        if self._sha256.as_deref() == Some(sha256.as_str()) {
            return Ok(Plan::nothing("the controller has the same file").values(values));
        }
        let mut changes: Vec<_> =
            self._folders.iter().map(|folder| Change::Directory { path: folder.into(), attributes: Attributes::default() }).collect();
        changes.push(Change::Write {
            path: path.into(),
            before: self._sha256.clone().map_or(Before::Absent, |sha256| Before::File { sha256 }),
            after: Content::Bytes(bytes),
            attributes: Attributes::default(),
            backup: false,
            validate: None,
            secret: false,
            in_place: false,
        });
        Ok(Plan { on_controller: changes, ..Plan::nothing("the controller has another file, or none") }.values(values))
    }
}

/// Returns the home folder of the user on the controller.
fn home(controller: &dyn Controller) -> String {
    controller.expression("lookup('env', 'HOME')").map(|home| home.to_string()).unwrap_or_default()
}
