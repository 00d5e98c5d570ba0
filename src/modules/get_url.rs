//! `get_url`: download a file to a host.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::command::yes;
use super::uri::{Access, agent, in_folder};
use super::{Example, Module};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::destination::{Destination, finished};
use crate::change::doubt::Names;
use crate::change::probe::FileKind;
use crate::change::target::{Manner, Target};
use crate::change::{Content, Done, Failure, Plan, Probe, Request, Response};
use crate::value::arguments::Anything;
use crate::value::{Map, Value};

/// Downloads a file to the host. With `checksum`, a file that fits is not downloaded again, and one that does not fit never arrives.
///
/// Without `checksum` an existing file is asked for only if it was changed since; `force` asks in any case.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetUrl {
    /// The address, http or https.
    url: String,
    /// The file, or the directory, to put it.
    dest: String,
    /// `algorithm:digest`, or `algorithm:address` of a list of digests.
    checksum: Option<String>,
    /// Whether to download even though the file is there.
    #[serde(default)]
    force: bool,
    /// Keep a copy of the old file beside it.
    #[serde(default)]
    backup: bool,
    /// Headers to send.
    #[serde(default)]
    headers: Option<Anything>,
    /// Seconds to wait for the server.
    #[serde(default = "ten")]
    timeout: u64,
    /// Owner of the file.
    owner: Option<String>,
    /// Group of the file.
    group: Option<String>,
    /// Mode of the file.
    mode: Option<FileMode>,
    /// User for Basic authentication.
    #[serde(alias = "username")]
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
    /// A file of the host with its key, PEM.
    client_key: Option<String>,
    /// Whether the proxies of the environment are used.
    #[serde(default = "yes")]
    use_proxy: bool,
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
    /// Accepted for old playbooks: the file is always made beside its place.
    #[serde(rename = "tmp_dest")]
    _tmp_dest: Option<String>,
    /// Accepted for old playbooks: the file arrives as the server has it.
    #[serde(rename = "decompress")]
    _decompress: Option<bool>,
}

fn ten() -> u64 {
    10
}

impl Module for GetUrl {
    const NAME: &'static str = "get_url";
    const CHANGES: &'static [Names] = &[Names::Placed("url")];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Download a file whose digest is known",
        task: "{url: 'https://example.net/key.asc', dest: /etc/key.asc, checksum: 'sha256:486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7'}",
        given: &[("/etc/key.asc", "world")],
        changes: false,
    }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let asked = Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode: self.mode.as_ref() };
        let wanted = asked.attributes(host, host.stat(Path::new(&self.dest), true)?.as_ref(), FileKind::File)?;
        let manner = Manner { wanted, backup: self.backup, ..Manner::default() };
        let dest = Path::new(&self.dest);
        let to_folder = host.stat(dest, true)?.is_some_and(|stat| stat.kind == FileKind::Directory);
        let guess = in_folder(host, dest, &Response { url: self.url.clone(), ..Response::default() })?;
        let checksum = self.checksum.as_deref().filter(|text| !text.is_empty()).map(|text| self.digest(host, text, &guess)).transpose()?;
        let target = Target::find(host, &guess, "dest")?;
        if let Some((algorithm, digest)) = &checksum
            && target.stat.is_some()
            && host.digest(&target.path, algorithm)?.as_deref() == Some(digest)
            && !self.force
        {
            return Ok(self.told(Plan::all("the file has the digest that was asked for", target.changes(None, &manner)), &guess, None));
        }
        let began = host.now();
        let response = if let Some(file) = self.url.strip_prefix("file://") {
            of_file(host, file.strip_prefix("localhost").unwrap_or(file))?
        } else {
            let mut request = self.access().request(host, "GET", &self.url)?;
            if let (Some(stat), false, None) = (&target.stat, self.force, &checksum) {
                request.headers.push(("If-Modified-Since".to_owned(), http_date(stat.mtime)));
            }
            if !host.moves()
                && let Some(plan) = self.foresee(host, &request, &target, &manner)?
            {
                return Ok(self.told(plan, &guess, None));
            }
            host.http(&request)?
        };
        if response.status == 304 {
            let plan = Plan::all("the server has nothing newer", target.changes(None, &manner));
            return Ok(self.told(plan, &guess, Some(&response)).value("elapsed", passed(host, began)));
        }
        if response.status != 200 {
            return Err(self.refused(&response).with("elapsed", passed(host, began)));
        }
        let path = if to_folder { in_folder(host, dest, &response)? } else { guess };
        let target = if path == target.path { target } else { Target::find(host, &path, "dest")? };
        let mut because = "the file differs from the server's";
        if target.stat.is_none() {
            because = "the file is not there";
        }
        if let Some((algorithm, digest)) = &checksum {
            let found = crate::change::digest::of_bytes(&response.body, algorithm).unwrap_or_default();
            if found != *digest {
                let message = format!("the {algorithm} checksum of `{}` did not match {digest}; it was {found}", self.url);
                return Err(Failure::failed(message).with("dest", self.dest.as_str()).with("url", self.url.as_str()));
            }
        }
        let before = if target.stat.is_some() { host.digest(&target.path, "sha1")? } else { None };
        let sum = |algorithm| crate::change::digest::of_bytes(&response.body, algorithm);
        let changes = target.changes(Some(response.body.clone()), &manner);
        if changes.is_empty() {
            because = "the file is the server's";
        }
        let mut plan = self.told(Plan::all(because, changes), &path, Some(&response)).value("elapsed", passed(host, began));
        let will = Destination::find(host, &path, true, "dest")?.values(host, &Content::Bytes(response.body.clone()), &asked)?;
        plan.values.extend(will.into_iter().filter(|(name, _)| name.as_str() != Some("checksum")));
        Ok(plan.value("checksum_src", sum("sha1")).value("checksum_dest", before).value("md5sum", sum("md5")))
    }

    fn result(&self, plan: &Plan, done: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        let dest = plan.values.get("dest").map(ToString::to_string).unwrap_or_default();
        finished(plan.values.clone(), done, host, Path::new(&dest))
    }
}

impl GetUrl {
    fn access(&self) -> Access<'_> {
        Access {
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
        }
    }

    /// Where nothing moves, a large file is not downloaded for a forecast: the server's headers tell enough for a file
    /// that is not there yet. `None`: the file itself is needed.
    fn foresee(&self, host: &dyn Probe, request: &Request, target: &Target, manner: &Manner) -> Result<Option<Plan>, Failure> {
        let head = host.http(&Request { method: "HEAD".to_owned(), ..request.clone() })?;
        let size = head.headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse::<u64>().ok());
        let small = size.is_some_and(|size| size < 1024 * 1024);
        if head.status != 200 || small {
            return Ok(None);
        }
        if target.stat.is_some() && self.checksum.is_none() {
            return Err(Failure::unknown(format!("`{}` was not downloaded to compare it", self.url)));
        }
        let content = Content::Unknown(format!("`{}` was not downloaded", self.url));
        Ok(Some(Plan::one("the file is not there, or has another digest", target.write(content, manner))))
    }

    /// Returns algorithm and digest that the file shall have; from a list of digests where an address is given.
    fn digest(&self, host: &dyn Probe, text: &str, path: &Path) -> Result<(String, String), Failure> {
        let wrong = |what: &str| Failure::argument("checksum", format!("{what}; write it as `sha256:...`"));
        let (algorithm, rest) = text.split_once(':').ok_or_else(|| wrong("the algorithm is missing"))?;
        let algorithm = algorithm.trim().to_lowercase();
        if !["md5", "sha1", "sha224", "sha256", "sha384", "sha512"].contains(&algorithm.as_str()) {
            return Err(wrong(&format!("`{algorithm}` is no algorithm that is known")));
        }
        let rest = rest.trim();
        let digest = if rest.starts_with("http://") || rest.starts_with("https://") {
            let response = host.http(&self.access().request(host, "GET", rest)?)?;
            if response.status != 200 {
                return Err(Failure::failed(format!("`{rest}` answered {} {}", response.status, response.reason)));
            }
            let name = self.url.split(['?', '#']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            listed(&String::from_utf8_lossy(&response.body), &[name, &file])
                .ok_or_else(|| Failure::argument("checksum", format!("`{rest}` has no digest of `{name}`")))?
        } else {
            rest.to_owned()
        };
        let digest = digest.to_lowercase();
        if digest.is_empty() || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong("the digest is not hexadecimal"));
        }
        Ok((algorithm, digest))
    }

    fn refused(&self, response: &Response) -> Failure {
        let failure = Failure::failed(format!("`{}` answered {} {}", self.url, response.status, response.reason));
        let failure = failure.with("response", format!("HTTP Error {}: {}", response.status, response.reason));
        failure.with("status_code", i64::from(response.status)).with("url", self.url.as_str()).with("dest", self.dest.as_str())
    }

    fn told(&self, plan: Plan, path: &Path, response: Option<&Response>) -> Plan {
        let plan = plan.value("url", self.url.as_str()).value("dest", path.to_string_lossy().as_ref());
        match response {
            Some(response) if response.status == 304 => plan.value("status_code", 304).value("msg", "HTTP Error 304: Not Modified"),
            // Only a server has a status.
            Some(response) => {
                let status = (!self.url.starts_with("file:")).then(|| i64::from(response.status));
                plan.value("status_code", status).value("msg", format!("OK ({} bytes)", response.body.len()))
            }
            None => plan.value("msg", Value::str("nothing was downloaded")),
        }
    }
}

/// Returns the digest of a file in a list as `sha256sum` writes it; of a list of one digest alone, that one.
fn listed(text: &str, names: &[&str]) -> Option<String> {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let [only] = lines[..]
        && only.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return Some(only.to_owned());
    }
    lines.iter().find_map(|line| {
        let (digest, name) = line.split_once(char::is_whitespace)?;
        let name = PathBuf::from(name.trim().trim_start_matches('*'));
        let name = name.file_name()?.to_string_lossy();
        names.contains(&&*name).then(|| digest.to_owned())
    })
}

/// Returns a file of the host as the answer to a request for it.
fn of_file(host: &dyn Probe, file: &str) -> Result<Response, Failure> {
    match host.read(Path::new(file))? {
        Some(body) => Ok(Response { status: 200, reason: "OK".to_owned(), url: format!("file://{file}"), body, ..Response::default() }),
        None => Err(Failure::Missing { path: PathBuf::from(file), argument: "url".to_owned() }),
    }
}

/// Returns the whole seconds since `began`.
fn passed(host: &dyn Probe, began: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)]
    let seconds = (host.now() - began) as i64;
    seconds.max(0)
}

/// Returns a moment as HTTP headers have it.
fn http_date(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation)]
    let moment = jiff::Timestamp::from_second(seconds as i64).unwrap_or_default();
    moment.to_zoned(jiff::tz::TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_digests_is_searched_by_the_name_of_the_file() {
        let text = "aa11  ./other.tar.gz\nbb22 *es.tar.gz\n";
        assert_eq!(listed(text, &["es.tar.gz"]).as_deref(), Some("bb22"));
        assert_eq!(listed("cc33\n", &["es.tar.gz"]).as_deref(), Some("cc33"));
        assert_eq!(listed(text, &["none"]), None);
    }

    #[test]
    fn moments_are_written_as_headers_have_them() {
        assert_eq!(http_date(784_111_777.9), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
