use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderValue, Request, Response};
use cortex_bench::drive;
use http_body::Frame;
use http_body_util::BodyExt;
use rustix::time::{ClockId, clock_gettime};
use tower_service::Service;

/// Answers a request and returns the length of the body as it would be sent.
///
/// The body is boxed, as axum does with whatever a layer returns: one library's body is a kilobyte large, and a bench
/// that moves it about would measure its own moves.
pub(crate) fn answer<S, B>(service: &mut S, accept: Option<&'static str>) -> usize
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
pub(crate) fn longest<S, B>(service: &mut S, coding: &'static str) -> Duration
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

/// How long the frames of a streamed body are.
pub(crate) const FRAME: usize = 16_000;

/// A body that comes in frames of 16 KB, of which none has to be waited for.
#[derive(Clone)]
pub(crate) struct Frames(std::vec::IntoIter<Bytes>);

impl Frames {
    pub(crate) fn new(whole: &Bytes) -> Self {
        let frames: Vec<_> = whole.chunks(FRAME).map(|frame| whole.slice_ref(frame)).collect();
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
pub(crate) struct Json<B>(pub(crate) B);

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
