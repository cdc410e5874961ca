use super::quota::{Claim, Quota};
use crate::sync::{AtomicU64, Ordering};

/// A bucket that threads share: when it will be full again.
///
/// It guards no other memory, so that no order is asked for.
#[derive(Debug)]
pub(super) struct Bucket(AtomicU64);

impl Bucket {
    pub(super) fn full() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Takes tokens, or reserves them.
    #[inline]
    pub(super) fn claim(
        &self,
        quota: Quota,
        tokens: u32,
        now: u64,
        patience: u64,
    ) -> Result<Claim, Option<u64>> {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            let claim = quota.claim(tokens, state, now, patience)?;
            match self
                .0
                .compare_exchange_weak(state, claim.next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Ok(claim),
                Err(other) => state = other,
            }
        }
    }

    /// Undoes a claim, and says whether it could be: once somebody has claimed a later token, that one's time is fixed, and
    /// another who got this one might come at the same time.
    #[cfg(feature = "tokio")]
    pub(super) fn give_back(&self, claim: Claim) -> bool {
        self.0
            .compare_exchange(
                claim.next,
                claim.next - claim.cost,
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Returns how long it is until the bucket is full.
    pub(super) fn missing(&self, now: u64) -> u64 {
        self.0.load(Ordering::Relaxed).saturating_sub(now)
    }
}
