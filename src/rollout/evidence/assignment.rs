//! Do requests go where the weights send them? If not, nothing that is compared is a fair comparison.

use super::{log_sum_exp, words};

/// Odds from which assignment does not match the weights.
const MISASSIGNED: f64 = 1000.0;
/// Shares beside the nominal one that assignment is compared with.
const MISASSIGNMENTS: [f64; 6] = [0.5, 0.8, 0.9, 1.1, 1.25, 2.0];

/// Counts of both versions against the weights that they were assigned by.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Assignment {
    /// The canary's share by the weights in force; `None` where users, not requests, are shared out.
    nominal: Option<f64>,
    /// Natural logarithms of how much better each other share explains the counts.
    logs: [f64; MISASSIGNMENTS.len()],
    /// Requests of the canary, and how many of all there were due to it.
    counted: f64,
    due: f64,
}

impl Assignment {
    /// Requests are shared out so from here on.
    pub fn expect(&mut self, share: Option<f64>) {
        self.nominal = share.filter(|share| *share > 0.0 && *share < 1.0);
    }

    /// Takes the requests of a block in: the baseline's and the canary's.
    pub fn add(&mut self, n0: f64, n1: f64) {
        let Some(share) = self.nominal else { return };
        for (log, factor) in self.logs.iter_mut().zip(MISASSIGNMENTS) {
            let other = (share * factor).min((1.0 + share) / 2.0);
            *log += n1 * (other / share).ln() + n0 * ((1.0 - other) / (1.0 - share)).ln();
        }
        self.counted += n1;
        self.due += share * (n0 + n1);
    }

    /// Why nothing can be said, if so.
    pub fn void(&self) -> Option<String> {
        let share = 1.0 / MISASSIGNMENTS.len() as f64;
        let log = log_sum_exp(self.logs.iter().map(|log| log + share.ln()));
        (log >= MISASSIGNED.ln()).then(|| {
            format!(
                "assignment does not match the weights: {:.0} requests of the new version were \
                 counted where {:.0} were due ({}); the verdict is void",
                self.counted,
                self.due,
                words::odds(log)
            )
        })
    }

    /// Everything that must outlive a restart.
    pub fn export(&self) -> Vec<f64> {
        self.logs.into_iter().chain([self.counted, self.due]).collect()
    }

    /// Goes on from kept numbers. If they are none, it begins anew.
    pub fn restore(&mut self, numbers: &[f64]) {
        if let Some((logs, &[counted, due])) = numbers.split_first_chunk() {
            *self = Self { nominal: self.nominal, logs: *logs, counted, due };
        }
    }
}
