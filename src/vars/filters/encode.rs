//! Filters that encode, hash or name.

use base64::Engine as _;
use md5::Digest;
use sha3::Digest as _;

use crate::value::{Value, bytes};
use crate::vars::template::live::{Outcome, fail};

use super::{Call, Filter, known};

pub(super) const FILTERS: &[Filter] = &[
    known("b64encode", b64encode),
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
    known("vault", vault),
    known("unvault", unvault),
];

fn b64encode(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let encoding = call.text_or(0, "encoding", "")?;
    let plain = match bytes::encode(&call.printed(), &encoding) {
        Ok(plain) => plain,
        Err(why) => return fail(why),
    };
    let engine =
        if call.flag(1, "urlsafe", false)? { base64::engine::general_purpose::URL_SAFE } else { base64::engine::general_purpose::STANDARD };
    Ok(Value::from(engine.encode(plain)))
}

fn b64decode(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let encoding = call.text_or(0, "encoding", "")?;
    let alphabet = if call.flag(1, "urlsafe", false)? { base64::alphabet::URL_SAFE } else { base64::alphabet::STANDARD };
    let text: String = call.printed().chars().filter(|c| !c.is_whitespace()).collect();
    let engine = base64::engine::GeneralPurpose::new(
        &alphabet,
        base64::engine::GeneralPurposeConfig::new().with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    match engine.decode(text.as_bytes()) {
        // Bytes that are no text come out again where the text is written.
        Ok(plain) if encoding.is_empty() => Ok(Value::from(bytes::escaped(&plain))),
        Ok(plain) => bytes::decode(&plain, &encoding).map_or_else(fail, |text| Ok(Value::from(text))),
        Err(error) => fail(format!("this is not base64: {error}")),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hashed(text: &str, kind: &str) -> Outcome<Value> {
    let bytes = &bytes::raw(text)[..];
    Ok(Value::from(match kind {
        "md5" => hex(&md5::Md5::digest(bytes)),
        "sha1" => hex(&sha1::Sha1::digest(bytes)),
        "sha224" => hex(&sha2::Sha224::digest(bytes)),
        "sha256" => hex(&sha2::Sha256::digest(bytes)),
        "sha384" => hex(&sha2::Sha384::digest(bytes)),
        "sha512" => hex(&sha2::Sha512::digest(bytes)),
        "sha3_224" => hex(&sha3::Sha3_224::digest(bytes)),
        "sha3_256" => hex(&sha3::Sha3_256::digest(bytes)),
        "sha3_384" => hex(&sha3::Sha3_384::digest(bytes)),
        "sha3_512" => hex(&sha3::Sha3_512::digest(bytes)),
        "blake2b" => hex(&blake2::Blake2b512::digest(bytes)),
        "blake2s" => hex(&blake2::Blake2s256::digest(bytes)),
        other => {
            return fail(format!("`{other}` is no hash known here; there are md5, sha1, sha224 to sha512, sha3_*, blake2b and blake2s"));
        }
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

fn password_hash(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let settings = super::crypt::Settings {
        kind: call.text_or(0, "hashtype", "sha512")?,
        salt: call.text(1, "salt")?,
        salt_size: call.int(2, "salt_size")?.and_then(|size| usize::try_from(size).ok()),
        rounds: call.int(3, "rounds")?,
        ident: call.text(4, "ident")?,
    };
    let password = match &call.subject {
        Value::List(_) | Value::Map(_) => return fail("`password_hash` takes a text"),
        other => other.to_string(),
    };
    let world = call.run.engine.world();
    world.secret(&password);
    let text = super::crypt::hashed(&password, &settings)?;
    world.secret(&text);
    Ok(Value::from(text))
}

fn vault(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let secret = call.text_or(0, "secret", "")?;
    let salt = call.text(1, "salt")?;
    let label = call.text_or(2, "vault_id", "filter_default")?;
    call.flag(3, "wrap_object", false)?;
    let text = call.subject_text()?;
    let world = call.run.engine.world();
    [&secret, &text].iter().for_each(|text| world.secret(text));
    world.seal(&text, &secret, salt.as_deref(), &label).map_or_else(fail, |sealed| Ok(Value::from(sealed)))
}

fn unvault(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let secret = call.text(0, "secret")?;
    call.text(1, "vault_id")?;
    let text = call.subject_text()?;
    let world = call.run.engine.world();
    if !text.trim_start().starts_with("$ANSIBLE_VAULT;") {
        return Ok(Value::from(text));
    }
    let plain = match &secret {
        None => world.unvault(&text, crate::source::Span::default())?,
        Some(secret) => match world.open(&text, secret) {
            Ok(plain) => plain.into(),
            Err(why) => return fail(why),
        },
    };
    world.secret(&plain);
    Ok(Value::Str(plain))
}
