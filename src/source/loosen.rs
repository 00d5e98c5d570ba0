//! Lines of brackets and quoted texts may stand further left in Ansible's YAML than YAML 1.2 and our parser allow:
//!
//! ```yaml
//! - packages: [
//!   one, two
//! ]
//! ```
//!
//! Spaces there mean nothing, so such lines are given more of them for the parser; places stay those of the file.

use std::collections::BTreeSet;

use super::mistakes;

/// How often a text is given more spaces. A file that needs more lines than this is told where it is wrong.
pub(super) const MOST: usize = 500;

/// Returns where the lines begin that the parser's complaint `info` at byte `at` finds too far left.
pub(super) fn too_far_left(text: &str, at: usize, info: &str) -> BTreeSet<usize> {
    let Some(rest) = text.get(at..) else { return BTreeSet::new() };
    if matches!(info, "invalid indentation" | "invalid indentation in flow construct") {
        return BTreeSet::from([text[..at].rfind('\n').map_or(0, |newline| newline + 1)]);
    }
    if info != "invalid indentation in quoted scalar" {
        return BTreeSet::new();
    }
    let Some(length) = mistakes::quoted_length(rest) else { return BTreeSet::new() };
    let lines = rest[..length].match_indices('\n').map(|(newline, _)| at + newline + 1);
    let starts: BTreeSet<usize> = lines.collect();
    // A document marker ends the text whatever is before it; it is the mistake then.
    let marker = starts.iter().any(|start| text[*start..].starts_with("---") || text[*start..].starts_with("..."));
    if marker { BTreeSet::new() } else { starts }
}

/// Returns `text` with more spaces in front of the lines that begin at `lines`, and the byte in `text` of each of its characters.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn with_spaces(text: &str, lines: &BTreeSet<usize>) -> (String, Vec<u32>) {
    let deepest = text.lines().map(|line| line.len() - line.trim_start_matches([' ', '-', '?']).len()).max().unwrap_or_default();
    let spaces = deepest + 1;
    let mut out = String::with_capacity(text.len() + lines.len() * spaces);
    let mut bytes = Vec::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if lines.contains(&at) && c != '\n' && c != '\r' {
            out.extend(std::iter::repeat_n(' ', spaces));
            bytes.extend(std::iter::repeat_n(at as u32, spaces));
        }
        out.push(c);
        bytes.push(at as u32);
    }
    (out, bytes)
}
