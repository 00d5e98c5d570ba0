//! `elasticsearch_cluster_settings`: settings of a running cluster.

use serde_json::{Value as Json, json};

use super::{Controller, Example, Module, keep_secret};
use crate::change::doubt::Names;
use crate::change::elasticsearch::{Call, SECRET_ARGUMENTS, Server, answer_of, elasticsearch_arguments, value};
use crate::change::{Change, Done, Effect, Failure, Plan, Probe};
use crate::formats::elasticsearch::{Flat, differing, flat, lines, merged};
use crate::value::arguments::Anything;
use crate::value::json::to_json;
use crate::value::{Map, Value};

elasticsearch_arguments! {
    /// Sets and removes dynamic settings of a cluster, in one request and only where they differ. The result has under
    /// `previous` what was there before, in the form that `persistent` takes, so that it can be given back.
    pub struct ElasticsearchClusterSettings {
        /// Settings that last, nested or dotted. `null` removes one; `some.prefix.*: null` removes all below it.
        #[serde(default)]
        persistent: Option<Anything>,
        /// Settings that last until the whole cluster restarts. They win over `persistent`, and are best avoided.
        #[serde(default)]
        transient: Option<Anything>,
    }
}

/// The address that settings are read from, and that a check answers for what was set before.
pub const READ: &str = "/_cluster/settings?flat_settings=true";

impl Module for ElasticsearchClusterSettings {
    const NAME: &'static str = "elasticsearch_cluster_settings";
    const CHANGES: &'static [Names] = &[Names::Server("url")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Hold shard allocation to primaries",
            task: "url: https://es.example.net:9200\nca_file: /etc/elasticsearch/certs/http_ca.crt\nusername: elastic\npassword: s3cret-enough\npersistent:\n  cluster.routing.allocation.enable: primaries\n",
            given: &[
                ("/etc/elasticsearch/certs/http_ca.crt", ""),
                ("GET https://es.example.net:9200/_cluster/settings", r#"{"persistent": {}, "transient": {}}"#),
            ],
            changes: true,
        },
        Example {
            title: "Give it back, where it is already",
            task: "url: https://es.example.net:9200\nca_file: /etc/elasticsearch/certs/http_ca.crt\nusername: elastic\npassword: s3cret-enough\npersistent: {cluster.routing.allocation.enable: null}\n",
            given: &[
                ("/etc/elasticsearch/certs/http_ca.crt", ""),
                ("GET https://es.example.net:9200/_cluster/settings", r#"{"persistent": {}, "transient": {}}"#),
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
        let found = Settings::read(&server, host)?;
        let wanted = Settings {
            persistent: given("persistent", self.persistent.as_ref())?,
            transient: given("transient", self.transient.as_ref())?,
        };
        if wanted.persistent.is_empty() && wanted.transient.is_empty() {
            return Err(Failure::argument("persistent", "there are no settings to set"));
        }
        let changes = Settings {
            persistent: differing(&found.persistent, &wanted.persistent),
            transient: differing(&found.transient, &wanted.transient),
        };
        let names: Vec<_> = changes.persistent.keys().chain(changes.transient.keys()).cloned().collect();
        let previous = |before: &Flat, changes: &Flat| -> Value {
            Value::map(changes.keys().map(|name| (name.as_str(), value(before.get(name).unwrap_or(&Json::Null)))))
        };
        let told = vec![
            ("previous", previous(&found.persistent, &changes.persistent)),
            ("previous_transient", previous(&found.transient, &changes.transient)),
            ("names", names.clone().into()),
        ];
        let mut plan = if names.is_empty() {
            Plan::nothing("the settings are as asked")
        } else {
            let summary = format!("would set {}", names.join(", "));
            Plan::one(format!("sets {}", names.join(", ")), write(&server, host, &found, &changes, summary)?)
        }
        .values(told);
        plan.warnings = warnings;
        Ok(plan)
    }

    fn result(&self, plan: &Plan, done: &[Done], _: &dyn Probe) -> Result<Map, Failure> {
        if !plan.changes.is_empty() {
            acknowledged("set the cluster's settings", done)?;
        }
        Ok(plan.values.clone())
    }
}

/// Settings of both kinds, flat.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Those that last.
    pub persistent: Flat,
    /// Those that win, until the whole cluster restarts.
    pub transient: Flat,
}

impl Settings {
    /// Reads what the cluster has.
    ///
    /// # Errors
    /// When the cluster does not answer, or refuses.
    pub fn read(server: &Server<'_>, host: &dyn Probe) -> Result<Self, Failure> {
        let body = server.get(host, READ, "read the cluster's settings")?;
        let part = |name: &str| body.get(name).map(flat).unwrap_or_default();
        Ok(Self { persistent: part("persistent"), transient: part("transient") })
    }

    fn json(&self) -> Json {
        json!({ "persistent": self.persistent, "transient": self.transient })
    }

    fn lines(&self, names: &Self) -> String {
        let pick = |all: &Flat, names: &Flat| lines(all.iter().filter(|(name, value)| names.contains_key(*name) && !value.is_null()));
        pick(&self.persistent, &names.persistent) + &pick(&self.transient, &names.transient)
    }
}

/// Returns the change that sets and removes settings in one request.
///
/// # Errors
/// When the request cannot be made.
pub fn write(server: &Server<'_>, host: &dyn Probe, found: &Settings, changes: &Settings, summary: String) -> Result<Change, Failure> {
    let mut body = serde_json::Map::new();
    for (kind, settings) in [("persistent", &changes.persistent), ("transient", &changes.transient)] {
        if !settings.is_empty() {
            body.insert(kind.to_owned(), json!(settings));
        }
    }
    let after =
        Settings { persistent: merged(&found.persistent, &changes.persistent), transient: merged(&found.transient, &changes.transient) };
    let remote = body.values().filter_map(Json::as_object).flat_map(serde_json::Map::keys).any(|name| name.starts_with("cluster.remote."));
    let mut effects = Vec::new();
    if remote {
        effects.push(Effect::UrlUnknown(server.address("/_remote/info")));
    }
    effects.extend([Effect::UrlAnswers { url: server.address(READ), body: after.json().to_string().into_bytes() }]);
    let diff = Some((found.lines(changes), after.lines(changes)));
    let undo = json!({
        "persistent": as_before(&found.persistent, &changes.persistent),
        "transient": as_before(&found.transient, &changes.transient),
    });
    let path = "/_cluster/settings?flat_settings=true";
    let undo = Some(("PUT", path.to_owned(), undo));
    server.change(host, Call { method: "PUT", path, body: Some(&Json::Object(body)), summary, diff, effects, undo })
}

/// Returns the settings that `changes` touches as they were found: `null` where there was none.
fn as_before(found: &Flat, changes: &Flat) -> Flat {
    let mut before = Flat::default();
    for name in changes.keys() {
        match name.strip_suffix('*') {
            Some(prefix) => {
                before.extend(found.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(name, value)| (name.clone(), value.clone())))
            }
            None => {
                before.insert(name.clone(), found.get(name).cloned().unwrap_or(Json::Null));
            }
        }
    }
    before
}

/// Sees to it that the cluster took a change over.
///
/// # Errors
/// When it refused, or did not in time.
pub fn acknowledged(what: &str, done: &[Done]) -> Result<Json, Failure> {
    let body = answer_of(what, done.first())?;
    if body.get("acknowledged") == Some(&Json::Bool(false)) {
        return Err(Failure::failed(format!("{what}: not every node of the cluster took it over in time"))
            .hint("run it again; see whether the cluster is well"));
    }
    Ok(body)
}

fn given(argument: &str, settings: Option<&Anything>) -> Result<Flat, Failure> {
    match settings.map(|settings| &settings.0) {
        None | Some(Value::Null) => Ok(Flat::new()),
        Some(map @ Value::Map(_)) => Ok(flat(&to_json(map))),
        Some(other) => Err(Failure::argument(argument, format!("`{argument}` is a {}, not a dictionary", other.type_name()))),
    }
}
