use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::extract::State;
use axum::routing::get;
use cortex_http::{Limits, Problem, Routes};
use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer};
use cortex_resilience::circuit::Breaker;
use cortex_resilience::pipeline::Pipeline;
use cortex_resilience::rate_limit::{RateLimitLayer, RateLimiter};
use cortex_resilience::timeout::{Timeout, TimeoutLayer};
use cortex_resilience::{Error, timeout};
use tower::ServiceBuilder;

use crate::support::{Gates, Shop};

/// Checks status, `Retry-After` and the kind of body of an answer.
fn assert_problem(answer: &str, status: &str, retry_after: Option<&str>) {
    let head = answer.to_ascii_lowercase();
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(
        head.contains("content-type: application/problem+json"),
        "{answer}"
    );
    let header = head.lines().find_map(|line| line.strip_prefix("retry-after: "));
    assert_eq!(header, retry_after, "{answer}");
}

async fn pay(State(breaker): State<Arc<Breaker>>) -> Result<&'static str, Problem> {
    let pipeline = Pipeline::new((
        Breaker::clone(&breaker),
        Timeout::builder("payments")
            .attempt(Duration::from_millis(1))
            .build()
            .expect("it makes sense"),
    ));
    let charge = |_| async {
        match std::hint::black_box(1) {
            1 => Err::<&str, _>(std::io::Error::other("the secret of the bank")),
            _ => Ok("paid"),
        }
    };
    Ok(pipeline.call(charge).await?)
}

async fn hang() -> Result<&'static str, Problem> {
    let timeout = Timeout::builder("search").attempt(Duration::from_millis(1));
    let timeout = timeout.build().expect("it makes sense");
    Ok(timeout
        .call(std::future::pending::<Result<&str, Infallible>>())
        .await?)
}

#[tokio::test]
async fn a_handler_answers_for_its_policies() {
    let breaker = Arc::new(Breaker::builder("payments").build().unwrap());
    let routes = axum::Router::new()
        .route("/pay", get(pay))
        .route("/hang", get(hang))
        .with_state(Arc::clone(&breaker));
    let routes = Routes::labelled(routes, ["/pay", "/hang"]);
    let shop = Shop::of(routes, Gates::default(), Limits::new()).await;
    let failed = shop.get("/pay").await;
    assert_problem(&failed, "502", None);
    assert!(!failed.contains("secret"), "{failed}");
    breaker.open_for(Duration::from_millis(90_500)).unwrap();
    let refused = shop.get("/pay").await;
    assert_problem(&refused, "503", Some("91"));
    breaker.force_open();
    assert_problem(&shop.get("/pay").await, "503", None);
    assert_problem(&shop.get("/hang").await, "504", None);
    shop.close().await;
}

#[tokio::test]
async fn policies_stand_around_a_router() {
    let limiter = RateLimiter::builder("orders").limit(1, Duration::from_mins(2));
    let limiter = limiter.build().unwrap();
    let bulkhead = Bulkhead::builder("reports").max_concurrent(1).build().unwrap();
    let slow = Timeout::builder("slow").attempt(Duration::from_millis(1));
    let refuse = async |error: Error<Infallible>| Problem::from(error);
    let orders = axum::Router::new()
        .route("/orders", get(|| async { "ordered" }))
        .layer(
            ServiceBuilder::new()
                .layer(HandleErrorLayer::new(refuse))
                .layer(RateLimitLayer::new(limiter.clone())),
        );
    let reports = axum::Router::new()
        .route("/reports", get(|| async { "reported" }))
        .layer(
            ServiceBuilder::new()
                .layer(HandleErrorLayer::new(refuse))
                .layer(BulkheadLayer::new(bulkhead.clone())),
        );
    let late = async |error: timeout::Error<Infallible>| Problem::from(error);
    let slow = axum::Router::new()
        .route("/slow", get(std::future::pending::<&str>))
        .layer(
            ServiceBuilder::new()
                .layer(HandleErrorLayer::new(late))
                .layer(TimeoutLayer::new(slow.build().unwrap())),
        );
    let routes = Routes::labelled(
        orders.merge(reports).merge(slow),
        ["/orders", "/reports", "/slow"],
    );
    let shop = Shop::of(routes, Gates::default(), Limits::new()).await;
    assert!(shop.get("/orders").await.ends_with("ordered"));
    assert_problem(&shop.get("/orders").await, "429", Some("120"));
    assert_eq!(limiter.snapshot().rejected, 1);
    let running = bulkhead.try_acquire().unwrap();
    assert_problem(&shop.get("/reports").await, "503", None);
    drop(running);
    assert!(shop.get("/reports").await.ends_with("reported"));
    assert_problem(&shop.get("/slow").await, "504", None);
    shop.close().await;
}
