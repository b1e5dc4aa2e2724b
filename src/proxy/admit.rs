//! What a request becomes before it goes up: forwarded fields by trust, ids, nothing hop-by-hop.

use std::net::IpAddr;

use crate::h1::fields::{Field, Fields, Known};
use crate::h1::head::{Framing, RequestHead};
use crate::h1::write;
use crate::route::matcher::RequestView;
use crate::route::{Action, FieldEdits, Found, PathEdit};
use crate::snapshot::EdgePolicy;

impl<'a> From<&'a RequestHead> for RequestView<'a> {
    fn from(head: &'a RequestHead) -> Self {
        Self {
            method: head.method,
            method_text: head.method_text(),
            host: head.host(),
            path: head.path(),
            query: head.query(),
            fields: &head.fields,
        }
    }
}

/// Whether what a peer says of others is believed.
pub fn is_trusted(edge: &EdgePolicy, address: IpAddr) -> bool {
    edge.trusted_proxies.iter().any(|net| net.contains(&address))
}

/// Who the client is: the peer, or, behind trusted proxies, the rightmost address that is none.
pub fn client_of(edge: &EdgePolicy, peer: IpAddr, fields: &Fields) -> IpAddr {
    if !is_trusted(edge, peer) {
        return peer;
    }
    let lines: Vec<&[u8]> = fields.all(Known::XForwardedFor).collect();
    let mut client = peer;
    for item in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        let text = std::str::from_utf8(item).unwrap_or_default().trim();
        let Some(address) = parse_address(text) else { break };
        client = address;
        if !is_trusted(edge, address) {
            break;
        }
    }
    client
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.split(']').next()).unwrap_or(text);
    let parsed: Option<IpAddr> = bare.parse().ok();
    parsed.or_else(|| bare.split_once(':')?.0.parse().ok()).map(|ip: IpAddr| ip.to_canonical())
}

/// What is known of a request besides its head, as far as it is told upstream.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    pub edge: &'a EdgePolicy,
    /// The other end of the connection, whoever the client may be.
    pub peer: IpAddr,
    /// `https` or `http`.
    pub scheme: &'static str,
    pub request_id: &'a [u8],
    /// Who the client is by the certificate that it showed on this connection.
    pub client_cert: Option<&'a str>,
    /// Gives 64 uniform bits: the ids of a trace that begins here.
    pub random: &'a dyn Fn() -> u64,
}

/// Writes the head that goes up. `framing` is that of the body as it will be sent.
pub fn upstream_head(
    out: &mut Vec<u8>,
    arrival: Arrival<'_>,
    head: &RequestHead,
    found: &Found<'_>,
    framing: Framing,
) {
    let keep = PathEdit::Keep;
    let edit = match &found.route.action {
        Action::Forward { path, .. } => path,
        Action::Redirect(_) => &keep,
    };
    let path = edit.rewrite(head.path(), found.matched_prefix);
    let edits = &found.route.request_fields;
    write::request_line(out, head.method_text(), &path, head.query());
    if !head.authority().is_empty() && !edits.drops(b"host") {
        write::field(out, b"host", head.authority().as_bytes());
    }
    let trusted = is_trusted(arrival.edge, arrival.peer);
    head.fields.write(out, |field| {
        !field.hop && passes_up(field, &arrival, trusted) && !edits.drops(field.name())
    });
    forwarded(out, arrival, head, trusted, edits);
    // gRPC servers refuse a client that cannot take trailers.
    if head.te_trailers && !edits.drops(b"te") {
        out.extend_from_slice(b"te: trailers\r\n");
        if !head.websocket {
            out.extend_from_slice(b"connection: te\r\n");
        }
    }
    if head.websocket {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    }
    for (name, value) in edits.set.iter().chain(&edits.add) {
        write::field(out, name.as_bytes(), value.as_bytes());
    }
    match framing {
        // A method that usually has a body says that it has none.
        Framing::None if head.framing == Framing::Length(0) => write::framing(out, head.framing),
        framing => write::framing(out, framing),
    }
    write::end(out);
}

fn passes_up(field: &Field<'_>, arrival: &Arrival<'_>, trusted: bool) -> bool {
    match field.known {
        Known::Host | Known::ContentLength | Known::Expect => false,
        Known::XForwardedFor | Known::XForwardedHost | Known::XForwardedProto => false,
        Known::XRequestId => false,
        Known::Forwarded => trusted && !arrival.edge.forwarded,
        Known::XForwardedClientCert => trusted && arrival.client_cert.is_none(),
        Known::Traceparent => is_traceparent(field.value()),
        // A client that could mark its request as a copy would have it served for nobody.
        Known::XTidegateShadow => trusted,
        // Which version a request goes to is for this proxy to say.
        Known::XTidegateVersion => false,
        _ => true,
    }
}

fn forwarded(
    out: &mut Vec<u8>,
    arrival: Arrival<'_>,
    head: &RequestHead,
    trusted: bool,
    edits: &FieldEdits,
) {
    let believed = |known| head.fields.get(known).filter(|_| trusted);
    if !edits.drops(b"x-forwarded-for") {
        out.extend_from_slice(b"x-forwarded-for: ");
        for line in head.fields.all(Known::XForwardedFor).filter(|_| trusted) {
            out.extend_from_slice(line);
            out.extend_from_slice(b", ");
        }
        address(out, arrival.peer);
        out.extend_from_slice(b"\r\n");
    }
    if !edits.drops(b"x-forwarded-proto") {
        let scheme = arrival.scheme.as_bytes();
        let proto = believed(Known::XForwardedProto).unwrap_or(scheme);
        write::field(out, b"x-forwarded-proto", proto);
    }
    if !edits.drops(b"x-forwarded-host") && !head.authority().is_empty() {
        let host = believed(Known::XForwardedHost).unwrap_or(head.authority().as_bytes());
        write::field(out, b"x-forwarded-host", host);
    }
    if arrival.edge.forwarded && !edits.drops(b"forwarded") {
        by_standard(out, arrival, head, trusted);
    }
    if let Some(told) = arrival.client_cert
        && !edits.drops(b"x-forwarded-client-cert")
    {
        write::field(out, b"x-forwarded-client-cert", told.as_bytes());
    }
    if !edits.drops(b"x-request-id") {
        write::field(out, b"x-request-id", arrival.request_id);
    }
    let traced = head.fields.get(Known::Traceparent).is_some_and(is_traceparent);
    if !traced && !edits.drops(b"traceparent") {
        traceparent(out, arrival.random);
    }
    let via: &[u8] = match head.version {
        crate::h1::head::HttpVersion::Http10 => b"1.0 tidegate",
        crate::h1::head::HttpVersion::Http11 => b"1.1 tidegate",
        crate::h1::head::HttpVersion::Http2 => b"2.0 tidegate",
    };
    if !edits.drops(b"via") {
        write::field(out, b"via", via);
    }
}

/// Writes `Forwarded` (RFC 7239): what a trusted proxy says, and behind it what is known here.
fn by_standard(out: &mut Vec<u8>, arrival: Arrival<'_>, head: &RequestHead, trusted: bool) {
    out.extend_from_slice(b"forwarded: ");
    for line in head.fields.all(Known::Forwarded).filter(|_| trusted) {
        out.extend_from_slice(line);
        out.extend_from_slice(b", ");
    }
    let brackets =
        if arrival.peer.is_ipv6() { (&b"\"["[..], &b"]\""[..]) } else { (&b""[..], &b""[..]) };
    out.extend_from_slice(b"for=");
    out.extend_from_slice(brackets.0);
    address(out, arrival.peer);
    out.extend_from_slice(brackets.1);
    if !head.authority().is_empty() {
        // An authority that was taken holds no quote and no backslash.
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(head.authority().as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(arrival.scheme.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Whether a value is a `traceparent` of version 00 (W3C Trace Context).
fn is_traceparent(value: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let some = |part: &[u8]| part.iter().any(|byte| *byte != b'0');
    value.len() == 55
        && value.starts_with(b"00-")
        && value[35] == b'-'
        && value[52] == b'-'
        && hex(&value[3..35])
        && some(&value[3..35])
        && hex(&value[36..52])
        && some(&value[36..52])
        && hex(&value[53..])
}

/// Begins a trace that nobody has asked to be kept: the sampled flag is off.
fn traceparent(out: &mut Vec<u8>, random: &dyn Fn() -> u64) {
    let mut line = *b"traceparent: 00-................................-................-00\r\n";
    hexadecimal(&mut line[16..32], random());
    // An id of zeros alone would be none: the lowest bit of each is always set.
    hexadecimal(&mut line[32..48], random() | 1);
    hexadecimal(&mut line[49..65], random() | 1);
    out.extend_from_slice(&line);
}

/// Appends an address as text; the everyday kind without the machinery of formatting.
pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    use std::io::Write as _;
    let IpAddr::V4(address) = address else {
        // Writing to a Vec cannot fail.
        return drop(write!(out, "{address}"));
    };
    // A part is copied whole, and what is behind its end is written over by the next.
    let (mut text, mut length) = ([0; 16], 0);
    for octet in address.octets() {
        let (part, len) = OCTETS[usize::from(octet)];
        text[length..length + 4].copy_from_slice(&part);
        length += len;
    }
    out.extend_from_slice(&text[..length - 1]);
}

/// Each part of an IPv4 address as text with a point behind it, and how long that is.
static OCTETS: [([u8; 4], usize); 256] = {
    let (mut parts, mut octet) = ([([b'.'; 4], 0); 256], 0);
    while octet < parts.len() {
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let len = if octet < 10 {
            1
        } else if octet < 100 {
            2
        } else {
            3
        };
        let mut at = 0;
        while at < len {
            parts[octet].0[at] = b'0' + digits[3 - len + at] as u8;
            at += 1;
        }
        parts[octet].1 = len + 1;
        octet += 1;
    }
    parts
};

/// Writes a number's bytes as digits, two each.
fn hexadecimal(room: &mut [u8], number: u64) {
    for (pair, byte) in room.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&PAIRS[usize::from(byte)]);
    }
}

/// Each byte in two digits.
static PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let (mut pairs, mut byte) = ([[0; 2]; 256], 0);
    while byte < pairs.len() {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> EdgePolicy {
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        EdgePolicy { trusted_proxies, ..EdgePolicy::default() }
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_no_trusted_proxy() {
        let cases: &[(&str, &[&str], &str)] = &[
            ("1.2.3.4", &["9.9.9.9"], "1.2.3.4"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["9.9.9.9"], "9.9.9.9"),
            ("10.0.0.1", &["6.6.6.6, 9.9.9.9, 10.0.0.7"], "9.9.9.9"),
            ("10.0.0.1", &["6.6.6.6", "9.9.9.9"], "9.9.9.9"),
            ("10.0.0.1", &["6.6.6.6, junk, 10.0.0.7"], "10.0.0.7"),
            ("10.0.0.1", &["[2001:db8::1]:77"], "2001:db8::1"),
            ("10.0.0.1", &["9.9.9.9:1234"], "9.9.9.9"),
        ];
        for (peer, lines, expect) in cases {
            let mut fields = Fields::default();
            for line in *lines {
                fields.push(b"X-Forwarded-For", line.as_bytes());
            }
            let found = client_of(&edge(), peer.parse().unwrap(), &fields);
            assert_eq!(found.to_string(), *expect, "{peer} {lines:?}");
        }
    }

    #[test]
    fn addresses_are_written_as_the_library_writes_them() {
        for text in ["0.0.0.0", "127.0.0.1", "255.100.10.9", "1.20.109.200", "::1", "2001:db8::7"] {
            let mut out = Vec::new();
            address(&mut out, text.parse().unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn a_new_traceparent_is_well_formed() {
        let mut out = Vec::new();
        traceparent(&mut out, &|| 0);
        let line = String::from_utf8(out).unwrap();
        let value = line.strip_prefix("traceparent: ").and_then(|line| line.strip_suffix("\r\n"));
        assert!(is_traceparent(value.unwrap().as_bytes()), "{line}");
    }

    #[test]
    fn only_a_well_formed_traceparent_passes() {
        let good = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(good));
        let zero = b"00-00000000000000000000000000000000-b7ad6b7169203331-01";
        assert!(!is_traceparent(zero));
        assert!(!is_traceparent(&good[..54]));
        assert!(!is_traceparent(b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"));
    }
}
