use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cortex_core::Clock;
use tracing_subscriber::fmt::MakeWriter;

use super::background::Background;
use super::duplicates::Limiter;
use super::flusher::Flusher;
use super::format::Format;
use super::lines;
use crate::FlushError;
use crate::export::Completion;

/// Flushes the logs of a layer that belongs to a subscriber, and tells what did not get through.
///
/// Made by [`JsonLogs::handle`](crate::JsonLogs::handle) and [`TextLogs::handle`](crate::TextLogs::handle), as the last
/// step before the layer is handed over. A clone is the same.
///
/// # Examples
///
/// ```
/// use cortex_trace::JsonLogs;
/// use std::time::Duration;
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let logs = JsonLogs::stdout().background(8192)?;
/// let handle = logs.handle();
/// tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), || {
///     tracing::info!("started");
/// });
/// handle.shutdown_blocking(Duration::from_secs(5))?;
/// assert_eq!(handle.stats().dropped, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LogHandle {
    output: Arc<dyn Output>,
    flusher: Arc<Flusher>,
}

/// The lines that did not get through.
///
/// # Examples
///
/// ```
/// let handle = cortex_trace::JsonLogs::stdout().handle();
/// assert_eq!(handle.stats(), cortex_trace::LogStats::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// They were more than a [`DuplicateLimit`](crate::DuplicateLimit) allows.
    pub suppressed: u64,
    /// The queue of a [`Background`] was full, or closed.
    pub dropped: u64,
    /// The writer failed.
    pub failed: u64,
}

impl LogHandle {
    pub(super) fn new(output: impl Output + 'static) -> Self {
        Self {
            output: Arc::new(output),
            flusher: Arc::default(),
        }
    }

    /// Returns how many lines did not get through.
    pub fn stats(&self) -> LogStats {
        self.output.stats()
    }

    /// Logs what was suppressed so far, and waits until all lines are written and the writer is flushed.
    ///
    /// Without a [`Background`] a thread is started for that, which ends when it is done: a writer that is stuck holds up
    /// nobody who flushes. Who holds the writer's lock, such as that of standard output, waits in vain.
    ///
    /// # Errors
    ///
    /// The time was up first, or the writer failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: the lines are written all the same.
    pub async fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        self.ask(false).settled(timeout).await
    }

    /// Does what [`flush`](Self::flush) does, and blocks the thread meanwhile.
    ///
    /// # Errors
    ///
    /// The time was up first, or the writer failed.
    pub fn flush_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        self.ask(false).wait(timeout)
    }

    /// Does what [`flush`](Self::flush) does, and ends the thread of a [`Background`], which takes no more lines.
    ///
    /// # Errors
    ///
    /// The time was up first, or the writer failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: the lines are written all the same, and no more are taken.
    pub async fn shutdown(&self, timeout: Duration) -> Result<(), FlushError> {
        self.ask(true).settled(timeout).await
    }

    /// Does what [`shutdown`](Self::shutdown) does, and blocks the thread meanwhile.
    ///
    /// # Errors
    ///
    /// The time was up first, or the writer failed.
    pub fn shutdown_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        self.ask(true).wait(timeout)
    }

    fn ask(&self, is_last: bool) -> Arc<Completion> {
        match self.output.background() {
            Some(background) => {
                self.output.tell_suppressed(); // into its queue, which does not wait
                background.ask(is_last)
            }
            None => self.flusher.ask(&self.output),
        }
    }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogHandle")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// What a handle can do, whatever the format and the writer.
pub(super) trait Output: Send + Sync {
    fn stats(&self) -> LogStats;

    fn tell_suppressed(&self);

    fn background(&self) -> Option<&Background>;

    /// Writes what was suppressed and flushes the writer, on this thread, for as long as that takes.
    fn flush(&self) -> io::Result<()>;
}

/// The parts of a layer that are left to others when a subscriber has it.
pub(super) struct Remote<F, W> {
    pub(super) format: F,
    pub(super) writer: Arc<W>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limiter: Option<Arc<Limiter>>,
    pub(super) background: Option<Background>,
    pub(super) failed: Arc<AtomicU64>,
}

impl<F, W> Output for Remote<F, W>
where
    F: Format,
    W: for<'w> MakeWriter<'w> + Send + Sync,
{
    fn stats(&self) -> LogStats {
        let background = self
            .background
            .as_ref()
            .map(Background::stats)
            .unwrap_or_default();
        LogStats {
            suppressed: self.limiter.as_ref().map_or(0, |limiter| limiter.suppressed()),
            dropped: background.dropped,
            failed: background.failed + self.failed.load(Ordering::Relaxed),
        }
    }

    fn tell_suppressed(&self) {
        let Some(limiter) = &self.limiter else { return };
        for suppressed in limiter.all() {
            let mut line = String::new();
            suppressed.notice(|notice| notice.write(&mut line, &self.format, self.clock.wall()));
            lines::write_line(&*self.writer, &self.failed, suppressed.metadata, &line);
        }
    }

    fn background(&self) -> Option<&Background> {
        self.background.as_ref()
    }

    fn flush(&self) -> io::Result<()> {
        self.tell_suppressed();
        self.writer.make_writer().flush()
    }
}
