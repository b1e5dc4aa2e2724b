//! Shoppers: each keeps a connection and a cookie, and looks at one product after another.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::net;

/// How many shoppers there are, and how long each looks at a product.
const SHOPPERS: usize = 200;
const LOOK: Duration = Duration::from_millis(500);
/// Products there are.
const PRODUCTS: u64 = 200;

/// What the shoppers saw.
#[derive(Debug, Default)]
pub struct Tally {
    sent: AtomicU64,
    failed: AtomicU64,
    by_version: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    /// Answers that came.
    pub fn answered(&self) -> u64 {
        self.sent.load(Ordering::Relaxed) - self.failed()
    }

    /// Requests without a good answer.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Answers by version.
    pub fn by_version(&self) -> BTreeMap<String, u64> {
        self.by_version.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, version: Option<String>) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let Some(version) = version else {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut all = self.by_version.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(version).or_default() += 1;
    }
}

/// The shoppers' tasks.
#[derive(Debug)]
pub struct Shoppers {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Shoppers {
    /// Lets each finish the request it is at.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Sends the shoppers in.
pub fn start(web: SocketAddr, tally: Arc<Tally>) -> Shoppers {
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for shopper in 0..SHOPPERS {
        tasks.spawn(shop(web, tally.clone(), shopper as u64, stopped.clone()));
    }
    Shoppers { tasks, stop }
}

async fn shop(web: SocketAddr, tally: Arc<Tally>, shopper: u64, stopped: watch::Receiver<bool>) {
    let mut random = fastrand::Rng::with_seed(shopper);
    let mut cookie = None;
    let mut connection: Option<SendRequest<Empty<Bytes>>> = None;
    while !*stopped.borrow() {
        let pause = LOOK.mul_f64(0.5 + random.f64());
        tokio::time::sleep(pause).await;
        if connection.as_ref().is_none_or(|open| open.is_closed()) {
            connection = connect(web).await;
        }
        let product = random.u64(0..PRODUCTS);
        let version = match &mut connection {
            Some(open) => look(open, web, product, &mut cookie).await,
            None => None,
        };
        if version.is_none() {
            connection = None;
        }
        tally.note(version);
    }
}

async fn connect(web: SocketAddr) -> Option<SendRequest<Empty<Bytes>>> {
    let stream = net::connect(&[web], 0, None, b"").await.ok()?;
    let pair = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (send, connection) = pair.ok()?;
    tokio::spawn(connection);
    Some(send)
}

/// One request; the version that answered it with 200.
async fn look(
    open: &mut SendRequest<Empty<Bytes>>,
    web: SocketAddr,
    product: u64,
    cookie: &mut Option<String>,
) -> Option<String> {
    let mut request = Request::get(format!("/products/{product}")).header("host", web.to_string());
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie.as_str());
    }
    let response = open.send_request(request.body(Empty::new()).ok()?).await.ok()?;
    let (head, body) = response.into_parts();
    body.collect().await.ok()?;
    let text = |name: &str| head.headers.get(name)?.to_str().ok().map(str::to_owned);
    if let Some(set) = text("set-cookie") {
        *cookie = set.split(';').next().map(str::to_owned);
    }
    (head.status == 200).then(|| text("x-tidegate-version")).flatten()
}
