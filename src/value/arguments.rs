//! A module's arguments: from a dictionary of values to the module's own struct, with the conversions that
//! playbooks rely on (`"yes"` is true, `"80"` is 80, `a,b` is a list of two, a single item is a list of one).

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::{Key, Map, Value};

/// An argument that does not fit, and which.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Misfit {
    /// The argument, dotted where it is nested; empty when the whole is meant.
    pub argument: String,
    /// What is wrong, for a person.
    pub message: String,
}

impl de::Error for Misfit {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self { argument: String::new(), message: message.to_string() }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let known: Vec<_> = expected.iter().filter(|name| !name.starts_with('_')).copied().collect();
        Self { argument: field.to_owned(), message: format!("unknown argument `{field}`; known are {}", known.join(", ")) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { argument: String::new(), message: format!("missing required arguments: {field}") }
    }
}

impl Misfit {
    fn within(mut self, key: &str) -> Self {
        if self.argument.is_empty() {
            self.argument = key.to_owned();
        } else if self.argument != key {
            self.argument = format!("{key}.{}", self.argument);
        }
        self
    }
}

/// Returns the arguments as `T`.
///
/// # Errors
/// Says which argument does not fit and why.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, Misfit> {
    T::deserialize(Reader(value))
}

/// Returns the arguments in `map` as `T`.
///
/// # Errors
/// As [`from_value`].
pub fn from_map<T: DeserializeOwned>(map: &Map) -> Result<T, Misfit> {
    T::deserialize(MapReader { entries: map.iter(), value: None, map })
}

/// Returns the boolean that Ansible's users mean by `value`.
pub fn to_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Int(0) => Some(false),
        Value::Int(1) => Some(true),
        Value::Float(number) if *number == 0.0 => Some(false),
        Value::Float(number) if (*number - 1.0).abs() < f64::EPSILON => Some(true),
        Value::Str(text) => match text.trim().to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "y" | "t" | "1" | "1.0" => Some(true),
            "no" | "false" | "off" | "n" | "f" | "0" | "0.0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// The name by which [`Anything`] asks for the value as it is.
const ANYTHING: &str = "windlass::Anything";

/// An argument of any type, as it was given: unknown parts stay unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Anything(pub Value);

impl<'de> de::Deserialize<'de> for Anything {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Anything;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an argument")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Anything, E> {
                postcard::from_bytes(bytes).map(Anything).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_newtype_struct(ANYTHING, Bytes)
    }
}

impl schemars::JsonSchema for Anything {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Anything".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        true.into()
    }
}

struct Reader<'a>(&'a Value);

fn wrong(value: &Value, wanted: &str) -> Misfit {
    let shown = match value {
        Value::List(_) | Value::Map(_) => value.type_name().to_owned(),
        other => format!("`{other}` ({})", other.type_name()),
    };
    de::Error::custom(format!("{shown} is not {wanted}"))
}

impl<'de> Reader<'_> {
    fn int<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Int(number) => visitor.visit_i64(*number),
            Value::Bool(flag) => visitor.visit_i64(i64::from(*flag)),
            #[allow(clippy::cast_possible_truncation)]
            Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e18 => visitor.visit_i64(*number as i64),
            Value::Str(text) => match text.trim().parse() {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => Err(wrong(self.0, "a whole number: unable to convert to int")),
            },
            other => Err(wrong(other, "a whole number: unable to convert to int")),
        }
    }

    fn float<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Str(text) => match text.trim().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(wrong(self.0, "a number: unable to convert to int or float")),
            },
            other => match other.number() {
                Some(number) => visitor.visit_f64(number.float()),
                None => Err(wrong(other, "a number: unable to convert to int or float")),
            },
        }
    }

    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Str(text) => visitor.visit_str(text),
            Value::List(_) | Value::Map(_) => Err(wrong(self.0, "a text")),
            other => visitor.visit_string(other.to_string()),
        }
    }
}

macro_rules! forward {
    ($to:ident: $($name:ident)*) => { $(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> { self.$to(visitor) }
    )* };
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Int(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Str(text) => visitor.visit_str(text),
            Value::Lazy(_) | Value::Unknown(_) => visitor.visit_string(self.0.to_string()),
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Map(map) => visitor.visit_map(MapReader { entries: map.iter(), value: None, map }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match to_bool(self.0) {
            Some(flag) => visitor.visit_bool(flag),
            None => Err(wrong(self.0, "a valid boolean: write yes or no")),
        }
    }

    forward!(int: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);
    forward!(float: deserialize_f32 deserialize_f64);
    forward!(text: deserialize_str deserialize_string deserialize_char deserialize_identifier deserialize_bytes deserialize_byte_buf);
    forward!(deserialize_any: deserialize_ignored_any deserialize_unit);

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        if name == ANYTHING {
            // Serde has no word for `Lazy` and `Unknown`: the value goes through it as bytes.
            return visitor.visit_byte_buf(postcard::to_stdvec(self.0).map_err(de::Error::custom)?);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Str(text) if text.is_empty() => visitor.visit_seq(Items([].iter())),
            Value::Str(text) => {
                let items: Vec<_> = text.split(',').map(|item| Value::str(item.trim())).collect();
                visitor.visit_seq(Items(items.iter()))
            }
            Value::Map(_) => Err(wrong(self.0, "a list")),
            single => visitor.visit_seq(Items(std::slice::from_ref(single).iter())),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, _: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Map(map) => visitor.visit_map(MapReader { entries: map.iter(), value: None, map }),
            Value::Str(text) if text.trim_start().starts_with('{') => match serde_json::from_str(text) {
                Ok(json) => Reader(&super::json::from_json(&json)).deserialize_map(visitor),
                Err(_) => Err(wrong(self.0, "a dictionary")),
            },
            other => Err(wrong(other, "a dictionary")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, variants: &'static [&'static str], visitor: V) -> Result<V::Value, Misfit> {
        let text = match self.0 {
            // `state: yes` and the like: YAML made a boolean of a word.
            Value::Bool(true) if variants.contains(&"yes") => "yes".to_owned(),
            Value::Bool(false) if variants.contains(&"no") => "no".to_owned(),
            Value::List(_) | Value::Map(_) => return Err(wrong(self.0, &format!("one of {}", variants.join(", ")))),
            other => other.to_string(),
        };
        if variants.contains(&text.as_str()) {
            visitor.visit_enum(text.into_deserializer())
        } else {
            // Aliases are not among `variants`; let serde decide, but with a message of ours.
            visitor
                .visit_enum(IntoDeserializer::<Misfit>::into_deserializer(text.as_str()))
                .map_err(|_| wrong(self.0, &format!("one of {}", variants.join(", "))))
        }
    }
}

struct Items<'a>(std::slice::Iter<'a, Value>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        self.0.next().map(|item| seed.deserialize(Reader(item))).transpose()
    }
}

struct MapReader<'a> {
    entries: indexmap::map::Iter<'a, Key, Value>,
    value: Option<(&'a Key, &'a Value)>,
    map: &'a Map,
}

impl<'de> MapAccess<'de> for MapReader<'_> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some((key, value));
        seed.deserialize(Reader(&key.to_value())).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let Some((key, value)) = self.value.take() else { return Err(de::Error::custom("a value without a key")) };
        seed.deserialize(Reader(value)).map_err(|misfit| misfit.within(&key.to_string()))
    }
}

impl<'de> de::Deserializer<'de> for MapReader<'_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_map(MapReader { entries: self.map.iter(), value: None, map: self.map })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(alias = "dest")]
        path: String,
        #[serde(default)]
        force: bool,
        #[serde(default)]
        names: Vec<String>,
        port: Option<u16>,
    }

    #[test]
    fn texts_become_what_the_module_wants() {
        let value = Value::map([
            ("dest", Value::str("/x")),
            ("force", Value::str("yes")),
            ("names", Value::str("a, b")),
            ("port", Value::str("80")),
        ]);
        let sample: Sample = from_value(&value).expect("fits");
        assert_eq!(sample, Sample { path: "/x".into(), force: true, names: vec!["a".into(), "b".into()], port: Some(80) });
    }

    #[test]
    fn an_argument_of_any_type_stays_as_it_is() {
        #[derive(Debug, Deserialize)]
        struct Loose {
            body: Option<Anything>,
        }
        let body = Value::map([("a", Value::list([Value::unknown("not run"), Value::Int(1), Value::Null]))]);
        let loose: Loose = from_value(&Value::map([("body", body.clone())])).expect("fits");
        assert_eq!(loose.body, Some(Anything(body)));
    }

    #[test]
    fn a_misfit_names_its_argument() {
        let value = Value::map([("path", Value::str("/x")), ("port", Value::str("many"))]);
        let misfit = from_value::<Sample>(&value).expect_err("does not fit");
        assert_eq!(
            (misfit.argument.as_str(), misfit.message.as_str()),
            ("port", "`many` (str) is not a whole number: unable to convert to int")
        );
        let value = Value::map([("path", Value::str("/x")), ("prot", Value::Int(1))]);
        assert_eq!(from_value::<Sample>(&value).expect_err("unknown").argument, "prot");
    }
}
