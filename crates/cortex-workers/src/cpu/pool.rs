use super::builder::CpuBuilder;
use super::call::CpuCall;
use super::parallel::{self, How};
use crate::call::Call;
use crate::drain::{Drain, DrainReport};
use crate::pool::Pool;
use crate::snapshot::Snapshot;
use crate::task_cx::TaskCx;
use crate::worker::Closures;
use std::fmt;
use std::sync::Weak;

/// Threads that divide the work on much data between them, with the bounded queue, priorities, deadlines, cancellation and orderly end of
/// a [`Pool`].
///
/// As many tasks are under way as there are threads, and all threads help with each; the rest waits in the queue, where priorities count.
/// Between chunks a task looks whether its answer is still wanted, and stops if not. rayon's own iterators, and its `join` and `scope`, use
/// these threads within a task.
///
/// Clones are the same pool. When the last one is dropped the pool is shut down as by [`Drain::now`], without waiting.
///
/// # Examples
///
/// ```
/// use cortex_workers::CpuPool;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let cpu = CpuPool::builder("sums").threads(2).build().await.unwrap();
/// let numbers: Vec<u64> = (1..=100_000).collect();
/// let sums = cpu.map_chunks(numbers, 1000, |chunk| chunk.iter().sum::<u64>()).await.unwrap();
/// assert_eq!((sums.len(), sums.iter().sum()), (100, 5_000_050_000_u64));
/// # });
/// ```
#[derive(Clone)]
pub struct CpuPool {
    /// Those that wait there for a task that rayon's threads do: as many as may be under way.
    pool: Pool<Closures>,
    /// Gone once the pool has ended.
    threads: Weak<rayon::ThreadPool>,
}

impl CpuPool {
    /// Begins to set up a pool with this name, which its threads bear.
    pub fn builder(name: impl Into<String>) -> CpuBuilder {
        CpuBuilder::new(name.into())
    }

    pub(super) const fn new(pool: Pool<Closures>, threads: Weak<rayon::ThreadPool>) -> Self {
        Self { pool, threads }
    }

    /// Runs a closure; what it does with rayon is done by the threads of the pool.
    ///
    /// # Errors
    ///
    /// As [`Error`](crate::Error) says.
    pub fn run<F, T>(&self, closure: F) -> CpuCall<'_, F, (), T>
    where
        F: FnOnce(&TaskCx<'_>) -> T + Send + 'static,
        T: Send + 'static,
    {
        self.call(closure, (), parallel::run)
    }

    /// Makes something of each item, in order. It looks whether it is to stop after some of them, at most 1024.
    ///
    /// # Errors
    ///
    /// As [`Error`](crate::Error) says. If an item panics, no more are begun.
    pub fn map<T, R, F>(&self, items: Vec<T>, map: F) -> CpuCall<'_, Vec<T>, F, Vec<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: Fn(T) -> R + Send + Sync + 'static,
    {
        self.call(items, map, parallel::map)
    }

    /// Makes something of each chunk of so many items, of which the last may have fewer, in order. It looks between chunks whether it is
    /// to stop. A chunk of 0 items has one.
    ///
    /// # Errors
    ///
    /// As [`Error`](crate::Error) says. If a chunk panics, no more are begun.
    pub fn map_chunks<T, R, F>(
        &self,
        items: Vec<T>,
        chunk: usize,
        map: F,
    ) -> CpuCall<'_, Vec<T>, (usize, F), Vec<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: Fn(Vec<T>) -> R + Send + Sync + 'static,
    {
        self.call(items, (chunk.max(1), map), parallel::map_chunks)
    }

    /// Makes one of all items: `fold` adds an item to what begins as `identity`, `combine` makes one of two such in order. It looks
    /// whether it is to stop after some items, at most 1024.
    ///
    /// The answer is that of a loop if `combine` is associative, and `identity` changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Error`](crate::Error) says. If an item panics, no more are begun.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cpu = cortex_workers::CpuPool::builder("words").threads(2).build_blocking().unwrap();
    /// let words = vec!["no", "copies", "of", "items"];
    /// let longest = cpu.reduce(words, || 0, |most: usize, word| most.max(word.len()), usize::max);
    /// assert_eq!(longest.wait().unwrap(), 6);
    /// ```
    pub fn reduce<T, R, I, F, C>(
        &self,
        items: Vec<T>,
        identity: I,
        fold: F,
        combine: C,
    ) -> CpuCall<'_, Vec<T>, (I, F, C), R>
    where
        T: Send + 'static,
        R: Send + 'static,
        I: Fn() -> R + Send + Sync + 'static,
        F: Fn(R, T) -> R + Send + Sync + 'static,
        C: Fn(R, R) -> R + Send + Sync + 'static,
    {
        self.call(items, (identity, fold, combine), parallel::reduce)
    }

    fn call<Q, F, T>(&self, input: Q, with: F, how: How<Q, F, T>) -> CpuCall<'_, Q, F, T>
    where
        Q: Send + 'static,
        F: Send + 'static,
        T: Send + 'static,
    {
        let work = parallel::Parallel::new(input, with, how, Weak::clone(&self.threads));
        CpuCall(Call::new(self.pool.shared(), work))
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        self.pool.name()
    }

    /// Returns the pool in front, whose threads wait for those that compute: for what watches pools, as metrics and health do.
    pub const fn front(&self) -> &Pool<Closures> {
        &self.pool
    }

    /// Lets no task begin until [`resume`](Self::resume); calls wait in the queue.
    pub fn pause(&self) {
        self.pool.pause();
    }

    /// Lets tasks begin again.
    pub fn resume(&self) {
        self.pool.resume();
    }

    /// Returns how the pool stands. A busy thread is one that waits for the task that it has begun.
    pub fn snapshot(&self) -> Snapshot {
        self.pool.snapshot()
    }

    /// As [`Pool::tick`].
    pub fn tick(&self) {
        self.pool.tick();
    }

    /// Ends the pool, as [`Pool::shutdown`]: it waits for the threads that compute, too.
    ///
    /// # Cancel safety
    ///
    /// The shutdown goes on; call it again to wait.
    pub async fn shutdown(&self, drain: Drain) -> DrainReport {
        self.pool.shutdown(drain).await
    }
}

impl fmt::Debug for CpuPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuPool")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
