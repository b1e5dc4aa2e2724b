//! Exactly one access record a request, as a JSON line or as text.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use crate::clock;
use crate::limits::LOG_BATCHES_WAITING_MAX;

/// Where access records go: a thread that writes whole batches to standard output.
#[derive(Debug, Clone)]
pub struct AccessLog {
    batches: SyncSender<Vec<u8>>,
    pub json: bool,
}

impl AccessLog {
    /// Starts the writing thread.
    pub fn start(json: bool) -> std::io::Result<Self> {
        let (batches, inbox) = sync_channel::<Vec<u8>>(LOG_BATCHES_WAITING_MAX);
        std::thread::Builder::new().name("tidegate-access-log".into()).spawn(move || {
            for batch in inbox {
                let mut out = std::io::stdout().lock();
                let _ = out.write_all(&batch).and_then(|()| out.flush());
            }
        })?;
        Ok(Self { batches, json })
    }

    /// Hands a batch of whole lines over; never waits.
    pub fn write(&self, batch: Vec<u8>) {
        if let Err(TrySendError::Full(batch)) = self.batches.try_send(batch) {
            tracing::warn!(bytes = batch.len(), "the access log is too slow; lines are dropped");
        }
    }
}

/// What is said of one request. Names are borrowed from its lease.
#[derive(Debug)]
pub struct Record<'a> {
    pub arrived: Instant,
    pub request_id: &'a str,
    pub client: IpAddr,
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub protocol: &'static str,
    pub status: u16,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub duration_ms: f64,
    pub upstream_ms: Option<f64>,
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

impl Record<'_> {
    /// Appends the line.
    pub fn write(&self, json: bool, lines: &mut Vec<u8>) {
        let mut line = String::with_capacity(512);
        // Writing to a String cannot fail.
        let _ = if json { self.json(&mut line) } else { self.text(&mut line) };
        line.push('\n');
        lines.extend_from_slice(line.as_bytes());
    }

    fn json(&self, out: &mut String) -> std::fmt::Result {
        let wall = clock::wall_at(self.arrived);
        let time = jiff::Timestamp::new(wall.as_secs() as i64, wall.subsec_nanos() as i32);
        write!(out, r#"{{"time":"{:.6}""#, time.unwrap_or_default())?;
        text(out, "request_id", Some(self.request_id))?;
        write!(out, r#","client":"{}""#, self.client)?;
        text(out, "method", Some(self.method))?;
        text(out, "host", Some(self.host))?;
        text(out, "path", Some(self.path))?;
        text(out, "protocol", Some(self.protocol))?;
        write!(
            out,
            r#","status":{},"bytes_in":{},"bytes_out":{},"duration_ms":{:.3},"upstream_ms":"#,
            self.status, self.bytes_in, self.bytes_out, self.duration_ms
        )?;
        match self.upstream_ms {
            Some(ms) => write!(out, "{ms:.3}")?,
            None => out.write_str("null")?,
        }
        text(out, "listener", Some(self.listener))?;
        text(out, "route", self.route)?;
        text(out, "service", self.service)?;
        text(out, "version", self.version)?;
        text(out, "endpoint", self.endpoint)?;
        text(out, "assigned_by", self.assigned_by)?;
        text(out, "exposure", self.exposure)?;
        write!(out, r#","revision":{},"attempts":{}"#, self.revision, self.attempts)?;
        text(out, "reason", self.reason)?;
        if let Some(status) = self.grpc_status {
            write!(out, r#","grpc_status":{status}"#)?;
        }
        out.write_char('}')
    }

    fn text(&self, out: &mut String) -> std::fmt::Result {
        let wall = clock::wall_at(self.arrived);
        let time = jiff::Timestamp::new(wall.as_secs() as i64, wall.subsec_nanos() as i32);
        write!(
            out,
            "{:.3} {} {} {}{} {} {:.1}ms {} {}",
            time.unwrap_or_default(),
            self.client,
            self.method.escape_debug(),
            self.host.escape_debug(),
            self.path.escape_debug(),
            self.status,
            self.duration_ms,
            self.version.unwrap_or("-"),
            self.assigned_by.unwrap_or("-"),
        )?;
        match self.reason {
            Some(reason) => write!(out, " {reason}"),
            None => Ok(()),
        }
    }
}

fn text(out: &mut String, name: &str, value: Option<&str>) -> std::fmt::Result {
    write!(out, r#","{name}":"#)?;
    let Some(value) = value else { return out.write_str("null") };
    out.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            c if c.is_control() => write!(out, "\\u{:04x}", c as u32)?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_json_whatever_the_client_sent() {
        let mut record = Record {
            arrived: clock::now(),
            request_id: "id",
            client: IpAddr::from([127, 0, 0, 1]),
            method: "GET",
            host: "a\"b\\c\u{7f}\u{1}",
            path: "/ä",
            protocol: "HTTP/1.1",
            status: 200,
            bytes_in: 1,
            bytes_out: 2,
            duration_ms: 1.5,
            upstream_ms: None,
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
        let mut lines = Vec::new();
        record.write(true, &mut lines);
        let value: serde_json::Value = serde_json::from_slice(&lines).unwrap();
        assert_eq!(value["host"], record.host);
        assert_eq!(value["upstream_ms"], serde_json::Value::Null);
        assert_eq!(value["grpc_status"], 14);
        record.host = "h";
        lines.clear();
        record.write(false, &mut lines);
        assert!(String::from_utf8(lines).unwrap().contains(" GET h/ä 200 1.5ms - - no_route"));
    }
}
