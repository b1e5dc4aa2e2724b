//! WebSockets over HTTP/2 (RFC 8441): what a stream asks for, and the handshake of HTTP/1.1 that
//! stands for it where one of the two sides speaks that.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use h2::ext::Protocol;
use http::Method;
use http::request::Parts;

use crate::h1::head::{HeadError, RequestHead};

/// The fields by which the two ends of a handshake know each other.
pub const KEY: &str = "sec-websocket-key";
pub const ACCEPT: &str = "sec-websocket-accept";

/// Whether a stream asks for a websocket.
///
/// # Errors
/// It asks for something else to be carried over it.
pub fn is_asked(parts: &Parts) -> Result<bool, HeadError> {
    match parts.extensions.get::<Protocol>() {
        Some(protocol) if parts.method == Method::CONNECT => match protocol.as_str() {
            "websocket" => Ok(true),
            _ => Err(HeadError::NotImplemented("protocol")),
        },
        _ => Ok(false),
    }
}

/// Makes a head that was read as a GET the handshake of a websocket. HTTP/2 has no key; a server of
/// HTTP/1.1 wants one.
pub fn ask(head: &mut RequestHead, random: u128) {
    head.ask_websocket(base64(&random.to_be_bytes()).as_bytes());
}

/// What a server of HTTP/1.1 answers to a key (RFC 6455 §4.2.2): by HTTP/2 nobody does.
pub fn accept(key: &[u8]) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat()).as_ref())
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let is_there = digit <= three.len();
            let place = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if is_there { char::from(ALPHABET[place]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sixteen_bytes_in_base_64() {
        let cases = [
            (0, "AAAAAAAAAAAAAAAAAAAAAA=="),
            (u128::MAX, "/////////////////////w=="),
            (u128::from_be_bytes(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (random, expect) in cases {
            assert_eq!(base64(&random.to_be_bytes()), expect);
        }
    }

    #[test]
    fn a_key_has_one_answer() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
