use crate::adaptive::{Adaptive, Control, Costs, ladder, steps};
use crate::breach::{BreachPolicy, Padding};
use crate::budget::Budget;
use crate::cache::VariantCache;
use crate::choice::{Choice, OtherLevels};
use crate::coding::{Coding, Level};
use crate::content_types::ContentTypes;
use crate::dictionary::DictionaryStore;
use crate::encoder::{BUDGET, Cost, level_with_dictionary};
use crate::etag::{EtagPolicy, Variant};
use crate::flush::FlushPolicy;
use crate::observer::{Event, Observer, SkipReason};
use crate::offload::Offload;
use crate::one_shot::ONE_SHOT_MAX;
use crate::pool::Pool;
use crate::refusal::NotAcceptable;
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::sync::Arc;

/// What a layer, its services and their bodies have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    offers: Vec<Offer>,
    other_levels: Arc<OtherLevels>,
    codings: Vec<Coding>,
    pub(crate) min_size: u64,
    pub(crate) one_shot_max: u64,
    pub(crate) types: ContentTypes,
    pub(crate) no_transform: bool,
    pub(crate) sse: bool,
    pub(crate) flush: FlushPolicy,
    pub(crate) etag: EtagPolicy,
    pub(crate) not_acceptable: NotAcceptable,
    pub(crate) breach: BreachPolicy,
    pub(crate) padding: Option<Padding>,
    pub(crate) dictionaries: Option<DictionaryStore>,
    observer: Option<Arc<dyn Observer>>,
    pub(crate) offload: Option<Arc<dyn Offload>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) cache: Option<VariantCache>,
    adaptive: Option<Adaptive>,
    control: Option<Arc<Control>>,
    /// As it was given, if it is watched.
    given_offload: Option<Arc<dyn Offload>>,
}

/// The default of what the encoders at work may hold together.
const MEMORY_BUDGET: usize = 256 << 20;

/// A coding on offer, with what it costs.
#[derive(Clone)]
pub(crate) struct Offer {
    pub(crate) coding: Coding,
    pub(crate) level: u8,
    pub(crate) cost: Arc<Cost>,
    /// The cost with a dictionary.
    pub(crate) dictionary_cost: Arc<Cost>,
}

impl Offer {
    /// Returns what it is with a dictionary.
    pub(crate) fn with_dictionary(&self) -> Self {
        Self {
            coding: self.coding,
            level: level_with_dictionary(self.coding, self.level),
            cost: Arc::clone(&self.dictionary_cost),
            dictionary_cost: Arc::clone(&self.dictionary_cost),
        }
    }

    /// Returns the cost of each way to encode by it.
    pub(crate) const fn costs(&self) -> [&Arc<Cost>; 2] {
        [&self.cost, &self.dictionary_cost]
    }
}

impl Shared {
    pub(crate) fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TscClock);
        let mut shared = Self {
            offers: Vec::new(),
            other_levels: Arc::default(),
            codings: Vec::new(),
            min_size: 1024,
            one_shot_max: ONE_SHOT_MAX,
            types: ContentTypes::compressible(),
            no_transform: true,
            sse: false,
            flush: FlushPolicy::default(),
            etag: EtagPolicy::default(),
            not_acceptable: NotAcceptable::default(),
            breach: BreachPolicy::default(),
            padding: None,
            dictionaries: None,
            observer: None,
            offload: None,
            pool: Arc::new(Pool::new(Arc::clone(&clock))),
            clock,
            budget: Arc::new(Budget::new(MEMORY_BUDGET)),
            cache: None,
            adaptive: None,
            control: None,
            given_offload: None,
        };
        for &coding in Coding::ALL {
            shared.offer(coding, Level::DEFAULT);
        }
        shared
    }

    /// Appends a coding to the offers, or changes its level where it stands.
    pub(crate) fn offer(&mut self, coding: Coding, level: Level) {
        let offer = Offer::new(coding, level);
        if let Some(at) = self.codings.iter().position(|&known| known == coding) {
            self.offers[at] = offer;
        } else {
            self.offers.push(offer);
            self.codings.push(coding);
        }
        self.derive();
    }

    pub(crate) fn set_etag(&mut self, policy: EtagPolicy) {
        self.etag = policy;
        self.derive();
    }

    pub(crate) fn set_offload(&mut self, offload: Arc<dyn Offload>) {
        self.given_offload = Some(Arc::clone(&offload));
        self.offload = Some(offload);
        self.derive();
    }

    pub(crate) fn set_adaptive(&mut self, adaptive: Adaptive) {
        self.adaptive = Some(adaptive);
        self.derive();
    }

    /// Sets what follows from other settings if the levels are stepped down.
    fn derive(&mut self) {
        let Some(adaptive) = &self.adaptive else { return };
        let offers = self.offers.iter();
        let longest = offers.map(|offer| steps(offer.coding, offer.level)).max();
        let costs = self.offers.iter().flat_map(Offer::costs).cloned().collect();
        let costs = Costs::new(costs, Arc::clone(&self.other_levels));
        // The last step is the identity.
        let last = longest.unwrap_or(0) + 1;
        let control = Control::new(adaptive, last, costs, Arc::clone(&self.clock));
        let offload = self.given_offload.clone();
        self.offload = offload.map(|offload| control.watch(offload));
        self.control = Some(Arc::new(control));
        if self.etag == EtagPolicy::Suffix {
            self.etag = EtagPolicy::Weaken;
        }
    }

    /// Returns how many steps down this choice is now; none if it is not to be used at all.
    pub(crate) fn step(&self, choice: Choice) -> Option<u8> {
        let Some(control) = &self.control else {
            return Some(0);
        };
        let (step, changed) = control.step();
        if changed {
            self.tell(&Event::Adapted { step });
        }
        if step == control.steps() {
            return None;
        }
        Some(step.min(steps(choice.coding, self.chosen(choice).level)))
    }

    /// Returns the choice that is so many steps down.
    pub(crate) fn lower(&self, choice: Choice, step: u8, whole: bool) -> Choice {
        if step == 0 {
            return choice;
        }
        let levels = ladder(choice.coding, self.chosen(choice).level, whole);
        let level = levels.take(usize::from(step)).last();
        Choice {
            level: level.or(choice.level),
            ..choice
        }
    }

    pub(crate) fn clear_offers(&mut self) {
        self.offers.clear();
        self.codings.clear();
        self.derive();
    }

    pub(crate) fn set_clock(&mut self, clock: Arc<dyn Clock>) {
        self.pool = Arc::new(Pool::new(Arc::clone(&clock)));
        self.clock = clock;
        self.derive();
    }

    pub(crate) fn set_breach(&mut self, policy: BreachPolicy) {
        self.breach = policy;
        self.padding = Padding::new(policy);
        self.pool = Arc::new(Pool::new(Arc::clone(&self.clock))); // encoders know their padding
    }

    pub(crate) fn observe(&mut self, observer: Arc<dyn Observer>) {
        self.observer = Some(observer);
    }

    pub(crate) fn codings(&self) -> &[Coding] {
        &self.codings
    }

    /// Finds an offer of [`codings`](Self::codings) by its coding.
    pub(crate) fn find(&self, coding: Coding) -> usize {
        self.codings
            .iter()
            .position(|&known| known == coding)
            .expect("invariant: only what is on offer is negotiated")
    }

    /// Says how a choice among [`codings`](Self::codings) is described.
    pub(crate) fn variant(&self, choice: impl Into<Choice>) -> Variant {
        let offer = self.chosen(choice.into());
        Variant {
            coding: offer.coding.as_str(),
            level: offer.level,
            etag: self.etag,
        }
    }

    /// Finds what belongs to a choice among [`codings`](Self::codings).
    pub(crate) fn chosen(&self, choice: Choice) -> &Offer {
        let offer = self.offer_at(self.find(choice.coding));
        match choice.level {
            Some(level) if level != offer.level => self.other_levels.find(choice.coding, level),
            _ => offer,
        }
    }

    /// Tells whether a whole body of this length always gives the same bytes, as a strong entity tag promises.
    ///
    /// Bodies that take longer are encoded in one way or another, as there is time, and so are all where no tag promises it;
    /// and padding is not the same everywhere.
    pub(crate) fn is_constant(&self, choice: impl Into<Choice>, length: u64) -> bool {
        let offer = self.chosen(choice.into());
        self.etag == EtagPolicy::Suffix
            && self.padding.is_none()
            && length <= self.one_shot_max
            && usize::try_from(length).is_ok_and(|length| offer.cost.whole.are_few(length))
    }

    pub(crate) fn offer_at(&self, index: usize) -> &Offer {
        &self.offers[index]
    }

    pub(crate) const fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    pub(crate) fn tell(&self, event: &Event) {
        if let Some(observer) = &self.observer {
            observer.on_event(event);
        }
    }

    /// Tells of a body that was encoded before: it needs no encoder now.
    pub(crate) fn cached(&self, coding: Coding, bytes_in: u64, bytes_out: u64) {
        self.pool.pass();
        self.tell(&Event::Cached {
            coding,
            bytes_in,
            bytes_out,
        });
    }

    /// Tells whether this many bytes take long to encode, by what is known of it.
    pub(crate) fn is_long(&self, choice: Choice, length: usize) -> bool {
        self.chosen(choice).cost.whole.nanos(length) > BUDGET
    }

    /// Tells of a response that is left as it is: it needs no encoder.
    pub(crate) fn skipped(&self, reason: SkipReason) {
        self.pool.pass();
        self.tell(&Event::Skipped { reason });
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("offers", &self.offers)
            .field("min_size", &self.min_size)
            .field("no_transform", &self.no_transform)
            .field("sse", &self.sse)
            .field("flush", &self.flush)
            .field("etag", &self.etag)
            .field("not_acceptable", &self.not_acceptable)
            .field("breach", &self.breach)
            .field("dictionaries", &self.dictionaries)
            .field("cache", &self.cache)
            .field("adaptive", &self.adaptive)
            .field("observed", &self.observer.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.coding, self.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_testkit::ManualClock;
    use std::time::Duration;

    #[test]
    fn time_that_dictionaries_take_counts_in_the_share() {
        const LOOK: Duration = Duration::from_millis(100);
        let Some(&coding) = Coding::ALL.first() else {
            return;
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        for (percent, expected) in [(30, Some(0)), (80, None)] {
            let clock = ManualClock::new();
            let mut shared = Shared::new();
            shared.set_clock(Arc::new(clock.clone()));
            shared.clear_offers();
            shared.offer(coding, Level::new(*coding.levels().start()));
            shared.set_adaptive(Adaptive::share(0.5));
            for _ in 0..200 {
                for _ in 0..processors {
                    let cost = &shared.offers[0].dictionary_cost;
                    cost.whole.learn(1 << 20, 1_000_000 * percent);
                }
                clock.advance(LOOK);
                shared.step(coding.into());
            }
            assert_eq!(shared.step(coding.into()), expected, "{percent} %");
        }
    }
}
