//! What is known of one host during the run: facts, registered values, whether it still takes part, its counts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use indexmap::IndexMap;

use crate::report::event::Counts;
use crate::run::fact_cache::FactCache;
use crate::value::{Key, Map, Value};
use crate::vars::scope::united;

/// Whether a host takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does.
    #[default]
    Running,
    /// A task failed on it.
    Failed,
    /// It cannot be reached.
    Unreachable,
    /// The play ended for it, in good order.
    Ended,
    /// It waits for the end of the role with this number.
    LeftRole(usize),
}

/// A handler's number within its play.
pub(super) type HandlerId = usize;

/// Why a handler is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Notice {
    /// A task that cannot be predicted would notify it.
    Perhaps,
    /// A task that changed something notified it.
    Surely,
}

/// What is known of one host.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) standing: Standing,
    pub(super) counts: Counts,
    /// `ansible_facts`: names without `ansible_`.
    pub(super) facts: Arc<Map>,
    /// The same as variables of their own.
    pub(super) fact_variables: Arc<Map>,
    /// Whether facts were gathered, in this run or, with a fact cache, in an earlier one.
    pub(super) gathered: bool,
    /// `set_fact` and `register`.
    pub(super) set_facts: Arc<Map>,
    /// `include_vars`.
    pub(super) included: Arc<Map>,
    /// Handlers that are to run, and who notified them.
    pub(super) notified: IndexMap<HandlerId, (Notice, String)>,
    /// Names and topics that were notified since handlers were last run: which handlers they mean is told then.
    pub(super) topics: IndexMap<String, (Notice, String)>,
    /// How often `clear_host_errors` was done on it.
    pub(super) cleared: usize,
    /// The counts when that was last done: what they say is forgiven.
    pub(super) forgiven: Counts,
    /// Numbers of the roles in which a task ran and was not skipped.
    pub(super) roles_begun: HashSet<usize>,
    /// Roles that ran to their end, by what makes a use of them the same.
    pub(super) roles_done: HashSet<String>,
    /// The last task whose program a check did not run: what it does to the host nobody knows.
    pub(super) unseen: Option<String>,
    /// Why a check does not know whether the play goes on here: it may have ended.
    pub(super) doubt: Option<String>,
}

impl Host {
    /// Gives the host a variable, as `set_fact` and `register` do.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        Arc::make_mut(&mut self.set_facts).insert(name.into(), value);
    }

    /// Gives the host variables, as `set_fact` does.
    pub(super) fn set_all(&mut self, variables: &Map) {
        Arc::make_mut(&mut self.set_facts).extend(variables.iter().map(|(name, value)| (name.clone(), value.clone())));
    }

    /// Gives the host variables, as `include_vars` does; where `merges` is so, dictionaries are merged with those it has.
    pub(super) fn include(&mut self, variables: &Map, merges: bool) {
        if merges {
            self.included = Arc::new(united([&*self.included, variables]));
        } else {
            Arc::make_mut(&mut self.included).extend(variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
    }

    /// Gives the host facts. Those of `setup` are variables under `ansible_...` too, whichever way they came.
    pub(super) fn gather(&mut self, facts: &Map, is_setup: bool) {
        self.gathered |= is_setup;
        for (name, value) in facts {
            let name = name.to_string();
            let bare = name.strip_prefix("ansible_").unwrap_or(&name);
            let has_own_prefix = ["facter_", "ohai_"].iter().any(|prefix| name.starts_with(prefix));
            let variable = if is_setup && !has_own_prefix { format!("ansible_{bare}") } else { name.clone() };
            Arc::make_mut(&mut self.facts).insert(Key::from(bare), value.clone());
            Arc::make_mut(&mut self.fact_variables).insert(Key::from(variable), value.clone());
        }
    }

    /// Forgets the facts.
    pub(super) fn clear_facts(&mut self) {
        self.facts = Arc::default();
        self.fact_variables = Arc::default();
        self.gathered = false;
    }

    /// Notes that a handler is to run.
    pub(super) fn notify(&mut self, handler: HandlerId, notice: Notice, by: &str) {
        note(&mut self.notified, handler, notice, by);
    }

    /// Notes that the handlers of this name or topic are to run.
    pub(super) fn notify_topic(&mut self, topic: String, notice: Notice, by: &str) {
        note(&mut self.topics, topic, notice, by);
    }
}

/// Notes a notice; a sure one is stronger than a doubtful one.
fn note<K: std::hash::Hash + Eq>(notices: &mut IndexMap<K, (Notice, String)>, key: K, notice: Notice, by: &str) {
    let entry = notices.entry(key).or_insert_with(|| (notice, by.to_owned()));
    if notice > entry.0 {
        *entry = (notice, by.to_owned());
    }
}

/// All hosts that were met so far.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    all: RwLock<HashMap<Arc<str>, Arc<Mutex<Host>>>>,
    /// Where facts of earlier runs are.
    cache: Option<FactCache>,
}

impl Hosts {
    /// Returns no hosts yet; where one is met, it has the facts that the cache keeps.
    pub(super) fn new(cache: Option<FactCache>) -> Self {
        Self { cache, ..Self::default() }
    }

    fn fresh(&self, name: &str) -> Host {
        let mut host = Host::default();
        let Some(cached) = self.cache.as_ref().and_then(|cache| cache.read(name)) else { return host };
        for (name, value) in cached.facts {
            let is_long = name.as_str().is_some_and(|name| name.starts_with("ansible_"));
            host.gather(&Map::from_iter([(name, value)]), is_long);
        }
        host.gathered = cached.gathered;
        host
    }

    /// Returns what is known of a host, to read or change. Never hold it across an `await`.
    pub(super) fn with<T>(&self, name: &str, work: impl FnOnce(&mut Host) -> T) -> T {
        work(&mut lock(&self.entry(name)))
    }

    fn entry(&self, name: &str) -> Arc<Mutex<Host>> {
        if let Some(host) = self.all.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return host.clone();
        }
        self.all
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name.into())
            .or_insert_with(|| Arc::new(Mutex::new(self.fresh(name))))
            .clone()
    }

    /// Returns whether a host takes part.
    pub(super) fn standing(&self, name: &str) -> Standing {
        self.with(name, |host| host.standing)
    }

    /// Sets whether a host takes part.
    pub(super) fn set_standing(&self, name: &str, standing: Standing) {
        self.with(name, |host| host.standing = standing);
    }

    /// Returns those of `hosts` that take part.
    pub(super) fn running(&self, hosts: &[Arc<str>]) -> Vec<Arc<str>> {
        hosts.iter().filter(|host| self.standing(host) == Standing::Running).cloned().collect()
    }

    /// Returns what of the counts `clear_host_errors` forgave.
    pub(super) fn forgiven(&self) -> HashMap<Arc<str>, Counts> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let forgiven = all.iter().map(|(name, host)| (name.clone(), lock(host).forgiven));
        forgiven.filter(|(_, counts)| *counts != Counts::default()).collect()
    }

    /// Returns the counts of every host met, by name.
    pub(super) fn counts(&self) -> Vec<(Arc<str>, Counts)> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let mut counts: Vec<_> = all.iter().map(|(name, host)| (name.clone(), lock(host).counts)).collect();
        counts.retain(|(_, counts)| *counts != Counts::default());
        counts.sort_by_key(|(name, _)| name.clone());
        counts
    }
}

fn lock(host: &Mutex<Host>) -> MutexGuard<'_, Host> {
    host.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_variables_under_their_long_names() {
        let mut host = Host::default();
        host.gather(&Map::from_iter([("ansible_system".into(), Value::str("Linux")), ("env".into(), Value::Null)]), true);
        assert_eq!(host.facts.get("system"), Some(&Value::str("Linux")));
        assert_eq!(host.fact_variables.get("ansible_system"), Some(&Value::str("Linux")));
        assert!(host.fact_variables.contains_key("ansible_env"));
        host.gather(&Map::from_iter([("packages".into(), Value::Null)]), false);
        assert!(host.fact_variables.contains_key("packages"));
    }

    #[test]
    fn a_sure_notice_replaces_a_doubtful_one() {
        let mut host = Host::default();
        host.notify(1, Notice::Perhaps, "a");
        host.notify(1, Notice::Surely, "b");
        host.notify(1, Notice::Perhaps, "c");
        assert_eq!(host.notified[&1], (Notice::Surely, "b".to_owned()));
    }
}
