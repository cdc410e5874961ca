use pin_project_lite::pin_project;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::task::coop::unconstrained;
use tokio::time::{Sleep, sleep_until};

pin_project! {
    /// A timer that is made when somebody waits for it: most calls end before, and pay nothing.
    #[derive(Debug)]
    pub(crate) struct Timer {
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Timer {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self { sleep: None }
    }

    /// Waits until then; a timer that runs already keeps its time.
    ///
    /// What was polled before may have used up the budget of the task, at every poll: a timer that respected the budget would
    /// never be heard then.
    pub(crate) fn poll(self: Pin<&mut Self>, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut sleep = self.project().sleep;
        if sleep.is_none() {
            sleep.set(Some(sleep_until(due.into())));
        }
        match sleep.as_pin_mut() {
            Some(sleep) => pin!(unconstrained(sleep)).poll(cx),
            None => Poll::Ready(()),
        }
    }
}
