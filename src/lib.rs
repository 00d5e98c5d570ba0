//! windlass runs Ansible-style playbooks over SSH, with nothing installed on the hosts. This is the map of the crate.
//!
//! # The way of a task
//!
//! [`cli`] → [`load`] → [`vars`] → [`run`] → [`connect`] and [`agent`] → [`modules`] → [`change`] → [`report`]
//!
//! `cli` reads the command line. `load` makes a checked playbook and inventory of the user's files, before any host is
//! touched. `run` takes the hosts through the tasks, and renders each task's arguments with `vars`. Over a channel of
//! `connect` they go to `agent`, which is started on the host. There the module reads the host and answers with a plan;
//! `change` carries the plan out, or foresees it in a check. What came of it goes back to `run`, and on to `report`.
//!
//! # The folders
//!
//! Each uses only those above it; `tests/layers.rs` has the exact table and fails on anything else.
//!
//! - [`source`]: texts with places: YAML that keeps its lines and columns, and messages that point into it.
//! - [`value`]: what variables are made of, and the secrets among them.
//! - [`formats`]: files that modules read and write (certificates, keystores, YAML settings), as functions of bytes.
//! - [`change`]: what can be done to a host, as data; the only folder that does it.
//! - [`modules`]: what a task can name, a file each, and the table of them.
//! - [`vars`]: scopes and precedence, templates, filters, tests, lookups, conditions.
//! - [`load`]: the user's files to a checked structure: settings, inventory, vault, playbooks, roles.
//! - [`connect`]: a channel of bytes to a host, over SSH or to this machine, also as another user.
//! - [`agent`]: our program on the host's side, how it gets there, and how the controller speaks with it.
//! - [`report`]: the events of a run, and one listener for each form of them.
//! - [`record`]: what is kept of runs on the controller: the journal, to resume from and to prove with.
//! - [`run`]: plays, blocks, loops, handlers and strategies.
//! - [`demo`]: hosts and Elasticsearch clusters on loopback, to try and to test with.
//! - [`cli`]: the subcommands, flags and exit codes.
//!
//! # What always holds, and what guards it
//!
//! - **A module cannot write.** It is given a [`change::Probe`], which only reads, and returns a [`change::Plan`].
//!   The lint `disallowed_methods` (`.clippy.toml`) and `tests/layers.rs` keep the ways around it shut.
//! - **No module knows of check mode.** The same plan goes to the host or to a [`change::Overlay`], an in-memory picture
//!   of it that later tasks see. `tests/layers.rs` looks for the words; `tests/modules.rs` compares check and run.
//! - **Changed means that the plan has changes.** No module sets a flag; a plan without any says why.
//!   `tests/modules.rs` runs the examples that need only files twice, and the second run must have nothing to do.
//! - **A change fits only what it was planned from.** It carries what was there before; where that is no longer so,
//!   nothing is done, and files are replaced whole or not at all. Guarded by `tests/apply.rs`.
//! - **What cannot be foreseen is unknown.** [`value::Value::Unknown`] taints what depends on it, and never counts as ok,
//!   skipped or false; of what a task may change that may not run, or whose arguments are unknown, a check loses sight
//!   ([`change::doubt`]). Guarded by the tests of `vars`, `tests/playbooks.rs`, `tests/modules.rs` and `tests/honest.rs`.
//! - **Text from a host is never rendered.** Only texts of the user's own files become [`value::Value::Lazy`]. The tests of
//!   `vars` and `tests/playbooks.rs` try to inject templates.
//! - **No secret is told.** One [`value::secret::Redactor`] learns them all, and [`report::output::Output`] masks them in
//!   everything that is written. `tests/flagship` looks for the secrets of its site in what every run of it puts out.
//! - **A run can go on where it broke off.** Each step is in the journal ([`record`]) before the next begins, sealed where it may
//!   hold secrets; a resumed run takes what is done from there. Guarded by `tests/resume.rs` and `tests/crash`.
//! - **No panic on anything read.** Lints deny `unwrap` and `panic`; the readers of files are tested with mangled ones.
//! - **A mistake has a place.** Those in the user's files are [`source::Diagnostic`]s, all of a file's at once; a host's
//!   [`change::Failure`] names the argument, whose place `run` finds. Guarded by `tests/mistakes.rs`.
//!
//! # What to read first
//!
//! [`value`] and [`change`] for the words of all the rest; then a small module with its examples
//! (`src/modules/slurp.rs`), the trait [`modules::Module`] above it, and [`run::run`], from where the rest can be followed.
//! Who adds a module needs no more than the first three.

pub mod agent;
pub mod change;
pub mod cli;
pub mod connect;
pub mod demo;
pub mod formats;
pub mod load;
pub mod modules;
pub mod record;
pub mod report;
pub mod run;
pub mod source;
pub mod value;
pub mod vars;
