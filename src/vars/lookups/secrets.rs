//! `lookup('password')`: makes a password once and keeps it in a file.

use std::path::PathBuf;

use crate::value::Value;
use crate::vars::filters::crypt::{Settings, hashed};
use crate::vars::template::live::{Outcome, fail};

use super::{Lookup, Request, lookup};

pub(super) const LOOKUPS: &[Lookup] = &[lookup("password", password)];

fn password(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let terms = request.terms.clone();
    let (length, chars) = (request.text("length"), request.option("chars"));
    let (encrypt, seed, ident) = (request.text("encrypt"), request.text("seed"), request.text("ident"));
    if seed.is_some() || ident.is_some() {
        return fail("`password` takes no `seed` and no `ident` here: passwords are random");
    }
    let mut out = Vec::new();
    for term in terms {
        let term = term.to_string();
        let (mut length, mut encrypt) = (length.clone(), encrypt.clone());
        let mut chars: Option<Vec<String>> = chars.as_ref().map(sets);
        let mut words = term.split_whitespace();
        let mut path = words.next().unwrap_or_default().to_owned();
        for word in words {
            match word.split_once('=') {
                Some(("length", value)) => length = Some(value.to_owned()),
                Some(("chars", value)) => chars = Some(sets(&Value::str(value))),
                Some(("encrypt", value)) => encrypt = Some(value.to_owned()),
                Some((name, _)) if ["seed", "ident"].contains(&name) => {
                    return fail(format!("`password` takes no `{name}` here: passwords are random"));
                }
                _ => path = format!("{path} {word}"),
            }
        }
        let length: usize = match length.as_deref().unwrap_or("20").parse() {
            Ok(length) if length > 0 => length,
            _ => return fail("`password` takes a length of at least 1"),
        };
        let alphabet = alphabet(&chars.unwrap_or_else(|| ["ascii_letters", "digits", ".,:-_"].map(str::to_owned).to_vec()));
        out.push(one(request, &path, length, &alphabet, encrypt.as_deref().filter(|kind| !kind.is_empty()))?);
    }
    Ok(out)
}

fn one(request: &Request<'_, '_>, path: &str, length: usize, alphabet: &[char], encrypt: Option<&str>) -> Outcome<Value> {
    let world = request.run.engine.world();
    if alphabet.is_empty() {
        return fail("`password` has no characters to choose from");
    }
    let letters: String = (0..length).filter_map(|_| alphabet.get(rand::random_range(0..alphabet.len()))).collect();
    let in_file = path != "/dev/null";
    let full: PathBuf = world.folder().join(path);
    let known = if in_file && world.stat(&full, true).is_some() {
        match world.read(&full) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned()),
            Err(why) => return fail(format!("cannot read `{}`: {why}", full.display())),
        }
    } else {
        None
    };
    let (password, salt) = match &known {
        Some(text) => {
            text.split_once(" salt=").map_or((text.clone(), None), |(password, salt)| (password.to_owned(), Some(salt.to_owned())))
        }
        None => (letters, None),
    };
    world.secret(&password);
    let hash = encrypt
        .map(|kind| hashed(&password, &Settings { kind: kind.to_owned(), salt: salt.clone(), ..Settings::default() }))
        .transpose()?;
    let salt_used = hash.as_ref().and_then(|hash| hash.rsplit('$').nth(1)).map(str::to_owned);
    if in_file && (known.is_none() || (salt.is_none() && salt_used.is_some())) {
        let line = salt_used.map_or_else(|| format!("{password}\n"), |salt| format!("{password} salt={salt}\n"));
        if let Err(why) = world.keep(&full, &line) {
            return fail(format!("cannot keep the password in `{}`: {why}", full.display()));
        }
    }
    let result = hash.unwrap_or(password);
    world.secret(&result);
    Ok(Value::from(result))
}

fn sets(value: &Value) -> Vec<String> {
    match value {
        Value::List(items) => items.iter().map(ToString::to_string).collect(),
        other => {
            let text = other.to_string();
            let comma = text.contains(",,");
            let mut sets: Vec<String> = text.replace(",,", ",").split(',').filter(|set| !set.is_empty()).map(str::to_owned).collect();
            if comma {
                sets.push(",".to_owned());
            }
            sets
        }
    }
}

/// Returns the characters that names such as `digits` stand for, or the characters themselves.
fn alphabet(sets: &[String]) -> Vec<char> {
    let lower = || 'a'..='z';
    let upper = || 'A'..='Z';
    let mut out: Vec<char> = Vec::new();
    for set in sets {
        match set.as_str() {
            "ascii_letters" => out.extend(lower().chain(upper())),
            "ascii_lowercase" => out.extend(lower()),
            "ascii_uppercase" => out.extend(upper()),
            "digits" => out.extend('0'..='9'),
            "hexdigits" => out.extend(('0'..='9').chain('a'..='f').chain('A'..='F')),
            "octdigits" => out.extend('0'..='7'),
            "punctuation" => out.extend((33_u8..127).map(char::from).filter(char::is_ascii_punctuation)),
            other => out.extend(other.chars().filter(|c| *c != '"' && *c != '\'')),
        }
    }
    out
}
