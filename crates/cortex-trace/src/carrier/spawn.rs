use tokio::task::{self, JoinHandle};

use super::Traced;

/// Spawns a task that runs under what is current now.
///
/// # Panics
///
/// Outside a tokio runtime.
///
/// # Cancel safety
///
/// An aborted task drops its future under what was captured.
///
/// # Examples
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// use cortex_core::Context;
/// use cortex_trace::{Tracer, spawn_traced};
///
/// let span = Tracer::propagate_only().span("import").start();
/// let task = span.in_scope(|| spawn_traced(async { Context::current() }));
/// assert_eq!(task.await.ok(), Some(span.context()));
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn spawn_traced<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    task::spawn(Traced::new(future))
}

/// Runs `work` on a thread where it may block, under what is current now.
///
/// # Panics
///
/// Outside a tokio runtime.
///
/// # Examples
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// use cortex_core::Context;
/// use cortex_trace::{Tracer, spawn_blocking_traced};
///
/// let span = Tracer::propagate_only().span("hash").start();
/// let task = span.in_scope(|| spawn_blocking_traced(Context::current));
/// assert_eq!(task.await.ok(), Some(span.context()));
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn spawn_blocking_traced<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let work = Traced::new(work);
    task::spawn_blocking(|| work.run(|work| work()))
}
