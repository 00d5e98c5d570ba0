//! Patterns of hosts: `web:&prod:!db`, `*.example.net`, `web[0]`, `~regex`, and `--limit`.

use globset::GlobBuilder;
use indexmap::IndexSet;

use crate::source::Diagnostic;

use super::{ALL, HostName, Inventory};

/// Names that mean the controller where the inventory has no such host.
const LOCAL: &[&str] = &["localhost", "127.0.0.1", "::1"];

impl Inventory {
    /// Returns the hosts that a pattern names and every `--limit` allows, in the inventory's order.
    ///
    /// # Errors
    /// A pattern makes no sense, or the file of an `@file` cannot be read.
    pub fn hosts_matching(&self, pattern: &str, limit: &[String]) -> Result<Vec<HostName>, Diagnostic> {
        let mut hosts = self.evaluate(&split(pattern))?;
        if !limit.is_empty() {
            let allowed = self.limited(limit)?;
            hosts.retain(|host| allowed.contains(host));
        }
        Ok(hosts.into_iter().collect())
    }

    /// Returns the parts of a pattern that name nothing, for a warning.
    pub fn unmatched(&self, pattern: &str) -> Vec<String> {
        let parts = split(pattern).into_iter();
        let bare = parts.map(|part| part.trim_start_matches(['!', '&']).to_owned());
        bare.filter(|part| part != ALL && self.one(part).is_ok_and(|hosts| hosts.is_empty()) && !self.groups.contains_key(part.as_str()))
            .collect()
    }

    fn limited(&self, limit: &[String]) -> Result<IndexSet<HostName>, Diagnostic> {
        let mut parts = Vec::new();
        for part in limit.iter().flat_map(|limit| split(limit)) {
            let Some(path) = part.strip_prefix('@') else {
                parts.push(part);
                continue;
            };
            if std::path::Path::new(path).is_dir() {
                return Err(Diagnostic::error(format!("--limit: `{path}` must be a file, and is a directory")));
            }
            let text = std::fs::read_to_string(path).map_err(|error| {
                let text = error.to_string();
                Diagnostic::error(format!("cannot read the limit file `{path}`: {}", text.split(" (os error").next().unwrap_or_default()))
            })?;
            parts.extend(text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).flat_map(split));
        }
        self.evaluate(&parts)
    }

    /// Unites the plain parts, then intersects with `&` and takes away `!`, whatever their order.
    fn evaluate(&self, parts: &[String]) -> Result<IndexSet<HostName>, Diagnostic> {
        let mut hosts = IndexSet::new();
        let plain: Vec<_> = parts.iter().filter(|part| !part.starts_with(['!', '&'])).map(String::as_str).collect();
        // Nothing but commas, or only `!` and `&`: all hosts are meant.
        for part in if plain.is_empty() { vec![ALL] } else { plain } {
            hosts.extend(self.one(part)?);
        }
        for part in parts.iter().filter_map(|part| part.strip_prefix('&')) {
            let allowed = self.one(part)?;
            hosts.retain(|host| allowed.contains(host));
        }
        for part in parts.iter().filter_map(|part| part.strip_prefix('!')) {
            let refused = self.one(part)?;
            hosts.retain(|host| !refused.contains(host));
        }
        Ok(hosts)
    }

    /// Returns the hosts of one part without `!` and `&`.
    fn one(&self, part: &str) -> Result<IndexSet<HostName>, Diagnostic> {
        if let Some((host, _)) = self.hosts.get_key_value(part) {
            return Ok(IndexSet::from([host.clone()]));
        }
        let (name, subscript) = subscript(part)?;
        let found = self.named(name)?;
        let Some((first, last)) = subscript else { return Ok(found) };
        let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
        let at = |index: i64| if index < 0 { index + count } else { index };
        let (first, last) = (at(first), last.map_or(count - 1, at));
        let within = |(index, host)| {
            let index = i64::try_from(index).unwrap_or(i64::MAX);
            (index >= first && index <= last).then_some(host)
        };
        Ok(found.into_iter().enumerate().filter_map(within).collect())
    }

    /// Returns the hosts of the groups, and the hosts, that a name, glob or regular expression names.
    fn named(&self, name: &str) -> Result<IndexSet<HostName>, Diagnostic> {
        if let Some((host, _)) = self.hosts.get_key_value(name)
            && !self.groups.contains_key(name)
        {
            return Ok(IndexSet::from([host.clone()]));
        }
        let mut found = IndexSet::new();
        if self.groups.contains_key(name) || matches!(name, "*" | ALL) {
            found.extend(self.hosts_in(if name == "*" { ALL } else { name }));
        } else if name.starts_with('~') || name.contains(['*', '?', '[']) {
            let matches = matcher(name)?;
            for group in self.groups.keys().filter(|group| matches(group)) {
                found.extend(self.hosts_in(group));
            }
            found.extend(self.hosts.keys().filter(|host| matches(host)).cloned());
        }
        if found.is_empty() && LOCAL.contains(&name) {
            found.insert(name.into());
        }
        Ok(found)
    }
}

/// A test of names.
type Matcher = Box<dyn Fn(&str) -> bool>;

fn matcher(pattern: &str) -> Result<Matcher, Diagnostic> {
    if let Some(expression) = pattern.strip_prefix('~') {
        let regex = regex::Regex::new(&format!("^(?:{expression})")).map_err(|error| {
            let why = error.to_string();
            Diagnostic::error(format!("`{expression}` is not a regular expression: {}", why.lines().last().unwrap_or_default()))
        })?;
        return Ok(Box::new(move |name| regex.is_match(name)));
    }
    let glob = GlobBuilder::new(pattern).literal_separator(false).backslash_escape(false).build();
    let glob =
        glob.map_err(|error| Diagnostic::error(format!("`{pattern}` is not a pattern of hosts: {}", error.kind())))?.compile_matcher();
    Ok(Box::new(move |name| glob.is_match(name)))
}

/// Splits a pattern at commas, or where there are none at the colons that stand neither in brackets nor in an IPv6 address.
fn split(pattern: &str) -> Vec<String> {
    let whole = pattern.trim();
    let parts: Vec<&str> = if whole.contains(',') {
        whole.split(',').collect()
    } else if whole.parse::<std::net::Ipv6Addr>().is_ok() || whole.starts_with('~') {
        vec![whole]
    } else {
        let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
        for (at, c) in whole.char_indices() {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                ':' if depth == 0 => {
                    parts.push(&whole[start..at]);
                    start = at + 1;
                }
                _ => {}
            }
        }
        parts.push(&whole[start..]);
        parts
    };
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The first and, for a range, the last index; none for "to the end".
type Subscript = Option<(i64, Option<i64>)>;

/// Takes `[0]`, `[-1]`, `[0:2]` or `[1:]` off the end of a part.
fn subscript(part: &str) -> Result<(&str, Subscript), Diagnostic> {
    let Some((name, inner)) = part.strip_suffix(']').and_then(|part| part.rsplit_once('[')) else { return Ok((part, None)) };
    let is_index = |text: &str| text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    if part.starts_with('~') || name.is_empty() || inner.is_empty() {
        return Ok((part, None));
    }
    let (first, last) = inner.split_once([':', '-']).map_or((inner, None), |(first, last)| (first, Some(last)));
    let (first, last) = if inner.starts_with('-') { (inner, None) } else { (first, last) };
    if !is_index(first) || !last.is_none_or(is_index) {
        // A set of characters, as in `web[ab]`.
        return Ok((part, None));
    }
    let number = |text: &str| {
        text.parse::<i64>()
            .map_err(|_| Diagnostic::error(format!("`[{inner}]` in the pattern `{part}` is not `[number]` or `[first:last]`")))
    };
    let begin = if first.is_empty() { 0 } else { number(first)? };
    let end = match last {
        None => Some(begin),
        Some("") => None,
        Some(last) => Some(number(last)?),
    };
    Ok((name, Some((begin, end))))
}
