//! What is shown of policies, and of what they make: enough to know which it is, and nothing that would have to be `Debug`.

use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer};
use cortex_resilience::rate_limit::{KeyedRateLimiter, QuotaTable, RateLimitLayer, RateLimiter};
use cortex_resilience::timeout::{Timeout, TimeoutLayer};
use std::fmt::Debug;
use std::future::{Pending, pending};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt, service_fn};

fn shows(shown: impl Debug, parts: &[&str]) {
    let shown = format!("{shown:?}");
    assert!(parts.iter().all(|part| shown.contains(part)), "{shown}");
}

fn never() -> Pending<Result<(), ()>> {
    pending()
}

#[tokio::test(start_paused = true)]
async fn policies_and_what_they_make_are_shown_with_their_names() {
    let second = Duration::from_secs(1);
    let timeout = Timeout::builder("test").total(second);
    shows(&timeout, &["Builder", "test", "Total"]);
    let timeout = timeout.build().unwrap();
    shows(timeout.call(never()), &["Call", "\"test\"", "Total, 1s", "Idle"]);
    let limiter = RateLimiter::builder("test").limit(1, second);
    shows(&limiter, &["Builder", "test"]);
    let limiter = limiter.build().unwrap();
    shows(
        limiter.acquire_n(3),
        &["Acquire", "RateLimiter", "\"test\"", "tokens: 3", "Idle"],
    );
    shows(limiter.call(never()), &["Call", "is_running: false"]);
    let keyed = KeyedRateLimiter::builder("test").limit(1, second).keys(9);
    shows(&keyed, &["KeyedBuilder", "keys: 9"]);
    shows(
        keyed.build().unwrap(),
        &["KeyedRateLimiter", "\"test\"", "interval"],
    );
    shows(QuotaTable::new(7), &["QuotaTable", "15"]);
    let bulkhead = Bulkhead::builder("test").max_concurrent(1).queue(1);
    shows(&bulkhead, &["Builder", "queue: 1"]);
    let bulkhead = bulkhead.build().unwrap();
    shows(bulkhead.call(never()), &["Call", "Idle", "is_running: false"]);
    let running = bulkhead.try_acquire().unwrap();
    shows(
        &running,
        &["Permit", "\"test\"", "max_concurrent: 1", "in_use: 1"],
    );

    let inner = service_fn(|()| never());
    let mut service = BulkheadLayer::new(bulkhead.clone()).layer(inner);
    shows(
        service.ready().await.unwrap().call(()),
        &["ResponseFuture", "waiting"],
    );
    drop(running);
    shows(
        service.ready().await.unwrap().call(()),
        &["ResponseFuture", "running"],
    );
    shows(service.call(()), &["ResponseFuture", "not ready"]);
    let mut service = RateLimitLayer::new(limiter).layer(inner);
    shows(service.call(()), &["ResponseFuture", "refused: None"]);
    let mut service = TimeoutLayer::new(timeout).layer(inner);
    shows(service.call(()), &["Call", "Refused"]);
}
