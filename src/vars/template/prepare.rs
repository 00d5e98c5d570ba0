//! What the parser reads otherwise than Jinja2, written so that it reads it as Jinja2 does: unknown escapes in strings,
//! `{% do %}` of anything, unary plus, a tuple without parentheses. Every place in the prepared text is known in the original.

use super::ast::At;
use super::parse::Syntax;

/// The name that `{% do %}` assigns to.
pub(super) const DO: &str = "__do__";

/// A text for the parser, and how its places map to the original's.
pub(in crate::vars) struct Prepared {
    pub text: String,
    /// Where bytes were put in: position in the prepared text and how many.
    inserted: Vec<(u32, u32)>,
    /// Bytes before the original's start.
    pub lead: u32,
}

impl Prepared {
    /// Returns the place in the original of bytes `start..end` of the prepared text.
    pub(super) fn original(&self, start: usize, end: usize) -> At {
        let map = |at: usize| {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let extra: u32 = self.inserted.iter().take_while(|(from, _)| *from < at).map(|(from, count)| (*count).min(at - from)).sum();
            at.saturating_sub(extra).saturating_sub(self.lead)
        };
        At { start: map(start), end: map(end.max(start)) }
    }

    fn insert(&mut self, text: &str) {
        let at = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.inserted.push((at, u32::try_from(text.len()).unwrap_or(0)));
        self.text.push_str(text);
    }
}

/// Prepares `text`.
pub(super) fn prepare(text: &str, syntax: &Syntax) -> Prepared {
    let mut out = Prepared { text: String::with_capacity(text.len() + 16), inserted: Vec::new(), lead: 0 };
    let mut rest = text;
    loop {
        let starts = [&syntax.variable.0, &syntax.block.0, &syntax.comment.0];
        let next = starts
            .iter()
            .enumerate()
            .filter_map(|(which, mark)| rest.find(mark.as_str()).map(|at| (at, std::cmp::Reverse(mark.len()), which)))
            .min();
        let Some((at, std::cmp::Reverse(length), which)) = next else {
            out.text.push_str(rest);
            return out;
        };
        out.text.push_str(&rest[..at + length]);
        rest = &rest[at + length..];
        rest = match which {
            0 => code(&mut out, rest, &syntax.variable.1, true, syntax),
            1 => block(&mut out, rest, syntax),
            _ => {
                let end = rest.find(syntax.comment.1.as_str()).map_or(rest.len(), |at| at + syntax.comment.1.len());
                out.text.push_str(&rest[..end]);
                &rest[end..]
            }
        };
    }
}

/// Prepares a block tag, and skips the inside of a raw block.
fn block<'t>(out: &mut Prepared, mut rest: &'t str, syntax: &Syntax) -> &'t str {
    let inner = rest.trim_start_matches(['-', '+']).trim_start();
    let word_end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    match &inner[..word_end] {
        "raw" => {
            let mut from = 0;
            while let Some(at) = rest[from..].find(syntax.block.0.as_str()) {
                let tag = from + at + syntax.block.0.len();
                let name = rest[tag..].trim_start_matches(['-', '+']).trim_start();
                from = tag;
                if name.starts_with("endraw") {
                    break;
                }
            }
            out.text.push_str(&rest[..from]);
            return &rest[from..];
        }
        "do" => {
            let lead = rest.len() - inner.len();
            out.text.push_str(&rest[..lead]);
            // `do x` becomes `set __do__ = x`: same length kept by what is put in.
            out.insert("set ");
            out.insert(DO);
            out.insert(" = (");
            rest = &inner[word_end..];
            // The two bytes of `do` are gone: let the first insertion count two less.
            if let Some(first) = out.inserted.iter_mut().rev().nth(2) {
                first.1 = first.1.saturating_sub(2);
            }
            let from = out.text.len();
            let rest = code(out, rest, &syntax.block.1, false, syntax);
            close(out, from, &syntax.block.1);
            return rest;
        }
        _ => {}
    }
    code(out, rest, &syntax.block.1, false, syntax)
}

/// Puts a `)` before the end mark that the text was just given.
fn close(out: &mut Prepared, from: usize, end: &str) {
    let Some(tail) = out.text.get(from..) else { return };
    let Some(at) = tail.rfind(end) else { return };
    let at = from + at;
    let at = if out.text[..at].ends_with(['-', '+']) { at - 1 } else { at };
    out.text.insert(at, ')');
    out.inserted.push((u32::try_from(at).unwrap_or(u32::MAX), 1));
}

/// Prepares code up to and with its end mark.
fn code<'t>(out: &mut Prepared, rest: &'t str, end: &str, is_variable: bool, syntax: &Syntax) -> &'t str {
    let from = out.text.len();
    let mut depth = 0_i32;
    let mut comma = false;
    let mut previous = '(';
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < rest.len() {
        if depth <= 0 && rest[at..].starts_with(end) {
            out.text.push_str(end);
            if is_variable && comma {
                tuple(out, from, end);
            }
            return &rest[at + end.len()..];
        }
        let Some(c) = rest[at..].chars().next() else { break };
        match c {
            '\'' | '"' => {
                let stop = string_end(&rest[at..], c);
                string(out, &rest[at..at + stop], syntax.literal_backslashes && is_variable);
                at += stop;
                previous = c;
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => comma = true,
            '+' if "([{,:=+-*/%~|".contains(previous) && bytes.get(at + 1) != Some(&b'%') && at > 0 && !rest[at + 1..].starts_with(end) => {
                // Unary plus means nothing: a space in its place keeps every position.
                out.text.push(' ');
                at += 1;
                continue;
            }
            _ => {}
        }
        if !c.is_whitespace() {
            previous = c;
        }
        out.text.push(c);
        at += c.len_utf8();
    }
    ""
}

/// Puts parentheses around the code since `from`, which holds a comma outside of any bracket.
fn tuple(out: &mut Prepared, from: usize, end: &str) {
    close(out, from, end);
    let at = if out.text[from..].starts_with(['-', '+']) { from + 1 } else { from };
    out.text.insert(at, '(');
    let at = u32::try_from(at).unwrap_or(u32::MAX);
    for (position, _) in &mut out.inserted {
        if *position >= at {
            *position += 1;
        }
    }
    out.inserted.push((at, 1));
    out.inserted.sort_unstable();
}

/// Returns how long the string literal at the start of `text` is.
fn string_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Writes a string literal whose escapes the parser understands as Jinja2 (tags, template files) or Ansible (`{{ }}` of playbooks) would.
fn string(out: &mut Prepared, literal: &str, literal_backslashes: bool) {
    let mut chars = literal.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.text.push(c);
            continue;
        }
        let next = chars.peek().copied();
        if literal_backslashes {
            // Of an escaped quote the backslash stays too, as in Ansible.
            out.insert(if matches!(next, Some('\'' | '"')) { "\\\\" } else { "\\" });
            out.text.push('\\');
            if let Some(next @ ('\'' | '"')) = next {
                out.text.push(next);
                chars.next();
            } else if next == Some('\\') {
                // The pair is literal: both are doubled.
                out.insert("\\");
                out.text.push('\\');
                chars.next();
            }
            continue;
        }
        match next {
            Some('\\' | '\'' | '"' | 'b' | 'f' | 'n' | 'r' | 't' | 'u' | 'x' | '0'..='7') => {
                out.text.push('\\');
                out.text.extend(next);
                chars.next();
            }
            _ => {
                out.insert("\\");
                out.text.push('\\');
            }
        }
    }
}
