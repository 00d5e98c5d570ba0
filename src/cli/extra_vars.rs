//! `-e`: `name=value` words, YAML or JSON, or `@file` of either.

use std::path::Path;

use crate::load::free_form;
use crate::load::loader::{Errors, Loader};
use crate::load::nodes::to_value;
use crate::source::{Diagnostic, Severity, Span, yaml};
use crate::value::{Map, Value};

/// Returns the variables of all `-e`, later ones winning.
///
/// # Errors
/// Everything wrong in them.
pub fn read(loader: &Loader, arguments: &[String]) -> Result<Map, Errors> {
    let mut all = Map::new();
    for argument in arguments {
        all.extend(one(loader, argument)?);
    }
    Ok(all)
}

fn one(loader: &Loader, argument: &str) -> Result<Map, Errors> {
    if let Some(path) = argument.strip_prefix('@') {
        return loader.vars_file(Path::new(path), None);
    }
    let trimmed = argument.trim_start();
    if !trimmed.starts_with(['{', '[']) {
        return free_form::key_values(argument, Span::default(), None).map_err(|message| {
            vec![
                Diagnostic::error(format!("-e `{argument}`: {message}"))
                    .hint("write `-e name=value`, `-e '{\"name\": 1}'` or `-e @file.yml`"),
            ]
        });
    }
    let parsed = yaml::parse(&loader.sources, Path::new("<-e>"), argument.to_owned());
    let errors: Vec<_> = parsed.diagnostics.into_iter().filter(|diagnostic| diagnostic.severity == Severity::Error).collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    match parsed.documents.first().map(to_value) {
        Some(Value::Map(map)) => Ok(std::sync::Arc::unwrap_or_clone(map)),
        _ => Err(vec![Diagnostic::error(format!("-e `{argument}` is not a dictionary"))]),
    }
}
