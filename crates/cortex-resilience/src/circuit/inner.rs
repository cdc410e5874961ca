use super::core::{Core, Probes, Ramp, Streak};
use super::count_window::CountWindow;
use super::saved::StateSink;
use super::settings::Settings;
use super::shard::{Cut, Shards};
use super::state_word::{Phase, StateWord, Word};
use super::tally::Tally;
use super::time::{self, NEVER};
use crate::event::Event;
use crate::observer::Observer;
use crate::sync::{AtomicU64, Mutex, Ordering};
use cortex_core::Clock;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// A breaker without what judges results.
///
/// A closed breaker reads the first line of fields and writes to the shard of its thread. All transitions hold the lock of
/// `core`; they write what readers of the word have to find, and then the word.
pub(super) struct Inner<O, K> {
    pub(super) word: StateWord,
    /// The generation at which the counters were zero.
    pub(super) cycle: AtomicU64,
    /// When the break is over, or the probes are due.
    pub(super) until: AtomicU64,
    /// When a rejected call may try again.
    pub(super) hint: AtomicU64,
    /// From when on a vote that can only lower the rates has to be judged all the same: a bucket has left the window, or there
    /// were too few votes.
    pub(super) watch: AtomicU64,
    /// The length above which a call is slow.
    pub(super) slow: AtomicU64,
    /// Whether a dropped call that was slow is a failure.
    pub(super) drop_fails: AtomicU64,
    /// How a window of time is cut; a width of zero if it is none.
    pub(super) width: AtomicU64,
    pub(super) buckets: AtomicU64,
    pub(super) shards: Shards,
    pub(super) clock: K,
    pub(super) origin: Instant,
    pub(super) observer: O,
    pub(super) name: Box<str>,
    pub(super) sink: Option<Arc<dyn StateSink>>,
    pub(super) core: Mutex<Core>,
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
        let origin = clock.now();
        Self {
            word: StateWord::new(Word::new(1, Phase::Closed, 0)),
            cycle: AtomicU64::new(1),
            until: AtomicU64::new(NEVER),
            hint: AtomicU64::new(NEVER),
            watch: AtomicU64::new(NEVER),
            slow: AtomicU64::new(settings.slow_nanos()),
            drop_fails: AtomicU64::new(u64::from(settings.on_drop != super::Dropped::Ignore)),
            width: AtomicU64::new(width),
            buckets: AtomicU64::new(buckets),
            shards: Shards::new(shards),
            clock,
            origin,
            observer,
            name,
            sink,
            core: Mutex::new(Core {
                since: 0,
                ring: CountWindow::new(settings.window.ring()),
                half_open: Probes {
                    how: settings.half_open(),
                    tally: Tally::default(),
                },
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
        time::since(self.origin, self.clock.now())
    }

    /// Returns how the window of time is cut, if it is one.
    #[inline]
    pub(super) fn cut(&self) -> Option<Cut> {
        let width = self.width.load(Ordering::Relaxed);
        (width != 0).then(|| Cut {
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
