//! Idle upstream connections of one worker, and what is in flight, by endpoint.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::connecting::Connecting;
use super::counters::Counts;
use crate::limits::{POOL_IDLE_MAX, POOL_IDLE_PER_ENDPOINT_MAX};
use crate::net::Stream;
use crate::upstream::Permit;

/// Everything a worker keeps about endpoints and versions between requests.
#[derive(Debug, Default)]
pub struct Pools {
    endpoints: RefCell<FxHashMap<u32, Rc<EndpointPool>>>,
    versions: RefCell<FxHashMap<u32, Rc<VersionLoad>>>,
}

/// One endpoint as this worker sees it.
#[derive(Debug, Default)]
pub struct EndpointPool {
    pub in_flight: Cell<u32>,
    /// Counts connects, so that a name with several addresses is used in turn.
    pub turn: Cell<usize>,
    idle: RefCell<Vec<Idle>>,
    /// The turns to make one over HTTP/1.1.
    pub connecting: Connecting,
    /// Held while an HTTP/2 connection is made: those who come meanwhile share it.
    pub h2_connecting: tokio::sync::Mutex<()>,
    /// HTTP/2 connections, shared by requests.
    pub h2: RefCell<Vec<super::shared_h2::Connection>>,
}

/// One version as this worker sees it.
#[derive(Debug, Default)]
pub struct VersionLoad {
    pub in_flight: Cell<u32>,
    pub connections: Cell<u32>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection to an endpoint.
#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    /// Whether it has served a request before.
    pub reused: bool,
    /// Whether it was said to be one client's: it serves no other.
    of_one: bool,
    _open: Open,
}

/// One open connection; counted for its version as long as it lives.
#[derive(Debug)]
pub struct Open(Rc<VersionLoad>);

impl Open {
    /// Begins now.
    pub fn new(load: Rc<VersionLoad>) -> Self {
        load.connections.set(load.connections.get() + 1);
        Self(load)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
    }
}

impl Connection {
    /// A new connection, made for a version.
    pub fn new(stream: Stream, load: Rc<VersionLoad>) -> Self {
        Self { stream, reused: false, of_one: false, _open: Open::new(load) }
    }

    /// The same, of one client alone.
    pub fn of_one(self, of_one: bool) -> Self {
        Self { of_one, ..self }
    }
}

impl EndpointPool {
    /// A kept connection that is still open; the warmest first.
    pub fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut kept) = idle.pop() {
            if kept.connection.stream.is_quiet() {
                kept.connection.reused = true;
                return Some(kept.connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub fn give(&self, connection: Connection, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < POOL_IDLE_PER_ENDPOINT_MAX && !connection.of_one {
            idle.push(Idle { connection, since: now });
        }
    }
}

impl Pools {
    /// The pool of an endpoint by its number.
    pub fn endpoint(&self, id: u32) -> Rc<EndpointPool> {
        self.endpoints.borrow_mut().entry(id).or_default().clone()
    }

    /// Requests in flight to an endpoint.
    pub fn load(&self, id: u32) -> u32 {
        self.endpoints.borrow().get(&id).map_or(0, |pool| pool.in_flight.get())
    }

    /// The load of a version by its number.
    pub fn version(&self, id: u32) -> Rc<VersionLoad> {
        self.versions.borrow_mut().entry(id).or_default().clone()
    }

    /// Closes what nobody used for long or the other side has closed, and forgets endpoints that
    /// nothing is known of.
    pub fn sweep(&self, now: Instant) {
        self.endpoints.borrow_mut().retain(|_, pool| {
            let mut idle = pool.idle.borrow_mut();
            idle.retain_mut(|kept| {
                now.saturating_duration_since(kept.since) < POOL_IDLE_MAX
                    && kept.connection.stream.is_quiet()
            });
            pool.h2.borrow_mut().retain(|connection| connection.is_open(now));
            let unused = idle.is_empty() && pool.h2.borrow().is_empty();
            !unused || pool.in_flight.get() > 0
        });
    }

    /// Writes the gauges into what is handed over.
    pub fn gauges(&self, counts: &mut Counts) {
        let endpoints = self.endpoints.borrow();
        counts.endpoint_in_flight =
            endpoints.iter().map(|(id, pool)| (*id, pool.in_flight.get())).collect();
        let versions = self.versions.borrow();
        counts.in_flight = versions.iter().map(|(id, load)| (*id, load.in_flight.get())).collect();
        counts.upstream_connections =
            versions.iter().map(|(id, load)| (*id, load.connections.get())).collect();
    }
}

/// One request in flight to a version and an endpoint; ends when dropped.
#[derive(Debug)]
pub struct InFlight {
    version: Rc<VersionLoad>,
    pub endpoint: Rc<EndpointPool>,
    _permit: Permit,
}

impl InFlight {
    /// Begins now.
    pub fn begin(version: Rc<VersionLoad>, endpoint: Rc<EndpointPool>, permit: Permit) -> Self {
        version.in_flight.set(version.in_flight.get() + 1);
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        Self { version, endpoint, _permit: permit }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.version.in_flight.set(self.version.in_flight.get() - 1);
        self.endpoint.in_flight.set(self.endpoint.in_flight.get() - 1);
    }
}
