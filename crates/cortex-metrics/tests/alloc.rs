//! What is asked of the allocator: nothing by the tower layer for a request, no more than is said by a scrape.
//!
//! A binary of its own: it replaces the allocator.

#![cfg(feature = "tower")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use cortex_metrics::layer::{MetricsLayer, MetricsService, Route};
use cortex_metrics::{Registry, Samples};
use cortex_testkit::CountingAllocator;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

type Answer = Result<Response<Full<Bytes>>, Infallible>;

fn answer(_: Request<()>) -> Ready<Answer> {
    ready(Ok(Response::new(Full::new(Bytes::from_static(b"hello")))))
}

/// Serves one request to the end of its body.
fn serve<F>(service: &mut MetricsService<F>, request: Request<()>)
where
    F: Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible, Future = Ready<Answer>>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = Pin::new(&mut service.call(request)).poll(&mut cx) else {
        panic!("the answer is there");
    };
    let mut body = response.into_body();
    assert!(Pin::new(&mut body).poll_frame(&mut cx).is_ready());
}

fn allocations(layer: &MetricsLayer, uri: &str) -> u64 {
    let mut service = layer.layer(service_fn(answer));
    let request = || {
        let request = Request::get(uri).extension(Route::from("/hello/{name}"));
        request.body(()).unwrap()
    };
    serve(&mut service, request()); // makes the series
    serve(&mut service, request());
    let request = request();
    let ((), usage) = ALLOCATOR.measure(|| serve(&mut service, request));
    usage.allocations
}

#[test]
fn a_request_allocates_nothing() {
    let registry = Registry::default();
    let server = MetricsLayer::server(&registry).unwrap();
    let client = MetricsLayer::client(&registry).unwrap();
    assert_eq!(allocations(&server, "/hello/world"), 0);
    assert_eq!(
        allocations(&client, "https://user@hello.example:8443/hello/world"),
        0
    );
    let text = registry.to_text();
    for side in ["http_server", "http_client"] {
        let count = text
            .lines()
            .find(|line| line.starts_with(&format!("{side}_request_duration_seconds_count")));
        assert!(count.is_some_and(|line| line.ends_with(" 3")), "{text}");
    }
}

/// Returns what a scrape keeps of a collector that gives samples until nothing more is kept, and the length of the
/// exposition.
fn kept_of(samples: u32, value: &'static str) -> (i64, usize) {
    let registry = Registry::default();
    let kept = Arc::<AtomicI64>::default();
    let keeps = Arc::clone(&kept);
    registry.register_collector(move |out: &mut Samples<'_>| {
        let give = || {
            let long = value.repeat(256);
            for n in 0..samples {
                // So that collections have just grown.
                let name = format!("f{}", n / 1_100);
                out.gauge(&name, "", &[("a", &n.to_string()), ("b", &long)], 1.0);
            }
        };
        let ((), usage) = ALLOCATOR.measure(give);
        keeps.store(usage.retained(), Ordering::Relaxed);
    });
    let text = registry.to_text();
    (kept.load(Ordering::Relaxed), text.len())
}

#[test]
fn a_collector_is_given_as_much_memory_as_is_said() {
    let most = i64::try_from(Samples::MAX_BYTES).unwrap();
    for (samples, value) in [(300_000, ""), (140_000, "\u{1}"), (90_000, "\n")] {
        let (kept, exposed) = kept_of(samples, value);
        assert!(kept <= most, "{value:?}: {kept}");
        // Not much less either.
        assert!(kept >= most / 3, "{value:?}: {kept}");
        assert!(exposed >= 4 << 20, "{value:?}: {exposed}");
    }
}
