//! HTTP/2 streams whose client gives no window.
//!
//! A client can keep its socket alive and one stream waiting for ever, by not giving it any window. hyper waits for the
//! window within its own future, so nothing of ours is asked meanwhile. But it asks the body for a frame just before, so
//! what the body did last says what the stream waits for: after a frame it is the window, after no frame the application.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use crate::observe::{BodyError, PerConnection, ResponseBody, ResponseFuture};
use crate::shared::Conn;

/// What the body of the stream that is polled on this thread did last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// It was not asked.
    Nothing,
    /// It gave a frame, which may have to wait for the window.
    Frame,
    /// It has none yet.
    Pending,
    /// There is none: the stream speaks another protocol.
    Upgraded,
}

thread_local! {
    static LAST: Cell<Last> = const { Cell::new(Last::Nothing) };
}

/// Notes that the stream that is polled on this thread speaks another protocol from now on.
pub(super) fn set_upgraded() {
    LAST.set(Last::Upgraded);
}

/// Says whether it does, while it is polled.
#[inline]
pub(super) fn is_upgraded() -> bool {
    LAST.get() == Last::Upgraded
}

pin_project! {
    /// The task of a stream, which ends itself when the client has given no window for too long: dropping what hyper does
    /// resets the stream.
    #[derive(Debug)]
    pub(super) struct Watched<F> {
        // None once the stream has been given up.
        #[pin]
        future: Option<F>,
        conn: Arc<Conn>,
        wait: Option<Wait>,
        // Left alone while it only has to move later.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F> Watched<F> {
    pub(super) const fn new(future: F, conn: Arc<Conn>) -> Self {
        Self {
            future: Some(future),
            conn,
            wait: None,
            timer: None,
        }
    }
}

/// That a stream waits for the window.
#[derive(Debug)]
struct Wait {
    /// Since when, or since when its connection was last seen to take something.
    since: Instant,
    /// What the connection had taken by then.
    written: u64,
    /// How often it may still be seen.
    turns: u8,
}

/// How often a stream waits for its turn while its client takes those of others: a client that reads steadily, but many at
/// once, is not to lose them; and one that downloads something is not to keep others waiting for ever.
const TURNS: u8 = 10;

impl Wait {
    const fn new(since: Instant, written: u64) -> Self {
        let turns = TURNS;
        Self {
            since,
            written,
            turns,
        }
    }

    /// Waits anew if the connection has taken as much as a frame of another stream, and not only answers to PING.
    fn is_renewed(&mut self, conn: &Conn) -> bool {
        let written = conn.written();
        let renewed = self.turns > 0 && written - self.written >= SLICE as u64;
        if renewed {
            self.turns -= 1;
            (self.since, self.written) = (conn.shared.clock.now(), written);
        }
        renewed
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Ready(());
        };
        LAST.set(Last::Nothing);
        if future.poll(cx).is_ready() {
            LAST.set(Last::Nothing);
            return Poll::Ready(());
        }
        let shared = &this.conn.shared;
        match LAST.get() {
            Last::Nothing | Last::Upgraded => {}
            Last::Frame => *this.wait = Some(Wait::new(shared.clock.now(), this.conn.written())),
            Last::Pending => *this.wait = None,
        }
        let Some(wait) = this.wait else {
            return Poll::Pending;
        };
        let until = |wait: &Wait| (wait.since + shared.limits.write_stall).into();
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until(wait))));
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= until(wait) && !wait.is_renewed(this.conn) {
                break;
            }
            timer.as_mut().reset(until(wait));
        }
        if let Some(metrics) = &shared.metrics {
            metrics.connection_error("stream_stall");
        }
        this.future.set(None);
        Poll::Ready(())
    }
}

/// The service of an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Http2Service {
    service: PerConnection,
    conn: Arc<Conn>,
}

impl Http2Service {
    pub(super) const fn new(service: PerConnection, conn: Arc<Conn>) -> Self {
        Self { service, conn }
    }
}

impl Service<Request<Incoming>> for Http2Service {
    type Response = Response<Sliced>;
    type Error = Infallible;
    type Future = Slicing;

    fn call(&self, request: Request<Incoming>) -> Slicing {
        Slicing {
            future: self.service.call(request),
            conn: Some(Arc::clone(&self.conn)),
        }
    }
}

pin_project! {
    /// The future of a response whose body is [`Sliced`].
    pub(super) struct Slicing {
        #[pin]
        future: ResponseFuture,
        conn: Option<Arc<Conn>>,
    }
}

impl Future for Slicing {
    type Output = Result<Response<Sliced>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?;
        let conn = this
            .conn
            .take()
            .expect("invariant: not polled after it was ready");
        Poll::Ready(Ok(response.map(|body| Sliced {
            body,
            conn,
            left: Bytes::new(),
        })))
    }
}

/// The largest frame that is handed to hyper, which keeps it whole until there is window for all of it: so much memory a
/// client that gives a byte of window can hold, and so much it must take within the limit.
const SLICE: usize = 16 << 10;

/// The largest frame that is handed over whole. hyper is done with a stream as soon as there is a byte of window for its last
/// frame, and nobody waits for the rest any more. So the last byte of a larger one is a frame of its own, which waits for
/// the window of all before it; what can be left behind with h2 is no more than this for each of the streams.
const WHOLE: usize = 1 << 10;

/// Returns how much of so many bytes is handed over now.
const fn slice(length: usize) -> usize {
    if length > SLICE {
        SLICE
    } else if length > WHOLE {
        length - 1
    } else {
        length
    }
}

pin_project! {
    /// A body whose large frames are handed over piece by piece.
    pub(super) struct Sliced {
        #[pin]
        body: ResponseBody,
        conn: Arc<Conn>,
        // What is left of a large frame. The connection is busy with it, though the request may have ended.
        left: Bytes,
    }

    impl PinnedDrop for Sliced {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if !this.left.is_empty() {
                this.conn.end_sending();
            }
        }
    }
}

impl Body for Sliced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.project();
        if !this.left.is_empty() {
            LAST.set(Last::Frame);
            let slice = this.left.split_to(slice(this.left.len()));
            if this.left.is_empty() {
                this.conn.end_sending();
            }
            return Poll::Ready(Some(Ok(Frame::data(slice))));
        }
        let polled = this.body.poll_frame(cx);
        LAST.set(if polled.is_pending() {
            Last::Pending
        } else {
            Last::Frame
        });
        polled.map_ok(|frame| match frame.into_data() {
            Ok(mut data) if data.len() > WHOLE => {
                let slice = data.split_to(slice(data.len()));
                this.conn.begin_sending();
                *this.left = data;
                Frame::data(slice)
            }
            Ok(data) => Frame::data(data),
            Err(other) => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, left) = (self.body.size_hint(), self.left.len() as u64);
        let mut sum = SizeHint::new();
        sum.set_lower(hint.lower().saturating_add(left));
        if let Some(upper) = hint.upper() {
            sum.set_upper(upper.saturating_add(left));
        }
        sum
    }
}
