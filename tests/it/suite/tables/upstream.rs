//! What upstreams answer: framings that are good, damage of every kind, kept connections that were
//! closed meanwhile.

use crate::suite::case::{Case, Manner, answers, broken, damaged, passes};

/// Framings that clients can be given.
pub const FRAMING: &[Case] = &[
    answers("a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").down(&["content-length: 5", "\r\n\r\nhello"]),
    answers("a length of 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    answers("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
        .down(&["transfer-encoding: chunked"])
        .not_down(&["x=y"]),
    answers("chunks in another case", "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").down(&["abc"]),
    answers("padded chunk sizes", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3  \r\nabc\r\n0\r\n\r\n").down(&["abc"]).should(),
    answers("trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 7\r\n\r\n").down(&["\r\nx-sum: 7\r\n"]),
    answers("forbidden trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 7\r\nSet-Cookie: a=b\r\nTransfer-Encoding: x\r\nX-Sum: 7\r\n\r\n")
        .down(&["x-sum: 7"])
        .not_down(&["content-length: 7", "a=b", "transfer-encoding: x"]),
    answers("until the end", "HTTP/1.1 200 OK\r\n\r\nall of it").manner(Manner::Closing).down(&["all of it"]),
    answers("nothing until the end", "HTTP/1.1 200 OK\r\n\r\n").manner(Manner::Closing),
    answers("equal lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok").manner(Manner::Plain).down(&["content-length: 2"]).should(),
    answers("close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").manner(Manner::Spoiling).down(&["ok"]),
    answers("a body that looks like an answer", "HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    answers("fields of 16 KiB", "HTTP/1.1 200 OK\r\nX-Own: <<y*16000>>\r\nContent-Length: 0\r\n\r\n").down(&["x-own: yyyy"]),
    answers("bytes behind the answer", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        .manner(Manner::Spoiling)
        .not_down(&["evil"]),
    answers("an answer too many", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        .manner(Manner::Spoiling)
        .not_down(&["evil"]),
    answers("bytes behind chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nevil")
        .manner(Manner::Spoiling)
        .not_down(&["evil"]),
    answers("bytes behind a 304", "HTTP/1.1 304 X\r\n\r\nevil").statuses(&[304]).manner(Manner::Spoiling).not_down(&["evil"]),
];

/// Answers that no client may be given as they are.
pub const DAMAGE: &[Case] = &[
    damaged("no HTTP", "SSH-2.0-hello\r\n\r\n"),
    damaged("HTTP/0.9", "<html>hello</html>\r\n\r\n"),
    damaged("an empty line first", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").should(),
    damaged("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    damaged("HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n").should(),
    damaged("ICY", "ICY 200 OK\r\nContent-Length: 0\r\n\r\n"),
    damaged("no status", "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
    damaged("two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    damaged("four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    damaged("status 0", "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n"),
    damaged("status 99", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
    damaged("status 600", "HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n").should(),
    damaged("status 999", "HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n").should(),
    damaged("a negative status", "HTTP/1.1 -200 OK\r\nContent-Length: 0\r\n\r\n"),
    damaged("NUL in the reason", "HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"),
    damaged("CR in the reason", "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n"),
    damaged("bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    damaged("bare LF within", "HTTP/1.1 200 OK\r\nX: y\nContent-Length: 0\r\n\r\n"),
    damaged("a folded field", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n"),
    damaged("space before a colon", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
    damaged("space in a name", "HTTP/1.1 200 OK\r\nX Y: z\r\nContent-Length: 0\r\n\r\n"),
    damaged("no colon", "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n"),
    damaged("NUL in a value", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
    damaged("CR in a value", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n"),
    damaged("a control in a value", "HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n"),
    damaged("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    damaged("a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab"),
    damaged("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
    damaged("a signed length", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
    damaged("a length in words", "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"),
    damaged("an empty length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n"),
    damaged(
        "a length beyond 64 bits",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok",
    ),
    damaged(
        "TE and CL",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    damaged(
        "CL and TE",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    damaged("xchunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    damaged("gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx"),
    damaged(
        "gzip, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    damaged(
        "chunked, gzip",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    damaged(
        "chunked twice",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    damaged(
        "identity",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
    ),
    damaged("chunks of HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        .should(),
    damaged("a head too large", "HTTP/1.1 200 OK\r\nX: <<y*200000>>\r\n\r\n"),
    damaged("too many fields", "HTTP/1.1 200 OK\r\n<<X: y\r\n*5000>>Content-Length: 0\r\n\r\n"),
    damaged("an endless row of interim answers", "<<HTTP/1.1 103 X\r\nLink: x\r\n\r\n*5000>>")
        .should(),
    passes("no answer at all", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
        .statuses(&[502])
        .manner(Manner::Nothing),
    damaged("half a status line", "HTTP/1.1 2").manner(Manner::Closing),
    damaged("half a head", "HTTP/1.1 200 OK\r\nX: y").manner(Manner::Closing),
    damaged("a head without its last line", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
        .manner(Manner::Closing),
    damaged("only an interim answer", "HTTP/1.1 103 X\r\nLink: x\r\n\r\n").manner(Manner::Closing),
    broken("half a length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        .manner(Manner::Closing),
    broken("none of a length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        .manner(Manner::Closing),
    broken("half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf")
        .manner(Manner::Closing),
    broken("no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        .manner(Manner::Closing),
    broken(
        "no end of trailers",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    )
    .manner(Manner::Closing),
    broken(
        "junk behind a chunk",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfXX0\r\n\r\n",
    ),
    broken(
        "a chunk too long",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhalf\r\n0\r\n\r\n",
    ),
    broken(
        "a size in other letters",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ),
    broken(
        "a negative size",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-4\r\nhalf\r\n0\r\n\r\n",
    ),
    broken(
        "a size beyond 64 bits",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000004\r\nhalf\r\n0\r\n\r\n",
    ),
    broken(
        "bare LF in chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\nhalf\n0\n\n",
    ),
    broken(
        "a broken trailer",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX\r\n\r\n",
    ),
    broken(
        "a huge trailer",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: <<y*100000>>\r\n\r\n",
    ),
    broken(
        "an endless extension",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;<<a*20000>>\r\nhalf\r\n0\r\n\r\n",
    ),
];

/// Kept connections that the upstream closes on the next request, without a word.
pub const STALE: &[Case] = &[
    stale("GET is sent again", "GET /@@2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .statuses(&[200, 200])
        .seen(3),
    stale("DELETE is sent again", "DELETE /@@2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .statuses(&[200, 200])
        .seen(3),
    stale("OPTIONS is sent again", "OPTIONS /@@2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .statuses(&[200, 200])
        .seen(3),
    stale(
        "PUT without a body is sent again",
        "PUT /@@2 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
    )
    .statuses(&[200, 200])
    .seen(3),
    stale(
        "POST is not sent again",
        "POST /@@2 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi",
    )
    .statuses(&[200, 502])
    .seen(2),
    stale(
        "POST without a body is not sent again",
        "POST /@@2 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
    )
    .statuses(&[200, 502])
    .seen(2),
    stale(
        "PATCH is not sent again",
        "PATCH /@@2 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi",
    )
    .statuses(&[200, 502])
    .seen(2),
    stale("an unknown method is not sent again", "PURGE /@@2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .statuses(&[200, 502])
        .seen(2),
];

/// A GET that leaves a kept connection, then the request in question.
const fn stale(name: &'static str, second: &'static str) -> Case {
    passes(name, "GET /@@1 HTTP/1.1\r\nHost: a.test\r\nX-Fresh: 1\r\n\r\n")
        .behind(second)
        .manner(Manner::StaleOnce)
}
