//! `lookup('url')`: what an address answers.

use crate::source::Diagnostic;
use crate::value::Value;
use crate::vars::Fetch;
use crate::vars::template::live::{Outcome, fail};

use super::{Lookup, Request, lookup};

pub(super) const LOOKUPS: &[Lookup] = &[lookup("url", url)];

/// Takes an option, or else the variable that stands for it.
fn option(request: &mut Request<'_, '_>, name: &str) -> Outcome<Option<Value>> {
    if let Some(value) = request.option(name) {
        return Ok(Some(value).filter(|value| !value.is_null()));
    }
    let live = request.run.variable(&format!("ansible_lookup_url_{name}"))?;
    live.map(|live| request.run.freeze(&live)).transpose()
}

fn url(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let yes = |value: Option<Value>, or: bool| value.and_then(|value| crate::value::arguments::to_bool(&value)).unwrap_or(or);
    let split = yes(option(request, "split_lines")?, true);
    let insecure = !yes(option(request, "validate_certs")?, true);
    let use_proxy = yes(option(request, "use_proxy")?, true);
    let (user, password) = (option(request, "username")?, option(request, "password")?);
    let basic = user.map(|user| (user.to_string(), password.map(|password| password.to_string()).unwrap_or_default()));
    let agent =
        option(request, "agent")?.or(request.option("http_agent")).map_or_else(|| "ansible-httpget".to_owned(), |agent| agent.to_string());
    let mut headers = vec![("User-Agent".to_owned(), agent)];
    if let Some(Value::Map(own)) = option(request, "headers")? {
        headers.extend(own.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    }
    let timeout = match option(request, "timeout")? {
        None => 10,
        Some(seconds) => match seconds.to_string().parse::<f64>() {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Ok(seconds) if (0.0..1e9).contains(&seconds) => seconds.ceil() as u64,
            _ => return fail(format!("`url` waits for a number of seconds, not `{seconds}`")),
        },
    };
    let follow_redirects = option(request, "follow_redirects")?.map_or_else(|| "urllib2".to_owned(), |which| which.to_string());
    let ca_file = option(request, "ca_path")?.map(|path| path.to_string());
    // The password goes along from the start; nothing is read from a `.netrc`.
    for name in ["force_basic_auth", "use_netrc", "force", "use_gssapi", "ciphers", "unredirected_headers"] {
        option(request, name)?;
    }
    if request.option("unix_socket").is_some() {
        return fail("`url` does not use sockets of the file system; the module `uri` does");
    }
    let mut out = Vec::new();
    for term in &request.terms {
        let wanted = Fetch {
            url: term.to_string(),
            headers: headers.clone(),
            basic: basic.clone(),
            ca_file: ca_file.clone(),
            insecure,
            timeout,
            follow_redirects: follow_redirects.clone(),
            use_proxy,
        };
        let bytes = request.run.engine.world().fetch(&wanted).map_err(|why| Diagnostic::error(format!("`url`: {why}")))?;
        let text = String::from_utf8_lossy(&bytes);
        if split {
            out.extend(text.lines().map(Value::str));
        } else {
            out.push(Value::str(text));
        }
    }
    Ok(out)
}
