//! Streams of events in a drain, over HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::IntoResponse;
use axum::routing::get;
use cortex_http::{Closing, ExitReport, Lifecycle, Routes, Running, Server};
use cortex_metrics::Registry;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::support::within;

const LONG: Duration = Duration::from_secs(20);

/// What is sent into it, and for ever so.
struct Chunks(UnboundedReceiver<&'static str>);

impl futures_core::Stream for Chunks {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .poll_recv(cx)
            .map(|chunk| chunk.map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))))
    }
}

/// An event whenever it is asked. They are long: a client of HTTP/2 takes many short ones for an attack.
struct Endless;

impl futures_core::Stream for Endless {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(Ok(Bytes::from(format!(
            "data: {}\n\n",
            "again ".repeat(2000)
        )))))
    }
}

/// A client of either protocol that holds an open stream.
struct Reader {
    body: hyper::body::Incoming,
    text: String,
}

impl Reader {
    async fn open(running: &Running, http2: bool) -> Self {
        let io = TokioIo::new(
            TcpStream::connect(running.local_addr())
                .await
                .expect("it listens"),
        );
        let request = http::Request::get("http://a/events").header("host", "a");
        let request = request.body(Body::empty()).expect("a valid request");
        let response = if http2 {
            let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                .await
                .expect("a handshake");
            tokio::spawn(connection);
            send.send_request(request).await
        } else {
            let (mut send, connection) = hyper::client::conn::http1::handshake(io)
                .await
                .expect("a handshake");
            tokio::spawn(connection);
            send.send_request(request).await
        };
        let body = response.expect("an answer").into_body();
        Self {
            body,
            text: String::new(),
        }
    }

    /// Reads until that much has come.
    async fn until(&mut self, text: &str) {
        while !self.text.ends_with(text) {
            assert!(
                within(self.next()).await.expect("without a reset"),
                "ended after {:?}",
                self.text
            );
        }
    }

    /// Reads to the end; an error if it is none.
    async fn end(mut self) -> Result<String, hyper::Error> {
        while within(self.next()).await? {}
        Ok(self.text)
    }

    async fn next(&mut self) -> Result<bool, hyper::Error> {
        let frame = tokio::time::timeout(LONG, self.body.frame())
            .await
            .expect("in bounded time");
        let Some(frame) = frame.transpose()? else {
            return Ok(false);
        };
        let data = frame.data_ref().expect("no trailers");
        self.text.push_str(std::str::from_utf8(data).expect("text"));
        Ok(true)
    }
}

fn events(stream: Body) -> impl IntoResponse {
    ([("content-type", "text/event-stream")], stream)
}

/// A service with one stream of events, which sends what it is told.
async fn telling(lifecycle: Lifecycle) -> (Running, UnboundedSender<&'static str>) {
    let (tell, told) = unbounded_channel();
    let told = Arc::new(Mutex::new(Some(told)));
    let handler = move || async move {
        let told = told.lock().expect("nobody panics with it").take();
        events(Body::from_stream(Chunks(told.expect("one request"))))
    };
    let server = Server::new(Routes::new().route("/events", get(handler))).lifecycle(lifecycle);
    (server.start("127.0.0.1:0").await.expect("a free port"), tell)
}

async fn ended(running: Running) -> ExitReport {
    running.shutdown();
    tokio::time::timeout(LONG, running.join())
        .await
        .expect("in bounded time")
}

#[tokio::test]
async fn a_stream_that_waits_between_events_ends_with_the_service() {
    for http2 in [false, true] {
        let (running, tell) = telling(Lifecycle::local().drain_timeout(LONG)).await;
        tell.send("data: 1\n\n").unwrap();
        let mut reader = Reader::open(&running, http2).await;
        reader.until("data: 1\n\n").await;
        let report = ended(running).await;
        assert_eq!((report.code(), report.cut_total), (0, 0), "{report}");
        assert_eq!(reader.end().await.unwrap(), "data: 1\n\n");
        assert!(
            tell.send("data: 2\n\n").is_err(),
            "the handler's stream is dropped"
        );
    }
}

#[tokio::test]
async fn an_event_that_has_begun_is_finished() {
    for http2 in [false, true] {
        let (running, tell) = telling(Lifecycle::local().drain_timeout(LONG)).await;
        tell.send("data: 1\n").unwrap();
        let mut reader = Reader::open(&running, http2).await;
        reader.until("data: 1\n").await;
        running.shutdown();
        let closed = async { while TcpStream::connect(running.local_addr()).await.is_ok() {} };
        tokio::time::timeout(LONG, closed).await.unwrap();
        tell.send("data: more\n").unwrap();
        reader.until("data: more\n").await;
        tell.send("\n").unwrap();
        assert_eq!(reader.end().await.unwrap(), "data: 1\ndata: more\n\n");
        assert_eq!(ended(running).await.code(), 0);
    }
}

#[tokio::test]
async fn a_stream_that_never_waits_ends_after_an_event() {
    for http2 in [false, true] {
        let handler = || async { events(Body::from_stream(Endless)) };
        let server = Server::new(Routes::new().route("/events", get(handler)));
        let running = server.start("127.0.0.1:0").await.unwrap();
        let mut reader = Reader::open(&running, http2).await;
        assert!(reader.next().await.unwrap());
        running.shutdown();
        let text = reader.end().await.unwrap();
        assert!(text.ends_with("again \n\n"), "{}", text.len());
        assert_eq!(ended(running).await.code(), 0);
    }
}

#[tokio::test]
async fn a_handler_has_the_last_word() {
    for http2 in [false, true] {
        let closing = Closing::new();
        let state = closing.clone();
        let handler = move || {
            let (closing, (tell, told)) = (state.clone(), unbounded_channel());
            async move {
                tell.send("data: 1\n\n").expect("it is read");
                let mut last = Box::pin(async move { closing.cancelled().await });
                let mut told = told;
                let mut over = false;
                let stream = Polled(move |cx: &mut Context<'_>| {
                    if let Poll::Ready(chunk) = told.poll_recv(cx) {
                        return Poll::Ready(chunk);
                    }
                    let _open = &tell;
                    if over {
                        return Poll::Ready(None);
                    }
                    std::task::ready!(last.as_mut().poll(cx));
                    over = true;
                    Poll::Ready(Some("event: bye\ndata:\n\n"))
                });
                events(Body::from_stream(stream))
            }
        };
        let server = Server::new(Routes::new().route("/events", get(handler))).closing(&closing);
        let running = server.start("127.0.0.1:0").await.unwrap();
        let mut reader = Reader::open(&running, http2).await;
        reader.until("data: 1\n\n").await;
        running.shutdown();
        let text = reader.end().await.unwrap();
        assert_eq!(text, "data: 1\n\nevent: bye\ndata:\n\n");
        assert_eq!(ended(running).await.code(), 0);
    }
}

/// A stream of a closure.
struct Polled<F>(F);

impl<F> futures_core::Stream for Polled<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<&'static str>> + Unpin,
{
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        (self.0)(cx).map(|chunk| chunk.map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))))
    }
}

#[tokio::test]
async fn who_does_not_want_that_is_cut_at_the_end() {
    for http2 in [false, true] {
        let lifecycle = Lifecycle::local().drain_timeout(Duration::from_millis(50));
        let (running, tell) = telling(lifecycle.end_event_streams(false)).await;
        tell.send("data: 1\n\n").unwrap();
        let mut reader = Reader::open(&running, http2).await;
        reader.until("data: 1\n\n").await;
        let report = ended(running).await;
        assert_eq!((report.code(), report.cut_total), (3, 1), "{report}");
        assert_eq!((&*report.cut[0].route, report.cut[0].bytes), ("/events", 9));
        assert!(reader.end().await.is_err());
    }
}

/// Its request has ended, as all of the answer was handed over; the client has taken a part of it.
#[tokio::test]
async fn an_answer_that_is_on_its_way_is_cut_and_named() {
    const SIZE: usize = 64 << 20;
    for http2 in [false, true] {
        let registry = Registry::default();
        let large = Bytes::from(vec![b'.'; SIZE]);
        let handler = move || std::future::ready(([("content-type", "image/png")], large.clone()));
        let server = Server::new(Routes::new().route("/events", get(handler)))
            .metrics(&registry)
            .lifecycle(Lifecycle::local().drain_timeout(Duration::from_millis(50)));
        let running = server.start("127.0.0.1:0").await.unwrap();
        let mut reader = Reader::open(&running, http2).await;
        assert!(reader.next().await.unwrap());
        while !registry.to_text().contains("\nhttp_server_active_requests 0\n") {
            tokio::task::yield_now().await;
        }
        let report = ended(running).await;
        assert_eq!((report.code(), report.cut_total), (3, 1), "{http2}: {report}");
        let cut = &report.cut[0];
        assert_eq!(
            (cut.method, &*cut.route, cut.bytes),
            ("GET", "/events", SIZE as u64)
        );
        assert!(reader.end().await.is_err());
    }
}
