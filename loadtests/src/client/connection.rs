//! One client connection: sends whole requests, reads whole answers.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::wire::Wire;
use crate::certificate::Trust;
use crate::http::{self, Body};

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The connection is being opened; a request may already wait for it.
    Connecting,
    /// No request is under way.
    Idle,
    /// A request is being sent or its answer read.
    Busy,
    /// The answer is whole and the other side said that it will close.
    Closing,
    /// There is no connection; it is opened anew after a pause.
    Broken,
}

/// What an event brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to decide yet.
    Pending,
    /// The connection has opened and no request waits for it.
    Opened,
    /// The answer is whole.
    Answered(Answer),
    /// The request under way failed, for this reason, and the connection with it.
    Failed(&'static str),
    /// The other side closed while no request was under way.
    Closed,
}

/// A whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Index of the version that `x-backend` names, else `u8::MAX`.
    pub version: u8,
}

/// One connection and the request on it.
pub struct Connection {
    wire: Option<Wire>,
    /// Where it stands.
    pub phase: Phase,
    /// Which of the plan's requests is under way.
    pub request: usize,
    /// Just before the first byte of the request was written.
    pub begun: Instant,
    /// When the request was due.
    pub due: Instant,
    /// Whether a request waits for the connection to open.
    pub waiting: bool,
    /// Whether the other side is known to have closed. No further event will tell.
    pub read_closed: bool,
    sent: usize,
    partial: Vec<u8>,
    answer: Option<(Answer, Body)>,
    closes: bool,
}

impl Connection {
    /// A connection that is not open.
    pub fn new(now: Instant) -> Self {
        Connection {
            wire: None,
            phase: Phase::Broken,
            request: 0,
            begun: now,
            due: now,
            waiting: false,
            read_closed: false,
            sent: 0,
            partial: Vec::new(),
            answer: None,
            closes: false,
        }
    }

    /// Begins to open the connection.
    pub fn open(
        &mut self,
        to: SocketAddr,
        trust: Option<&Trust>,
        token: Token,
        registry: &Registry,
    ) -> io::Result<()> {
        let mut stream = TcpStream::connect(to)?;
        // Both interests at once: edges cost nothing while the socket takes whole requests.
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.wire = Some(Wire::new(stream, trust)?);
        self.phase = Phase::Connecting;
        self.partial.clear();
        self.answer = None;
        self.closes = false;
        self.read_closed = false;
        Ok(())
    }

    /// Drops the connection.
    pub fn shut(&mut self) {
        self.wire = None;
        self.phase = Phase::Broken;
        self.waiting = false;
    }

    /// Sends the first bytes of a request; the rest follows as the socket takes it.
    pub fn begin(&mut self, request: &[u8]) -> Progress {
        self.phase = Phase::Busy;
        self.waiting = false;
        self.sent = 0;
        self.answer = None;
        self.begun = Instant::now();
        self.send(request)
    }

    fn send(&mut self, request: &[u8]) -> Progress {
        let Some(wire) = &mut self.wire else { return Progress::Failed("no connection") };
        while self.sent < request.len() {
            match wire.write(&request[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Progress::Failed("send"),
            }
        }
        Progress::Pending
    }

    /// Whether a connection that was being opened is open now.
    pub fn settle(&mut self) -> Progress {
        let Some(wire) = &self.wire else { return Progress::Pending };
        let stream = wire.socket();
        if !matches!(stream.take_error(), Ok(None)) {
            return Progress::Failed("connect");
        }
        match stream.peer_addr() {
            // Without it the kernel may hold back the tail of a request for an acknowledgement.
            Ok(_) if stream.set_nodelay(true).is_ok() => {
                self.phase = Phase::Idle;
                Progress::Opened
            }
            Ok(_) => Progress::Failed("connect"),
            Err(error) if error.kind() == ErrorKind::NotConnected => Progress::Pending,
            Err(_) => Progress::Failed("connect"),
        }
    }

    /// Goes on after an event.
    pub fn go_on(
        &mut self,
        request: &[u8],
        versions: &[String],
        buffer: &mut [u8],
        read_closed: bool,
    ) -> Progress {
        self.read_closed |= read_closed;
        if self.phase == Phase::Busy && self.sent < request.len() {
            let progress = self.send(request);
            if progress != Progress::Pending {
                return progress;
            }
        }
        loop {
            let Some(wire) = &mut self.wire else { return Progress::Pending };
            let read = match wire.flush().and_then(|()| wire.read(buffer)) {
                Ok(0) => return self.ended(),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Pending,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) if self.phase == Phase::Busy => return Progress::Failed("reset"),
                Err(_) => return Progress::Closed,
            };
            let emptied = read < buffer.len() && wire.short_read_empties();
            let progress = self.take(&buffer[..read], versions);
            if progress != Progress::Pending || (emptied && !read_closed) {
                return progress;
            }
        }
    }

    /// The other side has closed.
    fn ended(&mut self) -> Progress {
        match (self.phase, &self.answer) {
            (Phase::Busy, Some((answer, Body::UntilClose))) => Progress::Answered(*answer),
            (Phase::Busy, Some(_)) => Progress::Failed("answer cut short"),
            (Phase::Busy, None) => Progress::Failed("closed without an answer"),
            _ => Progress::Closed,
        }
    }

    fn take(&mut self, arrived: &[u8], versions: &[String]) -> Progress {
        if self.phase != Phase::Busy {
            return Progress::Failed("bytes that nobody asked for");
        }
        if self.partial.is_empty() {
            return self.take_whole(arrived, versions);
        }
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(arrived);
        self.take_whole(&bytes, versions)
    }

    fn take_whole(&mut self, mut bytes: &[u8], versions: &[String]) -> Progress {
        if self.answer.is_none() {
            match http::response_head(bytes) {
                Err(_) => return Progress::Failed("not an HTTP answer"),
                Ok(None) => {
                    self.partial.extend_from_slice(bytes);
                    return Progress::Pending;
                }
                Ok(Some(head)) => {
                    let version = versions.iter().position(|v| v.as_bytes() == head.backend);
                    let version = version.map_or(u8::MAX, |index| index as u8);
                    bytes = &bytes[head.length..];
                    self.closes = head.closes;
                    self.answer = Some((Answer { status: head.status, version }, head.body));
                }
            }
        }
        let Some((answer, body)) = &mut self.answer else { return Progress::Pending };
        match body.consume(bytes) {
            Err(_) => Progress::Failed("bad body"),
            Ok(used) if used < bytes.len() => Progress::Failed("bytes that nobody asked for"),
            Ok(_) if !body.is_done() => Progress::Pending,
            Ok(_) => {
                let answer = *answer;
                self.phase = if self.closes { Phase::Closing } else { Phase::Idle };
                Progress::Answered(answer)
            }
        }
    }
}
