use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;

use super::error::{OtlpError, OtlpErrorKind as Kind};
use super::inbox::Command;
use super::stats::{OtlpStats, Tally};
use super::worker;

/// Owns the task of an [`OtlpExporter`](crate::OtlpExporter): when it is dropped, the task ends without a last push.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, OtlpErrorKind, OtlpExporter, Registry};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::default();
/// registry.register("jobs", "Jobs done.", Counter::default())?;
/// let handle = OtlpExporter::http(&registry)
///     .endpoint("http://127.0.0.1:1/v1/metrics") // nobody listens there
///     .start()?;
///
/// let error = handle.shutdown(Duration::from_millis(50)).await.unwrap_err();
/// assert!(matches!(error.kind(), OtlpErrorKind::Transport | OtlpErrorKind::TimedOut));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the exporter stops when its handle is dropped"]
pub struct OtlpHandle {
    commands: mpsc::UnboundedSender<Command>,
    tally: Arc<Tally>,
}

impl OtlpHandle {
    pub(super) fn new(commands: mpsc::UnboundedSender<Command>, tally: Arc<Tally>) -> Self {
        Self { commands, tally }
    }

    /// Pushes now, and waits for it: after the requests of a push that is on its way, and instead of one that waits to be
    /// tried again.
    ///
    /// # Errors
    ///
    /// The collector did not take all of it, although it was tried again until the next interval.
    ///
    /// # Cancel safety
    ///
    /// When it is cancelled, the push goes on.
    pub async fn flush(&self) -> Result<(), OtlpError> {
        let (done, result) = oneshot::channel();
        let _ = self.commands.send(Command::Flush(done)); // if it fails, so does the other end
        result
            .await
            .unwrap_or_else(|_| Err(OtlpError::new(Kind::Stopped)))
    }

    /// Pushes one last time, for at most so long, and ends the task. A request that is on its way is given up: the last
    /// one has what it has.
    ///
    /// # Errors
    ///
    /// The collector did not take all of it in time.
    ///
    /// # Cancel safety
    ///
    /// When it is cancelled, the last push goes on until its time is over.
    pub async fn shutdown(self, within: Duration) -> Result<(), OtlpError> {
        let deadline = worker::after(within);
        let (done, result) = oneshot::channel();
        let _ = self.commands.send(Command::Shutdown(deadline, done)); // as above
        match timeout_at(deadline, result).await {
            Ok(result) => result.unwrap_or_else(|_| Err(OtlpError::new(Kind::Stopped))),
            Err(_) => Err(OtlpError::new(Kind::TimedOut)),
        }
    }

    /// Returns what has been done so far.
    pub fn stats(&self) -> OtlpStats {
        self.tally.read()
    }
}
