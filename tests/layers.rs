//! Checks who may use whom among the folders of `src/`. The table is the architecture.

use std::fs;
use std::path::Path;

/// Each folder, and the folders it may use. A line may name only folders above it, so there is no circle.
const MAY_USE: &[(&str, &[&str])] = &[
    ("source", &[]),
    ("value", &["source"]),
    ("formats", &["value"]),
    ("change", &["value", "formats"]),
    ("modules", &["change", "value", "formats"]),
    ("vars", &["source", "value"]),
    ("load", &["source", "value", "change", "modules", "vars"]),
    ("connect", &["value"]),
    ("agent", &["value", "change", "modules", "connect"]),
    ("report", &["source", "value", "change"]),
    ("record", &["value", "change", "report"]),
    ("run", &["source", "value", "change", "modules", "vars", "load", "connect", "agent", "report", "record"]),
    ("demo", &["source", "value", "formats", "change", "modules", "load", "connect", "agent", "report"]),
    ("cli", &["source", "value", "formats", "change", "modules", "vars", "load", "connect", "agent", "report", "record", "run", "demo"]),
];

#[test]
fn folders_use_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (folder, allowed) in MAY_USE {
        each_line_below(&Path::new("src").join(folder), &mut |place, line| {
            let code = line.split("//").next().unwrap_or_default();
            for path in code.split("crate::").skip(1) {
                let used = path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                if used.is_empty() {
                    wrong.push(format!("{place}: write `use crate::name::...`, one folder a line, so that this test can see it"));
                } else if used != *folder && !allowed.contains(&used) {
                    wrong.push(format!("{place}: `{folder}` must not use `{used}`"));
                }
            }
            if code.contains("super::super::") {
                wrong.push(format!("{place}: write `crate::` so that this test can see it"));
            }
        });
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_table_has_every_folder_and_no_circle() {
    for (at, (folder, allowed)) in MAY_USE.iter().enumerate() {
        for used in *allowed {
            let above = MAY_USE[..at].iter().any(|(name, _)| name == used);
            assert!(above, "`{folder}` uses `{used}`, which is not above it");
        }
    }
    for item in fs::read_dir("src").expect("src") {
        let path = item.expect("entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("name").to_owned();
        let known = MAY_USE.iter().any(|(folder, _)| *folder == name);
        assert!(known || ["main.rs", "lib.rs"].contains(&name.as_str()), "give `{name}` a line in MAY_USE");
    }
}

/// Check mode is one `if`, in `change`: no module may know of it.
#[test]
fn no_module_knows_whether_it_is_a_check() {
    let mut wrong = Vec::new();
    each_line_below(Path::new("src/modules"), &mut |place, line| {
        let code = line.split("//").next().unwrap_or_default();
        if code.contains("check_mode")
            || code.contains("Mode::Check")
            || code.contains("Mode::Apply")
            || code.contains("allow(clippy::disallowed_methods)")
        {
            wrong.push(format!("{place}: {}", line.trim()));
        }
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn each_line_below(path: &Path, see: &mut impl FnMut(String, &str)) {
    if path.is_dir() {
        for item in fs::read_dir(path).expect("folder") {
            each_line_below(&item.expect("entry").path(), see);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        for (number, line) in fs::read_to_string(path).expect("file").lines().enumerate() {
            see(format!("{}:{}", path.display(), number + 1), line);
        }
    }
}
