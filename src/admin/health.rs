//! Whether the proxy lives, is ready, and is well.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::AdminState;
use super::dto::{EndpointDto, HealthDto};
use super::extract::reply;
use super::status::{VERSION, config};
use crate::clock;
use crate::phase::Phase;
use crate::snapshot::Service;
use crate::telemetry::collector::Gauges;

/// Whether the process lives.
#[utoipa::path(
    get, path = "/health/live", tag = "health",
    description = "200 as long as the process answers. `/health` is the same.",
    responses((status = 200))
)]
pub async fn live() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// Whether clients are served.
#[utoipa::path(
    get, path = "/health/ready", tag = "health",
    description = "200 while clients are served, 503 while starting and draining.",
    responses((status = 200), (status = 503))
)]
pub async fn ready(State(state): State<AdminState>) -> Response {
    let phase = *state.phase.borrow();
    let status = match phase {
        Phase::Running => StatusCode::OK,
        Phase::Starting | Phase::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    let word = if phase == Phase::Running { "ok" } else { "unavailable" };
    (status, Json(json!({ "status": word, "phase": phase.as_str() }))).into_response()
}

/// Health in detail.
#[utoipa::path(
    get, path = "/health/detailed", tag = "health",
    description = "Phase, configuration and the state of every endpoint.",
    responses((status = 200, body = HealthDto))
)]
pub async fn detailed(State(state): State<AdminState>) -> Response {
    let gauges = state.telemetry.collect(&state.control).await;
    let config = config(&state).await;
    let current = state.control.current();
    let well = config.valid && current.snapshot.services.iter().all(|service| is_well(service));
    let services = current.snapshot.services.iter();
    let health = HealthDto {
        status: if well { "ok" } else { "degraded" },
        phase: state.phase.borrow().as_str(),
        revision: current.number,
        version: VERSION,
        config,
        services: services
            .map(|service| (service.name.to_string(), endpoints(service, &gauges)))
            .collect(),
    };
    reply(health.revision, &health)
}

/// Whether every version with traffic can take a request.
fn is_well(service: &Service) -> bool {
    let weighs = |place: &usize| service.split.weighs(*place);
    let mut with_traffic = (0..service.versions.len()).filter(weighs);
    with_traffic.all(|place| service.versions[place].is_usable())
}

fn endpoints(service: &Service, gauges: &Gauges) -> BTreeMap<String, Vec<EndpointDto>> {
    let now_ms = clock::process_ms(clock::now());
    let states = |version: &crate::upstream::Version| {
        version.endpoints.iter().map(|slot| EndpointDto::new(slot, gauges, now_ms)).collect()
    };
    let versions = service.versions.iter();
    versions.map(|version| (version.name.to_string(), states(version))).collect()
}
