//! `uri`: talk to a web service.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::command::yes;
use super::{Controller, Example, Module};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::doubt::Names;
use crate::change::target::{Manner, Target};
use crate::change::{Change, Done, Effect, Failure, Plan, Probe, Request, Response, http};
use crate::value::arguments::Anything;
use crate::value::json::{from_json, to_json};
use crate::value::{Map, Value};

/// Sends an HTTP or HTTPS request from the host, and gives back status, headers and body.
///
/// `GET` and `HEAD` only read, so a check sends them too; every other method is "would send" there, and its answer is unknown.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Uri {
    /// The address.
    url: String,
    /// The method.
    #[serde(default = "get")]
    method: String,
    /// The body: a text, or what `body_format` makes one of.
    body: Option<Anything>,
    /// How `body` is written.
    #[serde(default)]
    body_format: BodyFormat,
    /// A file of the controller whose content is the body.
    src: Option<String>,
    /// Whether `src` lies on the host.
    #[serde(default)]
    #[expect(dead_code, reason = "`prepare` reads it")]
    remote_src: bool,
    /// Status codes that mean success.
    #[serde(default = "ok")]
    status_code: Vec<u16>,
    /// Whether the result has the body as `content`. JSON is always in `json`.
    #[serde(default)]
    return_content: bool,
    /// Which redirects are followed: `all`, `safe` (of GET and HEAD) or `none`.
    #[serde(default = "safe")]
    follow_redirects: String,
    /// A file of the host: where it exists already, nothing is sent.
    creates: Option<String>,
    /// A file of the host: where it does not exist, nothing is sent.
    removes: Option<String>,
    /// A file, or a directory, of the host for the body of the answer to a `GET`.
    dest: Option<String>,
    /// Owner of `dest`.
    owner: Option<String>,
    /// Group of `dest`.
    group: Option<String>,
    /// Mode of `dest`.
    mode: Option<FileMode>,
    /// Headers to send.
    #[serde(default)]
    headers: Option<Anything>,
    /// User for Basic authentication.
    #[serde(alias = "user")]
    url_username: Option<String>,
    /// Password for Basic authentication.
    #[serde(alias = "password")]
    url_password: Option<String>,
    /// Accepted for old playbooks: user and password are always sent with the first request.
    #[serde(default, rename = "force_basic_auth")]
    _force_basic_auth: bool,
    /// Whether the server's certificate is verified.
    #[serde(default = "yes")]
    validate_certs: bool,
    /// A file of the host with the authorities to trust, PEM.
    ca_path: Option<String>,
    /// A file of the host with a client certificate, PEM.
    client_cert: Option<String>,
    /// A file of the host with its key, PEM, where it is not in `client_cert`.
    client_key: Option<String>,
    /// Seconds to wait.
    #[serde(default = "half_a_minute")]
    timeout: u64,
    /// Whether the proxies of the environment are used.
    #[serde(default = "yes")]
    use_proxy: bool,
    /// A socket of the host to connect to, instead of the address.
    unix_socket: Option<String>,
    /// The `User-Agent` header.
    #[serde(default = "agent")]
    http_agent: String,
    /// Accepted for old playbooks: a `.netrc` file is never read.
    #[serde(rename = "use_netrc")]
    _use_netrc: Option<bool>,
    /// Accepted for old playbooks; the ciphers that are offered are all sound.
    #[serde(rename = "ciphers")]
    _ciphers: Option<Vec<String>>,
    /// Accepted for old playbooks: no header of authentication follows a redirect to another host.
    #[serde(rename = "unredirected_headers")]
    _unredirected_headers: Option<Vec<String>>,
    /// Accepted for old playbooks: an answer that is compressed is unpacked only where it was asked for.
    #[serde(rename = "decompress")]
    _decompress: Option<bool>,
    /// Accepted for old playbooks; a `GET` is never answered from a cache.
    #[serde(default, rename = "force")]
    _force: bool,
    #[schemars(skip)]
    _src: Option<String>,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum BodyFormat {
    /// As it is.
    #[default]
    Raw,
    /// JSON.
    Json,
    /// `a=1&b=2`.
    FormUrlencoded,
    /// Parts: a text each, or `{content, filename, mime_type}`.
    FormMultipart,
}

fn get() -> String {
    "GET".to_owned()
}
fn ok() -> Vec<u16> {
    vec![200]
}
fn safe() -> String {
    "safe".to_owned()
}
fn half_a_minute() -> u64 {
    30
}
pub(super) fn agent() -> String {
    "windlass".to_owned()
}

/// What is sent, and its `Content-Type` where it has one.
type Body = (Vec<u8>, Option<String>);

impl Module for Uri {
    const NAME: &'static str = "uri";
    const RESTS: bool = false;
    const CHANGES: &'static [Names] = &[Names::Server("url"), Names::Path("dest")];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Register a thing once",
        task: "{url: 'https://api.example.net/things', method: POST, body_format: json, body: {name: a}, status_code: [200, 201], creates: /var/lib/thing.registered}",
        given: &[("/var/lib/thing.registered", "")],
        changes: false,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        let remote = arguments.get("remote_src").and_then(crate::value::arguments::to_bool).unwrap_or(false);
        let Some(src) = arguments.get("src").and_then(Value::as_str).filter(|_| !remote) else { return Ok(()) };
        let bytes = controller.read(&controller.find("files", src).map_err(|failure| failure.at("src"))?)?;
        arguments.insert("_src".into(), base64::engine::general_purpose::STANDARD.encode(bytes).into());
        Ok(())
    }

    fn asks(arguments: &Map) -> bool {
        arguments.get("method").is_none_or(|method| matches!(method.as_str(), Some("GET" | "HEAD")))
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.src.is_some() && self.body.is_some() {
            return Err(Failure::argument("src", "`body` and `src` exclude each other"));
        }
        for (path, wanted) in [(&self.creates, true), (&self.removes, false)] {
            let Some(path) = path else { continue };
            if crate::change::glob::glob(host, path)?.is_empty() != wanted {
                let state = if wanted { "exists" } else { "does not exist" };
                return Ok(Plan::nothing(format!("`{path}` {state}")).value("msg", format!("skipped, since `{path}` {state}")));
            }
        }
        let request = self.request(host)?;
        if matches!(request.method.as_str(), "GET" | "HEAD") {
            let begin = host.now();
            let response = host.http(&request)?;
            #[allow(clippy::cast_possible_truncation)]
            let elapsed = (host.now() - begin) as i64;
            let mut values = self.describe(&response)?;
            values.insert("elapsed".into(), elapsed.into());
            let mut plan = Plan { values, ..Plan::nothing(format!("{} answered {}", request.method, response.status)) };
            if let Some(dest) = &self.dest {
                self.save(host, dest, &response, &mut plan)?;
            }
            return Ok(plan);
        }
        if self.dest.is_some() {
            return Err(Failure::argument("dest", format!("`dest` keeps the answer of a GET, not of a {}", request.method)));
        }
        let summary = format!("{} {}", request.method, request.url);
        let why = format!("`{summary}` was not sent");
        let effects = vec![Effect::UrlUnknown(http::origin(&request.url))];
        let plan = Plan::one("a request that writes is sent each time", Change::Http { request, summary, diff: None, effects, undo: None });
        Ok(plan.values(["status", "url", "msg", "content", "json", "redirected"].map(|name| (name, Value::unknown(why.clone())))))
    }

    fn result(&self, plan: &Plan, done: &[Done], _host: &dyn Probe) -> Result<Map, Failure> {
        match done.iter().find_map(|done| if let Done::Answered(response) = done { Some(response) } else { None }) {
            Some(response) => self.describe(response),
            None => Ok(plan.values.clone()),
        }
    }
}

/// What `uri` and `get_url` need to reach a server.
#[derive(Debug, Default)]
pub(super) struct Access<'a> {
    pub user: Option<&'a str>,
    pub password: Option<&'a str>,
    pub validate: bool,
    pub ca_path: Option<&'a str>,
    pub client_cert: Option<&'a str>,
    pub client_key: Option<&'a str>,
    pub timeout: u64,
    pub use_proxy: bool,
    pub agent: &'a str,
    pub headers: Option<&'a Value>,
}

impl Access<'_> {
    /// Returns a request without a body.
    pub(super) fn request(&self, host: &dyn Probe, method: &str, url: &str) -> Result<Request, Failure> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Failure::argument("url", format!("`{url}` is not an address that begins with http:// or https://")));
        }
        let file = |argument: &str, path: Option<&str>| -> Result<Option<Vec<u8>>, Failure> {
            let Some(path) = path else { return Ok(None) };
            let missing = || Failure::Missing { path: PathBuf::from(path), argument: argument.to_owned() };
            host.read(Path::new(path))?.map(Some).ok_or_else(missing)
        };
        let mut client = file("client_cert", self.client_cert)?;
        if let (Some(certificate), Some(key)) = (&mut client, file("client_key", self.client_key)?) {
            certificate.push(b'\n');
            certificate.extend(key);
        }
        let mut headers = Vec::new();
        match self.headers {
            Some(Value::Map(map)) => {
                headers.extend(map.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_string(), value.to_string())))
            }
            // The old form: `A:b,C:d`.
            Some(Value::Str(text)) => {
                headers.extend(
                    text.split(',')
                        .filter_map(|pair| pair.split_once(':'))
                        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())),
                );
            }
            Some(Value::Null) | None => {}
            Some(_) => return Err(Failure::argument("headers", "`headers` is a dictionary of names and values")),
        }
        if !has_header(&headers, "user-agent") {
            headers.push(("User-Agent".to_owned(), self.agent.to_owned()));
        }
        Ok(Request {
            method: method.to_owned(),
            url: url.to_owned(),
            headers,
            basic: self.user.map(|user| (user.to_owned(), self.password.unwrap_or_default().to_owned())),
            ca_pem: file("ca_path", self.ca_path)?,
            client_pem: client,
            insecure: !self.validate,
            timeout: self.timeout,
            follow_redirects: "safe".to_owned(),
            use_proxy: self.use_proxy,
            ..Request::default()
        })
    }
}

fn has_header(headers: &[(String, String)], name: &str) -> bool {
    headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
}

impl Uri {
    fn request(&self, host: &dyn Probe) -> Result<Request, Failure> {
        let access = Access {
            user: self.url_username.as_deref(),
            password: self.url_password.as_deref(),
            validate: self.validate_certs,
            ca_path: self.ca_path.as_deref(),
            client_cert: self.client_cert.as_deref(),
            client_key: self.client_key.as_deref(),
            timeout: self.timeout,
            use_proxy: self.use_proxy,
            agent: &self.http_agent,
            headers: self.headers.as_ref().map(|headers| &headers.0),
        };
        let mut request = access.request(host, &self.method.to_uppercase(), &self.url)?;
        request.follow_redirects.clone_from(&self.follow_redirects);
        request.unix_socket = self.unix_socket.as_ref().map(PathBuf::from);
        if let Some((body, kind)) = self.content(host)? {
            if let Some(kind) = kind.filter(|_| !has_header(&request.headers, "content-type")) {
                request.headers.push(("Content-Type".to_owned(), kind));
            }
            request.body = Some(body);
        }
        Ok(request)
    }

    /// Returns the body and its type.
    fn content(&self, host: &dyn Probe) -> Result<Option<Body>, Failure> {
        if let Some(src) = &self.src {
            let bytes = match &self._src {
                Some(text) => base64::engine::general_purpose::STANDARD.decode(text).ok(),
                None => host.read(Path::new(src))?,
            };
            let missing = || Failure::Missing { path: PathBuf::from(src), argument: "src".to_owned() };
            return Ok(Some((bytes.ok_or_else(missing)?, None)));
        }
        let Some(Anything(body)) = &self.body else { return Ok(None) };
        Ok(Some(match (self.body_format, body) {
            (BodyFormat::FormMultipart, Value::Map(parts)) => multipart(host, parts)?,
            (BodyFormat::FormMultipart, _) => return Err(Failure::argument("body", "`form-multipart` needs a dictionary of parts")),
            (BodyFormat::Json, Value::Str(text)) => (text.as_bytes().to_vec(), Some("application/json".to_owned())),
            (BodyFormat::Json, body) => (to_json(body).to_string().into_bytes(), Some("application/json".to_owned())),
            (BodyFormat::FormUrlencoded, body) => (form(body)?.into_bytes(), Some("application/x-www-form-urlencoded".to_owned())),
            (BodyFormat::Raw, body @ (Value::Map(_) | Value::List(_))) => (to_json(body).to_string().into_bytes(), None),
            (BodyFormat::Raw, body) => (body.to_string().into_bytes(), None),
        }))
    }

    /// Returns what `register` gets of an answer, or the failure where its status is not wanted.
    fn describe(&self, response: &Response) -> Result<Map, Failure> {
        let mut values = Map::new();
        let text = String::from_utf8_lossy(&response.body);
        let wanted = self.status_code.contains(&response.status);
        for (name, value) in &response.headers {
            let name = name.to_lowercase().replace('-', "_");
            if name == "set_cookie" {
                continue;
            }
            let joined = values.get(name.as_str()).map_or_else(|| value.clone(), |old| format!("{old}, {value}"));
            values.insert(name.into(), joined.into());
        }
        let cookies = cookies(response);
        let line = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        values.insert("cookies_string".into(), line.into());
        values.insert("cookies".into(), Value::map(cookies.into_iter().map(|(name, value)| (name, Value::from(value)))));
        values.insert("status".into(), i64::from(response.status).into());
        values.insert("url".into(), response.url.as_str().into());
        values.insert("redirected".into(), (response.url.trim_end_matches('/') != self.url.trim_end_matches('/')).into());
        values.insert("msg".into(), format!("{} ({} bytes)", response.reason, response.body.len()).into());
        let kind = values.get("content_type").map(ToString::to_string).unwrap_or_default();
        if kind.contains("json")
            && let Ok(json) = serde_json::from_str(&text)
        {
            values.insert("json".into(), from_json(&json));
        }
        if self.return_content || !wanted {
            values.insert("content".into(), text.as_ref().into());
        }
        if wanted {
            return Ok(values);
        }
        let codes: Vec<_> = self.status_code.iter().map(ToString::to_string).collect();
        let message = format!("status code was {} and not [{}]: {}", response.status, codes.join(", "), response.reason);
        values.shift_remove("msg");
        Err(Failure::Failed {
            message,
            hint: (response.status == 401).then(|| "user and password are `url_username` and `url_password`".to_owned()),
            values,
        })
    }

    fn save(&self, host: &dyn Probe, dest: &str, response: &Response, plan: &mut Plan) -> Result<(), Failure> {
        let path = in_folder(host, Path::new(dest), response)?;
        let target = Target::find(host, &path, "dest")?;
        let asked = Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode: self.mode.as_ref() };
        let wanted = target.wanted(host, &asked)?;
        plan.changes = target.changes(Some(response.body.clone()), &Manner { wanted, ..Manner::default() });
        plan.values.insert("path".into(), path.to_string_lossy().as_ref().into());
        Ok(())
    }
}

/// Returns the file for an answer: `dest`, or a file in it named by the server or the address.
pub(super) fn in_folder(host: &dyn Probe, dest: &Path, response: &Response) -> Result<PathBuf, Failure> {
    if !host.stat(dest, true)?.is_some_and(|stat| stat.kind == crate::change::probe::FileKind::Directory) {
        return Ok(dest.to_owned());
    }
    let named =
        response.headers.iter().find(|(name, _)| name == "content-disposition").and_then(|(_, value)| value.split_once("filename="));
    let named = named.and_then(|(_, name)| name.split(';').next()).map(|name| name.trim().trim_matches('"').to_owned());
    let path = response.url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let last = path.split_once('/').map_or("", |(_, path)| path).rsplit('/').next().unwrap_or_default().to_owned();
    // A server must not choose the folder.
    let name = named.unwrap_or(last).rsplit('/').next().unwrap_or_default().to_owned();
    let name = if matches!(name.as_str(), "" | "." | "..") { "index.html".to_owned() } else { name };
    Ok(dest.join(name))
}

fn cookies(response: &Response) -> Vec<(String, String)> {
    let lines = response.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value);
    lines
        .filter_map(|line| line.split(';').next()?.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

/// Returns `a=1&b=2` of a dictionary or of a list of pairs.
fn form(body: &Value) -> Result<String, Failure> {
    let pair = |name: &str, value: &Value| format!("{}={}", escape(name), escape(&value.to_string()));
    let mut pairs = Vec::new();
    let mut add = |name: &str, value: &Value| match value {
        Value::List(items) => pairs.extend(items.iter().map(|item| pair(name, item))),
        one => pairs.push(pair(name, one)),
    };
    match body {
        Value::Str(text) => return Ok(text.to_string()),
        Value::Map(map) => map.iter().for_each(|(name, value)| add(&name.to_string(), value)),
        Value::List(items) => {
            for item in items.iter() {
                match item.as_list() {
                    Some([name, value]) => add(&name.to_string(), value),
                    _ => return Err(Failure::argument("body", "a list for `form-urlencoded` is made of pairs: `[[name, value], ...]`")),
                }
            }
        }
        _ => return Err(Failure::argument("body", "`form-urlencoded` needs a dictionary, a list of pairs or a text")),
    }
    Ok(pairs.join("&"))
}

fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Returns the body of several parts, and its type.
fn multipart(host: &dyn Probe, parts: &Map) -> Result<(Vec<u8>, Option<String>), Failure> {
    let mut body = Vec::new();
    let mut pieces = Vec::new();
    for (name, part) in parts {
        let mut head = format!("Content-Disposition: form-data; name=\"{}\"", name.to_string().replace('"', "%22"));
        let content = match part {
            Value::Map(map) => {
                let filename = map.get("filename").map(ToString::to_string);
                if let Some(filename) = &filename {
                    let last = filename.rsplit('/').next().unwrap_or_default();
                    head.push_str(&format!("; filename=\"{}\"", last.replace('"', "%22")));
                }
                let kind = map.get("mime_type").map_or_else(|| "application/octet-stream".to_owned(), ToString::to_string);
                head.push_str(&format!("\r\nContent-Type: {kind}"));
                match (map.get("content"), filename) {
                    (Some(content), _) => content.to_string().into_bytes(),
                    (None, Some(path)) => {
                        let missing = || Failure::Missing { path: PathBuf::from(&path), argument: "body".to_owned() };
                        host.read(Path::new(&path))?.ok_or_else(missing)?
                    }
                    (None, None) => {
                        return Err(Failure::argument("body", format!("the part `{name}` has neither `content` nor `filename`")));
                    }
                }
            }
            one => one.to_string().into_bytes(),
        };
        pieces.push((head, content));
    }
    let all: Vec<u8> = pieces.iter().flat_map(|(head, content)| head.bytes().chain(content.iter().copied())).collect();
    let boundary = format!("windlass-{}", crate::change::digest::sha256(&all));
    for (head, content) in pieces {
        body.extend(format!("--{boundary}\r\n{head}\r\n\r\n").into_bytes());
        body.extend(content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").into_bytes());
    Ok((body, Some(format!("multipart/form-data; boundary={boundary}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(entries: &[(&str, Value)]) -> Uri {
        let map: Map = entries.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        crate::value::arguments::from_map(&map).expect("fits")
    }

    #[test]
    fn an_answer_is_told_with_flat_headers_and_json() {
        let module = uri(&[("url", Value::str("http://x/")), ("status_code", Value::str("200, 201"))]);
        let headers = [("content-type", "application/json; charset=utf-8"), ("x-found-in", "b"), ("set-cookie", "a=1; Path=/")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let mut response =
            Response { status: 201, reason: "Created".into(), headers, body: b"{\"a\": 1}".to_vec(), url: "http://x/".into() };
        let values = module.describe(&response).expect("wanted");
        assert_eq!(values.get("json").and_then(|json| json.get("a")), Some(&Value::Int(1)));
        assert_eq!(values.get("x_found_in"), Some(&Value::str("b")));
        assert_eq!(values.get("cookies").and_then(|cookies| cookies.get("a")), Some(&Value::str("1")));
        assert_eq!(values.get("redirected"), Some(&Value::Bool(false)));
        assert!(values.get("content").is_none());
        response.status = 404;
        response.reason = "Not Found".into();
        let failure = module.describe(&response).expect_err("not wanted");
        assert_eq!(failure.to_string(), "status code was 404 and not [200, 201]: Not Found");
    }

    #[test]
    fn forms_are_escaped() {
        let body = Value::map([("a b", Value::str("ü&")), ("c", Value::list([Value::Int(1), Value::Int(2)]))]);
        assert_eq!(form(&body).expect("form"), "a+b=%C3%BC%26&c=1&c=2");
    }
}
