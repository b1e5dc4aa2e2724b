//! The architecture as a test: who may name what, and how large a room may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What decides, and therefore touches nothing.
const PURE: &[&str] = &[
    "src/h1/",
    "src/route/",
    "src/split/",
    "src/diff/",
    "src/rollout/evidence/",
    "src/rollout/gate.rs",
    "src/rollout/keeper.rs",
    "src/rollout/machine.rs",
    "src/rollout/simulation/",
    "src/weight.rs",
    "src/name.rs",
    "src/traffic.rs",
    "src/plan.rs",
    "src/proxy_header.rs",
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

/// The part of a file that ships: tests stand at its end. (`mod tests;` names a file of its own.)
fn shipped(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

#[track_caller]
fn none(found: Vec<String>, what: &str) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn unsafe_stands_in_one_place() {
    let unsafe_code =
        |text: &str| text.matches("unsafe {").count() + text.matches("unsafe fn").count();
    let places = sources().into_iter().map(|(name, text)| (name, unsafe_code(&text)));
    let places: Vec<_> = places.filter(|(_, count)| *count > 0).collect();
    assert_eq!(places, [("src/net.rs".to_owned(), 1)]);
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
    ("std::env::set_var", &[]),
    ("process::exit", &[]),
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

/// What each module may name of the others: the vocabulary first, then what decides, what holds
/// state, what carries bytes, what changes it, and what operators see. A name that nothing uses any
/// more is taken out, so that the table only ever says what is so.
const IMPORTS: &[(&str, &str)] = &[
    ("limits", ""),
    ("clock", ""),
    ("phase", ""),
    ("watch", "limits"),
    ("background", ""),
    ("name", "limits"),
    ("weight", "limits name"),
    ("h1", "limits"),
    ("route", "h1 name"),
    ("split", "h1 limits name route weight"),
    ("diff", "h1 limits"),
    ("traffic", "diff h1 name plan rollout split weight"),
    ("proxy_header", "limits"),
    ("plan", "h1 name proxy_header route split traffic weight"),
    ("snapshot", "diff name plan route split traffic upstream"),
    ("upstream", "clock limits name net plan proxy_header snapshot"),
    ("net", "upstream"),
    ("certs", "client_trust plan"),
    ("client_cert", "limits"),
    ("client_trust", "clock plan upstream"),
    (
        "config",
        "client_trust diff h1 limits name plan proxy_header route snapshot split traffic upstream \
         weight",
    ),
    ("revision", "h1 limits name plan proxy_header rollout snapshot split traffic weight"),
    ("shadow", "clock diff h1 limits name net proxy snapshot traffic upstream"),
    (
        "proxy",
        "certs client_cert clock h1 limits name net plan proxy_header revision rollout route shadow snapshot \
         split upstream",
    ),
    ("explain", "h1 limits name plan proxy route snapshot split upstream"),
    ("control", "background clock config limits name proxy revision route snapshot traffic"),
    (
        "operations",
        "clock config control name plan revision rollout snapshot split telemetry traffic \
         upstream weight",
    ),
    ("rollout", "clock control limits name operations plan snapshot telemetry weight"),
    ("telemetry", "clock control limits name operations proxy rollout shadow snapshot upstream"),
    (
        "admin",
        "clock config control diff explain h1 limits name net operations phase plan revision \
         rollout shadow snapshot telemetry traffic upstream weight",
    ),
    (
        "app",
        "admin certs clock config control limits name net operations phase plan proxy revision \
         rollout route shadow snapshot telemetry traffic upstream watch",
    ),
    ("demo", "app cli clock control name net telemetry"),
    ("cli", "admin app clock config control demo diff h1 net plan revision rollout"),
    ("main", ""),
];

/// The module at the top of the tree that a file belongs to.
fn module(name: &str) -> &str {
    let inside = name.trim_start_matches("src/");
    inside.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The lines of a file that ship and are no comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    shipped(text).lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The words behind `crate::` in a line.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn modules_name_only_whom_they_may() {
    let mut used = BTreeMap::<String, BTreeSet<String>>::new();
    for (file, text) in sources() {
        if is_test(&file) || file == "src/lib.rs" {
            continue;
        }
        let own = module(&file);
        let names = code(&text).flat_map(named).filter(|name| *name != own).map(str::to_owned);
        used.entry(own.to_owned()).or_default().extend(names);
    }
    let allowed = IMPORTS.iter().map(|(own, names)| {
        (own.to_string(), names.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>())
    });
    let allowed: BTreeMap<_, _> = allowed.collect();
    let mut found = Vec::new();
    for own in used.keys().chain(allowed.keys()).collect::<BTreeSet<_>>() {
        let (Some(used), Some(allowed)) = (used.get(own), allowed.get(own)) else {
            found.push(format!("{own} stands in only one of the source and the table"));
            continue;
        };
        found.extend(used.difference(allowed).map(|name| format!("{own} must not name {name}")));
        found.extend(allowed.difference(used).map(|name| format!("{own} does not name {name}")));
    }
    none(found, "imports that are not as in the table");
}

/// Files that start something that runs beside them: each owns and ends what it starts.
const SPAWNERS: &[&str] = &[
    "src/admin/mod.rs",
    "src/admin/server.rs",
    "src/app.rs",
    "src/background.rs",
    "src/cli/client.rs",
    "src/cli/compare.rs",
    "src/cli/simulate.rs",
    "src/demo/shop.rs",
    "src/demo/traffic.rs",
    "src/proxy/hold.rs",
    "src/proxy/http2/crew.rs",
    "src/proxy/listener.rs",
    "src/proxy/record.rs",
    "src/proxy/shared_h2.rs",
    "src/proxy/worker.rs",
    "src/shadow/tap.rs",
    "src/upstream/prober.rs",
    "src/upstream/resolver.rs",
    "src/watch.rs",
];

#[test]
fn who_starts_tasks_is_known() {
    let is_start = |line: &str| line.contains("spawn(") || line.contains("spawn_local(");
    let starts = |text: &str| code(text).any(is_start);
    let files: Vec<_> = sources().into_iter().filter(|(name, _)| !is_test(name)).collect();
    let spawning = files.iter().filter(|(_, text)| starts(text)).map(|(name, _)| name.as_str());
    assert_eq!(spawning.collect::<Vec<_>>(), SPAWNERS);
}

/// Where types are read and written as JSON; everywhere else a type of the domain is just that.
const SERIALIZED: &[&str] = &["src/admin/", "src/revision/persist", "src/rollout/kept.rs"];

#[test]
fn the_domain_is_not_a_file_format() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let is_derive = |line: &&str| line.contains("derive(") && line.contains("erialize");
        if !is_test(&name) && !SERIALIZED.iter().any(|owner| name.starts_with(owner)) {
            found.extend(code(&text).filter(is_derive).map(|line| format!("{name}: {line}")));
        }
    }
    none(found, "derives of serde outside their files");
}

#[test]
fn only_commands_print() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let commands = ["src/cli/", "src/demo/", "src/main.rs"];
        if !is_test(&name) && !commands.iter().any(|owner| name.starts_with(owner)) {
            let prints = |line: &&str| line.contains("print!(") || line.contains("println!(");
            found.extend(code(&text).filter(prints).map(|line| format!("{name}: {line}")));
        }
    }
    none(found, "prints outside the commands");
}

#[test]
fn every_bound_stands_in_one_file_and_says_why() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let is_bound = |line: &&str| {
            let words = line.trim_start().trim_start_matches("pub ").strip_prefix("const ");
            let bound = words.and_then(|rest| rest.split(':').next());
            bound.is_some_and(|bound| bound.ends_with("_MAX") || bound.ends_with("_KEPT"))
        };
        if name != "src/limits.rs" && !is_test(&name) {
            found.extend(code(&text).filter(is_bound).map(|line| format!("{name}: {line}")));
        }
    }
    none(found, "bounds outside limits.rs");
    let limits = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/limits.rs"));
    let limits = limits.unwrap();
    let lines: Vec<_> = limits.lines().collect();
    let bare = lines.windows(2).filter(|pair| pair[1].starts_with("pub const "));
    let bare = bare.filter(|pair| !pair[0].starts_with("///")).map(|pair| pair[1].to_owned());
    none(bare.collect(), "bounds without a reason");
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
    use tidegate::proxy::error::{Reason, Refusal};
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
    page += "\n## Connections\n\nWhy a connection is never taken, or ends for a reason that is no request's: the label of\n\
             `tidegate_connections_refused_total`. It is closed without an answer.\n\n\
             | reason | meaning |\n| --- | --- |\n";
    for refusal in Refusal::ALL {
        page += &format!("| `{}` | {} |\n", refusal.as_str(), refusal.title());
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
pub fn fresh(page: &str, expect: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expect).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expect, "{page} is stale: run UPDATE_DOCS=1 cargo test");
}
