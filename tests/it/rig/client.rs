//! A client that sends bytes and reads answers strictly.

use std::net::SocketAddr;

use serde_json::Value;
use tidegate::h1::body::Decoder;
use tidegate::h1::head::{HeadLimits, Method, ResponseHead};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

const LIMITS: HeadLimits = HeadLimits { bytes: 65_536, fields: 100, target: 0 };

/// What a connection is made of.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// One connection.
pub struct Client {
    stream: Box<dyn Wire>,
    host: String,
    buffer: Vec<u8>,
}

/// An answer that came whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The version that answered.
    pub fn version(&self) -> &str {
        self.field("x-tidegate-version").unwrap_or("-")
    }
}

impl Client {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.expect("a listening proxy")
    }

    /// Connects; `None` when nobody listens.
    pub async fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        Some(Self::over(stream, &address.to_string()))
    }

    /// Speaks over a connection that is there, for this host.
    pub fn over(stream: impl Wire + 'static, host: &str) -> Self {
        Self { stream: Box::new(stream), host: host.to_owned(), buffer: Vec::new() }
    }

    /// A request with a body and its answer; `None` when the connection ends before it is whole.
    pub async fn ask(&mut self, method: &str, path: &str, body: &str) -> Option<Answer> {
        let (host, length) = (&self.host, body.len());
        let length = match body {
            "" => String::new(),
            _ => format!("Content-Length: {length}\r\n"),
        };
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n{body}");
        // An answer may be there although the request could not be written.
        let _ = self.stream.write_all(request.as_bytes()).await;
        self.try_answer(method).await
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("a proxy that reads");
    }

    /// A GET and its answer.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.get_with(path, "").await
    }

    /// A GET with further field lines, each ended by CRLF.
    pub async fn get_with(&mut self, path: &str, fields: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", self.host);
        self.send(request.as_bytes()).await;
        self.answer("GET").await
    }

    /// Reads one final answer.
    pub async fn answer(&mut self, method: &str) -> Answer {
        self.try_answer(method).await.expect("a whole answer")
    }

    /// Reads one final answer; `None` when the connection ends before it is whole.
    pub async fn try_answer(&mut self, method: &str) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer(method)).await.expect("an answer in time")
    }

    async fn read_answer(&mut self, method: &str) -> Option<Answer> {
        let mut head = ResponseHead::new();
        loop {
            let parsed = head.parse(&self.buffer, Method::parse(method.as_bytes()), &LIMITS);
            match parsed.expect("a valid head") {
                Some(consumed) => {
                    self.buffer.drain(..consumed);
                    if head.status >= 200 || head.status == 101 {
                        break;
                    }
                }
                None => self.fill().await?,
            }
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pairs = |fields: &tidegate::h1::fields::Fields| {
            fields.iter().map(|field| (text(field.name()), text(field.value()))).collect::<Vec<_>>()
        };
        let mut answer = Answer {
            status: head.status,
            fields: pairs(&head.fields),
            body: Vec::new(),
            trailers: Vec::new(),
        };
        let mut decoder = Decoder::new(head.framing);
        while !decoder.is_done() {
            let step = decoder.decode(&self.buffer).expect("a valid body");
            answer.body.extend_from_slice(&self.buffer[step.data.clone()]);
            self.buffer.drain(..step.consumed);
            if step.consumed == 0 && self.fill().await.is_none() {
                decoder.on_eof().ok()?;
            }
        }
        answer.trailers = decoder.trailers().map(pairs).unwrap_or_default();
        Some(answer)
    }

    /// Reads until the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        let reading = async {
            while self.fill().await.is_some() {}
            std::mem::take(&mut self.buffer)
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("a connection that ends")
    }

    /// Reads until at least so many bytes are there, and takes them all.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let reading = async {
            while self.buffer.len() < count && self.fill().await.is_some() {}
            std::mem::take(&mut self.buffer)
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("bytes in time")
    }

    async fn fill(&mut self) -> Option<()> {
        let mut piece = [0; 16_384];
        match self.stream.read(&mut piece).await {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                Some(())
            }
        }
    }
}
