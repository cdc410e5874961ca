use crate::task_cx::TaskCx;
use std::convert::Infallible;
use std::fmt;

/// What runs on a thread of a [`Pool`](crate::Pool): made there, dropped there, and so free to be neither `Send` nor `Sync`.
///
/// # Panics
///
/// A method that panics ends neither its thread nor the process; see [`after_panic`](Self::after_panic).
///
/// # Examples
///
/// A worker whose state is expensive, and stays where it was made:
///
/// ```
/// use cortex_workers::{Pool, TaskCx, Worker, WorkerCx};
/// use std::collections::HashMap;
/// use std::rc::Rc;
///
/// struct Speller(Rc<HashMap<String, usize>>);
///
/// impl Worker for Speller {
///     type Request = String;
///     type Response = Option<usize>;
///     type Error = std::io::Error;
///
///     fn init(_: &WorkerCx<'_>) -> Result<Self, std::io::Error> {
///         let words = ["amber", "birch"].map(str::to_owned);
///         Ok(Self(Rc::new(words.into_iter().zip(1..).collect())))
///     }
///
///     fn run(&mut self, word: String, _: &TaskCx<'_>) -> Result<Option<usize>, std::io::Error> {
///         Ok(self.0.get(&word).copied())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Speller>::builder("speller").threads(2).build().await.unwrap();
/// assert_eq!(pool.call("birch".to_owned()).await.unwrap(), Some(2));
/// # });
/// ```
pub trait Worker: Sized + 'static {
    /// What it is asked.
    type Request: Send + 'static;
    /// What it answers.
    type Response: Send + 'static;
    /// Why it can't.
    type Error: Send + 'static;

    /// Makes the state, on the thread that will have it.
    ///
    /// # Errors
    ///
    /// It can't be made. When the pool is built that is the error of the builder; later it is tried again after a while.
    fn init(cx: &WorkerCx<'_>) -> Result<Self, Self::Error>;

    /// Answers a request. One that takes long looks at [`TaskCx::check`] now and then.
    ///
    /// # Errors
    ///
    /// Whatever the worker says: the caller gets it as [`Error::Failed`](crate::Error::Failed).
    fn run(&mut self, request: Self::Request, cx: &TaskCx<'_>) -> Result<Self::Response, Self::Error>;

    /// Says what becomes of the state after a task has panicked; it is made anew by default.
    fn after_panic(&mut self) -> AfterPanic {
        AfterPanic::Rebuild
    }

    /// Returns the state of a worker that has none: then its tasks may run on the thread of a caller who waits there, as
    /// [`Overflow::CallerRuns`](crate::Overflow::CallerRuns) has it, and in tasks of the same pool. Most workers have one.
    fn stateless() -> Option<Self> {
        None
    }

    /// Ends the state in an orderly way: flushes, closes. It is not called for a state that is made anew.
    fn teardown(self, why: StopReason) {
        let _ = why;
    }
}

/// What becomes of a worker's state after a panic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AfterPanic {
    /// It is dropped, and made anew after a while that grows with each panic.
    #[default]
    Rebuild,
    /// It is whole, and stays.
    Keep,
}

/// Why a worker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// It had nothing to do for long, and there are more than the least number.
    Idle,
    /// The pool was made smaller.
    Resized,
    /// The pool is shut down.
    Shutdown,
    /// It was stuck, and another one has taken its place.
    Replaced,
}

/// What a worker is told that begins.
#[derive(Clone, Copy, Debug)]
pub struct WorkerCx<'a> {
    pub(crate) pool: &'a str,
    pub(crate) index: usize,
    pub(crate) generation: u32,
    pub(crate) core: Option<usize>,
}

impl WorkerCx<'_> {
    /// Returns the name of the pool.
    pub const fn pool(&self) -> &str {
        self.pool
    }

    /// Returns the number of the thread in the pool: the lowest that was free.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Returns the core that the thread is bound to, if it is: with the feature `affinity`, by `Builder::affinity`.
    pub const fn core(&self) -> Option<usize> {
        self.core
    }

    /// Returns how many states this thread had before.
    pub const fn generation(&self) -> u32 {
        self.generation
    }
}

/// The worker without a state, for pools that run closures.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Pool};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Closures>::builder("files").threads(2).build().await.unwrap();
/// assert_eq!(pool.run(|_, _| 6 * 7).await.unwrap(), 42);
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closures;

impl Worker for Closures {
    type Request = Infallible;
    type Response = Infallible;
    type Error = Infallible;

    fn init(_: &WorkerCx<'_>) -> Result<Self, Infallible> {
        Ok(Self)
    }

    fn run(&mut self, request: Infallible, _: &TaskCx<'_>) -> Result<Infallible, Infallible> {
        match request {}
    }

    fn after_panic(&mut self) -> AfterPanic {
        AfterPanic::Keep
    }

    fn stateless() -> Option<Self> {
        Some(Self)
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Resized => "resized",
            Self::Shutdown => "shutdown",
            Self::Replaced => "replaced",
        })
    }
}
