//! `elasticsearch_cross_cluster_api_key`: the key by which another cluster may reach into this one.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{Controller, Example, Module, keep_secret};
use crate::change::doubt::Names;
use crate::change::elasticsearch::{Call, SECRET_ARGUMENTS, Server, answer_of, elasticsearch_arguments, value};
use crate::change::{Change, Done, Effect, Failure, Plan, Probe};
use crate::formats::elasticsearch::{access_of_key, encoded, millis, normal_access};
use crate::value::arguments::Anything;
use crate::value::json::to_json;
use crate::value::{Map, Value};

elasticsearch_arguments! {
    /// Makes a cross-cluster API key at the remote cluster, keeps its access as asked, renews it, and makes keys invalid. Names
    /// are not unique in Elasticsearch, so the key is the newest valid one of this name that belongs to the user, or the
    /// one with `local_id`; it is adopted rather than made a second time.
    ///
    /// Elasticsearch tells a key's secret once, when it makes it: the result has `encoded` and `api_key` only then. They
    /// are masked in every output, and go nowhere but into the registered variable.
    pub struct ElasticsearchCrossClusterApiKey {
        /// The key's name.
        name: String,
        /// What the other cluster may do: `search` and `replication`, each a list of `names` of indices, with `query`, `field_security` and `allow_restricted_indices` where wanted.
        access: Option<Anything>,
        /// How long a new key is valid: `90d`, `12h`. Without it, until it is made invalid.
        expiration: Option<String>,
        /// Make a new key when the old one is valid for fewer days than this.
        renew_before: Option<u32>,
        /// Whether to make a new key although there is one: `true`, or `when_lost` when the local clusters no longer have its secret. The old one stays valid until it is made invalid.
        #[serde(default)]
        rotate: Rotate,
        /// For `when_lost`: the id of the key that the local keystores have, as `elasticsearch_keystore` tells it under `api_key_ids`; empty where they have none or not the same.
        local_id: Option<String>,
        /// Further data to store with a new key. Names must not begin with `_`.
        metadata: Option<Anything>,
        /// Pattern for the name of the certificate that the other cluster has to sign its requests with (9.3 and later).
        certificate_identity: Option<String>,
        /// Whether there is such a key. `absent` makes all valid ones of the name invalid, or those of `invalidate_ids`, but for `keep_ids`.
        #[serde(default)]
        state: State,
        /// For `absent`: ids of the keys that become invalid.
        invalidate_ids: Option<Vec<String>>,
        /// For `absent`: ids of keys that stay.
        #[serde(default)]
        keep_ids: Vec<String>,
    }
}

/// When to make a new key although there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
enum Rotate {
    /// Never.
    #[default]
    #[serde(rename = "false", alias = "False", alias = "no")]
    No,
    /// Always.
    #[serde(rename = "true", alias = "True", alias = "yes")]
    Yes,
    /// When the secret of the one that is there is lost.
    #[serde(rename = "when_lost")]
    WhenLost,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
}

const DAY: i64 = 86_400_000;
/// Tells keys that were made here from others of the name.
const TAG: (&str, &str) = ("managed_by", "windlass");

/// A key, as far as Elasticsearch tells.
#[derive(Clone, Debug)]
struct Key {
    id: String,
    created: i64,
    expires: Option<i64>,
    access: Json,
    tagged: bool,
    identity: Option<String>,
}

impl Module for ElasticsearchCrossClusterApiKey {
    const NAME: &'static str = "elasticsearch_cross_cluster_api_key";
    const CHANGES: &'static [Names] = &[Names::Server("url")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "A key that is there already is adopted",
            task: "url: https://es.example.net:9200\nca_file: /etc/elasticsearch/certs/http_ca.crt\nusername: elastic\npassword: s3cret-enough\nname: dr-site-ccs\naccess:\n  search:\n    - names: [logs-*, metrics-*]\nexpiration: 90d\n",
            given: &[
                ("/etc/elasticsearch/certs/http_ca.crt", ""),
                (
                    "GET https://es.example.net:9200/_security/api_key",
                    r#"{"api_keys": [{"id": "k1", "name": "dr-site-ccs", "type": "cross_cluster", "creation": 1, "invalidated": false, "access": {"search": [{"names": ["logs-*", "metrics-*"]}]}}]}"#,
                ),
            ],
            changes: false,
        },
        Example {
            title: "Make every key of a name invalid",
            task: "url: https://es.example.net:9200\nca_file: /etc/elasticsearch/certs/http_ca.crt\nusername: elastic\npassword: s3cret-enough\nname: old-site-ccs\nstate: absent\n",
            given: &[
                ("/etc/elasticsearch/certs/http_ca.crt", ""),
                ("GET https://es.example.net:9200/_security/api_key", r#"{"api_keys": []}"#),
            ],
            changes: false,
        },
    ];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        keep_secret(arguments, controller, SECRET_ARGUMENTS);
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let server = self.server();
        let warnings = server.check()?;
        self.check()?;
        let keys = self.keys(&server, host)?;
        let mut plan = match self.state {
            State::Present => self.present(&server, host, &keys)?,
            State::Absent => self.absent(&server, host, &keys)?,
        };
        plan.warnings.extend(warnings);
        Ok(plan)
    }

    fn result(&self, plan: &Plan, done: &[Done], _: &dyn Probe) -> Result<Map, Failure> {
        let mut values = plan.values.clone();
        let Some(Change::Http { request, .. }) = plan.changes.first() else { return Ok(values) };
        let body = answer_of(&self.doing(&request.method), done.first())?;
        match request.method.as_str() {
            "POST" => {
                for name in ["id", "name", "api_key", "encoded", "expiration"] {
                    values.insert(name.into(), body.get(name).map_or(Value::Null, value));
                }
                if values.get("encoded").is_none_or(|encoded| encoded.as_str().is_none()) {
                    return Err(Failure::failed(format!("{}: the answer has no key in it", self.doing("POST"))));
                }
            }
            "DELETE" => {
                let failed = body.get("error_count").and_then(Json::as_u64).unwrap_or_default();
                if failed > 0 {
                    let why = body.pointer("/error_details/0/reason").and_then(Json::as_str).unwrap_or("no reason was told");
                    return Err(Failure::failed(format!("{failed} keys could not be made invalid: {why}")));
                }
            }
            _ => {}
        }
        Ok(values)
    }
}

impl ElasticsearchCrossClusterApiKey {
    fn doing(&self, method: &str) -> String {
        let verb = match method {
            "POST" => "create",
            "DELETE" => "invalidate",
            _ => "update",
        };
        format!("{verb} the cross-cluster API key `{}`", self.name)
    }

    /// Refuses what Elasticsearch would refuse too, before anything is sent.
    fn check(&self) -> Result<(), Failure> {
        if self.name.trim().is_empty() || self.name.contains('*') {
            return Err(Failure::argument("name", "the key needs a name, without `*`"));
        }
        if self.state == State::Absent {
            return Ok(());
        }
        if self.api_key.is_some() {
            return Err(Failure::argument("api_key", "an API key cannot create cross-cluster API keys")
                .hint("log in by `username` and `password`, or `bearer_token`"));
        }
        let access = self.access()?;
        if normal_access(&access).as_object().is_none_or(serde_json::Map::is_empty) {
            return Err(Failure::argument("access", "the key needs access: a list under `search`, under `replication`, or both"));
        }
        for (kind, rules) in access.as_object().into_iter().flatten() {
            let rules = rules.as_array().filter(|_| matches!(kind.as_str(), "search" | "replication"));
            let rules = rules.ok_or_else(|| {
                Failure::argument("access", format!("`{kind}` is not known in `access`: it has lists under `search` and `replication`"))
            })?;
            let known: &[&str] = if kind == "search" {
                &["names", "query", "field_security", "allow_restricted_indices"]
            } else {
                &["names", "allow_restricted_indices"]
            };
            for rule in rules {
                let unknown = rule.as_object().and_then(|rule| rule.keys().find(|key| !known.contains(&key.as_str())));
                if let Some(unknown) = unknown {
                    return Err(Failure::argument(
                        "access",
                        format!("`{unknown}` is not known in `access.{kind}`; known are {}", known.join(", ")),
                    ));
                }
                if rule.get("names").is_none_or(|names| names.as_array().is_some_and(Vec::is_empty)) {
                    return Err(Failure::argument("access", format!("an entry of `access.{kind}` has no `names`")));
                }
            }
        }
        if self.expiration.as_deref().is_some_and(|duration| millis(duration).is_none_or(|millis| millis == 0)) {
            return Err(Failure::argument("expiration", "the expiration is no duration such as `90d`"));
        }
        if self.metadata()?.keys().any(|name| name.starts_with('_')) {
            return Err(Failure::argument("metadata", "names in `metadata` must not begin with `_`"));
        }
        Ok(())
    }

    fn access(&self) -> Result<Json, Failure> {
        let access = self.access.as_ref().map(|access| to_json(&access.0)).filter(|access| !access.is_null());
        let access = access.ok_or_else(|| Failure::argument("access", "`access` is required: what the other cluster may do"))?;
        if access.is_object() { Ok(access) } else { Err(Failure::argument("access", "`access` is no dictionary")) }
    }

    fn metadata(&self) -> Result<serde_json::Map<String, Json>, Failure> {
        let mut out = serde_json::Map::from_iter([(TAG.0.to_owned(), json!(TAG.1))]);
        match self.metadata.as_ref().map(|metadata| to_json(&metadata.0)) {
            None | Some(Json::Null) => {}
            Some(Json::Object(given)) => out.extend(given),
            Some(_) => return Err(Failure::argument("metadata", "`metadata` is no dictionary")),
        }
        Ok(out)
    }

    fn address(&self) -> String {
        format!("/_security/api_key?name={}&owner=true&active_only=true", encoded(&self.name))
    }

    /// Returns the valid cross-cluster keys of this name and user, the best first: what the local clusters have, then what was made here, then the newest.
    fn keys(&self, server: &Server<'_>, host: &dyn Probe) -> Result<Vec<Key>, Failure> {
        let body = server.get(host, &self.address(), &format!("look for the cross-cluster API key `{}`", self.name))?;
        #[allow(clippy::cast_possible_truncation, reason = "clocks are far from the limits")]
        let now = (host.now() * 1000.0) as i64;
        let text = |key: &Json, name: &str| key.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let number = |key: &Json, name: &str| key.get(name).and_then(Json::as_i64);
        let found = body.get("api_keys").and_then(Json::as_array).into_iter().flatten();
        let mut keys: Vec<_> = found
            .filter(|key| {
                text(key, "name") == self.name && text(key, "type") == "cross_cluster" && key.get("invalidated") != Some(&Json::Bool(true))
            })
            .filter(|key| number(key, "expiration").is_none_or(|expires| expires > now))
            .map(|key| Key {
                id: text(key, "id"),
                created: number(key, "creation").unwrap_or_default(),
                expires: number(key, "expiration"),
                access: access_of_key(key),
                tagged: key.pointer(&format!("/metadata/{}", TAG.0)).and_then(Json::as_str) == Some(TAG.1),
                identity: key.get("certificate_identity").and_then(Json::as_str).map(ToOwned::to_owned),
            })
            .collect();
        let local = self.local_id.as_deref();
        keys.sort_by_key(|key| (local == Some(&key.id), key.tagged, key.created));
        keys.reverse();
        Ok(keys)
    }

    fn present(&self, server: &Server<'_>, host: &dyn Probe, keys: &[Key]) -> Result<Plan, Failure> {
        let others = |but: Option<&str>| keys.iter().map(|key| key.id.clone()).filter(|id| Some(id.as_str()) != but).collect::<Vec<_>>();
        let Some(key) = keys.first() else { return self.create(server, host, "there is no valid key of this name yet", others(None)) };
        if let Some(reason) = self.reason_to_rotate(key, host) {
            return self.create(server, host, &reason, others(None));
        }
        let wanted = normal_access(&self.access()?);
        let identity_differs = self.certificate_identity.is_some() && self.certificate_identity != key.identity;
        let told = vec![
            ("id", Value::from(key.id.as_str())),
            ("name", self.name.as_str().into()),
            ("expiration", key.expires.map_or(Value::Null, Value::Int)),
            ("old_ids", others(Some(&key.id)).into()),
            ("created", false.into()),
            ("reason", Value::str("")),
        ];
        if wanted == key.access && !identity_differs {
            return Ok(Plan::nothing("there is such a key, with this access").values(told));
        }
        let mut body = serde_json::Map::from_iter([("access".to_owned(), self.access()?)]);
        if identity_differs {
            body.insert("certificate_identity".to_owned(), json!(self.certificate_identity));
        }
        let pretty = |json: &Json| serde_json::to_string_pretty(json).unwrap_or_default() + "\n";
        let call = Call {
            method: "PUT",
            path: &format!("/_security/cross_cluster/api_key/{}", encoded(&key.id)),
            body: Some(&Json::Object(body)),
            summary: format!("would {}", self.doing("PUT")),
            diff: Some((pretty(&key.access), pretty(&wanted))),
            effects: vec![Effect::UrlUnknown(server.address(&self.address()))],
            // What a certificate was bound to cannot be taken away again by a request.
            undo: (!identity_differs).then(|| {
                let path = format!("/_security/cross_cluster/api_key/{}", encoded(&key.id));
                ("PUT", path, json!({ "access": key.access }))
            }),
        };
        Ok(Plan::one("its access differs", server.change(host, call)?).values(told))
    }

    fn reason_to_rotate(&self, key: &Key, host: &dyn Probe) -> Option<String> {
        let local = self.local_id.as_deref().filter(|id| !id.is_empty());
        match (self.rotate, local) {
            (Rotate::Yes, _) => return Some("`rotate` asks for a new one".to_owned()),
            (Rotate::WhenLost, None) => return Some("the local clusters have no credential of a key".to_owned()),
            (Rotate::WhenLost, Some(id)) if id != key.id => {
                return Some(format!("the local clusters have the credential of another key, `{id}`, that is not valid here"));
            }
            _ => {}
        }
        #[allow(clippy::cast_possible_truncation, reason = "clocks are far from the limits")]
        let left = key.expires? - (host.now() * 1000.0) as i64;
        let days = i64::from(self.renew_before?);
        (left < days * DAY).then(|| format!("the key expires in {} days", left.div_euclid(DAY)))
    }

    fn create(&self, server: &Server<'_>, host: &dyn Probe, reason: &str, old: Vec<String>) -> Result<Plan, Failure> {
        let mut body = serde_json::Map::from_iter([
            ("name".to_owned(), json!(self.name)),
            ("access".to_owned(), self.access()?),
            ("metadata".to_owned(), Json::Object(self.metadata()?)),
        ]);
        body.extend(self.expiration.as_ref().map(|duration| ("expiration".to_owned(), json!(duration))));
        body.extend(self.certificate_identity.as_ref().map(|pattern| ("certificate_identity".to_owned(), json!(pattern))));
        let call = Call {
            method: "POST",
            path: "/_security/cross_cluster/api_key",
            body: Some(&Json::Object(body)),
            summary: format!("would {}", self.doing("POST")),
            diff: None,
            effects: vec![Effect::UrlUnknown(server.address(&self.address()))],
            undo: Some(("DELETE", "/_security/api_key".to_owned(), json!({ "ids": ["@id@"] }))),
        };
        let unknown = || Value::unknown(format!("the key `{}` was not made", self.name));
        let mut plan = Plan::one(reason, server.change(host, call)?)
            .value("id", unknown())
            .value("name", self.name.as_str())
            .value("encoded", unknown())
            .value("api_key", unknown())
            .value("expiration", unknown())
            .value("old_ids", old)
            .value("created", true)
            .value("reason", reason);
        plan.secrets = vec!["encoded".to_owned(), "api_key".to_owned()];
        Ok(plan)
    }

    fn absent(&self, server: &Server<'_>, host: &dyn Probe, keys: &[Key]) -> Result<Plan, Failure> {
        let asked = |id: &String| self.invalidate_ids.as_ref().is_none_or(|ids| ids.contains(id)) && !self.keep_ids.contains(id);
        let ids: Vec<_> = keys.iter().map(|key| key.id.clone()).filter(asked).collect();
        let told = vec![("name", Value::from(self.name.as_str())), ("invalidated_ids", ids.clone().into())];
        if ids.is_empty() {
            return Ok(Plan::nothing("there is no such valid key").values(told));
        }
        let call = Call {
            method: "DELETE",
            path: "/_security/api_key",
            body: Some(&json!({ "ids": ids })),
            summary: format!("would {}: {}", self.doing("DELETE"), ids.join(", ")),
            diff: None,
            effects: vec![Effect::UrlUnknown(server.address(&self.address()))],
            undo: None,
        };
        Ok(Plan::one(format!("makes keys invalid: {}", ids.join(", ")), server.change(host, call)?).values(told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::arguments::from_value;
    use crate::value::json::from_json;

    fn check(arguments: Json) -> Result<(), Failure> {
        let mut arguments = arguments;
        arguments["url"] = json!("https://localhost:9200");
        arguments["name"] = json!("dr");
        from_value::<ElasticsearchCrossClusterApiKey>(&from_json(&arguments)).map_err(Failure::from)?.check()
    }

    #[test]
    fn rotate_takes_booleans_and_a_word() {
        for (given, wanted) in
            [(json!(true), Rotate::Yes), (json!("no"), Rotate::No), (json!("False"), Rotate::No), (json!("when_lost"), Rotate::WhenLost)]
        {
            let arguments = json!({"url": "https://x:9200", "name": "k", "rotate": given});
            assert_eq!(from_value::<ElasticsearchCrossClusterApiKey>(&from_json(&arguments)).expect("fits").rotate, wanted);
        }
    }

    #[test]
    fn what_elasticsearch_would_refuse_is_refused_with_the_argument() {
        let good = json!({"search": [{"names": ["logs-*"]}], "replication": []});
        assert_eq!(check(json!({ "access": good })), Ok(()));
        for (arguments, about) in [
            (json!({}), "access"),
            (json!({"access": {"search": []}}), "access"),
            (json!({"access": {"serach": [{"names": ["x"]}]}}), "access"),
            (json!({"access": {"replication": [{"names": ["x"], "query": "{}"}]}}), "access"),
            (json!({"access": {"search": [{"names": []}]}}), "access"),
            (json!({"access": good, "expiration": "soon"}), "expiration"),
            (json!({"access": good, "metadata": {"_x": 1}}), "metadata"),
            (json!({"access": good, "api_key": "eA=="}), "api_key"),
        ] {
            assert_eq!(check(arguments).expect_err("refused").about(), Some(about));
        }
    }
}
