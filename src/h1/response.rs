//! Reading the heads of upstream responses.

use super::fields::{Fields, Known};
use super::head::{
    Facts, Framing, HeadError, HeadLimits, HttpVersion, Method, Progress, first_line, line_fault,
    read_fields,
};

/// A response head: one framing, one meaning. Owns its bytes; made to be used again.
///
/// The reason phrase is not kept: standard ones are written anew.
#[derive(Debug, Clone, Default)]
pub struct ResponseHead {
    /// 100 to 599 once read.
    pub status: u16,
    pub version: HttpVersion,
    /// All fields in order. The `Content-Length` of an answer without body (to HEAD, or 304) is
    /// among them for passing on; `framing` then says that nothing follows.
    pub fields: Fields,
    pub framing: Framing,
    /// Whether the connection can carry another exchange after this one.
    pub keep_alive: bool,
    /// A 101 with `Connection: upgrade` and `Upgrade: websocket`.
    pub websocket: bool,
    /// The fields of the head before, which the next one's are often like.
    last: Fields,
    progress: Progress,
}

impl ResponseHead {
    /// An empty head that holds no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything and keeps the memory. To be called before bytes of another head are read
    /// if the last one was left incomplete.
    pub fn clear(&mut self) {
        self.status = 0;
        self.version = HttpVersion::Http11;
        self.fields.clear_into(&mut self.last);
        self.framing = Framing::None;
        self.keep_alive = false;
        self.websocket = false;
        self.progress = Progress::default();
    }

    /// Begins a head made by hand: without fields and body, on a connection that stays.
    pub fn begin(&mut self, status: u16) {
        self.clear();
        self.status = status;
        self.keep_alive = true;
    }

    /// Reads a head off the beginning of `input`. `request_method` is that of the request answered.
    ///
    /// `Some(n)`: the head is complete and took `n` bytes. `None`: more bytes are needed; the next
    /// call brings these and more. `limits.target` is not used.
    ///
    /// # Errors
    /// Everything that could be read in two ways, or is beyond the limits. To the client all of
    /// them are 502.
    pub fn parse(
        &mut self,
        input: &[u8],
        request_method: Method,
        limits: &HeadLimits,
    ) -> Result<Option<usize>, HeadError> {
        if !self.progress.is_worth_parsing(input, limits) {
            return Ok(None);
        }
        self.clear();
        let head = &input[..input.len().min(limits.bytes)];
        if matches!(head, [b'\r' | b'\n', ..]) {
            return Err(HeadError::Bad("not_http"));
        }
        match self
            .parse_in(head, request_method, limits)
            .map_err(|error| refusal(head, error))??
        {
            Some(length) => Ok(Some(length)),
            None if input.len() >= limits.bytes => Err(HeadError::TooLarge),
            None => {
                self.progress.incomplete(input.len());
                Ok(None)
            }
        }
    }

    fn parse_in(
        &mut self,
        head: &[u8],
        request_method: Method,
        limits: &HeadLimits,
    ) -> Result<Result<Option<usize>, HeadError>, httparse::Error> {
        // With no bytes behind the line there is nothing for it to read but that.
        let mut raw = httparse::Response::new(&mut []);
        let Some(line) = first_line(head) else {
            return raw.parse(head).map(|_| Ok(None));
        };
        raw.parse(line)?;
        let read = read_fields(&mut self.fields, &mut self.last, head, line, limits.fields)?;
        Ok(match read {
            Ok(Some(length)) => self.take(&raw, request_method).map(|()| Some(length)),
            unread => unread,
        })
    }

    /// Settles what a complete head means, whose fields have been read.
    fn take(
        &mut self,
        raw: &httparse::Response<'_, '_>,
        request_method: Method,
    ) -> Result<(), HeadError> {
        self.version = HttpVersion::of_minor(raw.version);
        self.status = raw.code.unwrap_or_default();
        if !(100..=599).contains(&self.status) {
            return Err(HeadError::Bad("status"));
        }
        let facts = Facts::gather(&self.fields, self.version)?;
        self.websocket = self.status == 101 && facts.websocket;
        if self.status == 101 && !self.websocket {
            return Err(HeadError::Bad("upgrade_unasked"));
        }
        if facts.content_lengths > 1 {
            self.fields.keep_first(Known::ContentLength);
        }
        self.settle_framing(&facts, request_method);
        if facts.nominates {
            self.fields.nominate_from_connection();
        }
        Ok(())
    }

    /// RFC 9112 §6.3, in its order.
    fn settle_framing(&mut self, facts: &Facts, request_method: Method) {
        let never_a_body = matches!(self.status, 100..=199 | 204);
        let no_body = never_a_body || self.status == 304 || request_method == Method::Head;
        self.framing = match facts.content_length {
            _ if no_body => Framing::None,
            _ if facts.chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        };
        // A peer that announces a body where there can be none may well send it: what stands behind
        // this head is then not another response.
        let announced = facts.chunked || facts.content_length.is_some_and(|length| length > 0);
        self.keep_alive = facts.persists(self.version)
            && self.framing != Framing::UntilClose
            && !(never_a_body && announced);
    }
}

/// What to say of a head that the parser underneath refused.
fn refusal(head: &[u8], error: httparse::Error) -> HeadError {
    use httparse::Error;
    let bad = |reason| HeadError::Bad(line_fault(head).unwrap_or(reason));
    match error {
        Error::TooManyHeaders => HeadError::TooLarge,
        Error::Version if is_other_version(head) => HeadError::Version,
        Error::Version => HeadError::Bad("not_http"),
        Error::HeaderName => bad("field_name"),
        Error::HeaderValue => bad("field_value"),
        Error::NewLine | Error::Status | Error::Token => bad("status_line"),
    }
}

/// Whether the line begins with a version of HTTP, which then is not ours.
fn is_other_version(head: &[u8]) -> bool {
    head.strip_prefix(b"HTTP/").and_then(|rest| rest.first()).is_some_and(u8::is_ascii_digit)
}
