//! Talks to Elasticsearch's REST API through a [`Probe`]: what all its modules have in common.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::{Change, Done, Effect, Failure, Probe, Request, Response};
use crate::formats::elasticsearch::{Trouble, trouble};
use crate::value::Value;
use crate::value::json::from_json;

/// A node, and how to log in there.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// The address.
    pub url: &'a str,
    /// A file with the authorities to trust.
    pub ca_file: Option<&'a str>,
    /// For Basic.
    pub username: Option<&'a str>,
    /// For Basic.
    pub password: Option<&'a str>,
    /// For `Bearer`.
    pub bearer_token: Option<&'a str>,
    /// For `ApiKey`.
    pub api_key: Option<&'a str>,
    /// Seconds to wait for an answer.
    pub timeout: u64,
    /// Whether the certificate is not verified.
    pub insecure: bool,
}

/// Defines the arguments of a module that talks to Elasticsearch: its own, and those that say where and as whom.
macro_rules! elasticsearch_arguments {
    ($(#[$meta:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Address of a node: `https://es.example.net:9200`.
            url: String,
            /// A PEM file, on the host where the task runs, with the authorities that the node's certificate may come from. Without it, the host's own.
            ca_file: Option<String>,
            /// Who logs in.
            username: Option<String>,
            /// The user's password.
            password: Option<crate::value::secret::Secret<String>>,
            /// Log in by a token instead.
            bearer_token: Option<crate::value::secret::Secret<String>>,
            /// Log in by an API key, in its encoded form, instead.
            api_key: Option<crate::value::secret::Secret<String>>,
            /// Seconds to wait: for an answer, and all in all where the module waits for something.
            #[serde(default = "crate::change::elasticsearch::usual_timeout")]
            timeout: u64,
            /// Do not verify the node's certificate. Whoever is in between can then read and change everything, secrets too.
            #[serde(default)]
            insecure: bool,
            $($own)*
        }

        impl $name {
            /// Returns the node to talk to, and as whom.
            fn server(&self) -> crate::change::elasticsearch::Server<'_> {
                crate::change::elasticsearch::Server {
                    url: &self.url,
                    ca_file: self.ca_file.as_deref(),
                    username: self.username.as_deref(),
                    password: self.password.as_ref().map(|secret| secret.reveal().as_str()),
                    bearer_token: self.bearer_token.as_ref().map(|secret| secret.reveal().as_str()),
                    api_key: self.api_key.as_ref().map(|secret| secret.reveal().as_str()),
                    timeout: self.timeout,
                    insecure: self.insecure,
                }
            }
        }
    };
}
pub(crate) use elasticsearch_arguments;

/// Seconds to wait where a task does not say.
pub fn usual_timeout() -> u64 {
    30
}

/// Names of the arguments that are secrets, for `prepare`.
pub const SECRET_ARGUMENTS: &[&str] = &["password", "bearer_token", "api_key", "keystore_password"];

impl Server<'_> {
    /// Says what is wrong with the arguments, and what the user should know of them.
    ///
    /// # Errors
    /// When the address is none, or there is more than one login.
    pub fn check(&self) -> Result<Vec<String>, Failure> {
        let rest = self.url.strip_prefix("https://").or_else(|| self.url.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(Failure::argument("url", format!("`{}` is no address such as `https://es.example.net:9200`", self.url)));
        }
        let logins = [self.username.is_some(), self.bearer_token.is_some(), self.api_key.is_some()];
        if logins.iter().filter(|given| **given).count() > 1 {
            return Err(Failure::argument("username", "give one login: `username` and `password`, `bearer_token`, or `api_key`"));
        }
        if self.username.is_some() != self.password.is_some() {
            return Err(Failure::argument("password", "`username` and `password` go together"));
        }
        let mut warnings = Vec::new();
        if self.insecure {
            warnings.push(format!(
                "`insecure`: the certificate of {} is NOT verified, so anybody in between can read and change everything",
                self.url
            ));
        }
        if self.url.starts_with("http://") && logins.contains(&true) {
            warnings.push(format!("the login goes to {} without encryption", self.url));
        }
        Ok(warnings)
    }

    /// Returns the same login at another address.
    pub fn at<'b>(&'b self, url: &'b str) -> Server<'b> {
        Server { url, ..*self }
    }

    /// Returns the address of an API.
    pub fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }

    /// Returns a request.
    ///
    /// # Errors
    /// When the file with authorities cannot be read.
    pub fn request(&self, host: &dyn Probe, method: &str, path: &str, body: Option<&Json>) -> Result<Request, Failure> {
        let missing = |path: &str| Failure::Missing { path: PathBuf::from(path), argument: "ca_file".to_owned() };
        let ca_pem = self.ca_file.map(|path| host.read(Path::new(path))?.ok_or_else(|| missing(path))).transpose()?;
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        if body.is_some() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        let token = self.bearer_token.map(|token| format!("Bearer {token}")).or_else(|| self.api_key.map(|key| format!("ApiKey {key}")));
        headers.extend(token.map(|token| ("authorization".to_owned(), token)));
        Ok(Request {
            method: method.to_owned(),
            url: self.address(path),
            headers,
            body: body.map(|body| body.to_string().into_bytes()),
            basic: self.username.zip(self.password).map(|(user, password)| (user.to_owned(), password.to_owned())),
            ca_pem,
            insecure: self.insecure,
            timeout: self.timeout.max(1),
            follow_redirects: "none".to_owned(),
            use_proxy: true,
            ..Request::default()
        })
    }

    /// Reads something. `what` is a clause for messages: "read the cluster's settings".
    ///
    /// # Errors
    /// When there is no answer, or one that is no success.
    pub fn get(&self, host: &dyn Probe, path: &str, what: &str) -> Result<Json, Failure> {
        let request = self.request(host, "GET", path, None)?;
        read_answer(what, &host.http(&request)?)
    }

    /// Reads something, whatever the status is.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get_any(&self, host: &dyn Probe, path: &str) -> Result<(u16, Json), Failure> {
        let request = self.request(host, "GET", path, None)?;
        let answer = host.http(&request)?;
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Json::Null)))
    }

    /// Returns the change that a request makes.
    ///
    /// # Errors
    /// When the file with authorities cannot be read.
    pub fn change(&self, host: &dyn Probe, call: Call<'_>) -> Result<Change, Failure> {
        let request = self.request(host, call.method, call.path, call.body)?;
        let undo = call.undo.map(|(method, path, body)| self.request(host, method, &path, Some(&body)).map(Box::new)).transpose()?;
        Ok(Change::Http { request, summary: call.summary, diff: call.diff, effects: call.effects, undo })
    }
}

/// A request that writes.
#[derive(Debug, Default)]
pub struct Call<'a> {
    /// `PUT`, `POST`, `DELETE`.
    pub method: &'a str,
    /// The API, from the slash on.
    pub path: &'a str,
    /// The body.
    pub body: Option<&'a Json>,
    /// One line for a person.
    pub summary: String,
    /// What changes: before and after.
    pub diff: Option<(String, String)>,
    /// What is known then.
    pub effects: Vec<Effect>,
    /// Method, API and body of the request that takes it back; `@id@` stands for the `id` of the answer.
    pub undo: Option<(&'a str, String, Json)>,
}

/// Returns the body of an answer that is a success.
///
/// # Errors
/// When it is none; the message says what it means.
pub fn read_answer(what: &str, answer: &Response) -> Result<Json, Failure> {
    let body: Json = serde_json::from_slice(&answer.body).unwrap_or(Json::Null);
    if !(200..300).contains(&answer.status) {
        let Trouble { message, hint } = trouble(what, answer.status, &body);
        let failure = Failure::failed(message).with("status", i64::from(answer.status)).with("json", from_json(&body));
        return Err(match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        });
    }
    if body.is_null() {
        return Err(
            Failure::failed(format!("{what}: the answer is no JSON")).hint("see whether the address is the one of an Elasticsearch node")
        );
    }
    Ok(body)
}

/// Returns the body of what a change was answered.
///
/// # Errors
/// As [`read_answer`].
pub fn answer_of(what: &str, done: Option<&Done>) -> Result<Json, Failure> {
    match done {
        Some(Done::Answered(answer)) => read_answer(what, answer),
        _ => Err(Failure::failed(format!("{what}: there was no answer"))),
    }
}

/// Returns a value for `register`.
pub fn value(json: &Json) -> Value {
    from_json(json)
}
