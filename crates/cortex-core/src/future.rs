#![expect(
    unsafe_code,
    reason = "pin projection without a dependency; the drop tests run under the sanitizers"
)]

use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::Poll;

use crate::Context;

/// A future that runs under a [`Context`]: attached around every poll, and around its drop.
///
/// # Cancel safety
///
/// As safe as the inner future: dropping this drops it, under the context, so that what its destructors log still
/// carries the ids.
///
/// # Examples
///
/// ```
/// use cortex_core::{Context, Flags, FutureExt, SpanId, TraceId};
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::{Poll, Waker};
///
/// let ids = TraceId::new(7).zip(SpanId::new(7)).ok_or("zero")?;
/// let context = Context::new().with_span(ids.0, ids.1, Flags::NONE);
/// let mut future = pin!(async { Context::current().trace_id() }.with_context(context));
/// let answer = future.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
/// assert_eq!(answer, Poll::Ready(Some(ids.0)));
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WithContext<F> {
    inner: ManuallyDrop<F>,
    context: Context,
}

/// Adds [`with_context`](Self::with_context) to every future.
pub trait FutureExt: Sized {
    /// Runs this future under `context`, whichever thread polls it.
    fn with_context(self, context: Context) -> WithContext<Self> {
        WithContext {
            inner: ManuallyDrop::new(self),
            context,
        }
    }

    /// Runs this future under the context that is current now: for work that is about to be spawned.
    fn in_current_context(self) -> WithContext<Self> {
        self.with_context(Context::current())
    }
}

impl<F: Future> FutureExt for F {}

impl<F> WithContext<F> {
    fn project(self: Pin<&mut Self>) -> (Pin<&mut F>, Context) {
        // SAFETY: `inner` is pinned whenever `self` is: it is never moved out or handed out unpinned, `Drop` drops it
        // in place, and `WithContext` is `Unpin` only if `F` is (the automatic impl).
        unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut *this.inner), this.context)
        }
    }
}

impl<F: Future> Future for WithContext<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<F::Output> {
        let (inner, context) = self.project();
        let _guard = context.attach();
        inner.poll(cx)
    }
}

impl<F> Drop for WithContext<F> {
    fn drop(&mut self) {
        let _guard = self.context.attach();
        // SAFETY: dropped in place, once, and not used afterwards.
        unsafe { ManuallyDrop::drop(&mut self.inner) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flags, SpanId, TraceId};
    use std::pin::pin;
    use std::rc::Rc;
    use std::sync::mpsc;
    use std::task::Waker;

    fn numbered(n: u64) -> Context {
        Context::new().with_span(
            TraceId::new(n.into()).unwrap(),
            SpanId::new(n).unwrap(),
            Flags::NONE,
        )
    }

    struct TellsWhereItDrops(mpsc::Sender<Context>);

    impl Drop for TellsWhereItDrops {
        fn drop(&mut self) {
            self.0.send(Context::current()).unwrap();
        }
    }

    #[test]
    fn is_attached_only_while_polled_and_dropped() {
        let (sent, dropped) = mpsc::channel();
        let witness = TellsWhereItDrops(sent);
        let mut cx = std::task::Context::from_waker(Waker::noop());
        let future = async move {
            let _witness = witness;
            assert_eq!(Context::current(), numbered(1));
            std::future::pending::<()>().await;
        };
        {
            let mut future = pin!(future.with_context(numbered(1)));
            assert!(future.as_mut().poll(&mut cx).is_pending());
            assert_eq!(Context::current(), Context::new());
        }
        assert_eq!(dropped.try_recv(), Ok(numbered(1)));
        assert_eq!(Context::current(), Context::new());
    }

    #[test]
    fn drops_its_future_exactly_once() {
        let counted = Rc::new(());
        let held = Rc::clone(&counted);
        drop(async move { drop(held) }.with_context(numbered(2)));
        assert_eq!(Rc::strong_count(&counted), 1);

        let held = Rc::clone(&counted);
        let mut future = Box::pin(async move { drop(held) }.in_current_context());
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_ready());
        drop(future);
        assert_eq!(Rc::strong_count(&counted), 1);
    }
}
