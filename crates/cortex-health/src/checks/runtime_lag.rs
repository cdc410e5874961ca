use super::beats::{Beats, PERIOD};
use crate::check::Check;
use cortex_core::{Clock, SystemClock};
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::MissedTickBehavior;

/// Makes a check of how late the tasks of a runtime are: a task on it wakes every 100 ms, and how much later than that
/// it runs is the lag.
///
/// It is degraded by the greatest lag since the last look, and down only by a lag that still lasts. So in
/// [`Group::LIVE`](crate::Group::LIVE) it restarts a process whose runtime is stuck, and none that was slow for a
/// while. It is looked at every second by the scheduler's thread, which needs no worker. Of a runtime of several
/// workers, some may be blocked without a lag: the others do their work. Where the whole process was stopped for a second
/// or more, by `SIGSTOP` or a frozen control group, that time is no lag.
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
    Check::inline(name, move |glance| beats.look(glance))
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
    use crate::source::{Glance, Source};
    use crate::status::Status;
    use std::time::Instant;

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
        let Source::Inline(look) = &check.source else {
            panic!("{check:?}");
        };
        let glance = || Glance {
            now: TokioClock.now(),
            lost: Duration::ZERO,
        };
        for _ in 0..100 {
            tokio::time::sleep(PERIOD).await;
            assert_eq!(look(glance()).status(), Status::Up);
        }
        tokio::time::advance(PERIOD * 4).await;
        assert_eq!(look(glance()).status(), Status::Degraded);
        drop(check);
        tokio::time::sleep(PERIOD * 2).await;
        assert_eq!(tasks(), 0);
    }
}
