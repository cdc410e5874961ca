//! What other breakers get wrong.

use crate::support::{bench, millis, secs};
use cortex_resilience::Reason;
use cortex_resilience::circuit::{HalfOpen, State, Window};

#[test]
fn a_sliding_window_slides() {
    for successes in [1_000, 10_000] {
        let bench = bench(|builder| builder.window(Window::count(100)).min_calls(100));
        bench.succeed(successes);
        bench.fail(49);
        assert_eq!(bench.breaker.state(), State::Closed);
        bench.fail(1); // not a thousand, nor ten thousand
        assert_eq!(bench.breaker.state(), State::Open);
    }
}

#[test]
fn the_minimum_counts_before_the_window_is_full() {
    let bench = bench(|builder| builder.window(Window::count(100)).min_calls(3));
    bench.fail(2);
    assert_eq!(bench.breaker.state(), State::Closed);
    bench.fail(1);
    assert_eq!(bench.breaker.state(), State::Open);
}

#[test]
fn half_open_admits_as_many_as_there_are_permits_of_a_thousand() {
    let bench = bench(|builder| builder.half_open(HalfOpen::permits(10)).min_calls(10));
    bench.breaker.open().unwrap();
    bench.clock.advance(secs(60));
    let admitted: Vec<_> = (0..1000)
        .filter_map(|_| bench.breaker.try_acquire().ok())
        .collect();
    assert_eq!(admitted.len(), 10);
}

#[test]
fn one_success_of_several_does_not_close_it() {
    let bench = bench(|builder| builder.half_open(HalfOpen::permits(3)).min_calls(3));
    bench.breaker.open().unwrap();
    bench.clock.advance(secs(60));
    bench.succeed(2);
    assert_eq!(bench.breaker.state(), State::HalfOpen);
    bench.succeed(1);
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn a_late_failure_of_the_closed_state_does_not_reopen() {
    let bench = bench(|builder| builder.half_open(HalfOpen::permits(1)).min_calls(1));
    let late = bench.breaker.try_acquire().unwrap();
    bench.fail(1);
    bench.clock.advance(secs(60));
    let probe = bench.breaker.try_acquire().unwrap();
    late.failure();
    assert_eq!(bench.breaker.state(), State::HalfOpen);
    probe.success();
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn an_ignored_probe_neither_closes_nor_blocks() {
    let bench = bench(|builder| builder.half_open(HalfOpen::permits(1)).min_calls(1));
    bench.breaker.open().unwrap();
    bench.clock.advance(secs(60));
    bench.breaker.try_acquire().unwrap().ignore();
    assert_eq!(bench.breaker.state(), State::HalfOpen);
    bench.succeed(1);
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn every_rejection_but_a_forced_one_says_when_to_come_back() {
    let bench = bench(|builder| builder.half_open(HalfOpen::permits(1)));
    bench.breaker.open().unwrap();
    bench.clock.advance(millis(1));
    assert_eq!(bench.refusal(), (Reason::Open, Some(millis(59_999))));
    bench.clock.advance(secs(60));
    let _probe = bench.breaker.try_acquire().unwrap();
    assert_eq!(bench.refusal(), (Reason::HalfOpen, Some(secs(60))));
}

#[test]
fn after_n_results_it_is_judged_and_not_after_one_more() {
    let bench = bench(|builder| builder.window(Window::count(5)));
    bench.fail(5);
    assert_eq!(bench.breaker.state(), State::Open);
}
