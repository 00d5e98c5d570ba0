//! Provisional.
use std::path::PathBuf;
/// Provisional.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Config {
    pub roles_path: Vec<PathBuf>,
    pub inventory: Vec<String>,
    pub vault_identity_list: Vec<String>,
    pub vault_password_file: Option<PathBuf>,
    pub forks: Option<usize>,
    pub remote_user: Option<String>,
    pub private_key_file: Option<PathBuf>,
    pub timeout: Option<u64>,
    pub host_key_checking: Option<bool>,
}
impl Config {
    /// Reads.
    pub fn from_environment() -> Self {
        Self::default()
    }
}
