//! Our program on the host's side of a connection, and the controller's end of it.
//!
//! On the host: [`serve`], behind [`protocol`]; [`mod@line`] is its end of the conversation, [`lease`] keeps other runs away. On the controller: [`session`] is what the run uses; [`upload`] brings the
//! program to the host and starts it, [`road`] finds it again, [`client`] speaks with it, [`remote`] is a host seen through it.

pub mod answer;
pub mod blobs;
pub mod client;
pub mod frame;
pub mod jobs;
pub mod lease;
pub mod line;
pub mod protocol;
pub mod remote;
pub mod road;
pub mod serve;
pub mod session;
pub mod upload;
