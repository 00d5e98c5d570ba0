//! HTTP requests: one function, and failures in plain words.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{Failure, Request, Response, resolve};

/// Seconds to wait where a request does not say.
const TIMEOUT: u64 = 30;

/// Where systems keep the authorities they trust, the usual place first.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// Sends a request and returns the answer, whatever its status. `environment` is what the task adds to ours: proxies are
/// looked up there first.
///
/// # Errors
/// Says in plain words why there was no answer: no such name, refused, timeout, or what is wrong with the certificate.
pub fn send(request: &Request, environment: &[(String, String)]) -> Result<Response, Failure> {
    // The client brings its own runtime, which must not start inside another one.
    std::thread::scope(|scope| {
        scope
            .spawn(|| exchange(request, environment))
            .join()
            .unwrap_or_else(|_| Err(Failure::failed(format!("{request:?}: the HTTP client broke"))))
    })
}

fn exchange(request: &Request, environment: &[(String, String)]) -> Result<Response, Failure> {
    let method = reqwest::Method::from_bytes(request.method.as_bytes())
        .map_err(|_| Failure::argument("method", format!("`{}` is not an HTTP method", request.method)))?;
    let client = client(request, environment)?;
    let mut builder = client.request(method, &request.url);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    if let Some((user, password)) = &request.basic {
        builder = builder.basic_auth(user, Some(password));
    }
    if let Some(body) = &request.body {
        builder = builder.body(body.clone());
    }
    let answer = builder.send().map_err(|error| explain(&error, request))?;
    let status = answer.status();
    let headers = answer.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect();
    let url = answer.url().to_string();
    let body = answer.bytes().map_err(|error| explain(&error, request))?.to_vec();
    Ok(Response { status: status.as_u16(), reason: status.canonical_reason().unwrap_or_default().to_owned(), headers, body, url })
}

fn client(request: &Request, environment: &[(String, String)]) -> Result<reqwest::blocking::Client, Failure> {
    let seconds = if request.timeout == 0 { TIMEOUT } else { request.timeout };
    let read_only = matches!(request.method.as_str(), "GET" | "HEAD");
    let redirects = match request.follow_redirects.as_str() {
        "all" | "yes" | "urllib2" => true,
        "none" | "no" => false,
        _ => read_only,
    };
    let mut builder = reqwest::blocking::Client::builder()
        .tls_backend_preconfigured(tls(request)?)
        .dns_resolver(Arc::new(Resolver))
        .timeout(Duration::from_secs(seconds))
        .redirect(if redirects { reqwest::redirect::Policy::limited(10) } else { reqwest::redirect::Policy::none() });
    builder = builder.no_proxy();
    for proxy in if request.use_proxy { proxies(environment)? } else { Vec::new() } {
        builder = builder.proxy(proxy);
    }
    if let Some(path) = &request.unix_socket {
        builder = builder.unix_socket(path.as_path());
    }
    builder.build().map_err(|error| Failure::failed(format!("the HTTP client cannot start: {}", innermost(&error))))
}

/// Returns the proxies that the environment names: that of the task above our own.
fn proxies(environment: &[(String, String)]) -> Result<Vec<reqwest::Proxy>, Failure> {
    let variable = |name: &str| {
        let names = [name.to_owned(), name.to_uppercase()];
        let given = |name: &String| environment.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let found = names.iter().find_map(given).or_else(|| names.iter().find_map(|name| std::env::var(name).ok()));
        found.filter(|value| !value.trim().is_empty())
    };
    let except = variable("no_proxy").and_then(|hosts| reqwest::NoProxy::from_string(&hosts));
    let mut proxies = Vec::new();
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        let Some(address) = variable(name) else { continue };
        let proxy = match name {
            "http_proxy" => reqwest::Proxy::http(address),
            "https_proxy" => reqwest::Proxy::https(address),
            _ => reqwest::Proxy::all(address),
        };
        let proxy = proxy.map_err(|error| {
            Failure::failed(format!("`{name}` of the environment is no address of a proxy: {}", innermost(&error)))
                .hint("it is written `http://proxy.example.net:3128`; `use_proxy: false` goes without")
        })?;
        proxies.push(proxy.no_proxy(except.clone()));
    }
    Ok(proxies)
}

struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let looked_up = tokio::task::spawn_blocking(move || resolve::addresses(&name)).await?;
            let addresses: Addrs = Box::new(looked_up?.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

fn tls(request: &Request) -> Result<ClientConfig, Failure> {
    let broken = |error: rustls::Error| Failure::failed(format!("TLS cannot be set up: {error}"));
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(broken)?;
    let builder = if request.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified))
    } else {
        builder.with_root_certificates(roots(request)?)
    };
    let Some(pem) = &request.client_pem else { return Ok(builder.with_no_client_auth()) };
    let unfit = |what: &str| Failure::argument("client_cert", format!("the client certificate's PEM text has no readable {what}"));
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| unfit("certificate"))?;
    if chain.is_empty() {
        return Err(unfit("certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| unfit("private key").hint("give `client_key` too; a key with a passphrase cannot be used here"))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| Failure::argument("client_cert", format!("the client certificate and its key do not fit: {error}")))
}

fn roots(request: &Request) -> Result<RootCertStore, Failure> {
    let Some(pem) = &request.ca_pem else { return Ok(system_roots().clone()) };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
    if store.is_empty() {
        return Err(Failure::failed("the file of trusted authorities has no certificate in PEM form")
            .hint("it must hold one or more `-----BEGIN CERTIFICATE-----` blocks"));
    }
    Ok(store)
}

/// Returns the authorities of the system's bundle; none where there is no bundle.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        let named = std::env::var("SSL_CERT_FILE").ok();
        for path in named.as_deref().into_iter().chain(BUNDLES.iter().copied()) {
            if let Ok(pem) = std::fs::read(path) {
                store.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
            }
            if !store.is_empty() {
                break;
            }
        }
        store
    })
}

/// Accepts any certificate: for `validate_certs: false`, which the user has to write.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Turns a failure of the client into one that says what happened and what to do.
fn explain(error: &reqwest::Error, request: &Request) -> Failure {
    let place = place(&request.url);
    if let Some(tls) = find_cause::<rustls::Error>(error) {
        return explain_tls(tls, &place);
    }
    let failed = |what: String| Failure::failed(what).with("url", request.url.as_str()).with("status", -1_i64);
    if error.is_timeout() {
        let seconds = if request.timeout == 0 { TIMEOUT } else { request.timeout };
        return failed(format!("`{place}` did not answer within {seconds} seconds"))
            .hint("a firewall that drops packets looks like this; `timeout` sets how long to wait");
    }
    if error.is_builder() {
        return Failure::argument("url", format!("`{}` is not a URL or a header is not allowed: {}", request.url, innermost(error)));
    }
    if error.is_redirect() {
        return failed(format!("`{place}` redirects without end"));
    }
    if let Some(io) = find_cause::<std::io::Error>(error) {
        match io.kind() {
            std::io::ErrorKind::ConnectionRefused => {
                return failed(format!("`{place}` refused the connection: nothing listens there"))
                    .hint("see whether the service runs, and on this address and port");
            }
            std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::BrokenPipe => {
                return failed(format!("`{place}` closed the connection without an answer"))
                    .hint("http and https mixed up, or a client certificate is wanted");
            }
            _ => {}
        }
    }
    failed(format!("no answer from `{place}`: {}", innermost(error)))
}

fn explain_tls(error: &rustls::Error, place: &str) -> Failure {
    let (what, hint) = match error {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => (
                "its certificate was issued by an authority that is not trusted here".to_owned(),
                "name the authority's certificate with `ca_path` (`ca_file`)",
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                format!("its certificate is not for this name: {}", lower_first(&why.to_string())),
                "use a name that the certificate has, or issue a certificate with this one",
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                (format!("its certificate has expired: {}", lower_first(&why.to_string())), "renew it, or set the clock of this host right")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                ("its certificate is not valid yet".to_owned(), "the clock of this host or of the issuer is wrong")
            }
            CertificateError::Revoked => ("its certificate was revoked".to_owned(), "issue a new one"),
            other => (format!("its certificate cannot be used: {}", lower_first(&other.to_string())), "issue the certificate anew"),
        },
        rustls::Error::InvalidMessage(_) => {
            ("it does not speak TLS on this port".to_owned(), "the address may have to begin with `http://`, or the port is another one's")
        }
        rustls::Error::AlertReceived(alert) => (
            format!("it ended the TLS handshake ({alert:?})"),
            "it may want a client certificate (`client_cert`, `client_key`), or another TLS version or name",
        ),
        other => (other.to_string(), "see the log of the server"),
    };
    Failure::failed(format!("no TLS connection to `{place}`: {what}")).hint(hint).with("status", -1_i64)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Returns the first cause of type `T`, also inside an `io::Error`.
fn find_cause<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref() {
            return Some(found);
        }
        let inner = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(inner) = inner
            && let Some(found) = find_cause::<T>(inner)
        {
            return Some(found);
        }
        cause = current.source();
    }
    None
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Returns host and port of an address: what a person can look at, without the path and its secrets.
fn place(url: &str) -> String {
    let Ok(parsed) = reqwest::Url::parse(url) else { return url.to_owned() };
    let host = parsed.host_str().unwrap_or_default();
    match parsed.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Returns scheme, host and port of an address.
pub fn origin(url: &str) -> String {
    let after = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(after..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| after + at);
    url.get(..end).unwrap_or(url).to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    fn serve_once(answer: &'static [u8]) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let url = format!("http://{}/x", listener.local_addr().expect("address"));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut seen = vec![0; 4096];
            let length = stream.read(&mut seen).expect("read");
            stream.write_all(answer).expect("write");
            String::from_utf8_lossy(&seen[..length]).into_owned()
        });
        (url, server)
    }

    fn get(url: String) -> Request {
        Request { method: "GET".into(), url, timeout: 5, ..Request::default() }
    }

    #[test]
    fn an_answer_comes_with_status_headers_and_body() {
        let (url, server) = serve_once(b"HTTP/1.1 418 Tea\r\nX-Pot: Blue\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhot");
        let request = Request { basic: Some(("u".into(), "p".into())), ..get(url) };
        let response = send(&request, &[]).expect("answered");
        assert_eq!((response.status, response.body.as_slice()), (418, &b"hot"[..]));
        assert!(response.headers.contains(&("x-pot".into(), "Blue".into())), "{:?}", response.headers);
        assert!(server.join().expect("server").to_lowercase().contains("authorization: basic dtpw"));
    }

    #[test]
    fn proxies_come_from_the_environment_of_the_task() {
        let (url, server) = serve_once(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nway");
        let proxy = url.trim_end_matches("/x").to_owned();
        let request = Request { use_proxy: true, ..get("http://far.invalid/thing".into()) };
        let environment = [("http_proxy".to_owned(), proxy)];
        assert_eq!(send(&request, &environment).expect("answered").body, b"way");
        assert!(server.join().expect("proxy").starts_with("GET http://far.invalid/thing HTTP/1.1"));

        let direct = Request { use_proxy: false, ..request.clone() };
        assert!(send(&direct, &environment).is_err());
        let except = [environment[0].clone(), ("NO_PROXY".to_owned(), ".invalid".to_owned())];
        assert!(send(&request, &except).is_err());
        let wrong = [("http_proxy".to_owned(), "http://".to_owned())];
        assert!(send(&request, &wrong).expect_err("no address").to_string().contains("`http_proxy` of the environment"));
    }

    #[test]
    fn a_refused_connection_says_so() {
        let port = TcpListener::bind("127.0.0.1:0").expect("listen").local_addr().expect("address").port();
        let failure = send(&get(format!("http://127.0.0.1:{port}/")), &[]).expect_err("refused");
        assert_eq!(failure.to_string(), format!("`127.0.0.1:{port}` refused the connection: nothing listens there"));
    }

    #[test]
    fn https_to_a_port_without_tls_says_so() {
        let (url, server) = serve_once(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let failure = send(&get(url.replace("http:", "https:")), &[]).expect_err("no TLS");
        assert!(failure.to_string().ends_with("it does not speak TLS on this port"), "{failure}");
        server.join().expect("server");
    }

    #[test]
    fn each_fault_of_a_certificate_is_told_in_plain_words() {
        let say = |why| explain_tls(&rustls::Error::InvalidCertificate(why), "es:9200").to_string();
        assert!(say(CertificateError::UnknownIssuer).contains("not trusted here"));
        assert!(say(CertificateError::NotValidForName).contains("not for this name"));
        assert!(say(CertificateError::Expired).contains("has expired"));
    }

    #[test]
    fn the_origin_is_what_reads_depend_on() {
        assert_eq!(origin("https://es:9200/_cluster/settings?x"), "https://es:9200");
        assert_eq!(origin("http://es"), "http://es");
    }
}
