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
