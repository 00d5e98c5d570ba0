//! `vars_prompt`: variables that the person at the terminal is asked for before the play begins.

use crate::load::playbook::Play;
use crate::run::Run;
use crate::run::play::Known;
use crate::source::{Diagnostic, Node};
use crate::value::{Map, Value, arguments};
use crate::vars::Variables;

/// What a prompt may say.
const KEYS: &[&str] = &["confirm", "default", "encrypt", "name", "private", "prompt", "salt", "salt_size", "unsafe"];

/// The variables that a hash is made with.
struct Hashing<'a>(&'a Map);

impl Variables for Hashing<'_> {
    fn get(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Run {
    /// Asks for the variables of a play's `vars_prompt`, except those that `-e` has.
    pub(super) fn prompted(&self, play: &Play) -> Result<Map, Diagnostic> {
        let mut prompted = Map::new();
        for prompt in play.vars_prompt.iter().filter(|prompt| !prompt.is_null()) {
            self.prompt(play, prompt, &mut prompted)?;
        }
        Ok(prompted)
    }

    fn prompt(&self, play: &Play, node: &Node, prompted: &mut Map) -> Result<(), Diagnostic> {
        if let Some((key, _)) =
            node.as_map().unwrap_or_default().iter().find(|(key, _)| !key.as_str().is_some_and(|key| KEYS.contains(&key)))
        {
            let key_text = key.as_str().unwrap_or_default();
            let unknown = match node.get("name") {
                None => "Invalid vars_prompt data structure, missing 'name' key".to_owned(),
                Some(_) => format!("Invalid vars_prompt data structure, found unsupported key '{key_text}'"),
            };
            return Err(Diagnostic::error(unknown).at(key.span).did_you_mean(key_text, KEYS.iter().copied()));
        }
        let text = |key: &str| node.get(key).filter(|node| !node.is_null()).map(|node| crate::load::nodes::to_value(node).to_string());
        let is_set = |key: &str, otherwise: bool| {
            node.get(key).and_then(|node| arguments::to_bool(&crate::load::nodes::to_value(node))).unwrap_or(otherwise)
        };
        let Some(name) = text("name").or_else(|| node.as_str().map(str::to_owned)) else {
            return Err(Diagnostic::error("Invalid vars_prompt data structure, missing 'name' key")
                .at(node.span)
                .hint("add `name: variable`"));
        };
        if self.settings.extra_vars.contains_key(name.as_str()) {
            return Ok(());
        }
        let default = text("default");
        let question = match node.get("prompt").filter(|node| !node.is_null()) {
            Some(prompt) => {
                let known = Known::of(play, &self.settings);
                self.engine_of_play(&play.folder).render(&crate::load::nodes::to_value(prompt), &known)?.to_string()
            }
            None => name.clone(),
        };
        let question = match &default {
            Some(default) => format!("{question} [{default}]: "),
            None => format!("{question}: "),
        };
        let is_private = is_set("private", true);
        let answer = self.answer(&question, is_private, is_set("confirm", false)).filter(|answer| !answer.is_empty()).or(default);
        let Some(answer) = answer else {
            return Err(Diagnostic::error(format!("nobody is there to answer the prompt for `{name}`"))
                .at(node.span)
                .hint(format!("give the value with `-e {name}=...`, or add a `default`")));
        };
        if is_private {
            self.redactor.learn(&answer);
        }
        let value = match text("encrypt") {
            None => Value::from(answer),
            Some(scheme) => {
                let scheme = scheme.strip_suffix("_crypt").unwrap_or(&scheme).to_owned();
                let salt = text("salt").map_or(Value::Null, Value::from);
                let hashing = Map::from_iter([
                    ("text".into(), Value::from(answer)),
                    ("scheme".into(), Value::from(scheme)),
                    ("salt".into(), salt.clone()),
                ]);
                let expression = if salt.is_null() { "text | password_hash(scheme)" } else { "text | password_hash(scheme, salt)" };
                self.engine_of_play(&play.folder).expression(expression, node.span, &Hashing(&hashing))?
            }
        };
        prompted.insert(name.into(), value);
        Ok(())
    }

    /// Asks, twice where the answer is to be confirmed, until both are the same.
    fn answer(&self, question: &str, is_private: bool, confirm: bool) -> Option<String> {
        loop {
            let answer = self.asker.ask(question, !is_private)?;
            if !confirm || self.asker.ask(&format!("confirm {question}"), !is_private)? == answer {
                return Some(answer);
            }
            self.warn("***** VALUES ENTERED DO NOT MATCH ****");
        }
    }
}
