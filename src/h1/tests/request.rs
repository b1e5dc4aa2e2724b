use proptest::prelude::*;

use super::{LIMITS, lines_of_few, shown};
use crate::h1::fields::Known;
use crate::h1::head::{Framing, HeadError, HeadLimits, HttpVersion, Method, RequestHead};

fn request(text: &str) -> Result<RequestHead, HeadError> {
    let mut head = RequestHead::new();
    match head.parse(text.as_bytes(), &LIMITS)? {
        Some(consumed) => {
            assert!(consumed <= text.len());
            Ok(head)
        }
        None => Err(HeadError::Bad("incomplete")),
    }
}

#[track_caller]
fn refused(text: &str, reason: &str) {
    let found = request(text).map(|head| format!("{head:?}"));
    assert_eq!(found.map_err(HeadError::reason), Err(reason), "{text:?}");
}

#[test]
fn a_request_is_read_into_its_parts() {
    let text = "POST /a/b?x=1 HTTP/1.1\r\nHost: Shop.Example:8080\r\nContent-Length: 5\r\nTE: trailers\r\n\r\nhello";
    let head = request(text).unwrap();
    assert_eq!((head.method, head.method_text()), (Method::Post, "POST"));
    assert_eq!((head.path(), head.query()), ("/a/b", Some("x=1")));
    assert_eq!((head.authority(), head.host()), ("Shop.Example:8080", "shop.example"));
    assert_eq!(head.framing, Framing::Length(5));
    assert!(head.keep_alive && head.te_trailers && !head.expect_continue);
}

#[test]
fn one_host_and_no_other() {
    let get = |host: &str| format!("GET / HTTP/1.1\r\n{host}\r\n\r\n");
    refused(&get("X: y"), "host_missing");
    refused(&get("Host: a\r\nHost: a"), "host_repeated");
    refused(&get("Host: a\r\nHost: b"), "host_repeated");
    refused(&get("Host:"), "host_empty");
    for bad in [
        "a b",
        "a/b",
        "u@h",
        "a:port",
        "a:99999",
        "[::1",
        "[zz]",
        "a,b c",
        "a:80:80",
        "a?",
        "a,b",
        ".",
        "a..b",
        ".a",
        ":80",
        "[::1]x",
        "[::1]:x",
        "::1",
        "a%20b",
        "a\\\\b",
        "a:+80",
        "a:000080",
        "[]",
        "[fe80::1%25eth0]",
    ] {
        refused(&get(&format!("Host: {bad}")), "host_malformed");
    }
    for good in ["a", "a:80", "a:", "[::1]", "[::1]:80", "a.b.", "127.0.0.1:1", "x_y-z.1"] {
        assert!(request(&get(&format!("Host: {good}"))).is_ok(), "{good}");
    }
    assert!(request("GET / HTTP/1.0\r\n\r\n").is_ok_and(|head| head.host().is_empty()));
    refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "host_repeated");
    let head = request(&get("Host: [FE80::1]:8080")).unwrap();
    assert_eq!((head.authority(), head.host()), ("[FE80::1]:8080", "fe80::1"));
    assert_eq!(request(&get("Host: A.b.:1")).unwrap().host(), "a.b");
}

#[test]
fn the_targets_authority_wins() {
    let head = request("GET http://Other:81/p?q HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((head.authority(), head.host(), head.path()), ("Other:81", "other", "/p"));
    assert_eq!(head.query(), Some("q"));
    let bare = request("GET http://other HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((bare.path(), bare.query()), ("/", None));
    let query = request("GET http://other?x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((query.path(), query.query()), ("/", Some("x")));
    assert_eq!(query.path_and_query(), "/?x");
    let server = request("OPTIONS http://other HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(server.path(), "*");
    // What goes on as Host is the authority that was routed by, and no other.
    assert_eq!(shown(&head.fields), ["Host: Other:81"]);
    let old = request("GET http://other/ HTTP/1.0\r\nX: y\r\n\r\n").unwrap();
    assert_eq!(shown(&old.fields), ["X: y", "Host: other"]);
    refused("GET http://other/ HTTP/1.1\r\n\r\n", "host_missing");
    refused("GET http://other/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "host_repeated");
    refused("GET http://other/ HTTP/1.1\r\nHost: u@a\r\n\r\n", "host_malformed");
}

#[test]
fn dot_segments_lead_nowhere_else() {
    let cases = [
        ("/a/./b", "/a/b"),
        ("/a/b/../c", "/a/c"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/..", "/"),
        ("/../../a", "/a"),
        ("/a//../b", "/a/b"),
        ("/api/%2e%2E/admin", "/admin"),
        ("/api/.%2e/admin", "/admin"),
        ("/api/%2E./admin?x=/../y", "/admin?x=/../y"),
        ("http://b.test/a/../c", "/c"),
        // These only look like it.
        ("/.well-known/x", "/.well-known/x"),
        ("/a/...", "/a/..."),
        ("/a/..b/c..", "/a/..b/c.."),
        ("/a/%2e%2e%2e/%2F..", "/a/%2e%2e%2e/%2F.."),
        ("/%20/%", "/%20/%"),
    ];
    for (target, expect) in cases {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(request(&text).unwrap().path_and_query(), expect, "{target}");
        if target.starts_with('/') {
            let mut head = RequestHead::new();
            head.begin_h2("GET", target, "a", &LIMITS).unwrap();
            assert_eq!(head.path_and_query(), expect, "{target}");
        }
    }
}

#[test]
fn targets_have_the_form_their_method_allows() {
    let line = |line: &str| format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(&line("CONNECT a:443"), "connect");
    refused(&line("GET *"), "target_form");
    refused(&line("GET a:443"), "target_form");
    refused(&line("GET ftp://a/"), "target_form");
    refused(&line("GET /#x"), "target_bytes");
    refused(&line("GET /ä"), "target_bytes");
    refused(&line("GET http://"), "host_empty");
    refused(&line("GET /a\\\\b"), "target_bytes");
    refused(&line("GET a"), "target_form");
    refused(&line("CONNECT /"), "connect");
    assert!(request(&line("GET /a?b\\\\c")).is_ok());
    assert!(request(&line("TRACE /")).is_ok());
    refused(&line("GET http://u@h/"), "host_malformed");
    assert!(request(&line("OPTIONS *")).is_ok_and(|head| head.path() == "*"));
}

#[test]
fn framing_is_certain_or_refused() {
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    let cases = [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked", "two_framings"),
        ("Content-Length: 1\r\nContent-Length: 1", "content_length_repeated"),
        ("Content-Length: 1, 1", "content_length"),
        ("Content-Length: +1", "content_length"),
        ("Content-Length: -1", "content_length"),
        ("Content-Length: 0x1", "content_length"),
        ("Content-Length: 1 1", "content_length"),
        ("Content-Length:", "content_length"),
        ("Content-Length: 18446744073709551616", "content_length"),
        ("Content-Length: 18446744073709551617", "content_length"),
        ("Content-Length: 9223372036854775808", "content_length"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "transfer_encoding_repeated"),
        ("Transfer-Encoding: chunked, chunked", "transfer_encoding"),
        ("Transfer-Encoding: ,chunked", "transfer_encoding"),
        ("Transfer-Encoding: xchunked", "transfer_encoding"),
        ("Transfer-Encoding: chunked;a=b", "transfer_encoding"),
        ("Transfer-Encoding: identity", "transfer_encoding"),
        ("Transfer-Encoding: gzip, chunked", "transfer_encoding"),
        ("Transfer-Encoding: gzip", "transfer_encoding"),
        ("Transfer-Encoding:", "transfer_encoding"),
    ];
    for (fields, reason) in cases {
        refused(&post(fields), reason);
    }
    let length = |fields: &str| request(&post(fields)).map(|head| head.framing);
    assert_eq!(length("X: y"), Ok(Framing::None));
    assert_eq!(length("Content-Length: 0"), Ok(Framing::Length(0)));
    assert_eq!(length("content-length:\t007 "), Ok(Framing::Length(7)));
    assert_eq!(
        length(&format!("Content-Length: {}", i64::MAX)),
        Ok(Framing::Length(i64::MAX as u64))
    );
    // A coding we do not know is 501, a list of codings is 400.
    assert_eq!(
        length("Transfer-Encoding: cow"),
        Err(HeadError::NotImplemented("transfer_encoding"))
    );
    assert_eq!(length("Transfer-Encoding: cow, chunked"), Err(HeadError::Bad("transfer_encoding")));
    refused("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", "trace_with_body");
    refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer_encoding_in_http10");
    assert!(
        request(&post("Transfer-Encoding: Chunked")).is_ok_and(|h| h.framing == Framing::Chunked)
    );
}

#[test]
fn bytes_that_two_readers_see_differently_are_refused() {
    let cases = [
        ("GET / HTTP/1.1\nHost: a\n\n", "bare_line_feed"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", "bare_line_feed"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", "bare_line_feed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "bare_carriage_return"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "folded_field"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "nul_byte"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "field_name"),
        ("GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n", "field_name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX Y: a\r\n\r\n", "field_name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX(: a\r\n\r\n", "field_name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", "field_value"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", "field_value"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "folded_field"),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", "bare_carriage_return"),
        ("GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", "field_name"),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "request_line"),
        ("GET / a HTTP/1.1\r\nHost: a\r\n\r\n", "request_line"),
        ("GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", "request_line"),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "request_line"),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "request_line"),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", "request_line"),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", "version_unsupported"),
        ("GET /\r\n\r\n", "request_line"),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "request_line"),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "request_line"),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "request_line"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "version_unsupported"),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "version_unsupported"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version_unsupported"),
        ("GET / HTTX/1.1\r\nHost: a\r\n\r\n", "request_line"),
    ];
    for (text, reason) in cases {
        refused(text, reason);
    }
    assert!(request("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
}

#[test]
fn bounds_hold_before_the_head_is_complete() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(3000));
    refused(&long, "target_too_long");
    refused(&format!("GET /{}", "x".repeat(9000)), "target_too_long");
    let fields = "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(200);
    refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}"), "head_too_large");
    let many = "A: b\r\n".repeat(100);
    refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), "head_too_large");
    let enough = "A: b\r\n".repeat(99);
    assert!(request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{enough}\r\n")).is_ok());
    refused("\x16\x03\x01", "request_line");
    // A target is known to be too long before it ends, whatever the pieces were.
    let found = in_pieces(format!("GET /{}", "x".repeat(2100)).as_bytes(), (0..2200).collect());
    assert_eq!(found.map(drop), Err(HeadError::TargetTooLong));
    let wide = HeadLimits { fields: 1000, ..LIMITS };
    let full = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(999));
    assert_eq!(RequestHead::new().parse(full.as_bytes(), &wide), Ok(Some(full.len())));
    let over = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(1000));
    assert_eq!(RequestHead::new().parse(over.as_bytes(), &wide), Err(HeadError::TooLarge));
}

#[test]
fn hop_by_hop_is_marked_with_what_connection_names() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Secret, Host\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nY: 2\r\n\r\n";
    let head = request(text).unwrap();
    let passed: Vec<_> = head
        .fields
        .iter()
        .filter(|f| !f.hop)
        .map(|f| String::from_utf8_lossy(f.name()).into_owned())
        .collect();
    assert_eq!(passed, ["Host", "Y"]);
    assert!(!head.keep_alive);
}

#[test]
fn an_upgrade_needs_everything_a_websocket_needs() {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    let full = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x";
    assert!(request(&get(full)).unwrap().websocket);
    for part in [
        "Connection: keep-alive, Upgrade\r\n",
        "Upgrade: websocket\r\n",
        "\r\nSec-WebSocket-Key: x",
    ] {
        assert!(!request(&get(&full.replace(part, ""))).unwrap().websocket, "{part}");
    }
    let h2c = full.replace("websocket", "h2c");
    assert!(!request(&get(&h2c)).unwrap().websocket);
    assert!(!request(&get(&format!("{full}\r\nContent-Length: 3"))).unwrap().websocket);
}

#[test]
fn expectations_other_than_continue_are_refused() {
    let post = |expect: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: {expect}\r\n\r\n")
    };
    assert!(request(&post("100-Continue")).unwrap().expect_continue);
    refused(&post("teapot"), "expect_unknown");
    refused(&post("100-continue\r\nExpect: 100-continue"), "expect_unknown");
}

#[test]
fn http2_heads_meet_the_same_checks() {
    let read = |authority: &str, fields: &[(&str, &str)]| {
        let mut head = RequestHead::new();
        head.begin_h2("GET", "/a?b", authority, &LIMITS)?;
        fields.iter().for_each(|(name, value)| head.fields.push(name.as_bytes(), value.as_bytes()));
        head.finish_h2(Framing::None).map(|()| head)
    };
    let joined = read("A:1", &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]).unwrap();
    assert_eq!(joined.fields.get(Known::Cookie), Some(&b"a=1; b=2"[..]));
    assert_eq!((joined.host(), joined.path(), joined.query()), ("a", "/a", Some("b")));
    let reason = |authority, fields: &[(&str, &str)]| {
        read(authority, fields).map(drop).map_err(HeadError::reason)
    };
    assert_eq!(reason("a", &[("connection", "close")]), Err("connection_specific_field"));
    assert_eq!(reason("a", &[("te", "gzip")]), Err("te_in_http2"));
    assert_eq!(reason("a", &[("host", "b")]), Err("host_disagrees"));
    assert_eq!(reason("u@a", &[]), Err("host_malformed"));
    assert_eq!(reason("", &[]), Err("host_missing"));
    assert_eq!(reason("", &[("host", "b")]), Ok(()));
    assert_eq!(reason("a", &[("host", "A")]), Ok(()));
    assert_eq!(reason("a", &[("host", "a"), ("host", "a")]), Err("host_repeated"));
    assert_eq!(reason("", &[("host", "u@b")]), Err("host_malformed"));
    assert_eq!(reason("a", &[("transfer-encoding", "chunked")]), Err("connection_specific_field"));
    assert_eq!(reason("a", &[("X", "y")]), Err("field_name"));
    assert_eq!(reason("a", &[("x y", "y")]), Err("field_name"));
    assert_eq!(reason("a", &[("", "y")]), Err("field_name"));
    assert_eq!(reason("a", &[("x", "a\r\nb: c")]), Err("field_value"));
    assert_eq!(reason("a", &[("x", "a\0")]), Err("field_value"));
    assert_eq!(reason("a", &[("content-length", "5")]), Err("content_length"));
    assert_eq!(reason("a", &[("x", "y"); 101]), Err("head_too_large"));
    let hosted = read("a", &[("x", "y"), ("host", "a"), ("te", "trailers")]).unwrap();
    assert_eq!(shown(&hosted.fields), ["x: y", "(te: trailers)"]);
    assert!(hosted.te_trailers && hosted.keep_alive && !hosted.websocket);
}

#[test]
fn http2_bodies_are_framed_by_what_was_declared() {
    let framing = |length: Option<&str>, transport| {
        let mut head = RequestHead::new();
        head.begin_h2("POST", "/", "a", &LIMITS)?;
        if let Some(length) = length {
            head.fields.push(b"content-length", length.as_bytes());
        }
        head.finish_h2(transport).map(|()| head.framing)
    };
    let wrong = Err(HeadError::Bad("content_length"));
    let cases = [
        (None, Framing::None, Ok(Framing::None)),
        (None, Framing::Chunked, Ok(Framing::Chunked)),
        (Some("5"), Framing::Chunked, Ok(Framing::Length(5))),
        (Some("5"), Framing::Length(5), Ok(Framing::Length(5))),
        (Some("5"), Framing::Length(6), wrong),
        (Some("5"), Framing::None, wrong),
        (Some("0"), Framing::None, Ok(Framing::Length(0))),
        (Some("+5"), Framing::Chunked, wrong),
        (Some("5,5"), Framing::Chunked, wrong),
    ];
    for (length, transport, expected) in cases {
        assert_eq!(framing(length, transport), expected, "{length:?} {transport:?}");
    }
    let begun = |method: &str, path: &str| {
        RequestHead::new().begin_h2(method, path, "a", &LIMITS).map_err(HeadError::reason)
    };
    assert_eq!(begun("CONNECT", ""), Err("connect"));
    assert_eq!(begun("GET", "*"), Err("target_form"));
    assert_eq!(begun("GET", ""), Err("target_form"));
    assert_eq!(begun("GET", "/#"), Err("target_bytes"));
    assert_eq!(begun("G T", "/"), Err("method"));
    assert_eq!(begun("OPTIONS", "*"), Ok(()));
    assert_eq!(begun("GET", &format!("/{}", "x".repeat(3000))), Err("target_too_long"));
}

#[test]
fn the_connection_stays_by_version_and_option() {
    let stays = |version: &str, connection: &str| {
        request(&format!("GET / {version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n"))
            .is_ok_and(|head| head.keep_alive)
    };
    assert!(stays("HTTP/1.1", "x"));
    assert!(!stays("HTTP/1.1", "x, Close"));
    assert!(!stays("HTTP/1.1", "keep-alive\r\nConnection: close"));
    assert!(!stays("HTTP/1.0", "x"));
    assert!(stays("HTTP/1.0", "Keep-Alive"));
    assert!(!stays("HTTP/1.0", "keep-alive, close"));
}

#[test]
fn methods_are_told_apart_by_case_and_kept_as_sent() {
    let line = |method: &str| format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
    for (text, method, label) in [
        ("GET", Method::Get, "GET"),
        ("PATCH", Method::Patch, "PATCH"),
        ("get", Method::Other, "OTHER"),
        ("VERSION-CONTROL", Method::Other, "OTHER"),
    ] {
        let head = request(&line(text)).unwrap();
        assert_eq!((head.method, head.method.as_label()), (method, label));
        assert_eq!(head.method_text(), text);
    }
    assert!(Method::Put.is_idempotent() && !Method::Put.is_safe() && !Method::Post.is_idempotent());
}

#[test]
fn a_head_that_is_used_again_keeps_nothing_of_the_last() {
    let mut head = RequestHead::new();
    let first = b"POST http://other/long?q HTTP/1.0\r\nContent-Length: 3\r\nTE: trailers\r\n\r\n";
    head.parse(first, &LIMITS).unwrap().unwrap();
    let second = "GET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    head.parse(second.as_bytes(), &LIMITS).unwrap().unwrap();
    assert_eq!(everything(&head), everything(&request(second).unwrap()));
}

#[test]
fn one_byte_at_a_time_gives_the_same_head() {
    let texts = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\n\r\n",
        "\r\nPOST /a?b=c HTTP/1.1\r\nHost:  a:1 \r\nX:\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
        "PURGE http://b/ HTTP/1.0\r\nContent-Length: 5\r\nConnection: keep-alive, x\r\nX: y\r\n\r\n",
    ];
    for text in texts {
        let whole = everything(&request(text).unwrap());
        let end = text.find("\r\n\r\n").unwrap() + 4;
        let bytewise = in_pieces(text.as_bytes(), (0..text.len()).collect()).unwrap();
        assert_eq!((everything(&bytewise.0), bytewise.1), (whole.clone(), end));
        for cut in 0..text.len() {
            let (head, consumed) = in_pieces(text.as_bytes(), vec![cut]).unwrap();
            assert_eq!((everything(&head), consumed), (whole.clone(), end), "{text:?} at {cut}");
        }
    }
}

/// Reads a head that comes up to each cut in turn, and then whole.
fn in_pieces(text: &[u8], mut cuts: Vec<usize>) -> Result<(RequestHead, usize), HeadError> {
    cuts.sort_unstable();
    let mut head = RequestHead::new();
    for end in cuts.into_iter().filter(|cut| *cut < text.len()).chain([text.len()]) {
        if let Some(consumed) = head.parse(&text[..end], &LIMITS)? {
            return Ok((head, consumed));
        }
    }
    Err(HeadError::Bad("incomplete"))
}

/// All that a head says, for comparing.
fn everything(head: &RequestHead) -> (Vec<String>, Framing, HttpVersion, [bool; 4]) {
    let mut texts = shown(&head.fields);
    let own =
        [head.method_text(), head.path(), head.path_and_query(), head.authority(), head.host()];
    texts.extend(own.map(str::to_owned));
    let flags = [head.keep_alive, head.expect_continue, head.websocket, head.te_trailers];
    (texts, head.framing, head.version, flags)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = RequestHead::new().parse(&bytes, &LIMITS);
    }

    #[test]
    fn almost_requests_never_panic(
        line in "(GET|POST|X) [ -~]{0,20} HTTP/1.[01]\r\n",
        fields in proptest::collection::vec("[!-~]{1,12}: ?[ -~\t\r\n]{0,20}\r\n", 0..6),
    ) {
        let text = format!("{line}Host: a\r\n{}\r\n", fields.concat());
        if let Ok(head) = request(&text) {
            prop_assert!(head.path().starts_with('/') || head.path() == "*");
            prop_assert!(!head.host().contains([' ', '/', '@']));
        }
    }

    #[test]
    fn what_is_read_does_not_depend_on_the_pieces(
        line in "(GET|POST|OPTIONS|X) (/[!-~]{0,9}|[*]|http://b:1/?) HTTP/1.[01]\r\n",
        fields in proptest::collection::vec("[a-zA-Z-]{1,8}: ?[ -~\t]{0,20}(\r\n|\r\n|\r\n|\n)", 0..6),
        cuts in proptest::collection::vec(0usize..300, 0..6),
    ) {
        let text = format!("{line}Host: a\r\n{}\r\nrest", fields.concat());
        let whole = request(&text).map(|head| everything(&head));
        let pieces = in_pieces(text.as_bytes(), cuts).map(|(head, _)| everything(&head));
        prop_assert_eq!(pieces.is_ok(), whole.is_ok());
        if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
            prop_assert_eq!(pieces, whole);
        }
    }

    /// Heads that have lines in common, in good and in bad ones.
    #[test]
    fn what_is_read_does_not_depend_on_the_head_before(
        heads in proptest::collection::vec((request_line(), lines_of_few()), 2..6),
        cut in 0usize..120,
    ) {
        let mut used = RequestHead::new();
        for (line, lines) in heads {
            let text = format!("{line}{}\r\n\r\n", lines.concat());
            let _ = used.parse(&text.as_bytes()[..cut.min(text.len())], &LIMITS);
            let found = read(&mut used, &text);
            prop_assert_eq!(found, read(&mut RequestHead::new(), &text), "{:?}", text);
            used.clear();
            prop_assert!(used.fields.is_empty());
        }
    }
}

type Read = Result<Option<(usize, (Vec<String>, Framing, HttpVersion, [bool; 4]))>, HeadError>;

fn read(head: &mut RequestHead, text: &str) -> Read {
    let length = head.parse(text.as_bytes(), &LIMITS)?;
    Ok(length.map(|length| (length, everything(head))))
}

fn request_line() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\n",
        "POST /long?query HTTP/1.1\r\n",
        "GET http://other/ HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "GET / HTTP/1.",
        "GET /\r\n",
    ])
}
