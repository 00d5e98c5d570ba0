//! `elasticsearch_remote_cluster`: one remote cluster that a cluster knows by its alias.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::elasticsearch_cluster_settings::{Settings, acknowledged, write};
use super::{Controller, Example, Module, keep_secret};
use crate::change::doubt::Names;
use crate::change::elasticsearch::{SECRET_ARGUMENTS, elasticsearch_arguments};
use crate::change::{Done, Failure, Plan, Probe};
use crate::formats::elasticsearch::{Flat, differing};
use crate::value::Map;

elasticsearch_arguments! {
    /// Sets a remote cluster in the settings of a cluster, or removes it. Switching between sniff and proxy mode removes the
    /// other mode's settings in the same request, as Elasticsearch demands. What is not named here stays as it is.
    pub struct ElasticsearchRemoteCluster {
        /// The name that queries use for the remote cluster.
        #[serde(alias = "name")]
        alias: String,
        /// How to connect: `sniff` reaches every gateway node of the remote cluster, `proxy` one address.
        #[serde(default)]
        mode: Mode,
        /// Nodes to begin with, as `host:port`; for `sniff`.
        seeds: Option<Vec<String>>,
        /// How many gateway nodes to connect to; for `sniff`.
        node_connections: Option<u32>,
        /// The address, as `host:port`; for `proxy`.
        proxy_address: Option<String>,
        /// How many connections to open; for `proxy`.
        proxy_socket_connections: Option<u32>,
        /// The name that is sent in the TLS handshake; for `proxy`.
        server_name: Option<String>,
        /// Whether a search goes on when the remote cluster is away. Its default changed between versions, so it is best said.
        skip_unavailable: Option<bool>,
        /// Whether to compress: `true`, `false` or `indexing_data`.
        compress: Option<String>,
        /// How to compress: `lz4` or `deflate`.
        compression_scheme: Option<String>,
        /// How often to send something over an idle connection: `30s`; `-1` is never.
        ping_schedule: Option<String>,
        /// Whether it is known at all.
        #[serde(default)]
        state: State,
    }
}

/// How a remote cluster is connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Sniff,
    Proxy,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
}

const OF_SNIFF: &[&str] = &["seeds", "node_connections"];
const OF_PROXY: &[&str] = &["proxy_address", "proxy_socket_connections", "server_name"];

impl Module for ElasticsearchRemoteCluster {
    const NAME: &'static str = "elasticsearch_remote_cluster";
    const CHANGES: &'static [Names] = &[Names::Server("url")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Connect to a remote cluster by its nodes",
            task: "url: https://es.example.net:9200\nca_file: /etc/elasticsearch/certs/http_ca.crt\nusername: elastic\npassword: s3cret-enough\nalias: dr-site\nmode: sniff\nseeds: [remote-es.example.net:9443]\nskip_unavailable: false\n",
            given: &[
                ("/etc/elasticsearch/certs/http_ca.crt", ""),
                ("GET https://es.example.net:9200/_cluster/settings", r#"{"persistent": {}, "transient": {}}"#),
            ],
            changes: true,
        },
        Example {
            title: "Switch to a proxy, in one request",
            task: "url: https://es.example.net:9200\nca_file: /etc/elasticsearch/certs/http_ca.crt\nusername: elastic\npassword: s3cret-enough\nalias: dr-site\nmode: proxy\nproxy_address: proxy.example.net:9443\nserver_name: remote-es.example.net\n",
            given: &[
                ("/etc/elasticsearch/certs/http_ca.crt", ""),
                (
                    "GET https://es.example.net:9200/_cluster/settings",
                    r#"{"persistent": {"cluster.remote.dr-site.seeds": ["remote-es.example.net:9443"]}, "transient": {}}"#,
                ),
            ],
            changes: true,
        },
        Example {
            title: "Forget a remote cluster",
            task: "url: https://es.example.net:9200\nca_file: /etc/elasticsearch/certs/http_ca.crt\nusername: elastic\npassword: s3cret-enough\nalias: old-site\nstate: absent\n",
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
        let mut warnings = server.check()?;
        let wanted = self.wanted()?;
        let found = Settings::read(&server, host)?;
        let mut changes = Settings { persistent: differing(&found.persistent, &wanted), transient: Flat::new() };
        // A transient setting would win over what is asked here, so it goes.
        let prefix = self.key("");
        let overriding: Vec<_> = found.transient.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
        if !overriding.is_empty() {
            warnings.push(format!("transient settings hide those of the remote cluster and are removed: {}", overriding.join(", ")));
            changes.transient = overriding.into_iter().map(|name| (name, Json::Null)).collect();
        }
        let known = found.persistent.keys().chain(found.transient.keys()).any(|name| name.starts_with(&prefix));
        let names: Vec<_> = changes.persistent.keys().chain(changes.transient.keys()).cloned().collect();
        let verb = match (self.state, known) {
            (State::Absent, _) => "remove",
            (State::Present, true) => "change",
            (State::Present, false) => "add",
        };
        let mut plan = match (names.is_empty(), self.state) {
            (true, State::Present) => Plan::nothing("the remote cluster is set as asked"),
            (true, State::Absent) => Plan::nothing("there is no such remote cluster"),
            (false, _) => {
                let summary = format!("would {verb} the remote cluster `{}`", self.alias);
                let short: Vec<_> = names.iter().map(|name| name.trim_start_matches(&prefix)).collect();
                Plan::one(format!("{verb}s the remote cluster: {}", short.join(", ")), write(&server, host, &found, &changes, summary)?)
            }
        }
        .value("alias", self.alias.as_str())
        .value("names", names);
        plan.warnings = warnings;
        Ok(plan)
    }

    fn result(&self, plan: &Plan, done: &[Done], _: &dyn Probe) -> Result<Map, Failure> {
        if !plan.changes.is_empty() {
            acknowledged(&format!("set the remote cluster `{}`", self.alias), done)?;
        }
        Ok(plan.values.clone())
    }
}

impl ElasticsearchRemoteCluster {
    fn key(&self, name: &str) -> String {
        format!("cluster.remote.{}.{name}", self.alias)
    }

    /// Returns the settings that shall be, `null` for those that must not.
    fn wanted(&self) -> Result<Flat, Failure> {
        if self.alias.is_empty() || !self.alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
            return Err(Failure::argument("alias", format!("`{}` is no alias: letters, digits, `_` and `-` are allowed", self.alias)));
        }
        if self.state == State::Absent {
            return Ok(Flat::from([(self.key("*"), Json::Null)]));
        }
        let given = [
            ("seeds", self.seeds.as_ref().map(|seeds| json!(seeds))),
            ("node_connections", self.node_connections.map(|number| json!(number.to_string()))),
            ("proxy_address", self.proxy_address.as_ref().map(|address| json!(address))),
            ("proxy_socket_connections", self.proxy_socket_connections.map(|number| json!(number.to_string()))),
            ("server_name", self.server_name.as_ref().map(|name| json!(name))),
            ("skip_unavailable", self.skip_unavailable.map(|flag| json!(flag.to_string()))),
            ("transport.compress", self.compress.as_ref().map(|text| json!(text.to_lowercase()))),
            ("transport.compression_scheme", self.compression_scheme.as_ref().map(|text| json!(text))),
            ("transport.ping_schedule", self.ping_schedule.as_ref().map(|text| json!(text))),
        ];
        let (foreign, mode, needed) = match self.mode {
            Mode::Sniff => (OF_PROXY, "sniff", "seeds"),
            Mode::Proxy => (OF_SNIFF, "proxy", "proxy_address"),
        };
        let mut out = Flat::from([(self.key("mode"), json!(mode))]);
        for (name, value) in given {
            match value {
                Some(_) if foreign.contains(&name) => {
                    return Err(Failure::argument(name, format!("`{name}` does not go with `mode: {mode}`")));
                }
                Some(value) => drop(out.insert(self.key(name), value)),
                None if name == needed => return Err(Failure::argument(name, format!("`mode: {mode}` needs `{name}`"))),
                None => {}
            }
        }
        out.extend(foreign.iter().map(|name| (self.key(name), Json::Null)));
        if self.seeds.as_ref().is_some_and(Vec::is_empty) {
            return Err(Failure::argument("seeds", "`mode: sniff` needs at least one node under `seeds`"));
        }
        for (argument, address) in self
            .seeds
            .iter()
            .flatten()
            .map(|seed| ("seeds", seed))
            .chain(self.proxy_address.iter().map(|address| ("proxy_address", address)))
        {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none_or(|port| port == 0) {
                return Err(Failure::argument(argument, format!("`{address}` is not written as `host:port`, as in `es.example.net:9443`")));
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::arguments::from_value;
    use crate::value::json::from_json;

    fn wanted(arguments: Json) -> Result<Flat, Failure> {
        let mut arguments = arguments;
        arguments["url"] = json!("https://localhost:9200");
        from_value::<ElasticsearchRemoteCluster>(&from_json(&arguments)).map_err(Failure::from)?.wanted()
    }

    #[test]
    fn a_mode_removes_the_settings_of_the_other() {
        let sniff = wanted(json!({"alias": "dr", "seeds": ["a:9443"], "skip_unavailable": false})).expect("fits");
        assert_eq!(sniff["cluster.remote.dr.proxy_address"], Json::Null);
        assert_eq!(sniff["cluster.remote.dr.skip_unavailable"], json!("false"));
        let proxy = wanted(json!({"alias": "dr", "mode": "proxy", "proxy_address": "a:9443"})).expect("fits");
        assert_eq!(proxy["cluster.remote.dr.seeds"], Json::Null);
        assert_eq!(proxy["cluster.remote.dr.mode"], json!("proxy"));
    }

    #[test]
    fn what_does_not_go_together_is_refused_before_anything_is_sent() {
        for (arguments, about) in [
            (json!({"alias": "dr"}), "seeds"),
            (json!({"alias": "dr", "seeds": []}), "seeds"),
            (json!({"alias": "dr", "seeds": ["a"]}), "seeds"),
            (json!({"alias": "dr", "seeds": ["a:0"]}), "seeds"),
            (json!({"alias": "dr", "seeds": ["a:1"], "server_name": "x"}), "server_name"),
            (json!({"alias": "dr", "mode": "proxy"}), "proxy_address"),
            (json!({"alias": "d.r", "seeds": ["a:1"]}), "alias"),
        ] {
            assert_eq!(wanted(arguments).expect_err("refused").about(), Some(about));
        }
    }
}
