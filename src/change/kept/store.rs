//! The folder of a run on its host: a log for each agent that worked for it, and the contents of files as they were.
//!
//! A log is locked by its agent as long as that lives, so that who reads it knows whether a step without an end still runs.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest as _, Sha256};

use super::image::Image;
use super::seal::Seal;
use super::{Entry, Kept, LARGEST_FILE, MOST_BYTES, MOST_DAYS, Past, Recall, Seen, Was, seen, undo};
use crate::change::failure::plain;
use crate::change::{Change, Content, Done, Failure, Host, Outcome, Probe, Request, diff, digest};

/// How much of a file is sealed at once.
const PIECE: usize = 1024 * 1024;

/// How long a step that another agent of the run is still at is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest record that is read back.
const LONGEST: usize = 128 * 1024 * 1024;

/// What is kept of one run.
pub struct Store {
    run: String,
    /// The folder of all runs; that of this one is in it.
    base: PathBuf,
    folder: PathBuf,
    seal: Seal,
    log: Mutex<Option<Log>>,
    /// Bytes that may still be kept, once they were counted.
    room: Mutex<Option<u64>>,
    /// The users and groups that were changed.
    accounts: Mutex<Vec<Seen>>,
}

struct Log {
    file: File,
    name: String,
    records: u64,
    changes: u32,
}

/// What a change left, where that was noted.
#[derive(Default)]
pub(super) struct Left {
    /// At its path.
    pub(super) image: Option<Image>,
    /// Of what the program changed that it ran.
    pub(super) seen: Option<Vec<Seen>>,
}

/// A log that was read.
struct Notes {
    name: String,
    entries: Vec<Entry>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Returns the store of a run. Nothing is made yet. `None` for an id that is no name of a folder.
    pub fn new(base: &Path, run: &str, key: &[u8; 32]) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fits = !run.is_empty() && run.len() <= 100 && !run.starts_with('.') && run.chars().all(plain);
        let seal = Seal::new(key).filter(|_| fits)?;
        let folder = base.join(run);
        Some(Self {
            run: run.to_owned(),
            base: base.to_owned(),
            folder,
            seal,
            log: Mutex::default(),
            room: Mutex::default(),
            accounts: Mutex::default(),
        })
    }

    /// Returns what is known of each of these steps. One that another agent is still at is waited for, a while.
    pub fn recall(&self, steps: &[String]) -> Vec<Recall> {
        let until = Instant::now() + PATIENCE;
        loop {
            // Whether they are in use is asked first: what is written after that is then seen.
            let used = self.used();
            let recalled = self.recalled(steps);
            if !recalled.contains(&Recall::Began) || !used || Instant::now() > until {
                return recalled;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn recalled(&self, steps: &[String]) -> Vec<Recall> {
        let mut known: HashMap<String, Recall> = HashMap::new();
        for entry in self.logs().into_iter().flat_map(|log| log.entries) {
            match entry {
                Entry::Began { step } => drop(known.entry(step).or_insert(Recall::Began)),
                Entry::Ended { step, outcome } => drop(known.insert(step, Recall::Done(outcome))),
                _ => {}
            }
        }
        steps.iter().map(|step| known.get(step).cloned().unwrap_or_default()).collect()
    }

    /// Whether another agent works for this run.
    fn used(&self) -> bool {
        let own = lock(&self.log).as_ref().map(|log| log.name.clone());
        self.names().iter().filter(|name| Some(*name) != own.as_ref()).any(|name| {
            let taken = |file: &File| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock));
            File::open(self.folder.join(name)).is_ok_and(|file| taken(&file))
        })
    }

    /// Returns every change that was made for the run, the oldest first.
    pub fn history(&self) -> Vec<Past> {
        let mut all = Vec::new();
        for log in self.logs() {
            let mut changes: Vec<Kept> = Vec::new();
            for entry in log.entries {
                match entry {
                    Entry::Change(kept) => changes.push(kept),
                    Entry::Answered { number, undo } => {
                        if let Some(kept) = changes.get_mut(number as usize) {
                            kept.was = Was::Sent { undo: Some(undo) };
                        }
                    }
                    _ => {}
                }
            }
            for (number, kept) in changes.iter().enumerate() {
                all.push(Past {
                    id: format!("{}:{number}", log.name),
                    step: kept.step.clone(),
                    at: kept.at,
                    summary: kept.summary.clone(),
                    hindrance: undo::why_not(kept),
                    turn: undo::turn(kept),
                    sets: undo::sets(kept),
                });
            }
        }
        all.sort_by(|a, b| a.at.total_cmp(&b.at));
        all
    }

    /// Returns a change by its id, and what it left where that was noted.
    pub(super) fn change(&self, id: &str) -> Option<(Kept, Left)> {
        let (name, number) = id.rsplit_once(':')?;
        let number: u32 = number.parse().ok()?;
        let log = self.logs().into_iter().find(|log| log.name == name)?;
        let (mut at, mut found, mut left) = (0, None, Left::default());
        for entry in log.entries {
            match entry {
                Entry::Change(kept) => {
                    if at == number {
                        found = Some(kept);
                    }
                    at += 1;
                }
                Entry::Left { number: of, image } if of == number => left.image = Some(image),
                Entry::Saw { number: of, seen, .. } if of == number => left.seen = Some(seen),
                Entry::Answered { number: of, undo } if of == number => {
                    if let Some(kept) = &mut found {
                        kept.was = Was::Sent { undo: Some(undo) };
                    }
                }
                _ => {}
            }
        }
        Some((found?, left))
    }

    /// Returns how a user or a group was when the run last looked at it.
    pub(super) fn last_seen(&self, of: &Seen) -> Option<Seen> {
        let saw = |entry| match entry {
            Entry::Saw { at, seen, .. } => seen.into_iter().find(|seen| seen.is_of(of)).map(|seen| (at, seen)),
            _ => None,
        };
        let all = self.logs().into_iter().flat_map(|log| log.entries).filter_map(saw);
        all.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, seen)| seen)
    }

    /// Looks again at the users and groups that were changed before, and remembers those of `seen` for the next time.
    fn others(&self, seen: &[Seen], host: &Host) -> Vec<Seen> {
        let mut accounts = lock(&self.accounts);
        let is_other = |known: &&Seen| !seen.iter().any(|seen| seen.is_of(known));
        let others = accounts.iter().filter(is_other).filter_map(|known| known.now(host).ok()).collect();
        for seen in seen.iter().filter(|seen| seen.is_account()) {
            if !accounts.iter().any(|known| known.is_of(seen)) {
                accounts.push(seen.clone());
            }
        }
        others
    }

    /// Returns what was at a path before changes that are older than `at`.
    pub(super) fn befores(&self, path: &Path, at: f64) -> Vec<Image> {
        let older = |entry| match entry {
            Entry::Change(Kept { was: Was::Path { path: of, image }, at: when, .. }) if of == path && when < at => Some(image),
            _ => None,
        };
        self.logs().into_iter().flat_map(|log| log.entries).filter_map(older).collect()
    }

    /// Returns the content of a file that was kept; `None` where it is not there, or was changed.
    pub fn content(&self, sha256: &str) -> Option<Vec<u8>> {
        let plain = sha256.chars().all(|c| c.is_ascii_hexdigit());
        let mut file = File::open(self.folder.join(format!("content-{sha256}"))).ok().filter(|_| plain)?;
        let (mut content, mut at) = (Vec::new(), 0_u64);
        while let Some(sealed) = record(&mut file) {
            content.extend(self.seal.open(&format!("{} {sha256} {at}", self.run), &sealed)?);
            at += 1;
        }
        (digest::sha256(&content) == sha256).then_some(content)
    }

    /// Keeps the content of a file, and returns its SHA-256.
    pub(super) fn keep(&self, path: &Path, size: u64) -> Result<String, String> {
        if size > LARGEST_FILE {
            return Err(format!("it is larger than the {} MiB that are kept of a file", LARGEST_FILE >> 20));
        }
        let mut room = lock(&self.room);
        let left = room.get_or_insert_with(|| prune(&self.base, &self.run, size));
        if *left < size {
            *left = prune(&self.base, &self.run, size);
        }
        if *left < size {
            return Err(format!("more than {} MiB would be kept on the host", MOST_BYTES >> 20));
        }
        let cannot = |error: io::Error| format!("its content cannot be kept in {}: {error}", self.folder.display());
        let mut content = Vec::new();
        File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut content)).map_err(cannot)?;
        let sha256 = digest::hex(&Sha256::digest(&content));
        let target = self.folder.join(format!("content-{sha256}"));
        if !target.exists() {
            self.put(&target, &sha256, &content).map_err(cannot)?;
            *left = left.saturating_sub(content.len() as u64);
        }
        Ok(sha256)
    }

    #[allow(clippy::disallowed_methods, reason = "the agent's own folder, not what the host is for")]
    fn put(&self, target: &Path, sha256: &str, content: &[u8]) -> io::Result<()> {
        self.make_folder()?;
        let part = target.with_extension(format!("part-{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        for (at, piece) in content.chunks(PIECE).enumerate() {
            write_record(&mut file, &self.seal.close(&format!("{} {sha256} {at}", self.run), piece)?)?;
        }
        file.sync_all()?;
        fs::rename(&part, target)
    }

    fn make_folder(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let stat = fs::symlink_metadata(&self.folder)?;
        if !stat.is_dir() || stat.uid() != nix::unistd::geteuid().as_raw() || stat.mode() & 0o077 != 0 {
            return Err(io::Error::other("the folder is not private to this user"));
        }
        Ok(())
    }

    /// Writes to the log; with `last`, so that it lasts. Returns the number of the change, where it is one.
    fn note(&self, entries: &[Entry], last: bool) -> io::Result<u32> {
        let mut log = lock(&self.log);
        if log.is_none() {
            self.make_folder()?;
            let name = format!("log-{:016x}", rand::random::<u64>());
            let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.folder.join(&name))?;
            let _ = file.try_lock();
            File::open(&self.folder)?.sync_all()?;
            *log = Some(Log { file, name, records: 0, changes: 0 });
        }
        let Some(log) = log.as_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        let mut bytes = Vec::new();
        let (mut number, mut records, mut changes) = (log.changes, log.records, log.changes);
        for entry in entries {
            let plain = postcard::to_stdvec(entry).map_err(io::Error::other)?;
            write_record(&mut bytes, &self.seal.close(&format!("{} {} {records}", self.run, log.name), &plain)?)?;
            records += 1;
            if matches!(entry, Entry::Change(_)) {
                number = changes;
                changes += 1;
            }
        }
        let length = log.file.metadata()?.len();
        let written = log.file.write_all(&bytes).and_then(|()| if last { log.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            // What a full disk cut off must not stand before what is written when there is room again.
            log.file.set_len(length)?;
            return Err(error);
        }
        (log.records, log.changes) = (records, changes);
        Ok(number)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("log-")).collect();
        names.sort();
        names
    }

    fn logs(&self) -> Vec<Notes> {
        let read = |name: String| {
            let mut file = File::open(self.folder.join(&name)).ok()?;
            let mut entries = Vec::new();
            // What a crash cut off in the middle, or left as nothing but zeros, ends the log.
            while let Some(sealed) = record(&mut file) {
                let plain = self.seal.open(&format!("{} {name} {}", self.run, entries.len()), &sealed);
                let Some(entry) = plain.and_then(|plain| postcard::from_bytes(&plain).ok()) else { break };
                entries.push(entry);
            }
            Some(Notes { name, entries })
        };
        self.names().into_iter().filter_map(read).collect()
    }
}

/// A step at work: notes what is there before each of its changes, and what they leave.
pub struct Work {
    store: Arc<Store>,
    step: String,
    /// Whether it can be done again where nobody knows how far it came.
    repeats: bool,
    state: Mutex<(bool, Option<String>)>,
}

impl Work {
    /// Begins with a step. Nothing is noted before its first change. `repeats` says whether it can be done again where nobody
    /// knows how far it came.
    pub fn new(store: Arc<Store>, step: &str, repeats: bool) -> Self {
        Self { store, step: step.to_owned(), repeats, state: Mutex::default() }
    }

    /// Notes that the step begins, where its changes are not made here.
    ///
    /// # Errors
    /// When that cannot be noted, and the step must not be done twice.
    pub fn begin(&self) -> Result<(), Failure> {
        let noted = self.store.note(&[Entry::Began { step: self.step.clone() }], true);
        lock(&self.state).0 |= noted.is_ok();
        noted.map(drop).or_else(|error| self.goes_without(&error))
    }

    /// Says that the step goes on though it cannot be noted; or that it must not.
    fn goes_without(&self, error: &io::Error) -> Result<(), Failure> {
        let (folder, error) = (self.store.folder.display(), plain(error));
        if !self.repeats {
            let why = format!("this was not begun, as the host cannot note in {folder} that it begins: {error}");
            let hint = "make room there: without the note nobody could tell, after a run that broke off, whether it was done";
            return Err(Failure::failed(why).hint(hint));
        }
        let complaint = || format!("what is changed cannot be noted in {folder}, so it cannot be undone: {error}");
        lock(&self.state).1.get_or_insert_with(complaint);
        Ok(())
    }

    /// Notes what is there before a change; returns the change's number where it is noted.
    ///
    /// # Errors
    /// As [`Work::begin`].
    pub fn before(&self, host: &Host, change: &Change) -> Result<Option<u32>, Failure> {
        let (was, planned) = (self.was(host, change), planned(change));
        let secret = matches!(change, Change::Write { secret: true, .. });
        let kept = Kept { step: self.step.clone(), at: now(), summary: diff::summary(change), secret, was, planned };
        let mut entries = Vec::new();
        if !lock(&self.state).0 {
            entries.push(Entry::Began { step: self.step.clone() });
        }
        entries.push(Entry::Change(kept));
        match self.store.note(&entries, true) {
            Ok(number) => {
                lock(&self.state).0 = true;
                Ok(Some(number))
            }
            Err(error) => self.goes_without(&error).map(|()| None),
        }
    }

    /// Notes what a change left.
    pub fn after(&self, host: &Host, change: &Change, done: &Done, number: Option<u32>) {
        let Some(number) = number else { return };
        let entry = match (change, done, place(change)) {
            (Change::Http { undo: Some(undo), .. }, Done::Answered(response), _) => {
                let Some(undo) = addressed(undo, &response.body) else { return };
                Entry::Answered { number, undo }
            }
            (Change::Run { effects, .. }, _, _) => {
                let Some(mut seen) = seen::look(host, effects, None) else { return };
                if seen.iter().any(Seen::is_account) {
                    let others = self.store.others(&seen, host);
                    seen.extend(others);
                }
                Entry::Saw { number, at: now(), seen }
            }
            (_, _, Some((path, follow))) => Entry::Left { number, image: Image::take(host, &real(path, follow), false, None) },
            _ => return,
        };
        let _ = self.store.note(&[entry], false);
    }

    /// Returns, once, why what is changed cannot be noted.
    pub fn complaint(&self) -> Option<String> {
        lock(&self.state).1.take()
    }

    /// Notes that the step is done; with `last`, so that the note outlasts a power cut.
    pub fn ended(&self, outcome: &Outcome, last: bool) {
        if lock(&self.state).0 {
            let _ = self.store.note(&[Entry::Ended { step: self.step.clone(), outcome: Box::new(outcome.clone()) }], last);
        }
    }

    fn was(&self, host: &Host, change: &Change) -> Was {
        match change {
            Change::Run { effects, .. } => seen::look(host, effects, Some(&self.store)).map_or(Was::Unknown, Was::Ran),
            Change::Http { request, undo: Some(undo), .. } if **undo == *request => Was::Read(request.clone()),
            Change::Http { undo, .. } => Was::Sent { undo: undo.as_deref().cloned() },
            Change::Unit { name, action, scope, .. } => match host.unit(name, scope) {
                Ok(state) => Was::Unit { name: name.clone(), scope: scope.clone(), action: *action, state },
                Err(_) => Was::Unknown,
            },
            _ => match place(change) {
                None => Was::Unknown,
                Some((path, follow)) => {
                    let path = real(path, follow);
                    let contents = !matches!(change, Change::Attributes { .. } | Change::Directory { .. });
                    let image = Image::take(host, &path, matches!(change, Change::Remove { .. }), contents.then_some(&*self.store));
                    Was::Path { path, image }
                }
            },
        }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Returns the path of a change, and whether a link there is followed.
fn place(change: &Change) -> Option<(&Path, bool)> {
    match change {
        Change::Attributes { path, follow, .. } => Some((path, *follow)),
        Change::Directory { path, .. } => Some((path, true)),
        _ => crate::change::carry::path_of(change).map(|path| (path, false)),
    }
}

fn real(path: &Path, follow: bool) -> PathBuf {
    if follow { fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()) } else { path.to_owned() }
}

/// Puts the `id` of an answer where the request that takes it back has `@id@`; `None` where it has none.
fn addressed(undo: &Request, answer: &[u8]) -> Option<Request> {
    let body = String::from_utf8_lossy(undo.body.as_deref().unwrap_or_default()).into_owned();
    if !body.contains("@id@") && !undo.url.contains("@id@") {
        return None;
    }
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let id = answer.get("id")?.as_str()?;
    Some(Request { url: undo.url.replace("@id@", id), body: Some(body.replace("@id@", id).into_bytes()), ..undo.clone() })
}

fn planned(change: &Change) -> Option<String> {
    match change {
        Change::Write { after: Content::Bytes(bytes), .. } => Some(digest::sha256(bytes)),
        Change::Write { after: Content::Blob { sha256, .. }, .. } => Some(sha256.clone()),
        _ => None,
    }
}

fn write_record(to: &mut impl Write, sealed: &[u8]) -> io::Result<()> {
    let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(sealed)
}

/// Reads a record; `None` at the end, or where it is cut off.
fn record(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut head = [0; 4];
    from.read_exact(&mut head).ok()?;
    let length = usize::try_from(u32::from_be_bytes(head)).ok().filter(|length| *length <= LONGEST)?;
    let mut sealed = Vec::new();
    from.take(length as u64).read_to_end(&mut sealed).ok()?;
    (sealed.len() == length).then_some(sealed)
}

/// Returns the folder where this user's runs are kept: beside the agent, where that is private, else in the cache folder.
pub fn base() -> PathBuf {
    let private = |folder: &Path| {
        let stat = fs::symlink_metadata(folder);
        stat.is_ok_and(|stat| stat.is_dir() && stat.uid() == nix::unistd::geteuid().as_raw() && stat.mode() & 0o077 == 0)
    };
    let beside = std::env::current_exe().ok().and_then(|file| file.parent().map(Path::to_path_buf)).filter(|folder| private(folder));
    beside.map_or_else(home, |folder| folder.join("runs"))
}

/// Returns the folder where this user's runs are kept where no agent works, but the controller itself.
pub fn home() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/nonexistent".into())).join(".cache/windlass/runs")
}

/// Removes runs that are too old, then the oldest until there is room for `wanted` more; returns how much more fits.
pub fn prune(base: &Path, own: &str, wanted: u64) -> u64 {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let mut runs: Vec<(SystemTime, u64, PathBuf)> = entries.map(|entry| size_of(&entry.path())).collect();
    runs.sort();
    let mut total: u64 = runs.iter().map(|(_, size, _)| size).sum();
    let oldest = SystemTime::now().checked_sub(Duration::from_secs(MOST_DAYS * 24 * 3600)).unwrap_or(SystemTime::UNIX_EPOCH);
    for (changed, size, path) in runs {
        let is_own = path.file_name().is_some_and(|name| name == own);
        if !is_own && (changed < oldest || total + wanted > MOST_BYTES) {
            discard(&path);
            total -= size;
        }
    }
    MOST_BYTES.saturating_sub(total)
}

fn size_of(folder: &Path) -> (SystemTime, u64, PathBuf) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok());
    let (mut changed, mut size) = (SystemTime::UNIX_EPOCH, 0);
    for file in files {
        changed = changed.max(file.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        size += file.len();
    }
    (changed, size, folder.to_owned())
}

#[allow(clippy::disallowed_methods, reason = "the agent's own folder, not what the host is for")]
fn discard(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
}
