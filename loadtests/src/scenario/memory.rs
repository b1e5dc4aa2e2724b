//! How much memory does an idle connection hold?
//!
//! Every connection has done one request and is kept open. They are opened in groups, as real clients
//! come: a proxy that keeps a buffer for each of a burst shows it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::Context;
use super::baseline::{Subject, Who};
use crate::backend::Backends;
use crate::client::request;
use crate::http::{self, Body};
use crate::machine;
use crate::proxies::peers::Tuning;
use crate::report::{Report, Table, grouped, progress};

/// Connections that have their request under way at the same time.
const GROUP: usize = 64;
/// How long memory may settle before it is read.
const SETTLE: Duration = Duration::from_millis(300);
/// What an idle connection of Tidegate may hold at most, with many of them.
const MOST_BYTES: f64 = 3.0 * 1024.0;
/// With fewer connections than this, what was allocated once hides what each one costs.
const MANY: usize = 10_000;

/// Measures each proxy with these numbers of connections.
pub fn measure(
    context: &Context,
    counts: &[usize],
    whom: &[Who],
    report: &mut Report,
) -> io::Result<Value> {
    let mut columns = vec!["peer".to_owned(), "start MB".to_owned()];
    columns
        .extend(counts.iter().map(|count| format!("{} conns MB (B each)", grouped(*count as f64))));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("Memory of idle keep-alive connections (resident)", &columns);
    let mut figures = serde_json::Map::new();
    for who in whom.iter().filter(|who| **who != Who::Direct) {
        progress(&format!("idle connections: {}", who.name()));
        let backends = Backends::start(&["blue", "green"])?;
        let mut subject = who.start(context, &backends, Tuning::Small)?;
        let (start, grown) = hold(&mut subject, counts)?;
        let mut row = vec![who.name().to_owned(), format!("{:.1}", start as f64 / 1e6)];
        for (count, resident) in counts.iter().zip(&grown) {
            let each = (*resident as f64 - start as f64) / *count as f64;
            row.push(format!("{:.1} ({each:.0})", *resident as f64 / 1e6));
            let key = format!("{}_{count}_bytes_per_connection", who.name());
            figures.insert(key, json!(each));
            if *who == Who::Tidegate && *count >= MANY {
                let text = format!("an idle connection among {count} holds less than 3 KiB");
                report.target(text, each < MOST_BYTES, format!("{each:.0} B"));
            }
        }
        table.row(row);
    }
    report.tables.push(table);
    Ok(Value::Object(figures))
}

/// Resident bytes at the start and with each number of connections held.
fn hold(subject: &mut Subject, counts: &[usize]) -> io::Result<(u64, Vec<u64>)> {
    let pids = subject.pids();
    let listener = subject.listener();
    let mut held = Vec::new();
    // The first request allocates what is allocated once.
    open_group(listener, 1, &mut held)?;
    std::thread::sleep(SETTLE);
    let start = machine::resident_bytes(&pids);
    let mut grown = Vec::new();
    for count in counts {
        while held.len() < *count {
            open_group(listener, GROUP.min(count - held.len()), &mut held)?;
        }
        std::thread::sleep(SETTLE);
        grown.push(machine::resident_bytes(&pids));
    }
    Ok((start, grown))
}

fn open_group(to: SocketAddr, size: usize, held: &mut Vec<TcpStream>) -> io::Result<()> {
    let bytes = request("GET", "/bytes/1024", 0, false);
    let first = held.len();
    for _ in 0..size {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&bytes)?;
        held.push(stream);
    }
    held[first..].iter_mut().try_for_each(read_answer)
}

fn read_answer(stream: &mut TcpStream) -> io::Result<()> {
    let bad = |text: http::Malformed| io::Error::other(text.0);
    let mut buffer = [0; 4096];
    let mut bytes = Vec::new();
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::Error::other("an idle connection was closed"));
        }
        bytes.extend_from_slice(&buffer[..read]);
        if let Some(head) = http::response_head(&bytes).map_err(bad)? {
            let mut body: Body = head.body;
            body.consume(&bytes[head.length..]).map_err(bad)?;
            if body.is_done() {
                return Ok(());
            }
        }
    }
}
