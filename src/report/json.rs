//! One event a line, as JSON, for machines. The field `schema` goes up when a field changes its meaning or goes away.

use serde_json::{Value as Json, json};

use super::event::{Counts, Event, Listener, Status, TaskResult};
use super::output::Output;
use crate::value::json::to_json;
use crate::value::{Map, Value};

/// The version of the events' form.
pub const SCHEMA: u32 = 1;

/// Writes one JSON object a line.
pub struct JsonLines {
    output: Output,
}

impl JsonLines {
    /// Returns a listener that writes to `output`.
    pub fn new(output: Output) -> Self {
        Self { output }
    }
}

impl Listener for JsonLines {
    fn tell(&self, event: &Event) {
        let (name, mut fields) = describe(event, &self.output);
        if let Some(map) = fields.as_object_mut() {
            map.insert("schema".to_owned(), SCHEMA.into());
            map.insert("event".to_owned(), name.into());
            map.insert("time".to_owned(), jiff::Timestamp::now().to_string().into());
        }
        self.output.line(&fields.to_string());
    }
}

fn describe(event: &Event, output: &Output) -> (&'static str, Json) {
    match event {
        Event::RunStarted { playbook, check, hosts } => ("run_started", json!({"playbook": playbook, "check": check, "hosts": hosts})),
        Event::PlaybookStarted { path, plays } => ("playbook_started", json!({"playbook": path, "plays": plays})),
        Event::PlayStarted { name, hosts, check } => {
            ("play_started", json!({"play": name, "hosts": hosts.iter().map(|host| &**host).collect::<Vec<_>>(), "check": check}))
        }
        Event::PlayWithoutHosts { pattern } => ("play_without_hosts", json!({"pattern": pattern})),
        Event::TaskStarted { name, module, place, handler, hosts, check } => (
            "task_started",
            json!({"task": name, "module": module, "place": place.as_ref().map(ToString::to_string), "handler": handler, "hosts": hosts, "check": check}),
        ),
        Event::Item { host, task, label, result } => {
            ("item", merged(json!({"host": &**host, "task": task, "label": label}), result, output))
        }
        Event::Result { host, task, result } => ("result", merged(json!({"host": &**host, "task": task}), result, output)),
        Event::Retry { host, task, attempt, of, result } => {
            ("retry", merged(json!({"host": &**host, "task": task, "attempt": attempt, "of": of}), result, output))
        }
        Event::Included { file, hosts, label } => {
            ("included", json!({"file": file, "label": label, "hosts": hosts.iter().map(|host| &**host).collect::<Vec<_>>()}))
        }
        Event::Job { host, job, how } => ("job", json!({"host": &**host, "job": job, "state": how.to_lowercase()})),
        Event::MetaDone { host, text } => ("meta", json!({"host": &**host, "text": text})),
        Event::Warning { message } => ("warning", json!({"message": message})),
        Event::Diagnostic { text } => ("diagnostic", json!({"text": text})),
        Event::Said { text } => ("said", json!({"text": text})),
        Event::CustomStats { hosts, run } => {
            let shown = |stats: &Map| to_json(&output.redactor().mask_value(&Value::from(stats.clone())));
            let hosts: serde_json::Map<_, _> = hosts.iter().map(|(host, stats)| (host.to_string(), shown(stats))).collect();
            ("custom_stats", json!({"hosts": hosts, "run": shown(run)}))
        }
        Event::PlayStopped { why } => ("play_stopped", json!({"why": why})),
        Event::RunEnded { recap, took, predicted, unknown, run, code } => {
            let hosts: serde_json::Map<_, _> = recap.iter().map(|(host, counts)| (host.to_string(), counts_json(counts))).collect();
            (
                "run_ended",
                json!({"recap": hosts, "seconds": took.as_secs_f64(), "predicted": predicted, "unknown": unknown, "run": run, "code": code}),
            )
        }
    }
}

fn counts_json(counts: &Counts) -> Json {
    let Counts { ok, changed, unreachable, failed, skipped, rescued, ignored, unknown } = counts;
    json!({"ok": ok, "changed": changed, "unreachable": unreachable, "failed": failed, "skipped": skipped, "rescued": rescued, "ignored": ignored, "unknown": unknown})
}

/// Returns the word for a status.
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Changed => "changed",
        Status::Skipped => "skipped",
        Status::Failed => "failed",
        Status::Unreachable => "unreachable",
        Status::Unknown => "unknown",
    }
}

fn merged(mut fields: Json, result: &TaskResult, output: &Output) -> Json {
    let more = if result.no_log {
        json!({
            "status": status_word(result.status), "no_log": true, "ignored": result.ignored, "check": result.check, "earlier": result.earlier,
        })
    } else {
        let mut values = result.values.clone();
        for name in ["exception", "failed_when_suppressed_exception", "invocation"] {
            values.shift_remove(name);
        }
        let values = output.redactor().mask_value(&Value::from(values));
        let diff: Vec<_> = result
            .diff
            .iter()
            .map(|diff| {
                let mask = |text: &str| output.redactor().mask(text);
                json!({
                    "before_header": diff.before_header, "after_header": diff.after_header,
                    "before": mask(&diff.before), "after": mask(&diff.after), "note": diff.note,
                })
            })
            .collect();
        json!({
            "status": status_word(result.status), "because": result.because, "values": to_json(&values), "diff": diff,
            "changes": result.summary, "diagnostic": result.diagnostic, "delegated_to": result.delegated_to, "ignored": result.ignored,
            "check": result.check, "warnings": result.warnings, "seconds": result.took.as_secs_f64(), "earlier": result.earlier,
        })
    };
    if let (Some(fields), Json::Object(more)) = (fields.as_object_mut(), more) {
        fields.extend(more);
    }
    fields
}
