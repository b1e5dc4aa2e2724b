//! Files into one tree: TOML is parsed, references to the environment are replaced, and several
//! files become one. Every key and value knows the place it came from.
//!
//! What keys mean is not known here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use toml::de::{DeTable, DeValue};

use super::env::{Env, expand};
use super::error::{Findings, Place, Problem};

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

/// A TOML value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    /// Saturated: no key takes a number that does not fit.
    Whole(i128),
    Decimal(f64),
    Boolean(bool),
    Date,
    List(Vec<Node>),
    Table(Table),
}

/// Keys and values. The order of keys has no meaning.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub entries: BTreeMap<String, Entry>,
}

/// A value with the place of its key.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: Place,
    pub node: Node,
}

impl Table {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.get(key).map(|entry| &entry.node)
    }
}

impl Node {
    /// What it is, as it stands in a sentence after "found".
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "a string",
            Value::Whole(_) => "a whole number",
            Value::Decimal(_) => "a decimal number",
            Value::Boolean(_) => "a boolean",
            Value::Date => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The table, if it is one.
    pub fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// Reads all sources of `findings` into one table.
pub(super) fn read(findings: &Findings, env: Env<'_>) -> Table {
    let mut whole = Table::default();
    for (file, source) in findings.sources().iter().enumerate() {
        let (parsed, errors) = DeTable::parse_recoverable(&source.text);
        let reading = Reading { file, findings, env };
        for error in &errors {
            reading.syntax_error(error);
        }
        merge(&mut whole, reading.table(parsed.get_ref()), findings);
    }
    whole
}

/// Parses one value that stands in the program and not in a file: a default.
pub(super) fn constant(text: &str) -> Node {
    let findings = Findings::new(Vec::new());
    let reading = Reading { file: 0, findings: &findings, env: &|_| None };
    match DeValue::parse(text) {
        Ok(value) => reading.node(value.get_ref(), value.span()),
        Err(_) => Node { place: reading.place(0..0), value: Value::Date },
    }
}

/// One file on its way into the tree.
struct Reading<'a> {
    file: usize,
    findings: &'a Findings,
    env: Env<'a>,
}

impl Reading<'_> {
    fn place(&self, span: std::ops::Range<usize>) -> Place {
        Place { file: self.file, start: span.start, end: span.end.max(span.start) }
    }

    fn syntax_error(&self, error: &toml::de::Error) {
        let message = error.message().replace(['\n', '\r'], " ");
        let mut problem = Problem::new(format!("not valid TOML: {message}"));
        // `level = info` is taken for the beginning of the number `inf`.
        let unquoted = ["string values must be quoted", "expected `inf`", "expected `nan`"];
        if unquoted.iter().any(|text| message.contains(text)) {
            problem = problem.help("put text between double quotes");
        } else if message.contains("duplicate key") {
            problem = problem.help("a key may stand only once: keep one of the two");
        }
        self.findings.unreadable(self.place(error.span().unwrap_or(0..0)), problem);
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let entries = table.iter().map(|(key, value)| {
            let entry = Entry {
                key: self.place(key.span()),
                node: self.node(value.get_ref(), value.span()),
            };
            (key.get_ref().to_string(), entry)
        });
        Table { entries: entries.collect() }
    }

    fn node(&self, value: &DeValue<'_>, span: std::ops::Range<usize>) -> Node {
        let place = self.place(span);
        let value = match value {
            DeValue::String(text) => Value::Text(self.expanded(text, place)),
            DeValue::Integer(number) => Value::Whole(whole(number.as_str(), number.radix())),
            DeValue::Float(number) => {
                Value::Decimal(number.as_str().parse().unwrap_or(f64::INFINITY))
            }
            DeValue::Boolean(is) => Value::Boolean(*is),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(list) => {
                let nodes = list.iter().map(|node| self.node(node.get_ref(), node.span()));
                Value::List(nodes.collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { place, value }
    }

    /// The text with its references replaced. A bad one leaves the text as it is: the error is
    /// told once, and what else is wrong with the value would only distract from it.
    fn expanded(&self, text: &str, place: Place) -> String {
        match expand(text, self.env) {
            Ok(text) => text.into_owned(),
            Err(all) => {
                for bad in all {
                    let at = self.findings.text(place).find(&bad.text);
                    let narrow = at.map(|at| {
                        let start = place.start + at;
                        Place { start, end: start + bad.text.len(), ..place }
                    });
                    self.findings.unreadable(narrow.unwrap_or(place), bad.problem);
                }
                text.to_owned()
            }
        }
    }
}

fn whole(digits: &str, radix: u32) -> i128 {
    let limit = if digits.starts_with('-') { i128::MIN } else { i128::MAX };
    i128::from_str_radix(digits, radix).unwrap_or(limit)
}

/// Puts `more` into `whole`: tables are merged and `[[…]]` are appended; any other key may stand
/// in one file only.
fn merge(whole: &mut Table, more: Table, findings: &Findings) {
    for (name, entry) in more.entries {
        let mut slot = match whole.entries.entry(name) {
            Slot::Vacant(slot) => {
                slot.insert(entry);
                continue;
            }
            Slot::Occupied(slot) => slot,
        };
        let name = slot.key().clone();
        let known = slot.get_mut();
        let first = known.key;
        match (&mut known.node.value, entry.node.value) {
            (Value::Table(one), Value::Table(two))
                if !is_inline(findings, known.node.place)
                    && !is_inline(findings, entry.node.place) =>
            {
                merge(one, two, findings);
            }
            (Value::List(one), Value::List(two))
                if has_headers(findings, one) && has_headers(findings, &two) =>
            {
                one.extend(two);
            }
            _ => findings.error(
                entry.key,
                "",
                Problem::new(format!("`{}` is set in two files", name.escape_debug()))
                    .related(first, "first set here")
                    .help("keep one of the two"),
            ),
        }
    }
}

/// Whether a table was written as `{ … }`: a value, not a section.
fn is_inline(findings: &Findings, place: Place) -> bool {
    findings.text(place).starts_with('{')
}

/// Whether a list was written as `[[…]]` sections.
fn has_headers(findings: &Findings, list: &[Node]) -> bool {
    list.iter().all(|node| {
        matches!(node.value, Value::Table(_)) && findings.text(node.place).starts_with('[')
    })
}
