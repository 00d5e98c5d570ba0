//! YAML text to a tree of nodes with places (stand-in).
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::{Diagnostic, FileId, Kind, Node, Sources, Span};

/// What came of a text.
pub struct Parsed {
    /// Documents.
    pub documents: Vec<Node>,
    /// Errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
    /// The file.
    pub file: FileId,
}

/// Parses.
pub fn parse(sources: &Sources, path: &Path, text: String) -> Parsed {
    let file = sources.add(path, text.clone());
    let offsets: Vec<u32> = text.char_indices().map(|(at, _)| at as u32).chain([text.len() as u32]).collect();
    let mut parser = Parser::new_from_str(&text);
    let mut documents = Vec::new();
    let mut diagnostics = Vec::new();
    enum Open {
        List(Vec<Node>, u32, usize),
        Map(Vec<Node>, u32, usize),
    }
    let mut stack: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    loop {
        let Some(next) = parser.next_event() else { break };
        let (event, span) = match next {
            Ok(found) => found,
            Err(error) => {
                let at = offsets.get(error.marker().index()).copied().unwrap_or(text.len() as u32);
                diagnostics.push(Diagnostic::error(format!("this is not YAML: {}", error.info())).at(Span {
                    file,
                    start: at,
                    end: at + 1,
                }));
                break;
            }
        };
        let get = |index: usize| offsets.get(index).copied().unwrap_or(text.len() as u32);
        let (start, end) = (get(span.start.index()), get(span.end.index()));
        let place = Span { file, start, end };
        let (node, anchor) = match event {
            Event::Scalar(value, style, anchor, tag) => {
                let tag = tag.map(|tag| tag.to_string()).unwrap_or_default();
                let kind = match tag.as_str() {
                    "!vault" => Kind::Vault((*value).into()),
                    "!unsafe" => Kind::Unsafe((*value).into()),
                    _ if style == ScalarStyle::Plain => plain(&value),
                    _ => Kind::Str((*value).into()),
                };
                (Node { span: place, kind }, anchor)
            }
            Event::Alias(id) => (anchors.get(&id).cloned().unwrap_or(Node { span: place, kind: Kind::Null }), 0),
            Event::SequenceStart(anchor, _) => {
                stack.push(Open::List(Vec::new(), start, anchor));
                continue;
            }
            Event::MappingStart(anchor, _) => {
                stack.push(Open::Map(Vec::new(), start, anchor));
                continue;
            }
            Event::SequenceEnd => match stack.pop() {
                Some(Open::List(items, start, anchor)) => (
                    Node {
                        span: Span { file, start, end: items.last().map_or(end, |node| node.span.end) },
                        kind: Kind::List(Arc::new(items)),
                    },
                    anchor,
                ),
                _ => break,
            },
            Event::MappingEnd => match stack.pop() {
                Some(Open::Map(items, start, anchor)) => {
                    let end = items.last().map_or(end, |node| node.span.end);
                    let mut entries = Vec::new();
                    let mut items = items.into_iter();
                    while let (Some(key), Some(value)) = (items.next(), items.next()) {
                        entries.push((key, value));
                    }
                    (Node { span: Span { file, start, end }, kind: Kind::Map(Arc::new(entries)) }, anchor)
                }
                _ => break,
            },
            Event::StreamEnd => break,
            _ => continue,
        };
        if anchor > 0 {
            anchors.insert(anchor, node.clone());
        }
        match stack.last_mut() {
            Some(Open::List(items, ..) | Open::Map(items, ..)) => items.push(node),
            None => documents.push(node),
        }
    }
    Parsed { documents, diagnostics, file }
}

fn plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "yes" | "Yes" | "true" | "True" | "on" => Kind::Bool(true),
        "no" | "No" | "false" | "False" | "off" => Kind::Bool(false),
        _ => {
            if text.len() > 1 && text.starts_with('0') && text.chars().all(|c| c.is_digit(8)) {
                return Kind::Int(i64::from_str_radix(text, 8).unwrap_or(0));
            }
            if let Ok(n) = text.parse::<i64>() {
                return Kind::Int(n);
            }
            if text.contains('.')
                && let Ok(n) = text.parse::<f64>()
            {
                return Kind::Float(n);
            }
            Kind::Str(text.into())
        }
    }
}
