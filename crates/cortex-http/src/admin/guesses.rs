use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZero;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cortex_resilience::rate_limit::{Quota, QuotaTable};

use crate::guard::{nanos, network};

/// Who guesses tokens is told to wait, and, by an account of its own, is not logged any more for a while.
///
/// Each address may be wrong [`BURST`] times, and once every [`PAUSE`] after that. It says nothing of who has a right
/// token: the shortest of them has 16 characters, more than can be guessed, while others may share the address of who
/// guesses. The accounts are those of a [`RateLimit`](crate::RateLimit), bounded, and nobody's is forgotten before its time.
#[derive(Debug)]
pub(super) struct Guesses {
    quota: Quota,
    buckets: QuotaTable,
    random: RandomState,
    /// What times are counted from.
    start: OnceLock<Instant>,
}

/// Wrong tokens that are no guessing yet: somebody exchanges a secret.
const BURST: NonZero<u32> = NonZero::new(10).expect("not zero");
/// How long one of them counts.
const PAUSE: Duration = Duration::from_secs(6);
/// For how many addresses at once there is an account of their own.
const ADDRESSES: usize = 256;

impl Guesses {
    /// Counts a wrong token; or says for how long the address has to wait, if it has guessed too much.
    pub(super) fn wrong(&self, peer: IpAddr, now: Instant) -> Result<(), Duration> {
        let start = *self.start.get_or_init(|| now);
        let now = nanos(now.saturating_duration_since(start));
        // All addresses of a /64 are one client's to choose (RFC 6177).
        let key = self.random.hash_one(network(peer.to_canonical(), 64));
        self.buckets.take(self.quota, key, now)
    }
}

impl Default for Guesses {
    fn default() -> Self {
        Self {
            quota: Quota::new(NonZero::<u32>::MIN, PAUSE).burst(BURST),
            buckets: QuotaTable::new(ADDRESSES),
            random: RandomState::new(),
            start: OnceLock::new(),
        }
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
        for _ in 0..BURST.get() {
            assert_eq!(guesses.wrong(peer, now), Ok(()));
        }
        assert_eq!(guesses.wrong(peer, now), Err(PAUSE));
        assert_eq!(
            guesses.wrong("::ffff:192.0.2.1".parse().unwrap(), now),
            Err(PAUSE)
        );
        assert_eq!(guesses.wrong("192.0.2.2".parse().unwrap(), now), Ok(()));
        assert_eq!(guesses.wrong(peer, now + 5 * SECOND), Err(SECOND));
        assert_eq!(guesses.wrong(peer, now + PAUSE), Ok(()));
        assert_eq!(guesses.wrong(peer, now + PAUSE), Err(PAUSE));
        assert_eq!(guesses.wrong(peer, now + PAUSE * 12), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let (guesses, now) = (Guesses::default(), SystemClock.now());
        for host in 0..BURST.get() {
            let peer = format!("2001:db8::{host:x}").parse().unwrap();
            guesses.wrong(peer, now).unwrap();
        }
        assert!(guesses.wrong("2001:db8::ffff".parse().unwrap(), now).is_err());
        assert!(guesses.wrong("2001:db8:0:1::1".parse().unwrap(), now).is_ok());
    }

    #[test]
    fn many_addresses_do_not_make_each_other_forgotten() {
        let (guesses, now) = (Guesses::default(), SystemClock.now());
        let first: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..BURST.get() {
            guesses.wrong(first, now).unwrap();
        }
        for address in 0..16 * ADDRESSES {
            let [.., c, d] = address.to_be_bytes();
            let _ = guesses.wrong(IpAddr::from([10, 0, c, d]), now);
        }
        let newcomer = "198.51.100.1".parse().unwrap();
        assert!(guesses.wrong(first, now).is_err());
        assert!(
            guesses.wrong(newcomer, now).is_err(),
            "those without room share an account"
        );
        assert!(guesses.wrong(newcomer, now + PAUSE * 12).is_ok());
    }
}
