//! The least that a proxy can do: bytes are copied from one connection to another, and nobody looks at them.
//!
//! What it spends is the kernel's share of passing a request on. A proxy that reads into memory and writes out of
//! it cannot be cheaper; what it spends above is what it does.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::Command;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use tempfile::TempDir;

use super::{Process, accepts};
use crate::machine;

/// Room for a whole answer of 64 KiB with its head.
const BUFFER_BYTES: usize = 128 * 1024;
const LISTENER: Token = Token(usize::MAX);

/// A copier in a process of its own.
pub struct Copier {
    /// Its process.
    pub process: Process,
    /// Where it takes traffic.
    pub listener: SocketAddr,
    _home: TempDir,
}

impl Copier {
    /// Starts this program again as a copier to that backend, on a core of its own.
    pub fn start(to: SocketAddr) -> io::Result<Self> {
        let home = tempfile::tempdir()?;
        let listener = machine::free_address()?;
        let output = home.path().join("output.log");
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--copy").arg(listener.to_string()).arg(to.to_string());
        let mut process = Process::start(&mut command, &output, true)?;
        process.wait_until(&output, || accepts(listener))?;
        Ok(Copier { process, listener, _home: home })
    }
}

/// Copies between clients and a backend, with a connection to it for each of theirs, until it is killed.
pub fn run(listener: SocketAddr, to: SocketAddr) -> io::Result<Infallible> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(listener)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(token) = event.token();
            if event.token() == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    pairs.push(Some(Pair::join(client, to, pairs.len(), &poll)?));
                }
            } else if let Some(pair) = &mut pairs[token / 2]
                && !pair.carry(token % 2, &mut buffer)
            {
                pairs[token / 2] = None;
            }
        }
    }
}

/// A client's connection and the one to the backend.
struct Pair {
    ends: [TcpStream; 2],
    /// What was read from an end and was not taken by the other yet.
    waiting: [Vec<u8>; 2],
}

impl Pair {
    fn join(client: TcpStream, to: SocketAddr, place: usize, poll: &Poll) -> io::Result<Self> {
        let mut ends = [client, TcpStream::connect(to)?];
        for (end, stream) in ends.iter_mut().enumerate() {
            stream.set_nodelay(true)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(stream, Token(place * 2 + end), interest)?;
        }
        Ok(Pair { ends, waiting: Default::default() })
    }

    /// Moves what there is after an event at one end; false once either end is closed.
    fn carry(&mut self, end: usize, buffer: &mut [u8]) -> bool {
        self.flow(end, buffer) && (self.waiting[1 - end].is_empty() || self.flow(1 - end, buffer))
    }

    /// Moves what there is from an end to the other.
    fn flow(&mut self, from: usize, buffer: &mut [u8]) -> bool {
        loop {
            if !self.waiting[from].is_empty() {
                match self.ends[1 - from].write(&self.waiting[from]) {
                    Ok(sent) => drop(self.waiting[from].drain(..sent)),
                    Err(error) => return is_later(&error),
                }
                continue;
            }
            let read = match self.ends[from].read(buffer) {
                Ok(0) => return false,
                Ok(read) => &buffer[..read],
                Err(error) => return is_later(&error),
            };
            let sent = match self.ends[1 - from].write(read) {
                Ok(sent) => sent,
                Err(error) if is_later(&error) => 0,
                Err(_) => return false,
            };
            self.waiting[from].extend_from_slice(&read[sent..]);
            // Less than there is room for was all there was: the next byte is an event of its own.
            if sent == read.len() && read.len() < BUFFER_BYTES {
                return true;
            }
        }
    }
}

/// Whether it will be possible later. A connection that is still being made is not there yet.
fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// More than fits into the sockets between.
    const MUCH: usize = 64 << 20;

    /// Says much, then what is said to it.
    fn serve(mut stream: std::net::TcpStream) -> io::Result<()> {
        stream.write_all(&vec![7; MUCH])?;
        let mut asked = [0; 5];
        stream.read_exact(&mut asked)?;
        stream.write_all(&asked)
    }

    #[test]
    fn bytes_pass_both_ways_whole() {
        let backend = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let (to, at) =
            (backend.local_addr().expect("bound"), machine::free_address().expect("one"));
        thread::spawn(move || run(at, to));
        // One of them is the question whether it accepts.
        thread::spawn(move || {
            for stream in backend.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
        while !accepts(at) {}
        let mut client = std::net::TcpStream::connect(at).expect("the copier");
        let mut answer = vec![0; MUCH];
        client.read_exact(&mut answer).expect("sent");
        assert!(answer.iter().all(|byte| *byte == 7));
        client.write_all(b"hello").expect("taken");
        let mut echo = [0; 5];
        client.read_exact(&mut echo).expect("sent");
        assert_eq!(&echo, b"hello");
    }
}
