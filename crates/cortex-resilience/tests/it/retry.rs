//! Retries, in time that does not pass by itself.

use crate::support::{Log, TokioClock, millis, secs};
use cortex_core::{Clock, Context, Deadline, FutureExt};
use cortex_resilience::budget::{Budget, Cost, Costs};
use cortex_resilience::circuit::{self, Breaker};
use cortex_resilience::retry::{Backoff, Builder, Error, GaveUp, Jitter, Retry, ThreadSleeper};
use cortex_resilience::timeout::{Error as TimeoutError, Timeout};
use cortex_resilience::{Attempt, Classify, ErrIsFailure, Event, Outcome, Pushback, Reason};
use cortex_testkit::ManualClock;
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;
use tokio::time::timeout;

/// An error that says all that a classifier may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    Again,
    Never,
    Busy,
    Slow,
    After(Duration),
    Stop,
}

#[derive(Clone, Copy, Debug)]
struct ByKind;

impl Classify<u32, Failed> for ByKind {
    fn outcome(&self, result: Result<&u32, &Failed>) -> Outcome {
        match result {
            Ok(503) | Err(Failed::Again | Failed::Busy | Failed::Slow | Failed::After(_) | Failed::Stop) => {
                Outcome::Failure
            }
            Ok(404) => Outcome::Ignore,
            Ok(_) => Outcome::Success,
            Err(Failed::Never) => Outcome::Failure,
        }
    }

    fn is_retryable(&self, result: Result<&u32, &Failed>) -> bool {
        self.outcome(result) == Outcome::Failure && result != Err(&Failed::Never)
    }

    fn is_throttling(&self, result: Result<&u32, &Failed>) -> bool {
        result == Err(&Failed::Busy)
    }

    fn is_timeout(&self, result: Result<&u32, &Failed>) -> bool {
        result == Err(&Failed::Slow)
    }

    fn pushback(&self, result: Result<&u32, &Failed>) -> Option<Pushback> {
        match result {
            Err(Failed::After(wait)) => Some(Pushback::After(*wait)),
            Err(Failed::Stop) => Some(Pushback::Stop),
            _ => None,
        }
    }
}

type Tested = Retry<ByKind, Log, TokioClock>;
type Setup = Builder<ByKind, Log, TokioClock>;

/// Waits 1 s, 2 s, 3 s, and may do so ten times.
fn tested(set: impl FnOnce(Setup) -> Setup) -> (Tested, Log) {
    let log = Log::new();
    let builder = Retry::builder("test")
        .max_attempts(10)
        .backoff(Backoff::linear(secs(1)))
        .classify(ByKind)
        .observe(log.clone())
        .clock(TokioClock);
    (set(builder).build().expect("the settings make sense"), log)
}

/// Answers in turn, with the last for ever, and keeps when it was asked.
struct Script {
    answers: Vec<Result<u32, Failed>>,
    asked: RefCell<Vec<Duration>>,
    start: tokio::time::Instant,
}

impl Script {
    fn new(answers: &[Result<u32, Failed>]) -> Self {
        Self {
            answers: answers.to_vec(),
            asked: RefCell::default(),
            start: tokio::time::Instant::now(),
        }
    }

    fn answer(&self, attempt: Attempt) -> Result<u32, Failed> {
        let mut asked = self.asked.borrow_mut();
        asked.push(self.start.elapsed());
        assert_eq!(usize::try_from(attempt.number()), Ok(asked.len()));
        let index = asked.len().min(self.answers.len()) - 1;
        self.answers[index]
    }

    async fn run(&self, retry: &Tested) -> Result<u32, Error<Failed>> {
        retry.call(|attempt| ready(self.answer(attempt))).await
    }

    fn asked(&self) -> Vec<u64> {
        let asked = self.asked.borrow();
        asked
            .iter()
            .map(|time| u64::try_from(time.as_millis()).expect("small"))
            .collect()
    }
}

fn gave_up(result: Result<u32, Error<Failed>>) -> (GaveUp, u32, Failed) {
    let error = result.expect_err("it gives up");
    let (reason, attempts) = (error.gave_up().expect("it made attempts"), error.attempts());
    (
        reason,
        attempts,
        error.into_inner().expect("there is a last error"),
    )
}

#[tokio::test(start_paused = true)]
async fn a_first_success_is_the_end() {
    let (retry, log) = tested(|builder| builder);
    let script = Script::new(&[Ok(1)]);
    assert_eq!(script.run(&retry).await, Ok(1));
    assert_eq!((script.asked(), log.all()), (vec![0], vec![]));
}

#[tokio::test(start_paused = true)]
async fn it_waits_as_the_backoff_says_and_tells_of_it() {
    let (retry, log) = tested(|builder| builder);
    let script = Script::new(&[Err(Failed::Again), Err(Failed::Again), Ok(7)]);
    assert_eq!(script.run(&retry).await, Ok(7));
    assert_eq!(script.asked(), [0, 1000, 3000]);
    let events = log.all();
    assert!(matches!(events[..], [
        Event::RetryScheduled { retry: 1, delay: first, .. },
        Event::RetryScheduled { retry: 2, delay: second, .. },
    ] if (first, second) == (secs(1), secs(2))));
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_is_one_of_them_and_the_last_error_is_returned() {
    for max in [1, 2, 4] {
        let (retry, log) = tested(|builder| builder.max_attempts(max).backoff(Backoff::constant(secs(1))));
        let script = Script::new(&[Err(Failed::Busy), Err(Failed::Busy), Err(Failed::Again)]);
        let last = if max > 2 { Failed::Again } else { Failed::Busy };
        assert_eq!(gave_up(script.run(&retry).await), (GaveUp::Attempts, max, last));
        assert_eq!(script.asked().len(), usize::try_from(max).unwrap());
        assert!(
            matches!(log.all().last(), Some(Event::GaveUp { reason: GaveUp::Attempts, attempts, .. }) if *attempts == max)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_retryable_is_the_end() {
    let (retry, log) = tested(|builder| builder);
    let script = Script::new(&[Err(Failed::Again), Err(Failed::Never)]);
    assert_eq!(
        gave_up(script.run(&retry).await),
        (GaveUp::NotRetryable, 2, Failed::Never)
    );
    assert!(matches!(
        log.all()[..],
        [Event::RetryScheduled { .. }, Event::GaveUp { attempts: 2, .. }]
    ));
    assert_eq!(Script::new(&[Ok(404)]).run(&retry).await, Ok(404));
    assert_eq!(log.all(), []); // it is no failure
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_a_failure_is_retried_and_stays_an_answer() {
    let (retry, log) = tested(|builder| builder.max_attempts(2));
    let script = Script::new(&[Ok(503)]);
    assert_eq!(script.run(&retry).await, Ok(503));
    assert_eq!(script.asked(), [0, 1000]);
    assert!(matches!(log.all()[..], [_, Event::GaveUp { .. }]));
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_the_dependency_is_exact_and_the_backoff_begins_anew() {
    let (retry, _) = tested(|builder| builder);
    let script = Script::new(&[
        Err(Failed::Again),
        Err(Failed::Again),
        Err(Failed::After(millis(100))),
        Err(Failed::Again),
        Err(Failed::After(Duration::ZERO)),
        Ok(1),
    ]);
    assert_eq!(script.run(&retry).await, Ok(1));
    assert_eq!(script.asked(), [0, 1000, 3000, 3100, 4100, 4100]);
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_the_dependency_is_never_shortened() {
    let (retry, _) = tested(|builder| builder.max_retry_after(secs(30)));
    let script = Script::new(&[Err(Failed::After(secs(30))), Err(Failed::After(millis(30_001)))]);
    assert_eq!(
        gave_up(script.run(&retry).await),
        (GaveUp::Pushback, 2, Failed::After(millis(30_001)))
    );
    assert_eq!(script.asked(), [0, 30_000]);
    let script = Script::new(&[Err(Failed::Stop)]);
    assert_eq!(gave_up(script.run(&retry).await).0, GaveUp::Pushback);
    // However it is asked for, there are no more attempts than may be.
    let (retry, _) = tested(|builder| builder.max_attempts(2));
    let script = Script::new(&[Err(Failed::After(secs(1)))]);
    assert_eq!(gave_up(script.run(&retry).await).0, GaveUp::Attempts);
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_the_dependency_may_be_clamped() {
    let (retry, _) = tested(|builder| builder.clamp_retry_after(secs(5)));
    let script = Script::new(&[
        Err(Failed::After(millis(10))), // computed: 1 s
        Err(Failed::After(secs(4))),    // 2 s to 7 s
        Err(Failed::After(secs(99))),   // 3 s to 8 s
        Ok(1),
    ]);
    assert_eq!(script.run(&retry).await, Ok(1));
    assert_eq!(script.asked(), [0, 1000, 5000, 13_000]);
}

#[tokio::test(start_paused = true)]
async fn throttling_has_a_backoff_of_its_own() {
    let (retry, _) = tested(|builder| builder.throttling_backoff(Backoff::constant(secs(20))));
    let script = Script::new(&[Err(Failed::Busy), Err(Failed::Again), Ok(1)]);
    assert_eq!(script.run(&retry).await, Ok(1));
    assert_eq!(script.asked(), [0, 20_000, 22_000]);
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_at_once_if_the_deadline_comes_first() {
    let (retry, log) = tested(|builder| builder.within(secs(3)));
    let script = Script::new(&[Err(Failed::Again)]);
    // The second retry would begin exactly at the deadline.
    assert_eq!(
        gave_up(script.run(&retry).await),
        (GaveUp::Deadline, 2, Failed::Again)
    );
    assert_eq!((script.asked(), script.start.elapsed()), (vec![0, 1000], secs(1)));
    assert!(matches!(
        log.all()[..],
        [
            Event::RetryScheduled { .. },
            Event::GaveUp {
                reason: GaveUp::Deadline,
                ..
            }
        ]
    ));
    let (retry, _) = tested(|builder| builder.within(millis(3001)));
    let script = Script::new(&[Err(Failed::Again)]);
    assert_eq!(gave_up(script.run(&retry).await).1, 3);
    let (retry, _) = tested(|builder| builder.within(secs(3)));
    let script = Script::new(&[Err(Failed::After(secs(3)))]);
    assert_eq!(
        gave_up(script.run(&retry).await),
        (GaveUp::Deadline, 1, Failed::After(secs(3)))
    );
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_the_callers_deadline_and_its_own_counts() {
    for (own, callers) in [(secs(2), secs(9)), (secs(9), secs(2))] {
        let (retry, _) = tested(|builder| builder.within(own));
        let deadline = Deadline::after(TokioClock.now(), callers);
        let script = &Script::new(&[Err(Failed::Again)]);
        let call = retry.call(|attempt| {
            let seen = Context::current().deadline();
            assert_eq!(
                (attempt.deadline(), seen),
                (seen, Some(Deadline::after(script.start.into_std(), secs(2))))
            );
            async move {
                tokio::task::yield_now().await;
                assert_eq!(Context::current().deadline(), seen); // at every poll
                script.answer(attempt)
            }
        });
        let context = Context::new().with_deadline(deadline);
        assert_eq!(gave_up(call.with_context(context).await).0, GaveUp::Deadline);
        assert_eq!(script.asked(), [0, 1000]);
        assert_eq!(Context::current(), Context::new());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_once_the_deadline_has_passed() {
    let (retry, log) = tested(|builder| builder);
    let past = Context::new().with_deadline(Deadline::at(TokioClock.now()));
    let script = Script::new(&[Ok(1)]);
    let error = script.run(&retry).with_context(past).await.unwrap_err();
    assert_eq!(
        error.rejected().map(|rejected| rejected.reason()),
        Some(Reason::Deadline)
    );
    assert!(script.asked().is_empty() && matches!(log.all()[..], [Event::Rejected(_)]));
    // An attempt that takes longer is not cut, but it was the last.
    let (retry, _) = tested(|builder| builder.within(secs(2)).backoff(Backoff::constant(Duration::ZERO)));
    let result = retry.call(|_| async {
        tokio::time::sleep(secs(2)).await;
        Err(Failed::Again)
    });
    assert_eq!(gave_up(result.await), (GaveUp::Deadline, 1, Failed::Again));
}

#[tokio::test(start_paused = true)]
async fn a_budget_with_nothing_left_ends_it_before_the_wait() {
    let budget = Budget::throttle(4, 1.0).unwrap();
    let (retry, log) = tested(|builder| builder.budget(budget.clone()));
    let script = Script::new(&[Err(Failed::Again)]);
    assert_eq!(
        gave_up(script.run(&retry).await),
        (GaveUp::Budget, 2, Failed::Again)
    );
    assert_eq!((script.start.elapsed(), log.all().len()), (secs(1), 2)); // 3 of 4 tokens, then 2
    // The first attempt is never refused, and what no other attempt would change takes no token.
    assert_eq!(gave_up(Script::new(&[Err(Failed::Never)]).run(&retry).await).1, 1);
    assert!((budget.level() - 2.0).abs() < 1e-9);
    assert_eq!(Script::new(&[Ok(1)]).run(&retry).await, Ok(1));
    assert!(budget.allows());
    // That there should be no more attempts does.
    assert_eq!(
        gave_up(Script::new(&[Err(Failed::Stop)]).run(&retry).await).0,
        GaveUp::Pushback
    );
    assert!((budget.level() - 2.0).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_gets_back_what_a_success_took() {
    let costs = Costs {
        retry: 5,
        throttling: 2,
        timeout: 7,
    };
    let budget = Budget::bucket(20, costs).unwrap();
    let (retry, _) = tested(|builder| builder.budget(budget.clone()));
    let script = Script::new(&[Err(Failed::Again), Err(Failed::Busy), Err(Failed::Slow), Ok(1)]);
    assert_eq!(script.run(&retry).await, Ok(1));
    assert!((budget.level() - 13.0).abs() < 1e-9); // all but the last, which it got back
    assert_eq!(Script::new(&[Ok(1)]).run(&retry).await, Ok(1));
    assert!((budget.level() - 14.0).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_it_waits_gives_its_withdrawal_back() {
    let (bucket, in_flight) = (Budget::aws(), Budget::in_flight(0.0, 1).unwrap());
    for budget in [&bucket, &in_flight] {
        let full = budget.level();
        let (retry, _) = tested(|builder| builder.budget(budget.clone()));
        let mut polls = 0;
        {
            let mut call = pin!(retry.call(|_| ready(Err(Failed::Again))));
            poll_fn(|cx| {
                polls += 1;
                assert!(call.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        assert!((budget.level() - full).abs() < 1e-9);
        // And one whose second attempt runs does not, but what runs is free.
        let mut call = Box::pin(retry.call(|attempt| async move {
            if attempt.is_retry() {
                pending::<()>().await;
            }
            Err(Failed::Again)
        }));
        timeout(secs(2), &mut call).await.unwrap_err();
        assert!(budget.level() > 0.0);
        drop(call);
    }
    assert!((bucket.level() - 486.0).abs() < 1e-9 && in_flight.level().abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_counted_while_it_runs_and_not_while_it_waits() {
    let budget = Budget::in_flight(0.0, 1).unwrap();
    let (retry, _) = tested(|builder| builder.budget(budget.clone()));
    let mut call = Box::pin(retry.call(|_| ready(Err(Failed::Again))));
    timeout(millis(500), &mut call).await.unwrap_err();
    assert!(budget.allows());
    let other = budget.try_withdraw(Cost::Retry).unwrap().start().unwrap();
    // The place was free when it began to wait, and is taken now.
    assert_eq!(gave_up(call.await), (GaveUp::Budget, 1, Failed::Again));
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_the_end_or_is_waited_out() {
    let breaker = Breaker::builder("payments")
        .min_calls(1)
        .break_for(secs(7))
        .clock(TokioClock)
        .build()
        .unwrap();
    let setup = || {
        Retry::builder("test")
            .backoff(Backoff::constant(secs(1)))
            .clock(TokioClock)
            .through()
    };
    let retry = setup().build().unwrap();
    let start = tokio::time::Instant::now();
    let call = || retry.call(|_| breaker.call(ready(Err::<(), _>("no route"))));
    let error = call().await.unwrap_err();
    assert_eq!(
        (error.gave_up(), error.attempts()),
        (Some(GaveUp::CircuitOpen), 2)
    );
    // The second attempt was refused: the last error of the call is that of the first.
    assert_eq!(error.into_inner(), Some(circuit::Error::Inner("no route")));
    assert_eq!(start.elapsed(), secs(1));
    // It has been open for a second: six are left.
    let patient = setup().wait_out_rejections().build().unwrap();
    let result = patient.call(|_| breaker.call(ready(Ok::<_, &str>(5)))).await;
    assert_eq!((result, start.elapsed()), (Ok(5), secs(7)));
    // Longer than it waits, or without an end.
    breaker.open_for(secs(61)).unwrap();
    let error = patient
        .call(|_| breaker.call(ready(Ok::<_, &str>(5))))
        .await
        .unwrap_err();
    assert_eq!(
        (error.gave_up(), error.attempts()),
        (Some(GaveUp::CircuitOpen), 1)
    );
    breaker.force_open();
    let error = patient
        .call(|_| breaker.call(ready(Ok::<_, &str>(5))))
        .await
        .unwrap_err();
    assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::Attempts), 3));
    assert_eq!(start.elapsed(), secs(9));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_the_deadline_cuts_short_is_told_as_that() {
    let attempt = Timeout::builder("test")
        .attempt(secs(9))
        .clock(TokioClock)
        .build()
        .unwrap();
    let log = Log::new();
    let retry = Retry::builder("test")
        .backoff(Backoff::constant(secs(1)))
        .observe(log.clone())
        .clock(TokioClock)
        .through()
        .build()
        .unwrap();
    let call = |first: Result<(), &'static str>| {
        let attempt = &attempt;
        retry.call(move |cx| {
            attempt.call(async move {
                if cx.is_retry() || first.is_ok() {
                    tokio::time::sleep(secs(7)).await;
                }
                first
            })
        })
    };
    let context = || Context::new().with_deadline(Deadline::after(TokioClock.now(), secs(3)));
    let error = call(Err("no route")).with_context(context()).await.unwrap_err();
    assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::Deadline), 2));
    assert_eq!(error.into_inner(), Some(TimeoutError::Inner("no route")));
    let told = || match log.all().last() {
        Some(Event::GaveUp { reason, attempts, .. }) => Some((*reason, *attempts)),
        _ => None,
    };
    assert_eq!(told(), Some((GaveUp::Deadline, 2)));
    let error = call(Ok(())).with_context(context()).await.unwrap_err();
    assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::Deadline), 1));
    assert!(matches!(error.into_inner(), Some(TimeoutError::TimedOut(_))));
    assert_eq!(told(), Some((GaveUp::Deadline, 1)));
}

#[test]
fn code_that_blocks_ends_with_its_own_error_too() {
    let breaker = Breaker::builder("payments").min_calls(1).build().unwrap();
    let retry = Retry::builder("test").through().build().unwrap();
    let call = |_| {
        let permit = breaker.try_acquire().map_err(circuit::Error::Rejected)?;
        permit.failure();
        Err::<(), _>(circuit::Error::Inner("no route"))
    };
    let error = retry.call_blocking(call, &|_: Duration| ()).unwrap_err();
    assert_eq!(error.gave_up(), Some(GaveUp::CircuitOpen));
    assert_eq!(error.into_inner(), Some(circuit::Error::Inner("no route")));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_leaves_nothing_behind() {
    let budget = Budget::in_flight(0.0, 1).unwrap();
    let (retry, _) = tested(|builder| builder.budget(budget.clone()));
    for in_future in [false, true] {
        let call = retry.call(|attempt| {
            assert!(in_future || !attempt.is_retry(), "in the function");
            async move {
                assert!(!attempt.is_retry(), "in the future");
                Err(Failed::Again)
            }
        });
        let mut call = Box::pin(call);
        timeout(millis(500), &mut call).await.unwrap_err();
        tokio::time::advance(secs(1)).await;
        let mut task = Task::from_waker(Waker::noop());
        let caught = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut task)));
        assert!(caught.is_err());
        drop(call);
        assert!(budget.level().abs() < 1e-9);
        assert_eq!(Context::current(), Context::new());
    }
}

#[test]
fn a_call_that_is_polled_after_its_end_panics() {
    let retry = Retry::builder("test").build().unwrap();
    let mut call = Box::pin(retry.call(|_| ready(Ok::<_, ()>(1))));
    let mut task = Task::from_waker(Waker::noop());
    assert_eq!(call.as_mut().poll(&mut task), Poll::Ready(Ok(1))); // without a runtime
    assert!(format!("{call:?}").contains("done"));
    let caught = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut task)));
    let text = caught.unwrap_err();
    assert!(text.downcast_ref::<&str>().unwrap().contains("polled after"));
}

#[test]
fn attempts_without_a_delay_let_others_have_their_turn() {
    let retry = Retry::builder("test")
        .max_attempts(100)
        .backoff(Backoff::constant(Duration::ZERO))
        .build()
        .unwrap();
    let attempts = Cell::new(0);
    let mut call = Box::pin(retry.call(|attempt| {
        attempts.set(attempt.number());
        ready(Err::<(), _>(()))
    }));
    let mut task = Task::from_waker(Waker::noop());
    for seen in [32, 64, 96] {
        assert!(call.as_mut().poll(&mut task).is_pending());
        assert_eq!(attempts.get(), seen);
    }
    assert!(call.as_mut().poll(&mut task).is_ready());
}

#[tokio::test(start_paused = true)]
async fn new_settings_count_for_calls_that_have_not_failed_yet() {
    let (retry, _) = tested(|builder| builder);
    let mut call = Box::pin(retry.call(|attempt| {
        ready(if attempt.number() < 4 {
            Err(Failed::Again)
        } else {
            Ok(1)
        })
    }));
    timeout(millis(1), &mut call).await.unwrap_err();
    let fewer = Retry::builder("other").max_attempts(2).within(secs(60));
    retry.reload(&fewer).unwrap();
    assert_eq!(
        retry
            .reload(&Retry::builder("other").max_attempts(0))
            .unwrap_err()
            .field(),
        "max_attempts"
    );
    assert_eq!(call.await, Ok(1));
    let script = Script::new(&[Err(Failed::Again)]);
    assert_eq!(gave_up(script.run(&retry).await).1, 2);
    assert!(format!("{retry:?}").contains("max_attempts: 2") && retry.name() == "test");
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let builder = || Retry::builder("test");
    let wrong_factor = || Backoff::exponential(secs(1)).factor(f64::INFINITY);
    for (builder, field) in [
        (builder().max_attempts(0), "max_attempts"),
        (builder().within(Duration::ZERO), "within"),
        (builder().backoff(wrong_factor()), "backoff"),
        (builder().throttling_backoff(wrong_factor()), "throttling_backoff"),
    ] {
        assert_eq!(builder.build().unwrap_err().field(), field);
    }
}

/// Runs a policy that always fails, and returns how long it slept.
fn slept(retry: &Retry) -> Vec<Duration> {
    let slept = RefCell::new(Vec::new());
    let result = retry.call_blocking(|_| Err::<(), _>(()), &|delay: Duration| {
        slept.borrow_mut().push(delay);
    });
    let error = result.expect_err("it always fails");
    assert_eq!(error.gave_up(), Some(GaveUp::Attempts));
    slept.into_inner()
}

#[test]
fn a_seed_makes_the_jitter_the_same() {
    let delays = |seed| {
        let backoff = Backoff::constant(secs(1)).jitter(Jitter::Full);
        let builder = Retry::builder("test").max_attempts(5).backoff(backoff);
        slept(&builder.seed(seed).build().unwrap())
    };
    assert_eq!(delays(1), delays(1));
    assert_ne!(delays(1), delays(2));
}

#[test]
fn the_policy_of_grpc_stays_within_a_fifth_of_what_it_computes() {
    let builder = Retry::grpc("test", millis(100), millis(300), 2.0);
    let mut above_max = false;
    for seed in 0..200 {
        let delays = slept(&builder_again(&builder).seed(seed).build().unwrap());
        assert_eq!(delays.len(), 4);
        for (delay, plain) in delays.iter().zip([100, 200, 300, 300]) {
            let (least, most) = (millis(plain).mul_f64(0.8), millis(plain).mul_f64(1.2));
            assert!((least..=most).contains(delay), "{delay:?} is not near {plain} ms");
        }
        above_max |= delays[3] > millis(300);
    }
    assert!(above_max); // the jitter comes after the cap
}

fn builder_again(_: &Builder) -> Builder {
    Retry::grpc("test", millis(100), millis(300), 2.0)
}

#[test]
fn the_policy_of_aws_has_its_delays_and_its_bucket() {
    let (mut most, retry) = ([Duration::ZERO; 2], Retry::aws("test").seed(3).build().unwrap());
    for _ in 0..17 {
        for (most, delay) in most.iter_mut().zip(slept(&retry)) {
            *most = delay.max(*most);
        }
    }
    assert!(most[0] <= millis(50) && most[0] > millis(40), "{most:?}");
    assert!(most[1] <= millis(100) && most[1] > millis(80), "{most:?}");
    let error = retry
        .call_blocking(|_| Err::<(), _>(()), &|_: Duration| ())
        .unwrap_err();
    assert_eq!(error.attempts(), 2); // 500 = 2 * 17 * 14 + 24
    let busy = Retry::aws("test").seed(5).classify(ByKind).build().unwrap();
    let slept = Cell::new(Duration::ZERO);
    let operation = |attempt: Attempt| {
        if attempt.is_retry() {
            Ok(1)
        } else {
            Err(Failed::Busy)
        }
    };
    busy.call_blocking(operation, &|delay: Duration| slept.set(delay))
        .unwrap();
    assert!(slept.get() > millis(50) && slept.get() <= secs(1));
    let operation = |attempt: Attempt| {
        if attempt.is_retry() {
            Ok(1)
        } else {
            Err(Failed::After(secs(60)))
        }
    };
    busy.call_blocking(operation, &|delay: Duration| slept.set(delay))
        .unwrap();
    assert!((secs(5)..=millis(5050)).contains(&slept.get()));
}

#[test]
fn code_that_blocks_has_the_same_rules() {
    let clock = ManualClock::new();
    let retry = Retry::builder("test")
        .max_attempts(10)
        .backoff(Backoff::constant(secs(1)))
        .within(millis(2500))
        .clock(clock.clone())
        .build()
        .unwrap();
    let sleeper = |delay| clock.advance(delay);
    let start = clock.now();
    let result = retry.call_blocking(
        |attempt| {
            assert_eq!(Context::current().deadline(), attempt.deadline());
            Err::<(), _>(attempt.number())
        },
        &sleeper,
    );
    let error = result.unwrap_err();
    assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::Deadline), 3));
    assert_eq!(clock.now() - start, secs(2)); // it did not wait for the fourth
    // A sleeper that sleeps for too long.
    let result = retry.call_blocking(|_| Err::<(), _>(()), &|_: Duration| clock.advance(secs(9)));
    assert_eq!(result.unwrap_err().attempts(), 1);
    let _guard = Context::new().with_deadline(Deadline::at(clock.now())).attach();
    let result = retry.call_blocking(|_| Ok::<_, ()>(1), &sleeper);
    assert_eq!(result.unwrap_err().rejected().unwrap().reason(), Reason::Deadline);
}

/// There is nothing in a call that its parts don't bring: no `Send`, no `'static`, no `Debug`.
#[tokio::test(start_paused = true)]
async fn a_call_borrows_what_it_likes() {
    struct Plain<'a>(#[expect(dead_code, reason = "it is borrowed")] &'a Cell<u32>);
    fn is_send<T: Send>(_: &T) {}
    let count = Cell::new(0);
    let retry: Retry<ErrIsFailure, ()> = Retry::builder("test")
        .backoff(Backoff::constant(Duration::ZERO))
        .build()
        .unwrap();
    let result = retry.call(|_| async {
        count.set(count.get() + 1);
        if count.get() < 3 {
            Err(())
        } else {
            Ok(Plain(&count))
        }
    });
    assert!(result.await.is_ok() && count.get() == 3);
    is_send(&retry.call(|_| ready(Ok::<_, ()>(1))));
}

#[tokio::test(start_paused = true)]
async fn a_call_says_where_it_is() {
    let builder = Retry::builder("test").max_attempts(2);
    assert!(format!("{builder:?}").contains("max_attempts: 2"));
    let retry = builder.build().unwrap();
    let mut call = Box::pin(retry.call(|attempt| async move {
        if attempt.is_retry() {
            pending::<()>().await;
        }
        Err::<(), _>(())
    }));
    let mut seen = vec![format!("{call:?}")];
    for _ in 0..2 {
        timeout(secs(1), &mut call).await.unwrap_err();
        seen.push(format!("{call:?}"));
    }
    assert!(
        seen[0].contains("idle") && seen[2].contains("running"),
        "{seen:?}"
    );
    assert!(retry.budget().is_none());
}

#[test]
fn a_thread_may_be_what_waits() {
    let backoff = Backoff::constant(Duration::from_nanos(1));
    let retry = Retry::builder("test").backoff(backoff).build().unwrap();
    let result = retry.call_blocking(
        |attempt| if attempt.is_retry() { Ok(1) } else { Err(()) },
        &ThreadSleeper,
    );
    assert_eq!(result, Ok(1));
}
