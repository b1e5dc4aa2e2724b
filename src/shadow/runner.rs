//! Sends copies: concurrently with the original, over connections of their own, once.
//!
//! A copy has its own deadline and is never tried again. What it meets counts for nothing but the
//! report: it ejects no endpoint and is in no count of requests.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::Miss;
use super::answer::{Fresh, Kept, Observed};
use super::gate::Permit;
use super::meeting::Meeting;
use super::mirror::Mirror;
use super::store::{Agreement, Pair};
use super::tee::{CopyBody, Queue};
use crate::clock;
use crate::diff;
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
use crate::upstream::{self, Endpoint, Version, pick};

/// What a report tells of a request.
#[derive(Debug)]
pub struct Told {
    route: Option<RouteName>,
    /// Method, path and query, and request id, with a space between: none of them has one. Taken
    /// apart only for a sample: most requests agree and never become one.
    request: String,
}

impl Told {
    /// Of the request with this method, this path with its query, and this id.
    pub fn new(route: Option<RouteName>, method: &str, target: &str, id: &str) -> Self {
        Self { route, request: [method, " ", target, " ", id].concat() }
    }

    /// The name of the route, empty for none.
    pub fn route(&self) -> &str {
        self.route.as_ref().map_or("", RouteName::as_str)
    }

    /// Method, path with query, and request id.
    pub fn request(&self) -> (&str, &str, &str) {
        let (method, rest) = self.request.split_once(' ').unwrap_or_default();
        let (target, id) = rest.split_once(' ').unwrap_or_default();
        (method, target, id)
    }
}

/// One request that is copied.
#[derive(Debug)]
pub struct Job {
    pub permits: (Permit, Option<Permit>),
    pub told: Told,
    pub shadow: Copy,
    /// Boxed: few services have one, and every job would be larger by it.
    pub secondary: Option<Box<Copy>>,
    pub meeting: Rc<Meeting>,
}

/// One copy of a request, not yet sent.
#[derive(Debug)]
pub struct Copy {
    pub worker: Rc<Worker>,
    pub mirror: Rc<Mirror>,
    /// The place of its version in the service.
    pub version: usize,
    /// The whole head as bytes.
    pub head: Vec<u8>,
    pub framing: Framing,
    pub method: Method,
    /// Where its body comes from, if it has one.
    pub queue: Option<Rc<Queue>>,
    /// When the original was taken on.
    pub began: Instant,
}

/// Counts a copy that ends without a word: in a panic, or with the process.
struct Unsettled {
    mirror: Rc<Mirror>,
    settled: bool,
}

impl Unsettled {
    fn settle(mut self, outcome: Result<(), Miss>) {
        self.settled = true;
        let gate = &self.mirror.gate;
        match outcome {
            Err(Miss::Unreachable) => {
                gate.note_reached(false, clock::process_ms(clock::now()));
                gate.count(Miss::Unreachable);
            }
            Err(miss) => gate.count(miss),
            Ok(()) => gate.note_reached(true, 0),
        }
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        if !self.settled {
            self.mirror.gate.count(Miss::Abandoned);
        }
    }
}

/// Sends the copies of one request, waits for the original's answer, and hands over what they say.
/// Ends at the first of them that makes a comparison impossible.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its argument twice")]
pub fn run(mut job: Job) -> impl Future<Output = ()> {
    async move {
        let unsettled = Unsettled { mirror: job.shadow.mirror.clone(), settled: false };
        let answers = job.answers().await;
        unsettled.settle(answers.and_then(|answers| job.submit(answers)));
    }
}

impl Job {
    /// The answers of the original, the shadow and perhaps the secondary.
    async fn answers(&mut self) -> Result<(Observed, Fresh, Option<Fresh>), Miss> {
        let Self { shadow, secondary, meeting, .. } = self;
        let copies = async {
            match secondary {
                None => Ok((shadow.send().await?, None)),
                Some(secondary) => {
                    let second = async { Ok(secondary.send().await.ok()) };
                    Box::pin(async { tokio::try_join!(shadow.send(), second) }).await
                }
            }
        };
        let mut copies = pin!(copies);
        let (shadow, secondary) = poll_fn(|task| match meeting.poll_given_up(task) {
            Poll::Ready(miss) => Poll::Ready(Err(miss)),
            Poll::Pending => copies.as_mut().poll(task),
        })
        .await?;
        let primary = poll_fn(|task| meeting.poll_answer(task)).await?;
        Ok((primary, shadow, secondary))
    }

    /// Hands over what the answers say. Whether they are the same is seen here, while they are at
    /// hand: handing all of them to another thread, to be freed there, costs this one more. What
    /// differs is judged on the control plane.
    fn submit(self, answers: (Observed, Fresh, Option<Fresh>)) -> Result<(), Miss> {
        let Self { permits, told, shadow: Copy { worker, mirror, .. }, .. } = self;
        let (primary, shadow, secondary) = answers;
        let (gate, rules) = (mirror.gate.clone(), &mirror.shadow.rules);
        let hub = &worker.shared.shadows;
        let give = |scratch| worker.buffers.give_scratch(scratch);
        if secondary.is_none() && diff::agree(&primary.answer(), &shadow.answer(), rules) {
            let latencies = (primary.latency, shadow.latency);
            give(shadow.scratch);
            return hub.agreed(Agreement { gate, route: told.route, latencies });
        }
        let observed = |fresh: Fresh| {
            let (observed, scratch) = fresh.observed();
            give(scratch);
            observed
        };
        let (shadow, secondary) = (observed(shadow), secondary.map(observed));
        hub.submit(Pair { gate, permits, rules: rules.clone(), told, primary, shadow, secondary })
    }
}

impl Copy {
    async fn send(&mut self) -> Result<Fresh, Miss> {
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

    async fn answered(&mut self) -> Result<Fresh, Miss> {
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
        let mut now = clock::now();
        let latency = now.saturating_duration_since(self.began);
        let body = self.body(&mut attempt, &mut *body, &mut alarm, &mut now).await?;
        attempt.finish(now);
        self.worker.alarms.give(alarm);
        Ok(Fresh { scratch, body, latency })
    }

    /// Connects, or takes a connection that was kept if that may be.
    async fn begin(&mut self, kept: bool, alarm: &mut Alarm) -> Result<Attempt, UpstreamFault> {
        let worker = self.worker.clone();
        let service = &self.mirror.service;
        let version: &Version = &service.versions[self.version];
        let pools = &worker.shadow_pools;
        let load = |id| pools.load(id);
        let ms = || clock::process_ms(clock::now());
        let place = pick::pick(version, worker.entropy(), ms, None, load);
        let place = place.ok_or(UpstreamFault::NoEndpoint)?;
        let endpoint = version.endpoints[place].endpoint.clone();
        let pool = pools.endpoint(endpoint.id);
        let load = pools.version(version.id);
        let flight = InFlight::begin(load.clone(), pool.clone(), upstream::Permit::unbounded());
        let timeout = service.plan.policy.connect_timeout;
        let (framing, method) = (self.framing, self.method);
        if version.plan.protocol.is_h2() {
            let sender = shared_h2::sender(&endpoint, &pool, load, (clock::now(), timeout)).await?;
            let head = std::mem::take(&mut self.head);
            let exchange = H2Exchange::new(worker, sender, flight, head, framing, method, None);
            return Ok(Attempt::H2(exchange));
        }
        let connection = match pool.take().filter(|_| kept) {
            Some(connection) => connection,
            None => {
                let connecting = self.connect(&endpoint, &pool);
                let stream = alarm.guard(clock::now() + timeout, connecting).await;
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

    /// Reads the answer's body to its end, or as far as it is worth the while. `now` is moved on to
    /// when its last piece came.
    async fn body(
        &self,
        attempt: &mut Attempt,
        body: &mut dyn BodySource,
        alarm: &mut Alarm,
        now: &mut Instant,
    ) -> Result<Kept, Miss> {
        let mut kept = Kept::new(self.mirror.shadow.rule.max_body);
        let mut thrown = 0;
        while !attempt.is_complete() {
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
                Ok(false) => break,
                // It was too long to be compared anyway.
                Err(_) if kept.is_cut() => break,
                Err(fault) => return Err(miss_of_either(fault)),
            }
            if kept.is_cut() {
                thrown += attempt.piece().len();
                if thrown > SHADOW_DISCARD_BYTES_MAX {
                    break;
                }
            }
            if attempt.is_complete() {
                // A short body is there with its head: no need to look at the clock again.
                break;
            }
            *now = clock::now();
            if *now >= self.deadline() {
                // Always ready and never done.
                return if kept.is_cut() { Ok(kept) } else { Err(Miss::Timeout) };
            }
        }
        Ok(kept)
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
        since + self.mirror.service.plan.policy.timeout
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
