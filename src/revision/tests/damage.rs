//! The bytes of a journal: what was written is what is read, and nothing damaged is believed.

use std::path::Path;

use super::*;
use crate::revision::journal::JournalError;
use crate::revision::replay::{file, replay};

fn arcs(entries: &[Entry]) -> Vec<Arc<Entry>> {
    entries.iter().cloned().map(Arc::new).collect()
}

fn write(entries: &[Entry]) -> Vec<u8> {
    file(arcs(entries).iter()).unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let replay =
        replay(bytes, Path::new("j"), REVISIONS_KEPT).map_err(|error| error.to_string())?;
    assert_eq!(replay.length + replay.torn, bytes.len() as u64);
    Ok(replay.entries.iter().map(|entry| entry.as_ref().clone()).collect())
}

/// Puts another JSON into a line, with the right sum.
fn line(json: &str) -> String {
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()))
}

#[test]
fn a_story_is_read_as_it_was_written() {
    let story = story();
    let found = read(&write(&story)).unwrap();
    assert_eq!(found, story);
    // What did not change is shared.
    assert!(Arc::ptr_eq(&found[3].traffic["checkout"], &found[2].traffic["checkout"]));
}

#[test]
fn the_tail_of_a_story_stands_alone() {
    let story = story();
    for from in 0..story.len() {
        assert_eq!(read(&write(&story[from..])).unwrap(), &story[from..]);
    }
}

#[test]
fn cut_at_every_byte_a_journal_is_a_prefix_or_refused() {
    let story = story();
    let bytes = write(&story);
    let first = write(&story[..1]).len();
    for cut in 0..bytes.len() {
        let whole = bytes[..cut].iter().filter(|byte| **byte == b'\n').count().saturating_sub(1);
        match read(&bytes[..cut]) {
            Ok(found) => assert_eq!(found, &story[..whole], "cut at {cut}"),
            Err(error) => assert!(cut < first, "cut at {cut}: {error}"),
        }
    }
}

#[test]
fn every_damaged_byte_is_found() {
    let mut story = story();
    story.remove(2);
    story.truncate(2);
    let bytes = write(&story);
    for place in 0..bytes.len() {
        for pattern in [1, 2, 4, 8, 16, 32, 64, 128, 255, bytes[place], bytes[place] ^ b'\n'] {
            let mut damaged = bytes.clone();
            damaged[place] ^= pattern;
            if damaged != bytes {
                assert!(read(&damaged).is_err(), "byte {place} ^ {pattern} is believed");
            }
        }
    }
}

#[test]
fn what_does_not_follow_is_refused() {
    let story = story();
    let bytes = write(&story);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let of = |places: &[usize]| -> Vec<u8> {
        places.iter().flat_map(|place| lines[*place].to_vec()).collect()
    };
    assert_eq!(read(&of(&[0, 1, 2])).unwrap(), &story[..2]);
    for wrong in [&[0, 2, 3][..], &[0, 1, 3], &[0, 1, 1], &[0, 1, 2, 2], &[1, 2], &[0]] {
        assert!(read(&of(wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn the_place_of_damage_is_named() {
    let bytes = write(&story()[..2]);
    let place = bytes.iter().rposition(|byte| *byte == b'{').unwrap();
    let mut damaged = bytes.clone();
    damaged[place] = b'[';
    let line = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let error = read(&damaged).unwrap_err();
    assert!(error.starts_with(&format!("j is damaged at line 3 (byte {line}): ")), "{error}");
    assert!(error.contains("backup"), "{error}");
}

#[test]
fn headers_are_told_apart() {
    for (header, words) in [
        ("", "the file is empty"),
        ("\n", "no header"),
        ("tidegate journal 2\n", "format 2"),
        ("tidegate journal 0\n", "no header"),
        ("tidegate journal 1", "no header"),
        ("tidegate journal 1\n", "no whole revision"),
        ("tidegate journal 01\n", "no header"),
        ("\u{0}\u{0}\u{0}", "no header"),
    ] {
        let error = read(header.as_bytes()).unwrap_err();
        assert!(error.contains(words), "{header:?}: {error}");
    }
}

#[test]
fn values_that_cannot_be_are_refused_with_the_right_sum() {
    let good = String::from_utf8(write(&story()[..2])).unwrap();
    let json = good.lines().nth(2).unwrap().split_once(' ').unwrap().1;
    let head: String = good.split_inclusive('\n').take(2).collect();
    assert!(read(format!("{head}{}", line(json)).as_bytes()).is_ok());
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (from, to) in [
        ("\"revision\":2", "\"revision\":3"),
        ("\"revision\":2", "\"revision\":0"),
        ("\"revision\":2", "\"revision\":-1"),
        ("\"author\"", "\"autor\""),
        ("\"author\"", "\"whole\":true,\"author\""),
        ("\"author\"", "\"removed\":[\"nothing\"],\"author\""),
        ("2026-", "2026-13-"),
        ("\"checkout\"", "\"check out\""),
        ("\"blue\":50", "\"blue\":1000001"),
        ("a5000b5000", "a5000b5001"),
        ("a5000b5000", "a5000c5000"),
        ("a5000b5000", "a5000b65536b4464"),
        ("a5000b5000", "a5000bé"),
        ("a5000b5000", ""),
        ("100000,", "1000001,"),
        ("\"POST\"", "\"post\""),
        ("127.0.0.1:9", "127.0.0.1:0"),
        ("\"h2\"", "\"h4\""),
        ("[0,1500000]", "[0,1000000000]"),
        ("{\"ok\":[1,null,\"x\",0.5]}", &deep),
    ] {
        let wrong = json.replacen(from, to, 1);
        assert_ne!(wrong, json, "{from} is not there");
        let found = read(format!("{head}{}", line(&wrong)).as_bytes());
        assert!(found.is_err(), "{to} is believed");
    }
}

#[test]
fn scattered_buckets_of_many_versions_take_few_bytes() {
    let even = |count: usize| (0..count).map(|n| format!("v{n}=1 ")).collect::<String>();
    let mut traffic = Traffic::of(&ServicePlan { weights: weights("v0=1"), ..plan("") });
    for count in (2..250).step_by(31) {
        traffic = traffic.with_weights(weights(&even(count)));
        let story = [next(None, map(&[("checkout", traffic.clone())]), "ramp")];
        let bytes = write(&story);
        assert_eq!(read(&bytes).unwrap(), story);
        assert!(bytes.len() < 50_000, "{} bytes for {count} versions", bytes.len());
    }
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let mut entry = story().remove(0);
    let mut plan = rich_version();
    let deep = (0..200).fold(json!(1), |value, _| json!([value]));
    plan.health.as_mut().unwrap().expect = vec![("$".to_owned(), deep)];
    let mut traffic = traffic("blue=100");
    traffic.added.insert(version("red"), Arc::new(plan));
    entry.traffic = Arc::new(map(&[("checkout", traffic)]));
    let error = file(arcs(&[entry]).iter()).unwrap_err();
    assert!(matches!(error, JournalError::Unfit { number: 1, .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_history_is_read_as_it_was_written(maps in proptest::collection::vec(any_map(), 1..4)) {
        let mut story: Vec<Entry> = Vec::new();
        for map in maps {
            story.push(next(story.last(), map, "any"));
        }
        for from in 0..story.len() {
            prop_assert_eq!(read(&write(&story[from..])).unwrap(), &story[from..]);
        }
    }
}
