use crate::chaos::Fault;
use crate::circuit::{Axis, State};
use crate::rejected::Rejected;
use crate::retry::GaveUp;
use crate::timeout::TimedOut;
use std::time::Duration;

/// Something that a policy decided.
///
/// # Examples
///
/// ```
/// use cortex_resilience::Event;
///
/// fn is_worth_a_line(event: &Event) -> bool {
///     !matches!(event, Event::Ignored | Event::Late)
/// }
/// assert!(!is_worth_a_line(&Event::Late));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A call was refused.
    Rejected(Rejected),
    /// A call ended in a way that says nothing about the dependency.
    Ignored,
    /// A call ended after the state that it began in, so that its result counts for nothing.
    Late,
    /// A breaker opened.
    #[non_exhaustive]
    Opened {
        /// The state before.
        from: State,
        /// How long the break is.
        wait: Duration,
    },
    /// A breaker lets probes through.
    #[non_exhaustive]
    HalfOpened {
        /// The state before.
        from: State,
    },
    /// A breaker closed.
    #[non_exhaustive]
    Closed {
        /// The state before.
        from: State,
    },
    /// A breaker was opened until further notice.
    #[non_exhaustive]
    ForcedOpen {
        /// The state before.
        from: State,
    },
    /// A breaker was switched off.
    #[non_exhaustive]
    Disabled {
        /// The state before.
        from: State,
    },
    /// A breaker was told to count and never to open.
    #[non_exhaustive]
    MetricsOnly {
        /// The state before.
        from: State,
    },
    /// A fault was done to a call on purpose.
    Chaos(Fault),
    /// A call failed in a way that is covered, and is answered otherwise.
    FellBack,
    /// A key found no place in a registry, and shares the policy that is for such keys.
    KeyOverflow,
    /// A limit that finds itself has moved.
    #[non_exhaustive]
    LimitChanged {
        /// The limit before.
        from: u32,
        /// The limit from now on.
        to: u32,
    },
    /// A breaker was closed and emptied by hand.
    Reset,
    /// A breaker that only counts would have opened; once for each stay and axis.
    #[non_exhaustive]
    RateExceeded {
        /// Which rate.
        axis: Axis,
        /// The rate, 0 to 1.
        rate: f64,
    },
    /// A retry policy makes no more attempts.
    #[non_exhaustive]
    GaveUp {
        /// Why.
        reason: GaveUp,
        /// How many attempts were made.
        attempts: u32,
    },
    /// A hedge dropped attempts that another was faster than.
    #[non_exhaustive]
    HedgeCancelled {
        /// How many.
        attempts: u32,
    },
    /// A hedge sent another attempt beside those that run or failed.
    #[non_exhaustive]
    HedgeSent {
        /// Which one it is; the second is 2.
        attempt: u32,
    },
    /// Of a call with more than one attempt, one succeeded.
    #[non_exhaustive]
    HedgeWon {
        /// Which one; the first is 1.
        attempt: u32,
    },
    /// A retry policy waits for the next attempt.
    #[non_exhaustive]
    RetryScheduled {
        /// Which retry it will be; the first is 1.
        retry: u32,
        /// How long it waits.
        delay: Duration,
    },
    /// A call was given up, or not tried, because its time was over.
    TimedOut(TimedOut),
    /// A call waits for its turn.
    Queued,
}
