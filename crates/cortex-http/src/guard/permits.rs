use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{Completion, Guards, Permit};

/// The permits that a request holds, each with the place of its admission among the guards.
///
/// The first has room of its own: one limit of concurrency is the usual case, and costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    first: Option<(usize, Permit)>,
    more: Vec<(usize, Permit)>,
    /// How long the head of the response took, and how long of that the client.
    answered: Option<(Duration, Duration)>,
}

impl Permits {
    pub(super) fn hold(&mut self, index: usize, permit: Permit) {
        if permit.token().is_none() {
            return;
        }
        match &mut self.first {
            None => self.first = Some((index, permit)),
            Some(_) => self.more.push((index, permit)),
        }
    }

    #[inline] // most requests hold none, and pay a comparison
    pub(crate) const fn are_none(&self) -> bool {
        self.first.is_none()
    }

    /// Remembers how long the head of the response took, and how long of that the client was waited for.
    pub(crate) fn answered(&mut self, after: Duration, awaited: Duration) {
        self.answered = Some((after, awaited));
    }

    /// Gives all of them back, with what is known of the response's head; what panics in that goes to `panicked`.
    pub(crate) fn release(
        &mut self,
        guards: &Guards,
        mut completion: Completion,
        panicked: impl Fn(&(dyn Any + Send)),
    ) {
        if let Some((latency, awaited)) = self.answered {
            completion.latency = Some(latency);
            completion.awaited = awaited;
        }
        for (index, permit) in self.first.take().into_iter().chain(self.more.drain(..)) {
            let released = || guards.release(index, permit, &completion);
            if let Err(payload) = catch_unwind(AssertUnwindSafe(released)) {
                panicked(&*payload);
            }
        }
    }
}
