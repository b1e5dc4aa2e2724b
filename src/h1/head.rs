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

impl RequestHead {
    /// Path, beginning with `/`, or `*`.
    pub fn path(&self) -> &str {
        todo!()
    }
    /// Query without the `?`.
    pub fn query(&self) -> Option<&str> {
        todo!()
    }
    /// Host in lower case without port; empty for HTTP/1.0 without one.
    pub fn host(&self) -> &str {
        todo!()
    }
}
