//! Lookups: what templates read from the controller. One table; how they are found and called.

use std::sync::Arc;

use crate::source::Diagnostic;
use crate::value::{Map, Value};
use crate::vars::template::Evaluator;
use crate::vars::template::call::Arguments;
use crate::vars::template::live::{Halt, Live, Outcome, fail};

pub(in crate::vars) mod files;
mod ini;
pub(in crate::vars) mod lists;
mod secrets;
mod settings;
mod url;

/// A lookup of the table.
pub(in crate::vars) struct Lookup {
    pub name: &'static str,
    pub run: fn(&mut Request<'_, '_>) -> Outcome<Vec<Value>>,
}

const fn lookup(name: &'static str, run: fn(&mut Request<'_, '_>) -> Outcome<Vec<Value>>) -> Lookup {
    Lookup { name, run }
}

const ALL: &[&[Lookup]] = &[files::LOOKUPS, ini::LOOKUPS, lists::LOOKUPS, secrets::LOOKUPS, settings::LOOKUPS, url::LOOKUPS];

/// One call of a lookup.
pub(in crate::vars) struct Request<'r, 'e> {
    pub run: &'r Evaluator<'e>,
    pub terms: Vec<Value>,
    pub(super) options: Vec<(Arc<str>, Value)>,
}

impl Request<'_, '_> {
    /// Takes the option `name`.
    pub(in crate::vars) fn option(&mut self, name: &str) -> Option<Value> {
        let at = self.options.iter().position(|(known, _)| **known == *name)?;
        Some(self.options.remove(at).1)
    }

    pub(in crate::vars) fn text(&mut self, name: &str) -> Option<String> {
        self.option(name).filter(|value| !value.is_null()).map(|value| value.to_string())
    }

    pub(in crate::vars) fn flag(&mut self, name: &str, or: bool) -> bool {
        self.option(name).map_or(or, |value| crate::value::arguments::to_bool(&value).unwrap_or(or))
    }

    /// Takes every option that is left, as variables.
    pub(in crate::vars) fn rest(&mut self) -> Map {
        self.options.drain(..).map(|(name, value)| (crate::value::Key::from(&*name), value)).collect()
    }
}

fn find(name: &str) -> Option<&'static Lookup> {
    let short = crate::vars::short_name(name)?;
    ALL.iter().flat_map(|theme| theme.iter()).find(|lookup| lookup.name == short)
}

/// Whether `name` is a lookup's.
pub(in crate::vars) fn is_known(name: &str) -> bool {
    find(name).is_some()
}

/// Calls `lookup(...)` or, with `list`, `query(...)`.
pub(in crate::vars) fn call(run: &Evaluator<'_>, mut arguments: Arguments, list: bool) -> Outcome<Live> {
    if arguments.positional.is_empty() {
        return fail("`lookup` takes the name of a lookup and what to look up");
    }
    let name = run.text(&arguments.positional.remove(0))?;
    let Some(lookup) = find(&name) else {
        let names = ALL.iter().flat_map(|theme| theme.iter()).map(|lookup| lookup.name);
        return Err(Diagnostic::error(format!("lookup plugin '{name}' not found"))
            .did_you_mean(name.rsplit('.').next().unwrap_or(&name), names)
            .into());
    };
    // What is undefined is a fine default of `env`: it fails only where it is used.
    let undefined = arguments
        .named
        .iter()
        .position(|(name, value)| lookup.name == "env" && &**name == "default" && matches!(value, Live::Undefined(_)));
    let undefined = undefined.map(|at| arguments.named.remove(at).1);
    if let Some(undefined) = undefined {
        let names = arguments.positional.iter().map(|term| run.text(term)).collect::<Outcome<Vec<_>>>()?;
        if names.iter().any(|name| run.engine.world().env(name).is_none()) {
            return Ok(undefined);
        }
    }
    let options = crate::vars::filters::plain_named(run, &arguments)?;
    let terms = arguments.positional.iter().map(|term| run.known(term)).collect::<Outcome<Vec<_>>>()?;
    let mut request = Request { run, terms, options };
    let want_list = list | request.flag("wantlist", false);
    let errors = request.text("errors").unwrap_or_else(|| "strict".to_owned());
    let found = match (lookup.run)(&mut request) {
        Ok(found) => found,
        Err(Halt::Error(diagnostic) | Halt::Sealed(diagnostic)) if errors != "strict" => {
            if errors == "warn" {
                run.engine.world().warn(&diagnostic.message);
            }
            return Ok(Live::Value(if want_list { Value::list([]) } else { Value::Null }));
        }
        Err(Halt::Error(mut diagnostic) | Halt::Sealed(mut diagnostic)) => {
            if !diagnostic.message.contains(&format!("`{}`", lookup.name)) {
                diagnostic.message = format!("the lookup `{}` failed: {}", lookup.name, diagnostic.message);
            }
            return Err(Halt::Error(diagnostic));
        }
        Err(other) => return Err(other),
    };
    // As in Ansible, an option too much does no harm; but it may be a misspelt one.
    for (name, _) in &request.options {
        run.engine.world().warn(&format!("the lookup `{}` has no option `{name}`: it is not heeded", lookup.name));
    }
    if want_list {
        return Ok(Live::Value(Value::list(found)));
    }
    Ok(Live::Value(match found.as_slice() {
        [] => Value::list([]),
        [one] => one.clone(),
        several if several.iter().all(|value| value.as_str().is_some()) => {
            Value::from(several.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
        several => Value::list(several.to_vec()),
    }))
}

/// Looks up `name` for a `with_*` loop.
pub(in crate::vars) fn for_loop(run: &Evaluator<'_>, name: &str, terms: Vec<Value>) -> Option<Outcome<Vec<Value>>> {
    let lookup = find(name)?;
    Some((lookup.run)(&mut Request { run, terms, options: Vec::new() }))
}
