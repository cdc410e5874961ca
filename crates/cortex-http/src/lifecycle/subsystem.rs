use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::step::{FORCED_LIMIT, Step, StepFuture, StepResult, boxed};
use super::stopping::Stopping;

type TaskFn = Box<dyn FnOnce(Stopping) -> StepFuture + Send>;

/// A part of the program that lives with the service: it starts before the first request and stops after the last.
///
/// A server starts its subsystems in the order in which it got them, before it accepts connections: until all have
/// started, `/startupz` and `/readyz` answer 503. It stops them in reverse order once all connections have ended, so that
/// a handler never meets a pool that is closed. Each step has a limit; what exceeds it is aborted and named in the
/// [`ExitReport`](crate::ExitReport). Steps are futures, polled when their turn comes, on the runtime of the application.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cortex_http::{Routes, Server, Subsystem};
/// use std::time::Duration;
///
/// let (orders, mut queue) = tokio::sync::mpsc::channel::<String>(16);
/// let second = Duration::from_secs(1);
/// let running = Server::new(Routes::new())
///     .subsystem(Subsystem::new("store").start(second, async { Ok::<_, std::io::Error>(()) }).stop(second, async {}))
///     .subsystem(Subsystem::new("orders").task(second, |stop| async move {
///         loop {
///             tokio::select! {
///                 Some(_order) = queue.recv() => {} // works on it
///                 () = stop.cancelled() => return, // after all requests, so that no order is lost
///             }
///         }
///     }))
///     .start("127.0.0.1:0")
///     .await?;
/// running.shutdown();
/// let report = running.join().await;
/// assert_eq!(report.subsystems[0].name, "orders"); // the last one first
/// assert_eq!(report.code(), 0);
/// # drop(orders);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a subsystem does nothing until `Server::subsystem` takes it"]
pub struct Subsystem {
    pub(crate) name: Cow<'static, str>,
    pub(crate) start: Option<Step>,
    pub(crate) task: Option<(Duration, TaskFn)>,
    pub(crate) stop: Option<Step>,
}

impl Subsystem {
    /// Makes one that does nothing yet. The name appears in logs, errors and the report.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            start: None,
            task: None,
            stop: None,
        }
    }

    /// Starts it by this future, within this limit. If it fails, panics or takes longer, the server does not start:
    /// once the future is gone, and with it what it holds, the subsystems before it are stopped again, and the error names
    /// this one. Its own [`stop`](Self::stop) does not run, as it has not started.
    pub fn start<F>(mut self, limit: Duration, step: F) -> Self
    where
        F: Future<Output: StepResult> + Send + 'static,
    {
        self.start = Some(Step {
            limit,
            future: boxed(step),
        });
        self
    }

    /// Runs this task for as long as the service runs, from when the subsystem has started. When it is its turn to stop,
    /// the [`Stopping`] that it got fires, and it has this limit to return.
    ///
    /// The service depends on it: if it returns, fails or panics before, the service drains and ends with the exit code
    /// 1, and whatever supervises the process starts it anew. A task that may end by itself is `tokio::spawn`'s.
    pub fn task<F>(mut self, limit: Duration, task: impl FnOnce(Stopping) -> F + Send + 'static) -> Self
    where
        F: Future<Output: StepResult> + Send + 'static,
    {
        self.task = Some((
            limit,
            Box::new(move |stop| boxed(async move { task(stop).await })),
        ));
        self
    }

    /// Stops it by this future, within this limit, after its [task](Self::task) has ended. If the task took too long and
    /// cannot be aborted, as it blocks its thread, this is left out: it still uses what would be stopped here.
    pub fn stop<F>(mut self, limit: Duration, step: F) -> Self
    where
        F: Future<Output: StepResult> + Send + 'static,
    {
        self.stop = Some(Step {
            limit,
            future: boxed(step),
        });
        self
    }

    /// Returns how long it may take to stop, and what takes longer to be gone.
    pub(crate) fn longest_stop(&self) -> Duration {
        let limits = [
            self.task
                .as_ref()
                .map(|(limit, _)| limit.saturating_add(FORCED_LIMIT)),
            self.stop.as_ref().map(Step::longest),
        ];
        let limits = limits.into_iter().flatten();
        limits.fold(Duration::ZERO, Duration::saturating_add)
    }
}

impl fmt::Debug for Subsystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subsystem")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
