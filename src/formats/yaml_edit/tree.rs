//! A YAML text as a tree whose parts know where in the text they stand.

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::{YamlEditError, dotted};

/// A value as YAML has it: what a scalar says, without what it looks like.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// Its text; whether it is plain (so `true` is a boolean and nothing is null).
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Alias,
}

/// A part of the text. Offsets are bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) style: Option<char>,
    pub(super) start: usize,
    /// Behind its last letter: no blanks, no comment.
    pub(super) end: usize,
}

/// A setting that is in the text.
pub(super) struct Leaf {
    pub(super) name: String,
    /// Which entry, which entry within it, ...
    pub(super) at: Vec<usize>,
}

pub(super) fn parse(text: &str) -> Result<Option<Node>, YamlEditError> {
    let offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut events = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let place = error.marker();
            YamlEditError::Unreadable(format!("line {}: {}", place.line(), error.info()))
        })?;
        let offset = |index: usize| offsets.get(index).copied().unwrap_or(text.len());
        events.push((event, offset(span.start.index()), offset(span.end.index())));
    }
    let documents = events.iter().filter(|(event, ..)| matches!(event, Event::DocumentStart(_))).count();
    if documents > 1 {
        return Err(YamlEditError::Unreadable("the text has several YAML documents, so it has no settings".to_owned()));
    }
    let mut reader = Reader { text, events: events.into_iter(), depth: 0 };
    let root = reader.root()?;
    match root {
        None => Ok(None),
        Some(Node { content: Content::Scalar { text, plain: true }, .. }) if text.is_empty() || text == "~" || text == "null" => Ok(None),
        Some(node) if matches!(node.content, Content::Map(_)) => Ok(Some(node)),
        Some(_) => Err(YamlEditError::Unreadable("the text is YAML but no mapping, so it has no settings".to_owned())),
    }
}

struct Reader<'a, I> {
    text: &'a str,
    events: I,
    depth: usize,
}

impl<'a, I: Iterator<Item = (Event<'a>, usize, usize)>> Reader<'a, I> {
    fn root(&mut self) -> Result<Option<Node>, YamlEditError> {
        while let Some((event, start, end)) = self.events.next() {
            if matches!(event, Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_)) {
                return self.node(event, start, end).map(Some);
            }
        }
        Ok(None)
    }

    fn node(&mut self, event: Event<'a>, start: usize, end: usize) -> Result<Node, YamlEditError> {
        self.depth += 1;
        if self.depth > 200 {
            return Err(YamlEditError::Unreadable("the text is nested too deeply".to_owned()));
        }
        let node = match event {
            Event::Scalar(value, style, ..) => {
                let style = match style {
                    ScalarStyle::SingleQuoted => Some('\''),
                    ScalarStyle::DoubleQuoted => Some('"'),
                    ScalarStyle::Literal | ScalarStyle::Folded => Some('|'),
                    ScalarStyle::Plain => None,
                };
                let end = self.scalar_end(style, start, end);
                Node { content: Content::Scalar { text: value.into_owned(), plain: style.is_none() }, style, start, end }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                let closing = self.each(&mut |reader, event, start, end| {
                    items.push(reader.node(event, start, end)?);
                    Ok(())
                })?;
                self.collection(Content::List(items), '[', start, closing)
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                let closing = self.each(&mut |reader, event, start, end| {
                    let key = reader.node(event, start, end)?;
                    let (event, start, end) = reader.events.next().ok_or_else(cut)?;
                    entries.push((key, reader.node(event, start, end)?));
                    Ok(())
                })?;
                self.collection(Content::Map(entries), '{', start, closing)
            }
            _ => Node { content: Content::Alias, style: None, start, end },
        };
        self.depth -= 1;
        Ok(node)
    }

    #[allow(clippy::type_complexity, reason = "used in two places only, right above")]
    fn each(
        &mut self,
        see: &mut dyn FnMut(&mut Self, Event<'a>, usize, usize) -> Result<(), YamlEditError>,
    ) -> Result<usize, YamlEditError> {
        loop {
            match self.events.next().ok_or_else(cut)? {
                (Event::SequenceEnd | Event::MappingEnd, _, end) => return Ok(end),
                (event, start, end) => see(self, event, start, end)?,
            }
        }
    }

    fn collection(&self, content: Content, opening: char, start: usize, closing: usize) -> Node {
        let flow = self.text.get(start..).is_some_and(|rest| rest.starts_with(opening));
        let last = match &content {
            Content::List(items) => items.last().map(|item| item.end),
            Content::Map(entries) => entries.last().map(|(key, value)| entry_end(self.text, key, value)),
            _ => None,
        };
        let end = if flow { closing } else { last.unwrap_or(start) };
        Node { content, style: flow.then_some(opening), start, end }
    }

    /// The parser's own end of a quoted text may lie behind the comment that follows.
    fn scalar_end(&self, style: Option<char>, start: usize, end: usize) -> usize {
        let slice = self.text.get(start..end).unwrap_or_default();
        let Some(quote @ ('\'' | '"')) = style else { return start + slice.trim_end().len() };
        let opening = slice.find(quote).unwrap_or_default();
        let mut letters = slice.get(opening + 1..).unwrap_or_default().char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' if quote == '"' => {
                    letters.next();
                }
                letter if letter == quote && quote == '\'' && letters.peek().is_some_and(|(_, next)| *next == '\'') => {
                    letters.next();
                }
                letter if letter == quote => return start + opening + 1 + at + 1,
                _ => {}
            }
        }
        end
    }
}

fn cut() -> YamlEditError {
    YamlEditError::Unreadable("the text ends too early".to_owned())
}

/// Returns where the colon behind a key ends.
pub(super) fn after_colon(text: &str, key: &Node) -> usize {
    let rest = text.get(key.end..).unwrap_or_default();
    rest.find(':').map_or(key.end, |at| key.end + at + 1)
}

pub(super) fn entry_end(text: &str, key: &Node, value: &Node) -> usize {
    if is_empty(value) { after_colon(text, key) } else { value.end }
}

/// Whether nothing stands where the value would be.
pub(super) fn is_empty(node: &Node) -> bool {
    node.start == node.end && matches!(&node.content, Content::Scalar { text, plain: true } if text.is_empty() || text == "~")
}

pub(super) fn leaves(root: &Option<Node>) -> Vec<Leaf> {
    let mut out = Vec::new();
    if let Some(root) = root {
        collect(root, "", &mut Vec::new(), &mut out);
    }
    out
}

fn collect(map: &Node, prefix: &str, at: &mut Vec<usize>, out: &mut Vec<Leaf>) {
    let Content::Map(entries) = &map.content else { return };
    for (number, (key, value)) in entries.iter().enumerate() {
        let Content::Scalar { text, .. } = &key.content else { continue };
        let name = dotted(prefix, text);
        at.push(number);
        match &value.content {
            Content::Map(inner) if !inner.is_empty() => collect(value, &name, at, out),
            _ => out.push(Leaf { name, at: at.clone() }),
        }
        at.pop();
    }
}

pub(super) fn entry<'a>(root: &'a Option<Node>, at: &[usize]) -> Option<&'a (Node, Node)> {
    let (last, path) = at.split_last()?;
    let mut map = root.as_ref()?;
    for number in path {
        let Content::Map(entries) = &map.content else { return None };
        map = &entries.get(*number)?.1;
    }
    let Content::Map(entries) = &map.content else { return None };
    entries.get(*last)
}

pub(super) fn map_at<'a>(root: &'a Option<Node>, at: &[usize]) -> Option<&'a Node> {
    if at.is_empty() { root.as_ref() } else { entry(root, at).map(|(_, value)| value) }
}
