//! What hostile clients do, one trick after another.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::h2::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, Wire, frame, send,
};
use crate::certificate::Trust;
use crate::client::request;

/// The two listeners, and what clients of HTTP/2 trust.
#[derive(Debug, Clone)]
pub struct Target {
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    pub trust: Trust,
}

/// How long a hostile client keeps a connection busy with nothing.
const DAWDLE: Duration = Duration::from_millis(300);
/// A hostile client gives up reading after this.
const PATIENCE: Duration = Duration::from_secs(2);

/// One thing that a hostile client does with a connection of its own; numbers drive its choices.
enum Trick {
    Plain(fn(&mut TcpStream, u64) -> io::Result<()>),
    /// On the listener of TLS, before or instead of a handshake.
    Unshaken(fn(&mut TcpStream, &Target) -> io::Result<()>),
    H2(fn(&mut Wire) -> io::Result<()>),
}

const TRICKS: [(&str, Trick); 25] = [
    (
        "says nothing",
        Trick::Plain(|_, _| {
            std::thread::sleep(DAWDLE);
            Ok(())
        }),
    ),
    (
        "sends garbage",
        Trick::Plain(|stream, number| {
            let bytes: Vec<u8> = (0..4096).map(|at| mixed(number + at).to_le_bytes()[0]).collect();
            stream.write_all(&bytes)?;
            read_all(stream)
        }),
    ),
    (
        "smuggles",
        Trick::Plain(|stream, number| {
            let head = SMUGGLED[index(number, SMUGGLED.len())];
            stream.write_all(head.as_bytes())?;
            stream.write_all(&request("GET", "/bytes/64", 0, true))?;
            read_all(stream)
        }),
    ),
    (
        "sends a head slowly",
        Trick::Plain(|stream, _| {
            for byte in b"GET / HTTP/1.1\r\nHost: a\r\n".iter().take(20) {
                stream.write_all(&[*byte])?;
                std::thread::sleep(DAWDLE / 20);
            }
            Ok(())
        }),
    ),
    (
        "sends a head without end",
        Trick::Plain(|stream, _| {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")?;
            stream.write_all(&vec![b'y'; 200_000])?;
            read_all(stream)
        }),
    ),
    (
        "leaves in the middle of its body",
        Trick::Plain(|stream, number| {
            let whole = request("POST", "/bytes/64", 500_000, false);
            stream.write_all(&whole[..index(number, whole.len())])
        }),
    ),
    (
        "leaves in the middle of the answer",
        Trick::Plain(|stream, _| {
            stream.write_all(&request("GET", "/bytes/4000000", 0, false))?;
            stream.read_exact(&mut [0; 1000])
        }),
    ),
    (
        "reads nothing",
        Trick::Plain(|stream, _| {
            stream.write_all(&request("GET", "/bytes/8000000", 0, false))?;
            std::thread::sleep(DAWDLE);
            Ok(())
        }),
    ),
    (
        "pipelines and hangs up",
        Trick::Plain(|stream, _| {
            stream.write_all(&request("GET", "/bytes/1024", 0, false).repeat(50))?;
            stream.shutdown(Shutdown::Write)?;
            read_all(stream)
        }),
    ),
    (
        "speaks HTTP where TLS is spoken",
        Trick::Unshaken(|stream, _| {
            stream.write_all(&request("GET", "/bytes/64", 0, true))?;
            read_all(stream)
        }),
    ),
    (
        "sends garbage for a handshake",
        Trick::Unshaken(|stream, _| {
            stream.write_all(b"\x16\x03\x01\xff\xff")?;
            stream.write_all(&vec![0xa5; 70_000])?;
            read_all(stream)
        }),
    ),
    (
        "sends half a hello",
        Trick::Unshaken(|stream, target| {
            let hello = hello(target)?;
            stream.write_all(&hello[..hello.len() / 2])?;
            std::thread::sleep(DAWDLE);
            Ok(())
        }),
    ),
    (
        "leaves in the middle of a handshake",
        Trick::Unshaken(|stream, target| {
            stream.write_all(&hello(target)?)?;
            stream.read_exact(&mut [0; 5])
        }),
    ),
    (
        "damages a handshake",
        Trick::Unshaken(|stream, target| {
            stream.write_all(&hello(target)?)?;
            stream.write_all(b"\x17\x03\x03\0\x20")?;
            stream.write_all(&[0x5a; 32])?;
            read_all(stream)
        }),
    ),
    ("shakes hands and leaves", Trick::H2(|wire| wire.flush())),
    (
        "resets rapidly",
        Trick::H2(|wire| {
            many(wire, 1000, |stream| {
                let begun =
                    frame(HEADERS, END_HEADERS | END_STREAM, stream, &h2::head("GET", "/bytes/64"));
                [begun, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
            })?;
            read_all(wire)
        }),
    ),
    (
        "opens no window",
        Trick::H2(|wire| {
            send(wire, SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])?;
            many(wire, 50, |stream| {
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &h2::head("GET", "/bytes/4000000"))
            })?;
            std::thread::sleep(DAWDLE);
            Ok(())
        }),
    ),
    (
        "reads nothing of many streams",
        Trick::H2(|wire| {
            send(wire, WINDOW_UPDATE, 0, 0, &[0x3f, 0, 0, 0])?;
            many(wire, 50, |stream| {
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &h2::head("GET", "/bytes/4000000"))
            })?;
            std::thread::sleep(DAWDLE);
            Ok(())
        }),
    ),
    (
        "begins bodies and leaves",
        Trick::H2(|wire| {
            many(wire, 100, |stream| {
                let begun = frame(HEADERS, END_HEADERS, stream, &h2::head("POST", "/bytes/64"));
                [begun, frame(DATA, 0, stream, &[b'x'; 100])].concat()
            })
        }),
    ),
    (
        "floods with settings",
        Trick::H2(|wire| {
            many(wire, 5000, |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))?;
            read_all(wire)
        }),
    ),
    (
        "floods with pings",
        Trick::H2(|wire| {
            many(wire, 5000, |_| frame(PING, 0, 0, b"12345678"))?;
            read_all(wire)
        }),
    ),
    (
        "sends a head of CONTINUATION without end",
        Trick::H2(|wire| {
            send(wire, HEADERS, END_STREAM, 1, &h2::head("GET", "/bytes/64"))?;
            many(wire, 20_000, |_| frame(CONTINUATION, 0, 1, b"\0\x01a\x01b"))?;
            read_all(wire)
        }),
    ),
    (
        "sends DATA of nothing",
        Trick::H2(|wire| {
            send(wire, HEADERS, END_HEADERS, 1, &h2::head("POST", "/bytes/64"))?;
            many(wire, 5000, |_| frame(DATA, 0, 1, &[]))?;
            read_all(wire)
        }),
    ),
    (
        "lets windows overflow",
        Trick::H2(|wire| {
            many(wire, 3, |_| frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]))?;
            read_all(wire)
        }),
    ),
    (
        "sends garbage for fields",
        Trick::H2(|wire| {
            send(wire, HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 500])?;
            read_all(wire)
        }),
    ),
];

const SMUGGLED: [&str; 6] = [
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551619\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: y\n z\r\n\r\n",
];

/// Tries one after another until the run is over; how many.
pub fn play_all(target: &Target, number: u64, over: &AtomicBool) -> u64 {
    let (mut number, mut tried) = (mixed(number), 0);
    while !over.load(Ordering::Relaxed) {
        number = mixed(number);
        // However it ends: the honest clients tell whether it did harm.
        let _ = play(target, number);
        tried += 1;
    }
    tried
}

fn play(target: &Target, number: u64) -> io::Result<()> {
    let (_, trick) = &TRICKS[index(number, TRICKS.len())];
    let to = if matches!(trick, Trick::Plain(_)) { target.plain } else { target.tls };
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    match trick {
        Trick::Plain(play) => play(&mut stream, mixed(number)),
        Trick::Unshaken(play) => play(&mut stream, target),
        Trick::H2(play) => play(&mut h2::open(target, stream)?),
    }
}

/// The first bytes of a sound handshake.
fn hello(target: &Target) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    target.trust.session()?.write_tls(&mut bytes)?;
    Ok(bytes)
}

/// So many times the frames that are made for a stream, each on one of its own.
fn many(wire: &mut Wire, count: u32, frames: impl Fn(u32) -> Vec<u8>) -> io::Result<()> {
    let bytes: Vec<u8> = (0..count).flat_map(|turn| frames(2 * turn + 1)).collect();
    wire.write_all(&bytes)
}

fn read_all(stream: &mut impl Read) -> io::Result<()> {
    let mut piece = [0; 16_384];
    while stream.read(&mut piece)? > 0 {}
    Ok(())
}

/// A place in a list.
fn index(number: u64, length: usize) -> usize {
    usize::try_from(number % length as u64).unwrap_or_default()
}

/// The next of a row of numbers that look drawn (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trick_has_its_turn() {
        let mut number = 1;
        let mut seen = [false; TRICKS.len()];
        for _ in 0..1000 {
            number = mixed(number);
            seen[index(number, TRICKS.len())] = true;
        }
        assert_eq!(seen, [true; TRICKS.len()]);
    }
}
