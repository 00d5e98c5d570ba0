//! Files that hold a secret for a moment: readable by their owner only, put in place at once, overwritten before they go.

use std::fs::{File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::{NamedTempFile, TempDir};

/// A folder that only we can read, with one file in it. When it is dropped, the file is overwritten and removed.
pub struct PrivateFile {
    folder: TempDir,
    name: String,
}

impl PrivateFile {
    /// Writes `text` to a new private file. It is called `name`, so that an editor knows what it is.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(name: &str, text: &[u8]) -> std::io::Result<Self> {
        // The user's runtime folder is in memory and nobody else's.
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(std::path::PathBuf::from).filter(|path| path.is_dir());
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("windlass-vault-").permissions(Permissions::from_mode(0o700));
        let folder = match runtime.map(|path| builder.tempdir_in(path)) {
            Some(Ok(folder)) => folder,
            _ => builder.tempdir()?,
        };
        let file = Self { folder, name: name.to_owned() };
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.write(true).create_new(true).open(file.path())?.write_all(text)?;
        Ok(file)
    }

    /// Returns where it is.
    pub fn path(&self) -> std::path::PathBuf {
        self.folder.path().join(&self.name)
    }
}

impl Drop for PrivateFile {
    /// Overwrites everything in the folder: an editor may have left copies beside the file.
    fn drop(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.folder.path()) else { return };
        for entry in entries.filter_map(Result::ok) {
            let _ = overwrite(&entry.path());
        }
    }
}

fn overwrite(path: &Path) -> std::io::Result<()> {
    if !path.symlink_metadata()?.is_file() {
        return Ok(());
    }
    let mut file = File::options().write(true).open(path)?;
    let mut rest = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    let zeros = [0_u8; 4096];
    while rest > 0 {
        let part = rest.min(zeros.len() as u64);
        #[allow(clippy::cast_possible_truncation)]
        file.write_all(&zeros[..part as usize])?;
        rest -= part;
    }
    file.sync_all()
}

/// Puts `text` in place of the file at `path` at once. An existing file's mode and owner stay; a new one is the owner's only.
///
/// # Errors
/// The system refuses.
pub fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text)?;
    if let Ok(old) = std::fs::metadata(&path) {
        file.as_file().set_permissions(old.permissions())?;
        let (uid, gid) = (std::os::unix::fs::MetadataExt::uid(&old), std::os::unix::fs::MetadataExt::gid(&old));
        let new = file.as_file().metadata()?;
        if (std::os::unix::fs::MetadataExt::uid(&new), std::os::unix::fs::MetadataExt::gid(&new)) != (uid, gid) {
            std::os::unix::fs::fchown(file.as_file(), Some(uid), Some(gid))?;
        }
    }
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_the_owners_only_and_goes() {
        let file = PrivateFile::new("x.yml", b"secret").expect("file");
        let path = file.path();
        assert_eq!(path.metadata().expect("data").permissions().mode() & 0o777, 0o600);
        assert_eq!(path.parent().expect("folder").metadata().expect("data").permissions().mode() & 0o777, 0o700);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn replacing_keeps_the_mode() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("x");
        replace(&path, b"a").expect("writes");
        assert_eq!(path.metadata().expect("data").permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("mode");
        replace(&path, b"b").expect("writes");
        assert_eq!(
            (std::fs::read(&path).expect("reads"), path.metadata().expect("data").permissions().mode() & 0o777),
            (b"b".to_vec(), 0o644)
        );
    }
}
