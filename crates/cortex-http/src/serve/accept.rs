use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connection::serve_connection;
use super::peers::Place;
use crate::listen::{Accepted, Listeners, Socket, Trouble, is_about_one_connection};
use crate::metrics::HttpMetrics;
use crate::shared::Shared;

/// Accepts connections until the service closes; then takes what the kernel has accepted already, and closes the
/// listeners, so that no client that got a connection is turned away.
///
/// One loop for all listeners: each of several would hold a permit while it waits, which the others lack then.
pub(crate) async fn accept_all(mut listeners: Listeners, app: Router, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(
        shared.limits.connections.min(Semaphore::MAX_PERMITS),
    ));
    let mut watch = pin!(shared.reloads.watch());
    let mut watched = false;
    let mut trouble = Trouble::default();
    loop {
        let (permit, accepted) = tokio::select! {
            biased;
            () = shared.no_more.cancelled() => break,
            () = &mut watch, if !watched => {
                watched = true;
                continue;
            }
            accepted = accept(&mut listeners, &permits) => accepted,
        };
        match accepted {
            Ok(accepted) => {
                trouble.is_over();
                spawn(accepted, permit, &app, &shared);
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if let Some(metrics) = &shared.metrics {
                    metrics.connection_error("accept");
                }
                trouble.wait(error, "connections", &shared.no_more).await;
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

fn spawn(accepted: Accepted, permit: OwnedSemaphorePermit, app: &Router, shared: &Arc<Shared>) {
    if let Socket::Tcp(socket) = &accepted.socket {
        let _ = set_options(socket); // refused only by a socket that is gone already
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

/// How long a connection is silent until its other end is asked whether it is still there, and how long it has for an
/// answer: three minutes in all.
const SILENCE: Duration = Duration::from_mins(1);
const ANSWER: Duration = Duration::from_secs(20);
const ASKED: u32 = 6;

/// How much of a response may wait in the kernel without being on its way; more is left to us. Without it a socket is
/// writable only once a third of its buffer is free, of megabytes at times: a client that reads slowly looks for half a
/// minute as if it read nothing.
const UNSENT: u32 = 128 << 10;

pub(crate) fn set_options(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    // A peer that is gone without a word, of which an upgraded connection would hear nothing for ever.
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(ANSWER);
    socket.set_tcp_keepalive(&keepalive.with_retries(ASKED))?;
    socket.set_tcp_notsent_lowat(UNSENT)
}

/// A connection that counts as open until this is dropped, however it ends: by its task, and by its socket, which moves
/// into a task of the application when the connection is upgraded.
pub(crate) struct Open {
    pub(super) shared: Arc<Shared>,
    /// Taken when the peer is known, where each may have so many.
    place: OnceLock<Place>,
    _permit: Option<OwnedSemaphorePermit>,
    _counted: TaskTrackerToken,
}

impl Open {
    pub(crate) fn new(shared: &Arc<Shared>, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            shared: Arc::clone(shared),
            place: OnceLock::new(),
            _permit: permit,
            _counted: shared.tasks.token(),
        }
    }

    /// Takes the place of a connection of this peer; `false` if it has as many as it may.
    pub(super) fn admit(&self, peer: Option<SocketAddr>) -> bool {
        let (Some(most), Some(peer)) = (self.shared.limits.per_peer, peer) else {
            return true;
        };
        let place = self.shared.peers.admit(peer, most);
        place.is_some_and(|place| self.place.set(place).is_ok())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        drop(self.place.take()); // first: who sees that it is gone may come again
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
