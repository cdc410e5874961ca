use super::tally::Tally;

/// The last votes: two bits each, and their sums.
#[derive(Debug)]
pub(super) struct CountWindow {
    /// Failed ones and slow ones, 64 votes each.
    bits: Box<[[u64; 2]]>,
    size: u32,
    /// Where the next vote goes, and the oldest is once the window is full.
    next: u32,
    tally: Tally,
}

impl CountWindow {
    pub(super) fn new(size: u32) -> Self {
        Self {
            bits: vec![[0; 2]; size.div_ceil(64) as usize].into(),
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
        let bit = self.next % 64;
        let [failed_bits, slow_bits] = &mut self.bits[self.next as usize / 64];
        if self.tally.total == u64::from(self.size) {
            self.tally
                .remove(*failed_bits >> bit & 1 == 1, *slow_bits >> bit & 1 == 1);
        }
        set(failed_bits, bit, failed);
        set(slow_bits, bit, slow);
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

const fn set(word: &mut u64, bit: u32, value: bool) {
    *word = *word & !(1 << bit) | (value as u64) << bit;
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holds_exactly_the_last_votes(size in 1_u32..200, votes in prop::collection::vec(any::<(bool, bool, bool)>(), 0..600)) {
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
                for (failed, slow) in all.iter().rev().take(size as usize) {
                    expected.add(*failed, *slow);
                }
                prop_assert_eq!(window.tally(), expected);
            }
        }
    }
}
