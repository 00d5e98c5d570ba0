//! What a person or a machine sees of a run: one listener a form. Secrets are masked here and nowhere else, by [`output::Output`].

pub mod ansible;
pub mod escape;
pub mod event;
pub mod fold;
pub mod json;
pub mod junit;
pub mod log;
pub mod manner;
pub mod minimal;
pub mod output;
pub mod recap;
pub mod terminal;

pub use event::{Counts, Event, Listener, Status, TaskResult};
pub use output::Output;
