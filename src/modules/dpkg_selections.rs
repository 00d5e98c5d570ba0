//! `dpkg_selections`: what dpkg shall do with a package.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Change, Effect, Failure, Plan, Probe, Program};

/// Sets what dpkg shall do with a package: `hold` keeps it as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DpkgSelections {
    /// The package.
    name: String,
    /// What to do with it.
    selection: Selection,
}

/// What to do with a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Selection {
    /// Upgrade it as usual.
    Install,
    /// Leave it as it is.
    Hold,
    /// Remove it at the next occasion.
    Deinstall,
    /// Remove it with its settings.
    Purge,
}

impl Module for DpkgSelections {
    const NAME: &'static str = "dpkg_selections";
    const CHANGES: &'static [Names] = &[Names::Program("dpkg")];
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Keep a package as it is", task: "{name: elasticsearch, selection: hold}", given: &[], changes: true }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let name = self.name.trim();
        if name.is_empty() || name.starts_with('-') || name.contains(char::is_whitespace) {
            return Err(Failure::argument("name", format!("`{name}` is not the name of a package")));
        }
        let ask = ["dpkg", "--get-selections", name];
        let output = host.query(&ask)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = text.lines().find_map(|line| line.split_whitespace().nth(1)).unwrap_or("not present");
        let word = match self.selection {
            Selection::Install => "install",
            Selection::Hold => "hold",
            Selection::Deinstall => "deinstall",
            Selection::Purge => "purge",
        };
        if found == word {
            return Ok(Plan::nothing("the package is selected so").value("before", found).value("after", word));
        }
        let line = format!("{name}\t{word}\n").into_bytes();
        let change = Change::Run {
            program: Program {
                argv: vec!["dpkg".into(), "--set-selections".into()],
                stdin: Some(line.clone()),
                accept: vec![0],
                ..Program::default()
            },
            effects: vec![Effect::QueryPrints { argv: ask.map(str::to_owned).to_vec(), stdout: line }],
            summary: format!("set the selection of {name} to {word}"),
        };
        Ok(Plan::one("the package is selected otherwise", change).value("before", found).value("after", word))
    }
}
