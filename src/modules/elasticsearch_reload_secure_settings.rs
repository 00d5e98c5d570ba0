//! `elasticsearch_reload_secure_settings`: running nodes read their keystores anew.

use serde_json::{Value as Json, json};

use super::{Controller, Example, Module, keep_secret};
use crate::change::doubt::Names;
use crate::change::elasticsearch::{Call, SECRET_ARGUMENTS, answer_of, elasticsearch_arguments, value};
use crate::change::{Change, Done, Effect, Failure, Plan, Probe};
use crate::formats::elasticsearch::{advice, encoded, reason};
use crate::value::secret::Secret;
use crate::value::{Map, Value};

elasticsearch_arguments! {
    /// Makes nodes take over what was written to their keystores, as far as that goes without a restart. Elasticsearch
    /// answers with success even where a node failed; here that is a failure, which names the nodes and their reasons.
    pub struct ElasticsearchReloadSecureSettings {
        /// Which nodes: ids, names, `_local`. Without it, all.
        #[serde(default)]
        nodes: Vec<String>,
        /// The password of the keystores, where they have one.
        keystore_password: Option<Secret<String>>,
        /// SHA-256 of the keystore that the nodes must have read, as `elasticsearch_keystore` tells it. Versions that do not report it are not compared.
        sha256: Option<String>,
    }
}

impl Module for ElasticsearchReloadSecureSettings {
    const NAME: &'static str = "elasticsearch_reload_secure_settings";
    const CHANGES: &'static [Names] = &[Names::Server("url")];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Make the node take over what is new in its keystore",
        task: "url: https://es.example.net:9200\nca_file: /etc/elasticsearch/certs/http_ca.crt\nusername: elastic\npassword: s3cret-enough\nnodes: _local\n",
        given: &[
            ("/etc/elasticsearch/certs/http_ca.crt", ""),
            ("POST https://es.example.net:9200/_nodes/_local/reload_secure_settings", r#"{"nodes": {"n1": {"name": "node1"}}}"#),
        ],
        changes: true,
    }];
    const RESTS: bool = false;

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        keep_secret(arguments, controller, SECRET_ARGUMENTS);
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let server = self.server();
        let warnings = server.check()?;
        let nodes: Vec<_> = self.nodes.iter().map(|node| encoded(node)).collect();
        let path = if nodes.is_empty() {
            "/_nodes/reload_secure_settings".to_owned()
        } else {
            format!("/_nodes/{}/reload_secure_settings", nodes.join(","))
        };
        let password = self.keystore_password.as_ref().map(|password| password.reveal()).filter(|password| !password.is_empty());
        let body = password.map(|password| json!({ "secure_settings_password": password }));
        let whom = if self.nodes.is_empty() { "every node".to_owned() } else { self.nodes.join(", ") };
        let summary = format!("would make {whom} read the keystore anew");
        let effects = vec![Effect::UrlUnknown(server.address("/_remote/info"))];
        let mut change =
            server.change(host, Call { method: "POST", path: &path, body: body.as_ref(), summary, effects, ..Call::default() })?;
        // An undo writes the keystore as it was, and has it read anew by the same request.
        if let Change::Http { request, undo, .. } = &mut change {
            *undo = Some(Box::new(request.clone()));
        }
        let mut plan =
            Plan::one(format!("{whom} reads the keystore anew"), change).value("nodes", Value::unknown("the nodes were not asked"));
        plan.warnings = warnings;
        Ok(plan)
    }

    fn result(&self, _: &Plan, done: &[Done], _: &dyn Probe) -> Result<Map, Failure> {
        let body = answer_of("reload the secure settings", done.first())?;
        let nodes = body.get("nodes").and_then(Json::as_object).cloned().unwrap_or_default();
        let mut wrong = Vec::new();
        for (id, node) in &nodes {
            let name = node.get("name").and_then(Json::as_str).unwrap_or(id);
            if let Some(exception) = node.get("reload_exception").filter(|exception| !exception.is_null()) {
                wrong.push(format!("{name}: {}", reason(exception).unwrap_or_else(|| "failed".to_owned())));
            } else if let (Some(asked), Some(has)) = (&self.sha256, node.get("keystore_digest").and_then(Json::as_str))
                && !asked.eq_ignore_ascii_case(has)
            {
                wrong.push(format!("{name}: it has read another keystore than the one that was written"));
            }
        }
        let failed = body.pointer("/_nodes/failed").and_then(Json::as_u64).unwrap_or_default();
        for failure in body.pointer("/_nodes/failures").and_then(Json::as_array).into_iter().flatten() {
            wrong.push(reason(failure).unwrap_or_else(|| "a node failed".to_owned()));
        }
        if wrong.is_empty() && failed > 0 {
            wrong.push(format!("{failed} nodes did not answer"));
        }
        let values = Map::from_iter([("nodes".into(), value(&Json::Object(nodes.clone())))]);
        if wrong.is_empty() && nodes.is_empty() {
            return Err(Failure::failed("no node read its keystore anew").hint("see whether `nodes` names nodes of this cluster"));
        }
        if wrong.is_empty() {
            return Ok(values);
        }
        let message = format!("not every node could reload its secure settings: {}", wrong.join("; "));
        let hint = advice(&message).unwrap_or(
            "see the node's log; a wrong `keystore_password` and a keystore entry that the node does not know are the usual causes",
        );
        Err(Failure::failed(message).hint(hint).with("nodes", value(&Json::Object(nodes))))
    }
}
