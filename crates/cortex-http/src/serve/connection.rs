use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use bytes::BytesMut;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWrite;

use super::accept::Open;
use super::age::Age;
use super::deadline::DeadlineIo;
use super::establish::{Established, Refused, establish};
use super::executor::Tracked;
use super::linger::{Linger, lingered};
use super::sniff::{Protocol, sniff};
use super::stream::Stream;
use super::window::Http2Service;
use crate::lifecycle::Phase;
use crate::listen::Accepted;
use crate::observe::{Observed, PerConnection};
use crate::shared::{Conn, Expired, Shared};

/// Serves one connection to its end; what goes wrong outside of a request is counted by kind.
pub(crate) async fn serve_connection(accepted: Accepted, app: Router, open: &Arc<Open>) {
    let shared = &open.shared;
    let since = shared.clock.now();
    let number = shared.tally.connections.fetch_add(1, Ordering::Relaxed);
    let greeted = tokio::select! {
        biased;
        () = shared.kill.cancelled() => return,
        greeted = greet(accepted, open) => greeted,
        () = lingered(shared) => return,
    };
    let error = match greeted {
        Err(Refused::Left) => None,
        Err(Refused::For(kind)) => Some(kind),
        Ok(greeted) => {
            let age = Age::new(shared.limits.max_age, since, || shared.random(number));
            serve_greeted(greeted, app, open, age).await
        }
    };
    if let (Some(kind), Some(metrics)) = (error, &shared.metrics) {
        metrics.connection_error(kind);
    }
}

/// A connection of which it is known who connects and what they speak.
struct Greeted {
    stream: Stream,
    conn: Arc<Conn>,
    protocol: Protocol,
    /// The bytes that told it.
    read: BytesMut,
}

/// Waits for the first bytes of HTTP.
async fn greet(accepted: Accepted, open: &Open) -> Result<Greeted, Refused> {
    let Established {
        mut stream,
        peer,
        unix,
        agreed,
    } = establish(accepted, open).await?;
    let conn = Conn::new(Arc::clone(&open.shared), peer)
        .over_unix(unix)
        .over_tls(stream.is_tls());
    #[cfg(feature = "tls")]
    let conn = conn.with_client_certificate(stream.client_certificate());
    let until = conn.accepted() + open.shared.limits.first_byte;
    let sniffed = tokio::time::timeout_at(until.into(), sniff(&mut stream)).await;
    let (protocol, read) = match sniffed {
        Err(_) => {
            // Once is enough: with TLS the client hears that this is the end, and not an attack.
            poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_shutdown(cx).is_ready())).await;
            return Err(Refused::For("first_byte_timeout"));
        }
        // Without a word of farewell in TLS, and nothing was asked that could be cut short.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Refused::Left),
        Ok(Err(_)) => return Err(Refused::For("io")),
        Ok(Ok(None)) => return Err(Refused::Left),
        Ok(Ok(Some((sniffed, read)))) => (agreed.unwrap_or(sniffed), read),
    };
    Ok(Greeted {
        stream,
        conn: Arc::new(conn.speaking(protocol)),
        protocol,
        read,
    })
}

/// Speaks HTTP; returns the kind of what went wrong.
async fn serve_greeted(
    greeted: Greeted,
    app: Router,
    open: &Arc<Open>,
    mut age: Age,
) -> Option<&'static str> {
    let Greeted {
        stream,
        conn,
        protocol,
        read,
    } = greeted;
    let io = DeadlineIo::new(stream, Arc::clone(&conn), protocol, read, Arc::clone(open));
    let io = TokioIo::new(io);
    let service = PerConnection::new(Observed::new(app, Arc::clone(&conn)));
    let ended = match protocol {
        Protocol::Http1 => {
            let served = http1_builder(&conn.shared)
                .serve_connection(io, service)
                .with_upgrades();
            drive(pin!(served), &conn, &mut age).await
        }
        Protocol::Http2 => {
            let service = Http2Service::new(service, Arc::clone(&conn));
            // Boxed: it is twice as large as one of HTTP/1, of which a server has far more.
            let mut served = Box::pin(http2_builder(&conn, open).serve_connection(io, service));
            drive(served.as_mut(), &conn, &mut age).await
        }
    };
    ended.err().and_then(|error| kind(&conn, &error))
}

pub(super) fn http1_builder(shared: &Shared) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // `max_headers` stays unset: its default of 100 parses on the stack.
    builder
        // Whether the client is still there while its request is served is seen by `DeadlineIo`. hyper would read ahead
        // with memory that it takes for each request anew, as the head of the request still holds the old.
        .half_close(true)
        .header_read_timeout(None)
        .max_header_size(shared.limits.header_bytes)
        .timer(TokioTimer::new());
    builder
}

/// What h2 bounds by itself is left as it is: resets of streams that were not accepted yet (20) and those of our own
/// (1024), frames of one header block, empty DATA frames, and one answer to SETTINGS or PING at a time, before which
/// nothing more is read.
fn http2_builder(conn: &Arc<Conn>, open: &Arc<Open>) -> http2::Builder<Tracked> {
    let limits = &conn.shared.limits;
    let mut builder = http2::Builder::new(Tracked {
        conn: Arc::clone(conn),
        open: Arc::clone(open),
    });
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(STREAM_BUFFER)
        .enable_connect_protocol()
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    builder
}

/// How much of a response waits for the socket of its connection. All streams of a client that gives window and reads
/// nothing hold 16 MiB then, not 100.
const STREAM_BUFFER: usize = 64 << 10;

/// What both of hyper's connections can do.
trait Graceful: Future<Output = hyper::Result<()>> {
    /// Ends it after the requests that are under way; an idle one ends now.
    fn close(self: Pin<&mut Self>);

    /// Sees to it that an old one ends soon, at no request's cost.
    fn retire(self: Pin<&mut Self>, conn: &Conn);
}

impl<T> Graceful for http1::UpgradeableConnection<T, PerConnection>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    /// The next response says that it is the last one. An idle connection is not closed: a request may be on its way,
    /// which a client could not tell from one that was served.
    fn retire(self: Pin<&mut Self>, conn: &Conn) {
        conn.retire();
    }
}

impl<T> Graceful for http2::Connection<T, Http2Service, Tracked>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    /// GOAWAY says which requests are served, so that none is lost.
    fn retire(self: Pin<&mut Self>, _conn: &Conn) {
        self.graceful_shutdown();
    }
}

/// How much longer than an idle connection of HTTP/1 one of HTTP/2 stays that was told to go away. h2 closes it only when
/// its client has answered a PING, which a mute one never does.
const MUTE: Duration = Duration::from_secs(1);

/// Drives a connection; closes it gracefully in the drain, drops it when the drain is over.
///
/// The two tokens are polled once, to leave a waker; after that every poll reads the phase, which is one load.
async fn drive<G: Graceful>(mut connection: Pin<&mut G>, conn: &Conn, age: &mut Age) -> hyper::Result<()> {
    let shared = &*conn.shared;
    let mut closing = pin!(shared.no_more.cancelled());
    let mut kill = pin!(shared.kill.cancelled());
    let mut waiting = false;
    let mut closed = false;
    let mut linger = Linger::new();
    poll_fn(|cx: &mut Context<'_>| {
        if !waiting {
            waiting = true;
            let _ = (closing.as_mut().poll(cx), kill.as_mut().poll(cx));
        }
        if shared.phase.reached(Phase::Cut) {
            return Poll::Ready(Ok(()));
        }
        if age.poll(cx).is_ready() {
            connection.as_mut().retire(conn);
        }
        if !closed && !shared.phase.reached(Phase::Closing) {
            let polled = connection.as_mut().poll(cx);
            if polled.is_pending() && conn.takes_leave() {
                connection.as_mut().close();
                return connection.as_mut().poll(cx);
            }
            return polled;
        }
        let http2 = conn.is_http2();
        if !closed && !http2 {
            // What has arrived by now is still answered.
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            if !linger.is_over(conn, Duration::ZERO, cx) {
                return Poll::Pending;
            }
        }
        if !std::mem::replace(&mut closed, true) {
            connection.as_mut().close();
        }
        let polled = connection.as_mut().poll(cx);
        if polled.is_pending() && http2 && linger.is_over(conn, MUTE, cx) {
            return Poll::Ready(Ok(()));
        }
        polled
    })
    .await
}

/// Names the failure of a connection for the metrics; the end of an idle one is none.
fn kind(conn: &Conn, error: &hyper::Error) -> Option<&'static str> {
    Some(match conn.expired() {
        Some(Expired::Idle) => return None,
        Some(Expired::Header) => "header_timeout",
        Some(Expired::WriteStall) => "write_stall",
        Some(Expired::Left) => "incomplete_message",
        None if error.is_parse_too_large() => "header_too_large",
        None if error.is_parse() => "bad_request",
        None if error.is_incomplete_message() => "incomplete_message",
        None if error.is_user() => "response_body",
        None => return http2_kind(error).or(Some("io")),
    })
}

/// Names what h2 did not put up with: too many frames that cost it more than the client, or what the protocol forbids.
fn http2_kind(error: &hyper::Error) -> Option<&'static str> {
    let error = error.source()?.downcast_ref::<h2::Error>()?;
    if error.is_remote() {
        Some("http2_remote") // the client says that it has a reason
    } else if error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) {
        Some("http2_flood")
    } else {
        error.is_library().then_some("http2_protocol")
    }
}
