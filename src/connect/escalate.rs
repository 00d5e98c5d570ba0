//! Starting programs as another user.
//!
//! The line that is run prints a mark before anything else. Until the mark shows, what comes is the conversation with
//! `sudo`, `su` or `doas`; the password is given only in answer to their prompt, once.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::process::{Output, Process};
use super::trouble::{Kind, Trouble, last_words};
use super::{Become, Link};

/// How long a start may take: slow directories and login scripts included.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most that may come before the mark.
const MOST_NOISE: usize = 256 * 1024;

/// A program that has begun: its output follows the line with the mark.
#[derive(Debug)]
pub struct Begun {
    /// The program. Its `stdout` is in `output` now.
    pub process: Process,
    /// What follows the mark.
    pub output: BufReader<Reader>,
    /// What stands behind the mark on its line.
    pub line: String,
}

/// A program's output.
pub struct Reader(Output);

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl tokio::io::AsyncRead for Reader {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(context, into)
    }
}

/// Returns a random word, so that nothing else can be taken for ours.
pub fn nonce() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Returns `text` quoted for a POSIX shell.
pub fn quoted(text: &str) -> String {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c)) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Runs `script` with `/bin/sh`, as the user of `become` if there is one. The script must print a line that begins with `mark`.
///
/// # Errors
/// When the user cannot be become, or the script ends before it prints the mark.
pub async fn begin(link: &Link, script: &str, r#become: Option<&Become>, mark: &str) -> Result<Begun, Trouble> {
    let prompt = format!("[windlass {}] password: ", nonce());
    let Some(plan) = Plan::of(script, r#become, &prompt, link)? else {
        let process = link.exec(&format!("exec /bin/sh -c {}", quoted(script)), false).await?;
        return waited(link, process, None, mark).await;
    };
    let process = link.exec(&plan.line, plan.terminal).await?;
    waited(link, process, Some(&plan), mark).await
}

async fn waited(link: &Link, process: Process, plan: Option<&Plan<'_>>, mark: &str) -> Result<Begun, Trouble> {
    let patience = plan.and_then(|plan| plan.r#become.patience).map_or(PATIENCE, Duration::from_secs);
    if let Ok(begun) = tokio::time::timeout(patience, wait_for_mark(link, process, plan, mark)).await {
        return begun;
    }
    let late = format!("{} did not begin within {} s to run what was asked", link.name(), patience.as_secs());
    Err(match plan {
        None => Trouble::new(Kind::Agent, late),
        Some(plan) => {
            let what = if link.is_local() { "become success or become password prompt" } else { "privilege escalation prompt" };
            let message = format!("Timed out waiting for {what}: {late} as {}", plan.r#become.user);
            Trouble::new(Kind::Unreachable, message)
        }
    })
}

/// How a user is become.
struct Plan<'a> {
    r#become: &'a Become,
    line: String,
    terminal: bool,
    prompt: &'a str,
}

impl<'a> Plan<'a> {
    fn of(script: &str, r#become: Option<&'a Become>, prompt: &'a str, link: &Link) -> Result<Option<Plan<'a>>, Trouble> {
        let Some(r#become) = r#become else { return Ok(None) };
        let program = quoted(r#become.program.as_deref().unwrap_or(&r#become.method));
        let flags = match &r#become.flags {
            Some(flags) => {
                let words = super::options::split(flags).ok_or_else(|| {
                    Trouble::new(Kind::Settings, format!("become_flags of {} have a quote that does not end", link.name()))
                })?;
                words.iter().map(|word| format!("{} ", quoted(word))).collect()
            }
            None => String::new(),
        };
        let (user, shell) = (quoted(&r#become.user), format!("/bin/sh -c {}", quoted(script)));
        let (line, terminal) = match r#become.method.as_str() {
            "sudo" if r#become.password.is_some() => {
                let flags = without(&flags, &["-n", "--non-interactive"]);
                (format!("exec {program} {flags}-H -S -p {} -u {user} -- {shell}", quoted(prompt)), false)
            }
            "sudo" => (format!("exec {program} {flags}-H -S -n -u {user} -- {shell}"), false),
            "su" => {
                // `su` asks its terminal. Once it has let us in, the terminal is made a plain channel of bytes.
                let inner = if link.is_local() { script.to_owned() } else { format!("stty raw -echo; exec 2>/dev/null; {script}") };
                (format!("exec {program} {flags}{user} -c {}", quoted(&format!("exec /bin/sh -c {}", quoted(&inner)))), !link.is_local())
            }
            // `doas` asks its terminal too, and keeps it as it is.
            "doas" if r#become.password.is_some() => {
                let inner = if link.is_local() { script.to_owned() } else { format!("stty raw -echo; exec 2>/dev/null; {script}") };
                (format!("exec {program} {flags}-u {user} /bin/sh -c {}", quoted(&inner)), !link.is_local())
            }
            "doas" => (format!("exec {program} {flags}-n -u {user} {shell}"), false),
            other => {
                return Err(Trouble::new(
                    Kind::Settings,
                    format!("{} has the become method `{other}`, which windlass does not have", link.name()),
                )
                .hint("become_method is sudo, su or doas"));
            }
        };
        let line = match &r#become.folder {
            Some(folder) => format!("cd {} && {line}", quoted(folder)),
            None => line,
        };
        Ok(Some(Plan { r#become, line, terminal, prompt }))
    }

    /// Whether a question for the password comes on the terminal.
    fn asks_terminal(&self) -> bool {
        matches!(self.r#become.method.as_str(), "su" | "doas")
    }

    /// Whether what came so far ends in a question for the password. `su` words it as it likes.
    fn asks(&self, heard: &[u8]) -> bool {
        let text = String::from_utf8_lossy(heard);
        let question = text.trim_end().strip_suffix([':', '\u{ff1a}']).map(|question| question.trim_end().to_lowercase());
        let prompts = &self.r#become.prompts;
        question.is_some_and(|question| {
            !text.ends_with('\n') && (prompts.is_empty() || prompts.iter().any(|prompt| question.ends_with(&prompt.to_lowercase())))
        })
    }

    fn failed(&self, link: &Link, said: &[u8]) -> Trouble {
        let Become { method, user, password, .. } = self.r#become;
        let (name, words) = (link.name(), last_words(said));
        let asked = ["password is required", "Authentication required", "password for", "Authentication failure", "terminal is required"]
            .iter()
            .any(|part| words.contains(part));
        if password.is_none() && asked {
            return Trouble::new(
                Kind::Become,
                format!("{method} on {name} wants a password to become {user}, and none was given ({words})"),
            )
            .hint("give it with -K, or keep ansible_become_password in a vault");
        }
        let told = |why: &str| Trouble::new(Kind::Become, format!("{method} on {name} did not let {} become {user}: {why}", link.user()));
        if words.is_empty() {
            return told("it said nothing")
                .hint(format!("see whether {} may run commands there at all: its login shell may refuse", link.user()));
        }
        told(&words)
    }

    fn needs_password(&self, link: &Link) -> Result<(), Trouble> {
        if self.r#become.password.is_some() {
            return Ok(());
        }
        Err(self.failed(link, b"it asks: a password is required"))
    }

    fn wrong_password(&self, link: &Link) -> Trouble {
        let Become { method, user, .. } = self.r#become;
        let (name, login) = (link.name(), link.user());
        Trouble::new(Kind::Become, format!("Incorrect {method} password: {name} did not let {login} become {user} with it"))
            .hint("it comes from -K, or from ansible_become_password")
    }
}

fn without(flags: &str, words: &[&str]) -> String {
    flags.split_inclusive(' ').filter(|word| !words.contains(&word.trim())).collect()
}

async fn wait_for_mark(link: &Link, mut process: Process, plan: Option<&Plan<'_>>, mark: &str) -> Result<Begun, Trouble> {
    let stdout = std::mem::replace(&mut process.stdout, Box::new(tokio::io::empty()));
    let mut output = BufReader::new(Reader(stdout));
    let complaints = process.complaints.clone();
    let (mut noise, mut line) = (0, Vec::new());
    let mut given = false;
    let mut dialogue = Vec::new();
    loop {
        let prompted = async {
            match plan.map(|plan| (plan, plan.r#become.method.as_str())) {
                Some((plan, "sudo")) => complaints.wait_for(plan.prompt).await,
                // Without a terminal, `su` asks where errors go.
                Some((plan, "su")) if !plan.terminal => complaints.wait_until(|heard| plan.asks(heard)).await,
                _ => std::future::pending().await,
            }
        };
        let mut piece = Vec::new();
        let read = tokio::select! {
            read = next_piece(&mut output, &mut piece) => read,
            () = prompted => {
                if let Some(plan) = plan {
                    plan.needs_password(link)?;
                    answer(link, &mut process, plan, &mut given).await?;
                }
                continue;
            }
        };
        if !matches!(read, Ok(1..)) {
            return Err(ended(link, process, plan, given, &dialogue).await);
        }
        noise += piece.len();
        line.extend_from_slice(&piece);
        if let Some(found) = line_with(&line, mark) {
            return Ok(Begun { process, output, line: found });
        }
        if let Some(plan) = plan.filter(|plan| plan.asks_terminal()) {
            dialogue.extend_from_slice(&piece);
            if plan.asks(&line) {
                plan.needs_password(link)?;
                answer(link, &mut process, plan, &mut given).await?;
                line.clear();
            }
        }
        if line.ends_with(b"\n") {
            line.clear();
        }
        if noise > MOST_NOISE {
            return Err(Trouble::new(Kind::Agent, format!("the login scripts of {} print without end", link.name())));
        }
    }
}

/// Reads up to the end of a line, or what there is of one.
async fn next_piece(output: &mut BufReader<Reader>, piece: &mut Vec<u8>) -> std::io::Result<usize> {
    let there = output.fill_buf().await?;
    let count = there.iter().position(|byte| *byte == b'\n').map_or(there.len(), |at| at + 1);
    piece.extend_from_slice(&there[..count]);
    output.consume(count);
    Ok(count)
}

fn line_with(line: &[u8], mark: &str) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?.trim_start_matches('\r');
    let rest = text.strip_prefix(mark)?;
    text.ends_with('\n').then(|| rest.trim_end().to_owned())
}

async fn answer(link: &Link, process: &mut Process, plan: &Plan<'_>, given: &mut bool) -> Result<(), Trouble> {
    let Some(password) = &plan.r#become.password else { return Ok(()) };
    if std::mem::replace(given, true) {
        return Err(plan.wrong_password(link));
    }
    let mut line = password.reveal().clone().into_bytes();
    line.push(b'\n');
    let written = process.stdin.write_all(&line).await;
    let flushed = process.stdin.flush().await;
    written.and(flushed).map_err(|error| Trouble::new(Kind::Lost, format!("the connection to {} was lost: {error}", link.name())))
}

async fn ended(link: &Link, mut process: Process, plan: Option<&Plan<'_>>, given: bool, dialogue: &[u8]) -> Trouble {
    let how = process.wait().await;
    // What it complained may still be on its way.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut said = process.complaints.text();
    said.extend_from_slice(dialogue);
    if how.status.is_none() && how.signal.is_none() {
        return Trouble::new(Kind::Lost, format!("the connection to {} was lost", link.name()));
    }
    match plan {
        Some(plan) if given && plan.asks_terminal() => plan.wrong_password(link),
        Some(plan) => plan.failed(link, &said),
        None => {
            let words = last_words(&said);
            let words = if words.is_empty() { format!("it ended with return code {}", how.code()) } else { words };
            Trouble::new(Kind::Agent, format!("nothing can be run on {}: {words}", link.name()))
                .hint("the login user needs a POSIX shell at /bin/sh; `raw` tasks show what the host answers")
        }
    }
}

/// Reads on to the next line that begins with `mark`, and returns what stands behind it; `None` when the program ends.
///
/// # Errors
/// When the connection breaks.
pub async fn next_mark(begun: &mut Begun, mark: &str) -> std::io::Result<Option<String>> {
    let (mut line, mut noise) = (Vec::new(), 0);
    loop {
        let count = next_piece(&mut begun.output, &mut line).await?;
        noise += count;
        if count == 0 || noise > MOST_NOISE {
            return Ok(None);
        }
        if let Some(found) = line_with(&line, mark) {
            return Ok(Some(found));
        }
        if line.ends_with(b"\n") {
            line.clear();
        }
    }
}

/// Reads everything that follows the mark.
///
/// # Errors
/// When the connection breaks.
pub async fn rest(begun: Begun) -> std::io::Result<(Vec<u8>, Vec<u8>, super::Ended)> {
    let Begun { mut process, mut output, .. } = begun;
    drop(std::mem::replace(&mut process.stdin, Box::new(tokio::io::sink())));
    let mut text = Vec::new();
    output.read_to_end(&mut text).await?;
    let ended = process.wait().await;
    Ok((text, process.complaints.text(), ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell_are_quoted_where_they_must_be() {
        assert_eq!(quoted("/usr/bin/x-1"), "/usr/bin/x-1");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b; rm"), "'a b; rm'");
    }

    #[test]
    fn a_mark_counts_only_as_a_whole_line() {
        assert_eq!(line_with(b"windlass:1:hello\r\n", "windlass:1:").as_deref(), Some("hello"));
        assert_eq!(line_with(b"windlass:1:hel", "windlass:1:"), None);
        assert_eq!(line_with(b"echo windlass:1:hello\n", "windlass:1:"), None);
    }
}
