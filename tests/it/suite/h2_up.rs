//! Runs the table of upstreams that speak HTTP/2: a client of HTTP/1.1 asks, and each case has an
//! upstream of its own that answers with the case's frames first and soundly from then on.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::backend::Books;
use super::case::{Case, Level};
use super::frames::{
    ACK, DATA, END_STREAM, HEADERS, Op, PING, PREFACE, SETTINGS, answered, frame, take,
};
use super::message::Message;
use super::score::{Score, Way};
use super::{AT_ONCE, PROBE, judge, talk, told};
use crate::rig::{Rig, says};

const SOUND: &[Op] = &[Op::Head(1, false, &[(":status", "200")]), Op::Data(1, true, "ok")];

/// What an upstream does once it has said its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    Stays,
    Closes,
}

/// A row: what the client must see, and what the upstream says.
#[derive(Debug, Clone, Copy)]
pub struct UpCase {
    pub case: Case,
    pub says: &'static [Op],
    pub hangup: Hangup,
}

impl UpCase {
    pub const fn hangup(self) -> Self {
        Self { hangup: Hangup::Closes, ..self }
    }

    pub const fn should(self) -> Self {
        Self { case: Case { level: Level::Should, ..self.case }, ..self }
    }

    pub const fn statuses(self, statuses: &'static [u16]) -> Self {
        Self { case: self.case.statuses(statuses), ..self }
    }

    pub const fn down(self, down: &'static [&'static str]) -> Self {
        Self { case: self.case.down(down), ..self }
    }

    pub const fn not_down(self, not_down: &'static [&'static str]) -> Self {
        Self { case: self.case.not_down(not_down), ..self }
    }

    pub const fn seen(self, seen: usize) -> Self {
        Self { case: self.case.seen(seen), ..self }
    }
}

/// Runs the table.
pub async fn run(cases: &'static [UpCase]) -> Score {
    let books = Arc::<Books>::default();
    let mut tables = String::new();
    for (place, case) in cases.iter().enumerate() {
        let address = start(place, case, books.clone());
        write!(
            tables,
            "[service.s{place}]\nretries = {{ attempts = 0 }}\n[service.s{place}.version.v]\n\
             endpoints = [\"{address}\"]\nprotocol = \"h2c\"\n[[route]]\nservice = \"s{place}\"\n\
             path_regex = \"case-{place}-\"\n"
        )
        .unwrap();
    }
    let rig = Rig::build().version("blue", says("blue")).tables(&tables).start().await;
    let turns = Semaphore::new(AT_ONCE);
    let came = join_all(cases.iter().enumerate().map(|(place, case)| {
        let (rig, turns) = (&rig, &turns);
        async move {
            let _turn = turns.acquire().await.unwrap();
            talk(rig.web, &case.case, place, false).await
        }
    }));
    let mut score = Score::new("h2 upstream", Way::H1);
    for (place, (UpCase { case, .. }, came)) in cases.iter().zip(came.await).enumerate() {
        let failure = judge(case, place, &came, &books).err();
        let failure =
            failure.map(|why| told(case, place, ("h2 upstream", Way::H1), &why, &came, &books));
        score.count(case.level, failure);
    }
    rig.finish().await;
    score
}

/// Starts the upstream of a case.
fn start(place: usize, case: &'static UpCase, books: Arc<Books>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let said = Arc::<AtomicBool>::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, place, case, said.clone(), books.clone()));
        }
    });
    address
}

async fn serve(
    mut stream: TcpStream,
    place: usize,
    case: &'static UpCase,
    said: Arc<AtomicBool>,
    books: Arc<Books>,
) -> std::io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    let mut buffer = Vec::new();
    let mut out = Vec::new();
    frame(&mut out, SETTINGS, 0, 0, &[]);
    loop {
        stream.write_all(&out).await?;
        out.clear();
        while let Some(came) = take(&mut buffer) {
            match came.kind {
                SETTINGS if came.flags & ACK == 0 => frame(&mut out, SETTINGS, ACK, 0, &[]),
                PING if came.flags & ACK == 0 => frame(&mut out, PING, ACK, 0, &came.payload),
                HEADERS | DATA if came.flags & END_STREAM != 0 => {
                    // The head is compressed; the case is known, and the first is the one it is about.
                    let is_first = !said.swap(true, Ordering::SeqCst);
                    let is_again = !is_first && books.of(place).len() < case.case.seen;
                    let name = if is_first || is_again { "" } else { PROBE };
                    books.note(place, Message::named(&format!("/{name}case-{place}-")));
                    let says = if is_first { case.says } else { SOUND };
                    out.extend_from_slice(&answered(says, came.stream, place));
                    if is_first && case.hangup == Hangup::Closes {
                        stream.write_all(&out).await?;
                        return stream.shutdown().await;
                    }
                }
                _ => {}
            }
        }
        if out.is_empty() && stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}
