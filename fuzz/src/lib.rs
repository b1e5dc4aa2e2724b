//! What must hold of any bytes: one function a fuzz target. `tests/it/corpus.rs` runs the same
//! functions over the committed corpus with every `cargo test`.

use std::path::Path;

use tidegate::h1::body::{Decoder, Encoder};
use tidegate::h1::fields::Fields;
use tidegate::h1::head::{Framing, HeadLimits, HttpVersion, Method, RequestHead, ResponseHead};
use tidegate::h1::write;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 32, target: 1024 };
/// What separates the parts of a request of HTTP/2.
const SEPARATOR: u8 = 0x1e;

/// The ends of the pieces that a head is given in: every byte of a small one.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let step = (length / 256).max(1);
    (0..length).step_by(step).chain([length])
}

/// A head that comes in pieces is taken if and only if it is taken at once, and written anew it is
/// the same head. Whatever was read before it, it is the same head too.
pub fn request_head(data: &[u8]) {
    let mut whole = RequestHead::new();
    let at_once = whole.parse(data, &LIMITS);
    let mut used = RequestHead::new();
    for before in data.split_inclusive(|byte| *byte == b'!') {
        let _ = used.parse(before, &LIMITS);
        used.clear();
    }
    assert_eq!(used.parse(data, &LIMITS), at_once, "after another it is another head");
    if matches!(at_once, Ok(Some(_))) {
        assert_eq!(used.fields, whole.fields);
        assert_eq!((used.framing, used.path()), (whole.framing, whole.path()));
        assert_eq!((used.authority(), used.host()), (whole.authority(), whole.host()));
    }
    let mut pieces = RequestHead::new();
    let mut came = Ok(None);
    for end in cuts(data.len()) {
        came = pieces.parse(&data[..end], &LIMITS);
        if !matches!(came, Ok(None)) {
            break;
        }
    }
    match at_once {
        Ok(Some(length)) => {
            assert_eq!(came, Ok(Some(length)), "in pieces it is another head");
            assert_eq!(pieces.fields, whole.fields);
            assert_eq!((pieces.framing, pieces.path()), (whole.framing, whole.path()));
        }
        Ok(None) => assert_eq!(came, Ok(None), "in pieces it ends"),
        Err(_) => assert!(!matches!(came, Ok(Some(_))), "in pieces it is taken"),
    }
    if matches!(at_once, Ok(Some(_))) && whole.version == HttpVersion::Http11 {
        let mut out = Vec::new();
        write::request_line(&mut out, whole.method_text(), whole.path(), whole.query());
        whole.fields.write(&mut out, |_| true);
        write::end(&mut out);
        let mut again = RequestHead::new();
        let roomy = HeadLimits { bytes: 4 * LIMITS.bytes, ..LIMITS };
        assert_eq!(again.parse(&out, &roomy), Ok(Some(out.len())), "written anew it is refused");
        assert_eq!(again.path_and_query(), whole.path_and_query());
        assert_eq!((again.authority(), again.host()), (whole.authority(), whole.host()));
        assert_eq!((again.framing, again.method), (whole.framing, whole.method));
        assert_eq!(again.keep_alive, whole.keep_alive);
    }
}

/// As for requests; and an answer never frames in two ways.
pub fn response_head(data: &[u8]) {
    for method in [Method::Get, Method::Head] {
        let mut whole = ResponseHead::new();
        let at_once = whole.parse(data, method, &LIMITS);
        let mut used = ResponseHead::new();
        for before in data.split_inclusive(|byte| *byte == b'!') {
            let _ = used.parse(before, method, &LIMITS);
            used.clear();
        }
        assert_eq!(used.parse(data, method, &LIMITS), at_once, "after another it is another head");
        if matches!(at_once, Ok(Some(_))) {
            assert_eq!(used.fields, whole.fields);
            assert_eq!((used.framing, used.keep_alive), (whole.framing, whole.keep_alive));
        }
        let mut pieces = ResponseHead::new();
        let mut came = Ok(None);
        for end in cuts(data.len()) {
            came = pieces.parse(&data[..end], method, &LIMITS);
            if !matches!(came, Ok(None)) {
                break;
            }
        }
        match at_once {
            Ok(Some(length)) => {
                assert_eq!(came, Ok(Some(length)), "in pieces it is another head");
                assert_eq!(pieces.fields, whole.fields);
                assert_eq!((pieces.framing, pieces.status), (whole.framing, whole.status));
                assert!((100..=599).contains(&whole.status));
                let announced = |name| whole.fields.find(name).is_some();
                assert!(!(announced("content-length") && announced("transfer-encoding")));
                let bodiless =
                    method == Method::Head || matches!(whole.status, 100..=199 | 204 | 304);
                assert!(!bodiless || whole.framing == Framing::None);
            }
            Ok(None) => assert_eq!(came, Ok(None), "in pieces it ends"),
            Err(_) => assert!(!matches!(came, Ok(Some(_))), "in pieces it is taken"),
        }
    }
}

/// What a body gave: its data, how many bytes it took, its trailers, and whether it is whole.
type Body = (Vec<u8>, usize, Fields, Result<bool, &'static str>);

fn decode(input: &[u8], piece: usize) -> Body {
    let mut decoder = Decoder::new(Framing::Chunked);
    let (mut data, mut at, mut end) = (Vec::new(), 0, 0);
    loop {
        match decoder.decode(&input[at..end]) {
            Ok(step) => {
                data.extend_from_slice(&input[at + step.data.start..at + step.data.end]);
                at += step.consumed;
                if decoder.is_done() || (step.consumed == 0 && end == input.len()) {
                    return (
                        data,
                        at,
                        decoder.trailers().cloned().unwrap_or_default(),
                        Ok(decoder.is_done()),
                    );
                }
                if step.consumed == 0 || at == end {
                    end = (end + piece).min(input.len());
                    if at == end {
                        return (
                            data,
                            at,
                            decoder.trailers().cloned().unwrap_or_default(),
                            Ok(false),
                        );
                    }
                }
            }
            Err(error) => return (data, 0, Fields::default(), Err(error.reason())),
        }
    }
}

/// Any cut of a chunked body gives the same data, and framed anew it is the same body.
pub fn chunked_body(data: &[u8]) {
    let whole = decode(data, data.len().max(1));
    let bytewise = decode(data, 1);
    assert_eq!(bytewise.3, whole.3, "in pieces it ends otherwise");
    if whole.3.is_ok() {
        assert_eq!(bytewise, whole, "in pieces it is another body");
    }
    let (body, _, trailers, end) = whole;
    if end != Ok(true) {
        return;
    }
    let mut out = Vec::new();
    let mut encoder = Encoder::new(Framing::Chunked);
    encoder.begin_data(&mut out, body.len()).expect("chunks hold any number of bytes");
    out.extend_from_slice(&body);
    encoder.end_data(&mut out);
    encoder.finish(&mut out, Some(&trailers)).expect("a chunk that was ended");
    let length = out.len();
    out.extend_from_slice(b"GET / HTTP/1.1\r\n");
    assert_eq!(
        decode(&out, out.len()),
        (body, length, trailers, Ok(true)),
        "framed anew it differs"
    );
}

/// What is taken from a client of HTTP/2 is one request of HTTP/1, and the same: no byte of it can
/// end a line, a head or a body. The parts are method, path, authority, then names and values.
pub fn h2_to_h1(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == SEPARATOR);
    let mut text = || std::str::from_utf8(parts.next().unwrap_or_default()).ok();
    let (Some(method), Some(path), Some(authority)) = (text(), text(), text()) else { return };
    let mut head = RequestHead::new();
    if head.begin_h2(method, path, authority, &LIMITS).is_err() {
        return;
    }
    while let Some(name) = parts.next() {
        head.fields.push(name, parts.next().unwrap_or_default());
    }
    if head.finish_h2(Framing::Chunked).is_err() {
        return;
    }
    let mut out = Vec::new();
    write::request_line(&mut out, head.method_text(), head.path(), head.query());
    write::field(&mut out, b"host", head.authority().as_bytes());
    head.fields.write(&mut out, |field| {
        !field.hop && !["content-length", "expect"].iter().any(|own| own.as_bytes() == field.name())
    });
    write::framing(&mut out, head.framing);
    write::end(&mut out);
    let mut again = RequestHead::new();
    let roomy = HeadLimits { bytes: 4 * LIMITS.bytes, fields: 2 * LIMITS.fields, ..LIMITS };
    assert_eq!(again.parse(&out, &roomy), Ok(Some(out.len())), "it is no request of HTTP/1");
    assert_eq!((again.method_text(), again.path_and_query()), (method, head.path_and_query()));
    assert_eq!((again.authority(), again.framing), (head.authority(), head.framing));
}

/// A PROXY header ends where it ends: nothing before is one, and what follows changes nothing. The
/// client that it names is the client that a header of our own tells of.
pub fn proxy_header(data: &[u8]) {
    use tidegate::proxy_header::{Damaged, ProxyVersion, Source, parse, write};
    let at_once = parse(data);
    let came = cuts(data.len()).map(|end| parse(&data[..end])).find(|came| *came != Ok(None));
    match at_once {
        Ok(Some((_, length))) => {
            assert_eq!(came, Some(at_once), "in pieces it is another header");
            assert_eq!(parse(&data[..length]), at_once, "what follows is part of it");
            assert_eq!(parse(&data[..length - 1]), Ok(None), "it ends before its end");
        }
        Ok(None) => assert_eq!(came, None, "in pieces it ends"),
        Err(Damaged) => assert_eq!(came, Some(Err(Damaged)), "in pieces it is taken"),
    }
    let Ok(Some((Source::Client(client), _))) = at_once else { return };
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let own = write(version, Some((client, client)));
        let Ok(Some((Source::Client(again), length))) = parse(&own) else {
            panic!("written anew it is refused: {client}");
        };
        assert_eq!(length, own.len());
        assert_eq!((again.ip().to_canonical(), again.port()), {
            (client.ip().to_canonical(), client.port())
        });
    }
}

/// Any text is a configuration or is told why it is none.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let env = |name: &str| (name == "HOME").then(|| "/home".to_owned());
    if let Err(report) = tidegate::config::parse(text, Path::new("fuzz.toml"), &env) {
        assert!(!report.to_string().is_empty(), "it is refused without a word");
    }
}

/// Any file is a journal or is told why it is none, and what is read once is read again.
pub fn journal(data: &[u8]) {
    use tidegate::revision::journal::Journal;
    let place = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(place.path().join("revisions.journal"), data).expect("a file in it");
    let read = Journal::read_only(place.path());
    let opened = Journal::open(place.path()).map(|(_, entries)| entries);
    match (read, opened) {
        (Ok(read), Ok(opened)) => {
            assert_eq!(read, opened, "opening changes what is read");
            let again = Journal::read_only(place.path()).expect("what was opened can be read");
            assert_eq!(again, opened, "opening changes what is there");
        }
        (Err(_), Err(_)) => {}
        (read, opened) => panic!("read {read:?}, opened {opened:?}"),
    }
}
