//! `windlass report`: the account of a run, for a person, a change board or a machine.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::record::{Account, Folder, Past, junit, page, summary};
use crate::report::Output;
use crate::source::{Diagnostic, Sources};
use crate::value::secret::Redactor;

/// Flags of `windlass report`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The run: its id, a part of it, or `last` (the default)
    run: Option<String>,
    /// Write one self-contained HTML page to this file (`-`: standard output)
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write JUnit XML to this file (`-`: standard output)
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reports a run from its record, which is checked first.
pub fn run(arguments: &Arguments) -> u8 {
    match report(arguments) {
        Ok(()) => super::OK,
        Err(error) => {
            super::complain(&Sources::default(), &[Diagnostic::error(error)]);
            super::ERROR
        }
    }
}

fn report(arguments: &Arguments) -> Result<(), String> {
    let folder = Folder::of_this_user()?;
    let past = Past::read(&folder, &folder.meant(arguments.run.as_deref())?)?;
    let account = Account::of(&past);
    if let Some(path) = &arguments.html {
        write(path, &page::html(&account))?;
    }
    if let Some(path) = &arguments.junit {
        write(path, &junit::xml(&account))?;
    }
    if arguments.json {
        super::say(&serde_json::to_string_pretty(&account).map_err(|error| error.to_string())?);
    } else if arguments.html.is_none() && arguments.junit.is_none() {
        show(&summary::text(&account, true));
    }
    Ok(())
}

/// Prints text that holds words of hosts: control characters are shown, not obeyed.
pub(super) fn show(text: &str) {
    Output::new(Box::new(std::io::stdout()), Redactor::default(), false).line(text);
}

#[allow(clippy::disallowed_methods, reason = "a file on the controller that the user asked for by name")]
fn write(path: &Path, text: &str) -> Result<(), String> {
    if path == Path::new("-") {
        super::say(text.trim_end());
        return Ok(());
    }
    std::fs::write(path, text).map_err(|error| format!("cannot write `{}`: {error}", path.display()))
}
