//! What is kept of an answer until it is compared.

use std::time::Duration;

use crate::diff;
use crate::h1::fields::Fields;
use crate::proxy::buffers::Scratch;

/// An answer that was copied from where it passed.
#[derive(Debug)]
pub struct Observed {
    pub status: u16,
    pub fields: Fields,
    pub body: Kept,
    /// From the moment the request was taken on to the end of the answer's head.
    pub latency: Duration,
}

impl Observed {
    /// The answer in the words of the comparison.
    pub fn answer(&self) -> diff::Answer<'_> {
        let (status, fields, latency) = (self.status, &self.fields, self.latency);
        diff::Answer { status, fields, body: self.body.as_body(), latency }
    }
}

/// An answer whose head still lies where it was read.
#[derive(Debug)]
pub struct Fresh {
    pub scratch: Box<Scratch>,
    pub body: Kept,
    /// As that of [`Observed`].
    pub latency: Duration,
}

impl Fresh {
    /// The answer in the words of the comparison.
    pub fn answer(&self) -> diff::Answer<'_> {
        let head = &self.scratch.response;
        let (status, fields, latency) = (head.status, &head.fields, self.latency);
        diff::Answer { status, fields, body: self.body.as_body(), latency }
    }

    /// Copies the head, and gives back where it lay.
    pub fn observed(self) -> (Observed, Box<Scratch>) {
        let Self { scratch, body, latency } = self;
        let (status, fields) = (scratch.response.status, scratch.response.fields.clone());
        (Observed { status, fields, body, latency }, scratch)
    }
}

/// The bytes of a body as long as they are few enough.
#[derive(Debug)]
pub struct Kept {
    bytes: Vec<u8>,
    bytes_max: usize,
    cut: bool,
}

impl Kept {
    /// Keeps bodies of at most so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Self { bytes: Vec::new(), bytes_max, cut: false }
    }

    /// Keeps a piece more, or nothing at all once it is too much.
    pub fn push(&mut self, piece: &[u8]) {
        if self.cut {
            return;
        }
        if self.bytes.len() + piece.len() > self.bytes_max {
            self.cut = true;
            self.bytes = Vec::new();
            return;
        }
        self.bytes.extend_from_slice(piece);
    }

    /// Whether the body was longer than what is kept.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    fn as_body(&self) -> diff::Body<'_> {
        if self.cut { diff::Body::Cut } else { diff::Body::Whole(&self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_kept_whole_or_not_at_all() {
        let cases: &[(u64, &[&str], Option<&str>)] = &[
            (4, &[], Some("")),
            (4, &["ab", "cd"], Some("abcd")),
            (4, &["ab", "cde"], None),
            (4, &["abcde", "f"], None),
            (0, &["a"], None),
            (u64::MAX, &["a", "b"], Some("ab")),
        ];
        for (bytes_max, pieces, expect) in cases {
            let mut kept = Kept::new(*bytes_max);
            for piece in *pieces {
                kept.push(piece.as_bytes());
            }
            match (kept.as_body(), expect) {
                (diff::Body::Whole(body), Some(expect)) => assert_eq!(body, expect.as_bytes()),
                (diff::Body::Cut, None) => assert_eq!(kept.bytes.capacity(), 0),
                (body, expect) => panic!("{body:?} instead of {expect:?}"),
            }
        }
    }
}
