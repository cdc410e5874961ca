use super::admission::{Abandoned, Gate};
use crate::link::Link;
use crate::outcome::Outcome;
use crate::rejected::Rejected;
use std::fmt;

/// A call that was let through, until somebody says how it ended; dropping it says that nobody knows.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{AdaptiveLimit, Vegas};
///
/// let limit = AdaptiveLimit::builder("search", Vegas::new(1..=100)).build()?;
/// let permit = limit.try_acquire()?;
/// assert_eq!(limit.in_flight(), 1);
/// permit.success(); // what the call came to
/// assert_eq!(limit.in_flight(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a permit that is dropped says nothing of the call"]
pub struct Permit<'a, G: Gate> {
    gate: Link<'a, G>,
    /// `None` once it has ended.
    ticket: Option<G::Ticket>,
}

impl<'a, G: Gate> Permit<'a, G> {
    /// Asks a gate for one.
    ///
    /// # Errors
    ///
    /// The gate refuses the call.
    #[inline]
    pub fn acquire(gate: &'a G) -> Result<Self, Rejected> {
        let ticket = Some(gate.admit()?);
        let gate = Link::Borrowed(gate);
        Ok(Self { gate, ticket })
    }

    /// Asks a gate for one that outlives this handle of it.
    ///
    /// # Errors
    ///
    /// The gate refuses the call.
    pub fn acquire_owned(gate: &G) -> Result<Permit<'static, G>, Rejected>
    where
        G: Clone,
    {
        let ticket = Some(gate.admit()?);
        let gate = Link::Owned(gate.clone());
        Ok(Permit { gate, ticket })
    }

    /// Says how the call ended.
    #[inline]
    pub fn record(mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.finish(ticket, outcome);
        }
    }

    /// Says that the call succeeded.
    #[inline]
    pub fn success(self) {
        self.record(Outcome::Success);
    }

    /// Says that the call failed.
    #[inline]
    pub fn failure(self) {
        self.record(Outcome::Failure);
    }

    /// Says that the end of the call tells nothing.
    #[inline]
    pub fn ignore(self) {
        self.record(Outcome::Ignore);
    }

    /// Takes over a call that was let through.
    #[cfg(feature = "tower")]
    pub(super) const fn of(gate: G, ticket: G::Ticket) -> Self {
        Self {
            gate: Link::Owned(gate),
            ticket: Some(ticket),
        }
    }

    #[cfg(all(feature = "http", feature = "tower"))]
    pub(super) fn gate(&self) -> &G {
        &self.gate
    }

    /// Leaves it to somebody else to say how the call ended.
    #[cfg(feature = "tower")]
    pub(super) fn forget(mut self) -> Option<G::Ticket> {
        self.ticket.take()
    }
}

#[cfg(feature = "http")]
impl<G: Gate> crate::http::EndVote for Permit<'_, G> {
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

impl<G: Gate> Drop for Permit<'_, G> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.abandon(ticket, Abandoned::Dropped);
        }
    }
}

impl<G: Gate> fmt::Debug for Permit<'_, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}
