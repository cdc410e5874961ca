use crate::offload::{Job, Offload};
use cortex_core::Clock;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How long the jobs of an offload wait.
#[derive(Debug, Default)]
pub(super) struct Delay(Mutex<Waits>);

#[derive(Debug, Default)]
struct Waits {
    /// The jobs that have not begun, the oldest first.
    waiting: BTreeSet<Ticket>,
    submitted: u64,
    /// The longest waits that ended in this window of time, and in the one before.
    longest: [u64; 2],
    window: u64,
    /// Since it was last asked for.
    refused: bool,
}

/// When a job was submitted, and its number.
type Ticket = (u64, u64);

/// A job that was refused has waited for ever.
const REFUSED: u64 = u64::MAX;

/// A wait counts for one to two of these after it has ended, in nanoseconds.
const WINDOW: u64 = 500_000_000;

impl Delay {
    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submitted(&self, now: u64) -> Ticket {
        let mut waits = self.waits();
        waits.submitted += 1;
        let ticket = (now, waits.submitted);
        waits.waiting.insert(ticket);
        ticket
    }

    fn refused(&self, ticket: Ticket) {
        let mut waits = self.waits();
        waits.waiting.remove(&ticket);
        waits.refused = true;
    }

    /// The job has begun, or was dropped.
    fn ended(&self, ticket: Ticket, now: u64) {
        let mut waits = self.waits();
        if waits.waiting.remove(&ticket) {
            waits.turn(now);
            waits.longest[0] = waits.longest[0].max(now.saturating_sub(ticket.0));
        }
    }

    /// Returns in nanoseconds the longest wait there is, or was within about a second; of refusals, since this was last
    /// asked for.
    pub(super) fn read(&self, now: u64) -> u64 {
        let mut waits = self.waits();
        if std::mem::take(&mut waits.refused) {
            return REFUSED;
        }
        waits.turn(now);
        let oldest = waits.waiting.first();
        let waiting = oldest.map_or(0, |&(since, _)| now.saturating_sub(since));
        let [longest, before] = waits.longest;
        waiting.max(longest).max(before)
    }
}

impl Waits {
    /// Forgets what ended too long ago.
    fn turn(&mut self, now: u64) {
        let window = now / WINDOW;
        match window.saturating_sub(self.window) {
            0 => return,
            1 => self.longest = [0, self.longest[0]],
            _ => self.longest = [0; 2],
        }
        self.window = window;
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
        let clock = Arc::clone(&self.clock);
        let ticket = self.delay.submitted(clock.nanos());
        let wait = Wait {
            delay: Arc::clone(&self.delay),
            clock,
            ticket,
        };
        let watched = Box::new(move || {
            drop(wait);
            job();
        });
        self.inner
            .submit(watched)
            .inspect_err(|_| self.delay.refused(ticket))
    }
}

/// A job that waits: until this is dropped, by the job or with it.
struct Wait {
    delay: Arc<Delay>,
    clock: Arc<dyn Clock>,
    ticket: Ticket,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.delay.ended(self.ticket, self.clock.nanos());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_testkit::ManualClock;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn the_longest_wait_counts_for_a_while_and_a_refusal_once_and_most() {
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
        let read = || watched.delay.read(clock.nanos());
        for wait in [5, 3] {
            assert!(watched.submit(job()).is_ok());
            clock.advance(Duration::from_millis(wait));
        }
        assert_eq!(read(), 8_000_000, "neither has begun");
        let refused = watched.submit(job());
        refused.unwrap_err()(); // it is a job still
        assert_eq!((read(), read()), (REFUSED, 8_000_000));
        let taken = std::mem::take(&mut *queue.lock().unwrap());
        for job in taken {
            clock.advance(Duration::from_millis(1));
            job();
        }
        assert_eq!(ran.load(Ordering::Relaxed), 3);
        assert_eq!((read(), read()), (9_000_000, 9_000_000));
        clock.advance(Duration::from_nanos(WINDOW));
        assert_eq!(read(), 9_000_000);
        clock.advance(Duration::from_nanos(WINDOW));
        assert_eq!(read(), 0);
        // One that is dropped has waited, and waits no more.
        assert!(watched.submit(job()).is_ok());
        clock.advance(Duration::from_millis(7));
        queue.lock().unwrap().clear();
        assert_eq!(read(), 7_000_000);
        clock.advance(Duration::from_nanos(2 * WINDOW));
        assert_eq!(read(), 0);
        assert!(watched.delay.waits().waiting.is_empty());
    }
}
