//! The guard of a change window: nothing starts that could not end, and be undone, before the window closes.
//!
//! How long something takes is what it took at most in earlier runs of the same playbooks. A step may start when now, its
//! own time, the time to undo what its batch has changed (as long as that took), and the reserve end before the window
//! does. A block with `rescue` or `always` is a unit, and so is a batch that is known from earlier runs. When the guard
//! stops a run, it stops as at Ctrl-C: what runs is brought to its end, and every `always` runs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::load::playbook::{Action, Block, Item, Task};
use crate::modules;
use crate::record::timings::Timings;
use crate::report::event::Event;
use crate::run::Run;

/// How long a step is taken to last that no earlier run knows, seconds.
pub const UNKNOWN_STEP: f64 = 10.0;

/// A change window.
#[derive(Clone, Debug)]
pub struct Window {
    /// When it closes.
    pub closes: Timestamp,
    /// How long before that everything has to be done.
    pub reserve: Duration,
    /// What earlier runs took.
    pub timings: Arc<Timings>,
}

/// What the guard remembers.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// How long the changes of the batch took so far, seconds.
    to_undo: Mutex<f64>,
    /// How many `always` are running: they leave things whole and are not stopped.
    unguarded: AtomicUsize,
    closed: AtomicBool,
}

impl Guard {
    /// Whether it stopped the run.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Begins something that must not be stopped.
    pub(super) fn let_pass(&self) {
        self.unguarded.fetch_add(1, Ordering::SeqCst);
    }

    /// Ends it.
    pub(super) fn watch_again(&self) {
        self.unguarded.fetch_sub(1, Ordering::SeqCst);
    }

    /// Notes that a task changed something, and how long that took.
    pub(super) fn changed(&self, took: Duration) {
        *self.to_undo.lock().unwrap_or_else(PoisonError::into_inner) += took.as_secs_f64();
    }

    fn to_undo(&self) -> f64 {
        *self.to_undo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new batch has nothing to undo yet.
    pub(super) fn new_batch(&self) {
        *self.to_undo.lock().unwrap_or_else(PoisonError::into_inner) = 0.0;
    }
}

impl Run {
    /// Whether a task may start on so many hosts. Where it may not, the run is stopped.
    pub(super) fn task_may_start(&self, name: &str, task: &Task, hosts: usize) -> bool {
        let Some(window) = self.window() else { return true };
        let needs = self.needs(&window.timings, task) * self.rounds(hosts);
        self.fits(window, needs, needs, &format!("`{name}`"))
    }

    /// Whether a block that cleans up after itself may start.
    pub(super) fn block_may_start(&self, block: &Block, hosts: usize) -> bool {
        if block.rescue.is_empty() && block.always.is_empty() {
            return true;
        }
        let Some(window) = self.window() else { return true };
        let needs = (self.all_need(&window.timings, &block.block) + self.all_need(&window.timings, &block.always)) * self.rounds(hosts);
        let name = block.name.as_ref().map_or_else(|| "the block that comes next".to_owned(), |name| format!("the block `{name}`"));
        self.fits(window, needs, needs, &name)
    }

    /// Whether a batch of a play may start.
    pub(super) fn batch_may_start(&self, play: &str) -> bool {
        self.guard.new_batch();
        let Some(window) = self.window() else { return true };
        // Most of a batch that is gone through again was done before.
        let needs = window.timings.batch(play).filter(|_| !self.known.is_resumed()).unwrap_or(0.0);
        self.fits(window, needs, needs, &format!("the next batch of `{play}`"))
    }

    /// Whether the run may wait so long.
    pub(super) fn wait_may_start(&self, wait: Duration, what: &str) -> bool {
        let Some(window) = self.window() else { return true };
        self.fits(window, wait.as_secs_f64(), 0.0, what)
    }

    fn window(&self) -> Option<&Window> {
        let guarded = !self.settings.check && self.guard.unguarded.load(Ordering::SeqCst) == 0;
        self.settings.window.as_ref().filter(|_| guarded)
    }

    fn fits(&self, window: &Window, needs: f64, undo: f64, what: &str) -> bool {
        if self.guard.is_closed() {
            return false;
        }
        let left = window.closes.duration_since(Timestamp::now()).as_secs_f64();
        let undo = undo + self.guard.to_undo();
        let reserve = window.reserve.as_secs_f64();
        if needs + undo + reserve <= left {
            return true;
        }
        self.guard.closed.store(true, Ordering::SeqCst);
        self.interrupted.store(true, Ordering::SeqCst);
        let closes = window.closes.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S %Z");
        let reserve = if reserve > 0.0 { format!(", with {} in reserve", span(reserve)) } else { String::new() };
        self.tell(Event::PlayStopped {
            why: format!(
                "the window closes at {closes}, in {}; {what} takes about {} and as much as {} to undo{reserve}, so it is not begun",
                span(left.max(0.0)),
                span(needs),
                span(undo),
            ),
        });
        false
    }

    /// How often as many hosts as there are forks have to be gone through.
    fn rounds(&self, hosts: usize) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a number of hosts")]
        let rounds = hosts.div_ceil(self.settings.forks.max(1)) as f64;
        rounds
    }

    fn needs(&self, timings: &Timings, task: &Task) -> f64 {
        let Action::Module { name, .. } = &task.action else { return UNKNOWN_STEP };
        let place = self.sources.place(task.span).map(|place| place.to_string()).unwrap_or_default();
        timings.step(&format!("{place}/{}", modules::short_name(name))).unwrap_or(UNKNOWN_STEP)
    }

    fn all_need(&self, timings: &Timings, items: &[Item]) -> f64 {
        let need = |item: &Item| match item {
            Item::Task(task) => self.needs(timings, task),
            Item::Block(block) => [&block.block, &block.always].into_iter().map(|items| self.all_need(timings, items)).sum(),
        };
        items.iter().map(need).sum()
    }
}

/// Returns a number of seconds as people say it.
pub fn span(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and not negative")]
    let whole = seconds.ceil().max(0.0) as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
