//! Our own form: what matters and nothing else. Changes, failures and unknowns are shown, hosts with the same result
//! folded into one line; `-v` shows all. On a terminal a progress line tells what runs now.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::event::{Counts, Event, Listener, Status, TaskResult};
use super::output::{Colour, Output};
use super::{fold, recap};
use crate::change::diff::unified;
use crate::source::Place;
use crate::value::json::to_json;
use crate::value::{Map, Value};

/// Writes our own form.
pub struct Terminal {
    output: Output,
    verbosity: u8,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    play: String,
    check: bool,
    task: Option<Task>,
    /// What this task came to so far.
    results: Vec<(Arc<str>, Option<String>, TaskResult)>,
    warned: Vec<String>,
}

/// Hosts, and items of a loop, with the same result.
struct Group {
    labels: Vec<String>,
    text: String,
    result: TaskResult,
    hosts: Vec<Arc<str>>,
}

/// How many items are named that failed for the same reason.
const NAMED: usize = 5;

/// How many lines are shown of what a failed program printed.
const PRINTED: usize = 10;

/// How much is shown of such a line, characters.
const WIDEST: usize = 200;

struct Task {
    name: String,
    module: String,
    place: Option<Place>,
    handler: bool,
}

/// Returns the progress line for a terminal.
pub fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} hosts  {wide_msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

impl Terminal {
    /// Returns a listener that writes to `output`; `verbosity` is the number of `-v`.
    pub fn new(output: Output, verbosity: u8) -> Self {
        Self { output, verbosity, state: Mutex::default() }
    }

    /// Writes what the task that just ended came to.
    fn flush(&self, state: &mut State) {
        let results = std::mem::take(&mut state.results);
        let Some(task) = state.task.take() else { return };
        let mut groups: Vec<Group> = Vec::new();
        for (host, label, result) in results {
            if !self.is_worth_it(&result) {
                continue;
            }
            let (labels, text) = (Vec::from_iter(label), self.describe(&result));
            match groups.iter_mut().find(|group| group.labels == labels && group.text == text) {
                Some(group) if !group.hosts.contains(&host) => group.hosts.push(host),
                Some(_) => {}
                None => groups.push(Group { labels, text, result, hosts: vec![host] }),
            }
        }
        let groups = together(groups);
        if groups.is_empty() {
            return;
        }
        let kind = if task.handler { "handler " } else { "" };
        let mut title = format!("{kind}{}", task.name);
        if self.verbosity > 0 {
            let place = task.place.as_ref().map(|place| format!("  {}:{}", place.path.display(), place.line)).unwrap_or_default();
            title = format!("{title}  ({}){place}", task.module);
        }
        self.output.line(&self.output.paint(Colour::Bold, &title));
        for group in groups {
            let (word, colour) = word(&group.result, state.check);
            let word = self.output.paint(colour, &format!("{word:<12}"));
            let mut lines = group.text.lines();
            let first = format!("{}{}", items(&group.labels), lines.next().unwrap_or_default());
            self.output.line(format!("  {word} {}  {first}", self.output.paint(Colour::Bold, &fold::hosts(&group.hosts))).trim_end());
            for line in lines {
                self.output.line(&format!("      {}", diff_line(&self.output, line)));
            }
        }
    }

    fn is_worth_it(&self, result: &TaskResult) -> bool {
        if result.earlier {
            return self.verbosity > 0;
        }
        match result.status {
            Status::Ok => {
                self.verbosity > 0 || (result.verbose_always && !result.no_log) || !result.warnings.is_empty() || !result.diff.is_empty()
            }
            Status::Skipped => self.verbosity > 0,
            Status::Changed | Status::Failed | Status::Unreachable | Status::Unknown => true,
        }
    }

    /// Returns all there is to tell of a result, the first line being the shortest form.
    fn describe(&self, result: &TaskResult) -> String {
        if result.no_log {
            return result.reason().to_owned();
        }
        let mut first = match result.status {
            Status::Failed | Status::Unreachable if result.diagnostic.is_some() => String::new(),
            Status::Changed if !result.summary.is_empty() => shortened(&result.summary),
            // What a `debug` shows says it all.
            Status::Ok if result.verbose_always => String::new(),
            _ => result.because.clone(),
        };
        if let Some(other) = &result.delegated_to {
            first = format!("{first}  (on {other})");
        }
        let mut lines = vec![first.trim().to_owned()];
        if result.ignored {
            lines.push("ignored, the play goes on".to_owned());
        }
        lines.extend(result.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.extend(result.diagnostic.iter().flat_map(|text| text.lines().map(str::to_owned)));
        if result.status == Status::Failed && self.verbosity < 2 {
            lines.extend(self.printed(result));
        }
        if result.verbose_always && result.status != Status::Failed {
            lines.extend(self.shown_values(result));
        }
        for diff in &result.diff {
            lines.extend(unified(diff).lines().map(str::to_owned));
        }
        if self.verbosity >= 2 && !result.verbose_always {
            let values = self.output.redactor().mask_value(&Value::from(result.values.clone()));
            lines.extend(serde_json::to_string_pretty(&to_json(&values)).unwrap_or_default().lines().map(str::to_owned));
        }
        lines.join("\n")
    }

    /// Returns the last lines of what a failed program printed. One line of complaints is in the message already.
    fn printed(&self, result: &TaskResult) -> Vec<String> {
        let text_of = |name: &str| match result.values.get(name) {
            Some(text @ Value::Str(_)) => self.output.redactor().mask_value(text).to_string(),
            _ => String::new(),
        };
        if !result.values.contains_key("rc") {
            return Vec::new();
        }
        let mut lines = Vec::new();
        for (name, least) in [("stderr", 2), ("stdout", 1)] {
            let text = text_of(name);
            let all: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
            if all.len() < least {
                continue;
            }
            let left_out = all.len().saturating_sub(PRINTED);
            let note = if left_out > 0 { format!(" (the last {PRINTED} of {} lines; -vv shows all)", all.len()) } else { String::new() };
            lines.push(format!("{name}{note}:"));
            lines.extend(all.iter().skip(left_out).map(|line| format!("  {}", start_of(line))));
        }
        lines
    }

    /// Returns the values of a module whose result is its purpose (`debug`).
    fn shown_values(&self, result: &TaskResult) -> Vec<String> {
        let shown = result.values.iter().filter(|(name, _)| {
            !matches!(
                name.as_str(),
                Some("changed" | "failed" | "skipped" | "item" | "ansible_loop_var" | "ansible_index_var" | "_ansible_item_label")
            )
        });
        shown
            .flat_map(|(name, value)| {
                let value = self.output.redactor().mask_value(value);
                let text = match &value {
                    Value::Str(text) => text.to_string(),
                    other => serde_json::to_string_pretty(&to_json(other)).unwrap_or_default(),
                };
                let text = if name.as_str() == Some("msg") { text } else { format!("{name}: {text}") };
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
    }

    fn recap(&self, rows: &[(Arc<str>, Counts)]) {
        let mut groups: Vec<(Counts, Vec<Arc<str>>)> = Vec::new();
        for (host, counts) in rows {
            match groups.iter_mut().find(|(known, _)| known == counts) {
                Some((_, hosts)) => hosts.push(host.clone()),
                None => groups.push((*counts, vec![host.clone()])),
            }
        }
        let names: Vec<_> = groups.iter().map(|(_, hosts)| fold::hosts(hosts)).collect();
        let width = names.iter().map(|name| unicode_width::UnicodeWidthStr::width(name.as_str())).max().unwrap_or_default().min(60);
        for ((counts, _), name) in groups.iter().zip(&names) {
            let colour = match (counts.failed + counts.unreachable, counts.changed, counts.unknown) {
                (0, 0, 0) => Colour::Green,
                (0, _, 0) => Colour::Yellow,
                (0, _, _) => Colour::Magenta,
                _ => Colour::Red,
            };
            self.output.line(&format!("{} : {}", self.output.paint(colour, &format!("{name:<width$}")), recap::counts(counts)));
        }
    }

    fn progress(&self, state: &State) {
        let Some(bar) = self.output.bar() else { return };
        let mut done: Vec<_> = state.results.iter().filter(|(_, label, _)| label.is_none()).map(|(host, _, _)| host).collect();
        done.sort_unstable();
        done.dedup();
        bar.set_position(done.len() as u64);
    }
}

/// Returns the word and colour of a status.
fn word(result: &TaskResult, check: bool) -> (&'static str, Colour) {
    match result.status {
        Status::Ok => ("ok", Colour::Green),
        Status::Changed if check && result.check => ("would change", Colour::Yellow),
        Status::Changed => ("changed", Colour::Yellow),
        Status::Skipped => ("skipped", Colour::Cyan),
        Status::Failed => ("failed", Colour::Red),
        Status::Unreachable => ("unreachable", Colour::Red),
        Status::Unknown => ("unknown", Colour::Magenta),
    }
}

/// Puts items that failed on the same hosts for the same reason together.
fn together(groups: Vec<Group>) -> Vec<Group> {
    let mut all: Vec<Group> = Vec::new();
    for group in groups {
        let is_failed = |group: &Group| group.result.status == Status::Failed && !group.labels.is_empty();
        let is_same = |known: &&mut Group| is_failed(known) && known.text == group.text && known.hosts == group.hosts;
        match all.iter_mut().find(is_same).filter(|_| is_failed(&group)) {
            Some(known) => known.labels.extend(group.labels),
            None => all.push(group),
        }
    }
    all
}

/// Returns the labels of items as they stand before what came of them.
fn items(labels: &[String]) -> String {
    let more = labels.len().saturating_sub(NAMED);
    let named: Vec<_> = labels.iter().take(NAMED).map(|label| format!("({label})")).collect();
    match (named.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!("{}  ", named.join(" ")),
        (false, more) => format!("{} and {more} more items  ", named.join(" ")),
    }
}

/// Returns the beginning of a line that is too long to read.
fn start_of(line: &str) -> String {
    match line.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

/// Returns several changes on one line.
fn shortened(summary: &[String]) -> String {
    match summary {
        [one] => one.clone(),
        [first, rest @ ..] if rest.len() > 2 => format!("{first}, and {} more", rest.len()),
        several => several.join(", "),
    }
}

/// Returns a line of a difference in its colour.
pub fn diff_line(output: &Output, line: &str) -> String {
    let colour = match line.chars().next() {
        _ if line.starts_with("@@") => Colour::Cyan,
        Some('+') => Colour::Green,
        Some('-') => Colour::Red,
        _ => Colour::Plain,
    };
    output.paint(colour, line)
}

impl Listener for Terminal {
    fn tell(&self, event: &Event) {
        let Ok(mut state) = self.state.lock() else { return };
        match event {
            Event::RunStarted { check, .. } => state.check = *check,
            Event::PlaybookStarted { .. } => {}
            Event::PlayStarted { name, hosts, check } => {
                self.flush(&mut state);
                state.check = *check;
                state.play.clone_from(name);
                let mode = if *check { ", check only: nothing is changed" } else { "" };
                let title = self.output.paint(Colour::Bold, &format!("PLAY {name}"));
                self.output.line(&format!("\n{title}  on {}{mode}", fold::hosts(hosts)));
            }
            Event::PlayWithoutHosts { pattern } => {
                self.flush(&mut state);
                self.output.line(&self.output.paint(Colour::Cyan, &format!("\nno host matches `{pattern}`: the play is skipped")));
            }
            Event::TaskStarted { name, module, place, handler, hosts, .. } => {
                self.flush(&mut state);
                if let Some(bar) = self.output.bar() {
                    bar.set_length(*hosts as u64);
                    bar.set_position(0);
                    bar.set_message(self.output.redactor().mask(name));
                }
                state.task = Some(Task { name: name.clone(), module: module.clone(), place: place.clone(), handler: *handler });
            }
            Event::Item { host, label, result, .. } => state.results.push((host.clone(), Some(label.clone()), (**result).clone())),
            Event::Result { host, result, .. } => {
                let had_items = state.results.iter().any(|(known, label, _)| known == host && label.is_some());
                let result = (**result).clone();
                if had_items {
                    // The items have said it, the failed ones too; a failure of the whole (a condition, say) is told here.
                    let told = |(known, label, item): &(Arc<str>, Option<String>, TaskResult)| {
                        known == host && label.is_some() && item.status == result.status
                    };
                    if result.status != Status::Failed || state.results.iter().any(told) {
                        self.progress(&state);
                        return;
                    }
                }
                state.results.push((host.clone(), None, result));
                self.progress(&state);
            }
            Event::Retry { host, attempt, of, .. } => {
                if let Some(bar) = self.output.bar() {
                    bar.set_message(format!("{host}: attempt {attempt} of {of}"));
                }
                if self.verbosity > 0 {
                    self.output.line(&format!(
                        "  {} {host}  attempt {attempt} of {of} did not do",
                        self.output.paint(Colour::Cyan, "retrying    ")
                    ));
                }
            }
            Event::Included { file, hosts, .. } => {
                if self.verbosity > 0 {
                    self.output.line(&format!("  {} {}  {file}", self.output.paint(Colour::Cyan, "included    "), fold::hosts(hosts)));
                }
            }
            // What it did shows in what follows.
            Event::MetaDone { .. } | Event::Job { .. } => {}
            Event::Warning { message } => {
                if !state.warned.contains(message) {
                    self.output.line(&self.output.paint(Colour::Magenta, &format!("warning: {message}")));
                    state.warned.push(message.clone());
                }
            }
            Event::Diagnostic { text } | Event::Said { text } => {
                self.flush(&mut state);
                self.output.line(text);
            }
            Event::CustomStats { hosts, run } => {
                let shown = |stats: &Map| self.output.redactor().mask_value(&Value::from(stats.clone())).to_string();
                hosts.iter().for_each(|(host, stats)| self.output.line(&format!("counted for {host}: {}", shown(stats))));
                if !run.is_empty() {
                    self.output.line(&format!("counted: {}", shown(run)));
                }
            }
            Event::PlayStopped { why } => {
                self.flush(&mut state);
                self.output.line(&self.output.paint(Colour::Red, &format!("the play stops: {why}")));
            }
            Event::RunEnded { recap: rows, took, predicted, unknown, run, code } => {
                self.flush(&mut state);
                if let Some(bar) = self.output.bar() {
                    bar.finish_and_clear();
                }
                self.output.line("");
                self.recap(rows);
                if state.check {
                    self.output.line(&format!("{}; check only: nothing was changed", recap::prediction(*predicted, unknown, rows)));
                }
                let run = run.as_ref().map(|run| {
                    let more = if *code == 0 { String::new() } else { format!("; `windlass resume {run}` goes on from here") };
                    format!(", run {run}{more}")
                });
                self.output.line(&format!("took {:.1} s{}", took.as_secs_f64(), run.unwrap_or_default()));
            }
        }
    }
}
