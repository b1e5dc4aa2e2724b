//! Faults as a matrix: what an upstream does, at every moment of an exchange, over every protocol,
//! to a request that may be repeated and to one that may not, of clients of either HTTP.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::StreamExt;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::rig::{H2Client, Identity, Rig, text};
use crate::suite::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    frame, take,
};

/// When it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    AfterConnect,
    MidRequest,
    BeforeHead,
    MidAnswer,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The connection ends, in order.
    Close,
    /// It is reset.
    Reset,
    /// Nothing comes any more.
    Stall,
    /// Something comes that is not the protocol.
    Garbage,
    /// HTTP/2: the stream is reset after it was worked on.
    ResetStream,
    /// HTTP/2: the stream was not looked at.
    RefuseStream,
    /// HTTP/2: the connection leaves and has not looked at the stream.
    GoAway,
}

/// What the client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sees {
    Status(u16),
    /// An answer that visibly is not whole.
    Break,
    /// That, or a 502: the reset may overtake the half that came before it.
    BreakOr502,
}

use Fault::{Close, Garbage, GoAway, RefuseStream, Reset, ResetStream, Stall};
use Moment::{AfterConnect, BeforeHead, MidAnswer, MidRequest};
use Sees::{Break, BreakOr502, Status};

/// Moment, fault, what the client sees, how often a GET and a POST come to the upstream. With one
/// retry allowed, twice is: it was tried again.
type Cell = (Moment, Fault, Sees, RangeInclusive<u32>, RangeInclusive<u32>);

const ONCE: RangeInclusive<u32> = 1..=1;
const TWICE: RangeInclusive<u32> = 2..=2;
/// A stream that was not looked at is begun anew three times for nothing, and retried once.
const ANEW: RangeInclusive<u32> = 5..=5;
/// Which of two came first is a race: the fault, or what a second try depends on.
const BY_CHANCE: RangeInclusive<u32> = 1..=5;

/// HTTP/1.1, in clear text and by TLS.
const HTTP1: &[Cell] = &[
    (AfterConnect, Close, Status(502), TWICE, ONCE),
    // A reset that comes at once is a connection that was never made.
    (AfterConnect, Reset, Status(502), TWICE, 1..=2),
    (AfterConnect, Stall, Status(504), ONCE, ONCE),
    (AfterConnect, Garbage, Status(502), TWICE, ONCE),
    (MidRequest, Close, Status(502), TWICE, ONCE),
    (MidRequest, Reset, Status(502), TWICE, ONCE),
    (MidRequest, Stall, Status(504), ONCE, ONCE),
    (MidRequest, Garbage, Status(502), TWICE, ONCE),
    (BeforeHead, Close, Status(502), TWICE, ONCE),
    (BeforeHead, Reset, Status(502), TWICE, ONCE),
    (BeforeHead, Stall, Status(504), ONCE, ONCE),
    (BeforeHead, Garbage, Status(502), TWICE, ONCE),
    (MidAnswer, Close, Break, ONCE, ONCE),
    (MidAnswer, Reset, BreakOr502, 1..=2, ONCE),
    (MidAnswer, Stall, Break, ONCE, ONCE),
    (MidAnswer, Garbage, Status(200), ONCE, ONCE),
];

/// HTTP/2.
const HTTP2: &[Cell] = &[
    (AfterConnect, Close, Status(502), BY_CHANCE, BY_CHANCE),
    (AfterConnect, Reset, Status(502), BY_CHANCE, BY_CHANCE),
    (AfterConnect, Stall, Status(504), ONCE, ONCE),
    (AfterConnect, Garbage, Status(502), BY_CHANCE, BY_CHANCE),
    (MidRequest, Close, Status(502), TWICE, ONCE),
    (MidRequest, Reset, Status(502), TWICE, ONCE),
    (MidRequest, Stall, Status(504), ONCE, ONCE),
    (MidRequest, Garbage, Status(502), TWICE, ONCE),
    (MidRequest, ResetStream, Status(502), TWICE, ONCE),
    // Whether anything of a body was taken by then is a race; nothing of it, and it is begun anew.
    (MidRequest, RefuseStream, Status(502), ANEW, BY_CHANCE),
    (MidRequest, GoAway, Status(502), ANEW, BY_CHANCE),
    (BeforeHead, Close, Status(502), TWICE, ONCE),
    (BeforeHead, Reset, Status(502), TWICE, ONCE),
    (BeforeHead, Stall, Status(504), ONCE, ONCE),
    (BeforeHead, Garbage, Status(502), TWICE, ONCE),
    (BeforeHead, ResetStream, Status(502), TWICE, ONCE),
    (BeforeHead, RefuseStream, Status(502), ANEW, ONCE),
    (BeforeHead, GoAway, Status(502), ANEW, ONCE),
    (MidAnswer, Close, BreakOr502, 1..=2, ONCE),
    (MidAnswer, Reset, BreakOr502, 1..=2, ONCE),
    (MidAnswer, Stall, Break, ONCE, ONCE),
    (MidAnswer, Garbage, Break, ONCE, ONCE),
    (MidAnswer, ResetStream, Break, ONCE, ONCE),
    (MidAnswer, RefuseStream, Break, ONCE, ONCE),
    (MidAnswer, GoAway, Break, ONCE, ONCE),
];

const PROTOCOLS: [(&str, &[Cell]); 4] =
    [("http1", HTTP1), ("https", HTTP1), ("h2c", HTTP2), ("h2", HTTP2)];

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_at_every_moment_has_its_outcome() {
    let mut cells = Vec::new();
    for (protocol, table) in PROTOCOLS {
        for cell in table {
            for is_h2 in [false, true] {
                cells.extend([(protocol, is_h2, "GET", cell), (protocol, is_h2, "POST", cell)]);
            }
        }
    }
    let count = cells.len();
    let runs = cells.into_iter();
    let runs = runs.map(|(protocol, is_h2, method, cell)| check(protocol, is_h2, method, cell));
    let failures: Vec<String> = futures_util::stream::iter(runs)
        .buffer_unordered(8)
        .filter_map(async |run| run)
        .collect()
        .await;
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
}

/// Runs one cell; what is wrong with it.
async fn check(
    protocol: &'static str,
    client_is_h2: bool,
    method: &str,
    cell: &Cell,
) -> Option<String> {
    let (moment, fault, sees, safe, unsafe_) = cell.clone();
    let came = Arc::new(AtomicU32::new(0));
    let identity = Identity::of(&["127.0.0.1"]);
    let address = start(protocol, moment, fault, &identity, came.clone());
    let mut rig =
        Rig::build().at("blue", address).each_version(&format!("protocol = \"{protocol}\""));
    if protocol == "https" || protocol == "h2" {
        rig = rig.file("ca.pem", &identity.cert).each_version("tls = { ca = \"ca.pem\" }");
    }
    let rig = rig
        .listener("h2c = true\nlimits = { body_timeout = \"1s\", send_timeout = \"1s\" }")
        .service("timeout = \"1s\"\nread_timeout = \"1s\"\nretries = { attempts = 1 }")
        .start()
        .await;
    let body = if method == "POST" { "x".repeat(500_000) } else { String::new() };
    let found = match client_is_h2 {
        false => {
            let answer = rig.client().await.ask(method, "/", &body).await;
            answer.map_or(Break, |answer| Status(answer.status))
        }
        true => {
            let stream = TcpStream::connect(rig.web).await.unwrap();
            let client = H2Client::over(stream, "a.test").await;
            let answer = async {
                let answer = client.begin(method, "/", &[], text(&body)).await?;
                let status = answer.status().as_u16();
                answer.into_body().collect().await.map(|_| status)
            };
            answer.await.map_or(Break, Status)
        }
    };
    let came = came.load(Ordering::SeqCst);
    let expected = if method == "GET" { safe } else { unsafe_ };
    rig.until("nothing is in flight", async || {
        rig.metric("tidegate_requests_in_flight", &[]).await == 0.0
    })
    .await;
    rig.finish().await;
    let as_seen = match sees {
        BreakOr502 => matches!(found, Break | Status(502)),
        _ => found == sees,
    };
    let good = as_seen && expected.contains(&came);
    (!good).then(|| {
        let client = if client_is_h2 { "h2" } else { "http1" };
        format!("{client} to {protocol} {method} {moment:?} {fault:?}: {found:?} in {came}, not {sees:?} in {expected:?}")
    })
}

fn start(
    protocol: &'static str,
    moment: Moment,
    fault: Fault,
    identity: &Identity,
    came: Arc<AtomicU32>,
) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let is_h2 = protocol.starts_with("h2");
    let alpn: &[&[u8]] = if is_h2 { &[b"h2"] } else { &[b"http/1.1"] };
    let tls = (protocol == "https" || protocol == "h2").then(|| identity.server(alpn));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, came) = (tls.clone(), came.clone());
            tokio::spawn(async move {
                if fault == Reset {
                    let lingering = std::time::Duration::ZERO;
                    socket2::SockRef::from(&stream).set_linger(Some(lingering)).unwrap();
                }
                match tls {
                    None => play(stream, is_h2, moment, fault, &came).await,
                    Some(config) => {
                        if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                            play(stream, is_h2, moment, fault, &came).await;
                        }
                    }
                }
            });
        }
    });
    address
}

/// Serves one connection until its fault. Dropping the stream closes or resets it.
async fn play(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    is_h2: bool,
    moment: Moment,
    fault: Fault,
    came: &AtomicU32,
) {
    if moment == AfterConnect {
        came.fetch_add(1, Ordering::SeqCst);
        return commit(&mut stream, fault).await;
    }
    if is_h2 {
        let mut hello = Vec::new();
        // Windows for all of the body: of a stream (setting 4) and of the connection (frame 8).
        frame(&mut hello, SETTINGS, 0, 0, &[0, 4, 0x70, 0, 0, 0]);
        frame(&mut hello, WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes());
        let _ = stream.write_all(&hello).await;
    }
    let mut buffer = Vec::new();
    let mut piece = [0; 16_384];
    let mut is_preface_read = !is_h2;
    loop {
        match stream.read(&mut piece).await {
            Ok(count @ 1..) => buffer.extend_from_slice(&piece[..count]),
            Ok(0) | Err(_) => return,
        }
        if !is_preface_read && buffer.len() >= PREFACE.len() {
            buffer.drain(..PREFACE.len());
            is_preface_read = true;
        }
        if !is_h2 && has_request(&buffer, moment) {
            came.fetch_add(1, Ordering::SeqCst);
            begin_answer(&mut stream, moment, None).await;
            return commit(&mut stream, fault).await;
        }
        while let Some(next) = if is_h2 && is_preface_read { take(&mut buffer) } else { None } {
            let is_time = match moment {
                BeforeHead => next.kind <= HEADERS && next.flags & END_STREAM != 0,
                _ => next.kind == HEADERS,
            };
            if !is_time {
                continue;
            }
            came.fetch_add(1, Ordering::SeqCst);
            begin_answer(&mut stream, moment, Some(next.stream)).await;
            if !matches!(fault, ResetStream | RefuseStream) {
                return commit(&mut stream, fault).await;
            }
            // The connection goes on, and whoever tries again is given the same.
            let code = if fault == RefuseStream { 7 } else { 2 };
            let mut bytes = Vec::new();
            frame(&mut bytes, RST_STREAM, 0, next.stream, &[0, 0, 0, code]);
            let _ = stream.write_all(&bytes).await;
            let _ = stream.flush().await;
        }
    }
}

/// The first half of an answer, if that is the moment.
async fn begin_answer(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    moment: Moment,
    on: Option<u32>,
) {
    let mut answer = Vec::new();
    match on {
        _ if moment != MidAnswer => return,
        None => answer.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        Some(on) => {
            // Status 200 by its index, `content-length` by that of its name.
            frame(&mut answer, HEADERS, END_HEADERS, on, b"\x88\x0f\x0d\x0210");
            frame(&mut answer, DATA, 0, on, b"half");
        }
    }
    let _ = stream.write_all(&answer).await;
    let _ = stream.flush().await;
}

/// Whether as much of a request came as there must be: its head, and for all moments after its
/// body all of that, too.
fn has_request(buffer: &[u8], moment: Moment) -> bool {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let is_post = buffer.starts_with(b"POST");
    moment == MidRequest || !is_post || buffer.len() >= end + 4 + 500_000
}

async fn commit(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), fault: Fault) {
    let mut bytes = Vec::new();
    match fault {
        Close | Reset => return,
        Stall => return std::future::pending().await,
        Garbage => {
            bytes.extend_from_slice(b"\xff\xfegarbage\r\n\r\n garbage garbage garbage\r\n\r\n")
        }
        ResetStream | RefuseStream => unreachable!("they leave the connection alone"),
        GoAway => frame(&mut bytes, GOAWAY, 0, 0, &[0; 8]),
    }
    let _ = stream.write_all(&bytes).await;
    let _ = stream.flush().await;
    // The other side ends it: closing now might destroy what was said.
    let mut piece = [0; 16_384];
    while stream.read(&mut piece).await.is_ok_and(|count| count > 0) {}
}
