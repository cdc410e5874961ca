//! Hedges, in time that does not pass by itself.

use crate::support::{Log, TokioClock, millis, secs};
use cortex_core::{Clock, Context, Deadline, FutureExt};
use cortex_resilience::budget::{Budget, Cost};
use cortex_resilience::circuit::Breaker;
use cortex_resilience::hedge::{Builder, Error, Hedge};
use cortex_resilience::{Attempt, Classify, Event, Outcome, Pushback, Reason};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    Again(u32),
    Never,
    After(Duration),
    Stop,
}

#[derive(Clone, Copy, Debug)]
struct ByKind;

impl Classify<u32, Failed> for ByKind {
    fn outcome(&self, result: Result<&u32, &Failed>) -> Outcome {
        match result {
            Ok(503) | Err(_) => Outcome::Failure,
            Ok(404) => Outcome::Ignore,
            Ok(_) => Outcome::Success,
        }
    }

    fn is_retryable(&self, result: Result<&u32, &Failed>) -> bool {
        self.outcome(result) == Outcome::Failure && result != Err(&Failed::Never)
    }

    fn pushback(&self, result: Result<&u32, &Failed>) -> Option<Pushback> {
        match result {
            Err(Failed::After(wait)) => Some(Pushback::After(*wait)),
            Err(Failed::Stop) => Some(Pushback::Stop),
            _ => None,
        }
    }
}

type Tested = Hedge<ByKind, Log, TokioClock>;
type Setup = Builder<ByKind, Log, TokioClock>;

/// Sends at 0, 1, 2 and 3 s.
fn tested(set: impl FnOnce(Setup) -> Setup) -> (Tested, Log) {
    let log = Log::new();
    let builder = Hedge::builder("test")
        .max_attempts(4)
        .delay(secs(1))
        .classify(ByKind)
        .observe(log.clone())
        .clock(TokioClock);
    (set(builder).build().expect("the settings make sense"), log)
}

/// Attempt by attempt, how long it takes and what it ends in; the last is for all that follow.
struct Script {
    attempts: Vec<(Duration, Result<u32, Failed>)>,
    start: Instant,
    sent: RefCell<Vec<u64>>,
    running: Cell<u32>,
}

struct Runs<'a>(&'a Cell<u32>);

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Script {
    fn new(attempts: &[(Duration, Result<u32, Failed>)]) -> Self {
        Self {
            attempts: attempts.to_vec(),
            start: Instant::now(),
            sent: RefCell::default(),
            running: Cell::new(0),
        }
    }

    async fn attempt(&self, attempt: Attempt) -> Result<u32, Failed> {
        let index = {
            let mut sent = self.sent.borrow_mut();
            sent.push(u64::try_from(self.start.elapsed().as_millis()).expect("small"));
            assert_eq!(usize::try_from(attempt.number()), Ok(sent.len()));
            sent.len().min(self.attempts.len()) - 1
        };
        self.running.set(self.running.get() + 1);
        let _runs = Runs(&self.running);
        let (time, result) = self.attempts[index];
        sleep(time).await;
        result
    }

    async fn run(&self, hedge: &Tested) -> Result<u32, Error<Failed>> {
        let result = hedge.call(|attempt| self.attempt(attempt)).await;
        assert_eq!(self.running.get(), 0, "losers are dropped with the answer");
        result
    }

    fn sent(&self) -> Vec<u64> {
        self.sent.borrow().clone()
    }
}

const NEVER: Duration = Duration::from_hours(24);

#[tokio::test(start_paused = true)]
async fn who_answers_in_time_is_alone() {
    let (hedge, log) = tested(|builder| builder);
    let script = Script::new(&[(millis(999), Ok(1))]);
    assert_eq!(script.run(&hedge).await, Ok(1));
    assert_eq!((script.sent(), log.all()), (vec![0], vec![]));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_sent_every_delay_and_the_first_success_wins() {
    let (hedge, log) = tested(|builder| builder);
    let script = Script::new(&[
        (NEVER, Ok(1)),
        (millis(2500), Ok(2)),
        (NEVER, Ok(3)),
        (NEVER, Ok(4)),
    ]);
    assert_eq!(script.run(&hedge).await, Ok(2));
    assert_eq!(script.sent(), [0, 1000, 2000, 3000]);
    assert_eq!(script.start.elapsed(), millis(3500));
    assert!(matches!(
        log.all()[..],
        [
            Event::HedgeSent { attempt: 2, .. },
            Event::HedgeSent { attempt: 3, .. },
            Event::HedgeSent { attempt: 4, .. },
            Event::HedgeCancelled { attempts: 3, .. },
            Event::HedgeWon { attempt: 2, .. },
        ]
    ));
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_all_are_sent_at_once() {
    let (hedge, _) = tested(|builder| builder.delay(Duration::ZERO));
    let script = Script::new(&[
        (secs(3), Ok(1)),
        (secs(2), Ok(2)),
        (secs(1), Ok(3)),
        (secs(4), Ok(4)),
    ]);
    assert_eq!(script.run(&hedge).await, Ok(3));
    assert_eq!((script.sent(), script.start.elapsed()), (vec![0; 4], secs(1)));
}

#[tokio::test(start_paused = true)]
async fn delays_may_be_computed() {
    let (hedge, _) = tested(|builder| builder.delay_with(|attempt| secs(u64::from(attempt))));
    let script = Script::new(&[(secs(20), Ok(1))]);
    assert_eq!(script.run(&hedge).await, Ok(1));
    assert_eq!(script.sent(), [0, 2000, 5000, 9000]);
    let (hedge, _) = tested(|builder| builder.delay(Duration::MAX));
    let script = Script::new(&[(NEVER, Ok(1))]);
    assert_eq!((script.run(&hedge).await, script.sent()), (Ok(1), vec![0]));
}

#[tokio::test(start_paused = true)]
async fn a_failure_brings_the_next_forward_and_those_that_follow_with_it() {
    let (hedge, _) = tested(|builder| builder);
    let script = Script::new(&[
        (millis(300), Err(Failed::Again(1))),
        (NEVER, Ok(2)),
        (NEVER, Ok(3)),
        (secs(1), Ok(4)),
    ]);
    assert_eq!(script.run(&hedge).await, Ok(4));
    assert_eq!(script.sent(), [0, 300, 1300, 2300]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_others_would_repeat_ends_it() {
    for (result, answer) in [
        (Err(Failed::Never), Err(Error::Inner(Failed::Never))),
        (Ok(404), Ok(404)),
    ] {
        let (hedge, log) = tested(|builder| builder);
        let script = Script::new(&[(NEVER, Ok(1)), (millis(100), result)]);
        assert_eq!(script.run(&hedge).await, answer);
        assert_eq!(
            (script.sent(), script.start.elapsed()),
            (vec![0, 1000], millis(1100))
        );
        assert!(matches!(
            log.all()[..],
            [Event::HedgeSent { .. }, Event::HedgeCancelled { attempts: 1, .. }]
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_always_busy_is_hedged() {
    let (hedge, _) = tested(|builder| builder.delay(millis(50)));
    let mut polls = 0;
    let call = tokio::spawn(async move {
        let attempt = |attempt: Attempt| {
            poll_fn(move |cx| {
                if attempt.number() > 1 {
                    return Poll::Ready(Ok(attempt.number()));
                }
                polls += 1;
                assert!(polls < 1000, "nobody heard the timer");
                while tokio::task::coop::has_budget_remaining() {
                    let _ = pin!(tokio::task::coop::consume_budget()).poll(cx);
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
        };
        hedge.call(attempt).await
    });
    tokio::task::yield_now().await;
    tokio::time::advance(millis(51)).await;
    assert_eq!(call.await.unwrap(), Ok(2));
}

#[tokio::test(start_paused = true)]
async fn if_all_fail_the_last_result_is_the_answer() {
    let (hedge, log) = tested(|builder| builder);
    let fails = |number| Err(Failed::Again(number));
    let script = Script::new(&[
        (secs(9), fails(1)),
        (Duration::ZERO, fails(2)),
        (Duration::ZERO, fails(3)),
        (millis(10), fails(4)),
    ]);
    assert_eq!(script.run(&hedge).await, Err(Error::Inner(Failed::Again(1))));
    assert_eq!(script.start.elapsed(), secs(9));
    assert_eq!(log.all().len(), 3);
    let script = Script::new(&[(Duration::ZERO, Ok(503))]);
    assert_eq!(script.run(&hedge).await, Ok(503));
    assert_eq!(script.sent().len(), 4);
    assert!(script.start.elapsed() < millis(10)); // timers of zero take a tick
}

#[tokio::test(start_paused = true)]
async fn a_dependency_may_put_the_next_attempt_off() {
    let (hedge, _) = tested(|builder| builder);
    let script = Script::new(&[
        (millis(500), Err(Failed::After(secs(5)))),
        (NEVER, Ok(2)),
        (NEVER, Ok(3)),
        (secs(2), Ok(4)),
    ]);
    assert_eq!(script.run(&hedge).await, Ok(4));
    assert_eq!(script.sent(), [0, 5500, 6500, 7500]);
    // Also one that is on its way, while others run.
    let script = Script::new(&[
        (NEVER, Ok(1)),
        (millis(500), Err(Failed::After(secs(5)))),
        (secs(1), Ok(3)),
    ]);
    assert_eq!(script.run(&hedge).await, Ok(3));
    assert_eq!(script.sent(), [0, 1000, 6500, 7500][..3]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_attempt_that_will_not_be_made() {
    let busy = |secs_more| [(Duration::ZERO, Err(Failed::After(secs(secs_more))))];
    let ends_at_once = async |hedge: &Tested, script: Script, context: Context| {
        let result = script.run(hedge).with_context(context).await;
        assert!(
            matches!(result, Err(Error::Inner(Failed::After(_)))),
            "{result:?}"
        );
        assert_eq!((script.sent(), script.start.elapsed()), (vec![0], Duration::ZERO));
    };
    // Beyond the deadline, or exactly there.
    let (hedge, _) = tested(|builder| builder);
    let context = Context::new().with_deadline(Deadline::after(TokioClock.now(), secs(1)));
    ends_at_once(&hedge, Script::new(&busy(60)), context).await;
    ends_at_once(&hedge, Script::new(&busy(1)), context).await;
    // For longer than it waits; by default a minute.
    ends_at_once(&hedge, Script::new(&busy(61)), Context::new()).await;
    let (hedge, _) = tested(|builder| builder.max_retry_after(secs(4)));
    ends_at_once(&hedge, Script::new(&busy(5)), Context::new()).await;
    // With nothing left to pay for it.
    let budget = Budget::throttle(2, 0.5).unwrap();
    let (hedge, _) = tested(|builder| builder.budget(budget.clone()));
    ends_at_once(&hedge, Script::new(&busy(5)), Context::new()).await;
    // A failure without a delay is followed at once, also where the next attempt was planned beyond the deadline.
    let (hedge, _) = tested(|builder| builder);
    let script = Script::new(&[(millis(100), Err(Failed::Again(1))), (millis(100), Ok(2))]);
    let context = Context::new().with_deadline(Deadline::after(TokioClock.now(), millis(500)));
    assert_eq!(script.run(&hedge).with_context(context).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_dependency_may_want_no_more_attempts() {
    let (hedge, _) = tested(|builder| builder);
    let script = Script::new(&[(secs(7), Ok(1)), (millis(500), Err(Failed::Stop))]);
    assert_eq!(script.run(&hedge).await, Ok(1)); // what runs goes on
    assert_eq!((script.sent(), script.start.elapsed()), (vec![0, 1000], secs(7)));
    let script = Script::new(&[(millis(500), Err(Failed::Stop))]);
    assert_eq!(script.run(&hedge).await, Err(Error::Inner(Failed::Stop)));
    assert_eq!(script.sent(), [0]);
    // A later failure does not change that.
    let script = Script::new(&[(secs(3), Err(Failed::Again(1))), (millis(500), Err(Failed::Stop))]);
    assert_eq!(script.run(&hedge).await, Err(Error::Inner(Failed::Again(1))));
    assert_eq!(script.sent(), [0, 1000]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_at_the_deadline_or_after_it() {
    let (hedge, log) = tested(|builder| builder);
    let context = |time| Context::new().with_deadline(Deadline::after(TokioClock.now(), time));
    let script = Script::new(&[(secs(7), Ok(1))]);
    assert_eq!(script.run(&hedge).with_context(context(secs(2))).await, Ok(1));
    assert_eq!(script.sent(), [0, 1000]);
    let script = Script::new(&[(secs(2), Err(Failed::Again(1)))]);
    let result = script.run(&hedge).with_context(context(millis(500))).await;
    assert_eq!(
        (result, script.sent()),
        (Err(Error::Inner(Failed::Again(1))), vec![0])
    );
    log.all();
    let script = Script::new(&[(secs(2), Ok(1))]);
    let result = script.run(&hedge).with_context(context(Duration::ZERO)).await;
    let rejected = result.unwrap_err().rejected().unwrap();
    assert_eq!((rejected.reason(), script.sent()), (Reason::Deadline, vec![]));
    assert!(matches!(log.all()[..], [Event::Rejected(_)]));
}

#[tokio::test(start_paused = true)]
async fn attempts_beyond_the_first_need_the_budget() {
    let budget = Budget::throttle(4, 0.5).unwrap();
    let (hedge, _) = tested(|builder| builder.budget(budget.clone()));
    let fails = (millis(100), Err(Failed::Again(1)));
    let script = Script::new(&[fails]);
    assert_eq!(script.run(&hedge).await, Err(Error::Inner(Failed::Again(1))));
    assert_eq!(script.sent(), [0, 100]); // two of four tokens are left
    let script = Script::new(&[(secs(9), Ok(1))]);
    assert_eq!(script.run(&hedge).await, Ok(1));
    assert_eq!(script.sent(), [0]);
    assert!((budget.level() - 2.5).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_shared_by_what_runs_at_once_and_free_at_the_end() {
    let budget = Budget::in_flight(0.0, 2).unwrap();
    let (hedge, _) = tested(|builder| builder.budget(budget.clone()));
    let script = Script::new(&[(secs(9), Ok(1))]);
    let other = budget.try_withdraw(Cost::Retry).unwrap().start();
    assert_eq!(script.run(&hedge).await, Ok(1));
    assert_eq!(script.sent(), [0, 1000]); // with the other there are two
    drop(other);
    assert!(budget.level().abs() < 1e-9);
    let script = Script::new(&[(NEVER, Ok(1))]);
    let call = hedge.call(|attempt| script.attempt(attempt));
    timeout(millis(2500), call).await.unwrap_err();
    assert_eq!((script.sent(), script.running.get()), (vec![0, 1000, 2000], 0));
    assert!(budget.level().abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_stops_it() {
    let breaker = Breaker::builder("prices").clock(TokioClock).build().unwrap();
    let hedge = Hedge::builder("test")
        .max_attempts(3)
        .clock(TokioClock)
        .through()
        .build()
        .unwrap();
    breaker.force_open();
    let tries = Cell::new(0);
    let call = || {
        hedge.call(|_| {
            tries.set(tries.get() + 1);
            breaker.call(ready(Ok::<_, ()>(1)))
        })
    };
    let error = call().await.unwrap_err().into_inner().unwrap();
    assert!(matches!(error, Error::Rejected(_)) && tries.get() == 1);
    breaker.close();
    assert_eq!(call().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_leaves_nothing_behind() {
    let budget = Budget::in_flight(0.0, 2).unwrap();
    let (hedge, _) = tested(|builder| builder.budget(budget.clone()));
    for in_future in [false, true] {
        let mut call = Box::pin(hedge.call(|attempt| {
            assert!(in_future || attempt.number() == 1, "in the function");
            async move {
                assert!(attempt.number() == 1, "in the future");
                pending::<()>().await;
                Ok(1)
            }
        }));
        timeout(millis(500), &mut call).await.unwrap_err();
        tokio::time::advance(secs(1)).await;
        let mut task = Task::from_waker(Waker::noop());
        for text in [
            if in_future {
                "in the future"
            } else {
                "in the function"
            },
            "polled after",
        ] {
            let caught = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut task)));
            let panic = caught.unwrap_err();
            assert!(panic.downcast_ref::<&str>().unwrap().contains(text));
        }
        drop(call);
        assert!(budget.level().abs() < 1e-9);
    }
}

#[test]
fn a_call_that_is_ready_at_once_needs_no_runtime_and_ends_once() {
    let hedge = Hedge::builder("test").build().unwrap();
    let mut call = Box::pin(hedge.call(|attempt| ready(Ok::<_, ()>(attempt.number()))));
    let mut task = Task::from_waker(Waker::noop());
    assert!(format!("{call:?}").contains("Idle"));
    assert_eq!(call.as_mut().poll(&mut task), Poll::Ready(Ok(1)));
    assert!(catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut task))).is_err());
}

#[tokio::test(start_paused = true)]
async fn new_settings_count_for_calls_that_have_not_waited_yet() {
    let (hedge, _) = tested(|builder| builder);
    let old = Script::new(&[(secs(9), Ok(1))]);
    let mut call = Box::pin(hedge.call(|attempt| old.attempt(attempt)));
    timeout(millis(1), &mut call).await.unwrap_err();
    hedge
        .reload(&Hedge::builder("other").max_attempts(3).delay(millis(100)))
        .unwrap();
    assert_eq!(
        hedge
            .reload(&Hedge::builder("other").max_attempts(17))
            .unwrap_err()
            .to_string(),
        "accept `max_attempts` = 17: it is 2 to 16"
    );
    assert_eq!(call.await, Ok(1));
    assert_eq!(old.sent(), [0, 1000, 2000, 3000]);
    let new = Script::new(&[(secs(9), Ok(1))]);
    assert_eq!(new.run(&hedge).await, Ok(1));
    assert_eq!(new.sent(), [0, 100, 200]);
    assert!(format!("{hedge:?}").contains("max_attempts: 3") && hedge.name() == "test");
    let builder = Hedge::builder("other").delay_with(|_| secs(1));
    assert!(format!("{builder:?}").contains("delay: Computed"));
}

#[cfg(feature = "tower")]
mod service {
    use super::{Error, Log, TokioClock, secs, timeout};
    use crate::support::millis;
    use cortex_core::{Clock, Context, Deadline, FutureExt};
    use cortex_resilience::budget::Budget;
    use cortex_resilience::hedge::{Hedge, HedgeLayer};
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Context as Task, Poll};
    use tokio::time::{Instant, Sleep, sleep};
    use tower::{Layer, Service, ServiceExt};

    #[derive(Debug, Default)]
    struct Counts {
        clones: AtomicU64,
        calls: AtomicU64,
        running: AtomicU64,
    }

    /// Becomes ready after a time unless it is the first, and answers after one that depends on the request.
    #[derive(Debug)]
    struct Replica {
        counts: Arc<Counts>,
        warm_up: Option<Pin<Box<Sleep>>>,
        is_ready: bool,
        is_broken: bool,
    }

    impl Replica {
        fn first() -> (Self, Arc<Counts>) {
            let counts = Arc::new(Counts::default());
            let replica = Self {
                counts: counts.clone(),
                warm_up: None,
                is_ready: false,
                is_broken: false,
            };
            (replica, counts)
        }
    }

    impl Clone for Replica {
        fn clone(&self) -> Self {
            self.counts.clones.fetch_add(1, Ordering::Relaxed);
            Self {
                counts: self.counts.clone(),
                warm_up: None,
                is_ready: false,
                is_broken: self.is_broken,
            }
        }
    }

    struct Running(Arc<Counts>);

    impl Drop for Running {
        fn drop(&mut self) {
            self.0.running.fetch_sub(1, Ordering::Relaxed);
        }
    }

    impl Service<u64> for Replica {
        type Response = u64;
        type Error = &'static str;
        type Future = Pin<Box<dyn Future<Output = Result<u64, &'static str>> + Send>>;

        fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), &'static str>> {
            if self.is_broken && self.counts.calls.load(Ordering::Relaxed) > 0 {
                return Poll::Ready(Err("broken"));
            }
            if self.counts.calls.load(Ordering::Relaxed) > 0 {
                let warm_up = self.warm_up.get_or_insert_with(|| Box::pin(sleep(millis(250))));
                if warm_up.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            self.is_ready = true;
            Poll::Ready(Ok(()))
        }

        /// The first call answers after so many seconds, others after one.
        fn call(&mut self, seconds: u64) -> Self::Future {
            assert!(
                std::mem::take(&mut self.is_ready),
                "it was called before it was ready"
            );
            let number = self.counts.calls.fetch_add(1, Ordering::Relaxed) + 1;
            self.counts.running.fetch_add(1, Ordering::Relaxed);
            let running = Running(self.counts.clone());
            Box::pin(async move {
                let _running = running;
                sleep(secs(if number == 1 { seconds } else { 1 })).await;
                Ok(number)
            })
        }
    }

    fn hedge() -> Hedge<cortex_resilience::ErrIsFailure, Log, TokioClock> {
        Hedge::builder("test")
            .max_attempts(3)
            .observe(Log::new())
            .clock(TokioClock)
            .build()
            .expect("the settings make sense")
    }

    #[tokio::test(start_paused = true)]
    async fn another_attempt_waits_for_a_readiness_of_its_own() {
        let (replica, counts) = Replica::first();
        let start = Instant::now();
        let mut service = HedgeLayer::new(hedge()).layer(replica);
        let answer = service.ready().await.unwrap().call(99).await;
        assert_eq!((answer, start.elapsed()), (Ok(2), millis(2250)));
        assert_eq!(counts.running.load(Ordering::Relaxed), 0);
        assert!(format!("{service:?}").contains("Replica"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_ready_too_late_is_not_made() {
        let (replica, counts) = Replica::first();
        let start = Instant::now();
        let context = Context::new().with_deadline(Deadline::after(TokioClock.now(), millis(1100)));
        let answer = HedgeLayer::new(hedge()).layer(replica).oneshot(5);
        assert_eq!(answer.with_context(context).await, Ok(1));
        assert_eq!(
            (counts.calls.load(Ordering::Relaxed), start.elapsed()),
            (1, secs(5))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_breaks_loses_one_attempt() {
        let (mut replica, counts) = Replica::first();
        replica.is_broken = true;
        let answer = HedgeLayer::new(hedge()).layer(replica).oneshot(5).await;
        assert_eq!(answer, Ok(1)); // both others failed at once
        assert_eq!(counts.calls.load(Ordering::Relaxed), 1);
        let (mut replica, counts) = Replica::first();
        replica.is_broken = true;
        counts.calls.fetch_add(1, Ordering::Relaxed);
        let answer = HedgeLayer::new(hedge()).layer(replica).oneshot(5).await;
        assert_eq!(answer, Err(Error::Inner("broken")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_not_copied_is_sent_once_and_costs_nothing() {
        let budget = Budget::aws();
        let (replica, counts) = Replica::first();
        let hedge = Hedge::builder("test")
            .budget(budget.clone())
            .clock(TokioClock)
            .build()
            .unwrap();
        let layer = HedgeLayer::new(hedge).requests(|_: &u64| None);
        assert_eq!(layer.layer(replica).oneshot(5).await, Ok(1));
        assert_eq!(counts.clones.load(Ordering::Relaxed), 0);
        assert!((budget.level() - 500.0).abs() < 1e-9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clone_that_is_not_ready_and_a_call_for_nobody_are_answered() {
        let (replica, counts) = Replica::first();
        let mut service = HedgeLayer::new(hedge()).layer(replica);
        service.ready().await.unwrap();
        assert_eq!(service.clone().call(1).await, Err(Error::NotReady));
        let nobody = {
            let _guard = Context::new()
                .with_deadline(Deadline::at(TokioClock.now()))
                .attach();
            service.call(1)
        };
        assert!(nobody.await.unwrap_err().rejected().is_some());
        assert_eq!(service.call(1).await, Ok(1)); // it stayed ready
        assert_eq!(service.call(1).await, Err(Error::NotReady));
        assert_eq!(counts.calls.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_dropped_drops_all_attempts() {
        let budget = Budget::in_flight(0.0, 2).unwrap();
        for after in [
            None,
            Some(millis(500)),
            Some(millis(1100)),
            Some(millis(1500)),
            Some(millis(2200)),
        ] {
            let (replica, counts) = Replica::first();
            let hedge = Hedge::builder("test")
                .max_attempts(3)
                .budget(budget.clone())
                .clock(TokioClock)
                .build()
                .unwrap();
            let mut service = HedgeLayer::new(hedge).layer(replica);
            let answer = service.ready().await.unwrap().call(99);
            match after {
                Some(after) => drop(timeout(after, answer).await.unwrap_err()),
                None => drop(answer),
            }
            assert_eq!(counts.running.load(Ordering::Relaxed), 0);
            assert!(budget.level().abs() < 1e-9);
            assert_eq!(Arc::strong_count(&counts), 2); // ours and that of the service
        }
    }
}
