//! The embedded demonstration site: SSH hosts and an Elasticsearch simulator on loopback.
//!
//! Nothing in it is faked towards the runner: the hosts speak SSH, the nodes speak HTTPS, read the files that the playbook
//! writes, and are connected only when a TLS connection with the right key really comes about.

#![allow(clippy::disallowed_methods, reason = "the site makes its own folder, files and programs; it is no host's module")]

pub mod content;
pub mod elasticsearch;
pub mod host;
pub mod site;
