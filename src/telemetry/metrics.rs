//! Every metric declared once: name, help, labels. Workers' sums become series here.
//!
//! Label values come from the configuration or from closed sets, never from a client. Series of
//! what no revision names any more are left out of a scrape.

use std::collections::{BTreeMap, HashMap, HashSet};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::name::{ServiceName, VersionName};
use crate::proxy::counters::Counts;
use crate::shadow::ShadowCounts;
use crate::upstream::Registry;

/// One metric: its name, what it counts and its labels.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    pub labels: &'static [&'static str],
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: Definition = Definition {
            name: $name, kind: Kind::$kind, help: $help, labels: &[$($label),*],
        };)*
        /// Every metric, in the order of the docs.
        pub const ALL: &[Definition] = &[$($constant),*];
    };
}

metrics! {
    REQUESTS = Counter "http_requests_total" ["service", "version", "route", "method", "status"]
        "Requests that got a version, by the status the client saw.";
    ERRORS = Counter "http_errors_total" ["service", "version", "status_code"]
        "Requests and attempts of a version that failed with 5xx, by the upstream or by the proxy for it.";
    DURATION = Histogram "http_request_duration_seconds" ["service", "version", "route"]
        "From the request's head to the last byte of its answer.";
    IN_FLIGHT = Gauge "tidegate_requests_in_flight" ["service", "version"]
        "Requests being served.";
    WEIGHT = Gauge "tidegate_traffic_weight" ["service", "version"]
        "Share of the split in percent.";
    HEALTHY = Gauge "tidegate_endpoint_healthy" ["service", "version", "endpoint"]
        "Whether an endpoint is healthy, whether or not it drains.";
    UPSTREAM_CONNECTIONS = Gauge "tidegate_upstream_connections" ["service", "version"]
        "Open connections to upstreams.";
    RETRIES = Counter "tidegate_retries_total" ["service", "version", "reason"]
        "Attempts made again on the same version.";
    RESCUES = Counter "tidegate_rescues_total" ["service", "from", "to"]
        "Requests that failed on one version and were tried on another.";
    LOCAL_REPLIES = Counter "tidegate_local_replies_total" ["reason"]
        "Requests without a version that the proxy answered itself; with http_requests_total they are all requests.";
    REASONS = Counter "tidegate_reasons_total" ["reason"]
        "Requests that did not go as they were asked, with a version or without, by why: every limit and every time-out has its word.";
    GRPC = Counter "tidegate_grpc_responses_total" ["service", "version", "grpc_status"]
        "Answers of gRPC by their status; those that are failures of the server are errors of the version.";
    ROLLBACK_READY = Gauge "tidegate_rollback_ready" ["service"]
        "Whether going back to the previous traffic would work now.";
    SHADOW_REQUESTS = Counter "tidegate_shadow_requests_total" ["service", "version", "outcome"]
        "Copies to a shadow by outcome: matched, mismatched, failed, dropped, skipped.";
    SHADOW_MISMATCH = Counter "tidegate_shadow_mismatch_total" ["service", "version", "kind"]
        "Mismatches by kind: status, header, body, latency.";
    SHADOW_LATENCY_DELTA = Histogram "tidegate_shadow_latency_delta_seconds" ["service", "version"]
        "How much later than the primary the shadow answered.";
    ROLLOUT_WEIGHT = Gauge "tidegate_rollout_weight_percent" ["service"]
        "The share of the version that the last rollout leads to, in percent, whoever gave it.";
    ROLLOUT_STATE = Gauge "tidegate_rollout_state" ["service"]
        "Of the last rollout: 1 running, 2 paused, 3 succeeded, 4 rolled back, 5 aborted.";
    VERDICT = Gauge "tidegate_verdict" ["service", "version", "metric"]
        "What a rollout's metric says of the new version: -2 regressed, -1 suspect, 0 undecided, 1 safe.";
    REVISION = Gauge "tidegate_revision" []
        "The revision in force.";
    CONFIG_VALID = Gauge "tidegate_config_valid" []
        "Whether the configuration file is valid now.";
    CONFIG_RELOADS = Counter "tidegate_config_reload_total" ["result"]
        "Readings of the configuration file: applied, unchanged, invalid.";
    CONNECTIONS = Gauge "tidegate_connections" ["listener"]
        "Open client connections.";
    CONNECTIONS_REFUSED = Counter "tidegate_connections_refused_total" ["listener", "reason"]
        "Client connections that were never taken, or ended for a reason that is no request's.";
}

/// The duration buckets unless configured otherwise, in seconds.
pub const DURATION_BOUNDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.010, 0.025, 0.050, 0.075, 0.100, 0.250, 0.500, 0.750, 1.0, 2.5, 5.0,
    7.5, 10.0,
];

const METADATA: Metadata<'static> = Metadata::new("tidegate", Level::INFO, None);

/// Label values, in the order of the definition.
type Values = Vec<String>;

/// All series.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    counters: HashMap<(&'static str, Values), Counter>,
    gauges: HashMap<(&'static str, Values), Gauge>,
    histograms: HashMap<(&'static str, Values), Histogram>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("counters", &self.counters.len()).finish_non_exhaustive()
    }
}

impl Metrics {
    /// A recorder with these duration buckets, in seconds. Bounds that the exporter does not take
    /// (there is none, or they are not finite) give way to the default ones.
    pub fn new(bounds: &[f64]) -> Self {
        let full = |name: &str| Matcher::Full(name.to_owned());
        let build = |bounds: &[f64]| {
            PrometheusBuilder::new()
                .set_buckets_for_metric(full(DURATION.name), bounds)?
                .set_buckets_for_metric(full(SHADOW_LATENCY_DELTA.name), bounds)
        };
        let builder = build(bounds).or_else(|_| build(&DURATION_BOUNDS));
        let recorder = builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        for metric in ALL {
            let (name, help) = (KeyName::from_const_str(metric.name), metric.help.into());
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram => recorder.describe_histogram(name, None, help),
            }
        }
        let handle = recorder.handle();
        let (counters, gauges, histograms) = Default::default();
        Self { recorder, handle, counters, gauges, histograms }
    }

    /// Adds to a counter.
    pub fn count(&mut self, metric: &Definition, values: &[&str], more: u64) {
        let series = (metric.name, owned(values));
        let recorder = &self.recorder;
        let counter = self.counters.entry(series);
        let counter =
            counter.or_insert_with(|| recorder.register_counter(&key(metric, values), &METADATA));
        counter.increment(more);
    }

    /// Sets a gauge.
    pub fn set(&mut self, metric: &Definition, values: &[&str], value: f64) {
        let series = (metric.name, owned(values));
        let recorder = &self.recorder;
        let gauge = self.gauges.entry(series);
        let gauge =
            gauge.or_insert_with(|| recorder.register_gauge(&key(metric, values), &METADATA));
        gauge.set(value);
    }

    /// Records a value so many times.
    pub fn record(&mut self, metric: &Definition, values: &[&str], value: f64, times: u64) {
        let series = (metric.name, owned(values));
        let recorder = &self.recorder;
        let histogram = self.histograms.entry(series);
        let histogram = histogram
            .or_insert_with(|| recorder.register_histogram(&key(metric, values), &METADATA));
        histogram.record_many(value, times as usize);
    }

    /// Adds what one worker handed over.
    pub fn absorb(&mut self, counts: &Counts, registry: &Registry) {
        for ((route, version), series) in &counts.series {
            let Some(route) = registry.route_name(*route) else { continue };
            let Some((service, version)) = registry.version_name(*version) else { continue };
            let (service, version, route) = (service.as_str(), version.as_str(), route.as_str());
            for (method, status, count) in &series.requests {
                let status = status.to_string();
                let values = [service, version, route, method.as_label(), &status];
                self.count(&REQUESTS, &values, *count);
            }
            for (count, sum) in series.durations.iter().filter(|(count, _)| *count > 0) {
                // The mean of a bucket's requests lies in the bucket, so that counts and sum are
                // both exact without keeping each value.
                let mean = sum / *count as f64;
                self.record(&DURATION, &[service, version, route], mean, *count);
            }
        }
        for (version, series) in &counts.versions {
            let Some((service, version)) = registry.version_name(*version) else { continue };
            let (service, version) = (service.as_str(), version.as_str());
            for (status, count) in &series.errors_by_status {
                self.count(&ERRORS, &[service, version, &status.to_string()], *count);
            }
            for (reason, count) in &series.retries {
                self.count(&RETRIES, &[service, version, reason.as_str()], *count);
            }
            for (status, count) in &series.grpc {
                self.count(&GRPC, &[service, version, &status.to_string()], *count);
            }
        }
        for (reason, count) in &counts.reasons {
            self.count(&REASONS, &[reason.as_str()], *count);
        }
        for (reason, count) in &counts.local_replies {
            self.count(&LOCAL_REPLIES, &[reason.as_str()], *count);
        }
        for ((listener, refusal), count) in &counts.refusals {
            self.count(&CONNECTIONS_REFUSED, &[listener.as_str(), refusal.as_str()], *count);
        }
        for (service, from, to, count) in &counts.rescues {
            self.count(&RESCUES, &[service.as_str(), from.as_str(), to.as_str()], *count);
        }
        // The exporter keeps each recorded value until it is asked to sum them up.
        self.handle.run_upkeep();
    }

    /// Adds what was found out about shadows since the last time.
    pub fn absorb_shadow(&mut self, counts: &BTreeMap<(ServiceName, VersionName), ShadowCounts>) {
        for ((service, version), counts) in counts {
            let (service, version) = (service.as_str(), version.as_str());
            for (outcome, count) in &counts.outcomes {
                self.count(&SHADOW_REQUESTS, &[service, version, outcome.as_str()], *count);
            }
            for (kind, count) in &counts.kinds {
                self.count(&SHADOW_MISMATCH, &[service, version, kind], *count);
            }
            for (count, seconds) in counts.delays.values() {
                let mean = seconds / *count as f64;
                self.record(&SHADOW_LATENCY_DELTA, &[service, version], mean, *count);
            }
        }
        self.handle.run_upkeep();
    }

    /// The text of a scrape, without the series of what is not `alive`.
    pub fn render(&self, alive: &Alive) -> String {
        let text = self.handle.render();
        let mut kept = String::with_capacity(text.len());
        for line in text.lines().filter(|line| line.starts_with('#') || alive.keeps(line)) {
            kept.push_str(line);
            kept.push('\n');
        }
        kept
    }
}

fn owned(values: &[&str]) -> Values {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn key(metric: &Definition, values: &[&str]) -> Key {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    let pairs = metric.labels.iter().zip(values);
    let labels: Vec<_> =
        pairs.map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(metric.name, labels)
}

/// What the current revision names; series of anything else are not shown.
#[derive(Debug, Default)]
pub struct Alive {
    pub versions: HashSet<(String, String)>,
    /// Those that the last rollout of their service leads to: of others no verdict is told any more.
    pub judged: HashSet<(String, String)>,
    pub endpoints: HashSet<String>,
    pub listeners: HashSet<String>,
}

impl Alive {
    fn keeps(&self, line: &str) -> bool {
        let service = label(line, "service");
        let versions = match line.starts_with(VERDICT.name) {
            true => &self.judged,
            false => &self.versions,
        };
        let of_service = |version: &str| {
            versions.contains(&(service.unwrap_or_default().to_owned(), version.to_owned()))
        };
        let whole = |name| label(line, name).is_none_or(of_service);
        whole("version")
            && whole("from")
            && whole("to")
            && label(line, "endpoint").is_none_or(|name| self.endpoints.contains(name))
            && label(line, "listener").is_none_or(|name| self.listeners.contains(name))
            && service.is_none_or(|name| self.versions.iter().any(|(service, _)| service == name))
    }
}

/// The value of a label in a line of the text format. Names hold nothing that is escaped.
fn label<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let labels = line.split_once('{')?.1;
    let at = labels.match_indices(name).find(|(at, _)| {
        let before = labels[..*at].chars().next_back();
        matches!(before, None | Some(',')) && labels[at + name.len()..].starts_with("=\"")
    })?;
    labels[at.0 + name.len() + 2..].split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shadow::Outcome;

    fn alive() -> Alive {
        let versions = [("shop".to_owned(), "blue".to_owned())].into();
        Alive { versions, ..Alive::default() }
    }

    #[test]
    fn only_living_series_are_shown() {
        let mut metrics = Metrics::new(&DURATION_BOUNDS);
        metrics.set(&WEIGHT, &["shop", "blue"], 90.0);
        metrics.set(&WEIGHT, &["shop", "gone"], 10.0);
        metrics.set(&REVISION, &[], 3.0);
        metrics.count(&RESCUES, &["shop", "gone", "blue"], 1);
        let text = metrics.render(&alive());
        assert!(text.contains("tidegate_traffic_weight{service=\"shop\",version=\"blue\"} 90"));
        assert!(!text.contains("gone"), "{text}");
        assert!(text.contains("tidegate_revision 3"));
    }

    #[test]
    fn a_verdict_is_told_of_the_version_of_the_last_rollout() {
        let mut metrics = Metrics::new(&DURATION_BOUNDS);
        metrics.set(&VERDICT, &["shop", "blue", "errors"], -2.0);
        assert!(!metrics.render(&alive()).contains("tidegate_verdict{"));
        let judged = Alive { judged: alive().versions, ..alive() };
        assert!(metrics.render(&judged).contains("tidegate_verdict{"));
    }

    #[test]
    fn what_shadows_did_is_counted() {
        let mut metrics = Metrics::new(&[0.01, 0.1]);
        let counts = ShadowCounts {
            outcomes: [(Outcome::Matched, 7), (Outcome::Mismatched, 2)].into(),
            kinds: [("body", 2)].into(),
            delays: [(3, (9, 0.045))].into(),
        };
        let key = ("shop".parse().unwrap(), "blue".parse().unwrap());
        metrics.absorb_shadow(&[(key, counts)].into());
        let text = metrics.render(&alive());
        let labels = "service=\"shop\",version=\"blue\"";
        for line in [
            format!("tidegate_shadow_requests_total{{{labels},outcome=\"matched\"}} 7"),
            format!("tidegate_shadow_requests_total{{{labels},outcome=\"mismatched\"}} 2"),
            format!("tidegate_shadow_mismatch_total{{{labels},kind=\"body\"}} 2"),
            format!("tidegate_shadow_latency_delta_seconds_bucket{{{labels},le=\"0.01\"}} 9"),
        ] {
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_histogram_is_exact_in_counts_and_sum() {
        let mut metrics = Metrics::new(&[0.01, 0.1]);
        metrics.record(&DURATION, &["shop", "blue", "r"], 0.004, 5);
        metrics.record(&DURATION, &["shop", "blue", "r"], 0.05, 2);
        let text = metrics.render(&alive());
        let line = |rest: &str| format!("http_request_duration_seconds_{rest}");
        let labels = "service=\"shop\",version=\"blue\",route=\"r\"";
        assert!(text.contains(&line(&format!("bucket{{{labels},le=\"0.01\"}} 5"))), "{text}");
        assert!(text.contains(&line(&format!("bucket{{{labels},le=\"0.1\"}} 7"))), "{text}");
        assert!(text.contains(&line(&format!("count{{{labels}}} 7"))), "{text}");
        assert!(text.contains(&line(&format!("sum{{{labels}}} 0.12"))), "{text}");
    }
}
