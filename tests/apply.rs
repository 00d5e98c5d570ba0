//! Faults while a change is made: the host is left as it was, and nothing half-written stays behind.

#![allow(clippy::disallowed_methods, reason = "a test makes its own files")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use windlass::change::{Attributes, Before, Blobs, Change, Content, Done, Failure, Host, apply, digest};

fn write(path: &Path, before: Before, text: &str) -> Change {
    Change::Write {
        path: path.to_owned(),
        before,
        after: Content::Bytes(text.into()),
        attributes: Attributes::default(),
        backup: false,
        validate: None,
        secret: false,
        in_place: false,
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_file_that_somebody_changed_meanwhile_is_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a");
    fs::write(&path, "theirs").expect("written");
    let planned = write(&path, Before::File { sha256: digest::sha256(b"before") }, "ours");
    let failure = apply::apply(&Host::new(), &planned).expect_err("moved");
    assert!(matches!(failure, Failure::Moved { .. }), "{failure}");
    let failure = apply::apply(&Host::new(), &write(&path, Before::Absent, "ours")).expect_err("moved");
    assert!(matches!(failure, Failure::Moved { .. }), "{failure}");
    assert_eq!((fs::read_to_string(&path).expect("read"), names(folder.path())), ("theirs".to_owned(), vec!["a".to_owned()]));
}

#[test]
fn a_file_that_the_check_refuses_stays_as_it_was() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a");
    fs::write(&path, "old").expect("written");
    let mut change = write(&path, Before::File { sha256: digest::sha256(b"old") }, "new");
    if let Change::Write { validate, backup, .. } = &mut change {
        *validate = Some("grep -q old %s".to_owned());
        *backup = true;
    }
    let failure = apply::apply(&Host::new(), &change).expect_err("refused");
    assert!(failure.to_string().contains("does not accept the new content"), "{failure}");
    assert_eq!((fs::read_to_string(&path).expect("read"), names(folder.path())), ("old".to_owned(), vec!["a".to_owned()]));
}

#[test]
fn a_new_content_keeps_the_mode_and_a_copy_of_the_old() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a");
    fs::write(&path, "old").expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
    let mut change = write(&path, Before::File { sha256: digest::sha256(b"old") }, "new");
    if let Change::Write { backup, .. } = &mut change {
        *backup = true;
    }
    let done = apply::apply(&Host::new(), &change).expect("written");
    let Done::Wrote { backup: Some(copy) } = done else { unreachable!("{done:?}") };
    let mut again = write(&path, Before::File { sha256: digest::sha256(b"new") }, "new");
    if let Change::Write { backup, .. } = &mut again {
        *backup = true;
    }
    let done = apply::apply(&Host::new(), &again).expect("written within the same second");
    assert!(matches!(&done, Done::Wrote { backup: Some(other) } if *other != copy), "{done:?}");
    assert_eq!(fs::read_to_string(&copy).expect("read"), "old");
    assert_eq!(fs::read_to_string(&path).expect("read"), "new");
    for file in [&path, &copy] {
        assert_eq!(fs::metadata(file).expect("there").permissions().mode() & 0o7777, 0o640);
    }
}

#[test]
fn removing_a_folder_does_not_follow_links_out_of_it() {
    let folder = tempfile::tempdir().expect("folder");
    let (kept, gone) = (folder.path().join("kept"), folder.path().join("gone"));
    fs::create_dir_all(&kept).expect("made");
    fs::create_dir_all(&gone).expect("made");
    fs::write(kept.join("a"), "x").expect("written");
    symlink(&kept, gone.join("link")).expect("linked");
    apply::apply(&Host::new(), &Change::Remove { path: gone.clone(), before: Before::Directory }).expect("removed");
    assert!(!gone.exists() && kept.join("a").exists());
}

/// Sends something else than was asked for.
struct Damaged;

impl Blobs for Damaged {
    fn fetch(&self, _: &str) -> Result<Box<dyn Read + '_>, Failure> {
        Ok(Box::new(&b"damaged"[..]))
    }
}

#[test]
fn a_large_file_that_comes_damaged_is_not_put_in_place() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a");
    let mut change = write(&path, Before::Absent, "");
    if let Change::Write { after, .. } = &mut change {
        *after = Content::Blob { sha256: digest::sha256(b"whole"), size: 5 };
    }
    let mut host = Host::new();
    host.set_blobs(Arc::new(Damaged));
    let failure = apply::apply(&host, &change).expect_err("damaged");
    assert!(failure.to_string().contains("came damaged"), "{failure}");
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn a_pipe_or_a_device_is_never_replaced_by_a_file() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let failure = apply::apply(&Host::new(), &write(&path, Before::Any, "ours")).expect_err("refused");
    assert!(failure.to_string().contains("a device, a pipe or a socket"), "{failure}");
    assert_eq!(names(folder.path()), ["pipe"]);
}
