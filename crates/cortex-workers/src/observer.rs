use crate::event::Event;
use std::sync::Arc;

/// Hears what happens in pools; `()` hears nothing, a pair tells both. Give it to [`Builder::observe`](crate::Builder::observe).
///
/// It is called on the thread where the thing happens: a worker's, a caller's, or the one that watches the clock for all pools. No
/// lock of the pool is held then, so that it may look at the pool; but it must not block, as that thread has more to do. If it
/// panics the pool goes on. Without an observer no event is made.
///
/// # Performance
///
/// A task takes about 20 ns more with an observer, besides what the observer does. Where numbers are enough, the
/// [`Snapshot`](crate::Snapshot) has them for nothing more.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Event, Observer, Outcome, Pool};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Default)]
/// struct Panics(AtomicU64);
///
/// impl Observer for Panics {
///     fn on_event(&self, _pool: &str, event: &Event) {
///         if let Event::Ended { outcome: Outcome::Panicked, .. } = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let panics = Arc::new(Panics::default());
/// let builder = Pool::<Closures>::builder("reports").threads(1).observe(Arc::clone(&panics));
/// let pool = builder.build().await.unwrap();
/// pool.run(|_, _| panic!("no paper")).await.unwrap_err();
/// pool.shutdown(cortex_workers::Drain::unlimited()).await;
/// assert_eq!(panics.0.load(Ordering::Relaxed), 1);
/// # });
/// ```
pub trait Observer: Send + Sync {
    /// Takes note of an event in the pool with this name.
    fn on_event(&self, pool: &str, event: &Event) {
        let _ = (pool, event);
    }
}

impl Observer for () {}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn on_event(&self, pool: &str, event: &Event) {
        self.0.on_event(pool, event);
        self.1.on_event(pool, event);
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn on_event(&self, pool: &str, event: &Event) {
        (**self).on_event(pool, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::StopReason;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Log(Mutex<Vec<(String, Event)>>);

    impl Observer for Log {
        fn on_event(&self, pool: &str, event: &Event) {
            let mut log = self.0.lock().expect("nothing panics under it");
            log.push((pool.to_owned(), *event));
        }
    }

    #[test]
    fn pairs_tell_both_and_nest() {
        let (first, second) = (Arc::new(Log::default()), Arc::new(Log::default()));
        let event = Event::WorkerEnded {
            thread: 1,
            reason: StopReason::Idle,
        };
        (first.clone(), ((), second.clone())).on_event("mail", &event);
        for log in [first, second] {
            assert_eq!(*log.0.lock().unwrap(), [("mail".to_owned(), event)]);
        }
    }
}
