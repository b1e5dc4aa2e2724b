//! What is: services, status, metrics; and rereading the file.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::AdminState;
use super::dto::{ChangeDto, ConfigDto, ServiceDto, StatusDto, View};
use super::extract::{Asked, ServicePath, reply};
use super::problem::Problem;
use crate::clock;
use crate::control::unknown_service;
use crate::operations::is_rollback_ready;
use crate::operations::reload::ReloadError;
use crate::snapshot::Service;

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything at a glance.
#[utoipa::path(
    get, path = "/v1/status", tag = "status",
    description = "The proxy as a whole: phase, configuration, every service.",
    responses((status = 200, body = StatusDto))
)]
pub async fn status(State(state): State<AdminState>) -> Response {
    let (revision, services) = shown(&state, |_| true).await;
    let config = config(&state).await;
    let phase = state.phase.borrow().as_str();
    reply(revision, &StatusDto { revision, phase, version: VERSION, config, services })
}

/// Every service.
#[utoipa::path(
    get, path = "/v1/services", tag = "status",
    description = "Declared and live traffic, health and rates of every service.",
    responses((status = 200, body = Vec<ServiceDto>))
)]
pub async fn services(State(state): State<AdminState>) -> Response {
    let (revision, services) = shown(&state, |_| true).await;
    reply(revision, &services)
}

/// One service.
#[utoipa::path(
    get, path = "/v1/services/{service}", tag = "status",
    description = "Declared and live traffic, health and rates of a service.",
    params(("service" = String, Path)),
    responses((status = 200, body = ServiceDto), (status = 404, body = Problem))
)]
pub async fn service(
    State(state): State<AdminState>,
    ServicePath(name): ServicePath,
) -> Result<Response, Problem> {
    let (revision, services) = shown(&state, |service| service.name == name).await;
    match services.first() {
        Some(service) => Ok(reply(revision, service)),
        None => Err(unknown_service(&name, &state.control.current().snapshot).into()),
    }
}

/// The revision in force and the services that are wanted.
async fn shown(state: &AdminState, wanted: impl Fn(&Service) -> bool) -> (u64, Vec<ServiceDto>) {
    let gauges = state.telemetry.collect(&state.control).await;
    let locked = state.control.state().await;
    let current = state.control.current();
    let now_ms = clock::process_ms(clock::now());
    let revision = current.number;
    let view = View {
        revision,
        telemetry: &state.telemetry,
        rollouts: &state.rollouts,
        control: &state.control,
        gauges: &gauges,
        now_ms,
    };
    let services = current.snapshot.services.iter().filter(|service| wanted(service));
    let show = |service: &std::sync::Arc<Service>| {
        ServiceDto::new(service, view, is_rollback_ready(service, &locked.history))
    };
    (revision, services.map(show).collect())
}

/// Whether the file is valid now.
pub async fn config(state: &AdminState) -> ConfigDto {
    let locked = state.control.state().await;
    let path = state.file.display().to_string();
    match &locked.invalid {
        None => ConfigDto { path, valid: true, errors: serde_json::json!([]), rendered: None },
        Some(report) => {
            let mut json = report.to_json(false);
            let (errors, rendered) = (json["diagnostics"].take(), Some(report.render(false)));
            ConfigDto { path, valid: false, errors, rendered }
        }
    }
}

/// A scrape.
#[utoipa::path(
    get, path = "/metrics", tag = "status",
    description = "Metrics in the Prometheus text format.",
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4"))
)]
pub async fn metrics(State(state): State<AdminState>) -> Response {
    let text = state.telemetry.scrape(&state.control).await;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// Reread the configuration.
#[utoipa::path(
    post, path = "/v1/reload", tag = "status",
    description = "Rereads the configuration now. An invalid file changes nothing.",
    params(("X-Reason" = Option<String>, Header, description = "Kept with the revision.")),
    responses(
        (status = 200, body = ChangeDto),
        (status = 422, description = "The file is not valid; `diagnostics` says why.", body = Problem),
    )
)]
pub async fn reload(State(state): State<AdminState>, asked: Asked) -> Result<Response, Problem> {
    if asked.terms.dry_run || asked.terms.expected.is_some() {
        let detail = "a reload takes neither `dry_run` nor `If-Match`; use `tidegate check`";
        return Err(Problem::malformed(detail));
    }
    match (state.reload)(asked.author).await {
        Ok(outcome) => Ok(super::services::changed(&outcome, false)),
        Err(ReloadError::Invalid(report)) => Err(Problem::invalid_file(&report)),
        Err(ReloadError::Refused(text)) => Err(Problem::invalid(text)),
    }
}
