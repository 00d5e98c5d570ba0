//! From a byte of a template's text to the place in the user's file, through whatever YAML did to the text.

use crate::source::{Sources, Span};

use super::ast::At;
use super::live::Origin;

/// Returns the place of `at`: exact where the template's line can be found in the scalar, else the scalar.
pub(in crate::vars) fn locate(sources: &Sources, origin: &Origin, at: At) -> Span {
    exact(sources, origin, at).unwrap_or(origin.span)
}

fn exact(sources: &Sources, origin: &Origin, at: At) -> Option<Span> {
    let file = sources.get(origin.span.file)?;
    let scalar = file.text.get(origin.span.start as usize..origin.span.end as usize)?;
    let (start, end) = (at.start as usize, (at.end as usize).min(origin.text.len()));
    // A single-line scalar, or a file that is all template.
    if let Some(found) = scalar.find(&*origin.text) {
        return Some(span(origin, found + start, found + end.max(start)));
    }
    // A block scalar, indented or folded: find each line in turn.
    let mut from = 0;
    let mut line_start = 0;
    for line in origin.text.split_inclusive('\n') {
        let core = line.trim();
        let lead = line.len() - line.trim_start().len();
        if !core.is_empty() {
            from += scalar.get(from..)?.find(core)?;
        }
        if start < line_start + line.len() {
            let column = start.saturating_sub(line_start + lead);
            let length = end.saturating_sub(start).min(core.len().saturating_sub(column));
            return Some(span(origin, from + column, from + column + length));
        }
        from += core.len();
        line_start += line.len();
    }
    None
}

fn span(origin: &Origin, start: usize, end: usize) -> Span {
    let limit = |at: usize| u32::try_from(at).unwrap_or(0).saturating_add(origin.span.start).min(origin.span.end);
    Span { file: origin.span.file, start: limit(start), end: limit(end) }
}
