//! Writes a journal. Entries are handed over at once and written together; [`Journal::settle`] waits until they are on disk.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::chain::{self, End};
use super::entry::Began;
use super::past::Past;
use super::seal::Key;
use super::{Entry, Folder};
use crate::value::secret::Redactor;

/// The journal of a run; or none, for a run of which nothing is kept (a check).
#[derive(Clone, Default)]
pub struct Journal {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    run: String,
    key: Key,
    redactor: Redactor,
    /// How many of the redactor's secrets are in the journal, sealed; none where it is nowhere kept.
    secrets: Option<Mutex<usize>>,
    send: Mutex<Sender<Work>>,
}

enum Work {
    Write(serde_json::Value),
    Settle(oneshot::Sender<Result<String, String>>),
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Journal of {}", self.run().unwrap_or("no run"))
    }
}

impl Journal {
    /// Begins the journal of a new run. Fills in the run's id and key.
    ///
    /// # Errors
    /// Says why nothing can be kept.
    pub fn begin(folder: &Folder, mut began: Began, secret: &serde_json::Value, redactor: Redactor) -> Result<Self, String> {
        let run = folder.new_run()?;
        let key = Key::random()?;
        began.run.clone_from(&run);
        began.key = folder.key()?.seal(key.reveal())?;
        began.sealed = key.seal(secret.to_string().as_bytes())?;
        let file = open(&folder.journal(&run), true)?;
        sync_folder(&folder.path().join("runs").join(&run));
        sync_folder(&folder.path().join("runs"));
        folder.prune();
        let journal = Self::on(file, End::default(), run, key, redactor);
        journal.write(&Entry::Began(Box::new(began)));
        Ok(journal)
    }

    /// Goes on with the journal of a run, as it was read.
    ///
    /// # Errors
    /// When the run still goes on, or went on since, or its journal was changed.
    pub fn resume(folder: &Folder, past: &Past, key: Key, redactor: Redactor) -> Result<Self, String> {
        let run = &past.began.run;
        let path = folder.journal(run);
        let file = open(&path, false)?;
        let (_, end) = chain::read(&path)?;
        if end.hash != past.hash {
            return Err("it went on meanwhile, in another windlass; resume it again".to_owned());
        }
        // A line that a crash cut short is taken off.
        file.set_len(end.length).map_err(|error| format!("the journal `{}` cannot be written: {error}", path.display()))?;
        Ok(Self::on(file, end, run.clone(), key, redactor))
    }

    /// Returns a journal that is nowhere kept: its entries are handed over, masked.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn told(redactor: Redactor) -> Result<(Self, Receiver<Entry>), String> {
        let (send, receive) = channel::<Work>();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            while let Ok(work) = receive.recv() {
                match work {
                    Work::Write(entry) => drop(serde_json::from_value(entry).map(|entry| tell.send(entry))),
                    Work::Settle(done) => drop(done.send(Ok(String::new()))),
                }
            }
        });
        let inner = Inner { run: String::new(), key: Key::random()?, redactor, secrets: None, send: Mutex::new(send) };
        Ok((Self { inner: Some(Arc::new(inner)) }, told))
    }

    fn on(file: File, end: End, run: String, key: Key, redactor: Redactor) -> Self {
        let (send, receive) = channel();
        std::thread::spawn(move || write(file, end, &receive));
        Self { inner: Some(Arc::new(Inner { run, key, redactor, secrets: Some(Mutex::default()), send: Mutex::new(send) })) }
    }

    /// Returns the run's id, if anything is kept of it.
    pub fn run(&self) -> Option<&str> {
        self.inner.as_ref().map(|inner| inner.run.as_str())
    }

    /// Returns the key of the run.
    pub fn key(&self) -> Option<&Key> {
        self.inner.as_ref().map(|inner| &inner.key)
    }

    /// Adds an entry, masked. It is on disk after the next [`Journal::settle`].
    pub fn write(&self, entry: &Entry) {
        let Some(inner) = &self.inner else { return };
        let Ok(mut json) = serde_json::to_value(entry) else { return };
        mask(&mut json, &inner.redactor);
        let send = inner.send.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = send.send(Work::Write(json));
        if let Some(sealed) = inner.new_secrets()
            && let Ok(json) = serde_json::to_value(Entry::Secrets { sealed })
        {
            let _ = send.send(Work::Write(json));
        }
    }

    /// Waits until all entries are on disk, and returns the hash of the last.
    ///
    /// # Errors
    /// Says why they cannot be written.
    pub async fn settle(&self) -> Result<String, String> {
        let Some(inner) = &self.inner else { return Ok(String::new()) };
        let (told, telling) = oneshot::channel();
        let _ = inner.send.lock().unwrap_or_else(PoisonError::into_inner).send(Work::Settle(told));
        telling.await.unwrap_or_else(|_| Err("the journal is closed".to_owned()))
    }
}

impl Inner {
    /// Returns the secrets that were learned since this was last asked, sealed.
    fn new_secrets(&self) -> Option<String> {
        let mut known = self.secrets.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let new = self.redactor.learned_since(*known);
        if new.is_empty() {
            return None;
        }
        *known += new.len();
        self.key.seal(&serde_json::to_vec(&new).ok()?).ok()
    }
}

/// Fields that hold no text of a host or a user.
const OURS: &[&str] = &["entry", "key", "sealed", "status", "files", "run"];

fn mask(json: &mut serde_json::Value, redactor: &Redactor) {
    match json {
        serde_json::Value::String(text) => *text = redactor.mask(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| mask(item, redactor)),
        serde_json::Value::Object(fields) => {
            fields.iter_mut().filter(|(name, _)| !OURS.contains(&name.as_str())).for_each(|(_, item)| mask(item, redactor));
        }
        _ => {}
    }
}

fn open(path: &Path, new: bool) -> Result<File, String> {
    let file = OpenOptions::new().append(true).read(true).create_new(new).mode(0o600).open(path);
    let file = file.map_err(|error| format!("the journal `{}` cannot be opened: {error}", path.display()))?;
    file.try_lock().map_err(|_| "this run still goes on, in another windlass".to_owned())?;
    Ok(file)
}

fn sync_folder(path: &Path) {
    let _ = File::open(path).and_then(|folder| folder.sync_all());
}

/// Writes what waits, all at once, and then tells those that wait for it.
fn write(mut file: File, mut end: End, receive: &Receiver<Work>) {
    let mut broken: Option<String> = None;
    while let Ok(first) = receive.recv() {
        let mut text = String::new();
        let mut waiting = Vec::new();
        for work in std::iter::once(first).chain(receive.try_iter()) {
            match work {
                Work::Write(entry) => match end.line(&entry) {
                    Ok(line) => text.push_str(&line),
                    Err(error) => broken = Some(error),
                },
                Work::Settle(told) => waiting.push(told),
            }
        }
        if broken.is_none() && !text.is_empty() {
            broken = file
                .write_all(text.as_bytes())
                .and_then(|()| file.sync_data())
                .err()
                .map(|error| format!("the journal cannot be written: {error}"));
        }
        for told in waiting {
            let _ = told.send(broken.clone().map_or_else(|| Ok(end.hash.clone()), Err));
        }
    }
}
