//! `package_facts`: the packages that are installed on a host.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::{Failure, Plan, Probe, Then};
use crate::value::{Key, Map, Value};

/// Makes a fact of the packages that are installed: `packages['openssl']` is a list with one entry for each version and
/// architecture, with `name`, `version`, `arch`, `source` and more.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageFacts {
    /// The managers to ask: `auto`, `apt`, `rpm`, `dnf`, `yum`, `zypper`.
    #[serde(default = "auto")]
    manager: Vec<String>,
    /// Whether only the first manager that answers counts, or all do.
    #[serde(default)]
    strategy: Strategy,
}

/// Which managers count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Strategy {
    /// The first that answers.
    #[default]
    First,
    /// Every one.
    All,
}

fn auto() -> Vec<String> {
    vec!["auto".to_owned()]
}

/// What dpkg tells of each package, a field a column.
const DPKG: &str = "${db:Status-Status}\\t${Package}\\t${Version}\\t${Architecture}\\t${Section}\\t${Origin}\\n";
/// What rpm tells of each package.
const RPM: &str = "%{NAME}\\t%{VERSION}\\t%{RELEASE}\\t%{EPOCH}\\t%{ARCH}\\n";

impl Module for PackageFacts {
    const NAME: &'static str = "package_facts";
    const LOOKS: bool = true;
    const EXAMPLES: &'static [Example] = &[Example { title: "Learn what is installed", task: "{}", given: &[], changes: false }];

    fn facts(_: &Map) -> Option<String> {
        Some("packages".to_owned())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let (mut packages, mut warnings, mut answered) = (Map::new(), Vec::new(), 0);
        for asked in &self.manager {
            let names: &[&str] = match asked.to_lowercase().as_str() {
                "auto" => &["apt", "rpm"],
                "apt" => &["apt"],
                "rpm" | "dnf" | "dnf5" | "yum" | "zypper" => &["rpm"],
                other => {
                    warnings.push(format!("the package manager `{other}` cannot be asked for what is installed"));
                    &[]
                }
            };
            for name in names {
                if answered > 0 && self.strategy == Strategy::First {
                    break;
                }
                let found = if *name == "apt" { dpkg(host)? } else { rpm(host)? };
                if found.is_empty() {
                    if asked != "auto" {
                        warnings.push(format!("the host has no packages of the manager `{asked}`"));
                    }
                    continue;
                }
                answered += 1;
                packages.extend(found);
            }
        }
        if answered == 0 {
            return Err(Failure::failed("the host has none of the package managers asked for").hint("dpkg and rpm are known"));
        }
        let because = format!("{} packages are installed", packages.len());
        let facts = Map::from_iter([(Key::from("packages"), Value::from(packages))]);
        let mut plan = Plan { warnings, ..Plan::nothing(because) }.value("ansible_facts", facts.clone());
        plan.then.push(Then::Facts { facts, cacheable: false });
        Ok(plan)
    }
}

fn add(packages: &mut Map, entry: &[(&str, Value)]) {
    let entry: Map = entry.iter().map(|(name, value)| (Key::from(*name), value.clone())).collect();
    let name = entry.get("name").map(ToString::to_string).unwrap_or_default();
    let mut all = packages.get(name.as_str()).and_then(Value::as_list).map(<[Value]>::to_vec).unwrap_or_default();
    all.push(entry.into());
    packages.insert(name.into(), Value::list(all));
}

fn dpkg(host: &dyn Probe) -> Result<Map, Failure> {
    let mut packages = Map::new();
    if host.find_program("dpkg-query")?.is_none() {
        return Ok(packages);
    }
    let output = host.query(&["dpkg-query", "--show", &format!("--showformat={DPKG}")])?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let fields: Vec<_> = line.split('\t').collect();
        let ["installed", name, version, arch, section, origin] = fields.as_slice() else { continue };
        let texts = [("name", name), ("version", version), ("arch", arch), ("category", section), ("origin", origin), ("source", &"apt")];
        add(&mut packages, &texts.map(|(name, text)| (name, Value::str(text))));
    }
    Ok(packages)
}

fn rpm(host: &dyn Probe) -> Result<Map, Failure> {
    let mut packages = Map::new();
    if host.find_program("rpm")?.is_none() {
        return Ok(packages);
    }
    let output = host.query(&["rpm", "-qa", "--qf", RPM])?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let fields: Vec<_> = line.split('\t').collect();
        let [name, version, release, epoch, arch] = fields.as_slice() else { continue };
        let epoch = epoch.parse::<i64>().map_or(Value::Null, Value::Int);
        let texts = [("name", name), ("version", version), ("release", release), ("arch", arch), ("source", &"rpm")];
        let entry: Vec<_> = texts.into_iter().map(|(name, text)| (name, Value::str(text))).chain([("epoch", epoch)]).collect();
        add(&mut packages, &entry);
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    #[test]
    fn only_what_is_installed_counts() {
        let listing = "installed\ta\t1.0\tamd64\tlibs\t\nconfig-files\tb\t2\tall\tx\t\ninstalled\ta\t1.0\ti386\tlibs\tDebian\n";
        let host = FakeHost::with(&[("/usr/bin/dpkg-query", "")]).prints(&["dpkg-query"], 0, listing);
        let plan = PackageFacts { manager: auto(), strategy: Strategy::First }.plan(&host).expect("plan");
        let packages = plan.values.get("ansible_facts").and_then(|facts| facts.get("packages")).cloned().expect("packages");
        assert_eq!(packages.get("a").and_then(Value::as_list).map(<[Value]>::len), Some(2));
        assert_eq!(packages.get("b"), None);
    }
}
