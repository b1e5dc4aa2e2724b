//! Weights, cutover, rollback.

use axum::extract::State;
use axum::response::Response;

use super::AdminState;
use super::dto::request::{CutoverBody, RollbackBody, WeightsBody};
use super::dto::{ChangeDto, CutoverDto};
use super::extract::{Asked, JsonBody, OptionalBody, ServicePath, reply};
use super::problem::Problem;
use crate::control::Outcome;
use crate::operations::{self, Ask, CutoverOrder};
use crate::weight::Weights;

/// The answer to a change.
pub fn changed(outcome: &Outcome, dry_run: bool) -> Response {
    reply(outcome.revision, &ChangeDto::new(outcome, dry_run))
}

/// Set the weights.
#[utoipa::path(
    put, path = "/v1/services/{service}/weights", tag = "traffic",
    description = "Sets the weights of a service. Versions that are not named get 0.",
    params(
        ("service" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    request_body = std::collections::BTreeMap<String, u32>,
    responses(
        (status = 200, body = ChangeDto),
        (status = 404, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem),
    )
)]
pub async fn set_weights(
    State(state): State<AdminState>,
    ServicePath(service): ServicePath,
    asked: Asked,
    JsonBody(body): JsonBody<WeightsBody>,
) -> Result<Response, Problem> {
    let weights = Weights::try_from(body)?;
    let ask = Ask { service: &service, author: &asked.author, terms: &asked.terms };
    let outcome = operations::set_weights(&state.control, ask, weights).await?;
    Ok(changed(&outcome, asked.terms.dry_run))
}

/// Move everything to one version.
#[utoipa::path(
    post, path = "/v1/services/{service}/cutover", tag = "traffic",
    description = "Moves all of a service's weight to one version. When it answers 200, no attempt \
        that begins afterwards goes to the old version, on any worker.",
    params(
        ("service" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    request_body = CutoverBody,
    responses(
        (status = 200, body = CutoverDto),
        (status = 404, body = Problem),
        (status = 409, description = "The target has no healthy endpoint.", body = Problem),
        (status = 412, body = Problem), (status = 422, body = Problem),
    )
)]
pub async fn cutover(
    State(state): State<AdminState>,
    ServicePath(service): ServicePath,
    asked: Asked,
    JsonBody(body): JsonBody<CutoverBody>,
) -> Result<Response, Problem> {
    let order = CutoverOrder::try_from(body)?;
    let ask = Ask { service: &service, author: &asked.author, terms: &asked.terms };
    let cutover = operations::cutover(&state.control, &state.telemetry, ask, &order).await?;
    let answer = CutoverDto::new(&cutover, asked.terms.dry_run);
    Ok(reply(answer.change.revision, &answer))
}

/// Put earlier traffic back.
#[utoipa::path(
    post, path = "/v1/services/{service}/rollback", tag = "traffic",
    description = "Restores the traffic of an earlier revision, every user's version included. Goes \
        on when the disk refuses, and says so with `persisted: false`.",
    params(
        ("service" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    request_body = Option<RollbackBody>,
    responses(
        (status = 200, body = ChangeDto),
        (status = 404, body = Problem),
        (status = 409, description = "There is nothing to go back to.", body = Problem),
        (status = 412, body = Problem),
    )
)]
pub async fn rollback(
    State(state): State<AdminState>,
    ServicePath(service): ServicePath,
    asked: Asked,
    OptionalBody(body): OptionalBody<RollbackBody>,
) -> Result<Response, Problem> {
    let ask = Ask { service: &service, author: &asked.author, terms: &asked.terms };
    let outcome = operations::rollback(&state.control, ask, body.to).await?;
    Ok(changed(&outcome, asked.terms.dry_run))
}
