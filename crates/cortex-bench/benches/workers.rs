//! A tiny task on another thread and its answer back to an async caller: one at a time, and from 64 callers at once.
//!
//! What is said of one at a time is the median: a thread that loses its core in between says nothing about an engine.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cortex_core::{Clock, SystemClock};
use cortex_workers::{Adaptive, Closures, Pool, TaskCx, Worker, WorkerCx};
use criterion::Criterion;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// As many threads as tests and peers have here: one for each core of the machine that the bounds were set on.
const THREADS: usize = 2;
const CALLERS: u64 = 64;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let builder = &mut tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(THREADS).enable_all().build();
    let runtime = runtime.expect("threads can be started");
    cortex(&mut criterion, &runtime);
    tiny(&mut criterion, &runtime);
    tokio(&mut criterion, &runtime);
    channels(&mut criterion, &runtime);
    rayon(&mut criterion, &runtime);
    others(&mut criterion, &runtime);
    criterion.final_summary();
}

/// Measures an engine: `call` has a task done, and gives its answer.
fn measure<F, A>(criterion: &mut Criterion, runtime: &Runtime, name: &str, call: F)
where
    F: Fn(u64) -> A + Clone + Send + 'static,
    A: Future<Output = u64> + Send + 'static,
{
    let mut group = criterion.benchmark_group("round-trip");
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let call = call.clone();
            runtime.block_on(async {
                runtime
                    .spawn(one_by_one(call, iterations))
                    .await
                    .expect("it does not panic")
            })
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group("in-flight-64");
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| runtime.block_on(at_once(runtime, &call, iterations)));
    });
    group.finish();
}

/// Returns the median of a round trip, times the number of them.
async fn one_by_one<F, A>(call: F, iterations: u64) -> Duration
where
    F: Fn(u64) -> A,
    A: Future<Output = u64>,
{
    let mut times = Vec::new();
    for number in 0..iterations {
        let start = SystemClock.nanos();
        let answer = call(black_box(number)).await;
        times.push(SystemClock.nanos() - start);
        assert_eq!(answer, number + 1);
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Duration::from_nanos(median.saturating_mul(iterations))
}

/// Returns the time that all of them take.
async fn at_once<F, A>(runtime: &Runtime, call: &F, iterations: u64) -> Duration
where
    F: Fn(u64) -> A + Clone + Send + 'static,
    A: Future<Output = u64> + Send + 'static,
{
    let start = SystemClock.now();
    let callers = (0..CALLERS).map(|caller| {
        let call = call.clone();
        let share = iterations / CALLERS + u64::from(caller < iterations % CALLERS);
        runtime.spawn(async move {
            for number in 0..share {
                assert_eq!(call(number).await, number + 1);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("it does not panic");
    }
    SystemClock.now().saturating_duration_since(start)
}

fn work(number: u64) -> u64 {
    black_box(number) + 1
}

struct Adder;

impl Worker for Adder {
    type Request = u64;
    type Response = u64;
    type Error = std::convert::Infallible;

    fn init(_: &WorkerCx<'_>) -> Result<Self, Self::Error> {
        Ok(Self)
    }

    fn run(&mut self, number: u64, _: &TaskCx<'_>) -> Result<u64, Self::Error> {
        Ok(work(number))
    }
}

fn cortex(criterion: &mut Criterion, runtime: &Runtime) {
    let typed = Pool::<Adder>::builder("typed").threads(THREADS).build_blocking();
    let typed = typed.expect("threads can be started");
    measure(criterion, runtime, "cortex", move |number| {
        let typed = typed.clone();
        async move { typed.call(number).await.expect("it is answered") }
    });
    let closures = Pool::<Closures>::builder("closures")
        .threads(THREADS)
        .build_blocking();
    let closures = closures.expect("threads can be started");
    measure(criterion, runtime, "cortex-closures", move |number| {
        let closures = closures.clone();
        async move {
            let call = closures.run(move |_, _| work(number));
            call.await.expect("it is answered")
        }
    });
}

/// So many calls in a row are timed at once: a look at the clock costs as much as one of them.
const ROW: u64 = 16;

static ADDITION: Adaptive = Adaptive::new();

/// Measures closures that run where they are, as they have shown that they are tiny: the median of some in a row, as
/// every 64th goes to the pool to be measured there; and the mean of all of them.
fn tiny(criterion: &mut Criterion, runtime: &Runtime) {
    let builder = Pool::<Closures>::builder("tiny").threads(THREADS);
    let pool = builder.build_blocking().expect("threads can be started");
    let mut group = criterion.benchmark_group("tiny");
    for (name, is_median) in [("adaptive", true), ("adaptive-mean", false)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let times = runtime.spawn(in_rows(pool.clone(), iterations));
                let mut times = runtime.block_on(times).expect("it does not panic");
                let rows = u64::try_from(times.len()).expect("there are few");
                let nanos = if is_median {
                    times.sort_unstable();
                    times[times.len() / 2]
                } else {
                    times.iter().sum::<u64>() / rows
                };
                Duration::from_nanos(nanos * iterations / ROW)
            });
        });
    }
    group.finish();
}

/// Returns how long each row of calls took, as many rows as there are as many calls in, and at least one.
async fn in_rows(pool: Pool<Closures>, iterations: u64) -> Vec<u64> {
    let mut times = Vec::new();
    for _ in 0..iterations.div_ceil(ROW) {
        let start = SystemClock.nanos();
        for number in 0..ROW {
            let call = pool.run(move |_, _| work(number)).adaptive(&ADDITION);
            assert_eq!(call.await.expect("it is answered"), number + 1);
        }
        times.push(SystemClock.nanos() - start);
    }
    times
}

fn tokio(criterion: &mut Criterion, runtime: &Runtime) {
    measure(criterion, runtime, "spawn_blocking", |number| async move {
        let task = tokio::task::spawn_blocking(move || work(number));
        task.await.expect("it does not panic")
    });
}

type Job = Box<dyn FnOnce() + Send>;

/// What people build by hand: threads behind a channel, and an answer by another one.
fn channels(criterion: &mut Criterion, runtime: &Runtime) {
    let (sender, receiver) = flume::unbounded::<Job>();
    for _ in 0..THREADS {
        let receiver = receiver.clone();
        std::thread::spawn(move || receiver.into_iter().for_each(|job| job()));
    }
    measure(criterion, runtime, "flume", move |number| {
        let sender = sender.clone();
        answered(
            move |job| sender.send(job).expect("the threads are there"),
            number,
        )
    });
    let (sender, receiver) = crossbeam_channel::unbounded::<Job>();
    for _ in 0..THREADS {
        let receiver = receiver.clone();
        std::thread::spawn(move || receiver.into_iter().for_each(|job| job()));
    }
    measure(criterion, runtime, "crossbeam", move |number| {
        let sender = sender.clone();
        answered(
            move |job| sender.send(job).expect("the threads are there"),
            number,
        )
    });
}

/// Has a task done by whoever takes jobs.
async fn answered(give: impl FnOnce(Job), number: u64) -> u64 {
    let (sender, receiver) = oneshot::channel();
    give(Box::new(move || {
        let _ = sender.send(work(number));
    }));
    receiver.await.expect("it is answered")
}

fn rayon(criterion: &mut Criterion, runtime: &Runtime) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build();
    let pool = Arc::new(pool.expect("threads can be started"));
    let own = Arc::clone(&pool);
    measure(criterion, runtime, "rayon", move |number| {
        let pool = Arc::clone(&own);
        answered(move |job| pool.spawn_fifo(job), number)
    });
    measure(criterion, runtime, "tokio-rayon", move |number| {
        use tokio_rayon::AsyncThreadPool as _;
        let pool = Arc::clone(&pool);
        async move { pool.spawn_fifo_async(move || work(number)).await }
    });
}

fn others(criterion: &mut Criterion, runtime: &Runtime) {
    let pool = threadpool::ThreadPool::new(THREADS);
    measure(criterion, runtime, "threadpool", move |number| {
        let pool = pool.clone();
        answered(move |job| pool.execute(job), number)
    });
    measure(criterion, runtime, "blocking", |number| {
        blocking::unblock(move || work(number))
    });
}
