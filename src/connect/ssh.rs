//! SSH connections, by russh: one a host, its key judged by `known_hosts`, through jump hosts where asked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use russh::client::{self, Handle};
use russh::keys::PublicKeyOrCertificate;
use russh::keys::{HashAlg, PublicKey};
use russh::{ChannelMsg, Disconnect, Preferred};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, oneshot};

use super::auth::{self, Credentials};
use super::channel::Channel;
use super::known_hosts::{self, Known, Verdict};
use super::options;
use super::ssh_config::{self, Config, Resolved, Strictness};
use super::{Target, Unreachable};

/// Seconds to wait for a connection where nothing is said: as Ansible.
const CONNECT_TIMEOUT: u64 = 10;
/// Seconds between keepalives where nothing is said, and how many may go unanswered.
const ALIVE: (u64, usize) = (15, 3);
/// Seconds that a login may take: the host may ask a slow directory.
const LOGIN_TIMEOUT: u64 = 60;

/// What is around the user who runs windlass.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Home folder.
    pub home: Option<PathBuf>,
    /// Login name.
    pub user: String,
    /// `~/.ssh/config` where it is another file.
    pub config_file: Option<PathBuf>,
    /// `SSH_AUTH_SOCK`.
    pub agent_socket: Option<PathBuf>,
}

/// What all connections of a run share.
pub struct Ssh {
    settings: Settings,
    configs: Mutex<HashMap<Option<PathBuf>, Arc<Vec<Config>>>>,
    jumps: Mutex<HashMap<String, Arc<OnceCell<Connection>>>>,
    warnings: Arc<Mutex<Vec<String>>>,
}

/// A connection to a host, logged in. Clones are the same connection.
#[derive(Clone)]
pub struct Connection {
    handle: Arc<Handle<Judge>>,
    /// Connections that this one goes through, which have to live as long.
    _through: Option<Arc<Connection>>,
}

impl Ssh {
    /// Returns what connections are made with. Nothing is read yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, configs: Mutex::default(), jumps: Mutex::default(), warnings: Arc::default() }
    }

    /// Returns what a user should know, since the last call.
    pub fn take_warnings(&self) -> Vec<String> {
        self.warnings.lock().map(|mut warnings| std::mem::take(&mut *warnings)).unwrap_or_default()
    }

    fn warn(&self, text: String) {
        if let Ok(mut warnings) = self.warnings.lock()
            && !warnings.contains(&text)
        {
            warnings.push(text);
        }
    }

    /// Connects to a host and logs in.
    ///
    /// # Errors
    /// The host cannot be reached, its key is not trusted, or it does not let us in.
    pub async fn connect(&self, target: &Target) -> Result<Connection, Unreachable> {
        let mut settings = explicit(target);
        let mut config_file = None;
        for (origin, text) in &target.arguments {
            let options = options::parse(text, origin)?;
            settings.extend(options.settings);
            config_file = config_file.or(options.config_file);
        }
        let mut resolved = self.resolve(settings, &target.host, config_file.as_deref())?;
        if let Some(false) = target.host_key_checking {
            resolved.strictness = Some(Strictness::No);
        }
        let keys = self.key_files(&resolved, &target.host);
        let credentials = Credentials {
            key_files: target.key_file.iter().cloned().chain(keys).collect(),
            passphrase: target.key_passphrase.clone(),
            password: target.password.clone(),
            ..self.credentials(&resolved)
        };
        let host = resolved.host_name.clone().unwrap_or_else(|| target.host.clone());
        self.reach(&target.name, &host, &resolved, &credentials, config_file, 0).await
    }

    /// Puts together what holds for a host: what was said outright, then the configuration files.
    fn resolve(&self, mut settings: Vec<options::Setting>, host: &str, config_file: Option<&str>) -> Result<Resolved, Unreachable> {
        for config in self.configs(config_file)?.iter() {
            settings.extend(config.for_host(host));
        }
        let mut resolved = Resolved::of(&settings)?;
        resolved.host_name = resolved.host_name.map(|name| name.replace("%h", host).replace("%%", "%"));
        Ok(resolved)
    }

    fn configs(&self, named: Option<&str>) -> Result<Arc<Vec<Config>>, Unreachable> {
        let named = named.map(|name| self.path(name));
        if let Some(known) = self.configs.lock().ok().and_then(|configs| configs.get(&named).cloned()) {
            return Ok(known);
        }
        let files: Vec<PathBuf> = match &named {
            Some(name) if name == Path::new("none") || name == Path::new("/dev/null") => Vec::new(),
            Some(name) => vec![name.clone()],
            None => {
                let own = self.settings.config_file.clone().or_else(|| self.settings.home.as_ref().map(|home| home.join(".ssh/config")));
                own.into_iter().chain([PathBuf::from("/etc/ssh/ssh_config")]).collect()
            }
        };
        let mut configs = Vec::new();
        for file in files {
            match std::fs::read_to_string(&file) {
                Ok(text) => configs.push(Config::parse(&text, &file)),
                Err(error) if named.is_some() => {
                    return Err(Unreachable::new(format!("the SSH configuration `{}` cannot be read: {error}", file.display())));
                }
                Err(_) => {}
            }
        }
        // Debian's own file includes a folder that is empty as a rule: not worth a warning to everybody.
        for config in &configs {
            for warning in config.warnings.iter().filter(|warning| !warning.starts_with("/etc/ssh/")) {
                self.warn(warning.clone());
            }
        }
        let configs = Arc::new(configs);
        if let Ok(mut known) = self.configs.lock() {
            known.insert(named, configs.clone());
        }
        Ok(configs)
    }

    fn path(&self, text: &str) -> PathBuf {
        ssh_config::path(text, self.settings.home.as_deref(), "", "", &self.settings.user)
    }

    fn key_files(&self, resolved: &Resolved, host: &str) -> Vec<PathBuf> {
        let user = resolved.user.as_deref().unwrap_or(&self.settings.user);
        let home = self.settings.home.as_deref();
        resolved.identity_files.iter().map(|file| ssh_config::path(file, home, host, user, &self.settings.user)).collect()
    }

    fn credentials(&self, resolved: &Resolved) -> Credentials {
        let socket = match resolved.identity_agent.as_deref() {
            Some("none") => None,
            Some("SSH_AUTH_SOCK") | None => self.settings.agent_socket.clone(),
            Some(path) => Some(self.path(path)),
        };
        Credentials {
            user: resolved.user.clone().unwrap_or_else(|| self.settings.user.clone()),
            identities_only: resolved.identities_only,
            agent_socket: socket,
            home: self.settings.home.clone(),
            ..Credentials::default()
        }
    }

    /// Makes the connection: straight, or through the jump hosts.
    fn reach<'a>(
        &'a self,
        name: &'a str,
        host: &'a str,
        resolved: &'a Resolved,
        credentials: &'a Credentials,
        config_file: Option<String>,
        depth: usize,
    ) -> BoxFuture<'a, Result<Connection, Unreachable>> {
        Box::pin(async move {
            let port = resolved.port.unwrap_or(22);
            let seconds = resolved.connect_timeout.filter(|seconds| *seconds > 0).unwrap_or(CONNECT_TIMEOUT);
            let shown = if name == host { format!("`{name}`") } else { format!("`{name}` ({host})") };
            let silent = || {
                Unreachable::new(format!("{shown} did not answer on port {port} within {seconds} s"))
                    .hint("see whether the host is up and the address and port are right; `-T` waits longer")
            };
            let judge = self.judge(name, host, port, resolved);
            let verdict = judge.verdict.clone();
            let config = Arc::new(config(resolved, &judge.known));
            let jump = resolved.proxy_jump.clone();
            let handshake = async {
                match jump {
                    None => {
                        let stream = TcpStream::connect((host, port)).await.map_err(|error| no_connection(&shown, port, &error))?;
                        let _ = stream.set_nodelay(true);
                        let handle =
                            client::connect_stream(config, stream, judge).await.map_err(|error| refused(&shown, &verdict, &error))?;
                        Ok((handle, None))
                    }
                    Some(jumps) => {
                        let through = self.through(&jumps, config_file, depth).await?;
                        let channel = through.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0).await;
                        let channel =
                            channel.map_err(|error| Unreachable::new(format!("{shown} cannot be reached through `{jumps}`: {error}")))?;
                        let handle = client::connect_stream(config, channel.into_stream(), judge)
                            .await
                            .map_err(|error| refused(&shown, &verdict, &error))?;
                        Ok((handle, Some(Arc::new(through))))
                    }
                }
            };
            let (mut handle, through) = tokio::time::timeout(Duration::from_secs(seconds), handshake).await.map_err(|_| silent())??;
            let login = auth::login(&mut handle, credentials, name);
            let late = |_| Unreachable::new(format!("{shown} did not answer the login within {LOGIN_TIMEOUT} s"));
            tokio::time::timeout(Duration::from_secs(LOGIN_TIMEOUT), login).await.map_err(late)??;
            Ok(Connection { handle: Arc::new(handle), _through: through })
        })
    }

    /// Returns the connection to the last of the jump hosts, made once a run.
    async fn through(&self, jumps: &str, config_file: Option<String>, depth: usize) -> Result<Connection, Unreachable> {
        if depth > 8 {
            return Err(Unreachable::new(format!("the jump hosts `{jumps}` go in a circle")));
        }
        let (before, last) = match jumps.rsplit_once(',') {
            Some((before, last)) => (Some(before.to_owned()), last),
            None => (None, jumps),
        };
        let cell = self.jumps.lock().map(|mut cells| cells.entry(jumps.to_owned()).or_default().clone());
        let cell = cell.map_err(|_| Unreachable::new("the jump hosts are in disorder"))?;
        let connection = cell
            .get_or_try_init(|| async {
                let (user, host, port) = destination(last)?;
                let mut settings = Vec::new();
                settings.extend(user.map(|user| ("user".to_owned(), user)));
                settings.extend(port.map(|port| ("port".to_owned(), port.to_string())));
                settings.extend(before.map(|before| ("proxyjump".to_owned(), before)));
                let resolved = self.resolve(settings, &host, config_file.as_deref())?;
                let credentials = Credentials { key_files: self.key_files(&resolved, &host), ..self.credentials(&resolved) };
                let address = resolved.host_name.clone().unwrap_or_else(|| host.clone());
                self.reach(&host, &address, &resolved, &credentials, config_file, depth + 1).await
            })
            .await?;
        Ok(connection.clone())
    }

    fn judge(&self, name: &str, host: &str, port: u16, resolved: &Resolved) -> Judge {
        let defaults = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let user = resolved.user_known_hosts.clone().unwrap_or_else(|| defaults(&["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]));
        let global =
            resolved.global_known_hosts.clone().unwrap_or_else(|| defaults(&["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]));
        let files: Vec<PathBuf> = user.iter().chain(&global).filter(|file| *file != "none").map(|file| self.path(file)).collect();
        let looked_up = resolved.host_key_alias.clone().unwrap_or_else(|| host.to_owned());
        let looked_up_port = if resolved.host_key_alias.is_some() { 22 } else { port };
        let known = Known::of(&files, &looked_up, looked_up_port);
        for warning in &known.warnings {
            self.warn(warning.clone());
        }
        Judge {
            name: name.to_owned(),
            host: looked_up,
            port: looked_up_port,
            known,
            strictness: resolved.strictness.unwrap_or_default(),
            remember: user.first().filter(|file| *file != "none" && *file != "/dev/null").map(|file| self.path(file)),
            files,
            verdict: Arc::default(),
            warnings: self.warnings.clone(),
        }
    }
}

/// Returns the settings that the inventory and the flags gave outright.
fn explicit(target: &Target) -> Vec<options::Setting> {
    let mut settings = Vec::new();
    let mut add = |keyword: &str, value: Option<String>| settings.extend(value.map(|value| (keyword.to_owned(), value)));
    add("port", target.port.map(|port| port.to_string()));
    add("user", target.user.clone());
    add("connecttimeout", target.timeout.map(|seconds| seconds.to_string()));
    settings
}

/// Reads `[user@]host[:port]`, `[user@][address]:port` or `ssh://...`.
fn destination(text: &str) -> Result<(Option<String>, String, Option<u16>), Unreachable> {
    let text = text.trim().trim_start_matches("ssh://");
    let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user.to_owned()), rest));
    let wrong = || Unreachable::new(format!("`{text}` is no jump host")).hint("write user@host:port");
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(wrong());
    }
    let port = port.map(|port| port.parse().map_err(|_| wrong())).transpose()?;
    Ok((user, host.to_owned(), port))
}

fn config(resolved: &Resolved, known: &Known) -> client::Config {
    let mut preferred = Preferred::default();
    // AES-GCM costs half the processor time of ChaCha20 where the processor has AES.
    let mut ciphers = vec![russh::cipher::AES_256_GCM, russh::cipher::AES_128_GCM];
    ciphers.extend(
        preferred.cipher.iter().filter(|name| **name != russh::cipher::AES_256_GCM && **name != russh::cipher::AES_128_GCM).copied(),
    );
    preferred.cipher = Cow::Owned(ciphers);
    // A key of a type that is known must not lose against one of a type that is not.
    let wanted = known.algorithms();
    let is_wanted =
        |algorithm: &russh::keys::Algorithm| wanted.iter().any(|known| known == algorithm || (is_rsa(known) && is_rsa(algorithm)));
    let (mut first, rest): (Vec<_>, Vec<_>) = preferred.key.iter().cloned().partition(is_wanted);
    first.extend(rest);
    preferred.key = Cow::Owned(first);
    preferred.compression = Cow::Owned(vec![russh::compression::NONE]);
    let interval = resolved.alive_interval.unwrap_or(ALIVE.0);
    client::Config {
        preferred,
        nodelay: true,
        keepalive_interval: (interval > 0).then(|| Duration::from_secs(interval)),
        keepalive_max: resolved.alive_count_max.unwrap_or(ALIVE.1),
        window_size: 4 * 1024 * 1024,
        ..client::Config::default()
    }
}

fn is_rsa(algorithm: &russh::keys::Algorithm) -> bool {
    matches!(algorithm, russh::keys::Algorithm::Rsa { .. })
}

fn no_connection(shown: &str, port: u16, error: &std::io::Error) -> Unreachable {
    use std::io::ErrorKind;
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match error.kind() {
        ErrorKind::ConnectionRefused => Unreachable::new(format!("{shown} refused the connection on port {port}"))
            .hint("the host answers, but no SSH server listens there: see `ansible_port`"),
        _ if text.contains("lookup") || text.contains("resolve") || text.contains("not known") => {
            Unreachable::new(format!("the name of {shown} cannot be resolved: {text}"))
                .hint("set `ansible_host` to its address, or mend the name")
        }
        _ => Unreachable::new(format!("{shown} cannot be reached on port {port}: {text}"))
            .hint("see whether the host is up and the address is right"),
    }
}

fn refused(shown: &str, verdict: &Mutex<Option<Unreachable>>, error: &russh::Error) -> Unreachable {
    if let Some(judged) = verdict.lock().ok().and_then(|mut verdict| verdict.take()) {
        return judged;
    }
    match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            Unreachable::new(format!("{shown} and windlass have no {kind:?} algorithm in common"))
                .hint(format!("the host offers {}", theirs.join(", ")))
        }
        russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_) => {
            Unreachable::new(format!("{shown} ended the connection before the login: {error}"))
                .hint("the SSH server may be overloaded (MaxStartups) or refuse this address; its log tells")
        }
        other => Unreachable::new(format!("{shown} did not speak SSH as expected: {other}")),
    }
}

/// Decides whether the host is who it says it is.
struct Judge {
    name: String,
    host: String,
    port: u16,
    known: Known,
    strictness: Strictness,
    remember: Option<PathBuf>,
    files: Vec<PathBuf>,
    verdict: Arc<Mutex<Option<Unreachable>>>,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Judge {
    fn refuse(&self, why: Unreachable) -> bool {
        if let Ok(mut verdict) = self.verdict.lock() {
            *verdict = Some(why);
        }
        false
    }

    fn warn(&self, text: String) {
        if let Ok(mut warnings) = self.warnings.lock() {
            warnings.push(text);
        }
    }

    fn decide(&self, key: &PublicKey) -> bool {
        let Self { name, host, .. } = self;
        let shown = format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
        let verdict = self.known.judge(key);
        let remove = |place: &str| {
            let (file, line) = place.rsplit_once(':').unwrap_or((place, ""));
            format!("the host showed {shown}; if it was installed anew, remove line {line} of {file}, else somebody may be in between")
        };
        match (&verdict, self.strictness) {
            (Verdict::Known, _) => true,
            (Verdict::Revoked { place }, _) => self.refuse(
                Unreachable::new(format!("the host key of `{name}` was revoked: see {place}")).hint(format!("the host showed {shown}")),
            ),
            (_, Strictness::No) => {
                self.warn(format!("the host key of `{name}` ({shown}) was not checked: host key checking is off"));
                true
            }
            (Verdict::Changed { place }, _) => self.refuse(
                Unreachable::new(format!("the host key of `{name}` is not the one that is known: {place} disagrees")).hint(remove(place)),
            ),
            (Verdict::OtherType { place, known }, _) => self.refuse(
                Unreachable::new(format!(
                    "`{name}` is known by a key of type {known} ({place}), but showed one of type {}",
                    key.algorithm()
                ))
                .hint(remove(place)),
            ),
            (Verdict::Unknown, Strictness::AcceptNew) => {
                let Some(file) = &self.remember else { return true };
                match known_hosts::remember(file, host, self.port, key) {
                    Ok(()) => {
                        self.warn(format!("the host key of `{name}` ({shown}) was added to {}", file.display()));
                        true
                    }
                    Err(error) => {
                        self.refuse(Unreachable::new(format!("the new host key of `{name}` cannot be kept in {}: {error}", file.display())))
                    }
                }
            }
            (Verdict::Unknown, Strictness::Yes) => {
                let files: Vec<_> = self.files.iter().map(|file| file.display().to_string()).collect();
                let lookup = known_hosts::lookup_name(host, self.port);
                self.refuse(Unreachable::new(format!("the host key of `{name}` is not known ({shown})")).hint(format!(
                    "no line for `{lookup}` in {}; compare the fingerprint and add it (`ssh-keyscan`), or let new keys in with `-o StrictHostKeyChecking=accept-new`",
                    files.join(", ")
                )))
            }
        }
    }
}

impl client::Handler for Judge {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(self.decide(&shown.public_key()))
    }
}

impl Connection {
    /// Starts a command line in the login shell.
    ///
    /// # Errors
    /// The connection is gone, or the host does not start it.
    pub async fn exec(&self, command: &str, pty: bool) -> Result<Channel, Unreachable> {
        let lost = |error: russh::Error| Unreachable::new(format!("the connection was lost: {error}"));
        let channel = self.handle.channel_open_session().await.map_err(lost)?;
        if pty {
            channel.request_pty(false, "dumb", 200, 50, 0, 0, &[(russh::Pty::ECHO, 0)]).await.map_err(lost)?;
        }
        channel.exec(false, command).await.map_err(lost)?;
        let (mut read, write) = channel.split();
        let stdin: std::pin::Pin<Box<dyn AsyncWrite + Send>> = Box::pin(write.make_writer());
        let (mut to_out, stdout) = tokio::io::duplex(256 * 1024);
        let (mut to_err, stderr) = tokio::io::duplex(64 * 1024);
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let mut status = None;
            while let Some(message) = read.wait().await {
                let kept = match message {
                    ChannelMsg::Data { data } => to_out.write_all(&data).await,
                    ChannelMsg::ExtendedData { data, .. } => to_err.write_all(&data).await,
                    ChannelMsg::ExitStatus { exit_status } => {
                        status = i32::try_from(exit_status).ok();
                        Ok(())
                    }
                    ChannelMsg::ExitSignal { .. } => {
                        status = Some(137);
                        Ok(())
                    }
                    ChannelMsg::Eof => {
                        let _ = to_out.shutdown().await;
                        Ok(())
                    }
                    ChannelMsg::Close => break,
                    _ => Ok(()),
                };
                if kept.is_err() {
                    break;
                }
            }
            let _ = write.close().await;
            let _ = tell.send(status);
        });
        let exit = Box::pin(async move { told.await.ok().flatten() });
        let stdout: std::pin::Pin<Box<dyn AsyncRead + Send>> = Box::pin(stdout);
        Ok(Channel { stdin, stdout, stderr: Box::pin(stderr), exit })
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Ends the connection.
    pub async fn close(&self) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }
}

#[cfg(test)]
mod tests {
    use super::destination;

    #[test]
    fn jump_hosts_are_read_in_all_their_forms() {
        assert_eq!(destination("ops@h:2222").expect("read"), (Some("ops".into()), "h".into(), Some(2222)));
        assert_eq!(destination("[::1]:22").expect("read"), (None, "::1".into(), Some(22)));
        assert_eq!(destination("ssh://h").expect("read"), (None, "h".into(), None));
        assert!(destination("h:x").is_err());
    }
}
