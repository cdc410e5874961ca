use super::Guest;
use crate::{Deadline, Error, HostCx, HostError, Imports};
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;
use wasmer::Value;

const CALLER: &str = r#"(module
    (import "env" "f" (func $f (result i32)))
    (func (export "call") (result i32) (call $f))
    (func (export "spin") (result i32) (loop $spin (drop (call $f)) (br $spin)) (i32.const 0)))"#;

const SOON: Deadline = Deadline::Wall(Duration::from_millis(3));

fn guest<F>(function: F) -> Guest
where
    F: Fn(&mut HostCx<'_>) -> Result<u32, HostError> + Send + Sync + 'static,
{
    Guest::new(CALLER, &Imports::new().function("env", "f", function))
}

/// Tells that it was dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_host_function_that_looks_ends_with_the_time_of_the_call() {
    let mut guest = guest(|cx| {
        assert_eq!(cx.deadline(), SOON);
        while !cx.is_over() {
            std::hint::spin_loop();
        }
        cx.check()?;
        Ok(0)
    });
    guest.deadline = SOON;
    let error = guest.call("call", &[]).unwrap_err();
    assert!(
        matches!(error, Error::Timeout { deadline } if deadline == SOON),
        "{error}"
    );
}

#[test]
fn one_that_does_not_look_is_not_called_again() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let mut guest = guest(move |cx| {
        counted.fetch_add(1, Ordering::Relaxed);
        while !cx.is_over() {
            std::hint::spin_loop();
        }
        Ok(0)
    });
    guest.deadline = SOON;
    // Its own look for a stop comes only after a million operators.
    assert!(guest.try_call("spin", &[]).is_err());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(guest.usage().calls, 2, "the second one was refused");
}

#[test]
fn fuel_that_is_used_up_is_seen_too() {
    let text = r#"(module (import "env" "f" (func $f)) (func (export "call") (loop $l (call $f) (br $l))))"#;
    let imports = Imports::new().function("env", "f", |cx: &mut HostCx<'_>| -> Result<(), HostError> {
        assert!(!cx.is_over(), "there is fuel as long as the guest runs");
        Ok(())
    });
    let mut guest = Guest::new(text, &imports);
    guest.deadline = Deadline::Fuel(1000);
    let error = guest
        .try_call("call", &[])
        .unwrap_err()
        .expect("its end has no error");
    assert!(
        error.downcast_ref::<Error>().is_none(),
        "the guest's own look found it"
    );
    assert!(guest.usage().calls > 50);
}

#[test]
fn a_future_is_waited_for_and_woken() {
    let mut guest = guest(|cx| {
        let rang = Arc::new(AtomicBool::new(false));
        let value = cx.block_on(poll_fn(move |task| {
            if rang.load(Ordering::Acquire) {
                return Poll::Ready(7);
            }
            let (waker, rang) = (task.waker().clone(), Arc::clone(&rang));
            std::thread::spawn(move || {
                rang.store(true, Ordering::Release);
                waker.wake();
            });
            Poll::Pending
        }))?;
        Ok(value)
    });
    for deadline in [Deadline::None, Deadline::Wall(Duration::from_hours(1))] {
        guest.deadline = deadline;
        assert_eq!(guest.call("call", &[]).unwrap(), Some(Value::I32(7)));
    }
}

#[test]
fn a_future_is_dropped_when_the_time_is_over() {
    let dropped = Arc::new(AtomicBool::new(false));
    let guard = Arc::clone(&dropped);
    let mut guest = guest(move |cx| {
        let guard = Dropped(Arc::clone(&guard));
        let waited = cx.block_on(async move {
            let _guard = guard;
            pending::<u32>().await
        });
        assert!(waited.is_err());
        Ok(waited?)
    });
    guest.deadline = SOON;
    let error = guest.call("call", &[]).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(dropped.load(Ordering::Relaxed));
}

#[test]
fn a_future_that_is_always_woken_ends_with_the_time_too() {
    let mut guest = guest(|cx| {
        Ok(cx.block_on(poll_fn(|task| {
            task.waker().wake_by_ref();
            Poll::<u32>::Pending
        }))?)
    });
    guest.deadline = SOON;
    assert!(matches!(guest.call("call", &[]), Err(Error::Timeout { .. })));
}

#[test]
fn an_async_function_is_called_like_any_other() {
    let dropped = Arc::new(AtomicBool::new(false));
    let guard = Arc::clone(&dropped);
    let imports = Imports::new().data(|| 40_u32).function_async(
        "env",
        "f",
        async move |cx: &mut HostCx<'_>, mode: u32| -> Result<u32, HostError> {
            let _guard = Dropped(Arc::clone(&guard));
            *cx.data::<u32>()? += 1;
            match mode {
                0 => pending().await,
                1 => Err(HostError::new("not found")),
                2 => panic!("lost"),
                _ => {
                    std::future::ready(()).await;
                    Ok(*cx.data::<u32>()? + mode)
                }
            }
        },
    );
    let text = r#"(module (import "env" "f" (func $f (param i32) (result i32)))
        (func (export "call") (param i32) (result i32) (call $f (local.get 0))))"#;
    let mut guest = Guest::new(text, &imports);
    let mut call = |mode: i32, deadline| {
        guest.deadline = deadline;
        dropped.store(false, Ordering::Relaxed);
        let result = guest.call("call", &[Value::I32(mode)]);
        assert!(dropped.load(Ordering::Relaxed));
        result
    };
    assert_eq!(call(3, Deadline::None).unwrap(), Some(Value::I32(44)));
    assert!(matches!(call(0, SOON), Err(Error::Timeout { .. })));
    assert!(matches!(call(1, Deadline::None), Err(Error::Host { .. })));
    assert!(matches!(call(2, Deadline::None), Err(Error::HostPanic { .. })));
}

#[test]
fn a_call_that_nobody_waits_for_is_over_for_host_functions_too() {
    let mut guest = guest(|cx| Ok(cx.block_on(pending::<u32>())?));
    guest.stop_next = true;
    let error = guest.call("call", &[]).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}
