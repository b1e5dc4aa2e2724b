//! How a gRPC call went: its status is in the trailers, behind a 200 whatever happened.

use crate::h1::fields::{Fields, Known};
use crate::h1::head::ResponseHead;

/// What an answer says in gRPC's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// It is no gRPC, or has not said.
    #[default]
    None,
    /// It is gRPC, and its status is still to come.
    Awaited,
    /// The code: 0 to 16, or 2, which is unknown, for one that is none of these.
    Status(u8),
}

/// What clients make of a call that ends without a status, or with none that is known.
const UNKNOWN: u8 = 2;
/// The greatest code.
const UNAUTHENTICATED: u8 = 16;

impl Outcome {
    /// Looks at the head of an answer. One without a body has its status there.
    pub fn begins(&mut self, answer: &ResponseHead) {
        let kind = answer.fields.get(Known::ContentType);
        let is_grpc = kind.is_some_and(|kind| {
            kind.get(..16).is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/grpc"))
        });
        *self = match is_grpc {
            true => status(&answer.fields).map_or(Self::Awaited, Self::Status),
            false => Self::None,
        };
    }

    /// Looks at the trailers of an answer that is complete.
    pub fn ends(&mut self, trailers: Option<&Fields>) {
        if *self == Self::Awaited {
            *self = Self::Status(trailers.and_then(status).unwrap_or(UNKNOWN));
        }
    }

    /// The code, once it is known.
    pub fn status(self) -> Option<u8> {
        match self {
            Self::Status(code) => Some(code),
            Self::None | Self::Awaited => None,
        }
    }

    /// The status of HTTP for a failure of the server; a caller's own mistakes are none.
    pub fn failure(self) -> Option<u16> {
        match self.status()? {
            2 | 13 | 15 => Some(500),
            4 => Some(504),
            12 => Some(501),
            14 => Some(503),
            _ => None,
        }
    }
}

fn status(fields: &Fields) -> Option<u8> {
    let field = fields.find("grpc-status")?;
    let code = std::str::from_utf8(field).ok().and_then(|text| text.parse().ok());
    Some(code.filter(|code| *code <= UNAUTHENTICATED).unwrap_or(UNKNOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields by name and value.
    type Pairs = &'static [(&'static str, &'static str)];
    /// A content type, a head, trailers, and what they say: the status, and the failure in HTTP.
    type Case = (&'static str, Pairs, Pairs, Option<u8>, Option<u16>);

    fn outcome(kind: &str, head: Pairs, trailers: Pairs) -> Outcome {
        let mut answer = ResponseHead::new();
        answer.fields.push(b"content-type", kind.as_bytes());
        let push = |fields: &mut Fields, pairs: &[(&str, &str)]| {
            for (name, value) in pairs {
                fields.push(name.as_bytes(), value.as_bytes());
            }
        };
        push(&mut answer.fields, head);
        let mut behind = Fields::default();
        push(&mut behind, trailers);
        let mut outcome = Outcome::default();
        outcome.begins(&answer);
        outcome.ends(Some(&behind).filter(|fields| !fields.is_empty()));
        outcome
    }

    #[test]
    fn the_status_stands_in_the_trailers_or_in_a_head_without_a_body() {
        const GRPC: &str = "application/grpc+proto";
        const CASES: &[Case] = &[
            (GRPC, &[], &[("grpc-status", "0")], Some(0), None),
            (GRPC, &[], &[("Grpc-Status", "14")], Some(14), Some(503)),
            (GRPC, &[("grpc-status", "4")], &[], Some(4), Some(504)),
            (GRPC, &[("grpc-status", "4")], &[("grpc-status", "0")], Some(4), Some(504)),
            (GRPC, &[], &[], Some(2), Some(500)),
            (GRPC, &[], &[("grpc-status", "17")], Some(2), Some(500)),
            (GRPC, &[], &[("grpc-status", "-1")], Some(2), Some(500)),
            (GRPC, &[], &[("grpc-status", "5")], Some(5), None),
            ("application/json", &[], &[("grpc-status", "13")], None, None),
        ];
        for (kind, head, trailers, status, failure) in CASES {
            let found = outcome(kind, head, trailers);
            assert_eq!(found.status(), *status, "{kind} {head:?} {trailers:?}");
            assert_eq!(found.failure(), *failure, "{kind} {head:?} {trailers:?}");
        }
    }
}
