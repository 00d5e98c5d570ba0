//! The tree that YAML text becomes: every node knows its place.

use std::sync::Arc;

use super::Span;

/// A node of a YAML document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
}

/// What a node is. Collections are shared, so that an alias costs nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `null`, `~` or nothing.
    Null,
    /// A plain YAML 1.1 boolean.
    Bool(bool),
    /// A plain whole number.
    Int(i64),
    /// A plain number with a fraction.
    Float(f64),
    /// A text; it may turn out to be a template.
    Str(Arc<str>),
    /// A text tagged `!unsafe`: never a template.
    Unsafe(Arc<str>),
    /// The armoured text of a `!vault` scalar.
    Vault(Arc<str>),
    /// A list.
    List(Arc<Vec<Node>>),
    /// A dictionary, in order, merge keys already merged.
    Map(Arc<Vec<(Node, Node)>>),
}

impl Node {
    /// Returns the text of a text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Str(text) | Kind::Unsafe(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the items of a list.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the entries of a dictionary.
    pub fn as_map(&self) -> Option<&[(Node, Node)]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Returns the value of text key `key`.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Returns the key node and the value of text key `key`.
    pub fn entry(&self, key: &str) -> Option<(&Node, &Node)> {
        self.as_map()?.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(name, value)| (name, value))
    }

    /// Whether there is nothing here.
    pub fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// Returns what a person would call it: "a list", "a text", ...
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Int(_) | Kind::Float(_) => "a number",
            Kind::Str(_) | Kind::Unsafe(_) => "a text",
            Kind::Vault(_) => "a vaulted text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a dictionary",
        }
    }
}
