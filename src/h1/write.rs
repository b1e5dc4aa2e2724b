//! Writing heads: lines and fields appended to a buffer.
//!
//! What is written comes from parsed heads or from us and is not checked again. Which fields go out
//! is decided by the callers.

use super::fields::{Field, Fields};
use super::head::Framing;

/// Writes a request line of HTTP/1.1.
pub fn request_line(out: &mut Vec<u8>, method: &str, path: &str, query: Option<&str>) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Writes a status line of HTTP/1.1 with the standard reason phrase, or none if there is no
/// standard one.
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    // Most answers.
    if status == 200 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    number(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes one field.
pub fn field(out: &mut Vec<u8>, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
    out.extend_from_slice(name.as_ref());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_ref());
    out.extend_from_slice(b"\r\n");
}

/// A section of fields being made: as bytes of HTTP/1, or as fields for HTTP/2.
pub trait Section {
    /// Appends one field.
    fn line(&mut self, name: &[u8], value: &[u8]);

    /// Appends the fields that `passes` lets through.
    fn lines(&mut self, fields: &Fields, passes: impl FnMut(&Field<'_>) -> bool);
}

impl Section for Vec<u8> {
    fn line(&mut self, name: &[u8], value: &[u8]) {
        field(self, name, value);
    }

    fn lines(&mut self, fields: &Fields, passes: impl FnMut(&Field<'_>) -> bool) {
        fields.write(self, passes);
    }
}

/// Writes a number in decimal.
pub fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a number in hexadecimal, as chunk sizes are.
pub(super) fn hexadecimal(out: &mut Vec<u8>, mut number: u64) {
    // 16 digits hold every u64.
    let mut room = [0; 16];
    let mut start = room.len();
    loop {
        start -= 1;
        room[start] = b"0123456789abcdef"[(number % 16) as usize];
        number /= 16;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&room[start..]);
}

/// Writes the field that tells how the body is delimited: `content-length`, `transfer-encoding`, or
/// nothing where there is no body or the close ends it.
pub fn framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
}

/// The empty line that ends a head or a trailer section.
pub const END: &[u8] = b"\r\n";

/// Writes it.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(END);
}

/// A request head that was written here, taken apart again without looking at what is known to be
/// well-formed. Gives its fields.
#[derive(Debug)]
pub struct Apart<'a> {
    pub method: &'a [u8],
    pub target: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Apart<'a> {
    /// `None` when it is not a head.
    pub fn of(head: &'a [u8]) -> Option<Self> {
        let (line, rest) = halves(head, END)?;
        let (method, line) = halves(line, b" ")?;
        let (target, _) = halves(line, b" ")?;
        Some(Self { method, target, rest })
    }

    /// How many lines of fields are still to come.
    pub fn lines(&self) -> usize {
        memchr::memchr_iter(b'\n', self.rest).count()
    }
}

impl<'a> Iterator for Apart<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (line, rest) = halves(self.rest, END)?;
        self.rest = rest;
        halves(line, b": ")
    }
}

/// What stands before and behind a mark of which the first byte stands nowhere else before it.
fn halves<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memchr::memchr(*mark.first()?, bytes)?;
    Some((&bytes[..at], bytes.get(at + mark.len()..)?))
}

/// The reason phrase of a status (the registry of RFC 9110); empty for one that has none.
pub fn reason_phrase(status: u16) -> &'static str {
    let standard = http::StatusCode::from_u16(status).ok();
    standard.and_then(|status| status.canonical_reason()).unwrap_or("")
}
