use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cortex_health::Health;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::AdminThread;
use crate::error::Error;
use crate::lifecycle::{Lifecycle, Phase};
use crate::report::ExitReport;
use crate::shared::Shared;
use crate::signals::{Received, Signals};

/// A service that runs. Dropping it starts the drain, as [`shutdown`](Self::shutdown) does.
pub struct Running {
    local_addr: SocketAddr,
    /// The address of the admin port, and the runtime of its thread.
    admin: Option<(SocketAddr, Handle)>,
    control: Arc<Control>,
    /// Taken by `join`.
    drained: Option<JoinHandle<ExitReport>>,
}

/// How the drain is asked for.
#[derive(Debug)]
struct Control {
    shared: Arc<Shared>,
    health: Health,
    asked: OnceLock<Instant>,
    drain: CancellationToken,
    force: CancellationToken,
    forced: AtomicBool,
    signal: OnceLock<Received>,
}

impl Control {
    fn new(shared: Arc<Shared>, health: Health) -> Self {
        Self {
            shared,
            health,
            asked: OnceLock::new(),
            drain: CancellationToken::new(),
            force: CancellationToken::new(),
            forced: AtomicBool::new(false),
            signal: OnceLock::new(),
        }
    }

    /// Starts the drain. Readiness fails here, on the thread that asks: the task that does the rest may have to wait for
    /// a worker.
    fn start(&self) {
        self.asked.get_or_init(|| self.shared.clock.now());
        self.shared.phase.enter(Phase::Draining);
        self.health.set_draining(true);
        self.drain.cancel();
    }

    /// Ends the drain.
    fn end(&self) {
        self.forced.store(true, Ordering::Relaxed);
        self.force.cancel();
    }

    /// Starts the drain at the first signal, which is its reason, and ends it at the next. Several may watch: what they
    /// do twice has no effect.
    async fn watch(&self, mut signals: Signals) {
        let _ = self.signal.set(signals.recv().await);
        self.start();
        signals.recv().await;
        self.end();
    }
}

impl Running {
    pub(crate) fn new(local_addr: SocketAddr, health: Health, drain: Drain) -> Self {
        let admin = drain.admin.as_ref();
        let admin = admin.map(|admin| (admin.addr(), admin.runtime().clone()));
        let control = Arc::new(Control::new(Arc::clone(&drain.shared), health));
        let drained = Some(tokio::spawn(drain.run(Arc::clone(&control))));
        Self {
            local_addr,
            admin,
            control,
            drained,
        }
    }

    /// Returns the address that the service listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns the address of the admin port, if there is one.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(addr, _)| *addr)
    }

    /// Starts the drain; [`join`](Self::join) waits for its end. Readiness fails before this returns.
    pub fn shutdown(&self) {
        self.control.start();
    }

    /// Ends the drain now, or starts and ends it: what is under way is cut.
    pub fn kill(&self) {
        self.control.start();
        self.control.end();
    }

    /// Waits until the service has ended, which it does once [`shutdown`](Self::shutdown) or [`kill`](Self::kill) is
    /// called.
    ///
    /// # Panics
    ///
    /// If the runtime was shut down before.
    ///
    /// # Cancel safety
    ///
    /// Dropping it starts the drain in the background.
    pub async fn join(mut self) -> ExitReport {
        let drained = self
            .drained
            .as_mut()
            .expect("invariant: set until `join` takes it");
        let report = drained.await.expect("the runtime outlives the service");
        self.drained = None;
        report
    }

    /// Runs until SIGTERM or SIGINT, drains, and says how it went; a second signal ends it at once.
    ///
    /// The call itself installs the handlers: announce the service after it, await it then, and no signal that answers
    /// the announcement is missed. If there is an admin port its thread watches for signals too, so that readiness fails
    /// at once while every worker of the application is blocked.
    ///
    /// # Errors
    ///
    /// The signal handlers cannot be installed.
    ///
    /// # Cancel safety
    ///
    /// As [`join`](Self::join).
    pub fn serve_until_signal(self) -> impl Future<Output = Result<ExitReport, Error>> {
        let signals = Signals::install().and_then(|signals| {
            self.watch_on_admin_thread()?;
            Ok(signals)
        });
        async move {
            let signals = signals.map_err(Error::signals)?;
            Ok(self.until(signals).await)
        }
    }

    /// Lets the thread of the admin port, if there is one, watch for signals beside [`until`](Self::until).
    pub(crate) fn watch_on_admin_thread(&self) -> io::Result<()> {
        if let Some((_, runtime)) = &self.admin {
            let (control, signals) = (Arc::clone(&self.control), Signals::install()?);
            runtime.spawn(async move { control.watch(signals).await });
        }
        Ok(())
    }

    pub(crate) async fn until(self, signals: Signals) -> ExitReport {
        let control = Arc::clone(&self.control);
        let mut joined = std::pin::pin!(self.join());
        tokio::select! {
            report = &mut joined => return report,
            () = control.watch(signals) => {}
        }
        joined.await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.start();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("local_addr", &self.local_addr)
            .field("admin_addr", &self.admin_addr())
            .finish_non_exhaustive()
    }
}

/// How long connections get to notice that they are cut.
const CUT_LIMIT: Duration = Duration::from_secs(1);

/// What the end of a service has to end, in order.
pub(crate) struct Drain {
    pub(crate) name: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) checks: cortex_health::Running,
    pub(crate) admin: Option<AdminThread>,
    pub(crate) accepting: JoinHandle<()>,
}

impl Drain {
    /// Waits to be asked, then ends the service phase by phase.
    async fn run(self, control: Arc<Control>) -> ExitReport {
        let Self {
            name,
            shared,
            lifecycle,
            checks,
            admin,
            accepting,
        } = self;
        control.drain.cancelled().await;
        let start = *control.asked.get_or_init(|| shared.clock.now());
        let reason = control.signal.get().map_or("requested", |received| received.name);

        tracing::info!(service = name, reason, "draining: not ready, still accepting");
        unless_forced(&control, tokio::time::sleep(lifecycle.drain_delay)).await;

        shared.phase.enter(Phase::Closing);
        shared.closing.cancel();
        if let Err(error) = accepting.await {
            tracing::error!(%error, "the accept loop had failed");
        }
        shared.tasks.close();
        let drained = tokio::time::timeout(lifecycle.drain_timeout, shared.tasks.wait());
        if !matches!(unless_forced(&control, drained).await, Some(Ok(()))) {
            shared.phase.enter(Phase::Cut);
            shared.kill.cancel();
            let _ = tokio::time::timeout(CUT_LIMIT, shared.tasks.wait()).await;
        }
        let unfinished = shared.tasks.len();
        let drained_in = shared.clock.now().saturating_duration_since(start);

        drop(checks); // signals the scheduler; nothing waits for a check that hangs
        let telemetry_lost = shared.tracer.flush(lifecycle.flush_timeout).await.is_err();
        let tally = &shared.tally;
        let report = ExitReport {
            reason,
            requests: tally.requests.load(Ordering::Relaxed),
            connections: tally.connections.load(Ordering::Relaxed),
            drained_in,
            cut: tally.take_cut(),
            cut_total: tally.cut_total.load(Ordering::Relaxed),
            unfinished,
            forced: control.forced.load(Ordering::Relaxed),
            telemetry_lost,
            signal: control.signal.get().map(|received| received.number),
        };
        tracing::info!(service = name, code = report.code(), "{report}");
        if let Some(admin) = admin {
            admin.stop().await; // last: whoever watches the drain sees its end
        }
        report
    }
}

async fn unless_forced<T>(control: &Control, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = control.force.cancelled() => None,
    }
}
