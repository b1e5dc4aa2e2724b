//! Rollouts, and what the business tells of requests.

use axum::extract::State;
use axum::response::Response;

use super::AdminState;
use super::dto::ChangeDto;
use super::dto::rollout::{OutcomeBody, OutcomeDto, RolloutBody, RolloutChangeDto, RolloutDto};
use super::extract::{Asked, JsonBody, OptionalBody, ServicePath, reply};
use super::problem::Problem;
use crate::control::{Outcome, unknown_service};
use crate::limits::OUTCOMES_MAX;
use crate::name::{ServiceName, VersionName};
use crate::operations::rollout::{self as verbs, Verb};
use crate::operations::{Ask, find_version};
use crate::plan::RolloutPlan;

/// The plan of a rollout that a body asks for, over that of the file, without a proxy.
///
/// # Errors
/// What is wrong with the body.
pub fn plan_offline(
    body: serde_json::Value,
    file: Option<&RolloutPlan>,
) -> Result<RolloutPlan, String> {
    let body: RolloutBody = serde_json::from_value(body).map_err(|error| error.to_string())?;
    body.plan(file).map_err(|problem| problem.to_string())
}

/// Start a rollout.
#[utoipa::path(
    put, path = "/v1/services/{service}/rollout", tag = "rollout",
    description = "Moves weight to a version step by step, on evidence. What the body leaves out is as \
        the file's `rollout` says. After a rollback a start needs `acknowledge`.",
    params(
        ("service" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    request_body = Option<RolloutBody>,
    responses(
        (status = 200, body = RolloutChangeDto),
        (status = 404, body = Problem),
        (status = 409, description = "One is under way, or the last was rolled back.", body = Problem),
        (status = 412, body = Problem), (status = 422, body = Problem),
    )
)]
pub async fn start(
    State(state): State<AdminState>,
    ServicePath(name): ServicePath,
    asked: Asked,
    OptionalBody(body): OptionalBody<RolloutBody>,
) -> Result<Response, Problem> {
    let plan = {
        let current = state.control.current();
        let service = current.snapshot.service(&name);
        let service = service.ok_or_else(|| unknown_service(&name, &current.snapshot))?;
        body.plan(service.plan.rollout.as_deref())?
    };
    let ask = Ask { service: &name, author: &asked.author, terms: &asked.terms };
    let outcome = verbs::start(&state.control, ask, plan, body.acknowledge).await?;
    Ok(changed(&state, &name, &outcome, asked.terms.dry_run))
}

/// The rollout.
#[utoipa::path(
    get, path = "/v1/services/{service}/rollout", tag = "rollout",
    description = "The rollout under way, or the last one: step, weight, verdict and the evidence of \
        each metric in words.",
    params(("service" = String, Path)),
    responses((status = 200, body = RolloutDto), (status = 404, body = Problem))
)]
pub async fn status(
    State(state): State<AdminState>,
    ServicePath(name): ServicePath,
) -> Result<Response, Problem> {
    let current = state.control.current();
    let service = current.snapshot.service(&name);
    let service = service.ok_or_else(|| unknown_service(&name, &current.snapshot))?;
    let view = state.rollouts.view(service, &state.control);
    let view =
        view.ok_or_else(|| Problem::unknown(format!("service `{name}` never had a rollout")))?;
    Ok(reply(current.number, &RolloutDto::from(view)))
}

/// Let a rollout stand still.
#[utoipa::path(
    post, path = "/v1/services/{service}/rollout/pause", tag = "rollout",
    description = "The weights stay as they are.",
    params(
        ("service" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    responses(
        (status = 200, body = RolloutChangeDto), (status = 404, body = Problem),
        (status = 409, description = "None is under way.", body = Problem), (status = 412, body = Problem),
    )
)]
pub async fn pause(
    State(state): State<AdminState>,
    ServicePath(name): ServicePath,
    asked: Asked,
) -> Result<Response, Problem> {
    steer(&state, &name, &asked, Verb::Pause).await
}

/// Let a rollout go on.
#[utoipa::path(
    post, path = "/v1/services/{service}/rollout/resume", tag = "rollout",
    description = "The step begins anew, with its weight. A manual step that is under way is ended instead.",
    params(
        ("service" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    responses(
        (status = 200, body = RolloutChangeDto), (status = 404, body = Problem),
        (status = 409, description = "None is under way.", body = Problem), (status = 412, body = Problem),
    )
)]
pub async fn resume(
    State(state): State<AdminState>,
    ServicePath(name): ServicePath,
    asked: Asked,
) -> Result<Response, Problem> {
    steer(&state, &name, &asked, Verb::Resume).await
}

/// End a rollout with everything on the new version.
#[utoipa::path(
    post, path = "/v1/services/{service}/rollout/promote", tag = "rollout",
    description = "Gates and evidence are not asked.",
    params(
        ("service" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    responses(
        (status = 200, body = RolloutChangeDto), (status = 404, body = Problem),
        (status = 409, description = "None is under way.", body = Problem), (status = 412, body = Problem),
    )
)]
pub async fn promote(
    State(state): State<AdminState>,
    ServicePath(name): ServicePath,
    asked: Asked,
) -> Result<Response, Problem> {
    steer(&state, &name, &asked, Verb::Promote).await
}

/// End a rollout and put the weights before it back.
#[utoipa::path(
    post, path = "/v1/services/{service}/rollout/abort", tag = "rollout",
    description = "At once; or, where what gets the traffic has lost endpoints since the start, as much as it \
        can bear at once and the rest within 30 seconds.",
    params(
        ("service" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Answer what would happen; change nothing."),
        ("If-Match" = Option<String>, Header, description = "The revision that must be in force."),
        ("X-Reason" = Option<String>, Header, description = "Kept with the revision."),
    ),
    responses(
        (status = 200, body = RolloutChangeDto), (status = 404, body = Problem),
        (status = 409, description = "None is under way.", body = Problem), (status = 412, body = Problem),
    )
)]
pub async fn abort(
    State(state): State<AdminState>,
    ServicePath(name): ServicePath,
    asked: Asked,
) -> Result<Response, Problem> {
    steer(&state, &name, &asked, Verb::Abort).await
}

async fn steer(
    state: &AdminState,
    name: &ServiceName,
    asked: &Asked,
    verb: Verb,
) -> Result<Response, Problem> {
    let ask = Ask { service: name, author: &asked.author, terms: &asked.terms };
    let outcome = verbs::steer(&state.control, ask, verb).await?;
    Ok(changed(state, name, &outcome, asked.terms.dry_run))
}

fn changed(state: &AdminState, name: &ServiceName, outcome: &Outcome, dry_run: bool) -> Response {
    let current = state.control.current();
    let service = current.snapshot.service(name);
    let rollout = service
        .and_then(|service| state.rollouts.view(service, &state.control))
        .map(RolloutDto::from);
    let change = ChangeDto::new(outcome, dry_run);
    reply(outcome.revision, &RolloutChangeDto { change, rollout })
}

/// Tell how requests went.
#[utoipa::path(
    post, path = "/v1/outcomes", tag = "rollout",
    description = "Business outcomes of requests (orders that failed, payments refused) are one more \
        metric of a rollout. A request is named by its `X-Request-Id`, or its version is: \
        `X-Tidegate-Version` on the answer names it; good and bad ones are told in one call each. While a rollout is under way the requests that it \
        counts are remembered: the latest 262144 of each worker, until the process ends.",
    request_body = OutcomeBody,
    responses(
        (status = 200, body = OutcomeDto), (status = 404, body = Problem), (status = 422, body = Problem),
    )
)]
pub async fn outcomes(
    State(state): State<AdminState>,
    JsonBody(body): JsonBody<OutcomeBody>,
) -> Result<Response, Problem> {
    let current = state.control.current();
    let OutcomeBody { request_id, service, version, ok, count } = body;
    let (noted, why) = match (request_id, service.zip(version)) {
        (Some(request_id), None) if count.is_none() => {
            match state.telemetry.note_request(&state.control, request_id.as_bytes(), ok) {
                Ok(()) => (1, None),
                Err(why) => (0, Some(why)),
            }
        }
        (None, Some((service, version))) => {
            let name = ServiceName::new(&service).map_err(|e| Problem::invalid(e.to_string()))?;
            let version =
                VersionName::new(&version).map_err(|e| Problem::invalid(e.to_string()))?;
            let count = count.unwrap_or(1);
            if count == 0 || count > OUTCOMES_MAX {
                let text = format!("`count` is {count}; write a number from 1 to {OUTCOMES_MAX}");
                return Err(Problem::invalid(text));
            }
            let service = current.snapshot.service(&name);
            let service = service.ok_or_else(|| unknown_service(&name, &current.snapshot))?;
            find_version(service, &version)?;
            let rollout = service.traffic.rollout.as_ref();
            if rollout.is_some_and(|rollout| rollout.state.is_live()) {
                let bad = if ok { 0 } else { count };
                state.rollouts.note_outcomes(name, version, count, bad);
                (count, None)
            } else {
                (0, Some("no rollout is under way"))
            }
        }
        _ => {
            return Err(Problem::invalid(
                "write {\"request_id\", \"ok\"} or {\"service\", \"version\", \"ok\", \"count\"}"
                    .to_owned(),
            ));
        }
    };
    Ok(reply(current.number, &OutcomeDto { revision: current.number, noted, why }))
}
