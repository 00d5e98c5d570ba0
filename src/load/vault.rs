//! Stand-in.
use crate::source::Diagnostic;
use std::path::Path;
/// Stand-in.
#[derive(Default)]
pub struct Vault;
impl Vault {
    /// Reads.
    pub fn read_file(&self, path: &Path) -> Result<Vec<u8>, Diagnostic> {
        std::fs::read(path).map_err(|e| Diagnostic::error(format!("cannot read `{}`: {e}", path.display())))
    }
}
