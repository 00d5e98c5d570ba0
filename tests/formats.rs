//! The file formats against files and tools of others.

#![allow(clippy::panic, clippy::disallowed_methods, reason = "a test runs the reader it compares with, on files of its own")]

mod harness;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::Site;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use windlass::formats::keystore::{Entry, Keystore, KeystoreError, Kind};

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

/// What the independent reader says of a keystore.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Read {
    error: Option<String>,
    version: u32,
    has_password: bool,
    /// The kind is stored in format 3 only.
    entries: BTreeMap<String, (Option<String>, String)>,
}

impl Read {
    fn keystore(&self) -> Keystore {
        assert_eq!(self.error, None);
        let entry = |(kind, value): &(Option<String>, String)| Entry {
            value: (0..value.len()).step_by(2).map(|at| u8::from_str_radix(&value[at..at + 2], 16).expect("hex")).collect(),
            kind: if kind.as_deref() == Some("FILE") { Kind::File } else { Kind::Text },
        };
        Keystore { version: self.version, entries: self.entries.iter().map(|(name, value)| (name.clone(), entry(value))).collect() }
    }
}

/// Has files read by `harness/read_keystore.py`, which shares no code with us.
fn read_by_another(files: &[(PathBuf, &str)]) -> Vec<Read> {
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/read_keystore.py");
    let words = files.iter().flat_map(|(path, password)| [OsString::from(path), OsString::from(password)]);
    let output = Command::new("python3").arg(reader).args(words).output().expect("python3 (tests/run installs it)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    let read: Vec<_> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(read.len(), files.len());
    read
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

#[test]
fn another_reader_reads_the_given_keystores_as_we_do() {
    let manifest = fs::read_to_string(keystores().join("manifest.json")).expect("manifest");
    let vectors: Vec<Vector> = serde_json::from_str(&manifest).expect("manifest");
    let vectors: Vec<_> = vectors.into_iter().filter(|vector| vector.ok).collect();
    let files: Vec<_> = vectors.iter().map(|vector| (keystores().join(&vector.file), vector.password.as_str())).collect();
    for (read, vector) in read_by_another(&files).iter().zip(&vectors) {
        assert_eq!(Some(digest(&read.keystore())), vector.digest, "{}", vector.file);
    }
}

#[test]
fn another_reader_reads_the_keystores_that_we_write() {
    let folder = tempfile::tempdir().expect("folder");
    let entries = BTreeMap::from([
        ("keystore.seed".to_owned(), Entry::text("AAAAAAAAAAAAAAAAAAAA")),
        ("cluster.remote.dr-site.credentials".to_owned(), Entry::text("aWQ6a2V5")),
        ("uni".to_owned(), Entry::text("pä漢🔑")),
        ("empty".to_owned(), Entry::text("")),
        ("gcs.client.default.credentials_file".to_owned(), Entry::file((0..=255).cycle().take(1000).collect())),
    ]);
    let (mut files, mut written) = (Vec::new(), Vec::new());
    for version in 3..=7 {
        for password in ["", "keystorepassword"] {
            let keystore = Keystore { version, entries: entries.clone() };
            let path = folder.path().join(format!("v{version}{password}"));
            fs::write(&path, keystore.write(password).expect("writes")).expect("write");
            files.push((path, password));
            written.push(keystore);
        }
    }
    for ((read, written), (_, password)) in read_by_another(&files).iter().zip(&written).zip(&files) {
        assert_eq!(read.has_password, !password.is_empty());
        let mut seen = read.keystore();
        if written.version > 3 {
            // Only format 3 tells files from texts.
            assert!(read.entries.values().all(|(kind, _)| kind.is_none()));
            seen.entries.get_mut("gcs.client.default.credentials_file").expect("there").kind = Kind::File;
        }
        assert_eq!(seen, *written, "v{}", written.version);
    }
    let wrong: Vec<_> = files.iter().filter(|(_, password)| !password.is_empty()).map(|(path, _)| (path.clone(), "wrong")).collect();
    assert!(read_by_another(&wrong).iter().all(|read| read.error.is_some()));
}

#[test]
fn another_reader_reads_what_a_playbook_made_of_a_keystore() {
    let task = "- hosts: localhost
  gather_facts: false
  tasks:
    - elasticsearch_keystore:
        path: \"{{ playbook_dir }}/{{ item.name }}\"
        password: \"{{ item.password }}\"
        entries: {cluster.remote.dr-site.credentials: bmV3OmtleQ==, bootstrap.password: changeme1}
        files: {gcs.client.default.credentials_file: \"{{ playbook_dir }}/gcs.json\"}
        absent: [uni]
      loop: \"{{ stores }}\"
";
    let mut site = Site::new().file("gcs.json", "{\"a\": 1}\n").file("site.yml", task);
    let (mut stores, mut files) = (String::from("stores:\n"), Vec::new());
    for version in 3..=7 {
        for (suffix, password) in [("", ""), ("-pw", "keystorepassword")] {
            let name = format!("lucene-written-v{version}{suffix}.keystore");
            fs::copy(keystores().join(&name), site.path().join(&name)).expect("copy");
            stores.push_str(&format!("  - {{name: {name}, password: \"{password}\"}}\n"));
            files.push((site.path().join(&name), password));
        }
    }
    site = site.file("stores.yml", &stores);
    let run = site.playbook("site.yml -e @stores.yml --output ansible").success();
    assert_eq!(run.count("localhost", "changed"), 1, "{}", run.all());
    for (read, (path, password)) in read_by_another(&files).iter().zip(&files) {
        let seen = read.keystore();
        let value = |name: &str| seen.entries.get(name).map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
        assert!(path.ends_with(format!("lucene-written-v{}{}.keystore", read.version, if password.is_empty() { "" } else { "-pw" })));
        assert_eq!(value("cluster.remote.dr-site.credentials").as_deref(), Some("bmV3OmtleQ=="));
        assert_eq!(value("bootstrap.password").as_deref(), Some("changeme1"));
        assert_eq!(value("gcs.client.default.credentials_file").as_deref(), Some("{\"a\": 1}\n"));
        assert_eq!(value("uni"), None);
        assert!(seen.entries.contains_key("keystore.seed") && seen.entries.contains_key("file.setting"), "what is not named stays");
    }
    let run = site.playbook("site.yml -e @stores.yml --output ansible").success();
    assert_eq!(run.count("localhost", "changed"), 0, "{}", run.all());
}
