//! Our program on the host's side of a connection, and the controller's end of it.

pub mod protocol;
