//! States that are kept, given to others and taken over.

use crate::support::{bench, secs};
use cortex_core::Clock;
use cortex_resilience::circuit::{RestoreError, SavedState, State, StateSink};
use cortex_testkit::Recorder;
use std::sync::Arc;
use std::time::Duration;

struct Peers(Recorder<(String, State)>);

impl StateSink for Peers {
    fn on_transition(&self, breaker: &str, state: &SavedState) {
        self.0.record((breaker.to_owned(), state.state));
    }
}

#[test]
fn the_sink_hears_of_transitions_only() {
    let told = Recorder::new();
    let bench = bench(|builder| builder.sink(Arc::new(Peers(told.clone()))));
    bench.fail(5);
    bench.breaker.open().unwrap();
    bench.breaker.reset();
    bench.breaker.reset();
    let states: Vec<_> = told.take().into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, [State::Open, State::Closed]);
}

#[test]
fn a_break_goes_on_elsewhere_by_the_wall_clock() {
    let (here, there) = (bench(|builder| builder), bench(|builder| builder));
    here.fail(5);
    let saved = here.breaker.save();
    there.clock.advance(secs(20)); // it is later there
    there.breaker.restore(&saved, secs(30)).unwrap();
    assert_eq!(
        (there.breaker.state(), there.breaker.remaining()),
        (State::Open, secs(40))
    );
    there.clock.advance(secs(20));
    let old = there.breaker.restore(&saved, secs(30)).unwrap_err();
    assert!(matches!(old, RestoreError::TooOld { age, max, .. } if (age, max) == (secs(40), secs(30))));
    assert!(old.to_string().contains("40s old"));
}

#[test]
fn a_peer_whose_clock_is_ahead_opens_for_no_longer_than_it_was_open() {
    let (ahead, there) = (bench(|builder| builder), bench(|builder| builder));
    ahead.clock.set_wall(there.clock.wall() + secs(86_400));
    ahead.fail(5);
    there.breaker.restore(&ahead.breaker.save(), secs(30)).unwrap();
    assert_eq!(there.breaker.remaining(), secs(60));
}

#[test]
fn the_attempts_are_there_when_the_sink_hears_of_it_and_a_closed_one_has_none() {
    struct Attempts(Recorder<u32>);
    impl StateSink for Attempts {
        fn on_transition(&self, _: &str, state: &SavedState) {
            self.0.record(state.half_open_attempts);
        }
    }
    let told = Recorder::new();
    let bench = bench(|builder| builder.sink(Arc::new(Attempts(told.clone()))));
    let saved = |state| SavedState {
        at: bench.clock.wall(),
        state,
        until: None,
        half_open_attempts: 3,
    };
    for state in [State::Open, State::Closed, State::HalfOpen, State::Closed] {
        bench.breaker.restore(&saved(state), secs(1)).unwrap();
    }
    assert_eq!(told.take(), [3, 0, 3, 0]);
    assert_eq!(bench.breaker.snapshot().half_open_attempts, 0);
}

#[test]
fn states_are_restored_and_probing_as_a_break_that_is_over() {
    for state in [State::Closed, State::Open] {
        let (here, there) = (bench(|builder| builder.initial(state)), bench(|builder| builder));
        there.breaker.restore(&here.breaker.save(), secs(1)).unwrap();
        assert_eq!(there.breaker.state(), state);
    }
    let (here, there) = (
        bench(|builder| builder.initial(State::Open)),
        bench(|builder| builder),
    );
    here.clock.advance(secs(60));
    let _probe = here.breaker.try_acquire().unwrap();
    there.breaker.restore(&here.breaker.save(), secs(100)).unwrap();
    assert_eq!(
        (there.breaker.state(), there.breaker.snapshot().half_open_attempts),
        (State::HalfOpen, 1)
    );
    assert!(there.breaker.try_acquire().is_ok());
}

#[test]
fn what_somebody_decided_here_is_theirs_to_end() {
    for decided in [State::ForcedOpen, State::Disabled, State::MetricsOnly] {
        let here = bench(|builder| builder.initial(decided));
        let generation = here.breaker.snapshot().generation;
        for state in [State::Closed, State::HalfOpen, State::Open] {
            let saved = SavedState {
                at: here.clock.wall(),
                state,
                until: None,
                half_open_attempts: 0,
            };
            let refused = here.breaker.restore(&saved, Duration::MAX);
            assert!(
                matches!(refused, Err(RestoreError::Illegal(why)) if (why.from(), why.to()) == (decided, state))
            );
        }
        let snapshot = here.breaker.snapshot();
        assert_eq!((snapshot.state, snapshot.generation), (decided, generation));
    }
}

#[test]
fn what_is_forced_elsewhere_says_nothing_of_this_one() {
    let (here, there) = (bench(|builder| builder), bench(|builder| builder));
    here.breaker.force_open();
    let forced = here.breaker.save();
    assert_eq!((forced.state, forced.until), (State::ForcedOpen, None));
    here.breaker.disable();
    let disabled = here.breaker.save();
    here.breaker.metrics_only();
    for saved in [forced, disabled, here.breaker.save()] {
        there.fail(5);
        let generation = there.breaker.snapshot().generation;
        there.breaker.restore(&saved, secs(1)).unwrap();
        assert_eq!(there.breaker.state(), State::Open, "{saved:?}");
        assert_eq!(there.breaker.snapshot().generation, generation);
        there.breaker.reset();
    }
}

struct ToPeer(Recorder<SavedState>);

impl StateSink for ToPeer {
    fn on_transition(&self, _: &str, state: &SavedState) {
        self.0.record(*state);
    }
}

#[test]
fn two_that_restore_each_other_leave_what_is_forced_and_what_is_healthy_alone() {
    let told = [Recorder::new(), Recorder::new()];
    let one = |told: &Recorder<SavedState>| bench(|builder| builder.sink(Arc::new(ToPeer(told.clone()))));
    let (here, there) = (one(&told[0]), one(&told[1]));
    // A few rounds, which is more than an echo needs.
    let exchange = || {
        for _ in 0..4 {
            for (sink, peer) in told.iter().zip([&there, &here]) {
                for state in sink.take() {
                    let _kept = peer.breaker.restore(&state, secs(10));
                }
            }
        }
    };
    there.fail(3);
    here.breaker.force_open();
    exchange();
    assert_eq!(here.breaker.state(), State::ForcedOpen);
    let healthy = there.breaker.snapshot();
    assert_eq!((healthy.state, healthy.failed), (State::Closed, 3));

    // What the peer finds out in the meantime does not end it, and its end reopens nothing there.
    there.fail(2);
    exchange();
    assert_eq!(
        (here.breaker.state(), there.breaker.state()),
        (State::ForcedOpen, State::Open)
    );
    there.breaker.reset();
    there.fail(3);
    here.breaker.reset();
    exchange();
    assert_eq!(here.breaker.state(), State::Closed);
    let healthy = there.breaker.snapshot();
    assert_eq!((healthy.state, healthy.failed), (State::Closed, 3));
}
