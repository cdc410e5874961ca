//! What a probe costs with five checks that answer at once, beside axum-health.
//!
//! `probe` is the whole answer from one axum router to the body's last byte, with the status of each check in it;
//! `bare` is what the same router takes for a fixed text. axum-health runs its checks for each probe, ours shows what
//! they said last. A check that waits for anything would add that to each of axum-health's answers.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use axum_health::prelude::{HealthDetail, HealthIndicator};
use cortex_bench::drive;
use cortex_core::{Clock, SystemClock};
use cortex_health::{Check, Detail, Endpoint, Health, Running};
use criterion::Criterion;
use http_body_util::BodyExt;
use tower_service::Service;

const CHECKS: [&str; 5] = ["db", "cache", "queue", "search", "mail"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut ours, running) = runtime.block_on(ours())?;
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
    criterion.final_summary();
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
async fn ours() -> Result<(Router, Running), Box<dyn Error>> {
    let long = Duration::from_hours(1);
    let mut builder = Health::builder().service("bench", "1.0.0");
    for name in CHECKS {
        builder = builder.check(Check::from_fn(name, async || true).every(long));
    }
    let health = builder.build()?;
    let running = health.start(&tokio::runtime::Handle::current())?;
    let give_up = SystemClock.now() + Duration::from_secs(5);
    while health
        .respond(Endpoint::Ready, &axum::http::HeaderMap::new(), Detail::None)
        .status()
        != StatusCode::OK
    {
        if SystemClock.now() > give_up {
            return Err("the checks did not pass".into());
        }
        tokio::task::yield_now().await;
    }
    Ok((cortex_health::router(&health, Detail::Status), running))
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
