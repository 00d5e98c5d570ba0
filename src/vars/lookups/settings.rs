//! Lookups of variables, the environment and settings.

use crate::source::Diagnostic;
use crate::value::Value;
use crate::vars::template::live::{Halt, Live, Outcome, fail};

use super::files::settled;
use super::{Lookup, Request, lookup};

pub(super) const LOOKUPS: &[Lookup] = &[
    lookup("env", env),
    lookup("vars", vars),
    lookup("varnames", varnames),
    lookup("config", config),
    lookup("inventory_hostnames", hostnames),
];

fn env(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let default = request.option("default");
    let world = request.run.engine.world();
    let found = request.terms.iter().map(|term| {
        let name = term.to_string();
        world.env(&name).map(Value::from).or_else(|| default.clone()).unwrap_or_else(|| Value::str(""))
    });
    Ok(found.collect())
}

fn vars(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let default = request.option("default");
    let mut out = Vec::new();
    for term in &request.terms {
        let Some(name) = term.as_str() else { return fail("`vars` takes names of variables") };
        let found = match request.run.variable(name)? {
            Some(live) => Some(settled(request.run, &live)?),
            None => default.clone(),
        };
        match found {
            Some(value) => out.push(value),
            None => {
                let names = request.run.vars.names();
                let error = Diagnostic::error(format!("`vars`: there is no variable `{name}`"));
                return Err(error.did_you_mean(name, names.iter().map(String::as_str)).into());
            }
        }
    }
    Ok(out)
}

fn varnames(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let names = request.run.vars.names();
    let mut out = Vec::new();
    for term in &request.terms {
        let regex = crate::vars::filters::regex::compiled(&term.to_string(), false, false, false)?;
        out.extend(names.iter().filter(|name| regex.is_match(name).unwrap_or(false)).map(Value::str));
    }
    Ok(out)
}

fn config(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    request.text("on_missing");
    request.text("plugin_type");
    request.text("plugin_name");
    let home = request.run.engine.world().env("HOME").unwrap_or_default();
    let value = |name: &str| match name {
        "DEFAULT_LOCAL_TMP" => Some(Value::from(format!("{home}/.ansible/tmp"))),
        "DEFAULT_ROLES_PATH" => Some(Value::list([
            Value::from(format!("{home}/.ansible/roles")),
            Value::str("/usr/share/ansible/roles"),
            Value::str("/etc/ansible/roles"),
        ])),
        "COLLECTIONS_PATHS" => {
            Some(Value::list([Value::from(format!("{home}/.ansible/collections")), Value::str("/usr/share/ansible/collections")]))
        }
        "RETRY_FILES_ENABLED" => Some(Value::Bool(false)),
        "DEFAULT_FORKS" => Some(Value::Int(5)),
        "DEFAULT_TIMEOUT" => Some(Value::Int(10)),
        "DEFAULT_HASH_BEHAVIOUR" => Some(Value::str("replace")),
        "DEFAULT_REMOTE_USER" => Some(Value::Null),
        "DEFAULT_BECOME_METHOD" => Some(Value::str("sudo")),
        "DEFAULT_BECOME_USER" => Some(Value::str("root")),
        "DEFAULT_MANAGED_STR" => Some(Value::str("Ansible managed")),
        _ => None,
    };
    let terms = request.terms.iter().map(|term| {
        let name = term.to_string();
        value(&name).map_or_else(|| fail(format!("`config`: the setting `{name}` is not known here")), Ok)
    });
    terms.collect()
}

fn hostnames(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let Some(groups) = request.run.variable("groups")? else { return fail("`inventory_hostnames` needs an inventory") };
    let mut out: Vec<Value> = Vec::new();
    for part in request.terms.iter().flat_map(|term| term.to_string().split([':', ',']).map(str::to_owned).collect::<Vec<_>>()) {
        let (drop, name) = part.strip_prefix('!').map_or((false, part.as_str()), |name| (true, name));
        if name.contains(['*', '?', '[', '~', '&']) && name != "*" {
            return fail(format!("`inventory_hostnames` takes names of groups and hosts here, not the pattern `{part}`"));
        }
        let group = request.run.item(&groups, &Live::str(if name == "*" { "all" } else { name }))?;
        let hosts = match group {
            Some(group) => match request.run.known(&group)? {
                Value::List(hosts) => hosts.to_vec(),
                _ => return Err(Halt::from(Diagnostic::error("`groups` holds no lists of hosts"))),
            },
            None => vec![Value::str(name)],
        };
        if drop {
            out.retain(|host| !hosts.contains(host));
        } else {
            for host in hosts {
                if !out.contains(&host) {
                    out.push(host);
                }
            }
        }
    }
    Ok(out)
}
