use crate::support::{at_rest, closures, occupy, poll_once};
use cortex_core::Deadline;
use cortex_testkit::ManualClock;
use cortex_workers::{
    AfterPanic, Builder, Closures, Drain, Error, Event, Observer, Overflow, Pool, Priority, TaskCx, Worker,
    WorkerCx,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Keeps what it hears, shortly.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics there"))
    }

    /// Waits until so many events have come, and takes them.
    fn await_events(&self, count: usize) -> Vec<String> {
        while self.0.lock().expect("nobody panics there").len() < count {
            std::thread::yield_now();
        }
        self.take()
    }
}

impl Observer for Log {
    fn on_event(&self, pool: &str, event: &Event) {
        assert_eq!(pool, "test");
        let text = match *event {
            Event::Ended {
                outcome,
                priority,
                waited,
                ran,
                ..
            } => format!("{outcome} {priority} {waited:?} {ran:?}"),
            Event::Refused { reason, waited, .. } => format!("refused {reason} {waited:?}"),
            Event::Cancelled { priority, waited, .. } => format!("cancelled early {priority} {waited:?}"),
            Event::Expired { stage, waited, .. } => format!("expired early {stage:?} {waited:?}"),
            Event::Discarded { reason, waited, .. } => format!("discarded {reason:?} {waited:?}"),
            Event::WorkerStarted {
                thread, generation, ..
            } => format!("started {thread} {generation}"),
            Event::WorkerFailed {
                thread,
                reason,
                retry_after,
                ..
            } => format!("lost {thread} {reason} {retry_after:?}"),
            Event::WorkerEnded { thread, reason, .. } => format!("ended {thread} {reason}"),
            Event::WorkerStuck {
                thread,
                ran,
                is_replaced,
                ..
            } => format!("stuck {thread} {ran:?} {is_replaced}"),
            Event::Drained { report, .. } => format!("drained: {report}"),
            ref other => format!("{other:?}"),
        };
        self.0.lock().expect("nobody panics there").push(text);
    }
}

fn watched(set: impl FnOnce(Builder<Closures>) -> Builder<Closures>) -> (Pool<Closures>, Log, ManualClock) {
    let (log, clock) = (Log::default(), ManualClock::new());
    let pool = closures(|builder| set(builder.clock(clock.clone()).observe(log.clone())));
    assert_eq!(log.take(), ["started 0 0"]);
    (pool, log, clock)
}

fn shut_down<W: Worker>(pool: &Pool<W>, drain: Drain) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().expect("there is one");
    runtime.block_on(pool.shutdown(drain));
}

#[test]
fn an_observer_hears_of_each_task_and_of_the_end() {
    let (pool, log, clock) = watched(|builder| builder.queue(1).overflow(Overflow::Timeout(SECOND)));
    let door = occupy(&pool, 1);
    let mut queued = pool.run(|_, _| ()).priority(Priority::High);
    assert!(poll_once(&mut queued).is_pending());
    let mut waiting = pool.run(|_, _| ());
    assert!(poll_once(&mut waiting).is_pending());
    assert!(pool.run(|_, _| ()).overflow(Overflow::Reject).wait().is_err());
    assert_eq!(log.take(), ["refused full 0ns"]);
    clock.advance(SECOND);
    pool.tick();
    assert_eq!(log.take(), ["refused full 1s"]);
    drop(waiting);
    drop(queued);
    assert_eq!(log.take(), ["cancelled early high 1s"]);

    let deadline = Deadline::from_nanos(cortex_core::Clock::nanos(&clock) + 1_000_000_000);
    let mut late = pool.run(|_, _| ()).deadline(deadline);
    assert!(poll_once(&mut late).is_pending());
    clock.advance(SECOND);
    pool.tick();
    assert_eq!(log.take(), ["expired early Queued 1s"]);
    assert!(pool.run(|_, _| ()).deadline(deadline).wait().is_err());
    assert_eq!(log.take(), ["expired early Submitting 0ns"]);

    let mut oldest = pool.run(|_, _| ());
    assert!(poll_once(&mut oldest).is_pending());
    let mut newest = pool.run(|_, _| ()).overflow(Overflow::DropOldest);
    assert!(poll_once(&mut newest).is_pending());
    assert_eq!(log.take(), ["discarded Overflow 0ns"]);

    door.open();
    newest.wait().unwrap();
    at_rest(&pool);
    shut_down(&pool, Drain::unlimited());
    assert_eq!(
        log.take(),
        [
            "completed normal 0ns 2s",
            "completed normal 0ns 0ns",
            "ended 0 shutdown",
            "drained: ended in 0.0ns: 0 tasks completed, 0 discarded, 0 stopped, 0 threads left",
        ]
    );
    assert!(pool.run(|_, _| ()).wait().is_err());
    shut_down(&pool, Drain::now());
    assert_eq!(log.take(), ["refused closed 0ns"], "the end is told of once");
}

#[test]
fn what_a_caller_runs_is_told_of_once() {
    let (pool, log, _) = watched(|builder| builder.queue(0).overflow(Overflow::CallerRuns));
    let door = occupy(&pool, 1);
    pool.run(|_, _| ()).wait().unwrap();
    assert_eq!(log.take(), ["completed normal 0ns 0ns"]);
    assert!(pool.run(|_, _| ()).detach().is_err());
    assert_eq!(log.take(), ["refused full 0ns"]);
    door.open();
}

#[test]
fn a_worker_that_is_stuck_is_told_of_with_the_one_in_its_place() {
    let (pool, log, clock) = watched(|builder| builder.run_timeout(SECOND).stuck_after(SECOND));
    let door = occupy(&pool, 1);
    for _ in 0..2 {
        clock.advance(SECOND);
        pool.tick();
    }
    let mut events = log.await_events(2);
    events.sort_unstable();
    assert_eq!(events, ["started 1 0", "stuck 0 2s true"]);
    door.open();
    assert_eq!(
        log.await_events(2),
        ["timed_out normal 0ns 2s", "ended 0 replaced"]
    );
}

struct Fragile;

impl Worker for Fragile {
    type Request = bool;
    type Response = ();
    type Error = &'static str;

    fn init(cx: &WorkerCx<'_>) -> Result<Self, &'static str> {
        match cx.generation() {
            1 => Err("no disk"),
            2 => panic!("no memory"),
            _ => Ok(Self),
        }
    }

    fn run(&mut self, panics: bool, _: &TaskCx<'_>) -> Result<(), &'static str> {
        assert!(!panics, "on purpose");
        Err("not today")
    }

    fn after_panic(&mut self) -> AfterPanic {
        AfterPanic::Rebuild
    }
}

#[test]
fn what_becomes_of_a_worker_is_told_in_order() {
    let log = Log::default();
    let builder = Pool::<Fragile>::builder("test").threads(1).observe(log.clone());
    let builder = builder
        .respawn(Duration::from_micros(1), Duration::from_micros(3))
        .seed(7);
    let pool = builder.clock(ManualClock::new()).build_blocking();
    // The clock stands still, so that the worker would wait for ever.
    let pool = pool.unwrap();
    assert!(matches!(pool.call(false).wait(), Err(Error::Failed("not today"))));
    assert!(matches!(pool.call(true).wait(), Err(Error::Panicked(_))));
    assert_eq!(
        log.await_events(4),
        [
            "started 0 0",
            "failed normal 0ns 0ns",
            "panicked normal 0ns 0ns",
            "lost 0 task_panicked 981ns",
        ]
    );
    let threads = pool.snapshot().threads;
    assert_eq!((threads.live, threads.failing, threads.idle), (1, 1, 0));
    shut_down(&pool, Drain::now());
    assert_eq!(log.take().first().map(String::as_str), Some("ended 0 shutdown"));
}

#[test]
fn each_attempt_to_make_a_state_again_is_told_of() {
    let log = Log::default();
    let builder = Pool::<Fragile>::builder("test").threads(1).observe(log.clone());
    let builder = builder
        .respawn(Duration::from_micros(1), Duration::from_micros(3))
        .seed(7);
    let pool = builder.build_blocking().unwrap();
    assert!(pool.call(true).wait().is_err());
    let lost = log.await_events(6).split_off(2);
    assert_eq!(
        lost,
        [
            "lost 0 task_panicked 981ns",
            "lost 0 init 2.329µs",
            "lost 0 init_panicked 3.228µs",
            "started 0 3",
        ]
    );
}

/// Looks at the pool that it hears of, and then panics.
struct Rude(Arc<Mutex<Option<Pool<Closures>>>>);

impl Observer for Rude {
    fn on_event(&self, _: &str, event: &Event) {
        let pool = self.0.lock().expect("nobody panics there").clone();
        if let (Some(pool), Event::Ended { .. }) = (pool, event) {
            assert!(pool.snapshot().is_balanced());
            pool.run(|_, _| ())
                .priority(Priority::Low)
                .overflow(Overflow::Reject)
                .detach()
                .ok();
            pool.tick();
        }
        std::panic::resume_unwind(Box::new("on purpose"));
    }
}

#[test]
fn an_observer_may_look_at_the_pool_and_harms_nobody_if_it_panics() {
    let place = Arc::new(Mutex::new(None));
    let pool = closures(|builder| builder.queue(2).observe((Rude(Arc::clone(&place)), ())));
    *place.lock().unwrap() = Some(pool.clone());
    for number in 0..100 {
        assert_eq!(
            pool.run(move |_, _| number)
                .priority(Priority::High)
                .wait()
                .unwrap(),
            number
        );
    }
    place.lock().unwrap().take();
    shut_down(&pool, Drain::now());
    assert!(pool.snapshot().is_balanced());
}
