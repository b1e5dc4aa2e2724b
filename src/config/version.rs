//! The sections `[service.NAME.version.NAME]`: endpoints, and how they are reached and checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::document::{Entry, Node, Value};
use super::error::{Place, Problem};
use super::read::{Section, join};
use super::reference::{HEALTH, OUTLIER, VERSION, VERSION_TLS};
use super::value;
use crate::limits::ENDPOINTS_MAX;
use crate::name::VersionName;
use crate::plan::{
    Address, ClientCert, HealthPlan, OutlierPlan, Protocol, TlsPlan, VersionBounds, VersionPlan,
};
use crate::proxy_header::ProxyVersion;

/// A version, with what warnings point at.
#[derive(Debug)]
pub(super) struct ReadVersion {
    pub name: VersionName,
    pub plan: Arc<VersionPlan>,
    pub path: String,
    pub place: Place,
}

/// Reads every version of a service; those with errors are left out.
pub(super) fn read_all(service: &Section<'_>, entries: &[(&str, &Entry)]) -> Vec<ReadVersion> {
    let mut versions = Vec::new();
    for (name, entry) in entries {
        let path = join(&service.path_of("version"), name);
        let findings = service.context.findings;
        let name = VersionName::new(name).map_err(|why| {
            let problem = Problem::new(why.to_string());
            findings.error(entry.key, &service.path_of("version"), problem);
        });
        let Some(table) = entry.node.as_table() else {
            let problem = Problem::new("expected a section").found(entry.node.kind());
            let problem = problem.help(format!("begin the version with `[{path}]`"));
            findings.error(entry.node.place, &path, problem);
            continue;
        };
        let section = Section::open(service.context, path, entry.key, Some(table), VERSION);
        let plan = read_one(&section);
        if let (Ok(name), Some(plan)) = (name, plan) {
            let (path, place) = (section.path.clone(), section.place);
            versions.push(ReadVersion { name, plan: Arc::new(plan), path, place });
        }
    }
    versions
}

fn read_one(section: &Section<'_>) -> Option<VersionPlan> {
    const PROTOCOLS: [Protocol; 4] =
        [Protocol::Http1, Protocol::H2c, Protocol::Https, Protocol::H2];
    let endpoints = read_endpoints(section);
    let protocols = PROTOCOLS.map(|protocol| (protocol.as_str(), protocol));
    let protocol = section.value("protocol", value::word(&protocols));
    if section.node("tls").is_some() && !protocol.is_tls() {
        let problem = Problem::new(format!("`{}` is not encrypted", protocol.as_str()));
        section.error("tls", problem.help("set `protocol = \"https\"` or take `tls` out"));
    }
    let tls = read_tls(&section.section("tls", VERSION_TLS));
    let has_health = section.node("health").is_some();
    let health = section.optional_section("health", HEALTH);
    let health = health.and_then(|health| read_health(&health));
    let outlier = section.section("outlier", OUTLIER);
    let outlier = OutlierPlan {
        consecutive_failures: outlier.value("consecutive_failures", value::whole(0..=10_000)),
        eject_for: outlier.value("eject_for", value::duration),
    };
    let is_whole = has_health == health.is_some();
    let bounds = read_bounds(section);
    let proxy_protocol = read_proxy_protocol(section, protocol);
    let plan = VersionPlan { endpoints, protocol, tls, health, outlier, bounds, proxy_protocol };
    is_whole.then_some(plan)
}

fn read_tls(section: &Section<'_>) -> TlsPlan {
    let (cert, key) = (section.readable_file("cert"), section.readable_file("key"));
    if cert.is_some() != key.is_some() {
        let (given, missing) = if cert.is_some() { ("cert", "key") } else { ("key", "cert") };
        let problem = Problem::new(format!("`{missing}` is missing"));
        section.error(given, problem.help("a certificate is shown with its key: give both"));
    }
    TlsPlan {
        ca: section.readable_file("ca"),
        server_name: section.optional("server_name", value::checked(value::host)),
        client: cert.zip(key).map(|(cert, key)| ClientCert { cert, key }),
    }
}

fn read_bounds(section: &Section<'_>) -> VersionBounds {
    let bound = |key| section.optional(key, value::whole(1..=10_000_000));
    VersionBounds {
        max_in_flight: bound("max_in_flight"),
        max_in_flight_per_endpoint: bound("max_in_flight_per_endpoint"),
        slow_start: section.value("slow_start", value::duration_or_zero),
    }
}

fn read_proxy_protocol(section: &Section<'_>, protocol: Protocol) -> Option<ProxyVersion> {
    const KEY: &str = "proxy_protocol";
    let versions = [ProxyVersion::V1, ProxyVersion::V2].map(|version| (version.as_str(), version));
    let version = section.optional(KEY, value::word(&versions));
    if version.is_some() && protocol.is_h2() {
        let word = protocol.as_str();
        let problem = Problem::new(format!("connections of `{word}` are shared by clients"));
        section.error(KEY, problem.help("use `http1` or `https`, or take `proxy_protocol` out"));
    }
    version
}

fn read_endpoints(section: &Section<'_>) -> Vec<Address> {
    const KEY: &str = "endpoints";
    let endpoints = section.list(KEY, value::endpoint).unwrap_or_default();
    if section.node(KEY).is_none() || section.is_empty_list(KEY) {
        let problem = Problem::new("has no endpoint: it can take no request until it gets one")
            .help("add `endpoints = [\"HOST:PORT\"]`, or register them at run time");
        section.context.findings.warn(section.place, &section.path, problem);
    }
    if endpoints.len() > ENDPOINTS_MAX {
        let problem = Problem::new(format!("{} endpoints are too many", endpoints.len()));
        section.error(KEY, problem.help(format!("use at most {ENDPOINTS_MAX}")));
    }
    let mut seen: BTreeMap<Address, Place> = BTreeMap::new();
    for endpoint in &endpoints {
        if let Some(first) = seen.insert(endpoint.value.clone(), endpoint.place) {
            let problem = Problem::new(format!("the endpoint `{}` is named twice", endpoint.value))
                .related(first, "first named here")
                .help("keep one of the two");
            section.context.findings.error(endpoint.place, &endpoint.path, problem);
        }
    }
    endpoints.into_iter().map(|found| found.value).collect()
}

fn read_health(section: &Section<'_>) -> Option<HealthPlan> {
    let path = section.required("path", value::url_target);
    let expect = section.entries("expect").unwrap_or_default();
    let findings = section.context.findings;
    let mut conditions = Vec::new();
    for (written, entry) in expect {
        let at = section.path_of("expect");
        let pointer = pointer(written).map_err(|problem| findings.error(entry.key, &at, problem));
        let wanted = json(&entry.node).map_err(|problem| {
            findings.error(entry.node.place, &join(&at, written), problem);
        });
        if let (Ok(pointer), Ok(wanted)) = (pointer, wanted) {
            conditions.push((pointer, wanted));
        }
    }
    Some(HealthPlan {
        interval: section.value("interval", value::duration),
        timeout: section.value("timeout", value::duration),
        healthy_after: section.value("healthy_after", value::whole(1..=100)),
        unhealthy_after: section.value("unhealthy_after", value::whole(1..=100)),
        expect: conditions,
        path: path?,
    })
}

/// Turns a path such as `$.checks.database` or `$.items[0]['a b']` into a JSON pointer.
fn pointer(path: &str) -> Result<String, Problem> {
    let wrong = || {
        Problem::new(format!("`{}` is not a path into JSON", path.escape_debug()))
            .help("write `$.checks.database`, `$.items[0]` or `$['odd name']`")
    };
    let mut rest = path.strip_prefix('$').ok_or_else(wrong)?;
    let mut pointer = String::new();
    while !rest.is_empty() {
        let (step, after) = next_step(rest).ok_or_else(wrong)?;
        pointer.push('/');
        pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
        rest = after;
    }
    Ok(pointer)
}

/// The first step of a path and what follows it.
fn next_step(path: &str) -> Option<(&str, &str)> {
    if let Some(rest) = path.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        return (end > 0).then(|| rest.split_at(end));
    }
    let rest = path.strip_prefix('[')?;
    match rest.chars().next()? {
        quote @ ('\'' | '"') => {
            let (name, rest) = rest[1..].split_once(quote)?;
            Some((name, rest.strip_prefix(']')?))
        }
        _ => {
            let (index, rest) = rest.split_once(']')?;
            let is_index = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
            is_index.then_some((index, rest))
        }
    }
}

/// A value of the file as JSON.
fn json(node: &Node) -> Result<Json, Problem> {
    let wrong = || Problem::new(format!("{} has no place in JSON", node.kind()));
    Ok(match &node.value {
        Value::Text(text) => Json::from(text.as_str()),
        Value::Whole(number) => Json::from(i64::try_from(*number).map_err(|_| wrong())?),
        Value::Decimal(number) => {
            serde_json::Number::from_f64(*number).map(Json::Number).ok_or_else(wrong)?
        }
        Value::Boolean(is) => Json::from(*is),
        Value::Date => return Err(wrong().help("put it between double quotes")),
        Value::List(nodes) => Json::Array(nodes.iter().map(json).collect::<Result<_, _>>()?),
        Value::Table(table) => {
            let pairs = table.entries.iter();
            let pairs = pairs.map(|(name, entry)| Ok((name.clone(), json(&entry.node)?)));
            Json::Object(pairs.collect::<Result<_, Problem>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_paths_become_pointers() {
        let cases = [
            ("$", ""),
            ("$.checks.database", "/checks/database"),
            ("$.items[0].id", "/items/0/id"),
            ("$['odd name'][\"a/b\"]", "/odd name/a~1b"),
        ];
        for (path, expect) in cases {
            assert_eq!(pointer(path), Ok(expect.to_owned()), "{path}");
        }
        for bad in ["", "a", "$a", "$.", "$..a", "$[", "$[]", "$[a]", "$['a]", "$['a'", "$.a["] {
            assert!(pointer(bad).is_err(), "{bad}");
        }
    }
}
