//! `openssl_csr`: a request for a certificate. Old roles hand it to `openssl ca`; `certificate` needs none.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module, keep_secret};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Before, Change, Failure, Plan, Probe};
use crate::formats::private_key::PrivateKey;
use crate::formats::signing_request::{self, RequestWish};
use crate::value::Map;
use crate::value::secret::Secret;

/// Makes a request for a certificate, PEM, of a private key of the host, unless there is one that asks for the same.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpensslCsr {
    /// The file.
    path: String,
    /// Whether it shall be there.
    #[serde(default)]
    state: super::group::Presence,
    /// The private key's file.
    privatekey_path: Option<String>,
    /// Opens the private key.
    privatekey_passphrase: Option<Secret<String>>,
    /// The name that it is for.
    #[serde(alias = "commonName")]
    common_name: Option<String>,
    /// Country, two letters.
    #[serde(alias = "countryName")]
    country_name: Option<String>,
    /// State or province.
    #[serde(alias = "stateOrProvinceName")]
    state_or_province_name: Option<String>,
    /// Town.
    #[serde(alias = "localityName")]
    locality_name: Option<String>,
    /// Organisation.
    #[serde(alias = "organizationName")]
    organization_name: Option<String>,
    /// Part of the organisation.
    #[serde(alias = "organizationalUnitName")]
    organizational_unit_name: Option<String>,
    /// E-mail address.
    #[serde(alias = "emailAddress")]
    email_address: Option<String>,
    /// Other names: `DNS:a`, `IP:192.0.2.1`, `email:a@b`, `URI:https://a`.
    #[serde(alias = "subjectAltName")]
    subject_alt_name: Option<Vec<String>>,
    /// Whether the common name is among the other names where none are given.
    #[serde(default = "super::command::yes", alias = "useCommonNameForSAN")]
    use_common_name_for_san: bool,
    /// Accepted for old playbooks: what the key is signed with follows from the key.
    #[serde(rename = "digest")]
    _digest: Option<String>,
    /// Whether a new request is made each time.
    #[serde(default)]
    force: bool,
    /// Whether a copy of the old file is kept.
    #[serde(default)]
    backup: bool,
    /// Owner of the file.
    owner: Option<String>,
    /// Group of the file.
    group: Option<String>,
    /// Mode of the file.
    mode: Option<FileMode>,
}

impl Module for OpensslCsr {
    const NAME: &'static str = "openssl_csr";
    const COLLECTION: &'static str = "community.crypto";
    const PATHS: &'static [&'static str] = &["path", "privatekey_path"];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "See that a request is gone",
        task: "{path: /etc/ssl/app.csr, state: absent}",
        given: &[("/etc/ssl/app.csr", "x")],
        changes: true,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        keep_secret(arguments, controller, &["privatekey_passphrase"]);
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let target = Target::find(host, Path::new(&self.path), "path")?;
        if self.state == super::group::Presence::Absent {
            return Ok(match &target.stat {
                None => Plan::nothing("there is no such file"),
                Some(_) => Plan::one("the request is there", Change::Remove { path: target.path, before: Before::Any }),
            });
        }
        let Some(key_path) = &self.privatekey_path else { return Err(Failure::argument("privatekey_path", "`privatekey_path` is needed")) };
        let missing = || Failure::Missing { path: key_path.into(), argument: "privatekey_path".to_owned() };
        let text = host.read(Path::new(key_path))?.ok_or_else(missing)?;
        let passphrase = self.privatekey_passphrase.as_ref().map(|text| text.reveal().as_str()).filter(|text| !text.is_empty());
        let key = PrivateKey::from_pem(&text, passphrase)
            .map_err(|error| Failure::argument("privatekey_path", format!("`{key_path}`: {error}")))?;
        let wish = self.wish();
        let found = target.content.as_deref().and_then(|text| signing_request::read(text, &key).ok());
        let is_good = !self.force && found.is_some_and(|(found, is_of_key)| is_of_key && found == wish);
        let content = if is_good {
            None
        } else {
            Some(signing_request::make(&wish, &key).map_err(|error| Failure::failed(error.to_string()))?.into_bytes())
        };
        let wanted =
            target.wanted(host, &Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode: self.mode.as_ref() })?;
        let for_new = Attributes { mode: Some(0o644), ..Attributes::default() };
        let changes = target.changes(content, &Manner { wanted, for_new, backup: self.backup, ..Manner::default() });
        let because = match (changes.is_empty(), is_good) {
            (true, _) => "the request asks for the same",
            (_, true) => "owner, group or mode differ",
            _ => "there is no such request yet",
        };
        Ok(Plan::all(because, changes).value("filename", self.path.as_str()).value("privatekey", key_path.as_str()))
    }
}

impl OpensslCsr {
    fn wish(&self) -> RequestWish {
        let parts = [
            ("C", &self.country_name),
            ("ST", &self.state_or_province_name),
            ("L", &self.locality_name),
            ("O", &self.organization_name),
            ("OU", &self.organizational_unit_name),
            ("CN", &self.common_name),
            ("emailAddress", &self.email_address),
        ];
        let subject =
            parts.iter().filter_map(|(kind, text)| Some(((*kind).to_owned(), (*text).clone()?))).filter(|(_, text)| !text.is_empty());
        let names = match (&self.subject_alt_name, &self.common_name) {
            (Some(names), _) => names.clone(),
            (None, Some(name)) if self.use_common_name_for_san => vec![format!("DNS:{name}")],
            _ => Vec::new(),
        };
        RequestWish { subject: subject.collect(), names }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;
    use crate::formats::private_key::KeyKind;

    #[test]
    fn a_request_that_asks_for_the_same_stays() {
        let key = PrivateKey::generate(KeyKind::EcP256).and_then(|key| key.to_pem(Some("secret"))).expect("a key");
        let arguments =
            [("path", "/etc/a.csr"), ("privatekey_path", "/etc/a.key"), ("privatekey_passphrase", "secret"), ("common_name", "a.example")];
        let module = |name: &str| {
            let map = arguments
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .chain([("country_name".into(), name.into())])
                .collect();
            crate::value::arguments::from_map::<OpensslCsr>(&map).expect("fits")
        };
        let host = FakeHost::with(&[("/etc/a.key", &key)]);
        let plan = module("DE").plan(&host).expect("plan");
        let Some(Change::Write { after: crate::change::Content::Bytes(bytes), .. }) = plan.changes.first() else { panic!("{plan:?}") };
        let request = String::from_utf8_lossy(bytes).into_owned();
        let host = FakeHost::with(&[("/etc/a.key", &key), ("/etc/a.csr", &request)]);
        assert!(module("DE").plan(&host).expect("plan").changes.is_empty());
        assert_eq!(module("FR").plan(&host).expect("plan").changes.len(), 1);
    }
}
