//! The flagship playbook over OpenSSH on three and three hosts: its controller, agents, sshd or links are killed, and it is
//! resumed until it is done. In the end hosts and clusters are, but for what is made anew each time, as after a run that nothing disturbed.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng as _;
use serde_json::Value;
use windlass::formats::certificates::Certificate;
use windlass::formats::pkcs12;

use crate::demo::{OpenSsh, Stage, WINDLASS, has_agents, kill_agents};
use crate::look::differences;
use crate::record::Record;
use crate::relay::Relay;
use crate::rounds::{self, Round, Rounds, Strike, Target};
use crate::running::{Ended, Moment, Running};

/// The nodes.
const NODES: &[&str] = &["es-berlin-1", "es-berlin-2", "es-berlin-3", "es-frankfurt-1", "es-frankfurt-2", "es-frankfurt-3"];

/// A run that is killed as soon as it has recorded a step has recorded no more than so many: a task on each node, and perhaps one more.
const FEW: usize = 2 * NODES.len();

/// What is killed besides the controller.
#[derive(Clone, Copy, Debug)]
enum Part {
    Agent(&'static str),
    /// Those of all nodes.
    Agents,
    Sshd(&'static str),
    /// Nothing gets through for a moment.
    Held(&'static str),
    /// All connections are lost, and new ones fail for a moment.
    Link(&'static str),
}

/// What there is in the end: by name, what it means.
type State = BTreeMap<String, String>;

/// Kills, and compares.
pub struct Flagship {
    rounds: Rounds,
    /// What there is after a run that nothing disturbed, and the steps in its record.
    wanted: State,
    steps: State,
    restarts: usize,
}

/// One site, with its servers.
struct Scene {
    stage: Stage,
    servers: OpenSsh,
    links: BTreeMap<String, Relay>,
    flags: Vec<String>,
}

impl Scene {
    fn new() -> Option<Self> {
        let stage = Stage::new();
        let (servers, mut flags) = OpenSsh::start(&stage)?;
        let address = |address: IpAddr, port| SocketAddr::new(address, port);
        let link = |to: IpAddr| Relay::start(address(to, OpenSsh::BETWEEN), address(to, OpenSsh::PORT));
        let links = stage.site.nodes.iter().map(|(node, to)| (node.clone(), link(*to))).collect();
        flags.extend(["-e".to_owned(), format!("{{\"ansible_port\": {}}}", OpenSsh::BETWEEN)]);
        Some(Self { stage, servers, links, flags })
    }

    fn state(&self) -> PathBuf {
        self.stage.site.folder.join("journals")
    }

    fn hosts(&self) -> PathBuf {
        self.stage.site.folder.join("hosts")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(WINDLASS);
        command.args(words).current_dir(self.stage.site.project()).stdin(Stdio::null());
        command.env_remove("SSH_AUTH_SOCK").env("WINDLASS_STATE", self.state());
        command
    }

    /// Returns the steps in the record: by host and key, how each ended.
    fn steps(&self) -> State {
        let mut record = Record::new(&self.state());
        record.steps().iter().map(|((host, key), status)| (plain(&self.stage, &format!("{host} {key}")), status.clone())).collect()
    }
}

impl rounds::Scene for Scene {
    type Part = Part;

    const PATIENCE: Duration = Duration::from_secs(240);

    const RESUMES: usize = 5;

    const WRONG_HERE: &[&str] = &["nobody knows how far"];

    fn begin(&self) -> Running {
        let homes = NODES.iter().map(|node| self.hosts().join(node).join("home"));
        let record = Record::new(&self.state()).with_homes(homes);
        if record.has_begun() {
            return Running::start(self.command(&["resume", "--output", "json"]), record);
        }
        let mut command = self.command(&["playbook", "-i", "inventory/demo", "--output", "json", "playbooks/remote-cluster.yml"]);
        command.args(&self.flags);
        Running::start(command, record)
    }

    fn hit(&mut self, part: Part, _: &Running) -> Option<&'static str> {
        match part {
            Part::Agent(node) => (kill_agents(&self.hosts().join(node)) > 0).then_some("agent"),
            Part::Agents => (kill_agents(&self.hosts()) > 0).then_some("agents"),
            Part::Sshd(node) => {
                self.servers.kill(node);
                Some("sshd")
            }
            Part::Held(node) => {
                self.links[node].hold(Duration::from_millis(700));
                Some("link held")
            }
            Part::Link(node) => {
                self.links[node].cut(Duration::from_millis(300));
                Some("link")
            }
        }
    }

    fn look(&mut self, _: &Ended) -> Vec<String> {
        Vec::new()
    }
}

impl Flagship {
    /// Runs the playbook once as it should be. `None` where there is no sshd, which is said aloud.
    pub fn new(seed: u64) -> Option<Self> {
        let scene = Scene::new()?;
        let began = Instant::now();
        let ended = rounds::Scene::begin(&scene).finish(<Scene as rounds::Scene>::PATIENCE);
        let takes = began.elapsed();
        assert_eq!(ended.code, Some(0), "{ended}");
        let (wanted, faults) = look(&scene.stage);
        assert!(faults.is_empty(), "{faults:#?}");
        assert_eq!(scene.stage.restarts(), NODES.len());
        let steps = scene.steps();
        assert_eq!(steps.len(), ended.steps(), "each step is in the record");
        let rounds = Rounds::new(seed, takes, steps.len());
        Some(Self { rounds, wanted, steps, restarts: 0 })
    }

    /// Kills so often in all, and tells the numbers.
    pub fn all(&mut self, kills: usize, a_round: usize) {
        let mut left = kills;
        while left > 0 {
            left -= self.round(a_round.min(left), plan).killed().min(left);
        }
        self.tell();
    }

    /// Kills the controller so often, all over the run: each time some more steps are done.
    pub fn here_and_there(&mut self, kills: usize) {
        let round = self.round(kills, |rounds| vec![(Target::Controller, Moment::Recorded(rounds.random.random_range(30..60)))]);
        self.tell();
        assert!(round.killed() > kills / 2, "it was killed {} times only", round.killed());
    }

    /// Kills the controller after every step: each run is killed as soon as it has told of a step, and the next as soon as
    /// there is one more in the record.
    pub fn each_step(&mut self) {
        let mut goes_on = true;
        let round = self.round(usize::MAX, |_| {
            goes_on = !goes_on;
            vec![(Target::Controller, if goes_on { Moment::Recorded(1) } else { Moment::Told(1) })]
        });
        self.tell();
        eprintln!(
            "it was killed after {} of {} steps, and {} times before what was told was in the record; no run added more than {} steps",
            round.boundaries.len(),
            self.steps.len(),
            round.unrecorded,
            round.most
        );
        assert!(round.most <= FEW, "a run recorded {} steps before it was killed", round.most);
        let widest = round.boundaries.iter().zip(round.boundaries.iter().skip(1)).map(|(one, next)| next - one).max();
        assert!(widest.is_some_and(|widest| widest <= FEW), "{:?}", round.boundaries);
    }

    /// Kills at each change, before the controller has heard what came of it: first the controller; then, in another run, the
    /// agents of all nodes, and next the controller after a step, so that the run gets on.
    pub fn each_change(&mut self) {
        let mut kills = 0;
        let mut noted = move || {
            kills += 1;
            Moment::Noted(1 + kills % 3)
        };
        let controllers = self.round(usize::MAX, |_| vec![(Target::Controller, noted())]).killed();
        let mut goes_on = true;
        let agents = self.round(usize::MAX, |_| {
            goes_on = !goes_on;
            // Agents that die between two tasks are replaced, and the run goes on.
            let agents = std::iter::repeat_with(|| (Target::Part(Part::Agents), noted()));
            if goes_on { vec![(Target::Controller, Moment::Recorded(1))] } else { agents.take(100).collect() }
        });
        let agents = agents.killed_elsewhere();
        self.tell();
        // The nodes of a site are often at the same task together.
        assert!(
            controllers >= 2 * NODES.len() && agents >= 2 * NODES.len(),
            "{controllers} kills of the controller, {agents} of the agents"
        );
    }

    /// Tells the numbers, and fails where anything was wrong.
    fn tell(&self) {
        self.rounds.tell(&format!("{} restarts of nodes", self.restarts));
    }

    /// Kills up to so often, and compares the end with that of the run that nothing disturbed.
    fn round(&mut self, kills: usize, plan: impl FnMut(&mut Rounds) -> Vec<Strike<Part>>) -> Round {
        let mut scene = Scene::new().expect("sshd");
        let mut round = self.rounds.round(&mut scene, kills, plan);
        self.judge(&scene, &mut round);
        self.rounds.close(&round);
        round
    }

    /// Compares hosts and clusters with those of the run that nothing disturbed.
    fn judge(&mut self, scene: &Scene, round: &mut Round) {
        let faults = &mut round.faults;
        // What a killed part of the run left at work has a while to end.
        let until = Instant::now() + Duration::from_secs(30);
        while has_agents(&scene.stage) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
        }
        if has_agents(&scene.stage) {
            faults.push("an agent is still at work".to_owned());
        }
        let (state, more) = look(&scene.stage);
        faults.extend(more);
        faults.extend(differences(&self.wanted, &state));
        let verified = scene.command(&["runs", "verify"]).output().expect("windlass starts");
        let told = String::from_utf8_lossy(&verified.stdout).into_owned() + &String::from_utf8_lossy(&verified.stderr);
        if !verified.status.success() || !told.contains("unbroken") {
            faults.push(format!("the record is not whole: {told}"));
        }
        if let Some(secret) = scene.stage.secrets().iter().find(|secret| round.story.iter().any(|part| part.contains(*secret))) {
            faults.push(format!("the secret {secret} was told"));
        }
        self.judge_steps(scene, round);
    }

    /// Whatever dies, no node is restarted twice: its host knows that it was. And a controller that dies is no reason to take
    /// another way.
    fn judge_steps(&mut self, scene: &Scene, round: &mut Round) {
        let restarted = scene.stage.restarted();
        self.restarts += scene.stage.restarts();
        if NODES.iter().any(|node| restarted.get(*node) != Some(&1)) {
            round.faults.push(format!("not each node was restarted once: {restarted:?}"));
        }
        if round.killed_elsewhere() == 0 {
            round.faults.extend(differences(&self.steps, &scene.steps()));
        }
    }
}

fn plan(rounds: &mut Rounds) -> Vec<Strike<Part>> {
    let node = NODES[rounds.random.random_range(0..NODES.len())];
    let target = match rounds.random.random_range(0..10) {
        0..=3 => Target::Controller,
        4..=5 => Target::Part(Part::Agent(node)),
        6..=7 => Target::Part(Part::Sshd(node)),
        8 => Target::Part(Part::Held(node)),
        _ => Target::Part(Part::Link(node)),
    };
    let moment = if rounds.random.random_bool(0.6) {
        Moment::Told(rounds.random.random_range(1..=rounds.steps / 6))
    } else {
        Moment::After(rounds.takes.mul_f64(rounds.random.random_range(0.05..0.5)))
    };
    rounds.with_later(target, moment)
}

/// Returns what hosts, clusters and controller have, and what is wrong with it whatever it should be like.
fn look(stage: &Stage) -> (State, Vec<String>) {
    let (mut state, mut faults) = (State::new(), Vec::new());
    let keys = clusters(stage, &mut state);
    for node in NODES {
        let host = stage.site.folder.join("hosts").join(node);
        for entry in walkdir::WalkDir::new(&host).into_iter().flatten() {
            let name = entry.path().strip_prefix(&host).expect("below").display().to_string();
            if entry.file_name().to_string_lossy().starts_with(".windlass-") {
                faults.push(format!("{node}: left behind: {name}"));
            }
            if name.starts_with("etc") {
                state.insert(format!("{node} {name}"), format!("{} {}", dress(entry.path()), meaning(stage, node, entry.path(), &keys)));
            }
        }
    }
    let project = stage.site.project();
    for entry in walkdir::WalkDir::new(&project).into_iter().flatten() {
        let name = entry.path().strip_prefix(&project).expect("below").display().to_string();
        if name.contains(".windlass-") {
            faults.push(format!("the controller: left behind: {name}"));
        }
        state.insert(format!("project {name}"), dress(entry.path()));
    }
    let connected = stage.connected();
    if connected.contains(&false) {
        faults.push(format!("not every node is connected: {connected:?}"));
    }
    (state, faults)
}

/// Kind, mode and owner.
fn dress(path: &Path) -> String {
    let stat = fs::symlink_metadata(path).expect("stat");
    format!("{:o} {}:{}", stat.mode(), stat.uid(), stat.gid())
}

/// Adds what the clusters know, and returns what a client shows of each key that can be used, with its name.
fn clusters(stage: &Stage, state: &mut State) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for cluster in ["berlin", "frankfurt"] {
        let text = fs::read(stage.site.folder.join(format!("state/{cluster}.json"))).expect("state");
        let known: Value = serde_json::from_slice(&text).expect("JSON");
        let active = known["keys"].as_array().expect("keys").iter().filter(|key| key["invalidation"].is_null());
        let mut names = Vec::new();
        for key in active {
            let text = |name: &str| key[name].as_str().expect("text").to_owned();
            names.push(text("name"));
            keys.insert(
                STANDARD.encode(format!("{}:{}", text("id"), text("secret"))),
                format!("a key of {cluster} called {}", text("name")),
            );
        }
        for name in ["persistent", "transient", "shutdowns", "degraded"] {
            state.insert(format!("{cluster} {name}"), plain(stage, &known[name].to_string()));
        }
        state.insert(format!("{cluster} keys"), format!("{names:?}"));
        let health = stage.get(&format!("es-{cluster}-1"), "/_cluster/health?wait_for_status=green&timeout=20s");
        state.insert(format!("{cluster} health"), format!("{} {}", health["status"], health["number_of_nodes"]));
    }
    keys
}

/// Returns a text without what differs from site to site.
fn plain(stage: &Stage, text: &str) -> String {
    let (_, address) = stage.site.nodes.first().expect("a node");
    let network = address.to_string().trim_end_matches("1.1").to_owned();
    let mut text = text.replace(&stage.site.folder.display().to_string(), "SITE").replace(&network, "NETWORK.");
    for (number, secret) in stage.secrets().iter().enumerate() {
        text = text.replace(secret, &format!("SECRET{number}"));
    }
    text
}

/// Returns what a file says, but for keys, serial numbers and salts: whose key, which names, signed by whom.
fn meaning(stage: &Stage, node: &str, path: &Path, keys: &BTreeMap<String, String>) -> String {
    let Ok(bytes) = fs::read(path) else { return String::new() };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("keystore") => {
            let mut told = Vec::new();
            for (name, entry) in stage.keystore(node).entries {
                let value = String::from_utf8_lossy(&entry.value).into_owned();
                let plain = plain(stage, &value);
                // What is neither a key in force nor a secret of the site is made anew each time.
                told.push(match keys.get(&value) {
                    Some(key) => format!("{name}={key}"),
                    None if plain != value => format!("{name}={plain}"),
                    None => format!("{name}: {} bytes", value.len()),
                });
            }
            told.join(", ")
        }
        Some("p12") => {
            let stores = stage.secrets().into_iter().filter_map(|password| pkcs12::Store::read(&bytes, &password).ok());
            let Some(store) = stores.into_iter().next() else { return "a store that the playbook has nothing to do with".to_owned() };
            let Some(own) = store.chain.first() else { return "no certificate".to_owned() };
            let signed = store.trusted.iter().any(|(_, authority)| own.is_signed_by(authority));
            let trusted: Vec<_> = store.trusted.iter().map(|(name, authority)| format!("{name}: {}", told(stage, authority))).collect();
            format!("{} {} fits {} signed {signed} trusts {trusted:?}", store.alias, told(stage, own), own.fits(&store.key))
        }
        Some("crt" | "pem") => match Certificate::from_pem(&bytes) {
            Ok(all) => all.iter().map(|one| told(stage, one)).collect::<Vec<_>>().join(", "),
            Err(error) => format!("no certificate: {error}"),
        },
        _ => plain(stage, &String::from_utf8_lossy(&bytes)),
    }
}

fn told(stage: &Stage, certificate: &Certificate) -> String {
    let days = (certificate.not_after - certificate.not_before) / 86_400;
    plain(stage, &format!("{} {:?} {:?} by {} for {days} days", certificate.subject, certificate.dns, certificate.ip, certificate.issuer))
}
