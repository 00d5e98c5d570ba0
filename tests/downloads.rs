//! `get_url` as a whole, over real HTTP and HTTPS: what a check says, what a run gets, and what a second run leaves alone.

#![allow(clippy::panic, clippy::disallowed_methods, reason = "a test starts servers and writes files of its own")]

mod harness;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use harness::{Run, Site};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use windlass::change::digest::sha256;
use windlass::formats::certificates::{Authority, Wish, new_authority};
use windlass::formats::private_key::{KeyKind, PrivateKey};

const TEXT: &[u8] = b"one\ntwo\n";
const LARGE: usize = 2 * 1024 * 1024;

/// A web server with a few files, over TLS where it is given a certificate and its key.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(pem: Option<String>) -> Self {
        let tls = pem.map(|pem| {
            let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|found| found.expect("certificate")).collect();
            let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("key");
            let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
            let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
            Arc::new(builder.with_single_cert(chain, key).expect("fits"))
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Self { port: listener.local_addr().expect("address").port(), heard: Arc::default() };
        let heard = Arc::clone(&server.heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                match &tls {
                    None => answer(stream, &heard),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(Arc::clone(config)).expect("TLS");
                        answer(rustls::StreamOwned::new(connection, stream), &heard);
                    }
                }
            }
        });
        server
    }

    /// Returns the requests since the last time, as `GET /path`.
    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock().expect("lock"))
    }
}

/// Answers one request; a client that goes away is its own business.
fn answer(stream: impl Read + Write, heard: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head).is_ok_and(|length| length > 2) {}
    let Some((request, _)) = head.split_once(" HTTP/1.1") else { return };
    heard.lock().expect("lock").push(request.to_owned());
    let lower = head.to_lowercase();
    let modified = "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT\r\n";
    let (method, path) = request.split_once(' ').expect("method and path");
    let (status, more, body) = match path {
        "/text" | "/folder/text" if lower.contains("if-modified-since:") => ("304 Not Modified", modified, Vec::new()),
        "/text" | "/folder/text" => ("200 OK", modified, TEXT.to_vec()),
        "/large" => ("200 OK", modified, vec![b'x'; LARGE]),
        "/named" => ("200 OK", "Content-Disposition: attachment; filename=\"given.txt\"\r\n", TEXT.to_vec()),
        "/moved" => ("302 Found", "Location: /text\r\n", Vec::new()),
        "/closed" if head.contains("Basic bWU6c2VjcmV0") => ("200 OK", "", TEXT.to_vec()),
        "/closed" => ("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", Vec::new()),
        "/sums" => ("200 OK", "", format!("{}  other\n{} *text\n", "0".repeat(64), sha256(TEXT)).into_bytes()),
        _ => ("404 Not Found", "", Vec::new()),
    };
    let out = reader.get_mut();
    let _ = write!(out, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n", body.len());
    if method != "HEAD" {
        let _ = out.write_all(&body);
    }
    let _ = out.flush();
}

/// Runs `get_url` with these arguments.
fn get(site: &Site, arguments: &str, words: &str) -> Run {
    site.write(
        "site.yml",
        &format!("- hosts: localhost\n  gather_facts: false\n  tasks:\n    - get_url: {{{arguments}}}\n      register: got\n"),
    );
    site.playbook(&format!("site.yml --output ansible {words}"))
}

/// Runs it as a check, for real and again; the first two have to agree, and the third has nothing to do.
#[track_caller]
fn settle(site: &Site, arguments: &str) {
    let check = get(site, arguments, "--check").success();
    let run = get(site, arguments, "").success();
    assert_eq!(check.recap("localhost"), run.recap("localhost"), "{}{}", check.all(), run.all());
    assert_eq!(run.count("localhost", "changed"), 1, "{}", run.all());
    let again = get(site, arguments, "").success();
    assert_eq!(again.count("localhost", "changed"), 0, "{}", again.all());
}

#[test]
fn a_file_comes_once_and_only_when_it_is_not_there() {
    let (server, site) = (Server::start(None), Site::new());
    let url = format!("http://127.0.0.1:{}", server.port);
    let dest = |name: &str| format!("dest: '{}/{name}'", site.path().display());

    let arguments = format!("url: '{url}/text', {}, mode: '0640'", dest("a"));
    let check = get(&site, &arguments, "--check --diff").success();
    assert!(!site.exists("a") && check.stdout.contains("+two"), "{}", check.all());
    settle(&site, &arguments);
    assert_eq!(site.read("a").as_bytes(), TEXT);
    assert_eq!(std::fs::metadata(site.path().join("a")).expect("file").permissions().mode() & 0o777, 0o640);
    server.heard();

    // A digest that fits: nobody is asked. One that does not: nothing arrives.
    let fits = format!("{arguments}, checksum: 'sha256:{}'", sha256(TEXT));
    assert_eq!(get(&site, &fits, "").success().count("localhost", "changed"), 0);
    assert!(server.heard().is_empty());
    let wrong = format!("url: '{url}/text', {}, checksum: 'sha256:{}'", dest("b"), "0".repeat(64));
    let run = get(&site, &wrong, "").code(2);
    assert!(run.all().contains("did not match") && !site.exists("b"), "{}", run.all());
    settle(&site, &format!("url: '{url}/text', {}, checksum: 'sha256:{url}/sums'", dest("c")));

    // A file of this host that differs is replaced, the old one kept.
    site.write("a", "mine\n");
    let run = get(&site, &format!("{arguments}, force: true, backup: true"), "").success();
    assert_eq!((run.count("localhost", "changed"), site.read("a").as_bytes()), (1, TEXT));
    let kept = std::fs::read_dir(site.path()).expect("folder").filter_map(Result::ok);
    assert!(kept.map(|entry| entry.file_name().to_string_lossy().into_owned()).any(|name| name.starts_with("a.") && name.ends_with('~')));

    // Into a folder, by the name of the address or the one that the server gives.
    std::fs::create_dir(site.path().join("folder")).expect("folder");
    settle(&site, &format!("url: '{url}/moved', {}", dest("moved")));
    settle(&site, &format!("url: '{url}/folder/text', {}", dest("folder")));
    assert_eq!(site.read("folder/text").as_bytes(), TEXT);
    let _ = get(&site, &format!("url: '{url}/named', {}", dest("folder")), "").success();
    assert_eq!(site.read("folder/given.txt").as_bytes(), TEXT);

    // Who is let in, and who is told why not.
    settle(&site, &format!("url: '{url}/closed', {}, url_username: me, url_password: secret", dest("closed")));
    let run = get(&site, &format!("url: '{url}/closed', {}, force: true", dest("d")), "").code(2);
    assert!(run.all().contains("/closed` answered 401 Unauthorized") && !site.exists("d"), "{}", run.all());
    let run = get(&site, &format!("url: '{url}/nothing', {}", dest("d")), "").code(2);
    assert!(run.all().contains("/nothing` answered 404 Not Found") && run.all().contains("site.yml:4:"), "{}", run.all());
}

#[test]
fn a_check_does_not_move_a_large_file() {
    let (server, site) = (Server::start(None), Site::new());
    let arguments = format!("url: 'http://127.0.0.1:{}/large', dest: '{}/large'", server.port, site.path().display());
    let check = get(&site, &arguments, "--check").success();
    assert_eq!((check.count("localhost", "changed"), server.heard()), (1, vec!["HEAD /large".to_owned()]), "{}", check.all());
    assert_eq!(get(&site, &arguments, "").success().count("localhost", "changed"), 1);
    assert_eq!(std::fs::metadata(site.path().join("large")).expect("file").len(), LARGE as u64);
}

#[test]
fn a_certificate_is_verified_unless_the_user_says_otherwise() {
    let site = Site::new();
    let wish = |subject: &str, ip: &str| Wish {
        subject: subject.into(),
        dns: vec![],
        ip: vec![ip.parse().expect("address")],
        not_before: 1_577_836_800,
        not_after: 4_102_444_800,
    };
    let key = PrivateKey::generate(KeyKind::EcP256).expect("key");
    let authority = Authority::new(vec![new_authority(&wish("CN=CA", "127.0.0.1"), &key).expect("authority")], key).expect("fits");
    site.write("ca.pem", &authority.certificate.to_pem());
    let start = |ip: &str| {
        let key = PrivateKey::generate(KeyKind::EcP256).expect("key");
        let leaf = authority.issue(&wish("CN=server", ip), &key).expect("leaf");
        Server::start(Some(format!("{}{}", leaf.to_pem(), *key.to_pem(None).expect("PEM"))))
    };
    let (right, other) = (start("127.0.0.1"), start("198.51.100.1"));
    let from = |server: &Server, name: &str, more: &str| {
        format!("url: 'https://127.0.0.1:{}/text', dest: '{}/{name}'{more}", server.port, site.path().display())
    };
    let trusted = format!(", ca_path: '{}/ca.pem'", site.path().display());

    settle(&site, &from(&right, "a", &trusted));
    let run = get(&site, &from(&right, "b", ""), "").code(2);
    assert!(run.all().contains("an authority that is not trusted here"), "{}", run.all());
    // Ansible's form has no place for a hint; ours does.
    let shown = site.playbook("site.yml").code(2);
    assert!(shown.all().contains("hint:"), "{}", shown.all());
    let run = get(&site, &from(&other, "b", &trusted), "").code(2);
    assert!(run.all().contains("its certificate is not for this name"), "{}", run.all());
    assert!(!site.exists("b"));
    settle(&site, &from(&other, "b", ", validate_certs: false"));
}
