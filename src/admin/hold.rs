//! Hold and release.

use axum::extract::State;
use axum::response::Response;

use super::AdminState;
use super::dto::ChangeDto;
use super::dto::request::HoldBody;
use super::extract::{Asked, OptionalBody, ServicePath};
use super::problem::Problem;
use super::services::changed;
use crate::operations::{self, Ask};
use crate::traffic::HoldRule;

/// Hold requests.
#[utoipa::path(
    post, path = "/v1/services/{service}/hold", tag = "traffic",
    description = "Makes a service's requests wait at the proxy, within bounds.",
    params(
        ("service" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    request_body = Option<HoldBody>,
    responses(
        (status = 200, body = ChangeDto),
        (status = 404, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem),
    )
)]
pub async fn hold(
    State(state): State<AdminState>,
    ServicePath(service): ServicePath,
    asked: Asked,
    OptionalBody(body): OptionalBody<HoldBody>,
) -> Result<Response, Problem> {
    let rule = HoldRule::try_from(body)?;
    let ask = Ask { service: &service, author: &asked.author, terms: &asked.terms };
    let outcome = operations::hold(&state.control, ask, rule).await?;
    Ok(changed(&outcome, asked.terms.dry_run))
}

/// Release held requests.
#[utoipa::path(
    post, path = "/v1/services/{service}/release", tag = "traffic",
    description = "Lets held requests go, in order.",
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
pub async fn release(
    State(state): State<AdminState>,
    ServicePath(service): ServicePath,
    asked: Asked,
) -> Result<Response, Problem> {
    let ask = Ask { service: &service, author: &asked.author, terms: &asked.terms };
    let outcome = operations::release(&state.control, ask).await?;
    Ok(changed(&outcome, asked.terms.dry_run))
}
