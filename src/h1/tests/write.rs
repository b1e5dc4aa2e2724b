use crate::h1::head::{Framing, HeadLimits, RequestHead};
use crate::h1::write;

fn written(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn lines_are_written_as_they_are_read() {
    let head = written(|out| {
        write::request_line(out, "GET", "/a", Some("b=c"));
        write::field(out, "host", "x");
        write::framing(out, Framing::Length(5));
        write::end(out);
    });
    assert_eq!(head, "GET /a?b=c HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n");
    let limits = HeadLimits { bytes: 1000, fields: 10, target: 100 };
    let mut read = RequestHead::new();
    assert_eq!(read.parse(head.as_bytes(), &limits), Ok(Some(head.len())));
    assert_eq!((read.path(), read.query(), read.framing), ("/a", Some("b=c"), Framing::Length(5)));
    assert_eq!(
        written(|out| write::request_line(out, "OPTIONS", "*", None)),
        "OPTIONS * HTTP/1.1\r\n"
    );
}

#[test]
fn a_head_is_taken_apart_as_it_was_written() {
    let head = written(|out| {
        write::request_line(out, "GET", "/a", Some("b=c:d"));
        write::field(out, "host", "x:80");
        write::field(out, "x-empty", "");
        write::end(out);
    });
    let head = write::Apart::of(head.as_bytes()).unwrap();
    assert_eq!((head.method, head.target), (&b"GET"[..], &b"/a?b=c:d"[..]));
    assert_eq!(head.collect::<Vec<_>>(), [(&b"host"[..], &b"x:80"[..]), (b"x-empty", b"")]);
    for none in ["", "GET", "GET /a", "GET /a\r\n"] {
        assert!(write::Apart::of(none.as_bytes()).is_none(), "{none:?}");
    }
}

#[test]
fn statuses_have_their_standard_phrase_or_none() {
    assert_eq!(written(|out| write::status_line(out, 200)), "HTTP/1.1 200 OK\r\n");
    assert_eq!(written(|out| write::status_line(out, 299)), "HTTP/1.1 299 \r\n");
    assert_eq!(written(|out| write::status_line(out, 504)), "HTTP/1.1 504 Gateway Timeout\r\n");
}

#[test]
fn framing_is_announced_or_left_out() {
    let framing = |framing| written(|out| write::framing(out, framing));
    assert_eq!(framing(Framing::Length(0)), "content-length: 0\r\n");
    assert_eq!(framing(Framing::Chunked), "transfer-encoding: chunked\r\n");
    assert_eq!(framing(Framing::None) + &framing(Framing::UntilClose), "");
}

#[test]
fn numbers_are_written_plainly() {
    for number in [0, 7, 10, 255, 4096, 65_535, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(written(|out| write::number(out, number)), number.to_string());
        assert_eq!(written(|out| write::hexadecimal(out, number)), format!("{number:x}"));
    }
}
