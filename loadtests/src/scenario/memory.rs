//! How much memory does an idle connection hold?
//!
//! Every connection has done one request and is kept open. They are opened in groups, as real clients
//! come: a proxy that keeps a buffer for each of a burst shows it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Context;
use super::subject::{Subject, Who};
use crate::backend::Backends;
use crate::certificate::{Certificate, Trust};
use crate::client::request;
use crate::http::{self, Body};
use crate::machine;
use crate::proxies::work::{VERSIONS, Work};
use crate::report::{Report, Table, grouped, progress};

/// Connections that have their request under way at the same time.
const GROUP: usize = 64;
/// How long memory may settle before it is read.
const SETTLE: Duration = Duration::from_millis(300);
/// With fewer connections than this, what was allocated once hides what each one costs.
const MANY: usize = 10_000;

/// One kind of connection to hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What the figures are called.
    pub name: String,
    /// Whether they are encrypted.
    pub tls: bool,
    /// How many are held, one number after the other.
    idle: Vec<usize>,
    /// What one among the most may hold at most.
    target_kib: f64,
}

/// Measures each proxy with these numbers of connections.
pub fn measure(
    context: &Context,
    params: &Params,
    certificate: Option<&Certificate>,
    whom: &[Who],
    report: &mut Report,
) -> io::Result<Value> {
    let counts = &params.idle;
    let mut columns = vec!["peer".to_owned(), "start MB".to_owned()];
    columns
        .extend(counts.iter().map(|count| format!("{} conns MB (B each)", grouped(*count as f64))));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let title = format!("{}: memory of idle keep-alive connections (resident)", params.name);
    let mut table = Table::new(title, &columns);
    let trust = certificate.map(Certificate::trust);
    let mut figures = serde_json::Map::new();
    for who in whom.iter().filter(|who| !who.is_measure()) {
        progress(&format!("{}: {}", params.name, who.name()));
        let backends = Backends::start(&VERSIONS)?;
        let mut subject = who.start(context, &Work { certificate, ..Work::of(&backends) })?;
        let (start, grown) = hold(&mut subject, trust.as_ref(), counts)?;
        let mut row = vec![who.name().to_owned(), format!("{:.1}", start as f64 / 1e6)];
        for (count, resident) in counts.iter().zip(&grown) {
            let each = (*resident as f64 - start as f64) / *count as f64;
            row.push(format!("{:.1} ({each:.0})", *resident as f64 / 1e6));
            let key = format!("{}_{count}_bytes_per_connection", who.name());
            figures.insert(key, json!(each));
            if *who == Who::Tidegate && *count >= MANY {
                let (name, most) = (&params.name, params.target_kib);
                let text = format!("{name}: one of {count} connections holds at most {most} KiB");
                report.target(text, each <= most * 1024.0, format!("{each:.0} B"));
            }
        }
        table.row(row);
    }
    report.tables.push(table);
    Ok(Value::Object(figures))
}

/// Resident bytes at the start and with each number of connections held.
fn hold(
    subject: &mut Subject,
    trust: Option<&Trust>,
    counts: &[usize],
) -> io::Result<(u64, Vec<u64>)> {
    let pids = subject.pids();
    let listener = subject.listener();
    let mut held = Vec::new();
    // The first request allocates what is allocated once.
    open_group(listener, trust, 1, &mut held)?;
    std::thread::sleep(SETTLE);
    let start = machine::resident_bytes(&pids);
    let mut grown = Vec::new();
    for count in counts {
        while held.len() < *count {
            open_group(listener, trust, GROUP.min(count - held.len()), &mut held)?;
        }
        std::thread::sleep(SETTLE);
        grown.push(machine::resident_bytes(&pids));
    }
    Ok((start, grown))
}

/// A held connection.
enum Held {
    Plain(TcpStream),
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
}

fn open_group(
    to: SocketAddr,
    trust: Option<&Trust>,
    size: usize,
    held: &mut Vec<Held>,
) -> io::Result<()> {
    let bytes = request("GET", "/bytes/1024", 0, false);
    let first = held.len();
    for _ in 0..size {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        held.push(match trust {
            None => {
                stream.write_all(&bytes)?;
                Held::Plain(stream)
            }
            Some(trust) => {
                let mut stream = StreamOwned::new(trust.session()?, stream);
                stream.write_all(&bytes)?;
                Held::Encrypted(Box::new(stream))
            }
        });
    }
    held[first..].iter_mut().try_for_each(|held| match held {
        Held::Plain(stream) => read_answer(stream),
        Held::Encrypted(stream) => read_answer(stream),
    })
}

fn read_answer(stream: &mut impl Read) -> io::Result<()> {
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
