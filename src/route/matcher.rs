//! What a request must look like: host, path, method, fields, query.

use regex::Regex;

use crate::h1::head::Method;

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

/// A condition on a field; the name in lower case.
#[derive(Debug, Clone)]
pub struct FieldMatch {
    pub name: String,
    pub value: ValueMatch,
}

/// A condition on a query parameter; names and values are compared percent-decoded.
#[derive(Debug, Clone)]
pub struct QueryMatch {
    pub name: String,
    pub value: ValueMatch,
}

/// A condition on a value.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    Exact(String),
    Present(bool),
    Regex(Regex),
}
#[derive(Debug, Clone, Default)]
pub struct PinMatch {
    pub fields: Vec<FieldMatch>,
    pub cookies: Vec<(String, ValueMatch)>,
    pub query: Vec<QueryMatch>,
    pub clients: Vec<ipnet::IpNet>,
}
pub fn cookie<'a>(_: &'a crate::h1::fields::Fields, _: &str) -> Option<&'a str> {
    None
}
