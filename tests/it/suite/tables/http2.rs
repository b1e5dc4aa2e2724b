//! HTTP/2 as clients may misuse it: heads, bodies that disagree, frames.

use crate::suite::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Op, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};
use crate::suite::h2::{Fate, H2Case};

type Fields = &'static [(&'static str, &'static str)];

macro_rules! head {
    ($name:literal, $fate:expr, $fields:expr) => {
        H2Case::new($name, $fate, &[Op::Head(1, true, $fields)])
    };
}

macro_rules! get {
    ($name:literal, $fate:expr, $fields:expr) => {
        H2Case::new($name, $fate, &[Op::Get(1, true, $fields)])
    };
}

macro_rules! post {
    ($name:literal, $fate:expr, $fields:expr, $($rest:expr),+) => {
        H2Case::new($name, $fate, &[Op::Post(1, false, $fields), $($rest),+])
    };
}

const OK: Fate = Fate::Served(200);
const NO: Fate = Fate::Refused;
const M: (&str, &str) = (":method", "GET");
const S: (&str, &str) = (":scheme", "https");
const A: (&str, &str) = (":authority", "a.test");
const P: (&str, &str) = (":path", "/@@");
const HOST: Fields = &[M, S, P, ("host", "a.test")];

/// Heads.
pub const HEADS: &[H2Case] = &[
    get!("plain", OK, &[]).up(&["get /@@ http/1.1", "host: a.test", "via: 2.0 tidegate"]),
    head!("host for authority", OK, HOST).up(&["host: a.test"]),
    head!("no method", NO, &[S, A, P]),
    head!("no scheme", NO, &[M, A, P]),
    head!("no path", NO, &[M, S, A]),
    head!("no authority, no host", NO, &[M, S, P]),
    head!("two methods", NO, &[M, M, S, A, P]),
    head!("two schemes", NO, &[M, S, S, A, P]),
    head!("two authorities", NO, &[M, S, A, A, P]),
    head!("two paths", NO, &[M, S, A, P, P]),
    head!("empty path", NO, &[M, S, A, (":path", "")]),
    head!("empty method", NO, &[(":method", ""), S, A, P]),
    head!("empty authority", NO, &[M, S, (":authority", ""), P]),
    head!("pseudo-header behind a field", NO, &[M, S, A, ("x", "y"), P]),
    head!("unknown pseudo-header", NO, &[M, S, A, P, (":own", "y")]),
    head!("pseudo-header of answers", NO, &[M, S, A, P, (":status", "200")]),
    head!("no fields at all", NO, &[]),
    head!("path without a slash", NO, &[M, S, A, (":path", "@@")]),
    head!("absolute path", NO, &[M, S, A, (":path", "https://b.test/@@")]),
    head!("authority as path", NO, &[M, S, A, (":path", "b.test:80")]),
    head!("asterisk with GET", NO, &[M, S, A, (":path", "*"), ("x", "@@")]),
    head!(
        "asterisk with OPTIONS",
        OK,
        &[(":method", "OPTIONS"), S, A, (":path", "*"), ("x", "@@")]
    )
    .up(&["options * "]),
    head!("space in the path", NO, &[M, S, A, (":path", "/@@ x")]),
    // The library beneath cuts a fragment off: what matters is that it does not go up.
    head!("fragment", Fate::Bounded, &[M, S, A, (":path", "/@@#x")]).not_up(&["#x"]),
    head!("CR LF in the path", NO, &[M, S, A, (":path", "/@@ HTTP/1.1\r\nX: y")]),
    head!("LF in the path", NO, &[M, S, A, (":path", "/@@\nx")]),
    head!("NUL in the path", NO, &[M, S, A, (":path", "/@@\0")]),
    head!("DEL in the path", NO, &[M, S, A, (":path", "/@@\x7f")]),
    head!("high byte in the path", NO, &[M, S, A, (":path", "/@@\u{e9}")]).should(),
    head!("query", OK, &[M, S, A, (":path", "/@@?a=b?c")]).up(&["/@@?a=b?c http"]),
    head!("space in the method", NO, &[(":method", "GET /x"), S, A, P]),
    head!(
        "a request in the method",
        NO,
        &[(":method", "GET /@@ HTTP/1.1\r\nHost: b.test\r\n\r\nGET"), S, A, P]
    ),
    head!("NUL in the method", NO, &[(":method", "G\0T"), S, A, P]),
    head!("unknown method", OK, &[(":method", "PURGE"), S, A, P]).up(&["purge /@@ "]),
    head!("CONNECT", NO, &[(":method", "CONNECT"), (":authority", "a.test:80")]),
    head!("CONNECT with a path", NO, &[(":method", "CONNECT"), S, A, P]),
    head!(
        "extended CONNECT to anything",
        NO,
        &[(":method", "CONNECT"), (":protocol", "connect-udp"), S, A, P]
    ),
    head!("protocol with GET", NO, &[M, (":protocol", "websocket"), S, A, P]),
    head!(
        "TRACE with a body's length",
        NO,
        &[(":method", "TRACE"), S, A, P, ("content-length", "2")]
    ),
    head!("user in the authority", NO, &[M, S, (":authority", "u@a.test"), P]),
    head!("CR LF in the authority", NO, &[M, S, (":authority", "a.test\r\nX: y"), P]),
    head!("space in the authority", NO, &[M, S, (":authority", "a.test b"), P]),
    head!("path in the authority", NO, &[M, S, (":authority", "a.test/b"), P]),
    head!("bad port in the authority", NO, &[M, S, (":authority", "a.test:x"), P]),
    head!("list as authority", NO, &[M, S, (":authority", "a.test,b.test"), P]),
    head!("port in the authority", OK, &[M, S, (":authority", "a.test:443"), P])
        .up(&["host: a.test:443"]),
    head!("unknown scheme", NO, &[M, (":scheme", "ftp"), A, P]).should(),
    head!("CR LF in the scheme", NO, &[M, (":scheme", "https\r\nX: y"), A, P]),
    head!("scheme with an address", NO, &[M, (":scheme", "https://b.test/?"), A, P]),
    get!("host that is the authority", OK, &[("host", "a.test")]).up(&["host: a.test"]),
    get!("host that is not", NO, &[("host", "b.test")]),
    head!("two hosts", NO, &[M, S, P, ("host", "a.test"), ("host", "b.test")]),
    get!("two hosts beside the authority", NO, &[("host", "a.test"), ("host", "a.test")]),
    head!("bad host", NO, &[M, S, P, ("host", "a b")]),
];

/// Fields.
pub const FIELDS: &[H2Case] = &[
    get!("field", OK, &[("x-own", "y")]).up(&["x-own: y"]),
    get!("empty value", OK, &[("x-own", "")]).up(&["x-own:"]),
    get!("obs-text", OK, &[("x-own", "\u{e9}")]).up(&["x-own: \u{e9}"]),
    get!("repeated", OK, &[("x-own", "1"), ("x-own", "2")]).up(&["x-own: 1\r\nx-own: 2"]),
    get!("cookie crumbs", OK, &[("cookie", "a=b"), ("cookie", "c=d"), ("cookie", "e=f")])
        .up(&["cookie: a=b; c=d; e=f"]),
    get!("upper case", NO, &[("X-Own", "y")]),
    get!("one upper letter", NO, &[("x-owN", "y")]),
    get!("no name", NO, &[("", "y")]),
    get!("colon in a name", NO, &[("x:own", "y")]),
    get!("a line in a name", NO, &[("x: y\r\nz", "y")]),
    get!("space in a name", NO, &[("x own", "y")]),
    get!("NUL in a name", NO, &[("x\0", "y")]),
    get!("high byte in a name", NO, &[("x\u{e9}", "y")]),
    get!("CR LF in a value", NO, &[("x-own", "y\r\nz: 1")]),
    get!("LF in a value", NO, &[("x-own", "y\nz: 1")]),
    get!("CR in a value", NO, &[("x-own", "y\rz")]),
    get!("NUL in a value", NO, &[("x-own", "y\0z")]),
    get!("a coding in a value", NO, &[("x-own", "y\r\ntransfer-encoding: chunked")]),
    get!(
        "a request in a value",
        NO,
        &[("x-own", "y\r\n\r\nGET /smuggled-@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")]
    ),
    get!("white space around a value", Fate::Bounded, &[("x-own", " y ")])
        .should()
        .not_up(&["x-own:  y"]),
    get!("connection", NO, &[("connection", "keep-alive")]),
    get!("keep-alive", NO, &[("keep-alive", "timeout=5")]),
    get!("proxy-connection", NO, &[("proxy-connection", "x")]),
    get!("upgrade", NO, &[("upgrade", "websocket")]),
    get!("transfer-encoding", NO, &[("transfer-encoding", "chunked")]),
    get!("TE", NO, &[("te", "gzip")]),
    get!("TE with more than trailers", NO, &[("te", "trailers, gzip")]).should(),
    get!("TE trailers", OK, &[("te", "trailers")]).up(&["te: trailers"]),
    get!("forged address", OK, &[("x-forwarded-for", "6.6.6.6")]).not_up(&["6.6.6.6"]),
    get!("forged scheme", OK, &[("x-forwarded-proto", "gopher")]).not_up(&["gopher"]),
    get!("proxy-authorization", OK, &[("proxy-authorization", "x")])
        .not_up(&["proxy-authorization"]),
    get!("expectation", NO, &[("expect", "tea")]).should(),
    get!("a long value", OK, &[("x-own", "<<y*16000>>")]).up(&["x-own: yyyy"]),
];

/// Bodies: what is declared, what comes, what is made of it.
pub const BODIES: &[H2Case] = &[
    post!("a length", OK, &[("content-length", "2")], Op::Data(1, true, "hi"))
        .up(&["content-length: 2", "\r\n\r\nhi"]),
    post!("no length", OK, &[], Op::Data(1, true, "hi"))
        .up(&["transfer-encoding: chunked", "\r\n\r\nhi"]),
    post!(
        "pieces",
        OK,
        &[],
        Op::Data(1, false, "h"),
        Op::Data(1, false, ""),
        Op::Data(1, true, "i")
    )
    .up(&["\r\n\r\nhi"]),
    post!("nothing", OK, &[], Op::Data(1, true, "")),
    H2Case::new("GET with a body", OK, &[Op::Get(1, false, &[]), Op::Data(1, true, "hi")])
        .up(&["\r\n\r\nhi"]),
    H2Case::new("POST without a body", OK, &[Op::Post(1, true, &[])]),
    H2Case::new("a length of 0", OK, &[Op::Post(1, true, &[("content-length", "0")])])
        .up(&["content-length: 0"]),
    post!("a length of 0, then nothing", OK, &[("content-length", "0")], Op::Data(1, true, "")),
    post!("less than its length", NO, &[("content-length", "9")], Op::Data(1, true, "hi")),
    post!("more than its length", NO, &[("content-length", "1")], Op::Data(1, true, "hi")),
    post!(
        "more in pieces",
        NO,
        &[("content-length", "2")],
        Op::Data(1, false, "hi"),
        Op::Data(1, true, "x")
    ),
    post!("a body in spite of 0", NO, &[("content-length", "0")], Op::Data(1, true, "hi")),
    H2Case::new("a length without a body", NO, &[Op::Post(1, true, &[("content-length", "5")])]),
    H2Case::new(
        "a length of GET without a body",
        NO,
        &[Op::Get(1, true, &[("content-length", "5")])],
    ),
    post!(
        "two lengths",
        NO,
        &[("content-length", "2"), ("content-length", "3")],
        Op::Data(1, true, "hi")
    ),
    post!(
        "two equal lengths",
        NO,
        &[("content-length", "2"), ("content-length", "2")],
        Op::Data(1, true, "hi")
    )
    .should(),
    post!("a list of lengths", NO, &[("content-length", "2, 2")], Op::Data(1, true, "hi")).should(),
    post!("a signed length", NO, &[("content-length", "+2")], Op::Data(1, true, "hi")),
    post!("a negative length", NO, &[("content-length", "-2")], Op::Data(1, true, "hi")),
    post!("an empty length", NO, &[("content-length", "")], Op::Data(1, true, "hi")),
    post!("a length in words", NO, &[("content-length", "two")], Op::Data(1, true, "hi")),
    post!(
        "a length beyond 64 bits",
        NO,
        &[("content-length", "18446744073709551618")],
        Op::Data(1, true, "hi")
    ),
    post!(
        "H2.CL",
        NO,
        &[("content-length", "0")],
        Op::Data(1, true, "GET /smuggled-@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
    ),
    post!(
        "H2.TE",
        NO,
        &[("transfer-encoding", "chunked")],
        Op::Data(1, true, "0\r\n\r\nGET /smuggled-@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
    ),
    post!(
        "H2.TE by a line in a value",
        NO,
        &[("x-own", "y\r\nTransfer-Encoding: chunked")],
        Op::Data(1, true, "0\r\n\r\n")
    ),
    post!("chunks are data", OK, &[], Op::Data(1, true, "0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"))
        .up(&["\r\n\r\n0\r\n\r\nget /x"]),
    post!("trailers", OK, &[], Op::Data(1, false, "hi"), Op::Trailers(1, &[("x-sum", "7")]))
        .up(&["hitrailer x-sum: 7"]),
    // The library beneath drops them.
    post!(
        "pseudo-headers in trailers",
        Fate::Bounded,
        &[],
        Op::Data(1, false, "hi"),
        Op::Trailers(1, &[(":path", "/evil")])
    )
    .not_up(&["evil"]),
    post!(
        "a status in trailers",
        Fate::Bounded,
        &[],
        Op::Data(1, false, "hi"),
        Op::Trailers(1, &[(":status", "200")])
    )
    .not_up(&["status"]),
    post!(
        "upper case in trailers",
        NO,
        &[],
        Op::Data(1, false, "hi"),
        Op::Trailers(1, &[("X-Sum", "7")])
    ),
    post!(
        "CR LF in trailers",
        NO,
        &[],
        Op::Data(1, false, "hi"),
        Op::Trailers(1, &[("x-sum", "7\r\nx: y")])
    ),
    post!(
        "connection in trailers",
        Fate::Bounded,
        &[],
        Op::Data(1, false, "hi"),
        Op::Trailers(1, &[("connection", "close")])
    )
    .not_up(&["trailer connection"]),
    post!(
        "a length in trailers",
        Fate::Bounded,
        &[],
        Op::Data(1, false, "hi"),
        Op::Trailers(1, &[("content-length", "9")])
    )
    .not_up(&["content-length: 9"]),
    post!(
        "host in trailers",
        Fate::Bounded,
        &[],
        Op::Data(1, false, "hi"),
        Op::Trailers(1, &[("host", "b.test")])
    )
    .not_up(&["b.test"]),
    post!(
        "a cookie in trailers",
        Fate::Bounded,
        &[],
        Op::Data(1, false, "hi"),
        Op::Trailers(1, &[("cookie", "a=b")])
    )
    .not_up(&["a=b"]),
    post!(
        "trailers short of the length",
        NO,
        &[("content-length", "9")],
        Op::Data(1, false, "hi"),
        Op::Trailers(1, &[("x-sum", "7")])
    ),
    post!(
        "trailers that do not end",
        NO,
        &[],
        Op::Data(1, false, "hi"),
        Op::Frame(HEADERS, END_HEADERS, 1, "\0\x01a\x01b")
    ),
    post!(
        "reset in the body",
        Fate::Survives,
        &[],
        Op::Data(1, false, "hi"),
        Op::Frame(RST_STREAM, 0, 1, "\0\0\0\x08")
    )
    .seen(0),
    post!(
        "reset before a declared end",
        Fate::Survives,
        &[("content-length", "3")],
        Op::Data(1, false, "hi"),
        Op::Frame(RST_STREAM, 0, 1, "\0\0\0\x08")
    )
    .seen(0),
    // Without an error a server would stop reading; a client's request is not whole for it.
    post!(
        "reset without an error in the body",
        Fate::Survives,
        &[],
        Op::Data(1, false, "hi"),
        Op::Frame(RST_STREAM, 0, 1, "\0\0\0\0")
    )
    .seen(0),
    post!("padding", OK, &[], Op::Frame(0, END_STREAM | 8, 1, "\x03hi\0\0\0")).up(&["\r\n\r\nhi"]),
    post!(
        "padding longer than the frame",
        Fate::Ended,
        &[],
        Op::Frame(0, END_STREAM | 8, 1, "\x09hi")
    ),
];

/// Frames.
pub const FRAMES: &[H2Case] = &[
    H2Case::new(
        "another preface",
        Fate::Ended,
        &[Op::Instead("GET / HTTP/1.1\r\nHost: a.test\r\nX: @@\r\n\r\n")],
    ),
    H2Case::new(
        "no SETTINGS",
        Fate::Bounded,
        &[Op::Instead("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x08\x06\0\0\0\0\0<<x*8>>")],
    )
    .should(),
    frame("an unknown type", Fate::Survives, &[Op::Frame(0xbe, 0xff, 0, "hello")]),
    frame("an unknown type on a stream", Fate::Survives, &[Op::Frame(0xbe, 0, 1, "hello")]),
    frame("an unknown setting", Fate::Survives, &[Op::Frame(SETTINGS, 0, 0, "\x0a\x0a\0\0\0\x01")]),
    frame("PING", Fate::Survives, &[Op::Frame(PING, 0, 0, "12345678")]),
    frame("PING too short", Fate::Ended, &[Op::Frame(PING, 0, 0, "1234")]),
    frame("PING on a stream", Fate::Ended, &[Op::Frame(PING, 0, 1, "12345678")]),
    frame("PING answered unasked", Fate::Survives, &[Op::Frame(PING, 1, 0, "12345678")]),
    frame("SETTINGS of a bad length", Fate::Ended, &[Op::Frame(SETTINGS, 0, 0, "\0\x03\0")]),
    frame("SETTINGS on a stream", Fate::Ended, &[Op::Frame(SETTINGS, 0, 1, "")]),
    frame(
        "SETTINGS ACK that says more",
        Fate::Ended,
        &[Op::Frame(SETTINGS, 1, 0, "\0\x03\0\0\0\x01")],
    ),
    frame("ENABLE_PUSH of 2", Fate::Ended, &[Op::Frame(SETTINGS, 0, 0, "\0\x02\0\0\0\x02")]),
    frame(
        "a window beyond 31 bits",
        Fate::Ended,
        &[Op::Frame(SETTINGS, 0, 0, "\0\x04\u{80}\0\0\0")],
    ),
    frame("frames too small", Fate::Ended, &[Op::Frame(SETTINGS, 0, 0, "\0\x05\0\0\0\x01")]),
    frame("frames too large", Fate::Ended, &[Op::Frame(SETTINGS, 0, 0, "\0\x05\x01\0\0\0")]),
    frame("WINDOW_UPDATE of 0", Fate::Ended, &[Op::Frame(WINDOW_UPDATE, 0, 0, "\0\0\0\0")]),
    frame("WINDOW_UPDATE too short", Fate::Ended, &[Op::Frame(WINDOW_UPDATE, 0, 0, "\0\0")]),
    frame(
        "a window that overflows",
        Fate::Ended,
        &[Op::Frame(WINDOW_UPDATE, 0, 0, "\x7f\u{ff}\u{ff}\u{ff}")],
    ),
    frame(
        "WINDOW_UPDATE of an idle stream",
        Fate::Ended,
        &[Op::Frame(WINDOW_UPDATE, 0, 9, "\0\0\0\x01")],
    ),
    frame(
        "a stream's window by 0",
        NO,
        &[Op::Post(1, false, &[]), Op::Frame(WINDOW_UPDATE, 0, 1, "\0\0\0\0")],
    ),
    frame(
        "a stream's window that overflows",
        NO,
        &[Op::Post(1, false, &[]), Op::Frame(WINDOW_UPDATE, 0, 1, "\x7f\u{ff}\u{ff}\u{ff}")],
    ),
    frame(
        "a window of 0 holds nobody else",
        Fate::Survives,
        &[Op::Frame(SETTINGS, 0, 0, "\0\x04\0\0\0\0"), Op::Get(1, true, &[])],
    ),
    frame("DATA on stream 0", Fate::Ended, &[Op::Frame(0, 0, 0, "hello")]),
    frame("DATA on an idle stream", Fate::Ended, &[Op::Data(1, true, "hello")]),
    frame(
        "DATA behind the end",
        Fate::Bounded,
        &[Op::Get(1, true, &[]), Op::Data(1, true, "hello")],
    )
    .not_up(&["hello"]),
    frame("HEADERS on stream 0", Fate::Ended, &[Op::Frame(HEADERS, 5, 0, "\u{82}\u{87}\u{84}")]),
    frame("HEADERS on an even stream", Fate::Ended, &[Op::Get(2, true, &[])]),
    frame("streams that count down", Fate::Ended, &[Op::Get(5, true, &[]), Op::Get(3, true, &[])]),
    frame("HEADERS behind the end", Fate::Bounded, &[Op::Get(1, true, &[]), Op::Get(1, true, &[])]),
    frame(
        "RST_STREAM of an idle stream",
        Fate::Ended,
        &[Op::Frame(RST_STREAM, 0, 1, "\0\0\0\x08")],
    ),
    frame("RST_STREAM of stream 0", Fate::Ended, &[Op::Frame(RST_STREAM, 0, 0, "\0\0\0\x08")]),
    frame(
        "RST_STREAM too short",
        Fate::Ended,
        &[Op::Post(1, false, &[]), Op::Frame(RST_STREAM, 0, 1, "\0\0")],
    ),
    frame(
        "a stream that depends on itself",
        Fate::Bounded,
        &[Op::Frame(2, 0, 1, "\0\0\0\x01\x10")],
    ),
    frame("PRIORITY too short", Fate::Bounded, &[Op::Frame(2, 0, 1, "\0\0")]),
    frame("PRIORITY of stream 0", Fate::Ended, &[Op::Frame(2, 0, 0, "\0\0\0\x01\x10")]),
    frame(
        "PUSH_PROMISE of a client",
        Fate::Ended,
        &[Op::Post(1, false, &[]), Op::Frame(5, 4, 1, "\0\0\0\x02\u{82}\u{87}\u{84}")],
    ),
    frame("CONTINUATION of nothing", Fate::Ended, &[Op::Frame(CONTINUATION, 4, 1, "\u{82}")]),
    frame(
        "DATA within a head",
        Fate::Ended,
        &[Op::Frame(HEADERS, 0, 1, "\u{82}"), Op::Data(1, true, "x")],
    ),
    frame(
        "PING within a head",
        Fate::Ended,
        &[Op::Frame(HEADERS, 0, 1, "\u{82}"), Op::Frame(PING, 0, 0, "12345678")],
    ),
    frame(
        "CONTINUATION of another stream",
        Fate::Ended,
        &[Op::Frame(HEADERS, 0, 1, "\u{82}"), Op::Frame(CONTINUATION, 4, 3, "\u{87}")],
    ),
    frame(
        "a frame too long",
        Fate::Ended,
        &[Op::Post(1, false, &[]), Op::Data(1, true, "<<x*20000>>")],
    ),
    frame("a head too long", Fate::Ended, &[Op::Frame(HEADERS, 5, 1, "<<x*20000>>")]),
    frame("HPACK index 0", Fate::Ended, &[Op::Frame(HEADERS, 5, 1, "\u{80}")]),
    frame("HPACK index of nothing", Fate::Ended, &[Op::Frame(HEADERS, 5, 1, "\u{ff}\u{ff}\x01")]),
    frame("HPACK cut off", Fate::Ended, &[Op::Frame(HEADERS, 5, 1, "\u{82}\0\x05a")]),
    frame("HPACK number without end", Fate::Ended, &[Op::Frame(HEADERS, 5, 1, "<<\u{ff}*20>>")]),
    frame(
        "HPACK table too large",
        Fate::Ended,
        &[Op::Frame(HEADERS, 5, 1, "\x3f\u{ff}\u{ff}\x7f\u{82}")],
    ),
    frame(
        "HPACK padding of ones too long",
        Fate::Ended,
        &[Op::Frame(HEADERS, 5, 1, "\u{82}\0\x01a\u{82}\u{ff}\u{ff}")],
    ),
    frame("GOAWAY of a client", Fate::Bounded, &[Op::Frame(GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0")]),
    frame("GOAWAY too short", Fate::Ended, &[Op::Frame(GOAWAY, 0, 0, "\0\0")]),
];

const fn frame(name: &'static str, fate: Fate, ops: &'static [Op]) -> H2Case {
    H2Case::new(name, fate, ops)
}
