//! What would become of a request, and why.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::State;
use axum::response::Response;

use super::AdminState;
use super::dto::explain::ExplanationDto;
use super::dto::request::ExplainBody;
use super::extract::{JsonBody, reply};
use super::problem::Problem;
use crate::explain::{Question, explain as ask};

/// Explain a request.
#[utoipa::path(
    post, path = "/v1/explain", tag = "status",
    description = "Which route, pin, version and endpoint a request would take under the live table, \
        and why. Nothing is sent.",
    request_body = ExplainBody,
    responses((status = 200, body = ExplanationDto), (status = 422, body = Problem))
)]
pub async fn explain(
    State(state): State<AdminState>,
    JsonBody(body): JsonBody<ExplainBody>,
) -> Result<Response, Problem> {
    let client = match &body.client {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => text.parse().map_err(|_| {
            Problem::invalid(format!("`client` is `{}`, which is no address", text.escape_debug()))
        })?,
    };
    let question = Question {
        method: body.method.unwrap_or_else(|| "GET".to_owned()),
        url: body.url,
        headers: body.headers.pairs(),
        client,
    };
    let current = state.control.current();
    let told = ask(&current.snapshot, &question).map_err(Problem::invalid)?;
    Ok(reply(current.number, &ExplanationDto::new(current.number, told)))
}
