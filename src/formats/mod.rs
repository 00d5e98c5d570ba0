//! File formats that modules read and write: pure functions over bytes and text, no host.

pub mod keystore;
