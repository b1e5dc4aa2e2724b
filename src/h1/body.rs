//! Bodies: taking a peer's framing off, and putting our own on.
//!
//! The decoder sees any cut of the input and gives the same data; nothing behind the body is taken.
//! The encoder refuses to write more or less than it promised, so that a broken body is never ended
//! as if it were whole. Neither holds body bytes.

use std::fmt;
use std::ops::Range;

use super::fields::{Fields, may_be_trailer};
use super::head::Framing;
use super::write;
use crate::limits::{
    CHUNK_EXTENSION_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, CHUNK_SIZE_MAX, TRAILER_BYTES_MAX,
    TRAILER_FIELDS_MAX,
};

/// Why a body is broken. What was passed on of it must be aborted, never ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// A chunk size is no hexadecimal number of at most 16 digits on a line of its own.
    ChunkSize,
    /// Chunk extensions hold control bytes or outweigh the data.
    ChunkExtension,
    /// Something else than CR LF follows the data of a chunk.
    ChunkEnd,
    /// The trailer section is malformed.
    Trailer,
    /// The trailer section is beyond its limits.
    TrailerTooLarge,
    /// It ended before its end.
    Truncated,
    /// More data than was promised, or after the end.
    TooLong,
}

impl BodyError {
    /// The reason as a stable `snake_case` word.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ChunkSize => "chunk_size",
            Self::ChunkExtension => "chunk_extension",
            Self::ChunkEnd => "chunk_end",
            Self::Trailer => "trailer",
            Self::TrailerTooLarge => "trailer_too_large",
            Self::Truncated => "body_truncated",
            Self::TooLong => "body_too_long",
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.reason())
    }
}

impl std::error::Error for BodyError {}

/// What one call of [`Decoder::decode`] took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are dealt with; the next call gets what follows them.
    pub consumed: usize,
    /// Where among them body data lies; may be empty.
    pub data: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes of the body are to come.
    Length(u64),
    UntilClose,
    /// In the digits of a chunk size.
    Size {
        size: u64,
        digits: u8,
    },
    /// White space after a size: some servers pad theirs. Nothing but an extension may follow.
    SizeSpace(u64),
    Extension(u64),
    /// After the CR of a size line.
    SizeLf(u64),
    /// So many bytes of the chunk are to come.
    Data(u64),
    DataCr,
    DataLf,
    Trailers,
    Done,
    Failed(BodyError),
}

/// Takes the framing off one body.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    /// Bytes of extensions that no data has outweighed yet.
    extension_debt: usize,
    /// Made when a trailer section begins: few bodies have one.
    trailers: Option<Box<Trailers>>,
}

#[derive(Debug, Clone, Default)]
struct Trailers {
    /// The section as far as it has come.
    bytes: Vec<u8>,
    fields: Fields,
}

impl Decoder {
    /// A decoder at the beginning of a body. For [`Framing::None`] it is done already.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size { size: 0, digits: 0 },
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, extension_debt: 0, trailers: None }
    }

    /// Takes as much of `input` as leads to one run of data, with the framing around it.
    ///
    /// To be called again with the rest until [`Self::is_done`], or until nothing was consumed:
    /// then more bytes are needed. An empty run does not mean the end.
    ///
    /// # Errors
    /// The body is broken. The decoder stays so and nothing more of the connection can be trusted.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        let step = match self.state {
            State::Failed(error) => Err(error),
            State::Done => Ok(Step { consumed: 0, data: 0..0 }),
            State::UntilClose => Ok(Step { consumed: input.len(), data: 0..input.len() }),
            State::Length(left) => {
                let (taken, left) = take(left, input.len());
                self.state = if left == 0 { State::Done } else { State::Length(left) };
                Ok(Step { consumed: taken, data: 0..taken })
            }
            _ => self.decode_chunks(input),
        };
        if let Err(error) = step {
            self.state = State::Failed(error);
        }
        step
    }

    /// Whether the body is complete, its trailers included.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The peer has closed its side: the end of a body that runs until then.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] if any other body is not complete.
    pub fn on_eof(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Failed(error) => Err(error),
            _ => {
                self.state = State::Failed(BodyError::Truncated);
                Err(BodyError::Truncated)
            }
        }
    }

    /// The trailers that may be passed on, if there are any; complete when the body is.
    pub fn trailers(&self) -> Option<&Fields> {
        let fields = self.trailers.as_ref().map(|trailers| &trailers.fields);
        fields.filter(|fields| !fields.is_empty())
    }

    fn decode_chunks(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        let mut data = 0..0;
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if let State::Data(left) = self.state {
                if !data.is_empty() {
                    break;
                }
                let (taken, left) = take(left, input.len() - at);
                data = at..at + taken;
                at += taken;
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
            } else {
                self.state = self.after(input[at])?;
                at += 1;
            }
        }
        Ok(Step { consumed: at, data })
    }

    /// The state after one byte that is not data.
    fn after(&mut self, byte: u8) -> Result<State, BodyError> {
        match (self.state, byte) {
            (State::Size { size, digits }, _) => self.after_in_size(size, digits, byte),
            (State::SizeSpace(size), b' ' | b'\t') => {
                self.count_extension()?;
                Ok(State::SizeSpace(size))
            }
            (State::SizeSpace(size), b'\r') => Ok(State::SizeLf(size)),
            (State::SizeSpace(size), b';') => Ok(State::Extension(size)),
            (State::SizeSpace(_), _) => Err(BodyError::ChunkSize),
            (State::Extension(size), b'\r') => Ok(State::SizeLf(size)),
            (State::Extension(_), 0x7f) => Err(BodyError::ChunkExtension),
            (State::Extension(size), b'\t' | b' '..) => {
                self.count_extension()?;
                Ok(State::Extension(size))
            }
            (State::Extension(_), _) => Err(BodyError::ChunkExtension),
            (State::SizeLf(0), b'\n') => Ok(State::Trailers),
            (State::SizeLf(size), b'\n') => {
                let outweighed = usize::try_from(size).unwrap_or(usize::MAX);
                self.extension_debt = self.extension_debt.saturating_sub(outweighed);
                Ok(State::Data(size))
            }
            (State::SizeLf(_), _) => Err(BodyError::ChunkSize),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { size: 0, digits: 0 }),
            (State::DataCr | State::DataLf, _) => Err(BodyError::ChunkEnd),
            (State::Trailers, _) => self.after_in_trailers(byte),
            (state, _) => Ok(state),
        }
    }

    fn after_in_size(&mut self, size: u64, digits: u8, byte: u8) -> Result<State, BodyError> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if digits == CHUNK_SIZE_DIGITS_MAX {
                return Err(BodyError::ChunkSize);
            }
            return Ok(State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 });
        }
        match byte {
            _ if digits == 0 || size > CHUNK_SIZE_MAX => Err(BodyError::ChunkSize),
            b'\r' => Ok(State::SizeLf(size)),
            b';' => Ok(State::Extension(size)),
            b' ' | b'\t' => Ok(State::SizeSpace(size)),
            _ => Err(BodyError::ChunkSize),
        }
    }

    fn count_extension(&mut self) -> Result<(), BodyError> {
        self.extension_debt += 1;
        if self.extension_debt > CHUNK_EXTENSION_BYTES_MAX {
            return Err(BodyError::ChunkExtension);
        }
        Ok(())
    }

    fn after_in_trailers(&mut self, byte: u8) -> Result<State, BodyError> {
        let trailers = self.trailers.get_or_insert_default();
        if trailers.bytes.len() == TRAILER_BYTES_MAX {
            return Err(BodyError::TrailerTooLarge);
        }
        trailers.bytes.push(byte);
        let bytes = trailers.bytes.as_slice();
        let after_cr = bytes[..bytes.len() - 1].ends_with(b"\r");
        if after_cr != (byte == b'\n') {
            return Err(BodyError::Trailer);
        }
        if bytes == b"\r\n" {
            return Ok(State::Done);
        }
        if bytes.ends_with(b"\r\n\r\n") {
            trailers.read()?;
            return Ok(State::Done);
        }
        Ok(State::Trailers)
    }
}

impl Trailers {
    fn read(&mut self) -> Result<(), BodyError> {
        let mut room = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
        let parsed = match httparse::parse_headers(&self.bytes, &mut room) {
            Ok(httparse::Status::Complete((_, parsed))) => parsed,
            Err(httparse::Error::TooManyHeaders) => return Err(BodyError::TrailerTooLarge),
            Ok(httparse::Status::Partial) | Err(_) => return Err(BodyError::Trailer),
        };
        for field in parsed.iter().filter(|field| may_be_trailer(field.name.as_bytes())) {
            self.fields.push(field.name.as_bytes(), field.value);
        }
        Ok(())
    }
}

/// Takes what there is of what is left: how much, and what is left then.
fn take(left: u64, available: usize) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(available, |left| left.min(available));
    (taken, left - taken as u64)
}

/// Puts framing on one body. The caller writes the data itself, between [`Self::begin_data`] and
/// [`Self::end_data`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoder {
    /// So many bytes of the body are to come.
    Length(u64),
    /// Chunks; whether one is begun and not ended.
    Chunked { open: bool },
    /// The end of the connection will be the end.
    UntilClose,
    /// Nothing more may come.
    Done,
}

impl Encoder {
    /// An encoder at the beginning of a body.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked { open: false },
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether something stands around each run of data.
    pub fn is_framed(&self) -> bool {
        matches!(self, Self::Chunked { .. })
    }

    /// Writes what stands before `len` bytes of data. Nothing for no data: an empty chunk would be
    /// the end.
    ///
    /// # Errors
    /// [`BodyError::TooLong`] if so much was not promised. Nothing is written then.
    pub fn begin_data(&mut self, out: &mut Vec<u8>, len: usize) -> Result<(), BodyError> {
        match self {
            _ if len == 0 => {}
            Self::Length(left) => {
                *left = left.checked_sub(len as u64).ok_or(BodyError::TooLong)?;
            }
            Self::Chunked { open } => {
                write::hexadecimal(out, len as u64);
                out.extend_from_slice(b"\r\n");
                *open = true;
            }
            Self::UntilClose => {}
            Self::Done => return Err(BodyError::TooLong),
        }
        Ok(())
    }

    /// Writes what stands after the data that [`Self::begin_data`] announced.
    pub fn end_data(&mut self, out: &mut Vec<u8>) {
        if let Self::Chunked { open } = self
            && std::mem::take(open)
        {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Ends the body. Trailers go out where the framing has a place for them, without those that
    /// may not stand there.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] if more data was promised: the connection must be closed instead.
    pub fn finish(
        &mut self,
        out: &mut Vec<u8>,
        trailers: Option<&Fields>,
    ) -> Result<(), BodyError> {
        match self {
            Self::Length(0) | Self::UntilClose | Self::Done => {}
            Self::Length(_) | Self::Chunked { open: true } => return Err(BodyError::Truncated),
            Self::Chunked { open: false } => {
                out.extend_from_slice(b"0\r\n");
                for field in trailers.into_iter().flat_map(Fields::iter) {
                    if !field.hop && may_be_trailer(field.name()) {
                        write::field(out, field.name(), field.value());
                    }
                }
                write::end(out);
            }
        }
        *self = Self::Done;
        Ok(())
    }
}
