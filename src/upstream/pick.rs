//! Choose an endpoint among those that can take a request: the less busy of two drawn at random.

use super::{Slot, Version};

/// The place of the endpoint to ask. `entropy` is uniform; `now_ms`, asked only where there is a choice,
/// is the process clock; `load` gives the requests in flight by endpoint number; `skip` is an endpoint
/// that has just failed this request and is taken only if there is no other. An ejected endpoint is
/// taken only when every healthy one is ejected: an ejection never takes the last. One that has as many
/// requests as it may is never taken.
pub fn pick(
    version: &Version,
    entropy: u64,
    now_ms: impl Fn() -> u64,
    skip: Option<u32>,
    load: impl Fn(u32) -> u32,
) -> Option<usize> {
    let open = |slot: &Slot| !slot.draining && slot.endpoint.is_healthy() && version.fits(slot);
    let count = version.endpoints.len();
    if count == 1 {
        return open(&version.endpoints[0]).then_some(0);
    }
    if count == 0 {
        return None;
    }
    // One that starts slowly is passed over by the part of the requests that it should not get. The
    // bits are mixed, so that it is not always the same places that they fall on.
    let (slow_start, now_ms) = (version.plan.bounds.slow_start, now_ms());
    let draw = entropy.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
    let good = |slot: &Slot| {
        open(slot)
            && !slot.endpoint.is_ejected(now_ms)
            && Some(slot.endpoint.id) != skip
            && draw < slot.endpoint.share(now_ms, slow_start)
    };
    let first = scan(&version.endpoints, entropy as u32, good);
    let second = scan(&version.endpoints, (entropy >> 32) as u32, good);
    let less_busy = first.zip(second).map(|(first, second)| {
        let load = |place: usize| load(version.endpoints[place].endpoint.id);
        if load(second) < load(first) { second } else { first }
    });
    less_busy
        .or_else(|| {
            let other = |slot: &Slot| open(slot) && Some(slot.endpoint.id) != skip;
            scan(&version.endpoints, entropy as u32, other)
        })
        .or_else(|| scan(&version.endpoints, entropy as u32, open))
}

/// The first slot that is `good`, from a random place on, so that cost is flat while most are.
fn scan(slots: &[Slot], entropy: u32, good: impl Fn(&Slot) -> bool) -> Option<usize> {
    let count = slots.len();
    let start = ((u64::from(entropy) * count as u64) >> 32) as usize;
    (0..count).map(|step| (start + step) % count).find(|place| good(&slots[*place]))
}
