//! Who takes part in a comparison, and how is each started?

use std::io;
use std::net::SocketAddr;

use super::Context;
use crate::proxies::copier::Copier;
use crate::proxies::peers::{Peer, RunningPeer};
use crate::proxies::tidegate::{Setup, Tidegate};
use crate::proxies::work::Work;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The backend without a proxy: what load and backends could do at most.
    Direct,
    /// What only copies: what a proxy costs at least.
    Copier,
    /// Tidegate.
    Tidegate,
    /// Another build of it.
    Beside,
    /// Another proxy.
    Peer(Peer),
}

impl Who {
    /// All, in the order in which they are shown.
    pub fn all() -> impl Iterator<Item = Who> {
        let ours = [Who::Direct, Who::Copier, Who::Tidegate, Who::Beside].into_iter();
        ours.chain(Peer::ALL.into_iter().map(Who::Peer))
    }

    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Who::Direct => "direct",
            Who::Copier => "copier",
            Who::Tidegate => "tidegate",
            Who::Beside => "beside",
            Who::Peer(peer) => peer.name(),
        }
    }

    /// Whether it is there to compare proxies with, and is none.
    pub fn is_measure(self) -> bool {
        matches!(self, Who::Direct | Who::Copier)
    }

    /// Whether it can send a copy of every request to a shadow.
    pub fn mirrors(self) -> bool {
        match self {
            Who::Direct | Who::Copier => false,
            Who::Tidegate | Who::Beside => true,
            Who::Peer(peer) => peer.mirrors(),
        }
    }

    /// Whether it speaks HTTP/2 to upstreams.
    pub fn speaks_streams_up(self) -> bool {
        match self {
            Who::Direct | Who::Copier => false,
            Who::Tidegate | Who::Beside => true,
            Who::Peer(peer) => peer.speaks_streams_up(),
        }
    }

    /// Starts it with one worker on a core of its own.
    pub fn start(self, context: &Context, work: &Work<'_>) -> io::Result<Subject> {
        match self {
            Who::Direct => Ok(Subject::Direct(work.blue)),
            Who::Copier => Copier::start(work.blue).map(Subject::Copier),
            Who::Tidegate | Who::Beside => {
                let beside = context.beside.as_ref().filter(|_| self == Who::Beside);
                let binary = beside.unwrap_or(&context.tidegate);
                Tidegate::start(binary, &Setup::of(work), true).map(Subject::Tidegate)
            }
            Who::Peer(peer) => peer.start(work, true).map(Subject::Peer),
        }
    }
}

/// Something running that takes requests.
pub enum Subject {
    /// A backend.
    Direct(SocketAddr),
    /// What only copies.
    Copier(Copier),
    /// Tidegate.
    Tidegate(Tidegate),
    /// Another proxy.
    Peer(RunningPeer),
}

impl Subject {
    /// Where it takes requests.
    pub fn listener(&self) -> SocketAddr {
        match self {
            Subject::Direct(address) => *address,
            Subject::Copier(copier) => copier.listener,
            Subject::Tidegate(tidegate) => tidegate.listener,
            Subject::Peer(peer) => peer.listener,
        }
    }

    /// Its processes; none for a backend, which lives in this one.
    pub fn pids(&mut self) -> Vec<u32> {
        match self {
            Subject::Direct(_) => Vec::new(),
            Subject::Copier(copier) => copier.process.pids(),
            Subject::Tidegate(tidegate) => tidegate.process().pids(),
            Subject::Peer(peer) => peer.process.pids(),
        }
    }
}
