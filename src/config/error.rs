//! What is wrong with a configuration: where, what, and what to do about it.
//!
//! Problems are collected, never thrown: an operator sees all of them at once. How they look on a
//! terminal, in a log line and as JSON is decided here; what is a problem is decided elsewhere.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use crate::limits::DIAGNOSTICS_SHOWN_MAX;

/// Whether a configuration with this diagnostic can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    /// The word that people and programs read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A range of bytes in one of the files of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub file: usize,
    pub start: usize,
    pub end: usize,
}

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub path: PathBuf,
    pub text: String,
    /// Where each line begins.
    line_starts: Vec<usize>,
}

/// A line of a source, without its end.
struct Line {
    /// Counted from 1.
    number: usize,
    start: usize,
    end: usize,
}

impl Source {
    pub fn new(path: PathBuf, text: String) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_breaks).collect();
        Self { path, text, line_starts }
    }

    /// The line that a byte is on.
    fn line(&self, at: usize) -> Line {
        let number = self.line_starts.partition_point(|start| *start <= at).max(1);
        let start = self.line_starts[number - 1];
        let end = self.line_starts.get(number).copied().unwrap_or(self.text.len());
        let text = self.text[start..end].trim_end_matches(['\r', '\n']);
        Line { number, start, end: start + text.len() }
    }

    /// A place cut to the line it begins on and to whole characters.
    fn on_one_line(&self, place: Place) -> (Line, Range<usize>) {
        let line = self.line(place.start);
        let boundary = |at: usize| {
            let at = at.clamp(line.start, line.end);
            (line.start..=at).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(at)
        };
        let (start, end) = (boundary(place.start), boundary(place.end));
        (line, start..end.max(start))
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// The file, as it was named.
    pub file: String,
    /// Counted from 1; 0 when the whole file is meant.
    pub line: usize,
    /// In characters, counted from 1; 0 when the whole file is meant.
    pub column: usize,
    /// Characters that the caret underlines, on the first line.
    pub length: usize,
    /// The key that is meant, e.g. `service.checkout.weights`.
    pub key_path: Option<String>,
    pub message: String,
    /// What stands there, when that is not what was expected.
    pub found: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    place: Option<Place>,
    related: Option<(Place, String)>,
}

impl Diagnostic {
    /// The key and the message, in one line.
    pub fn title(&self) -> String {
        match &self.key_path {
            Some(path) => format!("{path}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

impl fmt::Display for Diagnostic {
    /// One line for a log, with the remedy and the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity.as_str(), self.title())?;
        if let Some(found) = &self.found {
            write!(f, ", found {found}")?;
        }
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        write!(f, " — {}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

/// All that is wrong with a configuration, in the order of the files: every error, or, when there
/// is none, every warning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub diagnostics: Vec<Diagnostic>,
    sources: Arc<Vec<Source>>,
}

impl Report {
    /// A report of one problem with a file as a whole.
    pub(super) fn of_file(path: &Path, problem: Problem) -> Self {
        let findings = Findings::new(Vec::new());
        findings.add_whole(path, problem);
        findings.into_report()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Whether the configuration cannot be used.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// One line for each diagnostic, for a log.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.diagnostics.iter().map(Diagnostic::to_string)
    }

    /// Every diagnostic with its source, a caret and the remedy; ends with a line break unless
    /// nothing is wrong.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for (n, diagnostic) in self.diagnostics.iter().take(DIAGNOSTICS_SHOWN_MAX).enumerate() {
            if n > 0 {
                text.push('\n');
            }
            text.push_str(&self.render_one(&renderer, diagnostic));
            text.push('\n');
        }
        if let Some(rest @ 1..) = self.diagnostics.len().checked_sub(DIAGNOSTICS_SHOWN_MAX) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\nand {rest} more");
        }
        text
    }

    /// The report as programs read it.
    pub fn to_json(&self, valid: bool) -> serde_json::Value {
        let diagnostics: Vec<_> = self.diagnostics.iter().map(diagnostic_json).collect();
        serde_json::json!({ "valid": valid, "diagnostics": diagnostics })
    }

    fn render_one(&self, renderer: &Renderer, diagnostic: &Diagnostic) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(diagnostic.title()));
        match diagnostic.place {
            Some(place) => group = group.elements(self.snippets(diagnostic, place)),
            None => group = group.element(annotate_snippets::Origin::path(&diagnostic.file)),
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }

    /// The line of the place, and that of the related place, which may be in another file.
    fn snippets(&self, diagnostic: &Diagnostic, place: Place) -> Vec<Snippet<'_, Annotation<'_>>> {
        let label = diagnostic.found.as_ref().map(|found| format!("found {found}"));
        let mut marks = vec![(place, AnnotationKind::Primary, label)];
        if let Some((other, label)) = &diagnostic.related {
            marks.push((*other, AnnotationKind::Context, Some(label.clone())));
        }
        marks.sort_by_key(|(place, ..)| *place);
        let same_file = |one: &Mark, two: &Mark| one.0.file == two.0.file;
        let snippets = marks.chunk_by(same_file).filter_map(|marks| self.snippet(marks));
        snippets.collect()
    }

    /// Marks in one file, in their order; the lines between them are folded by the renderer.
    fn snippet(&self, marks: &[Mark]) -> Option<Snippet<'_, Annotation<'_>>> {
        let (first, last) = (marks.first()?.0, marks.last()?.0);
        let source = self.sources.get(first.file)?;
        let (from, to) = (source.line(first.start), source.line(last.start));
        let annotation = |(place, kind, label): &Mark| {
            let span = source.on_one_line(*place).1;
            kind.span(span.start - from.start..span.end - from.start).label(label.clone())
        };
        Some(
            Snippet::source(&source.text[from.start..to.end])
                .path(source.path.to_string_lossy())
                .line_start(from.number)
                .annotations(marks.iter().map(annotation)),
        )
    }
}

/// A place to underline, and what to write there.
type Mark = (Place, AnnotationKind, Option<String>);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

fn diagnostic_json(diagnostic: &Diagnostic) -> serde_json::Value {
    serde_json::json!({
        "severity": diagnostic.severity.as_str(),
        "file": diagnostic.file,
        "line": diagnostic.line,
        "column": diagnostic.column,
        "length": diagnostic.length,
        "key": diagnostic.key_path,
        "message": diagnostic.message,
        "found": diagnostic.found,
        "help": diagnostic.help,
    })
}

/// What is wrong, before it is known where. Made by whoever reads a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    message: String,
    found: Option<String>,
    help: Option<String>,
    related: Option<(Place, String)>,
}

impl Problem {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), found: None, help: None, related: None }
    }

    /// Adds the remedy.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what stands there; shown after the word "found".
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    /// Adds another place that has to do with it.
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related = Some((place, label.into()));
        self
    }
}

/// A file that the configuration names, to be looked at by who may read files.
#[derive(Debug, Clone)]
pub(super) struct NamedFile {
    pub path: PathBuf,
    pub holds: Held,
    pub place: Place,
    pub key_path: String,
}

/// What such a file must hold for the configuration to be one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held {
    /// That is found out by who uses it.
    Anything,
    RevocationLists,
}

/// Where problems are gathered while the files are read.
#[derive(Debug)]
pub(super) struct Findings {
    sources: Arc<Vec<Source>>,
    diagnostics: RefCell<Vec<Diagnostic>>,
    named_files: RefCell<Vec<NamedFile>>,
    /// Files and lines of what could not be read at all.
    unreadable: RefCell<BTreeSet<(String, usize)>>,
}

impl Findings {
    pub fn new(sources: Vec<Source>) -> Self {
        Self {
            sources: Arc::new(sources),
            diagnostics: RefCell::default(),
            named_files: RefCell::default(),
            unreadable: RefCell::default(),
        }
    }

    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The text at a place.
    pub fn text(&self, place: Place) -> &str {
        let source = self.sources.get(place.file).map_or("", |source| source.text.as_str());
        source.get(place.start..place.end).unwrap_or("")
    }

    /// Adds an error about text that has no meaning at all. What is found later on its line would
    /// only be about the guess that stands in for it, and is dropped.
    pub fn unreadable(&self, place: Place, problem: Problem) {
        if let Some(diagnostic) = self.diagnostic(Severity::Error, place, "", problem) {
            let line = (diagnostic.file.clone(), diagnostic.line);
            self.unreadable.borrow_mut().insert(line);
            self.diagnostics.borrow_mut().push(diagnostic);
        }
    }

    pub fn error(&self, place: Place, key_path: &str, problem: Problem) {
        self.add(Severity::Error, place, key_path, problem);
    }

    pub fn warn(&self, place: Place, key_path: &str, problem: Problem) {
        self.add(Severity::Warning, place, key_path, problem);
    }

    /// Adds a warning that has no place, about the first file.
    pub fn warn_whole(&self, problem: Problem) {
        let path = self.sources.first().map(|source| source.path.clone()).unwrap_or_default();
        self.push(Severity::Warning, &path, problem);
    }

    fn add_whole(&self, path: &Path, problem: Problem) {
        self.push(Severity::Error, path, problem);
    }

    /// Notes a file that must be readable.
    pub fn names_file(&self, file: NamedFile) {
        self.named_files.borrow_mut().push(file);
    }

    pub fn named_files(&self) -> Vec<NamedFile> {
        self.named_files.borrow().clone()
    }

    pub fn has_errors(&self) -> bool {
        let is_error = |found: &Diagnostic| found.severity == Severity::Error;
        self.diagnostics.borrow().iter().any(is_error)
    }

    /// Everything that was found, in the order of the files. Beside errors there are no warnings:
    /// they would often be about what the errors left out.
    pub fn into_report(self) -> Report {
        let has_errors = self.has_errors();
        let mut diagnostics = self.diagnostics.into_inner();
        diagnostics.retain(|found| !has_errors || found.severity == Severity::Error);
        diagnostics.sort_by_key(|found| found.place);
        Report { diagnostics, sources: self.sources }
    }

    fn add(&self, severity: Severity, place: Place, key_path: &str, problem: Problem) {
        let Some(diagnostic) = self.diagnostic(severity, place, key_path, problem) else { return };
        let line = (diagnostic.file.clone(), diagnostic.line);
        if !self.unreadable.borrow().contains(&line) {
            self.diagnostics.borrow_mut().push(diagnostic);
        }
    }

    fn diagnostic(
        &self,
        severity: Severity,
        place: Place,
        key_path: &str,
        problem: Problem,
    ) -> Option<Diagnostic> {
        let source = self.sources.get(place.file)?;
        let (line, span) = source.on_one_line(place);
        let chars = |range: Range<usize>| source.text[range].chars().count();
        Some(Diagnostic {
            severity,
            file: source.path.to_string_lossy().into_owned(),
            line: line.number,
            column: chars(line.start..span.start) + 1,
            length: chars(span),
            key_path: (!key_path.is_empty()).then(|| key_path.to_owned()),
            message: problem.message,
            found: problem.found,
            help: problem.help,
            place: Some(place),
            related: problem.related,
        })
    }

    fn push(&self, severity: Severity, path: &Path, problem: Problem) {
        self.diagnostics.borrow_mut().push(Diagnostic {
            severity,
            file: path.to_string_lossy().into_owned(),
            line: 0,
            column: 0,
            length: 0,
            key_path: None,
            message: problem.message,
            found: problem.found,
            help: problem.help,
            place: None,
            related: None,
        });
    }
}
