//! The OpenAPI document, made from the handlers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;

use super::{
    events, explain, health, hold, revisions, rollout, services, shadow, status, versions,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate admin API",
        description = "Traffic of a Tidegate proxy: see it and change it. Errors are \
            application/problem+json; every change answers with the revision as body and ETag.",
    ),
    paths(
        health::live, health::ready, health::detailed,
        status::metrics, status::status, status::services, status::service, status::reload,
        services::set_weights, services::cutover, services::rollback,
        shadow::start, shadow::stop, shadow::report, shadow::samples, shadow::reset,
        hold::hold, hold::release,
        rollout::start, rollout::status, rollout::pause, rollout::resume, rollout::promote,
        rollout::abort, rollout::outcomes,
        versions::register, versions::remove, versions::drain, versions::undrain,
        revisions::list, revisions::one,
        explain::explain, events::follow,
    ),
    tags(
        (name = "traffic", description = "Change traffic"),
        (name = "versions", description = "Versions at run time"),
        (name = "shadow", description = "Mirroring and comparing"),
        (name = "rollout", description = "Progressive delivery"),
        (name = "history", description = "Revisions"),
        (name = "status", description = "What is"),
        (name = "health", description = "For orchestrators"),
    )
)]
struct Document;

/// The document.
pub async fn document() -> Response {
    Json(Document::openapi()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run with `UPDATE_DOCS=1` to write the file anew.
    #[test]
    fn the_document_in_docs_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        let found = serde_json::to_string_pretty(&Document::openapi()).unwrap() + "\n";
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &found).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == found, "docs/openapi.json is stale; run the tests with UPDATE_DOCS=1");
    }
}
