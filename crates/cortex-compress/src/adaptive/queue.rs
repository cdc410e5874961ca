use crate::offload::{Job, Offload};
use cortex_core::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How long jobs have waited since this was last asked for.
#[derive(Debug, Default)]
pub(super) struct Delay(AtomicU64);

/// A job that was refused has waited for ever.
const REFUSED: u64 = u64::MAX;

impl Delay {
    fn note(&self, nanos: u64) {
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }

    /// Returns the longest wait in nanoseconds, and begins anew.
    pub(super) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// An offload, and how long its jobs wait.
pub(super) struct Watched {
    pub(super) inner: Arc<dyn Offload>,
    pub(super) delay: Arc<Delay>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Offload for Watched {
    fn submit(&self, job: Job) -> Result<(), Job> {
        let (delay, clock) = (Arc::clone(&self.delay), Arc::clone(&self.clock));
        let submitted = clock.nanos();
        let watched = Box::new(move || {
            delay.note(clock.nanos().saturating_sub(submitted));
            job();
        });
        self.inner
            .submit(watched)
            .inspect_err(|_| self.delay.note(REFUSED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_testkit::ManualClock;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    #[test]
    fn the_longest_wait_counts_until_it_was_asked_for_and_a_refusal_counts_most() {
        let clock = ManualClock::new();
        let queue: Arc<Mutex<Vec<Job>>> = Arc::default();
        let jobs = Arc::clone(&queue);
        let watched = Watched {
            inner: Arc::new(move |job: Job| -> Result<(), Job> {
                let mut jobs = jobs.lock().unwrap();
                if jobs.len() == 2 {
                    return Err(job);
                }
                jobs.push(job);
                Ok(())
            }),
            delay: Arc::default(),
            clock: Arc::new(clock.clone()),
        };
        let ran = Arc::new(AtomicUsize::new(0));
        let job = || -> Job {
            let ran = Arc::clone(&ran);
            Box::new(move || {
                ran.fetch_add(1, Ordering::Relaxed);
            })
        };
        for wait in [5, 3] {
            assert!(watched.submit(job()).is_ok());
            clock.advance(Duration::from_millis(wait));
        }
        assert_eq!(watched.delay.take(), 0, "neither has begun");
        let refused = watched.submit(job());
        refused.unwrap_err()(); // it is a job still
        assert_eq!(watched.delay.take(), REFUSED);
        for job in std::mem::take(&mut *queue.lock().unwrap()) {
            job();
        }
        assert_eq!(ran.load(Ordering::Relaxed), 3);
        assert_eq!(watched.delay.take(), 8_000_000);
        assert_eq!(watched.delay.take(), 0);
    }
}
