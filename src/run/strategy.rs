//! The linear strategy: all hosts of a batch go through the items together, one task after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::load::playbook::{Block, Item};
use crate::run::Run;
use crate::run::frame::Frame;
use crate::run::host::Standing;
use crate::run::stage::Stage;

impl Run {
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
                    Item::Task(task) => self.task(stage, task, hosts, frame, None).await,
                    Item::Block(block) => self.block(stage, block, hosts, frame).await,
                }
            }
        }
        .boxed()
    }

    /// Runs a block: its body, its rescue on the hosts that failed in it, its always on all that can be reached.
    async fn block(self: &Arc<Self>, stage: &Arc<Stage>, block: &Arc<Block>, hosts: &[Arc<str>], frame: &Arc<Frame>) {
        let hosts = self.hosts.running(hosts);
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
        if !block.always.is_empty() {
            self.always(stage, block, &hosts, &outside).await;
        }
    }

    /// Runs the `always` of a block, also where the play is broken off or the user pressed Ctrl-C: it is there to leave
    /// things whole. A second Ctrl-C ends it. Only `end_play` passes it by, as in Ansible.
    async fn always(self: &Arc<Self>, stage: &Arc<Stage>, block: &Arc<Block>, hosts: &[Arc<str>], outside: &Arc<Frame>) {
        if stage.is_stopped() && !stage.is_broken() {
            return;
        }
        let (broken, interrupted) = (stage.hold_on(), self.hold_interrupt());
        let failed = self.standing_at(hosts, Standing::Failed);
        self.set_all(&failed, Standing::Running);
        self.items(stage, &block.always, hosts, outside).await;
        self.set_all(&self.hosts.running(&failed), Standing::Failed);
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
