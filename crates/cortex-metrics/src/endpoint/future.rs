use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;

use super::ScrapeBody;

/// The answer of a [`ScrapeService`](crate::ScrapeService), once it is there.
///
/// # Cancel safety
///
/// Dropping it gives up the place among the scrapes in flight; an exposition that was started for it goes on for those
/// who joined it.
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Response<ScrapeBody>> + Send>>);

impl ResponseFuture {
    pub(super) fn new(answer: impl Future<Output = Response<ScrapeBody>> + Send + 'static) -> Self {
        Self(Box::pin(answer))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ScrapeBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
