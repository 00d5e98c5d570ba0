//! Secrets, and the one redactor that keeps them out of everything a person or a machine reads.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, RwLock};

use base64::Engine as _;
use serde::{Deserialize, Serialize};

/// A value that prints as `***`. [`Secret::reveal`] is the only way to it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a secret.
    pub fn new(secret: T) -> Self {
        Self(secret)
    }

    /// Returns the secret itself. Never give it to a message.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for Secret<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// Texts shorter than this are not masked: they would blot out half of every output and hide nothing.
pub const SHORTEST: usize = 4;

/// Texts to mask, longest first, so that a secret within a secret leaves no rest.
type Forms = BTreeSet<(std::cmp::Reverse<usize>, String)>;

/// Knows every secret of a run, in every form it may show up in, and masks them. Cheap to clone: clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor {
    forms: Arc<RwLock<Forms>>,
    /// The secrets as they were learned, each once.
    learned: Arc<RwLock<Vec<String>>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// Learns a secret, with its base64, JSON and URL forms, and each of its lines.
    pub fn learn(&self, secret: &str) {
        let trimmed = secret.trim();
        if trimmed.len() < SHORTEST || is_common(trimmed) {
            return;
        }
        if let Ok(mut learned) = self.learned.write() {
            if learned.iter().any(|known| known == secret) {
                return;
            }
            learned.push(secret.to_owned());
        }
        let mut forms = BTreeSet::new();
        let lines = secret.lines().map(str::trim).filter(|line| line.len() >= 8);
        for text in [secret, trimmed].into_iter().chain(lines.filter(|_| secret.contains('\n'))) {
            forms.insert(text.to_owned());
            forms.insert(base64::engine::general_purpose::STANDARD.encode(text));
            forms.insert(base64::engine::general_purpose::STANDARD_NO_PAD.encode(text));
            forms.insert(base64::engine::general_purpose::URL_SAFE.encode(text));
            let json = serde_json::Value::from(text).to_string();
            forms.insert(json[1..json.len() - 1].to_owned());
            forms.insert(url_encoded(text));
        }
        if let Ok(mut known) = self.forms.write() {
            for form in forms {
                known.insert((std::cmp::Reverse(form.len()), form));
            }
        }
    }

    /// Returns the secrets that were learned after the first `known` ones. Only what is sealed may hold them.
    pub fn learned_since(&self, known: usize) -> Vec<String> {
        self.learned.read().map(|learned| learned.iter().skip(known).cloned().collect()).unwrap_or_default()
    }

    /// Returns `text` with every known secret masked.
    pub fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Ok(known) = self.forms.read() {
            for (_, form) in known.iter() {
                if text.contains(form.as_str()) {
                    text = text.replace(form.as_str(), "***");
                }
            }
        }
        text
    }

    /// Returns `value` with every known secret masked, in keys and texts at any depth.
    pub fn mask_value(&self, value: &super::Value) -> super::Value {
        use super::Value;
        match value {
            Value::Str(text) => Value::from(self.mask(text)),
            Value::Lazy(_) => Value::from(self.mask(&value.to_string())),
            Value::List(items) => Value::list(items.iter().map(|item| self.mask_value(item))),
            Value::Map(map) => Value::map(map.iter().map(|(key, item)| {
                let key = key.as_str().map_or_else(|| key.clone(), |text| self.mask(text).into());
                (key, self.mask_value(item))
            })),
            other => other.clone(),
        }
    }
}

/// Words that are no secret whatever a user says of them: masking them would spoil every output.
fn is_common(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "none" | "null" | "root" | "localhost" | "present" | "absent")
}

fn url_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_secret_is_masked() {
        let redactor = Redactor::default();
        redactor.learn("p\"ss word/1");
        for text in ["p\"ss word/1", "p\\\"ss word/1", "p%22ss%20word%2F1", "cCJzcyB3b3JkLzE="] {
            assert_eq!(redactor.mask(&format!("<{text}>")), "<***>");
        }
    }

    #[test]
    fn a_secret_within_a_secret_leaves_no_rest() {
        let redactor = Redactor::default();
        redactor.learn("hunter22");
        redactor.learn("hunter2200");
        assert_eq!(redactor.mask("hunter2200 hunter22"), "*** ***");
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new("x")), "***");
    }
}
