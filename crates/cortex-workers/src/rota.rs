use crate::slab::{Chain, Slab};
use std::collections::HashMap;

/// What waits: first in, first out, and by turns where it comes from several submitters.
///
/// Each submitter that is named has a lane of its own, and all that is not has one together. Whose turn it is gives its
/// oldest one, and stands behind the others then: so one that floods delays another by one at a time, however much it
/// has there. Nothing is walked through: all is done in the time of a few steps, but for [`oldest`](Self::oldest) and
/// [`pop_longest`](Self::pop_longest), which look at a bounded number of lanes, and for memory that grows now and then.
#[derive(Debug)]
pub(crate) struct Rota<T> {
    items: Slab<Item<T>>,
    /// Those of nobody who is named. While nobody is, there is nothing else to look at.
    unnamed: Chain,
    /// The turns of those who are named and have something here, and of the others if they have.
    lanes: Slab<Lane>,
    turns: Chain,
    /// Where the turns of those are that are named.
    named: HashMap<u64, usize>,
    /// Where the turn of the others is: only while somebody is named.
    turn_of_unnamed: Option<usize>,
}

#[derive(Debug)]
struct Item<T> {
    since: u64,
    lane: usize,
    value: T,
}

#[derive(Debug)]
struct Lane {
    of: Option<u64>,
    /// None of those that are not named.
    items: Chain,
}

/// Stands for the lane of those that are not named.
const UNNAMED: usize = usize::MAX;

/// So many lanes are looked at where all should be: more submitters than this seldom wait at a time.
const LOOKED_AT: usize = 1024;

impl<T> Rota<T> {
    pub(crate) fn new() -> Self {
        Self {
            items: Slab::new(),
            unnamed: Chain::NEW,
            lanes: Slab::new(),
            turns: Chain::NEW,
            named: HashMap::new(),
            turn_of_unnamed: None,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns how many submitters wait, of whom all that are not named are one.
    pub(crate) fn lanes(&self) -> usize {
        self.turns.len().max(usize::from(self.unnamed.len() > 0))
    }

    /// Returns how many of a submitter wait.
    pub(crate) fn len_of(&self, of: Option<u64>) -> usize {
        let Some(key) = of else {
            return self.unnamed.len();
        };
        let lane = self.named.get(&key).and_then(|&lane| self.lanes.get(lane));
        lane.map_or(0, |lane| lane.items.len())
    }

    /// Returns its place, which stays the same until it is taken out.
    #[inline]
    pub(crate) fn push(&mut self, of: Option<u64>, since: u64, value: T) -> usize {
        if let Some(key) = of {
            return self.push_named(key, since, value);
        }
        if self.turns.len() > 0 && self.unnamed.len() == 0 {
            self.add_turn_of_unnamed();
        }
        let lane = UNNAMED;
        self.items.push(&mut self.unnamed, Item { since, lane, value })
    }

    fn push_named(&mut self, key: u64, since: u64, value: T) -> usize {
        if self.turns.len() == 0 && self.unnamed.len() > 0 {
            self.add_turn_of_unnamed();
        }
        let Self {
            lanes, turns, named, ..
        } = self;
        let lane = *named.entry(key).or_insert_with(|| {
            let (of, items) = (Some(key), Chain::NEW);
            lanes.push(turns, Lane { of, items })
        });
        let Some(at) = lanes.get_mut(lane) else {
            unreachable!("it was found, or added");
        };
        self.items.push(&mut at.items, Item { since, lane, value })
    }

    fn add_turn_of_unnamed(&mut self) {
        let (of, items) = (None, Chain::NEW);
        self.turn_of_unnamed = Some(self.lanes.push(&mut self.turns, Lane { of, items }));
    }

    /// Returns what is next, and since when it waits.
    #[inline]
    pub(crate) fn first(&self) -> Option<(u64, &T)> {
        let item = self.items.get(self.next()?)?;
        Some((item.since, &item.value))
    }

    /// Takes what is next.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let place = self.next()?;
        self.lanes.turn(&mut self.turns);
        self.remove(place)
    }

    /// Lets the next one have its turn instead.
    pub(crate) fn skip(&mut self) {
        self.lanes.turn(&mut self.turns);
    }

    /// Takes the oldest of a submitter that is named.
    pub(crate) fn pop_of(&mut self, key: u64) -> Option<T> {
        let place = self.head(*self.named.get(&key)?)?;
        self.remove(place)
    }

    /// Takes the oldest of whoever has most, of those whose turn is next.
    pub(crate) fn pop_longest(&mut self) -> Option<T> {
        let lanes = self.lanes.places(self.turns).take(LOOKED_AT);
        // The first one of those that have as much.
        let longest = lanes.min_by_key(|&lane| {
            let len = self.lanes.get(lane).map_or(0, |lane| match lane.of {
                Some(_) => lane.items.len(),
                None => self.unnamed.len(),
            });
            std::cmp::Reverse(len)
        });
        let place = match longest {
            Some(lane) => self.head(lane)?,
            None => self.unnamed.first()?,
        };
        self.remove(place)
    }

    /// Takes out what is in a place.
    #[inline]
    pub(crate) fn remove(&mut self, place: usize) -> Option<T> {
        let lane = self.items.get(place)?.lane;
        if lane != UNNAMED {
            return self.remove_named(place, lane);
        }
        let item = self.items.remove(&mut self.unnamed, place)?;
        if self.unnamed.len() == 0
            && let Some(turn) = self.turn_of_unnamed.take()
        {
            self.lanes.remove(&mut self.turns, turn);
        }
        Some(item.value)
    }

    fn remove_named(&mut self, place: usize, lane: usize) -> Option<T> {
        let at = self.lanes.get_mut(lane)?;
        let item = self.items.remove(&mut at.items, place)?;
        if at.items.len() == 0 {
            let key = at.of;
            self.lanes.remove(&mut self.turns, lane);
            self.forget(key?);
        }
        Some(item.value)
    }

    fn forget(&mut self, key: u64) {
        self.named.remove(&key);
        if !self.named.is_empty() {
            return;
        }
        if let Some(turn) = self.turn_of_unnamed.take() {
            self.lanes.remove(&mut self.turns, turn);
        }
        if self.named.capacity() > LOOKED_AT {
            self.named = HashMap::new(); // what a burst has taken is given back
        }
    }

    /// Returns what is in a place.
    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        self.items.get(place).map(|item| &item.value)
    }

    /// Returns since when the oldest one waits; where very many submitters wait, of those whose turn is next.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let lanes = self.lanes.places(self.turns).take(LOOKED_AT);
        let heads = lanes.filter_map(|lane| self.head(lane));
        let heads = heads.chain(self.unnamed.first());
        heads.filter_map(|place| Some(self.items.get(place)?.since)).min()
    }

    /// Returns where the one is that is next.
    #[inline]
    fn next(&self) -> Option<usize> {
        match self.turns.first() {
            Some(lane) => self.head(lane),
            None => self.unnamed.first(),
        }
    }

    fn head(&self, lane: usize) -> Option<usize> {
        let lane = self.lanes.get(lane)?;
        if lane.of.is_some() {
            lane.items.first()
        } else {
            self.unnamed.first()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn drained(rota: &mut Rota<u32>) -> Vec<u32> {
        std::iter::from_fn(|| rota.pop()).collect()
    }

    #[test]
    fn one_that_floods_delays_another_by_one_at_a_time() {
        let mut rota = Rota::new();
        for number in 0..6 {
            rota.push(Some(1), 0, number);
        }
        rota.push(Some(2), 1, 20);
        rota.push(Some(2), 1, 21);
        rota.push(None, 2, 30);
        assert_eq!((rota.len(), rota.len_of(Some(1)), rota.len_of(None)), (9, 6, 1));
        assert_eq!(drained(&mut rota), [0, 20, 30, 1, 21, 2, 3, 4, 5]);
        assert_eq!((rota.first(), rota.named.len(), rota.lanes.len()), (None, 0, 0));
    }

    #[test]
    fn who_is_taken_out_leaves_the_turns_as_they_were() {
        let mut rota = Rota::new();
        let places: Vec<_> = [(1, 10), (2, 20), (3, 30), (1, 11)]
            .map(|(of, number)| rota.push(Some(of), u64::from(number), number))
            .into();
        assert_eq!(rota.remove(places[1]), Some(20));
        assert_eq!((rota.remove(places[1]), rota.get(places[0])), (None, Some(&10)));
        assert_eq!(rota.oldest(), Some(10));
        rota.skip();
        assert_eq!(rota.first(), Some((30, &30)));
        assert_eq!(rota.pop_longest(), Some(10));
        assert_eq!(rota.pop_of(3), Some(30));
        assert_eq!(drained(&mut rota), [11]);
    }

    proptest! {
        /// Of each submitter the order holds, nothing is lost, and who waits is passed by each other one at most once
        /// in a row.
        #[test]
        fn turns_are_fair(steps in prop::collection::vec((0_u64..4, any::<bool>()), 1..200)) {
            let mut rota = Rota::new();
            let mut waiting: [VecDeque<usize>; 4] = Default::default();
            let mut passed = [[0_u32; 4]; 4];
            for (number, &(of, pops)) in steps.iter().enumerate() {
                if !pops {
                    let lane = usize::try_from(of).unwrap();
                    if waiting[lane].is_empty() {
                        passed[lane] = [0; 4];
                    }
                    waiting[lane].push_back(number);
                    rota.push((of > 0).then_some(of), 0, (lane, number));
                    continue;
                }
                let popped = rota.pop();
                prop_assert_eq!(popped.is_some(), waiting.iter().any(|lane| !lane.is_empty()));
                let Some((lane, number)) = popped else { continue };
                prop_assert_eq!(waiting[lane].pop_front(), Some(number));
                passed[lane] = [0; 4];
                for other in 0..4 {
                    if other != lane && !waiting[other].is_empty() {
                        passed[other][lane] += 1;
                        prop_assert!(passed[other][lane] <= 1, "{} was passed twice by {}", other, lane);
                    }
                }
            }
            prop_assert_eq!(rota.len(), waiting.iter().map(VecDeque::len).sum::<usize>());
        }
    }
}
