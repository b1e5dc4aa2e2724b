//! The admin API: every call on one page.
//!
//! Handlers are thin: decode, one call, encode. What a change means is in `operations`, who may
//! call is in `auth`, and nothing here can change traffic but by `control`.

mod auth;
mod dashboard;
pub mod dto;
mod events;
mod explain;
mod extract;
mod health;
mod hold;
mod lobby;
mod openapi;
mod patience;
mod problem;
mod revisions;
mod rollout;
mod server;
mod services;
mod shadow;
mod status;
#[cfg(test)]
mod tests;
mod versions;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use self::auth::{Caller, Entrance, Guard, Tokens};
use self::extract::read_whole;
use self::lobby::Visit;
use self::problem::Problem;
pub use self::server::{Bound, bind, serve};
use crate::config::AdminSettings;
use crate::control::{Author, Control, Outcome};
use crate::operations::reload::ReloadError;
use crate::phase::Phase;
use crate::rollout::driver::Rollouts;
use crate::telemetry::collector::Telemetry;

pub use self::explain::offline as explain_offline;
pub use self::rollout::plan_offline;

/// Rereads the configuration in the name of an author.
pub type Reload =
    Arc<dyn Fn(Author) -> BoxFuture<'static, Result<Outcome, ReloadError>> + Send + Sync>;

/// What handlers work with. Cloning is cheap.
#[derive(Clone)]
pub struct AdminState {
    pub control: Arc<Control>,
    pub rollouts: Arc<Rollouts>,
    pub telemetry: Arc<Telemetry>,
    pub phase: watch::Receiver<Phase>,
    pub reload: Reload,
    /// The file or folder that the configuration is read from.
    pub file: PathBuf,
    guard: Arc<Guard>,
}

impl AdminState {
    /// Reads the token file. The error is a sentence.
    pub fn new(
        control: Arc<Control>,
        rollouts: Arc<Rollouts>,
        telemetry: Arc<Telemetry>,
        phase: watch::Receiver<Phase>,
        reload: Reload,
        file: &Path,
        config: &AdminSettings,
    ) -> Result<Self, String> {
        let tokens = config.token_file.as_deref().map_or(Ok(Tokens::default()), read_tokens)?;
        let (file, guard) = (file.to_owned(), Arc::new(Guard::new(tokens)));
        Ok(Self { control, rollouts, telemetry, phase, reload, file, guard })
    }
}

/// Reads a token file. The error is a sentence.
pub fn read_tokens(file: &Path) -> Result<Tokens, String> {
    Tokens::read(file)
}

/// Every call.
pub fn router(state: AdminState) -> Router {
    let service = Router::new()
        .route("/", get(status::service))
        .route("/weights", put(services::set_weights))
        .route("/cutover", post(services::cutover))
        .route("/rollback", post(services::rollback))
        .route("/shadow", put(shadow::start).delete(shadow::stop))
        .route("/diffs", get(shadow::report).delete(shadow::reset))
        .route("/diffs/samples", get(shadow::samples))
        .route("/rollout", get(rollout::status).put(rollout::start))
        .route("/rollout/pause", post(rollout::pause))
        .route("/rollout/resume", post(rollout::resume))
        .route("/rollout/promote", post(rollout::promote))
        .route("/rollout/abort", post(rollout::abort))
        .route("/hold", post(hold::hold))
        .route("/release", post(hold::release))
        .route("/versions/{version}", put(versions::register).delete(versions::remove))
        .route("/versions/{version}/drain", post(versions::drain))
        .route("/versions/{version}/undrain", post(versions::undrain));
    Router::new()
        .route("/", get(dashboard::page))
        .route("/dashboard.css", get(dashboard::style))
        .route("/dashboard.js", get(dashboard::script))
        .route("/health", get(health::live))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health/detailed", get(health::detailed))
        .route("/metrics", get(status::metrics))
        .route("/v1/status", get(status::status))
        .route("/v1/services", get(status::services))
        .nest("/v1/services/{service}", service)
        .route("/v1/revisions", get(revisions::list))
        .route("/v1/revisions/{number}", get(revisions::one))
        .route("/v1/outcomes", post(rollout::outcomes))
        .route("/v1/explain", post(explain::explain))
        .route("/v1/reload", post(status::reload))
        .route("/v1/events", get(events::follow))
        .route("/v1/openapi.json", get(openapi::document))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn(finish_changes))
        .layer(from_fn_with_state(state.clone(), admit))
        .with_state(state)
}

/// Lets in who may call, and marks answers as nothing to keep or to guess about.
async fn admit(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    // Without an entrance nobody has said where we are: the strictest is assumed.
    let strictest = Entrance::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
    let entrance = request.extensions().get::<Entrance>().copied().unwrap_or(strictest);
    let admitted = state.guard.admit(entrance, request.uri(), request.headers());
    let admitted = match admitted {
        Ok(caller) => serve_call(caller, request, next).await,
        Err(problem) => Err(problem),
    };
    let mut response = admitted.unwrap_or_else(Problem::into_response);
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Serves a call once its body is there: who is still sending is a visitor that may have to go.
async fn serve_call(caller: Caller, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let body = read_whole(body).await?;
    parts.extensions.insert(caller);
    let visit = parts.extensions.get::<Arc<Visit>>().cloned();
    let _served = visit.as_ref().map(Visit::serve);
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

/// Runs what may change something in a task of its own: a caller who hangs up drops the answer, and
/// must not drop a change half-way.
async fn finish_changes(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "an admin call failed");
            Problem::internal().into_response()
        }
    }
}

async fn no_such_path(uri: Uri) -> Problem {
    let path = uri.path().escape_debug();
    Problem::unknown(format!("there is nothing at `{path}`; see /v1/openapi.json"))
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let path = uri.path().escape_debug();
    Problem::method(format!("`{path}` has no {method}; see the Allow header"))
}
