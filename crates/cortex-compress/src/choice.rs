use crate::coding::{Coding, Level};
use crate::encoder::{Cost, level_with_dictionary};
use crate::shared::Offer;
use std::sync::{Arc, OnceLock};

/// What a response is encoded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) coding: Coding,
    /// None for the level at which the coding is on offer.
    pub(crate) level: Option<u8>,
}

impl From<Coding> for Choice {
    fn from(coding: Coding) -> Self {
        Self { coding, level: None }
    }
}

/// The levels that are not on offer, with what they cost; made when a response first asks for one of its coding.
#[derive(Default)]
pub(crate) struct OtherLevels([OnceLock<Box<[Offer]>>; Coding::COUNT]);

impl OtherLevels {
    /// Finds a level, which the coding has to have.
    pub(crate) fn find(&self, coding: Coding, level: u8) -> &Offer {
        let all = self.0[coding.index()].get_or_init(|| {
            let levels = coding.levels();
            levels
                .map(|level| Offer::new(coding, Level::new(level)))
                .collect()
        });
        &all[usize::from(level - coding.levels().start())]
    }

    /// Returns of each what was spent on encoding by it, in nanoseconds.
    pub(crate) fn spent(&self) -> impl Iterator<Item = u64> {
        let made = self.0.iter().filter_map(OnceLock::get);
        made.flatten().flat_map(Offer::costs).map(|cost| cost.spent())
    }
}

impl Offer {
    pub(crate) fn new(coding: Coding, level: Level) -> Self {
        let level = level.resolve(coding);
        Self {
            coding,
            level,
            cost: Arc::new(Cost::new(coding, level)),
            dictionary_cost: Arc::new(Cost::new(coding, level_with_dictionary(coding, level))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_of_each_coding_has_a_cost_of_its_own() {
        let others = OtherLevels::default();
        for &coding in Coding::ALL {
            for level in coding.levels() {
                let offer = others.find(coding, level);
                assert_eq!((offer.coding, offer.level), (coding, level));
                assert!(Arc::ptr_eq(&offer.cost, &others.find(coding, level).cost));
            }
        }
    }

    #[test]
    fn what_is_spent_at_another_level_counts_with_a_dictionary_or_without() {
        let others = OtherLevels::default();
        for &coding in Coding::ALL {
            let before: u64 = others.spent().sum();
            let offer = others.find(coding, *coding.levels().end());
            offer.cost.whole.learn(10_000, 300);
            offer.dictionary_cost.stream.learn(10_000, 5000);
            assert_eq!(others.spent().sum::<u64>() - before, 5300, "{coding}");
        }
    }
}
