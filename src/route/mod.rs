//! Which route does this request take?
//!
//! A route is a match and what to do with it. This folder knows nothing of versions: it answers
//! with a route, and `split` chooses the version.

pub mod matcher;
pub mod table;

use std::sync::Arc;

use crate::name::{RouteName, ServiceName};

pub use self::matcher::{FieldMatch, HostPattern, PathPattern, QueryMatch, RouteMatch, ValueMatch};
pub use self::table::{Found, RouteTable};

/// One route of the configuration, ready to serve.
#[derive(Debug)]
pub struct Route {
    /// Dense number of the name, stable over revisions; what counters are kept by.
    pub id: u32,
    pub name: RouteName,
    pub matches: RouteMatch,
    pub action: Action,
    pub request_fields: FieldEdits,
    pub response_fields: FieldEdits,
}

/// What a route does with a request.
#[derive(Debug)]
pub enum Action {
    /// Sends it to a service.
    Forward {
        service: ServiceName,
        /// Place of the service in the snapshot.
        index: usize,
        path: PathEdit,
    },
    /// Answers with a redirect.
    Redirect(Redirect),
}

/// What happens to the path before it goes upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathEdit {
    Keep,
    /// The matched prefix goes; what is left begins with `/`.
    StripPrefix,
    /// The matched prefix (or the whole exact path) is replaced.
    ReplacePrefix(String),
}

/// Parts of the target that a redirect changes; the rest is the request's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    pub scheme: Option<String>,
    pub host: Option<String>,
    /// Replaces the matched prefix (or the whole exact path).
    pub path: Option<String>,
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Changes to fields: `remove`, then `set` (replace), then `add`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldEdits {
    pub set: Vec<(String, String)>,
    pub add: Vec<(String, String)>,
    /// In lower case.
    pub remove: Vec<String>,
}

impl FieldEdits {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// Whether a field that came in is dropped, because it is removed or replaced.
    pub fn drops(&self, name: &[u8]) -> bool {
        let same = |other: &String| name.eq_ignore_ascii_case(other.as_bytes());
        self.remove.iter().any(same) || self.set.iter().any(|(other, _)| same(other))
    }
}

/// Routes in the order of the file, shared between snapshots.
pub type Routes = Arc<RouteTable>;
