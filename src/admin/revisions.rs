//! The history.

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;

use super::AdminState;
use super::dto::{RevisionDetailDto, RevisionDto};
use super::extract::{Parameters, reply};
use super::problem::Problem;
use crate::control::unknown_service;
use crate::limits::REVISIONS_KEPT;
use crate::name::ServiceName;

/// Which part of the history is wanted.
#[derive(Debug, Deserialize)]
pub struct ListQuery {
    limit: Option<usize>,
    service: Option<String>,
}

/// The history, newest first.
#[utoipa::path(
    get, path = "/v1/revisions", tag = "history",
    description = "Every revision that is kept, newest first.",
    params(
        ("limit" = Option<usize>, Query, description = "At most so many."),
        ("service" = Option<String>, Query, description = "Only those that changed this service."),
    ),
    responses((status = 200, body = Vec<RevisionDto>), (status = 404, body = Problem))
)]
pub async fn list(
    State(state): State<AdminState>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Response, Problem> {
    let locked = state.control.state().await;
    let service = query.service.as_deref();
    let limit = query.limit.unwrap_or(REVISIONS_KEPT);
    let entries = locked.history.iter().filter(|entry| {
        let mut names = entry.changes.iter().map(|change| change.service.as_str());
        service.is_none_or(|service| names.any(|name| name == service))
    });
    let list: Vec<_> = entries.take(limit).map(|entry| RevisionDto::new(entry, service)).collect();
    drop(locked);
    let current = state.control.current();
    // One that is gone still has a history; one that never was is a typing error.
    if let Some(service) = service.filter(|_| list.is_empty() && limit > 0) {
        let name =
            ServiceName::new(service).map_err(|error| Problem::unknown(error.to_string()))?;
        let snapshot = &current.snapshot;
        snapshot.service(&name).ok_or_else(|| unknown_service(&name, snapshot))?;
    }
    Ok(reply(current.number, &list))
}

/// One revision with all of its traffic.
#[utoipa::path(
    get, path = "/v1/revisions/{number}", tag = "history",
    description = "One revision with the whole traffic of every service.",
    params(("number" = u64, Path)),
    responses((status = 200, body = RevisionDetailDto), (status = 404, body = Problem))
)]
pub async fn one(
    State(state): State<AdminState>,
    Path(text): Path<String>,
) -> Result<Response, Problem> {
    let shown = text.escape_debug();
    let number = text.parse().map_err(|_| Problem::unknown(format!("`{shown}` is no revision")));
    let number: u64 = number?;
    let entry = state.control.state().await.history.get(number).cloned();
    let entry = entry.ok_or_else(|| {
        Problem::unknown(format!("revision {number} is not in the history that is kept"))
    })?;
    Ok(reply(state.control.current().number, &RevisionDetailDto::from(entry.as_ref())))
}
