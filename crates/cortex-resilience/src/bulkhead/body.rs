use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// A body that holds a permit until it has ended: after its last frame or an error, or when it is dropped.
    ///
    /// A response is not done with its head. What the permit is does not matter: one of a [`Bulkhead`](super::Bulkhead), of a
    /// semaphore, or whatever does its work when it is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_resilience::bulkhead::{Bulkhead, PermitBody};
    /// use http_body::Body;
    ///
    /// # fn answer() -> http::Response<String> { http::Response::new("hello".to_owned()) }
    /// let bulkhead = Bulkhead::builder("search").max_concurrent(1).build()?;
    /// let permit = bulkhead.try_acquire_owned()?;
    /// let response = answer().map(|body| PermitBody::new(body, permit));
    /// assert_eq!(bulkhead.snapshot().in_use, 1);
    /// drop(response); // or: once it was sent
    /// assert_eq!(bulkhead.snapshot().in_use, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug)]
    pub struct PermitBody<B, P> {
        #[pin]
        body: B,
        permit: Option<P>,
    }
}

impl<B: Body, P> PermitBody<B, P> {
    /// Gives a body the permit to hold; one that is empty drops it at once.
    pub fn new(body: B, permit: P) -> Self {
        Self::held(body, Some(permit))
    }

    pub(super) fn held(body: B, permit: Option<P>) -> Self {
        let permit = permit.filter(|_| !body.is_end_stream());
        Self { body, permit }
    }
}

impl<B, P> PermitBody<B, P> {
    /// Returns the permit, unless the body has ended.
    pub const fn permit(&self) -> Option<&P> {
        self.permit.as_ref()
    }
}

impl<B: Body, P> Body for PermitBody<B, P> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        // Who knows that this was the last frame does not ask for another.
        if !matches!(frame, Some(Ok(_))) || this.body.is_end_stream() {
            *this.permit = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
