//! The rate limiter as its users see it.

use crate::support::{Log, millis, secs};
use cortex_resilience::rate_limit::{Builder, KeyedRateLimiter, RateLimiter};
use cortex_resilience::{Event, Reason, Rejected};
use cortex_testkit::ManualClock;
use std::sync::Barrier;
use std::time::Duration;

type Tested = RateLimiter<Log, ManualClock>;

fn tested(
    set: impl FnOnce(Builder<Log, ManualClock>) -> Builder<Log, ManualClock>,
) -> (Tested, ManualClock, Log) {
    let (clock, log) = (ManualClock::new(), Log::new());
    let builder = RateLimiter::builder("test")
        .observe(log.clone())
        .clock(clock.clone());
    (set(builder).build().expect("the settings make sense"), clock, log)
}

const fn limited(wait: Duration) -> Rejected {
    Rejected::new(Reason::RateLimit, Some(wait))
}

#[test]
fn so_many_get_through_and_the_rest_hears_when_to_come_back() {
    let (limiter, clock, log) = tested(|builder| builder.limit(2, secs(1)).burst(3));
    assert_eq!((0..9).filter(|_| limiter.try_acquire().is_ok()).count(), 3);
    assert_eq!(limiter.try_acquire(), Err(limited(millis(500))));
    assert_eq!(log.all(), [Event::Rejected(limited(millis(500))); 7]);
    clock.advance(millis(499));
    assert_eq!(limiter.try_acquire(), Err(limited(millis(1))));
    clock.advance(millis(1));
    assert!(limiter.try_acquire().is_ok() && limiter.try_acquire().is_err());
    clock.advance(secs(1000));
    assert_eq!((0..9).filter(|_| limiter.try_acquire().is_ok()).count(), 3); // and no more than the bucket holds
    let snapshot = limiter.snapshot();
    assert_eq!((snapshot.tokens, snapshot.rejected), (0, 15));
    assert_eq!(snapshot.quota.interval(), millis(500));
}

#[test]
fn a_call_may_take_several_tokens_and_gets_all_or_none() {
    let (limiter, clock, _) = tested(|builder| builder.limit(10, secs(1)));
    assert_eq!(limiter.try_acquire_n(7), Ok(()));
    assert_eq!(limiter.try_acquire_n(4), Err(limited(millis(100))));
    assert_eq!(limiter.snapshot().tokens, 3);
    assert_eq!(limiter.try_acquire_n(3), Ok(()));
    assert_eq!(limiter.try_acquire_n(0), Ok(()));
    assert_eq!(limiter.try_acquire_n(10), Err(limited(secs(1))));
    for too_many in [11, u32::MAX] {
        let never = Rejected::new(Reason::ExceedsBurst, None);
        assert_eq!(limiter.try_acquire_n(too_many), Err(never));
    }
    clock.advance(secs(1));
    assert_eq!(limiter.try_acquire_n(10), Ok(()));
}

#[test]
fn a_clock_that_stands_still_refills_nothing() {
    let (limiter, ..) = tested(|builder| builder.limit(1, Duration::MAX));
    assert!(limiter.try_acquire().is_ok());
    let wait = limiter.try_acquire().unwrap_err().retry_after().unwrap();
    assert!(wait > Duration::from_hours(24 * 365 * 100));
}

#[test]
fn threads_that_race_get_exactly_what_there_is() {
    let (limiter, clock, _) = tested(|builder| builder.limit(1000, secs(1)));
    for round in 0..5 {
        let start = Barrier::new(8);
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        (0..1000).filter(|_| limiter.try_acquire().is_ok()).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, if round == 0 { 1000 } else { 250 });
        clock.advance(millis(250));
    }
}

#[test]
fn a_reload_keeps_what_is_missing() {
    let (limiter, clock, _) = tested(|builder| builder.limit(2, secs(2)));
    limiter.try_acquire_n(2).unwrap();
    limiter
        .reload(&RateLimiter::builder("x").limit(10, secs(1)))
        .unwrap();
    assert_eq!(limiter.try_acquire(), Err(limited(millis(1100))));
    clock.advance(millis(1100));
    assert_eq!(limiter.try_acquire(), Ok(()));
    let wrong = limiter.reload(&RateLimiter::builder("x").limit(0, secs(1)));
    assert_eq!(
        wrong.unwrap_err().to_string(),
        "accept `limit` = (0, 1s): it is at least one call, in a period longer than zero"
    );
    assert_eq!(limiter.snapshot().quota.tokens(), 10);
}

#[test]
fn nonsense_is_refused_by_name() {
    let build = |limit: (u32, Duration), burst| {
        let builder = RateLimiter::builder("test").limit(limit.0, limit.1).burst(burst);
        builder.build().map(drop).map_err(|error| error.field())
    };
    assert_eq!(build((1, Duration::ZERO), 1), Err("limit"));
    assert_eq!(build((0, secs(1)), 1), Err("limit"));
    assert_eq!(build((1, secs(1)), 0), Err("burst"));
    assert_eq!(build((1, secs(1)), 1), Ok(()));
    let keyed = |keys| {
        KeyedRateLimiter::builder("test")
            .limit(1, secs(1))
            .keys(keys)
            .build()
            .map(drop)
    };
    for keys in [0, 1_000_000_001, usize::MAX] {
        assert_eq!(keyed(keys).unwrap_err().field(), "keys");
    }
}

#[test]
fn keys_have_buckets_of_their_own() {
    let (clock, log) = (ManualClock::new(), Log::new());
    let builder = KeyedRateLimiter::builder("test").limit(2, secs(1)).keys(100);
    let limiter = builder.clock(clock.clone()).observe(log.clone()).build().unwrap();
    for key in ["ada", "grace"] {
        assert!(limiter.try_acquire(key).is_ok() && limiter.try_acquire(key).is_ok());
        assert_eq!(limiter.try_acquire(key), Err(limited(millis(500))));
    }
    clock.advance(millis(500));
    assert!(limiter.clone().try_acquire("ada").is_ok() && limiter.try_acquire("ada").is_err());
    assert_eq!(
        (limiter.rejected(), log.all().len(), limiter.name()),
        (3, 3, "test")
    );
    assert_eq!(limiter.quota().tokens(), 2);
    for stranger in 0..10_000 {
        let _ = limiter.try_acquire(&stranger); // as many as may want to: the memory is fixed, and nobody's bucket refilled
    }
    assert!(limiter.try_acquire("ada").is_err());
}

#[cfg(feature = "tokio")]
mod waits {
    use super::*;
    use crate::tokio_clock::TokioClock;
    use cortex_core::{Clock, Context, Deadline, FutureExt};
    use cortex_resilience::rate_limit::Error;
    use std::cell::Cell;
    use std::pin::{Pin, pin};
    use std::task::{Poll, Waker};
    use std::time::Instant;

    type Waiting = RateLimiter<Log, TokioClock>;

    fn waiting(count: u32, burst: u32, max_wait: Duration) -> (Waiting, Log) {
        let log = Log::new();
        let builder = RateLimiter::builder("test").limit(count, secs(1)).burst(burst);
        let builder = builder.max_wait(max_wait).observe(log.clone()).clock(TokioClock);
        (builder.build().expect("the settings make sense"), log)
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(Waker::noop()))
    }

    fn since(start: Instant) -> Duration {
        TokioClock.now() - start
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_served_in_order_and_in_time() {
        let (limiter, log) = waiting(10, 2, millis(300));
        let start = TokioClock.now();
        let mut calls = Vec::new();
        for _ in 0..5 {
            calls.push(Box::pin(limiter.acquire()));
        }
        let ready = |poll: &Poll<_>| *poll == Poll::Ready(Ok(()));
        let polls: Vec<_> = calls.iter_mut().map(|call| poll(call.as_mut())).collect();
        assert_eq!(polls.iter().filter(|poll| ready(poll)).count(), 2);
        assert_eq!(limiter.acquire().await, Err(limited(millis(400)))); // no one waits for what comes too late
        assert_eq!(limiter.try_acquire(), Err(limited(millis(400))));
        for (waited, call) in [100, 200, 300].into_iter().zip(calls.drain(2..)) {
            assert_eq!(call.await, Ok(()));
            assert_eq!(since(start), millis(waited));
        }
        assert_eq!(
            log.all().iter().filter(|event| **event == Event::Queued).count(),
            3
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_beyond_the_deadline_or_starts_after_it() {
        let (limiter, _) = waiting(10, 1, secs(9));
        let within = |time| Context::new().with_deadline(Deadline::after(TokioClock.now(), time));
        let past = limiter.acquire().with_context(within(Duration::ZERO)).await;
        assert_eq!(past, Err(Rejected::new(Reason::Deadline, None)));
        assert_eq!(limiter.snapshot().tokens, 1);
        assert_eq!(limiter.acquire().with_context(within(millis(1))).await, Ok(()));
        for (time, result) in [
            (100, Err(Rejected::new(Reason::Deadline, Some(millis(100))))),
            (101, Ok(())),
        ] {
            let start = TokioClock.now();
            let acquire = limiter.acquire().with_context(within(millis(time)));
            assert_eq!(acquire.await, result);
            assert_eq!(since(start), millis(if result.is_ok() { 100 } else { 0 }));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_gives_the_token_back_unless_somebody_has_a_later_one() {
        let (limiter, _) = waiting(10, 1, secs(9));
        limiter.try_acquire().unwrap();
        let next = || limiter.try_acquire().unwrap_err().retry_after();
        let mut first = Box::pin(limiter.acquire());
        assert!(poll(first.as_mut()).is_pending());
        assert_eq!(next(), Some(millis(200)));
        drop(first);
        assert_eq!(next(), Some(millis(100)));
        let mut first = Box::pin(limiter.acquire());
        let mut second = Box::pin(limiter.acquire_n(1));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        drop(first); // the second comes at 200 ms: one who came at the first's time now would not be alone
        assert_eq!(next(), Some(millis(300)));
        drop(second);
        assert_eq!(next(), Some(millis(200)));
        drop(limiter.acquire()); // it was never polled
        assert_eq!(next(), Some(millis(200)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_runs_once_it_has_a_token() {
        let (limiter, _) = waiting(10, 1, millis(100));
        let polled = Cell::new(0);
        let work = || async {
            polled.set(polled.get() + 1);
            Err::<u8, _>("bad")
        };
        let start = TokioClock.now();
        assert_eq!(limiter.call(work()).await, Err(Error::Inner("bad")));
        assert_eq!(limiter.call(work()).await, Err(Error::Inner("bad")));
        assert_eq!(since(start), millis(100));
        let mut waits = pin!(limiter.call(work()));
        assert!(poll(waits.as_mut()).is_pending());
        let refused = limiter.call(work()).await.unwrap_err().rejected();
        assert_eq!((refused, polled.get()), (Some(limited(millis(200))), 2));
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "polled after it was ready")]
    async fn a_wait_that_has_ended_is_not_polled_again() {
        let (limiter, _) = waiting(10, 1, millis(100));
        let mut acquire = pin!(limiter.acquire());
        assert!(poll(acquire.as_mut()).is_ready());
        let _ = poll(acquire.as_mut());
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "polled after it was ready")]
    async fn nor_is_a_call() {
        let (limiter, _) = waiting(10, 1, millis(100));
        let mut call = pin!(limiter.call(std::future::poll_fn(|_| Poll::Ready(Ok::<_, ()>(1)))));
        assert!(poll(call.as_mut()).is_ready());
        let _ = poll(call.as_mut());
    }

    #[cfg(feature = "tower")]
    mod layer {
        use super::*;
        use cortex_resilience::rate_limit::RateLimitLayer;
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        use tower::{Layer, Service, ServiceExt, service_fn};

        #[tokio::test(start_paused = true)]
        async fn a_service_waits_for_a_token_and_holds_one_at_most() {
            let (limiter, log) = waiting(10, 1, millis(150));
            let layer = RateLimitLayer::new(limiter.clone());
            let mut service = layer.layer(service_fn(|good: bool| async move {
                if good { Ok(1) } else { Err("bad") }
            }));
            let start = TokioClock.now();
            assert_eq!(service.ready().await.unwrap().call(true).await, Ok(1));
            for _ in 0..3 {
                service.ready().await.unwrap();
            }
            assert_eq!(since(start), millis(100));
            let mut clone = service.clone();
            assert_eq!(clone.call(true).await, Err(Error::NotReady));
            assert_eq!(service.call(false).await, Err(Error::Inner("bad")));
            assert_eq!(service.call(false).await, Err(Error::NotReady));
            let mut waits = Box::pin(clone.ready());
            assert!(poll(waits.as_mut()).is_pending());
            assert_eq!(log.all(), [Event::Queued; 2]);
            let refused = service.ready().await.unwrap().call(true).await.unwrap_err();
            assert_eq!(refused.rejected(), Some(limited(millis(200))));
            assert_eq!(log.all().len(), 1);
            assert_eq!(limiter.snapshot().rejected, 1);
        }

        #[tokio::test(start_paused = true)]
        async fn a_service_that_is_ready_and_dropped_gives_its_token_back() {
            let (limiter, _) = waiting(10, 1, millis(150));
            let mut service =
                RateLimitLayer::new(limiter.clone()).layer(service_fn(|()| async { Ok::<_, ()>(()) }));
            service.ready().await.unwrap();
            assert_eq!(limiter.snapshot().tokens, 0);
            drop(service);
            assert_eq!(limiter.snapshot().tokens, 1);
        }

        #[tokio::test(start_paused = true)]
        async fn a_service_that_was_refused_stays_ready_and_takes_a_token_that_has_come() {
            let (limiter, _) = waiting(10, 1, millis(50));
            let mut service =
                RateLimitLayer::new(limiter.clone()).layer(service_fn(|()| async { Ok::<_, ()>(()) }));
            limiter.try_acquire().unwrap();
            for _ in 0..2 {
                assert!(poll(pin!(service.ready())).is_ready());
            }
            tokio::time::advance(millis(99)).await;
            assert!(poll(pin!(service.ready())).is_ready()); // and does not begin to wait
            tokio::time::advance(millis(1)).await;
            assert!(poll(pin!(service.ready())).is_ready());
            assert_eq!(limiter.snapshot().tokens, 0);
            assert_eq!(service.call(()).await, Ok(()));
        }

        #[derive(Clone)]
        struct Asked(Arc<AtomicUsize>);

        impl Service<()> for Asked {
            type Response = ();
            type Error = ();
            type Future = std::future::Ready<Result<(), ()>>;

            fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), ()>> {
                self.0.fetch_add(1, Ordering::Relaxed);
                Poll::Pending
            }

            fn call(&mut self, (): ()) -> Self::Future {
                panic!("it was never ready")
            }
        }

        #[tokio::test(start_paused = true)]
        async fn nobody_waits_beyond_the_deadline_for_the_token_of_another() {
            let (limiter, _) = waiting(1, 1, millis(5000));
            let mut service =
                RateLimitLayer::new(limiter.clone()).layer(service_fn(async |value: u32| Ok::<_, ()>(value)));
            limiter.try_acquire().unwrap();
            let gone = tokio::time::timeout(millis(100), service.ready()).await;
            assert!(gone.is_err());
            let start = TokioClock.now();
            let context = Context::new().with_deadline(Deadline::after(start, millis(900)));
            let call = async { service.ready().await.unwrap().call(1).await };
            let refused = call.with_context(context).await.unwrap_err();
            let Error::Rejected(rejected) = refused else {
                panic!("{refused:?}")
            };
            assert_eq!(TokioClock.now(), start);
            assert_eq!(
                (rejected.reason(), rejected.retry_after()),
                (Reason::Deadline, Some(millis(900)))
            );
            // The token is free, and there for who comes in time.
            let context = Context::new().with_deadline(Deadline::after(start, millis(901)));
            let call = async { service.ready().await.unwrap().call(1).await };
            assert_eq!(call.with_context(context).await, Ok(1));
            assert_eq!(TokioClock.now() - start, millis(900));
        }

        #[tokio::test(start_paused = true)]
        async fn an_inner_service_is_not_asked_before_there_is_a_token() {
            let (limiter, _) = waiting(10, 1, millis(50));
            let asked = Asked(Arc::default());
            let mut service = RateLimitLayer::new(limiter.clone()).layer(asked.clone());
            let mut other = service.clone();
            let mut cx = std::task::Context::from_waker(Waker::noop());
            assert!(service.poll_ready(&mut cx).is_pending());
            assert!(service.poll_ready(&mut cx).is_pending());
            assert_eq!(asked.0.load(Ordering::Relaxed), 2);
            assert!(other.poll_ready(&mut cx).is_ready()); // refused
            assert!(other.poll_ready(&mut cx).is_ready());
            assert!(other.call(()).await.unwrap_err().rejected().is_some());
            assert_eq!(asked.0.load(Ordering::Relaxed), 2);
            assert_eq!(limiter.snapshot().tokens, 0); // one token, however often it was asked
            drop(service);
            assert_eq!(limiter.snapshot().tokens, 1);
        }
    }
}
