//! `tidegate export` and offline `revisions`: live traffic as a file, and history without a proxy.

use std::path::{Path, PathBuf};

use http::Method;
use serde_json::{Value, json};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, value};

use super::client::{Admin, Failure};
use super::status;
use crate::revision::journal::Journal;

/// Prints the configuration with the live traffic in it, or writes it back.
pub fn run(admin: &Admin, config: Option<&Path>, write: bool) -> Result<u8, Failure> {
    let live = admin.call(Method::GET, "/v1/status", None)?;
    let path = match (config, live["config"]["path"].as_str()) {
        (Some(path), _) => path.to_owned(),
        (None, Some(path)) => PathBuf::from(path),
        (None, None) => return Err(usage("name the file with -c PATH".into())),
    };
    if path.is_dir() {
        return Err(usage(format!(
            "{} is a directory; name the file in it that holds the services",
            path.display()
        )));
    }
    let shown = path.display();
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|error| usage(format!("cannot read {shown}: {error}")))?;
    let mut document: DocumentMut =
        text.parse().map_err(|error| usage(format!("{shown} is no TOML: {error}")))?;
    let mut changed = Vec::new();
    for service in live["services"].as_array().into_iter().flatten() {
        let name = service["service"].as_str().unwrap_or_default();
        if service["drift"] == true && put(&mut document, service) {
            changed.push(name.to_owned());
        }
    }
    let text = document.to_string();
    if write {
        write_whole(&path, &text)
            .map_err(|error| usage(format!("cannot write {shown}: {error}")))?;
    }
    if admin.json {
        let file = shown.to_string();
        let told = json!({ "file": file, "services": changed, "written": write, "text": text });
        println!("{told}");
    } else if !write {
        print!("{text}");
    } else {
        println!(
            "{shown}: traffic of {} written",
            if changed.is_empty() { "no service".into() } else { changed.join(", ") }
        );
    }
    Ok(0)
}

fn usage(text: String) -> Failure {
    Failure::Unreachable(text)
}

/// Puts a service's live traffic into the document; false when it is not declared there. Comments
/// beside what is replaced stay.
fn put(document: &mut DocumentMut, service: &Value) -> bool {
    let name = service["service"].as_str().unwrap_or_default();
    let declared = document.get_mut("service").and_then(|services| services.get_mut(name));
    let Some(table) = declared.and_then(Item::as_table_like_mut) else { return false };
    put_versions(table, &service["versions"]);
    let mut weights = InlineTable::new();
    for (version, weight) in service["live"]["weights"].as_object().into_iter().flatten() {
        weights.insert(version, weight.as_i64().unwrap_or(0).into());
    }
    replace(table, "weights", weights.into());
    let shadow = &service["live"]["shadow"];
    if shadow.is_null() {
        table.remove("shadow");
    } else if let Some(version) = shadow["version"].as_str() {
        let entry = table.entry("shadow").or_insert_with(toml_edit::table);
        if let Some(entry) = entry.as_table_like_mut() {
            replace(entry, "version", version.into());
            replace(entry, "percent", shadow["percent"].as_f64().unwrap_or(100.0).into());
            match shadow["secondary"].as_str() {
                Some(secondary) => replace(entry, "secondary", secondary.into()),
                None => drop(entry.remove("secondary")),
            }
        }
    }
    true
}

/// Declares the versions that were registered at run time, checked and spoken to as the first one
/// in the file is: so did the deploy.
fn put_versions(table: &mut dyn TableLike, versions: &Value) {
    let declared = table.entry("version").or_insert_with(toml_edit::table);
    let Some(declared) = declared.as_table_like_mut() else { return };
    let model = declared.iter().find_map(|(_, version)| version.as_table_like());
    let kept = |key: &str| Some((key.to_owned(), model?.get(key)?.clone()));
    let inherited: Vec<_> =
        ["protocol", "health", "outlier"].into_iter().filter_map(kept).collect();
    for (name, version) in versions.as_object().into_iter().flatten() {
        if declared.contains_key(name) {
            continue;
        }
        let endpoints = version["endpoints"].as_array().into_iter().flatten();
        let addresses = endpoints.filter_map(|endpoint| endpoint["address"].as_str());
        let mut added = Table::new();
        added.insert("endpoints", value(addresses.collect::<Array>()));
        added.extend(inherited.iter().cloned());
        declared.insert(name, Item::Table(added));
    }
}

/// Gives a key a value and keeps the comments around what stood there.
fn replace(table: &mut dyn TableLike, key: &str, mut new: toml_edit::Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => drop(table.insert(key, value(new))),
    }
}

/// Replaces a file in one step, so that the watcher never sees half of it.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let next = path.with_extension("toml.next");
    std::fs::write(&next, text)?;
    std::fs::rename(&next, path)
}

/// Prints the history in a state directory.
pub fn revisions(state: &Path, service: Option<&str>, as_json: bool) -> Result<u8, Failure> {
    let entries = Journal::read_only(state).map_err(|error| usage(error.to_string()))?;
    let named = |entry: &crate::revision::Entry| {
        service
            .is_none_or(|name| entry.changes.iter().any(|change| change.service.as_str() == name))
    };
    let list: Vec<Value> = entries
        .iter()
        .rev()
        .filter(|entry| named(entry))
        .map(|entry| {
            let changes: Vec<_> = entry
                .changes
                .iter()
                .map(|change| json!({ "service": change.service.as_str(), "text": change.to_string() }))
                .collect();
            json!({
                "revision": entry.number, "at": entry.at.to_string(), "author": entry.author,
                "cause": entry.cause, "reason": entry.reason, "changes": changes,
            })
        })
        .collect();
    match as_json {
        true => println!("{}", Value::from(list)),
        false => status::print_revisions(&Value::from(list)),
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_traffic_goes_into_the_file_and_comments_stay() {
        let text = "# mine\n[service.shop]\n# above\nweights = { blue = 1 } # why\n\
                    [service.shop.shadow]\nversion = \"b\"\n[service.shop.version.blue]\n\
                    endpoints = [\"a:1\"]\nhealth = { path = \"/h\" }\n";
        let mut document: DocumentMut = text.parse().unwrap();
        let mut live = json!({
            "service": "shop",
            "live": { "weights": { "blue": 20, "green": 80 }, "shadow": null },
            "versions": {
                "blue": { "endpoints": [{ "address": "other:1" }] },
                "green": { "endpoints": [{ "address": "b:1" }, { "address": "b:2" }] },
            },
        });
        assert!(put(&mut document, &live));
        let expect = "# mine\n[service.shop]\n# above\nweights = { blue = 20, green = 80 } # why\n\
                      [service.shop.version.blue]\nendpoints = [\"a:1\"]\n\
                      health = { path = \"/h\" }\n\n[service.shop.version.green]\n\
                      endpoints = [\"b:1\", \"b:2\"]\nhealth = { path = \"/h\" }\n";
        assert_eq!(document.to_string(), expect);
        live["service"] = "other".into();
        assert!(!put(&mut document, &live));
    }
}
