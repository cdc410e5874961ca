use crate::cancel::{Cancel, Service};
use crate::error::Error;
use crate::instance::Instance;
use crate::module::{Module, printable};
use crate::shared::Shared;
use crate::shelf::Shelf;
use crate::tenant::Tenant;
use cortex_workers::{AfterPanic, Drain, DrainReport, Overflow, Pool, TaskCx, Threads, Worker, WorkerCx};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Threads on which guests run; made by [`WasmHost::guests`](crate::WasmHost::guests).
///
/// Each thread makes its own instances and keeps some for the next call. Whoever drops the future of a call, or waits
/// no longer than its `Context` says, ends it: one that waits never runs, and a guest that runs is stopped.
///
/// A clone is the same pool; when the last one is dropped it is shut down.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{Error, WasmHost};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let host = WasmHost::builder().build()?;
/// let wasm = wat::parse_str(
///     r#"(module (func (export "double") (param i32) (result i32)
///         (i32.shl (local.get 0) (i32.const 1))))"#,
/// ).unwrap();
/// let module = host.compile("double", &wasm)?;
/// let double = module.func::<(u32,), u32>("double")?;
/// let tenant = host.tenant(64 << 20);
///
/// let guests = host.guests().threads(2).queue(64).build().await?;
/// let result = guests.run(&module, &tenant, move |guest| guest.call(&double, (21,))).await?;
/// assert_eq!(result?, 42);
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Guests {
    pool: Pool<Thread>,
    shared: Arc<Shared>,
    idle: (usize, usize),
}

/// Sets up [`Guests`].
#[derive(Debug)]
#[must_use = "no thread is started before `build`"]
pub struct GuestsBuilder {
    shared: Arc<Shared>,
    threads: Threads,
    queue: usize,
    overflow: Overflow,
    idle: (usize, usize),
}

/// What a thread has: its instances, once the first guest ran.
#[derive(Debug)]
struct Thread(Option<Shelf>);

impl GuestsBuilder {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            shared: Arc::clone(shared),
            threads: processors.into(),
            queue: 1024,
            overflow: Overflow::Wait,
            idle: (16, 2),
        }
    }

    /// Sets how many threads there are: as many as processors unless told.
    pub fn threads(mut self, threads: impl Into<Threads>) -> Self {
        self.threads = threads.into();
        self
    }

    /// Bounds how many calls wait: 1,024 unless told.
    pub fn queue(mut self, calls: usize) -> Self {
        self.queue = calls;
        self
    }

    /// Says what becomes of a call when the queue is full: it waits for a place unless told.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Has each thread keep so many instances, and so many of one module: 16 and 2 unless told. That which was used
    /// longest ago goes first, and all together never have more memories than the host may.
    pub fn idle(mut self, instances: usize, of_one_module: usize) -> Self {
        self.idle = (instances, of_one_module);
        self
    }

    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] if the settings make no sense, or no thread can be started.
    pub async fn build(self) -> Result<Guests, Error> {
        let pool = self.pool().build().await;
        Ok(self.with(pool.map_err(|error| failed(&error))?))
    }

    /// Starts the threads, and waits for them where it is.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_blocking(self) -> Result<Guests, Error> {
        let pool = self.pool().build_blocking();
        Ok(self.with(pool.map_err(|error| failed(&error))?))
    }

    fn pool(&self) -> cortex_workers::Builder<Thread> {
        Pool::builder("wasm")
            .threads(self.threads)
            .queue(self.queue)
            .overflow(self.overflow)
            .clock(Arc::clone(&self.shared.clock))
    }

    fn with(self, pool: Pool<Thread>) -> Guests {
        Guests {
            pool,
            shared: self.shared,
            idle: self.idle,
        }
    }
}

impl Guests {
    /// Runs a closure with an instance that is as new, for a tenant, on one of the threads.
    ///
    /// # Errors
    ///
    /// As [`WasmHost::instantiate_for`](crate::WasmHost::instantiate_for), [`Error::PoolExhausted`],
    /// [`Error::PoolClosed`], [`Error::Timeout`] if the deadline of the `Context` came first, and [`Error::HostPanic`]
    /// if the closure panicked. What it returns is beside that.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done, the call is taken from the queue, or its guest is stopped.
    pub fn run<R, F>(
        &self,
        module: &Module,
        tenant: &Tenant,
        run: F,
    ) -> impl Future<Output = Result<R, Error>> + Send + use<R, F>
    where
        F: FnOnce(&mut Instance) -> R + Send + 'static,
        R: Send + 'static,
    {
        let cancel = Arc::new(Cancel::default());
        let stop = StopOnDrop(Arc::clone(&cancel));
        let call = self.pool.run(self.job(module, tenant, run, cancel)).owned();
        async move {
            let _stop = stop;
            call.await.unwrap_or_else(|error| Err(lost(&error)))
        }
    }

    /// As [`run`](Self::run), for a thread that waits for the answer.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn run_blocking<R, F>(&self, module: &Module, tenant: &Tenant, run: F) -> Result<R, Error>
    where
        F: FnOnce(&mut Instance) -> R + Send + 'static,
        R: Send + 'static,
    {
        let cancel = Arc::new(Cancel::default());
        let _stop = StopOnDrop(Arc::clone(&cancel));
        let call = self.pool.run(self.job(module, tenant, run, cancel));
        call.wait().unwrap_or_else(|error| Err(lost(&error)))
    }

    fn job<R, F>(
        &self,
        module: &Module,
        tenant: &Tenant,
        run: F,
        cancel: Arc<Cancel>,
    ) -> impl FnOnce(&mut Thread, &TaskCx<'_>) -> Result<R, Error> + Send + use<R, F>
    where
        F: FnOnce(&mut Instance) -> R + Send + 'static,
    {
        let (module, tenant) = (module.clone(), tenant.clone());
        let (shared, idle) = (Arc::clone(&self.shared), self.idle);
        move |thread: &mut Thread, cx: &TaskCx<'_>| {
            let waiting = thread
                .0
                .get_or_insert_with(|| Shelf::new(&shared, idle.0, idle.1));
            let service = Service {
                until: cx.deadline(),
                cancel: Some(cancel),
            };
            waiting.lease(&module, &tenant, service, run)
        }
    }

    /// Accepts no more calls, and lets those that there are end within a time. Whoever waits for others is told then that
    /// the pool is closed, which stops their guests.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done it can be called again.
    pub async fn shutdown(&self, drain: Drain) -> DrainReport {
        self.pool.shutdown(drain).await
    }

    /// Returns how the threads and their queue stand.
    pub fn snapshot(&self) -> cortex_workers::Snapshot {
        self.pool.snapshot()
    }
}

impl Worker for Thread {
    type Request = Infallible;
    type Response = Infallible;
    type Error = Infallible;

    fn init(_: &WorkerCx<'_>) -> Result<Self, Infallible> {
        Ok(Self(None))
    }

    fn run(&mut self, request: Infallible, _: &TaskCx<'_>) -> Result<Infallible, Infallible> {
        match request {}
    }

    /// The instance is gone that was in use; the others had no part in it.
    fn after_panic(&mut self) -> AfterPanic {
        AfterPanic::Keep
    }
}

/// Stops a call when nobody waits for it.
struct StopOnDrop(Arc<Cancel>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Says why a call came to nothing.
fn lost<Q>(error: &cortex_workers::Error<Q>) -> Error {
    use cortex_workers::Error as Lost;
    match error {
        Lost::Full(_) => Error::PoolExhausted,
        Lost::Panicked(panic) => Error::HostPanic {
            message: printable(panic.message()),
        },
        Lost::Deadline { .. } | Lost::RunTimeout { .. } => Error::Timeout {
            deadline: crate::Deadline::Wall(Duration::ZERO),
        },
        _ => Error::PoolClosed,
    }
}

fn failed(error: &cortex_workers::BuildError<Infallible>) -> Error {
    Error::Pool {
        reason: printable(&error.to_string()),
    }
}

impl fmt::Debug for Guests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guests")
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}
