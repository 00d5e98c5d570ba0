//! Makes text of hosts harmless in HTML and XML: markup shows as it is, and so do characters that would hide or reorder text.

use std::fmt::Write as _;

/// Returns `text` for HTML or XML, in an element or in an attribute within double quotes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if hides(c) => drop(write!(out, "\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

/// Control characters, those that turn the direction of text, and those that XML has not.
fn hides(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_hidden_characters_show_as_they_are() {
        assert_eq!(escape("<b a=\"1\" c='2'>&\n"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\n");
        assert_eq!(escape("a\u{1b}[2J\u{0}b\u{202e}c"), "a\\x1b[2J\\x00b\\x202ec");
    }
}
