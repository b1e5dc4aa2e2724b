//! Scripted versions: small servers that do exactly what a test says, and remember what came.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::client::Wire;

/// What a version does with each request.
#[derive(Debug, Clone)]
pub struct Script {
    status: u16,
    body: String,
    fields: String,
    /// The raw answer instead of a made one.
    raw: Option<Vec<u8>>,
    /// Sent before the gate.
    early: Vec<u8>,
    gate: Option<Arc<Notify>>,
    then_close: bool,
    /// Every so many requests are answered 500.
    fails_every: Option<u64>,
    /// While this is set, every other request is answered 500.
    outage: Arc<AtomicBool>,
    /// Every so many requests take so long.
    slow_every: Option<(u64, Duration)>,
    silent: bool,
    tls: Option<Arc<rustls::ServerConfig>>,
    health: Arc<Health>,
}

/// What is said to health checks.
#[derive(Debug, Default)]
struct Health {
    /// Status and body; as every other request when there is none.
    says: Mutex<Option<(u16, String)>>,
    probes: AtomicU64,
}

/// Answers 200 with this body.
pub fn says(body: &str) -> Script {
    Script {
        status: 200,
        body: body.to_owned(),
        fields: String::new(),
        raw: None,
        early: Vec::new(),
        gate: None,
        then_close: false,
        fails_every: None,
        outage: Arc::default(),
        slow_every: None,
        silent: false,
        tls: None,
        health: Arc::default(),
    }
}

impl Script {
    /// With this status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With these further field lines, each ended by CRLF.
    pub fn fields(mut self, fields: &str) -> Self {
        self.fields = fields.to_owned();
        self
    }

    /// Sends exactly these bytes for every request.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.raw = Some(bytes.to_vec());
        self
    }

    /// Sends these bytes as soon as a request came.
    pub fn early(mut self, bytes: &[u8]) -> Self {
        self.early = bytes.to_vec();
        self
    }

    /// Waits for the gate before each answer.
    pub fn behind(mut self, gate: &Arc<Notify>) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Closes after each answer; with no answer at all when `raw` is empty.
    pub fn closing(mut self) -> Self {
        self.then_close = true;
        self
    }

    /// Answers every so many requests with 500.
    pub fn fails_every(mut self, requests: u64) -> Self {
        self.fails_every = Some(requests);
        self
    }

    /// Answers every other request with 500 while this is set.
    pub fn fails_during(mut self, outage: &Arc<AtomicBool>) -> Self {
        self.outage = outage.clone();
        self
    }

    /// Takes so long for every so many requests.
    pub fn slow_every(mut self, requests: u64, takes: Duration) -> Self {
        self.slow_every = Some((requests, takes));
        self
    }

    /// Answers health checks so.
    pub fn health(self, status: u16, body: &str) -> Self {
        *self.health.says.lock().unwrap() = Some((status, body.to_owned()));
        self
    }

    /// Speaks TLS.
    pub fn over_tls(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Reads requests and never answers.
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }
}

/// A running version.
pub struct Version {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    requests: Arc<AtomicU64>,
    alive: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
    script: Script,
}

impl Version {
    /// Starts on a free port.
    pub fn start(script: Script) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let version = Self {
            address,
            seen: Arc::default(),
            requests: Arc::default(),
            alive: watch::Sender::new(true),
            task: Mutex::new(None),
            script,
        };
        version.serve(listener);
        version
    }

    fn serve(&self, listener: std::net::TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let (seen, requests) = (self.seen.clone(), self.requests.clone());
        let (script, alive) = (self.script.clone(), self.alive.subscribe());
        *self.task.lock().unwrap() = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, requests, script) = (seen.clone(), requests.clone(), script.clone());
                let mut alive = alive.clone();
                tokio::spawn(async move {
                    let talking = async {
                        match script.tls.clone() {
                            None => talk(stream, script, seen, requests).await,
                            Some(config) => {
                                let shaken = TlsAcceptor::from(config).accept(stream).await;
                                if let Ok(stream) = shaken {
                                    talk(stream, script, seen, requests).await;
                                }
                            }
                        }
                    };
                    tokio::select! {
                        () = talking => {}
                        _ = alive.wait_for(|alive| !alive) => {}
                    }
                });
            }
        }));
    }

    /// Requests that came.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Answers health checks so from now on; returns how many came until now.
    pub fn health(&self, status: u16, body: &str) -> u64 {
        *self.script.health.says.lock().unwrap() = Some((status, body.to_owned()));
        self.probes()
    }

    /// Health checks that came.
    pub fn probes(&self) -> u64 {
        self.script.health.probes.load(Ordering::SeqCst)
    }

    /// The requests as they came, head and body.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Dies: the port refuses, open connections are cut.
    pub async fn kill(&self) {
        if let Some(task) = self.task.lock().unwrap().take() {
            task.abort();
        }
        self.alive.send_replace(false);
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lives again, on the same port.
    pub async fn revive(&self) {
        let listener = loop {
            match std::net::TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                // An outgoing connection may have been given the port meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        self.alive.send_replace(true);
        self.serve(listener);
    }
}

async fn talk(
    mut stream: impl Wire,
    script: Script,
    seen: Arc<Mutex<Vec<String>>>,
    requests: Arc<AtomicU64>,
) {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = read_request(&mut stream, &mut buffer).await else { return };
        let is_probe = request.starts_with("GET /health");
        let is_head = request.starts_with("HEAD ");
        let mut fails = false;
        if !is_probe {
            seen.lock().unwrap().push(request);
            let number = requests.fetch_add(1, Ordering::SeqCst) + 1;
            let is_one_of = |every: u64| number.is_multiple_of(every);
            fails = script.fails_every.is_some_and(is_one_of)
                || script.outage.load(Ordering::SeqCst) && is_one_of(2);
            let slow = script.slow_every.filter(|(every, _)| is_one_of(*every));
            if let Some((_, takes)) = slow {
                tokio::time::sleep(takes).await;
            }
        }
        if script.silent && !is_probe {
            return std::future::pending().await;
        }
        if !is_probe && stream.write_all(&script.early).await.is_err() {
            return;
        }
        if let (Some(gate), false) = (&script.gate, is_probe) {
            gate.notified().await;
        }
        let mut said = (if fails { 500 } else { script.status }, script.body.clone());
        if is_probe {
            script.health.probes.fetch_add(1, Ordering::SeqCst);
            said = script.health.says.lock().unwrap().clone().unwrap_or(said);
        }
        let (status, body) = said;
        let made = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{}\r\n{}",
            body.len(),
            script.fields,
            if is_head { "" } else { &body },
        );
        let bytes = script.raw.clone().filter(|_| !is_probe).unwrap_or(made.into_bytes());
        if stream.write_all(&bytes).await.is_err() || (script.then_close && !is_probe) {
            return;
        }
    }
}

/// One request with its body, decoded by length or chunks.
async fn read_request(stream: &mut impl Wire, buffer: &mut Vec<u8>) -> Option<String> {
    let mut piece = [0; 16_384];
    loop {
        if let Some(whole) = whole_request(buffer) {
            let request = buffer.drain(..whole).collect::<Vec<_>>();
            return Some(String::from_utf8_lossy(&request).into_owned());
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => buffer.extend_from_slice(&piece[..count]),
        }
    }
}

fn whole_request(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    if text.contains("\r\ntransfer-encoding: chunked") {
        let body = &buffer[head..];
        let last = match body.starts_with(b"0\r\n") {
            true => 0,
            false => body.windows(5).position(|window| window == b"\r\n0\r\n")? + 2,
        };
        let end = body[last..].windows(4).position(|window| window == b"\r\n\r\n")?;
        return Some(head + last + end + 4);
    }
    let length = text
        .split("\r\ncontent-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
    let whole = head + length.unwrap_or(0);
    (buffer.len() >= whole).then_some(whole)
}
