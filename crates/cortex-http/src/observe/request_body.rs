use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::outcome::Outcome;
use crate::shared::Conn;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request body that ends in an error when it is too large or too slow. Nothing of it is handed on after that, to
/// whoever passes over the error and asks again.
///
/// # Cancel safety
///
/// Dropping it leaves the rest of the body unread; the connection is closed after the response.
pub(super) struct RequestBody<B> {
    inner: B,
    bounds: Bounds,
}

/// The limits of one body, and where its breach is told to the future that answers.
struct Bounds {
    conn: Arc<Conn>,
    breach: Arc<Breach>,
    left: u64,
    until: Instant,
    /// Armed at the first pause: a body that arrives at once needs no timer.
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
    awaited: bool,
    broken: bool,
}

/// Which limit a request body broke, and whether somebody waits for it, seen by the future that answers the request.
#[derive(Debug, Default)]
pub(crate) struct Breach(AtomicU8);

/// No outcome: the client has not sent the next part of the body.
const AWAITED: u8 = u8::MAX;

impl Breach {
    fn set(&self, outcome: Outcome) {
        self.0.store(outcome as u8, Ordering::Relaxed);
    }

    fn await_client(&self, awaited: bool) {
        self.0.store(if awaited { AWAITED } else { 0 }, Ordering::Relaxed);
    }

    /// Says whether it was the client that was waited for.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.load(Ordering::Relaxed) == AWAITED
    }

    /// Returns [`Outcome::Timeout`], [`Outcome::TooLarge`] or nothing.
    pub(crate) fn get(&self) -> Option<Outcome> {
        let value = self.0.load(Ordering::Relaxed);
        [Outcome::Timeout, Outcome::TooLarge]
            .into_iter()
            .find(|outcome| *outcome as u8 == value)
    }
}

impl<B> RequestBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// Bounds the body of a request. One that is empty, the usual case, needs no bounds, nor a box as others do.
    #[inline]
    pub(super) fn bound(inner: B, conn: &Arc<Conn>) -> (axum::body::Body, Option<Arc<Breach>>) {
        if inner.is_end_stream() {
            return (axum::body::Body::empty(), None);
        }
        let (body, breach) = Self::new(inner, conn);
        (axum::body::Body::new(body), Some(breach))
    }

    fn new(inner: B, conn: &Arc<Conn>) -> (Self, Arc<Breach>) {
        let (limits, breach) = (&conn.shared.limits, Arc::new(Breach::default()));
        conn.begin_body();
        let bounds = Bounds {
            conn: Arc::clone(conn),
            breach: Arc::clone(&breach),
            left: limits.body_bytes,
            until: conn.shared.clock.now() + limits.body,
            timer: None,
            ended: false,
            awaited: false,
            broken: false,
        };
        (Self { inner, bounds }, breach)
    }
}

impl Bounds {
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
        timer.as_mut().poll(cx)
    }

    fn await_client(&mut self, awaited: bool) {
        if self.awaited != awaited {
            self.awaited = awaited;
            self.breach.await_client(awaited);
        }
    }

    fn broken(&mut self, outcome: Outcome) -> BodyLimit {
        self.broken = true;
        self.breach.set(outcome);
        BodyLimit(outcome)
    }
}

impl Drop for Bounds {
    fn drop(&mut self) {
        if !self.ended {
            self.conn.leave_unread();
        }
        self.conn.end_body();
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { inner, bounds } = self.get_mut();
        if bounds.broken {
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut *inner)
            .poll_frame(cx)
            .map(|frame| frame.map(|frame| frame.map_err(Into::into)));
        let Poll::Ready(frame) = frame else {
            bounds.await_client(true);
            ready!(bounds.poll_expired(cx));
            return Poll::Ready(Some(Err(bounds.broken(Outcome::Timeout).into())));
        };
        bounds.await_client(false);
        let length = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref())
            .map_or(0, Bytes::len);
        match bounds.left.checked_sub(length as u64) {
            Some(left) => bounds.left = left,
            None => return Poll::Ready(Some(Err(bounds.broken(Outcome::TooLarge).into()))),
        }
        bounds.ended = frame.is_none() || inner.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.bounds.broken || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.bounds.broken {
            return SizeHint::with_exact(0);
        }
        self.inner.size_hint()
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("left", &self.bounds.left)
            .finish_non_exhaustive()
    }
}

/// The error a handler sees when it reads a body that broke a limit.
#[derive(Debug)]
struct BodyLimit(Outcome);

impl fmt::Display for BodyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Outcome::Timeout => "read the request body: it did not arrive in time",
            _ => "read the request body: it is larger than allowed",
        })
    }
}

impl std::error::Error for BodyLimit {}
