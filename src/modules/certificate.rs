//! `certificate`: a certificate for a host, signed by a private authority.

use std::net::IpAddr;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::certificate_authority::{date, expired, expiry, seconds, told};
use super::{Controller, Example, Module, Runs};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Change, Failure, Plan, Probe};
use crate::formats::certificates::{Authority, BACK_DATED, Certificate, Wish, dns_name, new_self_signed};
use crate::formats::pkcs12::{Store, check_password};
use crate::formats::private_key::{CertificateError, KeyKind, PrivateKey};
use crate::value::arguments::from_value as arguments_of;
use crate::value::secret::Secret;
use crate::value::{Map, Value};

/// Gives a host a private key and a certificate for it, as one PKCS#12 store (`.p12`, `.pfx`) or as PEM files. The
/// certificate is signed on the controller, where the authority's key is read and where it stays.
///
/// What is on the host is kept as long as it fits. It is issued anew, with a new key, when it is missing or unreadable, when
/// its names, subject, kind of key or authority are not the asked ones, or when it expires soon; `reason` in the result
/// tells which. The store is what `elasticsearch-certutil` makes: the key under its own name, the authority as `ca`,
/// trusted by Java.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateModule {
    /// The file: a PKCS#12 store when it ends with `.p12` or `.pfx`, else a PEM certificate, which needs `key_path`.
    path: String,
    /// The private key's file, for PEM.
    key_path: Option<String>,
    /// Protects the store; plain ASCII. For PEM: encrypts the key.
    password: Option<Secret<String>>,
    /// Who signs. Without it, the certificate signs itself.
    authority: Option<AuthorityFiles>,
    /// Name of the certificate: plain (`node1`, which becomes `CN=node1`) or full (`CN=node1,O=Example`). Without it, the first of `dns`.
    #[serde(alias = "subject", alias = "common_name")]
    name: Option<String>,
    /// Name of the key's entry in the store. Without it, the plain name.
    alias: Option<String>,
    /// DNS names it holds for.
    #[serde(default)]
    dns: Vec<String>,
    /// Addresses it holds for.
    #[serde(default)]
    ip: Vec<IpAddr>,
    /// The kind of key.
    #[serde(default)]
    key: KeyKind,
    /// How many days it holds. It never outlives its authority.
    #[serde(default = "three_years")]
    days: u32,
    /// Issue it anew when it has fewer days left than this.
    #[serde(default = "a_month")]
    renew_before: u32,
    /// Whether to issue it anew whatever there is.
    #[serde(default)]
    force: bool,
    /// Owner of the files.
    owner: Option<String>,
    /// Group of the files.
    group: Option<String>,
    /// Mode of the files. New ones have `0600`, a PEM certificate `0644`. For PEM it is the certificate's, the key has `key_mode`.
    mode: Option<FileMode>,
    /// Mode of the PEM key.
    key_mode: Option<FileMode>,
    /// What the controller read of the authority.
    #[serde(default, rename = "_authority")]
    #[schemars(skip)]
    found: Option<AuthorityText>,
}

/// The authority's files on the controller.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AuthorityFiles {
    /// Its certificate, PEM; certificates of those above it may follow. Or a PKCS#12 store with certificate and key.
    cert: String,
    /// Its private key, PEM.
    key: Option<String>,
    /// What the key, or the store, is protected with.
    passphrase: Option<Secret<String>>,
}

/// The authority as PEM.
#[derive(Debug, Deserialize, Serialize)]
struct AuthorityText {
    certificates: String,
    key: Secret<String>,
}

fn three_years() -> u32 {
    1095
}

fn a_month() -> u32 {
    30
}

const DAY: i64 = 86_400;

/// What is on the host already.
struct Found {
    certificate: Certificate,
    key: PrivateKey,
    trusts: Vec<Certificate>,
    alias: Option<String>,
}

impl Module for CertificateModule {
    const NAME: &'static str = "certificate";
    const RUNS: Runs = Runs::OnController;
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "A PKCS#12 store for Elasticsearch",
            task: "path: /etc/elasticsearch/certs/cross-cluster.p12\npassword: s3cret-enough\nkey: ec-p256\ndns: [remote-es.example.net]\nip: [198.51.100.20]\ndays: 1095\nrenew_before: 30\nmode: \"0640\"\n",
            given: &[("/etc/elasticsearch/", ""), ("/etc/elasticsearch/certs/", "")],
            changes: true,
        },
        Example {
            title: "PEM files",
            task: "path: /etc/ssl/web.crt\nkey_path: /etc/ssl/web.key\nkey: ec-p256\ndns: [web.example.net, www.example.net]\n",
            given: &[("/etc/ssl/", "")],
            changes: true,
        },
    ];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        if let Some(password) = arguments.get("password").and_then(Value::as_str) {
            controller.secret(password);
        }
        let Some(files) = arguments.get("authority").filter(|files| !files.is_null()) else { return Ok(()) };
        let files: AuthorityFiles = arguments_of(files).map_err(|misfit| {
            let argument = if misfit.argument.is_empty() { "authority".to_owned() } else { format!("authority.{}", misfit.argument) };
            Failure::argument(argument, misfit.message)
        })?;
        let authority = files.read(controller)?;
        let certificates = std::iter::once(&authority.certificate).chain(&authority.chain).map(Certificate::to_pem).collect::<String>();
        let key = authority.key.to_pem(None).map_err(|error| Failure::failed(error.to_string()))?;
        controller.secret(&key);
        arguments.insert("_authority".into(), Value::map([("certificates", Value::from(certificates)), ("key", Value::str(key.as_str()))]));
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let wish = self.wish(host)?;
        let authority = self.authority(wish.not_before + BACK_DATED)?;
        let target = Target::find(host, Path::new(&self.path), "path")?;
        let key_target = self.key_target(host)?;
        let now = seconds(host.now());
        let (kept, reason) = match self.look(&target, key_target.as_ref()) {
            Ok(Some(found)) => match self.reason(&found, &wish, authority.as_ref(), now) {
                Some(reason) => (None, reason),
                None => (Some(found.certificate), String::new()),
            },
            Ok(None) => (None, "there is none yet".to_owned()),
            Err(error) => (None, format!("what is there cannot be used: {error}")),
        };
        let mut warnings = Vec::new();
        let issued = if kept.is_none() { Some(self.issue(&wish, authority.as_ref(), &mut warnings)?) } else { None };
        let certificate = kept
            .as_ref()
            .or(issued.as_ref().map(|issued| &issued.certificate))
            .ok_or_else(|| Failure::failed("no certificate was made"))?;
        if let (Some(authority), Some(kept)) = (&authority, &kept) {
            let left = (kept.not_after - now).div_euclid(DAY);
            if left < i64::from(self.renew_before) && kept.not_after >= authority.certificate.not_after {
                warnings.push(format!(
                    "`{}` ends on {}, and cannot be renewed beyond it as its authority ends then too",
                    self.path,
                    date(kept.not_after)
                ));
            }
        }
        let told = told(certificate);
        let changes = self.changes(host, &target, key_target.as_ref(), issued)?;
        let because = match (kept.is_some(), changes.is_empty()) {
            (true, true) => "the certificate is there and fits".to_owned(),
            (true, false) => "owner, group or mode differ".to_owned(),
            (false, _) => reason.clone(),
        };
        let mut plan = Plan::all(because, changes)
            .values(told)
            .value("path", self.path.as_str())
            .value("key_path", self.key_path.clone())
            .value("reason", reason);
        plan.warnings = warnings;
        Ok(plan)
    }
}

/// What was made: the certificate, and what goes into the files.
struct Issued {
    certificate: Certificate,
    file: Vec<u8>,
    key_file: Option<Vec<u8>>,
}

impl CertificateModule {
    fn is_store(&self) -> bool {
        let path = self.path.to_ascii_lowercase();
        [".p12", ".pfx", ".pkcs12"].iter().any(|ending| path.ends_with(ending))
    }

    fn password(&self) -> Option<&str> {
        self.password.as_ref().map(|password| password.reveal().as_str()).filter(|password| !password.is_empty())
    }

    fn wish(&self, host: &dyn Probe) -> Result<Wish, Failure> {
        if self.days == 0 || self.renew_before >= self.days {
            let message = format!(
                "`renew_before` ({}) must be less than `days` ({}), or every run would issue the certificate anew",
                self.renew_before, self.days
            );
            return Err(Failure::argument("renew_before", message));
        }
        if self.is_store() {
            check_password(self.password().unwrap_or_default()).map_err(|error| Failure::argument("password", error.to_string()))?;
        }
        let mut dns = self
            .dns
            .iter()
            .map(|name| dns_name(name))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failure::argument("dns", error.to_string()).hint("addresses go under `ip`"))?;
        dns.sort();
        dns.dedup();
        let mut ip = self.ip.clone();
        ip.sort();
        ip.dedup();
        let named = self.name.clone().or_else(|| self.dns.first().cloned()).or_else(|| self.ip.first().map(ToString::to_string));
        let subject = named.ok_or_else(|| Failure::argument("", "the certificate needs a `name`, or names under `dns` or `ip`"))?;
        let now = seconds(host.now());
        Ok(Wish { subject, dns, ip, not_before: now - BACK_DATED, not_after: now + i64::from(self.days) * DAY })
    }

    /// Returns who signs, once it is sure that it may.
    fn authority(&self, now: i64) -> Result<Option<Authority>, Failure> {
        let (Some(files), Some(found)) = (&self.authority, &self.found) else {
            return match &self.authority {
                Some(files) => Err(Failure::argument("authority.cert", format!("the authority `{}` was not read", files.cert))),
                None => Ok(None),
            };
        };
        let wrong = |error: CertificateError| Failure::argument("authority", error.to_string());
        let key = PrivateKey::from_pem(found.key.reveal().as_bytes(), None).map_err(wrong)?;
        let authority = Authority::new(Certificate::from_pem(found.certificates.as_bytes()).map_err(wrong)?, key).map_err(wrong)?;
        if authority.certificate.not_after < now {
            return Err(expired(&files.cert, &authority.certificate, now));
        }
        if authority.certificate.not_before > now + BACK_DATED {
            let from = date(authority.certificate.not_before);
            return Err(Failure::failed(format!("the certificate authority `{}` only holds from {from} on", files.cert))
                .hint("see whether the clocks are right"));
        }
        Ok(Some(authority))
    }

    fn key_target(&self, host: &dyn Probe) -> Result<Option<Target>, Failure> {
        match (&self.key_path, self.is_store()) {
            (Some(_), true) => Err(Failure::argument("key_path", "a PKCS#12 store has the key in it, so `key_path` is for PEM only")),
            (None, false) => {
                Err(Failure::argument("key_path", format!("`{}` is a PEM file, which needs `key_path` for the key", self.path))
                    .hint("a name that ends with `.p12` or `.pfx` makes a PKCS#12 store"))
            }
            (None, true) => Ok(None),
            (Some(path), false) => Target::find(host, Path::new(path), "key_path").map(Some),
        }
    }

    /// Reads what is on the host: `None` where there is nothing, or only a part.
    fn look(&self, target: &Target, key_target: Option<&Target>) -> Result<Option<Found>, CertificateError> {
        let Some(content) = target.content.as_deref() else { return Ok(None) };
        let Some(key_target) = key_target else {
            let store = Store::read(content, self.password().unwrap_or_default())?;
            let certificate =
                store.chain.into_iter().next().ok_or_else(|| CertificateError::Unreadable("the store has no certificate".to_owned()))?;
            let trusts = store.trusted.into_iter().map(|(_, certificate)| certificate).collect();
            return Ok(Some(Found { certificate, key: store.key, trusts, alias: Some(store.alias) }));
        };
        let Some(key) = key_target.content.as_deref() else { return Ok(None) };
        let certificate = Certificate::from_pem(content)?.swap_remove(0);
        if self.password().is_some() && !String::from_utf8_lossy(key).contains("ENCRYPTED") {
            return Err(CertificateError::Unreadable("its key is not encrypted".to_owned()));
        }
        let key = PrivateKey::from_pem(key, self.password())?;
        Ok(Some(Found { certificate, key, trusts: Vec::new(), alias: None }))
    }

    /// Returns why what is there does not do.
    fn reason(&self, found: &Found, wish: &Wish, authority: Option<&Authority>, now: i64) -> Option<String> {
        let certificate = &found.certificate;
        if self.force {
            return Some("`force` asks for it".to_owned());
        }
        if !certificate.fits(&found.key) {
            return Some("its key is not the one of the certificate".to_owned());
        }
        match authority {
            Some(authority) if !certificate.is_signed_by(&authority.certificate) => {
                return Some(format!("it was issued by another authority, `{}`", certificate.issuer));
            }
            Some(authority) if self.is_store() && !found.trusts.contains(anchor(authority)) => {
                return Some("the store does not trust the authority".to_owned());
            }
            None if !certificate.is_self_signed() => return Some(format!("it was issued by an authority, `{}`", certificate.issuer)),
            _ => {}
        }
        if let Some(difference) = names_differ(certificate, wish) {
            return Some(difference);
        }
        if !certificate.is_for(&wish.subject) {
            return Some(format!("its name is `{}`, not `{}`", certificate.subject, wish.subject));
        }
        if found.alias.as_ref().is_some_and(|alias| !alias.eq_ignore_ascii_case(&self.entry_name(wish))) {
            return Some(format!("the key's entry is not called `{}`", self.entry_name(wish)));
        }
        if certificate.key_kind != self.key.to_string() {
            return Some(format!("its key is {}, not {}", certificate.key_kind, self.key));
        }
        let left = (certificate.not_after - now).div_euclid(DAY);
        // What already ends with its authority would only be made the same again.
        let limited = authority.is_some_and(|authority| certificate.not_after >= authority.certificate.not_after);
        (left < i64::from(self.renew_before) && !limited).then(|| expiry(certificate.not_after, now))
    }

    /// Returns the name of the key's entry in a store.
    fn entry_name(&self, wish: &Wish) -> String {
        let plain = wish.subject.split(',').find_map(|part| part.trim().strip_prefix("CN=")).unwrap_or(&wish.subject);
        self.alias.clone().unwrap_or_else(|| plain.to_owned())
    }

    fn issue(&self, wish: &Wish, authority: Option<&Authority>, warnings: &mut Vec<String>) -> Result<Issued, Failure> {
        let wrong = |error: CertificateError| Failure::failed(error.to_string());
        let key = PrivateKey::generate(self.key).map_err(wrong)?;
        let certificate = match authority {
            Some(authority) => authority.issue(wish, &key).map_err(wrong)?,
            None => new_self_signed(wish, &key).map_err(wrong)?,
        };
        if certificate.not_after < wish.not_after {
            warnings.push(format!("`{}` holds only until {}, as its authority ends then", self.path, date(certificate.not_after)));
        }
        // A root need not be sent along: whoever trusts it has it.
        let above = authority.into_iter().flat_map(|authority| std::iter::once(&authority.certificate).chain(&authority.chain));
        let chain: Vec<_> = std::iter::once(&certificate).chain(above.filter(|above| !above.is_self_signed())).cloned().collect();
        if self.is_store() {
            let trusted = authority.map(|authority| ("ca".to_owned(), anchor(authority).clone())).into_iter().collect();
            let store = Store { alias: self.entry_name(wish), key, chain, trusted };
            let file = store.write(self.password().unwrap_or_default()).map_err(wrong)?;
            return Ok(Issued { certificate, file, key_file: None });
        }
        let file = chain.iter().map(Certificate::to_pem).collect::<String>().into_bytes();
        let key_file = key.to_pem(self.password()).map_err(wrong)?.as_bytes().to_vec();
        Ok(Issued { certificate, file, key_file: Some(key_file) })
    }

    fn changes(
        &self,
        host: &dyn Probe,
        target: &Target,
        key_target: Option<&Target>,
        issued: Option<Issued>,
    ) -> Result<Vec<Change>, Failure> {
        let (file, key_file) = issued.map_or((None, None), |issued| (Some(issued.file), issued.key_file));
        let owned =
            |target: &Target, mode| target.wanted(host, &Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode });
        let for_new = |mode| Attributes { mode: Some(mode), ..Attributes::default() };
        let mut changes = Vec::new();
        if let Some(key_target) = key_target {
            let manner =
                Manner { wanted: owned(key_target, self.key_mode.as_ref())?, for_new: for_new(0o600), secret: true, ..Manner::default() };
            changes.extend(key_target.changes(key_file, &manner));
        }
        let mode = if self.is_store() { 0o600 } else { 0o644 };
        let manner =
            Manner { wanted: owned(target, self.mode.as_ref())?, for_new: for_new(mode), secret: self.is_store(), ..Manner::default() };
        changes.extend(target.changes(file, &manner));
        Ok(changes)
    }
}

impl AuthorityFiles {
    fn read(&self, controller: &dyn Controller) -> Result<Authority, Failure> {
        let passphrase =
            self.passphrase.as_ref().map(|passphrase| passphrase.reveal().as_str()).filter(|passphrase| !passphrase.is_empty());
        if let Some(passphrase) = passphrase {
            controller.secret(passphrase);
        }
        let wrong = |path: &str, argument: &str, error: &CertificateError| {
            let argument = match error {
                CertificateError::WrongPassword(_) | CertificateError::NeedsPassword(_) => "authority.passphrase",
                _ => argument,
            };
            Failure::argument(argument, format!("the authority's file `{path}`: {error}"))
        };
        let text = controller.read(&controller.find("files", &self.cert).map_err(|failure| failure.at("authority.cert"))?)?;
        let authority = if text.first() == Some(&0x30) {
            let store = Store::read(&text, passphrase.unwrap_or_default()).map_err(|error| wrong(&self.cert, "authority.cert", &error))?;
            Authority::new(store.chain, store.key)
        } else {
            let certificates = Certificate::from_pem(&text).map_err(|error| wrong(&self.cert, "authority.cert", &error))?;
            let path = self.key.as_deref().ok_or_else(|| Failure::argument("authority.key", "the authority's key is needed to sign"))?;
            let key = controller.read(&controller.find("files", path).map_err(|failure| failure.at("authority.key"))?)?;
            let key = PrivateKey::from_pem(&key, passphrase).map_err(|error| wrong(path, "authority.key", &error))?;
            Authority::new(certificates, key)
        };
        authority.map_err(|error| wrong(&self.cert, "authority.cert", &error))
    }
}

/// Returns the certificate that others trust: the root where it is known.
fn anchor(authority: &Authority) -> &Certificate {
    std::iter::once(&authority.certificate)
        .chain(&authority.chain)
        .find(|certificate| certificate.is_self_signed())
        .unwrap_or(&authority.certificate)
}

/// Says which names are missing or too many.
fn names_differ(certificate: &Certificate, wish: &Wish) -> Option<String> {
    let all = |dns: &[String], ip: &[IpAddr]| dns.iter().cloned().chain(ip.iter().map(ToString::to_string)).collect::<Vec<_>>();
    let (has, wants) = (all(&certificate.dns, &certificate.ip), all(&wish.dns, &wish.ip));
    let missing: Vec<_> = wants.iter().filter(|name| !has.contains(name)).cloned().collect();
    let surplus: Vec<_> = has.iter().filter(|name| !wants.contains(name)).cloned().collect();
    let parts = [("it does not name ", missing), ("it names ", surplus)];
    let parts: Vec<_> =
        parts.iter().filter(|(_, names)| !names.is_empty()).map(|(verb, names)| format!("{verb}{}", names.join(", "))).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}
