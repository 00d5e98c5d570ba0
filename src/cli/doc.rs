//! `windlass doc`: the manual of a module, from its own types, and what of the language is there.

use clap::Args;
use serde_json::Value as Json;

use crate::modules::{self, Entry};

/// Flags of `windlass doc`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The modules; without one, all modules are listed
    modules: Vec<String>,
    /// List the modules
    #[arg(short, long)]
    list: bool,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
    /// The kind of what is named; only modules have manuals
    #[arg(short = 't', long = "type", default_value = "module", value_parser = ["module"])]
    kind: String,
    /// Print the JSON schema of the arguments instead
    #[arg(long)]
    schema: bool,
    /// Print what of Ansible's language is supported, what differs on purpose, and what is not there
    #[arg(long)]
    language: bool,
}

/// Shows the manual.
pub fn run(arguments: &Arguments) -> u8 {
    if arguments.language {
        super::say(&super::language::shown(arguments.json));
        return super::OK;
    }
    if arguments.list || arguments.modules.is_empty() {
        let rows: Vec<_> = modules::ALL.iter().map(|entry| (entry.name, summary(entry))).collect();
        if arguments.json {
            let all: serde_json::Map<_, _> = rows.into_iter().map(|(name, text)| (name.to_owned(), Json::from(text))).collect();
            super::say(&serde_json::to_string_pretty(&all).unwrap_or_default());
        } else {
            rows.iter().for_each(|(name, text)| super::say(&format!("{name:<42} {text}")));
        }
        return super::OK;
    }
    let mut code = super::OK;
    let mut schemas = serde_json::Map::new();
    for name in &arguments.modules {
        let Some(entry) = modules::find(name) else {
            let missing = crate::load::check::unknown_module(name, crate::source::Span::default());
            super::complain(&super::sources(), &[crate::source::Diagnostic { span: None, ..missing }]);
            code = super::ERROR;
            continue;
        };
        let schema = Json::from((entry.schema)());
        if arguments.json {
            schemas.insert(entry.name.to_owned(), schema);
        } else if arguments.schema {
            super::say(&serde_json::to_string_pretty(&schema).unwrap_or_default());
        } else {
            super::say(&manual(entry, &schema));
        }
    }
    if arguments.json {
        super::say(&serde_json::to_string_pretty(&schemas).unwrap_or_default());
    }
    code
}

/// Returns the first sentence of a manual.
fn summary(entry: &Entry) -> String {
    let schema = Json::from((entry.schema)());
    description(&schema).split(". ").next().unwrap_or_default().trim_end_matches('.').replace('\n', " ")
}

fn description(schema: &Json) -> &str {
    schema.get("description").and_then(Json::as_str).unwrap_or_default()
}

/// Returns the manual of a module as text.
fn manual(entry: &Entry, schema: &Json) -> String {
    let mut lines = vec![entry.name.to_uppercase(), String::new(), description(schema).to_owned(), String::new(), "Arguments".to_owned()];
    let required: Vec<_> = schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    for (name, argument) in
        schema.get("properties").and_then(Json::as_object).into_iter().flatten().filter(|(name, _)| !name.starts_with('_'))
    {
        let must = if required.contains(&name.as_str()) { ", required" } else { "" };
        let default =
            argument.get("default").filter(|value| !value.is_null()).map(|value| format!(", default {value}")).unwrap_or_default();
        lines.push(format!("  {name}  ({}{must}{default})", kind(argument, schema)));
        lines.extend(description(argument).lines().map(|line| format!("      {line}")));
    }
    if !entry.examples.is_empty() {
        lines.push("\nExamples".to_owned());
    }
    for example in entry.examples {
        lines.push(format!("  - name: {}\n    {}:", example.title, entry.name));
        lines.extend(example.task.lines().map(|line| format!("      {line}")));
    }
    lines.join("\n")
}

/// Returns the type of an argument in a word.
fn kind(argument: &Json, schema: &Json) -> String {
    let resolved =
        argument.get("$ref").and_then(Json::as_str).and_then(|path| schema.pointer(path.trim_start_matches('#'))).unwrap_or(argument);
    let choices = |list: &Json| list.as_array().map(|items| items.iter().filter_map(Json::as_str).collect::<Vec<_>>().join("|"));
    if let Some(choices) = resolved.get("enum").and_then(choices) {
        return choices;
    }
    if let Some(options) = resolved.get("oneOf").or_else(|| resolved.get("anyOf")).and_then(Json::as_array) {
        let words: Vec<_> = options
            .iter()
            .map(|option| option.get("const").and_then(Json::as_str).map_or_else(|| kind(option, schema), str::to_owned))
            .filter(|word| word != "null")
            .collect();
        return words.join("|");
    }
    match resolved.get("type") {
        Some(Json::String(word)) => word.clone(),
        Some(Json::Array(words)) => words.iter().filter_map(Json::as_str).filter(|word| *word != "null").collect::<Vec<_>>().join("|"),
        _ => "any".to_owned(),
    }
}
