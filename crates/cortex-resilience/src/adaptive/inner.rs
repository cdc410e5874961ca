use super::limit::{Limit, Sample};
use super::ticket::{End, Ticket, pack, split};
use crate::event::Event;
use crate::observer::Observer;
use crate::rejected::{Reason, Rejected};
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use std::time::Duration;

/// A limiter without what judges results.
#[derive(Debug)]
pub(super) struct Inner<L, O, K> {
    /// How often the limit fell, and the limit: 32 bits each. Written under the lock of the algorithm.
    published: AtomicU64,
    in_flight: AtomicU64,
    rejected: AtomicU64,
    pub(super) clock: K,
    observer: O,
    pub(super) name: Box<str>,
    algorithm: Mutex<L>,
}

impl<L: Limit, O: Observer, K> Inner<L, O, K> {
    pub(super) fn new(name: Box<str>, algorithm: L, observer: O, clock: K) -> Self {
        Self {
            published: AtomicU64::new(pack(0, algorithm.limit().max(1))),
            in_flight: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            clock,
            observer,
            name,
            algorithm: Mutex::new(algorithm),
        }
    }

    #[inline]
    pub(super) fn limit(&self) -> u32 {
        split(self.published.load(Ordering::Relaxed)).1
    }

    #[inline]
    pub(super) fn in_flight(&self) -> u32 {
        split(self.in_flight.load(Ordering::Relaxed)).1
    }

    pub(super) fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn enter(&self) -> Result<Ticket, Rejected> {
        let (cuts, limit) = split(self.published.load(Ordering::Relaxed));
        let mut before = self.in_flight.load(Ordering::Relaxed);
        // Not a sum that is taken back where it is too much: that would turn away who comes in between.
        while before < u64::from(limit) {
            let next = before + 1;
            match self
                .in_flight
                .compare_exchange_weak(before, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => {
                    let (_, in_flight) = split(next);
                    return Ok(Ticket { in_flight, cuts });
                }
                Err(now) => before = now,
            }
        }
        Err(self.refuse())
    }

    #[cold]
    pub(super) fn refuse(&self) -> Rejected {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        let rejected = Rejected::new(Reason::ConcurrencyLimit, None);
        self.tell(&Event::Rejected(rejected));
        rejected
    }

    #[inline]
    pub(super) fn leave(&self, ticket: Ticket, end: End) {
        self.free();
        match end {
            End::Success(rtt) => self.sample(ticket, rtt, false),
            End::Failed(rtt) => self.sample(ticket, rtt, true),
            End::Ignored => self.tell(&Event::Ignored),
        }
    }

    /// Ends a call that tells nothing.
    #[inline]
    pub(super) fn ignore(&self) {
        self.free();
        self.tell(&Event::Ignored);
    }

    /// First of all, so that nothing that panics keeps the place.
    #[inline]
    fn free(&self) {
        if self.in_flight.fetch_sub(1, Ordering::Release) == 0 {
            self.in_flight.fetch_add(1, Ordering::Relaxed); // a ticket that was handed back twice
        }
    }

    fn sample(&self, ticket: Ticket, rtt: Duration, failed: bool) {
        let mut algorithm = lock(&self.algorithm);
        let (cuts, from) = split(self.published.load(Ordering::Relaxed));
        let sample = Sample {
            in_flight: ticket.in_flight,
            rtt,
            failed,
            stale: ticket.cuts != cuts,
        };
        let to = algorithm.update(&sample).max(1);
        let falls = to < from || !sample.stale && algorithm.is_overload(&sample);
        self.publish((cuts, from), (falls, to));
        drop(algorithm);
        self.tell_of(from, to);
    }

    /// Goes on with another algorithm, from the limit that was found so far.
    pub(super) fn replace(&self, mut with: L) {
        let mut algorithm = lock(&self.algorithm);
        let (cuts, from) = split(self.published.load(Ordering::Relaxed));
        with.resume(from);
        let to = with.limit().max(1);
        self.publish((cuts, from), (to < from, to));
        let old = std::mem::replace(&mut *algorithm, with);
        drop(algorithm);
        drop(old);
        self.tell_of(from, to);
    }

    /// Shows a limit; the caller holds the lock.
    #[inline]
    fn publish(&self, (cuts, from): (u32, u32), (falls, to): (bool, u32)) {
        if falls || to != from {
            let cuts = cuts.wrapping_add(u32::from(falls));
            self.published.store(pack(cuts, to), Ordering::Relaxed);
        }
    }

    #[inline]
    fn tell_of(&self, from: u32, to: u32) {
        if to != from {
            self.tell(&Event::LimitChanged { from, to });
        }
    }

    #[inline]
    fn tell(&self, event: &Event) {
        self.observer.on_event(&self.name, event);
    }
}
