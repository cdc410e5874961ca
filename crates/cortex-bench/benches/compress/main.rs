//! A JSON response through the compression middleware, beside tower-http's with its defaults.
//!
//! Both are measured around the same service, with each coding and with a client that accepts none. tower-http is
//! helped: in one build its gzip uses the same zlib-rs as ours, three times as fast as the `miniz_oxide` it has alone.
//!
//! `stream-*` is a body of 1 MB that comes in frames; `longest-*` is the longest time that such a response keeps its
//! thread to itself before others may run.

use std::convert::Infallible;
use std::fmt::Write;
use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderValue, Request, Response};
use cortex_bench::drive;
use criterion::Criterion;
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use rustix::time::{ClockId, clock_gettime};
use tower_layer::Layer;
use tower_service::Service;

const CODINGS: [&str; 3] = ["gzip", "zstd", "br"];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let ours = cortex_compress::CompressionLayer::new();
    let theirs = tower_http::compression::CompressionLayer::new();
    for (size, name) in [(1_000, "1k"), (10_000, "10k"), (100_000, "100k")] {
        let handler = Json(Full::new(catalogue(size)));
        let mut ours = ours.layer(handler.clone());
        let mut theirs = theirs.layer(handler);
        for coding in CODINGS {
            let sizes = [answer(&mut ours, Some(coding)), answer(&mut theirs, Some(coding))];
            assert!(
                fairly_small(sizes, 108),
                "{coding} {name}: time must not be bought with size, but ours and theirs are {sizes:?} bytes"
            );
            let mut group = criterion.benchmark_group(format!("{coding}-{name}"));
            group.bench_function("cortex", |b| b.iter(|| answer(&mut ours, Some(coding))));
            group.bench_function("tower-http", |b| b.iter(|| answer(&mut theirs, Some(coding))));
        }
    }
    let handler = Json(Frames::new(&catalogue(1_000_000)));
    let mut ours_streamed = ours.layer(handler.clone());
    let mut theirs_streamed = theirs.layer(handler);
    for coding in CODINGS {
        let sizes = [
            answer(&mut ours_streamed, Some(coding)),
            answer(&mut theirs_streamed, Some(coding)),
        ];
        assert!(
            fairly_small(sizes, 110),
            "{coding}: time must not be bought with size, but ours and theirs are {sizes:?} bytes"
        );
        let mut group = criterion.benchmark_group(format!("stream-{coding}"));
        group.bench_function("cortex", |b| b.iter(|| answer(&mut ours_streamed, Some(coding))));
        group.bench_function("tower-http", |b| {
            b.iter(|| answer(&mut theirs_streamed, Some(coding)));
        });
        group.finish();
        let mut group = criterion.benchmark_group(format!("longest-{coding}"));
        group.bench_function("cortex", |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| longest(&mut ours_streamed, coding)).sum());
        });
        group.bench_function("tower-http", |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| longest(&mut theirs_streamed, coding)).sum());
        });
    }
    let mut bare = Json(Full::new(catalogue(10_000)));
    let mut ours = ours.layer(bare.clone());
    let mut theirs = theirs.layer(bare.clone());
    let mut group = criterion.benchmark_group("idle");
    group.bench_function("bare", |b| b.iter(|| answer(&mut bare, None)));
    group.bench_function("cortex", |b| b.iter(|| answer(&mut ours, None)));
    group.bench_function("tower-http", |b| b.iter(|| answer(&mut theirs, None)));
    group.finish();
    criterion.final_summary();
}

/// Our defaults are faster levels than theirs, and windows of streams are of 64 KB, so that a slow reader does not hold
/// megabytes; their output may be smaller, but not by much.
const fn fairly_small([ours, theirs]: [usize; 2], percent: usize) -> bool {
    ours * 100 <= theirs * percent
}

/// Answers a request and returns the length of the body as it would be sent.
///
/// The body is boxed, as axum does with whatever a layer returns: one library's body is a kilobyte large, and a bench
/// that moves it about would measure its own moves.
fn answer<S, B>(service: &mut S, accept: Option<&'static str>) -> usize
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut request = Request::new(());
    if let Some(coding) = accept {
        request
            .headers_mut()
            .insert(ACCEPT_ENCODING, HeaderValue::from_static(coding));
    }
    let Ok(response) = drive(service.call(request));
    let coding = response.headers().get(CONTENT_ENCODING);
    assert_eq!(coding.map(HeaderValue::as_bytes), accept.map(str::as_bytes));
    let body = drive(Body::new(response.into_body()).collect()).expect("a body from memory cannot fail");
    body.to_bytes().len()
}

/// The time that this thread had a processor: others that want it, too, must not count.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).expect("a processor's time is not negative")
}

/// Answers a request as a server does that asks for more as long as there is more, and returns the longest time of
/// work until the response let others run.
fn longest<S, B>(service: &mut S, coding: &'static str) -> Duration
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut request = Request::new(());
    request
        .headers_mut()
        .insert(ACCEPT_ENCODING, HeaderValue::from_static(coding));
    let mut cx = Context::from_waker(Waker::noop());
    let mut longest = Duration::ZERO;
    let mut response = pin!(service.call(request));
    let mut body: Option<Body> = None;
    let mut ended = false;
    while !ended {
        let start = cpu_time();
        loop {
            if let Some(body) = &mut body {
                match Pin::new(body).poll_frame(&mut cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(end) => {
                        assert!(end.is_none(), "a body from memory cannot fail");
                        ended = true;
                        break;
                    }
                    Poll::Pending => break,
                }
            } else {
                match response.as_mut().poll(&mut cx) {
                    Poll::Ready(Ok(response)) => body = Some(Body::new(response.into_body())),
                    Poll::Pending => break,
                }
            }
        }
        longest = longest.max(cpu_time().saturating_sub(start));
    }
    longest
}

/// A body that comes in frames of 16 KB, of which none has to be waited for.
#[derive(Clone)]
struct Frames(std::vec::IntoIter<Bytes>);

impl Frames {
    fn new(whole: &Bytes) -> Self {
        let frames: Vec<_> = whole.chunks(16_000).map(|frame| whole.slice_ref(frame)).collect();
        Self(frames.into_iter())
    }
}

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|data| Ok(Frame::data(data))))
    }
}

/// Answers everything with the same JSON.
#[derive(Clone)]
struct Json<B>(B);

impl<B: Clone> Service<Request<()>> for Json<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let mut response = Response::new(self.0.clone());
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        ready(Ok(response))
    }
}

/// Makes a product list of about `size` bytes, with the mix of repetition and chance that such lists have.
fn catalogue(size: usize) -> Bytes {
    const WORDS: [&str; 16] = [
        "amber", "brass", "canvas", "desk", "enamel", "folding", "glass", "hand", "iron", "jute", "kettle",
        "lamp", "maple", "nickel", "oak", "pine",
    ];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        // xorshift64*: the same list in every run.
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        (seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % below
    };
    let mut json = String::from("[");
    while json.len() < size {
        let mut word = || WORDS[usize::try_from(next(16)).expect("below 16")];
        let (name, detail) = (
            format!("{} {} {}", word(), word(), word()),
            format!("{} and {}", word(), word()),
        );
        let separator = if json.len() > 1 { "," } else { "" };
        write!(
            json,
            r#"{separator}{{"id":"{:08x}","name":"{name}","description":"A {name}, made of {detail}.","price":{{"amount":{},"currency":"EUR"}},"stock":{},"rating":{}.{}}}"#,
            next(1 << 32),
            next(90_000) + 500,
            next(200),
            next(5),
            next(10),
        )
        .expect("a string takes all");
    }
    json.push(']');
    json.into()
}
