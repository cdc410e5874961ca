//! What goes over the wire: a real server, which is the collector, on a port of its own.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cortex_metrics::{Buckets, Counter, DynamicFamily, Histogram, OtlpErrorKind, OtlpExporter, Registry};
use cortex_testkit::ManualClock;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::registry;

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A collector that answers as it was told, then always well; nothing is an answer that never comes.
struct Collector {
    endpoint: String,
    received: mpsc::UnboundedReceiver<Received>,
    connections: Arc<Mutex<usize>>,
}

struct Received {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Collector {
    async fn start(answers: impl IntoIterator<Item = Option<Answer>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/metrics", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let (sender, received) = mpsc::unbounded_channel();
        let connections = Arc::new(Mutex::new(0));
        tokio::spawn({
            let connections = Arc::clone(&connections);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    *lock(&connections) += 1;
                    let (sender, answers) = (sender.clone(), Arc::clone(&answers));
                    let service =
                        service_fn(move |request| receive(request, sender.clone(), Arc::clone(&answers)));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    tokio::spawn(connection);
                }
            }
        });
        Self {
            endpoint,
            received,
            connections,
        }
    }

    fn exporter(&self, registry: &Registry) -> OtlpExporter {
        OtlpExporter::http(registry).endpoint(&self.endpoint)
    }

    async fn next(&mut self) -> Received {
        self.received.recv().await.unwrap()
    }
}

async fn receive(
    request: Request<Incoming>,
    sender: mpsc::UnboundedSender<Received>,
    answers: Arc<Mutex<VecDeque<Option<Answer>>>>,
) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let received = Received {
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        body,
    };
    let _ = sender.send(received); // the test may have ended
    let scripted = lock(&answers).pop_front();
    match scripted {
        Some(Some(answer)) => Ok(answer),
        Some(None) => std::future::pending().await,
        None => Ok(answer(200, &[], "")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into()).boxed()).unwrap()
}

/// A body that never ends.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 << 10])))))
    }
}

/// Keeps paused time from moving while sockets work, which takes real time, until it is dropped.
struct Still {
    _release: std::sync::mpsc::Sender<()>,
}

impl Still {
    fn new() -> Self {
        let (release, released) = std::sync::mpsc::channel();
        // Paused time does not move on while a blocking task runs.
        tokio::task::spawn_blocking(move || released.recv());
        Self { _release: release }
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_push_arrives() {
    let (registry, jobs) = registry();
    let latency = Histogram::classic(&Buckets::http_seconds());
    registry
        .register_with_unit("latency", "Time.", "seconds", latency.clone())
        .unwrap();
    jobs.add(3);
    latency.observe(0.2);
    let mut collector = Collector::start([]).await;
    let clock = ManualClock::new();
    let now = SystemTime::UNIX_EPOCH + seconds(1_900_000_000);
    clock.set_wall(now);
    let handle = collector
        .exporter(&registry)
        .header("authorization", "Bearer x")
        .resource("service.name", "shop")
        .clock(clock)
        .start()
        .unwrap();
    handle.flush().await.unwrap();

    let received = collector.next().await;
    assert_eq!(
        (received.method, received.uri.path()),
        (Method::POST, "/v1/metrics")
    );
    assert_eq!(received.headers["content-type"], "application/x-protobuf");
    assert_eq!(
        received.headers["content-length"],
        received.body.len().to_string()
    );
    assert_eq!(received.headers["authorization"], "Bearer x");
    let user = concat!("cortex-metrics/", env!("CARGO_PKG_VERSION"));
    assert_eq!(received.headers["user-agent"], user);
    assert!(!received.headers.contains_key("content-encoding"));
    let request = ExportMetricsServiceRequest::decode(received.body).unwrap();
    let resource = &request.resource_metrics[0];
    assert_eq!(
        resource.resource.as_ref().unwrap().attributes[0].key,
        "service.name"
    );
    let names: Vec<_> = resource.scope_metrics[0]
        .metrics
        .iter()
        .map(|metric| &metric.name)
        .collect();
    assert_eq!(names, ["jobs", "latency_seconds"]);
    let Some(Data::Sum(sum)) = &resource.scope_metrics[0].metrics[0].data else {
        panic!("it is a counter");
    };
    assert_eq!(sum.data_points[0].value, Some(Value::AsInt(3)));
    assert_eq!(sum.data_points[0].time_unix_nano, 1_900_000_000_000_000_000);
    assert_eq!(handle.stats().accepted_points, 2);
}

#[tokio::test]
async fn pushes_share_a_connection() {
    let (registry, _) = registry();
    let collector = Collector::start([]).await;
    let handle = collector.exporter(&registry).start().unwrap();
    for _ in 0..5 {
        handle.flush().await.unwrap();
    }
    handle.shutdown(seconds(5)).await.unwrap();
    assert_eq!(*lock(&collector.connections), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_is_replaced() {
    let (registry, _) = registry();
    let closing = || Some(answer(200, &[("connection", "close")], ""));
    let collector = Collector::start([closing(), closing()]).await;
    let handle = collector.exporter(&registry).start().unwrap();
    for _ in 0..3 {
        handle.flush().await.unwrap();
    }
    assert_eq!(*lock(&collector.connections), 3);
}

#[cfg(feature = "gzip")]
#[tokio::test]
async fn a_push_can_be_compressed() {
    use std::io::Read as _;

    let (registry, _) = registry();
    let mut collector = Collector::start([]).await;
    let handle = collector.exporter(&registry).gzip(true).start().unwrap();
    handle.flush().await.unwrap();
    let received = collector.next().await;
    assert_eq!(received.headers["content-encoding"], "gzip");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&received.body[..])
        .read_to_end(&mut plain)
        .unwrap();
    let request = ExportMetricsServiceRequest::decode(&plain[..]).unwrap();
    assert_eq!(
        request.resource_metrics[0].scope_metrics[0].metrics[0].name,
        "jobs"
    );
}

#[tokio::test]
async fn a_hundred_thousand_series_arrive() {
    const SERIES: usize = 100_000;
    let registry = Registry::default();
    let jobs = DynamicFamily::new(["id"], Counter::default).max_series(SERIES);
    (0..SERIES as u64).for_each(|id| jobs.with([&*id.to_string()], |count| count.add(id)));
    registry.register("jobs", "Jobs done.", jobs).unwrap();
    let mut collector = Collector::start([]).await;
    let handle = collector.exporter(&registry).start().unwrap();
    handle.flush().await.unwrap();
    let (mut seen, mut requests) = (vec![false; SERIES], 0);
    while !seen.iter().all(|is_seen| *is_seen) {
        let received = collector.next().await;
        requests += 1;
        assert!(received.body.len() <= 1_000_000, "{}", received.body.len());
        let request = ExportMetricsServiceRequest::decode(received.body).unwrap();
        let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
        let Some(Data::Sum(sum)) = &metric.data else {
            panic!("it is a counter");
        };
        for point in &sum.data_points {
            let label = point.attributes[0].value.clone().and_then(|any| any.value);
            let Some((any_value::Value::StringValue(id), Value::AsInt(value))) = label.zip(point.value)
            else {
                panic!("{point:?}");
            };
            assert_eq!(id, value.to_string());
            let is_seen = &mut seen[usize::try_from(value).unwrap()];
            assert!(!std::mem::replace(is_seen, true), "{value} came twice");
        }
    }
    assert!((5..20).contains(&requests), "{requests}");
    let stats = handle.stats();
    assert_eq!((stats.pushed, stats.accepted_points), (1, SERIES as u64));
    assert_eq!(*lock(&collector.connections), 1);
}

#[tokio::test]
async fn a_busy_collector_is_tried_again() {
    let (registry, _) = registry();
    let mut collector = Collector::start([Some(answer(503, &[("retry-after", "0")], ""))]).await;
    let handle = collector.exporter(&registry).start().unwrap();
    handle.flush().await.unwrap();
    let (first, second) = (collector.next().await, collector.next().await);
    assert_eq!(first.body, second.body);
    let stats = handle.stats();
    assert_eq!((stats.pushed, stats.failed, stats.retries), (1, 0, 1));
}

#[tokio::test]
async fn a_refusal_says_why() {
    let (registry, _) = registry();
    let status = b"\x08\x03\x12\x09malformed"; // a google.rpc.Status
    let refusal = answer(400, &[("content-type", "application/x-protobuf")], &status[..]);
    let collector = Collector::start([Some(refusal)]).await;
    let handle = collector.exporter(&registry).start().unwrap();
    let error = handle.flush().await.unwrap_err();
    let (status, message) = (StatusCode::BAD_REQUEST, "malformed".to_owned());
    assert_eq!(*error.kind(), OtlpErrorKind::Refused { status, message });
    assert_eq!(
        error.to_string(),
        "push metrics: the collector answered 400 Bad Request: malformed"
    );
}

#[tokio::test]
async fn a_partial_success_is_told() {
    let (registry, _) = registry();
    let partial_success = Some(ExportMetricsPartialSuccess {
        rejected_data_points: 1,
        error_message: "no".into(),
    });
    let body = ExportMetricsServiceResponse { partial_success }.encode_to_vec();
    let collector = Collector::start([Some(answer(200, &[], body))]).await;
    let handle = collector.exporter(&registry).start().unwrap();
    let error = handle.flush().await.unwrap_err();
    let message = "no".to_owned();
    assert_eq!(*error.kind(), OtlpErrorKind::Rejected { points: 1, message });
    assert_eq!(handle.stats().rejected_points, 1);
}

#[tokio::test]
async fn an_answer_without_end_is_read_in_part() {
    let (registry, _) = registry();
    let endless = |status| Some(Response::builder().status(status).body(Endless.boxed()).unwrap());
    let collector = Collector::start([endless(200), endless(404)]).await;
    let handle = collector.exporter(&registry).start().unwrap();
    handle.flush().await.unwrap();
    let error = handle.flush().await.unwrap_err();
    assert!(matches!(error.kind(), OtlpErrorKind::Refused { message, .. } if message.is_empty()));
}

#[tokio::test]
async fn nobody_listening_is_an_error_with_a_source() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let (registry, _) = registry();
    let handle = OtlpExporter::http(&registry).endpoint(endpoint).start().unwrap();
    // Too short to try again, so it returns at once.
    let error = handle.shutdown(Duration::from_millis(400)).await.unwrap_err();
    assert_eq!(*error.kind(), OtlpErrorKind::Transport);
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn a_shutdown_flushes() {
    let (registry, jobs) = registry();
    let mut collector = Collector::start([]).await;
    let handle = collector.exporter(&registry).start().unwrap();
    jobs.inc();
    handle.shutdown(seconds(30)).await.unwrap();
    let received = collector.next().await;
    assert!(ExportMetricsServiceRequest::decode(received.body).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hangs_is_given_up() {
    let (registry, _) = registry();
    let still = Still::new();
    let mut collector = Collector::start((0..100).map(|_| None)).await;
    let started = tokio::time::Instant::now();
    let handle = collector.exporter(&registry).start().unwrap();
    let flush = tokio::spawn(async move { (handle.flush().await, handle) });
    collector.next().await;
    drop(still);
    let (result, handle) = flush.await.unwrap();
    assert_eq!(*result.unwrap_err().kind(), OtlpErrorKind::TimedOut);
    assert!((30..=60).contains(&started.elapsed().as_secs()));
    assert_eq!((handle.stats().failed, handle.stats().dropped_points), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_keeps_its_time_while_the_collector_hangs() {
    let (registry, _) = registry();
    let still = Still::new();
    let mut collector = Collector::start([None, None]).await;
    let started = tokio::time::Instant::now();
    let handle = collector.exporter(&registry).start().unwrap();
    let shutdown = tokio::spawn(handle.shutdown(seconds(5)));
    collector.next().await;
    drop(still);
    let error = shutdown.await.unwrap().unwrap_err();
    assert_eq!(*error.kind(), OtlpErrorKind::TimedOut);
    assert_eq!(started.elapsed().as_secs(), 5);
}
