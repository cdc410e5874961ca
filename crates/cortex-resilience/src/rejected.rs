use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// A refusal by a policy: why, and when to try again.
///
/// # Examples
///
/// ```
/// use cortex_resilience::{Reason, Rejected};
/// use std::time::Duration;
///
/// fn header(rejected: &Rejected) -> Option<u64> {
///     rejected.retry_after().map(|wait| wait.as_secs() + 1) // `Retry-After` has whole seconds: none too few
/// }
/// let rejected = Rejected::new(Reason::Open, Some(Duration::from_millis(1500)));
/// assert_eq!(header(&rejected), Some(2));
/// assert_eq!(rejected.to_string(), "the circuit is open; try again in 1.5s");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rejected(Said);

/// The end of the causes of an error of a policy, whatever the policies around it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Said {
    reason: Reason,
    retry_after: Option<Duration>,
}

impl Rejected {
    /// Makes a refusal.
    #[inline]
    pub const fn new(reason: Reason, retry_after: Option<Duration>) -> Self {
        Self(Said { reason, retry_after })
    }

    /// Returns the refusal that an error is the end of: the last cause of an error of policies, however many are around the one
    /// that refused, is such an end.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_resilience::{Reason, Rejected, circuit, retry};
    /// use std::error::Error;
    ///
    /// fn refusal(error: &(dyn Error + 'static)) -> Option<Rejected> {
    ///     std::iter::successors(Some(error), |cause| (*cause).source()).find_map(Rejected::at_end)
    /// }
    ///
    /// let open = Rejected::new(Reason::Open, None);
    /// let error: retry::Error<circuit::Error<std::io::Error>> = retry::Error::Inner(circuit::Error::Rejected(open));
    /// assert_eq!(refusal(&error), Some(open));
    /// ```
    pub fn at_end(error: &(dyn StdError + 'static)) -> Option<Self> {
        error.downcast_ref().copied().map(Self)
    }

    /// Returns why.
    pub const fn reason(&self) -> Reason {
        self.0.reason
    }

    /// Returns how long to wait before another call can be let through; `None` where nobody knows.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns what is left of it so much later.
    pub(crate) fn later_by(self, time: Duration) -> Self {
        let left = self.retry_after().map(|wait| wait.saturating_sub(time));
        Self::new(self.reason(), left)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.reason {
            Reason::Open => "the circuit is open",
            Reason::HalfOpen => "the circuit is half-open and every probe is under way",
            Reason::Forced => "the circuit is forced open",
            Reason::Ramp => "the circuit has closed of late and lets a share of the calls through",
            Reason::RateLimit => "the rate limit is reached",
            Reason::ExceedsBurst => "the call takes more than the rate limit allows at once",
            Reason::Full => "all permits are out, and nobody else may wait",
            Reason::QueueTimeout => "the longest wait for a permit is over",
            Reason::Deadline => "the deadline of the caller leaves no time to wait",
            Reason::ConcurrencyLimit => "as many calls as may be are under way",
            Reason::Overloaded => "there is too much to do",
            Reason::Busy => "the service is not ready",
            Reason::TooManyKeys => "the registry is full, and every policy in it has to stay",
            Reason::Throttled => "so many calls failed of late that only a share is made",
        })?;
        match self.0.retry_after {
            Some(wait) => write!(f, "; try again in {wait:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("reason", &self.0.reason)
            .field("retry_after", &self.0.retry_after)
            .finish()
    }
}

impl StdError for Rejected {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a policy here refused the call")
    }
}

impl StdError for Said {}

/// Why a policy refused a call.
///
/// # Examples
///
/// ```
/// use cortex_resilience::Reason;
///
/// assert_eq!(Reason::HalfOpen.as_str(), "half_open"); // a value for a metric label
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The circuit is open.
    Open,
    /// The circuit is half-open, and as many probes as may are under way.
    HalfOpen,
    /// Somebody opened the circuit until further notice.
    Forced,
    /// The circuit has closed a short time ago, and lets only a share of the calls through.
    Ramp,
    /// There were as many calls as the rate limiter allows.
    RateLimit,
    /// The call takes more tokens at once than the rate limiter ever has.
    ExceedsBurst,
    /// As many calls run as the bulkhead lets, and as many wait.
    Full,
    /// The call waited for a permit as long as it may.
    QueueTimeout,
    /// The deadline of the caller is past, or comes before the call's turn.
    Deadline,
    /// As many calls are under way as an adaptive limit allows.
    ConcurrencyLimit,
    /// There is too much to do, by the signal that load is shed by.
    Overloaded,
    /// The service is not ready, and load is shed instead of waiting for it.
    Busy,
    /// A registry of policies is full, and each of them has to stay.
    TooManyKeys,
    /// So many calls failed of late that only a share of them is made.
    Throttled,
}

impl Reason {
    /// Returns the reason as one lowercase word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Forced => "forced",
            Self::Ramp => "ramp",
            Self::RateLimit => "rate_limit",
            Self::ExceedsBurst => "exceeds_burst",
            Self::Full => "full",
            Self::QueueTimeout => "queue_timeout",
            Self::Deadline => "deadline",
            Self::ConcurrencyLimit => "concurrency_limit",
            Self::Overloaded => "overloaded",
            Self::Busy => "busy",
            Self::TooManyKeys => "too_many_keys",
            Self::Throttled => "throttled",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_why_and_when() {
        let text =
            |reason, wait: Option<u64>| Rejected::new(reason, wait.map(Duration::from_secs)).to_string();
        assert_eq!(text(Reason::Forced, None), "the circuit is forced open");
        assert!(text(Reason::HalfOpen, Some(3)).ends_with("; try again in 3s"));
        assert!(text(Reason::Ramp, None).contains("a share of the calls"));
        for reason in [
            Reason::Deadline,
            Reason::Open,
            Reason::HalfOpen,
            Reason::Forced,
            Reason::Ramp,
            Reason::ConcurrencyLimit,
            Reason::Overloaded,
            Reason::Busy,
            Reason::TooManyKeys,
            Reason::Throttled,
        ] {
            assert_eq!(format!("{reason:>9}"), format!("{:>9}", reason.as_str()));
        }
    }
}
