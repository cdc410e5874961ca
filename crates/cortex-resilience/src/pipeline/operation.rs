use super::stages::{Attempts, Execute, Stages};
use crate::attempt::Attempt;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a [`Pipeline`](super::Pipeline) is around.
#[derive(Clone, Copy, Debug)]
pub struct Operation;

impl Stages for Operation {
    type Through<C> = C;

    fn through<C>(classify: C) -> C {
        classify
    }
}

impl<Op, F> Execute<'_, Op> for Operation
where
    Op: FnOnce(Attempt) -> F,
{
    type Future = Lazy<Op, F>;

    #[inline]
    fn execute(&self, operation: Op) -> Lazy<Op, F> {
        Lazy::new(operation, None)
    }
}

impl<Op, F> Attempts<'_, Op> for Operation
where
    Op: Fn(Attempt) -> F + Clone,
{
    type Future = Lazy<Op, F>;

    #[inline]
    fn attempt(&self, operation: &mut Op, attempt: Attempt) -> Lazy<Op, F> {
        Lazy::new(operation.clone(), Some(attempt))
    }
}

#[cfg(feature = "tower")]
impl<I, P> super::stages::Serve<I, P> for Operation {
    type Service = I;

    fn serve(&self, service: I, _: &P) -> I {
        service
    }
}

pin_project! {
    /// Calls a function at its first poll, and is the future that it returns.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Lazy<Op, F> {
        #[pin]
        stage: Stage<Op, F>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<Op, F> {
        Made {
            operation: Option<Op>,
            // None if it is the only one.
            attempt: Option<Attempt>,
        },
        Running {
            #[pin]
            future: F,
        },
    }
}

impl<Op, F> Lazy<Op, F> {
    #[inline]
    const fn new(operation: Op, attempt: Option<Attempt>) -> Self {
        Self {
            stage: Stage::Made {
                operation: Some(operation),
                attempt,
            },
        }
    }
}

impl<Op, F> Future for Lazy<Op, F>
where
    Op: FnOnce(Attempt) -> F,
    F: Future,
{
    type Output = F::Output;

    /// # Panics
    ///
    /// The function or its future panics, or the function did before.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut stage = self.project().stage;
        if let StageProj::Made { operation, attempt } = stage.as_mut().project() {
            let operation = operation.take().expect("a call was polled after it had panicked");
            let attempt = attempt.unwrap_or_else(Attempt::only);
            let future = operation(attempt);
            stage.set(Stage::Running { future });
        }
        match stage.project() {
            StageProj::Running { future } => future.poll(cx),
            StageProj::Made { .. } => unreachable!("it runs"),
        }
    }
}

impl<Op, F> fmt::Debug for Lazy<Op, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_running = matches!(self.stage, Stage::Running { .. });
        f.debug_struct("Lazy")
            .field("is_running", &is_running)
            .finish_non_exhaustive()
    }
}
