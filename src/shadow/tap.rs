//! The original's side: takes a look at the request and its answer as they pass, and starts the
//! copy.
//!
//! Nothing here waits or fails. A request without a shadow pays for one look at an option.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::gate::{Gate, Permit};
use super::runner::{self, Copy, Job, Told};
use super::tee::{Queue, Queues, Tee};
use super::{Miss, eligible, is_drawn};
use crate::clock;
use crate::diff;
use crate::h1::fields::Fields;
use crate::h1::head::{Framing, RequestHead, ResponseHead};
use crate::h1::write;
use crate::limits::SHADOW_TEE_BYTES_MAX;
use crate::proxy::VERSION_FIELD;
use crate::proxy::body::BodySource;
use crate::proxy::context::RequestCx;
use crate::snapshot::{Service, Shadow};

/// What is kept of one answer.
#[derive(Debug)]
pub struct Observed {
    pub status: u16,
    pub fields: Fields,
    pub body: Kept,
    /// From the moment both were sent to the end of the head.
    pub latency: Duration,
}

impl Observed {
    /// The answer in the words of the comparison.
    pub fn answer(&self) -> diff::Answer<'_> {
        let (status, fields, latency) = (self.status, &self.fields, self.latency);
        diff::Answer { status, fields, body: self.body.as_body(), latency }
    }
}

/// The bytes of a body as long as they are few enough.
#[derive(Debug, Default)]
pub struct Kept {
    bytes: Vec<u8>,
    bytes_max: usize,
    cut: bool,
}

impl Kept {
    /// Keeps bodies of at most so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Self { bytes: Vec::new(), bytes_max, cut: false }
    }

    /// Keeps a piece more, or nothing at all once it is too much.
    pub fn push(&mut self, piece: &[u8]) {
        if self.cut {
            return;
        }
        if self.bytes.len() + piece.len() > self.bytes_max {
            self.cut = true;
            self.bytes = Vec::new();
            return;
        }
        self.bytes.extend_from_slice(piece);
    }

    /// Whether the body was longer than what is kept.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    fn as_body(&self) -> diff::Body<'_> {
        if self.cut { diff::Body::Cut } else { diff::Body::Whole(&self.bytes) }
    }
}

/// A hold on a request that is copied; empty for all others.
#[derive(Debug, Default)]
pub struct Tap(Option<Box<Primary>>);

#[derive(Debug)]
struct Primary {
    /// Where the runner waits for the original's answer.
    waiting: Option<oneshot::Sender<Result<Observed, Miss>>>,
    queues: Queues,
    shadow: Arc<Shadow>,
    began: Instant,
    observed: Option<Observed>,
}

/// Decides whether a request is copied, and starts the copy. `bytes` is the head that goes up.
pub fn tap(cx: &RequestCx, head: &RequestHead, bytes: &[u8], framing: Framing) -> Tap {
    let assigned = cx.assigned.and_then(|assigned| {
        let service = &cx.lease.snapshot.services[assigned.service];
        Some((service, service.shadow.as_ref()?, assigned.version))
    });
    let Some((service, shadow, version)) = assigned else { return Tap(None) };
    let worker = &cx.worker;
    let hub = &worker.shared.shadows;
    let gate = worker.gates.get(hub, &service.name, &shadow.rule, cx.lease.number);
    let permit = match admit(cx, head, service, shadow, version, &gate) {
        Ok(Some(permit)) => permit,
        Ok(None) => return Tap(None),
        Err(miss) => {
            gate.count(miss);
            return Tap(None);
        }
    };
    let began = clock::now();
    let copy = |version: usize| {
        let queue = (framing != Framing::None).then(|| Rc::new(Queue::new(SHADOW_TEE_BYTES_MAX)));
        Copy {
            worker: worker.clone(),
            service: service.clone(),
            version,
            head: marked(bytes, told_version(service, version)),
            framing,
            method: head.method,
            queue,
            body_bytes_max: shadow.rule.max_body,
            began,
        }
    };
    let first = copy(shadow.version);
    // Noise is measured on fewer requests when there is no room for a second copy.
    let second = shadow.secondary.filter(|place| service.versions[*place].is_usable());
    let second_permit = second.and_then(|_| gate.try_acquire(shadow.rule.max_in_flight));
    let second = second.filter(|_| second_permit.is_some()).map(copy);
    let copies = [Some(&first), second.as_ref()];
    let queues: Vec<_> = copies.into_iter().flatten().filter_map(|c| c.queue.clone()).collect();
    let (waiting, primary) = oneshot::channel();
    let job = Job {
        gate,
        permits: (permit, second_permit),
        rules: shadow.rules.clone(),
        told: told(cx, head),
        shadow: first,
        secondary: second,
        primary,
    };
    // Boxed: the runtime moves what it runs six times from its beginning to its end.
    tokio::task::spawn_local(Box::pin(runner::run(job)));
    Tap(Some(Box::new(Primary {
        waiting: Some(waiting),
        queues: (!queues.is_empty()).then(|| queues.into()),
        shadow: shadow.clone(),
        began,
        observed: None,
    })))
}

/// Leave to copy; `None` for a request that was not drawn.
fn admit(
    cx: &RequestCx,
    head: &RequestHead,
    service: &Service,
    shadow: &Shadow,
    assigned: usize,
    gate: &Gate,
) -> Result<Option<Permit>, Miss> {
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

/// The head with the mark of a copy, and perhaps a version, in front of its end.
fn marked(head: &[u8], version: Option<&[u8]>) -> Vec<u8> {
    let fields = head.strip_suffix(write::END).unwrap_or(head);
    let mut marked = Vec::with_capacity(head.len() + 64);
    marked.extend_from_slice(fields);
    if let Some(version) = version {
        write::field(&mut marked, VERSION_FIELD.as_bytes(), version);
    }
    write::field(&mut marked, super::MARK.as_bytes(), b"true");
    write::end(&mut marked);
    marked
}

fn told(cx: &RequestCx, head: &RequestHead) -> Told {
    let route = cx.route.map(|place| cx.entry.snapshot.routes.routes()[place].name.clone());
    let request = [head.method_text(), " ", head.path_and_query()].concat();
    Told { route, request, request_id: cx.request_id.as_str().to_owned() }
}

/// Notes the head of the original's answer.
pub fn observe(cx: &mut RequestCx, answer: &ResponseHead) {
    let Some(primary) = &mut cx.tap.0 else { return };
    // A later attempt may have gone elsewhere: to the shadow itself, even.
    let assigned = cx.assigned.and_then(|assigned| {
        cx.lease.snapshot.services[assigned.service].versions.get(assigned.version)
    });
    if assigned.is_none_or(|version| version.name == primary.shadow.rule.version) {
        return primary.tell(Err(Miss::SameVersion));
    }
    primary.observed = Some(Observed {
        status: answer.status,
        fields: answer.fields.clone(),
        body: Kept::new(primary.shadow.rule.max_body),
        latency: clock::now().saturating_duration_since(primary.began),
    });
}

impl Tap {
    /// The request body, copied as it is taken.
    pub fn tee<'a>(&self, source: &'a mut dyn BodySource) -> Tee<'a> {
        let queues = self.0.as_ref().and_then(|primary| primary.queues.clone());
        Tee::new(source, queues)
    }

    /// Notes a piece of the original's answer.
    pub fn piece(&mut self, piece: &[u8]) {
        let Some(primary) = &mut self.0 else { return };
        match &primary.waiting {
            Some(waiting) if !waiting.is_closed() => {}
            // Nobody wants it: the copy has failed.
            _ => return,
        }
        if let Some(observed) = &mut primary.observed {
            observed.body.push(piece);
        }
    }

    /// The original's answer is complete.
    pub fn complete(&mut self) {
        if let Some(primary) = &mut self.0 {
            let observed = primary.observed.take();
            primary.tell(observed.ok_or(Miss::PrimaryIncomplete));
        }
    }
}

impl Primary {
    fn tell(&mut self, observed: Result<Observed, Miss>) {
        for queue in self.queues.iter().flat_map(|queues| queues.iter()) {
            queue.give_up(Miss::PrimaryIncomplete);
        }
        if let Some(waiting) = self.waiting.take() {
            // The runner does not wait any more when the copy has failed.
            let _ = waiting.send(observed);
        }
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        self.tell(Err(Miss::PrimaryIncomplete));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_that_it_is_one_and_is_else_the_same() {
        let head = b"GET /a?b HTTP/1.1\r\nhost: shop\r\n\r\n";
        let expect = b"GET /a?b HTTP/1.1\r\nhost: shop\r\nx-tidegate-shadow: true\r\n\r\n";
        assert_eq!(marked(head, None), expect);
        let told = b"GET /a?b HTTP/1.1\r\nhost: shop\r\nx-tidegate-version: green\r\n\
            x-tidegate-shadow: true\r\n\r\n";
        assert_eq!(marked(head, Some(b"green")), told);
    }

    #[test]
    fn a_body_is_kept_whole_or_not_at_all() {
        let cases: &[(u64, &[&str], Option<&str>)] = &[
            (4, &[], Some("")),
            (4, &["ab", "cd"], Some("abcd")),
            (4, &["ab", "cde"], None),
            (4, &["abcde", "f"], None),
            (0, &["a"], None),
            (u64::MAX, &["a", "b"], Some("ab")),
        ];
        for (bytes_max, pieces, expect) in cases {
            let mut kept = Kept::new(*bytes_max);
            for piece in *pieces {
                kept.push(piece.as_bytes());
            }
            match (kept.as_body(), expect) {
                (diff::Body::Whole(body), Some(expect)) => assert_eq!(body, expect.as_bytes()),
                (diff::Body::Cut, None) => assert_eq!(kept.bytes.capacity(), 0),
                (body, expect) => panic!("{body:?} instead of {expect:?}"),
            }
        }
    }
}
