//! Texts and the bytes they stand for: text encodings, and bytes that are no text but must come through unharmed.
//!
//! A [`Value`](super::Value) holds text. Where bytes that are no UTF-8 have to go through one (a binary file out of
//! base64, a configuration in Latin-1), each such byte becomes a character of the last private plane, which no text uses,
//! and becomes the byte again where the text is written to a file or encoded.

/// What is added to a byte to make its character; only bytes from 0x80 on are ever no UTF-8.
const ESCAPE: u32 = 0x10_FF00;

/// Returns bytes as a text from which [`raw`] makes the same bytes again.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(ESCAPE + u32::from(*byte))));
    }
    text
}

/// Returns the bytes of a text: UTF-8, and what [`escaped`] made of other bytes.
pub fn raw(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte_of(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

fn byte_of(c: char) -> Option<u8> {
    (c as u32).checked_sub(ESCAPE).and_then(|byte| u8::try_from(byte).ok()).filter(|byte| *byte >= 0x80)
}

/// A way to write a text as bytes.
enum Encoding {
    Utf8 {
        mark: bool,
    },
    /// Bytes of a unit, the least significant first or last, and whether a mark says so.
    Wide {
        unit: usize,
        little: bool,
        mark: bool,
    },
    /// One byte a character, up to this one.
    Narrow(u32),
    Table(&'static encoding_rs::Encoding),
}

/// Returns the encoding that a name stands for, as Python and the web write such names.
fn named(name: &str) -> Result<Encoding, String> {
    let plain: String = name.trim().to_ascii_lowercase().replace('_', "-");
    Ok(match plain.as_str() {
        "" | "utf-8" | "utf8" | "u8" => Encoding::Utf8 { mark: false },
        "utf-8-sig" => Encoding::Utf8 { mark: true },
        "utf-16" | "utf16" => Encoding::Wide { unit: 2, little: true, mark: true },
        "utf-16-le" | "utf-16le" => Encoding::Wide { unit: 2, little: true, mark: false },
        "utf-16-be" | "utf-16be" => Encoding::Wide { unit: 2, little: false, mark: false },
        "utf-32" | "utf32" => Encoding::Wide { unit: 4, little: true, mark: true },
        "utf-32-le" | "utf-32le" => Encoding::Wide { unit: 4, little: true, mark: false },
        "utf-32-be" | "utf-32be" => Encoding::Wide { unit: 4, little: false, mark: false },
        "ascii" | "us-ascii" | "646" => Encoding::Narrow(0x7F),
        "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" | "8859" | "l1" => Encoding::Narrow(0xFF),
        other => match encoding_rs::Encoding::for_label(other.as_bytes()) {
            Some(table) => Encoding::Table(table),
            None => return Err(format!("unknown encoding: {name}")),
        },
    })
}

/// Returns a text in an encoding. An empty name means UTF-8.
///
/// # Errors
/// When the encoding is unknown, or does not have a character.
pub fn encode(text: &str, encoding: &str) -> Result<Vec<u8>, String> {
    let missing = |c: char| format!("the encoding {encoding} does not have the character `{c}`");
    Ok(match named(encoding)? {
        Encoding::Utf8 { mark: false } => raw(text),
        Encoding::Utf8 { mark: true } => [b"\xEF\xBB\xBF".as_slice(), &raw(text)].concat(),
        Encoding::Wide { unit, little, mark } => {
            let marked = if mark { "\u{FEFF}" } else { "" };
            let mut bytes = Vec::with_capacity(text.len() * unit);
            for c in marked.chars().chain(text.chars()) {
                let mut push = |number: u32| {
                    let whole = if little { number.to_le_bytes() } else { number.to_be_bytes() };
                    bytes.extend_from_slice(if little { &whole[..unit] } else { &whole[4 - unit..] });
                };
                match unit {
                    2 => c.encode_utf16(&mut [0; 2]).iter().for_each(|half| push(u32::from(*half))),
                    _ => push(c as u32),
                }
            }
            bytes
        }
        Encoding::Narrow(last) => {
            let byte = |c: char| match byte_of(c) {
                Some(byte) => Ok(byte),
                None => u8::try_from(c as u32).ok().filter(|byte| u32::from(*byte) <= last).ok_or_else(|| missing(c)),
            };
            text.chars().map(byte).collect::<Result<_, _>>()?
        }
        Encoding::Table(table) => {
            let lacks = |c: &char| table.encode(c.encode_utf8(&mut [0; 4])).2;
            match table.encode(text) {
                (bytes, _, false) => bytes.into_owned(),
                _ => return Err(missing(text.chars().find(lacks).unwrap_or('?'))),
            }
        }
    })
}

/// Returns the text of bytes in an encoding. An empty name means UTF-8.
///
/// # Errors
/// When the encoding is unknown, or the bytes are none of it.
pub fn decode(bytes: &[u8], encoding: &str) -> Result<String, String> {
    let wrong = || format!("the bytes are no text in the encoding {encoding}");
    match named(encoding)? {
        Encoding::Utf8 { mark } => {
            let bytes = if mark { bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes) } else { bytes };
            String::from_utf8(bytes.to_vec()).map_err(|_| wrong())
        }
        Encoding::Wide { unit, little, mark } => {
            let pieces = bytes.chunks_exact(unit);
            if !pieces.remainder().is_empty() {
                return Err(wrong());
            }
            let number = |piece: &[u8], little: bool| {
                let digits = piece.iter().enumerate();
                digits.fold(0_u32, |sum, (at, byte)| sum | u32::from(*byte) << (8 * if little { at } else { unit - 1 - at }))
            };
            let mut numbers: Vec<u32> = pieces.clone().map(|piece| number(piece, little)).collect();
            if mark && let Some(first) = bytes.get(..unit) {
                if number(first, !little) == 0xFEFF {
                    numbers = pieces.map(|piece| number(piece, !little)).collect();
                }
                if numbers.first() == Some(&0xFEFF) {
                    numbers.remove(0);
                }
            }
            match unit {
                2 => {
                    let halves: Option<Vec<u16>> = numbers.iter().map(|number| u16::try_from(*number).ok()).collect();
                    halves.and_then(|halves| String::from_utf16(&halves).ok()).ok_or_else(wrong)
                }
                _ => numbers.iter().map(|number| char::from_u32(*number)).collect::<Option<String>>().ok_or_else(wrong),
            }
        }
        Encoding::Narrow(last) if bytes.iter().any(|byte| u32::from(*byte) > last) => Err(wrong()),
        Encoding::Narrow(_) => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Encoding::Table(table) => match table.decode_without_bom_handling_and_without_replacement(bytes) {
            Some(text) => Ok(text.into_owned()),
            None => Err(wrong()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_come_through() {
        let all: Vec<u8> = (0..=255).chain("grün \u{10FF41}".bytes()).collect();
        assert_eq!(raw(&escaped(&all)), all);
        assert_eq!(escaped("grün".as_bytes()), "grün");
    }

    #[test]
    fn texts_are_encoded_and_decoded() {
        for (name, text, bytes) in [
            ("", "ü€", &b"\xC3\xBC\xE2\x82\xAC"[..]),
            ("utf-8-sig", "a", b"\xEF\xBB\xBFa"),
            ("UTF_16_LE", "a€", b"a\0\xAC\x20"),
            ("utf-16", "a", b"\xFF\xFEa\0"),
            ("utf-16-be", "\u{1F600}", b"\xD8\x3D\xDE\x00"),
            ("utf-32-be", "a", b"\0\0\0a"),
            ("latin-1", "é", b"\xE9"),
            ("windows-1252", "€", b"\x80"),
            ("cp1252", "é", b"\xE9"),
            ("shift_jis", "あ", b"\x82\xA0"),
        ] {
            assert_eq!(encode(text, name).as_deref(), Ok(bytes), "{name}");
            assert_eq!(decode(bytes, name).as_deref(), Ok(text), "{name}");
        }
        assert_eq!(encode("a€", "ascii"), Err("the encoding ascii does not have the character `€`".to_owned()));
        assert_eq!(encode("aあ", "windows-1252"), Err("the encoding windows-1252 does not have the character `あ`".to_owned()));
        assert!(decode(b"\xFF", "utf-8").is_err() && decode(b"abc", "utf-16").is_err() && encode("", "nonsense").is_err());
        assert_eq!(decode(b"\xFE\xFF\0a", "utf-16").as_deref(), Ok("a"), "the mark tells the order");
    }
}
