//! Filters for addresses and HTML.

use crate::value::{Map, Value};
use crate::vars::template::live::{Outcome, fail};

use super::{Call, Filter, known};

pub(super) const FILTERS: &[Filter] = &[
    known("urlencode", urlencode),
    known("urldecode", |call| Ok(Value::from(decoded(&call.subject_text()?)))),
    known("urlsplit", urlsplit),
    known("escape", |call| Ok(Value::from(escaped(&call.subject.to_string())))),
    known("e", |call| Ok(Value::from(escaped(&call.subject.to_string())))),
    known("forceescape", |call| Ok(Value::from(escaped(&call.subject.to_string())))),
    known("safe", |call| Ok(Value::from(call.subject.to_string()))),
    known("striptags", |call| Ok(Value::from(without_tags(&call.subject.to_string())))),
    known("xmlattr", xmlattr),
    known("urlize", urlize),
];

fn encoded(text: &str, keep: &str, plus: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        if byte.is_ascii_alphanumeric() || "_.-~".contains(c) || (byte.is_ascii() && keep.contains(c)) {
            out.push(c);
        } else if plus && byte == b' ' {
            out.push('+');
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn urlencode(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let pair = |key: &str, value: &Value| format!("{}={}", encoded(key, "", true), encoded(&value.to_string(), "", true));
    Ok(Value::from(match &call.subject {
        Value::Map(map) => map.iter().map(|(key, value)| pair(&key.to_string(), value)).collect::<Vec<_>>().join("&"),
        Value::List(pairs) => {
            let mut out = Vec::new();
            for item in pairs.iter() {
                match item.as_list() {
                    Some([key, value]) => out.push(pair(&key.to_string(), value)),
                    _ => return fail("`urlencode` takes a text, a dictionary, or a list of pairs"),
                }
            }
            out.join("&")
        }
        other => encoded(&other.to_string(), "/", false),
    }))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let source = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = source.get(at) {
        let hex = source
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, hex) {
            (b'%', Some(hex)) => {
                bytes.push(hex);
                at += 2;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn urlsplit(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let part = call.text_or(0, "query", "")?;
    let text = call.subject_text()?;
    // As Python: blanks and controls at the start go, and line ends anywhere.
    let text = text.trim_start_matches(|c: char| c <= ' ').replace(['\t', '\r', '\n'], "");
    let (rest, fragment) = text.split_once('#').unwrap_or((&text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let named = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let (scheme, rest) = rest.split_once(':').filter(|(scheme, _)| named(scheme)).unwrap_or(("", rest));
    let (netloc, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let (login, host) = netloc.rsplit_once('@').map_or((None, netloc), |(login, host)| (Some(login), host));
    let (user, password) = login
        .map_or((None, None), |login| login.split_once(':').map_or((Some(login), None), |(user, password)| (Some(user), Some(password))));
    let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    let text_or_null = |text: Option<&str>| text.filter(|text| !text.is_empty()).map_or(Value::Null, Value::str);
    let parts: Map = [
        ("fragment", Value::str(fragment)),
        ("hostname", text_or_null(Some(&host.to_lowercase()))),
        ("netloc", Value::str(netloc)),
        ("password", text_or_null(password)),
        ("path", Value::str(path)),
        ("port", port.and_then(|port| port.parse().ok()).map_or(Value::Null, Value::Int)),
        ("query", Value::str(query)),
        ("scheme", Value::from(scheme.to_lowercase())),
        ("username", text_or_null(user)),
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value))
    .collect();
    if part.is_empty() {
        return Ok(parts.into());
    }
    match parts.get(part.as_str()) {
        Some(found) => Ok(found.clone()),
        None => fail(format!("`urlsplit`: unknown URL component `{part}`")),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('>', "&gt;").replace('<', "&lt;").replace('\'', "&#39;").replace('"', "&#34;")
}

fn without_tags(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let end = if rest[at..].starts_with("<!--") {
            rest[at..].find("-->").map(|end| end + 3)
        } else {
            rest[at..].find('>').map(|end| end + 1)
        };
        match end {
            Some(end) => rest = &rest[at + end..],
            None => {
                out.push_str(&rest[at..]);
                rest = "";
            }
        }
    }
    out.push_str(rest);
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn xmlattr(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let space = call.flag(0, "autospace", true)?;
    let map = call.subject_map()?;
    let odd = |key: &&crate::value::Key| key.as_str().is_none_or(|key| key.contains(|c: char| c.is_whitespace() || "/>=".contains(c)));
    if let Some(key) = map.keys().find(odd) {
        return fail(format!("`{key}` is no name of an attribute"));
    }
    let attributes: Vec<String> = map
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| format!("{}=\"{}\"", escaped(&key.to_string()), escaped(&value.to_string())))
        .collect();
    let text = attributes.join(" ");
    Ok(Value::from(if space && !text.is_empty() { format!(" {text}") } else { text }))
}

fn urlize(call: &mut Call<'_, '_>) -> Outcome<Value> {
    call.rest(0);
    call.named();
    let text = call.subject_text()?;
    let words = text.split(' ').map(|word| {
        if word.starts_with("http://") || word.starts_with("https://") {
            let address = escaped(word);
            format!("<a href=\"{address}\" rel=\"noopener\">{address}</a>")
        } else {
            escaped(word)
        }
    });
    Ok(Value::from(words.collect::<Vec<_>>().join(" ")))
}
