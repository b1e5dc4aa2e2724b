//! Reading request heads, from HTTP/1 bytes or from the parts that an HTTP/2 library hands over.

use super::fields::{self, Fields, Known};
use super::head::{
    Facts, Framing, HeadError, HeadLimits, HttpVersion, Method, Progress, content_length,
    first_line, line_fault, read_fields,
};
use super::target::{Target, host_of};

/// A request head: every ambiguity is gone. Owns its bytes; made to be used again.
///
/// After a refusal it holds what was read until then, which is for logs only.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    pub method: Method,
    pub version: HttpVersion,
    /// All fields in order. Over HTTP/1 `Host` is among them and equals [`Self::authority`]; over
    /// HTTP/2 it is not.
    pub fields: Fields,
    pub framing: Framing,
    /// Whether the client wants the connection to stay.
    pub keep_alive: bool,
    /// `Expect: 100-continue` was sent and there is a body to wait for.
    pub expect_continue: bool,
    /// A WebSocket handshake: GET, HTTP/1.1, `Connection: upgrade`, `Upgrade: websocket`, a key, no
    /// body.
    pub websocket: bool,
    /// `TE: trailers` was sent.
    pub te_trailers: bool,
    /// Text of a method that is [`Method::Other`].
    other_method: String,
    path_and_query: String,
    path_len: usize,
    authority: String,
    host: String,
    last: Last,
    progress: Progress,
    /// Bounds of the head that [`Self::begin_h2`] began.
    limits_h2: Option<HeadLimits>,
}

/// What the next head of a busy listener often has as well: what was checked need not be checked
/// again.
#[derive(Debug, Clone, Default)]
struct Last {
    authority: String,
    host: String,
    fields: Fields,
}

impl RequestHead {
    /// An empty head that holds no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything and keeps the memory. To be called before bytes of another head are read
    /// if the last one was left incomplete.
    pub fn clear(&mut self) {
        self.method = Method::Get;
        self.version = HttpVersion::Http11;
        self.fields.clear_into(&mut self.last.fields);
        self.framing = Framing::None;
        self.keep_alive = false;
        self.expect_continue = false;
        self.websocket = false;
        self.te_trailers = false;
        self.other_method.clear();
        self.path_and_query.clear();
        self.path_len = 0;
        if !self.authority.is_empty() {
            std::mem::swap(&mut self.authority, &mut self.last.authority);
            std::mem::swap(&mut self.host, &mut self.last.host);
            self.authority.clear();
            self.host.clear();
        }
        self.progress = Progress::default();
        self.limits_h2 = None;
    }

    /// Reads a head of HTTP/1 off the beginning of `input`.
    ///
    /// `Some(n)`: the head is complete and took `n` bytes. `None`: more bytes are needed; the next
    /// call brings these and more. One empty line before the request line is skipped.
    ///
    /// # Errors
    /// Everything that could be read in two ways, or is beyond the limits: as soon as that is known,
    /// at the latest when the head is complete.
    pub fn parse(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        if !self.progress.is_worth_parsing(input, limits) {
            return Ok(None);
        }
        self.clear();
        let bounded = &input[..input.len().min(limits.bytes)];
        let skipped = if bounded.starts_with(b"\r\n") { 2 } else { 0 };
        let head = &bounded[skipped..];
        if matches!(head, [b'\r', _, ..] | [b'\n', ..]) {
            return Err(HeadError::Bad("request_line"));
        }
        match self.parse_in(head, limits).map_err(|error| refusal(head, error, limits))?? {
            Some(length) => Ok(Some(skipped + length)),
            None if is_target_too_long(head, limits) => Err(HeadError::TargetTooLong),
            None if input.len() >= limits.bytes => Err(too_large(head)),
            None => {
                self.progress.incomplete(input.len());
                Ok(None)
            }
        }
    }

    /// Begins a head of HTTP/2. The caller then pushes the fields and calls [`Self::finish_h2`].
    /// An `authority` of no bytes is one that was not sent.
    ///
    /// # Errors
    /// As for [`Self::parse`].
    pub fn begin_h2(
        &mut self,
        method: &str,
        path_and_query: &str,
        authority: &str,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        self.clear();
        self.version = HttpVersion::Http2;
        self.keep_alive = true;
        self.limits_h2 = Some(*limits);
        if method.is_empty() || !method.bytes().all(fields::is_token_byte) {
            return Err(HeadError::Bad("method"));
        }
        self.set_method(method);
        if path_and_query.len() > limits.target {
            return Err(HeadError::TargetTooLong);
        }
        let target = Target::parse_h2(self.method, path_and_query)?;
        self.set_path_and_query(&target.path_and_query);
        if !authority.is_empty() {
            self.set_authority(authority)?;
        }
        Ok(())
    }

    /// Checks the fields that were pushed since [`Self::begin_h2`], settles the authority and the
    /// framing and joins the cookies. `framing` is what the transport knows of the body: `None` if
    /// the head ended the stream, `Chunked` if its length is open.
    ///
    /// # Errors
    /// As for [`Self::parse`]; also for fields that speak of connections, which HTTP/2 has no use
    /// for, and a `Host` that is not the authority.
    pub fn finish_h2(&mut self, framing: Framing) -> Result<(), HeadError> {
        self.check_fields_h2()?;
        self.settle_host_h2()?;
        self.settle_framing_h2(framing)?;
        self.settle_expect()?;
        self.fields.join(Known::Cookie, b"; ");
        Ok(())
    }

    /// Makes it a WebSocket handshake with this key: what a stream of HTTP/2 asked for without one.
    pub fn ask_websocket(&mut self, key: &[u8]) {
        self.fields.set(b"sec-websocket-key", key);
        self.websocket = true;
    }

    /// The method as sent.
    pub fn method_text(&self) -> &str {
        match self.method {
            Method::Other => &self.other_method,
            known => known.as_label(),
        }
    }

    /// Path, beginning with `/`, or `*`.
    pub fn path(&self) -> &str {
        &self.path_and_query[..self.path_len]
    }

    /// Query without the `?`.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query.get(self.path_len + 1..)
    }

    /// Path and query as sent but for dot segments, with the `?` between.
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// Host and port as sent; empty for HTTP/1.0 without `Host`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Host in lower case without port, brackets and final dot; empty for HTTP/1.0 without `Host`.
    pub fn host(&self) -> &str {
        &self.host
    }

    fn parse_in(
        &mut self,
        head: &[u8],
        limits: &HeadLimits,
    ) -> Result<Result<Option<usize>, HeadError>, httparse::Error> {
        // With no bytes behind the line there is nothing for it to read but that.
        let mut raw = httparse::Request::new(&mut []);
        let Some(line) = first_line(head) else {
            return raw.parse(head).map(|_| Ok(None));
        };
        raw.parse(line)?;
        let read = read_fields(&mut self.fields, &mut self.last.fields, head, line, limits.fields)?;
        Ok(match read {
            Ok(Some(length)) => self.take(&raw, limits).map(|()| Some(length)),
            unread => unread,
        })
    }

    /// Settles what a complete head means, whose fields have been read.
    fn take(
        &mut self,
        raw: &httparse::Request<'_, '_>,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        self.version = HttpVersion::of_minor(raw.version);
        self.set_method(raw.method.unwrap_or_default());
        let text = raw.path.unwrap_or_default();
        if text.len() > limits.target {
            return Err(HeadError::TargetTooLong);
        }
        let target = Target::parse(self.method, text)?;
        self.set_path_and_query(&target.path_and_query);
        let facts = Facts::gather(&self.fields, self.version)?;
        self.settle_host(&facts, target.authority)?;
        self.settle_framing(&facts)?;
        self.settle_expect()?;
        self.keep_alive = facts.persists(self.version);
        self.te_trailers = facts.te_trailers;
        self.websocket = facts.websocket
            && self.method == Method::Get
            && self.version == HttpVersion::Http11
            && self.framing.is_empty()
            && self.fields.find("sec-websocket-key").is_some();
        if facts.nominates {
            self.fields.nominate_from_connection();
        }
        Ok(())
    }

    fn set_method(&mut self, text: &str) {
        self.method = Method::parse(text.as_bytes());
        if self.method == Method::Other {
            self.other_method.push_str(text);
        }
    }

    fn set_path_and_query(&mut self, text: &str) {
        if text.is_empty() && self.method == Method::Options {
            // RFC 9112 §3.2.4: a request for the server as a whole, sent to a proxy.
            self.path_and_query.push('*');
        } else if text.is_empty() || text.starts_with('?') {
            self.path_and_query.push('/');
        }
        self.path_and_query.push_str(text);
        let query = self.path_and_query.bytes().position(|byte| byte == b'?');
        self.path_len = query.unwrap_or(self.path_and_query.len());
    }

    /// One `Host`, valid even where a target in absolute form overrules it (RFC 9112 §3.2).
    fn settle_host(&mut self, facts: &Facts, target: Option<&str>) -> Result<(), HeadError> {
        if facts.hosts > 1 {
            return Err(HeadError::Bad("host_repeated"));
        }
        if facts.hosts == 0 && self.version == HttpVersion::Http11 {
            return Err(HeadError::Bad("host_missing"));
        }
        if facts.hosts == 1 {
            self.take_authority_from_host()?;
        }
        if let Some(authority) = target {
            self.set_authority(authority)?;
            self.fields.set(b"Host", authority.as_bytes());
        }
        Ok(())
    }

    fn take_authority_from_host(&mut self) -> Result<(), HeadError> {
        let value = self.fields.get(Known::Host).unwrap_or_default();
        if value == self.last.authority.as_bytes() && !value.is_empty() {
            self.authority.push_str(&self.last.authority);
            self.host.push_str(&self.last.host);
            return Ok(());
        }
        let value = str::from_utf8(value).map_err(|_| HeadError::Bad("host_malformed"))?;
        self.host.push_str(host_of(value)?);
        self.host.make_ascii_lowercase();
        self.authority.push_str(value);
        Ok(())
    }

    fn set_authority(&mut self, authority: &str) -> Result<(), HeadError> {
        self.authority.clear();
        self.host.clear();
        if authority == self.last.authority && !authority.is_empty() {
            self.host.push_str(&self.last.host);
        } else {
            self.host.push_str(host_of(authority)?);
            self.host.make_ascii_lowercase();
        }
        self.authority.push_str(authority);
        Ok(())
    }

    fn settle_framing(&mut self, facts: &Facts) -> Result<(), HeadError> {
        if facts.content_lengths > 1 {
            return Err(HeadError::Bad("content_length_repeated"));
        }
        self.framing = match facts.content_length {
            _ if facts.chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::None,
        };
        if self.method == Method::Trace && !self.framing.is_empty() {
            return Err(HeadError::Bad("trace_with_body"));
        }
        Ok(())
    }

    /// One expectation is known; HTTP/1.0 has none (RFC 9110 §10.1.1).
    fn settle_expect(&mut self) -> Result<(), HeadError> {
        let mut expectations = self.fields.all(Known::Expect);
        let Some(first) = expectations.next() else { return Ok(()) };
        if self.version == HttpVersion::Http10 {
            return Ok(());
        }
        if expectations.next().is_some() || !first.eq_ignore_ascii_case(b"100-continue") {
            return Err(HeadError::Bad("expect_unknown"));
        }
        self.expect_continue = !self.framing.is_empty();
        Ok(())
    }

    fn check_fields_h2(&mut self) -> Result<(), HeadError> {
        let mut bytes = self.path_and_query.len() + self.authority.len();
        for field in self.fields.iter() {
            bytes += field.name().len() + field.value().len();
            let in_token = |byte: &u8| fields::is_token_byte(*byte) && !byte.is_ascii_uppercase();
            if field.name().is_empty() || !field.name().iter().all(in_token) {
                return Err(HeadError::Bad("field_name"));
            }
            if !fields::is_value(field.value()) {
                return Err(HeadError::Bad("field_value"));
            }
            match field.known {
                Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::TransferEncoding
                | Known::Upgrade => return Err(HeadError::Bad("connection_specific_field")),
                Known::Te if field.value().eq_ignore_ascii_case(b"trailers") => {
                    self.te_trailers = true;
                }
                Known::Te => return Err(HeadError::Bad("te_in_http2")),
                _ => {}
            }
        }
        let fit = |limits: HeadLimits| bytes <= limits.bytes && self.fields.len() <= limits.fields;
        if self.limits_h2.is_none_or(fit) { Ok(()) } else { Err(HeadError::TooLarge) }
    }

    /// The authority, or the one `Host` in its stead; both only if they are the same
    /// (RFC 9113 §8.3.1). `Host` then goes.
    fn settle_host_h2(&mut self) -> Result<(), HeadError> {
        if self.fields.all(Known::Host).nth(1).is_some() {
            return Err(HeadError::Bad("host_repeated"));
        }
        match self.fields.get(Known::Host) {
            Some(_) if self.authority.is_empty() => self.take_authority_from_host()?,
            Some(host) if !host.eq_ignore_ascii_case(self.authority.as_bytes()) => {
                return Err(HeadError::Bad("host_disagrees"));
            }
            None if self.authority.is_empty() => return Err(HeadError::Bad("host_missing")),
            _ => {}
        }
        self.fields.remove(Known::Host);
        Ok(())
    }

    fn settle_framing_h2(&mut self, transport: Framing) -> Result<(), HeadError> {
        let mut declared = self.fields.all(Known::ContentLength);
        let first = declared.next().map(content_length).transpose()?;
        if declared.next().is_some() {
            return Err(HeadError::Bad("content_length_repeated"));
        }
        self.framing = match (first, transport) {
            (None, Framing::UntilClose) => Framing::Chunked,
            (None, known) => known,
            (Some(0), Framing::None) => Framing::Length(0),
            (Some(length), Framing::Chunked | Framing::UntilClose) => Framing::Length(length),
            (Some(length), Framing::Length(known)) if length == known => transport,
            _ => return Err(HeadError::Bad("content_length")),
        };
        if self.method == Method::Trace && !self.framing.is_empty() {
            return Err(HeadError::Bad("trace_with_body"));
        }
        Ok(())
    }
}

/// Whether the request line already shows a target that is over the limit.
fn is_target_too_long(head: &[u8], limits: &HeadLimits) -> bool {
    if head.len() <= limits.target {
        return false;
    }
    let mut words = head.split(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
    let target = words.nth(1).unwrap_or_default();
    target.len() > limits.target
}

/// What to say of an incomplete head that fills its limit: it is the target if no line has ended.
fn too_large(head: &[u8]) -> HeadError {
    if head.contains(&b' ') && !head.contains(&b'\n') {
        HeadError::TargetTooLong
    } else {
        HeadError::TooLarge
    }
}

/// What to say of a head that the parser underneath refused.
fn refusal(head: &[u8], error: httparse::Error, limits: &HeadLimits) -> HeadError {
    use httparse::Error;
    let bad = |reason| HeadError::Bad(line_fault(head).unwrap_or(reason));
    match error {
        Error::TooManyHeaders => HeadError::TooLarge,
        Error::Version if is_other_version(head) => HeadError::Version,
        Error::Token if is_target_too_long(head, limits) => HeadError::TargetTooLong,
        Error::HeaderName => bad("field_name"),
        Error::HeaderValue => bad("field_value"),
        Error::NewLine | Error::Token | Error::Version | Error::Status => bad("request_line"),
    }
}

/// Whether the third word of the request line names a version of HTTP, which then is not ours.
fn is_other_version(head: &[u8]) -> bool {
    let version = head.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or_default();
    version.strip_prefix(b"HTTP/").and_then(|rest| rest.first()).is_some_and(u8::is_ascii_digit)
}
