//! Where two things happen at once: what is drained and stuck, paused, resized, retired, torn down.

use crate::support::{Door, assert_balanced, at_rest, closures, occupy, poll_once};
use cortex_testkit::ManualClock;
use cortex_workers::{
    Closures, Drain, Error, Event, Observer, Overflow, Pool, StopReason, TaskCx, Worker, WorkerCx,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_drain_goes_on_with_another_thread_where_the_only_one_is_stuck() {
    let clock = ManualClock::new();
    let pool = closures(|builder| {
        let builder = builder.run_timeout(SECOND).stuck_after(SECOND);
        builder.clock(clock.clone())
    });
    let door = occupy(&pool, 1);
    let mut queued = pool.run(|_, _| 5);
    assert!(poll_once(&mut queued).is_pending());
    let mut ending = Box::pin(pool.shutdown(Drain::unlimited()));
    assert!(poll_once(&mut ending).is_pending());
    for _ in 0..2 {
        clock.advance(SECOND);
        pool.tick();
    }
    assert_eq!(queued.wait().unwrap(), 5);
    door.open();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(ending).discarded, 0);
    assert_balanced(&pool.snapshot());
}

#[test]
fn whoever_drains_wants_nothing_paused() {
    let pool = closures(|builder| builder.threads(2));
    let door = occupy(&pool, 2);
    let mut queued = pool.run(|_, _| 5);
    assert!(poll_once(&mut queued).is_pending());
    let mut ending = Box::pin(pool.shutdown(Drain::unlimited()));
    assert!(poll_once(&mut ending).is_pending());
    pool.pause();
    door.open();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(runtime.block_on(ending).is_complete());
    assert_eq!(queued.wait().unwrap(), 5);
}

/// Fails to begin again.
struct Once;

impl Worker for Once {
    type Request = ();
    type Response = ();
    type Error = ();

    fn init(cx: &WorkerCx<'_>) -> Result<Self, ()> {
        if cx.generation() == 0 { Ok(Self) } else { Err(()) }
    }

    fn run(&mut self, (): (), _: &TaskCx<'_>) -> Result<(), ()> {
        panic!("and the state is lost");
    }
}

#[test]
fn a_drain_waits_for_no_worker_that_has_to_wait_itself() {
    let hour = Duration::from_hours(1);
    let pool = Pool::<Once>::builder("once").threads(1).respawn(hour, hour);
    let pool = pool.clock(ManualClock::new()).build_blocking().unwrap();
    assert!(matches!(pool.call(()).wait(), Err(Error::Panicked(_))));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(runtime.block_on(pool.shutdown(Drain::unlimited())).is_complete());
}

#[test]
fn a_burst_makes_the_pool_grow_by_itself() {
    let pool = closures(|builder| builder.threads(1..=2));
    let door = Door::default();
    pool.pause();
    for _ in 0..2 {
        let inside = door.clone();
        pool.run(move |_, _| inside.pass()).detach().unwrap();
    }
    pool.resume();
    door.await_arrivals(2);
    door.open();
}

#[test]
fn a_larger_pool_comes_for_what_waits_already() {
    let pool = closures(|builder| builder);
    let door = occupy(&pool, 1);
    let mut queued = pool.run(|_, _| 3);
    assert!(poll_once(&mut queued).is_pending());
    pool.resize(1..=2).unwrap();
    assert_eq!(queued.wait().unwrap(), 3);
    door.open();
}

/// Takes its time to end.
struct Slow(Door);

impl Worker for Slow {
    type Request = ();
    type Response = ();
    type Error = ();

    fn init(_: &WorkerCx<'_>) -> Result<Self, ()> {
        Ok(Self(Door::default()))
    }

    fn run(&mut self, (): (), _: &TaskCx<'_>) -> Result<(), ()> {
        Ok(())
    }

    fn teardown(self, why: StopReason) {
        if why == StopReason::Resized {
            self.0.pass();
        }
    }
}

#[test]
fn nobody_waits_for_a_worker_that_ends() {
    let pool = Pool::<Slow>::builder("slow").threads(2).build_blocking().unwrap();
    let doors: Vec<Door> = (0..20)
        .map(|_| pool.run(|slow, _| slow.0.clone()).wait().unwrap())
        .collect();
    pool.resize(1).unwrap();
    for _ in 0..20 {
        pool.call(()).wait().unwrap();
    }
    while pool.snapshot().threads.live > 1 {
        std::thread::yield_now(); // it ends, behind its door
    }
    doors.iter().for_each(Door::open);
    // That one stays, and its door was perhaps never seen.
    assert_eq!(pool.call(()).wait(), Ok(()));
}

#[test]
fn what_was_retired_twice_or_is_wanted_again_is_counted_right() {
    let pool = closures(|builder| builder.threads(2));
    let door = occupy(&pool, 2);
    for _ in 0..2 {
        pool.resize(1).unwrap();
    }
    door.open();
    while pool.snapshot().threads.live > 1 {
        std::thread::yield_now();
    }
    assert_eq!(at_rest(&pool).threads.live, 1);

    let pool = closures(|builder| builder.threads(2));
    let door = occupy(&pool, 2);
    pool.resize(1).unwrap();
    pool.resize(2).unwrap();
    door.open();
    for _ in 0..10 {
        pool.run(|_, _| ()).wait().unwrap();
    }
    assert_eq!(at_rest(&pool).threads.live, 2);

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(pool.shutdown(Drain::now()));
    pool.resize(4).unwrap();
    assert_eq!(pool.snapshot().threads.live, 0, "it has ended");
}

#[test]
fn without_a_queue_the_first_task_starts_a_thread_and_refusals_more() {
    let pool = closures(|builder| builder.threads(0..=1).queue(0).overflow(Overflow::Reject));
    assert_eq!(pool.run(|_, _| 9).wait().unwrap(), 9);

    let clock = ManualClock::new();
    let pool = closures(|builder| {
        let builder = builder.threads(1..=2).queue(0).overflow(Overflow::Reject);
        builder.clock(clock.clone())
    });
    let door = occupy(&pool, 1);
    assert!(matches!(pool.run(|_, _| ()).wait(), Err(Error::Full(_))));
    loop {
        match pool.run(|_, _| 4).wait() {
            Ok(answer) => break assert_eq!(answer, 4, "the other thread has come"),
            Err(Error::Full(_)) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    door.open();

    let pool = closures(|builder| builder.threads(1..=2).queue(0));
    let door = occupy(&pool, 1);
    assert_eq!(
        pool.run(|_, _| 6).wait().unwrap(),
        6,
        "who waits is reason enough"
    );
    door.open();
}

/// Uses the pool when it is dropped.
struct Nosy(Pool<Closures>);

impl Drop for Nosy {
    fn drop(&mut self) {
        assert!(self.0.snapshot().threads.live > 0);
    }
}

#[test]
fn an_answer_that_nobody_awaits_any_more_is_dropped_where_it_harms_nobody() {
    let pool = closures(|builder| builder);
    let door = occupy(&pool, 1);
    let own = pool.clone();
    let mut call = pool.run(move |_, _| Nosy(own));
    assert!(poll_once(&mut call).is_pending());
    call.detach().unwrap();
    door.open();
    assert_eq!(pool.run(|_, _| 2).wait().unwrap(), 2);
}

/// Uses up the wake-ups of the thread that it is told on.
struct Sleepy(Arc<AtomicBool>, Door);

impl Observer for Sleepy {
    fn on_event(&self, _: &str, event: &Event) {
        if let Event::Ended { .. } = event
            && !self.0.swap(true, Ordering::SeqCst)
        {
            self.1.pass();
            std::thread::park_timeout(Duration::from_nanos(1));
        }
    }
}

#[test]
fn an_observer_that_parks_delays_and_does_not_end_the_work() {
    let door = Door::default();
    let pool = closures(|builder| builder.observe(Sleepy(Arc::default(), door.clone())));
    pool.run(|_, _| ()).wait().unwrap();
    door.await_arrivals(1);
    let mut call = pool.run(|_, _| 7);
    assert!(poll_once(&mut call).is_pending());
    door.open();
    assert_eq!(call.wait().unwrap(), 7);
}

#[test]
fn one_stuck_worker_after_another_is_replaced_as_they_come_back() {
    let clock = ManualClock::new();
    let pool = closures(|builder| {
        let builder = builder.run_timeout(SECOND).stuck_after(SECOND);
        builder.clock(clock.clone())
    });
    let first = occupy(&pool, 1);
    let pass_time = || {
        for _ in 0..2 {
            clock.advance(SECOND);
            pool.tick();
        }
    };
    pass_time();
    let second = occupy(&pool, 1);
    pass_time();
    let mut call = pool.run(|_, _| 1);
    assert!(
        poll_once(&mut call).is_pending(),
        "as many are given up as may be"
    );
    first.open();
    assert_eq!(call.wait().unwrap(), 1);
    second.open();
    at_rest(&pool);
}

#[test]
fn limits_are_kept_whatever_order_they_come_in() {
    let clock = ManualClock::new();
    let pool = closures(|builder| builder.queue(1000).clock(clock.clone()));
    let door = occupy(&pool, 1);
    let now = cortex_core::Clock::now(&clock);
    let mut calls: Vec<_> = [3_u32, 1, 2]
        .map(|after| {
            let deadline = cortex_core::Deadline::after(now, SECOND * after);
            (after, pool.run(|_, _| ()).deadline(deadline))
        })
        .into();
    for (_, call) in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    for passed in 1..=3 {
        clock.advance(SECOND);
        pool.tick();
        for (after, call) in calls.iter_mut().filter(|(after, _)| *after == passed) {
            assert!(
                matches!(poll_once(call), Poll::Ready(Err(Error::Deadline { .. }))),
                "{after}"
            );
        }
    }
    door.open();
    assert_eq!(at_rest(&pool).tasks.expired, 3);
}

#[test]
fn a_name_that_no_thread_can_bear_is_refused() {
    assert!(Pool::<Closures>::builder("a\0b").threads(0..=1).check().is_err());
}
