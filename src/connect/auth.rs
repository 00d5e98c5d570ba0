//! Logging in: keys, the ssh-agent, a password; in that order, and every attempt remembered for the message.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, Handler};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};

use super::Unreachable;
use crate::value::secret::Secret;

/// Keys that are tried where none is named.
const DEFAULT_KEYS: &[&str] = &[".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"];

/// What to log in with.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The user to log in as.
    pub user: String,
    /// Keys named by the user, first to try.
    pub key_files: Vec<PathBuf>,
    /// For encrypted keys.
    pub passphrase: Option<Secret<String>>,
    /// Only the named keys.
    pub identities_only: bool,
    /// The ssh-agent's socket.
    pub agent_socket: Option<PathBuf>,
    /// The password.
    pub password: Option<Secret<String>>,
    /// Where default keys are.
    pub home: Option<PathBuf>,
}

/// One login under way.
struct Login<'a, H: Handler> {
    handle: &'a mut Handle<H>,
    user: &'a str,
    tried: Vec<String>,
    hints: Vec<String>,
    /// The server ended the talk: no more attempts.
    over: bool,
    offers_password: bool,
}

/// Logs in.
///
/// # Errors
/// Says what was tried and what came of it.
pub async fn login<H: Handler>(handle: &mut Handle<H>, credentials: &Credentials, host: &str) -> Result<(), Unreachable> {
    let mut login = Login { handle, user: &credentials.user, tried: Vec::new(), hints: Vec::new(), over: false, offers_password: true };
    if login.keys(credentials).await || login.password(credentials).await {
        return Ok(());
    }
    let tried =
        if login.tried.is_empty() { "there was nothing to log in with".to_owned() } else { format!("tried {}", login.tried.join(", ")) };
    let mut refused = Unreachable::new(format!("`{host}` refused the login of `{}`: {tried}", credentials.user));
    let hint = match login.hints.as_slice() {
        [] if credentials.password.is_none() && login.offers_password => {
            "name a key with `ansible_ssh_private_key_file`, or ask for the password with -k".to_owned()
        }
        [] => "see whether the user and the key or password are those of the host".to_owned(),
        hints => hints.join("; "),
    };
    refused.hint = Some(hint);
    Err(refused)
}

impl<H: Handler> Login<'_, H> {
    async fn keys(&mut self, credentials: &Credentials) -> bool {
        let mut agent = Agent::open(credentials.agent_socket.as_deref()).await;
        let named: Vec<_> = credentials.key_files.iter().map(|path| (path.clone(), true)).collect();
        let defaults = DEFAULT_KEYS.iter().filter_map(|name| credentials.home.as_ref().map(|home| (home.join(name), false)));
        let files: Vec<_> = if named.is_empty() { defaults.collect() } else { named };
        for (path, was_named) in &files {
            if self.over {
                return false;
            }
            if self.key_file(path, *was_named, credentials, agent.as_mut()).await {
                return true;
            }
        }
        if credentials.identities_only {
            return false;
        }
        let Some(agent) = agent.as_mut() else { return false };
        for (key, comment) in agent.keys.clone() {
            if self.over {
                return false;
            }
            if self.agent_key(agent, &key, &format!("the agent's key `{comment}`")).await {
                return true;
            }
        }
        false
    }

    async fn key_file(&mut self, path: &Path, was_named: bool, credentials: &Credentials, agent: Option<&mut Agent>) -> bool {
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                if was_named {
                    self.tried.push(format!("the key {shown} (cannot be read: {error})"));
                }
                return false;
            }
        };
        let passphrase = credentials.passphrase.as_ref().map(|secret| secret.reveal().as_str());
        match russh::keys::decode_secret_key(&text, passphrase).or_else(|_| russh::keys::decode_secret_key(&text, None)) {
            Ok(key) => self.private_key(key, &format!("the key {shown}")).await,
            Err(error) => {
                // The agent may hold a key that is encrypted on disk.
                let public =
                    std::fs::read_to_string(format!("{shown}.pub")).ok().and_then(|text| PublicKey::from_openssh(text.trim()).ok());
                if let (Some(agent), Some(public)) = (agent, public)
                    && agent.keys.iter().any(|(key, _)| key.key_data() == public.key_data())
                {
                    return self.agent_key(agent, &public, &format!("the key {shown} by the agent")).await;
                }
                self.unreadable_key(&shown.to_string(), &text, &error, passphrase.is_some());
                false
            }
        }
    }

    fn unreadable_key(&mut self, shown: &str, text: &str, error: &russh::keys::Error, had_passphrase: bool) {
        let legacy = text.contains("Proc-Type:");
        let encrypted = legacy || matches!(error, russh::keys::Error::KeyIsEncrypted) || text.contains("ENCRYPTED");
        let (what, hint) = if legacy {
            ("is encrypted in the old PEM form".to_owned(), format!("rewrite it with `ssh-keygen -p -f {shown}`"))
        } else if encrypted && had_passphrase {
            ("the passphrase is wrong".to_owned(), "see `ansible_ssh_private_key_passphrase`".to_owned())
        } else if encrypted {
            (
                "is encrypted".to_owned(),
                format!("add it to your ssh-agent with `ssh-add {shown}`, or set `ansible_ssh_private_key_passphrase` in a vaulted file"),
            )
        } else {
            (format!("is no private key: {error}"), "name the private key, not the public one".to_owned())
        };
        self.tried.push(format!("the key {shown} ({what})"));
        self.hints.push(hint);
    }

    async fn private_key(&mut self, key: PrivateKey, what: &str) -> bool {
        let hash = self.hash_for(&key.algorithm()).await;
        let answer = self.handle.authenticate_publickey(self.user, PrivateKeyWithHashAlg::new(Arc::new(key), hash)).await;
        self.outcome(answer.map_err(|error| error.to_string()), what)
    }

    async fn agent_key(&mut self, agent: &mut Agent, key: &PublicKey, what: &str) -> bool {
        let hash = self.hash_for(&key.algorithm()).await;
        let answer = self.handle.authenticate_publickey_with(self.user, key.clone(), hash, &mut agent.client).await;
        self.outcome(answer.map_err(|error| error.to_string()), what)
    }

    async fn hash_for(&self, algorithm: &russh::keys::Algorithm) -> Option<HashAlg> {
        if !matches!(algorithm, russh::keys::Algorithm::Rsa { .. }) {
            return None;
        }
        // Servers that do not say what they take are new enough for SHA-2 in all likelihood.
        self.handle.best_supported_rsa_hash().await.ok().flatten().unwrap_or(Some(HashAlg::Sha256))
    }

    async fn password(&mut self, credentials: &Credentials) -> bool {
        let Some(password) = &credentials.password else { return false };
        if self.over {
            return false;
        }
        if !self.offers_password {
            self.tried.push("the password (the host takes none)".to_owned());
            return false;
        }
        let answer = self.handle.authenticate_password(self.user, password.reveal().clone()).await;
        self.outcome(answer.map_err(|error| error.to_string()), "the password")
    }

    fn outcome(&mut self, answer: Result<AuthResult, String>, what: &str) -> bool {
        match answer {
            Ok(AuthResult::Success) => return true,
            Ok(AuthResult::Failure { remaining_methods, .. }) => {
                self.offers_password = remaining_methods.contains(&russh::MethodKind::Password);
                self.tried.push(format!("{what} (refused)"));
            }
            Err(error) => {
                self.over = self.handle.is_closed();
                self.tried.push(format!("{what} ({error})"));
            }
        }
        if self.handle.is_closed() {
            self.over = true;
            self.hints
                .push("the host ended the talk: too many keys were tried; name the right one and set `IdentitiesOnly yes`".to_owned());
        }
        false
    }
}

/// The user's ssh-agent.
struct Agent {
    client: AgentClient<tokio::net::UnixStream>,
    keys: Vec<(PublicKey, String)>,
}

impl Agent {
    async fn open(socket: Option<&Path>) -> Option<Self> {
        let mut client = AgentClient::connect_uds(socket?).await.ok()?;
        let identities = client.request_identities().await.ok()?;
        let keys = identities.into_iter().filter_map(|identity| match identity {
            AgentIdentity::PublicKey { key, comment } => Some((key, comment)),
            AgentIdentity::Certificate { .. } => None,
        });
        let keys = keys.collect();
        Some(Self { client, keys })
    }
}
