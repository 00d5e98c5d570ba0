//! The journal of a run, read while it is written: which steps a resumed run will not do again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The steps that are done, by host and key, and how they ended.
pub type Steps = BTreeMap<(String, String), String>;

/// The journal of the one run that there is in a state folder.
pub struct Record {
    runs: PathBuf,
    /// Whole lines only. Bytes.
    read: u64,
    steps: Steps,
}

impl Record {
    /// Nothing is read yet.
    pub fn new(state: &Path) -> Self {
        Self { runs: state.join("runs"), read: 0, steps: Steps::new() }
    }

    /// Whether the run has begun. One that broke off before its journal has a line did nothing, and is begun again.
    pub fn has_begun(&self) -> bool {
        self.journal().is_some()
    }

    /// Reads on, and returns the steps that stand there.
    pub fn steps(&mut self) -> &Steps {
        let mut text = Vec::new();
        if let Some(path) = self.journal()
            && let Ok(mut file) = File::open(path)
        {
            file.seek(SeekFrom::Start(self.read)).and_then(|_| file.read_to_end(&mut text)).expect("the journal");
        }
        text.truncate(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
        self.read += text.len() as u64;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let entry: Value = serde_json::from_slice(line).expect("an entry");
            let is_lost = entry["status"] == "unreachable" || entry["unsure"] == true;
            if entry["entry"] == "step" && !is_lost {
                let text = |name: &str| entry[name].as_str().expect("text").to_owned();
                self.steps.insert((text("host"), text("key")), text("status"));
            }
        }
        &self.steps
    }

    fn journal(&self) -> Option<PathBuf> {
        let runs = fs::read_dir(&self.runs).into_iter().flatten().flatten();
        // Once something was read of it, it is there.
        let has_line = |path: &PathBuf| self.read > 0 || fs::read(path).is_ok_and(|text| text.contains(&b'\n'));
        let is_longer = |path: &PathBuf| fs::metadata(path).is_ok_and(|stat| stat.len() >= self.read);
        runs.map(|run| run.path().join("journal")).filter(is_longer).find(has_line)
    }
}
