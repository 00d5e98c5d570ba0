//! One SSH connection: reaching the host, checking its key, logging in, starting programs.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use russh::client::{self, Config, Handle, Msg};
use russh::keys::Algorithm;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, Preferred, cipher, compression};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::guard::Guard;
use super::identity::Identities;
use super::known_hosts::KnownHosts;
use super::process::{Complaints, Ended, Process};
use super::route::Hop;
use super::settings::Settings;
use super::trouble::{Kind, Trouble};

/// Bytes of a program's output that wait to be read.
const BUFFER: usize = 256 * 1024;

/// Seconds that logging in may take besides connecting: a server may ask its directory first.
const LOGIN_EXTRA: u64 = 30;

/// A connection that is logged in.
pub struct Connection {
    handle: Handle<Guard>,
    /// Whether programs may ask the ssh-agent on this side.
    forwards_agent: bool,
    /// The connection that this one goes through.
    _way: Option<Arc<Connection>>,
    /// The program that it goes through; ended when dropped.
    _proxy: Option<Proxy>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// Connects to a host, through `way` if there is one, and logs in.
///
/// # Errors
/// Says where it failed.
pub async fn connect(hop: &Hop, way: Option<Arc<Connection>>, settings: &Settings, identities: &Identities) -> Result<Connection, Trouble> {
    let known = read_known_hosts(hop, settings)?;
    let config = Arc::new(config(hop, &known));
    let verdict = Arc::new(Mutex::new(None));
    let guard = Guard::new(hop, known, settings, &verdict);
    let mut proxy = None;
    let reached = async {
        match (&way, &hop.proxy_command) {
            (Some(way), _) => {
                let stream = way.tunnel(hop).await?;
                Ok(client::connect_stream(config, stream, guard).await)
            }
            (None, Some(line)) => {
                let (stream, program) = start_proxy(hop, line)?;
                proxy = Some(program);
                Ok(client::connect_stream(config, stream, guard).await)
            }
            (None, None) => {
                let stream = reach(hop).await?;
                Ok(client::connect_stream(config, stream, guard).await)
            }
        }
    };
    let connected = tokio::time::timeout(hop.timeout, reached).await.map_err(|_| timed_out(hop))??;
    let mut handle = match connected {
        Ok(handle) => handle,
        Err(error) => {
            if let Some(refusal) = verdict.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Err(refusal);
            }
            return Err(match &proxy {
                Some(proxy) => proxy.led_nowhere(hop).await,
                None => no_conversation(hop, &error),
            });
        }
    };
    let patience = hop.timeout + std::time::Duration::from_secs(LOGIN_EXTRA);
    match tokio::time::timeout(patience, super::auth::log_in(&mut handle, hop, settings, identities)).await {
        Ok(logged_in) => logged_in?,
        Err(_) => return Err(Trouble::new(Kind::Login, format!("{} did not answer the login within {} s", hop.name, patience.as_secs()))),
    }
    Ok(Connection { handle, forwards_agent: hop.forwarded_agent.is_some(), _way: way, _proxy: proxy })
}

fn config(hop: &Hop, known: &KnownHosts) -> Config {
    let preferred = Preferred {
        // AES in hardware costs half of ChaCha's processor time.
        cipher: Cow::Borrowed(&[
            cipher::AES_256_GCM,
            cipher::AES_128_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_256_CTR,
            cipher::AES_192_CTR,
            cipher::AES_128_CTR,
        ]),
        compression: Cow::Borrowed(&[compression::NONE]),
        key: Cow::Owned(key_order(&known.kinds(&hop.known_as))),
        ..Preferred::DEFAULT
    };
    // A host that could show a certificate does so only when it is asked to.
    let preferred = match known.authorities(&hop.known_as).is_empty() {
        true => preferred,
        false => Preferred { host_key_certificates: preferred.key.clone(), ..preferred },
    };
    Config {
        preferred,
        nodelay: true,
        keepalive_interval: hop.alive_interval,
        keepalive_max: hop.alive_count,
        inactivity_timeout: None,
        ..Config::default()
    }
}

/// Puts the kinds of key first by which the host is known, so that a host with several keys shows one of these.
fn key_order(known: &[&str]) -> Vec<Algorithm> {
    let is_known = |algorithm: &Algorithm| {
        let name = if algorithm.clone().is_rsa() { "ssh-rsa" } else { algorithm.as_str() };
        known.contains(&name)
    };
    let (mut first, rest): (Vec<_>, Vec<_>) = Preferred::DEFAULT.key.iter().cloned().partition(is_known);
    first.extend(rest);
    first
}

fn read_known_hosts(hop: &Hop, settings: &Settings) -> Result<KnownHosts, Trouble> {
    KnownHosts::read(&hop.known_hosts).map_err(|error| {
        let home = settings.home.display();
        Trouble::new(Kind::HostKey, format!("the key of {} cannot be checked: {error}", hop.name))
            .hint(format!("make it readable (home is {home})"))
    })
}

async fn reach(hop: &Hop) -> Result<TcpStream, Trouble> {
    let place = format!("{}:{}", hop.host, hop.port);
    let addresses = tokio::net::lookup_host((hop.host.as_str(), hop.port)).await.map_err(|error| {
        let message = format!("the address of {} is not known: looking up `{}` failed: {}", hop.name, hop.host, plain(&error));
        Trouble::new(Kind::Unreachable, message).hint("name the address with ansible_host, or HostName in ~/.ssh/config")
    })?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it, small requests wait for the answer to the ones before.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    let refused = last.as_ref().is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
    let why = last.map_or_else(|| "it has no address".to_owned(), |error| plain(&error));
    let hint = if refused {
        "it is up, but no SSH server listens there: see `ansible_port`"
    } else {
        "see whether it is up, and whether `ansible_host` is its address"
    };
    Err(Trouble::new(Kind::Unreachable, format!("{} cannot be reached at {place}: {why}", hop.name)).hint(hint))
}

/// A program that leads to a host.
struct Proxy {
    complaints: Complaints,
    _keep: Box<dyn Send + Sync>,
}

impl Proxy {
    /// Says that it did, with its last words.
    async fn led_nowhere(&self, hop: &Hop) -> Trouble {
        // What it complains comes by another way than its end.
        for _ in 0..10 {
            if !self.complaints.text().is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
        let said = String::from_utf8_lossy(&self.complaints.text()).into_owned();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        let last = last.map_or_else(String::new, |line| format!(": {}", line.trim()));
        Trouble::new(Kind::Unreachable, format!("the ProxyCommand of {} led to no SSH server{last}", hop.name))
            .hint(format!("try it by hand: {}", hop.proxy_command.as_deref().unwrap_or_default()))
    }
}

fn start_proxy(hop: &Hop, line: &str) -> Result<(impl AsyncRead + AsyncWrite + Unpin + Send + use<>, Proxy), Trouble> {
    // As `exec`, so that the program itself gets the signal that ends it, and no shell is left between.
    let process = super::local::exec(&format!("exec {line}"))
        .map_err(|error| Trouble::new(Kind::Unreachable, format!("the ProxyCommand of {} does not start: {}", hop.name, plain(&error))))?;
    let Process { stdin, stdout, complaints, keep, .. } = process;
    Ok((tokio::io::join(stdout, stdin), Proxy { complaints, _keep: keep }))
}

fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn timed_out(hop: &Hop) -> Trouble {
    let message = format!("{} did not answer at {}:{} within {} s", hop.name, hop.host, hop.port, hop.timeout.as_secs());
    Trouble::new(Kind::Unreachable, message).hint("where the network is slow, give more time with -T or ansible_timeout")
}

fn no_conversation(hop: &Hop, error: &russh::Error) -> Trouble {
    let why = match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            format!("it offers no {kind:?} algorithm that windlass accepts (it has {})", theirs.join(", "))
        }
        russh::Error::Disconnect | russh::Error::HUP => "it closed the connection".to_owned(),
        russh::Error::Version => "what answers there is no SSH server".to_owned(),
        russh::Error::IO(error) => plain(error),
        other => other.to_string().to_lowercase(),
    };
    let trouble =
        Trouble::new(Kind::Unreachable, format!("no SSH connection to {} at {}:{} came about: {why}", hop.name, hop.host, hop.port));
    match error {
        russh::Error::Disconnect | russh::Error::HUP | russh::Error::Version => {
            trouble.hint("see whether an SSH server listens on this address and port, and in its log why it turned the connection down")
        }
        _ => trouble,
    }
}

impl Connection {
    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Opens a way through this host to another.
    async fn tunnel(&self, to: &Hop) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, Trouble> {
        let channel = self.handle.channel_open_direct_tcpip(&to.host, u32::from(to.port), "127.0.0.1", 0).await.map_err(|error| {
            let why = match error {
                russh::Error::ChannelOpenFailure(reason) => format!("{reason:?}"),
                other => other.to_string(),
            };
            Trouble::new(Kind::Unreachable, format!("the host on the way to {} does not lead to {}:{}: {why}", to.name, to.host, to.port))
        })?;
        Ok(channel.into_stream())
    }

    /// Starts a program through the login shell.
    ///
    /// # Errors
    /// When the connection is gone, or the server refuses.
    pub async fn exec(&self, command: &str, terminal: bool) -> Result<Process, russh::Error> {
        let channel = self.handle.channel_open_session().await?;
        if self.forwards_agent {
            channel.agent_forward(false).await?;
        }
        if terminal {
            channel.request_pty(false, "dumb", 200, 50, 0, 0, &[]).await?;
        }
        channel.exec(false, command.as_bytes().to_vec()).await?;
        let (read, write) = channel.split();
        let write = Arc::new(write);
        let (ours, theirs) = tokio::io::duplex(BUFFER);
        let complaints = Complaints::default();
        let (tell, ended) = watch::channel(None);
        tokio::spawn(pump(read, theirs, complaints.clone(), tell));
        let mut watched = ended.clone();
        let gone = async move {
            let _ = watched.wait_for(Option::is_some).await;
        };
        let stdin = Input { writer: Box::pin(write.make_writer()), gone: Box::pin(gone), over: false, channel: Arc::clone(&write) };
        Ok(Process { stdin: Box::new(stdin), stdout: Box::new(ours), complaints, ended, keep: Box::new(Closer(write)) })
    }

    /// Says goodbye.
    pub async fn close(&self) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "en").await;
    }
}

async fn pump(mut read: ChannelReadHalf, mut out: DuplexStream, complaints: Complaints, tell: watch::Sender<Option<Ended>>) {
    let mut ended = Ended::default();
    let mut wanted = true;
    while let Some(message) = read.wait().await {
        match message {
            ChannelMsg::Data { data } => wanted = wanted && out.write_all(&data).await.is_ok(),
            ChannelMsg::ExtendedData { data, ext: 1 } => complaints.push(&data),
            ChannelMsg::ExitStatus { exit_status } => ended.status = i32::try_from(exit_status).ok(),
            ChannelMsg::ExitSignal { signal_name, .. } => ended.signal = Some(format!("{signal_name:?}").to_uppercase()),
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    // The end of the program is told before the end of its output, so that who sees the latter can ask for the former.
    let _ = tell.send(Some(ended));
    let _ = out.shutdown().await;
}

/// A program's input. The program is told its end when this is dropped.
struct Input {
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    /// The end of the program. A writer that waits for room in the channel never hears of it by itself.
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    over: bool,
    channel: Arc<ChannelWriteHalf<Msg>>,
}

impl Input {
    /// Makes an endless wait for a program that has ended the error that it is.
    fn unless_gone<T>(&mut self, context: &mut Context<'_>, polled: Poll<std::io::Result<T>>) -> Poll<std::io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        self.over = self.over || self.gone.as_mut().poll(context).is_ready();
        if self.over { Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into())) } else { Poll::Pending }
    }
}

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let polled = self.writer.as_mut().poll_write(context, bytes);
        self.unless_gone(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let polled = self.writer.as_mut().poll_flush(context);
        self.unless_gone(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let polled = self.writer.as_mut().poll_shutdown(context);
        self.unless_gone(context, polled)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let channel = Arc::clone(&self.channel);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = channel.eof().await;
            });
        }
    }
}

/// Closes the channel when dropped, which ends what listens at its other end.
struct Closer(Arc<ChannelWriteHalf<Msg>>);

impl Drop for Closer {
    fn drop(&mut self) {
        let channel = Arc::clone(&self.0);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = channel.close().await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_which_a_host_is_known_come_first() {
        let order = key_order(&["ssh-rsa"]);
        assert!(order[0].clone().is_rsa() && order[1].clone().is_rsa());
        assert_eq!(order.len(), Preferred::DEFAULT.key.len());
        assert_eq!(key_order(&["ecdsa-sha2-nistp256"])[0].as_str(), "ecdsa-sha2-nistp256");
    }
}
