//! What callers send, checked into the domain.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::admin::problem::Problem;
use crate::diff::Rules;
use crate::h1::head::Method;
use crate::limits::ENDPOINTS_MAX;
use crate::name::VersionName;
use crate::operations::CutoverOrder;
use crate::operations::deploy::VersionOrder;
use crate::plan::{Address, HealthPlan, OutlierPlan, Protocol};
use crate::traffic::{CompareRule, HoldRule, ShadowRule};
use crate::weight::{WeightError, Weights};

/// How long a deploy waits for health unless told otherwise.
const DEPLOY_WAIT: Duration = Duration::from_secs(30);

fn invalid(error: impl fmt::Display) -> Problem {
    Problem::invalid(error.to_string())
}

/// A duration as in the configuration: `500ms`, `30s`, `5m`.
pub fn parse_duration(key: &str, text: &str) -> Result<Duration, Problem> {
    let wrong = |_| {
        let text = text.escape_debug();
        invalid(format!("`{key}` is `{text}`, which is no duration; write e.g. `30s`"))
    };
    humantime::parse_duration(text.trim()).map_err(wrong)
}

pub(super) fn version_name(text: &str) -> Result<VersionName, Problem> {
    VersionName::new(text).map_err(invalid)
}

fn methods(texts: &[String]) -> Result<Vec<Method>, Problem> {
    let mut methods = Vec::new();
    for text in texts {
        let method = Method::parse(text.to_ascii_uppercase().as_bytes());
        if method == Method::Other {
            let text = text.escape_debug();
            return Err(invalid(format!("`{text}` is no method that can be named here")));
        }
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    Ok(methods)
}

/// `{"blue": 90, "green": 10}`.
#[derive(Debug)]
pub struct WeightsBody(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for WeightsBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = WeightsBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of weights by version, e.g. {\"blue\": 90, \"green\": 10}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightsBody, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(WeightsBody(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl TryFrom<WeightsBody> for Weights {
    type Error = Problem;

    fn try_from(body: WeightsBody) -> Result<Self, Problem> {
        if body.0.is_empty() {
            return Err(invalid("no weight is given; write e.g. {\"blue\": 90, \"green\": 10}"));
        }
        let mut weights = BTreeMap::new();
        for (name, value) in body.0 {
            let version = version_name(&name)?;
            let weight = value.as_u64().map(|weight| u32::try_from(weight).unwrap_or(u32::MAX));
            let weight = weight.ok_or_else(|| {
                invalid(WeightError { version: version.clone(), found: brief(&value) })
            })?;
            if weights.insert(version, weight).is_some() {
                return Err(invalid(format!("`{name}` is given twice")));
            }
        }
        Weights::new(weights).map_err(invalid)
    }
}

/// A value as a message shows it.
fn brief(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(_) => "a text".to_owned(),
        other => other.to_string(),
    }
}

/// A cutover.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CutoverBody {
    /// The version that takes everything.
    to: String,
    /// Wait for the requests in flight on the old version, for at most this long, e.g. `30s`.
    drain: Option<String>,
    /// Go on without a healthy endpoint.
    #[serde(default)]
    force: bool,
}

impl TryFrom<CutoverBody> for CutoverOrder {
    type Error = Problem;

    fn try_from(body: CutoverBody) -> Result<Self, Problem> {
        let drain = body.drain.map(|text| parse_duration("drain", &text)).transpose()?;
        Ok(Self { to: version_name(&body.to)?, drain, force: body.force })
    }
}

/// A rollback.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    /// A revision of the history; by default the newest whose traffic differs.
    pub to: Option<u64>,
}

/// A hold.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldBody {
    /// By default `30s`.
    max_wait: Option<String>,
    /// By default 1000.
    max_requests: Option<u32>,
    /// By default all.
    #[serde(default)]
    methods: Vec<String>,
}

impl TryFrom<HoldBody> for HoldRule {
    type Error = Problem;

    fn try_from(body: HoldBody) -> Result<Self, Problem> {
        let default = Self::default();
        let max_wait = body.max_wait.map(|text| parse_duration("max_wait", &text)).transpose()?;
        Ok(Self {
            max_requests: body.max_requests.unwrap_or(default.max_requests),
            max_wait: max_wait.unwrap_or(default.max_wait),
            methods: methods(&body.methods)?,
        })
    }
}

/// A drain or its end.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainBody {
    /// `host:port`; by default the whole version.
    endpoint: Option<String>,
}

impl DrainBody {
    /// The endpoint that is named, if one is.
    pub fn address(&self) -> Result<Option<Address>, Problem> {
        self.endpoint.as_deref().map(|text| Address::parse(text).map_err(invalid)).transpose()
    }
}

/// Mirroring. What is left out has the default of the configuration.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShadowBody {
    version: String,
    /// 0 to 100; by default 100.
    percent: Option<f64>,
    methods: Option<Vec<String>>,
    /// Bytes, as a number or as in the configuration, e.g. `256KiB`.
    max_body: Option<SizeDto>,
    max_in_flight: Option<u32>,
    /// `null` is none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    secondary: Option<Option<String>>,
    #[serde(default)]
    compare: CompareBody,
}

/// How answers are compared.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareBody {
    /// `status`, `header:NAME`, `body:/json/pointer`.
    ignore: Option<Vec<String>>,
    /// `null` is none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    latency_budget: Option<Option<String>>,
}

/// A size in bytes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SizeDto {
    Bytes(u64),
    Text(String),
}

impl SizeDto {
    fn bytes(&self) -> Option<u64> {
        let text = match self {
            Self::Bytes(bytes) => return Some(*bytes),
            Self::Text(text) => text.trim(),
        };
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor)
    }
}

impl ShadowBody {
    /// The rule, over what the file declares of the same version as a shadow.
    pub fn rule(self, declared: Option<&ShadowRule>) -> Result<ShadowRule, Problem> {
        let version = version_name(&self.version)?;
        let declared = declared.filter(|rule| rule.version == version).cloned();
        let mut rule = declared.unwrap_or_else(|| ShadowRule::to(version, 1_000_000));
        if let Some(percent) = self.percent {
            if !(0.0..=100.0).contains(&percent) {
                return Err(invalid(format!("`percent` is {percent}; use a number from 0 to 100")));
            }
            rule.share_ppm = (percent * 10_000.0).round() as u32;
        }
        if let Some(texts) = &self.methods {
            rule.methods = methods(texts)?;
        }
        if let Some(size) = &self.max_body {
            let wrong = || invalid("`max_body` is no size; write e.g. `256KiB`");
            rule.max_body = size.bytes().ok_or_else(wrong)?;
        }
        rule.max_in_flight = self.max_in_flight.unwrap_or(rule.max_in_flight);
        if let Some(secondary) = &self.secondary {
            rule.secondary = secondary.as_deref().map(version_name).transpose()?;
        }
        if rule.secondary.as_ref() == Some(&rule.version) {
            return Err(invalid("`secondary` is a trusted version, not the shadow itself"));
        }
        rule.compare = self.compare.rule(rule.compare)?;
        Ok(rule)
    }
}

impl CompareBody {
    fn rule(self, declared: CompareRule) -> Result<CompareRule, Problem> {
        let ignore = self.ignore.unwrap_or(declared.ignore);
        let latency_budget = match self.latency_budget {
            None => declared.latency_budget,
            Some(None) => None,
            Some(Some(text)) => Some(parse_duration("compare.latency_budget", &text)?),
        };
        Rules::parse(&ignore, latency_budget).map_err(invalid)?;
        Ok(CompareRule { ignore, latency_budget })
    }
}

/// A version to register. What is left out is as in the version that has most of the traffic.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionBody {
    /// `host:port`, at least one.
    endpoints: Vec<String>,
    protocol: Option<ProtocolDto>,
    /// `null` is no active checks.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<HealthBody>)]
    health: Option<Option<HealthBody>>,
    outlier: Option<OutlierBody>,
    /// How long all endpoints may take to become healthy; by default `30s`.
    wait: Option<String>,
    /// Cut over once they are.
    #[serde(default)]
    pub cutover: bool,
}

/// Tells a key that is `null` from one that is left out.
fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// What is spoken to an endpoint.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolDto {
    Http1,
    H2c,
    Https,
    H2,
}

impl From<ProtocolDto> for Protocol {
    fn from(protocol: ProtocolDto) -> Self {
        match protocol {
            ProtocolDto::Http1 => Self::Http1,
            ProtocolDto::H2c => Self::H2c,
            ProtocolDto::Https => Self::Https,
            ProtocolDto::H2 => Self::H2,
        }
    }
}

/// Active checks, as in the configuration.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthBody {
    path: String,
    /// By default `2s`.
    interval: Option<String>,
    /// By default `1s`.
    timeout: Option<String>,
    /// By default 2.
    healthy_after: Option<u32>,
    /// By default 3.
    unhealthy_after: Option<u32>,
    /// Paths into the probe's JSON, `$.a.b` or `/a/b`, and the values they must hold.
    #[serde(default)]
    expect: BTreeMap<String, Value>,
}

impl TryFrom<HealthBody> for HealthPlan {
    type Error = Problem;

    fn try_from(body: HealthBody) -> Result<Self, Problem> {
        let visible = |c: char| c.is_ascii_graphic();
        if !body.path.starts_with('/') || !body.path.chars().all(visible) {
            return Err(invalid("`health.path` is no path; write e.g. `/health/ready`"));
        }
        let conditions: Result<_, Problem> =
            body.expect.into_iter().map(|(at, wanted)| Ok((pointer(&at)?, wanted))).collect();
        let time = |key: &str, text: Option<String>, default: u64| match text {
            Some(text) => match parse_duration(key, &text)? {
                Duration::ZERO => Err(invalid(format!("`{key}` must not be 0"))),
                time => Ok(time),
            },
            None => Ok(Duration::from_secs(default)),
        };
        let count = |key: &str, count: Option<u32>, default: u32| match count {
            Some(0) => Err(invalid(format!("`{key}` must be at least 1"))),
            count => Ok(count.unwrap_or(default)),
        };
        Ok(Self {
            interval: time("health.interval", body.interval, 2)?,
            timeout: time("health.timeout", body.timeout, 1)?,
            healthy_after: count("health.healthy_after", body.healthy_after, 2)?,
            unhealthy_after: count("health.unhealthy_after", body.unhealthy_after, 3)?,
            expect: conditions?,
            path: body.path,
        })
    }
}

/// The JSON pointer for `/a/b` itself or for the configuration's `$.a.b`.
fn pointer(text: &str) -> Result<String, Problem> {
    let is_name = |step: &str| {
        !step.is_empty() && step.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
    };
    match text.strip_prefix("$.") {
        None if text.starts_with('/') => Ok(text.to_owned()),
        Some(path) if path.split('.').all(is_name) => Ok(format!("/{}", path.replace('.', "/"))),
        _ => {
            let text = text.escape_debug();
            Err(invalid(format!("`{text}` is no path into JSON; write `$.a.b` or `/a/b`")))
        }
    }
}

/// Passive ejection, as in the configuration.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutlierBody {
    consecutive_failures: Option<u32>,
    eject_for: Option<String>,
}

impl VersionBody {
    /// The order for a version of this name.
    pub fn order(self, name: VersionName) -> Result<VersionOrder, Problem> {
        let count = self.endpoints.len();
        if count == 0 || count > ENDPOINTS_MAX {
            return Err(invalid(format!("`endpoints` holds {count}; give 1 to {ENDPOINTS_MAX}")));
        }
        let mut endpoints = Vec::with_capacity(count);
        for text in &self.endpoints {
            let address = Address::parse(text).map_err(invalid)?;
            if endpoints.contains(&address) {
                return Err(invalid(format!("endpoint `{address}` is given twice")));
            }
            endpoints.push(address);
        }
        let health = match self.health {
            Some(Some(body)) => Some(Some(HealthPlan::try_from(body)?)),
            Some(None) => Some(None),
            None => None,
        };
        let outlier = self.outlier.map(|body| {
            let default = OutlierPlan::default();
            let time = body.eject_for.map(|text| parse_duration("outlier.eject_for", &text));
            Ok::<_, Problem>(OutlierPlan {
                consecutive_failures: body
                    .consecutive_failures
                    .unwrap_or(default.consecutive_failures),
                eject_for: time.transpose()?.unwrap_or(default.eject_for),
            })
        });
        let wait = self.wait.map(|text| parse_duration("wait", &text)).transpose()?;
        Ok(VersionOrder {
            name,
            endpoints,
            protocol: self.protocol.map(Protocol::from),
            health,
            outlier: outlier.transpose()?,
            wait: wait.unwrap_or(DEPLOY_WAIT),
        })
    }
}

/// A request to explain.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainBody {
    /// By default `GET`.
    pub method: Option<String>,
    /// With or without scheme and host.
    pub url: String,
    #[serde(default)]
    pub headers: HeadersDto,
    /// The client's address.
    pub client: Option<String>,
}

/// Header fields: an object, or a list of pairs where a name comes more than once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum HeadersDto {
    Map(BTreeMap<String, String>),
    Pairs(Vec<(String, String)>),
}

impl Default for HeadersDto {
    fn default() -> Self {
        Self::Pairs(Vec::new())
    }
}

impl HeadersDto {
    /// The fields in their order.
    pub fn pairs(self) -> Vec<(String, String)> {
        match self {
            Self::Map(map) => map.into_iter().collect(),
            Self::Pairs(pairs) => pairs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let cases = [("64KiB", Some(65_536)), ("12", Some(12)), ("3 MB", Some(3_000_000))];
        for (text, bytes) in cases.into_iter().chain([("much", None), ("1TiB", None), ("-1", None)])
        {
            assert_eq!(SizeDto::Text(text.into()).bytes(), bytes, "{text}");
        }
        assert_eq!(SizeDto::Text(format!("{}GiB", u64::MAX)).bytes(), None);
    }

    #[test]
    fn paths_into_json_become_pointers() {
        for (text, expect) in [("$.checks.database", "/checks/database"), ("/a/0", "/a/0")] {
            assert_eq!(pointer(text).ok().as_deref(), Some(expect));
        }
        for wrong in ["", "$", "$.", "$.a..b", "a.b", "$.a[0]"] {
            assert!(pointer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn health_that_is_null_is_not_health_left_out() {
        let read = |text: &str| serde_json::from_str::<VersionBody>(text).unwrap().health;
        assert!(read(r#"{"endpoints": []}"#).is_none());
        assert!(matches!(read(r#"{"endpoints": [], "health": null}"#), Some(None)));
        assert!(matches!(read(r#"{"endpoints": [], "health": {"path": "/"}}"#), Some(Some(_))));
    }
}
