//! The corpus of the fuzz targets, replayed: what a machine once thought up is tried with every
//! change. A file that broke something is put there by the one who mends it.

#[path = "../../fuzz/src/lib.rs"]
mod checks;

use std::path::Path;

/// What a fuzz target does with an input.
type Target = fn(&[u8]);

/// Every target and what it runs.
const TARGETS: &[(&str, Target)] = &[
    ("request_head", checks::request_head),
    ("response_head", checks::response_head),
    ("chunked_body", checks::chunked_body),
    ("h2_to_h1", checks::h2_to_h1),
    ("config", checks::config),
    ("journal", checks::journal),
    ("proxy_header", checks::proxy_header),
];

#[test]
fn the_corpus_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (target, check) in TARGETS {
        let mut files: Vec<_> = std::fs::read_dir(root.join("corpus").join(target))
            .unwrap_or_else(|error| panic!("the corpus of {target}: {error}"))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(files.len() >= 5, "{target} has a corpus of {}", files.len());
        for file in files {
            let data = std::fs::read(&file).unwrap();
            let ran = std::panic::catch_unwind(|| check(&data));
            assert!(ran.is_ok(), "{} breaks {target}", file.display());
            // Cut anywhere, it must hold as well.
            let step = (data.len() / 16).max(1);
            (0..data.len()).step_by(step).for_each(|end| check(&data[..end]));
        }
    }
}

#[test]
fn every_target_is_replayed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut found: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".rs", ""))
        .collect();
    found.sort();
    let mut known: Vec<_> = TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    known.sort();
    assert_eq!(found, known);
}
