use crate::support::{assert_balanced, at_rest, closures, occupy, poll_once};
use cortex_testkit::ManualClock;
use cortex_workers::{Discard, Error, Overflow, Priority};
use std::task::Poll;
use std::time::Duration;

#[test]
fn who_waits_comes_in_by_turns() {
    let pool = closures(|builder| builder.queue(1));
    let door = occupy(&pool, 1);
    let mut calls: Vec<_> = (0..3).map(|number| pool.run(move |_, _| number)).collect();
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.queue.queued, snapshot.queue.waiting), ([0, 1, 0], 2));
    assert_balanced(&snapshot);
    drop(calls.remove(0));
    assert_eq!(pool.snapshot().queue.waiting, 1, "the next one came in");
    door.open();
    let answers: Vec<i32> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
    assert_eq!(answers, [1, 2]);
    at_rest(&pool);
}

#[test]
fn who_is_refused_gets_back_what_was_to_be_done() {
    let pool = closures(|builder| builder.queue(1).overflow(Overflow::Reject));
    let door = occupy(&pool, 1);
    pool.run(|_, _| ()).detach().unwrap();
    let Err(Error::Full(closure)) = pool.run(|_, _| 7).wait() else {
        panic!("the queue is full");
    };
    door.open();
    pool.run(|_, _| ()).overflow(Overflow::Wait).wait().unwrap();
    assert_eq!(pool.run(closure).wait().unwrap(), 7);
}

#[test]
fn without_a_queue_only_an_idle_worker_takes_it() {
    let pool = closures(|builder| builder.queue(0).overflow(Overflow::Reject));
    let door = occupy(&pool, 1);
    assert!(matches!(pool.run(|_, _| ()).wait(), Err(Error::Full(_))));
    let mut waits = pool.run(|_, _| 3).overflow(Overflow::Wait);
    assert!(poll_once(&mut waits).is_pending());
    door.open();
    assert_eq!(waits.wait().unwrap(), 3);
}

#[test]
fn patience_ends() {
    let clock = ManualClock::new();
    let patience = Duration::from_secs(2);
    let pool = closures(|builder| {
        builder
            .queue(1)
            .overflow(Overflow::Timeout(patience))
            .clock(clock.clone())
    });
    let door = occupy(&pool, 1);
    pool.run(|_, _| ()).detach().unwrap();
    let mut call = pool.run(|_, _| ());
    assert!(poll_once(&mut call).is_pending());
    clock.advance(Duration::from_nanos(1_999_999_999));
    pool.tick();
    assert!(poll_once(&mut call).is_pending());
    clock.advance(Duration::from_nanos(1));
    pool.tick();
    assert!(matches!(poll_once(&mut call), Poll::Ready(Err(Error::Full(_)))));
    door.open();
    assert_eq!(at_rest(&pool).tasks.rejected, 1);
}

#[test]
fn the_oldest_of_the_lowest_goes_first_and_none_above() {
    let pool = closures(|builder| builder.queue(2).overflow(Overflow::DropOldest));
    let door = occupy(&pool, 1);
    let mut calls = Vec::new();
    for (number, priority) in [(1, Priority::High), (2, Priority::Low)] {
        let mut call = pool.run(move |_, _| number).priority(priority);
        assert!(poll_once(&mut call).is_pending());
        calls.push(call);
    }
    let mut newer = pool.run(|_, _| 3).priority(Priority::Low);
    assert!(poll_once(&mut newer).is_pending());
    let dropped = calls.pop().unwrap();
    let reason = Discard::Overflow;
    assert!(matches!(dropped.wait(), Err(Error::Discarded { reason: why, .. }) if why == reason));
    let high = pool.run(|_, _| 4).priority(Priority::High);
    let high = std::thread::scope(|scope| {
        let high = scope.spawn(|| high.wait());
        while pool.snapshot().tasks.discarded < 2 {
            std::thread::yield_now();
        }
        assert!(
            matches!(pool.run(|_, _| 5).wait(), Err(Error::Full(_))),
            "all that wait are above it"
        );
        door.open();
        high.join().unwrap()
    });
    assert_eq!(high.unwrap(), 4);
    assert!(matches!(newer.wait(), Err(Error::Discarded { .. })));
    assert_eq!(calls.pop().unwrap().wait().unwrap(), 1);
    at_rest(&pool);
}

#[test]
fn the_caller_runs_it_where_there_is_no_place() {
    let pool = closures(|builder| builder.queue(0).overflow(Overflow::CallerRuns));
    let door = occupy(&pool, 1);
    let here = std::thread::current().id();
    assert_eq!(pool.run(|_, _| std::thread::current().id()).wait().unwrap(), here);
    let panicked = pool.run(|_, _| -> u8 { panic!("here, too") }).wait();
    assert!(matches!(panicked, Err(Error::Panicked(panic)) if panic.message() == "here, too"));
    door.open();
    at_rest(&pool);
}
