use crate::check::Check;
use crate::outcome::Outcome;
use std::borrow::Cow;
use std::time::Duration;

/// Makes a check of a value that is in this process already: the state of a circuit breaker, how full a pool is, how
/// many messages wait in a queue, whether an actor was given up.
///
/// It is looked at every second, on a thread for blocking checks: one that waits for a lock for ever fails at its timeout
/// like any other check, and holds nobody else up.
///
/// # Examples
///
/// ```
/// use cortex_health::{Health, Outcome, checks};
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use std::sync::Arc;
///
/// let waiting = Arc::new(AtomicUsize::new(0)); // that of a pool
/// let pool = checks::state("pool", {
///     let waiting = Arc::clone(&waiting);
///     move || match waiting.load(Ordering::Relaxed) {
///         0..100 => Outcome::up(),
///         some @ 100..1000 => Outcome::degraded(format!("{some} jobs wait")),
///         many => Outcome::down(format!("{many} jobs wait")),
///     }
/// });
/// let health = Health::builder().check(pool).build()?;
/// assert!(health.snapshot().check("pool").is_some());
/// # Ok::<(), cortex_health::BuildError>(())
/// ```
pub fn state<O: Into<Outcome>>(
    name: impl Into<Cow<'static, str>>,
    look: impl Fn() -> O + Send + Sync + 'static,
) -> Check {
    Check::blocking(name, look).every(Duration::from_secs(1))
}
