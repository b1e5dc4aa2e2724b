//! The data plane: what happens to one request, top to bottom.
//!
//! Numbers are those of the journey in ARCHITECTURE.md. This file decides *order* only; decisions
//! live in `route`, `split` and `assign`, bytes in `admit`, `forward` and `respond`.

mod admit;
pub(crate) mod alarm;
mod assign;
pub(crate) mod attempt;
pub(crate) mod body;
mod budget;
pub(crate) mod buffers;
mod client;
mod connecting;
mod connection;
pub(crate) mod context;
mod cork;
pub mod counters;
mod crowd;
pub mod error;
pub(crate) mod exchange;
mod fields_h2;
mod forward;
mod greet;
pub mod grpc;
mod hold;
mod http2;
pub mod listener;
mod memo;
pub(crate) mod pool;
pub mod rate;
pub mod recent;
pub mod record;
pub mod reply;
mod respond;
pub(crate) mod shared_h2;
mod template;
mod tunnel;
mod turn;
pub(crate) mod upstream_h2;
mod websocket;
mod window;
pub mod worker;

pub use self::admit::{Arrival, client_of, upstream_head};
pub use self::assign::{Choice, choose_by, id_text};

use self::context::{Assigned, RequestCx};
use self::error::{ProxyError, Reason};
use self::listener::Seat;
use crate::clock;
use crate::h1::head::{Framing, RequestHead};
use crate::route::Action;
use crate::route::matcher::RequestView;
use crate::shadow;

/// The field that names a version, to clients and, where it is wanted, to upstreams.
pub const VERSION_FIELD: &str = "x-tidegate-version";

/// What is to be done with a request.
#[derive(Debug)]
enum Decision {
    /// Send this head up, and the body framed so behind it.
    Forward { bytes: Vec<u8>, framing: Framing },
    /// Answer with a redirect.
    Redirect { status: u16, location: String },
}

/// Finds the route and the version of a request, whatever protocol it came by.
///
/// Waits only while the service holds its requests; from the lease that is taken after that to the
/// choice there is no await.
async fn decide(
    cx: &mut RequestCx,
    head: &RequestHead,
    seat: &Seat,
    max_body: Option<u64>,
) -> Result<Decision, ProxyError> {
    let view = RequestView::from(head);
    if !cx.worker.has_room() {
        return Err(ProxyError::new(Reason::BuffersFull));
    }
    if !seat.is_for(head.host()) {
        return Err(ProxyError::new(Reason::Misdirected));
    }
    if let (Framing::Length(length), Some(max)) = (head.framing, max_body)
        && length > max
    {
        return Err(ProxyError::new(Reason::BodyTooLarge));
    }
    let entry = cx.entry.clone();
    let found = entry.snapshot.routes.find(&view).ok_or(ProxyError::new(Reason::NoRoute))?; // 4
    cx.route = Some(found.index);
    rate::check(cx, found.route, head)?;
    let place = match &found.route.action {
        Action::Redirect(redirect) => {
            let scheme = seat.listener.scheme();
            let authority = head.authority();
            let prefix = found.matched_prefix;
            let location = redirect.location(scheme, authority, head.path(), head.query(), prefix);
            return Ok(Decision::Redirect { status: redirect.status, location });
        }
        Action::Forward { index, .. } => *index,
    };
    // Borrowed from the lease: cloning what workers share would make them wait for each other.
    let service = &entry.snapshot.services[place];
    let mut place = place;
    if service.hold.is_some() {
        hold::wait(&cx.worker, service, head.method).await?;
        cx.lease = cx.worker.lease();
        cx.upstream_began = Some(clock::now());
        let gone = ProxyError::new(Reason::NoRoute);
        place = cx.lease.snapshot.place_of(&service.name).ok_or(gone)?;
    }
    let service = &cx.lease.snapshot.services[place];
    cx.worker.budgets.earn(&service.name);
    let choice = assign::choose(&cx.worker, service, &view, cx.client, None); // 5
    let choice = choice.map_err(ProxyError::new)?;
    cx.new_cohort = choice.new_cohort;
    cx.assigned = Some(Assigned { service: place, version: choice.version, cause: choice.cause });
    let refused = (!choice.usable).then(|| assign::unusable(&service.versions[choice.version]));
    cx.note_trial();
    if let Some(reason) = refused {
        return Err(ProxyError::new(reason));
    }
    let framing = match head.framing {
        Framing::Length(0) => Framing::None,
        framing => framing,
    };
    let mut bytes = cx.worker.buffers.take_head();
    let arrival = Arrival {
        edge: &cx.entry.snapshot.edge,
        peer: seat.peer_ip(),
        scheme: seat.listener.scheme(),
        request_id: cx.request_id.as_bytes(),
        client_cert: seat.client_cert(),
        random: &|| cx.worker.entropy(),
    };
    upstream_head(&mut bytes, arrival, head, &found, framing); // 3: what goes up
    cx.tap = shadow::tap(cx, head, &bytes, framing); // 6: never waits, never fails
    Ok(Decision::Forward { bytes, framing })
}
