//! How long steps and batches took in earlier runs, for the guard of a change window.

use std::collections::HashMap;

use super::entry::Entry;
use super::{Folder, Past};

/// How many runs of the same playbooks are looked at, the newest first.
const LOOKED_AT: usize = 20;

/// How long steps and batches took at most, seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timings {
    steps: HashMap<String, f64>,
    batches: HashMap<String, f64>,
}

impl Timings {
    /// Returns what the runs of these playbooks took. What cannot be read does not count.
    pub fn of(folder: &Folder, playbooks: &[String]) -> Self {
        let mut timings = Self::default();
        let is_same = |run: &String| Past::beginning(folder, run).is_some_and(|began| began.playbooks == playbooks);
        for run in folder.runs().into_iter().rev().filter(is_same).take(LOOKED_AT) {
            if let Ok(past) = Past::read(folder, &run) {
                timings.learn(&past);
            }
        }
        timings
    }

    /// Takes in what a run took.
    fn learn(&mut self, past: &Past) {
        let mut batch: Option<(&str, jiff::Timestamp)> = None;
        for line in &past.lines {
            match &line.entry {
                Entry::Step(step) => longest(&mut self.steps, place(&step.key), step.seconds),
                Entry::Play { name, .. } => {
                    self.end(batch, line.time);
                    batch = Some((name, line.time));
                }
                Entry::Ended(ended) if ended.code == 0 => self.end(batch.take(), line.time),
                // How long it would have taken nobody knows.
                Entry::Ended(_) | Entry::Resumed { .. } => batch = None,
                _ => {}
            }
        }
    }

    fn end(&mut self, batch: Option<(&str, jiff::Timestamp)>, at: jiff::Timestamp) {
        if let Some((name, began)) = batch {
            longest(&mut self.batches, name, at.duration_since(began).as_secs_f64());
        }
    }

    /// Returns how long the step of a task took on a host at most, seconds; `key` is that of a step, or its beginning up to `#`.
    pub fn step(&self, key: &str) -> Option<f64> {
        self.steps.get(place(key)).copied()
    }

    /// Returns how long a batch of the play of this name took at most, seconds.
    pub fn batch(&self, play: &str) -> Option<f64> {
        self.batches.get(play).copied()
    }
}

fn longest(known: &mut HashMap<String, f64>, name: &str, seconds: f64) {
    let slot = known.entry(name.to_owned()).or_default();
    *slot = slot.max(seconds);
}

/// Returns the part of a step's key that all hosts share.
fn place(key: &str) -> &str {
    key.split_once('#').map_or(key, |(place, _)| place)
}
