//! Who the certificate of a client says it is, as one value of a field.
//!
//! The form is Envoy's `X-Forwarded-Client-Cert`: `Hash=…;Subject="…";URI=…;DNS=…`. Whoever wrote the
//! certificate chose its names, so that nothing in them may end the value or begin another part.

use std::fmt::Write as _;

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::limits::CLIENT_CERT_TEXT_BYTES_MAX;

/// The value for a certificate that was verified: its SHA-256 alone where the names are too long, or
/// cannot be read.
pub fn describe(cert: &CertificateDer<'_>) -> Option<String> {
    let sha256 = TLS13_AES_128_GCM_SHA256.tls13()?.common.hash_provider;
    let mut value = String::from("Hash=");
    for byte in sha256.hash(cert).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(value, "{byte:02x}");
    }
    let names = names(cert).filter(|names| names.len() <= CLIENT_CERT_TEXT_BYTES_MAX);
    Some(value + &names.unwrap_or_default())
}

fn names(cert: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(cert).ok()?;
    let end_entity = webpki::EndEntityCert::try_from(cert).ok()?;
    let mut names = format!(";Subject=\"{}\"", quoted(&parsed.subject().to_string()));
    for uri in end_entity.valid_uri_names() {
        let _ = write!(names, ";URI=\"{}\"", quoted(uri));
    }
    for name in end_entity.valid_dns_names() {
        let _ = write!(names, ";DNS=\"{}\"", quoted(name));
    }
    Some(names)
}

/// Text between quotes: quotes and backslashes behind a backslash, what is no visible ASCII as `%XX`.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b'%' | ..b' ' | 0x7f.. => drop(write!(out, "%{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(subject: &str, names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, subject);
        let key = rcgen::KeyPair::generate().unwrap();
        describe(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn a_certificate_is_told_by_its_hash_and_its_names() {
        let value = described("till 7", &["till.shop.test", "b.test"]);
        let (hash, names) = value.split_once(';').unwrap();
        let hash = hash.strip_prefix("Hash=").unwrap();
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        assert_eq!(names, "Subject=\"CN=till 7\";DNS=\"till.shop.test\";DNS=\"b.test\"");
    }

    #[test]
    fn no_name_ends_the_value_or_begins_another_part() {
        let cases = [
            ("a\";Subject=\"CN=root", "CN=a\\\";Subject=\\\"CN=root"),
            ("a\\", "CN=a\\\\"),
            ("a\r\nx: y", "CN=a%0D%0Ax: y"),
            ("kö%41", "CN=k%C3%B6%2541"),
        ];
        for (subject, expect) in cases {
            let value = described(subject, &[]);
            let found = value.split_once(";Subject=\"").unwrap().1.strip_suffix('"').unwrap();
            assert_eq!(found, expect, "{subject}");
        }
    }

    #[test]
    fn names_that_are_too_long_are_left_out() {
        let value = described(&"x".repeat(CLIENT_CERT_TEXT_BYTES_MAX), &[]);
        assert_eq!(value.len(), "Hash=".len() + 64);
    }
}
