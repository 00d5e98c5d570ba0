//! `mount_facts`: the file systems of a host, mounted or in its files.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::{Failure, Plan, Probe, Then};
use crate::value::{Key, Map, Value};

/// Makes facts of the file systems that are mounted, and of those in `/etc/fstab`: `mount_points` has each by its place, the first source
/// that names it counting.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountFacts {
    /// Where to look: `all`, `static` (`/etc/fstab`), `dynamic` (what is mounted), or files.
    #[serde(default)]
    sources: Vec<String>,
    /// Shell patterns of devices; none: all.
    devices: Option<Vec<String>>,
    /// Shell patterns of kinds of file systems; none: all.
    fstypes: Option<Vec<String>>,
    /// Accepted for old playbooks: nothing that could hang is asked.
    #[serde(rename = "timeout")]
    _timeout: Option<f64>,
    /// Accepted for old playbooks.
    #[serde(rename = "on_timeout")]
    _on_timeout: Option<String>,
    /// Whether `aggregate_mounts` lists every mention too, a place that is named twice included.
    include_aggregate_mounts: Option<bool>,
    /// Accepted for old playbooks: what is mounted is read from the kernel.
    #[serde(rename = "mount_binary")]
    _mount_binary: Option<serde_json::Value>,
}

const STATIC: &[&str] = &["/etc/fstab"];
const DYNAMIC: &[&str] = &["/etc/mtab", "/proc/mounts"];
/// Kinds of file systems that are elsewhere: to ask how full they are would hang where the server is gone.
const REMOTE: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.sshfs", "9p"];

impl Module for MountFacts {
    const NAME: &'static str = "mount_facts";
    const PATHS: &'static [&'static str] = &[];
    const LOOKS: bool = true;
    const EXAMPLES: &'static [Example] = &[Example {
        title: "What /etc/fstab has",
        task: "{sources: [static]}",
        given: &[("/etc/fstab", "/dev/vda1 / ext4 defaults 0 1\n")],
        changes: false,
    }];

    fn facts(_: &Map) -> Option<String> {
        Some("mount_points".to_owned())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let devices = patterns("devices", self.devices.as_deref())?;
        let kinds = patterns("fstypes", self.fstypes.as_deref())?;
        let (mut points, mut all) = (Map::new(), Vec::new());
        let mut often = BTreeMap::<String, usize>::new();
        for source in self.files() {
            let Some(bytes) = host.read(Path::new(&source))? else { continue };
            for line in String::from_utf8_lossy(&bytes).lines() {
                let Some(entry) = entry(host, line, &source, &devices, &kinds) else { continue };
                let place = entry.get("mount").map(ToString::to_string).unwrap_or_default();
                *often.entry(place.clone()).or_default() += 1;
                all.push(Value::from(entry.clone()));
                points.entry(Key::from(place)).or_insert_with(|| entry.into());
            }
        }
        let mut plan = Plan::nothing(format!("{} places are known", points.len()));
        if self.include_aggregate_mounts.is_none() && often.values().any(|count| *count > 1) {
            plan.warnings.push("a place is named more than once; `include_aggregate_mounts: true` lists every mention".to_owned());
        }
        let mut facts = Map::from_iter([(Key::from("mount_points"), Value::from(points))]);
        let aggregate = if self.include_aggregate_mounts == Some(true) { all } else { Vec::new() };
        facts.insert("aggregate_mounts".into(), aggregate.into());
        plan.then.push(Then::Facts { facts: facts.clone(), cacheable: false });
        Ok(plan.value("ansible_facts", facts))
    }
}

impl MountFacts {
    /// Returns the files to read, each once.
    fn files(&self) -> Vec<String> {
        let asked = if self.sources.is_empty() { vec!["all".to_owned()] } else { self.sources.clone() };
        let mut files: Vec<String> = Vec::new();
        for source in asked {
            let named: Vec<&str> = match source.as_str() {
                "all" => DYNAMIC.iter().chain(STATIC).copied().collect(),
                "static" => STATIC.to_vec(),
                "dynamic" => DYNAMIC.to_vec(),
                other => vec![other],
            };
            for file in named {
                if !files.iter().any(|known| known == file) {
                    files.push(file.to_owned());
                }
            }
        }
        files
    }
}

fn patterns(argument: &str, texts: Option<&[String]>) -> Result<Option<Vec<globset::GlobMatcher>>, Failure> {
    let compiled = |text: &String| {
        let glob = globset::GlobBuilder::new(text).build();
        glob.map(|glob| glob.compile_matcher())
            .map_err(|error| Failure::argument(argument, format!("`{text}` is not a pattern: {}", error.kind())))
    };
    texts.map(|texts| texts.iter().map(compiled).collect()).transpose()
}

/// Returns what a line says, where it says something that is asked for.
fn entry(
    host: &dyn Probe,
    line: &str,
    source: &str,
    devices: &Option<Vec<globset::GlobMatcher>>,
    kinds: &Option<Vec<globset::GlobMatcher>>,
) -> Option<Map> {
    let words: Vec<String> = line.split('#').next().unwrap_or_default().split_whitespace().map(plain).collect();
    let [device, place, kind, options, rest @ ..] = words.as_slice() else { return None };
    let fits = |patterns: &Option<Vec<globset::GlobMatcher>>, text: &str| {
        patterns.as_ref().is_none_or(|all| all.iter().any(|one| one.is_match(text)))
    };
    if !fits(devices, device) || !fits(kinds, kind) {
        return None;
    }
    let number = |at: usize| rest.get(at).and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
    let context = [("source", Value::str(source)), ("source_data", Value::str(line))];
    let mut entry = Map::from_iter([
        (Key::from("mount"), Value::str(place)),
        ("device".into(), Value::str(device)),
        ("fstype".into(), Value::str(kind)),
        ("options".into(), Value::str(options)),
        ("dump".into(), number(0).into()),
        ("passno".into(), number(1).into()),
        ("ansible_context".into(), Value::map(context)),
    ]);
    if !REMOTE.contains(&kind.as_str())
        && let Some(full) = host.filesystem(Path::new(place))
    {
        for (name, number) in full.facts() {
            entry.insert(name.into(), number.into());
        }
    }
    Some(entry)
}

/// Returns a field without the escapes of the file.
fn plain(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    #[test]
    fn patterns_choose_and_the_first_source_counts() {
        let host = FakeHost::with(&[
            ("/etc/fstab", "# x\n/dev/a / ext4 ro 0 1\ntmpfs /tmp tmpfs rw 0 0\n"),
            ("/etc/mtab", "/dev/a / ext4 rw 0 0\n"),
        ]);
        let map = [("fstypes".into(), Value::list([Value::str("ext*")]))].into_iter().collect();
        let plan = crate::value::arguments::from_map::<MountFacts>(&map).expect("fits").plan(&host).expect("plan");
        let points = plan.values.get("ansible_facts").and_then(|facts| facts.get("mount_points")).cloned().expect("facts");
        assert_eq!(points.get("/").and_then(|entry| entry.get("options")), Some(&Value::str("rw")));
        assert_eq!(points.as_map().map(Map::len), Some(1));
        assert_eq!(plan.warnings.len(), 1);
    }
}
