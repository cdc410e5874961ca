//! Requests from pages of other origins.

use std::sync::Arc;

use axum::routing::{get, options};
use cortex_http::{ConcurrencyLimit, Deadlines, Limits, Routes, Running, Server};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::support::{Shop, read_to_end, until};

const SHOP: &str = "https://shop.example";

fn rules() -> CorsLayer {
    CorsLayer::new()
        .allow_origin([HeaderValue::from_static(SHOP)])
        .allow_methods([Method::GET, Method::PUT])
        .allow_headers([CONTENT_TYPE])
        .expose_headers([RETRY_AFTER])
}

/// Returns the values of a header, joined.
fn header(answer: &str, name: &str) -> String {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    let values = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value);
    values.collect::<Vec<_>>().join(", ")
}

async fn ask(running: &Running, line: &str, headers: &str) -> String {
    let mut socket = TcpStream::connect(running.local_addr())
        .await
        .expect("it listens");
    let request = format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.expect("it reads");
    read_to_end(&mut socket).await
}

fn from(origin: &str) -> String {
    format!("origin: {origin}\r\n")
}

#[tokio::test]
async fn a_preflight_is_answered_without_the_router_and_counted() {
    let shop = Shop::with(Limits::new(), |server| server.cors(&rules())).await;
    for (origin, allowed) in [(SHOP, SHOP), ("https://evil.example", "")] {
        let headers = format!(
            "{}access-control-request-method: PUT\r\naccess-control-request-headers: content-type\r\n",
            from(origin)
        );
        let answer = ask(&shop.running, "OPTIONS /panic", &headers).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        assert_eq!(header(&answer, "access-control-allow-origin"), allowed);
        assert_eq!(header(&answer, "access-control-allow-methods"), "GET,PUT");
        assert_eq!(header(&answer, "access-control-allow-headers"), "content-type");
        assert!(header(&answer, "vary").contains("origin"), "{answer}");
    }
    let count = "http_server_request_duration_seconds_count";
    let labels = r#"http_request_method="OPTIONS",http_route="/panic",http_response_status_code="200""#;
    shop.until_metric(&format!("{count}{{{labels}}}"), 2.0).await;
    shop.until_metric(r#"http_server_request_outcomes_total{outcome="ok"}"#, 2.0)
        .await;
    shop.close().await;
}

#[tokio::test]
async fn every_answer_says_who_may_read_it_also_one_in_place_of_a_handler() {
    let limit = Arc::new(ConcurrencyLimit::fixed(1));
    let shop = Shop::with(Limits::new().body_bytes(10), |server| {
        let server = server.cors(&rules());
        server.admission(Arc::clone(&limit))
    })
    .await;
    let asked = [
        ("GET /", "", 200),
        ("GET /nowhere", "", 404),
        ("GET /panic", "", 500),
        ("GET /stuck", "x-request-timeout-ms: 10\r\n", 504),
        ("POST /echo", "content-length: 11\r\n", 413),
    ];
    for (line, more, status) in asked {
        for (origin, allowed) in [(SHOP, SHOP), ("https://evil.example", "")] {
            until("there is room", || limit.in_flight() == 0).await;
            let answer = ask(&shop.running, line, &(from(origin) + more)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert_eq!(header(&answer, "access-control-allow-origin"), allowed, "{line}");
            assert_eq!(header(&answer, "access-control-expose-headers"), "retry-after");
        }
    }
    let mut stuck = shop.connect().await;
    stuck
        .write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    until("its place is taken", || limit.in_flight() == 1).await;
    let answer = ask(&shop.running, "GET /", &from(SHOP)).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(header(&answer, "access-control-allow-origin"), SHOP);
    assert_eq!(header(&answer, "retry-after"), "1");
    drop(stuck);
    shop.close().await;
}

#[tokio::test]
async fn compression_and_the_rules_both_vary_the_answer() {
    let shop = Shop::with(Limits::new(), |server| server.cors(&rules())).await;
    let headers = from(SHOP) + "accept-encoding: gzip\r\n";
    let answer = ask(&shop.running, "GET /big", &headers).await;
    assert_eq!(header(&answer, "content-encoding"), "gzip");
    let vary = header(&answer, "vary");
    assert!(
        vary.contains("accept-encoding") && vary.contains("origin"),
        "{vary}"
    );
    shop.close().await;
}

#[tokio::test]
async fn options_that_are_no_preflight_get_to_their_handler() {
    let routes = Routes::new().route("/", options(|| async { "what there is" }));
    let running = Server::new(routes)
        .cors(&rules())
        .start("127.0.0.1:0")
        .await
        .unwrap();
    for headers in [String::new(), from(SHOP)] {
        let answer = ask(&running, "OPTIONS /", &headers).await;
        assert!(answer.ends_with("\r\n\r\nwhat there is"), "{answer}");
        assert_eq!(header(&answer, "access-control-allow-methods"), "");
    }
}

#[tokio::test]
async fn rules_may_wait_up_to_the_deadline_and_panic() {
    let asked = Arc::new(Notify::new());
    let notify = Arc::clone(&asked);
    let waits = CorsLayer::new().allow_origin(AllowOrigin::async_predicate(move |origin, parts| {
        let (notify, never) = (Arc::clone(&notify), parts.uri.path() == "/never");
        async move {
            notify.notify_one();
            assert_ne!(origin, "https://panics.example");
            if never {
                std::future::pending::<()>().await;
            }
            tokio::task::yield_now().await;
            true
        }
    }));
    let routes = || {
        Routes::new()
            .route("/", get(|| async { "hello" }))
            .route("/never", get(|| async { "never" }))
    };
    let server = Server::new(routes()).cors(&waits);
    let running = server.start("127.0.0.1:0").await.unwrap();
    let answer = ask(&running, "GET /", &from(SHOP)).await;
    crate::support::within(asked.notified()).await;
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(header(&answer, "access-control-allow-origin"), SHOP);
    let answer = ask(
        &running,
        "GET /never",
        &(from(SHOP) + "x-request-timeout-ms: 10\r\n"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    let answer = ask(&running, "GET /", &from("https://panics.example")).await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");

    // Nobody waits for the rules to be told that there is no room.
    let limit = ConcurrencyLimit::fixed(0);
    let server = Server::new(routes())
        .cors(&waits)
        .deadlines(Deadlines::off())
        .admission(limit);
    let full = server.start("127.0.0.1:0").await.unwrap();
    for path in ["/never", "/"] {
        let answer = ask(&full, &format!("GET {path}"), &from(SHOP)).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert_eq!(header(&answer, "access-control-allow-origin"), "");
        assert_eq!(header(&answer, "retry-after"), "1");
    }

    let panics = CorsLayer::new().allow_origin(AllowOrigin::predicate(|_, _| panic!("seeded")));
    let server = Server::new(routes()).cors(&panics);
    let running = server.start("127.0.0.1:0").await.unwrap();
    for _ in 0..2 {
        let answer = ask(&running, "GET /", &from(SHOP)).await;
        assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    }
}
