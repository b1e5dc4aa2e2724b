//! A head of HTTP/2 that others are made after.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::h1::fields::Known;
use crate::limits::{TEMPLATE_COPIES_MANY, TEMPLATE_FIELDS_MAX, TEMPLATE_MISSES_MAX};

/// Names in their order, each there once, and the values that they had last.
#[derive(Debug)]
pub struct Template {
    lines: Vec<Line>,
    map: HeaderMap,
    /// Values that only the head being made has, by their place in the map.
    own: Vec<(usize, HeaderValue)>,
    /// Heads made after it since it was settled.
    copies: u32,
    /// By how much heads that turned out to have other names outnumber them.
    misses: u32,
}

/// One field of it.
#[derive(Debug)]
pub struct Line {
    /// The name as it was written.
    written: Box<[u8]>,
    name: HeaderName,
    /// `None` when every head has its own.
    value: Option<HeaderValue>,
    /// Where the map has it.
    place: usize,
    stay: Stay,
}

/// How long a field has been as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// It was another one when the template was looked at.
    Changed,
    /// As long as that, and longer.
    Unchanged,
    Settled,
    /// It is another one before long.
    Never,
}

impl Line {
    /// A field as it was made.
    pub fn new(written: &[u8], name: HeaderName, value: Option<HeaderValue>, known: Known) -> Self {
        let stay = if known.is_fleeting() { Stay::Never } else { Stay::Changed };
        Self { written: written.into(), name, value, place: 0, stay }
    }

    /// Whether the last value was this one.
    pub fn had(&self, value: &[u8]) -> bool {
        self.value.as_ref().is_some_and(|last| last.as_bytes() == value)
    }

    /// Puts it into memory that is never given back, if it is time to; tells how much.
    fn settle(&mut self) -> usize {
        self.stay = match self.stay {
            Stay::Changed => Stay::Unchanged,
            Stay::Unchanged => Stay::Settled,
            Stay::Settled | Stay::Never => return 0,
        };
        let Some(value) = self.value.as_mut().filter(|_| self.stay == Stay::Settled) else {
            return 0;
        };
        let stays = Bytes::from_static(Box::leak(value.as_bytes().into()));
        if let Ok(mut settled) = HeaderValue::from_maybe_shared(stays) {
            settled.set_sensitive(value.is_sensitive());
            *value = settled;
        }
        self.name = HeaderName::from_static(Box::leak(self.name.as_str().into()));
        value.len() + self.name.as_str().len()
    }
}

/// The fields as a head; `None` if a name comes twice.
fn map_of(lines: &mut [Line]) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(lines.len());
    for line in lines.iter() {
        let value = line.value.clone().unwrap_or(HeaderValue::from_static(""));
        map.append(line.name.clone(), value);
    }
    for (place, name) in map.keys().enumerate() {
        lines.iter_mut().find(|line| line.name == name)?.place = place;
    }
    (map.keys_len() == lines.len()).then_some(map)
}

impl Template {
    /// Of the fields of a head; `None` if a name comes twice, or there are so many that looking for each of them
    /// among the others would take long.
    pub fn new(mut lines: Vec<Line>) -> Option<Self> {
        if lines.len() > TEMPLATE_FIELDS_MAX {
            return None;
        }
        let map = map_of(&mut lines)?;
        Some(Self { lines, map, own: Vec::new(), copies: 0, misses: 0 })
    }

    /// Begins another head.
    pub fn begin(&mut self) {
        self.own.clear();
    }

    /// The field in this place of the order, if it has this name.
    pub fn line(&self, at: usize, written: &[u8]) -> Option<&Line> {
        self.lines.get(at).filter(|line| *line.written == *written)
    }

    /// Gives the head being made a value that others may not have.
    pub fn set(&mut self, at: usize, value: HeaderValue) {
        self.own.push((self.lines[at].place, value));
    }

    /// Gives it, and those after it, another value.
    pub fn keep(&mut self, at: usize, value: HeaderValue) {
        let line = &mut self.lines[at];
        if line.stay != Stay::Never {
            line.stay = Stay::Changed;
        }
        if let Some(slot) = self.map.values_mut().nth(line.place) {
            slot.clone_from(&value);
        }
        line.value = Some(value);
    }

    /// The head, if these are all of its names.
    pub fn copy(&mut self, count: usize) -> Option<HeaderMap> {
        if count != self.lines.len() {
            return None;
        }
        self.misses = self.misses.saturating_sub(1);
        self.copies += 1;
        let mut map = self.map.clone();
        self.own.sort_unstable_by_key(|(place, _)| *place);
        let mut slots = map.values_mut().enumerate();
        for (own, value) in self.own.drain(..) {
            if let Some((_, slot)) = slots.find(|(place, _)| *place == own) {
                *slot = value;
            }
        }
        Some(map)
    }

    /// The fields so far of a head that has other names from there on.
    pub fn leave(&mut self, at: usize) -> HeaderMap {
        self.misses += 1;
        let mut map = HeaderMap::with_capacity(self.lines.len());
        for line in &self.lines[..at] {
            let own = self.own.iter().find(|(place, _)| *place == line.place);
            let value = own.map(|(_, value)| value).or(line.value.as_ref());
            map.extend(value.map(|value| (line.name.clone(), value.clone())));
        }
        map
    }

    /// Whether others had better be made after another one.
    pub fn is_outdated(&self) -> bool {
        self.misses > TEMPLATE_MISSES_MAX
    }

    /// Has what many heads were made with stay for good, if there is room: copying a field then counts no references,
    /// which is two atomic steps.
    pub fn settle(&mut self, room: &mut usize) {
        if self.copies < TEMPLATE_COPIES_MANY || *room == 0 {
            return;
        }
        self.copies = 0;
        let moved: usize = self.lines.iter_mut().map(Line::settle).sum();
        if moved > 0
            && let Some(map) = map_of(&mut self.lines)
        {
            *room = room.saturating_sub(moved);
            self.map = map;
        }
    }
}
