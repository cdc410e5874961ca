//! What tokens cancel, and what is left of it.

use crate::support::{Door, at_rest, closures, occupy, poll_once};
use cortex_testkit::ManualClock;
use cortex_workers::{CancelToken, Closures, Error, Overflow, Pool, Stage, Stop, TaskCx};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn is_cancelled<T, Q, E>(answer: &Result<T, Error<Q, E>>, at: Stage) -> bool {
    matches!(answer, Err(Error::Cancelled { stage, work }) if *stage == at && work.is_some() == (at != Stage::Running))
}

#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn a_token_ends_calls_wherever_they_are() {
    let pool = closures(|builder| builder.queue(1));
    let token = CancelToken::new();
    let (door, seen) = (Door::default(), Arc::new(Mutex::new(None)));
    let (inside, stopped) = (door.clone(), Arc::clone(&seen));
    let running = move |_: &mut Closures, cx: &TaskCx<'_>| {
        inside.pass();
        *stopped.lock().unwrap() = cx.stop();
    };
    let mut running = pool.run(running).cancel_with(&token);
    assert!(poll_once(&mut running).is_pending());
    door.await_arrivals(1);
    let rings = Arc::new(Rings::default());
    let waker = Waker::from(Arc::clone(&rings));
    let mut queued = pool.run(|_, _| 7).cancel_with(&token);
    assert!(poll_with(&mut queued, &waker).is_pending());
    let mut outside = pool.run(|_, _| 8).cancel_with(&token);
    assert!(poll_with(&mut outside, &waker).is_pending());
    assert_eq!(pool.snapshot().queue.waiting, 1);

    token.cancel();
    assert_eq!(rings.0.load(Ordering::SeqCst), 2, "both are woken");
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.queue.queued, snapshot.queue.waiting), ([0; 3], 0));
    assert!(
        is_cancelled(&running.wait(), Stage::Running),
        "while it still runs"
    );
    assert!(is_cancelled(&queued.wait(), Stage::Queued));
    let answer = outside.wait();
    assert!(is_cancelled(&answer, Stage::Admission));
    let closure = answer.unwrap_err().into_work().unwrap();
    door.open();
    assert_eq!(
        pool.run(closure).wait().unwrap(),
        8,
        "what was not begun can be done later"
    );
    assert_eq!(*seen.lock().unwrap(), Some(Stop::Cancelled));
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.cancelled, tasks.completed, tasks.submitted), (3, 1, 4));
}

#[test]
fn what_comes_after_the_token_was_cancelled_comes_back() {
    let pool = closures(|builder| builder);
    let token = CancelToken::new();
    let mut made_before = pool.run(|_, _| 5).cancel_with(&token);
    token.cancel();
    let Poll::Ready(answer) = poll_once(&mut made_before) else {
        panic!("it is not offered");
    };
    assert!(is_cancelled(&answer, Stage::Submitting));
    let closure = answer.unwrap_err().into_work().unwrap();
    let answer = pool.run(closure).cancel_with(&token).wait();
    assert!(is_cancelled(&answer, Stage::Submitting));
    let closure = answer.unwrap_err().into_work().unwrap();
    let answer = pool.run(closure).cancel_with(&token.child()).detach();
    assert!(is_cancelled(&answer, Stage::Submitting));
    let closure = answer.unwrap_err().into_work().unwrap();
    let other = CancelToken::new();
    let last = pool.run(closure).cancel_with(&token).cancel_with(&other);
    assert_eq!(last.wait().unwrap(), 5, "the last one counts");
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.cancelled, tasks.completed), (3, 1));
}

#[test]
fn a_detached_task_is_cancelled_by_its_token() {
    let pool = closures(|builder| builder);
    let token = CancelToken::new();
    let door = Door::default();
    let (inside, held) = (door.clone(), Arc::new(()));
    let within = Arc::clone(&held);
    let running = pool.run(move |_, cx| {
        inside.pass();
        assert_eq!(cx.check(), Err(Stop::Cancelled));
    });
    running.cancel_with(&token).detach().unwrap();
    door.await_arrivals(1);
    let queued = pool.run(move |_, _| drop(within)).cancel_with(&token);
    queued.detach().unwrap();
    token.cancel();
    assert_eq!(Arc::strong_count(&held), 1, "what waited is dropped at once");
    assert_eq!(pool.snapshot().queue.queued, [0; 3]);
    door.open();
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.cancelled, tasks.panicked), (2, 0));
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// Panics when it is woken.
struct Alarm;

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        panic!("woken");
    }
}

#[test]
fn destructors_and_wakers_that_panic_keep_nobody_from_being_cancelled() {
    let pool = closures(|builder| builder);
    let token = CancelToken::new();
    let door = occupy(&pool, 1);
    let bomb = Bomb;
    let detached = pool.run(move |_, _| {
        let _bomb = &bomb;
    });
    detached.cancel_with(&token).detach().unwrap();
    let mut woken = pool.run(|_, _| ()).cancel_with(&token);
    assert!(poll_with(&mut woken, &Waker::from(Arc::new(Alarm))).is_pending());
    let last = pool.run(|_, _| ()).cancel_with(&token);
    last.detach().unwrap();
    token.cancel();
    assert_eq!(pool.snapshot().tasks.cancelled, 3);
    door.open();
    at_rest(&pool);
}

#[test]
fn a_token_is_cancelled_within_a_task_that_has_it() {
    let pool = closures(|builder| builder);
    let token = CancelToken::new();
    let (own, door) = (token.clone(), Door::default());
    let inside = door.clone();
    let task = pool.run(move |_, cx| {
        inside.pass();
        own.cancel();
        assert_eq!(cx.stop(), Some(Stop::Cancelled));
    });
    let mut call = task.cancel_with(&token);
    assert!(poll_once(&mut call).is_pending());
    door.open();
    assert!(is_cancelled(&call.wait(), Stage::Running));
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.cancelled, tasks.panicked), (1, 0));
}

#[test]
fn what_a_caller_runs_is_told_by_the_token() {
    let pool = closures(|builder| builder.queue(0).overflow(Overflow::CallerRuns));
    let door = occupy(&pool, 1);
    let token = CancelToken::new();
    let own = token.clone();
    let here = pool.run(move |_, cx| {
        own.cancel();
        assert!(cx.is_cancelled());
    });
    assert!(is_cancelled(&here.cancel_with(&token).wait(), Stage::Running));
    door.open();
    assert_eq!(at_rest(&pool).tasks.cancelled, 1);
}

#[test]
fn a_worker_that_does_not_heed_a_token_is_replaced() {
    let clock = ManualClock::new();
    let pool = closures(|builder| builder.stuck_after(SECOND).clock(clock.clone()));
    let token = CancelToken::new();
    let door = Door::default();
    let inside = door.clone();
    let deaf = pool.run(move |_, _| inside.pass()).cancel_with(&token);
    deaf.detach().unwrap();
    door.await_arrivals(1);
    token.cancel();
    clock.advance(SECOND);
    pool.tick();
    assert_eq!(pool.snapshot().threads.stuck, 1);
    assert_eq!(pool.run(|_, _| 3).wait().unwrap(), 3);
    door.open();
    at_rest(&pool);
}

#[test]
fn a_batch_is_cancelled_as_a_whole() {
    let pool = closures(|builder| builder.queue(4));
    let token = CancelToken::new();
    let door = occupy(&pool, 1);
    let tasks = (0..6).map(|number| move |_: &mut Closures, _: &TaskCx<'_>| number);
    let mut batch = pool.run_batch(tasks).cancel_with(&token);
    assert!(poll_once(&mut batch).is_pending());
    assert_eq!(pool.snapshot().queue.queued, [0, 2, 0]);
    token.cancel();
    let Poll::Ready(answers) = poll_once(&mut batch) else {
        panic!("nothing is waited for");
    };
    let (queued, late) = (Stage::Queued, Stage::Submitting);
    for (answer, stage) in answers.iter().zip([queued, queued, late, late, late, late]) {
        assert!(is_cancelled(answer, stage), "{stage}");
    }
    door.open();
    let tasks = at_rest(&pool).tasks;
    assert_eq!((answers.len(), tasks.cancelled, tasks.submitted), (6, 6, 7));
}

#[cfg(feature = "rayon")]
#[test]
fn what_is_computed_stops_before_its_next_chunk() {
    let cpu = cortex_workers::CpuPool::builder("sums")
        .threads(1)
        .build_blocking()
        .unwrap();
    let (token, door) = (CancelToken::new(), Door::default());
    let inside = door.clone();
    let mut call = cpu
        .map_chunks(vec![1; 1000], 1, move |chunk| {
            inside.pass();
            chunk.len()
        })
        .cancel_with(&token);
    assert!(poll_once(&mut call).is_pending());
    door.await_arrivals(1);
    let mut queued = cpu.map(vec![1, 2], |number| number).cancel_with(&token);
    assert!(poll_once(&mut queued).is_pending());
    token.cancel();
    assert!(is_cancelled(&call.wait(), Stage::Running));
    let Err(Error::Cancelled {
        work: Some(items), ..
    }) = queued.wait()
    else {
        panic!("it was not begun");
    };
    assert_eq!(items, [1, 2]);
    door.open();
    at_rest(cpu.front());
    door.await_arrivals(1);
}

#[test]
fn whoever_cancels_does_not_wait_and_every_answer_comes() {
    let pool = closures(|builder| builder.threads(2).queue(1000));
    let token = CancelToken::new();
    let door = occupy(&pool, 2);
    let mut calls: Vec<_> = (0..500)
        .map(|number| pool.run(move |_, _| number).cancel_with(&token))
        .collect();
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| token.cancel());
        }
        door.open();
    });
    for (number, call) in calls.into_iter().enumerate() {
        match call.wait() {
            Ok(answer) => assert_eq!(answer, number),
            Err(error) => assert!(matches!(error, Error::Cancelled { .. })),
        }
    }
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.cancelled + tasks.completed, tasks.submitted), (502, 502));
    let after = Pool::<Closures>::builder("after")
        .threads(1)
        .build_blocking()
        .unwrap();
    assert!(after.run(|_, _| ()).cancel_with(&token).wait().is_err());
}
