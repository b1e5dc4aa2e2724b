//! What comes before HTTP on a listener with TLS.

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::suite::handshake::{Came, HandshakeCase, raw, shakes};

const NEW: &[&SupportedProtocolVersion] = &[&TLS13];
const OLD: &[&SupportedProtocolVersion] = &[&TLS12];

/// A certificate for `a.test` and `*.wild.test`, and one for `b.test`.
pub const CASES: &[HandshakeCase] = &[
    shakes("its name", Some("a.test"), "a.test", Came::Answer(200)),
    shakes("another certificate's name", Some("b.test"), "b.test", Came::Answer(200)),
    shakes("a name in other letters", Some("B.Test"), "b.test", Came::Answer(200)),
    shakes("a name under a wildcard", Some("x.wild.test"), "x.wild.test", Came::Answer(200)),
    shakes("a name that nobody has", Some("c.test"), "c.test", Came::Answer(200)),
    shakes("no name", None, "a.test", Came::Answer(200)),
    shakes("a host of another certificate", Some("a.test"), "b.test", Came::Answer(421)),
    shakes("a host of no certificate", Some("a.test"), "c.test", Came::Answer(421)).should(),
    shakes("a host under the wildcard", Some("a.test"), "x.wild.test", Came::Answer(200)),
    shakes("a host two labels under it", Some("a.test"), "x.y.wild.test", Came::Answer(421)),
    shakes("an address as host", Some("a.test"), "127.0.0.1", Came::Answer(421)),
    shakes("TLS 1.3", Some("a.test"), "a.test", Came::Answer(200)).by(NEW),
    shakes("TLS 1.2", Some("a.test"), "a.test", Came::Answer(200)).by(OLD),
    shakes("h2", Some("a.test"), "a.test", Came::Agreed("h2")).offers(&[b"h2"]),
    shakes("h2 or HTTP/1.1", Some("a.test"), "a.test", Came::Agreed("h2"))
        .offers(&[b"http/1.1", b"h2"]),
    shakes("HTTP/1.1", Some("a.test"), "a.test", Came::Agreed("http/1.1")).offers(&[b"http/1.1"]),
    shakes("HTTP/1.1 or what nobody knows", Some("a.test"), "a.test", Came::Agreed("http/1.1"))
        .offers(&[b"own/1", b"http/1.1"]),
    shakes("what nobody knows", Some("a.test"), "a.test", Came::Nothing)
        .offers(&[b"own/1"])
        .should(),
    raw("HTTP", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    raw("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    raw("a PROXY header", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
    raw("nothing", ""),
    raw("one byte", "\x16"),
    raw("half a record", "\x16\x03\x01\x02\0\x01"),
    raw("an empty record", "\x16\x03\x01\0\0"),
    raw("a record too long", "\x16\x03\x01\u{ff}\u{ff}<<x*70000>>"),
    raw("records of nothing", "<<\x16\x03\x01\0\x01\x01*2000>>"),
    raw("a record of another kind", "\x17\x03\x03\0\x05hello"),
    raw("an alert", "\x15\x03\x01\0\x02\x02\x28"),
    raw("a heartbeat", "\x18\x03\x02\0\x03\x01\x40\0"),
    raw("a hello of SSL 2", "\u{80}\x2e\x01\0\x02\0\x15\0\0\0\x10\x01\0\u{80}<<x*40>>"),
    raw("a hello of TLS 1.0", "\x16\x03\x01\0\x2d\x01\0\0\x29\x03\x01<<x*32>>\0\0\x02\0\x2f\x01\0"),
];
