use std::num::NonZero;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::clock::{Clock, SystemClock};

/// The instant after which nobody waits for an answer any more.
///
/// Eight bytes, nanoseconds around an instant fixed once per process, so that a [`Context`](crate::Context) stays
/// small. It means nothing in another process: send the [`remaining`](Self::remaining) time instead.
///
/// # Examples
///
/// ```
/// use cortex_core::{Clock, Deadline, SystemClock};
/// use std::time::Duration;
///
/// let now = SystemClock.now();
/// let deadline = Deadline::at(now + Duration::from_secs(2));
/// assert_eq!(deadline.remaining(now), Duration::from_secs(2));
/// assert!(deadline.is_past(now + Duration::from_secs(2)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(NonZero<u64>);

impl Deadline {
    /// Makes a deadline of an instant; one further than 292 years away is cut to that.
    pub fn at(instant: Instant) -> Self {
        let anchor = anchor();
        let value = match instant.checked_duration_since(anchor) {
            Some(after) => CENTRE.saturating_add(nanos(after)),
            None => CENTRE.saturating_sub(nanos(anchor.duration_since(instant))),
        };
        Self::from_nanos(value)
    }

    /// Makes a deadline that lies `timeout` after `now`.
    pub fn after(now: Instant, timeout: Duration) -> Self {
        Self::at(now).later_by(timeout)
    }

    /// Returns the deadline that lies so much later.
    ///
    /// ```
    /// use cortex_core::{Clock, Deadline, SystemClock};
    /// use std::time::Duration;
    ///
    /// let now = SystemClock.now();
    /// let minute = Duration::from_mins(1);
    /// assert_eq!(Deadline::at(now).later_by(minute), Deadline::after(now, minute));
    /// ```
    #[must_use]
    #[inline]
    pub fn later_by(self, more: Duration) -> Self {
        Self(self.0.saturating_add(nanos(more)))
    }

    /// Returns the instant, exact to the nanosecond.
    pub fn instant(self) -> Instant {
        let anchor = anchor();
        match self.0.get().checked_sub(CENTRE) {
            Some(after) => anchor + Duration::from_nanos(after),
            None => anchor
                .checked_sub(Duration::from_nanos(CENTRE - self.0.get()))
                .unwrap_or(anchor),
        }
    }

    /// Returns the nanoseconds that stand for it: what [`Clock::nanos`] reaches when it is past.
    ///
    /// ```
    /// use cortex_core::{Clock, Deadline, SystemClock};
    /// use std::time::Duration;
    ///
    /// let deadline = Deadline::after(SystemClock.now(), Duration::from_secs(2));
    /// assert!(SystemClock.nanos() < deadline.nanos());
    /// ```
    #[inline]
    pub const fn nanos(self) -> u64 {
        self.0.get()
    }

    /// Returns the time left at `now`; zero once the deadline is past.
    pub fn remaining(self, now: Instant) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(Self::at(now).0.get()))
    }

    /// Makes a deadline of the nanoseconds that stand for it, such as those of [`Clock::nanos`]: not of a time that is left. None
    /// stand for the earliest of all.
    ///
    /// ```
    /// use cortex_core::{Clock, Deadline, SystemClock};
    ///
    /// let now = Deadline::at(SystemClock.now());
    /// assert_eq!(Deadline::from_nanos(now.nanos()), now);
    /// ```
    #[inline]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(NonZero::new(nanos).unwrap_or(NonZero::<u64>::MIN))
    }

    /// Says whether the deadline has passed at `now`.
    pub fn is_past(self, now: Instant) -> bool {
        self <= Self::at(now)
    }
}

/// The stored value of the anchor: an instant before it stays representable.
const CENTRE: u64 = 1 << 63;

fn anchor() -> Instant {
    static ANCHOR: OnceLock<Instant> = OnceLock::new();
    *ANCHOR.get_or_init(|| SystemClock.now())
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_instants_and_their_order(a in 0_u64..1 << 50, b in 0_u64..1 << 50) {
            // Half of the instants lie before the anchor, as an `Instant` taken at start-up does.
            let base = anchor().checked_sub(Duration::from_mins(1)).unwrap_or_else(anchor);
            let (a, b) = (base + Duration::from_nanos(a), base + Duration::from_nanos(b));
            prop_assert_eq!(Deadline::at(a).instant(), a);
            prop_assert_eq!(Deadline::at(a).cmp(&Deadline::at(b)), a.cmp(&b));
            prop_assert_eq!(Deadline::at(b).remaining(a), b.saturating_duration_since(a));
            prop_assert_eq!(Deadline::at(b).is_past(a), b <= a);
        }
    }

    #[test]
    fn saturates_instead_of_overflowing() {
        let now = SystemClock.now();
        let never = Deadline::after(now, Duration::MAX);
        assert!(never.remaining(now) > Duration::from_hours(290 * 365 * 24));
        assert!(!never.is_past(now));
        assert!(Deadline::after(now, Duration::ZERO).is_past(now));
    }
}
