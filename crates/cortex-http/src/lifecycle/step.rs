use std::pin::Pin;
use std::time::Duration;

use cortex_core::Clock;
use cortex_health::redact;
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};

use crate::report::StepEnd;

/// How long each of the last waits may take when the drain is forced to end, and what was aborted to be gone.
pub(super) const FORCED_LIMIT: Duration = Duration::from_millis(250);

/// The most characters that are told of an error: it is somebody else's, and may say anything at any length.
const MESSAGE: usize = 512;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a step of a start or an end, and a task, may return: nothing, or a `Result`.
///
/// # Examples
///
/// ```
/// use cortex_http::Subsystem;
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let cache = Subsystem::new("cache")
///     .start(second, async { std::fs::create_dir_all("/tmp") }) // its error is told
///     .stop(second, async {});
/// # let _ = cache;
/// ```
pub trait StepResult: sealed::Sealed {
    /// Returns the error, if it is one.
    #[doc(hidden)]
    fn into_result(self) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

impl StepResult for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> StepResult for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else implements it")]
    pub trait Sealed {}
    impl Sealed for () {}
    impl<E: Into<super::BoxError>> Sealed for Result<(), E> {}
}

pub(crate) type StepFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

pub(crate) fn boxed<F>(step: F) -> StepFuture
where
    F: Future<Output: StepResult> + Send + 'static,
{
    Box::pin(async move { step.await.into_result() })
}

/// A step with its limit.
pub(crate) struct Step {
    pub(crate) limit: Duration,
    pub(crate) future: StepFuture,
}

impl Step {
    /// Returns how long it may take, and what takes longer to be gone.
    pub(crate) fn longest(&self) -> Duration {
        self.limit.saturating_add(FORCED_LIMIT)
    }

    /// Begins to run it on the application's runtime, in a task of its own: what panics or blocks there keeps nobody.
    pub(crate) fn spawn(self, app: &Handle) -> Begun {
        Begun {
            limit: self.limit,
            task: app.spawn(self.future),
        }
    }
}

/// A step that runs. Dropping it aborts it.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) limit: Duration,
    pub(crate) task: JoinHandle<Result<(), BoxError>>,
}

impl Begun {
    /// Waits until it ends, `stop` is ready, or its limit is over, and aborts it then; what comes next does not begin beside
    /// it, unless it blocks its thread for longer than [`FORCED_LIMIT`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the step.
    pub(crate) async fn end(
        mut self,
        clock: &dyn Clock,
        stop: impl Future<Output = ()>,
    ) -> (StepEnd, Duration, Option<BoxError>) {
        let begun = clock.now();
        let (end, error) = tokio::select! {
            biased;
            ended = &mut self.task => ended_as(ended),
            () = stop => (StepEnd::Skipped, None),
            () = tokio::time::sleep(self.limit) => (StepEnd::TimedOut, None),
        };
        if !self.task.is_finished() {
            self.task.abort();
            let _ = tokio::time::timeout(FORCED_LIMIT, &mut self.task).await;
        }
        (end, clock.now().saturating_duration_since(begun), error)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn ended_as(ended: Result<Result<(), BoxError>, JoinError>) -> (StepEnd, Option<BoxError>) {
    match ended {
        Ok(Ok(())) => (StepEnd::Finished, None),
        Ok(Err(error)) => (StepEnd::Failed(redact(&error.to_string(), MESSAGE)), Some(error)),
        Err(error) if error.is_panic() => (StepEnd::Panicked, None),
        Err(_) => (StepEnd::Skipped, None), // the runtime of the application is gone
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use cortex_core::SystemClock;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    /// Is gone once it may be.
    struct Held {
        may: mpsc::Receiver<()>,
        gone: Arc<AtomicBool>,
    }

    impl Held {
        fn new() -> (Self, mpsc::Sender<()>, Arc<AtomicBool>) {
            let ((lets, may), gone) = (mpsc::channel(), Arc::new(AtomicBool::new(false)));
            let told = Arc::clone(&gone);
            (Self { may, gone }, lets, told)
        }

        /// A step that ends only when it is aborted.
        fn step(self) -> Step {
            let future = boxed(async move {
                let _held = self;
                std::future::pending::<()>().await;
            });
            Step { limit: LIMIT, future }
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            let _ = self.may.recv_timeout(Duration::from_mins(1));
            self.gone.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_gone_when_that_is_told() {
        let (held, lets, gone) = Held::new();
        drop(lets);
        let begun = held.step().spawn(&Handle::current());
        let before = tokio::time::Instant::now();
        let (end, _, error) = begun.end(&SystemClock, std::future::pending()).await;
        assert!(end == StepEnd::TimedOut && error.is_none());
        assert!(gone.load(Ordering::SeqCst));
        assert_eq!(before.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_longer_wanted_is_gone_when_that_is_told() {
        let (held, lets, gone) = Held::new();
        drop(lets);
        let begun = held.step().spawn(&Handle::current());
        let (end, ..) = begun.end(&SystemClock, std::future::ready(())).await;
        assert_eq!(end, StepEnd::Skipped);
        assert!(gone.load(Ordering::SeqCst));
    }

    /// Its thread is one of another runtime, where time is not paused.
    #[tokio::test(start_paused = true)]
    async fn what_blocks_its_thread_is_not_waited_for_in_the_end() {
        let app = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build();
        let app = app.expect("a thread");
        let (held, lets, gone) = Held::new();
        let begun = held.step().spawn(app.handle());
        let before = tokio::time::Instant::now();
        let (end, ..) = begun.end(&SystemClock, std::future::pending()).await;
        assert_eq!(end, StepEnd::TimedOut);
        assert!(!gone.load(Ordering::SeqCst));
        assert_eq!(before.elapsed(), LIMIT + FORCED_LIMIT);
        lets.send(()).unwrap();
        app.shutdown_background();
    }
}
