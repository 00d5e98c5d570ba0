//! `lookup('password')`: makes a password once and keeps it in a file.

use std::path::PathBuf;

use crate::value::Value;
use crate::vars::filters::crypt::{Settings, hashed};
use crate::vars::filters::dice::Dice;
use crate::vars::template::live::{Outcome, fail};

use super::{Lookup, Request, lookup};

pub(super) const LOOKUPS: &[Lookup] = &[lookup("password", password)];

fn password(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let terms = request.terms.clone();
    let (length, chars) = (request.text("length"), request.option("chars"));
    let (encrypt, seed, ident) = (request.text("encrypt"), request.text("seed"), request.text("ident"));
    let mut out = Vec::new();
    for term in terms {
        let term = term.to_string();
        let (mut length, mut encrypt, mut seed, mut ident) = (length.clone(), encrypt.clone(), seed.clone(), ident.clone());
        let mut chars: Option<Vec<String>> = chars.as_ref().map(sets);
        let mut words = term.split_whitespace();
        let mut path = words.next().unwrap_or_default().to_owned();
        for word in words {
            match word.split_once('=') {
                Some(("length", value)) => length = Some(value.to_owned()),
                Some(("chars", value)) => chars = Some(sets(&Value::str(value))),
                Some(("encrypt", value)) => encrypt = Some(value.to_owned()),
                Some(("seed", value)) => seed = Some(value.to_owned()),
                Some(("ident", value)) => ident = Some(value.to_owned()),
                _ => path = format!("{path} {word}"),
            }
        }
        let length: usize = match length.as_deref().unwrap_or("20").parse() {
            Ok(length) if length > 0 => length,
            _ => return fail("`password` takes a length of at least 1"),
        };
        let alphabet = alphabet(&chars.unwrap_or_else(|| ["ascii_letters", "digits", ".,:-_"].map(str::to_owned).to_vec()));
        let mut dice = Dice::new(seed.map(Value::from).as_ref());
        let made: String = (0..length).filter_map(|_| dice.pick(&alphabet)).collect();
        let kind = encrypt.filter(|kind| !kind.is_empty());
        out.push(one(request, &path, made, kind.as_deref(), ident.filter(|ident| !ident.is_empty()))?);
    }
    Ok(out)
}

/// Returns the password that `path` keeps, or else `made`, which is kept there, with what its hash needs to stay the same.
fn one(request: &Request<'_, '_>, path: &str, made: String, encrypt: Option<&str>, ident: Option<String>) -> Outcome<Value> {
    let world = request.run.engine.world();
    if made.is_empty() {
        return fail("`password` has no characters to choose from");
    }
    let in_file = path != "/dev/null";
    let full: PathBuf = world.folder().join(path);
    let known = if in_file && world.stat(&full, true).is_some() {
        match world.read(&full) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()),
            Err(why) => return fail(format!("cannot read `{}`: {why}", full.display())),
        }
    } else {
        None
    };
    let (password, salt, kept_ident) = known.as_deref().map_or((made, None, None), parted);
    if let (Some(asked), Some(kept)) = (&ident, &kept_ident)
        && asked != kept
    {
        return fail(format!("`password` is asked for the ident `{asked}`, but `{}` keeps a password with `{kept}`", full.display()));
    }
    let is_bcrypt = encrypt.is_some_and(|kind| matches!(kind.trim_end_matches("_crypt"), "bcrypt" | "blowfish"));
    let ident = kept_ident.clone().or(ident).or_else(|| is_bcrypt.then(|| "2b".to_owned()));
    world.secret(&password);
    let hash = encrypt.map(|kind| {
        let settings = Settings { kind: kind.to_owned(), salt: salt.clone(), ident: ident.clone(), ..Settings::default() };
        hashed(&password, &settings)
    });
    let hash = hash.transpose()?;
    let salt_used = hash.as_ref().and_then(|hash| hash.rsplit('$').next()).and_then(|last| match is_bcrypt {
        // The salt of bcrypt has no end of its own.
        true => last.get(..22),
        false => hash.as_ref().and_then(|hash| hash.rsplit('$').nth(1)),
    });
    let grows = (salt.is_none() && salt_used.is_some()) || (is_bcrypt && kept_ident.is_none());
    if in_file && (known.is_none() || grows) {
        let mut line = password.clone();
        if let Some(salt) = salt.as_deref().or(salt_used) {
            line += &format!(" salt={salt}");
            line += &ident.map(|ident| format!(" ident={ident}")).unwrap_or_default();
        }
        if let Err(why) = world.keep(&full, &format!("{line}\n")) {
            return fail(format!("cannot keep the password in `{}`: {why}", full.display()));
        }
    }
    let result = hash.unwrap_or(password);
    world.secret(&result);
    Ok(Value::from(result))
}

/// Takes a line apart: the password, the salt and the ident of its hash.
fn parted(line: &str) -> (String, Option<String>, Option<String>) {
    match line.rsplit_once(" salt=") {
        None => (line.to_owned(), None, None),
        Some((password, rest)) => match rest.rsplit_once(" ident=") {
            None => (password.to_owned(), Some(rest.to_owned()), None),
            Some((salt, ident)) => (password.to_owned(), Some(salt.to_owned()), Some(ident.to_owned())),
        },
    }
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
