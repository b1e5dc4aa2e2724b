//! Body framing as state machines: what comes is unframed, what goes is framed anew.

use std::ops::Range;

use super::fields::{Fields, Known};
use super::head::Framing;
use crate::limits::TRAILER_BYTES_MAX;

/// Digits of a chunk's size: more would overflow.
const SIZE_DIGITS_MAX: u32 = 15;
/// Bytes of a chunk's line, extensions included. They are read and thrown away.
const CHUNK_LINE_MAX: u32 = 4096;

/// Why a body cannot be read, or cannot be written as announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// The size of a chunk is not one.
    ChunkSize,
    /// What should be CRLF is not.
    ChunkEnd,
    /// The line of a chunk is too long or holds what it must not.
    ChunkExtension,
    /// A trailer field is malformed.
    Trailer,
    /// The trailer section is too long.
    TrailerTooLarge,
    /// It ended before its end.
    Truncated,
    /// There is more of it than was announced.
    TooLong,
}

impl BodyError {
    /// The stable word.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ChunkSize => "chunk_size",
            Self::ChunkEnd => "chunk_end",
            Self::ChunkExtension => "chunk_extension",
            Self::Trailer => "trailer",
            Self::TrailerTooLarge => "trailer_too_large",
            Self::Truncated => "body_truncated",
            Self::TooLong => "body_too_long",
        }
    }
}

/// What one call of [`Decoder::decode`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are dealt with, data included.
    pub consumed: usize,
    /// Where in the input body bytes lie; may be empty.
    pub data: Range<usize>,
}

/// Reads a body.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    trailers: Fields,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Done,
    Length(u64),
    UntilClose,
    /// Before or in the digits of a chunk's size.
    Size {
        size: u64,
        digits: u32,
    },
    /// Behind the size: white space and extensions.
    Extension {
        size: u64,
        length: u32,
    },
    /// The carriage return of a chunk's line was read.
    SizeEnd {
        size: u64,
    },
    Data(u64),
    DataEnd,
    DataEndLf,
    Trailer {
        line: Vec<u8>,
        total: usize,
    },
}

impl Decoder {
    /// A decoder at the beginning of a body.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::UntilClose => State::UntilClose,
            Framing::Chunked => State::Size { size: 0, digits: 0 },
        };
        Self { state, trailers: Fields::default() }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Trailer fields that may be passed on, once the body has ended.
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// The stream has ended; an error unless the body may end so.
    pub fn on_eof(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyError::Truncated),
        }
    }

    /// Reads on until there is a run of data, the end, or no more input. Nothing behind the body's
    /// end is touched.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if let Some(count) = self.data_run(input.len() - at) {
                return Ok(Step { consumed: at + count, data: at..at + count });
            }
            let byte = input[at];
            at += 1;
            self.step(byte)?;
        }
        Ok(Step { consumed: at, data: at..at })
    }

    /// How many of the bytes that are there are data now.
    fn data_run(&mut self, there: usize) -> Option<usize> {
        let (left, after) = match self.state {
            State::UntilClose => return Some(there),
            State::Length(left) => (left, State::Done),
            State::Data(left) => (left, State::DataEnd),
            _ => return None,
        };
        let count = usize::try_from(left).map_or(there, |left| left.min(there));
        let left = left - count as u64;
        self.state = match (&self.state, left) {
            (_, 0) => after,
            (State::Length(_), left) => State::Length(left),
            (_, left) => State::Data(left),
        };
        Some(count)
    }

    fn step(&mut self, byte: u8) -> Result<(), BodyError> {
        let state = std::mem::replace(&mut self.state, State::Done);
        self.state = match (state, byte) {
            (State::Size { size, digits }, digit) if digit.is_ascii_hexdigit() => {
                if digits >= SIZE_DIGITS_MAX {
                    return Err(BodyError::ChunkSize);
                }
                let value = u64::from((digit as char).to_digit(16).unwrap_or_default());
                State::Size { size: size * 16 + value, digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(BodyError::ChunkSize),
            (State::Size { size, .. }, b'\r') => State::SizeEnd { size },
            (State::Size { size, .. }, b';' | b' ' | b'\t') => State::Extension { size, length: 0 },
            (State::Size { .. }, _) => return Err(BodyError::ChunkSize),
            (State::Extension { size, .. }, b'\r') => State::SizeEnd { size },
            (State::Extension { length, .. }, _) if length >= CHUNK_LINE_MAX => {
                return Err(BodyError::ChunkExtension);
            }
            (State::Extension { size, length }, byte)
                if byte == b'\t' || !byte.is_ascii_control() =>
            {
                State::Extension { size, length: length + 1 }
            }
            (State::Extension { .. }, _) => return Err(BodyError::ChunkExtension),
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailer { line: Vec::new(), total: 0 },
            (State::SizeEnd { size }, b'\n') => State::Data(size),
            (State::SizeEnd { .. }, _) => return Err(BodyError::ChunkEnd),
            (State::DataEnd, b'\r') => State::DataEndLf,
            (State::DataEndLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::DataEnd | State::DataEndLf, _) => return Err(BodyError::ChunkEnd),
            (State::Trailer { line, total }, byte) => self.trailer_byte(line, total, byte)?,
            (state @ (State::Done | State::Length(_) | State::UntilClose | State::Data(_)), _) => {
                state
            }
        };
        Ok(())
    }

    fn trailer_byte(
        &mut self,
        mut line: Vec<u8>,
        total: usize,
        byte: u8,
    ) -> Result<State, BodyError> {
        if total >= TRAILER_BYTES_MAX {
            return Err(BodyError::TrailerTooLarge);
        }
        line.push(byte);
        if byte != b'\n' {
            return Ok(State::Trailer { line, total: total + 1 });
        }
        let Some(text) = line.strip_suffix(b"\r\n") else { return Err(BodyError::Trailer) };
        if text.is_empty() {
            return Ok(State::Done);
        }
        self.trailer(text)?;
        line.clear();
        Ok(State::Trailer { line, total: total + 1 })
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), BodyError> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(BodyError::Trailer)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let fine = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        if name.is_empty() || !name.iter().all(token) || !value.iter().all(fine) {
            return Err(BodyError::Trailer);
        }
        if may_trail(name) {
            self.trailers.push(name, value);
        }
        Ok(())
    }
}

/// Whether a field may stand in a trailer section (RFC 9110 §6.5.1): not what frames, routes,
/// authenticates or describes the content.
fn may_trail(name: &[u8]) -> bool {
    let known = Known::of(name);
    let starts = |prefix: &[u8]| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let acts = !matches!(known, Known::Other | Known::Server | Known::Date);
    !acts && !starts(b"content-") && !starts(b"x-forwarded-") && !starts(b"sec-")
}

/// Writes the framing around a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoder {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    UntilClose,
}

impl Encoder {
    /// An encoder at the beginning of a body.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked,
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether something stands around each piece.
    pub fn is_framed(&self) -> bool {
        *self == Self::Chunked
    }

    /// Writes what stands before a piece of `length` bytes. More than was announced is an error.
    pub fn begin_data(&mut self, out: &mut Vec<u8>, length: usize) -> Result<(), BodyError> {
        match self {
            Self::Length(left) => {
                *left = left.checked_sub(length as u64).ok_or(BodyError::TooLong)?;
            }
            Self::Chunked if length > 0 => {
                super::write::hexadecimal(out, length);
                out.extend_from_slice(b"\r\n");
            }
            Self::Chunked | Self::UntilClose => {}
        }
        Ok(())
    }

    /// Writes what stands behind a piece that was not empty.
    pub fn end_data(&self, out: &mut Vec<u8>) {
        if self.is_framed() {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes the end. Less than was announced is an error.
    pub fn finish(&self, out: &mut Vec<u8>, trailers: Option<&Fields>) -> Result<(), BodyError> {
        match self {
            Self::Length(0) | Self::UntilClose => Ok(()),
            Self::Length(_) => Err(BodyError::Truncated),
            Self::Chunked => {
                out.extend_from_slice(b"0\r\n");
                for field in trailers.into_iter().flat_map(Fields::iter) {
                    super::write::field(out, field.name, field.value);
                }
                out.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}
