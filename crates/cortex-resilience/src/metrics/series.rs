use crate::circuit::{Axis, State};
use crate::event::Event;

/// Which counter an event belongs to: a family, and its labels but for the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Series {
    One(One),
    Two(Two, &'static str),
    Transition(State, State),
}

/// The families whose only label is the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum One {
    Fallbacks,
    Hedges,
    HedgesCancelled,
    Ignored,
    KeyOverflows,
    Late,
    Queued,
    Resets,
    Retries,
}

impl One {
    /// Names and helps, in the order of the variants.
    pub(super) const ALL: [(&str, &str); 9] = [
        (
            "cortex_resilience_fallbacks",
            "Calls that failed and were answered otherwise.",
        ),
        (
            "cortex_resilience_hedges",
            "Attempts made beside others that took long or failed.",
        ),
        (
            "cortex_resilience_hedges_cancelled",
            "Attempts dropped because another one was faster.",
        ),
        (
            "cortex_resilience_ignored",
            "Calls whose end says nothing about the dependency.",
        ),
        (
            "cortex_resilience_key_overflows",
            "Keys that found no place in a registry of policies.",
        ),
        (
            "cortex_resilience_late",
            "Calls that ended after the breaker's state that they began in.",
        ),
        ("cortex_resilience_queued", "Calls that waited for their turn."),
        (
            "cortex_resilience_resets",
            "Times that a breaker was closed and emptied by hand.",
        ),
        ("cortex_resilience_retries", "Retries scheduled after a failure."),
    ];
}

/// The families that have another label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Two {
    Faults,
    GaveUp,
    HedgeWins,
    LimitChanges,
    RateExceeded,
    Rejected,
    TimedOut,
}

impl Two {
    /// Names, helps and labels, in the order of the variants.
    pub(super) const ALL: [(&str, &str, &str); 7] = [
        (
            "cortex_resilience_faults",
            "Faults that were done to calls on purpose.",
            "fault",
        ),
        (
            "cortex_resilience_gave_up",
            "Calls that failed and of which no more attempts are made, by the reason.",
            "reason",
        ),
        (
            "cortex_resilience_hedge_wins",
            "Calls with more than one attempt that succeeded, by the attempt that did.",
            "winner",
        ),
        (
            "cortex_resilience_limit_changes",
            "Moves of a limit that finds itself.",
            "direction",
        ),
        (
            "cortex_resilience_rate_exceeded",
            "Times that a breaker which only counts would have opened, by the rate.",
            "axis",
        ),
        (
            "cortex_resilience_rejected",
            "Calls that a policy refused, by the reason.",
            "reason",
        ),
        (
            "cortex_resilience_timed_out",
            "Calls given up, or not tried, because their time was over, by whose time it was.",
            "kind",
        ),
    ];
}

pub(super) const TRANSITIONS: (&str, &str) = (
    "cortex_resilience_transitions",
    "Changes of the state of a breaker.",
);

impl Series {
    /// Returns where an event is counted, and how much it is.
    #[inline]
    pub(super) fn of(event: &Event) -> (Self, u64) {
        let series = match *event {
            Event::Rejected(rejected) => Self::Two(Two::Rejected, rejected.reason().as_str()),
            Event::Ignored => Self::One(One::Ignored),
            Event::Late => Self::One(One::Late),
            Event::Opened { from, .. } => Self::Transition(from, State::Open),
            Event::HalfOpened { from } => Self::Transition(from, State::HalfOpen),
            Event::Closed { from } => Self::Transition(from, State::Closed),
            Event::ForcedOpen { from } => Self::Transition(from, State::ForcedOpen),
            Event::Disabled { from } => Self::Transition(from, State::Disabled),
            Event::MetricsOnly { from } => Self::Transition(from, State::MetricsOnly),
            Event::Chaos(fault) => Self::Two(Two::Faults, fault.as_str()),
            Event::FellBack => Self::One(One::Fallbacks),
            Event::KeyOverflow => Self::One(One::KeyOverflows),
            Event::LimitChanged { from, to } => {
                Self::Two(Two::LimitChanges, if to > from { "up" } else { "down" })
            }
            Event::Reset => Self::One(One::Resets),
            Event::RateExceeded { axis, .. } => Self::Two(Two::RateExceeded, axis_name(axis)),
            Event::GaveUp { reason, .. } => Self::Two(Two::GaveUp, reason.as_str()),
            Event::HedgeCancelled { attempts } => {
                return (Self::One(One::HedgesCancelled), u64::from(attempts));
            }
            Event::HedgeSent { .. } => Self::One(One::Hedges),
            Event::HedgeWon { attempt } => {
                Self::Two(Two::HedgeWins, if attempt > 1 { "later" } else { "first" })
            }
            Event::RetryScheduled { .. } => Self::One(One::Retries),
            Event::TimedOut(timed_out) => Self::Two(Two::TimedOut, timed_out.kind().as_str()),
            Event::Queued => Self::One(One::Queued),
        };
        (series, 1)
    }
}

const fn axis_name(axis: Axis) -> &'static str {
    match axis {
        Axis::Failures => "failures",
        Axis::SlowCalls => "slow_calls",
    }
}
