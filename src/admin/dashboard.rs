//! The dashboard: one page over the same calls that scripts make.
//!
//! It is three files without a build step, and the only ones a browser gets from here: the policy lets it run no
//! other code, call nobody else and stand in nobody's frame.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// What the page may do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Its files, which say nothing of this proxy: a page that asks for a token comes without one.
pub const PATHS: [&str; 3] = ["/", "/dashboard.css", "/dashboard.js"];

/// The page.
pub async fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("dashboard/index.html"))
}

/// Its looks.
pub async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("dashboard/dashboard.css"))
}

/// What it does.
pub async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("dashboard/dashboard.js"))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let fields = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (fields, text).into_response()
}
