//! Attempts: which endpoint, how long, and whether a failure may be tried again.
//!
//! A request is tried again only if the upstream certainly saw nothing of it, or if repeating it is
//! safe and nothing of its body is lost. Each attempt chooses by the revision in force when its
//! first byte is about to be written.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::VERSION_FIELD;
use super::alarm::Alarm;
use super::assign;
use super::attempt::Attempt;
use super::body::BodySource;
use super::context::{Assigned, RequestCx};
use super::error::{Fault, ProxyError, Reason, UpstreamFault};
use super::pool::{Connection, EndpointPool, InFlight, VersionLoad};
use super::shared_h2;
use crate::clock;
use crate::h1::head::{Framing, RequestHead, ResponseHead};
use crate::h1::write;
use crate::limits::STALE_TRIES_MAX;
use crate::name::VersionName;
use crate::net;
use crate::plan::WhenUnavailable;
use crate::route::matcher::RequestView;
use crate::shadow::tap;
use crate::snapshot::Service;
use crate::split::Cause;
use crate::upstream::{Endpoint, Version, pick};

/// What is sent up, made once and sent by every attempt.
#[derive(Debug)]
pub struct Outgoing<'a> {
    pub head: &'a RequestHead,
    /// The head as bytes.
    pub bytes: Vec<u8>,
    pub framing: Framing,
    /// How long the client may send nothing of its body.
    pub body_timeout: Duration,
    /// Where the fields end that are the same for every version.
    fields_end: usize,
}

impl<'a> Outgoing<'a> {
    /// A head that nobody was sent yet.
    pub fn new(
        head: &'a RequestHead,
        bytes: Vec<u8>,
        framing: Framing,
        body_timeout: Duration,
    ) -> Self {
        let fields_end = bytes.len().saturating_sub(write::END.len());
        Self { head, bytes, framing, body_timeout, fields_end }
    }

    /// Tells the upstream which version it was chosen as, in place of what another was told.
    fn name_version(&mut self, version: &VersionName) {
        self.bytes.truncate(self.fields_end);
        write::field(&mut self.bytes, VERSION_FIELD.as_bytes(), version.as_str().as_bytes());
        write::end(&mut self.bytes);
    }
}

/// What an attempt's failures have used up.
#[derive(Debug, Default)]
struct Tries {
    retries: u32,
    rescued: bool,
    /// A kept connection that was closed meanwhile is replaced for nothing, but not for ever.
    stale: u32,
    failed_endpoint: Option<u32>,
}

/// Sends the request until it has an answer's head, which is left in `answer`; what gave it is left in
/// `place`.
pub async fn answer<'a>(
    cx: &mut RequestCx,
    outgoing: &mut Outgoing<'_>,
    body: &mut dyn BodySource,
    (place, answer): (&'a mut Option<Attempt>, &mut ResponseHead),
    alarm: &mut Alarm,
) -> Result<&'a mut Attempt, ProxyError> {
    let mut tries = Tries::default();
    let mut deadline = None;
    let mut now = cx.began();
    cx.upstream_began = Some(now);
    loop {
        let service = current_service(cx, outgoing.head)?;
        let policy = &service.plan.policy;
        let whole = cx.whole_deadline();
        let timeout = now + policy.timeout;
        let deadline = *deadline.get_or_insert(whole.map_or(timeout, |at| at.min(timeout)));
        let attempt = match begin(cx, outgoing, &tries, (now, deadline), alarm, place).await? {
            Begun::Attempt(attempt) => attempt,
            Begun::Again => {
                now = clock::now();
                continue;
            }
            Begun::Failed(fault) => {
                now = clock::now();
                decide(cx, fault, outgoing, &mut tries, now < deadline)?;
                continue;
            }
        };
        cx.attempts += 1;
        let (timeout, body_timeout) = (policy.timeout, outgoing.body_timeout);
        let window = Window { deadline, timeout, body: body_timeout, whole };
        match head(attempt, body, answer, alarm, &window).await {
            Ok(()) => break,
            Err(Fault::Client(fault)) => return Err(fault.into()),
            Err(Fault::Upstream(fault)) => {
                outgoing.bytes = attempt.take_head();
                if matches!(fault, UpstreamFault::Timeout) {
                    attempt.doubt();
                }
                *place = None;
                now = clock::now();
                decide(cx, fault, outgoing, &mut tries, now < deadline)?;
            }
        }
    }
    cx.upstream_answered = Some(clock::now());
    cx.grpc.begins(answer);
    note_success(cx);
    tap::observe(cx, answer);
    place.as_mut().ok_or(ProxyError::new(Reason::NoEndpoint))
}

/// The service by the revision in force. If it changed since the version was chosen, the version is
/// chosen anew: this is what keeps an attempt from going to a version after its cutover.
fn current_service(cx: &mut RequestCx, head: &RequestHead) -> Result<ServiceRef, ProxyError> {
    let lease = cx.worker.lease();
    let Some(assigned) = cx.assigned else { return Err(ProxyError::new(Reason::NoEndpoint)) };
    if lease.number != cx.lease.number {
        let old = cx.lease.snapshot.services[assigned.service].clone();
        if let Some(place) = lease.snapshot.place_of(&old.name) {
            let new = &lease.snapshot.services[place];
            let mut next = Assigned { service: place, ..assigned };
            if !std::sync::Arc::ptr_eq(&old, new) {
                let view = RequestView::from(head);
                let choice = assign::choose(&cx.worker, new, &view, cx.client, cx.new_cohort);
                let choice = choice.map_err(ProxyError::new)?;
                cx.new_cohort = choice.new_cohort;
                next.version = choice.version;
                next.cause = choice.cause;
                if !choice.usable {
                    let why = assign::unusable(&new.versions[choice.version]);
                    cx.lease = lease;
                    cx.assigned = Some(next);
                    cx.note_trial();
                    return Err(ProxyError::new(why));
                }
            }
            cx.lease = lease;
            cx.assigned = Some(next);
            cx.note_trial();
        }
    }
    Ok(ServiceRef { lease: cx.lease.clone(), place: cx.assigned.map_or(0, |a| a.service) })
}

/// A service that lives as long as its lease.
#[derive(Debug)]
struct ServiceRef {
    lease: super::worker::Lease,
    place: usize,
}

impl std::ops::Deref for ServiceRef {
    type Target = Service;
    fn deref(&self) -> &Service {
        &self.lease.snapshot.services[self.place]
    }
}

enum Begun<'a> {
    Attempt(&'a mut Attempt),
    /// A revision came while connecting: choose again.
    Again,
    Failed(UpstreamFault),
}

async fn begin<'a>(
    cx: &mut RequestCx,
    outgoing: &mut Outgoing<'_>,
    tries: &Tries,
    (now, deadline): (Instant, Instant),
    alarm: &mut Alarm,
    place: &'a mut Option<Attempt>,
) -> Result<Begun<'a>, ProxyError> {
    let lease = cx.lease.clone();
    let worker = cx.worker.clone();
    let Some(assigned) = cx.assigned else { return Err(ProxyError::new(Reason::NoEndpoint)) };
    let service: &Service = &lease.snapshot.services[assigned.service];
    let version: &Version = &service.versions[assigned.version];
    let load = |id| worker.pools.load(id);
    let (entropy, ms) = (worker.entropy(), || clock::process_ms(now));
    let Some(picked) = pick::pick(version, entropy, ms, tries.failed_endpoint, load) else {
        cx.endpoint = None;
        return Ok(Begun::Failed(match version.is_usable() {
            true => UpstreamFault::Overloaded,
            false => UpstreamFault::NoEndpoint,
        }));
    };
    let Some(permit) = version.enter(picked) else {
        cx.endpoint = None;
        return Ok(Begun::Failed(UpstreamFault::Overloaded));
    };
    cx.endpoint = Some(picked);
    let endpoint = &version.endpoints[picked].endpoint;
    let pool = worker.pools.endpoint(endpoint.id);
    let version_load = worker.pools.version(version.id);
    let flight = InFlight::begin(version_load.clone(), pool.clone(), permit);
    if service.plan.policy.upstream_version_header {
        outgoing.name_version(&version.name);
    }
    if version.plan.protocol.is_h2() {
        let timeout = service.plan.policy.connect_timeout;
        let sender = shared_h2::sender(endpoint, &pool, version_load, (now, timeout)).await;
        // Not the version's fault: it is neither charged with it nor given up for it.
        if outgoing.head.websocket
            && let Ok(sender) = &sender
            && !Box::pin(sender.takes_websockets(timeout)).await
        {
            return Err(ProxyError::with(Reason::NotImplemented, "websocket"));
        }
        if worker.shared.store.number() > lease.number {
            return Ok(Begun::Again);
        }
        return Ok(match sender {
            Ok(sender) => {
                Begun::Attempt(place.insert(Attempt::h2(&worker, sender, flight, outgoing)))
            }
            Err(fault) => Begun::Failed(fault),
        });
    }
    let connection = match pool.take() {
        Some(connection) => connection,
        None => {
            let until = deadline.min(now + service.plan.policy.connect_timeout);
            // Boxed: most requests find a connection and need no room for making one.
            match Box::pin(connect(cx, endpoint, &pool, version_load, until, alarm)).await {
                Ok(connection) => connection,
                Err(fault) => return Ok(Begun::Failed(fault)),
            }
        }
    };
    // The fence: between this look and the first byte there is no await.
    if worker.shared.store.number() > lease.number {
        pool.give(connection, now);
        return Ok(Begun::Again);
    }
    Ok(Begun::Attempt(place.insert(Attempt::h1(&worker, connection, flight, outgoing))))
}

/// A new connection, made until then, or one that is given back before it could be made.
async fn connect(
    cx: &RequestCx,
    endpoint: &Endpoint,
    pool: &EndpointPool,
    load: Rc<VersionLoad>,
    until: Instant,
    alarm: &mut Alarm,
) -> Result<Connection, UpstreamFault> {
    let addresses = endpoint.addresses().clone();
    let turn = pool.turn.replace(pool.turn.get().wrapping_add(1));
    let header = endpoint.identity.proxy_protocol.map(|version| cx.proxy_header(version));
    let first = header.as_deref().unwrap_or_default();
    let workers = cx.worker.shared.store.workers();
    let connecting = pool.connecting.turn(workers, async {
        // A connection that tells of its client serves no other: none of those is kept.
        if header.is_none()
            && let Some(kept) = pool.take()
        {
            return Ok(kept);
        }
        let stream = net::connect(&addresses, turn, endpoint.tls.as_ref(), first).await?;
        Ok(Connection::new(stream, load).of_one(header.is_some()))
    });
    match alarm.guard(until, connecting).await {
        Some(Ok(connection)) => Ok(connection),
        Some(Err(error)) => Err(UpstreamFault::Connect(error)),
        None => Err(UpstreamFault::ConnectTimeout),
    }
}

/// The deadlines of waiting for an answer's head.
struct Window {
    /// For the head, once the whole request is up.
    deadline: Instant,
    timeout: Duration,
    /// How long the client may send nothing of its body.
    body: Duration,
    /// For the whole request, where it has a bound.
    whole: Option<Instant>,
}

async fn head(
    attempt: &mut Attempt,
    body: &mut dyn BodySource,
    answer: &mut ResponseHead,
    alarm: &mut Alarm,
    window: &Window,
) -> Result<(), Fault> {
    let mut progress: Option<(u64, Instant)> = None;
    poll_fn(|task| {
        if !attempt.is_sent()
            && let Poll::Ready(Err(fault)) = attempt.poll_upload(task, body)
        {
            return Poll::Ready(Err(fault));
        }
        while let Poll::Ready(came) = attempt.poll_head(task, answer) {
            came?;
            if answer.status >= 200 || answer.status == 101 {
                return Poll::Ready(Ok(()));
            }
            if answer.status != 100 {
                body.interim(answer);
            }
        }
        // A client that does not take it now gets it with the answer.
        if let Poll::Ready(Err(fault)) = body.poll_interim(task) {
            return Poll::Ready(Err(fault.into()));
        }
        // While a body goes up, what counts is that it moves; after that, the head's deadline.
        let (limit, fault) = match attempt.is_sent() {
            true if progress.is_none() => {
                (window.deadline, Fault::Upstream(UpstreamFault::Timeout))
            }
            true => {
                let since = progress.map_or(window.deadline, |(_, at)| at + window.timeout);
                (since.max(window.deadline), Fault::Upstream(UpstreamFault::Timeout))
            }
            false => {
                let moved = attempt.uploaded();
                let since = match progress {
                    Some((before, at)) if before == moved => at,
                    _ => {
                        let now = clock::now();
                        progress = Some((moved, now));
                        now
                    }
                };
                let patience = match attempt.waits_for(body) {
                    true => window.body,
                    false => window.timeout,
                };
                (since + patience, attempt.overdue(body))
            }
        };
        let limit = window.whole.map_or(limit, |at| limit.min(at));
        alarm.poll(task, limit).map(|()| Err(fault))
    })
    .await
}

fn note_success(cx: &RequestCx) {
    if let Some((version, place)) = cx.version().zip(cx.endpoint) {
        version.endpoints[place].endpoint.note_success();
    }
}

/// After a failed attempt: charges it, and either prepares another or gives the failure back.
fn decide(
    cx: &mut RequestCx,
    fault: UpstreamFault,
    outgoing: &Outgoing<'_>,
    tries: &mut Tries,
    in_time: bool,
) -> Result<(), ProxyError> {
    let reason = fault.reason();
    let failed = ProxyError::new(reason);
    let lease = cx.lease.clone();
    let Some(assigned) = cx.assigned else { return Err(failed) };
    let service: &Service = &lease.snapshot.services[assigned.service];
    let version = &service.versions[assigned.version];
    let repeatable = outgoing.head.method.is_idempotent() && outgoing.framing == Framing::None;
    let again = match fault {
        UpstreamFault::Stale => repeatable,
        UpstreamFault::Unprocessed => true,
        _ => false,
    };
    if again && tries.stale < STALE_TRIES_MAX {
        tries.stale += 1;
        return Ok(());
    }
    cx.note_failed(reason);
    if let Some(place) = cx.endpoint {
        let endpoint = &version.endpoints[place].endpoint;
        tries.failed_endpoint = Some(endpoint.id);
        let now = clock::process_ms(clock::now());
        if endpoint.note_failure(now, &version.plan.outlier) {
            tracing::warn!(
                service = %service.name, version = %version.name, endpoint = endpoint.label,
                "endpoint ejected after failures in a row"
            );
        }
        tracing::debug!(endpoint = endpoint.label, ?fault, "attempt failed");
    }
    let policy = &service.plan.policy;
    // Trying again at once would add to what there is too much of.
    let is_full = matches!(fault, UpstreamFault::Overloaded);
    let alone = is_full && policy.when_unavailable == WhenUnavailable::Fail;
    if !in_time || alone || !repeatable && !fault.is_unsent() {
        return Err(failed);
    }
    let status = super::reply::status(reason);
    let rescuer = can_rescue(service, assigned, tries)
        .then(|| other_version(cx, service, assigned.version))
        .flatten();
    // The endpoint that has just failed is asked again only where there is nobody else.
    let is_best = version.endpoints.len() > 1 || rescuer.is_none();
    if !is_full
        && tries.retries < policy.retries.attempts
        && is_best
        && version.is_usable()
        && cx.worker.budgets.spend(&service.name, policy.retries.budget_percent)
    {
        tries.retries += 1;
        let mut counts = cx.worker.counts.borrow_mut();
        counts.retry(version.id, reason);
        counts.failed_attempt(version.id, status);
        return Ok(());
    }
    if let Some(other) = rescuer {
        tries.rescued = true;
        tries.failed_endpoint = None;
        let mut counts = cx.worker.counts.borrow_mut();
        counts.failed_attempt(version.id, status);
        counts.rescue(&service.name, &version.name, &service.versions[other].name);
        cx.assigned = Some(Assigned { version: other, cause: Cause::Rescue, ..assigned });
        return Ok(());
    }
    Err(failed)
}

/// A pinned request is not rescued: a tester who asked for a version must see it fail.
fn can_rescue(service: &Service, assigned: Assigned, tries: &Tries) -> bool {
    let pinned = matches!(assigned.cause, Cause::Pin(_));
    service.plan.policy.rescue && !tries.rescued && !pinned
}

fn other_version(cx: &RequestCx, service: &Service, failed: usize) -> Option<usize> {
    let usable = |version: usize| version != failed && service.versions[version].can_take();
    service.split.draw(cx.worker.entropy(), usable)
}
