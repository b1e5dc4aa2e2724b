//! Walks the tree by the declared keys: hands out converted values and notes every problem.
//!
//! A section is opened with its declaration. Keys that are not declared are told at once; a
//! declared key that is never asked for is a mistake in this program and fails debug builds.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::document::{Entry, Node, Table, Value, constant};
use super::error::{Findings, Held, NamedFile, Place, Problem};
use super::reference::{About, Absent, Key};
use crate::limits::{NAME_BYTES_MAX, NAMES_LISTED_MAX, SUGGESTED_FROM_MAX};

/// What readers share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub findings: &'a Findings,
    /// What relative paths are relative to.
    pub base: &'a Path,
}

/// A section of the file while it is read.
pub(super) struct Section<'a> {
    pub context: Context<'a>,
    /// How its keys begin in messages: `service.checkout`; empty at the top.
    pub path: String,
    /// Where it begins.
    pub place: Place,
    table: Option<&'a Table>,
    about: &'static About,
    asked: RefCell<BTreeSet<&'static str>>,
}

/// A value of a key, with where it stands.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub value: T,
    pub place: Place,
    /// The key, for messages.
    pub path: String,
}

impl<'a> Section<'a> {
    /// Opens a table as a section and tells of every key that is not declared.
    pub fn open(
        context: Context<'a>,
        path: String,
        place: Place,
        table: Option<&'a Table>,
        about: &'static About,
    ) -> Self {
        let section = Self { context, path, place, table, about, asked: RefCell::default() };
        for (name, entry) in table.into_iter().flat_map(|table| &table.entries) {
            if about.key(name).is_none() {
                let known = about.keys.iter().map(|key| key.name);
                let problem = Problem::new(format!("unknown key `{}`", name.escape_debug()))
                    .help(suggestion(name, known));
                context.findings.error(entry.key, &section.path, problem);
            }
        }
        section
    }

    /// The value of a key as it stands in the file.
    pub fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.declared(key);
        self.table?.get(key)
    }

    /// The value of a key that has a default; also the default when the value is wrong, which has
    /// been noted.
    pub fn value<T>(&self, key: &'static str, convert: impl Fn(&Node) -> Result<T, Problem>) -> T {
        self.optional(key, &convert).unwrap_or_else(|| {
            convert(&self.default(key)).unwrap_or_else(|problem| {
                panic!("the declared default of `{key}` is not valid: {problem:?}")
            })
        })
    }

    /// The value of a key that may be left out.
    pub fn optional<T>(
        &self,
        key: &'static str,
        convert: impl Fn(&Node) -> Result<T, Problem>,
    ) -> Option<T> {
        self.convert(key, self.node(key)?, convert)
    }

    /// The value of a key that may not be left out.
    pub fn required<T>(
        &self,
        key: &'static str,
        convert: impl Fn(&Node) -> Result<T, Problem>,
    ) -> Option<T> {
        let Some(node) = self.node(key) else {
            let kind = self.declared(key).kind;
            let problem = Problem::new(format!("`{key}` is missing"))
                .help(format!("add `{key} = …` ({kind})"));
            self.context.findings.error(self.place, &self.path, problem);
            return None;
        };
        self.convert(key, node, convert)
    }

    /// The values of a list, each with its place; those that are wrong have been noted. The
    /// declared default if the key is left out, which is nothing unless there is one.
    pub fn list<T>(
        &self,
        key: &'static str,
        convert: impl Fn(&Node) -> Result<T, Problem>,
    ) -> Option<Vec<Found<T>>> {
        let default;
        let node = match (self.node(key), self.declared(key).default) {
            (Some(node), _) => node,
            (None, Absent::Is(_)) => {
                default = self.default(key);
                &default
            }
            (None, _) => return None,
        };
        let Value::List(nodes) = &node.value else {
            let problem = Problem::new("expected a list").found(node.kind());
            self.error(key, problem.help("put the values between `[` and `]`"));
            return None;
        };
        let found = |node: &Node| {
            let value = self.convert(key, node, &convert)?;
            Some(Found { value, place: node.place, path: self.path_of(key) })
        };
        Some(nodes.iter().filter_map(found).collect())
    }

    /// The file or directory that a key names, against the base of relative paths.
    pub fn file(&self, key: &'static str) -> Option<PathBuf> {
        let path = self.optional(key, super::value::path)?;
        Some(self.context.base.join(path))
    }

    /// As [`Section::file`], of a file that must be readable.
    pub fn readable_file(&self, key: &'static str) -> Option<PathBuf> {
        self.file_of(key, Held::Anything)
    }

    /// As [`Section::file`], of a file that must hold this.
    pub fn file_of(&self, key: &'static str, holds: Held) -> Option<PathBuf> {
        let path = self.file(key)?;
        let file = NamedFile {
            path: path.clone(),
            holds,
            place: self.place_of(key),
            key_path: self.path_of(key),
        };
        self.context.findings.names_file(file);
        Some(path)
    }

    /// The section under a key, empty if it is left out.
    pub fn section(&self, key: &'static str, about: &'static About) -> Section<'a> {
        self.optional_section(key, about).unwrap_or_else(|| {
            Section::open(self.context, self.path_of(key), self.place, None, about)
        })
    }

    /// The section under a key.
    pub fn optional_section(
        &self,
        key: &'static str,
        about: &'static About,
    ) -> Option<Section<'a>> {
        let node = self.node(key)?;
        let Some(table) = node.as_table() else {
            let first = about.keys.first().map_or("key", |key| key.name);
            let problem = Problem::new("expected a section").found(node.kind());
            self.error(key, problem.help(format!("write `{key} = {{ {first} = … }}`")));
            return None;
        };
        Some(Section::open(self.context, self.path_of(key), node.place, Some(table), about))
    }

    /// The tables of a key that is written as `[[key]]`.
    pub fn tables(&self, key: &'static str) -> Vec<(Place, &'a Table)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let path = self.path_of(key);
        let one = |problem: Problem, place: Place| {
            let problem = problem.help(format!("begin each with `[[{path}]]`"));
            self.context.findings.error(place, &path, problem);
        };
        let Value::List(nodes) = &node.value else {
            let place = self.table.and_then(|table| table.entries.get(key));
            let place = place.map_or(node.place, |entry| entry.key);
            let place = if node.as_table().is_some() { place } else { node.place };
            one(Problem::new("expected a list of sections").found(node.kind()), place);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for node in nodes {
            match node.as_table() {
                Some(table) => tables.push((node.place, table)),
                None => one(Problem::new("expected a section").found(node.kind()), node.place),
            }
        }
        tables
    }

    /// Whether a list was written and nothing put into it.
    pub fn is_empty_list(&self, key: &'static str) -> bool {
        self.node(key)
            .is_some_and(|node| matches!(&node.value, Value::List(list) if list.is_empty()))
    }

    /// The entries of a key whose names are the operator's own, `[key.NAME]` or `{ NAME = … }`, in
    /// the order of the file.
    pub fn entries(&self, key: &'static str) -> Option<Vec<(&'a str, &'a Entry)>> {
        let node = self.node(key)?;
        let Some(table) = node.as_table() else {
            let kind = self.declared(key).kind;
            let problem = Problem::new("expected a table").found(node.kind());
            self.error(key, problem.help(format!("write {kind} between `{{` and `}}`")));
            return None;
        };
        let entries = table.entries.iter().map(|(name, entry)| (name.as_str(), entry));
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|(_, entry)| entry.key);
        Some(entries)
    }

    /// Notes a problem with the value of a key, or with the section if the key is left out.
    pub fn error(&self, key: &'static str, problem: Problem) {
        self.context.findings.error(self.place_of(key), &self.path_of(key), problem);
    }

    /// Where the value of a key stands; the section itself if it is left out.
    pub fn place_of(&self, key: &str) -> Place {
        self.table.and_then(|table| table.get(key)).map_or(self.place, |node| node.place)
    }

    /// How a key is written in messages.
    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    fn convert<T>(
        &self,
        key: &'static str,
        node: &Node,
        convert: impl Fn(&Node) -> Result<T, Problem>,
    ) -> Option<T> {
        convert(node)
            .map_err(|problem| {
                self.context.findings.error(node.place, &self.path_of(key), problem);
            })
            .ok()
    }

    fn default(&self, key: &'static str) -> Node {
        match self.declared(key).default {
            Absent::Is(text) => constant(text),
            other => panic!("`{key}` of [{}] has no default but {other:?}", self.about.title),
        }
    }

    /// The declaration of a key; asking for one that is not declared is a mistake in this program.
    fn declared(&self, key: &'static str) -> &'static Key {
        self.asked.borrow_mut().insert(key);
        let declared = self.about.key(key);
        declared.unwrap_or_else(|| panic!("`{key}` of [{}] is not declared", self.about.title))
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let asked = self.asked.borrow();
        debug_assert!(
            std::thread::panicking() || self.about.keys.iter().all(|key| asked.contains(key.name)),
            "[{}] declares keys that nobody reads: only {asked:?} were asked for",
            self.about.title,
        );
    }
}

/// Joins a name to a path of keys, quoted if it is not a plain one.
pub(super) fn join(path: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let name = match !name.is_empty() && name.chars().all(plain) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.escape_debug()),
    };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// The remedy for a name that is not known: the nearest known one, or all of them.
pub(super) fn suggestion<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.collect();
    let folded = name.to_lowercase();
    let distance = |other: &&str| strsim::damerau_levenshtein(&folded, &other.to_lowercase());
    // Comparing costs the product of both lengths: neither a long name nor one of very many is
    // worth it.
    let comparable = known.iter().take(SUGGESTED_FROM_MAX).filter(|_| name.len() <= NAME_BYTES_MAX);
    match comparable.min_by_key(|other| distance(other)) {
        // A quarter of the letters may be wrong, and one in a short word: `path_prefix` is no `path_regex`.
        Some(near) if distance(near) <= (near.len() / 4).max(1) => {
            format!("did you mean `{near}`?")
        }
        _ if known.is_empty() => "there is none to choose from".to_owned(),
        _ if known.len() > NAMES_LISTED_MAX => format!("there are {} to choose from", known.len()),
        _ => format!("known: {}", known.join(", ")),
    }
}
