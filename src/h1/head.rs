//! Request and response heads: read once, into types that cannot hold ambiguity.
//!
//! What two readers could understand differently is refused here with a reason, not repaired:
//! several hosts, two framings, a bare line feed. The head owns its bytes, so that the buffer it
//! was read from is free for the body.

use super::fields::{Fields, Known};
use super::target;

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
    /// Reads a method; methods are case-sensitive.
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

    /// The word of metrics: one of a closed set, whatever clients send.
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

    /// Whether it asks for no change (RFC 9110 §9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether asking twice is the same as asking once (RFC 9110 §9.2.2).
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
    /// As written in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
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
    /// 400; the reason is stable snake_case, e.g. `host_missing`.
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
    /// The stable word.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Bad(reason) | Self::NotImplemented(reason) => reason,
            Self::TargetTooLong => "target_too_long",
            Self::TooLarge => "head_too_large",
            Self::Version => "version_unsupported",
        }
    }
}

/// Fields that are parsed at first; a head with more is parsed again with as many as allowed.
const FEW_FIELDS: usize = 32;
/// A length above this would be negative for someone.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// A request head. Made to be cleared and used again.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    pub method: Method,
    pub version: HttpVersion,
    pub fields: Fields,
    pub framing: Framing,
    /// Whether the client wants the connection to stay.
    pub keep_alive: bool,
    pub expect_continue: bool,
    /// A WebSocket handshake: GET, HTTP/1.1, `Connection: upgrade`, `Upgrade: websocket`, no body.
    pub websocket: bool,
    /// `TE: trailers` was sent.
    pub te_trailers: bool,
    method_text: String,
    target: String,
    /// Where the `?` is.
    query_at: Option<usize>,
    authority: String,
    host: String,
    /// How far the end of the head was looked for.
    scanned: usize,
}

impl RequestHead {
    /// An empty head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.method_text.clear();
        self.target.clear();
        self.authority.clear();
        self.host.clear();
        self.query_at = None;
        self.scanned = 0;
        self.framing = Framing::None;
        (self.keep_alive, self.expect_continue) = (false, false);
        (self.websocket, self.te_trailers) = (false, false);
    }

    /// The method as it was sent.
    pub fn method_text(&self) -> &str {
        &self.method_text
    }

    /// Path, beginning with `/`, or `*`.
    pub fn path(&self) -> &str {
        &self.target[..self.query_at.unwrap_or(self.target.len())]
    }

    /// Query without the `?`.
    pub fn query(&self) -> Option<&str> {
        Some(&self.target[self.query_at? + 1..])
    }

    /// Path and query as they were sent.
    pub fn path_and_query(&self) -> &str {
        &self.target
    }

    /// Host and port as they were sent; empty for HTTP/1.0 without a host.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Host in lower case, without port and brackets; empty for HTTP/1.0 without one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Reads a head from the beginning of `input`: how many bytes it took, or `None` while it is
    /// not complete. Call again with more bytes at the same beginning.
    pub fn parse(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        // One empty line before a request is forgiven (RFC 9112 §2.2), not two.
        let lead = if input.starts_with(b"\r\n") { 2 } else { 0 };
        let body = &input[lead..];
        early_refusal(body)?;
        let end = match find_end(body, self.scanned) {
            Some(end) if end <= limits.bytes => end,
            Some(_) => return Err(too_large(body, limits)),
            None => {
                self.scanned = body.len().saturating_sub(3);
                if body.len() > limits.bytes {
                    return Err(too_large(body, limits));
                }
                return Ok(None);
            }
        };
        self.clear();
        let head = &body[..end];
        check_lines(head)?;
        self.read(head, limits)?;
        self.interpret()?;
        Ok(Some(lead + end))
    }

    fn read(&mut self, head: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
        let mut few = [httparse::EMPTY_HEADER; FEW_FIELDS];
        match self.read_into(head, limits, &mut few[..limits.fields.min(FEW_FIELDS)]) {
            Err(HeadError::TooLarge) if limits.fields > FEW_FIELDS => {
                let mut many = vec![httparse::EMPTY_HEADER; limits.fields];
                self.read_into(head, limits, &mut many)
            }
            read => read,
        }
    }

    fn read_into<'h>(
        &mut self,
        head: &'h [u8],
        limits: &HeadLimits,
        headers: &mut [httparse::Header<'h>],
    ) -> Result<(), HeadError> {
        let mut parsed = httparse::Request::new(headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(HeadError::Bad("head_malformed")),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
            Err(httparse::Error::Version) => return Err(version_error(head)),
            Err(httparse::Error::HeaderName) => return Err(HeadError::Bad("field_name")),
            Err(httparse::Error::HeaderValue) => return Err(HeadError::Bad("field_value")),
            Err(_) => return Err(HeadError::Bad("request_line")),
        }
        self.version = match parsed.version {
            Some(0) => HttpVersion::Http10,
            _ => HttpVersion::Http11,
        };
        let method = parsed.method.unwrap_or_default();
        self.method = Method::parse(method.as_bytes());
        self.method_text.push_str(method);
        let path = parsed.path.unwrap_or_default();
        if path.len() > limits.target {
            return Err(HeadError::TargetTooLong);
        }
        self.target.push_str(path);
        for field in parsed.headers.iter() {
            push_field(&mut self.fields, field)?;
        }
        Ok(())
    }

    fn interpret(&mut self) -> Result<(), HeadError> {
        let host = self.one_host()?;
        let form = target::read(self.method, &self.target)?;
        match form {
            target::Form::Absolute { authority, rest } => {
                // The target's authority wins over the Host field (RFC 9112 §3.2.2).
                self.authority = self.target[authority].to_owned();
                let path = &self.target[rest];
                let path = match path.starts_with('/') {
                    true => path.to_owned(),
                    false => format!("/{path}"),
                };
                self.target = path;
            }
            target::Form::Origin => self.authority.push_str(&host.unwrap_or_default()),
        }
        target::check_authority(&self.authority)?;
        target::host_of(&self.authority, &mut self.host);
        self.query_at = self.target.find('?');
        self.fields.nominate_from_connection();
        self.framing = request_framing(&self.fields, self.version)?;
        let options = ConnectionOptions::of(&self.fields);
        self.keep_alive = match self.version {
            HttpVersion::Http10 => options.keep_alive && !options.close,
            _ => !options.close,
        };
        self.te_trailers = self.fields.all(Known::Te).any(|value| has_token(value, b"trailers"));
        self.expect()?;
        self.websocket = self.is_websocket(&options);
        Ok(())
    }

    fn one_host(&self) -> Result<Option<String>, HeadError> {
        let mut hosts = self.fields.all(Known::Host);
        let host = match (hosts.next(), hosts.next()) {
            (_, Some(_)) => return Err(HeadError::Bad("host_repeated")),
            (None, None) if self.version == HttpVersion::Http10 => return Ok(None),
            (None, None) => return Err(HeadError::Bad("host_missing")),
            (Some(host), None) => host,
        };
        let host = std::str::from_utf8(host).map_err(|_| HeadError::Bad("host_malformed"))?;
        target::check_authority(host)?;
        if host.is_empty() {
            return Err(HeadError::Bad("host_empty"));
        }
        Ok(Some(host.to_owned()))
    }

    fn expect(&mut self) -> Result<(), HeadError> {
        let mut expects = self.fields.all(Known::Expect);
        let Some(value) = expects.next() else { return Ok(()) };
        if expects.next().is_some() || !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(HeadError::Bad("expect_unknown"));
        }
        let has_body = !matches!(self.framing, Framing::None | Framing::Length(0));
        self.expect_continue = self.version == HttpVersion::Http11 && has_body;
        Ok(())
    }

    fn is_websocket(&self, options: &ConnectionOptions) -> bool {
        let upgrades = self.fields.all(Known::Upgrade);
        self.method == Method::Get
            && self.version == HttpVersion::Http11
            && options.upgrade
            && matches!(self.framing, Framing::None | Framing::Length(0))
            && self.fields.find("sec-websocket-key").is_some()
            && upgrades.into_iter().any(|value| has_token(value, b"websocket"))
    }

    /// Begins a head that came by HTTP/2; push its fields, then call [`RequestHead::finish_h2`].
    pub fn begin_h2(
        &mut self,
        method: &str,
        path_and_query: &str,
        authority: &str,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        self.clear();
        self.version = HttpVersion::Http2;
        self.method = Method::parse(method.as_bytes());
        self.method_text.push_str(method);
        if self.method == Method::Connect {
            return Err(HeadError::NotImplemented("connect"));
        }
        if path_and_query.len() > limits.target {
            return Err(HeadError::TargetTooLong);
        }
        target::check_origin(self.method, path_and_query)?;
        self.target.push_str(path_and_query);
        self.query_at = self.target.find('?');
        target::check_authority(authority)?;
        self.authority.push_str(authority);
        Ok(())
    }

    /// Ends a head that came by HTTP/2 and checks what the two versions of HTTP see differently.
    pub fn finish_h2(&mut self, framing: Framing) -> Result<(), HeadError> {
        let fields = std::mem::take(&mut self.fields);
        let mut cookies: Vec<u8> = Vec::new();
        for field in fields.iter() {
            match field.known {
                Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::TransferEncoding
                | Known::Upgrade => return Err(HeadError::Bad("connection_specific_field")),
                Known::Te if !field.value.eq_ignore_ascii_case(b"trailers") => {
                    return Err(HeadError::Bad("te_in_http2"));
                }
                // The crumbs of a split cookie are one field again (RFC 9113 §8.2.3).
                Known::Cookie => {
                    if !cookies.is_empty() {
                        cookies.extend_from_slice(b"; ");
                    }
                    cookies.extend_from_slice(field.value);
                }
                Known::Host if self.authority.is_empty() => {
                    let host = std::str::from_utf8(field.value);
                    let host = host.map_err(|_| HeadError::Bad("host_malformed"))?;
                    target::check_authority(host)?;
                    self.authority.push_str(host);
                }
                Known::Host if !field.value.eq_ignore_ascii_case(self.authority.as_bytes()) => {
                    return Err(HeadError::Bad("host_disagrees"));
                }
                Known::Host => {}
                _ => self.fields.push(field.name, field.value),
            }
        }
        if !cookies.is_empty() {
            self.fields.push(b"cookie", &cookies);
        }
        if self.authority.is_empty() {
            return Err(HeadError::Bad("host_missing"));
        }
        target::host_of(&self.authority, &mut self.host);
        let length = content_length(&self.fields, HeadError::Bad("content_length"))?;
        self.framing = match (framing, length) {
            (_, Some(length)) => Framing::Length(length),
            (framing, None) => framing,
        };
        self.te_trailers = self.fields.get(Known::Te).is_some();
        self.keep_alive = true;
        Ok(())
    }
}

/// A response head. Made to be cleared and used again. The reason phrase is not kept: it is
/// written anew.
#[derive(Debug, Clone, Default)]
pub struct ResponseHead {
    pub status: u16,
    pub version: HttpVersion,
    pub fields: Fields,
    pub framing: Framing,
    /// Whether the connection can be used again once the body was read.
    pub keep_alive: bool,
    /// A 101 that switches to WebSocket.
    pub websocket: bool,
    scanned: usize,
}

impl ResponseHead {
    /// An empty head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.begin(0);
        self.scanned = 0;
    }

    /// Begins a head that is made by hand.
    pub fn begin(&mut self, status: u16) {
        self.status = status;
        self.fields.clear();
        self.framing = Framing::None;
        self.keep_alive = true;
        self.websocket = false;
    }

    /// Reads a head from the beginning of `input`; see [`RequestHead::parse`].
    pub fn parse(
        &mut self,
        input: &[u8],
        request_method: Method,
        limits: &HeadLimits,
    ) -> Result<Option<usize>, HeadError> {
        let end = match find_end(input, self.scanned) {
            Some(end) if end <= limits.bytes => end,
            Some(_) => return Err(HeadError::TooLarge),
            None if input.len() > limits.bytes => return Err(HeadError::TooLarge),
            None => {
                self.scanned = input.len().saturating_sub(3);
                let shown = input.len().min(5);
                if input[..shown] != b"HTTP/"[..shown] {
                    return Err(HeadError::Bad("not_http"));
                }
                return Ok(None);
            }
        };
        self.clear();
        let head = &input[..end];
        check_lines(head)?;
        self.read(head, limits)?;
        self.fields.nominate_from_connection();
        self.interpret(request_method)?;
        Ok(Some(end))
    }

    fn read(&mut self, head: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
        let mut few = [httparse::EMPTY_HEADER; FEW_FIELDS];
        match self.read_into(head, &mut few[..limits.fields.min(FEW_FIELDS)]) {
            Err(HeadError::TooLarge) if limits.fields > FEW_FIELDS => {
                let mut many = vec![httparse::EMPTY_HEADER; limits.fields];
                self.read_into(head, &mut many)
            }
            read => read,
        }
    }

    fn read_into<'h>(
        &mut self,
        head: &'h [u8],
        headers: &mut [httparse::Header<'h>],
    ) -> Result<(), HeadError> {
        let mut parsed = httparse::Response::new(headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
            _ => return Err(HeadError::Bad("response_head_malformed")),
        }
        self.version = match parsed.version {
            Some(0) => HttpVersion::Http10,
            _ => HttpVersion::Http11,
        };
        self.status = parsed.code.unwrap_or_default();
        for field in parsed.headers.iter() {
            push_field(&mut self.fields, field)?;
        }
        Ok(())
    }

    fn interpret(&mut self, request_method: Method) -> Result<(), HeadError> {
        if !(100..=599).contains(&self.status) {
            return Err(HeadError::Bad("status"));
        }
        let options = ConnectionOptions::of(&self.fields);
        let mut codings = self.fields.all(Known::TransferEncoding);
        let chunked = match (codings.next(), codings.next()) {
            (None, _) => false,
            (Some(value), None) if value.eq_ignore_ascii_case(b"chunked") => true,
            _ => return Err(HeadError::Bad("transfer_encoding")),
        };
        let length = content_length(&self.fields, HeadError::Bad("content_length"))?;
        if chunked && (length.is_some() || self.version == HttpVersion::Http10) {
            return Err(HeadError::Bad("two_framings"));
        }
        let bodiless =
            self.status < 200 || matches!(self.status, 204 | 304) || request_method == Method::Head;
        self.framing = match length {
            _ if bodiless => Framing::None,
            Some(length) => Framing::Length(length),
            None if chunked => Framing::Chunked,
            None => Framing::UntilClose,
        };
        let persistent = match self.version {
            HttpVersion::Http10 => options.keep_alive && !options.close,
            _ => !options.close,
        };
        self.keep_alive = persistent && self.framing != Framing::UntilClose;
        let upgrade = self.fields.get(Known::Upgrade);
        self.websocket = self.status == 101
            && options.upgrade
            && upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"));
        Ok(())
    }
}

/// What the `Connection` fields say.
#[derive(Debug, Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl ConnectionOptions {
    fn of(fields: &Fields) -> Self {
        let mut options = Self::default();
        for value in fields.all(Known::Connection) {
            options.close |= has_token(value, b"close");
            options.keep_alive |= has_token(value, b"keep-alive");
            options.upgrade |= has_token(value, b"upgrade");
        }
        options
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

fn push_field(fields: &mut Fields, field: &httparse::Header<'_>) -> Result<(), HeadError> {
    // httparse allows some bytes in names that RFC 9110 does not call a token.
    if !field.name.bytes().all(is_token_byte) {
        return Err(HeadError::Bad("field_name"));
    }
    fields.push(field.name.as_bytes(), field.value.trim_ascii());
    Ok(())
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Where the head ends, behind its empty line. Looks only at what was not looked at before.
fn find_end(input: &[u8], from: usize) -> Option<usize> {
    let mut at = from.min(input.len());
    while let Some(found) = input[at..].iter().position(|byte| *byte == b'\n') {
        let line_end = at + found;
        if line_end >= 3 && &input[line_end - 3..line_end] == b"\r\n\r" {
            return Some(line_end + 1);
        }
        // A bare line feed could end the head for someone: stop here, and let the check refuse it.
        if line_end == 0 || input[line_end - 1] != b'\r' {
            return Some(line_end + 1);
        }
        at = line_end + 1;
    }
    None
}

/// Every line ends with CRLF, and no carriage return or NUL is anywhere else; no line is folded.
fn check_lines(head: &[u8]) -> Result<(), HeadError> {
    let mut before = 0;
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\n' if before != b'\r' => return Err(HeadError::Bad("bare_line_feed")),
            b'\n' if matches!(head.get(at + 1), Some(b' ' | b'\t')) => {
                return Err(HeadError::Bad("folded_field"));
            }
            b'\r' if head.get(at + 1) != Some(&b'\n') => {
                return Err(HeadError::Bad("bare_carriage_return"));
            }
            0 => return Err(HeadError::Bad("nul_byte")),
            _ => {}
        }
        before = *byte;
    }
    Ok(())
}

/// What is certain before the head is complete: that the first bytes are no request.
fn early_refusal(input: &[u8]) -> Result<(), HeadError> {
    match input.first() {
        Some(byte) if !is_token_byte(*byte) => match input {
            [b'\r'] => Ok(()),
            _ => Err(HeadError::Bad("request_line")),
        },
        _ => Ok(()),
    }
}

fn too_large(input: &[u8], limits: &HeadLimits) -> HeadError {
    let line = input.iter().take(limits.target + 64).position(|byte| *byte == b'\n');
    match line {
        None => HeadError::TargetTooLong,
        Some(_) => HeadError::TooLarge,
    }
}

/// Tells a version of HTTP that is not served from what is no version.
fn version_error(head: &[u8]) -> HeadError {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let last = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    match last {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            HeadError::Version
        }
        _ => HeadError::Bad("request_line"),
    }
}

fn request_framing(fields: &Fields, version: HttpVersion) -> Result<Framing, HeadError> {
    let mut lengths = fields.all(Known::ContentLength);
    let repeated = lengths.next().is_some() && lengths.next().is_some();
    if repeated {
        return Err(HeadError::Bad("content_length_repeated"));
    }
    let length = content_length(fields, HeadError::Bad("content_length"))?;
    let mut codings = fields.all(Known::TransferEncoding);
    let Some(coding) = codings.next() else {
        return Ok(length.map_or(Framing::None, Framing::Length));
    };
    if length.is_some() {
        return Err(HeadError::Bad("two_framings"));
    }
    if version == HttpVersion::Http10 {
        return Err(HeadError::Bad("transfer_encoding_in_http10"));
    }
    if codings.next().is_some() {
        return Err(HeadError::Bad("transfer_encoding_repeated"));
    }
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    let known: [&[u8]; 5] = [b"gzip", b"deflate", b"compress", b"x-gzip", b"x-compress"];
    match known.iter().any(|name| coding.eq_ignore_ascii_case(name)) {
        true => Err(HeadError::NotImplemented("transfer_encoding")),
        false => Err(HeadError::Bad("transfer_encoding")),
    }
}

/// The one length that all `Content-Length` fields agree on.
fn content_length(fields: &Fields, wrong: HeadError) -> Result<Option<u64>, HeadError> {
    let mut found: Option<&[u8]> = None;
    for value in fields.all(Known::ContentLength) {
        if found.is_some_and(|other| other != value) {
            return Err(wrong);
        }
        found = Some(value);
    }
    let Some(digits) = found else { return Ok(None) };
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(wrong);
    }
    let length = digits
        .iter()
        .try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    match length {
        Some(length) if length <= LENGTH_MAX => Ok(Some(length)),
        _ => Err(wrong),
    }
}
