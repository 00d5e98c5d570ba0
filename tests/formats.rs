//! The file formats against files and tools of others.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use windlass::formats::keystore::{Keystore, KeystoreError, Kind};

#[derive(Deserialize)]
struct Vector {
    file: String,
    ok: bool,
    version: Option<u32>,
    #[serde(default)]
    password: String,
    error: Option<String>,
    entries: Option<usize>,
    digest: Option<String>,
    #[serde(default)]
    files: Vec<String>,
}

fn keystores() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keystores"))
}

fn digest(keystore: &Keystore) -> String {
    let mut hash = Sha256::new();
    for (name, entry) in &keystore.entries {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(entry.value.len().to_string());
        hash.update([0]);
        hash.update(&entry.value);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_given_keystore_is_read_as_its_manifest_says() {
    let manifest = fs::read_to_string(keystores().join("manifest.json")).expect("manifest");
    let vectors: Vec<Vector> = serde_json::from_str(&manifest).expect("manifest");
    assert!(vectors.len() > 50);
    for vector in vectors {
        let bytes = fs::read(keystores().join(&vector.file)).expect("file");
        let read = Keystore::read(&bytes, &vector.password);
        if !vector.ok {
            match (vector.error.as_deref(), &read) {
                (Some("corrupt"), Err(KeystoreError::Corrupt(_))) => {}
                (Some("password"), Err(KeystoreError::WrongPassword | KeystoreError::NeedsPassword)) => {}
                other => panic!("{}: {other:?}", vector.file),
            }
            continue;
        }
        let keystore = read.unwrap_or_else(|error| panic!("{}: {error}", vector.file));
        assert_eq!(Some(keystore.version), vector.version, "{}", vector.file);
        assert_eq!(Some(keystore.entries.len()), vector.entries, "{}", vector.file);
        assert_eq!(Some(digest(&keystore)), vector.digest, "{}", vector.file);
        let files: Vec<_> = keystore.entries.iter().filter(|(_, entry)| entry.kind == Kind::File).map(|(name, _)| name.clone()).collect();
        assert_eq!(files, vector.files, "{}", vector.file);

        // The key derivation is slow on purpose, so one file a version stands for all.
        if vector.file.ends_with("-remote-pw.keystore") {
            let again = Keystore::read(&keystore.write(&vector.password).expect("writes"), &vector.password).expect("reads its own");
            assert_eq!(again, keystore, "{}", vector.file);
        }
    }
}

#[test]
fn keystores_that_lucene_and_the_jdk_wrote_are_read() {
    let mut contents = BTreeMap::new();
    for version in 3..=7 {
        for (suffix, password) in [("", ""), ("-pw", "keystorepassword")] {
            let bytes = fs::read(keystores().join(format!("lucene-written-v{version}{suffix}.keystore"))).expect("file");
            let keystore = Keystore::read(&bytes, password).unwrap_or_else(|error| panic!("v{version}{suffix}: {error}"));
            assert_eq!(keystore.version, version);
            assert!(keystore.entries.contains_key("keystore.seed"));
            contents.entry(digest(&keystore)).or_insert_with(Vec::new).push(format!("{version}{suffix}"));
        }
    }
    assert_eq!(contents.len(), 1, "all hold the same: {contents:?}");
}

/// A real file that may not be carried along; looked at where it is at hand.
#[test]
fn a_real_keystore_is_read_where_there_is_one() {
    let folder = std::env::var_os("WINDLASS_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), Into::into);
    let Ok(bytes) = fs::read(folder.join("elasticsearch/keystores/format-v3-elasticsearch.keystore")) else { return };
    let keystore = Keystore::read(&bytes, "").expect("reads");
    assert_eq!(keystore.entries["string_setting"].value, b"string_value");
    assert_eq!(keystore.entries["file_setting"].kind, Kind::File);
    assert_eq!(keystore.entries["file_setting"].value, b"file_value");
}
