use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who guesses tokens is told to wait, and, by an account of its own, is not logged any more for a while.
///
/// Each address may be wrong [`BURST`] times, and once every [`PAUSE`] after that. It says nothing of who has a right
/// token: the shortest of them has 16 characters, more than can be guessed, while others may share the address of who
/// guesses. The table is bounded. An address is never forgotten before its time, or many addresses would make room for
/// each other: those that find no room share one account.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Until when all that an address did wrong is forgotten.
    known: HashMap<IpAddr, Instant>,
    others: Option<Instant>,
}

/// Wrong tokens that are no guessing yet: somebody exchanges a secret.
const BURST: u32 = 10;
/// How long one of them counts.
const PAUSE: Duration = Duration::from_secs(6);
/// The most addresses that are told apart.
const ADDRESSES: usize = 1024;

impl Guesses {
    /// Returns for how long an address has to wait, if it has guessed too much.
    pub(super) fn refused(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = match table.known.get(&network(peer)) {
            Some(until) => *until,
            None if table.known.len() < ADDRESSES => return None,
            None => table.others?,
        };
        let left = until.saturating_duration_since(now);
        let tolerated = PAUSE * (BURST - 1);
        let wait = left.saturating_sub(tolerated);
        (!wait.is_zero()).then_some(wait)
    }

    /// Counts a wrong token.
    pub(super) fn wrong(&self, peer: IpAddr, now: Instant) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Table { known, others } = &mut *table;
        let peer = network(peer);
        if known.len() >= ADDRESSES && !known.contains_key(&peer) {
            known.retain(|_, until| *until > now);
        }
        let until = if known.len() < ADDRESSES || known.contains_key(&peer) {
            known.entry(peer).or_insert(now)
        } else {
            others.get_or_insert(now)
        };
        *until = (*until).max(now) + PAUSE;
    }
}

/// Returns who is counted as one: all addresses of a /64 are one client's to choose (RFC 6177).
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_core::{Clock, SystemClock};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ten_are_free_and_then_one_every_six_seconds() {
        let (guesses, now) = (Guesses::default(), SystemClock.now());
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..BURST {
            assert_eq!(guesses.refused(peer, now), None);
            guesses.wrong(peer, now);
        }
        assert_eq!(guesses.refused(peer, now), Some(PAUSE));
        assert_eq!(
            guesses.refused("::ffff:192.0.2.1".parse().unwrap(), now),
            Some(PAUSE)
        );
        assert_eq!(guesses.refused("192.0.2.2".parse().unwrap(), now), None);
        assert_eq!(guesses.refused(peer, now + 5 * SECOND), Some(SECOND));
        assert_eq!(guesses.refused(peer, now + PAUSE), None);
        guesses.wrong(peer, now + PAUSE);
        assert_eq!(guesses.refused(peer, now + PAUSE), Some(PAUSE));
        assert_eq!(guesses.refused(peer, now + PAUSE * (BURST + 2)), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let (guesses, now) = (Guesses::default(), SystemClock.now());
        for host in 0..BURST {
            let peer = format!("2001:db8::{host:x}").parse().unwrap();
            guesses.wrong(peer, now);
        }
        assert!(guesses.refused("2001:db8::ffff".parse().unwrap(), now).is_some());
        assert!(guesses.refused("2001:db8:0:1::1".parse().unwrap(), now).is_none());
    }

    #[test]
    fn many_addresses_do_not_make_each_other_forgotten_and_take_no_more_room() {
        let (guesses, now) = (Guesses::default(), SystemClock.now());
        let first: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..BURST {
            guesses.wrong(first, now);
        }
        for address in 0..4 * ADDRESSES {
            let [.., c, d] = address.to_be_bytes();
            guesses.wrong(IpAddr::from([10, 0, c, d]), now);
        }
        assert_eq!(guesses.0.lock().unwrap().known.len(), ADDRESSES);
        assert!(guesses.refused(first, now).is_some());
        assert!(
            guesses.refused("198.51.100.1".parse().unwrap(), now).is_some(),
            "those without room share an account"
        );
        let later = now + PAUSE * (4 * 1024 + 1);
        let newcomer: IpAddr = "198.51.100.1".parse().unwrap();
        assert!(guesses.refused(newcomer, later).is_none());
        guesses.wrong(newcomer, later);
        assert_eq!(
            guesses.0.lock().unwrap().known.len(),
            1,
            "what is over is forgotten"
        );
    }
}
