//! Buckets: a cohort's slot of 10 000, and the table that maps each slot to a version.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::limits::BUCKETS;
use crate::name::VersionName;
use crate::weight::Weights;

/// The bucket of a cohort. The same on every instance and in every release: users hold on to it.
pub fn bucket_of(salt: u64, cohort: &[u8]) -> u16 {
    let hash = xxh3_64_with_seed(cohort, salt);
    (((hash >> 32) * u64::from(BUCKETS)) >> 32) as u16
}

/// The salt of a service whose traffic was never given another: the same on every instance.
pub fn first_salt(service: &str) -> u64 {
    xxh3_64_with_seed(service.as_bytes(), 0)
}

/// Another salt, for users to be drawn anew; `now_ms` keeps it from being one that was before.
pub fn next_salt(salt: u64, now_ms: u64) -> u64 {
    xxh3_64_with_seed(&now_ms.to_le_bytes(), salt)
}

/// Which version each bucket belongs to.
#[derive(Clone)]
pub struct BucketTable {
    versions: Vec<VersionName>,
    slots: Box<[u8]>,
}

impl std::fmt::Debug for BucketTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.runs()).finish()
    }
}

/// Two tables are equal when every bucket has the same version, in whatever order the versions
/// came to be known.
impl PartialEq for BucketTable {
    fn eq(&self, other: &Self) -> bool {
        self.moves_to(other).is_empty()
    }
}

impl Eq for BucketTable {}

impl BucketTable {
    /// A table by weights alone: versions in the order of names, each in one run. `None` when all
    /// weights are zero.
    pub fn new(weights: &Weights) -> Option<Self> {
        Self::from_runs(weights.buckets())
    }

    /// A table from runs of buckets, in order; `None` unless they fill it exactly.
    pub fn from_runs(runs: impl IntoIterator<Item = (VersionName, u16)>) -> Option<Self> {
        let mut table = Self { versions: Vec::new(), slots: Box::default() };
        let mut slots = Vec::with_capacity(usize::from(BUCKETS));
        for (version, count) in runs {
            let place = table.place(&version)?;
            slots.extend(std::iter::repeat_n(place, usize::from(count)));
            if slots.len() > usize::from(BUCKETS) {
                return None;
            }
        }
        table.slots = slots.into();
        (table.slots.len() == usize::from(BUCKETS)).then_some(table)
    }

    /// The table as runs of equal buckets.
    pub fn runs(&self) -> Vec<(VersionName, u16)> {
        let groups = self.slots.chunk_by(|a, b| a == b);
        groups.map(|run| (self.versions[usize::from(run[0])].clone(), run.len() as u16)).collect()
    }

    /// The table for other weights that moves the fewest buckets: a version with too many gives,
    /// one with too few takes, and nobody else moves. Unchanged when all weights are zero.
    pub fn moved_to(&self, weights: &Weights) -> Self {
        let goal = weights.buckets();
        if goal.is_empty() {
            return self.clone();
        }
        // From its runs, so that versions without a bucket are forgotten: names come and go.
        let Some(mut table) = Self::from_runs(self.runs()) else { return self.clone() };
        let mut surplus: BTreeMap<u8, u16> = BTreeMap::new();
        for place in 0..table.versions.len() {
            let goal = goal.get(&table.versions[place]).copied().unwrap_or(0);
            surplus.insert(place as u8, table.count(place as u8).saturating_sub(goal));
        }
        let mut wanted: Vec<(u8, u16)> = Vec::new();
        for (version, goal) in &goal {
            let Some(place) = table.place(version) else { continue };
            let missing = goal.saturating_sub(self.count_of(version));
            wanted.push((place, missing));
        }
        let mut takers = wanted
            .into_iter()
            .flat_map(|(place, missing)| std::iter::repeat_n(place, usize::from(missing)));
        for bucket in GIVING_ORDER.iter().copied() {
            let left = surplus.entry(table.slots[usize::from(bucket)]).or_default();
            if *left > 0
                && let Some(place) = takers.next()
            {
                *left -= 1;
                table.slots[usize::from(bucket)] = place;
            }
        }
        table
    }

    /// How many buckets a version has.
    pub fn count_of(&self, version: &VersionName) -> u16 {
        let place = self.versions.iter().position(|name| name == version);
        place.map_or(0, |place| self.count(place as u8))
    }

    /// How many buckets move from each version to each other one on the way to `other`.
    pub fn moves_to(&self, other: &Self) -> BTreeMap<(VersionName, VersionName), u16> {
        let mut moves = BTreeMap::new();
        for (from, to) in self.slots.iter().zip(&other.slots) {
            let (from, to) =
                (&self.versions[usize::from(*from)], &other.versions[usize::from(*to)]);
            if from != to {
                *moves.entry((from.clone(), to.clone())).or_insert(0) += 1;
            }
        }
        moves
    }

    /// The table over the places of `versions`. A version that is not there keeps its buckets on
    /// place 255, which no service has, so that its cohorts are drawn anew.
    pub(super) fn compile(&self, versions: &[VersionName]) -> Box<[u8]> {
        let places: Vec<u8> = self
            .versions
            .iter()
            .map(|name| versions.iter().position(|other| other == name))
            .map(|place| place.map_or(u8::MAX, |place| place as u8))
            .collect();
        self.slots.iter().map(|slot| places[usize::from(*slot)]).collect()
    }

    fn place(&mut self, version: &VersionName) -> Option<u8> {
        let known = self.versions.iter().position(|name| name == version);
        let place = known.unwrap_or_else(|| {
            self.versions.push(version.clone());
            self.versions.len() - 1
        });
        u8::try_from(place).ok().filter(|place| *place < u8::MAX)
    }

    fn count(&self, place: u8) -> u16 {
        self.slots.iter().filter(|slot| **slot == place).count() as u16
    }
}

/// The fixed order in which buckets are given away: scattered, so that who moves first is not who
/// has the lowest hash.
static GIVING_ORDER: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let mut order: Vec<u16> = (0..BUCKETS).collect();
    order.sort_by_cached_key(|bucket| xxh3_64_with_seed(&bucket.to_le_bytes(), u64::from(BUCKETS)));
    order
});
