use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cortex_resilience::rate_limit::{Quota, QuotaTable};
use http::HeaderName;

use super::nanos::nanos;
use super::{Admission, AdmissionRequest, AdmissionStage, Permit, Refused};
use crate::address::ClientAddress;
use crate::admin::{ControlState, Controllable};

/// Serves each client so many requests in a period, and refuses more with 429 and a `Retry-After` that is exact.
///
/// Each has a bucket of tokens that fills evenly (the generic cell rate algorithm), so that there is no edge of a window
/// at which twice the rate gets through. Who a client is: by default the other end of the connection, otherwise whom
/// [`by_client`](Self::by_client), [`by_header`](Self::by_header) or [`by_key`](Self::by_key) tells apart. Behind a
/// proxy the other end is the proxy for all of them: name it there.
///
/// The memory is fixed. When there are more [`clients`](Self::clients) at once than there is room for, new ones share
/// buckets and get less; those who were there before keep theirs, and nobody's is refilled by what others do.
///
/// There are no `RateLimit` headers: the draft of the IETF for them still changes its syntax.
///
/// # Examples
///
/// ```
/// use cortex_http::{ClientAddress, RateLimit, Routes, Server, TrustedProxies};
/// use std::time::Duration;
///
/// let proxies = TrustedProxies::new(["10.0.0.0/8"])?;
/// let server = Server::new(Routes::new())
///     // Of each address 20 requests at once, and 5 a second after that.
///     .admission(RateLimit::new(5, Duration::from_secs(1)).burst(20).by_client(ClientAddress::XForwardedFor(proxies)))
///     // Of each tenant 100 sign-ins an hour, and whatever else it likes.
///     .admission(RateLimit::new(100, Duration::from_secs(3600)).by_key(|request| {
///         (request.route() == "/login").then(|| request.headers().get("x-tenant").cloned())
///     }));
/// # drop(server);
/// # Ok::<(), cortex_http::Error>(())
/// ```
pub struct RateLimit {
    count: NonZero<u32>,
    period: Duration,
    quota: Quota,
    key: Key,
    ipv6_prefix: u32,
    random: RandomState,
    buckets: QuotaTable,
    /// What the times of the buckets are counted from: the first request.
    start: OnceLock<Instant>,
    refused: AtomicU64,
}

/// How clients are told apart.
enum Key {
    Client(ClientAddress),
    Header(HeaderName),
    /// Returns the hash of the key; nothing for a request that is not limited.
    By(Box<ByKey>),
}

type ByKey = dyn Fn(&AdmissionRequest<'_>, &RandomState) -> Option<u64> + Send + Sync;

/// Room for the clients of a day or of an attack in 2.4 MB.
const CLIENTS: usize = 1 << 16;

impl RateLimit {
    /// Serves each client `count` requests in a `period`, at once or spread over it.
    ///
    /// # Panics
    ///
    /// The count or the period is zero.
    pub fn new(count: u32, period: Duration) -> Self {
        let count = not_zero(count);
        assert!(
            !period.is_zero(),
            "the period of a rate limit is zero: take a millisecond or more"
        );
        Self {
            count,
            period,
            quota: Quota::new(count, period),
            key: Key::Client(ClientAddress::Peer),
            ipv6_prefix: 64,
            random: RandomState::new(),
            buckets: QuotaTable::new(CLIENTS),
            start: OnceLock::new(),
            refused: AtomicU64::new(0),
        }
    }

    /// Serves a client that was quiet so many requests at once. Default: as many as in a period.
    ///
    /// # Panics
    ///
    /// It is zero.
    #[must_use]
    pub fn burst(mut self, requests: u32) -> Self {
        self.quota = self.quota.burst(not_zero(requests));
        self
    }

    /// Tells clients apart by address. Those of IPv6 are one where their [networks](Self::ipv6_prefix) are; those whose
    /// address is not known are one.
    #[must_use]
    pub fn by_client(mut self, client: ClientAddress) -> Self {
        self.key = Key::Client(client);
        self
    }

    /// Takes addresses of IPv6 for one client where so many bits are the same. Default 64: what a client gets is a
    /// network of that size, in which it can have any address.
    #[must_use]
    pub fn ipv6_prefix(mut self, bits: u32) -> Self {
        self.ipv6_prefix = bits.min(128);
        self
    }

    /// Tells clients apart by the value of a header; those who don't send it are one.
    ///
    /// Only as good as that header: who can make up values has a bucket for each. Take one that a gateway writes.
    #[must_use]
    pub fn by_header(mut self, name: HeaderName) -> Self {
        self.key = Key::Header(name);
        self
    }

    /// Tells clients apart by whatever this returns; who has no key is not limited.
    ///
    /// It is called for each request and should be quick. A panic in it is answered with 500.
    #[must_use]
    pub fn by_key<K: Hash>(
        mut self,
        key: impl Fn(&AdmissionRequest<'_>) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        self.key = Key::By(Box::new(move |request, random| {
            Some(random.hash_one(key(request)?))
        }));
        self
    }

    /// Makes room for about so many clients, each of which takes 37 bytes, used or not. Default 65,536.
    #[must_use]
    pub fn clients(mut self, count: usize) -> Self {
        self.buckets = QuotaTable::new(count);
        self
    }

    /// Returns how many requests were refused, whoever sent them.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn key(&self, request: &AdmissionRequest<'_>) -> Option<u64> {
        let random = &self.random;
        match &self.key {
            Key::Client(who) => {
                let client = request.client(who);
                Some(random.hash_one(client.map(|address| network(address, self.ipv6_prefix))))
            }
            Key::Header(name) => Some(random.hash_one(request.headers().get(name))),
            Key::By(key) => key(request, random),
        }
    }
}

impl Admission for RateLimit {
    fn admit(&self, request: &AdmissionRequest<'_>) -> Result<Permit, Refused> {
        if let Some(key) = self.key(request) {
            let now = request.received_at();
            let start = *self.start.get_or_init(|| now);
            let now = nanos(now.saturating_duration_since(start));
            let taken = self.buckets.take(self.quota, key, now);
            taken.map_err(|wait| {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Refused::rate_limited().retry_after(wait)
            })?;
        }
        Ok(Permit::untracked())
    }

    fn stage(&self) -> AdmissionStage {
        AdmissionStage::RateLimit
    }
}

impl Controllable for RateLimit {
    fn state(&self) -> ControlState {
        ControlState::new("admitting")
            .field("limit", self.count.get())
            .field("period", self.period)
            .field("refused", self.refused())
    }
}

fn not_zero(count: u32) -> NonZero<u32> {
    NonZero::new(count).expect("a rate limit of zero requests serves nobody: allow one or more")
}

pub(crate) fn network(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("count", &self.count)
            .field("period", &self.period)
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrustedProxies;
    use cortex_core::Clock;
    use cortex_testkit::ManualClock;

    struct Client<'a> {
        peer: &'a str,
        headers: &'a [(&'static str, &'a str)],
    }

    fn ask(limit: &RateLimit, clock: &ManualClock, client: &Client<'_>) -> Result<Permit, Refused> {
        let mut request = http::Request::builder();
        for (name, value) in client.headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let peer = client.peer.parse().ok();
        limit.admit(&AdmissionRequest::new(&head, clock.now()).with_peer(peer))
    }

    const fn at<'a>(peer: &'a str, headers: &'a [(&'static str, &'a str)]) -> Client<'a> {
        Client { peer, headers }
    }

    #[test]
    fn each_client_has_its_rate_and_hears_when_to_come_back() {
        let clock = ManualClock::new();
        let limit = RateLimit::new(2, Duration::from_secs(1)).burst(3);
        let (one, other) = (at("192.0.2.1:1", &[]), at("192.0.2.2:1", &[]));
        assert_eq!((0..9).filter(|_| ask(&limit, &clock, &one).is_ok()).count(), 3);
        let refused = ask(&limit, &clock, &one).unwrap_err();
        assert_eq!(
            refused,
            Refused::rate_limited().retry_after(Duration::from_millis(500))
        );
        assert_eq!(ask(&limit, &clock, &other), Ok(Permit::untracked()));
        clock.advance(Duration::from_millis(499));
        assert!(ask(&limit, &clock, &one).is_err());
        clock.advance(Duration::from_millis(1));
        assert!(ask(&limit, &clock, &one).is_ok() && ask(&limit, &clock, &one).is_err());
        assert_eq!(limit.stage(), AdmissionStage::RateLimit);
        let state = ControlState::new("admitting")
            .field("limit", 2_u32)
            .field("period", Duration::from_secs(1))
            .field("refused", 9_u64);
        assert_eq!(limit.state(), state);
        assert!(format!("{limit:?}").starts_with("RateLimit { count: 2, period: 1s"));
    }

    #[test]
    fn clients_are_told_apart_as_the_limit_says() {
        let proxies = TrustedProxies::new(["10.0.0.1"]).unwrap();
        let limit = || RateLimit::new(1, Duration::from_secs(9)).clients(100);
        let by_header = limit().by_header(HeaderName::from_static("x-key"));
        let by_key = limit().by_key(|request| request.headers().get("x-key").map(http::HeaderValue::len));
        let by_proxy = limit().by_client(ClientAddress::XForwardedFor(proxies));
        let wide = limit().ipv6_prefix(128);
        let cases: [(&RateLimit, Client<'_>, Client<'_>, bool); 12] = [
            (&limit(), at("192.0.2.1:1", &[]), at("192.0.2.1:2", &[]), true),
            (
                &limit(),
                at("[2001:db8::1]:1", &[]),
                at("[2001:db8::2:1]:1", &[]),
                true,
            ),
            (
                &limit(),
                at("[2001:db8::1]:1", &[]),
                at("[2001:db8:0:1::1]:1", &[]),
                false,
            ),
            (
                &limit(),
                at("[::ffff:192.0.2.1]:1", &[]),
                at("192.0.2.1:1", &[]),
                true,
            ),
            (
                &limit(),
                at("[::ffff:192.0.2.1]:1", &[]),
                at("192.0.2.2:1", &[]),
                false,
            ),
            (&limit(), at("", &[]), at("", &[]), true), // no address at all
            (
                &wide,
                at("[2001:db8::1]:1", &[]),
                at("[2001:db8::2]:1", &[]),
                false,
            ),
            (
                &by_header,
                at("192.0.2.1:1", &[("x-key", "a")]),
                at("192.0.2.2:1", &[("x-key", "a")]),
                true,
            ),
            (&by_header, at("192.0.2.1:1", &[]), at("192.0.2.2:1", &[]), true),
            (
                &by_key,
                at("192.0.2.1:1", &[("x-key", "a")]),
                at("192.0.2.2:1", &[("x-key", "b")]),
                true,
            ),
            (&by_key, at("192.0.2.1:1", &[]), at("192.0.2.1:1", &[]), false), // not limited
            (
                &by_proxy,
                at("10.0.0.1:1", &[("x-forwarded-for", "192.0.2.1")]),
                at("10.0.0.1:1", &[("x-forwarded-for", "192.0.2.2")]),
                false,
            ),
        ];
        for (limit, one, other, same) in cases {
            let clock = ManualClock::new();
            clock.advance(Duration::from_mins(1)); // past what an earlier case took
            assert!(ask(limit, &clock, &one).is_ok());
            assert_eq!(
                ask(limit, &clock, &other).is_err(),
                same,
                "{} {}",
                one.peer,
                other.peer
            );
        }
    }

    #[test]
    #[should_panic(expected = "serves nobody")]
    fn a_rate_of_nothing_is_refused() {
        let _ = RateLimit::new(0, Duration::from_secs(1));
    }
}
