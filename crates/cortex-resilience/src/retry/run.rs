use super::error::{Error, GaveUp};
use super::policy::Retry;
use super::progress::{Link, Progress, Verdict};
use crate::attempt::Attempt;
use crate::classify::Classify;
use crate::observer::Observer;
use crate::outcome::Outcome;
use crate::rejected::Rejected;
use cortex_core::Clock;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::{Sleep, sleep, sleep_until};

/// Makes the attempts of a [`Run`]; `Retry::call`, the service and pipelines have one.
pub trait Make {
    /// An attempt.
    type Future: Future;
    /// Its error.
    type Error;

    /// Waits until another attempt can be made.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>>;

    /// Makes an attempt.
    fn make(&mut self, attempt: Attempt) -> Self::Future;

    /// Says whether another one could be made, unless the one before was the last.
    fn is_repeatable(&self) -> bool {
        true
    }
}

/// After so many attempts in a row without a delay others get their turn.
const IN_A_ROW: u32 = 32;

pin_project! {
    /// All attempts of a call, whoever makes them.
    ///
    /// # Cancel safety
    ///
    /// As [`Call`](super::Call).
    pub struct Run<'a, M, F: Future, C, O, K> {
        link: Link<'a, C, O, K>,
        make: M,
        progress: Progress<'a>,
        last: Option<F::Output>,
        // Beside the stage, which costs more to replace.
        is_idle: bool,
        #[pin]
        stage: Stage<F>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F> {
        Running {
            #[pin]
            attempt: F,
        },
        Waiting {
            #[pin]
            sleep: Sleep,
        },
        /// The delay is over. The timer is for a deadline, while the next attempt can't be made.
        Readying {
            #[pin]
            timer: Option<Sleep>,
        },
        /// Others have their turn.
        Yielding,
        /// Of a layer.
        Refused {
            why: Option<Rejected>,
        },
        Done,
    }
}

impl<'a, M, F: Future, C, O, K> Run<'a, M, F, C, O, K> {
    /// Makes a call of a policy that is borrowed.
    #[inline]
    pub(crate) const fn borrowed(retry: &'a Retry<C, O, K>, make: M) -> Self {
        Self::new(Link::Borrowed(retry), make)
    }

    /// Makes a call that begins at its first poll.
    pub(super) const fn new(link: Link<'a, C, O, K>, make: M) -> Self {
        Self {
            link,
            make,
            progress: Progress::new(),
            last: None,
            is_idle: true,
            stage: Stage::Done, // what panics while it is made is not polled again
        }
    }

    /// Makes a call whose first attempt has begun.
    #[cfg(feature = "tower")]
    pub(super) const fn begun(link: Link<'a, C, O, K>, make: M, progress: Progress<'a>, attempt: F) -> Self {
        Self {
            link,
            make,
            progress,
            last: None,
            is_idle: false,
            stage: Stage::Running { attempt },
        }
    }

    /// Makes a call that was refused, or was not ready.
    #[cfg(feature = "tower")]
    pub(super) const fn refused(link: Link<'a, C, O, K>, make: M, why: Option<Rejected>) -> Self {
        Self {
            link,
            make,
            progress: Progress::new(),
            last: None,
            is_idle: false,
            stage: Stage::Refused { why },
        }
    }
}

impl<M, F, T, E, C, O, K> Future for Run<'_, M, F, C, O, K>
where
    M: Make<Future = F, Error = E>,
    F: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
    O: Observer,
    K: Clock,
{
    type Output = Result<T, Error<E>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_idle
            && let Err(rejected) = self.as_mut().begin()
        {
            return Poll::Ready(Err(Error::Rejected(rejected)));
        }
        // What most calls do is here, and small.
        let mut this = self.as_mut().project();
        if let StageProj::Running { attempt } = this.stage.as_mut().project() {
            let poll = this.progress.run(|| attempt.poll(cx));
            if poll.is_pending() {
                return Poll::Pending;
            }
            // What the attempt holds is free before anything is decided, and while the call waits.
            this.stage.set(Stage::Done);
            // Looked at where it is: to move it first takes longer than all else here.
            let Poll::Ready(result) = &poll else {
                return Poll::Pending;
            };
            let outcome = this.link.classify.outcome(result.as_ref());
            if outcome == Outcome::Success {
                this.progress.succeeded();
                return poll.map(|result| this.progress.gave_up((GaveUp::NotRetryable, None), result));
            }
            let result = ready!(poll);
            if let Some(answer) = self.as_mut().failed(outcome, result) {
                return Poll::Ready(answer);
            }
        }
        self.go_on(cx)
    }
}

impl<M, F, T, E, C, O, K> Run<'_, M, F, C, O, K>
where
    M: Make<Future = F, Error = E>,
    F: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
    O: Observer,
    K: Clock,
{
    /// Makes the first attempt.
    #[inline]
    fn begin(self: Pin<&mut Self>) -> Result<(), Rejected> {
        let mut this = self.project();
        *this.is_idle = false;
        let attempt = this.link.first(this.progress)?;
        let attempt = this.progress.run(|| this.make.make(attempt));
        this.stage.set(Stage::Running { attempt });
        Ok(())
    }

    /// Decides what comes after an attempt that was no success; returns the answer if that is the end.
    fn failed(self: Pin<&mut Self>, outcome: Outcome, result: F::Output) -> Option<Result<T, Error<E>>> {
        let mut this = self.project();
        let verdict = this.link.failed(this.progress, outcome, result.as_ref());
        let result = this.link.last(this.last.take(), result);
        match verdict {
            Verdict::GiveUp(reason, refusal) => {
                return Some(this.progress.gave_up((reason, refusal), result));
            }
            Verdict::Retry { delay, .. } if delay.is_zero() => {
                let yields = this.progress.attempts.is_multiple_of(IN_A_ROW);
                let next = if yields {
                    Stage::Yielding
                } else {
                    Stage::Readying { timer: None }
                };
                this.stage.set(next);
            }
            Verdict::Retry { delay, .. } => this.stage.set(Stage::Waiting { sleep: sleep(delay) }),
        }
        *this.last = Some(result);
        None
    }

    /// Waits for the next attempt, makes it, and so on.
    #[inline(never)]
    fn go_on(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error<E>>> {
        loop {
            let mut this = self.as_mut().project();
            match this.stage.as_mut().project() {
                StageProj::Running { attempt } => {
                    let poll = this.progress.run(|| attempt.poll(cx));
                    let result = ready!(poll);
                    this.stage.set(Stage::Done);
                    let outcome = this.link.classify.outcome(result.as_ref());
                    if outcome == Outcome::Success {
                        this.progress.succeeded();
                        return Poll::Ready(this.progress.gave_up((GaveUp::NotRetryable, None), result));
                    }
                    if let Some(answer) = self.as_mut().failed(outcome, result) {
                        return Poll::Ready(answer);
                    }
                }
                StageProj::Waiting { sleep } => {
                    ready!(sleep.poll(cx));
                    this.stage.set(Stage::Readying { timer: None });
                }
                StageProj::Yielding => {
                    this.stage.set(Stage::Readying { timer: None });
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                StageProj::Readying { .. } => {
                    if let Some(answer) = ready!(self.as_mut().poll_again(cx)) {
                        return Poll::Ready(answer);
                    }
                }
                StageProj::Refused { why } => {
                    let error = why.map_or(Error::NotReady, Error::Rejected);
                    this.stage.set(Stage::Done);
                    return Poll::Ready(Err(error));
                }
                StageProj::Done => {
                    panic!("a call was polled after it was ready, or had panicked")
                }
            }
        }
    }

    /// Makes another attempt once that is possible; returns the answer if there is none.
    fn poll_again(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error<E>>>> {
        let mut this = self.project();
        let readiness = this.progress.run(|| this.make.poll_ready(cx));
        if readiness.is_pending() && !this.link.inner.is_late(this.progress) {
            // Nobody waits for this for longer than until the deadline.
            let Some(deadline) = this.progress.deadline else {
                return Poll::Pending;
            };
            let StageProj::Readying { mut timer } = this.stage.as_mut().project() else {
                unreachable!("it becomes ready")
            };
            if timer.is_none() {
                timer.set(Some(sleep_until(deadline.instant().into())));
            }
            if let Some(timer) = timer.as_pin_mut() {
                ready!(timer.poll(cx));
            }
        }
        this.stage.set(Stage::Done);
        let again = match readiness {
            Poll::Ready(Ok(())) => this.link.again(this.progress),
            Poll::Ready(Err(_)) => {
                // Whoever waits for the service next is told what it is.
                this.link.inner.give_up(this.progress, GaveUp::NotReady);
                Err(GaveUp::NotReady)
            }
            Poll::Pending => {
                this.link.inner.give_up(this.progress, GaveUp::Deadline);
                Err(GaveUp::Deadline)
            }
        };
        let Some(last) = this.last.take() else {
            unreachable!("an attempt was made before this one")
        };
        let attempt = match again {
            Ok(attempt) => attempt,
            Err(reason) => {
                let refusal = this.progress.refusal();
                return Poll::Ready(Some(this.progress.gave_up((reason, refusal), last)));
            }
        };
        *this.last = this.link.keep(last);
        let future = this.progress.run(|| this.make.make(attempt));
        this.progress.is_repeatable = attempt.is_last || this.make.is_repeatable();
        this.stage.set(Stage::Running { attempt: future });
        Poll::Ready(None)
    }
}

impl<M, F: Future, C, O, K> fmt::Debug for Run<'_, M, F, C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            _ if self.is_idle => "idle",
            Stage::Running { .. } => "running",
            Stage::Waiting { .. } | Stage::Yielding => "waiting",
            Stage::Readying { .. } => "becoming ready",
            Stage::Refused { .. } => "refused",
            Stage::Done => "done",
        };
        f.debug_struct("Run")
            .field("retry", &*self.link)
            .field("attempts", &self.progress.attempts)
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}
