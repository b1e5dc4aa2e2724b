//! The plain things, and bodies of every length.

use crate::suite::case::{Case, Manner, answers, broken, closes, passes};
use crate::suite::frames::Op;
use crate::suite::h2::{Fate, H2Case};

/// So many bytes go up, or come down.
macro_rules! sends {
    ($name:literal, $length:literal) => {
        passes(
            $name,
            concat!(
                "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: ",
                $length,
                "\r\n\r\n<<x*",
                $length,
                ">>"
            ),
        )
        .up(&[concat!("content-length: ", $length, "\r\n"), concat!("\r\n\r\n<<x*", $length, ">>")])
    };
}

macro_rules! brings {
    ($name:literal, $length:literal) => {
        answers(
            $name,
            concat!("HTTP/1.1 200 OK\r\nContent-Length: ", $length, "\r\n\r\n<<x*", $length, ">>"),
        )
        .down(&[
            concat!("content-length: ", $length, "\r\n"),
            concat!("\r\n\r\n<<x*", $length, ">>"),
        ])
    };
}

pub const SANITY: &[Case] = &[
    passes("GET", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["get /@@ http/1.1\r\n", "host: a.test"])
        .down(&["http/1.1 200 ok\r\n", "\r\n\r\nok"]),
    passes("HEAD", "HEAD /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .to_head()
        .answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        .up(&["head /@@ "])
        .down(&["content-length: 5"]),
    passes("POST", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc")
        .up(&["content-length: 3", "\r\n\r\nabc"]),
    passes(
        "POST in chunks",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    .up(&["\r\n\r\nabc"]),
    passes("PUT", "PUT /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc")
        .up(&["put /@@ ", "\r\n\r\nabc"]),
    passes("fields both ways", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nAccept: text/html\r\n\r\n")
        .answer("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n")
        .up(&["accept: text/html"])
        .down(&["content-type: text/html"]),
    passes("a query", "GET /@@?a=1&b=%20 HTTP/1.1\r\nHost: a.test\r\n\r\n").up(&["/@@?a=1&b=%20 "]),
    answers("404 of the origin", "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone")
        .statuses(&[404])
        .down(&["\r\n\r\ngone"]),
    answers("chunks of the origin", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .down(&["abc"]),
    passes("two requests", "GET /@@1 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .then("GET /@@2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .statuses(&[200, 200])
        .seen(2),
    closes("the client closes", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        .down(&["connection: close"]),
];

pub const H2_SANITY: &[H2Case] = &[
    H2Case::new("GET", Fate::Served(200), &[Op::Get(1, true, &[("accept", "text/html")])])
        .up(&["get /@@ http/1.1", "accept: text/html"]),
    H2Case::new(
        "POST",
        Fate::Served(200),
        &[Op::Post(1, false, &[("content-length", "3")]), Op::Data(1, true, "abc")],
    )
    .up(&["content-length: 3", "\r\n\r\nabc"]),
    H2Case::new(
        "POST without a length",
        Fate::Served(200),
        &[Op::Post(1, false, &[]), Op::Data(1, false, "ab"), Op::Data(1, true, "c")],
    )
    .up(&["\r\n\r\nabc"]),
    H2Case::new("fifty streams", Fate::Served(200), &[Op::Many(50, &[Op::Get(1, true, &[])])])
        .seen(50),
];

/// Lengths around those of buffers, frames and records.
pub const BODIES: &[Case] = &[
    sends!("1 byte", 1),
    sends!("4 KiB", 4096),
    sends!("8 KiB and 1", 8193),
    sends!("16 KiB less 1", 16383),
    sends!("16 KiB", 16384),
    sends!("64 KiB and 1", 65537),
    sends!("256 KiB", 262144),
    passes("256 KiB in chunks", CHUNKED)
        .behind("10000\r\n<<x*65536>>\r\n30000\r\n<<y*196608>>\r\n0\r\n\r\n")
        .up(&["xxxxyyyy", "<<y*196608>>"]),
    passes("a thousand chunks of a byte", CHUNKED)
        .behind("<<1\r\nx\r\n*1000>>0\r\n\r\n")
        .up(&["\r\n\r\n<<x*1000>>"]),
    passes("bytes of every kind", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\n\r\n\0\r\n\x1b\x7f\u{80}\u{ff}\n")
        .up(&["\r\n\r\n\0\r\n\x1b\x7f\u{80}\u{ff}\n"]),
    brings!("1 byte down", 1),
    brings!("16 KiB and 1 down", 16385),
    brings!("64 KiB down", 65536),
    brings!("256 KiB down", 262144),
    answers(
        "256 KiB down in chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000\r\n<<x*262144>>\r\n0\r\n\r\n",
    ),
    answers("256 KiB down until the end", "HTTP/1.1 200 OK\r\n\r\n<<x*262144>>")
        .manner(Manner::Closing),
    answers(
        "a thousand chunks down",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n<<1\r\nx\r\n*1000>>0\r\n\r\n",
    ),
    broken(
        "256 KiB less 1 down",
        "HTTP/1.1 200 OK\r\nContent-Length: 262144\r\n\r\n<<x*262143>>",
    )
    .manner(Manner::Closing),
    answers("coded content is not touched", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\u{8b}\x08\0")
        .down(&["content-encoding: gzip", "\r\n\r\n\x1f\u{8b}\x08\0"]),
    answers("a part of a body", "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/4\r\nContent-Length: 2\r\n\r\nab")
        .statuses(&[206])
        .down(&["content-range: bytes 0-1/4"])
        .should(),
];

pub const H2_BODIES: &[H2Case] = &[
    H2Case::new(
        "16 KiB",
        Fate::Served(200),
        &[Op::Post(1, false, &[]), Op::Data(1, true, "<<x*16384>>")],
    )
    .up(&["\r\n\r\n<<x*16384>>"]),
    H2Case::new(
        "48 KiB in frames",
        Fate::Served(200),
        &[
            Op::Post(1, false, &[("content-length", "49152")]),
            Op::Again(3, &[Op::Data(1, false, "<<x*16384>>")]),
            Op::Data(1, true, ""),
        ],
    )
    .up(&["content-length: 49152", "<<x*49152>>"]),
    H2Case::new(
        "a thousand frames of a byte",
        Fate::Served(200),
        &[
            Op::Post(1, false, &[]),
            Op::Again(1000, &[Op::Data(1, false, "x")]),
            Op::Data(1, true, "end"),
        ],
    )
    .up(&["<<x*1000>>end"]),
];

const CHUNKED: &str = "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
