//! The architecture as a test: who may name what, and how large a room may be.

use std::path::{Path, PathBuf};

/// What decides, and therefore touches nothing.
const PURE: &[&str] = &[
    "src/h1/",
    "src/route/",
    "src/split/",
    "src/diff/",
    "src/weight.rs",
    "src/name.rs",
    "src/traffic.rs",
    "src/plan.rs",
    "src/upstream/pick.rs",
    "src/revision/change.rs",
    "src/revision/merge.rs",
];
/// What a pure file must not name.
const EFFECTS: &[&str] = &[
    "tokio",
    "hyper",
    "std::fs",
    "Instant::now",
    "SystemTime",
    "fastrand",
    "std::env",
    "thread_rng",
];
/// Lines of a file, tests apart.
const LINES_MAX: usize = 600;

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn is_test(name: &str) -> bool {
    name.contains("/tests") || name.contains("test_")
}

/// The part of a file that ships.
fn shipped(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

#[track_caller]
fn none(found: Vec<String>, what: &str) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn every_file_begins_with_the_question_it_answers() {
    let bare =
        sources().into_iter().filter(|(name, text)| !is_test(name) && !text.starts_with("//!"));
    none(bare.map(|(name, _)| name).collect(), "files without module docs");
}

#[test]
fn rooms_can_be_seen_at_a_glance() {
    let large = sources()
        .into_iter()
        .filter(|(name, text)| !is_test(name) && shipped(text).lines().count() > LINES_MAX);
    none(large.map(|(name, _)| name).collect(), "files that are too large");
}

#[test]
fn what_decides_touches_nothing() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        if is_test(&name) || !PURE.iter().any(|pure| name.starts_with(pure)) {
            continue;
        }
        for line in shipped(&text).lines().filter(|line| !line.trim_start().starts_with("//")) {
            found.extend(
                EFFECTS
                    .iter()
                    .filter(|effect| line.contains(**effect))
                    .map(|effect| format!("{name}: {effect}: {}", line.trim())),
            );
        }
    }
    none(found, "effects in pure files");
}

/// A name and the only files that may use it.
const ONLY: &[(&str, &[&str])] = &[
    ("store.swap(", &["src/control.rs"]),
    ("store.install(", &["src/proxy/worker.rs"]),
    ("Instant::now()", &["src/clock.rs", "src/admin/patience.rs"]),
    ("std::env::var", &["src/cli/mod.rs"]),
    ("#[derive(Deserialize", &["src/admin/", "src/revision/persist.rs"]),
    ("axum::", &["src/admin/"]),
    ("tokio::net::", &["src/net.rs"]),
];

#[test]
fn doors_are_used_by_their_owners_alone() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        if is_test(&name) {
            continue;
        }
        for (word, owners) in ONLY {
            let used = shipped(&text)
                .lines()
                .any(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            if used && !owners.iter().any(|owner| name.starts_with(owner)) {
                found.push(format!("{name}: {word}"));
            }
        }
    }
    none(found, "names used outside their files");
}

#[test]
fn nothing_is_left_undone() {
    let words = ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX", "#[ignore]"];
    let mut found = Vec::new();
    for (name, text) in sources() {
        found.extend(
            words.iter().filter(|word| text.contains(**word)).map(|word| format!("{name}: {word}")),
        );
    }
    none(found, "left undone");
}

#[test]
fn reasons_are_documented() {
    use tidegate::proxy::error::Reason;
    use tidegate::proxy::reply;
    let mut page = String::from(
        "# Reasons\n\nWhy the proxy answers a request itself. The word is the end of a problem document's \
         `type`\n(`urn:tidegate:reason:WORD`), the `reason` of an access record, and the label of\n\
         `tidegate_local_replies_total`. Generated from `src/proxy/error.rs` and `src/proxy/reply.rs`.\n\n\
         | reason | status | meaning |\n| --- | --- | --- |\n",
    );
    for reason in Reason::ALL {
        let (word, status, title) = (reason.as_str(), reply::status(reason), reply::title(reason));
        page += &format!("| `{word}` | {status} | {title} |\n");
    }
    fresh("docs/reasons.md", &page);
}

#[test]
fn metrics_are_documented() {
    use tidegate::telemetry::metrics::{ALL, Kind};
    let mut page = String::from(
        "# Metrics\n\nWhat `GET /metrics` on the admin address shows. Generated from \
         `src/telemetry/metrics.rs`.\n\n| name | type | labels | meaning |\n| --- | --- | --- | --- |\n",
    );
    for metric in ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        page += &format!(
            "| `{}` | {kind} | {} | {} |\n",
            metric.name,
            metric.labels.join(", "),
            metric.help
        );
    }
    fresh("docs/metrics.md", &page);
}

#[track_caller]
fn fresh(page: &str, expect: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expect).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expect, "{page} is stale: run UPDATE_DOCS=1 cargo test");
}
