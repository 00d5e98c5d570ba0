//! Certificates and stores against `openssl` and Java's `keytool`. A test is skipped only where its tool is missing.

#![allow(clippy::panic, clippy::disallowed_methods, reason = "a test runs the tools it compares with, on files of its own")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use windlass::formats::certificates::{Authority, Certificate, Wish, new_authority};
use windlass::formats::pkcs12::Store;
use windlass::formats::private_key::{KeyKind, PrivateKey};

const PASSWORD: &str = "CERT_PASSWORD";

/// Runs a tool; `None` where there is none.
fn tool(folder: &Path, argv: &[&str]) -> Option<Output> {
    let output = Command::new(argv[0]).args(&argv[1..]).current_dir(folder).env("LC_ALL", "C").output();
    match output {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{argv:?}: {error}"),
    }
}

fn text(output: &Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

fn put(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    fs::write(folder.join(name), content).expect("write");
}

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("clock").as_secs().try_into().expect("fits")
}

fn wish(subject: &str) -> Wish {
    Wish {
        subject: subject.into(),
        dns: vec!["remote-es.example.net".into()],
        ip: vec!["198.51.100.20".parse().expect("ip"), "2001:db8::20".parse().expect("ip")],
        not_before: now() - 300,
        not_after: now() + 86_400 * 30,
    }
}

fn authority(kind: KeyKind) -> Authority {
    let key = PrivateKey::generate(kind).expect("key");
    let certificate = new_authority(&wish("CN=Example CA,O=Example"), &key).expect("authority");
    Authority::new(vec![certificate], key).expect("fits")
}

#[test]
fn keytool_and_openssl_read_our_store() {
    let folder = tempfile::tempdir().expect("folder");
    for (authority_kind, kind) in [(KeyKind::EcP256, KeyKind::Rsa2048), (KeyKind::Rsa2048, KeyKind::EcP256)] {
        let authority = authority(authority_kind);
        let key = PrivateKey::generate(kind).expect("key");
        let leaf = authority.issue(&wish("node1"), &key).expect("leaf");
        let store =
            Store { alias: "node1".into(), key, chain: vec![leaf.clone()], trusted: vec![("ca".into(), authority.certificate.clone())] };
        put(folder.path(), "ours.p12", store.write(PASSWORD).expect("writes"));
        put(folder.path(), "ca.crt", authority.certificate.to_pem());
        put(folder.path(), "leaf.crt", leaf.to_pem());

        if let Some(listing) = tool(folder.path(), &["keytool", "-list", "-v", "-keystore", "ours.p12", "-storepass", PASSWORD]) {
            let listing = text(&listing);
            for wanted in [
                "Alias name: ca",
                "Entry type: trustedCertEntry",
                "Alias name: node1",
                "Entry type: PrivateKeyEntry",
                "DNSName: remote-es.example.net",
                "IPAddress: 198.51.100.20",
                "serverAuth",
                "clientAuth",
            ] {
                assert!(listing.contains(wanted), "no `{wanted}` in {listing}");
            }
            let wrong = tool(folder.path(), &["keytool", "-list", "-keystore", "ours.p12", "-storepass", "wrong!"]).expect("there");
            assert!(!wrong.status.success());
        }
        if let Some(read) =
            tool(folder.path(), &["openssl", "pkcs12", "-in", "ours.p12", "-nodes", "-passin", &format!("pass:{PASSWORD}"), "-info"])
        {
            let read = text(&read);
            assert!(read.contains("BEGIN PRIVATE KEY") && read.contains("AES-256-CBC") && read.contains("PRF hmacWithSHA256"), "{read}");
            let verified = tool(folder.path(), &["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt", "leaf.crt"]).expect("there");
            assert!(text(&verified).contains("OK"));
        }
    }
}

#[test]
fn stores_of_openssl_and_keytool_are_read() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    let (subject, pass) = ("/CN=theirs", format!("pass:{PASSWORD}"));
    let request =
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-subj", subject, "-days", "9"];
    if let Some(made) = tool(path, &request) {
        text(&made);
        for extra in [&[][..], &["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"]] {
            let mut argv =
                vec!["openssl", "pkcs12", "-export", "-in", "c.pem", "-inkey", "k.pem", "-name", "n", "-passout", &pass, "-out", "o.p12"];
            argv.extend(extra);
            text(&tool(path, &argv).expect("there"));
            let store = Store::read(&fs::read(path.join("o.p12")).expect("made"), PASSWORD).expect("reads");
            assert_eq!((store.alias.as_str(), store.chain[0].subject.as_str()), ("n", "CN=theirs"));
            assert!(Store::read(&fs::read(path.join("o.p12")).expect("made"), "wrong").is_err());
        }
    }
    let pair = ["keytool", "-genkeypair", "-keyalg", "EC", "-alias", "mine", "-dname", "CN=java", "-storetype", "PKCS12"];
    if let Some(made) = tool(path, &[&pair[..], &["-keystore", "j.p12", "-storepass", PASSWORD]].concat()) {
        text(&made);
        let store = Store::read(&fs::read(path.join("j.p12")).expect("made"), PASSWORD).expect("reads");
        assert_eq!((store.alias.as_str(), store.chain[0].subject.as_str()), ("mine", "CN=java"));
    }
}

/// The issuer must be the authority's name byte by byte, whatever string types and repeated parts it has.
#[test]
fn an_authority_of_openssl_signs_whatever_its_name_and_key_look_like() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    let subject = "/DC=net/DC=example/O=Example/OU=one/OU=two/CN=Odd CA";
    for (key, curve) in [("rsa:2048", ""), ("ec", "ec_paramgen_curve:prime256v1"), ("ec", "ec_paramgen_curve:secp384r1")] {
        let mut argv = vec![
            "openssl", "req", "-x509", "-newkey", key, "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", subject, "-days", "9",
        ];
        if !curve.is_empty() {
            argv.extend(["-pkeyopt", curve]);
        }
        let Some(made) = tool(path, &argv) else { return };
        text(&made);
        let read = |name: &str| fs::read(path.join(name)).expect("made");
        let old = if key == "ec" { "ec" } else { "rsa" };
        text(&tool(path, &["openssl", old, "-in", "ca.key", "-out", "old.key"]).expect("there"));
        text(
            &tool(path, &["openssl", "rsa", "-in", "ca.key", "-aes128", "-traditional", "-passout", "pass:hunter2", "-out", "sealed.key"])
                .map_or_else(
                    || panic!("there"),
                    |output| {
                        if key == "ec" {
                            tool(path, &["openssl", "ec", "-in", "ca.key", "-aes256", "-passout", "pass:hunter2", "-out", "sealed.key"])
                                .expect("there")
                        } else {
                            output
                        }
                    },
                ),
        );
        text(
            &tool(path, &["openssl", "pkcs8", "-topk8", "-in", "ca.key", "-passout", "pass:hunter2", "-out", "pkcs8.key"]).expect("there"),
        );
        for (name, passphrase) in [("ca.key", None), ("old.key", None), ("sealed.key", Some("hunter2")), ("pkcs8.key", Some("hunter2"))] {
            let key = PrivateKey::from_pem(&read(name), passphrase).unwrap_or_else(|error| panic!("{name} {curve}: {error}"));
            let authority = Authority::new(Certificate::from_pem(&read("ca.crt")).expect("reads"), key).expect("fits");
            let leaf = authority.issue(&wish("node1"), &PrivateKey::generate(KeyKind::EcP256).expect("key")).expect("leaf");
            assert!(leaf.is_signed_by(&authority.certificate));
            put(path, "leaf.crt", leaf.to_pem());
            assert!(text(&tool(path, &["openssl", "verify", "-CAfile", "ca.crt", "leaf.crt"]).expect("there")).contains("OK"));
        }
        assert!(PrivateKey::from_pem(&read("sealed.key"), Some("wrong")).is_err());
    }
}

#[test]
fn openssl_reads_our_encrypted_key() {
    let folder = tempfile::tempdir().expect("folder");
    for kind in [KeyKind::EcP256, KeyKind::Rsa2048] {
        let key = PrivateKey::generate(kind).expect("key");
        put(folder.path(), "k.pem", key.to_pem(Some("hunter2")).expect("pem").as_bytes());
        let Some(read) = tool(folder.path(), &["openssl", "pkey", "-in", "k.pem", "-passin", "pass:hunter2"]) else { return };
        assert_eq!(
            PrivateKey::from_pem(text(&read).as_bytes(), None).expect("reads").pair().expect("pair").public_key_raw(),
            key.pair().expect("pair").public_key_raw()
        );
    }
}
