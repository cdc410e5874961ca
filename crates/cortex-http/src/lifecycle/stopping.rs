use std::fmt;

use tokio_util::sync::CancellationToken;

/// Tells the [task](crate::Subsystem::task) of a subsystem that it is its turn to stop.
///
/// That is in the phase `stopping`, after all connections have ended, and after the subsystems that came later have stopped.
/// What has to know earlier, when the service stops accepting connections, takes a [`Closing`](crate::Closing). Clones
/// tell the same.
///
/// # Examples
///
/// ```
/// use cortex_http::{Stopping, Subsystem};
/// use std::time::Duration;
///
/// async fn consume(stopping: Stopping) {
///     while !stopping.is_cancelled() {
///         // works on what comes
///         # stopping.cancelled().await;
///     }
/// }
/// let consumer = Subsystem::new("consumer").task(Duration::from_secs(5), consume);
/// # drop(consumer);
/// ```
#[derive(Clone)]
pub struct Stopping(CancellationToken);

impl Stopping {
    pub(super) fn new() -> Self {
        Self(CancellationToken::new())
    }

    /// Waits until it is time to stop; returns at once if it is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }

    /// Says whether it is time to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    pub(super) fn cancel(&self) {
        self.0.cancel();
    }
}

impl fmt::Debug for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopping")
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}
