//! Filters that encode, hash or name.

use base64::Engine as _;
use md5::Digest;

use crate::value::Value;
use crate::vars::template::live::{Outcome, fail};

use super::lists::Dice;
use super::{Call, Filter, known};

pub(super) const FILTERS: &[Filter] = &[
    known("b64encode", |call| Ok(Value::from(base64::engine::general_purpose::STANDARD.encode(call.printed())))),
    known("b64decode", b64decode),
    known("md5", |call| hashed(&call.subject.to_string(), "md5")),
    known("sha1", |call| hashed(&call.subject.to_string(), "sha1")),
    known("checksum", |call| hashed(&call.subject.to_string(), "sha1")),
    known("hash", |call| {
        let kind = call.text_or(0, "hashtype", "sha1")?;
        hashed(&call.subject.to_string(), &kind)
    }),
    known("to_uuid", to_uuid),
    known("password_hash", password_hash),
    known("vault", |_| fail("the filter `vault` is not supported; use `windlass vault encrypt-string`")),
    known("unvault", |call| {
        let text = call.subject_text()?;
        let plain = call.run.engine.world().unvault(&text, crate::source::Span::default())?;
        call.run.engine.world().secret(&plain);
        Ok(Value::Str(plain))
    }),
];

fn b64decode(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let text: String = call.printed().chars().filter(|c| !c.is_whitespace()).collect();
    let engine = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new().with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    match engine.decode(text.as_bytes()).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(Value::from(text)),
        Ok(Err(_)) => fail("the base64 holds bytes that are no UTF-8 text"),
        Err(error) => fail(format!("this is not base64: {error}")),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hashed(text: &str, kind: &str) -> Outcome<Value> {
    let bytes = text.as_bytes();
    Ok(Value::from(match kind {
        "md5" => hex(&md5::Md5::digest(bytes)),
        "sha1" => hex(&sha1::Sha1::digest(bytes)),
        "sha224" => hex(&sha2::Sha224::digest(bytes)),
        "sha256" => hex(&sha2::Sha256::digest(bytes)),
        "sha384" => hex(&sha2::Sha384::digest(bytes)),
        "sha512" => hex(&sha2::Sha512::digest(bytes)),
        other => return fail(format!("`{other}` is no hash known here; use md5, sha1, sha224, sha256, sha384 or sha512")),
    }))
}

/// The namespace of Ansible's UUIDs.
const NAMESPACE: uuid::Uuid = uuid::uuid!("361E6D51-FAEC-444A-9079-341386DA8E2E");

fn to_uuid(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let namespace = match call.text(0, "namespace")? {
        None => NAMESPACE,
        Some(text) => match uuid::Uuid::parse_str(&text) {
            Ok(namespace) => namespace,
            Err(_) => return fail(format!("`{text}` is no UUID")),
        },
    };
    Ok(Value::from(uuid::Uuid::new_v5(&namespace, call.subject.to_string().as_bytes()).to_string()))
}

/// Returns a salt of `length` letters; with a seed always the same.
fn salt(length: usize) -> String {
    const LETTERS: &[u8] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut dice = Dice::new(None);
    (0..length).filter_map(|_| LETTERS.get(dice.below(LETTERS.len())).map(|byte| char::from(*byte))).collect()
}

fn password_hash(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let kind = call.text_or(0, "hashtype", "sha512")?;
    let given = call.text(1, "salt")?;
    call.argument(2, "salt_size");
    let rounds = call.int(3, "rounds")?;
    call.argument(4, "encrypt");
    call.argument(5, "ident");
    let password = call.subject.to_string();
    call.run.engine.world().secret(&password);
    let text = crypt(&password, &kind, given.as_deref(), rounds)?;
    call.run.engine.world().secret(&text);
    Ok(Value::from(text))
}

/// Returns the hash of a password in crypt's form.
pub(in crate::vars) fn crypt(password: &str, kind: &str, given: Option<&str>, rounds: Option<i64>) -> Outcome<String> {
    let salt = given.map_or_else(|| salt(16), str::to_owned);
    if !salt.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '/') || salt.is_empty() || salt.len() > 16 {
        return fail("a salt is made of 1 to 16 letters, digits, `.` and `/`");
    }
    let count = |default: usize| rounds.map_or(default, |rounds| usize::try_from(rounds).unwrap_or(default)).clamp(1000, 999_999_999);
    let wrong = |_| crate::source::Diagnostic::error("the password cannot be hashed with these settings");
    match kind {
        "sha512" | "sha512_crypt" => {
            let rounds = count(656_000);
            let params = sha_crypt::Sha512Params::new(rounds).map_err(wrong)?;
            let hash = sha_crypt::sha512_crypt_b64(password.as_bytes(), salt.as_bytes(), &params).map_err(wrong)?;
            Ok(format!("$6${}{salt}${hash}", shown_rounds(rounds)))
        }
        "sha256" | "sha256_crypt" => {
            let rounds = count(535_000);
            let params = sha_crypt::Sha256Params::new(rounds).map_err(wrong)?;
            let hash = sha_crypt::sha256_crypt_b64(password.as_bytes(), salt.as_bytes(), &params).map_err(wrong)?;
            Ok(format!("$5${}{salt}${hash}", shown_rounds(rounds)))
        }
        other => fail(format!("`password_hash` makes sha512 and sha256, not `{other}`")),
    }
}

/// The number of rounds is told unless it is crypt's own default.
fn shown_rounds(rounds: usize) -> String {
    if rounds == 5000 { String::new() } else { format!("rounds={rounds}$") }
}
