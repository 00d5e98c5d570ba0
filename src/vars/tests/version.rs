//! `is version(...)`: loose, strict, semantic and PEP 440 versions.

use std::cmp::Ordering;

use crate::value::Value;
use crate::vars::template::live::{Outcome, fail};

use super::{Given, Test, known};

pub(super) const TESTS: &[Test] = &[known("version", version), known("version_compare", version)];

fn version(given: &Given<'_, '_>) -> Outcome<bool> {
    let own = given.subject.to_string();
    let other = given.needed(0, "version")?.to_string();
    let operator = given.argument(1, "operator").map_or_else(|| "==".to_owned(), ToString::to_string);
    let strict = given.argument(2, "strict").and_then(Value::as_bool);
    let kind = given.argument(3, "version_type").filter(|kind| !kind.is_null()).map(ToString::to_string);
    if strict.is_some() && kind.is_some() {
        return fail("`version` takes `strict` or `version_type`, not both");
    }
    if own.trim().is_empty() {
        return fail("Input version value cannot be empty");
    }
    if other.trim().is_empty() {
        return fail("Version parameter to compare against cannot be empty");
    }
    let kind = kind.unwrap_or_else(|| if strict == Some(true) { "strict" } else { "loose" }.to_owned());
    let order = match kind.as_str() {
        "loose" => loose(&own, &other)?,
        "strict" => strict_order(&own, &other)?,
        "semver" | "semantic" => semantic(&own, &other)?,
        "pep440" => pep440(&own, &other)?,
        other => return fail(format!("`version_type` is loose, strict, semver or pep440, not `{other}`")),
    };
    Ok(match operator.as_str() {
        "==" | "=" | "eq" => order.is_eq(),
        "!=" | "<>" | "ne" => order.is_ne(),
        "<" | "lt" => order.is_lt(),
        "<=" | "le" => order.is_le(),
        ">" | "gt" => order.is_gt(),
        ">=" | "ge" => order.is_ge(),
        other => return fail(format!("`{other}` does not compare versions; use ==, !=, <, <=, > or >=")),
    })
}

#[derive(PartialEq, Debug)]
enum Part {
    Number(u64),
    Word(String),
}

/// Splits as Python's LooseVersion: runs of digits, runs of small letters, and what stands between dots.
fn parts(text: &str) -> Vec<Part> {
    let mut out = Vec::new();
    let mut word = String::new();
    let class = |c: char| {
        if c.is_ascii_digit() {
            0
        } else if c.is_ascii_lowercase() {
            1
        } else {
            2
        }
    };
    let mut last = None;
    let mut flush = |word: &mut String| {
        if !word.is_empty() {
            let part = word.parse().map_or_else(|_| Part::Word(word.clone()), Part::Number);
            out.push(part);
            word.clear();
        }
    };
    for c in text.chars() {
        let kind = class(c);
        if c == '.' || last.is_some_and(|last| last != kind) {
            flush(&mut word);
        }
        if c != '.' {
            word.push(c);
        }
        last = Some(kind).filter(|_| c != '.');
    }
    flush(&mut word);
    out
}

/// Orders versions of any form.
pub(in crate::vars) fn loose(a: &str, b: &str) -> Outcome<Ordering> {
    let (left, right) = (parts(a.trim()), parts(b.trim()));
    for (one, two) in left.iter().zip(&right) {
        let order = match (one, two) {
            (Part::Number(one), Part::Number(two)) => one.cmp(two),
            (Part::Word(one), Part::Word(two)) => one.cmp(two),
            _ => return fail(format!("the versions `{a}` and `{b}` cannot be compared: one has a number where the other has a word")),
        };
        if order.is_ne() {
            return Ok(order);
        }
    }
    Ok(left.len().cmp(&right.len()))
}

fn strict_order(a: &str, b: &str) -> Outcome<Ordering> {
    let read = |text: &str| -> Outcome<([u64; 3], (bool, char, u64))> {
        let wrong = || fail(format!("`{text}` is no strict version, such as `1.2` or `1.2.3b1`"));
        let (numbers, pre) = match text.find(['a', 'b']) {
            Some(at) => (&text[..at], Some((text[at..].chars().next().unwrap_or('a'), &text[at + 1..]))),
            None => (text, None),
        };
        let fields: Vec<_> = numbers.split('.').map(str::parse::<u64>).collect();
        if !(2..=3).contains(&fields.len()) {
            return wrong();
        }
        let mut out = [0; 3];
        for (slot, field) in out.iter_mut().zip(fields) {
            let Ok(field) = field else { return wrong() };
            *slot = field;
        }
        match pre.map(|(letter, number)| (letter, number.parse::<u64>())) {
            None => Ok((out, (true, 'z', 0))),
            Some((letter, Ok(number))) => Ok((out, (false, letter, number))),
            Some((_, Err(_))) => wrong(),
        }
    };
    Ok(read(a)?.cmp(&read(b)?))
}

fn semantic(a: &str, b: &str) -> Outcome<Ordering> {
    let read = |text: &str| -> Outcome<([u64; 3], Option<String>)> {
        let core = text.split('+').next().unwrap_or_default();
        let (numbers, pre) = core.split_once('-').map_or((core, None), |(numbers, pre)| (numbers, Some(pre.to_owned())));
        let fields: Vec<_> = numbers.split('.').map(str::parse::<u64>).collect();
        match fields.as_slice() {
            [Ok(major), Ok(minor), Ok(patch)] => Ok(([*major, *minor, *patch], pre)),
            _ => fail(format!("`{text}` is no semantic version, such as `1.2.3` or `1.2.3-rc.1`")),
        }
    };
    let ((left, left_pre), (right, right_pre)) = (read(a)?, read(b)?);
    let order = left.cmp(&right);
    if order.is_ne() {
        return Ok(order);
    }
    Ok(match (left_pre, right_pre) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(left), Some(right)) => identifiers(&left, &right),
    })
}

fn identifiers(a: &str, b: &str) -> Ordering {
    let (left, right): (Vec<_>, Vec<_>) = (a.split('.').collect(), b.split('.').collect());
    for (one, two) in left.iter().zip(&right) {
        let order = match (one.parse::<u64>(), two.parse::<u64>()) {
            (Ok(one), Ok(two)) => one.cmp(&two),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => one.cmp(two),
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len())
}

/// Orders by release numbers, then dev < a < b < rc < final < post.
fn pep440(a: &str, b: &str) -> Outcome<Ordering> {
    let read = |text: &str| -> Outcome<(Vec<u64>, (i8, u64))> {
        let text = text.trim().trim_start_matches('v').to_ascii_lowercase();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers: Vec<u64> =
            text[..end].split('.').filter(|field| !field.is_empty()).filter_map(|field| field.parse().ok()).collect();
        if numbers.is_empty() {
            return fail(format!("`{text}` is no version of Python's form"));
        }
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        let suffix = text[end..].trim_start_matches(['-', '_', '.']);
        let word: String = suffix.chars().take_while(char::is_ascii_alphabetic).collect();
        let number = suffix[word.len()..]
            .trim_start_matches(['-', '_', '.'])
            .chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .unwrap_or(0);
        let rank = match word.as_str() {
            "dev" => -4,
            "a" | "alpha" => -3,
            "b" | "beta" => -2,
            "rc" | "c" | "pre" | "preview" => -1,
            "post" | "rev" | "r" => 1,
            _ => 0,
        };
        Ok((numbers, (rank, number)))
    };
    Ok(read(a)?.cmp(&read(b)?))
}
