use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::gate::Gate;
use super::rules::Rules;
use super::seats::Seats;
use crate::error::Error;
use crate::listen::{Accepted, Trouble, is_about_one_connection};
use crate::serve::{Open, serve_connection, set_options};
use crate::shared::Shared;

/// The most connections that a listener serves at once.
const CONNECTIONS: usize = 256;
/// How long it says nothing more of connections that had to make room.
const QUIET: Duration = Duration::from_mins(1);

/// A socket that is bound, and what it will serve.
pub(super) struct Listener {
    pub(super) addr: SocketAddr,
    pub(super) socket: std::net::TcpListener,
}

impl Listener {
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub(super) fn bind(addr: &str) -> Result<Self, Error> {
        let socket = std::net::TcpListener::bind(addr).map_err(|error| Error::bind(addr, error))?;
        let local = socket.local_addr().map_err(|error| Error::bind(addr, error))?;
        socket
            .set_nonblocking(true)
            .map_err(|error| Error::system("prepare the admin listener", error))?;
        Ok(Self { addr: local, socket })
    }

    /// Says whether only this machine reaches it.
    pub(super) fn is_loopback(&self) -> bool {
        self.addr.ip().to_canonical().is_loopback()
    }

    /// # Errors
    ///
    /// The runtime cannot watch the socket.
    pub(super) fn watched_by(self, runtime: &Handle) -> Result<TcpListener, Error> {
        let _entered = runtime.enter();
        TcpListener::from_std(self.socket).map_err(|error| Error::system("serve the admin port", error))
    }
}

/// What a listener serves to whom.
pub(super) struct Served {
    pub(super) app: Router,
    pub(super) rules: Arc<Rules>,
}

/// Accepts connections until the port closes.
pub(super) async fn accept(listener: TcpListener, served: Served, shared: Arc<Shared>) {
    let seats = Seats::new(CONNECTIONS);
    let (mut trouble, mut told) = (Trouble::default(), None);
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.no_more.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                trouble.is_over();
                if spawn(stream, peer, &served, &seats, &shared) {
                    if let Some(metrics) = &served.rules.metrics {
                        metrics.evicted.inc();
                    }
                    let now = shared.clock.now();
                    if told.is_none_or(|told| now.saturating_duration_since(told) >= QUIET) {
                        told = Some(now);
                        tracing::warn!(
                            limit = CONNECTIONS,
                            "the admin port is full: the longest idle connections are closed"
                        );
                    }
                    tokio::task::yield_now().await; // who has to leave gets the chance to
                }
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                trouble
                    .wait(error, "connections to the admin port", &shared.no_more)
                    .await;
            }
        }
    }
}

/// Serves a connection on a task of its own; says whether another one has to leave.
fn spawn(
    stream: TcpStream,
    peer: SocketAddr,
    served: &Served,
    seats: &Arc<Seats>,
    shared: &Arc<Shared>,
) -> bool {
    let _ = set_options(&stream); // refused only by a socket that is gone already
    let (seat, evicting) = seats.take();
    let gate = Gate::new(
        Arc::clone(&served.rules),
        peer,
        seat.activity(),
        served.app.clone(),
    );
    let app = Router::new().fallback_service(gate);
    let open = Arc::new(Open::new(shared, None));
    tokio::spawn(async move {
        tokio::select! {
            () = serve_connection(Accepted::tcp(stream, peer), app, &open) => {}
            () = seat.evicted() => {}
        }
    });
    evicting
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    /// A file, which no runtime can watch, in the place of a socket.
    #[tokio::test]
    async fn a_socket_that_cannot_be_watched_is_an_error() {
        let file = std::fs::File::open(env!("CARGO_MANIFEST_PATH")).unwrap();
        let socket = std::net::TcpListener::from(OwnedFd::from(file));
        socket.set_nonblocking(true).unwrap();
        let listener = Listener {
            addr: SocketAddr::from(([127, 0, 0, 1], 9090)),
            socket,
        };
        let error = listener.watched_by(&Handle::current()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::System);
    }
}
