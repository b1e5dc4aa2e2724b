//! The evidence on one metric: that the canary is worse, that it is safe, and what estimates go by.

use std::collections::BTreeMap;

use super::dispersion::{Dispersion, Halves};
use super::engine::{Metric, Params, SAFE_LATENCY};
use super::interval::Sums;
use super::process::{Safe, Worse};
use super::{Block, Tolerance};

/// What one metric says in one block: for the alarm, for the promotion, and of the halves.
pub(super) struct Reading {
    pub alarm: Block,
    pub safe: Block,
    pub halves: Halves,
}

impl Reading {
    /// Requests and bad ones of the baseline's halves and the canary.
    pub fn of_counts(a: (u64, u64), b: (u64, u64), canary: (u64, u64)) -> Self {
        let block = Block::new(a.0 + b.0, a.1 + b.1, canary.0, canary.1);
        let half = |(n, x): (u64, u64)| (n as f64, x.min(n) as f64);
        Self { alarm: block, safe: block, halves: Halves { a: half(a), b: half(b) } }
    }
}

/// The evidence on one metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Track {
    pub metric: Metric,
    pub worse: Worse,
    pub safe: Safe,
    /// Safety as if bad requests came alone, if it must be earned so too.
    alone: Option<Safe>,
    pub dispersion: Dispersion,
    pub sums: Sums,
    /// Whether any block had something to say on it.
    pub seen: bool,
}

impl Track {
    pub fn new(metric: Metric, params: &Params) -> Self {
        let (alarm, safe) = match metric.level() {
            None => (params.errors, params.safe_errors),
            Some(_) => (Tolerance { ratio: 1.0, margin: 0.0 }, SAFE_LATENCY),
        };
        Self {
            metric,
            worse: Worse::new(alarm),
            safe: Safe::new(safe),
            alone: params.cautious.then(|| Safe::new(safe)),
            dispersion: if params.guard {
                Dispersion::default()
            } else {
                Dispersion::believed(1.0)
            },
            sums: Sums::default(),
            seen: false,
        }
    }

    /// Takes a block in.
    pub fn add(&mut self, reading: &Reading, seconds: f64) {
        let dispersion = self.dispersion.value();
        self.worse.add(reading.alarm, seconds, dispersion);
        self.safe.add(reading.safe, dispersion);
        if let Some(alone) = &mut self.alone {
            alone.add(reading.safe, 1.0);
        }
        self.sums.add(reading.alarm);
        self.seen = true;
    }

    /// A higher load begins.
    pub fn raised(&mut self) {
        self.safe.reset();
        self.alone.iter_mut().for_each(Safe::reset);
    }

    /// Natural logarithm of the evidence of safety that a verdict goes by.
    pub fn log_safety(&self) -> f64 {
        let guarded = self.safe.log_evidence();
        self.alone.as_ref().map_or(guarded, |alone| guarded.min(alone.log_evidence()))
    }

    /// Everything it knows, by name.
    pub fn export(&self, all: &mut BTreeMap<String, Vec<f64>>) {
        let mut put = |part: &str, numbers| {
            all.insert(format!("{}.{part}", self.metric.as_str()), numbers);
        };
        put("worse", self.worse.export());
        put("safe", self.safe.export());
        put("alone", self.alone.as_ref().map_or_else(Vec::new, Safe::export));
        put("dispersion", self.dispersion.export().to_vec());
        put("sums", self.sums.export());
        put("seen", vec![f64::from(u8::from(self.seen))]);
    }

    /// Goes on from where [`Self::export`] was. What is missing or damaged begins anew.
    pub fn restore(&mut self, all: &BTreeMap<String, Vec<f64>>) {
        let of = |part: &str| {
            let found = all.get(&format!("{}.{part}", self.metric.as_str()));
            found.map_or(&[][..], Vec::as_slice)
        };
        self.worse.restore(of("worse"));
        self.safe.restore(of("safe"));
        self.alone.iter_mut().for_each(|alone| {
            alone.restore(of("alone"));
        });
        self.dispersion.restore(of("dispersion"));
        self.sums.restore(of("sums"));
        self.seen = of("seen") == [1.0];
    }
}
