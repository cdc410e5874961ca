//! A breaker whose clock is set by hand and whose events are kept.

#[cfg(feature = "tokio")]
use cortex_core::Clock;
use cortex_resilience::circuit::{Breaker, Builder};
use cortex_resilience::{ErrIsFailure, Event, Observer, Outcome, Reason};
use cortex_testkit::{ManualClock, Recorder};
use std::time::Duration;
#[cfg(feature = "tokio")]
use std::time::{Instant, SystemTime};

/// Runs as fast as tokio's clock, which a test pauses; the wall clock begins with 1994.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokioClock;

#[cfg(feature = "tokio")]
impl Clock for TokioClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
    }
}

#[derive(Clone)]
pub(crate) struct Log(Recorder<Event>);

impl Observer for Log {
    fn on_event(&self, policy: &str, event: &Event) {
        assert_eq!(policy, "test");
        self.0.record(*event);
    }
}

impl Log {
    pub(crate) fn new() -> Self {
        Self(Recorder::new())
    }

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
    let (clock, log) = (ManualClock::new(), Log::new());
    let builder = Breaker::builder("test").clock(clock.clone()).observe(log.clone());
    let breaker = set(builder).build().expect("the settings make sense");
    Bench { breaker, clock, log }
}

/// A model test that fails prints the shortest history, and leaves no file.
pub(crate) fn without_files() -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        failure_persistence: None,
        ..Default::default()
    }
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
