//! Filters: one table a file, by theme; how they are found and applied.

use std::sync::Arc;

use crate::source::Diagnostic;
use crate::value::{Map, Value};
use crate::vars::template::Evaluator;
use crate::vars::template::call::Arguments;
use crate::vars::template::live::{Halt, Live, Outcome, fail};

pub(in crate::vars) mod address;
mod community;
pub(in crate::vars) mod crypt;
pub(in crate::vars) mod dice;
pub(in crate::vars) mod dicts;
pub(in crate::vars) mod encode;
mod ip;
mod json;
pub(in crate::vars) mod lists;
mod numbers;
mod paths;
mod query;
pub(in crate::vars) mod regex;
mod select;
mod sets;
pub(in crate::vars) mod text;
pub(in crate::vars) mod time;
mod web;
pub(in crate::vars) mod yaml;

pub(in crate::vars) use select::plain_named;

/// A filter of the table.
#[derive(Debug)]
pub(in crate::vars) struct Filter {
    pub name: &'static str,
    pub run: Run,
}

/// How a filter is run.
#[derive(Clone, Copy, Debug)]
pub(in crate::vars) enum Run {
    /// On final values, all of which are known.
    Known(fn(&mut Call<'_, '_>) -> Outcome<Value>),
    /// On final values that it only moves about: parts may be unknown.
    Carries(fn(&mut Call<'_, '_>) -> Outcome<Value>),
    /// On values as they are: undefined ones too.
    Live(fn(&Evaluator<'_>, Live, Arguments) -> Outcome<Live>),
}

const fn known(name: &'static str, run: fn(&mut Call<'_, '_>) -> Outcome<Value>) -> Filter {
    Filter { name, run: Run::Known(run) }
}

const fn carries(name: &'static str, run: fn(&mut Call<'_, '_>) -> Outcome<Value>) -> Filter {
    Filter { name, run: Run::Carries(run) }
}

const fn live(name: &'static str, run: fn(&Evaluator<'_>, Live, Arguments) -> Outcome<Live>) -> Filter {
    Filter { name, run: Run::Live(run) }
}

/// Every filter, theme by theme.
const ALL: &[&[Filter]] = &[
    select::FILTERS,
    text::FILTERS,
    lists::FILTERS,
    sets::FILTERS,
    dicts::FILTERS,
    numbers::FILTERS,
    json::FILTERS,
    encode::FILTERS,
    paths::FILTERS,
    regex::FILTERS,
    time::FILTERS,
    web::FILTERS,
    ip::FILTERS,
    community::FILTERS,
    query::FILTERS,
];

/// Returns the filter `name`, with or without the name of its collection.
pub(in crate::vars) fn find(name: &str) -> Option<&'static Filter> {
    let short = crate::vars::short_name(name)?;
    ALL.iter().flat_map(|theme| theme.iter()).find(|filter| filter.name == short)
}

/// Says that there is no such filter.
pub(in crate::vars) fn unknown(name: &str) -> Diagnostic {
    let names = ALL.iter().flat_map(|theme| theme.iter()).map(|filter| filter.name);
    Diagnostic::error(format!("No filter named '{name}'")).did_you_mean(name.rsplit('.').next().unwrap_or(name), names)
}

/// Applies a filter.
pub(in crate::vars) fn apply(run: &Evaluator<'_>, filter: &'static Filter, subject: Live, arguments: Arguments) -> Outcome<Live> {
    let (function, may_carry) = match filter.run {
        Run::Live(function) => return function(run, subject, arguments),
        Run::Known(function) => (function, false),
        Run::Carries(function) => (function, true),
    };
    let freeze = |live: &Live| -> Outcome<Value> {
        let value = run.freeze(live)?;
        let unknown = if may_carry {
            matches!(value, Value::Unknown(_)).then_some(&value).and_then(Value::unknown_part)
        } else {
            value.unknown_part()
        };
        match unknown {
            Some(unknown) => Err(Halt::Unknown(Arc::new(unknown.clone()))),
            None => Ok(value),
        }
    };
    let subject = freeze(&subject)?;
    let positional = arguments.positional.iter().map(freeze).collect::<Outcome<Vec<_>>>()?;
    let named = arguments.named.iter().map(|(name, value)| Ok((name.clone(), freeze(value)?))).collect::<Outcome<Vec<_>>>()?;
    let mut call = Call { name: filter.name, run, subject, positional, named, asked: 0 };
    let result = function(&mut call)?;
    call.finish()?;
    Ok(Live::Value(result))
}

/// One application of a filter to final values.
pub(in crate::vars) struct Call<'c, 'e> {
    pub name: &'static str,
    pub run: &'c Evaluator<'e>,
    pub subject: Value,
    positional: Vec<Value>,
    named: Vec<(Arc<str>, Value)>,
    asked: usize,
}

impl Call<'_, '_> {
    /// Returns the argument at `index` or named `name`.
    pub(in crate::vars) fn argument(&mut self, index: usize, name: &str) -> Option<Value> {
        self.asked = self.asked.max(index + 1);
        if let Some(at) = self.named.iter().position(|(known, _)| **known == *name) {
            return Some(self.named.remove(at).1);
        }
        self.positional.get(index).cloned()
    }

    /// Returns every positional argument from `index`.
    pub(in crate::vars) fn rest(&mut self, index: usize) -> Vec<Value> {
        self.asked = usize::MAX;
        self.positional.get(index..).unwrap_or_default().to_vec()
    }

    /// Returns every argument that was given by name.
    pub(in crate::vars) fn named(&mut self) -> Vec<(Arc<str>, Value)> {
        std::mem::take(&mut self.named)
    }

    pub(in crate::vars) fn text(&mut self, index: usize, name: &str) -> Outcome<Option<String>> {
        Ok(match self.argument(index, name) {
            None | Some(Value::Null) => None,
            Some(Value::List(_) | Value::Map(_)) => return fail(format!("the filter `{}` takes a text as `{name}`", self.name)),
            Some(other) => Some(other.to_string()),
        })
    }

    pub(in crate::vars) fn text_or(&mut self, index: usize, name: &str, or: &str) -> Outcome<String> {
        Ok(self.text(index, name)?.unwrap_or_else(|| or.to_owned()))
    }

    pub(in crate::vars) fn needed(&mut self, index: usize, name: &str) -> Outcome<Value> {
        self.argument(index, name).map_or_else(|| fail(format!("the filter `{}` needs the argument `{name}`", self.name)), Ok)
    }

    pub(in crate::vars) fn int(&mut self, index: usize, name: &str) -> Outcome<Option<i64>> {
        match self.argument(index, name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Int(number)) => Ok(Some(number)),
            Some(Value::Bool(flag)) => Ok(Some(i64::from(flag))),
            Some(Value::Str(text)) if text.trim().parse::<i64>().is_ok() => Ok(text.trim().parse().ok()),
            Some(other) => fail(format!("the filter `{}` takes a whole number as `{name}`, not {}", self.name, other.type_name())),
        }
    }

    pub(in crate::vars) fn size(&mut self, index: usize, name: &str, or: usize) -> Outcome<usize> {
        Ok(self.int(index, name)?.map_or(or, |number| usize::try_from(number).unwrap_or(0)))
    }

    pub(in crate::vars) fn flag(&mut self, index: usize, name: &str, or: bool) -> Outcome<bool> {
        match self.argument(index, name) {
            None => Ok(or),
            Some(value) => Ok(crate::vars::template::operators::plain_truth(&value)),
        }
    }

    /// Returns the subject, which has to be a text.
    pub(in crate::vars) fn subject_text(&self) -> Outcome<String> {
        match &self.subject {
            Value::Str(text) => Ok(text.to_string()),
            other => fail(format!("the filter `{}` takes a text, not {}", self.name, other.type_name())),
        }
    }

    /// Returns the subject as the text that Python's `str` makes of it.
    pub(in crate::vars) fn printed(&self) -> String {
        self.subject.to_string()
    }

    /// Returns the subject's items: of a list, the keys of a dictionary, the characters of a text.
    pub(in crate::vars) fn items(&self) -> Outcome<Vec<Value>> {
        items_of(&self.subject)
            .map_or_else(|| fail(format!("the filter `{}` takes a list, not {}", self.name, self.subject.type_name())), Ok)
    }

    pub(in crate::vars) fn subject_map(&self) -> Outcome<Map> {
        match &self.subject {
            Value::Map(map) => Ok((**map).clone()),
            other => fail(format!("the filter `{}` takes a dictionary, not {}", self.name, other.type_name())),
        }
    }

    fn finish(&self) -> Outcome<()> {
        if let Some((name, _)) = self.named.first() {
            return fail(format!("the filter `{}` has no argument `{name}`", self.name));
        }
        if self.positional.len() > self.asked {
            return fail(format!("the filter `{}` takes at most {} arguments", self.name, self.asked));
        }
        Ok(())
    }
}

/// Returns the items of what can be looped over.
pub(in crate::vars) fn items_of(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::List(items) => Some(items.to_vec()),
        Value::Map(map) => Some(map.keys().map(crate::value::Key::to_value).collect()),
        Value::Str(text) => Some(text.chars().map(|c| Value::str(c.encode_utf8(&mut [0; 4]))).collect()),
        _ => None,
    }
}
