//! Sends copies: concurrently with the original, over connections of their own, once.
//!
//! A copy has its own deadline and is never tried again. What it meets counts for nothing but the
//! report: it ejects no endpoint and is in no count of requests.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;

use super::Miss;
use super::gate::{Gate, Permit};
use super::store::Pair;
use super::tap::{Kept, Observed};
use super::tee::{CopyBody, Queue};
use crate::clock;
use crate::diff::Rules;
use crate::h1::head::{Framing, Method, ResponseHead};
use crate::limits::SHADOW_DISCARD_BYTES_MAX;
use crate::name::RouteName;
use crate::net;
use crate::proxy::alarm::Alarm;
use crate::proxy::attempt::Attempt;
use crate::proxy::body::{BodySource, NoBody};
use crate::proxy::error::{Fault, UpstreamFault};
use crate::proxy::exchange::Exchange;
use crate::proxy::pool::{Connection, EndpointPool, InFlight};
use crate::proxy::shared_h2;
use crate::proxy::upstream_h2::H2Exchange;
use crate::proxy::worker::Worker;
use crate::snapshot::Service;
use crate::upstream::{self, Endpoint, Version, pick};

/// What a sample tells of a request.
#[derive(Debug)]
pub struct Told {
    pub route: Option<RouteName>,
    /// Method, path and query as a request line has them. Taken apart only for a sample: most
    /// requests agree and never become one.
    pub request: String,
    pub request_id: String,
}

impl Told {
    /// The name of the route, empty for none.
    pub fn route(&self) -> &str {
        self.route.as_ref().map_or("", RouteName::as_str)
    }
}

/// One request that is copied.
#[derive(Debug)]
pub struct Job {
    pub gate: Arc<Gate>,
    pub permits: (Permit, Option<Permit>),
    pub rules: Arc<Rules>,
    pub told: Told,
    pub shadow: Copy,
    pub secondary: Option<Copy>,
    pub primary: oneshot::Receiver<Result<Observed, Miss>>,
}

/// One copy of a request, not yet sent.
#[derive(Debug)]
pub struct Copy {
    pub worker: Rc<Worker>,
    pub service: Arc<Service>,
    /// The place of its version in the service.
    pub version: usize,
    /// The whole head as bytes.
    pub head: Vec<u8>,
    pub framing: Framing,
    pub method: Method,
    /// Where its body comes from, if it has one.
    pub queue: Option<Rc<Queue>>,
    /// Bytes of the answer's body that are kept.
    pub body_bytes_max: u64,
    /// When the original was sent.
    pub began: Instant,
}

/// Counts a copy that ends without a word: in a panic, or with the process.
struct Unsettled {
    gate: Arc<Gate>,
    settled: bool,
}

impl Unsettled {
    fn settle(mut self, outcome: Result<(), Miss>) {
        self.settled = true;
        match outcome {
            Err(Miss::Unreachable) => {
                self.gate.note_reached(false, clock::process_ms(clock::now()));
                self.gate.count(Miss::Unreachable);
            }
            Err(miss) => self.gate.count(miss),
            Ok(()) => self.gate.note_reached(true, 0),
        }
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        if !self.settled {
            self.gate.count(Miss::Abandoned);
        }
    }
}

/// Sends the copies of one request, waits for the original's answer, and hands them over to be
/// compared. Ends at the first of them that makes a comparison impossible.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its argument twice")]
pub fn run(mut job: Job) -> impl Future<Output = ()> {
    async move {
        let unsettled = Unsettled { gate: job.gate.clone(), settled: false };
        let answers = job.answers().await;
        unsettled.settle(answers.and_then(|answers| job.submit(answers)));
    }
}

impl Job {
    /// The answers of the original, the shadow and perhaps the secondary.
    async fn answers(&mut self) -> Result<(Observed, Observed, Option<Observed>), Miss> {
        let Self { shadow, secondary, primary, .. } = self;
        let primary = async { primary.await.unwrap_or(Err(Miss::PrimaryIncomplete)) };
        let secondary = async {
            Ok(match secondary {
                // Boxed: few services have a secondary, and every copy would carry its state.
                Some(copy) => Box::pin(copy.send()).await.ok(),
                None => None,
            })
        };
        tokio::try_join!(primary, shadow.send(), secondary)
    }

    fn submit(self, answers: (Observed, Observed, Option<Observed>)) -> Result<(), Miss> {
        let Self { gate, permits, rules, told, shadow: copy, .. } = self;
        let (primary, shadow, secondary) = answers;
        let pair = Pair { gate, permits, rules, told, primary, shadow, secondary };
        copy.worker.shared.shadows.submit(pair)
    }
}

impl Copy {
    async fn send(&mut self) -> Result<Observed, Miss> {
        let queue = self.queue.clone();
        let mut answered = pin!(self.answered());
        poll_fn(|task| {
            if let Some(queue) = &queue
                && let Poll::Ready(miss) = queue.poll_given_up(task)
            {
                return Poll::Ready(Err(miss));
            }
            answered.as_mut().poll(task)
        })
        .await
    }

    async fn answered(&mut self) -> Result<Observed, Miss> {
        let mut alarm = self.worker.alarms.take();
        // What has read an answer before reads the next one from where it differs.
        let mut scratch = self.worker.buffers.take_scratch();
        let answer = &mut scratch.response;
        let mut body: Box<dyn BodySource> = match &self.queue {
            Some(queue) => Box::new(CopyBody::new(queue.clone())),
            None => Box::new(NoBody),
        };
        let mut attempt = self.begin(true, &mut alarm).await.map_err(miss_of)?;
        let mut came = self.head(&mut attempt, &mut *body, answer, &mut alarm).await;
        if matches!(came, Err(Fault::Upstream(UpstreamFault::Stale))) && self.queue.is_none() {
            // A kept connection was closed meanwhile: the shadow has seen nothing yet.
            self.head = attempt.take_head();
            attempt = self.begin(false, &mut alarm).await.map_err(miss_of)?;
            came = self.head(&mut attempt, &mut *body, answer, &mut alarm).await;
        }
        came.map_err(miss_of_either)?;
        let latency = clock::now().saturating_duration_since(self.began);
        let kept = self.body(&mut attempt, &mut *body, &mut alarm).await?;
        attempt.finish(clock::now());
        self.worker.alarms.give(alarm);
        let (status, fields) = (answer.status, answer.fields.clone());
        self.worker.buffers.give_scratch(scratch);
        Ok(Observed { status, fields, body: kept, latency })
    }

    /// Connects, or takes a connection that was kept if that may be.
    async fn begin(&mut self, kept: bool, alarm: &mut Alarm) -> Result<Attempt, UpstreamFault> {
        let worker = self.worker.clone();
        let version: &Version = &self.service.versions[self.version];
        let pools = &worker.shadow_pools;
        let now = clock::now();
        let load = |id| pools.load(id);
        let place = pick::pick(version, worker.entropy(), || clock::process_ms(now), None, load);
        let place = place.ok_or(UpstreamFault::NoEndpoint)?;
        let endpoint = version.endpoints[place].endpoint.clone();
        let pool = pools.endpoint(endpoint.id);
        let load = pools.version(version.id);
        let flight = InFlight::begin(load.clone(), pool.clone(), upstream::Permit::unbounded());
        let timeout = self.service.plan.policy.connect_timeout;
        let (framing, method) = (self.framing, self.method);
        if version.plan.protocol.is_h2() {
            let sender = shared_h2::sender(&endpoint, &pool, load, timeout).await?;
            let head = std::mem::take(&mut self.head);
            let exchange = H2Exchange::new(worker, sender, flight, head, framing, method, None);
            return Ok(Attempt::H2(Box::new(exchange)));
        }
        let connection = match pool.take().filter(|_| kept) {
            Some(connection) => connection,
            None => {
                let stream = alarm.guard(now + timeout, self.connect(&endpoint, &pool)).await;
                let stream = stream.unwrap_or(Err(UpstreamFault::ConnectTimeout))?;
                Connection::new(stream, load)
            }
        };
        let head = std::mem::take(&mut self.head);
        let exchange = Exchange::new(worker, connection, flight, head, framing, method, false);
        Ok(Attempt::H1(exchange))
    }

    async fn head(
        &self,
        attempt: &mut Attempt,
        body: &mut dyn BodySource,
        answer: &mut ResponseHead,
        alarm: &mut Alarm,
    ) -> Result<(), Fault> {
        poll_fn(|task| {
            self.upload(task, attempt, body)?;
            while let Poll::Ready(came) = attempt.poll_head(task, answer) {
                came?;
                if answer.status == 101 {
                    let fault = UpstreamFault::Malformed("upgrade_unasked");
                    return Poll::Ready(Err(fault.into()));
                }
                if answer.status >= 200 {
                    return Poll::Ready(Ok(()));
                }
            }
            alarm.poll(task, self.deadline()).map(|()| {
                attempt.doubt();
                Err(UpstreamFault::Timeout.into())
            })
        })
        .await
    }

    /// Reads the answer's body to its end, or as far as it is worth the while.
    async fn body(
        &self,
        attempt: &mut Attempt,
        body: &mut dyn BodySource,
        alarm: &mut Alarm,
    ) -> Result<Kept, Miss> {
        let mut kept = Kept::new(self.body_bytes_max);
        let mut thrown = 0;
        loop {
            let more = poll_fn(|task| {
                self.upload(task, attempt, body)?;
                match attempt.poll_piece(task) {
                    Poll::Ready(came) => Poll::Ready(came.map_err(Fault::from)),
                    Poll::Pending => alarm
                        .poll(task, self.deadline())
                        .map(|()| Err(UpstreamFault::Timeout.into())),
                }
            });
            match more.await {
                Ok(true) => kept.push(attempt.piece()),
                Ok(false) => return Ok(kept),
                // It was too long to be compared anyway.
                Err(_) if kept.is_cut() => return Ok(kept),
                Err(fault) => return Err(miss_of_either(fault)),
            }
            if kept.is_cut() {
                thrown += attempt.piece().len();
                if thrown > SHADOW_DISCARD_BYTES_MAX {
                    return Ok(kept);
                }
            }
            if clock::now() >= self.deadline() {
                // Always ready and never done.
                return if kept.is_cut() { Ok(kept) } else { Err(Miss::Timeout) };
            }
        }
    }

    fn upload(
        &self,
        task: &mut Context<'_>,
        attempt: &mut Attempt,
        body: &mut dyn BodySource,
    ) -> Result<(), Fault> {
        match attempt.is_sent() {
            true => Ok(()),
            false => match attempt.poll_upload(task, body) {
                Poll::Ready(Err(fault)) => Err(fault),
                Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
            },
        }
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        pool: &EndpointPool,
    ) -> Result<net::Stream, UpstreamFault> {
        let addresses = endpoint.addresses().clone();
        let turn = pool.turn.replace(pool.turn.get().wrapping_add(1));
        let first = endpoint.own_header();
        let workers = self.worker.shared.store.workers();
        let connecting = net::connect(&addresses, turn, endpoint.tls.as_ref(), &first);
        let connecting = Box::pin(pool.connecting.turn(workers, connecting));
        connecting.await.map_err(UpstreamFault::Connect)
    }

    /// The whole copy is over by then. Its time begins when the original's body is there.
    fn deadline(&self) -> Instant {
        let since = match &self.queue {
            Some(queue) => queue.ended().unwrap_or_else(clock::now),
            None => self.began,
        };
        since + self.service.plan.policy.timeout
    }
}

fn miss_of(fault: UpstreamFault) -> Miss {
    match fault {
        UpstreamFault::NoEndpoint | UpstreamFault::Overloaded => Miss::NoEndpoint,
        UpstreamFault::Connect(_) => Miss::Unreachable,
        UpstreamFault::ConnectTimeout | UpstreamFault::Timeout => Miss::Timeout,
        UpstreamFault::Stale | UpstreamFault::Unprocessed | UpstreamFault::Broken(_) => {
            Miss::Broken
        }
        UpstreamFault::Malformed(_) => Miss::Malformed,
    }
}

fn miss_of_either(fault: Fault) -> Miss {
    match fault {
        // The copy's client is the tee: what came from it has no end.
        Fault::Client(_) => Miss::PrimaryIncomplete,
        Fault::Upstream(fault) => miss_of(fault),
    }
}

#[cfg(test)]
mod tests;
