//! Changes in words, and what a file edit means.

use expect_test::{Expect, expect};

use super::*;
use crate::revision::change::changes;
use crate::revision::merge::merge;

/// The line of the change that `edit` makes to `blue=90 green=10`.
#[track_caller]
fn check_line(edit: impl FnOnce(&mut Traffic), expect: Expect) {
    let from = traffic("blue=90 green=10");
    let mut to = from.clone();
    edit(&mut to);
    let (from, to) = (map(&[("checkout", from)]), map(&[("checkout", to)]));
    let lines: Vec<_> = changes(&from, &to).iter().map(ToString::to_string).collect();
    expect.assert_eq(&lines.join("\n"));
}

#[test]
fn a_change_is_one_line() {
    check_line(|_| (), expect![""]);
    check_line(
        |t| *t = t.with_weights(weights("green=100")),
        expect!["checkout: blue=90 green=10 → green=100"],
    );
    check_line(
        |t| t.shadow = Some(ShadowRule::to(version("green"), 105_000)),
        expect!["checkout: shadow off → green 10.5 %"],
    );
    check_line(|t| t.hold = Some(HoldRule::default()), expect!["checkout: held"]);
    check_line(|t| t.salt += 1, expect!["checkout: users drawn anew"]);
    check_line(
        |t| {
            t.added.insert(version("red"), version_plan(3));
            t.draining.insert(version("blue"));
            t.draining_endpoints.insert((version("blue"), address(1)));
        },
        expect!["checkout: version red registered, draining blue, draining blue 127.0.0.1:1"],
    );
    check_line(
        |t| t.declared.weights = weights("blue=1"),
        expect!["checkout: the file declares blue=1"],
    );
    check_line(
        |t| t.table = Some(t.with_weights(weights("blue=1")).table.unwrap()),
        expect!["checkout: users moved between versions"],
    );
}

#[test]
fn services_come_and_go() {
    let from = map(&[("checkout", traffic("blue=100"))]);
    let to = map(&[("search", traffic("blue=1"))]);
    let lines: Vec<_> = changes(&from, &to).iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["checkout: removed, was blue=100", "search: new, blue=1"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn applying_what_changed_to_the_old_gives_the_new(from in any_map(), to in any_map()) {
        let changes = changes(&from, &to);
        let mut applied = from.clone();
        for change in &changes {
            prop_assert!(change.to_string().len() > change.service.as_str().len() + 2);
            match &change.to {
                Some(new) => applied.insert(change.service.clone(), new.clone()),
                None => applied.remove(&change.service),
            };
        }
        prop_assert_eq!(&applied, &to);
        prop_assert!(super::change::changes(&to, &applied).is_empty());
    }
}

/// What the file says is first `before`, then `after`; between them, `live` changed things.
#[track_caller]
fn check_merge(
    before: &str,
    live: impl FnOnce(&mut Traffic),
    after: impl FnOnce(&mut ServicePlan),
    expect: Expect,
) {
    let mut plan = plan(before);
    let mut traffic = Traffic::of(&plan);
    live(&mut traffic);
    after(&mut plan);
    let live = map(&[("checkout", traffic)]);
    let merged = merge(&plans(&[plan.clone()]), &live);
    let traffic = &merged.traffic["checkout"];
    assert_eq!(traffic.declared, Declared::of(&plan));
    let again = merge(&plans(&[plan]), &merged.traffic);
    assert!(Arc::ptr_eq(&again.traffic["checkout"], traffic), "a second merge changes something");
    assert!(again.notes.is_empty());
    let mut text = format!(
        "{}; shadow {}; added {:?}; draining {:?} {}{}\n",
        traffic.weights,
        change::shadow_words(traffic.shadow.as_ref()),
        traffic.added.keys().map(VersionName::as_str).collect::<Vec<_>>(),
        names(&traffic.draining),
        traffic.draining_endpoints.len(),
        if traffic.hold.is_some() { "; held" } else { "" },
    );
    merged.notes.iter().for_each(|note| text += &format!("{note}\n"));
    expect.assert_eq(&text);
}

fn cutover(traffic: &mut Traffic) {
    *traffic = traffic.with_weights(weights("blue=0 green=100"));
}

#[test]
fn an_edit_elsewhere_keeps_what_is_live() {
    check_merge(
        "blue=100 green=0",
        |live| {
            cutover(live);
            live.shadow = Some(ShadowRule::to(version("blue"), 10_000));
            live.hold = Some(HoldRule::default());
            live.draining.insert(version("blue"));
        },
        |file| file.policy.rescue = false,
        expect![[r#"
            blue=0 green=100; shadow blue 1 %; added []; draining ["blue"] 0; held
        "#]],
    );
}

#[test]
fn the_same_shares_in_other_words_are_no_new_intention() {
    check_merge(
        "blue=100",
        |live| {
            live.added.insert(version("green"), version_plan(2));
            cutover(live);
        },
        |file| {
            file.versions.insert(version("red"), version_plan(3));
            file.weights = weights("blue=7 red=0");
        },
        expect![[r#"
            blue=0 green=100; shadow off; added ["green"]; draining [] 0
        "#]],
    );
}

#[test]
fn an_edit_of_the_weights_is_the_newer_intention() {
    check_merge(
        "blue=100 green=0",
        |live| {
            cutover(live);
            live.shadow = Some(ShadowRule::to(version("blue"), 10_000));
        },
        |file| file.weights = weights("blue=50 green=50"),
        expect![[r#"
            blue=50 green=50; shadow blue 1 %; added []; draining [] 0
            service `checkout`: weights are now blue=50 green=50 as the file says; live were blue=0 green=100, and the file said blue=100 green=0
        "#]],
    );
}

#[test]
fn what_was_written_back_is_no_news() {
    check_merge(
        "blue=100 green=0",
        cutover,
        |file| file.weights = weights("blue=0 green=100"),
        expect![[r#"
            blue=0 green=100; shadow off; added []; draining [] 0
        "#]],
    );
}

#[test]
fn an_edit_of_the_shadow_leaves_the_weights() {
    check_merge(
        "blue=100 green=0",
        |live| {
            cutover(live);
            live.shadow = Some(ShadowRule::to(version("blue"), 10_000));
        },
        |file| file.shadow = Some(ShadowRule::to(version("green"), 500_000)),
        expect![[r#"
            blue=0 green=100; shadow green 50 %; added []; draining [] 0
            service `checkout`: the shadow is now green 50 % as the file says; live was blue 1 %, and the file said off
        "#]],
    );
}

#[test]
fn what_names_a_version_that_is_gone_takes_the_files_value() {
    check_merge(
        "blue=100 green=0",
        |live| {
            cutover(live);
            live.shadow = Some(ShadowRule::to(version("green"), 10_000));
            live.draining.extend([version("green"), version("blue")]);
            live.draining_endpoints.extend([
                (version("green"), address(2)),
                (version("blue"), address(1)),
                (version("blue"), address(7)),
            ]);
        },
        |file| {
            file.weights = weights("blue=100");
            file.versions.remove("green");
        },
        expect![[r#"
            blue=100; shadow off; added []; draining ["blue"] 1
            service `checkout`: weights are now blue=100 as the file says; live were blue=0 green=100, but there is no version `green` any more
            service `checkout`: the shadow is now off as the file says; live was green 1 %, but there is no version `green` any more
            service `checkout`: version `green` was draining and is gone
            service `checkout`: endpoint 127.0.0.1:7 of `blue` was draining and is gone
            service `checkout`: endpoint 127.0.0.1:2 of `green` was draining and is gone
        "#]],
    );
}

#[test]
fn a_version_without_weight_may_go() {
    check_merge(
        "blue=100 green=0 red=0",
        |live| *live = live.with_weights(weights("blue=70 green=30 red=0")),
        |file| {
            file.weights = weights("blue=100 green=0");
            file.versions.remove("red");
        },
        expect![[r#"
            blue=70 green=30; shadow off; added []; draining [] 0
        "#]],
    );
}

#[test]
fn the_files_version_wins_over_the_one_of_run_time() {
    let register = |live: &mut Traffic| {
        live.added.insert(version("green"), version_plan(2));
        live.added.insert(version("red"), version_plan(3));
        *live = live.with_weights(weights("blue=50 green=50"));
    };
    check_merge(
        "blue=100",
        register,
        |file| {
            file.versions.insert(version("green"), version_plan(2));
            file.versions.insert(version("red"), version_plan(33));
        },
        expect![[r#"
            blue=50 green=50; shadow off; added []; draining [] 0
            service `checkout`: version `red` is in the file now, otherwise than it was registered at run time; the file's is used
        "#]],
    );
    check_merge(
        "blue=100",
        register,
        |_| (),
        expect![[r#"
        blue=50 green=50; shadow off; added ["green", "red"]; draining [] 0
    "#]],
    );
}

#[test]
fn services_of_the_file_are_the_services() {
    let live = map(&[("search", traffic("blue=100")), ("checkout", traffic("blue=0 green=100"))]);
    let merged = merge(&plans(&[plan("blue=0 green=100")]), &live);
    assert!(Arc::ptr_eq(&merged.traffic["checkout"], &live["checkout"]));
    assert_eq!(merged.traffic.len(), 1);
    let notes: Vec<_> = merged.notes.iter().map(ToString::to_string).collect();
    expect!["service `search`: is no longer in the file; its traffic (blue=100) is dropped"]
        .assert_eq(&notes.join("\n"));
    let fresh = merge(&plans(&[plan("blue=100")]), &TrafficMap::new());
    assert_eq!(*fresh.traffic["checkout"], traffic("blue=100"));
    assert!(fresh.notes.is_empty());
}

#[test]
fn taking_the_files_weights_moves_only_who_must() {
    let mut plan = plan("blue=90 green=10");
    let live = map(&[("checkout", Traffic::of(&plan))]);
    plan.weights = weights("blue=70 green=30");
    let merged = merge(&plans(&[plan]), &live);
    let table = |map: &TrafficMap| map["checkout"].table.clone().unwrap();
    let moves = table(&live).moves_to(&table(&merged.traffic));
    assert_eq!(
        moves.into_iter().collect::<Vec<_>>(),
        [((version("blue"), version("green")), 2000)]
    );
}
