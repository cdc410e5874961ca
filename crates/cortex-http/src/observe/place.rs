use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use axum::body::Body;
use bytes::Bytes;
use cortex_compress::{CompressBody, Encoding, Plan};
use http::response::Parts;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::event_stream::EventStream;
use super::exchange::Exchange;
use super::future::{Answer, AppFuture};
use crate::guard::Verdict;

pin_project! {
    /// All that there is of a request, in one place on the heap: the handler's future, then its body.
    pub(super) struct Place {
        // Those of the user's code come first: they are dropped before the exchange, which ends the span, so that what
        // they trace or log is part of it.
        pub(super) verdict: Option<Verdict>,
        // None when there is nothing to run (any more).
        #[pin]
        pub(super) app: Option<AppFuture>,
        // Its response: the head, and the body, which may yet have to be encoded.
        pub(super) head: Option<Parts>,
        pub(super) encoding: Option<Encoding<Body>>,
        pub(super) body: Option<CompressBody<Body>>,
        // A body of our own instead of the handler's.
        pub(super) own: Option<Bytes>,
        // None for all but streams of events.
        pub(super) stream: Option<Box<EventStream>>,
        pub(super) answer: Option<Answer>,
        // How that of the app is to be encoded.
        pub(super) plan: Option<Plan>,
        // The content type of an answer of our own to a call of gRPC; none for other requests.
        pub(super) grpc: Option<&'static str>,
        // Taken when the handler waits for the first time: many answer at once.
        pub(super) timer: Option<Pin<Box<Sleep>>>,
        pub(super) head_only: bool,
        // A body was refused without a look at it.
        pub(super) unread: bool,
        pub(super) exchange: Option<Exchange>,
    }
}

/// Where a request is dealt with. What moves from hyper to hyper is a pointer: 400 bytes of a future and 150 of a body,
/// moved a dozen times, cost more than all that is measured (800 of 4400 instructions a request).
///
/// Its memory is taken from that of requests before, and kept for others: in the long run none allocates.
pub(super) struct Lease(Option<Pin<Box<Place>>>);

/// How many places a thread keeps, of 1 kB each.
const KEPT: usize = 256;

thread_local! {
    static KEPT_PLACES: RefCell<Vec<Pin<Box<Place>>>> = const { RefCell::new(Vec::new()) };
}

impl Lease {
    /// Takes a place for a request, whose exchange is yet to begin.
    #[inline]
    pub(super) fn new() -> Self {
        let kept = KEPT_PLACES.try_with(|places| places.borrow_mut().pop());
        let place = kept.ok().flatten().unwrap_or_else(|| Box::pin(Place::empty()));
        Self(Some(place))
    }

    #[inline]
    pub(super) fn place(&self) -> &Place {
        self.0.as_ref().expect("invariant: leased until the drop")
    }

    #[inline]
    pub(super) fn place_mut(&mut self) -> Pin<&mut Place> {
        self.0
            .as_mut()
            .expect("invariant: leased until the drop")
            .as_mut()
    }

    #[inline]
    pub(super) fn exchange(&self) -> &Exchange {
        self.place().exchange.as_ref().expect(HAS_EXCHANGE)
    }

    #[inline]
    pub(super) fn exchange_mut(&mut self) -> &mut Exchange {
        self.place_mut().project().exchange.as_mut().expect(HAS_EXCHANGE)
    }
}

pub(super) const HAS_EXCHANGE: &str = "invariant: a place that is leased has an exchange";

impl Place {
    const fn empty() -> Self {
        Self {
            verdict: None,
            app: None,
            head: None,
            encoding: None,
            body: None,
            own: None,
            stream: None,
            answer: None,
            plan: None,
            grpc: None,
            timer: None,
            head_only: false,
            unread: false,
            exchange: None,
        }
    }

    /// Returns the body of the response and what belongs to it.
    #[inline]
    pub(super) fn body(self: Pin<&mut Self>) -> (&mut Option<CompressBody<Body>>, &mut Exchange) {
        let this = self.project();
        (this.body, this.exchange.as_mut().expect(HAS_EXCHANGE))
    }

    /// Drops what is in it: the handler's parts under the request's context, and the exchange last.
    fn clear(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.app.is_some()
            || this.head.is_some()
            || this.encoding.is_some()
            || this.body.is_some()
            || this.verdict.is_some()
        {
            // The user's destructors: one that panics must not take others along, nor the connection.
            let exchange = this.exchange.as_ref().expect(HAS_EXCHANGE);
            let _guard = exchange.attach();
            guarded(exchange, || *this.verdict = None);
            guarded(exchange, || this.app.set(None));
            guarded(exchange, || *this.head = None);
            guarded(exchange, || *this.encoding = None);
            guarded(exchange, || *this.body = None);
        }
        *this.own = None;
        *this.stream = None;
        *this.answer = None;
        *this.plan = None;
        *this.grpc = None;
        if let (Some(timer), Some(exchange)) = (this.timer.take(), &this.exchange) {
            exchange.conn().keep_timer(timer);
        }
        *this.unread = false;
        *this.exchange = None;
    }
}

/// Runs the user's code, whose panic is told.
#[inline]
pub(super) fn guarded(exchange: &Exchange, run: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        exchange.panicked(&*payload);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        let Some(mut place) = self.0.take() else { return };
        place.as_mut().clear();
        // Fails where a thread ends; then it is freed.
        let _ = KEPT_PLACES.try_with(|places| {
            let mut places = places.borrow_mut();
            if places.len() < KEPT {
                places.push(place);
            }
        });
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exchange().fmt(f)
    }
}
