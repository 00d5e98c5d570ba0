//! The mistakes that people make in YAML, told in words that say what to do. A parser's own message names what the grammar
//! wanted; this looks at the line and names what its author meant.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// A mistake: what is wrong, where, and what to do.
#[derive(Debug, PartialEq)]
pub(super) struct Mistake {
    pub(super) range: Range<usize>,
    pub(super) message: String,
    pub(super) label: Option<String>,
    pub(super) hint: Option<String>,
}

impl Mistake {
    fn new(range: Range<usize>, message: impl Into<String>) -> Self {
        Self { range, message: message.into(), label: None, hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `key: ` or `- ` or both, before a value.
static BEFORE_VALUE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"^\s*(?:-\s+)*(?:[^\s:#'"{\[][^:#]*:\s+)?"#).ok());
/// A name, a colon and at once the value.
static NO_SPACE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\s*(?:-\s+)*[A-Za-z_][\w.-]*:[^\s:/\\]").ok());

/// One line of the text.
#[derive(Clone, Copy)]
struct Line<'a> {
    start: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// Returns the line that byte `at` is in.
    fn around(text: &'a str, at: usize) -> Self {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        Self { start, text: text[start..end].trim_end_matches('\r') }
    }

    /// Returns the nearest line above that says something.
    fn above(self, text: &'a str) -> Option<Self> {
        let mut line = self;
        loop {
            line = Self::around(text, line.start.checked_sub(1)?);
            let said = line.text.trim();
            if !said.is_empty() && !said.starts_with('#') {
                return Some(line);
            }
        }
    }

    /// Returns the next line.
    fn below(self, text: &'a str) -> Option<Self> {
        let next = self.start + text[self.start..].find('\n')? + 1;
        Some(Self::around(text, next))
    }

    /// Returns where the value begins: after `key: ` and `- `.
    fn value_at(self) -> usize {
        BEFORE_VALUE.as_ref().and_then(|pattern| pattern.find(self.text)).map_or(0, |found| found.end())
    }

    fn value(self) -> &'a str {
        self.text[self.value_at()..].trim_end()
    }

    fn range(self, from: usize, to: usize) -> Range<usize> {
        self.start + from..self.start + to
    }

    fn whole(self) -> Range<usize> {
        let from = self.text.len() - self.text.trim_start().len();
        self.range(from, self.text.trim_end().len().max(from))
    }
}

/// Returns what the parser's complaint `info` at byte `at` means. Mistakes that begin at one of `known` were told already.
pub(super) fn explain(text: &str, at: usize, info: &str, known: &[usize]) -> Mistake {
    let line = Line::around(text, at);
    let above = line.above(text).filter(|above| !known.iter().any(|place| Line::around(text, *place).start == above.start));
    let near = || [Some(line), above].into_iter().flatten();
    let found = tab(line)
        .or_else(|| info.contains("tab").then(|| line.below(text).and_then(tab)).flatten())
        .or_else(|| near().find_map(template_line))
        .or_else(|| near().find_map(text_after_quote))
        .or_else(|| unclosed_quote(text, line, above, info))
        .or_else(|| unclosed_quote_here(line, at))
        .or_else(|| near().find_map(reserved_start))
        .or_else(|| unclosed_bracket(text, at, info))
        .or_else(|| near().find_map(no_space_after_colon))
        .or_else(|| colon_in_value(line, above, info))
        .or_else(|| backslash(line, at, info))
        .or_else(|| unknown_anchor(line, at, info));
    if let Some(found) = found {
        return found;
    }
    let column = at.saturating_sub(line.start).min(line.text.len());
    let here = if line.text[column..].trim().is_empty() { line.whole() } else { line.range(column, line.text.trim_end().len()) };
    plainly(info, here)
}

/// Returns the parser's complaint in other words, where the line itself tells nothing.
fn plainly(info: &str, here: Range<usize>) -> Mistake {
    let indentation = "entries of one list or dictionary have to begin in the same column";
    if info.contains("did not find expected key") || info.contains("expected '-'") || info.contains("simple key expected") {
        return Mistake::new(here, "this line does not fit the ones above it").hint(indentation);
    }
    if info.contains("indentation") || info.contains("not allowed in this context") {
        return Mistake::new(here, "this does not fit here, its indentation may be wrong").hint(indentation);
    }
    if info.contains("recursion limit") {
        return Mistake::new(here, "lists and dictionaries nest too deep here");
    }
    if info.contains("unprintable") {
        return Mistake::new(here, "there is a control character here that YAML does not allow")
            .hint("write it as an escape in double quotes, for example \"\\x1b\"");
    }
    if info.contains("expected ',' or") {
        return Mistake::new(here, "a `,` or the closing bracket is missing before this");
    }
    if info.contains("block scalar") {
        return Mistake::new(here, "after `|` or `>` the text begins on the next line, indented");
    }
    if info.contains("misplaced bracket") || info.contains("expected <document start>") {
        return Mistake::new(here, "YAML parsing failed: Did not find expected <document start>")
            .hint("the document has ended before this: remove it, or put a `---` before it");
    }
    Mistake::new(here, format!("this is not YAML ({})", info.trim_end_matches('.')))
}

/// Returns the mistake of a `{{` at the start of a value, at byte `at` of the text.
pub(super) fn unquoted_template(text: &str, at: usize) -> Option<Mistake> {
    template_line(Line::around(text, at))
}

fn template_line(line: Line<'_>) -> Option<Mistake> {
    let value = line.value();
    if !value.starts_with("{{") && !value.starts_with("{%") {
        return None;
    }
    let from = line.value_at();
    let quote = if value.contains('"') { '\'' } else { '"' };
    let quoted = if quote == '\'' { value.replace('\'', "''") } else { value.to_owned() };
    let key = line.text[..from].trim_start();
    Some(
        Mistake::new(line.range(from, from + value.len()), format!("a value that starts with `{}` has to be quoted", &value[..2]))
            .hint(format!("quote it: `{key}{quote}{quoted}{quote}`")),
    )
}

fn tab(line: Line<'_>) -> Option<Mistake> {
    if let Some((before, _)) = line.text.split_once(":\t").filter(|(before, _)| !before.contains(['"', '\'', '#'])) {
        let at = before.len() + 1;
        return Some(
            Mistake::new(line.range(at, at + 1), "there is a tab after this colon, YAML allows only spaces").hint("replace it by a space"),
        );
    }
    let indent = line.text.len() - line.text.trim_start().len();
    let tab = line.text[..indent].find('\t').or_else(|| {
        let after = line.text[indent..].strip_prefix('-')?;
        (after.starts_with('\t')).then_some(indent + 1)
    })?;
    Some(Mistake::new(line.range(tab, tab + 1), "a tab indents this line, YAML allows only spaces").hint("replace each tab by spaces"))
}

/// Returns the length of the quoted text that `value` begins with, quotes included.
pub(super) fn quoted_length(value: &str) -> Option<usize> {
    let quote = value.chars().next().filter(|c| *c == '"' || *c == '\'')?;
    let mut characters = value.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c == '\\' && quote == '"' {
            characters.next();
        } else if c == quote {
            if quote == '\'' && characters.peek().is_some_and(|(_, next)| *next == '\'') {
                characters.next();
            } else {
                return Some(at + 1);
            }
        }
    }
    None
}

fn text_after_quote(line: Line<'_>) -> Option<Mistake> {
    let value = line.value();
    let length = quoted_length(value)?;
    let rest = value[length..].trim_start();
    if rest.is_empty() || rest.starts_with(['#', ':', ',', ']', '}']) {
        return None;
    }
    let from = line.value_at() + value.len() - rest.len();
    let key = line.text[..line.value_at()].trim_start();
    if let Some(inner) = value.strip_prefix('\'').filter(|_| rest.starts_with(char::is_alphabetic)).and_then(|rest| rest.strip_suffix('\''))
    {
        // 'it's': the apostrophe was meant.
        return Some(
            Mistake::new(line.range(from, line.value_at() + value.len()), "there is text after the closing quote")
                .hint(format!("write the apostrophe twice: `{key}'{}'`", inner.replace('\'', "''"))),
        );
    }
    let outer = if value.starts_with('"') { '\'' } else { '"' };
    let fix = if value.contains(outer) {
        format!("{key}>-` and the text on the next line, indented")
    } else {
        format!("{key}{outer}{value}{outer}`")
    };
    Some(
        Mistake::new(line.range(from, line.value_at() + value.len()), "there is text after the closing quote")
            .hint(format!("quote the whole value: `{fix}")),
    )
}

/// The scan of a quoted text ran into the end of the file or into lines that cannot be part of it.
fn unclosed_quote(text: &str, line: Line<'_>, above: Option<Line<'_>>, info: &str) -> Option<Mistake> {
    if !info.contains("quoted scalar") && !info.contains("double-quoted") && !info.contains("not allowed in this context") {
        return None;
    }
    if info.contains("escape") || info.contains("hexadecimal") {
        return None;
    }
    // The quote may have been opened many lines above.
    let mut candidate = Some(line);
    let found = [Some(line), above].into_iter().flatten().find_map(opens).or_else(|| {
        while let Some(here) = candidate {
            if let Some(found) = opens(here) {
                return Some(found);
            }
            candidate = here.above(text);
        }
        None
    })?;
    let from = found.value_at();
    let quote = &found.value()[..1];
    Some(
        Mistake::new(found.range(from, from + found.value().len()), format!("this {quote} is never closed, or closed in a later line"))
            .hint(format!("close it with {quote} at the end of the value")),
    )
}

/// The complaint is about a quote within the line, such as one in braces.
fn unclosed_quote_here(line: Line<'_>, at: usize) -> Option<Mistake> {
    let column = at.checked_sub(line.start)?;
    let rest = line.text.get(column..)?.trim_end();
    let quote = rest.chars().next().filter(|c| "\"'".contains(*c)).filter(|_| quoted_length(rest).is_none())?;
    Some(
        Mistake::new(line.range(column, column + rest.len()), format!("this {quote} is never closed, or closed in a later line"))
            .hint(format!("close it with {quote} at the end of the value")),
    )
}

/// Returns the line if its value opens a quote and does not close it.
fn opens(line: Line<'_>) -> Option<Line<'_>> {
    let value = line.value();
    (value.starts_with(['"', '\'']) && quoted_length(value).is_none()).then_some(line)
}

fn reserved_start(line: Line<'_>) -> Option<Mistake> {
    let value = line.value();
    let first = value.chars().next().filter(|c| "@`%".contains(*c))?;
    let from = line.value_at();
    let key = line.text[..from].trim_start();
    Some(
        Mistake::new(line.range(from, from + value.len()), format!("a value that starts with {first} has to be quoted"))
            .hint(format!("quote it: {key}\"{value}\"")),
    )
}

fn unclosed_bracket(text: &str, at: usize, info: &str) -> Option<Mistake> {
    if !info.contains("flow") && !info.contains("placement of ':'") {
        return None;
    }
    let mut open = Vec::new();
    let before = text.get(..at)?;
    let mut quote = None;
    for (place, c) in before.char_indices() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if !open.is_empty() => quote = Some(c),
            (None, '[' | '{') => open.push((place, c)),
            (None, ']' | '}') => {
                open.pop();
            }
            _ => {}
        }
    }
    let (place, c) = open.pop()?;
    let close = if c == '[' { ']' } else { '}' };
    let end_of_file = text.get(at..)?.trim().is_empty();
    let line = Line::around(text, place);
    if !end_of_file && Line::around(text, at).start == line.start {
        return None;
    }
    Some(
        Mistake::new(place..place + 1, format!("this `{c}` is never closed"))
            .hint(format!("close it with `{close}`; separate its parts with commas")),
    )
}

fn no_space_after_colon(line: Line<'_>) -> Option<Mistake> {
    let found = NO_SPACE.as_ref()?.find(line.text)?;
    let colon = line.text[..found.end()].rfind(':')?;
    let (name, rest) = (line.text[..colon].trim_start(), line.text[colon + 1..].trim_end());
    Some(Mistake::new(line.range(colon, colon + 1), "there is no space after this colon").hint(format!("write `{name}: {rest}`")))
}

fn colon_in_value(line: Line<'_>, above: Option<Line<'_>>, info: &str) -> Option<Mistake> {
    if !info.contains("mapping values are not allowed") && !info.contains("simple key") {
        return None;
    }
    let value = line.value();
    let key = line.text[..line.value_at()].trim();
    if let Some(colon) = value.find(": ").or_else(|| value.ends_with(':').then(|| value.len() - 1))
        && key.ends_with(':')
        && !value.starts_with(['"', '\'', '{', '['])
    {
        let at = line.value_at() + colon;
        let quote = if value.contains('"') { '\'' } else { '"' };
        let fix = if value.contains('\'') && quote == '\'' { value.replace('\'', "''") } else { value.to_owned() };
        return Some(
            Mistake::new(line.range(at, at + 1), "this colon makes a second key of a value that is not quoted")
                .hint(format!("quote the value: `{key} {quote}{fix}{quote}`")),
        );
    }
    let above = above?;
    let deeper = |line: Line<'_>| line.text.len() - line.text.trim_start().len();
    (deeper(line) > deeper(above) && !above.value().is_empty()).then(|| {
        Mistake::new(line.whole(), "this line is indented deeper than the one above, which already has its value")
            .hint("indent both alike, or take the value away from the line above")
    })
}

fn backslash(line: Line<'_>, at: usize, info: &str) -> Option<Mistake> {
    if !info.contains("escape") && !info.contains("hexadecimal") {
        return None;
    }
    let column = at.saturating_sub(line.start).min(line.text.len());
    let column = line.text.get(column..).and_then(|rest| rest.find('\\')).map(|found| column + found).or_else(|| line.text.find('\\'))?;
    let end = line.text[column + 1..].chars().next().map_or(column + 1, |c| column + 1 + c.len_utf8());
    Some(
        Mistake::new(line.range(column, end), "YAML does not know this backslash escape in double quotes")
            .hint("write the text in single quotes, or the backslash twice"),
    )
}

fn unknown_anchor(line: Line<'_>, at: usize, info: &str) -> Option<Mistake> {
    if !info.contains("unknown anchor") {
        return None;
    }
    let column = at.saturating_sub(line.start).min(line.text.len());
    let star = line.text.get(..column)?.rfind('*').or_else(|| line.text.find('*'))?;
    let end = line.text[star..].find([' ', ',', ']', '}']).map_or(line.text.len(), |length| star + length);
    let name = &line.text[star + 1..end];
    Some(
        Mistake::new(line.range(star, end), format!("no anchor `&{name}` was set above"))
            .hint("a value that only starts with `*`, such as a glob, has to be quoted"),
    )
}
