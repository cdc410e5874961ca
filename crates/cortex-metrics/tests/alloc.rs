//! What the tower layer asks of the allocator for a request: nothing.
//!
//! A binary of its own: it replaces the allocator.

#![cfg(feature = "tower")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use cortex_metrics::Registry;
use cortex_metrics::layer::{MetricsLayer, MetricsService, Route};
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
