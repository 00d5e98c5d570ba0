//! A file of lines of which each carries the hash of the one before it, so that nothing can be changed or taken out unseen.
//!
//! A line is a JSON object: `seq` counts from 0, `time` is RFC 3339 in UTC, `prev` is the SHA-256 (hex) of the line before
//! without its line feed, and of nothing for the first; then the fields of the [`Entry`].

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Entry;
use crate::change::digest::hex;

/// A line of a journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Counts from 0.
    pub seq: u64,
    /// When it was written, RFC 3339, UTC.
    pub time: jiff::Timestamp,
    /// The hash of the line before.
    pub prev: String,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

/// Where a chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The number of the next line.
    pub seq: u64,
    /// The hash of the last line.
    pub hash: String,
    /// How long the whole lines are together, bytes.
    pub length: u64,
}

impl Default for End {
    fn default() -> Self {
        Self { seq: 0, hash: hash(b""), length: 0 }
    }
}

impl End {
    /// Returns the next line as text with its line feed, and goes on to it.
    ///
    /// # Errors
    /// When the entry is no JSON, which no entry of ours is.
    pub fn line(&mut self, entry: &serde_json::Value) -> Result<String, String> {
        let mut fields = serde_json::Map::new();
        fields.insert("seq".to_owned(), self.seq.into());
        fields.insert("time".to_owned(), jiff::Timestamp::now().to_string().into());
        fields.insert("prev".to_owned(), self.hash.clone().into());
        fields.extend(entry.as_object().cloned().ok_or("an entry has to be an object")?);
        let mut text = serde_json::Value::Object(fields).to_string();
        self.hash = hash(text.as_bytes());
        self.seq += 1;
        text.push('\n');
        self.length += text.len() as u64;
        Ok(text)
    }
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Reads a chain. A last line that a crash cut short does not count; [`End::length`] says where it would begin.
///
/// # Errors
/// Names the line that does not fit the one before it.
pub fn read(path: &Path) -> Result<(Vec<Line>, End), String> {
    let bytes = std::fs::read(path).map_err(|error| format!("the journal `{}` cannot be read: {error}", path.display()))?;
    let mut end = End::default();
    let mut lines = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
        let (text, after) = rest.split_at(at);
        rest = after.get(1..).unwrap_or_default();
        let number = end.seq + 1;
        let line: Line = match serde_json::from_slice(text) {
            Ok(line) => line,
            // A power cut may leave a last line of zeros.
            Err(_) if rest.is_empty() && text.iter().all(|byte| *byte == 0) => break,
            Err(error) => return Err(format!("line {number} of the journal `{}` is damaged: {error}", path.display())),
        };
        if line.prev != end.hash || line.seq != end.seq {
            return Err(format!("line {number} of the journal `{}` does not follow the one before it: it was changed", path.display()));
        }
        end.hash = hash(text);
        end.seq += 1;
        end.length += at as u64 + 1;
        lines.push(line);
    }
    Ok((lines, end))
}
