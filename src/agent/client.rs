//! The controller's end of an agent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex, watch};

use super::blobs::{PIECE, Shelf};
use super::frame;
use super::protocol::{Answer, FromAgent, Question, Recalled, RunIdentity, Task, ToAgent, Undo, VERSION};
use super::road::Return;
use crate::change::kept::Past;
use crate::change::{Done, Failure, Foreseen, Mode, Outcome, Plan};
use crate::connect::escalate::{Begun, Reader};
use crate::connect::process::Input;
use crate::connect::trouble::last_words;
use crate::connect::{Ended, Kind, Process, Trouble};

/// How long is waited between two tries to find a lost agent again.
const PAUSE: Duration = Duration::from_millis(500);

/// How long an agent that was told goodbye may take to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// An agent that runs on a host.
#[derive(Debug)]
pub struct Agent {
    host: String,
    user: String,
    process: Option<Process>,
    ended: watch::Receiver<Option<Ended>>,
    output: BufReader<Reader>,
    input: Canceller,
    shelf: Shelf,
    /// How it is found again when the connection is lost.
    back: Return,
    /// Frames heard of it.
    heard: u64,
    /// Set while an answer is awaited: when whoever waited gave up, what comes next is not the answer to the next question.
    busy: bool,
}

/// Ends what an agent does, while somebody else waits for its answer.
#[derive(Clone)]
pub struct Canceller(Arc<Mutex<Outgoing>>);

/// What goes to an agent, kept until it is sure that it was heard.
struct Outgoing {
    input: Input,
    ended: watch::Receiver<Option<Ended>>,
    kept: VecDeque<Kept>,
    /// Frames before the first of `kept`.
    before: u64,
    /// Where among `kept` the last request is.
    request: usize,
    /// Set while a frame is written: where that was given up, nothing can follow the part that is on its way.
    torn: bool,
}

/// A frame that may have to be sent again.
#[derive(Clone)]
enum Kept {
    Frame(Arc<Vec<u8>>),
    /// A piece of a large file, which is read again.
    Piece {
        sha256: String,
        offset: u64,
        length: usize,
    },
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Canceller")
    }
}

impl Canceller {
    fn new(input: Input, ended: watch::Receiver<Option<Ended>>) -> Self {
        Self(Arc::new(Mutex::new(Outgoing { input, ended, kept: VecDeque::new(), before: 0, request: 0, torn: false })))
    }

    /// Ends the programs of the running task.
    pub async fn cancel(&self) {
        let _ = self.send(&ToAgent::Cancel, None).await;
    }

    /// Tells the agent that it is not needed any more, and waits a moment for its end.
    pub async fn goodbye(&self) {
        let _ = self.send(&ToAgent::Goodbye, None).await;
        let mut ended = self.0.lock().await.ended.clone();
        let _ = tokio::time::timeout(FAREWELL, ended.wait_for(Option::is_some)).await;
    }

    async fn send(&self, message: &ToAgent, piece: Option<Kept>) -> std::io::Result<()> {
        let bytes = Arc::new(frame::encode(message)?);
        let mut outgoing = self.0.lock().await;
        if is_request(message) {
            // The one before was answered, so it was heard. Pieces of a file after it may not have been.
            let heard = outgoing.request;
            outgoing.before += heard as u64;
            outgoing.kept.drain(..heard);
            outgoing.request = outgoing.kept.len();
        }
        outgoing.kept.push_back(piece.unwrap_or_else(|| Kept::Frame(Arc::clone(&bytes))));
        if std::mem::replace(&mut outgoing.torn, true) {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        let mut ended = outgoing.ended.clone();
        let written = async {
            outgoing.input.write_all(&bytes).await?;
            outgoing.input.flush().await
        };
        // An agent that is gone reads no more: the channel alone would wait for ever.
        tokio::select! {
            written = written => written?,
            _ = ended.wait_for(Option::is_some) => return Err(std::io::ErrorKind::BrokenPipe.into()),
        }
        outgoing.torn = false;
        Ok(())
    }

    /// Goes on by a new way; `heard` frames arrived by the old one.
    async fn resume(&self, mut input: Input, ended: watch::Receiver<Option<Ended>>, heard: u64, shelf: &Shelf) -> std::io::Result<()> {
        let mut outgoing = self.0.lock().await;
        let missed = heard.checked_sub(outgoing.before).and_then(|known| usize::try_from(known).ok());
        let missed = missed.ok_or(std::io::ErrorKind::InvalidData)?;
        for kept in outgoing.kept.iter().skip(missed) {
            match kept {
                Kept::Frame(bytes) => input.write_all(bytes).await?,
                Kept::Piece { sha256, offset, length } => {
                    let bytes = read_piece(shelf, sha256, *offset, *length).await?;
                    input.write_all(&frame::encode(&ToAgent::Blob { sha256: sha256.clone(), bytes })?).await?;
                }
            }
        }
        input.flush().await?;
        outgoing.input = input;
        outgoing.ended = ended;
        outgoing.torn = false;
        Ok(())
    }
}

/// Whether a message is sent only after the one before it was answered.
fn is_request(message: &ToAgent) -> bool {
    !matches!(message, ToAgent::Blob { .. } | ToAgent::Cancel | ToAgent::Goodbye | ToAgent::Attach { .. } | ToAgent::Hello { .. })
}

async fn read_piece(shelf: &Shelf, sha256: &str, offset: u64, length: usize) -> std::io::Result<Vec<u8>> {
    let path = shelf.path(sha256).ok_or(std::io::ErrorKind::NotFound)?;
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(std::io::SeekFrom::Start(offset)).await?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// What a request shares with all others.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// Whether changes are made.
    pub mode: Mode,
    /// Whether differences are wanted.
    pub diff: bool,
    /// Variables added to the environment.
    pub environment: Vec<(String, String)>,
    /// What other agents of the host foresaw since this one last heard.
    pub foreseen: Vec<Foreseen>,
    /// The step's key, where something is kept of it.
    pub step: Option<String>,
}

impl Agent {
    /// Greets an agent that was just started.
    ///
    /// # Errors
    /// When it does not greet back, or speaks another version.
    pub async fn greet(
        host: &str,
        begun: Begun,
        back: Return,
        shelf: Shelf,
        run: Option<RunIdentity>,
        lease: bool,
    ) -> Result<Self, Trouble> {
        let Begun { mut process, output, .. } = begun;
        let (ended, linger) = (process.ended.clone(), back.linger.as_secs());
        let input = Canceller::new(std::mem::replace(&mut process.stdin, Box::new(tokio::io::sink())), ended.clone());
        let mut agent = Self {
            host: host.to_owned(),
            user: String::new(),
            process: Some(process),
            ended,
            output,
            input,
            shelf,
            back,
            heard: 0,
            busy: false,
        };
        agent.send(&ToAgent::Hello { version: VERSION, run, lease, linger }, None).await?;
        match agent.hear().await? {
            FromAgent::Hello { version: VERSION, user, .. } => agent.user = user,
            FromAgent::Hello { version, .. } => {
                let message = format!("the agent on {host} speaks version {version} of the protocol, windlass {VERSION}");
                return Err(Trouble::new(Kind::Agent, message).hint("WINDLASS_AGENT names an agent of another windlass"));
            }
            _ => return Err(Trouble::new(Kind::Agent, format!("the agent on {host} does not greet"))),
        }
        Ok(agent)
    }

    /// The user it runs as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether it can be asked: its last answer was heard to the end.
    pub fn is_sound(&self) -> bool {
        !self.busy && self.ended.borrow().is_none()
    }

    /// Whether it can be asked, once it is found again where the connection was lost meanwhile.
    pub async fn is_back(&mut self) -> bool {
        if self.busy || self.is_sound() {
            return !self.busy;
        }
        let trouble = Trouble::new(Kind::Lost, String::new());
        self.again(trouble).await.is_ok()
    }

    /// Returns what ends its work from elsewhere.
    pub fn canceller(&self) -> Canceller {
        self.input.clone()
    }

    /// Runs a task; `on_item` gets what came of each item as it comes.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn task(&mut self, task: Task, on_item: &mut (dyn FnMut(u32, Outcome) + Send)) -> Result<(), Trouble> {
        self.items(ToAgent::Task(task), on_item).await
    }

    async fn items(&mut self, message: ToAgent, on_item: &mut (dyn FnMut(u32, Outcome) + Send)) -> Result<(), Trouble> {
        self.busy = true;
        self.send(&message, None).await?;
        loop {
            match self.hear().await? {
                FromAgent::Item { index, outcome } => on_item(index, outcome),
                FromAgent::Finished => break,
                other => self.aside(other).await?,
            }
        }
        self.busy = false;
        Ok(())
    }

    /// Asks something about the host.
    ///
    /// # Errors
    /// When the connection is lost. Within, what the host says.
    pub async fn ask(&mut self, question: Question, circumstances: Circumstances) -> Result<Result<Answer, Failure>, Trouble> {
        let Circumstances { mode, environment, foreseen, .. } = circumstances;
        self.busy = true;
        self.send(&ToAgent::Ask { question, mode, environment, foreseen }, None).await?;
        loop {
            match self.hear().await? {
                FromAgent::Answer(answer) => {
                    self.busy = false;
                    return Ok(answer);
                }
                other => self.aside(other).await?,
            }
        }
    }

    /// Asks what the host knows of steps of a run.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn recall(&mut self, run: &str, steps: &[String]) -> Result<Vec<Recalled>, Trouble> {
        self.busy = true;
        self.send(&ToAgent::Recall { run: run.to_owned(), steps: steps.to_vec() }, None).await?;
        loop {
            match self.hear().await? {
                FromAgent::Recalled(recalled) => {
                    self.busy = false;
                    return Ok(recalled);
                }
                other => self.aside(other).await?,
            }
        }
    }

    /// Asks what was changed for a run.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn history(&mut self, run: &str, key: &[u8; 32]) -> Result<Vec<Past>, Trouble> {
        self.busy = true;
        self.send(&ToAgent::History { run: run.to_owned(), key: *key }, None).await?;
        loop {
            match self.hear().await? {
                FromAgent::History(history) => {
                    self.busy = false;
                    return Ok(history);
                }
                other => self.aside(other).await?,
            }
        }
    }

    /// Takes changes of a run back; `on_item` gets what came of each as it comes.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn undo(&mut self, order: Undo, on_item: &mut (dyn FnMut(u32, Outcome) + Send)) -> Result<(), Trouble> {
        self.items(ToAgent::Undo(order), on_item).await
    }

    /// Carries out a plan that was made on the controller.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn carry_out(&mut self, plan: Plan, circumstances: Circumstances) -> Result<(Vec<Done>, Outcome), Trouble> {
        let Circumstances { mode, diff, environment, foreseen, step } = circumstances;
        self.busy = true;
        self.send(&ToAgent::CarryOut { plan, mode, diff, environment, foreseen, step }, None).await?;
        loop {
            match self.hear().await? {
                FromAgent::CarriedOut { done, outcome } => {
                    self.busy = false;
                    return Ok((done, outcome));
                }
                other => self.aside(other).await?,
            }
        }
    }

    /// Does what an agent asks for in the middle of its work.
    async fn aside(&mut self, message: FromAgent) -> Result<(), Trouble> {
        match message {
            FromAgent::NeedBlob { sha256 } => self.give(&sha256).await,
            FromAgent::Refused { message, hint } => {
                let (message, hint) = (last_words(message.as_bytes()), last_words(hint.as_bytes()));
                Err(Trouble::new(Kind::Held, format!("{} {message}", self.host)).hint(hint))
            }
            FromAgent::Broken { message } => {
                Err(Trouble::new(Kind::Lost, format!("the agent on {} broke: {}", self.host, last_words(message.as_bytes()))))
            }
            _ => Err(Trouble::new(Kind::Lost, format!("the agent on {} said something that was not asked", self.host))),
        }
    }

    /// Streams a large file. One that is not there is given empty: the agent sees by the hash that it is not the one.
    async fn give(&mut self, sha256: &str) -> Result<(), Trouble> {
        let file = match self.shelf.path(sha256) {
            Some(path) => tokio::fs::File::open(path).await.ok(),
            None => None,
        };
        if let Some(mut file) = file {
            let (mut piece, mut offset) = (vec![0; PIECE], 0);
            while let Ok(length @ 1..) = file.read(&mut piece).await {
                let bytes = piece.get(..length).unwrap_or_default().to_vec();
                let kept = Kept::Piece { sha256: sha256.to_owned(), offset, length };
                self.send(&ToAgent::Blob { sha256: sha256.to_owned(), bytes }, Some(kept)).await?;
                offset += length as u64;
            }
        }
        self.send(&ToAgent::Blob { sha256: sha256.to_owned(), bytes: Vec::new() }, None).await
    }

    async fn send(&mut self, message: &ToAgent, piece: Option<Kept>) -> Result<(), Trouble> {
        match self.input.send(message, piece).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.busy = false;
                Err(Trouble::new(Kind::Agent, format!("the task cannot be sent to {}: {error}", self.host)))
            }
            Err(_) => self.back_or_lost().await,
        }
    }

    /// Returns the next message, found again and asked again where the connection is lost.
    async fn hear(&mut self) -> Result<FromAgent, Trouble> {
        loop {
            match frame::read_async(&mut self.output).await {
                Ok(Some(message)) => {
                    self.heard += 1;
                    return Ok(message);
                }
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    return Err(Trouble::new(Kind::Lost, format!("what came from the agent on {} is no answer of it", self.host)));
                }
                Ok(None) | Err(_) => self.back_or_lost().await?,
            }
        }
    }

    async fn back_or_lost(&mut self) -> Result<(), Trouble> {
        let trouble = self.lost().await;
        self.again(trouble).await
    }

    /// Finds the agent again and takes the conversation up where it broke off; else it is lost, as `trouble` says.
    async fn again(&mut self, trouble: Trouble) -> Result<(), Trouble> {
        let until = Instant::now() + self.back.linger;
        while Instant::now() < until && !self.back.is_given_up() {
            match tokio::time::timeout_at(until.into(), self.back.reach()).await {
                Ok(Ok(Some(begun))) => {
                    if self.resume(begun).await.is_ok() {
                        return Ok(());
                    }
                }
                Ok(Ok(None)) | Err(_) => break,
                Ok(Err(_)) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(trouble)
    }

    async fn resume(&mut self, begun: Begun) -> std::io::Result<()> {
        let Begun { mut process, mut output, .. } = begun;
        let mut input = std::mem::replace(&mut process.stdin, Box::new(tokio::io::sink()));
        input.write_all(&frame::encode(&ToAgent::Attach { heard: self.heard })?).await?;
        input.flush().await?;
        let Some(FromAgent::Attached { heard }) = frame::read_async(&mut output).await? else {
            return Err(std::io::ErrorKind::InvalidData.into());
        };
        self.input.resume(input, process.ended.clone(), heard, &self.shelf).await?;
        self.ended = process.ended.clone();
        self.output = output;
        self.process = Some(process);
        Ok(())
    }

    async fn lost(&mut self) -> Trouble {
        let Some(process) = &mut self.process else { return Trouble::new(Kind::Lost, format!("the agent on {} is gone", self.host)) };
        let ended = tokio::time::timeout(Duration::from_secs(2), process.wait()).await.unwrap_or_default();
        let words = last_words(&process.complaints.text());
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        match (ended.signal, ended.status) {
            (Some(signal), _) => Trouble::new(Kind::Lost, format!("the agent on {} was ended by signal {signal}{words}", self.host)),
            (None, Some(status)) => Trouble::new(Kind::Lost, format!("the agent on {} ended with return code {status}{words}", self.host)),
            (None, None) => Trouble::new(Kind::Lost, format!("the connection to {} was lost{words}", self.host)),
        }
    }
}

impl Drop for Agent {
    /// Says goodbye: whoever lets an agent go does not come back to it.
    fn drop(&mut self) {
        let (input, process) = (self.input.clone(), self.process.take());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                input.goodbye().await;
                drop(process);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_follows_a_frame_that_was_written_in_part() {
        let (ours, _theirs) = tokio::io::duplex(8);
        let (_end, ended) = watch::channel(None);
        let to = Canceller::new(Box::new(ours), ended.clone());
        let piece = ToAgent::Blob { sha256: "a".repeat(64), bytes: vec![0; 100] };
        let given_up = tokio::time::timeout(Duration::from_millis(50), to.send(&piece, None)).await;
        assert!(given_up.is_err(), "nobody reads");
        let refused = to.send(&ToAgent::Cancel, None).await.expect_err("torn");
        assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe);

        let (ours, mut theirs) = tokio::io::duplex(1024);
        to.resume(Box::new(ours), ended, 0, &Shelf::default()).await.expect("resumed");
        to.send(&ToAgent::Cancel, None).await.expect("a new way");
        let wanted = [frame::encode(&piece), frame::encode(&ToAgent::Cancel), frame::encode(&ToAgent::Cancel)];
        let wanted: Vec<u8> = wanted.into_iter().flatten().flatten().collect();
        let mut heard = vec![0; wanted.len()];
        theirs.read_exact(&mut heard).await.expect("read");
        assert_eq!(heard, wanted, "whole, from where the agent had heard");
    }
}
