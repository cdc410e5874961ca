use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cortex_compress::Compress;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connection::serve_connection;
use crate::listen::{Accepted, Listeners, Socket, is_about_one_connection};
use crate::metrics::HttpMetrics;
use crate::shared::Shared;

/// The longest pause after an accept that failed for want of file descriptors.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often it is logged that connections cannot be accepted.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Accepts connections until the service closes; then takes what the kernel has accepted already, and closes the
/// listeners, so that no client that got a connection is turned away.
///
/// One loop for all listeners: each of several would hold a permit while it waits, which the others lack then.
pub(crate) async fn accept_all(mut listeners: Listeners, app: Compress<Router>, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(
        shared.limits.connections.min(Semaphore::MAX_PERMITS),
    ));
    let mut watch = pin!(shared.reloads.watch());
    let mut watched = false;
    let mut pause = Duration::ZERO;
    let mut warned: Option<Instant> = None;
    loop {
        let (permit, accepted) = tokio::select! {
            biased;
            () = shared.closing.cancelled() => break,
            () = &mut watch, if !watched => {
                watched = true;
                continue;
            }
            accepted = accept(&mut listeners, &permits) => accepted,
        };
        match accepted {
            Ok(accepted) => {
                pause = Duration::ZERO;
                spawn(accepted, permit, &app, &shared);
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
                    warned = Some(Instant::now());
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
    listeners.close(
        || Arc::clone(&permits).try_acquire_owned().ok(),
        |accepted, permit| spawn(accepted, permit, &app, &shared),
    );
}

/// Waits for room first: what exceeds the limit waits in the kernel's backlog instead of in our memory.
///
/// # Cancel safety
///
/// Dropping it gives the permit back; an accepted connection is never lost.
async fn accept(
    listeners: &mut Listeners,
    permits: &Arc<Semaphore>,
) -> (OwnedSemaphorePermit, io::Result<Accepted>) {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .expect("invariant: the semaphore is never closed");
    (permit, poll_fn(|cx| listeners.poll_accept(cx)).await)
}

fn spawn(accepted: Accepted, permit: OwnedSemaphorePermit, app: &Compress<Router>, shared: &Arc<Shared>) {
    if let Socket::Tcp(socket) = &accepted.socket {
        let _ = socket.set_nodelay(true); // refused only by a socket that is gone already
    }
    if let Some(metrics) = &shared.metrics {
        metrics.accepted.inc();
        metrics.connections.inc();
    }
    let open = Arc::new(Open::new(shared, Some(permit)));
    let app = app.clone();
    tokio::spawn(async move {
        // Dropped after all that the connection is made of, so that who waits for it finds its numbers.
        serve_connection(accepted, app, &open).await;
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
