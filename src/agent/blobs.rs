//! Large files of the controller that hosts may ask for, by their hash.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::change::Failure;
use crate::change::host::Blobs;

/// Bytes of one piece on the wire.
pub const PIECE: usize = 256 * 1024;

/// Where the large files are that tasks mention. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    files: Arc<RwLock<HashMap<String, PathBuf>>>,
}

impl Shelf {
    /// Makes a file ready: whoever asks for this SHA-256 (hex) gets it.
    pub fn offer(&self, sha256: &str, path: &Path) {
        self.files.write().unwrap_or_else(PoisonError::into_inner).insert(sha256.to_owned(), path.to_owned());
    }

    /// Returns the file with this hash.
    pub fn path(&self, sha256: &str) -> Option<PathBuf> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).get(sha256).cloned()
    }
}

impl Blobs for Shelf {
    fn fetch(&self, sha256: &str) -> Result<Box<dyn Read + '_>, Failure> {
        let path = self.path(sha256).ok_or_else(|| Failure::failed("a large file is needed that nothing offers"))?;
        Ok(Box::new(File::open(&path).map_err(|error| Failure::io("read", &path, &error))?))
    }
}
