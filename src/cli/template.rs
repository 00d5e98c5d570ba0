//! `windlass template`: shows what a template or a condition gives.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde::Deserialize;

use crate::load::at_load::AtLoad;
use crate::load::config::Config;
use crate::load::inventory::{ALL, Inventory};
use crate::load::loader::Loader;
use crate::load::vault::Vault;
use crate::source::{Diagnostic, Sources, Span};
use crate::value::secret::Redactor;
use crate::value::{Map, Value, json};
use crate::vars::{Engine, Truth, Variables};

use super::early::early;
use super::vault::SecretArguments;
use super::{extra_vars, inventory};

/// Flags of `windlass template`.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// The template, such as `{{ name | upper }}`; without it, cases are read from standard input, one JSON dictionary a line,
    /// with `template`, `condition` or `file` (the text of a template file), and `vars`
    pub template: Option<String>,
    /// It is a condition, as in `when`
    #[arg(long)]
    pub condition: bool,
    /// Inventory file, folder, or list of hosts with a comma (`-i host,`); may be given several times
    #[arg(short, long, visible_alias = "inventory-file")]
    pub inventory: Vec<String>,
    /// With the variables of this host of the inventory
    #[arg(long)]
    pub host: Option<String>,
    /// Variables: `name=value`, YAML or JSON, or `@file`
    #[arg(short = 'e', long = "extra-vars")]
    pub extra_vars: Vec<String>,
    /// The vault's secrets
    #[command(flatten)]
    pub secrets: SecretArguments,
}

/// Does what the flags say and returns the exit code.
pub fn run(arguments: &Arguments) -> u8 {
    let sources = Sources::default();
    let shown = Desk::set(arguments, &sources).and_then(|desk| match &arguments.template {
        Some(template) => {
            let case = if arguments.condition { Case::condition(template) } else { Case::template(template) };
            let value = desk.answer(&case).map_err(|error| vec![error])?;
            super::say(&inventory::form(&desk.redactor.mask_value(&value), false));
            Ok(())
        }
        None => {
            desk.lines();
            Ok(())
        }
    });
    match shown {
        Ok(()) => super::OK,
        Err(errors) => {
            super::complain(&sources, &errors);
            super::ERROR
        }
    }
}

/// One thing to work out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    template: Option<serde_json::Value>,
    condition: Option<serde_json::Value>,
    file: Option<String>,
    vars: serde_json::Map<String, serde_json::Value>,
}

impl Case {
    fn template(text: &str) -> Self {
        Self { template: Some(text.into()), ..Self::default() }
    }

    fn condition(text: &str) -> Self {
        Self { condition: Some(text.into()), ..Self::default() }
    }
}

/// What cases are worked out with.
struct Desk {
    engine: Engine,
    redactor: Redactor,
    inventory: Arc<Inventory>,
    variables: Map,
}

impl Desk {
    fn set(arguments: &Arguments, sources: &Sources) -> Result<Self, Vec<Diagnostic>> {
        let config = Config::from_environment();
        let redactor = Redactor::default();
        let secrets = super::vault::load(&arguments.secrets.sources(&config)).map_err(|error| vec![error])?;
        let vault = Arc::new(Vault::new(secrets, redactor.clone()).matching_labels(config.is_on("DEFAULT_VAULT_ID_MATCH")));
        let loader = Loader::new(sources.clone(), vault.clone(), Vec::new(), early(sources, &vault, Arc::default()));
        let extra_vars = Arc::new(extra_vars::read(&loader, &arguments.extra_vars)?);
        let options = super::flags::inventory_options(&config, &extra_vars);
        let inputs = inventory::inputs(&arguments.inventory, &config);
        let inventory = Arc::new(Inventory::load_with(sources, &vault, &inputs, options)?);
        let mut variables = match &arguments.host {
            Some(host) if !inventory.has_host(host) => {
                let known = inventory.hosts();
                let diagnostic = Diagnostic::error(format!("there is no host `{host}` in the inventory"));
                return Err(vec![diagnostic.did_you_mean(host, known.iter().map(|name| &**name))]);
            }
            Some(host) => of_host(&inventory, host),
            None => Map::new(),
        };
        variables.extend(extra_vars.iter().map(|(name, value)| (name.clone(), value.clone())));
        let engine = Engine::new(Arc::new(AtLoad::of_person(vault, crate::run::world::piped, config)), sources.clone());
        Ok(Self { engine, redactor, inventory, variables })
    }

    fn answer(&self, case: &Case) -> Result<Value, Diagnostic> {
        let mut own = self.variables.clone();
        own.extend(case.vars.iter().map(|(name, value)| (name.into(), lazy(&json::from_json(value)))));
        let variables = Known { own, inventory: self.inventory.clone() };
        if let Some(text) = &case.file {
            return self.engine.render_file(Path::new("template"), text, &Map::new(), &variables);
        }
        if let Some(condition) = &case.condition {
            let truth = self.engine.condition(&lazy(&json::from_json(condition)), Span::default(), &variables)?;
            return Ok(match truth {
                Truth::Yes => Value::Bool(true),
                Truth::No => Value::Bool(false),
                Truth::Unknown(why) => Value::unknown(why),
            });
        }
        let template = case.template.as_ref().map_or(Value::Null, json::from_json);
        self.engine.render(&lazy(&template), &variables)
    }

    /// Answers each line of standard input with a line.
    fn lines(&self) {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            let answer = match serde_json::from_str(&line) {
                Ok(case) => self.answer(&case),
                Err(error) => Err(Diagnostic::error(format!("this line is no case: {error}"))),
            };
            let answer = match answer {
                Ok(value) => {
                    let value = self.redactor.mask_value(&value);
                    let mut python = String::new();
                    let _ = crate::value::write_python_repr(&mut python, &value);
                    serde_json::json!({"value": json::to_json(&value), "python": python})
                }
                Err(error) => serde_json::json!({"error": self.redactor.mask(&error.message)}),
            };
            super::say(&answer.to_string());
        }
    }
}

/// Returns the variables of a host, and what every host knows of the inventory.
fn of_host(inventory: &Inventory, host: &str) -> Map {
    let mut map = inventory.variables(host);
    let names = inventory.group_names_of(host);
    map.insert("group_names".into(), Value::list(names.iter().filter(|group| ***group != *ALL).map(Value::str)));
    map.insert("inventory_hostname".into(), Value::str(host));
    map.insert("inventory_hostname_short".into(), Value::str(host.split('.').next().unwrap_or(host)));
    map.insert("groups".into(), inventory.groups_value());
    map
}

/// Makes templates of texts: what a case says is the user's own.
fn lazy(value: &Value) -> Value {
    match value {
        Value::Str(text) => Value::text(text, Span::default()),
        Value::List(items) => Value::list(items.iter().map(lazy)),
        Value::Map(map) => Value::from(map.iter().map(|(key, item)| (key.clone(), lazy(item))).collect::<Map>()),
        other => other.clone(),
    }
}

struct Known {
    own: Map,
    inventory: Arc<Inventory>,
}

impl Variables for Known {
    fn get(&self, name: &str) -> Option<Value> {
        self.own.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.own.keys().map(ToString::to_string).collect()
    }

    fn host(&self, name: &str) -> Option<Arc<dyn Variables>> {
        self.inventory
            .has_host(name)
            .then(|| -> Arc<dyn Variables> { Arc::new(Self { own: of_host(&self.inventory, name), inventory: self.inventory.clone() }) })
    }

    fn host_names(&self) -> Vec<String> {
        self.inventory.hosts().iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn given(case: &Case) -> Result<Value, String> {
        let hosts = "[web]\nw1 port=80 url=\"http://{{ inventory_hostname }}:{{ port }}\"\nw2 port=81\n";
        let file = tempfile::NamedTempFile::new().expect("file");
        std::io::Write::write_all(&mut file.as_file(), hosts.as_bytes()).expect("writes");
        let path = file.path().display().to_string();
        let words = ["template", "-i", &path, "--host", "w1", "-e", "x=5"];
        let arguments = <Line as clap::Parser>::parse_from(words).arguments;
        let desk = Desk::set(&arguments, &Sources::default()).map_err(|errors| format!("{errors:?}"))?;
        desk.answer(case).map_err(|error| error.message)
    }

    #[test]
    fn a_template_sees_the_host_the_other_hosts_and_what_the_command_line_says() {
        let text = "{{ url }} {{ x }} {{ hostvars['w2'].port }} {{ group_names }}";
        assert_eq!(given(&Case::template(text)), Ok(Value::str("http://w1:80 5 81 ['web']")));
        assert_eq!(given(&Case::condition("port == 80")), Ok(Value::Bool(true)));
        assert_eq!(
            given(&Case::template("{{ lookup('pipe', 'echo out') }} {{ lookup('config', 'DEFAULT_TIMEOUT') }}")),
            Ok(Value::str("out 10"))
        );
        assert_eq!(given(&Case::template("{{ nope }}")), Err("'nope' is undefined".to_owned()));
    }

    #[test]
    fn a_line_holds_a_case_with_variables_of_its_own() {
        let case: Case = serde_json::from_str(r#"{"template": "{{ y }}", "vars": {"y": ["{{ x }}"]}}"#).expect("a case");
        assert_eq!(given(&case), Ok(Value::list([Value::str("5")])));
        let case: Case = serde_json::from_str(r#"{"file": "{% if x %}\nyes\n{% endif %}\n"}"#).expect("a case");
        assert_eq!(given(&case), Ok(Value::str("yes\n")));
    }
}
