//! The verbs that change traffic: weights, cutover, rollback, shadow, hold, drain, deploy, reload.

use http::Method;
use serde_json::{Map, Value, json};

use super::client::{Admin, Failure};
use super::table::{Table, number, text};

fn usage(text: String) -> Failure {
    Failure::Unreachable(text)
}

pub(super) fn path(service: &str, rest: &str, dry_run: bool) -> String {
    let query = if dry_run { "?dry_run=true" } else { "" };
    format!("/v1/services/{service}/{rest}{query}")
}

/// Prints what a change did.
pub(super) fn done(admin: &Admin, answer: &Value, words: &str) -> u8 {
    if admin.json {
        println!("{answer}");
        return 0;
    }
    let unchanged = answer["unchanged"] == true;
    let dry = answer["dry_run"] == true;
    let head = match (dry, unchanged) {
        (true, _) => "dry run, nothing was changed".to_owned(),
        (_, true) => format!("unchanged at revision {}", answer["revision"]),
        _ => format!("{words}: revision {}", answer["revision"]),
    };
    anstream::println!("{head}");
    for change in answer["changes"].as_array().into_iter().flatten() {
        if let Some(line) = change["text"].as_str() {
            anstream::println!("  {line}");
        }
    }
    let moves = answer["moves"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !moves.is_empty() {
        let mut table = Table::new(&["users move from", "to", "share"]);
        for step in moves {
            let share = step["percent"].as_f64().unwrap_or(0.0);
            let of = |key: &str| text(step[key].as_str().unwrap_or_default());
            table.row(vec![of("from"), of("to"), number(format!("{share:.2}%"))]);
        }
        table.print();
    }
    for change in answer["changes"].as_array().into_iter().flatten() {
        if change["to"].as_object().is_some_and(Map::is_empty) {
            anstream::eprintln!(
                "warning: no version of {} has weight: its requests are answered with 503",
                change["service"].as_str().unwrap_or_default()
            );
        }
    }
    if answer["persisted"] == false && !dry && !unchanged {
        anstream::eprintln!("warning: the change is live and could not be written to disk");
    }
    0
}

/// Sets weights.
pub fn weights(admin: &Admin, service: &str, pairs: &[String], dry: bool) -> Result<u8, Failure> {
    let mut weights = Map::new();
    for pair in pairs {
        let wrong = || usage(format!("`{pair}` is no weight; write VERSION=NUMBER, e.g. blue=90"));
        let (version, weight) = pair.split_once('=').ok_or_else(wrong)?;
        let weight: u32 = weight.parse().map_err(|_| wrong())?;
        if weights.insert(version.to_owned(), weight.into()).is_some() {
            return Err(usage(format!("`{version}` is given twice")));
        }
    }
    let body = Value::Object(weights);
    let answer = admin.call(Method::PUT, &path(service, "weights", dry), Some(&body))?;
    Ok(done(admin, &answer, "weights set"))
}

/// Moves everything to one version.
pub fn cutover(
    admin: &Admin,
    (service, version): (&str, &str),
    drain: Option<&str>,
    force: bool,
    dry: bool,
) -> Result<u8, Failure> {
    let mut body = json!({ "to": version, "force": force });
    if let Some(drain) = drain {
        body["drain"] = drain.into();
    }
    let answer = admin.call(Method::POST, &path(service, "cutover", dry), Some(&body))?;
    done(admin, &answer, &format!("{service} is on {version}"));
    if !admin.json && !dry && answer["unchanged"] != true {
        let micros = answer["switched_in_us"].as_f64().unwrap_or(0.0);
        anstream::println!("  switched on every worker in {:.2} ms", micros / 1e3);
        let drained = match answer["drained"].as_bool() {
            Some(true) => "all requests of the old version are done".to_owned(),
            Some(false) => format!("{} still in flight", answer["in_flight_on_old"]),
            None => format!("{} in flight on the old version", answer["in_flight_on_old"]),
        };
        anstream::println!("  {drained}");
    }
    Ok(0)
}

/// Puts earlier traffic back.
pub fn rollback(admin: &Admin, service: &str, to: Option<u64>, dry: bool) -> Result<u8, Failure> {
    let body = to.map(|to| json!({ "to": to }));
    let answer = admin.call(Method::POST, &path(service, "rollback", dry), body.as_ref())?;
    Ok(done(admin, &answer, &format!("{service} rolled back")))
}

/// Starts or stops mirroring.
pub fn shadow(
    admin: &Admin,
    service: &str,
    version: &str,
    percent: Option<f64>,
    secondary: Option<&str>,
) -> Result<u8, Failure> {
    if version == "off" {
        let answer = admin.call(Method::DELETE, &path(service, "shadow", false), None)?;
        return Ok(done(admin, &answer, &format!("{service} has no shadow")));
    }
    let mut body = json!({ "version": version });
    if let Some(percent) = percent {
        body["percent"] = percent.into();
    }
    if let Some(secondary) = secondary {
        body["secondary"] = secondary.into();
    }
    let answer = admin.call(Method::PUT, &path(service, "shadow", false), Some(&body))?;
    Ok(done(admin, &answer, &format!("{service} is mirrored to {version}")))
}

/// Makes requests wait.
pub fn hold(
    admin: &Admin,
    service: &str,
    max_wait: Option<&str>,
    max_requests: Option<u32>,
) -> Result<u8, Failure> {
    let mut body = json!({});
    if let Some(wait) = max_wait {
        body["max_wait"] = wait.into();
    }
    if let Some(max) = max_requests {
        body["max_requests"] = max.into();
    }
    let answer = admin.call(Method::POST, &path(service, "hold", false), Some(&body))?;
    Ok(done(admin, &answer, &format!("{service} is held")))
}

/// Lets held requests go.
pub fn release(admin: &Admin, service: &str) -> Result<u8, Failure> {
    let answer = admin.call(Method::POST, &path(service, "release", false), None)?;
    Ok(done(admin, &answer, &format!("{service} is released")))
}

/// Drains, or stops draining, a version or an endpoint of it.
pub fn drain(
    admin: &Admin,
    (service, version): (&str, &str),
    endpoint: Option<&str>,
    verb: &str,
) -> Result<u8, Failure> {
    let body = endpoint.map(|endpoint| json!({ "endpoint": endpoint }));
    let rest = format!("versions/{version}/{verb}");
    let answer = admin.call(Method::POST, &path(service, &rest, false), body.as_ref())?;
    Ok(done(admin, &answer, &format!("{verb} of {version}")))
}

/// Registers a version, waits until it is healthy, and may cut over to it.
pub fn deploy(
    admin: &Admin,
    (service, version): (&str, &str),
    endpoints: &[String],
    cutover_too: bool,
    (health, wait): (Option<&str>, Option<&str>),
) -> Result<u8, Failure> {
    let mut body = json!({ "endpoints": endpoints, "cutover": cutover_too });
    if let Some(path) = health {
        body["health"] = json!({ "path": path });
    }
    if let Some(wait) = wait {
        body["wait"] = wait.into();
    }
    let rest = format!("versions/{version}");
    let answer = admin.call(Method::PUT, &path(service, &rest, false), Some(&body))?;
    Ok(done(admin, &answer, &format!("{version} of {service} is deployed")))
}

/// Has the file read now.
pub fn reload(admin: &Admin) -> Result<u8, Failure> {
    let answer = admin.call(Method::POST, "/v1/reload", None)?;
    Ok(done(admin, &answer, "reloaded"))
}
