//! `certificate_authority`: a private authority that signs certificates.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Failure, Plan, Probe};
use crate::formats::certificates::{BACK_DATED, Certificate, Wish, new_authority};
use crate::formats::private_key::{CertificateError, KeyKind, PrivateKey};
use crate::value::secret::Secret;
use crate::value::{Map, Value};

/// Makes a private certificate authority, once: its key and its certificate, both PEM. What is there is kept. The key is
/// made where the task runs and does not leave it, so delegate the task to the machine that shall sign, usually
/// `localhost`.
///
/// An authority that has expired is a failure, since everything it signed no longer holds either; with `renew_before` it
/// gets a new certificate in time, for the same name and key, so that what it signed stays good.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateAuthority {
    /// The certificate's file.
    #[serde(alias = "cert")]
    path: String,
    /// The private key's file.
    key_path: String,
    /// Protects the key.
    passphrase: Option<Secret<String>>,
    /// The authority's name: a plain one, or a full one such as `CN=Example CA,O=Example`.
    #[serde(default = "usual_subject", alias = "common_name")]
    subject: String,
    /// How many days it holds.
    #[serde(default = "ten_years")]
    days: u32,
    /// The kind of key.
    #[serde(default)]
    key: KeyKind,
    /// Renew the certificate when it has fewer days left than this. Without it, it is never renewed.
    renew_before: Option<u32>,
    /// Owner of both files.
    owner: Option<String>,
    /// Group of both files.
    group: Option<String>,
    /// Mode of the certificate; a new one has `0644`.
    mode: Option<FileMode>,
    /// Mode of the key; a new one has `0600`.
    key_mode: Option<FileMode>,
}

fn usual_subject() -> String {
    "CN=Private certificate authority".to_owned()
}

fn ten_years() -> u32 {
    3650
}

const DAY: i64 = 86_400;

impl Module for CertificateAuthority {
    const NAME: &'static str = "certificate_authority";
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Make an authority on the controller",
        task: "path: /srv/ca/ca.crt\nkey_path: /srv/ca/ca.key\nsubject: CN=Example CA,O=Example\nkey: ec-p256\ndays: 3650\n",
        given: &[("/srv/", ""), ("/srv/ca/", "")],
        changes: true,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        if let Some(passphrase) = arguments.get("passphrase").and_then(Value::as_str) {
            controller.secret(passphrase);
        }
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.days == 0 {
            return Err(Failure::argument("days", "an authority must hold for a day at least"));
        }
        let certificate_file = Target::find(host, Path::new(&self.path), "path")?;
        let key_file = Target::find(host, Path::new(&self.key_path), "key_path")?;
        let key = key_file.content.as_deref().map(|text| self.read_key(text)).transpose()?;
        let found = certificate_file.content.as_deref().map(|text| self.read_certificate(text)).transpose()?;
        let now = seconds(host.now());
        let because = match (&found, &key) {
            (Some(_), None) => {
                return Err(Failure::argument(
                    "key_path",
                    format!("the authority's certificate `{}` is there, but its key `{}` is not", self.path, self.key_path),
                )
                .hint("restore the key, or move the certificate away to begin anew"));
            }
            (Some(certificate), Some(key)) if !certificate.fits(key) => {
                return Err(Failure::argument(
                    "key_path",
                    format!("the key `{}` is not the one of the certificate `{}`", self.key_path, self.path),
                ));
            }
            (Some(certificate), Some(_)) => self.reason_to_renew(certificate, now)?,
            (None, Some(_)) => Some("there is a key and no certificate yet".to_owned()),
            (None, None) => Some("there is no authority yet".to_owned()),
        };
        let new_key = if key.is_none() { Some(PrivateKey::generate(self.key).map_err(|error| failure(&error))?) } else { None };
        let certificate = match (&because, found) {
            (None, Some(found)) => found,
            (_, found) => {
                let key = key.as_ref().or(new_key.as_ref()).ok_or_else(|| Failure::failed("there is no key"))?;
                // A renewed authority keeps its name, or what it signed would have another issuer.
                let subject = found.as_ref().map_or(self.subject.as_str(), |found| found.subject.as_str());
                let wish = Wish {
                    subject: subject.to_owned(),
                    not_before: now - BACK_DATED,
                    not_after: now + i64::from(self.days) * DAY,
                    ..Wish::default()
                };
                let new = new_authority(&wish, key).map_err(|error| failure(&error))?;
                if found.as_ref().is_some_and(|found| found.subject != new.subject) {
                    return Err(Failure::failed(format!("`{}` cannot be renewed: its name cannot be written again as it is", self.path)));
                }
                new
            }
        };
        let owned =
            |target: &Target, mode| target.wanted(host, &Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode });
        let mut changes = Vec::new();
        let pem = new_key.map(|key| key.to_pem(self.passphrase())).transpose().map_err(|error| failure(&error))?;
        let private = Attributes { mode: Some(0o600), ..Attributes::default() };
        let manner = Manner { wanted: owned(&key_file, self.key_mode.as_ref())?, for_new: private, secret: true, ..Manner::default() };
        changes.extend(key_file.changes(pem.map(|pem| pem.as_bytes().to_vec()), &manner));
        let public = Attributes { mode: Some(0o644), ..Attributes::default() };
        let manner = Manner { wanted: owned(&certificate_file, self.mode.as_ref())?, for_new: public, ..Manner::default() };
        changes.extend(certificate_file.changes(because.is_some().then(|| certificate.to_pem().into_bytes()), &manner));
        let because = because.unwrap_or_else(|| {
            if changes.is_empty() { "the authority is there and holds".into() } else { "owner, group or mode differ".into() }
        });
        Ok(Plan::all(because.clone(), changes)
            .values(told(&certificate))
            .value("path", self.path.as_str())
            .value("reason", because)
            .value("certificate", certificate.to_pem()))
    }
}

impl CertificateAuthority {
    fn passphrase(&self) -> Option<&str> {
        self.passphrase.as_ref().map(|passphrase| passphrase.reveal().as_str()).filter(|passphrase| !passphrase.is_empty())
    }

    fn read_key(&self, text: &[u8]) -> Result<PrivateKey, Failure> {
        PrivateKey::from_pem(text, self.passphrase()).map_err(|error| match error {
            CertificateError::WrongPassword(_) | CertificateError::NeedsPassword(_) => {
                Failure::argument("passphrase", format!("`{}`: {error}", self.key_path))
            }
            error => Failure::argument("key_path", format!("`{}`: {error}", self.key_path)),
        })
    }

    fn read_certificate(&self, text: &[u8]) -> Result<Certificate, Failure> {
        let wrong = |what: String| Failure::argument("path", format!("`{}`: {what}", self.path));
        let found = Certificate::from_pem(text).map_err(|error| wrong(error.to_string()))?;
        found
            .into_iter()
            .next()
            .filter(|certificate| certificate.is_ca)
            .ok_or_else(|| wrong("this is the certificate of no authority".to_owned()))
    }

    fn reason_to_renew(&self, certificate: &Certificate, now: i64) -> Result<Option<String>, Failure> {
        let left = (certificate.not_after - now).div_euclid(DAY);
        match self.renew_before {
            Some(days) if left < i64::from(days) => Ok(Some(expiry(certificate.not_after, now))),
            _ if certificate.not_after < now => Err(expired(&self.path, certificate, now)),
            _ => Ok(None),
        }
    }
}

/// Returns the failure of an authority that no longer holds.
pub fn expired(path: &str, certificate: &Certificate, now: i64) -> Failure {
    let days = (now - certificate.not_after).div_euclid(DAY);
    Failure::failed(format!("the certificate authority `{path}` expired {days} days ago, on {}", date(certificate.not_after)))
        .hint("renew it with `certificate_authority` and `renew_before`, which keeps its key and name, and give the new certificate to all who trust it")
}

/// Says when something ends: "it expires in 12 days", "it expired 3 days ago".
pub fn expiry(not_after: i64, now: i64) -> String {
    let days = (not_after - now).div_euclid(DAY);
    if not_after < now {
        format!("it expired {} days ago", (now - not_after).div_euclid(DAY))
    } else {
        format!("it expires in {days} days")
    }
}

/// Returns a moment as RFC 3339 writes it.
pub fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |moment| moment.to_string())
}

/// Returns the host's clock in whole seconds.
#[allow(clippy::cast_possible_truncation, reason = "clocks are far from the limits")]
pub fn seconds(now: f64) -> i64 {
    now as i64
}

/// Returns what `register` gets of a certificate.
pub fn told(certificate: &Certificate) -> Vec<(&'static str, Value)> {
    vec![
        ("subject", certificate.subject.as_str().into()),
        ("issuer", certificate.issuer.as_str().into()),
        ("serial", certificate.serial.as_str().into()),
        ("not_before", date(certificate.not_before).into()),
        ("not_after", date(certificate.not_after).into()),
        ("dns", certificate.dns.clone().into()),
        ("ip", certificate.ip.iter().map(ToString::to_string).collect::<Vec<_>>().into()),
        ("key_kind", certificate.key_kind.as_str().into()),
        ("fingerprint", certificate.fingerprint.as_str().into()),
    ]
}

fn failure(error: &CertificateError) -> Failure {
    Failure::failed(error.to_string())
}
