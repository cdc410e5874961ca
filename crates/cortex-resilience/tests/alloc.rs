//! What is asked of the allocator: nothing for a call.
//!
//! A binary of its own: it replaces the allocator.

use cortex_core::{CoarseClock, SystemClock};
use cortex_resilience::circuit::{Breaker, State, Window};
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
fn a_breaker_without_shards_is_small() {
    let (breaker, usage) = ALLOCATOR.measure(|| {
        let builder = Breaker::builder("test").window(Window::count(100)).shards(0);
        builder
            .clock(SystemClock)
            .build()
            .expect("the settings make sense")
    });
    assert!(usage.retained() <= 1024, "{} bytes", usage.retained());
    drop(breaker);
}
