//! A request that is not sampled costs no allocation of ours.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::routing::get;
use cortex_http::{Routes, Server};
use cortex_metrics::Registry;
use cortex_testkit::CountingAllocator;
use cortex_trace::{AlwaysOff, ParentBased, Tracer};
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use tower_service::Service;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

const CALLS: usize = 100;

/// Returns how often a service allocates when it is called, after it was called before.
fn allocations<S, B>(mut service: S, request: impl Fn() -> Request<Body>) -> u64
where
    S: Service<Request<Body>, Response = Response<B>, Error: std::fmt::Debug>,
    B: HttpBody<Error: std::fmt::Debug> + Unpin,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut call = || {
        runtime.block_on(async {
            let response = service.call(request()).await.unwrap();
            assert_eq!(response.status(), 200);
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                frame.unwrap();
            }
        });
    };
    (0..CALLS).for_each(|_| call()); // what is made once: cells, caches, places
    let ((), usage) = ALLOCATOR.measure(|| (0..CALLS).for_each(|_| call()));
    usage.allocations
}

/// Makes requests as hyper does: what they consist of is part of the bytes that were read.
fn get_of(
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
) -> impl Fn() -> Request<Body> {
    let read = Bytes::copy_from_slice(path.as_bytes());
    move || {
        let uri = Uri::from_maybe_shared(read.clone()).unwrap();
        let request = headers.iter().fold(Request::get(uri), |request, (name, value)| {
            request.header(*name, *value)
        });
        request.body(Body::empty()).unwrap()
    }
}

/// Is not ready at once, as hardly any real handler is.
async fn waits() -> &'static str {
    tokio::task::yield_now().await;
    "one"
}

const TRACED: &[(&str, &str)] = &[(
    "traceparent",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
)];

#[test]
fn a_request_that_is_not_sampled_allocates_what_the_router_does() {
    // As a service does that logs: what is neither slow nor failed has no line.
    let subscriber = tracing_subscriber::registry().with(LevelFilter::INFO);
    let _logging = tracing::subscriber::set_default(subscriber);
    for (path, headers) in [
        ("/", &[] as &[_]),
        (
            "/",
            &[
                ("accept-encoding", "gzip, br, zstd"),
                ("user-agent", "curl/8.11.0"),
            ],
        ),
        ("/users/7", &[]),
        ("/", TRACED),
    ] {
        let request = get_of(path, headers);
        let bare = Router::new()
            .route("/", get(async || "hello"))
            .route("/users/{id}", get(waits))
            .with_state(()); // as `axum::serve` does
        let routes = Routes::new()
            .route("/", get(async || "hello"))
            .route("/users/{id}", get(waits));
        let tracer = Tracer::builder("shop")
            .sampler(ParentBased::root(AlwaysOff))
            .build()
            .unwrap();
        let server = Server::new(routes).metrics(&Registry::default()).tracer(tracer);
        let expected = allocations(bare, &request);
        let ours = allocations(server.service().unwrap(), &request);
        assert_eq!(ours, expected, "{path} {headers:?}");
    }
}

#[test]
fn the_metrics_of_a_thousand_routes_cost_no_memory_before_there_are_requests() {
    let service = |metrics: bool, count: usize| {
        let routes = (0..count).fold(Routes::new(), |routes, index| {
            routes.route(&format!("/route/{index}"), get(async || "hello"))
        });
        let server = Server::new(routes);
        let registry = Registry::default();
        let (service, usage) = ALLOCATOR.measure(|| {
            let server = if metrics {
                server.metrics(&registry)
            } else {
                server
            };
            server.service().unwrap()
        });
        drop(service);
        usage.retained()
    };
    let cost = |count| service(true, count) - service(false, count);
    let (few, many) = (cost(1), cost(1_000));
    assert!(many - few < 4_096, "{few} bytes with a route, {many} with 1,000");
}
