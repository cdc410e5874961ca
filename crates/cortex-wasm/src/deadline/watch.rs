//! Stops calls that run for too long.

use super::cell::{Cell, Word};
use super::sync::{Arc, AtomicBool, AtomicU64, Condvar, Mutex, MutexGuard, Ordering, fence, lock};
use cortex_core::Clock;
use std::fmt;
use std::io;
use std::sync::PoisonError;
use std::time::Duration;

/// How often the thread looks.
const TICK: Duration = Duration::from_millis(1);

/// So many times in a row it looks in vain before it goes to sleep.
const PATIENCE: u32 = 100;

/// No call runs.
const IDLE: i64 = 0;

/// One thread that stops the calls of all its guests when their time is over. It sleeps while none runs, and ends
/// with the last handle.
pub(crate) struct Watch<W: Word = Cell> {
    owner: Arc<Owner<W>>,
}

impl<W: Word> Clone for Watch<W> {
    fn clone(&self) -> Self {
        Self {
            owner: Arc::clone(&self.owner),
        }
    }
}

impl<W: Word> fmt::Debug for Watch<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// Where a guest looks whether it is to stop.
#[derive(Clone, Debug)]
pub(crate) struct StopWords<W: Word = Cell> {
    /// The call that is told to stop.
    pub(crate) stop: W,
    /// The call that runs.
    pub(crate) call: W,
    /// The call that has stopped because it was told to.
    pub(crate) hit: W,
}

impl Watch {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The operating system starts none.
    pub(crate) fn start(clock: impl Clock + 'static) -> io::Result<Self> {
        let watch = Self::unwatched();
        let face = Arc::clone(&watch.owner.face);
        std::thread::Builder::new()
            .name("cortex-wasm-watch".to_owned())
            .stack_size(64 << 10)
            .spawn(move || face.run(&clock))?;
        Ok(watch)
    }
}

impl<W: Word> Watch<W> {
    /// Makes one that has no thread.
    pub(super) fn unwatched() -> Self {
        Self {
            owner: Arc::new(Owner {
                face: Arc::new(Face {
                    guests: Mutex::new(Guests {
                        all: Vec::new(),
                        is_closed: false,
                    }),
                    bell: Condvar::new(),
                    is_asleep: AtomicBool::new(false),
                }),
            }),
        }
    }

    /// Looks after a guest from now on, until what is returned is dropped: before the guest's store.
    pub(crate) fn watch(&self, words: StopWords<W>) -> Watched<W> {
        let seat = Arc::new(Seat {
            limit: AtomicU64::new(u64::MAX),
            cancelled: AtomicU64::new(0),
        });
        let mut guests = lock(&self.owner.face.guests);
        guests.all.push(Guest {
            seat: Arc::clone(&seat),
            words: words.clone(),
            since: None,
        });
        drop(guests);
        Watched {
            owner: Arc::clone(&self.owner),
            seat,
            words,
            calls: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn face(&self) -> &Face<W> {
        &self.owner.face
    }
}

/// What the handles share; the thread ends when it is gone.
struct Owner<W: Word> {
    face: Arc<Face<W>>,
}

impl<W: Word> Drop for Owner<W> {
    fn drop(&mut self) {
        lock(&self.face.guests).is_closed = true;
        self.face.bell.notify_one();
    }
}

/// What the thread sees.
pub(super) struct Face<W: Word> {
    guests: Mutex<Guests<W>>,
    bell: Condvar,
    /// Whoever begins a call has to wake the thread.
    is_asleep: AtomicBool,
}

pub(super) struct Guests<W: Word> {
    all: Vec<Guest<W>>,
    is_closed: bool,
}

struct Guest<W: Word> {
    seat: Arc<Seat>,
    words: StopWords<W>,
    /// The call that was running when the thread last looked, and when it was first seen.
    since: Option<(i64, Duration)>,
}

/// What is agreed about a guest's calls.
struct Seat {
    /// How many nanoseconds the call may take.
    limit: AtomicU64,
    /// The call that is to stop whatever its time.
    cancelled: AtomicU64,
}

impl<W: Word> Face<W> {
    #[cfg(not(cortex_loom))]
    fn run(&self, clock: &impl Clock) {
        let begun = clock.now();
        let mut idle = 0;
        let mut guests = lock(&self.guests);
        while !guests.is_closed {
            guests = self
                .bell
                .wait_timeout(guests, TICK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            let is_busy = guests.look(clock.now().saturating_duration_since(begun));
            idle = if is_busy { 0 } else { idle + 1 };
            if idle >= PATIENCE {
                guests = self.sleep(guests, clock.now().saturating_duration_since(begun));
                idle = 0;
            }
        }
    }

    #[cfg(cortex_loom)]
    fn run(&self, _: &impl Clock) {}

    /// Sleeps until a call begins.
    pub(super) fn sleep<'a>(
        &self,
        mut guests: MutexGuard<'a, Guests<W>>,
        now: Duration,
    ) -> MutexGuard<'a, Guests<W>> {
        self.is_asleep.store(true, Ordering::Relaxed);
        // Either this thread sees the call that begins, or who begins it sees that this one sleeps.
        fence(Ordering::SeqCst);
        if guests.look(now) {
            self.is_asleep.store(false, Ordering::Relaxed);
            return guests;
        }
        while !guests.is_closed && self.is_asleep.load(Ordering::Relaxed) {
            guests = self.bell.wait(guests).unwrap_or_else(PoisonError::into_inner);
        }
        guests
    }

    /// Wakes the thread if it sleeps, after something has been written that it must see.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.is_asleep.load(Ordering::Relaxed) {
            self.ring();
        }
    }

    #[cold]
    fn ring(&self) {
        let guests = lock(&self.guests);
        self.is_asleep.store(false, Ordering::Relaxed);
        self.bell.notify_one();
        drop(guests);
    }

    #[cfg(test)]
    pub(super) fn guests(&self) -> MutexGuard<'_, Guests<W>> {
        lock(&self.guests)
    }
}

impl<W: Word> Guests<W> {
    /// Tells the calls to stop whose time is over at `now`; returns whether any call runs.
    ///
    /// It may come too late for a call. The next one has another number, so that it is not meant; and as a guest may
    /// just be wiping away what was meant for an earlier one, it is told again each time.
    pub(super) fn look(&mut self, now: Duration) -> bool {
        let mut is_busy = false;
        for guest in &mut self.all {
            let call = guest.words.call.acquire();
            if call == IDLE {
                guest.since = None;
                continue;
            }
            is_busy = true;
            let since = match guest.since {
                Some((seen, since)) if seen == call => since,
                _ => {
                    guest.since = Some((call, now));
                    now
                }
            };
            let limit = Duration::from_nanos(guest.seat.limit.load(Ordering::Relaxed));
            let is_cancelled = guest.seat.cancelled.load(Ordering::Relaxed) == call.cast_unsigned();
            if is_cancelled || now.saturating_sub(since) >= limit {
                guest.words.stop.set(call);
            }
        }
        is_busy
    }
}

/// A guest that is looked after; belongs to the thread that runs it.
pub(crate) struct Watched<W: Word = Cell> {
    owner: Arc<Owner<W>>,
    seat: Arc<Seat>,
    words: StopWords<W>,
    /// How many calls there have been, which is the number of the last one.
    calls: i64,
}

impl<W: Word> fmt::Debug for Watched<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

impl<W: Word> Watched<W> {
    /// Says that a call begins, and how long it may take.
    pub(crate) fn begin(&mut self, limit: Option<Duration>) {
        let limit = limit.map_or(u64::MAX, |limit| {
            u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)
        });
        self.calls += 1;
        // An earlier call's number with this one's limit does no harm; the other way round would.
        self.seat.limit.store(limit, Ordering::Relaxed);
        self.words.call.release(self.calls);
        self.owner.face.wake();
    }

    /// Says that it has ended; returns whether because it was stopped.
    pub(crate) fn end(&mut self) -> bool {
        self.words.call.release(IDLE);
        self.words.hit.get() == self.calls
    }

    /// Tells whether the call that runs is to stop: what a host function asks, which nothing else interrupts.
    pub(crate) fn is_stopped(&self) -> bool {
        self.words.stop.get() == self.calls
            || self.seat.cancelled.load(Ordering::Relaxed) == self.calls.cast_unsigned()
    }

    /// Returns what stops the call that runs, from any thread, and no other call.
    pub(crate) fn stopper(&self) -> Stopper {
        Stopper {
            seat: Arc::clone(&self.seat),
            call: self.calls.cast_unsigned(),
        }
    }

    /// Returns what tells whether the call that runs is to stop, from within it.
    pub(super) fn glance(&self) -> Glance<W> {
        Glance {
            seat: Arc::clone(&self.seat),
            words: self.words.clone(),
        }
    }
}

impl<W: Word> Drop for Watched<W> {
    fn drop(&mut self) {
        let mut guests = lock(&self.owner.face.guests);
        let mine = guests
            .all
            .iter()
            .position(|guest| Arc::ptr_eq(&guest.seat, &self.seat));
        let mine = mine.map(|index| guests.all.swap_remove(index));
        drop(guests);
        drop(mine);
    }
}

/// Tells whether the call of a guest that runs is to stop.
#[derive(Clone)]
pub(super) struct Glance<W: Word = Cell> {
    seat: Arc<Seat>,
    words: StopWords<W>,
}

impl<W: Word> fmt::Debug for Glance<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Glance").finish_non_exhaustive()
    }
}

impl<W: Word> Glance<W> {
    /// As [`Watched::is_stopped`].
    pub(super) fn is_stopped(&self) -> bool {
        let call = self.words.call.get();
        self.words.stop.get() == call || self.seat.cancelled.load(Ordering::Relaxed) == call.cast_unsigned()
    }
}

/// Stops one call of a guest.
#[derive(Clone)]
pub(crate) struct Stopper {
    seat: Arc<Seat>,
    call: u64,
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper")
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}

impl Stopper {
    /// Stops the call at the next tick; does nothing if it has ended.
    pub(crate) fn stop(&self) {
        self.seat.cancelled.fetch_max(self.call, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use cortex_core::SystemClock;
    use std::sync::Weak;
    use std::sync::atomic::AtomicI64;

    #[derive(Clone, Default)]
    struct Global(Arc<AtomicI64>);

    impl Word for Global {
        fn get(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }

        fn set(&self, value: i64) {
            self.0.store(value, Ordering::Relaxed);
        }

        fn acquire(&self) -> i64 {
            self.get()
        }

        fn release(&self, value: i64) {
            self.set(value);
        }
    }

    fn words() -> StopWords<Global> {
        StopWords {
            stop: Global::default(),
            call: Global::default(),
            hit: Global::default(),
        }
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_call_has_its_time_from_when_it_is_first_seen() {
        let watch = Watch::unwatched();
        let words = words();
        let mut watched = watch.watch(words.clone());
        assert!(!watch.face().guests().look(MS));
        watched.begin(Some(MS * 3));
        for (at, stop) in [(10, 0), (12, 0), (13, 1), (14, 1)] {
            assert!(watch.face().guests().look(MS * at));
            assert_eq!(
                (words.stop.get(), watched.is_stopped()),
                (stop, stop == 1),
                "at {at}"
            );
        }
        words.stop.set(0); // as a guest does that wipes away what is not for it
        watch.face().guests().look(MS * 15);
        assert_eq!(words.stop.get(), 1);
        assert!(!watched.end());
        // The next one is another, though it begins before anybody looks.
        watched.begin(Some(MS * 3));
        watch.face().guests().look(MS * 16);
        assert!(!watched.is_stopped());
        watch.face().guests().look(MS * 19);
        assert_eq!(words.stop.get(), 2);
        words.hit.set(2);
        assert!(watched.end());
        watched.begin(None);
        watch.face().guests().look(Duration::MAX);
        assert!(!watched.is_stopped());
    }

    #[test]
    fn the_longest_limit_is_none() {
        let watch = Watch::unwatched();
        let mut watched = watch.watch(words());
        watched.begin(Some(Duration::MAX));
        watch.face().guests().look(Duration::ZERO);
        watch.face().guests().look(Duration::from_hours(24 * 365));
        assert!(!watched.is_stopped());
        watched.end();
        watched.begin(Some(Duration::ZERO));
        watch.face().guests().look(Duration::ZERO);
        assert!(watched.is_stopped());
    }

    #[test]
    fn a_call_is_cancelled_and_no_other() {
        let watch = Watch::unwatched();
        let words = words();
        let mut watched = watch.watch(words.clone());
        watched.begin(None);
        let first = watched.stopper();
        watched.end();
        watched.begin(None);
        first.stop();
        watch.face().guests().look(MS);
        assert!(!watched.is_stopped());
        let second = watched.stopper();
        second.stop();
        first.stop();
        assert!(watched.is_stopped());
        watch.face().guests().look(MS);
        assert_eq!(words.stop.get(), 2);
    }

    #[test]
    fn a_guest_that_is_gone_is_not_written_to() {
        let watch = Watch::unwatched();
        let all: Vec<StopWords<Global>> = std::iter::repeat_with(words).take(3).collect();
        let mut watched: Vec<Watched<Global>> = all.iter().map(|words| watch.watch(words.clone())).collect();
        for watched in &mut watched {
            watched.begin(Some(Duration::ZERO));
        }
        drop(watched.remove(0));
        watch.face().guests().look(MS);
        let stops: Vec<i64> = all.iter().map(|words| words.stop.get()).collect();
        assert_eq!(stops, [0, 1, 1]);
        // Nothing of it is kept.
        assert_eq!(
            all.iter()
                .map(|words| Arc::strong_count(&words.stop.0))
                .collect::<Vec<_>>(),
            [1, 3, 3]
        );
        drop(watched);
        assert!(!watch.face().guests().look(MS));
    }

    #[test]
    fn the_thread_ends_with_the_last_handle() {
        let watch = Watch::start(SystemClock).unwrap();
        let face: Weak<Face<Cell>> = Arc::downgrade(&watch.owner.face);
        drop(watch.clone());
        assert!(!watch.face().guests().is_closed);
        drop(watch);
        while face.strong_count() > 0 {
            std::thread::yield_now(); // the thread holds the last one, and lets go of it when it ends
        }
    }

    #[test]
    fn the_thread_is_woken_by_a_call() {
        let watch: Watch<Global> = Watch::unwatched();
        let words = words();
        let mut watched = watch.watch(words.clone());
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                let face = watch.face();
                drop(face.sleep(face.guests(), Duration::ZERO));
            });
            while !watch.face().is_asleep.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            assert!(!sleeper.is_finished());
            watched.begin(None);
            sleeper.join().unwrap();
        });
        assert!(!watch.face().is_asleep.load(Ordering::Relaxed));
    }
}
