//! Other answers where calls fail.

use crate::support::Log;
use cortex_resilience::fallback::Fallback;
use cortex_resilience::{Event, Outcome};
use std::cell::Cell;
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn now<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is ready at once"),
    }
}

#[test]
fn a_value_a_function_or_a_future_answers() {
    let log = Log::new();
    let builder = || Fallback::builder("test").observe(log.clone());
    let value = builder().value(7).build();
    assert_eq!(now(value.call(ready(Ok::<_, &str>(1)))), Ok(1));
    assert_eq!(log.all(), []);
    assert_eq!(now(value.call(ready(Err("no")))), Ok(7));
    let function = builder().function(|failed: Result<usize, &str>| failed.or_else(|why| Ok(why.len())));
    assert_eq!(now(function.build().call(ready(Err::<usize, _>("nope")))), Ok(4));
    let fails = builder().async_function(|failed: Result<u8, &'static str>| async move {
        failed.map_err(|why| if why == "no" { "not even then" } else { why })
    });
    assert_eq!(
        now(fails.build().call(ready(Err::<u8, _>("no")))),
        Err("not even then")
    );
    assert_eq!(log.all(), [Event::FellBack; 3]);
    let unset = builder().build();
    assert_eq!(now(unset.call(ready(Err::<u8, _>("no")))), Err("no"));
}

#[test]
fn only_what_is_covered_is_answered_also_if_it_is_ok() {
    let builder = Fallback::builder("test").value(200_u16);
    let by_status = |result: Result<&u16, &u8>| match result {
        Ok(500..) => Outcome::Failure,
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Ignore,
    };
    let fallback = builder.clone().classify(by_status).build();
    assert_eq!(now(fallback.call(ready(Ok(503)))), Ok(200));
    assert_eq!(now(fallback.call(ready(Ok(404)))), Ok(404));
    assert_eq!(now(fallback.call(ready(Err(9)))), Err(9));
    let fallback = builder
        .when(|result: Result<&u16, &u8>| result == Err(&1))
        .build();
    assert_eq!(now(fallback.call(ready(Err(1)))), Ok(200));
    assert_eq!(now(fallback.call(ready(Err(2)))), Err(2));
    assert_eq!(now(fallback.call(ready(Ok(503)))), Ok(503));
}

/// Tells when it is dropped.
struct Dropped<'a>(&'a Cell<u32>);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn the_first_future_is_gone_before_the_other_runs_and_both_with_the_call() {
    let drops = Cell::new(0);
    let other = |_: Result<u8, u8>| async {
        let _guard = Dropped(&drops);
        assert_eq!(drops.get(), 1);
        pending().await
    };
    let fallback = Fallback::builder("test").async_function(other).build();
    let mut call = Box::pin(fallback.call(async {
        let _guard = Dropped(&drops);
        Err::<u8, u8>(1)
    }));
    assert!(poll(call.as_mut()).is_pending() && poll(call.as_mut()).is_pending());
    assert!(format!("{call:?}").contains("other"));
    drop(call);
    assert_eq!(drops.get(), 2);
    let mut call = Box::pin(fallback.call(async {
        let _guard = Dropped(&drops);
        pending().await
    }));
    assert!(poll(call.as_mut()).is_pending());
    drop(call);
    assert_eq!(drops.get(), 3);
}

#[test]
fn panics_and_late_polls_stay_panics() {
    let function = |_: Result<u8, u8>| -> Result<u8, u8> { panic!("on purpose") };
    let fallback = Fallback::builder("test").function(function).build();
    let mut call = Box::pin(fallback.call(ready(Err::<u8, u8>(1))));
    for _ in 0..2 {
        assert!(catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))).is_err());
    }
    let fallback = Fallback::builder("test").value(1).build();
    let mut call = Box::pin(fallback.call(ready(Err::<u8, u8>(1))));
    assert!(poll(call.as_mut()).is_ready());
    assert!(catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))).is_err());
}

#[cfg(feature = "tower")]
#[test]
fn a_service_with_a_fallback_keeps_to_the_contract() {
    use crate::gate_service::{Inner, State, answer, ready};
    use cortex_resilience::fallback::{Error, FallbackLayer};
    use tower::{Layer, Service};

    let when = |result: Result<&(), &&'static str>| result == Err(&"bad");
    let layer = FallbackLayer::new(Fallback::builder("test").value(()).when(when).build());
    let mut service = layer.clone().layer(Inner::default());
    assert_eq!(answer(service.call(true)), Err(Error::NotReady));
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    assert_eq!(answer(service.clone().call(true)), Err(Error::NotReady));
    assert_eq!(answer(service.call(false)), Ok(()));
    assert_eq!(answer(service.call(false)), Err(Error::NotReady));
    let of = |state| Inner {
        state,
        ..Inner::default()
    };
    assert_eq!(ready(&mut layer.layer(of(State::Pends))), Poll::Pending);
    let broken = ready(&mut layer.layer(of(State::Broken)));
    assert_eq!(broken, Poll::Ready(Err(Error::Inner("broken"))));
}
