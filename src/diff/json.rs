//! Do two JSON values agree? A walk over both trees at once.
//!
//! Keys are a set, lists are compared index by index, numbers by value, texts after unescaping.
//! A change of type is one difference where it happens. Paths are reported with indices folded to
//! `*`, so that a thousand items with a wrong price are one field.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::redact::shown;
use super::rules::{Rules, Segment};
use super::tree::{Tree, same_number};
use super::{Comparison, FieldPath, Kind, MISSING};

/// Adds the differences between two values to a comparison.
pub(super) fn compare<'a>(
    primary: &'a Tree<'a>,
    shadow: &'a Tree<'a>,
    rules: &'a Rules,
    found: &'a mut Comparison,
) {
    Walk { rules, found, path: Vec::new() }.value(primary, shadow);
}

struct Walk<'a> {
    rules: &'a Rules,
    found: &'a mut Comparison,
    path: Vec<Segment<'a>>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, primary: &'a Tree<'a>, shadow: &'a Tree<'a>) {
        if self.rules.ignores_value(&self.path) {
            return;
        }
        let same = match (primary, shadow) {
            (Tree::Map(left), Tree::Map(right)) => return self.maps(left, right),
            (Tree::List(left), Tree::List(right)) => return self.lists(left, right),
            (Tree::Number(left), Tree::Number(right)) => same_number(left, right),
            _ => primary == shadow,
        };
        if !same {
            self.differ(Some(primary), Some(shadow));
        }
    }

    /// Both are sorted by key, so one pass meets every key of either once.
    fn maps(&mut self, left: &'a [Entry<'a>], right: &'a [Entry<'a>]) {
        let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) => a.0.cmp(&b.0),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return,
            };
            let primary = if order.is_le() { left.next() } else { None };
            let shadow = if order.is_ge() { right.next() } else { None };
            let Some((key, _)) = primary.or(shadow) else { return };
            self.path.push(Segment::Key(key));
            match (primary, shadow) {
                (Some((_, a)), Some((_, b))) => self.value(a, b),
                _ if self.rules.ignores_value(&self.path) => {}
                _ => self.differ(primary.map(|entry| &entry.1), shadow.map(|entry| &entry.1)),
            }
            self.path.pop();
        }
    }

    fn lists(&mut self, left: &'a [Tree<'a>], right: &'a [Tree<'a>]) {
        for (index, (a, b)) in left.iter().zip(right).enumerate() {
            self.path.push(Segment::Index(index));
            self.value(a, b);
            self.path.pop();
        }
        for index in left.len().min(right.len())..left.len().max(right.len()) {
            self.path.push(Segment::Index(index));
            let counts = !self.rules.ignores_value(&self.path);
            if counts {
                let field = FieldPath::new(Kind::Body, &self.name());
                self.found.add(field, items(left.len()), items(right.len()));
            }
            self.path.pop();
            // One missing item says it all: the others fold to the same field.
            if counts {
                return;
            }
        }
    }

    fn differ(&mut self, primary: Option<&Tree<'a>>, shadow: Option<&Tree<'a>>) {
        // The whole name decides what is hidden; the field's own text may be cut.
        let name = self.name();
        let field = FieldPath::new(Kind::Body, &name);
        if !self.found.differs_in(&field) {
            self.found.add(field, text(&name, primary), text(&name, shadow));
        }
    }

    fn name(&self) -> String {
        let mut text = String::from(if self.path.is_empty() { "body" } else { "body:" });
        for segment in &self.path {
            text.push('/');
            match segment {
                Segment::Key(key) => text.push_str(&key.replace('~', "~0").replace('/', "~1")),
                Segment::Index(_) => text.push('*'),
            }
        }
        text
    }
}

type Entry<'a> = (Cow<'a, str>, Tree<'a>);

fn items(count: usize) -> String {
    format!("[{count} items]")
}

/// A value in short. What is inside of lists and maps is not shown: it has its own names, which
/// would have to be asked for secrets.
fn text(name: &str, tree: Option<&Tree<'_>>) -> String {
    match tree {
        None => MISSING.into(),
        Some(Tree::Null) => "null".into(),
        Some(Tree::List(list)) => items(list.len()),
        Some(Tree::Map(map)) => format!("{{{} keys}}", map.len()),
        Some(Tree::Bool(value)) => shown(name, &value.to_string()),
        Some(Tree::Number(number)) => shown(name, number),
        Some(Tree::Text(text)) => format!("\"{}\"", shown(name, text)),
    }
}
