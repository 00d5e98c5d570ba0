//! A run as its journal tells it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::BufRead as _;
use std::sync::Mutex;

use super::chain::{self, Line};
use super::entry::{Began, Ended, Replay, Step};
use super::seal::Key;
use super::{Entry, Folder};
use crate::change::Outcome;
use crate::change::kept::OPAQUE;
use crate::report::event::Status;
use crate::value::secret::Redactor;

/// A run as its journal tells it.
#[derive(Debug)]
pub struct Past {
    /// How it began.
    pub began: Began,
    /// Every line.
    pub lines: Vec<Line>,
    /// The hash of the last line.
    pub hash: String,
    /// How it ended; `None` where it crashed, or still goes on, or was taken up again.
    pub ended: Option<Ended>,
}

/// What a resumed run need not do again.
#[derive(Debug, Default)]
pub struct Known {
    key: Option<Key>,
    steps: HashMap<(String, String), Step>,
    begun: HashSet<(String, String)>,
    /// Parts of steps on the controller itself that ended: what came of them, sealed.
    parts: HashMap<(String, String), String>,
    /// How often the journal heard of a step's end.
    ended: HashMap<(String, String), usize>,
    /// Steps whose program was ended in the middle, and of which nobody decided since what becomes of them.
    broken_off: HashSet<(String, String)>,
    /// From which of a host's steps on something is done again, for each time.
    again: HashMap<String, Vec<u64>>,
    /// Hosts on which no further step of the broken run can have begun.
    fresh: Mutex<HashSet<String>>,
}

impl Past {
    /// Reads a run.
    ///
    /// # Errors
    /// Says what is wrong with the journal.
    pub fn read(folder: &Folder, run: &str) -> Result<Self, String> {
        let path = folder.journal(run);
        let (lines, end) = chain::read(&path)?;
        let Some(Entry::Began(began)) = lines.first().map(|line| &line.entry) else {
            return Err(format!("the journal `{}` has no beginning: the run broke off before anything was done", path.display()));
        };
        let began = (**began).clone();
        let ended = match lines.last().map(|line| &line.entry) {
            Some(Entry::Ended(ended)) => Some((**ended).clone()),
            _ => None,
        };
        Ok(Self { began, lines, hash: end.hash, ended })
    }

    /// Returns how a run began, without reading the rest.
    pub fn beginning(folder: &Folder, run: &str) -> Option<Began> {
        let mut first = String::new();
        let file = std::fs::File::open(folder.journal(run)).ok()?;
        std::io::BufReader::new(file).read_line(&mut first).ok()?;
        match serde_json::from_str::<Line>(&first).ok()?.entry {
            Entry::Began(began) => Some(*began),
            _ => None,
        }
    }

    /// Returns the key of the run.
    ///
    /// # Errors
    /// When it was sealed with another key of the state folder.
    pub fn key(&self, folder: &Folder) -> Result<Key, String> {
        let bytes = folder.key()?.open(&self.began.key).map_err(|error| format!("the key of run {}: {error}", self.began.run))?;
        Key::from_bytes(&bytes).ok_or_else(|| format!("the key of run {} is damaged", self.began.run))
    }

    /// Teaches a redactor the secrets of the run.
    ///
    /// # Errors
    /// As [`Past::key`].
    pub fn teach(&self, folder: &Folder, redactor: &Redactor) -> Result<(), String> {
        let key = self.key(folder)?;
        for line in &self.lines {
            if let Entry::Secrets { sealed } = &line.entry {
                let secrets: Vec<String> = serde_json::from_slice(&key.open(sealed)?)
                    .map_err(|error| format!("the sealed secrets of run {} are damaged: {error}", self.began.run))?;
                secrets.iter().for_each(|secret| redactor.learn(secret));
            }
        }
        Ok(())
    }

    /// Returns the flags that may hold secrets.
    ///
    /// # Errors
    /// As [`Past::key`].
    pub fn secret(&self, folder: &Folder) -> Result<serde_json::Value, String> {
        let plain = self.key(folder)?.open(&self.began.sealed)?;
        serde_json::from_slice(&plain).map_err(|error| format!("the sealed flags of run {} are damaged: {error}", self.began.run))
    }

    /// Returns how the run stands, in a word or two.
    pub fn state(&self) -> String {
        self.ended.as_ref().map_or_else(|| BROKE_OFF.to_owned(), |ended| ending(ended.code))
    }

    /// Whether anything is left to do: the run did not end, or not well.
    pub fn is_unfinished(&self) -> bool {
        self.ended.as_ref().is_none_or(|ended| ended.code != 0)
    }

    /// Returns the steps that are done, each in its last form, in the order they ended in.
    pub fn steps(&self) -> Vec<&Step> {
        let mut steps: Vec<Option<&Step>> = Vec::new();
        let mut places: HashMap<(&str, &str), usize> = HashMap::new();
        // How many steps there were when this part of the run began.
        let mut before = 0;
        // From which of a host's steps on nothing counts, as the block they belong to was broken off: what follows is its `always`.
        let mut broken: HashMap<&str, u64> = HashMap::new();
        for line in &self.lines {
            match &line.entry {
                Entry::Step(step) => {
                    let earlier = places.remove(&(step.host.as_str(), step.key.as_str()));
                    if let Some(slot) = earlier.and_then(|place| steps.get_mut(place)) {
                        *slot = None;
                    }
                    // The run goes another way than before: handlers that ran farther on ran before what is done only now.
                    let passed = |old: &Step| old.handler && old.host == step.host && old.ordinal >= step.ordinal && old.key != step.key;
                    steps.iter_mut().take(before).filter(|slot| slot.is_some_and(passed)).for_each(|slot| *slot = None);
                    if broken.get(step.host.as_str()).is_none_or(|from| step.ordinal < *from) {
                        places.insert((&step.host, &step.key), steps.len());
                        steps.push(Some(step));
                    }
                }
                Entry::Again { host, from, whole } => {
                    let goes = |step: &Step| step.host == *host && step.ordinal >= *from && (*whole || !is_opaque(step));
                    steps.iter_mut().filter(|slot| slot.is_some_and(goes)).for_each(|slot| *slot = None);
                    let known = broken.entry(host).or_insert(*from);
                    *known = (*known).min(*from);
                }
                Entry::Resumed { .. } => {
                    broken.clear();
                    before = steps.len();
                }
                _ => {}
            }
        }
        steps.into_iter().flatten().collect()
    }

    /// Returns the handlers that were notified and did not run, by host, in order.
    pub fn owed(&self) -> BTreeMap<String, Vec<String>> {
        let mut owed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for step in self.steps() {
            let of_host = owed.entry(step.host.clone()).or_default();
            if step.handler && (step.status != Status::Failed && step.status != Status::Unreachable) {
                of_host.retain(|name| *name != step.task && !step.task.ends_with(&format!(" : {name}")));
            }
            for name in &step.notified {
                if !of_host.contains(name) {
                    of_host.push(name.clone());
                }
            }
        }
        owed.retain(|_, names| !names.is_empty());
        owed
    }

    /// Returns what a resumed run need not do again.
    ///
    /// # Errors
    /// As [`Past::key`].
    pub fn known(&self, folder: &Folder) -> Result<Known, String> {
        let mut known = Known { key: Some(self.key(folder)?), ..Known::default() };
        for step in self.steps() {
            let settled = match step.status {
                Status::Ok | Status::Changed | Status::Skipped => true,
                Status::Failed => (step.ignored || step.rescued) && !step.broken_off,
                Status::Unreachable => step.ignored,
                Status::Unknown => false,
            };
            if settled && step.sealed.is_some() {
                known.steps.insert((step.host.clone(), step.key.clone()), step.clone());
            }
        }
        for line in &self.lines {
            if let Entry::Step(step) = &line.entry
                && !step.unsure
            {
                let name = (step.host.clone(), step.key.clone());
                if step.broken_off {
                    known.broken_off.insert(name)
                } else {
                    known.broken_off.remove(&name)
                };
            }
            match &line.entry {
                Entry::StepBegan { host, key } => {
                    known.begun.insert((host.clone(), key.clone()));
                }
                Entry::PartEnded { host, key, sealed } => {
                    known.parts.insert((host.clone(), key.clone()), sealed.clone());
                }
                Entry::Again { host, from, .. } => known.again.entry(host.clone()).or_default().push(*from),
                // What became of a step whose host was lost, or of which nobody was sure, is still to be heard.
                Entry::Step(step) if !step.unsure && step.status != Status::Unreachable => {
                    known.begun.retain(|(_, name)| !is_part_of(name, &step.host, &step.key));
                    *known.ended.entry((step.host.clone(), step.key.clone())).or_default() += 1;
                }
                _ => {}
            }
        }
        Ok(known)
    }
}

/// Whether `name` is that of a step of this host and key ([`Known::name`]), or of a part of it.
pub fn is_part_of(name: &str, host: &str, key: &str) -> bool {
    let rest = name.strip_prefix(host).and_then(|rest| rest.strip_prefix(' ')).and_then(|rest| rest.strip_prefix(key));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '~']))
}

/// How a run stands whose journal has no end.
pub(super) const BROKE_OFF: &str = "broke off";

/// Returns how a run stands that ended with this exit code.
pub(super) fn ending(code: u8) -> String {
    match code {
        0 => "done".to_owned(),
        13 => "stopped as its window closed".to_owned(),
        130 => "interrupted".to_owned(),
        code => format!("ended with code {code}"),
    }
}

/// Whether a step ran a program of the user's: one that is done is not done again only because its block was broken off.
pub(super) fn is_opaque(step: &Step) -> bool {
    OPAQUE.contains(&step.module.as_str())
}

impl Known {
    /// Returns a step that was done, and what is needed of it to go on as if it had been done now.
    pub fn step(&self, host: &str, key: &str) -> Option<(&Step, Replay)> {
        let step = self.steps.get(&(host.to_owned(), key.to_owned()))?;
        let plain = self.key.as_ref()?.open(step.sealed.as_deref()?).ok()?;
        Some((step, Replay::unpacked(&plain)?))
    }

    /// Whether there is an earlier part of the run at all.
    pub fn is_resumed(&self) -> bool {
        self.key.is_some()
    }

    /// Whether a step was done.
    pub fn has(&self, host: &str, key: &str) -> bool {
        self.steps.contains_key(&(host.to_owned(), key.to_owned()))
    }

    /// Returns the name by which a step, the host's `ordinal`th, is done now. It has the host that the step is for, as several may
    /// have theirs done on the same machine; and a step that ended and is done again, or that belongs to what is done again, must
    /// not be taken for what it was then.
    pub fn name(&self, host: &str, key: &str, ordinal: u64) -> String {
        let ended = self.ended.get(&(host.to_owned(), key.to_owned())).copied().unwrap_or_default();
        let again = self.again.get(host).map_or(0, |marks| marks.iter().filter(|from| **from <= ordinal).count());
        match ended + again {
            0 => format!("{host} {key}"),
            times => format!("{host} {key}~{times}"),
        }
    }

    /// Returns what came of a part of a step on the controller itself.
    pub fn part(&self, host: &str, key: &str) -> Option<Outcome> {
        let sealed = self.parts.get(&(host.to_owned(), key.to_owned()))?;
        postcard::from_bytes(&self.key.as_ref()?.open(sealed).ok()?).ok()
    }

    /// Whether a step on the controller itself had begun and did not end.
    pub fn had_begun(&self, host: &str, key: &str) -> bool {
        self.begun.contains(&(host.to_owned(), key.to_owned()))
    }

    /// Whether a step's program was ended in the middle, so that nobody knows how far it came.
    pub fn was_broken_off(&self, host: &str, key: &str) -> bool {
        self.broken_off.contains(&(host.to_owned(), key.to_owned()))
    }

    /// Whether a host may still have a step that was done without the controller hearing of it.
    pub fn may_have_more(&self, host: &str) -> bool {
        self.key.is_some() && !self.fresh.lock().is_ok_and(|fresh| fresh.contains(host))
    }

    /// Notes that the host has no such step: one it was asked for was never begun.
    pub fn no_more(&self, host: &str) {
        if let Ok(mut fresh) = self.fresh.lock() {
            fresh.insert(host.to_owned());
        }
    }
}
