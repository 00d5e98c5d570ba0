//! A play while it runs: its hosts, the batch at work, its handlers, and what its roles show to all of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::Semaphore;

use crate::load::playbook::{Block, Item, Play, Role, RoleUse};
use crate::run::Run;
use crate::run::frame::Frame;
use crate::run::handlers::Handler;
use crate::run::host::Standing;
use crate::run::strategy::Strategy;
use crate::source::{Diagnostic, Span};
use crate::value::Map;
use crate::vars::scope::Level;

/// A play while it runs.
pub(super) struct Stage {
    pub(super) play: Arc<Play>,
    /// Its name, rendered.
    pub(super) name: String,
    pub(super) frame: Arc<Frame>,
    /// Every host of the play.
    pub(super) all: Vec<Arc<str>>,
    batch: RwLock<Vec<Arc<str>>>,
    handlers: RwLock<Vec<Arc<Handler>>>,
    exposed: RwLock<Vec<(Level, Arc<Map>)>>,
    /// Names of roles: those that the play names, imports and includes, and those that they depend on.
    roles: RwLock<(Vec<String>, Vec<String>)>,
    prompted: Arc<Map>,
    files: Mutex<HashMap<PathBuf, Arc<Map>>>,
    /// No further task runs in this play.
    stopped: AtomicBool,
    /// Nor in any later one.
    broken: AtomicBool,
    next_role: AtomicUsize,
    pub(super) strategy: Strategy,
    /// Whether roles keep their variables to themselves where they do not say it.
    private: bool,
    /// The hosts that the play would have now, after the inventory was read anew.
    shown: RwLock<Vec<Arc<str>>>,
    /// How many hosts may be at a task with `throttle` at once, by its place.
    throttles: Mutex<HashMap<(Span, usize), Arc<Semaphore>>>,
}

impl Stage {
    pub(super) fn new(play: Arc<Play>, name: String, all: Vec<Arc<str>>, prompted: Map, strategy: Strategy, private: bool) -> Arc<Self> {
        let frame = Frame::play(&play);
        let shown = RwLock::new(all.clone());
        let stage = Self {
            name,
            all,
            batch: RwLock::default(),
            handlers: RwLock::default(),
            exposed: RwLock::default(),
            roles: RwLock::default(),
            prompted: Arc::new(prompted),
            files: Mutex::default(),
            stopped: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            next_role: AtomicUsize::new(0),
            strategy,
            private,
            shown,
            throttles: Mutex::default(),
            frame,
            play,
        };
        stage.take_in_roles();
        Arc::new(stage)
    }

    /// Takes in what the play's roles and imported roles bring for all of the play: variables, names, handlers. The
    /// handlers of the play itself come after those of its `roles:`, and before those of roles that tasks import.
    fn take_in_roles(&self) {
        for r#use in &self.play.roles {
            let Some(role) = &r#use.role else { continue };
            self.take_in(&self.frame, r#use, role);
        }
        self.add_handlers(&self.play.handlers, &self.frame, self.number_role());
        for items in [&self.play.pre_tasks, &self.play.tasks, &self.play.post_tasks] {
            self.take_in_imports(items, &self.frame);
        }
    }

    fn take_in_imports(&self, items: &[Item], frame: &Arc<Frame>) {
        for item in items {
            let Item::Block(block) = item else { continue };
            let inner = self.block_frame(block, frame);
            if let Some((r#use, role)) = block.role.as_ref().and_then(|r#use| Some((r#use, r#use.role.as_ref()?))) {
                self.take_in(&inner, r#use, role);
            }
            for items in [&block.block, &block.rescue, &block.always] {
                self.take_in_imports(items, &inner);
            }
        }
    }

    fn block_frame(&self, block: &Arc<Block>, frame: &Arc<Frame>) -> Arc<Frame> {
        frame.block(block, true)
    }

    /// Takes in a role and those it depends on: what it shows to the whole play, and its handlers.
    fn take_in(&self, frame: &Arc<Frame>, r#use: &Arc<RoleUse>, role: &Arc<Role>) {
        if r#use.public.unwrap_or(!self.private) {
            self.expose(role);
        }
        self.note_role(role);
        self.take_in_tasks(frame, r#use, role);
    }

    fn take_in_tasks(&self, frame: &Arc<Frame>, r#use: &Arc<RoleUse>, role: &Arc<Role>) {
        let inner = frame.role_use(r#use, role, None);
        for dependency in &role.dependencies {
            if let Some(role) = &dependency.role {
                self.take_in_tasks(&inner, dependency, role);
            }
        }
        self.forget_handlers(&role.handlers);
        self.add_handlers(&role.handlers, &inner, self.number_role());
        self.take_in_imports(&role.tasks, &inner);
    }

    /// Shows the variables of a role, and of those it depends on, to the rest of the play.
    pub(super) fn expose(&self, role: &Role) {
        let mut exposed = self.exposed.write().unwrap_or_else(PoisonError::into_inner);
        for role in role.all_dependencies().into_iter().map(|role| &**role).chain([role]) {
            for (level, variables) in [(Level::RoleDefaults, &role.head.defaults), (Level::RoleVars, &role.head.vars)] {
                exposed.retain(|(known, of)| *known != level || !Arc::ptr_eq(of, variables));
                if !variables.is_empty() {
                    exposed.push((level, variables.clone()));
                }
            }
        }
    }

    /// Notes the name of a role that takes part, and of those it depends on.
    pub(super) fn note_role(&self, role: &Role) {
        let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        roles.0.push(role.head.name.clone());
        for dependency in role.all_dependencies() {
            if !roles.1.contains(&dependency.head.name) {
                roles.1.push(dependency.head.name.clone());
            }
        }
    }

    /// Takes in what an included role, or included tasks, bring for all of the play: handlers, and the roles they import.
    pub(super) fn take_in_included(&self, items: &[Item], frame: &Arc<Frame>, role: Option<&Arc<Role>>) {
        for dependency in role.iter().flat_map(|role| &role.dependencies) {
            if let Some(role) = &dependency.role {
                let inner = frame.role_use(dependency, role, None);
                self.take_in_included(&role.tasks, &inner, Some(role));
            }
        }
        if let Some(role) = role {
            self.add_handlers(&role.handlers, frame, self.number_role());
        }
        for item in items {
            let Item::Block(block) = item else { continue };
            let inner = self.block_frame(block, frame);
            if let Some((r#use, role)) = block.role.as_ref().and_then(|r#use| Some((r#use, r#use.role.as_ref()?))) {
                if r#use.public.unwrap_or(!self.private) {
                    self.expose(role);
                }
                self.note_role(role);
                self.take_in_included(&role.tasks, &inner.role_use(r#use, role, None), Some(role));
            }
            for items in [&block.block, &block.rescue, &block.always] {
                self.take_in_included(items, &inner, None);
            }
        }
    }

    /// Forgets handlers that an earlier use of their role brought, so that the last use counts. Only before anything runs:
    /// notices hold the numbers of handlers.
    fn forget_handlers(&self, items: &[Item]) {
        for item in items {
            match item {
                Item::Task(task) => {
                    let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
                    handlers.retain(|known| !Arc::ptr_eq(&known.task, task));
                }
                Item::Block(block) => self.forget_handlers(&block.block),
            }
        }
    }

    fn add_handlers(&self, items: &[Item], frame: &Arc<Frame>, list: usize) {
        for item in items {
            match item {
                Item::Task(task) => {
                    let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
                    if !handlers.iter().any(|known| Arc::ptr_eq(&known.task, task)) {
                        handlers.push(Arc::new(Handler { task: task.clone(), frame: frame.clone(), list }));
                    }
                }
                Item::Block(block) => self.add_handlers(&block.block, &frame.block(block, false), list),
            }
        }
    }

    pub(super) fn handlers(&self) -> Vec<Arc<Handler>> {
        self.handlers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn exposed(&self) -> Vec<(Level, Arc<Map>)> {
        self.exposed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn prompted(&self) -> Arc<Map> {
        self.prompted.clone()
    }

    /// Returns the names of the roles that the play uses.
    pub(super) fn role_names(&self) -> Vec<String> {
        self.roles.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Returns the names of the roles that those depend on.
    pub(super) fn dependent_role_names(&self) -> Vec<String> {
        self.roles.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Returns the hosts that the play would have now.
    pub(super) fn shown(&self) -> Vec<Arc<str>> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn show(&self, hosts: Vec<Arc<str>>) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    pub(super) fn batch(&self) -> Vec<Arc<str>> {
        self.batch.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_batch(&self, hosts: Vec<Arc<str>>) {
        *self.batch.write().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    /// Returns those of `hosts` that have neither failed nor gone.
    pub(super) fn alive(&self, run: &Run, hosts: &[Arc<str>]) -> Vec<Arc<str>> {
        let gone = |host: &Arc<str>| matches!(run.hosts.standing(host), Standing::Failed | Standing::Unreachable);
        hosts.iter().filter(|host| !gone(host)).cloned().collect()
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Stops this play and all later ones: too much has failed.
    pub(super) fn break_off(&self) {
        self.broken.store(true, Ordering::SeqCst);
        self.stop();
    }

    /// Lets the play go on for a while although it was broken off, and says whether it was.
    pub(super) fn hold_on(&self) -> bool {
        self.stopped.store(false, Ordering::SeqCst);
        self.broken.swap(false, Ordering::SeqCst)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Returns a number for a role that begins, so that hosts may leave it.
    pub(super) fn number_role(&self) -> usize {
        self.next_role.fetch_add(1, Ordering::SeqCst)
    }

    /// Returns what lets no more than `most` hosts work on the task at `span` at once, however they come to it.
    pub(super) fn throttle(&self, span: Span, most: usize) -> Arc<Semaphore> {
        let mut throttles = self.throttles.lock().unwrap_or_else(PoisonError::into_inner);
        throttles.entry((span, most)).or_insert_with(|| Arc::new(Semaphore::new(most))).clone()
    }

    /// Returns the variables of a file, read once a play.
    pub(super) fn variables_of_file(
        &self,
        path: &Path,
        read: impl FnOnce() -> Result<Map, Vec<Diagnostic>>,
    ) -> Result<Arc<Map>, Vec<Diagnostic>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = files.get(path) {
            return Ok(known.clone());
        }
        let variables = Arc::new(read()?);
        files.insert(path.to_owned(), variables.clone());
        Ok(variables)
    }
}
