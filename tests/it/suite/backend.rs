//! The strict recording backend: every request must be written without fault, is kept under the
//! case that sent it, and is answered as that case says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::message::{Kind, Message, Read, latin, read};
use super::{Case, Manner, expand};

const USUAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What came.
#[derive(Debug, Default)]
pub struct Books {
    /// Whole requests with the place of their case.
    requests: Mutex<Vec<(usize, Message)>>,
    /// What a strict server would not have taken.
    faults: Mutex<Vec<String>>,
}

impl Books {
    /// The requests of a case, in order.
    pub fn of(&self, place: usize) -> Vec<Message> {
        self.all(place, false)
    }

    /// How many of the requests came that the runner adds.
    pub fn probes(&self, place: usize) -> usize {
        self.all(place, true).len()
    }

    fn all(&self, place: usize, probes: bool) -> Vec<Message> {
        let requests = self.requests.lock().unwrap();
        let own = requests.iter().filter(|(other, message)| {
            *other == place && message.head.contains(super::PROBE) == probes
        });
        own.map(|(_, message)| message.clone()).collect()
    }

    /// Notes a request of a case.
    pub fn note(&self, place: usize, message: Message) {
        self.requests.lock().unwrap().push((place, message));
    }

    /// What was wrong, whatever case it belongs to.
    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }
}

/// Starts a backend for a table.
pub fn start(cases: &'static [Case]) -> (SocketAddr, Arc<Books>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let books = Arc::<Books>::default();
    let kept = books.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream, cases, kept.clone()));
        }
    });
    (address, books)
}

/// The place of the case that a text names.
fn place_in(text: &str) -> Option<usize> {
    let mut parts = text.split("case-").skip(1);
    parts.find_map(|rest| rest.split_once('-')?.0.parse().ok())
}

async fn talk(mut stream: TcpStream, cases: &'static [Case], books: Arc<Books>) {
    let mut buffer = Vec::new();
    let mut served = 0;
    // The case whose answer left this connection unfit for another request.
    let mut spoiled: Option<&'static str> = None;
    loop {
        let (message, taken, is_whole) = match read(&buffer, Kind::Request, false) {
            Read::Whole(message, taken) => (message, taken, true),
            Read::Head(message) if is_early(&message, cases) => (message, buffer.len(), false),
            Read::Bad(fault) => return books.faults.lock().unwrap().push(fault),
            _ => {
                let mut piece = [0; 16_384];
                match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => buffer.extend_from_slice(&piece[..count]),
                }
                if let Some(name) = spoiled {
                    let came = latin(&buffer);
                    let fault = format!("reused after the damaged answer of {name:?}: {came:?}");
                    return books.faults.lock().unwrap().push(fault);
                }
                continue;
            }
        };
        buffer.drain(..taken);
        let is_fresh = message.head.contains("X-Fresh");
        let is_probe = message.head.contains(super::PROBE);
        let place = place_in(&message.head).or_else(|| place_in(&message.body));
        let case = place.and_then(|place| cases.get(place)).filter(|_| !is_probe);
        if let Some(place) = place {
            books.note(place, message);
        }
        let manner = case.map_or(Manner::Plain, |case| case.manner);
        if manner == Manner::StaleOnce && served > 0 && !is_fresh {
            return;
        }
        served += 1;
        let answer = case.map(|case| case.answer).filter(|answer| !answer.is_empty());
        let answer = match manner {
            Manner::Nothing => Vec::new(),
            Manner::Stalling => expand(answer.unwrap_or_default(), place.unwrap_or(0)),
            _ => expand(answer.unwrap_or(USUAL), place.unwrap_or(0)),
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
        match manner {
            Manner::Closing | Manner::Nothing => return,
            Manner::Spoiling => spoiled = case.map(|case| case.name),
            Manner::Early if !is_whole => return drain(stream).await,
            Manner::Stalling => return drain(stream).await,
            _ => {}
        }
    }
}

fn is_early(message: &Message, cases: &[Case]) -> bool {
    let case = place_in(&message.head).and_then(|place| cases.get(place));
    case.is_some_and(|case| case.manner == Manner::Early)
}

/// Reads what still comes, so that the answer on its way is not destroyed by a reset.
async fn drain(mut stream: TcpStream) {
    let mut piece = [0; 16_384];
    while stream.read(&mut piece).await.is_ok_and(|count| count > 0) {}
}
