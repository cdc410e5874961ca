//! What is asked of the allocator: nothing for a call.
//!
//! A binary of its own: it replaces the allocator.

use cortex_core::{CoarseClock, SystemClock};
use cortex_resilience::adaptive::{AdaptiveLimit, Gradient2};
#[cfg(feature = "tokio")]
use cortex_resilience::budget::Budget;
use cortex_resilience::chaos::Chaos;
use cortex_resilience::circuit::{Breaker, State, Window};
use cortex_resilience::fallback::Fallback;
#[cfg(feature = "tokio")]
use cortex_resilience::hedge::Hedge;
use cortex_resilience::load_shed::LoadShed;
use cortex_resilience::registry::Registry;
#[cfg(feature = "tokio")]
use cortex_resilience::retry::Retry;
use cortex_resilience::throttle::AdaptiveThrottle;
use cortex_testkit::CountingAllocator;
use std::future::ready;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

const WINDOWS: [Window; 3] = [
    Window::time(Duration::from_mins(1)),
    Window::count(100),
    Window::k_of_n(90, 100),
];

fn poll(future: impl Future) {
    assert!(
        pin!(future)
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    );
}

#[test]
fn a_call_allocates_nothing() {
    let clock = CoarseClock::start(Duration::from_millis(1)).expect("a thread can be started");
    for window in WINDOWS {
        let mut builder = Breaker::builder("test").window(window).min_calls(1_000_000);
        if !matches!(window, Window { .. } if window == WINDOWS[2]) {
            builder = builder.slow_call(Duration::from_secs(1), 0.5);
        }
        let breaker = builder
            .clock(clock.clone())
            .build()
            .expect("the settings make sense");
        poll(breaker.call(ready(Ok::<_, ()>(1)))); // the thread makes its cells
        let ((), usage) = ALLOCATOR.measure(|| {
            for round in 0..100 {
                poll(breaker.call(ready(if round % 10 == 0 { Err(round) } else { Ok(round) })));
                drop(breaker.try_acquire());
                drop(breaker.try_acquire_owned());
            }
        });
        assert_eq!(usage.allocations, 0, "{window:?}");
    }
}

#[test]
fn neither_does_a_rejection_nor_a_transition() {
    let breaker = Breaker::builder("test").build().expect("the settings make sense");
    poll(breaker.call(ready(Ok::<_, ()>(1))));
    let (state, usage) = ALLOCATOR.measure(|| {
        breaker.open().expect("it may");
        for _ in 0..100 {
            poll(breaker.call(ready(Ok::<_, ()>(1))));
        }
        breaker.half_open().expect("it may");
        for _ in 0..5 {
            poll(breaker.call(ready(Ok::<_, ()>(1))));
        }
        breaker.state()
    });
    assert_eq!((state, usage.allocations), (State::Closed, 0));
}

#[test]
fn a_breaker_without_shards_is_small_also_after_its_first_vote() {
    for window in [
        Window::count(100),
        Window::time(Duration::from_secs(10)),
        Window::time(Duration::from_mins(1)),
    ] {
        let (breaker, usage) = ALLOCATOR.measure(|| {
            let builder = Breaker::builder("test").window(window).shards(0);
            let breaker = builder
                .clock(SystemClock)
                .build()
                .expect("the settings make sense");
            poll(breaker.call(ready(Ok::<_, ()>(1))));
            breaker
        });
        let (bytes, most) = (usage.retained(), 1024 - 64); // its name may be longer
        assert!(bytes <= most, "{window:?}: {bytes} bytes");
        let ((), usage) = ALLOCATOR.measure(|| {
            for _ in 0..1000 {
                poll(breaker.call(ready(Ok::<_, ()>(1)))); // none is slow
            }
        });
        assert_eq!(usage.allocations, 0, "{window:?}");
        drop(breaker);
    }
}

#[test]
fn a_slow_vote_makes_room_for_its_like_once() {
    let clock = cortex_testkit::ManualClock::new();
    let builder = Breaker::builder("test").shards(0).clock(clock.clone());
    let builder = builder.window(Window::time(Duration::from_mins(1)));
    let builder = builder.slow_call(Duration::from_secs(1), 1.0).min_calls(1000);
    let breaker = builder.build().expect("the settings make sense");
    poll(breaker.call(ready(Ok::<_, ()>(1))));
    let slow = || {
        let permit = breaker.try_acquire().expect("it is closed");
        clock.advance(Duration::from_secs(2));
        permit.success();
    };
    let ((), usage) = ALLOCATOR.measure(slow);
    assert_eq!((usage.allocations, usage.retained()), (1, 60 * 4));
    let ((), usage) = ALLOCATOR.measure(|| (0..100).for_each(|_| slow()));
    assert_eq!(usage.allocations, 0);
    assert!(breaker.snapshot().slow_ok > 0);
}

/// Whatever its budget is, and although it may be tried again, or beside itself.
#[cfg(feature = "tokio")]
#[test]
fn a_call_that_succeeds_at_once_is_retried_and_hedged_for_nothing() {
    let budgets = [
        Budget::throttle(10, 0.1),
        Ok(Budget::aws()),
        Budget::windowed(0.2).build(),
        Budget::in_flight(0.2, 3),
    ];
    for budget in budgets {
        let budget = budget.expect("the settings make sense");
        let retry = Retry::builder("test")
            .within(Duration::from_secs(1))
            .budget(budget.clone())
            .build()
            .expect("the settings make sense");
        let hedge = Hedge::builder("test").budget(budget).build();
        let hedge = hedge.expect("the settings make sense");
        let ((), usage) = ALLOCATOR.measure(|| {
            for _ in 0..100 {
                poll(retry.call(|attempt| ready(Ok::<_, ()>(attempt.number()))));
                poll(hedge.call(|attempt| ready(Ok::<_, ()>(attempt.number()))));
            }
        });
        assert_eq!(usage.allocations, 0);
    }
}

#[cfg(feature = "tokio")]
#[test]
fn neither_does_a_timeout() {
    let timeout = cortex_resilience::timeout::Timeout::builder("test")
        .attempt(Duration::from_secs(1))
        .build()
        .expect("the settings make sense");
    let ((), usage) = ALLOCATOR.measure(|| {
        for _ in 0..100 {
            poll(timeout.call(ready(Ok::<_, ()>(1))));
        }
    });
    assert_eq!(usage.allocations, 0);
}

#[cfg(feature = "tokio")]
#[test]
fn neither_does_a_rate_limiter() {
    use cortex_resilience::rate_limit::{KeyedRateLimiter, RateLimiter};
    let limiter = RateLimiter::builder("test").limit(150, Duration::from_hours(1));
    let limiter = limiter.build().expect("the settings make sense");
    let keyed = KeyedRateLimiter::builder("test").limit(1, Duration::from_hours(1));
    let keyed = keyed.build().expect("the settings make sense");
    let ((), usage) = ALLOCATOR.measure(|| {
        for key in 0..100 {
            poll(limiter.call(ready(Ok::<_, ()>(1))));
            let _ = (limiter.try_acquire(), keyed.try_acquire(&(key % 60)));
        }
    });
    assert_eq!((limiter.snapshot().rejected, keyed.rejected()), (50, 40));
    assert_eq!(usage.allocations, 0);
}

#[cfg(feature = "tokio")]
#[test]
fn neither_does_a_bulkhead_nor_a_queue_that_was_used_before() {
    use cortex_resilience::bulkhead::Bulkhead;
    let bulkhead = Bulkhead::builder("test").max_concurrent(1).queue(2);
    let bulkhead = bulkhead.build().expect("the settings make sense");
    let wait = || {
        let running = bulkhead.try_acquire().expect("nobody runs");
        let mut waits = (pin!(bulkhead.acquire()), pin!(bulkhead.acquire()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waits.0.as_mut().poll(&mut cx).is_pending());
        assert!(waits.1.as_mut().poll(&mut cx).is_pending());
        drop(running);
        assert!(waits.0.as_mut().poll(&mut cx).is_ready());
        assert!(waits.1.as_mut().poll(&mut cx).is_ready());
    };
    wait();
    let ((), usage) = ALLOCATOR.measure(|| {
        for _ in 0..100 {
            poll(bulkhead.call(ready(Ok::<_, ()>(1))));
            drop(bulkhead.try_acquire_owned());
            wait();
        }
    });
    assert_eq!(usage.allocations, 0);
}

#[test]
fn an_adaptive_limit_allocates_nothing_for_a_call() {
    let limit = AdaptiveLimit::builder("test", Gradient2::new(1..=100)).build();
    let limit = limit.expect("the settings make sense");
    let ((), usage) = ALLOCATOR.measure(|| {
        for round in 0..100 {
            poll(limit.call(ready(if round % 10 == 0 { Err(round) } else { Ok(round) })));
            drop(limit.try_acquire());
            drop(limit.try_acquire_owned());
        }
    });
    assert_eq!(usage.allocations, 0);
}

#[test]
fn a_throttle_allocates_nothing_for_a_call() {
    let throttle = AdaptiveThrottle::builder("test").build();
    let throttle = throttle.expect("the settings make sense");
    let ((), usage) = ALLOCATOR.measure(|| {
        for round in 0..100 {
            poll(throttle.call(ready(if round % 10 == 0 { Err(round) } else { Ok(round) })));
        }
    });
    assert_eq!(usage.allocations, 0);
}

fn hosts() -> Registry<u64, Breaker> {
    let make = |_: &u64| {
        let builder = Breaker::builder("hosts").window(Window::count(100)).shards(0);
        builder.build().expect("the settings make sense")
    };
    let hosts = Registry::builder("hosts").build(make);
    hosts.expect("the settings make sense")
}

#[test]
fn a_policy_that_is_there_is_got_without_an_allocation() {
    let hosts = hosts();
    let _made = hosts.get(&1);
    let ((), usage) = ALLOCATOR.measure(|| {
        for _ in 0..100 {
            drop(hosts.get(&1));
        }
    });
    assert_eq!(usage.allocations, 0);
}

#[test]
fn a_breaker_for_each_key_takes_a_kibibyte_at_most() {
    let hosts = hosts();
    let ((), usage) = ALLOCATOR.measure(|| {
        for key in 0..5000 {
            drop(hosts.get(&key));
        }
    });
    let each = usage.retained() / 5000;
    assert!(each <= 1024, "{each} bytes");
}

#[test]
fn load_shed_fallback_and_chaos_allocate_nothing_for_a_call() {
    let shed = LoadShed::builder("test").policy(|| false).build();
    let fallback = Fallback::builder("test").value(7).build();
    let chaos = Chaos::builder("test").error(0.5, || 7).build();
    let chaos = chaos.expect("the settings make sense");
    let ((), usage) = ALLOCATOR.measure(|| {
        for round in 0..100 {
            poll(shed.call(ready(Ok::<_, u8>(1))));
            poll(fallback.call(ready(if round % 10 == 0 { Err(round) } else { Ok(round) })));
            poll(chaos.call(ready(Ok(1))));
            chaos.enable();
        }
    });
    assert_eq!(usage.allocations, 0);
}

/// With those who count and tell what is decided, once a thread has found its counters.
#[cfg(all(feature = "metrics", feature = "trace"))]
#[test]
fn observers_allocate_nothing() {
    use cortex_metrics::Registry as Metered;
    use cortex_resilience::metrics::Metrics;
    use cortex_resilience::trace::Log;
    use cortex_resilience::{Event, Observer};

    let metrics = Metrics::register(&Metered::default()).expect("nothing has its names");
    let one = metrics.policy("test");
    let observer = (Log::new(), (metrics, one.clone()));
    let breaker = Breaker::builder("test").observe(observer).build();
    let breaker = breaker.expect("the settings make sense");
    let work = || {
        breaker.force_open();
        for _ in 0..100 {
            poll(breaker.call(ready(Ok::<_, ()>(1))));
        }
        breaker.close();
        poll(breaker.call(ready(Ok::<_, ()>(1))));
        one.on_event("test", &Event::Late);
    };
    work(); // the thread finds its counters
    let ((), usage) = ALLOCATOR.measure(work);
    assert_eq!(usage.allocations, 0);
}

/// Through all policies of both orders, also where the call has to wait once, and through the layers of them.
#[cfg(all(feature = "tokio", feature = "tower"))]
mod pipelines {
    use super::*;
    use cortex_resilience::ErrIsFailure;
    use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer};
    use cortex_resilience::circuit::BreakerLayer;
    use cortex_resilience::fallback::FallbackLayer;
    use cortex_resilience::gate::GateLayer;
    use cortex_resilience::hedge::HedgeLayer;
    use cortex_resilience::pipeline::{OuterBreaker, Pipeline, Standard};
    use cortex_resilience::rate_limit::{RateLimitLayer, RateLimiter};
    use cortex_resilience::retry::RetryLayer;
    use cortex_resilience::timeout::{Timeout, TimeoutLayer};
    use std::pin::Pin;
    use std::task::Poll;
    use tower_layer::Layer;
    use tower_service::Service;

    /// Pending as often as it says.
    struct Later(u32);

    impl Future for Later {
        type Output = Result<u32, ()>;

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            match self.0 {
                0 => Poll::Ready(Ok(7)),
                left => {
                    self.0 = left - 1;
                    Poll::Pending
                }
            }
        }
    }

    #[derive(Clone)]
    struct Waits;

    impl Service<u32> for Waits {
        type Response = u32;
        type Error = ();
        type Future = Later;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, times: u32) -> Later {
            Later(times)
        }
    }

    fn finish<T, E>(future: impl Future<Output = Result<T, E>>, pends: u32) {
        let mut future = pin!(future);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..pends {
            assert!(future.as_mut().poll(&mut cx).is_pending());
        }
        assert!(matches!(future.poll(&mut cx), Poll::Ready(Ok(_))));
    }

    /// Does it once to warm up, and then counts.
    fn allocates_nothing(what: &str, mut call: impl FnMut(u32)) {
        call(0);
        call(1);
        let ((), usage) = ALLOCATOR.measure(|| {
            for _ in 0..100 {
                call(0);
                call(1);
            }
        });
        assert_eq!(usage.allocations, 0, "{what}");
    }

    fn serves(what: &str, mut service: impl Service<u32>) {
        allocates_nothing(what, |pends| {
            let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(ready, Poll::Ready(Ok(()))));
            finish(service.call(pends), pends);
        });
    }

    fn in_runtime(work: impl FnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let runtime = runtime.expect("a runtime");
        let _entered = runtime.enter();
        work();
    }

    #[test]
    fn neither_do_the_pipelines_nor_their_layers() {
        let clock = CoarseClock::start(Duration::from_millis(1)).expect("a thread can be started");
        let limiter = RateLimiter::builder("test").limit(1_000_000, Duration::from_secs(1));
        let limiter = limiter
            .clock(clock.clone())
            .build()
            .expect("the settings make sense");
        let standard: Standard<RateLimiter<(), CoarseClock>, ErrIsFailure, (), CoarseClock> =
            Pipeline::standard("test")
                .rate_limit(limiter)
                .clock(clock.clone())
                .build()
                .expect("the settings make sense");
        let outer: OuterBreaker<ErrIsFailure, (), CoarseClock> = Pipeline::outer_breaker("test")
            .clock(clock)
            .build()
            .expect("the settings make sense");
        in_runtime(|| {
            allocates_nothing("standard", |pends| finish(standard.call(|_| Later(pends)), pends));
            allocates_nothing("outer_breaker", |pends| {
                finish(outer.call(|_| Later(pends)), pends);
            });
            serves(
                "the layer of standard",
                standard.layer_for(cortex_resilience::Cloned).layer(Waits),
            );
            serves(
                "the layer of outer_breaker",
                outer.layer_for(cortex_resilience::Cloned).layer(Waits),
            );
        });
    }

    /// Nor does a vote that waits for the body.
    #[cfg(feature = "http")]
    #[test]
    fn neither_does_a_body_that_votes() {
        use cortex_resilience::http::{GrpcClassify, HttpClassify};
        use http::{Request, Response};
        use http_body::Body;

        #[derive(Clone)]
        struct Upstream;

        impl Service<Request<()>> for Upstream {
            type Response = Response<http_body_util::Full<bytes::Bytes>>;
            type Error = ();
            type Future = std::future::Ready<Result<Self::Response, ()>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, _: Request<()>) -> Self::Future {
                let body = http_body_util::Full::new(bytes::Bytes::from_static(b"answer"));
                ready(Ok(Response::new(body)))
            }
        }

        fn reads<B: Body>(what: &str, mut service: impl Service<Request<()>, Response = Response<B>>) {
            allocates_nothing(what, |_| {
                let mut cx = Context::from_waker(Waker::noop());
                assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
                let answer = pin!(service.call(Request::new(()))).poll(&mut cx);
                let Poll::Ready(Ok(answer)) = answer else {
                    panic!("it is answered at once")
                };
                let mut body = pin!(answer.into_body());
                while let Poll::Ready(Some(_)) = body.as_mut().poll_frame(&mut cx) {}
            });
        }

        let breaker = Breaker::builder("test").slow_call(Duration::from_secs(1), 0.5);
        let breaker = breaker.classify(HttpClassify::new());
        let breaker = breaker.build().expect("the settings make sense");
        reads(
            "breaker",
            BreakerLayer::new(breaker.clone())
                .until_body_end()
                .layer(Upstream),
        );
        assert!(breaker.snapshot().ok > 0);
        let limit = AdaptiveLimit::builder("test", Gradient2::new(1..=100)).classify(GrpcClassify::new());
        let limit = limit.build().expect("the settings make sense");
        reads(
            "adaptive limit",
            GateLayer::new(limit).until_body_end().layer(Upstream),
        );
    }

    #[test]
    fn neither_does_a_layer() {
        const GOOD: &str = "the settings make sense";
        in_runtime(|| {
            let breaker = Breaker::builder("test").build().expect(GOOD);
            serves("breaker", BreakerLayer::new(breaker).layer(Waits));
            let retry = Retry::builder("test").budget(Budget::aws()).build().expect(GOOD);
            serves("retry", RetryLayer::new(retry).layer(Waits));
            let hedge = Hedge::builder("test").build().expect(GOOD);
            serves("hedge", HedgeLayer::new(hedge).layer(Waits));
            let bulkhead = Bulkhead::builder("test").max_concurrent(1).build().expect(GOOD);
            serves("bulkhead", BulkheadLayer::new(bulkhead).layer(Waits));
            let timeout = Timeout::builder("test").attempt(Duration::from_mins(1));
            let timeout = timeout.build().expect(GOOD);
            serves("timeout", TimeoutLayer::new(timeout).layer(Waits));
            let limiter = RateLimiter::builder("test").limit(1_000_000, Duration::from_secs(1));
            serves(
                "rate limiter",
                RateLimitLayer::new(limiter.build().expect(GOOD)).layer(Waits),
            );
            let limit = AdaptiveLimit::builder("test", Gradient2::new(1..=100)).build();
            serves("adaptive limit", GateLayer::new(limit.expect(GOOD)).layer(Waits));
            let throttle = AdaptiveThrottle::builder("test").build().expect(GOOD);
            serves("throttle", GateLayer::new(throttle).layer(Waits));
            let shed = LoadShed::builder("test").policy(|| false).build();
            serves("load shed", GateLayer::new(shed).layer(Waits));
            let fallback = Fallback::builder("test").value(7).build();
            serves("fallback", FallbackLayer::new(fallback).layer(Waits));
        });
    }
}
