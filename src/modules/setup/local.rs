//! The facts that a host's administrator put into `facts.d`.

use std::path::Path;

use crate::change::{Failure, Probe, Program};
use crate::value::json::from_json;
use crate::value::{Map, Value};

/// Returns the facts of each `NAME.fact` below `folder`, by name. A file that cannot be understood is the text of what is wrong.
pub(super) fn gather(host: &dyn Probe, folder: &Path) -> Result<Map, Failure> {
    let mut facts = Map::new();
    for file in host.list(folder)?.unwrap_or_default() {
        let Some(name) = file.strip_suffix(".fact") else { continue };
        let path = folder.join(&file);
        let Some(stat) = host.stat(&path, true)? else {
            facts.insert(name.into(), format!("Could not stat fact ({}): it is a link to nothing", path.display()).into());
            continue;
        };
        let text = if stat.mode & 0o111 == 0 {
            host.read(&path)?.unwrap_or_default()
        } else {
            let program = Program { argv: vec![path.to_string_lossy().into_owned()], timeout: Some(30), ..Program::default() };
            match host.vouched(&program) {
                Ok(output) if output.rc == 0 => output.stdout,
                Ok(output) => {
                    let wrong = format!("return code {}: {}", output.rc, String::from_utf8_lossy(&output.stderr).trim());
                    facts.insert(name.into(), format!("Failure executing fact script ({}), {wrong}", path.display()).into());
                    continue;
                }
                Err(failure @ Failure::Unknown { .. }) => {
                    facts.insert(name.into(), Value::unknown(failure.to_string()));
                    continue;
                }
                Err(failure) => {
                    facts.insert(name.into(), format!("Failure executing fact script ({}): {failure}", path.display()).into());
                    continue;
                }
            }
        };
        facts.insert(name.into(), parse(&String::from_utf8_lossy(&text), &path));
    }
    Ok(facts)
}

fn parse(text: &str, path: &Path) -> Value {
    if let Ok(json) = serde_json::from_str(text) {
        return from_json(&json);
    }
    match ini(text) {
        Ok(sections) => sections.into(),
        Err(line) => Value::from(format!("error loading facts as ini or JSON ({}): line {line} is neither", path.display())),
    }
}

/// Reads an INI file: sections of names and values, names in lower case. The error is the number of a wrong line.
fn ini(text: &str) -> Result<Map, usize> {
    let mut sections = Map::new();
    let mut section: Option<(String, Map)> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if let Some((name, entries)) = section.replace((name.to_owned(), Map::new())) {
                sections.insert(name.into(), entries.into());
            }
            continue;
        }
        let at = line.find(['=', ':']).ok_or(number + 1)?;
        let (name, value) = line.split_at(at);
        let value = value.get(1..).unwrap_or_default().trim();
        // A `%` stands for another value in such files, or for itself when it is there twice.
        let value = if value.replace("%%", "").contains('%') { return Err(number + 1) } else { value.replace("%%", "%") };
        let Some((_, entries)) = &mut section else { return Err(number + 1) };
        entries.insert(name.trim().to_lowercase().into(), value.into());
    }
    if let Some((name, entries)) = section {
        sections.insert(name.into(), entries.into());
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_json_or_ini() {
        let path = Path::new("/x.fact");
        assert_eq!(parse("{\"a\": [1]}", path).to_string(), "{'a': [1]}");
        assert_eq!(parse("# c\n[main]\nPort = 9200\nname: x\n", path).to_string(), "{'main': {'port': '9200', 'name': 'x'}}");
        assert_eq!(parse("nonsense", path).to_string(), "error loading facts as ini or JSON (/x.fact): line 1 is neither");
    }
}
