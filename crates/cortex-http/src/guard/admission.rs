use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cortex_core::Context;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use super::Refused;
use crate::address::{ClientAddress, Peer};
use crate::outcome::Outcome;

/// Decides whether a request gets to its handler: a limit on rate, on concurrency, on load, a breaker.
///
/// [`Server::admission`](crate::Server::admission) takes any number; each request asks them in the order of their
/// [`stage`](Self::stage) until one refuses. The probes of the admin port ask none, nor do requests whose
/// [deadline](crate::Deadlines) is over when they come.
///
/// It decides at once and never waits: what waits here holds memory and a socket for a client that may be gone, and
/// hides the overload from the load balancer, which could send the request elsewhere. So there is no future, and what
/// is called for each request allocates nothing.
///
/// It is not a layer: a request is in flight until its response **body** has been sent, which only the service that
/// measures it knows; and it is told how that went, which is all that an adaptive limit needs.
///
/// A panic in it is answered with 500, as a handler's is.
///
/// # Examples
///
/// ```
/// use cortex_http::{Admission, AdmissionRequest, Permit, Refused};
/// use http::header::AUTHORIZATION;
///
/// /// While it is on, only those who have signed in are served.
/// struct Siege(std::sync::atomic::AtomicBool);
///
/// impl Admission for Siege {
///     fn admit(&self, request: &AdmissionRequest<'_>) -> Result<Permit, Refused> {
///         let on = self.0.load(std::sync::atomic::Ordering::Relaxed);
///         if on && !request.headers().contains_key(AUTHORIZATION) {
///             return Err(Refused::overloaded());
///         }
///         Ok(Permit::untracked())
///     }
/// }
///
/// let (head, ()) = http::Request::new(()).into_parts();
/// # use cortex_core::{Clock, SystemClock};
/// let request = AdmissionRequest::new(&head, SystemClock.now());
/// assert!(Siege(true.into()).admit(&request).is_err());
/// ```
pub trait Admission: Send + Sync + 'static {
    /// Lets the request in, or says how it is refused. Called once for a request; must not block.
    ///
    /// # Errors
    ///
    /// The request is refused.
    fn admit(&self, request: &AdmissionRequest<'_>) -> Result<Permit, Refused>;

    /// Takes back a [tracked](Permit::tracked) permit: the last byte of the response was handed over, or there will be
    /// none, because the client left, a later admission refused, the handler panicked. Called exactly once for each, on
    /// any thread.
    fn release(&self, permit: Permit, completion: &Completion) {
        let _ = (permit, completion);
    }

    /// Says when to ask it; by default with the limits of concurrency, last.
    fn stage(&self) -> AdmissionStage {
        AdmissionStage::Concurrency
    }

    /// Says how full it is, for the [metrics](crate::Server::metrics); by default nothing, as of one that does not count
    /// what is under way. Called at each scrape; must not block.
    fn occupancy(&self) -> Option<Occupancy> {
        None
    }
}

impl<T: Admission + ?Sized> Admission for Arc<T> {
    fn admit(&self, request: &AdmissionRequest<'_>) -> Result<Permit, Refused> {
        (**self).admit(request)
    }

    fn release(&self, permit: Permit, completion: &Completion) {
        (**self).release(permit, completion);
    }

    fn stage(&self) -> AdmissionStage {
        (**self).stage()
    }

    fn occupancy(&self) -> Option<Occupancy> {
        (**self).occupancy()
    }
}

/// When an [`Admission`] is asked, earliest first: what is cheap and protects everybody comes before what has to count.
///
/// # Examples
///
/// ```
/// use cortex_http::{Admission, AdmissionStage, ConcurrencyLimit, RateLimit};
/// use std::time::Duration;
///
/// assert!(AdmissionStage::LoadShed < RateLimit::new(1, Duration::from_secs(1)).stage());
/// assert!(AdmissionStage::RateLimit < ConcurrencyLimit::fixed(8).stage());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AdmissionStage {
    /// The service has too much to do, whoever asks.
    LoadShed,
    /// This client asks too often. What is refused here takes no place in the stages below.
    RateLimit,
    /// Too much is under way at once.
    Concurrency,
}

impl AdmissionStage {
    /// Returns the name that an admission of this stage has in the metrics, unless it is given another.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::LoadShed => "load_shed",
            Self::RateLimit => "rate_limit",
            Self::Concurrency => "concurrency",
        }
    }
}

/// How many requests an [`Admission`] has let in that are still under way, and how many it would.
///
/// # Examples
///
/// ```
/// use cortex_http::{Admission, ConcurrencyLimit, Occupancy};
///
/// assert_eq!(ConcurrencyLimit::fixed(8).occupancy(), Some(Occupancy::new(0, 8)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Occupancy {
    /// How many are under way.
    pub in_flight: usize,
    /// How many may be.
    pub limit: usize,
}

impl Occupancy {
    /// Makes one of both numbers.
    pub const fn new(in_flight: usize, limit: usize) -> Self {
        Self { in_flight, limit }
    }
}

/// A request's leave to run, which goes back to its [`Admission`] if that wants it back.
///
/// # Examples
///
/// ```
/// use cortex_http::Permit;
///
/// assert_eq!(Permit::tracked(7).token(), Some(7));
/// assert_eq!(Permit::untracked().token(), None);
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit lets a request in when it is returned"]
pub struct Permit(Option<u64>);

impl Permit {
    /// Makes a permit whose end does not matter.
    pub const fn untracked() -> Self {
        Self(None)
    }

    /// Makes a permit that comes back by [`Admission::release`], with a number that only its maker understands.
    ///
    /// A number and not an object: many requests hold one, and none has to allocate for it.
    pub const fn tracked(token: u64) -> Self {
        Self(Some(token))
    }

    /// Returns the number of a tracked permit.
    pub const fn token(&self) -> Option<u64> {
        self.0
    }
}

/// What an [`Admission`] may decide by: the head of a request, and where it comes from.
///
/// # Examples
///
/// ```
/// use cortex_core::{Clock, SystemClock};
/// use cortex_http::{AdmissionRequest, ClientAddress};
///
/// let (head, ()) = http::Request::get("/users/7").body(())?.into_parts();
/// let request = AdmissionRequest::new(&head, SystemClock.now())
///     .with_route("/users/{id}")
///     .with_peer("192.0.2.1:50000".parse().ok());
/// assert_eq!((request.uri().path(), request.route()), ("/users/7", "/users/{id}"));
/// assert_eq!(request.client(&ClientAddress::Peer), "192.0.2.1".parse().ok());
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug)]
pub struct AdmissionRequest<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    now: Instant,
    peer: Peer,
    route: &'a str,
    context: Context,
}

impl<'a> AdmissionRequest<'a> {
    /// Makes one of a request's head that came in at `now`: of no peer and no route, for tests.
    pub const fn new(head: &'a Parts, now: Instant) -> Self {
        Self {
            method: &head.method,
            uri: &head.uri,
            headers: &head.headers,
            now,
            peer: Peer::Unknown,
            route: "unmatched",
            context: Context::new(),
        }
    }

    /// Returns it as if it came from this address.
    #[must_use]
    pub const fn with_peer(self, peer: Option<SocketAddr>) -> Self {
        self.with_other_end(match peer {
            Some(peer) => Peer::Addr(peer),
            None => Peer::Unknown,
        })
    }

    /// Returns it as if it came over a Unix socket.
    #[must_use]
    pub const fn with_unix_peer(self) -> Self {
        self.with_other_end(Peer::Unix)
    }

    pub(crate) const fn with_other_end(self, peer: Peer) -> Self {
        Self { peer, ..self }
    }

    /// Returns it as if it were to this route.
    #[must_use]
    pub const fn with_route(self, route: &'a str) -> Self {
        Self { route, ..self }
    }

    /// Returns it as if it belonged to this trace.
    #[must_use]
    pub const fn with_context(self, context: Context) -> Self {
        Self { context, ..self }
    }

    /// Returns the method.
    pub const fn method(&self) -> &Method {
        self.method
    }

    /// Returns the target.
    pub const fn uri(&self) -> &Uri {
        self.uri
    }

    /// Returns the headers, which anybody can send.
    pub const fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// Returns the route as registered; `unmatched` if none is known.
    pub const fn route(&self) -> &str {
        self.route
    }

    /// Returns the other end of the connection, a proxy perhaps; nothing without a socket that has addresses.
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer.addr()
    }

    /// Returns the client, as far as `who` tells it from its proxies.
    pub fn client(&self, who: &ClientAddress) -> Option<IpAddr> {
        who.find(self.peer, self.headers)
    }

    /// Returns when the head was there, by the server's clock.
    pub const fn received_at(&self) -> Instant {
        self.now
    }

    /// Returns the trace that it belongs to, with its deadline.
    pub const fn context(&self) -> Context {
        self.context
    }
}

/// How a request ended that had a permit.
///
/// # Examples
///
/// ```
/// use cortex_core::{Clock, SystemClock};
/// use cortex_http::{Admission, AdmissionRequest, Completion, ConcurrencyLimit, Outcome};
/// use std::time::Duration;
///
/// let limit = ConcurrencyLimit::fixed(1);
/// let (head, ()) = http::Request::new(()).into_parts();
/// let permit = limit.admit(&AdmissionRequest::new(&head, SystemClock.now())).map_err(|refused| refused.status())?;
/// assert_eq!(limit.in_flight(), 1);
/// limit.release(permit, &Completion::new(Outcome::ClientCancel, Duration::from_millis(3)));
/// assert_eq!(limit.in_flight(), 0);
/// # Ok::<(), http::StatusCode>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completion {
    /// How it ended. [`Outcome::Shed`] and [`Outcome::RateLimited`] say that a later admission refused it: the handler
    /// never ran.
    pub outcome: Outcome,
    /// The status of the response, if there was one.
    pub status: Option<u16>,
    /// The time until the head of the response: what the service took, however slowly the client reads. Nothing if
    /// there was no response.
    pub latency: Option<Duration>,
    /// The time until the end of the response.
    pub duration: Duration,
    /// How much of the [`latency`](Self::latency), or of the duration if there was no response, the handler waited for the
    /// client to send more of the request's body: what the client took.
    pub awaited: Duration,
}

impl Completion {
    /// Makes one without a response, for tests.
    pub const fn new(outcome: Outcome, duration: Duration) -> Self {
        Self {
            outcome,
            status: None,
            latency: None,
            duration,
            awaited: Duration::ZERO,
        }
    }
}
