//! Elasticsearch's keystore file, versions 3 to 7, read and written without a JVM.
//!
//! The file is a small envelope (magic, codec name, version, password flag, CRC-32) around one AES-GCM block. Key
//! sizes, iteration counts and byte order depend on the version, see `Scheme`. A file "without a password" is the
//! same thing with the empty password: it hides the values from a glance, no more.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use ring::pbkdf2::{PBKDF2_HMAC_SHA512, derive};
use ring::rand::{SecureRandom, SystemRandom};

/// The entry that every keystore has; a node adds it when it is missing.
pub const SEED: &str = "keystore.seed";
/// The oldest version that is read and written.
pub const OLDEST: u32 = 3;
/// The newest version that is read and written.
pub const NEWEST: u32 = 7;

const MAGIC: [u8; 4] = [0x3f, 0xd7, 0x6c, 0x17];
const FOOTER_MAGIC: [u8; 4] = [0xc0, 0x28, 0x93, 0xe8];
const CODEC: &[u8] = b"elasticsearch.keystore";
const SALT: usize = 64;
const SEED_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789`~!@#$%^&*-_=+?";

/// Why a keystore cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// The bytes are no keystore, or a damaged one.
    #[error("the keystore is damaged: {0}")]
    Corrupt(String),
    /// The password does not fit. An altered authentication tag looks just the same.
    #[error("the keystore's password is wrong")]
    WrongPassword,
    /// The keystore has a password and none was given.
    #[error("the keystore is protected by a password")]
    NeedsPassword,
    /// Written by a version before 6.3.
    #[error("the keystore's format {0} is too old; delete the file and create it anew")]
    TooOld(u32),
    /// Written by a version that is newer than what this program knows.
    #[error("the keystore's format {0} is newer than the newest known one, {NEWEST}")]
    TooNew(u32),
    /// Something in it does not fit the format.
    #[error("{0}")]
    Unfit(String),
    /// No random numbers to be had.
    #[error("the system gives no random numbers")]
    NoRandom,
}

/// What sort of value an entry was stored as. Only version 3 keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A text (`add`).
    #[default]
    Text,
    /// The content of a file (`add-file`).
    File,
}

/// A value with its kind.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The bytes; UTF-8 for a text.
    pub value: Vec<u8>,
    /// How it was stored.
    pub kind: Kind,
}

impl Entry {
    /// Returns the entry of a text.
    pub fn text(value: &str) -> Self {
        Self { value: value.as_bytes().to_vec(), kind: Kind::Text }
    }

    /// Returns the entry of a file's content.
    pub fn file(value: Vec<u8>) -> Self {
        Self { value, kind: Kind::File }
    }
}

impl fmt::Debug for Entry {
    /// The value is secret; only its size is told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} bytes", self.kind, self.value.len())
    }
}

/// A keystore, decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keystore {
    /// The format's version, which is kept when the file is written again: the node that owns it reads that one.
    pub version: u32,
    /// The entries by name.
    pub entries: BTreeMap<String, Entry>,
}

/// What the envelope tells without a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The format's version.
    pub version: u32,
    /// Whether a password is needed.
    pub has_password: bool,
}

/// What differs between versions.
struct Scheme {
    iterations: NonZeroU32,
    cipher: &'static Algorithm,
    little_endian: bool,
    stores_kind: bool,
}

impl Scheme {
    fn of(version: u32) -> Self {
        let iterations = NonZeroU32::new(if version >= 6 { 210_000 } else { 10_000 }).unwrap_or(NonZeroU32::MIN);
        let cipher = if version >= 7 { &AES_256_GCM } else { &AES_128_GCM };
        Self { iterations, cipher, little_endian: version >= 5, stores_kind: version == 3 }
    }

    fn key(&self, salt: &[u8], password: &str) -> Result<LessSafeKey, KeystoreError> {
        let mut key = vec![0; self.cipher.key_len()];
        derive(PBKDF2_HMAC_SHA512, self.iterations, salt, password.as_bytes(), &mut key);
        let key = UnboundKey::new(self.cipher, &key).map_err(|_| corrupt("a key of the wrong size"))?;
        Ok(LessSafeKey::new(key))
    }

    fn int(&self, number: u32) -> [u8; 4] {
        if self.little_endian { number.to_le_bytes() } else { number.to_be_bytes() }
    }
}

impl Keystore {
    /// Returns a keystore with nothing in it but a seed.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(version: u32) -> Result<Self, KeystoreError> {
        let mut keystore = Self { version, entries: BTreeMap::new() };
        keystore.ensure_seed()?;
        Ok(keystore)
    }

    /// Adds the seed that a node wants, where there is none. Returns whether there was none.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn ensure_seed(&mut self) -> Result<bool, KeystoreError> {
        if self.entries.contains_key(SEED) {
            return Ok(false);
        }
        self.entries.insert(SEED.to_owned(), Entry::text(&seed()?));
        Ok(true)
    }

    /// Reads a keystore. `password` is empty for one without a password.
    ///
    /// # Errors
    /// When the bytes are damaged, of another version, or the password does not fit.
    pub fn read(bytes: &[u8], password: &str) -> Result<Self, KeystoreError> {
        let Head { version, has_password } = head(bytes)?;
        if has_password && password.is_empty() {
            return Err(KeystoreError::NeedsPassword);
        }
        let scheme = Scheme::of(version);
        let body = checked_body(bytes)?;
        let mut outer = Cursor::new(body, scheme.little_endian);
        outer.take(FIXED)?;
        let size = outer.size("the data's length")?;
        let mut data = Cursor::new(outer.take(size)?, scheme.little_endian);
        outer.end("the data")?;
        let salt = data.block("the salt")?;
        let iv = data.block("the initialisation vector")?;
        let sealed = data.block("the sealed entries")?;
        data.end("the sealed entries")?;
        let nonce = Nonce::try_assume_unique_for_key(iv).map_err(|_| corrupt("an initialisation vector of the wrong size"))?;
        if sealed.len() < scheme.cipher.tag_len() {
            return Err(corrupt("the sealed entries are cut"));
        }
        let key = scheme.key(salt, if has_password { password } else { "" })?;
        let mut plain = sealed.to_vec();
        let plain = key.open_in_place(nonce, Aad::from(salt), &mut plain).map_err(|_| KeystoreError::WrongPassword)?;
        Ok(Self { version, entries: read_entries(plain, scheme.stores_kind)? })
    }

    /// Returns the file: sealed with a fresh salt, protected by `password` unless that is empty.
    ///
    /// # Errors
    /// When the version is none that can be written, or an entry does not fit the format.
    pub fn write(&self, password: &str) -> Result<Vec<u8>, KeystoreError> {
        if !(OLDEST..=NEWEST).contains(&self.version) {
            return Err(KeystoreError::Unfit(format!("format {} cannot be written, only {OLDEST} to {NEWEST}", self.version)));
        }
        let scheme = Scheme::of(self.version);
        let (salt, iv): ([u8; SALT], [u8; 12]) = (random()?, random()?);
        let mut sealed = self.plain_entries(&scheme)?;
        let key = scheme.key(&salt, password)?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(iv), Aad::from(salt), &mut sealed)
            .map_err(|_| KeystoreError::Unfit("the keystore is too large to be sealed".to_owned()))?;

        let mut data = Vec::with_capacity(sealed.len() + SALT + 24);
        for block in [&salt[..], &iv[..], &sealed] {
            data.extend(scheme.int(length(block.len())?));
            data.extend(block);
        }
        let mut out = Vec::with_capacity(data.len() + FIXED + 20);
        out.extend(MAGIC);
        out.push(22);
        out.extend(CODEC);
        out.extend(self.version.to_be_bytes());
        out.push(u8::from(!password.is_empty()));
        out.extend(scheme.int(length(data.len())?));
        out.extend(data);
        out.extend(FOOTER_MAGIC);
        out.extend([0; 4]);
        out.extend(u64::from(crc32fast::hash(&out)).to_be_bytes());
        Ok(out)
    }

    fn plain_entries(&self, scheme: &Scheme) -> Result<Vec<u8>, KeystoreError> {
        let mut plain = Vec::new();
        plain.extend(length(self.entries.len())?.to_be_bytes());
        for (name, entry) in &self.entries {
            put_text(&mut plain, name)?;
            if scheme.stores_kind {
                put_text(&mut plain, if entry.kind == Kind::File { "FILE" } else { "STRING" })?;
            }
            plain.extend(length(entry.value.len())?.to_be_bytes());
            plain.extend(&entry.value);
        }
        Ok(plain)
    }
}

/// Bytes before the length of the data: magic, name, version, password flag.
const FIXED: usize = 4 + 1 + 22 + 4 + 1;

/// Returns what the envelope tells without a password.
///
/// # Errors
/// When this is no keystore, or one of a version that is not known. Everything else is checked by [`Keystore::read`].
pub fn head(bytes: &[u8]) -> Result<Head, KeystoreError> {
    let mut cursor = Cursor::new(bytes, false);
    if cursor.take(4)? != MAGIC {
        return Err(corrupt("it does not begin as a keystore does"));
    }
    if cursor.take(1)? != [22] || cursor.take(CODEC.len())? != CODEC {
        return Err(corrupt("it is a file of another kind"));
    }
    let version = cursor.u32()?;
    match version {
        0 => return Err(corrupt("it has the version 0")),
        1 | 2 => return Err(KeystoreError::TooOld(version)),
        OLDEST..=NEWEST => {}
        _ => return Err(KeystoreError::TooNew(version)),
    }
    match cursor.take(1)? {
        [flag @ (0 | 1)] => Ok(Head { version, has_password: *flag == 1 }),
        other => Err(corrupt(&format!("its password flag is {:#04x}", other.first().copied().unwrap_or_default()))),
    }
}

/// Returns the bytes before the footer, after checking the footer.
fn checked_body(bytes: &[u8]) -> Result<&[u8], KeystoreError> {
    let (covered, sum) = bytes.split_last_chunk::<8>().ok_or_else(|| corrupt("it is cut"))?;
    let (body, footer) = covered.split_last_chunk::<8>().ok_or_else(|| corrupt("it is cut"))?;
    if footer[..4] != FOOTER_MAGIC || footer[4..] != [0; 4] {
        return Err(corrupt("it does not end as a keystore does"));
    }
    if u64::from_be_bytes(*sum) != u64::from(crc32fast::hash(covered)) {
        return Err(corrupt("its checksum does not fit"));
    }
    Ok(body)
}

fn read_entries(plain: &[u8], stores_kind: bool) -> Result<BTreeMap<String, Entry>, KeystoreError> {
    let mut cursor = Cursor::new(plain, false);
    let count = cursor.size("the number of entries")?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let name = cursor.text()?;
        let kind = match stores_kind.then(|| cursor.text()).transpose()?.as_deref() {
            None | Some("STRING") => Kind::Text,
            Some("FILE") => Kind::File,
            Some(_) => return Err(corrupt("an entry is of an unknown kind")),
        };
        let value = cursor.block("a value")?.to_vec();
        entries.insert(name, Entry { value, kind });
    }
    cursor.end("the last entry")?;
    Ok(entries)
}

/// Returns the version to write for a new keystore, by the version of Elasticsearch that will read it. An older file is
/// always accepted and a newer one never, so where the first release of a format is not certain, this says the older.
pub fn version_for(major: u32, minor: u32) -> Option<u32> {
    match (major, minor) {
        (9.., _) | (8, 19..) => Some(7),
        (8, 14..) => Some(6),
        (8, _) => Some(5),
        (7, 1..) | (6, 8..) => Some(4),
        (7, 0) | (6, 3..) => Some(3),
        _ => None,
    }
}

/// Whether Elasticsearch takes `name` as the name of an entry.
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= usize::from(u16::MAX)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// Returns a fresh seed.
fn seed() -> Result<String, KeystoreError> {
    let mut seed = String::new();
    while seed.len() < 20 {
        let [byte] = random::<1>()?;
        // Bytes beyond the last whole multiple are dropped, so that every letter is as likely as any other.
        if usize::from(byte) < 256 - 256 % SEED_ALPHABET.len() {
            seed.extend(SEED_ALPHABET.get(usize::from(byte) % SEED_ALPHABET.len()).map(|letter| char::from(*letter)));
        }
    }
    Ok(seed)
}

fn random<const N: usize>() -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeystoreError::NoRandom)?;
    Ok(bytes)
}

fn corrupt(what: &str) -> KeystoreError {
    KeystoreError::Corrupt(what.to_owned())
}

fn length(size: usize) -> Result<u32, KeystoreError> {
    let fits = u32::try_from(size).ok().filter(|size| i32::try_from(*size).is_ok());
    fits.ok_or_else(|| KeystoreError::Unfit("the keystore is larger than its format allows".to_owned()))
}

/// Appends `text` as Java's `writeUTF` does: 16-bit length, then UTF-16 units each in one to three bytes.
fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), KeystoreError> {
    let mut bytes = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        let [high, low] = unit.to_be_bytes();
        let low6 = 0x80 | (low & 0x3f);
        match unit {
            1..=0x7f => bytes.push(low),
            0 | 0x80..=0x7ff => bytes.extend([0xc0 | (high << 2) | (low >> 6), low6]),
            _ => bytes.extend([0xe0 | (high >> 4), 0x80 | ((high & 0x0f) << 2) | (low >> 6), low6]),
        }
    }
    let size = u16::try_from(bytes.len()).map_err(|_| KeystoreError::Unfit("the name of an entry is too long".to_owned()))?;
    out.extend(size.to_be_bytes());
    out.extend(bytes);
    Ok(())
}

/// Returns the text of what `put_text` wrote.
fn text_of(bytes: &[u8]) -> Option<String> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut bytes = bytes.iter().map(|byte| u16::from(*byte));
    while let Some(first) = bytes.next() {
        let mut more = || bytes.next().filter(|byte| byte & 0xc0 == 0x80).map(|byte| byte & 0x3f);
        units.push(match first {
            0..=0x7f => first,
            0xc0..=0xdf => ((first & 0x1f) << 6) | more()?,
            0xe0..=0xef => ((first & 0x0f) << 12) | (more()? << 6) | more()?,
            _ => return None,
        });
    }
    String::from_utf16(&units).ok()
}

/// Takes bytes off the front, and never more than there are.
struct Cursor<'a> {
    rest: &'a [u8],
    little_endian: bool,
}

impl<'a> Cursor<'a> {
    fn new(rest: &'a [u8], little_endian: bool) -> Self {
        Self { rest, little_endian }
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], KeystoreError> {
        let (taken, rest) = self.rest.split_at_checked(size).ok_or_else(|| corrupt("it is cut"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, KeystoreError> {
        let bytes: [u8; 4] = self.take(4)?.try_into().map_err(|_| corrupt("it is cut"))?;
        Ok(if self.little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// A length or count: Java's `int`, so the highest bit must not be set.
    fn size(&mut self, what: &str) -> Result<usize, KeystoreError> {
        let number = self.u32()?;
        i32::try_from(number).ok().and_then(|size| usize::try_from(size).ok()).ok_or_else(|| corrupt(&format!("{what} is negative")))
    }

    fn block(&mut self, what: &str) -> Result<&'a [u8], KeystoreError> {
        let size = self.size(what)?;
        self.take(size)
    }

    fn text(&mut self) -> Result<String, KeystoreError> {
        let size: [u8; 2] = self.take(2)?.try_into().map_err(|_| corrupt("it is cut"))?;
        text_of(self.take(usize::from(u16::from_be_bytes(size)))?).ok_or_else(|| corrupt("a name is no text"))
    }

    fn end(&self, what: &str) -> Result<(), KeystoreError> {
        if self.rest.is_empty() { Ok(()) } else { Err(corrupt(&format!("something follows {what}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(version: u32) -> Keystore {
        let mut keystore = Keystore::new(version).expect("random");
        keystore.entries.insert("cluster.remote.dr.credentials".into(), Entry::text("aWQ6a2V5"));
        keystore.entries.insert("gcs.client.default.credentials_file".into(), Entry::file(vec![0, 255, 10]));
        keystore.entries.insert("empty".into(), Entry::text(""));
        keystore
    }

    #[test]
    fn every_version_reads_what_it_wrote() {
        for version in OLDEST..=NEWEST {
            for password in ["", "s3cret", "pässwörd ⚿"] {
                let keystore = sample(version);
                let bytes = keystore.write(password).expect("writes");
                assert_eq!(head(&bytes), Ok(Head { version, has_password: !password.is_empty() }));
                let read = Keystore::read(&bytes, password).expect("reads");
                let values = |keystore: &Keystore| keystore.entries.iter().map(|(k, v)| (k.clone(), v.value.clone())).collect::<Vec<_>>();
                assert_eq!(values(&read), values(&keystore));
                if version == 3 {
                    assert_eq!(read, keystore, "version 3 keeps the kinds");
                }
            }
        }
    }

    #[test]
    fn a_wrong_password_is_told_apart_from_a_missing_one() {
        let bytes = sample(4).write("right").expect("writes");
        assert_eq!(Keystore::read(&bytes, "wrong"), Err(KeystoreError::WrongPassword));
        assert_eq!(Keystore::read(&bytes, ""), Err(KeystoreError::NeedsPassword));
    }

    #[test]
    fn other_versions_are_recognised() {
        let mut bytes = sample(4).write("").expect("writes");
        bytes[30] = 2;
        assert_eq!(Keystore::read(&bytes, ""), Err(KeystoreError::TooOld(2)));
        bytes[30] = 8;
        assert_eq!(Keystore::read(&bytes, ""), Err(KeystoreError::TooNew(8)));
    }

    #[test]
    fn no_cut_and_no_changed_byte_goes_unnoticed_or_panics() {
        let bytes = sample(5).write("").expect("writes");
        for at in 0..bytes.len() {
            assert!(Keystore::read(&bytes[..at], "").is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            assert!(Keystore::read(&changed, "").is_err(), "changed at {at}");
        }
    }

    #[test]
    fn names_are_written_as_java_writes_them() {
        for name in ["plain", "nul\0", "umläut €", "supplementary 🔑"] {
            let mut out = Vec::new();
            put_text(&mut out, name).expect("fits");
            assert_eq!(text_of(&out[2..]).as_deref(), Some(name));
        }
        let mut out = Vec::new();
        put_text(&mut out, "\0🔑").expect("fits");
        assert_eq!(out, [0, 8, 0xc0, 0x80, 0xed, 0xa0, 0xbd, 0xed, 0xb4, 0x91]);
        assert_eq!(text_of(&[0xed, 0xa0, 0xbd]), None, "half a pair");
        assert_eq!(text_of(&[0xc3]), None, "cut");
    }

    #[test]
    fn the_version_follows_the_reader_and_never_runs_ahead() {
        let cases = [((9, 2), Some(7)), ((8, 18), Some(6)), ((8, 13), Some(5)), ((7, 17), Some(4)), ((7, 0), Some(3)), ((6, 2), None)];
        for ((major, minor), version) in cases {
            assert_eq!(version_for(major, minor), version, "{major}.{minor}");
        }
    }

    #[test]
    fn a_seed_is_added_once() {
        let mut keystore = Keystore::new(7).expect("random");
        let first = keystore.entries[SEED].value.clone();
        assert_eq!(first.len(), 20);
        assert_eq!(keystore.ensure_seed(), Ok(false));
        assert_eq!(keystore.entries[SEED].value, first);
    }

    #[test]
    fn values_do_not_print() {
        assert!(!format!("{:?}", sample(4)).contains("aWQ6a2V5"));
    }
}
