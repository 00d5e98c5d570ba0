//! `openssl_privatekey`: a private key in a file. Old roles make their keys with it; `certificate` makes key and certificate at once.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module, keep_secret};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Before, Change, Failure, Plan, Probe};
use crate::formats::private_key::{KeyKind, PrivateKey};
use crate::value::Map;
use crate::value::secret::Secret;

/// Makes a private key, PEM, unless there is one that the passphrase opens. Neither OpenSSL nor Python is needed on the host.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpensslPrivatekey {
    /// The file.
    path: String,
    /// Whether it shall be there.
    #[serde(default)]
    state: super::group::Presence,
    /// `RSA`, or `ECC` for an elliptic curve.
    #[serde(default = "rsa", rename = "type")]
    kind: String,
    /// Bits of an RSA key: 2048 or 4096.
    #[serde(default = "large")]
    size: u32,
    /// The curve of an elliptic key: `secp256r1`.
    curve: Option<String>,
    /// Protects the key.
    passphrase: Option<Secret<String>>,
    /// Accepted for old playbooks: a key with a passphrase is always kept by AES.
    #[serde(rename = "cipher")]
    _cipher: Option<String>,
    /// Accepted for old playbooks: a new key is PKCS#8, which everything reads.
    #[serde(rename = "format")]
    _format: Option<String>,
    /// Whether a new key is made each time.
    #[serde(default)]
    force: bool,
    /// `never`, `fail`, `partial_idempotence`, `full_idempotence` or `always`: when a key that is there gives way.
    #[serde(default = "full")]
    regenerate: String,
    /// Whether a copy of the old key is kept.
    #[serde(default)]
    backup: bool,
    /// Owner of the file.
    owner: Option<String>,
    /// Group of the file.
    group: Option<String>,
    /// Mode of the file; a new one has `0600`.
    mode: Option<FileMode>,
    /// Accepted for old playbooks.
    #[serde(rename = "select_crypto_backend")]
    _backend: Option<String>,
    /// Accepted for old playbooks.
    #[serde(rename = "return_content")]
    _return_content: Option<bool>,
}

fn rsa() -> String {
    "RSA".to_owned()
}
fn large() -> u32 {
    4096
}
fn full() -> String {
    "full_idempotence".to_owned()
}

impl Module for OpensslPrivatekey {
    const NAME: &'static str = "openssl_privatekey";
    const COLLECTION: &'static str = "community.crypto";
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Make a key",
        task: "{path: /etc/ssl/app.key, type: ECC, curve: secp256r1}",
        given: &[("/etc/ssl/", "")],
        changes: true,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        keep_secret(arguments, controller, &["passphrase"]);
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let target = Target::find(host, Path::new(&self.path), "path")?;
        if self.state == super::group::Presence::Absent {
            return Ok(match &target.stat {
                None => Plan::nothing("there is no such file"),
                Some(_) => Plan::one("the key is there", Change::Remove { path: target.path, before: Before::Any }),
            });
        }
        let kind = self.kind()?;
        let passphrase = self.passphrase.as_ref().map(|text| text.reveal().as_str()).filter(|text| !text.is_empty());
        let is_good = match &target.content {
            None => false,
            Some(_) if self.force || self.regenerate == "always" => false,
            Some(_) if self.regenerate == "never" => true,
            Some(text) => match PrivateKey::from_pem(text, passphrase) {
                Ok(_) => true,
                Err(error) if self.regenerate == "full_idempotence" => {
                    return Err(Failure::argument("passphrase", format!("`{}`: {error}", self.path))
                        .hint("the key is not replaced, as something may depend on it; `force: true` replaces it"));
                }
                Err(error) => return Err(Failure::argument("path", format!("`{}`: {error}", self.path))),
            },
        };
        let wanted =
            target.wanted(host, &Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode: self.mode.as_ref() })?;
        let for_new = Attributes { mode: Some(0o600), ..Attributes::default() };
        let manner = Manner { wanted, for_new, backup: self.backup, secret: true, ..Manner::default() };
        let failed = |error: crate::formats::private_key::CertificateError| Failure::failed(error.to_string());
        let content = if is_good {
            None
        } else {
            let pem = PrivateKey::generate(kind).and_then(|key| key.to_pem(passphrase)).map_err(failed)?;
            Some(pem.as_bytes().to_vec())
        };
        let changes = target.changes(content, &manner);
        let because = match (changes.is_empty(), is_good) {
            (true, _) => "the key is there",
            (_, true) => "owner, group or mode differ",
            _ => "there is no key yet, or a new one is asked for",
        };
        Ok(Plan::all(because, changes).value("filename", self.path.as_str()).value("type", self.kind.as_str()).value("size", self.size))
    }
}

impl OpensslPrivatekey {
    fn kind(&self) -> Result<KeyKind, Failure> {
        match (self.kind.to_uppercase().as_str(), self.size, self.curve.as_deref()) {
            ("RSA", 2048, _) => Ok(KeyKind::Rsa2048),
            ("RSA", 4096, _) => Ok(KeyKind::Rsa4096),
            ("RSA", size, _) => Err(Failure::argument("size", format!("a key of {size} bits is not supported; 2048 and 4096 are"))),
            ("ECC", _, None | Some("secp256r1" | "prime256v1")) => Ok(KeyKind::EcP256),
            ("ECC", _, Some(curve)) => Err(Failure::argument("curve", format!("the curve `{curve}` is not supported; `secp256r1` is"))),
            (kind, ..) => Err(Failure::argument("type", format!("keys of the kind `{kind}` are not supported; RSA and ECC are"))),
        }
    }
}
