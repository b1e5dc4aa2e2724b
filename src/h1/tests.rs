use proptest::prelude::*;

use super::body::{BodyError, Decoder, Encoder};
use super::fields::{Fields, Known};
use super::head::{Framing, HeadError, HeadLimits, Method, RequestHead, ResponseHead};
use super::write;

const LIMITS: HeadLimits = HeadLimits { bytes: 8192, fields: 100, target: 2048 };

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
    for bad in ["a b", "a/b", "u@h", "a:port", "a:99999", "[::1", "[zz]", "a,b c", "a:80:80", "a?"]
    {
        refused(&get(&format!("Host: {bad}")), "host_malformed");
    }
    for good in ["a", "a:80", "[::1]", "[::1]:80", "a.b.", "127.0.0.1:1"] {
        assert!(request(&get(&format!("Host: {good}"))).is_ok(), "{good}");
    }
    assert!(request("GET / HTTP/1.0\r\n\r\n").is_ok_and(|head| head.host().is_empty()));
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
    refused(&line("GET http://"), "target_without_host");
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
}

#[test]
fn hop_by_hop_is_marked_with_what_connection_names() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Secret, Host\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nY: 2\r\n\r\n";
    let head = request(text).unwrap();
    let passed: Vec<_> = head
        .fields
        .iter()
        .filter(|f| !f.hop)
        .map(|f| String::from_utf8_lossy(f.name).into_owned())
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

fn response(text: &str, method: Method) -> Result<ResponseHead, HeadError> {
    let mut head = ResponseHead::new();
    match head.parse(text.as_bytes(), method, &LIMITS)? {
        Some(_) => Ok(head),
        None => Err(HeadError::Bad("incomplete")),
    }
}

#[test]
fn a_response_is_framed_by_status_method_and_fields() {
    let cases = [
        ("200 OK\r\nContent-Length: 5", Method::Get, Framing::Length(5), true),
        ("200 OK\r\nTransfer-Encoding: chunked", Method::Get, Framing::Chunked, true),
        ("200 OK\r\nX: y", Method::Get, Framing::UntilClose, false),
        ("200 OK\r\nContent-Length: 5", Method::Head, Framing::None, true),
        ("304 Not Modified\r\nContent-Length: 5", Method::Get, Framing::None, true),
        ("204 No Content\r\nX: y", Method::Get, Framing::None, true),
        ("100 Continue\r\nX: y", Method::Get, Framing::None, true),
        ("200 OK\r\nContent-Length: 5\r\nContent-Length: 5", Method::Get, Framing::Length(5), true),
        (
            "200 OK\r\nContent-Length: 5\r\nConnection: close",
            Method::Get,
            Framing::Length(5),
            false,
        ),
    ];
    for (text, method, framing, keep) in cases {
        let head = response(&format!("HTTP/1.1 {text}\r\n\r\n"), method).unwrap();
        assert_eq!((head.framing, head.keep_alive), (framing, keep), "{text}");
    }
}

#[test]
fn a_response_that_lies_is_refused() {
    let cases = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "two_framings",
        ),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "two_framings"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "content_length"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n", "transfer_encoding"),
        ("HTTP/1.1 999 OK\r\n\r\n", "status"),
        ("HTTP/2.0 200 OK\r\n\r\n", "response_head_malformed"),
        ("SSH-2.0-x", "not_http"),
    ];
    for (text, reason) in cases {
        assert_eq!(
            response(text, Method::Get).map(drop).map_err(HeadError::reason),
            Err(reason),
            "{text:?}"
        );
    }
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
}

fn decode_all(
    framing: Framing,
    input: &[u8],
    cut: usize,
) -> Result<(Vec<u8>, usize, bool), BodyError> {
    let mut decoder = Decoder::new(framing);
    let (mut data, mut at) = (Vec::new(), 0);
    for piece in input.chunks(cut.max(1)) {
        let mut inside = 0;
        while inside < piece.len() && !decoder.is_done() {
            let step = decoder.decode(&piece[inside..])?;
            data.extend_from_slice(&piece[inside..][step.data.clone()]);
            inside += step.consumed;
        }
        at += inside;
    }
    Ok((data, at, decoder.is_done()))
}

#[test]
fn chunked_bodies_are_read_strictly() {
    let ok: &[(&[u8], &[u8], usize)] = &[
        (b"5\r\nhello\r\n0\r\n\r\nGET", b"hello", 15),
        (b"3;a=b\r\nabc\r\n2 \r\nde\r\n0\r\n\r\n", b"abcde", 25),
        (b"A\r\n0123456789\r\n0\r\nX-T: v\r\n\r\n", b"0123456789", 28),
        (b"00000\r\n\r\n", b"", 9),
    ];
    for (input, data, consumed) in ok {
        let found = decode_all(Framing::Chunked, input, usize::MAX);
        assert_eq!(found, Ok((data.to_vec(), *consumed, true)), "{input:?}");
    }
    let bad: &[(&[u8], BodyError)] = &[
        (b"\r\n", BodyError::ChunkSize),
        (b"g\r\n", BodyError::ChunkSize),
        (b"-1\r\n", BodyError::ChunkSize),
        (b"0x5\r\n", BodyError::ChunkSize),
        (b"5\nhello", BodyError::ChunkSize),
        (b"ffffffffffffffff\r\n", BodyError::ChunkSize),
        (b"5\r\nhelloX\n", BodyError::ChunkEnd),
        (b"5\r\nhello\n0\r\n\r\n", BodyError::ChunkEnd),
        (b"5;\na\r\nhello\r\n", BodyError::ChunkExtension),
        (b"5\rXhello", BodyError::ChunkEnd),
        (b"0\r\nbad\r\n\r\n", BodyError::Trailer),
        (b"0\r\nA: b\n\r\n", BodyError::Trailer),
        (b"0\r\nA : b\r\n\r\n", BodyError::Trailer),
    ];
    for (input, error) in bad {
        assert_eq!(decode_all(Framing::Chunked, input, usize::MAX), Err(*error), "{input:?}");
    }
    let endless = [&b"0\r\n"[..], &b"A: b\r\n".repeat(3000)].concat();
    let found = decode_all(Framing::Chunked, &endless, usize::MAX);
    assert_eq!(found, Err(BodyError::TrailerTooLarge));
}

#[test]
fn trailers_that_act_are_dropped() {
    let mut decoder = Decoder::new(Framing::Chunked);
    let body = b"0\r\nX-Sum: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\nAuthorization: x\r\nSet-Cookie: a\r\n\r\n";
    assert_eq!(decoder.decode(body).map(|step| step.consumed), Ok(body.len()));
    let names: Vec<_> = decoder.trailers().iter().map(|field| field.name.to_vec()).collect();
    assert_eq!(names, [b"X-Sum".to_vec()]);
}

#[test]
fn an_end_before_the_end_is_an_error() {
    assert_eq!(Decoder::new(Framing::Length(3)).on_eof(), Err(BodyError::Truncated));
    assert_eq!(Decoder::new(Framing::Chunked).on_eof(), Err(BodyError::Truncated));
    assert_eq!(Decoder::new(Framing::UntilClose).on_eof(), Ok(()));
    let mut out = Vec::new();
    let mut encoder = Encoder::new(Framing::Length(3));
    assert_eq!(encoder.begin_data(&mut out, 4), Err(BodyError::TooLong));
    assert_eq!(encoder.finish(&mut out, None), Err(BodyError::Truncated));
}

#[test]
fn numbers_are_written_plainly() {
    for number in [0, 7, 10, 255, 4096, 65_535, u32::MAX as usize] {
        let (mut decimal, mut hexadecimal) = (Vec::new(), Vec::new());
        write::number(&mut decimal, number as u64);
        write::hexadecimal(&mut hexadecimal, number);
        assert_eq!(decimal, number.to_string().as_bytes());
        assert_eq!(hexadecimal, format!("{number:x}").as_bytes());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = RequestHead::new().parse(&bytes, &LIMITS);
        let _ = ResponseHead::new().parse(&bytes, Method::Get, &LIMITS);
        let _ = decode_all(Framing::Chunked, &bytes, 7);
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
    fn a_head_is_the_same_wherever_it_is_cut(cut in 1usize..60) {
        let text = b"POST /a?b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n";
        let mut head = RequestHead::new();
        let mut found = None;
        for end in (cut..text.len()).step_by(cut).chain([text.len()]) {
            found = head.parse(&text[..end], &LIMITS).unwrap();
            if found.is_some() {
                break;
            }
        }
        prop_assert_eq!(found, Some(text.len() - 3));
        prop_assert_eq!((head.path(), head.framing), ("/a", Framing::Chunked));
    }

    #[test]
    fn decoding_what_was_encoded_gives_it_back(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8),
        cut in 1usize..40,
    ) {
        let (mut out, mut encoder) = (Vec::new(), Encoder::new(Framing::Chunked));
        for piece in &pieces {
            encoder.begin_data(&mut out, piece.len()).unwrap();
            out.extend_from_slice(piece);
            encoder.end_data(&mut out);
        }
        let mut trailers = Fields::default();
        trailers.push(b"x-sum", b"7");
        encoder.finish(&mut out, Some(&trailers)).unwrap();
        let end = out.len();
        out.extend_from_slice(b"GET / HTTP/1.1");
        let found = decode_all(Framing::Chunked, &out, cut).unwrap();
        prop_assert_eq!(found, (pieces.concat(), end, true));
    }
}
