use crate::coding::Coding;
use crate::dictionary::Dictionary;
use crate::encoder::level_with_dictionary;
use crate::observer::{AbortCause, EncodePath, Event, SkipReason};
use crate::shared::{Offer, Shared};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What an observer will be told of one body that is being encoded, and nothing where nobody observes.
///
/// It is told once, whatever becomes of the body: a tally that is dropped tells that the body was given up.
pub(crate) struct Tally(Option<Open>);

struct Open {
    shared: Arc<Shared>,
    coding: Coding,
    dictionary: bool,
    level: u8,
    path: EncodePath,
    bytes_in: u64,
    bytes_out: u64,
    nanos: u64,
}

impl Tally {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        offer: &Offer,
        dictionary: Option<&Dictionary>,
        path: EncodePath,
    ) -> Self {
        Self(shared.is_observed().then(|| Open {
            shared: Arc::clone(shared),
            coding: offer.coding,
            dictionary: dictionary.is_some(),
            level: match dictionary {
                Some(_) => level_with_dictionary(offer.coding, offer.level),
                None => offer.level,
            },
            path,
            bytes_in: 0,
            bytes_out: 0,
            nanos: 0,
        }))
    }

    /// Takes the time, if somebody wants to know it.
    pub(crate) fn begin(&self) -> Option<u64> {
        self.0.as_ref().map(|open| open.shared.clock.nanos())
    }

    /// Counts the time since then.
    pub(crate) fn end(&mut self, began: Option<u64>) {
        if let (Some(open), Some(began)) = (&mut self.0, began) {
            open.nanos += open.shared.clock.nanos().saturating_sub(began);
        }
    }

    /// Counts time that was taken elsewhere.
    pub(crate) fn spent(&mut self, nanos: u64) {
        if let Some(open) = &mut self.0 {
            open.nanos += nanos;
        }
    }

    /// Tells nothing: the body did not begin.
    pub(crate) fn cancel(&mut self) {
        self.0 = None;
    }

    /// Begins again without a dictionary.
    pub(crate) fn restart(&mut self, offer: &Offer) {
        if let Some(open) = &mut self.0 {
            (open.coding, open.level, open.dictionary) = (offer.coding, offer.level, false);
        }
    }

    /// Sets by which way the body went, and how long that has taken in all.
    pub(crate) fn went(&mut self, path: EncodePath, nanos: u64) {
        if let Some(open) = &mut self.0 {
            (open.path, open.nanos) = (path, nanos);
        }
    }

    /// Sets how much was encoded, and into how much.
    pub(crate) fn count(&mut self, bytes_in: u64, bytes_out: u64) {
        if let Some(open) = &mut self.0 {
            (open.bytes_in, open.bytes_out) = (bytes_in, bytes_out);
        }
    }

    /// Tells that the body was encoded to its end.
    pub(crate) fn encoded(&mut self) {
        self.tell(|open| Event::Encoded {
            coding: open.coding,
            dictionary: open.dictionary,
            level: open.level,
            path: open.path,
            bytes_in: open.bytes_in,
            bytes_out: open.bytes_out,
            time: Duration::from_nanos(open.nanos),
        });
    }

    /// Tells that the body was encoded for another response, and is sent with this one, too.
    pub(crate) fn cached(&mut self) {
        self.tell(|open| Event::Cached {
            coding: open.coding,
            bytes_in: open.bytes_in,
            bytes_out: open.bytes_out,
        });
    }

    /// Tells that the body is sent as it was.
    pub(crate) fn skipped(&mut self, reason: SkipReason) {
        self.tell(|_| Event::Skipped { reason });
    }

    /// Tells that the body has no end; only the first to tell anything is heard.
    pub(crate) fn aborted(&mut self, cause: AbortCause) {
        self.tell(|open| Event::Aborted {
            coding: open.coding,
            dictionary: open.dictionary,
            level: open.level,
            path: open.path,
            bytes_in: open.bytes_in,
            bytes_out: open.bytes_out,
            time: Duration::from_nanos(open.nanos),
            cause,
        });
    }

    fn tell(&mut self, event: impl FnOnce(&Open) -> Event) {
        if let Some(open) = self.0.take() {
            open.shared.tell(&event(&open));
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.aborted(if std::thread::panicking() {
            AbortCause::Panic
        } else {
            AbortCause::Dropped
        });
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tally(open: {})", self.0.is_some())
    }
}
