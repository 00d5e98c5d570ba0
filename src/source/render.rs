//! A diagnostic as text for a terminal.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{Diagnostic, FileId, Severity, SourceFile, Sources, Span};

/// The longest excerpt of one place, in bytes: a place may be a whole file.
const LONGEST: usize = 2000;

/// Returns a diagnostic with its place, an excerpt of the file, other places and hints. `colour` says whether to use colours.
pub fn text(sources: &Sources, diagnostic: &Diagnostic, colour: bool) -> String {
    if sources.in_ansible_form() {
        return ansible(sources, diagnostic);
    }
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let hidden = diagnostic.span.filter(|span| sources.get(span.file).is_some_and(|file| file.hidden));
    let place = hidden.and_then(|span| sources.place(span)).map(|place| format!(" ({place})")).unwrap_or_default();
    let message = format!("{}{place}", visible(&diagnostic.message));
    let mut group = level.primary_title(message).elements(Vec::<Snippet<'_, annotate_snippets::Annotation<'_>>>::new());
    let snippets = snippets(sources, diagnostic);
    let has_place = !snippets.is_empty();
    for snippet in snippets {
        group = group.element(snippet);
    }
    for hint in diagnostic.hints.iter().filter(|_| has_place) {
        group = group.element(Level::HELP.with_name("hint").message(visible(hint)));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let report: &[Group<'_>] = &[group];
    let mut text = renderer.decor_style(DecorStyle::Ascii).render(report);
    // Without an excerpt the renderer would draw its margin around nothing.
    for hint in diagnostic.hints.iter().filter(|_| !has_place) {
        text.push_str(&format!("\n  = hint: {}", visible(hint)));
    }
    text
}

/// Returns a diagnostic in Ansible's form: the message, where it comes from, and the lines there.
fn ansible(sources: &Sources, diagnostic: &Diagnostic) -> String {
    let kind = if diagnostic.severity == Severity::Error { "[ERROR]" } else { "[WARNING]" };
    let mut text = format!("{kind}: {}", visible(&diagnostic.message));
    let place = diagnostic.span.and_then(|span| Some((sources.get(span.file)?, sources.place(span)?)));
    if let Some((file, place)) = place.filter(|(file, _)| !file.text.is_empty()) {
        text.push_str(&format!("\nOrigin: {place}\n"));
        let width = place.line.to_string().len();
        let first = if file.hidden { place.line + 1 } else { place.line.saturating_sub(2).max(1) };
        for number in first..=place.line {
            let line = blank_controls(file.line(number).unwrap_or_default());
            let line = format!("{number:>width$} {line}");
            text.push_str(&format!("\n{}", line.trim_end()));
        }
        if !file.hidden {
            let blanks = " ".repeat(width + place.column as usize);
            text.push_str(&format!("\n{blanks}^ column {}\n", place.column));
        }
    }
    for hint in &diagnostic.hints {
        text.push_str(&format!("\nHint: {}\n", visible(hint)));
    }
    text
}

/// Returns a diagnostic in one line: place, message and the first hint.
pub fn line(sources: &Sources, diagnostic: &Diagnostic) -> String {
    let place = diagnostic.span.and_then(|span| sources.place(span)).map(|place| format!("{place}: ")).unwrap_or_default();
    let hint = diagnostic.hints.first().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    let severity = if diagnostic.severity == Severity::Warning { "warning: " } else { "" };
    format!("{place}{severity}{}{hint}", diagnostic.message).replace('\n', " ")
}

/// Returns one snippet for each file that the diagnostic names, the main one first.
fn snippets(sources: &Sources, diagnostic: &Diagnostic) -> Vec<Snippet<'static, annotate_snippets::Annotation<'static>>> {
    let main = diagnostic.span.map(|span| (span, diagnostic.label.clone().unwrap_or_default(), AnnotationKind::Primary));
    let also = diagnostic.also.iter().map(|(span, text)| (*span, text.clone(), AnnotationKind::Context));
    let marks: Vec<_> = main.into_iter().chain(also).collect();
    let mut files: Vec<FileId> = Vec::new();
    for (span, ..) in &marks {
        if !files.contains(&span.file) {
            files.push(span.file);
        }
    }
    files.into_iter().filter_map(|id| snippet(&*sources.get(id)?, marks.iter().filter(|(span, ..)| span.file == id))).collect()
}

type Mark = (Span, String, AnnotationKind);

fn snippet<'a>(
    file: &SourceFile,
    marks: impl Iterator<Item = &'a Mark>,
) -> Option<Snippet<'static, annotate_snippets::Annotation<'static>>> {
    if file.text.is_empty() || file.hidden {
        return None;
    }
    let mut ranges: Vec<(Range<usize>, &Mark)> = marks.map(|mark| (shown(&file.text, mark.0), mark)).collect();
    // Only the part of the file between the marks is given to the renderer: files may be long.
    let first = ranges.iter().map(|(range, _)| range.start).min()?;
    let last = ranges.iter().map(|(range, _)| range.end).max()?;
    let from = file.text[..first].rfind('\n').map_or(0, |newline| newline + 1);
    let to = file.text[last..].find('\n').map_or(file.text.len(), |newline| last + newline);
    let (line, _) = file.line_and_column(u32::try_from(from).unwrap_or_default());
    let mut snippet = Snippet::source(blank_controls(&file.text[from..to])).line_start(line as usize).path(file.path.display().to_string());
    for (range, (_, label, kind)) in ranges.drain(..) {
        let label = (!label.is_empty()).then(|| visible(label).into_owned());
        snippet = snippet.annotation(kind.span(range.start - from..range.end - from).label(label));
    }
    Some(snippet)
}

/// Returns the part of a place that is marked: its first line, on character boundaries.
fn shown(text: &str, span: Span) -> Range<usize> {
    let mut start = (span.start as usize).min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = (span.end as usize).clamp(start, text.len()).min(start + LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let end = text[start..end].find('\n').map_or(end, |newline| start + newline);
    let end = start + text[start..end].trim_end().len();
    // A place at the very end of the text has no character to mark: mark the last line's end.
    if start == end && start == text.len() && text.ends_with('\n') {
        return start - 1..start - 1;
    }
    start..end
}

/// Returns `text` with control characters replaced, byte for byte: a file must not steer the terminal.
fn blank_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_control() && c != '\n' && c != '\t' { ' ' } else { c }).collect()
}

/// Returns `text` with control characters made visible.
fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| !c.is_control() || c == '\n') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (Sources, FileId) {
        let sources = Sources::default();
        let id = sources.add("site.yml", "- hosts: all\n  tasks:\n    - name: Copy\n      cpoy:\n        src: a\n\tx: \u{1b}[31m\n");
        (sources, id)
    }

    #[test]
    fn a_diagnostic_shows_its_place_label_and_hint() {
        let (sources, file) = file();
        let span = Span { file, start: 45, end: 49 };
        let diagnostic = Diagnostic::error("there is no module `cpoy`").at(span).label("not known").hint("did you mean `copy`?");
        insta::assert_snapshot!(text(&sources, &diagnostic, false), @r#"
error: there is no module `cpoy`
 --> site.yml:4:7
  |
4 |       cpoy:
  |       ^^^^ not known
  |
  = hint: did you mean `copy`?
"#);
        insta::assert_snapshot!(line(&sources, &diagnostic), @r#"site.yml:4:7: there is no module `cpoy` (hint: did you mean `copy`?)"#);
        assert!(text(&sources, &diagnostic, true).contains("\u{1b}["));
    }

    #[test]
    fn other_places_are_shown_in_their_files() {
        let (sources, file) = file();
        let other = sources.add("roles/x/vars/main.yml", "a: 1\nb: 2\n");
        let diagnostic = Diagnostic::warning("this hides another variable")
            .at(Span { file, start: 2, end: 7 })
            .also(Span { file: other, start: 5, end: 6 }, "hidden")
            .hint("rename one")
            .hint("or remove it");
        insta::assert_snapshot!(text(&sources, &diagnostic, false), @r#"
warning: this hides another variable
 --> site.yml:1:3
  |
1 | - hosts: all
  |   ^^^^^
  |
 ::: roles/x/vars/main.yml:2:1
  |
2 | b: 2
  | - hidden
  |
  = hint: rename one
  = hint: or remove it
"#);
    }

    #[test]
    fn a_diagnostic_without_a_place_is_its_message() {
        let (sources, _) = file();
        insta::assert_snapshot!(text(&sources, &Diagnostic::error("no inventory").hint("give one with -i"), false), @r#"
error: no inventory
  = hint: give one with -i
"#);
    }

    #[test]
    fn odd_places_do_no_harm_and_files_do_not_steer_the_terminal() {
        let (sources, file) = file();
        let length = sources.get(file).map(|file| file.text.len()).unwrap_or_default() as u32;
        for (start, end) in [(0, length), (length, length), (length + 9, length + 10), (60, 50), (length - 3, length)] {
            let shown = text(&sources, &Diagnostic::error("x").at(Span { file, start, end }), false);
            assert!(!shown.contains('\u{1b}') && shown.contains("site.yml"), "{shown}");
        }
        let wide = sources.add("w.yml", "a: ☃☃☃");
        assert!(text(&sources, &Diagnostic::error("x").at(Span { file: wide, start: 4, end: 5 }), false).contains("w.yml"));
        assert!(text(&sources, &Diagnostic::error("x").at(Span { file: FileId(99), start: 4, end: 5 }), false).contains("x"));
    }
}
