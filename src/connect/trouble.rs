//! Why a host cannot be worked with.

/// Why a host cannot be worked with: one sentence, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Trouble {
    /// What kind of trouble.
    pub kind: Kind,
    /// What happened, with the host's name.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection came about.
    Unreachable,
    /// The host's key is unknown, wrong or revoked.
    HostKey,
    /// The host refused the login.
    Login,
    /// What the user says about the connection makes no sense.
    Settings,
    /// The host is reached, but the task's user cannot be become.
    Become,
    /// The host is reached, but the agent cannot run there.
    Agent,
    /// The host is reached, but belongs to another run.
    Held,
    /// The connection broke.
    Lost,
}

impl Kind {
    /// Whether Ansible would call the host unreachable, rather than the task failed.
    pub fn is_unreachable(self) -> bool {
        !matches!(self, Self::Become | Self::Agent | Self::Held | Self::Settings)
    }
}

impl Trouble {
    /// Returns a trouble.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Returns what a host printed as one line that is safe to show: the last lines, control characters gone, not too long.
pub fn last_words(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(3)..].join("; ");
    tail.chars().filter(|character| !character.is_control()).take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_short_and_harmless() {
        assert_eq!(last_words(b"one\n\ntwo\x1b[31m\nthree\nfour\n"), "two[31m; three; four");
        assert_eq!(last_words(b""), "");
    }
}
