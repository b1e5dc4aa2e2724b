//! Why a call was refused, as a caller reads it (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Report;
use crate::control::Refusal;

/// An answer that is a no.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// A stable name: `urn:tidegate:problem:WORD`.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    /// What was found and what to do.
    detail: String,
    /// The revision in force, where the caller expected another.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    /// What is wrong with a configuration file: `file`, `line`, `column`, `message`, `help` …
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnostics: Option<serde_json::Value>,
}

impl Problem {
    fn new(status: StatusCode, word: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:tidegate:problem:{word}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            revision: None,
            diagnostics: None,
        }
    }

    /// 400: the request cannot be read.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be read", detail)
    }

    /// 401: no token, or none that is known.
    pub fn unauthorized(detail: &str) -> Self {
        let title = "A token is required";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", title, detail)
    }

    /// 403: the request may come from a web page that has no business here.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        let title = "This host or origin may not call the admin API";
        Self::new(StatusCode::FORBIDDEN, "forbidden", title, detail)
    }

    /// 404.
    pub fn unknown(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown", "There is no such thing", detail)
    }

    /// 405; the router adds `Allow`.
    pub fn method(detail: impl Into<String>) -> Self {
        let title = "This method does nothing here";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", title, detail)
    }

    /// 408: the body did not arrive.
    pub fn slow(detail: impl Into<String>) -> Self {
        let title = "The request did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow_client", title, detail)
    }

    /// 412: what `If-Match` names is not in force.
    pub fn stale(detail: impl Into<String>, current: Option<u64>) -> Self {
        let title = "Another revision is in force";
        let problem = Self::new(StatusCode::PRECONDITION_FAILED, "stale", title, detail);
        Self { revision: current, ..problem }
    }

    /// 413.
    pub fn too_large(detail: impl Into<String>) -> Self {
        let title = "The request body is too large";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", title, detail)
    }

    /// 422: it can be read, and cannot be.
    pub fn invalid(detail: impl Into<String>) -> Self {
        let title = "What is asked for cannot be";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", title, detail)
    }

    /// 422 with the diagnostics of a file.
    pub fn invalid_file(report: &Report) -> Self {
        let text = report.render(false);
        let detail = format!("the configuration is not valid; nothing was changed\n{text}");
        let diagnostics = Some(report.to_json(false)["diagnostics"].take());
        Self { diagnostics, ..Self::invalid(detail.trim_end()) }
    }

    /// 500: a bug, which the log tells more of.
    pub fn internal() -> Self {
        let detail = "the call failed inside the proxy; its log says more";
        let title = "The proxy failed";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", title, detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Unknown(_) => Self::unknown(detail),
            Refusal::Stale { current, .. } => Self::stale(detail, Some(current)),
            Refusal::Conflict(_) => {
                let title = "The state of the service forbids it";
                Self::new(StatusCode::CONFLICT, "conflict", title, detail)
            }
            Refusal::Invalid(_) => Self::invalid(detail),
            Refusal::NotPersisted(_) => {
                let title = "The change could not be kept";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_persisted", title, detail)
            }
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let fallback = StatusCode::INTERNAL_SERVER_ERROR;
        let status = StatusCode::from_u16(self.status).unwrap_or(fallback);
        let mut response = (status, Json(&self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"tidegate\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status() {
        let cases = [
            (Refusal::Unknown("no".into()), 404),
            (Refusal::Stale { expected: 3, current: 4 }, 412),
            (Refusal::Conflict("no".into()), 409),
            (Refusal::Invalid("no".into()), 422),
            (Refusal::NotPersisted("disk full".into()), 503),
        ];
        for (refusal, status) in cases {
            let response = Problem::from(refusal).into_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()["content-type"], "application/problem+json");
        }
    }

    #[test]
    fn a_stale_change_says_what_is_in_force() {
        let problem = Problem::from(Refusal::Stale { expected: 3, current: 4 });
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["revision"], 4);
        assert_eq!(json["type"], "urn:tidegate:problem:stale");
        assert_eq!(json["detail"], "revision 3 was expected, but revision 4 is in force");
    }
}
