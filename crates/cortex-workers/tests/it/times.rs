use crate::support::{Door, at_rest, closures, occupy, poll_once};
use cortex_testkit::ManualClock;
use cortex_workers::{Overflow, Priority};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_snapshot_tells_how_long_tasks_waited_and_ran() {
    let clock = ManualClock::new();
    let pool = closures(|builder| builder.clock(clock.clone()).ageing(None));
    let door = occupy(&pool, 1);
    let (inside, later) = (Door::default(), Door::default());
    let here = inside.clone();
    let mut high = pool.run(move |_, _| here.pass()).priority(Priority::High);
    let here = later.clone();
    let mut low = pool.run(move |_, _| here.pass()).priority(Priority::Low);
    assert!(poll_once(&mut low).is_pending());
    clock.advance(SECOND);
    assert!(poll_once(&mut high).is_pending());
    clock.advance(SECOND);
    door.open();
    inside.await_arrivals(1);
    clock.advance(SECOND);
    inside.open();
    later.await_arrivals(1);
    clock.advance(4 * SECOND);
    assert_eq!(
        pool.snapshot().run_times(Priority::Low).count(),
        0,
        "it is not over"
    );
    later.open();
    high.wait().unwrap();
    low.wait().unwrap();
    let snapshot = at_rest(&pool);
    for (priority, waited, ran) in [
        (Priority::High, SECOND, SECOND),
        (Priority::Normal, Duration::ZERO, 2 * SECOND),
        (Priority::Low, 3 * SECOND, 4 * SECOND),
    ] {
        let (wait, run) = (snapshot.wait_times(priority), snapshot.run_times(priority));
        assert_eq!((wait.count(), wait.max()), (1, waited), "{priority}");
        assert_eq!((run.count(), run.p50()), (1, Some(ran)), "{priority}");
    }
}

#[test]
fn utilisation_is_that_of_all_threads_and_counts_what_runs_now() {
    let clock = ManualClock::new();
    let pool = closures(|builder| builder.threads(2).clock(clock.clone()));
    let before = pool.snapshot();
    assert!(before.utilisation() == 0.0, "no time has passed");
    clock.advance(SECOND);
    let idle = pool.snapshot();
    assert_eq!(
        (idle.threads.busy_time, idle.threads.thread_time),
        (Duration::ZERO, 2 * SECOND)
    );
    let door = occupy(&pool, 1);
    clock.advance(3 * SECOND);
    let busy = pool.snapshot();
    assert_eq!(
        (busy.threads.busy_time, busy.threads.thread_time),
        (3 * SECOND, 8 * SECOND)
    );
    assert!((busy.utilisation() - 0.375).abs() < 1e-9, "{busy:?}");
    assert!((busy.utilisation_since(&idle) - 0.5).abs() < 1e-9, "{busy:?}");
    door.open();
    assert_eq!(at_rest(&pool).threads.busy_time, 3 * SECOND);
}

#[test]
fn what_a_caller_runs_is_counted_once_and_never_as_rejected() {
    let pool = closures(|builder| builder.queue(0).overflow(Overflow::CallerRuns));
    let door = occupy(&pool, 1);
    let seen = pool.clone();
    let inside = pool.run(move |_, _| seen.snapshot()).wait().unwrap();
    assert_eq!((inside.tasks.submitted, inside.tasks.rejected), (1, 0));
    assert!(inside.is_balanced());
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.tasks.submitted, snapshot.tasks.completed), (2, 1));
    assert_eq!(snapshot.run_times(Priority::Normal).count(), 1);
    assert!(pool.run(|_, _| ()).detach().is_err());
    assert_eq!(
        pool.snapshot().tasks.rejected,
        1,
        "whoever does not wait does not run it"
    );
    door.open();
}
