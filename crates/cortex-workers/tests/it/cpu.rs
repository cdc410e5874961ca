use crate::support::{Door, assert_balanced, poll_once};
use cortex_core::{Clock, Context, Deadline, Flags, SpanId, TraceId};
use cortex_testkit::ManualClock;
use cortex_workers::{
    BuildError, CpuBuilder, CpuPool, Drain, Error, Event, Observer, Outcome, Overflow, Priority, Snapshot,
    Stage,
};
use proptest::prelude::*;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn cpu(set: impl FnOnce(CpuBuilder) -> CpuBuilder) -> CpuPool {
    let builder = CpuPool::builder("test").threads(2);
    set(builder).build_blocking().expect("the settings make sense")
}

/// Waits until nothing is under way, and asserts that all tasks are accounted for.
fn at_rest(cpu: &CpuPool) -> Snapshot {
    loop {
        let snapshot = cpu.snapshot();
        assert_balanced(&snapshot);
        if snapshot.threads.busy + snapshot.threads.stuck == 0 {
            return snapshot;
        }
        std::thread::yield_now();
    }
}

/// Begins as many tasks as may be under way, which wait at the door.
fn occupy(cpu: &CpuPool, tasks: usize) -> Door {
    let door = Door::default();
    for _ in 0..tasks {
        let here = door.clone();
        cpu.run(move |_| here.pass()).detach().expect("there is a place");
    }
    door.await_arrivals(tasks);
    door
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// What comes out is what a loop would make, in its order, whatever the sizes; texts may not be combined in another order.
    #[test]
    fn the_answers_are_those_of_a_loop(
        items in prop::collection::vec("[a-z]{0,3}", 0..3000),
        chunk in 0_usize..700,
        threads in 1_usize..4,
    ) {
        let cpu = cpu(|builder| builder.threads(threads));
        let lengths = cpu.map(items.clone(), |item| item.len()).wait().unwrap();
        prop_assert!(lengths.into_iter().eq(items.iter().map(String::len)));
        let joined = cpu.map_chunks(items.clone(), chunk, |part| part.concat()).wait().unwrap();
        prop_assert_eq!(joined, items.chunks(chunk.max(1)).map(<[String]>::concat).collect::<Vec<_>>());
        let all = cpu.reduce(items.clone(), String::new, |text, item| text + &item, |one, other| one + &other);
        prop_assert_eq!(all.wait().unwrap(), items.concat());
        prop_assert_eq!(at_rest(&cpu).tasks.completed, 3);
    }

    /// Each item is dropped once, whichever panics.
    #[test]
    fn no_item_is_lost_or_dropped_twice(count in 1_usize..300, bad in 0_usize..400, chunk in 1_usize..20) {
        struct Counted(usize, Arc<Vec<AtomicUsize>>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.1[self.0].fetch_add(1, Ordering::SeqCst);
            }
        }
        let cpu = cpu(|builder| builder);
        let drops = Arc::new((0..count).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>());
        let items: Vec<Counted> = (0..count).map(|number| Counted(number, Arc::clone(&drops))).collect();
        let answer = cpu.map_chunks(items, chunk, move |part| {
            if part.iter().any(|item| item.0 == bad) {
                std::panic::resume_unwind(Box::new("a bad one"));
            }
            part.len()
        });
        match answer.wait() {
            Ok(sizes) => {
                prop_assert!(bad >= count);
                prop_assert_eq!(sizes.into_iter().sum::<usize>(), count);
            }
            Err(Error::Panicked(panic)) => {
                prop_assert!(bad < count);
                prop_assert_eq!(panic.message(), "a bad one");
            }
            Err(error) => prop_assert!(false, "{error:?}"),
        }
        at_rest(&cpu);
        prop_assert!(drops.iter().all(|drops| drops.load(Ordering::SeqCst) == 1));
        prop_assert_eq!(cpu.map(vec![1], |item| item + 1).wait().unwrap(), [2]);
    }
}

/// Maps ten items on one thread, of which the first waits at the door; returns what counts those that were done.
fn ten(
    cpu: &CpuPool,
    door: &Door,
) -> (
    cortex_workers::CpuCall<'static, Vec<i32>, impl Send + 'static + use<>, Vec<i32>>,
    Arc<AtomicUsize>,
) {
    let (done, here) = (Arc::new(AtomicUsize::new(0)), door.clone());
    let count = Arc::clone(&done);
    let call = cpu.map_chunks((0..10).collect(), 1, move |item: Vec<i32>| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            here.pass();
        }
        item[0]
    });
    (call.owned(), done)
}

#[test]
fn a_call_that_is_dropped_stops_before_its_next_chunk() {
    let (cpu, door) = (cpu(|builder| builder.threads(1)), Door::default());
    let (mut call, done) = ten(&cpu, &door);
    assert!(poll_once(&mut call).is_pending());
    door.await_arrivals(1);
    drop(call);
    door.open();
    assert_eq!(at_rest(&cpu).tasks.cancelled, 1);
    assert_eq!(done.load(Ordering::SeqCst), 1);
}

#[test]
fn deadlines_and_run_timeouts_stop_it_too() {
    let clock = ManualClock::new();
    let cpu = cpu(|builder| builder.threads(1).clock(clock.clone()));
    for is_deadline in [true, false] {
        let door = Door::default();
        let (call, done) = ten(&cpu, &door);
        let mut call = if is_deadline {
            call.deadline(Deadline::after(clock.now(), SECOND))
        } else {
            call.run_timeout(SECOND)
        };
        assert!(poll_once(&mut call).is_pending());
        door.await_arrivals(1);
        clock.advance(SECOND);
        cpu.tick();
        match poll_once(&mut call) {
            Poll::Ready(Err(Error::Deadline { stage, .. })) => {
                assert!(is_deadline && stage == Stage::Running);
            }
            Poll::Ready(Err(Error::RunTimeout { ran })) => assert!(!is_deadline && ran == SECOND),
            answer => panic!("{answer:?}"),
        }
        door.open();
        at_rest(&cpu);
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }
    let tasks = at_rest(&cpu).tasks;
    assert_eq!((tasks.expired, tasks.timed_out), (1, 1));
}

#[tokio::test]
async fn a_shutdown_drains_or_stops_and_reports() {
    let pool = cpu(|builder| builder);
    let waiting = pool.map(vec![1, 2], |item| item * 10).owned();
    let waiting = tokio::spawn(waiting);
    assert_eq!(waiting.await.unwrap().unwrap(), [10, 20]);
    let report = pool.shutdown(Drain::unlimited()).await;
    assert!(report.is_complete());
    let refused = pool.map(vec![7, 8], |item| item).await.unwrap_err();
    assert!(matches!(&refused, Error::Closed(items) if *items == [7, 8]));
    assert_eq!(pool.shutdown(Drain::now()).await, report);

    let (pool, door) = (cpu(|builder| builder.threads(1)), Door::default());
    let (mut running, done) = ten(&pool, &door);
    assert!(poll_once(&mut running).is_pending());
    door.await_arrivals(1);
    let mut queued = pool.map(vec!["kept"], str::len);
    assert!(poll_once(&mut queued).is_pending());
    let mut end = Box::pin(pool.shutdown(Drain::now()));
    assert!(poll_once(&mut end).is_pending());
    assert!(matches!(running.await, Err(Error::Shutdown)));
    assert_eq!(queued.await.unwrap_err().into_work(), Some(vec!["kept"]));
    door.open();
    let report = end.await;
    assert_eq!((report.discarded, report.stopped, report.leaked), (1, 1, 0));
    assert_eq!(done.load(Ordering::SeqCst), 1);
}

#[test]
fn as_many_tasks_are_under_way_as_threads_and_priorities_count_among_the_rest() {
    let two = cpu(|builder| builder.queue(1));
    let door = occupy(&two, 2);
    let mut third = two.run(|_| 3);
    assert!(poll_once(&mut third).is_pending());
    let snapshot = two.snapshot();
    assert_eq!((snapshot.threads.busy, snapshot.queue.queued), (2, [0, 1, 0]));
    door.open();
    assert_eq!(third.wait().unwrap(), 3);

    let cpu = cpu(|builder| {
        builder
            .threads(1)
            .queue(2)
            .ageing(None)
            .overflow(Overflow::Reject)
    });
    let door = occupy(&cpu, 1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str| {
        let order = Arc::clone(&order);
        move |_: &cortex_workers::TaskCx<'_>| order.lock().unwrap().push(name)
    };
    let mut low = cpu.run(note("low")).priority(Priority::Low);
    assert!(poll_once(&mut low).is_pending());
    let mut high = cpu.run(note("high")).priority(Priority::High);
    assert!(poll_once(&mut high).is_pending());
    assert_eq!(cpu.snapshot().queue.queued, [1, 0, 1]);
    let full = cpu.reduce(vec![3], || 0, |sum, item| sum + item, |one, other| one + other);
    assert!(matches!(full.detach(), Err(Error::Full(items)) if items == [3]));
    assert!(order.lock().unwrap().is_empty());
    door.open();
    low.wait().unwrap();
    high.wait().unwrap();
    assert_eq!(*order.lock().unwrap(), ["high", "low"]);
    assert_eq!(at_rest(&cpu).tasks.rejected, 1);
}

#[test]
fn a_panic_in_what_a_task_leaves_behind_ends_nothing() {
    let cpu = cpu(|builder| builder);
    let (told, hears) = std::sync::mpsc::channel();
    let call = cpu.run(move |_| {
        rayon::spawn(move || {
            told.send(rayon::current_thread_index()).unwrap();
            std::panic::resume_unwind(Box::new("later"));
        });
    });
    call.wait().unwrap();
    assert!(hears.recv().unwrap().is_some());
    let sum: i32 = cpu.run(|_| (0..100).into_par_iter().sum()).wait().unwrap();
    assert_eq!(sum, 4950);
}

#[test]
fn to_wait_within_a_task_for_another_one_runs_it_there() {
    let cpu = cpu(|builder| builder.threads(1).queue(0));
    let inner = cpu.clone();
    let sums = cpu.map(vec![1_u64, 2, 3], move |item| {
        inner
            .map((0..item).collect(), |it| it + 1)
            .wait()
            .unwrap()
            .iter()
            .sum::<u64>()
    });
    assert_eq!(sums.wait().unwrap(), [1, 3, 6]);
    let tasks = at_rest(&cpu).tasks;
    assert_eq!((tasks.submitted, tasks.completed), (4, 4));
}

#[test]
fn the_context_of_the_caller_is_attached_to_each_chunk() {
    let cpu = cpu(|builder| builder);
    let ids = (TraceId::new(7).unwrap(), SpanId::new(9).unwrap());
    let context = Context::new().with_span(ids.0, ids.1, Flags::SAMPLED);
    let attached = context.attach();
    let seen = cpu.map_chunks(vec![(); 64], 1, |_| {
        let thread = std::thread::current();
        (Context::current(), thread.name().unwrap_or_default().to_owned())
    });
    let seen = seen.wait().unwrap();
    drop(attached);
    let is_right = |(it, name): &(Context, String)| *it == context && name.starts_with("test-cpu-");
    assert!(seen.iter().all(is_right));
    let inside = cpu.run(|cx| (Context::current(), cx.context())).wait().unwrap();
    assert_eq!(inside, (Context::new(), Context::new()), "nothing stays behind");
}

#[test]
fn progress_is_told_now_and_then_in_order_and_at_the_end() {
    let clock = ManualClock::new();
    let cpu = cpu(|builder| builder.clock(clock.clone()));
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = |told: &Arc<Mutex<Vec<(usize, usize)>>>| {
        let told = Arc::clone(told);
        move |done, total| told.lock().unwrap().push((done, total))
    };
    let call = cpu.map_chunks(vec![1; 100], 10, |_| ());
    call.progress(hears(&told)).wait().unwrap();
    let seen = std::mem::take(&mut *told.lock().unwrap());
    assert!((1..=2).contains(&seen.len()), "the clock stands still: {seen:?}");
    assert!(seen[0].0 >= 10 && seen.last() == Some(&(100, 100)));

    let call = cpu.map_chunks(vec![1; 1000], 1, move |_| {
        clock.advance(Duration::from_millis(60));
    });
    call.progress(hears(&told)).wait().unwrap();
    let seen = std::mem::take(&mut *told.lock().unwrap());
    assert!(seen.len() > 2 && seen.len() <= 602, "{}", seen.len());
    assert!(seen.is_sorted_by(|one, next| one.0 < next.0));
    assert_eq!(seen.last(), Some(&(1000, 1000)));

    let call = cpu
        .map(vec![1; 10], |_| ())
        .progress(|_, _| std::panic::resume_unwind(Box::new("no bar")));
    assert!(matches!(call.wait(), Err(Error::Panicked(panic)) if panic.message() == "no bar"));
    assert!(
        cpu.map(Vec::<u8>::new(), |it| it)
            .progress(hears(&told))
            .wait()
            .unwrap()
            .is_empty()
    );
    assert!(told.lock().unwrap().is_empty(), "nothing to tell");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let error = CpuPool::builder("none").threads(0).build_blocking().unwrap_err();
    assert!(matches!(error, BuildError::Invalid(setting) if setting.setting() == "threads"));
    let zero = CpuPool::builder("none").run_timeout(Duration::ZERO).check();
    assert_eq!(zero.unwrap_err().setting(), "run_timeout");
    let pool = cpu(|builder| builder.stack_size(1 << 20).grace(SECOND));
    assert_eq!(
        (pool.name(), format!("{pool:?}")),
        ("test", "CpuPool { name: \"test\", .. }".to_owned())
    );
    pool.pause();
    let mut call = pool.run(|_| 5);
    assert!(poll_once(&mut call).is_pending());
    assert!(format!("{call:?}").starts_with("CpuCall(Call { pool: \"test\", stage: \"sent\""));
    pool.resume();
    assert_eq!(call.wait().unwrap(), 5);
    assert_eq!(at_rest(&pool).tasks, pool.front().snapshot().tasks);
}

#[derive(Default)]
struct Ends(Mutex<Vec<Outcome>>);

impl Observer for Ends {
    fn on_event(&self, pool: &str, event: &Event) {
        assert_eq!(pool, "test");
        if let Event::Ended { outcome, .. } = event {
            self.0.lock().expect("nobody panics there").push(*outcome);
        }
    }
}

#[test]
fn an_observer_hears_how_tasks_end() {
    let ends = Arc::new(Ends::default());
    let cpu = cpu(|builder| builder.threads(1).observe(Arc::clone(&ends)));
    assert_eq!(cpu.map(vec![1], |item| item + 1).wait().unwrap(), [2]);
    let call = cpu.map(vec![1], |_| std::panic::resume_unwind(Box::new("no")));
    assert!(matches!(call.wait(), Err::<Vec<()>, _>(Error::Panicked(_))));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(runtime.block_on(cpu.shutdown(Drain::unlimited())).is_complete());
    assert_eq!(*ends.0.lock().unwrap(), [Outcome::Completed, Outcome::Panicked]);
}

#[test]
fn what_a_task_waits_for_stops_between_its_items_once_its_time_is_over() {
    let clock = ManualClock::new();
    let cpu = cpu(|builder| builder.clock(clock.clone()));
    let done = Arc::new(AtomicUsize::new(0));
    let (inner, count, late) = (cpu.clone(), Arc::clone(&done), clock.clone());
    let nested = cpu.run(move |_| {
        let items = inner.map_chunks((0..100).collect(), 1, move |_: Vec<i32>| {
            count.fetch_add(1, Ordering::SeqCst);
            late.advance(SECOND);
        });
        items.run_timeout(SECOND).wait()
    });
    assert!(matches!(nested.wait().unwrap(), Err(Error::RunTimeout { ran }) if ran >= SECOND));
    assert!(done.load(Ordering::SeqCst) <= 2, "one for each thread");
    let tasks = at_rest(&cpu).tasks;
    assert_eq!((tasks.completed, tasks.timed_out), (1, 1));
}
