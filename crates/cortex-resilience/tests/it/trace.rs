//! What `tracing` hears of policies.

use crate::support::{TokioClock, millis, secs};
use cortex_resilience::circuit::{Breaker, Window};
use cortex_resilience::hedge::Hedge;
use cortex_resilience::pipeline::Pipeline;
use cortex_resilience::retry::Backoff;
use cortex_resilience::trace::Log;
use cortex_resilience::{Attempt, Event, Observer};
use cortex_testkit::{ManualClock, Recorder, subscribe};
use expect_test::expect;
use tracing::Level;

/// Collects the lines of this thread, down to a level.
fn listen(level: Level) -> (Recorder<u8>, tracing::subscriber::DefaultGuard) {
    let log = Recorder::new();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_max_level(level)
        .with_ansi(false)
        .without_time()
        .finish();
    (log, subscribe(subscriber))
}

/// Levels are padded to one width.
fn said(log: &Recorder<u8>) -> String {
    let text = log.text();
    text.lines().flat_map(|line| [line.trim_start(), "\n"]).collect()
}

#[test]
fn each_transition_is_told_once() {
    let (log, _logging) = listen(Level::INFO);
    let clock = ManualClock::new();
    let breaker = Breaker::builder("payments")
        .window(Window::count(2))
        .min_calls(2)
        .clock(clock.clone())
        .observe(Log::new())
        .build()
        .unwrap();
    for _ in 0..2 {
        breaker.try_acquire().unwrap().failure();
    }
    for _ in 0..3 {
        assert!(breaker.try_acquire().is_err()); // at debug
    }
    clock.advance(secs(60));
    for _ in 0..5 {
        breaker.try_acquire().unwrap().success();
    }
    breaker.force_open();
    breaker.metrics_only();
    for _ in 0..2 {
        breaker.try_acquire().unwrap().failure();
    }
    breaker.disable();
    breaker.reset();
    expect![[r#"
        WARN cortex_resilience: the circuit opened policy="payments" from="closed" wait=60s
        INFO cortex_resilience: the circuit is half-open policy="payments" from="open"
        INFO cortex_resilience: the circuit closed policy="payments" from="half_open"
        WARN cortex_resilience: the circuit was forced open policy="payments" from="closed"
        INFO cortex_resilience: the breaker only counts from now on policy="payments" from="forced_open"
        WARN cortex_resilience: the circuit would have opened, but the breaker only counts policy="payments" axis=Failures rate=1.0
        INFO cortex_resilience: the breaker was switched off policy="payments" from="metrics_only"
        INFO cortex_resilience: the breaker was reset policy="payments"
        INFO cortex_resilience: the circuit closed policy="payments" from="disabled"
    "#]].assert_eq(&said(&log));
}

#[tokio::test(start_paused = true)]
async fn calls_are_told_at_debug_in_their_span() {
    let (log, _logging) = listen(Level::DEBUG);
    let payments = Pipeline::standard("payments")
        .clock(TokioClock)
        .observe(Log::default())
        .retry(|retry| retry.max_attempts(2).backoff(Backoff::constant(millis(10))))
        .breaker(|breaker| breaker.window(Window::count(2)).min_calls(2))
        .attempt_timeout(millis(100))
        .build()
        .unwrap();
    let span = tracing::info_span!("checkout");
    let entered = span.enter();
    let hang = |_: Attempt| std::future::pending::<Result<(), &str>>();
    assert!(payments.call(hang).await.is_err());
    assert!(payments.call(hang).await.is_err());
    drop(entered);
    expect![[r#"
        DEBUG checkout: cortex_resilience: the time of the call was over policy="payments" reason="attempt" after=100ms
        DEBUG checkout: cortex_resilience: the call is tried again policy="payments" retry=1 delay=10ms
        DEBUG checkout: cortex_resilience: the time of the call was over policy="payments" reason="attempt" after=100ms
        WARN checkout: cortex_resilience: the circuit opened policy="payments" from="closed" wait=60s
        DEBUG checkout: cortex_resilience: the call is not tried again policy="payments" reason="attempts" attempts=2
        DEBUG checkout: cortex_resilience: the call was refused policy="payments" reason="open" retry_after=60s
        DEBUG checkout: cortex_resilience: the call is not tried again policy="payments" reason="circuit_open" attempts=1
    "#]].assert_eq(&said(&log));
}

#[tokio::test(start_paused = true)]
async fn hedges_are_told_at_the_level_that_is_wanted() {
    let (log, _logging) = listen(Level::INFO);
    let slow_first = |attempt: Attempt| async move {
        tokio::time::sleep(if attempt.number() == 1 { secs(1) } else { millis(1) }).await;
        Ok::<_, &str>(7)
    };
    for observer in [Log::new(), Log::new().calls(Level::INFO)] {
        let hedge = Hedge::builder("prices")
            .delay(millis(5))
            .observe(observer)
            .build()
            .unwrap();
        assert_eq!(hedge.call(slow_first).await, Ok(7));
    }
    expect![[r#"
        INFO cortex_resilience: another attempt is made beside those that run policy="prices" attempt=2
        INFO cortex_resilience: attempts were dropped, for another was faster policy="prices" attempts=1
        INFO cortex_resilience: one of several attempts succeeded policy="prices" attempt=2
    "#]]
    .assert_eq(&said(&log));
}

#[test]
fn every_level_is_one() {
    let (log, _logging) = listen(Level::TRACE);
    for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
        let observer = Log::new().calls(level);
        observer.on_event("prices", &Event::FellBack);
    }
    let log = log.text();
    let levels: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(levels, ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"]);
    let same = "cortex_resilience: the call failed, and is answered otherwise policy=\"prices\"";
    assert_eq!(log.matches(same).count(), 5, "{log}");
}

#[test]
fn what_counts_for_nothing_is_told_at_trace() {
    let (log, _logging) = listen(Level::TRACE);
    let observer = Log::new();
    for event in [Event::Ignored, Event::Late, Event::Queued, Event::KeyOverflow] {
        observer.on_event("prices", &event);
    }
    expect![[r#"
        TRACE cortex_resilience: the end of the call counts for nothing policy="prices"
        TRACE cortex_resilience: the call ended too late to count policy="prices"
        TRACE cortex_resilience: the call waits for its turn policy="prices"
        DEBUG cortex_resilience: the key found no place of its own policy="prices"
    "#]]
    .assert_eq(&said(&log));
}
