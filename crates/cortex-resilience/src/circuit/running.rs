use super::admit::Ticket;
use super::inner::Inner;
use crate::observer::Observer;
use crate::outcome::Outcome;
use cortex_core::Clock;

/// A call that runs on this stack. If it panics, that is a failure; nothing but a panic drops this before it returned.
pub(super) struct Running<'a, O: Observer, K: Clock> {
    breaker: &'a Inner<O, K>,
    ticket: Option<Ticket>,
}

impl<'a, O: Observer, K: Clock> Running<'a, O, K> {
    #[inline]
    pub(super) const fn new(breaker: &'a Inner<O, K>, ticket: Ticket) -> Self {
        Self {
            breaker,
            ticket: Some(ticket),
        }
    }

    /// Says that it returned, and leaves its end to others.
    #[inline]
    pub(super) fn returned(mut self) {
        self.ticket = None;
    }
}

impl<O: Observer, K: Clock> Drop for Running<'_, O, K> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.breaker.record(ticket, Outcome::Failure, None);
        }
    }
}
