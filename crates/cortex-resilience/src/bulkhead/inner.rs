#[cfg(feature = "tokio")]
use super::gate::Entry;
use super::gate::Gate;
#[cfg(feature = "tokio")]
use super::priority::Priority;
use super::queue::Settings;
#[cfg(feature = "tokio")]
use super::queue::State;
use super::word::MOST;
use crate::build_error::BuildError;
use crate::event::Event;
use crate::observer::Observer;
use crate::rejected::{Reason, Rejected};
use crate::time::nanos;
use cortex_core::Clock;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(feature = "tokio")]
use std::task::Waker;
use std::time::{Duration, Instant};

/// A bulkhead, which its handles share.
pub(super) struct Inner<O, K> {
    gate: Gate,
    /// Whether somebody may wait.
    has_queue: AtomicBool,
    /// Whether ages count in the queue, so that a permit that is handed over needs the time.
    has_ages: AtomicBool,
    max_wait: AtomicU64,
    origin: Instant,
    clock: K,
    observer: O,
    pub(super) name: Box<str>,
    rejected: AtomicU64,
}

/// What a reload replaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) limit: Option<u32>,
    pub(super) queue: u32,
    pub(super) max_wait: Option<Duration>,
    pub(super) older_than: Option<Duration>,
}

const NEVER: u64 = u64::MAX;

impl Rules {
    /// Returns how many permits there are, if all makes sense.
    pub(super) fn check(self) -> Result<u32, BuildError> {
        let limit = self.limit.filter(|limit| (1..=MOST).contains(limit));
        let limit = limit.ok_or_else(|| {
            let value = self.limit.map_or("unset".to_owned(), |limit| limit.to_string());
            BuildError::new("max_concurrent", value, "at least 1 and less than 2^31")
        })?;
        if self.queue == 0 {
            let unused = [("max_wait", self.max_wait), ("adaptive_lifo", self.older_than)];
            if let Some((field, time)) = unused.iter().find_map(|(field, time)| Some((*field, (*time)?))) {
                return Err(BuildError::new(
                    field,
                    format!("{time:?}"),
                    "of use only where `queue` lets calls wait",
                ));
            }
        }
        Ok(limit)
    }

    fn settings(self) -> Settings {
        Settings {
            capacity: self.queue,
            older_than: self.older_than.map(nanos),
        }
    }
}

/// A wait that began.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) slot: u32,
    /// When it is given up, and why.
    pub(super) due: Option<(Instant, Reason)>,
}

impl<O: Observer, K: Clock> Inner<O, K> {
    pub(super) fn new(name: Box<str>, limit: u32, rules: Rules, observer: O, clock: K) -> Self {
        let inner = Self {
            gate: Gate::new(limit, rules.settings()),
            has_queue: AtomicBool::new(false),
            has_ages: AtomicBool::new(false),
            max_wait: AtomicU64::new(NEVER),
            origin: clock.now(),
            clock,
            observer,
            name,
            rejected: AtomicU64::new(0),
        };
        inner.set(rules);
        inner
    }

    pub(super) fn set(&self, rules: Rules) {
        self.gate.set_queue(rules.settings());
        self.has_queue.store(rules.queue > 0, Ordering::Relaxed);
        self.has_ages.store(rules.older_than.is_some(), Ordering::Relaxed);
        let max_wait = rules.max_wait.map_or(NEVER, nanos);
        self.max_wait.store(max_wait, Ordering::Relaxed);
    }

    pub(super) fn resize(&self, limit: u32) {
        for waker in self.gate.resize(limit, self.age()) {
            waker.wake();
        }
    }

    #[inline]
    pub(super) fn try_take(&self) -> bool {
        self.gate.try_take()
    }

    #[inline]
    pub(super) fn give_back(&self) {
        if !self.gate.try_give_back() {
            self.hand_over();
        }
    }

    #[cold]
    fn hand_over(&self) {
        // The clock is the user's: if it panics, the permit is passed on all the same.
        let mut passed = Passed {
            gate: &self.gate,
            age: 0,
        };
        passed.age = self.age();
    }

    /// Returns the time since the bulkhead was made, if the queue needs it.
    fn age(&self) -> u64 {
        if self.has_ages.load(Ordering::Relaxed) {
            self.since_origin(self.clock.now())
        } else {
            0
        }
    }

    fn since_origin(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.origin))
    }

    /// Begins to wait; nothing if there was a permit after all.
    #[cfg(feature = "tokio")]
    pub(super) fn wait(&self, priority: Priority, waker: &Waker) -> Result<Option<Wait>, Reason> {
        let deadline = cortex_core::Context::current().deadline();
        let max_wait = self.max_wait.load(Ordering::Relaxed);
        let has_ages = self.has_ages.load(Ordering::Relaxed);
        let now = if deadline.is_some() || max_wait != NEVER || has_ages {
            self.clock.now()
        } else {
            self.origin
        };
        if deadline.is_some_and(|deadline| deadline.is_past(now)) {
            return Err(Reason::Deadline);
        }
        if !self.has_queue.load(Ordering::Relaxed) {
            return if self.try_take() {
                Ok(None)
            } else {
                Err(Reason::Full)
            };
        }
        let slot = match self.gate.enter(priority, self.since_origin(now), waker.clone()) {
            Entry::Taken => return Ok(None),
            Entry::Full => return Err(Reason::Full),
            Entry::Waits { slot, evicted } => {
                if let Some(evicted) = evicted {
                    evicted.wake();
                }
                slot
            }
        };
        let longest = (max_wait != NEVER).then(|| now.checked_add(Duration::from_nanos(max_wait)));
        let longest = longest.flatten().map(|at| (at, Reason::QueueTimeout));
        let deadline = deadline.map(|deadline| (deadline.instant(), Reason::Deadline));
        let due = match (longest, deadline) {
            (Some(longest), Some(deadline)) if deadline.0 < longest.0 => Some(deadline),
            (longest, deadline) => longest.or(deadline),
        };
        Ok(Some(Wait { slot, due }))
    }

    #[cfg(feature = "tokio")]
    pub(super) fn look(&self, slot: u32, waker: &Waker) -> State {
        self.gate.look(slot, waker.clone())
    }

    #[cfg(feature = "tokio")]
    pub(super) fn leave(&self, slot: u32) -> State {
        self.gate.leave(slot)
    }

    #[cfg(feature = "tokio")]
    pub(super) fn queued(&self) {
        self.observer.on_event(&self.name, &Event::Queued);
    }

    #[cold]
    pub(super) fn refuse(&self, reason: Reason) -> Rejected {
        let rejected = Rejected::new(reason, None);
        self.rejected.fetch_add(1, Ordering::Relaxed);
        self.observer.on_event(&self.name, &Event::Rejected(rejected));
        rejected
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let (waiting, settings) = self.gate.queue();
        let (limit, in_use) = self.gate.permits();
        let whole = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Snapshot {
            max_concurrent: whole(limit),
            in_use: whole(in_use),
            queue: settings.capacity,
            waiting,
            rejected: self.rejected.load(Ordering::Relaxed),
        }
    }
}

/// A permit that is passed on when this is dropped, to whom it belongs at this age of the bulkhead.
struct Passed<'a> {
    gate: &'a Gate,
    age: u64,
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        if let Some(waker) = self.gate.hand_over(self.age) {
            waker.wake();
        }
    }
}

impl<O, K> fmt::Debug for Inner<O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, in_use) = self.gate.permits();
        f.debug_struct("Bulkhead")
            .field("name", &self.name)
            .field("max_concurrent", &limit)
            .field("in_use", &in_use)
            .finish_non_exhaustive()
    }
}

/// How a bulkhead is set, and how it stands.
///
/// # Examples
///
/// ```
/// use cortex_resilience::bulkhead::Bulkhead;
///
/// let search = Bulkhead::builder("search").max_concurrent(10).queue(5).build()?;
/// let permit = search.try_acquire()?;
/// let snapshot = search.snapshot();
/// assert_eq!((snapshot.in_use, snapshot.max_concurrent), (1, 10));
/// assert_eq!((snapshot.waiting, snapshot.queue), (0, 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// How many permits there are.
    pub max_concurrent: u32,
    /// How many are out; more than there are, for a while, after there were made fewer.
    pub in_use: u32,
    /// How many calls may wait.
    pub queue: u32,
    /// How many do.
    pub waiting: u32,
    /// How many calls were refused.
    pub rejected: u64,
}
