use crate::circuit::{Axis, State};
use crate::rejected::Rejected;
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
}
