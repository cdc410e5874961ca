use crate::support::{Door, assert_balanced, at_rest, closures, occupy, poll_once};
use cortex_core::{Clock, Context, Deadline};
use cortex_testkit::ManualClock;
use cortex_workers::{Closures, Error, Overflow, Pool, Stage, Stop, TaskCx};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant, SystemTime};

const SECOND: Duration = Duration::from_secs(1);

fn is_late<T, Q, E>(poll: &Poll<Result<T, Error<Q, E>>>, at: Stage) -> bool {
    matches!(poll, Poll::Ready(Err(Error::Deadline { stage, .. })) if *stage == at)
}

#[test]
fn the_deadline_ends_a_task_wherever_it_is() {
    let clock = ManualClock::new();
    let pool = closures(|builder| builder.queue(1).clock(clock.clone()));
    let deadline = Deadline::after(clock.now(), SECOND);
    let (door, seen) = (Door::default(), Arc::new(Mutex::new(None)));
    let (inside, stopped) = (door.clone(), Arc::clone(&seen));
    let running = move |_: &mut _, cx: &TaskCx<'_>| {
        assert_eq!(cx.remaining(), Some(SECOND));
        inside.pass();
        *stopped.lock().unwrap() = cx.stop();
    };
    let mut running = pool.run(running).deadline(deadline);
    assert!(poll_once(&mut running).is_pending());
    door.await_arrivals(1);
    let mut queued = pool.run(|_, _| ()).deadline(deadline);
    assert!(poll_once(&mut queued).is_pending());
    let context = Context::new().with_deadline(deadline).attach();
    let mut outside = pool.run(|_, _| ());
    assert!(poll_once(&mut outside).is_pending());
    drop(context);
    let mut later = pool
        .run(|_, _| 5)
        .deadline(Deadline::after(clock.now(), 2 * SECOND));
    assert!(poll_once(&mut later).is_pending());
    clock.advance(SECOND);
    pool.tick();
    assert!(is_late(&poll_once(&mut running), Stage::Running));
    assert!(is_late(&poll_once(&mut queued), Stage::Queued));
    assert!(is_late(&poll_once(&mut outside), Stage::Admission));
    assert!(is_late(
        &poll_once(&mut pool.run(|_, _| ()).deadline(deadline)),
        Stage::Submitting
    ));
    door.open();
    assert_eq!(later.wait().unwrap(), 5);
    assert_eq!(*seen.lock().unwrap(), Some(Stop::Deadline));
    assert_eq!(at_rest(&pool).tasks.expired, 4);
}

/// Moves the clock and looks at it when it is woken: between the answer of a task and when its worker comes back.
struct Late(ManualClock, Pool<Closures>);

impl Wake for Late {
    fn wake(self: Arc<Self>) {
        self.0.advance(SECOND);
        self.1.tick();
    }
}

#[test]
fn a_deadline_that_comes_after_the_answer_is_none() {
    let clock = ManualClock::new();
    let pool = closures(|builder| builder.clock(clock.clone()));
    let door = Door::default();
    let inside = door.clone();
    let deadline = Deadline::after(clock.now(), SECOND);
    let mut call = pool.run(move |_, _| inside.pass()).deadline(deadline);
    let waker = Waker::from(Arc::new(Late(clock.clone(), pool.clone())));
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(Pin::new(&mut call).poll(&mut cx).is_pending());
    door.open();
    let tasks = loop {
        let snapshot = at_rest(&pool);
        if snapshot.tasks.ended() == 1 {
            break snapshot.tasks;
        }
    };
    assert!(matches!(poll_once(&mut call), Poll::Ready(Ok(()))));
    assert_eq!((tasks.completed, tasks.expired), (1, 0));
}

/// Stands still for the thread that looks at the clock for all pools.
struct Unwatched(ManualClock, Instant);

impl Clock for Unwatched {
    fn now(&self) -> Instant {
        if std::thread::current().name() == Some("cortex-workers") {
            self.1
        } else {
            self.0.now()
        }
    }

    fn wall(&self) -> SystemTime {
        self.0.wall()
    }
}

#[test]
fn a_worker_begins_nothing_that_is_late() {
    const MANY: u64 = 300;
    let clock = ManualClock::new();
    let unwatched = Unwatched(clock.clone(), clock.now());
    let pool = closures(|builder| builder.clock(unwatched));
    let door = occupy(&pool, 1);
    let deadline = Deadline::after(clock.now(), SECOND);
    let begun = Arc::new(AtomicU64::new(0));
    let task = || {
        let begun = Arc::clone(&begun);
        move |_: &mut Closures, _: &TaskCx<'_>| begun.fetch_add(1, Ordering::Relaxed)
    };
    let mut late = pool.run(task()).deadline(deadline);
    assert!(poll_once(&mut late).is_pending());
    for _ in 1..MANY {
        pool.run(task()).deadline(deadline).detach().unwrap();
    }
    let mut next = pool.run(|_, _| 7);
    assert!(poll_once(&mut next).is_pending());
    clock.advance(SECOND);
    door.open();
    assert_eq!(next.wait().unwrap(), 7);
    let Poll::Ready(Err(Error::Deadline { stage, work: Some(_) })) = poll_once(&mut late) else {
        panic!("it comes back");
    };
    assert_eq!((stage, begun.load(Ordering::Relaxed)), (Stage::Queued, 0));
    assert_eq!(at_rest(&pool).tasks.expired, MANY);
}

#[test]
fn the_time_to_run_begins_when_a_worker_takes_it() {
    let clock = ManualClock::new();
    let pool = closures(|builder| builder.run_timeout(SECOND).clock(clock.clone()));
    let door = occupy(&pool, 1);
    let second = Door::default();
    let inside = second.clone();
    let mut call = pool.run(move |_, _| inside.pass());
    assert!(poll_once(&mut call).is_pending());
    clock.advance(10 * SECOND);
    pool.tick();
    assert!(poll_once(&mut call).is_pending(), "it has not run yet");
    door.open();
    second.await_arrivals(1);
    clock.advance(SECOND);
    pool.tick();
    assert!(matches!(poll_once(&mut call), Poll::Ready(Err(Error::RunTimeout { ran })) if ran == SECOND));
    second.open();
    pool.run(|_, _| ()).wait().unwrap();
    assert_eq!(at_rest(&pool).tasks.timed_out, 2, "the one that occupied it, too");
}

#[test]
fn a_worker_that_does_not_stop_is_replaced() {
    let clock = ManualClock::new();
    let pool = closures(|builder| {
        builder
            .run_timeout(SECOND)
            .stuck_after(SECOND)
            .clock(clock.clone())
    });
    let door = occupy(&pool, 1);
    let mut next = pool.run(|_, _| 8);
    assert!(poll_once(&mut next).is_pending());
    for _ in 0..2 {
        clock.advance(SECOND);
        pool.tick();
    }
    assert_eq!(next.wait().unwrap(), 8, "another thread has taken its place");
    let threads = pool.snapshot().threads;
    assert_eq!((threads.live, threads.stuck, threads.replaced), (1, 1, 1));
    assert_balanced(&pool.snapshot());
    door.open();
    assert_eq!(at_rest(&pool).threads.live, 1);
}

#[test]
fn no_more_are_given_up_than_may_be() {
    let clock = ManualClock::new();
    let pool = closures(|builder| {
        let builder = builder.max_stuck(1).threads(2); // in any order
        builder
            .run_timeout(SECOND)
            .stuck_after(SECOND)
            .clock(clock.clone())
    });
    let doors = [Door::default(), Door::default()];
    for door in doors.clone() {
        pool.run(move |_, _| door.pass()).detach().unwrap();
    }
    for door in &doors {
        door.await_arrivals(1);
    }
    let counts = || {
        let threads = pool.snapshot().threads;
        (threads.live, threads.busy, threads.stuck, threads.replaced)
    };
    for _ in 0..5 {
        clock.advance(SECOND);
        pool.tick();
    }
    assert_eq!(counts(), (2, 1, 1, 1), "the other one keeps its place");
    assert_eq!(pool.snapshot().threads.stuck_limit, 1);
    assert_eq!(
        pool.run(|_, _| 3).wait().unwrap(),
        3,
        "there is a thread for others"
    );
    doors[0].open();
    while pool.snapshot().tasks.timed_out < 1 {
        std::thread::yield_now();
    }
    pool.tick();
    doors[1].open();
    let threads = at_rest(&pool).threads;
    assert_eq!((threads.live, threads.stuck), (2, 0));
}

#[test]
fn as_many_may_be_given_up_as_there_may_be_threads() {
    let pool = closures(|builder| builder.threads(1..=3));
    assert_eq!(pool.snapshot().threads.stuck_limit, 3);
    pool.resize(5).unwrap();
    assert_eq!(pool.snapshot().threads.stuck_limit, 5);
}

#[test]
fn deadlines_come_by_themselves() {
    let pool = closures(|builder| builder);
    let door = occupy(&pool, 1);
    let deadline = Deadline::after(cortex_core::SystemClock.now(), Duration::from_millis(5));
    assert!(matches!(
        pool.run(|_, _| ()).deadline(deadline).wait(),
        Err(Error::Deadline { .. })
    ));
    door.open();
}

/// What runs on the thread of a caller is in nobody's seat.
#[test]
fn what_a_caller_runs_sees_that_its_time_is_over() {
    let clock = ManualClock::new();
    let pool = closures(|builder| {
        builder
            .queue(0)
            .overflow(Overflow::CallerRuns)
            .run_timeout(2 * SECOND)
            .clock(clock.clone())
    });
    let door = occupy(&pool, 1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let task = || {
        let (clock, seen) = (clock.clone(), Arc::clone(&seen));
        move |_: &mut Closures, cx: &TaskCx<'_>| {
            seen.lock().unwrap().push(cx.check());
            clock.advance(2 * SECOND);
            seen.lock().unwrap().push(cx.check());
            "late"
        }
    };
    let timed_out = pool.run(task()).wait();
    assert!(matches!(timed_out, Err(Error::RunTimeout { ran }) if ran == 2 * SECOND));
    let deadline = Deadline::after(clock.now(), SECOND);
    let expired = pool.run(task()).deadline(deadline).wait();
    assert!(is_late(&Poll::Ready(expired), Stage::Running));
    let expected = [Ok(()), Err(Stop::RunTimeout), Ok(()), Err(Stop::Deadline)];
    assert_eq!(*seen.lock().unwrap(), expected);
    // One that does not look is late, too.
    let late = clock.clone();
    let blind = pool.run(move |_, _| late.advance(2 * SECOND)).wait();
    assert!(matches!(blind, Err(Error::RunTimeout { .. })));
    assert_eq!(pool.run(|_, cx| cx.check()).wait().unwrap(), Ok(()));
    let tasks = pool.snapshot().tasks;
    assert_eq!((tasks.timed_out, tasks.expired, tasks.completed), (2, 1, 1));
    door.open();
}

#[test]
fn what_a_task_waits_for_on_its_own_pool_sees_that_its_time_is_over() {
    let clock = ManualClock::new();
    let pool = closures(|builder| builder.clock(clock.clone()));
    let (inner, late): (Pool<Closures>, _) = (pool.clone(), clock.clone());
    let nested = pool.run(move |_, _| {
        let call = inner.run(move |_, cx| {
            late.advance(SECOND);
            assert_eq!(cx.check(), Err(Stop::RunTimeout));
        });
        call.run_timeout(SECOND).wait()
    });
    assert!(matches!(nested.wait().unwrap(), Err(Error::RunTimeout { .. })));
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.completed, tasks.timed_out), (1, 1));
}
