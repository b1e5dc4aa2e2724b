//! Versions at run time: register, remove, drain.

use axum::extract::State;
use axum::response::Response;

use super::AdminState;
use super::dto::request::{DrainBody, VersionBody};
use super::dto::{ChangeDto, CutoverDto};
use super::extract::{Asked, JsonBody, OptionalBody, VersionPath, reply};
use super::problem::Problem;
use super::services::changed;
use crate::control::Terms;
use crate::operations::{self, Ask, CutoverOrder, deploy};

/// Register a version.
#[utoipa::path(
    put, path = "/v1/services/{service}/versions/{version}", tag = "versions",
    description = "Registers a version with weight 0 and answers when all of its endpoints are \
        healthy; if they are not in time, it is taken back. With `cutover` everything moves to it \
        then, and the answer is that of a cutover.",
    params(
        ("service" = String, Path), ("version" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    request_body = VersionBody,
    responses(
        (status = 200, body = ChangeDto),
        (status = 404, body = Problem),
        (status = 409, description = "It was not healthy in time.", body = Problem),
        (status = 412, body = Problem), (status = 422, body = Problem),
    )
)]
pub async fn register(
    State(state): State<AdminState>,
    VersionPath(service, version): VersionPath,
    asked: Asked,
    JsonBody(body): JsonBody<VersionBody>,
) -> Result<Response, Problem> {
    let cutover = body.cutover;
    let order = body.order(version.clone())?;
    let ask = Ask { service: &service, author: &asked.author, terms: &asked.terms };
    let outcome = deploy::register(&state.control, ask, &order).await?;
    if !cutover || asked.terms.dry_run {
        return Ok(changed(&outcome, asked.terms.dry_run));
    }
    // The condition was on the state before the deploy, which is one revision further now.
    let terms = Terms::default();
    let ask = Ask { terms: &terms, ..ask };
    let order = CutoverOrder { to: version, drain: None, force: false };
    let cutover = operations::cutover(&state.control, &state.telemetry, ask, &order).await?;
    let mut answer = CutoverDto::new(&cutover, false);
    let deployed = ChangeDto::new(&outcome, false);
    answer.change.unchanged &= deployed.unchanged;
    answer.change.changes.splice(0..0, deployed.changes);
    Ok(reply(answer.change.revision, &answer))
}

/// Remove a version.
#[utoipa::path(
    delete, path = "/v1/services/{service}/versions/{version}", tag = "versions",
    description = "Removes a version that was registered at run time and is not used: it has no \
        weight, is no shadow, and no pin leads to it.",
    params(
        ("service" = String, Path), ("version" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    responses(
        (status = 200, body = ChangeDto),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem),
    )
)]
pub async fn remove(
    State(state): State<AdminState>,
    VersionPath(service, version): VersionPath,
    asked: Asked,
) -> Result<Response, Problem> {
    let ask = Ask { service: &service, author: &asked.author, terms: &asked.terms };
    let outcome = deploy::remove(&state.control, ask, &version).await?;
    Ok(changed(&outcome, asked.terms.dry_run))
}

/// Drain a version or an endpoint.
#[utoipa::path(
    post, path = "/v1/services/{service}/versions/{version}/drain", tag = "versions",
    description = "A version that drains takes no new cohorts, and those it has stay; an endpoint \
        that drains takes no new requests.",
    params(
        ("service" = String, Path), ("version" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    request_body = Option<DrainBody>,
    responses(
        (status = 200, body = ChangeDto),
        (status = 404, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem),
    )
)]
pub async fn drain(
    state: State<AdminState>,
    path: VersionPath,
    asked: Asked,
    OptionalBody(body): OptionalBody<DrainBody>,
) -> Result<Response, Problem> {
    set_drain(state, path, asked, body, true).await
}

/// End a drain.
#[utoipa::path(
    post, path = "/v1/services/{service}/versions/{version}/undrain", tag = "versions",
    description = "Ends the drain of a version, or of an endpoint of it.",
    params(
        ("service" = String, Path), ("version" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    request_body = Option<DrainBody>,
    responses(
        (status = 200, body = ChangeDto),
        (status = 404, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem),
    )
)]
pub async fn undrain(
    state: State<AdminState>,
    path: VersionPath,
    asked: Asked,
    OptionalBody(body): OptionalBody<DrainBody>,
) -> Result<Response, Problem> {
    set_drain(state, path, asked, body, false).await
}

async fn set_drain(
    State(state): State<AdminState>,
    VersionPath(service, version): VersionPath,
    asked: Asked,
    body: DrainBody,
    on: bool,
) -> Result<Response, Problem> {
    let endpoint = body.address()?;
    let ask = Ask { service: &service, author: &asked.author, terms: &asked.terms };
    let endpoint = endpoint.as_ref();
    let outcome = operations::set_drain(&state.control, ask, &version, endpoint, on).await?;
    Ok(changed(&outcome, asked.terms.dry_run))
}
