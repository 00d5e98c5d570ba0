//! Paths of a host that a shell pattern means.

use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use super::{Failure, Probe};

/// Whether `pattern` has a character that makes it a pattern.
pub fn is_pattern(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// Returns the existing paths that `pattern` means, sorted: `*` and `?` do not cross a `/` and do not match a leading dot.
///
/// # Errors
/// Passes on what the host says while looking.
pub fn glob(host: &dyn Probe, pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    let mut found = vec![PathBuf::from(if pattern.starts_with('/') { "/" } else { "" })];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for folder in &found {
            if !is_pattern(part) {
                next.push(folder.join(part));
                continue;
            }
            let matcher = GlobBuilder::new(part).literal_separator(true).build();
            let matcher =
                matcher.map_err(|error| Failure::failed(format!("`{pattern}` is not a pattern: {}", error.kind())))?.compile_matcher();
            let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            if !host.stat(place, true)?.is_some_and(|stat| stat.kind == super::probe::FileKind::Directory) {
                continue;
            }
            let names = host.list(place)?.unwrap_or_default();
            let fits = |name: &String| (part.starts_with('.') || !name.starts_with('.')) && matcher.is_match(name);
            next.extend(names.into_iter().filter(fits).map(|name| folder.join(name)));
        }
        found = next;
    }
    let mut there = Vec::new();
    for path in found {
        if host.stat(&path, false)?.is_some() {
            there.push(path);
        }
    }
    Ok(there)
}
