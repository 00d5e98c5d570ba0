//! File formats that modules read and write: pure functions over bytes and text, no host.

pub mod certificates;
pub mod elasticsearch;
pub mod keystore;
pub mod openpgp;
pub mod pkcs12;
pub mod private_key;
pub mod signing_request;
pub mod yaml_edit;
