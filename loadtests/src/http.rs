//! How much of HTTP/1.1 must be read to count requests and responses?
//!
//! Heads are scanned line by line for the few fields that matter here, bodies are followed by length or
//! chunk only. It is not a validating parser: both ends of the wire belong to this program, and what lies
//! between them is what is being measured.

use std::fmt;

use memchr::memchr;

/// Bytes that are not HTTP/1.1 as this program speaks it; the text says where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// How the end of a body is found, and how much of it is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// This many bytes are still to come.
    Length(u64),
    /// Chunked coding.
    Chunked(Chunks),
    /// Everything until the connection closes.
    UntilClose,
}

impl Body {
    /// Follows `bytes` and returns how many of them belong to this body.
    pub fn consume(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Body::Length(left) => {
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                Ok(taken as usize)
            }
            Body::Chunked(chunks) => chunks.consume(bytes),
            Body::UntilClose => Ok(bytes.len()),
        }
    }

    /// Whether the body has ended; a body until close ends with its connection only.
    pub fn is_done(&self) -> bool {
        match self {
            Body::Length(left) => *left == 0,
            Body::Chunked(chunks) => chunks.at == At::Done,
            Body::UntilClose => false,
        }
    }
}

/// Where in a chunked body the reader stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    at: At,
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    Data,
    DataEnd,
    TrailerStart,
    Trailer,
    Done,
}

impl Chunks {
    fn new() -> Self {
        Chunks { at: At::Size, left: 0 }
    }

    fn consume(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut used = 0;
        while used < bytes.len() && self.at != At::Done {
            if self.at == At::Data {
                let taken = self.left.min((bytes.len() - used) as u64);
                self.left -= taken;
                used += taken as usize;
                if self.left == 0 {
                    self.at = At::DataEnd;
                }
                continue;
            }
            self.step(bytes[used])?;
            used += 1;
        }
        Ok(used)
    }

    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.at = match (self.at, byte) {
            (At::Size | At::Extension, b'\n') if self.left == 0 => At::TrailerStart,
            (At::Size | At::Extension, b'\n') => At::Data,
            (At::Size, b';' | b'\r') => At::Extension,
            (At::Size, digit) => {
                let digit = (digit as char).to_digit(16).ok_or(Malformed("chunk size"))?;
                let shifted = self.left.checked_mul(16).ok_or(Malformed("chunk size"))?;
                self.left = shifted + u64::from(digit);
                At::Size
            }
            (At::DataEnd, b'\n') => At::Size,
            (At::DataEnd, b'\r') => At::DataEnd,
            (At::DataEnd, _) => return Err(Malformed("chunk is longer than its size")),
            (At::TrailerStart, b'\r') => At::TrailerStart,
            (At::TrailerStart, b'\n') => At::Done,
            (At::Trailer, b'\n') => At::TrailerStart,
            (At::TrailerStart | At::Trailer, _) => At::Trailer,
            (at, _) => at,
        };
        Ok(())
    }
}

/// What a load generator needs of a response head.
#[derive(Debug, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    /// Bytes of the head, its empty line included.
    pub length: usize,
    /// Status code.
    pub status: u16,
    /// How the body is framed.
    pub body: Body,
    /// Whether the sender announced that it will close.
    pub closes: bool,
    /// Value of `x-backend`, empty when absent.
    pub backend: &'a [u8],
}

/// Scans a response head; `None` while it is incomplete.
pub fn response_head(bytes: &[u8]) -> Result<Option<ResponseHead<'_>>, Malformed> {
    let Some(first) = line(bytes) else { return Ok(None) };
    let start = &bytes[..first];
    if start.len() < 12 || !start.starts_with(b"HTTP/1.") {
        return Err(Malformed("status line"));
    }
    let status = number(&start[9..12]).ok_or(Malformed("status code"))? as u16;
    let Some((fields, length)) = fields(bytes, first)? else { return Ok(None) };
    let body = match fields.body {
        _ if matches!(status, 204 | 304) => Body::Length(0),
        Some(body) => body,
        None => Body::UntilClose,
    };
    Ok(Some(ResponseHead { length, status, body, closes: fields.closes, backend: fields.backend }))
}

/// What a backend needs of a request head.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// Bytes of the head, its empty line included.
    pub length: usize,
    /// Path and query as sent.
    pub target: &'a [u8],
    /// How the body is framed; without a length there is none.
    pub body: Body,
    /// Whether the sender asked to close after the answer.
    pub closes: bool,
}

/// Scans a request head; `None` while it is incomplete.
pub fn request_head(bytes: &[u8]) -> Result<Option<RequestHead<'_>>, Malformed> {
    let Some(first) = line(bytes) else { return Ok(None) };
    let start = &bytes[..first];
    let from = memchr(b' ', start).ok_or(Malformed("request line"))? + 1;
    let to = from + memchr(b' ', &start[from..]).ok_or(Malformed("request line"))?;
    let old = start.ends_with(b"HTTP/1.0\r\n");
    let Some((fields, length)) = fields(bytes, first)? else { return Ok(None) };
    let body = fields.body.unwrap_or(Body::Length(0));
    Ok(Some(RequestHead { length, target: &bytes[from..to], body, closes: fields.closes || old }))
}

struct Fields<'a> {
    body: Option<Body>,
    closes: bool,
    backend: &'a [u8],
}

/// Reads the field lines that begin at `at`; with them comes the length of the whole head.
fn fields(bytes: &[u8], mut at: usize) -> Result<Option<(Fields<'_>, usize)>, Malformed> {
    let mut fields = Fields { body: None, closes: false, backend: b"" };
    loop {
        let Some(end) = line(&bytes[at..]) else { return Ok(None) };
        let text = &bytes[at..at + end];
        at += end;
        match text {
            b"\r\n" | b"\n" => return Ok(Some((fields, at))),
            [b'c' | b'C' | b't' | b'T' | b'x' | b'X', ..] => field(text, &mut fields)?,
            _ => {}
        }
    }
}

fn field<'a>(text: &'a [u8], fields: &mut Fields<'a>) -> Result<(), Malformed> {
    let colon = memchr(b':', text).ok_or(Malformed("field line without a colon"))?;
    let (name, value) = (&text[..colon], text[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"content-length") {
        let length = number(value).ok_or(Malformed("content-length"))?;
        fields.body.get_or_insert(Body::Length(length));
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        fields.body = Some(Body::Chunked(Chunks::new()));
    } else if name.eq_ignore_ascii_case(b"connection") {
        fields.closes = value.eq_ignore_ascii_case(b"close");
    } else if name.eq_ignore_ascii_case(b"x-backend") {
        fields.backend = value;
    }
    Ok(())
}

/// Length of the first line with its line feed.
fn line(bytes: &[u8]) -> Option<usize> {
    memchr(b'\n', bytes).map(|at| at + 1)
}

/// Plain decimal digits as a number.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text =
            b"HTTP/1.1 200 OK\r\nServer: a\r\nContent-Length: 5\r\nX-Backend: blue\r\n\r\nhello";
        let head_length = text.len() - 5;
        for cut in 0..head_length {
            assert_eq!(response_head(&text[..cut]), Ok(None), "cut at {cut}");
        }
        let head = response_head(text).expect("well formed").expect("whole");
        assert_eq!((head.length, head.status, head.closes), (head_length, 200, false));
        assert_eq!((head.body, head.backend), (Body::Length(5), b"blue".as_slice()));
    }

    #[test]
    fn framing_follows_the_fields() {
        let cases: [(&str, Option<Body>); 5] = [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(Body::UntilClose)),
            ("HTTP/1.1 204 No Content\r\n\r\n", Some(Body::Length(0))),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                Some(Body::Chunked(Chunks::new())),
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5x\r\n\r\n", None),
            ("SSH-2.0\r\n\r\n", None),
        ];
        for (text, expected) in cases {
            let found = response_head(text.as_bytes()).ok().flatten().map(|head| head.body);
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn a_request_tells_its_target_and_its_body() {
        let text =
            b"POST /a?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        let head = request_head(text).expect("well formed").expect("whole");
        assert_eq!((head.target, head.closes), (b"/a?b".as_slice(), true));
        assert_eq!((head.body, head.length), (Body::Length(2), text.len() - 2));
    }

    #[test]
    fn chunks_end_where_they_end_however_they_are_cut() {
        let text = b"5\r\nhello\r\n10;x=y\r\n0123456789abcdef\r\n0\r\ntrailer: 1\r\n\r\nNEXT";
        for cut in 0..text.len() {
            let mut body = Body::Chunked(Chunks::new());
            let first = body.consume(&text[..cut]).expect("well formed");
            let second = body.consume(&text[first..]).expect("well formed");
            assert!(body.is_done(), "cut at {cut}");
            assert_eq!(&text[first + second..], b"NEXT", "cut at {cut}");
        }
    }

    #[test]
    fn a_bad_chunk_is_refused() {
        for text in ["zz\r\n", "1\r\nabc", "fffffffffffffffff\r\n"] {
            assert!(Body::Chunked(Chunks::new()).consume(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
