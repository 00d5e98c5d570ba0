//! The HTTP side of a node: from bytes to a request with an identity, to the endpoint, and back.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::access::{Identity, identify};
use super::answer::{Ask, Refusal, Reply};
use super::node::Node;
use super::tls::Watched;
use super::{cluster, files, info, keys, remote, security};

/// A request body is at most this long, bytes.
const LONGEST_BODY: usize = 1 << 20;

/// Serves until the task ends; its connections end with it.
pub async fn serve(node: Arc<Node>, listener: TcpListener, tls: Option<Arc<Watched<ServerConfig>>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let _ = stream.set_nodelay(true);
        let node = node.clone();
        match tls.as_ref().map(|watched| watched.get()) {
            None => connections.spawn(async move { talk(node, stream).await }),
            Some(config) => connections.spawn(async move {
                match TlsAcceptor::from(config).accept(stream).await {
                    Ok(stream) => talk(node, stream).await,
                    Err(error) => node.log(
                        "WARN",
                        "o.e.h.n.Netty4HttpServerTransport",
                        &format!("caught exception while handling client http traffic: {error}"),
                    ),
                }
            }),
        };
    }
}

async fn talk(node: Arc<Node>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = hyper::service::service_fn(move |request| {
        let node = node.clone();
        async move { Ok::<_, Infallible>(respond(&node, request).await) }
    });
    // A client that breaks off has nothing to be told.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(node: &Arc<Node>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let filter = request.uri().query().and_then(|query| parameters(query).remove("filter_path"));
    let head = request.method() == hyper::Method::HEAD;
    let reply = answer(node, request).await.unwrap_or_else(Reply::from);
    let body = match filter {
        Some(paths) if reply.status < 300 => {
            filtered(&reply.body, &paths.split(',').map(|path| path.split('.').collect()).collect::<Vec<Vec<_>>>())
        }
        _ => Some(reply.body),
    };
    let text = body.unwrap_or_else(|| Json::Object(serde_json::Map::new())).to_string();
    let mut builder =
        Response::builder().status(reply.status).header("X-elastic-product", "Elasticsearch").header("content-type", "application/json");
    for (name, value) in reply.headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::from(if head { String::new() } else { text })).unwrap_or_default()
}

/// Returns only what the paths of `filter_path` name; `*` is any one name, `**` any number of them.
fn filtered(value: &Json, paths: &[Vec<&str>]) -> Option<Json> {
    if paths.iter().any(Vec::is_empty) {
        return Some(value.clone());
    }
    match value {
        Json::Object(map) => {
            let kept: serde_json::Map<_, _> =
                map.iter().filter_map(|(name, inner)| Some((name.clone(), filtered(inner, &below(name, paths))?))).collect();
            (!kept.is_empty()).then_some(Json::Object(kept))
        }
        Json::Array(items) => {
            let kept: Vec<_> = items.iter().filter_map(|item| filtered(item, paths)).collect();
            (!kept.is_empty()).then_some(Json::Array(kept))
        }
        _ => None,
    }
}

fn below<'a>(name: &str, paths: &[Vec<&'a str>]) -> Vec<Vec<&'a str>> {
    let mut next = Vec::new();
    for path in paths {
        let (Some(first), rest) = (path.first(), path.get(1..).unwrap_or_default()) else { continue };
        let (start, end) = first.split_once('*').unwrap_or((first, ""));
        let fits = if first.contains('*') {
            name.starts_with(start) && name.ends_with(end) && name.len() >= start.len() + end.len()
        } else {
            *first == name
        };
        if *first == "**" {
            next.push(path.clone());
        }
        if fits || *first == "**" {
            next.push(rest.to_vec());
        }
    }
    next
}

async fn answer(node: &Arc<Node>, request: Request<Incoming>) -> Result<Reply, Refusal> {
    let (parts, body) = request.into_parts();
    let uri = parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let security =
        node.with_running(|running| files::switch(&running.settings, "xpack.security.enabled", true).unwrap_or(true)).unwrap_or(true);
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let state = node.cluster()?;
    let who = if security {
        identify(&state, header("authorization"), &uri)?
    } else {
        Identity { username: "_anonymous".to_owned(), privileges: vec!["all".to_owned()], ..Identity::default() }
    };
    let too_long = |_| Refusal::new(413, "content_too_long_exception", "the request body is too long");
    let bytes = Limited::new(body, LONGEST_BODY).collect().await.map_err(too_long)?.to_bytes();
    let body = if bytes.is_empty() { Json::Null } else { json_body(header("content-type"), &bytes)? };
    let ask = Ask {
        method: if parts.method == hyper::Method::HEAD { "GET".to_owned() } else { parts.method.to_string() },
        path: parts.uri.path().split('/').filter(|part| !part.is_empty()).map(decoded).collect(),
        query: parts.uri.query().map(parameters).unwrap_or_default(),
        has_body: !bytes.is_empty(),
        uri,
        body,
        who,
    };
    route(node, &ask, &state).await
}

fn json_body(content_type: Option<&str>, bytes: &[u8]) -> Result<Json, Refusal> {
    let kind = content_type.unwrap_or_default();
    let plain = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !["application/json", "application/vnd.elasticsearch+json"].contains(&plain.as_str()) {
        let reason = if kind.is_empty() {
            "Content-Type header is missing".to_owned()
        } else {
            format!("Content-Type header [{kind}] is not supported")
        };
        return Err(Refusal::new(406, "media_type_header_exception", reason));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::new(400, "x_content_parse_exception", format!("[{}:{}] {error}", error.line(), error.column())))
}

/// What an endpoint takes: the methods, and the cluster privilege that reading needs, with its action.
const ENDPOINTS: &[(&[&str], &[&str])] = &[
    (&[], &["GET"]),
    (&["_license"], &["GET"]),
    (&["_flush"], &["POST", "GET"]),
    (&["_cluster", "settings"], &["GET", "PUT"]),
    (&["_cluster", "health"], &["GET"]),
    (&["_remote", "info"], &["GET"]),
    (&["_ml", "set_upgrade_mode"], &["POST"]),
    (&["_cat", "nodes"], &["GET"]),
    (&["_nodes"], &["GET"]),
    (&["_nodes", "reload_secure_settings"], &["POST"]),
    (&["_nodes", "shutdown"], &["GET"]),
    (&["_nodes", "*"], &["GET"]),
    (&["_nodes", "*", "reload_secure_settings"], &["POST"]),
    (&["_nodes", "*", "shutdown"], &["GET", "PUT", "DELETE"]),
    (&["_nodes", "*", "*"], &["GET"]),
    (&["_security", "_authenticate"], &["GET"]),
    (&["_security", "user", "_has_privileges"], &["GET", "POST"]),
    (&["_security", "cross_cluster", "api_key"], &["POST"]),
    (&["_security", "cross_cluster", "api_key", "*"], &["PUT"]),
    (&["_security", "api_key"], &["GET", "POST", "PUT", "DELETE"]),
    (&["_security", "_query", "api_key"], &["GET", "POST"]),
];

async fn route(node: &Arc<Node>, ask: &Ask, state: &super::state::Cluster) -> Result<Reply, Refusal> {
    let path: Vec<&str> = ask.path.iter().map(String::as_str).collect();
    let method = ask.method.as_str();
    let same =
        |pattern: &[&str]| pattern.len() == path.len() && pattern.iter().zip(&path).all(|(wanted, part)| *wanted == "*" || wanted == part);
    let Some((_, methods)) = ENDPOINTS.iter().find(|(pattern, _)| same(pattern)) else {
        return Err(Refusal::illegal(format!("no handler found for uri [{}] and method [{method}]", ask.uri)));
    };
    if !methods.contains(&method) {
        let list = methods.join(", ");
        let reason = format!("Incorrect HTTP method for uri [{}] and method [{method}], allowed: [{list}]", ask.uri);
        return Err(Refusal::new(405, "method_not_allowed_exception", reason));
    }
    if path.first() == Some(&"_cluster") && state.up().count() * 2 < state.members.len() {
        return Err(Refusal::new(503, "master_not_discovered_exception", "no master"));
    }
    let need = |privilege: &str, action: &str| ask.who.need(privilege, action);
    if method == "GET" && !["_security"].contains(&path.first().copied().unwrap_or("")) {
        ask.no_body()?;
    }
    match (method, path.as_slice()) {
        (_, []) => need("monitor", "cluster:monitor/main").map(|()| cluster::about(node, state)),
        (_, ["_license"]) => need("monitor", "cluster:monitor/xpack/license/get").and_then(|()| cluster::license(ask, state)),
        (_, ["_flush"]) => need("manage", "indices:admin/flush").and_then(|()| cluster::flush(ask, state)),
        ("GET", ["_cluster", "settings"]) => {
            need("monitor", "cluster:monitor/settings").and_then(|()| cluster::get_settings(ask, node, state))
        }
        (_, ["_cluster", "settings"]) => need("manage", "cluster:admin/settings/update").and_then(|()| cluster::put_settings(ask, node)),
        (_, ["_cluster", "health"]) => {
            need("monitor", "cluster:monitor/health")?;
            cluster::health(ask, node).await
        }
        (_, ["_remote", "info"]) => {
            ask.only(&[])?;
            need("monitor", "cluster:monitor/remote/info")?;
            remote::info(node, state).await
        }
        (_, ["_ml", "set_upgrade_mode"]) => {
            ask.only(&["enabled", "timeout"])?;
            need("manage_ml", "cluster:admin/xpack/ml/upgrade_mode").map(|()| serde_json::json!({"acknowledged": true}).into())
        }
        (_, ["_security", rest @ ..]) => match (method, rest) {
            (_, ["_authenticate"]) => security::authenticate(ask),
            (_, ["user", "_has_privileges"]) => security::has_privileges(ask),
            (_, ["cross_cluster", "api_key"]) => keys::create_cross(ask, node),
            (_, ["cross_cluster", "api_key", id]) => keys::update_cross(ask, node, id),
            ("GET", ["api_key"]) => keys::get(ask, state),
            ("DELETE", ["api_key"]) => keys::invalidate(ask, node),
            (_, ["api_key"]) => keys::create_rest(ask, node),
            _ => keys::query(ask, state),
        },
        _ => info::nodes(node, ask, state, &path).await,
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex =
            bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok()).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 3;
            }
            (byte, _) => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(&value.replace('+', " "))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filter_path_keeps_only_what_it_names() {
        let body = json!({"persistent": {"cluster": {"remote": {"a": 1}, "routing": 2}}, "transient": {}});
        let paths = vec![vec!["persistent", "cluster", "remote"]];
        assert_eq!(filtered(&body, &paths), Some(json!({"persistent": {"cluster": {"remote": {"a": 1}}}})));
        assert_eq!(filtered(&body, &[vec!["**", "routing"]]), Some(json!({"persistent": {"cluster": {"routing": 2}}})));
    }

    #[test]
    fn paths_and_parameters_are_decoded() {
        assert_eq!(decoded("a%2Fb%zz"), "a/b%zz");
        assert_eq!(parameters("a=1%202&b"), BTreeMap::from([("a".into(), "1 2".into()), ("b".into(), String::new())]));
    }
}
