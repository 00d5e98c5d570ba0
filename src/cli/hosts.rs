//! The hosts of a run: the inventory as the runner sees it, and the sessions that reach them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use indexmap::IndexMap;

use crate::agent::protocol::{Recalled, RunIdentity, Task, Undo};
use crate::agent::session::{Session, Sessions};
use crate::change::kept::Past;
use crate::change::{Mode, Outcome, Output, Plan, carry_out};
use crate::connect::settings::Warnings;
use crate::connect::{Kind, Settings, Target, Trouble};
use crate::load::inventory::{Inventory, Options};
use crate::load::loader::{Errors, Loader};
use crate::report::{Event, Listener};
use crate::run::Site;
use crate::run::hands::{Control, Hands, Lost, OnItem, Seat};
use crate::source::Diagnostic;
use crate::value::{Key, Map, Value};
use crate::vars::scope::Layer;

/// What a run added to the inventory.
enum Added {
    Host(String, Vec<String>, Map),
    Member(String, String, Vec<String>),
}

/// The inventory of a run, with `--limit` applied to whatever is selected.
pub struct Hosts {
    inventory: RwLock<Inventory>,
    loader: Arc<Loader>,
    inputs: Vec<String>,
    limit: Vec<String>,
    playbook_folder: PathBuf,
    added: Mutex<Vec<Added>>,
    options: Options,
}

impl Hosts {
    /// Reads the inventory.
    ///
    /// # Errors
    /// Everything wrong in it, or a limit that means no host.
    pub fn read(
        loader: &Arc<Loader>,
        inputs: &[String],
        limit: &[String],
        playbook_folder: &Path,
        options: Options,
    ) -> Result<Self, Errors> {
        let inventory = load(loader, inputs, playbook_folder, options.clone())?;
        for pattern in limit {
            for unknown in inventory.unmatched(pattern) {
                loader.warn(Diagnostic::warning(format!("--limit: no host matches `{unknown}`")));
            }
        }
        if !limit.is_empty()
            && inventory.hosts_matching("all", limit).map_err(|error| vec![error])?.is_empty()
            && !inventory.hosts().is_empty()
        {
            return Err(vec![
                Diagnostic::error("--limit leaves no host").hint("see `windlass inventory --graph` for the names of hosts and groups"),
            ]);
        }
        Ok(Self {
            inventory: RwLock::new(inventory),
            loader: loader.clone(),
            inputs: inputs.to_vec(),
            limit: limit.to_vec(),
            playbook_folder: playbook_folder.to_owned(),
            added: Mutex::default(),
            options,
        })
    }

    fn keep(&self, added: Added) {
        self.added.lock().unwrap_or_else(PoisonError::into_inner).push(added);
    }

    fn look<T>(&self, look: impl FnOnce(&Inventory) -> T) -> T {
        look(&self.inventory.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inventory) -> T) -> T {
        change(&mut self.inventory.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn load(loader: &Arc<Loader>, inputs: &[String], playbook_folder: &Path, options: Options) -> Result<Inventory, Errors> {
    let mut inventory = Inventory::load_with(&loader.sources, &loader.vault, inputs, options)?;
    inventory.set_playbook_folder(playbook_folder)?;
    for warning in inventory.take_warnings() {
        loader.warn(warning);
    }
    Ok(inventory)
}

impl Site for Hosts {
    fn hosts(&self) -> Vec<Arc<str>> {
        self.look(Inventory::hosts)
    }

    fn select(&self, pattern: &str) -> Result<Vec<Arc<str>>, Diagnostic> {
        self.look(|inventory| inventory.hosts_matching(pattern, &self.limit))
    }

    fn layers(&self, host: &str) -> Vec<Layer> {
        self.look(|inventory| inventory.layers(host))
    }

    fn groups(&self) -> IndexMap<String, Vec<Arc<str>>> {
        self.look(|inventory| inventory.group_names().map(|group| (group.to_string(), inventory.hosts_in(group))).collect())
    }

    fn groups_of(&self, host: &str) -> Vec<String> {
        self.look(|inventory| inventory.group_names_of(host).iter().map(ToString::to_string).filter(|group| group != "all").collect())
    }

    fn add_host(&self, name: &str, groups: &[String], variables: &Map) -> bool {
        let is_new = self.look(|inventory| {
            let has = |group: &String| inventory.group_names_of(name).iter().any(|known| **known == **group);
            let holds = |(name_of, value): (&crate::value::Key, &crate::value::Value)| inventory.own_variable(name, name_of) == Some(value);
            !inventory.has_host(name) || !groups.iter().all(has) || !variables.iter().all(holds)
        });
        let known = self.layers(name);
        let has = |variable: &Key, value: &Value| known.iter().rev().find_map(|layer| layer.variables.get(variable)) == Some(value);
        let is_new = is_new || !variables.iter().all(|(variable, value)| has(variable, value));
        self.keep(Added::Host(name.to_owned(), groups.to_vec(), variables.clone()));
        if let Err(errors) = self.change(|inventory| inventory.add_host(name, groups, variables)) {
            errors.into_iter().for_each(|error| self.loader.warn(error));
        }
        is_new
    }

    fn add_to_group(&self, host: &str, group: &str, parents: &[String]) -> bool {
        let is_new = self.look(|inventory| !inventory.group_names_of(host).iter().any(|known| **known == *group));
        self.keep(Added::Member(host.to_owned(), group.to_owned(), parents.to_vec()));
        if let Err(errors) = self.change(|inventory| inventory.add_group_member(group, host, parents)) {
            errors.into_iter().for_each(|error| self.loader.warn(error));
        }
        is_new
    }

    fn file(&self, host: &str) -> Option<PathBuf> {
        // A host that no inventory names (an implicit localhost) belongs to the first.
        let first = || self.inputs.iter().find(|input| !input.contains(',')).map(PathBuf::from);
        self.look(|inventory| inventory.source_of(host).map(Path::to_path_buf)).or_else(first)
    }

    fn refresh(&self) -> Result<(), Diagnostic> {
        let fresh = load(&self.loader, &self.inputs, &self.playbook_folder, self.options.clone());
        let fresh =
            fresh.map_err(|errors| errors.into_iter().next().unwrap_or_else(|| Diagnostic::error("the inventory cannot be read")))?;
        self.change(|inventory| *inventory = fresh);
        // What the run added is no part of any file, and stays.
        for added in self.added.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let again = self.change(|inventory| match added {
                Added::Host(name, groups, variables) => inventory.add_host(name, groups, variables).map(|_| ()),
                Added::Member(host, group, parents) if inventory.has_host(host) => inventory.add_group_member(group, host, parents),
                Added::Member(..) => Ok(()),
            });
            if let Err(errors) = again {
                errors.into_iter().for_each(|error| self.loader.warn(error));
            }
        }
        Ok(())
    }
}

/// The place of one host's session, locked while it is being opened.
type Opening = Arc<tokio::sync::Mutex<Option<Arc<Session>>>>;

/// Reaches hosts: a session each, opened when it is first needed and opened anew when it was lost.
pub struct Reach {
    sessions: Sessions,
    open: Mutex<HashMap<String, Opening>>,
}

impl Reach {
    /// Returns hands that have not reached anywhere yet; warnings go to the listener.
    pub fn new(listener: Arc<dyn Listener>) -> Self {
        let warnings = Warnings::to(move |message| listener.tell(&Event::Warning { message: message.to_owned() }));
        Self { sessions: Sessions::new(Settings::of_this_user(warnings)), open: Mutex::default() }
    }

    /// Names the run that is worked for.
    pub fn work_for(&self, run: RunIdentity) {
        self.sessions.work_for(run);
    }

    async fn session(&self, target: &Target) -> Result<Arc<Session>, Lost> {
        let slot = self.slot(target);
        let mut slot = slot.lock().await;
        if let Some(session) = slot.as_ref()
            && session.is_open().await
        {
            return Ok(session.clone());
        }
        let session = Arc::new(self.sessions.open(target).await.map_err(lost)?);
        *slot = Some(session.clone());
        Ok(session)
    }

    fn slot(&self, target: &Target) -> Arc<tokio::sync::Mutex<Option<Arc<Session>>>> {
        // Not the name alone: a task may say another user or port for the same host.
        let key = format!("{}\u{0}{}\u{0}{}\u{0}{:?}\u{0}{:?}", target.name, target.connection, target.host, target.port, target.user);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }

    fn all(&self) -> Vec<Arc<tokio::sync::Mutex<Option<Arc<Session>>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

fn lost(trouble: Trouble) -> Lost {
    Lost { reached: trouble.kind == Kind::Become, message: trouble.message, hint: trouble.hint }
}

impl Hands for Reach {
    fn task<'a>(&'a self, seat: &'a Seat, task: Task, on_item: OnItem<'a>) -> BoxFuture<'a, Result<(), Lost>> {
        Box::pin(async move {
            let session = self.session(&seat.target).await?;
            session.task(seat.r#become.as_ref(), task, on_item).await.map_err(lost)
        })
    }

    fn control<'a>(&'a self, seat: &'a Seat, control: Control) -> BoxFuture<'a, Result<Outcome, Lost>> {
        Box::pin(async move {
            let session = self.session(&seat.target).await?;
            session.control(seat.r#become.as_ref(), control).await.map_err(lost)
        })
    }

    fn raw<'a>(&'a self, seat: &'a Seat, line: &'a str) -> BoxFuture<'a, Result<Output, Lost>> {
        Box::pin(async move {
            let session = self.session(&seat.target).await?;
            session.raw(seat.r#become.as_ref(), line).await.map_err(lost)
        })
    }

    fn recall<'a>(&'a self, seat: &'a Seat, steps: &'a [String]) -> BoxFuture<'a, Result<Vec<Recalled>, Lost>> {
        Box::pin(async move {
            let session = self.session(&seat.target).await?;
            session.recall(seat.r#become.as_ref(), steps).await.map_err(lost)
        })
    }

    fn history<'a>(&'a self, seat: &'a Seat, run: &'a str, key: &'a [u8; 32]) -> BoxFuture<'a, Result<Vec<Past>, Lost>> {
        Box::pin(async move {
            let session = self.session(&seat.target).await?;
            session.history(seat.r#become.as_ref(), run, key).await.map_err(lost)
        })
    }

    fn undo<'a>(&'a self, seat: &'a Seat, order: Undo, on_item: OnItem<'a>) -> BoxFuture<'a, Result<(), Lost>> {
        Box::pin(async move {
            let session = self.session(&seat.target).await?;
            session.undo(seat.r#become.as_ref(), order, on_item).await.map_err(lost)
        })
    }

    fn here(&self, plan: Plan, mode: Mode, diff: bool) -> BoxFuture<'_, Outcome> {
        let mut host = self.sessions.here();
        Box::pin(async move { carry_out(&mut host, &plan, mode, diff).1 })
    }

    fn offer(&self, sha256: &str, path: &Path) {
        self.sessions.offer(sha256, path);
    }

    fn close<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(session) = self.slot(target).lock().await.take() {
                session.close().await;
            }
        })
    }

    fn leave<'a>(&'a self, target: &'a Target, user: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let session = self.slot(target).lock().await.clone();
            if let Some(session) = session {
                session.leave(user).await;
            }
        })
    }

    fn cancel(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            for slot in self.all() {
                if let Some(session) = slot.lock().await.as_ref() {
                    session.cancel().await;
                }
            }
        })
    }

    fn farewell(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let close = self.all().into_iter().map(|slot| async move {
                if let Some(session) = slot.lock().await.take() {
                    session.close().await;
                }
            });
            futures_util::future::join_all(close).await;
        })
    }
}
