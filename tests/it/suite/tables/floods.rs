//! HTTP/2 as a flood: what costs a client nothing must cost the proxy nothing, or end.

use crate::suite::frames::{
    CONTINUATION, GOAWAY, HEADERS, Op, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use crate::suite::h2::{Fate, H2Case};

/// Floods: whatever is made of them, nothing may hang, and heads must not grow without bound.
pub const FLOODS: &[H2Case] = &[
    frame(
        "CONTINUATION, empty",
        Fate::Ended,
        &[
            Op::Frame(HEADERS, 1, 1, "\u{82}"),
            Op::Again(2000, &[Op::Frame(CONTINUATION, 0, 1, "")]),
        ],
    ),
    frame(
        "CONTINUATION, small",
        Fate::Ended,
        &[
            Op::Frame(HEADERS, 1, 1, "\u{82}"),
            Op::Again(20_000, &[Op::Frame(CONTINUATION, 0, 1, "\0\x01a\x01b")]),
        ],
    ),
    frame(
        "CONTINUATION, large",
        Fate::Ended,
        &[
            Op::Frame(HEADERS, 1, 1, "\u{82}"),
            Op::Again(200, &[Op::Frame(CONTINUATION, 0, 1, "<<\0\x01a\x01b*3000>>")]),
        ],
    ),
    frame(
        "an HPACK bomb",
        Fate::Bounded,
        &[Op::Frame(
            HEADERS,
            5,
            1,
            "\u{82}\u{87}\u{84}\x41\x06a.test\x40\x01a\x7f\u{81}\x1e<<x*4000>><<\u{be}*10000>>",
        )],
    ),
    frame(
        "rapid reset",
        Fate::Bounded,
        &[Op::Many(2000, &[Op::Get(1, true, &[]), Op::Frame(RST_STREAM, 0, 1, "\0\0\0\x08")])],
    ),
    frame(
        "rapid reset of bodies",
        Fate::Bounded,
        &[Op::Many(
            2000,
            &[
                Op::Post(1, false, &[]),
                Op::Data(1, false, "x"),
                Op::Frame(RST_STREAM, 0, 1, "\0\0\0\x08"),
            ],
        )],
    ),
    frame(
        "resets that the server is made to send",
        Fate::Bounded,
        &[Op::Many(2000, &[Op::Post(1, false, &[]), Op::Frame(WINDOW_UPDATE, 0, 1, "\0\0\0\0")])],
    ),
    frame(
        "resets by windows that overflow",
        Fate::Bounded,
        &[Op::Many(
            2000,
            &[Op::Get(1, true, &[]), Op::Frame(WINDOW_UPDATE, 0, 1, "\x7f\u{ff}\u{ff}\u{ff}")],
        )],
    ),
    frame(
        "resets by data behind the end",
        Fate::Bounded,
        &[Op::Many(2000, &[Op::Get(1, true, &[]), Op::Data(1, false, "x")])],
    ),
    frame(
        "resets by streams that depend on themselves",
        Fate::Bounded,
        &[Op::Many(2000, &[Op::Get(1, false, &[]), Op::Frame(2, 0, 1, "\0\0\0\x01\x10")])],
    ),
    frame(
        "padding and nothing else",
        Fate::Bounded,
        &[Op::Post(1, false, &[]), Op::Again(5000, &[Op::Frame(0, 8, 1, "\x09<<\0*9>>")])],
    ),
    frame(
        "a table that changes its size",
        Fate::Bounded,
        &[Op::Many(
            2000,
            &[Op::Frame(HEADERS, 5, 1, "\x20\x3f\u{e1}\x1f\u{82}\u{87}\u{84}\x41\x06a.test")],
        )],
    ),
    frame(
        "goodbyes",
        Fate::Bounded,
        &[Op::Many(20_000, &[Op::Frame(GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0")])],
    ),
    frame(
        "malformed heads",
        Fate::Bounded,
        &[Op::Many(2000, &[Op::Get(1, true, &[("connection", "x")])])],
    ),
    frame("too many streams", Fate::Bounded, &[Op::Many(500, &[Op::Post(1, false, &[])])]),
    frame(
        "SETTINGS",
        Fate::Bounded,
        &[Op::Many(20_000, &[Op::Frame(SETTINGS, 0, 0, "\0\x03\0\0\0\x64")])],
    ),
    frame(
        "SETTINGS of many",
        Fate::Bounded,
        &[Op::Many(200, &[Op::Frame(SETTINGS, 0, 0, "<<\0\x04\0\0\u{ff}\u{ff}*2000>>")])],
    ),
    frame("PING", Fate::Bounded, &[Op::Many(20_000, &[Op::Frame(PING, 0, 0, "12345678")])]),
    frame("PRIORITY", Fate::Bounded, &[Op::Again(20_000, &[Op::Frame(2, 0, 1, "\0\0\0\0\x10")])]),
    frame(
        "WINDOW_UPDATE",
        Fate::Bounded,
        &[Op::Many(20_000, &[Op::Frame(WINDOW_UPDATE, 0, 0, "\0\0\0\x01")])],
    ),
    frame(
        "empty DATA",
        Fate::Bounded,
        &[Op::Post(1, false, &[]), Op::Again(20_000, &[Op::Frame(0, 0, 1, "")])],
    ),
    frame("unknown frames", Fate::Bounded, &[Op::Many(20_000, &[Op::Frame(0xbe, 0, 0, "x")])]),
    frame(
        "windows that jump",
        Fate::Bounded,
        &[
            Op::Get(1, true, &[]),
            Op::Many(
                2000,
                &[
                    Op::Frame(SETTINGS, 0, 0, "\0\x04\0\0\0\0"),
                    Op::Frame(SETTINGS, 0, 0, "\0\x04\x7f\u{ff}\u{ff}\u{ff}"),
                ],
            ),
        ],
    ),
];

const fn frame(name: &'static str, fate: Fate, ops: &'static [Op]) -> H2Case {
    H2Case::new(name, fate, ops)
}
