use crate::block_on::block_on;
use crate::crew::{self, NotMade};
use crate::error::{Discard, Panic};
use crate::gate::{Gate, Member};
use crate::invalid::InvalidSetting;
use crate::observer::Observer;
use crate::overflow::Overflow;
use crate::pool::{MOST, Pool, Threads};
use crate::random::Random;
use crate::settings::Settings;
use crate::shared::{Arcs, Keep, Shared};
use crate::sync::{Mutex, lock};
use crate::watch::{self, Pulse};
use crate::worker::Worker;
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Sets up a [`Pool`].
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Overflow, Pool};
/// use std::time::Duration;
///
/// let builder = Pool::<Closures>::builder("reports")
///     .threads(1..=4)
///     .idle(Duration::from_secs(30))
///     .queue(100)
///     .overflow(Overflow::Reject)
///     .run_timeout(Duration::from_secs(60));
/// let pool = builder.build_blocking().unwrap();
/// assert_eq!(pool.run(|_, _| 2 + 2).wait().unwrap(), 4);
/// ```
pub struct Builder<W: Worker> {
    name: String,
    threads: Threads,
    settings: Settings,
    gate: Option<(Gate, usize)>,
    clock: Arc<dyn Clock>,
    observer: Option<Arc<dyn Observer>>,
    keep: Option<Box<Keep<W>>>,
    worker: PhantomData<fn() -> W>,
}

impl<W: Worker> Builder<W> {
    pub(crate) fn new(name: String) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            name,
            threads: Threads::from(processors),
            settings: Settings {
                least: processors,
                most: processors,
                capacity: 1024,
                overflow: Overflow::Wait,
                ageing: Some(Duration::from_millis(50)),
                idle: Some(Duration::from_secs(30)),
                run_timeout: None,
                stuck_after: None,
                max_stuck: None,
                respawn: (Duration::from_millis(10), Duration::from_secs(5)),
                seed: Random::any_seed(),
                grace: Duration::from_secs(1),
                stack_size: None,
                #[cfg(feature = "affinity")]
                placement: crate::placement::Placement::default(),
                is_observed: false,
                is_traced: false,
            },
            gate: None,
            clock: Arc::new(TscClock),
            observer: None,
            keep: None,
            worker: PhantomData,
        }
    }

    /// Sets how many threads there are: a number, or a range in which the pool grows while work waits and shrinks again. As many as
    /// there are processors by default. If the least is 0 the first task starts a thread.
    #[must_use]
    pub fn threads(mut self, threads: impl Into<Threads>) -> Self {
        self.threads = threads.into();
        self
    }

    /// Sets how long a thread above the least number stays without work; 30 s by default.
    #[must_use]
    pub fn idle(mut self, time: Duration) -> Self {
        self.settings.idle = Some(time);
        self
    }

    /// Sets how many tasks may wait; 1024 by default. With 0 a task is accepted only if a worker has nothing to do.
    #[must_use]
    pub fn queue(mut self, capacity: usize) -> Self {
        self.settings.capacity = capacity;
        self
    }

    /// Has the tasks in the queue take places that pools share, of which so many are for this pool alone. Those of the
    /// queue count, too: a task needs one of each.
    #[must_use]
    pub fn gate(mut self, gate: &Gate, reserved: usize) -> Self {
        self.gate = Some((gate.clone(), reserved));
        self
    }

    /// Sets what happens to a call when the queue is full; it waits by default.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.settings.overflow = overflow;
        self
    }

    /// Sets how long a task waits until it counts for one priority more; 50 ms by default. With `None` nothing that is low runs while
    /// there is something above it.
    #[must_use]
    pub fn ageing(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.settings.ageing = time.into();
        self
    }

    /// Sets how long a task may run, counted from when a worker takes it; for ever by default.
    ///
    /// Its caller is told then, and so is the task: it runs on until it looks ([`TaskCx::check`](crate::TaskCx::check)).
    #[must_use]
    pub fn run_timeout(mut self, time: Duration) -> Self {
        self.settings.run_timeout = Some(time);
        self
    }

    /// Gives up on a worker whose task has been told to stop and still runs so much later: another thread takes its place. Never by
    /// default. [`max_stuck`](Self::max_stuck) bounds how many are.
    #[must_use]
    pub fn stuck_after(mut self, time: Duration) -> Self {
        self.settings.stuck_after = Some(time);
        self
    }

    /// Sets how many workers may be given up at a time, as [`stuck_after`](Self::stuck_after) has it; as many as there may be threads by
    /// default. With that many a pool is not healthy any more (feature `health`), and no other one is replaced until one comes back.
    #[must_use]
    pub fn max_stuck(mut self, count: usize) -> Self {
        self.settings.max_stuck = Some(count);
        self
    }

    /// Sets the delay before a worker makes its state again after a panic, and the longest: it doubles each time, and
    /// is as at first again after a minute without one. 10 ms and 5 s by default. Each delay is shorter or longer by up
    /// to half of it, at random, so that workers that failed together do not come back together.
    #[must_use]
    pub fn respawn(mut self, first: Duration, longest: Duration) -> Self {
        self.settings.respawn = (first, longest);
        self
    }

    /// Makes the delays of [`respawn`](Self::respawn) the same in every run: those of each thread, by its number in the
    /// pool.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Sets how long tasks may take to stop at the end of a shutdown before their threads are left to themselves; 1 s by default.
    #[must_use]
    pub fn grace(mut self, time: Duration) -> Self {
        self.settings.grace = time;
        self
    }

    /// Sets the size of the stack of each thread, in bytes; that of the standard library by default.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.settings.stack_size = Some(bytes);
        self
    }

    /// Binds each thread to a core, before it makes its state; none by default. Where that can't be done it goes on,
    /// and the observer hears of it ([`Event::ThreadNotSet`](crate::Event::ThreadNotSet)).
    ///
    /// Threads that are started by such a thread, as those of other pools that it calls for may be, are bound to its
    /// core, too, unless they have a setting of their own.
    #[cfg(feature = "affinity")]
    #[must_use]
    pub fn affinity(mut self, cores: crate::Cores) -> Self {
        self.settings.placement.cores = cores;
        self
    }

    /// Sets how much the threads give way to others, from -20 to 19, the nicest: only who is privileged may set less
    /// than there was before. As that of the thread that starts them by default. Where that can't be done the observer
    /// hears of it, as with [`affinity`](Self::affinity).
    #[cfg(feature = "affinity")]
    #[must_use]
    pub fn niceness(mut self, level: i8) -> Self {
        self.settings.placement.niceness = Some(level);
        self
    }

    /// Sets the clock; a [`TscClock`] by default.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Has what happens told to an observer; to several as a pair.
    #[must_use]
    pub fn observe(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self.settings.is_observed = true;
        self
    }

    /// Makes a span of each task, a child of what is current where the task is offered. It lasts until the task has ended, and what the
    /// task does belongs to it: lines of a log, spans, calls.
    ///
    /// It is a span of `tracing` with the target `cortex_workers`, the level info, the name `task` and the fields `pool`, `priority`,
    /// `queue_seconds` (how long it waited; not there if it was not begun) and `outcome`: an [`Outcome`](crate::Outcome), or `rejected`,
    /// `discarded`, `expired` or `cancelled`. With `otel.status_code` and `otel.status_description` it says that it failed, and why: a
    /// panic, an error of the worker, a time that was over, that there was no place. A task that is offered when its deadline is past, or
    /// when its token was cancelled, has none.
    ///
    /// # Performance
    ///
    /// Where nobody listens at this level and target a task costs some nanoseconds more.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_workers::{Closures, Pool};
    ///
    /// let pool = Pool::<Closures>::builder("reports").threads(1).trace().build_blocking()?;
    /// let request = tracing::info_span!("request");
    /// let sum = request.in_scope(|| pool.run(|_, _| 1 + 1).wait())?; // request > task
    /// assert_eq!(sum, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "trace")]
    #[must_use]
    pub fn trace(mut self) -> Self {
        self.settings.is_traced = true;
        self
    }

    /// Hands requests over that are discarded and that nobody gets back, so that they can be kept for later: at the end of the pool all
    /// that were not begun, but for those of a [`Source`](crate::Source); before that those of calls that were detached, where there was
    /// no place for them, or no thread. What is late, or was cancelled, is dropped; closures are, too.
    ///
    /// It is called on a thread of its own for what the end of the pool leaves, and what has waited for too long; otherwise on the thread
    /// where room is made, which it should not hold up. No lock is held. If it panics the request is lost, and nothing else. When
    /// [`Pool::shutdown`] returns it has had all, unless it takes longer than the pool has ([`grace`](Self::grace)): then the thread
    /// where it runs counts as one that is left.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_workers::{Discard, Drain, Pool};
    /// use std::sync::mpsc::channel;
    /// # use cortex_workers::{TaskCx, Worker, WorkerCx};
    /// # struct Mail;
    /// # impl Worker for Mail {
    /// #     type Request = String;
    /// #     type Response = ();
    /// #     type Error = std::io::Error;
    /// #     fn init(_: &WorkerCx<'_>) -> Result<Self, std::io::Error> { Ok(Self) }
    /// #     fn run(&mut self, _: String, _: &TaskCx<'_>) -> Result<(), std::io::Error> { Ok(()) }
    /// # }
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (later, kept) = channel();
    /// let builder = Pool::<Mail>::builder("mail").threads(1);
    /// let pool = builder.on_discard(move |mail, why| drop(later.send((mail, why)))).build().await.unwrap();
    /// pool.pause();
    /// pool.call("to Ann".to_owned()).detach().unwrap();
    /// pool.shutdown(Drain::now()).await;
    /// assert_eq!(kept.try_recv().unwrap(), ("to Ann".to_owned(), Discard::Shutdown));
    /// # });
    /// ```
    #[must_use]
    pub fn on_discard(mut self, keep: impl Fn(W::Request, Discard) + Send + Sync + 'static) -> Self {
        self.keep = Some(Box::new(keep));
        self
    }

    /// Checks the settings without building anything.
    ///
    /// # Errors
    ///
    /// One of them makes no sense.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        self.threads.check()?;
        #[cfg(feature = "affinity")]
        self.settings.placement.check()?;
        if let Some((gate, reserved)) = &self.gate {
            gate.check(*reserved)?;
        }
        if self.name.contains('\0') {
            let value = format!("{:?}", self.name);
            return Err(InvalidSetting::new(
                "name",
                value,
                "without NUL, as threads bear it",
            ));
        }
        if let Overflow::CallerRuns = self.settings.overflow
            && W::stateless().is_none()
        {
            let allowed = "only for workers without a state, which would have to leave its thread";
            return Err(InvalidSetting::new("overflow", "CallerRuns".to_owned(), allowed));
        }
        if let Some(count) = self.settings.max_stuck {
            let allowed = if self.settings.stuck_after.is_none() {
                Some("only with `stuck_after`, or nobody is given up")
            } else if count == 0 || count > MOST {
                Some("1 to 4096")
            } else {
                None
            };
            if let Some(allowed) = allowed {
                return Err(InvalidSetting::new("max_stuck", count.to_string(), allowed));
            }
        }
        for (setting, time) in [
            ("idle", self.settings.idle),
            ("run_timeout", self.settings.run_timeout),
        ] {
            if time.is_some_and(|time| time.is_zero()) {
                return Err(InvalidSetting::new(setting, "0ns".to_owned(), "longer than zero"));
            }
        }
        Ok(())
    }

    /// Starts the least number of threads, and waits until each has made its state.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, no thread can be started, or a state can't be made; then all threads are ended again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the threads again.
    pub async fn build(self) -> Result<Pool<W>, BuildError<W::Error>> {
        self.check().map_err(BuildError::Invalid)?;
        let mut settings = self.settings;
        (settings.least, settings.most) = (self.threads.least, self.threads.most);
        let least = settings.least;
        #[cfg(feature = "affinity")]
        {
            settings.placement = settings.placement.resolve();
        }
        let shared = Arc::new(Shared::<W>::new(
            self.name.into(),
            settings,
            self.clock,
            self.observer,
            self.keep,
        ));
        if let Some((gate, reserved)) = self.gate {
            let member: Weak<dyn Member> = Arc::downgrade(&shared) as Weak<dyn Member>;
            let share = gate.join(reserved, member).map_err(BuildError::Invalid)?;
            shared.hub.join_gate(share);
        }
        let pulse = Arc::new(Arcs(Arc::clone(&shared)));
        let weak: Weak<dyn Pulse> = Arc::downgrade(&pulse) as Weak<dyn Pulse>;
        watch::register(weak).map_err(BuildError::Thread)?;
        let pool = Pool::of(Arc::clone(&shared), pulse);
        let first = Arc::new(First::<W>(Mutex::new(Count {
            left: least,
            error: None,
            waker: None,
        })));
        let mut seats = shared.hub.reserve(least).into_iter();
        while let Some(seat) = seats.next() {
            let heard = Arc::clone(&first);
            if let Err(error) = crew::start(&shared, seat, Some(Box::new(move |made| heard.hear(made)))) {
                for seat in std::iter::once(seat).chain(seats) {
                    shared.handle(shared.hub.give_up(seat));
                }
                return Err(BuildError::Thread(error));
            }
        }
        first.wait().await.map_err(|error| match error {
            NotMade::Failed(error) => BuildError::Init(error),
            NotMade::Panicked(panic) => BuildError::Panicked(panic),
        })?;
        Ok(pool)
    }

    /// As [`build`](Self::build), waiting on this thread.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_blocking(self) -> Result<Pool<W>, BuildError<W::Error>> {
        block_on(self.build())
    }
}

/// Hears of the first states.
struct First<W: Worker>(Mutex<Count<W::Error>>);

struct Count<E> {
    left: usize,
    error: Option<NotMade<E>>,
    waker: Option<Waker>,
}

impl<W: Worker> First<W> {
    fn hear(&self, made: Result<(), NotMade<W::Error>>) {
        let mut count = lock(&self.0);
        count.left -= 1;
        if let Err(error) = made {
            count.error.get_or_insert(error);
        }
        let waker = count.waker.take();
        drop(count);
        if let Some(waker) = waker {
            crate::job::quietly(|| waker.wake());
        }
    }

    async fn wait(&self) -> Result<(), NotMade<W::Error>> {
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut count = lock(&self.0);
            if let Some(error) = count.error.take() {
                return Poll::Ready(Err(error));
            }
            if count.left == 0 {
                return Poll::Ready(Ok(()));
            }
            let old = count.waker.replace(waker);
            drop(count);
            drop(old); // it may do anything
            Poll::Pending
        })
        .await
    }
}

impl<W: Worker> fmt::Debug for Builder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("threads", &self.threads)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Why a pool could not be built.
///
/// # Examples
///
/// ```
/// use cortex_workers::{BuildError, Closures, Pool};
///
/// let error = Pool::<Closures>::builder("none").threads(3..=2).build_blocking().unwrap_err();
/// assert!(matches!(error, BuildError::Invalid(setting) if setting.setting() == "threads"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError<E> {
    /// A setting makes no sense.
    Invalid(InvalidSetting),
    /// The operating system starts no thread.
    Thread(io::Error),
    /// A worker could not make its state.
    Init(E),
    /// A worker panicked while it made its state.
    Panicked(Panic),
}

impl<E: fmt::Display> fmt::Display for BuildError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("build a pool: ")?;
        match self {
            Self::Invalid(error) => write!(f, "failed to {error}"),
            Self::Thread(error) => write!(f, "no thread could be started: {error}"),
            Self::Init(error) => write!(f, "a worker could not begin: {error}"),
            Self::Panicked(panic) => write!(f, "a worker panicked as it began: {}", panic.message()),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for BuildError<E> {}
