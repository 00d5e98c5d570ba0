//! The journal of a run, read while it is written: which steps a resumed run will not do again; and what its hosts note.

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
    /// The folders in which hosts keep what they note.
    hosts: Vec<PathBuf>,
}

impl Record {
    /// Nothing is read yet.
    pub fn new(state: &Path) -> Self {
        Self { runs: state.join("runs"), read: 0, steps: Steps::new(), hosts: Vec::new() }
    }

    /// With the homes of the users as whom the hosts are worked on.
    pub fn with_homes(mut self, homes: impl Iterator<Item = PathBuf>) -> Self {
        self.hosts = homes.map(|home| home.join(".cache/windlass/runs")).collect();
        self
    }

    /// Returns how much the hosts have noted: that a step begins to change something, what was there, and what came of it. Bytes.
    pub fn noted(&self) -> u64 {
        let below = |folder: &PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let files = self.hosts.iter().flat_map(below).flat_map(|run| below(&run));
        let logs = files.filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-")));
        logs.filter_map(|log| Some(fs::metadata(log).ok()?.len())).sum()
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
