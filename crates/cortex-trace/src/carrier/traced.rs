use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Captured;

pin_project! {
    /// A message, a closure or a future, together with what was current when it was made, which is current again
    /// wherever and whenever it runs.
    ///
    /// As a future it attaches what it captured around every poll, and as anything else in [`run`](Self::run); always
    /// around the drop of the value, so that what its destructors log still carries the ids.
    ///
    /// # Cancel safety
    ///
    /// As safe as the inner future: dropping this drops it.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_core::Context;
    /// use cortex_trace::{Traced, Tracer};
    ///
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let worker = std::thread::spawn(move || {
    ///     let message: Traced<&str> = receiver.recv().ok()?;
    ///     Some(message.run(|text| (text, Context::current())))
    /// });
    ///
    /// let span = Tracer::propagate_only().span("order").start();
    /// let sent = span.in_scope(|| sender.send(Traced::new("two apples")));
    /// assert!(sent.is_ok());
    /// assert_eq!(worker.join().ok().flatten(), Some(("two apples", span.context())));
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct Traced<T> {
        captured: Captured,
        // `None` only in a value that is being taken apart or dropped.
        #[pin]
        value: Option<T>,
    }

    impl<T> PinnedDrop for Traced<T> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.value.is_some() {
                let _guard = this.captured.attach();
                this.value.set(None);
            }
        }
    }
}

const TAKEN: &str = "invariant: taken only by methods that consume this";

impl<T> Traced<T> {
    /// Wraps `value` with what is current now.
    pub fn new(value: T) -> Self {
        Self::with(Captured::current(), value)
    }

    /// Wraps `value` with what was captured elsewhere: `Traced::with(span.captured(), future)`.
    pub const fn with(captured: Captured, value: T) -> Self {
        Self {
            captured,
            value: Some(value),
        }
    }

    /// Returns what `value` runs under.
    pub const fn captured(&self) -> &Captured {
        &self.captured
    }

    /// Returns the value.
    ///
    /// # Panics
    ///
    /// Never: the value is there until this is consumed.
    pub fn get_ref(&self) -> &T {
        self.value.as_ref().expect(TAKEN)
    }

    /// Gives the value to `work`, under what was captured.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::{Traced, Tracer};
    ///
    /// let span = Tracer::propagate_only().span("import").start();
    /// let work = Traced::with(span.captured(), cortex_core::Context::current);
    /// assert_eq!(work.run(|work| work()), span.context());
    /// ```
    pub fn run<R>(self, work: impl FnOnce(T) -> R) -> R {
        let (captured, value) = self.into_parts();
        let _guard = captured.attach();
        work(value)
    }

    /// Returns what was captured, and the value.
    ///
    /// # Panics
    ///
    /// Never: the value is there until this is consumed.
    pub fn into_parts(mut self) -> (Captured, T) {
        let value = self.value.take().expect(TAKEN);
        (std::mem::take(&mut self.captured), value)
    }
}

impl<F: Future> Future for Traced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _guard = this.captured.attach();
        this.value.as_pin_mut().expect(TAKEN).poll(cx)
    }
}

impl<T: Clone> Clone for Traced<T> {
    fn clone(&self) -> Self {
        Self {
            captured: self.captured.clone(),
            value: self.value.clone(),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Traced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced")
            .field("captured", &self.captured)
            .field("value", self.get_ref())
            .finish()
    }
}
