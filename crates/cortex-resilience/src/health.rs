//! How policies stand, as checks of `cortex_health`.

use crate::circuit::{Snapshot, State};
use crate::watch::{Reading, Watch, Watched};
use cortex_health::{Check, Outcome, Status, checks};
use std::borrow::Cow;
use std::time::Duration;

/// Makes a check of a policy, or of all those of a pipeline: the worst of them counts.
///
/// | policy | is down | is degraded |
/// |---|---|---|
/// | breaker | open, or forced open | half-open |
/// | bulkhead | | all permits are out, and nobody else may wait |
/// | adaptive limit | | as many calls as may be are under way |
/// | rate limiter | | there is no token |
/// | throttle | | it refuses one call in a hundred or more |
///
/// The check [degrades](Check::degrades) its groups at most, for a service whose dependency is down can often do something else;
/// say [`critical`](Check::critical) where it cannot. It is looked at every second, and takes two looks of one mind to get worse. A
/// policy that is gone counts no more.
///
/// # Examples
///
/// ```
/// use cortex_health::Health;
/// use cortex_resilience::circuit::Breaker;
/// use cortex_resilience::health;
///
/// let payments = Breaker::builder("payments").build()?;
/// let search = Breaker::builder("search").build()?;
/// let health = Health::builder()
///     .check(health::check("payments", &payments).critical()) // a shop that cannot take money is not ready
///     .check(health::check("search", &search)) // without a search it still is
///     .build()?;
/// assert_eq!(health.snapshot().checks().count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check(name: impl Into<Cow<'static, str>>, policies: &(impl Watch + ?Sized)) -> Check {
    let watched = policies.watched();
    checks::state(name, move || look(&watched)).degrades()
}

fn look(policies: &[Watched]) -> Outcome {
    let mut worst = Outcome::up();
    for policy in policies.iter().filter_map(Watched::get) {
        let outcome = verdict(policy.name(), &policy.look());
        if rank(outcome.status()) > rank(worst.status()) {
            worst = outcome;
        }
    }
    worst
}

const fn rank(status: Status) -> u8 {
    match status {
        Status::Up => 0,
        Status::Degraded => 1,
        _ => 2,
    }
}

fn verdict(name: &str, reading: &Reading) -> Outcome {
    match *reading {
        Reading::Breaker { snapshot, left } => breaker(name, &snapshot, left),
        Reading::Bulkhead {
            in_use,
            max_concurrent,
            waiting,
            queue,
        } if in_use >= max_concurrent && waiting >= queue => {
            let text =
                format!("{name}: all {max_concurrent} permits are out, and {waiting} of {queue} calls wait");
            Outcome::degraded(text).observed(in_use.into(), "calls")
        }
        Reading::Adaptive { in_flight, limit } if in_flight >= limit => {
            let text = format!("{name}: {in_flight} calls are under way, and {limit} may be");
            Outcome::degraded(text).observed(in_flight.into(), "calls")
        }
        Reading::RateLimit { tokens: 0, burst } => {
            Outcome::degraded(format!("{name}: all tokens are taken, of {burst}"))
        }
        Reading::Throttle(share) if share >= 0.01 => {
            let text = format!("{name}: {:.0} % of the calls are refused", share * 100.0);
            Outcome::degraded(text).observed(share, "ratio")
        }
        Reading::Bulkhead { .. }
        | Reading::Adaptive { .. }
        | Reading::RateLimit { .. }
        | Reading::Throttle(_) => Outcome::up(),
    }
}

fn breaker(name: &str, snapshot: &Snapshot, left: Duration) -> Outcome {
    let outcome = match snapshot.state {
        State::Open => Outcome::down(format!("{name}: the circuit is open for another {left:.1?}")),
        State::ForcedOpen => {
            Outcome::down(format!("{name}: the circuit is forced open until further notice"))
        }
        State::HalfOpen => Outcome::degraded(format!("{name}: the circuit is half-open, and probes decide")),
        State::Closed | State::Disabled | State::MetricsOnly => return Outcome::up(),
    };
    outcome
        .observed(snapshot.failure_ratio, "ratio")
        .detail("state", snapshot.state)
        .detail("failed", snapshot.failed)
        .detail("calls", snapshot.total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adaptive::{AdaptiveLimit, Aimd};
    use crate::bulkhead::Bulkhead;
    use crate::circuit::Breaker;
    use crate::rate_limit::RateLimiter;
    use crate::throttle::AdaptiveThrottle;
    use cortex_testkit::ManualClock;

    fn said(policy: &impl Watch) -> (Status, String) {
        let outcome = look(&policy.watched());
        (outcome.status(), outcome.message().unwrap_or_default().to_owned())
    }

    fn up() -> (Status, String) {
        (Status::Up, String::new())
    }

    #[test]
    fn an_open_breaker_is_down_and_says_for_how_long() {
        let clock = ManualClock::new();
        let breaker = Breaker::builder("payments").clock(clock.clone()).build().unwrap();
        assert_eq!(said(&breaker), up());
        breaker.open_for(Duration::from_mins(1)).unwrap();
        clock.advance(Duration::from_millis(12_340));
        let text = "payments: the circuit is open for another 47.7s";
        assert_eq!(said(&breaker), (Status::Down, text.to_owned()));
        clock.advance(Duration::from_secs(48));
        let text = "payments: the circuit is half-open, and probes decide";
        assert_eq!(said(&breaker), (Status::Degraded, text.to_owned()));
        breaker.force_open();
        let text = "payments: the circuit is forced open until further notice";
        assert_eq!(said(&breaker), (Status::Down, text.to_owned()));
        breaker.disable();
        assert_eq!(said(&breaker), up());
        breaker.metrics_only();
        assert_eq!(said(&breaker), up());
    }

    #[test]
    fn details_tell_what_led_there() {
        let breaker = Breaker::builder("payments").min_calls(2).build().unwrap();
        for _ in 0..2 {
            breaker.try_acquire().unwrap().failure();
        }
        let outcome = look(&breaker.watched());
        let details: Vec<_> = outcome.details().collect();
        assert_eq!(details, [("state", "open"), ("failed", "2"), ("calls", "2")]);
        assert_eq!(outcome.observation(), Some((1.0, "ratio")));
    }

    #[test]
    fn what_is_full_is_degraded() {
        let bulkhead = Bulkhead::builder("search").max_concurrent(1).build().unwrap();
        assert_eq!(said(&bulkhead), up());
        let permit = bulkhead.try_acquire().unwrap();
        let text = "search: all 1 permits are out, and 0 of 0 calls wait";
        assert_eq!(said(&bulkhead), (Status::Degraded, text.to_owned()));
        drop(permit);
        assert_eq!(said(&bulkhead), up());

        let algorithm = Aimd::new(1..=1, Duration::from_secs(1));
        let limit = AdaptiveLimit::builder("search", algorithm).build().unwrap();
        assert_eq!(said(&limit), up());
        let permit = limit.try_acquire().unwrap();
        let text = "search: 1 calls are under way, and 1 may be";
        assert_eq!(said(&limit), (Status::Degraded, text.to_owned()));
        drop(permit);

        let clock = ManualClock::new();
        let limiter = RateLimiter::builder("mail").limit(1, Duration::from_secs(1));
        let limiter = limiter.clock(clock.clone()).build().unwrap();
        assert_eq!(said(&limiter), up());
        limiter.try_acquire().unwrap();
        let text = "mail: all tokens are taken, of 1";
        assert_eq!(said(&limiter), (Status::Degraded, text.to_owned()));
        clock.advance(Duration::from_secs(1));
        assert_eq!(said(&limiter), up());
    }

    #[test]
    fn a_bulkhead_whose_queue_has_room_is_up() {
        let bulkhead = Bulkhead::builder("search")
            .max_concurrent(1)
            .queue(1)
            .build()
            .unwrap();
        let _permit = bulkhead.try_acquire().unwrap();
        assert_eq!(said(&bulkhead), up());
    }

    #[test]
    fn a_throttle_that_refuses_is_degraded() {
        let throttle = AdaptiveThrottle::builder("search").seed(1).build().unwrap();
        assert_eq!(said(&throttle), up());
        for permit in (0..400).filter_map(|_| throttle.try_acquire().ok()) {
            permit.failure();
        }
        let (status, text) = said(&throttle);
        assert_eq!(status, Status::Degraded);
        assert!(
            text.starts_with("search: ") && text.ends_with(" % of the calls are refused"),
            "{text}"
        );
    }

    #[test]
    fn who_is_gone_counts_no_more() {
        let breaker = Breaker::builder("payments").build().unwrap();
        breaker.force_open();
        let watched = breaker.watched();
        assert_eq!(look(&watched).status(), Status::Down);
        drop(breaker);
        assert_eq!(look(&watched), Outcome::up());
    }
}
