//! What the tower layers cost for a request that is not sampled.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use cortex_trace::layer::{TraceClientLayer, TraceServerLayer};
use cortex_trace::{AlwaysOff, ParentBased, Tracer};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, service_fn};

use super::{ALLOCATOR, NoClock};

fn tracers() -> [Tracer; 2] {
    let never = Tracer::builder("shop").clock(NoClock);
    [
        Tracer::propagate_only(),
        never.sampler(ParentBased::root(AlwaysOff)).build().unwrap(),
    ]
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is there at once"),
    }
}

fn request(headers: HeaderMap) -> Request<()> {
    let mut request = Request::get("/items/7").body(()).unwrap();
    *request.headers_mut() = headers;
    request
}

#[test]
fn serving_allocates_nothing_and_reads_no_clock() {
    let mut headers = HeaderMap::new();
    headers.insert("host", "shop.example".parse().unwrap());
    headers.insert(
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02"
            .parse()
            .unwrap(),
    );
    for tracer in tracers() {
        let mut service = TraceServerLayer::new(tracer).layer(service_fn(|_: Request<()>| {
            ready(Ok::<_, Infallible>(Response::new(Full::<&[u8]>::new(b"seven"))))
        }));
        for headers in [HeaderMap::new(), headers.clone()] {
            let request = request(headers);
            let (body, usage) = ALLOCATOR.measure(|| {
                let response = now(service.call(request)).unwrap();
                now(response.into_body().frame())
            });
            assert!(body.unwrap().unwrap().is_data());
            assert_eq!(usage.allocations, 0);
        }
    }
}

#[test]
fn calling_allocates_what_the_header_needs() {
    for tracer in tracers() {
        let ours = |host: &str| host == "stock.internal";
        let layer = TraceClientLayer::new(tracer).propagate_to(ours);
        let mut service = layer.layer(service_fn(
            |request: Request<()>| -> Ready<Result<_, Infallible>> { ready(Ok(Response::new(request))) },
        ));
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert("host", "stock.internal".parse().unwrap());
        let mut request = request(headers);
        *request.uri_mut() = "http://stock.internal/7".parse().unwrap();
        let (response, usage) = ALLOCATOR.measure(|| now(service.call(request)).unwrap());
        assert!(response.body().headers().contains_key("traceparent"));
        assert_eq!(usage.allocations, 1, "the value of traceparent");
    }
}
