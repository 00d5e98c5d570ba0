//! Settings of the environment that say how playbooks are executed. They have the names that Ansible gave them.

use crate::value::{Value, arguments};

/// How playbooks are executed where they do not say it themselves. `None`: not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Execution {
    /// `ANSIBLE_STRATEGY`.
    pub strategy: Option<String>,
    /// `ANSIBLE_GATHERING`: `implicit`, `explicit` or `smart`.
    pub gathering: Option<String>,
    /// `ANSIBLE_ANY_ERRORS_FATAL`.
    pub any_errors_fatal: Option<bool>,
    /// `ANSIBLE_FORCE_HANDLERS`.
    pub force_handlers: Option<bool>,
    /// `ANSIBLE_ERROR_ON_MISSING_HANDLER`: whether notifying a handler that does not exist is an error; yes where not said.
    pub error_on_missing_handler: Option<bool>,
    /// `ANSIBLE_NO_LOG`: nothing of any task is shown.
    pub no_log: Option<bool>,
    /// `ANSIBLE_PRIVATE_ROLE_VARS`: roles of a play do not see each other's variables.
    pub private_role_vars: Option<bool>,
    /// `ANSIBLE_ENABLE_TASK_DEBUGGER`: the debugger stops where a task fails.
    pub task_debugger: Option<bool>,
    /// `ANSIBLE_TASK_DEBUGGER_IGNORE_ERRORS`: it does so also where the failure is ignored.
    pub debugger_ignore_errors: Option<bool>,
    /// `ANSIBLE_TASK_TIMEOUT`, seconds.
    pub task_timeout: Option<u64>,
    /// `ANSIBLE_POLL_INTERVAL`, seconds between looks at a job of `async`; 15 where not said.
    pub poll_interval: Option<u64>,
    /// `ANSIBLE_RUN_TAGS`.
    pub run_tags: Vec<String>,
    /// `ANSIBLE_SKIP_TAGS`.
    pub skip_tags: Vec<String>,
    /// `ANSIBLE_BECOME`.
    pub r#become: Option<bool>,
    /// `ANSIBLE_BECOME_METHOD`.
    pub become_method: Option<String>,
    /// `ANSIBLE_BECOME_USER`.
    pub become_user: Option<String>,
    /// `ANSIBLE_BECOME_EXE`.
    pub become_exe: Option<String>,
    /// `ANSIBLE_BECOME_FLAGS`.
    pub become_flags: Option<String>,
    /// `ANSIBLE_BECOME_ALLOW_SAME_USER`: also a user who is the right one already is become.
    pub become_same_user: Option<bool>,
}

impl Execution {
    /// Reads the environment of this process.
    pub fn from_environment() -> Self {
        Self::read(&|name| std::env::var(name).ok())
    }

    /// Reads the settings that `variable` knows.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| variable(&format!("ANSIBLE_{name}")).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let flag = |name: &str| text(name).and_then(|text| arguments::to_bool(&Value::str(&text)));
        let number = |name: &str| text(name).and_then(|text| text.parse().ok());
        let list = |name: &str| text(name).map(|text| text.split(',').map(|tag| tag.trim().to_owned()).collect()).unwrap_or_default();
        Self {
            strategy: text("STRATEGY"),
            gathering: text("GATHERING"),
            any_errors_fatal: flag("ANY_ERRORS_FATAL"),
            force_handlers: flag("FORCE_HANDLERS"),
            error_on_missing_handler: flag("ERROR_ON_MISSING_HANDLER"),
            no_log: flag("NO_LOG"),
            private_role_vars: flag("PRIVATE_ROLE_VARS"),
            task_debugger: flag("ENABLE_TASK_DEBUGGER"),
            debugger_ignore_errors: flag("TASK_DEBUGGER_IGNORE_ERRORS"),
            task_timeout: number("TASK_TIMEOUT"),
            poll_interval: number("POLL_INTERVAL"),
            run_tags: list("RUN_TAGS"),
            skip_tags: list("SKIP_TAGS"),
            r#become: flag("BECOME"),
            become_method: text("BECOME_METHOD"),
            become_user: text("BECOME_USER"),
            become_exe: text("BECOME_EXE"),
            become_flags: text("BECOME_FLAGS"),
            become_same_user: flag("BECOME_ALLOW_SAME_USER"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_or_makes_no_sense_is_nothing() {
        let with = |known: &[(&str, &str)]| {
            Execution::read(&|name| known.iter().find(|(other, _)| *other == name).map(|(_, text)| (*text).to_owned()))
        };
        assert_eq!(with(&[("ANSIBLE_STRATEGY", ""), ("ANSIBLE_NO_LOG", "perhaps")]), Execution::default());
        let read = with(&[("ANSIBLE_STRATEGY", "free"), ("ANSIBLE_RUN_TAGS", "a, b"), ("ANSIBLE_BECOME", "yes")]);
        assert_eq!((read.strategy.as_deref(), read.r#become), (Some("free"), Some(true)));
        assert_eq!(read.run_tags, ["a", "b"]);
    }
}
