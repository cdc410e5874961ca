use crate::deadline::{Deadline, Gauge};
use crate::error::Error;
use cortex_core::Clock;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// So long a thread waits before it looks whether the time of the call is over.
const TICK: Duration = Duration::from_millis(1);

/// Waits on behalf of a guest, for as long as its call may run.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    pub(super) gauge: Option<Gauge>,
    pub(super) deadline: Deadline,
}

impl Patience {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.gauge.as_ref().is_some_and(Gauge::is_over) {
            return Err(Error::Timeout {
                deadline: self.deadline,
            });
        }
        Ok(())
    }

    /// Waits for a future, which is dropped when the time is over.
    pub(super) fn wait<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        let mut future = pin!(future);
        let alarm = Arc::new(Alarm {
            thread: std::thread::current(),
            rang: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&alarm));
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Ok(output);
            }
            // Somebody else may use up the token of the thread, or leave one.
            while !alarm.rang.swap(false, Ordering::Acquire) {
                self.check()?;
                self.park();
            }
            self.check()?;
        }
    }

    /// Waits until the thread is woken, or has to look whether the time is over.
    fn park(&self) {
        match &self.gauge {
            Some(gauge) if gauge.is_watched() => std::thread::park_timeout(TICK),
            _ => std::thread::park(),
        }
    }

    /// Waits so long by a clock.
    pub(super) fn sleep(&self, clock: &dyn Clock, time: Duration) -> Result<(), Error> {
        let begun = clock.now();
        loop {
            self.check()?;
            let left = time.saturating_sub(clock.now().saturating_duration_since(begun));
            if left.is_zero() {
                return Ok(());
            }
            std::thread::park_timeout(left.min(TICK));
        }
    }
}

struct Alarm {
    thread: Thread,
    rang: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
