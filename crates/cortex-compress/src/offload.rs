use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A piece of encoding that may run on any thread.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs pieces of encoding that take longer than a serving thread should be held; give it to
/// [`CompressionLayer::offload`].
///
/// A function or a closure with this signature is one, too. What it runs never blocks: it takes from a quarter of a
/// millisecond up to, at the highest levels, a few hundred.
///
/// [`CompressionLayer::offload`]: crate::CompressionLayer::offload
///
/// # Examples
///
/// A pool of one thread, with a queue of eight:
///
/// ```
/// use cortex_compress::{CompressionLayer, Job};
/// use std::sync::mpsc::{TrySendError, sync_channel};
///
/// let (jobs, queue) = sync_channel::<Job>(8);
/// let thread = std::thread::spawn(move || queue.into_iter().for_each(|job| job()));
/// let layer = CompressionLayer::new().offload(move |job| {
///     jobs.try_send(job).map_err(|error| match error {
///         TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
///     })
/// });
/// # drop(layer);
/// # thread.join().unwrap();
/// ```
pub trait Offload: Send + Sync + 'static {
    /// Takes a job, to run it soon. A job that is dropped instead is done by the thread that submitted it.
    ///
    /// # Errors
    ///
    /// There is no room: the job comes back, and the serving thread does its work in slices.
    fn submit(&self, job: Job) -> Result<(), Job>;
}

impl<F> Offload for F
where
    F: Fn(Job) -> Result<(), Job> + Send + Sync + 'static,
{
    fn submit(&self, job: Job) -> Result<(), Job> {
        self(job)
    }
}

impl fmt::Debug for dyn Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offload")
    }
}

/// A claim on the result of a job.
///
/// The task that was handed over waits inside: if nobody took it up by the time the ticket is dropped, it is dropped,
/// too, and nothing is run.
pub(crate) struct Ticket<T, R>(Arc<Slot<T, R>>);

/// How a job ended.
#[derive(Debug)]
pub(crate) enum Answer<T, R> {
    Done(R),
    /// The job was dropped without being run.
    Returned(T),
    Panicked,
}

struct Slot<T, R>(Mutex<State<T, R>>);

struct State<T, R> {
    stage: Stage<T, R>,
    waker: Option<Waker>,
}

enum Stage<T, R> {
    Queued(T),
    Running,
    Ended(Answer<T, R>),
    /// The ticket has its answer, or is gone.
    Void,
}

impl<T, R> Slot<T, R> {
    fn state(&self) -> MutexGuard<'_, State<T, R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the stage, and wakes who waits for the answer.
    fn end(&self, answer: Answer<T, R>) {
        let mut state = self.state();
        if matches!(state.stage, Stage::Void) {
            drop(state);
            drop(answer); // nobody waits: gives the encoder back
            return;
        }
        state.stage = Stage::Ended(answer);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The side of a job that runs, or is dropped.
struct Runner<T, R> {
    slot: Arc<Slot<T, R>>,
    run: fn(T) -> R,
}

impl<T, R> Runner<T, R> {
    fn take(&self) -> Option<T> {
        let mut state = self.slot.state();
        match std::mem::replace(&mut state.stage, Stage::Running) {
            Stage::Queued(task) => Some(task),
            other => {
                state.stage = other;
                None
            }
        }
    }

    fn run(&self) {
        let Some(task) = self.take() else { return };
        // The encoder is inside the task: what a panic may have left behind is dropped with it.
        let result = catch_unwind(AssertUnwindSafe(|| (self.run)(task)));
        self.slot.end(result.map_or(Answer::Panicked, Answer::Done));
    }
}

impl<T, R> Drop for Runner<T, R> {
    fn drop(&mut self) {
        if let Some(task) = self.take() {
            self.slot.end(Answer::Returned(task));
        }
    }
}

/// Hands a task over. If there is no room it comes back.
pub(crate) fn submit<T, R>(offload: &dyn Offload, task: T, run: fn(T) -> R) -> Result<Ticket<T, R>, T>
where
    T: Send + 'static,
    R: Send + 'static,
{
    let slot = Arc::new(Slot(Mutex::new(State {
        stage: Stage::Queued(task),
        waker: None,
    })));
    let runner = Runner {
        slot: Arc::clone(&slot),
        run,
    };
    let refused = offload.submit(Box::new(move || runner.run()));
    let ticket = Ticket(slot);
    if let Err(job) = refused {
        drop(job);
        if let Some(task) = ticket.take_back() {
            return Err(task);
        }
    }
    Ok(ticket)
}

impl<T, R> Ticket<T, R> {
    fn take_back(&self) -> Option<T> {
        let mut state = self.0.state();
        match std::mem::replace(&mut state.stage, Stage::Void) {
            Stage::Queued(task) | Stage::Ended(Answer::Returned(task)) => Some(task),
            other => {
                state.stage = other;
                None
            }
        }
    }

    /// Returns the answer, once.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Answer<T, R>> {
        let mut state = self.0.state();
        match std::mem::replace(&mut state.stage, Stage::Void) {
            Stage::Ended(answer) => Poll::Ready(answer),
            other => {
                state.stage = other;
                let known = state
                    .waker
                    .as_ref()
                    .is_some_and(|waker| waker.will_wake(cx.waker()));
                if !known {
                    state.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl<T, R> Drop for Ticket<T, R> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        let left = std::mem::replace(&mut state.stage, Stage::Void);
        drop(state);
        drop(left); // outside the lock: gives an encoder back
    }
}

impl<T, R> fmt::Debug for Ticket<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

#[cfg(feature = "tokio")]
mod blocking {
    use super::{Job, Offload};
    use std::num::NonZeroUsize;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::runtime::Handle;

    /// Runs jobs on the blocking threads of the tokio runtime that serves the response.
    ///
    /// At most as many at a time as there are processors, or as [`at_most`](Self::at_most) says: more would only wait
    /// for each other. Outside a runtime it takes no jobs.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_compress::{CompressionLayer, SpawnBlocking};
    ///
    /// let layer = CompressionLayer::new().offload(SpawnBlocking::new());
    /// # drop(layer);
    /// ```
    #[derive(Clone, Debug)]
    pub struct SpawnBlocking {
        most: usize,
        pub(super) running: Arc<AtomicUsize>,
    }

    impl SpawnBlocking {
        /// Makes one that runs as many jobs at a time as there are processors.
        pub fn new() -> Self {
            let most = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            Self::at_most(most)
        }

        /// Makes one that runs this many jobs at a time.
        pub fn at_most(jobs: NonZeroUsize) -> Self {
            Self {
                most: jobs.get(),
                running: Arc::default(),
            }
        }
    }

    impl Default for SpawnBlocking {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Offload for SpawnBlocking {
        fn submit(&self, job: Job) -> Result<(), Job> {
            let Ok(runtime) = Handle::try_current() else {
                return Err(job);
            };
            if self.running.fetch_add(1, Ordering::Relaxed) >= self.most {
                self.running.fetch_sub(1, Ordering::Relaxed);
                return Err(job);
            }
            let place = Place(Arc::clone(&self.running));
            runtime.spawn_blocking(move || {
                let _place = place;
                job();
            });
            Ok(())
        }
    }

    /// Given back when the job has run, or the runtime has dropped it.
    struct Place(Arc<AtomicUsize>);

    impl Drop for Place {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(feature = "tokio")]
pub use self::blocking::SpawnBlocking;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Keeps its jobs.
    #[derive(Clone, Default)]
    struct Drawer(Arc<Mutex<Vec<Job>>>);

    impl Offload for Drawer {
        fn submit(&self, job: Job) -> Result<(), Job> {
            self.0.lock().unwrap().push(job);
            Ok(())
        }
    }

    impl Drawer {
        fn open(&self) -> Vec<Job> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<T, R>(ticket: &Ticket<T, R>) -> Poll<Answer<T, R>> {
        ticket.poll(&mut Context::from_waker(Waker::noop()))
    }

    type Place<T, R> = Arc<Mutex<Option<Ticket<T, R>>>>;

    /// Drops its own ticket while it runs.
    struct Running(Place<Self, Arc<()>>, Arc<()>);

    #[test]
    fn an_answer_wakes_who_waits_for_it() {
        let drawer = Drawer::default();
        let ticket = submit(&drawer, 20, |task| task + 1).unwrap();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        assert!(ticket.poll(&mut cx).is_pending() && ticket.poll(&mut cx).is_pending());
        drawer.open().pop().unwrap()();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(matches!(ticket.poll(&mut cx), Poll::Ready(Answer::Done(21))));
        assert!(format!("{ticket:?}").contains("Ticket"));
    }

    #[test]
    fn a_full_offload_gives_the_task_back() {
        let full = |job: Job| -> Result<(), Job> { Err(job) };
        assert_eq!(submit(&full, 7, |task| task).unwrap_err(), 7);
        let done_and_refused = |job: Job| -> Result<(), Job> {
            job();
            Err(Box::new(|| ()))
        };
        let ticket = submit(&done_and_refused, 7, |task| task).unwrap();
        assert!(matches!(poll(&ticket), Poll::Ready(Answer::Done(7))));
    }

    #[test]
    fn a_job_that_is_dropped_returns_its_task() {
        let drawer = Drawer::default();
        let ticket = submit(&drawer, 7, |task| task).unwrap();
        drop(drawer.open());
        assert!(matches!(poll(&ticket), Poll::Ready(Answer::Returned(7))));
        let dropped = |job: Job| -> Result<(), Job> {
            drop(job);
            Ok(())
        };
        let ticket = submit(&dropped, 8, |task| task).unwrap();
        assert!(matches!(poll(&ticket), Poll::Ready(Answer::Returned(8))));
    }

    #[test]
    fn a_panic_is_an_answer() {
        let drawer = Drawer::default();
        let ticket = submit(&drawer, 7, |_: i32| -> i32 { panic!("a defect") }).unwrap();
        drawer.open().pop().unwrap()();
        assert!(matches!(poll(&ticket), Poll::Ready(Answer::Panicked)));
    }

    #[test]
    fn a_ticket_that_is_dropped_drops_the_task_or_the_result() {
        let drawer = Drawer::default();
        let task = Arc::new(());
        drop(submit(&drawer, Arc::clone(&task), |task| task).unwrap());
        assert_eq!(Arc::strong_count(&task), 1, "at once, not when the job is run");
        drawer.open().pop().unwrap()();

        let ticket = submit(&drawer, Arc::clone(&task), |task| task).unwrap();
        drawer.open().pop().unwrap()();
        assert_eq!(Arc::strong_count(&task), 2);
        drop(ticket);
        assert_eq!(Arc::strong_count(&task), 1);

        let place = Arc::new(Mutex::new(None));
        let running = Running(Arc::clone(&place), Arc::clone(&task));
        let ticket = submit(&drawer, running, |running| {
            drop(running.0.lock().unwrap().take());
            running.1
        });
        *place.lock().unwrap() = ticket.ok();
        drawer.open().pop().unwrap()();
        assert_eq!(Arc::strong_count(&task), 1, "a result that nobody waits for");
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn blocking_threads_take_jobs_within_a_runtime_and_a_bound() {
        use std::num::NonZeroUsize;

        let offload = SpawnBlocking::at_most(NonZeroUsize::MIN);
        assert!(offload.submit(Box::new(|| ())).is_err(), "there is no runtime");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let (done, end) = std::sync::mpsc::channel();
        runtime.block_on(async {
            let first: Job = Box::new(move || {
                gate.recv().unwrap();
                done.send(()).unwrap();
            });
            assert!(offload.submit(first).is_ok());
            assert!(offload.submit(Box::new(|| ())).is_err(), "one is all it runs");
            go.send(()).unwrap();
            end.recv().unwrap();
            while offload.running.load(Ordering::Relaxed) > 0 {
                std::thread::yield_now();
            }
            assert!(offload.submit(Box::new(|| ())).is_ok());
        });
    }
}
