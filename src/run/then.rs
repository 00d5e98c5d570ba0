//! What the run itself has to do after a task: facts, variables, new hosts and groups, waiting.

use std::sync::Arc;
use std::time::Duration;

use crate::change::Then;
use crate::load::playbook::{Action, Task};
use crate::modules;
use crate::report::event::Status;
use crate::run::stage::Stage;
use crate::run::{Run, Waited};

impl Run {
    /// Does what a task asks of the run, for `hosts`, and returns how the task ended with that.
    pub(super) async fn then(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        task: &Task,
        hosts: &[Arc<str>],
        own: &Arc<str>,
        then: Then,
        status: Status,
    ) -> Status {
        let changed = |changed: bool| if changed { Status::Changed } else { status };
        match then {
            Then::Facts { facts, cacheable } => {
                self.note_reserved(&facts, task.span);
                let is_setup = matches!(&task.action, Action::Module { name, .. } if modules::short_name(name) == "setup" || modules::short_name(name) == "gather_facts");
                for host in hosts {
                    self.hosts.with(host, |host| {
                        if cacheable {
                            host.gather(&facts, is_setup);
                        }
                        if !is_setup && is_set_fact(task) {
                            host.set_all(&facts);
                        } else if !cacheable {
                            host.gather(&facts, is_setup);
                        }
                    });
                    if cacheable {
                        self.keep_facts(host);
                    }
                }
                status
            }
            Then::Stats { data, per_host, aggregate } => {
                self.stats.add(&data, per_host.then_some(hosts), aggregate);
                status
            }
            Then::Variables(variables) => {
                self.note_reserved(&variables, task.span);
                for host in hosts {
                    self.hosts.with(host, |host| host.include(&variables, self.settings.merge_dictionaries));
                }
                status
            }
            Then::AddHost { name, groups, variables } => changed(self.site.add_host(&name, &groups, &variables)),
            Then::GroupBy { key, parents } => {
                let mut any = false;
                for host in hosts {
                    any |= self.site.add_to_group(host, &key, &parents);
                }
                changed(any)
            }
            Then::Pause { seconds, prompt, echo } => {
                if self.pause(seconds, prompt, echo, task, hosts).await {
                    status
                } else {
                    Status::Failed
                }
            }
            Then::Meta(action) => {
                self.meta_action(stage, &action, hosts, task, &stage.frame.clone()).await;
                status
            }
            Then::Reconnect => {
                self.reconnect(stage, task, own).await;
                status
            }
        }
    }

    /// Keeps a host's facts for later runs, where there is a cache. A check leaves it as it is.
    fn keep_facts(&self, host: &str) {
        let Some(cache) = self.settings.fact_cache.as_ref().filter(|_| !self.settings.check) else { return };
        let (facts, gathered) = self.hosts.with(host, |host| (host.fact_variables.clone(), host.gathered));
        match cache.write(host, &facts, gathered, &self.redactor) {
            Ok(secret) => {
                for name in secret {
                    if self.unkept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(name.clone()) {
                        self.warn(format!("`{name}` holds a secret, so the fact cache does not keep it"));
                    }
                }
            }
            Err(why) => self.warn(format!("the facts of {host} cannot be kept in the fact cache: {why}")),
        }
    }

    /// Forgets a host's facts, those in the cache too.
    pub(super) fn forget_facts(&self, host: &str) {
        self.hosts.with(host, super::host::Host::clear_facts);
        if let Some(Err(why)) = self.settings.fact_cache.as_ref().filter(|_| !self.settings.check).map(|cache| cache.forget(host)) {
            self.warn(format!("the facts of {host} stay in the fact cache: {why}"));
        }
    }

    /// Waits, and says whether the run goes on.
    async fn pause(&self, seconds: Option<f64>, prompt: Option<String>, echo: bool, task: &Task, hosts: &[Arc<str>]) -> bool {
        if self.settings.check {
            return true;
        }
        let asker = self.asker.clone();
        let hidden = if echo { "" } else { " (output is hidden)" };
        let question = match (&prompt, seconds) {
            (Some(prompt), None) => format!("{prompt}{hidden}:"),
            (None, None) => format!("Press enter to continue, Ctrl+C to interrupt{hidden}:"),
            (prompt, Some(seconds)) => {
                let prompt = prompt.as_ref().map(|prompt| format!("\n{prompt}{hidden}:")).unwrap_or_default();
                format!("Pausing for {seconds:.0} seconds\n(ctrl+C then 'C' = continue early, ctrl+C then 'A' = abort){prompt}")
            }
        };
        let answer = match tokio::task::spawn_blocking(move || asker.wait(&question, seconds, echo)).await.ok().flatten() {
            Some(Waited::Abort) => return false,
            Some(Waited::On(answer)) => answer,
            None => {
                match (seconds, prompt) {
                    (None, _) => self.warn("Not waiting for response to prompt as stdin is not interactive"),
                    (Some(seconds), prompt) => {
                        if let Some(prompt) = prompt {
                            self.warn(prompt);
                        }
                        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                    }
                }
                return true;
            }
        };
        if !echo && !answer.is_empty() {
            self.redactor.learn(&answer);
        }
        if let Some(name) = task.register.as_ref().and_then(|register| register.value.as_str()) {
            for host in hosts {
                self.hosts.with(host, |host| {
                    let mut registered = host.set_facts.get(name).and_then(|value| value.as_map()).cloned().unwrap_or_default();
                    registered.insert("user_input".into(), answer.as_str().into());
                    host.set(name, registered.into());
                });
            }
        }
        true
    }
}

fn is_set_fact(task: &Task) -> bool {
    matches!(&task.action, Action::Module { name, .. } if modules::short_name(name) == "set_fact")
}
