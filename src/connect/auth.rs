//! Logging in: keys the user named, the password, keys of the ssh-agent, keys with the usual names, in this order; where
//! passwords are preferred to keys, the password first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::client::AgentClient;
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};

use super::guard::Guard;
use super::identity::{Identities, Refusal};
use super::route::Hop;
use super::settings::Settings;

use super::trouble::{Kind, Trouble};

/// Keys of an agent that are tried at most: servers count them, and close the door after six.
const MOST_AGENT_KEYS: usize = 5;

/// Logs in.
///
/// # Errors
/// Says everything that was tried, and what the server would take.
pub async fn log_in(handle: &mut Handle<Guard>, hop: &Hop, settings: &Settings, identities: &Identities) -> Result<(), Trouble> {
    let mut attempt = Attempt { handle, hop, settings, identities, tried: Vec::new(), offers: None, broken: None, rsa: None };
    if attempt.all().await {
        return Ok(());
    }
    Err(attempt.refusal())
}

struct Attempt<'a> {
    handle: &'a mut Handle<Guard>,
    hop: &'a Hop,
    settings: &'a Settings,
    identities: &'a Identities,
    /// What was tried, for the message.
    tried: Vec<String>,
    /// What the server would take.
    offers: Option<MethodSet>,
    /// Why nothing more can be tried.
    broken: Option<String>,
    rsa: Option<Option<HashAlg>>,
}

impl Attempt<'_> {
    async fn all(&mut self) -> bool {
        let place = |wanted: MethodKind| self.hop.methods.iter().position(|method| *method == wanted);
        let password = place(MethodKind::Password).into_iter().chain(place(MethodKind::KeyboardInteractive)).min();
        let is_first = password.is_some_and(|at| place(MethodKind::PublicKey).is_some_and(|key| at < key));
        if is_first && self.password().await {
            return true;
        }
        for path in &self.hop.identities.clone() {
            if self.key_file(path, true).await {
                return true;
            }
        }
        (!is_first && self.password().await) || self.agent().await || self.usual_keys().await
    }

    async fn usual_keys(&mut self) -> bool {
        for path in &self.hop.usual_identities.clone() {
            if self.key_file(path, false).await {
                return true;
            }
        }
        false
    }

    fn may(&self, method: MethodKind) -> bool {
        self.broken.is_none() && self.hop.methods.contains(&method) && self.offers.as_ref().is_none_or(|offers| offers.contains(&method))
    }

    fn heard(&mut self, result: Result<AuthResult, russh::Error>) -> bool {
        match result {
            Ok(AuthResult::Success) => true,
            Ok(AuthResult::Failure { remaining_methods, .. }) => {
                self.offers = Some(remaining_methods);
                false
            }
            Err(error) => {
                self.broken = Some(error.to_string());
                false
            }
        }
    }

    async fn rsa_hash(&mut self) -> Option<HashAlg> {
        if self.rsa.is_none() {
            let best = self.handle.best_supported_rsa_hash().await.ok().flatten().flatten();
            self.rsa = Some(best.or(Some(HashAlg::Sha256)));
        }
        self.rsa.flatten()
    }

    async fn key_file(&mut self, path: &Path, named: bool) -> bool {
        if !self.may(MethodKind::PublicKey) {
            return false;
        }
        let shown = self.settings.tilded(path);
        match self.identities.load(path, self.hop.passphrase.as_ref()).await {
            Ok(key) => {
                if self.certified(path, &key).await {
                    return true;
                }
                self.tried.push(format!("the key {shown}"));
                self.key(key).await
            }
            Err(Refusal::Missing) if !named => false,
            Err(why) => {
                self.tried.push(format!("not the key {shown}, as it {why}"));
                false
            }
        }
    }

    /// Tries the certificates of a key: that beside its file, and those that the user named.
    async fn certified(&mut self, path: &Path, key: &Arc<PrivateKey>) -> bool {
        let mut beside = path.to_owned().into_os_string();
        beside.push("-cert.pub");
        let files = std::iter::once(PathBuf::from(beside)).chain(self.hop.certificates.clone());
        for file in files {
            let Ok(certificate) = Certificate::read_file(&file) else { continue };
            if certificate.public_key() != key.public_key().key_data() || !self.may(MethodKind::PublicKey) {
                continue;
            }
            self.tried.push(format!("the certificate {}", self.settings.tilded(&file)));
            let result = self.handle.authenticate_openssh_cert(&self.hop.user, Arc::clone(key), certificate).await;
            if self.heard(result) {
                return true;
            }
        }
        false
    }

    async fn key(&mut self, key: Arc<PrivateKey>) -> bool {
        let hash = if key.algorithm().is_rsa() { self.rsa_hash().await } else { None };
        let result = self.handle.authenticate_publickey(&self.hop.user, PrivateKeyWithHashAlg::new(key, hash)).await;
        self.heard(result)
    }

    async fn password(&mut self) -> bool {
        let Some(password) = self.hop.password.clone() else { return false };
        if self.may(MethodKind::Password) {
            self.tried.push("the password".to_owned());
            let result = self.handle.authenticate_password(&self.hop.user, password.reveal()).await;
            if self.heard(result) {
                return true;
            }
        }
        self.may(MethodKind::KeyboardInteractive) && self.answer_questions(password.reveal()).await
    }

    async fn answer_questions(&mut self, password: &str) -> bool {
        self.tried.push("the password in answer to the server's question".to_owned());
        let mut reply = self.handle.authenticate_keyboard_interactive_start(&self.hop.user, None).await;
        let mut given = false;
        // A few rounds: some servers ask nothing in the last one.
        for _ in 0..4 {
            match reply {
                Ok(KeyboardInteractiveAuthResponse::Success) => return true,
                Ok(KeyboardInteractiveAuthResponse::Failure { remaining_methods, .. }) => {
                    self.offers = Some(remaining_methods);
                    return false;
                }
                Ok(KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }) => {
                    if !prompts.is_empty() && std::mem::replace(&mut given, true) {
                        return false;
                    }
                    let answers = prompts.iter().map(|prompt| if prompt.echo { String::new() } else { password.to_owned() }).collect();
                    reply = self.handle.authenticate_keyboard_interactive_respond(answers).await;
                }
                Err(error) => {
                    self.broken = Some(error.to_string());
                    return false;
                }
            }
        }
        false
    }

    async fn agent(&mut self) -> bool {
        let Some(socket) = self.hop.agent_socket.clone() else { return false };
        if !self.may(MethodKind::PublicKey) {
            return false;
        }
        let mut agent = match AgentClient::connect_uds(&socket).await {
            Ok(agent) => agent,
            Err(_) => {
                self.tried.push("not the ssh-agent, as it does not answer".to_owned());
                return false;
            }
        };
        let Ok(held) = agent.request_identities().await else { return false };
        let mut keys: Vec<PublicKey> = held.iter().map(|identity| identity.public_key().into_owned()).collect();
        if self.hop.identities_only {
            let named = self.named_public_keys();
            keys.retain(|key| named.iter().any(|other| other.key_data() == key.key_data()));
        }
        if keys.is_empty() {
            return false;
        }
        self.tried.push(format!(
            "{} of the ssh-agent",
            if keys.len() == 1 { "the key".to_owned() } else { format!("{} keys", keys.len().min(MOST_AGENT_KEYS)) }
        ));
        for key in keys.into_iter().take(MOST_AGENT_KEYS) {
            let hash = if key.algorithm().is_rsa() { self.rsa_hash().await } else { None };
            let result = self.handle.authenticate_publickey_with(&self.hop.user, key, hash, &mut agent).await;
            if self.heard(result.map_err(|error| russh::Error::IO(std::io::Error::other(error.to_string())))) {
                return true;
            }
            if self.broken.is_some() {
                return false;
            }
        }
        false
    }

    /// Returns the public halves that lie beside the named keys.
    fn named_public_keys(&self) -> Vec<PublicKey> {
        let halves = self.hop.identities.iter().map(|path| {
            let mut name = path.clone().into_os_string();
            name.push(".pub");
            name
        });
        halves.filter_map(|path| PublicKey::read_openssh_file(Path::new(&path)).ok()).collect()
    }

    fn refusal(self) -> Trouble {
        let Hop { name, user, .. } = self.hop;
        let tried = if self.tried.is_empty() {
            "there was nothing to try: no key, no password, no ssh-agent".to_owned()
        } else {
            format!("tried {}", self.tried.join(", "))
        };
        // The ways that the SSH options leave out.
        let tried = match self.hop.methods.iter().map(<&str>::from).collect::<Vec<_>>() {
            methods if methods.len() == 3 => tried,
            methods if methods.is_empty() => format!("{tried} (the SSH options leave no way to log in)"),
            methods => format!("{tried} (the SSH options leave only {})", methods.join(", ")),
        };
        let offers = self.offers.map(|offers| offers.iter().map(<&str>::from).collect::<Vec<_>>().join(", "));
        let end = match (self.broken, offers) {
            (Some(broken), _) => format!("; then the connection ended: {broken}"),
            (None, Some(offers)) if !offers.is_empty() => format!("; the server would take {offers}"),
            _ => String::new(),
        };
        Trouble::new(Kind::Login, format!("{name} refused the login of `{user}`: {tried}{end}"))
            .hint("name the user and key with ansible_user and ansible_ssh_private_key_file, or give the password with -k")
    }
}
