#[cfg(feature = "tokio")]
use crate::support::{Door, occupy};
use crate::support::{at_rest, closures, poll_once};
use cortex_core::{Clock, Context, Deadline};
use cortex_testkit::ManualClock;
#[cfg(feature = "tokio")]
use cortex_workers::Overflow;
use cortex_workers::{Adaptive, CancelToken, Closures, Error, Pool, Stage, Stop};
use std::sync::{Arc, Mutex};
#[cfg(feature = "tokio")]
use std::task::Poll;
use std::thread::current;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Makes calls that take no time by the clock of the pool; returns how many have run here.
fn calls(pool: &Pool<Closures>, site: &'static Adaptive, count: usize) -> usize {
    let here = current().id();
    let ran = (0..count).map(|_| pool.run(|_, _| current().id()).adaptive(site).wait());
    ran.filter(|thread| *thread.as_ref().expect("it is answered") == here)
        .count()
}

/// A pool whose calls from this site run inline, but for every 64th, of which the next is the 63rd from now.
fn tiny(site: &'static Adaptive) -> (Pool<Closures>, ManualClock) {
    let clock = ManualClock::new();
    let pool = closures(|builder| builder.clock(clock.clone()));
    assert_eq!(calls(&pool, site, 65), 0);
    at_rest(&pool); // a worker reads the clock once more after the answer
    (pool, clock)
}

#[test]
fn what_is_tiny_runs_here_and_is_accounted_for() {
    static SITE: Adaptive = Adaptive::new();
    let (pool, _) = tiny(&SITE);
    assert_eq!(calls(&pool, &SITE, 640), 630);
    let snapshot = at_rest(&pool);
    assert_eq!((snapshot.tasks.completed, snapshot.tasks.inline), (705, 630));
    let run = snapshot.run_times(cortex_workers::Priority::Normal);
    assert_eq!(run.count(), 705);
    assert_eq!(SITE.mean(), Some(Duration::ZERO));
}

#[test]
fn what_takes_long_goes_to_the_pool_again() {
    static SITE: Adaptive = Adaptive::new();
    let (pool, clock) = tiny(&SITE);
    let late = clock.clone();
    let slow =
        move |_: &mut Closures, _: &cortex_workers::TaskCx<'_>| late.advance(Duration::from_micros(101));
    pool.run(slow).adaptive(&SITE).wait().unwrap();
    assert_eq!(at_rest(&pool).tasks.inline, 1);
    assert_eq!(calls(&pool, &SITE, 60), 0);
    at_rest(&pool);
    clock.advance(SECOND);
    assert!(calls(&pool, &SITE, 60) > 50);
}

#[test]
fn deadlines_panics_and_context_are_as_on_the_pool() {
    static SITE: Adaptive = Adaptive::new();
    let (pool, clock) = tiny(&SITE);
    let here = current().id();
    let panicked = pool
        .run(|_, _| -> u8 { panic!("here, too") })
        .adaptive(&SITE)
        .wait();
    assert!(matches!(panicked, Err(Error::Panicked(panic)) if panic.message() == "here, too"));

    let deadline = Deadline::after(clock.now(), SECOND);
    let _attached = Context::new().with_deadline(deadline).attach();
    let seen = pool.run(|_, cx| (Context::current(), cx.context(), cx.deadline(), current().id()));
    let seen = seen.adaptive(&SITE).wait().unwrap();
    assert_eq!(
        seen,
        (Context::current(), Context::current(), Some(deadline), here)
    );

    let late = clock.clone();
    let stopped = Arc::new(Mutex::new(None));
    let stop = Arc::clone(&stopped);
    let call = pool.run(move |_, cx| {
        late.advance(SECOND);
        *stop.lock().unwrap() = cx.stop();
    });
    let expired = call.adaptive(&SITE).wait();
    assert!(matches!(
        expired,
        Err(Error::Deadline {
            stage: Stage::Running,
            ..
        })
    ));
    assert_eq!(*stopped.lock().unwrap(), Some(Stop::Deadline));
    let expired = pool.run(|_, _| ()).adaptive(&SITE).wait();
    assert!(matches!(
        expired,
        Err(Error::Deadline {
            stage: Stage::Submitting,
            work: Some(_)
        })
    ));
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.panicked, tasks.expired, tasks.inline), (1, 2, 3));
}

#[test]
fn a_token_tells_what_runs_here_and_keeps_nothing_of_it() {
    static SITE: Adaptive = Adaptive::new();
    let (pool, _) = tiny(&SITE);
    let token = CancelToken::new();
    let ran = pool.run(|_, cx| (cx.check(), current().id())).adaptive(&SITE);
    assert_eq!(ran.cancel_with(&token).wait().unwrap(), (Ok(()), current().id()));

    let own = token.clone();
    let told = pool.run(move |_, cx| {
        own.cancel();
        assert_eq!(cx.stop(), Some(Stop::Cancelled));
    });
    let told = told.adaptive(&SITE).cancel_with(&token).wait();
    assert!(matches!(
        told,
        Err(Error::Cancelled {
            stage: Stage::Running,
            work: None
        })
    ));
    let late = pool.run(|_, _| ()).adaptive(&SITE).cancel_with(&token).wait();
    assert!(matches!(
        late,
        Err(Error::Cancelled {
            stage: Stage::Submitting,
            work: Some(_)
        })
    ));
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.cancelled, tasks.inline), (2, 2));
}

#[test]
fn nothing_runs_here_while_the_pool_is_paused_or_closed() {
    static SITE: Adaptive = Adaptive::new();
    let (pool, _) = tiny(&SITE);
    pool.pause();
    let mut call = pool.run(|_, _| 1).adaptive(&SITE);
    assert!(poll_once(&mut call).is_pending());
    pool.resume();
    assert_eq!(call.wait().unwrap(), 1);
    assert!(calls(&pool, &SITE, 10) > 0);
    let mut ending = Box::pin(pool.shutdown(cortex_workers::Drain::now()));
    let _ = poll_once(&mut ending);
    let closed = pool.run(|_, _| ()).adaptive(&SITE).wait();
    assert!(matches!(closed, Err(Error::Closed(_))));
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_loop_of_them_gives_up_its_thread_when_the_budget_is_used_up() {
    static SITE: Adaptive = Adaptive::new();
    let (pool, _) = tiny(&SITE);
    let one_turn = tokio::spawn(std::future::poll_fn(move |cx| {
        let (mut ready, mut pending) = (0, 0);
        // Every 64th goes to the pool, which may have answered at once; two in a row that are not ready are the budget.
        let here = current().id();
        while pending < 2 {
            let mut call = pool.run(|_, _| current().id()).adaptive(&SITE);
            match std::pin::Pin::new(&mut call).poll(cx) {
                Poll::Ready(ran) => {
                    (ready, pending) = (ready + usize::from(ran.is_ok_and(|thread| thread == here)), 0);
                }
                Poll::Pending => pending += 1,
            }
            assert!(ready < 1000, "it would never end");
        }
        Poll::Ready(ready)
    }));
    assert_eq!(one_turn.await.unwrap(), 128);
}

/// On one thread, so that nobody else would open the door.
#[cfg(feature = "tokio")]
#[test]
fn on_a_runtime_of_many_threads_a_caller_runs_it_and_others_go_on() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let pool = closures(|builder| builder.queue(0).overflow(Overflow::CallerRuns));
    let busy = occupy(&pool, 1);
    let (door, own) = (Door::default(), pool.clone());
    let (inside, opens) = (door.clone(), door.clone());
    let caller = runtime.spawn(async move {
        tokio::spawn(async move { opens.open() });
        let here = current().id();
        let ran = own.run(move |_, _| {
            inside.pass();
            current().id()
        });
        (ran.await.unwrap(), here)
    });
    let (ran, here) = runtime.block_on(caller).unwrap();
    assert_eq!(ran, here);
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.tasks.inline, snapshot.tasks.rejected), (1, 0));
    busy.open();
}

/// There it would hold up all others, or is not a thread of the runtime's own.
#[cfg(feature = "tokio")]
#[tokio::test]
async fn elsewhere_it_waits() {
    let pool = closures(|builder| builder.queue(0).overflow(Overflow::CallerRuns));
    let busy = occupy(&pool, 1);
    let mut here = pool.run(|_, _| 1);
    assert!(poll_once(&mut here).is_pending(), "a runtime of one thread");
    let mut nowhere = pool.run(|_, _| 2).owned();
    let polled = std::thread::spawn(move || poll_once(&mut nowhere).is_pending().then_some(nowhere));
    let nowhere = polled.join().unwrap().expect("no runtime at all");
    let own = pool.clone();
    let inside = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let set = tokio::task::LocalSet::new();
        let mut call = own.run(|_, _| 3).owned();
        let is_pending = set.block_on(&runtime, async { poll_once(&mut call).is_pending() });
        is_pending.then_some(call)
    });
    let local = inside.join().unwrap().expect("it would panic there");
    assert_eq!(pool.snapshot().queue.waiting, 3);
    busy.open();
    let answers = (
        here.wait().unwrap(),
        nowhere.wait().unwrap(),
        local.wait().unwrap(),
    );
    assert_eq!(answers, (1, 2, 3));
}
