use crate::builder::Builder;
use crate::call::Call;
use crate::drain::{Drain, DrainReport};
use crate::job::{Closure, Request};
use crate::shared::{Arcs, Shared};
use crate::snapshot::Snapshot;
use crate::task_cx::TaskCx;
use crate::worker::Worker;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Threads of their own for what blocks, computes or has state, called from async and from other code.
///
/// Clones are the same pool. When the last one is dropped the pool is shut down as by [`Drain::now`], without waiting.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Pool, Priority};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Closures>::builder("thumbnails").threads(1..=4).queue(256).build().await?;
/// let size = pool.run(|_, _| (1..=20_u64).product::<u64>()).priority(Priority::High).await?;
/// assert_eq!(size, 2_432_902_008_176_640_000);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct Pool<W: Worker> {
    handle: Arc<Handle<W>>,
}

/// What the handles of a pool share, and nobody else has.
struct Handle<W: Worker> {
    shared: Arc<Shared<W>>,
    /// Keeps the pool looked at.
    _pulse: Arc<Arcs<W>>,
}

impl<W: Worker> Pool<W> {
    /// Begins to set up a pool with this name, which its threads bear.
    pub fn builder(name: impl Into<String>) -> Builder<W> {
        Builder::new(name.into())
    }

    pub(crate) fn of(shared: Arc<Shared<W>>, pulse: Arc<Arcs<W>>) -> Self {
        let handle = Handle {
            shared,
            _pulse: pulse,
        };
        Self {
            handle: Arc::new(handle),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<W>> {
        &self.handle.shared
    }

    /// Asks a worker.
    ///
    /// # Errors
    ///
    /// As [`Error`](crate::Error) says.
    pub fn call(&self, request: W::Request) -> Call<'_, W, Request<W::Request>> {
        Call::new(&self.handle.shared, Request(request))
    }

    /// Runs a closure on a worker, with its state.
    ///
    /// # Errors
    ///
    /// As [`Error`](crate::Error) says.
    pub fn run<F, T>(&self, closure: F) -> Call<'_, W, Closure<F>>
    where
        F: FnOnce(&mut W, &TaskCx<'_>) -> T + Send + 'static,
        T: Send + 'static,
    {
        Call::new(&self.handle.shared, Closure(closure))
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.handle.shared.name
    }

    /// Lets no task begin until [`resume`](Self::resume); calls wait in the queue.
    pub fn pause(&self) {
        let shared = &self.handle.shared;
        shared.handle(shared.hub.pause(true));
    }

    /// Lets tasks begin again.
    pub fn resume(&self) {
        let shared = &self.handle.shared;
        shared.handle(shared.hub.pause(false));
    }

    /// Changes how many threads there are. Those that are too many end after the task they have, idle ones at once.
    ///
    /// # Errors
    ///
    /// There can't be as many, and nothing has changed.
    pub fn resize(&self, threads: impl Into<Threads>) -> Result<(), crate::InvalidSetting> {
        let Threads { least, most } = threads.into().check()?;
        let shared = &self.handle.shared;
        shared.handle(shared.hub.resize(least, most));
        Ok(())
    }

    /// Returns how the pool stands.
    pub fn snapshot(&self) -> Snapshot {
        self.handle.shared.snapshot()
    }

    /// Returns the pool as those see it who do not keep it.
    #[cfg(any(feature = "health", feature = "metrics"))]
    pub(crate) fn look(&self) -> std::sync::Weak<dyn crate::look::Look> {
        let handle: Arc<dyn crate::look::Look> = Arc::<Handle<W>>::clone(&self.handle);
        Arc::downgrade(&handle)
    }

    /// Looks at the clock: for deadlines, time-outs and stuck workers. A thread does so by itself when something is due; whoever
    /// moves the clock by hand calls it.
    pub fn tick(&self) {
        self.handle.shared.look();
    }

    /// Ends the pool: accepts nothing more, has what is queued done, and waits for the threads. Whoever calls it again waits for the
    /// same end, and can bring it forward.
    ///
    /// # Cancel safety
    ///
    /// The shutdown goes on; call it again to wait.
    pub async fn shutdown(&self, drain: Drain) -> DrainReport {
        self.handle.shared.close(drain.within);
        self.handle.shared.ending.wait().await
    }
}

/// How many threads a pool has: a number, or from how many to how many.
///
/// # Examples
///
/// ```
/// use cortex_workers::Threads;
///
/// assert_eq!(Threads::from(2), Threads::from(2..=2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    pub(crate) least: usize,
    pub(crate) most: usize,
}

impl From<usize> for Threads {
    fn from(count: usize) -> Self {
        Self {
            least: count,
            most: count,
        }
    }
}

impl From<RangeInclusive<usize>> for Threads {
    fn from(range: RangeInclusive<usize>) -> Self {
        let (least, most) = range.into_inner();
        Self { least, most }
    }
}

/// More threads than a machine can use are a mistake.
pub(crate) const MOST: usize = 4096;

impl Threads {
    pub(crate) fn check(self) -> Result<Self, crate::InvalidSetting> {
        let Self { least, most } = self;
        if most == 0 || most > MOST || least > most {
            let value = format!("{least}..={most}");
            return Err(crate::InvalidSetting::new(
                "threads",
                value,
                "1 to 4096, and the least is not above the most",
            ));
        }
        Ok(self)
    }
}

impl<W: Worker> Clone for Pool<W> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
        }
    }
}

#[cfg(any(feature = "health", feature = "metrics"))]
impl<W: Worker> crate::look::Look for Handle<W> {
    #[cfg(feature = "metrics")]
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn look(&self) -> Snapshot {
        self.shared.snapshot()
    }

    #[cfg(feature = "health")]
    fn now(&self) -> u64 {
        self.shared.clock.nanos()
    }
}

impl<W: Worker> Drop for Handle<W> {
    fn drop(&mut self) {
        self.shared.close(Duration::ZERO);
        crate::watch::changed();
    }
}

impl<W: Worker> fmt::Debug for Pool<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
