//! The crash harness: a site of some thirty tasks on real sshd hosts whose controller, agents, sshd or links are killed at step
//! boundaries and at random moments, and which is resumed until it is done. In the end all is as after a run that nothing
//! disturbed: each command was run once, no handler is lost, nothing is half-written, and no host is held. Then the same with the
//! flagship playbook over OpenSSH (`flagship`), also after each of its steps and at each of its changes.
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
mod record;
mod relay;
mod rounds;
mod running;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use harness::{Hosts, Site};
use look::Unsure;
use rand::Rng as _;
use record::Record;
use rounds::{Round, Rounds, Scene, Strike, Target};
use running::{Ended, Moment, Running};
use serde_json::Value;

/// The hosts of the site.
const HOSTS: &[&str] = &["h1", "h2"];

/// What is killed besides the controller.
#[derive(Clone, Copy, Debug)]
enum Part {
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

/// The site and its hosts.
struct Bench {
    hosts: Hosts,
    site: Site,
    /// How often it was begun from the start.
    number: usize,
    /// What was decided of commands that nobody was sure of, for the next resume.
    decisions: Vec<String>,
    decided: usize,
}

impl Bench {
    fn new() -> Option<Self> {
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
        Some(Self { hosts, site, number: 0, decisions: Vec::new(), decided: 0 })
    }

    fn clear(&mut self) {
        self.number += 1;
        self.decisions.clear();
        for host in HOSTS {
            self.hosts.exec(host, "rm -rf /srv/site");
            for item in ["", "-one", "-two", "-three"] {
                let _ = std::fs::remove_file(self.site.path().join(format!("here-{host}{item}")));
            }
        }
    }

    fn state(&self) -> PathBuf {
        self.site.path().join(format!("state-{}", self.number))
    }
}

impl Scene for Bench {
    type Part = Part;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Commands that nobody is sure of come one by one.
    const RESUMES: usize = 12;

    const WRONG_HERE: &[&str] = &[];

    fn begin(&self) -> Running {
        let record = Record::new(&self.state());
        let words = if record.has_begun() { "resume --output json" } else { "playbook -i hosts.ini site.yml --output json" };
        let mut command = self.site.command(words.split(' '));
        command.args(&self.decisions).env("WINDLASS_STATE", self.state());
        Running::start(command, record)
    }

    fn hit(&mut self, part: Part, running: &Running) -> Option<&'static str> {
        Some(match part {
            Part::Agent(host) => {
                self.hosts.exec(host, look::KILL_AGENTS);
                "agent"
            }
            Part::Sshd(host) => {
                self.hosts.kill(host);
                std::thread::sleep(Duration::from_millis(100));
                self.hosts.start_sshd(host);
                "sshd"
            }
            Part::Link(host) => {
                self.hosts.cut(host);
                std::thread::sleep(Duration::from_millis(300));
                self.hosts.mend(host);
                "link"
            }
            Part::LinkAndController(host) => {
                self.hosts.cut(host);
                std::thread::sleep(Duration::from_millis(20));
                running.kill();
                std::thread::sleep(Duration::from_millis(100));
                self.hosts.mend(host);
                "link and controller"
            }
        })
    }

    /// Looks at the hosts, as a person would, for what became of commands of which nobody is sure.
    fn look(&mut self, ended: &Ended) -> Vec<String> {
        self.decisions.clear();
        let mut told = Vec::new();
        for one in unsure(ended) {
            let word = look::decide(&self.hosts, &self.site, &one);
            told.push(format!("{one:?}: {word}"));
            self.decided += 1;
            self.decisions.extend(["--unsure".to_owned(), format!("{}={word}", one.host)]);
        }
        told
    }
}

/// Kills, and compares.
struct Harness {
    bench: Bench,
    rounds: Rounds,
    wanted: look::State,
}

impl Harness {
    /// Runs the site as it should be.
    fn new(seed: u64) -> Option<Self> {
        let mut bench = Bench::new()?;
        let (mut takes, mut steps) = (Duration::ZERO, 0);
        // The first puts the agent on the hosts, the second is the one whose time counts.
        for _ in 0..2 {
            bench.clear();
            let began = Instant::now();
            let ended = bench.begin().finish(Bench::PATIENCE);
            assert_eq!(ended.code, Some(0), "{ended}");
            (takes, steps) = (began.elapsed(), ended.steps());
        }
        let (wanted, faults) = look::at(&bench.hosts, &bench.site, HOSTS);
        assert!(faults.is_empty(), "{faults:#?}");
        Some(Self { bench, rounds: Rounds::new(seed, takes, steps), wanted })
    }

    /// Kills up to so often, and compares the hosts with the run that nothing disturbed. Returns how often it killed.
    fn round(&mut self, kills: usize, plan: impl FnMut(&mut Rounds) -> Vec<Strike<Part>>) -> usize {
        self.bench.clear();
        let mut round = self.rounds.round(&mut self.bench, kills, plan);
        self.judge(&mut round);
        self.rounds.close(&round);
        round.killed()
    }

    fn judge(&self, round: &mut Round) {
        let Bench { hosts, site, .. } = &self.bench;
        let (state, more) = look::at(hosts, site, HOSTS);
        round.faults.extend(more);
        round.faults.extend(look::differences(&self.wanted, &state));
        let mut verify = site.command(["runs", "verify"]);
        verify.env("WINDLASS_STATE", self.bench.state());
        let verified = site.finish(verify.output().expect("windlass starts"));
        if verified.code != 0 || !verified.stdout.contains("unbroken") {
            round.faults.push(format!("the record is not whole: {}", verified.all()));
        }
    }

    fn all(&mut self, kills: usize, a_round: usize) {
        let mut left = kills;
        while left > 0 {
            left -= self.round(a_round.min(left), plan).min(left);
        }
        self.tell();
    }

    /// Kills the controller once at every boundary between steps.
    fn each_boundary(&mut self) {
        for boundary in 1..=self.rounds.steps {
            self.round(1, |_| vec![(Target::Controller, Moment::Told(boundary))]);
        }
        self.tell();
    }

    fn tell(&self) {
        self.rounds.tell(&format!("{} commands decided by a look at the host", self.bench.decided));
    }
}

fn plan(rounds: &mut Rounds) -> Vec<Strike<Part>> {
    let host = HOSTS[rounds.random.random_range(0..HOSTS.len())];
    let target = match rounds.random.random_range(0..10) {
        0..=3 => Target::Controller,
        4..=5 => Target::Part(Part::Agent(host)),
        6..=7 => Target::Part(Part::Sshd(host)),
        8 => Target::Part(Part::Link(host)),
        _ => Target::Part(Part::LinkAndController(host)),
    };
    let moment = if rounds.random.random_bool(0.6) {
        Moment::Told(rounds.random.random_range(1..=5))
    } else {
        // A part of the whole only, as what is done already goes by fast.
        Moment::After(rounds.takes.mul_f64(rounds.random.random_range(0.02..0.4)))
    };
    rounds.with_later(target, moment)
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
    flagship.here_and_there(6);
}

#[test]
#[ignore = "takes long: two runs for each of its steps"]
fn a_kill_of_the_flagship_at_every_step() {
    let Some(mut flagship) = flagship::Flagship::new(1) else { return };
    flagship.each_step();
}

#[test]
#[ignore = "takes long: two runs for each of its changes"]
fn kills_of_the_flagship_and_its_agents_at_every_change() {
    let Some(mut flagship) = flagship::Flagship::new(number("WINDLASS_SEED", 1)) else { return };
    flagship.each_change();
}

#[test]
#[ignore = "takes long: 100 kills"]
fn a_hundred_kills_of_the_flagship() {
    let seed = number("WINDLASS_SEED", u64::from(std::process::id()));
    eprintln!("WINDLASS_SEED={seed}");
    let Some(mut flagship) = flagship::Flagship::new(seed) else { return };
    flagship.all(usize::try_from(number("WINDLASS_KILLS", 100)).expect("number"), 10);
}
