use super::pool::CpuPool;
use crate::block_on::block_on;
use crate::builder::{BuildError, Builder};
use crate::gate::Gate;
use crate::invalid::InvalidSetting;
use crate::job::drop_quietly;
use crate::joins::{Helpers, Thread};
use crate::observer::Observer;
use crate::overflow::Overflow;
use crate::worker::Closures;
use cortex_core::Clock;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Sets up a [`CpuPool`].
///
/// # Examples
///
/// ```
/// use cortex_workers::{CpuPool, Overflow};
///
/// let builder = CpuPool::builder("images").threads(2).queue(16).overflow(Overflow::Reject);
/// let cpu = builder.build_blocking().unwrap();
/// assert_eq!(cpu.map(vec![1, 2, 3], |number| number * 2).wait().unwrap(), [2, 4, 6]);
/// ```
#[derive(Debug)]
pub struct CpuBuilder {
    builder: Builder<Closures>,
    name: String,
    threads: usize,
    stack_size: Option<usize>,
    #[cfg(feature = "affinity")]
    placement: crate::placement::Placement,
}

impl CpuBuilder {
    pub(super) fn new(name: String) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            builder: Builder::new(name.clone()),
            name,
            threads,
            stack_size: None,
            #[cfg(feature = "affinity")]
            placement: crate::placement::Placement::default(),
        }
    }

    /// Sets how many threads compute, and how many tasks are begun at a time; as many as there are processors by default.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.threads = count;
        self
    }

    /// Sets how many tasks may wait; 1024 by default. With 0 a task is accepted only if fewer are under way than there are threads.
    #[must_use]
    pub fn queue(mut self, capacity: usize) -> Self {
        self.builder = self.builder.queue(capacity);
        self
    }

    /// Has the tasks in the queue take places that pools share, as [`Builder::gate`].
    #[must_use]
    pub fn gate(mut self, gate: &Gate, reserved: usize) -> Self {
        self.builder = self.builder.gate(gate, reserved);
        self
    }

    /// Sets what happens to a call when the queue is full; it waits by default.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.builder = self.builder.overflow(overflow);
        self
    }

    /// Sets how long a task waits until it counts for one priority more; 50 ms by default. With `None` nothing that is low runs while
    /// there is something above it.
    #[must_use]
    pub fn ageing(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.builder = self.builder.ageing(time);
        self
    }

    /// Sets how long a task may run, counted from when it is begun; for ever by default.
    #[must_use]
    pub fn run_timeout(mut self, time: Duration) -> Self {
        self.builder = self.builder.run_timeout(time);
        self
    }

    /// Sets how long tasks may take to stop at the end of a shutdown before they are left to themselves; 1 s by default.
    #[must_use]
    pub fn grace(mut self, time: Duration) -> Self {
        self.builder = self.builder.grace(time);
        self
    }

    /// Sets the size of the stack of each thread that computes, in bytes; that of the standard library by default.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Binds each thread that computes to a core, as [`Builder::affinity`].
    #[cfg(feature = "affinity")]
    #[must_use]
    pub fn affinity(mut self, cores: crate::Cores) -> Self {
        self.placement.cores = cores;
        self
    }

    /// Sets how much the threads that compute give way to others, as [`Builder::niceness`].
    #[cfg(feature = "affinity")]
    #[must_use]
    pub fn niceness(mut self, level: i8) -> Self {
        self.placement.niceness = Some(level);
        self
    }

    /// Sets the clock; a [`TscClock`](cortex_core::TscClock) by default.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.builder = self.builder.clock(clock);
        self
    }

    /// Has what happens told to an observer, as [`Builder::observe`].
    #[must_use]
    pub fn observe(mut self, observer: impl Observer + 'static) -> Self {
        self.builder = self.builder.observe(observer);
        self
    }

    /// Makes a span of each task, as [`Builder::trace`].
    #[cfg(feature = "trace")]
    #[must_use]
    pub fn trace(mut self) -> Self {
        self.builder = self.builder.trace();
        self
    }

    /// Checks the settings without building anything.
    ///
    /// # Errors
    ///
    /// One of them makes no sense.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        crate::pool::Threads::from(self.threads).check()?;
        #[cfg(feature = "affinity")]
        self.placement.check()?;
        self.builder.check()
    }

    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, or a thread can't be started.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the threads again.
    pub async fn build(self) -> Result<CpuPool, BuildError<Infallible>> {
        self.check().map_err(BuildError::Invalid)?;
        let pool = self.builder.threads(self.threads).build().await?;
        let (shared, name) = (Arc::clone(pool.shared()), self.name);
        let mut own = Vec::new();
        #[cfg(feature = "affinity")]
        let placement = self.placement.resolve();
        let mut threads = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            // rayon waits for no thread at the end; the pool does.
            .spawn_handler(|thread| {
                let name = thread.name().unwrap_or_default().to_owned();
                let mut builder = std::thread::Builder::new().name(name);
                if let Some(bytes) = thread.stack_size() {
                    builder = builder.stack_size(bytes);
                }
                own.push(Thread::start(builder, || thread.run())?);
                Ok(())
            })
            .thread_name(move |index| format!("{name}-cpu-{index}"))
            // To wait there for another task of the pool is to run it there.
            .start_handler(move |index| {
                shared.enter_thread();
                #[cfg(feature = "affinity")]
                shared.place(&placement, index);
                #[cfg(not(feature = "affinity"))]
                let _ = index;
            })
            // Without one, a panic in what a task spawns ends the process; the panic hook has told of it.
            .panic_handler(drop_quietly);
        if let Some(bytes) = self.stack_size {
            threads = threads.stack_size(bytes);
        }
        let threads = threads
            .build()
            .map_err(|error| BuildError::Thread(io::Error::other(error)))?;
        let threads = Arc::new(threads);
        let weak = Arc::downgrade(&threads);
        pool.shared().joins.add(Helpers {
            threads: own,
            let_go: Some(Box::new(move || drop(threads))),
        });
        Ok(CpuPool::new(pool, weak))
    }

    /// As [`build`](Self::build), waiting on this thread.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_blocking(self) -> Result<CpuPool, BuildError<Infallible>> {
        block_on(self.build())
    }
}
