//! A demonstration host: an SSH server on loopback whose commands run as the current user, in a folder of their own.
//!
//! Only the key made for the site may log in. `systemctl` is a small program in the host's own `PATH` that talks to the simulator.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// Returns a new Ed25519 key.
pub fn new_key() -> PrivateKey {
    PrivateKey::from(russh::keys::ssh_key::private::Ed25519Keypair::from_seed(&rand::random()))
}

/// What a host needs to know.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its folder: `home`, `bin`, and whatever is put on it.
    pub folder: PathBuf,
    /// Its own key.
    pub host_key: PrivateKey,
    /// The key that may log in.
    pub login: PublicKey,
}

impl Host {
    /// Returns the host's home folder.
    pub fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// Returns the line that `known_hosts` has for it.
    ///
    /// # Errors
    /// When the key cannot be written as text.
    pub fn known_hosts_line(&self) -> io::Result<String> {
        let key = self.host_key.public_key().to_openssh().map_err(io::Error::other)?;
        Ok(format!("[{}]:{} {key}\n", self.address.ip(), self.address.port()))
    }

    /// Starts to listen; the returned future serves until it is dropped, and ends every command with it.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub async fn listen(self) -> io::Result<impl Future<Output = ()>> {
        let listener = TcpListener::bind(self.address).await?;
        let config = Arc::new(Config {
            keys: vec![self.host_key.clone()],
            nodelay: true,
            auth_rejection_time: Duration::from_millis(200),
            auth_rejection_time_initial: Some(Duration::ZERO),
            inactivity_timeout: None,
            ..Config::default()
        });
        let host = Arc::new(self);
        Ok(async move {
            let mut sessions = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                while sessions.try_join_next().is_some() {}
                let _ = stream.set_nodelay(true);
                let visitor = Visitor { host: host.clone(), channels: HashMap::new(), commands: JoinSet::new() };
                let config = config.clone();
                sessions.spawn(async move {
                    // A visitor that breaks off is no concern of the host.
                    if let Ok(session) = russh::server::run_stream(config, stream, visitor).await {
                        let _ = session.await;
                    }
                });
            }
        })
    }
}

/// One connection. Its commands end with it.
struct Visitor {
    host: Arc<Host>,
    channels: HashMap<ChannelId, Channel<Msg>>,
    commands: JoinSet<()>,
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        // Comments differ; the key itself counts.
        Ok(if key.public_key.key_data() == self.host.login.key_data() { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&channel);
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        let Some(channel) = self.channels.remove(&id) else { return session.channel_failure(id) };
        while self.commands.try_join_next().is_some() {}
        match start(&self.host, &String::from_utf8_lossy(command)) {
            Err(_) => session.channel_failure(id),
            Ok(child) => {
                session.channel_success(id)?;
                self.commands.spawn(async move {
                    let (read, write) = channel.split();
                    converse(child, read, write).await;
                });
                Ok(())
            }
        }
    }
}

/// Starts a command as sshd does: by the shell, in the home folder, with little in the environment.
fn start(host: &Host, command: &str) -> io::Result<Child> {
    let user = std::env::var("USER").unwrap_or_else(|_| "demo".to_owned());
    let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    Command::new("/bin/sh")
        .args(["-c", command])
        .env_clear()
        .env("HOME", host.home())
        .env("PATH", format!("{}:{system}", host.folder.join("bin").display()))
        .env("SHELL", "/bin/sh")
        .env("USER", &user)
        .env("LOGNAME", &user)
        .env("LANG", "C.UTF-8")
        // All hosts of a site share a network name space, in which a lease would be one for all of them.
        .env(crate::agent::lease::SCOPE, &host.folder)
        .current_dir(host.home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Ends the whole group of a command when it is dropped: the channel closed, or the connection broke.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be gone already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Carries bytes between a command and its channel until the command ends or the channel closes.
async fn converse(mut child: Child, mut read: ChannelReadHalf, write: ChannelWriteHalf<Msg>) {
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let out = carry(stdout, write.make_writer());
    let err = carry(stderr, write.make_writer_ext(Some(1)));
    let finish = async {
        tokio::join!(out, err);
        child.wait().await
    };
    let feed = async {
        let mut stdin = stdin;
        while let Some(message) = read.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    let Some(pipe) = &mut stdin else { continue };
                    if pipe.write_all(&data).await.is_err() || pipe.flush().await.is_err() {
                        stdin = None;
                    }
                }
                ChannelMsg::Eof => stdin = None,
                ChannelMsg::Close => break,
                _ => {}
            }
        }
    };
    tokio::select! {
        status = finish => {
            use std::os::unix::process::ExitStatusExt as _;
            group.0 = None;
            let code = status.map_or(255, |status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
            let _ = write.exit_status(u32::try_from(code).unwrap_or(255)).await;
            let _ = write.eof().await;
            let _ = write.close().await;
        }
        () = feed => {}
    }
}

async fn carry(from: Option<impl tokio::io::AsyncRead + Unpin>, mut to: impl tokio::io::AsyncWrite + Unpin) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() || to.write_all(piece).await.is_err() {
            return;
        }
    }
}

/// Puts a host's `systemctl` into its `bin` folder: a script that calls this program.
///
/// # Errors
/// When it cannot be written.
pub fn install_systemctl(folder: &Path, program: &Path, state: &Path, node: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    let script = format!("#!/bin/sh\nexec {} demo-systemctl --state {} --node '{node}' -- \"$@\"\n", quoted(program), quoted(state));
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin)?;
    let path = bin.join("systemctl");
    std::fs::write(&path, script)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;
    use russh::client;
    use russh::keys::PrivateKeyWithHashAlg;

    struct Trusting;
    impl client::Handler for Trusting {
        type Error = russh::Error;
        async fn check_server_key(&mut self, _: &russh::keys::PublicKeyOrCertificate) -> Result<bool, russh::Error> {
            Ok(true)
        }
    }

    async fn connect(key: &PrivateKey, address: SocketAddr) -> Option<client::Handle<Trusting>> {
        let mut session = client::connect(Arc::new(client::Config::default()), address, Trusting).await.expect("connects");
        let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), None);
        session.authenticate_publickey("demo", key).await.expect("answers").success().then_some(session)
    }

    #[tokio::test]
    async fn a_command_gets_its_input_and_gives_back_output_and_status() {
        let key = new_key();
        let other = new_key();
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir_all(folder.path().join("home")).expect("home");
        let address = TcpListener::bind("127.0.0.1:0").await.expect("port").local_addr().expect("address");
        let host =
            Host { name: "a".into(), address, folder: folder.path().to_owned(), host_key: other.clone(), login: key.public_key().clone() };
        tokio::spawn(host.listen().await.expect("listens"));
        assert!(connect(&other, address).await.is_none(), "another key must not log in");

        let session = connect(&key, address).await.expect("logs in");
        let mut channel = session.channel_open_session().await.expect("channel");
        channel.exec(true, "cat; echo oops >&2; pwd; exit 3").await.expect("exec");
        let large = vec![b'x'; 5_000_000];
        let feeder = channel.make_writer();
        let sent = large.clone();
        tokio::spawn(async move {
            let mut feeder = feeder;
            feeder.write_all(&sent).await.expect("sends");
            feeder.shutdown().await.expect("eof");
        });
        let (mut out, mut err, mut code) = (Vec::new(), Vec::new(), None);
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => out.extend_from_slice(&data),
                ChannelMsg::ExtendedData { data, .. } => err.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
                _ => {}
            }
        }
        assert_eq!(code, Some(3));
        assert_eq!(err, b"oops\n");
        assert!(out.starts_with(&large));
        assert_eq!(
            String::from_utf8_lossy(&out[large.len()..]).trim(),
            folder.path().join("home").canonicalize().expect("home").to_string_lossy()
        );
    }

    #[tokio::test]
    async fn a_command_ends_with_its_connection() {
        let key = new_key();
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir_all(folder.path().join("home")).expect("home");
        let address = TcpListener::bind("127.0.0.1:0").await.expect("port").local_addr().expect("address");
        let host =
            Host { name: "a".into(), address, folder: folder.path().to_owned(), host_key: key.clone(), login: key.public_key().clone() };
        tokio::spawn(host.listen().await.expect("listens"));
        let session = connect(&key, address).await.expect("logs in");
        let mut channel = session.channel_open_session().await.expect("channel");
        channel.exec(true, "echo $$; sleep 60; true").await.expect("exec");
        let pid = loop {
            if let Some(ChannelMsg::Data { data }) = channel.wait().await {
                break String::from_utf8_lossy(&data).trim().to_owned();
            }
        };
        assert!(Path::new("/proc").join(&pid).exists());
        drop(channel);
        session.disconnect(russh::Disconnect::ByApplication, "", "").await.expect("leaves");
        for _ in 0..100 {
            if !Path::new("/proc").join(&pid).exists() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the command is still there");
    }
}
