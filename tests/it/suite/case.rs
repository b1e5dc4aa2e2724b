//! What a case is: bytes in, and what client and backend must see.
//!
//! In all texts `@@` becomes a word that names the case, `<<TEXT*N>>` becomes N times TEXT, and a
//! character below U+0100 is the byte of its number.

/// How much a case weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Safety, integrity and basic function.
    Must,
    /// Strictness and niceties.
    Should,
}

/// What the client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// One answer with one of the statuses, then the end; a request behind it is not run.
    Refused,
    /// Answers with these statuses in order, and the connection serves another request.
    Kept,
    /// Answers with these statuses in order, then the end; a request behind them is not run.
    Closed,
    /// An answer that the client can tell is not whole, or 502.
    Broken,
    /// Whatever comes: only the words are looked for.
    Words,
}

/// What the backend does after it has read a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Answers and stays.
    Plain,
    /// Answers and closes.
    Closing,
    /// Answers, and whatever comes on the connection then is a fault.
    Spoiling,
    /// Answers once it has the head, and then reads and throws away.
    Early,
    /// Closes without a word when the connection has served before.
    StaleOnce,
    /// Closes without a word.
    Nothing,
    /// Says what it says, and then nothing for ever.
    Stalling,
}

/// A row of a table.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub level: Level,
    pub send: &'static str,
    /// Sent right behind it.
    pub body: &'static str,
    /// Sent once a head has come back.
    pub then: &'static str,
    pub outcome: Outcome,
    pub statuses: &'static [u16],
    /// Words that the client must read, and must not, whatever their case.
    pub down: &'static [&'static str],
    pub not_down: &'static [&'static str],
    /// Words that the backend must read, and must not.
    pub up: &'static [&'static str],
    pub not_up: &'static [&'static str],
    /// How many requests the backend must have seen.
    pub seen: usize,
    pub answer: &'static str,
    pub manner: Manner,
    /// Whether nothing follows: what was sent is not whole.
    pub alone: bool,
    /// Whether the first answer is one to HEAD.
    pub to_head: bool,
}

const fn case(name: &'static str, send: &'static str, outcome: Outcome) -> Case {
    Case {
        name,
        level: Level::Must,
        send,
        body: "",
        then: "",
        outcome,
        statuses: &[200],
        down: &[],
        not_down: &[],
        up: &[],
        not_up: &[],
        seen: 1,
        answer: "",
        manner: Manner::Plain,
        alone: false,
        to_head: false,
    }
}

/// Refused with one of these; nothing goes up.
pub const fn refused(name: &'static str, send: &'static str, statuses: &'static [u16]) -> Case {
    Case { statuses, seen: 0, ..case(name, send, Outcome::Refused) }
}

/// Answered 200, the connection stays.
pub const fn passes(name: &'static str, send: &'static str) -> Case {
    case(name, send, Outcome::Kept)
}

/// Answered 200, the connection ends.
pub const fn closes(name: &'static str, send: &'static str) -> Case {
    case(name, send, Outcome::Closed)
}

/// An upstream's answer to a plain GET passes.
pub const fn answers(name: &'static str, answer: &'static str) -> Case {
    Case { answer, ..case(name, GET, Outcome::Kept) }
}

/// An upstream's answer to a plain GET is not for clients: 502, and its connection is not used
/// again.
pub const fn damaged(name: &'static str, answer: &'static str) -> Case {
    let case = case(name, GET, Outcome::Kept);
    Case { answer, statuses: &[502], manner: Manner::Spoiling, ..case }
}

/// An upstream's answer breaks after its head: the client can tell.
pub const fn broken(name: &'static str, answer: &'static str) -> Case {
    Case { answer, manner: Manner::Spoiling, ..case(name, GET, Outcome::Broken) }
}

/// The plain request.
pub const GET: &str = "GET /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n";

impl Case {
    pub const fn should(self) -> Self {
        Self { level: Level::Should, ..self }
    }

    pub const fn statuses(self, statuses: &'static [u16]) -> Self {
        Self { statuses, ..self }
    }

    pub const fn behind(self, body: &'static str) -> Self {
        Self { body, ..self }
    }

    pub const fn then(self, then: &'static str) -> Self {
        Self { then, ..self }
    }

    pub const fn down(self, down: &'static [&'static str]) -> Self {
        Self { down, ..self }
    }

    pub const fn not_down(self, not_down: &'static [&'static str]) -> Self {
        Self { not_down, ..self }
    }

    pub const fn up(self, up: &'static [&'static str]) -> Self {
        Self { up, ..self }
    }

    pub const fn not_up(self, not_up: &'static [&'static str]) -> Self {
        Self { not_up, ..self }
    }

    pub const fn seen(self, seen: usize) -> Self {
        Self { seen, ..self }
    }

    pub const fn answer(self, answer: &'static str) -> Self {
        Self { answer, ..self }
    }

    pub const fn manner(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }

    pub const fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    pub const fn to_head(self) -> Self {
        Self { to_head: true, ..self }
    }

    pub const fn ends(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }
}

/// The bytes of a text.
pub fn expand(text: &str, place: usize) -> Vec<u8> {
    let mut text = text.replace("@@", &format!("case-{place}-"));
    while let Some(start) = text.find("<<") {
        let end = text[start..].find(">>").map(|end| start + end).unwrap();
        let (piece, count) = text[start + 2..end].rsplit_once('*').unwrap();
        let repeated = piece.repeat(count.parse().unwrap());
        text.replace_range(start..end + 2, &repeated);
    }
    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect()
}
