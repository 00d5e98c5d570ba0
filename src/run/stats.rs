//! What `set_stats` counts, for the run and for each host.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::report::event::Event;
use crate::run::Run;
use crate::value::{Map, Value};
use crate::vars::scope::merged;

/// What was counted: for the run as a whole (`None`), and for hosts.
#[derive(Debug, Default)]
pub(super) struct Stats(Mutex<BTreeMap<Option<Arc<str>>, Map>>);

impl Stats {
    /// Takes in what a task counted, for hosts or for the whole run. With `aggregate`, it is added to what was there.
    pub(super) fn add(&self, data: &Map, hosts: Option<&[Arc<str>]>, aggregate: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let owners = hosts.map_or_else(|| vec![None], |hosts| hosts.iter().cloned().map(Some).collect());
        for owner in owners {
            let stats = all.entry(owner).or_default();
            for (name, value) in data {
                let value = match stats.get(name).filter(|_| aggregate) {
                    None => value.clone(),
                    Some(known) => sum(known, value),
                };
                stats.insert(name.clone(), value);
            }
        }
    }
}

/// Returns both together: numbers added, texts and lists joined, dictionaries merged. What is of another kind does not count.
fn sum(known: &Value, more: &Value) -> Value {
    match (known, more) {
        (Value::Int(known), Value::Int(more)) => Value::Int(known.saturating_add(*more)),
        (Value::Float(known), Value::Float(more)) => Value::Float(known + more),
        (Value::Str(known), Value::Str(more)) => Value::from(format!("{known}{more}")),
        (Value::List(known), Value::List(more)) => Value::list(known.iter().chain(more.iter()).cloned()),
        (Value::Map(_), Value::Map(_)) => merged(known, more),
        _ => known.clone(),
    }
}

impl Run {
    /// Tells what was counted, where anything was: the hosts by name, then the run.
    pub(super) fn tell_stats(&self) {
        let all = self.stats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.is_empty() {
            let hosts = all.iter().filter_map(|(host, stats)| Some((host.clone()?, stats.clone()))).collect();
            self.tell(Event::CustomStats { hosts, run: all.get(&None).cloned().unwrap_or_default() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_are_added_up_by_their_kind_or_replaced() {
        let stats = Stats::default();
        let data = |value: Value| Map::from_iter([("n".into(), value)]);
        let hosts: Vec<Arc<str>> = vec!["a".into(), "b".into()];
        let of = |owner: Option<&str>| {
            let all = stats.0.lock().expect("lock");
            all.get(&owner.map(Arc::from)).and_then(|stats| stats.get("n")).map(ToString::to_string).unwrap_or_default()
        };
        stats.add(&data(Value::from(1)), None, true);
        stats.add(&data(Value::from(2)), None, true);
        stats.add(&data(Value::str("other")), None, true);
        assert_eq!((of(None), of(Some("a"))), ("3".to_owned(), String::new()));
        stats.add(&data(Value::list([Value::from(1)])), Some(&hosts), true);
        stats.add(&data(Value::list([Value::from(2)])), Some(&hosts[..1]), true);
        assert_eq!((of(Some("a")), of(Some("b"))), ("[1, 2]".to_owned(), "[1]".to_owned()));
        stats.add(&data(Value::str("new")), Some(&hosts), false);
        assert_eq!(of(Some("a")), "new");
    }
}
