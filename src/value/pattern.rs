//! Regular expressions as Python reads them, for modules whose arguments were written for it.

use fancy_regex::{Captures, Regex};

/// Compiles a pattern. `flags` are letters of `i`, `m` and `s`.
///
/// # Errors
/// Says what is wrong with the pattern.
pub fn compile(pattern: &str, flags: &str) -> Result<Regex, String> {
    let text = translated(pattern, flags.contains('m'));
    let text = if flags.is_empty() { text } else { format!("(?{flags}){text}") };
    Regex::new(&text).map_err(|error| format!("`{pattern}` is not a regular expression: {}", first_line(&error.to_string())))
}

fn first_line(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().trim_start_matches("error: ").to_owned()
}

/// Rewrites what Python means otherwise: `$` also before a newline at the end, `\Z` only at the very end.
fn translated(pattern: &str, multiline: bool) -> String {
    let multiline = multiline || pattern.starts_with("(?m") || pattern.starts_with("(?sm") || pattern.starts_with("(?im");
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    // Some(true) right after `[`, where a `]` is still a letter.
    let mut class: Option<bool> = None;
    while let Some(c) = chars.next() {
        match (c, class) {
            ('\\', _) => {
                let next = chars.next();
                match next {
                    Some('Z') if class.is_none() => out.push_str("\\z"),
                    Some('/') => out.push('/'),
                    Some(next @ ('"' | '\'' | '=' | ':' | ',' | ';' | '@' | '%' | '!' | '`' | '_' | ' ' | '<' | '>')) => {
                        // Python lets any punctuation be escaped; here some of these escapes mean something.
                        out.push(next);
                    }
                    Some(next) => {
                        out.push('\\');
                        out.push(next);
                    }
                    None => out.push('\\'),
                }
                class = class.map(|_| false);
            }
            ('[', None) => {
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
                class = Some(true);
            }
            (']', Some(true)) => {
                out.push_str("\\]");
                class = Some(false);
            }
            (']', Some(false)) => {
                out.push(']');
                class = None;
            }
            // Set operations are no Python: these are plain letters there.
            ('[' | '&' | '~', Some(_)) => {
                out.push('\\');
                out.push(c);
                class = Some(false);
            }
            ('$', None) if !multiline => out.push_str("(?=\\n?\\z)"),
            (c, Some(_)) => {
                out.push(c);
                class = Some(false);
            }
            (c, None) => out.push(c),
        }
    }
    out
}

/// Returns `template` with its references to groups filled in: `\1`, `\g<1>`, `\g<name>`.
///
/// # Errors
/// Names a group that the pattern does not have.
pub fn expand(captures: &Captures<'_>, template: &str) -> Result<String, String> {
    let mut out = String::with_capacity(template.len());
    let mut chars = template.chars().peekable();
    let group = |name: &str| -> Result<String, String> {
        let missing = || format!("`{template}` names the group `{name}`, which the regular expression does not have");
        match name.parse::<usize>() {
            Ok(number) if number >= captures.len() => Err(missing()),
            Ok(number) => Ok(captures.get(number).map(|found| found.as_str().to_owned()).unwrap_or_default()),
            Err(_) => captures.name(name).map(|found| found.as_str().to_owned()).ok_or_else(missing),
        }
    };
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(digit @ '1'..='9') => {
                let mut number = String::from(digit);
                if let Some(second) = chars.next_if(char::is_ascii_digit) {
                    number.push(second);
                }
                out.push_str(&group(&number)?);
            }
            Some('g') if chars.peek() == Some(&'<') => {
                chars.next();
                let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                out.push_str(&group(&name)?);
            }
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('0') => out.push('\0'),
            Some('\\') | None => out.push('\\'),
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('v') => out.push('\u{b}'),
            Some(letter) if letter.is_ascii_alphabetic() => return Err(format!("`{template}` has the unknown escape `\\{letter}`")),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    Ok(out)
}

/// Says what is wrong with a replacement, whatever it is applied to.
///
/// # Errors
/// Names a letter behind a backslash that has no meaning there.
pub fn check_replacement(template: &str) -> Result<(), String> {
    let mut chars = template.chars();
    while let Some(c) = chars.next() {
        if c == '\\'
            && let Some(next) = chars.next()
            && next.is_ascii_alphabetic()
            && !"abfgnrtv".contains(next)
        {
            return Err(format!("`{template}` has the unknown escape `\\{next}`"));
        }
    }
    Ok(())
}

/// Replaces every match, and returns the text and how many there were.
///
/// # Errors
/// As [`expand`]; or when the pattern takes too long on this text.
pub fn replace_all(pattern: &Regex, text: &str, template: &str) -> Result<(String, usize), String> {
    check_replacement(template)?;
    let mut out = String::with_capacity(text.len());
    let (mut end, mut count) = (0, 0);
    for captures in pattern.captures_iter(text) {
        let captures = captures.map_err(|error| format!("the regular expression cannot be applied: {error}"))?;
        let Some(whole) = captures.get(0) else { continue };
        out.push_str(text.get(end..whole.start()).unwrap_or_default());
        out.push_str(&expand(&captures, template)?);
        end = whole.end();
        count += 1;
    }
    out.push_str(text.get(end..).unwrap_or_default());
    Ok((out, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(pattern: &str, flags: &str, text: &str, template: &str) -> String {
        replace_all(&compile(pattern, flags).expect("a pattern"), text, template).expect("replaced").0
    }

    #[test]
    fn patterns_mean_what_python_means() {
        assert_eq!(replaced(r"^(\w+)=.*$", "m", "a=1\nb=2\n", r"\1=9"), "a=9\nb=9\n");
        assert_eq!(replaced(r"x$", "", "x\n", "y"), "y\n");
        assert_eq!(replaced(r"x\Z", "", "x\n", "y"), "x\n");
        assert_eq!(replaced(r"(?P<n>a)b", "", "ab", r"\g<n>\g<1>0"), "aa0");
        assert_eq!(replaced(r"[][&~]", "", "a[b]c&d~", "-"), "a-b-c-d-");
        assert_eq!(replaced(r"\/etc\/(.+)\=", "", "/etc/x=1", r"\1:"), "x:1");
        assert_eq!(replaced(r"(?<=a)b(?!c)", "", "abc ab", "X"), "abc aX");
    }

    #[test]
    fn a_group_that_is_not_there_is_named() {
        let failure = replace_all(&compile("a", "").expect("a pattern"), "a", r"\2").expect_err("no group");
        assert_eq!(failure, r"`\2` names the group `2`, which the regular expression does not have");
        assert!(compile("(", "").expect_err("open").starts_with("`(` is not a regular expression"));
    }
}
