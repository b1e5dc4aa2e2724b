//! The tables, one file a family.

mod fields;
mod framing;
mod http2;
mod limits;
mod request_line;
mod semantics;
mod upstream;

use super::Table;

const fn table(class: &'static str, cases: &'static [super::Case]) -> Table {
    Table { class, cases, listener: "", tls: true, in_turn: false }
}

/// Every class of HTTP/2.
pub const HTTP2: &[(&str, &[super::h2::H2Case])] = &[
    ("h2 heads", http2::HEADS),
    ("h2 fields", http2::FIELDS),
    ("h2 bodies", http2::BODIES),
    ("h2 frames", http2::FRAMES),
    ("h2 floods", http2::FLOODS),
];

/// Every class.
pub const ALL: &[Table] = &[
    table("request line", request_line::LINES),
    table("host", request_line::HOSTS),
    table("header syntax", fields::SYNTAX),
    table("hop-by-hop up", fields::HOP_UP),
    table("hop-by-hop down", fields::HOP_DOWN),
    table("framing", framing::AMBIGUOUS),
    table("transfer coding", framing::CODINGS),
    table("chunked up", framing::CHUNKED),
    table("semantics", semantics::CASES),
    table("upstream framing", upstream::FRAMING),
    table("upstream damage", upstream::DAMAGE),
    Table { listener: limits::KEYS, ..table("limits", limits::CASES) },
    Table { in_turn: true, tls: false, ..table("stale reuse", upstream::STALE) },
];
