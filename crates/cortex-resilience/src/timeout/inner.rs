use super::kind::Kind;
use super::timed_out::TimedOut;
use crate::event::Event;
use crate::observer::Observer;
use crate::time::nanos;
use cortex_core::{Clock, Deadline};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A timeout, which its handles share.
pub(super) struct Inner<O, K> {
    pub(super) name: Box<str>,
    pub(super) observer: O,
    pub(super) clock: K,
    limit: AtomicU64,
    expired: AtomicU64,
}

/// How long calls may take, as one number: nanoseconds, and whether it is of all attempts. Most calls end without a need to take it
/// apart, which is a division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit(u64);

const NONE: u64 = u64::MAX;

impl Limit {
    pub(super) fn new(limit: Option<(Kind, Duration)>) -> Self {
        Self(match limit {
            None => NONE,
            Some((kind, after)) => (nanos(after).min(NONE >> 2) << 1) | u64::from(kind == Kind::Total),
        })
    }

    #[inline]
    pub(super) const fn get(self) -> Option<(Kind, Duration)> {
        if self.0 == NONE {
            return None;
        }
        let kind = if self.0 & 1 == 1 {
            Kind::Total
        } else {
            Kind::Attempt
        };
        Some((kind, Duration::from_nanos(self.0 >> 1)))
    }

    /// Returns the time for all attempts, if that is what is limited.
    #[inline]
    pub(super) const fn total(self) -> Option<Duration> {
        match self.get() {
            Some((Kind::Total, after)) => Some(after),
            _ => None,
        }
    }
}

/// When a call is given up, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) timed_out: TimedOut,
}

impl<O: Observer, K: Clock> Inner<O, K> {
    pub(super) fn new(name: Box<str>, limit: Limit, observer: O, clock: K) -> Self {
        Self {
            name,
            observer,
            clock,
            limit: AtomicU64::new(limit.0),
            expired: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn limit(&self) -> Limit {
        Limit(self.limit.load(Ordering::Relaxed))
    }

    pub(super) fn set_limit(&self, limit: Limit) {
        self.limit.store(limit.0, Ordering::Relaxed);
    }

    /// Returns when a call that began then is given up; never, if there is no limit and no deadline, or if no clock gets there.
    pub(super) fn due(limit: Limit, start: Instant, deadline: Option<(Deadline, Kind)>) -> Option<Due> {
        let own = limit.get().and_then(|(kind, after)| {
            let at = start.checked_add(after)?;
            let timed_out = TimedOut::new(kind, after);
            Some(Due { at, timed_out })
        });
        let Some((deadline, kind)) = deadline else {
            return own;
        };
        let at = deadline.instant();
        if own.is_some_and(|own| own.at <= at) {
            return own;
        }
        let after = at.saturating_duration_since(start);
        let timed_out = TimedOut::new(kind, after);
        Some(Due { at, timed_out })
    }

    #[cold]
    pub(super) fn expired(&self, timed_out: TimedOut) {
        self.expired.fetch_add(1, Ordering::Relaxed);
        self.observer.on_event(&self.name, &Event::TimedOut(timed_out));
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            limit: self.limit().get(),
            timed_out: self.expired.load(Ordering::Relaxed),
        }
    }
}

impl<O, K> fmt::Debug for Inner<O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = Limit(self.limit.load(Ordering::Relaxed));
        f.debug_struct("Timeout")
            .field("name", &self.name)
            .field("limit", &limit.get())
            .finish_non_exhaustive()
    }
}

/// How a timeout is set, and what it did.
///
/// # Examples
///
/// ```
/// use cortex_resilience::timeout::{Kind, Timeout};
/// use std::time::Duration;
///
/// let timeout = Timeout::builder("search").total(Duration::from_secs(1)).build()?;
/// let snapshot = timeout.snapshot();
/// assert_eq!((snapshot.limit, snapshot.timed_out), (Some((Kind::Total, Duration::from_secs(1))), 0));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// How long calls may take, and whether it is one attempt or all; `None` if only deadlines count.
    pub limit: Option<(Kind, Duration)>,
    /// How many calls were given up, or not tried because the deadline was past.
    pub timed_out: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_one_number() {
        let day = Duration::from_hours(24);
        for limit in [
            None,
            Some((Kind::Attempt, Duration::from_nanos(1))),
            Some((Kind::Total, day)),
        ] {
            assert_eq!(Limit::new(limit).get(), limit);
        }
        let (kind, after) = Limit::new(Some((Kind::Total, Duration::MAX))).get().unwrap();
        assert!(kind == Kind::Total && after > day * 365 * 100);
    }
}
