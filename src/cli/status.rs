//! `tidegate status`, `revisions`, `ready`: what is, and what was.

use http::Method;
use serde_json::Value;

use super::client::{Admin, Failure};
use super::table::{Cell, Table, number, percent, text};

/// Prints the services, or one of them.
pub fn status(admin: &Admin, service: Option<&str>) -> Result<u8, Failure> {
    let services = match service {
        Some(name) => vec![admin.call(Method::GET, &format!("/v1/services/{name}"), None)?],
        None => {
            let status = admin.call(Method::GET, "/v1/status", None)?;
            if admin.json {
                println!("{status}");
                return Ok(0);
            }
            if status["config"]["valid"] == Value::Bool(false) {
                anstream::eprintln!(
                    "warning: the configuration file is not valid; what runs is older\n{}",
                    status["config"]["rendered"].as_str().unwrap_or_default()
                );
            }
            status["services"].as_array().cloned().unwrap_or_default()
        }
    };
    if admin.json {
        println!("{}", services.first().unwrap_or(&Value::Null));
        return Ok(0);
    }
    anstream::print!("{}", render(&services));
    Ok(0)
}

/// The table of services.
pub fn render(services: &[Value]) -> String {
    let mut table = Table::new(&[
        "service",
        "version",
        "weight",
        "health",
        "req/s",
        "errors",
        "p50",
        "p99",
        "in flight",
        "",
    ]);
    for service in services {
        let versions = service["versions"].as_object();
        for (place, (name, version)) in versions.into_iter().flatten().enumerate() {
            let first = place == 0;
            table.row(vec![
                text(if first { service["service"].as_str().unwrap_or_default() } else { "" })
                    .bold(),
                text(name),
                weight(service, name),
                health(version),
                number(format!("{:.1}", version["requests_per_second"].as_f64().unwrap_or(0.0))),
                errors(version),
                millis(&version["p50_ms"]),
                millis(&version["p99_ms"]),
                number(in_flight(version).to_string()),
                notes(service, name, first),
            ]);
        }
    }
    table.render()
}

fn weight(service: &Value, version: &str) -> Cell {
    let weights = &service["live"]["weights"];
    let all = weights.as_object().into_iter().flatten();
    let total: f64 = all.filter_map(|(_, weight)| weight.as_f64()).sum();
    let weight = weights[version].as_f64().unwrap_or(0.0);
    let percent = if total > 0.0 { weight * 100.0 / total } else { 0.0 };
    let cell = number(format!("{}%", (percent * 100.0).round() / 100.0));
    if percent > 0.0 { cell.bold() } else { cell }
}

fn health(version: &Value) -> Cell {
    let endpoints = version["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let well = endpoints.iter().filter(|endpoint| endpoint["healthy"] == true).count();
    let cell = text(format!("{well}/{}", endpoints.len()));
    match well {
        0 => cell.bad(),
        _ if well < endpoints.len() => cell.warn(),
        _ => cell.good(),
    }
}

fn errors(version: &Value) -> Cell {
    let rate = version["error_rate"].as_f64().unwrap_or(0.0);
    if rate == 0.0 && version["requests_per_second"].as_f64().unwrap_or(0.0) == 0.0 {
        // Of nothing there is no share; where others serve all of its requests there is one.
        return number("-");
    }
    let cell = number(format!("{:.2}%", rate * 100.0));
    if rate > 0.01 { cell.bad() } else { cell }
}

fn millis(value: &Value) -> Cell {
    number(value.as_f64().map_or("-".to_owned(), |ms| format!("{ms:.1}ms")))
}

fn in_flight(version: &Value) -> u64 {
    let endpoints = version["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
    endpoints.iter().filter_map(|endpoint| endpoint["in_flight"].as_u64()).sum()
}

fn notes(service: &Value, name: &str, first: bool) -> Cell {
    let version = &service["versions"][name];
    let mut notes = Vec::new();
    if service["live"]["shadow"]["version"] == name {
        notes.push(format!("shadow {}", percent(&service["live"]["shadow"]["percent"])));
    }
    if service["rollout"]["to"] == name {
        notes.extend(rollout(&service["rollout"]));
    }
    if version["draining"] == true {
        notes.push("draining".to_owned());
    }
    let endpoints = version["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let count = |is: &dyn Fn(&Value) -> bool| endpoints.iter().filter(|slot| is(slot)).count();
    let drained = count(&|slot| slot["state"] == "draining");
    if drained > 0 && version["draining"] != true {
        notes.push(format!("{drained} of {} endpoints draining", endpoints.len()));
    }
    let ejected = count(&|slot| slot["ejected"] == true);
    if ejected > 0 {
        notes.push(format!("{ejected} of {} endpoints ejected", endpoints.len()));
    }
    if version["origin"].as_str().is_some_and(|origin| origin != "file") {
        notes.push("not in the file".to_owned());
    }
    if first && !service["live"]["hold"].is_null() {
        notes.push("held".to_owned());
    }
    if first && service["drift"] == true {
        notes.push("drift from the file".to_owned());
    }
    text(notes.join(", ")).warn()
}

/// A rollout that is under way, or that was taken back.
fn rollout(rollout: &Value) -> Option<String> {
    let state = rollout["state"].as_str()?;
    let steps = rollout["steps"].as_array().map_or(0, Vec::len);
    let verdict = rollout["verdict"].as_str().unwrap_or_default();
    let way = match rollout["pace"].as_str() {
        Some("evidence") => "paced by evidence".to_owned(),
        _ => format!("step {} of {steps}", rollout["step"]),
    };
    match state {
        "running" | "paused" => Some(format!("rollout {state}, {way}, {verdict}")),
        "rolled_back" => Some("rollout rolled back".to_owned()),
        _ => None,
    }
}

/// Prints the history, newest first.
pub fn revisions(admin: &Admin, service: Option<&str>) -> Result<u8, Failure> {
    let path = match service {
        Some(name) => format!("/v1/revisions?service={name}"),
        None => "/v1/revisions".to_owned(),
    };
    let list = admin.call(Method::GET, &path, None)?;
    match admin.json {
        true => println!("{list}"),
        false => print_revisions(&list),
    }
    Ok(0)
}

/// The table of a history.
pub fn print_revisions(list: &Value) {
    let mut table = Table::new(&["revision", "at (UTC)", "author", "cause", "what changed"]);
    for entry in list.as_array().into_iter().flatten() {
        let changes = entry["changes"].as_array().into_iter().flatten();
        let changes: Vec<_> = changes.filter_map(|change| change["text"].as_str()).collect();
        let of = |key: &str| text(entry[key].as_str().unwrap_or_default());
        // To the second: what is finer is in the JSON.
        let at = entry["at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let at = at.map(|at| at.strftime("%F %T").to_string()).unwrap_or_default();
        let mut what = changes.join("; ");
        // A rollout's reason is already told with what it did.
        let reason = entry["reason"].as_str().filter(|reason| !what.contains(reason));
        if let Some(reason) = reason {
            what += &format!(" ({reason})");
        }
        let revision = number(entry["revision"].to_string()).bold();
        table.row(vec![revision, text(at), of("author"), of("cause"), text(what)]);
    }
    table.print();
}

/// Exits 0 if the proxy is ready.
pub fn ready(admin: &Admin) -> Result<u8, Failure> {
    let answer = admin.call(Method::GET, "/health/ready", None);
    let (told, code) = match answer {
        Ok(told) => (told, 0),
        // What is not ready says so in its own words, not as a problem.
        Err(Failure::No { status: 503, problem }) => (problem, super::NO),
        Err(failure) => return Err(failure),
    };
    let phase = told["phase"].as_str().unwrap_or("unknown");
    match (admin.json, code) {
        (true, _) => println!("{told}"),
        (false, 0) => println!("ready"),
        (false, _) => println!("not ready: {phase}"),
    }
    Ok(code)
}
