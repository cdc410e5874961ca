//! A future that is ready at once, behind a breaker: closed, with one failure in a hundred, and rejected; behind a bulkhead, a
//! timeout and a rate limiter.

use std::future::{poll_fn, ready};
use std::hint::black_box;
use std::io;
use std::num::NonZero;
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cortex_bench::contend;
use cortex_core::CoarseClock;
use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer};
use cortex_resilience::circuit::{Breaker, BreakerLayer, Builder, Window};
use cortex_resilience::rate_limit::{KeyedRateLimiter, RateLimiter};
use cortex_resilience::timeout::Timeout;
use criterion::Criterion;
use failsafe::futures::CircuitBreaker as _;
use recloser::{AsyncRecloser, Recloser};
use tokio::runtime::{self, Runtime};
use tokio::sync::Semaphore;
use tower_layer::Layer;
use tower_resilience::circuitbreaker::CircuitBreakerLayer;
use tower_service::Service;

const MINUTE: Duration = Duration::from_mins(1);
const TOWER_RESILIENCE: &str = "tower-resilience";
const SLOW: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let clock = CoarseClock::start(Duration::from_millis(1))?;
    closed(&mut criterion, &clock)?;
    failing(&mut criterion, &clock)?;
    rejected(&mut criterion, &clock)?;
    bulkhead(&mut criterion)?;
    timeout(&mut criterion)?;
    rate(&mut criterion, &clock)?;
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

fn closed(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    let bare = || || finish(pin!(ok()));
    of(criterion, "closed", "bare", bare)?;
    let time = ours(clock, |builder| builder.window(Window::time(MINUTE)));
    of(criterion, "closed", "cortex", || || finish(pin!(time.call(ok()))))?;
    let count = ours(clock, |builder| builder.window(Window::count(100)));
    of(criterion, "closed", "cortex-count", || {
        || finish(pin!(count.call(ok())))
    })?;
    let layer = BreakerLayer::new(time.clone());
    of(criterion, "closed", "cortex-layer", || {
        let mut service = layer.layer(Echo);
        move || serve(&mut service)
    })?;
    let recloser = AsyncRecloser::from(Recloser::custom().closed_len(100).build());
    of(criterion, "closed", "recloser", || {
        || finish(pin!(recloser.call(ok())))
    })?;
    let failsafe = failsafe::Config::new().build();
    of(criterion, "closed", "failsafe", || {
        let failsafe = failsafe.clone();
        move || finish(pin!(failsafe.call(ok())))
    })?;
    let layer = CircuitBreakerLayer::builder()
        .sliding_window_size(100)
        .slow_call_duration_threshold(SLOW)
        .build()
        .expect("the settings make sense");
    let shared = layer.layer(Echo);
    of(criterion, "closed", TOWER_RESILIENCE, || {
        let mut service = shared.clone();
        move || serve(&mut service)
    })
}

/// One call in a hundred fails, which is far from what opens it.
fn failing(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    let mixed = |breaker: &Ours| {
        let (breaker, mut round) = (breaker.clone(), 0_u32);
        move || {
            round = (round + 1) % 100;
            let result = if round == 0 { Err(()) } else { Ok(black_box(7)) };
            finish(pin!(breaker.call(ready(result)))) || round == 0
        }
    };
    let time = ours(clock, |builder| builder.window(Window::time(MINUTE)));
    of(criterion, "failing", "cortex", || mixed(&time))?;
    let count = ours(clock, |builder| builder.window(Window::count(100)));
    of(criterion, "failing", "cortex-count", || mixed(&count))
}

fn rejected(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    let breaker = ours(clock, |builder| builder.break_for(Duration::from_hours(24)));
    breaker.open().expect("it may");
    of(criterion, "rejected", "cortex", || {
        || breaker.try_acquire().is_err()
    })?;
    let recloser = Recloser::custom()
        .closed_len(1)
        .open_wait(Duration::from_hours(24))
        .build();
    for _ in 0..4 {
        let _ = recloser.call(|| Err::<(), ()>(()));
    }
    of(criterion, "rejected", "recloser", || {
        || recloser.call(|| Ok::<(), ()>(())).is_err()
    })
}

/// There are permits for all.
fn bulkhead(criterion: &mut Criterion) -> io::Result<()> {
    let builder = Bulkhead::builder("bench").max_concurrent(100).queue(100);
    let ours = builder.max_wait(SLOW).build().expect("the settings make sense");
    of(criterion, "bulkhead", "cortex", || {
        || finish(pin!(ours.call(ok())))
    })?;
    let layer = BulkheadLayer::new(ours.clone());
    of(criterion, "bulkhead", "cortex-layer", || {
        let mut service = layer.layer(Echo);
        move || serve(&mut service)
    })?;
    let semaphore = Semaphore::new(100);
    of(criterion, "bulkhead", "tokio", || {
        || {
            finish(pin!(async {
                let _permit = semaphore.acquire().await.map_err(io::Error::other)?;
                ok().await
            }))
        }
    })
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let builder = &mut runtime::Builder::new_current_thread();
    builder.enable_time().build().expect("a runtime")
});

fn timeout(criterion: &mut Criterion) -> io::Result<()> {
    let builder = Timeout::builder("bench").attempt(MINUTE);
    let ours = builder.build().expect("the settings make sense");
    of(criterion, "timeout", "cortex", || {
        || finish(pin!(ours.call(ok())))
    })?;
    of(criterion, "timeout", "tokio", || {
        in_runtime(|| finish(pin!(async { tokio::time::timeout(MINUTE, ok()).await? })))
    })?;
    of(criterion, "timeout-pends", "cortex", || {
        in_runtime(|| finish_later(pin!(ours.call(later()))))
    })?;
    of(criterion, "timeout-pends", "tokio", || {
        in_runtime(|| finish_later(pin!(async { tokio::time::timeout(MINUTE, later()).await? })))
    })
}

/// Does the work where timers of tokio can be made.
fn in_runtime(mut work: impl FnMut() -> bool) -> impl FnMut() -> bool {
    let entered = RUNTIME.enter();
    move || {
        let _entered = &entered; // the thread's, as long as it works
        work()
    }
}

/// A future that is ready when it is polled for the second time.
fn later() -> impl Future<Output = Result<u64, io::Error>> {
    let mut polled = false;
    poll_fn(move |_| {
        if std::mem::replace(&mut polled, true) {
            Poll::Ready(Ok(black_box(7)))
        } else {
            Poll::Pending
        }
    })
}

/// Polls a future that is pending once.
fn finish_later<T, E>(mut future: Pin<&mut impl Future<Output = Result<T, E>>>) -> bool {
    let poll = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    poll.is_pending() && finish(future)
}

/// As many calls as there can be get through.
fn rate(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    const MANY: u32 = 1_000_000_000;
    let builder = || RateLimiter::builder("bench").limit(MANY, Duration::from_secs(1));
    let exact = builder().build().expect("the settings make sense");
    of(criterion, "rate", "cortex-exact", || {
        || exact.try_acquire().is_ok()
    })?;
    let coarse = builder().clock(clock.clone()).build();
    let coarse = coarse.expect("the settings make sense");
    of(criterion, "rate", "cortex", || || coarse.try_acquire().is_ok())?;
    let keyed = KeyedRateLimiter::builder("bench").limit(MANY, Duration::from_secs(1));
    let keyed = keyed
        .clock(clock.clone())
        .build()
        .expect("the settings make sense");
    of(criterion, "rate", "cortex-keyed", || {
        let (keyed, mut key) = (keyed.clone(), 0_u32);
        move || {
            key = (key + 1) % 1000;
            keyed.try_acquire(&key).is_ok()
        }
    })?;
    let many = NonZero::new(MANY).expect("not zero");
    let governor = governor::RateLimiter::direct(governor::Quota::per_second(many));
    of(criterion, "rate", "governor", || || governor.check().is_ok())
}
