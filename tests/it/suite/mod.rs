//! The wire suite: what clients and upstreams may send, and what must come of it, as tables of
//! bytes over real sockets with a strict recording backend. Rows are data; a row that fails prints
//! its name, what was sent, what came back and what the backend saw.

mod backend;
mod case;
pub mod frames;
mod h2;
mod h2_up;
mod handshake;
mod message;
mod score;
mod tables;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use self::backend::Books;
use self::case::{Case, Manner, Outcome, expand};
use self::message::{Kind, Message, Read, latin, read};
use self::score::{Score, Way};
use crate::rig::{Builder, Identity, Rig, connect_tls};

/// Names the requests that the runner adds.
const PROBE: &str = "probe-";
/// Cases of one table under way at a time.
const AT_ONCE: usize = 16;
const NEVER_ENDED: &[u8] = b"\n(the connection never ended)";
const PATIENCE: Duration = Duration::from_secs(10);

/// Cases that share a proxy.
#[derive(Clone, Copy)]
struct Table {
    class: &'static str,
    cases: &'static [Case],
    /// Keys of the listener, of the service, and tables of the file.
    listener: &'static str,
    service: &'static str,
    tables: &'static str,
    /// Whether every case goes through TLS as well.
    tls: bool,
    /// One after the other, over connections of which each may leave its mark on the next.
    in_turn: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wire_suite() {
    let answers = tables::ALL.iter().filter(|table| tables::OF_UPSTREAMS.contains(&table.class));
    let (mut scores, over_h2, up) = tokio::join!(
        run_all(false),
        join_all(answers.map(|table| h2::run_answers(table.class, table.cases))),
        h2_up::run(tables::UPSTREAMS_OF_HTTP2),
    );
    // Apart from the floods: what must come in a second comes in one.
    let (timed, shaken) = tokio::join!(run_all(true), handshake::run(tables::HANDSHAKES));
    scores.extend(over_h2.into_iter().chain(timed).chain([up, shaken]));
    let failures: Vec<_> = scores.iter().flat_map(|score| &score.failures).collect();
    let page = score::page(&scores);
    println!("{page}");
    let text: Vec<_> = failures.iter().map(|failure| failure.as_str()).collect();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), text.join("\n"));
    crate::tidy::fresh("docs/wire.md", &page);
}

/// The tables with or without short times.
async fn run_all(timed: bool) -> Vec<Score> {
    let plain = tables::ALL.iter().filter(|table| timed != table.listener.is_empty());
    let over_h2 = tables::HTTP2.iter().filter(|table| timed != table.listener.is_empty());
    let (plain, over_h2) =
        tokio::join!(join_all(plain.map(run_table)), join_all(over_h2.map(h2::run)));
    plain.into_iter().flatten().chain(over_h2).collect()
}

async fn run_table(table: &'static Table) -> Vec<Score> {
    let ways: &[Way] = if table.tls { &[Way::H1, Way::Tls] } else { &[Way::H1] };
    let mut scores = Vec::new();
    for way in ways {
        let mut score = Score::new(table.class, *way);
        let (address, books) = backend::start(table.cases);
        let mut rig = Rig::build().at("blue", address).service("retries = { attempts = 0 }");
        rig = rig.service(table.service).tables(table.tables);
        if *way == Way::Tls {
            rig = with_tls(rig);
        }
        let rig = rig.listener(table.listener).start().await;
        let turns = Arc::new(Semaphore::new(if table.in_turn { 1 } else { AT_ONCE }));
        let runs = table.cases.iter().enumerate().map(|(place, case)| {
            let (web, turns) = (rig.web, turns.clone());
            tokio::spawn(async move {
                let _turn = turns.acquire().await.unwrap();
                talk(web, case, place, *way == Way::Tls).await
            })
        });
        let answers: Vec<_> = join_all(runs).await.into_iter().map(Result::unwrap).collect();
        for (place, (case, came)) in table.cases.iter().zip(&answers).enumerate() {
            let failure = judge(case, place, came, &books).err();
            let failure =
                failure.map(|why| told(case, place, (table.class, *way), &why, came, &books));
            score.count(case.level, failure);
        }
        score.failures.extend(books.faults().into_iter().map(|fault| format!("backend: {fault}")));
        rig.finish().await;
        scores.push(score);
    }
    scores
}

fn with_tls(rig: Builder) -> Builder {
    let names = ["a.test", "b.test", "*.a.test", "127.0.0.1", "::1", "a_b.test"];
    rig.identity("a", &Identity::of(&names)).listener("tls = { cert = \"a.pem\", key = \"a.key\" }")
}

/// Everything that comes back, until the proxy closes.
async fn talk(web: SocketAddr, case: &Case, place: usize, is_tls: bool) -> Vec<u8> {
    let stream: Box<dyn Wire> = if is_tls {
        Box::new(connect_tls(web, Some("a.test"), &[b"http/1.1"]).await)
    } else {
        Box::new(TcpStream::connect(web).await.expect("a listening proxy"))
    };
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut came = Vec::new();
    let talking = async {
        let mut first = sent(case, place);
        let probe = match case.outcome {
            Outcome::Words => String::new(),
            _ if case.alone => String::new(),
            _ => format!(
                "GET /{PROBE}case-{place}- HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
            ),
        };
        let mut second = expand(case.then, place);
        let last = if case.then.is_empty() { &mut first } else { &mut second };
        last.extend_from_slice(probe.as_bytes());
        let sending = async {
            // What is refused early may not be read to its end.
            let _ = writer.write_all(&first).await;
            let _ = writer.flush().await;
        };
        let reading = async {
            let mut piece = [0; 16_384];
            while let Ok(count @ 1..) = reader.read(&mut piece).await {
                came.extend_from_slice(&piece[..count]);
                if !second.is_empty() && came.windows(4).any(|window| window == b"\r\n\r\n") {
                    return true;
                }
            }
            false
        };
        let (_, goes_on) = tokio::join!(sending, reading);
        if goes_on {
            let _ = writer.write_all(&second).await;
            let _ = writer.flush().await;
            let mut piece = [0; 16_384];
            while let Ok(count @ 1..) = reader.read(&mut piece).await {
                came.extend_from_slice(&piece[..count]);
            }
        }
    };
    if tokio::time::timeout(PATIENCE, talking).await.is_err() {
        came.extend_from_slice(NEVER_ENDED);
    }
    came
}

/// What is sent at once.
fn sent(case: &Case, place: usize) -> Vec<u8> {
    [expand(case.send, place), expand(case.body, place)].concat()
}

/// What a connection is made of.
trait Wire: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Wire for T {}

/// Final answers, and what is left behind them.
fn answers(case: &Case, came: &[u8]) -> (Vec<Message>, Vec<Message>, String) {
    let (mut finals, mut interim) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < came.len() {
        let to_head = case.to_head && finals.is_empty();
        match read(&came[at..], Kind::Response { to_head }, true) {
            Read::Whole(message, length) => {
                at += length;
                let is_final = message.status() >= 200;
                if is_final { finals.push(message) } else { interim.push(message) }
            }
            Read::Bad(fault) => return (finals, interim, fault),
            Read::Head(_) | Read::Partial => return (finals, interim, latin(&came[at..])),
        }
    }
    (finals, interim, String::new())
}

fn judge(case: &Case, place: usize, came: &[u8], books: &Books) -> Result<(), String> {
    let (finals, _, rest) = answers(case, came);
    let statuses: Vec<u16> = finals.iter().map(Message::status).collect();
    let fail = |text: &str| Err(format!("{text}; statuses {statuses:?}, rest {rest:?}"));
    match case.outcome {
        Outcome::Refused => {
            let refusal = finals.first().filter(|_| finals.len() == 1 && rest.is_empty());
            let Some(refusal) = refusal else { return fail("not one whole refusal") };
            if !case.statuses.contains(&refusal.status()) {
                return fail("another status");
            }
            if !refusal.text().contains("\r\nconnection: close") {
                return fail("it does not say that it closes");
            }
        }
        Outcome::Kept => {
            let Some((200, first)) = statuses.split_last().map(|(last, rest)| (*last, rest)) else {
                return fail("no follow-up was answered");
            };
            if first != case.statuses || !rest.is_empty() {
                return fail("other answers");
            }
        }
        Outcome::Closed if statuses != case.statuses || !rest.is_empty() => {
            return fail("other answers");
        }
        // An answer of which nothing has come yet may become 502, or nothing.
        Outcome::Broken if statuses != [502, 200] && !statuses.is_empty() => {
            return fail("no break can be told");
        }
        Outcome::Closed | Outcome::Broken | Outcome::Words => {}
    }
    if came.ends_with(NEVER_ENDED) {
        return fail("the proxy did not close");
    }
    let is_served = case.outcome == Outcome::Kept || statuses == [502, 200];
    let probes = usize::from(is_served);
    if books.probes(place) != probes {
        return Err(format!("{} requests behind it came up, not {probes}", books.probes(place)));
    }
    words("client", &latin(came), place, case.down, case.not_down)?;
    let seen = books.of(place);
    let up: String = seen.iter().map(Message::text).collect::<Vec<_>>().join("\r\n");
    words("backend", &up, place, case.up, case.not_up)?;
    if seen.len() != case.seen {
        return Err(format!("the backend saw {} requests, not {}", seen.len(), case.seen));
    }
    Ok(())
}

fn words(who: &str, text: &str, place: usize, has: &[&str], lacks: &[&str]) -> Result<(), String> {
    let text = text.to_ascii_lowercase();
    let is_there = |word: &str| text.contains(&latin(&expand(word, place)).to_ascii_lowercase());
    if let Some(word) = has.iter().find(|word| !is_there(word)) {
        return Err(format!("the {who} did not read {word:?}"));
    }
    match lacks.iter().find(|word| is_there(word)) {
        Some(word) => Err(format!("the {who} read {word:?}")),
        None => Ok(()),
    }
}

/// A failure with all there is to know of it.
fn told(
    case: &Case,
    place: usize,
    (class, way): (&str, Way),
    why: &str,
    came: &[u8],
    books: &Books,
) -> String {
    let short = |text: String| {
        let count = text.chars().count();
        let shown: String = text.chars().take(1500).collect();
        if count > 1500 { format!("{shown:?}… ({count} bytes)") } else { format!("{shown:?}") }
    };
    let seen: Vec<_> = books.of(place).iter().map(Message::text).map(short).collect();
    format!(
        "[{class}] {:?} ({:?}, {way:?}): {why}\n  sent: {}\n  came: {}\n  seen: {}\n",
        case.name,
        case.level,
        short(latin(&sent(case, place)) + &latin(&expand(case.then, place))),
        short(latin(came)),
        seen.join("\n        ")
    )
}
