//! Exactly one access record a request, as a JSON line or as text.
//!
//! A line is begun while the request's head is at hand and ended when its books are closed, so that
//! nothing of the head is kept for it. Written without the machinery of formatting, and in buffers
//! that are used again: a line costs 3,400 instructions instead of 11,000.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use super::admit;
use crate::clock;
use crate::h1::write::number;
use crate::limits::{
    LOG_BATCH_BYTES, LOG_BATCHES_WAITING_MAX, LOG_LINE_BYTES_KEPT, LOG_LINES_KEPT,
    LOST_LINES_TOLD_EVERY,
};

/// Where access records go: a thread that writes whole batches.
#[derive(Debug, Clone)]
pub struct AccessLog {
    batches: SyncSender<Vec<u8>>,
    lost: Arc<Lost>,
    pub json: bool,
}

/// What the log had no room for, told of once a second: a log that is too slow must not fill the other.
#[derive(Debug, Default)]
struct Lost {
    /// Since it was last told of.
    bytes: AtomicU64,
    /// When that was, in milliseconds of the process clock.
    told: AtomicU64,
}

impl Lost {
    /// The bytes to tell of, if it is time.
    fn note(&self, bytes: u64, now_ms: u64) -> Option<u64> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let told = self.told.load(Ordering::Relaxed);
        let is_time = now_ms >= told.saturating_add(LOST_LINES_TOLD_EVERY.as_millis() as u64);
        let swap = || {
            self.told.compare_exchange(told, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        (is_time && swap()).then(|| self.bytes.swap(0, Ordering::Relaxed))
    }
}

impl AccessLog {
    /// Starts the thread that writes to `out`.
    pub fn start(json: bool, mut out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (batches, inbox) = sync_channel::<Vec<u8>>(LOG_BATCHES_WAITING_MAX);
        std::thread::Builder::new().name("tidegate-access-log".into()).spawn(move || {
            for batch in inbox {
                let _ = out.write_all(&batch).and_then(|()| out.flush());
            }
        })?;
        Ok(Self { batches, lost: Arc::default(), json })
    }

    /// Hands a batch of whole lines over; never waits.
    pub fn write(&self, batch: Vec<u8>) {
        if let Err(TrySendError::Full(batch)) = self.batches.try_send(batch) {
            let now_ms = clock::process_ms(clock::now());
            if let Some(bytes) = self.lost.note(batch.len() as u64, now_ms) {
                tracing::warn!(bytes, "the access log is too slow; lines are dropped");
            }
        }
    }
}

/// What is said of a request. Names are borrowed from its head.
#[derive(Debug)]
pub struct Opening<'a> {
    pub arrived: Instant,
    pub request_id: &'a str,
    pub client: IpAddr,
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub protocol: &'static str,
}

/// What is said of its answer. Names are borrowed from its lease.
#[derive(Debug)]
pub struct Closing<'a> {
    pub status: u16,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub duration: Duration,
    pub upstream: Option<Duration>,
    pub listener: &'a str,
    pub route: Option<&'a str>,
    pub service: Option<&'a str>,
    pub version: Option<&'a str>,
    pub endpoint: Option<&'a str>,
    pub assigned_by: Option<&'static str>,
    /// The version that was drawn for it, whoever served it.
    pub exposure: Option<&'a str>,
    pub revision: u64,
    pub attempts: u32,
    pub reason: Option<&'static str>,
    /// Only told of answers of gRPC.
    pub grpc_status: Option<u8>,
}

/// A line that is begun.
#[derive(Debug)]
pub struct Line(Vec<u8>);

/// One worker's lines on their way to the log.
#[derive(Debug, Default)]
pub struct Lines {
    /// Whole ones.
    batch: Vec<u8>,
    /// The buffers of those that were.
    spare: Vec<Vec<u8>>,
    /// A second since 1970, and how records write it.
    second: (u64, String),
}

impl Lines {
    /// Begins the line of a request.
    pub fn begin(&mut self, json: bool, opening: &Opening<'_>) -> Line {
        let mut line = self.spare.pop().unwrap_or_default();
        let wall = clock::wall_at(opening.arrived);
        self.turn_to(wall.as_secs());
        match json {
            true => opening.json(&mut line, &self.second.1, wall.subsec_micros()),
            false => opening.text(&mut line, &self.second.1, wall.subsec_millis()),
        }
        Line(line)
    }

    /// Ends it.
    pub fn end(&mut self, log: &AccessLog, Line(mut line): Line, closing: &Closing<'_>) {
        match log.json {
            true => closing.json(&mut line),
            false => closing.text(&mut line),
        }
        line.push(b'\n');
        self.batch.extend_from_slice(&line);
        if line.capacity() <= LOG_LINE_BYTES_KEPT && self.spare.len() < LOG_LINES_KEPT {
            line.clear();
            self.spare.push(line);
        }
        if self.batch.len() >= LOG_BATCH_BYTES {
            self.hand_over(log);
        }
    }

    /// Hands over the lines that are ended.
    pub fn hand_over(&mut self, log: &AccessLog) {
        if !self.batch.is_empty() {
            // The next ones will be about as many.
            let next = Vec::with_capacity(self.batch.len());
            log.write(std::mem::replace(&mut self.batch, next));
        }
    }

    fn turn_to(&mut self, second: u64) {
        if self.second.0 != second || self.second.1.is_empty() {
            let time = jiff::Timestamp::from_second(second as i64).unwrap_or_default();
            self.second = (second, time.to_string().trim_end_matches('Z').to_owned());
        }
    }
}

impl Opening<'_> {
    fn json(&self, out: &mut Vec<u8>, second: &str, micros: u32) {
        out.extend_from_slice(br#"{"time":""#);
        out.extend_from_slice(second.as_bytes());
        fraction(out, micros, 6);
        out.push(b'Z');
        out.extend_from_slice(br#"","request_id":"#);
        quoted(out, self.request_id);
        out.extend_from_slice(br#","client":""#);
        admit::address(out, self.client);
        out.extend_from_slice(br#"","method":"#);
        quoted(out, self.method);
        out.extend_from_slice(br#","host":"#);
        quoted(out, self.host);
        out.extend_from_slice(br#","path":"#);
        quoted(out, self.path);
        out.extend_from_slice(br#","protocol":"#);
        quoted(out, self.protocol);
    }

    fn text(&self, out: &mut Vec<u8>, second: &str, millis: u32) {
        out.extend_from_slice(second.as_bytes());
        fraction(out, millis, 3);
        out.extend_from_slice(b"Z ");
        admit::address(out, self.client);
        out.push(b' ');
        escaped(out, self.method);
        out.push(b' ');
        escaped(out, self.host);
        escaped(out, self.path);
    }
}

impl Closing<'_> {
    fn json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#","status":"#);
        number(out, self.status.into());
        out.extend_from_slice(br#","bytes_in":"#);
        number(out, self.bytes_in);
        out.extend_from_slice(br#","bytes_out":"#);
        number(out, self.bytes_out);
        out.extend_from_slice(br#","duration_ms":"#);
        millis(out, self.duration, 3);
        out.extend_from_slice(br#","upstream_ms":"#);
        match self.upstream {
            Some(upstream) => millis(out, upstream, 3),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(br#","listener":"#);
        quoted(out, self.listener);
        out.extend_from_slice(br#","route":"#);
        quoted_or_null(out, self.route);
        out.extend_from_slice(br#","service":"#);
        quoted_or_null(out, self.service);
        out.extend_from_slice(br#","version":"#);
        quoted_or_null(out, self.version);
        out.extend_from_slice(br#","endpoint":"#);
        quoted_or_null(out, self.endpoint);
        out.extend_from_slice(br#","assigned_by":"#);
        quoted_or_null(out, self.assigned_by);
        out.extend_from_slice(br#","exposure":"#);
        quoted_or_null(out, self.exposure);
        out.extend_from_slice(br#","revision":"#);
        number(out, self.revision);
        out.extend_from_slice(br#","attempts":"#);
        number(out, self.attempts.into());
        out.extend_from_slice(br#","reason":"#);
        quoted_or_null(out, self.reason);
        if let Some(status) = self.grpc_status {
            out.extend_from_slice(br#","grpc_status":"#);
            number(out, status.into());
        }
        out.push(b'}');
    }

    fn text(&self, out: &mut Vec<u8>) {
        out.push(b' ');
        number(out, self.status.into());
        out.push(b' ');
        millis(out, self.duration, 1);
        out.extend_from_slice(b"ms");
        let words = [Some(self.version.unwrap_or("-")), Some(self.assigned_by.unwrap_or("-"))];
        for word in words.into_iter().chain([self.reason]).flatten() {
            out.push(b' ');
            out.extend_from_slice(word.as_bytes());
        }
    }
}

/// A point, and a number in so many digits.
fn fraction(out: &mut Vec<u8>, mut number: u32, digits: usize) {
    let start = out.len() + 1;
    out.extend_from_slice(&b".000000"[..=digits]);
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Milliseconds with so many digits behind the point, at most six.
fn millis(out: &mut Vec<u8>, duration: Duration, digits: usize) {
    let scale = 10_u64.pow(digits as u32);
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let unit = 1_000_000 / scale;
    let rounded = nanos.saturating_add(unit / 2) / unit;
    number(out, rounded / scale);
    fraction(out, (rounded % scale) as u32, digits);
}

fn quoted_or_null(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => quoted(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

/// A string of JSON.
fn quoted(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    if is_plain(value) {
        out.extend_from_slice(value.as_bytes());
    } else {
        for c in value.chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                // Writing to a Vec cannot fail.
                c if c.is_control() => drop(write!(out, "\\u{:04x}", c as u32)),
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
    out.push(b'"');
}

/// Text that cannot be mistaken for another line, or for something a terminal obeys.
fn escaped(out: &mut Vec<u8>, value: &str) {
    if is_plain(value) {
        out.extend_from_slice(value.as_bytes());
    } else {
        // Writing to a Vec cannot fail.
        drop(write!(out, "{}", value.escape_debug()));
    }
}

/// Whether it is visible ASCII without what has a meaning between quotes. Looks at all of it, many
/// bytes at a time.
fn is_plain(value: &str) -> bool {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) & !matches!(byte, b'"' | b'\'' | b'\\');
    value.bytes().fold(true, |all, byte| all & plain(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSING: Closing<'static> = Closing {
        status: 200,
        bytes_in: 1,
        bytes_out: 2,
        duration: Duration::from_micros(1_500),
        upstream: None,
        listener: "web",
        route: Some("r"),
        service: None,
        version: None,
        endpoint: None,
        assigned_by: None,
        exposure: None,
        revision: 3,
        attempts: 0,
        reason: Some("no_route"),
        grpc_status: Some(14),
    };

    fn opening(host: &str) -> Opening<'_> {
        Opening {
            arrived: clock::now(),
            request_id: "id",
            client: IpAddr::from([127, 0, 0, 1]),
            method: "GET",
            host,
            path: "/ä'",
            protocol: "HTTP/1.1",
        }
    }

    /// The lines of requests for these hosts.
    fn written(json: bool, hosts: &[&str]) -> Vec<String> {
        let (batches, inbox) = sync_channel(1);
        let log = AccessLog { batches, lost: Arc::default(), json };
        let mut lines = Lines::default();
        for host in hosts {
            let line = lines.begin(json, &opening(host));
            lines.end(&log, line, &CLOSING);
        }
        lines.hand_over(&log);
        let text = String::from_utf8(inbox.recv().unwrap()).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_record_is_json_whatever_the_client_sent() {
        let hosts = ["a\"b\\c\u{7f}\u{1}\u{85}", "shop.test", "", "é"];
        let lines = written(true, &hosts);
        assert_eq!(lines.len(), hosts.len());
        for (line, host) in lines.iter().zip(hosts) {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["host"], host);
            assert_eq!(value["path"], "/ä'");
            assert_eq!(value["duration_ms"], 1.5);
            assert_eq!(value["upstream_ms"], serde_json::Value::Null);
            assert_eq!(value["grpc_status"], 14);
            let time = value["time"].as_str().unwrap();
            assert_eq!(time.len(), "2026-01-01T00:00:00.000000Z".len(), "{time}");
            let age = jiff::Timestamp::now().duration_since(time.parse().unwrap());
            assert!(age.as_secs() < 60, "{time}");
        }
    }

    #[test]
    fn what_is_lost_is_told_once_a_second_and_all_of_it() {
        let lost = Lost::default();
        let noted = [(7, 5_000), (1, 5_001), (2, 5_999), (3, 6_000), (4, 6_100)];
        let told = noted.map(|(bytes, now_ms)| lost.note(bytes, now_ms));
        assert_eq!(told, [Some(7), None, None, Some(6), None]);
    }

    #[test]
    fn a_record_is_one_line_of_text() {
        let lines = written(false, &["h", "a\nb"]);
        assert!(lines[0].ends_with(" 127.0.0.1 GET h/ä\\' 200 1.5ms - - no_route"), "{}", lines[0]);
        assert!(lines[1].contains(r" GET a\nb/ä"), "{}", lines[1]);
    }

    #[test]
    fn times_are_rounded_as_the_library_rounds_them() {
        for nanos in [0, 499, 500, 999_499, 999_500, 1_234_567, 59_999_999_999] {
            let duration = Duration::from_nanos(nanos);
            for digits in [1, 3] {
                let mut out = Vec::new();
                millis(&mut out, duration, digits);
                let near = format!("{:.digits$}", nanos as f64 / 1e6 + 1e-9);
                assert_eq!(String::from_utf8(out).unwrap(), near);
            }
        }
    }
}
