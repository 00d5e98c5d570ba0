//! From `-i` arguments to files, and to the reader of each file's form.

use std::path::{Path, PathBuf};

use crate::source::{Diagnostic, FileId, Severity, Span};

use super::variables::VariableFolder;
use super::{Inventory, ini, program, ranges, toml, yaml};

/// What is left out of a folder of inventories.
const IGNORED: &[&str] = &[".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"];

/// Reads one `-i` argument and returns what is wrong. Where the options say so, that is a warning, and the others count.
pub(super) fn input(inventory: &mut Inventory, input: &str) -> Vec<Diagnostic> {
    let errors = sources(inventory, input);
    if errors.is_empty() || !inventory.options.lenient {
        inventory.parsed |= errors.is_empty();
        return errors;
    }
    let form = form_of(inventory, input);
    for error in errors {
        let message = format!("Failed to parse inventory with '{form}' plugin: {}", error.message);
        inventory.warnings.push(Diagnostic { severity: Severity::Warning, message, ..error });
    }
    inventory.warnings.push(Diagnostic::warning(format!("Unable to parse {input} as an inventory source")));
    Vec::new()
}

/// Returns Ansible's name of what reads an input.
fn form_of(inventory: &Inventory, input: &str) -> &'static str {
    let suffix = Path::new(input).extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
    match suffix {
        _ if is_list(input) && inventory.options.advanced_lists => "advanced_host_list",
        _ if is_list(input) => "host_list",
        "yml" | "yaml" | "json" => "yaml",
        "toml" => "toml",
        _ => "ini",
    }
}

/// Whether an input is a list of hosts, and no path that has a comma in it.
fn is_list(input: &str) -> bool {
    input.contains(',') && !Path::new(input).exists()
}

fn sources(inventory: &mut Inventory, input: &str) -> Vec<Diagnostic> {
    if is_list(input) {
        return list(inventory, input);
    }
    let path = Path::new(input);
    let data = match std::fs::metadata(path) {
        Ok(data) => data,
        Err(error) => {
            let text = error.to_string();
            let why = text.split(" (os error").next().unwrap_or_default();
            return vec![
                Diagnostic::error(format!("cannot read the inventory `{input}`: {why}"))
                    .hint(format!("a list of hosts ends in a comma: `-i {input},`")),
            ];
        }
    };
    let folder = if data.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    if !inventory.folders.iter().any(|known| known.is_at(folder)) {
        inventory.folders.push(VariableFolder::new(folder, false));
    }
    if data.is_dir() { self::folder(inventory, path) } else { file(inventory, path) }
}

/// Reads a list of hosts: `a,b[1:3],`.
fn list(inventory: &mut Inventory, input: &str) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    for name in input.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match ranges::expand(name) {
            Ok((names, port)) => add_hosts(inventory, &names, port, super::UNGROUPED, None, Span::default()),
            // As Ansible has it: a name that is no range at all is a name.
            Err(message) if inventory.options.lenient && (message.contains("end value") || !inventory.options.advanced_lists) => {
                let warning = format!("Unable to parse address from hostname, leaving unchanged: {message}");
                inventory.warnings.push(Diagnostic::warning(warning));
                add_hosts(inventory, &[name.to_owned()], None, super::UNGROUPED, None, Span::default());
            }
            Err(message) => errors.push(Diagnostic::error(format!("{message} (in `-i {input}`)"))),
        }
    }
    errors
}

/// Reads every inventory in a folder, in order of names; folders in it too, but not `group_vars` and `host_vars`.
fn folder(inventory: &mut Inventory, path: &Path) -> Vec<Diagnostic> {
    let mut entries: Vec<PathBuf> = match std::fs::read_dir(path) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        Err(error) => return vec![Diagnostic::error(format!("cannot read the folder `{}`: {error}", path.display()))],
    };
    entries.sort_unstable();
    let mut errors = Vec::new();
    for entry in entries {
        let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let ignored = name.starts_with('.') || matches!(name.as_str(), "group_vars" | "host_vars" | "vars_plugins");
        if ignored || IGNORED.iter().any(|suffix| name.ends_with(suffix)) {
            continue;
        }
        errors.extend(if entry.is_dir() { folder(inventory, &entry) } else { file(inventory, &entry) });
    }
    errors
}

fn file(inventory: &mut Inventory, path: &Path) -> Vec<Diagnostic> {
    if inventory.vault.is_vaulted(path) {
        inventory.sources.hide(path);
    }
    let bytes = match inventory.vault.read_file(path) {
        Ok(bytes) => bytes,
        Err(diagnostic) => return vec![diagnostic],
    };
    if is_program(path, &bytes) {
        return program::read(inventory, path);
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return vec![Diagnostic::error(format!("the inventory `{}` is not UTF-8 text", path.display())).hint("save it as UTF-8")];
    };
    let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
    if matches!(suffix, "yml" | "yaml" | "json") || (suffix != "ini" && looks_like_yaml(&text)) {
        return yaml::read(inventory, path, text);
    }
    if suffix == "toml" {
        return toml::read(inventory, path, text);
    }
    ini::read(inventory, path, text)
}

fn is_program(path: &Path, bytes: &[u8]) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let executable = std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o111 != 0);
    executable && (bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF"))
}

/// Whether the first line that says something is YAML's or JSON's.
fn looks_like_yaml(text: &str) -> bool {
    let first = text.lines().map(str::trim_end).find(|line| !line.trim().is_empty() && !line.trim_start().starts_with(['#', ';']));
    first.is_some_and(|line| line.starts_with("---") || line.starts_with('{') || (line.ends_with(':') && !line.contains(['=', ' ', '['])))
}

/// Adds hosts to a group.
pub(super) fn add_hosts(inventory: &mut Inventory, names: &[String], port: Option<u16>, group: &str, file: Option<&Path>, place: Span) {
    for name in names {
        let host = inventory.host(name);
        inventory.put_in_group(&host, group);
        if let Some(entry) = inventory.hosts.get_mut(&host) {
            if entry.source.is_none() {
                entry.source = file.map(Path::to_owned);
            }
            if let Some(port) = port {
                entry.own.set("ansible_port", crate::value::Value::Int(i64::from(port)), place);
            }
        }
    }
}

/// Returns the place of a part of a text.
pub(super) fn place(file: FileId, start: usize, length: usize) -> Span {
    let byte = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span { file, start: byte(start), end: byte(start + length) }
}
