use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use cortex_compress::Compressor;
use cortex_core::{Clock, Deadline};
use cortex_trace::Tracer;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::AccessLog;
use crate::address::{Addresses, Peer};
use crate::guard::Guards;
use crate::lifecycle::{Closing, Phase, PhaseCell};
use crate::limits::Limits;
use crate::listen::Reloads;
use crate::metrics::{HttpMetrics, method_name};
use crate::report::Cut;
use crate::request_id::RequestIds;
use crate::serve::{Peers, Protocol};
use crate::table::RouteTable;
#[cfg(feature = "tls")]
use crate::tls::ClientCertificate;

/// What all connections of a service share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) table: RouteTable,
    pub(crate) metrics: Option<HttpMetrics>,
    pub(crate) tracer: Tracer,
    pub(crate) addresses: Addresses,
    pub(crate) access: AccessLog,
    pub(crate) compressor: Compressor,
    pub(crate) request_ids: RequestIds,
    pub(crate) phase: PhaseCell,
    /// No new connection; those that are open end after their requests.
    pub(crate) no_more: CancellationToken,
    /// Tells the application of `no_more`; other servers may fire it too.
    pub(crate) closing: Closing,
    /// Every connection ends now.
    pub(crate) kill: CancellationToken,
    /// For how long an idle HTTP/1 connection is left open when the service closes.
    pub(crate) linger: Duration,
    /// Streams of events end when the service closes.
    pub(crate) end_event_streams: bool,
    pub(crate) tasks: TaskTracker,
    pub(crate) tally: Tally,
    pub(crate) guards: Guards,
    /// The connections of each peer, where they are limited.
    pub(crate) peers: Peers,
    /// Where what is to be random comes from.
    pub(crate) seed: RandomState,
    /// The certificates that are looked at from time to time.
    pub(crate) reloads: Reloads,
}

impl Shared {
    /// Returns a number that nobody can foresee, another one for each connection.
    pub(crate) fn random(&self, connection: u64) -> u64 {
        self.seed.hash_one(connection)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("limits", &self.limits)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// What the exit report tells, written when connections end.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) cut_total: AtomicU64,
    cut: Mutex<Vec<Cut>>,
}

/// How many cut requests the report names.
const CUT_SHOWN: usize = 100;

impl Tally {
    pub(crate) fn cut(&self, cut: Cut) {
        self.cut_total.fetch_add(1, Ordering::Relaxed);
        let mut shown = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.len() < CUT_SHOWN {
            shown.push(cut);
        }
    }

    pub(crate) fn take_cut(&self) -> Vec<Cut> {
        std::mem::take(&mut *self.cut.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a stream counts among the bodies that speaks another protocol.
const TUNNEL: u64 = 1 << 32;

/// How long a client of HTTP/2 may send on before it has heard that a stream was reset.
const HEARD: Duration = Duration::from_secs(5);

/// What the socket, the service and the requests of one connection know of each other.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) shared: Arc<Shared>,
    /// What is spoken, where there is a socket.
    protocol: Option<Protocol>,
    accepted: Instant,
    /// The other end.
    peer: Peer,
    /// Requests begun; written by the connection's task alone.
    begun: AtomicU64,
    /// Requests ended; on HTTP/2 they end in tasks of their own.
    ended: AtomicU64,
    /// When the last request ended, as [`Clock::nanos`] tells it.
    idle_since: AtomicU64,
    /// Request bodies that somebody still reads; it may outlive the response. And, in the upper half, streams of HTTP/2 that
    /// speak another protocol.
    bodies: AtomicU64,
    /// The last request that had a body, by its number; of HTTP/1 alone.
    with_body: AtomicU64,
    /// The task of a connection of HTTP/1 whose answer is sent, while another one still reads what it answers.
    reading: Mutex<Option<Waker>>,
    /// There is such a task: most bodies end without one, and without the lock. It changes under the lock.
    awaits_reader: AtomicBool,
    /// The connection speaks another protocol now, whose waits are its own.
    upgraded: OnceLock<Upgrade>,
    /// The last request whose body was left unread, by its number; on HTTP/2, when that was.
    /// The client may still be sending.
    unread: AtomicU64,
    expired: AtomicU8,
    /// What woke who waited for a handler, for the next one that has to be waited for.
    timer: Mutex<Option<Pin<Box<Sleep>>>>,
    /// The connection is older than it is to be: the next response is its last one.
    retired: AtomicBool,
    /// It has been idle for long enough, and is to be told so.
    leaving: AtomicBool,
    /// Bytes written, and whether more wait for the socket; of HTTP/2 alone.
    written: AtomicU64,
    sending: AtomicBool,
    tls: bool,
    #[cfg(feature = "tls")]
    client_certificate: Option<ClientCertificate>,
    last: Last,
}

/// The last request that ended: its answer may still be on its way out.
#[derive(Debug, Default)]
struct Last {
    /// Its route and method, and a bit that says that there is one.
    name: AtomicU32,
    /// When it began, as [`Clock::nanos`] tells it.
    begun: AtomicU64,
    bytes: AtomicU64,
}

/// The request that made a connection, or a stream of HTTP/2, speak another protocol, and since when it does.
#[derive(Debug)]
pub(crate) struct Upgrade {
    pub(crate) method: &'static str,
    pub(crate) route: Arc<str>,
    pub(crate) since: Instant,
}

/// The time limit that ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Expired {
    Header = 1,
    Idle,
    WriteStall,
    /// None of ours: the client left while its request was served.
    Left,
}

/// Whether an answered request is all that keeps a connection of HTTP/1 busy, because somebody reads its body on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// It is not.
    Irrelevant,
    /// It is: the task is woken when they have, for nothing else does, and the wait for the next request begins.
    Awaited,
    /// Nobody reads any more; they may have ended this moment.
    Gone,
}

impl Conn {
    pub(crate) fn new(shared: Arc<Shared>, peer: Option<SocketAddr>) -> Self {
        let accepted = shared.clock.now();
        Self {
            accepted,
            peer: peer.into(),
            shared,
            protocol: None,
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            idle_since: AtomicU64::new(Deadline::at(accepted).nanos()),
            bodies: AtomicU64::new(0),
            with_body: AtomicU64::new(0),
            reading: Mutex::new(None),
            awaits_reader: AtomicBool::new(false),
            upgraded: OnceLock::new(),
            unread: AtomicU64::new(0),
            expired: AtomicU8::new(0),
            timer: Mutex::new(None),
            retired: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            written: AtomicU64::new(0),
            sending: AtomicBool::new(false),
            tls: false,
            #[cfg(feature = "tls")]
            client_certificate: None,
            last: Last::default(),
        }
    }

    /// Keeps what [`unsent`](Self::unsent) tells of a request that ends; called before [`end`](Self::end).
    pub(crate) fn remember(&self, (route, method): (u16, u8), begun: u64, bytes: u64) {
        let name = 1 << 24 | u32::from(method) << 16 | u32::from(route);
        self.last.name.store(name, Ordering::Relaxed);
        self.last.begun.store(begun, Ordering::Relaxed);
        self.last.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Called instead of that when the request was cut, and told so.
    pub(crate) fn forget(&self) {
        self.last.name.store(0, Ordering::Relaxed);
    }

    /// Returns the request whose answer is still on its way out, if the socket has not taken all and all requests have
    /// ended; one that has not tells of itself.
    pub(crate) fn unsent(&self, unflushed: bool) -> Option<Cut> {
        // A response of HTTP/2 may wait for the window of its stream while the socket takes everything.
        let waits = self.is_http2() && self.bodies.load(Ordering::Relaxed) & (TUNNEL - 1) > 0;
        let ended = self.ended.load(Ordering::Acquire) == self.begun() && self.upgraded.get().is_none();
        let name = self.last.name.load(Ordering::Relaxed);
        if name == 0 || !ended || !(unflushed || waits) {
            return None;
        }
        let [_, method, route @ ..] = name.to_be_bytes();
        let begun = self.last.begun.load(Ordering::Relaxed);
        Some(Cut {
            method: method_name(method),
            route: Arc::clone(self.shared.table.label(u16::from_be_bytes(route))),
            age: Duration::from_nanos(self.shared.clock.nanos().saturating_sub(begun)),
            bytes: self.last.bytes.load(Ordering::Relaxed),
        })
    }

    /// Says what is spoken over its socket.
    pub(crate) const fn speaking(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    #[inline]
    pub(crate) const fn is_http2(&self) -> bool {
        matches!(self.protocol, Some(Protocol::Http2))
    }

    /// Says whether the connection is one of TLS.
    pub(crate) const fn over_tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Says that whoever is at the other end has no address, but may connect to a Unix socket of ours.
    pub(crate) const fn over_unix(mut self, unix: bool) -> Self {
        if unix && self.peer.addr().is_none() {
            self.peer = Peer::Unix;
        }
        self
    }

    /// Says with which certificate the client proved who it is.
    #[cfg(feature = "tls")]
    pub(crate) fn with_client_certificate(mut self, certificate: Option<ClientCertificate>) -> Self {
        self.client_certificate = certificate;
        self
    }

    #[cfg(feature = "tls")]
    pub(crate) const fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client_certificate.as_ref()
    }

    /// Says whether the client speaks TLS with us.
    pub(crate) const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Lets the next response be the last one.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Says whether a response is to be the last one of its connection.
    pub(crate) fn is_ending(&self) -> bool {
        self.shared.phase.reached(Phase::Draining) || self.retired.load(Ordering::Relaxed)
    }

    /// Asks for a farewell to a client that has been idle for long enough.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Says once whether a farewell is due.
    pub(crate) fn takes_leave(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) && self.leaving.swap(false, Ordering::Relaxed)
    }

    /// Called by the connection's task alone.
    pub(crate) fn wrote(&self, bytes: usize) {
        let written = self.written.load(Ordering::Relaxed) + bytes as u64;
        self.written.store(written, Ordering::Relaxed);
    }

    /// Returns how many bytes were written, on HTTP/2.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn set_sending(&self, sending: bool) {
        self.sending.store(sending, Ordering::Relaxed);
    }

    /// Says whether something waits until the socket can take it, on HTTP/2.
    pub(crate) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed)
    }

    /// Says whether it matters how the client's side ends: somebody reads to its end.
    pub(crate) fn is_read(&self) -> bool {
        self.bodies.load(Ordering::Relaxed) > 0 || self.upgraded.get().is_some()
    }

    pub(crate) const fn accepted(&self) -> Instant {
        self.accepted
    }

    pub(crate) const fn other_end(&self) -> Peer {
        self.peer
    }

    pub(crate) fn begin(&self) {
        self.begun
            .store(self.begun.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Called when a request ends, with [when](Clock::nanos).
    pub(crate) fn end(&self, now: u64) {
        self.idle_since.store(now, Ordering::Relaxed);
        if self.protocol == Some(Protocol::Http1) {
            // Requests end one after the other in its task: no other one adds to this.
            let ended = self.ended.load(Ordering::Relaxed) + 1;
            self.ended.store(ended, Ordering::Release);
        } else {
            self.ended.fetch_add(1, Ordering::Release);
        }
    }

    /// Says whether a request is under way whose body nobody reads any more.
    #[inline]
    pub(crate) fn is_served(&self) -> bool {
        self.ended.load(Ordering::Acquire) != self.begun() && !self.is_read()
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.ended.load(Ordering::Acquire) != self.begun()
            || self.bodies.load(Ordering::Acquire) > 0 // with it comes since when it is idle
            || self.upgraded.get().is_some()
    }

    pub(crate) fn begin_body(&self) {
        self.with_body.store(self.begun(), Ordering::Relaxed);
        self.bodies.fetch_add(1, Ordering::Relaxed);
    }

    /// Says whether the last request that has begun has a body, or had one; of HTTP/1 alone.
    pub(crate) fn had_body(&self) -> bool {
        self.with_body.load(Ordering::Relaxed) == self.begun()
    }

    pub(crate) fn end_body(&self) {
        let waits = self.protocol == Some(Protocol::Http1);
        if waits && self.ended.load(Ordering::Acquire) == self.begun() {
            self.idle_from_now(); // the answer was sent before
        }
        // First this, then the look at who waits, who does it the other way round: one of them sees the other.
        self.bodies.fetch_sub(1, Ordering::SeqCst);
        if waits && self.awaits_reader.load(Ordering::SeqCst) {
            let waker = {
                let mut reading = self.reading();
                self.awaits_reader.store(false, Ordering::SeqCst);
                reading.take()
            };
            waker.inspect(Waker::wake_by_ref);
        }
    }

    /// Called by the connection's task when it has to wait: see [`Reader`].
    pub(crate) fn waits_for_reader(&self, cx: &Context<'_>) -> Reader {
        // On HTTP/1 requests end in this task.
        let is_answered = self.protocol == Some(Protocol::Http1)
            && self.ended.load(Ordering::Acquire) == self.begun()
            && self.upgraded.get().is_none();
        if !is_answered {
            return Reader::Irrelevant;
        }
        let is_read = || self.bodies.load(Ordering::SeqCst) > 0;
        if is_read() {
            let mut reading = self.reading();
            *reading = Some(cx.waker().clone());
            self.awaits_reader.store(true, Ordering::SeqCst);
            drop(reading);
            if is_read() {
                return Reader::Awaited;
            }
        }
        Reader::Gone
    }

    fn reading(&self) -> MutexGuard<'_, Option<Waker>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A response that was handed over whole is still being sent, piece by piece.
    pub(crate) fn begin_sending(&self) {
        self.begin_body();
    }

    /// It is sent, or given up: now the connection may begin to be idle.
    pub(crate) fn end_sending(&self) {
        self.idle_from_now();
        self.bodies.fetch_sub(1, Ordering::Release);
    }

    fn idle_from_now(&self) {
        self.idle_since
            .store(self.shared.clock.nanos(), Ordering::Relaxed);
    }

    /// A stream speaks another protocol from now on: the connection is busy with it, though its request has ended.
    pub(crate) fn begin_tunnel(&self) {
        self.bodies.fetch_add(TUNNEL, Ordering::Relaxed);
        self.forget(); // its answer, which is sent, is not what is cut when it is
    }

    pub(crate) fn end_tunnel(&self) {
        self.idle_from_now();
        self.bodies.fetch_sub(TUNNEL, Ordering::Release);
    }

    pub(crate) fn upgrade(&self, upgrade: Upgrade) {
        let _ = self.upgraded.set(upgrade); // only the last request of a connection is one
    }

    pub(crate) fn upgraded(&self) -> Option<&Upgrade> {
        self.upgraded.get()
    }

    pub(crate) fn idle_since(&self) -> Instant {
        Deadline::from_nanos(self.idle_since.load(Ordering::Relaxed)).instant()
    }

    /// Takes note of a request body of which there is more, and nobody wants it.
    pub(crate) fn leave_unread(&self) {
        let mark = if self.is_http2() {
            self.shared.clock.nanos()
        } else {
            self.begun()
        };
        self.unread.store(mark, Ordering::Relaxed);
    }

    /// Says whether the client may still be sending what nobody wants: on HTTP/1 until its next request has begun, on HTTP/2
    /// until it has surely heard that the stream was reset.
    pub(crate) fn is_unread(&self) -> bool {
        match self.unread.load(Ordering::Relaxed) {
            0 => false,
            mark if self.is_http2() => {
                let since = self.shared.clock.nanos().saturating_sub(mark);
                Duration::from_nanos(since) < HEARD
            }
            mark => mark == self.begun(),
        }
    }

    pub(crate) fn take_timer(&self) -> Option<Pin<Box<Sleep>>> {
        self.timer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn keep_timer(&self, timer: Pin<Box<Sleep>>) {
        let other = self
            .timer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(timer);
        drop(other);
    }

    pub(crate) fn expire(&self, limit: Expired) {
        self.expired.store(limit as u8, Ordering::Relaxed);
    }

    pub(crate) fn expired(&self) -> Option<Expired> {
        match self.expired.load(Ordering::Relaxed) {
            1 => Some(Expired::Header),
            2 => Some(Expired::Idle),
            3 => Some(Expired::WriteStall),
            4 => Some(Expired::Left),
            _ => None,
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.shared
            .tally
            .requests
            .fetch_add(self.begun(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use cortex_core::SystemClock;

    use super::*;
    use crate::routes::Routes;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn http1() -> Conn {
        let (_, table) = Routes::new().into_parts();
        let (tracer, clock) = (Tracer::propagate_only(), Arc::new(SystemClock));
        let shared = Shared::new(table, Limits::new(), tracer, AccessLog::off(), clock);
        Conn::new(Arc::new(shared), None).speaking(Protocol::Http1)
    }

    #[test]
    fn the_reader_of_an_answered_request_is_awaited_once() {
        let (conn, count) = (http1(), Arc::new(Wakes::default()));
        let waker = Arc::clone(&count).into();
        let cx = &Context::from_waker(&waker);
        let woken = || count.0.load(Ordering::SeqCst);
        assert_eq!(conn.waits_for_reader(cx), Reader::Gone); // there was none
        conn.begin();
        conn.begin_body();
        assert_eq!(conn.waits_for_reader(cx), Reader::Irrelevant); // its handler is at work
        conn.end_body();
        conn.end(1);
        assert_eq!(woken(), 0);
        conn.begin();
        conn.begin_body();
        conn.end(2);
        assert_eq!(conn.waits_for_reader(cx), Reader::Awaited);
        assert!(conn.is_busy());
        conn.end_body();
        assert_eq!((woken(), conn.is_busy()), (1, false));
        assert_eq!(conn.waits_for_reader(cx), Reader::Gone);
        // Nobody waits any more.
        conn.begin();
        conn.begin_body();
        conn.end(3);
        conn.end_body();
        assert_eq!(woken(), 1);
    }

    #[test]
    fn who_reads_to_the_end_while_the_wait_begins_is_heard_of() {
        let (conn, count) = (http1(), Arc::new(Wakes::default()));
        let waker = Arc::clone(&count).into();
        for round in 0..500 {
            conn.begin();
            conn.begin_body();
            conn.end(round);
            let (both, before) = (Barrier::new(2), count.0.load(Ordering::SeqCst));
            let reader = std::thread::scope(|scope| {
                scope.spawn(|| {
                    both.wait();
                    conn.end_body();
                });
                both.wait();
                conn.waits_for_reader(&Context::from_waker(&waker))
            });
            let is_woken = count.0.load(Ordering::SeqCst) > before;
            assert!(reader == Reader::Gone || reader == Reader::Awaited && is_woken);
            assert!(!conn.is_busy());
        }
    }
}
