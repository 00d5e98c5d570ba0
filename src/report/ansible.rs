//! Ansible's own default form, for people and scripts that know it.

use std::sync::{Arc, Mutex};

use super::event::{Counts, Event, Listener, Status, TaskResult};
use super::output::{Colour, Output};
use crate::change::Difference;
use crate::change::diff::unified;
use crate::value::json::to_json;
use crate::value::{Map, Value};

/// The width that banners are filled to.
const WIDTH: usize = 79;

/// Values that the default form leaves out unless asked for more.
pub(super) const INTERNAL: &[&str] = &["invocation", "diff", "ansible_facts", "_secrets", "stdout_lines", "stderr_lines", "warnings"];

/// Writes in the form of Ansible's `default` callback.
pub struct AnsibleForm {
    output: Output,
    verbosity: u8,
    /// A task's banner is written when its first result comes, as a task that no host runs has none... but Ansible writes it
    /// at once; so do we. What is kept is only whether a blank line is due.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether to print skipped hosts.
    items_seen: Vec<Arc<str>>,
    /// The module of the task at work.
    module: String,
}

impl AnsibleForm {
    /// Returns a listener that writes to `output`; `verbosity` is the number of `-v`.
    pub fn new(output: Output, verbosity: u8) -> Self {
        Self { output, verbosity, state: Mutex::default() }
    }

    fn banner(&self, text: &str) {
        let stars = WIDTH.saturating_sub(text.chars().count() + 1).max(3);
        self.output.line(&format!("\n{text} {}", "*".repeat(stars)));
    }

    fn host(host: &str, result: &TaskResult) -> String {
        match &result.delegated_to {
            Some(other) => format!("[{host} -> {other}]"),
            None => format!("[{host}]"),
        }
    }

    fn result(&self, host: &str, result: &TaskResult, label: Option<&str>) {
        let who = Self::host(host, result);
        let item = label.map(|label| format!(" => (item={label})")).unwrap_or_default();
        for diff in &result.diff {
            self.diff(diff);
        }
        for warning in &result.warnings {
            self.output.line(&self.output.paint(Colour::Magenta, &format!("[WARNING]: {warning}")));
        }
        let dump = |always: bool| if always || self.verbosity > 0 { format!(" => {}", self.dump(result)) } else { String::new() };
        let line = match result.status {
            Status::Ok => self.output.paint(Colour::Green, &format!("ok: {who}{item}{}", dump(result.verbose_always || self.is_assert()))),
            Status::Changed => self.output.paint(Colour::Yellow, &format!("changed: {who}{item}{}", dump(result.verbose_always))),
            Status::Skipped => self.output.paint(Colour::Cyan, &format!("skipping: {who}{item}{}", dump(false))),
            Status::Unknown => self.output.paint(Colour::Magenta, &format!("unknown: {who}{item} => {}", result.because)),
            Status::Failed if label.is_some() => {
                self.output.paint(Colour::Red, &format!("failed: {who} (item={}) => {}", label.unwrap_or_default(), self.dump(result)))
            }
            Status::Failed => self.output.paint(Colour::Red, &format!("fatal: {who}: FAILED! => {}", self.dump(result))),
            Status::Unreachable => self.output.paint(Colour::Red, &format!("fatal: {who}: UNREACHABLE! => {}", self.dump(result))),
        };
        if let Some(diagnostic) = &result.diagnostic
            && matches!(result.status, Status::Failed | Status::Unreachable)
        {
            self.output.line(diagnostic);
        }
        self.output.line(&line);
        if result.ignored && label.is_none() {
            self.output.line(&self.output.paint(Colour::Cyan, "...ignoring"));
        }
    }

    /// Whether the task is an `assert`, which tells that all is well.
    fn is_assert(&self) -> bool {
        self.state.lock().is_ok_and(|state| state.module == "assert")
    }

    fn dump(&self, result: &TaskResult) -> String {
        if result.no_log {
            let changed = result.status == Status::Changed;
            return format!(
                "{{\"censored\": \"the output has been hidden due to the fact that 'no_log: true' was specified for this result\", \"changed\": {changed}}}"
            );
        }
        let mut values: Map = result.values.clone();
        if self.verbosity < 3 {
            values.retain(|name, _| !name.as_str().is_some_and(|name| INTERNAL.contains(&name)));
        }
        if result.verbose_always {
            let variable = values.get("ansible_loop_var").map(ToString::to_string);
            let index = values.get("ansible_index_var").map(ToString::to_string);
            let is_noise = |name: &str| {
                matches!(name, "changed" | "failed" | "skipped" | "ansible_loop_var" | "ansible_index_var")
                    || variable.as_deref() == Some(name)
                    || index.as_deref() == Some(name)
            };
            values.retain(|name, _| !name.as_str().is_some_and(is_noise));
        } else {
            values.entry("changed".into()).or_insert(Value::Bool(result.status == Status::Changed));
        }
        if self.is_assert() && result.status == Status::Ok {
            values.shift_remove("failed");
        }
        let mut values = Value::from(values);
        sort_keys(&mut values);
        let json = to_json(&self.output.redactor().mask_value(&values));
        if result.verbose_always || self.is_assert() || self.verbosity >= 2 { indented(&json) } else { one_line(&json) }
    }

    fn diff(&self, diff: &Difference) {
        let text = unified(diff);
        for line in text.lines() {
            self.output.line(&super::terminal::diff_line(&self.output, line));
        }
        if !text.is_empty() {
            self.output.line("");
        }
    }

    fn recap(&self, recap: &[(Arc<str>, Counts)]) {
        self.banner("PLAY RECAP");
        for (host, counts) in recap {
            let Counts { ok, changed, unreachable, failed, skipped, rescued, ignored, unknown } = counts;
            let colour = match (failed + unreachable, *changed) {
                (0, 0) => Colour::Green,
                (0, _) => Colour::Yellow,
                _ => Colour::Red,
            };
            let more = if *unknown > 0 { format!("unknown={unknown:<4} ") } else { String::new() };
            let name = self.output.paint(colour, &format!("{host:<26}"));
            self.output.line(&format!(
                "{name} : ok={ok:<4} changed={changed:<4} unreachable={unreachable:<4} failed={failed:<4} skipped={skipped:<4} rescued={rescued:<4} ignored={ignored:<4}{more}"
            ));
        }
        self.output.line("");
    }
}

/// Sorts the keys of dictionaries, inner ones too.
pub(super) fn sort_keys(value: &mut Value) {
    match value {
        Value::Map(map) => {
            let map = Arc::make_mut(map);
            map.sort_keys();
            map.values_mut().for_each(sort_keys);
        }
        Value::List(items) => Arc::make_mut(items).iter_mut().for_each(sort_keys),
        _ => {}
    }
}

/// Returns JSON on one line as Python's `json.dumps` writes it: with blanks after `:` and `,`.
pub(super) fn one_line(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::Array(items) => format!("[{}]", items.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        serde_json::Value::Object(map) => {
            let entries: Vec<_> =
                map.iter().map(|(key, item)| format!("{}: {}", serde_json::Value::from(key.as_str()), one_line(item))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        plain => plain.to_string(),
    }
}

/// Returns JSON with four blanks a level.
pub(super) fn indented(json: &serde_json::Value) -> String {
    let mut out = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut out, form);
    match serde::Serialize::serialize(json, &mut writer) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(_) => json.to_string(),
    }
}

impl Listener for AnsibleForm {
    fn tell(&self, event: &Event) {
        match event {
            Event::RunStarted { .. } | Event::PlayStopped { .. } => {}
            Event::PlaybookStarted { path, plays } => {
                if self.verbosity >= 2 {
                    let name = std::path::Path::new(path).file_name().map_or(path.as_str().into(), |name| name.to_string_lossy());
                    self.banner(&format!("PLAYBOOK: {name}"));
                    self.output.line(&format!("{plays} plays in {path}"));
                }
            }
            Event::PlayStarted { name, check, .. } => {
                let mode = if *check { " [CHECK MODE]" } else { "" };
                self.banner(&if name.is_empty() { format!("PLAY{mode}") } else { format!("PLAY [{name}]{mode}") });
            }
            Event::PlayWithoutHosts { pattern } => {
                self.banner(&format!("PLAY [{pattern}]"));
                self.output.line("skipping: no hosts matched");
            }
            Event::TaskStarted { name, module, place, handler, check, .. } => {
                if let Ok(mut state) = self.state.lock() {
                    state.items_seen.clear();
                    state.module.clone_from(module);
                }
                let mode = if *check { " [CHECK MODE]" } else { "" };
                self.banner(&format!("{} [{name}]{mode}", if *handler { "RUNNING HANDLER" } else { "TASK" }));
                if let Some(place) = place.as_ref().filter(|_| self.verbosity >= 2) {
                    self.output.line(&self.output.paint(Colour::Dim, &format!("task path: {}:{}", place.path.display(), place.line)));
                }
            }
            Event::Item { host, label, result, .. } => {
                if let Ok(mut state) = self.state.lock() {
                    state.items_seen.push(host.clone());
                }
                self.result(host, result, Some(label));
            }
            Event::Result { host, result, .. } => {
                let had_items = self.state.lock().is_ok_and(|state| state.items_seen.contains(host));
                // The items have said it; only what stopped all of it is said again.
                let quiet = had_items && matches!(result.status, Status::Ok | Status::Changed | Status::Unknown | Status::Failed);
                if quiet && result.ignored {
                    self.output.line(&self.output.paint(Colour::Cyan, "...ignoring"));
                }
                if !quiet {
                    self.result(host, result, None);
                }
            }
            Event::Retry { host, task, attempt, of, .. } => {
                let left = of.saturating_sub(*attempt);
                self.output.line(&format!("FAILED - RETRYING: [{host}]: {task} ({left} retries left)."));
            }
            Event::Included { file, hosts, label } => {
                let hosts: Vec<_> = hosts.iter().map(|host| &**host).collect();
                let item = label.as_ref().map(|label| format!(" => (item={label})")).unwrap_or_default();
                self.output.line(&self.output.paint(Colour::Cyan, &format!("included: {file} for {}{item}", hosts.join(", "))));
            }
            Event::MetaDone { text, .. } => {
                if self.verbosity >= 2 {
                    self.output.line(&format!("META: {text}"));
                }
            }
            Event::Warning { message } => self.output.line(&self.output.paint(Colour::Magenta, &format!("[WARNING]: {message}"))),
            Event::Diagnostic { text } => self.output.line(text),
            Event::RunEnded { recap, unknown, predicted, .. } => {
                self.recap(recap);
                if !unknown.is_empty() {
                    self.output.line(&super::recap::prediction(*predicted, unknown));
                }
            }
        }
    }
}
