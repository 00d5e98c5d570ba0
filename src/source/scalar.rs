//! What a plain (unquoted) YAML scalar means, by the rules of YAML 1.1 as Ansible's users know them: `yes` is a boolean,
//! `0644` is octal, `1:30` is ninety, `1e3` is a text.

use std::sync::LazyLock;

use regex::Regex;

use super::Kind;

static INT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$").ok()
});

static FLOAT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?",
        r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ))
    .ok()
});

static TIMESTAMP: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}",
        r"(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)$"
    ))
    .ok()
});

fn matches(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// Returns what the plain scalar `text` is. A number too large for 64 bits stays the text it was written as.
pub fn plain(text: &str) -> Kind {
    let as_text = || Kind::Str(text.into());
    let Some(first) = text.bytes().next() else { return Kind::Null };
    match first {
        b'~' | b'n' | b'N' | b'y' | b'Y' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' => word(text).unwrap_or_else(as_text),
        b'0'..=b'9' | b'-' | b'+' | b'.' => number(text).unwrap_or_else(as_text),
        _ => as_text(),
    }
}

/// Whether `text`, written plain, would be read as something other than this text.
pub fn needs_quotes(text: &str) -> bool {
    !matches!(plain(text), Kind::Str(_)) || matches!(text, "=" | "<<") || matches(&TIMESTAMP, text) || matches(&INT, text)
}

fn word(text: &str) -> Option<Kind> {
    Some(match text {
        "~" | "null" | "Null" | "NULL" => Kind::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Kind::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Kind::Bool(false),
        _ => return None,
    })
}

fn number(text: &str) -> Option<Kind> {
    if matches(&INT, text) {
        return int(text).map(Kind::Int);
    }
    if matches(&FLOAT, text) { float(text).map(Kind::Float) } else { None }
}

/// Returns the whole number that `text` is in one of YAML 1.1's spellings.
pub(super) fn int(text: &str) -> Option<i64> {
    let digits = text.replace('_', "");
    let (negative, digits) = sign(&digits);
    let whole = if let Some(binary) = digits.strip_prefix("0b") {
        i128::from_str_radix(binary, 2).ok()?
    } else if let Some(hex) = digits.strip_prefix("0x") {
        i128::from_str_radix(hex, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        i128::from_str_radix(digits, 8).ok()?
    } else if digits.contains(':') {
        digits.split(':').try_fold(0_i128, |sum, part| sum.checked_mul(60)?.checked_add(part.parse().ok()?))?
    } else {
        digits.parse().ok()?
    };
    i64::try_from(if negative { -whole } else { whole }).ok()
}

/// Returns the number with a fraction that `text` is in one of YAML 1.1's spellings.
pub(super) fn float(text: &str) -> Option<f64> {
    let digits = text.replace('_', "").to_ascii_lowercase();
    let (negative, digits) = sign(&digits);
    let magnitude = match digits {
        ".inf" => f64::INFINITY,
        ".nan" => f64::NAN,
        _ if digits.contains(':') => {
            digits.split(':').try_fold(0.0, |sum: f64, part| Some(sum.mul_add(60.0, part.parse::<f64>().ok()?)))?
        }
        _ => digits.parse().ok()?,
    };
    Some(if negative { -magnitude } else { magnitude })
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_read_as_yaml_1_1_reads_them() {
        for (text, kind) in [
            ("yes", Kind::Bool(true)),
            ("Off", Kind::Bool(false)),
            ("~", Kind::Null),
            ("", Kind::Null),
            ("0644", Kind::Int(420)),
            ("0x1F", Kind::Int(31)),
            ("0b101", Kind::Int(5)),
            ("1_000", Kind::Int(1000)),
            ("1:30", Kind::Int(90)),
            ("-0", Kind::Int(0)),
            ("+12", Kind::Int(12)),
            ("-9223372036854775808", Kind::Int(i64::MIN)),
            ("1.0e+3", Kind::Float(1000.0)),
            ("1.", Kind::Float(1.0)),
            (".5", Kind::Float(0.5)),
            ("-.inf", Kind::Float(f64::NEG_INFINITY)),
            ("1:30.5", Kind::Float(90.5)),
        ] {
            assert_eq!(plain(text), kind, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_number_stays_text() {
        for text in ["1e3", "0o17", "08", "-.5", "1.2.3", "y", "n", "nO", "2001-12-14", "10.0.0.1", "0b", "12:60", "99999999999999999999"] {
            assert_eq!(plain(text), Kind::Str(text.into()), "{text}");
        }
    }

    #[test]
    fn texts_that_would_be_misread_need_quotes() {
        for text in ["yes", "1", "", "0644", "2001-12-14", "=", "<<", "null", "1:30", "99999999999999999999"] {
            assert!(needs_quotes(text), "{text}");
        }
        for text in ["y", "1e3", "2001-12", "=a"] {
            assert!(!needs_quotes(text), "{text}");
        }
    }
}
