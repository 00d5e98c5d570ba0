//! X.509 certificates: made, read and compared.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, SigningKey as _,
};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use time::OffsetDateTime;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::private_key::{CertificateError, PrivateKey, der, kind_of, text_of, unfit, unreadable};

/// How much earlier than now a certificate begins to hold, so that a host whose clock is a little late takes it too.
pub const BACK_DATED: i64 = 300;

/// A certificate, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate itself.
    pub der: Vec<u8>,
    /// Whom it is for, as RFC 4514 writes names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The serial number, hex with colons.
    pub serial: String,
    /// First second of validity, since 1970.
    pub not_before: i64,
    /// Last second of validity.
    pub not_after: i64,
    /// DNS names, lower case, sorted.
    pub dns: Vec<String>,
    /// Addresses, sorted.
    pub ip: Vec<IpAddr>,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// `ec-p256`, `rsa-2048`, ...
    pub key_kind: String,
    /// SHA-256 of the certificate, hex with colons.
    pub fingerprint: String,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        let (_, parsed) = X509Certificate::from_der(bytes).map_err(|_| unreadable("this is no certificate"))?;
        let (mut dns, mut ip) = (Vec::new(), Vec::new());
        for extension in parsed.extensions() {
            let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else { continue };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(name) => dns.push(name.to_ascii_lowercase()),
                    GeneralName::IPAddress(bytes) => ip.extend(address(bytes)),
                    _ => {}
                }
            }
        }
        dns.sort();
        ip.sort();
        Ok(Self {
            der: bytes.to_vec(),
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            serial: parsed.raw_serial_as_string(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            dns,
            ip,
            is_ca: parsed.is_ca(),
            key_kind: kind_of(parsed.public_key()),
            fingerprint: colons(digest(&SHA256, bytes).as_ref()),
        })
    }

    /// Reads every certificate of a PEM text, in order.
    ///
    /// # Errors
    /// When there is none, or one is damaged.
    pub fn from_pem(text: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let blocks = pem::parse_many(text).map_err(|_| unreadable("this is no PEM text"))?;
        let found: Result<Vec<_>, _> =
            blocks.iter().filter(|block| block.tag() == "CERTIFICATE").map(|block| Self::from_der(block.contents())).collect();
        found.and_then(|found| if found.is_empty() { Err(unreadable("there is no certificate in it")) } else { Ok(found) })
    }

    /// Returns the certificate as PEM.
    pub fn to_pem(&self) -> String {
        text_of("CERTIFICATE", &self.der)
    }

    /// Whether it is its own issuer.
    pub fn is_self_signed(&self) -> bool {
        self.is_signed_by(self)
    }

    /// Whether `other` signed it: by name, and by the signature itself.
    pub fn is_signed_by(&self, other: &Self) -> bool {
        let (Ok((_, mine)), Ok((_, theirs))) = (X509Certificate::from_der(&self.der), X509Certificate::from_der(&other.der)) else {
            return false;
        };
        mine.issuer().as_raw() == theirs.subject().as_raw() && mine.verify_signature(Some(theirs.public_key())).is_ok()
    }

    /// Whether its subject is `name`: a plain one, or a full one such as `CN=node1,O=Example`.
    pub fn is_for(&self, name: &str) -> bool {
        let Ok((_, parsed)) = X509Certificate::from_der(&self.der) else { return false };
        let short = |kind: &x509_parser::der_parser::oid::Oid<'_>| {
            x509_parser::objects::oid2abbrev(kind, x509_parser::objects::oid_registry())
                .map_or_else(|_| kind.to_id_string(), str::to_ascii_uppercase)
        };
        let has: Vec<_> = parsed
            .subject()
            .iter_attributes()
            .map(|part| (short(part.attr_type()), part.as_str().unwrap_or_default().to_owned()))
            .collect();
        let wanted = parts_of(name).unwrap_or_default();
        let wanted: Vec<_> = wanted.into_iter().map(|(kind, value)| (if kind == "S" { "ST".to_owned() } else { kind }, value)).collect();
        has == wanted
    }

    /// Whether `key` is the private part of its key.
    pub fn fits(&self, key: &PrivateKey) -> bool {
        let (Ok(pair), Ok((_, parsed))) = (key.pair(), X509Certificate::from_der(&self.der)) else { return false };
        parsed.public_key().subject_public_key.data.as_ref() == pair.public_key_raw()
    }
}

/// What a new certificate shall say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// A name (`node1`) or a full one (`CN=node1,O=Example`).
    pub subject: String,
    /// DNS names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ip: Vec<IpAddr>,
    /// First second of validity, since 1970.
    pub not_before: i64,
    /// Last second of validity.
    pub not_after: i64,
}

/// Somebody who signs: a certificate and its key.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The authority's certificate.
    pub certificate: Certificate,
    /// Certificates between it and the root, nearest first, the root too where it is known.
    pub chain: Vec<Certificate>,
    /// Its key.
    pub key: PrivateKey,
}

impl Authority {
    /// Returns an authority.
    ///
    /// # Errors
    /// When the key is not the certificate's, or the certificate must not sign.
    pub fn new(certificates: Vec<Certificate>, key: PrivateKey) -> Result<Self, CertificateError> {
        let mut certificates = certificates.into_iter();
        let certificate = certificates.next().ok_or_else(|| unreadable("there is no certificate in it"))?;
        if !certificate.is_ca {
            return Err(unfit(format!("the certificate of `{}` is no authority's: it must not sign others", certificate.subject)));
        }
        if !certificate.fits(&key) {
            return Err(unfit(format!("the key is not the one of the certificate of `{}`", certificate.subject)));
        }
        Ok(Self { certificate, chain: certificates.collect(), key })
    }

    /// Signs a certificate for `key`. It never outlives the authority.
    ///
    /// # Errors
    /// When a name does not fit.
    pub fn issue(&self, wish: &Wish, key: &PrivateKey) -> Result<Certificate, CertificateError> {
        let mut wish = wish.clone();
        wish.not_before = wish.not_before.max(self.certificate.not_before);
        wish.not_after = wish.not_after.min(self.certificate.not_after);
        let pair = self.key.pair()?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate.der.as_slice().into(), &pair).map_err(made)?;
        let signed = leaf(&wish)?.signed_by(&key.pair()?, &issuer).map_err(made)?;
        self.with_exact_issuer(signed.der(), &pair)
    }

    /// Puts the authority's own name, byte by byte, where the issuer stands: a name that is only equal in meaning (another
    /// string type, two parts of one kind) is another name for those who verify.
    fn with_exact_issuer(&self, signed: &[u8], pair: &KeyPair) -> Result<Certificate, CertificateError> {
        let lost = || unreadable("the new certificate cannot be read back");
        let (_, new) = X509Certificate::from_der(signed).map_err(|_| lost())?;
        let (_, authority) = X509Certificate::from_der(&self.certificate.der).map_err(|_| lost())?;
        let (written, exact) = (new.issuer().as_raw(), authority.subject().as_raw());
        if written == exact {
            return Certificate::from_der(signed);
        }
        let body = new.tbs_certificate.as_ref();
        // The issuer is the first name in the body; the content begins after tag and length.
        let at = body.windows(written.len()).position(|window| window == written).ok_or_else(lost)?;
        let header = body.len() - content_size(body).ok_or_else(lost)?;
        let (before, after) = (body.get(header..at).ok_or_else(lost)?, body.get(at + written.len()..).ok_or_else(lost)?);
        let body = der(0x30, &[before, exact, after].concat());
        let signature = pair.sign(&body).map_err(made)?;
        let algorithm = signed.get(new_algorithm_range(signed, new.tbs_certificate.as_ref().len()).ok_or_else(lost)?).ok_or_else(lost)?;
        let signature = der(0x03, &[&[0], signature.as_slice()].concat());
        Certificate::from_der(&der(0x30, &[&body, algorithm, &signature].concat()))
    }
}

/// Returns the number of content bytes that the header of a DER element tells.
fn content_size(element: &[u8]) -> Option<usize> {
    match *element.get(1)? {
        short if short < 0x80 => Some(usize::from(short)),
        long => element
            .get(2..2 + usize::from(long & 0x7f))?
            .iter()
            .try_fold(0_usize, |size, byte| size.checked_mul(256)?.checked_add(usize::from(*byte))),
    }
}

/// Returns where the algorithm stands in a certificate whose body has this many bytes.
fn new_algorithm_range(certificate: &[u8], body: usize) -> Option<std::ops::Range<usize>> {
    let start = certificate.len().checked_sub(content_size(certificate)?)?.checked_add(body)?;
    let rest = certificate.get(start..)?;
    let header = match *rest.get(1)? {
        short if short < 0x80 => 2,
        long => 2 + usize::from(long & 0x7f),
    };
    Some(start..start + header + content_size(rest)?)
}

/// Makes a certificate that signs itself and others.
///
/// # Errors
/// When a name does not fit.
pub fn new_authority(wish: &Wish, key: &PrivateKey) -> Result<Certificate, CertificateError> {
    let mut params = common(wish)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Certificate::from_der(params.self_signed(&key.pair()?).map_err(made)?.der())
}

/// Makes a certificate that only signs itself.
///
/// # Errors
/// When a name does not fit.
pub fn new_self_signed(wish: &Wish, key: &PrivateKey) -> Result<Certificate, CertificateError> {
    Certificate::from_der(leaf(wish)?.self_signed(&key.pair()?).map_err(made)?.der())
}

fn leaf(wish: &Wish) -> Result<CertificateParams, CertificateError> {
    let mut params = common(wish)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    for name in &wish.dns {
        let name = dns_name(name)?;
        params.subject_alt_names.push(SanType::DnsName(name.try_into().map_err(made)?));
    }
    params.subject_alt_names.extend(wish.ip.iter().map(|ip| SanType::IpAddress(*ip)));
    Ok(params)
}

fn common(wish: &Wish) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(&wish.subject)?;
    params.not_before = moment(wish.not_before)?;
    params.not_after = moment(wish.not_after)?;
    params.use_authority_key_identifier_extension = true;
    let mut serial = [0; 20];
    SystemRandom::new().fill(&mut serial).map_err(|_| unfit("the system gives no random numbers"))?;
    // The number is signed and must be positive, and of full length.
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn moment(seconds: i64) -> Result<OffsetDateTime, CertificateError> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| unfit("the validity is out of range"))
}

/// Returns `name` as it goes into a certificate, lower case.
///
/// # Errors
/// When it is no DNS name.
pub fn dns_name(name: &str) -> Result<String, CertificateError> {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !label.starts_with('-')
    };
    if bare.len() > 253 || !bare.split('.').all(label) {
        return Err(unfit(format!("`{name}` is no DNS name")));
    }
    Ok(name.to_ascii_lowercase())
}

/// Returns the parts of the name that `text` writes: `node1`, or `CN=node1,O=Example`.
fn parts_of(text: &str) -> Result<Vec<(String, String)>, CertificateError> {
    if text.trim().is_empty() {
        return Err(unfit("the certificate needs a name"));
    }
    if !text.contains('=') {
        return Ok(vec![("CN".to_owned(), text.trim().to_owned())]);
    }
    let part = |part: String| {
        let (kind, value) = part.split_once('=').ok_or_else(|| unfit(format!("`{part}` in the name `{text}` is no `KIND=value`")))?;
        Ok((kind.trim().to_ascii_uppercase(), value.trim().to_owned()))
    };
    split_name(text).into_iter().map(part).collect()
}

fn distinguished_name(text: &str) -> Result<DistinguishedName, CertificateError> {
    let mut out = DistinguishedName::new();
    for (kind, value) in parts_of(text)? {
        let dn = match kind.as_str() {
            "CN" => DnType::CommonName,
            "O" => DnType::OrganizationName,
            "OU" => DnType::OrganizationalUnitName,
            "L" => DnType::LocalityName,
            "ST" | "S" => DnType::StateOrProvinceName,
            "C" => DnType::CountryName,
            "DC" => DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]),
            _ => return Err(unfit(format!("`{kind}` in the name `{text}` is not known; known are CN, O, OU, L, ST, C and DC"))),
        };
        if out.get(&dn).is_some() {
            return Err(unfit(format!("the name `{text}` has more than one `{kind}`")));
        }
        let value =
            if kind == "C" { DnValue::PrintableString(value.as_str().try_into().map_err(made)?) } else { DnValue::Utf8String(value) };
        out.push(dn, value);
    }
    Ok(out)
}

/// Splits at commas that are not behind a backslash.
fn split_name(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, parts.last_mut()) {
            (',', _) => parts.push(String::new()),
            ('\\', Some(part)) => part.extend(letters.next()),
            (letter, Some(part)) => part.push(letter),
            (_, None) => {}
        }
    }
    parts
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn made(error: rcgen::Error) -> CertificateError {
    unfit(format!("the certificate could not be made: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::private_key::KeyKind;

    const NOW: i64 = 1_800_000_000;

    fn wish(subject: &str) -> Wish {
        Wish { subject: subject.into(), not_before: NOW - BACK_DATED, not_after: NOW + 86_400, ..Wish::default() }
    }

    fn authority(kind: KeyKind, subject: &str) -> Authority {
        let key = PrivateKey::generate(kind).expect("key");
        let certificate = new_authority(&wish(subject), &key).expect("authority");
        Authority::new(vec![certificate], key).expect("fits")
    }

    #[test]
    fn a_leaf_says_what_was_asked_and_its_authority_signed_it() {
        let authority = authority(KeyKind::EcP256, "CN=Test,O=Example\\, Inc.");
        let key = PrivateKey::generate(KeyKind::EcP256).expect("key");
        let wish = Wish {
            dns: vec!["B.example.net".into(), "*.a.example.net".into()],
            ip: vec!["198.51.100.20".parse().expect("ip"), "2001:db8::1".parse().expect("ip")],
            not_after: NOW + 10 * 86_400,
            ..wish("node1")
        };
        let leaf = authority.issue(&wish, &key).expect("issues");
        assert!(leaf.is_signed_by(&authority.certificate) && !leaf.is_self_signed() && !leaf.is_ca && leaf.fits(&key));
        assert_eq!(leaf.subject, "CN=node1");
        assert_eq!(leaf.issuer, authority.certificate.subject);
        assert_eq!(leaf.dns, ["*.a.example.net", "b.example.net"]);
        assert_eq!(leaf.ip, wish.ip);
        assert_eq!(leaf.not_after, authority.certificate.not_after, "not beyond the authority");
        assert_eq!(leaf.key_kind, "ec-p256");
        assert_eq!(leaf.serial.len(), 20 * 3 - 1);
        assert!(leaf.is_for("node1") && leaf.is_for("cn=node1") && !leaf.is_for("node2"));
        assert!(authority.certificate.is_for("CN=Test, O=Example\\, Inc."));
    }

    #[test]
    fn another_authority_of_the_same_name_is_another_authority() {
        let (one, two) = (authority(KeyKind::EcP256, "CA"), authority(KeyKind::EcP256, "CA"));
        let leaf = one.issue(&wish("x"), &PrivateKey::generate(KeyKind::EcP256).expect("key")).expect("issues");
        assert!(leaf.is_signed_by(&one.certificate));
        assert!(!leaf.is_signed_by(&two.certificate));
        assert!(Authority::new(vec![one.certificate.clone()], two.key).is_err(), "the key of another");
        assert!(Authority::new(vec![leaf], one.key).is_err(), "a leaf signs nothing");
    }

    #[test]
    fn names_are_checked() {
        for bad in ["", "a b", "-a", "a..b", "x/y"] {
            assert!(dns_name(bad).is_err(), "{bad}");
        }
        for bad in ["", "CN=a,CN=b", "X=1", "CN=a,b", "C=ä"] {
            assert!(distinguished_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rsa_signs_too() {
        let authority = authority(KeyKind::Rsa2048, "CA");
        let key = PrivateKey::generate(KeyKind::EcP256).expect("key");
        let leaf = authority.issue(&wish("x"), &key).expect("issues");
        assert!(leaf.is_signed_by(&authority.certificate));
        assert_eq!(authority.certificate.key_kind, "rsa-2048");
    }
}
