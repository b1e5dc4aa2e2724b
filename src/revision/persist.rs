//! The form of a revision on disk: one JSON object.
//!
//! The types here mirror the domain's and belong to format 1 of the journal; a field that is
//! added, renamed or dropped makes another format. Unknown fields and values that the domain
//! refuses are errors: nothing is read halfway. A record holds the services that changed; the
//! first one of a file (`whole`) holds all, and what the changed ones were before.

mod rollout;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::rollout::RolloutDoc;
use super::Entry;
use super::change::{Change, changes};
use crate::h1::head::Method;
use crate::name::{ServiceName, VersionName};
use crate::plan::{
    Address, ClientCert, HealthPlan, OutlierPlan, Protocol, TlsPlan, VersionBounds, VersionPlan,
};
use crate::proxy_header::ProxyVersion;
use crate::rollout::machine::Rollout;
use crate::split::BucketTable;
use crate::traffic::{CompareRule, Declared, HoldRule, ShadowRule, Traffic, TrafficMap};
use crate::weight::Weights;

/// Why a record cannot be written or read, as a sentence fragment.
pub(super) type Wrong = String;

/// The record of an entry. `previous` is the traffic of the record before it; without one the
/// record holds everything.
pub(super) fn encode(entry: &Entry, previous: Option<&TrafficMap>) -> Result<Vec<u8>, Wrong> {
    let mut doc = EntryDoc {
        revision: entry.number,
        at: entry.at.to_string(),
        author: entry.author.clone(),
        cause: entry.cause.clone(),
        reason: entry.reason.clone(),
        whole: previous.is_none(),
        services: BTreeMap::new(),
        removed: BTreeSet::new(),
        before: BTreeMap::new(),
    };
    let text = |name: &ServiceName| name.as_str().to_owned();
    let Some(previous) = previous else {
        let all = entry.traffic.iter();
        doc.services = all.map(|(name, traffic)| (text(name), traffic.as_ref().into())).collect();
        let before = entry.changes.iter();
        let before = before.map(|change| (text(&change.service), change.from.as_deref()));
        doc.before = before.map(|(name, from)| (name, from.map(TrafficDoc::from))).collect();
        return serde_json::to_vec(&doc).map_err(|error| error.to_string());
    };
    for change in changes(previous, &entry.traffic) {
        match &change.to {
            Some(to) => {
                doc.services.insert(text(&change.service), to.as_ref().into());
            }
            None => {
                doc.removed.insert(text(&change.service));
            }
        }
    }
    serde_json::to_vec(&doc).map_err(|error| error.to_string())
}

/// The entry of a record. `previous` is the one of the record before it.
pub(super) fn decode(json: &[u8], previous: Option<&Entry>) -> Result<Entry, Wrong> {
    let doc: EntryDoc = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let before = match (doc.whole, previous) {
        (true, None) => TrafficMap::new(),
        (false, Some(previous)) => previous.traffic.as_ref().clone(),
        (true, Some(_)) => return Err("a record that holds everything follows another".into()),
        (false, None) => return Err("the first record does not hold everything".into()),
    };
    if let Some(previous) = previous
        && doc.revision.checked_sub(1) != Some(previous.number)
    {
        return Err(format!("revision {} follows revision {}", doc.revision, previous.number));
    }
    let mut traffic = before.clone();
    for name in &doc.removed {
        let removed = traffic.remove(name.as_str());
        removed.ok_or_else(|| format!("service `{name}` is removed, but there is none"))?;
    }
    for (name, service) in doc.services {
        traffic.insert(service_name(&name)?, Arc::new(service.try_into()?));
    }
    let changes = match previous {
        Some(_) => changes(&before, &traffic),
        None => {
            let before = doc.before.into_iter();
            before
                .map(|(name, from)| first_change(&name, from, &traffic))
                .collect::<Result<_, _>>()?
        }
    };
    Ok(Entry {
        number: doc.revision,
        at: doc.at.parse().map_err(|error| format!("`at`: {error}"))?,
        author: doc.author,
        cause: doc.cause,
        reason: doc.reason,
        changes,
        traffic: Arc::new(traffic),
    })
}

fn first_change(name: &str, from: Option<TrafficDoc>, to: &TrafficMap) -> Result<Change, Wrong> {
    let from = from.map(|from| from.try_into().map(Arc::new)).transpose()?;
    Ok(Change { service: service_name(name)?, from, to: to.get(name).cloned() })
}

fn service_name(text: &str) -> Result<ServiceName, Wrong> {
    ServiceName::new(text).map_err(|error| error.to_string())
}

fn version_name(text: &str) -> Result<VersionName, Wrong> {
    VersionName::new(text).map_err(|error| error.to_string())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryDoc {
    revision: u64,
    /// RFC 3339.
    at: String,
    author: String,
    cause: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    whole: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    services: BTreeMap<String, TrafficDoc>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    removed: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    before: BTreeMap<String, Option<TrafficDoc>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrafficDoc {
    weights: BTreeMap<String, u32>,
    salt: u64,
    table: Option<TableDoc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shadow: Option<ShadowDoc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<HoldDoc>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    added: BTreeMap<String, VersionDoc>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    draining: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollout: Option<Box<RolloutDoc>>,
    /// Version and address.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    draining_endpoints: BTreeSet<(String, String)>,
    declared: DeclaredDoc,
}

impl From<&Traffic> for TrafficDoc {
    fn from(of: &Traffic) -> Self {
        let endpoint = |(version, address): &(VersionName, Address)| {
            (version.to_string(), address.to_string())
        };
        Self {
            weights: weights_doc(&of.weights),
            salt: of.salt,
            table: of.table.as_ref().map(TableDoc::from),
            shadow: of.shadow.as_ref().map(ShadowDoc::from),
            hold: of.hold.as_ref().map(HoldDoc::from),
            added: of
                .added
                .iter()
                .map(|(name, plan)| (name.to_string(), plan.as_ref().into()))
                .collect(),
            draining: of.draining.iter().map(VersionName::to_string).collect(),
            rollout: of.rollout.as_deref().map(|rollout| Box::new(rollout.into())),
            draining_endpoints: of.draining_endpoints.iter().map(endpoint).collect(),
            declared: DeclaredDoc {
                weights: weights_doc(&of.declared.weights),
                shadow: of.declared.shadow.as_ref().map(ShadowDoc::from),
            },
        }
    }
}

impl TryFrom<TrafficDoc> for Traffic {
    type Error = Wrong;

    fn try_from(doc: TrafficDoc) -> Result<Self, Wrong> {
        let version = |(name, plan): (String, VersionDoc)| {
            Ok((version_name(&name)?, Arc::new(plan.try_into()?)))
        };
        let endpoint = |(version, address): (String, String)| {
            Ok((version_name(&version)?, Address::parse(&address)?))
        };
        let draining = doc.draining.iter().map(|name| version_name(name));
        let declared = doc.declared;
        Ok(Self {
            weights: weights(doc.weights)?,
            salt: doc.salt,
            table: doc.table.map(BucketTable::try_from).transpose()?,
            shadow: doc.shadow.map(ShadowRule::try_from).transpose()?,
            hold: doc.hold.map(HoldRule::try_from).transpose()?,
            added: doc.added.into_iter().map(version).collect::<Result<_, Wrong>>()?,
            draining: draining.collect::<Result<_, _>>()?,
            rollout: doc.rollout.map(|doc| Rollout::try_from(*doc)).transpose()?.map(Arc::new),
            draining_endpoints: doc
                .draining_endpoints
                .into_iter()
                .map(endpoint)
                .collect::<Result<_, Wrong>>()?,
            declared: Declared {
                weights: weights(declared.weights)?,
                shadow: declared.shadow.map(ShadowRule::try_from).transpose()?,
            },
        })
    }
}

/// A bucket table in few bytes: after a few ramps it has thousands of runs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableDoc {
    versions: Vec<String>,
    /// Runs of buckets, `a9000b1000`: the place of the version in letters, and how many.
    runs: String,
}

impl From<&BucketTable> for TableDoc {
    fn from(of: &BucketTable) -> Self {
        let mut doc = Self { versions: Vec::new(), runs: String::new() };
        for (version, count) in of.runs() {
            let known = doc.versions.iter().position(|name| name == version.as_str());
            let place = known.unwrap_or_else(|| {
                doc.versions.push(version.to_string());
                doc.versions.len() - 1
            });
            doc.runs += &format!("{}{count}", letters(place));
        }
        doc
    }
}

impl TryFrom<TableDoc> for BucketTable {
    type Error = Wrong;

    fn try_from(doc: TableDoc) -> Result<Self, Wrong> {
        let versions = doc.versions.iter().enumerate();
        let versions = versions.map(|(place, name)| Ok((letters(place), version_name(name)?)));
        let versions: BTreeMap<String, VersionName> = versions.collect::<Result<_, Wrong>>()?;
        let mut runs = Vec::new();
        let mut rest = doc.runs.as_str();
        while !rest.is_empty() {
            let (place, after) = split_where(rest, |c| !c.is_ascii_lowercase());
            let (count, after) = split_where(after, |c| !c.is_ascii_digit());
            let wrong = || format!("`{place}{count}` is no run of buckets");
            let version = versions.get(place).ok_or_else(wrong)?;
            runs.push((version.clone(), count.parse::<u16>().map_err(|_| wrong())?));
            rest = after;
        }
        let table = BucketTable::from_runs(runs);
        table.ok_or_else(|| "the runs do not fill the bucket table".to_owned())
    }
}

/// A place as one letter or two: `a` to `z`, `aa` to `zz`.
fn letters(place: usize) -> String {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    let first = (place >= 26).then(|| letter(place / 26 - 1));
    first.into_iter().chain([letter(place)]).collect()
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredDoc {
    weights: BTreeMap<String, u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shadow: Option<ShadowDoc>,
}

fn weights_doc(weights: &Weights) -> BTreeMap<String, u32> {
    weights.iter().map(|(version, weight)| (version.to_string(), weight)).collect()
}

fn weights(doc: BTreeMap<String, u32>) -> Result<Weights, Wrong> {
    let named = doc.into_iter().map(|(version, weight)| Ok((version_name(&version)?, weight)));
    let named = named.collect::<Result<_, Wrong>>()?;
    Weights::new(named).map_err(|error| error.to_string())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShadowDoc {
    version: String,
    share_ppm: u32,
    methods: Vec<String>,
    max_body: u64,
    max_in_flight: u32,
    secondary: Option<String>,
    ignore: Vec<String>,
    latency_budget: Option<Span>,
}

impl From<&ShadowRule> for ShadowDoc {
    fn from(of: &ShadowRule) -> Self {
        Self {
            version: of.version.to_string(),
            share_ppm: of.share_ppm,
            methods: methods_doc(&of.methods),
            max_body: of.max_body,
            max_in_flight: of.max_in_flight,
            secondary: of.secondary.as_ref().map(VersionName::to_string),
            ignore: of.compare.ignore.clone(),
            latency_budget: of.compare.latency_budget.map(Span::from),
        }
    }
}

impl TryFrom<ShadowDoc> for ShadowRule {
    type Error = Wrong;

    fn try_from(doc: ShadowDoc) -> Result<Self, Wrong> {
        if doc.share_ppm > 1_000_000 {
            return Err(format!("a shadow's share is {} parts per million", doc.share_ppm));
        }
        let latency_budget = doc.latency_budget.map(Duration::try_from).transpose()?;
        Ok(Self {
            version: version_name(&doc.version)?,
            share_ppm: doc.share_ppm,
            methods: methods(&doc.methods)?,
            max_body: doc.max_body,
            max_in_flight: doc.max_in_flight,
            secondary: doc.secondary.map(|name| version_name(&name)).transpose()?,
            compare: CompareRule { ignore: doc.ignore, latency_budget },
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldDoc {
    max_requests: u32,
    max_wait: Span,
    methods: Vec<String>,
}

impl From<&HoldRule> for HoldDoc {
    fn from(of: &HoldRule) -> Self {
        let methods = methods_doc(&of.methods);
        Self { max_requests: of.max_requests, max_wait: of.max_wait.into(), methods }
    }
}

impl TryFrom<HoldDoc> for HoldRule {
    type Error = Wrong;

    fn try_from(doc: HoldDoc) -> Result<Self, Wrong> {
        let methods = methods(&doc.methods)?;
        Ok(Self { max_requests: doc.max_requests, max_wait: doc.max_wait.try_into()?, methods })
    }
}

fn methods_doc(methods: &[Method]) -> Vec<String> {
    methods.iter().map(|method| method.as_label().to_owned()).collect()
}

fn methods(doc: &[String]) -> Result<Vec<Method>, Wrong> {
    let parse = |text: &String| {
        let method = Method::parse(text.as_bytes());
        let known = method.as_label() == text;
        known.then_some(method).ok_or_else(|| format!("`{}` is no method", text.escape_debug()))
    };
    doc.iter().map(parse).collect()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionDoc {
    endpoints: Vec<String>,
    protocol: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls_ca: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls_server_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls_cert: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls_key: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health: Option<HealthDoc>,
    consecutive_failures: u32,
    eject_for: Span,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_in_flight_per_endpoint: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slow_start: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proxy_protocol: Option<String>,
}

impl From<&VersionPlan> for VersionDoc {
    fn from(of: &VersionPlan) -> Self {
        Self {
            endpoints: of.endpoints.iter().map(Address::to_string).collect(),
            protocol: of.protocol.as_str().to_owned(),
            tls_ca: of.tls.ca.clone(),
            tls_server_name: of.tls.server_name.clone(),
            tls_cert: of.tls.client.as_ref().map(|client| client.cert.clone()),
            tls_key: of.tls.client.as_ref().map(|client| client.key.clone()),
            health: of.health.as_ref().map(HealthDoc::from),
            consecutive_failures: of.outlier.consecutive_failures,
            eject_for: of.outlier.eject_for.into(),
            max_in_flight: of.bounds.max_in_flight,
            max_in_flight_per_endpoint: of.bounds.max_in_flight_per_endpoint,
            slow_start: Some(of.bounds.slow_start).filter(|d| !d.is_zero()).map(Span::from),
            proxy_protocol: of.proxy_protocol.map(|version| version.as_str().to_owned()),
        }
    }
}

impl TryFrom<VersionDoc> for VersionPlan {
    type Error = Wrong;

    fn try_from(doc: VersionDoc) -> Result<Self, Wrong> {
        let protocols = [Protocol::Http1, Protocol::H2c, Protocol::Https, Protocol::H2];
        let protocol = protocols.into_iter().find(|known| known.as_str() == doc.protocol);
        let unknown = || format!("`{}` is no protocol", doc.protocol.escape_debug());
        let headers = [ProxyVersion::V1, ProxyVersion::V2];
        let header = |word: String| {
            let known = headers.into_iter().find(|known| known.as_str() == word);
            known.ok_or_else(|| format!("`{}` is no PROXY header", word.escape_debug()))
        };
        let endpoints = doc.endpoints.iter().map(|text| Address::parse(text));
        Ok(Self {
            endpoints: endpoints.collect::<Result<_, _>>()?,
            protocol: protocol.ok_or_else(unknown)?,
            tls: TlsPlan {
                ca: doc.tls_ca,
                server_name: doc.tls_server_name,
                client: doc.tls_cert.zip(doc.tls_key).map(|(cert, key)| ClientCert { cert, key }),
            },
            health: doc.health.map(HealthPlan::try_from).transpose()?,
            outlier: OutlierPlan {
                consecutive_failures: doc.consecutive_failures,
                eject_for: doc.eject_for.try_into()?,
            },
            bounds: VersionBounds {
                max_in_flight: doc.max_in_flight,
                max_in_flight_per_endpoint: doc.max_in_flight_per_endpoint,
                slow_start: doc.slow_start.map(TryInto::try_into).transpose()?.unwrap_or_default(),
            },
            proxy_protocol: doc.proxy_protocol.map(header).transpose()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthDoc {
    path: String,
    interval: Span,
    timeout: Span,
    healthy_after: u32,
    unhealthy_after: u32,
    expect: Vec<(String, serde_json::Value)>,
}

impl From<&HealthPlan> for HealthDoc {
    fn from(of: &HealthPlan) -> Self {
        Self {
            path: of.path.clone(),
            interval: of.interval.into(),
            timeout: of.timeout.into(),
            healthy_after: of.healthy_after,
            unhealthy_after: of.unhealthy_after,
            expect: of.expect.clone(),
        }
    }
}

impl TryFrom<HealthDoc> for HealthPlan {
    type Error = Wrong;

    fn try_from(doc: HealthDoc) -> Result<Self, Wrong> {
        Ok(Self {
            path: doc.path,
            interval: doc.interval.try_into()?,
            timeout: doc.timeout.try_into()?,
            healthy_after: doc.healthy_after,
            unhealthy_after: doc.unhealthy_after,
            expect: doc.expect,
        })
    }
}

/// Seconds and nanoseconds: every duration fits, none is rounded.
#[derive(Serialize, Deserialize)]
struct Span(u64, u32);

impl From<Duration> for Span {
    fn from(of: Duration) -> Self {
        Self(of.as_secs(), of.subsec_nanos())
    }
}

impl TryFrom<Span> for Duration {
    type Error = Wrong;

    fn try_from(Span(seconds, nanos): Span) -> Result<Self, Wrong> {
        match nanos {
            0..1_000_000_000 => Ok(Self::new(seconds, nanos)),
            _ => Err(format!("a duration has {nanos} nanoseconds beside its seconds")),
        }
    }
}
