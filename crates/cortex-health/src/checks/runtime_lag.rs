use crate::check::Check;
use crate::outcome::Outcome;
use cortex_core::{Clock, SystemClock};
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::time::MissedTickBehavior;

/// How often the task of the heartbeat wakes.
const PERIOD: Duration = Duration::from_millis(100);

/// Makes a check of how late the tasks of a runtime are: a task on it wakes every 100 ms, and how much later than that
/// it runs is the lag.
///
/// It is degraded by the greatest lag since the last look, and down only by a lag that still lasts. So in
/// [`Group::LIVE`](crate::Group::LIVE) it restarts a process whose runtime is stuck, and none that was slow for a
/// while. It is looked at every second by the scheduler's thread, which needs no worker. Of a runtime of several
/// workers, some may be blocked without a lag: the others do their work.
///
/// The task lives on the runtime until the check is dropped. The runtime needs its timer (`enable_time`), or the check
/// is down.
///
/// # Examples
///
/// ```
/// use cortex_health::checks::{self, RuntimeLag};
/// use cortex_health::{Group, Health};
/// use std::time::Duration;
///
/// let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
/// let lag = RuntimeLag::new(runtime.handle()).degraded_at(Duration::from_millis(500));
/// let check = checks::runtime_lag("runtime", lag).groups([Group::READY, Group::LIVE]);
/// assert!(Health::builder().check(check).build().is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn runtime_lag(name: impl Into<Cow<'static, str>>, lag: impl Into<RuntimeLag>) -> Check {
    let RuntimeLag {
        runtime,
        degraded,
        down,
        clock,
    } = lag.into();
    let beats = Arc::new(Beats::new(degraded, down, clock.now()));
    runtime.spawn(beat(Arc::downgrade(&beats), clock));
    Check::inline(name, move |now| beats.look(now))
        .every(Duration::from_secs(1))
        .fall(1) // the lag has lasted already
}

/// Which runtime [`runtime_lag`] observes, and how late is too late.
///
/// # Examples
///
/// ```
/// use cortex_health::checks::RuntimeLag;
/// use std::time::Duration;
///
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// let lag = RuntimeLag::new(runtime.handle()).down_at(Duration::from_secs(30));
/// assert!(format!("{lag:?}").contains("30s"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct RuntimeLag {
    runtime: Handle,
    degraded: Duration,
    down: Duration,
    clock: Arc<dyn Clock>,
}

impl RuntimeLag {
    /// Observes this runtime: degraded from a lag of 200 ms on, down from 10 s on.
    pub fn new(runtime: &Handle) -> Self {
        Self {
            runtime: runtime.clone(),
            degraded: Duration::from_millis(200),
            down: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
        }
    }

    /// Is degraded from this lag on.
    #[must_use]
    pub const fn degraded_at(mut self, lag: Duration) -> Self {
        self.degraded = lag;
        self
    }

    /// Is down from this lag on. In [`Group::LIVE`](crate::Group::LIVE) that is a restart.
    #[must_use]
    pub const fn down_at(mut self, lag: Duration) -> Self {
        self.down = lag;
        self
    }

    /// Stamps the heartbeats by this clock, which must be that of the [`Builder`](crate::Builder), instead of
    /// [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl From<&Handle> for RuntimeLag {
    /// Observes this runtime with the usual limits.
    fn from(runtime: &Handle) -> Self {
        Self::new(runtime)
    }
}

impl fmt::Debug for RuntimeLag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeLag")
            .field("degraded", &self.degraded)
            .field("down", &self.down)
            .finish_non_exhaustive()
    }
}

/// What the task and the check know of each other.
#[derive(Debug)]
struct Beats {
    degraded: Duration,
    down: Duration,
    origin: Instant,
    /// The last beat, in nanoseconds from `origin`.
    last: AtomicU64,
    /// The greatest lag since the last look, in nanoseconds.
    greatest: AtomicU64,
}

impl Beats {
    fn new(degraded: Duration, down: Duration, origin: Instant) -> Self {
        Self {
            degraded,
            down,
            origin,
            last: AtomicU64::new(0),
            greatest: AtomicU64::new(0),
        }
    }

    fn beat(&self, now: Instant) {
        let lag = self.lag(now);
        self.greatest.fetch_max(nanos(lag), Ordering::Relaxed); // before the stamp, or a look could miss the gap
        self.last.store(
            nanos(now.saturating_duration_since(self.origin)),
            Ordering::Release,
        );
    }

    fn look(&self, now: Instant) -> Outcome {
        let current = self.lag(now);
        let greatest = Duration::from_nanos(self.greatest.swap(0, Ordering::Relaxed)).max(current);
        if current >= self.down {
            Outcome::down(format!(
                "no task has run for {current:.1?}, the limit is {:?}",
                self.down
            ))
        } else if greatest >= self.degraded {
            Outcome::degraded(format!(
                "tasks were late by up to {greatest:.0?}, the limit is {:?}",
                self.degraded
            ))
        } else {
            Outcome::up()
        }
    }

    fn lag(&self, now: Instant) -> Duration {
        let last = Duration::from_nanos(self.last.load(Ordering::Acquire));
        now.saturating_duration_since(self.origin)
            .saturating_sub(last)
            .saturating_sub(PERIOD)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

async fn beat(beats: Weak<Beats>, clock: Arc<dyn Clock>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(beats) = beats.upgrade() else { return };
        beats.beat(clock.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;
    use cortex_testkit::ManualClock;

    const MILLI: Duration = Duration::from_millis(1);

    fn beats(clock: &ManualClock) -> Beats {
        Beats::new(200 * MILLI, 10_000 * MILLI, clock.now())
    }

    #[test]
    fn a_lag_that_is_over_degrades_once() {
        let clock = ManualClock::new();
        let beats = beats(&clock);
        for _ in 0..20 {
            clock.advance(PERIOD);
            beats.beat(clock.now());
        }
        assert_eq!(beats.look(clock.now()), Outcome::up());
        clock.advance(299 * MILLI);
        beats.beat(clock.now());
        assert_eq!(beats.look(clock.now()), Outcome::up());
        clock.advance(300 * MILLI);
        beats.beat(clock.now());
        clock.advance(PERIOD);
        beats.beat(clock.now());
        let late = beats.look(clock.now());
        assert_eq!(late.status(), Status::Degraded);
        assert_eq!(
            late.message(),
            Some("tasks were late by up to 200ms, the limit is 200ms")
        );
        assert_eq!(beats.look(clock.now()), Outcome::up());
    }

    #[test]
    fn only_a_lag_that_lasts_is_down() {
        let clock = ManualClock::new();
        let beats = beats(&clock);
        clock.advance(10_099 * MILLI);
        assert_eq!(beats.look(clock.now()).status(), Status::Degraded);
        clock.advance(MILLI);
        let stuck = beats.look(clock.now());
        assert_eq!(stuck.status(), Status::Down);
        assert_eq!(
            stuck.message(),
            Some("no task has run for 10.0s, the limit is 10s")
        );
        beats.beat(clock.now());
        assert_eq!(beats.look(clock.now()).status(), Status::Degraded, "it was late");
        assert_eq!(beats.look(clock.now()), Outcome::up());
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_beats_until_the_check_is_gone() {
        #[derive(Clone)]
        struct TokioClock;

        impl Clock for TokioClock {
            fn now(&self) -> Instant {
                tokio::time::Instant::now().into_std()
            }

            fn wall(&self) -> std::time::SystemTime {
                std::time::SystemTime::UNIX_EPOCH
            }
        }

        let handle = Handle::current();
        let tasks = || handle.metrics().num_alive_tasks();
        let check = runtime_lag("runtime", RuntimeLag::new(&handle).clock(TokioClock));
        assert_eq!(tasks(), 1);
        let crate::source::Source::Inline(look) = &check.source else {
            panic!("{check:?}");
        };
        for _ in 0..100 {
            tokio::time::sleep(PERIOD).await;
            assert_eq!(look(TokioClock.now()), Outcome::up());
        }
        tokio::time::advance(PERIOD * 4).await;
        assert_eq!(look(TokioClock.now()).status(), Status::Degraded);
        drop(check);
        tokio::time::sleep(PERIOD * 2).await;
        assert_eq!(tasks(), 0);
    }
}
