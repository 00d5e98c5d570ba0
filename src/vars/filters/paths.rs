//! Filters of paths; those that look at files look at the controller's.

use std::path::PathBuf;

use crate::value::Value;
use crate::vars::template::live::{Outcome, fail};

use super::{Call, Filter, items_of, known};

pub(super) const FILTERS: &[Filter] = &[
    known("basename", |call| Ok(Value::str(call.subject_text()?.rsplit('/').next().unwrap_or_default()))),
    known("dirname", |call| Ok(Value::from(dirname(&call.subject_text()?)))),
    known("splitext", |call| {
        let (root, extension) = split_extension(&call.subject_text()?);
        Ok(Value::list([Value::from(root), Value::from(extension)]))
    }),
    known("path_join", path_join),
    known("normpath", |call| Ok(Value::from(normal(&call.subject_text()?)))),
    known("relpath", relpath),
    known("commonpath", commonpath),
    known("expanduser", |call| Ok(Value::from(expand_user(call, &call.subject_text()?)))),
    known("expandvars", |call| Ok(Value::from(expand_vars(call, &call.subject_text()?)))),
    known("realpath", realpath),
    known("fileglob", |call| {
        let pattern = call.subject_text()?;
        Ok(Value::list(
            crate::vars::lookups::files::glob(call.run, &pattern).into_iter().map(|path| Value::from(path.to_string_lossy().into_owned())),
        ))
    }),
    known("win_basename", |call| Ok(Value::str(call.subject_text()?.rsplit(['\\', '/']).next().unwrap_or_default()))),
    known("win_dirname", |call| {
        let text = call.subject_text()?;
        Ok(Value::str(text.rfind(['\\', '/']).map_or("", |at| &text[..at])))
    }),
    known("win_splitdrive", |call| {
        let text = call.subject_text()?;
        let at = if text.as_bytes().get(1) == Some(&b':') { 2 } else { 0 };
        Ok(Value::list([Value::str(&text[..at]), Value::str(&text[at..])]))
    }),
];

fn dirname(path: &str) -> String {
    let head = path.rfind('/').map_or("", |at| &path[..=at]);
    let trimmed = head.trim_end_matches('/');
    if trimmed.is_empty() { head.to_owned() } else { trimmed.to_owned() }
}

fn split_extension(path: &str) -> (String, String) {
    let name_at = path.rfind('/').map_or(0, |at| at + 1);
    let name = &path[name_at..];
    let lead = name.len() - name.trim_start_matches('.').len();
    match name[lead..].rfind('.') {
        Some(at) => (path[..name_at + lead + at].to_owned(), name[lead + at..].to_owned()),
        None => (path.to_owned(), String::new()),
    }
}

/// Joins as Python's `os.path.join`: an absolute part starts anew.
pub(in crate::vars) fn join(parts: &[String]) -> String {
    let mut out = String::new();
    for (at, part) in parts.iter().enumerate() {
        if at == 0 || part.starts_with('/') {
            out.clone_from(part);
        } else {
            if !out.is_empty() && !out.ends_with('/') {
                out.push('/');
            }
            out.push_str(part);
        }
    }
    out
}

fn path_join(call: &mut Call<'_, '_>) -> Outcome<Value> {
    match &call.subject {
        Value::Str(text) => Ok(Value::Str(text.clone())),
        Value::List(parts) => Ok(Value::from(join(&parts.iter().map(ToString::to_string).collect::<Vec<_>>()))),
        other => fail(format!("`path_join` takes a list of texts, not {}", other.type_name())),
    }
}

/// Returns the path without `.`, `..` and double slashes.
pub(in crate::vars) fn normal(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn absolute(call: &Call<'_, '_>, path: &str) -> String {
    let folder = call.run.engine.world().folder();
    normal(&join(&[folder.to_string_lossy().into_owned(), path.to_owned()]))
}

fn relpath(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let start = call.text_or(0, "start", ".")?;
    let (path, start) = (absolute(call, &call.subject_text()?), absolute(call, &start));
    let split = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (path, start) = (split(&path), split(&start));
    let common = path.iter().zip(&start).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_owned(), start.len() - common);
    let parts: Vec<String> = up.chain(path.get(common..).unwrap_or_default().iter().cloned()).collect();
    Ok(Value::from(if parts.is_empty() { ".".to_owned() } else { parts.join("/") }))
}

fn commonpath(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let Some(paths) = items_of(&call.subject).filter(|paths| !paths.is_empty()) else { return fail("`commonpath` takes a list of paths") };
    let paths: Vec<String> = paths.iter().map(|path| normal(&path.to_string())).collect();
    let mut common: Vec<&str> = paths.first().map(|path| path.split('/').collect()).unwrap_or_default();
    for path in &paths {
        let same = common.iter().zip(path.split('/')).take_while(|(a, b)| **a == *b).count();
        common.truncate(same);
    }
    let joined = common.join("/");
    Ok(Value::from(if joined.is_empty() && paths.iter().all(|path| path.starts_with('/')) { "/".to_owned() } else { joined }))
}

fn expand_user(call: &Call<'_, '_>, path: &str) -> String {
    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            call.run.engine.world().env("HOME").map_or_else(|| path.to_owned(), |home| home + rest)
        }
        _ => path.to_owned(),
    }
}

fn expand_vars(call: &Call<'_, '_>, path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, end) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, _)) => (name, name.len() + 2),
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        match call.run.engine.world().env(name).filter(|_| !name.is_empty()) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[at..=at + end]),
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

fn realpath(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let path = PathBuf::from(absolute(call, &call.subject_text()?));
    // What does not exist stays as written below the last part that does.
    let mut tail = Vec::new();
    let mut head = path.as_path();
    loop {
        if let Ok(real) = std::fs::canonicalize(head) {
            let mut real = real;
            real.extend(tail.iter().rev());
            return Ok(Value::from(real.to_string_lossy().into_owned()));
        }
        let (Some(name), Some(parent)) = (head.file_name(), head.parent()) else { break };
        tail.push(name.to_owned());
        head = parent;
    }
    Ok(Value::from(path.to_string_lossy().into_owned()))
}
