//! What the settings say about Ansible's form.

use crate::value::Value;

/// Turns values into YAML text, without the last line break; with `true` made for reading: blanks that cannot be seen are lost.
pub type Yaml = fn(&Value, bool) -> String;

/// What the settings say about Ansible's form. [`Manner::default`] is Ansible without any setting.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The number of `-v`.
    pub verbosity: u8,
    /// Hosts that skip a task are shown.
    pub skipped: bool,
    /// Hosts on which nothing changed are shown.
    pub ok: bool,
    /// Failures go to standard error.
    pub failed_to_stderr: bool,
    /// A failure tells the file and line of its task.
    pub path_on_failure: bool,
    /// Plays and tasks that are checks are marked.
    pub check_markers: bool,
    /// What `set_stats` counted is told at the end.
    pub custom_stats: bool,
    /// Deprecations are told.
    pub deprecations: bool,
    /// More is told than anybody wants to read, but to find a mistake.
    pub debug: bool,
    /// Values are written as YAML.
    pub yaml: Option<Yaml>,
    /// Values are written over several lines, or on one; `None`: as the task has it.
    pub pretty: Option<bool>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            verbosity: 0,
            skipped: true,
            ok: true,
            failed_to_stderr: false,
            path_on_failure: false,
            check_markers: false,
            custom_stats: false,
            deprecations: true,
            debug: false,
            yaml: None,
            pretty: None,
        }
    }
}
