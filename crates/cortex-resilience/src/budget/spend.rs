use super::budget::Kind;
use crate::link::Link;
use std::fmt;
use std::sync::Arc;

/// Why there is another attempt: some budgets make a difference.
///
/// # Examples
///
/// ```
/// use cortex_resilience::budget::{Budget, Cost};
///
/// let budget = Budget::aws();
/// let taken = budget.try_withdraw(Cost::Throttling);
/// assert_eq!(budget.level(), 495.0);
/// drop(taken);
/// assert_eq!(budget.level(), 500.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cost {
    /// The attempt before failed, or another is sent beside it.
    Retry,
    /// The dependency refused because it has too much to do.
    Throttling,
    /// The attempt before took too long.
    Timeout,
}

pub(super) type Handle<'a> = Link<'a, Kind, Arc<Kind>>;

impl Handle<'_> {
    fn put_back(&self, taken: u64) {
        match &**self {
            Kind::Bucket(bucket) => bucket.put(u32::try_from(taken).unwrap_or(u32::MAX)),
            Kind::Windowed(windowed) => windowed.put_back(taken),
            Kind::Throttle(_) | Kind::InFlight(_) => {}
        }
    }
}

/// What was taken out for an attempt that has not begun; dropped, it is put back.
///
/// # Examples
///
/// ```
/// use cortex_resilience::budget::{Budget, Cost};
///
/// let budget = Budget::aws();
/// if let Some(withdrawal) = budget.try_withdraw(Cost::Retry) {
///     // here one waits
///     if let Some(running) = withdrawal.start() {
///         running.failed();
///     }
/// }
/// assert_eq!(budget.level(), 486.0);
/// ```
#[must_use = "if dropped it is put back"]
pub struct Withdrawal<'a> {
    /// None once the attempt has begun.
    handle: Option<Handle<'a>>,
    /// The tokens, or the slot.
    taken: u64,
}

impl<'a> Withdrawal<'a> {
    pub(super) fn take(handle: Handle<'a>, cost: Cost) -> Option<Self> {
        let taken = match &*handle {
            Kind::Throttle(throttle) => throttle.allows().then_some(0),
            Kind::Bucket(bucket) => bucket.take(cost).map(u64::from),
            Kind::Windowed(windowed) => windowed.take(),
            // It takes nothing while the attempt waits.
            Kind::InFlight(in_flight) => in_flight.allows().then_some(0),
        }?;
        Some(Self {
            handle: Some(handle),
            taken,
        })
    }

    /// Begins the attempt. A budget of what runs right now decides only here, and may refuse.
    pub fn start(mut self) -> Option<Running<'a>> {
        if let Some(Kind::InFlight(in_flight)) = self.handle.as_deref()
            && !in_flight.try_begin()
        {
            return None;
        }
        Some(Running {
            handle: self.handle.take()?,
            taken: Some(self.taken),
        })
    }
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.put_back(self.taken);
        }
    }
}

impl fmt::Debug for Withdrawal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Withdrawal").finish_non_exhaustive()
    }
}

/// An attempt that runs; dropped, it has ended in a way that says nothing.
///
/// # Examples
///
/// ```
/// use cortex_resilience::budget::Budget;
///
/// let budget = Budget::throttle(10, 0.5)?;
/// budget.begin().failed();
/// budget.begin().succeeded();
/// drop(budget.begin());
/// assert_eq!(budget.level(), 9.5);
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[must_use = "if dropped the attempt has ended"]
pub struct Running<'a> {
    handle: Handle<'a>,
    /// None for a first attempt.
    taken: Option<u64>,
}

impl<'a> Running<'a> {
    #[inline]
    pub(super) fn first(handle: Handle<'a>) -> Self {
        match &*handle {
            Kind::Windowed(windowed) => windowed.pay_in(),
            Kind::InFlight(in_flight) => in_flight.begin(),
            Kind::Throttle(_) | Kind::Bucket(_) => {}
        }
        Self { handle, taken: None }
    }

    /// Ends the attempt as one that the dependency answered.
    #[inline]
    pub fn succeeded(self) {
        match &*self.handle {
            Kind::Throttle(throttle) => throttle.succeeded(),
            Kind::Bucket(bucket) => {
                let tokens = self
                    .taken
                    .map_or(1, |taken| u32::try_from(taken).unwrap_or(u32::MAX));
                bucket.put(tokens);
            }
            Kind::Windowed(_) | Kind::InFlight(_) => {}
        }
    }

    /// Ends the attempt as one that failed in a way that others would repeat.
    pub fn failed(self) {
        if let Kind::Throttle(throttle) = &*self.handle {
            throttle.failed();
        }
    }
}

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Kind::InFlight(in_flight) = &*self.handle {
            in_flight.end(self.taken.is_some());
        }
    }
}

impl fmt::Debug for Running<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("beyond_first", &self.taken.is_some())
            .finish_non_exhaustive()
    }
}
