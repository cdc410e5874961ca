use crate::error::RunNowError;
use crate::report::CheckReport;
use cortex_core::Deadline;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use tokio::sync::oneshot;

/// One who waits for the end of a run.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) reply: oneshot::Sender<Result<CheckReport, RunNowError>>,
    pub(crate) deadline: Option<Deadline>,
}

impl Waiter {
    fn answer(self, answer: Result<CheckReport, RunNowError>) {
        // It calls a waker, which is somebody else's code, and fails if the other end is gone.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self.reply.send(answer))));
    }
}

/// By check: those who wait for the end of its next run.
#[derive(Debug)]
pub(super) struct Waiters(Vec<Vec<Waiter>>);

impl Waiters {
    pub(super) fn new(checks: usize) -> Self {
        Self((0..checks).map(|_| Vec::new()).collect())
    }

    pub(super) fn add(&mut self, check: usize, waiter: Waiter) {
        let list = &mut self.0[check];
        list.retain(|waiter| !waiter.reply.is_closed()); // who has gone is not remembered
        list.push(waiter);
    }

    /// Tells all who wait for the check.
    pub(super) fn tell(&mut self, check: usize, report: &CheckReport) {
        for waiter in self.0[check].drain(..) {
            waiter.answer(Ok(report.clone()));
        }
    }

    /// Sends those away whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_late = |waiter: &mut Waiter| waiter.deadline.is_some_and(|deadline| deadline.is_past(now));
        for list in &mut self.0 {
            for waiter in list.extract_if(.., is_late) {
                waiter.answer(Err(RunNowError::DeadlineExceeded));
            }
        }
    }

    /// Returns when the next deadline is.
    pub(super) fn next(&self) -> Option<Instant> {
        let deadlines = self.0.iter().flatten().filter_map(|waiter| waiter.deadline);
        deadlines.map(Deadline::instant).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Criticality;
    use cortex_core::Clock;
    use cortex_testkit::ManualClock;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Wake};
    use std::time::{Duration, SystemTime};

    struct Angry;

    impl Wake for Angry {
        fn wake(self: Arc<Self>) {
            panic!("do not wake me");
        }
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_waiting() {
        let (clock, mut waiters) = (ManualClock::new(), Waiters::new(2));
        let report = CheckReport::never_run("db".into(), Criticality::Critical, SystemTime::UNIX_EPOCH);
        let mut wait = |deadline| {
            let (reply, report) = oneshot::channel();
            waiters.add(1, Waiter { reply, deadline });
            report
        };
        let soon = Deadline::after(clock.now(), Duration::from_secs(1));
        let (angry, calm, late) = (wait(None), wait(None), wait(Some(soon)));
        drop(wait(None)); // gone before its time
        let angry_waker = Arc::new(Angry).into();
        let mut angry = pin!(angry);
        assert!(
            angry
                .as_mut()
                .poll(&mut Context::from_waker(&angry_waker))
                .is_pending()
        );

        assert_eq!(
            waiters.next().unwrap().duration_since(clock.now()),
            Duration::from_secs(1)
        );
        waiters.expire(clock.now());
        clock.advance(Duration::from_secs(1));
        waiters.expire(clock.now());
        assert_eq!(
            late.blocking_recv().unwrap().unwrap_err(),
            RunNowError::DeadlineExceeded
        );
        assert_eq!(waiters.next(), None);
        waiters.tell(0, &report);
        waiters.tell(1, &report);
        assert_eq!(calm.blocking_recv().unwrap().unwrap().name(), "db");
    }
}
