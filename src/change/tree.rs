//! What is below a folder, links followed or kept.

use std::path::{Path, PathBuf};

use super::Failure;
use super::probe::{FileKind, Probe, Stat};

/// Something below a folder.
#[derive(Clone, Debug)]
pub struct Below {
    /// Its path, relative to the folder.
    pub path: String,
    /// What it is: a link only where it is not followed, leads nowhere, or leads back to a folder that it is in.
    pub stat: Stat,
}

impl Below {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.stat.kind == FileKind::Directory
    }
}

/// Returns everything below `folder`, each folder before what is in it and after the files beside it, in the order of the names.
///
/// # Errors
/// When a folder cannot be read.
pub fn below(host: &dyn Probe, folder: &Path, follow: bool) -> Result<Vec<Below>, Failure> {
    let mut found = Vec::new();
    let mut above: Vec<(u64, u64)> = host.stat(folder, true)?.iter().map(identity).collect();
    walk(host, folder, "", follow, &mut above, &mut found)?;
    Ok(found)
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.device, stat.inode)
}

fn walk(
    host: &dyn Probe,
    root: &Path,
    below: &str,
    follow: bool,
    above: &mut Vec<(u64, u64)>,
    found: &mut Vec<Below>,
) -> Result<(), Failure> {
    let mut names = host.list(&root.join(below))?.unwrap_or_default();
    names.sort();
    let mut folders = Vec::new();
    for name in names {
        let path = format!("{below}{name}");
        let full: PathBuf = root.join(&path);
        let Some(mut stat) = host.stat(&full, false)? else { continue };
        if stat.kind == FileKind::Link
            && follow
            && let Ok(Some(target)) = host.stat(&full, true)
            && !(target.kind == FileKind::Directory && above.contains(&identity(&target)))
        {
            stat = target;
        }
        if stat.kind == FileKind::Directory { folders.push(Below { path, stat }) } else { found.push(Below { path, stat }) }
    }
    for folder in folders {
        let inner = format!("{}/", folder.path);
        above.push(identity(&folder.stat));
        found.push(folder);
        walk(host, root, &inner, follow, above, found)?;
        above.pop();
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test makes its own files")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::change::Host;

    #[test]
    fn links_are_followed_but_not_in_a_circle() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("tree/in")).expect("made");
        std::fs::create_dir_all(at("out")).expect("made");
        std::fs::write(at("out/file"), "x").expect("written");
        symlink(at("out"), at("tree/in/link")).expect("linked");
        symlink("../tree", at("out/circle")).expect("linked");
        symlink("nowhere", at("tree/broken")).expect("linked");
        symlink("self", at("tree/self")).expect("linked");
        let names = |follow| {
            let all = below(&Host::new(), &at("tree"), follow).expect("read");
            all.iter().map(|below| format!("{} {:?}", below.path, below.stat.kind)).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(names(false), "broken Link, self Link, in Directory, in/link Link");
        assert_eq!(names(true), "broken Link, self Link, in Directory, in/link Directory, in/link/circle Link, in/link/file File");
    }
}
