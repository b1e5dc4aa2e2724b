//! Which differences do not count, as the operator wrote it; parsed once.
//!
//! A rule names a field as reports do: `status`, `latency`, `header:NAME` (`header:*` for all),
//! `body` (all of it) or `body:/json/pointer`. In a pointer `*` stands for any index or key, `~0`
//! and `~1` for `~` and `/` (RFC 6901), and what lies below an ignored value is ignored with it.
//!
//! Some headers never count, because two correct servers, or our own hop, write them differently
//! each time: `age`, `content-length` (the body tells), `date`, `server`, `traceparent`,
//! `tracestate`, `via`, `x-request-id`, `x-tidegate-*`, and every field that ends at this hop:
//! `connection` and what it names, `keep-alive`, `proxy-*`, `te`, `trailer`, `transfer-encoding`,
//! `upgrade`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::h1::fields::Known;

const NEVER_COMPARED: [&str; 8] =
    ["age", "content-length", "date", "server", "traceparent", "tracestate", "via", "x-request-id"];
const OWN_PREFIX: &str = "x-tidegate-";

/// The rules of one service's comparisons.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    status: bool,
    latency: bool,
    body: bool,
    all_headers: bool,
    headers: BTreeSet<String>,
    pointers: Vec<Vec<Step>>,
    latency_budget: Option<Duration>,
}

/// One step of a pointer in a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Any,
    Named(String),
}

/// One step of the way to a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

/// A rule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// Its place in the list that was given.
    pub index: usize,
    /// What is wrong with it and what to write instead.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RuleError {}

impl Rules {
    /// Reads a list of rules. Without a `latency_budget` latencies are not compared; with one, a
    /// shadow that is slower than the primary by more than it differs.
    pub fn parse(ignore: &[String], latency_budget: Option<Duration>) -> Result<Self, RuleError> {
        let mut rules = Self { latency_budget, ..Self::default() };
        for (index, text) in ignore.iter().enumerate() {
            rules.add(text).map_err(|message| RuleError { index, message })?;
        }
        Ok(rules)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        match text.split_once(':') {
            None => match text {
                "status" => self.status = true,
                "latency" => self.latency = true,
                "body" => self.body = true,
                _ => return Err(unknown(text)),
            },
            Some(("header", "*")) => self.all_headers = true,
            Some(("header", name)) => {
                self.headers.insert(header_name(name)?);
            }
            Some(("body", pointer)) => {
                let steps = steps(pointer)?;
                if !self.pointers.contains(&steps) {
                    self.pointers.push(steps);
                }
            }
            Some(_) => return Err(unknown(text)),
        }
        Ok(())
    }

    /// By how much a shadow may be slower than the primary. `None`: latencies do not count.
    pub fn latency_budget(&self) -> Option<Duration> {
        if self.latency { None } else { self.latency_budget }
    }

    /// Whether the status does not count.
    pub fn ignores_status(&self) -> bool {
        self.status
    }

    /// Whether nothing of the body counts.
    pub fn ignores_body(&self) -> bool {
        self.body
    }

    /// Whether the header of this name, in lower case, does not count.
    pub fn ignores_header(&self, name: &str) -> bool {
        self.all_headers
            || self.headers.contains(name)
            || name.starts_with(OWN_PREFIX)
            || NEVER_COMPARED.contains(&name)
            || Known::of(name.as_bytes()).is_hop_by_hop()
    }

    /// Whether a rule names exactly this value of the body. Whoever walks a body asks at every
    /// level, so what lies below an ignored value is never reached.
    pub(super) fn ignores_value(&self, path: &[Segment<'_>]) -> bool {
        self.pointers.iter().any(|steps| {
            steps.len() == path.len() && steps.iter().zip(path).all(|(step, at)| step.is(at))
        })
    }
}

impl Step {
    fn is(&self, segment: &Segment<'_>) -> bool {
        match (self, segment) {
            (Self::Any, _) => true,
            (Self::Named(name), Segment::Key(key)) => name == key,
            (Self::Named(name), Segment::Index(index)) => *name == index.to_string(),
        }
    }
}

fn unknown(text: &str) -> String {
    let text = text.escape_debug();
    format!(
        "`{text}` names no field; write `status`, `latency`, `header:NAME`, `body` or \
         `body:/json/pointer`"
    )
}

fn header_name(name: &str) -> Result<String, String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        let name = name.escape_debug();
        return Err(format!("`{name}` is no header name; write for example `header:etag`"));
    }
    Ok(name.to_ascii_lowercase())
}

fn steps(pointer: &str) -> Result<Vec<Step>, String> {
    let shown = pointer.escape_debug();
    let Some(rest) = pointer.strip_prefix('/') else {
        return Err(format!(
            "`{shown}` is no JSON pointer: it must begin with `/`; for the whole body write `body`"
        ));
    };
    let step = |text: &str| match text {
        "*" => Ok(Step::Any),
        _ => unescape(text).map(Step::Named).ok_or_else(|| {
            format!("`~` in `{shown}` must be written `~0`, and a `/` within a key `~1`")
        }),
    };
    rest.split('/').map(step).collect()
}

/// Undoes `~0` and `~1`; `None` when a `~` stands alone.
fn unescape(text: &str) -> Option<String> {
    let mut key = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '~' => match chars.next() {
                Some('0') => key.push('~'),
                Some('1') => key.push('/'),
                _ => return None,
            },
            _ => key.push(c),
        }
    }
    Some(key)
}
