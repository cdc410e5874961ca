use crate::support::{Door, at_rest, closures, occupy, poll_once};
use cortex_testkit::ManualClock;
use cortex_workers::{
    AfterPanic, BatchError, Closures, Discard, Drain, Error, Overflow, Pool, Priority, TaskCx, Worker,
    WorkerCx,
};
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Counts how often it was dropped.
#[derive(Debug)]
struct Counted(usize, Arc<[AtomicUsize]>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1[self.0].fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Answer,
    Fail,
    Panic,
}

/// Does what the request says. Its state is lost with each panic if the pool is called fragile.
struct Doer {
    is_fragile: bool,
}

impl Worker for Doer {
    type Request = (Deed, Counted);
    type Response = usize;
    type Error = usize;

    fn init(cx: &WorkerCx<'_>) -> Result<Self, usize> {
        Ok(Self {
            is_fragile: cx.pool() == "fragile",
        })
    }

    fn run(&mut self, (deed, counted): (Deed, Counted), _: &TaskCx<'_>) -> Result<usize, usize> {
        match deed {
            Deed::Answer => Ok(counted.0),
            Deed::Fail => Err(counted.0),
            Deed::Panic => std::panic::resume_unwind(Box::new(counted.0.to_string())),
        }
    }

    fn after_panic(&mut self) -> AfterPanic {
        if self.is_fragile {
            AfterPanic::Rebuild
        } else {
            AfterPanic::Keep
        }
    }
}

fn requests(deeds: &[Deed]) -> (Arc<[AtomicUsize]>, Vec<(Deed, Counted)>) {
    let drops: Arc<[AtomicUsize]> = deeds.iter().map(|_| AtomicUsize::new(0)).collect();
    let counted = |number| Counted(number, Arc::clone(&drops));
    let requests = deeds
        .iter()
        .enumerate()
        .map(|(number, &deed)| (deed, counted(number)));
    let requests = requests.collect();
    (drops, requests)
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![6 => Just(Deed::Answer), 1 => Just(Deed::Fail), 1 => Just(Deed::Panic)];
    prop::collection::vec(deed, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the sizes: each request has one answer, which is its own, and each was dropped once.
    #[test]
    fn each_request_is_answered_once(deeds in deeds(), queue in 0_usize..9, threads in 1_usize..4, most in 0_usize..5) {
        let pool = Pool::<Doer>::builder("doer").threads(threads).queue(queue).build_blocking().unwrap();
        let (drops, requests) = requests(&deeds);
        let mut batch = pool.call_batch(requests);
        if most > 0 {
            batch = batch.most_waiting(most);
        }
        let answers = batch.wait();
        prop_assert_eq!(answers.len(), deeds.len());
        for (number, (answer, deed)) in answers.into_iter().zip(&deeds).enumerate() {
            match (answer, deed) {
                (Ok(it), Deed::Answer) | (Err(Error::Failed(it)), Deed::Fail) => prop_assert_eq!(it, number),
                (Err(Error::Panicked(panic)), Deed::Panic) => prop_assert_eq!(panic.message(), number.to_string()),
                (answer, _) => prop_assert!(false, "{answer:?}"),
            }
        }
        prop_assert!(drops.iter().all(|drops| drops.load(Ordering::SeqCst) == 1));
        let tasks = at_rest(&pool).tasks;
        prop_assert_eq!(tasks.submitted, u64::try_from(deeds.len()).unwrap());
    }

    /// A batch that is dropped on the way has given each answer at most once, and has left nothing behind.
    #[test]
    fn what_is_dropped_on_the_way_is_cancelled(deeds in deeds(), queue in 0_usize..9, taken in 0_usize..60) {
        let pool = Pool::<Doer>::builder("doer").threads(2).queue(queue).build_blocking().unwrap();
        let (drops, requests) = requests(&deeds);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut seen = vec![false; deeds.len()];
        runtime.block_on(async {
            let mut batch = pool.call_batch(requests);
            for _ in 0..taken {
                let Some((number, _)) = batch.next().await else {
                    break;
                };
                assert!(!std::mem::replace(&mut seen[number], true), "twice");
            }
        });
        prop_assert_eq!(seen.iter().filter(|seen| **seen).count(), taken.min(deeds.len()));
        let snapshot = at_rest(&pool);
        prop_assert_eq!(snapshot.tasks.submitted, snapshot.tasks.ended());
        prop_assert!(drops.iter().all(|drops| drops.load(Ordering::SeqCst) == 1));
    }

    /// The error is one of the first that came, and the answers are all there if there is none.
    #[test]
    fn the_first_error_ends_a_batch(deeds in deeds(), queue in 0_usize..9) {
        let pool = Pool::<Doer>::builder("doer").threads(2).queue(queue).build_blocking().unwrap();
        let (drops, requests) = requests(&deeds);
        let is_bad = deeds.iter().position(|deed| !matches!(deed, Deed::Answer));
        match pool.call_batch(requests).or_first_error().wait() {
            Ok(answers) => {
                prop_assert_eq!(is_bad, None);
                prop_assert!(answers.into_iter().eq(0..deeds.len()));
            }
            Err(BatchError { index, error, .. }) => {
                prop_assert!(is_bad.is_some_and(|first| index >= first));
                match error {
                    Error::Failed(number) => prop_assert_eq!(number, index),
                    Error::Panicked(panic) => prop_assert_eq!(panic.message(), index.to_string()),
                    error => prop_assert!(false, "{error:?}"),
                }
            }
        }
        at_rest(&pool);
        prop_assert!(drops.iter().all(|drops| drops.load(Ordering::SeqCst) == 1));
    }
}

#[test]
fn a_batch_takes_half_of_the_queue_and_no_more() {
    let pool = closures(|builder| builder.queue(8));
    let door = occupy(&pool, 1);
    let mut batch = pool.run_batch((0..100).map(|number| move |_: &mut Closures, _: &TaskCx<'_>| number));
    assert!(poll_once(&mut batch).is_pending());
    assert_eq!(pool.snapshot().queue.queued, [0, 4, 0]);
    assert_eq!(pool.snapshot().queue.waiting, 0);
    let mut other = pool.run(|_, _| "also").priority(Priority::High);
    assert!(poll_once(&mut other).is_pending());
    door.open();
    assert_eq!(other.wait().unwrap(), "also");
    let answers: Vec<i32> = batch.wait().into_iter().map(Result::unwrap).collect();
    assert!(answers.into_iter().eq(0..100));
}

#[test]
fn a_panic_costs_the_one_call_that_had_it_while_the_worker_is_made_anew() {
    for overflow in [Overflow::Wait, Overflow::Reject] {
        let (clock, delay) = (ManualClock::new(), Duration::from_millis(1));
        let builder = Pool::<Doer>::builder("fragile").threads(1).queue(8);
        let builder = builder.overflow(overflow).respawn(delay, delay);
        let pool = builder.clock(clock.clone()).build_blocking().unwrap();
        let mut deeds = [Deed::Answer; 100];
        deeds[0] = Deed::Panic;
        let (drops, requests) = requests(&deeds);
        // All but the first come when there is no worker, until the clock goes on.
        let requests = requests.into_iter().enumerate().map(|(number, request)| {
            while number == 1 && pool.snapshot().threads.failing == 0 {
                std::thread::yield_now();
            }
            request
        });
        let mut batch = pool.call_batch(requests);
        while pool.snapshot().queue.queued != [0, 4, 0] {
            assert!(poll_once(&mut batch).is_pending());
        }
        // It may not have looked at the clock yet.
        while pool.snapshot().threads.failing > 0 {
            clock.advance(delay);
            std::thread::yield_now();
        }
        let answers = batch.wait();
        assert!(matches!(answers[0], Err(Error::Panicked(_))), "{:?}", answers[0]);
        for (number, answer) in answers.iter().enumerate().skip(1) {
            assert!(matches!(answer, Ok(it) if *it == number), "{number}: {answer:?}");
        }
        drop(answers);
        assert!(drops.iter().all(|drops| drops.load(Ordering::SeqCst) == 1));
        assert_eq!(at_rest(&pool).threads.respawned, 1);
    }
}

#[test]
fn every_idle_worker_gets_work_however_short_the_queue() {
    let pool = closures(|builder| builder.threads(4).queue(0));
    let door = Door::default();
    let here = door.clone();
    let mut batch = pool.run_batch((0..4).map(|_| {
        let here = here.clone();
        move |_: &mut Closures, _: &TaskCx<'_>| here.pass()
    }));
    assert!(poll_once(&mut batch).is_pending());
    door.await_arrivals(4);
    door.open();
    assert!(batch.wait().into_iter().all(|answer| answer.is_ok()));
}

#[test]
fn answers_come_as_they_are_ready() {
    let pool = closures(|builder| builder.threads(2));
    let door = Door::default();
    let first = door.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut batch = pool.run_batch((0..2).map(|number| {
        let first = first.clone();
        move |_: &mut Closures, _: &TaskCx<'_>| {
            if number == 0 {
                first.pass();
            }
        }
    }));
    assert!(matches!(runtime.block_on(batch.next()), Some((1, Ok(())))));
    door.open();
    assert!(matches!(runtime.block_on(batch.next()), Some((0, Ok(())))));
    assert!(runtime.block_on(batch.next()).is_none());
}

#[test]
fn an_answer_is_returned_before_more_is_taken() {
    let pool = closures(|builder| builder.queue(100));
    let done = Arc::new((Mutex::new(0), Condvar::new()));
    let (reached, taken) = (Arc::clone(&done), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&taken);
    // Before each is taken those before it have ended.
    let tasks = (0..).map(move |number: usize| {
        let (count, changed) = &*reached;
        let count = count.lock().unwrap();
        drop(changed.wait_while(count, |count| *count < number).unwrap());
        taken.store(number, Ordering::SeqCst);
        let ended = Arc::clone(&reached);
        move |_: &mut Closures, _: &TaskCx<'_>| {
            *ended.0.lock().unwrap() += 1;
            ended.1.notify_all();
            number
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut batch = pool.run_batch(tasks);
    assert!(matches!(runtime.block_on(batch.next()), Some((0, Ok(0)))));
    assert!(seen.load(Ordering::SeqCst) < 3, "{seen:?} were taken");
}

#[test]
fn a_place_that_a_worker_has_made_is_filled_before_there_is_an_answer() {
    // Others have the workers: what makes room for more is that one is free again, and not an answer.
    let pool = closures(|builder| builder.threads(2).queue(2));
    let others = occupy(&pool, 2);
    let door = Door::default();
    let here = door.clone();
    let tasks = (0..2).map(move |_| {
        let here = here.clone();
        move |_: &mut Closures, _: &TaskCx<'_>| here.pass()
    });
    std::thread::scope(|scope| {
        let batch = pool.run_batch(tasks);
        let answers = scope.spawn(|| batch.wait());
        while pool.snapshot().queue.queued != [0, 1, 0] {
            std::thread::yield_now();
        }
        others.open();
        door.await_arrivals(2);
        door.open();
        assert_eq!(answers.join().unwrap().len(), 2);
    });
}

#[test]
fn what_is_endless_leaves_the_thread_to_others_now_and_then() {
    let pool = closures(|builder| builder.queue(0).overflow(Overflow::Reject));
    let door = occupy(&pool, 1);
    let tasks = std::iter::repeat_with(|| |_: &mut Closures, _: &TaskCx<'_>| ());
    let mut batch = pool.run_batch(tasks);
    assert!(poll_once(&mut batch).is_pending(), "each is refused at once");
    door.open();
}

#[test]
fn a_batch_of_a_pool_that_ends_has_its_requests_back() {
    let pool = closures(|builder| builder.queue(4));
    let door = occupy(&pool, 1);
    let mut batch = pool.run_batch((0..10).map(|number| move |_: &mut Closures, _: &TaskCx<'_>| number));
    assert!(poll_once(&mut batch).is_pending());
    let mut end = Box::pin(pool.shutdown(Drain::now()));
    assert!(poll_once(&mut end).is_pending());
    let answers = batch.wait();
    assert_eq!(answers.len(), 10);
    for (number, answer) in answers.into_iter().enumerate() {
        let is_expected = match &answer {
            Err(Error::Discarded { reason, .. }) => number < 2 && *reason == Discard::Shutdown,
            Err(Error::Closed(_)) => number >= 2,
            _ => false,
        };
        assert!(is_expected, "{number}: {answer:?}");
    }
    door.open();
}

#[test]
fn a_batch_within_a_task_of_its_pool_runs_on_the_spot_or_is_refused() {
    let pool = closures(|builder| builder.queue(1).overflow(Overflow::Reject));
    let inner = pool.clone();
    let sums = pool.run(move |_, _| {
        let tasks = (0..5).map(|number| move |_: &mut Closures, _: &TaskCx<'_>| number * 2);
        inner.run_batch(tasks).wait()
    });
    let sums = sums.wait().unwrap().into_iter().map(Result::unwrap);
    assert!(sums.eq([0, 2, 4, 6, 8]));
    let inner = pool.clone();
    let polled = pool.run(move |_, _| {
        let tasks = (0..5).map(|number| move |_: &mut Closures, _: &TaskCx<'_>| number * 2);
        let mut batch = inner.run_batch(tasks);
        assert!(poll_once(&mut batch).is_pending(), "one is in the queue");
        batch.wait()
    });
    let polled = polled.wait().unwrap().into_iter().map(Result::unwrap);
    assert!(polled.eq([0, 2, 4, 6, 8]));
    let inner = pool.clone();
    let first_error = pool.run(move |_, _| {
        let tasks = (0..5).map(|number| {
            move |_: &mut Closures, _: &TaskCx<'_>| {
                if number > 2 {
                    std::panic::resume_unwind(Box::new("more than two"));
                }
            }
        });
        inner
            .run_batch(tasks)
            .or_first_error()
            .wait()
            .map_err(|error| error.index)
    });
    assert_eq!(first_error.wait().unwrap(), Err(3));

    let pool = Pool::<Doer>::builder("doer").threads(1).build_blocking().unwrap();
    let inner = pool.clone();
    let (drops, requests) = requests(&[Deed::Answer, Deed::Answer]);
    let refused = pool.run(move |_, _| inner.call_batch(requests).wait());
    let refused = refused.wait().unwrap();
    assert!(matches!(
        &refused[..],
        [Err(Error::WouldDeadlock(_)), Err(Error::WouldDeadlock(_))]
    ));
    drop(refused);
    assert!(drops.iter().all(|drops| drops.load(Ordering::SeqCst) == 1));
}
