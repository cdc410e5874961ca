use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::IntoResponse;
use axum::routing::{get, post};
use cortex_core::{Clock, Context, Deadline, FutureExt, SystemClock};
use cortex_http::client::{ClientClassify, ClientLayer, ErrorKind};
use cortex_http::{Client, Problem, Routes, Running, Server};
use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer};
use cortex_resilience::circuit::{Breaker, BreakerLayer, State, Window};
use cortex_resilience::http::HttpRequests;
use cortex_resilience::pipeline::{Error, Pipeline};
use cortex_resilience::retry::{Backoff, Retry};
use cortex_resilience::{Reason, Through};
use cortex_trace::{InMemory, Tracer};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};

use super::support::{SOON, answering, url};
use crate::support::within;

/// A server that fails as often as it is told, and keeps the headers of what it is asked.
struct Flaky {
    running: Running,
    asked: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Flaky {
    async fn failing(times: usize) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&asked);
        let answer = async move |headers: HeaderMap| {
            let mut asked = keep.lock().expect("no panic");
            asked.push(headers);
            if asked.len() <= times {
                Err(StatusCode::SERVICE_UNAVAILABLE)
            } else {
                Ok("seven")
            }
        };
        let routes = Routes::new().route("/", get(answer.clone()).merge(post(answer)));
        let running = Server::new(routes).start("127.0.0.1:0").await;
        Self {
            running: running.expect("a port is free"),
            asked,
        }
    }

    fn addr(&self) -> SocketAddr {
        self.running.local_addr()
    }

    fn request(&self, method: &str) -> Request<String> {
        let request = Request::builder().method(method).uri(url(self.addr(), "/"));
        request.body(String::new()).expect("an address")
    }

    fn asked(&self, header: &str) -> Vec<String> {
        let asked = self.asked.lock().expect("no panic");
        let value = |headers: &HeaderMap| headers.get(header).map(|value| value.to_str().map(Into::into));
        asked
            .iter()
            .map(|headers| value(headers).and_then(Result::ok).unwrap_or_default())
            .collect()
    }

    fn count(&self) -> usize {
        self.asked.lock().expect("no panic").len()
    }
}

fn client() -> Client {
    Client::builder().build().expect("settings that make sense")
}

/// As long as an attempt's time has to become less by, in the header.
const PAUSE: Duration = Duration::from_millis(5);

#[tokio::test]
async fn what_fails_twice_and_then_answers_is_tried_again_in_the_time_that_is_left() {
    let stock = Flaky::failing(2).await;
    let kept = InMemory::new();
    let tracer = Tracer::builder("shop").export(kept.clone()).build().unwrap();
    let client = Client::builder().tracer(tracer.clone()).build().unwrap();
    let policies = Pipeline::standard("stock")
        .classify(ClientClassify::new())
        .retry(|retry| retry.backoff(Backoff::constant(PAUSE)))
        .build()
        .unwrap();
    let client = policies.layer_for(HttpRequests::new()).layer(client);

    let order = tracer.span("order").start();
    let deadline = Deadline::at(SystemClock.now() + Duration::from_secs(20));
    let context = order.context().with_deadline(deadline);
    let call = client.clone().oneshot(stock.request("GET"));
    let response = within(call.with_context(context)).await.unwrap();
    assert_eq!(response.into_body().text().await.unwrap(), "seven");
    drop(order);

    let left = stock.asked("x-request-timeout-ms");
    let left: Vec<u64> = left.iter().map(|left| left.parse().unwrap()).collect();
    assert!(
        left.len() == 3 && left[0] <= 20_000 && left[0] > left[1] && left[1] > left[2],
        "{left:?}"
    );
    let parents = stock.asked("traceparent");
    within(tracer.shutdown(Duration::from_mins(1))).await.unwrap();
    let mut spans = kept.spans();
    spans.retain(|span| span.name == "GET");
    spans.sort_by_key(|span| {
        parents
            .iter()
            .position(|sent| sent.contains(&span.span_id.to_string()))
    });
    let resent = |index: usize| {
        let count = spans[index].attribute("http.request.resend_count");
        count.map(ToString::to_string)
    };
    assert_eq!(spans.len(), 3);
    assert_eq!(
        [resent(0), resent(1), resent(2)],
        [None, Some("1".to_owned()), Some("2".to_owned())]
    );
    for (span, sent) in spans.iter().zip(&parents) {
        assert_eq!(span.parent_span_id, context.span_id());
        assert!(sent.contains(&span.span_id.to_string()), "{sent}");
    }
}

#[tokio::test]
async fn the_time_of_a_retry_goes_along_too() {
    let stock = Flaky::failing(1).await;
    let retry = Retry::builder("stock")
        .classify(ClientClassify::new())
        .backoff(Backoff::constant(PAUSE))
        .within(Duration::from_secs(15));
    let policies = Pipeline::new((retry.build().unwrap(),));
    let client = policies.layer_for(HttpRequests::new()).layer(client());
    let response = within(client.oneshot(stock.request("GET"))).await.unwrap();
    assert_eq!(response.status(), 200);
    let left = stock.asked("x-request-timeout-ms");
    let left: Vec<u64> = left.iter().map(|left| left.parse().unwrap()).collect();
    assert!(left[0] <= 15_000 && left[0] > left[1], "{left:?}");
}

#[tokio::test]
async fn what_is_not_idempotent_is_sent_once() {
    let stock = Flaky::failing(1).await;
    let policies = Pipeline::standard("stock")
        .classify(ClientClassify::new())
        .build()
        .unwrap();
    let client = policies.layer_for(HttpRequests::new()).layer(client());
    let response = within(client.oneshot(stock.request("POST"))).await;
    assert_eq!((response.unwrap().status().as_u16(), stock.count()), (503, 1));
}

#[tokio::test]
async fn a_breaker_opens_and_nobody_is_asked_any_more() {
    let stock = Flaky::failing(usize::MAX).await;
    let policies = Pipeline::standard("stock")
        .classify(ClientClassify::new())
        .retry(|retry| retry.max_attempts(1))
        .breaker(|breaker| breaker.window(Window::count(4)).min_calls(4))
        .build()
        .unwrap();
    let client = policies.layer_for(HttpRequests::new()).layer(client());
    for _ in 0..4 {
        let response = within(client.clone().oneshot(stock.request("GET"))).await;
        assert_eq!(response.unwrap().status(), 503);
    }
    // Total timeout, retry, breaker: as the type shows.
    let breaker = policies.stages().rest().rest().policy();
    assert_eq!(breaker.state(), State::Open);
    let error = within(client.clone().oneshot(stock.request("GET"))).await;
    let error = error.unwrap_err();
    assert_eq!(error.rejected().map(|why| why.reason()), Some(Reason::Open));
    assert_eq!(stock.count(), 4);
    let problem = Problem::from(error);
    assert_eq!(problem.status(), 503);
}

#[tokio::test]
async fn a_permit_is_held_until_the_body_has_ended() {
    let stock = Flaky::failing(0).await;
    let bulkhead = Bulkhead::builder("stock").max_concurrent(1).build().unwrap();
    let policies = Pipeline::outer_breaker("stock")
        .classify(Through(ClientClassify::new()))
        .build()
        .unwrap();
    let client = BulkheadLayer::new(bulkhead.clone())
        .until_body_end()
        .layer(client());
    let client = policies.layer_for(HttpRequests::new()).layer(client);
    let first = within(client.clone().oneshot(stock.request("GET")))
        .await
        .unwrap();
    assert_eq!(bulkhead.snapshot().in_use, 1);
    let refused = within(client.clone().oneshot(stock.request("GET")))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, Error::Inner(inner) if inner.rejected().is_some()),
        "{refused:?}"
    );
    assert_eq!(Problem::from(refused).status(), 503);
    let body = within(axum::body::to_bytes(
        axum::body::Body::new(first.into_body()),
        100,
    ))
    .await;
    assert_eq!(body.unwrap(), "seven");
    assert_eq!((bulkhead.snapshot().in_use, stock.count()), (0, 1));
}

/// A breaker that two failures open.
fn touchy() -> cortex_resilience::circuit::Builder<ClientClassify> {
    Breaker::builder("stock")
        .classify(ClientClassify::new())
        .window(Window::count(2))
        .min_calls(2)
}

#[tokio::test(start_paused = true)]
async fn what_hangs_for_as_long_as_a_retry_goes_on_opens_the_breaker() {
    struct Tokio;
    impl Clock for Tokio {
        fn now(&self) -> std::time::Instant {
            tokio::time::Instant::now().into_std()
        }

        fn wall(&self) -> std::time::SystemTime {
            SystemClock.wall()
        }
    }
    let second = Duration::from_secs(1);
    let retry = Retry::builder("stock")
        .classify(ClientClassify::new())
        .within(second)
        .clock(Arc::new(Tokio));
    let breaker = touchy().build().unwrap();
    let policies = Pipeline::new((retry.build().unwrap(), breaker.clone()));
    let hangs = tower::service_fn(|_: Request<String>| {
        std::future::pending::<Result<http::Response<String>, std::io::Error>>()
    });
    let hangs = policies
        .layer_for(HttpRequests::new())
        .layer(ClientLayer::new().layer(hangs));
    let call = async |context: Context| {
        let request = Request::get("http://stock/").body(String::new()).unwrap();
        let begun = tokio::time::Instant::now();
        let call = hangs.clone().oneshot(request).with_context(context);
        (call.await.unwrap_err(), begun.elapsed())
    };
    // Who asked has less time: that is nobody's failure.
    let soon = Context::new().with_deadline(Deadline::after(Tokio.now(), second / 2));
    let (error, after) = call(soon).await;
    assert_eq!(
        error.into_inner().map(|error| error.kind()),
        Some(ErrorKind::Deadline)
    );
    assert!(after < second, "{after:?}");
    assert_eq!((breaker.state(), breaker.snapshot().total), (State::Closed, 0));
    for _ in 0..2 {
        let later = Context::new().with_deadline(Deadline::after(Tokio.now(), 5 * second));
        let (error, after) = call(later).await;
        assert!((second..2 * second).contains(&after), "{after:?}");
        let error = error.into_inner().unwrap();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("a policy around the call"), "{error}");
    }
    assert_eq!((breaker.state(), breaker.snapshot().failed), (State::Open, 2));
}

#[tokio::test]
async fn what_hangs_until_the_time_of_all_attempts_is_over_opens_the_breaker() {
    let silent = answering("").await;
    let breaker = touchy().build().unwrap();
    let total = cortex_resilience::timeout::Timeout::builder("stock").total(SOON);
    let policies = Pipeline::new((total.build().unwrap(), breaker.clone()));
    let client = policies.layer_for(HttpRequests::new()).layer(client());
    for _ in 0..2 {
        let request = Request::get(url(silent, "/")).body(String::new()).unwrap();
        let error = within(client.clone().oneshot(request)).await.unwrap_err();
        assert_eq!(Problem::from(error).status(), 504);
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_call_below_which_all_is_always_busy_ends_in_time() {
    use std::task::Poll;

    let busy = tower::service_fn(|_: Request<String>| {
        let mut polls = 0;
        std::future::poll_fn(move |cx| {
            polls += 1;
            assert!(polls < 1000, "nobody heard the timer");
            while tokio::task::coop::has_budget_remaining() {
                let _ = std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx);
            }
            cx.waker().wake_by_ref();
            Poll::<Result<http::Response<String>, std::io::Error>>::Pending
        })
    });
    let layer = ClientLayer::new().timeout(Duration::from_millis(50));
    let request = Request::get("http://stock/").body(String::new()).unwrap();
    let call = tokio::spawn(layer.layer(busy).oneshot(request));
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_millis(51)).await;
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn whatever_layers_are_around_a_call_the_one_that_refuses_tells() {
    use cortex_resilience::timeout::{Timeout, TimeoutLayer};

    let stock = Flaky::failing(0).await;
    let breaker = touchy().build().unwrap();
    breaker.force_open();
    let timeout = Timeout::builder("stock").attempt(Duration::from_secs(20));
    let timeout = TimeoutLayer::new(timeout.build().unwrap());
    let full = Bulkhead::builder("stock").max_concurrent(1).build().unwrap();
    let call = BreakerLayer::new(breaker.clone()).layer(client());
    let call = timeout.layer(BulkheadLayer::new(full.clone()).layer(timeout.layer(call)));
    let problem = async || {
        let answer = within(call.clone().oneshot(stock.request("GET"))).await;
        Problem::from(answer.unwrap_err())
    };
    assert_eq!(problem().await.status(), 503);
    breaker.open_for(Duration::from_secs(90)).unwrap();
    let response = problem().await.into_response();
    let after = response.headers()["retry-after"].to_str().unwrap().parse::<u64>();
    assert!(response.status() == 503 && after.is_ok_and(|after| (60..=90).contains(&after)));
    breaker.close();
    let answer = within(call.clone().oneshot(stock.request("GET"))).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_middle_of_a_body_is_no_vote() {
    let stuck = answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let breaker = Breaker::builder("stock").classify(ClientClassify::new()).build();
    let breaker = breaker.unwrap();
    let layer = BreakerLayer::new(breaker.clone()).until_body_end();
    let request = || Request::get(url(stuck, "/")).body(String::new()).unwrap();
    let counts = || {
        let seen = breaker.snapshot();
        (seen.ok, seen.failed, seen.ignored)
    };
    let deadline = Deadline::after(SystemClock.now(), Duration::from_millis(500));
    let call = async { layer.layer(client()).oneshot(request()).await };
    let answer = within(call.with_context(Context::new().with_deadline(deadline))).await;
    let error = within(answer.unwrap().into_body().collect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(counts(), (0, 0, 1));

    // The dependency's own pause is its failure.
    let client = Client::builder().body_idle(PAUSE).build().unwrap();
    let answer = within(layer.layer(client).oneshot(request())).await;
    let error = within(answer.unwrap().into_body().collect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BodyIdle);
    assert_eq!(counts(), (0, 1, 1));
}

#[tokio::test]
async fn what_the_caller_has_no_time_for_is_no_vote() {
    let stock = Flaky::failing(0).await;
    let retry = Retry::builder("stock").classify(ClientClassify::new()).build();
    let policies = Pipeline::new((retry.unwrap(),));
    let past = Deadline::at(SystemClock.now());
    // Without a retry, the client says so itself.
    let call = async { client().send(stock.request("GET")).await };
    let error = Box::pin(call)
        .with_context(Context::new().with_deadline(past))
        .await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(Problem::from(error).status(), 504);
    let call = client();
    let call = policies.layer_for(HttpRequests::new()).layer(call);
    let call = async { call.oneshot(stock.request("GET")).await };
    let error = Box::pin(call)
        .with_context(Context::new().with_deadline(past))
        .await;
    assert_eq!(Problem::from(error.unwrap_err()).status(), 504);
    assert_eq!(stock.count(), 0);
}
