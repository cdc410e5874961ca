use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use axum::Router;
use cortex_compress::Compress;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::accept::Open;
use super::deadline::DeadlineIo;
use super::executor::Tracked;
use super::linger::{Linger, lingered};
use super::sniff::{Protocol, sniff};
use crate::lifecycle::Phase;
use crate::observe::{Observed, PerConnection};
use crate::shared::{Conn, Expired, Shared};

/// Serves one connection to its end; what goes wrong outside of a request is counted by kind.
pub(crate) async fn serve_connection<T>(mut io: T, peer: SocketAddr, app: Compress<Router>, open: &Arc<Open>)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shared = &open.shared;
    shared.tally.connections.fetch_add(1, Ordering::Relaxed);
    let conn = Arc::new(Conn::new(Arc::clone(shared), Some(peer)));
    let first_byte = tokio::time::timeout_at(
        (conn.accepted() + shared.limits.first_byte).into(),
        sniff(&mut io),
    );
    let sniffed = tokio::select! {
        sniffed = first_byte => sniffed,
        () = shared.kill.cancelled() => return,
        () = lingered(shared) => return,
    };
    let error = match sniffed {
        Err(_) => Some("first_byte_timeout"),
        Ok(Err(_)) => Some("io"),
        Ok(Ok(None)) => None,
        Ok(Ok(Some((protocol, read)))) => {
            conn.http2.store(protocol == Protocol::Http2, Ordering::Relaxed);
            let io = TokioIo::new(DeadlineIo::new(
                io,
                Arc::clone(&conn),
                protocol,
                read,
                Arc::clone(open),
            ));
            let service = PerConnection::new(Observed::new(app, Arc::clone(&conn)));
            let ended = match protocol {
                Protocol::Http1 => {
                    let served = http1_builder(shared)
                        .serve_connection(io, service)
                        .with_upgrades();
                    drive(pin!(served), &conn).await
                }
                Protocol::Http2 => {
                    drive(pin!(http2_builder(shared).serve_connection(io, service)), &conn).await
                }
            };
            ended.err().and_then(|error| kind(&conn, &error))
        }
    };
    if let (Some(kind), Some(metrics)) = (error, &shared.metrics) {
        metrics.connection_error(kind);
    }
}

fn http1_builder(shared: &Shared) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // `max_headers` stays unset: its default of 100 parses on the stack.
    builder
        .header_read_timeout(None)
        .max_header_size(shared.limits.header_bytes)
        .timer(TokioTimer::new());
    builder
}

fn http2_builder(shared: &Shared) -> http2::Builder<Tracked> {
    let mut builder = http2::Builder::new(Tracked(shared.tasks.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(shared.limits.streams)
        .max_header_list_size(u32::try_from(shared.limits.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(std::time::Duration::from_secs(20))
        .keep_alive_timeout(std::time::Duration::from_secs(10));
    builder
}

/// What both of hyper's connections can do.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn close(self: Pin<&mut Self>);
}

impl<T> Graceful for http1::UpgradeableConnection<T, PerConnection>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<T> Graceful for http2::Connection<T, PerConnection, Tracked>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Drives a connection; closes it gracefully in the drain, drops it when the drain is over.
///
/// The two tokens are polled once, to leave a waker; after that every poll reads the phase, which is one load.
async fn drive<G: Graceful>(mut connection: Pin<&mut G>, conn: &Conn) -> hyper::Result<()> {
    let shared = &*conn.shared;
    let mut closing = pin!(shared.closing.cancelled());
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
        if closed || !shared.phase.reached(Phase::Closing) {
            return connection.as_mut().poll(cx);
        }
        if !conn.http2.load(Ordering::Relaxed) {
            // What has arrived by now is still answered.
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            if !linger.is_over(conn, cx) {
                return Poll::Pending;
            }
        }
        closed = true;
        connection.as_mut().close();
        connection.as_mut().poll(cx)
    })
    .await
}

/// Names the failure of a connection for the metrics; the end of an idle one is none.
fn kind(conn: &Conn, error: &hyper::Error) -> Option<&'static str> {
    Some(match conn.expired() {
        Some(Expired::Idle) => return None,
        Some(Expired::Header) => "header_timeout",
        Some(Expired::WriteStall) => "write_stall",
        None if error.is_parse_too_large() => "header_too_large",
        None if error.is_parse() => "bad_request",
        None if error.is_incomplete_message() => "incomplete_message",
        None if error.is_user() => "response_body",
        None => "io",
    })
}
