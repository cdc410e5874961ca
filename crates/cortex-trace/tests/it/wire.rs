//! The layers around real connections of hyper, HTTP/1 and HTTP/2.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use cortex_core::Context;
use cortex_trace::layer::{TraceClientLayer, TraceServerLayer};
use cortex_trace::{SpanData, SpanKind, Tracer};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, channel::Channel};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::Fixture;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    Http1,
    Http2,
}

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// A client's half of a connection, as a service.
#[derive(Clone)]
enum Connection {
    Http1(std::sync::Arc<tokio::sync::Mutex<hyper::client::conn::http1::SendRequest<Empty<Bytes>>>>),
    Http2(hyper::client::conn::http2::SendRequest<Empty<Bytes>>),
}

impl Service<Request<Empty<Bytes>>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<hyper::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            match this {
                Self::Http1(sender) => {
                    let mut sender = sender.lock_owned().await;
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Self::Http2(mut sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        })
    }
}

/// A server with the layer around `handler`, and a client with the layer, joined in memory.
struct Pair<C> {
    client: C,
    serving: JoinHandle<hyper::Result<()>>,
    calling: JoinHandle<()>,
}

async fn pair<H, F>(
    protocol: Protocol,
    tracer: &Tracer,
    handler: H,
) -> Pair<cortex_trace::layer::TraceClient<Connection>>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(1 << 16);
    let handler = service_fn(move |request| {
        let answer = handler(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let service = TowerToHyperService::new(TraceServerLayer::new(tracer.clone()).layer(handler));
    let serving = tokio::spawn(async move {
        let io = TokioIo::new(far);
        match protocol {
            Protocol::Http1 => {
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service)
                    .await
            }
            Protocol::Http2 => {
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(io, service)
                    .await
            }
        }
    });
    let io = TokioIo::new(near);
    let (connection, calling) = match protocol {
        Protocol::Http1 => {
            let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            let task = tokio::spawn(async { drop(connection.await) });
            (
                Connection::Http1(std::sync::Arc::new(tokio::sync::Mutex::new(sender))),
                task,
            )
        }
        Protocol::Http2 => {
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
            let (sender, connection) = handshake.await.unwrap();
            let task = tokio::spawn(async { drop(connection.await) });
            (Connection::Http2(sender), task)
        }
    };
    Pair {
        client: TraceClientLayer::new(tracer.clone()).layer(connection),
        serving,
        calling,
    }
}

impl<C> Pair<C> {
    /// Hangs up, and waits until the server has noticed.
    async fn hang_up(self) {
        drop(self.client);
        self.calling.abort();
        let _ = self.calling.await;
        let _ = self.serving.await;
    }
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    let uri = format!("http://stock.internal{path}");
    let request = Request::get(uri).header("host", "stock.internal");
    request.body(Empty::new()).unwrap()
}

fn text(text: &'static str) -> Answer {
    Response::new(Full::from(text).map_err(|never| match never {}).boxed())
}

/// The finished spans, as they come.
struct Ended<'a> {
    fixture: &'a Fixture,
    waiting: Vec<SpanData>,
}

impl<'a> Ended<'a> {
    fn of(fixture: &'a Fixture) -> Self {
        let waiting = Vec::new();
        Self { fixture, waiting }
    }

    /// Waits for the next span of this kind.
    async fn next(&mut self, kind: SpanKind) -> SpanData {
        loop {
            self.waiting.extend(self.fixture.ended());
            if let Some(at) = self.waiting.iter().position(|span| span.kind == kind) {
                return self.waiting.remove(at);
            }
            tokio::task::yield_now().await; // to the connections
        }
    }
}

fn of_kind(spans: &[SpanData], kind: SpanKind) -> Vec<&SpanData> {
    spans.iter().filter(|span| span.kind == kind).collect()
}

fn attribute(span: &SpanData, key: &str) -> String {
    span.attribute(key).map_or("-".to_owned(), ToString::to_string)
}

fn end(span: &SpanData) -> (String, String) {
    (
        attribute(span, "http.response.status_code"),
        attribute(span, "error.type"),
    )
}

fn is(status: &str, error: &str) -> (String, String) {
    (status.to_owned(), error.to_owned())
}

#[tokio::test]
async fn one_trace_across_three_processes() {
    for protocol in BOTH {
        let fixture = Fixture::new();
        let stock = pair(protocol, &fixture.tracer, async |_| text("seven")).await;
        let upstream = stock.client.clone();
        let tracer = fixture.tracer.clone();
        let shop = pair(protocol, &fixture.tracer, move |_| {
            let (upstream, tracer) = (upstream.clone(), tracer.clone());
            async move {
                tracer.span("look up").start().in_scope(|| ());
                let response = upstream.oneshot(request("/stock/7")).await.unwrap();
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "seven");
                text("here")
            }
        })
        .await;
        let root = fixture.tracer.span("browse").start();
        let call = root.in_scope(|| shop.client.clone().oneshot(request("/items/7?page=2")));
        // `oneshot` calls when it is polled: so the context has to be there, too.
        let response = cortex_core::FutureExt::with_context(call, root.context())
            .await
            .unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "here");
        let root_id = root.context().span_id();
        drop(root);
        shop.hang_up().await;
        stock.hang_up().await;

        let spans = fixture.ended();
        assert_eq!(spans.len(), 6, "{spans:?}");
        assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id));
        let child_of = |parent: Option<cortex_core::SpanId>, kind| {
            let mut of_parent = of_kind(&spans, kind);
            of_parent.retain(|span| span.parent_span_id == parent);
            assert_eq!(
                of_parent.len(),
                1,
                "{protocol:?} {kind:?} below {parent:?}: {spans:?}"
            );
            of_parent[0]
        };
        let first_call = child_of(root_id, SpanKind::Client);
        let shop = child_of(Some(first_call.span_id), SpanKind::Server);
        let look_up = child_of(Some(shop.span_id), SpanKind::Internal);
        let second_call = child_of(Some(shop.span_id), SpanKind::Client);
        let stock = child_of(Some(second_call.span_id), SpanKind::Server);
        assert!(!look_up.parent_is_remote && shop.parent_is_remote && stock.parent_is_remote);
        let version = if protocol == Protocol::Http1 { "1.1" } else { "2" };
        for span in [first_call, shop, second_call, stock] {
            assert_eq!(end(span), is("200", "-"), "{protocol:?}");
            assert_eq!(attribute(span, "network.protocol.version"), version);
            assert_eq!(attribute(span, "server.address"), "stock.internal", "{span:?}");
        }
        assert_eq!(attribute(shop, "url.path"), "/items/7");
        assert_eq!(attribute(shop, "url.query"), "page=2");
        assert_eq!(
            attribute(first_call, "url.full"),
            "http://stock.internal/items/7?page=2"
        );
    }
}

#[tokio::test]
async fn streams_end_when_their_last_frame_is_out() {
    for protocol in BOTH {
        let fixture = Fixture::new();
        let mut ended = Ended::of(&fixture);
        let pair = pair(protocol, &fixture.tracer, async |request: Request<Incoming>| {
            let path = request.uri().path().to_owned();
            let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
            tokio::spawn(async move {
                sender.send_data(Bytes::from_static(b"abc")).await.unwrap();
                sender.send_data(Bytes::from_static(b"de")).await.unwrap();
                if path == "/trailers" {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    sender.send_trailers(trailers).await.unwrap();
                }
                if path == "/failing" {
                    sender.abort(io::Error::other("broken"));
                }
            });
            let mut response = Response::new(body.boxed());
            match request.uri().path() {
                "/length" => drop(
                    response
                        .headers_mut()
                        .insert("content-length", "5".parse().unwrap()),
                ),
                "/trailers" => drop(
                    response
                        .headers_mut()
                        .insert("trailer", "grpc-status".parse().unwrap()),
                ),
                _ => {}
            }
            response
        })
        .await;
        for (path, as_recorded) in [
            ("/length", is("200", "-")),
            ("/chunked", is("200", "-")),
            ("/trailers", is("200", "-")),
            ("/failing", is("200", "aborted")),
        ] {
            let mut request = request(path);
            request.headers_mut().insert("te", "trailers".parse().unwrap());
            let response = pair.client.clone().oneshot(request).await.unwrap();
            let call = ended.next(SpanKind::Client).await; // it ends with the head
            assert_eq!(end(&call), is("200", "-"));
            let body = response.into_body().collect().await;
            assert_eq!(body.is_ok(), path != "/failing", "{protocol:?} {path}");
            if path == "/trailers" && protocol == Protocol::Http2 {
                assert!(body.unwrap().trailers().is_some());
            }
            let span = ended.next(SpanKind::Server).await;
            assert_eq!(
                (attribute(&span, "url.path"), end(&span)),
                (path.to_owned(), as_recorded),
                "{protocol:?}"
            );
        }
        pair.hang_up().await;
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_cancels_both_sides() {
    for protocol in BOTH {
        let fixture = Fixture::new();
        let mut ended = Ended::of(&fixture);
        let (arrived, arrival) = oneshot::channel();
        let arrived = std::sync::Arc::new(std::sync::Mutex::new(Some(arrived)));
        let pair = pair(protocol, &fixture.tracer, move |_| {
            let arrived = arrived.lock().unwrap().take().unwrap();
            async move {
                arrived.send(Context::current()).unwrap();
                pending().await
            }
        })
        .await;
        let call = tokio::spawn(pair.client.clone().oneshot(request("/slow")));
        let inside = arrival.await.unwrap();
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        let client = ended.next(SpanKind::Client).await;
        assert_eq!(end(&client), is("-", "-"), "{protocol:?}");
        assert!(!client.status.is_error());
        pair.hang_up().await;
        let server = ended.next(SpanKind::Server).await;
        assert_eq!(end(&server), is("-", "cancelled"), "{protocol:?}");
        assert_eq!(inside.span_id(), Some(server.span_id));
        assert_eq!(server.parent_span_id, Some(client.span_id));
    }
}

#[tokio::test]
async fn a_caller_that_leaves_amid_the_body_cancels_the_server() {
    /// Never ends.
    struct Endless;
    impl Body for Endless {
        type Data = Bytes;
        type Error = io::Error;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Task<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1024])))))
        }
    }
    for protocol in BOTH {
        let fixture = Fixture::new();
        let mut ended = Ended::of(&fixture);
        let pair = pair(protocol, &fixture.tracer, async |_| {
            Response::new(Endless.boxed())
        })
        .await;
        let response = pair.client.clone().oneshot(request("/endless")).await.unwrap();
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert_eq!(end(&ended.next(SpanKind::Client).await), is("200", "-"));
        drop(body);
        pair.hang_up().await;
        assert_eq!(
            end(&ended.next(SpanKind::Server).await),
            is("200", "cancelled"),
            "{protocol:?}"
        );
    }
}

#[tokio::test]
async fn a_panic_in_a_handler_is_recorded_on_both_sides() {
    for protocol in BOTH {
        let fixture = Fixture::new();
        let mut ended = Ended::of(&fixture);
        let pair = pair(protocol, &fixture.tracer, async |_| {
            std::panic::resume_unwind(Box::new("scripted"))
        })
        .await;
        let call = tokio::spawn(pair.client.clone().oneshot(request("/panic")));
        assert_eq!(
            end(&ended.next(SpanKind::Server).await),
            is("-", "panic"),
            "{protocol:?}"
        );
        assert!(call.await.unwrap().is_err());
        assert_eq!(
            end(&ended.next(SpanKind::Client).await),
            is("-", "_OTHER"),
            "{protocol:?}"
        );
        pair.hang_up().await;
    }
}

#[tokio::test]
async fn the_client_of_hyper_util_is_traced_over_tcp() {
    let fixture = Fixture::new();
    let mut ended = Ended::of(&fixture);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handler = service_fn(async |request: Request<Incoming>| {
        assert_eq!(request.headers().get_all("traceparent").iter().count(), 1);
        Ok::<_, Infallible>(text("hello"))
    });
    let service = TowerToHyperService::new(TraceServerLayer::new(fixture.tracer.clone()).layer(handler));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        drop(connection.await);
    });
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let client = TraceClientLayer::new(fixture.tracer.clone()).layer(client);
    let request = Request::get(format!("http://{address}/hello"));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = client.clone().oneshot(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    let call = ended.next(SpanKind::Client).await;
    let served = ended.next(SpanKind::Server).await;
    assert_eq!(served.parent_span_id, Some(call.span_id));
    assert_eq!(attribute(&call, "server.port"), address.port().to_string());

    // Nobody listens on a port that was just given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let refused = Request::get(format!("http://{free}/"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    assert!(client.oneshot(refused).await.is_err());
    assert_eq!(end(&ended.next(SpanKind::Client).await), is("-", "_OTHER"));
}
