//! `debug`: show a message or a value.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module, Runs};
use crate::change::{Failure, Plan, Probe};
use crate::value::arguments::Anything;
use crate::value::{Lazy, Map, Value};

/// Shows a message, or the value of an expression. Needs no host.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Debug {
    /// What to show.
    msg: Option<Anything>,
    /// An expression, usually a variable's name, whose value is shown under that name.
    var: Option<Anything>,
    /// Shown only with this many `-v`.
    #[serde(default)]
    #[schemars(with = "u8")]
    verbosity: u8,
    #[schemars(skip)]
    _name: Option<String>,
    #[schemars(skip)]
    _value: Option<Anything>,
    #[schemars(skip)]
    #[serde(default)]
    _quiet: bool,
    #[schemars(skip)]
    _warning: Option<String>,
}

impl Module for Debug {
    const NAME: &'static str = "debug";
    const RUNS: Runs = Runs::WithoutHost;
    const UNRENDERED: &'static [&'static str] = &["var"];
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Say something", task: "msg: the cluster is green", given: &[], changes: false }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        let wanted = arguments.get("verbosity").map_or(0, |value| value.to_string().trim().parse::<u8>().unwrap_or(0));
        if wanted > controller.verbosity() {
            arguments.insert("_quiet".into(), true.into());
            return Ok(());
        }
        let Some(var) = arguments.get("var").cloned() else { return Ok(()) };
        if arguments.contains_key("msg") {
            return Err(exclusive());
        }
        if matches!(&var, Value::Lazy(lazy) if matches!(**lazy, Lazy::Unsafe(_))) {
            return Err(untrusted(&var));
        }
        if !matches!(var, Value::Str(_) | Value::Lazy(_) | Value::Null) {
            return Err(Failure::argument("var", format!("`var`: '{var}' is not a string and conversion is not allowed")));
        }
        let (name, value) = match expression_of(&var) {
            Some(text) => match evaluate(&text, controller) {
                Ok(Value::Str(shown)) if is_literal(&text) => return Err(untrusted(&Value::Str(shown))),
                // The name of a variable that the user wrote somewhere: the variable is meant.
                Ok(Value::Str(name)) if matches!(var, Value::Lazy(_)) && names_variable(&name, controller) => {
                    (name.to_string(), controller.expression(&name)?)
                }
                Ok(Value::Str(_)) if controller.expression(&format!("({text}) is sameas(omit)"))? == Value::Bool(true) => {
                    arguments.insert("_warning".into(), format!("`{text}` could not be omitted: only an argument can be").into());
                    (text, Value::str("<<Omit>>"))
                }
                Ok(value) => (text, value),
                Err(Vague::Undefined(why)) => {
                    arguments.insert("_warning".into(), format!("`debug` shows what is undefined: {why}").into());
                    (text, Value::from(format!("<< error 1 - {why} >>")))
                }
                Err(Vague::Wrong(failure)) => return Err(failure),
            },
            None => (var.type_name().to_owned(), controller.render(&var)?),
        };
        arguments.insert("_name".into(), name.into());
        arguments.insert("_value".into(), value);
        Ok(())
    }

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        if self.msg.is_some() && self.var.is_some() {
            return Err(exclusive());
        }
        if self._quiet {
            return Ok(Plan::nothing(format!("shown only with `-{}`", "v".repeat(self.verbosity.into()))).value("skipped", true));
        }
        let mut plan = Plan::nothing("only shows something");
        plan.warnings.extend(self._warning.clone());
        Ok(match (&self.msg, &self._name, &self._value) {
            (Some(msg), ..) => plan.value("msg", msg.0.clone()),
            (None, Some(name), Some(value)) => plan.value(name, value.0.clone()),
            _ => plan.value("msg", "Hello world!"),
        })
    }
}

/// Returns the expression that `var` means: its text, or what is between the braces where it is one template alone.
fn expression_of(var: &Value) -> Option<String> {
    match var {
        Value::Str(text) => Some(text.trim().to_owned()),
        Value::Lazy(lazy) => match &**lazy {
            Lazy::Template(text) => within_braces(&text.text),
            Lazy::Vault(_) | Lazy::Unsafe(_) => None,
        },
        _ => None,
    }
}

fn within_braces(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{")).then(|| inner.trim().to_owned())
}

fn exclusive() -> Failure {
    Failure::argument("var", "parameters are mutually exclusive: msg|var")
}

fn untrusted(var: &Value) -> Failure {
    Failure::argument("var", format!("`var`: `{var}` is an untrusted template or expression, and not the name of a variable"))
}

/// Whether an expression is nothing but a text in quotes.
fn is_literal(text: &str) -> bool {
    let inner =
        |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).is_some_and(|inner| !inner.contains(quote));
    inner('"') || inner('\'')
}

/// Whether a text of the user's own files is the name of a variable that there is.
fn names_variable(text: &str, controller: &dyn Controller) -> bool {
    let is_name = text.chars().all(|c| c.is_alphanumeric() || c == '_') && text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    is_name && controller.is_own(text) && matches!(controller.expression(&format!("{text} is defined")), Ok(Value::Bool(true)))
}

/// Why an expression has no value.
enum Vague {
    /// It is undefined, or made of something that is, which is no failure here.
    Undefined(String),
    Wrong(Failure),
}

fn evaluate(text: &str, controller: &dyn Controller) -> Result<Value, Vague> {
    controller.expression(text).map_err(|failure| match controller.expression(&format!("({text}) is defined")) {
        Ok(Value::Bool(false)) => Vague::Undefined(failure.to_string()),
        _ if failure.to_string().ends_with(" is undefined") => Vague::Undefined(failure.to_string()),
        _ => Vague::Wrong(failure),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_around_a_variable_are_not_needed_but_harmless() {
        assert_eq!(within_braces("{{ foo.bar }}").as_deref(), Some("foo.bar"));
        assert_eq!(within_braces("{{ a }}-{{ b }}"), None);
        assert_eq!(expression_of(&Value::str(" foo ")).as_deref(), Some("foo"));
        assert_eq!(expression_of(&Value::list([])), None);
    }
}
