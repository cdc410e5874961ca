use super::priority::Priority;
use super::queue::{Queue, Settings, State};
use super::shard::Shards;
use super::word::Word;
use crate::slot;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use std::sync::OnceLock;
use std::task::Waker;

/// The permits, and those who wait for them.
///
/// Threads that have come in each other's way get some permits in advance, as long as there are more than enough. Before anybody is
/// refused or waits, all of those are collected, under the lock.
///
/// Nothing is woken or dropped under the lock: that may run the code of others, who may come back here.
#[derive(Debug)]
pub(super) struct Gate {
    word: AtomicU64,
    shards: OnceLock<Shards>,
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
            shards: OnceLock::new(),
            queue: Mutex::new(Queue::new(settings)),
        }
    }

    /// Makes one that so many threads have met at.
    #[cfg(all(test, cortex_loom))]
    pub(super) fn split(limit: u32, settings: Settings, threads: usize) -> Self {
        let gate = Self::new(limit, settings);
        gate.shards.get_or_init(|| Shards::new(threads));
        gate
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    /// Takes a permit, if there is one and nobody waits.
    #[inline]
    pub(super) fn try_take(&self) -> bool {
        self.try_take_as(slot::own())
    }

    #[inline]
    pub(super) fn try_take_as(&self, thread: usize) -> bool {
        if let Some(shards) = self.shards.get() {
            return shards.take(thread) || self.take_elsewhere(shards, thread);
        }
        let word = self.word();
        if !word.is_free() {
            return word.is_split() && self.take_in_turn();
        }
        self.step(word, word.one_more(), Ordering::Acquire).is_ok() || self.take_in_turn()
    }

    /// Takes a permit where another thread was faster: from now on they need not meet.
    #[cold]
    fn take_in_turn(&self) -> bool {
        let shards = self.shards.get().or_else(|| {
            let shards = Shards::of(self.word().limit())?;
            Some(self.shards.get_or_init(|| shards))
        });
        match shards {
            Some(shards) => self.take_elsewhere(shards, slot::lease()),
            None => self.take_whole(),
        }
    }

    /// Takes a permit that no thread has at hand.
    fn take_whole(&self) -> bool {
        self.change(Ordering::Acquire, |word| word.is_free().then(|| word.one_more()))
    }

    /// Takes a permit that this thread has not at hand, and some in advance if there are enough.
    #[inline(never)]
    fn take_elsewhere(&self, shards: &Shards, thread: usize) -> bool {
        let thread = if thread == slot::NONE {
            slot::lease()
        } else {
            thread
        };
        let limit = self.word().limit();
        let batch = shards.batch(thread, limit);
        if batch > 0 && self.word().spares(batch) {
            let _queue = lock(&self.queue); // nobody collects now
            if self.change(Ordering::Acquire, |word| {
                word.spares(batch).then(|| word.split(batch))
            }) {
                shards.add(thread, limit, batch - 1);
                return true;
            }
        }
        let mut word = self.word();
        while word.is_free() {
            match self.step(word, word.one_more(), Ordering::Acquire) {
                Ok(_) => return true,
                Err(other) => word = Word(other),
            }
        }
        if word.is_queued() || !word.is_split() {
            return false;
        }
        let _queue = lock(&self.queue);
        self.collect();
        self.take_whole()
    }

    /// Takes back the permits that threads have at hand. The caller holds the lock.
    ///
    /// A shard that is closed stays so, and what comes back after that changes the word: when all are, the word tells of all permits.
    fn collect(&self) {
        if let Some(shards) = self.shards.get()
            && self.word().is_split()
        {
            let free = shards.close();
            self.change(Ordering::AcqRel, |word| Some(word.joined(free)));
        }
    }

    /// Gives a permit back, if nobody waits for it; otherwise it has to be [handed over](Self::hand_over).
    #[inline]
    pub(super) fn try_give_back(&self) -> bool {
        self.try_give_back_as(slot::own())
    }

    #[inline]
    pub(super) fn try_give_back_as(&self, thread: usize) -> bool {
        if let Some(shards) = self.shards.get()
            && shards.give(thread)
        {
            return true;
        }
        self.give_back_whole()
    }

    #[inline]
    fn give_back_whole(&self) -> bool {
        self.change(Ordering::Release, |word| {
            (!word.is_queued()).then(|| word.one_less())
        })
    }

    #[inline]
    fn step(&self, word: Word, next: Word, order: Ordering) -> Result<u64, u64> {
        self.word
            .compare_exchange(word.0, next.0, order, Ordering::Relaxed)
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
        if self.give_back_whole() {
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
        self.collect();
        if self.take_whole() {
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
            if self.take_whole() {
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
        self.collect();
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

    /// Returns how many permits there are, and how many are out.
    pub(super) fn permits(&self) -> (u64, u64) {
        let _queue = lock(&self.queue); // nobody collects now, so that what is at hand is counted once
        let word = self.word();
        let free = self.shards.get().map_or(0, Shards::free);
        (word.limit(), word.in_use().saturating_sub(free))
    }

    /// Returns how many wait, and how the queue is set.
    pub(super) fn queue(&self) -> (u32, Settings) {
        let queue = lock(&self.queue);
        (queue.waiting(), queue.settings())
    }
}
