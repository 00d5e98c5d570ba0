//! windlass runs Ansible-style playbooks over SSH, with nothing installed on the hosts.

pub mod agent;
pub mod change;
pub mod cli;
pub mod connect;
pub mod demo;
pub mod formats;
pub mod load;
pub mod modules;
pub mod report;
pub mod run;
pub mod source;
pub mod value;
pub mod vars;
