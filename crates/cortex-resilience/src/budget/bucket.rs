use super::spend::Cost;
use super::throttle::update;
use crate::build_error::BuildError;
use crate::sync::{AtomicU64, Ordering};

/// What attempts beyond the first cost, in tokens of a [`Budget::bucket`](super::Budget::bucket).
///
/// # Examples
///
/// ```
/// use cortex_resilience::budget::{Budget, Cost, Costs};
///
/// let costs = Costs { retry: 4, throttling: 1, timeout: 8 };
/// let budget = Budget::bucket(10, costs)?;
/// let taken = [Cost::Retry, Cost::Retry, Cost::Retry].map(|cost| budget.try_withdraw(cost));
/// assert!(taken[1].is_some() && taken[2].is_none());
/// assert!(budget.try_withdraw(Cost::Throttling).is_some());
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// After a failure.
    pub retry: u32,
    /// After a refusal by a dependency that has too much to do.
    pub throttling: u32,
    /// After an attempt that took too long.
    pub timeout: u32,
}

impl Costs {
    const fn of(self, cost: Cost) -> u32 {
        match cost {
            Cost::Retry => self.retry,
            Cost::Throttling => self.throttling,
            Cost::Timeout => self.timeout,
        }
    }
}

/// Attempts beyond the first take tokens, and their successes put them back.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: AtomicU64,
    capacity: u64,
    costs: Costs,
}

impl Bucket {
    pub(super) fn new(capacity: u32, costs: Costs) -> Result<Self, BuildError> {
        for (field, cost) in [
            ("retry", costs.retry),
            ("throttling", costs.throttling),
            ("timeout", costs.timeout),
        ] {
            if !(1..=capacity).contains(&cost) {
                return Err(BuildError::new(field, cost.to_string(), "1 to the capacity"));
            }
        }
        Ok(Self::unchecked(capacity, costs))
    }

    pub(super) fn unchecked(capacity: u32, costs: Costs) -> Self {
        let capacity = u64::from(capacity);
        Self {
            tokens: AtomicU64::new(capacity),
            capacity,
            costs,
        }
    }

    /// Takes what it costs, and says how much that is.
    pub(super) fn take(&self, cost: Cost) -> Option<u32> {
        let cost = self.costs.of(cost);
        let mut tokens = self.tokens.load(Ordering::Acquire);
        loop {
            let left = tokens.checked_sub(u64::from(cost))?;
            match self
                .tokens
                .compare_exchange_weak(tokens, left, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(cost),
                Err(other) => tokens = other,
            }
        }
    }

    #[inline]
    pub(super) fn put(&self, tokens: u32) {
        update(&self.tokens, |there| {
            (there + u64::from(tokens)).min(self.capacity)
        });
    }

    pub(super) fn allows(&self) -> bool {
        self.tokens() >= u64::from(self.costs.retry)
    }

    pub(super) fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Acquire)
    }
}
