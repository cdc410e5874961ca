//! What people read in logs.

use crate::support::bench;
use cortex_resilience::circuit::{Breaker, Error, RestoreError, State};
use cortex_resilience::{Outcome, Reason, Rejected};
use std::error::Error as _;
use std::future::pending;
use std::io;
use std::time::Duration;

#[test]
fn errors_say_what_happened_and_lead_to_the_calls_own() {
    let rejected = Rejected::new(Reason::Open, Some(Duration::from_secs(3)));
    let error: Error<io::Error> = Error::Rejected(rejected);
    assert_eq!(error.to_string(), "the circuit is open; try again in 3s");
    let cause = error.source().expect("who said so");
    assert_eq!(cause.to_string(), "a policy here refused the call");
    assert_eq!(Rejected::at_end(cause), Some(rejected));
    assert!(cause.source().is_none() && error.rejected() == Some(rejected) && error.into_inner().is_none());
    let error: Error<io::Error> = Error::NotReady;
    assert_eq!(error.to_string(), "the service was called before it was ready");
    assert!(error.source().is_none() && error.rejected().is_none() && error.into_inner().is_none());
    let error = Error::Inner(io::Error::other("refused"));
    assert_eq!(error.to_string(), "the call failed");
    assert_eq!(
        error.source().map(ToString::to_string).as_deref(),
        Some("refused")
    );
    assert!(error.rejected().is_none() && error.into_inner().is_some());
    let restore = RestoreError::from(Breaker::builder("test").build().unwrap().half_open().unwrap_err());
    assert_eq!(restore.to_string(), "go from closed to half_open");
}

#[test]
fn a_breaker_shows_its_name_and_state_wherever_it_is() {
    let bench = bench(|builder| builder.initial(State::Open));
    let shown = r#"Breaker { name: "test", state: Open, generation: 2, .. }"#;
    assert_eq!(format!("{:?}", bench.breaker), shown);
    let call = bench.breaker.call(pending::<Result<(), ()>>());
    assert_eq!(
        format!("{call:?}"),
        format!("Call {{ breaker: {shown}, stage: Idle, .. }}")
    );
    bench.breaker.close();
    let permit = bench.breaker.try_acquire().unwrap();
    assert_eq!(
        format!("{permit:?}"),
        r#"Permit { breaker: Breaker { name: "test", state: Closed, generation: 3, .. }, .. }"#
    );
}

#[test]
fn outcomes_are_words() {
    for (outcome, word) in [
        (Outcome::Success, "success"),
        (Outcome::Failure, "failure"),
        (Outcome::Ignore, "ignore"),
    ] {
        assert_eq!(
            (outcome.as_str(), format!("{outcome:>8}")),
            (word, format!("{word:>8}"))
        );
    }
}
