//! What every handler takes from a request: names, conditions, the author, a bounded JSON body.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, RequestPartsExt};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::AdminState;
use super::auth::Caller;
use super::problem::Problem;
use crate::control::{Author, Terms};
use crate::limits::{ADMIN_BODY_BYTES_MAX, REASON_CHARS_MAX};
use crate::name::{ServiceName, VersionName};

/// A request body arrives within this time or not at all.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// The service of the path.
pub struct ServicePath(pub ServiceName);

/// The service and the version of the path.
pub struct VersionPath(pub ServiceName, pub VersionName);

/// Who asks for a change, and under which conditions.
pub struct Asked {
    pub author: Author,
    pub terms: Terms,
}

/// A JSON body that must be there.
pub struct JsonBody<T>(pub T);

/// A JSON body that may be missing.
pub struct OptionalBody<T>(pub T);

/// A query string.
pub struct Parameters<T>(pub T);

impl FromRequestParts<AdminState> for ServicePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AdminState) -> Result<Self, Problem> {
        let Path(name) = parts.extract::<Path<String>>().await.map_err(not_text)?;
        Ok(Self(service_name(&name)?))
    }
}

impl FromRequestParts<AdminState> for VersionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AdminState) -> Result<Self, Problem> {
        let path = parts.extract::<Path<(String, String)>>().await;
        let Path((service, version)) = path.map_err(not_text)?;
        let version =
            VersionName::new(&version).map_err(|error| Problem::invalid(error.to_string()));
        Ok(Self(service_name(&service)?, version?))
    }
}

fn not_text(error: impl std::fmt::Display) -> Problem {
    Problem::malformed(format!("the path cannot be read: {error}"))
}

fn service_name(text: &str) -> Result<ServiceName, Problem> {
    // What is no name is the name of nothing.
    ServiceName::new(text).map_err(|error| Problem::unknown(error.to_string()))
}

/// A parameter that is misspelt must not make a change of what was to be a dry run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeQuery {
    #[serde(default)]
    dry_run: bool,
}

impl FromRequestParts<AdminState> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AdminState) -> Result<Self, Problem> {
        let Parameters(ChangeQuery { dry_run }) = query(parts)?;
        let caller = parts.extensions.get::<Caller>().cloned().unwrap_or_default();
        let expected = if_match(&parts.headers)?;
        let author = Author { name: caller.author(), reason: reason(&parts.headers) };
        Ok(Self { author, terms: Terms { expected, dry_run, even_unpersisted: false } })
    }
}

/// The revision that `If-Match` asks for; `*` is any.
fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let bare = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
    let number = bare.parse().map_err(|_| {
        let text = text.escape_debug();
        Problem::stale(format!("`If-Match: {text}` is no revision; write `If-Match: \"12\"`"), None)
    })?;
    Ok(Some(number))
}

/// The text of `X-Reason`, without what would spoil a log.
fn reason(headers: &HeaderMap) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get("x-reason")?.as_bytes()).into_owned();
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.trim().chars().take(REASON_CHARS_MAX).map(clean).collect();
    (!text.is_empty()).then_some(text)
}

fn query<T: DeserializeOwned>(parts: &Parts) -> Result<Parameters<T>, Problem> {
    let read = Query::<T>::try_from_uri(&parts.uri);
    let Query(value) = read.map_err(|error| {
        let text = error.body_text();
        let text = text.trim_start_matches("Failed to deserialize query string: ");
        Problem::malformed(format!("the query cannot be read: {text}"))
    })?;
    Ok(Parameters(value))
}

impl<T: DeserializeOwned> FromRequestParts<AdminState> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AdminState) -> Result<Self, Problem> {
        query(parts)
    }
}

impl<T: DeserializeOwned> FromRequest<AdminState> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AdminState) -> Result<Self, Problem> {
        let bytes = read_whole(request.into_body()).await?;
        if bytes.is_empty() {
            return Err(Problem::malformed("a JSON body is required"));
        }
        parse(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned + Default> FromRequest<AdminState> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AdminState) -> Result<Self, Problem> {
        let bytes = read_whole(request.into_body()).await?;
        match bytes.trim_ascii().is_empty() {
            true => Ok(Self(T::default())),
            false => parse(&bytes).map(Self),
        }
    }
}

/// The whole body, if it is small and arrives in time.
pub async fn read_whole(body: Body) -> Result<Bytes, Problem> {
    let whole = Limited::new(body, ADMIN_BODY_BYTES_MAX).collect();
    let late = |_| Problem::slow(format!("the body did not arrive within {BODY_WAIT:?}"));
    let whole = tokio::time::timeout(BODY_WAIT, whole).await.map_err(late)?;
    let whole = whole.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => {
            Problem::too_large(format!("a body may hold {ADMIN_BODY_BYTES_MAX} bytes at most"))
        }
        None => Problem::malformed("the body broke off"),
    })?;
    Ok(whole.to_bytes())
}

/// Reads JSON: 400 when it is none, 422 when it is not what is asked for.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Every body is an object; serde would also take the values of its keys as an array.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::invalid("the body is an array; write a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|error| match error.is_data() {
        true => Problem::invalid(error.to_string()),
        false => Problem::malformed(format!("the body is no JSON: {error}")),
    })
}

/// An answer with the revision it holds for, also as `ETag`.
pub fn reply<T: Serialize>(revision: u64, body: &T) -> Response {
    ([(header::ETAG, format!("\"{revision}\""))], Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &[u8]) -> HeaderMap {
        let value = axum::http::HeaderValue::from_bytes(value).unwrap();
        [(axum::http::HeaderName::from_static(name), value)].into_iter().collect()
    }

    #[test]
    fn if_match_names_a_revision() {
        let cases = [("\"12\"", Some(12)), ("12", Some(12)), ("W/\"7\"", Some(7)), ("*", None)];
        for (text, expect) in cases {
            assert_eq!(if_match(&headers("if-match", text.as_bytes())).unwrap(), expect, "{text}");
        }
        for wrong in ["\"abc\"", "", "\"1\", \"2\"", "-1"] {
            assert!(if_match(&headers("if-match", wrong.as_bytes())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reason_is_one_clean_line() {
        let cases: [(&[u8], Option<&str>); 4] = [
            (b" fixes #12 ", Some("fixes #12")),
            (b"", None),
            (b"a\tb", Some("a b")),
            (b"caf\xc3\xa9", Some("caf\u{e9}")),
        ];
        for (text, expect) in cases {
            assert_eq!(reason(&headers("x-reason", text)).as_deref(), expect);
        }
    }

    #[test]
    fn json_that_is_none_is_400_and_json_that_does_not_fit_is_422() {
        let cases = [("{", 400), ("{} x", 400), ("[]", 422), ("[\"a\"]", 422), ("{\"a\":1}", 422)];
        for (text, status) in cases {
            let problem = parse::<std::collections::BTreeMap<String, String>>(text.as_bytes());
            let response = problem.unwrap_err().into_response();
            assert_eq!(response.status(), status, "{}", &text[..text.len().min(20)]);
        }
    }
}
