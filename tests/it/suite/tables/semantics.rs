//! Expect, interim answers, upgrades, HEAD and bodiless statuses, HTTP/1.0, early answers.

use crate::suite::case::{Case, GET, Manner, Outcome, answers, closes, passes, refused};

const WEBSOCKET: &str = "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// What a client waits for before it sends its body.
pub const EXPECT: &[Case] = &[
    passes("Expect, body at once", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi")
        .up(&["\r\n\r\nhi"])
        .not_up(&["expect"]),
    passes("Expect, body after the 100", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        .then("hi")
        .down(&["http/1.1 100 continue\r\n\r\n"])
        .up(&["\r\n\r\nhi"]),
    passes("Expect with chunks", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        .then("2\r\nhi\r\n0\r\n\r\n")
        .down(&["http/1.1 100 continue\r\n\r\n"])
        .up(&["\r\n\r\nhi"]),
    passes("Expect without a body", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n\r\n")
        .not_down(&["100 continue"]),
    refused("another expectation", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nExpect: tea\r\nContent-Length: 2\r\n\r\nhi", &[417]),
    refused("two expectations", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue, tea\r\nContent-Length: 2\r\n\r\nhi", &[417]),
    refused("Expect smuggling a length", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    closes("Expect of HTTP/1.0", "POST /@@ HTTP/1.0\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi")
        .not_down(&["100 continue"])
        .up(&["\r\n\r\nhi"]),
];

/// Interim answers, and answers that have no body.
pub const INTERIM: &[Case] = &[
    answers("100 of the origin", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    answers("103 passes", "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .down(&["http/1.1 103 early hints\r\n", "link: </a>; rel=preload", "http/1.1 200 ok"]),
    answers("102 and 103", "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .down(&["http/1.1 200 ok"]),
    answers("hop-by-hop in a 103", "HTTP/1.1 103 Early Hints\r\nConnection: X-Own\r\nX-Own: y\r\nKeep-Alive: z\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .not_down(&["x-own", "keep-alive: z"])
        .should(),
    closes("no 103 for HTTP/1.0", "GET /@@ HTTP/1.0\r\nHost: a.test\r\n\r\n")
        .answer("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .not_down(&[" 103 "]),
    passes("HEAD has no body", "HEAD /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .to_head()
        .answer("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
        .down(&["content-length: 7\r\n"]),
    passes("HEAD with chunks announced", "HEAD /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .to_head()
        .answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    passes("HEAD without framing", "HEAD /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .to_head()
        .answer("HTTP/1.1 200 OK\r\nX-Own: y\r\n\r\n")
        .down(&["x-own: y"]),
    passes("HEAD answered with a body", "HEAD /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .to_head()
        .answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
        .manner(Manner::Spoiling)
        .not_down(&["\r\n\r\nbad"]),
    answers("204", "HTTP/1.1 204 No Content\r\nX-Own: y\r\n\r\n").statuses(&[204]).down(&["x-own: y"]),
    answers("204 with a length of 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
        .statuses(&[204])
        .not_down(&["204 no content\r\ncontent-length"]),
    answers("204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nbad")
        .statuses(&[204])
        .manner(Manner::Spoiling)
        .not_down(&["\r\n\r\nbad"]),
    answers("204 with chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nugh\r\n0\r\n\r\n")
        .statuses(&[204])
        .manner(Manner::Spoiling)
        .not_down(&["ugh"]),
    answers("304", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n").statuses(&[304]).down(&["etag: \"x\""]),
    answers("304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n")
        .statuses(&[304])
        .down(&["content-length: 9"]),
    answers("304 with a body", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nbad")
        .statuses(&[304])
        .manner(Manner::Spoiling)
        .not_down(&["\r\n\r\nbad"]),
    answers("205", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n").statuses(&[205]),
    answers("a redirect", "HTTP/1.1 302 Found\r\nLocation: http://b.test/x\r\nContent-Length: 0\r\n\r\n")
        .statuses(&[302])
        .down(&["location: http://b.test/x"]),
    answers("an unknown status", "HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n").statuses(&[299]),
    answers("a status of the teapot", "HTTP/1.1 418 X\r\nContent-Length: 0\r\n\r\n").statuses(&[418]),
    answers("an empty reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
    answers("500 passes", "HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nerr").statuses(&[500]).down(&["err"]),
    answers("503 passes", "HTTP/1.1 503 X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
        .statuses(&[503])
        .down(&["retry-after: 7"]),
];

/// HTTP/1.0 on either side.
pub const HTTP_10: &[Case] = &[
    closes("chunks for HTTP/1.0", "GET /@@ HTTP/1.0\r\nHost: a.test\r\n\r\n")
        .answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n0\r\n\r\n")
        .down(&["\r\n\r\nwiki"])
        .not_down(&["chunked"]),
    passes("a body of HTTP/1.0 kept alive", "POST /@@ HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi")
        .up(&["\r\n\r\nhi"]),
    answers("an origin of HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .manner(Manner::Closing)
        .down(&["http/1.1 200"]),
    answers("an origin of HTTP/1.0 that closes", "HTTP/1.0 200 OK\r\n\r\nuntil the end")
        .manner(Manner::Closing)
        .down(&["until the end"]),
    answers("HTTP/1.0 is not kept", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .manner(Manner::Spoiling),
    answers("HTTP/1.0 is kept if it says so", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
];

/// Upgrades.
pub const UPGRADES: &[Case] = &[
    passes("a websocket", WEBSOCKET)
        .ends(Outcome::Words)
        .answer("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nframes")
        .manner(Manner::Closing)
        .up(&["connection: upgrade", "upgrade: websocket", "sec-websocket-key: dghl"])
        .down(&["http/1.1 101", "connection: upgrade", "upgrade: websocket", "sec-websocket-accept: x", "\r\n\r\nframes"]),
    passes("a websocket in other letters", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: UPGRADE\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n")
        .ends(Outcome::Words)
        .answer(SWITCH)
        .manner(Manner::Closing)
        .up(&["upgrade: websocket"])
        .down(&["http/1.1 101"]),
    passes("a websocket among others", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: own/2, websocket\r\nSec-WebSocket-Key: x\r\n\r\n")
        .ends(Outcome::Words)
        .answer(SWITCH)
        .manner(Manner::Closing)
        .up(&["\r\nupgrade: websocket\r\n"])
        .not_up(&["own/2"])
        .down(&["http/1.1 101"])
        .should(),
    passes("an interim answer before the 101", WEBSOCKET)
        .ends(Outcome::Words)
        .answer("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframes")
        .manner(Manner::Closing)
        .down(&["http/1.1 101", "\r\n\r\nframes"]),
    passes("a 101 that speaks of lengths", WEBSOCKET)
        .ends(Outcome::Words)
        .answer("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\nframes")
        .manner(Manner::Closing)
        .down(&["http/1.1 101", "\r\n\r\nframes"])
        .not_down(&["content-length"])
        .should(),
    passes("a websocket without a key", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .not_up(&["upgrade"]),
    passes("a websocket with chunks", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        .not_up(&["\r\nupgrade"]),
    passes("a websocket that is refused", WEBSOCKET)
        .answer("HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n")
        .statuses(&[403]),
    passes("a websocket that is answered 200", WEBSOCKET),
    passes("101 to nobody", GET).answer(SWITCH).statuses(&[502]).manner(Manner::Spoiling).not_down(&[" 101 "]),
    passes("101 to another protocol", WEBSOCKET)
        .answer("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        .statuses(&[502])
        .manner(Manner::Spoiling)
        .not_down(&[" 101 "]),
    passes("101 without its fields", WEBSOCKET)
        .answer("HTTP/1.1 101 X\r\n\r\n")
        .statuses(&[502])
        .manner(Manner::Spoiling)
        .not_down(&[" 101 "]),
    passes("101 to a POST", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nContent-Length: 2\r\n\r\nhi")
        .answer(SWITCH)
        .statuses(&[502])
        .manner(Manner::Spoiling)
        .not_down(&[" 101 "]),
    passes("101 to h2c", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        .answer("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        .statuses(&[502])
        .manner(Manner::Spoiling)
        .not_down(&[" 101 "]),
    passes("a request behind an upgrade that is refused", WEBSOCKET)
        .behind("GET /@@2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .answer("HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n")
        .statuses(&[400, 400])
        .seen(2),
    passes("an upgrade of HTTP/1.0", "GET /@@ HTTP/1.0\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n")
        .ends(Outcome::Closed)
        .not_up(&["upgrade"]),
];

/// Answers before the request is whole.
pub const EARLY: &[Case] = &[
    closes(
        "an early answer to a length",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4000000\r\n\r\n<<x*300000>>",
    )
    .ends(Outcome::Words)
    .answer("HTTP/1.1 413 X\r\nContent-Length: 4\r\n\r\nlong")
    .manner(Manner::Early)
    .down(&["http/1.1 413 ", "\r\n\r\nlong"]),
    closes(
        "an early answer to chunks",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    )
    .ends(Outcome::Words)
    .answer("HTTP/1.1 401 X\r\nContent-Length: 2\r\n\r\nno")
    .manner(Manner::Early)
    .down(&["http/1.1 401 "]),
];
