//! How pools stand, as checks of `cortex_health`.

use crate::look::Look;
use crate::pool::Pool;
use crate::snapshot::Snapshot;
use crate::worker::Worker;
use cortex_health::{Check, Outcome, checks};
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Makes a check of a pool.
///
/// | is down | is degraded |
/// |---|---|
/// | it is shut down, or about to be | its queue has been full to 90 % for 5 seconds, or calls have waited for places |
/// | no worker is alive: each waits to make its state again, or no thread can be started | a worker waits to make its state again |
/// | as many workers are stuck as may be given up | a worker is stuck, and was replaced |
///
/// The check [degrades](Check::degrades) its groups at most; say [`critical`](Check::critical) where nothing goes without the pool. It
/// is looked at every second. A pool whose last handle was dropped counts no more.
///
/// # Examples
///
/// ```
/// use cortex_health::Health;
/// use cortex_workers::{Closures, Pool, health};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Closures>::builder("reports").threads(2).build().await?;
/// let health = Health::builder().check(health::check("reports", &pool).critical()).build()?;
/// assert_eq!(health.snapshot().checks().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub fn check<W: Worker>(name: impl Into<Cow<'static, str>>, pool: &Pool<W>) -> Check {
    let (pool, fullness) = (pool.look(), Fullness::new());
    checks::state(name, move || match pool.upgrade() {
        Some(pool) => look(&*pool, &fullness),
        None => Outcome::up(),
    })
    .degrades()
}

/// Since when a queue is nearly full, or calls wait for places.
struct Fullness(AtomicU64);

impl Fullness {
    const NOT: u64 = u64::MAX;

    const fn new() -> Self {
        Self(AtomicU64::new(Self::NOT))
    }

    /// Returns how long it has been nearly full.
    fn note(&self, is_full: bool, now: u64) -> Duration {
        if !is_full {
            self.0.store(Self::NOT, Ordering::Relaxed);
            return Duration::ZERO;
        }
        let since = self.0.fetch_min(now, Ordering::Relaxed).min(now);
        Duration::from_nanos(now - since)
    }
}

/// What fills up for a moment is what a queue is for.
const PATIENCE: Duration = Duration::from_secs(5);

fn look(pool: &dyn Look, fullness: &Fullness) -> Outcome {
    let snapshot = pool.look();
    let queued: usize = snapshot.queue.queued.iter().sum();
    let capacity = snapshot.queue.capacity;
    // Calls may wait though the queue is not full: for places of a gate.
    let is_full = capacity > 0 && (queued >= capacity - capacity / 10 || snapshot.queue.waiting > 0);
    let full_for = fullness.note(is_full, pool.now());
    verdict(&snapshot, queued, full_for)
}

fn verdict(snapshot: &Snapshot, queued: usize, full_for: Duration) -> Outcome {
    let (threads, capacity) = (&snapshot.threads, snapshot.queue.capacity);
    let (live, failing, stuck) = (threads.live, threads.failing, threads.stuck);
    let outcome = if snapshot.is_closed {
        Outcome::down("the pool is shut down")
    } else if live == 0 && threads.least > 0 {
        Outcome::down("no thread is alive")
    } else if failing > 0 && failing >= live {
        Outcome::down(format!("all {live} workers wait to make their states again"))
    } else if stuck > 0 && stuck >= threads.stuck_limit {
        Outcome::down(format!("{stuck} workers are stuck, and no more are replaced"))
    } else if stuck > 0 {
        Outcome::degraded(format!("{stuck} workers are stuck, and were replaced"))
    } else if failing > 0 {
        Outcome::degraded(format!(
            "{failing} of {live} workers wait to make their states again"
        ))
    } else if full_for >= PATIENCE {
        let waiting = snapshot.queue.waiting;
        Outcome::degraded(if waiting > 0 {
            format!("{waiting} calls wait for places, and some have for {full_for:.0?}")
        } else {
            format!("{queued} of {capacity} tasks have been in the queue for {full_for:.0?}")
        })
    } else {
        return Outcome::up();
    };
    let observed = u32::try_from(queued).unwrap_or(u32::MAX);
    outcome
        .observed(observed.into(), "tasks")
        .detail("threads", live)
        .detail("busy", threads.busy)
        .detail("waiting", snapshot.queue.waiting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;
    use crate::{Closures, Overflow};
    use cortex_health::Status;
    use cortex_testkit::ManualClock;
    use std::sync::mpsc;

    fn snapshot(change: impl FnOnce(&mut Snapshot)) -> Snapshot {
        let pool = Pool::<Closures>::builder("test").threads(2).build_blocking();
        let mut snapshot = pool.expect("the settings make sense").snapshot();
        change(&mut snapshot);
        snapshot
    }

    #[test]
    fn what_is_the_matter_decides() {
        let said = |change: fn(&mut Snapshot)| {
            let outcome = verdict(&snapshot(change), 3, Duration::ZERO);
            (outcome.status(), outcome.message().unwrap_or_default().to_owned())
        };
        assert_eq!(said(|_| ()), (Status::Up, String::new()));
        for (change, status, text) in [
            (
                (|it| it.is_closed = true) as fn(&mut Snapshot),
                Status::Down,
                "the pool is shut down",
            ),
            (|it| it.threads.live = 0, Status::Down, "no thread is alive"),
            (
                |it| it.threads.failing = 2,
                Status::Down,
                "all 2 workers wait to make their states again",
            ),
            (
                |it| it.threads.failing = 1,
                Status::Degraded,
                "1 of 2 workers wait to make their states again",
            ),
            (
                |it| it.threads.stuck = 1,
                Status::Degraded,
                "1 workers are stuck, and were replaced",
            ),
            (
                |it| it.threads.stuck = 2,
                Status::Down,
                "2 workers are stuck, and no more are replaced",
            ),
        ] {
            assert_eq!(said(change), (status, text.to_owned()));
        }
        let elastic = |it: &mut Snapshot| (it.threads.least, it.threads.live) = (0, 0);
        assert_eq!(said(elastic).0, Status::Up, "the first task starts a thread");
    }

    #[test]
    fn a_queue_that_stays_full_is_degraded_and_one_that_was_is_not() {
        let clock = ManualClock::new();
        let builder = Pool::<Closures>::builder("test").threads(1).queue(10);
        let builder = builder.overflow(Overflow::Reject).clock(clock.clone());
        let pool = builder.build_blocking().unwrap();
        let (open, door) = mpsc::channel::<()>();
        let (arrive, arrived) = mpsc::channel();
        pool.run(move |_, _| {
            arrive.send(()).ok();
            door.recv().ok();
        })
        .detach()
        .unwrap();
        arrived.recv().unwrap();
        for _ in 0..9 {
            pool.run(|_, _| ()).detach().unwrap();
        }
        let (seen, fullness) = (pool.look().upgrade().unwrap(), Fullness::new());
        assert_eq!(look(&*seen, &fullness).status(), Status::Up);
        clock.advance(Duration::from_millis(4999));
        assert_eq!(look(&*seen, &fullness).status(), Status::Up);
        clock.advance(Duration::from_millis(1));
        let outcome = look(&*seen, &fullness);
        assert_eq!(
            (outcome.status(), outcome.message()),
            (
                Status::Degraded,
                Some("9 of 10 tasks have been in the queue for 5s")
            )
        );
        assert_eq!(outcome.observation(), Some((9.0, "tasks")));
        drop(open);
        while pool.snapshot().queue.queued != [0; 3] {
            std::thread::yield_now();
        }
        assert_eq!(look(&*seen, &fullness), Outcome::up());
        assert_eq!(fullness.note(true, 7), Duration::ZERO, "it begins anew");
    }

    #[test]
    fn a_queue_whose_gate_is_full_is_degraded() {
        let (clock, gate) = (ManualClock::new(), crate::Gate::new(1));
        let builder = Pool::<Closures>::builder("test").threads(1).queue(100);
        let pool = builder.gate(&gate, 0).clock(clock.clone());
        let pool = pool.build_blocking().unwrap();
        pool.pause();
        let mut calls = [(); 2].map(|()| pool.run(|_, _| ()));
        for call in &mut calls {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(std::pin::Pin::new(call).poll(&mut cx).is_pending());
        }
        let (seen, fullness) = (pool.look().upgrade().unwrap(), Fullness::new());
        assert_eq!(look(&*seen, &fullness).status(), Status::Up);
        clock.advance(Duration::from_secs(5));
        let outcome = look(&*seen, &fullness);
        assert_eq!(
            (outcome.status(), outcome.message()),
            (
                Status::Degraded,
                Some("1 calls wait for places, and some have for 5s")
            )
        );
        drop(calls);
        assert_eq!(look(&*seen, &fullness), Outcome::up());
    }

    #[test]
    fn a_pool_with_as_many_stuck_workers_as_may_be_is_down() {
        let (clock, second) = (ManualClock::new(), Duration::from_secs(1));
        let builder = Pool::<Closures>::builder("test").threads(2).max_stuck(1);
        let builder = builder.run_timeout(second).stuck_after(second);
        let pool = builder.clock(clock.clone()).build_blocking().unwrap();
        let (open, door) = mpsc::channel::<()>();
        let (come, arrived) = mpsc::channel();
        let task = pool.run(move |_, _| {
            come.send(()).unwrap();
            door.recv().ok();
        });
        task.detach().unwrap();
        arrived.recv().unwrap();
        let (seen, fullness) = (pool.look().upgrade().unwrap(), Fullness::new());
        for _ in 0..2 {
            assert_eq!(look(&*seen, &fullness).status(), Status::Up);
            clock.advance(second);
            pool.tick();
        }
        assert_eq!(look(&*seen, &fullness).status(), Status::Down);
        drop(open);
        while pool.snapshot().threads.stuck > 0 {
            std::thread::yield_now();
        }
        assert_eq!(look(&*seen, &fullness), Outcome::up());
    }

    #[test]
    fn a_pool_that_is_gone_counts_no_more() {
        let pool = Pool::<Closures>::builder("test")
            .threads(1)
            .build_blocking()
            .unwrap();
        let seen = pool.look();
        assert!(seen.upgrade().is_some());
        drop(pool);
        assert!(seen.upgrade().is_none());
    }
}
