//! Tables and words for people: aligned, coloured on a terminal, plain in a pipe.

use anstyle::{AnsiColor, Style};
use serde_json::Value;

/// Rows under a head, aligned by column.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

/// A text with a style.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    text: String,
    style: Style,
    right: bool,
}

/// A plain cell.
pub fn text(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), ..Cell::default() }
}

/// A cell of a number, to the right.
pub fn number(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), right: true, ..Cell::default() }
}

/// A percentage of JSON, without a fraction that is none.
pub fn percent(value: &Value) -> String {
    let percent = value.as_f64().unwrap_or_default();
    format!("{}%", (percent * 100.0).round() / 100.0)
}

impl Cell {
    /// What is well.
    pub fn good(mut self) -> Self {
        self.style = AnsiColor::Green.on_default();
        self
    }

    /// What needs a look.
    pub fn warn(mut self) -> Self {
        self.style = AnsiColor::Yellow.on_default();
        self
    }

    /// What is broken.
    pub fn bad(mut self) -> Self {
        self.style = AnsiColor::Red.on_default();
        self
    }

    /// What stands out.
    pub fn bold(mut self) -> Self {
        self.style = self.style.bold();
        self
    }
}

impl Table {
    /// A table with these heads.
    pub fn new(heads: &[&str]) -> Self {
        let head = heads.iter().map(|head| Cell { style: Style::new().dimmed(), ..text(*head) });
        Self { rows: vec![head.collect()] }
    }

    /// Appends a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table as text; styles are escape codes, which `anstream` takes out where they do not
    /// belong.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let right: Vec<bool> = (0..columns)
            .map(|column| self.rows.get(1).and_then(|row| row.get(column)).is_some_and(|c| c.right))
            .collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column] - cell.text.chars().count());
                let styled = match cell.text.is_empty() {
                    true => String::new(),
                    false => format!("{}{}{}", cell.style, cell.text, cell.style.render_reset()),
                };
                let gap = if column == 0 { "" } else { "  " };
                line += &match right[column] {
                    true => format!("{gap}{pad}{styled}"),
                    false => format!("{gap}{styled}{pad}"),
                };
            }
            out += line.trim_end();
            out.push('\n');
        }
        out
    }

    /// Prints it to standard output.
    pub fn print(&self) {
        anstream::print!("{}", self.render());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["version", "weight"]);
        table.row(vec![text("blue"), number("90")]);
        table.row(vec![text("green-long"), number("5").bad()]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(plain, "version     weight\nblue            90\ngreen-long       5\n");
    }
}
