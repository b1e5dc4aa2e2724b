//! How many connections each client has, on all workers together.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use crate::limits::CLIENT_V6_BITS_MAX;

/// Connections by client; only clients that have one are in it.
#[derive(Debug, Default)]
pub struct Crowd(Mutex<FxHashMap<IpAddr, u32>>);

/// A connection of a client, counted as long as it lives.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    client: IpAddr,
}

impl Crowd {
    /// Counts one more connection of `client`, unless it has `max` already.
    pub fn enter(self: &Arc<Self>, client: IpAddr, max: u32) -> Option<Place> {
        let client = one_client(client);
        let mut counts = self.lock();
        let count = counts.entry(client).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place { crowd: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<IpAddr, u32>> {
        // Nothing panics while the lock is held, so that a poisoned one still holds whole values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.lock();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// The address that stands for a client: its own, or the network that a subscriber of IPv6 is
/// given, in which it has more addresses than could be counted.
pub fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => {
            let mask = u128::MAX << (128 - u32::from(CLIENT_V6_BITS_MAX));
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_so_many_and_leaves_nothing_behind() {
        let crowd = Arc::new(Crowd::default());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = crowd.enter(ip("192.0.2.1"), 2).unwrap();
        let two = crowd.enter(ip("::ffff:192.0.2.1"), 2).unwrap();
        assert!(crowd.enter(ip("192.0.2.1"), 2).is_none());
        let other = crowd.enter(ip("192.0.2.2"), 2).unwrap();
        drop(one);
        let again = crowd.enter(ip("192.0.2.1"), 2).unwrap();
        drop((two, other, again));
        assert!(crowd.lock().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(one_client(ip("2001:db8:1:2::3")), one_client(ip("2001:db8:1:2:ffff::")));
        assert_ne!(one_client(ip("2001:db8:1:2::3")), one_client(ip("2001:db8:1:3::3")));
    }
}
