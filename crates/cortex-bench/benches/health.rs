//! What a probe costs, beside axum-health, and how soon it tells what has changed.
//!
//! `probe` is the whole answer from one axum router to the body's last byte, with the status of each of five checks in
//! it; `bare` is what the same router takes for a fixed text. axum-health runs its checks for each probe, ours shows what
//! they said last. A check that waits for anything would add that to each of axum-health's answers.
//!
//! `probe-direct` is what of that is ours: the answer without a router. `render` is the first answer after a publication,
//! of twenty checks with all that there is to show; all answers after it are copies. `flip` is the time until a probe
//! says otherwise: after `set_draining`, and after the start of a run that finds something else.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::get;
use axum_health::prelude::{HealthDetail, HealthIndicator};
use cortex_bench::drive;
use cortex_core::{Clock, SystemClock};
use cortex_health::{Check, Detail, Endpoint, Health, Outcome, Running};
use criterion::{BatchSize, Criterion};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower_service::Service;

const CHECKS: [&str; 5] = ["db", "cache", "queue", "search", "mail"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (health, running) = runtime.block_on(ours())?;
    let mut ours = cortex_health::router(&health, Detail::Status);
    let mut theirs = theirs();
    let mut bare = Router::new().route("/health", get(async || "Hello, World!"));

    for answer in [probe(&mut ours), probe(&mut theirs)] {
        for name in CHECKS {
            assert!(answer.contains(name), "{name} is not in {answer}");
        }
    }
    let mut group = criterion.benchmark_group("probe");
    group.bench_function("cortex", |b| b.iter(|| probe(&mut ours)));
    group.bench_function("axum-health", |b| b.iter(|| probe(&mut theirs)));
    group.bench_function("bare", |b| b.iter(|| probe(&mut bare)));
    group.finish();
    let mut group = criterion.benchmark_group("probe-direct");
    let headers = HeaderMap::new();
    group.bench_function("cortex", |b| {
        b.iter(|| health.respond(Endpoint::Health, &headers, Detail::Status));
    });
    group.finish();
    running.stop();
    render(&mut criterion, &runtime)?;
    flip(&mut criterion, &runtime)?;
    criterion.final_summary();
    Ok(())
}

/// Renders twenty checks in full, each time after a run of one of them.
fn render(criterion: &mut Criterion, runtime: &Runtime) -> Result<(), Box<dyn Error>> {
    const COUNT: usize = 20;
    let mut builder = Health::builder().service("bench", "1.0.0");
    for number in 0..COUNT {
        let look = move || async move {
            Outcome::degraded("replica 2 of 3 lags behind its primary")
                .observed(12.5, "seconds")
                .detail("replica", number)
        };
        let check = Check::from_fn(format!("database-{number}"), look);
        builder = builder.check(check.every(Duration::from_hours(1)));
    }
    let health = builder.build()?;
    let running = health.start(runtime.handle())?;
    let publish = || {
        let report = runtime.block_on(health.run_now("database-7"));
        report.expect("it runs, and there is such a check");
    };
    for number in 0..COUNT {
        runtime.block_on(health.run_now(&format!("database-{number}")))?;
    }
    let headers = HeaderMap::new();
    let answer = || health.respond(Endpoint::Health, &headers, Detail::Full);
    let first = answer();
    publish();
    assert_ne!(
        answer().body().as_ptr(),
        first.body().as_ptr(),
        "a body is rendered each time"
    );
    let shown = String::from_utf8_lossy(first.body())
        .matches("lags behind")
        .count();
    assert!(shown >= COUNT, "all of them are shown");

    let mut group = criterion.benchmark_group("render");
    group.measurement_time(Duration::from_secs(1)); // most of the time is spent on what is not measured
    group.bench_function("cortex", |b| {
        b.iter_batched(publish, |()| answer(), BatchSize::PerIteration);
    });
    group.finish();
    running.stop();
    Ok(())
}

/// Changes what a probe says, and asks it.
fn flip(criterion: &mut Criterion, runtime: &Runtime) -> Result<(), Box<dyn Error>> {
    let up = Arc::new(AtomicBool::new(true));
    let look = Arc::clone(&up);
    let check = Check::from_fn("database", move || {
        std::future::ready(look.load(Ordering::Relaxed))
    });
    let check = check.every(Duration::from_hours(1)).fall(1);
    let health = Health::builder().check(check).build()?;
    let running = health.start(runtime.handle())?;
    runtime.block_on(health.run_now("database"))?;
    let headers = HeaderMap::new();
    let is_ready = || {
        let answer = health.respond(Endpoint::Ready, &headers, Detail::None);
        answer.status() == StatusCode::OK
    };
    let mut group = criterion.benchmark_group("flip");
    group.bench_function("drain", |b| {
        b.iter(|| {
            let draining = !health.is_draining();
            health.set_draining(draining);
            assert_eq!(is_ready(), !draining);
        });
    });
    health.set_draining(false);
    group.bench_function("result", |b| {
        b.iter(|| {
            let was = up.fetch_xor(true, Ordering::Relaxed);
            let report = runtime.block_on(health.run_now("database"));
            report.expect("it runs, and there is such a check");
            assert_eq!(is_ready(), !was);
        });
    });
    group.finish();
    running.stop();
    Ok(())
}

/// Asks and returns the answer, which must be a 200.
fn probe(router: &mut Router) -> String {
    let request = Request::get("/health")
        .body(Body::empty())
        .expect("a fixed request is right");
    let Ok(response) = drive(router.call(request));
    assert_eq!(response.status(), StatusCode::OK);
    let body = drive(response.into_body().collect()).expect("a body from memory cannot fail");
    String::from_utf8(body.to_bytes().into()).expect("both answer with text")
}

/// Starts five checks and waits until each has passed. They are not due again before the bench has ended.
async fn ours() -> Result<(Health, Running), Box<dyn Error>> {
    let long = Duration::from_hours(1);
    let mut builder = Health::builder().service("bench", "1.0.0");
    for name in CHECKS {
        builder = builder.check(Check::from_fn(name, async || true).every(long));
    }
    let health = builder.build()?;
    let running = health.start(&tokio::runtime::Handle::current())?;
    let give_up = SystemClock.now() + Duration::from_secs(5);
    while health
        .respond(Endpoint::Ready, &HeaderMap::new(), Detail::None)
        .status()
        != StatusCode::OK
    {
        if SystemClock.now() > give_up {
            return Err("the checks did not pass".into());
        }
        tokio::task::yield_now().await;
    }
    Ok((health, running))
}

fn theirs() -> Router {
    struct Up(&'static str);

    #[async_trait::async_trait]
    impl HealthIndicator for Up {
        fn name(&self) -> String {
            self.0.to_owned()
        }

        async fn details(&self) -> HealthDetail {
            HealthDetail::up()
        }
    }

    let health = CHECKS
        .into_iter()
        .fold(axum_health::prelude::Health::builder(), |health, name| {
            health.with_indicator(Up(name))
        })
        .build();
    Router::new()
        .route("/health", get(axum_health::prelude::health_check))
        .layer(health)
}
