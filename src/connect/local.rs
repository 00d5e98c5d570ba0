//! A program on this machine, as a [`Channel`]: what `become` on `localhost` needs.

use std::process::Stdio;

use tokio::process::Command;

use super::Unreachable;
use super::channel::Channel;

/// Starts `argv` in a process group of its own; it is ended when the channel's exit is dropped.
///
/// # Errors
/// The program cannot be started.
pub fn exec(argv: &[String]) -> Result<Channel, Unreachable> {
    let (program, arguments) = argv.split_first().ok_or_else(|| Unreachable::new("there is no program to start"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
    let mut child = command.spawn().map_err(|error| Unreachable::new(format!("`{program}` cannot be started: {error}")))?;
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
        return Err(Unreachable::new(format!("`{program}` was started without its streams")));
    };
    let exit = Box::pin(async move { child.wait().await.ok().and_then(|status| status.code()) });
    Ok(Channel { stdin: Box::pin(stdin), stdout: Box::pin(stdout), stderr: Box::pin(stderr), exit })
}
