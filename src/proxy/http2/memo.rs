//! Fields as the library wants them, kept for the next answer: most answers of an upstream are alike.
//!
//! Making a name and a value from bytes checks, hashes, allocates and copies. Most fields of an answer were
//! in one before, and finding them again costs a third.

use std::cell::RefCell;
use std::hash::Hasher as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use rustc_hash::FxHasher;

use crate::h1::fields::{Field, Fields, Known};
use crate::h1::write::Section;
use crate::limits::{MEMO_FIELDS, MEMO_VALUE_BYTES_MAX};

/// The fields of one worker; one takes the place of another.
#[derive(Debug)]
pub struct Memo(RefCell<Box<[Option<Kept>]>>);

#[derive(Debug)]
struct Kept {
    /// The name as the upstream writes it.
    written: Box<[u8]>,
    name: HeaderName,
    value: HeaderValue,
}

impl Default for Memo {
    fn default() -> Self {
        Self(RefCell::new((0..MEMO_FIELDS).map(|_| None).collect()))
    }
}

impl Memo {
    /// The field, made anew if it is not there. What the library does not take is `None`.
    fn field(
        &self,
        written: &[u8],
        value: &[u8],
        known: Known,
    ) -> Option<(HeaderName, HeaderValue)> {
        if known.is_secret() || value.len() > MEMO_VALUE_BYTES_MAX {
            return made(written, value);
        }
        let mut hasher = FxHasher::default();
        hasher.write(written);
        hasher.write(value);
        let mut slots = self.0.borrow_mut();
        let slot = &mut slots[hasher.finish() as usize % MEMO_FIELDS];
        let same = |kept: &&Kept| *kept.written == *written && kept.value.as_bytes() == value;
        if let Some(kept) = slot.as_ref().filter(same) {
            return Some((kept.name.clone(), kept.value.clone()));
        }
        let (name, value) = made(written, value)?;
        let written = written.into();
        *slot = Some(Kept { written, name: name.clone(), value: value.clone() });
        Some((name, value))
    }
}

fn made(name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
}

/// The fields of an answer being made.
pub struct Remembered<'a> {
    pub map: &'a mut HeaderMap,
    pub memo: &'a Memo,
}

impl Remembered<'_> {
    fn add(&mut self, name: &[u8], value: &[u8], known: Known) {
        if let Some((name, value)) = self.memo.field(name, value, known) {
            self.map.append(name, value);
        }
    }
}

impl Section for Remembered<'_> {
    fn line(&mut self, name: &[u8], value: &[u8]) {
        self.add(name, value, Known::of(name));
    }

    fn once(&mut self, name: &'static str, value: &[u8]) {
        self.map.once(name, value);
    }

    fn lines(&mut self, fields: &Fields, passes: impl FnMut(&Field<'_>) -> bool) {
        let passing = fields.iter().filter(passes);
        passing.for_each(|field| self.add(field.name(), field.value(), field.known));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(memo: &Memo, written: &[(&str, &str)]) -> HeaderMap {
        let mut fields = Fields::default();
        for (name, value) in written {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        let mut map = HeaderMap::new();
        Remembered { map: &mut map, memo }.lines(&fields, |_| true);
        map
    }

    #[test]
    fn what_is_remembered_is_what_would_be_made() {
        let memo = Memo::default();
        let long = "x".repeat(MEMO_VALUE_BYTES_MAX + 1);
        let answers: [&[(&str, &str)]; 4] = [
            &[("Server", "a"), ("ETag", "\"1\""), ("Set-Cookie", "a=1"), ("Set-Cookie", "a=2")],
            &[("server", "a"), ("ETag", "\"2\""), ("Set-Cookie", "a=1")],
            &[("Server", "a"), ("X-Long", &long), ("X-Empty", "")],
            &[("a b", "no name"), ("Server", "a")],
        ];
        for answer in answers.iter().cycle().take(40) {
            let mut expect = HeaderMap::new();
            for (name, value) in *answer {
                expect.line(name.as_bytes(), value.as_bytes());
            }
            assert_eq!(map(&memo, answer), expect);
        }
        let kept = memo.0.borrow();
        let kept: Vec<_> = kept.iter().flatten().map(|kept| &*kept.written).collect();
        assert!(kept.contains(&&b"Server"[..]) && kept.contains(&&b"ETag"[..]));
        assert!(!kept.contains(&&b"Set-Cookie"[..]), "a secret is not kept");
        assert!(!kept.contains(&&b"X-Long"[..]));
    }
}
