//! Do two responses to the same request agree?
//!
//! [`compare`] answers for one pair: status, fields, body and latency, under the [`Rules`] of the
//! service. [`report::Report`] adds many such answers up. Nothing here sends, waits or stores
//! samples, and no text that leaves this folder holds a secret that [`redact`] knows of.

pub mod evidence;
mod json;
pub mod redact;
pub mod report;
pub mod rules;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::h1::fields::{Fields, Known};

use self::redact::{printable, shown};
pub use self::rules::{RuleError, Rules};
use self::tree::Unreadable;

use crate::limits::{DIFFERENCES_MAX, FIELD_TEXT_BYTES_MAX, VALUE_TEXT_BYTES_MAX};

/// The text of a side that does not have the field at all.
pub const MISSING: &str = "(missing)";
/// The field that differences past a bound are counted under.
pub const OTHER: &str = "other";

/// What one version answered.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    pub status: u16,
    pub fields: &'a Fields,
    pub body: Body<'a>,
    /// From sending the request to the end of the head.
    pub latency: Duration,
}

/// What was kept of an answer's body.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// Every byte of it, as it came: still compressed if it was.
    Whole(&'a [u8]),
    /// It was longer than the cap, so it is not compared.
    Cut,
    /// It broke off.
    Failed,
}

/// What kind of thing differs; a label of `tidegate_shadow_mismatch_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Status,
    Header,
    Body,
    Latency,
}

impl Kind {
    /// Every kind, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Status, Self::Header, Self::Body, Self::Latency];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Header => "header",
            Self::Body => "body",
            Self::Latency => "latency",
        }
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds(u8);

impl Kinds {
    /// Adds a kind.
    pub fn insert(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u8;
    }

    /// Whether the kind is in the set.
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds in the set.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

/// The name of what differs: `status`, `header:NAME`, `body`, `body:/json/pointer`, `latency` or
/// [`OTHER`]. Array indices are folded to `*`, header names are in lower case, control characters
/// are escaped and the text is at most [`FIELD_TEXT_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath {
    text: String,
    kind: Kind,
}

impl FieldPath {
    fn new(kind: Kind, text: &str) -> Self {
        Self { text: printable(text, FIELD_TEXT_BYTES_MAX), kind }
    }

    /// The field as reports name it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What kind of thing it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One differing field and what each side said, short and with secrets hidden.
///
/// Strings of JSON bodies stand in quotes, so that [`MISSING`] cannot be mistaken for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub field: FieldPath,
    pub primary: String,
    pub shadow: String,
}

/// The outcome for one pair of answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// At most one for each field and [`DIFFERENCES_MAX`] in all, not counting those named
    /// [`OTHER`].
    pub differences: Vec<Difference>,
    /// Why the bodies could not be compared: `body_too_big`, `body_failed`, `body_encoded`,
    /// `body_encoded_differently`, `json_too_deep` or `json_too_big`. Status, headers and latency
    /// were compared all the same.
    pub incomparable: Option<&'static str>,
}

impl Comparison {
    /// The kinds of things that differ.
    pub fn kinds(&self) -> Kinds {
        let mut kinds = Kinds::default();
        for difference in &self.differences {
            kinds.insert(difference.field.kind());
        }
        kinds
    }

    /// Whether everything was compared and nothing differs.
    pub fn is_match(&self) -> bool {
        self.differences.is_empty() && self.incomparable.is_none()
    }

    /// Whether this field differs.
    pub fn differs_in(&self, field: &FieldPath) -> bool {
        self.differences.iter().any(|difference| difference.field == *field)
    }

    /// Notes a difference once for each field, within the bound.
    fn add(&mut self, field: FieldPath, primary: String, shadow: String) {
        if self.differs_in(&field) {
            return;
        }
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(Difference { field, primary, shadow });
            return;
        }
        let field = FieldPath { text: OTHER.into(), kind: field.kind };
        if !self.differs_in(&field) {
            self.differences.push(Difference { field, primary, shadow });
        }
    }
}

/// Compares the answer that the client got with the copy's.
pub fn compare(primary: &Answer, shadow: &Answer, rules: &Rules) -> Comparison {
    let mut found = Comparison::default();
    if primary.status != shadow.status && !rules.ignores_status() {
        let (left, right) = (primary.status.to_string(), shadow.status.to_string());
        found.add(FieldPath::new(Kind::Status, "status"), left, right);
    }
    compare_latency(primary.latency, shadow.latency, rules, &mut found);
    compare_fields(primary.fields, shadow.fields, rules, &mut found);
    if !rules.ignores_body() {
        compare_bodies(primary, shadow, rules, &mut found);
    }
    found
}

/// Whether [`compare`] would find that nothing differs, seen without reading any of it: line by line
/// and byte by byte, as the answers of two processes of one program are. `false` says nothing.
///
/// Costs no memory, and about as much time as copying the answers.
pub fn agree(primary: &Answer, shadow: &Answer, rules: &Rules) -> bool {
    let bodies = match (primary.body, shadow.body) {
        _ if rules.ignores_body() => true,
        (Body::Whole(left), Body::Whole(right)) => left == right,
        _ => false,
    };
    bodies
        && (primary.status == shadow.status || rules.ignores_status())
        && is_in_time(primary.latency, shadow.latency, rules)
        && agree_by_line(primary.fields, shadow.fields, rules)
}

fn is_in_time(primary: Duration, shadow: Duration, rules: &Rules) -> bool {
    rules.latency_budget().is_none_or(|budget| shadow.saturating_sub(primary) <= budget)
}

fn compare_latency(primary: Duration, shadow: Duration, rules: &Rules, found: &mut Comparison) {
    if !is_in_time(primary, shadow, rules) {
        let text = |latency: Duration| format!("{:.1} ms", latency.as_secs_f64() * 1000.0);
        found.add(FieldPath::new(Kind::Latency, "latency"), text(primary), text(shadow));
    }
}

/// Whether the fields say the same line by line; `false` says nothing.
fn agree_by_line(primary: &Fields, shadow: &Fields, rules: &Rules) -> bool {
    let mut shadow = shadow.iter().filter(|field| !field.hop);
    let same = primary.iter().filter(|field| !field.hop).all(|left| {
        let Some(right) = shadow.next() else { return false };
        left.name().eq_ignore_ascii_case(right.name())
            && (left.value() == right.value()
                || rules.ignores_header(&String::from_utf8_lossy(left.name()).to_ascii_lowercase()))
    });
    same && shadow.next().is_none()
}

/// Compares the values of each name, in their order; the order of names says nothing.
fn compare_fields(primary: &Fields, shadow: &Fields, rules: &Rules, found: &mut Comparison) {
    if agree_by_line(primary, shadow, rules) {
        return;
    }
    let names: BTreeSet<String> = primary
        .iter()
        .chain(shadow.iter())
        .filter(|field| !field.hop)
        .map(|field| String::from_utf8_lossy(field.name()).to_ascii_lowercase())
        .filter(|name| !rules.ignores_header(name))
        .collect();
    for name in names {
        let (left, right) = (values_of(primary, &name), values_of(shadow, &name));
        if left != right {
            let field = FieldPath::new(Kind::Header, &format!("header:{name}"));
            found.add(field, header_text(&name, &left), header_text(&name, &right));
        }
    }
}

fn values_of(fields: &Fields, name: &str) -> Vec<Vec<u8>> {
    let ours = fields.iter().filter(|field| {
        !field.hop && String::from_utf8_lossy(field.name()).eq_ignore_ascii_case(name)
    });
    ours.map(|field| match field.known {
        Known::SetCookie => cookie_shape(field.value()),
        _ => field.value().to_vec(),
    })
    .collect()
}

/// A `Set-Cookie` value without what two correct servers never share: the cookie's value, unless
/// it is empty, and the moment it expires.
fn cookie_shape(value: &[u8]) -> Vec<u8> {
    let mut shape = Vec::with_capacity(value.len());
    for (index, part) in value.split(|byte| *byte == b';').enumerate() {
        let part = part.trim_ascii();
        let equals = part.iter().position(|byte| *byte == b'=');
        let (name, text) = match equals {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (part, &part[..0]),
        };
        if index > 0 {
            shape.extend_from_slice(b"; ");
        }
        let hidden = index == 0 || name.eq_ignore_ascii_case(b"expires");
        if hidden && !text.is_empty() {
            shape.extend_from_slice(name);
            shape.extend_from_slice(b"=*");
        } else {
            shape.extend_from_slice(part);
        }
    }
    shape
}

fn header_text(name: &str, values: &[Vec<u8>]) -> String {
    if values.is_empty() {
        return MISSING.into();
    }
    let texts: Vec<_> = values.iter().map(|value| String::from_utf8_lossy(value)).collect();
    let text = texts.join(", ");
    // What is left of a cookie is its name and its attributes.
    match name {
        "set-cookie" => printable(&text, VALUE_TEXT_BYTES_MAX),
        _ => shown(name, &text),
    }
}

fn compare_bodies(primary: &Answer, shadow: &Answer, rules: &Rules, found: &mut Comparison) {
    let (left, right) = match (primary.body, shadow.body) {
        (Body::Failed, _) | (_, Body::Failed) => {
            found.incomparable = Some("body_failed");
            return;
        }
        (Body::Cut, _) | (_, Body::Cut) => {
            found.incomparable = Some("body_too_big");
            return;
        }
        (Body::Whole(left), Body::Whole(right)) => (left, right),
    };
    if left == right {
        return;
    }
    let codings = (coding_of(primary.fields), coding_of(shadow.fields));
    if codings.0 != codings.1 {
        found.incomparable = Some("body_encoded_differently");
    } else if !codings.0.is_empty() {
        // Two compressors may write the same text in two ways, and we do not decompress.
        found.incomparable = Some("body_encoded");
    } else if is_json(primary.fields) && is_json(shadow.fields) {
        compare_json(left, right, rules, found);
    } else {
        compare_bytes(left, right, found);
    }
}

fn compare_json(left: &[u8], right: &[u8], rules: &Rules, found: &mut Comparison) {
    match (tree::read(left), tree::read(right)) {
        (Ok(left), Ok(right)) => json::compare(&left, &right, rules, found),
        (Err(Unreadable::TooDeep), _) | (_, Err(Unreadable::TooDeep)) => {
            found.incomparable = Some("json_too_deep");
        }
        (Err(Unreadable::TooBig), _) | (_, Err(Unreadable::TooBig)) => {
            found.incomparable = Some("json_too_big");
        }
        (Err(Unreadable::NotJson), _) | (_, Err(Unreadable::NotJson)) => {
            compare_bytes(left, right, found);
        }
    }
}

fn compare_bytes(left: &[u8], right: &[u8], found: &mut Comparison) {
    let same = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let (primary, shadow) = (bytes_text(left, same), bytes_text(right, same));
    found.add(FieldPath::new(Kind::Body, "body"), primary, shadow);
}

/// The size of a body and the line of it where the difference is. A line too long to show whole is
/// not shown at all: cut off its beginning, a secret could not be told from a word.
fn bytes_text(body: &[u8], differs_at: usize) -> String {
    let size = format!("{} bytes", body.len());
    let before = &body[..differs_at];
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let rest = &body[start..];
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    match std::str::from_utf8(&rest[..end]) {
        Ok(line) if !line.is_empty() && line.len() <= VALUE_TEXT_BYTES_MAX => {
            format!("{size}: {}", shown(redact::name_in(line), line))
        }
        _ => size,
    }
}

/// The content codings in lower case; empty when the bytes are the content itself.
fn coding_of(fields: &Fields) -> Vec<u8> {
    let values: Vec<_> = fields.all(Known::ContentEncoding).collect();
    let coding = values.join(&b',').to_ascii_lowercase();
    if coding == b"identity" { Vec::new() } else { coding }
}

/// Whether the body calls itself JSON: `application/json`, `text/json` or any `+json`.
fn is_json(fields: &Fields) -> bool {
    let Some(value) = fields.get(Known::ContentType) else { return false };
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    essence == b"application/json" || essence == b"text/json" || essence.ends_with(b"+json")
}
