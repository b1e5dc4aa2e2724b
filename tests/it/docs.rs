//! What the pages tell people to write, to type and to open is right.
//!
//! A block marked `toml` is a whole configuration; one marked `toml,service` is completed by a
//! listener, a route, weights and the versions `blue` and `green` of the service `shop`. In a block marked
//! `console` or `sh`, every line that begins with `tidegate` (perhaps after `$ `) is a command line of this
//! program, up to ` && ` or a comment.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tidegate::{cli, config};

const AROUND_A_SERVICE: &str = r#"
[[listener]]
name = "web"
address = "127.0.0.1:8080"
[[route]]
service = "shop"
[service.shop.version.blue]
endpoints = ["127.0.0.1:9001"]
[service.shop.version.green]
endpoints = ["127.0.0.1:9003"]
"#;

/// For a block that does not speak of them.
const WEIGHTS: &str = "[service.shop]\nweights = { blue = 100, green = 0 }\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, with its name relative to the repository.
fn pages() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/decisions", "loadtests", "config"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// The fenced blocks of a page: what they are marked with, and their text.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut found: Vec<(&str, String)> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(mark) if !inside => found.push((mark, String::new())),
            Some(_) => {}
            None if inside => {
                let (_, text) = found.last_mut().unwrap();
                *text += line;
                text.push('\n');
            }
            None => {}
        }
        inside ^= line.starts_with("```");
    }
    found
}

#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_configuration_on_a_page_is_taken_without_a_warning() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (page, text) in pages() {
        for (mark, block) in blocks(&text) {
            let whole = match mark {
                "toml" => block,
                "toml,service" if block.contains("weights") => block + AROUND_A_SERVICE,
                "toml,service" => block + AROUND_A_SERVICE + WEIGHTS,
                _ => continue,
            };
            seen += 1;
            let environment = |_: &str| None;
            match config::parse(&whole, &page, &environment) {
                Ok(parsed) if parsed.warnings.is_empty() => {}
                Ok(parsed) => wrong.push(parsed.warnings.to_string()),
                Err(report) => wrong.push(report.to_string()),
            }
        }
    }
    none(&wrong);
    assert!(seen >= 4, "only {seen} blocks were found");
}

/// `full.toml` shows keys that are checked and not carried out yet, with a warning that says so.
#[test]
fn every_example_is_taken() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for entry in std::fs::read_dir(root().join("config")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        seen += 1;
        match config::parse(&text, &path, &|_: &str| None) {
            Ok(parsed) if parsed.warnings.is_empty() || path.ends_with("full.toml") => {}
            Ok(parsed) => wrong.push(parsed.warnings.to_string()),
            Err(report) => wrong.push(report.to_string()),
        }
    }
    none(&wrong);
    assert!(seen >= 7, "only {seen} examples were found");
}

/// The lines of the examples' comments that are commands are right too.
#[test]
fn every_command_in_an_example_is_one_of_ours() {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(root().join("config")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("#   tidegate ")) {
            if let Err(error) = cli::check_usage(&words(line)) {
                wrong.push(format!("{}: tidegate {line}\n{error}", path.display()));
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_command_on_a_page_is_one_of_ours() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (page, text) in pages() {
        for (_, block) in blocks(&text).iter().filter(|(mark, _)| ["console", "sh"].contains(mark))
        {
            let lines = block.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line));
            for line in lines.filter_map(|line| line.strip_prefix("tidegate ")) {
                seen += 1;
                let line = line.split(" && ").next().unwrap();
                let line = line.split(" #").next().unwrap();
                if let Err(error) = cli::check_usage(&words(line)) {
                    wrong.push(format!("{}: tidegate {line}\n{error}", page.display()));
                }
            }
        }
    }
    none(&wrong);
    assert!(seen >= 10, "only {seen} commands were found");
}

/// Splits at spaces outside single quotes, as a shell does.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('\'').enumerate();
    let mut found = Vec::new();
    for (place, part) in quoted {
        match place % 2 {
            0 => found.extend(part.split_whitespace().map(str::to_owned)),
            _ => found.push(part.to_owned()),
        }
    }
    found
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            let is_outside = target.contains("://") || target.is_empty();
            let folder = root().join(page.parent().unwrap());
            if !is_outside && !folder.join(target).exists() {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_pages_that_people_look_for_are_there() {
    let pages = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md"];
    for page in pages.iter().chain(&["LICENSE"]) {
        assert!(root().join(page).is_file(), "{page}");
    }
}

/// The names of all tests: functions behind a line that makes them one.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join("src"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let marked = text.split("test]\n").chain(text.split("test(")).skip(1);
                let names = marked.filter_map(|rest| rest.split_once("fn ")?.1.split('(').next());
                found.extend(names.map(str::to_owned));
            }
        }
    }
    found
}

#[test]
fn every_promise_of_security_has_a_test() {
    let page = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let promises = page.split("## Promises").nth(1).unwrap().split("\n## ").next().unwrap();
    let (tests, mut wrong, mut seen) = (tests(), Vec::new(), 0);
    for row in promises.lines().filter(|line| line.starts_with("| ") && line.ends_with(" |")) {
        let (promise, proof) = row.trim_matches(['|', ' ']).rsplit_once(" | ").unwrap();
        if ["proof", "---"].contains(&proof) {
            continue;
        }
        seen += 1;
        let named: Vec<_> = proof.split_whitespace().map(|name| name.trim_matches('`')).collect();
        if named.is_empty() {
            wrong.push(format!("nothing proves: {promise}"));
        }
        let missing = named.iter().filter(|name| !tests.contains(**name));
        wrong.extend(missing.map(|name| format!("there is no test `{name}` for: {promise}")));
    }
    none(&wrong);
    assert!(seen >= 30, "only {seen} promises were found");
}

#[test]
fn the_map_of_the_code_shows_every_room() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let map = map.split("## Code map").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut missing = Vec::new();
    for entry in std::fs::read_dir(root().join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.trim_end_matches(".rs");
        let forms = [format!("`{name}`"), format!("`{name}.rs`"), format!("`{name}/`")];
        if !["lib", "main"].contains(&name) && !forms.iter().any(|form| map.contains(form)) {
            missing.push(format!("ARCHITECTURE.md does not show {name}"));
        }
    }
    none(&missing);
}

#[test]
fn the_readme_says_the_two_commands_that_everything_begins_with() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let commands: Vec<_> = blocks(&readme).into_iter().map(|(_, text)| text).collect();
    for command in ["cargo run --release -- demo\n", "cargo test\n"] {
        assert!(commands.iter().any(|text| text == command), "{command}");
    }
}
