//! A strict simulator of Elasticsearch clusters, as far as remote clusters need one.
//!
//! A node reads the same files as the real thing (`elasticsearch.yml`, `elasticsearch.keystore`, PKCS#12 and PEM files) when it
//! starts and when it is told to reload, refuses what the real thing refuses, and answers over HTTPS. What the nodes of a
//! cluster share lives in one JSON file a cluster, guarded by a lock, so nodes may run in one process or in many.

mod access;
mod answer;
mod cluster;
mod control;
mod files;
mod http;
mod info;
mod keys;
mod node;
mod remote;
mod security;
mod settings;
pub mod site;
mod state;
mod tls;

pub use control::systemctl;
pub use node::Simulator;
