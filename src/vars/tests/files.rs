//! Tests of paths on the controller.

use std::path::{Path, PathBuf};

use crate::vars::template::live::Outcome;

use super::{Given, Test, known};

pub(super) const TESTS: &[Test] = &[
    known("file", |given| is(given, true, |meta| meta.is_file())),
    known("is_file", |given| is(given, true, |meta| meta.is_file())),
    known("directory", |given| is(given, true, |meta| meta.is_dir())),
    known("is_dir", |given| is(given, true, |meta| meta.is_dir())),
    known("link", |given| is(given, false, |meta| meta.file_type().is_symlink())),
    known("is_link", |given| is(given, false, |meta| meta.file_type().is_symlink())),
    known("exists", |given| is(given, true, |_| true)),
    known("link_exists", |given| is(given, false, |_| true)),
    known("mount", mount),
    known("is_mount", mount),
    known("abs", |given| Ok(Path::new(&given.subject.to_string()).is_absolute())),
    known("is_abs", |given| Ok(Path::new(&given.subject.to_string()).is_absolute())),
    known("same_file", same),
    known("is_same_file", same),
];

/// Returns the path meant: relative ones start at the playbook.
fn path(given: &Given<'_, '_>, text: &str) -> PathBuf {
    given.run.engine.world().folder().join(text)
}

fn is(given: &Given<'_, '_>, follow: bool, test: fn(&std::fs::Metadata) -> bool) -> Outcome<bool> {
    let path = path(given, &given.subject.to_string());
    Ok(given.run.engine.world().stat(&path, follow).is_some_and(|meta| test(&meta)))
}

fn mount(given: &Given<'_, '_>) -> Outcome<bool> {
    use std::os::unix::fs::MetadataExt;
    let path = path(given, &given.subject.to_string());
    let world = given.run.engine.world();
    let Some(own) = world.stat(&path, false).filter(std::fs::Metadata::is_dir) else { return Ok(false) };
    Ok(world.stat(&path.join(".."), true).is_some_and(|above| above.dev() != own.dev() || above.ino() == own.ino()))
}

fn same(given: &Given<'_, '_>) -> Outcome<bool> {
    use std::os::unix::fs::MetadataExt;
    let world = given.run.engine.world();
    let one = world.stat(&path(given, &given.subject.to_string()), true);
    let two = world.stat(&path(given, &given.needed(0, "path")?.to_string()), true);
    Ok(matches!((one, two), (Some(one), Some(two)) if one.dev() == two.dev() && one.ino() == two.ino()))
}
