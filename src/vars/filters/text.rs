//! Filters of texts.

use crate::value::Value;
use crate::vars::template::live::{Live, Outcome, fail};
use crate::vars::template::text_methods::{capitalized, split, stripped};

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
        let pattern = call.subject_text()?;
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
    let text = call.subject.to_string() + "\n";
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
    let width = call.size(0, "width", 79)?.max(1);
    let break_long = call.flag(1, "break_long_words", true)?;
    let newline = call.text(2, "wrapstring")?.unwrap_or_else(|| "\n".to_owned());
    call.flag(3, "break_on_hyphens", true)?;
    let text = call.subject.to_string();
    let lines = text.lines().map(|line| {
        let mut wrapped: Vec<String> = vec![String::new()];
        for word in line.split(' ') {
            let mut word = word.to_owned();
            let current = wrapped.last().map_or(0, |line| line.chars().count());
            let fits = current + usize::from(current > 0) + word.chars().count() <= width;
            if !fits && current > 0 {
                wrapped.push(String::new());
            }
            while break_long && word.chars().count() > width {
                let head: String = word.chars().take(width).collect();
                word = word.chars().skip(width).collect();
                if let Some(last) = wrapped.last_mut() {
                    last.push_str(&head);
                }
                wrapped.push(String::new());
            }
            if let Some(last) = wrapped.last_mut() {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(&word);
            }
        }
        wrapped.join(&newline)
    });
    Ok(Value::from(lines.collect::<Vec<_>>().join(&newline)))
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
    let subject = call.subject.to_string();
    let line = |line: &str| if line.is_empty() { decoration.trim_end().to_owned() } else { format!("{decoration}{line}") };
    let mut lines = Vec::new();
    if !begin.is_empty() {
        lines.push(begin);
    }
    if !prefix.is_empty() {
        lines.extend(std::iter::repeat_n(prefix, before));
    }
    lines.extend(subject.split('\n').map(line));
    if !postfix.is_empty() {
        lines.extend(std::iter::repeat_n(postfix, after));
    }
    if !end.is_empty() {
        lines.push(end);
    }
    Ok(Value::from(lines.join(&newline)))
}
