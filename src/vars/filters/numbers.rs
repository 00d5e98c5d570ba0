//! Filters of numbers and booleans, and from texts to them.

use crate::value::{Number, Value, arguments::to_bool};
use crate::vars::template::live::{Outcome, fail};

use super::{Call, Filter, known};

pub(super) const FILTERS: &[Filter] = &[
    known("int", int),
    known("float", float),
    known("bool", bool_filter),
    known("abs", |call| match number(call)? {
        Number::Int(number) => Ok(Value::Int(number.saturating_abs())),
        Number::Float(number) => Ok(Value::Float(number.abs())),
    }),
    known("round", round),
    known("pow", |call| {
        let power = call.needed(0, "y")?.number().map_or(1.0, Number::float);
        Ok(Value::Float(number(call)?.float().powf(power)))
    }),
    known("root", |call| {
        let base = call.argument(0, "base").and_then(|base| base.number()).map_or(2.0, Number::float);
        let of = number(call)?.float();
        if base == 0.0 || (of < 0.0 && base == 2.0) {
            return fail("`root` takes a number that is not negative, and a base that is not 0");
        }
        let root = if base == 2.0 { of.sqrt() } else { of.powf(1.0 / base) };
        // 27 to the third is 3, not 2.9999999999999996.
        let near = root.round();
        Ok(Value::Float(if base != 2.0 && near.powf(base) == of { near } else { root }))
    }),
    known("log", |call| {
        let base = call.argument(0, "base").and_then(|base| base.number()).map(Number::float);
        let of = number(call)?.float();
        if of <= 0.0 {
            return fail("`log` takes a number above 0");
        }
        Ok(Value::Float(match base {
            Some(10.0) => of.log10(),
            Some(base) => of.ln() / base.ln(),
            None => of.ln(),
        }))
    }),
    known("human_readable", human_readable),
    known("human_to_bytes", human_to_bytes),
    known("filesizeformat", file_size),
];

fn number(call: &Call<'_, '_>) -> Outcome<Number> {
    call.subject.number().map_or_else(|| fail(format!("the filter `{}` takes a number, not {}", call.name, call.subject.type_name())), Ok)
}

fn int(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let default = call.argument(0, "default").unwrap_or(Value::Int(0));
    let base = u32::try_from(call.int(1, "base")?.unwrap_or(10)).unwrap_or(10);
    Ok(match &call.subject {
        Value::Bool(flag) => Value::Int(i64::from(*flag)),
        Value::Int(number) => Value::Int(*number),
        Value::Float(number) if number.is_finite() => match whole(*number) {
            Some(number) => number,
            None => return fail("the number does not fit in 64 bits"),
        },
        Value::Float(_) => default,
        Value::Str(text) => {
            let text = text.trim().replace('_', "");
            let (sign, digits) = text.strip_prefix('-').map_or((1, text.strip_prefix('+').unwrap_or(&text)), |digits| (-1, digits));
            let prefix = match base {
                16 => "0x",
                8 => "0o",
                2 => "0b",
                _ => "",
            };
            let lower = digits.to_ascii_lowercase();
            let digits = lower.strip_prefix(prefix).unwrap_or(&lower);
            if !(2..=36).contains(&base) {
                return Ok(default);
            }
            match i64::from_str_radix(digits, base) {
                Ok(number) if !digits.starts_with(['+', '-']) => Value::Int(sign * number),
                _ if !digits.is_empty() && digits.chars().all(|c| c.is_digit(base)) => return fail("the number does not fit in 64 bits"),
                _ => text.parse::<f64>().ok().and_then(whole).unwrap_or(default),
            }
        }
        _ => default,
    })
}

fn whole(number: f64) -> Option<Value> {
    #[allow(clippy::cast_possible_truncation)]
    (number.is_finite() && number.abs() < 9.2e18).then(|| Value::Int(number.trunc() as i64))
}

fn float(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let default = call.argument(0, "default").unwrap_or(Value::Float(0.0));
    Ok(match &call.subject {
        Value::Str(text) => text.trim().replace('_', "").parse().map_or(default, Value::Float),
        other => other.number().map_or(default, |number| Value::Float(number.float())),
    })
}

fn bool_filter(call: &mut Call<'_, '_>) -> Outcome<Value> {
    if let Value::Null = call.subject {
        return Ok(Value::Bool(false));
    }
    let padded = matches!(&call.subject, Value::Str(text) if text.trim().len() != text.len());
    if let Some(flag) = to_bool(&call.subject).filter(|_| !padded) {
        return Ok(Value::Bool(flag));
    }
    if !matches!(&call.subject, Value::Str(text) if text.is_empty()) {
        call.run
            .engine
            .world()
            .warn(&format!("the filter `bool` was given `{}`, which is neither true nor false; it counts as false", call.subject));
    }
    Ok(Value::Bool(false))
}

fn round(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let precision = call.int(0, "precision")?.unwrap_or(0);
    let method = call.text_or(1, "method", "common")?;
    let of = number(call)?;
    let factor = 10_f64.powi(i32::try_from(precision).unwrap_or(0));
    Ok(match (method.as_str(), of) {
        ("common", Number::Int(number)) if precision >= 0 => Value::Int(number),
        #[allow(clippy::cast_possible_truncation)]
        ("common", Number::Int(number)) => Value::Int(((Number::Int(number).float() * factor).round_ties_even() / factor) as i64),
        ("common", Number::Float(number)) if precision >= 0 => {
            // The digits of the exact value, halves to even: as Python's round.
            let digits = usize::try_from(precision).unwrap_or(0).min(300);
            Value::Float(format!("{number:.digits$}").parse().unwrap_or(number))
        }
        ("common", Number::Float(number)) => Value::Float((number * factor).round_ties_even() / factor),
        ("ceil", of) => Value::Float((of.float() * factor).ceil() / factor),
        ("floor", of) => Value::Float((of.float() * factor).floor() / factor),
        (other, _) => return fail(format!("`round` takes common, ceil or floor, not `{other}`")),
    })
}

const UNITS: &[(char, f64)] = &[
    ('Y', 1.208_925_819_614_629_2e24),
    ('Z', 1.180_591_620_717_411_3e21),
    ('E', 1.152_921_504_606_847e18),
    ('P', 1.125_899_906_842_624e15),
    ('T', 1_099_511_627_776.0),
    ('G', 1_073_741_824.0),
    ('M', 1_048_576.0),
    ('K', 1024.0),
    ('B', 1.0),
];

fn human_readable(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let bits = call.flag(0, "isbits", false)?;
    let unit = call.text(1, "unit")?;
    let size = number(call)?.float();
    let wanted = unit.and_then(|unit| unit.chars().next()).map(|unit| unit.to_ascii_uppercase());
    let (letter, factor) =
        UNITS.iter().find(|(letter, factor)| wanted.map_or(size >= *factor, |wanted| wanted == *letter)).copied().unwrap_or(('B', 1.0));
    let (base, small) = if bits { ("bits", 'b') } else { ("Bytes", 'B') };
    let suffix = if letter == 'B' { base.to_owned() } else { format!("{letter}{small}") };
    Ok(Value::from(format!("{:.2} {suffix}", size / factor)))
}

fn human_to_bytes(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let default = call.text(0, "default_unit")?;
    let bits = call.flag(1, "isbits", false)?;
    let text = call.subject.to_string();
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let wrong = || fail(format!("`human_to_bytes` cannot read `{text}`: it takes a size such as `10M` or `1.5 GB`"));
    let Ok(number) = text[..end].parse::<f64>() else { return wrong() };
    let unit = text[end..].trim();
    let unit = if unit.is_empty() { default.unwrap_or_default() } else { unit.to_owned() };
    let Some(letter) = unit.chars().next() else { return Ok(whole_or_float(number.round())) };
    let rest = &unit[letter.len_utf8()..];
    let fits = match rest {
        "" => true,
        "B" => !bits && !letter.eq_ignore_ascii_case(&'b'),
        "b" => bits,
        word => ["yte", "ytes", "it", "its", "iB"].contains(&word),
    };
    let Some((_, factor)) = UNITS.iter().find(|(known, _)| *known == letter.to_ascii_uppercase()).filter(|_| fits) else { return wrong() };
    Ok(whole_or_float((number * factor).round_ties_even()))
}

fn whole_or_float(number: f64) -> Value {
    whole(number).unwrap_or(Value::Float(number))
}

fn file_size(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let binary = call.flag(0, "binary", false)?;
    let size = match call.subject.number() {
        Some(number) => number.float(),
        None => match call.subject.to_string().trim().parse() {
            Ok(number) => number,
            Err(_) => return fail(format!("`filesizeformat` takes a number, not `{}`", call.subject)),
        },
    };
    let (base, units) = if binary {
        (1024.0, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"])
    } else {
        (1000.0, ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"])
    };
    if size == 1.0 {
        return Ok(Value::str("1 Byte"));
    }
    if size < base {
        return Ok(Value::from(format!("{size:.0} Bytes")));
    }
    let mut unit = base;
    let mut shown = String::new();
    for name in units {
        shown = format!("{:.1} {name}", size / unit);
        unit *= base;
        if size < unit {
            break;
        }
    }
    Ok(Value::from(shown))
}
