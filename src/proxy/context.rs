//! One request: what is known of it, and the guard that closes its books.
//!
//! The books are closed exactly once, however a request ends: counted, recorded, released.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::admit;
use super::counters::{Counts, Trial};
use super::error::{Fault, ProxyError, Reason};
use super::grpc::Outcome;
use super::listener::Seat;
use super::record::{Closing, Line, Opening};
use super::worker::{Lease, Worker};
use crate::clock;
use crate::h1::head::{Method, RequestHead};
use crate::limits::REQUEST_ID_BYTES_MAX;
use crate::proxy_header::{self, ProxyVersion};
use crate::rollout::evidence::latency;
use crate::shadow::Tap;
use crate::snapshot::Service;
use crate::split::Cause;
use crate::upstream::Version;

/// A request from its head to the last byte of its answer.
#[derive(Debug)]
pub struct RequestCx {
    pub worker: Rc<Worker>,
    /// The revision it came in under: its route's.
    pub entry: Lease,
    /// The revision its version was chosen by; a new attempt after a change takes a new one.
    pub lease: Lease,
    pub arrived: Instant,
    pub client: IpAddr,
    /// The connection that it came by.
    seat: Rc<Seat>,
    pub request_id: RequestId,
    pub method: Method,
    pub route: Option<usize>,
    pub assigned: Option<Assigned>,
    /// The id of a cohort that was made for this request.
    pub new_cohort: Option<Uuid>,
    pub attempts: u32,
    pub endpoint: Option<usize>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// From the first attempt to the answer's head.
    pub upstream_began: Option<Instant>,
    pub upstream_answered: Option<Instant>,
    pub reason: Option<Reason>,
    /// What its answer says in gRPC's words, if it is one of gRPC.
    pub grpc: Outcome,
    /// The number of the version that was drawn for it. Pins and stand-ins are not drawn.
    drawn: Option<u32>,
    /// What it is counted under for a verdict, if for any.
    trial: Option<Trial>,
    /// Whether its first attempt failed, whatever became of it afterwards.
    first_failed: Option<Reason>,
    /// The hold of its copy on it, if it is copied.
    pub tap: Tap,
    /// The status the client saw; 0 until the books are closed.
    status: u16,
    /// When the books were closed.
    ended: Option<Instant>,
    /// Its line in the access log, if there is one.
    line: Option<Line>,
}

/// A request's version by its places in the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    pub service: usize,
    pub version: usize,
    pub cause: Cause,
}

impl RequestCx {
    /// Opens the books of a request that has just been read.
    pub fn open(worker: &Rc<Worker>, head: &RequestHead, seat: &Rc<Seat>) -> Self {
        let arrived = clock::now();
        let lease = worker.lease();
        let edge = &lease.snapshot.edge;
        let client = admit::client_of(edge, seat.peer_ip(), &head.fields);
        let kept = head.fields.get(crate::h1::fields::Known::XRequestId).and_then(RequestId::kept);
        let request_id = kept.unwrap_or_else(|| RequestId::new(worker, arrived));
        let line = worker.shared.access_log.as_ref().map(|log| {
            let opening = Opening {
                arrived,
                request_id: request_id.as_str(),
                client,
                method: head.method_text(),
                host: head.authority(),
                path: head.path(),
                protocol: head.version.as_str(),
            };
            worker.lines.borrow_mut().begin(log.json, &opening)
        });
        Self {
            worker: worker.clone(),
            entry: lease.clone(),
            lease,
            arrived,
            client,
            seat: seat.clone(),
            request_id,
            method: head.method,
            route: None,
            assigned: None,
            new_cohort: None,
            attempts: 0,
            endpoint: None,
            bytes_in: 0,
            bytes_out: 0,
            upstream_began: None,
            upstream_answered: None,
            reason: None,
            grpc: Outcome::default(),
            drawn: None,
            trial: None,
            first_failed: None,
            tap: Tap::default(),
            status: 0,
            ended: None,
            line,
        }
    }

    /// The service it was assigned to.
    pub fn service(&self) -> Option<&Service> {
        Some(&self.lease.snapshot.services[self.assigned?.service])
    }

    /// The version it was assigned to.
    pub fn version(&self) -> Option<&Version> {
        Some(&self.service()?.versions[self.assigned?.version])
    }

    /// When the request must be over, if its service says so.
    pub fn whole_deadline(&self) -> Option<Instant> {
        Some(self.arrived + self.service()?.plan.policy.request_timeout?)
    }

    /// Notes which version was drawn, and what the request is counted under for a verdict, from how it
    /// was assigned. Testers and
    /// stand-ins count for none: nobody drew them.
    pub fn note_trial(&mut self) {
        if self.first_failed.is_some() {
            return;
        }
        self.drawn = None;
        self.trial = self.assigned.and_then(|assigned| {
            let service = &self.lease.snapshot.services[assigned.service];
            let half = match assigned.cause {
                // A user belongs to one half, as to one version.
                Cause::Sticky(bucket) => bucket & 1 == 1,
                Cause::Split => self.request_id.as_bytes().last().is_some_and(|b| b & 1 == 1),
                Cause::Pin(_) | Cause::Fallback | Cause::Rescue => return None,
            };
            let version = service.versions[assigned.version].id;
            self.drawn = Some(version);
            Some(Trial { version, generation: service.trial?, half })
        });
    }

    /// Notes that an attempt failed: the first version answers for it in a verdict.
    pub fn note_failed(&mut self, reason: Reason) {
        self.first_failed.get_or_insert(reason);
    }

    fn count_trial(&self, status: u16, counts: &mut Counts) {
        let Some(trial) = self.trial else { return };
        let failed = self.first_failed.is_some() || status >= 500;
        let timed_out = self.first_failed.or(self.reason) == Some(Reason::UpstreamTimeout);
        let took = self.upstream_began.zip(self.upstream_answered);
        let bucket = match took {
            _ if timed_out => Some(latency::NEVER),
            Some((began, came)) if !failed => {
                Some(latency::bucket(came.saturating_duration_since(began)))
            }
            _ => None,
        };
        counts.trial(trial, failed, bucket);
        self.worker.remember(self.request_id.as_bytes(), trial);
    }

    /// What a connection made for this request begins with: who the client is.
    pub fn proxy_header(&self, version: ProxyVersion) -> Vec<u8> {
        let (peer, listener) = (self.seat.peer, self.seat.listener.plan.address);
        // An address that a proxy told of has no port that is known.
        let port = if peer.ip().to_canonical() == self.client { peer.port() } else { 0 };
        proxy_header::write(version, Some((SocketAddr::new(self.client, port), listener)))
    }

    /// When the books were closed, or now.
    pub fn ended(&self) -> Instant {
        self.ended.unwrap_or_else(clock::now)
    }

    /// Charges the version with an answer that broke off in its middle.
    pub fn charge(&mut self, reason: Reason) {
        self.reason = Some(reason);
        self.note_failed(reason);
        if let Some(version) = self.version() {
            let status = super::reply::status(reason);
            self.worker.counts.borrow_mut().broken_answer(version.id, status);
        }
    }

    /// Closes the books of an answer that ended in its middle. The client saw its status; the version
    /// is charged with the failure when it was the upstream's.
    pub fn break_off(&mut self, fault: Fault, status: u16) {
        match fault {
            Fault::Client(fault) => self.reason = Some(ProxyError::from(fault).reason),
            Fault::Upstream(fault) => self.charge(fault.reason()),
        }
        self.close(status);
    }

    /// When the request was taken on: its versions' time runs from here.
    pub fn began(&self) -> Instant {
        self.upstream_began.unwrap_or(self.arrived)
    }

    /// Closes the books: the client has seen, or will see no more than, this status.
    pub fn close(&mut self, status: u16) {
        if self.status != 0 {
            return;
        }
        self.status = status;
        let now = clock::now();
        self.ended = Some(now);
        let duration = now.saturating_duration_since(self.arrived);
        let worker = self.worker.clone();
        let route = self.route.map(|place| &self.entry.snapshot.routes.routes()[place]);
        let mut counts = worker.counts.borrow_mut();
        match (route, self.version()) {
            (Some(route), Some(version)) => {
                let key = (route.id, version.id);
                let bounds = &worker.shared.duration_bounds;
                counts.request(key, self.method, status, duration, bounds);
                counts.grpc(version.id, self.grpc, status);
                if let Some(reason) = self.reason {
                    counts.reason(reason);
                }
            }
            _ => counts.local_reply(self.reason.unwrap_or(Reason::ClientGone)),
        }
        self.count_trial(self.grpc.failure().unwrap_or(status), &mut counts);
        drop(counts);
        if let (Some(log), Some(line)) = (&worker.shared.access_log, self.line.take()) {
            let service = self.service();
            let version = self.version();
            let endpoint = self
                .endpoint
                .zip(version)
                .map(|(place, version)| version.endpoints[place].endpoint.label.as_str());
            let upstream = self.upstream_began.zip(self.upstream_answered);
            let closing = Closing {
                status,
                bytes_in: self.bytes_in,
                bytes_out: self.bytes_out,
                duration,
                upstream: upstream.map(|(began, came)| came.saturating_duration_since(began)),
                listener: self.seat.listener.plan.name.as_str(),
                route: route.map(|route| route.name.as_str()),
                service: service.map(|service| service.name.as_str()),
                version: version.map(|version| version.name.as_str()),
                endpoint,
                assigned_by: self.assigned.map(|assigned| assigned.cause.as_str()),
                exposure: service.zip(self.drawn).and_then(|(service, drawn)| {
                    let version = service.versions.iter().find(|version| version.id == drawn)?;
                    Some(version.name.as_str())
                }),
                revision: self.lease.number,
                attempts: self.attempts,
                reason: self.reason.map(Reason::as_str),
                grpc_status: self.grpc.status(),
            };
            worker.lines.borrow_mut().end(log, line, &closing);
        }
    }
}

impl Drop for RequestCx {
    fn drop(&mut self) {
        // Dropped without an answer: the client went away while it was served.
        if self.status == 0 {
            self.reason = self.reason.or(Some(Reason::ClientGone));
            self.close(super::reply::status(Reason::ClientGone));
        }
    }
}

/// The id of a request: most are made here and have one length.
#[derive(Debug)]
pub enum RequestId {
    Made([u8; Hyphenated::LENGTH]),
    Kept(Box<[u8]>),
}

impl RequestId {
    /// The client's own id, if it is sane: visible ASCII without quotes, and not too long.
    fn kept(value: &[u8]) -> Option<Self> {
        let sane = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\<>".contains(byte);
        if value.is_empty() || value.len() > REQUEST_ID_BYTES_MAX || !value.iter().all(sane) {
            return None;
        }
        Some(Self::Kept(value.into()))
    }

    /// A new UUIDv7, from the worker's own random numbers.
    fn new(worker: &Worker, at: Instant) -> Self {
        let mut random = [0; 10];
        worker.fill_random(&mut random);
        let millis = clock::wall_at(at).as_millis() as u64;
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        let mut bytes = [0; Hyphenated::LENGTH];
        id.as_hyphenated().encode_lower(&mut bytes);
        Self::Made(bytes)
    }

    /// The id as ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Made(bytes) => bytes,
            Self::Kept(bytes) => bytes,
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}
