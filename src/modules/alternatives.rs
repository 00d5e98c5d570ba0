//! `alternatives`: which of several programs answers to a name.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Change, Effect, Failure, Plan, Probe, Program};

/// Chooses among alternatives with `update-alternatives`, as for `java` or `editor`, and makes them known to it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alternatives {
    /// The name, such as `java`.
    name: String,
    /// The program that answers to it.
    path: Option<String>,
    /// The link by which the name is found, where the alternative is not known yet.
    link: Option<String>,
    /// How strong it is where the choice is automatic.
    priority: Option<i64>,
    /// `selected`: it is chosen. `present`: it is known. `absent`: it is not. `auto`: the strongest is chosen.
    #[serde(default)]
    state: State,
    /// Links that go along.
    #[serde(default)]
    subcommands: Vec<Slave>,
    /// The family, on systems that have those.
    #[serde(rename = "family")]
    _family: Option<String>,
}

/// A link that goes along with another.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Slave {
    /// Its name.
    name: String,
    /// The program.
    path: String,
    /// The link.
    link: String,
}

/// What an alternative shall be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Known.
    Present,
    /// Known and chosen.
    #[default]
    Selected,
    /// Not known.
    Absent,
    /// The strongest one is chosen.
    Auto,
}

impl Module for Alternatives {
    const NAME: &'static str = "alternatives";
    const COLLECTION: &'static str = "community.general";
    const PATHS: &'static [&'static str] = &["path", "link"];
    const CHANGES: &'static [Names] = &[Names::Path("link"), Names::Program("update-alternatives")];
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Choose an editor", task: "{name: editor, path: /usr/bin/vim}", given: &[], changes: true }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let ask = ["update-alternatives", "--query", self.name.as_str()];
        let output = host.query(&ask)?;
        let known = Known::read(&String::from_utf8_lossy(&output.stdout));
        let mut changes = Vec::new();
        let change = |words: &[&str], summary: String| Change::Run {
            program: Program {
                argv: ["update-alternatives"].iter().chain(words).map(|word| (*word).to_owned()).collect(),
                accept: vec![0],
                ..Program::default()
            },
            effects: vec![Effect::QueryUnknown(ask.map(str::to_owned).to_vec())],
            summary,
        };
        if self.state == State::Auto {
            if known.status == "manual" {
                changes.push(change(&["--auto", &self.name], format!("let the strongest answer to {}", self.name)));
            }
            return Ok(told(changes));
        }
        let Some(path) = &self.path else { return Err(Failure::argument("path", "`path` is needed: the program")) };
        let entry = known.alternatives.iter().find(|(known, _)| known == path);
        if self.state == State::Absent {
            if entry.is_some() {
                changes.push(change(&["--remove", &self.name, path], format!("forget {path} as {}", self.name)));
            }
            return Ok(told(changes));
        }
        let other_priority = self.priority.is_some_and(|priority| entry.is_some_and(|(_, found)| *found != priority));
        if entry.is_none() || other_priority {
            if host.stat(path.as_ref(), true)?.is_none() {
                return Err(Failure::Missing { path: path.into(), argument: "path".to_owned() });
            }
            let link = self
                .link
                .clone()
                .or_else(|| known.link.clone())
                .ok_or_else(|| Failure::argument("link", format!("`link` is needed, as `{}` is not known yet", self.name)))?;
            let priority = self.priority.unwrap_or(50).to_string();
            let mut words = vec!["--install", &link, &self.name, path, &priority];
            for slave in &self.subcommands {
                words.extend(["--slave", &slave.link, &slave.name, &slave.path]);
            }
            changes.push(change(&words, format!("make {path} known as {}", self.name)));
        }
        if self.state == State::Selected && (known.value.as_deref() != Some(path) || known.status != "manual") {
            let is_chosen = known.value.as_deref() == Some(path) && changes.is_empty();
            if !is_chosen {
                changes.push(change(&["--set", &self.name, path], format!("let {path} answer to {}", self.name)));
            }
        }
        Ok(told(changes))
    }
}

fn told(changes: Vec<Change>) -> Plan {
    let because = if changes.is_empty() { "the alternatives are as asked" } else { "the alternatives differ" };
    Plan::all(because, changes)
}

/// What `update-alternatives --query` tells.
#[derive(Default)]
struct Known {
    link: Option<String>,
    status: String,
    value: Option<String>,
    alternatives: Vec<(String, i64)>,
}

impl Known {
    fn read(text: &str) -> Self {
        let mut known = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(": ") else { continue };
            let value = value.trim().to_owned();
            match key {
                "Link" => known.link = Some(value),
                "Status" => known.status = value,
                "Value" => known.value = Some(value).filter(|value| value != "none"),
                "Alternative" => known.alternatives.push((value, 0)),
                "Priority" => {
                    if let Some(last) = known.alternatives.last_mut() {
                        last.1 = value.parse().unwrap_or_default();
                    }
                }
                _ => {}
            }
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    const TOLD: &str = "Name: editor\nLink: /usr/bin/editor\nStatus: auto\nBest: /bin/nano\nValue: /bin/nano\n\nAlternative: /bin/nano\nPriority: 40\n\nAlternative: /usr/bin/vim\nPriority: 30\n";

    fn summaries(arguments: &[(&str, &str)]) -> Vec<String> {
        let host = FakeHost::with(&[("/usr/bin/vim", ""), ("/usr/bin/ed", "")]).prints(&["update-alternatives"], 0, TOLD);
        let map = arguments.iter().chain(&[("name", "editor")]).map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let plan = crate::value::arguments::from_map::<Alternatives>(&map).expect("fits").plan(&host).expect("plan");
        plan.changes.iter().map(crate::change::diff::summary).collect()
    }

    #[test]
    fn only_what_is_not_chosen_yet_is_chosen() {
        assert_eq!(summaries(&[("path", "/bin/nano")]), Vec::<String>::new());
        assert_eq!(summaries(&[("path", "/usr/bin/vim")]), ["let /usr/bin/vim answer to editor"]);
        assert_eq!(summaries(&[("path", "/usr/bin/ed")]).len(), 2);
        assert_eq!(summaries(&[("path", "/usr/bin/vim"), ("state", "absent")]), ["forget /usr/bin/vim as editor"]);
        assert_eq!(summaries(&[("state", "auto")]), Vec::<String>::new());
    }
}
