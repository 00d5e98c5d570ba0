//! Tests of what a value is, and comparisons.

use std::rc::Rc;

use crate::value::{Number, Value};
use crate::vars::template::Evaluator;
use crate::vars::template::ast::Comparison;
use crate::vars::template::call::Arguments;
use crate::vars::template::live::{Function, Halt, Live, Outcome, fail};
use crate::vars::template::{methods, operators};

use super::{Given, Test, known, live};

pub(super) const TESTS: &[Test] = &[
    live("defined", |_, subject, _| Ok(!matches!(subject, Live::Undefined(_)))),
    live("undefined", |_, subject, _| Ok(matches!(subject, Live::Undefined(_)))),
    live("callable", |_, subject, _| Ok(methods::is_callable(subject))),
    live("sameas", same),
    live("none", |run, subject, _| whole(run, subject, |value| matches!(value, Value::Null))),
    live("string", |run, subject, _| whole(run, subject, |value| matches!(value, Value::Str(_)))),
    live("mapping", |run, subject, _| whole(run, subject, |value| matches!(value, Value::Map(_)))),
    live("sequence", |run, subject, _| whole(run, subject, |value| matches!(value, Value::List(_) | Value::Str(_) | Value::Map(_)))),
    live("iterable", |run, subject, _| whole(run, subject, |value| matches!(value, Value::List(_) | Value::Str(_) | Value::Map(_)))),
    live("boolean", |run, subject, _| whole(run, subject, |value| matches!(value, Value::Bool(_)))),
    live("integer", |run, subject, _| whole(run, subject, |value| matches!(value, Value::Int(_)))),
    live("float", |run, subject, _| whole(run, subject, |value| matches!(value, Value::Float(_)))),
    live("number", |run, subject, _| whole(run, subject, |value| value.number().is_some())),
    live("true", |run, subject, _| whole(run, subject, |value| matches!(value, Value::Bool(true)))),
    live("false", |run, subject, _| whole(run, subject, |value| matches!(value, Value::Bool(false)))),
    live("escaped", |run, subject, _| whole(run, subject, |_| false)),
    live("eq", |run, subject, arguments| compare(run, subject, &arguments, Comparison::Equal)),
    live("equalto", |run, subject, arguments| compare(run, subject, &arguments, Comparison::Equal)),
    live("==", |run, subject, arguments| compare(run, subject, &arguments, Comparison::Equal)),
    live("ne", |run, subject, arguments| compare(run, subject, &arguments, Comparison::NotEqual)),
    live("!=", |run, subject, arguments| compare(run, subject, &arguments, Comparison::NotEqual)),
    live("lt", |run, subject, arguments| compare(run, subject, &arguments, Comparison::Less)),
    live("lessthan", |run, subject, arguments| compare(run, subject, &arguments, Comparison::Less)),
    live("<", |run, subject, arguments| compare(run, subject, &arguments, Comparison::Less)),
    live("le", |run, subject, arguments| compare(run, subject, &arguments, Comparison::LessOrEqual)),
    live("<=", |run, subject, arguments| compare(run, subject, &arguments, Comparison::LessOrEqual)),
    live("gt", |run, subject, arguments| compare(run, subject, &arguments, Comparison::Greater)),
    live("greaterthan", |run, subject, arguments| compare(run, subject, &arguments, Comparison::Greater)),
    live(">", |run, subject, arguments| compare(run, subject, &arguments, Comparison::Greater)),
    live("ge", |run, subject, arguments| compare(run, subject, &arguments, Comparison::GreaterOrEqual)),
    live(">=", |run, subject, arguments| compare(run, subject, &arguments, Comparison::GreaterOrEqual)),
    live("in", |run, subject, arguments| compare(run, subject, &arguments, Comparison::In)),
    known("odd", |given| int(given).map(|number| number % 2 != 0)),
    known("even", |given| int(given).map(|number| number % 2 == 0)),
    known("divisibleby", |given| match given.needed(0, "num")? {
        Value::Int(0) => fail("division by zero"),
        Value::Int(by) => Ok(int(given)? % by == 0),
        other => fail(format!("`divisibleby` takes a whole number, not {}", other.type_name())),
    }),
    known("nan", nan),
    known("isnan", nan),
    known("filter", |given| Ok(given.subject.as_str().is_some_and(|name| crate::vars::filters::find(name).is_some()))),
    known("test", |given| Ok(given.subject.as_str().is_some_and(|name| super::find(name).is_some()))),
    known("lower", |given| {
        Ok(given.subject.to_string() == given.subject.to_string().to_lowercase()
            && given.subject.to_string().chars().any(char::is_lowercase))
    }),
    known("upper", |given| {
        Ok(given.subject.to_string() == given.subject.to_string().to_uppercase()
            && given.subject.to_string().chars().any(char::is_uppercase))
    }),
    known("truthy", |given| truthy(given, true)),
    known("falsy", |given| truthy(given, false)),
    known("any", |given| items(given).map(|items| items.iter().any(operators::plain_truth))),
    known("all", |given| items(given).map(|items| items.iter().all(operators::plain_truth))),
    known("contains", |given| {
        let wanted = given.needed(0, "value")?.clone();
        operators::contains(given.run, &Live::Value(given.subject.clone()), &Live::Value(wanted))
    }),
    known("subset", |given| within(given, false)),
    known("issubset", |given| within(given, false)),
    known("superset", |given| within(given, true)),
    known("issuperset", |given| within(given, true)),
];

/// Tests the kind of the whole: parts may be unknown.
fn whole(run: &Evaluator<'_>, subject: &Live, test: fn(&Value) -> bool) -> Outcome<bool> {
    match subject {
        Live::List(_) | Live::Tuple(_) => Ok(test(&Value::list([]))),
        Live::Dict(_) | Live::Vars | Live::HostVars | Live::Host(_) => Ok(test(&crate::value::Map::new().into())),
        Live::Undefined(undefined) => Err(Halt::Undefined(undefined.clone())),
        Live::Moment(_) => Ok(false),
        Live::Function(function) => Ok(matches!(&**function, Function::Loop(_)) && test(&Value::list([]))),
        Live::Value(Value::Unknown(unknown)) => Err(Halt::Unknown(unknown.clone())),
        Live::Value(Value::Lazy(lazy)) => {
            let live = run.lazy(lazy)?;
            whole(run, &live, test)
        }
        Live::Value(value) => Ok(test(value)),
    }
}

fn same(run: &Evaluator<'_>, subject: &Live, arguments: Arguments) -> Outcome<bool> {
    let Some(other) = arguments.positional.first() else { return fail("`sameas` takes a value") };
    Ok(match (subject, other) {
        (Live::List(a), Live::List(b)) => Rc::ptr_eq(a, b),
        (Live::Dict(a), Live::Dict(b)) => Rc::ptr_eq(a, b),
        (Live::Function(a), Live::Function(b)) => Rc::ptr_eq(a, b),
        _ => {
            let (a, b) = (run.known(subject)?, run.known(other)?);
            std::mem::discriminant(&a) == std::mem::discriminant(&b) && a == b
        }
    })
}

fn compare(run: &Evaluator<'_>, subject: &Live, arguments: &Arguments, op: Comparison) -> Outcome<bool> {
    // `x is in ('a', 'b')`: the parser takes the tuple for arguments.
    if op == Comparison::In && arguments.positional.len() > 1 {
        return operators::contains(run, &Live::list(arguments.positional.clone()), subject);
    }
    let Some(other) = arguments.positional.first() else { return fail("this test takes a value to compare with") };
    operators::compare(run, op, subject, other)
}

fn int(given: &Given<'_, '_>) -> Outcome<i64> {
    match given.subject.number() {
        Some(Number::Int(number)) => Ok(number),
        _ => fail(format!("the test `{}` takes a whole number, not {}", given.name, given.subject.type_name())),
    }
}

fn nan(given: &Given<'_, '_>) -> Outcome<bool> {
    match given.subject.number() {
        Some(number) => Ok(number.float().is_nan()),
        None => Ok(false),
    }
}

fn truthy(given: &Given<'_, '_>, wanted: bool) -> Outcome<bool> {
    let convert = given.flag(0, "convert_bool");
    let truth = match crate::value::arguments::to_bool(&given.subject).filter(|_| convert) {
        Some(truth) => truth,
        None => operators::plain_truth(&given.subject),
    };
    Ok(truth == wanted)
}

fn items(given: &Given<'_, '_>) -> Outcome<Vec<Value>> {
    crate::vars::filters::items_of(&given.subject)
        .map_or_else(|| fail(format!("the test `{}` takes a list, not {}", given.name, given.subject.type_name())), Ok)
}

fn within(given: &Given<'_, '_>, superset: bool) -> Outcome<bool> {
    let own = items(given)?;
    let Some(other) = crate::vars::filters::items_of(given.needed(0, "b")?) else {
        return fail(format!("the test `{}` takes a list", given.name));
    };
    Ok(if superset { other.iter().all(|item| own.contains(item)) } else { own.iter().all(|item| other.contains(item)) })
}
