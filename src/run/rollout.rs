//! How a change goes over the hosts of a play: stages with a gate between them, batches that leave a quorum, limits on how
//! many hosts are touched, and a verification after each batch.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::change::Outcome;
use crate::change::kept::Past;
use crate::load::playbook::{Located, Play, Playbook};
use crate::record::past::is_part_of;
use crate::report::event::Event;
use crate::report::fold;
use crate::run::Run;
use crate::run::budget;
use crate::run::frame::Frame;
use crate::run::host::Standing;
use crate::run::play::known;
use crate::run::stage::Stage;
use crate::run::undo::{self, Order};
use crate::source::Diagnostic;
use crate::value::{Value, arguments};

/// A share of a play's hosts that goes first, and is looked at before the others follow.
pub(super) struct Portion {
    /// What it is called in messages.
    name: String,
    batches: Vec<Vec<Arc<str>>>,
    /// How long it is watched before the gate.
    soak: Duration,
}

impl Portion {
    fn hosts(&self) -> Vec<Arc<str>> {
        self.batches.iter().flatten().cloned().collect()
    }
}

impl Run {
    /// Returns the portions of a play and their batches: from `stages`, with `serial` within each; else one.
    pub(super) fn portions(self: &Arc<Self>, stage: &Stage) -> Result<Vec<Portion>, Diagnostic> {
        self.require_few(stage)?;
        self.on_failure(stage)?;
        let Some(stages) = &stage.play.rollout.stages else {
            let batches = self.batches(stage, &stage.all)?;
            return Ok(vec![Portion { name: "all".to_owned(), batches, soak: Duration::ZERO }]);
        };
        let engine = self.engine_of_play(&stage.play.folder);
        let wrong = |message: String| {
            Diagnostic::error(message)
                .at(stages.span)
                .hint("`stages` is a list: a number of hosts, a share (`10%`), `rest`, or `{hosts: PATTERN, share: 10%, soak: 5m}`")
        };
        let value = engine.render(&stages.value, &known(stage, self))?;
        let items = value.as_list().ok_or_else(|| wrong(format!("`stages` has to be a list, not {}", value.type_name())))?;
        let mut left = stage.all.clone();
        let mut portions = Vec::new();
        for item in items {
            let (size, pattern, soak) = match item {
                Value::Map(map) => (map.get("share").cloned(), map.get("hosts").cloned(), map.get("soak").cloned()),
                size => (Some(size.clone()), None, None),
            };
            let soak = match soak {
                None => Duration::ZERO,
                Some(text) => time_span(&text).ok_or_else(|| wrong(format!("`{text}` is no time to wait")))?,
            };
            let chosen: Vec<Arc<str>> = match (&pattern, &size) {
                (Some(pattern), _) => {
                    let meant = self.site.select(&pattern.to_string()).map_err(|error| error.at(stages.span))?;
                    left.iter().filter(|host| meant.contains(host)).cloned().collect()
                }
                (None, Some(rest)) if rest.as_str() == Some("rest") => left.clone(),
                (None, Some(size)) => {
                    let count = budget::size(size, stage.all.len()).map_err(&wrong)?;
                    left.iter().take(if count == 0 { left.len() } else { count }).cloned().collect()
                }
                (None, None) => return Err(wrong("a stage says neither `hosts` nor `share`".to_owned())),
            };
            left.retain(|host| !chosen.contains(host));
            if !chosen.is_empty() {
                let name = pattern.or(size).map(|name| name.to_string()).unwrap_or_default();
                portions.push(Portion { name, batches: self.batches(stage, &chosen)?, soak });
            }
        }
        if !left.is_empty() {
            portions.push(Portion { name: "rest".to_owned(), batches: self.batches(stage, &left)?, soak: Duration::ZERO });
        }
        Ok(portions)
    }

    /// Takes a play over its portions, batch after batch, for as long as nothing speaks against the next.
    pub(super) async fn roll_out(self: &Arc<Self>, stage: &Arc<Stage>, portions: Vec<Portion>) {
        let count = portions.len();
        let undoes = !self.settings.check && matches!(self.on_failure(stage), Ok(OnFailure::Undo));
        for (at, portion) in portions.into_iter().enumerate() {
            let hosts = portion.hosts();
            let is_last = at + 1 == count;
            let mut batches: VecDeque<_> = portion.batches.iter().cloned().collect();
            while let Some(batch) = batches.pop_front() {
                let (now, later) = match self.with_quorum(stage, batch) {
                    Ok(parts) => parts,
                    Err(diagnostic) => {
                        self.report(&diagnostic);
                        return stage.break_off();
                    }
                };
                if !later.is_empty() {
                    batches.push_front(later);
                }
                if !self.batch_may_start(&stage.name) {
                    return;
                }
                let marks = self.marks(&now);
                self.batch(stage, now.clone()).await;
                if stage.is_stopped() || self.is_interrupted() {
                    return;
                }
                if !now.is_empty() && stage.alive(self, &now).is_empty() {
                    // As in Ansible: a batch that is lost as a whole ends the playbook, later plays for other hosts included.
                    if !batches.is_empty() || !is_last {
                        self.tell(Event::PlayStopped { why: "all hosts of the batch have failed".to_owned() });
                    }
                    return stage.break_off();
                }
                if !self.verified(stage, &now).await {
                    if undoes {
                        self.take_back(&now, &marks).await;
                    }
                    return stage.break_off();
                }
            }
            let has_gate = !stage.play.rollout.gate.is_empty() && stage.play.rollout.stages.is_some();
            if (has_gate || !is_last) && !self.passes(stage, &portion, &hosts).await {
                return stage.break_off();
            }
        }
    }

    /// Whether a portion passes the gate to the next: none of its hosts failed, it was watched, and the gate's tasks hold.
    async fn passes(self: &Arc<Self>, stage: &Arc<Stage>, portion: &Portion, hosts: &[Arc<str>]) -> bool {
        let failed = |run: &Self| hosts.iter().filter(|host| is_down(run.hosts.standing(host))).cloned().collect::<Vec<_>>();
        if stage.play.rollout.stages.is_none() {
            return true;
        }
        let before = failed(self);
        if !before.is_empty() {
            let which = fold::hosts(&before);
            self.tell(Event::PlayStopped { why: format!("the stage `{}` has failed on {which}: the next is not begun", portion.name) });
            return false;
        }
        if !portion.soak.is_zero() && !self.settings.check {
            if !self.wait_may_start(portion.soak, &format!("watching the stage `{}`", portion.name)) {
                return true;
            }
            let text = format!("the stage `{}` is watched for {} s before the next", portion.name, portion.soak.as_secs());
            self.tell(Event::Said { text });
            let until = tokio::time::Instant::now() + portion.soak;
            while tokio::time::Instant::now() < until && !self.is_interrupted() {
                tokio::time::sleep(Duration::from_millis(200).min(portion.soak)).await;
            }
        }
        if self.is_interrupted() {
            return true;
        }
        self.items(stage, &stage.play.rollout.gate, hosts, &self.frame_afterwards(&stage.frame, hosts)).await;
        let after = failed(self);
        if !after.is_empty() {
            let which = fold::hosts(&after);
            self.tell(Event::PlayStopped { why: format!("the gate after the stage `{}` does not hold on {which}", portion.name) });
        }
        after.is_empty()
    }

    /// Runs the play's `verify` on a batch, and says whether all of it holds.
    async fn verified(self: &Arc<Self>, stage: &Arc<Stage>, batch: &[Arc<str>]) -> bool {
        let rollout = &stage.play.rollout;
        if rollout.verify.is_empty() {
            return true;
        }
        let hosts = stage.alive(self, batch);
        self.items(stage, &rollout.verify, &hosts, &self.frame_afterwards(&stage.frame, &hosts)).await;
        let failed: Vec<_> = hosts.iter().filter(|host| is_down(self.hosts.standing(host))).cloned().collect();
        if failed.is_empty() {
            return true;
        }
        self.tell(Event::PlayStopped { why: format!("`verify` does not hold on {}", fold::hosts(&failed)) });
        false
    }

    /// Returns the ring of tasks that look at hosts when these are done: in a check that foresees a change of any, what they would
    /// see is not there yet.
    pub(super) fn frame_afterwards(&self, frame: &Arc<Frame>, hosts: &[Arc<str>]) -> Arc<Frame> {
        let foresees = |host: &Arc<str>| self.hosts.with(host, |host| host.counts.changed + host.counts.unknown > 0);
        if self.settings.check && hosts.iter().any(foresees) { frame.after_change() } else { frame.clone() }
    }

    /// Returns what becomes of a batch on which `verify` does not hold.
    fn on_failure(&self, stage: &Stage) -> Result<OnFailure, Diagnostic> {
        let Some(located) = &stage.play.rollout.on_failure else { return Ok(OnFailure::Stop) };
        let value = self.engine_of_play(&stage.play.folder).render(&located.value, &known(stage, self))?;
        match value.as_str() {
            Some("stop") => Ok(OnFailure::Stop),
            Some("undo") => Ok(OnFailure::Undo),
            _ => Err(Diagnostic::error(format!("`on_failure` is `stop` or `undo`, not `{value}`")).at(located.span)),
        }
    }

    /// Takes back what the play changed on a batch, the newest change first; a resumed run does it again.
    async fn take_back(self: &Arc<Self>, batch: &[Arc<str>], marks: &[(Arc<str>, u64)]) {
        let (Some(run), Some(key)) = (self.journal.run(), self.journal.key()) else {
            return self.warn("nothing is taken back, as no journal is kept of this run");
        };
        let order = Order { run: run.to_owned(), key: *key.reveal(), diff: false };
        self.note_again(marks, true, true).await;
        let of_batch: Vec<_> = marks.iter().filter(|(host, _)| batch.contains(host)).collect();
        let keys: Vec<_> = of_batch.iter().map(|(host, from)| (host, self.keys_since(host, *from))).collect();
        let is_meant = |past: &Past| keys.iter().any(|(host, keys)| keys.iter().any(|key| is_part_of(&past.step, host, key)));
        for machine in undo::machines(self.seats_of(batch)).iter().rev() {
            let way = undo::foresee(&*self.hands, &order, machine, &is_meant).await;
            for (past, why) in &way.stays {
                self.warn(format!("{}: {} cannot be undone: {why}", way.host, past.summary));
            }
            let mut undone = Vec::new();
            let mut heard = |past: &Past, outcome: &Outcome| {
                if outcome.failure.is_none() {
                    undone.push(past.summary.clone());
                }
            };
            let ended = match &way.refused {
                Some(why) => Err(why.clone()),
                None => undo::undo_machine(&*self.hands, &order, &way, machine, &mut heard).await,
            };
            if !undone.is_empty() {
                self.warn(format!("{}: taken back: {}", way.host, undone.join(", ")));
            }
            if let Err(why) = ended {
                self.warn(format!("{}: not all is taken back: {why}", way.host));
            }
        }
    }

    /// Splits a batch into the hosts that may be worked on now, and the others: of each group in `quorum` so many hosts
    /// have to be left that are neither failed nor worked on.
    fn with_quorum(&self, stage: &Stage, batch: Vec<Arc<str>>) -> Result<Parts, Diagnostic> {
        let Some(quorum) = &stage.play.rollout.quorum else { return Ok((batch, Vec::new())) };
        let limits = self.limits(stage, quorum)?;
        let mut now: Vec<Arc<str>> = Vec::new();
        let mut waiting = batch.into_iter();
        for host in waiting.by_ref() {
            let spoilt = limits.iter().find(|limit| {
                let worked_on = now.iter().filter(|other| limit.up.contains(*other)).count();
                limit.up.contains(&host) && limit.up.len() < worked_on + 1 + limit.least
            });
            match spoilt {
                None => now.push(host),
                Some(limit) if now.is_empty() => {
                    return Err(Diagnostic::error(format!(
                        "no host of the group `{}` can be worked on: {} of its {} hosts are up, and {} have to stay so",
                        limit.group,
                        limit.up.len(),
                        limit.all,
                        limit.least
                    ))
                    .at(quorum.span)
                    .hint("bring the failed hosts back first, or lower the number in `quorum`"));
                }
                Some(_) => {
                    let later = std::iter::once(host).chain(waiting).collect();
                    return Ok((now, later));
                }
            }
        }
        Ok((now, Vec::new()))
    }

    fn limits(&self, stage: &Stage, quorum: &Located) -> Result<Vec<Limit>, Diagnostic> {
        let wrong = |message: String| {
            Diagnostic::error(message)
                .at(quorum.span)
                .hint("write `quorum: {GROUP: 2}` or `{GROUP: 60%}`: how many of its hosts have to stay up")
        };
        let value = self.engine_of_play(&stage.play.folder).render(&quorum.value, &known(stage, self))?;
        let map = value.as_map().ok_or_else(|| wrong(format!("`quorum` has to be a dictionary, not {}", value.type_name())))?;
        let groups = self.site.groups();
        map.iter()
            .map(|(group, least)| {
                let group = group.to_string();
                let hosts = groups
                    .get(&group)
                    .ok_or_else(|| wrong(format!("there is no group `{group}`")).did_you_mean(&group, groups.keys().map(String::as_str)))?;
                let up: Vec<_> = hosts.iter().filter(|host| !is_down(self.hosts.standing(host))).cloned().collect();
                Ok(Limit { least: budget::size(least, hosts.len()).map_err(&wrong)?, all: hosts.len(), up, group })
            })
            .collect()
    }

    /// Refuses a play that has more hosts than its `max_hosts`.
    fn require_few(&self, stage: &Stage) -> Result<(), Diagnostic> {
        let Some(most) = &stage.play.rollout.max_hosts else { return Ok(()) };
        let value = self.engine_of_play(&stage.play.folder).render(&most.value, &known(stage, self))?;
        let allowed = budget::size(&value, self.site.hosts().len()).map_err(|_| {
            Diagnostic::error(format!("`max_hosts` has to be a number or a share such as `10%`, not `{value}`")).at(most.span)
        })?;
        if stage.all.len() <= allowed {
            return Ok(());
        }
        Err(Diagnostic::error(format!("this play is for {} hosts, and its `max_hosts` allows {allowed}", stage.all.len()))
            .at(most.span)
            .hint("use `--limit`, or raise the number on purpose"))
    }

    /// Whether the run may touch as many hosts as it is for. Asks where `--max-hosts` allows fewer.
    pub(super) async fn may_touch(self: &Arc<Self>, playbooks: &[Playbook]) -> bool {
        let Some(most) = self.settings.max_hosts.filter(|_| !self.settings.check) else { return true };
        let hosts: BTreeSet<_> = playbooks.iter().flat_map(|playbook| &playbook.plays).flat_map(|play| self.hosts_meant(play)).collect();
        if hosts.len() <= most {
            return true;
        }
        let asker = self.asker.clone();
        let question = format!("this run is for {} hosts, more than the {most} of --max-hosts; type yes to go on: ", hosts.len());
        let answer = tokio::task::spawn_blocking(move || asker.ask(&question, true)).await.ok().flatten();
        if answer.is_some_and(|answer| answer.trim().eq_ignore_ascii_case("yes")) {
            return true;
        }
        self.report(
            &Diagnostic::error(format!("this run is for {} hosts, and `--max-hosts` allows {most}: nothing was done", hosts.len()))
                .hint("use `--limit` to name the hosts that are meant, or raise the number on purpose"),
        );
        false
    }

    fn hosts_meant(&self, play: &Play) -> Vec<Arc<str>> {
        let pattern = match &play.hosts {
            Value::List(items) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            other => {
                let variables = crate::run::play::Known::of(play, &self.settings);
                match self.engine_of_play(&play.folder).render(other, &variables) {
                    Ok(Value::List(items)) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
                    Ok(single) => single.to_string(),
                    // What only a run can know, a run tells.
                    Err(_) => return Vec::new(),
                }
            }
        };
        self.site.select(&pattern).unwrap_or_default()
    }
}

/// What becomes of a batch on which `verify` does not hold.
enum OnFailure {
    /// The play stops there.
    Stop,
    /// What the play changed on the batch is taken back, and the play stops.
    Undo,
}

/// The hosts of a batch that may be worked on now, and the others.
type Parts = (Vec<Arc<str>>, Vec<Arc<str>>);

/// How many hosts of a group have to stay up.
struct Limit {
    group: String,
    least: usize,
    all: usize,
    up: Vec<Arc<str>>,
}

fn is_down(standing: Standing) -> bool {
    matches!(standing, Standing::Failed | Standing::Unreachable)
}

/// Returns a time span: seconds, or a text such as `5m`.
fn time_span(value: &Value) -> Option<Duration> {
    if let Ok(seconds) = arguments::from_value::<f64>(value) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    value.as_str()?.trim().parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok())
}
