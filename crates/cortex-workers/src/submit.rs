use crate::call::Call;
use crate::job::Work;
use crate::pool::Pool;
use crate::task_cx::TaskCx;
use crate::worker::{Closures, Worker};
use std::convert::Infallible;

impl Pool<Closures> {
    /// Has a closure run that asks for nothing and answers nothing: what other crates hand to a pool they know nothing of.
    ///
    /// `cortex-compress` offloads to it with `layer.offload(move |job| pool.submit(job))`. It never waits for a place in the queue,
    /// whatever the pool's policy is.
    ///
    /// # Errors
    ///
    /// It was not accepted, and comes back.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_workers::{Closures, Pool};
    /// use std::sync::mpsc::channel;
    ///
    /// let pool = Pool::<Closures>::builder("encode").threads(1).build_blocking().unwrap();
    /// let (done, hear) = channel();
    /// let job: Box<dyn FnOnce() + Send> = Box::new(move || done.send(42).unwrap());
    /// assert!(pool.submit(job).is_ok());
    /// assert_eq!(hear.recv(), Ok(42));
    /// ```
    pub fn submit<F: FnOnce() + Send + 'static>(&self, job: F) -> Result<(), F> {
        let offered = Call::new(self.shared(), Plain(job)).detach();
        offered.map_err(|refused| match refused.into_work() {
            Some(job) => job,
            None => unreachable!("what was refused was not begun"),
        })
    }
}

/// A closure that has no use for a worker.
struct Plain<F>(F);

impl<W: Worker, F: FnOnce() + Send + 'static> Work<W> for Plain<F> {
    type Answer = ();
    type Failure = Infallible;
    type Back = F;

    fn run(self, _: &mut W, _: &TaskCx<'_>) -> Result<(), Infallible> {
        (self.0)();
        Ok(())
    }

    fn back(self) -> F {
        self.0
    }
}
