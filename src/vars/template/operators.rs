//! Operators, as Python has them: numbers of both kinds, texts, lists; errors where Python has errors.

use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::Arc;

use crate::value::{Key, Map, Number, Value};

use super::Evaluator;
use super::ast::{Binary, Comparison};
use super::live::{Function, Halt, Live, Outcome, fail};

/// Whether a plain value counts as true.
pub(in crate::vars) fn plain_truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Int(number) => *number != 0,
        Value::Float(number) => *number != 0.0,
        Value::Str(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Map(map) => !map.is_empty(),
        Value::Lazy(_) | Value::Unknown(_) => true,
    }
}

/// Returns the entry `key`; booleans and numbers are the same keys, as in Python.
pub(in crate::vars) fn map_get<'m>(map: &'m Map, key: &Key) -> Option<&'m Value> {
    map.get(key).or_else(|| match key {
        Key::Bool(flag) => map.get(&Key::Int(i64::from(*flag))),
        Key::Int(number @ (0 | 1)) => map.get(&Key::Bool(*number == 1)),
        _ => None,
    })
}

fn wrong_types<T>(symbol: &str, left: &Value, right: &Value) -> Outcome<T> {
    let message = format!("`{symbol}` does not work on {} and {}", left.type_name(), right.type_name());
    let number_text =
        matches!((left, right), (Value::Int(_) | Value::Float(_), Value::Str(_)) | (Value::Str(_), Value::Int(_) | Value::Float(_)));
    let diagnostic = crate::source::Diagnostic::error(message);
    Err(if number_text {
        diagnostic.hint("turn the text into a number with `| int`, or the number into a text with `| string`")
    } else {
        diagnostic
    }
    .into())
}

fn unknown(value: &Value) -> Outcome<()> {
    match value {
        Value::Unknown(unknown) => Err(Halt::Unknown(unknown.clone())),
        _ => Ok(()),
    }
}

/// Evaluates `left op right`.
pub(super) fn binary(run: &Evaluator<'_>, op: Binary, left: &Live, right: &Live) -> Outcome<Live> {
    if op == Binary::Concat {
        let mut text = String::new();
        for side in [left, right] {
            match side {
                // `~` makes texts of both: Python's `None` shows.
                Live::Value(Value::Null) => text.push_str("None"),
                other => run.print(other, &mut text)?,
            }
        }
        return Ok(Live::str(text));
    }
    if op == Binary::Remainder
        && let Live::Value(Value::Str(pattern)) = left
    {
        return super::format::percent(run, pattern, right).map(Live::str);
    }
    if let (Binary::Add, Live::Tuple(a), Live::Tuple(b)) = (op, left, right) {
        return Ok(Live::Tuple(Rc::new(a.iter().chain(b.iter()).cloned().collect())));
    }
    if let (Binary::Add, Some(a), Some(b)) = (op, parts(left), parts(right)) {
        return Ok(Live::list(a.into_iter().chain(b).collect()));
    }
    if let Some(result) = super::moment::binary(op, left, right) {
        return result;
    }
    let (left, right) = (run.freeze(left)?, run.freeze(right)?);
    unknown(&left)?;
    unknown(&right)?;
    plain(op, &left, &right).map(Live::Value)
}

/// Returns the parts of a list.
fn parts(live: &Live) -> Option<Vec<Live>> {
    match live {
        Live::List(items) => Some(items.borrow().clone()),
        Live::Value(Value::List(items)) => Some(items.iter().cloned().map(Live::Value).collect()),
        _ => None,
    }
}

/// Evaluates an operator on plain values.
pub(in crate::vars) fn plain(op: Binary, left: &Value, right: &Value) -> Outcome<Value> {
    let symbol = match op {
        Binary::Add => "+",
        Binary::Subtract => "-",
        Binary::Multiply => "*",
        Binary::Divide => "/",
        Binary::FloorDivide => "//",
        Binary::Remainder => "%",
        Binary::Power => "**",
        Binary::Concat => "~",
    };
    match (op, left, right) {
        (Binary::Add, Value::Str(a), Value::Str(b)) => return Ok(Value::from(format!("{a}{b}"))),
        (Binary::Add, Value::List(a), Value::List(b)) => return Ok(Value::list(a.iter().chain(b.iter()).cloned())),
        (Binary::Multiply, Value::Str(text), count) | (Binary::Multiply, count, Value::Str(text)) => {
            if let Some(Number::Int(count)) = count.number() {
                return repeated(text.len(), count).map(|count| Value::from(text.repeat(count)));
            }
        }
        (Binary::Multiply, Value::List(items), count) | (Binary::Multiply, count, Value::List(items)) => {
            if let Some(Number::Int(count)) = count.number() {
                let count = repeated(items.len(), count)?;
                return Ok(Value::list(std::iter::repeat_n(items.iter().cloned(), count).flatten()));
            }
        }
        _ => {}
    }
    match (left.number(), right.number()) {
        (Some(a), Some(b)) => arithmetic(op, a, b),
        _ => wrong_types(symbol, left, right),
    }
}

fn repeated(length: usize, count: i64) -> Outcome<usize> {
    let count = usize::try_from(count).unwrap_or(0);
    if length.saturating_mul(count) > 50_000_000 {
        return fail("the repetition would be larger than 50 MB");
    }
    Ok(count)
}

fn arithmetic(op: Binary, a: Number, b: Number) -> Outcome<Value> {
    let zero = b.float() == 0.0;
    if zero && matches!(op, Binary::Divide | Binary::FloorDivide | Binary::Remainder) {
        return fail("Error rendering template: division by zero");
    }
    if let (Number::Int(a), Number::Int(b)) = (a, b) {
        let whole = match op {
            Binary::Add => a.checked_add(b),
            Binary::Subtract => a.checked_sub(b),
            Binary::Multiply => a.checked_mul(b),
            Binary::FloorDivide => a.checked_div(b).map(|whole| if a % b != 0 && ((a < 0) != (b < 0)) { whole - 1 } else { whole }),
            Binary::Remainder => a.checked_rem(b).map(|rest| if rest != 0 && ((rest < 0) != (b < 0)) { rest + b } else { rest }),
            Binary::Power if b >= 0 => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
            _ => return Ok(Value::Float(floats(op, Number::Int(a).float(), Number::Int(b).float()))),
        };
        return whole.map_or_else(|| fail("the number does not fit in 64 bits"), |whole| Ok(Value::Int(whole)));
    }
    Ok(Value::Float(floats(op, a.float(), b.float())))
}

fn floats(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add | Binary::Concat => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        Binary::FloorDivide => (a / b).floor(),
        Binary::Remainder => {
            let rest = a % b;
            if rest != 0.0 && ((rest < 0.0) != (b < 0.0)) { rest + b } else { rest }
        }
        Binary::Power => a.powf(b),
    }
}

/// Evaluates `-value`.
pub(super) fn negative(value: &Value) -> Outcome<Value> {
    match value.number() {
        Some(Number::Int(number)) => {
            number.checked_neg().map_or_else(|| fail("the number does not fit in 64 bits"), |number| Ok(Value::Int(number)))
        }
        Some(Number::Float(number)) => Ok(Value::Float(-number)),
        None => fail(format!("`-` does not work on {}", value.type_name())),
    }
}

/// Evaluates one comparison.
pub(in crate::vars) fn compare(run: &Evaluator<'_>, op: Comparison, left: &Live, right: &Live) -> Outcome<bool> {
    match op {
        Comparison::In => return contains(run, right, left),
        Comparison::NotIn => return contains(run, right, left).map(|found| !found),
        _ => {}
    }
    if let (Live::Function(a), Live::Function(b)) = (left, right) {
        return Ok(Rc::ptr_eq(a, b) == (op == Comparison::Equal));
    }
    if let Some(order) = super::moment::order(left, right) {
        return Ok(match op {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            _ => order.is_ge(),
        });
    }
    let (left, right) = (run.known(left)?, run.known(right)?);
    match op {
        Comparison::Equal => Ok(left == right),
        Comparison::NotEqual => Ok(left != right),
        _ => {
            let symbol = match op {
                Comparison::Less => "<",
                Comparison::LessOrEqual => "<=",
                Comparison::Greater => ">",
                _ => ">=",
            };
            let Some(order) = order(&left, &right) else { return wrong_types(symbol, &left, &right) };
            Ok(order.is_some_and(|order| match op {
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::Greater => order.is_gt(),
                _ => order.is_ge(),
            }))
        }
    }
}

/// Returns the order of two values: `None` when Python refuses to compare them, `Some(None)` for not-a-number.
pub(in crate::vars) fn order(left: &Value, right: &Value) -> Option<Option<Ordering>> {
    match (left, right) {
        (Value::Str(a), Value::Str(b)) => Some(Some(a.cmp(b))),
        (Value::List(a), Value::List(b)) => {
            for (a, b) in a.iter().zip(b.iter()) {
                if a != b {
                    return order(a, b);
                }
            }
            Some(Some(a.len().cmp(&b.len())))
        }
        _ => match (left.number()?, right.number()?) {
            (Number::Int(a), Number::Int(b)) => Some(Some(a.cmp(&b))),
            (a, b) => Some(a.float().partial_cmp(&b.float())),
        },
    }
}

fn as_key(value: &Value) -> Outcome<Key> {
    Key::from_value(value).map_or_else(|| fail(format!("a {} cannot be a key of a dictionary", value.type_name())), Ok)
}

/// Whether `item` is in `container`.
pub(in crate::vars) fn contains(run: &Evaluator<'_>, container: &Live, item: &Live) -> Outcome<bool> {
    let item = run.known(item)?;
    match container {
        Live::Vars | Live::HostVars | Live::Host(_) => return Ok(run.item(container, &Live::Value(item))?.is_some()),
        Live::Function(function) => {
            if let Function::Namespace(names) = &**function {
                return Ok(item.as_str().is_some_and(|name| names.borrow().contains_key(name)));
            }
        }
        Live::Dict(entries) => {
            return Ok(entries.borrow().contains_key(&as_key(&item)?));
        }
        _ => {}
    }
    let container = run.freeze(container)?;
    match &container {
        Value::Unknown(unknown) => Err(Halt::Unknown(unknown.clone())),
        Value::Str(text) => match item {
            Value::Str(part) => Ok(text.contains(&*part)),
            other => fail(format!("`in` a text takes a text, not {}", other.type_name())),
        },
        Value::List(items) => {
            if items.contains(&item) {
                return Ok(true);
            }
            match items.iter().find_map(Value::unknown_part) {
                Some(unknown) => Err(Halt::Unknown(Arc::new(unknown.clone()))),
                None => Ok(false),
            }
        }
        Value::Map(map) => Ok(map_get(map, &as_key(&item)?).is_some()),
        other => fail(format!("`in` takes a list, dictionary or text on its right side, not {}", other.type_name())),
    }
}

/// Evaluates a slice.
pub(super) fn slice(run: &Evaluator<'_>, of: &Live, [start, stop, step]: [Option<i64>; 3]) -> Outcome<Live> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return fail("a slice cannot have a step of 0");
    }
    let pick = |length: usize| {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let clamp = |at: i64, low: i64, high: i64| (if at < 0 { at + length } else { at }).clamp(low, high);
        let (mut at, end) = if step > 0 {
            (start.map_or(0, |at| clamp(at, 0, length)), stop.map_or(length, |at| clamp(at, 0, length)))
        } else {
            (start.map_or(length - 1, |at| clamp(at, -1, length - 1)), stop.map_or(-1, |at| clamp(at, -1, length - 1)))
        };
        let mut picked = Vec::new();
        while (step > 0 && at < end) || (step < 0 && at > end) {
            picked.extend(usize::try_from(at).ok());
            let Some(next) = at.checked_add(step) else { break };
            at = next;
        }
        picked
    };
    match of {
        Live::Undefined(_) | Live::Value(Value::Unknown(_)) => Ok(of.clone()),
        Live::Value(Value::Str(text)) => {
            let chars: Vec<char> = text.chars().collect();
            Ok(Live::str(pick(chars.len()).into_iter().filter_map(|at| chars.get(at)).collect::<String>()))
        }
        Live::Tuple(items) => Ok(Live::Tuple(Rc::new(pick(items.len()).into_iter().filter_map(|at| items.get(at).cloned()).collect()))),
        other => match parts(other) {
            Some(items) => Ok(Live::list(pick(items.len()).into_iter().filter_map(|at| items.get(at).cloned()).collect())),
            None => {
                let value = run.freeze(other)?;
                fail(format!("a {} cannot be sliced", value.type_name()))
            }
        },
    }
}
