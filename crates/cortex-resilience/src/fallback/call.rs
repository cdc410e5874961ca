use super::handler::Handler;
use super::policy::Fallback;
use crate::classify::Classify;
use crate::link::Link;
use crate::observer::Observer;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// A future with a fallback; made by [`Fallback::call`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future, or what answers instead.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<'a, F, G, P> {
        fallback: Link<'a, P>,
        #[pin]
        stage: Stage<F, G>,
    }
}

pin_project! {
    #[project = StageProject]
    enum Stage<F, G> {
        Inner { #[pin] future: F },
        Other { #[pin] future: G },
        Done,
    }
}

impl<'a, F, G, P> Call<'a, F, G, P> {
    pub(super) const fn new(fallback: Link<'a, P>, future: F) -> Self {
        Self {
            fallback,
            stage: Stage::Inner { future },
        }
    }
}

impl<F, T, E, H, C, O> Future for Call<'_, F, H::Future, Fallback<H, C, O>>
where
    F: Future<Output = Result<T, E>>,
    H: Handler<T, E>,
    C: Classify<T, E>,
    O: Observer,
{
    type Output = Result<T, E>;

    /// # Panics
    ///
    /// It was ready before, or the inner future or what answers instead panics.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProject::Inner { future } => {
                    let result = ready!(future.poll(cx));
                    this.stage.set(Stage::Done); // also if somebody else's code panics
                    match this.fallback.take(result) {
                        Ok(result) => return Poll::Ready(result),
                        Err(future) => this.stage.set(Stage::Other { future }),
                    }
                }
                StageProject::Other { future } => {
                    let result = ready!(future.poll(cx));
                    this.stage.set(Stage::Done);
                    return Poll::Ready(result);
                }
                StageProject::Done => panic!("a call was polled after it was ready, or had panicked"),
            }
        }
    }
}

impl<F, G, P> fmt::Debug for Call<'_, F, G, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Inner { .. } => "inner",
            Stage::Other { .. } => "other",
            Stage::Done => "done",
        };
        f.debug_struct("Call")
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}
