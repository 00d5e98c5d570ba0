//! The edge: every text a run prints goes through here, and loses its secrets here.

use std::io::Write;
use std::sync::{Arc, Mutex};

use indicatif::ProgressBar;

use super::log::Log;
use crate::value::secret::Redactor;

/// Where a report goes, with colours or without.
#[derive(Clone)]
pub struct Output {
    redactor: Redactor,
    colour: bool,
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    bar: Option<ProgressBar>,
    log: Option<Log>,
}

/// The colours of a report. None carries meaning that the words do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Colour {
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
    Cyan,
    Magenta,
}

impl Output {
    /// Returns an output to `writer`.
    pub fn new(writer: Box<dyn Write + Send>, redactor: Redactor, colour: bool) -> Self {
        Self { redactor, colour, writer: Arc::new(Mutex::new(writer)), bar: None, log: None }
    }

    /// Returns the same output with a progress bar that is moved aside for each line.
    pub fn with_bar(mut self, bar: ProgressBar) -> Self {
        self.bar = Some(bar);
        self
    }

    /// Returns the same output, which is also written to a log.
    pub fn with_log(mut self, log: Option<Log>) -> Self {
        self.log = log;
        self
    }

    /// Returns the progress bar.
    pub fn bar(&self) -> Option<&ProgressBar> {
        self.bar.as_ref()
    }

    /// Returns the redactor.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Whether there are colours.
    pub fn has_colour(&self) -> bool {
        self.colour
    }

    /// Returns `text` in a colour, where there are colours.
    pub fn paint(&self, colour: Colour, text: &str) -> String {
        let code = match colour {
            _ if !self.colour => return text.to_owned(),
            Colour::Plain => return text.to_owned(),
            Colour::Bold => "1",
            Colour::Dim => "2",
            Colour::Green => "32",
            Colour::Yellow => "33",
            Colour::Red => "31",
            Colour::Cyan => "36",
            Colour::Magenta => "35",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Writes a line, or several, without its secrets. Control characters that came from a host are shown, not obeyed.
    pub fn line(&self, text: &str) {
        let text = harmless(&self.redactor.mask(text), self.colour);
        if let Some(log) = &self.log {
            log.write(&plain(&text));
        }
        let write = || {
            if let Ok(mut writer) = self.writer.lock() {
                // A reader that went away (`| head`) is no reason to stop a run half-way.
                let _ = writeln!(writer, "{text}");
                let _ = writer.flush();
            }
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// Returns `text` without our own colours.
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    out
}

/// Returns `text` with control characters made visible: a host must not move the cursor or change the window's title.
fn harmless(text: &str, colour: bool) -> String {
    let is_bad = |c: char| (c < ' ' && c != '\n' && c != '\t') || c == '\u{7f}' || ('\u{80}'..'\u{a0}').contains(&c);
    if !text.contains(is_bad) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = rest.get(2..).and_then(|tail| tail.find(|c: char| !c.is_ascii_digit() && c != ';')).map(|at| at + 2);
        let own = colour && rest.starts_with("\u{1b}[") && end.is_some_and(|end| rest.as_bytes().get(end) == Some(&b'm'));
        if let (true, Some(end)) = (own, end) {
            out.push_str(rest.get(..=end).unwrap_or_default());
            rest = rest.get(end + 1..).unwrap_or_default();
            continue;
        }
        if is_bad(c) && c != '\r' {
            out.push_str(&format!("\\x{:02x}", c as u32));
        } else if c != '\r' {
            out.push(c);
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_a_host_are_shown_and_colours_of_ours_stay() {
        assert_eq!(harmless("a\u{1b}]0;x\u{7}b", false), "a\\x1b]0;x\\x07b");
        assert_eq!(harmless("\u{1b}[31mred\u{1b}[0m\u{1b}[2J", true), "\u{1b}[31mred\u{1b}[0m\\x1b[2J");
        assert_eq!(harmless("line\r\n", false), "line\n");
    }
}
