//! Fields as the library of HTTP/2 wants them, kept for the next head: most answers of an upstream are alike,
//! and so are most requests to it.
//!
//! Making a name and a value from bytes checks, hashes, allocates and copies. Most fields of a head were
//! in one before, and finding them again costs a third.

use std::cell::RefCell;
use std::hash::Hasher as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use rustc_hash::FxHasher;

use crate::h1::fields::{Field, Fields, Known};
use crate::h1::write::Section;
use crate::limits::{MEMO_FIELDS, MEMO_VALUE_BYTES_MAX};
use crate::proxy::fields_h2::made;

/// The fields of one worker; one takes the place of another.
#[derive(Debug)]
pub struct Memo(RefCell<Box<[Option<Kept>]>>);

#[derive(Debug)]
struct Kept {
    /// The name as it was written.
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
    /// The field, made anew if it is not there. What the library does not take is `None`. What was in no
    /// head before may be in none after, and stays out of the table of HPACK.
    fn field(
        &self,
        written: &[u8],
        value: &[u8],
        known: Known,
    ) -> Option<(HeaderName, HeaderValue)> {
        let is_of_one = matches!(known, Known::XRequestId | Known::Traceparent);
        if known.is_secret() || is_of_one || value.len() > MEMO_VALUE_BYTES_MAX {
            return made(written, value, known);
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
        let (name, mut value) = made(written, value, known)?;
        let written = written.into();
        *slot = Some(Kept { written, name: name.clone(), value: value.clone() });
        value.set_sensitive(true);
        Some((name, value))
    }
}

/// The fields of a head being made.
pub struct Remembered<'a> {
    pub map: &'a mut HeaderMap,
    pub memo: &'a Memo,
}

impl Remembered<'_> {
    /// Appends one field of this kind.
    pub fn add(&mut self, name: &[u8], value: &[u8], known: Known) {
        if let Some((name, value)) = self.memo.field(name, value, known) {
            self.map.append(name, value);
        }
    }
}

impl Section for Remembered<'_> {
    fn line(&mut self, name: &[u8], value: &[u8]) {
        self.add(name, value, Known::of(name));
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
    fn what_comes_again_is_put_into_the_table() {
        let memo = Memo::default();
        let answer =
            [("Server", "a"), ("Date", "today"), ("Set-Cookie", "a=1"), ("X-Request-Id", "1")];
        let kept_out = |map: HeaderMap| {
            answer.iter().map(|(name, _)| map[*name].is_sensitive()).collect::<Vec<_>>()
        };
        assert_eq!(kept_out(map(&memo, &answer)), [true, true, true, true]);
        assert_eq!(kept_out(map(&memo, &answer)), [false, true, true, true]);
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
