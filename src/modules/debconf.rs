//! `debconf`: answers to the questions that Debian packages ask when they are installed.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module, keep_secret};
use crate::change::doubt::Names;
use crate::change::{Change, Effect, Failure, Plan, Probe, Program};
use crate::value::{Map, Value};

/// Sets the answer to a question of a Debian package, before or after it is installed. Without `question` it returns the answers
/// that are known. A secret answer (`vtype: password`) shows nowhere, not in a process list either.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Debconf {
    /// The package.
    #[serde(alias = "pkg")]
    name: String,
    /// The question, such as `tzdata/Areas`.
    #[serde(alias = "selection", alias = "setting")]
    question: Option<String>,
    /// What kind of answer it wants.
    vtype: Option<Kind>,
    /// The answer; a list for `multiselect`.
    #[serde(alias = "answer")]
    value: Option<serde_json::Value>,
    /// Whether the question counts as not asked yet, so that it will be.
    #[serde(default)]
    unseen: bool,
}

/// What kind of answer a question wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A message that is shown as an error.
    Error,
    /// Some of several.
    Multiselect,
    /// A message.
    Note,
    /// A secret.
    Password,
    /// Whether it counts as asked.
    Seen,
    /// One of several.
    Select,
    /// A text.
    String,
    /// A message.
    Text,
    /// A heading.
    Title,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Error => "error",
            Self::Multiselect => "multiselect",
            Self::Note => "note",
            Self::Password => "password",
            Self::Seen => "seen",
            Self::Select => "select",
            Self::String => "string",
            Self::Text => "text",
            Self::Title => "title",
        }
    }
}

/// Where debconf keeps its answers, the secret ones in the second.
const DATABASES: [&str; 2] = ["/var/cache/debconf/config.dat", "/var/cache/debconf/passwords.dat"];
/// What stands for a secret answer.
const HIDDEN: &str = "********";

impl Module for Debconf {
    const NAME: &'static str = "debconf";
    const CHANGES: &'static [Names] = &[Names::Program("debconf-show")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Answer a question before the package is installed",
            task: "{name: tzdata, question: tzdata/Areas, vtype: select, value: Europe}",
            given: &[],
            changes: true,
        },
        Example {
            title: "An answer that is there",
            task: "{name: tzdata, question: tzdata/Areas, vtype: select, value: Etc}",
            given: &[("/var/cache/debconf/config.dat", "Name: tzdata/Areas\nTemplate: tzdata/Areas\nValue: Etc\nOwners: tzdata\n")],
            changes: false,
        },
    ];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        if arguments.get("vtype").and_then(Value::as_str) == Some("password") {
            keep_secret(arguments, controller, &["value", "answer"]);
        }
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let mut answers = Map::new();
        let mut secrets = Map::new();
        for (path, found) in DATABASES.iter().zip([&mut answers, &mut secrets]) {
            let text = host.read(Path::new(path))?.unwrap_or_default();
            answers_of(&String::from_utf8_lossy(&text), &self.name, found);
        }
        let shown = |question: Option<(&str, &str)>| {
            let hidden = secrets.keys().map(|key| (key.clone(), Value::str(HIDDEN)));
            let mut all: Map = answers.clone().into_iter().chain(hidden).collect();
            if let Some((question, value)) = question {
                all.insert(question.into(), value.into());
            }
            all
        };
        let Some(question) = &self.question else {
            return Ok(Plan::nothing("the answers were read").value("current", shown(None)));
        };
        let (Some(kind), Some(value)) = (self.vtype, &self.value) else {
            let missing = if self.vtype.is_none() { "vtype" } else { "value" };
            return Err(Failure::argument(missing, format!("`{missing}` is needed to answer a question")));
        };
        for (argument, word) in [("name", &self.name), ("question", question)] {
            if word.is_empty() || word.contains(char::is_whitespace) {
                return Err(Failure::argument(argument, format!("`{word}` cannot be a {argument} of debconf")));
            }
        }
        let value = text_of(kind, value)?;
        let found = answers.get(question.as_str()).or_else(|| secrets.get(question.as_str())).and_then(Value::as_str);
        if found == Some(&value) {
            return Ok(Plan::nothing("the answer is as asked").value("current", shown(None)));
        }
        let mut argv = vec!["debconf-set-selections".to_owned()];
        argv.extend(self.unseen.then(|| "-u".to_owned()));
        let line = format!("{} {question} {} {}\n", self.name, kind.word(), value.replace('\n', "\\n"));
        let is_secret = kind == Kind::Password;
        let change = Change::Run {
            program: Program { argv, stdin: Some(line.into_bytes()), accept: vec![0], ..Program::default() },
            effects: DATABASES.iter().map(|path| Effect::Creates(path.into())).collect(),
            summary: format!("answer `{question}` of {} with {}", self.name, if is_secret { HIDDEN } else { &value }),
        };
        let told = if is_secret { HIDDEN } else { &value };
        Ok(Plan::one("the answer differs", change).value("current", shown(Some((question, told)))).value("previous", shown(None)))
    }
}

/// Returns an answer as debconf keeps it.
fn text_of(kind: Kind, value: &serde_json::Value) -> Result<String, Failure> {
    let wrong = |message: &str| Err(Failure::argument("value", format!("Invalid value provided: {message}")));
    Ok(match (kind, value) {
        (Kind::Boolean, serde_json::Value::Bool(value)) => value.to_string(),
        (Kind::Boolean, serde_json::Value::String(text)) => text.to_lowercase(),
        (Kind::Multiselect, serde_json::Value::Array(items)) => {
            let mut names: Vec<_> = items.iter().filter_map(serde_json::Value::as_str).collect();
            if names.len() != items.len() {
                return wrong("every choice has to be a text");
            }
            names.sort_unstable();
            names.join(", ")
        }
        (_, serde_json::Value::String(text)) => text.clone(),
        (_, serde_json::Value::Number(number)) => number.to_string(),
        (_, serde_json::Value::Bool(value)) => value.to_string(),
        (_, serde_json::Value::Null) => String::new(),
        _ => return wrong("a list goes with `vtype: multiselect` only"),
    })
}

/// Takes the answers to the questions of a package from the text of a database.
fn answers_of(text: &str, package: &str, found: &mut Map) {
    for stanza in text.split("\n\n") {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let owners = field("Owners").unwrap_or_default();
        if let Some(name) = field("Name")
            && owners.split(',').any(|owner| owner.trim() == package)
        {
            found.insert(name.into(), field("Value").unwrap_or_default().replace("\\n", "\n").into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_by_their_owner() {
        let text = "Name: a/x\nValue: 1\nOwners: a, b\n\nName: c/y\nTemplate: c/y\nValue: 2\nOwners: c\n";
        let mut found = Map::new();
        answers_of(text, "b", &mut found);
        assert_eq!(Value::from(found).to_string(), "{'a/x': '1'}");
    }

    #[test]
    fn choices_are_sorted_and_have_to_be_texts() {
        assert_eq!(text_of(Kind::Multiselect, &serde_json::json!(["b", "a"])), Ok("a, b".to_owned()));
        assert!(text_of(Kind::Multiselect, &serde_json::json!(["b", 1])).is_err());
        assert_eq!(text_of(Kind::Boolean, &serde_json::json!("FALSE")), Ok("false".to_owned()));
    }
}
