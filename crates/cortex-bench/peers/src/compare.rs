use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderValue, Request, Response};
use cortex_bench::{Series, drive, interleave};
use http_body_util::{BodyExt, Full};
use rustix::time::{ClockId, clock_gettime};
use tower_layer::Layer;
use tower_service::Service;

use crate::{Failure, bodies};

/// How often each variant is measured, and for how long.
const PASSES: usize = 24;
const BATCH: Duration = Duration::from_millis(8);

/// Measures gzip by ours and by tower-http with its defaults around the same handler, in turn.
pub(crate) fn run() -> Result<(), Failure> {
    let ours = cortex_compress::CompressionLayer::new();
    let theirs = tower_http::compression::CompressionLayer::new();
    for (path, body) in bodies() {
        let size = path.trim_start_matches('/').trim_end_matches(".json");
        let handler = Json(body.into());
        let (mut ours, mut theirs) = (ours.layer(handler.clone()), theirs.layer(handler));
        let lengths = [answer(&mut ours), answer(&mut theirs)];
        let mut variants: [(&str, Box<dyn FnMut() -> usize>, Series); 2] = [
            ("cortex", Box::new(|| answer(&mut ours)), Series::default()),
            ("tower-http", Box::new(|| answer(&mut theirs)), Series::default()),
        ];
        for n in interleave(variants.len(), PASSES) {
            let (_, call, series) = &mut variants[n];
            series.push(time(call));
        }
        for ((name, _, series), length) in variants.iter().zip(lengths) {
            let nanos = series.median().ok_or("nothing was measured")?;
            println!("default-gzip-{size}/{name} {nanos}");
            println!("default-gzip-{size}-bytes/{name} {length}");
        }
    }
    Ok(())
}

/// Returns the nanoseconds of a processor that a call takes, from as many calls as a batch takes.
fn time(call: &mut dyn FnMut() -> usize) -> f64 {
    let start = spent();
    for calls in 1.. {
        black_box(call());
        let elapsed = spent().saturating_sub(start);
        if elapsed >= BATCH {
            return elapsed.as_secs_f64() * 1e9 / f64::from(calls);
        }
    }
    unreachable!("the loop has no other end")
}

/// The time that this thread had a processor: others that want it, too, must not count.
fn spent() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).expect("a processor's time is not negative")
}

/// Answers a request and returns the length of the body as it would be sent; it is boxed, as axum does.
fn answer<S, B>(service: &mut S) -> usize
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut request = Request::new(());
    request
        .headers_mut()
        .insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let Ok(response) = drive(service.call(request));
    assert_eq!(
        response.headers().get(CONTENT_ENCODING),
        Some(&HeaderValue::from_static("gzip"))
    );
    let body = drive(Body::new(response.into_body()).collect()).expect("a body from memory cannot fail");
    body.to_bytes().len()
}

/// Answers everything with the same JSON.
#[derive(Clone)]
struct Json(Bytes);

impl Service<Request<()>> for Json {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let mut response = Response::new(Full::new(self.0.clone()));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        ready(Ok(response))
    }
}
