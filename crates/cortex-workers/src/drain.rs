use crate::sync::{Mutex, lock};
use crate::totals::Totals;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How a pool is shut down.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Drain, Pool};
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Closures>::builder("mail").threads(1).build().await.unwrap();
/// let sent = pool.run(|_, _| "sent").owned();
/// assert_eq!(sent.await.unwrap(), "sent");
/// let report = pool.shutdown(Drain::within(Duration::from_secs(10))).await;
/// assert!(report.is_complete());
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    pub(crate) within: Duration,
}

impl Drain {
    /// Lets what is queued run for so long; what has not begun by then is discarded, and what runs is told to stop.
    pub const fn within(time: Duration) -> Self {
        Self { within: time }
    }

    /// Discards what is queued, and tells what runs to stop.
    pub const fn now() -> Self {
        Self::within(Duration::ZERO)
    }

    /// Lets all that is queued run, however long it takes.
    pub const fn unlimited() -> Self {
        Self::within(Duration::MAX)
    }
}

/// What became of the tasks of a pool that was shut down, and of its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// How many tasks ended by themselves since the shutdown began, with an answer, an error or a panic.
    pub completed: u64,
    /// How many were not begun.
    pub discarded: u64,
    /// How many were told to stop while they ran.
    pub stopped: u64,
    /// How many threads still run, as their tasks do not stop, or what hands requests over: nobody waits for them.
    pub leaked: usize,
    /// How long it took.
    pub elapsed: Duration,
}

impl DrainReport {
    /// Says whether all that was accepted was done, and all threads have ended.
    pub const fn is_complete(&self) -> bool {
        self.discarded == 0 && self.stopped == 0 && self.leaked == 0
    }
}

impl fmt::Display for DrainReport {
    /// Writes one line for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            completed,
            discarded,
            stopped,
            leaked,
            elapsed,
        } = self;
        write!(
            f,
            "ended in {elapsed:.1?}: {completed} tasks completed, {discarded} discarded, {stopped} stopped, {leaked} threads left"
        )
    }
}

/// Tells those who wait for the end of a pool.
pub(crate) struct Ending(Mutex<State>);

struct State {
    began: Option<(u64, Totals)>,
    report: Option<DrainReport>,
    /// Somebody makes the report, or has.
    is_reported: bool,
    /// Those that wait for it to begin.
    early: Listeners,
    /// Those that wait for the report.
    late: Listeners,
}

/// Somebody who waits, until it is dropped.
#[derive(Default)]
pub(crate) struct Listener(Mutex<Option<Waker>>);

impl Listener {
    /// Has this one woken. The caller holds the lock of the state, and drops what is returned without it: it may do anything.
    #[must_use]
    fn set(&self, waker: Waker) -> Option<Waker> {
        lock(&self.0).replace(waker)
    }
}

/// Those who wait. Those who have gone are forgotten when the next one comes.
#[derive(Default)]
struct Listeners(Vec<Weak<Listener>>);

impl Listeners {
    fn add(&mut self) -> Arc<Listener> {
        let listener = Arc::default();
        self.0.retain(|listener| listener.strong_count() > 0);
        self.0.push(Arc::downgrade(&listener));
        listener
    }

    /// Wakes them; no lock may be held.
    fn wake(self) {
        for listener in self.0.iter().filter_map(Weak::upgrade) {
            let waker = lock(&listener.0).take();
            crate::job::quietly(|| waker.into_iter().for_each(Waker::wake));
        }
    }
}

impl Ending {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            began: None,
            report: None,
            is_reported: false,
            early: Listeners::default(),
            late: Listeners::default(),
        }))
    }

    pub(crate) fn begin(&self, now: u64, totals: Totals) {
        let mut state = lock(&self.0);
        state.began.get_or_insert((now, totals));
        let early = std::mem::take(&mut state.early);
        drop(state);
        early.wake();
    }

    /// Returns what waits for it to begin to end.
    pub(crate) fn listen(&self) -> Arc<Listener> {
        lock(&self.0).early.add()
    }

    /// Waits until it has begun to end.
    pub(crate) fn poll_begun(&self, listener: &Listener, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let state = lock(&self.0);
        if state.began.is_some() {
            return Poll::Ready(());
        }
        let old = listener.set(waker);
        drop(state);
        drop(old);
        Poll::Pending
    }

    pub(crate) fn has_begun(&self) -> bool {
        lock(&self.0).began.is_some()
    }

    /// Reports the end, the first time; `tell` hears of it before those who wait.
    /// Of the threads that are left, so many run a task.
    pub(crate) fn end(
        &self,
        now: u64,
        totals: &Totals,
        (leaked, running): (usize, usize),
        tell: impl FnOnce(DrainReport),
    ) {
        let mut state = lock(&self.0);
        if std::mem::replace(&mut state.is_reported, true) {
            return;
        }
        let Some((began, before)) = &state.began else {
            state.is_reported = false;
            return;
        };
        let done = |totals: &Totals| totals.completed + totals.failed + totals.panicked;
        let report = DrainReport {
            completed: done(totals) - done(before),
            discarded: totals.discarded - before.discarded,
            stopped: totals.shut_down - before.shut_down + u64::try_from(running).unwrap_or(u64::MAX),
            leaked,
            elapsed: Duration::from_nanos(now.saturating_sub(*began)),
        };
        drop(state);
        tell(report);
        let mut state = lock(&self.0);
        state.report = Some(report);
        let late = std::mem::take(&mut state.late);
        drop(state);
        late.wake();
    }

    pub(crate) async fn wait(&self) -> DrainReport {
        let listener = lock(&self.0).late.add();
        poll_fn(|cx| self.poll(&listener, cx)).await
    }

    fn poll(&self, listener: &Listener, cx: &Context<'_>) -> Poll<DrainReport> {
        let waker = cx.waker().clone();
        let state = lock(&self.0);
        if let Some(report) = state.report {
            return Poll::Ready(report);
        }
        let old = listener.set(waker);
        drop(state);
        drop(old);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_no_longer_waits_for_the_end_is_forgotten() {
        let ending = Ending::new();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        for _ in 0..1000 {
            assert!(pin!(ending.wait()).poll(&mut cx).is_pending());
        }
        assert_eq!(Arc::strong_count(&count), 2, "no waker is kept");
        let mut last = pin!(ending.wait());
        assert!(last.as_mut().poll(&mut cx).is_pending());
        assert!(last.as_mut().poll(&mut cx).is_pending());
        assert_eq!(lock(&ending.0).late.0.len(), 1);
        ending.begin(5, Totals::default());
        ending.end(7, &Totals::default(), (0, 0), |_| {});
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let Poll::Ready(report) = last.poll(&mut cx) else {
            panic!("it has ended");
        };
        assert_eq!(report.elapsed, Duration::from_nanos(2));
    }

    #[test]
    fn a_report_is_one_line() {
        let report = DrainReport {
            completed: 22,
            discarded: 1,
            stopped: 2,
            leaked: 0,
            elapsed: Duration::from_millis(1250),
        };
        assert_eq!(
            report.to_string(),
            "ended in 1.2s: 22 tasks completed, 1 discarded, 2 stopped, 0 threads left"
        );
    }
}
