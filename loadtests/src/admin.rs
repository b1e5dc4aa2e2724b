//! How does a scenario speak to Tidegate's admin API?

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{self, Body};

/// How long one call may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client of the admin API. Every call has its own connection, as those of scripts do.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    /// Where the API listens.
    pub address: SocketAddr,
}

/// An answer of the admin API.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Body.
    pub text: String,
    /// When the last byte had arrived.
    pub arrived: Instant,
}

impl Reply {
    /// The body as JSON, `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The revision that a change made.
    pub fn revision(&self) -> Option<u64> {
        self.json()["revision"].as_u64()
    }
}

impl Admin {
    /// One call; `body` is sent as JSON when there is one.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Reply> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{kind}Content-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}",
            self.address
        );
        stream.write_all(request.as_bytes())?;
        read_reply(&mut stream)
    }

    /// A call that must be answered with 200; any other answer is an error with its text.
    pub fn expect(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Reply> {
        let reply = self.call(method, path, body)?;
        match reply.status {
            200 | 201 => Ok(reply),
            status => {
                Err(io::Error::other(format!("{method} {path}: {status} {}", reply.text.trim())))
            }
        }
    }

    /// Sets a service's weights.
    pub fn weights(&self, service: &str, weights: &Value) -> io::Result<Reply> {
        self.expect("PUT", &format!("/v1/services/{service}/weights"), Some(weights))
    }

    /// What `GET /v1/services/{s}` tells.
    pub fn service(&self, service: &str) -> io::Result<Value> {
        Ok(self.expect("GET", &format!("/v1/services/{service}"), None)?.json())
    }

    /// One scrape.
    pub fn metrics(&self) -> io::Result<Metrics> {
        Ok(Metrics(self.expect("GET", "/metrics", None)?.text))
    }
}

fn read_reply(stream: &mut TcpStream) -> io::Result<Reply> {
    let bad = |text: http::Malformed| io::Error::new(ErrorKind::InvalidData, text.0);
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..read]);
        if let Some(head) = http::response_head(&bytes).map_err(bad)? {
            let mut body = head.body;
            let rest = &bytes[head.length..];
            let used = body.consume(rest).map_err(bad)?;
            let chunked = matches!(body, Body::Chunked(_));
            if body.is_done() || (read == 0 && body == Body::UntilClose) {
                let whole = if chunked { unchunk(rest) } else { rest[..used].to_vec() };
                let text = String::from_utf8_lossy(&whole).into_owned();
                return Ok(Reply { status: head.status, text, arrived: Instant::now() });
            }
        }
        if read == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the answer was cut short"));
        }
    }
}

/// The data of a whole chunked body that was found well formed.
fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(end) = memchr::memchr(b'\n', bytes) {
        let digits = bytes[..end].split(|byte| matches!(byte, b';' | b'\r')).next();
        let size = digits.and_then(|d| usize::from_str_radix(str::from_utf8(d).ok()?, 16).ok());
        let Some(chunk) =
            size.filter(|size| *size > 0).and_then(|s| bytes.get(end + 1..end + 1 + s))
        else {
            break;
        };
        data.extend_from_slice(chunk);
        bytes = bytes.get(end + 1 + chunk.len() + 2..).unwrap_or_default();
    }
    data
}

/// The text of a scrape.
pub struct Metrics(pub String);

impl Metrics {
    /// Sum over all series of a metric that carry these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.0
            .lines()
            .filter_map(|line| {
                let rest = line.strip_prefix(name)?;
                let (found, value) = match rest.strip_prefix('{') {
                    Some(rest) => rest.rsplit_once('}')?,
                    None => ("", rest.strip_prefix(' ')?),
                };
                let carries = |(label, value): &(&str, &str)| {
                    let pair = format!("{label}=\"{value}\"");
                    found.starts_with(&pair) || found.contains(&format!(",{pair}"))
                };
                let number: f64 = value.split_whitespace().next()?.parse().ok()?;
                labels.iter().all(carries).then_some(number)
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_is_summed_over_the_labels_that_are_not_asked_for() {
        let metrics = Metrics(
            "# TYPE http_requests_total counter\n\
             http_requests_total{service=\"shop\",version=\"blue\",status=\"200\"} 5\n\
             http_requests_total{service=\"shop\",version=\"green\",status=\"200\"} 7 1700000000\n\
             http_requests_total{service=\"shop\",version=\"green\",status=\"502\"} 1\n\
             http_requests_total_other 9\n\
             tidegate_revision 12\n"
                .to_owned(),
        );
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);
        let cases: [Case<'_>; 5] = [
            ("http_requests_total", &[], 13.0),
            ("http_requests_total", &[("version", "green")], 8.0),
            ("http_requests_total", &[("service", "shop"), ("status", "502")], 1.0),
            ("http_requests_total", &[("version", "gre")], 0.0),
            ("tidegate_revision", &[], 12.0),
        ];
        for (name, labels, sum) in cases {
            assert_eq!(metrics.sum(name, labels), sum, "{name} {labels:?}");
        }
    }

    #[test]
    fn chunked_data_is_put_together() {
        assert_eq!(unchunk(b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n"), b"abcde");
    }
}
