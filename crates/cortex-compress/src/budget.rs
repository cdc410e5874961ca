use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A bound to the memory that encoders at work hold together; give clones of one to several layers, and it is theirs
/// together.
///
/// What an encoder will hold is reserved before it is made, by what is known of its coding and level, and corrected by what
/// it then holds: for a moment that may be a little more than the limit.
///
/// # Examples
///
/// ```
/// use cortex_compress::{CompressionLayer, MemoryBudget};
///
/// let budget = MemoryBudget::new(64 << 20);
/// let (public, partners) = (CompressionLayer::new(), CompressionLayer::new().min_size(100));
/// let layers = [public.memory_budget(budget.clone()), partners.memory_budget(budget.clone())];
/// assert_eq!((budget.used(), budget.limit()), (0, 64 << 20));
/// # drop(layers);
/// ```
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Budget>);

impl MemoryBudget {
    /// Makes a budget of this many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Budget::new(bytes)))
    }

    /// Returns how many bytes the encoders at work hold now, or have reserved.
    pub fn used(&self) -> usize {
        self.0.used()
    }

    /// Returns how many bytes they may hold.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Tells whether they are one budget.
    #[cfg(feature = "metrics")]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) const fn around(budget: Arc<Budget>) -> Self {
        Self(budget)
    }

    pub(crate) fn into_inner(self) -> Arc<Budget> {
        self.0
    }
}

impl From<usize> for MemoryBudget {
    fn from(bytes: usize) -> Self {
        Self::new(bytes)
    }
}

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
        // Not by adding first: what is refused must not keep out what would fit.
        let with = |used: usize| used.checked_add(bytes).filter(|&total| total <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, with)
            .is_ok()
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
