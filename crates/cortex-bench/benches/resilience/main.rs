//! A future that is ready at once, or pending once, behind a breaker (closed, with one failure in a hundred, and rejected), behind a
//! bulkhead, a timeout, a rate limiter and a retry, and behind a pipeline of them.

mod breaker;
mod pipeline;
mod policies;

use std::future::ready;
use std::hint::black_box;
use std::io;
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cortex_bench::contend;
use cortex_core::CoarseClock;
use cortex_resilience::circuit::{Breaker, Builder};
use criterion::Criterion;
use tokio::runtime::{self, Runtime};
use tower_service::Service;

const MINUTE: Duration = Duration::from_mins(1);
const TOWER_RESILIENCE: &str = "tower-resilience";
const SLOW: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let clock = CoarseClock::start(Duration::from_millis(1))?;
    breaker::bench(&mut criterion, &clock)?;
    policies::bench(&mut criterion, &clock)?;
    pipeline::bench(&mut criterion, &clock)?;
    criterion.final_summary();
    Ok(())
}

type Ours = Breaker<cortex_resilience::ErrIsFailure, (), CoarseClock>;

fn ours(
    clock: &CoarseClock,
    set: impl FnOnce(
        Builder<cortex_resilience::ErrIsFailure, (), CoarseClock>,
    ) -> Builder<cortex_resilience::ErrIsFailure, (), CoarseClock>,
) -> Ours {
    let builder = Breaker::builder("bench")
        .clock(clock.clone())
        .slow_call(SLOW, 0.5);
    set(builder).build().expect("the settings make sense")
}

/// Polls a future that is ready, and says whether it succeeded.
fn finish<T, E>(future: Pin<&mut impl Future<Output = Result<T, E>>>) -> bool {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.is_ok(),
        Poll::Pending => panic!("it is ready at once"),
    }
}

fn ok() -> impl Future<Output = Result<u64, io::Error>> {
    ready(Ok(black_box(7)))
}

/// Calls a service as a server does: ready, then called.
fn serve<S: Service<u64>>(service: &mut S) -> bool {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))), "it is ready at once");
    finish(pin!(service.call(black_box(7))))
}

/// Calls a service as a server does, whose answer is pending once.
fn serve_later<S: Service<u64>>(service: &mut S) -> bool {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))), "it is ready at once");
    finish_later(pin!(service.call(black_box(7))))
}

/// A service that is ready, and so is its answer.
#[derive(Clone)]
struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = io::Error;
    type Future = std::future::Ready<Result<u64, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

/// A service that is ready, and whose answer is pending once.
#[derive(Clone)]
struct LateEcho;

impl Service<u64> for LateEcho {
    type Response = u64;
    type Error = io::Error;
    type Future = Later;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u64) -> Later {
        later()
    }
}

/// Measures the work that `worker` makes for each thread, on one thread and on two.
fn of<W: FnMut() -> bool>(
    criterion: &mut Criterion,
    operation: &str,
    library: &str,
    worker: impl Fn() -> W + Sync,
) -> io::Result<()> {
    for (threads, suffix) in [(1, ""), (2, "-2t")] {
        if library == TOWER_RESILIENCE && threads > 1 {
            continue; // it pends while another thread has its lock, and who waits then is not measured here
        }
        let worker = |_thread| {
            let mut work = worker();
            move || assert!(work(), "it went another way than it was to")
        };
        contend(threads, worker, |team| {
            let mut group = criterion.benchmark_group(format!("{operation}{suffix}"));
            group.bench_function(library, |bencher| {
                bencher.iter_custom(|iterations| team.measure(iterations));
            });
            group.finish();
        })?;
    }
    Ok(())
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let builder = &mut runtime::Builder::new_current_thread();
    builder.enable_time().build().expect("a runtime")
});

/// Does the work where timers of tokio can be made.
fn in_runtime(mut work: impl FnMut() -> bool) -> impl FnMut() -> bool {
    let entered = RUNTIME.enter();
    move || {
        let _entered = &entered; // the thread's, as long as it works
        work()
    }
}

/// A future that is ready when it is polled for the second time.
struct Later {
    is_polled: bool,
}

impl Future for Later {
    type Output = Result<u64, io::Error>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::replace(&mut self.is_polled, true) {
            Poll::Ready(Ok(black_box(7)))
        } else {
            Poll::Pending
        }
    }
}

const fn later() -> Later {
    Later { is_polled: false }
}

/// Polls a future that is pending once.
fn finish_later<T, E>(mut future: Pin<&mut impl Future<Output = Result<T, E>>>) -> bool {
    let poll = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    poll.is_pending() && finish(future)
}
