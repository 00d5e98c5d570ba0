//! `elasticsearch_health`: the health of a cluster.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{Controller, Example, Module, keep_secret};
use crate::change::doubt::Names;
use crate::change::elasticsearch::{SECRET_ARGUMENTS, Server, elasticsearch_arguments, read_answer, value};
use crate::change::{Failure, Plan, Probe};
use crate::formats::elasticsearch::rank;
use crate::value::{Map, Value};

elasticsearch_arguments! {
    /// Tells how a cluster is, and waits, `timeout` seconds at most, until it is as asked. A node that does not answer yet is
    /// waited for too, so the task suits the time after a restart. A cluster of one data node never gets green: ask for the
    /// status that it had before.
    pub struct ElasticsearchHealth {
        /// The status to reach, or a better one.
        #[serde(alias = "wait_for_status")]
        at_least: Option<Status>,
        /// How many nodes there must be, at least.
        #[serde(alias = "wait_for_nodes")]
        nodes: Option<u32>,
        /// Whether no shard may be on the move.
        #[serde(default, alias = "wait_for_no_relocating_shards")]
        no_relocating: bool,
        /// Whether no shard may be about to start.
        #[serde(default, alias = "wait_for_no_initializing_shards")]
        no_initializing: bool,
    }
}

/// How a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Red,
    Yellow,
    Green,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Yellow => "yellow",
            Self::Green => "green",
        }
    }
}

/// Seconds that one request waits at most, so that a node that goes away meanwhile is noticed.
const LONGEST: f64 = 20.0;

impl Module for ElasticsearchHealth {
    const NAME: &'static str = "elasticsearch_health";
    const CHANGES: &'static [Names] = &[];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Wait until the cluster is as it was before a restart",
        task: "url: https://es.example.net:9200\nca_file: /etc/elasticsearch/certs/http_ca.crt\nusername: elastic\npassword: s3cret-enough\nat_least: green\nnodes: 3\nno_relocating: true\ntimeout: 600\n",
        given: &[
            ("/etc/elasticsearch/certs/http_ca.crt", ""),
            (
                "GET https://es.example.net:9200/_cluster/health",
                r#"{"cluster_name": "example", "status": "green", "number_of_nodes": 3, "relocating_shards": 0}"#,
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
        loop {
            let left = until - host.now();
            let again = host.moves() && left > 1.0;
            match self.ask(&server, host, if host.moves() { left.clamp(1.0, LONGEST) } else { 1.0 }) {
                Ok(body) => {
                    let lack = self.lacks(&body);
                    if lack.is_empty() {
                        let mut plan = Plan::nothing(format!("the cluster is {}", text(&body, "status"))).value("json", value(&body));
                        plan.values.extend(value(&body).as_map().cloned().unwrap_or_default());
                        plan.warnings = warnings;
                        return Ok(plan);
                    }
                    if !again {
                        return Err(self.failure(&body, &lack));
                    }
                }
                // Only what a node does that is just starting is worth waiting for.
                Err(failure) if !again || !passes(&failure) => return Err(failure),
                Err(_) => {}
            }
            host.wait(Duration::from_secs(1));
        }
    }
}

impl ElasticsearchHealth {
    fn ask(&self, server: &Server<'_>, host: &dyn Probe, seconds: f64) -> Result<Json, Failure> {
        let mut query = vec![format!("timeout={}s", seconds as u32)];
        query.extend(self.at_least.map(|status| format!("wait_for_status={}", status.name())));
        query.extend(self.nodes.map(|nodes| format!("wait_for_nodes=%3E%3D{nodes}")));
        query.extend(self.no_relocating.then(|| "wait_for_no_relocating_shards=true".to_owned()));
        query.extend(self.no_initializing.then(|| "wait_for_no_initializing_shards=true".to_owned()));
        let patient = Server { timeout: seconds as u64 + 10, ..*server };
        let request = patient.request(host, "GET", &format!("/_cluster/health?{}", query.join("&")), None)?;
        let mut answer = host.http(&request)?;
        // The cluster did not get there in time: a normal answer for us.
        if answer.status == 408 {
            answer.status = 200;
        }
        read_answer("ask for the cluster's health", &answer)
    }

    /// Says what is not as asked.
    fn lacks(&self, body: &Json) -> Vec<String> {
        let number = |name: &str| body.get(name).and_then(Json::as_u64).unwrap_or_default();
        let status = text(body, "status");
        let mut out = Vec::new();
        if let Some(wanted) = self.at_least.filter(|wanted| rank(status) < rank(wanted.name())) {
            out.push(format!("it is {status}, not {}", wanted.name()));
        }
        if let Some(wanted) = self.nodes.filter(|wanted| number("number_of_nodes") < u64::from(*wanted)) {
            out.push(format!("it has {} nodes, not {wanted}", number("number_of_nodes")));
        }
        for (asked, name, what) in [
            (self.no_relocating, "relocating_shards", "are on the move"),
            (self.no_initializing, "initializing_shards", "are about to start"),
        ] {
            if asked && number(name) > 0 {
                out.push(format!("{} shards {what}", number(name)));
            }
        }
        out
    }

    fn failure(&self, body: &Json, lack: &[String]) -> Failure {
        let after =
            format!("after {} seconds the cluster `{}` is not as asked: {}", self.timeout, text(body, "cluster_name"), lack.join("; "));
        let single = body.get("number_of_data_nodes").and_then(Json::as_u64) == Some(1) && self.at_least == Some(Status::Green);
        let failure = Failure::failed(after).hint(if single {
            "a cluster of one data node cannot be green while indices have replicas: ask for `at_least: yellow`"
        } else {
            "`GET /_cluster/allocation/explain` tells why a shard does not get where it should"
        });
        value(body).as_map().into_iter().flatten().fold(failure, |failure, (name, value)| match name.as_str() {
            Some(name) => failure.with(name, Value::clone(value)),
            None => failure,
        })
    }
}

fn text<'a>(body: &'a Json, name: &str) -> &'a str {
    body.get(name).and_then(Json::as_str).unwrap_or("?")
}

/// Whether a failure may pass by itself: no connection, or a node that says it is not ready.
fn passes(failure: &Failure) -> bool {
    match failure {
        Failure::Failed { values, .. } => {
            values.get("status").and_then(Value::as_int).is_none_or(|status| matches!(status, 429 | 502..=504))
        }
        _ => false,
    }
}
