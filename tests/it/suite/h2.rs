//! Runs the tables of HTTP/2: frames in, fates of streams and connections out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::backend::{self, Books};
use super::case::{Case, GET, Level, Outcome};
use super::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, Op, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, status, take, written,
};
use super::message::{Message, latin};
use super::score::{Score, Way};
use super::{AT_ONCE, PROBE, with_tls};
use crate::rig::{Rig, connect_tls};

/// Floods keep a busy machine's workers busy for longer than a second.
const SERVICE: &str = "connect_timeout = \"10s\"\nretries = { attempts = 0 }";
/// What the backend answers to all of them is the usual.
const NONE: &[Case] = &[];
const PATIENCE: Duration = Duration::from_secs(10);
/// The stream of the request that the runner adds.
const PROBE_STREAM: u32 = 0x000f_ffff;

/// What must become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Stream 1 is answered with this status, and the connection serves on.
    Served(u16),
    /// Stream 1 is reset or answered 4xx or 501, or the connection ends; nothing goes up.
    Refused,
    /// Stream 1 is reset or answered 502, and the connection serves on.
    Broken,
    /// The connection ends with an error.
    Ended,
    /// The connection serves on.
    Survives,
    /// The connection ends or serves on, but does not hang.
    Bounded,
}

/// A row.
#[derive(Debug, Clone, Copy)]
pub struct H2Case {
    pub name: &'static str,
    pub level: Level,
    pub ops: &'static [Op],
    pub fate: Fate,
    pub up: &'static [&'static str],
    pub not_up: &'static [&'static str],
    /// How many requests may have come up at most.
    pub seen: usize,
    /// Whether nothing follows: what was sent is not whole.
    pub alone: bool,
}

impl H2Case {
    pub const fn new(name: &'static str, fate: Fate, ops: &'static [Op]) -> Self {
        let seen = match fate {
            Fate::Served(_) => 1,
            Fate::Refused => 0,
            _ => usize::MAX,
        };
        Self { name, level: Level::Must, ops, fate, up: &[], not_up: &[], seen, alone: false }
    }

    pub const fn should(self) -> Self {
        Self { level: Level::Should, ..self }
    }

    pub const fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    pub const fn seen(self, seen: usize) -> Self {
        Self { seen, ..self }
    }

    pub const fn up(self, up: &'static [&'static str]) -> Self {
        Self { up, ..self }
    }

    pub const fn not_up(self, not_up: &'static [&'static str]) -> Self {
        Self { not_up, ..self }
    }
}

/// What came of a connection.
#[derive(Debug, Default)]
struct Came {
    statuses: BTreeMap<u32, u16>,
    /// Streams that ended, with an error code if they were reset.
    ended: BTreeMap<u32, Option<u32>>,
    goaway: Option<u32>,
    closed: bool,
    hung: bool,
}

/// Cases that share a proxy.
pub struct Table {
    pub class: &'static str,
    pub cases: &'static [H2Case],
    /// Keys of the listener.
    pub listener: &'static str,
}

/// Runs a table.
pub async fn run(table: &'static Table) -> Score {
    let cases = table.cases.iter().copied().enumerate().collect();
    run_cases(table.class, cases, backend::start(NONE), table.listener).await
}

/// Runs the answers of a table of HTTP/1.1: what upstreams say to a plain GET, read over HTTP/2.
pub async fn run_answers(class: &'static str, cases: &'static [Case]) -> Score {
    let gets =
        cases.iter().enumerate().filter(|(_, case)| case.send == GET && case.body.is_empty());
    let cases_of_h2 = gets.filter_map(|(place, case)| {
        let fate = match (case.outcome, case.statuses) {
            (Outcome::Kept, [status]) => Fate::Served(*status),
            (Outcome::Broken, _) => Fate::Broken,
            _ => return None,
        };
        let plain = H2Case::new(case.name, fate, &[Op::Get(1, true, &[])]);
        Some((place, H2Case { level: case.level, ..plain }.seen(case.seen)))
    });
    run_cases(class, cases_of_h2.collect(), backend::start(cases), "").await
}

/// Runs cases, each with its place among those that the backend knows.
async fn run_cases(
    class: &'static str,
    cases: Vec<(usize, H2Case)>,
    (address, books): (SocketAddr, Arc<Books>),
    listener: &str,
) -> Score {
    let rig = with_tls(Rig::build().at("blue", address)).service(SERVICE);
    let rig = rig.listener(listener).start().await;
    let mut score = Score::new(class, Way::H2);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let runs = cases.iter().map(|(place, case)| {
        let (web, turns, place, case) = (rig.web, turns.clone(), *place, *case);
        tokio::spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            talk(web, &case, place).await
        })
    });
    let came: Vec<_> = join_all(runs).await.into_iter().map(Result::unwrap).collect();
    for ((place, case), came) in cases.iter().zip(&came) {
        let place = *place;
        let failure = judge(case, place, came, &books).err().map(|why| {
            let seen: Vec<_> = books.of(place).iter().map(Message::text).take(3).collect();
            let sent: String = latin(&written(case.ops, place)).chars().take(800).collect();
            format!(
                "[{class}] {:?} ({:?}, {:?}): {why}\n  sent: {sent:?}\n  came: {came:?}\n  seen: {seen:?}\n",
                case.name, case.level, case.fate
            )
        });
        score.count(case.level, failure);
    }
    score.failures.extend(books.faults().into_iter().map(|fault| format!("backend: {fault}")));
    rig.finish().await;
    score
}

async fn talk(web: SocketAddr, case: &H2Case, place: usize) -> Came {
    let mut first = written(case.ops, place);
    let path = format!("/{PROBE}case-{place}-");
    if !case.alone {
        probe(&mut first, &path, place);
    }
    let stream = connect_tls(web, Some("a.test"), &[b"h2"]).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut came = Came::default();
    let (answer, mut answers) = tokio::sync::mpsc::unbounded_channel::<Vec<u8>>();
    let sending = async {
        if writer.write_all(&first).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        while let Some(bytes) = answers.recv().await {
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
    };
    let reading = async {
        let mut buffer = Vec::new();
        let mut piece = [0; 16_384];
        while !came.is_over(case) {
            match reader.read(&mut piece).await {
                Ok(count @ 1..) => buffer.extend_from_slice(&piece[..count]),
                Ok(0) | Err(_) => {
                    came.closed = true;
                    break;
                }
            }
            while let Some(frame) = take(&mut buffer) {
                came.note(&frame, &answer);
            }
        }
        drop(answer);
    };
    let both = async { tokio::join!(sending, reading) };
    if tokio::time::timeout(PATIENCE, both).await.is_err() {
        came.hung = true;
    }
    came
}

/// The request that follows.
fn probe(out: &mut Vec<u8>, path: &str, place: usize) {
    let fields =
        [(":method", "HEAD"), (":scheme", "https"), (":authority", "a.test"), (":path", path)];
    let flags = END_HEADERS | END_STREAM;
    frame(out, HEADERS, flags, PROBE_STREAM, &block(&fields, place));
}

impl Came {
    fn note(&mut self, came: &Frame, answer: &tokio::sync::mpsc::UnboundedSender<Vec<u8>>) {
        let code = |at: usize| {
            let bytes = came.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            u32::from_be_bytes(bytes.unwrap_or_default())
        };
        match came.kind {
            HEADERS if self.statuses.get(&came.stream).is_none_or(|status| *status < 200) => {
                self.statuses.insert(came.stream, status(&came.payload));
            }
            RST_STREAM => {
                self.ended.entry(came.stream).or_insert(Some(code(0)));
            }
            GOAWAY => self.goaway = Some(code(4)),
            DATA if !came.payload.is_empty() => {
                let room = u32::try_from(came.payload.len()).unwrap().to_be_bytes();
                let mut bytes = Vec::new();
                frame(&mut bytes, WINDOW_UPDATE, 0, 0, &room);
                frame(&mut bytes, WINDOW_UPDATE, 0, came.stream, &room);
                let _ = answer.send(bytes);
            }
            SETTINGS | PING if came.flags & ACK == 0 => {
                let mut bytes = Vec::new();
                let payload: &[u8] = if came.kind == PING { &came.payload } else { &[] };
                frame(&mut bytes, came.kind, ACK, 0, payload);
                // A connection that is gone takes no answer.
                let _ = answer.send(bytes);
            }
            _ => {}
        }
        if came.kind < 2 && came.flags & END_STREAM != 0 {
            self.ended.entry(came.stream).or_insert(None);
        }
    }

    fn is_over(&self, case: &H2Case) -> bool {
        let probed = self.ended.contains_key(&PROBE_STREAM);
        match case.fate {
            Fate::Served(_) | Fate::Refused | Fate::Broken => probed && self.ended.contains_key(&1),
            Fate::Survives | Fate::Bounded => probed,
            Fate::Ended => self.goaway.is_some_and(|code| code != 0),
        }
    }

    /// The follow-up was answered.
    fn serves(&self) -> bool {
        self.statuses.get(&PROBE_STREAM) == Some(&200)
    }

    fn is_ended(&self) -> bool {
        self.closed || self.goaway.is_some_and(|code| code != 0)
    }
}

fn judge(case: &H2Case, place: usize, came: &Came, books: &Books) -> Result<(), String> {
    if came.hung {
        return Err("nothing came of it".into());
    }
    let first = came.statuses.get(&1).copied();
    let good = match case.fate {
        Fate::Served(status) => {
            first == Some(status) && came.ended.get(&1) == Some(&None) && came.serves()
        }
        Fate::Refused => {
            let reset = matches!(came.ended.get(&1), Some(Some(code)) if *code != 0);
            came.is_ended()
                || reset
                || first.is_some_and(|status| (400..500).contains(&status) || status == 501)
        }
        Fate::Broken => {
            let reset = matches!(came.ended.get(&1), Some(Some(code)) if *code != 0);
            (reset || first == Some(502)) && came.serves()
        }
        Fate::Ended => came.is_ended(),
        Fate::Survives => came.serves(),
        Fate::Bounded => came.is_ended() || came.serves(),
    };
    if !good {
        return Err("another fate".into());
    }
    let seen = books.of(place);
    let up: String = seen.iter().map(Message::text).collect::<Vec<_>>().join("\r\n");
    super::words("backend", &up, place, case.up, case.not_up)?;
    match seen.len() {
        count if count > case.seen => Err(format!("{count} requests came up")),
        0 if matches!(case.fate, Fate::Served(_)) && !case.up.is_empty() => {
            Err("nothing came up".into())
        }
        _ => Ok(()),
    }
}
