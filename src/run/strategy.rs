//! Strategies. With `linear` all hosts of a batch go through the items together, one task after the other; with `free`
//! and `host_pinned` each goes by itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::load::playbook::{Block, Item};
use crate::run::Run;
use crate::run::frame::Frame;
use crate::run::host::Standing;
use crate::run::stage::Stage;
use crate::source::Diagnostic;

/// How hosts go through a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// Together, task by task.
    Linear,
    /// The same, and the debugger stops where a task fails.
    Debug,
    /// Each as fast as it can.
    Free,
    /// Each as fast as it can, and begun only when it can go to the end without waiting for others.
    HostPinned,
}

impl Strategy {
    /// Whether the hosts go through each task together.
    pub(super) fn is_together(self) -> bool {
        matches!(self, Self::Linear | Self::Debug)
    }

    /// Whether the debugger stops where a task fails.
    pub(super) fn debugs(self) -> bool {
        self == Self::Debug
    }

    /// Returns the strategy of a name.
    pub(super) fn named(name: &str) -> Result<Self, Diagnostic> {
        const KNOWN: [&str; 4] = ["linear", "free", "host_pinned", "debug"];
        let short = name.strip_prefix("ansible.builtin.").unwrap_or(name);
        match short {
            "linear" => Ok(Self::Linear),
            "debug" => Ok(Self::Debug),
            "free" => Ok(Self::Free),
            "host_pinned" => Ok(Self::HostPinned),
            _ => Err(Diagnostic::error(format!("the strategy `{name}` is not known"))
                .did_you_mean(short, KNOWN)
                .hint("known are `linear`, `free` and `host_pinned`; strategies that are Python plugins cannot run here")),
        }
    }
}

impl Run {
    /// Runs a play on each host by itself.
    pub(super) async fn each_by_itself(self: &Arc<Self>, stage: &Arc<Stage>, hosts: &[Arc<str>]) {
        let seats = Arc::new(Semaphore::new(match stage.strategy {
            Strategy::HostPinned => self.settings.forks.max(1),
            Strategy::Linear | Strategy::Debug | Strategy::Free => hosts.len().max(1),
        }));
        let mut ways = JoinSet::new();
        for host in hosts {
            let (run, stage, seats, host) = (self.clone(), stage.clone(), seats.clone(), host.clone());
            ways.spawn(async move {
                let _seat = seats.acquire().await;
                run.sections(&stage, &[host]).await;
            });
        }
        while ways.join_next().await.is_some() {}
    }

    /// Runs items on those of `hosts` that take part.
    pub(super) fn items<'a>(
        self: &'a Arc<Self>,
        stage: &'a Arc<Stage>,
        items: &'a [Item],
        hosts: &'a [Arc<str>],
        frame: &'a Arc<Frame>,
    ) -> BoxFuture<'a, ()> {
        async move {
            for item in items {
                if stage.is_stopped() || self.is_interrupted() || self.hosts.running(hosts).is_empty() {
                    return;
                }
                match item {
                    Item::Task(task) => self.task(stage, task, hosts, frame, false).await,
                    Item::Block(block) if !self.block_may_start(block, hosts.len()) => return,
                    Item::Block(block) => self.block(stage, block, hosts, frame).await,
                }
            }
        }
        .boxed()
    }

    /// Runs a block: its body, its rescue on the hosts that failed in it, its always on all that can be reached.
    async fn block(self: &Arc<Self>, stage: &Arc<Stage>, block: &Arc<Block>, hosts: &[Arc<str>], frame: &Arc<Frame>) {
        self.note_reserved(&block.keywords.vars, block.span);
        let hosts = self.hosts.running(hosts);
        let marks = self.marks(&hosts);
        let body = frame.block(block, true);
        match &block.role {
            Some(r#use) => self.imported_role(stage, r#use, &block.block, &hosts, &body).await,
            None => self.items(stage, &block.block, &hosts, &body).await,
        }
        let outside = frame.block(block, false);
        if !block.rescue.is_empty() && !stage.is_stopped() && !self.is_interrupted() {
            let failed = self.standing_at(&hosts, Standing::Failed);
            self.set_all(&failed, Standing::Running);
            self.items(stage, &block.rescue, &failed, &outside).await;
        }
        if !block.rescue.is_empty() || !block.always.is_empty() {
            self.note_again(&marks, self.is_interrupted() || stage.is_broken(), false).await;
        }
        if !block.always.is_empty() {
            self.always(stage, &block.always, &hosts, &outside).await;
        }
    }

    /// Runs the `always` of a block or the `after` of a handler, also where the play is broken off or the user pressed Ctrl-C: it is there to leave
    /// things whole. A second Ctrl-C ends it. Only `end_play` passes it by, as in Ansible.
    pub(super) async fn always(self: &Arc<Self>, stage: &Arc<Stage>, items: &[Item], hosts: &[Arc<str>], outside: &Arc<Frame>) {
        if stage.is_stopped() && !stage.is_broken() {
            return;
        }
        let (broken, interrupted) = (stage.hold_on(), self.hold_interrupt());
        let failed = self.standing_at(hosts, Standing::Failed);
        self.set_all(&failed, Standing::Running);
        let cleared = |host: &Arc<str>| self.hosts.with(host, |host| host.cleared);
        let before: Vec<_> = failed.iter().map(cleared).collect();
        self.guard.let_pass();
        self.items(stage, items, hosts, outside).await;
        self.guard.watch_again();
        // `clear_host_errors` forgives also what failed before the `always` it stands in.
        let unforgiven = failed.into_iter().zip(before).filter(|(host, before)| cleared(host) == *before).map(|(host, _)| host);
        let unforgiven: Vec<_> = unforgiven.collect();
        self.set_all(&self.hosts.running(&unforgiven), Standing::Failed);
        if broken {
            stage.break_off();
        }
        if interrupted {
            self.interrupted.store(true, Ordering::SeqCst);
        }
    }

    /// Forgets for a while that the user pressed Ctrl-C, and says whether they had.
    fn hold_interrupt(&self) -> bool {
        self.interrupted.swap(false, Ordering::SeqCst)
    }

    fn standing_at(&self, hosts: &[Arc<str>], standing: Standing) -> Vec<Arc<str>> {
        hosts.iter().filter(|host| self.hosts.standing(host) == standing).cloned().collect()
    }

    fn set_all(&self, hosts: &[Arc<str>], standing: Standing) {
        for host in hosts {
            self.hosts.set_standing(host, standing);
        }
    }
}
