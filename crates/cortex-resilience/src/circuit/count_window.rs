use super::tally::Tally;

/// The last votes: two bits each, and their sums.
#[derive(Debug)]
pub(super) struct CountWindow {
    failed: Box<[u64]>,
    slow: Box<[u64]>,
    size: usize,
    /// Where the next vote goes, and the oldest is once the window is full.
    next: usize,
    tally: Tally,
}

impl CountWindow {
    pub(super) fn new(size: usize) -> Self {
        let words = size.div_ceil(64);
        Self {
            failed: vec![0; words].into(),
            slow: vec![0; words].into(),
            size,
            next: 0,
            tally: Tally::default(),
        }
    }

    pub(super) const fn tally(&self) -> Tally {
        self.tally
    }

    /// Adds a vote; the oldest goes if there are more than may be.
    pub(super) fn push(&mut self, failed: bool, slow: bool) {
        let (word, bit) = (self.next / 64, self.next % 64);
        if self.tally.total == self.size as u64 {
            let (failed, slow) = (self.failed[word] >> bit & 1 == 1, self.slow[word] >> bit & 1 == 1);
            self.tally.remove(failed, slow);
        }
        set(&mut self.failed[word], bit, failed);
        set(&mut self.slow[word], bit, slow);
        self.tally.add(failed, slow);
        self.next = if self.next + 1 == self.size {
            0
        } else {
            self.next + 1
        };
    }

    pub(super) fn clear(&mut self) {
        (self.next, self.tally) = (0, Tally::default()); // a bit is read only once it was written again
    }
}

const fn set(word: &mut u64, bit: usize, value: bool) {
    *word = *word & !(1 << bit) | (value as u64) << bit;
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holds_exactly_the_last_votes(size in 1_usize..200, votes in prop::collection::vec(any::<(bool, bool, bool)>(), 0..600)) {
            let mut window = CountWindow::new(size);
            let mut all = Vec::new();
            for (index, (failed, slow, _)) in votes.into_iter().enumerate() {
                if index == 333 {
                    window.clear();
                    all.clear();
                }
                window.push(failed, slow);
                all.push((failed, slow));
                let mut expected = Tally::default();
                for (failed, slow) in all.iter().rev().take(size) {
                    expected.add(*failed, *slow);
                }
                prop_assert_eq!(window.tally(), expected);
            }
        }
    }
}
