//! HTTP/2 by hand: enough frames for an honest client, and for what a hostile one does with them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::tricks::Target;
use crate::client::HOST;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What an honest client asks for at once: a path and how long its answer is.
const BATCH: [(&str, u64); 4] =
    [("/bytes/0", 0), ("/bytes/1024", 1024), ("/bytes/1024", 1024), ("/bytes/40000", 40_000)];
/// Between two batches.
const PAUSE: Duration = Duration::from_millis(40);

/// A connection that has shaken hands and said its preface.
pub type Wire = StreamOwned<ClientConnection, TcpStream>;

/// Begins a connection.
pub fn open(target: &Target, stream: TcpStream) -> io::Result<Wire> {
    let mut wire = StreamOwned::new(target.trust.session()?, stream);
    wire.write_all(PREFACE)?;
    send(&mut wire, SETTINGS, 0, 0, &[])?;
    Ok(wire)
}

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// Sends a frame.
pub fn send(wire: &mut Wire, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
    wire.write_all(&frame(kind, flags, stream, payload))
}

/// The head of a request, its fields as literals that no table keeps.
pub fn head(method: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", path)];
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // All of them are short: their length is one byte.
            block.extend(u8::try_from(text.len()));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// Asks over one connection until the run is over; how many streams were answered.
pub fn ask(target: &Target, over: &AtomicBool) -> io::Result<u64> {
    let stream = TcpStream::connect(target.tls)?;
    stream.set_nodelay(true)?;
    let mut wire = open(target, stream)?;
    let (mut answered, mut next) = (0, 1);
    while !over.load(Ordering::Relaxed) {
        let first = next;
        let mut batch = Vec::new();
        for (path, _) in BATCH {
            let flags = END_HEADERS | END_STREAM;
            batch.extend(frame(HEADERS, flags, next, &head("GET", path)));
            next += 2;
        }
        wire.write_all(&batch)?;
        answers(&mut wire, first)?;
        answered += BATCH.len() as u64;
        std::thread::sleep(PAUSE);
    }
    Ok(answered)
}

/// Reads until every stream of the batch that begins with `first` was answered whole.
fn answers(wire: &mut Wire, first: u32) -> io::Result<()> {
    let broken = |what: String| Err(io::Error::other(what));
    let (mut lengths, mut open) = ([0; BATCH.len()], BATCH.len());
    while open > 0 {
        let mut begin = [0; 9];
        wire.read_exact(&mut begin)?;
        let [a, b, c, kind, flags, stream @ ..] = begin;
        let stream = u32::from_be_bytes(stream);
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        wire.read_exact(&mut payload)?;
        let place = stream.wrapping_sub(first) as usize / 2;
        match kind {
            SETTINGS | PING if flags & ACK == 0 => {
                let echo = if kind == PING { &payload[..] } else { &[] };
                send(wire, kind, ACK, 0, echo)?;
            }
            // 200 stands in the static table.
            HEADERS if !payload.contains(&0x88) => return broken(format!("{stream}: no 200")),
            DATA if place < BATCH.len() => {
                lengths[place] += payload.len() as u64;
                let room = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
                if room != [0; 4] {
                    send(wire, WINDOW_UPDATE, 0, 0, &room)?;
                }
            }
            RST_STREAM | GOAWAY => return broken(format!("frame {kind} {payload:?}")),
            _ => {}
        }
        if kind <= HEADERS && flags & END_STREAM != 0 {
            open -= 1;
        }
    }
    match lengths == BATCH.map(|(_, length)| length) {
        true => Ok(()),
        false => broken(format!("bodies of {lengths:?} bytes")),
    }
}
