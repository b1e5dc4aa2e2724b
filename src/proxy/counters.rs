//! What one worker counts: plain cells, handed over as sums.
//!
//! A request pays for two additions and a small search. Nothing here is shared: the control plane
//! asks for the sums by message and adds them up.

use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::h1::head::Method;
use crate::name::{ListenerName, ServiceName, VersionName};

use super::error::{Reason, Refusal};
use super::grpc::Outcome;
use crate::rollout::evidence::engine::Arm;
use crate::rollout::evidence::latency::BUCKETS;

/// Slots of the fine histogram: sixteen to a power of two, from a microsecond to over an hour.
pub const FINE_SLOTS: usize = 33 * 16;

/// Counts of one route and version.
#[derive(Debug, Clone)]
pub struct Series {
    /// Requests by method and status.
    pub requests: Vec<(Method, u16, u64)>,
    /// Requests and their summed seconds, by duration bucket; the last is above all bounds.
    pub durations: Vec<(u64, f64)>,
}

/// What a request is counted under for a verdict: the version it was drawn for, by the weight in force
/// then, whoever serves it in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    pub version: u32,
    pub generation: u32,
    /// Which half of its version it belongs to.
    pub half: bool,
}

/// Counts of one version, whatever the route: what `status` and verdicts read.
#[derive(Debug, Clone)]
pub struct VersionSeries {
    pub requests: u64,
    /// Attempts that failed and were made again, here or elsewhere: they are no requests of this
    /// version, and its errors are a share of both.
    pub attempts_again: u64,
    /// Requests that ended in 5xx or broke off, and attempts that failed and were made again.
    pub errors: u64,
    /// Failed requests and attempts by status.
    pub errors_by_status: Vec<(u16, u64)>,
    pub retries: Vec<(Reason, u64)>,
    /// Answers of gRPC by their status.
    pub grpc: Vec<(u8, u64)>,
    /// Durations in [`FINE_SLOTS`] log-linear slots, see [`fine_slot`].
    pub fine: Box<[u32]>,
}

impl Default for VersionSeries {
    fn default() -> Self {
        Self {
            requests: 0,
            attempts_again: 0,
            errors: 0,
            errors_by_status: Vec::new(),
            retries: Vec::new(),
            grpc: Vec::new(),
            fine: vec![0; FINE_SLOTS].into(),
        }
    }
}

/// All sums since they were last taken, and gauges as they are.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// By number of route and version.
    pub series: FxHashMap<(u32, u32), Series>,
    /// By number of version.
    pub versions: FxHashMap<u32, VersionSeries>,
    pub local_replies: Vec<(Reason, u64)>,
    /// Requests that did not go as they were asked, whoever answered them.
    pub reasons: Vec<(Reason, u64)>,
    /// Connections that were never taken, or ended for a reason that is no request's.
    pub refusals: Vec<((ListenerName, Refusal), u64)>,
    pub rescues: Vec<(ServiceName, VersionName, VersionName, u64)>,
    /// Requests in flight by number of version.
    pub in_flight: FxHashMap<u32, u32>,
    /// Requests in flight by number of endpoint.
    pub endpoint_in_flight: FxHashMap<u32, u32>,
    /// Open upstream connections by number of version.
    pub upstream_connections: FxHashMap<u32, u32>,
    /// Requests that a verdict goes by, by the number of the version and that of the weight they were
    /// assigned under; in two halves that are equal by chance.
    pub trials: FxHashMap<(u32, u32), [Arm; 2]>,
    /// Open client connections by listener.
    pub connections: FxHashMap<ListenerName, u32>,
}

/// The slot of a duration: its error is at most one sixteenth.
pub fn fine_slot(duration: Duration) -> u16 {
    let micros = (duration.as_micros() as u64).max(1);
    let power = 63 - micros.leading_zeros() as u64;
    let part = if power >= 4 { (micros >> (power - 4)) & 15 } else { (micros << (4 - power)) & 15 };
    ((power * 16 + part) as u16).min(FINE_SLOTS as u16 - 1)
}

/// The middle of a slot, in seconds.
pub fn fine_value(slot: u16) -> f64 {
    let (power, part) = (i32::from(slot / 16), f64::from(slot % 16));
    2f64.powi(power) * (1.0 + (part + 0.5) / 16.0) / 1e6
}

impl Counts {
    /// Counts a request that got a version. `bounds` are the duration buckets in seconds.
    pub fn request(
        &mut self,
        (route, version): (u32, u32),
        method: Method,
        status: u16,
        duration: Duration,
        bounds: &[f64],
    ) {
        let series = self.series.entry((route, version)).or_insert_with(|| Series {
            requests: Vec::with_capacity(4),
            durations: vec![(0, 0.0); bounds.len() + 1],
        });
        match series.requests.iter_mut().find(|(m, s, _)| *s == status && *m == method) {
            Some((_, _, count)) => *count += 1,
            None => series.requests.push((method, status, 1)),
        }
        let seconds = duration.as_secs_f64();
        let bucket = bounds.iter().position(|bound| seconds <= *bound).unwrap_or(bounds.len());
        if let Some((count, sum)) = series.durations.get_mut(bucket) {
            *count += 1;
            *sum += seconds;
        }
        let version = self.versions.entry(version).or_default();
        version.requests += 1;
        if status >= 500 {
            version.error(status);
        }
        version.fine[usize::from(fine_slot(duration))] += 1;
    }

    /// Counts a request for a verdict: whether its first attempt failed, and the bucket of its latency
    /// if that says anything.
    pub fn trial(&mut self, trial: Trial, failed: bool, bucket: Option<usize>) {
        let halves = self.trials.entry((trial.version, trial.generation)).or_default();
        let half = &mut halves[usize::from(trial.half)];
        half.requests += 1;
        half.errors += u64::from(failed);
        if let Some(bucket) = bucket {
            if half.latency.is_empty() {
                half.latency = vec![0; BUCKETS];
            }
            half.latency[bucket] += 1;
        }
    }

    /// Charges a version with a failed attempt whose request another attempt may still serve.
    pub fn failed_attempt(&mut self, version: u32, status: u16) {
        let series = self.versions.entry(version).or_default();
        series.attempts_again += 1;
        series.error(status);
    }

    /// Charges a version with a request that was counted as answered, and whose answer broke off.
    pub fn broken_answer(&mut self, version: u32, status: u16) {
        self.versions.entry(version).or_default().error(status);
    }

    /// Counts a retry within a version.
    pub fn retry(&mut self, version: u32, reason: Reason) {
        add(&mut self.versions.entry(version).or_default().retries, reason, 1);
    }

    /// Counts an answer of the proxy's own to a request that got no version.
    pub fn local_reply(&mut self, reason: Reason) {
        self.reason(reason);
        add(&mut self.local_replies, reason, 1);
    }

    /// Counts why a request did not go as it was asked.
    pub fn reason(&mut self, reason: Reason) {
        add(&mut self.reasons, reason, 1);
    }

    /// Counts how a call of gRPC went; what no status of HTTP tells of is an error of the version.
    pub fn grpc(&mut self, version: u32, outcome: Outcome, http: u16) {
        let Some(status) = outcome.status() else { return };
        let version = self.versions.entry(version).or_default();
        add(&mut version.grpc, status, 1);
        if let Some(failure) = outcome.failure().filter(|_| http < 500) {
            version.error(failure);
        }
    }

    /// Counts a connection that was never taken, or ended for a reason that is no request's.
    pub fn refusal(&mut self, listener: &ListenerName, refusal: Refusal) {
        add(&mut self.refusals, (listener.clone(), refusal), 1);
    }

    /// Counts a rescue.
    pub fn rescue(&mut self, service: &ServiceName, from: &VersionName, to: &VersionName) {
        let same = |entry: &&mut (ServiceName, VersionName, VersionName, u64)| {
            &entry.0 == service && &entry.1 == from && &entry.2 == to
        };
        match self.rescues.iter_mut().find(same) {
            Some(entry) => entry.3 += 1,
            None => self.rescues.push((service.clone(), from.clone(), to.clone(), 1)),
        }
    }
}

impl VersionSeries {
    fn error(&mut self, status: u16) {
        self.errors += 1;
        add(&mut self.errors_by_status, status, 1);
    }
}

fn add<K: PartialEq>(counts: &mut Vec<(K, u64)>, key: K, more: u64) {
    match counts.iter_mut().find(|(other, _)| *other == key) {
        Some((_, count)) => *count += more,
        None => counts.push((key, more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_within_a_sixteenth_of_its_durations() {
        for micros in [1u64, 3, 16, 17, 999, 12_345, 1_000_000, 3_000_000_000] {
            let value = fine_value(fine_slot(Duration::from_micros(micros)));
            let error = (value * 1e6 / micros as f64 - 1.0).abs();
            assert!(error <= 1.0 / 16.0, "{micros} {value} {error}");
        }
    }
}
