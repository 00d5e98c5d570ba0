//! A JUnit file of a run, for build servers: each task on each host is a test.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::escape::escape;
use super::event::{Event, Listener, Status, TaskResult};
use crate::value::secret::Redactor;

/// Collects the results of a run and writes them when it ends, to a file in `folder` that is named after the playbook and the time.
pub struct Junit {
    folder: PathBuf,
    redactor: Redactor,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    playbook: String,
    play: String,
    place: String,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    class: String,
    seconds: f64,
    status: Status,
    text: String,
}

impl Junit {
    /// Returns a listener that writes to `folder`, which is made where there is none.
    pub fn new(folder: PathBuf, redactor: Redactor) -> Self {
        Self { folder, redactor, state: Mutex::default() }
    }

    fn case(&self, state: &State, host: &str, task: &str, result: &TaskResult) -> Case {
        let status = if result.ignored { Status::Ok } else { result.status };
        let text = match (result.no_log, &result.diagnostic) {
            (true, _) => "hidden by no_log".to_owned(),
            (false, Some(text)) => text.clone(),
            (false, None) => result.because.clone(),
        };
        let class = if state.place.is_empty() { state.playbook.clone() } else { state.place.clone() };
        let name = format!("[{host}] {}: {task}", state.play);
        Case { name: self.redactor.mask(&name), class, seconds: result.took.as_secs_f64(), status, text: self.redactor.mask(&text) }
    }

    #[allow(clippy::disallowed_methods, reason = "the user's own report, on the controller")]
    fn write(&self, state: &State) -> std::io::Result<()> {
        let stem = std::path::Path::new(&state.playbook).file_stem().map_or_else(|| "playbook".into(), |stem| stem.to_string_lossy());
        let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
        std::fs::create_dir_all(&self.folder)?;
        std::fs::write(self.folder.join(format!("{stem}-{seconds:.6}.xml")), document(state))
    }
}

impl Listener for Junit {
    fn tell(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::RunStarted { playbook, .. } => state.playbook.clone_from(playbook),
            Event::PlayStarted { name, .. } => state.play.clone_from(name),
            Event::TaskStarted { place, .. } => {
                state.place = place.as_ref().map(|place| format!("{}:{}", place.path.display(), place.line)).unwrap_or_default()
            }
            Event::Result { host, task, result } => {
                let case = self.case(&state, host, task, result);
                state.cases.push(case);
            }
            Event::RunEnded { .. } => {
                // The report's own end tells how the run went; a folder that cannot be written to changes nothing about that.
                let _ = self.write(&state);
            }
            _ => {}
        }
    }
}

fn document(state: &State) -> String {
    let count = |wanted: &[Status]| state.cases.iter().filter(|case| wanted.contains(&case.status)).count();
    let (failed, lost, skipped) = (count(&[Status::Failed]), count(&[Status::Unreachable]), count(&[Status::Skipped, Status::Unknown]));
    let seconds: f64 = state.cases.iter().map(|case| case.seconds).sum();
    let counts = format!("tests=\"{}\" failures=\"{failed}\" errors=\"{lost}\"", state.cases.len());
    let mut text = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<testsuites {counts} time=\"{seconds:.3}\">\n");
    let _ = writeln!(text, "  <testsuite name=\"{}\" {counts} skipped=\"{skipped}\" time=\"{seconds:.3}\">", escape(&state.playbook));
    for case in &state.cases {
        let head =
            format!("    <testcase name=\"{}\" classname=\"{}\" time=\"{:.3}\"", escape(&case.name), escape(&case.class), case.seconds);
        let kind = match case.status {
            Status::Failed => "failure",
            Status::Unreachable => "error",
            Status::Skipped | Status::Unknown => "skipped",
            Status::Ok | Status::Changed => {
                let _ = writeln!(text, "{head}/>");
                continue;
            }
        };
        let message = escape(case.text.lines().next().unwrap_or_default());
        let _ = writeln!(text, "{head}>\n      <{kind} message=\"{message}\">{}</{kind}>\n    </testcase>", escape(&case.text));
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_task_on_each_host_is_a_test() {
        let folder = tempfile::tempdir().expect("folder");
        let junit = Junit::new(folder.path().to_owned(), Redactor::default());
        junit.tell(&Event::RunStarted { playbook: "site.yml".into(), check: false, hosts: 1 });
        junit.tell(&Event::PlayStarted { name: "Web".into(), hosts: Vec::new(), check: false });
        for (task, status, because) in [("a", Status::Changed, ""), ("b", Status::Failed, "1 < 2"), ("c", Status::Skipped, "no")] {
            let result = Box::new(TaskResult { status, because: because.into(), ..TaskResult::default() });
            junit.tell(&Event::Result { host: Arc::from("h"), task: task.into(), result });
        }
        let took = std::time::Duration::ZERO;
        junit.tell(&Event::RunEnded { recap: Vec::new(), took, predicted: 0, unknown: Vec::new(), run: None, code: 2 });
        let file = std::fs::read_dir(folder.path()).expect("folder").next().expect("a file").expect("entry").path();
        let text = std::fs::read_to_string(file).expect("text");
        assert!(text.contains("tests=\"3\" failures=\"1\""), "{text}");
        assert!(text.contains("<testcase name=\"[h] Web: a\" classname=\"site.yml\" time=\"0.000\"/>"), "{text}");
        assert!(text.contains("<failure message=\"1 &lt; 2\">1 &lt; 2</failure>") && text.contains("<skipped message=\"no\">"), "{text}");
    }
}
