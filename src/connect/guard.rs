//! Checks what a host shows of itself while connecting, its key or its certificate, and answers what it asks for later.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use russh::Channel;
use russh::client::{self, ChannelOpenHandle, Msg, Session};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::config::matches;
use super::known_hosts::{self, KnownHosts, Verdict};
use super::options::Strict;
use super::route::Hop;
use super::settings::Settings;
use super::trouble::{Kind, Trouble};

/// Checks the host's key while connecting.
pub struct Guard {
    hop: Hop,
    known: KnownHosts,
    settings: Settings,
    refusal: Arc<Mutex<Option<Trouble>>>,
}

impl client::Handler for Guard {
    type Error = russh::Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let refusal = self.refuse(offered);
        let accepted = refusal.is_none();
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
        Ok(accepted)
    }

    /// A program on the host asks the ssh-agent on this side. Only where the user wanted it; else the channel is refused.
    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(socket) = &self.hop.forwarded_agent else { return Ok(()) };
        let Ok(mut agent) = tokio::net::UnixStream::connect(socket).await else { return Ok(()) };
        reply.accept().await;
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut channel.into_stream(), &mut agent).await });
        Ok(())
    }
}

/// Returns what is wrong with a certificate for the host that is known as `name`, its authority being one that counts.
fn certificate_fault(certificate: &Certificate, name: &str, now: u64) -> Option<String> {
    let name = name.strip_prefix('[').and_then(|rest| rest.split_once("]:")).map_or(name, |(host, _)| host);
    let date = |seconds: u64| {
        let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        time.map_or_else(|| "the end of time".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
    };
    if certificate.cert_type() != CertType::Host {
        return Some("it is a user's".to_owned());
    }
    if now < certificate.valid_after() {
        return Some(format!("it holds from {} on", date(certificate.valid_after())));
    }
    if now >= certificate.valid_before() {
        return Some(format!("it ended on {}", date(certificate.valid_before())));
    }
    if !certificate.valid_principals().iter().any(|principal| matches(principal, name)) {
        return Some(format!("it is for {}, not for `{name}`", certificate.valid_principals().join(", ")));
    }
    if certificate.critical_options().iter().next().is_some() {
        return Some("it has conditions that windlass does not know".to_owned());
    }
    // The old signatures, over SHA-1.
    if matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Some("it is signed in a way that can be forged".to_owned());
    }
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    certificate.validate_at(now, [&authority]).err().map(|_| "its signature does not fit".to_owned())
}

impl Guard {
    /// Returns the guard of a connection, which leaves its refusal in `refusal`.
    pub fn new(hop: &Hop, known: KnownHosts, settings: &Settings, refusal: &Arc<Mutex<Option<Trouble>>>) -> Self {
        Self { hop: hop.clone(), known, settings: settings.clone(), refusal: Arc::clone(refusal) }
    }

    /// Returns why what the host shows is refused, if it is.
    fn refuse(&self, offered: &PublicKeyOrCertificate) -> Option<Trouble> {
        match offered {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.refuse_key(key),
            PublicKeyOrCertificate::Certificate(certificate) => self.refuse_certificate(certificate),
        }
    }

    /// A certificate counts by the authority that signed it; one of an authority that nobody vouched for is but its key.
    fn refuse_certificate(&self, certificate: &Certificate) -> Option<Trouble> {
        let authority = PublicKey::from(certificate.signature_key().clone());
        let key = PublicKey::from(certificate.public_key().clone());
        let names: Vec<&str> = std::iter::once(self.hop.known_as.as_str()).chain(self.hop.known_without_port.as_deref()).collect();
        let (Ok(authority_bytes), Ok(key_bytes)) = (authority.to_bytes(), key.to_bytes()) else {
            return Some(self.trouble("its certificate cannot be read"));
        };
        let revoked = names.iter().find_map(|name| {
            self.known
                .revoked(name, &authority_bytes)
                .map(|place| ("the authority of its certificate", place))
                .or_else(|| self.known.revoked(name, &key_bytes).map(|place| ("its key", place)))
        });
        if let Some((what, place)) = revoked {
            return Some(self.trouble(&format!("{what} is revoked by {}", self.line(place))));
        }
        let vouched = names.iter().flat_map(|name| self.known.authorities(name)).any(|(_, bytes)| bytes == authority_bytes);
        if !vouched {
            return self.refuse_key(&key);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        certificate_fault(certificate, &self.hop.known_as, now).map(|why| {
            self.trouble(&format!("its certificate `{}` does not count: {why}", certificate.key_id()))
                .hint("have the host's certificate issued anew, or see whether the clocks are right")
        })
    }

    fn trouble(&self, what: &str) -> Trouble {
        Trouble::new(Kind::HostKey, format!("{} shows what cannot be trusted: {what}", self.hop.name))
    }

    fn line(&self, place: &known_hosts::Place) -> String {
        format!("line {} of {}", place.line, self.settings.tilded(&place.file))
    }

    /// Returns why the key is refused, if it is.
    fn refuse_key(&self, key: &PublicKey) -> Option<Trouble> {
        let name = &self.hop.name;
        let (Ok(bytes), Ok(text)) = (key.to_bytes(), key.to_openssh()) else {
            return Some(Trouble::new(Kind::HostKey, format!("the key of {name} cannot be read")));
        };
        let kind = text.split_whitespace().next().unwrap_or_default().to_owned();
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let mut verdict = self.known.judge(&self.hop.known_as, &kind, &bytes);
        if let (Verdict::Unknown, Some(bare)) = (&verdict, &self.hop.known_without_port)
            && self.known.judge(bare, &kind, &bytes) == Verdict::Known
        {
            verdict = Verdict::Known;
        }
        let line = |place: &known_hosts::Place| self.line(place);
        let known_as = &self.hop.known_as;
        match verdict {
            Verdict::Known => None,
            Verdict::Changed(place) => Some(
                Trouble::new(
                    Kind::HostKey,
                    format!("{name} shows another key than it is known by: {} has a different {kind} key for `{known_as}`, the host shows {fingerprint}", line(&place)),
                )
                .hint(format!(
                    "somebody may be in between; if the host was really set up anew, remove the old key: ssh-keygen -R '{known_as}' -f {}",
                    place.file.display()
                )),
            ),
            Verdict::OtherKind(place, other) => Some(
                Trouble::new(
                    Kind::HostKey,
                    format!("{name} shows a {kind} key ({fingerprint}), but is known by another kind: {} has a {other} key for `{known_as}`", line(&place)),
                )
                .hint(format!("if the host was really set up anew, remove the old key: ssh-keygen -R '{known_as}' -f {}", place.file.display())),
            ),
            Verdict::Revoked(place) => {
                Some(Trouble::new(Kind::HostKey, format!("the key of {name} ({fingerprint}) is revoked by {}", line(&place))))
            }
            Verdict::Authority(place) if self.hop.strict != Strict::No => Some(Trouble::new(
                Kind::HostKey,
                format!("{name} shows the plain key {fingerprint}, but by {} only certificates of an authority count", line(&place)),
            ).hint("the host shows its certificate when its sshd_config names it with `HostCertificate`")),
            Verdict::Unknown | Verdict::Authority(_) => self.unknown(&kind, &fingerprint, &text),
        }
    }

    fn unknown(&self, kind: &str, fingerprint: &str, text: &str) -> Option<Trouble> {
        let Hop { name, host, port, known_as, .. } = &self.hop;
        match self.hop.strict {
            Strict::No => {
                self.settings.warnings.say(&format!(
                    "{name}: its {kind} key {fingerprint} is not known, and host key checking is off: somebody in between would not be noticed"
                ));
                None
            }
            Strict::AcceptNew => {
                let file = self.hop.known_hosts.first()?;
                match known_hosts::learn(file, known_as, text) {
                    Ok(()) => None,
                    Err(error) => {
                        Some(Trouble::new(Kind::HostKey, format!("the new key of {name} cannot be kept in {}: {error}", file.display())))
                    }
                }
            }
            Strict::Yes => {
                let looked: Vec<_> = self.known.files().iter().map(|file| self.settings.tilded(file)).collect();
                let port = if *port == 22 { String::new() } else { format!("-p {port} ") };
                let file = self.known.files().first().map_or_else(|| "~/.ssh/known_hosts".to_owned(), |file| self.settings.tilded(file));
                Some(
                    Trouble::new(
                        Kind::HostKey,
                        format!("{name} is not known: no line for `{known_as}` in {} (it shows the {kind} key {fingerprint})", looked.join(", ")),
                    )
                    .hint(format!(
                        "compare the fingerprint with the host's own, then: ssh-keyscan {port}{host} >> {file}, or set StrictHostKeyChecking=accept-new to learn new hosts"
                    )),
                )
            }
        }
    }
}
