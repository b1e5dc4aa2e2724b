//! What an operator may do next, and what follows from it: the model that the proxy is held to.

use std::collections::{BTreeMap, BTreeSet};

use super::world::Rules;

pub const VERSIONS: [&str; 2] = ["blue", "green"];
pub const ENDPOINTS: usize = 2;

/// One endpoint: its version and its place in it.
pub type Place = (&'static str, usize);

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Step {
    Weights(u32, u32),
    Cutover(&'static str),
    /// To a revision so far back.
    Rollback(u64),
    /// To whatever was before.
    Undo,
    Drain(&'static str, bool),
    DrainEndpoint(Place, bool),
    Hold,
    Release,
    Shadow(Option<&'static str>),
    /// A change on a condition that does not hold.
    Stale,
    /// A valid edit of the file's weights; whether it is told or found.
    Edit(u32, u32, bool),
    BadEdit,
    Kill(Place),
    Revive(Place),
    /// With requests in flight, or in silence.
    Restart(bool),
}

impl Step {
    /// The next step of a plan.
    pub fn random(random: &mut fastrand::Rng) -> Self {
        const WEIGHTS: [(u32, u32); 8] =
            [(100, 0), (90, 10), (50, 50), (10, 90), (0, 100), (1, 3), (999_999, 1), (0, 0)];
        let version = VERSIONS[random.usize(..VERSIONS.len())];
        let place = (version, random.usize(..ENDPOINTS));
        let (blue, green) = WEIGHTS[random.usize(..WEIGHTS.len())];
        match random.u32(..100) {
            0..20 => Self::Weights(blue, green),
            20..35 => Self::Cutover(version),
            35..42 => Self::Rollback(random.u64(1..20)),
            42..46 => Self::Undo,
            46..52 => Self::Drain(version, random.bool()),
            52..58 => Self::DrainEndpoint(place, random.u8(..3) == 0),
            58..62 => Self::Hold,
            62..66 => Self::Release,
            66..73 => Self::Shadow(random.bool().then_some(version)),
            73..76 => Self::Stale,
            76..80 => Self::Edit(blue, green, random.bool()),
            80..82 => Self::BadEdit,
            82..89 => Self::Kill(place),
            89..98 => Self::Revive(place),
            _ => Self::Restart(random.bool()),
        }
    }
}

/// The traffic of the service as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub weights: BTreeMap<&'static str, u32>,
    pub draining: BTreeSet<&'static str>,
    pub draining_endpoints: BTreeSet<Place>,
    pub shadow: Option<&'static str>,
    pub held: bool,
}

impl State {
    /// Only weights.
    pub fn of(blue: u32, green: u32) -> Self {
        Self {
            weights: weights(blue, green),
            draining: BTreeSet::new(),
            draining_endpoints: BTreeSet::new(),
            shadow: None,
            held: false,
        }
    }

    /// The versions that requests go to.
    pub fn weighed(&self) -> Vec<&'static str> {
        VERSIONS.into_iter().filter(|version| self.weights[version] > 0).collect()
    }

    /// Whether a version has an endpoint that takes requests.
    pub fn is_usable(&self, version: &'static str, dead: &BTreeSet<Place>) -> bool {
        (0..ENDPOINTS)
            .map(|place| (version, place))
            .any(|place| !dead.contains(&place) && !self.draining_endpoints.contains(&place))
    }

    /// Whether every safe request is served.
    pub fn serves(&self, dead: &BTreeSet<Place>) -> bool {
        self.weighed().into_iter().any(|version| self.is_usable(version, dead))
    }

    /// What holds as long as nothing changes.
    pub fn rules(&self, dead: &BTreeSet<Place>) -> Rules {
        let (versions, serves) = (self.weighed(), self.serves(dead));
        Rules { versions, serves, dying: false, held: self.held, up: true }
    }

    /// The state after a cutover.
    pub fn cut_over(&self, to: &'static str) -> Self {
        let mut next = self.clone();
        if self.weighed() != [to] {
            next.weights =
                VERSIONS.into_iter().map(|v| (v, if v == to { 100 } else { 0 })).collect();
        }
        next.draining.remove(to);
        next
    }

    /// The state with something in a set or not.
    pub fn toggled<T: Ord>(
        &self,
        set: impl Fn(&mut Self) -> &mut BTreeSet<T>,
        what: T,
        on: bool,
    ) -> Self {
        let mut next = self.clone();
        match on {
            true => set(&mut next).insert(what),
            false => set(&mut next).remove(&what),
        };
        next
    }
}

/// Weights of both versions.
pub fn weights(blue: u32, green: u32) -> BTreeMap<&'static str, u32> {
    [("blue", blue), ("green", green)].into()
}
