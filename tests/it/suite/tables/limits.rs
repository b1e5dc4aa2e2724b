//! What is too large, too many or too slow.

use crate::suite::case::{Case, GET, Manner, Outcome, broken, closes, passes, refused};
use crate::suite::frames::{HEADERS, Op, SETTINGS};
use crate::suite::h2::{Fate, H2Case};

/// Tight, so that the cases are small and quick.
pub const KEYS: &str = "[listener.limits]\nmax_body = \"1KiB\"\nheader_timeout = \"2s\"\n\
    body_timeout = \"2s\"\nmax_header_bytes = \"16KiB\"\nmax_headers = 20";

pub const CASES: &[Case] = &[
    refused("a target too long", "GET /@@<<x*20000>> HTTP/1.1\r\nHost: a.test\r\n\r\n", &[414]),
    refused("a query too long", "GET /@@?<<x*20000>> HTTP/1.1\r\nHost: a.test\r\n\r\n", &[414]),
    refused("a target without end", "GET /@@<<x*100000>>", &[414]),
    refused(
        "a method without end",
        "<<G*20000>> /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        &[400, 431, 501],
    ),
    refused(
        "a value too long",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: <<y*20000>>\r\n\r\n",
        &[431],
    ),
    refused(
        "a name too long",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\n<<X*20000>>: y\r\n\r\n",
        &[431],
    ),
    refused("a value without end", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: <<y*100000>>", &[431]),
    refused("too many fields", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n<<X: y\r\n*20>>\r\n", &[431]),
    refused(
        "far too many fields",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\n<<X: y\r\n*2000>>\r\n",
        &[431],
    ),
    refused(
        "fields too large together",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\n<<X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n*300>>\r\n",
        &[431],
    ),
    passes(
        "as many fields as there may be",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\n<<X: y\r\n*19>>\r\n",
    ),
    refused(
        "a body too long",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1025\r\n\r\n",
        &[413],
    ),
    refused(
        "a body far too long",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9223372036854775807\r\n\r\n",
        &[413],
    ),
    refused(
        "a body too long with Expect",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 1025\r\n\r\n",
        &[413],
    )
    .not_down(&["100 continue"]),
    refused(
        "chunks too long",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n<<x*1025>>\r\n0\r\n\r\n",
        &[413],
    ),
    refused(
        "one chunk too many",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n<<x*1024>>\r\n1\r\nx\r\n0\r\n\r\n",
        &[413],
    ),
    refused(
        "a chunk announced too long",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n<<x*2000>>",
        &[413],
    ),
    passes(
        "a body as long as may be",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1024\r\n\r\n<<x*1024>>",
    ),
    passes(
        "chunks as long as may be",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n<<x*1024>>\r\n0\r\n\r\n",
    ),
];

/// What does not come, or not in time.
pub const SLOW: &[Case] = &[
    refused("half a request line", "GET /@@ HT", &[408]).alone(),
    refused("half a head", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: y", &[408]).alone(),
    refused("a head without its end", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n", &[408]).alone(),
    refused(
        "half a body",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf",
        &[408],
    )
    .alone(),
    refused(
        "half a chunk",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        &[408],
    )
    .alone(),
    refused(
        "no last chunk",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        &[408],
    )
    .alone(),
    refused(
        "a body that never begins",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n",
        &[408],
    )
    .alone(),
];

/// The same of HTTP/2.
pub const H2_CASES: &[H2Case] = &[
    H2Case::new("a target too long", Fate::Served(414), &[Op::Head(1, true, LONG_TARGET)]).seen(0),
    H2Case::new(
        "a value too long",
        Fate::Served(431),
        &[Op::Get(1, true, &[("x", "<<y*20000>>")])],
    )
    .seen(0),
    H2Case::new("a name too long", Fate::Served(431), &[Op::Get(1, true, &[("<<x*20000>>", "y")])])
        .seen(0),
    H2Case::new(
        "a value far too long",
        Fate::Refused,
        &[Op::Get(1, true, &[("x", "<<y*100000>>")])],
    ),
    H2Case::new(
        "too many fields",
        Fate::Served(431),
        &[Op::Frame(HEADERS, 5, 1, "\u{82}\u{87}\u{84}\x41\x06a.test<<\0\x01x\x01y*21>>")],
    )
    .seen(0),
    H2Case::new(
        "as many fields as there may be",
        Fate::Served(200),
        &[Op::Frame(HEADERS, 5, 1, "\u{82}\u{87}\u{84}\x41\x06a.test<<\0\x01x\x01y*19>>")],
    ),
    H2Case::new(
        "a body too long",
        Fate::Refused,
        &[Op::Post(1, false, &[("content-length", "1025")]), Op::Data(1, true, "<<x*1025>>")],
    ),
    H2Case::new(
        "a body too long, unannounced",
        Fate::Refused,
        &[
            Op::Post(1, false, &[]),
            Op::Data(1, false, "<<x*1000>>"),
            Op::Data(1, true, "<<x*100>>"),
        ],
    ),
    H2Case::new(
        "a body as long as may be",
        Fate::Served(200),
        &[Op::Post(1, false, &[]), Op::Data(1, true, "<<x*1024>>")],
    ),
];

const LONG_TARGET: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "a.test"),
    (":path", "/@@<<x*20000>>"),
];

/// So short that a case is over soon.
pub const TIMES: &str = "[listener.limits]\nheader_timeout = \"1s\"\nbody_timeout = \"1s\"\n\
    idle_timeout = \"1s\"\nsend_timeout = \"1s\"";

/// The same of the service.
pub const SERVICE_TIMES: &str = "timeout = \"1s\"\nread_timeout = \"1s\"";

/// What does not come in time from an upstream.
pub const SLOW_UPSTREAMS: &[Case] = &[
    passes("no answer", GET).statuses(&[504]).manner(Manner::Stalling),
    passes("half a head", GET)
        .answer("HTTP/1.1 200 OK\r\nX: ")
        .statuses(&[504])
        .manner(Manner::Stalling),
    passes("an interim answer and no other", GET)
        .answer("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        .statuses(&[504])
        .manner(Manner::Stalling)
        .down(&["103"]),
    broken("half a body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        .manner(Manner::Stalling),
    broken("half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf")
        .manner(Manner::Stalling),
    broken("no end", "HTTP/1.1 200 OK\r\n\r\nhalf").manner(Manner::Stalling),
    passes(
        "a POST that is not answered",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi",
    )
    .statuses(&[504])
    .manner(Manner::Stalling),
    closes("nothing more is asked", GET).alone(),
    closes("nothing is asked", "").statuses(&[]).seen(0).alone(),
    closes("an empty line is all", "\r\n").ends(Outcome::Words).seen(0).alone(),
];

/// What does not come in time over HTTP/2.
pub const H2_SLOW: &[H2Case] = &[
    H2Case::new("nothing", Fate::Ended, &[Op::Instead("")]).alone(),
    H2Case::new("half a preface", Fate::Ended, &[Op::Instead("PRI * HTTP/2.0\r\n")]).alone(),
    H2Case::new("nothing behind the preface", Fate::Ended, &[]).alone(),
    H2Case::new(
        "half a frame",
        Fate::Ended,
        &[Op::Instead("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0")],
    )
    .alone(),
    H2Case::new("half a head", Fate::Ended, &[Op::Frame(HEADERS, 1, 1, "\u{82}")]).alone(),
    H2Case::new(
        "half a body",
        Fate::Refused,
        &[Op::Post(1, false, &[("content-length", "9")]), Op::Data(1, false, "half")],
    ),
    H2Case::new("a body that never begins", Fate::Refused, &[Op::Post(1, false, &[])]),
    H2Case::new(
        "a window that never opens",
        Fate::Refused,
        &[Op::Frame(SETTINGS, 0, 0, "\0\x04\0\0\0\0"), Op::Get(1, true, &[])],
    )
    .seen(1),
];
