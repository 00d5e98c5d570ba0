//! One play: its hosts, its batches, and its sections in order.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::load::playbook::{Play, Task};
use crate::report::event::Event;
use crate::run::Run;
use crate::run::host::Standing;
use crate::run::stage::Stage;
use crate::run::strategy::Strategy;
use crate::run::{Settings, budget};
use crate::source::Diagnostic;
use crate::value::{Map, Value, arguments};
use crate::vars::{Variables, is_omit};

/// The run cannot go on, for a reason that was told.
type Broken = ControlFlow<()>;

/// Returns what a play's own keywords see.
pub(super) fn known<'a>(stage: &'a Stage, run: &'a Run) -> Known<'a> {
    Known::of(&stage.play, &run.settings)
}

/// The variables that are known before any host is: those of the play and `-e`.
pub(super) struct Known<'a> {
    play: &'a Map,
    extra: &'a Map,
}

impl<'a> Known<'a> {
    /// Returns what a play's own keywords see.
    pub(super) fn of(play: &'a Play, settings: &'a Settings) -> Self {
        Self { play: &play.keywords.vars, extra: &settings.extra_vars }
    }
}

impl Variables for Known<'_> {
    fn get(&self, name: &str) -> Option<Value> {
        self.extra.get(name).or_else(|| self.play.get(name)).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.extra.keys().chain(self.play.keys()).filter_map(|name| name.as_str()).map(str::to_owned).collect()
    }
}

impl Run {
    /// Runs a play on its hosts, batch after batch.
    pub(super) async fn play(self: &Arc<Self>, play: &Play) -> Broken {
        let stage = match self.stage(play) {
            Ok(Some(stage)) => stage,
            Ok(None) => return ControlFlow::Continue(()),
            Err(diagnostic) => {
                self.report(&diagnostic);
                return ControlFlow::Break(());
            }
        };
        self.note_reserved(&play.keywords.vars, play.span);
        match self.portions(&stage) {
            Ok(portions) => self.roll_out(&stage, portions).await,
            Err(diagnostic) => {
                self.report(&diagnostic);
                return ControlFlow::Break(());
            }
        }
        self.end_of_play(&stage);
        if stage.is_broken() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Gets a play ready. `None`: it has no hosts.
    fn stage(self: &Arc<Self>, play: &Play) -> Result<Option<Arc<Stage>>, Diagnostic> {
        let engine = self.engine_of_play(&play.folder);
        let prompted = self.prompted(play)?;
        let asked;
        let play = match prompted.is_empty() {
            true => play,
            // What was asked for may say which hosts the play is for.
            false => {
                asked = with_variables(play, &prompted);
                &asked
            }
        };
        let known = Known::of(play, &self.settings);
        let strategy = match (&play.strategy, &self.settings.execution.strategy) {
            (Some(strategy), _) => engine.render(strategy, &known)?.to_string(),
            (None, Some(strategy)) => strategy.clone(),
            (None, None) => "linear".to_owned(),
        };
        let strategy = Strategy::named(&strategy).map_err(|wrong| wrong.at(play.span))?;
        let pattern = self.pattern(play)?;
        let hosts = self.site.select(&pattern).map_err(|diagnostic| match diagnostic.span {
            Some(_) => diagnostic,
            None => diagnostic.at(play.hosts_span),
        })?;
        if hosts.is_empty() {
            self.tell(Event::PlayWithoutHosts { pattern });
            return Ok(None);
        }
        let order = play.order.as_ref().map(|order| engine.render(order, &known)).transpose()?.filter(|order| !is_omit(order));
        let hosts = ordered(hosts, order.as_ref(), play)?;
        let name = match &play.name {
            Value::Null => pattern,
            name => engine.render(name, &known).unwrap_or_else(|_| name.clone()).to_string(),
        };
        let play = Arc::new(play.clone());
        let private = self.settings.execution.private_role_vars == Some(true);
        Ok(Some(Stage::new(play, name, hosts, prompted, strategy, private)))
    }

    /// Returns the pattern of a play's hosts.
    pub(super) fn pattern(&self, play: &Play) -> Result<String, Diagnostic> {
        let known = Known { play: &play.keywords.vars, extra: &self.settings.extra_vars };
        Ok(match self.engine_of_play(&play.folder).render(&play.hosts, &known)? {
            Value::List(items) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            single => single.to_string(),
        })
    }

    /// Returns the hosts of each batch of `all`.
    pub(super) fn batches(self: &Arc<Self>, stage: &Stage, all: &[Arc<str>]) -> Result<Vec<Vec<Arc<str>>>, Diagnostic> {
        let mut hosts = all.iter().cloned();
        let sizes = match &stage.play.serial {
            None => vec![all.len()],
            Some(serial) => {
                let known = known(stage, self);
                let value = self.engine_of_play(&stage.play.folder).render(&serial.value, &known)?;
                if crate::vars::is_omit(&value) {
                    return Ok(vec![all.to_vec()]);
                }
                budget::batches(&value, all.len())
                    .map_err(|wrong| Diagnostic::error(wrong).at(serial.span).hint("write `serial: 2`, `serial: 30%`, or a list of them"))?
            }
        };
        Ok(sizes.into_iter().map(|size| hosts.by_ref().take(size).collect()).collect())
    }

    /// Runs all sections of a play on one batch.
    pub(super) async fn batch(self: &Arc<Self>, stage: &Arc<Stage>, hosts: Vec<Arc<str>>) {
        stage.set_batch(hosts.clone());
        let alive = stage.alive(self, &hosts);
        if alive.is_empty() {
            return;
        }
        self.tell(Event::PlayStarted { name: stage.name.clone(), hosts: alive, check: self.settings.check });
        match stage.strategy {
            Strategy::Linear | Strategy::Debug => self.sections(stage, &hosts).await,
            Strategy::Free | Strategy::HostPinned => self.each_by_itself(stage, &hosts).await,
        }
    }

    /// Runs all sections of a play on hosts that go through them together.
    pub(super) async fn sections(self: &Arc<Self>, stage: &Arc<Stage>, hosts: &[Arc<str>]) {
        let play = stage.play.clone();
        let frame = stage.frame.clone();
        self.gather_facts(stage, hosts).await;
        self.require_vars_files(stage, hosts);
        self.items(stage, &play.pre_tasks, hosts, &frame).await;
        self.flush_at_end(stage, hosts).await;
        for r#use in &play.roles {
            self.role_use(stage, r#use, hosts, &frame).await;
        }
        self.items(stage, &play.tasks, hosts, &frame).await;
        self.flush_at_end(stage, hosts).await;
        self.items(stage, &play.post_tasks, hosts, &frame).await;
        self.flush_at_end(stage, hosts).await;
    }

    async fn gather_facts(self: &Arc<Self>, stage: &Arc<Stage>, hosts: &[Arc<str>]) {
        let known = known(stage, self);
        let engine = self.engine_of_play(&stage.play.folder);
        let wanted = match &stage.play.gather_facts {
            None => self.settings.execution.gathering.as_deref() != Some("explicit"),
            Some(value) => match engine.render(value, &known) {
                Ok(value) => arguments::to_bool(&value).unwrap_or(true),
                Err(diagnostic) => {
                    self.report(&diagnostic);
                    stage.break_off();
                    return;
                }
            },
        };
        if wanted {
            let mut arguments = Map::new();
            let play = &stage.play;
            for (name, value) in
                [("gather_subset", &play.gather_subset), ("gather_timeout", &play.gather_timeout), ("fact_path", &play.fact_path)]
            {
                if let Some(value) = value {
                    arguments.insert(name.into(), value.clone());
                }
            }
            // With `smart`, hosts whose facts are known are not asked again.
            let is_smart = self.settings.execution.gathering.as_deref() == Some("smart") && stage.play.gather_facts.is_none();
            let unknown: Vec<_> = hosts.iter().filter(|host| !is_smart || !self.hosts.with(host, |host| host.gathered)).cloned().collect();
            let hosts = unknown.as_slice();
            let task = Arc::new(Task::implicit("Gathering Facts", "setup", arguments, stage.play.span, stage.play.folder.clone()));
            self.task(stage, &task, hosts, &stage.frame.clone(), false).await;
        }
    }

    /// Fails the hosts for which a file of `vars_files` is missing or wrong.
    fn require_vars_files(self: &Arc<Self>, stage: &Arc<Stage>, hosts: &[Arc<str>]) {
        if stage.play.vars_files.is_empty() {
            return;
        }
        for host in self.hosts.running(hosts) {
            let variables = self.variables(stage, &stage.frame, None, &host);
            let (_, wrong) = self.vars_files(stage, &variables);
            if let Some(first) = wrong.first() {
                self.report(first);
                stage.break_off();
                return;
            }
        }
    }

    fn end_of_play(self: &Arc<Self>, stage: &Arc<Stage>) {
        self.end_announcements();
        self.note_owed(stage);
        for host in &stage.all {
            self.hosts.with(host, |host| {
                host.notified.clear();
                host.topics.clear();
                host.roles_done.clear();
                host.doubt = None;
                if matches!(host.standing, Standing::Ended | Standing::LeftRole(_)) {
                    host.standing = Standing::Running;
                }
            });
        }
    }
}

/// Returns a play that has these variables too.
fn with_variables(play: &Play, more: &Map) -> Play {
    let mut play = play.clone();
    Arc::make_mut(&mut play.keywords.vars).extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
    play
}

/// Returns the hosts as `order` wants them.
fn ordered(mut hosts: Vec<Arc<str>>, order: Option<&Value>, play: &Play) -> Result<Vec<Arc<str>>, Diagnostic> {
    match order.map(ToString::to_string).as_deref() {
        None | Some("inventory" | "None") => {}
        Some("reverse_inventory") => hosts.reverse(),
        Some("sorted") => hosts.sort(),
        Some("reverse_sorted") => {
            hosts.sort();
            hosts.reverse();
        }
        Some("shuffle") => {
            use rand::seq::SliceRandom as _;
            hosts.shuffle(&mut rand::rng());
        }
        Some(other) => {
            let known = ["inventory", "reverse_inventory", "sorted", "reverse_sorted", "shuffle"];
            return Err(Diagnostic::error(format!("there is no order `{other}`"))
                .at(play.span)
                .did_you_mean(other, known)
                .hint(format!("known are {}", known.join(", "))));
        }
    }
    Ok(hosts)
}
