use std::fmt;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use cortex_trace::layer::ClientResponseFuture;
use http::Response;
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::body::Body;
use super::error::{BoxError, Error};
use super::settings::Names;
use super::target::Target;
use super::watch::Watch;

pin_project! {
    /// The answer to a [`ClientService`](super::ClientService), on its way.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future of the inner service. The call is counted as `cancelled`; whether it had an effect
    /// is not known.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: ClientResponseFuture<Bounding<F>, Names>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(inner: ClientResponseFuture<Bounding<F>, Names>) -> Self {
        Self { inner }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody,
    E: Into<BoxError>,
{
    type Output = Result<Response<Body<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx)
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// What bounds one call.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) target: Target,
    pub(super) until: Option<(Instant, Limit)>,
    pub(super) body_bytes: u64,
    pub(super) body_idle: Duration,
}

/// What says how long a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    Call(Duration),
    /// The deadline of the context that it was made in, which a policy around the call set.
    Policy,
    /// The deadline of the context that it was made in, which is the caller's.
    Deadline,
}

pin_project! {
    /// A call until the head of its answer.
    pub(super) struct Bounding<F> {
        // None once it has ended, or if it was refused.
        #[pin]
        inner: Option<F>,
        // Waited for only if the answer does not come at once.
        #[pin]
        timer: Option<Sleep>,
        // None once there is an answer.
        bounds: Option<Bounds>,
        watch: Option<Box<Watch>>,
    }
}

impl<F> Bounding<F> {
    pub(super) fn new(inner: F, bounds: Bounds, watch: Option<Box<Watch>>) -> Self {
        Self {
            inner: Some(inner),
            timer: bounds.until.map(|(at, _)| sleep_until(at)),
            bounds: Some(bounds),
            watch,
        }
    }

    /// A call whose time is over before it begins.
    pub(super) const fn refused(bounds: Bounds, watch: Option<Box<Watch>>) -> Self {
        Self {
            inner: None,
            timer: None,
            bounds: Some(bounds),
            watch,
        }
    }
}

impl<F, B, E> Future for Bounding<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody,
    E: Into<BoxError>,
{
    type Output = Result<Response<Body<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let error = match this.inner.as_mut().as_pin_mut() {
            None => this.bounds.take().map(|bounds| bounds.over().unsent()),
            Some(inner) => match inner.poll(cx) {
                Poll::Ready(Ok(response)) => {
                    this.inner.set(None);
                    this.timer.set(None);
                    let bounds = this.bounds.take().expect(ONCE);
                    return Poll::Ready(Ok(answer(response, bounds, this.watch.take())));
                }
                Poll::Ready(Err(error)) => {
                    let bounds = this.bounds.take();
                    bounds.map(|bounds| Error::below(error.into(), &bounds.target))
                }
                Poll::Pending => {
                    let Some(timer) = this.timer.as_mut().as_pin_mut() else {
                        return Poll::Pending;
                    };
                    // What was polled before may have used up the budget of the task, at every poll.
                    ready!(pin!(unconstrained(timer)).poll(cx));
                    this.bounds.take().map(|bounds| bounds.over())
                }
            },
        };
        let error = error.expect(ONCE);
        this.inner.set(None);
        if let Some(watch) = this.watch.take() {
            watch.end(Some(error.kind().as_str()));
        }
        Poll::Ready(Err(error))
    }
}

const ONCE: &str = "invariant: not polled after it was ready";

fn answer<B: HttpBody>(
    response: Response<B>,
    bounds: Bounds,
    mut watch: Option<Box<Watch>>,
) -> Response<Body<B>> {
    if let Some(watch) = &mut watch {
        watch.answer(response.status());
    }
    response.map(|body| Body::new(body, bounds, watch))
}

impl Bounds {
    /// Says that the time is over.
    pub(super) fn over(&self) -> Error {
        let limit = self.until.map_or(Limit::Deadline, |(_, limit)| limit);
        limit.error(&self.target)
    }
}
