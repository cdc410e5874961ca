use crate::support::{Door, assert_balanced, at_rest, closures, occupy, poll_once};
use cortex_testkit::ManualClock;
use cortex_workers::{Closures, Discard, Drain, Error, Pool, Stop};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_drain_has_all_done_that_was_accepted() {
    let pool = closures(|builder| builder.threads(2));
    let door = occupy(&pool, 2);
    let mut calls: Vec<_> = (0..20).map(|number| pool.run(move |_, _| number)).collect();
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    let mut ending = std::pin::pin!(pool.shutdown(Drain::unlimited()));
    assert!(std::future::poll_fn(|cx| Poll::Ready(ending.as_mut().poll(cx).is_pending())).await);
    assert!(matches!(pool.run(|_, _| ()).await, Err(Error::Closed(_))));
    door.open();
    let report = ending.await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.completed, 22);
    for (number, call) in (0..).zip(calls) {
        assert_eq!(call.await.unwrap(), number);
    }
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.threads.live, snapshot.is_closed), (0, true));
    assert_balanced(&snapshot);
    assert_eq!(
        pool.shutdown(Drain::now()).await,
        report,
        "whoever asks again is told the same"
    );
}

#[test]
fn at_the_end_of_a_drain_what_waits_is_discarded_and_what_runs_is_told() {
    let clock = ManualClock::new();
    let pool = closures(|builder| builder.clock(clock.clone()));
    let (door, seen) = (Door::default(), Arc::new(Mutex::new(None)));
    let (inside, stopped) = (door.clone(), Arc::clone(&seen));
    let mut running = pool.run(move |_, cx| {
        inside.pass();
        *stopped.lock().unwrap() = cx.stop();
    });
    assert!(poll_once(&mut running).is_pending());
    door.await_arrivals(1);
    let mut queued = pool.run(|_, _| ());
    assert!(poll_once(&mut queued).is_pending());
    let mut ending = Box::pin(pool.shutdown(Drain::within(SECOND)));
    assert!(poll_once(&mut ending).is_pending());
    clock.advance(SECOND);
    pool.tick();
    let reason = Discard::Shutdown;
    assert!(
        matches!(poll_once(&mut queued), Poll::Ready(Err(Error::Discarded { reason: why, .. })) if why == reason)
    );
    assert!(matches!(
        poll_once(&mut running),
        Poll::Ready(Err(Error::Shutdown))
    ));
    assert!(poll_once(&mut ending).is_pending(), "it has a second to stop");
    clock.advance(SECOND);
    pool.tick();
    let Poll::Ready(report) = poll_once(&mut ending) else {
        panic!("it is over")
    };
    assert_eq!(
        (report.discarded, report.stopped, report.leaked, report.elapsed),
        (1, 1, 1, 2 * SECOND)
    );
    door.open();
    while pool.snapshot().threads.live > 0 {
        std::thread::yield_now();
    }
    assert_eq!(*seen.lock().unwrap(), Some(Stop::Shutdown));
    assert_balanced(&pool.snapshot());
}

#[test]
fn a_pool_that_nobody_has_ends() {
    let pool = closures(|builder| builder);
    let door = occupy(&pool, 1);
    let mut call = pool.run(|_, _| ()).owned();
    assert!(poll_once(&mut call).is_pending());
    drop(pool);
    assert!(matches!(call.wait(), Err(Error::Discarded { .. })));
    door.open();
}

#[test]
fn a_pool_can_be_dropped_by_its_own_task() {
    let pool = closures(|builder| builder);
    let own = pool.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    pool.run(move |_, _| {
        drop(own);
        sender.send(()).expect("somebody waits");
    })
    .detach()
    .unwrap();
    drop(pool);
    receiver.recv().unwrap();
}

#[test]
fn nothing_begins_while_it_is_paused() {
    let pool = closures(|builder| builder);
    pool.pause();
    let mut call = pool.run(|_, _| 1);
    assert!(poll_once(&mut call).is_pending());
    assert_eq!(pool.snapshot().queue.queued, [0, 1, 0]);
    assert!(pool.snapshot().is_paused);
    pool.resume();
    assert_eq!(call.wait().unwrap(), 1);
}

#[test]
fn it_grows_while_work_waits_and_shrinks_when_there_is_none() {
    let clock = ManualClock::new();
    let pool = closures(|builder| builder.threads(1..=3).idle(SECOND).clock(clock.clone()));
    let door = Door::default();
    let mut calls = Vec::new();
    for live in 1..=3 {
        let inside = door.clone();
        let mut call = pool.run(move |_, _| inside.pass());
        assert!(poll_once(&mut call).is_pending());
        calls.push(call);
        if live > 1 {
            clock.advance(Duration::from_millis(60));
            pool.tick();
        }
        door.await_arrivals(live);
        assert_eq!(pool.snapshot().threads.live, live);
    }
    clock.advance(SECOND);
    pool.tick();
    assert_eq!(pool.snapshot().threads.live, 3, "and no more than that");
    door.open();
    for call in calls {
        call.wait().unwrap();
    }
    at_rest(&pool);
    pool.tick();
    assert_eq!(pool.snapshot().threads.live, 3, "they have just begun to rest");
    clock.advance(SECOND);
    while pool.snapshot().threads.live > 1 {
        pool.tick();
        std::thread::yield_now();
    }
    assert_eq!(pool.run(|_, _| 6).wait().unwrap(), 6);
}

#[test]
fn without_a_least_number_the_first_task_starts_a_thread() {
    let pool = closures(|builder| builder.threads(0..=1));
    assert_eq!(pool.snapshot().threads.live, 0);
    assert_eq!(pool.run(|_, _| 9).wait().unwrap(), 9);
    assert_eq!(pool.snapshot().threads.live, 1);
}

#[test]
fn it_can_be_made_larger_and_smaller_while_it_works() {
    let pool = closures(|builder| builder);
    let door = occupy(&pool, 1);
    pool.resize(3).unwrap();
    let more = occupy(&pool, 2);
    assert_eq!(pool.snapshot().threads.busy, 3);
    pool.resize(1).unwrap();
    assert_eq!(pool.snapshot().threads.live, 3, "they are at work");
    assert!(pool.resize(0).is_err());
    door.open();
    more.open();
    while pool.snapshot().threads.live > 1 {
        std::thread::yield_now();
    }
    assert_eq!(pool.run(|_, _| 4).wait().unwrap(), 4);
    assert_balanced(&pool.snapshot());
}

#[test]
fn settings_without_sense_are_refused() {
    for builder in [
        Pool::<Closures>::builder("none").threads(0),
        Pool::<Closures>::builder("none").threads(0..=0),
        Pool::<Closures>::builder("many").threads(5000),
        Pool::<Closures>::builder("late").run_timeout(Duration::ZERO),
        Pool::<Closures>::builder("stuck")
            .stuck_after(SECOND)
            .max_stuck(0),
        Pool::<Closures>::builder("stuck")
            .stuck_after(SECOND)
            .max_stuck(5000),
        Pool::<Closures>::builder("stuck").max_stuck(1),
    ] {
        assert!(builder.check().is_err(), "{builder:?}");
    }
}
