use crate::breach::{BreachPolicy, Padding};
use crate::budget::Budget;
use crate::coding::{Coding, Level};
use crate::content_types::ContentTypes;
use crate::dictionary::DictionaryStore;
use crate::encoder::{Cost, level_with_dictionary};
use crate::etag::{EtagPolicy, Variant};
use crate::observer::{Event, Observer, SkipReason};
use crate::offload::Offload;
use crate::pool::Pool;
use crate::refusal::NotAcceptable;
use cortex_core::{Clock, SystemClock};
use std::fmt;
use std::sync::Arc;

/// What a layer, its services and their bodies have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    offers: Vec<Offer>,
    codings: Vec<Coding>,
    pub(crate) min_size: u64,
    pub(crate) types: ContentTypes,
    pub(crate) no_transform: bool,
    pub(crate) sse: bool,
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
}

impl Shared {
    pub(crate) fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut shared = Self {
            offers: Vec::new(),
            codings: Vec::new(),
            min_size: 1024,
            types: ContentTypes::compressible(),
            no_transform: true,
            sse: false,
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
        };
        for &coding in Coding::ALL {
            shared.offer(coding, Level::DEFAULT);
        }
        shared
    }

    /// Appends a coding to the offers, or changes its level where it stands.
    pub(crate) fn offer(&mut self, coding: Coding, level: Level) {
        let level = level.resolve(coding);
        let offer = Offer {
            coding,
            level,
            cost: Arc::new(Cost::new(coding, level)),
            dictionary_cost: Arc::new(Cost::new(coding, level_with_dictionary(coding, level))),
        };
        if let Some(at) = self.codings.iter().position(|&known| known == coding) {
            self.offers[at] = offer;
        } else {
            self.offers.push(offer);
            self.codings.push(coding);
        }
    }

    pub(crate) fn clear_offers(&mut self) {
        self.offers.clear();
        self.codings.clear();
    }

    pub(crate) fn set_clock(&mut self, clock: Arc<dyn Clock>) {
        self.pool = Arc::new(Pool::new(Arc::clone(&clock)));
        self.clock = clock;
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

    /// Says how a coding of [`codings`](Self::codings) is described.
    pub(crate) fn variant(&self, coding: Coding) -> Variant {
        Variant {
            coding: coding.as_str(),
            level: self.offers[self.find(coding)].level,
            etag: self.etag,
        }
    }

    /// Tells whether a whole body of this length always gives the same bytes, as a strong entity tag promises.
    ///
    /// Bodies that take longer are encoded in one way or another, as there is time; and padding is not the same everywhere.
    pub(crate) fn is_constant(&self, coding: Coding, length: u64) -> bool {
        if self.padding.is_some() {
            return false;
        }
        let offer = self.offer_at(self.find(coding));
        usize::try_from(length).is_ok_and(|length| offer.cost.whole.are_few(length))
    }

    pub(crate) fn offer_at(&self, index: usize) -> &Offer {
        &self.offers[index]
    }

    pub(crate) fn encoded(&self, coding: Coding, dictionary: bool, bytes_in: u64, bytes_out: u64) {
        if let Some(observer) = &self.observer {
            observer.on_event(&Event::Encoded {
                coding,
                dictionary,
                bytes_in,
                bytes_out,
            });
        }
    }

    pub(crate) fn skipped(&self, reason: SkipReason) {
        if let Some(observer) = &self.observer {
            observer.on_event(&Event::Skipped { reason });
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("offers", &self.offers)
            .field("min_size", &self.min_size)
            .field("no_transform", &self.no_transform)
            .field("sse", &self.sse)
            .field("etag", &self.etag)
            .field("not_acceptable", &self.not_acceptable)
            .field("breach", &self.breach)
            .field("dictionaries", &self.dictionaries)
            .field("observed", &self.observer.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.coding, self.level)
    }
}
