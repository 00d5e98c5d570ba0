//! `async_status`: how a task that `async` left to itself stands.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module};
use crate::change::jobs;
use crate::change::{Before, Change, Failure, Plan, Probe};
use crate::value::json::from_json;
use crate::value::{Map, Value};

/// Says how a task that was started with `async` and `poll: 0` stands, and what came of it once it ended.
///
/// The run puts what the task came to in place of this one's result when the job is finished. `mode: cleanup` removes
/// the job's file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AsyncStatus {
    /// The `ansible_job_id` that the task gave.
    jid: String,
    /// `status` tells how it stands, `cleanup` removes its file.
    #[serde(default)]
    mode: What,
    /// The folder of jobs.
    #[serde(default = "usual", rename = "_async_dir")]
    #[schemars(skip)]
    folder: String,
}

/// What to do about a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum What {
    #[default]
    Status,
    Cleanup,
}

fn usual() -> String {
    jobs::FOLDER.to_owned()
}

impl Module for AsyncStatus {
    const NAME: &'static str = "async_status";
    const LOOKS: bool = true;
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Look after a job",
        task: "{jid: j123.4, _async_dir: /srv/jobs}",
        given: &[("/srv/jobs/j123.4", "{\"ansible_job_id\": \"j123.4\", \"started\": 1, \"finished\": 1, \"rc\": 0}")],
        changes: false,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        if !arguments.contains_key("_async_dir") {
            let wanted = controller.expression("ansible_async_dir | default('')")?;
            if !wanted.to_string().is_empty() {
                arguments.insert("_async_dir".into(), wanted);
            }
        }
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let wanted = host.environment("ANSIBLE_ASYNC_DIR").filter(|_| self.folder == jobs::FOLDER);
        let folder = jobs::folder(wanted.as_deref().unwrap_or(&self.folder), host)?;
        let missing = || {
            Failure::failed("could not find job")
                .with("ansible_job_id", self.jid.as_str())
                .with("started", true)
                .with("finished", true)
                .hint(format!("there is no job of that name in `{}`", folder.display()))
        };
        if !jobs::is_name(&self.jid) {
            return Err(missing());
        }
        let path = folder.join(&self.jid);
        let bytes = host.read(&path)?.ok_or_else(missing)?;
        if self.mode == What::Cleanup {
            let erased = path.to_string_lossy().into_owned();
            let plan = Plan::one("the job's file is there", Change::Remove { path, before: Before::Any });
            return Ok(plan.value("ansible_job_id", self.jid.as_str()).value("erased", erased));
        }
        let mut plan = Plan::nothing("it only looks")
            .value("ansible_job_id", self.jid.as_str())
            .value("results_file", path.to_string_lossy().into_owned())
            .value("started", true)
            .value("finished", false);
        // A file that is no JSON yet belongs to a job that has only just begun.
        if let Ok(json) = serde_json::from_slice::<serde_json::Value>(&bytes)
            && let Value::Map(values) = from_json(&json)
        {
            for (name, value) in values.iter() {
                // Jobs of Ansible have numbers here.
                let value = match (name.as_str(), value) {
                    (Some("started" | "finished"), Value::Int(number)) => Value::Bool(*number != 0),
                    _ => value.clone(),
                };
                plan = plan.value(&name.to_string(), value);
            }
        }
        Ok(plan)
    }
}
