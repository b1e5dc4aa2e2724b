//! Conditions that routes and pins share: tables from a name to what its value must be.

use std::collections::BTreeMap;

use super::document::{Entry, Node, Value};
use super::error::{Place, Problem};
use super::read::{Section, join};
use super::reference::VALUE_MATCH;
use super::value;
use crate::route::{FieldMatch, QueryMatch, ValueMatch};

/// Whether two names that differ only in case are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Matters,
    Ignored,
}

/// Reads conditions on headers.
pub(super) fn read_fields(section: &Section<'_>) -> Vec<FieldMatch> {
    let pairs = read_table(section, "headers", Case::Ignored, value::field_name);
    pairs.into_iter().map(|(name, value)| FieldMatch { name, value }).collect()
}

/// Reads conditions on query parameters.
pub(super) fn read_query(section: &Section<'_>) -> Vec<QueryMatch> {
    let pairs = read_table(section, "query", Case::Matters, |name| Ok(name.to_owned()));
    pairs.into_iter().map(|(name, value)| QueryMatch { name, value }).collect()
}

/// Reads a table of conditions; names are checked, and folded, by `name`.
pub(super) fn read_table(
    section: &Section<'_>,
    key: &'static str,
    case: Case,
    name: impl Fn(&str) -> Result<String, Problem>,
) -> Vec<(String, ValueMatch)> {
    let entries = section.entries(key).unwrap_or_default();
    let path = section.path_of(key);
    let named = entries.into_iter().map(|(written, entry)| {
        let value = read_value(section, &join(&path, written), &entry.node);
        ((written, entry), value)
    });
    let (entries, values): (Vec<_>, Vec<_>) = named.unzip();
    let names = check_names(section, key, case, &entries, name);
    names.into_iter().zip(values).filter_map(|(name, value)| Some((name?, value?))).collect()
}

/// Checks the names of entries; two that are the same after folding are an error. The answer has a
/// place for every entry.
pub(super) fn check_names(
    section: &Section<'_>,
    key: &'static str,
    case: Case,
    entries: &[(&str, &Entry)],
    name: impl Fn(&str) -> Result<String, Problem>,
) -> Vec<Option<String>> {
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    let findings = section.context.findings;
    let check = |(written, entry): &(&str, &Entry)| {
        let error = |problem| findings.error(entry.key, &section.path_of(key), problem);
        let name = name(written).map_err(&error).ok()?;
        let folded = written.to_ascii_lowercase();
        if case == Case::Ignored
            && let Some(first) = seen.insert(folded, entry.key)
        {
            let problem = Problem::new(format!("`{written}` is the same name as another here"));
            error(problem.related(first, "first set here").help("their case does not matter"));
            return None;
        }
        Some(name)
    };
    entries.iter().map(check).collect()
}

fn read_value(section: &Section<'_>, path: &str, node: &Node) -> Option<ValueMatch> {
    let findings = section.context.findings;
    let wrong = |problem: Problem| {
        let help = "write a string, `{ present = true }` or `{ regex = \"…\" }`";
        findings.error(node.place, path, problem.help(help));
        None
    };
    let table = match &node.value {
        Value::Text(text) => return Some(ValueMatch::Exact(text.clone())),
        Value::Table(table) => table,
        _ => return wrong(Problem::new("expected a condition on a value").found(node.kind())),
    };
    let section =
        Section::open(section.context, path.to_owned(), node.place, Some(table), VALUE_MATCH);
    let (has_present, has_regex) = (section.node("present"), section.node("regex"));
    let present = section.optional("present", value::boolean).map(ValueMatch::Present);
    let regex = section.optional("regex", value::regex).map(ValueMatch::Regex);
    match (has_present, has_regex) {
        (Some(_), Some(_)) => wrong(Problem::new("both `present` and `regex` are asked")),
        (None, None) => wrong(Problem::new("nothing is asked of the value")),
        _ => present.or(regex),
    }
}
