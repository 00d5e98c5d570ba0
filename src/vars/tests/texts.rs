//! Tests of texts: patterns, addresses, vaults.

use crate::value::Value;
use crate::vars::filters::regex::compiled;
use crate::vars::template::live::{Live, Outcome, fail};

use super::{Given, Test, known, live};

pub(super) const TESTS: &[Test] = &[
    known("match", |given| pattern(given, "match")),
    known("search", |given| pattern(given, "search")),
    known("regex", |given| pattern(given, "search")),
    known("uri", |given| Ok(address(given, None))),
    known("url", |given| Ok(address(given, None) && given.subject.as_str().is_some_and(has_host))),
    known("urn", |given| Ok(address(given, Some("urn")))),
    known("vaulted_file", |given| {
        let path = std::path::PathBuf::from(given.subject.to_string());
        match given.run.engine.world().is_vaulted_file(&path) {
            Ok(is_vaulted) => Ok(is_vaulted),
            Err(why) => fail(format!("cannot read `{}`: {why}", path.display())),
        }
    }),
    live("vault_encrypted", |run, subject, _| {
        let Live::Value(Value::Str(text)) = subject else { return Ok(false) };
        Ok(text.starts_with("$ANSIBLE_VAULT;") || run.engine.world().is_vaulted(text))
    }),
];

fn pattern(given: &Given<'_, '_>, default: &str) -> Outcome<bool> {
    // Anything can be searched, as the text that it is printed as.
    let text = given.subject.to_string();
    let pattern = given.argument(0, "pattern").map(ToString::to_string).unwrap_or_default();
    let kind = given.argument(3, "match_type").filter(|_| given.name == "regex").map_or_else(|| default.to_owned(), ToString::to_string);
    let pattern = match kind.as_str() {
        "match" => format!("\\A(?:{pattern})"),
        "fullmatch" => format!("\\A(?:{pattern})\\Z"),
        _ => pattern,
    };
    let regex = compiled(&pattern, given.flag(1, "ignorecase"), given.flag(2, "multiline"), false)?;
    match regex.is_match(&text) {
        Ok(found) => Ok(found),
        Err(error) => fail(format!("the pattern `{pattern}` took too long or cannot be used: {error}")),
    }
}

/// Returns the scheme of an address, small; empty where it has none.
fn scheme(text: &str) -> (String, &str) {
    let named = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    match text.trim_start_matches(|c: char| c <= ' ').split_once(':') {
        Some((scheme, rest)) if named(scheme) => (scheme.to_lowercase(), rest),
        _ => (String::new(), text),
    }
}

/// Any text is an address, as in Ansible; what is asked is its scheme.
fn address(given: &Given<'_, '_>, wanted: Option<&str>) -> bool {
    let text = match &given.subject {
        Value::Str(text) => text.to_string(),
        Value::Null => String::new(),
        _ => return false,
    };
    let (scheme, _) = scheme(&text);
    match (wanted, given.argument(0, "schemes")) {
        (Some(wanted), _) => scheme == wanted,
        (None, Some(Value::List(schemes))) if !schemes.is_empty() => schemes.iter().any(|known| known.as_str() == Some(&*scheme)),
        (None, Some(Value::Str(schemes))) if !schemes.is_empty() => schemes.contains(&scheme),
        _ => true,
    }
}

fn has_host(text: &str) -> bool {
    let (scheme, rest) = scheme(text);
    let host = rest.strip_prefix("//").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    scheme == "file" || host.is_some_and(|host| !host.is_empty())
}
