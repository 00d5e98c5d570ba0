//! The crash harness: a site of some thirty tasks on real sshd hosts whose controller, agents, sshd or links are killed at step
//! boundaries and at random moments, and which is resumed until it is done. In the end all is as after a run that nothing
//! disturbed: each command was run once, no handler is lost, nothing is half-written, and no host is held. Then the same with the
//! flagship playbook over OpenSSH (`flagship`).
//!
//! The short forms are ordinary tests. The long ones are `cargo test --test crash -- --ignored`; `WINDLASS_KILLS` says
//! how many kills (500, of the flagship 100), `WINDLASS_SEED` which.
#![allow(clippy::panic, clippy::print_stderr, clippy::disallowed_methods, reason = "tests set up files and start programs of their own")]

#[path = "../harness/demo.rs"]
mod demo;
mod flagship;
#[path = "../harness/mod.rs"]
mod harness;
mod look;
mod relay;
mod running;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::{Hosts, Site};
use look::Unsure;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use running::{Ended, Moment, Running};
use serde_json::Value;

/// The hosts of the site.
const HOSTS: &[&str] = &["h1", "h2"];

/// Whoever waits longer than this for a run to end gives it up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a run may be resumed without any kill before it has to be done: commands that nobody is sure of come one by one.
const RESUMES: usize = 12;

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum Target {
    Controller,
    Agent(&'static str),
    Sshd(&'static str),
    /// The link is cut for a moment.
    Link(&'static str),
    /// The link is cut, the controller killed, and the link mended: the host hears of it late.
    LinkAndController(&'static str),
}

/// The commands that a run stopped at as nobody knows whether they are done.
fn unsure(ended: &Ended) -> Vec<Unsure> {
    let is_unsure = |event: &&Value| event["values"]["unsure"] == true;
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let one = |event: &Value| Unsure {
        host: text(event, "host"),
        task: text(event, "task"),
        item: text(event, "label"),
        attempt: event["values"]["attempts"].as_u64().unwrap_or(1),
    };
    let items: Vec<Unsure> = ended.events.iter().filter(is_unsure).filter(|event| event["event"] != "result").map(one).collect();
    let whole = ended.events.iter().filter(is_unsure).filter(|event| event["event"] == "result").map(one);
    let whole = whole.filter(|whole| !items.iter().any(|item| item.host == whole.host && item.task == whole.task));
    whole.chain(items.iter().cloned()).collect()
}

struct Harness {
    hosts: Hosts,
    site: Site,
    random: StdRng,
    round: usize,
    /// How long the run takes that nothing disturbs, and how many steps it has.
    takes: Duration,
    steps: usize,
    wanted: look::State,
    kills: BTreeMap<&'static str, usize>,
    resumes: usize,
    decided: usize,
    story: Vec<String>,
    /// What was wrong at the end of a round, with its story.
    faults: Vec<String>,
}

impl Harness {
    fn new(seed: u64) -> Option<Self> {
        let hosts = Hosts::up(HOSTS.len())?;
        let site = Site::new()
            .file("site.yml", include_str!("site.yml"))
            .file("more.yml", include_str!("more.yml"))
            .file("once.sh", "#!/bin/sh\necho script >>\"$1\"\n")
            .file("app.j2", include_str!("app.j2"));
        let large: Vec<u8> = (0_u32..600_000).flat_map(u32::to_le_bytes).collect();
        std::fs::write(site.path().join("large.bin"), large).expect("write");
        let lines: String = HOSTS.iter().map(|name| format!("{name} ansible_host={}\n", hosts.address(name))).collect();
        let path = hosts.path().display();
        site.write(
            "hosts.ini",
            &format!(
                "[all]\n{lines}[all:vars]\nansible_user=ops\nansible_become_password=s3cret\nansible_ssh_private_key_file={path}/key\n\
                 ansible_ssh_common_args=-F none -o UserKnownHostsFile={path}/known_hosts -o GlobalKnownHostsFile=none\n"
            ),
        );
        let random = StdRng::seed_from_u64(seed);
        let (takes, wanted) = (Duration::ZERO, look::State::default());
        let (kills, story, faults) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut harness = Self { hosts, site, random, round: 0, takes, steps: 0, wanted, kills, resumes: 0, decided: 0, story, faults };
        harness.undisturbed();
        Some(harness)
    }

    /// Runs the site as it should be.
    fn undisturbed(&mut self) {
        // The first puts the agent on the hosts, the second is the one whose time counts.
        for _ in 0..2 {
            self.clear();
            let began = Instant::now();
            let ended = self.begin(&[]).finish(PATIENCE);
            assert_eq!(ended.code, Some(0), "{ended}");
            self.takes = began.elapsed();
            self.steps = ended.steps();
        }
        let (state, faults) = look::at(&self.hosts, &self.site, HOSTS);
        assert!(faults.is_empty(), "{faults:#?}");
        self.wanted = state;
    }

    fn clear(&mut self) {
        self.round += 1;
        for host in HOSTS {
            self.hosts.exec(host, "rm -rf /srv/site");
            for item in ["", "-one", "-two", "-three"] {
                let _ = std::fs::remove_file(self.site.path().join(format!("here-{host}{item}")));
            }
        }
    }

    fn begin(&self, decisions: &[String]) -> Running {
        // A run that broke off before its record began did nothing: it is begun again.
        let begun = std::fs::read_dir(self.site.path().join(format!("state-{}/runs", self.round)));
        let begun = begun
            .into_iter()
            .flatten()
            .flatten()
            .any(|run| std::fs::read_to_string(run.path().join("journal")).is_ok_and(|text| text.contains('\n')));
        let words = if begun { "resume --output json" } else { "playbook -i hosts.ini site.yml --output json" };
        let mut command = self.site.command(words.split(' '));
        command.args(decisions).env("WINDLASS_STATE", self.site.path().join(format!("state-{}", self.round)));
        Running::start(command)
    }

    /// Waits for the moment, kills, and waits for the end. Where the controller lives on, it is often killed a little later.
    /// Returns how often it killed: not at all where the run had ended before.
    fn strike(&mut self, mut running: Running, target: Target, moment: Moment) -> (usize, Ended) {
        if !running.wait_for(moment, PATIENCE) {
            return (0, running.finish(PATIENCE));
        }
        let name = match target {
            Target::Controller => {
                running.kill();
                "controller"
            }
            Target::Agent(host) => {
                self.hosts.exec(host, look::KILL_AGENTS);
                "agent"
            }
            Target::Sshd(host) => {
                self.hosts.kill(host);
                std::thread::sleep(Duration::from_millis(100));
                self.hosts.start_sshd(host);
                "sshd"
            }
            Target::Link(host) => {
                self.hosts.cut(host);
                std::thread::sleep(Duration::from_millis(300));
                self.hosts.mend(host);
                "link"
            }
            Target::LinkAndController(host) => {
                self.hosts.cut(host);
                std::thread::sleep(Duration::from_millis(20));
                running.kill();
                std::thread::sleep(Duration::from_millis(100));
                self.hosts.mend(host);
                "link and controller"
            }
        };
        *self.kills.entry(name).or_default() += 1;
        let lives = !matches!(target, Target::Controller | Target::LinkAndController(_));
        let later = Moment::After(self.takes.mul_f64(self.random.random_range(0.01..0.3)));
        if lives && self.random.random_bool(0.7) && running.wait_for(later, PATIENCE) {
            running.kill();
            *self.kills.entry("controller").or_default() += 1;
            return (2, running.finish(PATIENCE));
        }
        (1, running.finish(PATIENCE))
    }

    /// Begins a run and kills up to `kills` times, as `plan` says, then resumes it until it is done. Returns how often it killed.
    fn round(&mut self, kills: usize, plan: impl Fn(&mut Self) -> (Target, Moment)) -> usize {
        self.clear();
        self.story = vec![format!("round {}", self.round)];
        let mut decisions = Vec::new();
        let mut killed = 0;
        let (mut last, mut quiet) = (None, 0);
        let mut faults = Vec::new();
        while last != Some(0) {
            let running = self.begin(&decisions);
            self.resumes += 1;
            let ended = if killed < kills {
                let (target, moment) = plan(self);
                let (struck, ended) = self.strike(running, target, moment);
                killed += struck;
                self.story.push(format!("{target:?} {moment:?} killed {struck}: {ended}"));
                ended
            } else {
                quiet += 1;
                let ended = running.finish(PATIENCE);
                self.story.push(format!("resumed {decisions:?}: {ended}"));
                ended
            };
            for wrong in ["panicked", "windlass itself broke", "LATE:", "which is not windlass", "is held by"] {
                if ended.errors.contains(wrong) || ended.events.iter().any(|event| event.to_string().contains(wrong)) {
                    faults.push(format!("a run says `{wrong}`"));
                }
            }
            if quiet > RESUMES {
                faults.push(format!("it is not done after {RESUMES} resumes"));
                break;
            }
            decisions = self.decide(&unsure(&ended));
            last = ended.code;
        }
        self.judge(faults);
        killed
    }

    fn plan(&mut self) -> (Target, Moment) {
        let host = HOSTS[self.random.random_range(0..HOSTS.len())];
        let target = match self.random.random_range(0..10) {
            0..=3 => Target::Controller,
            4..=5 => Target::Agent(host),
            6..=7 => Target::Sshd(host),
            8 => Target::Link(host),
            _ => Target::LinkAndController(host),
        };
        let moment = if self.random.random_bool(0.6) {
            Moment::Boundary(self.random.random_range(1..=5))
        } else {
            // A part of the whole only, as what is done already goes by fast.
            Moment::After(self.takes.mul_f64(self.random.random_range(0.02..0.4)))
        };
        (target, moment)
    }

    /// Looks at the hosts, as a person would, for what became of commands of which nobody is sure.
    fn decide(&mut self, unsure: &[Unsure]) -> Vec<String> {
        let mut words = Vec::new();
        for one in unsure {
            let word = look::decide(&self.hosts, &self.site, one);
            self.story.push(format!("{one:?}: {word}"));
            self.decided += 1;
            words.extend(["--unsure".to_owned(), format!("{}={word}", one.host)]);
        }
        words
    }

    /// Compares the hosts with the run that nothing disturbed.
    fn judge(&mut self, mut faults: Vec<String>) {
        let (state, more) = look::at(&self.hosts, &self.site, HOSTS);
        faults.extend(more);
        faults.extend(look::differences(&self.wanted, &state));
        let mut verify = self.site.command(["runs", "verify"]);
        verify.env("WINDLASS_STATE", self.site.path().join(format!("state-{}", self.round)));
        let verified = self.site.finish(verify.output().expect("windlass starts"));
        if verified.code != 0 || !verified.stdout.contains("unbroken") {
            faults.push(format!("the record is not whole: {}", verified.all()));
        }
        if !faults.is_empty() {
            self.faults.push(format!("{}\n\n{}", faults.join("\n"), self.story.join("\n")));
        }
    }

    fn all(&mut self, kills: usize, a_round: usize) {
        let began = Instant::now();
        let mut left = kills;
        while left > 0 {
            left -= self.round(a_round.min(left), Self::plan).min(left);
        }
        self.tell(began);
    }

    /// Kills the controller once at every boundary between steps.
    fn each_boundary(&mut self) {
        let began = Instant::now();
        for boundary in 1..=self.steps {
            self.round(1, |_| (Target::Controller, Moment::Boundary(boundary)));
        }
        self.tell(began);
    }

    /// Tells the numbers, and fails where anything was wrong.
    fn tell(&self, began: Instant) {
        let kills: usize = self.kills.values().sum();
        eprintln!(
            "{kills} kills in {} rounds and {} runs, {:.0} s: {:?}; {} commands decided by a look at the host; undisturbed, the run has {} steps and takes {:.1} s",
            self.round - 2,
            self.resumes,
            began.elapsed().as_secs_f64(),
            self.kills,
            self.decided,
            self.steps,
            self.takes.as_secs_f64()
        );
        let faults = &self.faults;
        assert!(faults.is_empty(), "{} of {} rounds ended wrong\n\n{}", faults.len(), self.round - 2, faults.join("\n\n"));
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_one_that_is_not() {
    let Some(mut harness) = Harness::new(number("WINDLASS_SEED", 1)) else { return };
    harness.all(20, 10);
}

#[test]
#[ignore = "takes long: 500 kills"]
fn five_hundred_kills() {
    let seed = number("WINDLASS_SEED", u64::from(std::process::id()));
    eprintln!("WINDLASS_SEED={seed}");
    let Some(mut harness) = Harness::new(seed) else { return };
    harness.all(usize::try_from(number("WINDLASS_KILLS", 500)).expect("number"), 20);
}

#[test]
#[ignore = "takes long: a run for each of its steps"]
fn a_kill_at_every_boundary() {
    let Some(mut harness) = Harness::new(1) else { return };
    harness.each_boundary();
}

#[test]
fn the_flagship_that_is_killed_ends_as_one_that_is_not() {
    let Some(mut flagship) = flagship::Flagship::new(number("WINDLASS_SEED", 1)) else { return };
    flagship.all(3, 3);
}

#[test]
#[ignore = "takes long: 100 kills"]
fn a_hundred_kills_of_the_flagship() {
    let seed = number("WINDLASS_SEED", u64::from(std::process::id()));
    eprintln!("WINDLASS_SEED={seed}");
    let Some(mut flagship) = flagship::Flagship::new(seed) else { return };
    flagship.all(usize::try_from(number("WINDLASS_KILLS", 100)).expect("number"), 10);
}
