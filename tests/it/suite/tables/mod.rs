//! The tables, one file a family.

mod basics;
mod fields;
mod floods;
mod framing;
mod handshakes;
mod http2;
mod limits;
mod request_line;
mod routes;
mod semantics;
mod upstream;
mod upstream_h2;

pub use self::handshakes::CASES as HANDSHAKES;
pub use self::upstream_h2::CASES as UPSTREAMS_OF_HTTP2;

use super::{Table, h2};

const fn table(class: &'static str, cases: &'static [super::Case]) -> Table {
    let service = "timeout = \"5s\"";
    Table { class, cases, listener: "", service, tables: "", tls: true, in_turn: false }
}

const fn h2_table(class: &'static str, cases: &'static [h2::H2Case]) -> h2::Table {
    h2::Table { class, cases, listener: "" }
}

/// What clients of HTTP/1.1 send.
pub const ALL: &[Table] = &[
    table("sanity", basics::SANITY),
    table("framing", framing::AMBIGUOUS),
    table("framing", framing::CODINGS),
    table("framing", semantics::EXPECT),
    table("chunked", framing::CHUNKED),
    table("request line", request_line::LINES),
    table("request line", request_line::HOSTS),
    table("headers", fields::SYNTAX),
    table("hop-by-hop", fields::HOP_UP),
    table("hop-by-hop", fields::HOP_DOWN),
    table("upstream", upstream::FRAMING),
    table("upstream", upstream::DAMAGE),
    table("upstream", semantics::INTERIM),
    Table { listener: limits::KEYS, ..table("limits", limits::CASES) },
    Table { listener: limits::KEYS, ..table("time-outs", limits::SLOW) },
    Table {
        listener: limits::TIMES,
        service: limits::SERVICE_TIMES,
        ..table("time-outs", limits::SLOW_UPSTREAMS)
    },
    table("connection", request_line::KEPT),
    table("connection", semantics::HTTP_10),
    Table { in_turn: true, tls: false, ..table("connection", upstream::STALE) },
    table("body", basics::BODIES),
    table("body", semantics::EARLY),
    table("upgrade", semantics::UPGRADES),
    Table { tables: routes::TABLES, ..table("route", routes::CASES) },
];

/// Classes in which upstreams answer plain requests, which clients of HTTP/2 read as well.
pub const OF_UPSTREAMS: &[&str] = &["upstream", "hop-by-hop", "body"];

/// What clients of HTTP/2 send.
pub const HTTP2: &[h2::Table] = &[
    h2_table("sanity", basics::H2_SANITY),
    h2_table("h2 semantic", http2::HEADS),
    h2_table("h2 semantic", http2::FIELDS),
    h2_table("h2 semantic", http2::BODIES),
    h2_table("h2 protocol", http2::FRAMES),
    h2_table("h2 dos", floods::FLOODS),
    h2_table("body", basics::H2_BODIES),
    h2::Table { listener: limits::KEYS, ..h2_table("limits", limits::H2_CASES) },
    h2::Table { listener: limits::TIMES, ..h2_table("time-outs", limits::H2_SLOW) },
];
