//! What a request must look like: host, path, method, fields, query; and how specific that is.
//!
//! A pattern is compared with one request at a time here. Finding a route among many without
//! asking each is the work of `table`; reading patterns from a file is the work of `config`.
//!
//! Paths are compared byte for byte as they were sent: case matters, `%2F` is not a `/`, and `.`
//! and `..` are segments like any other. A proxy that decoded or resolved them would route by one
//! path while the application behind it serves another. Query parameters are different: their
//! names and values are compared decoded, because `a=%31` and `a=1` are one thing to every
//! application.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;

use crate::h1::fields::{Fields, Known};
use crate::h1::head::Method;

/// The parts of a request that routes and pins look at.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    pub method: Method,
    /// The method as it was sent; what tells two [`Method::Other`] apart.
    pub method_text: &'a str,
    /// In lower case, without port.
    pub host: &'a str,
    /// Beginning with `/`, or `*`.
    pub path: &'a str,
    /// Without the `?`.
    pub query: Option<&'a str>,
    pub fields: &'a Fields,
}

/// A condition on a request. All parts must hold; an empty part always holds.
#[derive(Debug, Clone, Default)]
pub struct RouteMatch {
    pub hosts: Vec<HostPattern>,
    pub path: PathPattern,
    pub methods: Vec<MethodMatch>,
    pub fields: Vec<FieldMatch>,
    pub query: Vec<QueryMatch>,
}

/// A standard method, or another by its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MethodMatch {
    Standard(Method),
    Other(String),
}

/// A host in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    Exact(String),
    /// `*.example.com` is held as `.example.com`: one or more labels before it.
    Wildcard(String),
}

/// A condition on the path.
#[derive(Debug, Clone, Default)]
pub enum PathPattern {
    /// Every path: the same as the prefix `/`.
    #[default]
    Any,
    Exact(String),
    /// On segment boundaries; held without a trailing `/`.
    Prefix(String),
    /// Matched against the whole path, unanchored as written.
    Regex(Regex),
}

/// A condition on a field; the name in lower case. Of several fields with the name, one that
/// holds is enough.
#[derive(Debug, Clone)]
pub struct FieldMatch {
    pub name: String,
    pub value: ValueMatch,
}

/// A condition on a query parameter; names and values are compared percent-decoded, with `+` read
/// as a space, as forms send it. Of several parameters with the name, one that holds is enough.
#[derive(Debug, Clone)]
pub struct QueryMatch {
    pub name: String,
    pub value: ValueMatch,
}

/// A condition on a value.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    Exact(String),
    /// Whether there is a value at all, an empty one included.
    Present(bool),
    /// Bytes that are not UTF-8 are seen by the expression as U+FFFD.
    Regex(Regex),
}

/// What sends a request to a fixed version. All parts must hold; an empty part always holds.
#[derive(Debug, Clone, Default)]
pub struct PinMatch {
    pub fields: Vec<FieldMatch>,
    /// Names with conditions on the values, both as sent: nothing is unquoted or decoded.
    pub cookies: Vec<(String, ValueMatch)>,
    pub query: Vec<QueryMatch>,
    /// Networks, one of which must hold the client.
    pub clients: Vec<IpNet>,
}

/// How specific a route is for a request it matches: of all routes that match, the greatest wins.
///
/// The parts are compared in the order they stand in, so a better host beats any path, and so on.
/// This is the one place where precedence is written down; no two routes of a table are equal,
/// because their places in the file differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    pub host: HostRank,
    pub path: PathRank,
    pub conditions: ConditionRank,
}

/// How specific the host is: the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostRank {
    /// The route names no host.
    Any,
    /// By the bytes of the wildcard: a longer one says more.
    Wildcard(usize),
    Exact,
}

/// How specific the path is: the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathRank {
    /// By the bytes of the prefix; 0 for every path.
    Prefix(usize),
    /// All expressions are equal: which of two says more cannot be told.
    Regex,
    Exact,
}

/// What a route asks beside host and path: the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConditionRank {
    /// Whether the route names methods.
    pub method: bool,
    /// The number of conditions on fields.
    pub fields: usize,
    /// The number of conditions on query parameters.
    pub query: usize,
    /// The place in the file; an earlier one wins.
    pub order: Reverse<usize>,
}

impl RouteMatch {
    /// How specific this is for a request, or nothing if it does not match. `order` is the route's
    /// place in the file.
    pub fn specificity(&self, order: usize, request: &RequestView<'_>) -> Option<Specificity> {
        let host = self.host_rank(request.host)?;
        if !self.path.matches(request.path) || !self.conditions_hold(request) {
            return None;
        }
        Some(Specificity { host, path: self.path.rank(), conditions: self.condition_rank(order) })
    }

    /// The first part that does not hold: `host`, `path`, `method`, `header` or `query`. Nothing
    /// if all hold.
    pub fn mismatch(&self, request: &RequestView<'_>) -> Option<&'static str> {
        if self.host_rank(request.host).is_none() {
            return Some("host");
        }
        if !self.path.matches(request.path) {
            return Some("path");
        }
        if !self.method_holds(request) {
            return Some("method");
        }
        if !self.fields.iter().all(|field| field.matches(request.fields)) {
            return Some("header");
        }
        let query_holds = self.query.iter().all(|parameter| parameter.matches(request.query));
        if query_holds { None } else { Some("query") }
    }

    /// Whether all holds that is asked beside host and path.
    pub(super) fn conditions_hold(&self, request: &RequestView<'_>) -> bool {
        self.method_holds(request)
            && self.fields.iter().all(|field| field.matches(request.fields))
            && self.query.iter().all(|parameter| parameter.matches(request.query))
    }

    /// How specific this is beside host and path.
    pub(super) fn condition_rank(&self, order: usize) -> ConditionRank {
        ConditionRank {
            method: !self.methods.is_empty(),
            fields: self.fields.len(),
            query: self.query.len(),
            order: Reverse(order),
        }
    }

    /// Whether, for every request that `other` matches, this matches too and is more specific.
    ///
    /// A yes is certain; a no may be wrong where only the meaning of two expressions would tell.
    pub(super) fn hides(&self, order: usize, other: &Self, other_order: usize) -> bool {
        let is_first = match self.path.covers(&other.path) {
            Some(Ordering::Greater) => true,
            Some(_) => self.condition_rank(order) > other.condition_rank(other_order),
            None => false,
        };
        is_first
            && self.covers_hosts(other)
            && self.covers_methods(other)
            && self.fields.iter().all(|field| other.fields.iter().any(|by| by.implies(field)))
            && self.query.iter().all(|part| other.query.iter().any(|by| by.implies(part)))
    }

    fn host_rank(&self, host: &str) -> Option<HostRank> {
        if self.hosts.is_empty() {
            return Some(HostRank::Any);
        }
        self.hosts.iter().filter(|pattern| pattern.matches(host)).map(HostPattern::rank).max()
    }

    fn method_holds(&self, request: &RequestView<'_>) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|method| method.matches(request))
    }

    /// Whether every host of `other` is matched by this at least as specifically. A pattern that
    /// holds more hosts is always less specific, so only the same pattern does.
    fn covers_hosts(&self, other: &Self) -> bool {
        if other.hosts.is_empty() {
            return self.hosts.is_empty();
        }
        other.hosts.iter().all(|host| self.hosts.contains(host))
    }

    fn covers_methods(&self, other: &Self) -> bool {
        let named = || other.methods.iter().all(|method| self.methods.contains(method));
        self.methods.is_empty() || (!other.methods.is_empty() && named())
    }
}

impl MethodMatch {
    /// Whether the request has this method. Texts are compared with their case.
    pub fn matches(&self, request: &RequestView<'_>) -> bool {
        match self {
            Self::Standard(method) => *method == request.method,
            Self::Other(text) => text == request.method_text,
        }
    }
}

impl HostPattern {
    /// Whether a host, in lower case and without port, is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Wildcard(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }

    /// How specific it is.
    pub fn rank(&self) -> HostRank {
        match self {
            Self::Exact(_) => HostRank::Exact,
            Self::Wildcard(suffix) => HostRank::Wildcard(suffix.len()),
        }
    }
}

impl PathPattern {
    /// Whether a path, as it was sent, is meant.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(whole) => whole == path,
            Self::Prefix(prefix) => {
                let prefix = trimmed(prefix);
                let rest = path.strip_prefix(prefix);
                prefix.is_empty()
                    || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }

    /// How specific it is.
    pub fn rank(&self) -> PathRank {
        match self {
            Self::Any => PathRank::Prefix(0),
            Self::Exact(_) => PathRank::Exact,
            Self::Prefix(prefix) => PathRank::Prefix(trimmed(prefix).len()),
            Self::Regex(_) => PathRank::Regex,
        }
    }

    /// How many bytes of a path that matches are named by the pattern: those of the prefix, all of
    /// an exact path, none otherwise.
    pub fn named_bytes(&self) -> usize {
        match self {
            Self::Any | Self::Regex(_) => 0,
            Self::Exact(whole) => whole.len(),
            Self::Prefix(prefix) => trimmed(prefix).len(),
        }
    }

    /// How this ranks against `other`, if it matches every path that `other` does and does not
    /// rank below it.
    fn covers(&self, other: &Self) -> Option<Ordering> {
        let covers = match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => one == two,
            (Self::Any | Self::Prefix(_), Self::Any | Self::Prefix(_)) => {
                self.prefix() == other.prefix()
            }
            (Self::Regex(one), Self::Regex(two)) => {
                one.as_str() == two.as_str() || matches_everything(one)
            }
            (Self::Regex(regex), Self::Any | Self::Prefix(_)) => {
                let rooted = other.prefix().is_some_and(|prefix| prefix.starts_with('/'));
                matches_everything(regex) || (rooted && matches_every_rooted(regex))
            }
            _ => false,
        };
        covers.then(|| self.rank().cmp(&other.rank()))
    }

    /// The prefix, empty for every path; nothing for other patterns.
    pub(super) fn prefix(&self) -> Option<&str> {
        match self {
            Self::Any => Some(""),
            Self::Prefix(prefix) => Some(trimmed(prefix)),
            Self::Exact(_) | Self::Regex(_) => None,
        }
    }
}

/// A prefix without the `/` at its end, so that `/` itself becomes every path.
fn trimmed(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// Whether an expression is one of the usual ways to say "every path".
fn matches_everything(regex: &Regex) -> bool {
    matches!(regex.as_str(), "" | "^" | ".*" | "^.*" | ".*$" | "^.*$")
}

/// Whether an expression is one of the usual ways to say "every path that begins with `/`".
fn matches_every_rooted(regex: &Regex) -> bool {
    matches!(regex.as_str(), "/" | "^/" | "/.*" | "^/.*" | "/.*$" | "^/.*$" | ".+" | "^.+$")
}

impl FieldMatch {
    /// Whether the condition holds for these fields.
    pub fn matches(&self, fields: &Fields) -> bool {
        self.value.holds(fields.find_all(&self.name).map(Cow::Borrowed))
    }

    fn implies(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&other.name) && self.value.implies(&other.value)
    }
}

impl QueryMatch {
    /// Whether the condition holds for a query, without its `?`.
    pub fn matches(&self, query: Option<&str>) -> bool {
        self.value.holds(query_values(query, &self.name))
    }

    fn implies(&self, other: &Self) -> bool {
        self.name == other.name && self.value.implies(&other.value)
    }
}

impl ValueMatch {
    /// Whether one of the values is as it should be, or, for an absence, whether there is none.
    fn holds<'a>(&self, mut values: impl Iterator<Item = Cow<'a, [u8]>>) -> bool {
        match self {
            Self::Exact(text) => values.any(|value| *value == *text.as_bytes()),
            Self::Present(wanted) => values.next().is_some() == *wanted,
            // An unreadable byte must not be a way around an expression, hence lossy.
            Self::Regex(regex) => {
                values.any(|value| regex.is_match(&String::from_utf8_lossy(&value)))
            }
        }
    }

    /// Whether `other` holds for all values for which this does.
    fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => one == two,
            (Self::Exact(text), Self::Regex(regex)) => regex.is_match(text),
            (Self::Regex(one), Self::Regex(two)) => one.as_str() == two.as_str(),
            (Self::Present(one), Self::Present(two)) => one == two,
            (Self::Exact(_) | Self::Regex(_), Self::Present(wanted)) => *wanted,
            (Self::Present(_), Self::Exact(_) | Self::Regex(_))
            | (Self::Regex(_), Self::Exact(_)) => false,
        }
    }
}

impl PinMatch {
    /// Whether the pin takes this request of this client.
    pub fn matches(&self, request: &RequestView<'_>, client: IpAddr) -> bool {
        // A dual-stack socket shows IPv4 clients as ::ffff:a.b.c.d; networks are written plainly.
        let client = client.to_canonical();
        let cookie_holds = |(name, value): &(String, ValueMatch)| {
            value.holds(cookies(request.fields, name).map(|found| Cow::Borrowed(found.as_bytes())))
        };
        self.fields.iter().all(|field| field.matches(request.fields))
            && self.cookies.iter().all(cookie_holds)
            && self.query.iter().all(|parameter| parameter.matches(request.query))
            && (self.clients.is_empty() || self.clients.iter().any(|net| net.contains(&client)))
    }
}

/// The first cookie with this name, over all `Cookie` fields (HTTP/2 sends one for each cookie).
/// The value is as it was sent, quotes included; one that is not UTF-8 is passed over.
pub fn cookie<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    cookies(fields, name).next()
}

fn cookies<'a>(fields: &'a Fields, name: &str) -> impl Iterator<Item = &'a str> {
    let pairs = fields.all(Known::Cookie).flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        std::str::from_utf8(value).ok()
    })
}

/// The decoded values of a query parameter, in order. A name without `=` has the empty value.
fn query_values<'a>(query: Option<&'a str>, name: &str) -> impl Iterator<Item = Cow<'a, [u8]>> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.filter_map(move |pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*decoded(found) == *name.as_bytes()).then(|| decoded(value))
    })
}

/// A query name or value percent-decoded, `+` as a space. What is no escape stays as it is.
/// Allocates only where there is something to decode.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after_escape @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after_escape;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(byte),
        }
    }
    Cow::Owned(out)
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
