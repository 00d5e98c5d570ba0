//! Requests as the API sees them, and answers in Elasticsearch's form, errors included.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

/// A request, its path split, its identity known.
#[derive(Clone, Debug)]
pub struct Ask {
    /// `GET`, ...
    pub method: String,
    /// Path and query as sent, for messages.
    pub uri: String,
    /// The parts of the path, decoded.
    pub path: Vec<String>,
    /// The query.
    pub query: BTreeMap<String, String>,
    /// The body, `Null` where there is none.
    pub body: Json,
    /// Whether there was a body at all.
    pub has_body: bool,
    /// Who asks.
    pub who: super::access::Identity,
}

impl Ask {
    /// Returns a query parameter that is a switch.
    pub fn switch(&self, name: &str) -> Result<bool, Refusal> {
        match self.query.get(name).map(String::as_str) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => Err(Refusal::illegal(format!("Failed to parse value [{other}] as only [true] or [false] are allowed."))),
        }
    }

    /// Refuses parameters that this endpoint does not have.
    pub fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        const EVERYWHERE: &[&str] = &["pretty", "human", "error_trace", "filter_path", "format"];
        let strange: Vec<_> =
            self.query.keys().filter(|name| !known.contains(&name.as_str()) && !EVERYWHERE.contains(&name.as_str())).collect();
        let names = strange.iter().map(|name| format!("[{name}]")).collect::<Vec<_>>().join(", ");
        let path = self.uri.split('?').next().unwrap_or_default();
        match strange.len() {
            0 => Ok(()),
            1 => Err(Refusal::illegal(format!("request [{path}] contains unrecognized parameter: {names}"))),
            _ => Err(Refusal::illegal(format!("request [{path}] contains unrecognized parameters: {names}"))),
        }
    }

    /// Refuses a body where none belongs.
    pub fn no_body(&self) -> Result<(), Refusal> {
        if self.has_body {
            Err(Refusal::illegal(format!("request [{} {}] does not support having a body", self.method, self.uri)))
        } else {
            Ok(())
        }
    }
}

/// What the API answers.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Json,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

impl From<Json> for Reply {
    fn from(body: Json) -> Self {
        Self { status: 200, body, headers: Vec::new() }
    }
}

/// Why the API says no.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// `type` of the error.
    pub kind: &'static str,
    /// `reason` of the error.
    pub reason: String,
    /// Whether the client is told how to log in.
    pub challenge: bool,
}

impl Refusal {
    /// Returns a refusal.
    pub fn new(status: u16, kind: &'static str, reason: impl Into<String>) -> Self {
        Self { status, kind, reason: reason.into(), challenge: status == 401 }
    }

    /// 400 `illegal_argument_exception`.
    pub fn illegal(reason: impl Into<String>) -> Self {
        Self::new(400, "illegal_argument_exception", reason)
    }

    /// 400 for a field that the endpoint does not know.
    pub fn unknown_field(parser: &str, field: &str) -> Self {
        Self::new(400, "x_content_parse_exception", format!("[1:1] [{parser}] unknown field [{field}]"))
    }

    /// 400 for a field of the wrong type.
    pub fn wrong_type(parser: &str, field: &str, value: &Json) -> Self {
        let found = match value {
            Json::Null => "VALUE_NULL",
            Json::Bool(_) => "VALUE_BOOLEAN",
            Json::Number(_) => "VALUE_NUMBER",
            Json::String(_) => "VALUE_STRING",
            Json::Array(_) => "START_ARRAY",
            Json::Object(_) => "START_OBJECT",
        };
        Self::new(400, "x_content_parse_exception", format!("[1:1] [{parser}] {field} doesn't support values of type: {found}"))
    }

    /// 400 for a request whose parts do not fit together.
    pub fn invalid(problems: &[String]) -> Self {
        let list = problems.iter().enumerate().fold(String::new(), |text, (at, problem)| format!("{text} {}: {problem};", at + 1));
        Self::new(400, "action_request_validation_exception", format!("Validation Failed:{list}"))
    }

    /// 500: the simulator itself failed.
    pub fn broken(error: &std::io::Error) -> Self {
        Self::new(500, "exception", error.to_string())
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let (kind, reason) = (refusal.kind, refusal.reason);
        let error = json!({"root_cause": [{"type": kind, "reason": reason}], "type": kind, "reason": reason});
        let challenge = ["Basic realm=\"security\", charset=\"UTF-8\"", "ApiKey"];
        let headers =
            if refusal.challenge { challenge.iter().map(|text| ("WWW-Authenticate", (*text).to_owned())).collect() } else { Vec::new() };
        Self { status: refusal.status, body: json!({"error": error, "status": refusal.status}), headers }
    }
}

/// Returns the entries of an object body, or refuses; unknown fields are refused too.
pub fn object<'a>(body: &'a Json, parser: &str, fields: &[&str]) -> Result<&'a serde_json::Map<String, Json>, Refusal> {
    let Some(map) = body.as_object() else {
        return Err(Refusal::new(400, "parsing_exception", format!("[{parser}] expected an object")));
    };
    match map.keys().find(|name| !fields.contains(&name.as_str())) {
        Some(field) => Err(Refusal::unknown_field(parser, field)),
        None => Ok(map),
    }
}

/// Returns a text or a list of texts as a list.
pub fn texts(value: &Json) -> Option<Vec<String>> {
    match value {
        Json::String(text) => Some(vec![text.clone()]),
        Json::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Returns the milliseconds of a duration such as `30s`, `90d`, `500ms`.
pub fn milliseconds(text: &str, what: &str) -> Result<u64, Refusal> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => {
            let reason = format!("failed to parse setting [{what}] with value [{text}] as a time value: unit is missing or unrecognized");
            return Err(Refusal::illegal(reason));
        }
    };
    let number: u64 = number.parse().map_err(|_| Refusal::illegal(format!("failed to parse [{text}]")))?;
    number.checked_mul(factor).ok_or_else(|| Refusal::illegal(format!("failed to parse [{text}]")))
}
