use super::delay::{Delay, sleep};
use super::fault::Fault;
use super::policy::{Chaos, Plan};
use super::source::Source;
use crate::link::Link;
use crate::observer::Observer;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// A future that is exposed to faults; made by [`Chaos::call`].
    ///
    /// Chance decides when it is made, and what it decides happens when it is polled.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future. One that hangs does so until it is dropped.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<'a, F, P> {
        chaos: Link<'a, P>,
        plan: Plan,
        stage: Stage,
        #[pin]
        delay: Option<Delay>,
        #[pin]
        inner: F,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begins,
    Late,
    OnTime,
    Inner,
    Hangs,
    Done,
}

impl<'a, F, P> Call<'a, F, P> {
    pub(super) const fn new(chaos: Link<'a, P>, plan: Plan, inner: F) -> Self {
        Self {
            chaos,
            plan,
            stage: Stage::Begins,
            delay: None,
            inner,
        }
    }
}

impl<F, T, E, Er, A, W, O> Future for Call<'_, F, Chaos<Er, A, W, O>>
where
    F: Future<Output = Result<T, E>>,
    Er: Source<T, E>,
    A: Source<T, E>,
    O: Observer,
{
    type Output = Result<T, E>;

    /// # Panics
    ///
    /// It was ready before, or the inner future panics.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match *this.stage {
                Stage::Begins => {
                    *this.stage = Stage::OnTime;
                    if let Some(late) = this.plan.late {
                        this.delay.set(Some(sleep(late)));
                        *this.stage = Stage::Late;
                        this.chaos.tell(Fault::Latency(late));
                    }
                }
                Stage::Late => {
                    if let Some(delay) = this.delay.as_mut().as_pin_mut() {
                        ready!(delay.poll(cx));
                    }
                    this.delay.set(None);
                    *this.stage = Stage::OnTime;
                }
                Stage::OnTime => {
                    let Some(fault) = this.plan.then.filter(|fault| *fault != Fault::Loss) else {
                        *this.stage = Stage::Inner;
                        continue;
                    };
                    *this.stage = Stage::Done; // also if somebody else's code panics
                    this.chaos.tell(fault);
                    let answer = match fault {
                        Fault::Error => this.chaos.inner.errors.answer(),
                        Fault::Outcome => this.chaos.inner.answers.answer(),
                        _ => {
                            *this.stage = Stage::Hangs;
                            continue;
                        }
                    };
                    if let Some(answer) = answer {
                        return Poll::Ready(answer);
                    }
                    *this.stage = Stage::Inner;
                }
                Stage::Inner => {
                    *this.stage = Stage::Done; // also if it panics
                    let Poll::Ready(result) = this.inner.as_mut().poll(cx) else {
                        *this.stage = Stage::Inner;
                        return Poll::Pending;
                    };
                    if this.plan.then != Some(Fault::Loss) {
                        return Poll::Ready(result);
                    }
                    drop(result);
                    *this.stage = Stage::Hangs;
                    this.chaos.tell(Fault::Loss);
                }
                Stage::Hangs => return Poll::Pending, // nobody wakes it
                Stage::Done => panic!("a call was polled after it was ready, or had panicked"),
            }
        }
    }
}

impl<F, P> fmt::Debug for Call<'_, F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("plan", &self.plan)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
