use super::admit::Ticket;
use super::breaker::Breaker;
use crate::observer::Observer;
use cortex_core::Clock;
use std::fmt;
use std::marker::PhantomData;

/// The vote of a call that was answered, and whose body has not ended; a [`BreakerLayer`](super::BreakerLayer) gives it to a
/// `VoteBody`.
///
/// Dropping it is what dropping a [`Permit`](super::Permit) is.
pub struct PendingVote<C, O: Observer, K: Clock, T, E> {
    breaker: Breaker<C, O, K>,
    /// `None` once it was given.
    ticket: Option<Ticket>,
    /// Whether the end is judged by its trailers.
    #[cfg(feature = "http")]
    needs_trailers: bool,
    answer: PhantomData<fn(&T, &E)>,
}

impl<C, O: Observer, K: Clock, T, E> PendingVote<C, O, K, T, E> {
    /// Takes over a ticket. Unless the call is timed further, it has been slow by now or never will be.
    pub(super) fn new(breaker: Breaker<C, O, K>, ticket: Ticket, is_timed: bool) -> Self {
        let mut vote = Self {
            breaker,
            ticket: Some(ticket),
            #[cfg(feature = "http")]
            needs_trailers: false,
            answer: PhantomData,
        };
        if ticket.is_timed() && !is_timed {
            vote.ticket = Some(ticket.stopped(vote.breaker.inner.now()));
        }
        vote
    }
}

impl<C, O: Observer, K: Clock, T, E> Drop for PendingVote<C, O, K, T, E> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.inner.dropped(ticket);
        }
    }
}

impl<C, O: Observer, K: Clock, T, E> fmt::Debug for PendingVote<C, O, K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingVote")
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "http")]
mod http {
    use super::{Clock, Observer, PendingVote};
    use crate::classify::Pushback;
    use crate::http::{ClassifyEnd, EndVote, judge_end};
    use crate::outcome::Outcome;
    use ::http::HeaderMap;
    use std::any::Any;

    impl<C, O, K, T, E> EndVote for PendingVote<C, O, K, T, E>
    where
        C: ClassifyEnd<T, E>,
        O: Observer,
        K: Clock,
    {
        fn see(&mut self, headers: &HeaderMap) {
            self.needs_trailers = self.breaker.classify.needs_trailers(headers);
        }

        fn needs_trailers(&self) -> bool {
            self.needs_trailers
        }

        fn ended(mut self, trailers: Option<&HeaderMap>) {
            let (outcome, pushback) = if self.needs_trailers {
                judge_end::<T, E, C>(&self.breaker.classify, trailers)
            } else {
                (Outcome::Success, None)
            };
            let retry_after = match pushback {
                Some(Pushback::After(wait)) => Some(wait),
                Some(Pushback::Stop) | None => None,
            };
            if let Some(ticket) = self.ticket.take() {
                self.breaker.inner.record(ticket, outcome, retry_after);
            }
        }

        fn failed(mut self) {
            if let Some(ticket) = self.ticket.take() {
                self.breaker.inner.record(ticket, Outcome::Failure, None);
            }
        }

        fn broke(mut self, error: &dyn Any) {
            let outcome = self.breaker.classify.broke(error);
            if let Some(ticket) = self.ticket.take() {
                self.breaker.inner.record(ticket, outcome, None);
            }
        }
    }
}
