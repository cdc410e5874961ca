//! Faults on purpose.

use crate::support::{Log, millis, secs};
use cortex_resilience::Event;
use cortex_resilience::chaos::{Builder, Chaos, Fault};
use std::cell::Cell;
use std::future::{poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, timeout};

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn builder() -> Builder {
    Chaos::builder("test").seed(11)
}

#[tokio::test(start_paused = true)]
async fn it_is_off_until_it_is_switched_on_and_can_be_switched_at_any_time() {
    let log = Log::new();
    let chaos = builder()
        .latency(1.0, secs(1)..=secs(2))
        .error(1.0, || "on purpose");
    let chaos = chaos.observe(log.clone()).build().unwrap();
    let start = Instant::now();
    assert_eq!(chaos.call(ready(Ok(7))).await, Ok(7));
    assert!(start.elapsed().is_zero() && log.all().is_empty() && !chaos.is_enabled());
    chaos.clone().enable();
    assert_eq!(chaos.call(ready(Ok(7))).await, Err("on purpose"));
    let took = start.elapsed();
    assert!((secs(1)..=millis(2001)).contains(&took), "{took:?}");
    let [Event::Chaos(Fault::Latency(late)), Event::Chaos(Fault::Error)] = log.all()[..] else {
        panic!("it was late and failed")
    };
    assert!((secs(1)..=secs(2)).contains(&late));
    chaos.disable();
    assert_eq!(chaos.call(ready(Ok::<_, &str>(7))).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn hangs_make_no_call_and_losses_do() {
    for (builder, fault, made) in [
        (builder().hang(1.0), Fault::Hang, 0),
        (builder().loss(1.0), Fault::Loss, 1),
    ] {
        let (log, calls) = (Log::new(), Cell::new(0));
        let chaos = builder.observe(log.clone()).build().unwrap();
        chaos.enable();
        let call = chaos.call(async {
            calls.set(calls.get() + 1);
            Ok::<_, ()>(())
        });
        assert!(timeout(secs(3600), call).await.is_err());
        assert_eq!((calls.get(), log.all()), (made, vec![Event::Chaos(fault)]));
    }
}

#[test]
fn rates_are_shares_and_the_first_of_those_that_hit_counts() {
    let log = Log::new();
    let chaos = builder()
        .error(0.1, || 1)
        .outcome(0.5, || Ok(2))
        .observe(log.clone());
    let chaos = chaos.build().unwrap();
    chaos.enable();
    let mut seen = [0; 3];
    for _ in 0..10_000 {
        let Poll::Ready(result) = poll(pin!(chaos.call(ready(Ok::<_, usize>(0))))) else {
            panic!("it is ready at once")
        };
        seen[result.unwrap_or_else(|error| error)] += 1;
    }
    assert!(
        (900..1100).contains(&seen[1]) && (4300..4700).contains(&seen[2]),
        "{seen:?}"
    );
    assert_eq!(log.all().len(), seen[1] + seen[2]);
}

#[test]
fn the_same_seed_hits_the_same_calls_and_only_those_that_may_be() {
    let run = || {
        let chaos = builder()
            .error(0.5, || ())
            .when(|key: &str| key != "spared")
            .build()
            .unwrap();
        chaos.enable();
        let hit = |key| poll(pin!(chaos.call_for(key, ready(Ok::<_, ()>(()))))) == Poll::Ready(Err(()));
        assert!((0..100).all(|_| !hit("spared")));
        (0..100).map(|_| hit("any")).collect::<Vec<_>>()
    };
    let hits = run();
    assert_eq!(hits, run());
    assert!(hits.contains(&true) && hits.contains(&false));
}

#[test]
fn rates_that_make_no_sense_are_named() {
    for rate in [-0.1, 1.1, f64::NAN] {
        assert_eq!(builder().hang(rate).build().unwrap_err().field(), "hang");
        assert_eq!(builder().loss(rate).build().unwrap_err().field(), "loss");
        assert_eq!(builder().error(rate, || ()).build().unwrap_err().field(), "error");
        let outcome = builder().outcome(rate, || Ok::<(), ()>(())).build();
        assert_eq!(outcome.unwrap_err().field(), "outcome");
        let latency = builder().latency(rate, secs(0)..=secs(1)).build();
        assert_eq!(latency.unwrap_err().field(), "latency");
    }
    let backwards = std::ops::RangeInclusive::new(secs(2), secs(1));
    let error = builder().latency(0.1, backwards).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "accept `latency` = 2s..=1s: it is a range that is not empty"
    );
}

#[tokio::test(start_paused = true)]
async fn the_longest_latency_and_a_dropped_call_are_no_trouble() {
    let chaos = builder()
        .latency(1.0, Duration::ZERO..=Duration::MAX)
        .build()
        .unwrap();
    chaos.enable();
    for _ in 0..100 {
        let mut call = Box::pin(chaos.call(ready(Ok::<(), ()>(()))));
        let _ = poll(call.as_mut());
        drop(call);
    }
}

#[test]
fn panics_and_late_polls_stay_panics() {
    let chaos = builder().build().unwrap();
    let mut call = Box::pin(chaos.call(ready(Ok::<(), ()>(()))));
    assert!(poll(call.as_mut()).is_ready());
    assert!(catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))).is_err());
    let mut call = Box::pin(chaos.call(poll_fn(|_| -> Poll<Result<(), ()>> { panic!("on purpose") })));
    for _ in 0..2 {
        assert!(catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))).is_err());
    }
    let chaos = builder()
        .error(1.0, || -> () { panic!("on purpose") })
        .build()
        .unwrap();
    chaos.enable();
    let mut call = Box::pin(chaos.call(ready(Ok::<(), ()>(()))));
    for _ in 0..2 {
        assert!(catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))).is_err()); // what was to fail does not succeed now
    }
}

#[cfg(feature = "tower")]
#[test]
fn a_service_that_is_exposed_keeps_to_the_contract() {
    use crate::gate_service::{Inner, State, answer, ready};
    use cortex_resilience::chaos::{ChaosLayer, Error};
    use std::sync::atomic::Ordering;
    use tower::{Layer, Service};

    let inner = Inner::default();
    let chaos = builder()
        .error(1.0, || "on purpose")
        .when(|good: &bool| *good)
        .build()
        .unwrap();
    let layer = ChaosLayer::new(chaos.clone());
    let mut service = layer.clone().layer(inner.clone());
    assert_eq!(answer(service.call(true)), Err(Error::NotReady));
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    assert_eq!(answer(service.clone().call(true)), Err(Error::NotReady));
    assert_eq!(answer(service.call(true)), Ok(()));
    assert_eq!(answer(service.call(true)), Err(Error::NotReady));
    chaos.enable();
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    assert_eq!(answer(service.call(true)), Err(Error::Inner("on purpose")));
    assert_eq!(answer(service.call(false)), Err(Error::Inner("bad"))); // it stayed ready
    assert_eq!(inner.calls.load(Ordering::Relaxed), 2);
    let of = |state| Inner {
        state,
        ..Inner::default()
    };
    assert_eq!(ready(&mut layer.layer(of(State::Pends))), Poll::Pending);
    let broken = ready(&mut layer.layer(of(State::Broken)));
    assert_eq!(broken, Poll::Ready(Err(Error::Inner("broken"))));
}
