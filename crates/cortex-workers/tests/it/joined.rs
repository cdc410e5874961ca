use crate::support::{Door, at_rest, occupy, poll_once};
use cortex_testkit::ManualClock;
use cortex_workers::{Closures, Drain, DrainReport, Event, Observer, Pool};
use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Counts the threads of this process whose names begin so.
#[cfg(target_os = "linux")]
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("it is readable");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|comm| comm.starts_with(name)).count()
}

/// Waits until there are so many: a thread names itself, and the kernel says that one is gone a moment before it takes
/// it off the list.
#[cfg(target_os = "linux")]
fn await_threads(name: &str, count: usize) {
    while threads(name) != count {
        std::thread::yield_now();
    }
}

fn shut_down(pool: &Pool<Closures>) -> DrainReport {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime
        .expect("there is one")
        .block_on(pool.shutdown(Drain::unlimited()))
}

/// A task that has answered can't be told to stop, though its worker has not come back to say so.
#[tokio::test]
async fn what_has_answered_is_not_stopped_by_the_end() {
    for _ in 0..1000 {
        let pool = Pool::<Closures>::builder("done")
            .threads(1)
            .build()
            .await
            .unwrap();
        let token = cortex_workers::CancelToken::new();
        pool.run(|_, _| ()).cancel_with(&token).await.unwrap();
        token.cancel();
        let report = pool.shutdown(Drain::now()).await;
        assert!(report.is_complete(), "{report}");
        assert_eq!(pool.snapshot().tasks.completed, 1);
    }
}

/// Stands at a door when it is dropped.
struct Lingers(Door);

impl Drop for Lingers {
    fn drop(&mut self) {
        self.0.pass();
    }
}

thread_local! {
    static LAST: RefCell<Option<Lingers>> = const { RefCell::new(None) };
}

/// Has a thread of the pool stand at a door when it ends.
fn linger(pool: &Pool<Closures>) -> Door {
    let door = Door::default();
    let inside = door.clone();
    let set = move |_: &mut Closures, _: &cortex_workers::TaskCx<'_>| {
        LAST.with_borrow_mut(|last| *last = Some(Lingers(inside)));
    };
    pool.run(set).wait().expect("it is set");
    door
}

#[cfg(target_os = "linux")]
#[test]
fn after_a_shutdown_no_thread_is_left() {
    for round in 0..20 {
        let pool = Pool::<Closures>::builder("joined")
            .threads(3)
            .build_blocking()
            .unwrap();
        pool.run_batch((0..10).map(|number| move |_: &mut Closures, _: &cortex_workers::TaskCx<'_>| number))
            .wait();
        await_threads("joined-", 3);
        if round % 2 == 0 {
            pool.resize(1).unwrap(); // those that end before count, too
        }
        assert!(shut_down(&pool).is_complete());
        await_threads("joined-", 0);
    }
}

#[cfg(all(feature = "rayon", target_os = "linux"))]
#[tokio::test]
async fn after_a_shutdown_no_thread_is_left_that_computes() {
    let cpu = cortex_workers::CpuPool::builder("division")
        .threads(2)
        .build()
        .await
        .unwrap();
    let kept = cpu.map(vec![1, 2], |number| number); // a call that is never made keeps no thread
    assert_eq!(cpu.map(vec![1, 2], |number| number + 1).await.unwrap(), [2, 3]);
    await_threads("division-", 4);
    assert!(cpu.shutdown(Drain::unlimited()).await.is_complete());
    await_threads("division-", 0);
    drop(kept);
}

#[test]
fn the_end_waits_for_destructors_of_thread_locals() {
    let pool = Pool::<Closures>::builder("lingers")
        .threads(1)
        .build_blocking()
        .unwrap();
    let door = linger(&pool);
    let mut ending = Box::pin(pool.shutdown(Drain::unlimited()));
    assert!(poll_once(&mut ending).is_pending());
    door.await_arrivals(1);
    assert_eq!(pool.snapshot().threads.live, 0, "the pool needs it no more");
    assert!(poll_once(&mut ending).is_pending());
    drop(ending);
    door.open();
    assert!(shut_down(&pool).is_complete());
}

/// Returns the report of a pool that ends, once the time is over that its threads have for that.
fn past_grace(
    clock: &ManualClock,
    pool: &Pool<Closures>,
    ending: &mut (impl Future<Output = DrainReport> + Unpin),
) -> DrainReport {
    loop {
        clock.advance(SECOND);
        pool.tick();
        if let Poll::Ready(report) = poll_once(ending) {
            return report;
        }
        std::thread::yield_now(); // somebody is about to begin to wait for the threads
    }
}

/// Starts a pool whose first thread has ended, but for a destructor that stands at a door; another one works.
#[cfg(target_os = "linux")]
fn behind_one_that_lingers(name: &str, clock: &ManualClock) -> (Pool<Closures>, Door) {
    let builder = Pool::<Closures>::builder(name).threads(1).clock(clock.clone());
    let pool = builder.build_blocking().expect("the settings make sense");
    let door = linger(&pool);
    at_rest(&pool);
    for threads in [2, 1] {
        pool.resize(threads).expect("there may be as many"); // the idle one with the lowest number ends
    }
    door.await_arrivals(1);
    (pool, door)
}

#[cfg(target_os = "linux")]
#[test]
fn one_that_does_not_end_is_the_only_one_that_is_left() {
    let clock = ManualClock::new();
    let (pool, door) = behind_one_that_lingers("innocent", &clock);
    pool.resize(3).unwrap();
    occupy(&pool, 3).open(); // all are there
    let mut ending = Box::pin(pool.shutdown(Drain::within(SECOND)));
    assert!(poll_once(&mut ending).is_pending());
    await_threads("innocent-", 1);
    let report = past_grace(&clock, &pool, &mut ending);
    assert_eq!((report.leaked, report.stopped), (1, 0));
    door.open();
}

#[cfg(target_os = "linux")]
#[test]
fn threads_come_and_go_behind_one_that_does_not_end() {
    let (pool, door) = behind_one_that_lingers("cycles", &ManualClock::new());
    for _ in 0..20 {
        pool.resize(3).unwrap();
        occupy(&pool, 3).open();
        pool.resize(1).unwrap();
        while pool.snapshot().threads.live > 1 {
            std::thread::yield_now();
        }
        await_threads("cycles-", 2);
    }
    door.open();
    assert!(shut_down(&pool).is_complete());
}

/// rayon waits for no thread.
#[cfg(feature = "rayon")]
#[test]
fn the_end_waits_for_threads_that_compute() {
    let clock = ManualClock::new();
    let builder = cortex_workers::CpuPool::builder("computes").threads(1);
    let cpu = builder.clock(clock.clone()).build_blocking().unwrap();
    let door = Door::default();
    let set = |door: Door| LAST.with_borrow_mut(|last| *last = Some(Lingers(door)));
    cpu.map(vec![door.clone()], set).wait().unwrap();
    let pool = cpu.front();
    let mut ending = Box::pin(pool.shutdown(Drain::within(SECOND)));
    assert!(poll_once(&mut ending).is_pending());
    door.await_arrivals(1);
    assert!(poll_once(&mut ending).is_pending());
    assert_eq!(past_grace(&clock, pool, &mut ending).leaked, 1);
    door.open();
}

/// Keeps the events of the end.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Event>>>);

impl Observer for Log {
    fn on_event(&self, _: &str, event: &Event) {
        if matches!(event, Event::WorkerLeaked { .. } | Event::Drained { .. }) {
            self.0.lock().expect("nobody panics there").push(*event);
        }
    }
}

#[test]
fn threads_that_do_not_end_are_listed_and_not_waited_for() {
    let (clock, log) = (ManualClock::new(), Log::default());
    let builder = Pool::<Closures>::builder("leaks").threads(1).clock(clock.clone());
    let pool = builder.observe(log.clone()).build_blocking().unwrap();
    let door = occupy(&pool, 1);
    clock.advance(SECOND);
    let mut ending = Box::pin(pool.shutdown(Drain::now()));
    assert!(poll_once(&mut ending).is_pending());
    clock.advance(SECOND);
    pool.tick();
    let Poll::Ready(report) = poll_once(&mut ending) else {
        panic!("it is over");
    };
    assert_eq!((report.leaked, report.stopped), (1, 1));
    let events = log.0.lock().unwrap();
    assert!(matches!(
        events[..],
        [Event::WorkerLeaked { ran: Some(ran), .. }, Event::Drained { .. }] if ran == 2 * SECOND
    ));
    drop(events);
    door.open();
}

#[test]
fn a_thread_local_that_is_never_destroyed_counts_as_a_thread_that_is_left() {
    let clock = ManualClock::new();
    let builder = Pool::<Closures>::builder("stays").threads(1).clock(clock.clone());
    let pool = builder.build_blocking().unwrap();
    let door = linger(&pool);
    let mut ending = Box::pin(pool.shutdown(Drain::within(SECOND)));
    assert!(poll_once(&mut ending).is_pending());
    door.await_arrivals(1);
    let report = past_grace(&clock, &pool, &mut ending);
    assert_eq!((report.leaked, report.stopped), (1, 0));
    door.open();
}
