use super::priority::Priority;
use super::queue::{Queue, Settings, State};
use super::word::Word;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use std::task::Waker;

/// The permits, and those who wait for them.
///
/// Nothing is woken or dropped under the lock: that may run the code of others, who may come back here.
#[derive(Debug)]
pub(super) struct Gate {
    word: AtomicU64,
    queue: Mutex<Queue>,
}

/// What came of it that somebody wanted to wait.
#[derive(Debug)]
pub(super) enum Entry {
    /// There was a permit after all.
    Taken,
    Waits {
        slot: u32,
        /// Who had to go for it.
        evicted: Option<Waker>,
    },
    Full,
}

impl Gate {
    pub(super) fn new(limit: u32, settings: Settings) -> Self {
        Self {
            word: AtomicU64::new(Word::new(limit).0),
            queue: Mutex::new(Queue::new(settings)),
        }
    }

    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    /// Takes a permit, if there is one and nobody waits.
    #[inline]
    pub(super) fn try_take(&self) -> bool {
        self.change(Ordering::Acquire, |word| word.is_free().then(|| word.one_more()))
    }

    /// Gives a permit back, if nobody waits for it; otherwise it has to be [handed over](Self::hand_over).
    #[inline]
    pub(super) fn try_give_back(&self) -> bool {
        self.change(Ordering::Release, |word| {
            (!word.is_queued()).then(|| word.one_less())
        })
    }

    /// Changes the word, never in a way that would have to be undone: another who looks meanwhile would be misled.
    #[inline]
    fn change(&self, order: Ordering, change: impl Fn(Word) -> Option<Word>) -> bool {
        let mut word = self.word();
        while let Some(next) = change(word) {
            match self
                .word
                .compare_exchange_weak(word.0, next.0, order, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(other) => word = Word(other),
            }
        }
        false
    }

    /// Gives a permit to whoever's turn it is, who is to be woken, or back.
    pub(super) fn hand_over(&self, now: u64) -> Option<Waker> {
        let mut queue = lock(&self.queue);
        if self.try_give_back() {
            return None; // who waited has gone
        }
        let word = self.word();
        if word.in_use() > word.limit() {
            self.set(word.one_less()); // there are fewer permits now
            return None;
        }
        let waker = queue.grant(now);
        self.set(word.queued(queue.waiting() > 0));
        waker
    }

    /// Sets the word while somebody waits, and its changes are ours.
    fn set(&self, word: Word) {
        self.word.store(word.0, Ordering::Release);
    }

    /// Takes a permit or waits for one.
    pub(super) fn enter(&self, priority: Priority, now: u64, waker: Waker) -> Entry {
        let mut queue = lock(&self.queue);
        if self.try_take() {
            return Entry::Taken;
        }
        let Ok(evicted) = queue.make_room(priority) else {
            return Entry::Full;
        };
        // Whoever gives a permit back from then on finds the mark, and waits for the lock. There already is one if somebody was
        // evicted.
        while !self.change(Ordering::AcqRel, |word| {
            (!word.is_free()).then(|| word.queued(true))
        }) {
            if self.try_take() {
                return Entry::Taken;
            }
        }
        Entry::Waits {
            slot: queue.push(priority, now, waker),
            evicted,
        }
    }

    /// Looks how a wait stands; if it goes on, the waker is kept.
    pub(super) fn look(&self, slot: u32, waker: Waker) -> State {
        let (state, _old) = lock(&self.queue).look(slot, waker);
        state
    }

    /// Ends a wait, and says how it stood: a permit that was granted is the caller's to give back.
    pub(super) fn leave(&self, slot: u32) -> State {
        let mut queue = lock(&self.queue);
        let (state, waker) = queue.leave(slot);
        if state == State::Waiting && queue.waiting() == 0 {
            self.set(self.word().queued(false));
        }
        drop(queue);
        drop(waker);
        state
    }

    /// Changes how many permits there are; returns those who have got one by that, and are to be woken.
    pub(super) fn resize(&self, limit: u32, now: u64) -> Vec<Waker> {
        let mut queue = lock(&self.queue);
        self.change(Ordering::AcqRel, |word| Some(word.with_limit(limit)));
        let mut woken = Vec::new();
        while self.word().is_queued() && self.word().in_use() < self.word().limit() {
            woken.extend(queue.grant(now));
            self.set(self.word().one_more().queued(queue.waiting() > 0));
        }
        woken
    }

    pub(super) fn set_queue(&self, settings: Settings) {
        lock(&self.queue).set(settings);
    }

    /// Returns how many wait, and how the queue is set.
    pub(super) fn queue(&self) -> (u32, Settings) {
        let queue = lock(&self.queue);
        (queue.waiting(), queue.settings())
    }
}
