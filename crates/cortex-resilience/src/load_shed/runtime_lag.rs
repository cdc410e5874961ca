use super::policy::ShedPolicy;
use crate::time::nanos;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Sheds while a runtime of tokio is late: more is ready to run than its workers get done. Clones look at the same.
///
/// A task on the runtime wakes every 25 ms, and how much later than that it runs is how long everything on it waits for a worker
/// before it runs at all. That is a delay that all calls suffer and no handler can see, and it is zero however many of them wait for
/// something else. Above the bound there is too much to do, until a later beat was in time; one that is overdue counts as late
/// already. It cannot help against code that blocks its worker.
///
/// Without the task, because the runtime has ended or has no timer, nobody knows how late anything is, and nothing is shed.
///
/// # Performance
///
/// It reads tokio's clock and two words; [`lag_at`](Self::lag_at) is for those who know the time already.
///
/// # Examples
///
/// ```
/// use cortex_resilience::load_shed::{LoadShed, RuntimeLag};
/// use std::time::Duration;
/// use tokio::runtime::Handle;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let lag = RuntimeLag::new(&Handle::current(), Duration::from_millis(100));
/// let shed = LoadShed::builder("search").policy(lag).build();
/// assert!(shed.try_acquire().is_ok());
/// # }
/// ```
#[derive(Clone)]
pub struct RuntimeLag {
    inner: Arc<Inner>,
}

struct Inner {
    pulse: Arc<Pulse>,
    max_lag: Duration,
    task: AbortHandle,
}

/// What the task writes; times are nanoseconds since its start.
struct Pulse {
    start: Instant,
    /// When the next beat is due.
    due: AtomicU64,
    /// How late the last one was.
    lag: AtomicU64,
    /// There will be no further beat.
    ended: AtomicBool,
}

/// No beat is due: there was none yet, or there will be none.
const NEVER: u64 = u64::MAX;

/// What the task holds of its pulse. When it ends, however it does, nothing is due any more.
struct Heart(Weak<Pulse>);

const BEAT: Duration = Duration::from_millis(25);

impl RuntimeLag {
    /// Watches this runtime, and sheds while it is later than `max_lag`; 100 ms is a lot. The task ends when the last clone is
    /// dropped.
    ///
    /// Without a timer in the runtime the task panics, and nothing is ever shed.
    pub fn new(runtime: &Handle, max_lag: Duration) -> Self {
        let _guard = runtime.enter();
        let start = tokio::time::Instant::now();
        let pulse = Arc::new(Pulse {
            start: start.into_std(),
            due: AtomicU64::new(NEVER),
            lag: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let task = runtime.spawn(beat(Heart(Arc::downgrade(&pulse)), start));
        let task = task.abort_handle();
        let inner = Arc::new(Inner { pulse, max_lag, task });
        Self { inner }
    }

    /// Returns how late the runtime is, by tokio's clock; `None` while nobody watches it.
    pub fn lag(&self) -> Option<Duration> {
        self.lag_at(tokio::time::Instant::now().into_std())
    }

    /// Returns how late the runtime is at a time that the caller has read; `None` while nobody watches it.
    #[inline]
    pub fn lag_at(&self, now: Instant) -> Option<Duration> {
        let pulse = &self.inner.pulse;
        let due = pulse.due.load(Ordering::Relaxed);
        if due == NEVER {
            return None;
        }
        let overdue = nanos(now.saturating_duration_since(pulse.start)).saturating_sub(due);
        Some(Duration::from_nanos(
            overdue.max(pulse.lag.load(Ordering::Relaxed)),
        ))
    }

    /// Returns how late it may be.
    pub fn max_lag(&self) -> Duration {
        self.inner.max_lag
    }

    /// Says whether nobody will ever watch the runtime again: it has ended, or has no timer.
    pub fn has_ended(&self) -> bool {
        self.inner.pulse.ended.load(Ordering::Relaxed)
    }
}

impl ShedPolicy for RuntimeLag {
    fn is_overloaded(&self) -> bool {
        self.lag().is_some_and(|lag| lag > self.inner.max_lag)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        if let Some(pulse) = self.0.upgrade() {
            pulse.lag.store(0, Ordering::Relaxed);
            pulse.ended.store(true, Ordering::Relaxed);
            pulse.due.store(NEVER, Ordering::Relaxed);
        }
    }
}

async fn beat(heart: Heart, start: tokio::time::Instant) {
    let mut due = tokio::time::Instant::now() + BEAT;
    loop {
        if let Some(pulse) = heart.0.upgrade() {
            pulse.due.store(nanos(due - start), Ordering::Relaxed);
        }
        tokio::time::sleep_until(due).await;
        let Some(pulse) = heart.0.upgrade() else { return };
        let now = tokio::time::Instant::now();
        pulse.lag.store(nanos(now - due), Ordering::Relaxed);
        due = now + BEAT;
    }
}

impl fmt::Debug for RuntimeLag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeLag")
            .field("max_lag", &self.inner.max_lag)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_shed::LoadShed;
    use tokio::time::advance;

    const MAX: Duration = Duration::from_millis(100);

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[tokio::test(start_paused = true)]
    async fn sheds_from_a_late_beat_until_one_that_is_in_time() {
        let lag = RuntimeLag::new(&Handle::current(), MAX);
        let shed = LoadShed::builder("search").policy(lag.clone()).build();
        assert_eq!((lag.lag(), lag.max_lag()), (None, MAX)); // it has not run yet
        for _ in 0..5 {
            assert!(shed.try_acquire().is_ok());
            advance(BEAT).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(lag.lag(), Some(Duration::ZERO));
        advance(BEAT + MAX + Duration::from_millis(9)).await; // the workers were busy
        assert!(shed.try_acquire().is_err() && lag.lag() > Some(MAX));
        tokio::time::sleep(BEAT * 2).await;
        assert!(shed.try_acquire().is_ok());
        // No beat comes at all.
        assert!(lag.lag_at(now() + MAX) <= Some(MAX));
        assert!(lag.lag_at(now() + MAX + BEAT * 2) > Some(MAX));
        assert_eq!(format!("{lag:?}"), "RuntimeLag { max_lag: 100ms, .. }");
    }

    #[test]
    fn sheds_nothing_when_its_task_is_gone() {
        let far = now() + Duration::from_hours(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.unwrap();
        let lag = RuntimeLag::new(runtime.handle(), MAX);
        runtime.block_on(tokio::task::yield_now());
        assert!(lag.lag_at(far) > Some(MAX) && !lag.has_ended());
        drop(runtime);
        assert!(lag.lag_at(far).is_none() && lag.has_ended());
        // Without a timer its task panics at the first beat.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lag = RuntimeLag::new(runtime.handle(), MAX);
        runtime.block_on(tokio::task::yield_now());
        assert!(!lag.is_overloaded() && lag.has_ended());
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_ends_with_the_last_clone() {
        let runtime = Handle::current();
        let lag = RuntimeLag::new(&runtime, Duration::ZERO);
        let clone = lag.clone();
        tokio::time::sleep(BEAT * 3).await;
        drop(lag);
        tokio::task::yield_now().await;
        assert_eq!(runtime.metrics().num_alive_tasks(), 1);
        drop(clone);
        tokio::task::yield_now().await;
        assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    }
}
