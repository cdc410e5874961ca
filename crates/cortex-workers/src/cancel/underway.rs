use super::token::Cancel;
use crate::error::Stage;
use crate::event::Event;
use crate::hub::{After, Hub, Task};
use crate::job::{Entry, Job, Unstarted, Work, drop_quietly};
use crate::shared::Shared;
use crate::stop::Stop;
use crate::ticket::Phase;
use crate::worker::Worker;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A task that was offered, as a token sees it.
pub(crate) struct Underway<W: Worker, P: Work<W>> {
    shared: Arc<Shared<W>>,
    job: Weak<Job<W, P>>,
}

impl<W: Worker, P: Work<W>> Underway<W, P> {
    pub(crate) fn new(shared: &Arc<Shared<W>>, job: &Arc<Job<W, P>>) -> Self {
        Self {
            shared: Arc::clone(shared),
            job: Arc::downgrade(job),
        }
    }
}

impl<W: Worker, P: Work<W>> Cancel for Underway<W, P> {
    fn cancel(&self) {
        let Some(job) = self.job.upgrade() else { return };
        let (shared, now) = (&self.shared, self.shared.clock.nanos());
        let told = |why| shared.tell(|| Event::of_unstarted(why, job.ticket(), now));
        let time = cancel(&shared.hub, &job, now, |after| shared.handle(after), told);
        shared.arm(time);
        drop_quietly(job);
    }
}

/// Ends a task for whoever awaits it, and tells it so if it runs; returns when to look whether it has stopped. `withdrawn` hears of one
/// that was not begun, before whoever awaits it.
pub(crate) fn cancel<W: 'static, P: Work<W>>(
    hub: &Hub<W>,
    job: &Arc<Job<W, P>>,
    now: u64,
    handle: impl FnOnce(After<W>),
    withdrawn: impl FnOnce(Unstarted),
) -> u64 {
    if let Some(stage) = withdraw(hub, job, handle) {
        withdrawn(Unstarted::Cancelled(stage));
        job.end(Unstarted::Cancelled(stage));
        return crate::ticket::NEVER;
    }
    if !job.ticket().tell(Stop::Cancelled) {
        return crate::ticket::NEVER; // it was told before
    }
    job.release(Stop::Cancelled, Duration::ZERO);
    hub.told(job.ticket(), now)
}

/// Takes a task out of the queue; says how far it was, if that was in time.
pub(crate) fn withdraw<W: 'static, P: Work<W>>(
    hub: &Hub<W>,
    job: &Arc<Job<W, P>>,
    handle: impl FnOnce(After<W>),
) -> Option<Stage> {
    if !matches!(job.ticket().phase(), Phase::Outside | Phase::Queued) {
        return None;
    }
    let task: Task<W> = Arc::clone(job) as Task<W>;
    let (stage, after) = hub.withdraw(&task);
    handle(after);
    stage
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use crate::{CancelToken, Closures, Drain, Error, Overflow, Pool};
    use cortex_core::{Clock, Deadline};
    use cortex_testkit::ManualClock;
    use std::pin::Pin;
    use std::sync::mpsc::channel;
    use std::task::{Context, Waker};
    use std::time::Duration;

    fn poll_once<F: Future + Unpin>(future: &mut F) -> bool {
        let polled = Pin::new(future).poll(&mut Context::from_waker(Waker::noop()));
        polled.is_ready()
    }

    /// However a task ends, its token forgets it.
    #[test]
    fn a_token_that_lives_long_keeps_nothing_of_what_has_ended() {
        let clock = ManualClock::new();
        let builder = Pool::<Closures>::builder("test").threads(1).queue(2);
        let pool = builder.clock(clock.clone()).build_blocking().unwrap();
        let token = CancelToken::new();
        for number in 0..1000_u64 {
            let answer = pool.run(move |_, _| number).cancel_with(&token).wait();
            assert_eq!(answer.unwrap(), number);
        }
        let panicked = pool.run(|_, _| std::panic::resume_unwind(Box::new("on purpose")));
        let panicked: Result<(), _> = panicked.cancel_with(&token).wait();
        assert!(matches!(panicked, Err(Error::Panicked(_))));

        let (open, door) = channel::<()>();
        let (come, arrivals) = channel();
        let occupied = pool.run(move |_, _| {
            come.send(()).unwrap();
            door.recv().unwrap();
        });
        occupied.cancel_with(&token).detach().unwrap();
        arrivals.recv().unwrap();
        assert_eq!(token.heirs(), 1);

        let mut dropped = pool.run(|_, _| ()).cancel_with(&token);
        assert!(!poll_once(&mut dropped));
        assert_eq!(token.heirs(), 2);
        drop(dropped);
        let late = Deadline::after(clock.now(), Duration::from_secs(1));
        let mut late = pool.run(|_, _| ()).deadline(late).cancel_with(&token);
        assert!(!poll_once(&mut late));
        clock.advance(Duration::from_secs(1));
        pool.tick();
        assert_eq!(token.heirs(), 1, "that which runs");

        for _ in 0..5 {
            let newer = pool.run(|_, _| ()).overflow(Overflow::DropOldest);
            newer.cancel_with(&token).detach().unwrap();
        }
        assert_eq!(token.heirs(), 3);
        let refused = pool.run(|_, _| ()).overflow(Overflow::Reject);
        assert!(refused.cancel_with(&token).detach().is_err());
        let mut waiting = pool.run(|_, _| ()).cancel_with(&token);
        assert!(!poll_once(&mut waiting));
        assert_eq!(token.heirs(), 4);
        let mut ending = Box::pin(pool.shutdown(Drain::now()));
        assert!(!poll_once(&mut ending));
        assert_eq!(token.heirs(), 0, "that which runs is told to stop, too");
        open.send(()).unwrap();
        let report = crate::block_on::block_on(ending);
        assert_eq!(report.leaked, 0);
    }
}
