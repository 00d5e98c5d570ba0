//! Owner, group and mode as arguments ask for them, in all the spellings that playbooks use.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::probe::{FileKind, Stat};
use super::{Attributes, Failure, Probe};

/// Numbers from here on stand for accounts that a check foresees and that have no number yet.
const FORESEEN: u32 = 0xfff0_0000;

/// Whether `id` stands for an account that a check foresees.
pub fn is_foreseen(id: u32) -> bool {
    id >= FORESEEN && id != u32::MAX
}

/// Returns the number that stands for a foreseen account.
fn stand_in(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    FORESEEN | (hash & 0x000f_fffe)
}

/// A mode as an argument: `"0644"`, `0644` (which YAML reads as 420), `u=rw,g=r,o=`, `u+rwX`, or `preserve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// Permission bits.
    Bits(u32),
    /// Clauses that start from what is there.
    Symbolic(String),
    /// Those of the source file.
    Preserve,
}

impl FileMode {
    /// Reads a mode that was written as text.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "preserve" {
            return Ok(Self::Preserve);
        }
        let digits = text.strip_prefix("0o").unwrap_or(text);
        if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) {
            return match u32::from_str_radix(digits, 8) {
                Ok(bits) if bits <= 0o7777 => Ok(Self::Bits(bits)),
                _ => Err(format!("`{text}` is not a mode; write it in octal, as \"0644\"")),
            };
        }
        symbolic(text, 0, FileKind::File, 0).map(|_| Self::Symbolic(text.to_owned()))
    }

    /// Returns the permission bits for something that has `now`, or is new where that is `None`.
    pub fn bits(&self, now: Option<u32>, kind: FileKind) -> Option<u32> {
        // What does not exist yet starts from nothing set, as a new file under a strict mask.
        let fresh = if kind == FileKind::Directory { 0o755 } else { 0o644 };
        match self {
            Self::Bits(bits) => Some(*bits),
            Self::Symbolic(text) => symbolic(text, now.unwrap_or(fresh), kind, 0o022).ok(),
            Self::Preserve => None,
        }
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Mode;
        impl Visitor<'_> for Mode {
            type Value = FileMode;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mode such as \"0644\" or u+rwX")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<FileMode, E> {
                match u32::try_from(number) {
                    Ok(bits) if bits <= 0o7777 => Ok(FileMode::Bits(bits)),
                    _ => Err(E::custom(format!("`{number}` is not a mode; write it in quotes, as \"0644\""))),
                }
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<FileMode, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<FileMode, E> {
                FileMode::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Mode)
    }
}

impl JsonSchema for FileMode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FileMode".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer"] })
    }
}

/// Applies clauses such as `u+rwX,g-w,o=` to `now`.
fn symbolic(text: &str, now: u32, kind: FileKind, mask: u32) -> Result<u32, String> {
    let wrong =
        || format!("mode must be in octal or symbolic form, and `{text}` is neither; write \"0644\" or clauses such as u=rw,g=r,o=");
    let mut mode = now;
    for clause in text.split(',') {
        let start = clause.find(['+', '-', '=']).ok_or_else(wrong)?;
        let (who, mut rest) = clause.split_at(start);
        if who != "a" && !who.chars().all(|c| "ugo".contains(c)) {
            return Err(wrong());
        }
        while let Some(operator) = rest.chars().next() {
            let tail = rest.get(1..).unwrap_or_default();
            let end = tail.find(['+', '-', '=']).unwrap_or(tail.len());
            let (permissions, next) = tail.split_at(end);
            mode = clause_applied(mode, who, operator, permissions, kind, mask).ok_or_else(wrong)?;
            rest = next;
        }
    }
    Ok(mode)
}

fn clause_applied(mode: u32, who: &str, operator: char, permissions: &str, kind: FileKind, mask: u32) -> Option<u32> {
    let everyone = who.is_empty() || who.contains('a');
    let mut result = mode;
    for (letter, shift, special) in [('u', 6, 0o4000), ('g', 3, 0o2000), ('o', 0, 0)] {
        if !everyone && !who.contains(letter) {
            continue;
        }
        let mut bits = 0;
        let mut extra = 0;
        for permission in permissions.chars() {
            match permission {
                'r' => bits |= 4,
                'w' => bits |= 2,
                'x' => bits |= 1,
                'X' if kind == FileKind::Directory || mode & 0o111 != 0 => bits |= 1,
                'X' => {}
                's' => extra |= special,
                't' if letter == 'o' || everyone => extra |= 0o1000,
                't' => {}
                'u' => bits |= mode >> 6 & 7,
                'g' => bits |= mode >> 3 & 7,
                'o' => bits |= mode & 7,
                _ => return None,
            }
        }
        let mut asked = bits << shift | extra;
        if who.is_empty() {
            // Without a "who" the mask holds, as it does for chmod.
            asked &= !mask;
        }
        result = match operator {
            '+' => result | asked,
            '-' => result & !asked,
            _ => {
                let keep = if kind == FileKind::Directory { 0o7000 } else { 0 };
                let cleared = result & !(7 << shift) & !(special & !keep);
                let sticky = if letter == 'o' && kind != FileKind::Directory { 0o1000 } else { 0 };
                (cleared & !sticky) | asked
            }
        };
    }
    Some(result)
}

/// What a task asks of a file's owner, group and mode.
///
/// Serde cannot flatten a struct into one that denies unknown fields, so a module has the three fields itself
/// (`owner: Option<String>`, `group: Option<String>`, `mode: Option<FileMode>`) and hands them on in this.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Name or number of the user.
    pub owner: Option<&'a str>,
    /// Name or number of the group.
    pub group: Option<&'a str>,
    /// The mode.
    pub mode: Option<&'a FileMode>,
}

impl Wanted<'_> {
    /// Returns the attributes asked for, as numbers. `found` is what is there now, `kind` what will be.
    ///
    /// # Errors
    /// Names the argument whose user or group does not exist.
    pub fn attributes(&self, host: &dyn Probe, found: Option<&Stat>, kind: FileKind) -> Result<Attributes, Failure> {
        let uid = self.owner.filter(|name| !name.is_empty()).map(|name| user_id(host, name)).transpose()?;
        let gid = self.group.filter(|name| !name.is_empty()).map(|name| group_id(host, name)).transpose()?;
        let mode = self.mode.and_then(|mode| mode.bits(found.map(|stat| stat.mode), kind));
        Ok(Attributes { uid, gid, mode, ..Attributes::default() })
    }

    /// Returns the attributes asked for that `found` does not have, as a pair of before and after; `None` where all are as asked.
    ///
    /// # Errors
    /// As [`Wanted::attributes`].
    pub fn missing(&self, host: &dyn Probe, found: &Stat) -> Result<Option<(Attributes, Attributes)>, Failure> {
        let asked = self.attributes(host, Some(found), found.kind)?;
        Ok(missing(found, &asked))
    }
}

/// Returns what of `asked` is not so in `found`, as a pair of before and after; `None` where all is.
pub fn missing(found: &Stat, asked: &Attributes) -> Option<(Attributes, Attributes)> {
    let after = Attributes {
        uid: asked.uid.filter(|uid| *uid != found.uid),
        gid: asked.gid.filter(|gid| *gid != found.gid),
        mode: asked.mode.filter(|mode| *mode != found.mode && found.kind != FileKind::Link),
        atime: asked.atime.filter(|time| (*time - found.atime).abs() > 1e-6),
        mtime: asked.mtime.filter(|time| (*time - found.mtime).abs() > 1e-6),
    };
    if after == Attributes::default() {
        return None;
    }
    let before = Attributes {
        uid: after.uid.map(|_| found.uid),
        gid: after.gid.map(|_| found.gid),
        mode: after.mode.map(|_| found.mode),
        atime: after.atime.map(|_| found.atime),
        mtime: after.mtime.map(|_| found.mtime),
    };
    Some((before, after))
}

/// Returns the number of a user given by name or number.
///
/// # Errors
/// When there is no such user.
pub fn user_id(host: &dyn Probe, name: &str) -> Result<u32, Failure> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match host.user(name)? {
        Some(user) => Ok(user.uid.unwrap_or_else(|| stand_in(name))),
        None => Err(Failure::argument("owner", format!("there is no user `{name}` on the host"))),
    }
}

/// Returns the number of a group given by name or number.
///
/// # Errors
/// When there is no such group.
pub fn group_id(host: &dyn Probe, name: &str) -> Result<u32, Failure> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match host.group(name)? {
        Some(group) => Ok(group.gid.unwrap_or_else(|| stand_in(name))),
        None => Err(Failure::argument("group", format!("there is no group `{name}` on the host"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(text: &str, now: u32, kind: FileKind) -> u32 {
        FileMode::parse(text).expect("a mode").bits(Some(now), kind).expect("bits")
    }

    #[test]
    fn clauses_change_what_is_there() {
        assert_eq!(mode("u+rwX,g-w,o=", 0o664, FileKind::File), 0o640);
        assert_eq!(mode("u+rwX,g-w,o=", 0o775, FileKind::Directory), 0o750);
        assert_eq!(mode("a+X", 0o744, FileKind::File), 0o755);
        assert_eq!(mode("u=rwx,g=rx,o=rx", 0, FileKind::File), 0o755);
        assert_eq!(mode("g=u", 0o640, FileKind::File), 0o660);
        assert_eq!(mode("u+s,+t", 0o755, FileKind::File), 0o5755);
        assert_eq!(mode("u=rw-x", 0o755, FileKind::File), 0o655);
        assert_eq!(mode("ug=rw,o-r", 0o777, FileKind::File), 0o663);
    }

    #[test]
    fn texts_are_octal() {
        assert_eq!(FileMode::parse("0644"), Ok(FileMode::Bits(0o644)));
        assert_eq!(FileMode::parse("1777"), Ok(FileMode::Bits(0o1777)));
        assert!(FileMode::parse("0999").is_err());
        assert!(FileMode::parse("rw").is_err());
        assert!(FileMode::parse("z+r").is_err());
        assert!(FileMode::parse("ao=r").is_err() && FileMode::parse("a=r").is_ok());
    }
}
