use crate::builder::Builder;
use crate::error::RunNowError;
use crate::observer::Observer;
use crate::report::{CheckReport, Report};
use crate::running::Running;
use crate::scheduler::{self, Message, Waiter};
use crate::shared::Shared;
use crate::subscription::Subscription;
use cortex_core::{Clock, Context};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

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
        scheduler::start(&self.shared, runtime, None)
    }

    /// Starts like [`start`](Self::start), and tells this observer too, from the first event on. If it fails, the observer
    /// is told of nothing: another may have started this health, and goes on.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::Health;
    ///
    /// let runtime = tokio::runtime::Runtime::new()?;
    /// let health = Health::builder().build()?;
    /// let running = health.start_observed(runtime.handle(), ())?;
    /// assert!(health.start_observed(runtime.handle(), ()).is_err()); // once
    /// running.stop();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_observed(&self, runtime: &Handle, observer: impl Observer + 'static) -> io::Result<Running> {
        let observer: Arc<dyn Observer> = Arc::new(observer);
        scheduler::start(&self.shared, runtime, Some(&observer))
    }

    /// Says whether it was started, or is in a dry run: [`start`](Self::start) would fail.
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = tokio::runtime::Runtime::new()?;
    /// let health = cortex_health::Health::builder().build()?;
    /// assert!(!health.is_taken());
    /// health.start(runtime.handle())?.stop();
    /// assert!(health.is_taken()); // for ever
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_taken(&self) -> bool {
        self.shared.is_taken()
    }

    /// Tells this observer too, beside that of the [`Builder`] and those that were added before, from now on and for as
    /// long as the health lives.
    ///
    /// For who gets a health that is built already, as a server does that counts runs.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{Event, Health, Observer};
    ///
    /// #[derive(Debug)]
    /// struct Printed;
    ///
    /// impl Observer for Printed {
    ///     fn on_event(&self, event: &Event) {
    ///         println!("{event:?}");
    ///     }
    /// }
    ///
    /// let health = Health::builder().build()?;
    /// health.observe(Printed); // before `start`, to miss nothing
    /// # Ok::<(), cortex_health::BuildError>(())
    /// ```
    pub fn observe(&self, observer: impl Observer + 'static) {
        let observer: Arc<dyn Observer> = Arc::new(observer);
        self.shared.observe(&observer);
    }

    /// Returns how many events observers have not heard, all of them together, because they took too long.
    ///
    /// It needs none of them, so it tells of one that will never come back; an observer that does gets
    /// [`Event::Missed`](crate::Event::Missed).
    ///
    /// # Examples
    ///
    /// ```
    /// let health = cortex_health::Health::builder().build()?;
    /// assert_eq!(health.missed_events(), 0); // nobody listens
    /// # Ok::<(), cortex_health::BuildError>(())
    /// ```
    pub fn missed_events(&self) -> u64 {
        self.shared.missed()
    }

    /// Runs a check now and returns what is known of it then. If it runs already, this waits for the end of that run:
    /// there is never a second one, however many ask. A run that has ended before the call is not taken for it.
    ///
    /// It takes as long as the timeout of the check, and of those that it waits for before its first run or
    /// [asks](crate::Check::depends_on) before it gets worse, and no longer than the deadline of [`Context::current`], if that has one. A check that hangs, or is
    /// [`Skipped`](crate::Status::Skipped), is not run; its report is returned at once. The result counts like any
    /// other: a status that takes [`fall`](crate::Check::fall) results to get worse takes as many of these.
    ///
    /// # Errors
    ///
    /// There is no such check, the health does not run (a dry run does not count), too many wait already, or the deadline
    /// came first. Within a tokio runtime it comes by the runtime's timer, however late the scheduler is; elsewhere the scheduler tells of it.
    ///
    /// # Panics
    ///
    /// If the context has a deadline, and the tokio runtime that this is called on has no timer (`enable_time`).
    ///
    /// # Cancel safety
    ///
    /// The run goes on when the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{Check, Health, Status};
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let health = Health::builder().check(Check::from_fn("db", || async { true })).build()?;
    /// let running = health.start(&tokio::runtime::Handle::current())?;
    /// assert_eq!(health.run_now("db").await?.status(), Status::Up);
    /// running.stop();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn run_now(&self, check: &str) -> Result<CheckReport, RunNowError> {
        let shared = &*self.shared;
        let check = *shared.layout.checks.get(check).ok_or(RunNowError::UnknownCheck)?;
        if !shared.answers() {
            return Err(RunNowError::NotRunning);
        }
        let (reply, report) = oneshot::channel();
        let deadline = Context::current().deadline();
        let waiter = Waiter::new(reply, deadline, &shared.waiting).ok_or(RunNowError::TooManyWaiting)?;
        let message = Message::RunNow { check, waiter };
        shared
            .messages
            .send(message)
            .map_err(|_| RunNowError::NotRunning)?;
        let report = match deadline {
            Some(deadline) if Handle::try_current().is_ok() => {
                let left = deadline.remaining(shared.clock.now());
                let report = tokio::time::timeout(left, report).await;
                report.map_err(|_| RunNowError::DeadlineExceeded)?
            }
            _ => report.await,
        };
        report.map_err(|_| RunNowError::NotRunning)?
    }

    /// Runs all checks once, what depends on others after them, and returns what they found: for a start-up script, or
    /// a test of the checks themselves.
    ///
    /// Probes and subscribers see nothing of it. What has no result at the timeout is
    /// [`Unknown`](crate::Status::Unknown) in the report. A run that does not end then is remembered:
    /// [`start`](Self::start) begins no second one beside it.
    ///
    /// # Errors
    ///
    /// The thread could not be started, or this health was started ([`AlreadyExists`](io::ErrorKind::AlreadyExists)).
    ///
    /// # Cancel safety
    ///
    /// The runs go on when the future is dropped, until the timeout, and `start` fails for so long.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{Check, Health, Status};
    /// use std::time::Duration;
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let health = Health::builder().check(Check::from_fn("db", || async { Err::<(), _>("no route") })).build()?;
    /// let runtime = tokio::runtime::Handle::current();
    /// let report = health.check_all_once(&runtime, Duration::from_secs(5)).await?;
    /// assert_eq!((report.status(), report.root_causes()), (Status::Down, vec!["db"]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn check_all_once(&self, runtime: &Handle, timeout: Duration) -> io::Result<Report> {
        scheduler::once(&self.shared, runtime, timeout).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Check;
    use cortex_core::{Deadline, FutureExt};
    use cortex_testkit::ManualClock;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_holds_however_late_the_scheduler_is() {
        let clock = ManualClock::new();
        let builder = Health::builder().clock(clock.clone());
        let health = builder.check(Check::from_fn("db", || async {})).build().unwrap();
        health.shared.take().unwrap();
        health.shared.begin_to_answer(); // and never looks into its mailbox
        for millis in [0, 1, 800] {
            let timeout = Duration::from_millis(millis);
            let context = Context::new().with_deadline(Deadline::after(clock.now(), timeout));
            let began = tokio::time::Instant::now();
            let error = health.run_now("db").with_context(context).await.unwrap_err();
            assert_eq!(error, RunNowError::DeadlineExceeded);
            let took = began.elapsed();
            assert!(
                took >= timeout && took <= timeout + Duration::from_millis(1),
                "{took:?}"
            );
        }
    }
}
