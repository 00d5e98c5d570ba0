//! The controller's end of an agent.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;

use super::blobs::{PIECE, Shelf};
use super::frame;
use super::protocol::{Answer, FromAgent, Question, Recalled, RunIdentity, Task, ToAgent, VERSION};
use crate::change::{Change, Done, Failure, Mode, Outcome, Plan};
use crate::connect::escalate::{Begun, Reader};
use crate::connect::process::Input;
use crate::connect::trouble::last_words;
use crate::connect::{Kind, Process, Trouble};

/// An agent that runs on a host.
#[derive(Debug)]
pub struct Agent {
    host: String,
    user: String,
    process: Process,
    output: BufReader<Reader>,
    input: Canceller,
    shelf: Shelf,
    /// Set while an answer is awaited: when whoever waited gave up, what comes next is not the answer to the next question.
    busy: bool,
}

/// Ends what an agent does, while somebody else waits for its answer.
#[derive(Clone)]
pub struct Canceller(Arc<Mutex<Input>>);

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Canceller")
    }
}

impl Canceller {
    /// Ends the programs of the running task.
    pub async fn cancel(&self) {
        let _ = self.send(&ToAgent::Cancel).await;
    }

    async fn send(&self, message: &ToAgent) -> std::io::Result<()> {
        let bytes = frame::encode(message)?;
        let mut input = self.0.lock().await;
        input.write_all(&bytes).await?;
        input.flush().await
    }
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
    pub foreseen: Vec<Change>,
    /// The step's key, where something is kept of it.
    pub step: Option<String>,
}

impl Agent {
    /// Greets an agent that was just started.
    ///
    /// # Errors
    /// When it does not greet back, or speaks another version.
    pub async fn greet(host: &str, begun: Begun, shelf: Shelf, run: Option<RunIdentity>) -> Result<Self, Trouble> {
        let Begun { mut process, output, .. } = begun;
        let stdin = std::mem::replace(&mut process.stdin, Box::new(tokio::io::sink()));
        let input = Canceller(Arc::new(Mutex::new(stdin)));
        let mut agent = Self { host: host.to_owned(), user: String::new(), process, output, input, shelf, busy: false };
        agent.send(&ToAgent::Hello { version: VERSION, run }).await?;
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
        !self.busy && self.process.ended.borrow().is_none()
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
        self.busy = true;
        self.send(&ToAgent::Task(task)).await?;
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
        self.send(&ToAgent::Ask { question, mode, environment, foreseen }).await?;
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

    /// Asks what the host knows of a step of a run.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn recall(&mut self, run: &str, step: &str) -> Result<Recalled, Trouble> {
        self.busy = true;
        self.send(&ToAgent::Recall { run: run.to_owned(), step: step.to_owned() }).await?;
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

    /// Carries out a plan that was made on the controller.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn carry_out(&mut self, plan: Plan, circumstances: Circumstances) -> Result<(Vec<Done>, Outcome), Trouble> {
        let Circumstances { mode, diff, environment, foreseen, step } = circumstances;
        self.busy = true;
        self.send(&ToAgent::CarryOut { plan, mode, diff, environment, foreseen, step }).await?;
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
            let mut piece = vec![0; PIECE];
            while let Ok(count @ 1..) = file.read(&mut piece).await {
                let bytes = piece.get(..count).unwrap_or_default().to_vec();
                self.send(&ToAgent::Blob { sha256: sha256.to_owned(), bytes }).await?;
            }
        }
        self.send(&ToAgent::Blob { sha256: sha256.to_owned(), bytes: Vec::new() }).await
    }

    async fn send(&mut self, message: &ToAgent) -> Result<(), Trouble> {
        let mut ended = self.process.ended.clone();
        // An agent that is gone reads no more: the channel alone would wait for ever.
        let sent = tokio::select! {
            sent = self.input.send(message) => sent,
            _ = ended.wait_for(Option::is_some) => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.busy = false;
                Err(Trouble::new(Kind::Agent, format!("the task cannot be sent to {}: {error}", self.host)))
            }
            Err(_) => Err(self.lost().await),
        }
    }

    async fn hear(&mut self) -> Result<FromAgent, Trouble> {
        match frame::read_async(&mut self.output).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(self.lost().await),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(Trouble::new(Kind::Lost, format!("what came from the agent on {} is no answer of it", self.host)))
            }
            Err(_) => Err(self.lost().await),
        }
    }

    async fn lost(&mut self) -> Trouble {
        let waited = tokio::time::timeout(std::time::Duration::from_secs(2), self.process.wait()).await;
        let ended = waited.unwrap_or_default();
        let words = last_words(&self.process.complaints.text());
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        match (ended.signal, ended.status) {
            (Some(signal), _) => Trouble::new(Kind::Lost, format!("the agent on {} was ended by signal {signal}{words}", self.host)),
            (None, Some(status)) => Trouble::new(Kind::Lost, format!("the agent on {} ended with return code {status}{words}", self.host)),
            (None, None) => Trouble::new(Kind::Lost, format!("the connection to {} was lost{words}", self.host)),
        }
    }
}
