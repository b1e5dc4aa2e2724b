//! Fields: their syntax, and which of them stop at the proxy.

use crate::suite::case::{Case, answers, closes, passes, refused};

pub const SYNTAX: &[Case] = &[
    passes("empty value", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Own:\r\n\r\n").up(&["x-own:"]),
    passes("no space after the colon", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Own:y\r\n\r\n")
        .up(&["x-own: y"]),
    passes("white space around", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Own: \t y \t \r\n\r\n")
        .up(&["\r\nx-own: y\r\n"]),
    passes("tab within", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Own: y\tz\r\n\r\n")
        .up(&["x-own: y\tz"]),
    passes("obs-text", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Own: \u{e9}\u{ff}\r\n\r\n")
        .up(&["x-own: \u{e9}\u{ff}"]),
    passes("all of token", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n!#$%&'*+-.^_`|~9aZ: y\r\n\r\n")
        .up(&["!#$%&'*+-.^_`|~9az: y"]),
    passes("colons in a value", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Own: a:b: c\r\n\r\n")
        .up(&["x-own: a:b: c"]),
    passes("repeated in order", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Own: 1\r\nX-Own: 2\r\n\r\n")
        .up(&["x-own: 1\r\nx-own: 2\r\n"]),
    passes("underscore in a name", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX_Own: y\r\n\r\n").should(),
    passes(
        "quotes and commas",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Own: \"a, \\\"b\", c\r\n\r\n",
    )
    .up(&["x-own: \"a, \\\"b\", c"]),
    passes("99 fields", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n<<X-Own: y\r\n*98>>\r\n")
        .up(&["x-own: y\r\nx-own: y"]),
    passes("a long value", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Own: <<y*16000>>\r\n\r\n")
        .up(&["x-own: <<y*16000>>"]),
    refused("space before the colon", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX : y\r\n\r\n", &[400]),
    refused("tab before the colon", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX\t: y\r\n\r\n", &[400]),
    refused("space in a name", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX Y: z\r\n\r\n", &[400]),
    refused("no colon", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX\r\n\r\n", &[400]),
    refused("no name", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n: y\r\n\r\n", &[400]),
    refused("a folded value", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: y\r\n z\r\n\r\n", &[400]),
    refused("folded by a tab", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: y\r\n\tz\r\n\r\n", &[400]),
    refused("an empty fold", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: y\r\n \r\n\r\n", &[400]),
    refused("space before the first field", "GET /@@ HTTP/1.1\r\n Host: a.test\r\n\r\n", &[400]),
    refused(
        "space before the first, with Host",
        "GET /@@ HTTP/1.1\r\n X: y\r\nHost: a.test\r\n\r\n",
        &[400],
    ),
    refused("NUL in a value", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: a\0b\r\n\r\n", &[400]),
    refused("NUL in a name", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX\0: b\r\n\r\n", &[400]),
    refused("bare CR in a value", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: a\rb\r\n\r\n", &[400]),
    refused("bare CR before CR LF", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: a\r\r\n\r\n", &[400]),
    refused("bare LF ends a field", "GET /@@ HTTP/1.1\r\nHost: a.test\nX: a\r\n\r\n", &[400]),
    refused("bare LF ends the head", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n\n", &[400]),
    refused("only bare LF", "GET /@@ HTTP/1.1\nHost: a.test\n\n", &[400]),
    refused("CR LF CR text", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n\rX: y\r\n\r\n", &[400]),
    refused(
        "a control in a value",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: a\x01b\r\n\r\n",
        &[400],
    ),
    refused(
        "an escape in a value",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: \x1b[31m\r\n\r\n",
        &[400],
    ),
    refused("DEL in a value", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: a\x7fb\r\n\r\n", &[400]),
    refused("vertical tab", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX:\x0by\r\n\r\n", &[400]),
    refused("form feed", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: y\x0c\r\n\r\n", &[400]),
    refused("brackets in a name", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX(y): z\r\n\r\n", &[400]),
    refused("a slash in a name", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX/y: z\r\n\r\n", &[400]),
    refused("quotes in a name", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n\"X\": z\r\n\r\n", &[400]),
    refused(
        "a high byte in a name",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX\u{e9}: z\r\n\r\n",
        &[400],
    ),
    refused("a control in a name", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX\x01: z\r\n\r\n", &[400]),
    refused(
        "a second request line",
        "GET /@@ HTTP/1.1\r\nGET /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        &[400],
    ),
    refused("NUL before Host", "GET /@@ HTTP/1.1\r\n\0Host: a.test\r\n\r\n", &[400]),
];

pub const HOP_UP: &[Case] = &[
    passes("Connection", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
        .not_up(&["connection:"]),
    passes("Keep-Alive", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nKeep-Alive: timeout=5\r\n\r\n")
        .not_up(&["keep-alive"]),
    passes("Proxy-Connection", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nProxy-Connection: x\r\n\r\n")
        .not_up(&["proxy-connection"]),
    passes("Proxy-Authorization", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: Basic x\r\n\r\n")
        .not_up(&["proxy-authorization"]),
    passes("TE", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nTE: gzip\r\n\r\n").not_up(&["\nte:", "gzip"]),
    passes("TE trailers", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
        .up(&["\r\nte: trailers"]),
    passes("Trailer", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nTrailer: X-Sum\r\n\r\n").not_up(&["\ntrailer:"]),
    passes("Upgrade alone", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n")
        .not_up(&["upgrade"]),
    passes("h2c", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
        .not_up(&["upgrade", "h2c", "http2-settings"]),
    passes("h2c beside websocket", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n")
        .not_up(&["h2c"]),
    passes("TLS upgrade", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n")
        .not_up(&["upgrade", "tls/1.0"]),
    passes("nominated", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: X-Own\r\nX-Own: y\r\nX-Else: z\r\n\r\n")
        .up(&["x-else: z"])
        .not_up(&["x-own"]),
    passes("nominated in another case", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: x-OWN\r\nX-Own: y\r\n\r\n")
        .not_up(&["x-own"]),
    passes("nominated behind it", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Own: y\r\nConnection: X-Own\r\n\r\n")
        .not_up(&["x-own"]),
    passes("nominated in a list", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: a,,X-Own , b\r\nX-Own: y\r\n\r\n")
        .not_up(&["x-own"]),
    passes("nominated by two lines", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: X-One\r\nX-One: 1\r\nConnection: X-Two\r\nX-Two: 2\r\n\r\n")
        .not_up(&["x-one", "x-two"]),
    passes("every line of what is nominated", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Own: 1\r\nConnection: X-Own\r\nX-Own: 2\r\n\r\n")
        .not_up(&["x-own"]),
    passes("Host cannot be nominated", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Host\r\n\r\n")
        .up(&["\r\nhost: a.test\r\n"]),
    passes("Content-Length cannot be nominated", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nhi")
        .up(&["content-length: 2", "\r\n\r\nhi"]),
    passes("Transfer-Encoding nominated still frames", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .up(&["transfer-encoding: chunked", "\r\n\r\nhi"]),
    passes("X-Forwarded-For cannot be nominated", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: X-Forwarded-For, X-Forwarded-Proto\r\n\r\n")
        .up(&["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"]),
    passes("X-Forwarded-For is not believed", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        .up(&["x-forwarded-for: 127.0.0.1"])
        .not_up(&["6.6.6.6"]),
    passes("X-Forwarded-Proto is not believed", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: gopher\r\n\r\n")
        .not_up(&["gopher"]),
    passes("X-Forwarded-Host is not believed", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Host: evil.test\r\n\r\n")
        .not_up(&["evil.test"]),
    passes("Forwarded is not believed", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nForwarded: for=6.6.6.6\r\n\r\n")
        .not_up(&["6.6.6.6"]),
    passes("Via is added", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nVia: 1.0 first\r\n\r\n")
        .up(&["1.0 first", "1.1 tidegate"])
        .should(),
    passes("Authorization passes", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer x\r\n\r\n")
        .up(&["authorization: bearer x"]),
    passes("Cookie passes", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nCookie: a=b; c=d\r\n\r\n")
        .up(&["cookie: a=b; c=d"]),
    passes("Expect does not pass", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi")
        .not_up(&["expect"]),
    closes("close does not pass", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        .not_up(&["connection: close"]),
];

pub const HOP_DOWN: &[Case] = &[
    answers("Connection: close of the origin", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        .manner(crate::suite::Manner::Closing),
    answers("Keep-Alive", "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=99\r\nContent-Length: 0\r\n\r\n")
        .not_down(&["keep-alive"]),
    answers("Proxy-Connection", "HTTP/1.1 200 OK\r\nProxy-Connection: close\r\nContent-Length: 0\r\n\r\n")
        .not_down(&["proxy-connection"]),
    answers("Proxy-Authenticate", "HTTP/1.1 200 OK\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
        .not_down(&["proxy-authenticate"])
        .should(),
    answers("Upgrade of a 200", "HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n")
        .not_down(&["upgrade"]),
    answers("Trailer", "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nContent-Length: 0\r\n\r\n")
        .not_down(&["\ntrailer:"])
        .should(),
    answers("TE", "HTTP/1.1 200 OK\r\nTE: gzip\r\nContent-Length: 0\r\n\r\n").not_down(&["\nte:"]),
    answers("nominated", "HTTP/1.1 200 OK\r\nConnection: X-Own\r\nX-Own: y\r\nX-Else: z\r\nContent-Length: 0\r\n\r\n")
        .down(&["x-else: z"])
        .not_down(&["x-own"]),
    answers("nominated in a list", "HTTP/1.1 200 OK\r\nX-Own: y\r\nConnection: a, x-own\r\nContent-Length: 0\r\n\r\n")
        .not_down(&["x-own"]),
    answers("Content-Length cannot be nominated", "HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nok")
        .down(&["content-length: 2", "ok"]),
    answers("Transfer-Encoding nominated still frames", "HTTP/1.1 200 OK\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        .down(&["ok"]),
    answers("Set-Cookie lines stay apart", "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n")
        .down(&["set-cookie: a=1\r\n", "set-cookie: b=2\r\n"]),
    answers("WWW-Authenticate passes", "HTTP/1.1 401 X\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
        .statuses(&[401])
        .down(&["www-authenticate: basic"]),
    answers("Server and Date pass", "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n")
        .down(&["server: origin", "date: mon, 01 jan 2024"]),
    answers("obs-text passes", "HTTP/1.1 200 OK\r\nX-Own: \u{e9}\r\nContent-Length: 0\r\n\r\n")
        .down(&["x-own: \u{e9}"]),
    answers("the version's field is ours", "HTTP/1.1 200 OK\r\nX-Tidegate-Version: evil\r\nContent-Length: 0\r\n\r\n")
        .not_down(&["evil"]),
];
