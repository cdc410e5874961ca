use crate::error::RunNowError;
use crate::report::CheckReport;
use cortex_core::Deadline;
use std::time::Instant;
use tokio::sync::oneshot;

/// One who waits for the end of a run.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) reply: oneshot::Sender<Result<CheckReport, RunNowError>>,
    pub(crate) deadline: Option<Deadline>,
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
            let _ = waiter.reply.send(Ok(report.clone())); // an error: gone
        }
    }

    /// Sends those away whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_late = |waiter: &mut Waiter| waiter.deadline.is_some_and(|deadline| deadline.is_past(now));
        for list in &mut self.0 {
            for waiter in list.extract_if(.., is_late) {
                let _ = waiter.reply.send(Err(RunNowError::DeadlineExceeded));
            }
        }
    }

    /// Returns when the next deadline is.
    pub(super) fn next(&self) -> Option<Instant> {
        let deadlines = self.0.iter().flatten().filter_map(|waiter| waiter.deadline);
        deadlines.map(Deadline::instant).min()
    }
}
