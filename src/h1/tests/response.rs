use proptest::prelude::*;

use super::{LIMITS, lines_of_few, shown};
use crate::h1::head::{Framing, HeadError, Method, ResponseHead};

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
        ("200\r\nContent-Length: 5", Method::Get, Framing::Length(5), true),
        ("200 caf\u{e9}\r\nContent-Length: 5", Method::Get, Framing::Length(5), true),
        ("200 OK\r\nTransfer-Encoding: chunked", Method::Head, Framing::None, true),
        ("204 No Content\r\nContent-Length: 0", Method::Get, Framing::None, true),
        // There can be no body, yet one is announced: what comes next cannot be trusted.
        ("204 No Content\r\nContent-Length: 5", Method::Get, Framing::None, false),
        ("204 No Content\r\nTransfer-Encoding: chunked", Method::Get, Framing::None, false),
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
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer_encoding_in_http10"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "content_length"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n", "transfer_encoding"),
        ("HTTP/1.1 999 OK\r\n\r\n", "status"),
        ("HTTP/2.0 200 OK\r\n\r\n", "version_unsupported"),
        ("HTTP/1.1 099 OK\r\n\r\n", "status"),
        ("HTTP/1.1 600 OK\r\n\r\n", "status"),
        ("HTTP/1.1 20x OK\r\n\r\n", "status_line"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "status_line"),
        ("HTTP/1.1 200 OK\nX: y\r\n\r\n", "bare_line_feed"),
        ("HTTP/1.1 200 OK\r\nX: y\n\n", "bare_line_feed"),
        ("HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", "folded_field"),
        ("HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "field_name"),
        ("HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n", "nul_byte"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "content_length"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", "transfer_encoding"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "transfer_encoding_repeated",
        ),
        (
            "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            "upgrade_unasked",
        ),
        ("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", "upgrade_unasked"),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", "not_http"),
        ("ICY 200 OK\r\n\r\n", "not_http"),
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
fn the_length_of_an_answer_without_body_can_be_passed_on() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\nContent-Length: 5\r\n\r\n";
    let head = response(text, Method::Head).unwrap();
    assert_eq!(head.framing, Framing::None);
    assert_eq!(shown(&head.fields), ["Content-Length: 5", "X: y"]);
}

#[test]
fn an_old_server_closes_unless_it_says_otherwise() {
    let keep = |fields: &str| {
        let text = format!("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n{fields}\r\n");
        response(&text, Method::Get).unwrap().keep_alive
    };
    assert!(!keep(""));
    assert!(keep("Connection: keep-alive\r\n"));
}

#[test]
fn a_websocket_answer_is_known() {
    let text =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    let head = response(text, Method::Get).unwrap();
    assert!(head.websocket && head.framing == Framing::None);
}

#[test]
fn what_the_origin_nominates_stops_here() {
    let text = "HTTP/1.1 200 OK\r\nConnection: X-Inner\r\nX-Inner: 1\r\nY: 2\r\n\r\n";
    let head = response(text, Method::Get).unwrap();
    assert_eq!(shown(&head.fields), ["(Connection: X-Inner)", "(X-Inner: 1)", "Y: 2"]);
}

#[test]
fn bounds_of_a_response_hold() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
    assert_eq!(response(&many, Method::Get).map(drop), Err(HeadError::TooLarge));
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(9000));
    assert_eq!(response(&endless, Method::Get).map(drop), Err(HeadError::TooLarge));
}

#[test]
fn one_made_by_hand_stays_open_and_is_empty() {
    let mut head = response("HTTP/1.0 200 OK\r\nX: y\r\n\r\n", Method::Get).unwrap();
    head.begin(301);
    assert_eq!((head.status, head.framing, head.keep_alive), (301, Framing::None, true));
    assert!(head.fields.is_empty());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = ResponseHead::new().parse(&bytes, Method::Get, &LIMITS);
    }

    #[test]
    fn what_is_read_does_not_depend_on_the_cut(
        fields in proptest::collection::vec("[a-zA-Z-]{1,8}: ?[ -~\t]{0,20}\r\n", 0..6),
        cut in 0usize..200,
    ) {
        let text = format!("HTTP/1.1 200 OK\r\n{}\r\nbody", fields.concat());
        let whole = response(&text, Method::Get).map(|head| (shown(&head.fields), head.framing));
        let mut head = ResponseHead::new();
        let first = head.parse(&text.as_bytes()[..cut.min(text.len())], Method::Get, &LIMITS);
        let found = match first {
            Ok(None) => head.parse(text.as_bytes(), Method::Get, &LIMITS),
            known => known,
        };
        let found = found.map(|consumed| (consumed, shown(&head.fields), head.framing));
        let expected = whole.map(|(fields, framing)| (Some(text.len() - 4), fields, framing));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn what_is_read_does_not_depend_on_the_head_before(
        heads in proptest::collection::vec((status_line(), lines_of_few()), 2..6),
        cut in 0usize..120,
    ) {
        let mut used = ResponseHead::new();
        for (line, lines) in heads {
            let text = format!("{line}{}\r\n\r\n", lines.concat());
            let _ = used.parse(&text.as_bytes()[..cut.min(text.len())], Method::Get, &LIMITS);
            let found = read(&mut used, &text);
            prop_assert_eq!(found, read(&mut ResponseHead::new(), &text), "{:?}", text);
            used.clear();
            prop_assert!(used.fields.is_empty());
        }
    }
}

type Read = Result<Option<(usize, Vec<String>, Framing, [bool; 2])>, HeadError>;

fn read(head: &mut ResponseHead, text: &str) -> Read {
    let length = head.parse(text.as_bytes(), Method::Get, &LIMITS)?;
    let flags = [head.keep_alive, head.websocket];
    Ok(length.map(|length| (length, shown(&head.fields), head.framing, flags)))
}

fn status_line() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\n",
        "HTTP/1.1 304 Not Modified\r\n",
        "HTTP/1.0 200\r\n",
        "HTTP/1.1 20\r\n",
        "HTTP/1.",
    ])
}
