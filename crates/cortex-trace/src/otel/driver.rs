use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use cortex_core::{Clock, SystemClock};
use tokio::runtime::{Builder, Runtime};

use crate::ExportError;

/// How foreign futures are run on the thread of an exporter, which is no part of the service's runtime.
pub(super) enum Driver {
    /// By a thread that sleeps until it is woken.
    Thread,
    /// By a runtime that nobody else uses.
    Runtime(Owned),
}

/// A runtime whose drop waits for nobody: a name that is still being resolved must not hold up the end of the service.
pub(super) struct Owned(Option<Runtime>);

impl Owned {
    fn get(&self) -> &Runtime {
        self.0.as_ref().expect("invariant: taken by the drop only")
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Driver {
    pub(super) fn runtime() -> Result<Self, ExportError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self::Runtime(Owned(Some(runtime))))
    }

    /// Runs a future to its end; `None` if that does not come in time.
    pub(super) fn run<F: Future>(&self, future: F, timeout: Duration) -> Option<F::Output> {
        match self {
            Self::Thread => park(future, timeout),
            Self::Runtime(runtime) => runtime
                .get()
                .block_on(async { tokio::time::timeout(timeout, future).await.ok() }),
        }
    }

    /// Runs blocking code, which may spawn on the runtime.
    pub(super) fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        let _guard = match self {
            Self::Thread => None,
            Self::Runtime(runtime) => Some(runtime.get().enter()),
        };
        work()
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread => "Thread",
            Self::Runtime(_) => "Runtime",
        })
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn park<F: Future>(future: F, timeout: Duration) -> Option<F::Output> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let start = SystemClock.now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let left = timeout.checked_sub(SystemClock.now().saturating_duration_since(start))?;
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[test]
    fn both_run_to_the_end_and_no_longer_than_allowed() {
        for driver in [Driver::Thread, Driver::runtime().unwrap()] {
            assert_eq!(driver.run(ready(7), Duration::ZERO), Some(7), "{driver:?}");
            let late = driver.run(pending::<()>(), Duration::ZERO);
            assert_eq!(late, None, "{driver:?}");
        }
    }

    #[test]
    fn both_are_woken_from_elsewhere() {
        for driver in [Driver::Thread, Driver::runtime().unwrap()] {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let thread = std::thread::spawn(move || sender.send(7));
            assert_eq!(
                driver.run(receiver, Duration::from_mins(2)),
                Some(Ok(7)),
                "{driver:?}"
            );
            assert_eq!(thread.join().unwrap(), Ok(()));
        }
    }

    #[test]
    fn only_a_runtime_is_there_to_spawn_on() {
        let spawns = |driver: &Driver| driver.enter(|| tokio::runtime::Handle::try_current().is_ok());
        assert!(!spawns(&Driver::Thread));
        assert!(spawns(&Driver::runtime().unwrap()));
    }
}
