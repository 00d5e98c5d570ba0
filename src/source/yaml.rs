//! YAML text to a tree of nodes with places.
//!
//! Read as Ansible's users expect: YAML 1.1 scalars (see `scalar`), merge keys, `!vault` and `!unsafe`, and a warning where a
//! key is given twice. Texts that nest too deep or whose aliases would expand without end are refused.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::{Diagnostic, FileId, Kind, Node, Sources, Span, loosen, mistakes, scalar};

/// A key stands twice in one dictionary.
pub const DUPLICATE_KEY: &str = "duplicate-key";

/// How deep lists and dictionaries may nest.
const DEEPEST: usize = 200;

/// How many values a document with aliases may have when they are expanded.
const MOST_VALUES: u64 = 1_000_000;

/// What came of a text.
#[derive(Debug)]
pub struct Parsed {
    /// The documents; after an error, those that could be read.
    pub documents: Vec<Node>,
    /// Errors and warnings, in order of their places.
    pub diagnostics: Vec<Diagnostic>,
    /// The text's number among the sources.
    pub file: FileId,
}

/// Parses a YAML text, taking it into `sources` under `path`.
pub fn parse(sources: &Sources, path: &Path, text: String) -> Parsed {
    let file = sources.add(path, text);
    let source = sources.get(file);
    let text = source.as_ref().map_or("", |source| &source.text);
    let mut loose = BTreeSet::new();
    let mut builder = Builder::new(file, text);
    while let Err(TooFarLeft(lines)) = builder.run(&loose) {
        loose.extend(lines);
        builder = Builder::new(file, text);
    }
    let Builder { documents, mut diagnostics, .. } = builder;
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.map(|span| span.start));
    if source.as_ref().is_some_and(|source| source.hidden) {
        // The words of a message may be the file's.
        for diagnostic in &mut diagnostics {
            let message = "this vaulted file is not right here, and its text is not shown";
            *diagnostic =
                Diagnostic { message: message.to_owned(), label: None, also: Vec::new(), hints: Vec::new(), ..diagnostic.clone() };
        }
    }
    Parsed { documents, diagnostics, file }
}

/// A collection that is not closed yet.
struct Open {
    start: u32,
    anchor: usize,
    unsafely: bool,
    is_map: bool,
    items: Vec<Node>,
    /// How many values it holds, aliases expanded.
    weight: u64,
}

struct Builder<'a> {
    file: FileId,
    text: &'a str,
    /// Bytes before the parser's first character: the byte order mark.
    skipped: u32,
    /// The byte of each character; empty where every character is one byte.
    bytes: Vec<u32>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, u64)>,
    merged: u64,
    documents: Vec<Node>,
    diagnostics: Vec<Diagnostic>,
}

/// The text cannot be read any further; why has been said.
struct Stop;

/// These lines need more spaces before the parser takes them.
struct TooFarLeft(BTreeSet<usize>);

impl<'a> Builder<'a> {
    #[allow(clippy::cast_possible_truncation)]
    fn new(file: FileId, text: &'a str) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        let skipped = (text.len() - rest.len()) as u32;
        let bytes = if rest.is_ascii() { Vec::new() } else { rest.char_indices().map(|(at, _)| at as u32).collect() };
        Self {
            file,
            text: rest,
            skipped,
            bytes,
            open: Vec::new(),
            anchors: HashMap::new(),
            merged: 0,
            documents: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    /// Reads the text, the lines in `loose` with more spaces.
    fn run(&mut self, loose: &BTreeSet<usize>) -> Result<(), TooFarLeft> {
        let loosened;
        let mut text = self.text;
        if !loose.is_empty() {
            (loosened, self.bytes) = loosen::with_spaces(self.text, loose);
            text = &loosened;
        }
        let mut parser = Parser::new_from_str(text);
        while let Some(next) = parser.next_event() {
            let taken = match next {
                Ok((Event::StreamEnd, _)) => return Ok(()),
                Ok((event, span)) => {
                    let place = self.place(span.start.index(), span.end.index());
                    self.take(event, place)
                }
                Err(error) => {
                    let at = (self.byte(error.marker().index()) - self.skipped) as usize;
                    let lines = loosen::too_far_left(self.text, at, error.info());
                    if !lines.is_subset(loose) && loose.len() < loosen::MOST {
                        return Err(TooFarLeft(lines));
                    }
                    self.explain(at, error.info());
                    Err(Stop)
                }
            };
            if taken.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Says what the parser's complaint means, unless an earlier complaint about the same line is the better one.
    fn explain(&mut self, at: usize, info: &str) {
        let known: Vec<_> = self.diagnostics.iter().filter_map(|earlier| earlier.span).collect();
        let known: Vec<_> = known.iter().map(|span| (span.start - self.skipped) as usize).collect();
        let found = mistakes::explain(self.text, at, info, &known);
        let span = self.shifted(found.range);
        let said = self.diagnostics.iter().any(|earlier| earlier.span.is_some_and(|known| self.same_line(known, span)));
        if !said {
            let mut diagnostic = Diagnostic::error(found.message).at(span);
            diagnostic.label = found.label;
            diagnostic.hints.extend(found.hint);
            self.diagnostics.push(diagnostic);
        }
    }

    fn same_line(&self, a: Span, b: Span) -> bool {
        let (from, to) = (a.start.min(b.start) - self.skipped, a.start.max(b.start) - self.skipped);
        self.text.get(from as usize..to as usize).is_some_and(|between| !between.contains('\n'))
    }

    /// Returns the byte of the file at the parser's character.
    #[allow(clippy::cast_possible_truncation)]
    fn byte(&self, character: usize) -> u32 {
        let end = self.text.len() as u32;
        let byte = if self.bytes.is_empty() { (character as u32).min(end) } else { self.bytes.get(character).copied().unwrap_or(end) };
        byte + self.skipped
    }

    fn place(&self, start: usize, end: usize) -> Span {
        Span { file: self.file, start: self.byte(start), end: self.byte(end) }
    }

    #[allow(clippy::cast_possible_truncation)]
    fn shifted(&self, range: std::ops::Range<usize>) -> Span {
        Span { file: self.file, start: range.start as u32 + self.skipped, end: range.end as u32 + self.skipped }
    }

    fn stop(&mut self, diagnostic: Diagnostic) -> Stop {
        self.diagnostics.push(diagnostic);
        Stop
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = self.scalar(&text, style, tag.as_deref(), span);
                self.put(Node { span, kind }, anchor, 1);
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some((node, weight)) => self.put(node, 0, weight),
                None => {
                    let diagnostic = Diagnostic::error("this alias stands inside the very value that it names").at(span);
                    return Err(self.stop(diagnostic.hint("write the value out, or give the anchor to a smaller part")));
                }
            },
            Event::SequenceStart(anchor, tag) => return self.begin(false, anchor, tag.as_deref(), span),
            Event::MappingStart(anchor, tag) => return self.begin(true, anchor, tag.as_deref(), span),
            Event::SequenceEnd | Event::MappingEnd => return self.end(span),
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, is_map: bool, anchor: usize, tag: Option<&Tag>, span: Span) -> Result<(), Stop> {
        if self.open.len() >= DEEPEST {
            let diagnostic = Diagnostic::error(format!("lists and dictionaries nest more than {DEEPEST} deep here")).at(span);
            return Err(self.stop(diagnostic));
        }
        let name = tag.map(tag_name).unwrap_or_default();
        match (name.as_str(), is_map) {
            ("" | "!" | "!unsafe" | "!!seq" | "!!map" | "!!omap", _) => {}
            ("!vault" | "!vault-encrypted", _) => {
                let diagnostic = Diagnostic::error("`!vault` is for a text, not for a list or dictionary").at(span);
                self.diagnostics.push(diagnostic.hint("write `name: !vault |` and the lines that `windlass vault encrypt-string` prints"));
            }
            _ => self.unknown_tag(&name, span),
        }
        self.open.push(Open { start: span.start, anchor, unsafely: name == "!unsafe", is_map, items: Vec::new(), weight: 1 });
        Ok(())
    }

    fn end(&mut self, span: Span) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        // A block collection ends where its last item does, not at the next token.
        let last = open.items.iter().map(|node| node.span).filter(|last| last.file == self.file && last.start >= open.start);
        let last = last.map(|last| last.end).max().unwrap_or(span.end);
        let flow = self.text.as_bytes().get((open.start - self.skipped) as usize).is_some_and(|byte| matches!(byte, b'[' | b'{'));
        let place = Span { file: self.file, start: open.start, end: if flow { span.end } else { last } };
        if open.weight > MOST_VALUES {
            let diagnostic = Diagnostic::error(format!("the aliases in this value expand to more than {MOST_VALUES} values")).at(place);
            return Err(self.stop(diagnostic));
        }
        let kind = if open.is_map { self.map(open.items)? } else { Kind::List(Arc::new(open.items)) };
        let node = Node { span: place, kind };
        let node = if open.unsafely { make_unsafe(&node) } else { node };
        self.put(node, open.anchor, open.weight);
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize, weight: u64) {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        match self.open.last_mut() {
            Some(open) => {
                open.items.push(node);
                open.weight = open.weight.saturating_add(weight);
            }
            None => self.documents.push(node),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Kind {
        let Some(tag) = tag else {
            return if style == ScalarStyle::Plain { scalar::plain(text) } else { Kind::Str(text.into()) };
        };
        let name = tag_name(tag);
        let converted = match name.as_str() {
            "!vault" | "!vault-encrypted" => {
                if !text.trim_start().starts_with("$ANSIBLE_VAULT;") {
                    let diagnostic = Diagnostic::error("this `!vault` value does not begin with `$ANSIBLE_VAULT;`").at(span);
                    self.diagnostics.push(diagnostic.hint("paste all lines that `windlass vault encrypt-string` prints, each indented"));
                }
                Some(Kind::Vault(text.into()))
            }
            "!unsafe" => Some(Kind::Unsafe(text.into())),
            "!!binary" => Some(Kind::Str(binary(text).into())),
            "!" | "!!str" | "!!timestamp" => Some(Kind::Str(text.into())),
            "!!null" => Some(Kind::Null),
            "!!bool" => match text.to_ascii_lowercase().as_str() {
                "yes" | "true" | "on" => Some(Kind::Bool(true)),
                "no" | "false" | "off" => Some(Kind::Bool(false)),
                _ => None,
            },
            "!!int" => scalar::int(text).map(Kind::Int),
            "!!float" => scalar::float(text).map(Kind::Float),
            _ => {
                self.unknown_tag(&name, span);
                return Kind::Str(text.into());
            }
        };
        converted.unwrap_or_else(|| {
            self.diagnostics.push(Diagnostic::error(format!("`{text}` cannot be read as `{name}`")).at(span));
            Kind::Null
        })
    }

    fn unknown_tag(&mut self, name: &str, span: Span) {
        let known = ["!vault", "!unsafe", "!!str", "!!int", "!!float", "!!bool", "!!null"];
        let diagnostic = Diagnostic::error(format!("the tag `{name}` is not known here")).at(span).did_you_mean(name, known);
        let hint = format!("known are `!vault` and `!unsafe`; if `{name}` is meant as text, quote the whole value");
        self.diagnostics.push(if diagnostic.hints.is_empty() { diagnostic.hint(hint) } else { diagnostic });
    }

    /// Makes a dictionary of keys and values in turn: merge keys merged, keys given twice warned about.
    fn map(&mut self, items: Vec<Node>) -> Result<Kind, Stop> {
        let mut own = Vec::with_capacity(items.len() / 2);
        let mut merges = Vec::new();
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            if self.is_merge(&key) {
                merges.push(value);
            } else {
                self.check_key(&key);
                own.push((key, value));
            }
        }
        let mut entries: Vec<(Node, Node)> = Vec::with_capacity(own.len());
        let mut places: HashMap<KeyText, usize> = HashMap::with_capacity(own.len());
        for value in merges {
            for map in self.merge_sources(&value) {
                self.merged += map.len() as u64;
                if self.merged > MOST_VALUES {
                    let diagnostic = Diagnostic::error(format!("the merge keys of this file expand to more than {MOST_VALUES} values"));
                    return Err(self.stop(diagnostic.at(value.span)));
                }
                for (key, value) in map.iter() {
                    set(&mut entries, &mut places, key.clone(), value.clone());
                }
            }
        }
        let mut own_places: HashMap<KeyText, Span> = HashMap::with_capacity(own.len());
        for (key, value) in own {
            if let Some(first) = own_places.insert(key_text(&key.kind), key.span) {
                let name = key.as_str().map_or_else(String::new, |name| format!(" '{name}'"));
                let diagnostic = Diagnostic::warning(format!("Found duplicate mapping key{name}: the last one counts")).rule(DUPLICATE_KEY);
                self.diagnostics.push(diagnostic.at(key.span).label("this one counts").also(first, "this one is lost"));
            }
            set(&mut entries, &mut places, key, value);
        }
        Ok(Kind::Map(Arc::new(entries)))
    }

    /// Whether a key is the plain `<<`; a quoted one is a key like any other.
    fn is_merge(&self, key: &Node) -> bool {
        let written = (key.span.start - self.skipped) as usize..(key.span.end - self.skipped) as usize;
        matches!(&key.kind, Kind::Str(text) if &**text == "<<") && self.text.get(written).is_some_and(|text| text.trim() == "<<")
    }

    /// Returns the dictionaries that a merge key names, weakest first.
    fn merge_sources(&mut self, value: &Node) -> Vec<Arc<Vec<(Node, Node)>>> {
        let list = match &value.kind {
            Kind::Map(map) => return vec![map.clone()],
            Kind::List(items) => items.clone(),
            _ => Arc::new(vec![value.clone()]),
        };
        let mut maps = Vec::new();
        for item in list.iter().rev() {
            match &item.kind {
                Kind::Map(map) => maps.push(map.clone()),
                _ => {
                    let message = format!("`<<` merges dictionaries, this is {}", item.kind_name());
                    self.diagnostics
                        .push(Diagnostic::error(message).at(item.span).hint("write `<<: *name` with the anchor of a dictionary"));
                }
            }
        }
        maps
    }

    /// Complains about a key that cannot be one; nearly always it is a template that lacks its quotes.
    fn check_key(&mut self, key: &Node) {
        if !matches!(key.kind, Kind::Map(_) | Kind::List(_)) {
            return;
        }
        let at = (key.span.start - self.skipped) as usize;
        let found = mistakes::unquoted_template(self.text, at);
        let diagnostic = match found {
            Some(found) => {
                let span = self.shifted(found.range);
                let mut diagnostic = Diagnostic::error(found.message).at(span);
                diagnostic.hints.extend(found.hint);
                diagnostic
            }
            None => Diagnostic::error(format!("{} cannot be the key of a dictionary", key.kind_name())).at(key.span),
        };
        let known = self.diagnostics.iter().any(|earlier| earlier.span == diagnostic.span);
        if !known {
            self.diagnostics.push(diagnostic);
        }
    }
}

/// What two keys have to share to be the same key: kind and text.
type KeyText = (u8, Arc<str>);

fn key_text(kind: &Kind) -> KeyText {
    match kind {
        Kind::Str(text) | Kind::Unsafe(text) => (0, text.clone()),
        Kind::Null => (1, Arc::from("")),
        Kind::Bool(flag) => (2, flag.to_string().into()),
        Kind::Int(number) => (3, number.to_string().into()),
        Kind::Float(number) => (4, number.to_string().into()),
        Kind::Vault(text) => (5, text.clone()),
        other => (6, format!("{other:?}").into()),
    }
}

/// Sets an entry, in its old place where there is one.
fn set(entries: &mut Vec<(Node, Node)>, places: &mut HashMap<KeyText, usize>, key: Node, value: Node) {
    let at = *places.entry(key_text(&key.kind)).or_insert(entries.len());
    match entries.get_mut(at) {
        Some(entry) => *entry = (key, value),
        None => entries.push((key, value)),
    }
}

/// Returns a tag as its user writes it.
fn tag_name(tag: &Tag) -> String {
    if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() }
}

fn make_unsafe(node: &Node) -> Node {
    let kind = match &node.kind {
        Kind::Str(text) => Kind::Unsafe(text.clone()),
        Kind::List(items) => Kind::List(Arc::new(items.iter().map(make_unsafe).collect())),
        Kind::Map(entries) => Kind::Map(Arc::new(entries.iter().map(|(key, value)| (key.clone(), make_unsafe(value))).collect())),
        other => other.clone(),
    };
    Node { span: node.span, kind }
}

/// Returns the text of a `!!binary` scalar; what is no UTF-8 in it is lost.
fn binary(text: &str) -> String {
    use base64::Engine as _;
    let packed: String = text.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(packed).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
