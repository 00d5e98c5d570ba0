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
    lookup("ini", ini),
    lookup("csvfile", csvfile),
    lookup("url", |_| fail("the lookup `url` is not supported; use the module `uri` with `delegate_to: localhost` and `register`")),
];

/// Reads a file that a lookup names.
fn read(run: &Evaluator<'_>, folder: &str, name: &str) -> Outcome<String> {
    let world = run.engine.world();
    let Some(path) = world.find(folder, name) else {
        return Err(Diagnostic::error(format!("there is no file `{name}`"))
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
        let value = request.run.deep("a template", || Ok(request.run.engine.render_file(&path, &text, &options, &variables)?))?;
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
    let folders: Vec<PathBuf> = if folder.is_absolute() {
        vec![folder]
    } else {
        let found = world.find("files", &folder.to_string_lossy());
        vec![found.unwrap_or_else(|| world.folder().join("files").join(&folder)), world.folder().join(&folder)]
    };
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

fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::List(items)) => items.iter().map(ToString::to_string).collect(),
        Some(Value::Str(text)) => text.split([',', ';', ':']).map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(),
        _ => Vec::new(),
    }
}

fn first_found(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let mut skip = request.flag("skip", false);
    let mut candidates = Vec::new();
    let (files, paths) = (request.option("files"), request.option("paths"));
    let mut terms: Vec<Value> = Vec::new();
    for term in &request.terms {
        match term {
            Value::List(inner) => terms.extend(inner.iter().cloned()),
            other => terms.push(other.clone()),
        }
    }
    if files.is_some() || paths.is_some() {
        terms.push(Value::map([("files", files.unwrap_or(Value::Null)), ("paths", paths.unwrap_or(Value::Null))]));
    }
    for term in &terms {
        match term {
            Value::Map(map) => {
                skip |= map.get("skip").and_then(crate::value::arguments::to_bool).unwrap_or(false);
                let (files, paths) = (texts(map.get("files")), texts(map.get("paths")));
                match (files.is_empty(), paths.is_empty()) {
                    (false, false) => candidates.extend(
                        paths.iter().flat_map(|path| files.iter().map(move |file| format!("{}/{file}", path.trim_end_matches('/')))),
                    ),
                    (false, true) => candidates.extend(files),
                    (true, _) => candidates.extend(paths),
                }
            }
            Value::Str(name) => candidates.push(name.to_string()),
            other => return fail(format!("`first_found` takes names of files, not {}", other.type_name())),
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

fn ini(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    options_in_terms(request, &["file", "section", "type", "default", "re", "encoding"]);
    let file = request.text("file").unwrap_or_else(|| "ansible.ini".to_owned());
    let section = request.text("section").unwrap_or_else(|| "global".to_owned());
    let properties = request.text("type").is_some_and(|kind| kind == "properties");
    let default = request.option("default");
    let by_pattern = request.flag("re", false);
    let case_sensitive = request.flag("case_sensitive", false);
    let allow_none = request.flag("allow_none", false);
    request.text("encoding");
    let text = read(request.run, "files", &file)?;
    let mut current = String::new();
    let mut entries = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut current);
        } else if let Some((key, value)) = line.split_once(['=', ':'])
            && (properties || current == section)
        {
            entries.push((key.trim().to_owned(), value.trim().to_owned()));
        } else if !line.contains(['=', ':']) && allow_none {
            if properties || current == section {
                entries.push((line.to_owned(), String::new()));
            }
        } else if !line.contains(['=', ':']) {
            return fail(format!("`ini`: the line `{line}` of `{file}` is no `key = value`; `allow_none=true` lets it be"));
        }
    }
    let mut out = Vec::new();
    for term in &request.terms {
        let key = term.to_string();
        if by_pattern {
            let regex = crate::vars::filters::regex::compiled(&format!("\\A(?:{key})"), true, false, false)?;
            out.extend(entries.iter().filter(|(name, _)| regex.is_match(name).unwrap_or(false)).map(|(_, value)| Value::str(value)));
            continue;
        }
        match entries.iter().rev().find(|(name, _)| if case_sensitive { *name == key } else { name.eq_ignore_ascii_case(&key) }) {
            Some((_, value)) => out.push(Value::str(value)),
            None => out.push(default.clone().unwrap_or_else(|| Value::str(""))),
        }
    }
    Ok(out)
}

/// Takes `name=value` words out of the first term, as in `'key file=a.csv col=2'`: the old way to give options.
fn options_in_terms(request: &mut Request<'_, '_>, names: &[&'static str]) {
    for term in &mut request.terms {
        let text = term.to_string();
        let is_option = |word: &&str| word.split_once('=').is_some_and(|(name, _)| names.contains(&name));
        let options: Vec<String> = text.split_whitespace().filter(is_option).map(str::to_owned).collect();
        if options.is_empty() {
            continue;
        }
        let key: Vec<&str> = text.split_whitespace().filter(|word| !is_option(word)).collect();
        *term = Value::from(key.join(" "));
        for option in options {
            if let Some((name, value)) = option.split_once('=') {
                request.options.push((name.into(), Value::str(value)));
            }
        }
    }
}

fn csvfile(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    options_in_terms(request, &["file", "delimiter", "col", "keycol", "default", "encoding"]);
    let file = request.text("file").unwrap_or_else(|| "ansible.csv".to_owned());
    let delimiter = match request.text("delimiter").unwrap_or_else(|| "TAB".to_owned()).as_str() {
        "TAB" | "\\t" | "\t" => '\t',
        other => other.chars().next().unwrap_or('\t'),
    };
    let column = request.option("col").and_then(|column| column.to_string().parse::<usize>().ok()).unwrap_or(1);
    let key_column = request.option("keycol").and_then(|column| column.to_string().parse::<usize>().ok()).unwrap_or(0);
    let default = request.option("default");
    request.text("encoding");
    let text = read(request.run, "files", &file)?;
    let rows: Vec<Vec<String>> = text.lines().map(|line| fields(line, delimiter)).collect();
    let mut out = Vec::new();
    for term in &request.terms {
        let key = term.to_string();
        let found = rows.iter().find(|row| row.get(key_column) == Some(&key)).and_then(|row| row.get(column));
        out.extend(found.map(Value::str).or_else(|| default.clone()));
    }
    Ok(out)
}

/// Splits a line of CSV; a quoted field may hold the delimiter.
fn fields(line: &str, delimiter: char) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                if let Some(field) = out.last_mut() {
                    field.push('"');
                }
            }
            '"' => quoted = !quoted,
            c if c == delimiter && !quoted => out.push(String::new()),
            c => {
                if let Some(field) = out.last_mut() {
                    field.push(c);
                }
            }
        }
    }
    out
}

/// Returns the value of a live one, for a lookup that takes variables.
pub(super) fn settled(run: &Evaluator<'_>, live: &Live) -> Outcome<Value> {
    run.freeze(live)
}
