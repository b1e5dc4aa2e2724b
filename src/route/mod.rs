//! Which route does this request take?
//!
//! A route is a match and what to do with it. This folder knows nothing of versions: it answers
//! with a route, and `split` chooses the version.

pub mod matcher;
pub mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::name::{RouteName, ServiceName};

pub use self::matcher::{
    FieldMatch, HostPattern, MethodMatch, PathPattern, PinMatch, QueryMatch, RequestView,
    RouteMatch, Specificity, ValueMatch,
};
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
    pub rate: Option<Arc<RatePlan>>,
}

/// How many requests of a route one caller may make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatePlan {
    /// At least one.
    pub requests: u32,
    pub per: Duration,
    /// So many at once.
    pub burst: NonZeroU32,
    pub key: RateKey,
}

/// What makes requests those of one caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateKey {
    ClientIp,
    /// The value of a header; the client's address where there is none.
    Header(String),
    /// All requests of the route together.
    Route,
}

impl Route {
    /// The path that goes upstream; see [`PathEdit::rewrite`]. A redirect leaves it alone.
    pub fn rewrite<'a>(&'a self, path: &'a str, matched_prefix: usize) -> Cow<'a, str> {
        match &self.action {
            Action::Forward { path: edit, .. } => edit.rewrite(path, matched_prefix),
            Action::Redirect(_) => Cow::Borrowed(path),
        }
    }
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

impl PathEdit {
    /// The path that goes upstream. `matched_prefix` is what [`Found`] says of the same path.
    ///
    /// Where the edit joins two parts there is exactly one `/`; slashes elsewhere are the client's
    /// and stay. Without a matched prefix there is nothing to strip, and a replacement is put in
    /// front, which is what replacing the prefix `/` means. The path `*` is never changed.
    pub fn rewrite<'a>(&'a self, path: &'a str, matched_prefix: usize) -> Cow<'a, str> {
        match self {
            Self::StripPrefix if matched_prefix > 0 => replace_prefix(path, matched_prefix, ""),
            Self::ReplacePrefix(new) => replace_prefix(path, matched_prefix, new),
            Self::Keep | Self::StripPrefix => Cow::Borrowed(path),
        }
    }
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

impl Redirect {
    /// The value of `Location` for a request to `scheme://authority` + `path` + `?query`.
    ///
    /// `authority` is the host as the client named it, with the port if there was one. The query is
    /// kept. The port is kept unless the redirect names another or changes the scheme, and is not
    /// written where it is the scheme's own. Without any host (HTTP/1.0), the target is the path
    /// alone.
    pub fn location(
        &self,
        scheme: &str,
        authority: &str,
        path: &str,
        query: Option<&str>,
        matched_prefix: usize,
    ) -> String {
        let (host, port) = split_port(authority);
        let host = self.host.as_deref().unwrap_or(host);
        let new_scheme = self.scheme.as_deref().unwrap_or(scheme);
        let kept_port = port.filter(|_| new_scheme == scheme);
        let port = self.port.or(kept_port).filter(|port| Some(*port) != default_port(new_scheme));
        let path = match &self.path {
            _ if path == "*" => Cow::Borrowed("/"),
            Some(new) => replace_prefix(path, matched_prefix, new),
            None => Cow::Borrowed(path),
        };

        let mut location = String::new();
        if host.is_empty() {
            // `//name` at the start of a target would be read as another host.
            location.push('/');
            location.push_str(path.trim_start_matches('/'));
        } else {
            location.push_str(new_scheme);
            location.push_str("://");
            location.push_str(host);
            if let Some(port) = port {
                location.push(':');
                location.push_str(&port.to_string());
            }
            location.push_str(&path);
        }
        if let Some(query) = query {
            location.push('?');
            location.push_str(query);
        }
        location
    }
}

/// The path with its first `matched` bytes replaced, and one `/` where the parts meet.
fn replace_prefix<'a>(path: &'a str, matched: usize, new: &'a str) -> Cow<'a, str> {
    let rest = path.get(matched..).unwrap_or_default();
    if path == "*" || rest == path && new.is_empty() {
        return Cow::Borrowed(path);
    }
    let tail = rest.trim_start_matches('/');
    // The slashes before the tail become one, which is borrowed from the path where it has one.
    let rooted_tail = match rest.len() - tail.len() {
        0 => Cow::Owned(format!("/{tail}")),
        slashes => Cow::Borrowed(&rest[slashes - 1..]),
    };
    let head = new.trim_end_matches('/');
    let slash = if new.starts_with('/') { "" } else { "/" };
    match (head.is_empty(), rest.is_empty()) {
        (true, _) => rooted_tail,
        (false, true) => Cow::Owned(format!("{slash}{new}")),
        (false, false) => Cow::Owned(format!("{slash}{head}{rooted_tail}")),
    }
}

/// The host, brackets of IPv6 included, and the port of an authority.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    let Some((host, port)) = authority.rsplit_once(':') else { return (authority, None) };
    match port.parse() {
        Ok(port) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        // `host:` has a port, an empty one.
        _ if port.is_empty() => (host, None),
        _ => (authority, None),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
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
    #[inline]
    pub fn drops(&self, name: &[u8]) -> bool {
        !(self.set.is_empty() && self.remove.is_empty()) && self.names(name)
    }

    fn names(&self, name: &[u8]) -> bool {
        let same = |other: &String| name.eq_ignore_ascii_case(other.as_bytes());
        self.remove.iter().any(same) || self.set.iter().any(|(other, _)| same(other))
    }
}

/// Routes in the order of the file, shared between snapshots.
pub type Routes = Arc<RouteTable>;
