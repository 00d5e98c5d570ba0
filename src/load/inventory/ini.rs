//! Inventories in INI form: `[group]`, `[group:children]`, `[group:vars]`, and lines of hosts with variables.

use std::path::Path;

use crate::source::{Diagnostic, FileId, Span};

use super::read::{add_hosts, place};
use super::{Defined, GroupName, Inventory, UNGROUPED, literal, ranges};

/// What the lines of a section are.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    Hosts,
    Children,
    Variables,
}

struct Reader<'a> {
    inventory: &'a mut Inventory,
    path: &'a Path,
    file: FileId,
    group: GroupName,
    section: Section,
    /// Groups that were named as children or given variables, and must be defined somewhere.
    owed: Vec<(GroupName, Span, Section)>,
    /// Groups that a section of their own defines.
    defined: Vec<GroupName>,
    errors: Vec<Diagnostic>,
}

/// Reads an INI inventory and returns what is wrong.
pub(super) fn read(inventory: &mut Inventory, path: &Path, text: String) -> Vec<Diagnostic> {
    let file = inventory.sources.add(path, text);
    let Some(source) = inventory.sources.get(file) else { return Vec::new() };
    let group = inventory.group(UNGROUPED);
    let (owed, defined, errors) = (Vec::new(), Vec::new(), Vec::new());
    let mut reader = Reader { inventory, path, file, group, section: Section::Hosts, owed, defined, errors };
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let trimmed = line.trim_start_matches('\u{feff}').trim();
        let at = start + line.find(trimmed).unwrap_or_default();
        start += line.len();
        if !trimmed.is_empty() && !trimmed.starts_with(['#', ';']) {
            reader.line(trimmed, at);
        }
    }
    reader.settle_debts();
    reader.errors
}

impl Reader<'_> {
    fn complain(&mut self, at: usize, length: usize, message: impl Into<String>, hint: &str) {
        let diagnostic = Diagnostic::error(message).at(place(self.file, at, length));
        self.errors.push(if hint.is_empty() { diagnostic } else { diagnostic.hint(hint) });
    }

    fn line(&mut self, line: &str, at: usize) {
        if line.starts_with('[') && self.is_header(line) {
            return self.header(line, at);
        }
        match self.section {
            Section::Hosts => self.hosts(line, at),
            Section::Children => self.child(line, at),
            Section::Variables => self.variable(line, at),
        }
    }

    /// Whether a line that begins with `[` is a section, not a host such as `[::1]:22`.
    fn is_header(&self, line: &str) -> bool {
        let after = line.find(']').map_or("", |close| line[close + 1..].trim_start());
        after.is_empty() || after.starts_with(['#', ';'])
    }

    fn header(&mut self, line: &str, at: usize) {
        let Some(close) = line.find(']') else {
            return self.complain(at, line.len(), "this section has no closing bracket", "write `[name]`");
        };
        let inner = line[1..close].trim();
        let (name, kind) = inner.split_once(':').unwrap_or((inner, "hosts"));
        let section = match kind {
            "hosts" => Section::Hosts,
            "children" => Section::Children,
            "vars" => Section::Variables,
            other => {
                let place = place(self.file, at, close + 1);
                let diagnostic =
                    Diagnostic::error(format!("`[{name}:{other}]` is no section: after the colon stands `children` or `vars`"));
                self.errors.push(diagnostic.at(place).did_you_mean(other, ["hosts", "children", "vars"]));
                return;
            }
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return self.complain(at, close + 1, format!("`{name}` cannot be the name of a group"), "a group's name has no spaces");
        }
        if section == Section::Variables {
            self.owed.push((name.into(), place(self.file, at, close + 1), section));
        } else {
            self.defined.push(name.into());
        }
        self.group = self.inventory.group(name);
        self.section = section;
    }

    fn hosts(&mut self, line: &str, at: usize) {
        let words = match words(line) {
            Ok(words) => words,
            Err(quote) => {
                let hint = "close it, or put a backslash before it";
                return self.complain(at + quote, line.len() - quote, "this quote is never closed", hint);
            }
        };
        let mut words = words.into_iter();
        let Some(name) = words.next() else { return };
        let (names, port) = match ranges::expand(&name.text) {
            Ok(expanded) => expanded,
            Err(message) => return self.complain(at + name.at, name.length, message, ""),
        };
        if name.text.contains('=') && !name.text.contains('[') {
            let hint = "variables of a group go under `[group:vars]`";
            return self.complain(at, name.length, format!("a line of hosts begins with a name, not with `{}`", name.text), hint);
        }
        let mut own = Defined::default();
        for word in words {
            let place = place(self.file, at + word.at, word.length);
            match word.text.split_once('=') {
                Some((name, value)) if !name.is_empty() => own.set(name, literal::value(value, place), place),
                _ => {
                    let message = format!("`{}` is not `name=value`", word.text);
                    let hint = if line.contains(" = ") {
                        "write it without spaces around the `=`"
                    } else {
                        "quote a value that has spaces: `name=\"two words\"`"
                    };
                    self.complain(at + word.at, word.length, message, hint);
                    break;
                }
            }
        }
        add_hosts(self.inventory, &names, port, &self.group, Some(self.path), place(self.file, at + name.at, name.length));
        for name in &names {
            if let Some(host) = self.inventory.hosts.get_mut(name.as_str()) {
                host.own.extend(&own);
            }
        }
    }

    fn child(&mut self, line: &str, at: usize) {
        let name = line.split(['#', ';']).next().unwrap_or_default().trim();
        if name.contains(char::is_whitespace) || name.contains(['=', ':']) {
            let message = format!("a line of `[{}:children]` is the name of one group", self.group);
            return self.complain(at, line.len(), message, "variables go under `:vars`, hosts under the group's own section");
        }
        let place = place(self.file, at, name.len());
        self.owed.push((name.into(), place, Section::Children));
        if let Err(message) = self.inventory.add_child(&self.group.clone(), name) {
            self.errors.push(Diagnostic::error(message).at(place));
        }
    }

    fn variable(&mut self, line: &str, at: usize) {
        let Some((name, value)) = line.split_once('=') else {
            return self.complain(at, line.len(), format!("`{line}` is not `name=value`"), "a line of `:vars` is `name=value`");
        };
        let place = place(self.file, at, name.trim_end().len());
        let value = literal::value(value.trim(), place);
        self.inventory.set_group_variable(&self.group.clone(), name.trim(), value, place);
    }

    /// Complains about groups that are used and nowhere defined, in this inventory or those before.
    fn settle_debts(&mut self) {
        for (name, place, section) in std::mem::take(&mut self.owed) {
            let known = self.defined.contains(&name) || matches!(&*name, super::ALL | UNGROUPED);
            let elsewhere = self.inventory.groups.get(&name).is_some_and(|group| !group.hosts.is_empty() || !group.children.is_empty());
            if known || elsewhere {
                continue;
            }
            let what = if section == Section::Variables { "is given variables" } else { "is named as a child" };
            let diagnostic = Diagnostic::error(format!("the group `{name}` {what} but defined nowhere")).at(place);
            let diagnostic = diagnostic.did_you_mean(&name, self.defined.iter().map(|group| &**group));
            let hint = format!("add a section `[{name}]`; it may be empty");
            self.errors.push(if diagnostic.hints.is_empty() { diagnostic.hint(hint) } else { diagnostic });
        }
    }
}

/// A word of a line of hosts, quotes and backslashes resolved.
struct Word {
    text: String,
    at: usize,
    length: usize,
}

/// Splits a line as a shell would, up to a comment. On an unclosed quote returns where it opens.
fn words(line: &str) -> Result<Vec<Word>, usize> {
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut characters = line.char_indices();
    while let Some((at, c)) = characters.next() {
        if quote.is_none() && (c.is_whitespace() || c == '#') {
            if let Some(mut done) = word.take() {
                done.length = at - done.at;
                words.push(done);
            }
            if c == '#' {
                return Ok(words);
            }
            continue;
        }
        let current = word.get_or_insert(Word { text: String::new(), at, length: 0 });
        match (quote, c) {
            (Some((open, _)), c) if c == open => quote = None,
            (Some(('\'', _)), c) => current.text.push(c),
            (Some(_), '\\') => match characters.next() {
                Some((_, next @ ('"' | '\\'))) => current.text.push(next),
                Some((_, next)) => current.text.extend(['\\', next]),
                None => current.text.push('\\'),
            },
            (None, '\\') => current.text.extend(characters.next().map(|(_, next)| next)),
            (None, '\'' | '"') => quote = Some((c, at)),
            (_, c) => current.text.push(c),
        }
    }
    if let Some((_, at)) = quote {
        return Err(at);
    }
    if let Some(mut done) = word {
        done.length = line.len() - done.at;
        words.push(done);
    }
    Ok(words)
}
