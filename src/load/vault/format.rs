//! The vault's file format: a header line, then hexadecimal text that holds salt, HMAC and ciphertext.
//!
//! `$ANSIBLE_VAULT;1.1;AES256` or `$ANSIBLE_VAULT;1.2;AES256;label`. The key material is PBKDF2-HMAC-SHA256 over the
//! password with 10,000 rounds: 32 bytes for AES-256 in counter mode, 32 for the HMAC-SHA256 of the ciphertext, 16 for the counter.

use aes::cipher::{KeyIvInit, StreamCipher};
use ring::{hmac, pbkdf2};

/// How many rounds of key derivation the format has.
const ROUNDS: std::num::NonZeroU32 = match std::num::NonZeroU32::new(10_000) {
    Some(rounds) => rounds,
    None => std::num::NonZeroU32::MIN,
};

/// What every vaulted text begins with.
pub const MARK: &str = "$ANSIBLE_VAULT;";

/// The label of secrets that were given none.
pub const DEFAULT_LABEL: &str = "default";

/// Bytes in a block of AES; texts are padded to it.
const BLOCK: usize = 16;

/// The keys that one password and one salt make.
#[derive(Clone)]
pub struct Keys {
    cipher: [u8; 32],
    hmac: [u8; 32],
    counter: [u8; 16],
}

impl Keys {
    /// Derives the keys. This is slow, on purpose.
    pub fn derive(password: &str, salt: &[u8]) -> Self {
        let mut all = [0_u8; 80];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, password.as_bytes(), &mut all);
        let mut keys = Self { cipher: [0; 32], hmac: [0; 32], counter: [0; 16] };
        keys.cipher.copy_from_slice(&all[..32]);
        keys.hmac.copy_from_slice(&all[32..64]);
        keys.counter.copy_from_slice(&all[64..]);
        keys
    }

    fn apply(&self, data: &mut [u8]) {
        let mut cipher = ctr::Ctr128BE::<aes::Aes256>::new(&self.cipher.into(), &self.counter.into());
        cipher.apply_keystream(data);
    }

    /// Returns the text, or nothing where these are not the keys it was encrypted with.
    pub fn open(&self, sealed: &Sealed) -> Option<Vec<u8>> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.hmac);
        hmac::verify(&key, &sealed.ciphertext, &sealed.hmac).ok()?;
        let mut text = sealed.ciphertext.clone();
        self.apply(&mut text);
        let padding = usize::from(*text.last()?);
        if padding == 0 || padding > BLOCK || padding > text.len() {
            return None;
        }
        text.truncate(text.len() - padding);
        Some(text)
    }

    /// Encrypts `text`.
    pub fn seal(&self, text: &[u8], salt: &[u8], label: &str) -> Sealed {
        let padding = BLOCK - text.len() % BLOCK;
        let mut ciphertext = text.to_vec();
        #[allow(clippy::cast_possible_truncation)]
        ciphertext.extend(std::iter::repeat_n(padding as u8, padding));
        self.apply(&mut ciphertext);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.hmac);
        let hmac = hmac::sign(&key, &ciphertext).as_ref().to_vec();
        Sealed { label: label.to_owned(), salt: salt.to_vec(), hmac, ciphertext }
    }
}

/// An encrypted text, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The label of the secret it was encrypted with; `default` where it has none.
    pub label: String,
    /// The salt.
    pub salt: Vec<u8>,
    hmac: Vec<u8>,
    ciphertext: Vec<u8>,
}

/// Whether a text is a vaulted one.
pub fn is_vaulted(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(MARK.as_bytes())
}

impl Sealed {
    /// Takes a vaulted text apart.
    ///
    /// # Errors
    /// Says in a clause what is wrong with it.
    pub fn parse(armoured: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(armoured).map_err(|_| "it has bytes that no vault has".to_owned())?;
        let mut lines = text.trim().lines();
        let header = lines.next().unwrap_or_default().trim();
        let mut parts = header.split(';').skip(1).map(str::trim);
        let (version, cipher, label) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
        if !header.starts_with(MARK) {
            return Err(format!("it does not begin with `{MARK}`"));
        }
        if !matches!(version, "1.1" | "1.2") {
            return Err(format!("its format `{version}` is not 1.1 or 1.2"));
        }
        if cipher != "AES256" {
            return Err(format!("its cipher `{cipher}` is not AES256"));
        }
        let label = label.filter(|label| version == "1.2" && !label.is_empty()).unwrap_or(DEFAULT_LABEL).to_owned();
        let body: String = lines.map(str::trim).collect();
        let damaged = || "it is damaged or cut short".to_owned();
        let whole = |text: &str| unhex(text).ok_or_else(|| format!("{} (Vault format unhexlify error: {})", damaged(), unhex_error(text)));
        let inner = String::from_utf8(whole(&body)?).map_err(|_| damaged())?;
        inner.split('\n').try_for_each(|field| whole(field).map(|_| ()))?;
        let mut fields = inner.splitn(3, '\n').map(unhex);
        match (fields.next().flatten(), fields.next().flatten(), fields.next().flatten()) {
            (Some(salt), Some(hmac), Some(ciphertext)) if !salt.is_empty() && !hmac.is_empty() => {
                Ok(Self { label, salt, hmac, ciphertext })
            }
            _ => Err(damaged()),
        }
    }

    /// Returns the text as it stands in a file, with a newline at its end. A label other than `default` makes it format 1.2.
    pub fn armoured(&self) -> String {
        let inner = format!("{}\n{}\n{}", hex(&self.salt), hex(&self.hmac), hex(&self.ciphertext));
        let body = hex(inner.as_bytes());
        let mut out =
            if self.label == DEFAULT_LABEL { format!("{MARK}1.1;AES256\n") } else { format!("{MARK}1.2;AES256;{}\n", self.label) };
        for line in body.as_bytes().chunks(80) {
            out.extend(line.iter().copied().map(char::from));
            out.push('\n');
        }
        out
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Says why a text is no hexadecimal one, in the words that people look for.
fn unhex_error(text: &str) -> &'static str {
    let is_hex = text.trim().chars().all(|c| c.is_ascii_hexdigit());
    if is_hex { "Odd-length string" } else { "Non-hexadecimal digit found" }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.trim().chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    if digits.len() % 2 == 1 {
        return None;
    }
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
