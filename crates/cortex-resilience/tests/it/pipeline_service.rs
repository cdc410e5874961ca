//! The usual pipelines as services, in time that does not pass by itself.

use crate::support::{Log, TokioClock, millis, secs};
use cortex_core::{Clock, Context, Deadline, FutureExt};
use cortex_resilience::circuit::{Breaker, State, Window};
use cortex_resilience::pipeline::{Error, OuterBreaker, Pipeline, Standard};
use cortex_resilience::rate_limit::RateLimiter;
use cortex_resilience::retry::{Backoff, GaveUp, Retry};
use cortex_resilience::timeout::{Kind, Timeout};
use cortex_resilience::{ErrIsFailure, Event, Reason};
use std::future::{poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_resilience_core::testing::{ControlledHandle, ControlledService, ProbeHandle, ServiceProbe};

const SENSE: &str = "the settings make sense";

type Limiter = RateLimiter<(), TokioClock>;

/// Three attempts a second apart, of 2 s each and 3.5 s together; the breaker opens after three failures of four votes.
fn standard(log: &Log) -> Standard<Limiter, ErrIsFailure, Log, TokioClock> {
    let limiter = RateLimiter::builder("test").limit(9, secs(1)).clock(TokioClock);
    let standard = Pipeline::standard("test")
        .rate_limit(limiter.build().expect(SENSE))
        .total_timeout(millis(3500))
        .attempt_timeout(secs(2))
        .retry(|retry| retry.max_attempts(3).backoff(Backoff::constant(secs(1))))
        .breaker(|breaker| breaker.window(Window::count(4)).min_calls(4).failure_rate(0.75))
        .observe(log.clone())
        .clock(TokioClock);
    standard.build().expect(SENSE)
}

/// One call at once, and nobody waits; the breaker opens after two failures.
fn outer_breaker(log: &Log) -> OuterBreaker<ErrIsFailure, Log, TokioClock> {
    let outer = Pipeline::outer_breaker("test")
        .breaker(|breaker| breaker.window(Window::count(2)).min_calls(2))
        .retry(|retry| retry.max_attempts(3).backoff(Backoff::constant(secs(1))))
        .bulkhead(|bulkhead| bulkhead.max_concurrent(1).queue(0))
        .attempt_timeout(secs(2))
        .observe(log.clone())
        .clock(TokioClock);
    outer.build().expect(SENSE)
}

trait Numbers: Service<u32, Response = u32, Error = &'static str, Future: Send> + Clone {}
impl<S: Service<u32, Response = u32, Error = &'static str, Future: Send> + Clone> Numbers for S {}

/// Fails so many times, and then answers with the number of the call.
fn scripted(failures: u32) -> (ServiceProbe<impl Numbers>, ProbeHandle) {
    let calls = Arc::new(AtomicU32::new(0));
    let probe = ServiceProbe::new(service_fn(move |_: u32| {
        let number = calls.fetch_add(1, Ordering::Relaxed) + 1;
        ready(if number > failures { Ok(number) } else { Err("no") })
    }));
    let handle = probe.handle();
    (probe, handle)
}

fn controlled(is_ready: bool) -> (ServiceProbe<ControlledService>, ProbeHandle, ControlledHandle) {
    let (inner, control) = ControlledService::new(is_ready);
    let probe = ServiceProbe::new(inner);
    let handle = probe.handle();
    (probe, handle, control)
}

fn refused<E>(error: &Error<E>) -> Option<Reason> {
    error.rejected().map(|why| why.reason())
}

fn expired<E>(error: &Error<E>) -> Option<Kind> {
    error.timed_out().map(|late| late.kind())
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_readiness_of_its_own() {
    let begin = Instant::now();
    let (inner, probe) = scripted(2);
    let mut service = standard(&Log::new())
        .layer_for(cortex_resilience::Cloned)
        .layer(inner);
    assert_eq!(service.ready().await.unwrap().call(0).await, Ok(3));
    let seen = probe.snapshot();
    assert_eq!((seen.readiness_successes, seen.calls, seen.completed), (3, 3, 3));
    assert_eq!(begin.elapsed(), secs(2));
    probe.assert_ready_contract();
    probe.assert_quiescent();
}

#[tokio::test(start_paused = true)]
async fn the_breaker_inside_sees_attempts_and_its_refusal_is_the_last_word() {
    let log = Log::new();
    let (inner, probe) = scripted(99);
    let mut service = standard(&log).layer_for(cortex_resilience::Cloned).layer(inner);
    let failed = service.ready().await.unwrap().call(0).await.unwrap_err();
    assert!(
        matches!(
            failed,
            Error::GaveUp {
                reason: GaveUp::Attempts,
                attempts: 3,
                error: "no",
                ..
            }
        ),
        "{failed:?}"
    );
    let opens = service.ready().await.unwrap().call(0).await.unwrap_err();
    // The fourth vote opened it, in the middle of the call, which ends with its own error.
    let reason = GaveUp::CircuitOpen;
    assert!(
        matches!(opens, Error::GaveUp { reason: why, error: "no", .. } if why == reason),
        "{opens:?}"
    );
    let seen = || (probe.snapshot().readiness_polls, probe.snapshot().calls);
    assert_eq!(seen(), (4, 4));
    let begin = Instant::now();
    for _ in 0..3 {
        let error = service.ready().await.unwrap().call(0).await.unwrap_err();
        assert_eq!(refused(&error), Some(Reason::Open));
        assert!(error.retry_after().is_some_and(|wait| wait <= secs(60)));
    }
    assert_eq!(begin.elapsed(), secs(0)); // it is not tried again
    assert_eq!(seen(), (4, 4)); // neither asked nor called
    let opened = |event: &&Event| matches!(event, Event::Opened { .. });
    assert_eq!(log.all().iter().filter(opened).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn to_wait_for_readiness_counts_against_the_total_time() {
    let (inner, probe, control) = controlled(false);
    let mut service = standard(&Log::new())
        .layer_for(cortex_resilience::Cloned)
        .layer(inner);
    let begin = Instant::now();
    let late = ServiceExt::<u32>::ready(&mut service)
        .await
        .unwrap()
        .call(7)
        .await;
    assert_eq!(expired(&late.unwrap_err()), Some(Kind::Total));
    assert_eq!((begin.elapsed(), probe.snapshot().calls), (millis(3500), 0));

    let begin = Instant::now();
    let (answer, ()) = tokio::join!(
        async {
            ServiceExt::<u32>::ready(&mut service)
                .await
                .unwrap()
                .call(7)
                .await
        },
        async {
            tokio::time::sleep(secs(2)).await;
            control.set_ready(true);
        }
    );
    assert_eq!(expired(&answer.unwrap_err()), Some(Kind::Total)); // 1.5 s were left, less than an attempt may take
    assert_eq!((begin.elapsed(), probe.snapshot().calls), (millis(3500), 1));
    control.allow(1);
    let answer = ServiceExt::<u32>::ready(&mut service)
        .await
        .unwrap()
        .call(7)
        .await;
    assert_eq!(answer, Ok(7));
    probe.assert_ready_contract();
    probe.assert_quiescent();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_dropped_and_made_again() {
    let (inner, probe, control) = controlled(true);
    let mut service = standard(&Log::new())
        .layer_for(cortex_resilience::Cloned)
        .layer(inner);
    let (answer, ()) = tokio::join!(
        async {
            ServiceExt::<u32>::ready(&mut service)
                .await
                .unwrap()
                .call(7)
                .await
        },
        async {
            tokio::time::sleep(millis(3100)).await;
            control.allow(1);
        }
    );
    assert_eq!(answer, Ok(7));
    let seen = probe.snapshot();
    assert_eq!((seen.calls, seen.cancelled, seen.peak_in_flight), (2, 1, 1));
    probe.assert_ready_contract();
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_caller_leaves_time_for_no_retry() {
    let (inner, probe) = scripted(1);
    let mut service = standard(&Log::new())
        .layer_for(cortex_resilience::Cloned)
        .layer(inner);
    let context = Context::new().with_deadline(Deadline::after(TokioClock.now(), millis(900)));
    let begin = Instant::now();
    let answer = async { service.ready().await.unwrap().call(0).await };
    assert_eq!(answer.with_context(context).await, Err(Error::Inner("no")));
    assert_eq!((begin.elapsed(), probe.snapshot().calls), (secs(0), 1));
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_outside_refuses_before_anything_is_asked() {
    let (inner, probe) = scripted(0);
    let mut service = standard(&Log::new())
        .layer_for(cortex_resilience::Cloned)
        .layer(inner);
    for number in 1..=9 {
        assert_eq!(service.ready().await.unwrap().call(0).await, Ok(number));
    }
    let seen = probe.snapshot();
    let error = service.ready().await.unwrap().call(0).await.unwrap_err();
    assert_eq!(refused(&error), Some(Reason::RateLimit));
    assert!(error.retry_after().is_some_and(|wait| wait <= secs(1)));
    assert_eq!(probe.snapshot(), seen);
    tokio::time::advance(secs(1)).await;
    assert_eq!(service.ready().await.unwrap().call(0).await, Ok(10));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_outside_has_one_vote_a_call() {
    let log = Log::new();
    let (inner, probe) = scripted(99);
    let mut service = outer_breaker(&log)
        .layer_for(cortex_resilience::Cloned)
        .layer(inner);
    for calls in [3, 6] {
        let failed = service.ready().await.unwrap().call(0).await.unwrap_err();
        assert!(matches!(failed, Error::GaveUp { attempts: 3, .. }), "{failed:?}");
        assert_eq!(probe.snapshot().calls, calls);
    }
    let error = service.ready().await.unwrap().call(0).await.unwrap_err();
    assert_eq!((refused(&error), probe.snapshot().calls), (Some(Reason::Open), 6));
    probe.assert_ready_contract();
}

#[tokio::test(start_paused = true)]
async fn the_bulkhead_inside_is_free_between_attempts_and_its_refusal_is_flat() {
    let (inner, probe) = scripted(1);
    let service = outer_breaker(&Log::new())
        .layer_for(cortex_resilience::Cloned)
        .layer(inner);
    let (mut first, mut second) = (service.clone(), service.clone());
    let mut pausing = pin!(first.ready().await.unwrap().call(0));
    assert!(
        poll_fn(|cx| Poll::Ready(pausing.as_mut().poll(cx)))
            .await
            .is_pending()
    );
    assert_eq!(second.ready().await.unwrap().call(0).await, Ok(2)); // the only permit is not held in the pause
    assert_eq!(pausing.await, Ok(3));
    probe.assert_ready_contract();

    let (inner, probe, control) = controlled(true);
    let service = outer_breaker(&Log::new())
        .layer_for(cortex_resilience::Cloned)
        .layer(inner);
    let (mut first, mut second) = (service.clone(), service.clone());
    let mut running = pin!(ServiceExt::<u32>::ready(&mut first).await.unwrap().call(7));
    assert!(
        poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx)))
            .await
            .is_pending()
    );
    let error = ServiceExt::<u32>::ready(&mut second)
        .await
        .unwrap()
        .call(8)
        .await
        .unwrap_err();
    assert_eq!(refused(&error), Some(Reason::Full));
    control.allow(1);
    assert_eq!(running.await, Ok(7));
    assert_eq!(probe.snapshot().calls, 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_inner_service_says_and_misuse_are_flat_too() {
    let log = Log::new();
    let (inner, probe, control) = controlled(true);
    let mut service = standard(&log).layer_for(cortex_resilience::Cloned).layer(inner);
    let mut clone = service.clone();
    ServiceExt::<u32>::ready(&mut service).await.unwrap();
    assert!(matches!(clone.call(7).await, Err(Error::NotReady)));
    control.close();
    let Err(broken) = ServiceExt::<u32>::ready(&mut service).await else {
        panic!("it is closed")
    };
    assert!(matches!(broken, Error::Inner(_)), "{broken:?}");
    assert!(matches!(service.call(7).await, Err(Error::NotReady)));
    assert_eq!((probe.snapshot().calls, log.all().len()), (0, 0)); // no vote, and nothing was decided
}

#[tokio::test(start_paused = true)]
async fn who_is_not_ready_in_time_was_not_asked_and_so_has_not_failed() {
    let breaker = Breaker::builder("test").window(Window::count(1)).min_calls(1);
    let breaker = breaker.clock(TokioClock).build().expect(SENSE);
    let timeout = Timeout::builder("test").attempt(secs(2)).clock(TokioClock);
    let policies = Pipeline::new((breaker.clone(), timeout.build().expect(SENSE)));
    let (inner, probe, _control) = controlled(false);
    let service = policies.layer_for(cortex_resilience::Cloned).layer(inner);
    let retry = Retry::builder("test").within(secs(1)).clock(TokioClock);
    let retry = retry.build().expect(SENSE);
    let begun = Instant::now();
    let call = retry.call(|_| ServiceExt::<u32>::oneshot(service.clone(), 0));
    let error = tokio::time::timeout(secs(60), call)
        .await
        .expect("it ends")
        .unwrap_err();
    assert_eq!(begun.elapsed(), secs(1));
    let late = error.into_inner().and_then(|error| expired(&error));
    assert_eq!((late, probe.snapshot().calls), (Some(Kind::Deadline), 0));
    assert_eq!((breaker.state(), breaker.snapshot().total), (State::Closed, 0));
}
