//! What must hold of every answer, and the clients that ask for them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::RwLock;

use crate::rig::{Answer, Client};

/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(2);
/// What the proxy says itself of a request that nobody could serve (CONTRACT §5).
const FAILURES: [u16; 3] = [502, 503, 504];

/// What holds between two moments of the operator's plan.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The versions that may answer.
    pub versions: Vec<&'static str>,
    /// Whether a safe request must succeed.
    pub serves: bool,
    /// Whether an endpoint is dying, so that a request that is not safe may fail.
    pub dying: bool,
    /// Whether requests wait, so that no version answers them by these rules.
    pub held: bool,
    /// Whether the proxy is there at all.
    pub up: bool,
}

/// What clients and the operator hold together.
#[derive(Debug, Default)]
pub struct World {
    /// Rules one after the other; the last are in force.
    rules: Mutex<Vec<Rules>>,
    /// Answers by version and status, since the proxy was started.
    pub books: Mutex<BTreeMap<(String, u16), u64>>,
    faults: Mutex<Vec<String>>,
    /// Each request holds it for reading: who holds it for writing has silence.
    pub silence: RwLock<()>,
    /// How often the proxy was started.
    pub process: AtomicU64,
    pub over: AtomicBool,
}

impl World {
    /// Other rules are in force from now on.
    pub fn enter(&self, rules: Rules) {
        self.rules.lock().unwrap().push(rules);
    }

    fn moment(&self) -> usize {
        self.rules.lock().unwrap().len() - 1
    }

    /// What broke the rules so far.
    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    /// Judges an answer by the rules that held at any time between its request and itself.
    fn judge(&self, since: usize, safe: bool, answer: Option<&Answer>) {
        let rules = self.rules.lock().unwrap()[since..].to_vec();
        let fault = match answer {
            None => rules.iter().all(|rules| rules.up).then(|| "no answer".to_owned()),
            Some(answer) => fault_of(&rules, safe, answer),
        };
        if let Some(fault) = fault {
            let text = format!("{fault} (safe: {safe}): {answer:?} under {rules:?}");
            self.faults.lock().unwrap().push(text);
        }
        if let Some(answer) = answer {
            let key = (answer.version().to_owned(), answer.status);
            *self.books.lock().unwrap().entry(key).or_default() += 1;
        }
    }
}

fn fault_of(rules: &[Rules], safe: bool, answer: &Answer) -> Option<String> {
    let version = answer.version();
    let open = |rules: &&Rules| !rules.held;
    let known = rules.iter().filter(open).any(|rules| rules.versions.contains(&version));
    if answer.status == 200 {
        let own = answer.text() == version;
        return (!known || !own).then(|| format!("answered by `{version}`"));
    }
    let excused = |rules: &Rules| !rules.up || !rules.serves || (rules.dying && !safe);
    if !FAILURES.contains(&answer.status) {
        return Some("a status that is not the proxy's".to_owned());
    }
    if version != "-" && !known {
        return Some(format!("charged to `{version}`"));
    }
    (!rules.iter().any(excused)).then(|| "a failure".to_owned())
}

/// Asks one request after the other over kept connections, until the world is over.
pub async fn client(world: Arc<World>, web: SocketAddr, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kept: Option<(u64, Client)> = None;
    while !world.over.load(Ordering::Relaxed) {
        let turn = world.silence.read().await;
        let process = world.process.load(Ordering::Relaxed);
        let since = world.moment();
        let safe = random.u8(..) >= 32;
        let connection = match kept.take().filter(|(of, _)| *of == process) {
            Some((_, connection)) => Some(connection),
            None => Client::try_connect(web).await,
        };
        let answer = match connection {
            None => None,
            Some(mut connection) => {
                let (method, body) = if safe { ("GET", "") } else { ("POST", "hi") };
                let answer = connection.ask(method, "/", body).await;
                let closes = |answer: &Answer| answer.field("connection") == Some("close");
                if answer.as_ref().is_some_and(|answer| !closes(answer)) {
                    kept = Some((process, connection));
                }
                answer
            }
        };
        world.judge(since, safe, answer.as_ref());
        drop(turn);
        tokio::time::sleep(PAUSE).await;
    }
}
