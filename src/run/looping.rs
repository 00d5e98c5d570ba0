//! Loops: all items of a task, in one message to the host where nothing speaks against it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::agent::protocol::Task;
use crate::change::{Outcome, Then};
use crate::load::playbook::{Action, Located, Loop};
use crate::modules;
use crate::report::event::{Event, Status, TaskResult};
use crate::run::controller::SharedEngine;
use crate::run::hands::Lost;
use crate::run::host::Notice;
use crate::run::replay::{self, BROKEN_OFF, UNSURE};
use crate::run::result::{Came, INVOCATION};
use crate::run::scope::TaskVariables;
use crate::run::step::{Ended, Ready, Step, Stop};
use crate::source::Diagnostic;
use crate::value::{Key, Map, Value, arguments};
use crate::vars::Truth;

/// One item of a loop.
pub(super) struct Item {
    pub(super) value: Value,
    /// The variables that the loop gives it.
    pub(super) own: Vec<(Key, Value)>,
    pub(super) variables: TaskVariables,
}

/// Events of items, told in the order of the items, whatever order these are done in.
#[derive(Default)]
struct Turns(Mutex<(usize, BTreeMap<usize, Event>)>);

impl Turns {
    /// Takes the event of an item, and returns those whose turn has come.
    fn take(&self, index: usize, event: Event) -> Vec<Event> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, early) = &mut *state;
        early.insert(index, event);
        let mut due = Vec::new();
        while let Some(event) = early.remove(next) {
            due.push(event);
            *next += 1;
        }
        due
    }
}

impl Step {
    /// Does the task for every item.
    pub(super) async fn looped(&self, r#loop: &Loop, variables: &TaskVariables, engine: &SharedEngine) -> Ended {
        let named;
        let r#loop = match self.named_loop(r#loop, variables, engine) {
            Ok(None) => r#loop,
            Ok(Some(rendered)) => {
                named = rendered;
                &named
            }
            Err(stop) => return self.came(stop, variables, engine).into_ended(),
        };
        let values = match self.loop_values(r#loop, variables, engine) {
            Ok(values) => values,
            Err(stop) => return self.came(stop, variables, engine).into_ended(),
        };
        let items = match self.loop_items(r#loop, &values, variables, engine) {
            Ok(items) => items,
            Err(stop) => return self.came(stop, variables, engine).into_ended(),
        };
        let came = if self.goes_one_by_one(r#loop) {
            self.one_by_one(r#loop, &items, engine).await
        } else {
            self.at_once(r#loop, &items, engine).await
        };
        self.joined(came)
    }

    /// Returns the loop with the names of its variables rendered, where they are templates.
    pub(super) fn named_loop(&self, r#loop: &Loop, variables: &TaskVariables, engine: &SharedEngine) -> Result<Option<Loop>, Stop> {
        let render = |text: &String| match text.contains("{{") {
            true => self.rendered(&Value::text(text, r#loop.items.span), variables, engine).map(|value| value.to_string()),
            false => Ok(text.clone()),
        };
        let is_template = |text: &String| text.contains("{{");
        if !is_template(&r#loop.variable) && !r#loop.index_variable.as_ref().is_some_and(is_template) {
            return Ok(None);
        }
        let (variable, index_variable) = (render(&r#loop.variable)?, r#loop.index_variable.as_ref().map(render).transpose()?);
        Ok(Some(Loop { variable, index_variable, ..r#loop.clone() }))
    }

    /// Returns the values to loop over. Where they cannot be told, but the task would be skipped anyway, it is skipped.
    pub(super) fn loop_values(&self, r#loop: &Loop, variables: &TaskVariables, engine: &SharedEngine) -> Result<Vec<Value>, Stop> {
        let values = engine.loop_items(&r#loop.kind, &r#loop.items.value, r#loop.items.span, variables);
        let stop = match values {
            Ok(Value::List(values)) => return Ok(values.to_vec()),
            Ok(Value::Unknown(unknown)) => Stop::Unknown(unknown.why.clone()),
            Ok(other) => return Ok(vec![other]),
            Err(diagnostic) => diagnostic.into(),
        };
        let conditions = self.frame.all(&self.task, |keywords| &keywords.when);
        match self.hold(&conditions, variables, engine) {
            Ok((Truth::No, condition)) => Err(Stop::Skip(condition)),
            _ => Err(stop),
        }
    }

    /// Returns the items of a loop, each with its variables and its label.
    pub(super) fn loop_items(
        &self,
        r#loop: &Loop,
        values: &[Value],
        variables: &TaskVariables,
        engine: &SharedEngine,
    ) -> Result<Vec<Item>, Stop> {
        let flag = |located: &Option<Located>, otherwise: bool| match located {
            None => Ok(otherwise),
            Some(located) => self.typed::<bool>(located, variables, engine, "yes or no"),
        };
        let extended = flag(&r#loop.extended, false)?;
        let all_items = flag(&r#loop.extended_allitems, true)?;
        let mut items = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let own = loop_variables(r#loop, values, index, extended.then_some(all_items));
            let variables = variables.with(own.clone());
            items.push(Item { value: value.clone(), own, variables });
        }
        Ok(items)
    }

    /// Returns what an item is called in reports; `variables` may have what came of it.
    pub(super) fn label(&self, r#loop: &Loop, item: &Item, variables: &TaskVariables, engine: &SharedEngine) -> Result<String, Diagnostic> {
        match &r#loop.label {
            None => Ok(item.value.to_string()),
            Some(label) => engine.render(&label.value, variables).map(|label| label.to_string()),
        }
    }

    /// Whether an item may depend on what came of the one before it.
    fn goes_one_by_one(&self, r#loop: &Loop) -> bool {
        let retried = !self.task.until.is_empty() || self.task.retries.is_some();
        if retried || !r#loop.break_when.is_empty() || r#loop.pause.is_some() || self.task.r#async.is_some() || self.sets_variables() {
            return true;
        }
        let Some(name) = self.task.register.as_ref().and_then(|register| register.value.as_str()) else { return false };
        let Action::Module { arguments, .. } = &self.task.action else { return true };
        let mentions = |value: &Value| mentions(value, name);
        arguments.values().any(mentions)
            || self.frame.all(&self.task, |keywords| &keywords.when).iter().any(|located| mentions(&located.value))
            || self.frame.all(&self.task, |keywords| &keywords.environment).iter().any(|located| mentions(&located.value))
    }

    /// Whether what the task does for an item is seen by the next one: it needs no host, so nothing is lost by waiting.
    fn sets_variables(&self) -> bool {
        matches!(&self.task.action, Action::Module { name, .. } if matches!(modules::short_name(name), "set_fact" | "include_vars"))
    }

    async fn one_by_one(&self, r#loop: &Loop, items: &[Item], engine: &SharedEngine) -> Vec<Came> {
        let mut all: Vec<Came> = Vec::new();
        let mut set: Vec<(Key, Value)> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let before = all.last().map_or(Value::Null, |came| came.register.clone());
            let variables = if all.is_empty() { item.variables.clone() } else { self.with_result(&item.variables, &before) };
            let variables = if set.is_empty() { variables } else { variables.with(set.iter().cloned().chain(item.own.iter().cloned())) };
            if index > 0
                && let Some(pause) = &r#loop.pause
                && let Ok(seconds) = self.typed::<f64>(pause, &variables, engine, "a number of seconds")
                && !self.run.settings.check
            {
                tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.0, 1e9))).await;
            }
            let came = self.single_item(index, &variables, engine).await;
            let came = self.told_item(r#loop, item, came, engine);
            let is_lost = came.result.status == Status::Unreachable || replay::is_unsure(&came.result);
            for (_, then) in &came.then {
                if let (Then::Facts { facts: map, .. } | Then::Variables(map), true) = (then, self.sets_variables()) {
                    set.extend(map.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
            }
            let seen = self.with_result(&variables, &came.register);
            all.push(came);
            let enough = !r#loop.break_when.is_empty() && {
                let conditions: Vec<_> = r#loop.break_when.iter().collect();
                match self.hold(&conditions, &seen, engine) {
                    Ok((truth, _)) => truth == Truth::Yes,
                    Err(stop) => {
                        all.push(self.came(stop, &seen, engine));
                        true
                    }
                }
            };
            if is_lost || enough {
                break;
            }
        }
        all
    }

    /// Gets all items ready, and sends those that can go together in one message.
    async fn at_once(&self, r#loop: &Loop, items: &[Item], engine: &SharedEngine) -> Vec<Came> {
        let turns = Turns::default();
        let mut all: Vec<(usize, Came)> = Vec::with_capacity(items.len());
        let mut waiting: Vec<(usize, Ready)> = Vec::new();
        let is_lost = |(_, came): &(usize, Came)| came.result.status == Status::Unreachable || replay::is_unsure(&came.result);
        for (index, item) in items.iter().enumerate() {
            match self.ready(&format!("/item{index}"), &item.variables, engine) {
                Ok(mut ready) => {
                    ready.step = ready.step.map(|key| format!("{key}/item{index}"));
                    if waiting.last().is_some_and(|(_, last)| !last.goes_with(&ready)) {
                        all.extend(self.together((r#loop, &turns), items, std::mem::take(&mut waiting), engine).await);
                        if all.iter().any(is_lost) {
                            break;
                        }
                    }
                    waiting.push((index, ready));
                }
                Err(stop) => {
                    let came = self.came(stop, &item.variables, engine);
                    all.push((index, self.told_in_turn((r#loop, &turns), (index, item), came, engine)));
                }
            }
        }
        all.extend(self.together((r#loop, &turns), items, waiting, engine).await);
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, came)| came).collect()
    }

    async fn together(
        &self,
        told: (&Loop, &Turns),
        items: &[Item],
        group: Vec<(usize, Ready)>,
        engine: &SharedEngine,
    ) -> Vec<(usize, Came)> {
        let of = |index: usize| items.get(index);
        let mut all = Vec::new();
        let [(_, first), _, ..] = group.as_slice() else {
            for (index, ready) in group {
                let Some(item) = of(index) else { continue };
                let outcome = self.carry_out(&ready).await;
                let came = self.judge(&ready, outcome, &item.variables, engine).await;
                all.push((index, self.told_in_turn(told, (index, item), came, engine)));
            }
            return all;
        };
        let parts: Vec<&Ready> = group.iter().map(|(_, ready)| ready).collect();
        let recalled = self.recalled(&parts).await;
        let mut outcomes: Vec<Option<Outcome>> = vec![None; group.len()];
        let mut done: Vec<Option<Came>> = (0..group.len()).map(|_| None).collect();
        // Nothing is done after a part of which nobody is sure.
        let unsure = |known: &Vec<Option<Outcome>>| known.iter().position(|known| known.as_ref().is_some_and(replay::is_unsure_outcome));
        let end = recalled.as_ref().ok().and_then(unsure).map_or(group.len(), |at| at + 1);
        let sent = {
            let mut on_item = |at: usize, outcome: Outcome| {
                let Some((index, ready)) = group.get(at) else { return };
                let Some(item) = of(*index) else { return };
                if outcome.on_controller.is_empty() {
                    let came = self.judged(ready, outcome, &item.variables, engine);
                    if let Some(slot) = done.get_mut(at) {
                        *slot = Some(self.told_in_turn(told, (*index, item), came, engine));
                    }
                } else if let Some(slot) = outcomes.get_mut(at) {
                    *slot = Some(outcome);
                }
            };
            match recalled {
                Err(lost) => Err(lost),
                Ok(known) => {
                    let mut open = Vec::new();
                    for (at, known) in known.into_iter().enumerate().take(end) {
                        match known {
                            Some(outcome) => on_item(at, outcome),
                            None => open.push(at),
                        }
                    }
                    let message = self.message_of(&open, &parts, first);
                    let mut on_open = |at: u32, outcome: Outcome| {
                        if let Some(at) = open.get(at as usize) {
                            on_item(*at, outcome);
                        }
                    };
                    if message.items.is_empty() { Ok(()) } else { self.run.hands.task(&first.seat, message, &mut on_open).await }
                }
            }
        };
        let lost = sent.err().unwrap_or_else(|| Lost {
            message: "the agent ended the task without a result".to_owned(),
            hint: None,
            reached: false,
        });
        for (((index, ready), came), outcome) in group.iter().zip(done).zip(outcomes).take(end) {
            let Some(item) = of(*index) else { continue };
            let came = match (came, outcome) {
                (Some(came), _) => came,
                (None, outcome) => {
                    let came = self.judge(ready, outcome.ok_or_else(|| lost.clone()), &item.variables, engine).await;
                    self.told_in_turn(told, (*index, item), came, engine)
                }
            };
            all.push((*index, came));
        }
        all
    }

    /// Returns the message for those of the parts that are still to be done.
    fn message_of(&self, open: &[usize], parts: &[&Ready], first: &Ready) -> Task {
        let open: Vec<&&Ready> = open.iter().filter_map(|at| parts.get(*at)).collect();
        Task {
            steps: open.iter().filter_map(|part| part.step.clone()).collect(),
            bound: open.iter().map(|part| part.bound.clone()).collect(),
            ..first.message(open.iter().map(|part| part.arguments.clone()).collect())
        }
    }

    /// Adds the item to what came of it, and tells it.
    pub(super) fn told_item(&self, r#loop: &Loop, item: &Item, came: Came, engine: &SharedEngine) -> Came {
        let (came, event) = self.of_item(r#loop, item, came, engine);
        self.run.tell(event);
        came
    }

    /// As [`Step::told_item`], but told only after the items before it.
    fn told_in_turn(&self, (r#loop, turns): (&Loop, &Turns), (index, item): (usize, &Item), came: Came, engine: &SharedEngine) -> Came {
        let (came, event) = self.of_item(r#loop, item, came, engine);
        turns.take(index, event).into_iter().for_each(|event| self.run.tell(event));
        came
    }

    /// Adds the item to what came of it. Its label may tell what came of it, too.
    fn of_item(&self, r#loop: &Loop, item: &Item, mut came: Came, engine: &SharedEngine) -> (Came, Event) {
        if let (Some(arguments), Value::Map(map)) = (came.result.values.get(INVOCATION).cloned(), &mut came.register) {
            Arc::make_mut(map).insert(INVOCATION.into(), arguments);
        }
        for (name, value) in &item.own {
            came.note(name.as_str().unwrap_or_default(), value.clone());
        }
        let seen = self.with_result(&item.variables, &came.register);
        let label = self.label(r#loop, item, &seen, engine).unwrap_or_else(|diagnostic| {
            came.spoil(format!("Failed to template loop_control.label: {}", diagnostic.message));
            came.result.ignored = self.is_ignored(&item.variables, engine);
            item.value.to_string()
        });
        came.result.item = Some(item.value.clone());
        // The label has the item in it, which is as secret as what is made of it.
        let label = if came.result.no_log { "(censored due to no_log)".to_owned() } else { label };
        let event = Event::Item { host: self.host.clone(), task: self.name.clone(), label, result: Box::new(came.result.clone()) };
        (came, event)
    }

    /// Returns what all items came to together.
    fn joined(&self, items: Vec<Came>) -> Ended {
        let mut result = TaskResult::default();
        let mut then = Vec::new();
        let mut notice: Option<Notice> = None;
        let mut registered = Vec::new();
        let has = |status: Status| items.iter().any(|came| came.result.status == status);
        let is_skipped = items.iter().all(|came| came.result.status == Status::Skipped);
        let is_bad = |came: &&Came| matches!(came.result.status, Status::Failed | Status::Unreachable) && !came.result.ignored;
        let failed = items.iter().find(is_bad);
        let is_unsure = items.iter().any(|came| replay::is_unsure(&came.result));
        let items_broke_off = items.iter().any(|came| replay::has_broken_off(&came.result));
        let is_ignored = failed.is_none() && items.iter().any(|came| came.result.ignored);
        result.status = if has(Status::Failed) {
            Status::Failed
        } else if has(Status::Unreachable) {
            Status::Unreachable
        } else if is_skipped {
            Status::Skipped
        } else if has(Status::Unknown) {
            // Also where others would change something: an item that fails spoils the whole.
            Status::Unknown
        } else if has(Status::Changed) {
            Status::Changed
        } else {
            Status::Ok
        };
        result.ignored = is_ignored;
        let (message, because) = match result.status {
            Status::Failed => ("One or more items failed", "one or more items failed"),
            Status::Skipped if items.is_empty() => ("No items in the list", "there are no items"),
            Status::Skipped => ("All items skipped", "all its items are skipped"),
            _ => ("All items completed", ""),
        };
        result.because = because.to_owned();
        let unknown = items.iter().find(|came| came.result.status == Status::Unknown).map(|came| came.result.because.clone());
        if result.status == Status::Unknown {
            result.because = unknown.clone().unwrap_or_default();
        }
        for came in items {
            result.no_log |= came.result.no_log;
            result.check |= came.result.check;
            result.verbose_always |= came.result.verbose_always;
            result.diagnostic = result.diagnostic.or(came.result.diagnostic).filter(|_| !is_ignored);
            result.warnings.extend(came.result.warnings);
            result.diff.extend(came.result.diff);
            result.records_diff |= came.result.records_diff;
            result.summary.extend(came.result.summary);
            result.delegated_to = result.delegated_to.or(came.result.delegated_to);
            notice = notice.max(came.notice);
            then.extend(came.then);
            registered.push(came.register);
        }
        result.check |= self.run.settings.check;
        let changed = match (&unknown, notice) {
            (_, Some(Notice::Surely)) => Value::Bool(true),
            (Some(why), _) => Value::unknown(why.clone()),
            (None, _) => Value::Bool(false),
        };
        let mut values = Map::new();
        if items_broke_off {
            values.insert(BROKEN_OFF.into(), Value::Bool(true));
        }
        if is_unsure {
            values.insert(UNSURE.into(), Value::Bool(true));
        }
        let is_empty = registered.is_empty();
        values.insert("results".into(), Value::list(registered));
        values.insert("changed".into(), changed);
        if result.status == Status::Failed {
            values.insert("failed".into(), Value::Bool(true));
        }
        values.insert("skipped".into(), Value::Bool(result.status == Status::Skipped));
        if is_empty {
            values.insert("skipped_reason".into(), Value::str(message));
        } else {
            values.insert("msg".into(), Value::str(message));
        }
        match result.status {
            Status::Failed => notice = None,
            Status::Unknown => notice = notice.min(Some(Notice::Perhaps)),
            _ => {}
        }
        Ended { register: Value::from(values.clone()), then, notice, ..Ended::of(TaskResult { values, ..result }) }
    }
}

/// Returns the variables of one item.
fn loop_variables(r#loop: &Loop, values: &[Value], index: usize, extended: Option<bool>) -> Vec<(Key, Value)> {
    let value = values.get(index).cloned().unwrap_or_default();
    let mut own: Vec<(Key, Value)> =
        vec![(Key::from(&r#loop.variable), value), (Key::from("ansible_loop_var"), Value::str(&r#loop.variable))];
    if let Some(name) = &r#loop.index_variable {
        own.push((Key::from(name), Value::from(index)));
        own.push((Key::from("ansible_index_var"), Value::str(name)));
    }
    if let Some(all_items) = extended {
        let length = values.len();
        let mut map = Map::from_iter([
            ("index".into(), Value::from(index + 1)),
            ("index0".into(), Value::from(index)),
            ("first".into(), Value::Bool(index == 0)),
            ("last".into(), Value::Bool(index + 1 == length)),
            ("length".into(), Value::from(length)),
            ("revindex".into(), Value::from(length - index)),
            ("revindex0".into(), Value::from(length - index - 1)),
        ]);
        if all_items {
            map.insert("allitems".into(), Value::list(values.iter().cloned()));
        }
        if let Some(before) = index.checked_sub(1).and_then(|before| values.get(before)) {
            map.insert("previtem".into(), before.clone());
        }
        if let Some(after) = values.get(index + 1) {
            map.insert("nextitem".into(), after.clone());
        }
        own.push((Key::from("ansible_loop"), Value::from(map)));
    }
    own
}

/// Whether a value that is still to be rendered mentions a name.
fn mentions(value: &Value, name: &str) -> bool {
    match value {
        Value::Str(text) => text.contains(name),
        Value::Lazy(_) => value.to_string().contains(name),
        Value::List(items) => items.iter().any(|item| mentions(item, name)),
        Value::Map(map) => map.values().any(|item| mentions(item, name)),
        _ => false,
    }
}

/// Returns the number of an argument that is a number of seconds.
pub(super) fn seconds(arguments: &Map, name: &str, otherwise: f64) -> f64 {
    arguments.get(name).and_then(|value| arguments::from_value(value).ok()).unwrap_or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_told_in_their_order() {
        let turns = Turns::default();
        let event = |text: &str| Event::Warning { message: text.to_owned() };
        let told = |index: usize| turns.take(index, event(&index.to_string())).len();
        assert_eq!([told(2), told(0), told(3), told(1)], [0, 1, 0, 3]);
    }
}
