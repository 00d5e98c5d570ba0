//! A program on a host, with its standard streams.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{Notify, watch};

/// The most that is kept of what a program complains.
const MOST_COMPLAINTS: usize = 64 * 1024;

/// Where a program's output comes from.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;
/// Where a program's input goes to.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// A program on a host. It gets the end of its input when `stdin` is dropped.
pub struct Process {
    /// Its input.
    pub stdin: Input,
    /// Its output.
    pub stdout: Output,
    /// What it writes to standard error.
    pub complaints: Complaints,
    /// Set when it has ended.
    pub ended: watch::Receiver<Option<Ended>>,
    /// Kept while the process is wanted; it is ended when this is dropped.
    pub keep: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Process ({:?})", *self.ended.borrow())
    }
}

/// How a program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status; none where a signal ended it, or the connection broke.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<String>,
}

impl Ended {
    /// Returns the exit status as a shell tells it.
    pub fn code(&self) -> i32 {
        match (self.status, self.signal.as_deref()) {
            (Some(status), _) => status,
            (None, Some("KILL")) => 137,
            (None, Some("TERM")) => 143,
            (None, Some("INT")) => 130,
            (None, Some("HUP")) => 129,
            (None, Some("SEGV")) => 139,
            (None, Some("ABRT")) => 134,
            (None, _) => 255,
        }
    }
}

impl Process {
    /// Waits for the end, and says how it was.
    pub async fn wait(&mut self) -> Ended {
        match self.ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or_default(),
            Err(_) => Ended::default(),
        }
    }

    /// Reads all output, then waits for the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn finish(mut self) -> std::io::Result<(Vec<u8>, Vec<u8>, Ended)> {
        drop(std::mem::replace(&mut self.stdin, Box::new(tokio::io::sink())));
        let mut output = Vec::new();
        self.stdout.read_to_end(&mut output).await?;
        let ended = self.wait().await;
        Ok((output, self.complaints.text(), ended))
    }
}

/// What a program writes to standard error, as far as it is kept. Clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Complaints {
    text: Arc<Mutex<Vec<u8>>>,
    more: Arc<Notify>,
}

impl Complaints {
    /// Takes in what came.
    pub fn push(&self, bytes: &[u8]) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend_from_slice(bytes);
        if text.len() > MOST_COMPLAINTS {
            let surplus = text.len() - MOST_COMPLAINTS;
            text.drain(..surplus);
        }
        drop(text);
        self.more.notify_waiters();
    }

    /// Returns what came so far.
    pub fn text(&self) -> Vec<u8> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `prompt` shows up, and forgets everything up to its end.
    pub async fn wait_for(&self, prompt: &str) {
        loop {
            let more = self.more.notified();
            if self.take(prompt) {
                return;
            }
            more.await;
        }
    }

    /// Waits until `is_asked` says that there is a question at the end, and forgets everything.
    pub async fn wait_until(&self, is_asked: impl Fn(&[u8]) -> bool) {
        loop {
            let more = self.more.notified();
            {
                let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
                if is_asked(&text) {
                    text.clear();
                    return;
                }
            }
            more.await;
        }
    }

    fn take(&self, prompt: &str) -> bool {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let found = text.windows(prompt.len().max(1)).position(|window| window == prompt.as_bytes());
        if let Some(at) = found {
            text.drain(..at + prompt.len());
        }
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_prompt_is_seen_though_it_comes_in_two_parts() {
        let complaints = Complaints::default();
        complaints.push(b"lecture\n[win");
        let other = complaints.clone();
        let waiting = tokio::spawn(async move { other.wait_for("[windlass]").await });
        tokio::task::yield_now().await;
        complaints.push(b"dlass] rest");
        waiting.await.expect("seen");
        assert_eq!(complaints.text(), b" rest");
    }
}
