//! Other policies by themselves.

use std::io;
use std::num::NonZero;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use cortex_core::CoarseClock;
use cortex_resilience::budget::Budget;
use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer};
use cortex_resilience::rate_limit::{KeyedRateLimiter, RateLimiter};
use cortex_resilience::retry::{Retry, RetryLayer};
use cortex_resilience::timeout::Timeout;
use criterion::Criterion;
use tokio::sync::Semaphore;
use tokio_retry::strategy::ExponentialBackoff;
use tower::retry::budget::TpsBudget;
use tower_layer::Layer;

use super::pipeline::Budgeted;
use super::{Echo, MINUTE, SLOW, finish, finish_later, in_runtime, later, of, ok, serve};

pub(crate) fn bench(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    bulkhead(criterion)?;
    timeout(criterion)?;
    rate(criterion, clock)?;
    retry(criterion, clock)
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

/// The first attempt succeeds.
fn retry(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    let ours = Retry::builder("bench").build().expect("the settings make sense");
    of(criterion, "retry", "cortex", || {
        || finish(pin!(ours.call(|_| ok())))
    })?;
    let layer = RetryLayer::new(ours.clone());
    of(criterion, "retry", "cortex-layer", || {
        let mut service = layer.layer(Echo);
        move || serve(&mut service)
    })?;
    of(criterion, "retry", "backon", || {
        || finish(pin!(ok.retry(ExponentialBuilder::default())))
    })?;
    of(criterion, "retry", "tokio-retry", || {
        || {
            let delays = ExponentialBackoff::from_millis(2).take(2);
            finish(pin!(tokio_retry::Retry::start(delays, ok)))
        }
    })?;
    let budget = Budget::windowed(0.2).clock(clock.clone()).build();
    let builder = Retry::builder("bench").budget(budget.expect("the settings make sense"));
    let ours = builder.build().expect("the settings make sense");
    of(criterion, "retry-budget", "cortex", || {
        || finish(pin!(ours.call(|_| ok())))
    })?;
    let budget = Arc::new(TpsBudget::new(Duration::from_secs(10), 10, 0.2));
    of(criterion, "retry-budget", "tower", || {
        let mut service = tower::retry::Retry::new(Budgeted(Arc::clone(&budget)), Echo);
        move || serve(&mut service)
    })
}
