//! `find`: files and folders of the host that fit.

use std::path::Path;

use fancy_regex::Regex;
use globset::{GlobBuilder, GlobMatcher};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::destination::described;
use crate::change::probe::{FileKind, Stat};
use crate::change::{Failure, Plan, Probe};
use crate::value::{Map, Value, pattern};

/// Lists files, folders or links below some paths that fit all that is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// Folders to look in.
    #[serde(alias = "path", alias = "name")]
    paths: Vec<String>,
    /// Names, as shell patterns, or with `use_regex` as regular expressions; any of them. Everything if not given.
    #[serde(default, alias = "pattern")]
    patterns: Vec<String>,
    /// Names that do not count, written as `patterns` are.
    #[serde(default, alias = "exclude")]
    excludes: Vec<String>,
    /// Whether patterns are regular expressions.
    #[serde(default)]
    use_regex: bool,
    /// Regular expression that a line of the file begins with; for files only.
    contains: Option<String>,
    /// Whether `contains` looks at the whole file rather than line by line.
    #[serde(default)]
    read_whole_file: bool,
    /// The encoding of the files that `contains` looks at; UTF-8 where nothing is said.
    encoding: Option<String>,
    /// What to list.
    #[serde(default)]
    file_type: FileType,
    /// Whether folders below are looked in.
    #[serde(default)]
    recurse: bool,
    /// How many folders deep; no limit if not given.
    depth: Option<u32>,
    /// At least this old (`2d`), or with a minus at most (`-1h`): s, m, h, d, w.
    age: Option<String>,
    /// The time that `age` counts from.
    #[serde(default)]
    age_stamp: Stamp,
    /// At least this large (`10m`), or with a minus at most: b, k, m, g, t.
    size: Option<String>,
    /// Whether names that begin with a dot count.
    #[serde(default)]
    hidden: bool,
    /// Whether links to folders are followed.
    #[serde(default)]
    follow: bool,
    /// Whether the digest of each file is told.
    #[serde(default)]
    get_checksum: bool,
    /// The digest: md5, sha1, sha224, sha256, sha384 or sha512.
    #[serde(default = "sha1", alias = "checksum", alias = "checksum_algo")]
    checksum_algorithm: String,
    /// Permissions that a file must have.
    mode: Option<crate::change::attributes::FileMode>,
    /// Whether `mode` must be had exactly, rather than at least.
    #[serde(default = "yes")]
    exact_mode: bool,
    /// At most so many.
    limit: Option<usize>,
}

/// What to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FileType {
    Any,
    Directory,
    #[default]
    File,
    Link,
}

/// A time of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Stamp {
    Atime,
    Ctime,
    #[default]
    Mtime,
}

fn yes() -> bool {
    true
}

fn sha1() -> String {
    "sha1".to_owned()
}

/// A pattern of a name.
enum Name {
    Shell(GlobMatcher),
    Regular(Regex),
}

impl Name {
    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Shell(glob) => glob.is_match(name),
            // As `match` does in Python: from the start.
            Self::Regular(regex) => regex.find(name).ok().flatten().is_some_and(|found| found.start() == 0),
        }
    }
}

/// What the arguments came to.
struct Search {
    patterns: Vec<Name>,
    excludes: Vec<Name>,
    contains: Option<Regex>,
    age: Option<f64>,
    size: Option<f64>,
}

impl Module for Find {
    const NAME: &'static str = "find";
    const PATHS: &'static [&'static str] = &["paths", "path", "name"];
    const LOOKS: bool = true;
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Certificates in a folder",
            task: "{paths: /etc/app, patterns: '*.crt,*.pem'}",
            given: &[("/etc/app/a.crt", "x"), ("/etc/app/b.key", "y")],
            changes: false,
        },
        Example {
            title: "Large old logs, in the folders below too",
            task: "{paths: [/var/log], patterns: ['.*[.]log$'], use_regex: true, recurse: true, age: 2d, size: 10m, hidden: true}",
            given: &[("/var/log/a.log", "x")],
            changes: false,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let search = self.search()?;
        let mut found = Found::default();
        for path in &self.paths {
            match host.stat(Path::new(path), true)? {
                Some(stat) if stat.kind == FileKind::Directory => self.below(host, path, Path::new(path), 1, &search, &mut found)?,
                Some(_) => found.skip(path, format!("`{path}` is not a directory")),
                None => found.skip(path, format!("`{path}` does not exist")),
            }
        }
        let matched = found.files.len();
        let message = if found.skipped.is_empty() { "All paths examined" } else { "Not all paths examined, check warnings for details" };
        let mut plan = Plan::nothing(format!("{matched} found"))
            .value("files", Value::list(found.files.into_iter().map(Value::from)))
            .value("matched", matched)
            .value("examined", found.examined)
            .value("skipped_paths", found.skipped)
            .value("msg", message);
        plan.warnings = found.warnings;
        Ok(plan)
    }
}

#[derive(Default)]
struct Found {
    files: Vec<Map>,
    examined: usize,
    skipped: Map,
    warnings: Vec<String>,
}

impl Found {
    fn skip(&mut self, path: &str, why: String) {
        self.skipped.insert(path.into(), why.as_str().into());
        self.warnings.push(format!("not searched: {why}"));
    }
}

impl Find {
    fn search(&self) -> Result<Search, Failure> {
        let names = |argument: &str, texts: &[String]| texts.iter().map(|text| self.name(argument, text)).collect::<Result<Vec<_>, _>>();
        let contains = self.contains.as_deref().map(|text| pattern::compile(text, "")).transpose();
        Ok(Search {
            patterns: names("patterns", &self.patterns)?,
            excludes: names("excludes", &self.excludes)?,
            contains: contains.map_err(|message| Failure::argument("contains", message))?,
            age: self.age.as_deref().map(|text| measure("age", text, AGES)).transpose()?,
            size: self.size.as_deref().map(|text| measure("size", text, SIZES)).transpose()?,
        })
    }

    fn name(&self, argument: &str, text: &str) -> Result<Name, Failure> {
        if self.use_regex {
            return pattern::compile(text, "").map(Name::Regular).map_err(|message| Failure::argument(argument, message));
        }
        let glob = GlobBuilder::new(text).build();
        let glob = glob.map_err(|error| Failure::argument(argument, format!("`{text}` is not a pattern: {}", error.kind())))?;
        Ok(Name::Shell(glob.compile_matcher()))
    }

    fn below(&self, host: &dyn Probe, root: &str, folder: &Path, depth: u32, search: &Search, found: &mut Found) -> Result<(), Failure> {
        let names = match host.list(folder) {
            Ok(names) => names.unwrap_or_default(),
            Err(failure @ Failure::Io { .. }) => {
                found.skip(&folder.display().to_string(), failure.to_string());
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        for name in names {
            let path = folder.join(&name);
            found.examined += 1;
            // Folders just below the deepest are listed, and count, but nothing in them is looked at.
            if self.depth.is_some_and(|most| most != 0 && depth > most) {
                continue;
            }
            let Some(stat) = host.stat(&path, false)? else { continue };
            // What a hidden folder holds is looked at all the same: only names of their own hide.
            let wanted_now = (self.hidden || !name.starts_with('.')) && self.limit.is_none_or(|limit| found.files.len() < limit);
            let fits = wanted_now && self.fits(host, &name, &stat, search)?;
            let fits = match (&search.contains, fits && stat.kind == FileKind::File) {
                (Some(contains), true) => match self.contains(host, &path, contains)? {
                    Ok(contained) => contained,
                    Err(why) => {
                        found.skip(root, why);
                        false
                    }
                },
                _ => fits,
            };
            if fits {
                found.files.push(self.entry(host, &path, &stat)?);
            }
            let leads_on = stat.kind == FileKind::Directory
                || (self.follow
                    && stat.kind == FileKind::Link
                    && host.stat(&path, true)?.is_some_and(|stat| stat.kind == FileKind::Directory));
            // A link may lead back up: no real tree is that deep.
            if self.recurse && leads_on && depth < 256 {
                self.below(host, root, &path, depth + 1, search, found)?;
            }
        }
        Ok(())
    }

    fn fits(&self, host: &dyn Probe, name: &str, stat: &Stat, search: &Search) -> Result<bool, Failure> {
        let kind = match self.file_type {
            FileType::Any => true,
            FileType::Directory => stat.kind == FileKind::Directory,
            FileType::File => stat.kind == FileKind::File,
            FileType::Link => stat.kind == FileKind::Link,
        };
        let named = search.patterns.is_empty() || search.patterns.iter().any(|pattern| pattern.fits(name));
        if !kind || !named || search.excludes.iter().any(|pattern| pattern.fits(name)) {
            return Ok(false);
        }
        if let Some(mode) = self.mode.as_ref().and_then(|mode| mode.bits(Some(0), stat.kind))
            && !(if self.exact_mode { stat.mode == mode } else { stat.mode & mode == mode })
        {
            return Ok(false);
        }
        if let Some(age) = search.age {
            let time = match self.age_stamp {
                Stamp::Atime => stat.atime,
                Stamp::Ctime => stat.ctime,
                Stamp::Mtime => stat.mtime,
            };
            // What a check only foresees would be new then.
            let old = if stat.foreseen { 0.0 } else { host.now() - time };
            if !(if age >= 0.0 { old >= age } else { old <= -age }) {
                return Ok(false);
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "sizes are compared roughly")]
        if let Some(size) = search.size
            && !(if size >= 0.0 { stat.size as f64 >= size } else { stat.size as f64 <= -size })
        {
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether a file has the text; the inner error says why it cannot be read as text.
    fn contains(&self, host: &dyn Probe, path: &Path, contains: &Regex) -> Result<Result<bool, String>, Failure> {
        let bytes = match host.read(path) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(Failure::Io { .. }) => return Ok(Ok(false)),
            Err(failure) => return Err(failure),
        };
        let label = self.encoding.as_deref().unwrap_or("utf-8");
        let Some(encoding) = encoding_rs::Encoding::for_label(label.as_bytes()) else {
            return Ok(Err(format!("unknown encoding: {label}")));
        };
        let (text, _, has_errors) = encoding.decode(&bytes);
        if has_errors {
            return Ok(Err(format!("Failed to read the file {} due to an encoding error. current encoding: {label}", path.display())));
        }
        if self.read_whole_file {
            return Ok(Ok(contains.is_match(&text).unwrap_or(false)));
        }
        Ok(Ok(text.lines().any(|line| contains.find(line).ok().flatten().is_some_and(|found| found.start() == 0))))
    }

    fn entry(&self, host: &dyn Probe, path: &Path, stat: &Stat) -> Result<Map, Failure> {
        let mut entry = super::stat::facts(&path.display().to_string(), stat);
        for name in ["exists", "blocks", "block_size", "device_type"] {
            entry.shift_remove(name);
        }
        for (name, value) in described(host, stat)? {
            let name = match name {
                "owner" => "pw_name",
                "group" => "gr_name",
                "uid" | "gid" => name,
                _ => continue,
            };
            entry.insert(name.into(), value);
        }
        if let Some(target) = &stat.target {
            entry.insert("lnk_target".into(), target.display().to_string().into());
        }
        if self.get_checksum && stat.kind == FileKind::File {
            entry.insert("checksum".into(), host.digest(path, &self.checksum_algorithm)?.into());
        }
        Ok(entry)
    }
}

const AGES: &[(char, f64)] = &[('s', 1.0), ('m', 60.0), ('h', 3600.0), ('d', 86_400.0), ('w', 604_800.0)];
const SIZES: &[(char, f64)] = &[('b', 1.0), ('k', 1024.0), ('m', 1_048_576.0), ('g', 1_073_741_824.0), ('t', 1_099_511_627_776.0)];

/// Returns a number with a unit, such as `-10m`.
fn measure(argument: &str, text: &str, units: &[(char, f64)]) -> Result<f64, Failure> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = lower.get(digits.len()..).and_then(|unit| unit.chars().next());
    let factor = match unit {
        None => Some(1.0),
        Some(letter) => units.iter().find(|(known, _)| *known == letter).map(|(_, factor)| *factor),
    };
    match (digits.parse::<f64>(), factor) {
        (Ok(number), Some(factor)) => Ok(number * factor),
        _ => {
            let letters: Vec<_> = units.iter().map(|(letter, _)| letter.to_string()).collect();
            Err(Failure::argument(argument, format!("`{text}` is not a number with one of the units {}", letters.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_have_units() {
        assert_eq!(measure("age", "-2h", AGES), Ok(-7200.0));
        assert_eq!(measure("size", "10m", SIZES), Ok(10_485_760.0));
        assert_eq!(measure("size", "7", SIZES), Ok(7.0));
        assert!(measure("age", "soon", AGES).is_err());
    }
}
