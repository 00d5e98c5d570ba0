//! Requests for certificates (PKCS#10): made of a private key, and read again.

use std::net::IpAddr;

use rcgen::string::{Ia5String, PrintableString};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, SanType};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use super::private_key::{CertificateError, PrivateKey, unfit, unreadable};

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestWish {
    /// Parts of the subject in order: short name (`CN`, `O`, `OU`, `C`, `ST`, `L`, `emailAddress`) and text.
    pub subject: Vec<(String, String)>,
    /// Other names: `DNS:a`, `IP:192.0.2.1`, `email:a@b`, `URI:https://a`.
    pub names: Vec<String>,
}

/// Returns the request, PEM, signed with the key.
///
/// # Errors
/// When a name does not fit where it stands, or the key cannot sign.
pub fn make(wish: &RequestWish, key: &PrivateKey) -> Result<String, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, text) in &wish.subject {
        let wrong = || unfit(format!("`{text}` has letters that `{kind}` cannot have"));
        // As OpenSSL writes them, so that its own comparisons hold.
        let value = match kind.as_str() {
            "C" => DnValue::PrintableString(PrintableString::try_from(text.as_str()).map_err(|_| wrong())?),
            "emailAddress" => DnValue::Ia5String(Ia5String::try_from(text.as_str()).map_err(|_| wrong())?),
            _ => DnValue::Utf8String(text.clone()),
        };
        params.distinguished_name.push(kind_of(kind)?, value);
    }
    let ia5 = |text: &str| Ia5String::try_from(text).map_err(|_| unfit(format!("`{text}` has letters that such a name cannot have")));
    for name in &wish.names {
        let (kind, text) =
            name.split_once(':').ok_or_else(|| unfit(format!("`{name}` has to begin with what it is, as in `DNS:{name}`")))?;
        params.subject_alt_names.push(match kind.to_lowercase().as_str() {
            "dns" => SanType::DnsName(ia5(text)?),
            "email" => SanType::Rfc822Name(ia5(text)?),
            "uri" => SanType::URI(ia5(text)?),
            "ip" => SanType::IpAddress(text.parse::<IpAddr>().map_err(|_| unfit(format!("`{text}` is not an address")))?),
            other => return Err(unfit(format!("names of the kind `{other}` are not supported"))),
        });
    }
    let request = params.serialize_request(&key.pair()?).map_err(|error| unfit(format!("the request cannot be made: {error}")))?;
    request.pem().map_err(|error| unfit(format!("the request cannot be written: {error}")))
}

fn kind_of(short: &str) -> Result<DnType, CertificateError> {
    Ok(match short {
        "CN" => DnType::CommonName,
        "O" => DnType::OrganizationName,
        "OU" => DnType::OrganizationalUnitName,
        "C" => DnType::CountryName,
        "ST" => DnType::StateOrProvinceName,
        "L" => DnType::LocalityName,
        "emailAddress" => DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]),
        other => return Err(unfit(format!("the subject cannot have `{other}`"))),
    })
}

/// Returns what a request asks for, and whether it is of this key.
///
/// # Errors
/// When it is no request.
pub fn read(pem: &[u8], key: &PrivateKey) -> Result<(RequestWish, bool), CertificateError> {
    let wrong = |_| unreadable("this is no request for a certificate");
    let parsed = pem::parse(pem).map_err(|error| unreadable(format!("this is no PEM text: {error}")))?;
    let (_, request) = X509CertificationRequest::from_der(parsed.contents()).map_err(wrong)?;
    let mut wish = RequestWish::default();
    for attribute in request.certification_request_info.subject.iter_attributes() {
        let kind = match attribute.attr_type().to_id_string().as_str() {
            "2.5.4.3" => "CN",
            "2.5.4.10" => "O",
            "2.5.4.11" => "OU",
            "2.5.4.6" => "C",
            "2.5.4.8" => "ST",
            "2.5.4.7" => "L",
            "1.2.840.113549.1.9.1" => "emailAddress",
            _ => "?",
        };
        wish.subject.push((kind.to_owned(), attribute.as_str().unwrap_or_default().to_owned()));
    }
    for extension in request.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension {
            wish.names.extend(names.general_names.iter().map(shown));
        }
    }
    let own = key.pair()?;
    let is_of_key = request.certification_request_info.subject_pki.subject_public_key.data.as_ref() == own.public_key_raw();
    Ok((wish, is_of_key))
}

fn shown(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(text) => format!("DNS:{text}"),
        GeneralName::RFC822Name(text) => format!("email:{text}"),
        GeneralName::URI(text) => format!("URI:{text}"),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(four), _) => format!("IP:{}", IpAddr::from(four)),
            (_, Ok(sixteen)) => format!("IP:{}", IpAddr::from(sixteen)),
            _ => "IP:?".to_owned(),
        },
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::private_key::KeyKind;

    #[test]
    fn what_is_asked_for_is_read_again() {
        let key = PrivateKey::generate(KeyKind::EcP256).expect("a key");
        let wish = RequestWish {
            subject: [("C", "DE"), ("CN", "example.net"), ("emailAddress", "a@example.net")]
                .map(|(kind, text)| (kind.into(), text.into()))
                .to_vec(),
            names: ["DNS:example.net", "IP:192.0.2.1"].map(str::to_owned).to_vec(),
        };
        let pem = make(&wish, &key).expect("a request");
        assert_eq!(read(pem.as_bytes(), &key), Ok((wish.clone(), true)));
        let other = PrivateKey::generate(KeyKind::EcP256).expect("a key");
        assert_eq!(read(pem.as_bytes(), &other), Ok((wish, false)));
        assert!(read(b"hello", &key).is_err());
    }
}
