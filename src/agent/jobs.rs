//! `async`: a task goes on by itself as a job, in a process of its own, and leaves what came of it in a file.

use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::protocol::{Job, Task};
use super::serve;
use crate::change::kept::Work;
use crate::change::{Host, Outcome, jobs, keeper};
use crate::value::json::to_json;
use crate::value::{Map, Value};

/// Under this name the file of a job has the whole outcome; the rest of it is for people and other programs.
pub const OUTCOME: &str = "_outcome";

/// Starts a task as a job.
pub fn begin(host: &Host, task: &Task, job: &Job, arguments: &Map) -> Outcome {
    let begun = || {
        let folder = jobs::folder(&job.folder, host)?;
        host.work().map_or(Ok(()), Work::begin)?;
        let alone = Task { items: vec![arguments.clone()], job: None, steps: Vec::new(), timeout: Some(job.seconds), ..task.clone() };
        let what =
            postcard::to_stdvec(&alone).map_err(|error| crate::change::Failure::failed(format!("the job cannot be told: {error}")))?;
        jobs::write(&folder, &job.name, &to_json(&Value::from(standing(&job.name, false))).to_string())?;
        jobs::start(&folder, &job.name, &what)?;
        Ok(folder)
    };
    match begun() {
        Ok(folder) => {
            let mut values = standing(&job.name, false);
            values.insert("results_file".into(), Value::from(folder.join(&job.name).to_string_lossy().into_owned()));
            Outcome { changed: true, because: "it goes on by itself".to_owned(), values, ..Outcome::default() }
        }
        Err(failure) => serve::failed(failure),
    }
}

/// Returns what is known of a job whose outcome is not, or not only, in the file.
fn standing(name: &str, finished: bool) -> Map {
    Map::from_iter([
        ("ansible_job_id".into(), Value::str(name)),
        ("started".into(), Value::Bool(true)),
        ("finished".into(), Value::Bool(finished)),
    ])
}

/// Carries out the job that standard input tells of.
pub fn carry_out(folder: &str, name: &str) -> ExitCode {
    jobs::detach();
    keeper::enable();
    let mut what = Vec::new();
    let task = io::stdin().lock().read_to_end(&mut what).ok().and_then(|_| postcard::from_bytes::<Task>(&what).ok());
    let Some(task) = task.filter(|_| jobs::is_name(name)) else { return ExitCode::from(2) };
    let mut host = Host::new();
    let outcome = serve::timed(&mut host, &task);
    let written = jobs::write(Path::new(folder), name, &told(name, &outcome));
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns the text of the file of a job that ended.
fn told(name: &str, outcome: &Outcome) -> String {
    let mut values = outcome.values.clone();
    values.insert("changed".into(), Value::Bool(outcome.changed));
    values.insert("failed".into(), Value::Bool(outcome.failure.is_some()));
    if let Some(failure) = &outcome.failure {
        values.insert("msg".into(), Value::from(failure.to_string()));
    }
    values.extend(standing(name, true));
    if let Ok(whole) = postcard::to_stdvec(outcome) {
        values.insert(OUTCOME.into(), Value::from(STANDARD.encode(whole)));
    }
    to_json(&Value::from(values)).to_string()
}

/// Returns what came of a job, from what the module `async_status` read of it.
pub fn outcome(mut status: Outcome) -> Outcome {
    let Some(encoded) = status.values.shift_remove(OUTCOME) else { return status };
    let whole = STANDARD.decode(encoded.to_string()).ok().and_then(|bytes| postcard::from_bytes::<Outcome>(&bytes).ok());
    let Some(mut whole) = whole else { return status };
    for name in ["ansible_job_id", "started", "finished", "results_file"] {
        if let Some(value) = status.values.get(name) {
            whole.values.insert(name.into(), value.clone());
            if let Some(crate::change::Failure::Failed { values, .. }) = &mut whole.failure {
                values.insert(name.into(), value.clone());
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::json::from_json;

    #[test]
    fn the_file_of_a_job_keeps_the_whole_outcome() {
        let outcome = Outcome { changed: true, summary: vec!["run x".to_owned()], ..Outcome::default() };
        let text = told("j1.2", &outcome);
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let Value::Map(values) = from_json(&json) else { panic!("a dictionary") };
        let read = super::outcome(Outcome { values: (*values).clone(), ..Outcome::default() });
        assert!(read.changed && read.summary == ["run x"]);
        assert_eq!(read.values.get("finished"), Some(&Value::Bool(true)));
    }
}
