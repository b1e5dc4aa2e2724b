//! Fields as the library of HTTP/2 wants them, kept for the next head: most answers of an upstream are alike,
//! and so are most requests to it.
//!
//! Making a name and a value from bytes checks, hashes, allocates and copies. Most fields of a head were
//! in one before, and finding them again costs a third. Most heads have the same names in the same order as
//! one before; making a copy of that one and changing what differs costs a third of finding each field.

use std::cell::{RefCell, RefMut};
use std::hash::Hasher as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use rustc_hash::FxHasher;

use crate::h1::fields::{Field, Fields, Known};
use crate::h1::write::Section;
use crate::limits::{MEMO_FIELDS, MEMO_SETTLED_BYTES_MAX, MEMO_TEMPLATES, MEMO_VALUE_BYTES_MAX};
use crate::proxy::fields_h2::made;
use crate::proxy::template::{Line, Template};

/// The fields and heads of one worker towards one side; one takes the place of another.
#[derive(Debug)]
pub struct Memo(RefCell<Tables>);

#[derive(Debug)]
struct Tables {
    fields: KnownFields,
    /// By the number of fields.
    templates: Box<[Option<Template>]>,
    /// Bytes that may still be kept for good.
    room: usize,
}

#[derive(Debug)]
struct KnownFields(Box<[Option<Kept>]>);

#[derive(Debug)]
struct Kept {
    /// The name as it was written.
    written: Box<[u8]>,
    name: HeaderName,
    value: HeaderValue,
}

/// One field.
struct Found {
    name: HeaderName,
    value: HeaderValue,
    /// It was in a head before.
    again: bool,
}

impl Default for Memo {
    fn default() -> Self {
        let fields = KnownFields((0..MEMO_FIELDS).map(|_| None).collect());
        let templates = (0..MEMO_TEMPLATES).map(|_| None).collect();
        Self(RefCell::new(Tables { fields, templates, room: MEMO_SETTLED_BYTES_MAX }))
    }
}

/// Whether a field is not kept: it is a secret, or of one request only.
fn is_of_one(known: Known, value: &[u8]) -> bool {
    let is_of_one = matches!(known, Known::XRequestId | Known::Traceparent);
    known.is_secret() || is_of_one || value.len() > MEMO_VALUE_BYTES_MAX
}

impl KnownFields {
    /// The field, made anew if it is not there. What the library does not take is `None`. What was in no
    /// head before may be in none after, and stays out of the table of HPACK.
    fn find(&mut self, written: &[u8], value: &[u8], known: Known) -> Option<Found> {
        if is_of_one(known, value) {
            let (name, value) = made(written, value, known)?;
            return Some(Found { name, value, again: false });
        }
        let mut hasher = FxHasher::default();
        hasher.write(written);
        hasher.write(value);
        let slot = &mut self.0[hasher.finish() as usize % MEMO_FIELDS];
        let same = |kept: &&Kept| *kept.written == *written && kept.value.as_bytes() == value;
        if let Some(kept) = slot.as_ref().filter(same) {
            return Some(Found { name: kept.name.clone(), value: kept.value.clone(), again: true });
        }
        let (name, mut value) = made(written, value, known)?;
        let written = written.into();
        *slot = Some(Kept { written, name: name.clone(), value: value.clone() });
        value.set_sensitive(true);
        Some(Found { name, value, again: false })
    }
}

impl Memo {
    /// Begins a head that will have about so many fields.
    pub fn draft(&self, count: usize) -> Draft<'_> {
        let mut tables = self.0.borrow_mut();
        let slot = count % MEMO_TEMPLATES;
        let stage = match &mut tables.templates[slot] {
            Some(template) => {
                template.begin();
                Stage::Alike(0)
            }
            None => Stage::First(HeaderMap::with_capacity(count), Vec::new()),
        };
        Draft { tables, slot, stage }
    }
}

/// A head being made.
#[derive(Debug)]
pub struct Draft<'a> {
    tables: RefMut<'a, Tables>,
    slot: usize,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// So many fields have the names of the template's.
    Alike(usize),
    /// It has other names than the template.
    Apart(HeaderMap),
    /// There was no template; this will be one.
    First(HeaderMap, Vec<Line>),
}

impl Draft<'_> {
    /// Appends one field of this kind.
    pub fn add(&mut self, written: &[u8], value: &[u8], known: Known) {
        let Tables { fields, templates, .. } = &mut *self.tables;
        if let Stage::Alike(at) = &mut self.stage
            && let Some(template) = &mut templates[self.slot]
            && let Some(line) = template.line(*at, written)
        {
            if line.had(value) {
                *at += 1;
                return;
            }
            if let Some(found) = fields.find(written, value, known) {
                match found.again {
                    true => template.keep(*at, found.value),
                    false => template.set(*at, found.value),
                }
                *at += 1;
                return;
            }
        }
        let Some(found) = fields.find(written, value, known) else { return };
        self.append(written, found, (known, value));
    }

    /// Appends a field that is not in the template.
    fn append(&mut self, written: &[u8], found: Found, (known, value): (Known, &[u8])) {
        self.leave();
        match &mut self.stage {
            Stage::Alike(_) => {}
            Stage::Apart(map) => drop(map.append(found.name, found.value)),
            Stage::First(map, lines) => {
                let mut shown = found.value.clone();
                shown.set_sensitive(known.is_fleeting());
                let shown = Some(shown).filter(|_| !is_of_one(known, value));
                lines.push(Line::new(written, found.name.clone(), shown, known));
                map.append(found.name, found.value);
            }
        }
    }

    /// Goes on without the template.
    fn leave(&mut self) {
        let template = &mut self.tables.templates[self.slot];
        if let Stage::Alike(at) = self.stage
            && let Some(left) = template
        {
            self.stage = Stage::Apart(left.leave(at));
            if left.is_outdated() {
                *template = None;
            }
        }
    }

    /// The head with all of its fields.
    pub fn finish(mut self) -> HeaderMap {
        let Tables { templates, room, .. } = &mut *self.tables;
        if let Stage::Alike(count) = self.stage
            && let Some(template) = &mut templates[self.slot]
            && let Some(map) = template.copy(count)
        {
            template.settle(room);
            return map;
        }
        self.leave();
        match self.stage {
            // Without a template nothing is like it.
            Stage::Alike(_) => HeaderMap::new(),
            Stage::Apart(map) => map,
            Stage::First(map, lines) => {
                self.tables.templates[self.slot] = Template::new(lines);
                map
            }
        }
    }
}

impl Section for Draft<'_> {
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
    use crate::limits::TEMPLATE_FIELDS_MAX;

    fn map(memo: &Memo, written: &[(&str, &str)]) -> HeaderMap {
        let mut fields = Fields::default();
        for (name, value) in written {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        let mut draft = memo.draft(written.len());
        draft.lines(&fields, |_| true);
        draft.finish()
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
        let tables = memo.0.borrow();
        let kept: Vec<_> = tables.fields.0.iter().flatten().map(|kept| &*kept.written).collect();
        assert!(kept.contains(&&b"Server"[..]) && kept.contains(&&b"ETag"[..]));
        assert!(!kept.contains(&&b"Set-Cookie"[..]), "a secret is not kept");
        assert!(!kept.contains(&&b"X-Long"[..]));
    }

    #[test]
    fn heads_made_after_a_template_are_what_would_be_made_whatever_comes() {
        let memo = Memo::default();
        let fields = ["server", "Date", "x-request-id", "set-cookie", "etag", "x-a", "a b"];
        let mut random = fastrand::Rng::with_seed(7);
        // Long enough for what is alike to be settled, and for what is not to run out of room.
        for turn in 0..40_000 {
            // Most are alike for a while.
            let alike = (1 + turn / 7000 % 5, turn / 5000);
            let other = (random.usize(1..6), random.usize(0..fields.len()));
            let (count, from) = if random.u8(..10) > 0 { alike } else { other };
            let value = |name: &str, random: &mut fastrand::Rng| match name {
                "x-request-id" => random.u64(..).to_string(),
                "etag" => random.u8(..20).to_string(),
                _ => (1 + random.u16(..6000) / 5999).to_string(),
            };
            let mut names: Vec<_> = fields.iter().cycle().skip(from).take(count).collect();
            if random.u8(..10) == 0 {
                names.push(names[0]);
            }
            let written: Vec<_> =
                names.iter().map(|name| (**name, value(name, &mut random))).collect();
            let written: Vec<_> =
                written.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut expect = HeaderMap::new();
            for (name, value) in &written {
                expect.line(name.as_bytes(), value.as_bytes());
            }
            let made = map(&memo, &written);
            assert_eq!(made, expect);
            for (name, value) in &made {
                let hidden = expect[name].is_sensitive();
                assert!(value.is_sensitive() || !hidden, "{name} is in the table");
            }
        }
        let tables = memo.0.borrow();
        assert!(tables.room < MEMO_SETTLED_BYTES_MAX, "some of it was settled");
    }

    #[test]
    fn what_was_in_a_head_before_is_put_into_the_table_whatever_it_is_made_after() {
        let memo = Memo::default();
        let shown = |etag: &str, date: &str| {
            let map = map(&memo, &[("server", "a"), ("etag", etag), ("date", date)]);
            ["server", "etag", "date"].map(|name| !map[name].is_sensitive())
        };
        assert_eq!(shown("1", "Monday"), [false, false, false]);
        assert_eq!(shown("1", "Monday"), [true, true, false]);
        assert_eq!(shown("2", "Tuesday"), [true, false, false]);
        assert_eq!(shown("2", "Tuesday"), [true, true, false]);
        assert_eq!(shown("1", "Monday"), [true, true, false]);
    }

    #[test]
    fn a_head_of_very_many_fields_is_no_template() {
        let memo = Memo::default();
        let names: Vec<_> = (0..=TEMPLATE_FIELDS_MAX).map(|place| format!("x-{place}")).collect();
        let written: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let is_template = |count: usize| {
            assert_eq!(map(&memo, &written[..count]).len(), count);
            matches!(memo.draft(count).stage, Stage::Alike(0))
        };
        assert!(is_template(TEMPLATE_FIELDS_MAX));
        assert!(!is_template(TEMPLATE_FIELDS_MAX + 1));
    }

    #[test]
    fn a_template_that_nothing_is_like_gives_way() {
        let memo = Memo::default();
        let is_alike = |names: [&'static str; 2]| {
            map(&memo, &names.map(|name| (name, "1")));
            matches!(memo.draft(2).stage, Stage::Alike(0)) && {
                let mut draft = memo.draft(2);
                names.iter().for_each(|name| draft.line(name.as_bytes(), b"1"));
                matches!(draft.stage, Stage::Alike(2))
            }
        };
        assert!(is_alike(["x-a", "x-b"]));
        let tries = (0..100).position(|_| is_alike(["x-c", "x-d"]));
        assert!(tries.is_some_and(|tries| tries > 2), "not at once: {tries:?}");
    }
}
