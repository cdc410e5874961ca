use crate::priority::Priority;
use crate::rota::Rota;

/// What waits to be taken: first in, first out within a priority (and a submitter), and the oldest before all others
/// once they have aged.
#[derive(Debug)]
pub(crate) struct Line<T> {
    levels: [Rota<T>; 3],
    /// After so many nanoseconds something counts for one priority more.
    ageing: Option<u64>,
}

impl<T> Line<T> {
    pub(crate) fn new(ageing: Option<u64>) -> Self {
        Self {
            levels: std::array::from_fn(|_| Rota::new()),
            ageing,
        }
    }

    /// Returns its place, which stays the same until it is taken out.
    pub(crate) fn push(&mut self, priority: Priority, of: Option<u64>, since: u64, item: T) -> usize {
        self.levels[priority.index()].push(of, since, item)
    }

    /// Takes what is next at this time.
    pub(crate) fn pop(&mut self, now: u64) -> Option<T> {
        let level = self.next_level(now)?;
        self.levels[level].pop()
    }

    /// Takes the oldest one that a submitter has of a priority.
    pub(crate) fn pop_of(&mut self, priority: Priority, key: u64) -> Option<T> {
        self.levels[priority.index()].pop_of(key)
    }

    /// Takes the oldest one of the lowest priority, unless that is above this one: of whoever has most there.
    pub(crate) fn pop_least(&mut self, upto: Priority) -> Option<T> {
        let mut levels = self.levels[upto.index()..].iter_mut().rev();
        levels.find_map(Rota::pop_longest)
    }

    /// Takes out what is in a place.
    pub(crate) fn remove(&mut self, priority: Priority, place: usize) -> Option<T> {
        self.levels[priority.index()].remove(place)
    }

    /// Returns what is in a place.
    pub(crate) fn get(&self, priority: Priority, place: usize) -> Option<&T> {
        self.levels[priority.index()].get(place)
    }

    /// Returns how many there are of each priority.
    pub(crate) fn counts(&self) -> [usize; 3] {
        std::array::from_fn(|level| self.levels[level].len())
    }

    /// Returns how many of a submitter there are with this priority.
    pub(crate) fn count_of(&self, priority: Priority, of: Option<u64>) -> usize {
        self.levels[priority.index()].len_of(of)
    }

    /// Returns since when the oldest one waits.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.levels.iter().filter_map(Rota::oldest).min()
    }

    /// Takes one after the other, the highest first.
    pub(crate) fn pop_any(&mut self) -> Option<T> {
        self.levels.iter_mut().find_map(Rota::pop)
    }

    /// Finds the priority whose head is next: its own one, less one for each time that the head has aged. The older one wins a tie.
    fn next_level(&self, now: u64) -> Option<usize> {
        let heads = self.levels.iter().enumerate();
        let mut heads = heads.filter_map(|(level, rota)| Some((level, rota.first()?.0)));
        let first = heads.next()?;
        let (Some(ageing), Some(second)) = (self.ageing, heads.next()) else {
            return Some(first.0);
        };
        let heads = [first, second].into_iter().chain(heads);
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

    fn drained(line: &mut Line<u32>, now: u64) -> Vec<u32> {
        std::iter::from_fn(|| line.pop(now)).collect()
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
            line.push(priority, None, item.into(), item);
        }
        assert_eq!(line.oldest(), Some(1));
        assert_eq!(drained(&mut line, u64::MAX), [3, 5, 2, 4, 1]);
        assert_eq!(line.oldest(), None);
    }

    #[test]
    fn what_has_waited_two_ages_is_before_what_is_high_and_new() {
        let mut line = Line::new(Some(50));
        line.push(Priority::Low, None, 0, 1);
        line.push(Priority::High, None, 99, 2);
        assert_eq!(line.pop(99), Some(2));
        line.push(Priority::High, None, 100, 3);
        assert_eq!(line.pop(100), Some(1), "the same rank, and older");
        assert_eq!(line.pop(100), Some(3));
    }

    #[test]
    fn the_least_is_the_oldest_of_the_lowest_and_never_above() {
        let mut line = Line::new(None);
        line.push(Priority::High, None, 0, 1);
        line.push(Priority::Normal, None, 1, 2);
        line.push(Priority::Normal, None, 2, 3);
        assert_eq!(line.pop_least(Priority::Low), None);
        assert_eq!(line.pop_least(Priority::Normal), Some(2));
        assert_eq!(line.pop_least(Priority::High), Some(3));
        assert_eq!(line.pop_least(Priority::Normal), None);
        assert_eq!(line.pop_least(Priority::High), Some(1));
    }

    #[test]
    fn whoever_has_most_gives_up_its_own() {
        let mut line = Line::new(None);
        let named = |line: &mut Line<u32>, of, item| line.push(Priority::Normal, Some(of), 0, item);
        for item in 10..13 {
            named(&mut line, 1, item);
        }
        named(&mut line, 2, 20);
        let low = line.push(Priority::Low, Some(2), 0, 21);
        assert_eq!(line.pop_of(Priority::Normal, 1), Some(10));
        assert_eq!(line.pop_of(Priority::Low, 1), None);
        assert_eq!(line.remove(Priority::Low, low), Some(21));
        assert_eq!(line.pop_least(Priority::Normal), Some(11), "who has most");
        assert_eq!(line.counts(), [0, 2, 0]);
        assert_eq!(line.pop_least(Priority::Low), None);
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
                line.push(Priority::ALL[level], None, now, (level, now, item));
                if item % 2 == 1 {
                    taken.extend(line.pop(now).map(|it| (now, it)));
                }
            }
            while let Some(item) = line.pop(now) {
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
