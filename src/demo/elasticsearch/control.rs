//! How `systemctl` and the other nodes talk to a node's process: a socket a node, one line of JSON each way.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::node::Node;

/// What a node's process is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Order {
    /// Start the node.
    Start,
    /// Stop it.
    Stop,
    /// Stop it and start it.
    Restart,
    /// Say whether it runs.
    Status,
    /// Load the keystore anew.
    Reload {
        /// The keystore's password.
        password: Option<String>,
    },
}

/// What it answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Whether the node runs now.
    pub running: bool,
    /// Type and reason, where it went wrong.
    pub error: Option<(String, String)>,
    /// After a reload: names of the entries.
    pub names: Vec<String>,
    /// After a reload: the file.
    pub path: PathBuf,
    /// After a reload: SHA-256 of the file.
    pub digest: String,
    /// After a reload: seconds since 1970.
    pub modified: u64,
}

fn socket(state: &Path, node: &str) -> PathBuf {
    state.join(format!("{node}.sock"))
}

/// Listens for orders to a node.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(node: Arc<Node>) -> io::Result<impl Future<Output = ()>> {
    let path = socket(&node.state, &node.name);
    if path.exists() {
        std::fs::remove_file(&path)?;
    }
    let listener = UnixListener::bind(path)?;
    Ok(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let node = node.clone();
            tokio::spawn(async move {
                // Who asks and goes away before the answer misses nothing but the answer.
                let _ = answer(&node, stream).await;
            });
        }
    })
}

async fn answer(node: &Arc<Node>, stream: UnixStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let mut report = obey(node, serde_json::from_str(&line)?).await;
    report.running = node.is_running();
    let mut text = serde_json::to_string(&report)?;
    text.push('\n');
    stream.write_all(text.as_bytes()).await
}

async fn obey(node: &Arc<Node>, order: Order) -> Report {
    let failed = |why: String| Report { error: Some(("start".to_owned(), why)), ..Report::default() };
    match order {
        Order::Status => Report::default(),
        Order::Stop => {
            node.stop().await;
            Report::default()
        }
        Order::Start => node.start().await.map_or_else(failed, |()| Report::default()),
        Order::Restart => {
            node.stop().await;
            node.start().await.map_or_else(failed, |()| Report::default())
        }
        Order::Reload { password } => match node.reload(password.as_deref()) {
            Ok(secrets) => Report {
                names: secrets.entries.keys().cloned().collect(),
                path: node.place.conf.join("elasticsearch.keystore"),
                digest: secrets.digest,
                modified: secrets.modified,
                ..Report::default()
            },
            Err(error) => Report { error: Some(error), ..Report::default() },
        },
    }
}

/// Sends an order to a node's process, wherever it runs on this machine.
///
/// # Errors
/// When the process does not answer.
pub async fn ask(state: &Path, node: &str, order: &Order) -> io::Result<Report> {
    let mut stream = BufReader::new(UnixStream::connect(socket(state, node)).await?);
    let mut text = serde_json::to_string(order)?;
    text.push('\n');
    stream.write_all(text.as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

/// What `systemctl` prints, and its return code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The return code.
    pub code: u8,
}

impl Printed {
    fn out(text: impl Into<String>, code: u8) -> Self {
        Self { stdout: text.into(), stderr: String::new(), code }
    }

    fn err(text: impl Into<String>, code: u8) -> Self {
        Self { stdout: String::new(), stderr: text.into(), code }
    }
}

const UNIT: &str = "elasticsearch.service";

/// Does what `systemctl` does, for the one unit `elasticsearch.service` of a node.
pub async fn systemctl(state: &Path, node: &str, arguments: &[String]) -> Printed {
    let mut wanted: Vec<String> = Vec::new();
    let mut value_only = false;
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-p" | "--property" => wanted.extend(rest.next().into_iter().flat_map(|list| list.split(',').map(str::to_owned))),
            "--value" => value_only = true,
            text if text.starts_with("--property=") => wanted.extend(text["--property=".len()..].split(',').map(str::to_owned)),
            text if text.starts_with('-') => {}
            text => words.push(text.to_owned()),
        }
    }
    let verb = words.first().map_or("list-units", String::as_str);
    let unit = words.get(1).map(|name| if name.contains('.') { name.clone() } else { format!("{name}.service") });
    let folder = state.join(format!("{node}.enabled"));
    match (verb, unit.as_deref()) {
        ("daemon-reload" | "daemon-reexec" | "reset-failed", _) => Printed::default(),
        ("is-system-running", _) => Printed::out("running\n", 0),
        ("list-units" | "list-unit-files", _) => Printed::out(format!("{UNIT} loaded active running Elasticsearch\n"), 0),
        ("show", None) => Printed::out("Version=252\n", 0),
        ("show", Some(UNIT)) => Printed::out(show(state, node, folder.exists(), &wanted, value_only).await, 0),
        ("show", Some(other)) => Printed::out(select(&missing(other), &wanted, value_only), 0),
        (_, Some(other)) if other != UNIT => Printed::err(format!("Failed to {verb} {other}: Unit {other} not found.\n"), 5),
        ("is-active", _) => {
            if runs(state, node).await {
                Printed::out("active\n", 0)
            } else {
                Printed::out("inactive\n", 3)
            }
        }
        ("is-enabled", _) => {
            if folder.exists() {
                Printed::out("enabled\n", 0)
            } else {
                Printed::out("disabled\n", 1)
            }
        }
        ("status", _) => {
            let word = if runs(state, node).await { "active (running)" } else { "inactive (dead)" };
            Printed::out(format!("{UNIT} - Elasticsearch\n     Active: {word}\n"), if word.starts_with('a') { 0 } else { 3 })
        }
        ("enable", _) => std::fs::write(folder, "").map_or_else(|error| Printed::err(error.to_string(), 1), |()| Printed::default()),
        ("disable", _) => {
            let _ = std::fs::remove_file(folder);
            Printed::default()
        }
        ("reload", _) => Printed::err(format!("Failed to reload {UNIT}: Job type reload is not applicable for unit {UNIT}.\n"), 1),
        ("start", _) => order(state, node, &Order::Start).await,
        ("stop", _) => order(state, node, &Order::Stop).await,
        ("restart" | "try-restart" | "reload-or-restart", _) => order(state, node, &Order::Restart).await,
        (other, _) => Printed::err(format!("Unknown command verb {other}.\n"), 1),
    }
}

async fn runs(state: &Path, node: &str) -> bool {
    ask(state, node, &Order::Status).await.is_ok_and(|report| report.running)
}

async fn order(state: &Path, node: &str, order: &Order) -> Printed {
    match ask(state, node, order).await {
        Ok(Report { error: None, .. }) => Printed::default(),
        Ok(_) => Printed::err(
            format!(
                "Job for {UNIT} failed because the control process exited with error code.\nSee \"systemctl status {UNIT}\" and \"journalctl -xeu {UNIT}\" for details.\n"
            ),
            1,
        ),
        Err(error) => Printed::err(format!("Failed to connect to bus: {error}\n"), 1),
    }
}

fn missing(unit: &str) -> Vec<(&'static str, String)> {
    vec![
        ("Id", unit.to_owned()),
        ("LoadState", "not-found".to_owned()),
        ("ActiveState", "inactive".to_owned()),
        ("SubState", "dead".to_owned()),
        ("UnitFileState", String::new()),
    ]
}

async fn show(state: &Path, node: &str, enabled: bool, wanted: &[String], value_only: bool) -> String {
    let running = runs(state, node).await;
    let (active, sub) = if running { ("active", "running") } else { ("inactive", "dead") };
    let properties = [
        ("Type", "notify"),
        ("Id", UNIT),
        ("Names", UNIT),
        ("Description", "Elasticsearch"),
        ("LoadState", "loaded"),
        ("ActiveState", active),
        ("SubState", sub),
        ("FragmentPath", "/lib/systemd/system/elasticsearch.service"),
        ("UnitFileState", if enabled { "enabled" } else { "disabled" }),
        ("UnitFilePreset", "enabled"),
        ("NeedDaemonReload", "no"),
        ("CanReload", "no"),
    ];
    let properties: Vec<_> = properties.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    select(&properties, wanted, value_only)
}

fn select(properties: &[(&'static str, String)], wanted: &[String], value_only: bool) -> String {
    let chosen = properties.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| word == name));
    chosen.map(|(name, value)| if value_only { format!("{value}\n") } else { format!("{name}={value}\n") }).collect()
}
