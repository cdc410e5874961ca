use super::shard::{Cut, Vote};
use super::tally::Tally;

/// The votes of the last while in little memory, under a lock: those of threads that have no shard of their own, which is all of
/// them where breakers are many.
#[derive(Debug)]
pub(super) struct Compact {
    /// Of what the votes are; 0 is none.
    generation: u64,
    /// Where the bucket of the last vote starts.
    start: u64,
    /// The votes for the dependency in the generation.
    ok: u64,
    counts: Counts,
}

/// What is counted in each bucket: all votes, the failed ones, the slow ones that succeeded and that failed. As much as there has
/// been need of.
#[derive(Debug)]
enum Counts {
    None,
    /// No vote was slow.
    Plain(Box<[[u16; 2]]>),
    Slow(Box<[[u16; 4]]>),
    /// A bucket had more than 65,535 votes.
    Wide(Box<[[u64; 4]]>),
}

impl Compact {
    pub(super) const fn new() -> Self {
        Self {
            generation: 0,
            start: 0,
            ok: 0,
            counts: Counts::None,
        }
    }

    /// Takes a vote, unless its generation is over.
    pub(super) fn vote(&mut self, cut: Cut, generation: u64, now: u64, vote: Vote) {
        if self.generation > generation {
            return;
        }
        let start = cut.start(now);
        if self.generation < generation {
            self.counts.restart(cut.len());
            (self.generation, self.start, self.ok) = (generation, start, 0);
        }
        let len = self.counts.len(); // where the window is cut otherwise, its generation is over
        if start > self.start {
            let passed = (start - self.start) / cut.width;
            let passed = usize::try_from(passed).map_or(len, |passed| passed.min(len));
            let last = cut.place(self.start);
            for step in 1..=passed {
                self.counts.clear((last + step) % len);
            }
            self.start = start;
        } // else the clock may have gone back: no time has passed since the last vote
        self.counts.add(cut.place(self.start) % len, vote);
        self.ok += u64::from(!vote.failed);
    }

    /// Returns how many votes for the dependency there were in a generation.
    pub(super) const fn ok(&self, generation: u64) -> u64 {
        if self.generation == generation { self.ok } else { 0 }
    }

    /// Counts the votes of the buckets that start then or later.
    pub(super) fn tally(&self, cut: Cut, generation: u64, from: u64) -> Tally {
        let mut tally = Tally::default();
        if self.generation != generation {
            return tally;
        }
        let len = self.counts.len();
        let last = cut.place(self.start);
        let mut start = self.start;
        for step in 0..len {
            if start < from {
                break;
            }
            let [total, failed, slow_ok, slow_failed] = self.counts.get((last + len - step) % len);
            tally.merge(Tally {
                total,
                failed,
                slow_ok,
                slow_failed,
            });
            let Some(before) = start.checked_sub(cut.width) else {
                break; // nothing is older than the clock
            };
            start = before;
        }
        tally
    }
}

impl Counts {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Plain(cells) => cells.len(),
            Self::Slow(cells) => cells.len(),
            Self::Wide(cells) => cells.len(),
        }
    }

    /// Begins with zeros, in so many buckets. What was wide is not any more: there may never be as many votes again.
    fn restart(&mut self, len: usize) {
        if self.len() == len && !matches!(self, Self::Wide(_)) {
            (0..len).for_each(|place| self.clear(place));
        } else {
            *self = Self::Plain(vec![[0; 2]; len].into());
        }
    }

    fn clear(&mut self, place: usize) {
        match self {
            Self::None => {}
            Self::Plain(cells) => cells[place] = [0; 2],
            Self::Slow(cells) => cells[place] = [0; 4],
            Self::Wide(cells) => cells[place] = [0; 4],
        }
    }

    fn get(&self, place: usize) -> [u64; 4] {
        match self {
            Self::None => [0; 4],
            Self::Plain(cells) => {
                let [total, failed] = cells[place].map(u64::from);
                [total, failed, 0, 0]
            }
            Self::Slow(cells) => cells[place].map(u64::from),
            Self::Wide(cells) => cells[place],
        }
    }

    fn add(&mut self, place: usize, vote: Vote) {
        let [failed, slow_ok, slow_failed] =
            [vote.failed, vote.slow && !vote.failed, vote.slow && vote.failed];
        match self {
            Self::Plain(cells) if !vote.slow && cells[place][0] < u16::MAX => {
                let [all, bad] = &mut cells[place];
                (*all, *bad) = (*all + 1, *bad + u16::from(failed));
            }
            Self::Slow(cells) if cells[place][0] < u16::MAX => {
                let more = [true, failed, slow_ok, slow_failed];
                for (count, more) in cells[place].iter_mut().zip(more) {
                    *count += u16::from(more);
                }
            }
            Self::Wide(cells) => {
                let more = [true, failed, slow_ok, slow_failed];
                for (count, more) in cells[place].iter_mut().zip(more) {
                    *count += u64::from(more);
                }
            }
            _ => {
                self.grow();
                self.add(place, vote);
            }
        }
    }

    /// Makes room for slow votes, and then for many.
    #[cold]
    fn grow(&mut self) {
        let all = 0..self.len();
        *self = match self {
            Self::Plain(cells) => Self::Slow(cells.iter().map(|[all, bad]| [*all, *bad, 0, 0]).collect()),
            _ => Self::Wide(all.map(|place| self.get(place)).collect()),
        };
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CUT: Cut = Cut {
        origin: 7,
        width: 10,
        buckets: 4,
    };

    fn vote(failed: bool, slow: bool) -> Vote {
        Vote { failed, slow }
    }

    fn from(now: u64) -> u64 {
        CUT.start(now).saturating_sub(CUT.width * (CUT.buckets - 1))
    }

    proptest! {
        #[test]
        fn holds_the_votes_of_the_buckets_that_are_in_the_window(
            votes in prop::collection::vec((0_u64..25, any::<(bool, bool)>(), 0_u8..20), 0..200),
            ahead in 0_u64..60,
        ) {
            let mut window = Compact::new();
            let (mut now, mut last, mut generation) = (7, 0, 1);
            let mut all = Vec::new();
            for (pause, (failed, slow), what) in votes {
                now += pause;
                if what == 0 {
                    generation += 1;
                    (last, all) = (0, Vec::new());
                }
                // Now and then the clock is behind; that vote is of the bucket of the last one.
                let at = if what == 1 { now.saturating_sub(15).max(CUT.origin) } else { now };
                last = last.max(CUT.start(at));
                window.vote(CUT, generation, at, vote(failed, slow));
                window.vote(CUT, generation - 1, at, vote(failed, slow)); // late
                all.push((last, failed, slow));
                for then in [now, now + ahead] {
                    let mut expected = Tally::default();
                    for (_, failed, slow) in all.iter().filter(|(start, ..)| *start >= from(then)) {
                        expected.add(*failed, *slow);
                    }
                    prop_assert_eq!(window.tally(CUT, generation, from(then)), expected);
                }
                let ok = all.iter().filter(|(_, failed, _)| !failed).count() as u64;
                prop_assert_eq!((window.ok(generation), window.ok(generation + 1)), (ok, 0));
            }
        }
    }

    #[test]
    fn counts_take_more_room_once_they_have_to() {
        for slow in [false, true] {
            let mut window = Compact::new();
            for _ in 0..u32::from(u16::MAX) + 9 {
                window.vote(CUT, 1, 30, vote(true, slow));
            }
            window.vote(CUT, 1, 40, vote(false, true));
            let tally = window.tally(CUT, 1, 0);
            let many = u64::from(u16::MAX) + 9;
            assert_eq!((tally.total, tally.failed, tally.slow_ok), (many + 1, many, 1));
            assert_eq!(tally.slow_failed, if slow { many } else { 0 });
            assert!(matches!(window.counts, Counts::Wide(_)));
            // The next state has as little as the first.
            window.vote(CUT, 2, 50, vote(true, false));
            assert!(matches!(window.counts, Counts::Plain(_)));
            let tally = window.tally(CUT, 2, 0);
            assert_eq!((tally.total, tally.failed, window.ok(2)), (1, 1, 0));
        }
    }

    #[test]
    fn another_cut_comes_with_another_generation() {
        let mut window = Compact::new();
        window.vote(CUT, 1, 30, vote(false, false));
        let finer = Cut {
            width: 2,
            buckets: 9,
            ..CUT
        };
        window.vote(finer, 2, 30, vote(true, false));
        assert_eq!((window.counts.len(), window.tally(finer, 2, 0).failed), (9, 1));
        assert_eq!(window.tally(CUT, 1, 0), Tally::default());
        // A vote that saw one number of the old cut and one of the new one harms nothing.
        let torn = Cut {
            width: 3,
            buckets: 60,
            ..CUT
        };
        window.vote(torn, 2, 90, vote(true, false));
        assert!(window.tally(torn, 2, 0).total <= 2);
    }
}
