//! The way back of a run: what its hosts kept of it, foreseen, and then made, the newest change first.
//!
//! Hosts are taken one after the other, the last that was worked on first, so that of the nodes of a cluster no two are
//! restarted at once. What runs is started and restarted when all else on its host is as it was.

use std::collections::HashSet;

use crate::agent::protocol;
use crate::change::kept::Past;
use crate::change::{Mode, Outcome};
use crate::run::hands::{Hands, Lost, Seat};

/// A run to take back.
#[derive(Clone)]
pub struct Order {
    /// The run.
    pub run: String,
    /// Its key.
    pub key: [u8; 32],
    /// Whether differences are wanted.
    pub diff: bool,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "undo {}", self.run)
    }
}

/// A machine that a run worked on, under all the names that the run had for it.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Its names.
    pub names: Vec<String>,
    /// The seats that the run had there.
    pub seats: Vec<Seat>,
}

/// Host and port; none for this machine itself.
type Address = Option<(String, Option<u16>)>;

/// Returns the machines of these seats, in the order they were first met in. Hosts with the same address are one machine, and so
/// are all whose connection is local: their changes have to be taken back in one order.
pub fn machines(seats: impl IntoIterator<Item = Seat>) -> Vec<Machine> {
    let mut machines: Vec<(Address, Machine)> = Vec::new();
    for seat in seats {
        let target = &seat.target;
        let address = (target.connection != "local").then(|| (target.host.clone(), target.port));
        let at = machines.iter().position(|(known, _)| *known == address).unwrap_or_else(|| {
            machines.push((address, Machine::default()));
            machines.len() - 1
        });
        let Some((_, machine)) = machines.get_mut(at) else { continue };
        if !machine.names.contains(&target.name) {
            machine.names.push(target.name.clone());
        }
        if !machine.seats.contains(&seat) {
            machine.seats.push(seat);
        }
    }
    machines
        .into_iter()
        .map(|(_, mut machine)| {
            machine.names.sort();
            machine
        })
        .collect()
}

/// The way back on one machine.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// The machine, by its names.
    pub host: String,
    /// What would be done, in this order: the seat's number, the change, and what is foreseen of taking it back.
    pub steps: Vec<(usize, Past, Outcome)>,
    /// What cannot be undone, and why.
    pub stays: Vec<(Past, String)>,
    /// Why nothing is undone here: something else changed since, or the host cannot be reached.
    pub refused: Option<String>,
    /// The steps that left notes there; `None` where the host could not be asked.
    pub noted: Option<HashSet<String>>,
}

impl Way {
    /// When the newest change was made here, seconds since 1970.
    pub fn newest(&self) -> f64 {
        let pasts = self.steps.iter().map(|(_, past, _)| past).chain(self.stays.iter().map(|(past, _)| past));
        pasts.map(|past| past.at).fold(0.0, f64::max)
    }

    /// Whether there is anything to do.
    pub fn is_needed(&self) -> bool {
        self.refused.is_none() && self.steps.iter().any(|(_, _, outcome)| outcome.changed)
    }
}

/// Foresees the way back on a machine. Nothing is changed; `wanted` chooses changes.
pub async fn foresee(hands: &dyn Hands, order: &Order, machine: &Machine, wanted: &(dyn Fn(&Past) -> bool + Sync)) -> Way {
    let seats = &machine.seats;
    let mut way = Way { host: machine.names.join(", "), ..Way::default() };
    let mut all = Vec::new();
    for (number, seat) in seats.iter().enumerate() {
        match hands.history(seat, &order.run, &order.key).await {
            Ok(history) => all.extend(history.into_iter().map(|past| (number, past))),
            Err(lost) => {
                way.refused = Some(told(&lost));
                return way;
            }
        }
    }
    way.noted = Some(all.iter().map(|(_, past): &(usize, Past)| past.step.clone()).collect());
    let own = format!("undo {} ", order.run);
    let mut met = HashSet::new();
    // Two seats of the same user have the same past.
    all.retain(|(_, past)| !past.step.starts_with(&own) && wanted(past) && met.insert(past.id.clone()));
    // The newest first, but those that have to wait; among these each once.
    all.sort_by(|(_, a), (_, b)| a.turn.cmp(&b.turn).then(b.at.total_cmp(&a.at)));
    let mut met = HashSet::new();
    all.retain(|(_, past)| past.turn == 0 || met.insert(past.summary.clone()));
    let mut set = HashSet::new();
    let is_oldest: Vec<bool> = all.iter().rev().map(|(_, past)| past.sets.as_ref().is_none_or(|what| set.insert(what.clone()))).collect();
    let mut is_oldest = is_oldest.into_iter().rev();
    all.retain(|_| is_oldest.next().unwrap_or(true));
    for (number, past) in all {
        if let Some(why) = &past.hindrance {
            way.stays.push((past.clone(), why.clone()));
            continue;
        }
        // Where all files are as they were, nothing has to be started for their sake.
        if matches!(past.turn, 1 | 2) && !way.steps.iter().any(|(_, _, outcome)| outcome.changed) {
            continue;
        }
        match one(hands, order, &seats[number], &past, Mode::Check).await {
            Ok(outcome) => match (&outcome.failure, &outcome.unknown) {
                (Some(failure), _) => {
                    way.refused = Some(failure.to_string());
                    return way;
                }
                (None, Some(why)) => way.stays.push((past, why.clone())),
                (None, None) => way.steps.push((number, past, outcome)),
            },
            Err(lost) => {
                way.refused = Some(told(&lost));
                return way;
            }
        }
    }
    way
}

/// Goes the way back on a machine, up to the first change that cannot be taken back; `heard` gets what came of each.
///
/// # Errors
/// Says what could not be taken back, and why.
pub async fn undo_machine(
    hands: &dyn Hands,
    order: &Order,
    way: &Way,
    machine: &Machine,
    heard: &mut (dyn FnMut(&Past, &Outcome) + Send),
) -> Result<(), String> {
    for (number, past, foreseen) in &way.steps {
        if !foreseen.changed {
            continue;
        }
        let Some(seat) = machine.seats.get(*number) else { continue };
        let outcome = one(hands, order, seat, past, Mode::Apply).await.map_err(|lost| told(&lost))?;
        heard(past, &outcome);
        if let Some(failure) = &outcome.failure {
            return Err(failure.to_string());
        }
    }
    Ok(())
}

async fn one(hands: &dyn Hands, order: &Order, seat: &Seat, past: &Past, mode: Mode) -> Result<Outcome, Lost> {
    let wanted = protocol::Undo {
        run: order.run.clone(),
        key: order.key,
        changes: vec![past.id.clone()],
        mode,
        diff: order.diff || mode == Mode::Apply,
        foreseen: Vec::new(),
    };
    let mut came = None;
    let mut on_item = |_: u32, outcome: Outcome| came = Some(outcome);
    hands.undo(seat, wanted, &mut on_item).await?;
    came.ok_or_else(|| Lost { message: "the host did not say what came of it".to_owned(), hint: None, reached: false })
}

fn told(lost: &Lost) -> String {
    match &lost.hint {
        None => lost.message.clone(),
        Some(hint) => format!("{} ({hint})", lost.message),
    }
}
