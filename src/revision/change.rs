//! What lies between two states of all traffic.
//!
//! A change holds both sides whole, so that applying it gives the new state exactly; its text is
//! one short line of what an operator would call the difference.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::name::{ServiceName, VersionName};
use crate::plan::Address;
use crate::traffic::{HoldRule, ShadowRule, Traffic, TrafficMap};
use crate::weight::Weights;

/// What changed in one service. Displays as one line: `checkout: blue=100 → green=100`.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub service: ServiceName,
    /// `None`: the service did not exist.
    pub from: Option<Arc<Traffic>>,
    /// `None`: it exists no more.
    pub to: Option<Arc<Traffic>>,
}

/// The services whose traffic differs, in the order of names. Empty for equal states.
pub fn changes(from: &TrafficMap, to: &TrafficMap) -> Vec<Change> {
    let names: BTreeSet<&ServiceName> = from.keys().chain(to.keys()).collect();
    let sides = names.into_iter().map(|name| (name, from.get(name), to.get(name)));
    sides
        .filter(|(_, from, to)| differ(*from, *to))
        .map(|(name, from, to)| Change {
            service: name.clone(),
            from: from.cloned(),
            to: to.cloned(),
        })
        .collect()
}

/// Most services of two revisions share their traffic, and comparing bucket tables is dear.
fn differ(from: Option<&Arc<Traffic>>, to: Option<&Arc<Traffic>>) -> bool {
    match (from, to) {
        (Some(from), Some(to)) => !Arc::ptr_eq(from, to) && from != to,
        (from, to) => from.is_some() != to.is_some(),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, from, to } = self;
        match (from, to) {
            (None, None) => write!(f, "{service}: nothing"),
            (None, Some(to)) => write!(f, "{service}: new, {}", shares(&to.weights)),
            (Some(from), None) => write!(f, "{service}: removed, was {}", shares(&from.weights)),
            (Some(from), Some(to)) => write!(f, "{service}: {}", parts(from, to).join(", ")),
        }
    }
}

fn parts(from: &Traffic, to: &Traffic) -> Vec<String> {
    let mut parts = Vec::new();
    if from.weights != to.weights {
        parts.push(format!("{} → {}", shares(&from.weights), shares(&to.weights)));
    } else if from.table != to.table {
        parts.push("users moved between versions".to_owned());
    }
    if from.salt != to.salt {
        parts.push("users drawn anew".to_owned());
    }
    parts.extend(shadow_part(from.shadow.as_ref(), to.shadow.as_ref()));
    parts.extend(hold_part(from.hold.as_ref(), to.hold.as_ref()));
    parts.extend(rollout_part(from, to));
    parts.extend(version_parts(from, to));
    parts.extend(draining_parts(&from.draining, &to.draining, VersionName::to_string));
    let endpoint = |(version, address): &(VersionName, Address)| format!("{version} {address}");
    parts.extend(draining_parts(&from.draining_endpoints, &to.draining_endpoints, endpoint));
    if parts.is_empty() && from.declared != to.declared {
        parts.push(format!("the file declares {}", shares(&to.declared.weights)));
    }
    parts
}

fn shares(weights: &Weights) -> String {
    let text = weights.to_string();
    if text.is_empty() { "no weights".to_owned() } else { text }
}

/// The words for a shadow in one line: `green 10 %`, or `off`.
pub fn shadow_words(rule: Option<&ShadowRule>) -> String {
    rule.map_or("off".to_owned(), |rule| format!("{} {} %", rule.version, rule.percent()))
}

fn shadow_part(from: Option<&ShadowRule>, to: Option<&ShadowRule>) -> Option<String> {
    let (old, new) = (shadow_words(from), shadow_words(to));
    match from == to {
        true => None,
        false if old == new => Some(format!("shadow {new} with other rules")),
        false => Some(format!("shadow {old} → {new}")),
    }
}

fn hold_part(from: Option<&HoldRule>, to: Option<&HoldRule>) -> Option<String> {
    let words = match (from, to) {
        (None, Some(_)) => "held",
        (Some(_), None) => "released",
        (from, to) if from != to => "held with other rules",
        _ => return None,
    };
    Some(words.to_owned())
}

fn rollout_part(from: &Traffic, to: &Traffic) -> Option<String> {
    if from.rollout == to.rollout {
        return None;
    }
    let Some(rollout) = &to.rollout else { return Some("rollout forgotten".to_owned()) };
    let (version, state) = (&rollout.plan.to, rollout.state.as_str().replace('_', " "));
    let percent = (to.weights.percent(version) * 100.0).round() / 100.0;
    // A way back that is taken bit by bit has told its reason with its first move.
    let reason = match from.rollout.as_ref().is_some_and(|from| from.returning.is_some()) {
        true => String::new(),
        false => format!(" ({})", rollout.reason),
    };
    Some(format!("rollout to {version} {state} at {percent} %{reason}"))
}

fn version_parts(from: &Traffic, to: &Traffic) -> Vec<String> {
    let names: BTreeSet<&VersionName> = from.added.keys().chain(to.added.keys()).collect();
    let words = names.into_iter().filter_map(|name| {
        let verb = match (from.added.get(name), to.added.get(name)) {
            (None, Some(_)) => "registered",
            (Some(_), None) => "unregistered",
            (old, new) if old != new => "registered anew",
            _ => return None,
        };
        Some(format!("version {name} {verb}"))
    });
    words.collect()
}

fn draining_parts<T: Ord>(
    from: &BTreeSet<T>,
    to: &BTreeSet<T>,
    name: impl Fn(&T) -> String,
) -> Vec<String> {
    let begun = to.difference(from).map(|one| format!("draining {}", name(one)));
    let ended = from.difference(to).map(|one| format!("no longer draining {}", name(one)));
    begun.chain(ended).collect()
}
