use std::collections::VecDeque;
use std::fmt::Write;
use std::future::{Pending, Ready, pending, poll_fn, ready};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use cortex_metrics::layer::{ErrorType, MetricsLayer, MetricsLayerBuilder, ResponseBody, Route};
use cortex_metrics::{Buckets, Format, RegisterError, RegisterErrorKind, Registry};
use cortex_testkit::ManualClock;
use expect_test::{Expect, expect};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::parser::{Family, parse};

/// A body that does what it is told, a step per poll.
#[derive(Debug, Default)]
struct Script {
    steps: VecDeque<Step>,
    /// Whether it knows its end without being asked.
    knows_end: bool,
    exact: Option<u64>,
}

#[derive(Debug)]
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
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.steps.pop_front() {
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data.into())))),
            Some(Step::Trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers())))),
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

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())])
}

/// Unwinds without a message on stderr.
fn silent_panic() -> ! {
    resume_unwind(Box::new("scripted"))
}

fn panics<R>(work: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_err()
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn poll_frame(body: &mut ResponseBody<Script>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// A registry, a clock that stands still, and the layer under test.
struct Rig<C = ()> {
    registry: Registry,
    clock: ManualClock,
    layer: MetricsLayer<C>,
}

type Answer = Result<Response<Script>, io::Error>;

impl Rig {
    fn server() -> Self {
        Self::new(|builder, registry| {
            builder
                .response_sizes(Buckets::new([10.0]).unwrap())
                .server(registry)
        })
    }

    fn client() -> Self {
        Self::new(MetricsLayerBuilder::client)
    }

    fn new<C>(
        make: impl FnOnce(MetricsLayerBuilder, &Registry) -> Result<MetricsLayer<C>, RegisterError>,
    ) -> Rig<C> {
        let (registry, clock) = (Registry::default(), ManualClock::new());
        let layer = make(MetricsLayer::builder().clock(clock.clone()), &registry).unwrap();
        Rig {
            registry,
            clock,
            layer,
        }
    }
}

impl<C: ErrorType<io::Error> + Clone> Rig<C> {
    /// Serves one request with a response that is there at once.
    fn serve(&self, request: Request<()>, response: Response<Script>) -> Response<ResponseBody<Script>> {
        self.answer(request, Ok(response)).unwrap()
    }

    fn answer(&self, request: Request<()>, answer: Answer) -> io::Result<Response<ResponseBody<Script>>> {
        let mut answer = Some(answer);
        let mut service = self
            .layer
            .layer(service_fn(move |_: Request<()>| ready(answer.take().unwrap())));
        match poll_once(&mut service.call(request)) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("the answer is there"),
        }
    }

    fn families(&self) -> Vec<Family> {
        let texts = [Format::Text004, Format::OpenMetrics1]
            .map(|format| parse(format, &crate::encode(&self.registry, format)));
        let [text, _] = texts;
        text
    }

    /// What was counted: a line per series with its count and its sum, and the active requests.
    fn lines(&self) -> String {
        let mut lines = String::new();
        for family in self.families() {
            for sample in &family.samples {
                if sample.name.ends_with("_bucket") {
                    continue;
                }
                let labels: Vec<_> = sample
                    .labels
                    .iter()
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                writeln!(lines, "{} {} {}", sample.name, labels.join(" "), sample.value).unwrap();
            }
        }
        lines
    }

    #[track_caller]
    fn shows(&self, expected: &Expect) {
        expected.assert_eq(&self.lines());
    }

    fn active(&self) -> String {
        let families = self.families();
        let mut levels = families
            .iter()
            .filter(|family| family.name.ends_with("_active_requests"));
        let level: f64 = levels.next().map_or(0.0, |family| {
            family.samples.iter().map(|sample| sample.value).sum()
        });
        level.to_string()
    }
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

fn ok(body: Script) -> Response<Script> {
    Response::new(body)
}

fn status(status: u16) -> Response<Script> {
    let body = Script {
        knows_end: true,
        ..Script::default()
    };
    Response::builder().status(status).body(body).unwrap()
}

#[test]
fn a_served_request_lasts_until_its_body_ends() {
    let rig = Rig::server();
    let request = Request::get("/hello/world").extension(Route::from("/hello/{name}"));
    let steps = [
        Step::Data("hello"),
        Step::Pending,
        Step::Data(" you"),
        Step::Trailers,
    ];
    let response = rig.serve(request.body(()).unwrap(), ok(Script::new(steps)));
    let mut body = response.into_body();
    rig.clock.advance(Duration::from_millis(250));
    assert!(poll_frame(&mut body).is_ready());
    assert!(poll_frame(&mut body).is_pending());
    assert!(poll_frame(&mut body).is_ready());
    rig.shows(&expect![[r#"
        http_server_active_requests http_request_method=GET url_scheme=http 1
    "#]]);
    rig.clock.advance(Duration::from_millis(250));
    assert!(poll_frame(&mut body).is_ready());
    rig.clock.advance(Duration::from_secs(9));
    assert!(matches!(poll_frame(&mut body), Poll::Ready(None)));
    rig.clock.advance(Duration::from_secs(9));
    drop(body);
    rig.shows(&expect![[r#"
        http_server_request_duration_seconds_sum http_request_method=GET http_response_status_code=200 http_route=/hello/{name} 0.5
        http_server_request_duration_seconds_count http_request_method=GET http_response_status_code=200 http_route=/hello/{name} 1
        http_server_response_body_size_bytes_sum http_request_method=GET http_response_status_code=200 http_route=/hello/{name} 9
        http_server_response_body_size_bytes_count http_request_method=GET http_response_status_code=200 http_route=/hello/{name} 1
        http_server_active_requests http_request_method=GET url_scheme=http 0
    "#]]);
}

#[tokio::test]
async fn a_connection_asks_for_nothing_after_trailers() {
    let rig = Rig::server();
    let service = rig.layer.layer(service_fn(async |_: Request<Incoming>| {
        let body = Script::new([Step::Data("12345"), Step::Trailers]);
        let response = Response::builder().header(header::TRAILER, "x-sum");
        Ok::<_, io::Error>(response.body(body).unwrap())
    }));
    let (mut client, server) = tokio::io::duplex(1 << 10);
    let connection =
        http1::Builder::new().serve_connection(TokioIo::new(server), TowerToHyperService::new(service));
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    connection.await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.ends_with("5\r\n12345\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{answer}"
    );
    assert_eq!(rig.active(), "0");
    assert!(!rig.lines().contains("error_type"), "{}", rig.lines());
}

#[test]
fn a_body_ends_when_nobody_will_ask_it_again() {
    let ended = |body: Script, head: Option<&str>, polls: usize| {
        let rig = Rig::server();
        let mut response = Response::builder();
        if let Some(length) = head {
            response = response.header(header::CONTENT_LENGTH, length);
        }
        let response = rig.serve(get("/"), response.body(body).unwrap());
        let mut body = response.into_body();
        for _ in 0..polls {
            assert_eq!(rig.active(), "1");
            assert!(poll_frame(&mut body).is_ready());
        }
        let ended = rig.active() == "0";
        drop(body);
        assert_eq!(rig.active(), "0");
        (ended, rig.lines().contains("error_type=aborted"))
    };
    let two = || Script::new([Step::Data("12345"), Step::Data("67890")]);
    let (whole, aborted) = ((true, false), (false, true));
    assert_eq!(ended(two(), None, 2), aborted); // as far as anybody can tell
    assert_eq!(ended(two(), None, 3), whole);
    assert_eq!(ended(two(), Some("10"), 2), whole);
    assert_eq!(ended(two(), Some("10"), 1), aborted);
    assert_eq!(ended(two(), Some("ten"), 2), aborted);
    let trailing = || Script::new([Step::Data("12345"), Step::Trailers]);
    assert_eq!(ended(trailing(), None, 1), aborted);
    assert_eq!(ended(trailing(), None, 2), whole);
    assert_eq!(ended(Script::default(), Some("0"), 0), whole);
    assert_eq!(ended(Script::default(), None, 0), aborted);
    assert_eq!(
        ended(
            Script {
                exact: Some(0),
                ..Script::default()
            },
            None,
            0
        ),
        whole
    );
    assert_eq!(
        ended(
            Script {
                exact: Some(10),
                ..two()
            },
            None,
            2
        ),
        whole
    );
    assert_eq!(
        ended(
            Script {
                knows_end: true,
                ..two()
            },
            None,
            2
        ),
        whole
    );
    assert_eq!(
        ended(
            Script {
                knows_end: true,
                ..Script::default()
            },
            None,
            0
        ),
        whole
    );
}

#[test]
fn a_response_without_a_body_ends_with_its_head() {
    let rig = Rig::server();
    let head = Request::head("/").body(()).unwrap();
    let mut kept = Vec::new();
    kept.push(rig.serve(head, ok(Script::new([Step::Data("never sent")]))));
    for code in [101, 204, 304] {
        let response = Response::builder()
            .status(code)
            .body(Script::new([Step::Pending]));
        kept.push(rig.serve(get("/"), response.unwrap()));
    }
    rig.shows(&expect![[r#"
        http_server_request_duration_seconds_sum http_request_method=HEAD http_response_status_code=200 http_route=unmatched 0
        http_server_request_duration_seconds_count http_request_method=HEAD http_response_status_code=200 http_route=unmatched 1
        http_server_request_duration_seconds_sum http_request_method=GET http_response_status_code=101 http_route=unmatched 0
        http_server_request_duration_seconds_count http_request_method=GET http_response_status_code=101 http_route=unmatched 1
        http_server_request_duration_seconds_sum http_request_method=GET http_response_status_code=204 http_route=unmatched 0
        http_server_request_duration_seconds_count http_request_method=GET http_response_status_code=204 http_route=unmatched 1
        http_server_request_duration_seconds_sum http_request_method=GET http_response_status_code=304 http_route=unmatched 0
        http_server_request_duration_seconds_count http_request_method=GET http_response_status_code=304 http_route=unmatched 1
        http_server_response_body_size_bytes_sum http_request_method=HEAD http_response_status_code=200 http_route=unmatched 0
        http_server_response_body_size_bytes_count http_request_method=HEAD http_response_status_code=200 http_route=unmatched 1
        http_server_response_body_size_bytes_sum http_request_method=GET http_response_status_code=101 http_route=unmatched 0
        http_server_response_body_size_bytes_count http_request_method=GET http_response_status_code=101 http_route=unmatched 1
        http_server_response_body_size_bytes_sum http_request_method=GET http_response_status_code=204 http_route=unmatched 0
        http_server_response_body_size_bytes_count http_request_method=GET http_response_status_code=204 http_route=unmatched 1
        http_server_response_body_size_bytes_sum http_request_method=GET http_response_status_code=304 http_route=unmatched 0
        http_server_response_body_size_bytes_count http_request_method=GET http_response_status_code=304 http_route=unmatched 1
        http_server_active_requests http_request_method=HEAD url_scheme=http 0
        http_server_active_requests http_request_method=GET url_scheme=http 0
    "#]]);
    let before = rig.lines();
    drop(kept);
    assert_eq!(rig.lines(), before);
}

#[test]
fn a_failed_service_counts_with_the_name_of_its_error() {
    let by_kind = |error: &io::Error| match error.kind() {
        io::ErrorKind::TimedOut => "timeout",
        _ => "_OTHER",
    };
    let rig = Rig::new(|builder, registry| builder.error_type(by_kind).server(registry));
    for kind in [io::ErrorKind::TimedOut, io::ErrorKind::Other] {
        let failed = rig.answer(get("/"), Err(kind.into())).map(|_| ());
        assert_eq!(failed.unwrap_err().kind(), kind); // it goes on as it came
    }
    rig.shows(&expect![[r#"
        http_server_request_duration_seconds_sum error_type=timeout http_request_method=GET http_response_status_code=500 http_route=unmatched 0
        http_server_request_duration_seconds_count error_type=timeout http_request_method=GET http_response_status_code=500 http_route=unmatched 1
        http_server_request_duration_seconds_sum error_type=_OTHER http_request_method=GET http_response_status_code=500 http_route=unmatched 0
        http_server_request_duration_seconds_count error_type=_OTHER http_request_method=GET http_response_status_code=500 http_route=unmatched 1
        http_server_active_requests http_request_method=GET url_scheme=http 0
    "#]]);
}

#[test]
fn a_server_error_is_an_error_and_a_client_error_is_not() {
    let rig = Rig::server();
    for code in [200, 404, 500, 503] {
        drop(rig.serve(get("/"), status(code)));
    }
    rig.shows(&expect![[r#"
        http_server_request_duration_seconds_sum http_request_method=GET http_response_status_code=200 http_route=unmatched 0
        http_server_request_duration_seconds_count http_request_method=GET http_response_status_code=200 http_route=unmatched 1
        http_server_request_duration_seconds_sum http_request_method=GET http_response_status_code=404 http_route=unmatched 0
        http_server_request_duration_seconds_count http_request_method=GET http_response_status_code=404 http_route=unmatched 1
        http_server_request_duration_seconds_sum error_type=500 http_request_method=GET http_response_status_code=500 http_route=unmatched 0
        http_server_request_duration_seconds_count error_type=500 http_request_method=GET http_response_status_code=500 http_route=unmatched 1
        http_server_request_duration_seconds_sum error_type=503 http_request_method=GET http_response_status_code=503 http_route=unmatched 0
        http_server_request_duration_seconds_count error_type=503 http_request_method=GET http_response_status_code=503 http_route=unmatched 1
        http_server_response_body_size_bytes_sum http_request_method=GET http_response_status_code=200 http_route=unmatched 0
        http_server_response_body_size_bytes_count http_request_method=GET http_response_status_code=200 http_route=unmatched 1
        http_server_response_body_size_bytes_sum http_request_method=GET http_response_status_code=404 http_route=unmatched 0
        http_server_response_body_size_bytes_count http_request_method=GET http_response_status_code=404 http_route=unmatched 1
        http_server_response_body_size_bytes_sum error_type=500 http_request_method=GET http_response_status_code=500 http_route=unmatched 0
        http_server_response_body_size_bytes_count error_type=500 http_request_method=GET http_response_status_code=500 http_route=unmatched 1
        http_server_response_body_size_bytes_sum error_type=503 http_request_method=GET http_response_status_code=503 http_route=unmatched 0
        http_server_response_body_size_bytes_count error_type=503 http_request_method=GET http_response_status_code=503 http_route=unmatched 1
        http_server_active_requests http_request_method=GET url_scheme=http 0
    "#]]);
}

#[test]
fn a_panic_is_counted_once_wherever_it_comes_from() {
    let rig = Rig::server();
    let mut in_call = rig
        .layer
        .layer(service_fn(|_: Request<()>| -> Ready<Answer> { silent_panic() }));
    assert!(panics(|| in_call.call(get("/"))));
    assert_eq!(rig.active(), "0");

    let mut in_future = rig.layer.layer(service_fn(|_: Request<()>| {
        poll_fn(|_| -> Poll<Answer> { silent_panic() })
    }));
    let mut future = in_future.call(get("/"));
    assert_eq!(rig.active(), "1");
    assert!(panics(|| poll_once(&mut future).is_ready()));
    assert_eq!(rig.active(), "0");
    drop(future);

    let mut body = rig
        .serve(get("/"), ok(Script::new([Step::Data("12"), Step::Panic])))
        .into_body();
    assert!(poll_frame(&mut body).is_ready());
    assert!(panics(|| poll_frame(&mut body).is_ready()));
    drop(body);
    rig.shows(&expect![[r#"
        http_server_request_duration_seconds_sum error_type=panic http_request_method=GET http_response_status_code=500 http_route=unmatched 0
        http_server_request_duration_seconds_count error_type=panic http_request_method=GET http_response_status_code=500 http_route=unmatched 2
        http_server_request_duration_seconds_sum error_type=panic http_request_method=GET http_response_status_code=200 http_route=unmatched 0
        http_server_request_duration_seconds_count error_type=panic http_request_method=GET http_response_status_code=200 http_route=unmatched 1
        http_server_response_body_size_bytes_sum error_type=panic http_request_method=GET http_response_status_code=200 http_route=unmatched 2
        http_server_response_body_size_bytes_count error_type=panic http_request_method=GET http_response_status_code=200 http_route=unmatched 1
        http_server_active_requests http_request_method=GET url_scheme=http 0
    "#]]);
}

#[test]
fn a_panic_of_the_route_function_leaves_nothing_behind() {
    let rig = Rig::new(|builder, registry| builder.route(|_| silent_panic()).server(registry));
    assert!(panics(|| rig.serve(get("/"), status(200))));
    assert_eq!(rig.lines(), "");
}

#[test]
fn what_is_dropped_is_counted() {
    let rig = Rig::server();
    let mut never = rig.layer.layer(service_fn(|_: Request<()>| pending::<Answer>()));
    drop(never.call(get("/"))); // never polled
    let mut future = never.call(get("/"));
    assert!(poll_once(&mut future).is_pending());
    rig.clock.advance(Duration::from_secs(2));
    drop(future);

    let steps = [Step::Data("123"), Step::Data("456")];
    let mut body = rig.serve(get("/"), ok(Script::new(steps))).into_body();
    assert!(poll_frame(&mut body).is_ready());
    drop(body);

    let steps = [Step::Data("123"), Step::Fail];
    let mut body = rig.serve(get("/"), ok(Script::new(steps))).into_body();
    assert!(poll_frame(&mut body).is_ready());
    assert!(matches!(poll_frame(&mut body), Poll::Ready(Some(Err(_)))));
    drop(body);
    rig.shows(&expect![[r#"
        http_server_request_duration_seconds_sum error_type=client_cancel http_request_method=GET http_response_status_code=499 http_route=unmatched 2
        http_server_request_duration_seconds_count error_type=client_cancel http_request_method=GET http_response_status_code=499 http_route=unmatched 2
        http_server_request_duration_seconds_sum error_type=aborted http_request_method=GET http_response_status_code=200 http_route=unmatched 0
        http_server_request_duration_seconds_count error_type=aborted http_request_method=GET http_response_status_code=200 http_route=unmatched 2
        http_server_response_body_size_bytes_sum error_type=aborted http_request_method=GET http_response_status_code=200 http_route=unmatched 6
        http_server_response_body_size_bytes_count error_type=aborted http_request_method=GET http_response_status_code=200 http_route=unmatched 2
        http_server_active_requests http_request_method=GET url_scheme=http 0
    "#]]);
}

#[test]
fn requests_under_way_are_counted_by_method_and_scheme() {
    let rig = Rig::server();
    let mut never = rig.layer.layer(service_fn(|_: Request<()>| pending::<Answer>()));
    let mut under_way: Vec<_> = [
        "/",
        "/",
        "https://a.example/",
        "http://a.example/",
        "ftp://a.example/",
    ]
    .map(|uri| never.call(get(uri)))
    .into();
    let post = Request::post("/").body(()).unwrap();
    under_way.push(never.clone().call(post));
    rig.shows(&expect![[r#"
        http_server_active_requests http_request_method=GET url_scheme=http 4
        http_server_active_requests http_request_method=GET url_scheme=https 1
        http_server_active_requests http_request_method=POST url_scheme=http 1
    "#]]);
    under_way.truncate(1);
    assert_eq!(rig.active(), "1");
    drop(under_way);
    assert_eq!(rig.active(), "0");

    let rig = Rig::new(|builder, registry| builder.https(true).server(registry));
    let mut never = rig.layer.layer(service_fn(|_: Request<()>| pending::<Answer>()));
    let calls = ["/", "http://a.example/"].map(|uri| never.call(get(uri)));
    rig.shows(&expect![[r#"
        http_server_active_requests http_request_method=GET url_scheme=https 1
        http_server_active_requests http_request_method=GET url_scheme=http 1
    "#]]);
    drop(calls);
}

#[test]
fn concurrent_requests_are_all_counted() {
    let rig = Rig::server();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..500_u16 {
                    let mut answer = Some(Ok::<_, io::Error>(status(200 + n % 2)));
                    let mut service = rig
                        .layer
                        .layer(service_fn(move |_: Request<()>| ready(answer.take().unwrap())));
                    assert!(poll_once(&mut service.call(get("/"))).is_ready());
                }
            });
        }
    });
    assert_eq!(rig.active(), "0");
    let lines = rig.lines();
    for code in [200, 201] {
        let line =
            format!("http_request_method=GET http_response_status_code={code} http_route=unmatched 1000\n");
        assert!(lines.contains(&format!("_seconds_count {line}")), "{lines}");
    }
}

#[test]
fn hostile_requests_do_not_make_series() {
    let rig = Rig::server();
    for n in 0..300 {
        let method = Method::from_bytes(format!("M{n}").as_bytes()).unwrap();
        let uri = format!("/x{n}/../%00%0a%22?{n}=\"");
        let request = Request::builder().method(method).uri(uri.replace('"', "%22"));
        let request = request.header(header::HOST, format!("h{n}.example"));
        drop(rig.serve(request.body(()).unwrap(), status(404)));
    }
    rig.shows(&expect![[r#"
        http_server_request_duration_seconds_sum http_request_method=_OTHER http_response_status_code=404 http_route=unmatched 0
        http_server_request_duration_seconds_count http_request_method=_OTHER http_response_status_code=404 http_route=unmatched 300
        http_server_response_body_size_bytes_sum http_request_method=_OTHER http_response_status_code=404 http_route=unmatched 0
        http_server_response_body_size_bytes_count http_request_method=_OTHER http_response_status_code=404 http_route=unmatched 300
        http_server_active_requests http_request_method=_OTHER url_scheme=http 0
    "#]]);
}

#[test]
fn routes_beyond_the_bound_are_counted_together() {
    // What must not be done: a label of what the client wrote.
    let by_path = |parts: &http::request::Parts| Some(Route::from(Arc::from(parts.uri.path())));
    let rig = Rig::new(|builder, registry| builder.max_series(2).route(by_path).server(registry));
    for path in ["/a", "/b", "/c", "/d", "/a"] {
        drop(rig.serve(get(path), status(200)));
    }
    rig.shows(&expect![[r#"
        http_server_request_duration_seconds_sum http_request_method=GET http_response_status_code=200 http_route=/a 0
        http_server_request_duration_seconds_count http_request_method=GET http_response_status_code=200 http_route=/a 2
        http_server_request_duration_seconds_sum http_request_method=GET http_response_status_code=200 http_route=/b 0
        http_server_request_duration_seconds_count http_request_method=GET http_response_status_code=200 http_route=/b 1
        http_server_request_duration_seconds_sum error_type=__other__ http_request_method=__other__ http_response_status_code=__other__ http_route=__other__ 0
        http_server_request_duration_seconds_count error_type=__other__ http_request_method=__other__ http_response_status_code=__other__ http_route=__other__ 2
        http_server_active_requests http_request_method=GET url_scheme=http 0
    "#]]);
}

#[test]
fn a_route_may_be_any_text() {
    let text = "\"\n\\ }".repeat(100);
    let route = Route::from(Arc::from(&*text));
    let rig = Rig::new(move |builder, registry| builder.route(move |_| Some(route.clone())).server(registry));
    drop(rig.serve(get("/"), status(200)));
    let label = &rig.families()[0].samples[0].labels["http_route"];
    assert_eq!((label.len(), text.starts_with(label)), (256, true));
}

#[test]
fn a_call_is_counted_by_where_it_goes() {
    let rig = Rig::client();
    for (uri, code) in [
        ("http://user:secret@API.example/users/7", 200),
        ("http://api.example:80/users/8", 200),
        ("https://[::1]/", 404),
        ("https://api.example/", 503),
    ] {
        let request = Request::get(uri).extension(Route::from("/users/{id}"));
        drop(rig.serve(request.body(()).unwrap(), status(code)));
    }
    assert!(
        rig.answer(get("http://down.example:9/"), Err(io::Error::other("refused")))
            .is_err()
    );
    // Not to read a body to its end is no failure of the call.
    let body = rig.serve(get("http://api.example/"), ok(Script::new([Step::Data("12")])));
    rig.clock.advance(Duration::from_secs(1));
    drop(body);
    let mut body = rig
        .serve(get("http://api.example/"), ok(Script::new([Step::Fail])))
        .into_body();
    assert!(poll_frame(&mut body).is_ready());
    let mut never = rig.layer.layer(service_fn(|_: Request<()>| pending::<Answer>()));
    drop(never.call(get("http://slow.example/")));
    let under_way = never.call(get("/"));
    rig.shows(&expect![[r#"
        http_client_request_duration_seconds_sum http_request_method=GET http_response_status_code=200 server_address=api.example server_port=80 url_template=/users/{id} 0
        http_client_request_duration_seconds_count http_request_method=GET http_response_status_code=200 server_address=api.example server_port=80 url_template=/users/{id} 2
        http_client_request_duration_seconds_sum error_type=404 http_request_method=GET http_response_status_code=404 server_address=::1 server_port=443 url_template=/users/{id} 0
        http_client_request_duration_seconds_count error_type=404 http_request_method=GET http_response_status_code=404 server_address=::1 server_port=443 url_template=/users/{id} 1
        http_client_request_duration_seconds_sum error_type=503 http_request_method=GET http_response_status_code=503 server_address=api.example server_port=443 url_template=/users/{id} 0
        http_client_request_duration_seconds_count error_type=503 http_request_method=GET http_response_status_code=503 server_address=api.example server_port=443 url_template=/users/{id} 1
        http_client_request_duration_seconds_sum error_type=_OTHER http_request_method=GET server_address=down.example server_port=9 0
        http_client_request_duration_seconds_count error_type=_OTHER http_request_method=GET server_address=down.example server_port=9 1
        http_client_request_duration_seconds_sum http_request_method=GET http_response_status_code=200 server_address=api.example server_port=80 1
        http_client_request_duration_seconds_count http_request_method=GET http_response_status_code=200 server_address=api.example server_port=80 1
        http_client_request_duration_seconds_sum error_type=aborted http_request_method=GET http_response_status_code=200 server_address=api.example server_port=80 0
        http_client_request_duration_seconds_count error_type=aborted http_request_method=GET http_response_status_code=200 server_address=api.example server_port=80 1
        http_client_request_duration_seconds_sum error_type=cancelled http_request_method=GET server_address=slow.example server_port=80 0
        http_client_request_duration_seconds_count error_type=cancelled http_request_method=GET server_address=slow.example server_port=80 1
        http_client_active_requests http_request_method=GET server_address=api.example server_port=80 0
        http_client_active_requests http_request_method=GET server_address=::1 server_port=443 0
        http_client_active_requests http_request_method=GET server_address=api.example server_port=443 0
        http_client_active_requests http_request_method=GET server_address=down.example server_port=9 0
        http_client_active_requests http_request_method=GET server_address=slow.example server_port=80 0
        http_client_active_requests http_request_method=GET 1
    "#]]);
    drop(under_way);
    assert_eq!(rig.active(), "0");
}

#[test]
fn a_layer_is_made_once_per_registry_and_side() {
    let registry = Registry::default();
    let server = MetricsLayer::server(&registry).unwrap();
    let error = MetricsLayer::server(&registry).unwrap_err();
    assert_eq!(
        (error.metric(), error.kind()),
        (
            "http_server_request_duration_seconds",
            &RegisterErrorKind::Duplicate
        )
    );
    MetricsLayer::client(&registry).unwrap();
    assert!(MetricsLayer::client(&registry).is_err());
    // Another part of the program, told apart by a label.
    let internal = registry.sub_registry("", [("listener", "internal")]).unwrap();
    assert!(MetricsLayer::server(&internal).is_err()); // one with the label and one without are not told apart
    assert!(format!("{server:?} {:?}", MetricsLayer::builder()).contains("MetricsLayerBuilder"));
}

#[test]
fn readiness_is_that_of_the_inner_service() {
    struct Unready;
    impl Service<Request<()>> for Unready {
        type Response = Response<Script>;
        type Error = io::Error;
        type Future = Pending<Answer>;

        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
        }

        fn call(&mut self, _request: Request<()>) -> Pending<Answer> {
            pending()
        }
    }
    let rig = Rig::server();
    let mut service = rig.layer.layer(Unready);
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::NotConnected));
    let future = service.call(get("/"));
    assert!(format!("{future:?}").starts_with("ResponseFuture"));
}

#[tokio::test]
async fn the_body_is_passed_on_unchanged() {
    let rig = Rig::server();
    let steps = [Step::Data("one "), Step::Data("two"), Step::Trailers];
    let body = Script {
        exact: Some(7),
        ..Script::new(steps)
    };
    let body = rig.serve(get("/"), ok(body)).into_body();
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(7), false));
    let collected = body.collect().await.unwrap();
    assert!(collected.trailers().is_some());
    assert_eq!(collected.to_bytes(), "one two");
    let empty = rig.layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, io::Error>(Response::new(Empty::<Bytes>::new()))
    }));
    let response = empty.oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.body().is_end_stream());
    assert!(format!("{:?}", response.body()).starts_with("ResponseBody"));
}

#[cfg(feature = "axum")]
mod axum_routers {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::{get, post};

    use super::*;

    async fn routes(app: Router, registry: &Registry, paths: &[&str]) -> Vec<String> {
        for path in paths {
            let request = Request::get(*path).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
        let families = parse(Format::Text004, &crate::encode(registry, Format::Text004));
        let counts = families[0]
            .samples
            .iter()
            .filter(|sample| sample.name.ends_with("_count"));
        counts
            .map(|sample| {
                let label = |name: &str| sample.labels[name].as_str();
                format!(
                    "{} {} {}",
                    label("http_route"),
                    label("http_response_status_code"),
                    sample.value
                )
            })
            .collect()
    }

    fn layer() -> (Registry, MetricsLayer) {
        let registry = Registry::default();
        let layer = MetricsLayer::builder()
            .route(Route::matched_path)
            .server(&registry)
            .unwrap();
        (registry, layer)
    }

    #[tokio::test]
    async fn the_route_is_the_template_that_matched() {
        let (registry, layer) = layer();
        let inner = Router::new()
            .route("/items/{item}", get(async || "item"))
            .route("/", get(async || "inner"));
        let app = Router::new()
            .route("/users/{id}", get(async || "user"))
            .route("/orders", post(async || "order"))
            .nest("/shops/{shop}", inner)
            .nest_service(
                "/files",
                service_fn(async |_: Request<Body>| Ok(Response::new(Body::empty()))),
            )
            .layer(layer);
        let paths = [
            "/users/1",
            "/users/2",
            "/shops/a/items/7",
            "/shops/b/items/8",
            "/shops/a/",
            "/orders",
            "/files/a",
            "/etc/passwd",
            "/x",
        ];
        let counted = routes(app, &registry, &paths).await;
        assert_eq!(
            counted,
            [
                "/users/{id} 200 2",
                "/shops/{shop}/items/{item} 200 2",
                "unmatched 404 3",
                "/orders 405 1",
                "unmatched 200 1",
            ]
        );
    }

    #[tokio::test]
    async fn a_layer_of_a_nested_router_knows_the_whole_template() {
        let (registry, layer) = layer();
        let inner = Router::new()
            .route("/items/{item}", get(async || "item"))
            .layer(layer.clone());
        let service = Router::new().route("/{file}", get(async || "file")).layer(layer);
        let app = Router::new()
            .nest("/shops/{shop}", inner)
            .nest_service("/files", service);
        let counted = routes(
            app,
            &registry,
            &["/shops/a/items/7", "/files/f", "/files/g", "/other"],
        )
        .await;
        assert_eq!(
            counted,
            ["/shops/{shop}/items/{item} 200 1", "/files/{file} 200 2"]
        );
    }

    #[tokio::test]
    async fn a_route_layer_does_not_see_what_no_route_takes() {
        let (registry, layer) = layer();
        let app = Router::new()
            .route("/users/{id}", get(async || "user"))
            .route_layer(layer);
        assert_eq!(
            routes(app, &registry, &["/users/1", "/x"]).await,
            ["/users/{id} 200 1"]
        );
    }

    #[tokio::test]
    async fn outside_of_the_router_no_route_is_known() {
        let (registry, layer) = layer();
        let app = Router::new().route("/users/{id}", get(async || "user"));
        let app = Router::new().fallback_service(layer.layer(app));
        assert_eq!(routes(app, &registry, &["/users/1"]).await, ["unmatched 200 1"]);
    }
}
