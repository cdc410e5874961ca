//! The timeout, in time that stands still until somebody waits.

use crate::support::{Log, millis};
use crate::tokio_clock::TokioClock;
use cortex_core::{Clock, Context, Deadline, FutureExt};
use cortex_resilience::Event;
use cortex_resilience::timeout::{Builder, Error, Kind, TimedOut, Timeout};
use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::{advance, sleep};

type Tested = Timeout<Log, TokioClock>;

fn tested(set: impl FnOnce(Builder<Log, TokioClock>) -> Builder<Log, TokioClock>) -> (Tested, Log) {
    let log = Log::new();
    let builder = Timeout::builder("test").observe(log.clone()).clock(TokioClock);
    (set(builder).build().expect("the settings make sense"), log)
}

fn in_context(time: Duration) -> Context {
    Context::new().with_deadline(Deadline::after(TokioClock.now(), time))
}

async fn takes(time: Duration) -> Result<u8, &'static str> {
    sleep(time).await;
    Ok(7)
}

fn gave_up(kind: Kind, after: u64) -> Result<u8, Error<&'static str>> {
    Err(Error::TimedOut(TimedOut::new(kind, millis(after))))
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_in_time_or_with_the_time_that_was_over() {
    for (kind, timeout) in [
        (Kind::Attempt, tested(|builder| builder.attempt(millis(200)))),
        (Kind::Total, tested(|builder| builder.total(millis(200)))),
    ] {
        let (timeout, log) = timeout;
        let start = TokioClock.now();
        assert_eq!(timeout.call(takes(millis(199))).await, Ok(7));
        assert_eq!(
            timeout.call(ready(Err::<u8, _>("bad"))).await,
            Err(Error::Inner("bad"))
        );
        assert!(log.all().is_empty());
        assert_eq!(timeout.call(takes(millis(201))).await, gave_up(kind, 200));
        assert_eq!(TokioClock.now() - start, millis(399));
        assert_eq!(log.all(), [Event::TimedOut(TimedOut::new(kind, millis(200)))]);
        assert_eq!(timeout.snapshot().timed_out, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_there_in_time_is_not_thrown_away() {
    let (timeout, _) = tested(|builder| builder.attempt(millis(200)));
    assert_eq!(timeout.call(takes(millis(200))).await, Ok(7)); // both at once: the call is polled first
    let mut late = pin!(timeout.call(takes(millis(150))));
    assert!(poll(late.as_mut()).is_pending());
    advance(millis(500)).await; // nobody polled meanwhile
    assert_eq!(late.await, Ok(7));
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_limit_and_deadline_ends_it_and_says_so() {
    let (timeout, log) = tested(|builder| builder.attempt(millis(200)));
    let within = |time| {
        timeout
            .call(takes(millis(900)))
            .with_context(in_context(millis(time)))
    };
    assert_eq!(within(150).await, gave_up(Kind::Deadline, 150));
    assert_eq!(within(200).await, gave_up(Kind::Attempt, 200)); // at once: its own
    assert_eq!(within(500).await, gave_up(Kind::Attempt, 200));
    assert_eq!(log.all().len(), 3);
    let (open, _) = tested(|builder| builder);
    let start = TokioClock.now();
    assert_eq!(open.call(takes(millis(9000))).await, Ok(7));
    let call = open.call(takes(millis(900))).with_context(in_context(millis(30)));
    assert_eq!(call.await, gave_up(Kind::Deadline, 30));
    assert_eq!(TokioClock.now() - start, millis(9030));
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_deadline_is_not_tried() {
    let (timeout, log) = tested(|builder| builder.total(millis(200)));
    let polled = Cell::new(false);
    let call = timeout.call(async {
        polled.set(true);
        Ok::<u8, &str>(1)
    });
    let context = in_context(Duration::ZERO);
    assert_eq!(call.with_context(context).await, gave_up(Kind::Deadline, 0));
    assert!(!polled.get());
    assert_eq!(
        log.all(),
        [Event::TimedOut(TimedOut::new(Kind::Deadline, Duration::ZERO))]
    );
}

struct Counted(AtomicUsize);

impl Clock for &Counted {
    fn now(&self) -> Instant {
        self.0.fetch_add(1, Ordering::Relaxed);
        TokioClock.now()
    }

    fn wall(&self) -> SystemTime {
        TokioClock.wall()
    }
}

#[tokio::test(start_paused = true)]
async fn the_clock_is_read_once_by_those_who_wait() {
    let clock = Counted(AtomicUsize::new(0));
    let builder = Timeout::builder("test").attempt(millis(200)).clock(&clock);
    let timeout = builder.build().unwrap();
    assert_eq!(timeout.call(ready(Ok::<_, ()>(1))).await, Ok(1));
    assert_eq!(clock.0.load(Ordering::Relaxed), 0);
    timeout.call(takes(millis(100))).await.unwrap();
    timeout.call(pending::<Result<u8, ()>>()).await.unwrap_err();
    assert_eq!(clock.0.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_inside_sees_the_end_of_the_time_for_all_attempts() {
    let clock = Counted(AtomicUsize::new(0));
    let builder = Timeout::builder("test").total(millis(300)).clock(&clock);
    let total = builder.build().unwrap();
    let end = Deadline::after(TokioClock.now(), millis(300));
    let seen = total.call(async {
        assert_eq!(Context::current().deadline(), Some(end));
        sleep(millis(100)).await;
        Ok::<_, ()>(Context::current().deadline())
    });
    assert_eq!(seen.await, Ok(Some(end)));
    assert_eq!(Context::current().deadline(), None);
    assert_eq!(clock.0.load(Ordering::Relaxed), 1);
    // A nearer one of the caller stays.
    let near = in_context(millis(50));
    let seen = total.call(async { Ok::<_, ()>(Context::current().deadline()) });
    assert_eq!(seen.with_context(near).await, Ok(near.deadline()));
    // An attempt inside leaves the end of all attempts to the limit of them, and its own is its own.
    let (attempt, log) = tested(|builder| builder.attempt(millis(200)));
    let call = total.call(attempt.call(takes(millis(900))));
    assert!(matches!(
        call.await,
        Err(Error::Inner(Error::TimedOut(why))) if why.kind() == Kind::Attempt
    ));
    let call = total.call(async {
        sleep(millis(200)).await;
        attempt.call(takes(millis(900))).await
    });
    assert!(
        matches!(call.await, Err(Error::TimedOut(why)) if why == TimedOut::new(Kind::Total, millis(300)))
    );
    assert_eq!(log.all().len(), 1);
}

/// A future that uses up what the task may do at each poll must not keep the timer from being heard.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_always_busy_times_out() {
    let (timeout, _) = tested(|builder| builder.attempt(millis(50)));
    let mut polls = 0;
    let busy = poll_fn(move |cx| {
        polls += 1;
        assert!(polls < 1000, "nobody heard the timer");
        while tokio::task::coop::has_budget_remaining() {
            let mut step = pin!(tokio::task::coop::consume_budget());
            let _ = step.as_mut().poll(cx);
        }
        cx.waker().wake_by_ref();
        Poll::<Result<u8, &str>>::Pending
    });
    let call = tokio::spawn(async move { timeout.call(busy).await });
    tokio::task::yield_now().await;
    advance(millis(51)).await;
    assert_eq!(call.await.unwrap(), gave_up(Kind::Attempt, 50));
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_for_calls_that_begin_to_wait_later() {
    let (timeout, _) = tested(|builder| builder.attempt(millis(200)));
    let mut first = pin!(timeout.call(takes(millis(900))));
    assert!(poll(first.as_mut()).is_pending());
    timeout
        .reload(&Timeout::builder("other").total(millis(300)))
        .unwrap();
    assert_eq!(first.await, gave_up(Kind::Attempt, 200));
    assert_eq!(timeout.call(takes(millis(900))).await, gave_up(Kind::Total, 300));
    let wrong = timeout.reload(&Timeout::builder("other").total(Duration::ZERO));
    assert_eq!(wrong.unwrap_err().field(), "total");
    assert_eq!(timeout.snapshot().limit, Some((Kind::Total, millis(300))));
    assert_eq!(timeout.name(), "test");
}

#[tokio::test(start_paused = true)]
async fn a_time_that_no_clock_shows_is_none() {
    let (timeout, _) = tested(|builder| builder.attempt(Duration::MAX));
    assert_eq!(timeout.call(takes(Duration::from_hours(9000))).await, Ok(7));
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "polled after it was ready")]
async fn a_call_that_has_ended_is_not_polled_again() {
    let (timeout, _) = tested(|builder| builder.attempt(millis(1)));
    let mut call = pin!(timeout.call(ready(Ok::<_, ()>(1))));
    assert!(poll(call.as_mut()).is_ready());
    let _ = poll(call.as_mut());
}

#[cfg(feature = "tower")]
mod layer {
    use super::*;
    use cortex_resilience::timeout::TimeoutLayer;
    use std::sync::Arc;
    use tower::{Layer, Service, ServiceExt};

    /// Is ready after a time, and panics if it is called before.
    #[derive(Debug)]
    struct Slow {
        after: Duration,
        waits: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
        is_ready: bool,
        calls: Arc<AtomicUsize>,
    }

    impl Slow {
        fn new(after: Duration) -> Self {
            Self {
                after,
                waits: None,
                is_ready: false,
                calls: Arc::default(),
            }
        }
    }

    impl Clone for Slow {
        fn clone(&self) -> Self {
            Self::new(self.after)
        }
    }

    impl Service<Duration> for Slow {
        type Response = u8;
        type Error = &'static str;
        type Future = std::pin::Pin<Box<dyn Future<Output = Result<u8, &'static str>>>>;

        fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), &'static str>> {
            if self.is_ready {
                return Poll::Ready(Ok(()));
            }
            let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(self.after)));
            waits.as_mut().poll(cx).map(|()| {
                self.waits = None;
                self.is_ready = true;
                Ok(())
            })
        }

        fn call(&mut self, time: Duration) -> Self::Future {
            assert!(
                std::mem::take(&mut self.is_ready),
                "it was called before it was ready"
            );
            self.calls.fetch_add(1, Ordering::Relaxed);
            Box::pin(takes(time))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_service_counts_for_the_total_and_not_for_an_attempt() {
        let (total, _) = tested(|builder| builder.total(millis(200)));
        let mut service = TimeoutLayer::new(total).layer(Slow::new(millis(150)));
        let call = service.ready().await.unwrap().call(millis(100));
        assert_eq!(call.await, gave_up(Kind::Total, 200));
        assert_eq!(service.ready().await.unwrap().call(millis(40)).await, Ok(7));
        let (attempt, _) = tested(|builder| builder.attempt(millis(200)));
        let mut service = TimeoutLayer::new(attempt).layer(Slow::new(millis(150)));
        assert_eq!(service.ready().await.unwrap().call(millis(199)).await, Ok(7));
        let call = service.ready().await.unwrap().call(millis(201));
        assert_eq!(call.await, gave_up(Kind::Attempt, 200));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_not_ready_in_time_is_not_called() {
        let (timeout, log) = tested(|builder| builder.total(millis(200)));
        let inner = Slow::new(millis(1000));
        let calls = inner.calls.clone();
        let mut service = TimeoutLayer::new(timeout).layer(inner);
        let start = TokioClock.now();
        let call = service.ready().await.unwrap().call(millis(1));
        assert_eq!(call.await, gave_up(Kind::Total, 200));
        assert_eq!(TokioClock.now() - start, millis(200));
        let later = async { service.ready().await.unwrap().call(millis(1)).await };
        let context = in_context(millis(100));
        assert_eq!(later.with_context(context).await, gave_up(Kind::Deadline, 100));
        assert_eq!((calls.load(Ordering::Relaxed), log.all().len()), (0, 2));
        service.ready().await.unwrap();
        for _ in 0..3 {
            assert!(poll(pin!(service.ready())).is_ready()); // what is ready stays so, whatever it is ready for
        }
        assert_eq!(service.call(millis(1)).await, gave_up(Kind::Total, 200));
    }

    #[tokio::test(start_paused = true)]
    async fn who_went_away_while_waiting_leaves_no_time_behind() {
        let (timeout, _) = tested(|builder| builder.total(millis(200)));
        let mut service = TimeoutLayer::new(timeout).layer(Slow::new(millis(150)));
        tokio::time::timeout(millis(100), service.ready())
            .await
            .unwrap_err();
        sleep(millis(500)).await;
        assert_eq!(service.ready().await.unwrap().call(millis(199)).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_pays_for_the_time_of_another_caller() {
        let (timeout, _) = tested(|builder| builder.total(millis(200)));
        // One becomes ready and goes: the next begins with its own call.
        let mut service = TimeoutLayer::new(timeout.clone()).layer(Slow::new(millis(150)));
        service.ready().await.unwrap();
        sleep(millis(500)).await;
        assert_eq!(service.ready().await.unwrap().call(millis(199)).await, Ok(7));
        // One stops waiting: who comes long after has all the time.
        let mut service = TimeoutLayer::new(timeout.clone()).layer(Slow::new(Duration::from_secs(101)));
        assert!(poll(pin!(service.ready())).is_pending());
        sleep(Duration::from_secs(100)).await;
        let start = TokioClock.now();
        let refused = service.ready().await.unwrap().call(millis(1)).await;
        assert_eq!(
            (refused, TokioClock.now() - start),
            (gave_up(Kind::Total, 200), millis(200))
        );
        // One is told of its deadline and goes: the next has none.
        let mut service = TimeoutLayer::new(timeout).layer(Slow::new(millis(120)));
        async { service.ready().await.map(|_| ()) }
            .with_context(in_context(millis(50)))
            .await
            .unwrap();
        assert_eq!(service.ready().await.unwrap().call(millis(100)).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_inside_sees_the_end_of_the_time_for_all_attempts() {
        let (total, _) = tested(|builder| builder.total(millis(200)));
        let end = Deadline::after(TokioClock.now(), millis(200));
        let mut service = TimeoutLayer::new(total).layer(tower::service_fn(|()| {
            let called = Context::current().deadline();
            async move { Ok::<_, ()>([called, Context::current().deadline()]) }
        }));
        assert_eq!(service.ready().await.unwrap().call(()).await, Ok([Some(end); 2]));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_pays_for_the_wait_of_another() {
        let (timeout, _) = tested(|builder| builder.total(millis(200)));
        let mut service = TimeoutLayer::new(timeout.clone()).layer(Slow::new(millis(150)));
        service.ready().await.unwrap(); // and goes away
        sleep(millis(500)).await;
        assert_eq!(service.ready().await.unwrap().call(millis(199)).await, Ok(7));
        // The first goes while it waits; the next comes long after, or in another task a moment before the time is over.
        for (gone_for, other_task) in [(10_000, false), (199, true)] {
            let mut service = TimeoutLayer::new(timeout.clone()).layer(Slow::new(millis(gone_for + 100)));
            if other_task {
                assert!(poll(pin!(service.ready())).is_pending());
                sleep(millis(gone_for)).await;
            } else {
                let gone = tokio::time::timeout(millis(1), service.ready()).await;
                assert!(gone.is_err());
                sleep(millis(gone_for - 1)).await;
            }
            let start = TokioClock.now();
            let call = service.ready().await.unwrap().call(millis(90));
            assert_eq!(TokioClock.now() - start, millis(100));
            assert_eq!(call.await, Ok(7));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_between_readiness_and_call_is_not_that_of_the_call() {
        let (timeout, _) = tested(|builder| builder.total(millis(200)));
        let mut service = TimeoutLayer::new(timeout).layer(Slow::new(millis(150)));
        for (takes, expected) in [(49, Ok(7)), (51, gave_up(Kind::Total, 200))] {
            service.ready().await.unwrap();
            sleep(millis(500)).await;
            assert_eq!(service.call(millis(takes)).await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_the_deadline_is_not_called_and_leaves_the_service_ready() {
        let (timeout, _) = tested(|builder| builder.total(millis(200)));
        let inner = Slow::new(Duration::ZERO);
        let calls = inner.calls.clone();
        let mut service = TimeoutLayer::new(timeout).layer(inner);
        service.ready().await.unwrap();
        let guard = in_context(Duration::ZERO).attach();
        let refused = service.call(millis(1));
        drop(guard);
        assert_eq!(refused.await, gave_up(Kind::Deadline, 0));
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        assert_eq!(service.call(millis(1)).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clone_that_is_not_ready_is_answered() {
        let (timeout, _) = tested(|builder| builder.total(millis(200)));
        let mut service = TimeoutLayer::new(timeout).layer(Slow::new(Duration::ZERO));
        service.ready().await.unwrap();
        let mut clone = service.clone();
        assert_eq!(clone.call(millis(1)).await, Err(Error::NotReady));
        assert_eq!(service.call(millis(1)).await, Ok(7));
        assert_eq!(service.call(millis(1)).await, Err(Error::NotReady));
    }
}
