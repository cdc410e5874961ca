use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cortex_compress::Compress;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::lifecycle::Phase;
use crate::serve::accept_loop;
use crate::shared::Shared;

/// How long an admin request may hold up the end of the process.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The thread that serves the admin port. Dropping it lets the port close by itself.
#[derive(Debug)]
pub(crate) struct AdminThread {
    addr: SocketAddr,
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
}

impl AdminThread {
    pub(crate) fn start(addr: &str, app: Compress<Router>, shared: Shared) -> Result<Self, Error> {
        let listener = std::net::TcpListener::bind(addr).map_err(|error| Error::bind(addr, error))?;
        let addr = listener.local_addr().map_err(|error| Error::bind(addr, error))?;
        listener
            .set_nonblocking(true)
            .map_err(|error| Error::system("prepare the admin listener", error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(4)
            .build()
            .map_err(|error| Error::system("make the admin runtime", error))?;
        let (shared, (ending, ended)) = (Arc::new(shared), oneshot::channel());
        let thread = std::thread::Builder::new().name("cortex-admin".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                match runtime.block_on(async { TcpListener::from_std(listener) }) {
                    Ok(listener) => runtime.block_on(serve(listener, app, shared)),
                    Err(error) => tracing::error!(%error, "the admin port does not serve"),
                }
                runtime.shutdown_background(); // a collector that hangs keeps its thread, not ours
                let _ = ending.send(());
            }
        });
        thread.map_err(|error| Error::system("start the admin thread", error))?;
        Ok(Self { addr, shared, ended })
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the port and waits until its thread has ended.
    pub(crate) async fn stop(mut self) {
        self.close();
        let _ = (&mut self.ended).await; // an error says that the thread is gone, too
    }

    fn close(&self) {
        self.shared.phase.enter(Phase::Closing);
        self.shared.closing.cancel();
    }
}

impl Drop for AdminThread {
    fn drop(&mut self) {
        self.close();
    }
}

async fn serve(listener: TcpListener, app: Compress<Router>, shared: Arc<Shared>) {
    accept_loop(listener, app, Arc::clone(&shared)).await;
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
