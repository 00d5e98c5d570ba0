//! The flagship playbook over OpenSSH on three and three hosts: its controller, agents, sshd or links are killed, and it is
//! resumed until it is done. In the end hosts and clusters are, but for what is made anew each time, as after a run that nothing disturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use windlass::formats::certificates::Certificate;
use windlass::formats::pkcs12;

use crate::demo::{OpenSsh, Stage, WINDLASS, has_agents, kill_agents};
use crate::relay::Relay;
use crate::running::{Ended, Moment, Running};

/// Whoever waits longer than this for a run to end gives it up.
const PATIENCE: Duration = Duration::from_secs(240);

/// How often a run may be resumed without any kill before it has to be done.
const RESUMES: usize = 5;

/// The nodes.
const NODES: &[&str] = &["es-berlin-1", "es-berlin-2", "es-berlin-3", "es-frankfurt-1", "es-frankfurt-2", "es-frankfurt-3"];

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum Target {
    Controller,
    Agent(&'static str),
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
    random: StdRng,
    wanted: State,
    takes: Duration,
    steps: usize,
    kills: BTreeMap<&'static str, usize>,
    rounds: usize,
    runs: usize,
    restarts: usize,
    faults: Vec<String>,
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

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(WINDLASS);
        command.args(words).current_dir(self.stage.site.project()).stdin(Stdio::null());
        command.env_remove("SSH_AUTH_SOCK").env("WINDLASS_STATE", self.stage.site.folder.join("journals"));
        command
    }

    /// Begins the run, or goes on with it.
    fn begin(&self) -> Running {
        let begun = fs::read_dir(self.stage.site.folder.join("journals/runs")).into_iter().flatten().flatten();
        let has_begun = begun.into_iter().any(|run| fs::read_to_string(run.path().join("journal")).is_ok_and(|text| text.contains('\n')));
        if has_begun {
            return Running::start(self.command(&["resume", "--output", "json"]));
        }
        let mut command = self.command(&["playbook", "-i", "inventory/demo", "--output", "json", "playbooks/remote-cluster.yml"]);
        command.args(&self.flags);
        Running::start(command)
    }
}

impl Flagship {
    /// Runs the playbook once as it should be. `None` where there is no sshd, which is said aloud.
    pub fn new(seed: u64) -> Option<Self> {
        let scene = Scene::new()?;
        let began = Instant::now();
        let ended = scene.begin().finish(PATIENCE);
        let takes = began.elapsed();
        assert_eq!(ended.code, Some(0), "{ended}");
        let (wanted, faults) = look(&scene.stage);
        assert!(faults.is_empty(), "{faults:#?}");
        assert_eq!(scene.stage.restarts(), NODES.len());
        let random = StdRng::seed_from_u64(seed);
        let (kills, steps, faults) = (BTreeMap::new(), ended.steps(), Vec::new());
        Some(Self { random, wanted, takes, steps, kills, rounds: 0, runs: 0, restarts: 0, faults })
    }

    /// Kills so often in all, and tells the numbers.
    pub fn all(&mut self, kills: usize, a_round: usize) {
        let began = Instant::now();
        let mut left = kills;
        while left > 0 {
            left -= self.round(a_round.min(left)).min(left);
        }
        self.tell(began);
    }

    /// Tells the numbers, and fails where anything was wrong.
    fn tell(&self, began: Instant) {
        let kills: usize = self.kills.values().sum();
        eprintln!(
            "flagship: {kills} kills in {} rounds and {} runs, {:.0} s: {:?}; nodes restarted {} times in {} rounds (once each is {}); undisturbed, the run has {} steps and takes {:.1} s",
            self.rounds,
            self.runs,
            began.elapsed().as_secs_f64(),
            self.kills,
            self.restarts,
            self.rounds,
            self.rounds * NODES.len(),
            self.steps,
            self.takes.as_secs_f64()
        );
        let faults = &self.faults;
        assert!(faults.is_empty(), "{} of {} rounds ended wrong\n\n{}", faults.len(), self.rounds, faults.join("\n\n"));
    }

    fn round(&mut self, kills: usize) -> usize {
        let mut scene = Scene::new().expect("sshd");
        self.rounds += 1;
        let (mut killed, mut quiet, mut last) = (0, 0, None);
        let (mut story, mut faults) = (vec![format!("round {}", self.rounds)], Vec::new());
        while last != Some(0) {
            let running = scene.begin();
            self.runs += 1;
            let ended = if killed < kills {
                let (target, moment) = self.plan();
                let (struck, ended) = self.strike(&mut scene, running, target, moment);
                killed += struck;
                quiet += usize::from(struck == 0);
                story.push(format!("{target:?} {moment:?} killed {struck}: {ended}"));
                ended
            } else {
                quiet += 1;
                let ended = running.finish(PATIENCE);
                story.push(format!("resumed: {ended}"));
                ended
            };
            for wrong in ["panicked", "windlass itself broke", "LATE:", "which is not windlass", "is held by", "nobody knows how far"] {
                if ended.errors.contains(wrong) || ended.events.iter().any(|event| event.to_string().contains(wrong)) {
                    faults.push(format!("a run says `{wrong}`"));
                }
            }
            if quiet > RESUMES {
                faults.push(format!("it is not done after {RESUMES} resumes"));
                break;
            }
            last = ended.code;
        }
        self.judge(&scene, faults, &story);
        killed
    }

    fn plan(&mut self) -> (Target, Moment) {
        let node = NODES[self.random.random_range(0..NODES.len())];
        let target = match self.random.random_range(0..10) {
            0..=3 => Target::Controller,
            4..=5 => Target::Agent(node),
            6..=7 => Target::Sshd(node),
            8 => Target::Held(node),
            _ => Target::Link(node),
        };
        let moment = if self.random.random_bool(0.6) {
            Moment::Boundary(self.random.random_range(1..=self.steps / 6))
        } else {
            Moment::After(self.takes.mul_f64(self.random.random_range(0.05..0.5)))
        };
        (target, moment)
    }

    /// Waits for the moment, kills, and waits for the end; where the controller lives on, it is often killed a little later.
    fn strike(&mut self, scene: &mut Scene, mut running: Running, target: Target, moment: Moment) -> (usize, Ended) {
        if !running.wait_for(moment, PATIENCE) {
            return (0, running.finish(PATIENCE));
        }
        let name = match target {
            Target::Controller => {
                running.kill();
                "controller"
            }
            Target::Agent(node) => match kill_agents(&scene.stage, node) {
                0 => return (0, running.finish(PATIENCE)),
                _ => "agent",
            },
            Target::Sshd(node) => {
                scene.servers.kill(node);
                "sshd"
            }
            Target::Held(node) => {
                scene.links[node].hold(Duration::from_millis(700));
                "link held"
            }
            Target::Link(node) => {
                scene.links[node].cut(Duration::from_millis(300));
                "link"
            }
        };
        *self.kills.entry(name).or_default() += 1;
        let later = Moment::After(self.takes.mul_f64(self.random.random_range(0.01..0.3)));
        if !matches!(target, Target::Controller) && self.random.random_bool(0.6) && running.wait_for(later, PATIENCE) {
            running.kill();
            *self.kills.entry("controller").or_default() += 1;
            return (2, running.finish(PATIENCE));
        }
        (1, running.finish(PATIENCE))
    }

    /// Compares hosts and clusters with those of the run that nothing disturbed.
    fn judge(&mut self, scene: &Scene, mut faults: Vec<String>, story: &[String]) {
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
        let names: BTreeSet<_> = self.wanted.keys().chain(state.keys()).collect();
        for name in names.into_iter().filter(|name| self.wanted.get(*name) != state.get(*name)) {
            faults.push(format!("{name}: wanted {:?}, found {:?}", self.wanted.get(name), state.get(name)));
        }
        let restarts = scene.stage.restarts();
        self.restarts += restarts;
        if restarts < NODES.len() {
            faults.push(format!("only {restarts} restarts of {} nodes", NODES.len()));
        }
        let verified = scene.command(&["runs", "verify"]).output().expect("windlass starts");
        let told = String::from_utf8_lossy(&verified.stdout).into_owned() + &String::from_utf8_lossy(&verified.stderr);
        if !verified.status.success() || !told.contains("unbroken") {
            faults.push(format!("the record is not whole: {told}"));
        }
        if let Some(secret) = scene.stage.secrets().iter().find(|secret| story.iter().any(|part| part.contains(*secret))) {
            faults.push(format!("the secret {secret} was told"));
        }
        if !faults.is_empty() {
            self.faults.push(format!("{}\n\n{}", faults.join("\n"), story.join("\n")));
        }
    }
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
