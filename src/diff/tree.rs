//! JSON text as a tree that can be compared exactly.
//!
//! Not serde_json's `Value`: that rounds integers past 64 bits and long fractions to a double, so
//! that two different amounts would match, and it knows no bounds but its own recursion limit. This
//! reader keeps numbers as they were written and stops at the bounds before it allocates past them.
//! It accepts what RFC 8259 accepts, in UTF-8, and of a repeated key the last value, as most do.

use std::borrow::Cow;

use crate::limits::{JSON_DEPTH_MAX, JSON_NODES_MAX};

/// One JSON value, borrowing from the text where it can.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree<'a> {
    Null,
    Bool(bool),
    /// As written; [`same_number`] compares by value.
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Tree<'a>>),
    /// Sorted by key, each key once.
    Map(Vec<(Cow<'a, str>, Tree<'a>)>),
}

/// Why there is no tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    NotJson,
    /// Nested deeper than [`JSON_DEPTH_MAX`].
    TooDeep,
    /// More values than [`JSON_NODES_MAX`].
    TooBig,
}

/// Reads one JSON value with nothing but white space around it.
pub(super) fn read(bytes: &[u8]) -> Result<Tree<'_>, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::NotJson)?;
    let mut reader = Reader { text, at: 0, nodes: 0 };
    let tree = reader.value(0)?;
    reader.space();
    if reader.at == text.len() { Ok(tree) } else { Err(Unreadable::NotJson) }
}

/// Whether two numbers, as written, are the same: `1`, `1.0` and `10e-1` are, and integers of any
/// length are compared by every digit.
pub(super) fn same_number(left: &str, right: &str) -> bool {
    if left == right {
        return true;
    }
    match (Decimal::of(left), Decimal::of(right)) {
        (Some(left), Some(right)) => left == right,
        // An exponent past 32 bits: nothing computes with it, so the text has to do.
        _ => false,
    }
}

/// `0.DIGITS × 10^exponent` without zeros at either end of the digits.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn of(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, power) = match text.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, i64::from(power.parse::<i32>().ok()?)),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let Some(first) = digits.iter().position(|digit| *digit != b'0') else {
            return Some(Self { negative: false, digits: Vec::new(), exponent: 0 });
        };
        let last = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(first);
        let exponent = power + whole.len() as i64 - first as i64;
        Some(Self { negative, digits: digits[first..=last].to_vec(), exponent })
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes this byte, if it is next after white space.
    fn takes(&mut self, byte: u8) -> bool {
        self.space();
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.takes(byte) { Ok(()) } else { Err(Unreadable::NotJson) }
    }

    fn value(&mut self, depth: usize) -> Result<Tree<'a>, Unreadable> {
        self.nodes += 1;
        if self.nodes > JSON_NODES_MAX {
            return Err(Unreadable::TooBig);
        }
        self.space();
        match self.peek().ok_or(Unreadable::NotJson)? {
            b'n' => self.word("null", Tree::Null),
            b't' => self.word("true", Tree::Bool(true)),
            b'f' => self.word("false", Tree::Bool(false)),
            b'"' => self.text().map(Tree::Text),
            b'[' | b'{' if depth == JSON_DEPTH_MAX => Err(Unreadable::TooDeep),
            b'[' => self.list(depth + 1),
            b'{' => self.map(depth + 1),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, tree: Tree<'a>) -> Result<Tree<'a>, Unreadable> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Unreadable::NotJson);
        }
        self.at += word.len();
        Ok(tree)
    }

    fn list(&mut self, depth: usize) -> Result<Tree<'a>, Unreadable> {
        self.at += 1;
        let mut items = Vec::new();
        if self.takes(b']') {
            return Ok(Tree::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.takes(b']') {
                return Ok(Tree::List(items));
            }
            self.expect(b',')?;
        }
    }

    fn map(&mut self, depth: usize) -> Result<Tree<'a>, Unreadable> {
        self.at += 1;
        let mut entries = Vec::new();
        if self.takes(b'}') {
            return Ok(Tree::Map(entries));
        }
        loop {
            self.space();
            let key = self.text()?;
            self.expect(b':')?;
            let value = self.value(depth)?;
            entries.push((key, value));
            if self.takes(b'}') {
                break;
            }
            self.expect(b',')?;
        }
        // The sort is stable, so once turned around the last of equal keys comes first and stays.
        entries.reverse();
        entries.sort_by(|left, right| left.0.cmp(&right.0));
        entries.dedup_by(|later, first| later.0 == first.0);
        Ok(Tree::Map(entries))
    }

    fn digits(&mut self) -> Result<(), Unreadable> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Unreadable::NotJson) }
    }

    fn number(&mut self) -> Result<Tree<'a>, Unreadable> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            // A zero stands alone: `01` is no number.
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Tree::Number(&self.text[start..self.at]))
    }

    fn text(&mut self) -> Result<Cow<'a, str>, Unreadable> {
        if self.peek() != Some(b'"') {
            return Err(Unreadable::NotJson);
        }
        self.at += 1;
        let mut start = self.at;
        let mut owned: Option<String> = None;
        loop {
            match self.peek().ok_or(Unreadable::NotJson)? {
                b'"' => break,
                b'\\' => {
                    let text = owned.get_or_insert_default();
                    text.push_str(&self.text[start..self.at]);
                    self.at += 1;
                    let c = self.escape()?;
                    owned.get_or_insert_default().push(c);
                    start = self.at;
                }
                0..0x20 => return Err(Unreadable::NotJson),
                _ => self.at += 1,
            }
        }
        let rest = &self.text[start..self.at];
        self.at += 1;
        Ok(match owned {
            Some(text) => Cow::Owned(text + rest),
            None => Cow::Borrowed(rest),
        })
    }

    /// Reads what follows a backslash.
    fn escape(&mut self) -> Result<char, Unreadable> {
        let byte = self.peek().ok_or(Unreadable::NotJson)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(Unreadable::NotJson),
        })
    }

    fn unicode(&mut self) -> Result<char, Unreadable> {
        let mut code = self.hex4()?;
        if (0xd800..0xdc00).contains(&code) {
            self.word("\\u", Tree::Null)?;
            let low = self.hex4()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(Unreadable::NotJson);
            }
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        char::from_u32(code).ok_or(Unreadable::NotJson)
    }

    fn hex4(&mut self) -> Result<u32, Unreadable> {
        let bytes = self.text.as_bytes();
        let digits = bytes.get(self.at..self.at + 4).ok_or(Unreadable::NotJson)?;
        let mut code = 0;
        for digit in digits {
            code = code * 16 + char::from(*digit).to_digit(16).ok_or(Unreadable::NotJson)?;
        }
        self.at += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn check(left: &str, right: &str, same: bool) {
        assert_eq!(same_number(left, right), same, "{left} and {right}");
        assert_eq!(same_number(right, left), same, "{right} and {left}");
    }

    #[test]
    fn numbers_are_compared_by_value_to_the_last_digit() {
        check("1", "1.0", true);
        check("1", "10e-1", true);
        check("1e2", "100", true);
        check("0.5", "5E-1", true);
        check("-0", "0.00", true);
        check("1", "-1", false);
        check("1", "10", false);
        check("18446744073709551617", "18446744073709551616", false);
        check("0.1", "0.10000000000000000001", false);
        check("1e99999999999", "10e99999999998", false);
    }

    #[test]
    fn bounds_are_exact() {
        let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
        let deep = nested(JSON_DEPTH_MAX + 1);
        assert_eq!(read(deep.as_bytes()), Err(Unreadable::TooDeep));
        let list = |items| format!("[{}]", vec!["1"; items].join(","));
        assert!(read(list(JSON_NODES_MAX - 1).as_bytes()).is_ok());
        assert_eq!(read(list(JSON_NODES_MAX).as_bytes()), Err(Unreadable::TooBig));
    }

    #[test]
    fn of_a_repeated_key_the_last_counts() {
        let one = read(br#"{"b": 0, "a": 1, "a": 2}"#);
        assert_eq!(one, read(br#"{"a": 2, "b": 0}"#));
    }

    fn as_value(tree: &Tree) -> Value {
        match tree {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(text) => text.parse().unwrap(),
            Tree::Text(text) => Value::String(text.to_string()),
            Tree::List(items) => items.iter().map(as_value).collect(),
            Tree::Map(entries) => {
                entries.iter().map(|(key, value)| (key.to_string(), as_value(value))).collect()
            }
        }
    }

    proptest! {
        // Two readers, one language. The exponent ends with a space, so that no digits behind it
        // make it longer: past a double's range serde_json gives up where this reader need not.
        #[test]
        fn reads_what_serde_json_reads(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just(" "),
                    Just("\"a\""), Just("\"\\u0041\\n\""), Just("\"\\ud83d\\ude00\""), Just("0"),
                    Just("\"\\ud800\""), Just("-1.5e2 "), Just("12"), Just("null"), Just("true"),
                    Just("false"), Just("-"), Just("\""), Just("."), Just("\u{1}"), Just("é"),
                ],
                0..8,
            )
        ) {
            let text = parts.concat();
            let theirs = serde_json::from_str::<Value>(&text).ok();
            prop_assert_eq!(read(text.as_bytes()).ok().map(|tree| as_value(&tree)), theirs);
        }

        #[test]
        fn reads_what_serde_json_writes(text in "\\PC{0,20}", n in any::<i64>(), f in -1e9..1e9) {
            let value = serde_json::json!({"t": [text, {"": n}], "f": f, "z": [null, true]});
            let written = value.to_string();
            let tree = read(written.as_bytes()).map(|tree| as_value(&tree));
            prop_assert_eq!(tree, Ok(serde_json::from_str(&written).unwrap()));
        }
    }
}
