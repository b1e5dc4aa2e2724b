//! The sections `[service.NAME]`: weights, stickiness, policy, pins, shadow.
//!
//! Every name of a version is looked up here, so that a plan cannot name one that does not exist,
//! save those that the API registers at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::document::{Node, Value};
use super::error::{Place, Problem};
use super::matches::{Case, read_fields, read_query, read_table};
use super::read::{Found, Section, join, suggestion};
use super::reference::{COMPARE, PIN, RETRIES, SERVICE, SHADOW, STICKY};
use super::{rollout, value, version};
use crate::diff::Rules;
use crate::limits::{COMPARED_BODY_BYTES_MAX, RETRIES_MAX, VERSIONS_MAX, WEIGHT_MAX};
use crate::name::{ServiceName, VersionName};
use crate::plan::{
    PinPlan, Retries, RolloutPlan, ServicePlan, ServicePolicy, VersionPlan, WhenUnavailable,
};
use crate::route::matcher::PinMatch;
use crate::split::CohortKey;
use crate::traffic::{CompareRule, ShadowRule};
use crate::weight::Weights;

/// A service, with what cross checks point at.
#[derive(Debug)]
pub(super) struct ReadService {
    pub plan: Arc<ServicePlan>,
    pub path: String,
    pub place: Place,
}

/// The versions that stand in the file, whether or not they could be read.
pub(super) struct VersionNames<'a>(Vec<&'a str>);

impl VersionNames<'_> {
    /// The name of a version that there is.
    pub fn read(&self, node: &Node) -> Result<VersionName, Problem> {
        let name: VersionName = value::name(node)?;
        self.check(name.as_str()).map(|()| name)
    }

    fn check(&self, name: &str) -> Result<(), Problem> {
        if self.0.contains(&name) {
            return Ok(());
        }
        let problem = Problem::new(format!("there is no version `{}`", name.escape_debug()));
        Err(problem.help(suggestion(name, self.0.iter().copied())))
    }
}

/// Reads every `[service.NAME]`; those with errors are left out.
pub(super) fn read_all(root: &Section<'_>) -> Vec<ReadService> {
    let mut services = Vec::new();
    for (name, entry) in root.entries("service").unwrap_or_default() {
        let path = join("service", name);
        let findings = root.context.findings;
        let error = |problem| findings.error(entry.key, "service", problem);
        let parsed = ServiceName::new(name).map_err(|why| error(Problem::new(why.to_string())));
        let Some(table) = entry.node.as_table() else {
            let problem = Problem::new("expected a section").found(entry.node.kind());
            let problem = problem.help(format!("begin the service with `[{path}]`"));
            findings.error(entry.node.place, &path, problem);
            continue;
        };
        let section = Section::open(root.context, path, entry.key, Some(table), SERVICE);
        services.extend(read_one(&section, parsed.ok()));
    }
    services
}

fn read_one(section: &Section<'_>, name: Option<ServiceName>) -> Option<ReadService> {
    let entries = section.entries("version").unwrap_or_default();
    let names = VersionNames(entries.iter().map(|(name, _)| *name).collect());
    if entries.len() > VERSIONS_MAX {
        let problem = Problem::new(format!("{} versions are too many", entries.len()));
        section.error("version", problem.help(format!("use at most {VERSIONS_MAX}")));
    }
    let versions = version::read_all(section, &entries);
    let weights = read_weights(section, &names);
    let sticky = read_sticky(section);
    let policy = read_policy(section);
    let pins = read_pins(section, &names);
    let has_shadow = section.node("shadow").is_some();
    let shadow = section.optional_section("shadow", SHADOW);
    let shadow = shadow.and_then(|shadow| read_shadow(&shadow, &names));
    let rollout = rollout::read(section, &names);
    let (weights, pins) = (weights?, pins?);
    let plans: BTreeMap<VersionName, Arc<VersionPlan>> =
        versions.iter().map(|found| (found.name.clone(), found.plan.clone())).collect();
    warn_of_idle(section, &weights, &plans);
    let used = used_versions(&weights, &pins, shadow.as_ref(), rollout.as_deref());
    for version in versions.iter().filter(|version| !used.contains(&version.name)) {
        let problem = Problem::new("no traffic can reach this version")
            .help("give it a weight (0 keeps it as a standby), or take it out");
        section.context.findings.warn(version.place, &version.path, problem);
    }
    if has_shadow && shadow.is_none() || plans.len() < entries.len() {
        return None;
    }
    let plan = ServicePlan {
        name: name?,
        weights,
        shadow,
        sticky,
        pins,
        versions: plans,
        policy,
        rollout,
    };
    let (path, place) = (section.path.clone(), section.place);
    Some(ReadService { plan: Arc::new(plan), path, place })
}

/// Versions that the file gives a part in traffic; a weight of 0 that is written counts: that is
/// how a standby is declared.
fn used_versions(
    weights: &Weights,
    pins: &[PinPlan],
    shadow: Option<&ShadowRule>,
    rollout: Option<&RolloutPlan>,
) -> BTreeSet<VersionName> {
    let mut used: BTreeSet<VersionName> = weights.iter().map(|(name, _)| name.clone()).collect();
    used.extend(pins.iter().map(|pin| pin.version.clone()));
    used.extend(shadow.map(|rule| rule.version.clone()));
    used.extend(shadow.and_then(|rule| rule.secondary.clone()));
    used.extend(rollout.map(|rollout| rollout.to.clone()));
    used
}

fn warn_of_idle(
    section: &Section<'_>,
    weights: &Weights,
    versions: &BTreeMap<VersionName, Arc<VersionPlan>>,
) {
    let findings = section.context.findings;
    if versions.is_empty() {
        let problem = Problem::new("has no version: its requests are answered with 503")
            .help(format!("add `[{}.version.NAME]`, or register one at run time", section.path));
        findings.warn(section.place, &section.path, problem);
    } else if weights.total() == 0 {
        let problem = Problem::new("all weights are 0: requests are answered with 503")
            .help("give a version a positive weight");
        findings.warn(section.place_of("weights"), &section.path_of("weights"), problem);
    }
}

fn read_weights(section: &Section<'_>, names: &VersionNames<'_>) -> Option<Weights> {
    let Some(entries) = section.entries("weights") else {
        return match names.0.as_slice() {
            _ if section.node("weights").is_some() => None,
            [] => Some(Weights::default()),
            [only] => VersionName::new(only).ok().map(Weights::all_to),
            [first, rest @ ..] => {
                let rest: String = rest.iter().map(|name| format!(", {name} = 0")).collect();
                let problem = Problem::new("`weights` is missing, and there are several versions")
                    .help(format!("add e.g. `weights = {{ {first} = 100{rest} }}`"));
                section.context.findings.error(section.place, &section.path, problem);
                None
            }
        };
    };
    let path = section.path_of("weights");
    let mut weights = BTreeMap::new();
    let mut is_whole = true;
    for (name, entry) in entries {
        let findings = section.context.findings;
        let named = names.check(name).map_err(|problem| findings.error(entry.key, &path, problem));
        let weight = weight(&entry.node)
            .map_err(|problem| findings.error(entry.node.place, &join(&path, name), problem));
        match (named, weight, VersionName::new(name)) {
            (Ok(()), Ok(weight), Ok(name)) => {
                weights.insert(name, weight);
            }
            _ => is_whole = false,
        }
    }
    Weights::new(weights).ok().filter(|_| is_whole)
}

fn weight(node: &Node) -> Result<u32, Problem> {
    let range = format!("use a whole number from 0 to {WEIGHT_MAX}");
    match &node.value {
        Value::Whole(number) if *number < 0 => {
            Err(Problem::new(format!("a weight cannot be negative, and {number} is")).help(range))
        }
        Value::Whole(number) => u32::try_from(*number)
            .ok()
            .filter(|weight| *weight <= WEIGHT_MAX)
            .ok_or_else(|| Problem::new(format!("the weight {number} is too large")).help(range)),
        Value::Decimal(_) => Err(value::expected("a whole number", node)
            .help("weights are relative: for 99.5 and 0.5 write 995 and 5")),
        _ => Err(value::expected("a whole number", node).help(range)),
    }
}

fn read_sticky(section: &Section<'_>) -> Option<CohortKey> {
    let sticky = section.optional_section("sticky", STICKY)?;
    let cookie = sticky.optional("cookie", value::checked(value::cookie_name));
    let header = sticky.optional("header", value::checked(value::field_name));
    let client_ip = sticky.optional("client_ip", value::boolean);
    let named = ["cookie", "header", "client_ip"];
    let named = named.iter().filter(|key| sticky.node(key).is_some()).count();
    let help =
        "write `{ cookie = \"tg_shop\" }`, `{ header = \"x-user-id\" }` or `{ client_ip = true }`";
    if named > 1 {
        let problem = Problem::new("a user has one identity, and several are asked for");
        section.error("sticky", problem.help("keep one of `cookie`, `header`, `client_ip`"));
    } else if named == 0 || client_ip == Some(false) {
        section.error("sticky", Problem::new("nothing tells users apart").help(help));
    }
    let by_address = client_ip.unwrap_or(false).then_some(CohortKey::ClientIp);
    cookie.map(CohortKey::Cookie).or(header.map(CohortKey::Header)).or(by_address)
}

fn read_policy(section: &Section<'_>) -> ServicePolicy {
    const UNAVAILABLE: [(&str, WhenUnavailable); 2] =
        [("others", WhenUnavailable::Others), ("fail", WhenUnavailable::Fail)];
    let retries = section.section("retries", RETRIES);
    ServicePolicy {
        when_unavailable: section.value("when_unavailable", value::word(&UNAVAILABLE)),
        rescue: section.value("rescue", value::boolean),
        upstream_version_header: section.value("upstream_version_header", value::boolean),
        timeout: section.value("timeout", value::duration),
        read_timeout: section.value("read_timeout", value::duration),
        connect_timeout: section.value("connect_timeout", value::duration),
        request_timeout: section.optional("request_timeout", value::duration),
        retries: Retries {
            attempts: retries.value("attempts", value::whole(0..=RETRIES_MAX)),
            budget_percent: retries.value("budget", |node| match value::percent(node)? {
                ppm if ppm % 10_000 == 0 => Ok(ppm / 10_000),
                _ => Err(Problem::new("the budget is in whole percents").help("e.g. \"20%\"")),
            }),
        },
    }
}

fn read_pins(section: &Section<'_>, names: &VersionNames<'_>) -> Option<Vec<PinPlan>> {
    let tables = section.tables("pin");
    if tables.len() > usize::from(u16::MAX) {
        section.error("pin", Problem::new(format!("{} pins are too many", tables.len())));
        return None;
    }
    let pins = tables.into_iter().enumerate().map(|(index, (place, table))| {
        let path = join(&section.path_of("pin"), &(index + 1).to_string());
        let pin = Section::open(section.context, path, place, Some(table), PIN);
        let version = pin.required("version", |node| names.read(node));
        let conditions = ["headers", "cookies", "query", "client"];
        if conditions.iter().all(|key| pin.node(key).is_none()) {
            let problem = Problem::new("has no condition, so that it would take every request")
                .help("add `headers`, `cookies`, `query` or `client`; or use `weights` instead");
            pin.context.findings.error(pin.place, &pin.path, problem);
        }
        let clients = pin.list("client", value::network).unwrap_or_default();
        let matches = PinMatch {
            fields: read_fields(&pin),
            cookies: read_table(&pin, "cookies", Case::Matters, value::cookie_name),
            query: read_query(&pin),
            clients: clients.into_iter().map(|found| found.value).collect(),
        };
        Some(PinPlan { matches, version: version? })
    });
    pins.collect::<Vec<_>>().into_iter().collect()
}

fn read_shadow(section: &Section<'_>, names: &VersionNames<'_>) -> Option<ShadowRule> {
    let version = section.required("version", |node| names.read(node));
    let secondary = section.optional("secondary", |node| names.read(node));
    if version.is_some() && version == secondary {
        let problem = Problem::new("the secondary is the shadow itself")
            .related(section.place_of("version"), "the shadow")
            .help("name a version whose answers are trusted");
        section.error("secondary", problem);
    }
    let methods = section.list("methods", value::standard_method).unwrap_or_default();
    if section.is_empty_list("methods") {
        let problem = Problem::new("no method is copied");
        section.error("methods", problem.help("leave `methods` out for those safe to repeat"));
    }
    Some(ShadowRule {
        share_ppm: section.value("percent", value::percent),
        methods: methods.into_iter().map(|found| found.value).collect(),
        max_body: section.value("max_body", value::size(0..=COMPARED_BODY_BYTES_MAX)),
        max_in_flight: section.value("max_in_flight", value::whole(1..=65_536)),
        compare: read_compare(&section.section("compare", COMPARE)),
        secondary,
        version: version?,
    })
}

fn read_compare(section: &Section<'_>) -> CompareRule {
    let ignore = section.list("ignore", value::text).unwrap_or_default();
    let latency_budget = section.optional("latency_budget", value::duration);
    for rule in &ignore {
        check_rule(section, rule);
    }
    CompareRule { ignore: ignore.into_iter().map(|rule| rule.value).collect(), latency_budget }
}

/// Each rule is checked alone, so that the error stands at the rule it is about.
fn check_rule(section: &Section<'_>, rule: &Found<String>) {
    if let Err(error) = Rules::parse(std::slice::from_ref(&rule.value), None) {
        let text = error.to_string();
        let problem = match text.split_once("; ") {
            Some((message, help)) => Problem::new(message).help(help),
            None => Problem::new(text),
        };
        section.context.findings.error(rule.place, &rule.path, problem);
    }
}
