use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes of state the encoders at work may hold together.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
        }
    }

    /// Reserves bytes, unless the limit is in the way.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = used.checked_add(bytes).is_some_and(|total| total <= self.limit);
        if !fits {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Takes note that a reservation turned out to hold another number of bytes: what is there cannot be refused.
    pub(crate) fn correct(&self, from: usize, to: usize) {
        if to > from {
            self.used.fetch_add(to - from, Ordering::Relaxed);
        } else {
            self.release(from - to);
        }
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_end_at_the_limit() {
        let budget = Budget::new(100);
        assert!(budget.reserve(60) && !budget.reserve(41) && budget.reserve(40));
        budget.correct(60, 70);
        assert_eq!(budget.used(), 110);
        budget.correct(70, 10);
        assert!(budget.reserve(50));
        for bytes in [50, 40, 10] {
            budget.release(bytes);
        }
        assert_eq!(budget.used(), 0);
        assert!(!Budget::new(0).reserve(1));
        assert!(!Budget::new(usize::MAX).reserve(usize::MAX) || budget.used() == 0);
    }
}
