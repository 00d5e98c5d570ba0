//! Ansible's own default form, for people and scripts that know it.

use std::sync::{Arc, Mutex};

use super::event::{Counts, Event, Listener, Status, TaskResult};
use super::manner::Manner;
use super::output::{Colour, Output};
use crate::change::Difference;
use crate::change::diff::unified;
use crate::value::json::to_json;
use crate::value::{Map, Value};

/// The width that banners are filled to.
const WIDTH: usize = 79;

/// Values that the default form leaves out unless asked for more.
pub(super) const INTERNAL: &[&str] = &["invocation", "diff", "ansible_facts", "_secrets", "warnings"];

/// Writes in the form of Ansible's `default` callback.
pub struct AnsibleForm {
    output: Output,
    /// Where warnings go, and failures if the settings say so.
    errors: Output,
    manner: Manner,
    /// A task's banner is written when its first result comes, as a task that no host runs has none... but Ansible writes it
    /// at once; so do we, unless a setting hides the results that would follow it.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Hosts whose items were told.
    items_seen: Vec<Arc<str>>,
    /// The module of the task at work.
    module: String,
    /// A banner that is written before the first result that is shown.
    due: Option<String>,
    /// Whether the run is a check.
    check: bool,
    /// The place of the task at work.
    path: Option<String>,
}

impl AnsibleForm {
    /// Returns a listener that writes to `output`, and warnings to `errors`.
    pub fn new(output: Output, errors: Output, manner: Manner) -> Self {
        Self { output, errors, manner, state: Mutex::default() }
    }

    fn banner(&self, text: &str) {
        self.output.line(&banner(text));
    }

    fn warn(&self, message: &str) {
        let (kind, message) = match message.strip_prefix("deprecated: ") {
            Some(_) if !self.manner.deprecations => return,
            Some(rest) => ("[DEPRECATION WARNING]", rest),
            None => ("[WARNING]", message),
        };
        self.errors.line(&self.errors.paint(Colour::Magenta, &format!("{kind}: {message}")));
    }

    fn host(host: &str, result: &TaskResult) -> String {
        match &result.delegated_to {
            Some(other) => format!("[{host} -> {other}]"),
            None => format!("[{host}]"),
        }
    }

    /// Whether the settings hide a result.
    fn is_hidden(&self, status: Status) -> bool {
        match status {
            Status::Ok => !self.manner.ok,
            Status::Skipped => !self.manner.skipped,
            _ => false,
        }
    }

    fn result(&self, host: &str, result: &TaskResult, label: Option<&str>) {
        for warning in &result.warnings {
            self.warn(warning);
        }
        if self.is_hidden(result.status) {
            return;
        }
        let (due, path) = self.state.lock().map(|mut state| (state.due.take(), state.path.clone())).unwrap_or_default();
        if let Some(due) = due {
            self.output.line(&due);
        }
        let who = Self::host(host, result);
        let item = label.map(|label| format!(" => (item={label})")).unwrap_or_default();
        if result.status != Status::Ok {
            result.diff.iter().for_each(|diff| self.diff(diff));
        }
        let dump = |always: bool| if always || self.manner.verbosity > 0 { format!(" => {}", self.dump(result)) } else { String::new() };
        let line = match result.status {
            Status::Ok => self.output.paint(Colour::Green, &format!("ok: {who}{item}{}", dump(result.verbose_always || self.is_assert()))),
            Status::Changed => self.output.paint(Colour::Yellow, &format!("changed: {who}{item}{}", dump(result.verbose_always))),
            Status::Skipped => {
                // As in Ansible: an item has a blank behind it.
                let shown = if label.is_some() { format!(" {}", dump(false)) } else { dump(false) };
                self.output.paint(Colour::Cyan, &format!("skipping: {who}{item}{shown}"))
            }
            Status::Unknown => self.output.paint(Colour::Magenta, &format!("unknown: {who}{item} => {}", result.reason())),
            Status::Failed if label.is_some() => {
                self.output.paint(Colour::Red, &format!("failed: {who} (item={}) => {}", label.unwrap_or_default(), self.dump(result)))
            }
            Status::Failed => self.output.paint(Colour::Red, &format!("fatal: {who}: FAILED! => {}", self.dump(result))),
            Status::Unreachable => self.output.paint(Colour::Red, &format!("fatal: {who}: UNREACHABLE! => {}", self.dump(result))),
        };
        let is_failure = matches!(result.status, Status::Failed | Status::Unreachable);
        let to = if is_failure && self.manner.failed_to_stderr { &self.errors } else { &self.output };
        if let Some(diagnostic) = result.diagnostic.as_ref().filter(|_| is_failure) {
            to.line(diagnostic);
        }
        if let Some(path) = path.filter(|_| is_failure && self.manner.path_on_failure && self.manner.verbosity < 2 && label.is_none()) {
            to.line(&format!("task path: {path}"));
        }
        to.line(&line);
        if result.ignored && label.is_none() {
            self.output.line(&self.output.paint(Colour::Cyan, "...ignoring"));
        }
        if self.manner.verbosity >= 3 && matches!(result.status, Status::Ok | Status::Changed) {
            let module = self.state.lock().map(|state| state.module.clone()).unwrap_or_default();
            let whose = result.became.as_ref().map(|line| format!("{line} ")).unwrap_or_default();
            self.output.line(&format!("<{host}> EXEC {whose}{module}"));
        }
    }

    /// Whether the task is an `assert`, which tells that all is well.
    fn is_assert(&self) -> bool {
        self.is_of("assert")
    }

    /// Marks begin and end of a check.
    fn dry(&self) {
        if self.manner.check_markers && self.state.lock().is_ok_and(|state| state.check) {
            self.banner("DRY RUN");
        }
    }

    fn is_of(&self, module: &str) -> bool {
        self.state.lock().is_ok_and(|state| state.module == module)
    }

    fn dump(&self, result: &TaskResult) -> String {
        if result.no_log {
            let changed = result.status == Status::Changed;
            return format!(
                "{{\"censored\": \"the output has been hidden due to the fact that 'no_log: true' was specified for this result\", \"changed\": {changed}}}"
            );
        }
        let mut values: Map = result.values.clone();
        let is_pretty = self.manner.pretty.unwrap_or(result.verbose_always || self.is_assert() || self.manner.verbosity >= 2);
        if self.manner.verbosity < 3 {
            values.retain(|name, _| !name.as_str().is_some_and(|name| INTERNAL.contains(&name)));
        }
        for name in ["exception", "failed", "failed_when_suppressed_exception", "skipped"] {
            values.shift_remove(name);
        }
        if values.get("results") == Some(&Value::Null) {
            values.shift_remove("results");
        } else if result.status == Status::Skipped && self.is_of("debug") {
            // Of a `debug` only its message, or why there is none.
            let is_all = values.contains_key("msg");
            let counts = |name: &str| {
                if is_all {
                    name == "msg"
                } else {
                    !matches!(name, "changed" | "skip_reason" | "results" | "ansible_loop_var" | "ansible_index_var")
                }
            };
            values.retain(|name, _| name.as_str().is_none_or(counts));
        } else if result.verbose_always && values.contains_key("msg") {
            values.retain(|name, _| matches!(name.as_str(), Some("msg" | "exception" | "warnings" | "deprecations")));
        } else if result.verbose_always {
            let variable = values.get("ansible_loop_var").map(ToString::to_string);
            let index = values.get("ansible_index_var").map(ToString::to_string);
            let is_noise = |name: &str| {
                matches!(name, "changed" | "ansible_loop_var" | "ansible_index_var")
                    || variable.as_deref() == Some(name)
                    || index.as_deref() == Some(name)
            };
            let shown: Map =
                values.iter().filter(|(name, _)| !name.as_str().is_some_and(is_noise)).map(|(k, v)| (k.clone(), v.clone())).collect();
            // Where nothing else is left, the loop's variable is what was asked for.
            let own = variable.as_deref().and_then(|name| values.get_key_value(name)).map(|(name, value)| (name.clone(), value.clone()));
            values = if shown.is_empty() { own.into_iter().collect() } else { shown };
        } else if !values.contains_key("results") {
            values.entry("changed".into()).or_insert(Value::Bool(result.status == Status::Changed));
        }
        // YAML shows a text over its lines already.
        if self.manner.yaml.is_some() && self.manner.pretty != Some(false) {
            for (text, lines) in [("stdout", "stdout_lines"), ("stderr", "stderr_lines")] {
                if values.contains_key(text) {
                    values.insert(lines.into(), Value::str("<omitted>"));
                }
            }
        }
        let mut values = Value::from(values);
        sort_keys(&mut values);
        let values = self.output.redactor().mask_value(&values);
        match self.manner.yaml {
            Some(yaml) => {
                let text = yaml(&values, self.manner.pretty != Some(false));
                text.trim_end().lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("\n    {line}") }).collect()
            }
            None if is_pretty => indented(&to_json(&values)),
            None => one_line(&to_json(&values)),
        }
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

    /// Returns counted values on one line, as Ansible folds them.
    fn stats(&self, stats: &Map) -> String {
        let mut stats = Value::from(stats.clone());
        sort_keys(&mut stats);
        let json = to_json(&self.output.redactor().mask_value(&stats));
        with_indent(&json, b" ").replace('\n', "")
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

/// Returns a banner, an empty line before it.
fn banner(text: &str) -> String {
    let stars = WIDTH.saturating_sub(text.chars().count()).max(3);
    format!("\n{text} {}", "*".repeat(stars))
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
    with_indent(json, b"    ")
}

fn with_indent(json: &serde_json::Value, indent: &[u8]) -> String {
    let mut out = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(indent);
    let mut writer = serde_json::Serializer::with_formatter(&mut out, form);
    match serde::Serialize::serialize(json, &mut writer) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(_) => json.to_string(),
    }
}

impl Listener for AnsibleForm {
    fn tell(&self, event: &Event) {
        match event {
            Event::RunStarted { check, .. } => {
                if let Ok(mut state) = self.state.lock() {
                    state.check = *check;
                }
                self.dry();
            }
            Event::PlayStopped { .. } => {}
            Event::PlaybookStarted { path, plays } => {
                if self.manner.verbosity >= 2 {
                    let name = std::path::Path::new(path).file_name().map_or(path.as_str().into(), |name| name.to_string_lossy());
                    self.banner(&format!("PLAYBOOK: {name}"));
                    self.output.line(&format!("{plays} plays in {path}"));
                }
            }
            Event::PlayStarted { name, check, .. } => {
                let mode = if *check && self.manner.check_markers { " [CHECK MODE]" } else { "" };
                self.banner(&if name.is_empty() { format!("PLAY{mode}") } else { format!("PLAY [{name}]{mode}") });
            }
            Event::PlayWithoutHosts { pattern } => {
                self.banner(&format!("PLAY [{pattern}]"));
                self.output.line("skipping: no hosts matched");
            }
            Event::TaskStarted { name, module, place, handler, check, .. } => {
                let mode = if *check && self.manner.check_markers { " [CHECK MODE]" } else { "" };
                let text = banner(&format!("{} [{name}]{mode}", if *handler { "RUNNING HANDLER" } else { "TASK" }));
                let waits = !(self.manner.ok && self.manner.skipped);
                if let Ok(mut state) = self.state.lock() {
                    state.items_seen.clear();
                    state.module.clone_from(module);
                    state.path = place.as_ref().map(|place| format!("{}:{}", place.path.display(), place.line));
                    state.due = waits.then(|| text.clone());
                }
                if !waits {
                    self.output.line(&text);
                }
                if let Some(place) = place.as_ref().filter(|_| self.manner.verbosity >= 2) {
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
                let quiet = had_items && matches!(result.status, Status::Ok | Status::Changed | Status::Unknown);
                if quiet {
                    return;
                }
                if had_items && result.status == Status::Failed && !result.verbose_always {
                    // The items have said it.
                    if result.ignored {
                        self.output.line(&self.output.paint(Colour::Cyan, "...ignoring"));
                    }
                } else if had_items && result.status == Status::Failed {
                    // Of a `debug` nothing but its message is shown; `results` keeps the rest away.
                    let values = Map::from_iter([("msg".into(), Value::str("One or more items failed")), ("results".into(), Value::Null)]);
                    let whole = TaskResult { values, diagnostic: None, diff: Vec::new(), verbose_always: false, ..(**result).clone() };
                    self.result(host, &whole, None);
                } else {
                    self.result(host, result, None);
                }
            }
            Event::Retry { host, task, attempt, of, .. } => {
                let left = (of + 1).saturating_sub(*attempt);
                self.output.line(&format!("FAILED - RETRYING: [{host}]: {task} ({left} retries left)."));
            }
            Event::Included { file, hosts, label } => {
                if let Some(due) = self.state.lock().ok().and_then(|mut state| state.due.take()) {
                    self.output.line(&due);
                }
                let hosts: Vec<_> = hosts.iter().map(|host| &**host).collect();
                let item = label.as_ref().map(|label| format!(" => (item={label})")).unwrap_or_default();
                self.output.line(&self.output.paint(Colour::Cyan, &format!("included: {file} for {}{item}", hosts.join(", "))));
            }
            Event::Job { host, job, how } => {
                let more = if *how == "POLL" { " started=1 finished=0" } else { "" };
                self.output.line(&format!("ASYNC {how} on {host}: jid={job}{more}"));
            }
            Event::MetaDone { text, .. } => {
                if self.manner.verbosity >= 2 || self.manner.debug {
                    self.output.line(&format!("META: {text}"));
                }
            }
            Event::Warning { message } => self.warn(message),
            Event::Diagnostic { text } => self.errors.line(text),
            Event::Said { text } => self.output.line(text),
            Event::CustomStats { hosts, run } if self.manner.custom_stats => {
                self.banner("CUSTOM STATS: ");
                hosts.iter().for_each(|(host, stats)| self.output.line(&format!("\t{host}: {}", self.stats(stats))));
                if !run.is_empty() {
                    self.output.line(&format!("\n\tRUN: {}", self.stats(run)));
                }
                self.output.line("");
            }
            Event::CustomStats { .. } => {}
            Event::RunEnded { recap, unknown, predicted, .. } => {
                self.recap(recap);
                self.dry();
                if !unknown.is_empty() {
                    self.output.line(&super::recap::prediction(*predicted, unknown, recap));
                }
            }
        }
    }
}
