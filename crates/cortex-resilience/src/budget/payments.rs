use super::windowed::SLOTS;
use crate::slot;
use crate::sync::{AtomicU64, Ordering};
use std::cmp::Ordering::{Equal, Greater, Less};
use std::time::Duration;

/// A slot holds the number of its time in the upper bits, and a count of payments below: enough for 17 million of them from each
/// thread, and for 34 years of the shortest slots.
const COUNT: u64 = (1 << 24) - 1;

/// What was paid in when. The first threads count in memory of their own, and the others share.
pub(super) struct Payments {
    origin: u64,
    /// How long a slot is, in nanoseconds.
    width: u64,
    own: Box<[Own]>,
    shared: [AtomicU64; SLOTS],
}

/// Where one thread writes, and any reads.
#[repr(align(128))] // what processors fetch together
#[derive(Debug)]
struct Own {
    /// When the slot of the last payment began, and where it is. Nobody but the thread reads them.
    start: AtomicU64,
    place: AtomicU64,
    slots: [AtomicU64; SLOTS],
}

/// No start: every time is more than a slot after it.
const NONE: u64 = 1 << 63;

impl Own {
    fn new() -> Self {
        Self {
            start: AtomicU64::new(NONE),
            place: AtomicU64::new(0),
            slots: zeros(),
        }
    }

    /// Returns the slot of the last payment, if it goes on.
    #[inline]
    fn current(&self, now: u64, width: u64) -> Option<&AtomicU64> {
        if now.wrapping_sub(self.start.load(Ordering::Relaxed)) >= width {
            return None; // before the start it is more than a slot, too
        }
        self.slots.get(index(self.place.load(Ordering::Relaxed)))
    }
}

impl Payments {
    pub(super) fn new(origin: u64, width: u64) -> Self {
        Self {
            origin,
            width: width.max(1),
            own: (0..slot::threads()).map(|_| Own::new()).collect(),
            shared: zeros(),
        }
    }

    /// Returns how long a slot is.
    pub(super) const fn slot(&self) -> Duration {
        Duration::from_nanos(self.width)
    }

    /// Counts slots from one that leaves room for a whole window before the first.
    pub(super) fn time(&self, now: u64) -> u64 {
        (now.saturating_sub(self.origin) / self.width).min(u64::MAX >> 25) + SLOTS as u64
    }

    /// Takes note of a payment.
    #[inline]
    pub(super) fn add(&self, now: u64) {
        match self
            .own
            .get(slot::own())
            .and_then(|own| own.current(now, self.width))
        {
            Some(slot) => {
                let old = slot.load(Ordering::Relaxed);
                if old & COUNT < COUNT {
                    slot.store(old + 1, Ordering::Release);
                }
            }
            None => self.add_elsewhere(now),
        }
    }

    /// Takes note of the first payment of a slot, or one of a thread that shares.
    #[cold]
    fn add_elsewhere(&self, now: u64) {
        let time = self.time(now);
        let Some(own) = self.own.get(slot::lease()) else {
            return add(&self.shared[index(time)], time);
        };
        add(&own.slots[index(time)], time);
        if own.slots[index(time)].load(Ordering::Relaxed) >> 24 == time {
            let into = now.saturating_sub(self.origin) % self.width;
            own.start.store(now.saturating_sub(into), Ordering::Relaxed);
            own.place.store(time % SLOTS as u64, Ordering::Relaxed);
        }
    }

    /// Returns what the payments are together that were made at the times that count.
    pub(super) fn sum(&self, counts: impl Fn(u64) -> bool, each: u64) -> u64 {
        let own = self.own.iter().flat_map(|own| &own.slots);
        let slots = own.chain(&self.shared).map(|slot| slot.load(Ordering::Acquire));
        let count = |sum: u64, slot: u64| sum.saturating_add((slot & COUNT) * each);
        slots.filter(|slot| counts(slot >> 24)).fold(0, count)
    }
}

/// Adds a payment to a slot, which may be one that others write to.
fn add(slot: &AtomicU64, time: u64) {
    let mut old = slot.load(Ordering::Acquire);
    loop {
        let new = match (old >> 24).cmp(&time) {
            Less => (time << 24) | 1,
            Equal if old & COUNT < COUNT => old + 1,
            // It is full, or this thread has slept for a whole window.
            Equal | Greater => return,
        };
        match slot.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(other) => old = other,
        }
    }
}

fn zeros() -> [AtomicU64; SLOTS] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

#[expect(clippy::cast_possible_truncation, reason = "less than ten")]
pub(super) const fn index(time: u64) -> usize {
    (time % SLOTS as u64) as usize
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_payment_counts_in_its_slot_whoever_made_it() {
        let payments = Payments::new(1000, 10);
        let pay = |times: &[u64]| times.iter().for_each(|now| payments.add(*now));
        pay(&[1000, 1009, 1010, 1019]);
        std::thread::scope(|scope| {
            for _ in 0..slot::SLOTS {
                scope.spawn(|| pay(&[1010, 1011, 1020]));
            }
        });
        let at = |time| payments.sum(|slot| slot == time, 3);
        assert_eq!((at(10), at(11), at(12), at(13)), (6, 6 + 128 * 3, 64 * 3, 0));
    }

    #[test]
    fn a_clock_that_goes_back_pays_into_the_slot_of_then() {
        let payments = Payments::new(1000, 10);
        for now in [1025, 1015, 1015, 1005, 0] {
            payments.add(now);
        }
        let at = |time| payments.sum(|slot| slot == time, 1);
        assert_eq!((at(10), at(11), at(12)), (2, 2, 1));
        payments.add(1100); // the slot of 1000, anew
        payments.add(1000);
        assert_eq!((at(10), at(20)), (0, 1));
    }
}
