//! Our program on the host's side of a connection, and the controller's end of it.
//!
//! On the host: [`serve`], behind [`protocol`]. On the controller: [`session`] is what the run uses; [`upload`] brings the
//! program to the host and starts it, [`client`] speaks with it, [`remote`] is a host seen through it.

pub mod answer;
pub mod blobs;
pub mod client;
pub mod frame;
pub mod protocol;
pub mod remote;
pub mod serve;
pub mod session;
pub mod upload;
