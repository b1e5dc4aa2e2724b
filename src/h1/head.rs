//! Request and response heads.

use super::fields::Fields;

/// Request methods. `Other` keeps its text in the head and is labelled `OTHER` in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Method {
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

/// The version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    Http10,
    Http11,
    Http2,
}

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
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

/// A request head: every ambiguity is gone. Owns its bytes; made to be used again.
#[derive(Debug, Clone)]
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
    // private: method text, path, query, authority as Strings reused
}

impl Default for RequestHead { fn default() -> Self { todo!() } }
impl RequestHead {
    pub fn new() -> Self { todo!() }
    pub fn clear(&mut self) { todo!() }
    pub fn parse(&mut self, _: &[u8], _: &HeadLimits) -> Result<Option<usize>, HeadError> { todo!() }
    pub fn begin_h2(&mut self, _: &str, _: &str, _: &str, _: &HeadLimits) -> Result<(), HeadError> { todo!() }
    pub fn finish_h2(&mut self, _: Framing) -> Result<(), HeadError> { todo!() }
    pub fn method_text(&self) -> &str { todo!() }
    pub fn path(&self) -> &str { todo!() }
    pub fn query(&self) -> Option<&str> { todo!() }
    pub fn path_and_query(&self) -> &str { todo!() }
    pub fn authority(&self) -> &str { todo!() }
    pub fn host(&self) -> &str { todo!() }
}
#[derive(Debug, Default)]
pub struct ResponseHead { pub status: u16, pub fields: Fields, pub framing: Framing, pub keep_alive: bool, pub websocket: bool }
impl ResponseHead {
    pub fn clear(&mut self) { todo!() }
    pub fn begin(&mut self, _: u16) { todo!() }
    pub fn parse(&mut self, _: &[u8], _: Method, _: &HeadLimits) -> Result<Option<usize>, HeadError> { todo!() }
}
impl Default for Framing { fn default() -> Self { Self::None } }
impl HttpVersion { pub fn as_str(self) -> &'static str { todo!() } }
impl HeadError { pub fn reason(self) -> &'static str { todo!() } }
impl Method { pub fn as_label(self) -> &'static str { todo!() } pub fn is_idempotent(self) -> bool { todo!() } }
