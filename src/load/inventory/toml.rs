//! Inventories in TOML: the same tree as YAML's, from another text.

use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use crate::source::{Diagnostic, FileId, Kind, Node, Span};

use super::Inventory;
use super::read::place;

/// Reads a TOML inventory and returns what is wrong.
pub(super) fn read(inventory: &mut Inventory, path: &Path, text: String) -> Vec<Diagnostic> {
    let file = inventory.sources.add(path, text);
    let Some(source) = inventory.sources.get(file) else { return Vec::new() };
    match DeTable::parse(&source.text) {
        Ok(table) => {
            let span = at(file, table.span());
            let node = Node { span, kind: map(file, table.get_ref()) };
            super::yaml::groups(inventory, path, &node)
        }
        Err(error) => {
            let span = error.span().map(|range| at(file, range));
            let diagnostic = Diagnostic::error(format!("this is not TOML: {}", error.message()));
            vec![span.map_or(diagnostic.clone(), |span| diagnostic.at(span))]
        }
    }
}

fn at(file: FileId, range: std::ops::Range<usize>) -> Span {
    place(file, range.start, range.len())
}

fn map(file: FileId, table: &DeTable<'_>) -> Kind {
    let entries = table.iter().map(|(key, value)| {
        let name = Node { span: at(file, key.span()), kind: Kind::Str(Arc::from(key.get_ref().as_ref())) };
        (name, node(file, value))
    });
    Kind::Map(Arc::new(entries.collect()))
}

fn node(file: FileId, value: &toml::Spanned<DeValue<'_>>) -> Node {
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Str(Arc::from(text.as_ref())),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Kind::Int(number),
            Err(_) => Kind::Str(Arc::from(number.as_str())),
        },
        DeValue::Float(number) => number.as_str().parse().map_or_else(|_| Kind::Str(Arc::from(number.as_str())), Kind::Float),
        DeValue::Boolean(flag) => Kind::Bool(*flag),
        // As YAML's timestamps: the text of the time.
        DeValue::Datetime(time) => Kind::Str(Arc::from(time.to_string())),
        DeValue::Array(items) => Kind::List(Arc::new(items.iter().map(|item| node(file, item)).collect())),
        DeValue::Table(table) => map(file, table),
    };
    Node { span: at(file, value.span()), kind }
}
