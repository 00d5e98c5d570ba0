//! Tests of texts: patterns, addresses, vaults.

use crate::value::Value;
use crate::vars::filters::regex::compiled;
use crate::vars::template::live::{Live, Outcome, fail};

use super::{Given, Test, known, live};

pub(super) const TESTS: &[Test] = &[
    known("match", |given| pattern(given, "match")),
    known("search", |given| pattern(given, "search")),
    known("regex", |given| pattern(given, "search")),
    known("uri", |given| address(given, None)),
    known("url", |given| {
        address(given, Some(&["ftp", "ftps", "http", "https", "ws", "wss", "sftp", "ssh", "git", "file", "ldap", "ldaps"]))
    }),
    known("urn", |given| {
        Ok(given.subject.as_str().is_some_and(|text| text.to_ascii_lowercase().starts_with("urn:") && text.split(':').count() > 2))
    }),
    known("vaulted_file", |given| {
        let path = std::path::PathBuf::from(given.subject.to_string());
        match given.run.engine.world().read(&path) {
            Ok(bytes) => Ok(bytes.starts_with(b"$ANSIBLE_VAULT;")),
            Err(why) => fail(format!("cannot read `{}`: {why}", path.display())),
        }
    }),
    live("vault_encrypted", |_, subject, _| Ok(matches!(subject, Live::Value(Value::Str(text)) if text.starts_with("$ANSIBLE_VAULT;")))),
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

fn address(given: &Given<'_, '_>, default: Option<&[&str]>) -> Outcome<bool> {
    let Some(text) = given.subject.as_str() else { return Ok(false) };
    let Some((scheme, rest)) = text.split_once(':') else { return Ok(false) };
    let named = scheme.chars().next().is_some_and(|c| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let allowed = match given.argument(0, "schemes") {
        Some(Value::List(schemes)) if !schemes.is_empty() => schemes.iter().any(|known| known.as_str() == Some(scheme)),
        _ => default.is_none_or(|known| known.contains(&scheme)),
    };
    let has_host =
        default.is_none() || rest.strip_prefix("//").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') || scheme == "file");
    Ok(named && allowed && has_host && !rest.is_empty())
}
