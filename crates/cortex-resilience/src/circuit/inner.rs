use super::core::{Core, Probes, Ramp, Streak};
use super::count_window::CountWindow;
use super::saved::StateSink;
use super::settings::Settings;
use super::shard::{Cut, Shards};
use super::state_word::{Phase, StateWord, Word};
use super::tally::Tally;
use super::time::NEVER;
use crate::event::Event;
use crate::observer::Observer;
use crate::sync::{AtomicU64, Mutex, Ordering, fence};
use cortex_core::{Clock, Deadline};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A breaker without what judges results.
///
/// A closed breaker reads the first cache line, which is written by transitions alone, and writes to the shard of its thread. All transitions hold the lock of
/// `core`; they write what readers of the word have to find, and then the word.
#[repr(C, align(64))]
pub(super) struct Inner<O, K> {
    pub(super) word: StateWord,
    /// The generation at which the counters were zero.
    pub(super) cycle: AtomicU64,
    /// From when on a vote that can only lower the rates has to be judged all the same: a bucket has left the window, or there
    /// were too few votes.
    pub(super) watch: AtomicU64,
    /// The length above which a call is slow.
    pub(super) slow: AtomicU64,
    /// How a window of time is cut; a width of zero if it is none.
    pub(super) width: AtomicU64,
    pub(super) buckets: AtomicU64,
    /// When the break is over, or the probes are due.
    until: ByParity,
    /// When a rejected call may try again.
    hint: ByParity,
    /// How long that was from the transition.
    longest: ByParity,
    /// Whether a dropped call that was slow is a failure.
    pub(super) drop_fails: AtomicU64,
    pub(super) clock: K,
    /// When it was made, as the clock and all times here count.
    start: u64,
    pub(super) observer: O,
    pub(super) name: Box<str>,
    pub(super) sink: Option<Arc<dyn StateSink>>,
    pub(super) shards: Shards,
    pub(super) core: Mutex<Core>,
}

/// A time of this generation and one of the last or next one, so that a reader of the word finds the one that goes with it.
#[derive(Debug)]
struct ByParity([AtomicU64; 2]);

impl ByParity {
    fn new() -> Self {
        Self([AtomicU64::new(NEVER), AtomicU64::new(NEVER)])
    }

    fn of(&self, generation: u64) -> &AtomicU64 {
        &self.0[usize::from(generation % 2 == 1)]
    }
}

impl<O: Observer, K: Clock> Inner<O, K> {
    pub(super) fn new(
        name: Box<str>,
        settings: Settings,
        shards: usize,
        (observer, clock): (O, K),
        sink: Option<Arc<dyn StateSink>>,
    ) -> Self {
        let (width, buckets) = settings.window.cut();
        let start = Deadline::at(clock.now()).nanos();
        Self {
            word: StateWord::new(Word::new(1, Phase::Closed, 0)),
            cycle: AtomicU64::new(1),
            until: ByParity::new(),
            hint: ByParity::new(),
            longest: ByParity::new(),
            watch: AtomicU64::new(NEVER),
            slow: AtomicU64::new(settings.slow_nanos()),
            drop_fails: AtomicU64::new(u64::from(settings.on_drop != super::Dropped::Ignore)),
            width: AtomicU64::new(width),
            buckets: AtomicU64::new(buckets),
            shards: Shards::new(shards),
            clock,
            start,
            observer,
            name,
            sink,
            core: Mutex::new(Core {
                since: start,
                ring: CountWindow::new(settings.window.ring()),
                half_open: Probes::new(settings.half_open()),
                settings,
                frozen: (Tally::default(), 1),
                streak: Streak::default(),
                half_open_attempts: 0,
                told: [false; 2],
                last_break: 0,
                ramp: Ramp::default(),
            }),
        }
    }

    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.clock.nanos()
    }

    /// Returns a time as others count; `None` if it is none.
    pub(super) fn instant(at: u64) -> Option<Instant> {
        (at != NEVER).then(|| Deadline::from_nanos(at).instant())
    }

    /// Sets when a generation that began `at` some time ends and when its rejected calls may try again, before its word is set.
    /// The caller holds the lock.
    pub(super) fn set_times(&self, generation: u64, at: u64, until: u64, hint: u64) {
        fence(Ordering::Release); // who reads these instead of those two generations before, reads the word between them
        self.until.of(generation).store(until, Ordering::Relaxed);
        self.hint.of(generation).store(hint, Ordering::Relaxed);
        let longest = hint.saturating_sub(at);
        self.longest.of(generation).store(longest, Ordering::Relaxed);
    }

    /// Returns when the phase of this word ends; `None` if it has, and another word is there.
    pub(super) fn until(&self, word: Word) -> Option<u64> {
        self.time_of(&self.until, word)
    }

    /// Returns when a call that is rejected by this word may try again; `None` if another word is there.
    pub(super) fn hint(&self, word: Word) -> Option<u64> {
        self.time_of(&self.hint, word)
    }

    /// Returns how long it is to the hint of a word: where the clock has stepped back, no longer than from the transition.
    #[inline]
    pub(super) fn left(&self, word: Word, hint: u64, now: u64) -> Duration {
        let left = hint.saturating_sub(now);
        let longest = self.time_of(&self.longest, word);
        Duration::from_nanos(longest.map_or(left, |longest| longest.min(left)))
    }

    #[inline]
    fn time_of(&self, times: &ByParity, word: Word) -> Option<u64> {
        let time = times.of(word.generation()).load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        (self.word.load().generation() == word.generation()).then_some(time)
    }

    /// Returns how the window of time is cut, if it is one.
    pub(super) fn cut(&self) -> Option<Cut> {
        let width = self.width.load(Ordering::Relaxed);
        (width != 0).then(|| Cut {
            origin: self.start,
            width,
            buckets: self.buckets.load(Ordering::Relaxed),
        })
    }

    #[inline]
    pub(super) fn tell(&self, event: &Event) {
        self.observer.on_event(&self.name, event);
    }
}

impl<O, K> fmt::Debug for Inner<O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word.load();
        f.debug_struct("Breaker")
            .field("name", &self.name)
            .field("state", &word.phase().state())
            .field("generation", &word.generation())
            .finish_non_exhaustive()
    }
}
