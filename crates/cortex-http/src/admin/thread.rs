use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::drain::DrainSwitch;
use super::listener::{Listener, Served, accept};
use crate::error::Error;
use crate::lifecycle::Phase;
use crate::shared::Shared;

/// How long an admin request may hold up the end of the process.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Threads for what may block: scrapes, the log filter, and the most that parts may take.
const THREADS: usize = 4 + 1 + super::controls::THREADS;

/// The thread that serves the admin port. Dropping it lets the port close by itself.
#[derive(Debug)]
pub(crate) struct AdminThread {
    addr: SocketAddr,
    probes: Option<SocketAddr>,
    shared: Arc<Shared>,
    drain: DrainSwitch,
    /// Turns true when the thread has ended; its sender is dropped without that if it panicked.
    ended: watch::Receiver<bool>,
}

impl AdminThread {
    /// Serves the port, and the one for probes if there is one.
    pub(super) fn start(
        admin: (Listener, Served),
        probes: Option<(Listener, Served)>,
        drain: DrainSwitch,
        shared: Shared,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(THREADS)
            .build()
            .map_err(|error| Error::system("make the admin runtime", error))?;
        let runtime = Background(Some(runtime));
        let (shared, (ending, ended)) = (Arc::new(shared), watch::channel(false));
        let (addr, probes_addr) = (admin.0.addr, probes.as_ref().map(|(listener, _)| listener.addr));
        let (listener, served) = admin;
        let admin = (listener.watched_by(runtime.handle())?, served);
        let probes = match probes {
            None => None,
            Some((listener, served)) => Some((listener.watched_by(runtime.handle())?, served)),
        };
        let thread = std::thread::Builder::new().name("cortex-admin".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                runtime.block_on(serve(admin, probes, shared));
                drop(runtime); // a collector that hangs keeps its thread, not ours
                let _ = ending.send(true);
            }
        });
        thread.map_err(|error| Error::system("start the admin thread", error))?;
        Ok(Self {
            addr,
            probes: probes_addr,
            shared,
            drain,
            ended,
        })
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address of the port for probes, if there is one.
    pub(crate) const fn probes_addr(&self) -> Option<SocketAddr> {
        self.probes
    }

    /// Says how `POST /drain` starts the drain, for which reason; it returns whether it was the first to.
    pub(crate) fn on_drain(&self, start: impl Fn(&'static str) -> bool + Send + Sync + 'static) {
        self.drain.connect(start);
    }

    /// Closes the port and waits until its thread has ended.
    pub(crate) async fn stop(mut self) {
        self.close();
        let _ = self.ended.wait_for(|ended| *ended).await; // an error says that the thread is gone, too
    }

    /// Waits until the thread has ended; returns whether it panicked.
    pub(crate) fn panicked(&self) -> impl Future<Output = bool> + Send + 'static {
        let mut ended = self.ended.clone();
        async move { ended.wait_for(|ended| *ended).await.is_err() }
    }

    fn close(&self) {
        self.shared.phase.enter(Phase::Closing);
        self.shared.no_more.cancel();
    }
}

impl Drop for AdminThread {
    fn drop(&mut self) {
        self.close();
    }
}

/// The runtime of the thread. Dropping it waits for nobody: neither does a start that fails, which may be on another
/// runtime, nor does the end wait for a collector that hangs.
struct Background(Option<Runtime>);

impl Deref for Background {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0
            .as_ref()
            .expect("invariant: it is there until it is dropped")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(admin: (TcpListener, Served), probes: Option<(TcpListener, Served)>, shared: Arc<Shared>) {
    let probes = async {
        if let Some((listener, served)) = probes {
            accept(listener, served, Arc::clone(&shared)).await;
        }
    };
    let (listener, served) = admin;
    tokio::join!(accept(listener, served, Arc::clone(&shared)), probes);
    shared.tasks.close();
    if tokio::time::timeout(LAST_ANSWERS, shared.tasks.wait())
        .await
        .is_err()
    {
        shared.phase.enter(Phase::Cut);
        shared.kill.cancel();
        shared.tasks.wait().await;
    }
}
