//! Functions that every template has: `range`, `lookup`, `namespace`, ...

use std::cell::RefCell;
use std::rc::Rc;

use indexmap::IndexMap;

use crate::source::Diagnostic;
use crate::value::{Key, Value};

use super::call::Arguments;
use super::live::{Function, Live, Outcome, fail};
use super::{Evaluator, Frame};

/// The names of all functions.
const NAMES: &[&str] = &["range", "dict", "lookup", "query", "q", "now", "undef", "namespace", "cycler", "joiner", "lipsum"];

/// Returns the function `name`.
pub(super) fn find(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|known| **known == name).copied()
}

/// Calls a function.
pub(super) fn call(run: &Evaluator<'_>, name: &str, mut arguments: Arguments, _: &mut Frame) -> Outcome<Live> {
    match name {
        "range" => range(run, &arguments),
        "dict" => dict(run, arguments),
        "lookup" => crate::vars::lookups::call(run, arguments, false),
        "query" | "q" => crate::vars::lookups::call(run, arguments, true),
        "now" => {
            let utc = match arguments.take(0, "utc") {
                Some(utc) => run.truth(&utc)?,
                None => false,
            };
            let format = arguments.take(1, "fmt").map(|format| run.text(&format)).transpose()?;
            match format {
                None => Ok(Live::Moment(super::moment::now(utc))),
                Some(format) => crate::vars::filters::time::now(utc, &format).map(Live::Value),
            }
        }
        "undef" => {
            let hint = arguments.take(0, "hint").map(|hint| run.text(&hint)).transpose()?;
            Ok(Live::undefined(Diagnostic::error(hint.unwrap_or_else(|| "this variable has to be set".to_owned()))))
        }
        "namespace" => namespace(run, arguments),
        "cycler" => Ok(Live::function(Function::Cycler(arguments.positional, RefCell::new(0)))),
        "joiner" => {
            let separator = arguments.take(0, "sep").map(|sep| run.text(&sep)).transpose()?;
            Ok(Live::function(Function::Joiner(separator.unwrap_or_else(|| ", ".to_owned()), RefCell::new(false))))
        }
        _ => fail(format!("the function `{name}` is not supported")),
    }
}

fn range(run: &Evaluator<'_>, arguments: &Arguments) -> Outcome<Live> {
    let mut numbers = Vec::new();
    for argument in &arguments.positional {
        match run.known(argument)? {
            Value::Int(number) => numbers.push(number),
            other => return fail(format!("`range` takes whole numbers, not {}", other.type_name())),
        }
    }
    let (start, stop, step) = match *numbers.as_slice() {
        [stop] => (0, stop, 1),
        [start, stop] => (start, stop, 1),
        [start, stop, step] if step != 0 => (start, stop, step),
        _ => return fail("`range` takes a stop, or a start, a stop and a step that is not 0"),
    };
    let count = (i128::from(stop) - i128::from(start)) / i128::from(step);
    if count > 10_000_000 {
        return fail("the range has more than ten million numbers");
    }
    let mut out = Vec::new();
    let mut at = start;
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        out.push(Value::Int(at));
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    Ok(Live::Value(Value::list(out)))
}

fn dict(run: &Evaluator<'_>, mut arguments: Arguments) -> Outcome<Live> {
    let mut map = IndexMap::new();
    if let Some(first) = arguments.positional.first() {
        match run.freeze(first)? {
            Value::Map(entries) => map.extend(entries.iter().map(|(key, value)| (key.clone(), Live::Value(value.clone())))),
            _ => {
                for pair in run.iterate(first)? {
                    let pair = run.iterate(&pair)?;
                    let [key, value] = pair.as_slice() else { return fail("`dict` takes pairs of a key and a value") };
                    let Some(key) = Key::from_value(&run.known(key)?) else { return fail("a list cannot be a key of a dictionary") };
                    map.insert(key, value.clone());
                }
            }
        }
    }
    map.extend(arguments.named.drain(..).map(|(name, value)| (Key::from(&*name), value)));
    Ok(Live::Dict(Rc::new(RefCell::new(map))))
}

fn namespace(run: &Evaluator<'_>, arguments: Arguments) -> Outcome<Live> {
    let mut names = IndexMap::new();
    if let Some(first) = arguments.positional.first()
        && let Value::Map(entries) = run.freeze(first)?
    {
        names.extend(entries.iter().map(|(key, value)| (key.to_string().into(), Live::Value(value.clone()).thaw())));
    }
    names.extend(arguments.named.into_iter().map(|(name, value)| (name, value.thaw())));
    Ok(Live::function(Function::Namespace(RefCell::new(names))))
}
