//! Hashes of passwords in the forms of crypt.

use md5::Digest;

use crate::source::Diagnostic;
use crate::vars::template::live::{Outcome, fail};

use super::dice::Dice;

const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How a password is to be hashed.
#[derive(Clone, Debug, Default)]
pub(in crate::vars) struct Settings {
    pub kind: String,
    pub salt: Option<String>,
    /// How long a salt of ours is to be.
    pub salt_size: Option<usize>,
    pub rounds: Option<i64>,
    /// Which bcrypt: 2, 2a, 2b or 2y.
    pub ident: Option<String>,
}

/// Returns the hash of a password.
pub(in crate::vars) fn hashed(password: &str, settings: &Settings) -> Outcome<String> {
    match settings.kind.trim_end_matches("_crypt") {
        "sha512" => sha(password, settings, 656_000, "6"),
        "sha256" => sha(password, settings, 535_000, "5"),
        "md5" => Ok(md5_crypt(password, &salt(settings, 8, 8)?)),
        "bcrypt" | "blowfish" => blowfish(password, settings),
        other => fail(format!("`password_hash` makes sha512, sha256, md5 and bcrypt, not `{other}`")),
    }
}

fn random_letters(length: usize) -> String {
    let mut dice = Dice::new(None);
    (0..length).filter_map(|_| dice.pick(LETTERS).map(|byte| char::from(*byte))).collect()
}

fn salt(settings: &Settings, default: usize, most: usize) -> Outcome<String> {
    let salt = settings.salt.clone().unwrap_or_else(|| random_letters(settings.salt_size.unwrap_or(default)));
    if !salt.bytes().all(|byte| LETTERS.contains(&byte)) || salt.is_empty() || salt.len() > most {
        return fail(format!("a salt is made of 1 to {most} letters, digits, `.` and `/`"));
    }
    Ok(salt)
}

fn sha(password: &str, settings: &Settings, default: usize, mark: &str) -> Outcome<String> {
    let salt = salt(settings, 16, 16)?;
    let rounds = settings.rounds.map_or(default, |rounds| usize::try_from(rounds).unwrap_or(0));
    if !(1000..=999_999_999).contains(&rounds) {
        return fail("`rounds` is from 1000 to 999999999");
    }
    let wrong = |_| Diagnostic::error("the password cannot be hashed with these settings");
    let (password, bytes) = (password.as_bytes(), salt.as_bytes());
    let hash = if mark == "6" {
        let params = sha_crypt::Sha512Params::new(rounds).map_err(wrong)?;
        sha_crypt::sha512_crypt_b64(password, bytes, &params).map_err(wrong)?
    } else {
        let params = sha_crypt::Sha256Params::new(rounds).map_err(wrong)?;
        sha_crypt::sha256_crypt_b64(password, bytes, &params).map_err(wrong)?
    };
    // The number of rounds is told unless it is crypt's own default.
    let shown = if rounds == 5000 { String::new() } else { format!("rounds={rounds}$") };
    Ok(format!("${mark}${shown}{salt}${hash}"))
}

fn blowfish(password: &str, settings: &Settings) -> Outcome<String> {
    const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let version = match settings.ident.as_deref().unwrap_or("2b").trim_matches('$') {
        "2a" => bcrypt::Version::TwoA,
        "2b" => bcrypt::Version::TwoB,
        "2y" => bcrypt::Version::TwoY,
        other => return fail(format!("`ident` of bcrypt is 2a, 2b or 2y, not `{other}`")),
    };
    let cost = u32::try_from(settings.rounds.unwrap_or(12)).ok().filter(|cost| (4..=31).contains(cost));
    let Some(cost) = cost else { return fail("`rounds` of bcrypt is from 4 to 31") };
    let bytes = match &settings.salt {
        None => rand::random::<[u8; 16]>(),
        Some(salt) => {
            let digits: Option<Vec<u128>> =
                salt.bytes().map(|byte| ALPHABET.iter().position(|known| *known == byte).map(|at| at as u128)).collect();
            let Some(digits) = digits.filter(|digits| digits.len() == 22) else {
                return fail("the salt of bcrypt is 22 letters, digits, `.` and `/`");
            };
            // 21 digits of six bits and two bits of the last make 128.
            let (last, front) = digits.split_last().map_or((0, &[][..]), |(last, front)| (*last, front));
            (front.iter().fold(0_u128, |number, digit| (number << 6) | digit) << 2 | last >> 4).to_be_bytes()
        }
    };
    match bcrypt::hash_with_salt(password, cost, bytes) {
        Ok(parts) => Ok(parts.format_for_version(version)),
        Err(error) => fail(format!("the password cannot be hashed: {error}")),
    }
}

/// The hash of old Unix systems: a thousand rounds of MD5.
fn md5_crypt(password: &str, salt: &str) -> String {
    let (password, salt) = (password.as_bytes(), salt.as_bytes());
    let digest = |parts: &[&[u8]]| {
        let mut md5 = md5::Md5::new();
        parts.iter().for_each(|part| md5.update(part));
        <[u8; 16]>::from(md5.finalize())
    };
    let inner = digest(&[password, salt, password]);
    let mut first = md5::Md5::new();
    first.update(password);
    first.update(b"$1$");
    first.update(salt);
    password.chunks(16).for_each(|chunk| first.update(inner.get(..chunk.len()).unwrap_or_default()));
    let mut bits = password.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &[0_u8][..] } else { password.get(..1).unwrap_or_default() });
        bits >>= 1;
    }
    let mut state = <[u8; 16]>::from(first.finalize());
    for round in 0..1000 {
        let mut parts: Vec<&[u8]> = vec![if round % 2 == 1 { password } else { &state }];
        if round % 3 != 0 {
            parts.push(salt);
        }
        if round % 7 != 0 {
            parts.push(password);
        }
        parts.push(if round % 2 == 1 { &state } else { password });
        state = digest(&parts);
    }
    let order = [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)];
    let byte = |at: usize| u32::from(state.get(at).copied().unwrap_or(0));
    let mut out = format!("$1${}$", String::from_utf8_lossy(salt));
    let mut write = |mut number: u32, digits: usize| {
        for _ in 0..digits {
            out.extend(LETTERS.get((number & 63) as usize).map(|letter| char::from(*letter)));
            number >>= 6;
        }
    };
    for (a, b, c) in order {
        write(byte(a) << 16 | byte(b) << 8 | byte(c), 4);
    }
    write(byte(11), 2);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(kind: &str, salt: &str, rounds: Option<i64>, ident: Option<&str>) -> String {
        let settings =
            Settings { kind: kind.to_owned(), salt: Some(salt.to_owned()), rounds, ident: ident.map(str::to_owned), ..Settings::default() };
        hashed("a", &settings).expect("hashes")
    }

    #[test]
    fn the_old_hashes_are_those_of_crypt() {
        assert_eq!(hash("md5", "abcdefgh", None, None), "$1$abcdefgh$jUYc1Xi7pkozuzWQ0Dft71");
        // The first of the reference vectors of Openwall's crypt_blowfish that has the password `U*U`, and its hash.
        let settings = Settings {
            kind: "bcrypt".to_owned(),
            salt: Some("CCCCCCCCCCCCCCCCCCCCC.".to_owned()),
            rounds: Some(5),
            ident: Some("2a".to_owned()),
            ..Settings::default()
        };
        assert_eq!(hashed("U*U", &settings).expect("hashes"), "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
    }

    #[test]
    fn a_salt_of_our_own_is_as_long_as_asked() {
        let settings = Settings { kind: "sha512".to_owned(), salt_size: Some(4), rounds: Some(1000), ..Settings::default() };
        let hash = hashed("a", &settings).expect("hashes");
        assert_eq!(hash.split('$').nth(3).map(str::len), Some(4), "{hash}");
        assert!(hashed("a", &Settings { kind: "des".to_owned(), ..Settings::default() }).is_err());
    }
}
