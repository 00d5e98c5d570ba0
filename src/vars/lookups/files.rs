//! Lookups that read files of the controller.

use std::path::PathBuf;

use crate::source::Diagnostic;
use crate::value::{Map, Value};
use crate::vars::Variables;
use crate::vars::filters::text::shell_quoted;
use crate::vars::template::Evaluator;
use crate::vars::template::live::{Live, Outcome, fail};

use super::{Lookup, Request, lookup};

pub(super) const LOOKUPS: &[Lookup] = &[
    lookup("file", file),
    lookup("template", template),
    lookup("fileglob", fileglob),
    lookup("first_found", first_found),
    lookup("pipe", pipe),
    lookup("lines", lines),
    lookup("unvault", |request| {
        let terms = std::mem::take(&mut request.terms);
        terms.iter().map(|term| read(request.run, "files", &term.to_string()).map(Value::from)).collect()
    }),
    lookup("csvfile", csvfile),
];

/// Reads a file that a lookup names.
pub(super) fn read(run: &Evaluator<'_>, folder: &str, name: &str) -> Outcome<String> {
    let world = run.engine.world();
    let Some(path) = world.find(folder, name) else {
        return Err(Diagnostic::error(format!("there is no file `{name}` (No such file or directory)"))
            .hint(format!("looked in the folder `{folder}` and beside the playbook"))
            .into());
    };
    match world.read(&path).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(_)) => fail(format!("`{}` is not UTF-8", path.display())),
        Err(why) => fail(format!("cannot read `{}`: {why}", path.display())),
    }
}

fn file(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let (rstrip, lstrip) = (request.flag("rstrip", true), request.flag("lstrip", false));
    let mut out = Vec::new();
    for term in &request.terms {
        let text = read(request.run, "files", &term.to_string())?;
        let text = if lstrip { text.trim_start() } else { &text };
        out.push(Value::str(if rstrip { text.trim_end() } else { text }));
    }
    Ok(out)
}

/// Variables with some put above them.
struct Above<'v> {
    own: Map,
    below: &'v dyn Variables,
}

impl Variables for Above<'_> {
    fn get(&self, name: &str) -> Option<Value> {
        self.own.get(name).cloned().or_else(|| self.below.get(name))
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.below.names();
        names.extend(self.own.keys().map(ToString::to_string));
        names
    }

    fn host(&self, name: &str) -> Option<std::sync::Arc<dyn Variables>> {
        self.below.host(name)
    }

    fn host_names(&self) -> Vec<String> {
        self.below.host_names()
    }
}

fn template(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let mut own = match request.option("template_vars") {
        Some(Value::Map(map)) => (*map).clone(),
        _ => Map::new(),
    };
    request.flag("convert_data", true);
    request.flag("jinja2_native", false);
    let options = request.rest();
    let mut out = Vec::new();
    for term in &request.terms {
        let name = term.to_string();
        let world = request.run.engine.world();
        let Some(path) = world.find("templates", &name) else { return fail(format!("there is no template `{name}`")) };
        let text = read(request.run, "templates", &name)?;
        own.insert("template_path".into(), Value::from(path.to_string_lossy().into_owned()));
        let variables = Above { own: own.clone(), below: request.run.vars };
        let value = request.run.deep("a template", || Ok(request.run.engine.value_of_file(&path, &text, &options, &variables)?))?;
        out.push(value);
    }
    Ok(out)
}

/// Returns the files that match a pattern, whose folder is a plain path.
pub(in crate::vars) fn glob(run: &Evaluator<'_>, pattern: &str) -> Vec<PathBuf> {
    let world = run.engine.world();
    let path = PathBuf::from(pattern);
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    let beside = if folder.as_os_str().is_empty() { "." } else { &folder.to_string_lossy() };
    let folders = world.places("files", beside);
    let Ok(matcher) = globset::GlobBuilder::new(name).literal_separator(true).build().map(|glob| glob.compile_matcher()) else {
        return Vec::new();
    };
    for folder in folders {
        let found: Vec<PathBuf> = world
            .list(&folder)
            .into_iter()
            .filter(|path| path.file_name().is_some_and(|name| matcher.is_match(name) && !name.to_string_lossy().starts_with('.')))
            .filter(|path| world.stat(path, true).is_some_and(|meta| meta.is_file()))
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

fn fileglob(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let found = request.terms.iter().flat_map(|term| glob(request.run, &term.to_string()));
    Ok(found.map(|path| Value::from(path.to_string_lossy().into_owned())).collect())
}

/// Returns the names of `first_found`: a list, or a text that marks divide.
fn texts(value: Option<&Value>, marks: &[char]) -> Vec<String> {
    match value {
        Some(Value::List(items)) => items.iter().flat_map(|item| texts(Some(item), marks)).collect(),
        Some(Value::Str(text)) => text.split(marks).map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(),
        _ => Vec::new(),
    }
}

fn flat(terms: &[Value]) -> Vec<Value> {
    let each = |term: &Value| match term {
        Value::List(inner) => flat(inner),
        other => vec![other.clone()],
    };
    terms.iter().flat_map(each).collect()
}

fn in_folders(folders: &[String], files: Vec<String>) -> Vec<String> {
    if folders.is_empty() {
        return files;
    }
    folders.iter().flat_map(|folder| files.iter().map(move |file| format!("{}/{file}", folder.trim_end_matches('/')))).collect()
}

fn first_found(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let mut skip = request.flag("skip", false);
    let mut candidates = Vec::new();
    let (files, paths) = (request.option("files"), request.option("paths"));
    let mut terms = flat(&request.terms);
    if terms.is_empty() && files.is_some() {
        terms.extend(files);
        terms = flat(&terms);
    }
    let general = texts(paths.as_ref(), &[',', ':', ';']);
    for term in &terms {
        match term {
            Value::Map(map) => {
                skip |= map.get("skip").and_then(crate::value::arguments::to_bool).unwrap_or(false);
                let (files, paths) = (texts(map.get("files"), &[',', ';']), texts(map.get("paths"), &[',', ':', ';']));
                candidates.extend(in_folders(&paths, files));
            }
            Value::Str(_) => candidates.extend(in_folders(&general, texts(Some(term), &[',', ';']))),
            other => return fail(format!("`first_found` takes names of files and dictionaries with `files`, not '{}'", other.type_name())),
        }
    }
    let world = request.run.engine.world();
    for name in &candidates {
        let found = ["*", "files", "templates"].iter().find_map(|folder| world.find(folder, name));
        if let Some(path) = found {
            return Ok(vec![Value::from(path.to_string_lossy().into_owned())]);
        }
    }
    if skip {
        return Ok(Vec::new());
    }
    let hint = "`skip: true` leaves the task out when none exists";
    Err(Diagnostic::error(format!("`first_found`: none of these files exists: {}", candidates.join(", "))).hint(hint).into())
}

fn pipe(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let run = |term: &Value| match request.run.engine.world().pipe(&term.to_string()) {
        Ok(bytes) => Ok(Value::str(String::from_utf8_lossy(&bytes).trim_end())),
        Err(why) => fail(format!("`pipe`: {} {why}", shell_quoted(&term.to_string()))),
    };
    request.terms.iter().map(run).collect()
}

fn lines(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let mut out = Vec::new();
    for term in &request.terms {
        match request.run.engine.world().pipe(&term.to_string()) {
            Ok(bytes) => out.extend(String::from_utf8_lossy(&bytes).lines().map(Value::str)),
            Err(why) => return fail(format!("`lines`: {} {why}", shell_quoted(&term.to_string()))),
        }
    }
    Ok(out)
}

/// Splits at blanks outside of quotes.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, ' ' | '\n') => {
                words.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// How `csvfile` reads; terms may change it from there on.
struct Table {
    file: String,
    delimiter: String,
    column: usize,
    key_column: usize,
    default: Option<Value>,
}

impl Table {
    fn set(&mut self, name: &str, value: Value) -> Outcome<()> {
        let number = |value: &Value| match value.to_string().parse::<usize>() {
            Ok(number) => Ok(number),
            Err(_) => fail(format!("the option `{name}` has an invalid value: `{value}` is not the number of a column, from 0")),
        };
        match name {
            "file" => self.file = value.to_string(),
            "delimiter" => self.delimiter = value.to_string(),
            "col" => self.column = number(&value)?,
            "keycol" => self.key_column = number(&value)?,
            "default" => self.default = Some(value),
            // Texts are UTF-8.
            "encoding" => {}
            other => return fail(format!("'{other}' is not a valid option; there are file, delimiter, col, keycol, default and encoding")),
        }
        Ok(())
    }

    fn find(&self, run: &Evaluator<'_>, key: &str) -> Outcome<Option<Value>> {
        let text = read(run, "files", &self.file)?;
        let delimiter = match self.delimiter.as_str() {
            "TAB" | "\\t" => b'\t',
            other => match other.as_bytes() {
                [one] => *one,
                _ => return fail(format!("the delimiter is one character of ASCII, or TAB, not `{other}`")),
            },
        };
        let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(text.as_bytes());
        for row in rows.records() {
            let Ok(row) = row else { return fail(format!("`{}` is no table", self.file)) };
            if row.get(self.key_column) == Some(key) {
                return match row.get(self.column) {
                    Some(cell) => Ok(Some(Value::str(cell))),
                    None => fail(format!("the line of `{key}` in `{}` has no column {}", self.file, self.column)),
                };
            }
        }
        Ok(self.default.clone())
    }
}

fn csvfile(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let mut table = Table { file: "ansible.csv".to_owned(), delimiter: "TAB".to_owned(), column: 1, key_column: 0, default: None };
    for name in ["file", "delimiter", "col", "keycol", "default", "encoding"] {
        if let Some(value) = request.option(name) {
            table.set(name, value)?;
        }
    }
    if request.terms.is_empty() {
        return fail("Search key is required but was not found");
    }
    let mut out = Vec::new();
    for term in &request.terms {
        let mut key = Vec::new();
        for word in words(&term.to_string()) {
            match word.split_once('=') {
                Some((name, value)) if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
                    table.set(name, Value::str(value.trim_matches(['"', '\''])))?;
                }
                _ => key.push(word),
            }
        }
        if key.is_empty() {
            return fail("Search key is required but was not found");
        }
        match table.find(request.run, &key.join(" "))? {
            Some(Value::List(several)) => out.extend(several.iter().cloned()),
            found => out.extend(found),
        }
    }
    Ok(out)
}

/// Returns the value of a live one, for a lookup that takes variables.
pub(super) fn settled(run: &Evaluator<'_>, live: &Live) -> Outcome<Value> {
    run.freeze(live)
}
