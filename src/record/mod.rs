//! What the controller keeps of every run: a journal that only grows, on disk before the run goes on.
//!
//! It is the one source of four things: what a resumed run need not do again ([`past`]), which handlers a run that broke
//! off still owes, how long steps take, and the proof of what was done. Each line carries the hash of the line before it
//! ([`chain`]); what may hold secrets is sealed ([`seal`]), all else is masked before it is written.
//!
//! A plan ([`plan`]) is made of the same parts before a run: what each step would do, for somebody to approve.

pub mod account;
pub mod chain;
pub mod drift;
pub mod entry;
pub mod folder;
pub mod journal;
pub mod junit;
pub mod page;
pub mod past;
pub mod plan;
pub mod seal;
pub mod sign;
pub mod summary;
pub mod timings;

pub use account::Account;
pub use entry::Entry;
pub use folder::Folder;
pub use journal::Journal;
pub use past::Past;
pub use plan::Plan;
