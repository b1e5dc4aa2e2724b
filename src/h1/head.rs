//! What requests and responses have in common: methods, versions, framing, limits, refusals.
//!
//! Here is also what both readings of a head share: when to parse, which line ends are good, and
//! what the fields say about framing and the connection. The readings themselves are
//! [`RequestHead`] and [`ResponseHead`].

use std::fmt;

use super::fields::{ConnectionOption, Fields, Known, list};
pub use super::request::RequestHead;
pub use super::response::ResponseHead;
use super::write::END;
use crate::limits::FIELDS_ON_STACK;

/// Request methods. `Other` keeps its text in the head and is labelled `OTHER` in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    Other,
}

impl Method {
    /// Reads a method; they are case-sensitive.
    pub fn parse(text: &[u8]) -> Self {
        match text {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// The name for metrics and logs: a closed set, whatever clients send.
    pub fn as_label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Other => "OTHER",
        }
    }

    /// Whether the method only reads (RFC 9110 §9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether sending it twice means the same as once (RFC 9110 §9.2.2).
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

/// The version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl HttpVersion {
    /// As it is written: `HTTP/1.1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }

    pub(super) fn of_minor(minor: Option<u8>) -> Self {
        if minor == Some(0) { Self::Http10 } else { Self::Http11 }
    }
}

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// Exactly so many bytes.
    Length(u64),
    /// Chunked coding, or, over HTTP/2, a body of unknown length.
    Chunked,
    /// Until the connection closes; responses only.
    UntilClose,
}

impl Framing {
    /// Whether it is known that no byte of a body follows.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// Bounds of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head.
    pub bytes: usize,
    /// Number of fields.
    pub fields: usize,
    /// Bytes of the request target.
    pub target: usize,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// 400; the reason is stable `snake_case`, e.g. `host_missing`. `expect_unknown` is 417.
    Bad(&'static str),
    /// 414.
    TargetTooLong,
    /// 431.
    TooLarge,
    /// 501: a transfer coding or method that is not served.
    NotImplemented(&'static str),
    /// 505.
    Version,
}

impl HeadError {
    /// The reason as a stable `snake_case` word.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Bad(reason) | Self::NotImplemented(reason) => reason,
            Self::TargetTooLong => "target_too_long",
            Self::TooLarge => "head_too_large",
            Self::Version => "version_unsupported",
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.reason())
    }
}

impl std::error::Error for HeadError {}

/// The first line of a head, with its end. `None`: it has not ended yet.
pub(super) fn first_line(head: &[u8]) -> Option<&[u8]> {
    head.get(..=memchr::memchr(b'\n', head)?)
}

/// Reads the fields of a head into `fields`, from where they differ from those in `last`, and tells how
/// long the head is. `None`: the empty line has not come yet. `line` is the first line of `head`.
pub(super) fn read_fields(
    fields: &mut Fields,
    last: &mut Fields,
    head: &[u8],
    line: &[u8],
    fields_max: usize,
) -> Result<Result<Option<usize>, HeadError>, httparse::Error> {
    std::mem::swap(fields, last);
    let lines = &head[line.len()..];
    let rest = &lines[fields.keep_common(lines)..];
    let room = fields_max.saturating_sub(fields.len());
    let read = read_lines(rest, room, |length, parsed| {
        let end = head.len() - rest.len() + length;
        check_line_ends(&head[..end], line, parsed)?;
        fields.push_lines(&rest[..length - END.len()], parsed);
        Ok(end)
    });
    Ok(read?.transpose())
}

/// Reads field lines up to the empty one and gives `take` the bytes they take with it, and the
/// fields. `None`: the empty line has not come yet.
fn read_lines<'a, T>(
    lines: &'a [u8],
    fields_max: usize,
    take: impl FnOnce(usize, &[httparse::Header<'a>]) -> T,
) -> Result<Option<T>, httparse::Error> {
    if lines.starts_with(END) {
        return Ok(Some(take(END.len(), &[])));
    }
    // At least three bytes make a field, so that the limit on bytes bounds this too.
    let most = fields_max.min(lines.len() / 3 + 1);
    let (mut few, mut many) = ([httparse::EMPTY_HEADER; FIELDS_ON_STACK], Vec::new());
    let taken = |parsed| match parsed {
        httparse::Status::Complete((length, fields)) => Some(take(length, fields)),
        httparse::Status::Partial => None,
    };
    match httparse::parse_headers(lines, &mut few[..most.min(FIELDS_ON_STACK)]) {
        Err(httparse::Error::TooManyHeaders) if most > FIELDS_ON_STACK => {
            many.resize(most, httparse::EMPTY_HEADER);
            httparse::parse_headers(lines, &mut many).map(taken)
        }
        parsed => parsed.map(taken),
    }
}

/// Remembers how far a head that comes in pieces has been looked at, so that a peer who sends
/// single bytes does not cost a full parse for each of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Bytes there were at the last full parse.
    parsed: usize,
    /// Bytes that were searched for the end of the head.
    seen: usize,
}

impl Progress {
    /// Whether a parse can tell more than the last one did: at the end of the head, at a line end
    /// that will be refused, when a limit is reached, and whenever the input has doubled.
    pub(super) fn is_worth_parsing(&mut self, input: &[u8], limits: &HeadLimits) -> bool {
        // Long enough for any target over the limit, with a method before it.
        let target_limit = limits.target.saturating_add(32);
        let first = self.parsed == 0 || input.len() < self.seen;
        let doubled = input.len() / 2 >= self.parsed;
        let limit_reached = input.len() >= limits.bytes
            || (self.parsed <= target_limit && input.len() > target_limit);
        if first || doubled || limit_reached {
            return true;
        }
        let ends = |at: usize| {
            input[at] == b'\n' && (!input[..at].ends_with(b"\r") || input[..at].ends_with(b"\n\r"))
        };
        let worth = (self.seen..input.len()).any(ends);
        self.seen = input.len();
        worth
    }

    /// Notes a parse that found the head incomplete.
    pub(super) fn incomplete(&mut self, length: usize) {
        *self = Self { parsed: length, seen: length };
    }
}

/// Checks that every line of a head ends with CR LF: the parser underneath takes a bare LF too.
///
/// `line` is the first line of `head`; `parsed` are those of its fields that are not known to stand
/// in good lines.
fn check_line_ends(
    head: &[u8],
    line: &[u8],
    parsed: &[httparse::Header<'_>],
) -> Result<(), HeadError> {
    let starts_line = |field: &httparse::Header<'_>| {
        let start = field.name.as_ptr() as usize - head.as_ptr() as usize;
        head[..start].ends_with(b"\r\n")
    };
    let bounded = line.ends_with(b"\r\n") && head.ends_with(b"\r\n\r\n");
    if bounded && parsed.iter().all(starts_line) {
        Ok(())
    } else {
        Err(HeadError::Bad(line_fault(head).unwrap_or("bare_line_feed")))
    }
}

/// Names the first thing that is wrong with the lines of a refused head, if they are to blame.
pub(super) fn line_fault(head: &[u8]) -> Option<&'static str> {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        if line == b"\r\n" {
            break;
        }
        let (text, is_ended) = match line {
            [text @ .., b'\r', b'\n'] => (text, true),
            [.., b'\n'] => return Some("bare_line_feed"),
            // The CR LF of the last line may be still to come.
            [text @ .., b'\r'] => (text, false),
            text => (text, false),
        };
        if text.contains(&b'\r') {
            return Some("bare_carriage_return");
        }
        if text.contains(&0) {
            return Some("nul_byte");
        }
        if is_ended && matches!(lines.peek(), Some([b' ' | b'\t', ..])) {
            return Some("folded_field");
        }
    }
    None
}

/// What the fields say about framing and the connection.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The value all `Content-Length` lines agree on, if there is one.
    pub content_length: Option<u64>,
    /// How many `Content-Length` lines there are.
    pub content_lengths: usize,
    /// `Transfer-Encoding` is there and is exactly `chunked`.
    pub chunked: bool,
    /// How many `Host` lines there are.
    pub hosts: usize,
    /// `Connection: close`.
    pub close: bool,
    /// `Connection: keep-alive`.
    pub keep_alive: bool,
    /// `Connection: upgrade`.
    upgrade: bool,
    /// `Connection` names fields that stop here.
    pub nominates: bool,
    /// `Connection: upgrade` and `Upgrade: websocket`.
    pub websocket: bool,
    /// `Expect` is there.
    pub expect: bool,
    /// `TE` lists `trailers`.
    pub te_trailers: bool,
}

impl Facts {
    /// The fields that facts are read off.
    const KINDS: u32 = Known::set(&[
        Known::Connection,
        Known::ContentLength,
        Known::Expect,
        Known::Host,
        Known::Te,
        Known::TransferEncoding,
        Known::Upgrade,
    ]);

    /// Reads the facts off the fields of a message of HTTP/1.0 or HTTP/1.1.
    ///
    /// Refused are lengths that are no number or disagree, any transfer coding that is not exactly
    /// one `chunked`, and messages that say both or speak of codings in HTTP/1.0.
    pub(super) fn gather(fields: &Fields, version: HttpVersion) -> Result<Self, HeadError> {
        let mut facts = Self::default();
        let mut upgrade_websocket = false;
        let mut transfer_encodings = 0;
        for (known, value) in fields.of_kinds(Self::KINDS) {
            let has = |option: &[u8]| list(value).any(|one| one.eq_ignore_ascii_case(option));
            match known {
                Known::ContentLength => facts.add_content_length(value)?,
                Known::TransferEncoding => transfer_encodings += 1,
                Known::Host => facts.hosts += 1,
                Known::Connection => match ConnectionOption::of(value) {
                    ConnectionOption::Field => {
                        list(value).for_each(|token| facts.note(ConnectionOption::of(token)));
                    }
                    // Most say one thing only.
                    option => facts.note(option),
                },
                Known::Upgrade => upgrade_websocket |= has(b"websocket"),
                Known::Expect => facts.expect = true,
                Known::Te => facts.te_trailers |= has(b"trailers"),
                _ => {}
            }
        }
        facts.websocket = facts.upgrade && upgrade_websocket;
        if transfer_encodings > 0 {
            facts.check_transfer_encoding(fields, transfer_encodings, version)?;
            facts.chunked = true;
        }
        Ok(facts)
    }

    /// Whether the connection stays after this message, as far as `Connection` says.
    pub(super) fn persists(&self, version: HttpVersion) -> bool {
        !self.close && (self.keep_alive || version != HttpVersion::Http10)
    }

    fn note(&mut self, option: ConnectionOption) {
        match option {
            ConnectionOption::Close => self.close = true,
            ConnectionOption::KeepAlive => self.keep_alive = true,
            ConnectionOption::Upgrade => self.upgrade = true,
            ConnectionOption::Field => self.nominates = true,
        }
    }

    fn add_content_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let length = content_length(value)?;
        if self.content_length.is_some_and(|before| before != length) {
            return Err(HeadError::Bad("content_length"));
        }
        self.content_length = Some(length);
        self.content_lengths += 1;
        Ok(())
    }

    fn check_transfer_encoding(
        &self,
        fields: &Fields,
        lines: usize,
        version: HttpVersion,
    ) -> Result<(), HeadError> {
        if self.content_lengths > 0 {
            return Err(HeadError::Bad("two_framings"));
        }
        if version == HttpVersion::Http10 {
            return Err(HeadError::Bad("transfer_encoding_in_http10"));
        }
        if lines > 1 {
            return Err(HeadError::Bad("transfer_encoding_repeated"));
        }
        let value = fields.get(Known::TransferEncoding).unwrap_or_default();
        if value.eq_ignore_ascii_case(b"chunked") {
            return Ok(());
        }
        let is_one_coding = !value.is_empty() && value.iter().all(u8::is_ascii_alphanumeric);
        Err(if is_one_coding {
            HeadError::NotImplemented("transfer_encoding")
        } else {
            HeadError::Bad("transfer_encoding")
        })
    }
}

/// Reads a `Content-Length`: digits alone, at most 2⁶³ − 1, so that every program behind us that
/// counts in signed numbers reads the same.
pub(super) fn content_length(value: &[u8]) -> Result<u64, HeadError> {
    let wrong = HeadError::Bad("content_length");
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(wrong);
    }
    let digit = |byte: &u8| u64::from(byte - b'0');
    // So few digits are no more than that.
    if value.len() <= 18 {
        return Ok(value.iter().fold(0, |sum, byte| sum * 10 + digit(byte)));
    }
    let add = |sum: u64, byte: &u8| sum.checked_mul(10)?.checked_add(digit(byte));
    let number = value.iter().try_fold(0, add).filter(|length| *length <= i64::MAX as u64);
    number.ok_or(wrong)
}
