use crate::error::RunNowError;
use crate::report::CheckReport;
use cortex_core::Deadline;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::oneshot;

/// So many may wait, in all.
const MOST: usize = 4096;

/// So many of a check wait before it is looked who has gone.
const FEW: usize = 64;

/// One who waits for the end of a run.
#[derive(Debug)]
pub(crate) struct Waiter {
    reply: Reply,
    deadline: Option<Deadline>,
    _place: Place,
}

type Reply = oneshot::Sender<Result<CheckReport, RunNowError>>;

/// One of the places of those who wait, until it is dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed); // a number, which says nothing about other memory
    }
}

impl Waiter {
    /// Makes one of those who wait; `None` if there are too many.
    pub(crate) fn new(reply: Reply, deadline: Option<Deadline>, waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(waiting)); // also where it goes at once
        (before < MOST).then_some(Self {
            reply,
            deadline,
            _place: place,
        })
    }

    fn answer(self, answer: Result<CheckReport, RunNowError>) {
        // It calls a waker, which is somebody else's code, and fails if the other end is gone.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self.reply.send(answer))));
    }
}

/// By check: those who wait for the end of a run.
#[derive(Debug)]
pub(super) struct Waiters(Vec<Queue>);

#[derive(Debug, Default)]
struct Queue {
    /// For the end of the next run.
    waiting: Vec<Waiter>,
    /// The run has ended, and they were not told yet.
    due: Vec<Waiter>,
    /// From this length on it is looked who has gone.
    long: usize,
}

impl Waiters {
    pub(super) fn new(checks: usize) -> Self {
        Self((0..checks).map(|_| Queue::default()).collect())
    }

    pub(super) fn add(&mut self, check: usize, waiter: Waiter) {
        let Queue { waiting, long, .. } = &mut self.0[check];
        if waiting.len() >= FEW.max(*long) {
            waiting.retain(|waiter| !waiter.reply.is_closed()); // who has gone is not remembered
            *long = waiting.len() * 2; // so that it costs as much as it takes to come here
        }
        waiting.push(waiter);
    }

    /// Notes that a run has ended. Who is added later waits for another.
    pub(super) fn conclude(&mut self, check: usize) {
        let Queue { waiting, due, long } = &mut self.0[check];
        due.append(waiting);
        *long = 0; // it says nothing about those who come now
    }

    /// Returns the checks of those who wait for no run any more.
    pub(super) fn due(&self) -> Vec<usize> {
        let is_due = |&check: &usize| !self.0[check].due.is_empty();
        (0..self.0.len()).filter(is_due).collect()
    }

    /// Tells all whose run of the check has ended.
    pub(super) fn tell(&mut self, check: usize, report: &CheckReport) {
        for waiter in self.0[check].due.drain(..) {
            waiter.answer(Ok(report.clone()));
        }
    }

    /// Sends those away whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_late = |waiter: &mut Waiter| waiter.deadline.is_some_and(|deadline| deadline.is_past(now));
        for Queue { waiting, due, .. } in &mut self.0 {
            for waiter in waiting.extract_if(.., is_late).chain(due.extract_if(.., is_late)) {
                waiter.answer(Err(RunNowError::DeadlineExceeded));
            }
        }
    }

    /// Returns when the next deadline is.
    pub(super) fn next(&self) -> Option<Instant> {
        let all = self
            .0
            .iter()
            .flat_map(|queue| queue.waiting.iter().chain(&queue.due));
        all.filter_map(|waiter| waiter.deadline)
            .map(Deadline::instant)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Criticality;
    use cortex_core::Clock;
    use cortex_testkit::ManualClock;
    use std::pin::pin;
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
        let waiting = Arc::default();
        let mut wait = |deadline| {
            let (reply, report) = oneshot::channel();
            let waiter = Waiter::new(reply, deadline, &waiting).expect("there is room");
            waiters.add(1, waiter);
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
        assert!(waiters.due().is_empty());
        waiters.tell(1, &report); // nobody yet
        waiters.conclude(1);
        assert_eq!(waiters.due(), [1]);
        waiters.tell(0, &report);
        waiters.tell(1, &report);
        assert_eq!(calm.blocking_recv().unwrap().unwrap().name(), "db");
        assert_eq!(waiting.load(Ordering::Relaxed), 0, "all have gone");
    }

    #[test]
    fn those_who_go_make_room_and_no_more_than_some_wait() {
        let (mut waiters, waiting) = (Waiters::new(1), Arc::default());
        let wait = || {
            let (reply, report) = oneshot::channel();
            Waiter::new(reply, None, &waiting).map(|waiter| (waiter, report))
        };
        for _ in 0..100_000 {
            let (waiter, _gone) = wait().unwrap();
            waiters.add(0, waiter);
        }
        assert!(waiting.load(Ordering::Relaxed) <= FEW, "{waiting:?}");
        let mut reports = Vec::new();
        while let Some((waiter, report)) = wait() {
            waiters.add(0, waiter);
            reports.push(report);
        }
        assert!(reports.len() > MOST - FEW);
        drop(waiters);
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn those_who_go_make_room_also_after_many_have_waited() {
        let (mut waiters, waiting) = (Waiters::new(1), Arc::default());
        let wait = || {
            let (reply, report) = oneshot::channel();
            (Waiter::new(reply, None, &waiting).unwrap(), report)
        };
        let mut reports = Vec::new();
        for _ in 0..2000 {
            let (waiter, report) = wait();
            waiters.add(0, waiter);
            reports.push(report);
        }
        waiters.conclude(0);
        let report = CheckReport::never_run("db".into(), Criticality::Critical, SystemTime::UNIX_EPOCH);
        waiters.tell(0, &report);
        for _ in 0..1000 {
            let (waiter, _gone) = wait();
            waiters.add(0, waiter);
        }
        assert!(waiting.load(Ordering::Relaxed) <= FEW, "{waiting:?}");
    }
}
