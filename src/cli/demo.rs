//! `windlass demo`: the flagship playbook against two simulated clusters, over real SSH: check, run, and a second run that changes nothing.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Args;
use tokio::io::AsyncBufReadExt as _;

use crate::demo::elasticsearch::{self, Simulator, site::Description};
use crate::demo::site::Site;

/// Flags of `windlass demo`.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Keep everything running afterwards, until Enter is pressed, and keep the folder
    #[arg(long)]
    keep: bool,
}

/// Flags of the hidden `windlass demo-systemctl`: what the hosts of the demonstration have for `systemctl`.
#[derive(Clone, Debug, Args)]
pub struct Systemctl {
    /// The folder that the nodes share
    #[arg(long)]
    state: PathBuf,
    /// The node of this host
    #[arg(long)]
    node: String,
    /// What `systemctl` was given
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Flags of the hidden `windlass demo-nodes`: runs simulated nodes on their own, for the tests.
#[derive(Clone, Debug, Args)]
pub struct Nodes {
    /// The description of the site, JSON
    #[arg(long)]
    site: PathBuf,
    /// Run these nodes only
    #[arg(long)]
    only: Vec<String>,
}

const PLAYBOOK: &str = "playbooks/remote-cluster.yml";
const INVENTORY: &str = "inventory/demo";

/// Does what `systemctl` does, for a node of the demonstration.
pub fn systemctl(arguments: &Systemctl) -> u8 {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return super::ERROR };
    let printed = runtime.block_on(elasticsearch::systemctl(&arguments.state, &arguments.node, &arguments.arguments));
    let _ = std::io::stdout().write_all(printed.stdout.as_bytes());
    let _ = std::io::stderr().write_all(printed.stderr.as_bytes());
    printed.code
}

/// Runs simulated nodes until the process is ended.
#[allow(clippy::disallowed_methods, reason = "a file of the user's own machine")]
pub fn nodes(arguments: &Nodes) -> u8 {
    let run = || -> Result<(), String> {
        let text = std::fs::read(&arguments.site).map_err(|error| format!("cannot read `{}`: {error}", arguments.site.display()))?;
        let site: Description =
            serde_json::from_slice(&text).map_err(|error| format!("`{}` does not fit: {error}", arguments.site.display()))?;
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let simulator =
                Simulator::prepare(&site, &arguments.only).map_err(|error| format!("cannot use `{}`: {error}", site.state.display()))?;
            simulator.start().await?;
            super::say("ready");
            simulator.serve().await;
            Ok(())
        })
    };
    match run() {
        Ok(()) => super::OK,
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> u8 {
    let _ = writeln!(std::io::stderr(), "error: {why}");
    super::ERROR
}

/// Shows the demonstration; the return code says whether everything was as it has to be.
pub fn run(arguments: &Arguments) -> u8 {
    match show(arguments) {
        Ok(wrong) if wrong.is_empty() => super::OK,
        Ok(wrong) => {
            for sentence in wrong {
                fail(&sentence);
            }
            super::ERROR
        }
        Err(why) => fail(&why),
    }
}

fn show(arguments: &Arguments) -> Result<Vec<String>, String> {
    let begin = Instant::now();
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program's own file: {error}"))?;
    let folder = tempfile::Builder::new().prefix("windlass-demo-").tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    let path = folder.path().canonicalize().map_err(|error| format!("cannot find the folder that was just made: {error}"))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("cannot start: {error}"))?;
    heading("The site: six hosts with SSH, two Elasticsearch clusters of three nodes");
    let stop = interrupts(&runtime);
    let site = runtime.block_on(Site::start(&path, &program))?;
    for (name, address) in &site.nodes {
        super::say(&format!("  {name:<16} ssh {address}:2222   https://{address}:9200"));
    }
    let project = site.project();

    heading("1. A check: what would change?");
    let check = playbook(&program, &project, &stop, &["--check"])?;
    heading("2. The run");
    let run = playbook(&program, &project, &stop, &[])?;
    heading("3. The run again: nothing is left to do");
    let again = playbook(&program, &project, &stop, &[])?;

    heading("The proof");
    let mut wrong = judge(&site, &check, &run, &again);
    wrong.extend(prove(&site));
    let seconds = begin.elapsed().as_secs();
    if wrong.is_empty() {
        super::say(&format!("\nAll as it has to be, in {seconds} s."));
    }
    if arguments.keep {
        let kept = folder.keep();
        super::say(&format!("\nEverything keeps running until you press Enter. The folder stays: {}", kept.display()));
        super::say(&format!("  cd {}", project.display()));
        super::say(&format!("  {} playbook -i {INVENTORY} playbooks/rotate-api-key.yml", program.display()));
        super::say("Break something, and run the playbook again: it mends what is not as asked");
        let mut line = String::new();
        let mut input = tokio::io::BufReader::new(tokio::io::stdin());
        let enter = async { input.read_line(&mut line).await };
        // Either ends the demonstration; what the other side says does not matter.
        runtime.block_on(async {
            tokio::select! { _ = enter => {}, _ = tokio::signal::ctrl_c() => {} }
        });
    }
    runtime.shutdown_background();
    Ok(wrong)
}

/// Returns what tells that the user pressed Ctrl-C: the folder is then tidied up like at any other end.
fn interrupts(runtime: &tokio::runtime::Runtime) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    runtime.spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            told.store(true, Ordering::Relaxed);
        }
    });
    stop
}

fn heading(text: &str) {
    let line = "─".repeat(text.chars().count());
    if std::io::stdout().is_terminal() && super::colour(true) {
        super::say(&format!("\n\x1b[1m{text}\x1b[0m\n{line}"));
    } else {
        super::say(&format!("\n{text}\n{line}"));
    }
}

/// What a run of the playbook came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    code: i32,
    /// Counts of each host: name, then `ok=…` and so on.
    hosts: BTreeMap<String, BTreeMap<String, u32>>,
}

impl Outcome {
    fn changed(&self) -> BTreeMap<&str, u32> {
        self.hosts.iter().map(|(host, counts)| (host.as_str(), counts.get("changed").copied().unwrap_or_default())).collect()
    }
}

/// Runs the playbook as a user would, shows its output, and reads the counts at the end.
#[allow(clippy::disallowed_methods, reason = "the command is shown to the user and is this very program")]
fn playbook(program: &Path, project: &Path, stop: &AtomicBool, flags: &[&str]) -> Result<Outcome, String> {
    let arguments = [&["playbook", "-i", INVENTORY, PLAYBOOK], flags].concat();
    super::say(&format!("$ windlass {}\n", arguments.join(" ")));
    let mut command = Command::new(program);
    command.args(&arguments).current_dir(project).stdin(Stdio::null()).stdout(Stdio::piped());
    // The user's own settings and keys have no part in this.
    command
        .env_remove("SSH_AUTH_SOCK")
        .env_remove("ANSIBLE_CONFIG")
        .env_remove("ANSIBLE_INVENTORY")
        .env_remove("ANSIBLE_VAULT_PASSWORD_FILE");
    if super::colour(std::io::stdout().is_terminal()) {
        command.env("CLICOLOR_FORCE", "1");
    }
    let mut child = command.spawn().map_err(|error| format!("cannot start `{}`: {error}", program.display()))?;
    let mut outcome = Outcome::default();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line.map_err(|error| format!("cannot read what the run prints: {error}"))?;
            if let Some((hosts, counts)) = recap(&line) {
                outcome.hosts.extend(hosts.into_iter().map(|host| (host, counts.clone())));
            }
            super::say(&line);
        }
    }
    outcome.code = child.wait().map_err(|error| format!("the run got lost: {error}"))?.code().unwrap_or(-1);
    if stop.load(Ordering::Relaxed) {
        return Err("interrupted".to_owned());
    }
    Ok(outcome)
}

/// Returns hosts and counts of a line of the recap.
fn recap(line: &str) -> Option<(Vec<String>, BTreeMap<String, u32>)> {
    let plain = without_colours(line);
    let start = plain.find("ok=")?;
    let counts: BTreeMap<_, _> = plain
        .get(start..)?
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
        .collect();
    let hosts = plain.get(..start)?.trim().trim_end_matches(':').split_whitespace().flat_map(unfolded).collect();
    (counts.contains_key("changed") && counts.contains_key("unreachable")).then_some((hosts, counts))
}

/// Returns the names that `web[1:3]` stands for. The demonstration's numbers have no leading zeros.
fn unfolded(name: &str) -> Vec<String> {
    let parts = || {
        let (head, rest) = name.split_once('[')?;
        let (range, tail) = rest.split_once(']')?;
        let (first, last) = range.split_once(':')?;
        let numbers = first.parse::<u8>().ok()?..=last.parse().ok()?;
        Some(numbers.map(|number| format!("{head}{number}{tail}")).collect())
    };
    parts().unwrap_or_else(|| vec![name.to_owned()])
}

fn without_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut parts = line.split('\x1b');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

/// Returns what is not as it has to be about the three runs, and says what is.
fn judge(site: &Site, check: &Outcome, run: &Outcome, again: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, outcome) in [("check", check), ("run", run), ("second run", again)] {
        if outcome.code != 0 {
            wrong.push(format!("the {name} ended with code {}", outcome.code));
        }
        if outcome.hosts.is_empty() {
            wrong.push(format!("the {name} told no counts"));
        }
    }
    let sum = |outcome: &Outcome| outcome.changed().values().sum::<u32>();
    if sum(run) == 0 {
        wrong.push("the run changed nothing".to_owned());
    }
    if check.changed() == run.changed() {
        super::say("  the check said exactly what the run then changed on each host");
    } else {
        wrong.push(format!("the check said {:?}, but the run changed {:?}", check.changed(), run.changed()));
    }
    if sum(again) == 0 {
        super::say("  the second run changed nothing, on every host");
    } else {
        wrong.push(format!("the second run changed something: {:?}", again.changed()));
    }
    for cluster in ["berlin", "frankfurt"] {
        let history = site.history(cluster).unwrap_or_default();
        let (most, restarts) = away(&history);
        super::say(&format!("  {cluster}: {restarts} restarts, never more than {most} of its nodes away at once"));
        if most > 1 {
            wrong.push(format!("{most} nodes of {cluster} were away at once"));
        }
    }
    wrong
}

/// Returns how many nodes were away at most at once, and how many restarts there were.
fn away(history: &[String]) -> (usize, usize) {
    let (mut now, mut most, mut restarts) = (0_usize, 0, 0);
    for line in history {
        if line.ends_with(" left") {
            now += 1;
            restarts += 1;
        } else if line.ends_with(" joined") {
            now = now.saturating_sub(1);
        }
        most = most.max(now);
    }
    (most, restarts)
}

/// Asks every node of the client site itself how it is connected.
fn prove(site: &Site) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, address) in site.nodes.iter().filter(|(name, _)| name.contains("frankfurt")) {
        match remote_info(site, &format!("https://{address}:9200/_remote/info")) {
            Ok(info) if info["berlin"]["connected"] == true => {
                let (mode, nodes) = (info["berlin"]["mode"].as_str().unwrap_or_default(), &info["berlin"]["num_nodes_connected"]);
                super::say(&format!("  {name}: GET /_remote/info says berlin is connected ({mode}, {nodes} nodes)"));
            }
            Ok(info) => wrong.push(format!("{name} is not connected: {info}")),
            Err(why) => wrong.push(format!("{name} does not answer: {why}")),
        }
    }
    wrong
}

#[allow(clippy::disallowed_methods, reason = "a file of the demonstration")]
fn remote_info(site: &Site, url: &str) -> Result<serde_json::Value, String> {
    let told = |error: reqwest::Error| error.to_string();
    let authority = site.http_authority().ok_or("there are no nodes")?;
    let pem = std::fs::read(authority).map_err(|error| error.to_string())?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(&pem).map_err(told)?;
    let client = reqwest::blocking::Client::builder().tls_certs_only([authority]).no_proxy().build().map_err(told)?;
    client.get(url).basic_auth("elastic", Some(&site.password)).send().and_then(reqwest::blocking::Response::json).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recap_is_read_with_and_without_colours() {
        let (hosts, counts) =
            recap("\x1b[33mes-1\x1b[0m : ok=3 changed=1 unreachable=0 failed=0 skipped=0 rescued=0 ignored=0").expect("a recap");
        assert_eq!((hosts, counts["changed"]), (vec!["es-1".to_owned()], 1));
        let (hosts, _) = recap("es-1 web-[1:2]   : ok=3 changed=1 unreachable=0 failed=0").expect("a recap");
        assert_eq!(hosts, ["es-1", "web-1", "web-2"]);
        assert_eq!(recap("TASK [x]"), None);
    }

    #[test]
    fn nodes_away_at_once_are_counted() {
        let history: Vec<String> =
            ["a joined", "b joined", "a left", "a joined", "a left", "b left", "b joined"].iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(away(&history), (2, 3));
    }
}
