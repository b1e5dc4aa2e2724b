//! What holds for any two answers.

use proptest::prelude::*;

use super::*;

/// Keys that mean something in pointers and rules too.
const KEYS: &str = "[a-c/~*]";

fn any_json(keys: &'static str) -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..3i64).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(keys, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn fields_of(found: &Comparison) -> Vec<String> {
    let mut names: Vec<_> = found.differences.iter().map(|d| d.field.to_string()).collect();
    names.sort();
    names
}

proptest! {
    #[test]
    fn equal_values_match_and_different_ones_do_not(a in any_json(KEYS), b in any_json(KEYS)) {
        let (left, right) = (json(&a.to_string()), json(&format!("{b:#}")));
        let found = compare(&left.answer(), &right.answer(), &rules(""));
        prop_assert_eq!(found.is_match(), a == b);
        prop_assert!(agree(&left.answer(), &left.answer(), &rules("")));
    }

    #[test]
    fn the_outcome_is_symmetric(a in any_json(KEYS), b in any_json(KEYS)) {
        let (left, right) = (json(&a.to_string()), json(&b.to_string()));
        let there = compare(&left.answer(), &right.answer(), &rules(""));
        let back = compare(&right.answer(), &left.answer(), &rules(""));
        prop_assert_eq!(fields_of(&there), fields_of(&back));
        for (d, e) in there.differences.iter().zip(&back.differences) {
            prop_assert_eq!((&d.primary, &d.shadow), (&e.shadow, &e.primary));
        }
    }

    /// A reported field, written into the rules as it is, is gone; every other one stays.
    #[test]
    fn a_rule_ignores_exactly_its_field(
        a in any_json("[a-c/~]"), b in any_json("[a-c/~]"), pick in any::<usize>()
    ) {
        let (left, right) = (json(&a.to_string()), json(&b.to_string()));
        let before = fields_of(&compare(&left.answer(), &right.answer(), &rules("")));
        // A `*` would ignore keys as well as the indices it was reported for.
        let exact: Vec<_> = before.iter().filter(|field| !field.contains("/*")).collect();
        if !exact.is_empty() {
            let rule = exact[pick % exact.len()];
            let after = fields_of(&compare(&left.answer(), &right.answer(), &rules(rule)));
            let rest: Vec<_> = before.iter().filter(|field| *field != rule).cloned().collect();
            prop_assert_eq!(after, rest);
        }
    }

    #[test]
    fn never_panics_and_equal_bytes_match(
        a in any::<Vec<u8>>(), b in any::<Vec<u8>>(),
        names in proptest::collection::vec(any::<Vec<u8>>(), 0..4), text in any::<String>(),
    ) {
        let mut left = Written { body: a, ..json("") };
        let mut right = Written { body: b, ..json("") };
        for name in &names {
            left.fields.push(name, &right.body);
            right.fields.push(name, &left.body);
        }
        for rules in [Ok(rules("")), Rules::parse(&[text], None)].into_iter().flatten() {
            let found = compare(&left.answer(), &right.answer(), &rules);
            for difference in &found.differences {
                prop_assert!(difference.field.as_str().len() <= FIELD_TEXT_BYTES_MAX);
                prop_assert!(difference.primary.len() <= VALUE_TEXT_BYTES_MAX + 32);
            }
            prop_assert!(compare(&left.answer(), &left.answer(), &rules).is_match());
            prop_assert!(agree(&left.answer(), &left.answer(), &rules));
        }
    }
}
