use super::admission::Gate;
use super::permit::Permit;
use std::fmt;
use std::marker::PhantomData;

/// What a gate is still to be told of a call that was answered, and whose body has not ended; a
/// [`GateLayer`](super::GateLayer) gives it to a `VoteBody`.
///
/// Dropping it is what dropping the [`Permit`] is.
pub struct PendingVote<G: Gate + 'static, T, E> {
    permit: Permit<'static, G>,
    /// Whether the end is judged by its trailers.
    #[cfg(feature = "http")]
    needs_trailers: bool,
    answer: PhantomData<fn(&T, &E)>,
}

impl<G: Gate, T, E> PendingVote<G, T, E> {
    pub(super) const fn new(permit: Permit<'static, G>) -> Self {
        Self {
            permit,
            #[cfg(feature = "http")]
            needs_trailers: false,
            answer: PhantomData,
        }
    }
}

impl<G: Gate, T, E> fmt::Debug for PendingVote<G, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingVote")
            .field("permit", &self.permit)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "http")]
mod http {
    use super::PendingVote;
    use crate::gate::JudgeEnd;
    use crate::http::EndVote;
    use crate::outcome::Outcome;
    use ::http::HeaderMap;
    use std::any::Any;

    impl<G: JudgeEnd<T, E>, T, E> EndVote for PendingVote<G, T, E> {
        fn see(&mut self, headers: &HeaderMap) {
            self.needs_trailers = self.permit.gate().needs_trailers(headers);
        }

        fn needs_trailers(&self) -> bool {
            self.needs_trailers
        }

        fn ended(self, trailers: Option<&HeaderMap>) {
            let outcome = if self.needs_trailers {
                self.permit.gate().judge_end(trailers)
            } else {
                Outcome::Success
            };
            self.permit.record(outcome);
        }

        fn failed(self) {
            self.permit.failure();
        }

        fn broke(self, error: &dyn Any) {
            let outcome = self.permit.gate().judge_broken(error);
            self.permit.record(outcome);
        }
    }
}
