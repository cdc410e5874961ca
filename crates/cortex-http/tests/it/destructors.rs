//! What a handler and its body hold is dropped under the request's context, however the request ends.
#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::routing::get;
use cortex_http::{Routes, Running, Server};
use cortex_trace::propagation::Baggage;
use futures_core::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::support::{LONG, read_to_end, within};

const HEADERS: &str =
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nbaggage: a=1\r\n";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736 a=1";

/// Tells under which trace and which baggage it is made and dropped.
struct Witness(UnboundedSender<String>);

impl Witness {
    fn new(events: UnboundedSender<String>) -> Self {
        let this = Self(events);
        this.tell("made");
        this
    }

    fn tell(&self, event: &str) {
        let trace = cortex_core::Context::current().trace_id();
        let trace = trace.map_or_else(String::new, |trace| trace.to_string());
        let _ = self.0.send(format!("{event} {trace} {}", Baggage::current()));
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.tell("dropped");
    }
}

/// Sends so many chunks.
struct Chunks {
    left: usize,
    _witness: Witness,
}

impl Stream for Chunks {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Bytes::from_static(&[b'x'; 16 << 10]))))
    }
}

fn throw(witness: Witness) -> &'static str {
    std::panic::panic_any(witness)
}

struct Service {
    running: Running,
    events: UnboundedReceiver<String>,
}

impl Service {
    async fn open() -> Self {
        let (sender, events) = unbounded_channel();
        let witness = move || Witness::new(sender.clone());
        let [waits, panics, streams, endless] = [(); 4].map(|()| witness.clone());
        let chunks = |left, witness| {
            Body::from_stream(Chunks {
                left,
                _witness: witness,
            })
        };
        let routes = Routes::new()
            .route(
                "/waits",
                get(async move || {
                    let _witness = waits();
                    std::future::pending::<()>().await;
                }),
            )
            .route(
                "/panics",
                get(async move || {
                    let _witness = panics();
                    tokio::task::yield_now().await;
                    throw(panics())
                }),
            )
            .route("/streams", get(async move || chunks(3, streams())))
            .route("/endless", get(async move || chunks(usize::MAX, endless())));
        let running = Server::new(routes).start("127.0.0.1:0").await.unwrap();
        Self { running, events }
    }

    async fn send(&self, method: &str, path: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.running.local_addr()).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{HEADERS}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }

    async fn expect(&mut self, event: &str) {
        let next = tokio::time::timeout(LONG, self.events.recv()).await;
        let seen = next
            .expect("in bounded time")
            .expect("the handlers hold a sender");
        assert_eq!(seen, format!("{event} {TRACE}"));
    }

    async fn close(self) {
        self.running.shutdown();
        within(self.running.join()).await;
    }
}

#[tokio::test]
async fn a_handler_whose_client_left() {
    let mut service = Service::open().await;
    let socket = service.send("GET", "/waits").await;
    service.expect("made").await;
    drop(socket);
    service.expect("dropped").await;
    service.close().await;
}

#[tokio::test]
async fn a_handler_that_is_cut() {
    let mut service = Service::open().await;
    let _socket = service.send("GET", "/waits").await;
    service.expect("made").await;
    service.running.kill();
    service.expect("dropped").await;
    service.close().await;
}

#[tokio::test]
async fn a_handler_that_panicked_and_what_it_threw() {
    let mut service = Service::open().await;
    let mut socket = service.send("GET", "/panics").await;
    for event in ["made", "made", "dropped", "dropped"] {
        service.expect(event).await;
    }
    let answer = read_to_end(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    service.close().await;
}

#[tokio::test]
async fn a_body_that_nobody_reads_to_its_end() {
    let mut service = Service::open().await;
    let mut socket = service.send("GET", "/endless").await;
    let mut some = vec![0; 64 << 10];
    within(socket.read_exact(&mut some)).await.unwrap();
    service.expect("made").await;
    drop(socket);
    service.expect("dropped").await;
    service.close().await;
}

#[tokio::test]
async fn a_body_that_was_sent_and_one_that_is_never_asked() {
    let mut service = Service::open().await;
    for method in ["GET", "HEAD"] {
        let mut socket = service.send(method, "/streams").await;
        let answer = read_to_end(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        service.expect("made").await;
        service.expect("dropped").await;
    }
    service.close().await;
}

/// A body of one chunk whose destructor has a bug.
struct PanicsAtTheEnd(Option<Bytes>);

impl Stream for PanicsAtTheEnd {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

impl Drop for PanicsAtTheEnd {
    fn drop(&mut self) {
        panic!("a bug of the destructor")
    }
}

#[tokio::test]
async fn one_that_panics_does_not_end_the_connection() {
    let body = || Body::from_stream(PanicsAtTheEnd(Some(Bytes::from_static(b"whole"))));
    let routes = Routes::new().route("/", get(async move || body()));
    let running = Server::new(routes).start("127.0.0.1:0").await.unwrap();
    let mut socket = TcpStream::connect(running.local_addr()).await.unwrap();
    for connection in ["keep-alive", "close"] {
        let request = format!("GET / HTTP/1.1\r\nhost: test\r\nconnection: {connection}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let (mut answer, mut byte) = (String::new(), [0]);
        while !answer.ends_with("\r\n0\r\n\r\n") {
            assert_eq!(within(socket.read(&mut byte)).await.unwrap(), 1, "{answer}");
            answer.push(char::from(byte[0]));
        }
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("whole"),
            "{answer}"
        );
    }
    running.shutdown();
    assert_eq!(within(running.join()).await.code(), 0);
}
