//! `tidegate check`: is this configuration valid?

use std::io::IsTerminal;
use std::path::Path;

use crate::config;

/// Prints what is wrong; returns 1 when the configuration is not valid.
pub fn run(path: &Path, json: bool) -> u8 {
    let loaded = config::load(path, &super::environment);
    let (report, code) = match &loaded {
        Ok(loaded) => (&loaded.warnings, 0),
        Err(report) => (report, super::NO),
    };
    if json {
        println!("{}", report.to_json(code == 0));
        return code;
    }
    eprint!("{}", report.render(std::io::stderr().is_terminal()));
    if let Ok(loaded) = &loaded {
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
