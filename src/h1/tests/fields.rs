use crate::h1::fields::{Fields, Known, may_be_trailer};

use super::shown;

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    lines.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
    fields
}

#[test]
fn names_are_known_whatever_their_case() {
    let cases = [
        ("Host", Known::Host),
        ("CONTENT-LENGTH", Known::ContentLength),
        ("te", Known::Te),
        ("X-Forwarded-Proto", Known::XForwardedProto),
        ("Proxy-Authorization", Known::ProxyAuthorization),
        ("hosts", Known::Other),
        ("Hos", Known::Other),
        ("content_length", Known::Other),
        ("", Known::Other),
    ];
    for (name, known) in cases {
        assert_eq!(Known::of(name.as_bytes()), known, "{name}");
    }
}

#[test]
fn every_known_field_has_its_name() {
    let names = "authorization cache-control connection content-encoding content-length content-type \
                 cookie date expect forwarded host keep-alive location proxy-authenticate \
                 proxy-authorization proxy-connection server set-cookie te traceparent trailer \
                 transfer-encoding upgrade via x-forwarded-client-cert x-forwarded-for x-forwarded-host \
                 x-forwarded-proto x-request-id x-tidegate-shadow x-tidegate-version";
    let known: Vec<_> = names.split(' ').map(|name| Known::of(name.as_bytes()) as u8).collect();
    assert_eq!(known, (1..=31).collect::<Vec<_>>());
}

#[test]
fn values_are_found_by_kind_and_by_name() {
    let found = fields(&[("A", "1"), ("Cookie", " x=1\t"), ("a", "2"), ("cookie", "y=2")]);
    assert_eq!(found.find("a"), Some(&b"1"[..]));
    assert_eq!(found.find_all("A").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(found.get(Known::Cookie), Some(&b"x=1"[..]));
    assert_eq!(found.all(Known::Cookie).collect::<Vec<_>>(), [b"x=1", b"y=2"]);
    assert_eq!((found.get(Known::Host), found.find("b"), found.len()), (None, None, 4));
}

#[test]
fn nomination_stops_fields_but_not_those_a_message_needs() {
    let mut found = fields(&[
        ("X-A", "1"),
        ("Host", "a"),
        ("X-Forwarded-For", "1.1.1.1"),
        ("connection", "close, x-a,,  HOST ,content-length, x-forwarded-for"),
        ("Content-Length", "1"),
        ("Connection", "X-B"),
        ("x-b", "2"),
        ("close", "3"),
    ]);
    found.nominate_from_connection();
    let passed: Vec<_> =
        found.iter().filter(|field| !field.hop).map(|field| field.name()).collect();
    assert_eq!(passed, [&b"Host"[..], b"X-Forwarded-For", b"Content-Length", b"close"]);
}

#[test]
fn oversize_fields_keep_their_bounds() {
    let name = "n".repeat(70_000);
    let value = "v".repeat(200_000);
    let found = fields(&[(&name, &value), ("b", "2")]);
    assert_eq!(found.find(&name).map(<[u8]>::len), Some(200_000));
    assert_eq!(found.find("b"), Some(&b"2"[..]));
}

#[test]
fn crumbs_are_joined_in_place() {
    let mut found = fields(&[("cookie", "a"), ("x", "y"), ("cookie", ""), ("cookie", "c")]);
    found.join(Known::Cookie, b"; ");
    assert_eq!(shown(&found), ["cookie: a; ; c", "x: y"]);
    found.join(Known::Cookie, b"; ");
    found.set(b"X", b"z");
    found.set(b"new", b"1");
    assert_eq!(shown(&found), ["cookie: a; ; c", "x: z", "new: 1"]);
    found.remove(Known::Cookie);
    assert_eq!(shown(&found), ["x: z", "new: 1"]);
    found.clear();
    assert!(found.is_empty());
}

#[test]
fn secrets_are_not_shown() {
    let found = fields(&[("Authorization", "Basic abc"), ("cookie", "s=1"), ("x", "y")]);
    let text = format!("{found:?}");
    assert_eq!(text, r#"["Authorization: (9 bytes)", "cookie: (3 bytes)", "x: y"]"#);
}

#[test]
fn trailers_that_could_mislead_are_told_from_those_that_inform() {
    for name in ["grpc-status", "Content-Digest", "Server-Timing", "x-sum", "etag"] {
        assert!(may_be_trailer(name.as_bytes()), "{name}");
    }
    for name in [
        "Content-Type",
        "content-range",
        "Set-Cookie",
        "Host",
        "TE",
        "Trailer",
        "If-Match",
        "Range",
        "X-Forwarded-Custom",
        "Via",
        "www-authenticate",
        "Date",
        "Expect",
        "Vary",
    ] {
        assert!(!may_be_trailer(name.as_bytes()), "{name}");
    }
}

#[test]
fn fields_are_written_as_if_each_was_written_alone() {
    use crate::h1::head::{HeadLimits, RequestHead};
    let heads: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:a\r\nA:\t1\r\nB:  2 \r\nC: 3\r\nD: 4\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: 1\r\nX: dropped\r\nB: 2\r\nHost: a\r\nC: \r\nD:\r\n\r\n",
        b"GET http://b/ HTTP/1.1\r\nA: 1\r\nHost: a\r\nConnection: X\r\nX: 1\r\nB: 2\r\n\r\n",
    ];
    for bytes in heads {
        let mut head = RequestHead::new();
        head.parse(bytes, &HeadLimits { bytes: 4096, fields: 20, target: 100 }).unwrap();
        let (mut written, mut alone) = (Vec::new(), Vec::new());
        head.fields.write(&mut written, |field| !field.hop && field.name() != b"X");
        for field in head.fields.iter().filter(|field| !field.hop && field.name() != b"X") {
            crate::h1::write::field(&mut alone, field.name(), field.value());
        }
        let [written, alone] = [written, alone].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(written, alone);
    }
}

/// Fields as they are read off lines.
fn read(lines: &str) -> Fields {
    let mut fields = Fields::default();
    let mut room = [httparse::EMPTY_HEADER; 8];
    let block = format!("{lines}\r\n");
    let parsed = httparse::parse_headers(block.as_bytes(), &mut room).unwrap().unwrap().1;
    fields.push_lines(&block.as_bytes()[..lines.len()], parsed);
    fields
}

#[test]
fn the_lines_that_two_heads_begin_with_are_read_once() {
    let long = format!("A: {}\r\n", "a".repeat(80));
    let cases = [
        ("A: b\r\nC: d\r\n", "A: b\r\nC: d\r\n\r\n", 12),
        ("A: b\r\nC: d\r\n", "A: b\r\nC: d\r\nE: f\r\n\r\n", 12),
        ("A: b\r\nC: d\r\n", "A: b\r\nC: e\r\n\r\n", 6),
        ("A: b\r\nC: d\r\n", "A: b\r\n\r\n", 6),
        ("A: b\r\nC: d\r\n", "A: b\r\nC: d\r", 6),
        ("A: b\r\nC: d\r\n", "A: c\r\nC: d\r\n\r\n", 0),
        ("", "A: b\r\n\r\n", 0),
        (&long, &long, 85),
        // How a secret begins is nothing that the next client's may be compared with.
        ("A: b\r\nCookie: c\r\nD: e\r\n", "A: b\r\nCookie: c\r\nD: e\r\n\r\n", 6),
    ];
    for (before, after, bytes) in cases {
        let lines: Vec<_> = after[..bytes].lines().map(str::to_owned).collect();
        let mut found = read(before);
        let kept = found.keep_common(after.as_bytes());
        assert_eq!((kept, shown(&found)), (bytes, lines), "{before:?} {after:?}");
    }
}

#[test]
fn fields_that_were_changed_are_read_anew() {
    let lines = "A: b\r\nConnection: a\r\n";
    let changes: [fn(&mut Fields); 6] = [
        |fields| fields.push(b"C", b"d"),
        |fields| fields.set(b"A", b"c"),
        |fields| fields.remove(Known::Connection),
        |fields| fields.keep_first(Known::Other),
        |fields| fields.nominate_from_connection(),
        |fields| fields.clear(),
    ];
    for change in changes {
        let mut found = read(lines);
        change(&mut found);
        assert_eq!(found.keep_common(lines.as_bytes()), 0);
        assert!(found.is_empty());
    }
}
