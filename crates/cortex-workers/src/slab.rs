/// Places for things that stand in lists: what is in a list is taken out at once, wherever it stands.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    nodes: Vec<Node<T>>,
    /// The places that are free, as a list of its own.
    free: usize,
    count: usize,
}

#[derive(Debug)]
struct Node<T> {
    value: Option<T>,
    before: usize,
    after: usize,
}

/// A list of things that are in a slab.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    first: usize,
    last: usize,
    count: usize,
}

/// No place.
const NONE: usize = usize::MAX;
/// So many places are kept when they are all free; what a burst has taken beyond that is given back.
const KEPT: usize = 1024;

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: NONE,
            count: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Returns what is in a place.
    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        self.nodes.get(place)?.value.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.nodes.get_mut(place)?.value.as_mut()
    }

    /// Puts something at the end of a list; returns its place.
    #[inline]
    pub(crate) fn push(&mut self, chain: &mut Chain, value: T) -> usize {
        let node = Node {
            value: Some(value),
            before: chain.last,
            after: NONE,
        };
        let place = if self.free == NONE {
            self.nodes.push(node);
            self.nodes.len() - 1
        } else {
            let place = self.free;
            self.free = self.nodes[place].after;
            self.nodes[place] = node;
            place
        };
        match self.nodes.get_mut(chain.last) {
            Some(last) => last.after = place,
            None => chain.first = place,
        }
        chain.last = place;
        chain.count += 1;
        self.count += 1;
        place
    }

    /// Takes out what is in a place of a list.
    #[inline]
    pub(crate) fn remove(&mut self, chain: &mut Chain, place: usize) -> Option<T> {
        let node = self.nodes.get_mut(place)?;
        let value = node.value.take()?;
        let (before, after) = (node.before, node.after);
        node.after = self.free;
        self.free = place;
        match self.nodes.get_mut(before) {
            Some(before) => before.after = after,
            None => chain.first = after,
        }
        match self.nodes.get_mut(after) {
            Some(after) => after.before = before,
            None => chain.last = before,
        }
        chain.count -= 1;
        self.count -= 1;
        if self.count == 0 && self.nodes.len() > KEPT {
            self.give_back();
        }
        Some(value)
    }

    #[cold]
    fn give_back(&mut self) {
        *self = Self::new();
    }

    /// Puts the first one of a list at its end.
    #[inline]
    pub(crate) fn turn(&mut self, chain: &mut Chain) {
        let (first, last) = (chain.first, chain.last);
        if first == last {
            return;
        }
        let second = self.nodes[first].after;
        self.nodes[second].before = NONE;
        self.nodes[first].before = last;
        self.nodes[first].after = NONE;
        self.nodes[last].after = first;
        (chain.first, chain.last) = (second, first);
    }

    /// Returns the places of a list, the first first.
    pub(crate) fn places(&self, chain: Chain) -> impl Iterator<Item = usize> {
        let first = (chain.first != NONE).then_some(chain.first);
        std::iter::successors(first, |&place| {
            let after = self.nodes[place].after;
            (after != NONE).then_some(after)
        })
    }
}

impl Chain {
    pub(crate) const NEW: Self = Self {
        first: NONE,
        last: NONE,
        count: 0,
    };

    /// Returns the place of the first one.
    pub(crate) fn first(&self) -> Option<usize> {
        (self.first != NONE).then_some(self.first)
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(bool),
        Remove(usize),
        Turn(bool),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => any::<bool>().prop_map(Step::Push),
            2 => any::<usize>().prop_map(Step::Remove),
            1 => any::<bool>().prop_map(Step::Turn),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Two lists in one slab are what two vectors are.
        #[test]
        fn lists_are_as_vectors(steps in steps()) {
            let mut slab = Slab::new();
            let mut chains = [Chain::NEW; 2];
            let mut lists: [Vec<(usize, usize)>; 2] = [Vec::new(), Vec::new()];
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(which) => {
                        let which = usize::from(which);
                        let place = slab.push(&mut chains[which], number);
                        lists[which].push((place, number));
                    }
                    Step::Remove(any) => {
                        let which = any % 2;
                        if !lists[which].is_empty() {
                            let at = any % lists[which].len();
                            let (place, number) = lists[which].remove(at);
                            prop_assert_eq!(slab.remove(&mut chains[which], place), Some(number));
                            prop_assert_eq!(slab.remove(&mut chains[which], place), None);
                        }
                    }
                    Step::Turn(which) => {
                        let which = usize::from(which);
                        slab.turn(&mut chains[which]);
                        if !lists[which].is_empty() {
                            lists[which].rotate_left(1);
                        }
                    }
                }
                for (chain, list) in chains.iter().zip(&lists) {
                    let places: Vec<usize> = slab.places(*chain).collect();
                    let expected: Vec<usize> = list.iter().map(|(place, _)| *place).collect();
                    prop_assert_eq!(places, expected);
                    prop_assert_eq!(chain.first(), list.first().map(|(place, _)| *place));
                    prop_assert_eq!(chain.len(), list.len());
                }
            }
        }
    }

    #[test]
    fn places_are_taken_again_and_a_burst_is_given_back() {
        let (mut slab, mut chain) = (Slab::new(), Chain::NEW);
        for round in 0..3 {
            let places: Vec<usize> = (0..2).map(|number| slab.push(&mut chain, number)).collect();
            assert!(places.iter().all(|&place| place < 2), "{round}");
            for place in places {
                slab.remove(&mut chain, place);
            }
        }
        let places: Vec<usize> = (0..=KEPT).map(|number| slab.push(&mut chain, number)).collect();
        for place in places {
            slab.remove(&mut chain, place);
        }
        assert_eq!(slab.nodes.capacity(), 0);
    }
}
