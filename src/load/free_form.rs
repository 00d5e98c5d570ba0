//! Arguments written as text: `copy: src=a dest=b`, `command: ls -l chdir=/tmp`.

use crate::source::Span;
use crate::value::{Map, Value};

/// Arguments that a command line of `command`, `shell`, `raw` and `script` may carry among its words.
const OF_COMMANDS: &[&str] =
    &["creates", "removes", "chdir", "executable", "warn", "stdin", "stdin_add_newline", "strip_empty_ends", "decrypt", "cmd"];

/// Returns the words of a text, each as written: quotes and `{{ }}` keep blanks together. `None` where a quote or brace is not closed.
pub(super) fn words(text: &str) -> Option<Vec<&str>> {
    let bytes = text.as_bytes();
    let (mut words, mut start, mut at) = (Vec::new(), None, 0);
    let mut quote = None;
    let mut braces = 0_usize;
    while let Some(&byte) = bytes.get(at) {
        let pair = bytes.get(at..at + 2).unwrap_or_default();
        if quote.is_none() && matches!(pair, b"{{" | b"{%" | b"{#") {
            braces += 1;
            start.get_or_insert(at);
            at += 2;
            continue;
        }
        if quote.is_none() && braces > 0 && matches!(pair, b"}}" | b"%}" | b"#}") {
            braces -= 1;
            at += 2;
            continue;
        }
        match byte {
            b'\\' if braces == 0 && quote != Some(b'\'') => {
                start.get_or_insert(at);
                at += 1;
            }
            b'\'' | b'"' if braces == 0 => {
                start.get_or_insert(at);
                match quote {
                    Some(open) if open == byte => quote = None,
                    None => quote = Some(byte),
                    Some(_) => {}
                }
            }
            byte if byte.is_ascii_whitespace() && quote.is_none() && braces == 0 => {
                if let Some(from) = start.take() {
                    words.push(text.get(from..at)?);
                }
            }
            _ => {
                start.get_or_insert(at);
            }
        }
        at += 1;
    }
    if quote.is_some() || braces > 0 {
        return None;
    }
    if let Some(from) = start {
        words.push(text.get(from..)?);
    }
    Some(words)
}

/// Returns name and text of a `name=text` word.
fn pair(word: &str) -> Option<(&str, &str)> {
    // The name may be a template, as in `set_fact: "{{ item }}=1"`, which may have a `=` of its own.
    let from = match (word.find('='), word.find("{{")) {
        (Some(sign), Some(open)) if open < sign => word.find("}}")? + 2,
        _ => 0,
    };
    let at = from + word.get(from..)?.find('=')?;
    let (name, text) = (word.get(..at)?, word.get(at + 1..)?);
    let is_name = name.contains("{{") && name.contains("}}") || !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_name.then_some((name, text))
}

/// Returns a word without the quotes around it.
fn unquoted(text: &str) -> String {
    let inner = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    match inner {
        Some(inner) if text.len() >= 2 => inner.replace("\\\"", "\"").replace("\\'", "'"),
        _ => text.to_owned(),
    }
}

/// Returns a text with the escapes that `k=v` arguments know: `\\n`, `\\t`, `\\\\`, `\\x41`, `\\u00e9` and the like.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let coded = |digits: usize| {
            let code = after.get(1..=digits).and_then(|code| u32::from_str_radix(code, 16).ok());
            code.and_then(char::from_u32).map(|c| (c, digits + 1))
        };
        let plain = |c: char| Some((c, 1));
        let meant = match after.chars().next() {
            Some('n') => plain('\n'),
            Some('t') => plain('\t'),
            Some('r') => plain('\r'),
            Some('a') => plain('\u{7}'),
            Some('b') => plain('\u{8}'),
            Some('f') => plain('\u{c}'),
            Some('v') => plain('\u{b}'),
            Some('\\') => plain('\\'),
            Some('x') => coded(2),
            Some('u') => coded(4),
            Some('U') => coded(8),
            _ => None,
        };
        match meant {
            Some((c, length)) => {
                out.push(c);
                rest = after.get(length..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Splits `k=v` arguments. Words that are no pairs are joined under `rest`, when it has a name; else they are the error.
///
/// # Errors
/// Returns what is wrong, for a person.
pub fn key_values(text: &str, span: Span, rest: Option<&str>) -> Result<Map, String> {
    let words = words(text).ok_or("a quote or a brace is not closed")?;
    let mut arguments = Map::new();
    let mut others = Vec::new();
    for word in words {
        match pair(word) {
            Some((name, value)) => {
                arguments.insert(name.into(), Value::text(&unquoted(&unescaped(value)), span));
            }
            None => others.push(word),
        }
    }
    match (others.is_empty(), rest) {
        (true, _) => {}
        (false, Some(rest)) => {
            arguments.insert(rest.into(), Value::text(&others.join(" "), span));
        }
        (false, None) => return Err(format!("`{}` is not of the form name=value", others.join(" "))),
    }
    Ok(arguments)
}

/// Splits a command line from the arguments among its words. The line itself stays as it was written, blanks and all.
pub fn command_line(text: &str, span: Span, under: &str) -> Map {
    let mut arguments = Map::new();
    let mut line = continued(text.trim());
    // An unclosed quote is the shell's business, not ours: the line goes on as it is.
    for word in words(text).unwrap_or_default() {
        if let Some((name, value)) = pair(word)
            && OF_COMMANDS.contains(&name)
        {
            arguments.insert(name.into(), Value::text(&unquoted(value), span));
            line = without_word(&line, word);
        }
    }
    if !line.is_empty() {
        arguments.insert(under.into(), Value::text(&line, span));
    }
    arguments
}

/// Returns a text with the lines joined that end in a backslash on its own, outside of quotes.
fn continued(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', None) if out.ends_with([' ', '\n']) && rest.as_str().starts_with('\n') => {
                rest.next();
                continue;
            }
            ('\\', None | Some('"')) => {
                out.push(c);
                out.extend(rest.next());
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if open == c => quote = None,
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Returns `line` without the first stand-alone `word`, and without the blanks before it.
fn without_word(line: &str, word: &str) -> String {
    let stands_alone = |at: usize| {
        let before = line.get(..at).is_none_or(|text| text.is_empty() || text.ends_with(char::is_whitespace));
        let after = line.get(at + word.len()..).is_none_or(|text| text.is_empty() || text.starts_with(char::is_whitespace));
        before && after
    };
    let Some((at, _)) = line.match_indices(word).find(|(at, _)| stands_alone(*at)) else { return line.to_owned() };
    let (before, after) = (line.get(..at).unwrap_or_default(), line.get(at + word.len()..).unwrap_or_default());
    format!("{}{after}", before.trim_end()).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(map: &Map) -> String {
        Value::from(map.clone()).to_string()
    }

    #[test]
    fn quotes_and_braces_keep_blanks_together() {
        let map = key_values("src=a dest=\"/x y\" mode={{ m | default('0 6') }}", Span::default(), None).expect("splits");
        assert_eq!(plain(&map), "{'src': 'a', 'dest': '/x y', 'mode': \"{{ m | default('0 6') }}\"}");
    }

    #[test]
    fn a_name_may_be_a_template() {
        let map = key_values("{{ item[1] ~ '=' }}=set", Span::default(), None).expect("splits");
        assert_eq!(plain(&map), "{\"{{ item[1] ~ '=' }}\": 'set'}");
        let map = key_values("user_{{ item.0 }}_x={{ item.1 == 2 }}", Span::default(), None).expect("splits");
        assert_eq!(plain(&map), "{'user_{{ item.0 }}_x': '{{ item.1 == 2 }}'}");
        assert!(pair("a b=c").is_none() && pair("=c").is_none() && pair("a-b=c").is_none());
    }

    #[test]
    fn a_command_line_keeps_its_own_words() {
        let map = command_line("echo  a=b 'c  d' creates=/x", Span::default(), "cmd");
        assert_eq!(plain(&map), "{'creates': '/x', 'cmd': \"echo  a=b 'c  d'\"}");
    }

    #[test]
    fn lines_that_go_on_are_joined_outside_of_quotes() {
        let map = command_line("a \\\n\"b\nc\" 'd \\\ne' \\\n| f\ng\\\nh\n", Span::default(), "cmd");
        assert_eq!(map.get("cmd"), Some(&Value::str("a \"b\nc\" 'd \\\ne' | f\ng\\\nh")));
    }

    #[test]
    fn an_open_quote_is_told() {
        assert!(key_values("a='b", Span::default(), None).is_err());
    }
}
