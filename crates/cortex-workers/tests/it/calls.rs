use crate::support::{Door, at_rest, closures, occupy, poll_once};
use cortex_core::{Context, Flags, SpanId, TraceId};
use cortex_workers::{
    Closures, Error, Event, Observer, Overflow, Pool, Priority, Stop, TaskCx, Worker, WorkerCx,
};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{self, Poll, Wake, Waker};

/// Adds to a number of its own, which may not leave its thread.
struct Adder {
    sum: Rc<u64>,
}

impl Worker for Adder {
    type Request = u64;
    type Response = (u64, String);
    type Error = &'static str;

    fn init(cx: &WorkerCx<'_>) -> Result<Self, &'static str> {
        assert_eq!((cx.pool(), cx.index(), cx.generation()), ("adder", 0, 0));
        Ok(Self { sum: Rc::new(0) })
    }

    fn run(&mut self, request: u64, _: &TaskCx<'_>) -> Result<(u64, String), &'static str> {
        let sum = self.sum.checked_add(request).ok_or("too much")?;
        self.sum = Rc::new(sum);
        Ok((sum, std::thread::current().name().unwrap_or_default().to_owned()))
    }
}

#[tokio::test]
async fn a_worker_keeps_its_state_on_its_own_named_thread() {
    let pool = Pool::<Adder>::builder("adder").threads(1).build().await.unwrap();
    assert_eq!(pool.call(40).await.unwrap(), (40, "adder-0".to_owned()));
    assert_eq!(pool.call(2).wait_elsewhere(), (42, "adder-0".to_owned()));
    assert_eq!(pool.call(u64::MAX).await, Err(Error::Failed("too much")));
    assert_eq!(pool.run(|adder, _| *adder.sum).await.unwrap(), 42);
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.completed, tasks.failed), (3, 1));
}

trait WaitElsewhere {
    fn wait_elsewhere(self) -> (u64, String);
}

impl WaitElsewhere for cortex_workers::Call<'_, Adder, cortex_workers::Request<u64>> {
    fn wait_elsewhere(self) -> (u64, String) {
        self.wait().expect("it can be added")
    }
}

#[test]
fn the_context_of_the_caller_is_attached_while_the_task_runs() {
    let pool = closures(|builder| builder);
    let ids = (TraceId::new(7).unwrap(), SpanId::new(9).unwrap());
    let context = Context::new().with_span(ids.0, ids.1, Flags::SAMPLED);
    let attached = context.attach();
    let (inside, told) = pool
        .run(|_, cx| (Context::current(), cx.context()))
        .wait()
        .unwrap();
    drop(attached);
    assert_eq!((inside.trace_id(), told.span_id()), (Some(ids.0), Some(ids.1)));
    assert_eq!(
        pool.run(|_, _| Context::current().trace_id()).wait().unwrap(),
        None
    );
}

#[test]
fn the_higher_priority_comes_first_and_equals_in_order() {
    let pool = closures(|builder| builder.ageing(None));
    let door = occupy(&pool, 1);
    let order = Arc::new(Mutex::new(Vec::new()));
    for (priority, name) in [
        (Priority::Low, "low"),
        (Priority::Normal, "first"),
        (Priority::High, "high"),
        (Priority::Normal, "second"),
    ] {
        let order = Arc::clone(&order);
        let task = move |_: &mut Closures, cx: &TaskCx<'_>| {
            assert_eq!(cx.priority(), priority);
            order.lock().unwrap().push(name);
        };
        pool.run(task).priority(priority).detach().unwrap();
    }
    assert_eq!(pool.snapshot().queue.queued, [1, 2, 1]);
    door.open();
    pool.run(|_, _| ()).priority(Priority::Low).wait().unwrap();
    assert_eq!(*order.lock().unwrap(), ["high", "first", "second", "low"]);
}

#[test]
fn what_is_dropped_while_it_waits_never_runs_and_makes_room_at_once() {
    let pool = closures(|builder| builder.queue(1));
    let door = occupy(&pool, 1);
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let mut call = pool.run(move |_, _| drop(inside));
    assert!(poll_once(&mut call).is_pending());
    assert!(matches!(pool.run(|_, _| ()).detach(), Err(Error::Full(_))));
    drop(call);
    assert_eq!(Arc::strong_count(&held), 1, "what it held is free at once");
    pool.run(|_, _| ()).detach().unwrap();
    door.open();
    pool.run(|_, _| ()).wait().unwrap();
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.cancelled, tasks.rejected), (1, 1));
}

#[test]
fn what_is_dropped_while_it_runs_is_told_and_its_answer_dropped() {
    let pool = closures(|builder| builder);
    let (door, come) = (Door::default(), Arc::new(()));
    let (inside, answer) = (door.clone(), Arc::clone(&come));
    let stopped = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&stopped);
    let mut call = pool.run(move |_, cx| {
        assert!(cx.check().is_ok());
        inside.pass();
        *seen.lock().unwrap() = cx.stop();
        answer
    });
    assert!(poll_once(&mut call).is_pending());
    door.await_arrivals(1);
    drop(call);
    door.open();
    pool.run(|_, _| ()).wait().unwrap();
    assert_eq!(*stopped.lock().unwrap(), Some(Stop::Cancelled));
    assert_eq!(Arc::strong_count(&come), 1, "nobody keeps the answer");
    assert_eq!(at_rest(&pool).tasks.cancelled, 1);
}

#[test]
fn to_wait_for_the_own_pool_runs_what_has_no_state_and_is_an_error_otherwise() {
    let pool = closures(|builder| builder);
    let own = pool.clone();
    let nested = pool
        .run(move |_, _| own.run(|_, _| std::thread::current().id()).wait())
        .wait()
        .unwrap();
    let there = pool.run(|_, _| std::thread::current().id()).wait().unwrap();
    assert_eq!(nested.unwrap(), there);
    at_rest(&pool);

    let pool = Pool::<Adder>::builder("adder")
        .threads(1)
        .build_blocking()
        .unwrap();
    let own = pool.clone();
    assert_eq!(
        pool.run(move |_, _| own.call(1).wait()).wait().unwrap(),
        Err(Error::WouldDeadlock(1))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_where_futures_go() {
    let pool = closures(|builder| builder.threads(2).queue(4));
    let mut tasks = Vec::new();
    for number in 0..100_u64 {
        let call = pool.run(move |_, _| number * number).owned();
        tasks.push(tokio::spawn(call));
    }
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap().unwrap();
    }
    let squares: u64 = (0..100_u64).map(|number| number * number).sum();
    assert_eq!(sum, squares);
    at_rest(&pool);
}

#[test]
fn a_call_that_was_polled_on_a_thread_of_its_pool_is_taken_back_to_be_waited_for() {
    let pool = closures(|builder| builder);
    let inner = pool.clone();
    let here = pool.run(move |_, _| {
        let mut call = inner.run(|_, _| std::thread::current().id());
        assert!(poll_once(&mut call).is_pending());
        call.wait().unwrap() == std::thread::current().id()
    });
    assert!(here.wait().unwrap());
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.submitted, tasks.completed, tasks.cancelled), (3, 2, 1));

    let pool = Pool::<Adder>::builder("adder")
        .threads(1)
        .build_blocking()
        .unwrap();
    let inner = pool.clone();
    let refused = pool.run(move |_, _| {
        let mut call = inner.call(5);
        assert!(poll_once(&mut call).is_pending());
        call.wait()
    });
    assert_eq!(refused.wait().unwrap(), Err(Error::WouldDeadlock(5)));
    at_rest(&pool);
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Holds a caller that has made room for its task until that has ended.
struct Holds {
    busy: Door,
    ended: Mutex<usize>,
    changed: Condvar,
}

impl Observer for Holds {
    fn on_event(&self, _: &str, event: &Event) {
        let mut ended = self.ended.lock().expect("nobody panics there");
        match event {
            Event::Ended { .. } => {
                *ended += 1;
                self.changed.notify_all();
            }
            Event::Discarded { .. } => {
                self.busy.open();
                while *ended < 2 {
                    ended = self.changed.wait(ended).expect("nobody panics there");
                }
            }
            _ => {}
        }
    }
}

#[test]
fn an_answer_that_is_there_when_the_caller_first_looks_wakes_nobody() {
    let busy = Door::default();
    let holds = Holds {
        busy: busy.clone(),
        ended: Mutex::new(0),
        changed: Condvar::new(),
    };
    let pool = closures(|builder| builder.queue(1).overflow(Overflow::DropOldest).observe(holds));
    let occupied = busy.clone();
    pool.run(move |_, _| occupied.pass()).detach().unwrap();
    busy.await_arrivals(1);
    pool.run(|_, _| ()).detach().unwrap(); // which is discarded
    let count = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut call = pool.run(|_, _| 42);
    let Poll::Ready(answer) = Pin::new(&mut call).poll(&mut task::Context::from_waker(&waker)) else {
        panic!("it has ended");
    };
    assert_eq!(answer.unwrap(), 42);
    assert_eq!(Arc::strong_count(&count), 2, "no waker was kept");
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
}
