//! Files to a checked structure; no host is touched.

pub mod action;
pub mod at_load;
pub mod check;
pub mod collections;
pub mod config;
pub mod doomed;
pub mod execution;
pub mod free_form;
pub mod inventory;
pub mod keywords;
pub mod library;
pub mod lint;
pub mod loader;
pub mod nodes;
pub mod one_way;
pub mod playbook;
pub mod plays;
pub mod role;
pub mod settings;
pub mod tasks;
pub mod vault;
