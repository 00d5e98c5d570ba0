//! Lookups of variables, the environment and settings.

use crate::source::Diagnostic;
use crate::value::Value;
use crate::vars::template::live::{Halt, Outcome, fail};

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
        let Some(name) = term.as_str() else { return fail(format!("Variable name must be 'str' not '{}'", term.type_name())) };
        let found = match request.run.variable(name)? {
            Some(live) => Some(settled(request.run, &live)?),
            None => default.clone(),
        };
        match found {
            Some(value) => out.push(value),
            None => {
                let names = request.run.vars.names();
                let error = Diagnostic::error(format!("No variable named '{name}' was found"));
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
        let Some(pattern) = term.as_str() else {
            return fail(format!("Invalid setting identifier, '{term}' is not a string, it is a '{}'", term.type_name()));
        };
        let regex = crate::vars::filters::regex::compiled(pattern, false, false, false).map_err(|halt| match halt {
            Halt::Error(wrong) => {
                let why = if pattern.starts_with(['*', '+', '?']) { "nothing to repeat" } else { &wrong.message };
                Diagnostic::error(format!("Unable to use '{pattern}' as a search parameter: {why}")).into()
            }
            other => other,
        })?;
        out.extend(names.iter().filter(|name| regex.is_match(name).unwrap_or(false)).map(Value::str));
    }
    Ok(out)
}

fn config(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let missing = request.text("on_missing").unwrap_or_else(|| "error".to_owned());
    let plugin = request.text("plugin_type").zip(request.text("plugin_name"));
    if !matches!(missing.as_str(), "error" | "warn" | "skip") {
        return fail(format!("`config`: `on_missing` is `error`, `warn` or `skip`, not `{missing}`"));
    }
    let world = request.run.engine.world();
    let mut out = Vec::new();
    for term in &request.terms {
        let Some(name) = term.as_str() else { return fail("Invalid setting identifier: the names of settings are texts") };
        let general = || match name {
            "DEFAULT_LOCAL_TMP" => Some(Value::from(format!("{}/.ansible/tmp", world.env("HOME").unwrap_or_default()))),
            "RETRY_FILES_ENABLED" => Some(Value::Bool(false)),
            _ => None,
        };
        let known = match &plugin {
            Some((kind, plugin)) => of_plugin(kind, plugin, name),
            None => world.setting(name).or_else(general),
        };
        match known {
            Some(value) => out.push(value),
            None if missing == "skip" => {}
            None if missing == "warn" => world.warn(&format!("Skipping, did not find setting {name}")),
            None => return fail(format!("Unable to find setting {name}")),
        }
    }
    Ok(out)
}

/// Returns what a setting of a plugin is where nobody sets it.
fn of_plugin(kind: &str, plugin: &str, name: &str) -> Option<Value> {
    let plugin = plugin.rsplit('.').next().unwrap_or(plugin);
    Some(match (kind, plugin, name) {
        ("become", "sudo", "become_flags") => Value::str("-H -S -n"),
        ("become", "su", "become_flags") => Value::str(""),
        ("become", "sudo" | "su", "become_exe") => Value::str(plugin),
        ("become", "sudo" | "su", "become_user") => Value::str("root"),
        ("become", "sudo" | "su", "become_pass") | ("become", "sudo", "sudo_chdir") => Value::Null,
        ("become", "su", "prompt_l10n") => Value::list([]),
        ("connection", "ssh", "port" | "remote_user" | "password" | "private_key_file") => Value::Null,
        ("connection", "ssh", "timeout") => Value::Int(10),
        ("connection", "ssh", "host_key_checking") => Value::Bool(true),
        ("connection", "local", "become_success_timeout") => Value::Int(10),
        _ => return None,
    })
}

fn hostnames(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let world = request.run.engine.world();
    let patterns: Vec<String> = request.terms.iter().map(ToString::to_string).collect();
    match world.select(&patterns.join(",")) {
        Ok(hosts) => Ok(hosts.into_iter().map(Value::from).collect()),
        Err(why) => fail(format!("`inventory_hostnames`: {why}")),
    }
}
