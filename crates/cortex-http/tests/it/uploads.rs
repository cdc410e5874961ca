//! What clients do with the bodies of their requests is told from what the service does with them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use cortex_http::{ConcurrencyLimit, Limits, Observed, Routes, Server};
use cortex_metrics::Buckets;
use cortex_testkit::ManualClock;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use tokio::sync::Notify;
use tower_service::Service;

use crate::support::{Shop, within};

/// A service that reads a body to its end and then does something else, both as long as the clock says.
struct Slow {
    service: Observed,
    clock: ManualClock,
    reads: Arc<Notify>,
    work: Arc<Notify>,
    works: Arc<Notify>,
}

impl Slow {
    fn new(change: impl FnOnce(Server) -> Server) -> Self {
        let (reads, work, works) = (
            Arc::new(Notify::new()),
            Arc::new(Notify::new()),
            Arc::new(Notify::new()),
        );
        let (told, allowed, working) = (Arc::clone(&reads), Arc::clone(&work), Arc::clone(&works));
        let handler = async move |mut body: Body| {
            let mut length = 0;
            loop {
                told.notify_one(); // seen when this waits
                let Some(frame) = body.frame().await else { break };
                let Ok(frame) = frame else {
                    return (StatusCode::BAD_REQUEST, "broken".to_owned());
                };
                length += frame.data_ref().map_or(0, Bytes::len);
            }
            working.notify_one();
            allowed.notified().await;
            (StatusCode::OK, length.to_string())
        };
        let routes = Routes::new().route("/", post(handler));
        let clock = ManualClock::new();
        let server = change(Server::new(routes).clock(clock.clone()));
        Self {
            service: server.service().expect("it can be made"),
            clock,
            reads,
            work,
            works,
        }
    }

    /// Sends the head of a request.
    fn begin(&mut self) -> (Sender<Bytes>, tokio::task::JoinHandle<String>) {
        let (sender, body) = Channel::new(8);
        let request = Request::post("/").body(body).expect("a request");
        let response = self.service.call(request);
        let answer = tokio::spawn(async move {
            let Ok(response) = response.await;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.expect("a whole body");
            format!("{status} {}", String::from_utf8_lossy(&body.to_bytes()))
        });
        (sender, answer)
    }
}

#[tokio::test]
async fn a_client_that_sends_slowly_lowers_no_adaptive_limit() {
    let (target, long) = (Duration::from_secs(1), Duration::from_secs(10));
    let limit = Arc::new(ConcurrencyLimit::adaptive(1..=64, target));
    let mut slow = Slow::new(|server| server.admission(Arc::clone(&limit)));
    let upload = async |slow: &mut Slow, sends: Duration, works: Duration| {
        let (mut sender, answer) = slow.begin();
        for _ in 0..2 {
            within(slow.reads.notified()).await;
            slow.clock.advance(sends);
            sender
                .send_data(Bytes::from_static(b"part"))
                .await
                .expect("somebody reads");
        }
        within(slow.reads.notified()).await;
        drop(sender);
        within(slow.works.notified()).await;
        slow.clock.advance(works);
        slow.work.notify_one();
        assert_eq!(within(answer).await.expect("no panic"), "200 8");
    };
    for after in [2, 3, 4] {
        upload(&mut slow, Duration::ZERO, Duration::ZERO).await;
        // One at a time fills half of the limit while that is 1 or 2.
        assert_eq!(limit.limit(), after.min(3));
    }
    upload(&mut slow, long, Duration::ZERO).await;
    upload(&mut slow, long, target).await;
    assert_eq!((limit.limit(), limit.in_flight()), (3, 0));
    // Clients that leave say nothing, either.
    let (sender, answer) = slow.begin();
    within(slow.reads.notified()).await;
    slow.clock.advance(long);
    answer.abort();
    assert!(within(answer).await.is_err());
    drop(sender);
    assert_eq!((limit.limit(), limit.in_flight()), (3, 0));
    // The service itself is too slow.
    upload(&mut slow, long, target * 2).await;
    assert_eq!(limit.limit(), 2);
}

#[tokio::test]
async fn the_sizes_of_bodies_are_measured_where_that_is_asked_for() {
    let bytes = || Buckets::new([10.0, 1_000.0]).expect("buckets");
    let shop = Shop::with(Limits::new().body_bytes(2_000), |server| {
        server.body_size_metrics(bytes())
    })
    .await;
    let echo = |framing: &str, body: &str| {
        let head = "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\naccept-encoding: gzip\r\n";
        format!("{head}{framing}\r\n\r\n{body}")
    };
    let long = "x".repeat(1_500);
    shop.exchange(echo("content-length: 5", "hello")).await;
    shop.exchange(echo("content-length: 1500", &long)).await;
    let chunked = format!("3\r\nabc\r\n5dc\r\n{long}\r\n0\r\n\r\n");
    shop.exchange(echo("transfer-encoding: chunked", &chunked)).await;
    shop.get("/users/seven").await;
    shop.exchange("HEAD /big HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    // Of what is too large, what was read before that was known.
    let huge = format!("3\r\nabc\r\n5dc\r\n{long}\r\n5dc\r\n{long}\r\n0\r\n\r\n");
    let answer = shop.exchange(echo("transfer-encoding: chunked", &huge)).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let problem = answer.split_once("\r\n\r\n").expect("an answer").1.len();
    let registry = shop.registry.clone();
    shop.close().await;
    let text = registry.to_text();
    let sample = |name: &str, method: &str, route: &str, status: u16| {
        let series = format!(
            r#"http_server_{name}{{http_request_method="{method}",http_route="{route}",http_response_status_code="{status}"}} "#
        );
        let found = text.lines().find_map(|line| line.strip_prefix(&series));
        let value = found.unwrap_or_else(|| panic!("{series} in {text}"));
        value.parse::<f64>().expect("a number").to_string()
    };
    let both = |method: &str, route: &str, status: u16| {
        let request = sample("request_body_size_bytes_sum", method, route, status);
        let response = sample("response_body_size_bytes_sum", method, route, status);
        (request, response)
    };
    let pair = |one: usize, other: usize| (one.to_string(), other.to_string());
    assert_eq!(both("POST", "/echo", 200), pair(3_008, 3_008));
    assert_eq!(both("GET", "/users/{id}", 200), pair(0, 5));
    assert_eq!(both("HEAD", "/big", 200), pair(0, 0));
    assert_eq!(both("POST", "/echo", 413), pair(1_503, problem));
    assert_eq!(
        sample("request_body_size_bytes_count", "POST", "/echo", 200),
        sample("request_duration_seconds_count", "POST", "/echo", 200)
    );

    let shop = Shop::open(Limits::new()).await;
    shop.get("/").await;
    assert!(!shop.registry.to_text().contains("body_size"));
    shop.close().await;
}
