//! `locale_gen`: languages that programs of a host can speak.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::group::Presence;
use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::target::{Manner, Target};
use crate::change::{Change, Effect, Failure, Plan, Probe, Program};
use crate::value::Value;

/// Makes locales such as `en_US.UTF-8` on Debian and its relatives: their lines in `/etc/locale.gen`, and `locale-gen`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocaleGen {
    /// The locales.
    name: Vec<String>,
    /// Whether they shall be there.
    #[serde(default)]
    state: Presence,
}

impl Module for LocaleGen {
    const NAME: &'static str = "locale_gen";
    const COLLECTION: &'static str = "community.general";
    const CHANGES: &'static [Names] = &[Names::Always("/etc/locale.gen"), Names::Program("locale")];
    const EXAMPLES: &'static [Example] = &[Example { title: "Make a locale", task: "name: de_DE.UTF-8", given: &[], changes: true }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let list = ["locale", "-a"];
        let output = host.query(&list)?;
        let there = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_there = |name: &str| there.lines().any(|line| normal(line) == normal(name));
        let wrong: Vec<_> = self.name.iter().filter(|name| is_there(name) != (self.state == Presence::Present)).cloned().collect();
        let told = |plan: Plan| plan.value("name", Value::from(self.name.clone()));
        if wrong.is_empty() {
            return Ok(told(Plan::nothing("the locales are as asked")));
        }
        let path = Path::new("/etc/locale.gen");
        if host.stat(path, true)?.is_none() {
            return Err(Failure::failed("the host has no /etc/locale.gen, so its locales cannot be made")
                .hint("install the package `locales` first"));
        }
        let target = Target::find(host, path, "name")?;
        let text = String::from_utf8_lossy(target.content.as_deref().unwrap_or_default()).into_owned();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for name in &wrong {
            self.edit(&mut lines, name)?;
        }
        let new: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let mut changes = target.changes(Some(new.into_bytes()), &Manner::default());
        let after: String = match self.state {
            Presence::Present => {
                there.lines().map(str::to_owned).chain(wrong.iter().map(|name| normal(name))).collect::<Vec<_>>().join("\n")
            }
            Presence::Absent => {
                there.lines().filter(|line| !wrong.iter().any(|name| normal(name) == normal(line))).collect::<Vec<_>>().join("\n")
            }
        };
        let verb = if self.state == Presence::Present { "make" } else { "remove" };
        changes.push(Change::Run {
            program: Program { argv: vec!["locale-gen".to_owned()], accept: vec![0], ..Program::default() },
            effects: vec![Effect::QueryPrints { argv: list.map(str::to_owned).to_vec(), stdout: after.into_bytes() }],
            summary: format!("{verb} the locales {}", wrong.join(", ")),
        });
        Ok(told(Plan::all(format!("to {verb}: {}", wrong.join(", ")), changes)))
    }
}

impl LocaleGen {
    /// Sets or comments out the line of a locale.
    fn edit(&self, lines: &mut Vec<String>, name: &str) -> Result<(), Failure> {
        let is_of =
            |line: &str| line.trim_start_matches(['#', ' ']).split_whitespace().next().is_some_and(|word| normal(word) == normal(name));
        if self.state == Presence::Absent {
            for line in lines.iter_mut().filter(|line| !line.starts_with('#') && is_of(line)) {
                *line = format!("# {line}");
            }
            return Ok(());
        }
        if let Some(line) = lines.iter_mut().find(|line| is_of(line) && line.split_whitespace().count() >= 2) {
            *line = line.trim_start_matches(['#', ' ']).to_owned();
            return Ok(());
        }
        let Some((_, charset)) = name.split_once('.') else {
            return Err(Failure::argument("name", format!("the host does not know the locale `{name}`"))
                .hint("name it with its character set: `de_DE.UTF-8`"));
        };
        lines.push(format!("{name} {}", charset.split('@').next().unwrap_or(charset)));
        Ok(())
    }
}

/// Returns a locale as `locale -a` writes it: `en_US.utf8`.
fn normal(name: &str) -> String {
    match name.trim().split_once('.') {
        Some((language, charset)) => format!("{language}.{}", charset.to_lowercase().replace('-', "")),
        None => name.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    #[test]
    fn a_locale_that_is_there_is_found_in_any_spelling() {
        let host = FakeHost::with(&[("/etc/locale.gen", "# de_DE.UTF-8 UTF-8\n")]).prints(&["locale", "-a"], 0, "C\nen_US.utf8\n");
        let plan = |name: &str| LocaleGen { name: vec![name.to_owned()], state: Presence::Present }.plan(&host).expect("plan");
        assert!(plan("en_US.UTF-8").changes.is_empty());
        let [Change::Write { after: crate::change::Content::Bytes(bytes), .. }, Change::Run { .. }] = &plan("de_DE.UTF-8").changes[..]
        else {
            panic!("a line and a run");
        };
        assert_eq!(bytes, b"de_DE.UTF-8 UTF-8\n");
    }
}
