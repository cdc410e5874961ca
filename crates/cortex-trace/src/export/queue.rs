use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cortex_core::{Clock, SystemClock};

#[cfg(any(feature = "bridge", feature = "logs"))]
use super::complaint::{Complaints, PAUSE};
use super::completion::lock;
use super::{Abort, Completion, Reporter, Stats, Waiting};
use crate::{BuildError, BuildErrorKind, ExportError};

/// How much an exporter gets at once at most, unless one item is larger: a collector takes requests of 4 MiB.
const BATCH_BYTES: usize = 4_000_000;

/// How much an exporter may lag behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) capacity: usize,
    pub(crate) bytes: usize,
    pub(crate) batch: usize,
    pub(crate) delay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capacity: 8192,
            bytes: 64 << 20,
            batch: 512,
            delay: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// Refuses limits of zero.
    pub(crate) fn checked(self) -> Result<Self, BuildError> {
        if self.capacity == 0 || self.bytes == 0 || self.batch == 0 {
            return Err(BuildError::new(BuildErrorKind::Limit));
        }
        Ok(Self {
            batch: self.batch.min(self.capacity), // a fuller batch never comes together
            ..self
        })
    }

    /// Returns the bytes that make a batch full. Half of the queue, so that there is room for what comes meanwhile.
    const fn batch_bytes(&self) -> usize {
        let half = self.bytes.div_ceil(2);
        if half < BATCH_BYTES { half } else { BATCH_BYTES }
    }
}

/// What lies between the items that are made and one exporter.
#[derive(Debug)]
pub(super) struct Queue<T> {
    pub(super) name: &'static str,
    /// Tells the exporter that nobody waits any longer for its end.
    pub(super) abort: Abort,
    /// Takes errors, also those that the exporter still hopes to get over.
    pub(super) reporter: Reporter,
    /// What is told of losses.
    #[cfg(any(feature = "bridge", feature = "logs"))]
    pub(super) complaints: Complaints,
    limits: Limits,
    state: Mutex<State<T>>,
    /// Wakes the worker.
    wake: Condvar,
    /// Wakes who tells of losses.
    #[cfg(any(feature = "bridge", feature = "logs"))]
    wake_teller: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<Item<T>>,
    /// How many of `items` are to be exported.
    spans: usize,
    /// How much memory those take.
    bytes: usize,
    /// The worker waits for the first item, without looking for itself.
    asleep: bool,
    /// There is something else for the worker to look at.
    look: bool,
    /// Nothing is taken any more.
    closed: bool,
    #[cfg(any(feature = "bridge", feature = "logs"))]
    losses: Losses,
    /// Who waits for the end, and how it was.
    enders: Waiting,
    end: Option<Result<(), ExportError>>,
    stats: Stats,
}

#[cfg(any(feature = "bridge", feature = "logs"))]
#[derive(Debug, Default)]
struct Losses {
    /// Something was dropped, and nothing was taken out since.
    clogged: bool,
    /// A thread tells of them, whatever the worker does.
    has_teller: bool,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            spans: 0,
            bytes: 0,
            asleep: false,
            look: false,
            closed: false,
            #[cfg(any(feature = "bridge", feature = "logs"))]
            losses: Losses::default(),
            enders: Waiting::default(),
            end: None,
            stats: Stats::default(),
        }
    }
}

#[derive(Debug)]
enum Item<T> {
    Span {
        span: T,
        bytes: usize,
    },
    /// Everything before it is exported when it comes out. Two never follow each other, so items bound these, too.
    Flush(Waiting),
}

/// Why a teller does not wait any longer.
#[cfg(any(feature = "bridge", feature = "logs"))]
pub(super) enum Rest {
    /// There may be something to tell.
    Over,
    /// All is told.
    Settled,
    /// The queue is closed.
    Closed,
}

/// What the worker does next.
pub(super) enum Task {
    Export,
    Flush(Waiting),
    /// There is nothing to do here, but there may be elsewhere.
    Look,
    End,
}

impl<T> Queue<T> {
    pub(super) fn new(name: &'static str, limits: Limits) -> Self {
        Self {
            name,
            abort: Abort::new(),
            reporter: Reporter::new(name),
            #[cfg(any(feature = "bridge", feature = "logs"))]
            complaints: Complaints::default(),
            limits,
            state: Mutex::default(),
            wake: Condvar::new(),
            #[cfg(any(feature = "bridge", feature = "logs"))]
            wake_teller: Condvar::new(),
        }
    }

    /// Takes an item of this many bytes, or drops it and counts that. Never waits for the exporter.
    ///
    /// One that is larger than the whole queue may be has it for itself. Says whether a [teller](super::teller) has to be
    /// started, as the worker may hang.
    #[inline] // moves what may be large
    #[must_use]
    pub(super) fn push(&self, span: T, bytes: usize) -> bool {
        let mut state = self.state();
        state.stats.enqueued += 1;
        if state.closed {
            state.stats.dropped_after_shutdown += 1;
        } else if self.is_full(&state, bytes) {
            state.stats.dropped_queue_full += 1;
            #[cfg(any(feature = "bridge", feature = "logs"))]
            {
                state.losses.clogged = true;
                return !std::mem::replace(&mut state.losses.has_teller, true);
            }
        } else {
            state.items.push_back(Item::Span { span, bytes });
            let was_full = state.bytes >= self.limits.batch_bytes();
            state.spans += 1;
            state.bytes += bytes;
            state.stats.in_flight += 1;
            // Waking costs a system call; between these the worker has nothing to learn.
            let tell = std::mem::take(&mut state.asleep)
                || state.spans == self.limits.batch
                || !was_full && state.bytes >= self.limits.batch_bytes();
            drop(state);
            if tell {
                self.wake.notify_one();
            }
        }
        false
    }

    /// Asks for a report once everything queued by now is exported and flushed.
    pub(super) fn flush(&self, completion: &Arc<Completion>) {
        let mut state = self.state();
        if state.end.is_some() {
            drop(state);
            completion.report(self.name, Ok(())); // the shutdown has flushed, and said how that went
        } else if let Some(Item::Flush(waiting)) = state.items.back_mut() {
            waiting.add(completion); // nothing came since: one flush is enough
        } else {
            let mut waiting = Waiting::default();
            waiting.add(completion);
            state.items.push_back(Item::Flush(waiting));
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Closes the queue, and asks for a report once its worker has ended.
    pub(super) fn shutdown(&self, completion: &Arc<Completion>) {
        let mut state = self.state();
        state.closed = true;
        if let Some(end) = state.end.clone() {
            drop(state);
            completion.report(self.name, end);
        } else {
            state.enders.add(completion);
            drop(state);
            self.wake_for_the_end();
        }
    }

    /// Wakes the worker, if it waits, to look at what is not in the queue.
    #[cfg(feature = "bridge")]
    pub(super) fn nudge(&self) {
        self.state().look = true;
        self.wake.notify_one();
    }

    /// Closes the queue; the worker finishes what is in it.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.wake_for_the_end();
    }

    fn wake_for_the_end(&self) {
        self.wake.notify_one();
        #[cfg(any(feature = "bridge", feature = "logs"))]
        self.wake_teller.notify_one();
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.state();
        Stats {
            queued: state.spans as u64,
            queued_bytes: state.bytes as u64,
            queue_capacity: self.limits.capacity as u64,
            ..state.stats
        }
    }

    /// Waits for the worker's next task, and fills `batch` if that is to export it. A worker without any is to look
    /// elsewhere at `due`, and when it is nudged.
    pub(super) fn next(&self, batch: &mut Vec<T>, due: Option<Instant>) -> Task {
        let nothing_to_do = |state: &mut State<T>| state.items.is_empty() && !state.closed && !state.look;
        let may_wait = |state: &mut State<T>| {
            state.spans < self.limits.batch
                && state.bytes < self.limits.batch_bytes()
                && state.items.len() == state.spans
                && !state.closed
                // A batch that comes together is not held up by it, and whoever exports looks afterwards.
                && !(state.look && state.items.is_empty())
        };
        let mut state = self.state();
        loop {
            let waited = self.wake.wait_timeout_while(state, self.limits.delay, may_wait);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if !nothing_to_do(&mut state) {
                break;
            }
            // Only where spans are rare does the first one wake the worker, so that an idle process does not tick.
            state.asleep = true;
            let is_due;
            (state, is_due) = self.sleep(state, due, nothing_to_do);
            state.asleep = false;
            if is_due {
                break;
            }
        }
        state.look = false;
        let mut taken = 0;
        while batch.len() < self.limits.batch {
            let has_room = match state.items.front() {
                Some(Item::Span { bytes, .. }) => taken + bytes <= self.limits.batch_bytes(),
                Some(Item::Flush(_)) | None => false,
            };
            if !has_room && !batch.is_empty() {
                break;
            }
            match state.items.pop_front() {
                Some(Item::Span { span, bytes }) => {
                    state.spans -= 1;
                    state.bytes -= bytes;
                    #[cfg(any(feature = "bridge", feature = "logs"))]
                    {
                        state.losses.clogged = false;
                    }
                    taken += bytes;
                    batch.push(span);
                }
                Some(Item::Flush(waiting)) => return Task::Flush(waiting),
                None => break,
            }
        }
        match (batch.is_empty(), state.closed) {
            (false, _) => Task::Export,
            (true, true) => Task::End,
            (true, false) => Task::Look,
        }
    }

    /// Waits while there is nothing to do; says whether `due` came first.
    fn sleep<'a>(
        &self,
        state: MutexGuard<'a, State<T>>,
        due: Option<Instant>,
        nothing_to_do: impl FnMut(&mut State<T>) -> bool,
    ) -> (MutexGuard<'a, State<T>>, bool) {
        let Some(due) = due else {
            let waited = self.wake.wait_while(state, nothing_to_do);
            return (waited.unwrap_or_else(PoisonError::into_inner), false);
        };
        let rest = due.saturating_duration_since(SystemClock.now());
        let waited = self.wake.wait_timeout_while(state, rest, nothing_to_do);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (state, timeout.timed_out())
    }

    /// Notes how the export of a batch went.
    pub(super) fn exported(&self, spans: usize, result: &Result<(), ExportError>) {
        let spans = spans as u64;
        if let Err(error) = result {
            self.reporter.note(error.clone()); // before it is counted: who sees the number, sees why
        }
        let mut state = self.state();
        state.stats.in_flight -= spans;
        match result {
            Ok(()) => state.stats.exported += spans,
            Err(error) => {
                let (failed, rejected) = error.lost(spans);
                state.stats.failed += failed;
                state.stats.rejected += rejected;
                state.stats.exported += spans - failed - rejected;
            }
        }
    }

    /// Says whether something was dropped, and nothing was taken out since.
    #[cfg(any(feature = "bridge", feature = "logs"))]
    pub(super) fn is_clogged(&self) -> bool {
        self.state().losses.clogged
    }

    /// Waits until there may be more to tell.
    #[cfg(any(feature = "bridge", feature = "logs"))]
    pub(super) fn rest_from_telling(&self) -> Rest {
        let mut state = self.state();
        if self.complaints.is_settled(state.stats) {
            state.losses.has_teller = false; // the next one that is dropped asks for another
            return Rest::Settled;
        }
        let goes_on = |state: &mut State<T>| !state.closed;
        let waited = self.wake_teller.wait_timeout_while(state, PAUSE, goes_on);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed { Rest::Closed } else { Rest::Over }
    }

    pub(super) fn last_error(&self) -> Option<ExportError> {
        self.reporter.last()
    }

    pub(super) fn count_panic(&self) {
        self.state().stats.panics += 1;
    }

    /// Notes how the worker ended, and tells everybody who waits for it.
    pub(super) fn ended(&self, result: &Result<(), ExportError>) {
        let (enders, items) = {
            let mut state = self.state();
            state.end = Some(result.clone());
            (
                std::mem::take(&mut state.enders),
                std::mem::take(&mut state.items),
            )
        };
        enders.report(self.name, result);
        for item in items {
            if let Item::Flush(waiting) = item {
                waiting.report(self.name, &Ok(())); // asked for while the worker was ending
            }
        }
    }

    fn is_full(&self, state: &State<T>, bytes: usize) -> bool {
        state.spans == self.limits.capacity
            || state.spans > 0 && bytes > self.limits.bytes.saturating_sub(state.bytes)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }
}

#[cfg(all(test, feature = "bridge"))]
mod tests {
    use super::*;

    fn queue() -> Queue<u8> {
        let limits = Limits {
            delay: Duration::ZERO,
            ..Limits::default()
        };
        Queue::new("test", limits)
    }

    #[test]
    fn who_has_nothing_to_do_looks_elsewhere_when_it_is_nudged_or_due() {
        let (queue, mut batch) = (queue(), Vec::new());
        queue.nudge();
        queue.nudge();
        assert!(matches!(queue.next(&mut batch, None), Task::Look));
        let due = SystemClock.now();
        assert!(matches!(queue.next(&mut batch, Some(due)), Task::Look));
        // It was one nudge: without the end, this would wait.
        queue.close();
        assert!(matches!(queue.next(&mut batch, None), Task::End));
    }

    #[test]
    fn what_is_to_be_exported_comes_first() {
        let (queue, mut batch) = (queue(), Vec::new());
        queue.nudge();
        assert!(!queue.push(7, 1));
        let due = SystemClock.now();
        assert!(matches!(queue.next(&mut batch, Some(due)), Task::Export));
        assert_eq!(batch, [7]);
        batch.clear();
        queue.flush(&Completion::new(vec!["test"], Vec::new()));
        queue.nudge();
        assert!(matches!(queue.next(&mut batch, Some(due)), Task::Flush(_)));
        queue.nudge();
        queue.close();
        assert!(matches!(queue.next(&mut batch, Some(due)), Task::End));
    }

    #[test]
    fn flushes_of_the_same_are_one_whoever_still_waits() {
        let (queue, mut batch) = (queue(), Vec::new());
        let ask = || Completion::new(vec!["test"], Vec::new());
        let (first, second) = (ask(), ask());
        assert!(!queue.push(7, 1));
        queue.flush(&first);
        for _ in 0..100 {
            queue.flush(&ask()); // and gives up
        }
        queue.flush(&second);
        assert!(!queue.push(8, 1));
        queue.flush(&ask());
        assert_eq!(queue.state().items.len(), 4);
        assert!(matches!(queue.next(&mut batch, None), Task::Export));
        batch.clear();
        let Task::Flush(waiting) = queue.next(&mut batch, None) else {
            panic!("no flush");
        };
        assert!(waiting.report("test", &Ok(())));
        assert!(first.wait(Duration::ZERO).is_ok() && second.wait(Duration::ZERO).is_ok());
        queue.close();
    }

    #[test]
    fn who_drops_the_first_asks_for_a_teller_who_ends_with_the_queue() {
        let limits = Limits {
            capacity: 1,
            ..Limits::default()
        };
        let queue = Queue::new("test", limits);
        let drops = [(); 4].map(|()| queue.push(7, 1));
        assert_eq!((drops, queue.is_clogged()), ([false, true, false, false], true));
        let mut batch = Vec::new();
        assert!(matches!(queue.next(&mut batch, None), Task::Export));
        assert!(!queue.is_clogged() && !queue.push(7, 1));
        queue.close();
        assert!(matches!(queue.rest_from_telling(), Rest::Closed));
    }

    #[test]
    fn a_nudge_does_not_cut_a_batch_short() {
        let limits = Limits {
            delay: Duration::from_hours(1),
            batch: 2,
            ..Limits::default()
        };
        let queue = Queue::new("test", limits);
        assert!(!queue.push(7, 1));
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let mut batch = Vec::new();
                let task = queue.next(&mut batch, Some(SystemClock.now()));
                assert!(matches!(task, Task::Export));
                batch
            });
            queue.nudge();
            assert!(!queue.push(8, 1));
            assert_eq!(worker.join().unwrap(), [7, 8]);
        });
    }
}
