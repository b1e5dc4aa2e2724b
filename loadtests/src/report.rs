//! How are results shown, and when is a promise broken?

use std::io::{IsTerminal, Write};

use serde::Serialize;
use serde_json::Value;

use crate::plot::Panel;

/// Everything a scenario found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: &'static str,
    /// Machine and kernel.
    pub machine: String,
    /// Who was measured, and what was left out.
    pub notes: Vec<String>,
    /// Figures for people.
    pub tables: Vec<Table>,
    /// What must hold, and whether it did.
    pub promises: Vec<Promise>,
    /// What a plot of it shows.
    #[serde(skip)]
    pub panels: Vec<Panel>,
    /// Figures for programs.
    pub figures: Value,
}

impl Report {
    /// An empty report.
    pub fn new(scenario: &'static str) -> Self {
        let machine = crate::machine::describe();
        let (notes, tables, promises) = (Vec::new(), Vec::new(), Vec::new());
        let (panels, figures) = (Vec::new(), Value::Null);
        Report { scenario, machine, notes, tables, promises, panels, figures }
    }

    /// Says who is measured or what is left out, and why.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Adds what must hold; the scenario fails when it does not.
    pub fn promise(&mut self, text: impl Into<String>, held: bool, found: impl Into<String>) {
        let (text, found) = (text.into(), found.into());
        self.promises.push(Promise { text, held, binding: true, found });
    }

    /// Adds what is hoped for; it is shown, and decides nothing: such figures depend on the machine.
    pub fn target(&mut self, text: impl Into<String>, met: bool, found: impl Into<String>) {
        let (text, found) = (text.into(), found.into());
        self.promises.push(Promise { text, held: met, binding: false, found });
    }

    /// Whether every binding promise held.
    pub fn holds(&self) -> bool {
        self.promises.iter().all(|promise| promise.held || !promise.binding)
    }

    /// The report as text.
    pub fn text(&self) -> String {
        let mut text = format!("{}  ({})\n", self.scenario, self.machine);
        for note in &self.notes {
            text.push_str(&format!("  {note}\n"));
        }
        for table in &self.tables {
            text.push('\n');
            text.push_str(&table.text());
        }
        text.push('\n');
        for promise in &self.promises {
            let mark = match (promise.binding, promise.held) {
                (true, true) => "ok    ",
                (true, false) => "BROKEN",
                (false, true) => "met   ",
                (false, false) => "missed",
            };
            text.push_str(&format!("{mark}  {}: {}\n", promise.text, promise.found));
        }
        text
    }
}

/// Something that must hold, or that is hoped for.
#[derive(Debug, Serialize)]
pub struct Promise {
    /// What was promised.
    pub text: String,
    /// Whether it held.
    pub held: bool,
    /// Whether the scenario fails without it.
    pub binding: bool,
    /// What was found.
    pub found: String,
}

/// Rows of text under headings.
#[derive(Debug, Serialize)]
pub struct Table {
    /// What the table shows.
    pub title: String,
    /// Column headings.
    pub columns: Vec<String>,
    /// Cells, as many in a row as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|c| (*c).to_owned()).collect();
        Table { title: title.into(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The first column to the left, figures to the right, all aligned.
    pub fn text(&self) -> String {
        let rows = || std::iter::once(&self.columns).chain(&self.rows);
        let width = |column: usize| {
            rows().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> =
            (0..self.columns.len()).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = format!("{}\n", self.title);
        for row in rows() {
            let cells = row.iter().zip(&widths).enumerate().map(|(index, (cell, width))| {
                if index == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Shows on a terminal what is going on; says nothing into a pipe.
pub fn progress(text: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // Progress that cannot be shown is no reason to stop.
        let _ = writeln!(stderr, "… {text}");
    }
}

/// A whole number with commas between thousands.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < -0.5 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new("Rates", &["peer", "req/s"]);
        table.row(["nginx".to_owned(), "5".to_owned()]);
        table.row(["a".to_owned(), "12,345".to_owned()]);
        assert_eq!(table.text(), "Rates\n  peer    req/s\n  nginx       5\n  a      12,345\n");
    }

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in
            [(0.0, "0"), (999.4, "999"), (1000.0, "1,000"), (-1234567.0, "-1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_missed_target_does_not_break_a_report() {
        let mut report = Report::new("x");
        report.target("fast", false, "slow");
        assert!(report.holds());
        report.promise("whole", false, "1 failed");
        assert!(!report.holds());
        assert!(report.text().contains("BROKEN  whole: 1 failed"));
    }
}
