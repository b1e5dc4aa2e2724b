//! Mirroring and what it found.

use axum::extract::State;
use axum::response::Response;

use super::AdminState;
use super::dto::ChangeDto;
use super::dto::diffs::{DiffsDto, ResetDto, SampleDto};
use super::dto::request::ShadowBody;
use super::extract::{Asked, JsonBody, ServicePath, reply};
use super::problem::Problem;
use super::services::changed;
use crate::clock;
use crate::control::unknown_service;
use crate::diff::report::Report;
use crate::name::ServiceName;
use crate::operations::{self, Ask};
use crate::shadow::ReportView;
use crate::snapshot::Shadow;

/// Start or change mirroring.
#[utoipa::path(
    put, path = "/v1/services/{service}/shadow", tag = "shadow",
    description = "Sends copies of a service's requests to a version; its answers never reach clients. \
        What the body leaves out is as the file declares it of this version as the shadow, or else the default.",
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
    let current = state.control.current();
    let known = current.snapshot.service(&service);
    let rule = body.rule(known.and_then(|known| known.plan.shadow.as_ref()))?;
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

/// The diff report.
#[utoipa::path(
    get, path = "/v1/services/{service}/diffs", tag = "shadow",
    description = "What the comparisons of the shadow with the primary say so far.",
    params(("service" = String, Path)),
    responses((status = 200, body = DiffsDto), (status = 404, body = Problem))
)]
pub async fn report(
    State(state): State<AdminState>,
    ServicePath(name): ServicePath,
) -> Result<Response, Problem> {
    let current = state.control.current();
    let snapshot = &current.snapshot;
    let service = snapshot.service(&name).ok_or_else(|| unknown_service(&name, snapshot))?;
    let view = state.control.shared.shadows.report(&name);
    let view = view.or_else(|| Some(nothing_yet(service.shadow.as_ref()?, &name)));
    let view = view.ok_or_else(|| {
        Problem::unknown(format!("service `{name}` has no shadow, and had none since the start"))
    })?;
    Ok(reply(current.number, &DiffsDto::from(view)))
}

/// The report of a shadow that got no copy yet.
fn nothing_yet(shadow: &Shadow, service: &ServiceName) -> ReportView {
    ReportView {
        service: service.clone(),
        shadow: shadow.rule.version.clone(),
        secondary: shadow.rule.secondary.clone(),
        since: clock::timestamp(),
        summary: Report::new().summary(),
        misses: Default::default(),
    }
}

/// The latest mismatches.
#[utoipa::path(
    get, path = "/v1/services/{service}/diffs/samples", tag = "shadow",
    description = "The latest requests whose answers differ, newest first, secrets redacted.",
    params(("service" = String, Path)),
    responses((status = 200, body = Vec<SampleDto>), (status = 404, body = Problem))
)]
pub async fn samples(
    State(state): State<AdminState>,
    ServicePath(name): ServicePath,
) -> Result<Response, Problem> {
    let current = state.control.current();
    let snapshot = &current.snapshot;
    snapshot.service(&name).ok_or_else(|| unknown_service(&name, snapshot))?;
    let samples = state.control.shared.shadows.samples(&name);
    let samples: Vec<_> = samples.into_iter().map(SampleDto::from).collect();
    Ok(reply(current.number, &samples))
}

/// Begin the diff report anew.
#[utoipa::path(
    delete, path = "/v1/services/{service}/diffs", tag = "shadow",
    description = "Forgets the report and the samples. No traffic changes, so there is no new revision.",
    params(("service" = String, Path)),
    responses((status = 200, body = ResetDto), (status = 404, body = Problem))
)]
pub async fn reset(
    State(state): State<AdminState>,
    ServicePath(name): ServicePath,
) -> Result<Response, Problem> {
    let current = state.control.current();
    let snapshot = &current.snapshot;
    snapshot.service(&name).ok_or_else(|| unknown_service(&name, snapshot))?;
    let reset = state.control.shared.shadows.reset(&name);
    let revision = current.number;
    Ok(reply(revision, &ResetDto { revision, unchanged: !reset }))
}
