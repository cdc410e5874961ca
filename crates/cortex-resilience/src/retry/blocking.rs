use super::error::{Error, GaveUp};
use super::policy::Retry;
use super::progress::{Link, Progress, Verdict};
use crate::attempt::Attempt;
use crate::classify::Classify;
use crate::observer::Observer;
use crate::outcome::Outcome;
use cortex_core::Clock;
use std::time::Duration;

/// Waits on behalf of code that is not asynchronous; a function of a [`Duration`] is one.
///
/// # Examples
///
/// ```
/// use cortex_resilience::retry::{Backoff, Retry};
/// use std::cell::Cell;
/// use std::time::Duration;
///
/// let slept = Cell::new(Duration::ZERO);
/// let sleeper = |delay: Duration| slept.set(slept.get() + delay); // a test's
/// let backoff = Backoff::linear(Duration::from_secs(1));
/// let retry = Retry::builder("payments").backoff(backoff).build()?;
/// let result = retry.call_blocking(|_| Err::<(), _>("no route"), &sleeper);
/// assert!(result.is_err());
/// assert_eq!(slept.get(), Duration::from_secs(3));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub trait Sleeper {
    /// Returns after this time.
    fn sleep(&self, time: Duration);
}

impl<F: Fn(Duration)> Sleeper for F {
    fn sleep(&self, time: Duration) {
        self(time);
    }
}

/// Blocks the thread.
///
/// # Examples
///
/// ```
/// use cortex_resilience::retry::{Sleeper, ThreadSleeper};
///
/// ThreadSleeper.sleep(std::time::Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadSleeper;

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that blocks, where the caller asks for it"
)]
impl Sleeper for ThreadSleeper {
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

impl<C, O: Observer, K: Clock> Retry<C, O, K> {
    /// Calls a function until it succeeds or there are no more attempts, and waits between them on this thread.
    ///
    /// # Errors
    ///
    /// As [`Error`] says. A result that is `Ok` is returned as it is, also where the classifier takes it for a failure.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_resilience::retry::{Retry, ThreadSleeper};
    ///
    /// let retry = Retry::builder("settings").build()?;
    /// let text = retry.call_blocking(|_| std::fs::read_to_string("Cargo.toml"), &ThreadSleeper)?;
    /// assert!(text.contains("cortex-resilience"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call_blocking<T, E>(
        &self,
        mut operation: impl FnMut(Attempt) -> Result<T, E>,
        sleeper: &impl Sleeper,
    ) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
    {
        let link = Link::Borrowed(self);
        let mut progress = Progress::new();
        let mut attempt = link.first(&mut progress).map_err(Error::Rejected)?;
        let mut kept = None;
        loop {
            let result = progress.run(|| operation(attempt));
            let outcome = self.classify.outcome(result.as_ref());
            if outcome == Outcome::Success {
                progress.succeeded();
                return progress.gave_up((GaveUp::NotRetryable, None), result);
            }
            let verdict = link.failed(&mut progress, outcome, result.as_ref());
            let result = link.last(kept.take(), result);
            match verdict {
                Verdict::GiveUp(reason, refusal) => return progress.gave_up((reason, refusal), result),
                Verdict::Retry { delay, .. } => sleeper.sleep(delay),
            }
            match link.again(&mut progress) {
                Ok(next) => attempt = next,
                Err(reason) => {
                    let refusal = progress.refusal();
                    return progress.gave_up((reason, refusal), result);
                }
            }
            kept = link.keep(result);
        }
    }
}
