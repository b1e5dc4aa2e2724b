//! The only table from reason to status and body: what the proxy answers itself.

use std::fmt::Write as _;

use super::VERSION_FIELD;
use super::error::{ProxyError, Reason};
use crate::h1::write;

/// Seconds a client is asked to wait when what is missing may come back.
const RETRY_AFTER: u64 = 1;

/// The status of a reason. 499 is written to logs and counters only: nobody is there to read it.
pub fn status(reason: Reason) -> u16 {
    match reason {
        Reason::BodyMalformed | Reason::MalformedRequest => 400,
        Reason::NoRoute => 404,
        Reason::SlowClient => 408,
        Reason::BodyTooLarge => 413,
        Reason::TargetTooLong => 414,
        Reason::ExpectationUnknown => 417,
        Reason::Misdirected => 421,
        Reason::RateLimited => 429,
        Reason::HeaderTooLarge => 431,
        Reason::ClientGone => 499,
        Reason::NotImplemented => 501,
        Reason::UpstreamBroken | Reason::UpstreamMalformed | Reason::UpstreamUnreachable => 502,
        Reason::HoldOverflow | Reason::HoldTimeout | Reason::NoEndpoint => 503,
        Reason::BuffersFull | Reason::NoWeight | Reason::Overloaded | Reason::ShuttingDown => 503,
        Reason::RequestTimeout | Reason::UpstreamTimeout => 504,
        Reason::VersionUnsupported => 505,
        Reason::Redirect => 308,
    }
}

/// What a reason means, for a person.
pub fn title(reason: Reason) -> &'static str {
    match reason {
        Reason::BodyMalformed => "The request body is not framed as its head says",
        Reason::BodyTooLarge => "The request body is larger than this listener allows",
        Reason::BuffersFull => "What waits to be taken fills all the memory there is for it",
        Reason::ClientGone => "The client closed the connection before its answer",
        Reason::ExpectationUnknown => "The only expectation served is 100-continue",
        Reason::HeaderTooLarge => "The request head is larger than this listener allows",
        Reason::HoldOverflow => "Requests are held here, and no more can wait",
        Reason::HoldTimeout => "The request was held until the longest wait was over",
        Reason::MalformedRequest => "The request is not valid HTTP",
        Reason::Misdirected => "This host is not served on this connection",
        Reason::NoEndpoint => "No endpoint of the chosen version can take a request",
        Reason::NoRoute => "No route matches this request",
        Reason::NoWeight => "All versions of this service have weight zero",
        Reason::NotImplemented => "The request asks for what is not served here",
        Reason::Overloaded => "The version has as many requests as it may",
        Reason::RateLimited => "This caller makes more requests than the route allows",
        Reason::Redirect => "The route answers with a redirect",
        Reason::RequestTimeout => "The request as a whole took longer than its service allows",
        Reason::ShuttingDown => "The proxy is shutting down",
        Reason::SlowClient => "The request did not arrive in time",
        Reason::TargetTooLong => "The request target is too long",
        Reason::UpstreamBroken => "The upstream broke off",
        Reason::UpstreamMalformed => "The upstream's answer is not valid HTTP",
        Reason::UpstreamTimeout => "The upstream did not answer in time",
        Reason::UpstreamUnreachable => "The upstream cannot be reached",
        Reason::VersionUnsupported => "This version of HTTP is not served",
    }
}

/// The seconds of `Retry-After`, if it is sent: the cause may pass by itself.
pub fn retry_after(error: &ProxyError) -> Option<u64> {
    let known = error.retry_after.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
    known.or_else(|| (status(error.reason) == 503).then_some(RETRY_AFTER))
}

/// The problem document (RFC 9457).
pub fn body(error: &ProxyError, request_id: &str) -> String {
    let reason = error.reason;
    let mut body = String::with_capacity(256);
    // The texts are our own and a request id is checked to hold no quote: nothing needs escaping.
    let _ = write!(
        body,
        r#"{{"type":"urn:tidegate:reason:{}","title":"{}","status":{}"#,
        reason.as_str(),
        title(reason),
        status(reason),
    );
    if !error.detail.is_empty() {
        let _ = write!(body, r#","detail":"{}""#, error.detail);
    }
    if !request_id.is_empty() {
        let _ = write!(body, r#","request_id":"{request_id}""#);
    }
    body.push_str("}\n");
    body
}

/// What a reply shows beside its reason.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown<'a> {
    pub request_id: &'a str,
    pub version: Option<&'a str>,
    /// Without the body, for HEAD.
    pub bare: bool,
    /// Whether the connection stays.
    pub keep: bool,
}

/// Appends a whole HTTP/1.1 reply.
pub fn write_h1(out: &mut Vec<u8>, error: &ProxyError, shown: &Shown<'_>) {
    let body = body(error, shown.request_id);
    write::status_line(out, status(error.reason));
    write::field(out, b"content-type", b"application/problem+json");
    write::field(out, b"content-length", body.len().to_string().as_bytes());
    if let Some(seconds) = retry_after(error) {
        write::field(out, b"retry-after", seconds.to_string().as_bytes());
    }
    if !shown.request_id.is_empty() {
        write::field(out, b"x-request-id", shown.request_id.as_bytes());
    }
    if let Some(version) = shown.version {
        write::field(out, VERSION_FIELD.as_bytes(), version.as_bytes());
    }
    if !shown.keep {
        write::field(out, b"connection", b"close");
    }
    write::end(out);
    if !shown.bare {
        out.extend_from_slice(body.as_bytes());
    }
}
