use crate::priority::Priority;
use std::collections::VecDeque;

/// What waits to be taken: first in, first out within a priority, and the oldest before all others once they have aged.
#[derive(Debug)]
pub(crate) struct Line<T> {
    levels: [VecDeque<Placed<T>>; 3],
    /// After so many nanoseconds something counts for one priority more.
    ageing: Option<u64>,
}

#[derive(Debug)]
struct Placed<T> {
    since: u64,
    item: T,
}

impl<T> Line<T> {
    pub(crate) const fn new(ageing: Option<u64>) -> Self {
        Self {
            levels: [const { VecDeque::new() }; 3],
            ageing,
        }
    }

    pub(crate) fn push(&mut self, priority: Priority, since: u64, item: T) {
        self.levels[priority.index()].push_back(Placed { since, item });
    }

    /// Takes what is next at this time, of those that are alive; what is not, and stands before it, is dropped and counted.
    pub(crate) fn pop(&mut self, now: u64, is_alive: impl Fn(&T) -> bool) -> (Option<T>, usize) {
        let mut dropped = 0;
        for level in &mut self.levels {
            while level.pop_front_if(|head| !is_alive(&head.item)).is_some() {
                dropped += 1;
            }
        }
        let next = self.next_level(now);
        let item = next.and_then(|level| self.levels[level].pop_front());
        (item.map(|placed| placed.item), dropped)
    }

    /// Takes the oldest one of the lowest priority, unless that is above this one.
    pub(crate) fn pop_least(&mut self, upto: Priority, is_alive: impl Fn(&T) -> bool) -> Option<T> {
        for level in self.levels[upto.index()..].iter_mut().rev() {
            let at = level.iter().position(|placed| is_alive(&placed.item));
            if let Some(placed) = at.and_then(|at| level.remove(at)) {
                return Some(placed.item);
            }
        }
        None
    }

    /// Drops what is not alive.
    pub(crate) fn sweep(&mut self, is_alive: impl Fn(&T) -> bool) {
        for level in &mut self.levels {
            level.retain(|placed| is_alive(&placed.item));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.levels.iter().flatten().map(|placed| &placed.item)
    }

    /// Returns since when the oldest of those that are alive waits.
    pub(crate) fn oldest(&self, is_alive: impl Fn(&T) -> bool) -> Option<u64> {
        let heads = self.levels.iter();
        heads
            .filter_map(|level| level.iter().find(|placed| is_alive(&placed.item)))
            .map(|placed| placed.since)
            .min()
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.levels
            .iter_mut()
            .flat_map(|level| level.drain(..))
            .map(|placed| placed.item)
    }

    /// Finds the priority whose head is next: its own one, less one for each time that the head has aged. The older one wins a tie.
    fn next_level(&self, now: u64) -> Option<usize> {
        let heads = self.levels.iter().enumerate();
        let heads = heads.filter_map(|(level, placed)| Some((level, placed.front()?.since)));
        let Some(ageing) = self.ageing else {
            return heads.map(|(level, _)| level).next();
        };
        let rank = |(level, since): (usize, u64)| {
            let aged = now.saturating_sub(since).checked_div(ageing).unwrap_or(u64::MAX);
            let aged = i64::try_from(aged).unwrap_or(i64::MAX);
            (
                i64::from(u8::try_from(level).unwrap_or(u8::MAX)).saturating_sub(aged),
                since,
            )
        };
        heads.min_by_key(|&head| rank(head)).map(|(level, _)| level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALIVE: fn(&u32) -> bool = |_| true;

    fn drained(line: &mut Line<u32>, now: u64) -> Vec<u32> {
        std::iter::from_fn(|| line.pop(now, ALIVE).0).collect()
    }

    #[test]
    fn the_highest_comes_first_and_then_the_oldest() {
        let mut line = Line::new(None);
        for (priority, item) in [
            (Priority::Low, 1),
            (Priority::Normal, 2),
            (Priority::High, 3),
            (Priority::Normal, 4),
            (Priority::High, 5),
        ] {
            line.push(priority, item.into(), item);
        }
        assert_eq!(line.oldest(ALIVE), Some(1));
        assert_eq!(drained(&mut line, u64::MAX), [3, 5, 2, 4, 1]);
        assert_eq!(line.oldest(ALIVE), None);
    }

    #[test]
    fn what_has_waited_two_ages_is_before_what_is_high_and_new() {
        let mut line = Line::new(Some(50));
        line.push(Priority::Low, 0, 1);
        line.push(Priority::High, 99, 2);
        assert_eq!(line.pop(99, ALIVE).0, Some(2));
        line.push(Priority::High, 100, 3);
        assert_eq!(line.pop(100, ALIVE).0, Some(1), "the same rank, and older");
        assert_eq!(line.pop(100, ALIVE).0, Some(3));
    }

    #[test]
    fn the_dead_are_dropped_on_the_way_and_swept() {
        let mut line = Line::new(None);
        for item in 1..=6 {
            line.push(Priority::Normal, 0, item);
        }
        let odd = |item: &u32| item % 2 == 1;
        assert_eq!(line.pop(0, |item| *item > 2), (Some(3), 2));
        line.sweep(odd);
        assert_eq!(line.iter().copied().collect::<Vec<_>>(), [5]);
        assert_eq!(line.pop_least(Priority::High, odd), Some(5));
    }

    #[test]
    fn the_least_is_the_oldest_of_the_lowest_and_never_above() {
        let mut line = Line::new(None);
        line.push(Priority::High, 0, 1);
        line.push(Priority::Normal, 1, 2);
        line.push(Priority::Normal, 2, 3);
        assert_eq!(line.pop_least(Priority::Low, ALIVE), None);
        assert_eq!(line.pop_least(Priority::Normal, ALIVE), Some(2));
        assert_eq!(line.pop_least(Priority::High, ALIVE), Some(3));
        assert_eq!(line.pop_least(Priority::Normal, ALIVE), None);
        assert_eq!(line.pop_least(Priority::High, ALIVE), Some(1));
    }

    proptest! {
        /// Nothing starves: whatever comes later, what is low is taken within two ages of its own, and each priority is in order.
        #[test]
        fn nothing_starves_and_order_holds(arrivals in prop::collection::vec((0_usize..3, 0_u64..5), 1..200)) {
            let mut line = Line::new(Some(10));
            let mut now = 0;
            let mut taken = Vec::new();
            for (item, &(level, later)) in arrivals.iter().enumerate() {
                now += later;
                line.push(Priority::ALL[level], now, (level, now, item));
                if item % 2 == 1 {
                    taken.extend(line.pop(now, |_| true).0.map(|it| (now, it)));
                }
            }
            while let (Some(item), _) = line.pop(now, |_| true) {
                taken.push((now, item));
            }
            prop_assert_eq!(taken.len(), arrivals.len());
            for level in 0..3 {
                let of_level = taken.iter().filter(|(_, it)| it.0 == level).map(|(_, it)| it.2);
                prop_assert!(of_level.is_sorted());
            }
            // Whoever is taken before an older one is at most two priorities above it, and that one has not aged as much.
            for (at, (when, first)) in taken.iter().enumerate() {
                for (_, other) in &taken[at + 1..] {
                    let waited = |since: u64| when.saturating_sub(since);
                    if other.1 <= *when && other.2 < first.2 {
                        prop_assert!(waited(other.1) < 30 + waited(first.1));
                    }
                }
            }
        }
    }
}
