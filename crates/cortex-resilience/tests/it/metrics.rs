//! What a scrape says of policies.

use crate::support::{TokioClock, millis, secs};
use cortex_metrics::{RegisterErrorKind, Registry};
use cortex_resilience::adaptive::{AdaptiveLimit, Aimd};
use cortex_resilience::bulkhead::Bulkhead;
use cortex_resilience::chaos::Chaos;
use cortex_resilience::circuit::{After, Breaker, HalfOpen, Window};
use cortex_resilience::fallback::Fallback;
use cortex_resilience::hedge::Hedge;
use cortex_resilience::metrics::Metrics;
use cortex_resilience::pipeline::Pipeline;
use cortex_resilience::rate_limit::RateLimiter;
use cortex_resilience::retry::Backoff;
use cortex_resilience::throttle::AdaptiveThrottle;
use cortex_resilience::{Event, Observer};
use cortex_testkit::ManualClock;
use expect_test::expect;

/// Returns the samples that there are, without those of transitions, and without what is zero.
fn samples(registry: &Registry) -> String {
    let mut lines: Vec<_> = registry
        .to_text()
        .lines()
        .filter(|line| !line.starts_with('#') && !line.ends_with("} 0.0") && !line.ends_with("} 0"))
        .map(|line| line.trim_start_matches("cortex_resilience_").to_owned())
        .collect();
    lines.sort();
    lines.join("\n")
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_counts_what_its_policies_decide() {
    let registry = Registry::default();
    let metrics = Metrics::register(&registry).unwrap();
    let limiter = RateLimiter::builder("payments")
        .limit(4, secs(60))
        .clock(TokioClock)
        .observe(metrics.clone())
        .build()
        .unwrap();
    let payments = Pipeline::standard("payments")
        .clock(TokioClock)
        .observe(metrics.clone())
        .rate_limit(limiter)
        .retry(|retry| retry.max_attempts(2).backoff(Backoff::constant(millis(10))))
        .breaker(|breaker| breaker.window(Window::count(5)).min_calls(5).failure_rate(0.5))
        .attempt_timeout(millis(100))
        .build()
        .unwrap();
    assert!(metrics.watch(&payments));
    let failing = || payments.call(|_| async { Err::<(), _>("no route") });
    assert!(failing().await.is_err()); // two attempts
    assert!(
        payments
            .call(|_| std::future::pending::<Result<(), &str>>())
            .await
            .is_err()
    ); // two that take too long
    assert!(failing().await.is_err()); // the fifth failure opens the circuit; the retry is refused
    assert!(failing().await.is_err());
    assert!(failing().await.is_err()); // beyond the rate limit
    expect![[r#"
        breaker_break_seconds{policy="payments"} 59.99
        breaker_failure_ratio{policy="payments"} 1.0
        breaker_state{policy="payments",state="open"} 1.0
        gave_up_total{policy="payments",reason="attempts"} 2
        gave_up_total{policy="payments",reason="circuit_open"} 2
        rejected_total{policy="payments",reason="open"} 2
        rejected_total{policy="payments",reason="rate_limit"} 1
        retries_total{policy="payments"} 3
        timed_out_total{policy="payments",kind="attempt"} 2
        tokens_limit{policy="payments"} 4.0
        transitions_total{policy="payments",from="closed",to="open"} 1"#]]
    .assert_eq(&samples(&registry));
}

#[tokio::test(start_paused = true)]
async fn the_other_policies_do_too() {
    let registry = Registry::default();
    let metrics = Metrics::register(&registry).unwrap();
    let hedge = Hedge::builder("prices")
        .delay(millis(5))
        .observe(metrics.clone())
        .build()
        .unwrap();
    let slow_first = |attempt: cortex_resilience::Attempt| async move {
        tokio::time::sleep(if attempt.number() == 1 { secs(1) } else { millis(1) }).await;
        Ok::<_, &str>(7)
    };
    assert_eq!(hedge.call(slow_first).await, Ok(7));
    let chaos = Chaos::builder("prices")
        .error(1.0, || "no route")
        .observe(metrics.clone())
        .build()
        .unwrap();
    chaos.enable();
    let fallback = Fallback::builder("prices")
        .value(0)
        .observe(metrics.clone())
        .build();
    assert_eq!(fallback.call(chaos.call(async { Ok::<_, &str>(7) })).await, Ok(0));
    let bulkhead = Bulkhead::builder("prices")
        .max_concurrent(1)
        .queue(1)
        .max_wait(millis(5));
    let bulkhead = bulkhead
        .clock(TokioClock)
        .observe(metrics.clone())
        .build()
        .unwrap();
    let permit = bulkhead.try_acquire().unwrap();
    assert!(bulkhead.call(async { Ok::<_, &str>(7) }).await.is_err()); // waits for nothing
    let algorithm = Aimd::new(1..=9, secs(1));
    let limit = AdaptiveLimit::builder("prices", algorithm)
        .observe(metrics.clone())
        .build()
        .unwrap();
    let taken = limit.try_acquire().unwrap();
    assert!(limit.try_acquire().is_err());
    let throttle = AdaptiveThrottle::builder("prices")
        .seed(1)
        .observe(metrics.clone())
        .build()
        .unwrap();
    throttle.try_acquire().unwrap().ignore();
    assert!(metrics.watch(&bulkhead) && metrics.watch(&limit) && metrics.watch(&throttle));
    expect![[r#"
        calls_in_flight{policy="prices",kind="adaptive"} 1.0
        calls_in_flight{policy="prices",kind="bulkhead"} 1.0
        calls_limit{policy="prices",kind="adaptive"} 1.0
        calls_limit{policy="prices",kind="bulkhead"} 1.0
        fallbacks_total{policy="prices"} 1
        faults_total{policy="prices",fault="error"} 1
        hedge_wins_total{policy="prices",winner="later"} 1
        hedges_cancelled_total{policy="prices"} 1
        hedges_total{policy="prices"} 1
        ignored_total{policy="prices"} 1
        queued_total{policy="prices"} 1
        rejected_total{policy="prices",reason="concurrency_limit"} 1
        rejected_total{policy="prices",reason="queue_timeout"} 1
        waiting_limit{policy="prices"} 1.0"#]]
    .assert_eq(&samples(&registry));
    drop((permit, taken));
}

#[test]
fn an_exposition_explains_itself() {
    let registry = Registry::default();
    let metrics = Metrics::register(&registry).unwrap();
    let breaker = Breaker::builder("payments")
        .clock(ManualClock::new())
        .observe(metrics.clone())
        .build();
    let breaker = breaker.unwrap();
    assert!(metrics.watch(&breaker));
    let text = registry.to_text(); // an increase from nothing would be seen by nobody
    assert!(text.contains("cortex_resilience_rejected_total{policy=\"payments\",reason=\"open\"} 0\n"));
    breaker.metrics_only();
    breaker.reset();
    let text = registry.to_text();
    let blocks = |name: &str| -> String {
        let lines = text.lines().filter(|line| line.contains(name));
        lines.flat_map(|line| [line, "\n"]).collect()
    };
    expect![[r#"
        # HELP cortex_resilience_transitions_total Changes of the state of a breaker.
        # TYPE cortex_resilience_transitions_total counter
        cortex_resilience_transitions_total{policy="payments",from="closed",to="open"} 0
        cortex_resilience_transitions_total{policy="payments",from="closed",to="metrics_only"} 1
        cortex_resilience_transitions_total{policy="payments",from="metrics_only",to="closed"} 1
    "#]]
    .assert_eq(&blocks("transitions"));
    expect![[r#"
        # HELP cortex_resilience_breaker_state The state of a breaker: 1 for the one that it is in.
        # TYPE cortex_resilience_breaker_state gauge
        cortex_resilience_breaker_state{policy="payments",state="closed"} 1.0
        cortex_resilience_breaker_state{policy="payments",state="open"} 0.0
        cortex_resilience_breaker_state{policy="payments",state="half_open"} 0.0
        cortex_resilience_breaker_state{policy="payments",state="disabled"} 0.0
        cortex_resilience_breaker_state{policy="payments",state="metrics_only"} 0.0
        cortex_resilience_breaker_state{policy="payments",state="forced_open"} 0.0
    "#]]
    .assert_eq(&blocks("breaker_state"));
    assert_eq!(registry.dropped().get(), 0);
}

#[test]
fn a_handle_of_one_policy_counts_in_the_same_place() {
    let registry = Registry::default();
    let metrics = Metrics::register(&registry).unwrap();
    let hosts = metrics.policy("hosts");
    let events = [
        Event::Ignored,
        Event::Late,
        Event::Queued,
        Event::FellBack,
        Event::Reset,
        Event::KeyOverflow,
    ];
    for event in events {
        hosts.on_event("a.example.com", &event); // finds its counter
        hosts.clone().on_event("b.example.com", &event);
        metrics.on_event("hosts", &event);
    }
    expect![[r#"
        fallbacks_total{policy="hosts"} 3
        ignored_total{policy="hosts"} 3
        key_overflows_total{policy="hosts"} 3
        late_total{policy="hosts"} 3
        queued_total{policy="hosts"} 3
        resets_total{policy="hosts"} 3"#]]
    .assert_eq(&samples(&registry));
}

#[test]
fn who_is_gone_is_shown_no_more_and_the_last_of_a_name_counts() {
    let registry = Registry::default();
    let metrics = Metrics::register(&registry).unwrap();
    let state = || {
        let text = samples(&registry);
        text.lines()
            .find(|line| line.starts_with("breaker_state"))
            .map(ToOwned::to_owned)
    };
    let shown = |state: &str| {
        Some(format!(
            "breaker_state{{policy=\"payments\",state=\"{state}\"}} 1.0"
        ))
    };
    let first = Breaker::builder("payments").build().unwrap();
    let second = Breaker::builder("payments").build().unwrap();
    assert!(metrics.watch(&first) && metrics.watch(&second));
    second.force_open();
    assert_eq!(state(), shown("forced_open"));
    drop(second);
    assert_eq!(state(), shown("closed"));
    drop(first);
    assert_eq!(state(), None);
    assert_eq!(registry.dropped().get(), 0);
}

#[test]
fn so_many_are_watched_and_the_dead_make_room() {
    let registry = Registry::default();
    let metrics = Metrics::register(&registry).unwrap();
    let make = |number: u32| {
        Bulkhead::builder(format!("host-{number}"))
            .max_concurrent(1)
            .build()
            .unwrap()
    };
    let mut all: Vec<_> = (0..2_000).map(make).collect();
    assert!(all.iter().all(|bulkhead| metrics.watch(bulkhead)));
    let one_more = make(2_000);
    assert!(!metrics.watch(&one_more));
    all.pop();
    assert!(metrics.watch(&one_more));
    let text = registry.to_text();
    assert_eq!(text.matches("cortex_resilience_calls_limit{").count(), 2_000);
    let is_shown = |name: &str| text.contains(&format!("calls_limit{{policy=\"{name}\""));
    assert!(is_shown("host-2000") && !is_shown("host-1999"));
}

#[test]
fn names_without_bound_share_a_series_in_the_end() {
    let registry = Registry::default();
    let metrics = Metrics::register(&registry).unwrap();
    for number in 0..2_010 {
        metrics.on_event(&format!("host-{number}"), &Event::Late);
    }
    let text = registry.to_text();
    assert!(
        text.contains("cortex_resilience_late_total{policy=\"__other__\"} 10\n"),
        "{text}"
    );
}

#[test]
fn a_registry_has_one() {
    let registry = Registry::default();
    let _metrics = Metrics::register(&registry).unwrap();
    let error = Metrics::register(&registry).unwrap_err();
    assert!(matches!(error.kind(), RegisterErrorKind::Duplicate), "{error}");
    let other = registry.sub_registry("partners", [("side", "out")]).unwrap();
    assert!(Metrics::register(&other).is_ok());
}

/// An overdue probing ends when it is looked at, and the observer that hears of it counts in the same metrics.
#[test]
fn a_scrape_that_ends_a_probing_counts_it() {
    let (registry, clock) = (Registry::default(), ManualClock::new());
    let metrics = Metrics::register(&registry).unwrap();
    let breaker = Breaker::builder("payments")
        .half_open(HalfOpen::permits(1).max_time(secs(1), After::Open))
        .clock(clock.clone())
        .observe(metrics.clone())
        .build()
        .unwrap();
    assert!(metrics.watch(&breaker));
    breaker.force_open();
    breaker.half_open().unwrap();
    clock.advance(secs(1));
    registry.to_text();
    let text = registry.to_text();
    let line = "cortex_resilience_transitions_total{policy=\"payments\",from=\"half_open\",to=\"open\"} 1\n";
    assert!(text.contains(line), "{text}");
}
