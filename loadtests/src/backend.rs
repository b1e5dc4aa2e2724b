//! Which upstream endpoints stand behind the proxy under test?
//!
//! One thread serves all of them: HTTP/1.1 keep-alive over non-blocking sockets, answers made once and
//! sent from memory, so that what is measured is the proxy. An endpoint can die (its socket and its
//! connections vanish), come back, or stall (it accepts, reads and never answers).

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::http::{self, Body, Malformed};
use crate::machine;

/// Body length of an answer whose path names none.
const USUAL_BYTES: u64 = 1024;
/// The longest body that a path may ask for.
const MOST_BYTES: u64 = 16 << 20;
/// Bytes read at once; a whole POST of a scenario fits.
const READ_BYTES: usize = 256 << 10;
/// Paths below this one are probes: answered, not counted.
const PROBE_PREFIX: &[u8] = b"/health";

const WAKER: Token = Token(usize::MAX);

/// One endpoint as scenarios see it.
pub struct Endpoint {
    /// Value of `x-backend` in its answers: the version it belongs to.
    pub version: String,
    /// Where it listens, the same after a restart.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    served: AtomicU64,
    stalled: AtomicBool,
}

impl Endpoint {
    /// Requests it has read, probes left out.
    pub fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// From now on accepts and reads, and never answers; or answers again.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.store(stalled, Ordering::Relaxed);
    }
}

enum Command {
    Kill(usize, Sender<io::Result<()>>),
    Restart(usize, Sender<io::Result<()>>),
    Stop,
}

/// All endpoints of a scenario. Stops when dropped.
pub struct Backends {
    endpoints: Vec<Endpoint>,
    commands: Sender<Command>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Backends {
    /// Starts one endpoint for each version named; a version named twice has two.
    pub fn start(versions: &[&str]) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (commands, inbox) = mpsc::channel();
        let mut server = Server {
            poll,
            inbox,
            seats: Vec::new(),
            connections: Vec::new(),
            free: Vec::new(),
            buffer: vec![0; READ_BYTES],
        };
        let mut endpoints = Vec::new();
        for version in versions {
            let shared = Arc::new(Shared::default());
            let address = machine::free_address()?;
            let seat = Seat::new(version, address, Arc::clone(&shared));
            server.seats.push(seat);
            server.open(endpoints.len())?;
            endpoints.push(Endpoint { version: (*version).to_owned(), address, shared });
        }
        let thread = std::thread::Builder::new().name("backends".into()).spawn(move || {
            if let Err(error) = server.run() {
                eprintln!("the backends stopped: {error}");
            }
        })?;
        Ok(Backends { endpoints, commands, waker, thread: Some(thread) })
    }

    /// The endpoint at that place in the list given at start.
    pub fn endpoint(&self, index: usize) -> &Endpoint {
        &self.endpoints[index]
    }

    /// Addresses of a version's endpoints.
    pub fn addresses(&self, version: &str) -> Vec<SocketAddr> {
        self.endpoints.iter().filter(|e| e.version == version).map(|e| e.address).collect()
    }

    /// Closes an endpoint's socket and all its connections; returns when that has happened.
    pub fn kill(&self, index: usize) -> io::Result<()> {
        self.ask(|reply| Command::Kill(index, reply))
    }

    /// Listens again on the same address; returns when connections are accepted.
    pub fn restart(&self, index: usize) -> io::Result<()> {
        self.ask(|reply| Command::Restart(index, reply))
    }

    fn ask(&self, command: impl FnOnce(Sender<io::Result<()>>) -> Command) -> io::Result<()> {
        let (reply, answer) = mpsc::channel();
        let gone = || io::Error::other("the backends have stopped");
        self.commands.send(command(reply)).map_err(|_| gone())?;
        self.waker.wake()?;
        answer.recv().map_err(|_| gone())?
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        // Both can only fail when the thread has ended already.
        let _ = self.commands.send(Command::Stop);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An endpoint as the serving thread sees it.
struct Seat {
    version: String,
    address: SocketAddr,
    listener: Option<TcpListener>,
    shared: Arc<Shared>,
    /// Answers made so far by body length.
    answers: Vec<(u64, Arc<[u8]>)>,
}

impl Seat {
    fn new(version: &str, address: SocketAddr, shared: Arc<Shared>) -> Self {
        let answers = Vec::new();
        Seat { version: version.to_owned(), address, listener: None, shared, answers }
    }

    fn answer(&mut self, target: &[u8]) -> Arc<[u8]> {
        let asked = target.strip_prefix(b"/bytes/").and_then(|rest| {
            let end = memchr::memchr(b'?', rest).unwrap_or(rest.len());
            http::number(&rest[..end])
        });
        let bytes = asked.unwrap_or(USUAL_BYTES).min(MOST_BYTES);
        if let Some((_, answer)) = self.answers.iter().find(|(length, _)| *length == bytes) {
            return Arc::clone(answer);
        }
        let answer: Arc<[u8]> = compose(&self.version, bytes as usize).into();
        self.answers.push((bytes, Arc::clone(&answer)));
        answer
    }
}

/// A whole answer with six fields, the way small services send them.
fn compose(version: &str, bytes: usize) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nServer: shop/1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {bytes}\r\nCache-Control: private, max-age=0\r\nETag: \"5f3c-61a7\"\r\n\
         X-Backend: {version}\r\n\r\n"
    )
    .into_bytes();
    answer.resize(answer.len() + bytes, b'x');
    answer
}

struct Connection {
    stream: TcpStream,
    seat: usize,
    /// The beginning of a head whose end has not arrived.
    partial: Vec<u8>,
    /// The request whose body is still arriving.
    request: Option<Request>,
    /// An answer that did not fit into the socket, and how much of it did.
    unsent: Option<(Arc<[u8]>, usize)>,
    closing: bool,
}

struct Request {
    body: Body,
    answer: Arc<[u8]>,
    closes: bool,
}

/// What to do with a connection after an event.
#[derive(PartialEq)]
enum Fate {
    Keep,
    Close,
}

struct Server {
    poll: Poll,
    inbox: Receiver<Command>,
    seats: Vec<Seat>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

impl Server {
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            if let Err(error) = self.poll.poll(&mut events, None) {
                if error.kind() == ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            for event in &events {
                match event.token() {
                    WAKER => {
                        if !self.obey() {
                            return Ok(());
                        }
                    }
                    Token(seat) if seat < self.seats.len() => self.accept(seat)?,
                    Token(token) => {
                        let slot = token - self.seats.len();
                        self.serve(slot, event.is_writable(), event.is_read_closed());
                    }
                }
            }
        }
    }

    /// Carries out what was asked; `false` when the server is to end.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.inbox.try_recv() {
            // An asker who has gone away needs no answer.
            match command {
                Command::Kill(seat, reply) => {
                    self.kill(seat);
                    let _ = reply.send(Ok(()));
                }
                Command::Restart(seat, reply) => {
                    let _ = reply.send(self.open(seat));
                }
                Command::Stop => return false,
            }
        }
        true
    }

    fn open(&mut self, seat: usize) -> io::Result<()> {
        let mut listener = TcpListener::bind(self.seats[seat].address)?;
        self.poll.registry().register(&mut listener, Token(seat), Interest::READABLE)?;
        self.seats[seat].listener = Some(listener);
        Ok(())
    }

    fn kill(&mut self, seat: usize) {
        self.seats[seat].listener = None;
        for slot in 0..self.connections.len() {
            if self.connections[slot].as_ref().is_some_and(|c| c.seat == seat) {
                self.connections[slot] = None;
                self.free.push(slot);
            }
        }
    }

    fn accept(&mut self, seat: usize) -> io::Result<()> {
        loop {
            let Some(listener) = &self.seats[seat].listener else { return Ok(()) };
            match listener.accept() {
                Ok((stream, _)) => self.admit(seat, stream)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn admit(&mut self, seat: usize, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let token = Token(slot + self.seats.len());
        // Both interests at once: edges cost nothing while the socket takes whole answers.
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, token, interest)?;
        let (partial, request, unsent, closing) = (Vec::new(), None, None, false);
        let connection = Connection { stream, seat, partial, request, unsent, closing };
        self.connections[slot] = Some(connection);
        Ok(())
    }

    fn serve(&mut self, slot: usize, writable: bool, read_closed: bool) {
        // An event may be older than the end of its connection.
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        let seat = &mut self.seats[connection.seat];
        let fate = match connection.go_on(seat, &mut self.buffer, writable, read_closed) {
            Ok(fate) => fate,
            Err(_) => Fate::Close,
        };
        if fate == Fate::Close {
            self.connections[slot] = None;
            self.free.push(slot);
        }
    }
}

impl Connection {
    fn go_on(
        &mut self,
        seat: &mut Seat,
        buffer: &mut [u8],
        writable: bool,
        read_closed: bool,
    ) -> io::Result<Fate> {
        if writable && let Some((answer, from)) = self.unsent.take() {
            self.send(answer, from)?;
        }
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Ok(Fate::Close),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.take(seat, &buffer[..read]).map_err(|bad| io::Error::other(bad.0))?;
            self.flush_or_close()?;
            if read < buffer.len() && !read_closed {
                break;
            }
        }
        let done = self.closing && self.unsent.is_none();
        Ok(if done { Fate::Close } else { Fate::Keep })
    }

    /// A request that came while an answer was stuck is sent behind it, so nothing is lost here.
    fn flush_or_close(&mut self) -> io::Result<()> {
        if let Some((answer, from)) = self.unsent.take() {
            self.send(answer, from)?;
        }
        Ok(())
    }

    fn take(&mut self, seat: &mut Seat, arrived: &[u8]) -> Result<(), Malformed> {
        if self.partial.is_empty() {
            return self.take_whole(seat, arrived);
        }
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(arrived);
        self.take_whole(seat, &bytes)
    }

    fn take_whole(&mut self, seat: &mut Seat, mut bytes: &[u8]) -> Result<(), Malformed> {
        while !bytes.is_empty() || self.request.is_some() {
            if self.request.is_none() {
                let Some(head) = http::request_head(bytes)? else {
                    self.partial.extend_from_slice(bytes);
                    return Ok(());
                };
                if !head.target.starts_with(PROBE_PREFIX) {
                    seat.shared.served.fetch_add(1, Ordering::Relaxed);
                }
                let answer = seat.answer(head.target);
                let (body, closes) = (head.body, head.closes);
                bytes = &bytes[head.length..];
                self.request = Some(Request { body, answer, closes });
            }
            let Some(mut request) = self.request.take() else { return Ok(()) };
            let used = request.body.consume(bytes)?;
            bytes = &bytes[used..];
            if !request.body.is_done() {
                self.request = Some(request);
                return Ok(());
            }
            self.closing |= request.closes;
            if !seat.shared.stalled.load(Ordering::Relaxed) {
                self.queue(request.answer);
            }
        }
        Ok(())
    }

    fn queue(&mut self, answer: Arc<[u8]>) {
        self.unsent = Some(match self.unsent.take() {
            None => (answer, 0),
            Some((before, from)) => ([&before[from..], &answer[..]].concat().into(), 0),
        });
    }

    fn send(&mut self, answer: Arc<[u8]>, mut from: usize) -> io::Result<()> {
        while from < answer.len() {
            match self.stream.write(&answer[from..]) {
                Ok(written) => from += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unsent = Some((answer, from));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream as Blocking;

    fn ask(address: SocketAddr, request: &str) -> io::Result<String> {
        let mut stream = Blocking::connect(address)?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn an_answer_has_the_asked_length_and_names_its_version() {
        let backends = Backends::start(&["blue", "green"]).expect("backends");
        let request = "GET /bytes/5?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = ask(backends.endpoint(1).address, request).expect("an answer");
        assert!(answer.ends_with("\r\n\r\nxxxxx"), "{answer}");
        assert!(answer.contains("X-Backend: green\r\n"), "{answer}");
        assert_eq!((backends.endpoint(0).served(), backends.endpoint(1).served()), (0, 1));
    }

    #[test]
    fn a_body_is_read_before_the_answer_and_requests_may_follow_each_other() {
        let backends = Backends::start(&["blue"]).expect("backends");
        let request = "POST /bytes/2 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
                       GET /bytes/3 HTTP/1.0\r\n\r\n";
        let answer = ask(backends.endpoint(0).address, request).expect("an answer");
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
        assert_eq!(backends.endpoint(0).served(), 2);
    }

    #[test]
    fn a_killed_endpoint_refuses_until_it_is_restarted() {
        let backends = Backends::start(&["blue"]).expect("backends");
        let address = backends.endpoint(0).address;
        let request = "GET / HTTP/1.0\r\n\r\n";
        backends.kill(0).expect("killed");
        assert!(ask(address, request).is_err());
        backends.restart(0).expect("restarted");
        assert!(ask(address, request).expect("an answer").len() > 1024);
    }

    #[test]
    fn probes_are_not_counted() {
        let backends = Backends::start(&["blue"]).expect("backends");
        let endpoint = backends.endpoint(0);
        ask(endpoint.address, "GET /health/ready HTTP/1.0\r\n\r\n").expect("an answer");
        assert_eq!(endpoint.served(), 0);
    }
}
