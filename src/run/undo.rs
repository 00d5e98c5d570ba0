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
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "undo {}", self.run)
    }
}

/// The way back on one host.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// The host.
    pub host: String,
    /// What would be done, in this order: the seat's number, the change, and what is foreseen of taking it back.
    pub steps: Vec<(usize, Past, Outcome)>,
    /// What cannot be undone, and why.
    pub stays: Vec<(Past, String)>,
    /// Why nothing is undone here: something else changed since, or the host cannot be reached.
    pub refused: Option<String>,
}

impl Way {
    /// Whether there is anything to do.
    pub fn is_needed(&self) -> bool {
        self.refused.is_none() && self.steps.iter().any(|(_, _, outcome)| outcome.changed)
    }
}

/// Foresees the way back on a host. Nothing is changed. `seats` are those that the run had there; `wanted` chooses changes.
pub async fn foresee(hands: &dyn Hands, order: &Order, host: &str, seats: &[Seat], wanted: &(dyn Fn(&Past) -> bool + Sync)) -> Way {
    let mut way = Way { host: host.to_owned(), ..Way::default() };
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
    let own = format!("undo {} ", order.run);
    all.retain(|(_, past)| !past.step.starts_with(&own) && wanted(past));
    // The newest first, but those that have to wait; among these each once.
    all.sort_by(|(_, a), (_, b)| a.turn.cmp(&b.turn).then(b.at.total_cmp(&a.at)));
    let mut met = HashSet::new();
    all.retain(|(_, past)| past.turn == 0 || met.insert(past.summary.clone()));
    for (number, past) in all {
        if let Some(why) = &past.hindrance {
            way.stays.push((past.clone(), why.clone()));
            continue;
        }
        // Where all files are as they were, nothing has to be started for their sake.
        if past.turn > 0 && !way.steps.iter().any(|(_, _, outcome)| outcome.changed) {
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

/// Goes the way back on a host, up to the first change that cannot be taken back; `heard` gets what came of each.
///
/// # Errors
/// Says what could not be taken back, and why.
pub async fn undo_host(
    hands: &dyn Hands,
    order: &Order,
    way: &Way,
    seats: &[Seat],
    heard: &mut (dyn FnMut(&Past, &Outcome) + Send),
) -> Result<(), String> {
    for (number, past, foreseen) in &way.steps {
        if !foreseen.changed {
            continue;
        }
        let outcome = one(hands, order, &seats[*number], past, Mode::Apply).await.map_err(|lost| told(&lost))?;
        heard(past, &outcome);
        if let Some(failure) = &outcome.failure {
            return Err(failure.to_string());
        }
    }
    Ok(())
}

async fn one(hands: &dyn Hands, order: &Order, seat: &Seat, past: &Past, mode: Mode) -> Result<Outcome, Lost> {
    let wanted =
        protocol::Undo { run: order.run.clone(), key: order.key, changes: vec![past.id.clone()], mode, diff: false, foreseen: Vec::new() };
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
