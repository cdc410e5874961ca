//! Several policies around one another: ours in a pipeline, and theirs put together by hand.

use std::future::{Ready, ready};
use std::hint::black_box;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use cortex_core::CoarseClock;
use cortex_resilience::ErrIsFailure;
use cortex_resilience::bulkhead::Bulkhead;
use cortex_resilience::circuit::Window;
use cortex_resilience::pipeline::{OuterBreaker, Pipeline, Standard};
use cortex_resilience::retry::Retry;
use cortex_resilience::timeout::Timeout;
use criterion::Criterion;
use recloser::{AsyncRecloser, Recloser};
use tokio::sync::Semaphore;
use tower::BoxError;
use tower::limit::ConcurrencyLimit;
use tower::retry::budget::{Budget as _, TpsBudget};
use tower_layer::Layer;
use tower_resilience::bulkhead::BulkheadLayer;
use tower_resilience::circuitbreaker::CircuitBreakerLayer;
use tower_resilience::retry::RetryLayer;
use tower_resilience::timelimiter::TimeLimiterLayer;
use tower_service::Service;

use super::{
    Echo, LateEcho, MINUTE, SLOW, TOWER_RESILIENCE, finish, finish_later, in_runtime, later, of, ok, ours,
    serve, serve_later,
};

/// How many calls may run at once.
const MANY: u32 = 100;

pub(crate) fn bench(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    composed(criterion, clock)?;
    presets(criterion, clock)?;
    by_hand(criterion)?;
    tower(criterion)?;
    tower_resilience(criterion)
}

/// The policies that the stack made by hand has.
fn composed(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    let ours = Pipeline::new((
        ours(clock, |builder| builder.window(Window::time(MINUTE))),
        Retry::builder("bench").build().expect("the settings make sense"),
        Bulkhead::builder("bench")
            .max_concurrent(MANY)
            .queue(MANY)
            .build()
            .expect("the settings make sense"),
        Timeout::builder("bench")
            .attempt(MINUTE)
            .clock(clock.clone())
            .build()
            .expect("the settings make sense"),
    ));
    of(criterion, "pipeline", "cortex", || {
        || finish(pin!(ours.call(|_| ok())))
    })?;
    of(criterion, "pipeline-pends", "cortex", || {
        in_runtime(|| finish_later(pin!(ours.call(|_| later()))))
    })?;
    let layer = ours.layer_for(cortex_resilience::Cloned);
    of(criterion, "pipeline", "cortex-layer", || {
        let mut service = layer.layer(Echo);
        move || serve(&mut service)
    })?;
    of(criterion, "pipeline-pends", "cortex-layer", || {
        let mut service = layer.layer(LateEcho);
        in_runtime(move || serve_later(&mut service))
    })
}

/// As they are by default but for the clock and the slow calls: with a budget for retries.
fn presets(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    let outer: OuterBreaker<ErrIsFailure, (), CoarseClock> = Pipeline::outer_breaker("bench")
        .breaker(|breaker| breaker.window(Window::time(MINUTE)).slow_call(SLOW, 0.5))
        .bulkhead(|bulkhead| bulkhead.max_concurrent(MANY))
        .clock(clock.clone())
        .build()
        .expect("the settings make sense");
    of(criterion, "pipeline", "cortex-outer", || {
        || finish(pin!(outer.call(|_| ok())))
    })?;
    of(criterion, "pipeline-pends", "cortex-outer", || {
        in_runtime(|| finish_later(pin!(outer.call(|_| later()))))
    })?;
    let standard: Standard<(), ErrIsFailure, (), CoarseClock> = Pipeline::standard("bench")
        .breaker(|breaker| breaker.window(Window::time(MINUTE)).slow_call(SLOW, 0.5))
        .clock(clock.clone())
        .build()
        .expect("the settings make sense");
    of(criterion, "pipeline", "cortex-standard", || {
        || finish(pin!(standard.call(|_| ok())))
    })?;
    of(criterion, "pipeline-pends", "cortex-standard", || {
        in_runtime(|| finish_later(pin!(standard.call(|_| later()))))
    })
}

fn recloser() -> AsyncRecloser {
    AsyncRecloser::from(Recloser::custom().closed_len(100).build())
}

/// A breaker around retries around permits around a timeout.
fn by_hand(criterion: &mut Criterion) -> io::Result<()> {
    let (recloser, permits) = (recloser(), Semaphore::new(MANY as usize));
    of(criterion, "pipeline", "hand-made", || {
        in_runtime(|| {
            let attempt = || async {
                let _permit = permits.acquire().await.map_err(io::Error::other)?;
                tokio::time::timeout(MINUTE, ok()).await?
            };
            finish(pin!(recloser.call(attempt.retry(ExponentialBuilder::default()))))
        })
    })?;
    of(criterion, "pipeline-pends", "hand-made", || {
        in_runtime(|| {
            let attempt = || async {
                let _permit = permits.acquire().await.map_err(io::Error::other)?;
                tokio::time::timeout(MINUTE, later()).await?
            };
            finish_later(pin!(recloser.call(attempt.retry(ExponentialBuilder::default()))))
        })
    })
}

/// Tries again what failed, as far as the budget goes.
#[derive(Clone)]
pub(crate) struct Budgeted(pub(crate) Arc<TpsBudget>);

impl<E> tower::retry::Policy<u64, u64, E> for Budgeted {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u64, result: &mut Result<u64, E>) -> Option<Ready<()>> {
        if result.is_ok() {
            self.0.deposit();
            return None;
        }
        self.0.withdraw().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

type Tower<S> = tower::retry::Retry<Budgeted, ConcurrencyLimit<tower::timeout::Timeout<S>>>;

/// The layers of tower, which has no breaker.
fn tower(criterion: &mut Criterion) -> io::Result<()> {
    fn stack<S>(budget: &Arc<TpsBudget>, service: S) -> Tower<S> {
        let service = tower::timeout::Timeout::new(service, MINUTE);
        let service = ConcurrencyLimit::new(service, MANY as usize);
        tower::retry::Retry::new(Budgeted(Arc::clone(budget)), service)
    }
    fn call<S>(service: &mut S) -> S::Future
    where
        S: Service<u64, Error = BoxError>,
    {
        let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(ready, Poll::Ready(Ok(()))), "it is ready at once");
        service.call(black_box(7))
    }
    let recloser = &recloser();
    let budget = Arc::new(TpsBudget::new(Duration::from_secs(10), 10, 0.2));
    let (echo, late) = (stack(&budget, Echo), stack(&budget, LateEcho));
    of(criterion, "pipeline", "tower", || {
        let mut service = echo.clone();
        in_runtime(move || finish(pin!(recloser.call(call(&mut service)))))
    })?;
    of(criterion, "pipeline-pends", "tower", || {
        let mut service = late.clone();
        in_runtime(move || finish_later(pin!(recloser.call(call(&mut service)))))
    })
}

fn tower_resilience(criterion: &mut Criterion) -> io::Result<()> {
    let breaker = CircuitBreakerLayer::builder()
        .sliding_window_size(100)
        .slow_call_duration_threshold(SLOW)
        .build()
        .expect("the settings make sense");
    let bulkhead = BulkheadLayer::builder()
        .max_concurrent_calls(MANY as usize)
        .build();
    let bulkhead = bulkhead.expect("the settings make sense");
    let timeout = TimeLimiterLayer::builder().timeout_duration(MINUTE).build();
    let echo = breaker.layer(
        RetryLayer::builder()
            .build()
            .layer(bulkhead.layer(timeout.layer(Echo))),
    );
    of(criterion, "pipeline", TOWER_RESILIENCE, || {
        let mut service = echo.clone();
        in_runtime(move || serve(&mut service))
    })?;
    let late = breaker.layer(
        RetryLayer::builder()
            .build()
            .layer(bulkhead.layer(timeout.layer(LateEcho))),
    );
    of(criterion, "pipeline-pends", TOWER_RESILIENCE, || {
        let mut service = late.clone();
        in_runtime(move || serve_later(&mut service))
    })
}
