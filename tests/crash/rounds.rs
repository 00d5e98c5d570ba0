//! Rounds of kills: a run is begun, killed as planned, and resumed until it is done. What they came to is counted here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::running::{Ended, Moment, Running};

/// What no run may say, however it was disturbed.
const WRONG: &[&str] = &["panicked", "windlass itself broke", "LATE:", "which is not windlass", "is held by"];

/// How many runs in a row may be killed before they add to the record.
const IDLE: usize = 30;

/// Hosts and a playbook for them.
pub trait Scene {
    /// What can be killed besides the controller.
    type Part: Copy + Debug;

    /// Whoever waits longer than this for a run to end gives it up.
    const PATIENCE: Duration;

    /// How often a run may be resumed without any kill before it has to be done.
    const RESUMES: usize;

    /// What else no run may say here.
    const WRONG_HERE: &[&str];

    /// Begins the run, or goes on with it.
    fn begin(&self) -> Running;

    /// Kills a part, and says what that is; `None` where there was nothing to kill.
    fn hit(&mut self, part: Self::Part, running: &Running) -> Option<&'static str>;

    /// Looks at what a run came to before it is resumed. Returns what there is to tell of that.
    fn look(&mut self, ended: &Ended) -> Vec<String>;
}

/// What is killed.
#[derive(Clone, Copy, Debug)]
pub enum Target<Part> {
    Controller,
    Part(Part),
}

/// What is killed, and when.
pub type Strike<Part> = (Target<Part>, Moment);

/// All rounds.
pub struct Rounds {
    pub random: StdRng,
    /// How long the run takes that nothing disturbs, and how many steps it has.
    pub takes: Duration,
    pub steps: usize,
    began: Instant,
    kills: BTreeMap<&'static str, usize>,
    rounds: usize,
    runs: usize,
    /// What was wrong at the end of a round, with its story.
    faults: Vec<String>,
}

/// One round.
#[derive(Default)]
pub struct Round {
    pub kills: BTreeMap<&'static str, usize>,
    /// How many steps stood in the record when the controller was killed.
    pub boundaries: BTreeSet<usize>,
    /// The most steps that a killed run had added to the record.
    pub most: usize,
    /// How often the controller was killed after it had told of a step, and before any was in the record.
    pub unrecorded: usize,
    pub story: Vec<String>,
    pub faults: Vec<String>,
}

impl Round {
    /// How often something was killed.
    pub fn killed(&self) -> usize {
        self.kills.values().sum()
    }

    /// How often something other than the controller was killed.
    pub fn killed_elsewhere(&self) -> usize {
        self.killed() - self.kills.get("controller").copied().unwrap_or_default()
    }

    /// Kills what is to be killed in this run, and waits for its end.
    fn strike<S: Scene>(&mut self, scene: &mut S, mut running: Running, strikes: Vec<Strike<S::Part>>) -> Ended {
        for (target, moment) in strikes {
            if !running.wait_for(moment, S::PATIENCE) {
                break;
            }
            let name = match target {
                Target::Controller => {
                    running.kill();
                    Some("controller")
                }
                Target::Part(part) => scene.hit(part, &running),
            };
            if let Some(name) = name {
                *self.kills.entry(name).or_default() += 1;
            }
        }
        let ended = running.finish(S::PATIENCE);
        if ended.code.is_none() {
            self.boundaries.insert(ended.recorded);
            self.most = self.most.max(ended.fresh);
            self.unrecorded += usize::from(ended.fresh == 0 && ended.steps() > 0);
        }
        ended
    }

    fn check(&mut self, ended: &Ended, wrong: &[&str]) {
        for wrong in WRONG.iter().chain(wrong) {
            if ended.errors.contains(wrong) || ended.events.iter().any(|event| event.to_string().contains(wrong)) {
                self.faults.push(format!("a run says `{wrong}`"));
            }
        }
    }
}

impl Rounds {
    pub fn new(seed: u64, takes: Duration, steps: usize) -> Self {
        let (random, began) = (StdRng::seed_from_u64(seed), Instant::now());
        Self { random, takes, steps, began, kills: BTreeMap::new(), rounds: 0, runs: 0, faults: Vec::new() }
    }

    /// A strike on another part than the controller, which is often killed a little later.
    pub fn with_later<Part>(&mut self, target: Target<Part>, moment: Moment) -> Vec<Strike<Part>> {
        let later = Moment::After(self.takes.mul_f64(self.random.random_range(0.01..0.3)));
        let lives = matches!(target, Target::Part(_)) && self.random.random_bool(0.6);
        std::iter::once((target, moment)).chain(lives.then_some((Target::Controller, later))).collect()
    }

    /// Begins a run and kills some `kills` times, for each run as `plan` says, then resumes it until it is done.
    pub fn round<S: Scene>(&mut self, scene: &mut S, kills: usize, mut plan: impl FnMut(&mut Self) -> Vec<Strike<S::Part>>) -> Round {
        self.rounds += 1;
        let mut round = Round { story: vec![format!("round {}", self.rounds)], ..Round::default() };
        let (mut last, mut quiet, mut idle) = (None, 0, 0);
        while last != Some(0) && quiet <= S::RESUMES && idle <= IDLE {
            let running = scene.begin();
            self.runs += 1;
            let before = round.killed();
            let strikes = if before < kills { plan(self) } else { Vec::new() };
            let what = strikes.first().map_or_else(|| "nothing".to_owned(), |(target, moment)| format!("{target:?} {moment:?}"));
            let ended = round.strike(scene, running, strikes);
            let killed = round.killed() - before;
            quiet = if killed == 0 { quiet + 1 } else { 0 };
            idle = if ended.fresh == 0 { idle + 1 } else { 0 };
            round.story.push(format!("{what}, killed {killed}: {ended}"));
            round.check(&ended, S::WRONG_HERE);
            round.story.extend(scene.look(&ended));
            last = ended.code;
        }
        if last != Some(0) {
            round.faults.push(format!("it is not done after {quiet} resumes without a kill, and {idle} runs that recorded nothing"));
        }
        round
    }

    /// Ends a round that was judged.
    pub fn close(&mut self, round: &Round) {
        for (name, times) in &round.kills {
            *self.kills.entry(name).or_default() += times;
        }
        if !round.faults.is_empty() {
            self.faults.push(format!("{}\n\n{}", round.faults.join("\n"), round.story.join("\n")));
        }
    }

    /// Tells the numbers, and fails where anything was wrong.
    pub fn tell(&self, more: &str) {
        eprintln!(
            "{} kills in {} rounds and {} runs, {:.0} s: {:?}; {more}; undisturbed, the run has {} steps and takes {:.1} s",
            self.kills.values().sum::<usize>(),
            self.rounds,
            self.runs,
            self.began.elapsed().as_secs_f64(),
            self.kills,
            self.steps,
            self.takes.as_secs_f64()
        );
        let faults = &self.faults;
        assert!(faults.is_empty(), "{} of {} rounds ended wrong\n\n{}", faults.len(), self.rounds, faults.join("\n\n"));
    }
}
