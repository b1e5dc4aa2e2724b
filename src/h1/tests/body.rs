use proptest::prelude::*;

use super::shown;
use crate::h1::body::{BodyError, Decoder, Encoder, Step};
use crate::h1::fields::Fields;
use crate::h1::head::Framing;

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
        (b"1 \t;a=\"b c\"\r\nx\r\n0;z\r\n\r\n", b"x", 23),
        (b"0000000000000001\r\nx\r\n0\r\n\r\n", b"x", 26),
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
        (b"5\rXhello", BodyError::ChunkSize),
        (b"5 x\r\nhello", BodyError::ChunkSize),
        (b" 5\r\nhello", BodyError::ChunkSize),
        (b"00000000000000005\r\nhello", BodyError::ChunkSize),
        (b"8000000000000000\r\n", BodyError::ChunkSize),
        (b"fffffffffffffffff\r\n", BodyError::ChunkSize),
        (b"5;a\0b\r\nhello", BodyError::ChunkExtension),
        (b"5\r\nhello\r0\r\n", BodyError::ChunkEnd),
        (b"5\r\nhello0\r\n\r\n", BodyError::ChunkEnd),
        (b"0\r\nA: b\rc\r\n\r\n", BodyError::Trailer),
        (b"0\r\nA: b\r\n c\r\n\r\n", BodyError::Trailer),
        (b"0\r\n:path: /\r\n\r\n", BodyError::Trailer),
        (b"0\r\nA: \0\r\n\r\n", BodyError::Trailer),
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
    let many = [&b"0\r\n"[..], &b"A: b\r\n".repeat(65), b"\r\n"].concat();
    let found = decode_all(Framing::Chunked, &many, usize::MAX);
    assert_eq!(found, Err(BodyError::TrailerTooLarge));
}

#[test]
fn trailers_that_act_are_dropped() {
    let mut decoder = Decoder::new(Framing::Chunked);
    let body = b"0\r\nX-Sum: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\nAuthorization: x\r\nSet-Cookie: a\r\n\r\n";
    assert_eq!(decoder.decode(body).map(|step| step.consumed), Ok(body.len()));
    assert_eq!(shown(decoder.trailers().unwrap()), ["X-Sum: 1"]);
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
fn extensions_may_not_outweigh_the_data() {
    let long = [&b"1;"[..], &b"e".repeat(5000), b"\r\nx\r\n"].concat();
    assert_eq!(decode_all(Framing::Chunked, &long, 100), Err(BodyError::ChunkExtension));
    let many = b"1;eeeeeeeeee\r\nx\r\n".repeat(1000);
    assert_eq!(decode_all(Framing::Chunked, &many, 100), Err(BodyError::ChunkExtension));
    // Signed chunks, as object stores have them, go on for as long as they like.
    let signature = "s".repeat(64);
    let one = format!("400;chunk-signature={signature}\r\n{}\r\n", "x".repeat(1024));
    let signed = [one.repeat(200).as_bytes(), b"0\r\n\r\n"].concat();
    assert!(decode_all(Framing::Chunked, &signed, 1000).is_ok_and(|(_, _, done)| done));
}

#[test]
fn nothing_behind_the_body_is_taken() {
    let mut decoder = Decoder::new(Framing::Length(3));
    assert_eq!(decoder.decode(b"abcGET"), Ok(Step { consumed: 3, data: 0..3 }));
    assert_eq!(decoder.decode(b"GET"), Ok(Step { consumed: 0, data: 0..0 }));
    assert!(decoder.is_done() && decoder.on_eof().is_ok());
    let mut decoder = Decoder::new(Framing::Chunked);
    assert_eq!(decoder.decode(b"3\r\nabc\r\n0\r\n\r\nGET"), Ok(Step { consumed: 13, data: 3..6 }));
    assert!(decoder.is_done());
    assert!(Decoder::new(Framing::None).is_done() && Decoder::new(Framing::Length(0)).is_done());
    assert!(!Decoder::new(Framing::UntilClose).is_done());
}

#[test]
fn a_broken_body_stays_broken() {
    let mut decoder = Decoder::new(Framing::Chunked);
    assert_eq!(decoder.decode(b"x"), Err(BodyError::ChunkSize));
    assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(BodyError::ChunkSize));
    assert_eq!(decoder.on_eof(), Err(BodyError::ChunkSize));
    assert!(!decoder.is_done());
}

#[test]
fn the_encoder_writes_what_it_promised() {
    let written = |framing, pieces: &[&str], trailers: Option<&Fields>| {
        let (mut out, mut encoder) = (Vec::new(), Encoder::new(framing));
        for piece in pieces {
            encoder.begin_data(&mut out, piece.len())?;
            out.extend_from_slice(piece.as_bytes());
            encoder.end_data(&mut out);
        }
        encoder.finish(&mut out, trailers)?;
        Ok(String::from_utf8(out).unwrap())
    };
    let mut trailers = Fields::default();
    trailers.push(b"x-sum", b"7");
    trailers.push(b"connection", b"close");
    trailers.push(b"Content-Length", b"3");
    let cases = [
        (Framing::None, &[][..], None, Ok("")),
        (Framing::None, &[""], None, Ok("")),
        (Framing::None, &["a"], None, Err(BodyError::TooLong)),
        (Framing::Length(3), &["ab", "", "c"], Some(&trailers), Ok("abc")),
        (Framing::Length(3), &["ab", "cd"], None, Err(BodyError::TooLong)),
        (Framing::Length(3), &["ab"], None, Err(BodyError::Truncated)),
        (Framing::Chunked, &["ab", "", "c"], None, Ok("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")),
        (Framing::Chunked, &[], Some(&trailers), Ok("0\r\nx-sum: 7\r\n\r\n")),
        (Framing::UntilClose, &["ab"], None, Ok("ab")),
    ];
    for (framing, pieces, trailers, expected) in cases {
        let found = written(framing, pieces, trailers);
        assert_eq!(found, expected.map(str::to_owned), "{framing:?} {pieces:?}");
    }
}

proptest! {
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

    #[test]
    fn arbitrary_bytes_read_the_same_in_any_pieces(
        bytes in "([0-9a-f]{0,3}|[;: \r\n]|\r\n|0\r\n|A: b\r\n|1\r\nx\r\n|2;e\r\nyy\r\n){0,12}",
        cut in 1usize..20,
    ) {
        let whole = decode_all(Framing::Chunked, bytes.as_bytes(), usize::MAX);
        prop_assert_eq!(decode_all(Framing::Chunked, bytes.as_bytes(), cut), whole);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_all(Framing::Chunked, &bytes, 7);
    }
}
