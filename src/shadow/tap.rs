//! The original's side: takes a look at the request and its answer as they pass, and starts the
//! copy.
//!
//! Nothing here waits or fails. A request without a shadow pays for one look at an option.

use std::rc::Rc;

use super::answer::{Kept, Observed};
use super::gate::Permit;
use super::meeting::Meeting;
use super::mirror::Mirror;
use super::runner::{self, Copy, Job, Told};
use super::tee::{Queue, Queues, Tee};
use super::{Miss, eligible, is_drawn};
use crate::clock;
use crate::h1::head::{Framing, RequestHead, ResponseHead};
use crate::h1::write;
use crate::limits::SHADOW_TEE_BYTES_MAX;
use crate::proxy::VERSION_FIELD;
use crate::proxy::body::BodySource;
use crate::proxy::context::RequestCx;
use crate::snapshot::Service;

/// A hold on a request that is copied; empty for all others.
#[derive(Debug, Default)]
pub struct Tap(Option<Primary>);

#[derive(Debug)]
struct Primary {
    /// Where the runner takes the original's answer.
    meeting: Rc<Meeting>,
    mirror: Rc<Mirror>,
    queues: Queues,
}

/// Decides whether a request is copied, and starts the copy. `bytes` is the head that goes up.
pub fn tap(cx: &RequestCx, head: &RequestHead, bytes: &[u8], framing: Framing) -> Tap {
    let assigned = cx.assigned.and_then(|assigned| {
        let service = &cx.lease.snapshot.services[assigned.service];
        Some((service, service.shadow.as_ref()?, assigned.version))
    });
    let Some((service, shadow, version)) = assigned else { return Tap(None) };
    let worker = &cx.worker;
    let mirror = worker.mirrors.get(&worker.shared.shadows, service, shadow, cx.lease.number);
    let gate = &mirror.gate;
    let permit = match admit(cx, head, &mirror, version) {
        Ok(Some(permit)) => permit,
        Ok(None) => return Tap(None),
        Err(miss) => {
            gate.count(miss);
            return Tap(None);
        }
    };
    let copy = |version: usize| {
        let queue = (framing != Framing::None).then(|| Rc::new(Queue::new(SHADOW_TEE_BYTES_MAX)));
        let mut marked = worker.buffers.take_head();
        mark(&mut marked, bytes, told_version(service, version));
        Copy {
            worker: worker.clone(),
            mirror: mirror.clone(),
            version,
            head: marked,
            framing,
            method: head.method,
            queue,
            began: cx.began(),
        }
    };
    let first = copy(shadow.version);
    // Noise is measured on fewer requests when there is no room for a second copy.
    let second = shadow.secondary.filter(|place| service.versions[*place].is_usable());
    let second_permit = second.and_then(|_| gate.try_acquire(shadow.rule.max_in_flight));
    let second = second.filter(|_| second_permit.is_some()).map(copy);
    let copies = [Some(&first), second.as_ref()];
    let queues: Vec<_> = copies.into_iter().flatten().filter_map(|c| c.queue.clone()).collect();
    let meeting = Rc::new(Meeting::default());
    let job = Job {
        permits: (permit, second_permit),
        told: told(cx, head),
        shadow: first,
        secondary: second.map(Box::new),
        meeting: meeting.clone(),
    };
    // Boxed: the runtime moves what it runs six times from its beginning to its end.
    tokio::task::spawn_local(Box::pin(runner::run(job)));
    let queues = (!queues.is_empty()).then(|| queues.into());
    Tap(Some(Primary { meeting, mirror, queues }))
}

/// Leave to copy; `None` for a request that was not drawn.
fn admit(
    cx: &RequestCx,
    head: &RequestHead,
    mirror: &Mirror,
    assigned: usize,
) -> Result<Option<Permit>, Miss> {
    let Mirror { service, shadow, gate } = mirror;
    eligible(shadow, head.method, head.websocket, assigned)?;
    if !is_drawn(shadow.rule.share_ppm, cx.worker.entropy()) {
        return Ok(None);
    }
    if !service.versions[shadow.version].is_usable() {
        return Err(Miss::NoEndpoint);
    }
    if gate.is_resting(clock::process_ms(cx.arrived)) {
        return Err(Miss::Resting);
    }
    gate.try_acquire(shadow.rule.max_in_flight).map(Some).ok_or(Miss::InFlight)
}

/// The version that an upstream of the service is told it was chosen as, if it is told any.
fn told_version(service: &Service, version: usize) -> Option<&[u8]> {
    let name = service.versions[version].name.as_str();
    service.plan.policy.upstream_version_header.then_some(name.as_bytes())
}

/// Writes the head with the mark of a copy, and perhaps a version, in front of its end.
fn mark(out: &mut Vec<u8>, head: &[u8], version: Option<&[u8]>) {
    out.extend_from_slice(head.strip_suffix(write::END).unwrap_or(head));
    if let Some(version) = version {
        write::field(out, VERSION_FIELD.as_bytes(), version);
    }
    write::field(out, super::MARK.as_bytes(), b"true");
    write::end(out);
}

fn told(cx: &RequestCx, head: &RequestHead) -> Told {
    let route = cx.route.map(|place| cx.entry.snapshot.routes.routes()[place].name.clone());
    Told::new(route, head.method_text(), head.path_and_query(), cx.request_id.as_str())
}

/// Notes the head of the original's answer.
pub fn observe(cx: &RequestCx, answer: &ResponseHead) {
    let Some(primary) = &cx.tap.0 else { return };
    let rule = &primary.mirror.shadow.rule;
    // A later attempt may have gone elsewhere: to the shadow itself, even.
    let assigned = cx.assigned.and_then(|assigned| {
        cx.lease.snapshot.services[assigned.service].versions.get(assigned.version)
    });
    if assigned.is_none_or(|version| version.name == rule.version) {
        return primary.give_up(Miss::SameVersion);
    }
    let answered = cx.upstream_answered.unwrap_or_else(clock::now);
    primary.meeting.observe(Observed {
        status: answer.status,
        fields: answer.fields.clone(),
        body: Kept::new(rule.max_body),
        latency: answered.saturating_duration_since(cx.began()),
    });
}

impl Tap {
    /// The request body, copied as it is taken.
    pub fn tee<'a>(&self, source: &'a mut dyn BodySource) -> Tee<'a> {
        let queues = self.0.as_ref().and_then(|primary| primary.queues.clone());
        Tee::new(source, queues)
    }

    /// Notes a piece of the original's answer.
    pub fn piece(&self, piece: &[u8]) {
        let Some(Primary { meeting, .. }) = &self.0 else { return };
        // Without a runner the copy has failed, and nobody wants it.
        if Rc::strong_count(meeting) > 1 {
            meeting.piece(piece);
        }
    }

    /// The original's answer is complete.
    pub fn complete(&self) {
        if let Some(primary) = &self.0 {
            primary.meeting.complete();
            primary.cut_short();
        }
    }
}

impl Primary {
    fn give_up(&self, miss: Miss) {
        self.meeting.give_up(miss);
        self.cut_short();
    }

    /// No more of the request's body comes: a copy that has not got all of it is void.
    fn cut_short(&self) {
        for queue in self.queues.iter().flat_map(|queues| queues.iter()) {
            queue.give_up(Miss::PrimaryIncomplete);
        }
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        self.give_up(Miss::PrimaryIncomplete);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_that_it_is_one_and_is_else_the_same() {
        let marked = |version| {
            let mut marked = Vec::new();
            mark(&mut marked, b"GET /a?b HTTP/1.1\r\nhost: shop\r\n\r\n", version);
            String::from_utf8(marked).unwrap()
        };
        let expect = "GET /a?b HTTP/1.1\r\nhost: shop\r\nx-tidegate-shadow: true\r\n\r\n";
        assert_eq!(marked(None), expect);
        let told = "GET /a?b HTTP/1.1\r\nhost: shop\r\nx-tidegate-version: green\r\n\
            x-tidegate-shadow: true\r\n\r\n";
        assert_eq!(marked(Some(b"green")), told);
    }
}
