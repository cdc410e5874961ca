use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::completion::lock;

/// Tells an exporter that the time for a shutdown is up, so that it should not wait for anything any more.
///
/// Given to [`Exporter::begin`](crate::Exporter::begin). A clone is the same signal.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Abort, ExportError, Exporter, ExporterStart, SpanData};
///
/// #[derive(Default)]
/// struct Stubborn(Option<Abort>);
///
/// impl Exporter for Stubborn {
///     fn begin(&mut self, start: ExporterStart<'_>) {
///         self.0 = Some(start.abort.clone());
///     }
///     fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
///         while !self.0.as_ref().is_some_and(Abort::is_raised) {
///             // .. try again ..
/// #           break;
///         }
///         Err(ExportError::new("it never worked"))
///     }
/// }
/// # assert!(Stubborn::default().0.is_none());
/// ```
#[derive(Clone)]
pub struct Abort {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    raised: bool,
    waker: Option<Waker>,
}

impl Abort {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
        }
    }

    /// Says whether the time is up.
    pub fn is_raised(&self) -> bool {
        lock(&self.state).raised
    }

    /// Waits until the time is up. Of several that wait at once only the last one is woken: one exporter needs one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn raised(&self) {
        poll_fn(|cx| self.poll_raised(cx)).await;
    }

    fn poll_raised(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.raised {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn raise(&self) {
        let waker = {
            let mut state = lock(&self.state);
            state.raised = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl fmt::Debug for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Abort")
            .field("is_raised", &self.is_raised())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wakes_who_waits_and_stays_raised() {
        let abort = Abort::new();
        let waiting = tokio::spawn({
            let abort = abort.clone();
            async move { abort.raised().await }
        });
        tokio::task::yield_now().await;
        assert!(!abort.is_raised() && !waiting.is_finished());
        abort.raise();
        waiting.await.unwrap();
        abort.raised().await;
        assert!(abort.is_raised());
    }
}
