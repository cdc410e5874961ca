use std::fmt;
use std::io::Write;
use std::ops::Deref;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Telemetry;

/// How long a line on standard error may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Shuts [`Telemetry`] down when it is dropped, so that nothing is lost at the end of `main`, also in a panic.
///
/// Made by [`Telemetry::guard`]. Dropping it blocks the thread until everything is exported or the time is up. What does
/// the work are threads of their own, so this is safe on any runtime; what was not done in time is told in a line on
/// standard error, since the logs have ended. If that is stuck, too, it is given up after a second.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Telemetry, Tracer};
/// use std::time::Duration;
///
/// fn main() -> Result<(), cortex_trace::TelemetryError> {
///     let telemetry = Telemetry::builder(Tracer::builder("shop")).install()?.guard(Duration::from_secs(5));
///     drop(telemetry.tracer().span("restock").start());
///     Ok(())
/// }
/// ```
#[must_use = "dropped at once, it ends what was just begun"]
pub struct TelemetryGuard {
    telemetry: Telemetry,
    timeout: Duration,
}

impl TelemetryGuard {
    pub(super) const fn new(telemetry: Telemetry, timeout: Duration) -> Self {
        Self { telemetry, timeout }
    }
}

impl Deref for TelemetryGuard {
    type Target = Telemetry;

    fn deref(&self) -> &Telemetry {
        &self.telemetry
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Err(error) = self.telemetry.shutdown_blocking(self.timeout) {
            tell(format!("failed to {error}\n"));
        }
    }
}

/// Writes a line on standard error, which may be as stuck as what the line is about: nobody waits long for it.
fn tell(line: String) {
    let (sender, told) = mpsc::channel::<()>();
    let thread = thread::Builder::new()
        .name("cortex-trace-tell".into())
        .spawn(move || {
            // Nobody is left to tell if that fails, too.
            let _ = std::io::stderr().write_all(line.as_bytes());
            drop(sender);
        });
    if thread.is_ok() {
        let _ = told.recv_timeout(LAST_WORDS); // ends when the sender is gone
    }
}

impl fmt::Debug for TelemetryGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryGuard")
            .field("telemetry", &self.telemetry)
            .field("timeout", &self.timeout)
            .finish()
    }
}
