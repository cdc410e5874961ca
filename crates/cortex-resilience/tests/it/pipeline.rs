//! Policies around one another.

use crate::tokio_clock::TokioClock;
use cortex_core::{Clock, Context, Deadline, FutureExt};
use cortex_resilience::bulkhead::Bulkhead;
use cortex_resilience::chaos::Chaos;
use cortex_resilience::circuit::{Breaker, HalfOpen, State, Window};
use cortex_resilience::fallback::Fallback;
use cortex_resilience::hedge::Hedge;
use cortex_resilience::pipeline::{Error, OuterBreaker, Pipeline, Standard};
use cortex_resilience::rate_limit::RateLimiter;
use cortex_resilience::retry::{Backoff, GaveUp, Retry};
use cortex_resilience::timeout::{Kind, Timeout};
use cortex_resilience::{Classify, Cloned, ErrIsFailure, Event, Observer, Outcome, Pushback, Reason};
use cortex_testkit::Recorder;
use std::cell::Cell;
use std::future::{pending, ready};
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The names of the events, in their order.
#[derive(Clone, Default)]
struct Log(Recorder<String>);

impl Observer for Log {
    fn on_event(&self, _: &str, event: &Event) {
        let text = format!("{event:?}");
        let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
        self.0.record(text[..end].to_owned());
    }
}

fn standard(log: &Log) -> Standard<(), ErrIsFailure, Log, TokioClock> {
    let standard = Pipeline::standard("shop")
        .total_timeout(10 * SECOND)
        .attempt_timeout(2 * SECOND)
        .retry(|retry| retry.max_attempts(3).backoff(Backoff::constant(SECOND)))
        .breaker(|breaker| breaker.window(Window::count(4)).min_calls(4).failure_rate(0.75))
        .observe(log.clone())
        .clock(TokioClock);
    standard.build().expect("the settings make sense")
}

#[tokio::test(start_paused = true)]
async fn tries_again_and_tells_how_often() {
    let (log, begin) = (Log::default(), tokio::time::Instant::now());
    let shop = standard(&log);
    let numbers = Cell::new(Vec::new());
    let result = shop.call(|attempt| {
        let mut all = numbers.take();
        all.push(attempt.number());
        numbers.set(all);
        ready(if attempt.number() < 3 {
            Err("no")
        } else {
            Ok(attempt.number())
        })
    });
    assert_eq!(result.await, Ok(3));
    assert_eq!((numbers.take(), begin.elapsed()), (vec![1, 2, 3], 2 * SECOND));
    let failed = shop.call(|_| ready(Err::<(), _>("no"))).await.unwrap_err();
    // The breaker has seen attempts, not calls, and refused the last: what the call got is the error before.
    assert!(
        matches!(
            failed,
            Error::GaveUp {
                reason: GaveUp::CircuitOpen,
                attempts: 2,
                error: "no",
                ..
            }
        ),
        "{failed:?}"
    );
    // It says when the breaker lets calls through again, although the error is that of the attempt before.
    assert_eq!(failed.retry_after(), Some(59 * SECOND), "{failed:?}");
    assert!(
        failed
            .to_string()
            .ends_with("the circuit is open; try again in 59s")
    );
    assert_eq!(
        log.0.take(),
        [
            "RetryScheduled",
            "RetryScheduled",
            "Opened",
            "RetryScheduled",
            "Rejected",
            "GaveUp"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_error_of_several_attempts_says_so_and_that_of_one_is_its_own() {
    let shop = standard(&Log::default());
    let failed = shop.call(|_| ready(Err::<(), _>("no"))).await.unwrap_err();
    let Error::GaveUp {
        reason,
        attempts,
        error,
        ..
    } = failed
    else {
        panic!("{failed:?}")
    };
    assert_eq!((reason, attempts, error), (GaveUp::Attempts, 3, "no"));
    assert_eq!(
        failed.to_string(),
        "the call failed after 3 attempts: no more are allowed"
    );
    let fatal = |result: Result<&(), &&str>| match result {
        Ok(()) => Outcome::Success,
        Err(_) => Outcome::Ignore,
    };
    let shop = Pipeline::standard("shop").classify(fatal).build().unwrap();
    assert_eq!(
        shop.call(|_| ready(Err::<(), _>("mine"))).await,
        Err(Error::Inner("mine"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_not_tried_again_and_says_when() {
    let log = Log::default();
    let shop = standard(&log);
    let asked = Cell::new(0);
    let fails = |_| {
        asked.set(asked.get() + 1);
        ready(Err::<(), _>("no"))
    };
    for _ in 0..2 {
        assert!(shop.call(fails).await.is_err());
    }
    assert_eq!(asked.get(), 4); // what the breaker refuses is not even called
    let begin = tokio::time::Instant::now();
    let refused = shop.call(fails).await.unwrap_err();
    assert_eq!(refused.rejected().map(|why| why.reason()), Some(Reason::Open));
    assert!(
        refused.retry_after().is_some_and(|wait| wait <= 60 * SECOND),
        "{refused}"
    );
    assert_eq!((begin.elapsed(), asked.get()), (Duration::ZERO, 4));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_function_itself_is_a_vote_behind_a_retry_too() {
    let breaker = Breaker::builder("shop")
        .window(Window::count(1))
        .min_calls(1)
        .build()
        .unwrap();
    let shop = Pipeline::new((Retry::builder("shop").build().unwrap(), breaker.clone()));
    let task = tokio::spawn(async move {
        shop.call(|attempt| {
            assert!(attempt.is_retry(), "a bug before there is a future");
            ready(Ok::<_, ()>(()))
        })
        .await
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn attempts_that_hang_are_cut_off_and_all_of_them_in_time() {
    let log = Log::default();
    let shop = standard(&log);
    let begin = tokio::time::Instant::now();
    let hangs = shop.call(|_| pending::<Result<(), &str>>()).await.unwrap_err();
    // The last policy that has something to say is told, and it is the attempt's.
    assert_eq!(hangs.timed_out().map(|late| late.kind()), Some(Kind::Attempt));
    assert_eq!(begin.elapsed(), (2 + 1 + 2 + 1 + 2) * SECOND);
    let slow = Pipeline::standard("shop")
        .total_timeout(3 * SECOND)
        .attempt_timeout(2 * SECOND)
        .clock(TokioClock);
    let begin = tokio::time::Instant::now();
    let late = slow
        .build()
        .unwrap()
        .call(|_| pending::<Result<(), &str>>())
        .await
        .unwrap_err();
    assert_eq!(late.timed_out().map(|late| late.kind()), Some(Kind::Total));
    assert_eq!(begin.elapsed(), 3 * SECOND);
}

#[derive(Clone, Copy)]
struct ComeBack(Duration);

impl Classify<(), &'static str> for ComeBack {
    fn outcome(&self, result: Result<&(), &&'static str>) -> Outcome {
        ErrIsFailure.outcome(result)
    }

    fn pushback(&self, _: Result<&(), &&'static str>) -> Option<Pushback> {
        Some(Pushback::After(self.0))
    }
}

#[tokio::test(start_paused = true)]
async fn what_would_begin_after_the_total_time_is_given_up_at_once() {
    let shop = Pipeline::standard("shop")
        .total_timeout(3 * SECOND)
        .classify(ComeBack(10 * SECOND))
        .clock(TokioClock)
        .build()
        .unwrap();
    let begin = tokio::time::Instant::now();
    let end = Deadline::after(TokioClock.now(), 3 * SECOND);
    let failed = shop.call(|attempt| {
        assert_eq!(
            (attempt.deadline(), Context::current().deadline()),
            (Some(end), Some(end))
        );
        async {
            tokio::time::sleep(SECOND / 10).await;
            Err("busy")
        }
    });
    // The only attempt's error is its own.
    assert_eq!(failed.await, Err(Error::Inner("busy")));
    assert_eq!(begin.elapsed(), SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn attempts_fit_into_the_total_time_and_hangs_open_the_breaker() {
    let log = Log::default();
    let shop = Pipeline::standard("shop")
        .total_timeout(3 * SECOND)
        .breaker(|breaker| breaker.window(Window::count(3)).min_calls(3))
        .observe(log.clone())
        .clock(TokioClock)
        .build()
        .unwrap();
    for _ in 0..2 {
        shop.call(|_| pending::<Result<(), &str>>()).await.unwrap_err();
    }
    assert!(log.0.take().contains(&"Opened".to_owned()));
    let quick = Pipeline::standard("shop")
        .total_timeout(Duration::from_nanos(2))
        .build();
    assert!(quick.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_budget_of_a_preset_runs_on_its_clock() {
    let shop = Pipeline::standard("shop")
        .total_timeout(600 * SECOND)
        .retry(|retry| retry.max_attempts(2).backoff(Backoff::constant(Duration::ZERO)))
        .breaker(|breaker| breaker.min_calls(u32::MAX))
        .clock(TokioClock)
        .build()
        .unwrap();
    let fails = async || match shop.call(|_| ready(Err::<(), _>("no"))).await {
        Err(Error::GaveUp { reason, .. }) => reason,
        // One attempt had no other.
        other => {
            assert_eq!(other, Err(Error::Inner("no")));
            GaveUp::Budget
        }
    };
    let mut retried = 0;
    while fails().await == GaveUp::Attempts {
        retried += 1;
    }
    assert!((100..200).contains(&retried), "{retried}"); // the reserve, and a fifth
    tokio::time::advance(11 * SECOND).await;
    assert_eq!(fails().await, GaveUp::Attempts);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_caller_is_no_vote() {
    let breaker = Breaker::builder("shop")
        .window(Window::count(1))
        .min_calls(1)
        .clock(TokioClock)
        .build()
        .unwrap();
    let shop = Pipeline::new((
        breaker.clone(),
        Timeout::builder("shop")
            .attempt(2 * SECOND)
            .clock(TokioClock)
            .build()
            .unwrap(),
    ));
    let context = Context::new().with_deadline(Deadline::after(TokioClock.now(), SECOND));
    let late = shop
        .call(|_| pending::<Result<(), &str>>())
        .with_context(context)
        .await
        .unwrap_err();
    assert_eq!(late.timed_out().map(|late| late.kind()), Some(Kind::Deadline));
    assert_eq!((breaker.state(), breaker.snapshot().total), (State::Closed, 0));
    let hangs = shop.call(|_| pending::<Result<(), &str>>()).await.unwrap_err();
    assert_eq!(hangs.timed_out().map(|late| late.kind()), Some(Kind::Attempt));
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_a_retry_outside_is_a_vote() {
    let breaker = Breaker::builder("shop")
        .window(Window::count(1))
        .min_calls(1)
        .clock(TokioClock)
        .build()
        .unwrap();
    let retry = Retry::builder("shop").within(SECOND).clock(TokioClock);
    let shop = Pipeline::new((
        retry.build().unwrap(),
        breaker.clone(),
        Timeout::builder("shop")
            .attempt(2 * SECOND)
            .clock(TokioClock)
            .build()
            .unwrap(),
    ));
    // The caller has even less time: nobody's failure.
    let context = Context::new().with_deadline(Deadline::after(TokioClock.now(), SECOND / 2));
    let late = shop
        .call(|_| pending::<Result<(), &str>>())
        .with_context(context)
        .await
        .unwrap_err();
    assert_eq!(late.timed_out().map(|late| late.kind()), Some(Kind::Deadline));
    assert_eq!((breaker.state(), breaker.snapshot().total), (State::Closed, 0));
    let context = Context::new().with_deadline(Deadline::after(TokioClock.now(), 3 * SECOND));
    let hangs = shop
        .call(|_| pending::<Result<(), &str>>())
        .with_context(context)
        .await
        .unwrap_err();
    let timed_out = hangs.timed_out().unwrap();
    assert_eq!((timed_out.kind(), timed_out.after()), (Kind::Total, SECOND));
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_outside_spends_nothing_on_what_it_refuses() {
    let limit = RateLimiter::builder("shop")
        .limit(1, SECOND)
        .clock(TokioClock)
        .build()
        .unwrap();
    let shop = Pipeline::standard("shop").rate_limit(limit).build().unwrap();
    let asked = Cell::new(0);
    let ask = |_| {
        asked.set(asked.get() + 1);
        ready(Ok::<_, ()>(()))
    };
    assert_eq!(shop.call(ask).await, Ok(()));
    let refused = shop.call(ask).await.unwrap_err();
    assert_eq!(
        refused.rejected().map(|why| why.reason()),
        Some(Reason::RateLimit)
    );
    assert!(refused.retry_after().is_some());
    assert_eq!(asked.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_outside_has_one_vote_a_call_and_the_bulkhead_is_free_in_between() {
    let log = Log::default();
    let shop: OuterBreaker<_, _, _> = Pipeline::outer_breaker("shop")
        .breaker(|breaker| breaker.window(Window::count(2)).min_calls(2).failure_rate(0.75))
        .bulkhead(|bulkhead| bulkhead.max_concurrent(1).queue(0))
        .retry(|retry| retry.max_attempts(3).backoff(Backoff::constant(SECOND)))
        .observe(log.clone())
        .clock(TokioClock)
        .build()
        .unwrap();
    let fails = || shop.call(|_| ready(Err::<(), _>("no")));
    assert!(matches!(fails().await, Err(Error::GaveUp { attempts: 3, .. })));
    let mut pausing = pin!(fails());
    let mut cx = TaskContext::from_waker(Waker::noop());
    assert!(pausing.as_mut().poll(&mut cx).is_pending());
    assert_eq!(shop.call(|_| ready(Ok::<_, &str>(7))).await, Ok(7)); // the only permit is not held in the pause
    assert!(pausing.await.is_err());
    assert!(!log.0.take().contains(&"Opened".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_at_any_await_leaves_nothing_behind() {
    let breaker = Breaker::builder("shop")
        .window(Window::count(1))
        .min_calls(1)
        .half_open(HalfOpen::permits(1))
        .clock(TokioClock)
        .build()
        .unwrap();
    let bulkhead = Bulkhead::builder("shop").max_concurrent(1).build().unwrap();
    let shop = Pipeline::new((
        Retry::builder("shop")
            .backoff(Backoff::constant(SECOND))
            .clock(TokioClock)
            .build()
            .unwrap(),
        breaker.clone(),
        bulkhead.clone(),
        Timeout::builder("shop")
            .attempt(9 * SECOND)
            .clock(TokioClock)
            .build()
            .unwrap(),
    ));
    breaker.half_open().unwrap_or_else(|_| {
        breaker.open().expect("it is closed");
        breaker.half_open().expect("it is open");
    });
    for polls in 0..6 {
        let mut left = polls;
        let mut call = Box::pin(shop.call(|_| async {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            Ok::<_, &str>(())
        }));
        let mut cx = TaskContext::from_waker(Waker::noop());
        while left > 0 {
            left -= 1;
            assert!(call.as_mut().poll(&mut cx).is_pending());
        }
        drop(call);
        assert_eq!(bulkhead.snapshot().in_use, 0, "after {polls} polls");
        assert_eq!(breaker.state(), State::HalfOpen);
    }
    assert_eq!(shop.call(|_| ready(Ok::<_, &str>(()))).await, Ok(())); // the probe's permit came back each time
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_and_leaks_nothing() {
    let breaker = Breaker::builder("shop")
        .window(Window::count(1))
        .min_calls(1)
        .build()
        .unwrap();
    let bulkhead = Bulkhead::builder("shop").max_concurrent(1).build().unwrap();
    let shop = Pipeline::new((breaker.clone(), bulkhead.clone()));
    let task = tokio::spawn({
        let shop = shop.clone();
        async move {
            shop.call(|_| async { if true { panic!("a bug") } else { Ok::<_, ()>(()) } })
                .await
        }
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!((breaker.state(), bulkhead.snapshot().in_use), (State::Open, 0));
}

#[test]
fn nothing_happens_before_the_first_poll() {
    let asked = Cell::new(false);
    let limit = RateLimiter::builder("shop").limit(1, SECOND).build().unwrap();
    let shop = Pipeline::new((limit.clone(),));
    let call = shop.call(|_| {
        asked.set(true);
        ready(Ok::<_, ()>(()))
    });
    assert!(!asked.get());
    drop(call);
    assert!(limit.try_acquire().is_ok());
    let mut refused = pin!(shop.call(|_| {
        asked.set(true);
        ready(Ok::<_, ()>(()))
    }));
    let mut cx = TaskContext::from_waker(Waker::noop());
    assert!(matches!(
        refused.as_mut().poll(&mut cx),
        Poll::Ready(Err(Error::Rejected(_)))
    ));
    assert!(!asked.get());
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let error = Pipeline::standard("shop")
        .retry(|retry| retry.max_attempts(0))
        .build()
        .unwrap_err();
    assert_eq!(error.field(), "max_attempts");
    let error = Pipeline::standard("shop")
        .total_timeout(Duration::ZERO)
        .build()
        .unwrap_err();
    assert_eq!(error.field(), "total");
    let error = Pipeline::standard("shop")
        .total_timeout(2 * SECOND)
        .attempt_timeout(2 * SECOND)
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "accept `attempt_timeout` = 2s: it is shorter than `total_timeout`"
    );
    let error = Pipeline::outer_breaker("shop")
        .bulkhead(|bulkhead| bulkhead.max_concurrent(0))
        .build()
        .unwrap_err();
    assert_eq!(error.field(), "max_concurrent");
}

#[tokio::test(start_paused = true)]
async fn a_fallback_outside_covers_what_policies_say_and_chaos_inside_is_a_fault_to_them() {
    let chaos = Chaos::builder("shop")
        .error(1.0, || "chaos")
        .seed(1)
        .build()
        .unwrap();
    let breaker = Breaker::builder("shop")
        .window(Window::count(2))
        .min_calls(2)
        .build()
        .unwrap();
    let shop = Pipeline::new((
        Fallback::builder("shop").value(0).build(),
        breaker.clone(),
        chaos.clone(),
    ));
    let ask = || shop.call(|_| ready(Ok::<_, &str>(7)));
    assert_eq!(ask().await, Ok(7));
    chaos.enable();
    assert_eq!((ask().await, ask().await), (Ok(0), Ok(0)));
    assert_eq!(breaker.state(), State::Open);
    chaos.disable();
    assert_eq!(ask().await, Ok(0)); // the breaker's refusal
}

#[tokio::test(start_paused = true)]
async fn hedges_go_through_what_is_inside_and_the_first_wins() {
    let bulkhead = Bulkhead::builder("shop").max_concurrent(2).build().unwrap();
    let shop = Pipeline::new((
        Hedge::builder("shop")
            .delay(SECOND)
            .clock(TokioClock)
            .build()
            .unwrap(),
        bulkhead.clone(),
    ));
    let begin = tokio::time::Instant::now();
    let result = shop.call(|attempt| async move {
        if attempt.number() == 1 {
            pending::<()>().await;
        }
        Ok::<_, &str>(attempt.number())
    });
    assert_eq!(result.await, Ok(2));
    assert_eq!((begin.elapsed(), bulkhead.snapshot().in_use), (SECOND, 0));
}

#[cfg(feature = "tower")]
#[tokio::test(start_paused = true)]
async fn a_service_behind_a_pipeline_has_the_same_errors() {
    use tower::{Layer, Service, ServiceExt, service_fn};

    let log = Log::default();
    let shop = standard(&log);
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = asked.clone();
    let mut service = shop.layer_for(Cloned).layer(service_fn(move |works: bool| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        ready(if works { Ok(7) } else { Err("no") })
    }));
    assert_eq!(service.ready().await.unwrap().call(true).await, Ok(7));
    let failed = service.ready().await.unwrap().call(false).await.unwrap_err();
    assert!(
        matches!(
            failed,
            Error::GaveUp {
                attempts: 3,
                error: "no",
                ..
            }
        ),
        "{failed:?}"
    );
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 4);
    let refused = service.ready().await.unwrap().call(true).await.unwrap_err();
    assert_eq!(refused.rejected().map(|why| why.reason()), Some(Reason::Open)); // three of four attempts failed
    let unready = service.clone().call(true).await.unwrap_err();
    assert!(matches!(unready, Error::NotReady), "{unready:?}");
    assert_eq!(log.0.take().iter().filter(|event| *event == "Opened").count(), 1);
}

#[cfg(all(feature = "tower", feature = "http"))]
#[tokio::test(start_paused = true)]
async fn a_layer_sends_again_what_it_is_told_may_be_sent_again() {
    use cortex_resilience::http::HttpRequests;
    use tower::{Layer, Service, ServiceExt, service_fn};

    let shop = standard(&Log::default());
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = asked.clone();
    let upstream = service_fn(move |_: http::Request<()>| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        ready(Err::<http::Response<()>, _>("no"))
    });
    let mut service = shop.layer_for(HttpRequests::new()).layer(upstream);
    let mut send = async |request: http::Request<()>| {
        let answer = service.ready().await.expect("it is").call(request).await;
        (
            answer.unwrap_err(),
            asked.swap(0, std::sync::atomic::Ordering::Relaxed),
        )
    };
    let (error, times) = send(http::Request::post("/orders").body(()).unwrap()).await;
    assert_eq!((error, times), (Error::Inner("no"), 1));
    let (error, times) = send(http::Request::get("/orders").body(()).unwrap()).await;
    assert!(
        matches!(
            error,
            Error::GaveUp {
                attempts: 3,
                error: "no",
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(times, 3);
}
