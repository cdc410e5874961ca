use std::time::Duration;

use axum::body::Bytes;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use cortex_http::{Limits, Routes, Server};
use cortex_metrics::Registry;
use cortex_trace::{AlwaysOff, AlwaysOn, ExportError, Exporter, InMemory, SpanData, Tail, Tracer};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{Gates, Shop, read_to_end, read_until, within};

const COUNT: &str = "http_server_request_duration_seconds_count";

fn series(method: &str, route: &str, status: u16) -> String {
    format!(
        r#"{COUNT}{{http_request_method="{method}",http_route="{route}",http_response_status_code="{status}"}}"#
    )
}

fn outcome(outcome: &str) -> String {
    format!(r#"http_server_request_outcomes_total{{outcome="{outcome}"}}"#)
}

#[tokio::test]
async fn requests_are_counted_by_the_route_that_served_them() {
    let shop = Shop::open(Limits::new()).await;
    for id in 0..3 {
        let answer = shop.get(&format!("/users/{id}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&format!("\r\n\r\n{id}")),
            "{answer}"
        );
    }
    assert!(shop.get("/nowhere").await.starts_with("HTTP/1.1 404"));
    let head = shop
        .exchange("HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert!(
        head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(
        shop.exchange("BREW / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 405")
    );

    shop.until_metric(&series("GET", "/users/{id}", 200), 3.0).await;
    shop.until_metric(&series("GET", "unmatched", 404), 1.0).await;
    shop.until_metric(&series("HEAD", "/", 200), 1.0).await;
    shop.until_metric(&series("_OTHER", "/", 405), 1.0).await;
    shop.until_metric(&outcome("ok"), 6.0).await;
    let report = shop.close().await;
    assert_eq!((report.requests, report.connections, report.code()), (6, 6, 0));
}

#[tokio::test]
async fn a_kept_alive_connection_serves_request_after_request_also_pipelined() {
    let shop = Shop::open(Limits::new()).await;
    let one = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let last = "GET /users/9 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = shop.exchange(format!("{one}{one}{last}")).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
    shop.until_metric(&series("GET", "/", 200), 2.0).await;
    assert_eq!(shop.close().await.connections, 1);
}

#[tokio::test]
async fn a_request_that_is_sent_ahead_waits_for_its_turn() {
    let shop = Shop::open(Limits::new()).await;
    let mut socket = shop.connect().await;
    let first = b"GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n";
    socket.write_all(first).await.unwrap();
    shop.gates.until_entered().await;
    // More than is looked at ahead, so that its parts come by two ways.
    let padding = "a".repeat(4000);
    let last =
        format!("GET /users/9 HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-padding: {padding}\r\n\r\n");
    socket.write_all(last.as_bytes()).await.unwrap();
    // Another connection is served after it has been looked at.
    shop.get("/").await;
    shop.gates.release.notify_one();
    let answers = read_to_end(&mut socket).await;
    let (one, other) = answers.split_once("released").expect("the first answer");
    assert!(one.starts_with("HTTP/1.1 200"), "{one}");
    assert!(
        other.starts_with("HTTP/1.1 200") && other.ends_with('9'),
        "{other}"
    );
    assert_eq!(shop.close().await.requests, 3);
}

#[tokio::test]
async fn what_is_sent_ahead_of_a_last_answer_does_not_cost_the_answer() {
    let shop = Shop::open(Limits::new()).await;
    let mut socket = shop.connect().await;
    let last = b"GET /stuck HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    socket.write_all(last).await.unwrap();
    shop.gates.until_entered().await;
    // Closing a socket with bytes unread resets the connection, and an answer that is under way is lost.
    let ahead = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx-padding: {}\r\n\r\n",
        "a".repeat(64 << 10)
    );
    socket.write_all(ahead.as_bytes()).await.unwrap();
    shop.get("/").await;
    shop.gates.release.notify_one();
    let answer = read_to_end(&mut socket).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("released"),
        "{answer}"
    );
    shop.close().await;
}

#[tokio::test]
async fn a_client_that_leaves_is_seen_while_a_body_is_held_that_was_read() {
    let gates = Gates::default();
    let (entered, release) = (gates.entered.clone(), gates.release.clone());
    let held = post(async move |mut body: axum::body::Body| {
        while body.frame().await.is_some() {}
        entered.notify_one();
        release.notified().await;
        drop(body);
    });
    let shop = Shop::of(Routes::new().route("/held", held), gates, Limits::new()).await;
    let mut socket = shop.connect().await;
    let request = b"POST /held HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nfive!";
    socket.write_all(request).await.unwrap();
    shop.gates.until_entered().await;
    drop(socket);
    shop.until_metric(&outcome("client_cancel"), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn who_closes_its_half_after_the_request_is_answered() {
    let shop = Shop::open(Limits::new()).await;
    let mut socket = shop.connect().await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    socket.write_all(request).await.unwrap();
    socket.shutdown().await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
        "{answer}"
    );
    shop.close().await;
}

#[tokio::test]
async fn responses_are_compressed_for_those_who_ask() {
    let shop = Shop::open(Limits::new()).await;
    let ask = |coding| {
        format!("GET /big HTTP/1.1\r\nhost: a\r\naccept-encoding: {coding}\r\nconnection: close\r\n\r\n")
    };
    for coding in ["gzip", "br", "zstd"] {
        let answer = shop.exchange(ask(coding)).await;
        assert!(
            answer.contains(&format!("content-encoding: {coding}\r\n")),
            "{answer}"
        );
        assert!(answer.len() < 1000);
    }
    assert!(shop.exchange(ask("identity")).await.len() > 10_000);
    shop.close().await;
}

/// A service that records all requests.
async fn recorded() -> (Shop, InMemory) {
    let kept = InMemory::new();
    let tracer = Tracer::builder("shop")
        .sampler(AlwaysOn)
        .export(kept.clone())
        .build()
        .expect("a thread can be started");
    let shop = Shop::with(Limits::new(), |server| server.tracer(tracer)).await;
    (shop, kept)
}

fn shown(span: &SpanData) -> Vec<String> {
    let attributes = span.attributes.iter();
    let mut shown: Vec<_> = attributes
        .map(|attribute| format!("{}={}", attribute.key, attribute.value))
        .collect();
    shown.sort();
    shown
}

#[tokio::test]
async fn trace_context_comes_in_and_the_span_knows_the_route() {
    let (shop, kept) = recorded().await;
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut socket = shop.connect().await;
    let port = format!("network.peer.port={}", socket.local_addr().unwrap().port());
    let request = format!(
        "GET /trace?page=2 HTTP/1.1\r\nhost: a:81\r\nuser-agent: curl/8\r\ntraceparent: 00-{id}-00f067aa0ba902b7-01\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.contains(id), "{answer}");
    let names = r#"otel_component_name="memory/0",otel_component_type="#;
    shop.until_metric(
        &format!(r#"otel_sdk_exporter_span_exported_total{{{names}"memory"}}"#),
        1.0,
    )
    .await;
    assert!(!shop.close().await.telemetry_lost);
    let spans = kept.take();
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].name, "GET /trace");
    assert_eq!(spans[0].trace_id.to_string(), id);
    assert_eq!(
        shown(&spans[0]),
        [
            "http.request.method=GET",
            "http.response.status_code=200",
            "http.route=/trace",
            "network.peer.address=127.0.0.1",
            &port,
            "network.protocol.version=1.1",
            "server.address=a",
            "server.port=81",
            "url.path=/trace",
            "url.query=page=2",
            "url.scheme=http",
            "user_agent.original=curl/8",
        ]
    );
}

#[tokio::test]
async fn what_a_handler_logs_is_part_of_the_span_that_the_tail_keeps() {
    let kept = InMemory::new();
    let tracer = Tracer::builder("shop")
        .sampler(AlwaysOff)
        .tail(Tail::new().keep_errors())
        .export(kept.clone())
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(tracer.layer());
    let shop = Shop::with(Limits::new(), |server| server.tracer(tracer)).await;
    let logging = cortex_testkit::subscribe(subscriber);
    for path in ["/logs", "/trace", "/panic"] {
        shop.get(path).await;
    }
    shop.close().await;
    drop(logging);
    let spans = kept.take();
    let events = |path: &str| -> Vec<&str> {
        let is_its = |span: &&SpanData| {
            span.attribute("url.path")
                .is_some_and(|is| is.to_string() == path)
        };
        let span = spans.iter().find(is_its).unwrap();
        assert!(span.status.is_error(), "{span:?}");
        span.events.iter().map(|event| &*event.name).collect()
    };
    assert_eq!(spans.len(), 2, "{spans:?}");
    assert_eq!(events("/logs"), ["looked", "out of stock"]);
    assert_eq!(events("/panic"), ["a handler panicked"]);
}

#[tokio::test]
async fn a_span_of_http2_knows_the_authority() {
    let (shop, kept) = recorded().await;
    let socket = shop.connect().await;
    let port = format!("network.peer.port={}", socket.local_addr().unwrap().port());
    let io = TokioIo::new(socket);
    let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("https://shop.example/users/7")
        .body(axum::body::Body::empty())
        .unwrap();
    let response = send.send_request(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "7");
    drop(send);
    within(connection).await.unwrap().unwrap();
    shop.close().await;
    assert_eq!(
        shown(&kept.spans()[0]),
        [
            "http.request.method=GET",
            "http.response.status_code=200",
            "http.route=/users/{id}",
            "network.peer.address=127.0.0.1",
            &port,
            "network.protocol.version=2",
            "server.address=shop.example",
            "server.port=443",
            "url.path=/users/7",
            "url.scheme=https",
        ]
    );
}

#[tokio::test]
async fn a_span_has_no_status_that_was_not_sent() {
    let (shop, kept) = recorded().await;
    let mut socket = shop.connect().await;
    socket
        .write_all(b"GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    shop.gates.until_entered().await;
    drop(socket);
    shop.until_metric(&outcome("client_cancel"), 1.0).await;
    shop.close().await;
    let spans = kept.spans();
    assert_eq!(spans[0].attribute("http.response.status_code"), None);
    let error = spans[0].attribute("error.type").map(ToString::to_string);
    assert_eq!(error.as_deref(), Some("client_cancel"));
}

#[tokio::test]
async fn a_scrape_says_which_spans_were_lost() {
    struct Loses;
    impl Exporter for Loses {
        fn name(&self) -> &'static str {
            "loses"
        }
        fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
            Err(ExportError::new("seeded").only(batch.len() as u64 - 1, 1))
        }
    }
    let builder = Tracer::builder("shop").batch_delay(Duration::from_hours(1));
    let tracer = builder
        .export(Loses)
        .export(Loses)
        .queue_capacity(3)
        .batch_size(3)
        .build()
        .unwrap();
    let shop = Shop::with(Limits::new(), |server| server.tracer(tracer.clone())).await;
    let shown = || {
        let text = shop.registry.to_text();
        let samples = text.lines().filter(|line| line.starts_with("otel_"));
        samples.map(str::to_owned).collect::<Vec<_>>()
    };
    let samples = |queue: [u32; 5], exporter: [u32; 4]| {
        let samples = |name: &'static str, kind: &'static str, error: &'static str, value: u32| {
            [0, 1].map(|index| {
                let labels =
                    format!(r#"otel_component_name="loses/{index}",otel_component_type="{kind}"{error}"#);
                format!("otel_sdk_{name}{{{labels}}} {value}.0")
            })
        };
        let processor = |name, error, value| samples(name, "batching_span_processor", error, value);
        let exporters = |name, error, value| samples(name, "loses", error, value);
        [
            processor("processor_span_queue_size", "", queue[0]),
            processor("processor_span_queue_capacity", "", queue[1]),
            processor("processor_span_processed_total", "", queue[2]),
            processor(
                "processor_span_processed_total",
                r#",error_type="queue_full""#,
                queue[3],
            ),
            processor(
                "processor_span_processed_total",
                r#",error_type="after_shutdown""#,
                queue[4],
            ),
            exporters("exporter_span_inflight", "", exporter[0]),
            exporters("exporter_span_exported_total", "", exporter[1]),
            exporters(
                "exporter_span_exported_total",
                r#",error_type="rejected""#,
                exporter[2],
            ),
            exporters(
                "exporter_span_exported_total",
                r#",error_type="_OTHER""#,
                exporter[3],
            ),
        ]
        .concat()
    };
    let check = |mut expected: Vec<String>| {
        let mut shown = shown();
        shown.sort();
        expected.sort();
        assert_eq!(shown, expected);
    };
    drop(tracer.span("one").start());
    check(samples([1, 3, 0, 0, 0], [0, 0, 0, 0]));
    for _ in 0..2 {
        drop(tracer.span("another").start());
    }
    tracer.shutdown(Duration::from_mins(2)).await.unwrap();
    drop(tracer.span("late").start());
    check(samples([0, 3, 3, 0, 1], [0, 0, 1, 2]));
    shop.close().await;
}

#[tokio::test]
async fn a_panic_is_answered_and_the_connection_lives_on() {
    let shop = Shop::open(Limits::new()).await;
    let answer = shop
        .exchange(
            "GET /panic HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        )
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 500") && answer.contains("application/problem+json"),
        "{answer}"
    );
    assert!(!answer.contains("seeded"), "the message is for the log: {answer}");
    assert!(answer.ends_with("hello"), "{answer}");
    shop.until_metric(&outcome("panic"), 1.0).await;
    shop.until_metric(&series("GET", "/panic", 500), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_body_that_panics_does_not_look_whole() {
    let shop = Shop::open(Limits::new()).await;
    let answer = shop.get("/broken").await;
    assert!(
        answer.contains("first") && !answer.ends_with("0\r\n\r\n"),
        "{answer}"
    );
    shop.until_metric(&outcome("panic"), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_and_its_handler_dropped() {
    let shop = Shop::open(Limits::new()).await;
    let mut socket = shop.connect().await;
    socket
        .write_all(b"GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    shop.gates.until_entered().await;
    drop(socket);
    shop.until_metric(&series("GET", "/stuck", 499), 1.0).await;
    shop.until_metric(&outcome("client_cancel"), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_response_that_nobody_reads_to_its_end_is_counted_as_aborted() {
    let shop = Shop::open(Limits::new()).await;
    let mut socket = shop.connect().await;
    socket
        .write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut some = vec![0; 64 << 10];
    within(socket.read_exact(&mut some)).await.unwrap();
    drop(socket);
    shop.until_metric(&outcome("aborted"), 1.0).await;
    shop.until_metric(&series("GET", "/endless", 200), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn http2_is_served_on_the_same_port() {
    let shop = Shop::open(Limits::new()).await;
    let io = TokioIo::new(shop.connect().await);
    let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..3 {
        let request = http::Request::get("http://test/users/7")
            .body(axum::body::Body::empty())
            .unwrap();
        let response = send.send_request(request).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "7");
    }
    shop.until_metric(&series("GET", "/users/{id}", 200), 3.0).await;
    let report = shop.close().await; // GOAWAY ends the open connection
    within(connection).await.unwrap().unwrap();
    assert_eq!(report.code(), 0);
}

/// A body that does not know its end before it is asked, as those of gRPC.
async fn with_trailers() -> axum::response::Response {
    let trailers = async {
        Some(Ok(http::HeaderMap::from_iter([(
            SUM.clone(),
            http::HeaderValue::from_static("7"),
        )])))
    };
    let unknown_length = StreamBody::new(Once(Some(Bytes::from_static(b"data"))));
    let body = axum::body::Body::new(unknown_length.with_trailers(trailers));
    ([("trailer", SUM.as_str())], body).into_response()
}

static SUM: http::HeaderName = http::HeaderName::from_static("x-sum");

struct Once(Option<Bytes>);

impl futures_core::Stream for Once {
    type Item = Result<Frame<Bytes>, std::convert::Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }
}

#[tokio::test]
async fn trailers_end_a_response() {
    let registry = Registry::default();
    let routes = Routes::new().route("/", get(with_trailers));
    let running = Server::new(routes)
        .metrics(&registry)
        .start("127.0.0.1:0")
        .await
        .unwrap();
    let addr = running.local_addr();

    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.ends_with("data\r\n0\r\nx-sum: 7\r\n\r\n"), "{answer}");

    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://test/")
        .body(axum::body::Body::empty())
        .unwrap();
    let body = send
        .send_request(request)
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    assert_eq!(
        body.trailers().map(|trailers| &trailers[&SUM]),
        Some(&"7".parse().unwrap())
    );
    drop(send);
    within(connection).await.unwrap().unwrap();

    running.shutdown();
    assert_eq!(within(running.join()).await.code(), 0);
    let text = registry.to_text();
    let outcomes = text
        .lines()
        .filter(|line| line.starts_with("http_server_request_outcomes_total{"));
    let seen: Vec<_> = outcomes.filter(|line| !line.ends_with(" 0")).collect();
    assert_eq!(seen, [format!("{} 2", outcome("ok"))]);
}

#[tokio::test]
async fn request_bodies_arrive_whole() {
    let shop = Shop::open(Limits::new()).await;
    let body = "0123456789".repeat(10_000);
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    assert!(shop.exchange(format!("{head}{body}")).await.ends_with(&body));

    let mut socket = shop.connect().await;
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    assert!(
        read_until(&mut socket, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 100")
    );
    socket.write_all(b"ok").await.unwrap();
    assert!(read_to_end(&mut socket).await.ends_with("ok"));
    shop.close().await;
}

#[tokio::test]
async fn an_answer_of_ours_to_head_over_http2_has_no_body() {
    let shop = Shop::open(Limits::new()).await;
    let io = TokioIo::new(shop.connect().await);
    let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    for (method, some) in [("GET", true), ("HEAD", false)] {
        let request = http::Request::builder()
            .method(method)
            .uri("https://shop.example/nowhere");
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = send.send_request(request).await.unwrap();
        assert_eq!(response.status(), 404);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(!body.is_empty(), some, "{method}");
    }
    drop(send);
    within(connection).await.unwrap().unwrap();
    shop.close().await;
}
