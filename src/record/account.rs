//! The account of a run, made from its journal alone: what was done when, by whom and what for, and what is left. The forms
//! that it is told in are [`summary`](super::summary), [`page`](super::page) and [`junit`](super::junit).

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Serialize;

use super::entry::{Step, Who};
use super::past::is_part_of;
use super::{Entry, Past};
use crate::report::event::{Counts, Status};

/// The account of a run.
#[derive(Debug, Serialize)]
pub struct Account {
    /// The run's id.
    pub run: String,
    /// How it stands, in a word or two.
    pub state: String,
    /// Its exit code; none where it broke off.
    pub code: Option<u8>,
    /// The version of windlass that began it.
    pub windlass: String,
    /// Who began it.
    pub who: Who,
    /// The folder it was started in.
    pub folder: String,
    /// The playbooks' paths.
    pub playbooks: Vec<String>,
    /// The inventories, as they were given.
    pub inventories: Vec<String>,
    /// What it was limited to.
    pub limit: Vec<String>,
    /// What the change is for.
    pub ticket: Option<String>,
    /// The digest of the plan that was applied.
    pub plan: Option<String>,
    /// The run that it undoes.
    pub undoes: Option<String>,
    /// The files that were read before anything ran, with their SHA-256 (hex).
    pub files: BTreeMap<String, String>,
    /// When it began.
    pub from: Timestamp,
    /// When its last line was written.
    pub to: Timestamp,
    /// It, and each time it was taken up again.
    pub parts: Vec<Part>,
    /// The counts of each host.
    pub hosts: BTreeMap<String, Counts>,
    /// Its plays, in the order they began in.
    pub plays: Vec<Play>,
    /// Commands that began and did not end: nobody knows how far they came.
    pub unsure: Vec<Unsure>,
    /// What was wrong apart from any host, and plays that were broken off.
    pub stopped: Vec<Said>,
    /// What the user was warned of, each once.
    pub warnings: Vec<Said>,
    /// Handlers that were notified and have not run, by host.
    pub owed: BTreeMap<String, Vec<String>>,
    /// How many lines the journal has.
    pub lines: usize,
    /// The hash of the last of them.
    pub hash: String,
}

/// A run from its beginning, or from where it was taken up again, to where it ended or broke off.
#[derive(Debug, Serialize)]
pub struct Part {
    /// Who ran it.
    pub who: Who,
    /// When it began.
    pub from: Timestamp,
    /// When its last line was written.
    pub to: Timestamp,
    /// How it ended.
    pub end: String,
}

/// A play.
#[derive(Debug, Serialize)]
pub struct Play {
    /// Its name.
    pub name: String,
    /// Its steps, in the order they ended in.
    pub steps: Vec<Done>,
}

/// A step in its last form.
#[derive(Debug, Serialize)]
pub struct Done {
    /// The step.
    #[serde(flatten)]
    pub step: Step,
    /// When it began.
    pub from: Timestamp,
    /// When it ended.
    pub to: Timestamp,
    /// Which part of the run did it, from 0.
    pub part: usize,
    /// What it came to before.
    pub earlier: Vec<Try>,
    /// Its block was broken off: a resumed run does it again.
    pub again: bool,
}

/// What a step came to before it was done again.
#[derive(Debug, Serialize)]
pub struct Try {
    /// When it ended.
    pub time: Timestamp,
    /// How.
    pub status: Status,
    /// Why.
    pub because: String,
}

/// A command that began and did not end.
#[derive(Debug, Serialize)]
pub struct Unsure {
    /// When it began.
    pub time: Timestamp,
    /// The host.
    pub host: String,
    /// The step's key, which begins with its place.
    pub key: String,
}

/// Something that was said.
#[derive(Debug, Serialize)]
pub struct Said {
    /// When.
    pub time: Timestamp,
    /// What.
    pub text: String,
}

impl Account {
    /// Returns the account of a run.
    pub fn of(past: &Past) -> Self {
        let began = &past.began;
        let list = |name: &str| -> Vec<String> {
            let found = began.arguments.get("flags").and_then(|flags| flags.get(name)).or_else(|| began.arguments.get(name));
            let items = found.and_then(|found| found.as_array()).into_iter().flatten();
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let first = past.lines.first().map(|line| line.time).unwrap_or_default();
        let mut account = Self {
            run: began.run.clone(),
            state: past.state(),
            code: past.ended.as_ref().map(|ended| ended.code),
            windlass: began.windlass.clone(),
            who: began.who.clone(),
            folder: began.folder.clone(),
            playbooks: began.playbooks.clone(),
            inventories: list("inventory"),
            limit: list("limit"),
            ticket: began.ticket.clone(),
            plan: began.plan.clone(),
            undoes: began.undoes.clone(),
            files: began.files.clone(),
            from: first,
            to: past.lines.last().map_or(first, |line| line.time),
            parts: Vec::new(),
            hosts: BTreeMap::new(),
            plays: Vec::new(),
            unsure: Vec::new(),
            stopped: Vec::new(),
            warnings: Vec::new(),
            owed: if past.is_unfinished() { past.owed() } else { BTreeMap::new() },
            lines: past.lines.len(),
            hash: past.hash.clone(),
        };
        account.read(past);
        account.hosts = match &past.ended {
            Some(ended) if !ended.recap.is_empty() => ended.recap.clone(),
            // It broke off, or is an undo, which does not count.
            _ => account.counted(),
        };
        account
    }

    fn read(&mut self, past: &Past) {
        let mut at = 0;
        // Where each step is: its play, and its place there.
        let mut places: HashMap<(String, String), (usize, usize)> = HashMap::new();
        for line in &past.lines {
            if let Some(part) = self.parts.last_mut() {
                part.to = line.time;
            }
            match &line.entry {
                Entry::Began(began) => self.begin(began.who.clone(), line.time),
                Entry::Resumed { who } => {
                    // What came between belongs to the part before.
                    if let Some(part) = self.parts.last_mut() {
                        part.to = past.lines.get((line.seq as usize).saturating_sub(1)).map_or(line.time, |line| line.time);
                    }
                    self.begin(who.clone(), line.time);
                }
                Entry::Play { name, .. } => at = self.play(name),
                Entry::StepBegan { host, key } => {
                    let key = key.strip_prefix(&format!("{host} ")).unwrap_or(key).to_owned();
                    self.unsure.push(Unsure { time: line.time, host: host.clone(), key });
                }
                Entry::Step(step) => {
                    if self.plays.is_empty() {
                        at = self.play("");
                    }
                    if !step.unsure {
                        self.unsure.retain(|begun| !is_part_of(&format!("{} {}", begun.host, begun.key), &step.host, &step.key));
                    }
                    self.step(step, line.time, at, &mut places);
                }
                Entry::Again { host, from, whole } => {
                    let is_meant = |step: &Step| step.host == *host && step.ordinal >= *from && (*whole || !super::past::is_opaque(step));
                    let steps = self.plays.iter_mut().flat_map(|play| &mut play.steps);
                    steps.filter(|done| is_meant(&done.step)).for_each(|done| done.again = true);
                }
                Entry::Warning { message } => {
                    if self.warnings.iter().all(|said| said.text != *message) {
                        self.warnings.push(Said { time: line.time, text: message.clone() });
                    }
                }
                Entry::Stopped { why } => self.stopped.push(Said { time: line.time, text: why.clone() }),
                Entry::Ended(ended) => {
                    if let Some(part) = self.parts.last_mut() {
                        part.end = super::past::ending(ended.code);
                    }
                }
                Entry::Task { .. } | Entry::Seat { .. } | Entry::Secrets { .. } | Entry::PartEnded { .. } => {}
            }
        }
    }

    fn begin(&mut self, who: Who, time: Timestamp) {
        self.parts.push(Part { who, from: time, to: time, end: super::past::BROKE_OFF.to_owned() });
    }

    /// Returns where a play is. A play in several batches, or of a resumed run, is one.
    fn play(&mut self, name: &str) -> usize {
        self.plays.iter().position(|play| play.name == name).unwrap_or_else(|| {
            self.plays.push(Play { name: name.to_owned(), steps: Vec::new() });
            self.plays.len() - 1
        })
    }

    fn step(&mut self, step: &Step, time: Timestamp, at: usize, places: &mut HashMap<(String, String), (usize, usize)>) {
        let took = jiff::SignedDuration::try_from_secs_f64(step.seconds).unwrap_or_default();
        let mut done = Done {
            step: Step { sealed: None, ..step.clone() },
            from: time.checked_sub(took).unwrap_or(time),
            to: time,
            part: self.parts.len().saturating_sub(1),
            earlier: Vec::new(),
            again: false,
        };
        let name = (step.host.clone(), step.key.clone());
        if let Some(known) = places.get(&name).and_then(|(play, index)| self.plays.get_mut(*play)?.steps.get_mut(*index)) {
            done.earlier = std::mem::take(&mut known.earlier);
            done.earlier.push(Try { time: known.to, status: known.step.status, because: known.step.because.clone() });
            *known = done;
        } else if let Some(play) = self.plays.get_mut(at) {
            places.insert(name, (at, play.steps.len()));
            play.steps.push(done);
        }
    }

    /// Returns every step.
    pub fn steps(&self) -> impl Iterator<Item = &Done> {
        self.plays.iter().flat_map(|play| &play.steps)
    }

    /// Counts the steps of a run that did not come to count them itself.
    fn counted(&self) -> BTreeMap<String, Counts> {
        let mut hosts: BTreeMap<String, Counts> = BTreeMap::new();
        for Done { step, .. } in self.steps() {
            let counts = hosts.entry(step.host.clone()).or_default();
            let count = match step.status {
                Status::Failed | Status::Unreachable if step.ignored => {
                    counts.ignored += 1;
                    &mut counts.ok
                }
                Status::Failed if step.rescued => &mut counts.rescued,
                Status::Failed => &mut counts.failed,
                Status::Unreachable => &mut counts.unreachable,
                Status::Changed => {
                    counts.changed += 1;
                    &mut counts.ok
                }
                Status::Ok => &mut counts.ok,
                Status::Skipped => &mut counts.skipped,
                Status::Unknown => &mut counts.unknown,
            };
            *count += 1;
        }
        hosts
    }

    /// Returns what the run did, in one sentence.
    pub fn sentence(&self) -> String {
        let count = |is: fn(&Done) -> bool| self.steps().filter(|done| is(done)).count();
        let mut parts = vec![plural(self.hosts.len(), "host"), plural(count(|done| done.step.status == Status::Changed), "changed step")];
        let unknown = count(|done| done.step.status == Status::Unknown || done.step.unsure) + self.unsure.len();
        let owed: usize = self.owed.values().map(Vec::len).sum();
        for (count, what) in [(count(is_failure), "failure"), (unknown, "unknown"), (owed, "handler owed")] {
            if count > 0 {
                parts.push(if what == "handler owed" && count > 1 { format!("{count} handlers owed") } else { plural(count, what) });
            }
        }
        if self.parts.len() > 1 {
            parts.push(format!(
                "taken up again {}",
                if self.parts.len() == 2 { "once".to_owned() } else { format!("{} times", self.parts.len() - 1) }
            ));
        }
        parts.join(", ")
    }
}

/// Whether a step failed and nothing took that back.
pub fn is_failure(done: &Done) -> bool {
    matches!(done.step.status, Status::Failed | Status::Unreachable) && !done.step.ignored && !done.step.rescued
}

/// Returns a number with its word.
pub fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Returns the place of a step's task: the part of the step's key before the module.
pub fn place(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(place, _)| place)
}

/// Returns how long something took, for a person.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        short if short < 60.0 => format!("{short:.1} s"),
        long if long < 3600.0 => format!("{} min {:02} s", (long / 60.0) as u64, (long % 60.0) as u64),
        longer => format!("{} h {:02} min", (longer / 3600.0) as u64, (longer % 3600.0 / 60.0) as u64),
    }
}

/// Returns a time as it is read here, with its offset.
pub fn clock(time: Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// Steps of one task that came to the same on several hosts.
#[derive(Debug)]
pub struct Same<'a> {
    /// The first of them.
    pub done: &'a Done,
    /// What was changed, as text: a line each, then the differences.
    pub told: String,
    /// The hosts.
    pub hosts: Vec<&'a str>,
}

/// Returns these steps, those of one task that came to the same as one.
pub fn folded<'a>(steps: impl Iterator<Item = &'a Done>) -> Vec<Same<'a>> {
    let mut all: Vec<Same<'a>> = Vec::new();
    let mut known: HashMap<(&'a str, &'a str, Status, String), usize> = HashMap::new();
    for done in steps {
        let step = &done.step;
        let mut told = if step.no_log { "hidden by no_log".to_owned() } else { step.changes.join("\n") };
        if told.is_empty() {
            told.clone_from(&step.because);
        }
        for difference in &step.diff {
            told.push('\n');
            told.push_str(crate::change::diff::unified(difference).trim_end());
        }
        let key =
            (step.task.as_str(), place(&step.key), step.status, format!("{told}\n{}", step.diagnostic.as_deref().unwrap_or_default()));
        let at = *known.entry(key).or_insert_with(|| {
            all.push(Same { done, told, hosts: Vec::new() });
            all.len() - 1
        });
        if let Some(same) = all.get_mut(at)
            && !same.hosts.contains(&step.host.as_str())
        {
            same.hosts.push(&step.host);
        }
    }
    all
}
