//! WebSockets over HTTP/2 (RFC 8441): what a stream asks for, and the handshake of HTTP/1.1 that a
//! version gets in its place.

use h2::ext::Protocol;
use http::Method;
use http::request::Parts;

use crate::h1::head::{HeadError, RequestHead};

/// The field by which the two ends of a handshake know each other.
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
    head.ask_websocket(&key(random));
}

/// Sixteen bytes in base 64.
fn key(random: u128) -> [u8; 24] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = [b'='; 24];
    // 128 bits are 21 digits of six bits and two more bits, which are the upper ones of the last.
    for (place, digit) in text[..22].iter_mut().enumerate() {
        let bits = if place < 21 { random >> (122 - 6 * place) } else { random << 4 };
        *digit = ALPHABET[(bits & 63) as usize];
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
            assert_eq!(std::str::from_utf8(&key(random)).unwrap(), expect);
        }
    }
}
