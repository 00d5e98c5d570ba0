//! `lookup('ini')`: values of INI and Java properties files, read as Python's configparser does.

use crate::value::Value;
use crate::value::arguments::to_bool;
use crate::vars::filters::regex::compiled;
use crate::vars::template::Evaluator;
use crate::vars::template::live::{Outcome, fail};

use super::files::words;
use super::{Lookup, Request, lookup};

pub(super) const LOOKUPS: &[Lookup] = &[lookup("ini", ini)];

/// How deep values may refer to each other.
const DEPTH: usize = 10;

#[derive(Clone)]
struct Options {
    file: String,
    section: String,
    encoding: String,
    default: Option<Value>,
    is_properties: bool,
    by_pattern: bool,
    case_sensitive: bool,
    allow_none: bool,
    interpolation: bool,
}

impl Options {
    fn set(&mut self, name: &str, value: &Value) -> Outcome<()> {
        let yes = |value: &Value| match to_bool(value) {
            Some(yes) => Ok(yes),
            None => fail(format!("the option `{name}` has an invalid value: `{value}` is neither yes nor no")),
        };
        match name {
            "file" => self.file = value.to_string(),
            "section" => self.section = value.to_string(),
            "encoding" => self.encoding = value.to_string(),
            "default" => self.default = Some(value.clone()),
            "type" => self.is_properties = value.to_string() == "properties",
            "re" => self.by_pattern = yes(value)?,
            "case_sensitive" => self.case_sensitive = yes(value)?,
            "allow_none" | "allow_no_value" => self.allow_none = yes(value)?,
            "interpolation" => self.interpolation = yes(value)?,
            other => return fail(format!("'{other}' is not a valid option")),
        }
        Ok(())
    }
}

const NAMES: &[&str] =
    &["file", "section", "encoding", "default", "type", "re", "case_sensitive", "allow_none", "allow_no_value", "interpolation"];

/// A key with its value, where it has one.
type Entry = (String, Option<String>);

fn ini(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let mut options = Options {
        file: "ansible.ini".to_owned(),
        section: "global".to_owned(),
        encoding: "utf-8".to_owned(),
        default: None,
        is_properties: false,
        by_pattern: false,
        case_sensitive: false,
        allow_none: false,
        interpolation: true,
    };
    for name in NAMES {
        if let Some(value) = request.option(name) {
            options.set(name, &value)?;
        }
    }
    let mut out = Vec::new();
    for term in &request.terms {
        let text = term.to_string();
        let mut options = options.clone();
        let mut key = Vec::new();
        for word in words(&text) {
            match word.split_once('=') {
                Some((name, value)) => options.set(name, &Value::str(value.trim_matches(['"', '\''])))?,
                None => key.push(word),
            }
        }
        if key.is_empty() {
            return fail("No key to look up was provided as first term within string inline options");
        }
        out.extend(found(request.run, &options, &key.join(" "))?);
    }
    Ok(out)
}

fn found(run: &Evaluator<'_>, options: &Options, key: &str) -> Outcome<Vec<Value>> {
    let sections = sections(&text(run, options)?, options)?;
    let wanted = if options.is_properties { "java_properties" } else { &options.section };
    let Some((_, entries)) = sections.iter().find(|(name, _)| name == wanted) else {
        return fail(format!("No section: '{wanted}' in `{}`", options.file));
    };
    let defaults = sections.iter().find(|(name, _)| name == "DEFAULT").map_or(&[][..], |(_, entries)| entries);
    let all = || entries.iter().chain(defaults.iter().filter(|(name, _)| !entries.iter().any(|(own, _)| own == name)));
    let value = |text: &Option<String>| -> Outcome<Option<Value>> {
        let Some(text) = text else { return Ok(None) };
        let lookup = |name: &str| all().find(|(known, _)| *known == folded(name, options)).and_then(|(_, value)| value.clone());
        let text = if options.interpolation { interpolated(text, &lookup, DEPTH)? } else { text.clone() };
        Ok(Some(Value::from(text)))
    };
    if options.by_pattern {
        let regex = compiled(&format!("\\A(?:{key})"), !options.case_sensitive, false, false)?;
        let matching = entries.iter().filter(|(name, _)| regex.is_match(name).unwrap_or(false));
        let values = matching.map(|(_, text)| value(text)).collect::<Outcome<Vec<_>>>()?;
        return Ok(values.into_iter().flatten().collect());
    }
    let key = folded(key, options);
    match all().find(|(name, _)| *name == key) {
        Some((_, text)) => Ok(value(text)?.into_iter().collect()),
        None => Ok(match &options.default {
            Some(Value::List(several)) => several.to_vec(),
            Some(one) => vec![one.clone()],
            None => vec![Value::str("")],
        }),
    }
}

/// Returns the text of the file in its encoding.
fn text(run: &Evaluator<'_>, options: &Options) -> Outcome<String> {
    let Some(encoding) = encoding_rs::Encoding::for_label(options.encoding.as_bytes()) else {
        return fail(format!("there is no encoding `{}`", options.encoding));
    };
    if encoding == encoding_rs::UTF_8 {
        return super::files::read(run, "files", &options.file);
    }
    let world = run.engine.world();
    let Some(path) = world.find("files", &options.file) else { return fail(format!("there is no file `{}`", options.file)) };
    match world.read(&path) {
        Ok(bytes) => Ok(encoding.decode(&bytes).0.into_owned()),
        Err(why) => fail(format!("cannot read `{}`: {why}", path.display())),
    }
}

fn folded(name: &str, options: &Options) -> String {
    if options.case_sensitive { name.to_owned() } else { name.to_lowercase() }
}

/// Reads the sections of a file: comments stand on lines of their own, and an indented line goes on with the value above.
fn sections(text: &str, options: &Options) -> Outcome<Vec<(String, Vec<Entry>)>> {
    let mut sections: Vec<(String, Vec<Entry>)> = Vec::new();
    if options.is_properties {
        sections.push(("java_properties".to_owned(), Vec::new()));
    }
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name) {
            if sections.iter().any(|(known, _)| known == name && name != "DEFAULT") {
                return fail(format!("`{}`: section '{name}' already exists", options.file));
            }
            sections.push((name.to_owned(), Vec::new()));
            continue;
        }
        let Some((section, entries)) = sections.last_mut() else {
            return fail(format!("`{}`: the line `{bare}` is before the first section", options.file));
        };
        if line.starts_with(char::is_whitespace)
            && let Some((_, Some(value))) = entries.last_mut()
        {
            value.push('\n');
            value.push_str(bare);
            continue;
        }
        let (key, value) = match bare.split_once(['=', ':']) {
            Some((key, value)) => (key.trim_end(), Some(value.trim_start().to_owned())),
            None if options.allow_none => (bare, None),
            None => {
                let wrong = format!("`{}`: the line `{bare}` is no `key = value`; `allow_none=true` lets it be", options.file);
                return fail(wrong);
            }
        };
        let key = folded(key, options);
        if entries.iter().any(|(known, _)| *known == key) {
            return fail(format!("Duplicate option in '{}': '{key}' in section '{section}'", options.file));
        }
        entries.push((key, value));
    }
    Ok(sections)
}

/// Puts other values of the section in the place of `%(name)s`, and `%` in that of `%%`.
fn interpolated(text: &str, value: &dyn Fn(&str) -> Option<String>, depth: usize) -> Outcome<String> {
    if depth == 0 {
        return fail(format!("the values of `{text}` refer to each other without end"));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|rest| rest.split_once(")s")) {
            match value(name) {
                Some(found) => out.push_str(&interpolated(&found, value, depth - 1)?),
                None => return fail(format!("`{text}` refers to `{name}`, which is not there; `interpolation=false` lets it be")),
            }
            rest = after;
        } else {
            return fail(format!("'%' must be followed by '%' or '(' in `{text}`; `interpolation=false` lets it be"));
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_refer_to_others_but_not_without_end() {
        let value = |name: &str| match name {
            "home" => Some("/home/%(user)s".to_owned()),
            "user" => Some("ada".to_owned()),
            "me" => Some("%(me)s".to_owned()),
            _ => None,
        };
        assert_eq!(interpolated("%(home)s/100%%", &value, DEPTH).ok().as_deref(), Some("/home/ada/100%"));
        assert!(interpolated("%(me)s", &value, DEPTH).is_err());
        assert!(interpolated("%(nobody)s", &value, DEPTH).is_err());
        assert!(interpolated("50%", &value, DEPTH).is_err());
    }
}
