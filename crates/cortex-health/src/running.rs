use crate::scheduler::Message;
use std::convert::Infallible;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long [`Running::stop`] waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// A started [`Health`](crate::Health); dropping it stops the scheduler.
///
/// From then on readiness fails, because nobody refreshes the checks.
///
/// # Examples
///
/// ```
/// use cortex_health::{Detail, Endpoint, Health};
/// use http::HeaderMap;
///
/// let runtime = tokio::runtime::Runtime::new()?;
/// let health = Health::builder().build()?;
/// let running = health.start(runtime.handle())?;
/// assert!(health.start(runtime.handle()).is_err()); // once
///
/// running.stop();
/// assert_eq!(health.respond(Endpoint::Ready, &HeaderMap::new(), Detail::None).status(), 503);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it stops the scheduler"]
pub struct Running {
    messages: Sender<Message>,
    /// Disconnected once the scheduler and those that it tells are at their end; the lock is for `Sync` alone.
    ended: Mutex<Receiver<Infallible>>,
}

impl Running {
    pub(crate) fn new(messages: Sender<Message>, ended: Receiver<Infallible>) -> Self {
        Self {
            messages,
            ended: Mutex::new(ended),
        }
    }

    /// Stops the scheduler and waits until it has ended, and log and observers have heard all: for one second at most.
    ///
    /// Async runs are aborted. Blocking runs are left to themselves, and so is an observer that blocks: they keep neither
    /// this call nor the process.
    pub fn stop(self) {
        self.stop_within(PATIENCE);
    }

    /// Stops like [`stop`](Self::stop), and waits for so long at most; `false`: somebody was not done by then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = tokio::runtime::Runtime::new()?;
    /// let running = cortex_health::Health::builder().build()?.start(runtime.handle())?;
    /// assert!(running.stop_within(Duration::from_secs(30)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop_within(mut self, limit: Duration) -> bool {
        let _ = self.messages.send(Message::Stop); // an error: the thread is gone already
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        // A panic of the scheduler is an end as well: its hook has reported it, and the lease ends without it.
        ended.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop); // an error: the thread is gone already
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}
