use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::exchange::Exchange;
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

/// The limits of one body, and where its breach and its waits are told to the request.
struct Bounds {
    conn: Arc<Conn>,
    upload: Arc<Upload>,
    left: u64,
    until: Instant,
    /// Armed at the first pause: a body that arrives at once needs no timer.
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
    awaited: bool,
    broken: bool,
}

/// How a request body fares: which limit it broke, whether somebody waits for it, and for how long they did. The request
/// that it belongs to sees it.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The outcome that the broken limit leads to, or [`AWAITED`].
    breach: AtomicU8,
    begun: Instant,
    /// For how long the client was waited for, in nanoseconds, without the wait that goes on.
    awaited: AtomicU64,
    /// How many bytes somebody has taken. Written by one alone.
    received: AtomicU64,
    /// Since when it is, in nanoseconds after the beginning and one; zero while it is not.
    since: AtomicU64,
    /// Nobody reads the rest of the body.
    unread: AtomicBool,
}

/// No outcome: the client has not sent the next part of the body.
const AWAITED: u8 = u8::MAX;

impl Upload {
    const fn new(begun: Instant) -> Self {
        Self {
            breach: AtomicU8::new(0),
            begun,
            awaited: AtomicU64::new(0),
            received: AtomicU64::new(0),
            since: AtomicU64::new(0),
            unread: AtomicBool::new(false),
        }
    }

    fn break_off(&self, outcome: Outcome) {
        self.breach.store(outcome as u8, Ordering::Relaxed);
    }

    fn await_client(&self, awaited: bool, now: Instant) {
        self.breach
            .store(if awaited { AWAITED } else { 0 }, Ordering::Relaxed);
        if awaited {
            self.since.store(self.after(now) + 1, Ordering::Relaxed);
        } else {
            self.end_wait(now);
        }
    }

    /// Ends the wait, if there is one; it stays known that there was.
    fn end_wait(&self, now: Instant) {
        let awaited = self.waited(now);
        self.since.store(0, Ordering::Relaxed);
        self.awaited.store(awaited, Ordering::Relaxed);
    }

    fn waited(&self, now: Instant) -> u64 {
        let before = self.awaited.load(Ordering::Relaxed);
        match self.since.load(Ordering::Relaxed).checked_sub(1) {
            Some(since) => before.saturating_add(self.after(now).saturating_sub(since)),
            None => before,
        }
    }

    fn after(&self, now: Instant) -> u64 {
        let after = now.saturating_duration_since(self.begun).as_nanos();
        u64::try_from(after).unwrap_or(u64::MAX - 1)
    }

    fn add(&self, bytes: u64) {
        let received = self.received.load(Ordering::Relaxed) + bytes;
        self.received.store(received, Ordering::Relaxed);
    }

    /// Returns how many bytes of the body somebody has taken.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Returns for how long the client was waited for.
    pub(crate) fn awaited(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.waited(now))
    }

    /// Says whether it was the client that was waited for.
    pub(crate) fn is_awaited(&self) -> bool {
        self.breach.load(Ordering::Relaxed) == AWAITED
    }

    /// Says whether the body was dropped before its end.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Returns [`Outcome::Timeout`], [`Outcome::TooLarge`] or nothing.
    pub(crate) fn breach(&self) -> Option<Outcome> {
        let value = self.breach.load(Ordering::Relaxed);
        [Outcome::Timeout, Outcome::TooLarge]
            .into_iter()
            .find(|outcome| *outcome as u8 == value)
    }
}

impl<B> RequestBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// Bounds the body of a request, which hears of it. One that is empty, the usual case, needs no bounds, nor a box as
    /// others do.
    #[inline]
    pub(super) fn bound(inner: B, exchange: &mut Exchange) -> axum::body::Body {
        if inner.is_end_stream() {
            return axum::body::Body::empty();
        }
        let (body, upload) = Self::new(inner, exchange.conn());
        exchange.receive(upload);
        axum::body::Body::new(body)
    }

    fn new(inner: B, conn: &Arc<Conn>) -> (Self, Arc<Upload>) {
        let (limits, now) = (&conn.shared.limits, conn.shared.clock.now());
        let upload = Arc::new(Upload::new(now));
        conn.begin_body();
        let bounds = Bounds {
            conn: Arc::clone(conn),
            upload: Arc::clone(&upload),
            left: limits.body_bytes,
            until: now + limits.body,
            timer: None,
            ended: false,
            awaited: false,
            broken: false,
        };
        (Self { inner, bounds }, upload)
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
            self.upload.await_client(awaited, self.conn.shared.clock.now());
        }
    }

    fn broken(&mut self, outcome: Outcome) -> BodyLimit {
        self.broken = true;
        self.end_wait();
        self.upload.break_off(outcome);
        BodyLimit(outcome)
    }

    fn end_wait(&mut self) {
        if std::mem::take(&mut self.awaited) {
            self.upload.end_wait(self.conn.shared.clock.now());
        }
    }
}

impl Drop for Bounds {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.awaited {
            // Who has given it up waits for nobody.
            self.upload.await_client(false, self.conn.shared.clock.now());
        }
        self.upload.unread.store(true, Ordering::Relaxed);
        self.conn.leave_unread();
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
        // What has ended is not asked again: hyper tells of an end after the answer with the next request, if one comes.
        if bounds.broken || bounds.ended {
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
            .map_or(0, Bytes::len) as u64;
        match bounds.left.checked_sub(length) {
            Some(left) => {
                bounds.left = left;
                bounds.upload.add(length);
            }
            None => return Poll::Ready(Some(Err(bounds.broken(Outcome::TooLarge).into()))),
        }
        if !bounds.ended && (frame.is_none() || inner.is_end_stream()) {
            // From now on it is no longer read, though its handler may hold it for long.
            bounds.ended = true;
            bounds.conn.end_body();
        }
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
