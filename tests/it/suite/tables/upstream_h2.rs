//! Upstreams of HTTP/2: what they say to a plain GET on stream 1.

use crate::suite::case::{Case, GET, answers, broken, damaged, passes};
use crate::suite::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Op, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};
use crate::suite::h2_up::{Hangup, UpCase};

const OK: (&str, &str) = (":status", "200");
const RESET: u8 = RST_STREAM;

const fn up(case: Case, says: &'static [Op]) -> UpCase {
    UpCase { case, says, hangup: Hangup::Stays }
}

const fn good(name: &'static str, says: &'static [Op]) -> UpCase {
    up(answers(name, ""), says)
}

const fn bad(name: &'static str, says: &'static [Op]) -> UpCase {
    up(damaged(name, ""), says)
}

const fn cut(name: &'static str, says: &'static [Op]) -> UpCase {
    up(broken(name, ""), says)
}

pub const CASES: &[UpCase] = &[
    good("an answer", &[Op::Head(1, false, &[OK, ("x-own", "y")]), Op::Data(1, true, "body")])
        .down(&["http/1.1 200 ok", "x-own: y", "body"]),
    good(
        "a length",
        &[Op::Head(1, false, &[OK, ("content-length", "4")]), Op::Data(1, true, "body")],
    )
    .down(&["content-length: 4", "\r\n\r\nbody"]),
    good("no body", &[Op::Head(1, true, &[OK])]).down(&["content-length: 0"]),
    good("an empty body", &[Op::Head(1, false, &[OK]), Op::Data(1, true, "")]),
    good(
        "pieces",
        &[
            Op::Head(1, false, &[OK, ("content-length", "4")]),
            Op::Data(1, false, "bo"),
            Op::Data(1, false, ""),
            Op::Data(1, true, "dy"),
        ],
    )
    .down(&["\r\n\r\nbody"]),
    good(
        "padding",
        &[
            Op::Head(1, false, &[OK, ("content-length", "2")]),
            Op::Frame(DATA, END_STREAM | 8, 1, "\x03hi\0\0\0"),
        ],
    )
    .down(&["\r\n\r\nhi"]),
    good(
        "trailers",
        &[
            Op::Head(1, false, &[OK]),
            Op::Data(1, false, "body"),
            Op::Trailers(1, &[("x-sum", "7")]),
        ],
    )
    .down(&["body", "x-sum: 7"]),
    good(
        "an interim answer",
        &[Op::Head(1, false, &[(":status", "103"), ("link", "x")]), Op::Head(1, true, &[OK])],
    )
    .down(&["http/1.1 103 ", "link: x", "http/1.1 200 ok"]),
    good(
        "a status of its own",
        &[Op::Head(1, false, &[(":status", "404")]), Op::Data(1, true, "gone")],
    )
    .statuses(&[404])
    .down(&["gone"]),
    good("204", &[Op::Head(1, true, &[(":status", "204")])]).statuses(&[204]),
    good("304 with a length", &[Op::Head(1, true, &[(":status", "304"), ("content-length", "9")])])
        .statuses(&[304])
        .down(&["content-length: 9"]),
    good(
        "a field in two lines",
        &[Op::Head(1, true, &[OK, ("set-cookie", "a=1"), ("set-cookie", "b=2")])],
    )
    .down(&["set-cookie: a=1\r\n", "set-cookie: b=2\r\n"]),
    good(
        "a head in two frames",
        &[
            Op::Frame(HEADERS, END_STREAM, 1, "\u{88}"),
            Op::Frame(CONTINUATION, END_HEADERS, 1, "\0\x05x-own\x01y"),
        ],
    )
    .down(&["x-own: y"]),
    good(
        "many frames",
        &[
            Op::Head(1, false, &[OK, ("content-length", "49152")]),
            Op::Again(3, &[Op::Data(1, false, "<<x*16384>>")]),
            Op::Data(1, true, ""),
        ],
    )
    .down(&["<<x*49152>>"]),
    good("PING before the answer", &[Op::Frame(PING, 0, 0, "12345678"), Op::Head(1, true, &[OK])]),
    good(
        "SETTINGS before the answer",
        &[Op::Frame(SETTINGS, 0, 0, "\0\x03\0\0\0\x05"), Op::Head(1, true, &[OK])],
    ),
    good("an unknown frame", &[Op::Frame(0xbe, 0xff, 1, "hello"), Op::Head(1, true, &[OK])]),
    good(
        "windows",
        &[
            Op::Frame(WINDOW_UPDATE, 0, 0, "\0\0\x10\0"),
            Op::Frame(WINDOW_UPDATE, 0, 1, "\0\0\x10\0"),
            Op::Head(1, true, &[OK]),
        ],
    ),
    good(
        "GOAWAY behind the answer",
        &[Op::Head(1, true, &[OK]), Op::Frame(GOAWAY, 0, 0, "\0\0\0\x01\0\0\0\0")],
    ),
    good(
        "GOAWAY before the answer",
        &[Op::Frame(GOAWAY, 0, 0, "\0\0\0\x01\0\0\0\0"), Op::Head(1, true, &[OK])],
    ),
    good(
        "the version's field is ours",
        &[Op::Head(1, true, &[OK, ("x-tidegate-version", "evil")])],
    )
    .not_down(&["evil"]),
    // The library beneath drops both of these.
    good(
        "101 goes no further",
        &[Op::Head(1, false, &[(":status", "101")]), Op::Head(1, true, &[OK])],
    )
    .not_down(&[" 101 "]),
    good("a path in an answer", &[Op::Head(1, true, &[OK, (":path", "/evil")])])
        .not_down(&["evil"]),
    good("a refused stream is begun again", &[Op::Frame(RESET, 0, 1, "\0\0\0\x07")]).seen(2),
    good("GOAWAY that did not see the stream", &[Op::Frame(GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0")])
        .hangup()
        .seen(2),
    bad("reset", &[Op::Frame(RESET, 0, 1, "\0\0\0\x02")]),
    bad("reset without an error", &[Op::Frame(RESET, 0, 1, "\0\0\0\0")]),
    bad("closed", &[]).hangup(),
    bad("closed after an interim answer", &[Op::Head(1, false, &[(":status", "103")])]).hangup(),
    bad("no status", &[Op::Head(1, true, &[("x-own", "y")])]),
    bad("a status in words", &[Op::Head(1, true, &[(":status", "two")])]),
    bad("a status of two digits", &[Op::Head(1, true, &[(":status", "20")])]),
    bad("two statuses", &[Op::Head(1, true, &[OK, (":status", "404")])]),
    bad("a status behind a field", &[Op::Head(1, true, &[("x-own", "y"), OK])]),
    bad("upper case", &[Op::Head(1, true, &[OK, ("X-Own", "y")])]),
    bad("connection", &[Op::Head(1, true, &[OK, ("connection", "close")])]),
    bad("transfer-encoding", &[Op::Head(1, true, &[OK, ("transfer-encoding", "chunked")])]),
    bad("CR LF in a value", &[Op::Head(1, true, &[OK, ("x-own", "y\r\nset-cookie: evil")])]),
    bad("NUL in a value", &[Op::Head(1, true, &[OK, ("x-own", "a\0b")])]),
    bad("space in a name", &[Op::Head(1, true, &[OK, ("x own", "y")])]),
    bad(
        "two lengths",
        &[Op::Head(1, true, &[OK, ("content-length", "1"), ("content-length", "2")])],
    ),
    bad("a length in words", &[Op::Head(1, true, &[OK, ("content-length", "two")])]),
    bad("a length and no body", &[Op::Head(1, true, &[OK, ("content-length", "5")])]).should(),
    bad("DATA before the head", &[Op::Data(1, true, "body")]),
    bad("a head of nothing", &[Op::Head(1, true, &[])]),
    bad("HPACK of nothing", &[Op::Frame(HEADERS, 5, 1, "\u{ff}\u{ff}\x01")]),
    bad(
        "a promise",
        &[Op::Frame(5, 4, 1, "\0\0\0\x02\u{82}\u{87}\u{84}"), Op::Head(1, true, &[OK])],
    ),
    bad("a frame of stream 0", &[Op::Frame(HEADERS, 5, 0, "\u{88}")]),
    bad("a frame too long", &[Op::Frame(DATA, 0, 1, "<<x*20000>>")]),
    bad(
        "a head without end",
        &[
            Op::Frame(HEADERS, 1, 1, "\u{88}"),
            Op::Again(20_000, &[Op::Frame(CONTINUATION, 0, 1, "\0\x01a\x01b")]),
        ],
    ),
    bad(
        "a head too large",
        &[
            Op::Frame(HEADERS, 1, 1, "\u{88}"),
            Op::Again(40, &[Op::Frame(CONTINUATION, 0, 1, "<<\0\x01a\x01b*3000>>")]),
            Op::Frame(CONTINUATION, 4, 1, ""),
        ],
    ),
    bad(
        "interim answers without end",
        &[Op::Again(5000, &[Op::Head(1, false, &[(":status", "103"), ("link", "x")])])],
    )
    .hangup()
    .should(),
    bad("HTTP/1.1", &[Op::Instead("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")]),
    cut(
        "reset in the body",
        &[
            Op::Head(1, false, &[OK]),
            Op::Data(1, false, "half"),
            Op::Frame(RESET, 0, 1, "\0\0\0\x02"),
        ],
    ),
    cut(
        "reset in the body without an error",
        &[
            Op::Head(1, false, &[OK]),
            Op::Data(1, false, "half"),
            Op::Frame(RESET, 0, 1, "\0\0\0\0"),
        ],
    ),
    cut(
        "cancelled in the body",
        &[
            Op::Head(1, false, &[OK]),
            Op::Data(1, false, "half"),
            Op::Frame(RESET, 0, 1, "\0\0\0\x08"),
        ],
    ),
    cut("reset before the body", &[Op::Head(1, false, &[OK]), Op::Frame(RESET, 0, 1, "\0\0\0\0")]),
    cut("closed in the body", &[Op::Head(1, false, &[OK]), Op::Data(1, false, "half")]).hangup(),
    cut(
        "GOAWAY in the body, then closed",
        &[
            Op::Head(1, false, &[OK]),
            Op::Data(1, false, "half"),
            Op::Frame(GOAWAY, 0, 0, "\0\0\0\x01\0\0\0\0"),
        ],
    )
    .hangup(),
    cut(
        "less than its length",
        &[Op::Head(1, false, &[OK, ("content-length", "9")]), Op::Data(1, true, "half")],
    ),
    cut(
        "more than its length",
        &[Op::Head(1, false, &[OK, ("content-length", "2")]), Op::Data(1, true, "more")],
    ),
    cut(
        "trailers with a status",
        &[
            Op::Head(1, false, &[OK]),
            Op::Data(1, false, "half"),
            Op::Frame(HEADERS, 4, 1, "\u{88}"),
        ],
    ),
    up(
        passes("trailers that are for the next hop", GET).not_down(&["evil"]),
        &[
            Op::Head(1, false, &[OK]),
            Op::Data(1, false, "body"),
            Op::Trailers(1, &[("content-length", "9"), ("set-cookie", "evil"), ("x-sum", "7")]),
        ],
    )
    .should(),
];
