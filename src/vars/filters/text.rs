//! Filters of texts.

use crate::value::Value;
use crate::vars::template::live::{Live, Outcome, fail};
use crate::vars::template::text_methods::{capitalized, lines as python_lines, split, stripped};

use super::{Call, Filter, known};

pub(super) const FILTERS: &[Filter] = &[
    known("lower", |call| Ok(Value::from(call.subject.to_string().to_lowercase()))),
    known("upper", |call| Ok(Value::from(call.subject.to_string().to_uppercase()))),
    known("capitalize", |call| Ok(Value::from(capitalized(&call.subject.to_string())))),
    known("title", title),
    known("trim", |call| {
        let chars = call.text(0, "chars")?;
        Ok(Value::str(stripped(&call.subject.to_string(), chars.as_deref(), true, true)))
    }),
    known("replace", |call| {
        let (old, new) = (call.needed(0, "old")?.to_string(), call.needed(1, "new")?.to_string());
        let text = call.subject.to_string();
        Ok(Value::from(match call.int(2, "count")?.and_then(|count| usize::try_from(count).ok()) {
            Some(count) => text.replacen(&old, &new, count),
            None => text.replace(&old, &new),
        }))
    }),
    known("center", |call| {
        let width = call.size(0, "width", 80)?;
        let text = call.subject.to_string();
        let missing = width.saturating_sub(text.chars().count());
        let left = missing / 2 + (missing & width & 1);
        Ok(Value::from(format!("{}{text}{}", " ".repeat(left), " ".repeat(missing - left))))
    }),
    known("split", |call| {
        let separator = call.text(0, "sep")?;
        let most = call.int(1, "maxsplit")?.and_then(|most| usize::try_from(most).ok());
        Ok(Value::from(split(&call.subject_text()?, separator.as_deref(), most, false)?))
    }),
    known("format", |call| {
        let (positional, named) = (call.rest(0), call.named());
        let pattern = call.printed();
        let right = if named.is_empty() {
            Live::Tuple(std::rc::Rc::new(positional.into_iter().map(Live::Value).collect()))
        } else {
            Live::Value(Value::map(named.into_iter().map(|(name, value)| (name.to_string(), value))))
        };
        crate::vars::template::format::percent(call.run, &pattern, &right).map(Value::from)
    }),
    known("quote", |call| {
        let text = if call.subject.is_null() { String::new() } else { call.subject.to_string() };
        Ok(Value::from(shell_quoted(&text)))
    }),
    known("pprint", |call| {
        call.argument(0, "verbose");
        Ok(Value::from(crate::vars::template::format::repr(&call.subject)))
    }),
    known("wordcount", |call| {
        let text = call.subject.to_string();
        Ok(Value::from(text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).count()))
    }),
    known("indent", indent),
    known("truncate", truncate),
    known("wordwrap", wordwrap),
    known("comment", comment),
];

fn title(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let mut out = String::new();
    let mut inside = false;
    for c in call.subject.to_string().chars() {
        if inside {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        inside = !(c.is_whitespace() || "-([{<".contains(c));
    }
    Ok(Value::from(out))
}

/// Quotes for a POSIX shell, as Python's `shlex.quote`.
pub(in crate::vars) fn shell_quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(safe) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\"'\"'")) }
}

fn indent(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let width = match call.argument(0, "width") {
        Some(Value::Int(width)) => " ".repeat(usize::try_from(width).unwrap_or(0)),
        Some(Value::Str(text)) => text.to_string(),
        None => "    ".to_owned(),
        Some(other) => return fail(format!("`indent` takes a number or a text, not {}", other.type_name())),
    };
    let first = call.flag(1, "first", false)?;
    let blank = call.flag(2, "blank", false)?;
    let text = call.subject_text()? + "\n";
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        if (at > 0 && (blank || !line.is_empty())) || (at == 0 && first) {
            out.push_str(&width);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

fn truncate(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let length = call.size(0, "length", 255)?;
    let kill_words = call.flag(1, "killwords", false)?;
    let end = call.text_or(2, "end", "...")?;
    let leeway = call.size(3, "leeway", 5)?;
    let text = call.subject.to_string();
    let count = text.chars().count();
    if length < end.chars().count() {
        return fail("`truncate` takes a length that has room for its end");
    }
    if count <= length + leeway {
        return Ok(Value::from(text));
    }
    let kept: String = text.chars().take(length - end.chars().count()).collect();
    let kept = if kill_words { kept.as_str() } else { kept.rsplit_once(' ').map_or(kept.as_str(), |(head, _)| head) };
    Ok(Value::from(format!("{kept}{end}")))
}

fn wordwrap(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let width = call.int(0, "width")?.unwrap_or(79);
    let break_long = call.flag(1, "break_long_words", true)?;
    let newline = call.text(2, "wrapstring")?.unwrap_or_else(|| "\n".to_owned());
    let hyphens = call.flag(3, "break_on_hyphens", true)?;
    let text = call.subject_text()?;
    let Some(width) = usize::try_from(width).ok().filter(|width| *width > 0) else {
        return fail("`wordwrap` takes a width of at least 1");
    };
    let lines = python_lines(&text, false).into_iter().map(|line| wrapped(&line, width, break_long, hyphens).join(&newline));
    Ok(Value::from(lines.collect::<Vec<_>>().join(&newline)))
}

/// Splits a line where it may be broken: into words, the blanks between them and, with `hyphens`, the parts of compound words.
fn chunks(line: &str, hyphens: bool) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let chars: Vec<char> = line.chars().collect();
    let letter = |at: usize| chars.get(at).is_some_and(|c| c.is_alphabetic());
    let mut word = String::new();
    for (at, c) in chars.iter().enumerate() {
        let blank = c.is_whitespace();
        if !word.is_empty() && blank != word.ends_with(char::is_whitespace) {
            out.push(std::mem::take(&mut word));
        }
        word.push(*c);
        // A hyphen with two letters before it and two behind it (a hyphen may stand between those).
        let before = at >= 2 && letter(at - 1) && (letter(at - 2) || (at >= 3 && chars.get(at - 2) == Some(&'-') && letter(at - 3)));
        let behind = letter(at + 1) && (letter(at + 2) || (chars.get(at + 2) == Some(&'-') && letter(at + 3)));
        if hyphens && *c == '-' && before && behind {
            out.push(std::mem::take(&mut word));
        }
    }
    out.extend(Some(word).filter(|word| !word.is_empty()));
    out
}

/// Fills lines up to `width`, as Python's `textwrap`: blanks at the end of a line go, those at the start of the first stay.
fn wrapped(line: &str, width: usize, break_long: bool, hyphens: bool) -> Vec<String> {
    let mut rest: std::collections::VecDeque<String> = chunks(line, hyphens).into();
    let size = |text: &str| text.chars().count();
    let blank = |text: &str| text.chars().all(char::is_whitespace);
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let mut current: Vec<String> = Vec::new();
        let mut length = 0;
        if !lines.is_empty() && rest.front().is_some_and(|chunk| blank(chunk)) {
            rest.pop_front();
        }
        while rest.front().is_some_and(|chunk| length + size(chunk) <= width) {
            let Some(chunk) = rest.pop_front() else { break };
            length += size(&chunk);
            current.push(chunk);
        }
        if let Some(long) = rest.front_mut().filter(|chunk| size(chunk) > width) {
            if break_long {
                let room = width.saturating_sub(length).max(1);
                // A compound word is cut behind its last hyphen that fits.
                let head: String = long.chars().take(room).collect();
                let cut = head.rfind('-').filter(|at| hyphens && size(long) > room && head[..*at].contains(|c| c != '-'));
                let cut = cut.map_or(head.len(), |at| at + 1);
                let tail = long.split_off(cut);
                current.push(std::mem::replace(long, tail));
                if long.is_empty() {
                    rest.pop_front();
                }
            } else if current.is_empty() {
                current.extend(rest.pop_front());
            }
        }
        if current.last().is_some_and(|chunk| blank(chunk)) {
            current.pop();
        }
        if !current.is_empty() {
            lines.push(current.concat());
        }
    }
    lines
}

/// How a kind of comment looks: begin, decoration, end.
const COMMENTS: &[(&str, &str, &str, &str)] = &[
    ("plain", "", "# ", ""),
    ("erlang", "", "% ", ""),
    ("c", "", "// ", ""),
    ("cblock", "/*", " * ", " */"),
    ("xml", "<!--", " - ", "-->"),
];

fn comment(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let style = call.text_or(0, "style", "plain")?;
    let Some((_, begin, decoration, end)) = COMMENTS.iter().find(|(name, ..)| *name == style) else {
        return fail(format!("`comment` knows plain, erlang, c, cblock and xml, not `{style}`"));
    };
    let mut settings: std::collections::HashMap<String, Value> =
        call.named().into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    let mut text = |name: &str, or: &str| settings.remove(name).map_or_else(|| or.to_owned(), |value| value.to_string());
    let newline = text("newline", "\n");
    let (begin, end) = (text("beginning", begin), text("end", end));
    let decoration = text("decoration", decoration);
    let (prefix, postfix) = (text("prefix", decoration.trim_end()), text("postfix", decoration.trim_end()));
    let mut count =
        |name: &str| settings.remove(name).and_then(|value| value.as_int()).and_then(|count| usize::try_from(count).ok()).unwrap_or(1);
    let (before, after) = (count("prefix_count"), count("postfix_count"));
    if let Some(name) = settings.keys().next() {
        return fail(format!("the filter `comment` has no argument `{name}`"));
    }
    let subject = call.subject_text()?;
    let bare = decoration.trim_end();
    let lined = format!("{decoration}{}", subject.replace(&newline, &format!("{newline}{decoration}")));
    // Blanks go where a line holds nothing but the decoration; the last line keeps them.
    let lined = lined.replace(&format!("{decoration}{newline}"), &format!("{bare}{newline}"));
    let mut out = String::new();
    if !begin.is_empty() {
        out.push_str(&format!("{begin}{newline}"));
    }
    if !prefix.is_empty() {
        let line = if prefix == newline { newline.clone() } else { format!("{prefix}{newline}") };
        out.push_str(&line.repeat(before));
    }
    out.push_str(&lined);
    out.push_str(&format!("{newline}{postfix}").repeat(after));
    if !end.is_empty() {
        out.push_str(&format!("{newline}{end}"));
    }
    Ok(Value::from(out))
}
