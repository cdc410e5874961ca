//! The tower layers around services that do what they are told.

use std::collections::VecDeque;
use std::fmt::Write;
use std::future::{Ready, pending, poll_fn, ready};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use cortex_core::{Context, Flags, FutureExt};
use cortex_testkit::Recorder;
use cortex_trace::layer::{
    ErrorType, ResendCount, ResponseBody, Route, SpanHandle, TraceClientLayer, TraceServerLayer,
};
use cortex_trace::{AlwaysOff, AlwaysOn, ParentBased, Rules, SpanData, Status, Tracer};
use expect_test::{Expect, expect};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Fixture, block_on};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// A body that does what it is told, a step per poll.
#[derive(Debug, Default)]
struct Script {
    steps: VecDeque<Step>,
    /// Whether it knows its end without being asked.
    knows_end: bool,
    exact: Option<u64>,
    /// Who was current at each poll and at the drop.
    seen: Witness,
}

/// Tells who is current when it is dropped.
#[derive(Debug, Default)]
struct Witness(Recorder<Context>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.record(Context::current());
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Data(&'static str),
    Trailers,
    Pending,
    Fail,
    Panic,
}

impl Script {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.seen.0.record(Context::current());
        match self.steps.pop_front() {
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data.into())))),
            Some(Step::Trailers) => Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new())))),
            Some(Step::Pending) => Poll::Pending,
            Some(Step::Fail) => Poll::Ready(Some(Err(io::Error::other("broken")))),
            Some(Step::Panic) => silent_panic(),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.knows_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Unwinds without a message on stderr.
fn silent_panic() -> ! {
    resume_unwind(Box::new("scripted"))
}

fn panics<R>(work: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_err()
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Task::from_waker(Waker::noop()))
}

fn poll_frame(body: &mut ResponseBody<Script>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
    Pin::new(body).poll_frame(&mut Task::from_waker(Waker::noop()))
}

type Answer = Result<Response<Script>, io::Error>;

/// A service that answers once, at once.
fn answering(
    answer: Answer,
) -> impl Service<Request<()>, Response = Response<Script>, Error = io::Error, Future = Ready<Answer>> {
    let mut answer = Some(answer);
    service_fn(move |_: Request<()>| ready(answer.take().unwrap()))
}

impl Fixture {
    fn server_layer(&self) -> TraceServerLayer {
        TraceServerLayer::new(self.tracer.clone())
    }

    fn client_layer(&self) -> TraceClientLayer {
        TraceClientLayer::new(self.tracer.clone())
    }

    fn serve(&self, request: Request<()>, response: Response<Script>) -> Response<ResponseBody<Script>> {
        let mut service = self.server_layer().layer(answering(Ok(response)));
        block_on(service.call(request)).unwrap()
    }
}

fn response(status: u16, body: Script) -> Response<Script> {
    Response::builder().status(status).body(body).unwrap()
}

/// `Server GET 200 Unset`, or with its error.
fn end(span: &SpanData) -> String {
    let attribute = |key| span.attribute(key).map_or("-".to_owned(), ToString::to_string);
    let (status, error) = (attribute("http.response.status_code"), attribute("error.type"));
    assert_eq!(span.status.is_error(), error != "-", "{span:?}");
    format!("{status} {error}")
}

fn check(span: &SpanData, expected: &Expect) {
    let mut shown = format!(
        "{:?} {} {:?} {:?}\n",
        span.kind,
        span.name,
        span.duration(),
        span.status
    );
    for attribute in &span.attributes {
        writeln!(shown, "  {} = {}", attribute.key, attribute.value).unwrap();
    }
    expected.assert_eq(&shown);
}

// ---------------------------------------------------------------------------------------------------- the server side

#[test]
fn what_a_server_records() {
    let fixture = Fixture::new();
    let service = fixture
        .server_layer()
        .layer(service_fn(async |request: Request<()>| {
            fixture.clock.advance(Duration::from_millis(5));
            let span = request.extensions().get::<SpanHandle>().unwrap();
            assert_eq!(span.context(), Context::current());
            assert!(span.is_recording());
            span.set_route("/items/{id}");
            span.set_attribute("cart.items", 3);
            Ok::<_, io::Error>(response(503, Script::new([Step::Data("sorry")])))
        }));
    let request = Request::get("https://shop.example:8443/items/7?sig=secret")
        .version(Version::HTTP_2)
        .header("traceparent", CALLER)
        .header("user-agent", "curl")
        .body(())
        .unwrap();
    let mut body = block_on(service.oneshot(request)).unwrap().into_body();
    assert!(poll_frame(&mut body).is_ready());
    fixture.clock.advance(Duration::from_millis(2));
    assert!(fixture.ended().is_empty());
    assert!(matches!(poll_frame(&mut body), Poll::Ready(None)));
    let span = fixture.one();
    assert_eq!(span.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(span.parent_span_id.unwrap().to_string(), "00f067aa0ba902b7");
    assert!(span.parent_is_remote);
    check(
        &span,
        &expect![[r#"
        Server GET /items/{id} 7ms Error { description: "" }
          http.request.method = GET
          url.path = /items/7
          url.query = sig=REDACTED
          user_agent.original = curl
          server.address = shop.example
          server.port = 8443
          url.scheme = https
          network.protocol.version = 2
          cart.items = 3
          http.route = /items/{id}
          http.response.status_code = 503
          error.type = 503
    "#]],
    );
}

#[test]
fn settings_of_the_server() {
    let fixture = Fixture::new();
    let layer = fixture
        .server_layer()
        .route(|parts| parts.headers.contains_key("x").then_some("/from/{hook}"))
        .https(true);
    for (request, name, scheme) in [
        (Request::get("/a").header("x", "1"), "GET /from/{hook}", "https"),
        (Request::get("/a"), "GET", "https"),
        (Request::post("http://a/b"), "POST", "http"),
    ] {
        let mut service = layer.layer(answering(Ok(response(204, Script::default()))));
        drop(block_on(service.call(request.body(()).unwrap())));
        let span = fixture.one();
        assert_eq!(
            (&*span.name, span.attribute("url.scheme")),
            (name, Some(&scheme.into()))
        );
    }
    let request = Request::get("/a")
        .extension(Route::from("/by/{extension}"))
        .body(())
        .unwrap();
    drop(fixture.serve(request, response(204, Script::default())));
    assert_eq!(fixture.one().name, "GET /by/{extension}");
}

#[test]
fn samplers_see_the_route() {
    let rules = Rules::new().route("/health", AlwaysOff).otherwise(AlwaysOn);
    let fixture = Fixture::with(|builder| builder.sampler(rules));
    for route in ["/health", "/items/{id}"] {
        let request = Request::get("/x").extension(Route::from(route)).body(()).unwrap();
        drop(fixture.serve(request, response(204, Script::default())));
    }
    assert_eq!(fixture.one().name, "GET /items/{id}");
}

#[test]
fn every_way_a_response_can_end() {
    use Step::{Data, Fail, Pending, Trailers};
    let fixture = Fixture::new();
    // What the connection polls before it drops the body.
    for (steps, polls, ended) in [
        (&[][..], 1, "200 -"),
        (&[], 0, "200 cancelled"),
        (&[Data("ab"), Data("c")], 3, "200 -"),
        (&[Data("ab"), Data("c")], 2, "200 cancelled"),
        (&[Data("ab"), Trailers], 2, "200 -"),
        (&[Data("ab"), Pending, Data("c")], 2, "200 cancelled"),
        (&[Data("ab"), Fail], 2, "200 aborted"),
    ] {
        let script = Script::new(steps.iter().copied());
        let mut body = fixture
            .serve(Request::default(), response(200, script))
            .into_body();
        for _ in 0..polls {
            let _ = poll_frame(&mut body);
        }
        drop(body);
        assert_eq!(end(&fixture.one()), ended, "{steps:?} {polls}");
    }
}

#[test]
fn a_body_that_has_delivered_what_it_promised_is_whole() {
    let fixture = Fixture::new();
    let promised = || Script::new([Step::Data("abc"), Step::Data("de")]);
    let by_hint = Response::new(Script {
        exact: Some(5),
        ..promised()
    });
    let by_header = Response::builder()
        .header(header::CONTENT_LENGTH, "5")
        .body(promised())
        .unwrap();
    let by_itself = Response::new(Script {
        knows_end: true,
        ..promised()
    });
    for response in [by_hint, by_header, by_itself] {
        let mut body = fixture.serve(Request::default(), response).into_body();
        let _ = poll_frame(&mut body);
        assert!(fixture.ended().is_empty());
        let _ = poll_frame(&mut body);
        assert_eq!(end(&fixture.one()), "200 -"); // without being asked a third time
        drop(body);
        assert!(fixture.ended().is_empty());
    }
    // A connection does not poll what has nothing to deliver.
    let empty_by_hint = Response::new(Script {
        exact: Some(0),
        ..Script::new([])
    });
    let empty_by_header = Response::builder()
        .header(header::CONTENT_LENGTH, "0")
        .body(Script::new([]))
        .unwrap();
    for response in [empty_by_hint, empty_by_header] {
        let body = fixture.serve(Request::default(), response).into_body();
        assert!(!body.is_end_stream());
        assert_eq!(end(&fixture.one()), "200 -");
        drop(body);
        assert!(fixture.ended().is_empty());
    }
    let more = Response::builder()
        .header(header::CONTENT_LENGTH, "6")
        .body(promised())
        .unwrap();
    let mut body = fixture.serve(Request::default(), more).into_body();
    let _ = (poll_frame(&mut body), poll_frame(&mut body));
    drop(body);
    assert_eq!(end(&fixture.one()), "200 cancelled");
}

#[test]
fn a_response_without_a_body_ends_with_its_head() {
    let fixture = Fixture::new();
    let never_asked = || Script::new([Step::Panic]);
    let empty = Script {
        knows_end: true,
        ..Script::default()
    };
    for (method, response, ended) in [
        (Method::HEAD, response(200, never_asked()), "200 -"),
        (Method::GET, response(204, never_asked()), "204 -"),
        (Method::GET, response(304, never_asked()), "304 -"),
        (Method::GET, response(101, never_asked()), "101 -"),
        (Method::GET, response(500, empty), "500 500"),
    ] {
        let request = Request::builder().method(method).body(()).unwrap();
        let response = fixture.serve(request, response);
        assert_eq!(end(&fixture.one()), ended);
        drop(response);
        assert!(fixture.ended().is_empty());
    }
}

#[test]
fn the_body_looks_as_it_did() {
    let fixture = Fixture::new();
    for script in [
        Script::default(),
        Script {
            exact: Some(9),
            ..Script::new([Step::Data("a")])
        },
        Script {
            knows_end: true,
            ..Script::default()
        },
    ] {
        let (exact, is_end) = (script.size_hint().exact(), script.is_end_stream());
        let body = fixture
            .serve(Request::default(), Response::new(script))
            .into_body();
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (exact, is_end));
    }
}

#[test]
fn a_panic_of_a_handler_is_recorded_and_goes_on() {
    let fixture = Fixture::new();
    let before = Context::current();
    let mut in_call = fixture
        .server_layer()
        .layer(service_fn(|_: Request<()>| -> Ready<Answer> { silent_panic() }));
    assert!(panics(|| in_call.call(Request::default())));
    assert_eq!(end(&fixture.one()), "- panic");

    let mut in_poll = fixture
        .server_layer()
        .layer(service_fn(async |_: Request<()>| -> Answer { silent_panic() }));
    let mut future = Box::pin(in_poll.call(Request::default()));
    assert!(panics(|| poll_once(future.as_mut())));
    assert_eq!(end(&fixture.one()), "- panic");
    drop(future);

    let mut body = fixture
        .serve(Request::default(), Response::new(Script::new([Step::Panic])))
        .into_body();
    assert!(panics(|| poll_frame(&mut body)));
    assert_eq!(end(&fixture.one()), "200 panic");
    drop(body);

    let mut in_hook = fixture
        .server_layer()
        .route(|_| silent_panic())
        .layer(answering(Ok(Response::default())));
    assert!(panics(|| in_hook.call(Request::default()))); // before there is a span
    assert!(fixture.ended().is_empty());
    assert_eq!(Context::current(), before);
}

#[test]
fn an_error_of_a_service_is_named() {
    let fixture = Fixture::new();
    let failed = || answering(Err(io::ErrorKind::TimedOut.into()));
    let mut unnamed = fixture.server_layer().layer(failed());
    assert!(block_on(unnamed.call(Request::default())).is_err());
    assert_eq!(end(&fixture.one()), "- _OTHER");
    let name = |error: &io::Error| match error.kind() {
        io::ErrorKind::TimedOut => "timeout",
        _ => "_OTHER",
    };
    let mut named = fixture.server_layer().error_type(name).layer(failed());
    assert!(block_on(named.call(Request::default())).is_err());
    assert_eq!(end(&fixture.one()), "- timeout");
}

/// Waits `awaits` times, and tells at each poll, and at its drop, who is current.
async fn patient(awaits: usize, polls: Arc<AtomicUsize>, seen: Recorder<Context>) -> Answer {
    let _at_end = Witness(seen.clone());
    for _ in 0..awaits {
        let mut waited = false;
        poll_fn(|_| {
            polls.fetch_add(1, Ordering::Relaxed);
            seen.record(Context::current());
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
    Ok(Response::default())
}

#[test]
fn a_server_can_be_cancelled_at_every_await() {
    const AWAITS: usize = 3;
    let fixture = Fixture::new();
    for cancelled_after in 0..=AWAITS {
        let (polls, seen) = (Arc::new(AtomicUsize::new(0)), Recorder::new());
        let inside = (Arc::clone(&polls), seen.clone());
        let mut service = fixture.server_layer().layer(service_fn(move |_: Request<()>| {
            patient(AWAITS, Arc::clone(&inside.0), inside.1.clone())
        }));
        let mut future = Box::pin(service.call(Request::default()));
        for _ in 0..cancelled_after {
            assert!(poll_once(future.as_mut()).is_pending());
            assert_eq!(Context::current(), Context::new());
        }
        assert!(fixture.ended().is_empty());
        drop(future);
        let span = fixture.one();
        assert_eq!(end(&span), "- cancelled");
        // The first poll of an await finds it pending, each later one ends it and begins the next.
        assert_eq!(
            polls.load(Ordering::Relaxed),
            (2 * cancelled_after).saturating_sub(1)
        );
        let seen = seen.take();
        assert!(
            seen.iter().all(|context| context.span_id() == Some(span.span_id)),
            "{seen:?}"
        );
        assert_eq!(seen.is_empty(), cancelled_after == 0);
    }
}

#[test]
fn services_are_called_under_the_span() {
    let fixture = Fixture::new();
    let seen = Recorder::new();
    let inner = service_fn(|_: Request<()>| {
        seen.record(Context::current().span_id()); // before there is a future
        ready(Answer::Ok(response(204, Script::default())))
    });
    block_on(fixture.client_layer().layer(inner).call(Request::default())).unwrap();
    block_on(fixture.server_layer().layer(inner).call(Request::default())).unwrap();
    let spans: Vec<_> = fixture.ended().iter().map(|span| Some(span.span_id)).collect();
    assert_eq!(seen.take(), spans);
    assert_eq!(Context::current(), Context::new());
}

#[test]
fn the_body_is_polled_and_dropped_under_the_span() {
    let fixture = Fixture::new();
    for request in [
        Request::get("/").header("traceparent", CALLER),
        Request::get("/").header("traceparent", UNSAMPLED),
    ] {
        let seen = Recorder::new();
        let script = Script {
            seen: Witness(seen.clone()),
            ..Script::new([Step::Data("a"), Step::Pending])
        };
        let mut body = fixture
            .serve(request.body(()).unwrap(), Response::new(script))
            .into_body();
        let _ = (poll_frame(&mut body), poll_frame(&mut body));
        drop(body);
        let seen = seen.take();
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|context| *context == seen[0]), "{seen:?}");
        assert_eq!(
            seen[0].trace_id().unwrap().to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        let recorded = fixture.ended();
        assert_eq!(!recorded.is_empty(), seen[0].flags().contains(Flags::RECORDING));
    }
}

#[test]
fn a_handle_is_only_there_for_what_is_recorded_and_keeps_nothing_open() {
    let fixture = Fixture::new();
    let kept: Recorder<Option<SpanHandle>> = Recorder::new();
    let service = fixture
        .server_layer()
        .layer(service_fn(async |request: Request<()>| {
            kept.record(request.extensions().get().cloned());
            Ok::<_, io::Error>(response(204, Script::default()))
        }));
    for caller in [UNSAMPLED, CALLER] {
        let request = Request::get("/").header("traceparent", caller).body(()).unwrap();
        block_on(service.clone().oneshot(request)).unwrap();
    }
    let span = fixture.one();
    let [None, Some(handle)] = &kept.take()[..] else {
        panic!("one handle")
    };
    assert!(!handle.is_recording());
    handle.set_route("/late");
    handle.set_attribute("late", true);
    assert_eq!(handle.context().span_id(), Some(span.span_id));
    assert!(format!("{handle:?}").contains("is_recording: false"));
    assert!(fixture.ended().is_empty());
}

// ---------------------------------------------------------------------------------------------------- the client side

/// Answers with the request's headers.
async fn echo(request: Request<()>) -> Result<Response<HeaderMap>, io::Error> {
    assert_eq!(
        request.headers().get_all("traceparent").iter().count(),
        usize::from(request.headers().contains_key("traceparent"))
    );
    Ok(Response::new(request.headers().clone()))
}

fn sent(
    service: impl Service<Request<()>, Response = Response<HeaderMap>, Error = io::Error>,
    request: Request<()>,
) -> HeaderMap {
    block_on(service.oneshot(request)).unwrap().into_body()
}

#[test]
fn what_a_client_records() {
    let fixture = Fixture::new();
    let service = fixture.client_layer().layer(service_fn(async |_: Request<()>| {
        fixture.clock.advance(Duration::from_millis(5));
        let mut response = Response::new(());
        *response.version_mut() = Version::HTTP_2;
        *response.status_mut() = StatusCode::NOT_FOUND;
        Ok::<_, io::Error>(response)
    }));
    let request = Request::get("https://user:secret@stock.example/items/7?sig=secret&page=2")
        .extension(Route::from("/items/{id}"))
        .extension(ResendCount(2))
        .body(())
        .unwrap();
    let response = block_on(service.oneshot(request)).unwrap();
    fixture.clock.advance(Duration::from_secs(1)); // the body does not count
    check(
        &fixture.one(),
        &expect![[r#"
        Client GET /items/{id} 5ms Error { description: "" }
          http.request.method = GET
          server.address = stock.example
          server.port = 443
          url.full = https://REDACTED:REDACTED@stock.example/items/7?sig=REDACTED&page=2
          url.template = /items/{id}
          http.request.resend_count = 2
          http.response.status_code = 404
          error.type = 404
          network.protocol.version = 2
    "#]],
    );
    drop(response);
}

#[test]
fn settings_of_the_client() {
    let fixture = Fixture::new();
    let layer = fixture
        .client_layer()
        .https(true)
        .template(|_| Some("/from/{hook}"));
    let request = Request::get("/items/7")
        .header("host", "stock.example")
        .extension(ResendCount(0));
    sent(layer.layer(service_fn(echo)), request.body(()).unwrap());
    check(
        &fixture.one(),
        &expect![[r#"
        Client GET /from/{hook} 0ns Unset
          http.request.method = GET
          server.address = stock.example
          server.port = 443
          url.full = https://stock.example/items/7
          url.template = /from/{hook}
          http.response.status_code = 200
          network.protocol.version = 1.1
    "#]],
    );
}

#[test]
fn every_way_a_call_can_end() {
    let fixture = Fixture::new();
    for (status, ended) in [(200, "200 -"), (302, "302 -"), (404, "404 404"), (500, "500 500")] {
        let mut service = fixture
            .client_layer()
            .layer(answering(Ok(response(status, Script::default()))));
        drop(block_on(service.call(Request::default())));
        assert_eq!(end(&fixture.one()), ended);
    }
    let failing =
        |layer: TraceClientLayer| layer.layer(answering(Err(io::ErrorKind::ConnectionRefused.into())));
    assert!(block_on(failing(fixture.client_layer()).call(Request::default())).is_err());
    assert_eq!(end(&fixture.one()), "- _OTHER");
    let name = |error: &io::Error| match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect",
        _ => "_OTHER",
    };
    assert_eq!(name.error_type(&io::Error::other("x")), "_OTHER");
    let mut named = fixture
        .client_layer()
        .error_type(name)
        .layer(answering(Err(io::ErrorKind::ConnectionRefused.into())));
    assert!(block_on(named.call(Request::default())).is_err());
    assert_eq!(end(&fixture.one()), "- connect");

    let mut in_call = fixture
        .client_layer()
        .layer(service_fn(|_: Request<()>| -> Ready<Answer> { silent_panic() }));
    assert!(panics(|| in_call.call(Request::default())));
    assert_eq!(end(&fixture.one()), "- panic");
    let mut in_poll = fixture
        .client_layer()
        .layer(service_fn(async |_: Request<()>| -> Answer { silent_panic() }));
    let mut future = Box::pin(in_poll.call(Request::default()));
    assert!(panics(|| poll_once(future.as_mut())));
    assert_eq!(end(&fixture.one()), "- panic");
    assert_eq!(Context::current(), Context::new());
}

#[test]
fn a_call_can_be_cancelled_at_every_await() {
    const AWAITS: usize = 3;
    let fixture = Fixture::new();
    let outer = fixture.tracer.span("outer").start();
    for cancelled_after in 0..=AWAITS {
        let (polls, seen) = (Arc::new(AtomicUsize::new(0)), Recorder::new());
        let inside = (Arc::clone(&polls), seen.clone());
        let mut service = fixture.client_layer().layer(service_fn(move |_: Request<()>| {
            patient(AWAITS, Arc::clone(&inside.0), inside.1.clone())
        }));
        // The parent is who is current at the call, not at the polls.
        let mut future = Box::pin(outer.in_scope(|| service.call(Request::default())));
        for _ in 0..cancelled_after {
            assert!(poll_once(future.as_mut()).is_pending());
        }
        assert!(fixture.ended().is_empty());
        drop(future);
        let span = fixture.one();
        assert_eq!((end(&span).as_str(), &span.status), ("- -", &Status::Unset));
        assert_eq!(span.parent_span_id, outer.context().span_id());
        assert_eq!(
            polls.load(Ordering::Relaxed),
            (2 * cancelled_after).saturating_sub(1)
        );
        let seen = seen.take();
        assert!(
            seen.iter().all(|context| context.span_id() == Some(span.span_id)),
            "{seen:?}"
        );
    }
}

#[test]
fn a_client_that_is_done_is_not_polled_for_its_span_again() {
    let fixture = Fixture::new();
    let mut service = fixture
        .client_layer()
        .layer(service_fn(|_: Request<()>| pending::<Answer>()));
    let mut future = pin!(service.call(Request::default()));
    assert!(poll_once(future.as_mut()).is_pending());
    assert!(format!("{future:?}").contains("ClientResponseFuture"));
    assert!(fixture.ended().is_empty());
}

#[test]
fn headers_are_replaced_and_never_doubled() {
    let fixture = Fixture::new();
    let mut request = Request::get("http://stock.example/");
    for _ in 0..2 {
        request = request.header("traceparent", CALLER).header("tracestate", "a=1");
    }
    let headers = sent(
        fixture.client_layer().layer(service_fn(echo)),
        request.body(()).unwrap(),
    );
    let span = fixture.one();
    let parent = format!("00-{}-{}-03", span.trace_id, span.span_id);
    assert_eq!(headers["traceparent"], parent);
    assert!(!headers.contains_key("tracestate") || !headers["tracestate"].as_bytes().starts_with(b"a="));
}

#[test]
fn an_unsampled_call_is_a_new_span_of_the_same_trace() {
    let fixture = Fixture::with(|builder| builder.sampler(ParentBased::root(AlwaysOff)));
    let outer = fixture.tracer.span("outer").start();
    let service = fixture.client_layer().layer(service_fn(echo));
    let headers = outer.in_scope(|| sent(service, Request::default()));
    let parent = headers["traceparent"].to_str().unwrap();
    let (trace, span) = (
        outer.context().trace_id().unwrap(),
        outer.context().span_id().unwrap(),
    );
    assert!(
        parent.starts_with(&format!("00-{trace}-")) && parent.ends_with("-02"),
        "{parent}"
    );
    assert!(!parent.contains(&span.to_string()));
    assert!(fixture.ended().is_empty());
}

#[test]
fn a_tracer_that_only_propagates_changes_nothing() {
    let service = TraceClientLayer::new(Tracer::propagate_only()).layer(service_fn(echo));
    let server = TraceServerLayer::new(Tracer::propagate_only()).layer(service_fn(async |_: Request<()>| {
        let headers = service.clone().oneshot(Request::default()).await?;
        Ok::<_, io::Error>(
            Response::builder()
                .header("sent", &headers.body()["traceparent"])
                .body(Script::default())
                .unwrap(),
        )
    }));
    let request = Request::get("/").header("traceparent", CALLER).body(()).unwrap();
    assert_eq!(
        block_on(server.oneshot(request)).unwrap().headers()["sent"],
        CALLER
    );
}

#[test]
fn what_the_caller_sent_along_goes_on_with_the_call() {
    let fixture = Fixture::new();
    for (allowed, sent_on) in [(true, ["congo=1", "user=7"]), (false, ["", ""])] {
        let client = fixture
            .client_layer()
            .propagate_to(move |_| allowed)
            .layer(service_fn(echo));
        let server = fixture.server_layer().layer(service_fn(async |_: Request<()>| {
            let headers = client.clone().oneshot(Request::default()).await?.into_body();
            let text = |name| {
                headers
                    .get(name)
                    .cloned()
                    .unwrap_or(http::HeaderValue::from_static(""))
            };
            let response = Response::builder()
                .header("tracestate", text("tracestate"))
                .header("baggage", text("baggage"));
            Ok::<_, io::Error>(response.body(Script::default()).unwrap())
        }));
        let request = Request::get("/")
            .header("traceparent", CALLER)
            .header("tracestate", "congo=1")
            .header("baggage", "user=7")
            .body(())
            .unwrap();
        let response = block_on(server.oneshot(request)).unwrap();
        assert_eq!(
            ["tracestate", "baggage"].map(|name| &response.headers()[name]),
            sent_on
        );
    }
}

#[test]
fn trace_context_goes_only_where_it_may() {
    let fixture = Fixture::new();
    let asked: Recorder<String> = Recorder::new();
    let service = fixture
        .client_layer()
        .propagate_to({
            let asked = asked.clone();
            move |host| {
                asked.record(host.to_owned());
                host == "ours.example"
            }
        })
        .layer(service_fn(echo));
    for (uri, host, allowed) in [
        ("https://ours.example/x", None, true),
        ("https://user@Ours.Example.:8443/x", Some("other.example"), true),
        ("/x", Some("OURS.example:80"), true),
        ("https://ours.example.evil.example/", None, false),
        ("https://ours.example@evil.example/", None, false),
        ("http://[::1]:80/", None, false),
        ("/x", None, false),
    ] {
        let mut request = Request::get(uri)
            .header("traceparent", CALLER)
            .header("tracestate", "a=1")
            .header("baggage", "user=7")
            .header("b3", "0")
            .header("accept", "*/*");
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let headers = sent(service.clone(), request.body(()).unwrap());
        assert_eq!(headers.contains_key("traceparent"), allowed, "{uri}");
        assert!(allowed || !headers.contains_key("tracestate"), "{uri}");
        assert!(allowed || !headers.contains_key("baggage"), "{uri}");
        assert!(allowed || !headers.contains_key("b3"), "{uri}");
        assert!(headers.contains_key("accept"));
        assert_ne!(
            headers.get("traceparent").map(http::HeaderValue::as_bytes),
            Some(CALLER.as_bytes())
        );
        assert_eq!(fixture.ended().len(), 1); // recorded either way
    }
    let asked = asked.take();
    assert_eq!(
        asked[..4],
        [
            "ours.example",
            "ours.example",
            "ours.example",
            "ours.example.evil.example"
        ]
    );
    assert_eq!(asked[4..], ["evil.example", "::1", ""]);
}

#[derive(Clone)]
struct Twice;

impl tower::retry::Policy<Request<()>, Response<Script>, io::Error> for Twice {
    type Future = Ready<()>;

    fn retry(&mut self, request: &mut Request<()>, result: &mut Answer) -> Option<Ready<()>> {
        let ResendCount(sent) = request.extensions().get().copied().unwrap_or_default();
        (result.is_err() && sent < 2).then(|| {
            request.extensions_mut().insert(ResendCount(sent + 1));
            ready(())
        })
    }

    fn clone_request(&mut self, request: &Request<()>) -> Option<Request<()>> {
        Some(request.clone())
    }
}

#[test]
fn every_attempt_of_a_retry_is_a_span() {
    let fixture = Fixture::new();
    let parents: Recorder<String> = Recorder::new();
    let calls = AtomicUsize::new(0);
    let flaky = service_fn(|request: Request<()>| {
        parents.record(request.headers()["traceparent"].to_str().unwrap().to_owned());
        ready(match calls.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Err(io::Error::other("down")),
            _ => Ok(response(200, Script::default())),
        })
    });
    let outer = fixture.tracer.span("outer").start();
    let service = tower::ServiceBuilder::new()
        .layer(tower::retry::RetryLayer::new(Twice))
        .layer(fixture.client_layer())
        .service(flaky);
    // A retry calls from where it is polled, so the context has to be there at every poll.
    block_on(service.oneshot(Request::default()).with_context(outer.context())).unwrap();
    let spans = fixture.ended();
    let seen: Vec<_> = spans
        .iter()
        .map(|span| {
            assert_eq!(span.parent_span_id, outer.context().span_id());
            let count = span
                .attribute("http.request.resend_count")
                .map(ToString::to_string);
            (
                end(span),
                count,
                format!("00-{}-{}-03", span.trace_id, span.span_id),
            )
        })
        .collect();
    let parents = parents.take();
    assert_eq!(
        seen,
        [
            ("- _OTHER".to_owned(), None, parents[0].clone()),
            ("- _OTHER".to_owned(), Some("1".to_owned()), parents[1].clone()),
            ("200 -".to_owned(), Some("2".to_owned()), parents[2].clone()),
        ]
    );
}

#[test]
fn services_pass_on_whether_they_are_ready() {
    struct NotYet;
    impl Service<Request<()>> for NotYet {
        type Response = Response<Script>;
        type Error = io::Error;
        type Future = Ready<Answer>;
        fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), io::Error>> {
            Poll::Pending
        }
        fn call(&mut self, _: Request<()>) -> Ready<Answer> {
            ready(Ok(Response::default()))
        }
    }
    let tracer = Tracer::propagate_only();
    let mut task = Task::from_waker(Waker::noop());
    let mut client = TraceClientLayer::new(tracer.clone()).layer(NotYet);
    assert!(client.poll_ready(&mut task).is_pending());
    let mut server = TraceServerLayer::new(tracer).layer(NotYet);
    assert!(server.poll_ready(&mut task).is_pending());
}
