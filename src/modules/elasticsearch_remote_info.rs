//! `elasticsearch_remote_info`: whether remote clusters are connected.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use super::{Controller, Example, Module, keep_secret};
use crate::change::doubt::Names;
use crate::change::elasticsearch::{SECRET_ARGUMENTS, Server, elasticsearch_arguments, value};
use crate::change::{Failure, Plan, Probe};
use crate::formats::elasticsearch::{advice, encoded, reason};
use crate::value::{Map, Value};

elasticsearch_arguments! {
    /// Tells how remote clusters are connected, as seen from the asked nodes, and waits until they are. Only the node that
    /// is asked tells about itself, so name every node under `urls`, or run the task on each.
    pub struct ElasticsearchRemoteInfo {
        /// Aliases that must be connected. Without it, all that are set.
        #[serde(default)]
        alias: Vec<String>,
        /// Addresses of further nodes to ask, with the same login.
        #[serde(default)]
        urls: Vec<String>,
        /// Whether to wait, `timeout` seconds at most, until all are connected, and to fail when they are not.
        #[serde(default = "yes")]
        wait: bool,
        /// Whether each must have a credential from the node's keystore, as a connection by API key has.
        #[serde(default)]
        credentials: bool,
    }
}

fn yes() -> bool {
    true
}

impl Module for ElasticsearchRemoteInfo {
    const NAME: &'static str = "elasticsearch_remote_info";
    const CHANGES: &'static [Names] = &[];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Wait until a remote cluster is connected",
        task: "url: https://es.example.net:9200\nca_file: /etc/elasticsearch/certs/http_ca.crt\nusername: elastic\npassword: s3cret-enough\nalias: [dr-site]\ntimeout: 60\n",
        given: &[
            ("/etc/elasticsearch/certs/http_ca.crt", ""),
            (
                "GET https://es.example.net:9200/_remote/info",
                r#"{"dr-site": {"connected": true, "mode": "sniff", "cluster_credentials": "::es_redacted::"}}"#,
            ),
        ],
        changes: false,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        keep_secret(arguments, controller, SECRET_ARGUMENTS);
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let server = self.server();
        let warnings = server.check()?;
        let until = host.now() + self.timeout as f64;
        let mut view = self.look(&server, host)?;
        while self.wait && host.moves() && !view.missing.is_empty() && host.now() < until {
            host.wait(Duration::from_secs(1));
            view = self.look(&server, host)?;
        }
        if self.wait && !view.missing.is_empty() {
            if !host.moves() {
                return Err(Failure::unknown(format!(
                    "{} may be connected once the earlier changes are made",
                    view.missing.keys().cloned().collect::<Vec<_>>().join(", ")
                )));
            }
            return Err(self.explain(&server, host, &view));
        }
        let because = if view.missing.is_empty() { "every remote cluster is connected" } else { "not every remote cluster is connected" };
        let mut plan = Plan::nothing(because)
            .value("connected", view.missing.is_empty())
            .value("clusters", view.clusters.clone())
            .value("nodes", view.nodes.clone())
            .value("missing", view.missing.keys().cloned().collect::<Vec<_>>());
        plan.warnings = warnings;
        Ok(plan)
    }
}

/// What the nodes say.
struct View {
    /// Alias and what the first node says of it.
    clusters: Value,
    /// Address of a node, and what it says.
    nodes: Value,
    /// Aliases that are not as they shall be: at which nodes, and how.
    missing: BTreeMap<String, Vec<(String, &'static str)>>,
}

impl ElasticsearchRemoteInfo {
    fn look(&self, server: &Server<'_>, host: &dyn Probe) -> Result<View, Failure> {
        let (mut nodes, mut clusters, mut missing) = (Map::new(), Value::Null, BTreeMap::<_, Vec<_>>::new());
        for url in std::iter::once(&self.url).chain(self.urls.iter().filter(|url| **url != self.url)) {
            let body = server.at(url).get(host, "/_remote/info", "ask for remote clusters")?;
            let known = body.as_object().cloned().unwrap_or_default();
            let asked: Vec<_> = if self.alias.is_empty() { known.keys().cloned().collect() } else { self.alias.clone() };
            for alias in asked {
                let lack = match known.get(&alias) {
                    None => Some("it is not set"),
                    Some(info) if info.get("connected") != Some(&Json::Bool(true)) => Some("it is not connected"),
                    Some(info) if self.credentials && info.get("cluster_credentials").is_none() => {
                        Some("the node has no credential for it")
                    }
                    Some(_) => None,
                };
                if let Some(lack) = lack {
                    missing.entry(alias).or_default().push((url.clone(), lack));
                }
            }
            if clusters.is_null() {
                clusters = value(&body);
            }
            nodes.insert(url.into(), value(&body));
        }
        Ok(View { clusters, nodes: nodes.into(), missing })
    }

    /// Says why, as far as the cluster knows it.
    fn explain(&self, server: &Server<'_>, host: &dyn Probe, view: &View) -> Failure {
        let mut parts = Vec::new();
        let mut hint = None;
        for (alias, places) in &view.missing {
            let where_not: Vec<_> = places.iter().map(|(url, lack)| format!("{lack} at {url}")).collect();
            let told = places.first().and_then(|(url, _)| why(&server.at(url), host, alias));
            hint = hint.or_else(|| told.as_deref().and_then(advice));
            let credential = places.iter().any(|(url, _)| self.lacks_credential(view, url, alias));
            if hint.is_none() && credential {
                hint = Some(
                    "the node has no credential for it: write `cluster.remote.<alias>.credentials` into its keystore, reload, and connect to the remote cluster server's port, 9443 unless changed",
                );
            }
            parts.push(format!(
                "the remote cluster `{alias}`: {}{}",
                where_not.join(", "),
                told.map(|told| format!(" ({told})")).unwrap_or_default()
            ));
        }
        let usual = "see, on the local node's log too: whether `remote_cluster_server.enabled` is set there and its port answers from here, \
                     whether its certificate is trusted and names the address, and whether the API key is the right one and still valid";
        let failure = Failure::failed(format!("after {} seconds: {}", self.timeout, parts.join("; "))).hint(hint.unwrap_or(usual));
        failure.with("clusters", view.clusters.clone()).with("nodes", view.nodes.clone()).with("connected", false)
    }

    fn lacks_credential(&self, view: &View, url: &str, alias: &str) -> bool {
        let info = view.nodes.get(url).and_then(|clusters| clusters.get(alias));
        info.is_some_and(|info| info.get("cluster_credentials").is_none())
    }
}

/// Asks the node to use the connection, which newer versions answer with the reason why it is none.
fn why(server: &Server<'_>, host: &dyn Probe, alias: &str) -> Option<String> {
    let (_, body) = server.get_any(host, &format!("/_resolve/cluster/{}:*", encoded(alias))).ok()?;
    let about = body.get(alias).or(body.get("error"))?;
    about.get("error").and_then(Json::as_str).map(ToOwned::to_owned).or_else(|| reason(about))
}
