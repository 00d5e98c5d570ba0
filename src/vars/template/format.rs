//! Python's two ways to format: `'%s-%03d' % (a, b)` and `'{}-{name:>5}'.format(a, name=b)`.

use std::sync::Arc;

use crate::value::{Number, Value, python_float, write_python_repr};

use super::Evaluator;
use super::live::{Live, Outcome, fail};

/// How one field is to be formatted.
#[derive(Default, Debug)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    comma: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// Evaluates `pattern % right`.
pub(in crate::vars) fn percent(run: &Evaluator<'_>, pattern: &str, right: &Live) -> Outcome<String> {
    let mut values: Vec<Live> = match right {
        Live::Tuple(items) => items.to_vec(),
        other => vec![other.clone()],
    };
    values.reverse();
    let is_map = matches!(right, Live::Dict(_) | Live::Value(Value::Map(_)));
    let given = values.len();
    let mut used = 0;
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut name = None;
        if chars.peek() == Some(&'(') {
            chars.next();
            name = Some(chars.by_ref().take_while(|c| *c != ')').collect::<String>());
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.peek().copied().filter(|c| "-+ #0".contains(*c)) {
            match flag {
                '-' => spec.align = Some('<'),
                '0' => spec.zero = true,
                '#' => spec.alternate = true,
                sign => spec.sign = Some(sign),
            }
            chars.next();
        }
        let mut take = |values: &mut Vec<Live>| {
            used += 1;
            values
                .pop()
                .map_or_else(|| fail(format!("the format has more fields than the {given} values given")), |value| run.known(&value))
        };
        let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
                      values: &mut Vec<Live>,
                      take: &mut dyn FnMut(&mut Vec<Live>) -> Outcome<Value>| {
            if chars.peek() == Some(&'*') {
                chars.next();
                return match take(values)? {
                    Value::Int(number) => Ok(Some(usize::try_from(number).unwrap_or(0))),
                    other => fail(format!("`*` in a format takes a whole number, not {}", other.type_name())),
                };
            }
            let mut digits = String::new();
            while let Some(digit) = chars.peek().filter(|c| c.is_ascii_digit()) {
                digits.push(*digit);
                chars.next();
            }
            Ok(digits.parse::<usize>().ok())
        };
        spec.width = number(&mut chars, &mut values, &mut take)?.unwrap_or(0);
        if chars.peek() == Some(&'.') {
            chars.next();
            spec.precision = Some(number(&mut chars, &mut values, &mut take)?.unwrap_or(0));
        }
        while chars.peek().is_some_and(|c| "hlL".contains(*c)) {
            chars.next();
        }
        let Some(kind) = chars.next() else { return fail("the format ends within a field") };
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match &name {
            Some(name) => match run.item(right, &Live::str(name))? {
                Some(value) => run.known(&value)?,
                None => return fail(format!("the format names `{name}`, which is not in the dictionary")),
            },
            None => take(&mut values)?,
        };
        out.push_str(&percent_field(&value, kind, spec)?);
    }
    if !is_map && used < given {
        return fail("not all values are used by the format");
    }
    Ok(out)
}

fn percent_field(value: &Value, kind: char, mut spec: Spec) -> Outcome<String> {
    let right = spec.align.is_none();
    match kind {
        's' | 'r' | 'a' => {
            let mut text = if kind == 's' { value.to_string() } else { repr(value) };
            if let Some(precision) = spec.precision {
                text = text.chars().take(precision).collect();
            }
            Ok(padded(&text, spec.width, spec.align.unwrap_or('>'), ' '))
        }
        'c' => Ok(padded(
            &value
                .as_int()
                .and_then(|code| u32::try_from(code).ok())
                .and_then(char::from_u32)
                .map_or_else(|| value.to_string(), |c| c.to_string()),
            spec.width,
            '>',
            ' ',
        )),
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            spec.kind = Some(if matches!(kind, 'i' | 'u') { 'd' } else { kind });
            let number = match (value.number(), spec.kind) {
                #[allow(clippy::cast_possible_truncation)]
                (Some(Number::Float(number)), Some('d')) => Value::Int(number.trunc() as i64),
                (Some(_), _) => value.clone(),
                (None, _) => return fail(format!("`%{kind}` takes a number, not {}", value.type_name())),
            };
            if right && spec.zero {
                spec.align = Some('=');
                spec.fill = Some('0');
            } else if right {
                spec.align = Some('>');
            }
            if let (Some('d'), Some(precision)) = (spec.kind, spec.precision.take_if(|_| spec.kind == Some('d'))) {
                let digits = number.to_string();
                let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
                return Ok(padded(&format!("{sign}{digits:0>precision$}"), spec.width, spec.align.unwrap_or('>'), ' '));
            }
            format_value(&number, &spec)
        }
        other => fail(format!("`%{other}` is no field of a format")),
    }
}

/// Formats one number by a pattern such as `web%02d`.
pub(in crate::vars) fn one_number(pattern: &str, number: i64) -> Outcome<String> {
    let Some(at) = pattern.find('%') else { return Ok(pattern.to_owned()) };
    let rest = &pattern[at + 1..];
    let Some(end) = rest.find(|c: char| c.is_ascii_alphabetic()) else { return fail(format!("`{pattern}` is no format of a number")) };
    let flags = &rest[..end];
    let kind = rest[end..].chars().next().unwrap_or('d');
    let spec = Spec {
        zero: flags.starts_with('0'),
        align: flags.starts_with('-').then_some('<'),
        width: flags.trim_start_matches(['0', '-']).parse().unwrap_or(0),
        ..Spec::default()
    };
    let field = percent_field(&Value::Int(number), kind, spec)?;
    Ok(format!("{}{field}{}", &pattern[..at], &rest[end + 1..]))
}

/// Evaluates `pattern.format(...)`.
pub(in crate::vars) fn braces(run: &Evaluator<'_>, pattern: &str, positional: &[Live], named: &[(Arc<str>, Live)]) -> Outcome<String> {
    let mut automatic = 0;
    fill(run, pattern, positional, named, &mut automatic, 0)
}

fn fill(
    run: &Evaluator<'_>,
    pattern: &str,
    positional: &[Live],
    named: &[(Arc<str>, Live)],
    automatic: &mut usize,
    depth: usize,
) -> Outcome<String> {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if rest.starts_with(brace) {
            out.push_str(brace);
            rest = &rest[1..];
            continue;
        }
        if brace == "}" {
            return fail("a single `}` in a format is written `}}`");
        }
        let mut level = 1;
        let end = rest.char_indices().find_map(|(at, c)| {
            level += match c {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            (level == 0).then_some(at)
        });
        let Some(end) = end else { return fail("a `{` in a format is not closed") };
        let field = &rest[..end];
        rest = &rest[end + 1..];
        let (path, spec) = field.split_once(':').unwrap_or((field, ""));
        let (path, conversion) = match path.split_once('!') {
            Some((path, conversion)) => (path, Some(conversion)),
            None => (path, None),
        };
        let value = run.known(&named_value(run, path, positional, named, automatic)?)?;
        let value = match conversion {
            None => value,
            Some("s") => Value::from(value.to_string()),
            Some(_) => Value::from(repr(&value)),
        };
        let spec =
            if spec.contains('{') && depth < 2 { fill(run, spec, positional, named, automatic, depth + 1)? } else { spec.to_owned() };
        out.push_str(&format_value(&value, &parse_spec(&spec)?)?);
    }
    out.push_str(rest);
    Ok(out)
}

fn named_value(run: &Evaluator<'_>, path: &str, positional: &[Live], named: &[(Arc<str>, Live)], automatic: &mut usize) -> Outcome<Live> {
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (first, mut rest) = path.split_at(end);
    let mut value = if first.is_empty() {
        *automatic += 1;
        positional.get(*automatic - 1).cloned()
    } else if let Ok(index) = first.parse::<usize>() {
        positional.get(index).cloned()
    } else {
        named.iter().find(|(name, _)| **name == *first).map(|(_, value)| value.clone())
    };
    while let Some(current) = value.clone() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            value = run.attribute(&current, &after[..end])?;
            rest = &after[end..];
        } else if let Some((key, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let key = key.parse().map_or_else(|_| Value::str(key), Value::Int);
            value = run.item(&current, &Live::Value(key))?;
            rest = after;
        } else {
            return Ok(current);
        }
    }
    fail(format!("the format asks for `{{{path}}}`, which is not given"))
}

fn parse_spec(text: &str) -> Outcome<Spec> {
    let mut spec = Spec::default();
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    if chars.get(1).is_some_and(|c| "<>=^".contains(*c)) {
        spec.fill = chars.first().copied();
        spec.align = chars.get(1).copied();
        at = 2;
    } else if chars.first().is_some_and(|c| "<>=^".contains(*c)) {
        spec.align = chars.first().copied();
        at = 1;
    }
    if let Some(sign) = chars.get(at).copied().filter(|c| "+- ".contains(*c)) {
        spec.sign = Some(sign);
        at += 1;
    }
    if chars.get(at) == Some(&'#') {
        spec.alternate = true;
        at += 1;
    }
    if chars.get(at) == Some(&'0') {
        spec.zero = true;
        if spec.align.is_none() {
            spec.align = Some('=');
            spec.fill = Some('0');
        }
        at += 1;
    }
    let number = |at: &mut usize| {
        let digits: String = chars.iter().skip(*at).take_while(|c| c.is_ascii_digit()).collect();
        *at += digits.len();
        digits.parse::<usize>().ok()
    };
    spec.width = number(&mut at).unwrap_or(0).min(1_000_000);
    if let Some(comma) = chars.get(at).copied().filter(|c| ",_".contains(*c)) {
        spec.comma = Some(comma);
        at += 1;
    }
    if chars.get(at) == Some(&'.') {
        at += 1;
        spec.precision = number(&mut at);
    }
    spec.kind = chars.get(at).copied();
    if at + 1 < chars.len() {
        return fail(format!("`{text}` is no format of a field"));
    }
    Ok(spec)
}

fn format_value(value: &Value, spec: &Spec) -> Outcome<String> {
    let number = match value {
        Value::Bool(_) if spec.kind.is_none() => None,
        Value::Bool(_) | Value::Int(_) | Value::Float(_) if spec.kind != Some('s') => value.number(),
        _ => None,
    };
    let Some(number) = number else {
        if let Some(kind) = spec.kind.filter(|kind| *kind != 's') {
            return fail(format!("the format `{kind}` takes a number, not {}", value.type_name()));
        }
        let mut text = value.to_string();
        if let Some(precision) = spec.precision {
            text = text.chars().take(precision).collect();
        }
        return Ok(padded(&text, spec.width, spec.align.filter(|align| *align != '=').unwrap_or('<'), spec.fill.unwrap_or(' ')));
    };
    let (negative, mut digits, prefix) = number_digits(number, spec)?;
    if let Some(comma) = spec.comma {
        digits = grouped(&digits, comma);
    }
    let sign = if negative { "-" } else { spec.sign.filter(|sign| *sign != '-').map_or("", |sign| if sign == '+' { "+" } else { " " }) };
    let head = format!("{sign}{prefix}");
    let align = spec.align.unwrap_or('>');
    if align == '=' {
        let missing = spec.width.saturating_sub(head.len() + digits.len());
        let fill = spec.fill.unwrap_or(' ').to_string().repeat(missing);
        return Ok(format!("{head}{fill}{digits}"));
    }
    Ok(padded(&format!("{head}{digits}"), spec.width, align, spec.fill.unwrap_or(' ')))
}

fn number_digits(number: Number, spec: &Spec) -> Outcome<(bool, String, &'static str)> {
    let float = number.float();
    let whole = match number {
        Number::Int(whole) => Some(whole),
        Number::Float(_) => None,
    };
    let prefix = |text: &'static str| if spec.alternate { text } else { "" };
    let need = |whole: Option<i64>, kind: char| whole.map_or_else(|| fail(format!("the format `{kind}` takes a whole number")), Ok);
    let precision = spec.precision.unwrap_or(6);
    let magnitude = float.abs();
    Ok(match spec.kind {
        None if whole.is_none() => match spec.precision {
            None => (float.is_sign_negative(), python_float(magnitude), ""),
            Some(precision) => (float.is_sign_negative(), general(magnitude, precision.max(1), false), ""),
        },
        None | Some('d' | 'n') => {
            let whole = need(whole, 'd')?;
            (whole < 0, whole.unsigned_abs().to_string(), "")
        }
        Some('x') => (need(whole, 'x')? < 0, format!("{:x}", need(whole, 'x')?.unsigned_abs()), prefix("0x")),
        Some('X') => (need(whole, 'X')? < 0, format!("{:X}", need(whole, 'X')?.unsigned_abs()), prefix("0X")),
        Some('o') => (need(whole, 'o')? < 0, format!("{:o}", need(whole, 'o')?.unsigned_abs()), prefix("0o")),
        Some('b') => (need(whole, 'b')? < 0, format!("{:b}", need(whole, 'b')?.unsigned_abs()), prefix("0b")),
        Some('c') => {
            (false, u32::try_from(need(whole, 'c')?).ok().and_then(char::from_u32).map_or_else(String::new, |c| c.to_string()), "")
        }
        Some('f' | 'F') => (float.is_sign_negative(), format!("{magnitude:.precision$}"), ""),
        Some('%') => (float.is_sign_negative(), format!("{:.precision$}%", magnitude * 100.0), ""),
        Some(kind @ ('e' | 'E')) => (float.is_sign_negative(), exponent(magnitude, precision, kind), ""),
        Some(kind @ ('g' | 'G')) => (float.is_sign_negative(), general(magnitude, precision.max(1), kind == 'G'), ""),
        Some(kind) => return fail(format!("the format `{kind}` is not for numbers")),
    })
}

fn exponent(number: f64, precision: usize, letter: char) -> String {
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}{letter}{sign}{digits:0>2}")
}

fn general(number: f64, precision: usize, upper: bool) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    #[allow(clippy::cast_possible_truncation)]
    let power = format!("{number:.*e}", precision - 1).split_once('e').and_then(|(_, power)| power.parse::<i64>().ok()).unwrap_or(0);
    let trimmed = |text: String| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    let limit = i64::try_from(precision).unwrap_or(i64::MAX);
    if power < -4 || power >= limit {
        let letter = if upper { 'E' } else { 'e' };
        let text = exponent(number, precision - 1, letter);
        let (mantissa, power) = text.split_once(letter).unwrap_or((&text, ""));
        return format!("{}{letter}{power}", trimmed(mantissa.to_owned()));
    }
    let decimals = usize::try_from(limit - 1 - power).unwrap_or(0);
    trimmed(format!("{number:.decimals$}"))
}

/// Puts `comma` between groups of three digits.
fn grouped(digits: &str, comma: char) -> String {
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut out = String::new();
    for (at, c) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push(comma);
        }
        out.push(c);
    }
    out + rest
}

fn padded(text: &str, width: usize, align: char, fill: char) -> String {
    let missing = width.saturating_sub(text.chars().count());
    let left = match align {
        '<' => 0,
        '^' => missing / 2,
        _ => missing,
    };
    let fill = fill.to_string();
    format!("{}{text}{}", fill.repeat(left), fill.repeat(missing - left))
}

/// Returns Python's `repr(value)`.
pub(in crate::vars) fn repr(value: &Value) -> String {
    let mut out = String::new();
    let _ = write_python_repr(&mut out, value);
    out
}
