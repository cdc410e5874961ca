use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

/// How many connections each peer has; no more entries than connections are open.
type Counts = Mutex<HashMap<IpAddr, u32, foldhash::fast::RandomState>>;

/// Counts the connections of each peer, so that one cannot take them all.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    open: Arc<Counts>,
}

impl Peers {
    /// Takes a place for a connection of this peer; `None` if it has as many as it may.
    pub(crate) fn admit(&self, peer: SocketAddr, most: u32) -> Option<Place> {
        let network = network(peer.ip());
        let mut open = lock(&self.open);
        let count = open.entry(network).or_insert(0);
        if *count >= most {
            return None; // not zero: `most` is not
        }
        *count += 1;
        let open = Arc::clone(&self.open);
        Some(Place { open, network })
    }
}

fn lock(open: &Counts) -> MutexGuard<'_, HashMap<IpAddr, u32, foldhash::fast::RandomState>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of an open connection, which is free when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    open: Arc<Counts>,
    network: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.network);
            }
        }
    }
}

/// Returns what counts as one peer: an address of IPv4, or the /64 of IPv6 that a single customer is given.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().expect("it is an address"), 1)
    }

    #[test]
    fn a_peer_has_so_many_places_and_leaves_nothing_behind() {
        let peers = Peers::default();
        let first = peers.admit(peer("192.0.2.1"), 2).unwrap();
        let second = peers.admit(peer("::ffff:192.0.2.1"), 2).unwrap();
        assert!(peers.admit(peer("192.0.2.1"), 2).is_none());
        assert!(peers.admit(peer("192.0.2.2"), 2).is_some());
        drop(first);
        assert!(peers.admit(peer("192.0.2.1"), 2).is_some());
        drop(second);
        assert!(lock(&peers.open).is_empty());
    }

    #[test]
    fn the_addresses_of_one_customer_are_one_peer() {
        let peers = Peers::default();
        let _first = peers.admit(peer("2001:db8::1"), 1).unwrap();
        assert!(peers.admit(peer("2001:db8::ffff:2"), 1).is_none());
        assert!(peers.admit(peer("2001:db8:0:1::1"), 1).is_some());
    }
}
