//! Mirroring and what it found.

use axum::extract::State;
use axum::response::Response;

use super::AdminState;
use super::dto::ChangeDto;
use super::dto::request::ShadowBody;
use super::extract::{Asked, JsonBody, ServicePath};
use super::problem::Problem;
use super::services::changed;
use crate::operations::{self, Ask};
use crate::traffic::ShadowRule;

/// Start or change mirroring.
#[utoipa::path(
    put, path = "/v1/services/{service}/shadow", tag = "shadow",
    description = "Sends copies of a service's requests to a version; its answers never reach clients.",
    params(
        ("service" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    request_body = ShadowBody,
    responses(
        (status = 200, body = ChangeDto),
        (status = 404, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem),
    )
)]
pub async fn start(
    State(state): State<AdminState>,
    ServicePath(service): ServicePath,
    asked: Asked,
    JsonBody(body): JsonBody<ShadowBody>,
) -> Result<Response, Problem> {
    let rule = ShadowRule::try_from(body)?;
    let ask = Ask { service: &service, author: &asked.author, terms: &asked.terms };
    let outcome = operations::set_shadow(&state.control, ask, Some(rule)).await?;
    Ok(changed(&outcome, asked.terms.dry_run))
}

/// Stop mirroring.
#[utoipa::path(
    delete, path = "/v1/services/{service}/shadow", tag = "shadow",
    description = "Ends mirroring. Copies in flight finish; the report stays.",
    params(
        ("service" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    responses(
        (status = 200, body = ChangeDto), (status = 404, body = Problem), (status = 412, body = Problem),
    )
)]
pub async fn stop(
    State(state): State<AdminState>,
    ServicePath(service): ServicePath,
    asked: Asked,
) -> Result<Response, Problem> {
    let ask = Ask { service: &service, author: &asked.author, terms: &asked.terms };
    let outcome = operations::set_shadow(&state.control, ask, None).await?;
    Ok(changed(&outcome, asked.terms.dry_run))
}
