//! A change as a person reads it: one line, and a difference of texts.

use std::fmt::Write as _;
use std::path::Path;

use similar::{ChangeTag, TextDiff};

use super::probe::{FileKind, Stat};
use super::{Attributes, Before, Change, Content, Difference, Failure, Probe, digest, units};

/// Texts longer than this are not compared line by line.
pub const LONGEST: usize = 1024 * 1024;

/// Returns one line for a person: "write /etc/motd".
pub fn summary(change: &Change) -> String {
    match change {
        Change::Write { path, before: Before::Absent, .. } => format!("create {}", path.display()),
        Change::Write { path, .. } => format!("write {}", path.display()),
        Change::Directory { path, .. } => format!("make the directory {}", path.display()),
        Change::Attributes { path, before, after, .. } => format!("set {} of {}", changed_names(before, after), path.display()),
        Change::Link { path, target, hard, .. } => {
            format!("link {} {} {}", path.display(), if *hard { "=>" } else { "->" }, target.display())
        }
        Change::Remove { path, .. } => format!("remove {}", path.display()),
        // Plans are written before it is known whether this is a check; the report says "would".
        Change::Run { summary, .. } | Change::Http { summary, .. } => summary.strip_prefix("would ").unwrap_or(summary).to_owned(),
        Change::Unit { name, action, .. } => format!("{} {name}", units::word(*action)).trim().to_owned(),
    }
}

fn changed_names(before: &Attributes, after: &Attributes) -> String {
    let mut names = Vec::new();
    for (name, differs) in [
        ("owner", after.uid.is_some() && after.uid != before.uid),
        ("group", after.gid.is_some() && after.gid != before.gid),
        ("mode", after.mode.is_some() && after.mode != before.mode),
        ("times", after.atime.is_some() || after.mtime.is_some()),
    ] {
        if differs {
            names.push(name);
        }
    }
    if names.is_empty() { "attributes".to_owned() } else { names.join(", ") }
}

/// Returns what `change` changes, as texts; `host` is as before it.
pub fn difference(change: &Change, host: &dyn Probe) -> Option<Difference> {
    match change {
        Change::Write { path, before, after, attributes, secret, .. } => Some(written(path, before, after, attributes, *secret, host)),
        Change::Directory { path, attributes } => Some(states(path, "absent", &format!("directory\n{}", attribute_lines(attributes)))),
        Change::Attributes { path, before, after, .. } => {
            Some(Difference { before: attribute_lines(&only_asked(before, after)), after: attribute_lines(after), ..named(path) })
        }
        Change::Link { path, target, hard, before } => {
            let kind = if *hard { "hard link" } else { "link" };
            Some(states(path, &before_text(before), &format!("{kind} to {}", target.display())))
        }
        Change::Remove { path, before } => Some(states(path, &before_text(before), "absent")),
        Change::Run { .. } => None,
        Change::Unit { name, action, before, .. } => Some(Difference {
            before_header: name.clone(),
            after_header: name.clone(),
            before: format!("{}\n", unit_text(before)),
            after: format!("{}\n", units::word(*action)),
            note: None,
        }),
        Change::Http { summary, diff, .. } => {
            let (before, after) = diff.clone()?;
            Some(Difference { before_header: summary.clone(), after_header: summary.clone(), before, after, note: None })
        }
    }
}

fn unit_text(state: &super::UnitState) -> String {
    let words = [(state.active, "active", "inactive"), (state.enabled, "enabled", "disabled")];
    let text: Vec<_> = words.iter().map(|(on, yes, no)| if *on { *yes } else { *no }).collect();
    format!("{}{}", text.join(", "), if state.masked { ", masked" } else { "" })
}

fn named(path: &Path) -> Difference {
    let name = path.display().to_string();
    Difference { before_header: name.clone(), after_header: name, ..Difference::default() }
}

fn states(path: &Path, before: &str, after: &str) -> Difference {
    Difference { before: format!("{}\n", before.trim_end()), after: format!("{}\n", after.trim_end()), ..named(path) }
}

fn before_text(before: &Before) -> String {
    match before {
        Before::Absent => "absent".to_owned(),
        Before::File { .. } => "file".to_owned(),
        Before::Directory => "directory".to_owned(),
        Before::Link(target) => format!("link to {}", target.display()),
        Before::Any => "something else".to_owned(),
    }
}

fn only_asked(before: &Attributes, after: &Attributes) -> Attributes {
    Attributes {
        uid: before.uid.filter(|_| after.uid.is_some()),
        gid: before.gid.filter(|_| after.gid.is_some()),
        mode: before.mode.filter(|_| after.mode.is_some()),
        atime: before.atime.filter(|_| after.atime.is_some()),
        mtime: before.mtime.filter(|_| after.mtime.is_some()),
    }
}

fn attribute_lines(attributes: &Attributes) -> String {
    let mut text = String::new();
    let id = |id: u32| if super::attributes::is_foreseen(id) { "not known yet".to_owned() } else { id.to_string() };
    if let Some(uid) = attributes.uid {
        let _ = writeln!(text, "owner: {}", id(uid));
    }
    if let Some(gid) = attributes.gid {
        let _ = writeln!(text, "group: {}", id(gid));
    }
    if let Some(mode) = attributes.mode {
        let _ = writeln!(text, "mode: {mode:04o}");
    }
    if let Some(time) = attributes.atime {
        let _ = writeln!(text, "access time: {time}");
    }
    if let Some(time) = attributes.mtime {
        let _ = writeln!(text, "modification time: {time}");
    }
    text
}

fn written(path: &Path, before: &Before, after: &Content, attributes: &Attributes, secret: bool, host: &dyn Probe) -> Difference {
    let noted = |note: &str| Difference { note: Some(note.to_owned()), ..named(path) };
    if secret {
        return noted("the content is secret and not shown");
    }
    let bytes = match after {
        Content::Bytes(bytes) => bytes,
        Content::Blob { size, .. } => return noted(&format!("a large file of {size} bytes, not shown")),
        Content::Unknown(why) => return noted(&format!("the new content cannot be predicted: {why}")),
    };
    let old = if matches!(before, Before::File { .. }) { host.read(path) } else { Ok(None) };
    let old = match old {
        Ok(old) => old.unwrap_or_default(),
        Err(Failure::Unknown { why, .. }) => return noted(&format!("the content before cannot be predicted: {why}")),
        Err(failure) => return noted(&failure.to_string()),
    };
    if old.len() > LONGEST || bytes.len() > LONGEST {
        return noted(&format!("too large to show: {} bytes before, {} after", old.len(), bytes.len()));
    }
    match (text(&old), text(bytes)) {
        (Some(old), Some(new)) => Difference { before: old, after: new, note: mode_note(path, attributes, host), ..named(path) },
        _ => noted(&format!("binary: SHA-256 {} before, {} after", short(&old), short(bytes))),
    }
}

/// Says what a write changes besides the content of a file that exists.
fn mode_note(path: &Path, attributes: &Attributes, host: &dyn Probe) -> Option<String> {
    let Ok(Some(Stat { kind: FileKind::File, mode, .. })) = host.stat(path, true) else { return None };
    let asked = attributes.mode.filter(|asked| *asked != mode)?;
    Some(format!("mode {mode:04o} becomes {asked:04o}"))
}

fn short(bytes: &[u8]) -> String {
    if bytes.is_empty() { "nothing".to_owned() } else { digest::sha256(bytes).chars().take(16).collect() }
}

/// Returns the text of `bytes`, where it is one.
fn text(bytes: &[u8]) -> Option<String> {
    if bytes.contains(&0) {
        return None;
    }
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// Returns a difference in the unified form. A missing newline at the end is told.
pub fn unified(difference: &Difference) -> String {
    let mut out = String::new();
    if difference.before != difference.after || difference.note.is_some() {
        let _ = writeln!(out, "--- before: {}", difference.before_header);
        let _ = writeln!(out, "+++ after: {}", difference.after_header);
    }
    if let Some(note) = &difference.note {
        let _ = writeln!(out, "({note})");
    }
    let compared = TextDiff::from_lines(&difference.before, &difference.after);
    for hunk in compared.unified_diff().context_radius(3).iter_hunks() {
        let _ = writeln!(out, "{}", hunk.header());
        for change in hunk.iter_changes() {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            let line = change.value();
            let _ = writeln!(out, "{sign}{}", line.trim_end_matches('\n'));
            if !line.ends_with('\n') {
                let _ = writeln!(out, "\\ No newline at end of file");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_newline_at_the_end_is_seen() {
        let difference =
            Difference { before: "a\nb".into(), after: "a\nb\n".into(), before_header: "/x".into(), after_header: "/x".into(), note: None };
        insta::assert_snapshot!(unified(&difference), @r"
        --- before: /x
        +++ after: /x
        @@ -1,2 +1,2 @@
         a
        -b
        \ No newline at end of file
        +b
        ");
    }

    #[test]
    fn nothing_changed_shows_nothing() {
        assert_eq!(unified(&Difference { before: "a".into(), after: "a".into(), ..Difference::default() }), "");
    }
}
