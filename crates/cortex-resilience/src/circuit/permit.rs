use super::admit::Ticket;
use super::inner::Inner;
use crate::link::Link;
use crate::observer::Observer;
use crate::outcome::Outcome;
use cortex_core::Clock;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A call that was let through, until somebody says how it ended; dropping it says that nobody knows.
///
/// In a half-open breaker it is one of the permits, and a drop gives it back. In a closed one a drop is ignored, unless
/// [`on_drop`](super::Builder::on_drop) says otherwise. What comes after the state has changed counts for nothing.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::Breaker;
///
/// let breaker = Breaker::builder("payments").build()?;
/// let permit = breaker.try_acquire()?;
/// permit.failure(); // what the call came to
/// assert_eq!(breaker.snapshot().failed, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a permit that is dropped gives no vote"]
pub struct Permit<'a, O: Observer, K: Clock> {
    breaker: Link<'a, Inner<O, K>, Arc<Inner<O, K>>>,
    /// `None` once it has ended.
    ticket: Option<Ticket>,
}

impl<'a, O: Observer, K: Clock> Permit<'a, O, K> {
    #[inline]
    pub(super) const fn new(breaker: Link<'a, Inner<O, K>, Arc<Inner<O, K>>>, ticket: Ticket) -> Self {
        Self {
            breaker,
            ticket: Some(ticket),
        }
    }

    /// Says how the call ended.
    #[inline]
    pub fn record(self, outcome: Outcome) {
        self.end(outcome, None);
    }

    /// Says how the call ended, and when the dependency wants to be called again, for a break that is computed.
    pub fn record_with(self, outcome: Outcome, retry_after: Option<Duration>) {
        self.end(outcome, retry_after);
    }

    /// Says that the dependency did its work.
    #[inline]
    pub fn success(self) {
        self.end(Outcome::Success, None);
    }

    /// Says that the dependency failed.
    #[inline]
    pub fn failure(self) {
        self.end(Outcome::Failure, None);
    }

    /// Says that the end of the call tells nothing about the dependency.
    #[inline]
    pub fn ignore(self) {
        self.end(Outcome::Ignore, None);
    }

    #[inline]
    pub(super) fn end(mut self, outcome: Outcome, retry_after: Option<Duration>) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.record(ticket, outcome, retry_after);
        }
    }
}

#[cfg(feature = "http")]
impl<O: Observer, K: Clock> crate::http::EndVote for Permit<'_, O, K> {
    fn needs_trailers(&self) -> bool {
        false
    }

    fn ended(self, _: Option<&http::HeaderMap>) {
        self.success();
    }

    fn failed(self) {
        self.failure();
    }
}

impl<O: Observer, K: Clock> Drop for Permit<'_, O, K> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.dropped(ticket);
        }
    }
}

impl<O: Observer, K: Clock> fmt::Debug for Permit<'_, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("breaker", &&*self.breaker)
            .finish_non_exhaustive()
    }
}
