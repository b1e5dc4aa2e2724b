//! `tidegate check`: is this configuration valid?

use std::io::IsTerminal;
use std::path::Path;

use serde_json::json;

use crate::app;
use crate::config;

/// Prints what is wrong, in the configuration or in the files that it names; returns 1 when anything is.
pub fn run(path: &Path, json: bool) -> u8 {
    let loaded = config::load(path, &super::environment);
    let (report, stumbles) = match &loaded {
        Ok(loaded) => (&loaded.warnings, app::rehearse(&loaded.config)),
        Err(report) => (report, Vec::new()),
    };
    let valid = loaded.is_ok() && stumbles.is_empty();
    let code = if valid { 0 } else { super::NO };
    if json {
        let mut told = report.to_json(valid);
        if let Some(diagnostics) = told["diagnostics"].as_array_mut() {
            diagnostics.extend(stumbles.iter().map(|message| {
                json!({ "severity": "error", "file": path.display().to_string(), "message": message })
            }));
        }
        println!("{told}");
        return code;
    }
    eprint!("{}", report.render(std::io::stderr().is_terminal()));
    stumbles.iter().for_each(|message| eprintln!("error: {message}"));
    if let (Ok(loaded), true) = (&loaded, valid) {
        let (services, routes) = (loaded.config.services.len(), loaded.config.routes.len());
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        println!(
            "{} is valid: {}, {}, {}",
            path.display(),
            count(loaded.config.listeners.len(), "listener"),
            count(services, "service"),
            count(routes, "route"),
        );
    }
    code
}
