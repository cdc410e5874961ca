//! A breaker by itself.

use std::future::ready;
use std::hint::black_box;
use std::io;
use std::pin::pin;
use std::time::Duration;

use cortex_core::CoarseClock;
use cortex_resilience::circuit::{BreakerLayer, Window};
use criterion::Criterion;
use failsafe::futures::CircuitBreaker as _;
use recloser::{AsyncRecloser, Recloser};
use tower_layer::Layer;
use tower_resilience::circuitbreaker::CircuitBreakerLayer;

use super::{Echo, MINUTE, Ours, SLOW, TOWER_RESILIENCE, finish, of, ok, ours, serve};

pub(crate) fn bench(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    closed(criterion, clock)?;
    failing(criterion, clock)?;
    rejected(criterion, clock)
}

fn closed(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    let bare = || || finish(pin!(ok()));
    of(criterion, "closed", "bare", bare)?;
    let time = ours(clock, |builder| builder.window(Window::time(MINUTE)));
    of(criterion, "closed", "cortex", || || finish(pin!(time.call(ok()))))?;
    let count = ours(clock, |builder| builder.window(Window::count(100)));
    of(criterion, "closed", "cortex-count", || {
        || finish(pin!(count.call(ok())))
    })?;
    let layer = BreakerLayer::new(time.clone());
    of(criterion, "closed", "cortex-layer", || {
        let mut service = layer.layer(Echo);
        move || serve(&mut service)
    })?;
    let recloser = AsyncRecloser::from(Recloser::custom().closed_len(100).build());
    of(criterion, "closed", "recloser", || {
        || finish(pin!(recloser.call(ok())))
    })?;
    let failsafe = failsafe::Config::new().build();
    of(criterion, "closed", "failsafe", || {
        let failsafe = failsafe.clone();
        move || finish(pin!(failsafe.call(ok())))
    })?;
    let layer = CircuitBreakerLayer::builder()
        .sliding_window_size(100)
        .slow_call_duration_threshold(SLOW)
        .build()
        .expect("the settings make sense");
    let shared = layer.layer(Echo);
    of(criterion, "closed", TOWER_RESILIENCE, || {
        let mut service = shared.clone();
        move || serve(&mut service)
    })
}

/// One call in a hundred fails, which is far from what opens it.
fn failing(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    let mixed = |breaker: &Ours| {
        let (breaker, mut round) = (breaker.clone(), 0_u32);
        move || {
            round = (round + 1) % 100;
            let result = if round == 0 { Err(()) } else { Ok(black_box(7)) };
            finish(pin!(breaker.call(ready(result)))) || round == 0
        }
    };
    let time = ours(clock, |builder| builder.window(Window::time(MINUTE)));
    of(criterion, "failing", "cortex", || mixed(&time))?;
    let count = ours(clock, |builder| builder.window(Window::count(100)));
    of(criterion, "failing", "cortex-count", || mixed(&count))
}

fn rejected(criterion: &mut Criterion, clock: &CoarseClock) -> io::Result<()> {
    let breaker = ours(clock, |builder| builder.break_for(Duration::from_hours(24)));
    breaker.open().expect("it may");
    of(criterion, "rejected", "cortex", || {
        || breaker.try_acquire().is_err()
    })?;
    let recloser = Recloser::custom()
        .closed_len(1)
        .open_wait(Duration::from_hours(24))
        .build();
    for _ in 0..4 {
        let _ = recloser.call(|| Err::<(), ()>(()));
    }
    of(criterion, "rejected", "recloser", || {
        || recloser.call(|| Ok::<(), ()>(())).is_err()
    })
}
