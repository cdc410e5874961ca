use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// The future of a service; there is none if that was not called, and then nobody polls.
    pub(crate) struct Maybe<F> {
        #[pin]
        pub(crate) future: Option<F>,
    }
}

impl<F: Future> Future for Maybe<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }
}
