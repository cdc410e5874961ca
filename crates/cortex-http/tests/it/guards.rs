//! What stands before the router: admissions, deadlines, bounds; and what answers bear.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::routing::{get, post};
use cortex_core::{Clock, SystemClock};
use cortex_http::{
    Admin, Admission, AdmissionRequest, AdmissionStage, Completion, ConcurrencyLimit, Deadlines, Limits,
    LoadShed, Outcome, Permit, RateLimit, Refused, Routes, SecurityHeaders, Server,
};
use http_body::Body as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::support::{Gates, Shop, read_to_end, read_until, until};

fn outcome(outcome: &str) -> String {
    format!(r#"http_server_request_outcomes_total{{outcome="{outcome}"}}"#)
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

/// Returns the value of a header of the first answer in a text.
fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
}

#[tokio::test]
async fn what_exceeds_the_concurrency_is_refused_at_once_until_there_is_room() {
    let limit = Arc::new(ConcurrencyLimit::fixed(1));
    let shop = Shop::with(Limits::new(), |server| server.admission(Arc::clone(&limit))).await;
    let mut first = shop.connect().await;
    first.write_all(request("/stuck").as_bytes()).await.unwrap();
    shop.gates.until_entered().await;
    assert_eq!(limit.in_flight(), 1);

    // The connection of a request without a body goes on.
    let mut second = shop.connect().await;
    for _ in 0..2 {
        second.write_all(request("/").as_bytes()).await.unwrap();
        let answer = read_until(&mut second, "}").await;
        assert!(
            answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{answer}"
        );
        assert_eq!(header(&answer, "retry-after"), Some("1"));
        assert_eq!(header(&answer, "connection"), None);
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], 503);
        assert_eq!(problem["trace_id"].as_str().unwrap().len(), 32);
    }
    // One whose body nobody reads ends with the answer.
    let answer = shop
        .exchange("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(header(&answer, "connection"), Some("close"));

    shop.gates.release.notify_one();
    read_until(&mut first, "released").await;
    until("there is room", || limit.in_flight() == 0).await;
    assert!(shop.get("/").await.starts_with("HTTP/1.1 200"));
    shop.until_metric(&outcome("shed"), 3.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_request_is_in_flight_until_its_body_was_sent_or_its_client_left() {
    let limit = Arc::new(ConcurrencyLimit::fixed(9));
    let shop = Shop::with(Limits::new(), |server| server.admission(Arc::clone(&limit))).await;
    for (path, seen) in [("/endless", "xxxx"), ("/broken", "first"), ("/panic", "}")] {
        let mut socket = shop.connect().await;
        socket.write_all(request(path).as_bytes()).await.unwrap();
        read_until(&mut socket, seen).await;
        if path == "/endless" {
            assert_eq!(limit.in_flight(), 1);
        }
    }
    let mut socket = shop.connect().await;
    socket.write_all(request("/stuck").as_bytes()).await.unwrap();
    shop.gates.until_entered().await;
    drop(socket);
    until("all places are free", || limit.in_flight() == 0).await;
    shop.close().await;
}

/// Lets all in, and counts what it was told by outcome.
#[derive(Default)]
struct Told {
    ok: AtomicU64,
    other: AtomicU64,
}

impl Admission for Told {
    fn admit(&self, request: &AdmissionRequest<'_>) -> Result<Permit, Refused> {
        assert!(request.peer().is_some() && request.context().trace_id().is_some());
        assert_eq!(
            (request.method().as_str(), request.uri().path(), request.route()),
            ("GET", "/users/7", "/users/{id}")
        );
        Ok(Permit::tracked(7))
    }

    fn release(&self, permit: Permit, completion: &Completion) {
        assert_eq!(permit, Permit::tracked(7));
        let counter = if completion.outcome == Outcome::Ok {
            assert!(completion.latency <= Some(completion.duration) && completion.status == Some(200));
            &self.ok
        } else {
            &self.other
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn stage(&self) -> AdmissionStage {
        AdmissionStage::LoadShed
    }
}

struct Panics;

impl Admission for Panics {
    fn admit(&self, _: &AdmissionRequest<'_>) -> Result<Permit, Refused> {
        panic!("seeded")
    }
}

struct PanicsLater;

impl Admission for PanicsLater {
    fn admit(&self, _: &AdmissionRequest<'_>) -> Result<Permit, Refused> {
        Ok(Permit::tracked(0))
    }

    fn release(&self, _: Permit, _: &Completion) {
        panic!("seeded")
    }
}

#[tokio::test]
async fn an_admission_hears_how_each_request_ended_and_its_panic_is_a_500() {
    let told = Arc::new(Told::default());
    let shop = Shop::with(Limits::new(), |server| {
        server.admission(PanicsLater).admission(Arc::clone(&told))
    })
    .await;
    assert!(shop.get("/users/7").await.ends_with("\r\n\r\n7"));
    shop.until_metric(&outcome("ok"), 1.0).await;
    assert!(shop.get("/users/7").await.ends_with("\r\n\r\n7"));
    until("both are told of", || told.ok.load(Ordering::Relaxed) == 2).await;
    shop.close().await;

    let shop = Shop::with(Limits::new(), |server| {
        server.admission(Panics).admission(Arc::clone(&told))
    })
    .await;
    let answer = shop.get("/users/7").await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(!answer.contains("seeded"));
    shop.until_metric(&outcome("panic"), 1.0).await;
    shop.close().await;
    assert_eq!(told.other.load(Ordering::Relaxed), 1);
}

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_handler_that_hangs_is_dropped_at_the_deadline_and_answered_504() {
    let shop = Shop::with(Limits::new(), |server| {
        server.deadlines(Deadlines::new().limit(SHORT).max(Duration::from_mins(1)))
    })
    .await;
    let mut socket = shop.connect().await;
    for _ in 0..2 {
        socket.write_all(request("/stuck").as_bytes()).await.unwrap();
        let answer = read_until(&mut socket, "}").await;
        assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
        assert_eq!(header(&answer, "content-type"), Some("application/problem+json"));
        assert_eq!(header(&answer, "connection"), None);
    }
    // The handlers are gone: nobody takes what would release them.
    shop.until_metric(&outcome("deadline"), 2.0).await;
    assert_eq!(Arc::strong_count(&shop.gates.release), 2); // the test's and the route's
    // A response that has begun goes on.
    let mut streaming = shop.connect().await;
    let endless = "GET /endless HTTP/1.1\r\nhost: a\r\nx-request-timeout-ms: 60000\r\n\r\n";
    streaming.write_all(endless.as_bytes()).await.unwrap();
    socket.write_all(request("/stuck").as_bytes()).await.unwrap();
    read_until(&mut streaming, "xxxx").await;
    read_until(&mut socket, "}").await;
    read_until(&mut streaming, "xxxx").await;
    drop(streaming);
    shop.close().await;
}

#[tokio::test]
async fn a_client_says_how_long_it_waits_and_the_handler_knows() {
    async fn left() -> String {
        let deadline = cortex_core::Context::current().deadline();
        let left = deadline.map(|deadline| deadline.remaining(SystemClock.now()).as_millis());
        left.map_or("none".into(), |left| left.to_string())
    }
    let routes = || Routes::new().route("/", get(left));
    let ask = async |deadlines: Deadlines, asked: &str| {
        let server = Server::new(routes()).deadlines(deadlines);
        let running = server.start("127.0.0.1:0").await.unwrap();
        let mut socket = TcpStream::connect(running.local_addr()).await.unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-request-timeout-ms: {asked}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        read_to_end(&mut socket).await
    };
    let body = |answer: &str| answer.split("\r\n\r\n").nth(1).unwrap().to_owned();
    let left = |answer: String| body(&answer).parse::<u64>().unwrap();
    assert!((50_000..=60_000).contains(&left(ask(Deadlines::new(), "").await)));
    assert!((20_000..=30_000).contains(&left(ask(Deadlines::new(), "30000").await)));
    assert!((50_000..=60_000).contains(&left(ask(Deadlines::new(), "90000").await)));
    assert_eq!(body(&ask(Deadlines::off(), "30000").await), "none");
    // Its time is up already: the handler does not run.
    assert!(ask(Deadlines::new(), "0").await.starts_with("HTTP/1.1 504"));
}

/// Lets all in, and counts them.
#[derive(Default)]
struct Asked(AtomicU64);

impl Admission for Asked {
    fn admit(&self, request: &AdmissionRequest<'_>) -> Result<Permit, Refused> {
        assert!(request.context().deadline().is_some());
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Permit::untracked())
    }
}

#[tokio::test]
async fn deadlines_that_clients_choose_too_short_take_nothing_from_others() {
    let limit = Arc::new(ConcurrencyLimit::adaptive(1..=64, Duration::from_mins(1)));
    let asked = Arc::new(Asked::default());
    let shop = Shop::with(Limits::new(), |server| {
        server.admission(Arc::clone(&limit)).admission(Arc::clone(&asked))
    })
    .await;
    for _ in 0..2 {
        assert!(shop.get("/").await.starts_with("HTTP/1.1 200"));
        until("the request is over", || limit.in_flight() == 0).await;
    }
    assert_eq!((limit.limit(), asked.0.load(Ordering::Relaxed)), (3, 2));
    let mut socket = shop.connect().await;
    for (wait, before) in [(0, 2), (1, 2), (1, 3)] {
        let request = format!("GET /stuck HTTP/1.1\r\nhost: a\r\nx-request-timeout-ms: {wait}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut socket, "}").await;
        assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
        assert_eq!(
            asked.0.load(Ordering::Relaxed),
            before + u64::from(wait > 0),
            "{wait} ms"
        );
        until("the request is over", || limit.in_flight() == 0).await;
        assert_eq!(limit.limit(), 3, "{wait} ms");
    }
    shop.close().await;
}

/// Says once whether there is a deadline in the context that it is polled in.
struct Says(bool);

impl futures_core::Stream for Says {
    type Item = Result<String, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<Option<Self::Item>> {
        let deadline = cortex_core::Context::current().deadline();
        let last = std::mem::replace(&mut self.0, true);
        Poll::Ready((!last).then(|| Ok(format!("in the body: {}", deadline.is_some()))))
    }
}

#[tokio::test]
async fn the_deadline_is_about_the_head_and_the_body_runs_without_one() {
    let routes = Routes::new().route(
        "/",
        get(async || {
            let deadline = cortex_core::Context::current().deadline();
            let header = [("x-deadline", if deadline.is_some() { "yes" } else { "no" })];
            (header, Body::from_stream(Says(false)))
        }),
    );
    let running = Server::new(routes).start("127.0.0.1:0").await.unwrap();
    for asked in ["", "x-request-timeout-ms: 50000\r\n"] {
        let mut socket = TcpStream::connect(running.local_addr()).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{asked}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut socket).await;
        assert_eq!(header(&answer, "x-deadline"), Some("yes"));
        assert!(answer.contains("in the body: false"), "{answer}");
    }
}

#[tokio::test]
async fn a_grpc_call_is_refused_as_its_client_understands_it() {
    let gates = Gates::default();
    let entered = Arc::clone(&gates.entered);
    let routes = Routes::new()
        .route(
            "/stuck",
            post(async move || {
                entered.notify_one();
                std::future::pending::<()>().await;
            }),
        )
        .route(
            "/panic",
            post(async || {
                assert!(Option::<u8>::None.is_some(), "seeded");
            }),
        );
    let registry = cortex_metrics::Registry::default();
    let by_key =
        RateLimit::new(1, Duration::from_hours(1)).by_key(|request| request.headers().get("x-key").cloned());
    let server = Server::new(routes)
        .metrics(&registry)
        .limits(Limits::new().body_bytes(10))
        .security_headers(SecurityHeaders::new())
        .admission(by_key)
        .admission(Full);
    let running = server.start("127.0.0.1:0").await.unwrap();
    let shop = Shop {
        running,
        registry,
        gates,
    };
    let io = TokioIo::new(shop.connect().await);
    let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let ask = |path: &str, header: (&str, &str), content_type: &str, bytes: usize| {
        let request = http::Request::post(format!("http://a{path}"))
            .header("content-type", content_type)
            .header(header.0, header.1);
        request.body(Body::from("a".repeat(bytes))).unwrap()
    };
    let grpc = "application/grpc+proto";
    for (path, with, bytes, status, message) in [
        (
            "/stuck",
            ("grpc-timeout", "20m"),
            5,
            "4",
            "There was no answer within",
        ),
        (
            "/stuck",
            ("grpc-timeout", "0S"),
            5,
            "4",
            "There was no answer within",
        ),
        ("/stuck", ("x-full", ""), 5, "14", "No room: 100 %25."),
        ("/stuck", ("x", ""), 11, "8", "The body of the request is larger"),
        ("/panic", ("x-key", "a"), 5, "13", "Internal Server Error"),
        ("/panic", ("x-key", "a"), 5, "8", "Too many requests"),
    ] {
        let response = send.send_request(ask(path, with, grpc, bytes)).await.unwrap();
        assert_eq!(response.status(), 200, "{with:?}");
        let headers = response.headers();
        assert_eq!(headers["grpc-status"], status, "{with:?}");
        let said = headers["grpc-message"].to_str().unwrap();
        assert!(said.starts_with(message), "{said}");
        assert_eq!(headers["content-type"], "application/grpc");
        assert_eq!(
            headers.contains_key("grpc-retry-pushback-ms"),
            said.starts_with("No room") || said.starts_with("Too many")
        );
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(http_body::Body::is_end_stream(response.body()), "{with:?}");
    }
    // Others are answered by HTTP, also where they say what only gRPC does.
    let json = ask("/stuck", ("x-full", ""), "application/json", 5);
    let response = send.send_request(json).await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(!response.headers().contains_key("grpc-status"));
    for (kind, count) in [
        ("deadline", 2.0),
        ("shed", 2.0),
        ("too_large", 1.0),
        ("panic", 1.0),
        ("rate_limited", 1.0),
    ] {
        shop.until_metric(&outcome(kind), count).await;
    }
    drop(send);
    shop.close().await;
}

/// Refuses those who ask for it.
struct Full;

impl Admission for Full {
    fn admit(&self, request: &AdmissionRequest<'_>) -> Result<Permit, Refused> {
        if request.headers().contains_key("x-full") {
            return Err(Refused::overloaded().detail("No room: 100 %."));
        }
        Ok(Permit::untracked())
    }
}

#[tokio::test]
async fn who_is_slow_decides_between_408_and_504() {
    let shop = Shop::with(Limits::new(), |server| {
        server.deadlines(Deadlines::new().limit(SHORT))
    })
    .await;
    let slow = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfive!";
    let answer = shop.exchange(slow).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(header(&answer, "connection"), Some("close"));
    shop.until_metric(&outcome("timeout"), 1.0).await;
    // The body is there, and the handler does something else.
    let stuck = "GET /stuck HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nfive!";
    assert!(shop.exchange(stuck).await.starts_with("HTTP/1.1 504"));
    shop.until_metric(&outcome("deadline"), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_handler_that_gives_a_body_up_and_is_slow_then_is_the_slow_one() {
    let gives_up = async |mut body: Body| {
        let take_what_is_there = poll_fn(|cx| {
            while Pin::new(&mut body).poll_frame(cx).is_ready() {}
            Poll::Ready(())
        });
        take_what_is_there.await;
        drop(body); // the client has not sent all of it
        std::future::pending::<()>().await;
    };
    let routes = Routes::new().route("/", post(gives_up));
    let shop = Shop::with_routes(routes, Gates::default(), |server| {
        server.deadlines(Deadlines::new().limit(SHORT))
    })
    .await;
    let slow = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfive!";
    let answer = shop.exchange(slow).await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    shop.until_metric(&outcome("deadline"), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_deadline_of_nothing_does_not_start() {
    let deadlines = Deadlines::new().limit(Duration::ZERO);
    let error = Server::new(Routes::new())
        .deadlines(deadlines)
        .service()
        .unwrap_err();
    assert!(
        error.to_string().contains("allow at least a millisecond"),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_answered_429_and_others_are_served() {
    let by_key = RateLimit::new(2, Duration::from_hours(1)).by_header("x-key".parse().unwrap());
    let shop = Shop::with(Limits::new(), |server| server.admission(by_key)).await;
    let mut socket = shop.connect().await;
    let ask = async |socket: &mut TcpStream, key: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx-key: {key}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(socket, "\r\n\r\n").await;
        let length = header(&answer, "content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.unwrap();
        answer
    };
    for key in ["a", "b"] {
        for _ in 0..2 {
            assert!(ask(&mut socket, key).await.starts_with("HTTP/1.1 200"));
        }
    }
    let answer = ask(&mut socket, "a").await;
    assert!(
        answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
        "{answer}"
    );
    let wait: u64 = header(&answer, "retry-after").unwrap().parse().unwrap();
    assert!((1500..=1800).contains(&wait), "{wait}");
    assert_eq!(header(&answer, "content-type"), Some("application/problem+json"));
    assert!(ask(&mut socket, "c").await.starts_with("HTTP/1.1 200"));
    shop.until_metric(&outcome("rate_limited"), 1.0).await;
    shop.until_metric(&outcome("ok"), 5.0).await;
    shop.close().await;
}

#[tokio::test]
async fn the_metrics_tell_how_full_admissions_are_and_which_refused() {
    let limit = Arc::new(ConcurrencyLimit::fixed(1));
    let rate = |count| RateLimit::new(count, Duration::from_hours(1));
    let shop = Shop::with(Limits::new(), |server| {
        server
            .admission(Arc::clone(&limit))
            .named_admission("everybody", rate(4).by_key(|_| Some(())))
            .admission(rate(3))
            .admission(rate(100))
            .admission(LoadShed::new(&Handle::current(), Duration::from_hours(1)))
    })
    .await;
    let mut socket = shop.connect().await;
    socket.write_all(request("/stuck").as_bytes()).await.unwrap();
    shop.gates.until_entered().await;
    let refused = |name: &str| format!(r#"cortex_admission_refused_total{{admission="{name}"}}"#);
    let occupied = |what: &str| format!(r#"cortex_admission_{what}{{admission="concurrency"}}"#);
    assert_eq!(
        (
            shop.metric(&occupied("in_flight")),
            shop.metric(&occupied("limit"))
        ),
        (1.0, 1.0)
    );
    for status in ["503", "503", "429", "429", "429"] {
        let answer = shop.get("/").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    for (name, count) in [
        ("concurrency", 2.0),
        ("rate_limit", 1.0),
        ("rate_limit_2", 0.0),
        ("everybody", 2.0),
        ("load_shed", 0.0),
    ] {
        assert!(shop.registry.to_text().contains(&refused(name)), "{name}");
        assert_eq!(
            shop.metric(&refused(name)).to_string(),
            count.to_string(),
            "{name}"
        );
    }
    shop.gates.release.notify_one();
    read_until(&mut socket, "released").await;
    until("the place is free", || {
        shop.metric(&occupied("in_flight")).abs() < 0.5
    })
    .await;
    let text = shop.registry.to_text();
    assert_eq!(text.matches("cortex_admission_in_flight{").count(), 1, "{text}");
    shop.close().await;
}

#[tokio::test]
async fn a_key_that_panics_is_a_500_and_a_client_without_one_is_not_limited() {
    let limit = RateLimit::new(1, Duration::from_hours(1)).by_key(|request| {
        assert!(request.route() != "/big", "seeded");
        None::<u8>
    });
    let shop = Shop::with(Limits::new(), |server| server.admission(limit)).await;
    for _ in 0..3 {
        assert!(shop.get("/big").await.starts_with("HTTP/1.1 500"));
        assert!(shop.get("/").await.starts_with("HTTP/1.1 200"));
    }
    shop.close().await;
}

#[tokio::test]
async fn a_late_runtime_sheds_requests_but_no_probe() {
    // Another runtime than that of the service, which can then be late and answer the test.
    let (watched, gate) = (Watched::start(), std::sync::mpsc::channel::<()>());
    let shed = LoadShed::new(&watched.handle, Duration::from_millis(250));
    let shop = Shop::with(Limits::new(), |server| {
        let admin = Admin::bind("127.0.0.1:0");
        server.admission(shed).admin(admin)
    })
    .await;
    let answered = async |status: &str| {
        let line = format!("HTTP/1.1 {status}\r\n");
        let answered = async { while !shop.get("/").await.starts_with(&line) {} };
        tokio::time::timeout(Duration::from_secs(20), answered)
            .await
            .unwrap_or_else(|_| panic!("never answered {status}"));
    };
    answered("200 OK").await;
    let (release, held) = gate;
    watched.handle.spawn(async move { held.recv() }); // which blocks
    answered("503 Service Unavailable").await;
    let admin = shop.running.admin_addr().unwrap();
    for _ in 0..3 {
        let probe = crate::support::get_from(admin, "/livez").await;
        assert!(probe.starts_with("HTTP/1.1 200"), "{probe}");
    }
    drop(release);
    answered("200 OK").await;
    shop.close().await;
}

/// A runtime of one thread, until it is dropped.
struct Watched {
    handle: Handle,
    _running: tokio::sync::oneshot::Sender<()>,
}

impl Watched {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let handle = runtime.handle().clone();
        let (running, ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || runtime.block_on(ended));
        Self {
            handle,
            _running: running,
        }
    }
}

/// Returns the problem that an answer is, whose head must describe it.
fn problem(answer: &str) -> serde_json::Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert_eq!(header(answer, "content-type"), Some("application/problem+json"));
    assert_eq!(header(answer, "cache-control"), Some("no-store"));
    assert_eq!(header(answer, "content-length"), Some(&*body.len().to_string()));
    serde_json::from_str(body).expect("JSON")
}

#[tokio::test]
async fn what_the_router_refuses_without_a_word_is_a_problem() {
    let routes = Routes::new()
        .route("/", get(|| async { "hello" }))
        .route("/bare", get(|| async { http::StatusCode::NOT_FOUND }))
        .route(
            "/said",
            get(|| async { (http::StatusCode::NOT_FOUND, "no such thing") }),
        )
        .route(
            "/typed",
            get(|| async { (http::StatusCode::NOT_FOUND, [("content-type", "text/css")]) }),
        )
        .route("/gone", get(|| async { http::StatusCode::GONE }));
    let running = Server::new(routes).start("127.0.0.1:0").await.unwrap();
    let ask = async |method: &str, path: &str| {
        let mut socket = TcpStream::connect(running.local_addr()).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        read_to_end(&mut socket).await
    };
    for (method, path, status, title) in [
        ("GET", "/nowhere", 404, "Not Found"),
        ("GET", "/bare", 404, "Not Found"),
        ("POST", "/", 405, "Method Not Allowed"),
    ] {
        let answer = ask(method, path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let problem = problem(&answer);
        assert_eq!(
            (&problem["status"], &problem["title"]),
            (&status.into(), &title.into())
        );
        assert_eq!(header(&answer, "allow"), (status == 405).then_some("GET,HEAD"));
    }
    let head = ask("HEAD", "/nowhere").await;
    assert!(
        head.starts_with("HTTP/1.1 404") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(ask("GET", "/said").await.ends_with("\r\n\r\nno such thing"));
    assert_eq!(header(&ask("GET", "/typed").await, "content-length"), Some("0"));
    assert_eq!(header(&ask("GET", "/gone").await, "content-length"), Some("0"));
}

#[tokio::test]
async fn our_own_errors_are_problems() {
    // Only what is never whole has little time.
    let late = Limits::new().header(SHORT);
    let shops = [
        Shop::open(late).await,
        Shop::open(Limits::new().body_bytes(10)).await,
    ];
    for (shop, sent, status) in [
        (&shops[0], "GET / HT", 408),
        (
            &shops[1],
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n",
            413,
        ),
        (
            &shops[1],
            "GET /panic HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            500,
        ),
    ] {
        let answer = shop.exchange(sent).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(problem(&answer)["status"], status);
        assert_eq!(header(&answer, "connection"), Some("close"));
    }
    for shop in shops {
        shop.close().await;
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let shop = Shop::open(Limits::new().body_bytes(10)).await;
    let head = |length: u64| {
        format!("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n")
    };
    assert!(shop.exchange(head(11)).await.starts_with("HTTP/1.1 413"));
    assert!(shop.exchange(head(1 << 60)).await.starts_with("HTTP/1.1 413"));
    let mut socket = shop.connect().await;
    socket.write_all(head(5).as_bytes()).await.unwrap();
    read_until(&mut socket, "HTTP/1.1 100 Continue\r\n\r\n").await;
    socket.write_all(b"hello").await.unwrap();
    assert!(read_until(&mut socket, "hello").await.starts_with("HTTP/1.1 200"));
    shop.close().await;
}

/// Reads a body on past its errors; says how much there was, and how many errors.
async fn stubborn(body: Body) -> (http::StatusCode, String) {
    use http_body_util::BodyExt;
    let (mut body, mut bytes, mut errors) = (body, 0, 0);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, axum::body::Bytes::len),
            Err(_) => errors += 1,
        }
    }
    let ended = http_body::Body::is_end_stream(&body);
    let status = if bytes == 100 { 400 } else { 200 }; // an error is explained by what the body broke
    let status = http::StatusCode::from_u16(status).expect("a status");
    (status, format!("{bytes} bytes, {errors} errors, ended: {ended}"))
}

#[tokio::test]
async fn a_body_that_broke_a_limit_stays_broken() {
    let routes = Routes::new().route("/", post(stubborn));
    let shop = Shop::of(routes, Gates::default(), Limits::new().body_bytes(120)).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |bytes: usize| format!("{bytes:x}\r\n{}\r\n", "a".repeat(bytes));
    for (first, status, said) in [
        (90, "200 OK", "90 bytes, 1 errors, ended: true"),
        (100, "413 Payload Too Large", "larger than allowed"),
    ] {
        let mut socket = shop.connect().await;
        // The second is too much; the third would fit, and is all that there is.
        let sent = format!("{head}{}{}{}0\r\n\r\n", chunk(first), chunk(50), chunk(10));
        socket.write_all(sent.as_bytes()).await.unwrap();
        let answer = read_until(&mut socket, said).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
    }
    shop.close().await;
}

#[tokio::test]
async fn a_limit_for_bodies_that_was_set_is_the_one_of_extractors_too() {
    // What will be refused is not sent: the client would not be read to the end.
    let post = |bytes: usize, sent: usize| {
        let head = format!("POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {bytes}");
        format!("{head}\r\n\r\n{}", "a".repeat(sent))
    };
    let shop = Shop::open(Limits::new()).await;
    let answer = shop.exchange(post(2_200_000, 2_200_000)).await;
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("length limit"),
        "axum's own"
    );
    shop.close().await;
    let shop = Shop::open(Limits::new().body_bytes(4_000_000)).await;
    assert!(
        shop.exchange(post(3_000_000, 3_000_000))
            .await
            .starts_with("HTTP/1.1 200")
    );
    let answer = shop.exchange(post(5_000_000, 0)).await;
    assert_eq!(problem(&answer)["status"], 413);
    shop.close().await;

    let routes = Routes::new()
        .route(
            "/echo",
            axum::routing::post(|body: axum::body::Bytes| async move { body }),
        )
        .map(|router| router.layer(axum::extract::DefaultBodyLimit::max(9)));
    let server = Server::new(routes).limits(Limits::new().body_bytes(4_000_000));
    let running = server.start("127.0.0.1:0").await.unwrap();
    let mut socket = TcpStream::connect(running.local_addr()).await.unwrap();
    socket.write_all(post(10, 10).as_bytes()).await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("length limit"),
        "{answer}"
    );
}

#[tokio::test]
async fn every_answer_bears_the_security_headers_but_for_what_its_handler_says() {
    let framed = async || ([("x-frame-options", "SAMEORIGIN")], "in a frame");
    let routes = Routes::new().route("/", get(framed)).route(
        "/panic",
        get(async || {
            assert!(Option::<u8>::None.is_some(), "seeded");
        }),
    );
    let headers = SecurityHeaders::new().hsts(Duration::from_hours(1));
    let server = Server::new(routes).security_headers(headers);
    let running = server.start("127.0.0.1:0").await.unwrap();
    for (path, status, frames) in [
        ("/", 200, "SAMEORIGIN"),
        ("/panic", 500, "DENY"),
        ("/x", 404, "DENY"),
    ] {
        let answer = crate::support::get_from(running.local_addr(), path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(header(&answer, "x-frame-options"), Some(frames));
        assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"));
        assert_eq!(
            header(&answer, "content-security-policy"),
            Some("frame-ancestors 'none'")
        );
        assert_eq!(header(&answer, "strict-transport-security"), None);
    }
}

#[tokio::test]
async fn an_upgrade_has_no_security_headers() {
    let shop = Shop::with(Limits::new(), |server| {
        server.security_headers(SecurityHeaders::new())
    })
    .await;
    let mut socket = shop.connect().await;
    let head = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let answer = read_until(&mut socket, "\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 101") && header(&answer, "x-frame-options").is_none(),
        "{answer}"
    );
    drop(socket);
    shop.close().await;
}
