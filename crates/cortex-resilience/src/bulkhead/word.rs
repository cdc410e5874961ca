/// How many permits there are and how many are out or at hand of threads, in one word, with a mark while anybody waits and one while
/// threads may have permits at hand.
///
/// While anybody waits, the word is changed under the lock of the queue alone, no fewer permits are out than there are, and none are
/// at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

const ONE: u64 = 1;
const LIMIT: u32 = 32;
const SPLIT: u64 = 1 << 31;
const IN_USE: u64 = SPLIT - 1;
const QUEUED: u64 = 1 << 63;

/// The most permits that a word holds.
pub(super) const MOST: u32 = u32::MAX >> 1;

impl Word {
    pub(super) const fn new(limit: u32) -> Self {
        Self((limit as u64) << LIMIT)
    }

    #[inline]
    pub(super) const fn in_use(self) -> u64 {
        self.0 & IN_USE
    }

    #[inline]
    pub(super) const fn limit(self) -> u64 {
        (self.0 & !QUEUED) >> LIMIT
    }

    #[inline]
    pub(super) const fn is_queued(self) -> bool {
        self.0 & QUEUED != 0
    }

    /// Says whether threads may have permits at hand.
    #[inline]
    pub(super) const fn is_split(self) -> bool {
        self.0 & SPLIT != 0
    }

    /// Says whether so many may go to a thread in advance: not where they get short.
    pub(super) const fn spares(self, permits: u64) -> bool {
        !self.is_queued() && (self.in_use() + permits) * 4 <= self.limit() * 3
    }

    /// Gives so many to a thread.
    pub(super) const fn split(self, permits: u64) -> Self {
        Self((self.0 + permits) | SPLIT)
    }

    /// Takes back all that threads had at hand.
    pub(super) const fn joined(self, permits: u64) -> Self {
        Self((self.0 - permits) & !SPLIT)
    }

    /// Says whether a permit may be taken by somebody who just came.
    #[inline]
    pub(super) const fn is_free(self) -> bool {
        !self.is_queued() && self.in_use() < self.limit()
    }

    #[inline]
    pub(super) const fn one_more(self) -> Self {
        Self(self.0 + ONE)
    }

    #[inline]
    pub(super) const fn one_less(self) -> Self {
        Self(self.0 - ONE)
    }

    pub(super) const fn queued(self, queued: bool) -> Self {
        Self(if queued { self.0 | QUEUED } else { self.0 & !QUEUED })
    }

    pub(super) const fn with_limit(self, limit: u32) -> Self {
        Self((self.0 & (QUEUED | SPLIT | IN_USE)) | ((limit as u64) << LIMIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_touch_each_other() {
        let mut word = Word::new(MOST);
        for _ in 0..3 {
            word = word.one_more();
        }
        let word = word.queued(true).one_less();
        assert_eq!(
            (word.in_use(), word.limit(), word.is_queued()),
            (2, u64::from(MOST), true)
        );
        let word = word.with_limit(3);
        assert!(word.is_queued() && !word.is_free());
        let word = word.queued(false);
        assert!(word.is_free() && !word.one_more().is_free());
        let word = Word::new(4).split(2);
        assert!(word.is_split() && word.spares(1) && !word.spares(2) && !word.queued(true).spares(1));
        assert_eq!(word.with_limit(5).joined(2), Word::new(5));
    }
}
