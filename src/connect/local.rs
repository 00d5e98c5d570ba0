//! Programs on the controller itself, for `connection: local`.

use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use super::process::{Complaints, Ended, Process};

/// Starts a shell line.
///
/// # Errors
/// When there is no shell.
#[allow(clippy::disallowed_methods, reason = "connections start programs")]
pub fn exec(line: &str) -> std::io::Result<Process> {
    let mut command = tokio::process::Command::new("/bin/sh");
    command.arg("-c").arg(line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let missing = || std::io::Error::other("the program has no standard streams");
    let stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let mut stderr = child.stderr.take().ok_or_else(missing)?;
    let complaints = Complaints::default();
    let hear = complaints.clone();
    tokio::spawn(async move {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stderr.read(&mut piece).await {
            hear.push(&piece[..count]);
        }
    });
    let (tell, ended) = watch::channel(None);
    let (keep, dropped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let status = tokio::select! {
            status = child.wait() => status,
            _ = dropped => {
                // Its input is closed by now: what listens to it gets a moment to end by itself.
                match tokio::time::timeout(std::time::Duration::from_secs(2), child.wait()).await {
                    Ok(status) => status,
                    Err(_) => { let _ = child.start_kill(); child.wait().await }
                }
            }
        };
        let _ = tell.send(Some(status.map(|status| told(&status)).unwrap_or_default()));
    });
    Ok(Process { stdin: Box::new(stdin), stdout: Box::new(stdout), complaints, ended, keep: Box::new(keep) })
}

fn told(status: &std::process::ExitStatus) -> Ended {
    use std::os::unix::process::ExitStatusExt;
    let signal = status.signal().map(|number| match number {
        1 => "HUP".to_owned(),
        2 => "INT".to_owned(),
        6 => "ABRT".to_owned(),
        9 => "KILL".to_owned(),
        11 => "SEGV".to_owned(),
        15 => "TERM".to_owned(),
        other => other.to_string(),
    });
    Ended { status: status.code(), signal }
}
