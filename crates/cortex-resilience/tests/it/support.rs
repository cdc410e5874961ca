//! A breaker whose clock is set by hand and whose events are kept.

use cortex_resilience::circuit::{Breaker, Builder};
use cortex_resilience::{ErrIsFailure, Event, Observer, Outcome, Reason};
use cortex_testkit::{ManualClock, Recorder};
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct Log(Recorder<Event>);

impl Observer for Log {
    fn on_event(&self, policy: &str, event: &Event) {
        assert_eq!(policy, "test");
        self.0.record(*event);
    }
}

impl Log {
    /// Takes the events but for those of single calls.
    pub(crate) fn transitions(&self) -> Vec<Event> {
        let mut events = self.all();
        events.retain(|event| !matches!(event, Event::Rejected(_) | Event::Ignored | Event::Late));
        events
    }

    pub(crate) fn all(&self) -> Vec<Event> {
        self.0.take()
    }
}

pub(crate) type Tested = Breaker<ErrIsFailure, Log, ManualClock>;

pub(crate) struct Bench {
    pub(crate) breaker: Tested,
    pub(crate) clock: ManualClock,
    pub(crate) log: Log,
}

/// Makes a breaker to test: `set` gets the builder.
pub(crate) fn bench(
    set: impl FnOnce(Builder<ErrIsFailure, Log, ManualClock>) -> Builder<ErrIsFailure, Log, ManualClock>,
) -> Bench {
    let (clock, log) = (ManualClock::new(), Log(Recorder::new()));
    let builder = Breaker::builder("test").clock(clock.clone()).observe(log.clone());
    let breaker = set(builder).build().expect("the settings make sense");
    Bench { breaker, clock, log }
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Bench {
    /// Lets calls through that end like this, one after the other.
    pub(crate) fn votes(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        for outcome in outcomes {
            self.breaker
                .try_acquire()
                .expect("it lets calls through")
                .record(outcome);
        }
    }

    pub(crate) fn fail(&self, times: usize) {
        self.votes(std::iter::repeat_n(Outcome::Failure, times));
    }

    pub(crate) fn succeed(&self, times: usize) {
        self.votes(std::iter::repeat_n(Outcome::Success, times));
    }

    /// Lets a call through that takes this long.
    pub(crate) fn take(&self, time: Duration, outcome: Outcome) {
        let permit = self.breaker.try_acquire().expect("it lets calls through");
        self.clock.advance(time);
        permit.record(outcome);
    }

    pub(crate) fn refusal(&self) -> (Reason, Option<Duration>) {
        let rejected = self.breaker.try_acquire().expect_err("it rejects");
        (rejected.reason(), rejected.retry_after())
    }
}
