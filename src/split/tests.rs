use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> VersionName {
    VersionName::new(text).unwrap()
}

fn weights(of: &[(&str, u32)]) -> Weights {
    Weights::new(of.iter().map(|(text, weight)| (name(text), *weight)).collect()).unwrap()
}

fn census(table: &BucketTable) -> BTreeMap<VersionName, u16> {
    let mut census = BTreeMap::new();
    for (version, count) in table.runs() {
        *census.entry(version).or_insert(0) += count;
    }
    census
}

#[test]
fn raising_a_weight_moves_cohorts_only_into_it() {
    let before = BucketTable::new(&weights(&[("blue", 80), ("green", 10), ("red", 10)])).unwrap();
    let after = before.moved_to(&weights(&[("blue", 80), ("green", 30), ("red", 10)]));
    assert!(before.moves_to(&after).keys().all(|(_, to)| to == &name("green")));
    assert_eq!(after.count_of(&name("green")), 2500);
}

#[test]
fn a_cutover_moves_everyone_and_an_unknown_version_holds_nobody() {
    let before = BucketTable::new(&weights(&[("blue", 90), ("green", 10)])).unwrap();
    let after = before.moved_to(&Weights::all_to(name("green")));
    assert_eq!(after.runs(), [(name("green"), 10_000)]);
    let slots = after.compile(&[name("blue")]);
    assert!(slots.iter().all(|slot| *slot == u8::MAX));
}

#[test]
fn runs_that_do_not_fill_the_table_are_refused() {
    assert!(BucketTable::from_runs([(name("blue"), 9_999)]).is_none());
    assert!(BucketTable::from_runs([(name("blue"), 9_999), (name("green"), 2)]).is_none());
}

#[test]
fn a_draw_is_exact_at_its_edges() {
    let versions = [name("blue"), name("green")];
    let split = Split::new(&versions, &weights(&[("blue", 1), ("green", 3)]), 0, None);
    let at = |quarter: u64| split.draw(quarter << 62, |_| true);
    assert_eq!([at(0), at(1), at(2), at(3)], [Some(0), Some(1), Some(1), Some(1)]);
    assert_eq!(split.draw(0, |version| version == 1), Some(1));
    assert_eq!(split.draw(0, |_| false), None);
    let nobody = Split::new(&versions, &weights(&[("blue", 0)]), 0, None);
    assert_eq!(nobody.draw(u64::MAX, |_| true), None);
}

#[test]
fn two_salts_give_unrelated_buckets() {
    // Of 10 000 users, those in the first tenth under one salt are spread evenly under another.
    let users: Vec<String> = (0..10_000).map(|n| format!("user-{n}")).collect();
    let first = users.iter().filter(|user| bucket::bucket_of(1, user.as_bytes()) < 1000);
    let both = first.clone().filter(|user| bucket::bucket_of(2, user.as_bytes()) < 1000).count();
    let first = first.count();
    assert!((900..1100).contains(&first), "{first}");
    assert!((60..140).contains(&both), "{both}");
}

#[test]
fn buckets_are_the_same_in_every_release() {
    let found = ["", "a", "user-1", "0193e2a4"].map(|id| bucket::bucket_of(7, id.as_bytes()));
    let again = ["", "a", "user-1", "0193e2a4"].map(|id| bucket::bucket_of(7, id.as_bytes()));
    assert_eq!(found, again);
    assert_eq!(bucket::first_salt("checkout"), bucket::first_salt("checkout"));
}

proptest! {
    #[test]
    fn a_moved_table_has_the_counts_of_a_new_one_and_moves_only_what_it_must(
        from in proptest::collection::vec(0u32..1000, 1..5),
        to in proptest::collection::vec(0u32..1000, 1..5),
    ) {
        let list = |of: &[u32]| {
            let named = of.iter().enumerate().map(|(n, w)| (name(&format!("v{n}")), *w));
            Weights::new(named.collect()).unwrap()
        };
        let (from, to) = (list(&from), list(&to));
        if let (Some(before), Some(fresh)) = (BucketTable::new(&from), BucketTable::new(&to)) {
            let after = before.moved_to(&to);
            prop_assert_eq!(census(&after), census(&fresh));
            let moved: u16 = before.moves_to(&after).values().sum();
            let gained: u16 = census(&after)
                .iter()
                .map(|(version, count)| count.saturating_sub(before.count_of(version)))
                .sum();
            prop_assert_eq!(moved, gained);
            prop_assert_eq!(BucketTable::from_runs(after.runs()), Some(after));
        }
    }
}
