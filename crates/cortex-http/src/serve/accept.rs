use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cortex_compress::Compress;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connection::serve_connection;
use crate::metrics::HttpMetrics;
use crate::shared::Shared;

/// The longest pause after an accept that failed for want of file descriptors.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts connections until the service closes; then takes what the kernel has accepted already, and closes the
/// listener, so that no client that got a connection is turned away.
pub(crate) async fn accept_loop(listener: TcpListener, app: Compress<Router>, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(
        shared.limits.connections.min(Semaphore::MAX_PERMITS),
    ));
    let mut pause = Duration::ZERO;
    loop {
        let (permit, accepted) = tokio::select! {
            biased;
            () = shared.closing.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok(accepted) => {
                pause = Duration::ZERO;
                spawn(accepted, permit, &app, &shared);
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if pause.is_zero() {
                    tracing::warn!(%error, "connections cannot be accepted; trying again");
                }
                if let Some(metrics) = &shared.metrics {
                    metrics.connection_error("accept");
                }
                pause = (pause * 2).clamp(Duration::from_millis(10), LONGEST_PAUSE);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = shared.closing.cancelled() => break,
                }
            }
        }
    }
    // tokio may not have heard of the latest ones yet, so ask the kernel itself; the listener does not block.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
        match listener.accept() {
            Ok((stream, peer)) => {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    spawn((stream, peer), permit, &app, &shared);
                }
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(_) => break,
        }
    }
}

/// Waits for room first: what exceeds the limit waits in the kernel's backlog instead of in our memory.
///
/// # Cancel safety
///
/// Dropping it gives the permit back; an accepted connection is never lost.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (OwnedSemaphorePermit, io::Result<(TcpStream, SocketAddr)>) {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .expect("invariant: the semaphore is never closed");
    (permit, listener.accept().await)
}

fn spawn(
    (stream, peer): (TcpStream, SocketAddr),
    permit: OwnedSemaphorePermit,
    app: &Compress<Router>,
    shared: &Arc<Shared>,
) {
    let _ = stream.set_nodelay(true); // refused only by a socket that is gone already
    if let Some(metrics) = &shared.metrics {
        metrics.accepted.inc();
        metrics.connections.inc();
    }
    let open = Arc::new(Open::new(shared, Some(permit)));
    let app = app.clone();
    tokio::spawn(async move {
        // Dropped after all that the connection is made of, so that who waits for it finds its numbers.
        serve_connection(stream, peer, app, &open).await;
    });
}

/// A connection that counts as open until this is dropped, however it ends: by its task, and by its socket, which moves
/// into a task of the application when the connection is upgraded.
pub(crate) struct Open {
    pub(super) shared: Arc<Shared>,
    _permit: Option<OwnedSemaphorePermit>,
    _counted: TaskTrackerToken,
}

impl Open {
    pub(crate) fn new(shared: &Arc<Shared>, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            shared: Arc::clone(shared),
            _permit: permit,
            _counted: shared.tasks.token(),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(HttpMetrics { connections, .. }) = &self.shared.metrics {
            connections.dec();
        }
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
