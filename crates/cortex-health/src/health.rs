use crate::builder::Builder;
use crate::report::Report;
use crate::running::Running;
use crate::scheduler;
use crate::shared::Shared;
use crate::subscription::Subscription;
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::runtime::Handle;

/// The health of a process: checks, and what was found by them last. A clone is the same health.
///
/// # Examples
///
/// ```
/// use cortex_health::{Check, Detail, Endpoint, Health, Status};
/// use http::HeaderMap;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// async fn ping() -> Result<(), std::io::Error> {
///     Ok(())
/// }
///
/// let health = Health::builder().service("shop", "1.4.2").check(Check::from_fn("db", ping)).build()?;
/// let running = health.start(&tokio::runtime::Handle::current())?; // the first runs start at once
/// while health.snapshot().status() != Status::Up {
///     tokio::task::yield_now().await;
/// }
/// assert_eq!(health.respond(Endpoint::Ready, &HeaderMap::new(), Detail::None).status(), 200);
///
/// health.set_draining(true); // on SIGTERM
/// assert_eq!(health.respond(Endpoint::Ready, &HeaderMap::new(), Detail::None).status(), 503);
/// running.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Health {
    pub(crate) shared: Arc<Shared>,
}

impl Health {
    /// Collects the checks of a health.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts to run the checks: schedules on a thread of its own, runs async checks on `runtime`.
    ///
    /// All checks run at once, then each at its interval. Timeouts, staleness and answers need no free worker of the
    /// runtime.
    ///
    /// # Errors
    ///
    /// The thread could not be started, or this health was started before
    /// ([`AlreadyExists`](io::ErrorKind::AlreadyExists)).
    pub fn start(&self, runtime: &Handle) -> io::Result<Running> {
        scheduler::start(&self.shared, runtime)
    }

    /// Refuses traffic from now on, or takes it again: readiness says so at once, liveness never does.
    pub fn set_draining(&self, draining: bool) {
        self.shared.set_draining(draining);
    }

    /// Says whether traffic is refused by [`set_draining`](Self::set_draining).
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// Listens to the changes of all checks from now on, before or after [`start`](Self::start).
    ///
    /// The newest 256 wait for the subscriber, who may be a task or a thread without a runtime.
    pub fn subscribe(&self) -> Subscription {
        self.shared.hub.subscribe()
    }

    /// Returns the last report, without waiting for anything.
    ///
    /// Once the scheduler has stopped or died, the report says that nothing is known.
    pub fn snapshot(&self) -> Arc<Report> {
        self.shared.snapshot()
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("checks", &self.shared.names)
            .field("draining", &self.is_draining())
            .finish_non_exhaustive()
    }
}
