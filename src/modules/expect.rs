//! `expect`: run a program that asks, and answer it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::command::{Call, outcome, split};
use super::{Example, Module};
use crate::change::dialogue::{Answers, Dialogue};
use crate::change::{Change, Done, Failure, Plan, Probe};
use crate::value::arguments::Anything;
use crate::value::{Map, Value};

/// Runs a program on a terminal of its own, and answers what it asks. There is no shell: write `bash -c '...'` for one.
///
/// Where an answer is a secret, give the task `no_log: true`. What the program does cannot be foreseen: in a check the
/// task is "would run".
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The command line, split as a shell splits words.
    command: String,
    /// Questions and their answers: a regular expression, and a text, or a list of texts, each for one time.
    responses: Anything,
    /// The directory to run it in.
    chdir: Option<String>,
    /// A file or pattern: where it exists already, nothing is run.
    creates: Option<String>,
    /// A file or pattern: where it does not exist, nothing is run.
    removes: Option<String>,
    /// Seconds that each question is waited for; null: without end.
    #[serde(default = "half_a_minute")]
    timeout: Option<u64>,
    /// Whether the answers show in the output.
    #[serde(default)]
    echo: bool,
}

#[allow(clippy::unnecessary_wraps, reason = "serde wants the type of the field")]
fn half_a_minute() -> Option<u64> {
    Some(30)
}

impl Module for Expect {
    const NAME: &'static str = "expect";
    const RESTS: bool = false;
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Answer a program that asks for a port",
            task: "{command: \"sh -c 'printf Port? ; read port'\", responses: {Port: '8080'}}",
            given: &[],
            changes: true,
        },
        Example {
            title: "Set a keystore's password once",
            task: "{command: keytool -genkey -keystore /etc/app.jks, responses: {'password:': [secret, secret]}, creates: /etc/app.jks}",
            given: &[("/etc/app.jks", "")],
            changes: false,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.command.trim().is_empty() {
            return Err(Failure::failed("no command given").with("rc", 256));
        }
        let argv = split(&self.command).map_err(|failure| Failure::argument("command", failure.to_string()))?;
        let dialogue = Dialogue { answers: self.answers()?, echo: self.echo, patience: self.timeout };
        let call = Call {
            shown: Value::str(&self.command),
            line: self.command.clone(),
            argv,
            chdir: self.chdir.as_deref(),
            creates: self.creates.as_deref(),
            removes: self.removes.as_deref(),
            ..Call::default()
        };
        let mut plan = call.plan(host)?;
        for change in &mut plan.changes {
            if let Change::Run { program, .. } = change {
                program.dialogue = Some(dialogue.clone());
            }
        }
        Ok(plan)
    }

    fn result(&self, plan: &Plan, done: &[Done], _host: &dyn Probe) -> Result<Map, Failure> {
        outcome(plan, done, true)
    }
}

impl Expect {
    fn answers(&self) -> Result<Vec<(String, Answers)>, Failure> {
        let Some(map) = self.responses.0.as_map() else {
            let message = format!("`responses` is a dictionary of questions and answers, not {}", self.responses.0.type_name());
            return Err(Failure::argument("responses", message));
        };
        let answer = |value: &Value| match value {
            Value::List(each) => Answers::Each(each.iter().map(ToString::to_string).collect()),
            same => Answers::Same(same.to_string()),
        };
        Ok(map.iter().map(|(question, value)| (question.to_string(), answer(value))).collect())
    }
}
