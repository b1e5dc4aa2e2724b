//! `tidegate status`, `revisions`, `events`: what is, and what was.

use http::Method;
use serde_json::Value;

use super::client::{Admin, Failure};
use super::table::{Cell, Table, number, text};

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
                    "warning: the configuration file is not valid; what runs is older"
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

fn notes(service: &Value, version: &str, first: bool) -> Cell {
    let mut notes = Vec::new();
    if service["live"]["shadow"]["version"] == version {
        notes.push(format!("shadow {}%", service["live"]["shadow"]["percent"]));
    }
    if first && !service["live"]["hold"].is_null() {
        notes.push("held".to_owned());
    }
    if first && service["drift"] == true {
        notes.push("drift from the file".to_owned());
    }
    text(notes.join(", ")).warn()
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
        if let Some(reason) = entry["reason"].as_str() {
            what += &format!(" ({reason})");
        }
        let revision = number(entry["revision"].to_string()).bold();
        table.row(vec![revision, text(at), of("author"), of("cause"), text(what)]);
    }
    table.print();
}

/// Follows events until the connection ends.
pub fn events(admin: &Admin) -> Result<u8, Failure> {
    admin.follow("/v1/events", |line| {
        if let Some(data) = line.strip_prefix("data:") {
            println!("{}", data.trim());
        }
    })?;
    Ok(0)
}

/// Exits 0 if the proxy is ready.
pub fn ready(admin: &Admin) -> Result<u8, Failure> {
    admin.call(Method::GET, "/health/ready", None)?;
    Ok(0)
}
