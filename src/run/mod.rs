//! Drives plays. Read [`run`] first, then `play`, then `strategy`: that is the whole loop.
//!
//! A play's hosts go through its items together, task by task (`strategy`); one task on one host is a `step`: when →
//! loop → arguments → host → register. What a step came to is settled (`task`): counts, facts, notified handlers, and
//! whether the host goes on. Failures stay inside the `block` that rescues them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::change::programs;
use crate::load::playbook::{Action, Playbook, Task};
use crate::record::Journal;
use crate::record::past::Known;
use crate::report::event::{Event, Listener};
use crate::source::{Diagnostic, Sources, Span, render};
use crate::value::secret::Redactor;
use crate::vars::Engine;

mod announce;
mod argument_spec;
mod arguments;
mod background;
pub mod bond;
pub mod budget;
mod connection;
mod controller;
mod debugger;
pub mod fact_cache;
mod failure;
pub mod files;
mod frame;
mod handlers;
pub mod hands;
pub mod here;
mod host;
mod include;
pub mod library;
mod looping;
mod magic;
mod meta;
mod no_host;
mod play;
mod prompt;
mod reboot;
mod recap;
pub mod replay;
mod reserved;
mod result;
mod role;
mod rollout;
mod scope;
mod search;
pub mod settings;
pub mod site;
mod stage;
mod stats;
mod step;
mod strategy;
pub mod tags;
mod task;
mod then;
pub mod undo;
mod unknown;
pub mod window;
pub(crate) mod world;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use bond::Bond;
pub use hands::Hands;
pub use library::{Asker, Library, Waited};
pub use magic::LIKE_ANSIBLE;
pub use recap::Recap;
pub use settings::Settings;
pub use site::Site;

use frame::Frame;
use search::Search;
use stage::Stage;

/// What a run needs besides the playbook.
#[derive(Clone)]
pub struct Surroundings {
    /// Hosts and groups.
    pub site: Arc<dyn Site>,
    /// Does things on hosts.
    pub hands: Arc<dyn Hands>,
    /// Reads included files and roles.
    pub library: Arc<dyn Library>,
    /// Asks the person at the terminal.
    pub asker: Arc<dyn Asker>,
    /// Hears what happens.
    pub listener: Arc<dyn Listener>,
    /// Every text read.
    pub sources: Sources,
    /// Knows every secret.
    pub redactor: Redactor,
    /// Keeps what happens; empty in a check.
    pub journal: Journal,
    /// What an earlier part of the run did, where this one resumes it.
    pub known: Arc<Known>,
    /// The plan that is made, or applied.
    pub bond: Arc<Bond>,
}

/// A run: what all plays share.
struct Run {
    settings: Settings,
    site: Arc<dyn Site>,
    hands: Arc<dyn Hands>,
    library: Arc<dyn Library>,
    asker: Arc<dyn Asker>,
    listener: Arc<dyn Listener>,
    sources: Sources,
    redactor: Redactor,
    journal: Journal,
    known: Arc<Known>,
    bond: Arc<Bond>,
    /// How often each host met each task, and how many steps it had.
    met: replay::Met,
    /// Handlers that were notified when their play ended without them.
    owed: Mutex<BTreeMap<String, Vec<String>>>,
    /// The folder of the playbook at work.
    playbook_folder: Mutex<PathBuf>,
    selection: tags::Selection,
    hosts: host::Hosts,
    announcements: announce::Announcements,
    /// Handlers whose name could not be rendered, told of once.
    unusable: Mutex<HashSet<Span>>,
    /// Reserved names of variables that were told of.
    reserved: Mutex<HashSet<&'static str>>,
    engines: Mutex<HashMap<Search, Arc<Engine>>>,
    /// One permit a host that may be worked on at once.
    forks: Arc<Semaphore>,
    /// False until the task of `--start-at-task` is met.
    started: AtomicBool,
    /// Whether each task is asked about before it is run.
    stepping: AtomicBool,
    predicted: AtomicUsize,
    unknown: Mutex<Vec<String>>,
    broken: AtomicBool,
    /// The seats that steps of this run had, as noted in the journal, and for which hosts.
    seats: Mutex<Vec<(Arc<str>, hands::Seat)>>,
    interrupted: AtomicBool,
    /// The programs on the hosts were ended in the middle: by the second Ctrl-C.
    cut_short: AtomicBool,
    guard: window::Guard,
    /// Held while the debugger has stopped at a task.
    debugging: tokio::sync::Mutex<()>,
    /// The run was ended in the debugger.
    quit: AtomicBool,
    stats: stats::Stats,
    /// Facts that are not kept for later runs, told of once.
    unkept: Mutex<HashSet<String>>,
}

/// Runs playbooks one after the other, up to the first on which a host fails, and says how it went. They share what is
/// known of the hosts. Everything that happens on the way is told to the listener.
pub async fn run(playbooks: &[Playbook], settings: Settings, surroundings: Surroundings) -> Recap {
    let began = Instant::now();
    let run = Arc::new(Run::new(settings, surroundings));
    let names: Vec<_> = playbooks.iter().map(|playbook| playbook.path.display().to_string()).collect();
    run.tell(Event::RunStarted { playbook: names.join(" "), check: run.settings.check, hosts: run.site.hosts().len() });

    // Before anything is done, it is on disk that it was begun.
    let _ = run.in_journal().await;

    if run.settings.flush_cache {
        run.site.hosts().iter().for_each(|host| run.forget_facts(host));
        // This machine may be worked on without being in the inventory.
        run.forget_facts("localhost");
    }
    let watch = watch_for_interrupt(&run);
    let mut left: usize = playbooks.iter().map(|playbook| playbook.plays.len()).sum();
    let playbooks = if run.may_touch(playbooks).await { playbooks } else { &[] };
    'all: for playbook in playbooks {
        run.enter(playbook);
        run.tell(Event::PlaybookStarted { path: playbook.path.display().to_string(), plays: playbook.plays.len() });
        for play in &playbook.plays {
            left -= 1;
            if run.play(play).await.is_break() || run.is_interrupted() {
                run.tell_left_out(left);
                break 'all;
            }
        }
        if run.recap().exit_code() != 0 {
            run.tell_left_out(left);
            break;
        }
    }
    drop(watch);
    run.hands.farewell().await;

    let recap = run.recap();
    run.note_end(&recap);
    let _ = run.in_journal().await;
    run.tell(Event::RunEnded {
        recap: recap.hosts.clone(),
        took: began.elapsed(),
        predicted: recap.predicted,
        unknown: recap.unknown.clone(),
        run: run.journal.run().map(str::to_owned),
        code: recap.exit_code(),
    });
    run.tell_stats();
    recap
}

/// The first Ctrl-C lets running steps end and starts no others, and ends lookups, which are no steps; the second ends the
/// programs on the hosts. It has a thread of its own, as all others may wait for a lookup. What is returned ends it when it goes.
fn watch_for_interrupt(run: &Arc<Run>) -> tokio::sync::oneshot::Sender<()> {
    let (watched, over) = tokio::sync::oneshot::channel();
    let (run, main) = (run.clone(), tokio::runtime::Handle::current());
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async move {
            let interrupts = async {
                if tokio::signal::ctrl_c().await.is_err() {
                    return;
                }
                run.interrupted.store(true, Ordering::SeqCst);
                run.warn("interrupted: what runs now is brought to its end; press Ctrl-C again to end it at once");
                programs::end_asking();
                if tokio::signal::ctrl_c().await.is_ok() {
                    run.cut_short.store(true, Ordering::SeqCst);
                    main.spawn(async move { run.hands.cancel().await });
                }
            };
            tokio::select! { () = interrupts => {}, _ = over => {} }
        });
    });
    watched
}

impl Run {
    fn new(settings: Settings, surroundings: Surroundings) -> Self {
        let Surroundings { site, hands, library, asker, listener, sources, redactor, journal, known, bond } = surroundings;
        for password in [&settings.become_password, &settings.password].into_iter().flatten() {
            redactor.learn(password.reveal());
        }
        let hosts = host::Hosts::new(settings.fact_cache.clone());
        Self {
            selection: tags::Selection::new(&settings.tags, &settings.skip_tags),
            playbook_folder: Mutex::default(),
            forks: Arc::new(Semaphore::new(settings.forks.max(1))),
            started: AtomicBool::new(settings.start_at_task.is_none()),
            stepping: AtomicBool::new(settings.step),
            settings,
            site,
            hands,
            library,
            asker,
            listener,
            sources,
            redactor,
            journal,
            known,
            bond,
            met: replay::Met::default(),
            owed: Mutex::default(),
            hosts,
            announcements: announce::Announcements::default(),
            unusable: Mutex::default(),
            reserved: Mutex::default(),
            engines: Mutex::default(),
            predicted: AtomicUsize::new(0),
            unknown: Mutex::default(),
            broken: AtomicBool::new(false),
            seats: Mutex::default(),
            interrupted: AtomicBool::new(false),
            cut_short: AtomicBool::new(false),
            guard: window::Guard::default(),
            debugging: tokio::sync::Mutex::default(),
            quit: AtomicBool::new(false),
            stats: stats::Stats::default(),
            unkept: Mutex::default(),
        }
    }

    /// Tells how many plays are not run.
    fn tell_left_out(&self, left: usize) {
        let why = match left {
            0 => return,
            1 => "the play after it is not run".to_owned(),
            _ => format!("the {left} plays after it are not run"),
        };
        self.tell(Event::PlayStopped { why });
    }

    fn enter(&self, playbook: &Playbook) {
        let folder = playbook.path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        *self.playbook_folder.lock().unwrap_or_else(PoisonError::into_inner) = folder;
    }

    fn playbook_folder(&self) -> PathBuf {
        self.playbook_folder.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn recap(&self) -> Recap {
        Recap {
            hosts: self.hosts.counts(),
            forgiven: self.hosts.forgiven(),
            predicted: self.predicted.load(Ordering::SeqCst),
            unknown: self.unknown.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            broken: self.broken.load(Ordering::SeqCst),
            interrupted: self.is_interrupted(),
            out_of_time: self.guard.is_closed(),
            quit: self.quit.load(Ordering::SeqCst),
        }
    }

    fn warn(&self, message: impl Into<String>) {
        self.tell(Event::Warning { message: message.into() });
    }

    /// Tells what is wrong in the user's files, apart from any host. The run cannot go on after it.
    fn report(&self, diagnostic: &Diagnostic) {
        self.broken.store(true, Ordering::SeqCst);
        self.tell(Event::Diagnostic { text: self.rendered(diagnostic) });
    }

    /// Returns a diagnostic as text, with its place.
    fn rendered(&self, diagnostic: &Diagnostic) -> String {
        render::text(&self.sources, diagnostic, false)
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    /// Returns where the files of a task are looked for.
    fn search(&self, stage: &Stage, frame: &Frame, task: &Task) -> Search {
        let parents: Vec<_> = frame.outward().filter_map(|ring| ring.role.as_ref()).map(|role| role.head.path.clone()).collect();
        let kind = match &task.action {
            Action::IncludeTasks { .. } | Action::IncludeRole { .. } => "tasks",
            Action::Module { name, .. } => match crate::modules::short_name(name) {
                "include_vars" => "vars",
                "template" => "templates",
                _ => "files",
            },
        };
        Search { kind, ..Search::new(task.role.as_ref(), &parents, &task.folder, &stage.play.folder) }
    }

    /// Returns the engine that looks for files there. Engines are kept, as they keep what they parsed.
    fn engine(&self, search: &Search) -> Arc<Engine> {
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engines.get(search) {
            return engine.clone();
        }
        let outside = world::Outside {
            library: self.library.clone(),
            listener: self.listener.clone(),
            redactor: self.redactor.clone(),
            search: search.clone(),
            hands: self.hands.clone(),
            site: self.site.clone(),
        };
        let engine = Engine::new(Arc::new(outside), self.sources.clone());
        let engine = Arc::new(engine.lenient_conditions(self.settings.lenient_conditionals));
        engines.insert(search.clone(), engine.clone());
        engine
    }

    fn engine_of_play(&self, folder: &Path) -> Arc<Engine> {
        self.engine(&Search::new(None, &[], folder, folder))
    }
}
