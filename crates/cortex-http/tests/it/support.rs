#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::routing::{get, post};
use cortex_http::{Limits, Routes, Running, Server};
use cortex_metrics::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// How long a test waits for what only a defect keeps from happening, also on a machine that is busy.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// A service whose handlers do what the tests need.
pub(crate) struct Shop {
    pub(crate) running: Running,
    pub(crate) registry: Registry,
    pub(crate) gates: Gates,
}

/// What handlers tell the tests, and wait for.
#[derive(Clone, Default)]
pub(crate) struct Gates {
    pub(crate) entered: Arc<Notify>,
    pub(crate) release: Arc<Notify>,
}

impl Gates {
    /// Waits until a handler is there.
    pub(crate) async fn until_entered(&self) {
        within(self.entered.notified()).await;
    }
}

pub(crate) fn routes(gates: &Gates) -> Routes {
    let waiting = gates.clone();
    Routes::new()
        .route("/", get(|| async { "hello" }))
        .route(
            "/big",
            get(|| async { ([("content-type", "text/plain")], "again and ".repeat(1000)) }),
        )
        .route("/tagged", get(tagged))
        .route("/users/{id}", get(|Path(id): Path<String>| async move { id }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/panic", get(panics))
        .route(
            "/trace",
            get(|| async { format!("{:?}", cortex_core::Context::current().trace_id()) }),
        )
        .route("/logs", get(logs))
        .route("/upgrade", get(upgrade))
        .route("/late", post(late))
        .route("/stuck", get(move || wait(waiting.clone())))
        .route("/endless", get(|| async { Body::from_stream(Endless) }))
        .route("/broken", get(|| async { Body::from_stream(PanicsLater(0)) }))
}

/// Has an entity tag, and compares as a handler does that knows nothing of codings.
async fn tagged(headers: http::HeaderMap) -> axum::response::Response {
    let held = headers.get("if-none-match").is_some_and(|held| held == "\"v1\"");
    let response = axum::response::Response::builder().header("etag", "\"v1\"");
    if held {
        return response.status(304).body(Body::empty()).unwrap();
    }
    let response = response.header("content-type", "text/plain");
    response.body(Body::from("again and ".repeat(1000))).unwrap()
}

/// Speaks another protocol after the head: sends back what it receives.
async fn upgrade(mut request: axum::extract::Request) -> axum::response::Response {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = hyper_util::rt::TokioIo::new(upgraded.await.unwrap());
        let mut four = [0; 4];
        while io.read_exact(&mut four).await.is_ok() {
            io.write_all(&four).await.unwrap();
        }
    });
    let response = axum::response::Response::builder().status(101);
    response
        .header("connection", "upgrade")
        .header("upgrade", "echo")
        .body(Body::empty())
        .unwrap()
}

/// Answers, and goes on reading the body.
async fn late(body: Body) -> &'static str {
    tokio::spawn(axum::body::to_bytes(body, 1 << 20));
    "later"
}

async fn logs() -> &'static str {
    tracing::info!(shelf = 7, "looked");
    tracing::error!("out of stock");
    "sorry"
}

async fn panics() -> &'static str {
    panic!("seeded")
}

async fn wait(gates: Gates) -> &'static str {
    gates.entered.notify_one();
    gates.release.notified().await;
    "released"
}

/// Sends a chunk whenever it is asked.
struct Endless;

impl futures_core::Stream for Endless {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(Some(Ok(Bytes::from_static(&[b'x'; 16 << 10]))))
    }
}

/// Sends a chunk, pauses so that it is flushed, and panics.
struct PanicsLater(u8);

impl futures_core::Stream for PanicsLater {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0 += 1;
        match self.0 {
            1 => std::task::Poll::Ready(Some(Ok(Bytes::from_static(b"first")))),
            2..=8 => {
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            }
            _ => panic!("seeded"),
        }
    }
}

impl Shop {
    pub(crate) async fn open(limits: Limits) -> Self {
        Self::with(limits, |server| server).await
    }

    /// Opens one with routes of a test's own.
    pub(crate) async fn of(routes: Routes, gates: Gates, limits: Limits) -> Self {
        Self::with_routes(routes, gates, |server| server.limits(limits)).await
    }

    pub(crate) async fn with(limits: Limits, change: impl FnOnce(Server) -> Server) -> Self {
        let gates = Gates::default();
        Self::with_routes(routes(&gates), gates, |server| change(server.limits(limits))).await
    }

    pub(crate) async fn with_routes(
        routes: Routes,
        gates: Gates,
        change: impl FnOnce(Server) -> Server,
    ) -> Self {
        let registry = Registry::default();
        let server = change(Server::new(routes).metrics(&registry));
        let running = server.start("127.0.0.1:0").await.unwrap();
        Self {
            running,
            registry,
            gates,
        }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.running.local_addr()).await.unwrap()
    }

    /// Sends bytes, and returns all that comes back until the server closes.
    pub(crate) async fn exchange(&self, sent: impl AsRef<[u8]>) -> String {
        let mut socket = self.connect().await;
        socket.write_all(sent.as_ref()).await.unwrap();
        read_to_end(&mut socket).await
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        get_from(self.running.local_addr(), path).await
    }

    /// Returns the value of a sample, 0 if there is none.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        let text = self.registry.to_text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a sample has a value; a request ends a moment after its client has read the response.
    pub(crate) async fn until_metric(&self, sample: &str, value: f64) {
        let reached = async {
            while self.metric(sample) < value {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, reached).await.unwrap_or_else(|_| {
            let text = self.registry.to_text();
            panic!("{sample} did not reach {value}:\n{text}")
        });
    }

    /// Drains, and checks that no request is left in the gauge.
    pub(crate) async fn close(self) -> cortex_http::ExitReport {
        self.running.shutdown();
        let report = within(self.running.join()).await;
        let text = self.registry.to_text();
        assert!(text.contains("http_server_active_requests 0\n"), "{text}");
        assert!(text.contains("http_server_active_connections 0\n"), "{text}");
        report
    }
}

/// Waits until something is so, for a bounded time.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let reached = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(LONG, reached).await;
    assert!(waited.is_ok(), "it did not come to be that {what}");
}

/// Waits for what only a defect keeps from happening.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(LONG, future).await;
    waited.expect("it happens in bounded time")
}

/// Waits until nobody listens there. A process that another test starts has copies of all sockets for a moment, until its
/// program runs.
pub(crate) async fn until_refused(addr: SocketAddr) {
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
}

pub(crate) async fn get_from(addr: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    read_to_end(&mut socket).await
}

pub(crate) async fn read_to_end(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(LONG, socket.read_to_end(&mut bytes)).await;
    read.expect("the server closes the connection in bounded time")
        .expect("without a reset");
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) async fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let read = async {
        let mut text = String::new();
        while !text.ends_with(end) {
            text.push(char::from(socket.read_u8().await.unwrap()));
        }
        text
    };
    within(read).await
}
