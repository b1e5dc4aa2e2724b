//! The sections `[[route]]`: what a request must look like, where it goes, what is changed on it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::document::{Entry, Node, Table};
use super::error::{Place, Problem};
use super::matches::{Case, check_names, read_fields, read_query};
use super::read::{Section, join, suggestion};
use super::reference::{EDITS, RATE_KEY, RATE_LIMIT, REDIRECT, ROUTE};
use super::value;
use crate::h1::fields::Known;
use crate::limits::RATE_REQUESTS_MAX;
use crate::name::{RouteName, ServiceName};
use crate::route::matcher::MethodMatch;
use crate::route::{
    FieldEdits, HostPattern, PathEdit, PathPattern, RateKey, RatePlan, Redirect, RouteMatch,
};

/// A route as the file declares it.
#[derive(Debug, Clone)]
pub struct RoutePlan {
    pub name: RouteName,
    pub matches: RouteMatch,
    pub target: Target,
    pub request_fields: FieldEdits,
    pub response_fields: FieldEdits,
    pub rate: Option<Arc<RatePlan>>,
}

/// Where the requests of a route go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Forward { service: ServiceName, path: PathEdit },
    Redirect(Redirect),
}

/// A route, with what cross checks point at.
#[derive(Debug)]
pub(super) struct ReadRoute {
    pub plan: RoutePlan,
    pub path: String,
    /// The route as a whole.
    pub place: Place,
    pub name: Place,
}

/// Reads every `[[route]]`; those with errors are left out. `services` are all names that stand in
/// the file, whether or not they could be read.
pub(super) fn read_all(root: &Section<'_>, services: &[&str]) -> Vec<ReadRoute> {
    let mut routes = Vec::new();
    for (index, (place, table)) in root.tables("route").into_iter().enumerate() {
        routes.extend(read_one(root, index, place, table, services));
    }
    routes
}

fn read_one(
    root: &Section<'_>,
    index: usize,
    place: Place,
    table: &Table,
    services: &[&str],
) -> Option<ReadRoute> {
    let default = format!("route-{}", index + 1);
    let written = table.get("name").and_then(|node| node.as_text());
    let path = join("route", written.unwrap_or(&default));
    let section = Section::open(root.context, path, place, Some(table), ROUTE);
    let name = match section.node("name") {
        Some(_) => section.optional("name", value::name),
        None => RouteName::new(&default).ok(),
    };
    let matches = read_matches(&section);
    let target = read_target(&section, services);
    let request_fields = read_edits(&section, "request_headers");
    let response_fields = read_edits(&section, "response_headers");
    let rate = section.optional_section("rate_limit", RATE_LIMIT);
    let has_rate = rate.is_some();
    let rate = rate.and_then(|rate| read_rate(&rate));
    if has_rate != rate.is_some() {
        return None;
    }
    let plan = RoutePlan {
        name: name?,
        matches: matches?,
        target: target?,
        request_fields,
        response_fields,
        rate: rate.map(Arc::new),
    };
    let name = section.place_of("name");
    Some(ReadRoute { plan, path: section.path.clone(), place, name })
}

fn read_rate(section: &Section<'_>) -> Option<RatePlan> {
    let requests = section.required("requests", value::whole(1..=RATE_REQUESTS_MAX));
    let per = section.value("per", value::duration);
    let burst = section.optional("burst", value::whole(1..=RATE_REQUESTS_MAX));
    let key = match section.node("key").and_then(Node::as_table).is_some() {
        true => {
            let section = section.optional_section("key", RATE_KEY)?;
            RateKey::Header(section.required("header", value::checked(value::field_name))?)
        }
        false => {
            let by_route = [("client_ip", false), ("route", true)];
            match section.value("key", value::word(&by_route)) {
                true => RateKey::Route,
                false => RateKey::ClientIp,
            }
        }
    };
    let plan =
        RatePlan { requests: requests?, per, burst: NonZeroU32::new(burst.or(requests)?)?, key };
    if plan.per < Duration::from_nanos(plan.requests.into()) {
        let problem = Problem::new("the time is too short for so many requests");
        section.error("per", problem.help("e.g. `requests = 1000` with `per = \"1s\"`"));
    }
    Some(plan)
}

fn read_matches(section: &Section<'_>) -> Option<RouteMatch> {
    let hosts = read_list(section, "hosts", value::checked(host_pattern));
    let methods = read_list(section, "methods", |node| {
        Ok(match value::method(node)? {
            (Some(method), _) => MethodMatch::Standard(method),
            (None, text) => MethodMatch::Other(text),
        })
    });
    let path = read_path(section);
    let fields = read_fields(section);
    let query = read_query(section);
    Some(RouteMatch { hosts, path: path?, methods, fields, query })
}

/// A list that means "any" when it is left out; an empty one says neither any nor none.
fn read_list<T>(
    section: &Section<'_>,
    key: &'static str,
    convert: impl Fn(&Node) -> Result<T, Problem>,
) -> Vec<T> {
    if section.is_empty_list(key) {
        let problem = Problem::new("the list is empty");
        section.error(key, problem.help(format!("leave `{key}` out to match any")));
    }
    let found = section.list(key, convert).unwrap_or_default();
    found.into_iter().map(|found| found.value).collect()
}

fn host_pattern(text: &str) -> Result<HostPattern, Problem> {
    if text == "*" {
        let problem = Problem::new("`*` is not a host");
        return Err(problem.help("leave `hosts` out to match any host"));
    }
    match text.strip_prefix("*.") {
        Some(rest) => Ok(HostPattern::Wildcard(format!(".{}", value::host(rest)?))),
        None if text.contains('*') => {
            let shown = text.escape_debug();
            Err(Problem::new(format!("`{shown}` has a `*` in the wrong place"))
                .help("a wildcard stands for whole labels in front: `*.example.com`"))
        }
        None => value::host(text).map(HostPattern::Exact),
    }
}

fn read_path(section: &Section<'_>) -> Option<PathPattern> {
    let keys = ["path", "path_exact", "path_regex"];
    let mut written = keys.iter().filter(|key| section.node(key).is_some());
    let (first, second) = (written.next(), written.next());
    let prefix = section.optional("path", value::url_path);
    let exact = section.optional("path_exact", value::url_path);
    let regex = section.optional("path_regex", value::regex);
    if let (Some(first), Some(second)) = (first, second) {
        let problem = Problem::new(format!("both `{first}` and `{second}` are asked"))
            .related(section.place_of(first), "and here")
            .help("keep one of the two, or make two routes");
        section.error(second, problem);
        return None;
    }
    match first {
        None => Some(PathPattern::Any),
        Some(&"path") => prefix.map(|path| match path.trim_end_matches('/') {
            "" => PathPattern::Any,
            prefix => PathPattern::Prefix(prefix.to_owned()),
        }),
        Some(&"path_exact") => exact.map(PathPattern::Exact),
        Some(_) => regex.map(PathPattern::Regex),
    }
}

fn read_target(section: &Section<'_>, services: &[&str]) -> Option<Target> {
    let path = read_path_edit(section);
    let has_service = section.node("service").is_some();
    let service = section.optional("service", |node| {
        let name: ServiceName = value::name(node)?;
        if services.contains(&name.as_str()) {
            return Ok(name);
        }
        let problem = Problem::new(format!("there is no service `{name}`"));
        Err(problem.help(suggestion(name.as_str(), services.iter().copied())))
    });
    let redirect = section.optional_section("redirect", REDIRECT);
    let has_redirect = section.node("redirect").is_some();
    let redirect = redirect.and_then(|redirect| read_redirect(&redirect));
    match (has_service, has_redirect) {
        (true, true) => {
            let problem = Problem::new("has both `service` and `redirect`")
                .related(section.place_of("service"), "the service")
                .help("keep one of the two");
            section.error("redirect", problem);
            None
        }
        (false, false) => {
            let problem = Problem::new("does nothing with its requests")
                .help("add `service = \"NAME\"` or `redirect = { … }`");
            section.context.findings.error(section.place, &section.path, problem);
            None
        }
        (true, false) => Some(Target::Forward { service: service?, path }),
        (false, true) => {
            refuse_filters(section);
            redirect.map(Target::Redirect)
        }
    }
}

/// A redirect is answered by the proxy: nothing goes upstream that could be changed.
fn refuse_filters(section: &Section<'_>) {
    for key in ["strip_prefix", "rewrite", "request_headers", "response_headers"] {
        if section.node(key).is_some() {
            let problem = Problem::new(format!("`{key}` has no effect on a redirect"));
            section.error(key, problem.help("take it out, or send the route to a service"));
        }
    }
}

fn read_path_edit(section: &Section<'_>) -> PathEdit {
    let strip = section.value("strip_prefix", value::boolean);
    let rewrite = section.optional("rewrite", value::url_path);
    if strip && section.node("rewrite").is_some() {
        let problem = Problem::new("has both `strip_prefix` and `rewrite`")
            .related(section.place_of("strip_prefix"), "the other one")
            .help("`rewrite` already replaces the prefix: take `strip_prefix` out");
        section.error("rewrite", problem);
    } else if strip && section.node("path").is_none() && section.node("path_exact").is_none() {
        let problem = Problem::new("there is no prefix to strip");
        section.error("strip_prefix", problem.help("add `path`, or take `strip_prefix` out"));
    }
    match rewrite {
        Some(path) => PathEdit::ReplacePrefix(path),
        None if strip => PathEdit::StripPrefix,
        None => PathEdit::Keep,
    }
}

fn read_redirect(section: &Section<'_>) -> Option<Redirect> {
    let scheme = section.optional("scheme", value::word(&[("http", "http"), ("https", "https")]));
    let redirect = Redirect {
        scheme: scheme.map(str::to_owned),
        host: section.optional("host", value::checked(value::host)),
        port: section.optional("port", value::whole(1..=u16::MAX)),
        path: section.optional("path", value::url_path),
        status: section.value("status", |node| match value::whole(0..=u16::MAX)(node)? {
            status @ (301 | 302 | 303 | 307 | 308) => Ok(status),
            status => Err(Problem::new(format!("{status} is not a redirect"))
                .help("use 301 or 308 for good, 302, 303 or 307 for now")),
        }),
    };
    let parts = ["scheme", "host", "port", "path"];
    if parts.iter().all(|part| section.node(part).is_none()) {
        let problem = Problem::new("leads to where the request came from");
        let problem = problem.help("name at least one of `scheme`, `host`, `port`, `path`");
        section.context.findings.error(section.place, &section.path, problem);
        return None;
    }
    Some(redirect)
}

fn read_edits(section: &Section<'_>, key: &'static str) -> FieldEdits {
    let Some(edits) = section.optional_section(key, EDITS) else { return FieldEdits::default() };
    let add = read_pairs(&edits, "add");
    let set = read_pairs(&edits, "set");
    let remove = edits.list("remove", value::checked(value::editable_field_name));
    let remove = remove.unwrap_or_default();
    for removed in &remove {
        let is_host = Known::of(removed.value.as_bytes()) == Known::Host;
        if is_host || set.iter().any(|(name, _)| name.eq_ignore_ascii_case(&removed.value)) {
            let (problem, help) = match is_host {
                true => ("a request needs its `host`", "set it to another value instead"),
                false => ("is both set and removed", "`set` already replaces what there was"),
            };
            let problem = Problem::new(problem).help(help);
            section.context.findings.error(removed.place, &removed.path, problem);
        }
    }
    let remove = remove.into_iter().map(|found| found.value.to_ascii_lowercase()).collect();
    FieldEdits { set, add, remove }
}

fn read_pairs(edits: &Section<'_>, key: &'static str) -> Vec<(String, String)> {
    let entries = edits.entries(key).unwrap_or_default();
    let names = check_names(edits, key, Case::Ignored, &entries, |name| {
        if key == "add" && Known::of(name.as_bytes()) == Known::Host {
            let problem = Problem::new("a request has one `host`");
            return Err(problem.help("use `set` to replace it"));
        }
        value::editable_field_name(name)
    });
    let pair = |((written, entry), name): (&(&str, &Entry), Option<String>)| {
        let error = |problem| {
            let path = join(&edits.path_of(key), written);
            edits.context.findings.error(entry.node.place, &path, problem);
        };
        let value = value::field_value(&entry.node).map_err(error).ok()?;
        Some((name?, value))
    };
    entries.iter().zip(names).filter_map(pair).collect()
}
