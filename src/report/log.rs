//! The log file of `ANSIBLE_LOG_PATH`: every line of the report, with time, process and user before it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A log file. Clones share it.
#[derive(Clone, Debug)]
pub struct Log {
    file: Arc<Mutex<File>>,
    head: String,
}

impl Log {
    /// Opens the file, to write at its end; it is made where there is none, for its owner only.
    ///
    /// # Errors
    /// It cannot be opened.
    #[allow(clippy::disallowed_methods, reason = "the user's own log file, on the controller")]
    pub fn open(path: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "root".to_owned());
        Ok(Self { file: Arc::new(Mutex::new(file)), head: format!("p={} u={user} n=ansible", std::process::id()) })
    }

    /// Writes the lines of a text, which has no secrets any more.
    pub fn write(&self, text: &str) {
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S,%3f").to_string();
        let level = ["[ERROR]", "fatal:", "failed:"].iter().any(|start| text.starts_with(start));
        let level = if level { "ERROR" } else { "INFO" };
        if let Ok(mut file) = self.file.lock() {
            for line in text.lines().filter(|line| !line.is_empty()) {
                let _ = writeln!(file, "{now} {} {level}| {line}", self.head);
            }
        }
    }
}
