//! What would become of a request, and why.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::AdminState;
use super::dto::explain::ExplanationDto;
use super::dto::request::ExplainBody;
use super::extract::{JsonBody, reply};
use super::problem::Problem;
use crate::config::Config;
use crate::explain::{Question, explain as ask};
use crate::snapshot::Snapshot;
use crate::traffic::TrafficMap;
use crate::upstream::Registry;
use crate::upstream::endpoint::Status;

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
    let question = question(body).map_err(Problem::invalid)?;
    let current = state.control.current();
    let told = ask(&current.snapshot, &question).map_err(Problem::invalid)?;
    Ok(reply(current.number, &ExplanationDto::new(current.number, told)))
}

fn question(body: ExplainBody) -> Result<Question, String> {
    let client = match &body.client {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => text
            .parse()
            .map_err(|_| format!("`client` is `{}`, which is no address", text.escape_debug()))?,
    };
    Ok(Question {
        method: body.method.unwrap_or_else(|| "GET".to_owned()),
        url: body.url,
        headers: body.headers.pairs(),
        client,
    })
}

/// The same answer against a configuration, without a proxy: its endpoints are taken to be well.
pub fn offline(config: &Config, question_body: &Value) -> Result<Value, String> {
    let body = serde_json::from_value(question_body.clone()).map_err(|error| error.to_string())?;
    let registry = Registry::default();
    let (routes, edge) = (config.route_table(&registry), Arc::new(config.edge.clone()));
    let none = TrafficMap::new();
    let snapshot = Snapshot::compile(routes, &config.services, &none, edge, &registry);
    let snapshot = snapshot.map_err(|error| error.to_string())?;
    for endpoint in registry.living() {
        endpoint.set_status(Status::Healthy);
    }
    let told = ask(&snapshot, &question(body)?)?;
    serde_json::to_value(ExplanationDto::new(0, told)).map_err(|error| error.to_string())
}
