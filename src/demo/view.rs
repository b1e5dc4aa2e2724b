//! What the demo shows: what to try, a live table, and the sums at the end.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anstyle::{AnsiColor, Style};

use crate::cli::table::{Table, number, text};
use crate::control::Control;
use crate::name::ServiceName;
use crate::telemetry::collector::Telemetry;

use super::traffic::Tally;

/// Commands to try, and what they do.
const COMMANDS: [(&str, &str); 6] = [
    ("cutover shop green", "everyone to green, at once"),
    ("rollback shop", "and back"),
    ("weights shop blue=50 green=50", "half of the users"),
    ("diffs shop", "what the shadow got wrong"),
    ("rollout shop start", "to green step by step, on evidence"),
    ("rollout shop status", "how far it is, and why"),
];
/// Columns of the longest of them.
const COMMAND_WIDTH: usize = "tidegate weights shop blue=50 green=50".len();

/// What stands above the table.
pub fn welcome(web: SocketAddr, admin: SocketAddr, config: &Path) -> String {
    let (bold, off) = (Style::new().bold(), anstyle::Reset);
    let code = AnsiColor::Cyan.on_default();
    let flag = if admin.port() == super::ADMIN_PORT {
        String::new()
    } else {
        format!(" --admin http://{admin}")
    };
    let mut out = format!(
        "{bold}Tidegate demo{off}: a shop in two versions, and a shadow `next` with a planted bug.\n\
         \n  shop     {code}http://{web}/products/7{off}\n  page     {code}http://{admin}/{off}\n  \
         admin    {code}http://{admin}/v1/status{off}\n  metrics  {code}http://{admin}/metrics{off}\n  config   {code}{config}{off} (edit it: live in a second)\n\
         \nTry, in another terminal:\n\n",
        config = config.display(),
    );
    for (command, what) in COMMANDS {
        let line = format!("tidegate {command}{flag}");
        let width = COMMAND_WIDTH + flag.len();
        out += &format!("  {code}{line:<width$}{off}  {what}\n");
    }
    out += &format!(
        "  {code}curl -H 'x-canary: true' http://{web}/products/7{off}\n\
         \n(from a checkout: cargo run --release -- {}{flag})\n\n",
        COMMANDS[0].0
    );
    out
}

/// The table of the moment.
pub async fn live(control: &Control, telemetry: &Telemetry, tally: &Tally) -> String {
    let _ = telemetry.collect(control).await;
    let revision = control.current();
    let mut table =
        Table::new(&["version", "weight", "health", "req/s", "errors", "p50", "p99", "answers"]);
    let answers = tally.by_version();
    let mut footer = String::new();
    for service in &revision.snapshot.services {
        for version in &service.versions {
            let rates = telemetry.rates(version.id);
            let percent = service.traffic.weights.percent(&version.name);
            let well = version.endpoints.iter().filter(|slot| slot.endpoint.is_healthy()).count();
            let health = text(format!("{well}/{}", version.endpoints.len()));
            let millis = |value: Option<f64>| {
                number(value.map_or("-".to_owned(), |ms| format!("{ms:.1}ms")))
            };
            let shadowed = service.shadow.as_ref();
            let shadowed =
                shadowed.is_some_and(|shadow| service.versions[shadow.version].id == version.id);
            let weight = if shadowed { text("shadow") } else { number(format!("{percent}%")) };
            table.row(vec![
                text(version.name.as_str()).bold(),
                weight,
                if well == 0 { health.bad() } else { health.good() },
                number(format!("{:.0}", rates.requests_per_second)),
                number(format!("{:.2}%", rates.error_rate * 100.0)),
                millis(rates.p50_ms),
                millis(rates.p99_ms),
                number(answers.get(version.name.as_str()).copied().unwrap_or(0).to_string()),
            ]);
        }
        footer += &shadow_line(control, &service.name);
    }
    let (answered, failed) = (tally.answered(), tally.failed());
    let _ = writeln!(
        footer,
        "revision {}, {answered} answers, {failed} failed requests",
        revision.number
    );
    table.render() + &footer
}

fn shadow_line(control: &Control, service: &ServiceName) -> String {
    let Some(report) = control.shared.shadows.report(service) else { return String::new() };
    let summary = &report.summary;
    format!("shadow: {} compared, {} mismatched\n", summary.compared, summary.mismatched)
}

/// What stands below the table at the end.
pub fn farewell(tally: &Tally) -> String {
    let failed = tally.failed();
    let mark = if failed == 0 { AnsiColor::Green } else { AnsiColor::Red }.on_default();
    let by_version: Vec<_> =
        tally.by_version().into_iter().map(|(name, count)| format!("{name} {count}")).collect();
    format!(
        "\n{mark}{failed} failed requests{}, {} answered ({})\n",
        mark.render_reset(),
        tally.answered(),
        by_version.join(", ")
    )
}

/// Shows a text over the one before on a terminal, or below it in a pipe.
#[derive(Debug)]
pub struct Screen {
    on_terminal: bool,
    lines: usize,
}

impl Screen {
    /// Nothing is shown yet.
    pub fn new(on_terminal: bool) -> Self {
        Self { on_terminal, lines: 0 }
    }

    /// Shows a text.
    pub fn show(&mut self, text: &str) {
        if self.on_terminal && self.lines > 0 {
            // Up to the first line of the table, and clear what is below.
            anstream::print!("\x1b[{}A\x1b[J", self.lines);
        }
        self.lines = text.lines().count();
        anstream::print!("{text}");
        if !self.on_terminal {
            anstream::println!();
        }
    }
}
