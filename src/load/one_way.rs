//! What of a playbook cannot be undone, as far as its files tell.
//!
//! A task that runs a program of the user's has no way back; nor has a request that writes, where no request is known that takes
//! it back. What a plan or a run finds out itself is more exact: this is for a person who is about to start one.

use crate::load::playbook::{Action, Task};
use crate::modules;
use crate::value::{Map, Value, arguments};

/// Whether what a task does cannot be undone.
pub fn is_one_way(task: &Task) -> bool {
    let Action::Module { name, arguments, .. } = &task.action else { return false };
    let is = |value: &Option<Value>, wanted: bool| value.as_ref().and_then(arguments::to_bool) == Some(wanted);
    // What its author says only reads, or changes nothing.
    let reads = is(&task.reads.as_ref().map(|located| located.value.clone()), true)
        || is(&task.keywords.check_mode.as_ref().map(|located| located.value.clone()), false)
        || matches!(task.changed_when.as_slice(), [only] if is(&Some(only.value.clone()), false));
    !reads && module(name, arguments)
}

fn module(name: &str, arguments: &Map) -> bool {
    // Nothing is known of one that is not built in.
    let Some(entry) = modules::find(name) else { return true };
    let word = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    match entry.name {
        "uri" => !matches!(word("method").as_str(), "" | "get" | "head" | "options"),
        "elasticsearch_cross_cluster_api_key" => word("state") == "absent",
        name => modules::ONE_WAY.contains(&name),
    }
}
