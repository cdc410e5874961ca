use crate::chaos::Fault;
use crate::circuit::State;
use crate::event::Event;
use cortex_metrics::Counter;
use std::fmt;
use std::sync::OnceLock;

/// How many states a breaker may be in.
const STATES: usize = State::ForcedOpen as usize + 1;

/// More than there are reasons; of those beyond, the counter is looked up each time.
const REASONS: usize = 24;

const TRANSITIONS: usize = 32;
const REJECTED: usize = TRANSITIONS + STATES * STATES;
const GAVE_UP: usize = REJECTED + REASONS;
const LEN: usize = GAVE_UP + REASONS;

/// The counters of one policy, each found when it is first used.
pub(super) struct Slots(Box<[OnceLock<Counter>; LEN]>);

impl Slots {
    pub(super) fn new() -> Self {
        Self(Box::new([const { OnceLock::new() }; LEN]))
    }

    /// Returns where the counter of an event is, or goes.
    #[inline]
    pub(super) fn of(&self, event: &Event) -> Option<&OnceLock<Counter>> {
        self.0.get(index(event)?)
    }
}

/// No event of another series has the same.
#[inline]
fn index(event: &Event) -> Option<usize> {
    let transition = |from: State, to: State| TRANSITIONS + from as usize * STATES + to as usize;
    let reason = |reason: usize| (reason < REASONS).then_some(reason);
    Some(match *event {
        Event::Rejected(rejected) => REJECTED + reason(rejected.reason() as usize)?,
        Event::GaveUp { reason: why, .. } => GAVE_UP + reason(why as usize)?,
        Event::Opened { from, .. } => transition(from, State::Open),
        Event::HalfOpened { from } => transition(from, State::HalfOpen),
        Event::Closed { from } => transition(from, State::Closed),
        Event::ForcedOpen { from } => transition(from, State::ForcedOpen),
        Event::Disabled { from } => transition(from, State::Disabled),
        Event::MetricsOnly { from } => transition(from, State::MetricsOnly),
        Event::Ignored => 0,
        Event::Late => 1,
        Event::FellBack => 2,
        Event::KeyOverflow => 3,
        Event::Reset => 4,
        Event::HedgeCancelled { .. } => 5,
        Event::HedgeSent { .. } => 6,
        Event::RetryScheduled { .. } => 7,
        Event::Queued => 8,
        Event::LimitChanged { from, to } => 9 + usize::from(to > from),
        Event::HedgeWon { attempt } => 11 + usize::from(attempt > 1),
        Event::RateExceeded { axis, .. } => 13 + axis as usize,
        Event::TimedOut(timed_out) => 15 + timed_out.kind() as usize,
        Event::Chaos(fault) => match fault {
            Fault::Latency(_) => 18,
            Fault::Hang => 19,
            Fault::Error => 20,
            Fault::Outcome => 21,
            Fault::Loss => 22,
        },
    })
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.0.iter().filter(|slot| slot.get().is_some()).count();
        f.debug_struct("Slots").field("used", &used).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::series::Series;
    use super::*;
    use crate::circuit::Axis;
    use crate::rejected::{Reason, Rejected};
    use crate::retry::GaveUp;
    use crate::timeout::{Kind, TimedOut};
    use std::collections::HashMap;
    use std::time::Duration;

    const REASONS: [Reason; 14] = [
        Reason::Open,
        Reason::HalfOpen,
        Reason::Forced,
        Reason::Ramp,
        Reason::RateLimit,
        Reason::ExceedsBurst,
        Reason::Full,
        Reason::QueueTimeout,
        Reason::Deadline,
        Reason::ConcurrencyLimit,
        Reason::Overloaded,
        Reason::Busy,
        Reason::TooManyKeys,
        Reason::Throttled,
    ];
    const GIVING_UP: [GaveUp; 7] = [
        GaveUp::NotRetryable,
        GaveUp::Attempts,
        GaveUp::Budget,
        GaveUp::Deadline,
        GaveUp::Pushback,
        GaveUp::CircuitOpen,
        GaveUp::Rejected,
    ];
    const STATES: [State; 6] = [
        State::Closed,
        State::Open,
        State::HalfOpen,
        State::Disabled,
        State::MetricsOnly,
        State::ForcedOpen,
    ];

    fn events() -> Vec<Event> {
        let mut events = vec![
            Event::Ignored,
            Event::Late,
            Event::FellBack,
            Event::KeyOverflow,
            Event::Reset,
            Event::HedgeCancelled { attempts: 2 },
            Event::HedgeSent { attempt: 2 },
            Event::HedgeWon { attempt: 1 },
            Event::HedgeWon { attempt: 2 },
            Event::Queued,
            Event::LimitChanged { from: 1, to: 2 },
            Event::LimitChanged { from: 2, to: 1 },
            Event::RetryScheduled {
                retry: 1,
                delay: Duration::ZERO,
            },
        ];
        events.extend(REASONS.map(|reason| Event::Rejected(Rejected::new(reason, None))));
        events.extend(GIVING_UP.map(|reason| Event::GaveUp { reason, attempts: 3 }));
        events.extend([Axis::Failures, Axis::SlowCalls].map(|axis| Event::RateExceeded { axis, rate: 0.5 }));
        let kinds = [Kind::Attempt, Kind::Total, Kind::Deadline];
        events.extend(kinds.map(|kind| Event::TimedOut(TimedOut::new(kind, Duration::ZERO))));
        let late = Fault::Latency(Duration::ZERO);
        events.extend([late, Fault::Hang, Fault::Error, Fault::Outcome, Fault::Loss].map(Event::Chaos));
        for from in STATES {
            let wait = Duration::ZERO;
            events.extend([
                Event::Opened { from, wait },
                Event::HalfOpened { from },
                Event::Closed { from },
                Event::ForcedOpen { from },
                Event::Disabled { from },
                Event::MetricsOnly { from },
            ]);
        }
        events
    }

    #[test]
    fn each_series_has_a_slot_of_its_own() {
        let events = events();
        let mut slots = HashMap::new();
        for event in &events {
            let slot = index(event).unwrap();
            assert!(slot < LEN, "{event:?}");
            let before = slots.insert(slot, Series::of(event).0);
            assert_eq!(before, None, "{event:?}");
        }
        assert_eq!(slots.len(), events.len());
    }
}
