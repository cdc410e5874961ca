//! When an exporter sends what: time is paused, and the collector is a script.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cortex_core::{Clock, SystemClock};
use cortex_metrics::{Counter, DynamicFamily, OtlpBody, OtlpErrorKind, OtlpExporter, Registry};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};
use prost::Message as _;
use tokio::time::{Instant, advance, timeout};

use super::registry;

enum Reply {
    Ok,
    Busy(&'static str),
    Status(u16),
    Rejects(i64),
    Breaks,
    Hangs,
}

/// A collector that answers as it was told, then always well; and the seconds and value of each request.
#[derive(Clone)]
struct Collector {
    started: Instant,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<(f64, i64)>>>,
}

impl Collector {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self {
            started: Instant::now(),
            replies: Arc::new(Mutex::new(replies.into_iter().collect())),
            requests: Arc::default(),
        }
    }

    fn exporter(&self, registry: &Registry) -> OtlpExporter {
        let this = self.clone();
        OtlpExporter::http(registry).client(tower::service_fn(move |request| this.clone().answer(request)))
    }

    async fn answer(self, request: Request<OtlpBody>) -> io::Result<Response<Full<Bytes>>> {
        let Ok(body) = request.into_body().collect().await;
        let value = value(&body.to_bytes());
        let elapsed = self.started.elapsed().as_secs_f64();
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((elapsed, value));
        let reply = self
            .replies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let response = Response::builder();
        let empty = Full::default();
        let response = match reply.unwrap_or(Reply::Ok) {
            Reply::Ok => response.body(empty),
            Reply::Busy(after) => response.status(503).header("retry-after", after).body(empty),
            Reply::Status(status) => response.status(status).body(empty),
            Reply::Rejects(points) => {
                let partial_success = Some(ExportMetricsPartialSuccess {
                    rejected_data_points: points,
                    error_message: "too old".into(),
                });
                let body = ExportMetricsServiceResponse { partial_success }.encode_to_vec();
                response.body(body.into())
            }
            Reply::Breaks => return Err(io::ErrorKind::ConnectionReset.into()),
            Reply::Hangs => std::future::pending().await,
        };
        Ok(response.unwrap())
    }

    /// Returns the whole seconds at which requests came, and the value that was in each.
    fn requests(&self) -> Vec<(u64, i64)> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests
            .iter()
            .map(|(at, value)| (Duration::from_secs_f64(*at).as_secs(), *value))
            .collect()
    }

    async fn wait_for(&self, count: usize) {
        while self.requests().len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await; // of paused time
        }
    }
}

/// Returns the value of the first point of a request.
fn value(body: &[u8]) -> i64 {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => match sum.data_points[0].value.unwrap() {
            Value::AsInt(value) => value,
            Value::AsDouble(_) => panic!("it is a whole number"),
        },
        other => panic!("{other:?}"),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn pushes_come_at_the_interval_with_the_numbers_of_then() {
    let (registry, jobs) = registry();
    let collector = Collector::new([]);
    let handle = collector
        .exporter(&registry)
        .interval(seconds(10))
        .start()
        .unwrap();
    jobs.inc();
    collector.wait_for(1).await;
    jobs.add(2);
    collector.wait_for(3).await;
    assert_eq!(collector.requests(), [(10, 1), (20, 3), (30, 3)]);
    let stats = handle.stats();
    assert_eq!((stats.pushed, stats.failed, stats.retries), (3, 0, 0));
    assert_eq!((stats.accepted_points, stats.dropped_points), (3, 0));
    assert!(stats.last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_empty_registry_sends_nothing() {
    let collector = Collector::new([]);
    let handle = collector.exporter(&Registry::default()).start().unwrap();
    handle.flush().await.unwrap();
    handle.shutdown(seconds(1)).await.unwrap();
    assert_eq!(collector.requests(), []);
}

#[tokio::test(start_paused = true)]
async fn a_collector_is_tried_again_after_the_time_that_it_wants() {
    let (registry, _) = registry();
    let collector = Collector::new([Reply::Busy("7"), Reply::Busy("11"), Reply::Ok]);
    let handle = collector.exporter(&registry).start().unwrap();
    handle.flush().await.unwrap();
    assert_eq!(collector.requests(), [(0, 0), (7, 0), (18, 0)]);
    let stats = handle.stats();
    assert_eq!((stats.pushed, stats.failed, stats.retries), (1, 0, 2));
}

/// Says whether times double, up to a limit, from request to request.
fn assert_doubling(requests: &[(f64, i64)]) {
    let gaps: Vec<f64> = requests.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let mut whole = 1.0;
    for gap in &gaps {
        assert!((whole / 2.0 - 0.01..=whole + 0.01).contains(gap), "{gaps:?}");
        whole = f64::min(whole * 2.0, 30.0);
    }
    let is_over = requests.last().is_some_and(|(at, _)| *at >= 60.0);
    assert!(gaps.len() >= 5 && !is_over, "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn who_wants_no_pause_is_given_one() {
    for now in ["0", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        let (registry, _) = registry();
        let collector = Collector::new((0..100).map(|_| Reply::Busy(now)));
        let handle = collector.exporter(&registry).start().unwrap();
        assert!(handle.flush().await.is_err());
        assert_doubling(&collector.requests.lock().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn tries_come_less_and_less_often_until_the_next_interval() {
    let (registry, jobs) = registry();
    let collector = Collector::new((0..100).map(|_| Reply::Breaks));
    let handle = collector.exporter(&registry).start().unwrap();
    jobs.inc();
    let error = handle.flush().await.unwrap_err();
    assert_eq!(*error.kind(), OtlpErrorKind::Transport);
    assert_eq!(error.to_string(), "push metrics: the request failed");
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.downcast_ref::<io::Error>().is_some());

    let requests = collector.requests.lock().unwrap().clone();
    assert_doubling(&requests);
    let stats = handle.stats();
    assert_eq!(
        (stats.failed, stats.dropped_points, stats.retries),
        (1, 1, requests.len() as u64 - 1)
    );
    assert_eq!(*stats.last_error.unwrap().kind(), OtlpErrorKind::Transport);
}

#[tokio::test(start_paused = true)]
async fn who_wants_to_be_left_alone_for_long_is() {
    let (registry, _) = registry();
    let collector = Collector::new([Reply::Busy("125")]);
    let handle = collector.exporter(&registry).start().unwrap();
    let busy = handle.flush().await.unwrap_err();
    assert!(matches!(busy.kind(), OtlpErrorKind::Refused { status, .. } if *status == 503));
    let early = handle.flush().await.unwrap_err();
    assert_eq!(*early.kind(), OtlpErrorKind::Throttled);
    collector.wait_for(2).await;
    // The tick at 60 s is left out; that at 120 s waits until it is allowed.
    assert_eq!(collector.requests(), [(0, 0), (125, 0)]);
    assert_eq!(handle.stats().failed, 3);
}

#[tokio::test(start_paused = true)]
async fn other_errors_are_final() {
    let (registry, _) = registry();
    let collector = Collector::new([Reply::Status(400), Reply::Status(500)]);
    let handle = collector.exporter(&registry).start().unwrap();
    for status in [StatusCode::BAD_REQUEST, StatusCode::INTERNAL_SERVER_ERROR] {
        let error = handle.flush().await.unwrap_err();
        let message = String::new();
        assert_eq!(*error.kind(), OtlpErrorKind::Refused { status, message });
    }
    assert_eq!(collector.requests().len(), 2);
    let stats = handle.stats();
    assert_eq!(
        (stats.pushed, stats.failed, stats.dropped_points, stats.retries),
        (0, 2, 2, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn rejected_points_are_counted_and_not_sent_again() {
    let (registry, _) = registry();
    registry.register("more", "", Counter::default()).unwrap();
    registry.register("most", "", Counter::default()).unwrap();
    let collector = Collector::new([Reply::Rejects(2), Reply::Rejects(99), Reply::Rejects(0)]);
    let handle = collector.exporter(&registry).start().unwrap();
    let error = handle.flush().await.unwrap_err();
    let text = "push metrics: the collector rejected 2 data points: too old";
    assert_eq!(error.to_string(), text);
    assert!(handle.flush().await.is_err()); // no more than there were
    handle.flush().await.unwrap(); // only a warning
    let stats = handle.stats();
    assert_eq!(
        (stats.pushed, stats.accepted_points, stats.rejected_points),
        (3, 1 + 3, 2 + 3)
    );
    assert_eq!(
        (stats.failed, stats.dropped_points, collector.requests().len()),
        (0, 0, 3)
    );
}

/// Returns a registry with ten series, for each of which there is a request.
fn ten() -> Registry {
    let registry = Registry::default();
    let jobs = DynamicFamily::new(["id"], Counter::default);
    (0..10_u64).for_each(|id| jobs.with([&*id.to_string()], |count| count.add(id)));
    registry.register("jobs", "", jobs).unwrap();
    registry
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_does_not_keep_the_others_back() {
    let collector = Collector::new([Reply::Ok, Reply::Status(413), Reply::Busy("3")]);
    let exporter = collector.exporter(&ten()).max_request_bytes(0);
    let handle = exporter.start().unwrap();
    let error = handle.flush().await.unwrap_err();
    assert!(matches!(error.kind(), OtlpErrorKind::Refused { status, .. } if *status == 413));
    let expected = [0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9].map(|id| (if id < 2 { 0 } else { 3 }, id));
    let mut requests = collector.requests();
    assert_eq!(requests.remove(2), (0, 2)); // the busy one
    assert_eq!(requests, [&expected[..2], &expected[3..]].concat());
    let stats = handle.stats();
    assert_eq!((stats.pushed, stats.failed, stats.retries), (0, 1, 1));
    assert_eq!((stats.accepted_points, stats.dropped_points), (9, 1));
}

#[tokio::test(start_paused = true)]
async fn a_push_of_several_requests_ends_with_its_time() {
    let collector = Collector::new([Reply::Ok, Reply::Rejects(1), Reply::Busy("60")]);
    let exporter = collector.exporter(&ten()).max_request_bytes(0);
    let handle = exporter.start().unwrap();
    let error = handle.flush().await.unwrap_err();
    assert!(matches!(error.kind(), OtlpErrorKind::Refused { status, .. } if *status == 503));
    let stats = handle.stats();
    assert_eq!((stats.pushed, stats.failed), (0, 1));
    let points = (stats.accepted_points, stats.rejected_points, stats.dropped_points);
    assert_eq!(points, (1, 1, 8));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_is_the_last_one_next_time() {
    let collector = Collector::new([Reply::Ok, Reply::Busy("60")]);
    let exporter = collector.exporter(&ten()).max_request_bytes(0);
    let handle = exporter.start().unwrap();
    handle.flush().await.unwrap_err();
    tokio::time::sleep(seconds(60)).await;
    handle.flush().await.unwrap();
    let ids = collector.requests().into_iter().map(|(_, id)| id);
    assert_eq!(
        ids.take(12).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    );
}

#[tokio::test(start_paused = true)]
async fn what_several_requests_reject_is_told_together() {
    let collector = Collector::new([Reply::Rejects(1), Reply::Ok, Reply::Rejects(1)]);
    let exporter = collector.exporter(&ten()).max_request_bytes(0);
    let handle = exporter.start().unwrap();
    let error = handle.flush().await.unwrap_err();
    let message = "too old".to_owned();
    assert_eq!(*error.kind(), OtlpErrorKind::Rejected { points: 2, message });
    let stats = handle.stats();
    assert_eq!((stats.pushed, stats.failed), (1, 0));
    assert_eq!((stats.accepted_points, stats.rejected_points), (8, 2));
}

#[tokio::test(start_paused = true)]
async fn a_request_has_a_time_limit() {
    let (registry, _) = registry();
    let collector = Collector::new([Reply::Hangs]);
    let handle = collector
        .exporter(&registry)
        .timeout(seconds(20))
        .start()
        .unwrap();
    handle.flush().await.unwrap();
    let requests = collector.requests();
    assert_eq!(requests.len(), 2);
    assert!((20..=21).contains(&requests[1].0), "{requests:?}");
    assert_eq!(handle.stats().retries, 1);
}

#[tokio::test(start_paused = true)]
async fn a_flush_takes_the_place_of_a_push_that_waits() {
    let (registry, jobs) = registry();
    let collector = Collector::new([Reply::Busy("50")]);
    let handle = Arc::new(collector.exporter(&registry).start().unwrap());
    let first = tokio::spawn({
        let handle = Arc::clone(&handle);
        async move { handle.flush().await }
    });
    collector.wait_for(1).await;
    jobs.inc();
    handle.flush().await.unwrap();
    first.await.unwrap().unwrap(); // what it wanted to push is in the newer one
    assert_eq!(collector.requests(), [(0, 0), (50, 1)]);
    let stats = handle.stats();
    assert_eq!((stats.pushed, stats.failed, stats.dropped_points), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_a_request_that_is_on_its_way() {
    let (registry, jobs) = registry();
    let collector = Collector::new([Reply::Hangs, Reply::Ok]);
    let handle = collector
        .exporter(&registry)
        .timeout(seconds(10))
        .start()
        .unwrap();
    let cancelled = timeout(seconds(1), handle.flush()).await;
    assert!(cancelled.is_err());
    jobs.inc();
    handle.flush().await.unwrap();
    assert_eq!(collector.requests(), [(0, 0), (10, 1)]);
}

#[tokio::test(start_paused = true)]
async fn many_flushes_are_few_pushes() {
    let (registry, _) = registry();
    let collector = Collector::new([]);
    let handle = Arc::new(collector.exporter(&registry).start().unwrap());
    let flushes: Vec<_> = (0..50)
        .map(|_| {
            let handle = Arc::clone(&handle);
            tokio::spawn(async move { handle.flush().await })
        })
        .collect();
    for flush in flushes {
        flush.await.unwrap().unwrap();
    }
    assert!(collector.requests().len() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_pushes_one_last_time() {
    let (registry, jobs) = registry();
    let collector = Collector::new([]);
    let handle = collector.exporter(&registry).start().unwrap();
    jobs.add(5);
    handle.shutdown(seconds(1)).await.unwrap();
    advance(seconds(600)).await;
    assert_eq!(collector.requests(), [(0, 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_tries_again_while_it_has_time() {
    let (registry, _) = registry();
    let collector = Collector::new([Reply::Busy("2"), Reply::Busy("100")]);
    let handle = collector.exporter(&registry).start().unwrap();
    let error = handle.shutdown(seconds(5)).await.unwrap_err();
    assert!(matches!(error.kind(), OtlpErrorKind::Refused { .. }));
    assert_eq!(collector.requests(), [(0, 0), (2, 0)]);
    assert_eq!(collector.started.elapsed().as_secs(), 2); // no use in waiting
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_keeps_its_time_while_the_collector_hangs() {
    let (registry, jobs) = registry();
    let collector = Collector::new([Reply::Hangs, Reply::Hangs]);
    let handle = collector.exporter(&registry).start().unwrap();
    assert!(timeout(seconds(3), handle.flush()).await.is_err());
    jobs.inc();
    let error = handle.shutdown(seconds(5)).await.unwrap_err();
    assert_eq!(*error.kind(), OtlpErrorKind::TimedOut);
    assert_eq!(collector.started.elapsed().as_secs(), 3 + 5);
    assert_eq!(collector.requests(), [(0, 0), (3, 1)]); // the last push did not wait for the one before
}

#[tokio::test(start_paused = true)]
async fn a_dropped_handle_ends_the_task_and_sends_nothing() {
    let (registry, _) = registry();
    let collector = Collector::new([Reply::Hangs]);
    let handle = collector.exporter(&registry).start().unwrap();
    assert!(timeout(seconds(1), handle.flush()).await.is_err()); // hangs now
    let replies = Arc::downgrade(&collector.replies);
    let requests = collector.requests();
    drop((handle, collector));
    while replies.upgrade().is_some() {
        tokio::task::yield_now().await; // until the task, which owns the client, is gone
    }
    assert_eq!(requests, [(0, 0)]);
}

/// A clock that fails once.
#[derive(Default)]
struct Fragile {
    has_failed: AtomicBool,
}

impl Clock for Fragile {
    fn now(&self) -> std::time::Instant {
        SystemClock.now()
    }

    fn wall(&self) -> SystemTime {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("without a message on stderr"));
        }
        SystemClock.wall()
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_does_not_end_the_task() {
    let (registry, _) = registry();
    let collector = Collector::new([]);
    let handle = collector
        .exporter(&registry)
        .clock(Fragile::default())
        .start()
        .unwrap();
    let error = handle.flush().await.unwrap_err();
    assert_eq!(*error.kind(), OtlpErrorKind::Encode);
    handle.flush().await.unwrap();
    let stats = handle.stats();
    assert_eq!(
        (stats.pushed, stats.failed, collector.requests().len()),
        (1, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_done_can_be_scraped() {
    let (registry, _) = registry();
    let collector = Collector::new([Reply::Busy("1"), Reply::Rejects(1), Reply::Status(400)]);
    let exporter = collector.exporter(&registry).observe(&registry).unwrap();
    assert!(OtlpExporter::http(&registry).observe(&registry).is_err());
    let handle = exporter.start().unwrap();
    assert!(handle.flush().await.is_err());
    assert!(handle.flush().await.is_err());
    let text = registry.to_text();
    for line in [
        "cortex_metrics_pushes_total{outcome=\"ok\"} 1",
        "cortex_metrics_pushes_total{outcome=\"failed\"} 1",
        "cortex_metrics_push_retries_total 1",
        "cortex_metrics_push_points_total{outcome=\"accepted\"} 6",
        "cortex_metrics_push_points_total{outcome=\"rejected\"} 1",
        "cortex_metrics_push_points_total{outcome=\"dropped\"} 7",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
